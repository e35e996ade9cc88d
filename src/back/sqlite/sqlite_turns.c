/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's turns: what a run reads first, and the two writes of each turn. */
#include "sqlite_internal.h"

#include <string.h>

static const char sql_thread_touch[] = "UPDATE threads SET title = ?2, message_count = ?3, updated_at = ?4, tree = ?6,"
                                       " agent_id = coalesce(?7, agent_id), version = version + 1"
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
static const char sql_run_ours[] =
    "SELECT 1 FROM runs WHERE id = ?1 AND owner = ?2 AND boot = ?3 AND pid = ?4 AND started = ?5";
static const char sql_step_insert[] =
    "INSERT INTO steps (run_id, n, id, doc) SELECT ?1, ?2, ?3, ?4 WHERE " AC_SQLITE_RUN_OF(
        "?1", "?5") " ON CONFLICT (run_id, n) DO UPDATE SET id = excluded.id, doc = excluded.doc";

/* ---- turns ---- */

/* The newest messages of the path, and its end: what is stored next follows it. */
static apr_status_t load_read(json_t *out, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_page_t page = {.limit = op->page.limit};
    ac_tree_t tree = {0};
    ac_sqlite_path_t path = {&tree, 0, &page};
    json_t *messages = json_array(), *last;
    bool more = false;
    apr_status_t status = ac_sqlite_message_tree(&tree, conn, op, thread);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_message_end(&path.end, conn, op, &tree);
    }
    if (status == APR_SUCCESS) {
        page.descending = true;
        status = ac_sqlite_message_path(messages, &more, conn, op, &path);
    }
    ac_tree_free(&tree);
    last = json_object_get(json_array_get(messages, json_array_size(messages) - 1), "id");
    bool fine = ac_json_put(out, "messages", messages);
    fine = ac_json_put(out, "parent_id", last ? json_incref(last) : json_null()) && fine;
    fine = ac_json_put(out, "parent_seq", json_integer(path.end)) && fine;
    return status == APR_SUCCESS && !fine ? ac_err_set(&op->err, AC_INTERNAL, "out of memory") : status;
}

apr_status_t ac_sqlite_turn_load(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    char run_id[AC_ID_SIZE];
    json_t *out = json_object();
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_run_active(run_id, conn, op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = load_read(out, &thread, conn, op);
    }
    if (status == APR_SUCCESS) {
        json_t *queue;
        status = ac_sqlite_queue_read(&queue, conn, op);
        if (json_array_size(queue)) {
            ac_json_put(out, "queue", json_incref(queue));
        }
        json_decref(queue);
    }
    if (status != APR_SUCCESS) {
        json_decref(out);
        json_decref(thread.json);
        return status;
    }
    op->out = out;
    bool fine = ac_json_put(out, "thread", thread.json);
    fine = ac_json_put(out, "active_run", *run_id ? json_string(run_id) : json_null()) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* Writes the run of the operation. ended: an existing row is updated. */
static apr_status_t run_write(ac_sqlite_conn_t *conn, ac_store_op_t *op, bool ended)
{
    const json_t *run = json_object_get(op->in, "run");
    const ac_sqlite_process_t *process = &conn->store->process;
    const char *id = NULL, *state = NULL, *created = NULL;
    apr_status_t status = APR_SUCCESS;

    if (json_is_null(run)) {
        return APR_SUCCESS;
    }
    status = ac_json_string(&id, run, "id", true, &op->err);

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

/* Writes the ended run of the operation, counts its usage, and stores its webhook delivery. message: the
 * answer, or NULL. */
static apr_status_t run_end(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *message)
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
    bool changed = status == APR_SUCCESS && sqlite3_changes(conn->db) > 0;
    if (changed) {
        status = ac_sqlite_usage_count(conn, op->owner, before, run, &op->err);
    }
    if (changed && status == APR_SUCCESS && !ac_webhook_delivery_same(run, before)) {
        const ac_webhook_cause_t cause = {run, NULL, message, &op->trace, op->owner, apr_time_now()};
        status = ac_sqlite_webhook_add(conn, &cause, &op->err);
    }
    json_decref(before);
    return status;
}

/* Updates thread->json after a new message; message NULL: after a new run without one. */
static apr_status_t thread_note(ac_sqlite_thread_t *thread, ac_store_op_t *op, const json_t *message,
                                const ac_tree_t *tree)
{
    json_t *title = json_object_get(thread->json, "title"),
           *updated = message ? json_object_get(message, "timestamp")
                              : json_object_get(json_object_get(op->in, "run"), "created_at");
    bool fine;

    if (!json_is_string(title)) {
        title = json_object_get(op->in, "title");
    }
    thread->n_messages = tree->count;
    fine = ac_json_put(thread->json, "title", json_is_string(title) ? json_incref(title) : json_null());
    fine = ac_json_put(thread->json, "message_count", json_integer(thread->n_messages)) && fine;
    fine = ac_json_put(thread->json, "leaf", *tree->leaf_id ? json_string(tree->leaf_id) : json_null()) && fine;
    fine = ac_json_put(thread->json, "updated_at", json_incref(updated)) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* The same in its row, too. */
static apr_status_t thread_touch(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                 const json_t *message, const ac_tree_t *tree)
{
    apr_status_t status = thread_note(thread, op, message, tree);
    json_t *json = NULL, *agent_id = json_object_get(op->in, "agent_id");

    if (status == APR_SUCCESS) {
        json = ac_tree_json(tree);
        status = ac_sqlite_statement_run(conn, sql_thread_touch,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->id),
                                                        ac_sqlite_string(json_object_get(thread->json, "title")),
                                                        ac_sqlite_int(thread->n_messages),
                                                        ac_sqlite_string(json_object_get(thread->json, "updated_at")),
                                                        ac_sqlite_text(op->owner), ac_sqlite_json(json),
                                                        op->verb == AC_STORE_TURN_CLOSE ? ac_sqlite_string(agent_id)
                                                                                        : ac_sqlite_string(NULL)),
                                         &op->err);
    }
    json_decref(json);
    return status;
}

