/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's messages and turns: a thread's history, and the two writes of each turn. */
#include "sqlite_internal.h"

#include <stdint.h>
#include <string.h>

#define COLUMNS AC_SQLITE_MESSAGE_COLUMNS

static const char sql_list_up[] =
    "SELECT " COLUMNS " FROM messages WHERE thread_id = ?1 AND seq > ?2 AND seq < ?3 AND " AC_SQLITE_THREAD_OF(
        "?1", "?5") " ORDER BY seq LIMIT ?4";
static const char sql_list_down[] =
    "SELECT " COLUMNS " FROM messages WHERE thread_id = ?1 AND seq > ?2 AND seq < ?3 AND " AC_SQLITE_THREAD_OF(
        "?1", "?5") " ORDER BY seq DESC LIMIT ?4";
static const char sql_find[] = "SELECT " COLUMNS
                               " FROM messages WHERE id = ?1 AND thread_id = ?2 AND " AC_SQLITE_THREAD_OF("?2", "?3");
static const char sql_insert[] =
    "INSERT INTO messages (thread_id, seq, id, role, content, tool_calls, run_id, created_at, metadata,"
    " attachments) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?11 WHERE " AC_SQLITE_THREAD_OF("?1", "?10");
static const char sql_thread_touch[] =
    "UPDATE threads SET title = ?2, message_count = ?3, updated_at = ?4, version = version + 1"
    " WHERE id = ?1 AND owner = ?5";
static const char sql_run_insert[] =
    "INSERT INTO runs (id, thread_id, owner, status, boot, pid, started, created_at, doc)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
static const char sql_run_close[] =
    "INSERT INTO runs (id, thread_id, owner, status, boot, pid, started, created_at, doc)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    " ON CONFLICT (id) DO UPDATE SET status = excluded.status, doc = excluded.doc"
    " WHERE thread_id = excluded.thread_id AND owner = excluded.owner";
static const char sql_run_doc[] = "SELECT doc FROM runs WHERE id = ?1 AND thread_id = ?2 AND owner = ?3";
static const char sql_step_insert[] =
    "INSERT INTO steps (run_id, n, id, doc) SELECT ?1, ?2, ?3, ?4 WHERE " AC_SQLITE_RUN_OF(
        "?1", "?5") " ON CONFLICT (run_id, n) DO UPDATE SET id = excluded.id, doc = excluded.doc";

/* ---- messages ---- */

