/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's OWNER_ERASE: one transaction makes all threads of an owner those of a purge that is under way,
 * which no reader sees and nothing restores, and removes what belongs to no thread. A purge removes their contents. */
#include "sqlite_internal.h"

#include <string.h>

#include <apr_strings.h>

#define LONG_AGO "0000-00-00T00:00:00.000Z" /* any purge finds the threads, and before all others */
#define ERASED " erased"                    /* in place of the owner of usage; no owner can have this name */

static const char sql_threads[] = "SELECT id FROM threads WHERE owner = ?1 AND status <> 'purging'";
static const char sql_counts[] = "SELECT coalesce(sum(message_count), 0), (SELECT count(*) FROM runs WHERE thread_id IN"
                                 " (SELECT id FROM threads WHERE owner = ?1 AND status <> 'purging'))"
                                 " FROM threads WHERE owner = ?1 AND status <> 'purging'";
static const char sql_active[] =
    "SELECT id, thread_id FROM runs WHERE " AC_SQLITE_ACTIVE
    " AND thread_id IN (SELECT id FROM threads WHERE owner = ?1 AND status <> 'purging') LIMIT 1";
static const char sql_files[] = "SELECT id FROM files WHERE owner = ?1";
static const char sql_hide[] = "UPDATE threads SET status = 'purging', deleted_at = '" LONG_AGO
                               "', restore_status = NULL, title = NULL,"
                               " metadata = NULL, version = version + 1 WHERE owner = ?1";
static const char *const removals[] = {
    "DELETE FROM waits WHERE thread_id IN (SELECT id FROM threads WHERE owner = ?1)",
    "DELETE FROM files WHERE owner = ?1",
    "DELETE FROM keys WHERE owner = ?1",
};
/* The rows keep apart from those of other owners, so that none is overwritten. */
static const char sql_usage[] = "UPDATE usage SET owner = '" ERASED "', source = ?2 || source WHERE owner = ?1";

static apr_status_t erased_ids(json_t *ids, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *sql)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        json_array_append_new(ids, ac_sqlite_statement_text(stmt, 0));
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

/* Ends the owner's active runs: their usage counts. */
static apr_status_t runs_end(json_t *ids, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_sqlite_arg_t args[] = {ac_sqlite_text(op->owner), {.type = AC_SQLITE_END}};
    char thread_id[AC_ID_SIZE];
    sqlite3_stmt *row = NULL;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_active, args, &op->err);

    while (status == APR_SUCCESS && row) {
        json_array_append_new(ids, ac_sqlite_statement_text(row, 0));
        apr_cpystrn(thread_id, (const char *)sqlite3_column_text(row, 1), sizeof(thread_id));
        sqlite3_reset(row);
        status = ac_sqlite_run_end(conn, thread_id, &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_row(&row, conn, sql_active, args, &op->err);
        }
    }
    return status;
}

static apr_status_t counts_read(json_t *out, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_counts, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);

    if (status == APR_SUCCESS && row) {
        ac_json_put(out, "messages", json_integer(sqlite3_column_int64(row, 0)));
        ac_json_put(out, "runs", json_integer(sqlite3_column_int64(row, 1)));
        sqlite3_reset(row);
    }
    return status;
}

apr_status_t ac_sqlite_erase_owner(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *threads = json_array(), *active = json_array(), *files = json_array();
    json_t *out = json_pack("{s:o, s:o, s:o}", "threads", threads, "active", active, "files", files);
    const char *source = ac_json_peek_string(op->in, "id", "");
    const ac_sqlite_arg_t owner[] = {ac_sqlite_text(op->owner), {.type = AC_SQLITE_END}};
    apr_status_t status = counts_read(out, conn, op);

    if (status == APR_SUCCESS) {
        status = erased_ids(threads, conn, op, sql_threads);
    }
    if (status == APR_SUCCESS) {
        status = erased_ids(files, conn, op, sql_files);
    }
    if (status == APR_SUCCESS) {
        status = runs_end(active, conn, op);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < sizeof(removals) / sizeof(*removals); i++) {
        status = ac_sqlite_statement_run(conn, removals[i], owner, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_usage,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(source)), &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_hide, owner, &op->err);
    }
    if (status != APR_SUCCESS) {
        json_decref(out);
        return status;
    }
    conn->truncates = true;
    op->out = out;
    return APR_SUCCESS;
}
