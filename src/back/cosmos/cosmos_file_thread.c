/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of files that TURN_OPEN attaches, in the Cosmos DB store. A turn attaches its files before it stores its
 * message, and may end in between. So a file of another thread belongs to no thread
 *  - if that thread does not exist, after a tombstone was created in its place
 *  - if no message of that thread has the file, after the thread's document was written once more, unchanged
 * so that a turn that is still under way there conflicts, and does not store its message with the file. */
#include "cosmos_internal.h"

#include <string.h>

static const char sql_message[] = "SELECT c.id FROM c WHERE c.thread_id = @thread AND c.type = 'message'"
                                  " AND ARRAY_CONTAINS(c.attachments, @file, true)";

static void attach_check(ac_cosmos_task_t *task);
static void attach_on_thread(void *baton, const ac_cosmos_reply_t *reply);
static void attach_on_tombstone(void *baton, const ac_cosmos_reply_t *reply);
static void attach_on_barrier(void *baton, const ac_cosmos_reply_t *reply);
static void attach_on_message(ac_cosmos_task_t *task);

void ac_cosmos_file_thread_find_message(ac_cosmos_task_t *task, const json_t *file, ac_cosmos_step_fn *fn)
{
    const char *thread_id = ac_json_peek_string(file, "thread_id", "");
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = thread_id, .sql = sql_message, .want = 1};
    query.parameters =
        json_pack("{s:s, s:{s:O}}", "@thread", thread_id, "@file", "file_id", json_object_get(file, "id"));
    ac_cosmos_query_run(task, &query, fn);
}

const json_t *ac_cosmos_file_thread_ids(const ac_cosmos_task_t *task)
{
    return json_object_get(json_object_get(task->op->in, "files"), "ids");
}

json_t *ac_cosmos_file_thread_doc(const ac_cosmos_task_t *task, size_t index)
{
    const char *id = json_string_value(json_array_get(ac_cosmos_file_thread_ids(task), index));
    return (json_t *)ac_cosmos_doc_find(task->rows, id ? id : "");
}

void ac_cosmos_file_thread_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    attach_check(task);
}

/* Comes back for each file of another thread, which task->row is the index of. Returns with a file that still belongs
 * to another thread: the batch refuses it. */
static void attach_check(ac_cosmos_task_t *task)
{
    const char *other = "";
    for (task->row = 0; task->row < json_array_size(ac_cosmos_file_thread_ids(task)); task->row++) {
        other = ac_json_peek_string(ac_cosmos_file_thread_doc(task, task->row), "thread_id", "");
        if (*other && strcmp(other, task->op->id) != 0) {
            break;
        }
        other = "";
    }
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_MESSAGES, .key = other, .id = other};
    if (*other && ac_cosmos_name_valid(other)) {
        ac_cosmos_call_start(task, &request, attach_on_thread, task);
    } else {
        ac_cosmos_task_return(task);
    }
}

static void attach_release(ac_cosmos_task_t *task)
{
    ac_json_put(ac_cosmos_file_thread_doc(task, task->row), "thread_id", json_null());
    attach_check(task);
}

/* It looks like a thread whose removal has begun; the next purge removes it. */
static json_t *make_tombstone(const ac_cosmos_task_t *task, const char *thread_id)
{
    const char *at = ac_json_peek_string(json_object_get(task->op->in, "run"), "created_at", "");
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:n, s:n, s:n, s:{}, s:s, s:s, s:s, s:s}", "id", thread_id,
                     "thread_id", thread_id, "type", "thread", "owner", task->op->owner, "message_count", 0, "version",
                     1, "active_run", "title", "agent_id", "metadata", "status", "purging", "created_at", at,
                     "updated_at", at, "deleted_at", AC_COSMOS_LONG_AGO);
}

/* Whether the turn that attached the file may have ended before it stored its message. */
static bool attached_without_proof(const json_t *doc)
{
    return json_object_get(doc, "loose") && strcmp(ac_json_peek_string(doc, "status", ""), "attached") == 0;
}

static void attach_on_thread(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    const char *other = ac_json_peek_string(ac_cosmos_file_thread_doc(task, task->row), "thread_id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_MESSAGES, .key = other};
    if (reply->status == 404) {
        json_t *tombstone = make_tombstone(task, other);
        ac_cosmos_call_write(task, &request, tombstone, attach_on_tombstone);
        json_decref(tombstone);
    } else if (strcmp(ac_json_peek_string(reply->body, "status", ""), "purging") == 0) {
        attach_release(task);
    } else if (attached_without_proof(ac_cosmos_file_thread_doc(task, task->row))) {
        request.verb = AC_COSMOS_REPLACE;
        request.id = other;
        request.if_match = ac_cosmos_call_etag(reply);
        ac_cosmos_call_write(task, &request, reply->body, attach_on_barrier);
    } else {
        ac_cosmos_task_return(task);
    }
}

/* 409: the thread was created meanwhile, or this is the answer to a repeated request. */
static void attach_on_tombstone(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) {
        return;
    }
    if (reply->status == 201) {
        attach_release(task);
    } else {
        ac_cosmos_task_retry(task, attach_check);
    }
}

/* The thread has another ETag now: a turn under way there has to read it again, and then its files too. */
static void attach_on_barrier(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *doc = ac_cosmos_file_thread_doc(task, task->row);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_task_retry(task, attach_check);
        return;
    }
    json_decref(task->found);
    task->found = json_incref(task->rows);
    ac_cosmos_file_thread_find_message(task, doc, attach_on_message);
}

static void attach_on_message(ac_cosmos_task_t *task)
{
    bool has = json_array_size(task->rows) > 0;
    json_decref(task->rows);
    task->rows = task->found;
    task->found = NULL;
    (has ? ac_cosmos_task_return : attach_release)(task);
}
