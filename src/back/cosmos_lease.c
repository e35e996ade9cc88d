/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs a run in the Cosmos DB store: a lease that its process renews, and what becomes of a run whose lease is over. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

typedef struct ac_cosmos_run_t {            /* one of this process */
    char id[AC_ID_SIZE], thread_id[AC_ID_SIZE];
    apr_time_t renewed;                     /* ac_clock */
} ac_cosmos_run_t;

/* ---- ours ---- */

void ac_cosmos_run_take(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id)
{
    ac_cosmos_run_t *run = apr_hash_get(store->runs, run_id, APR_HASH_KEY_STRING);

    if (!run) {
        run = ac_alloc(sizeof(*run));
        apr_cpystrn(run->id, run_id, sizeof(run->id));
        apr_cpystrn(run->thread_id, op->id, sizeof(run->thread_id));
        apr_hash_set(store->runs, run->id, APR_HASH_KEY_STRING, run);
    }
    run->renewed = ac_clock();
}

void ac_cosmos_run_drop(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = apr_hash_get(store->runs, run_id, APR_HASH_KEY_STRING);

    if (run) {
        apr_hash_set(store->runs, run_id, APR_HASH_KEY_STRING, NULL);
        free(run);
    }
}

void ac_cosmos_runs_free(ac_cosmos_t *store)
{
    for (apr_hash_index_t *at = apr_hash_first(NULL, store->runs); at; at = apr_hash_next(at)) {
        free(apr_hash_this_val(at));        /* the keys, too: nothing may be looked up any more */
    }
    store->runs = NULL;
}

static void lease_end(char text[AC_TIME_SIZE], const ac_cosmos_t *store)
{
    ac_time_format(text, ac_cosmos_now(store) + store->lease);
}

json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id)
{
    char until[AC_TIME_SIZE];

    lease_end(until, store);
    return json_pack("{s:s, s:s, s:s, s:s}", "id", run_id, "holder", store->holder, "process", store->process, "lease_until", until);
}

static void on_renewed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    (void)reply;                            /* where it failed, the next turn of the timer tries again */
    ac_cosmos_end(task, APR_SUCCESS);
}

/* The run's own document, so that nobody who changes the thread meanwhile is disturbed. */
static void renew(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = { .verb = AC_COSMOS_PATCH, .place = AC_COSMOS_MESSAGES, .key = task->op->id,
                                    .id = task->run_id };
    char until[AC_TIME_SIZE];
    ac_buf_t body;

    task->deadline = ac_clock() + task->store->lease / 3;
    lease_end(until, task->store);
    ac_buf_init(&body, 1024);
    ac_buf_printf(&body, "{\"operations\":[{\"op\":\"set\",\"path\":\"/lease_until\",\"value\":\"%s\"}]}", until);
    request.body = &body;
    ac_cosmos_call(task, &request, on_renewed, task);
}

static void on_timer(void *baton)
{
    ac_cosmos_t *store = baton;
    apr_time_t now = ac_clock();

    for (apr_hash_index_t *at = apr_hash_first(NULL, store->runs); at; at = apr_hash_next(at)) {
        ac_cosmos_run_t *run = apr_hash_this_val(at);
        if (now - run->renewed >= store->lease / 3) {
            run->renewed = now;
            ac_cosmos_task_t *task = ac_cosmos_task_own(store, NULL, run->thread_id, renew);
            apr_cpystrn(task->run_id, run->id, sizeof(task->run_id));
        }
    }
    ac_cosmos_lease_start(store);
}

void ac_cosmos_lease_start(ac_cosmos_t *store)
{
    ac_timer_set(store->loop, &store->lease_timer, ac_clock() + store->lease / 6, on_timer, store);
}

void ac_cosmos_lease_stop(ac_cosmos_t *store)
{
    ac_timer_cancel(store->loop, &store->lease_timer);
}

/* ---- the active run of a thread ---- */

