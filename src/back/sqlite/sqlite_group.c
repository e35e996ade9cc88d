/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's transactions: a read sees one state, and writes are committed in groups. */
#include "sqlite_internal.h"

#define LOCK_SLICE apr_time_from_msec(20) /* of waiting for the lock, between two checks of the operations' deadlines */
#define CHECKPOINT_PAGES 1000
#define CHECKPOINT_FORCED (8 * CHECKPOINT_PAGES) /* the log restarts even if other processes have to wait for it */

static const char sql_begin_write[] = "BEGIN IMMEDIATE", sql_begin_read[] = "BEGIN", sql_commit[] = "COMMIT",
                  sql_rollback[] = "ROLLBACK", sql_savepoint[] = "SAVEPOINT op", sql_release[] = "RELEASE op",
                  sql_undo[] = "ROLLBACK TO op", sql_ping[] = "PRAGMA user_version";

/* Writes existing data again: a store that is read-only cannot serve turns. */
static apr_status_t ping(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_ping, AC_SQLITE_NO_ARGS, &op->err);
    char write[48];
    int code;

    int64_t n_old = 0;
    op->out = json_object();
    if (status != APR_SUCCESS) {
        return status;
    }
    snprintf(write, sizeof(write), "PRAGMA user_version = %d", sqlite3_column_int(row, 0));
    ac_sqlite_statement_reset(conn);
    code = sqlite3_exec(conn->db, write, NULL, NULL, NULL);
    status = code == SQLITE_OK ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, &op->err);
    if (status == APR_SUCCESS && conn->store->search) {
        status = ac_sqlite_search_count(&n_old, conn, &op->err);
    }
    ac_json_put(op->out, "search", json_string(!conn->store->search ? "titles" : n_old ? "indexing" : "messages"));
    if (n_old) {
        ac_json_put(op->out, "search_missing", json_integer(n_old));
    }
    return status;
}

/* All processes that share the file run on this machine, and find each other by the event logs. */
static apr_status_t run_cancel(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    (void)conn;
    return ac_err_set(&op->err, AC_INVALID_REQUEST, "this store passes nothing on to another process");
}

