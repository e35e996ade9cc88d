/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's feedback: a column of the message that it is about. */
#include "sqlite_internal.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

static const char sql_find[] =
    "SELECT m.thread_id, m.role, m.feedback, r.doc FROM messages m JOIN threads t ON t.id = m.thread_id"
    " LEFT JOIN runs r ON r.id = m.run_id WHERE m.id = ?1 AND t.owner = ?2 AND t.deleted_at IS NULL"
    " AND json_extract(m.marks, '$.deleted') IS NULL";
static const char sql_put[] = "UPDATE messages SET feedback = ?3, feedback_at = ?4 WHERE id = ?1 AND thread_id = ?5"
                              " AND " AC_SQLITE_THREAD_OF("?5", "?2");
static const char sql_list[] =
    "SELECT m.feedback_at, m.id, m.thread_id, m.run_id, t.owner, m.feedback, CASE WHEN ?4 THEN m.content END,"
    " CASE WHEN NOT ?4 THEN NULL WHEN m.parent_id IS NULL"
    " THEN (SELECT q.content FROM messages q WHERE q.thread_id = m.thread_id AND q.seq = m.seq - 1)"
    " ELSE (SELECT q.content FROM messages q WHERE q.thread_id = m.thread_id AND q.id = m.parent_id) END"
    " FROM messages m JOIN threads t ON t.id = m.thread_id WHERE m.feedback_at IS NOT NULL"
    " AND (m.feedback_at, m.id) > (?1, ?2) AND m.feedback_at <= ?3 AND t.deleted_at IS NULL"
    " ORDER BY m.feedback_at, m.id";

/* ---- FEEDBACK_PUT ---- */

typedef struct rated_t { /* the message */
    char thread_id[AC_ID_SIZE];
    json_t *before, *run;
} rated_t;

static void rated_clear(rated_t *rated)
{
    json_decref(rated->before);
    json_decref(rated->run);
}

/* errors: not_found, invalid_request */
static apr_status_t rated_find(rated_t *rated, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *wanted = ac_json_peek_string(op->in, "thread_id", NULL);
    sqlite3_stmt *row = NULL;
    bool answer;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_find,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status != APR_SUCCESS) {
        return status;
    }
    if (!row || (wanted && strcmp(wanted, (const char *)sqlite3_column_text(row, 0)) != 0)) {
        return ac_err_set(&op->err, AC_NOT_FOUND, "no message with this id");
    }
    apr_cpystrn(rated->thread_id, (const char *)sqlite3_column_text(row, 0), sizeof(rated->thread_id));
    answer = strcmp((const char *)sqlite3_column_text(row, 1), "assistant") == 0;
    rated->before = ac_sqlite_statement_json(row, 2);
    rated->run = ac_sqlite_statement_json(row, 3);
    sqlite3_reset(row);
    return answer ? APR_SUCCESS : ac_err_set(&op->err, AC_INVALID_REQUEST, "only answers can be rated");
}

apr_status_t ac_sqlite_feedback_put(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    rated_t rated = {.before = NULL};
    json_t *made = NULL;
    apr_status_t status = rated_find(&rated, conn, op);

    if (status == APR_SUCCESS) {
        status = ac_feedback_make(&made, &op->out, op, rated.before, rated.run);
    }
    if (status == APR_SUCCESS && !ac_json_put(op->out, "thread_id", json_string(rated.thread_id))) {
        status = ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    if (status == APR_SUCCESS) {
        status =
            ac_sqlite_statement_run(conn, sql_put,
                                    AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner),
                                                   ac_sqlite_json(made), ac_sqlite_string(json_object_get(made, "at")),
                                                   ac_sqlite_text(rated.thread_id)),
                                    &op->err);
    }
    json_decref(made);
    rated_clear(&rated);
    return status;
}

/* ---- FEEDBACK_LIST ---- */

/* Appends the row, if the filters let it in. */
static apr_status_t rated_add(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    json_t *item = ac_sqlite_statement_json(row, 5);
    bool words = json_is_true(json_object_get(op->in, "words")), fine;

    if (!json_is_object(item)) {
        json_decref(item);
        return ac_sqlite_conn_fail_row(conn, &op->err);
    }
    if (!ac_feedback_wanted(op->in, item)) {
        json_decref(item);
        return APR_SUCCESS;
    }
    fine = ac_json_put(item, "message_id", ac_sqlite_statement_text(row, 1));
    fine = ac_json_put(item, "thread_id", ac_sqlite_statement_text(row, 2)) && fine;
    fine = ac_json_put(item, "run_id", ac_sqlite_statement_text(row, 3)) && fine;
    fine = ac_json_put(item, "owner", ac_sqlite_statement_text(row, 4)) && fine;
    if (words) {
        fine = ac_json_put(item, "answer", ac_sqlite_statement_text(row, 6)) && fine;
        fine = ac_json_put(item, "question", ac_sqlite_statement_text(row, 7)) && fine;
    } else {
        json_object_del(item, "reason");
        json_object_del(item, "comment");
    }
    return json_array_append_new(data, item) == 0 && fine ? APR_SUCCESS
                                                          : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* A cursor is the time and the id of the last row: "2026-02-03T04:05:06.789Z msg_…". */
#define CURSOR_SIZE (AC_TIME_SIZE + AC_ID_SIZE)

apr_status_t ac_sqlite_feedback_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *after = ac_json_peek_string(op->in, "after", NULL), *blank = after ? strchr(after, ' ') : NULL;
    const char *from = ac_json_peek_string(op->in, "from", ""), *to = ac_json_peek_string(op->in, "to", "~");
    char time[AC_TIME_SIZE] = "", cursor[CURSOR_SIZE] = "";
    json_t *data = json_array();
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status;

    if (blank) {
        apr_cpystrn(time, after, (size_t)(blank - after) < sizeof(time) ? (size_t)(blank - after) + 1 : sizeof(time));
    }
    status = ac_sqlite_statement_start(&stmt, conn, sql_list,
                                       AC_SQLITE_ARGS(ac_sqlite_text(blank ? time : from),
                                                      ac_sqlite_text(blank ? blank + 1 : ""), ac_sqlite_text(to),
                                                      ac_sqlite_int(json_is_true(json_object_get(op->in, "words")))),
                                       &op->err);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row && (int)json_array_size(data) < op->page.limit) {
        snprintf(cursor, sizeof(cursor), "%s %s", (const char *)sqlite3_column_text(stmt, 0),
                 (const char *)sqlite3_column_text(stmt, 1));
        status = rated_add(data, conn, op, stmt);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
    }
    if (status == APR_SUCCESS) {
        op->out = json_pack("{s:O, s:o}", "data", data, "next", row ? json_string(cursor) : json_null());
        status = op->out ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    json_decref(data);
    return status;
}
