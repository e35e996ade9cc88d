/* SPDX-License-Identifier: Apache-2.0 */
/* Who runs a run in the Cosmos DB store: a lease that its process renews, and what becomes of a run whose lease is over. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#define LOOKS 12                   /* at a run, within one lease */
#define HOLD apr_time_from_sec(60) /* for who could not close a run, and tries again */
#define SWEEP_ROWS 64              /* runs that are closed at a time */

typedef struct ac_cosmos_run_t { /* one of this process */
    char id[AC_ID_SIZE], thread_id[AC_ID_SIZE];
    apr_time_t renewed, looked; /* ac_clock */
    apr_time_t until;           /* ac_clock; not ours any more from then on; 0: no end */
    bool opened, told;          /* stored; asked to end */
    int n_claims;
} ac_cosmos_run_t;

static const char sql_over[] = "SELECT c.id, c.thread_id FROM c WHERE c.type = 'run' AND c.lease_until < @now";

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
    run->renewed = run->looked = ac_clock();
    run->until = 0;
}

static ac_cosmos_run_t *cosmos_lease_run_find(const ac_cosmos_t *store, const char *run_id)
{
    return store->runs ? apr_hash_get(store->runs, run_id, APR_HASH_KEY_STRING) : NULL;
}

void ac_cosmos_run_opened(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run) {
        run->opened = true;
    }
}

void ac_cosmos_run_rest(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run) {
        run->opened = false;
    }
}

void ac_cosmos_run_failed(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run && run->opened) {
        run->until = ac_clock() + (store->lease > HOLD ? store->lease : HOLD);
    } else {
        ac_cosmos_run_drop(store, run_id);
    }
}

void ac_cosmos_run_drop(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run) {
        apr_hash_set(store->runs, run_id, APR_HASH_KEY_STRING, NULL);
        free(run);
    }
}

void ac_cosmos_run_claim(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id)
{
    ac_cosmos_run_take(store, op, run_id);
    cosmos_lease_run_find(store, run_id)->n_claims++;
}

void ac_cosmos_run_unclaim(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run && --run->n_claims <= 0 && !run->opened) {
        ac_cosmos_run_drop(store, run_id);
    }
}

void ac_cosmos_runs_free(ac_cosmos_t *store)
{
    for (apr_hash_index_t *at = apr_hash_first(NULL, store->runs); at; at = apr_hash_next(at)) {
        free(apr_hash_this_val(at)); /* the keys, too: nothing may be looked up any more */
    }
    store->runs = NULL;
}

json_t *ac_cosmos_lease_end(const ac_cosmos_t *store)
{
    return ac_json_time(ac_cosmos_now(store) + store->lease);
}

json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id)
{
    return json_pack("{s:s, s:s, s:s, s:o}", "id", run_id, "holder", store->holder, "process", store->process,
                     "lease_until", ac_cosmos_lease_end(store));
}

/* The run's own document, so that nobody who changes the thread meanwhile is disturbed. */
void ac_cosmos_run_patch(ac_cosmos_task_t *task, const char *holder, const char *member, json_t *value,
                         ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_PATCH,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};
    char condition[AC_ID_SIZE + 48], path[48];
    json_t *patch;

    snprintf(condition, sizeof(condition), "from c where c.holder = '%.*s'", AC_ID_SIZE - 1, holder);
    snprintf(path, sizeof(path), "/%s", member);
    patch = json_pack("{s:s, s:[{s:s, s:s, s:o}]}", "condition", condition, "operations", "op", "set", "path", path,
                      "value", value);
    ac_cosmos_write(task, &request, patch, fn);
    json_decref(patch);
}

static void cosmos_lease_tell(const ac_cosmos_t *store, const char *run_id, ac_kind_e what)
{
    if (store->ac_host->run_told) { /* a program without runs has none */
        store->ac_host->run_told(run_id, what);
    }
}

/* Another machine took us for dead, and has closed the run: nothing that we do counts any more. */
static void lose(ac_cosmos_t *store, const char *run_id)
{
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, run_id);

    if (run && run->opened) {
        ac_cosmos_run_drop(store, run_id);
        cosmos_lease_tell(store, run_id, AC_INTERRUPTED);
    }
}

