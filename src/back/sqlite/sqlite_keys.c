/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's Idempotency-Keys: the run that a key leads to, and for how long. */
#include "sqlite_internal.h"

#include <string.h>

static const char sql_find[] =
    "SELECT run_id, thread_id, request_hash FROM keys WHERE owner = ?1 AND key = ?2 AND created_at >= ?3";
static const char sql_insert[] =
    "INSERT INTO keys (owner, key, run_id, thread_id, request_hash, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
    " ON CONFLICT (owner, key) DO UPDATE SET run_id = excluded.run_id, thread_id = excluded.thread_id,"
    " request_hash = excluded.request_hash, created_at = excluded.created_at";
static const char sql_purge[] =
    "DELETE FROM keys WHERE (owner, key) IN (SELECT owner, key FROM keys WHERE created_at < ?1 LIMIT ?2)";

/* *pfound: {run_id, thread_id, request_hash}, or NULL. */
static apr_status_t key_find(json_t **pfound, ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *in)
{
    const char *key = NULL, *since = NULL;
    sqlite3_stmt *row = NULL;
    bool fine;
    apr_status_t status = ac_json_string(&key, in, "key", true, &op->err);

    *pfound = NULL;
    if (status == APR_SUCCESS) {
        status = ac_json_string(&since, in, "since", true, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_row(&row, conn, sql_find,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(key),
                                                        ac_sqlite_text(since)),
                                         &op->err);
    }
    if (status != APR_SUCCESS || !row) {
        return status;
    }
    *pfound = json_object();
    fine = ac_json_put(*pfound, "run_id", ac_sqlite_statement_text(row, 0));
    fine = ac_json_put(*pfound, "thread_id", ac_sqlite_statement_text(row, 1)) && fine;
    fine = ac_json_put(*pfound, "request_hash", ac_sqlite_statement_text(row, 2)) && fine;
    sqlite3_reset(row);
    if (!fine) {
        json_decref(*pfound);
        *pfound = NULL;
        return ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return APR_SUCCESS;
}

apr_status_t ac_sqlite_key_get(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = key_find(&op->out, conn, op, op->in);

    if (status == APR_SUCCESS && !op->out) {
        status = ac_err_set(&op->err, AC_NOT_FOUND, "this key was not used");
    }
    return status;
}

apr_status_t ac_sqlite_key_take(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *in = json_object_get(op->in, "idempotency"), *run = json_object_get(op->in, "run");
    json_t *found = NULL;
    const char *ours = ac_json_peek_string(run, "id", "");
    apr_status_t status;

    if (!json_is_object(in)) {
        return APR_SUCCESS;
    }
    status = key_find(&found, conn, op, in);
    if (status != APR_SUCCESS) {
        return status;
    }
    /* A caller that got store_timeout repeats the request with the same run. */
    if (found && strcmp(ac_json_peek_string(found, "run_id", ""), ours) != 0) {
        op->out = found;
        return ac_err_set(&op->err, AC_IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used before");
    }
    json_decref(found);
    return ac_sqlite_statement_run(conn, sql_insert,
                                   AC_SQLITE_ARGS(ac_sqlite_text(op->owner),
                                                  ac_sqlite_string(json_object_get(in, "key")), ac_sqlite_text(ours),
                                                  ac_sqlite_text(op->id),
                                                  ac_sqlite_string(json_object_get(in, "request_hash")),
                                                  ac_sqlite_string(json_object_get(run, "created_at"))),
                                   &op->err);
}

apr_status_t ac_sqlite_key_put(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = ac_sqlite_key_take(conn, op);

    if (status == APR_SUCCESS) {
        op->out = json_object();
    }
    return status;
}

apr_status_t ac_sqlite_key_purge(int *pn, ac_sqlite_conn_t *conn, const char *before, int limit, ac_err_t *err)
{
    apr_status_t status =
        ac_sqlite_statement_run(conn, sql_purge, AC_SQLITE_ARGS(ac_sqlite_text(before), ac_sqlite_int(limit)), err);

    *pn = status == APR_SUCCESS ? sqlite3_changes(conn->db) : 0;
    return status;
}
