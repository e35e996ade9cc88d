/* SPDX-License-Identifier: Apache-2.0 */
/* The erasures of owners that are not finished, in the embedded store: a row of each, from OWNER_ERASE to
 * OWNER_ERASED. */
#include "sqlite_internal.h"

#include <apr_strings.h>

#define EMPTY_TRIES 20 /* transactions after which the log can be emptied */
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

apr_status_t ac_sqlite_erasures_list(json_t **plist, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(&stmt, conn, sql_ended, AC_SQLITE_NO_ARGS, err);

    *plist = json_array();
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        json_array_append_new(*plist, erasure_read(stmt));
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    return status;
}

/* ---- the end of a purge ---- */

/* The erasures that were purged when the purge found nothing left, and still are. Threads of the others can have been
 * purged by another process after the merge went past their words. */
static json_t *due_still(const json_t *due, const json_t *now)
{
    json_t *still = json_array(), *erasure;
    const json_t *old;
    size_t i, j;

    json_array_foreach(now, i, erasure)
    {
        json_array_foreach(due, j, old)
        {
            if (json_equal(erasure, old)) {
                json_array_append(still, erasure);
            }
        }
    }
    return still;
}

/* One more step. The result keeps what the next one has to know. */
static apr_status_t complete_later(ac_store_op_t *op, const json_t *due, int64_t step, int64_t emptied)
{
    ac_json_put(op->out, "due", json_deep_copy(due));
    ac_json_put(op->out, "step", json_integer(step));
    ac_json_put(op->out, "emptied", json_integer(emptied));
    return AC_SQLITE_TO_WRITER;
}

/* The steps of a merge, one after which the log is to be emptied, and those in which it was not emptied yet. */
static apr_status_t complete_step(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *due, const json_t *before)
{
    int64_t step = ac_json_peek_int(before, "step", 0), emptied = ac_json_peek_int(before, "emptied", 0);
    bool any = json_array_size(due) > 0;
    apr_status_t status;

    if (!step && !ac_sqlite_index_merge_due(conn, any)) {
        step = AC_SQLITE_INDEX_MERGED;
    }
    if (step < AC_SQLITE_INDEX_MERGED) {
        status = ac_sqlite_index_merge(&step, conn, &op->err);
        conn->truncates = true;
        return status == APR_SUCCESS ? complete_later(op, due, step, 0) : status;
    }
    if (!any || (step > AC_SQLITE_INDEX_MERGED && conn->n_emptied > emptied)) {
        return APR_SUCCESS;
    }
    if (step > AC_SQLITE_INDEX_MERGED + EMPTY_TRIES) {
        return ac_err_set(&op->err, AC_STORE_TIMEOUT, "a reader kept the write-ahead log, which was not emptied");
    }
    conn->truncates = true;
    return complete_later(op, due, step + 1, step == AC_SQLITE_INDEX_MERGED ? conn->n_emptied : emptied);
}

apr_status_t ac_sqlite_erasures_complete(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *before)
{
    const json_t *due = json_object_get(before, "due");
    json_t *now, *still;
    apr_status_t status = ac_sqlite_erasures_list(&now, conn, &op->err);

    still = due_still(due ? due : now, now);
    if (status == APR_SUCCESS) {
        status = complete_step(conn, op, due ? due : now, before);
    }
    if (status == APR_SUCCESS && json_array_size(now) > 0) {
        ac_json_put(op->out, "erasures", json_incref(still));
        ac_json_put(op->out, "unfinished", json_integer((int64_t)(json_array_size(now) - json_array_size(still))));
    }
    json_decref(now);
    json_decref(still);
    return status;
}

/* ---- the end of an erasure ---- */

/* The row is the last one that has the owner's name. It is answered when it is not in the log any more either. */
apr_status_t ac_sqlite_erasures_ended(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *mark = ac_json_peek_string(op->in, "mark", "0");
    int64_t tries = ac_json_peek_int(op->out, "tries", 0);
    sqlite3_stmt *row = NULL;
    apr_status_t status = APR_SUCCESS;

    if (op->out && (conn->n_emptied > ac_json_peek_int(op->out, "emptied", 0) || tries >= EMPTY_TRIES)) {
        return APR_SUCCESS;
    }
    if (!op->out) {
        status = ac_sqlite_statement_run(conn, sql_end,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_int(apr_atoi64(mark))),
                                         &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_row(&row, conn, sql_one, AC_SQLITE_ARGS(ac_sqlite_text(op->owner)), &op->err);
        }
        if (status != APR_SUCCESS) {
            return status;
        }
        op->out = json_pack("{s:b, s:I}", "ended", row == NULL, "emptied", (json_int_t)conn->n_emptied);
        if (row) {
            sqlite3_reset(row);
        }
    }
    conn->truncates = true;
    ac_json_put(op->out, "tries", json_integer(tries + 1));
    return AC_SQLITE_TO_WRITER;
}
