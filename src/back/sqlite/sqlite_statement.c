/* SPDX-License-Identifier: Apache-2.0 */
/* Prepared statements of a connection: parameters, rows, and the errors of SQLite. */
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

void ac_sqlite_statement_reset(ac_sqlite_conn_t *conn)
{
    for (int i = 0; i < AC_SQLITE_STATEMENTS && conn->statements[i].sql; i++) {
        if (conn->statements[i].used) {
            sqlite3_reset(conn->statements[i].stmt);
            sqlite3_clear_bindings(conn->statements[i].stmt);
            conn->statements[i].used = false;
        }
    }
}

static int statement_get(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql)
{
    int i = 0, code = SQLITE_OK;

    while (i < AC_SQLITE_STATEMENTS && conn->statements[i].sql && conn->statements[i].sql != sql) {
        i++;
    }
    if (i == AC_SQLITE_STATEMENTS) {
        return SQLITE_MISUSE;
    }
    if (!conn->statements[i].stmt) {
        code = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &conn->statements[i].stmt, NULL);
        conn->statements[i].sql = conn->statements[i].stmt ? sql : NULL;
    }
    *pstmt = conn->statements[i].stmt;
    conn->statements[i].used = *pstmt != NULL;
    return code;
}

static int bind_json(sqlite3_stmt *stmt, int index, const json_t *json)
{
    size_t len;
    char *text;

    if (!json || json_is_null(json)) {
        return sqlite3_bind_null(stmt, index);
    }
    text = ac_json_dump(json, &len);
    return text ? sqlite3_bind_text64(stmt, index, text, len, free, SQLITE_UTF8) : SQLITE_NOMEM;
}

static int bind_arg(sqlite3_stmt *stmt, int index, const ac_sqlite_arg_t *arg)
{
    switch (arg->type) {
    case AC_SQLITE_TEXT: return sqlite3_bind_text(stmt, index, arg->text, (int)arg->number, SQLITE_STATIC);
    case AC_SQLITE_INT: return sqlite3_bind_int64(stmt, index, arg->number);
    case AC_SQLITE_JSON: return bind_json(stmt, index, arg->json);
    default: return SQLITE_MISUSE;
    }
}

apr_status_t ac_sqlite_statement_start(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                       const ac_sqlite_arg_t *args, ac_err_t *err)
{
    int code = statement_get(pstmt, conn, sql);

    if (code != SQLITE_OK) {
        return ac_sqlite_conn_fail(conn, code, err);
    }
    sqlite3_reset(*pstmt);
    for (int i = 0; code == SQLITE_OK && args[i].type != AC_SQLITE_END; i++) {
        code = bind_arg(*pstmt, i + 1, &args[i]);
    }
    return code == SQLITE_OK ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

apr_status_t ac_sqlite_statement_step(bool *prow, ac_sqlite_conn_t *conn, sqlite3_stmt *stmt, ac_err_t *err)
{
    int code = sqlite3_step(stmt);

    *prow = code == SQLITE_ROW;
    if (*prow) {
        return APR_SUCCESS;
    }
    sqlite3_reset(stmt);
    return code == SQLITE_DONE ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

apr_status_t ac_sqlite_statement_run(ac_sqlite_conn_t *conn, const char *sql, const ac_sqlite_arg_t *args,
                                     ac_err_t *err)
{
    sqlite3_stmt *stmt;
    bool row;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql, args, err);

    return status == APR_SUCCESS ? ac_sqlite_statement_step(&row, conn, stmt, err) : status;
}

apr_status_t ac_sqlite_statement_row(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                     const ac_sqlite_arg_t *args, ac_err_t *err)
{
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(pstmt, conn, sql, args, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, *pstmt, err);
    }
    if (!row) {
        *pstmt = NULL;
    }
    return status;
}

json_t *ac_sqlite_statement_text(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return text ? json_stringn(text, (size_t)sqlite3_column_bytes(stmt, column)) : json_null();
}

json_t *ac_sqlite_statement_json(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    if (!text) {
        return json_null();
    }
    return json_loadb(text, (size_t)sqlite3_column_bytes(stmt, column), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}
