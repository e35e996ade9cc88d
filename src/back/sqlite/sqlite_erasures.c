/* SPDX-License-Identifier: Apache-2.0 */
/* The erasures of owners that are not finished, in the embedded store: a row of each, from OWNER_ERASE to
 * OWNER_ERASED. */
#include "sqlite_internal.h"

#include <apr_strings.h>

#define COLUMNS "owner, id, at, round, threads, messages, runs, files, traces"
static const char sql_one[] = "SELECT " COLUMNS " FROM erasures WHERE owner = ?1";
static const char sql_store[] =
    "INSERT OR REPLACE INTO erasures (owner, id, at, round, threads, messages, runs, files, traces)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char sql_ended[] = "SELECT " COLUMNS " FROM erasures WHERE owner > '' AND NOT EXISTS"
                                " (SELECT 1 FROM threads WHERE threads.owner = erasures.owner AND status = 'purging')";
static const char sql_end[] = "DELETE FROM erasures WHERE owner = ?1 AND round = ?2";

static json_t *erasure_read(sqlite3_stmt *row)
{
    json_t *out = json_object();
    static const char *const texts[] = {"owner", "id", "at", "mark"},
                             *const counts[] = {"threads", "messages", "runs", "files"};
    for (int i = 0; i < 4; i++) {
        ac_json_put(out, texts[i], ac_sqlite_statement_text(row, i));
        ac_json_put(out, counts[i], json_integer(sqlite3_column_int64(row, 4 + i)));
    }
    ac_json_put(out, "traces", ac_sqlite_statement_json(row, 8));
    return out;
}

apr_status_t ac_sqlite_erasures_find(json_t **perasure, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_one, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);

    if (status != APR_SUCCESS) {
        return status;
    }
    if (row) {
        *perasure = erasure_read(row);
        sqlite3_reset(row);
        return APR_SUCCESS;
    }
    *perasure = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:{s:[], s:[], s:[]}}", "owner", op->owner, "id",
                          ac_json_peek_string(op->in, "id", ""), "at", ac_json_peek_string(op->in, "at", ""), "mark",
                          "0", "threads", 0, "messages", 0, "runs", 0, "files", 0, "traces", "threads", "files",
                          "runs");
    return APR_SUCCESS;
}

apr_status_t ac_sqlite_erasures_store(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *erasure)
{
    const char *mark = ac_json_peek_string(erasure, "mark", "0");

    return ac_sqlite_statement_run(conn, sql_store,
                                   AC_SQLITE_ARGS(ac_sqlite_text(op->owner),
                                                  ac_sqlite_text(ac_json_peek_string(erasure, "id", "")),
                                                  ac_sqlite_text(ac_json_peek_string(erasure, "at", "")),
                                                  ac_sqlite_int(apr_atoi64(mark)),
                                                  ac_sqlite_int(ac_json_peek_int(erasure, "threads", 0)),
                                                  ac_sqlite_int(ac_json_peek_int(erasure, "messages", 0)),
                                                  ac_sqlite_int(ac_json_peek_int(erasure, "runs", 0)),
                                                  ac_sqlite_int(ac_json_peek_int(erasure, "files", 0)),
                                                  ac_sqlite_json(json_object_get(erasure, "traces"))),
                                   &op->err);
}

apr_status_t ac_sqlite_erasures_list(json_t *out, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    json_t *ended = json_array();
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_ended, AC_SQLITE_NO_ARGS, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        json_array_append_new(ended, erasure_read(stmt));
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    if (json_array_size(ended) > 0) {
        ac_json_put(out, "erasures", json_incref(ended));
    }
    json_decref(ended);
    return status;
}

apr_status_t ac_sqlite_erasures_ended(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *mark = ac_json_peek_string(op->in, "mark", "0");
    apr_status_t status =
        ac_sqlite_statement_run(conn, sql_end,
                                AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_int(apr_atoi64(mark))), &op->err);
    sqlite3_stmt *row = NULL;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_row(&row, conn, sql_one, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);
    }
    if (status == APR_SUCCESS) {
        conn->truncates = true;
        op->out = json_pack("{s:b}", "ended", row == NULL);
    }
    if (row) {
        sqlite3_reset(row);
    }
    return status;
}