static const struct {
    ac_sqlite_verb_fn *fn;
    bool writes;
} verbs[AC_STORE_N_VERBS] = {
    [AC_STORE_PING] = {ping, true},
    [AC_STORE_THREAD_CREATE] = {ac_sqlite_thread_create, true},
    [AC_STORE_THREAD_GET] = {ac_sqlite_thread_get, false},
    [AC_STORE_THREAD_LIST] = {ac_sqlite_list_threads, false},
    [AC_STORE_THREAD_UPDATE] = {ac_sqlite_thread_update, true},
    [AC_STORE_THREAD_DELETE] = {ac_sqlite_thread_delete, true},
    [AC_STORE_THREAD_RESTORE] = {ac_sqlite_thread_restore, true},
    [AC_STORE_MESSAGE_LIST] = {ac_sqlite_message_list, false},
    [AC_STORE_TURN_LOAD] = {ac_sqlite_turn_load, false},
    [AC_STORE_TURN_OPEN] = {ac_sqlite_turn_open, true},
    [AC_STORE_TURN_CLOSE] = {ac_sqlite_turn_close, true},
    [AC_STORE_RUN_GET] = {ac_sqlite_run_get, false},
    [AC_STORE_RUN_LIST] = {ac_sqlite_run_list, false},
    [AC_STORE_STEP_LIST] = {ac_sqlite_run_step_list, false},
    [AC_STORE_PURGE] = {ac_sqlite_thread_purge, true},
    [AC_STORE_EXPORT_THREADS] = {ac_sqlite_move_export_threads, false},
    [AC_STORE_EXPORT_MESSAGES] = {ac_sqlite_move_export_messages, false},
    [AC_STORE_EXPORT_RUNS] = {ac_sqlite_move_export_runs, false},
    [AC_STORE_IMPORT] = {ac_sqlite_move_import, true},
    [AC_STORE_KEY_GET] = {ac_sqlite_key_get, false},
    [AC_STORE_KEY_PUT] = {ac_sqlite_key_put, true},
    [AC_STORE_AGENT_LIST] = {ac_sqlite_agent_list, false},
    [AC_STORE_AGENT_PUT] = {ac_sqlite_agent_put, true},
    [AC_STORE_AGENT_DELETE] = {ac_sqlite_agent_delete, true},
    [AC_STORE_RUN_CANCEL] = {run_cancel, false},
    [AC_STORE_RUN_SUSPEND] = {ac_sqlite_suspended_write, true},
    [AC_STORE_APPROVAL_DECIDE] = {ac_sqlite_suspended_decide, true},
    [AC_STORE_SUSPENDED_LIST] = {ac_sqlite_suspended_list, false},
    [AC_STORE_RUN_CHECK] = {run_cancel, false},
    [AC_STORE_USAGE_SUM] = {ac_sqlite_usage_sum, false},
    [AC_STORE_USAGE_SUM_ALL] = {ac_sqlite_usage_sum, false},
    [AC_STORE_EXPORT_USAGE] = {ac_sqlite_usage_export, false},
    [AC_STORE_IMPORT_USAGE] = {ac_sqlite_usage_import, true},
    [AC_STORE_FILE_PUT] = {ac_sqlite_file_put, true},
    [AC_STORE_FILE_GET] = {ac_sqlite_file_get, false},
    [AC_STORE_FILE_LIST] = {ac_sqlite_file_list, false},
    [AC_STORE_FILE_DELETE] = {ac_sqlite_file_delete, true},
    [AC_STORE_FILE_SWEEP] = {ac_sqlite_file_sweep, true},
    [AC_STORE_EXPORT_FILES] = {ac_sqlite_file_export, false},
    [AC_STORE_IMPORT_FILES] = {ac_sqlite_file_import, true},
    [AC_STORE_FEEDBACK_PUT] = {ac_sqlite_feedback_put, true},
    [AC_STORE_FEEDBACK_LIST] = {ac_sqlite_feedback_list, false},
    [AC_STORE_OWNER_ERASE] = {ac_sqlite_erase_owner, true},
    [AC_STORE_USAGE_ADD] = {ac_sqlite_usage_call, true},
    [AC_STORE_OWNER_ERASED] = {ac_sqlite_erasures_ended, true},
    [AC_STORE_TURN_QUEUE] = {ac_sqlite_queued_add, true},
    [AC_STORE_TURN_UNQUEUE] = {ac_sqlite_queued_remove, true},
    [AC_STORE_QUEUED_LIST] = {ac_sqlite_queued_list, false},
    [AC_STORE_WEBHOOK_LIST] = {ac_sqlite_webhook_list, false},
    [AC_STORE_WEBHOOK_DUE] = {ac_sqlite_webhook_due, false},
    [AC_STORE_WEBHOOK_ACQUIRE] = {ac_sqlite_webhook_acquire, true},
    [AC_STORE_WEBHOOK_REPORT] = {ac_sqlite_webhook_report, true},
    [AC_STORE_MESSAGE_MARK] = {ac_sqlite_marks_put, true},
    [AC_STORE_MESSAGE_DELETE] = {ac_sqlite_deletion_run, true},
};

bool ac_sqlite_group_verb_writes(ac_store_verb_e verb)
{
    return verbs[verb].writes;
}

static bool expired(const ac_store_op_t *op)
{
    return op->deadline && ac_clock() >= op->deadline;
}

static apr_status_t sqlite_group_expire(ac_store_op_t *op)
{
    op->unwritten = true;
    return ac_err_set(&op->err, AC_STORE_TIMEOUT, "the store did not get to it in time");
}

/* Prepares op for another execution. */
static void op_reset(ac_store_op_t *op)
{
    json_decref(op->out);
    op->out = NULL;
    ac_err_init(&op->err);
}

/* ---- reading ---- */

/* Runs one operation in a read transaction, so that all its statements see the same state. */
static apr_status_t read_run(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = ac_sqlite_statement_run(conn, sql_begin_read, AC_SQLITE_NO_ARGS, &op->err);

    if (status == APR_SUCCESS) {
        status = verbs[op->verb].fn(conn, op);
    }
    ac_sqlite_statement_reset(conn);
    if (!sqlite3_get_autocommit(conn->db)) {
        ac_sqlite_statement_run(conn, sql_rollback, AC_SQLITE_NO_ARGS, NULL);
    }
    return status;
}

