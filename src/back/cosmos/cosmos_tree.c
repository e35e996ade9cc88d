/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a thread's messages in the Cosmos DB store. The thread's document has it (back/tree.h), so that a path is
 * known without reading messages. Besides, each message's document names its parent; one of an older version does not,
 * and is the child of the message before it. */
#include "cosmos_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define TREE_TRIES 5 /* reads of a thread that is older than one of its messages */

static const char sql_ids[] =
    "SELECT c.id, c.seq FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND c.seq IN (";

apr_status_t ac_cosmos_tree_read(ac_tree_t *tree, ac_cosmos_task_t *task)
{
    const json_t *thread = task->thread.doc;
    return ac_tree_read(tree, json_object_get(thread, "tree"), ac_json_peek_int(thread, "message_count", 0),
                        &task->op->err);
}

/* ---- a new message ---- */

/* The seq of the parent that the operation names; -1: none. */
static int64_t parent_named(const ac_cosmos_task_t *task)
{
    return ac_json_peek_int(task->op->in, "parent_seq", -1);
}

static int64_t parent_of(bool *pmove, const ac_cosmos_task_t *task, const ac_tree_t *tree)
{
    return ac_tree_place(pmove, tree, parent_named(task), ac_json_peek_int(task->op->in, "after", -1));
}

/* The id of the parent of a message that the operation has as `in`, a new reference; NULL: it is not known. */
static json_t *parent_id(const ac_cosmos_task_t *task, const ac_tree_t *tree, int64_t parent, const json_t *in)
{
    json_t *given = json_object_get(in, "parent_id");
    json_t *last = json_object_get(task->thread.doc, "last_message");
    if (parent == 0) {
        return json_null();
    }
    if (parent == parent_named(task) && json_is_string(given)) {
        return json_incref(given);
    }
    if (parent == tree->leaf && *tree->leaf_id) {
        return json_string(tree->leaf_id);
    }
    return parent == tree->count && json_is_string(last) ? json_incref(last) : NULL;
}

static bool put_place(json_t *message, int64_t seq, json_t *parent)
{
    if (!parent) {
        json_object_del(message, "parent_id");
    }
    return (!parent || ac_json_put(message, "parent_id", json_incref(parent))) &&
        ac_json_put(message, "seq", json_integer(seq));
}

static bool put_tree(json_t *thread, const ac_tree_t *tree, const char *last_id)
{
    json_t *json = ac_tree_json(tree);
    bool fine = ac_json_put(thread, "message_count", json_integer(tree->count));
    fine = ac_json_put(thread, "last_message", json_string(last_id)) && fine;
    if (json_is_null(json)) {
        json_object_del(thread, "tree");
        json_decref(json);
        return fine;
    }
    return ac_json_put(thread, "tree", json) && fine;
}

/* The first message of the operation. */
static apr_status_t add_first(ac_cosmos_task_t *task, ac_tree_t *tree, json_t *message, const json_t *in)
{
    bool move;
    int64_t parent = parent_of(&move, task, tree);
    if (task->op->verb == AC_STORE_TURN_CLOSE && parent != tree->count && tree->n_jumps >= AC_MAX_BRANCHES) {
        parent = tree->count; /* there is no room for a branch, but an answer is not lost */
        move = true;
    }
    if (!move && !*tree->leaf_id) {
        ac_tree_leaf_set(tree, tree->leaf, ac_json_peek_string(task->thread.doc, "last_message", ""));
    }
    json_t *above = parent_id(task, tree, parent, in);
    apr_status_t status = ac_tree_add(tree, parent, ac_json_peek_string(message, "id", ""), move, &task->op->err);
    if (status == APR_SUCCESS && !put_place(message, tree->count, above)) {
        status = ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
    }
    json_decref(above);
    return status;
}

/* Another one, which follows the message before. */
static apr_status_t add_next(ac_cosmos_task_t *task, ac_tree_t *tree, json_t *message, const json_t *before)
{
    const char *id = ac_json_peek_string(message, "id", "");
    apr_status_t status = ac_tree_add(tree, tree->count, id, true, &task->op->err);
    return status == APR_SUCCESS && !put_place(message, tree->count, json_object_get(before, "id"))
        ? ac_err_set(&task->op->err, AC_INTERNAL, "out of memory")
        : status;
}

apr_status_t ac_cosmos_tree_add(ac_cosmos_task_t *task, json_t *thread, json_t *message)
{
    const json_t *earlier = json_object_get(task->documents, "earlier"), *in = json_object_get(task->op->in, "earlier");
    size_t n = json_array_size(earlier);
    ac_tree_t tree;
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        return status;
    }
    status = n ? add_first(task, &tree, json_array_get(earlier, 0), json_array_get(in, 0))
               : add_first(task, &tree, message, json_object_get(task->op->in, "message"));
    for (size_t i = 1; status == APR_SUCCESS && i <= n; i++) {
        status = add_next(task, &tree, i < n ? json_array_get(earlier, i) : message, json_array_get(earlier, i - 1));
    }
    if (status == APR_SUCCESS &&
        (!put_tree(thread, &tree, ac_json_peek_string(message, "id", "")) ||
         (task->whole && !put_place(task->whole, tree.count, json_object_get(message, "parent_id"))))) {
        status = ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
    }
    ac_tree_free(&tree);
    return status;
}

