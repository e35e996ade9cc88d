/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's threads: create, read, list, update, delete, restore, purge. */
#include "sqlite_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define COLUMNS AC_SQLITE_THREAD_COLUMNS
#define PURGE_ROWS 1000  /* rows that one part of a purge removes, approximately */
#define PURGE_RUNS 100   /* runs that one part removes, with all their steps */
#define PURGE_THREADS 50 /* threads that one part of a purge begins with */

/* The status of a thread that is being purged: it cannot be restored, because some messages may be gone already. */
#define PURGING "purging"

static const char sql_find[] = "SELECT " COLUMNS " FROM threads WHERE id = ?1 AND owner = ?2 AND deleted_at IS NULL";
static const char sql_find_hidden[] = "SELECT " COLUMNS
                                      " FROM threads WHERE id = ?1 AND owner = ?2 AND status <> '" PURGING "'";
static const char sql_insert[] =
    "INSERT INTO threads (id, owner, title, agent_id, status, metadata, created_at, updated_at, message_count, version,"
    " pinned, search_to) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, 0)";
static const char sql_update[] =
    "UPDATE threads SET title = ?2, status = ?3, metadata = ?4, updated_at = ?5, tree = coalesce(?7, tree),"
    " pinned = ?8,"
    " version = version + 1 WHERE id = ?1 AND owner = ?6";
static const char sql_soft_delete[] =
    "UPDATE threads SET restore_status = status, status = 'deleted', deleted_at = ?2, version = version + 1"
    " WHERE id = ?1 AND owner = ?3";
static const char sql_restore[] =
    "UPDATE threads SET status = restore_status, restore_status = NULL, deleted_at = NULL, updated_at = ?2,"
    " version = version + 1 WHERE id = ?1 AND owner = ?3";
static const char sql_remove_steps[] =
    "DELETE FROM steps WHERE run_id IN (SELECT id FROM runs WHERE thread_id = ?1 AND owner = ?2)";
static const char sql_remove_runs[] = "DELETE FROM runs WHERE thread_id = ?1 AND owner = ?2";
static const char sql_remove_waits[] = "DELETE FROM waits WHERE thread_id = ?1 AND owner = ?2";
static const char sql_remove_webhooks[] = "DELETE FROM webhooks WHERE thread_id = ?1 AND owner = ?2";
static const char sql_remove_messages[] =
    "DELETE FROM messages WHERE thread_id = ?1 AND " AC_SQLITE_THREAD_OF("?1", "?2");
static const char sql_remove_thread[] = "DELETE FROM threads WHERE id = ?1 AND owner = ?2";
static const char sql_purge_next[] =
    "SELECT id, owner FROM threads WHERE deleted_at IS NOT NULL AND deleted_at < ?1 ORDER BY deleted_at LIMIT 1";
static const char sql_purge_begin[] = "UPDATE threads SET status = '" PURGING "' WHERE id = ?1";
static const char sql_purge_steps[] =
    "DELETE FROM steps WHERE run_id IN (SELECT id FROM runs WHERE thread_id = ?1 ORDER BY id LIMIT ?2)";
static const char sql_purge_runs[] =
    "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE thread_id = ?1 ORDER BY id LIMIT ?2)";
/* The sequence numbers of messages have no gaps, so the first one tells where a part of a given size ends. */
static const char sql_purge_messages[] =
    "DELETE FROM messages WHERE thread_id = ?1 AND seq < ?2 + (SELECT min(seq) FROM messages WHERE thread_id = ?1)";

/* ---- rows ---- */

