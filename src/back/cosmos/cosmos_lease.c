/* SPDX-License-Identifier: Apache-2.0 */
/* The leases of the Cosmos DB store: a process owns its runs for the time of a lease, which it renews. At a timer it
 * looks at each of its runs: 1 read the run's document; another holder: the run is lost; a requested cancellation:
 * reported   2 renew the lease if a third of it is over. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_hash.h>
#include <apr_strings.h>

#define LOOKS 12                   /* checks of a run's document within one lease */
#define HOLD apr_time_from_sec(60) /* time for a caller to try again to close its run */

typedef struct lease_t { /* of a run of this process */
    char id[AC_ID_SIZE], thread_id[AC_ID_SIZE];
    apr_time_t renewed, looked; /* ac_clock */
    apr_time_t until;           /* ac_clock; this process owns the run until then; 0: no end */
    bool opened, cancelled;     /* the run is stored; its cancellation is reported */
    int n_claims;
} lease_t;

/* ---- the runs of this process ---- */

static lease_t *find(const ac_cosmos_t *store, const char *run_id)
{
    return store->leases.table ? apr_hash_get(store->leases.table, run_id, APR_HASH_KEY_STRING) : NULL;
}

bool ac_cosmos_lease_has(const ac_cosmos_t *store, const char *run_id)
{
    return find(store, run_id) != NULL;
}

void ac_cosmos_lease_acquire(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (!run) {
        run = ac_alloc(sizeof(*run));
        apr_cpystrn(run->id, run_id, sizeof(run->id));
        apr_cpystrn(run->thread_id, op->id, sizeof(run->thread_id));
        apr_hash_set(store->leases.table, run->id, APR_HASH_KEY_STRING, run);
    }
    run->renewed = run->looked = ac_clock();
    run->until = 0;
}

void ac_cosmos_lease_opened(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run) {
        run->opened = true;
    }
}

void ac_cosmos_lease_suspended(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run) {
        run->opened = false;
    }
}

void ac_cosmos_lease_failed(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run && run->opened) {
        run->until = ac_clock() + (store->conf.lease > HOLD ? store->conf.lease : HOLD);
    } else {
        ac_cosmos_lease_release(store, run_id);
    }
}

void ac_cosmos_lease_release(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run) {
        apr_hash_set(store->leases.table, run_id, APR_HASH_KEY_STRING, NULL);
        free(run);
    }
}

void ac_cosmos_lease_claim(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id)
{
    ac_cosmos_lease_acquire(store, op, run_id);
    find(store, run_id)->n_claims++;
}

void ac_cosmos_lease_unclaim(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run && --run->n_claims <= 0 && !run->opened) {
        ac_cosmos_lease_release(store, run_id);
    }
}

void ac_cosmos_lease_free_all(ac_cosmos_t *store)
{
    for (apr_hash_index_t *at = apr_hash_first(NULL, store->leases.table); at; at = apr_hash_next(at)) {
        free(apr_hash_this_val(at)); /* it contains the key, too: no look-up may follow */
    }
    store->leases.table = NULL;
}

json_t *ac_cosmos_lease_end(const ac_cosmos_t *store)
{
    return ac_time_json(ac_cosmos_now(store) + store->conf.lease);
}

json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id)
{
    return json_pack("{s:s, s:s, s:s, s:o}", "id", run_id, "holder", store->holder, "process", store->process,
                     "lease_until", ac_cosmos_lease_end(store));
}

/* Patches the run's own document, so that writers of the thread's document meet no conflict. */
void ac_cosmos_lease_patch(ac_cosmos_task_t *task, const char *holder, const char *member, json_t *value,
                           ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_PATCH,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};
    char condition[AC_ID_SIZE + 48], path[48];
    json_t *patch;
    snprintf(condition, sizeof(condition), "from c where c.holder = '%.*s'", AC_ID_SIZE - 1, holder);
    snprintf(path, sizeof(path), "/%s", member);
    patch = json_pack("{s:s, s:[{s:s, s:s, s:o}]}", "condition", condition, "operations", "op", "set", "path", path,
                      "value", value);
    ac_cosmos_call_write(task, &request, patch, fn);
    json_decref(patch);
}

