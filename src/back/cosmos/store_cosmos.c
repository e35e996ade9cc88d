/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store: its configuration, its tasks, and their beginning and end in a child. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#define STOP_PATIENCE \
    apr_time_from_sec(4)                  /* for what is under way when a child ends; httpd kills it after ten in all */
#define STOP_UNBEGUN apr_time_from_sec(2) /* where the loop has perhaps never run */
#define PAUSE_FIRST apr_time_from_msec(1) /* before another try of a write that others came before; it doubles */
#define PAUSE_DOUBLED 7                   /* times at most */

/* ---- tasks ---- */

static ac_cosmos_task_t *task_create(ac_cosmos_t *store, ac_store_op_t *op)
{
    ac_cosmos_task_t *task = ac_alloc(sizeof(*task));

    task->store = store;
    task->op = op;
    task->deadline = op->deadline;
    task->began = ac_clock();
    ac_buf_init(&task->joined, AC_MAX_JSON_TEXT);
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

/* What this child has sent so far, and what it was charged. */
static json_t *figures_json(ac_cosmos_figures_t *figures)
{
    return json_pack("{s:I, s:I, s:I, s:f}", "requests", (json_int_t)atomic_load(&figures->n_requests), "retries",
                     (json_int_t)atomic_load(&figures->n_retries), "throttled",
                     (json_int_t)atomic_load(&figures->n_throttled), "request_units",
                     (double)atomic_load(&figures->charge_milli) / 1000);
}

static void store_cosmos_answer(ac_cosmos_t *store, ac_store_op_t *op, apr_status_t status)
{
    op->status = status;
    if (status != APR_SUCCESS && op->err.kind != AC_RUN_IN_PROGRESS && op->err.kind != AC_IDEMPOTENCY_CONFLICT) {
        json_decref(op->out);
        op->out = NULL;
    }
    if (op->verb == AC_STORE_PING) {
        op->out = figures_json(&store->figures);
    }
    atomic_fetch_sub(&store->n_open, 1);
    store->ac_host->store_done(op);
}

static void tell_stopped(ac_cosmos_t *store)
{
    if (store->stopping && !store->n_tasks && store->stopped) {
        ac_timer_cancel(store->loop, &store->stop_timer);
        ac_latch_open(store->stopped);
        ac_latch_unref(store->stopped);
        store->stopped = NULL;
    }
}

/* What it holds, but for its operation. */
static void task_clear(ac_cosmos_task_t *task)
{
    ac_timer_cancel(task->store->loop, &task->timer);
    ac_cosmos_head_clear(&task->head);
    ac_cosmos_select_clear(task);
    json_decref(task->rows);
    json_decref(task->documents);
    json_decref(task->parts);
    json_decref(task->found);
    json_decref(task->whole);
    ac_buf_free(&task->joined);
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
    tell_stopped(store);
}

/* In a later turn, when nothing on this thread refers to the operation's documents any more: they become another thread's. */
static void task_answer(void *baton)
{
    ac_cosmos_task_t *task = baton;

    store_cosmos_answer(task->store, task->op, task->op->status);
    task_free(task);
}

void ac_cosmos_task_detach(ac_cosmos_task_t *task, apr_status_t status)
{
    ac_store_op_t *op = task->op;

    if (task->own) {
        return;
    }
    task->op = ac_store_op_create(op->verb, op->owner, op->id);
    task->own = true;
    task->deadline = 0;
    store_cosmos_answer(task->store, op, status);
}

void ac_cosmos_end(ac_cosmos_task_t *task, apr_status_t status)
{
    ac_debug("store cosmos: %s%s: %d requests, %d retries, %.2f RU, %" APR_TIME_T_FMT " us%s%s",
             task->own ? "own " : "", ac_store_verb_name(task->op->verb), task->n_requests, task->n_retries,
             task->charge, ac_clock() - task->began, task->op->err.detail[0] ? ": " : "", task->op->err.detail);
    if (status != APR_SUCCESS && (task->n_settles || task->op->verb == AC_STORE_TURN_OPEN)) {
        ac_cosmos_turn_unopened(task);
    }
    if (status != APR_SUCCESS && (task->op->verb == AC_STORE_TURN_OPEN || task->op->verb == AC_STORE_TURN_CLOSE)) {
        ac_cosmos_key_drop(task);
        ac_cosmos_run_failed(task->store, task->run_id);
    }
    task_clear(task);
    if (task->own) {
        task_free(task);
        return;
    }
    task->op->status = status;
    ac_loop_post(task->store->loop, task_answer, task);
}

void ac_cosmos_end_with(ac_cosmos_task_t *task, const ac_err_t *err)
{
    if (task->op->err.kind == AC_OK) {
        task->op->err = *err;
    }
    ac_cosmos_end(task, ac_kind_row(task->op->err.kind)->status);
}

void ac_cosmos_end_damaged(ac_cosmos_task_t *task, const char *what)
{
    ac_cosmos_trouble(task->store, AC_M229, what);
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_STORE_ERROR, "%s", what));
}

