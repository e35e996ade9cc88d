/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's suspended runs: they belong to no process, and the process that brings the last decision
 * acquires them. */
#include "sqlite_internal.h"

#include <string.h>

static const char sql_let_go[] =
    "UPDATE runs SET doc = ?3, boot = '', pid = 0, started = 0 WHERE id = ?1 AND thread_id = ?2"
    " AND owner = ?4 AND " AC_SQLITE_ACTIVE;
static const char sql_take[] =
    "UPDATE runs SET boot = ?2, pid = ?3, started = ?4 WHERE id = ?1 AND owner = ?5 AND " AC_SQLITE_ACTIVE;
static const char sql_put[] =
    "INSERT INTO waits (run_id, thread_id, owner, until, calls, asks, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
    " ON CONFLICT (run_id) DO UPDATE SET until = excluded.until, calls = excluded.calls,"
    " asks = excluded.asks, state = excluded.state";
static const char sql_find[] = "SELECT thread_id, until, calls, state FROM waits WHERE run_id = ?1 AND owner = ?2"
                               " AND until < 'queued '";
static const char sql_asks[] = "SELECT asks FROM waits WHERE run_id = ?1 AND owner = ?2";
static const char sql_note[] = "UPDATE waits SET calls = ?2 WHERE run_id = ?1 AND owner = ?3";
static const char sql_remove[] = "DELETE FROM waits WHERE run_id = ?1 AND owner = ?2";
static const char sql_late[] = "SELECT run_id, owner FROM waits WHERE until < ?1 ORDER BY until LIMIT ?2";

apr_status_t ac_sqlite_suspended_drop(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id)
{
    return ac_sqlite_statement_run(conn, sql_remove, AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->owner)),
                                   &op->err);
}

apr_status_t ac_sqlite_suspended_write(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *run = json_object_get(op->in, "run");
    const char *id = ac_json_peek_string(run, "id", "");
    apr_status_t status = ac_sqlite_statement_run(conn, sql_let_go,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->id),
                                                                 ac_sqlite_json(run), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && sqlite3_changes(conn->db) == 0) {
        status = ac_err_set(&op->err, AC_RUN_ENDED, "the run is not active any more");
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_turn_steps_write(conn, op);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_put,
                                         AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->id),
                                                        ac_sqlite_text(op->owner),
                                                        ac_sqlite_string(json_object_get(op->in, "until")),
                                                        ac_sqlite_json(json_object_get(op->in, "calls")),
                                                        ac_sqlite_json(json_object_get(op->in, "asks")),
                                                        ac_sqlite_json(json_object_get(op->in, "state"))),
                                         &op->err);
    }
    if (status == APR_SUCCESS) {
        const ac_webhook_cause_t cause = {run,           json_object_get(op->in, "asks"), NULL, &op->trace, op->owner,
                                          apr_time_now()};
        status = ac_sqlite_webhook_add(conn, &cause, &op->err);
    }
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}

apr_status_t ac_sqlite_suspended_steps(json_t *steps, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    json_t *asks;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_asks,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status != APR_SUCCESS || !row) {
        return status;
    }
    asks = ac_sqlite_statement_json(row, 0);
    sqlite3_reset(row);
    status = json_array_extend(steps, asks) == 0 ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    json_decref(asks);
    return status;
}

typedef struct wait_t { /* a row; its members are references */
    json_t *thread_id, *until, *calls, *state;
} wait_t;

static void wait_clear(wait_t *wait)
{
    json_decref(wait->thread_id);
    json_decref(wait->until);
    json_decref(wait->calls);
    json_decref(wait->state);
}

static apr_status_t wait_find(wait_t *wait, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_find,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_NOT_WAITING, "the run awaits no approval");
    }
    if (status == APR_SUCCESS) {
        wait->thread_id = ac_sqlite_statement_text(row, 0);
        wait->until = ac_sqlite_statement_text(row, 1);
        wait->calls = ac_sqlite_statement_json(row, 2);
        wait->state = ac_sqlite_statement_json(row, 3);
        sqlite3_reset(row);
        if (!json_is_object(wait->calls) || !json_is_object(wait->state)) {
            status = ac_sqlite_conn_fail_row(conn, &op->err);
        }
    }
    return status;
}

/* From now on the run belongs to this process. */
static apr_status_t sqlite_suspended_acquire(wait_t *wait, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_sqlite_process_t *process = &conn->store->process;
    apr_status_t status =
        ac_sqlite_statement_run(conn, sql_take,
                                AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(process->boot),
                                               ac_sqlite_int(process->pid), ac_sqlite_int(process->started),
                                               ac_sqlite_text(op->owner)),
                                &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_suspended_drop(conn, op, op->id);
    }
    if (status == APR_SUCCESS) {
        op->out =
            json_pack("{s:O, s:O, s:O}", "thread_id", wait->thread_id, "calls", wait->calls, "state", wait->state);
    }
    return status;
}

apr_status_t ac_sqlite_suspended_decide(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    wait_t wait = {0};
    int n_open = 0;
    apr_status_t status = wait_find(&wait, conn, op);

    if (status == APR_SUCCESS) {
        status = ac_store_approval_decide(&n_open, wait.calls, json_string_value(wait.until), op);
    }
    if (status == APR_SUCCESS && n_open > 0) {
        status = ac_sqlite_statement_run(conn, sql_note,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_json(wait.calls),
                                                        ac_sqlite_text(op->owner)),
                                         &op->err);
        op->out = json_pack("{s:i}", "waiting", n_open);
    } else if (status == APR_SUCCESS) {
        status = sqlite_suspended_acquire(&wait, conn, op);
    }
    wait_clear(&wait);
    return status;
}

apr_status_t ac_sqlite_suspended_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    return ac_sqlite_suspended_rows(conn, op, sql_late);
}

apr_status_t ac_sqlite_suspended_rows(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *sql)
{
    json_t *data = json_array();
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql,
                                                    AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(op->in, "before")),
                                                                   ac_sqlite_int(op->page.limit)),
                                                    &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        json_array_append_new(data,
                              json_pack("{s:o, s:o}", "run_id", ac_sqlite_statement_text(stmt, 0), "owner",
                                        ac_sqlite_statement_text(stmt, 1)));
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    op->out = json_pack("{s:o}", "data", data);
    return APR_SUCCESS;
}
