/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that opening and closing a turn share in the Cosmos DB store. task->documents: {head, message, run,
 * steps, earlier: [message]}, null where there is none; head is the thread's document as it will be. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

/* ---- parts ---- */

static void write_next_part(ac_cosmos_task_t *task);

static void turns_on_part_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        task->row++;
        write_next_part(task);
    }
}

static void write_next_part(ac_cosmos_task_t *task)
{
    const json_t *part = json_array_get(task->parts, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = ac_json_peek_string(part, "thread_id", "")};
    if (part) {
        ac_cosmos_call_write(task, &request, part, turns_on_part_written);
        return;
    }
    json_decref(task->parts); /* once is enough, however often the batch is retried */
    task->parts = NULL;
    ac_cosmos_task_return(task);
}

void ac_cosmos_turn_write_parts(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    if (!task->parts) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    task->row = 0;
    write_next_part(task);
}

/* ---- a message that may be stored ---- */

static void set_found(ac_cosmos_task_t *task)
{
    task->found = json_incref(json_array_get(task->rows, 0));
    ac_cosmos_task_return(task);
}

static void turns_on_message(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->rows);
    task->rows = json_array();
    if (reply->status == 200) {
        json_array_append(task->rows, reply->body);
    }
    ac_cosmos_query_join(task, set_found);
}

void ac_cosmos_turn_find_message(ac_cosmos_task_t *task, const char *id, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = id};
    json_decref(task->found);
    task->found = NULL;
    if (*id && ac_cosmos_name_valid(id)) {
        ac_cosmos_task_then(task, fn);
        ac_cosmos_call_start(task, &request, turns_on_message, task);
    } else {
        fn(task);
    }
}

/* ---- the batch ---- */

/* What a turn changes in the thread's document. */
static bool put_turn(ac_cosmos_task_t *task, json_t *thread, json_t *updated_at)
{
    const json_t *title = json_object_get(thread, "title"), *first = json_object_get(task->op->in, "title");
    bool fine = true;
    if (!json_is_string(title) && json_is_string(first)) {
        fine = ac_json_put(thread, "title", json_incref((json_t *)first));
    }
    if (task->op->verb == AC_STORE_TURN_CLOSE && json_is_string(json_object_get(task->op->in, "agent_id"))) {
        fine = ac_json_put(thread, "agent_id", json_incref(json_object_get(task->op->in, "agent_id"))) && fine;
    }
    if (*task->run_id) {
        fine = ac_json_put(thread, "last_run", json_string(task->run_id)) && fine;
    }
    fine = ac_json_put(thread, "updated_at", json_incref(updated_at)) && fine;
    return ac_json_put(thread, "version", json_integer(ac_cosmos_doc_version(thread) + 1)) && fine;
}

apr_status_t ac_cosmos_turn_advance(ac_cosmos_task_t *task, json_t *run)
{
    json_t *thread = json_copy(task->thread.doc), *message = json_object_get(task->documents, "message");
    apr_status_t status = APR_SUCCESS;
    bool fine = ac_json_put(thread, "active_run", run);
    if (task->op->verb == AC_STORE_TURN_OPEN && ac_cosmos_queue_has(thread, task->run_id)) {
        fine = ac_json_put(thread, "queue", ac_cosmos_queue_without(thread, task->run_id)) && fine;
    }
    if (*task->entry.change) {
        fine = ac_json_put(thread, "change", json_string(task->entry.change)) && fine;
    }
    if (json_is_object(message)) {
        status = ac_cosmos_tree_add(task, thread, message);
        fine = put_turn(task, thread, json_object_get(message, "timestamp")) && fine;
    } else if (task->op->verb == AC_STORE_TURN_OPEN) {
        status = ac_cosmos_tree_check(task);
        fine = put_turn(task, thread, json_object_get(json_object_get(task->documents, "run"), "created_at")) && fine;
    }
    fine = ac_json_put(task->documents, "head", thread) && fine;
    return fine || status != APR_SUCCESS ? status : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
}

static void add_to_batch(ac_cosmos_batch_t *batch, ac_cosmos_task_t *task, const char *name, ac_cosmos_verb_e verb)
{
    const json_t *document = json_object_get(task->documents, name);
    if (json_is_object(document)) {
        ac_cosmos_request_batch_add(batch, verb, task->op->id, ac_json_peek_string(document, "id", ""), document,
                                    verb == AC_COSMOS_REPLACE ? task->thread.etag : NULL);
    }
}

void ac_cosmos_turn_commit(ac_cosmos_task_t *task, bool fresh, ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    bool opens = task->op->verb == AC_STORE_TURN_OPEN;
    ac_cosmos_batch_t batch;
    const json_t *earlier;
    size_t i;
    ac_cosmos_request_batch_init(&batch);
    add_to_batch(&batch, task, "head", fresh ? AC_COSMOS_CREATE : AC_COSMOS_REPLACE);
    json_array_foreach(json_object_get(task->documents, "earlier"), i, earlier)
    {
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_CREATE, task->op->id, ac_json_peek_string(earlier, "id", ""),
                                    earlier, NULL);
    }
    add_to_batch(&batch, task, "message", AC_COSMOS_CREATE);
    opens = opens && !ac_cosmos_queue_has(task->thread.doc, task->run_id);
    add_to_batch(&batch, task, "run", opens ? AC_COSMOS_CREATE : AC_COSMOS_UPSERT);
    add_to_batch(&batch, task, "steps", AC_COSMOS_UPSERT);
    ac_cosmos_webhook_batch(&batch, task, task->documents);
    if (ac_cosmos_request_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_request_batch_free(&batch);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "a turn is too large to be written"));
        return;
    }
    ac_cosmos_call_write_batch(task, &request, &batch, fn);
}

void ac_cosmos_turn_committed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_thread_doc_clear(&task->thread);
    task->thread.doc = json_incref(json_object_get(task->documents, "head"));
    apr_cpystrn(task->thread.etag, ac_cosmos_answer_batch_etag(reply->body, 0), sizeof(task->thread.etag));
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc, task->thread.etag);
}
