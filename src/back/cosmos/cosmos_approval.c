/* SPDX-License-Identifier: Apache-2.0 */
/* APPROVAL_DECIDE in the Cosmos DB store: notes a decision on a call of a suspended run, and gives the run to this
 * process if no call is left to decide. Its steps, in the order of this file:
 *
 *  1  read the run's entry: it names the thread
 *  2  read the thread's document
 *  3  check that the run is suspended, and put the decision into its calls
 *  4  replace the thread's document under its ETag; with the last decision it also names this process as the run's
 *     owner
 *     - on conflict: back to 3, with a read
 *     - calls are left to decide: the end
 *  5  write this process as the run's holder, then the lease, into the run's document
 *  6  read the run's state
 *  7  delete the run's entry in the partition of suspended runs */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static void approval_on_entry(void *baton, const ac_cosmos_reply_t *reply);
static void approval_check_thread(ac_cosmos_task_t *task);
static void approval_write(ac_cosmos_task_t *task, int n_open);
static void approval_on_written(void *baton, const ac_cosmos_reply_t *reply);
static void approval_noted(ac_cosmos_task_t *task);
static void approval_on_holder_set(void *baton, const ac_cosmos_reply_t *reply);
static void approval_on_lease_set(void *baton, const ac_cosmos_reply_t *reply);
static void approval_on_state(void *baton, const ac_cosmos_reply_t *reply);
static void approval_check_state(ac_cosmos_task_t *task);
static void approval_delete_entry(ac_cosmos_task_t *task);

static void end_not_suspended(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_WAITING, "the run awaits no approval"));
}

/* As ac_cosmos_call_failed(), for a task that has acquired the run: if the task fails, it is freed and its run is
 * released. */
static bool failed_and_released(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses)
{
    ac_cosmos_t *store = task->store;
    char run_id[AC_ID_SIZE];
    memcpy(run_id, task->run_id, sizeof(run_id));
    if (!ac_cosmos_call_failed(task, reply, statuses)) {
        return false;
    }
    ac_cosmos_lease_release(store, run_id);
    return true;
}

/* ---- 1: the run's entry ---- */

void ac_cosmos_approval_decide(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};
    apr_cpystrn(task->run_id, task->op->id, sizeof(task->run_id));
    if (!*task->run_id || !ac_cosmos_name_valid(task->run_id)) {
        end_not_suspended(task);
        return;
    }
    ac_cosmos_call_start(task, &request, approval_on_entry, task);
}

static void approval_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || strcmp(ac_json_peek_string(reply->body, "type", ""), "run") != 0) {
        approval_delete_entry(task);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(reply->body, "thread_id", ""), sizeof(task->op->id));
    ac_cosmos_thread_doc_read(task, false, approval_check_thread);
}

/* ---- 2, 3: the thread's document ---- */

static void give_up_claim(ac_cosmos_task_t *task)
{
    if (task->approval.claims) {
        ac_cosmos_lease_unclaim(task->store, task->run_id);
        task->approval.claims = false;
    }
}

static void approval_check_thread(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    const json_t *active = json_object_get(task->thread.doc, "active_run");
    bool hidden = !json_object_get(op->in, "call_id");
    int n_open = 0;
    if (*task->approval.nonce && task->thread.doc &&
        strcmp(ac_json_peek_string(task->thread.doc, "nonce", ""), task->approval.nonce) == 0) {
        approval_noted(task); /* an attempt whose answer was lost */
        return;
    }
    give_up_claim(task);
    if (!ac_cosmos_thread_doc_lives(&task->thread, hidden) ||
        !ac_cosmos_thread_doc_suspended(&task->thread, task->run_id)) {
        approval_delete_entry(task);
        return;
    }
    json_decref(task->found);
    task->found = json_deep_copy(json_object_get(active, "calls"));
    if (ac_store_approval_decide(&n_open, task->found, ac_json_peek_string(active, "due_at", ""), op) != APR_SUCCESS) {
        ac_cosmos_task_end_with(task, &op->err);
    } else {
        approval_write(task, n_open);
    }
}