bool ac_cosmos_failed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses)
{
    if (reply->err.kind != AC_OK) {
        ac_cosmos_end_with(task, &reply->err);
        return true;
    }
    while (*statuses) {
        if (*statuses++ == reply->status) {
            return false;
        }
    }
    ac_cosmos_end(task,
                  ac_err_set(&task->op->err, AC_STORE_ERROR, "Cosmos DB answered with an unexpected status (%d)",
                             reply->status));
    return true;
}

/* ---- others came before ---- */

static void on_pause_over(void *baton)
{
    ac_cosmos_task_t *task = baton;

    task->after_pause(task);
}

void ac_cosmos_again(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    apr_time_t now = ac_clock(), due = now;

    task->lost_since = task->n_lost ? task->lost_since : now;
    if (task->n_lost++) {
        int doubled = task->n_lost < PAUSE_DOUBLED ? task->n_lost : PAUSE_DOUBLED;
        due += (apr_time_t)(ac_random() % (uint64_t)(PAUSE_FIRST << doubled));
    }
    if (due >= (task->deadline ? task->deadline : task->lost_since + AC_COSMOS_PATIENCE)) {
        task->op->err.retry_after = apr_time_from_sec(1);
        ac_cosmos_end(task,
                      ac_err_set(&task->op->err, AC_STORE_TIMEOUT, "others changed it before each of %d tries",
                                 task->n_lost));
        return;
    }
    if (due == now) {
        fn(task);
        return;
    }
    task->after_pause = fn;
    ac_timer_set(task->store->loop, &task->timer, due, on_pause_over, task);
}

typedef struct start_t {
    ac_cosmos_t *store;
    ac_store_op_t *op;
    ac_cosmos_task_t *task;
    ac_cosmos_step_fn *fn;
} start_t;

static void own_begin(void *baton)
{
    start_t *start = baton;
    ac_cosmos_task_t *task = start->task;
    ac_cosmos_step_fn *fn = start->fn;

    free(start);
    fn(task);
}

ac_cosmos_task_t *ac_cosmos_task_own(ac_cosmos_t *store, const char *owner, const char *id, ac_cosmos_step_fn *fn)
{
    start_t *start = ac_alloc(sizeof(*start));

    start->task = task_create(store, ac_store_op_create(AC_STORE_N_VERBS, owner, id));
    start->task->own = true;
    start->fn = fn;
    ac_loop_post(store->loop, own_begin, start);
    return start->task;
}

/* ---- operations ---- */

static void store_cosmos_on_pinged(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (!ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        ac_cosmos_end(task, APR_SUCCESS);
    }
}

/* A document that nobody has: that it is missing is known only to a service that works and let us in. */
void ac_cosmos_ping(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .place = AC_COSMOS_THREADS, .key = " ping", .id = "ping"};

    ac_cosmos_call(task, &request, store_cosmos_on_pinged, task);
}