/* Tries again, on a new connection, after a failure of locks. */
static apr_status_t read_try(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_time_t until = op->deadline ? op->deadline : ac_clock() + AC_SQLITE_PATIENCE;
    apr_status_t status;

    while (true) {
        status = ac_sqlite_conn_open(conn, until, &op->err);
        if (status != APR_SUCCESS) {
            return status;
        }
        conn->deadline = op->deadline;
        conn->patience = until;
        conn->lock_failed = false;
        ac_sqlite_renew_wait_slice(until);
        status = read_run(conn, op);
        if (status == APR_SUCCESS || !conn->lock_failed || ac_clock() + LOCK_SLICE >= until) {
            return status;
        }
        op_reset(op);
        apr_sleep(LOCK_SLICE);
    }
}

void ac_sqlite_group_read(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = expired(op) ? sqlite_group_expire(op) : read_try(conn, op);

    if (status == AC_SQLITE_TO_WRITER && op->err.kind == AC_OK) {
        json_decref(op->out);
        op->out = NULL;
        ac_sqlite_store_write_post(conn->store, op);
        return;
    }
    if (status == APR_SUCCESS) {
        ac_sqlite_conn_outage_end(conn);
    }
    ac_sqlite_store_answer(conn->store, op, status);
}

/* ---- writing in groups ---- */

/* A read reaches the writer if it has to close a dead run. If that cannot be written, the read returns the stored
 * state. */
static void read_unmended(ac_sqlite_conn_t *conn, ac_store_op_t *op, apr_status_t *pstatus)
{
    op_reset(op);
    conn->mend = AC_SQLITE_MEND_NOT;
    ac_sqlite_renew_wait_slice(ac_clock() + AC_SQLITE_SLICE);
    *pstatus = read_run(conn, op);
    conn->mend = AC_SQLITE_MEND_WRITE;
}

/* Answers all operations of the group after the end of the transaction. */
static void group_answer(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group)
{
    for (int i = 0; i < group->n; i++) {
        ac_store_op_t *op = group->ops[i];
        bool more = group->status[i] == AC_SQLITE_TO_WRITER && op->err.kind == AC_OK;
        if (more && !ac_sqlite_store_is_stopping(conn->store)) {
            ac_sqlite_store_write_post(conn->store, op);
            continue;
        }
        if (more) {
            group->status[i] = ac_err_set(&op->err, AC_STOPPING, "the server is stopping; the rest is for later");
        }
        if (op->err.kind == AC_STORE_ERROR && !verbs[op->verb].writes && conn->db) {
            read_unmended(conn, op, &group->status[i]);
        }
        ac_sqlite_store_answer(conn->store, op, group->status[i]);
    }
    group->n = 0;
}

/* Answers operations whose deadline has passed. Returns whether there was one. */
static bool group_expire(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group)
{
    int n = 0, n_before = group->n;

    for (int i = 0; i < group->n; i++) {
        if (expired(group->ops[i])) {
            ac_sqlite_store_answer(conn->store, group->ops[i], sqlite_group_expire(group->ops[i]));
        } else {
            group->ops[n++] = group->ops[i];
        }
    }
    group->n = n;
    return n < n_before;
}

void ac_sqlite_group_fail(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, apr_status_t status, const ac_err_t *err)
{
    for (int i = 0; i < group->n; i++) {
        json_decref(group->ops[i]->out);
        group->ops[i]->out = NULL;
        group->ops[i]->err = *err;
        group->status[i] = status;
    }
    group_answer(conn, group);
}

apr_time_t ac_sqlite_group_until(const ac_sqlite_group_t *group, apr_time_t most)
{
    for (int i = 0; i < group->n; i++) {
        if (group->ops[i]->deadline && group->ops[i]->deadline < most) {
            most = group->ops[i]->deadline;
        }
    }
    return most;
}

/* Waits for the write lock in slices; operations whose deadline passes meanwhile are answered. Returns false if no
 * operation is left. */
