/* SPDX-License-Identifier: Apache-2.0 */
/* Export of conversations from the embedded store and import into it, for all owners. */
#include "sqlite_internal.h"

#define CURSOR_NONE "~" /* sorts after every id */
#define MOVED "moved"   /* the boot id of imported runs: they are no process's */

static const char sql_threads[] =
    "SELECT " AC_SQLITE_THREAD_COLUMNS
    ", owner, deleted_at, restore_status FROM threads WHERE id > ?1 AND status <> 'purging'"
    " ORDER BY id LIMIT ?2";
static const char sql_messages[] = "SELECT " AC_SQLITE_MESSAGE_COLUMNS
                                   " FROM messages WHERE thread_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
static const char sql_runs[] = "SELECT id, doc FROM runs WHERE thread_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
static const char sql_steps[] = "SELECT doc FROM steps WHERE run_id = ?1 ORDER BY n";
static const char sql_put_thread[] =
    "INSERT INTO threads (id, owner, title, agent_id, status, metadata, created_at, updated_at, deleted_at, "
    "restore_status,"
    " message_count, tree, pinned, deleted_messages, version, search_to) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
    " ?10, ?11, ?12, ?13, ?14, 1, 0)"
    " ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, title = excluded.title, agent_id = excluded.agent_id,"
    " status = excluded.status, metadata = excluded.metadata, created_at = excluded.created_at, updated_at = "
    "excluded.updated_at,"
    " deleted_at = excluded.deleted_at, restore_status = excluded.restore_status, message_count = "
    "excluded.message_count,"
    " tree = excluded.tree, pinned = excluded.pinned, deleted_messages = excluded.deleted_messages,"
    " version = version + 1";
static const char sql_put_message[] =
    "INSERT OR REPLACE INTO messages (thread_id, seq, id, role, content, tool_calls, run_id, created_at, metadata,"
    " attachments, parent_id, feedback, feedback_at, marks)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
static const char sql_put_run[] =
    "INSERT OR REPLACE INTO runs (id, thread_id, owner, status, boot, pid, started, created_at, doc)"
    " VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7)";
static const char sql_run_doc[] = "SELECT doc FROM runs WHERE id = ?1";
static const char sql_put_step[] = "INSERT OR REPLACE INTO steps (run_id, n, id, doc) VALUES (?1, ?2, ?3, ?4)";

static apr_status_t no_memory(ac_store_op_t *op)
{
    return ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* ---- export ---- */

static apr_status_t record_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    ac_sqlite_thread_t thread = {0};
    apr_status_t status = ac_sqlite_thread_read(&thread, conn, row, &op->err);
    bool fine;

    if (status != APR_SUCCESS) {
        return status;
    }
    fine = ac_json_put(thread.json, "tree", ac_sqlite_statement_json(row, 9));
    fine = ac_json_put(thread.json, "owner", ac_sqlite_statement_text(row, 12)) && fine;
    fine = ac_json_put(thread.json, "deleted_at", ac_sqlite_statement_text(row, 13)) && fine;
    fine = ac_json_put(thread.json, "restore_status", ac_sqlite_statement_text(row, 14)) && fine;
    return json_array_append_new(data, thread.json) == 0 && fine ? APR_SUCCESS
                                                                 : ac_sqlite_conn_fail_row(conn, &op->err);
}

static apr_status_t message_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    return json_array_append_new(data, ac_sqlite_message_read(row)) == 0 ? APR_SUCCESS
                                                                         : ac_sqlite_conn_fail_row(conn, &op->err);
}

static apr_status_t run_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    json_t *run = ac_sqlite_statement_json(row, 1);

    return run && json_array_append_new(data, json_pack("{s:o, s:[]}", "run", run, "steps")) == 0
        ? APR_SUCCESS
        : ac_sqlite_conn_fail_row(conn, &op->err);
}

static apr_status_t step_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    return json_array_append_new(data, ac_sqlite_statement_json(row, 0)) == 0 ? APR_SUCCESS
                                                                              : ac_sqlite_conn_fail_row(conn, &op->err);
}

typedef apr_status_t read_fn(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row);