static void report(const ac_cosmos_t *store, const char *run_id, ac_kind_e what)
{
    if (store->ac_host->run_notify) { /* NULL in a program without runs */
        store->ac_host->run_notify(run_id, what);
    }
}

/* Another machine considered this process dead and closed the run: results of this process do not count any more. */
static void lose(ac_cosmos_t *store, const char *run_id)
{
    lease_t *run = find(store, run_id);
    if (run && run->opened) {
        ac_cosmos_lease_release(store, run_id);
        report(store, run_id, AC_INTERRUPTED);
    }
}

static void on_renewed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    lease_t *run = find(task->store, task->run_id);
    if (run && reply->status == 200) {
        run->renewed = ac_clock();
    }
    if (reply->err.kind == AC_OK && (reply->status == 404 || reply->status == 412)) {
        lose(task->store, task->run_id);
    }
    ac_cosmos_task_end(task, APR_SUCCESS); /* after a failure the next look tries again */
}

static void on_looked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    lease_t *run = find(store, task->run_id);
    bool answered = reply->err.kind == AC_OK, due = run && ac_clock() - run->renewed >= store->conf.lease / 3;
    /* A replica that is behind may not have the run yet, but it never shows an ended run as an active one. */
    if (answered && reply->status == 200 &&
        strcmp(ac_json_peek_string(reply->body, "holder", ""), store->holder) != 0) {
        lose(store, task->run_id);
        due = false;
    } else if (answered && run && !run->cancelled && json_is_true(json_object_get(reply->body, "cancel_requested"))) {
        run->cancelled = true;
        report(store, task->run_id, AC_CANCELLED);
    }
    if (due) {
        ac_cosmos_lease_patch(task, store->holder, "lease_until", ac_cosmos_lease_end(store), on_renewed);
    } else {
        ac_cosmos_task_end(task, APR_SUCCESS);
    }
}

static void look_at(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->run_id};
    task->deadline = ac_clock() + task->store->conf.lease / 3;
    ac_cosmos_call_start(task, &request, on_looked, task);
}

static void look_soon(ac_cosmos_t *store, lease_t *run)
{
    run->looked = ac_clock();
    ac_cosmos_task_t *task = ac_cosmos_task_own(store, NULL, run->thread_id, look_at);
    apr_cpystrn(task->run_id, run->id, sizeof(task->run_id));
}

void ac_cosmos_lease_check(ac_cosmos_task_t *task)
{
    lease_t *run = find(task->store, task->op->id);

    if (run && run->opened) {
        look_soon(task->store, run);
    }
    task->op->out = json_object();
    ac_cosmos_task_end(task, APR_SUCCESS);
}

/* ---- the timer ---- */

static void on_timer(void *baton)
{
    ac_cosmos_t *store = baton;
    apr_time_t now = ac_clock();
    for (apr_hash_index_t *at = apr_hash_first(NULL, store->leases.table); at; at = apr_hash_next(at)) {
        lease_t *run = apr_hash_this_val(at);
        if (run->until && now >= run->until) {
            ac_cosmos_lease_release(store, run->id);
        } else if (run->opened && now - run->looked >= store->conf.lease / LOOKS) {
            look_soon(store, run);
        }
    }
    ac_cosmos_run_check_sweep(store);
    ac_cosmos_erasures_poll(store);
    ac_cosmos_lease_start(store);
}

void ac_cosmos_lease_start(ac_cosmos_t *store)
{
    ac_timer_set(store->loop, &store->leases.timer, ac_clock() + store->conf.lease / LOOKS, on_timer, store);
}

void ac_cosmos_lease_stop(ac_cosmos_t *store)
{
    ac_timer_cancel(store->loop, &store->leases.timer);
}
