/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's verbs for queued turns: adding, ending and finding them. */
#include "sqlite_internal.h"

static const char sql_put[] = "INSERT INTO waits (run_id, thread_id, owner, until, calls, asks, state)"
                              " VALUES (?1, ?2, ?3, 'queued ' || ?5 || ?4, '{}', '[]', '{}')";
static const char sql_run[] = "INSERT INTO runs (id, thread_id, owner, status, boot, pid, started, created_at, doc)"
                              " VALUES (?1, ?2, ?3, 'waiting', '', 0, 0, ?4, ?5)";
static const char sql_remove[] =
    "DELETE FROM waits WHERE run_id = ?1 AND thread_id = ?2 AND owner = ?3 AND until >= 'queued '";
static const char sql_thread[] = "SELECT thread_id FROM waits WHERE run_id = ?1 AND owner = ?2 AND until >= 'queued '";
static const char sql_run_end[] =
    "UPDATE runs SET status = ?3, doc = ?4 WHERE id = ?1 AND owner = ?2 AND status = 'waiting'";
static const char sql_late[] = "SELECT run_id, owner FROM waits WHERE until >= 'queued '"
                               " AND ltrim(substr(until, 8), '!') < ?1 ORDER BY until LIMIT ?2";

static apr_status_t queued_insert(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *run)
{
    ac_sqlite_arg_t id = ac_sqlite_string(json_object_get(run, "id")),
                    created = ac_sqlite_string(json_object_get(run, "created_at"));
    apr_status_t status = ac_sqlite_statement_run(conn, sql_run,
                                                  AC_SQLITE_ARGS(id, ac_sqlite_text(op->id), ac_sqlite_text(op->owner),
                                                                 created, ac_sqlite_json(run)),
                                                  &op->err);

    if (status == APR_SUCCESS) {
        bool first = json_is_true(json_object_get(op->in, "first"));
        status = ac_sqlite_statement_run(conn, sql_put,
                                         AC_SQLITE_ARGS(id, ac_sqlite_text(op->id), ac_sqlite_text(op->owner), created,
                                                        ac_sqlite_text(first ? "!" : "")),
                                         &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_queued_add(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *run = json_object_get(op->in, "run");
    ac_sqlite_thread_t thread = {0};
    json_t *queue = NULL;
    int place;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    json_decref(thread.json);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_key_take(conn, op);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_queue_read(&queue, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = ac_store_queue_check(&place, queue, op);
    }
    if (status == APR_SUCCESS && place == (int)json_array_size(queue)) {
        status = queued_insert(conn, op, run);
        place = json_is_true(json_object_get(op->in, "first")) ? 0 : place;
    }
    json_decref(queue);
    if (status == APR_SUCCESS) {
        op->out = json_pack("{s:i}", "place", place);
    }
    return status;
}

apr_status_t ac_sqlite_queued_remove(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *run = json_object_get(op->in, "run"), *thread_id = NULL;
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_thread,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_RUN_ENDED, "the turn is not in the queue any more");
    }
    if (status == APR_SUCCESS) {
        thread_id = ac_sqlite_statement_text(row, 0);
        sqlite3_reset(row);
        status = ac_sqlite_statement_run(conn, sql_remove,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_string(thread_id),
                                                        ac_sqlite_text(op->owner)),
                                         &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_run_end,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner),
                                                        ac_sqlite_string(json_object_get(run, "status")),
                                                        ac_sqlite_json(run)),
                                         &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_usage_count(conn, op->owner, NULL, run, &op->err);
    }
    if (status == APR_SUCCESS) {
        const ac_webhook_cause_t cause = {run, NULL, NULL, &op->trace, op->owner, apr_time_now()};
        status = ac_sqlite_webhook_add(conn, &cause, &op->err);
    }
    json_decref(thread_id);
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}

apr_status_t ac_sqlite_queued_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    return ac_sqlite_suspended_rows(conn, op, sql_late);
}
