/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store on a loop of its own, before the scripted Cosmos of the tests (tests/httpd/cosmos_server.py). */
#ifndef COSMOS_HARNESS_H
#define COSMOS_HARNESS_H

#include "back/cosmos/cosmos.h"
#include "store_contract.h"

#include <sys/types.h>

#include "http_rig.h"

typedef struct cosmos_server_t { /* the scripted service, a process */
    pid_t pid;
    int input, port;
} cosmos_server_t;

/* One server process of httpd, as far as the store can see. */
typedef struct cosmos_child_t {
    rig_t rig;
    ac_host_t host;
    apr_pool_t *pool;
    ac_store_t store;
    bool started;
} cosmos_child_t;

/* Reports of stores to their children about runs: how many of a kind, and the run of the last one. */
int cosmos_n_reported(ac_kind_e what);
const char *cosmos_reported_run(void);

/* Where AGENTCHAT_TEST_COSMOS names a URL, that is used instead of a scripted one: an emulator. */
void cosmos_server_start(cosmos_server_t *server);
void cosmos_server_stop(cosmos_server_t *server);
/* Sets the server's behaviour, with the parameters of Cosmos.behave(). Returns the answer, which the caller frees:
 * {requests, connections, …}. */
json_t *cosmos_server_tell(const cosmos_server_t *server, const char *order);
void cosmos_server_order(const cosmos_server_t *server, const char *order); /* without an answer */

/* Puts the service's clock ahead by this number of seconds; a client learns it from an answer. */
void cosmos_clock_to(const cosmos_server_t *server, int seconds);

/* Before and after each test of a group, with the server that was started last: it is empty and well; *state is a
 * cosmos_child_t that is not opened. */
int cosmos_setup(void **state);
int cosmos_teardown(void **state);
#define COSMOS_TEST(test) cmocka_unit_test_setup_teardown(test, cosmos_setup, cosmos_teardown)
/* A program of tests with a server of their own; cmocka's count of failures. */
int cosmos_main(cosmos_server_t *server, const char *name, const struct CMUnitTest *tests, size_t n);

/* How many documents a container has; how many requests were answered that match "METHOD /path STATUS". */
int64_t cosmos_documents(const cosmos_server_t *server, const char *container);
int64_t cosmos_requests(const cosmos_server_t *server, const char *pattern);
/* How many runs the service has in this state, without asking a store. */
int64_t cosmos_runs(const cosmos_server_t *server, const char *status);
/* The number of threads whose entries are marked or have no copy: a list reads the thread's head instead. */
int64_t cosmos_marked(const cosmos_server_t *server);
/* Runs that have ended and whose usage is not counted yet: a task of the store does it after the answer. */
int64_t cosmos_uncounted(const cosmos_server_t *server);
/* A hard delete, which has to succeed. */
void cosmos_remove_thread(const contract_ids_t *ids);

/* Options are "name=value name=value". The defaults are a database, create=on and a key. */
const char *cosmos_child_create(cosmos_child_t *child, const cosmos_server_t *server, const char *options);
void cosmos_child_start(cosmos_child_t *child);
void cosmos_child_open(cosmos_child_t *child, const cosmos_server_t *server, const char *options); /* both */
void cosmos_child_stop(cosmos_child_t *child);
/* As kill -9 looks from outside: nothing is finished. */
void cosmos_child_kill(cosmos_child_t *child, const cosmos_server_t *server);

/* Waits for what a store does by itself. */
#define COSMOS_UNTIL(condition) \
    do { \
        apr_time_t end_ = ac_clock() + apr_time_from_sec(30); \
        while (!(condition)) { \
            assert_true(ac_clock() < end_); \
            apr_sleep(2000); \
        } \
    } while (0)

/* How many lines with this message number were logged, and the last one's text. */
int cosmos_logged(int number);
const char *cosmos_logged_text(int number);
void cosmos_log_clear(void);

#endif
