/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's messages: one message, the messages of a path, and the tree that they form. */
#include "sqlite_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define COLUMNS AC_SQLITE_MESSAGE_COLUMNS
#define ROOT "" /* the stored parent of a message without one; NULL: the message before it, as in older files */

static const char sql_list_up[] =
    "SELECT " COLUMNS
    " FROM messages WHERE thread_id = ?1 AND seq BETWEEN ?2 AND ?3 AND " AC_SQLITE_THREAD_OF("?1",
                                                                                             "?4") " ORDER BY seq";
static const char sql_list_down[] =
    "SELECT " COLUMNS
    " FROM messages WHERE thread_id = ?1 AND seq BETWEEN ?2 AND ?3 AND " AC_SQLITE_THREAD_OF("?1",
                                                                                             "?4") " ORDER BY seq DESC";
static const char sql_find[] = "SELECT " COLUMNS
                               " FROM messages WHERE id = ?1 AND thread_id = ?2 AND " AC_SQLITE_THREAD_OF("?2", "?3");
static const char sql_id[] =
    "SELECT id, role FROM messages WHERE thread_id = ?1 AND seq = ?2 AND " AC_SQLITE_THREAD_OF("?1", "?3");
static const char sql_insert[] =
    "INSERT INTO messages (thread_id, seq, id, role, content, tool_calls, run_id, created_at, metadata,"
    " attachments, parent_id) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?11, ?12 WHERE " AC_SQLITE_THREAD_OF("?1",
                                                                                                              "?10");
static const char sql_tree[] = "SELECT tree FROM threads WHERE id = ?1 AND owner = ?2";

/* ---- one message ---- */

json_t *ac_sqlite_message_read(sqlite3_stmt *row)
{
    json_t *json = json_object();
    bool fine = ac_json_put(json, "id", ac_sqlite_statement_text(row, 0));

    fine = ac_json_put(json, "thread_id", ac_sqlite_statement_text(row, 1)) && fine;
    fine = ac_json_put(json, "parent_id", ac_sqlite_statement_text(row, 10)) && fine;
    fine = ac_json_put(json, "seq", json_integer(sqlite3_column_int64(row, 2))) && fine;
    fine = ac_json_put(json, "role", ac_sqlite_statement_text(row, 3)) && fine;
    fine = ac_json_put(json, "content", ac_sqlite_statement_text(row, 4)) && fine;
    fine = ac_json_put(json, "tool_calls", ac_sqlite_statement_json(row, 5)) && fine;
    fine = ac_json_put(json, "run_id", ac_sqlite_statement_text(row, 6)) && fine;
    fine = ac_json_put(json, "timestamp", ac_sqlite_statement_text(row, 7)) && fine;
    fine = ac_json_put(json, "metadata", ac_sqlite_statement_json(row, 8)) && fine;
    if (sqlite3_column_type(row, 11) != SQLITE_NULL) {
        fine = ac_json_put(json, "feedback", ac_sqlite_statement_json(row, 11)) && fine;
    }
    if (sqlite3_column_type(row, 12) != SQLITE_NULL) {
        json_t *marks = ac_sqlite_statement_json(row, 12);
        fine = json_object_update(json, marks) == 0 && fine;
        json_decref(marks);
    }
    if (sqlite3_column_type(row, 9) != SQLITE_NULL) {
        fine = ac_json_put(json, "attachments", ac_sqlite_statement_json(row, 9)) && fine;
    }
    if (!fine) {
        json_decref(json);
        return NULL;
    }
    return json;
}

apr_status_t ac_sqlite_message_find(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_find,
                                AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(op->id), ac_sqlite_text(op->owner)),
                                &op->err);

    *pmessage = NULL;
    if (status == APR_SUCCESS && row) {
        *pmessage = ac_sqlite_message_read(row);
        sqlite3_reset(row);
        status = *pmessage ? APR_SUCCESS : ac_sqlite_conn_fail_row(conn, &op->err);
    }
    return status;
}

/* The message as ac_sqlite_message_read() gives it, with its members in the same order. NULL: out of memory. */
static json_t *message_shown(const json_t *in, const char *thread_id, int64_t seq, const char *parent_id)
{
    static const char *const names[] = {"id",      "thread_id",  "parent_id", "seq",       "role",
                                        "content", "tool_calls", "run_id",    "timestamp", "metadata"};
    json_t *shown = json_object();
    bool fine = true;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        json_t *value = json_object_get(in, names[i]);
        fine = ac_json_put(shown, names[i], value ? json_incref(value) : json_null()) && fine;
    }
    /* A member that is set again keeps its place. */
    fine = ac_json_put(shown, "thread_id", json_string(thread_id)) && fine;
    fine = ac_json_put(shown, "parent_id", ac_json_text(*parent_id ? parent_id : NULL)) && fine;
    fine = ac_json_put(shown, "seq", json_integer(seq)) && fine;
    if (json_is_array(json_object_get(in, "attachments"))) {
        fine = ac_json_put(shown, "attachments", json_incref(json_object_get(in, "attachments"))) && fine;
    }
    if (!fine) {
        json_decref(shown);
        return NULL;
    }
    return shown;
}