static bool group_begin(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group)
{
    apr_time_t give_up = ac_clock() + AC_SQLITE_PATIENCE, failed = ac_clock() + 2 * AC_SQLITE_SLICE;
    sqlite3_stmt *stmt;
    apr_status_t status;
    ac_err_t err;
    int code;

    do {
        ac_err_init(&err);
        code = SQLITE_OK;
        status = ac_sqlite_conn_open(conn, ac_sqlite_group_until(group, give_up), &err);
        if (status != APR_SUCCESS) {
            break;
        }
        conn->patience = ac_clock() + LOCK_SLICE;
        ac_sqlite_renew_wait_slice(conn->patience);
        status = ac_sqlite_statement_start(&stmt, conn, sql_begin_write, AC_SQLITE_NO_ARGS, &err);
        if (status == APR_SUCCESS) {
            code = sqlite3_step(stmt);
            sqlite3_reset(stmt);
        }
        if (code == SQLITE_DONE) {
            return true;
        }
        if (group_expire(conn, group)) {
            ac_sqlite_conn_fail(conn, code == SQLITE_PROTOCOL ? code : SQLITE_BUSY, NULL);
        } else if (ac_clock() >= failed) {
            ac_sqlite_renew(conn, code);
        }
    } while (((code & 0xff) == SQLITE_BUSY || code == SQLITE_PROTOCOL) && group->n && ac_clock() < give_up);
    if (status == APR_SUCCESS && group->n) {
        status = ac_sqlite_conn_fail(conn, code, &err);
    }
    for (int i = 0; i < group->n; i++) {
        group->ops[i]->unwritten = true;
    }
    ac_sqlite_group_fail(conn, group, status, &err);
    return false;
}

/* Runs one operation; in a savepoint its failure does not undo the others. */
static apr_status_t group_step(ac_sqlite_conn_t *conn, ac_store_op_t *op, bool savepoint)
{
    apr_status_t status = savepoint ? ac_sqlite_statement_run(conn, sql_savepoint, AC_SQLITE_NO_ARGS, &op->err)
                                    : APR_SUCCESS;

    if (status != APR_SUCCESS) {
        return status;
    }
    status = verbs[op->verb].fn(conn, op);
    ac_sqlite_statement_reset(conn);
    if (!savepoint || sqlite3_get_autocommit(conn->db)) {
        return status;
    }
    if (status != APR_SUCCESS && op->err.kind != AC_OK) {
        ac_sqlite_statement_run(conn, sql_undo, AC_SQLITE_NO_ARGS, NULL);
    }
    ac_sqlite_statement_run(conn, sql_release, AC_SQLITE_NO_ARGS, NULL);
    return status;
}

/* Runs the group's operations up to the first after which the transaction cannot be committed as it is: SQLite has
 * rolled it back, or the operation has failed without a savepoint. Returns its index, or group->n. */
static int group_steps(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, bool savepoints)
{
    for (int i = 0; i < group->n; i++) {
        const ac_store_op_t *op = group->ops[i];
        group->status[i] = group_step(conn, group->ops[i], savepoints);
        if (sqlite3_get_autocommit(conn->db) ||
            (!savepoints && group->status[i] != APR_SUCCESS && op->err.kind != AC_OK)) {
            return i;
        }
    }
    return group->n;
}

static void group_rollback(ac_sqlite_conn_t *conn)
{
    ac_sqlite_statement_reset(conn);
    if (!sqlite3_get_autocommit(conn->db)) {
        ac_sqlite_statement_run(conn, sql_rollback, AC_SQLITE_NO_ARGS, NULL);
    }
}

/* SQLite rolled back the whole transaction at one operation, as it does on a full disk. That operation has failed; the
 * others are tried again one by one. */
static void group_split(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, int culprit)
{
    ac_sqlite_group_t one;

    for (int i = 0; i < group->n; i++) {
        ac_store_op_t *op = group->ops[i];
        one.n = 1;
        one.ops[0] = op;
        one.status[0] = group->status[i];
        if (i == culprit) {
            group_answer(conn, &one);
            continue;
        }
        op_reset(op);
        ac_sqlite_group_run(conn, &one);
    }
    group->n = 0;
}

static void group_reset(ac_sqlite_group_t *group)
{
    for (int i = 0; i < group->n; i++) {
        op_reset(group->ops[i]);
    }
}

