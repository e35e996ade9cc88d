/* SPDX-License-Identifier: Apache-2.0 */
/* TURN_CLOSE in the Cosmos DB store: stores the answer and ends the run. Its steps, in the order of this file:
 *
 *  1  build the documents
 *  2  read the thread's document; from memory if it is there
 *  3  check it: this run is active: 5; the thread is gone: nothing to store; else 4
 *  4  the run is not the active one: read its message, then the run. An earlier attempt may have closed it, or
 *     another process took this one for dead and closed it; a late answer may still follow, with the entries of run
 *     and thread marked first
 *  5  write the parts of large documents
 *  6  commit thread, message, run and steps in one batch, under the thread's ETag
 *     - on conflict: back to 3, with a read
 *  7  count the run's usage, after the answer */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static void close_check_thread(ac_cosmos_task_t *task);
static void close_read_run(ac_cosmos_task_t *task);
static void close_on_run(void *baton, const ac_cosmos_reply_t *reply);
static void close_mark_thread(ac_cosmos_task_t *task);
static void close_write_parts(ac_cosmos_task_t *task);
static void close_commit(ac_cosmos_task_t *task);
static void close_on_committed(void *baton, const ac_cosmos_reply_t *reply);

static void end_closed(ac_cosmos_task_t *task, const json_t *message)
{
    ac_cosmos_lease_release(task->store, task->run_id);
    if (ac_cosmos_thread_doc_lives(&task->thread, true)) {
        ac_cosmos_usage_count(task->store, task->op->owner, json_object_get(task->documents, "run"));
    }
    ac_cosmos_task_end_out(task, json_pack("{s:o}", "message", message ? ac_cosmos_doc_message(message) : json_null()));
}

static void end_interrupted(ac_cosmos_task_t *task)
{
    ac_cosmos_lease_release(task->store, task->run_id);
    ac_cosmos_task_end(task,
                       ac_err_set(&task->op->err, AC_INTERRUPTED,
                                  "another server took this one for dead, and has closed the run"));
}

static void close_failed(ac_cosmos_task_t *task)
{
    ac_cosmos_lease_failed(task->store, task->run_id);
}

/* ---- 1: documents ---- */

static apr_status_t close_make_documents(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *message = NULL, *run = NULL, *steps = NULL, *in = json_object_get(op->in, "message");
    apr_status_t status = ac_cosmos_doc_make_run(&run, json_object_get(op->in, "run"), op, &op->err);
    task->parts = json_array();
    if (status == APR_SUCCESS && json_is_object(in)) {
        status = ac_cosmos_doc_make_message(&message, in, op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        const char *run_id = ac_json_peek_string(run, "id", "");
        status = ac_cosmos_doc_make_steps(&steps, json_object_get(op->in, "steps"), run_id, op->id, &op->err);
    }
    if (status == APR_SUCCESS) {
        task->whole = message ? json_copy(message) : NULL;
        status = ac_cosmos_doc_split(&message, task->parts, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_doc_split(&steps, task->parts, &op->err);
    }
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    task->documents = json_pack("{s:o?, s:o?, s:o?}", "message", message, "run", run, "steps", steps);
    if (status == APR_SUCCESS) {
        const ac_webhook_cause_t cause = {run, NULL, task->whole, &op->trace, op->owner, ac_cosmos_now(task->store)};
        ac_cosmos_webhook_add(task, task->documents, &cause);
    }
    return status != APR_SUCCESS || task->documents ? status : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

void ac_cosmos_close_turn(ac_cosmos_task_t *task)
{
    apr_status_t status = close_make_documents(task);
    task->on_failure = close_failed;
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_cosmos_thread_doc_read(task, true, close_check_thread);
}

/* ---- 2, 3: the thread's document ---- */

static void close_check_thread(ac_cosmos_task_t *task)
{
    bool lives = ac_cosmos_thread_doc_lives(&task->thread, true);
    bool ours = lives && strcmp(ac_cosmos_thread_doc_run(&task->thread), task->run_id) == 0;
    if (task->thread.remembered && !ours) {
        ac_cosmos_thread_doc_read(task, false, close_check_thread);
    } else if (!lives) {
        end_closed(task, NULL); /* the thread was deleted meanwhile */
    } else if (ours) {
        close_write_parts(task);
    } else {
        ac_cosmos_turn_find_message(task, ac_json_peek_string(json_object_get(task->documents, "message"), "id", ""),
                                    close_read_run);
    }
}

/* ---- 4: a run that is not the active one ---- */

static void close_read_run(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};
    if (task->found) {
        end_closed(task, task->found);
    } else {
        ac_cosmos_call_start(task, &request, close_on_run, task);
    }
}

/* Whether the caller's answer may still be written. stored: the run as it is now, closed by another process. */
static bool may_follow(const ac_cosmos_task_t *task, const json_t *stored)
{
    const json_t *run = json_object_get(task->documents, "run");
    if (strcmp(ac_json_peek_string(stored, "status", ""), "interrupted") != 0 ||
        !json_is_true(json_object_get(task->op->in, "late"))) {
        return false;
    }
    /* Text that an interrupted run produced is kept; an answer is not written once the user has sent another
     * message. */
    return strcmp(ac_json_peek_string(run, "status", ""), "interrupted") == 0 ||
        strcmp(ac_json_peek_string(task->thread.doc, "last_run", task->run_id), task->run_id) == 0;
}

static void close_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *run = json_object_get(task->documents, "run");
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || ac_record_is_active(reply->body) || may_follow(task, reply->body)) {
        if (ac_webhook_delivery_same(run, reply->body)) {
            json_object_del(task->documents, "webhook");
        }
        ac_cosmos_usage_mark(task, close_mark_thread);
    } else if (json_equal(json_object_get(run, "completed_at"), json_object_get(reply->body, "completed_at"))) {
        end_closed(task, NULL); /* by an earlier attempt of the caller; it had no message */
    } else {
        end_interrupted(task);
    }
}

/* The mark of the opening may be removed already. */
static void close_mark_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_entry_mark(task, close_write_parts);
}

/* ---- 5, 6: parts and batch ---- */

static void close_write_parts(ac_cosmos_task_t *task)
{
    ac_cosmos_turn_write_parts(task, close_commit);
}

static void close_commit(ac_cosmos_task_t *task)
{
    json_t *active = json_object_get(task->thread.doc, "active_run");
    bool ours = strcmp(ac_cosmos_thread_doc_run(&task->thread), task->run_id) == 0;
    if (ac_cosmos_turn_advance(task, ours || !active ? json_null() : json_incref(active)) != APR_SUCCESS) {
        ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
        return;
    }
    ac_cosmos_turn_commit(task, false, close_on_committed);
}

static void close_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_turn_committed(task, reply);
        end_closed(task, task->whole);
    } else {
        ac_cosmos_thread_doc_retry(task, close_check_thread);
    }
}