static void thread_delete(ac_cosmos_task_t *task)
{
    (task->op->hard ? ac_cosmos_thread_remove : ac_cosmos_thread_hide)(task);
}

static ac_cosmos_step_fn *const verbs[AC_STORE_N_VERBS] = {
    [AC_STORE_PING] = ac_cosmos_ping,
    [AC_STORE_THREAD_CREATE] = ac_cosmos_thread_create,
    [AC_STORE_THREAD_GET] = ac_cosmos_thread_get,
    [AC_STORE_THREAD_LIST] = ac_cosmos_thread_list,
    [AC_STORE_THREAD_UPDATE] = ac_cosmos_thread_update,
    [AC_STORE_THREAD_DELETE] = thread_delete,
    [AC_STORE_THREAD_RESTORE] = ac_cosmos_thread_restore,
    [AC_STORE_MESSAGE_LIST] = ac_cosmos_message_list,
    [AC_STORE_TURN_LOAD] = ac_cosmos_turn_load,
    [AC_STORE_TURN_OPEN] = ac_cosmos_turn_open,
    [AC_STORE_TURN_CLOSE] = ac_cosmos_turn_close,
    [AC_STORE_RUN_GET] = ac_cosmos_run_get,
    [AC_STORE_RUN_LIST] = ac_cosmos_run_list,
    [AC_STORE_STEP_LIST] = ac_cosmos_step_list,
    [AC_STORE_PURGE] = ac_cosmos_purge,
    [AC_STORE_EXPORT_THREADS] = ac_cosmos_export_threads,
    [AC_STORE_EXPORT_MESSAGES] = ac_cosmos_export_messages,
    [AC_STORE_EXPORT_RUNS] = ac_cosmos_export_runs,
    [AC_STORE_IMPORT] = ac_cosmos_import,
    [AC_STORE_KEY_GET] = ac_cosmos_key_get,
    [AC_STORE_AGENT_LIST] = ac_cosmos_agent_list,
    [AC_STORE_AGENT_PUT] = ac_cosmos_agent_put,
    [AC_STORE_AGENT_DELETE] = ac_cosmos_agent_delete,
    [AC_STORE_RUN_CANCEL] = ac_cosmos_run_cancel,
    [AC_STORE_TURN_WAIT] = ac_cosmos_turn_wait,
    [AC_STORE_TURN_DECIDE] = ac_cosmos_turn_decide,
    [AC_STORE_WAIT_LIST] = ac_cosmos_wait_list,
};

static void op_begin(void *baton)
{
    start_t *start = baton;
    ac_cosmos_t *store = start->store;
    ac_store_op_t *op = start->op;

    free(start);
    if (op->status != APR_SUCCESS) {
        store_cosmos_answer(store, op, op->status);
    } else if (op->deadline && ac_clock() >= op->deadline) {
        store_cosmos_answer(store, op, ac_err_set(&op->err, AC_STORE_TIMEOUT, "the store did not get to it in time"));
    } else if (!verbs[op->verb]) {
        store_cosmos_answer(store, op,
                            ac_err_set(&op->err, AC_INVALID_REQUEST, "this store keeps no such thing (%s)",
                                       ac_store_verb_name(op->verb)));
    } else {
        ac_cosmos_prepare(task_create(store, op), verbs[op->verb]);
    }
}

static void store_cosmos_start_post(void *self, ac_store_op_t *op)
{
    ac_cosmos_t *store = self;
    start_t *start = ac_alloc(sizeof(*start));

    start->store = store;
    start->op = op;
    op->status = APR_SUCCESS;
    ac_err_init(&op->err);
    op->page.limit = op->page.limit > 0 ? op->page.limit : 0;
    if (atomic_fetch_add(&store->n_open, 1) >= AC_MAX_STORE_QUEUE) {
        op->status = ac_err_set(&op->err, AC_OVERLOADED, "the store has too much to do");
        op->err.retry_after = apr_time_from_sec(1);
    }
    ac_loop_post(store->loop, op_begin, start);
}