/* Returns true if locks failed, so that nothing was written, and there is time to try again. */
static bool group_again(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, apr_time_t until)
{
    group_rollback(conn);
    if (!conn->lock_failed || ac_clock() + LOCK_SLICE >= until) {
        return false;
    }
    group_reset(group);
    apr_sleep(LOCK_SLICE);
    return true;
}

/* Whether an operation continues an earlier one, whose result a second attempt would lose. */
static bool group_continues(const ac_sqlite_group_t *group)
{
    for (int i = 0; i < group->n; i++) {
        if (group->ops[i]->out) {
            return true;
        }
    }
    return false;
}

/* Brings the full-text index in step, and commits. What the index lacks after a failure the next transaction adds. */
static apr_status_t group_commit(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    apr_status_t status = ac_sqlite_search_update(conn, err);

    ac_sqlite_statement_reset(conn);
    if (status != APR_SUCCESS && sqlite3_get_autocommit(conn->db)) {
        return status;
    }
    if (status != APR_SUCCESS) {
        ac_err_init(err);
    }
    return ac_sqlite_statement_run(conn, sql_commit, AC_SQLITE_NO_ARGS, err);
}

/* SQLite copies each page that is changed in a savepoint, so there are none until an operation has failed. */
void ac_sqlite_group_run(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group)
{
    apr_time_t until = ac_sqlite_group_until(group, ac_clock() + AC_SQLITE_PATIENCE);
    bool savepoints = group->n > 1 && group_continues(group);
    apr_status_t status = APR_EGENERAL;
    ac_err_t err;

    while (status != APR_SUCCESS) {
        ac_err_init(&err);
        group_expire(conn, group);
        if (group->n == 0 || !group_begin(conn, group)) {
            return;
        }
        conn->lock_failed = false;
        ac_sqlite_renew_wait_slice(until);
        int failed = group_steps(conn, group, savepoints);
        if (failed < group->n && sqlite3_get_autocommit(conn->db)) {
            group_split(conn, group, failed);
            return;
        }
        if (failed < group->n && group->n > 1) {
            group_rollback(conn);
            group_reset(group);
            savepoints = true;
            continue;
        }
        if (failed < group->n && !conn->lock_failed) {
            group_rollback(conn);
            group_answer(conn, group);
            return;
        }
        status = failed < group->n ? group->status[failed] : group_commit(conn, &err);
        if (status != APR_SUCCESS && !group_again(conn, group, until)) {
            ac_sqlite_group_fail(conn, group, status, failed < group->n ? &group->ops[failed]->err : &err);
            return;
        }
    }
    ac_sqlite_conn_outage_end(conn);
    ac_metrics_add(AC_METRIC_SQLITE_GROUPS, AC_NO_LABELS, 1);
    ac_metrics_add(AC_METRIC_SQLITE_GROUP_OPERATIONS, AC_NO_LABELS, (uint64_t)group->n);
    group_answer(conn, group);
}

/* Runs after the answers, because no caller needs to wait for it. A later commit repeats it if it fails now. */
void ac_sqlite_group_checkpoint(ac_sqlite_conn_t *conn)
{
    int mode = conn->truncates                 ? SQLITE_CHECKPOINT_TRUNCATE
        : conn->wal_pages >= CHECKPOINT_FORCED ? SQLITE_CHECKPOINT_RESTART
                                               : SQLITE_CHECKPOINT_PASSIVE;
    int code;

    if (conn->wal_pages < conn->wal_checkpointed) {
        conn->wal_checkpointed = 0;
    }
    if (!conn->truncates && conn->wal_pages - conn->wal_checkpointed < CHECKPOINT_PAGES) {
        return;
    }
    conn->patience = ac_clock() + LOCK_SLICE;
    code = sqlite3_wal_checkpoint_v2(conn->db, NULL, mode, NULL, NULL);
    conn->wal_checkpointed = conn->wal_pages;
    if (conn->truncates && code == SQLITE_OK) {
        conn->truncates = false;
        conn->n_emptied++;
    }
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY && (code & 0xff) != SQLITE_LOCKED) {
        ac_sqlite_conn_fail(conn, code, NULL);
    }
}