apr_status_t ac_cosmos_tree_check(ac_cosmos_task_t *task)
{
    ac_tree_t tree;
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status == APR_SUCCESS) {
        bool move;
        status = ac_tree_add(&tree, parent_of(&move, task, &tree), "", true, &task->op->err);
        ac_tree_free(&tree);
    }
    return status;
}

/* ---- a message by its id ---- */

static void tree_check_found(ac_cosmos_task_t *task);

static void find_end_unknown(ac_cosmos_task_t *task)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    ac_json_pointer_add(pointer, task->find.member);
    ac_cosmos_task_end(task,
                       ac_err_set_at(&task->op->err, AC_NOT_FOUND, pointer, "the thread has no message with this id"));
}

void ac_cosmos_tree_find(ac_cosmos_task_t *task, const char *member, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    task->find.member = member;
    task->find.n_tries = 0;
    ac_cosmos_turn_find_message(task, ac_json_peek_string(task->op->in, member, ""), tree_check_found);
}

static void tree_check_found(ac_cosmos_task_t *task)
{
    int64_t seq = ac_json_peek_int(task->found, "seq", 0);
    if (seq < 1 || strcmp(ac_json_peek_string(task->found, "type", ""), "message") != 0) {
        find_end_unknown(task);
    } else if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
    } else if (seq <= ac_json_peek_int(task->thread.doc, "message_count", 0)) {
        ac_cosmos_task_return(task);
    } else if (++task->find.n_tries < TREE_TRIES) {
        ac_cosmos_thread_doc_read(task, false, tree_check_found);
    } else {
        ac_cosmos_task_end_damaged(task, "a message is newer than its thread");
    }
}

/* ---- ids by seq ---- */

/* Queries the ids of the messages whose seqs are the members of `wanted`: {seq: null}. They are in task->rows. */
static void query_ids(ac_cosmos_task_t *task, const json_t *wanted, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id};
    const char *seq;
    json_t *value;
    ac_buf_t sql;
    ac_buf_init(&sql, AC_MAX_REQUEST);
    ac_buf_str(&sql, sql_ids);
    json_object_foreach((json_t *)wanted, seq, value)
    {
        ac_buf_printf(&sql, "%s%s", sql.len + 1 > sizeof(sql_ids) ? ", " : "", seq);
    }
    ac_buf_str(&sql, ")");
    if (sql.failed) {
        ac_buf_free(&sql);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    query.sql = sql.data;
    query.parameters = json_pack("{s:s}", "@thread", task->op->id);
    ac_cosmos_query_run(task, &query, fn);
    ac_buf_free(&sql);
}

/* ---- THREAD_UPDATE's leaf ---- */

static void leaf_find(ac_cosmos_task_t *task);
static void leaf_found(ac_cosmos_task_t *task);
static void leaf_named(ac_cosmos_task_t *task);

void ac_cosmos_tree_leaf(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_store_op_t *op = task->op;
    apr_status_t status = ac_store_thread_check(op, task->thread.doc, ac_cosmos_doc_version(task->thread.doc));
    if (status == APR_SUCCESS && json_is_null(json_object_get(op->in, "leaf"))) {
        status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/leaf", "must be the id of a message");
    }
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_cosmos_task_then(task, fn);
    if (*ac_cosmos_thread_doc_run(&task->thread)) {
        ac_cosmos_run_check_active(task, leaf_find);
    } else {
        leaf_find(task);
    }
}

static void leaf_find(ac_cosmos_task_t *task)
{
    ac_cosmos_tree_find(task, "leaf", leaf_found);
}

static void leaf_found(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    int64_t seq = ac_json_peek_int(task->found, "seq", 0);
    ac_tree_t tree;
    if (*run_id) {
        task->op->out = json_pack("{s:s}", "run_id", run_id);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_IN_PROGRESS, "the thread has an active run"));
        return;
    }
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    task->update.leaf = ac_tree_newest_leaf(&tree, seq);
    bool line = tree.n_jumps == 0;
    ac_tree_free(&tree);
    if (line) {
        task->update.leaf = 0;
        ac_cosmos_task_return(task);
    } else if (task->update.leaf == seq) {
        apr_cpystrn(task->update.leaf_id, ac_json_peek_string(task->found, "id", ""), sizeof(task->update.leaf_id));
        ac_cosmos_task_return(task);
    } else {
        char text[24];
        snprintf(text, sizeof(text), "%" PRId64, task->update.leaf);
        json_t *wanted = json_pack("{s:n}", text);
        query_ids(task, wanted, leaf_named);
        json_decref(wanted);
    }
}

