/* SPDX-License-Identifier: Apache-2.0 */
/* Queued turns in the Cosmos DB store. The thread's document has the ids of their runs, in order, as `queue`, so that
 * one conditional write decides which turn comes in and which begins (cosmos_open.c). An entry in the partition of
 * suspended runs leads to a turn whose process is gone. The turn's end leaves it there; a process that lists it removes
 * it (6).
 *
 * TURN_QUEUE:    1 build the documents, check the Idempotency-Key   2 read the thread's document, check its queue
 *                3 write the entry in the partition of suspended runs, then the run's entry in the owner's partition
 *                4 claim the key   5 commit thread and run in one batch   - on conflict: 2
 * TURN_UNQUEUE:  1 read the run's entry: it names the thread   2 read the thread's document, check its queue
 *                5 commit thread and run   - on conflict: 2   6 delete the entry in the partition of suspended runs */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static const char sql_late[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'queue' AND c.due_at < @before";

static void queue_read_thread(ac_cosmos_task_t *task);
static void queue_check_thread(ac_cosmos_task_t *task);
static void queue_on_due_entry(void *baton, const ac_cosmos_reply_t *reply);
static void queue_on_run_entry(void *baton, const ac_cosmos_reply_t *reply);
static void queue_claimed(ac_cosmos_task_t *task);
static void queue_commit(ac_cosmos_task_t *task);
static void queue_on_committed(void *baton, const ac_cosmos_reply_t *reply);
static void queue_delete_entry(ac_cosmos_task_t *task);

/* ---- the queue in the thread's document ---- */

json_t *ac_cosmos_queue_without(const json_t *head, const char *run_id)
{
    json_t *queue = json_array();
    const json_t *id;
    size_t i;
    json_array_foreach(json_object_get(head, "queue"), i, id)
    {
        if (json_is_string(id) && strcmp(json_string_value(id), run_id) != 0) {
            json_array_append(queue, (json_t *)id);
        }
    }
    return queue;
}

bool ac_cosmos_queue_has(const json_t *head, const char *run_id)
{
    json_t *others = ac_cosmos_queue_without(head, run_id);
    bool has = json_array_size(others) < json_array_size(json_object_get(head, "queue"));
    json_decref(others);
    return has;
}

/* ---- 1 ---- */

static void queue_failed(ac_cosmos_task_t *task)
{
    ac_cosmos_key_release(task);
}

static bool queue_adds(const ac_cosmos_task_t *task)
{
    return task->op->verb == AC_STORE_TURN_QUEUE;
}

static apr_status_t queue_make_run(ac_cosmos_task_t *task)
{
    json_t *run = NULL;
    apr_status_t status = ac_cosmos_doc_make_run(&run, json_object_get(task->op->in, "run"), task->op, &task->op->err);
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    json_decref(task->documents);
    task->documents = json_pack("{s:o?}", "run", run);
    if (status == APR_SUCCESS && !queue_adds(task)) {
        const ac_webhook_cause_t cause = {
            run, NULL, NULL, &task->op->trace, task->op->owner, ac_cosmos_now(task->store)};
        ac_cosmos_webhook_add(task, task->documents, &cause);
    }
    return status;
}

void ac_cosmos_queue_add(ac_cosmos_task_t *task)
{
    apr_status_t status = queue_make_run(task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    task->on_failure = queue_failed;
    ac_cosmos_key_check(task, queue_read_thread);
}

static void end_unqueued(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_ENDED, "the turn is not in the queue any more"));
}

static void queue_on_named(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || strcmp(ac_json_peek_string(reply->body, "type", ""), "run") != 0) {
        queue_delete_entry(task);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(reply->body, "thread_id", ""), sizeof(task->op->id));
    if (queue_make_run(task) == APR_SUCCESS) {
        queue_read_thread(task);
    } else {
        ac_cosmos_task_end_with(task, &task->op->err);
    }
}

void ac_cosmos_queue_remove(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};
    apr_cpystrn(task->run_id, task->op->id, sizeof(task->run_id));
    if (*task->run_id && ac_cosmos_name_valid(task->run_id)) {
        ac_cosmos_call_start(task, &request, queue_on_named, task);
    } else {
        end_unqueued(task);
    }
}

/* ---- 2: the thread's document ---- */

static void queue_read_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, queue_check_thread);
}