typedef struct message_place_t {
    int64_t seq;
    char parent_id[AC_ID_SIZE];
} message_place_t;

static apr_status_t message_insert(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *in,
                                   const message_place_t *place)
{
    const json_t *content = json_object_get(in, "content");
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
            AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(place->seq), ac_sqlite_text(id), ac_sqlite_text(role),
                           ac_sqlite_string(content), ac_sqlite_json(json_object_get(in, "tool_calls")),
                           ac_sqlite_string(json_object_get(in, "run_id")), ac_sqlite_text(timestamp),
                           ac_sqlite_json(json_object_get(in, "metadata")), ac_sqlite_text(op->owner),
                           ac_sqlite_json(json_object_get(in, "attachments")), ac_sqlite_text(place->parent_id)),
            &op->err);
    }
    if (status == APR_SUCCESS && sqlite3_changes(conn->db)) {
        *pmessage = message_shown(in, op->id, place->seq, place->parent_id);
        status = *pmessage ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    return status;
}

/* The id of the thread's message with this seq, and its role if role is not NULL. errors: store_error. */
static apr_status_t id_at(char id[AC_ID_SIZE], char role[AC_SQLITE_ROLE_SIZE], ac_sqlite_conn_t *conn,
                          ac_store_op_t *op, int64_t seq)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_id,
                                AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(seq), ac_sqlite_text(op->owner)),
                                &op->err);

    if (status == APR_SUCCESS && !row) {
        return ac_err_set(&op->err, AC_STORE_ERROR, "a message of the thread is missing");
    }
    if (status == APR_SUCCESS) {
        apr_cpystrn(id, (const char *)sqlite3_column_text(row, 0), AC_ID_SIZE);
        if (role) {
            apr_cpystrn(role, (const char *)sqlite3_column_text(row, 1), AC_SQLITE_ROLE_SIZE);
        }
        sqlite3_reset(row);
    }
    return status;
}

/* ---- the tree ---- */

apr_status_t ac_sqlite_message_tree(ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                    const ac_sqlite_thread_t *thread)
{
    sqlite3_stmt *row;
    json_t *json = NULL;
    apr_status_t status = APR_SUCCESS;

    if (thread->branched) {
        status = ac_sqlite_statement_row(&row, conn, sql_tree,
                                         AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_text(op->owner)), &op->err);
        if (status == APR_SUCCESS && row) {
            json = ac_sqlite_statement_json(row, 0);
            sqlite3_reset(row);
        }
    }
    if (status == APR_SUCCESS) {
        status = ac_tree_read(tree, json, thread->n_messages, &op->err);
    }
    json_decref(json);
    return status;
}

/* The seq of the message that the operation's `parent_id` or `regenerate` names; null: 0. */
static apr_status_t message_named(int64_t *pseq, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *member)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    json_t *message = NULL;
    apr_status_t status;

    *pseq = 0;
    if (json_is_null(json_object_get(op->in, member))) {
        return APR_SUCCESS;
    }
    status = ac_sqlite_message_find(&message, conn, op, ac_json_peek_string(op->in, member, ""));
    if (status == APR_SUCCESS && !message) {
        ac_json_pointer_add(pointer, member);
        status = ac_err_set_at(&op->err, AC_NOT_FOUND, pointer, "the thread has no message with this id");
    }
    *pseq = ac_json_peek_int(message, "seq", 0);
    json_decref(message);
    return status;
}

/* The seq of the user's message at *pseq or next above it. */
static apr_status_t question_above(int64_t *pseq, ac_sqlite_conn_t *conn, ac_store_op_t *op, const ac_tree_t *tree)
{
    char id[AC_ID_SIZE], role[AC_SQLITE_ROLE_SIZE] = "";
    apr_status_t status = APR_SUCCESS;

    while (*pseq > 0) {
        status = id_at(id, role, conn, op, *pseq);
        if (status != APR_SUCCESS || strcmp(role, "user") == 0) {
            return status;
        }
        *pseq = ac_tree_parent(tree, *pseq);
    }
    return ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/regenerate", "this message answers no question");
}