/* Of a turn of the queue, which more than one process may try to begin. */
static apr_status_t turn_is_elsewhere(bool *pelsewhere, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id)
{
    const ac_sqlite_process_t *process = &conn->store->process;
    sqlite3_stmt *row = NULL;
    apr_status_t status = APR_SUCCESS;

    *pelsewhere = json_is_true(json_object_get(op->in, "queued"));
    if (*pelsewhere) {
        status = ac_sqlite_statement_row(&row, conn, sql_run_ours,
                                         AC_SQLITE_ARGS(ac_sqlite_text(run_id), ac_sqlite_text(op->owner),
                                                        ac_sqlite_text(process->boot), ac_sqlite_int(process->pid),
                                                        ac_sqlite_int(process->started)),
                                         &op->err);
    }
    if (row) {
        sqlite3_reset(row);
        *pelsewhere = false;
    }
    return status;
}

/* Whether another run of the thread is active. The same run of this process is no conflict: a caller that got
 * store_timeout may repeat the request. */
static apr_status_t turn_conflict(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id)
{
    const char *ours = ac_json_peek_string(json_object_get(op->in, "run"), "id", "");
    const json_t *message = json_object_get(op->in, "message");

    *pmessage = NULL;
    if (strcmp(ours, run_id) == 0) {
        bool elsewhere;
        apr_status_t status = turn_is_elsewhere(&elsewhere, conn, op, run_id);
        if (status == APR_SUCCESS && elsewhere) {
            return ac_err_set(&op->err, AC_RUN_ENDED, "another process has begun the turn");
        }
        if (status == APR_SUCCESS && json_is_object(message)) {
            status = ac_sqlite_message_find(pmessage, conn, op, ac_json_peek_string(message, "id", ""));
        }
        if (status != APR_SUCCESS || *pmessage || !json_is_object(message)) {
            return status;
        }
    }
    op->out = json_pack("{s:s}", "run_id", run_id);
    return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the thread has an active run");
}

/* Writes the turn. One that answers a stored question has no message. */
static apr_status_t turn_write(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    bool has_message = json_is_object(json_object_get(op->in, "message"));
    ac_tree_t tree = {0};
    apr_status_t status = ac_sqlite_message_tree(&tree, conn, op, thread);

    if (status == APR_SUCCESS && has_message) {
        status = ac_sqlite_message_add(pmessage, &tree, conn, op);
    } else if (status == APR_SUCCESS) {
        status = ac_sqlite_message_check(&tree, op);
    }
    if (status == APR_SUCCESS) {
        status = run_write(conn, op, false);
    }
    if (status == APR_SUCCESS) {
        status = thread_touch(thread, conn, op, *pmessage, &tree);
    }
    ac_tree_free(&tree);
    return status;
}

static apr_status_t turn_judge(const ac_sqlite_thread_t *thread, ac_store_op_t *op)
{
    const json_t *after = json_object_get(op->in, "after");

    if (!json_is_integer(after)) {
        return APR_SUCCESS;
    }
    return json_integer_value(after) == thread->n_messages
        ? ac_store_deleted_check(op, thread->json)
        : ac_err_set(&op->err, AC_PRECONDITION_FAILED, "the thread was changed concurrently");
}

/* Writes a new thread with its first turn; its row is written once, as the message leaves it. */
static apr_status_t turn_begin(json_t **pmessage, ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_tree_t empty = {0};
    int64_t n = (int64_t)json_array_size(json_object_get(op->in, "earlier")) + 1;
    const ac_tree_t first = {.count = n, .leaf = n};
    apr_status_t status;

    thread->json = json_copy(json_object_get(op->in, "thread"));
    status = thread_note(thread, op, json_object_get(op->in, "message"), &first);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_thread_insert(conn, op, op->id, thread->json);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_message_add(pmessage, &empty, conn, op);
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
        status = ac_sqlite_queue_leave(conn, op);
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
    if (status == APR_SUCCESS) {
        status = ac_sqlite_file_attach(conn, op);
    }
    if (status != APR_SUCCESS) {
        json_decref(message);
        json_decref(thread.json);
        return status;
    }
    op->out = json_object();
    fine = ac_json_put(op->out, "thread", thread.json);
    fine = ac_json_put(op->out, "message", message ? message : json_null()) && fine;
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
    ac_tree_t tree = {0};
    apr_status_t status;

    if (!json_is_object(in)) {
        return APR_SUCCESS;
    }
    status = ac_sqlite_message_find(pmessage, conn, op, ac_json_peek_string(in, "id", ""));
    if (status != APR_SUCCESS || *pmessage) {
        return status;
    }
    status = ac_sqlite_message_tree(&tree, conn, op, thread);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_message_add(pmessage, &tree, conn, op);
    }
    if (status == APR_SUCCESS) {
        status = thread_touch(thread, conn, op, *pmessage, &tree);
    }
    ac_tree_free(&tree);
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
            status = run_end(conn, op, message);
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
