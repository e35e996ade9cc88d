/* SPDX-License-Identifier: Apache-2.0 */
/* One thread of the Cosmos DB store. The steps of each verb, in the order of this file:
 *
 * THREAD_CREATE
 *  1  create the thread's entry in the owner's partition, marked as changing
 *  2  create the thread's document
 *     - 409: read it. If its nonce is this task's, an earlier attempt created it. If it is another owner's thread,
 *       remove the entry
 *  3  if the entry existed: mark it again
 *
 * THREAD_GET: read the thread's document
 *
 * THREAD_UPDATE, THREAD_DELETE (soft), THREAD_RESTORE
 *  1  read the thread's document; with a leaf also the message, and the last one below it
 *  2  apply the operation to a copy, and mark the thread's entry
 *  3  replace the document under its ETag
 *     - 404 or 412, the thread changed: read it. If its nonce is this task's, an earlier attempt replaced it; else 2
 *  4  if the status changed: put the copy of the thread into its entry */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static void on_index_created(void *baton, const ac_cosmos_reply_t *reply);
static void on_head_created(void *baton, const ac_cosmos_reply_t *reply);
static void created_before(ac_cosmos_task_t *task);
static void on_entry_removed(void *baton, const ac_cosmos_reply_t *reply);
static void on_index_replaced(void *baton, const ac_cosmos_reply_t *reply);
static void got(ac_cosmos_task_t *task);
static void cosmos_threads_begin_change(ac_cosmos_task_t *task);
static void cosmos_threads_change_from(ac_cosmos_task_t *task);
static void cosmos_threads_write_change(ac_cosmos_task_t *task);
static void cosmos_threads_on_changed(void *baton, const ac_cosmos_reply_t *reply);
static void changed_before(ac_cosmos_task_t *task);
static void after_change(ac_cosmos_task_t *task);
static void settle_index(ac_cosmos_task_t *task);
static void on_index_settled(void *baton, const ac_cosmos_reply_t *reply);
static void cosmos_threads_end_changed(ac_cosmos_task_t *task);

/* ---- endings ---- */

static void cosmos_threads_end_not_found(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

static void end_with_thread(ac_cosmos_task_t *task)
{
    task->op->out = ac_cosmos_doc_thread(task->thread.doc);
    ac_store_etag_set(task->op, ac_cosmos_doc_version(task->thread.doc));
    ac_cosmos_task_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* The document names its last change, and the request that made it unless a turn did. */
static void put_change(ac_cosmos_task_t *task)
{
    ac_json_put(task->documents, "change", json_string(task->entry.change));
    ac_json_put(task->documents, "nonce", json_string(task->entry.change));
}

/* ---- THREAD_CREATE, 1: the entry ---- */

void ac_cosmos_thread_create(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_THREADS, .key = op->owner};
    const char *id = NULL;
    json_t *index;
    apr_status_t status = ac_json_string(&id, op->in, "id", true, &op->err);
    if (status == APR_SUCCESS && strlen(id) >= sizeof(op->id)) {
        status = ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/id", "too long");
    }
    if (status == APR_SUCCESS) {
        apr_cpystrn(op->id, id, sizeof(op->id));
        status = ac_cosmos_doc_make_thread(&task->documents, op->in, op->id, op->owner, &op->err);
    }
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_id_make(task->entry.change, "made_");
    put_change(task);
    index = ac_cosmos_doc_make_marked_entry(task->documents, task->entry.change);
    ac_cosmos_call_write(task, &request, index, on_index_created);
    json_decref(index);
}

/* ---- 2: the thread's document ---- */

/* An entry that exists is the rest of an interrupted creation, or the thread exists. */
static void on_index_created(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) {
        task->create.entry_exists = reply->status == 409 && !reply->unsure;
        ac_cosmos_call_write(task, &request, task->documents, on_head_created);
    }
}

