/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the requests that operations of the Cosmos DB store send. */
#ifndef COSMOS_REQUESTS_H
#define COSMOS_REQUESTS_H

#include "cosmos_harness.h"

#define COSMOS_REQUESTS_SINCE "2026-01-01T00:00:00.000Z"

enum { COSMOS_REQUESTS_MOST = 24 };

/* One operation. The requests are lines of the scripted service's journal: "VERB CONTAINER: KIND OF DOCUMENT ->
 * STATUS", the status where it is 300 or more. */
typedef struct cosmos_requests_t {
    const char *name;
    void (*prepare)(void); /* makes the state before it; or NULL */
    void (*act)(void);
    const char *requests[COSMOS_REQUESTS_MOST];
} cosmos_requests_t;

/* Runs all rows, one after the other, on one child; a first row without `prepare` sees the child start. Fails if a
 * row sends anything else. */
void cosmos_requests_check(cosmos_child_t *child, const cosmos_server_t *server, const cosmos_requests_t *rows,
                           size_t n);

/* Of the current row: an owner and a thread, a run of it and another one. */
extern contract_ids_t requests_ids;
extern char requests_run[AC_ID_SIZE], requests_next_run[AC_ID_SIZE];

/* An operation of the row's owner, which succeeds, or fails with this kind; takes in. */
void requests_call(ac_store_verb_e verb, const char *id, json_t *in);
void requests_refuse(ac_store_verb_e verb, const char *id, json_t *in, ac_kind_e kind);
/* The service fails the next request that matches "METHOD /path"; of a batch its first operation. */
void requests_fault_at(const char *match, bool batch, int status);

/* States. */
void requests_new_ids(void);
void requests_no_thread(void);
void requests_empty_thread(void);
void requests_open_turn(void);
void requests_closed_turn(void);

#endif