apr_status_t ac_sqlite_thread_read(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, sqlite3_stmt *row, ac_err_t *err)
{
    json_t *json = json_object(), *metadata = ac_sqlite_statement_json(row, 4),
           *tree = ac_sqlite_statement_json(row, 9);
    json_t *leaf = json_object_get(json_object_get(tree, "leaf"), "id");
    bool fine;

    if (json_is_null(metadata)) {
        metadata = json_object();
    }
    thread->n_messages = sqlite3_column_int64(row, 5);
    thread->version = sqlite3_column_int64(row, 8);
    thread->branched = json_is_object(tree);
    fine = ac_json_put(json, "id", ac_sqlite_statement_text(row, 0));
    fine = ac_json_put(json, "title", ac_sqlite_statement_text(row, 1)) && fine;
    fine = ac_json_put(json, "agent_id", ac_sqlite_statement_text(row, 2)) && fine;
    fine = ac_json_put(json, "status", ac_sqlite_statement_text(row, 3)) && fine;
    fine = ac_json_put(json, "pinned", json_boolean(sqlite3_column_int(row, 10))) && fine;
    fine = ac_json_put(json, "metadata", metadata) && fine;
    fine = ac_json_put(json, "message_count", json_integer(thread->n_messages)) && fine;
    fine = (!sqlite3_column_int64(row, 11) ||
            ac_json_put(json, "deleted_messages", json_integer(sqlite3_column_int64(row, 11)))) &&
        fine;
    fine = ac_json_put(json, "leaf", leaf ? json_incref(leaf) : json_null()) && fine;
    fine = ac_json_put(json, "created_at", ac_sqlite_statement_text(row, 6)) && fine;
    fine = ac_json_put(json, "updated_at", ac_sqlite_statement_text(row, 7)) && fine;
    fine = tree != NULL && fine;
    json_decref(tree);
    if (!fine) {
        json_decref(json);
        return ac_sqlite_conn_fail_row(conn, err);
    }
    thread->json = json;
    return APR_SUCCESS;
}

apr_status_t ac_sqlite_thread_find(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op, bool hidden)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, hidden ? sql_find_hidden : sql_find,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                                  &op->err);

    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_NOT_FOUND, "no thread with this id");
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_thread_read(thread, conn, row, &op->err);
        sqlite3_reset(row);
    }
    return status;
}

/* Answers with the thread's current state. */
static apr_status_t thread_answer(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    if (status == APR_SUCCESS) {
        op->out = thread.json;
        ac_store_etag_set(op, thread.version);
    }
    return status;
}

apr_status_t ac_sqlite_thread_insert(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id, const json_t *document)
{
    const char *status_text = NULL, *created = NULL, *updated = NULL;
    apr_status_t status = ac_json_string(&status_text, document, "status", true, &op->err);

    if (status == APR_SUCCESS) {
        status = ac_json_string(&created, document, "created_at", true, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&updated, document, "updated_at", true, &op->err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    return ac_sqlite_statement_run(
        conn, sql_insert,
        AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->owner),
                       ac_sqlite_string(json_object_get(document, "title")),
                       ac_sqlite_string(json_object_get(document, "agent_id")), ac_sqlite_text(status_text),
                       ac_sqlite_json(json_object_get(document, "metadata")), ac_sqlite_text(created),
                       ac_sqlite_text(updated),
                       ac_sqlite_int(json_integer_value(json_object_get(document, "message_count"))),
                       ac_sqlite_int(json_is_true(json_object_get(document, "pinned")))),
        &op->err);
}

/* ---- one thread ---- */

apr_status_t ac_sqlite_thread_create(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const char *id = NULL;
    apr_status_t status = ac_json_string(&id, op->in, "id", true, &op->err);

    if (status == APR_SUCCESS && strlen(id) >= sizeof(op->id)) {
        status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/id", "too long");
    }
    if (status == APR_SUCCESS) {
        apr_cpystrn(op->id, id, sizeof(op->id));
        status = ac_sqlite_thread_insert(conn, op, op->id, op->in);
    }
    return status == APR_SUCCESS ? thread_answer(conn, op) : status;
}

apr_status_t ac_sqlite_thread_get(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    return thread_answer(conn, op);
}

/* The value of a member after the request: from the request, or else from the thread; borrowed. null removes a title or
 * metadata. */
static const json_t *changed(const ac_store_op_t *op, const json_t *thread, const char *name, bool nullable)
{
    const json_t *value = json_object_get(op->in, name);

    return value && (nullable || !json_is_null(value)) ? value : json_object_get(thread, name);
}

/* The answer of an operation that has to wait for the end of the thread's run. */
static apr_status_t run_none(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    char run_id[AC_ID_SIZE];
    apr_status_t status = ac_sqlite_run_active(run_id, conn, op->id, &op->err);

    if (status == APR_SUCCESS && *run_id) {
        op->out = json_pack("{s:s}", "run_id", run_id);
        return ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the thread has an active run");
    }
    return status;
}