json_t *ac_sqlite_turn_message_read(sqlite3_stmt *row)
{
    json_t *json = json_object();
    bool fine = ac_json_put(json, "id", ac_sqlite_statement_text(row, 0));

    fine = ac_json_put(json, "thread_id", ac_sqlite_statement_text(row, 1)) && fine;
    fine = ac_json_put(json, "seq", json_integer(sqlite3_column_int64(row, 2))) && fine;
    fine = ac_json_put(json, "role", ac_sqlite_statement_text(row, 3)) && fine;
    fine = ac_json_put(json, "content", ac_sqlite_statement_text(row, 4)) && fine;
    fine = ac_json_put(json, "tool_calls", ac_sqlite_statement_json(row, 5)) && fine;
    fine = ac_json_put(json, "run_id", ac_sqlite_statement_text(row, 6)) && fine;
    fine = ac_json_put(json, "timestamp", ac_sqlite_statement_text(row, 7)) && fine;
    fine = ac_json_put(json, "metadata", ac_sqlite_statement_json(row, 8)) && fine;
    if (sqlite3_column_type(row, 9) != SQLITE_NULL) {
        fine = ac_json_put(json, "attachments", ac_sqlite_statement_json(row, 9)) && fine;
    }
    if (!fine) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Finds the message with this id in the thread op->id; *pmessage is NULL without one. */
static apr_status_t message_find(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_find,
                                AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                &op->err);

    *pmessage = NULL;
    if (status == APR_SUCCESS && row) {
        *pmessage = ac_sqlite_turn_message_read(row);
        sqlite3_reset(row);
        status = *pmessage ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

/* The message as ac_sqlite_turn_message_read() gives it. NULL: out of memory. */
static json_t *message_shown(const json_t *in, const char *thread_id, int64_t seq)
{
    static const char *const names[] = {"id",         "thread_id", "seq",       "role",    "content",
                                        "tool_calls", "run_id",    "timestamp", "metadata"};
    json_t *shown = json_object();
    bool fine = true;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        json_t *value = i == 1 ? json_string(thread_id)
            : i == 2           ? json_integer(seq)
                               : json_incref(json_object_get(in, names[i]));
        fine = ac_json_put(shown, names[i], value ? value : json_null()) && fine;
    }
    if (json_is_array(json_object_get(in, "attachments"))) {
        fine = ac_json_put(shown, "attachments", json_incref(json_object_get(in, "attachments"))) && fine;
    }
    if (!fine) {
        json_decref(shown);
        return NULL;
    }
    return shown;
}

static apr_status_t message_insert(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, int64_t seq)
{
    const json_t *in = json_object_get(op->in, "message"), *content = json_object_get(in, "content");
    const char *id = NULL, *role = NULL, *timestamp = NULL;
    apr_status_t status = ac_json_string(&id, in, "id", true, &op->err);

    *pmessage = NULL;
    if (status == APR_SUCCESS) {
        status = ac_json_string(&role, in, "role", true, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&timestamp, in, "timestamp", true, &op->err);
    }
    if (status == APR_SUCCESS && content && !json_is_string(content) && !json_is_null(content)) {
        status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/message/content", "must be a string");
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(
            conn, sql_insert,
            AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(seq), ac_sqlite_text(id), ac_sqlite_text(role),
                           ac_sqlite_string(content), ac_sqlite_json(json_object_get(in, "tool_calls")),
                           ac_sqlite_string(json_object_get(in, "run_id")), ac_sqlite_text(timestamp),
                           ac_sqlite_json(json_object_get(in, "metadata")), ac_sqlite_text(op->owner),
                           ac_sqlite_json(json_object_get(in, "attachments"))),
            &op->err);
    }
    if (status == APR_SUCCESS && sqlite3_changes(conn->db)) {
        *pmessage = message_shown(in, op->id, seq);
        status = *pmessage ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    return status;
}

typedef struct span_t {
    const char *sql;
    int64_t after, before; /* exclusive */
    int limit;
} span_t;

static apr_status_t messages_read(json_t *data, bool *pmore, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                  const span_t *span)
{
    sqlite3_stmt *stmt;
    json_t *message;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, span->sql,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(span->after),
                                                 ac_sqlite_int(span->before), ac_sqlite_int((int64_t)span->limit + 1),
                                                 ac_sqlite_text(op->owner)),
                                  &op->err);

    *pmore = false;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        if (json_array_size(data) == (size_t)span->limit) {
            *pmore = true;
            break;
        }
        message = ac_sqlite_turn_message_read(stmt);
        if (json_array_append_new(data, message) != 0) {
            return ac_sqlite_conn_fail_row(conn, &op->err);
        }
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_turn_message_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_page_t *page = &op->page;
    span_t span = {page->descending ? sql_list_down : sql_list_up, page->after_seq,
                   page->before_seq ? page->before_seq : INT64_MAX, page->limit};
    ac_sqlite_thread_t thread = {0};
    json_t *data, *last = NULL;
    bool more = false;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    json_decref(thread.json);
    if (status != APR_SUCCESS) {
        return status;
    }
    data = json_array();
    status = messages_read(data, &more, conn, op, &span);
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    if (more) {
        last = json_object_get(json_array_get(data, json_array_size(data) - 1), "seq");
    }
    return ac_sqlite_thread_list_answer(op, data, more, json_incref(last));
}

/* ---- turns ---- */

