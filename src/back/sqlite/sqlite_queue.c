/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's queued turns. The run of one has the status `waiting` in its row, so that it is not the
 * thread's active run, and a row in the table of suspended runs, which leads to it: its `until` is `queued ` and a
 * time, which is after every time. `!` before the time puts it first. */
#include "sqlite_internal.h"

static const char sql_of_thread[] =
    "SELECT run_id, until < 'queued 0' FROM waits WHERE thread_id = ?1 AND owner = ?2 AND until >= 'queued '"
    " ORDER BY run_id";
static const char sql_remove[] =
    "DELETE FROM waits WHERE run_id = ?1 AND thread_id = ?2 AND owner = ?3 AND until >= 'queued '";
static const char sql_run_remove[] = "DELETE FROM runs WHERE id = ?1 AND owner = ?2 AND status = 'waiting'";

apr_status_t ac_sqlite_queue_read(json_t **pqueue, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *stmt;
    bool row = false;
    size_t n_first = 0;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_of_thread,
                                                    AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                    &op->err);

    *pqueue = json_array();
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        bool first = sqlite3_column_int(stmt, 1);
        json_array_insert_new(*pqueue, first ? n_first : json_array_size(*pqueue), ac_sqlite_statement_text(stmt, 0));
        n_first += first;
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_queue_leave(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *run_id = ac_json_peek_string(json_object_get(op->in, "run"), "id", "");
    json_t *queue;
    bool queued = false;
    apr_status_t status = ac_sqlite_queue_read(&queue, conn, op);

    if (status == APR_SUCCESS) {
        status = ac_store_queue_open(&queued, queue, op);
    }
    json_decref(queue);
    if (status != APR_SUCCESS || !queued) {
        return status;
    }
    status = ac_sqlite_statement_run(conn, sql_remove,
                                     AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->id),
                                                    ac_sqlite_text(op->owner)),
                                     &op->err);
    if (status == APR_SUCCESS) { /* the opening write inserts it as an active one */
        status = ac_sqlite_statement_run(conn, sql_run_remove,
                                         AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->owner)), &op->err);
    }
    return status;
}
