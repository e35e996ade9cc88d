/* SPDX-License-Identifier: Apache-2.0 */
/* What opening and closing a turn share in the Cosmos DB store: parts first, then one transactional batch over the thread's
 * partition, which begins with its head under the head's ETag. */
#include "store_cosmos.h"

#include <string.h>

#include <apr_strings.h>

/* ---- parts ---- */

static void part_next(ac_cosmos_task_t *task);

static void on_part_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (!ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        task->row++;
        part_next(task);
    }
}

static void part_next(ac_cosmos_task_t *task)
{
    const json_t *part = json_array_get(task->parts, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = ac_json_peek_string(part, "thread_id", "")};
    ac_cosmos_step_fn *fn = task->then;

    if (!part) {
        json_decref(task->parts); /* once is enough, however often the batch is tried */
        task->parts = NULL;
        fn(task);
        return;
    }
    ac_cosmos_write(task, &request, part, on_part_written);
}

void ac_cosmos_parts_write(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    task->then = fn;
    task->row = 0;
    part_next(task);
}

/* ---- a message that may be there ---- */

static void found(ac_cosmos_task_t *task)
{
    ac_cosmos_step_fn *fn = task->after_find;

    task->found = json_incref(json_array_get(task->rows, 0));
    fn(task);
}

static void on_message(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->rows);
    task->rows = json_array();
    if (reply->status == 200) {
        json_array_append(task->rows, reply->body);
    }
    ac_cosmos_join(task, found);
}

void ac_cosmos_message_find(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    const char *id = ac_json_peek_string(json_object_get(task->documents, "message"), "id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .key = task->op->id, .id = id};

    json_decref(task->found);
    task->found = NULL;
    task->after_find = fn;
    if (*id && ac_cosmos_name_valid(id)) {
        ac_cosmos_call(task, &request, on_message, task);
    } else {
        fn(task);
    }
}

/* ---- the batch ---- */

apr_status_t ac_cosmos_turn_advance(ac_cosmos_task_t *task, json_t *run)
{
    json_t *head = json_copy(task->head.doc), *message = json_object_get(task->documents, "message");
    const json_t *title = json_object_get(head, "title"), *first = json_object_get(task->op->in, "title");
    bool fine = ac_json_put(head, "active_run", run);

    if (*task->change) {
        fine = ac_json_put(head, "change", json_string(task->change)) && fine;
    }
    if (json_is_object(message)) {
        int64_t seq = ac_json_peek_int(head, "message_count", 0) + 1;
        if (!json_is_string(title) && json_is_string(first)) {
            fine = ac_json_put(head, "title", json_incref((json_t *)first)) && fine;
        }
        fine = ac_json_put(head, "message_count", json_integer(seq)) && fine;
        fine = ac_json_put(head, "last_run", json_string(task->run_id)) && fine;
        fine = ac_json_put(head, "updated_at", json_incref(json_object_get(message, "timestamp"))) && fine;
        fine = ac_json_put(head, "version", json_integer(ac_cosmos_version(head) + 1)) && fine;
        fine = ac_json_put(message, "seq", json_integer(seq)) && fine;
    }
    fine = ac_json_put(task->documents, "head", head) && fine;
    return fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
}

static void add_to_batch(ac_cosmos_batch_t *batch, ac_cosmos_task_t *task, const char *name, ac_cosmos_verb_e verb)
{
    const json_t *document = json_object_get(task->documents, name);

    if (json_is_object(document)) {
        ac_cosmos_batch_add(batch, verb, task->op->id, ac_json_peek_string(document, "id", ""), document,
                            verb == AC_COSMOS_REPLACE ? task->head.etag : NULL);
    }
}

void ac_cosmos_turn_commit(ac_cosmos_task_t *task, bool fresh, ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .place = AC_COSMOS_MESSAGES, .key = task->op->id};
    bool opens = task->op->verb == AC_STORE_TURN_OPEN;
    ac_cosmos_batch_t batch;

    ac_cosmos_batch_init(&batch);
    add_to_batch(&batch, task, "head", fresh ? AC_COSMOS_CREATE : AC_COSMOS_REPLACE);
    add_to_batch(&batch, task, "message", AC_COSMOS_CREATE);
    add_to_batch(&batch, task, "run", opens ? AC_COSMOS_CREATE : AC_COSMOS_UPSERT);
    add_to_batch(&batch, task, "steps", AC_COSMOS_UPSERT);
    if (ac_cosmos_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_batch_free(&batch);
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "a turn is too large to be written"));
        return;
    }
    ac_cosmos_write_batch(task, &request, &batch, fn);
}

void ac_cosmos_turn_committed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_head_clear(&task->head);
    task->head.doc = json_incref(json_object_get(task->documents, "head"));
    apr_cpystrn(task->head.etag, ac_cosmos_batch_etag(reply->body, 0), sizeof(task->head.etag));
    ac_cosmos_head_keep(task->store, task->op->id, task->head.doc, task->head.etag);
}