static void on_head_created(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS, .key = task->op->owner};
    json_t *index;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) {
        return;
    }
    if (reply->status == 409) {
        ac_cosmos_thread_doc_read(task, false, created_before);
        return;
    }
    task->thread.doc = json_incref(task->documents);
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc, reply->etag);
    if (!task->create.entry_exists) {
        end_with_thread(task);
        return;
    }
    index = ac_cosmos_doc_make_marked_entry(task->thread.doc, task->entry.change);
    ac_cosmos_call_write(task, &request, index, on_index_replaced);
    json_decref(index);
}

/* An earlier attempt may have created the thread: then it has this task's nonce. */
static void created_before(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->op->id};
    const char *nonce = ac_json_peek_string(task->documents, "nonce", "");
    if (task->thread.doc && strcmp(ac_json_peek_string(task->thread.doc, "nonce", ""), nonce) == 0) {
        end_with_thread(task);
    } else if (task->thread.doc || task->create.entry_exists) {
        on_entry_removed(task, NULL);
    } else { /* another owner's thread: our entry must be removed */
        ac_cosmos_call_start(task, &request, on_entry_removed, task);
    }
}

static void on_entry_removed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    (void)reply;
    ac_cosmos_task_end(task,
                       ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT, "an object with this id exists already"));
}

/* ---- 3: the entry's mark ---- */

static void on_index_replaced(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 201, 409))) {
        end_with_thread(baton);
    }
}

/* ---- THREAD_GET ---- */

void ac_cosmos_thread_get(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, got);
}

static void got(ac_cosmos_task_t *task)
{
    (ac_cosmos_thread_doc_lives(&task->thread, false) ? end_with_thread : cosmos_threads_end_not_found)(task);
}

/* ---- changes, 1: the thread's document ---- */

void ac_cosmos_thread_update(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, cosmos_threads_begin_change);
}

void ac_cosmos_thread_hide(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, cosmos_threads_change_from);
}

void ac_cosmos_thread_restore(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, cosmos_threads_change_from);
}

static void cosmos_threads_begin_change(ac_cosmos_task_t *task)
{
    bool moves = task->op->verb == AC_STORE_THREAD_UPDATE && json_object_get(task->op->in, "leaf");
    if (moves && ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_tree_leaf(task, cosmos_threads_change_from);
    } else {
        cosmos_threads_change_from(task);
    }
}

/* ---- 2: the operation ---- */

/* Applies the members of the request; null removes a title or metadata. */
static void apply_update(const ac_store_op_t *op, json_t *thread)
{
    static const struct {
        const char *name;
        bool nullable;
    } members[] = {
        {"title", true}, {"status", false}, {"metadata", true}, {"pinned", false}, {"updated_at", false},
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        json_t *value = json_object_get(op->in, members[i].name);
        if (value && (members[i].nullable || !json_is_null(value))) {
            ac_json_put(thread, members[i].name, json_incref(value));
        }
    }
}

static apr_status_t apply_hide(ac_store_op_t *op, json_t *thread)
{
    const char *deleted_at = NULL;
    apr_status_t status = ac_json_string(&deleted_at, op->in, "deleted_at", true, &op->err);
    if (status == APR_SUCCESS) {
        ac_json_put(thread, "restore_status", json_incref(json_object_get(thread, "status")));
        ac_json_put(thread, "status", json_string("deleted"));
        ac_json_put(thread, "deleted_at", json_string(deleted_at));
    }
    return status;
}

static apr_status_t apply_restore(ac_store_op_t *op, json_t *thread)
{
    const char *updated_at = NULL;
    apr_status_t status = ac_json_string(&updated_at, op->in, "updated_at", true, &op->err);
    if (status == APR_SUCCESS) {
        ac_json_put(thread, "status", json_string(ac_json_peek_string(thread, "restore_status", "active")));
        ac_json_put(thread, "updated_at", json_string(updated_at));
        json_object_del(thread, "restore_status");
        json_object_del(thread, "deleted_at");
    }
    return status;
}

