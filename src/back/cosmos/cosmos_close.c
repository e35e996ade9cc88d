/* SPDX-License-Identifier: Apache-2.0 */
/* A turn's end in the Cosmos DB store: the parts of what is large, then head, message, run and steps in one transaction. */
#include "store_cosmos.h"

#include <string.h>

#include <apr_strings.h>

static void close_from(ac_cosmos_task_t *task);

static void end_closed(ac_cosmos_task_t *task, const json_t *message)
{
    task->op->out = json_pack("{s:o}", "message", message ? ac_cosmos_message_of(message) : json_null());
    ac_cosmos_run_drop(task->store, task->run_id);
    ac_cosmos_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

static void cosmos_close_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_turn_committed(task, reply);
        end_closed(task, task->whole);
    } else {
        ac_cosmos_head_again(task, close_from);
    }
}

static void cosmos_close_commit(ac_cosmos_task_t *task)
{
    json_t *active = json_object_get(task->head.doc, "active_run");
    bool ours = strcmp(ac_cosmos_head_run(&task->head), task->run_id) == 0;

    if (ac_cosmos_turn_advance(task, ours || !active ? json_null() : json_incref(active)) != APR_SUCCESS) {
        ac_cosmos_end(task, ac_kind_row(task->op->err.kind)->status);
        return;
    }
    if (task->whole) {
        ac_json_put(task->whole, "seq",
                    json_incref(json_object_get(json_object_get(task->documents, "message"), "seq")));
    }
    ac_cosmos_turn_commit(task, false, cosmos_close_on_committed);
}

static void cosmos_close_write_parts(ac_cosmos_task_t *task)
{
    if (task->parts) {
        ac_cosmos_parts_write(task, cosmos_close_commit);
    } else {
        cosmos_close_commit(task);
    }
}

static void cosmos_close_end_lost(ac_cosmos_task_t *task)
{
    ac_cosmos_run_drop(task->store, task->run_id);
    ac_cosmos_end(task,
                  ac_err_set(&task->op->err, AC_INTERRUPTED,
                             "another server took this one for dead, and has closed the run"));
}

/* Whether what the caller brings may still be written. stored: the run as it is now, closed by somebody else. */
static bool may_follow(const ac_cosmos_task_t *task, const json_t *stored)
{
    const json_t *run = json_object_get(task->documents, "run");

    if (strcmp(ac_json_peek_string(stored, "status", ""), "interrupted") != 0 ||
        !json_is_true(json_object_get(task->op->in, "late"))) {
        return false;
    }
    /* What had been said is said; but nobody is answered who has asked again. */
    return strcmp(ac_json_peek_string(run, "status", ""), "interrupted") == 0 ||
        strcmp(ac_json_peek_string(task->head.doc, "last_run", task->run_id), task->run_id) == 0;
}

static void cosmos_close_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *run = json_object_get(task->documents, "run");

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || ac_record_is_active(reply->body) || may_follow(task, reply->body)) {
        ac_cosmos_thread_mark(task, cosmos_close_write_parts); /* the mark of its beginning may be gone */
    } else if (json_equal(json_object_get(run, "completed_at"), json_object_get(reply->body, "completed_at"))) {
        end_closed(task, NULL); /* by an earlier try of the caller's; it had no message */
    } else {
        cosmos_close_end_lost(task);
    }
}

/* The run is not the thread's active one: it was closed before, or somebody took its process for dead. */
static void found_closed(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};

    if (task->found) {
        end_closed(task, task->found);
    } else {
        ac_cosmos_call(task, &request, cosmos_close_on_run, task);
    }
}

static void close_from(ac_cosmos_task_t *task)
{
    bool lives = ac_cosmos_head_lives(&task->head, true);
    bool ours = lives && strcmp(ac_cosmos_head_run(&task->head), task->run_id) == 0;

    if (task->head.remembered && !ours) {
        ac_cosmos_head_read(task, false, close_from);
    } else if (!lives) {
        end_closed(task, NULL); /* the thread was deleted meanwhile */
    } else if (ours) {
        cosmos_close_write_parts(task);
    } else {
        ac_cosmos_message_find(task, found_closed);
    }
}

void ac_cosmos_turn_close(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *message = NULL, *run = NULL, *steps = NULL, *in = json_object_get(op->in, "message");
    apr_status_t status = ac_cosmos_run_make(&run, json_object_get(op->in, "run"), op, &op->err);

    task->parts = json_array();
    if (status == APR_SUCCESS && json_is_object(in)) {
        status = ac_cosmos_message_make(&message, in, op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_steps_make(&steps, json_object_get(op->in, "steps"), ac_json_peek_string(run, "id", ""),
                                      op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        task->whole = message ? json_copy(message) : NULL;
        status = ac_cosmos_split(&message, task->parts, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_split(&steps, task->parts, &op->err);
    }
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    task->documents = json_pack("{s:o?, s:o?, s:o?}", "message", message, "run", run, "steps", steps);
    if (status != APR_SUCCESS || !task->documents) {
        ac_cosmos_end(task, status != APR_SUCCESS ? status : ac_err_set(&op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    ac_cosmos_head_read(task, true, close_from);
}