static void queue_check_new(ac_cosmos_task_t *task)
{
    const json_t *queue = json_object_get(task->thread.doc, "queue");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_SUSPENDED_KEY};
    int place;
    json_t *entry;
    if (ac_store_queue_check(&place, queue, task->op) != APR_SUCCESS) {
        ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
    } else if (place < (int)json_array_size(queue)) { /* an attempt whose answer was lost */
        ac_cosmos_task_end_out(task, json_pack("{s:i}", "place", place));
    } else if (task->turn.claimed) {
        queue_commit(task);
    } else {
        entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O}", "id", task->run_id, "owner", AC_COSMOS_SUSPENDED_KEY,
                          "type", "queue", "key", task->run_id, "run_owner", task->op->owner, "due_at",
                          json_object_get(json_object_get(task->documents, "run"), "created_at"));
        ac_cosmos_call_write(task, &request, entry, queue_on_due_entry);
        json_decref(entry);
    }
}

static void queue_check_thread(ac_cosmos_task_t *task)
{
    if (!ac_cosmos_thread_doc_lives(&task->thread, !queue_adds(task))) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
    } else if (queue_adds(task)) {
        queue_check_new(task);
    } else if (ac_cosmos_queue_has(task->thread.doc, task->run_id)) {
        queue_commit(task);
    } else {
        queue_delete_entry(task);
    }
}

/* ---- 3, 4: entries and key ---- */

static void queue_on_due_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_THREADS, .key = task->op->owner};
    const char *key = ac_json_peek_string(json_object_get(task->documents, "run"), "parent_id", "");
    json_t *entry;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        return;
    }
    entry = ac_cosmos_doc_make_run_entry(task->op->owner, task->run_id, task->op->id, *key ? key : task->run_id);
    ac_json_put(entry, "changing", json_true()); /* until it is counted */
    ac_cosmos_call_write(task, &request, entry, queue_on_run_entry);
    json_decref(entry);
}

static void queue_on_run_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) { /* 409: of an earlier attempt */
        ac_cosmos_key_claim(task, queue_claimed);
    }
}

static void queue_claimed(ac_cosmos_task_t *task)
{
    task->turn.claimed = true;
    queue_commit(task);
}

/* ---- 5: the batch ---- */

static void queue_commit(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    json_t *head = json_copy(task->thread.doc), *queue = ac_cosmos_queue_without(head, task->run_id);
    ac_cosmos_batch_t batch;
    if (queue_adds(task)) {
        bool first = json_is_true(json_object_get(task->op->in, "first"));
        json_array_insert_new(queue, first ? 0 : json_array_size(queue), json_string(task->run_id));
    }
    ac_json_put(head, "queue", queue);
    ac_json_put(task->documents, "head", head);
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, head, task->thread.etag);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_UPSERT, task->op->id, task->run_id,
                                json_object_get(task->documents, "run"), NULL);
    ac_cosmos_webhook_batch(&batch, task, task->documents);
    if (ac_cosmos_request_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_request_batch_free(&batch);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "a turn is too large to be queued"));
        return;
    }
    ac_cosmos_call_write_batch(task, &request, &batch, queue_on_committed);
}

static void queue_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *head = json_object_get(task->documents, "head");
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_thread_doc_retry(task, queue_check_thread);
        return;
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, head, ac_cosmos_answer_batch_etag(reply->body, 0));
    if (queue_adds(task)) {
        int place;
        ac_store_queue_check(&place, json_object_get(head, "queue"), task->op);
        ac_cosmos_task_end_out(task, json_pack("{s:i}", "place", place));
    } else {
        ac_cosmos_usage_count(task->store, task->op->owner, json_object_get(task->documents, "run"));
        task->op->out = json_object();
        queue_delete_entry(task);
    }
}

/* ---- 6: the entry in the partition of suspended runs ---- */

static void queue_on_entry_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    (void)reply; /* a process that meets the entry again deletes it */
    if (task->op->out) {
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        end_unqueued(task);
    }
}

static void queue_delete_entry(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_SUSPENDED_KEY,
                                   .id = task->run_id};
    ac_cosmos_call_start(task, &request, queue_on_entry_deleted, task);
}

/* ---- QUEUED_LIST ---- */

void ac_cosmos_queue_list(ac_cosmos_task_t *task)
{
    ac_cosmos_suspend_query(task, sql_late);
}