static apr_status_t rows_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *stmt, read_fn *fn)
{
    bool row = false;
    apr_status_t status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);

    while (status == APR_SUCCESS && row) {
        status = fn(data, conn, op, stmt);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
    }
    return status;
}

/* Answers with a page. Consumes data. next: the member of the last row that is the cursor, if the page is full and more
 * may follow. */
static apr_status_t page_answer(ac_store_op_t *op, json_t *data, const char *member, apr_status_t status)
{
    const json_t *last = json_array_get(data, json_array_size(data) - 1);
    json_t *next = (int)json_array_size(data) == op->page.limit ? json_object_get(last, member) : NULL;

    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    op->out = json_pack("{s:O, s:O?}", "data", data, "next", next);
    json_decref(data);
    return op->out ? APR_SUCCESS : no_memory(op);
}

apr_status_t ac_sqlite_move_export_threads(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *data = json_array();
    sqlite3_stmt *stmt;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_threads,
                                  AC_SQLITE_ARGS(ac_sqlite_text(ac_json_peek_string(op->in, "after", "")),
                                                 ac_sqlite_int(op->page.limit)),
                                  &op->err);

    if (status == APR_SUCCESS) {
        status = rows_read(data, conn, op, stmt, record_read);
    }
    return page_answer(op, data, "id", status);
}

apr_status_t ac_sqlite_move_export_messages(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *data = json_array();
    sqlite3_stmt *stmt;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_messages,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(op->page.after_seq),
                                                 ac_sqlite_int(op->page.limit)),
                                  &op->err);

    if (status == APR_SUCCESS) {
        status = rows_read(data, conn, op, stmt, message_read);
    }
    return page_answer(op, data, "seq", status);
}

apr_status_t ac_sqlite_move_export_runs(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    json_t *data = json_array(), *item, *next = NULL;
    sqlite3_stmt *stmt;
    size_t i;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_runs,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                 ac_sqlite_text(*op->page.after ? op->page.after : CURSOR_NONE),
                                                 ac_sqlite_int(op->page.limit)),
                                  &op->err);

    if (status == APR_SUCCESS) {
        status = rows_read(data, conn, op, stmt, run_read);
    }
    json_array_foreach(data, i, item)
    {
        next = json_object_get(json_object_get(item, "run"), "id");
        if (status == APR_SUCCESS) {
            status =
                ac_sqlite_statement_start(&stmt, conn, sql_steps, AC_SQLITE_ARGS(ac_sqlite_string(next)), &op->err);
        }
        if (status == APR_SUCCESS) {
            status = rows_read(json_object_get(item, "steps"), conn, op, stmt, step_read);
        }
    }
    if (status == APR_SUCCESS) {
        op->out = json_pack("{s:O, s:O?}", "data", data, "next", (int)i == op->page.limit ? next : NULL);
        status = op->out ? APR_SUCCESS : no_memory(op);
    }
    json_decref(data);
    return status;
}

/* ---- import ---- */

/* A message of an older store does not say its parent: it is the message before it. */
static ac_sqlite_arg_t parent_arg(const json_t *parent_id)
{
    return json_is_null(parent_id) ? ac_sqlite_text("") : ac_sqlite_string(parent_id);
}

static apr_status_t put_messages(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *messages = json_object_get(op->in, "messages"), *message, *feedback;
    apr_status_t status = APR_SUCCESS;
    size_t i;

    json_array_foreach(messages, i, message)
    {
        json_t *marks = ac_store_marks(message);
        feedback = json_object_get(message, "feedback");
        status = ac_sqlite_statement_run(
            conn, sql_put_message,
            AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(ac_json_peek_int(message, "seq", 0)),
                           ac_sqlite_string(json_object_get(message, "id")),
                           ac_sqlite_string(json_object_get(message, "role")),
                           ac_sqlite_string(json_object_get(message, "content")),
                           ac_sqlite_json(json_object_get(message, "tool_calls")),
                           ac_sqlite_string(json_object_get(message, "run_id")),
                           ac_sqlite_string(json_object_get(message, "timestamp")),
                           ac_sqlite_json(json_object_get(message, "metadata")),
                           ac_sqlite_json(json_object_get(message, "attachments")),
                           parent_arg(json_object_get(message, "parent_id")), ac_sqlite_json(feedback),
                           ac_sqlite_string(json_object_get(feedback, "at")), ac_sqlite_json(marks)),
            &op->err);
        json_decref(marks);
        if (status != APR_SUCCESS) {
            break;
        }
    }
    return status;
}

