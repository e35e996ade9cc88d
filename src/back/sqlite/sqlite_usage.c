/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's usage: daily sums, which change in the transaction that ends a run. */
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define KEY_COLUMNS "day, owner, agent_id, model, status, error, currency, source"
#define KEY_IS \
    "day = ?1 AND owner = ?2 AND agent_id = ?3 AND model = ?4 AND status = ?5 AND error = ?6 AND currency = ?7" \
    " AND source = ?8"

static const char sql_find[] = "SELECT figures FROM usage WHERE " KEY_IS;
static const char sql_put[] = "INSERT INTO usage (" KEY_COLUMNS ", figures) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                              " ON CONFLICT (" KEY_COLUMNS ") DO UPDATE SET figures = excluded.figures";
static const char sql_owned[] = "SELECT " KEY_COLUMNS
                                ", figures FROM usage WHERE owner = ?1 AND day >= ?2 AND day <= ?3";
static const char sql_all[] = "SELECT " KEY_COLUMNS ", figures FROM usage WHERE day >= ?1 AND day <= ?2";
static const char sql_export[] = "SELECT " KEY_COLUMNS ", figures FROM usage WHERE (" KEY_COLUMNS
                                 ") > (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
                                 " ORDER BY " KEY_COLUMNS " LIMIT ?9";
static const char sql_runs[] = "SELECT owner, doc FROM runs WHERE status NOT IN ('queued', 'in_progress')";
static const char sql_run[] = "SELECT 1 FROM runs JOIN threads ON threads.id = runs.thread_id"
                              " WHERE runs.id = ?1 AND runs.owner = ?2 AND threads.status <> 'purging'";
static const char sql_store_id[] = "SELECT value FROM stamps WHERE name = 'store'";

/* ---- writing ---- */

/* The values of a row's key, ?1 to ?8. */
#define KEY_ARGS(key) \
    ac_sqlite_string(json_array_get(key, 0)), ac_sqlite_string(json_array_get(key, 1)), \
        ac_sqlite_string(json_array_get(key, 2)), ac_sqlite_string(json_array_get(key, 3)), \
        ac_sqlite_string(json_array_get(key, 4)), ac_sqlite_string(json_array_get(key, 5)), \
        ac_sqlite_string(json_array_get(key, 6)), ac_sqlite_string(json_array_get(key, 7))

static apr_status_t row_put(ac_sqlite_conn_t *conn, const json_t *key, const json_t *figures, ac_err_t *err)
{
    return ac_sqlite_statement_run(conn, sql_put, AC_SQLITE_ARGS(KEY_ARGS(key), ac_sqlite_json(figures)), err);
}

/* Adds the row's figures to the stored ones, or removes them. row NULL: nothing to do. */
static apr_status_t row_add(ac_sqlite_conn_t *conn, const json_t *row, int sign, ac_err_t *err)
{
    json_t *key, *figures = NULL;
    sqlite3_stmt *stmt;
    apr_status_t status;

    if (!row) {
        return APR_SUCCESS;
    }
    key = ac_usage_row_key(row);
    status = ac_sqlite_statement_row(&stmt, conn, sql_find, AC_SQLITE_ARGS(KEY_ARGS(key)), err);
    if (status == APR_SUCCESS && stmt) {
        figures = ac_sqlite_statement_json(stmt, 0);
        sqlite3_reset(stmt);
    }
    if (status == APR_SUCCESS) {
        if (!json_is_object(figures)) {
            json_decref(figures);
            figures = json_object();
        }
        ac_usage_add(figures, json_object_get(row, "figures"), sign);
        status = row_put(conn, key, figures, err);
    }
    json_decref(figures);
    json_decref(key);
    return status;
}

apr_status_t ac_sqlite_usage_count(ac_sqlite_conn_t *conn, const char *owner, const json_t *before, const json_t *after,
                                   ac_err_t *err)
{
    json_t *old = ac_usage_row(before, owner), *row = ac_usage_row(after, owner);
    apr_status_t status = APR_SUCCESS;

    if (!old || !row || !json_equal(old, row)) {
        status = row_add(conn, old, -1, err);
        if (status == APR_SUCCESS) {
            status = row_add(conn, row, 1, err);
        }
    }
    json_decref(old);
    json_decref(row);
    return status;
}

apr_status_t ac_sqlite_usage_call(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_sqlite_arg_t args[] = {ac_sqlite_text(op->id), ac_sqlite_text(op->owner), {.type = AC_SQLITE_END}};
    json_t *row = ac_usage_call_row(op->in, op->owner);
    sqlite3_stmt *run = NULL;
    apr_status_t status = row ? ac_sqlite_statement_row(&run, conn, sql_run, args, &op->err)
                              : ac_err_set(&op->err, AC_INVALID_REQUEST, "no call of a model");

    if (status == APR_SUCCESS && run) {
        sqlite3_reset(run);
        status = row_add(conn, row, 1, &op->err);
    }
    json_decref(row);
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}

/* ---- the update of an older file ---- */

/* Adds the run of the statement's row to sums: the text of a key → figures. */
static void run_note(json_t *sums, sqlite3_stmt *stmt)
{
    const char *owner = (const char *)sqlite3_column_text(stmt, 0);
    json_t *run = ac_sqlite_statement_json(stmt, 1), *row = owner ? ac_usage_row(run, owner) : NULL;
    json_t *key = row ? ac_usage_row_key(row) : NULL, *figures;
    char *text = key ? ac_json_dump(key, NULL) : NULL;

    if (text) {
        figures = json_object_get(sums, text);
        if (!figures) {
            figures = json_object();
            json_object_set_new(sums, text, figures);
        }
        ac_usage_add(figures, json_object_get(row, "figures"), 1);
    }
    free(text);
    json_decref(key);
    json_decref(row);
    json_decref(run);
}

