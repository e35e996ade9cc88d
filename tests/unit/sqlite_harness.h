/* SPDX-License-Identifier: Apache-2.0 */
/* An embedded store in a directory of its own, with a look at its file, its connections and what it logs. */
#ifndef SQLITE_HARNESS_H
#define SQLITE_HARNESS_H

#include "back/sqlite/sqlite.h"
#include "store_contract.h"

#include <stdatomic.h>

#include <sqlite3.h>

#define HARNESS_PATH 128

typedef struct harness_t {
    apr_pool_t *pool;
    char directory[HARNESS_PATH], path[HARNESS_PATH + 16];
    ac_store_t store;
    bool started;
    ac_err_t err; /* of the last start */
} harness_t;

/* cmocka's setup and teardown of one test: a directory, and a store that was created but not started. */
int harness_setup(void **state);
int harness_teardown(void **state);
#define SQLITE_TEST(test) cmocka_unit_test_setup_teardown(test, harness_setup, harness_teardown)
/* As httpd's child does it, in this process. start fails the test unless it ends with this kind of error. */
void harness_start(harness_t *harness, ac_kind_e wanted);
void harness_stop(harness_t *harness);

/* A connection of another program to the file; exec fails the test unless SQLite returns OK. */
sqlite3 *harness_open(const harness_t *harness);
void harness_exec(sqlite3 *db, const char *sql);
int64_t harness_number(const harness_t *harness, const char *sql);
/* exec on a connection that is closed again. */
void harness_change(const harness_t *harness, const char *sql);

/* What the store's own connections do, from harness_watch() on. */
void harness_watch(void);
sqlite3 *harness_writer(void);      /* the last connection opened for writing; for use while the store is idle */
int harness_count(const char *sql); /* how often this statement ran */
/* Fails the test where one of the statements that ran goes through a whole table or sorts; how many were looked at. */
int harness_check_plans(const harness_t *harness);
/* A gate: the store's thread that starts the statement `sql` next after the statement `after` waits there until it is
 * opened. wait returns when a thread has come to it. */
void harness_gate_set(const char *sql, const char *after);
void harness_gate_wait(void);
void harness_gate_open(void);

typedef struct harness_gather_t { /* many operations under way */
    ac_store_op_t *ops[2 * AC_MAX_STORE_QUEUE];
    atomic_int n_done;
    int n;
} harness_gather_t;
void harness_post(harness_gather_t *gather, ac_store_op_t *op);
void harness_wait(harness_gather_t *gather);

/* How many lines with this message number were logged since harness_setup. */
int harness_logged(int number);
/* A file's mode, 0 if there is none. */
int harness_mode(const char *path);

/* Takes back what the newest versions of the tables have added, from version 7 on. */
#define HARNESS_WITHOUT_VERSION_7 \
    "ALTER TABLE threads DROP COLUMN deleted_messages; DROP TABLE webhooks; ALTER TABLE messages DROP COLUMN marks;" \
    "ALTER TABLE messages DROP COLUMN attachments; ALTER TABLE messages DROP COLUMN parent_id;" \
    "ALTER TABLE threads DROP COLUMN tree; DROP TABLE files; DROP TABLE erasures; DROP INDEX messages_by_feedback;" \
    "ALTER TABLE messages DROP COLUMN feedback; ALTER TABLE messages DROP COLUMN feedback_at;" \
    "DROP TRIGGER labels_of_new; DROP TRIGGER labels_of_changed; DROP TRIGGER labels_of_removed; DROP TABLE labels;" \
    "DROP INDEX threads_pinned; ALTER TABLE threads DROP COLUMN pinned;" \
    "DROP INDEX threads_by_search_no; DROP INDEX threads_unsearched; DROP TABLE search_ranges; DROP TABLE search;" \
    "ALTER TABLE threads DROP COLUMN search_no; ALTER TABLE threads DROP COLUMN search_to;" \
    "ALTER TABLE threads DROP COLUMN search_title;"

#endif