apr_status_t ac_sqlite_turn_load(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    char run_id[AC_ID_SIZE];
    json_t *messages = NULL;
    bool more, fine;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_run_active(run_id, conn, op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        span_t span = {sql_list_up, thread.n_messages - op->page.limit, INT64_MAX, op->page.limit};
        messages = json_array();
        status = messages_read(messages, &more, conn, op, &span);
    }
    if (status != APR_SUCCESS) {
        json_decref(messages);
        json_decref(thread.json);
        return status;
    }
    op->out = json_object();
    fine = ac_json_put(op->out, "thread", thread.json);
    fine = ac_json_put(op->out, "messages", messages) && fine;
    fine = ac_json_put(op->out, "active_run", *run_id ? json_string(run_id) : json_null()) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* Writes the run of the operation. ended: an existing row is updated. */
static apr_status_t run_write(ac_sqlite_conn_t *conn, ac_store_op_t *op, bool ended)
{
    const json_t *run = json_object_get(op->in, "run");
    const ac_sqlite_process_t *process = &conn->store->process;
    const char *id = NULL, *state = NULL, *created = NULL;
    apr_status_t status = ac_json_string(&id, run, "id", true, &op->err);

    if (status == APR_SUCCESS) {
        status = ac_json_string(&state, run, "status", true, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&created, run, "created_at", true, &op->err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    return ac_sqlite_statement_run(conn, ended ? sql_run_close : sql_run_insert,
                                   AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->id), ac_sqlite_text(op->owner),
                                                  ac_sqlite_text(state), ac_sqlite_text(process->boot),
                                                  ac_sqlite_int(process->pid), ac_sqlite_int(process->started),
                                                  ac_sqlite_text(created), ac_sqlite_json(run)),
                                   &op->err);
}

/* Writes the ended run of the operation, and counts its usage. */
static apr_status_t run_end(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *run = json_object_get(op->in, "run");
    json_t *before = NULL;
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_run_doc,
                                                  AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(run, "id")),
                                                                 ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && row) {
        before = ac_sqlite_statement_json(row, 0);
        sqlite3_reset(row);
    }
    if (status == APR_SUCCESS) {
        status = run_write(conn, op, true);
    }
    if (status == APR_SUCCESS && sqlite3_changes(conn->db)) {
        status = ac_sqlite_usage_count(conn, op->owner, before, run, &op->err);
    }
    json_decref(before);
    return status;
}

/* Updates thread->json after a new message. */
static apr_status_t thread_note(ac_sqlite_thread_t *thread, ac_store_op_t *op, const json_t *message)
{
    json_t *title = json_object_get(thread->json, "title"), *updated = json_object_get(message, "timestamp");
    bool fine;

    if (!json_is_string(title)) {
        title = json_object_get(op->in, "title");
    }
    thread->n_messages++;
    fine = ac_json_put(thread->json, "title", json_is_string(title) ? json_incref(title) : json_null());
    fine = ac_json_put(thread->json, "message_count", json_integer(thread->n_messages)) && fine;
    fine = ac_json_put(thread->json, "updated_at", json_incref(updated)) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* Updates the thread after a new message, in its row and in thread->json. */
static apr_status_t thread_touch(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                 const json_t *message)
{
    apr_status_t status = thread_note(thread, op, message);

    return status != APR_SUCCESS
        ? status
        : ac_sqlite_statement_run(conn, sql_thread_touch,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                 ac_sqlite_string(json_object_get(thread->json, "title")),
                                                 ac_sqlite_int(thread->n_messages),
                                                 ac_sqlite_string(json_object_get(thread->json, "updated_at")),
                                                 ac_sqlite_text(op->owner)),
                                  &op->err);
}

/* Whether another run of the thread is active. The same run is no conflict: a caller that got store_timeout may repeat
 * the request. */
static apr_status_t turn_conflict(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id)
{
    const char *ours = ac_json_peek_string(json_object_get(op->in, "run"), "id", "");
    const char *message_id = ac_json_peek_string(json_object_get(op->in, "message"), "id", "");

    *pmessage = NULL;
    if (strcmp(ours, run_id) == 0) {
        apr_status_t status = message_find(pmessage, conn, op, message_id);
        if (status != APR_SUCCESS || *pmessage) {
            return status;
        }
    }
    op->out = json_pack("{s:s}", "run_id", run_id);
    return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the thread has an active run");
}

static apr_status_t turn_write(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = message_insert(pmessage, conn, op, thread->n_messages + 1);

    if (status == APR_SUCCESS) {
        status = run_write(conn, op, false);
    }
    return status == APR_SUCCESS ? thread_touch(thread, conn, op, *pmessage) : status;
}

static apr_status_t turn_judge(const ac_sqlite_thread_t *thread, ac_store_op_t *op)
{
    const json_t *after = json_object_get(op->in, "after");

    return !json_is_integer(after) || json_integer_value(after) == thread->n_messages
        ? APR_SUCCESS
        : ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the thread was changed concurrently");
}