/* *ptree: the thread's tree with the leaf that the operation asks for; NULL: as it is. */
static apr_status_t leaf_change(json_t **ptree, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                const ac_sqlite_thread_t *thread)
{
    ac_tree_t tree = {0};
    apr_status_t status = APR_SUCCESS;

    *ptree = NULL;
    if (json_object_get(op->in, "leaf")) {
        status = ac_sqlite_message_tree(&tree, conn, op, thread);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_message_switch(&tree, conn, op);
        }
        if (status == APR_SUCCESS) {
            status = run_none(conn, op);
        }
        *ptree = status == APR_SUCCESS ? ac_tree_json(&tree) : NULL;
        ac_tree_free(&tree);
    }
    return status;
}

apr_status_t ac_sqlite_thread_update(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    json_t *tree = NULL;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    if (status != APR_SUCCESS) {
        return status;
    }
    status = ac_store_thread_check(op, thread.json, thread.version);
    if (status == APR_SUCCESS) {
        status = leaf_change(&tree, conn, op, &thread);
    }
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(
            conn, sql_update,
            AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_string(changed(op, thread.json, "title", true)),
                           ac_sqlite_string(changed(op, thread.json, "status", false)),
                           ac_sqlite_json(changed(op, thread.json, "metadata", true)),
                           ac_sqlite_string(changed(op, thread.json, "updated_at", false)), ac_sqlite_text(op->owner),
                           ac_sqlite_json(tree),
                           ac_sqlite_int(json_is_true(changed(op, thread.json, "pinned", false)))),
            &op->err);
    }
    json_decref(tree);
    json_decref(thread.json);
    return status == APR_SUCCESS ? thread_answer(conn, op) : status;
}

/* Adds the ids of the thread's files, which are removed with it, to files. */
static apr_status_t thread_remove(json_t *files, ac_sqlite_conn_t *conn, const char *id, const char *owner,
                                  ac_err_t *err)
{
    static const char *const order[] = {sql_remove_steps,    sql_remove_waits,    sql_remove_runs,
                                        sql_remove_webhooks, sql_remove_messages, sql_remove_thread};
    apr_status_t status = ac_sqlite_file_remove_all(files, conn, id, owner, err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_search_forget(conn, id, owner, &(ac_sqlite_forget_t){.limit = -1, .title = true}, err);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < sizeof(order) / sizeof(*order); i++) {
        status =
            ac_sqlite_statement_run(conn, order[i], AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(owner)), err);
    }
    return status;
}

/* Consumes the ids of files; without any there is no such member. */
static void files_answer(json_t *out, json_t *files)
{
    if (json_array_size(files) > 0) {
        json_object_set(out, "files", files);
    }
    json_decref(files);
}

static apr_status_t hard_delete(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    apr_status_t status = run_none(conn, op);

    if (status != APR_SUCCESS) {
        return status;
    }
    json_t *files = json_array();
    status = thread_remove(files, conn, op->id, op->owner, &op->err);
    op->out = json_object();
    files_answer(op->out, files);
    return status;
}

apr_status_t ac_sqlite_thread_delete(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    const char *deleted_at = NULL;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, op->hard);

    json_decref(thread.json);
    if (status == APR_SUCCESS && op->hard) {
        status = hard_delete(conn, op);
    } else if (status == APR_SUCCESS) {
        status = ac_json_string(&deleted_at, op->in, "deleted_at", true, &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_run(conn, sql_soft_delete,
                                             AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(deleted_at),
                                                            ac_sqlite_text(op->owner)),
                                             &op->err);
        }
    }
    if (status == APR_SUCCESS && !op->out) {
        op->out = json_object();
    }
    return status;
}

apr_status_t ac_sqlite_thread_restore(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    const char *updated_at = NULL;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, true);
    bool deleted = strcmp(ac_json_peek_string(thread.json, "status", ""), "deleted") == 0;

    json_decref(thread.json);
    if (status == APR_SUCCESS && deleted) {
        status = ac_json_string(&updated_at, op->in, "updated_at", true, &op->err);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_run(conn, sql_restore,
                                             AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(updated_at),
                                                            ac_sqlite_text(op->owner)),
                                             &op->err);
        }
    }
    return status == APR_SUCCESS ? thread_answer(conn, op) : status;
}

