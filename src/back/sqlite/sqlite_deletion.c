/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's MESSAGE_DELETE: what messages say leaves the file, and their rows keep their places. */
#include "sqlite_internal.h"

#include <string.h>

static const char sql_find[] = "SELECT " AC_SQLITE_MESSAGE_COLUMNS " FROM messages WHERE thread_id = ?1"
                               " AND (id = ?2 OR run_id = ?3 OR json_extract(metadata, '$.came_with') = ?3)"
                               " AND " AC_SQLITE_THREAD_OF("?1", "?4") " ORDER BY seq";
static const char sql_empty[] =
    "UPDATE messages SET content = '', tool_calls = NULL, metadata = ?3, attachments = NULL, feedback = NULL,"
    " feedback_at = NULL, marks = ?4 WHERE id = ?1 AND thread_id = ?2 AND " AC_SQLITE_THREAD_OF("?2", "?5");
static const char sql_summaries[] = "UPDATE messages SET marks = json_remove(marks, '$.summary') WHERE thread_id = ?1"
                                    " AND seq > ?2 AND marks IS NOT NULL AND " AC_SQLITE_THREAD_OF("?1", "?3");
static const char sql_loosen[] = "UPDATE files SET loose = ?3 WHERE id = ?1 AND owner = ?2 AND thread_id = ?4";
static const char sql_run[] =
    "UPDATE runs SET doc = json_replace(json_set(doc, '$.deleted', json('true')), '$.error.message', '')"
    " WHERE id = ?1 AND thread_id = ?2 AND owner = ?3 AND json_extract(doc, '$.deleted') IS NULL";
static const char sql_steps[] = "DELETE FROM steps WHERE run_id = ?1 AND " AC_SQLITE_RUN_OF("?1", "?2");
static const char sql_thread[] = "UPDATE threads SET deleted_messages = deleted_messages + ?3, title = ?4,"
                                 " version = version + 1 WHERE id = ?1 AND owner = ?2";

/* The messages that the operation names and that are not deleted. *plist: a new reference, also after an error. */
static apr_status_t deletion_read(json_t **plist, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status = ac_sqlite_statement_start(
        &stmt, conn, sql_find,
        AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_string(json_object_get(op->in, "message_id")),
                       ac_sqlite_string(json_object_get(op->in, "run_id")), ac_sqlite_text(op->owner)),
        &op->err);

    *plist = json_array();
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        json_t *message = ac_sqlite_message_read(stmt);
        if (!message) {
            return ac_sqlite_conn_fail_row(conn, &op->err);
        }
        if (!json_object_get(message, "deleted")) {
            json_array_append(*plist, message);
        }
        json_decref(message);
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

/* errors: run_in_progress: the named run, or that of one of the messages, is active. */
static apr_status_t deletion_check(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *list)
{
    const char *named = ac_json_peek_string(op->in, "run_id", "");
    const json_t *message;
    char active[AC_ID_SIZE];
    size_t i;
    apr_status_t status = ac_sqlite_run_active(active, conn, op->id, &op->err);
    bool busy = status == APR_SUCCESS && *active && strcmp(active, named) == 0;

    json_array_foreach((json_t *)list, i, message)
    {
        busy = busy || (*active && strcmp(active, ac_json_peek_string(message, "run_id", "")) == 0);
    }
    if (status == APR_SUCCESS && busy) {
        op->out = json_pack("{s:s}", "run_id", active);
        return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the message belongs to an active run");
    }
    return status;
}

/* A message that is left may have the same file. FILE_SWEEP looks for it. */
static apr_status_t files_loosen(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *message)
{
    char now[AC_TIME_SIZE];
    const json_t *file;
    apr_status_t status = APR_SUCCESS;
    size_t i;

    ac_time_format(now, apr_time_now());
    json_array_foreach(json_object_get(message, "attachments"), i, file)
    {
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_run(conn, sql_loosen,
                                             AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(file, "file_id")),
                                                            ac_sqlite_text(op->owner), ac_sqlite_text(now),
                                                            ac_sqlite_text(op->id)),
                                             &op->err);
        }
    }
    return status;
}