/* ---- 4: the decision ---- */

static void approval_write(ac_cosmos_task_t *task, int n_open)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->thread.etag};
    json_t *thread = json_copy(task->thread.doc), *active = json_copy(json_object_get(thread, "active_run"));
    task->approval.n_open = n_open;
    ac_id_make(task->approval.nonce, "made_");
    ac_json_put(active, "calls", json_incref(task->found));
    if (n_open == 0) { /* this process acquires the run before other processes can see that */
        ac_cosmos_lease_claim(task->store, task->op, task->run_id);
        task->approval.claims = true;
        json_decref(active);
        active = ac_cosmos_lease_make(task->store, task->run_id);
    }
    ac_json_put(thread, "active_run", active);
    ac_json_put(thread, "nonce", json_string(task->approval.nonce));
    json_decref(task->documents);
    task->documents = thread;
    ac_cosmos_call_write(task, &request, thread, approval_on_written);
}

static void approval_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    bool claims = task->approval.claims;
    char run_id[AC_ID_SIZE];
    memcpy(run_id, task->run_id, sizeof(run_id)); /* a task that has failed is freed */
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        if (claims) {
            ac_cosmos_lease_unclaim(store, run_id);
        }
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_thread_doc_remember(store, task->op->id, task->documents, reply->etag);
        approval_noted(task);
    } else {
        ac_cosmos_thread_doc_retry(task, approval_check_thread);
    }
}

static void approval_noted(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    if (task->approval.n_open > 0) {
        ac_cosmos_task_end_out(task, json_pack("{s:I}", "waiting", (json_int_t)task->approval.n_open));
        return;
    }
    ac_cosmos_lease_patch(task, AC_COSMOS_NO_HOLDER, "holder", json_string(store->holder), approval_on_holder_set);
}

/* ---- 5: holder and lease ---- */

static void approval_on_holder_set(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    if (failed_and_released(task, reply, AC_COSMOS_EXPECT(200, 412))) { /* 412: an attempt whose answer was lost */
        return;
    }
    ac_cosmos_lease_patch(task, store->holder, "lease_until", ac_cosmos_lease_end(store), approval_on_lease_set);
}

static void approval_on_lease_set(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    char id[AC_ID_SIZE + 8];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = id};
    if (failed_and_released(task, reply, AC_COSMOS_EXPECT(200))) {
        return;
    }
    ac_cosmos_lease_opened(task->store, task->run_id);
    ac_cosmos_doc_suspended_id(id, task->run_id);
    ac_cosmos_call_start(task, &request, approval_on_state, task);
}

/* ---- 6: the state ---- */

static void approval_on_state(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (failed_and_released(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->rows);
    task->rows = json_array();
    if (reply->status == 200) {
        json_array_append(task->rows, reply->body);
    }
    ac_cosmos_query_join(task, approval_check_state);
}

static void approval_check_state(ac_cosmos_task_t *task)
{
    json_t *state = json_object_get(json_array_get(task->rows, 0), "state");
    if (!json_is_object(state)) {
        ac_cosmos_lease_release(task->store, task->run_id);
        ac_cosmos_task_end_damaged(task, "a run that waited has lost what it needs to go on");
        return;
    }
    task->op->out = json_pack("{s:s, s:O, s:O}", "thread_id", task->op->id, "calls", task->found, "state", state);
    approval_delete_entry(task);
}

/* ---- 7: the entry in the partition of suspended runs ---- */

static void approval_on_entry_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    (void)reply; /* a task that meets the entry again finds that the run is not suspended */
    if (task->op->out) {
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        end_not_suspended(task);
    }
}

static void approval_delete_entry(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_SUSPENDED_KEY,
                                   .id = task->run_id};
    ac_cosmos_call_start(task, &request, approval_on_entry_deleted, task);
}
