/* SPDX-License-Identifier: Apache-2.0 */
/* MESSAGE_MARK in the Cosmos DB store: members that messages get after they were stored.
 *
 *  1  read the thread's document, which has the owner
 *  2  read the messages, by a query of their partition
 *  3  replace them in one batch with the thread's document, unchanged, each under its ETag, so that none is deleted
 *     meanwhile - on conflict: back to 1 */
#include "cosmos_internal.h"

#include <string.h>

static const char sql_messages[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND ARRAY_CONTAINS(@ids, c.id)";

static void marks_read(ac_cosmos_task_t *task);
static void marks_write(ac_cosmos_task_t *task);
static void marks_on_written(void *baton, const ac_cosmos_reply_t *reply);

json_t *ac_cosmos_marks_again(const ac_cosmos_t *store, const json_t *stored)
{
    static const char *const service[] = {"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn", NULL};
    int64_t life = ac_json_peek_int(stored, "ttl", apr_time_sec(store->containers.expires));
    int64_t left = ac_json_peek_int(stored, "_ts", 0) + life - apr_time_sec(ac_cosmos_now(store));
    json_t *doc = json_copy((json_t *)stored);
    for (int i = 0; service[i]; i++) {
        json_object_del(doc, service[i]);
    }
    if (store->containers.expires) {
        ac_json_put(doc, "ttl", json_integer(left > 1 ? left : 1));
    }
    return doc;
}

/* ---- 1: the thread's document ---- */

void ac_cosmos_marks_put(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, marks_read);
}

/* ---- 2: the messages ---- */

static void marks_end_none(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no message with this id"));
}

static void marks_read(ac_cosmos_task_t *task)
{
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        marks_end_none(task);
        return;
    }
    if (ac_store_deleted_check(task->op, task->thread.doc) != APR_SUCCESS) {
        ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
        return;
    }
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id, .sql = sql_messages};
    query.parameters =
        json_pack("{s:s, s:O}", "@thread", task->op->id, "@ids", json_object_get(task->op->in, "message_ids"));
    ac_cosmos_query_run(task, &query, marks_write);
}

/* ---- 3: the batch ---- */

static void marks_write(ac_cosmos_task_t *task)
{
    const json_t *marks = json_object_get(task->op->in, "marks"), *stored;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    ac_cosmos_batch_t batch;
    size_t i;
    if (json_array_size(task->rows) != json_array_size(json_object_get(task->op->in, "message_ids"))) {
        marks_end_none(task);
        return;
    }
    ac_cosmos_request_batch_init(&batch);
    json_array_foreach(task->rows, i, stored)
    {
        json_t *doc = ac_cosmos_marks_again(task->store, stored);
        json_object_update(doc, (json_t *)marks);
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, ac_json_peek_string(stored, "id", ""), doc,
                                    ac_json_peek_string(stored, "_etag", ""));
        json_decref(doc);
    }
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->thread.doc,
                                task->thread.etag);
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, marks_on_written);
}

static void marks_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc,
                                      ac_cosmos_answer_batch_etag(reply->body, (int)json_array_size(task->rows)));
        ac_cosmos_task_end_out(task, json_object());
    } else {
        ac_cosmos_thread_doc_retry(task, marks_read);
    }
}
