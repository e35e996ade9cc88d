/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores, run on a store that is ready for operations, and shorthands for the tests of stores. */
#ifndef STORE_CONTRACT_H
#define STORE_CONTRACT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/back.h"

/* Runs all parts over a store; returns the number of failures. It makes owners and ids of its own, so the store need
 * not be empty. */
int store_contract_run(const char *name, const ac_store_t *store);

/* The store that the calls below speak to. */
void contract_use(const ac_store_t *store);
const ac_store_t *contract_store(void);

typedef struct contract_ids_t { /* of one test: an owner of its own, and a thread */
    char owner[AC_ID_SIZE], thread[AC_ID_SIZE];
} contract_ids_t;
contract_ids_t contract_ids(void);

/* Documents in the API's shape; new references. number: makes times that follow each other. */
json_t *contract_thread(const char *id, const char *title, int number);
json_t *contract_message(const char *id, const char *role, const char *content, int number);
json_t *contract_run(const char *id, const char *thread_id, const char *status, int number);
json_t *contract_step(const char *id, const char *run_id, int number);
const char *contract_time(char text[AC_TIME_SIZE], int number);

ac_store_op_t *contract_op(ac_store_verb_e verb, const char *owner, const char *id, json_t *in); /* takes in */
/* Waits for op's answer; never NULL. */
ac_store_op_t *contract_wait(ac_store_op_t *op);
/* Both of them at once. */
ac_store_op_t *contract_call(ac_store_verb_e verb, const char *owner, const char *id, json_t *in);
/* Fail unless op was answered so; free it. ok gives its `out` (a reference, to be freed). */
json_t *contract_ok(ac_store_op_t *op);
void contract_done(ac_store_op_t *op);
void contract_kind(ac_store_op_t *op, ac_kind_e kind);
void contract_equal(json_t *is, json_t *wanted); /* takes both */

/* One turn; open gives the message's seq. run_id is made where it is "". */
int64_t contract_open(const contract_ids_t *ids, char run_id[AC_ID_SIZE], const char *content, bool fresh);
int64_t contract_close(const contract_ids_t *ids, const char *run_id, const char *content);
json_t *contract_open_in(const contract_ids_t *ids, const char *run_id, const char *content, bool fresh);
json_t *contract_close_in(const contract_ids_t *ids, const char *run_id, const char *content);
/* Stores a file, in a thread or in none (NULL); its id is made. */
void contract_file(char id[AC_ID_SIZE], const char *owner, int size, const char *thread_id);
/* TURN_OPEN whose message has these files (a list of ids; taken); fresh: the first one of its thread. */
json_t *contract_files_in(const contract_ids_t *ids, bool fresh, json_t *files);
/* A turn's write for threads and processes that may not fail a test, as cmocka's assertions jump; takes in. */
ac_kind_e contract_try(int64_t *pseq, ac_store_verb_e verb, const contract_ids_t *ids, json_t *in);
/* Checks that the thread has n messages, numbered 1, 2, 3 … without gap, and the right count. */
void contract_gapless(const contract_ids_t *ids, int64_t n);

/* The parts of the contract, one in each store_contract_….c; each returns the number of failures. */
int contract_lists(const char *name);
int contract_turns(const char *name);
int contract_callers(const char *name);
int contract_keys(const char *name);
int contract_agents(const char *name);
int contract_owners(const char *name);
int contract_approvals(const char *name);
int contract_usage(const char *name);
int contract_files(const char *name);
int contract_feedback(const char *name);
int contract_erase(const char *name);
int contract_branches(const char *name);
int contract_search(const char *name);
int contract_queue(const char *name);
int contract_webhook(const char *name);
int contract_marks(const char *name);
int contract_deletion(const char *name);

#endif
