/* SPDX-License-Identifier: Apache-2.0 */
/* Dead runs in the Cosmos DB store: a run whose process has ended, or whose lease is over, is closed as interrupted.
 *
 *  1  look at the active run in the thread's document: a run that lives ends the check
 *  2  read the run's document; a renewed lease ends the check
 *  3  write thread and run in one batch, the run as interrupted
 *     - on conflict: read the thread's document, 1 */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define SWEEP_ROWS 64 /* runs that one sweep closes */

static const char sql_over[] = "SELECT c.id, c.thread_id FROM c WHERE c.type = 'run' AND c.lease_until < @now";

static void run_check_thread(ac_cosmos_task_t *task);
static void run_check_on_run(void *baton, const ac_cosmos_reply_t *reply);
static void interrupt(ac_cosmos_task_t *task, const json_t *run, const char *run_etag);
static void run_check_on_interrupted(void *baton, const ac_cosmos_reply_t *reply);

void ac_cosmos_run_check_active(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    run_check_thread(task);
}

/* ---- 1: what the thread's document says ---- */

/* Whether the run is dead whatever its lease says: its holder is this process, which does not own it, or a process of
 * this machine that has ended. */
static bool known_dead(const ac_cosmos_task_t *task)
{
    const ac_cosmos_t *store = task->store;
    const json_t *active = json_object_get(task->thread.doc, "active_run");
    return strcmp(ac_json_peek_string(active, "holder", ""), store->holder) == 0
        ? !ac_cosmos_lease_has(store, ac_cosmos_thread_doc_run(&task->thread))
        : ac_process_died(store->process, ac_json_peek_string(active, "process", ""));
}

/* Whether the lease has expired. If this process could not reach the service, the holder may have been unable to renew
 * it: it gets the time of another lease. */
static bool is_over(const ac_cosmos_t *store, const json_t *doc)
{
    bool outage = store->outage.lost_at && ac_clock() - store->outage.lost_at < store->conf.lease / 2;
    return ac_cosmos_doc_past(doc, "lease_until", ac_cosmos_now(store) - (outage ? store->conf.lease : 0));
}

static void run_check_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    const json_t *active = json_object_get(task->thread.doc, "active_run");
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    bool ours = strcmp(ac_json_peek_string(active, "holder", ""), store->holder) == 0;
    bool suspended = ac_cosmos_thread_doc_suspended(&task->thread, NULL);
    bool lives = suspended || (!known_dead(task) && (ours || !is_over(store, active)));
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = run_id};
    if (!*run_id || lives) {
        ac_cosmos_task_return(task);
    } else {
        ac_cosmos_call_start(task, &request, run_check_on_run, task);
    }
}

/* ---- 2: the run's document ---- */

static void run_check_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *run = reply->status == 200 ? reply->body : NULL;
    bool dead = known_dead(task);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (run && ac_record_is_active(run) && !dead && !is_over(task->store, run)) {
        ac_cosmos_task_return(task); /* it was renewed */
        return;
    }
    interrupt(task, run, ac_cosmos_call_etag(reply));
}

/* ---- 3: the batch ---- */

static const char *cause_text(const ac_cosmos_task_t *task)
{
    const char *holder = ac_json_peek_string(json_object_get(task->thread.doc, "active_run"), "holder", "");
    if (strcmp(holder, task->store->holder) == 0) {
        return "Cosmos DB stored the message but did not confirm it in time, so the run was refused";
    }
    return known_dead(task) ? "the server process that ran it ended before it did"
                            : "the server that ran it was not heard of for too long";
}

/* Closes the run in its thread's document, and in its own, which may have expired. */
static void interrupt(ac_cosmos_task_t *task, const json_t *run, const char *run_etag)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    json_t *ended = ac_record_is_active(run) ? json_copy((json_t *)run) : NULL;
    json_decref(task->counting.interrupted);
    task->counting.interrupted = ended;
    ac_cosmos_batch_t batch;
    ac_err_t cause;
    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "%s", cause_text(task));
    ac_json_put(task->thread.doc, "active_run", json_null());
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->thread.doc,
                                task->thread.etag);
    if (ended) {
        ac_cosmos_doc_clear_lease(ended);
        ac_json_put(ended, "status", json_string("interrupted"));
        ac_json_put(ended, "error", ac_record_error(&cause));
        ac_json_put(ended, "completed_at", ac_time_json(ac_cosmos_now(task->store)));
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, ac_json_peek_string(run, "id", ""), ended,
                                    run_etag);
    }
    if (ended) {
        json_t *documents = json_object();
        const ac_webhook_cause_t cause = {
            ended, NULL, NULL, NULL, ac_json_peek_string(task->thread.doc, "owner", ""), ac_cosmos_now(task->store)};
        ac_cosmos_webhook_add(task, documents, &cause);
        ac_cosmos_webhook_batch(&batch, task, documents);
        json_decref(documents);
    }
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, run_check_on_interrupted);
}

static void run_check_on_interrupted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status != 200) { /* another task was faster */
        ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
        ac_cosmos_thread_doc_read(task, false, run_check_thread);
        return;
    }
    ac_cosmos_usage_count(task->store, ac_json_peek_string(task->thread.doc, "owner", ""), task->counting.interrupted);
    apr_cpystrn(task->thread.etag, ac_cosmos_answer_batch_etag(reply->body, 0), sizeof(task->thread.etag));
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc, task->thread.etag);
    ac_cosmos_task_return(task);
}

/* ---- the sweep: runs of machines that are gone ---- */

static void sweep_find(ac_cosmos_task_t *task);
static void sweep_start_each(ac_cosmos_task_t *task);
static void sweep_read_thread(ac_cosmos_task_t *task);
static void sweep_check(ac_cosmos_task_t *task);
static void sweep_end(ac_cosmos_task_t *task);

/* One child of all that share the state does it. */
static bool sweep_due(ac_cosmos_t *store, apr_time_t now)
{
    ac_cosmos_state_t *state;
    bool due;
    if (store->containers.ready != AC_COSMOS_READY || !store->containers.sweeps) {
        return false;
    }
    state = ac_cosmos_shared_acquire(store);
    due = now >= state->next_sweep;
    if (due) {
        state->next_sweep = now + store->conf.lease;
    }
    ac_cosmos_shared_release(store);
    return due;
}

void ac_cosmos_run_check_sweep(ac_cosmos_t *store)
{
    if (sweep_due(store, ac_clock())) {
        ac_cosmos_task_own(store, NULL, NULL, sweep_find);
    }
}

/* A query over all partitions, with an index that holds active runs only. */
static void sweep_find(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t select = {.container = AC_COSMOS_MESSAGES, .sql = sql_over, .want = SWEEP_ROWS};
    task->deadline = ac_clock() + task->store->conf.lease;
    select.parameters = json_object();
    ac_json_put(select.parameters, "@now", ac_time_json(ac_cosmos_now(task->store)));
    ac_cosmos_query_run(task, &select, sweep_start_each);
}

static void sweep_start_each(ac_cosmos_task_t *task)
{
    const json_t *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        ac_cosmos_task_own(task->store, NULL, ac_json_peek_string(row, "thread_id", ""), sweep_read_thread);
    }
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void sweep_read_thread(ac_cosmos_task_t *task)
{
    task->deadline = ac_clock() + task->store->conf.lease;
    ac_cosmos_thread_doc_read(task, false, sweep_check);
}

static void sweep_check(ac_cosmos_task_t *task)
{
    ac_cosmos_run_check_active(task, sweep_end);
}

static void sweep_end(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, APR_SUCCESS);
}