static void leaf_named(ac_cosmos_task_t *task)
{
    const char *id = ac_json_peek_string(json_array_get(task->rows, 0), "id", "");
    apr_cpystrn(task->update.leaf_id, id, sizeof(task->update.leaf_id));
    if (*id) {
        ac_cosmos_task_return(task);
    } else {
        ac_cosmos_task_end_damaged(task, "the last message of a branch is missing");
    }
}

/* ---- parents and siblings of shown messages ---- */

typedef struct show_t {
    const ac_tree_t *tree;
    bool siblings;
    json_t *known; /* {seq: id} */
} show_t;

static const char *seq_text(char text[24], int64_t seq)
{
    snprintf(text, 24, "%" PRId64, seq);
    return text;
}

static json_t *known_id(const show_t *show, int64_t seq)
{
    char text[24];
    return json_object_get(show->known, seq_text(text, seq));
}

static void known_add(json_t *known, const json_t *messages)
{
    char text[24];
    const json_t *message;
    size_t i;
    json_array_foreach(messages, i, message)
    {
        json_object_set(known, seq_text(text, ac_json_peek_int(message, "seq", 0)), json_object_get(message, "id"));
    }
}

/* Adds seqs whose ids are needed for the message and are not known to `wanted`. */
static void want_ids(json_t *wanted, const show_t *show, const json_t *row)
{
    char text[24];
    int64_t seq = ac_json_peek_int(row, "seq", 0), parent = ac_tree_parent(show->tree, seq), *seqs = NULL;
    if (!json_object_get(row, "parent_id") && parent > 0 && !known_id(show, parent)) {
        json_object_set_new(wanted, seq_text(text, parent), json_null());
    }
    int n = show->siblings ? ac_tree_siblings(&seqs, show->tree, seq) : 0;
    for (int i = 0; n > 1 && i < n; i++) {
        if (!known_id(show, seqs[i])) {
            json_object_set_new(wanted, seq_text(text, seqs[i]), json_null());
        }
    }
    free(seqs);
}

/* A sibling whose time to live is over has no id any more, and is left out. */
static bool put_siblings(json_t *message, const show_t *show)
{
    int64_t seq = ac_json_peek_int(message, "seq", 0), *seqs;
    int n = ac_tree_siblings(&seqs, show->tree, seq);
    json_t *ids = json_array();
    size_t index = 0;
    for (int i = 0; n > 1 && i < n; i++) {
        if (seqs[i] == seq) {
            index = json_array_size(ids);
        }
        json_array_append(ids, known_id(show, seqs[i]));
    }
    free(seqs);
    bool fine = true;
    if (json_array_size(ids) > 1) {
        fine = ac_json_put(message, "siblings", json_incref(ids));
        fine = ac_json_put(message, "sibling_index", json_integer((json_int_t)index)) && fine;
    }
    json_decref(ids);
    return fine;
}

static bool put_relatives(json_t *message, const show_t *show)
{
    int64_t parent = ac_tree_parent(show->tree, ac_json_peek_int(message, "seq", 0));
    json_t *id = known_id(show, parent);
    if (json_is_null(json_object_get(message, "parent_id")) && id &&
        !ac_json_put(message, "parent_id", json_incref(id))) {
        return false;
    }
    return !show->siblings || put_siblings(message, show);
}

static void show_all(ac_cosmos_task_t *task, show_t *show)
{
    json_t *message;
    size_t i;
    bool fine = true;
    known_add(show->known, task->rows);
    json_array_foreach(task->found, i, message)
    {
        fine = put_relatives(message, show) && fine;
    }
    if (fine) {
        ac_cosmos_task_return(task);
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
    }
}

/* task->rows: the ids that were not known. */
static void tree_on_ids(ac_cosmos_task_t *task)
{
    ac_tree_t tree;
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    show_t show = {&tree, task->find.siblings, json_object()};
    known_add(show.known, task->found);
    show_all(task, &show);
    json_decref(show.known);
    ac_tree_free(&tree);
}

void ac_cosmos_tree_show(ac_cosmos_task_t *task, bool siblings, ac_cosmos_step_fn *fn)
{
    json_t *wanted = json_object(), *row;
    ac_tree_t tree;
    size_t i;
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        json_decref(wanted);
        ac_cosmos_task_end(task, status);
        return;
    }
    task->find.siblings = siblings && tree.n_jumps > 0;
    show_t show = {&tree, task->find.siblings, json_object()};
    known_add(show.known, task->rows);
    json_array_foreach(task->rows, i, row)
    {
        want_ids(wanted, &show, row);
    }
    ac_cosmos_task_then(task, fn);
    if (json_object_size(wanted) > 0) {
        query_ids(task, wanted, tree_on_ids);
    } else {
        show_all(task, &show);
    }
    json_decref(wanted);
    json_decref(show.known);
    ac_tree_free(&tree);
}
