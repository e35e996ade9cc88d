/* SPDX-License-Identifier: Apache-2.0 */
/* The tasks of the Cosmos DB store: their beginning and end, their continuations, and the pause after a conflict. */
#include "cosmos_task.h"

#include <stdlib.h>

#include "cosmos_internal.h"

#define FIRST_PAUSE apr_time_from_msec(1) /* before a write is retried; the pause doubles */
#define MAX_DOUBLINGS 7

/* ---- beginning ---- */

ac_cosmos_task_t *ac_cosmos_task_create(ac_cosmos_t *store, ac_store_op_t *op)
{
    ac_cosmos_task_t *task = ac_alloc(sizeof(*task));
    task->store = store;
    task->op = op;
    task->deadline = op->deadline;
    task->began = ac_clock();
    ac_buf_init(&task->join.text, AC_MAX_JSON_TEXT);
    if (store->tasks) {
        task->next = store->tasks;
        task->prev = store->tasks->prev;
        task->prev->next = task->next->prev = task;
    } else {
        task->next = task->prev = store->tasks = task;
    }
    store->n_tasks++;
    return task;
}

static void task_on_begin(void *baton)
{
    ac_cosmos_task_return(baton);
}

ac_cosmos_task_t *ac_cosmos_task_own(ac_cosmos_t *store, const char *owner, const char *id, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_t *task = ac_cosmos_task_create(store, ac_store_op_create(AC_STORE_N_VERBS, owner, id));
    task->own = true;
    ac_cosmos_task_then(task, fn);
    ac_loop_post(store->loop, task_on_begin, task);
    return task;
}

/* ---- continuations ---- */

void ac_cosmos_task_then(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    if (task->stack.n >= AC_COSMOS_MAX_STEPS) {
        abort(); /* a function pushes and does not return: the order of writes is lost */
    }
    task->stack.steps[task->stack.n++] = fn;
}

void ac_cosmos_task_return(ac_cosmos_task_t *task)
{
    if (task->stack.n <= 0) {
        abort();
    }
    task->stack.steps[--task->stack.n](task);
}

static void task_on_pause_over(void *baton)
{
    ac_cosmos_task_return(baton);
}

void ac_cosmos_task_retry(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    apr_time_t now = ac_clock(), due = now;
    task->conflicts.since = task->conflicts.n ? task->conflicts.since : now;
    if (task->conflicts.n++) {
        int doublings = task->conflicts.n < MAX_DOUBLINGS ? task->conflicts.n : MAX_DOUBLINGS;
        due += (apr_time_t)(ac_random() % (uint64_t)(FIRST_PAUSE << doublings));
    }
    if (due >= (task->deadline ? task->deadline : task->conflicts.since + AC_COSMOS_TIMEOUT)) {
        task->op->err.retry_after = apr_time_from_sec(1);
        ac_cosmos_task_end(task,
                           ac_err_set(&task->op->err, AC_STORE_TIMEOUT, "others changed it before each of %d tries",
                                      task->conflicts.n));
        return;
    }
    if (due == now) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    ac_timer_set(task->store->loop, &task->timer, due, task_on_pause_over, task);
}

/* ---- end ---- */

/* What this child has sent, and what the service charged. */
static json_t *figures_json(ac_cosmos_figures_t *figures, bool full_text)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:f}", "search", full_text ? "messages" : "titles", "requests",
                     (json_int_t)atomic_load(&figures->n_requests), "retries",
                     (json_int_t)atomic_load(&figures->n_retries), "throttled",
                     (json_int_t)atomic_load(&figures->n_throttled), "request_units",
                     (double)atomic_load(&figures->charge_milli) / 1000);
}

void ac_cosmos_task_answer(ac_cosmos_t *store, ac_store_op_t *op, apr_status_t status)
{
    op->status = status;
    if (status != APR_SUCCESS && op->err.kind != AC_RUN_IN_PROGRESS && op->err.kind != AC_IDEMPOTENCY_CONFLICT) {
        json_decref(op->out);
        op->out = NULL;
    }
    if (op->verb == AC_STORE_PING) {
        op->out = figures_json(&store->figures, store->containers.full_text);
    }
    atomic_fetch_sub(&store->n_open, 1);
    store->ac_host->store_done(op);
}

void ac_cosmos_task_check_stopped(ac_cosmos_t *store)
{
    if (store->child.stopping && !store->n_tasks && store->child.stopped) {
        ac_timer_cancel(store->loop, &store->child.stop_timer);
        ac_latch_open(store->child.stopped);
        ac_latch_unref(store->child.stopped);
        store->child.stopped = NULL;
    }
}

/* Frees what the task holds, except for its operation. */
static void task_clear(ac_cosmos_task_t *task)
{
    ac_timer_cancel(task->store->loop, &task->timer);
    ac_cosmos_thread_doc_clear(&task->thread);
    ac_cosmos_query_clear(task);
    json_decref(task->rows);
    json_decref(task->documents);
    json_decref(task->parts);
    json_decref(task->found);
    json_decref(task->whole);
    json_decref(task->counting.interrupted);
    ac_buf_free(&task->join.text);
    free(task->state);
}

static void task_free(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    if (task->next == task) {
        store->tasks = NULL;
    } else {
        task->next->prev = task->prev;
        task->prev->next = task->next;
        store->tasks = task->next;
    }
    store->n_tasks--;
    if (task->own) {
        ac_store_op_free(task->op);
    }
    free(task);
    ac_cosmos_task_check_stopped(store);
}

/* Runs in a later turn, when nothing on this thread refers to the operation's documents: another thread gets them. */
static void task_on_answer(void *baton)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_task_answer(task->store, task->op, task->op->status);
    task_free(task);
}

void ac_cosmos_task_detach(ac_cosmos_task_t *task, apr_status_t status)
{
    ac_store_op_t *op = task->op;
    if (task->own) {
        return;
    }
    task->op = ac_store_op_create(op->verb, op->owner, op->id);
    ac_store_op_trace(task->op, &op->trace);
    task->own = true;
    op->charge = task->figures.charge;
    task->deadline = 0;
    ac_cosmos_task_answer(task->store, op, status);
}

void ac_cosmos_task_end(ac_cosmos_task_t *task, apr_status_t status)
{
    ac_debug("store cosmos: %s%s: %d requests, %d retries, %.2f RU, %" APR_TIME_T_FMT " us%s%s",
             task->own ? "own " : "", ac_store_verb_name(task->op->verb), task->figures.n_requests,
             task->figures.n_retries, task->figures.charge, ac_clock() - task->began,
             task->op->err.detail[0] ? ": " : "", task->op->err.detail);
    if (status != APR_SUCCESS && task->on_failure) {
        task->on_failure(task);
    }
    task_clear(task);
    if (task->own) {
        task_free(task);
        return;
    }
    task->op->status = status;
    task->op->charge = task->figures.charge;
    ac_loop_post(task->store->loop, task_on_answer, task);
}

void ac_cosmos_task_end_with(ac_cosmos_task_t *task, const ac_err_t *err)
{
    if (task->op->err.kind == AC_OK) {
        task->op->err = *err;
    }
    ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
}

void ac_cosmos_task_end_damaged(ac_cosmos_task_t *task, const char *what)
{
    ac_cosmos_outage_begin(task->store, AC_M229, what);
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_STORE_ERROR, "%s", what));
}

void ac_cosmos_task_end_out(ac_cosmos_task_t *task, json_t *out)
{
    task->op->out = out;
    ac_cosmos_task_end(task, out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}