/* ---- beginning and end of a child ---- */

static void prepared_early(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, APR_SUCCESS);
}

static void prepare_early(ac_cosmos_task_t *task)
{
    ac_cosmos_prepare(task, prepared_early);
}

static void on_begin(void *baton)
{
    ac_cosmos_t *store = baton;

    atomic_store(&store->began, true);
    ac_cosmos_lease_start(store);
    ac_cosmos_task_own(store, NULL, NULL, prepare_early);
}

static apr_status_t store_cosmos_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_cosmos_t *store = self;
    apr_status_t status;

    store->ac_host = host;
    store->loop = host->loop;
    if (apr_pool_create(&store->pool, NULL) != APR_SUCCESS) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    store->runs = apr_hash_make(store->pool);
    ac_id_make(store->holder, "proc_");
    ac_process_name(store->process);
    store->ready = AC_COSMOS_UNKNOWN;
    store->stopping = store->halted = false;
    store->next_prepare = 0;
    store->started = true;
    atomic_init(&store->n_open, 0);
    atomic_init(&store->began, false);
    status = ac_credential_child_init(store->credential, host, err);
    if (status == APR_SUCCESS) {
        ac_loop_post(store->loop, on_begin, store);
    }
    return status;
}

static void on_stop_late(void *baton)
{
    ac_cosmos_calls_stop(baton);
}

typedef struct stop_t {
    ac_cosmos_t *store;
    ac_latch_t *latch;
} stop_t;

/* Our own tasks that wait for a better moment do so no longer; they see that the store is stopping. */
static void wake_own(ac_cosmos_t *store)
{
    ac_cosmos_task_t *task = store->tasks;

    for (int i = 0; i < store->n_tasks; i++, task = task->next) {
        if (task->own && task->timer.slot) {
            ac_timer_set(store->loop, &task->timer, ac_clock(), task->timer.fn, task->timer.baton);
        }
    }
}

static void on_stop(void *baton)
{
    stop_t *stop = baton;
    ac_cosmos_t *store = stop->store;

    store->stopping = true;
    store->stopped = stop->latch;
    free(stop);
    ac_cosmos_lease_stop(store);
    wake_own(store);
    ac_timer_set(store->loop, &store->stop_timer, ac_clock() + STOP_PATIENCE * 3 / 4, on_stop_late, store);
    tell_stopped(store);
}

static void store_cosmos_child_exit(void *self)
{
    ac_cosmos_t *store = self;
    ac_latch_t *latch = ac_latch_create();
    stop_t *stop = ac_alloc(sizeof(*stop));

    if (!store->started || !latch) {
        free(stop);
        if (latch) {
            ac_latch_unref(latch);
        }
        return;
    }
    stop->store = store;
    stop->latch = latch;
    ac_latch_ref(latch);
    ac_loop_post(store->loop, on_stop, stop);
    if (ac_latch_wait(latch, ac_clock() + (atomic_load(&store->began) ? STOP_PATIENCE : STOP_UNBEGUN))) {
        ac_credential_child_exit(store->credential);
        ac_cosmos_runs_free(store);
        for (int i = 0; i < AC_COSMOS_HEADS; i++) {
            ac_cosmos_head_clear(&store->heads[i]);
        }
        apr_pool_destroy(store->pool);
    }
    ac_latch_unref(latch);
    store->started = false;
}

const ac_store_vt ac_store_cosmos = {
    .name = "cosmos",
    .create = ac_cosmos_configure,
    .child_init = store_cosmos_child_init,
    .start_post = store_cosmos_start_post,
    .child_exit = store_cosmos_child_exit,
    .flags = AC_STORE_REMOTE,
};