/* ---- purge ---- */

typedef struct purged_t {
    char id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *files; /* ids of the files of all purged threads */
} purged_t;

/* Removes up to PURGE_ROWS rows of the thread, and after the last of them the thread itself. *prows: the number of
 * rows. */
static apr_status_t purge_thread(int *prows, bool *pgone, ac_sqlite_conn_t *conn, const purged_t *thread, ac_err_t *err)
{
    static const char *const order[] = {sql_purge_steps, sql_purge_runs, sql_purge_messages};
    apr_status_t status =
        ac_sqlite_statement_run(conn, sql_purge_begin, AC_SQLITE_ARGS(ac_sqlite_text(thread->id)), err);

    *prows = 0;
    *pgone = true;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_run_end(conn, thread->id, err); /* its usage counts */
    }
    for (size_t i = 0; status == APR_SUCCESS && *prows < PURGE_ROWS && i < sizeof(order) / sizeof(*order); i++) {
        int limit = order[i] == sql_purge_messages ? PURGE_ROWS : PURGE_RUNS;
        if (order[i] == sql_purge_messages) {
            status = ac_sqlite_search_forget(conn, thread->id, thread->owner,
                                             &(ac_sqlite_forget_t){.limit = PURGE_ROWS}, err);
        }
        if (status != APR_SUCCESS) {
            break;
        }
        status = ac_sqlite_statement_run(conn, order[i],
                                         AC_SQLITE_ARGS(ac_sqlite_text(thread->id), ac_sqlite_int(limit)), err);
        *prows += sqlite3_changes(conn->db);
        *pgone = *pgone && (order[i] == sql_purge_steps || sqlite3_changes(conn->db) < limit);
    }
    *pgone = *pgone && *prows < PURGE_ROWS;
    return status == APR_SUCCESS && *pgone ? thread_remove(thread->files, conn, thread->id, thread->owner, err)
                                           : status;
}

apr_status_t ac_sqlite_thread_purge(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    int64_t n_purged = ac_json_peek_int(op->out, "purged", 0);
    int n_rows = 0, rows = 0;
    purged_t thread = {.files = json_incref(json_object_get(op->out, "files"))};
    const char *before = NULL;
    sqlite3_stmt *row = NULL;
    bool gone, more = true;
    apr_status_t status = ac_json_string(&before, op->in, "before", true, &op->err);

    thread.files = thread.files ? thread.files : json_array();
    for (int i = 0; status == APR_SUCCESS && more && i < PURGE_THREADS && n_rows < PURGE_ROWS; i++) {
        status = ac_sqlite_statement_row(&row, conn, sql_purge_next, AC_SQLITE_ARGS(ac_sqlite_text(before)), &op->err);
        more = status == APR_SUCCESS && row;
        if (!more) {
            break;
        }
        apr_cpystrn(thread.id, (const char *)sqlite3_column_text(row, 0), sizeof(thread.id));
        apr_cpystrn(thread.owner, (const char *)sqlite3_column_text(row, 1), sizeof(thread.owner));
        sqlite3_reset(row);
        status = purge_thread(&rows, &gone, conn, &thread, &op->err);
        n_rows += rows;
        n_purged += status == APR_SUCCESS && gone;
        conn->truncates = true;
    }
    const char *keys_before = ac_json_peek_string(op->in, "keys_before", NULL);
    if (status == APR_SUCCESS && keys_before) {
        status = ac_sqlite_key_purge(&rows, conn, keys_before, PURGE_ROWS, &op->err);
        more = more || rows == PURGE_ROWS;
    }
    if (status != APR_SUCCESS) {
        json_decref(thread.files);
        return status;
    }
    json_t *out = op->out;
    op->out = json_pack("{s:I}", "purged", (json_int_t)n_purged);
    files_answer(op->out, thread.files);
    status = more ? AC_SQLITE_TO_WRITER : ac_sqlite_erasures_complete(conn, op, out);
    json_decref(out);
    return status;
}