static apr_status_t apply_leaf(ac_cosmos_task_t *task, json_t *thread)
{
    ac_tree_t tree;
    apr_status_t status = task->update.leaf > 0 ? ac_cosmos_tree_read(&tree, task) : APR_SUCCESS;
    if (status == APR_SUCCESS && task->update.leaf > 0) {
        ac_tree_leaf_set(&tree, task->update.leaf, task->update.leaf_id);
        ac_json_put(thread, "tree", ac_tree_json(&tree));
        ac_tree_free(&tree);
    }
    return status;
}

/* Applies the operation to a copy of the thread's document. errors: of the verb */
static apr_status_t apply(ac_cosmos_task_t *task, json_t *thread)
{
    ac_store_op_t *op = task->op;
    apr_status_t status;
    if (op->verb == AC_STORE_THREAD_DELETE) {
        return apply_hide(op, thread);
    }
    if (op->verb == AC_STORE_THREAD_RESTORE) {
        return apply_restore(op, thread);
    }
    status = ac_store_thread_check(op, thread, ac_cosmos_doc_version(thread));
    if (status == APR_SUCCESS) {
        apply_update(op, thread);
        status = apply_leaf(task, thread);
    }
    return status;
}

static void cosmos_threads_change_from(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    bool restores = op->verb == AC_STORE_THREAD_RESTORE;
    json_t *thread;
    apr_status_t status;
    if (!ac_cosmos_thread_doc_lives(&task->thread, restores)) {
        cosmos_threads_end_not_found(task);
        return;
    }
    if (restores && strcmp(ac_json_peek_string(task->thread.doc, "status", ""), "deleted") != 0) {
        end_with_thread(task);
        return;
    }
    thread = json_copy(task->thread.doc);
    status = apply(task, thread);
    json_decref(task->documents);
    task->documents = thread;
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_json_put(thread, "version", json_integer(ac_cosmos_doc_version(thread) + 1));
    task->update.status_changes =
        strcmp(ac_json_peek_string(thread, "status", ""), ac_json_peek_string(task->thread.doc, "status", "")) != 0;
    ac_cosmos_entry_mark(task, cosmos_threads_write_change);
}

/* ---- 3: replacing the document ---- */

static void cosmos_threads_write_change(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->thread.etag};
    put_change(task);
    ac_cosmos_call_write(task, &request, task->documents, cosmos_threads_on_changed);
}

static void cosmos_threads_on_changed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status != 200) { /* another writer was faster, or an earlier attempt of this task */
        ac_cosmos_thread_doc_retry(task, changed_before);
        return;
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->documents, reply->etag);
    json_decref(task->thread.doc);
    task->thread.doc = json_incref(task->documents);
    after_change(task);
}

static void changed_before(ac_cosmos_task_t *task)
{
    const char *nonce = ac_json_peek_string(task->documents, "nonce", "-");
    if (task->thread.doc && strcmp(ac_json_peek_string(task->thread.doc, "nonce", ""), nonce) == 0) {
        after_change(task);
    } else {
        cosmos_threads_begin_change(task);
    }
}

/* ---- 4: the copy in the entry ---- */

/* An entry whose status changed gets its copy at once, so that lists that do not show the thread need not read it.
 * Otherwise the next list repairs the entry. While a run is active the mark stays: the run's end changes the thread and
 * marks nothing. */
static void after_change(ac_cosmos_task_t *task)
{
    if (task->update.status_changes && !*ac_cosmos_thread_doc_run(&task->thread)) {
        settle_index(task);
    } else {
        cosmos_threads_end_changed(task);
    }
}

static void settle_index(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->op->id,
                                   .if_match = task->entry.etag};
    json_t *index = ac_cosmos_doc_make_entry(task->thread.doc);
    ac_cosmos_call_write(task, &request, index, on_index_settled);
    json_decref(index);
}

static void on_index_settled(void *baton, const ac_cosmos_reply_t *reply)
{
    /* 412: another task changes the thread right now. */
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 201, 404, 412))) {
        cosmos_threads_end_changed(baton);
    }
}

static void cosmos_threads_end_changed(ac_cosmos_task_t *task)
{
    if (task->op->verb == AC_STORE_THREAD_DELETE) {
        task->op->out = json_object();
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        end_with_thread(task);
    }
}