apr_status_t ac_sqlite_usage_fill(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    json_t *sums = json_object(), *figures;
    const char *text;
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_runs, AC_SQLITE_NO_ARGS, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        run_note(sums, stmt);
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    json_object_foreach(sums, text, figures)
    {
        json_t *key = json_loads(text, 0, NULL);
        if (status == APR_SUCCESS && key) {
            status = row_put(conn, key, figures, err);
        }
        json_decref(key);
    }
    json_decref(sums);
    ac_sqlite_statement_reset(conn);
    return status;
}

/* ---- reading ---- */

/* The row of a statement that selects KEY_COLUMNS and figures. NULL: damaged. */
static json_t *row_read(sqlite3_stmt *stmt)
{
    json_t *row = json_object();

    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
        json_t *value = i == sqlite3_column_count(stmt) - 1 ? ac_sqlite_statement_json(stmt, i)
                                                            : ac_sqlite_statement_text(stmt, i);
        ac_json_put(row, sqlite3_column_name(stmt, i), value);
    }
    if (!ac_usage_row_valid(row)) {
        json_decref(row);
        return NULL;
    }
    return row;
}

static apr_status_t sum_rows(ac_usage_sum_t *sum, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *stmt)
{
    bool more = false;
    apr_status_t status = ac_sqlite_statement_step(&more, conn, stmt, &op->err);

    while (status == APR_SUCCESS && more) {
        json_t *row = row_read(stmt);
        status = row ? ac_usage_sum_add(sum, row, &op->err) : ac_sqlite_conn_fail_row(conn, &op->err);
        json_decref(row);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&more, conn, stmt, &op->err);
        }
    }
    return status;
}

apr_status_t ac_sqlite_usage_sum(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *from = ac_json_peek_string(op->in, "from", ""), *to = ac_json_peek_string(op->in, "to", "~");
    bool all = op->verb == AC_STORE_USAGE_SUM_ALL;
    ac_usage_sum_t sum;
    sqlite3_stmt *stmt;
    apr_status_t status = all
        ? ac_sqlite_statement_start(&stmt, conn, sql_all, AC_SQLITE_ARGS(ac_sqlite_text(from), ac_sqlite_text(to)),
                                    &op->err)
        : ac_sqlite_statement_start(&stmt, conn, sql_owned,
                                    AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(from), ac_sqlite_text(to)),
                                    &op->err);

    ac_usage_sum_init(&sum, op->in);
    if (status == APR_SUCCESS) {
        status = sum_rows(&sum, conn, op, stmt);
    }
    if (status == APR_SUCCESS) {
        op->out = ac_usage_sum_out(&sum);
        return APR_SUCCESS;
    }
    ac_usage_sum_free(&sum);
    return status;
}

/* ---- moving ---- */

static apr_status_t store_id(char id[AC_ID_SIZE], ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_store_id, AC_SQLITE_NO_ARGS, err);

    *id = '\0';
    if (status == APR_SUCCESS && row) {
        apr_cpystrn(id, (const char *)sqlite3_column_text(row, 0), AC_ID_SIZE);
        sqlite3_reset(row);
    }
    return status == APR_SUCCESS && !*id ? ac_sqlite_conn_fail_row(conn, err) : status;
}

apr_status_t ac_sqlite_usage_export(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *given = json_object_get(op->in, "after");
    json_t *data = json_array(), *after, *next = NULL;
    char own[AC_ID_SIZE];
    sqlite3_stmt *stmt;
    bool more = false;
    apr_status_t status = store_id(own, conn, &op->err);

    after = json_is_string(given) ? json_loads(json_string_value(given), 0, NULL) : NULL;
    if (!json_is_array(after)) {
        json_decref(after);
        after = json_pack("[s, s, s, s, s, s, s, s]", "", "", "", "", "", "", "", "");
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_start(&stmt, conn, sql_export,
                                           AC_SQLITE_ARGS(KEY_ARGS(after), ac_sqlite_int(op->page.limit)), &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&more, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && more) {
        json_t *row = row_read(stmt);
        json_decref(next);
        next = ac_usage_row_key(row);
        if (row && !*ac_json_peek_string(row, "source", "")) {
            ac_json_put(row, "source", json_string(own));
        }
        status = json_array_append_new(data, row) == 0 ? ac_sqlite_statement_step(&more, conn, stmt, &op->err)
                                                       : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    if (status == APR_SUCCESS) {
        char *text = (int)json_array_size(data) == op->page.limit ? ac_json_dump(next, NULL) : NULL;
        op->out = json_pack("{s:O, s:s?}", "data", data, "next", text);
        free(text);
    }
    json_decref(next);
    json_decref(after);
    json_decref(data);
    return status;
}

apr_status_t ac_sqlite_usage_import(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *rows = json_object_get(op->in, "rows"), *row;
    char own[AC_ID_SIZE];
    size_t i;
    apr_status_t status = store_id(own, conn, &op->err);

    json_array_foreach(rows, i, row)
    {
        const char *source = ac_json_peek_string(row, "source", "");
        json_t *key = ac_usage_row_key(row);
        if (status == APR_SUCCESS && (!ac_usage_row_valid(row) || !*source)) {
            status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/rows", "has an incomplete row");
        }
        if (status == APR_SUCCESS && strcmp(source, own) != 0) {
            status = row_put(conn, key, json_object_get(row, "figures"), &op->err);
        }
        json_decref(key);
    }
    op->out = status == APR_SUCCESS ? json_object() : NULL;
    return status;
}