apr_status_t ac_sqlite_message_end(int64_t *pend, ac_sqlite_conn_t *conn, ac_store_op_t *op, const ac_tree_t *tree)
{
    apr_status_t status;

    *pend = tree->leaf;
    if (json_object_get(op->in, "parent_id")) {
        return message_named(pend, conn, op, "parent_id");
    }
    if (!json_is_string(json_object_get(op->in, "regenerate"))) {
        return APR_SUCCESS;
    }
    status = message_named(pend, conn, op, "regenerate");
    return status == APR_SUCCESS ? question_above(pend, conn, op, tree) : status;
}

apr_status_t ac_sqlite_message_switch(ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    char id[AC_ID_SIZE] = "";
    int64_t seq = 0;
    apr_status_t status = message_named(&seq, conn, op, "leaf");

    if (status == APR_SUCCESS && seq == 0) {
        status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/leaf", "must be the id of a message");
    }
    if (status == APR_SUCCESS) {
        seq = ac_tree_newest_leaf(tree, seq);
        status = id_at(id, NULL, conn, op, seq);
    }
    if (status == APR_SUCCESS) {
        ac_tree_leaf_set(tree, seq, id);
    }
    return status;
}

/* Whether another message of the same operation comes before this one. */
static bool message_follows(const ac_store_op_t *op, const json_t *message)
{
    const json_t *first = json_array_get(json_object_get(op->in, "earlier"), 0);
    return first && message != first;
}

/* Adds a message of op to the tree. *pparent: the seq of its parent. An answer is not lost if there is no room for a
 * branch. */
static apr_status_t tree_add(int64_t *pparent, ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                             const json_t *message)
{
    char leaf_id[AC_ID_SIZE];
    bool move = true;
    int64_t parent = tree->count;
    apr_status_t status = APR_SUCCESS;

    if (!message_follows(op, message)) {
        parent = ac_tree_place(&move, tree, ac_json_peek_int(op->in, "parent_seq", -1),
                               ac_json_peek_int(op->in, "after", -1));
    }
    if (op->verb == AC_STORE_TURN_CLOSE && parent != tree->count && tree->n_jumps >= AC_MAX_BRANCHES) {
        parent = tree->count;
        move = true;
    }
    if (!move && !*tree->leaf_id) {
        status = id_at(leaf_id, NULL, conn, op, tree->leaf);
        if (status == APR_SUCCESS) {
            ac_tree_leaf_set(tree, tree->leaf, leaf_id);
        }
    }
    *pparent = parent;
    return status == APR_SUCCESS ? ac_tree_add(tree, parent, ac_json_peek_string(message, "id", ""), move, &op->err)
                                 : status;
}

apr_status_t ac_sqlite_message_check(const ac_tree_t *tree, ac_store_op_t *op)
{
    return ac_json_peek_int(op->in, "parent_seq", tree->count) == tree->count || tree->n_jumps < AC_MAX_BRANCHES
        ? APR_SUCCESS
        : ac_err_set(&op->err, AC_INVALID_REQUEST, "the thread has too many branches (at most %d)", AC_MAX_BRANCHES);
}

static apr_status_t message_add_one(json_t **pmessage, ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                    const json_t *in)
{
    message_place_t place = {0, ROOT};
    int64_t parent = 0;
    apr_status_t status = tree_add(&parent, tree, conn, op, in);
    bool named = message_follows(op, in) || parent == ac_json_peek_int(op->in, "parent_seq", -1);

    *pmessage = NULL;
    place.seq = tree->count;
    if (status == APR_SUCCESS && named && json_object_get(in, "parent_id")) {
        apr_cpystrn(place.parent_id, ac_json_peek_string(in, "parent_id", ROOT), sizeof(place.parent_id));
    } else if (status == APR_SUCCESS && parent > 0) {
        status = id_at(place.parent_id, NULL, conn, op, parent);
    }
    return status == APR_SUCCESS ? message_insert(pmessage, conn, op, in, &place) : status;
}

apr_status_t ac_sqlite_message_add(json_t **pmessage, ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const json_t *earlier = json_object_get(op->in, "earlier"), *message;
    apr_status_t status = APR_SUCCESS;
    size_t i;

    json_array_foreach((json_t *)earlier, i, message)
    {
        json_t *added = NULL;
        status = status == APR_SUCCESS ? message_add_one(&added, tree, conn, op, message) : status;
        json_decref(added);
    }
    return status == APR_SUCCESS ? message_add_one(pmessage, tree, conn, op, json_object_get(op->in, "message"))
                                 : status;
}

