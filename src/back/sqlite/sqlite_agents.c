/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's agents (created through the API), and the stamp that every change of an agent renews. */
#include "sqlite_internal.h"

#include <string.h>

static const char sql_stamp[] = "SELECT value FROM stamps WHERE name = 'agents'";
static const char sql_set_stamp[] =
    "INSERT INTO stamps (name, value) VALUES ('agents', ?1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
static const char sql_list[] = "SELECT doc FROM agents WHERE id > '' ORDER BY id";
static const char sql_find[] = "SELECT etag FROM agents WHERE id = ?1";
static const char sql_put[] = "INSERT INTO agents (id, etag, doc) VALUES (?1, ?2, ?3)"
                              " ON CONFLICT (id) DO UPDATE SET etag = excluded.etag, doc = excluded.doc";
static const char sql_delete[] = "DELETE FROM agents WHERE id = ?1";

/* *pstamp: a new reference; "" if no agent was ever created. */
static apr_status_t sqlite_agents_stamp_read(json_t **pstamp, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_stamp, AC_SQLITE_NO_ARGS, err);

    *pstamp = NULL;
    if (status != APR_SUCCESS) {
        return status;
    }
    *pstamp = row ? ac_sqlite_statement_text(row, 0) : json_string("");
    if (row) {
        sqlite3_reset(row);
    }
    return json_is_string(*pstamp) ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, err);
}

static apr_status_t stamp_renew(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    char stamp[AC_ID_SIZE];

    ac_id_make(stamp, "stamp_");
    return ac_sqlite_statement_run(conn, sql_set_stamp, AC_SQLITE_ARGS(ac_sqlite_text(stamp)), err);
}

static apr_status_t documents_read(json_t *data, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_list, AC_SQLITE_NO_ARGS, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        status = json_array_append_new(data, ac_sqlite_statement_json(stmt, 0)) == 0
            ? ac_sqlite_statement_step(&row, conn, stmt, err)
            : ac_sqlite_conn_fail_row(conn, err);
    }
    return status;
}

apr_status_t ac_sqlite_agent_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *stamp, *data = NULL;
    apr_status_t status = sqlite_agents_stamp_read(&stamp, conn, &op->err);
    const char *known = ac_json_peek_string(op->in, "stamp", NULL);
    bool same = known && status == APR_SUCCESS && strcmp(known, json_string_value(stamp)) == 0;

    if (status == APR_SUCCESS && !same) {
        data = json_array();
        status = documents_read(data, conn, &op->err);
    }
    if (status != APR_SUCCESS) {
        json_decref(data);
        json_decref(stamp);
        return status;
    }
    op->out = json_pack("{s:o, s:o}", "stamp", stamp, "data", data ? data : json_null());
    return op->out ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* etag: the agent's current one; "" if there is no such agent. */
static apr_status_t etag_find(char etag[AC_ETAG_SIZE], ac_sqlite_conn_t *conn, const char *id, ac_err_t *err)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_find, AC_SQLITE_ARGS(ac_sqlite_text(id)), err);

    *etag = '\0';
    if (status == APR_SUCCESS && row) {
        const char *text = (const char *)sqlite3_column_text(row, 0);
        snprintf(etag, AC_ETAG_SIZE, "%s", text ? text : "");
        sqlite3_reset(row);
    }
    return status;
}

apr_status_t ac_sqlite_agent_put(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *agent = json_object_get(op->in, "agent");
    const char *id = NULL, *etag = NULL;
    char found[AC_ETAG_SIZE];
    apr_status_t status = ac_json_string(&id, agent, "id", true, &op->err);

    if (status == APR_SUCCESS) {
        status = ac_json_string(&etag, agent, "etag", true, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = etag_find(found, conn, id, &op->err);
    }
    /* A caller that got store_timeout repeats the request with the same document. */
    if (status == APR_SUCCESS && strcmp(found, etag) != 0) {
        status = ac_store_agent_check(op, found);
    }
    if (status == APR_SUCCESS) {
        status =
            ac_sqlite_statement_run(conn, sql_put,
                                    AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(etag), ac_sqlite_json(agent)),
                                    &op->err);
    }
    if (status == APR_SUCCESS) {
        status = stamp_renew(conn, &op->err);
    }
    if (status == APR_SUCCESS) {
        op->out = json_pack("{s:b}", "created", !*found);
        snprintf(op->etag, sizeof(op->etag), "%s", etag);
    }
    return status;
}

apr_status_t ac_sqlite_agent_delete(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *id = NULL;
    char found[AC_ETAG_SIZE];
    apr_status_t status = ac_json_string(&id, op->in, "id", true, &op->err);

    if (status == APR_SUCCESS) {
        status = etag_find(found, conn, id, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_store_agent_check(op, found);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_delete, AC_SQLITE_ARGS(ac_sqlite_text(id)), &op->err);
    }
    if (status == APR_SUCCESS) {
        status = stamp_renew(conn, &op->err);
    }
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}