static void on_renewed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_run_t *run = cosmos_lease_run_find(task->store, task->run_id);

    if (run && reply->status == 200) {
        run->renewed = ac_clock();
    }
    if (reply->err.kind == AC_OK && (reply->status == 404 || reply->status == 412)) {
        lose(task->store, task->run_id);
    }
    ac_cosmos_end(task, APR_SUCCESS); /* where it failed, the next look tries again */
}

static void cosmos_lease_on_looked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    ac_cosmos_run_t *run = cosmos_lease_run_find(store, task->run_id);
    bool answered = reply->err.kind == AC_OK, due = run && ac_clock() - run->renewed >= store->lease / 3;

    /* A replica that is behind may not know the run yet, but never one that has ended as one that goes on. */
    if (answered && reply->status == 200 &&
        strcmp(ac_json_peek_string(reply->body, "holder", ""), store->holder) != 0) {
        lose(store, task->run_id);
        due = false;
    } else if (answered && run && !run->told && json_is_true(json_object_get(reply->body, "cancel_requested"))) {
        run->told = true;
        cosmos_lease_tell(store, task->run_id, AC_CANCELLED);
    }
    if (due) {
        ac_cosmos_run_patch(task, store->holder, "lease_until", ac_cosmos_lease_end(store), on_renewed);
    } else {
        ac_cosmos_end(task, APR_SUCCESS);
    }
}

static void cosmos_lease_look_at(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};

    task->deadline = ac_clock() + task->store->lease / 3;
    ac_cosmos_call(task, &request, cosmos_lease_on_looked, task);
}

/* ---- those of machines that are gone ---- */

static void swept(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, APR_SUCCESS);
}

static void sweep_from(ac_cosmos_task_t *task)
{
    ac_cosmos_run_check(task, swept);
}

static void sweep_thread(ac_cosmos_task_t *task)
{
    task->deadline = ac_clock() + task->store->lease;
    ac_cosmos_head_read(task, false, sweep_from);
}

static void on_over(ac_cosmos_task_t *task)
{
    const json_t *row;
    size_t i;

    json_array_foreach(task->rows, i, row)
    {
        ac_cosmos_task_own(task->store, NULL, ac_json_peek_string(row, "thread_id", ""), sweep_thread);
    }
    ac_cosmos_end(task, APR_SUCCESS);
}

/* Over all partitions, with an index that holds nothing but active runs. */
static void sweep(ac_cosmos_task_t *task)
{
    ac_cosmos_select_t select = {.place = AC_COSMOS_MESSAGES, .sql = sql_over, .want = SWEEP_ROWS};

    task->deadline = ac_clock() + task->store->lease;
    select.parameters = json_object();
    ac_json_put(select.parameters, "@now", ac_json_time(ac_cosmos_now(task->store)));
    ac_cosmos_select(task, &select, on_over);
}

/* Of all children of this server that know of each other, one does it. */
static bool sweep_due(ac_cosmos_t *store, apr_time_t now)
{
    ac_cosmos_known_t *known;
    bool due;

    if (store->ready != AC_COSMOS_READY || !store->sweeps) {
        return false;
    }
    known = ac_cosmos_known_take(store);
    due = now >= known->next_sweep;
    if (due) {
        known->next_sweep = now + store->lease;
    }
    ac_cosmos_known_drop(store);
    return due;
}

static void cosmos_lease_on_timer(void *baton)
{
    ac_cosmos_t *store = baton;
    apr_time_t now = ac_clock();

    for (apr_hash_index_t *at = apr_hash_first(NULL, store->runs); at; at = apr_hash_next(at)) {
        ac_cosmos_run_t *run = apr_hash_this_val(at);
        if (run->until && now >= run->until) {
            ac_cosmos_run_drop(store, run->id);
        } else if (run->opened && now - run->looked >= store->lease / LOOKS) {
            run->looked = now;
            ac_cosmos_task_t *task = ac_cosmos_task_own(store, NULL, run->thread_id, cosmos_lease_look_at);
            apr_cpystrn(task->run_id, run->id, sizeof(task->run_id));
        }
    }
    if (sweep_due(store, now)) {
        ac_cosmos_task_own(store, NULL, NULL, sweep);
    }
    ac_cosmos_lease_start(store);
}