static apr_status_t message_empty(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *message)
{
    json_t *left = ac_store_deleted(message), *marks = ac_store_marks(left);
    const ac_sqlite_forget_t words = {.after = ac_json_peek_int(message, "seq", 0) - 1, .limit = 1};
    apr_status_t status = ac_sqlite_search_forget(conn, op->id, op->owner, &words, &op->err);

    if (status == APR_SUCCESS) {
        status = files_loosen(conn, op, message);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_empty,
                                         AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(message, "id")),
                                                        ac_sqlite_text(op->id),
                                                        ac_sqlite_json(json_object_get(left, "metadata")),
                                                        ac_sqlite_json(marks), ac_sqlite_text(op->owner)),
                                         &op->err);
    }
    json_decref(marks);
    json_decref(left);
    return status;
}

/* Appends the run to `runs`, unless it was deleted before. */
static apr_status_t run_empty(json_t *runs, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id)
{
    apr_status_t status = ac_sqlite_statement_run(conn, sql_run,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->id),
                                                                 ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && sqlite3_changes(conn->db) > 0) {
        json_array_append_new(runs, json_string(run_id));
        status = ac_sqlite_statement_run(conn, sql_steps,
                                         AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->owner)), &op->err);
    }
    return status;
}

static apr_status_t deletion_carry_out(json_t *runs, ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *list)
{
    const char *named = ac_json_peek_string(op->in, "run_id", "");
    const json_t *message;
    apr_status_t status = *named ? run_empty(runs, conn, op, named) : APR_SUCCESS;
    size_t i;

    json_array_foreach((json_t *)list, i, message)
    {
        const char *run_id = ac_json_peek_string(message, "run_id", "");
        if (status == APR_SUCCESS) {
            status = message_empty(conn, op, message);
        }
        if (status == APR_SUCCESS && *run_id && ac_record_is_answer(message)) {
            status = run_empty(runs, conn, op, run_id);
        }
    }
    if (status == APR_SUCCESS && i > 0) {
        status =
            ac_sqlite_statement_run(conn, sql_summaries,
                                    AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                   ac_sqlite_int(ac_json_peek_int(json_array_get(list, 0), "seq", 0)),
                                                   ac_sqlite_text(op->owner)),
                                    &op->err);
    }
    return status;
}

static apr_status_t thread_count(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *list, const json_t *title)
{
    const json_t *message;
    size_t i;

    json_array_foreach((json_t *)list, i, message)
    {
        title = ac_store_title_is_of(title, message) ? NULL : title;
    }
    return ac_sqlite_statement_run(conn, sql_thread,
                                   AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner),
                                                  ac_sqlite_int((int64_t)json_array_size(list)),
                                                  ac_sqlite_string(title)),
                                   &op->err);
}

apr_status_t ac_sqlite_deletion_run(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0}, after = {0};
    json_t *list = NULL, *runs = json_array();
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    if (status == APR_SUCCESS) {
        status = deletion_read(&list, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = deletion_check(conn, op, list);
    }
    if (status == APR_SUCCESS) {
        status = deletion_carry_out(runs, conn, op, list);
    }
    if (status == APR_SUCCESS && json_array_size(list) + json_array_size(runs) == 0) {
        status = ac_err_set(&op->err, AC_NOT_FOUND, "no message with this id");
    }
    if (status == APR_SUCCESS) {
        status = thread_count(conn, op, list, json_object_get(thread.json, "title"));
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_thread_find(&after, conn, op, false);
    }
    if (status == APR_SUCCESS) {
        op->out = json_pack("{s:O, s:O}", "thread", after.json, "runs", runs);
    }
    json_decref(after.json);
    json_decref(thread.json);
    json_decref(list);
    json_decref(runs);
    return status;
}