/* Writes a new thread with its first turn; its row is written once, as the message leaves it. */
static apr_status_t turn_begin(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status;

    thread->json = json_copy(json_object_get(op->in, "thread"));
    status = thread_note(thread, op, json_object_get(op->in, "message"));
    if (status == APR_SUCCESS) {
        status = ac_sqlite_thread_insert(conn, op, op->id, thread->json);
    }
    if (status == APR_SUCCESS) {
        status = message_insert(pmessage, conn, op, thread->n_messages);
    }
    return status == APR_SUCCESS ? run_write(conn, op, false) : status;
}

/* Writes the turn to an existing thread. */
static apr_status_t turn_continue(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn,
                                  ac_store_op_t *op)
{
    char run_id[AC_ID_SIZE] = "";
    apr_status_t status = ac_sqlite_thread_find(thread, conn, op, false);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_run_active(run_id, conn, op->id, &op->err);
    }
    if (status == APR_SUCCESS && *run_id) {
        return turn_conflict(pmessage, conn, op, run_id);
    }
    if (status == APR_SUCCESS) {
        status = turn_judge(thread, op);
    }
    return status == APR_SUCCESS ? turn_write(pmessage, thread, conn, op) : status;
}

apr_status_t ac_sqlite_turn_open(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    json_t *message = NULL;
    bool fine;
    apr_status_t status = ac_sqlite_key_take(conn, op);

    if (status == APR_SUCCESS) {
        status = json_is_object(json_object_get(op->in, "thread")) ? turn_begin(&message, &thread, conn, op)
                                                                   : turn_continue(&message, &thread, conn, op);
    }
    if (status != APR_SUCCESS) {
        json_decref(message);
        json_decref(thread.json);
        return status;
    }
    op->out = json_object();
    fine = ac_json_put(op->out, "thread", thread.json);
    fine = ac_json_put(op->out, "message", message) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

apr_status_t ac_sqlite_turn_steps_write(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *run_id = ac_json_peek_string(json_object_get(op->in, "run"), "id", "");
    const json_t *steps = json_object_get(op->in, "steps"), *step;
    apr_status_t status = APR_SUCCESS;
    size_t i;

    json_array_foreach(steps, i, step)
    {
        const char *id = NULL;
        status = ac_json_string(&id, step, "id", true, &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_run(conn, sql_step_insert,
                                             AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_int((int64_t)i),
                                                            ac_sqlite_text(id), ac_sqlite_json(step),
                                                            ac_sqlite_text(op->owner)),
                                             &op->err);
        }
        if (status != APR_SUCCESS) {
            break;
        }
    }
    return status;
}

/* Writes the answer's message once: a caller that got store_timeout may close the turn again. */
static apr_status_t answer_write(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn,
                                 ac_store_op_t *op)
{
    const json_t *in = json_object_get(op->in, "message");
    apr_status_t status;

    if (!json_is_object(in)) {
        return APR_SUCCESS;
    }
    status = message_find(pmessage, conn, op, ac_json_peek_string(in, "id", ""));
    if (status == APR_SUCCESS && !*pmessage) {
        status = message_insert(pmessage, conn, op, thread->n_messages + 1);
        if (status == APR_SUCCESS) {
            status = thread_touch(thread, conn, op, *pmessage);
        }
    }
    return status;
}

apr_status_t ac_sqlite_turn_close(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    json_t *message = NULL;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, true);

    if (op->err.kind == AC_NOT_FOUND) {
        ac_err_init(&op->err);
        status = APR_SUCCESS;
    } else if (status == APR_SUCCESS) {
        status = answer_write(&message, &thread, conn, op);
        if (status == APR_SUCCESS) {
            status = run_end(conn, op);
        }
        if (status == APR_SUCCESS) {
            status = ac_sqlite_turn_steps_write(conn, op);
        }
        if (status == APR_SUCCESS) {
            status = ac_sqlite_suspended_drop(conn, op, ac_json_peek_string(json_object_get(op->in, "run"), "id", ""));
        }
    }
    json_decref(thread.json);
    if (status != APR_SUCCESS) {
        json_decref(message);
        return status;
    }
    op->out = json_object();
    if (!ac_json_put(op->out, "message", message ? message : json_null())) {
        return ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    return APR_SUCCESS;
}