/* ---- lists ---- */

static apr_status_t range_read(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, const ac_tree_range_t *range)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, op->page.descending ? sql_list_down : sql_list_up,
                                  AC_SQLITE_ARGS(ac_sqlite_text(op->id), ac_sqlite_int(range->first),
                                                 ac_sqlite_int(range->last), ac_sqlite_text(op->owner)),
                                  &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        if (json_array_append_new(data, ac_sqlite_message_read(stmt)) != 0) {
            return ac_sqlite_conn_fail_row(conn, &op->err);
        }
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    return status;
}

apr_status_t ac_sqlite_message_path(json_t *data, bool *pmore, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                    const ac_sqlite_path_t *path)
{
    ac_tree_range_t *ranges = NULL;
    int n = ac_tree_path(&ranges, pmore, path->tree, path->end, path->page);
    apr_status_t status = APR_SUCCESS;

    for (int i = 0; status == APR_SUCCESS && i < n; i++) {
        status = range_read(data, conn, op, &ranges[op->page.descending ? n - 1 - i : i]);
    }
    free(ranges);
    return status;
}

/* The ids of these messages. *pids: an array; a new reference. */
static apr_status_t ids_read(json_t **pids, ac_sqlite_conn_t *conn, ac_store_op_t *op, const int64_t *seqs, int n)
{
    char id[AC_ID_SIZE];
    json_t *ids = json_array();
    apr_status_t status = APR_SUCCESS;

    for (int i = 0; status == APR_SUCCESS && i < n; i++) {
        status = id_at(id, NULL, conn, op, seqs[i]);
        if (status == APR_SUCCESS && json_array_append_new(ids, json_string(id)) != 0) {
            status = ac_err_set(&op->err, AC_INTERNAL, "out of memory");
        }
    }
    *pids = ids;
    return status;
}

/* Adds the message's siblings, and its place among them, if it has any. known: the ids that were read for this page, by
 * the parent's seq. */
static apr_status_t siblings_add(json_t *message, json_t *known, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                 const ac_tree_t *tree)
{
    char parent[24];
    int64_t seq = ac_json_peek_int(message, "seq", 0), *seqs = NULL;
    int n = ac_tree_siblings(&seqs, tree, seq), index = 0;
    json_t *ids;
    apr_status_t status = APR_SUCCESS;

    snprintf(parent, sizeof(parent), "%" PRId64, ac_tree_parent(tree, seq));
    ids = json_incref(json_object_get(known, parent));
    if (n > 1 && !ids) {
        status = ids_read(&ids, conn, op, seqs, n);
        json_object_set(known, parent, ids);
    }
    while (index < n - 1 && seqs[index] != seq) {
        index++;
    }
    free(seqs);
    if (status == APR_SUCCESS && n > 1 &&
        (!ac_json_put(message, "siblings", json_incref(ids)) ||
         !ac_json_put(message, "sibling_index", json_integer(index)))) {
        status = ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    json_decref(ids);
    return status;
}

static apr_status_t siblings_add_all(json_t *data, ac_sqlite_conn_t *conn, ac_store_op_t *op, const ac_tree_t *tree)
{
    json_t *known = json_object(), *message;
    size_t i;
    apr_status_t status = APR_SUCCESS;

    json_array_foreach(data, i, message)
    {
        status = status == APR_SUCCESS ? siblings_add(message, known, conn, op, tree) : status;
    }
    json_decref(known);
    return status;
}

apr_status_t ac_sqlite_message_list(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    ac_sqlite_thread_t thread = {0};
    ac_tree_t tree = {0};
    json_t *data, *last = NULL;
    bool more = false;
    apr_status_t status = ac_sqlite_thread_find(&thread, conn, op, false);

    json_decref(thread.json);
    if (status == APR_SUCCESS) {
        status = ac_sqlite_message_tree(&tree, conn, op, &thread);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_tree_t line = {.count = tree.count, .leaf = tree.count};
    bool all = json_is_true(json_object_get(op->in, "all"));
    ac_sqlite_path_t path = {all ? &line : &tree, all ? line.leaf : tree.leaf, &op->page};
    data = json_array();
    status = ac_sqlite_message_path(data, &more, conn, op, &path);
    if (status == APR_SUCCESS && tree.n_jumps > 0) {
        status = siblings_add_all(data, conn, op, &tree);
    }
    ac_tree_free(&tree);
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    if (more) {
        last = json_object_get(json_array_get(data, json_array_size(data) - 1), "seq");
    }
    return ac_sqlite_list_answer(op, data, more, json_incref(last));
}