const char *ac_cosmos_head_run(const ac_cosmos_head_t *head)
{
    return ac_json_peek_string(json_object_get(head->doc, "active_run"), "id", "");
}

static void check_end(ac_cosmos_task_t *task)
{
    ac_cosmos_step_fn *fn = task->after_check;

    task->after_check = NULL;
    fn(task);
}

static void check_again(ac_cosmos_task_t *task)
{
    ac_cosmos_run_check(task, task->after_check);
}

static void on_interrupted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status != 200) {             /* somebody else was faster; look again */
        ac_cosmos_head_keep(task->store, task->op->id, NULL, NULL);
        ac_cosmos_head_read(task, false, check_again);
        return;
    }
    apr_cpystrn(task->head.etag, ac_cosmos_batch_etag(reply->body, 0), sizeof(task->head.etag));
    ac_cosmos_head_keep(task->store, task->op->id, task->head.doc, task->head.etag);
    check_end(task);
}

/* Closes the run, which may have no document any more, in its thread's head. */
static void interrupt(ac_cosmos_task_t *task, const json_t *run, const char *run_etag)
{
    ac_cosmos_request_t request = { .verb = AC_COSMOS_BATCH, .place = AC_COSMOS_MESSAGES, .key = task->op->id };
    json_t *ended = ac_cosmos_active(run) ? json_copy((json_t *)run) : NULL;
    ac_cosmos_batch_t batch;
    ac_err_t cause;

    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "the server process that ran it ended before it did");
    ac_json_put(task->head.doc, "active_run", json_null());
    ac_cosmos_batch_init(&batch);
    ac_cosmos_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->head.doc, task->head.etag);
    if (ended) {
        ac_json_put(ended, "status", json_string("interrupted"));
        ac_json_put(ended, "error", ac_record_error(&cause));
        ac_json_put(ended, "completed_at", ac_json_time(ac_cosmos_now(task->store)));
        ac_cosmos_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, ac_json_peek_string(run, "id", ""), ended, run_etag);
    }
    ac_cosmos_batch_end(&batch);
    request.body = &batch.body;
    request.n_ops = batch.n;
    ac_cosmos_call(task, &request, on_interrupted, task);
    ac_cosmos_batch_free(&batch);
    json_decref(ended);
}

/* Without a look at its lease: it is ours and we do not run it, or its process was on this machine and has ended. */
static bool known_dead(const ac_cosmos_task_t *task)
{
    const ac_cosmos_t *store = task->store;
    const json_t *active = json_object_get(task->head.doc, "active_run");

    return strcmp(ac_json_peek_string(active, "holder", ""), store->holder) == 0
        ? !apr_hash_get(store->runs, ac_cosmos_head_run(&task->head), APR_HASH_KEY_STRING)
        : ac_process_died(store->process, ac_json_peek_string(active, "process", ""));
}

static void on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *run = reply->status == 200 ? reply->body : NULL;
    bool dead = known_dead(task);

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (run && ac_cosmos_active(run) && !dead && !ac_cosmos_past(run, "lease_until", ac_cosmos_now(task->store))) {
        check_end(task);                    /* it was renewed */
        return;
    }
    interrupt(task, run, *reply->etag ? reply->etag : ac_json_peek_string(reply->body, "_etag", ""));
}

void ac_cosmos_run_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_t *store = task->store;
    const json_t *active = json_object_get(task->head.doc, "active_run");
    const char *run_id = ac_cosmos_head_run(&task->head);
    bool ours = strcmp(ac_json_peek_string(active, "holder", ""), store->holder) == 0;
    bool lives = !known_dead(task) && (ours || !ac_cosmos_past(active, "lease_until", ac_cosmos_now(store)));
    ac_cosmos_request_t request = { .verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .key = task->op->id, .id = run_id };

    task->after_check = fn;
    if (!*run_id || lives) {
        check_end(task);
    }
    else {
        ac_cosmos_call(task, &request, on_run, task);
    }
}