void ac_cosmos_lease_start(ac_cosmos_t *store)
{
    ac_timer_set(store->loop, &store->lease_timer, ac_clock() + store->lease / LOOKS, cosmos_lease_on_timer, store);
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

static void cosmos_lease_check_end(ac_cosmos_task_t *task)
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
    if (reply->status != 200) { /* somebody else was faster; look again */
        ac_cosmos_head_keep(task->store, task->op->id, NULL, NULL);
        ac_cosmos_head_read(task, false, check_again);
        return;
    }
    apr_cpystrn(task->head.etag, ac_cosmos_batch_etag(reply->body, 0), sizeof(task->head.etag));
    ac_cosmos_head_keep(task->store, task->op->id, task->head.doc, task->head.etag);
    cosmos_lease_check_end(task);
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

/* Its lease is over. While the service could not be reached from here its holder may not have reached it either: it is given another
 * lease's time. */
static bool is_over(const ac_cosmos_t *store, const json_t *doc)
{
    bool troubled = store->lost_at && ac_clock() - store->lost_at < store->lease / 2;

    return ac_cosmos_past(doc, "lease_until", ac_cosmos_now(store) - (troubled ? store->lease : 0));
}

static const char *cause_text(const ac_cosmos_task_t *task)
{
    const char *holder = ac_json_peek_string(json_object_get(task->head.doc, "active_run"), "holder", "");

    if (strcmp(holder, task->store->holder) == 0) {
        return "Cosmos DB stored the message but did not confirm it in time, so the run was refused";
    }
    return known_dead(task) ? "the server process that ran it ended before it did"
                            : "the server that ran it was not heard of for too long";
}

/* Closes the run, which may have no document any more, in its thread's head. */
static void interrupt(ac_cosmos_task_t *task, const json_t *run, const char *run_etag)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .place = AC_COSMOS_MESSAGES, .key = task->op->id};
    json_t *ended = ac_record_is_active(run) ? json_copy((json_t *)run) : NULL;
    ac_cosmos_batch_t batch;
    ac_err_t cause;

    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "%s", cause_text(task));
    ac_json_put(task->head.doc, "active_run", json_null());
    ac_cosmos_batch_init(&batch);
    ac_cosmos_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->head.doc, task->head.etag);
    if (ended) {
        ac_cosmos_lease_clear(ended);
        ac_json_put(ended, "status", json_string("interrupted"));
        ac_json_put(ended, "error", ac_record_error(&cause));
        ac_json_put(ended, "completed_at", ac_json_time(ac_cosmos_now(task->store)));
        ac_cosmos_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, ac_json_peek_string(run, "id", ""), ended,
                            run_etag);
    }
    ac_cosmos_batch_end(&batch);
    ac_cosmos_write_batch(task, &request, &batch, on_interrupted);
    json_decref(ended);
}

static void cosmos_lease_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *run = reply->status == 200 ? reply->body : NULL;
    bool dead = known_dead(task);

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (run && ac_record_is_active(run) && !dead && !is_over(task->store, run)) {
        cosmos_lease_check_end(task); /* it was renewed */
        return;
    }
    interrupt(task, run, ac_cosmos_reply_etag(reply));
}

void ac_cosmos_run_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_t *store = task->store;
    const json_t *active = json_object_get(task->head.doc, "active_run");
    const char *run_id = ac_cosmos_head_run(&task->head);
    bool ours = strcmp(ac_json_peek_string(active, "holder", ""), store->holder) == 0;
    bool waits = ac_cosmos_head_waits(&task->head, NULL);
    bool lives = waits || (!known_dead(task) && (ours || !is_over(store, active)));
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = run_id};

    task->after_check = fn;
    if (!*run_id || lives) {
        cosmos_lease_check_end(task);
    } else {
        ac_cosmos_call(task, &request, cosmos_lease_on_run, task);
    }
}
