/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's OWNER_ERASE: one transaction makes all threads of an owner those of a purge that is under way,
 * which no reader sees and nothing restores, removes what belongs to no thread, and stores the erasure. A purge removes
 * the contents of the threads, and OWNER_ERASED the erasure itself: the last row that has the owner's name. */
#include "sqlite_internal.h"

#include <string.h>

#include <apr_strings.h>

#define LONG_AGO "0000-00-00T00:00:00.000Z" /* any purge finds the threads, and before all others */
#define ERASED " erased"                    /* in place of the owner of what stays; no owner can have this name */
#define MOST_TRACES 100000                  /* ids of a kind */

#define THEIRS "SELECT id FROM threads WHERE owner = ?1 AND status <> 'purging'"

/* What is outside of the store. The event logs of runs are on this machine, and say whose they are. */
static const char sql_thread_ids[] = "SELECT id FROM threads WHERE owner = ?1 AND status <> 'purging' LIMIT ?2";
static const char sql_file_ids[] = "SELECT id FROM files WHERE owner = ?1 ORDER BY id DESC LIMIT ?2";
static const struct {
    const char *name, *sql;
} traces[] = {
    {"threads", sql_thread_ids},
    {"files", sql_file_ids},
};
static const char sql_counts[] = "SELECT count(*), coalesce(sum(message_count), 0),"
                                 " (SELECT count(*) FROM runs WHERE owner = ?1 AND thread_id IN (" THEIRS ")),"
                                 " (SELECT count(*) FROM files WHERE owner = ?1)"
                                 " FROM threads WHERE owner = ?1 AND status <> 'purging'";
static const char sql_active[] = "SELECT id, thread_id FROM runs WHERE " AC_SQLITE_ACTIVE
                                 " AND owner = ?1 AND thread_id IN (" THEIRS ") LIMIT 1";
static const char sql_hide[] = "UPDATE threads SET status = 'purging', deleted_at = '" LONG_AGO
                               "', restore_status = NULL, title = NULL,"
                               " metadata = NULL, version = version + 1 WHERE owner = ?1";
static const char *const removals[] = {
    "DELETE FROM waits WHERE thread_id IN (SELECT id FROM threads WHERE owner = ?1)",
    "DELETE FROM webhooks WHERE thread_id IN (SELECT id FROM threads WHERE owner = ?1)",
    "DELETE FROM files WHERE owner = ?1",
    "DELETE FROM keys WHERE owner = ?1",
    /* The numbers of the search index stay taken. */
    "UPDATE search_ranges SET owner = '" ERASED "' WHERE owner = ?1",
};
/* The rows keep apart from those of other owners and rounds, so that none is overwritten. */
static const char sql_usage[] = "UPDATE usage SET owner = '" ERASED "', source = ?2 || source WHERE owner = ?1";

/* Adds ids to those that an earlier round has left. */
static apr_status_t traces_add(json_t *erasure, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *all = json_object_get(erasure, "traces");
    apr_status_t status = APR_SUCCESS;

    for (size_t i = 0; status == APR_SUCCESS && i < sizeof(traces) / sizeof(*traces); i++) {
        bool row = false;
        json_t *ids = json_object_get(all, traces[i].name);
        sqlite3_stmt *stmt;
        status = ac_sqlite_statement_start(&stmt, conn, traces[i].sql,
                                           AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_int(MOST_TRACES)),
                                           &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
        while (status == APR_SUCCESS && row) {
            json_array_append_new(ids, ac_sqlite_statement_text(stmt, 0));
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
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

static apr_status_t counts_add(json_t *erasure, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    static const char *const names[] = {"threads", "messages", "runs", "files"};
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_counts, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);

    for (int i = 0; status == APR_SUCCESS && row && i < 4; i++) {
        int64_t n = ac_json_peek_int(erasure, names[i], 0) + sqlite3_column_int64(row, i);
        ac_json_put(erasure, names[i], json_integer(n));
    }
    if (row) {
        sqlite3_reset(row);
    }
    return status;
}

static apr_status_t owner_remove(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *source)
{
    const ac_sqlite_arg_t owner[] = {ac_sqlite_text(op->owner), {.type = AC_SQLITE_END}};
    apr_status_t status = ac_sqlite_statement_run(conn, sql_usage,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_text(source)),
                                                  &op->err);

    for (size_t i = 0; status == APR_SUCCESS && i < sizeof(removals) / sizeof(*removals); i++) {
        status = ac_sqlite_statement_run(conn, removals[i], owner, &op->err);
    }
    return status == APR_SUCCESS ? ac_sqlite_statement_run(conn, sql_hide, owner, &op->err) : status;
}

apr_status_t ac_sqlite_erase_owner(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *erasure = NULL, *active = json_array();
    char source[AC_ID_SIZE + 24];
    apr_status_t status = ac_sqlite_erasures_find(&erasure, conn, op);

    if (status == APR_SUCCESS) {
        int64_t round = apr_atoi64(ac_json_peek_string(erasure, "mark", "0")) + 1;
        ac_json_put(erasure, "mark", json_sprintf("%" JSON_INTEGER_FORMAT, (json_int_t)round));
        apr_snprintf(source, sizeof(source), "%s.%" APR_INT64_T_FMT ".", ac_json_peek_string(erasure, "id", ""), round);
        status = counts_add(erasure, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = traces_add(erasure, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = runs_end(active, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = owner_remove(conn, op, source);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_erasures_store(conn, op, erasure);
    }
    if (status != APR_SUCCESS) {
        json_decref(active);
        json_decref(erasure);
        return status;
    }
    ac_json_put(erasure, "active", active);
    conn->truncates = true;
    op->out = erasure;
    return APR_SUCCESS;
}