/* Counts a run that no store has counted: it was active. */
static apr_status_t run_count(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *run, const char *owner)
{
    json_t *before = NULL;
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_run_doc,
                                                  AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(run, "id"))),
                                                  &op->err);

    if (status == APR_SUCCESS && row) {
        before = ac_sqlite_statement_json(row, 0);
        sqlite3_reset(row);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_usage_count(conn, owner, before, run, &op->err);
    }
    json_decref(before);
    return status;
}

static apr_status_t put_run(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *item, const char *owner)
{
    const json_t *run = json_object_get(item, "run"), *steps = json_object_get(item, "steps"), *step;
    const json_t *id = json_object_get(run, "id");
    size_t i;
    apr_status_t status = json_is_true(json_object_get(item, "uncounted")) ? run_count(conn, op, run, owner)
                                                                           : APR_SUCCESS;

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(
            conn, sql_put_run,
            AC_SQLITE_ARGS(ac_sqlite_string(id), ac_sqlite_text(op->id), ac_sqlite_text(owner),
                           ac_sqlite_string(json_object_get(run, "status")), ac_sqlite_text(MOVED),
                           ac_sqlite_string(json_object_get(run, "created_at")), ac_sqlite_json(run)),
            &op->err);
    }
    json_array_foreach(steps, i, step)
    {
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_run(conn, sql_put_step,
                                             AC_SQLITE_ARGS(ac_sqlite_string(id), ac_sqlite_int((int64_t)i),
                                                            ac_sqlite_string(json_object_get(step, "id")),
                                                            ac_sqlite_json(step)),
                                             &op->err);
        }
    }
    return status;
}

apr_status_t ac_sqlite_move_import(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *record = json_object_get(op->in, "thread"), *runs = json_object_get(op->in, "runs"), *item;
    const json_t *first = json_array_get(json_object_get(op->in, "messages"), 0);
    ac_sqlite_forget_t forget = {ac_json_peek_int(first, "seq", INT64_MAX) - 1, -1, false, true};
    size_t i;
    apr_status_t status =
        ac_sqlite_search_forget(conn, op->id, ac_json_peek_string(record, "owner", ""), &forget, &op->err);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = ac_sqlite_statement_run(conn, sql_put_thread,
                                     AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                    ac_sqlite_string(json_object_get(record, "owner")),
                                                    ac_sqlite_string(json_object_get(record, "title")),
                                                    ac_sqlite_string(json_object_get(record, "agent_id")),
                                                    ac_sqlite_string(json_object_get(record, "status")),
                                                    ac_sqlite_json(json_object_get(record, "metadata")),
                                                    ac_sqlite_string(json_object_get(record, "created_at")),
                                                    ac_sqlite_string(json_object_get(record, "updated_at")),
                                                    ac_sqlite_string(json_object_get(record, "deleted_at")),
                                                    ac_sqlite_string(json_object_get(record, "restore_status")),
                                                    ac_sqlite_int(ac_json_peek_int(record, "message_count", 0)),
                                                    ac_sqlite_json(json_object_get(record, "tree")),
                                                    ac_sqlite_int(json_is_true(json_object_get(record, "pinned"))),
                                                    ac_sqlite_int(ac_json_peek_int(record, "deleted_messages", 0))),
                                     &op->err);

    if (status == APR_SUCCESS) {
        status = put_messages(conn, op);
    }
    json_array_foreach(runs, i, item)
    {
        status = status == APR_SUCCESS ? put_run(conn, op, item, ac_json_peek_string(record, "owner", "")) : status;
    }
    if (status == APR_SUCCESS) {
        op->out = json_object();
    }
    return status;
}
