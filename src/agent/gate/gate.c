/* SPDX-License-Identifier: Apache-2.0 */
/* Admits runs to a model: now, later from its queue, or not at all. A run keeps its slot until it ends, so a run
 * that has begun is not delayed by runs that come later. */
#include "gate_internal.h"

static const ac_gate_conf_t no_conf; /* no breaker, no limit, no fallback */

void ac_gate_init(ac_gates_t *gates, ac_loop_t *loop, const ac_registry_t *registry, apr_pool_t *pool)
{
    *gates = (ac_gates_t){.loop = loop, .registry = registry, .pool = pool, .table = apr_hash_make(pool)};
}

ac_gate_t *ac_gate_get(ac_gates_t *gates, const ac_model_t *model)
{
    ac_gate_t *gate = apr_hash_get(gates->table, model->id, APR_HASH_KEY_STRING);
    if (gate) {
        return gate;
    }
    const apr_hash_t *confs = gates->registry->gates;
    gate = apr_pcalloc(gates->pool, sizeof *gate);
    gate->loop = gates->loop;
    gate->model = model;
    gate->conf = confs ? apr_hash_get((apr_hash_t *)confs, model->id, APR_HASH_KEY_STRING) : NULL;
    if (!gate->conf) {
        gate->conf = &no_conf;
    }
    ac_run_queue_init(&gate->queue, gates->pool);
    ac_breaker_init(&gate->breaker, &gate->conf->breaker, model->id);
    gate->breaker.metric = model->conf ? model->conf->metric : AC_METRIC_OTHER;
    ac_metrics_gauge_add(AC_METRIC_BREAKERS, AC_LABELS(gate->breaker.metric, gate->breaker.state), 1);
    apr_hash_set(gates->table, model->id, APR_HASH_KEY_STRING, gate);
    return gate;
}

void ac_gate_state(const ac_gate_t *gate, ac_gate_state_t *state)
{
    static const char *const names[] = {
        [AC_BREAKER_OFF] = "off",
        [AC_BREAKER_CLOSED] = "closed",
        [AC_BREAKER_OPEN] = "open",
        [AC_BREAKER_HALF_OPEN] = "half-open",
    };
    state->breaker = names[ac_breaker_state(&gate->breaker, ac_loop_now(gate->loop), &state->retry_after)];
    state->limited = gate->conf->max_runs > 0;
    state->n_runs = gate->queue.n_slots;
    state->n_queued = gate->queue.n_queued;
}

void ac_gate_entry_init(ac_gate_entry_t *entry, const char *owner, void *baton)
{
    entry->slot.owner = owner;
    entry->slot.baton = entry;
    entry->baton = baton;
}

/* ---- the queue ---- */

static void count_queue(const ac_gate_t *gate)
{
    ac_metrics_gauge_set(AC_METRIC_MODEL_QUEUED, AC_LABELS(gate->breaker.metric), gate->queue.n_queued);
}

static void gate_acquire(ac_gate_t *gate, ac_gate_entry_t *entry)
{
    ac_run_queue_acquire(&gate->queue, &entry->slot);
    entry->since = ac_loop_now(gate->loop);
}

static void gate_serve_queue(ac_gate_t *gate)
{
    ac_queue_entry_t *next;
    while (gate->queue.n_slots < gate->conf->max_runs && (next = ac_run_queue_next(&gate->queue))) {
        ac_gate_entry_t *entry = next->baton;
        ac_timer_cancel(gate->loop, &entry->timer);
        gate_acquire(gate, entry);
        entry->on_admitted(entry->baton);
    }
    count_queue(gate);
}

/* When there may be room for one more run, judged by the last ones. */
static apr_interval_time_t guess_wait(const ac_gate_t *gate)
{
    apr_interval_time_t wait = gate->hold / gate->conf->max_runs * (gate->queue.n_queued + 1);
    if (wait < apr_time_from_sec(1)) {
        return apr_time_from_sec(1);
    }
    return wait < apr_time_from_sec(60) ? wait : apr_time_from_sec(60);
}

static void gate_reject(const ac_gate_t *gate, ac_err_t *err, const char *why)
{
    ac_err_set(err, AC_OVERLOADED, "the model has as many runs as it may have in this server process (%d), and %s",
               gate->conf->max_runs, why);
    err->retry_after = guess_wait(gate);
}

/* Ends an entry's wait without a slot. */
static void end_wait(ac_gate_entry_t *entry, const char *why)
{
    ac_gate_t *gate = entry->gate;
    ac_err_t err;
    ac_err_init(&err);
    gate_reject(gate, &err, why);
    ac_timer_cancel(gate->loop, &entry->timer);
    ac_run_queue_leave(&gate->queue, &entry->slot);
    count_queue(gate);
    entry->on_rejected(entry->baton, &err);
}

static void on_wait_over(void *baton)
{
    end_wait(baton, "none of them ended in time");
}

/* false: err is set. A full queue makes room for an owner with fewer entries. */
static bool enqueue(ac_gate_t *gate, ac_gate_entry_t *entry, ac_err_t *err)
{
    const ac_gate_conf_t *conf = gate->conf;
    bool full = gate->queue.n_queued >= conf->max_queued;
    ac_queue_entry_t *other = full ? ac_run_queue_displaced(&gate->queue, &entry->slot) : NULL;
    if ((full && !other) || conf->wait == 0) {
        gate_reject(gate, err, conf->max_queued && conf->wait ? "as many wait as may" : "none may wait");
        return false;
    }
    ac_run_queue_push(&gate->queue, &entry->slot);
    count_queue(gate);
    ac_timer_set(gate->loop, &entry->timer, ac_loop_now(gate->loop) + conf->wait, on_wait_over, entry);
    if (other) {
        end_wait(other->baton, "as many wait as may, most of them of one owner");
    }
    return true;
}

/* ---- entering and leaving ---- */

static bool is_full(const ac_gate_t *gate)
{
    return gate->conf->max_runs && gate->queue.n_slots >= gate->conf->max_runs;
}

/* Takes the slot of an entry that makes way, if there is one. */
static void free_spare(ac_gate_t *gate)
{
    ac_err_t err;
    ac_err_init(&err);
    if (is_full(gate) && gate->spares) {
        gate_reject(gate, &err, "a run needs the slot");
        gate->spares->on_rejected(gate->spares->baton, &err);
    }
}

static void leave_spares(ac_gate_t *gate, const ac_gate_entry_t *entry)
{
    ac_gate_entry_t **at = &gate->spares;
    while (*at && *at != entry) {
        at = &(*at)->next_spare;
    }
    if (*at) {
        *at = entry->next_spare;
    }
}

ac_gate_e ac_gate_enter(ac_gate_entry_t *entry, bool begun, ac_err_t *err)
{
    ac_gate_t *gate = entry->gate;
    const ac_gate_conf_t *conf = gate->conf;
    apr_time_t now = ac_loop_now(gate->loop);
    apr_interval_time_t wait;
    if (!ac_breaker_allows(&gate->breaker, now, &wait) && !(begun && !conf->fallback)) {
        ac_err_set(err, AC_MODEL_ERROR, "the model has failed too often, and its circuit breaker is open");
        err->retry_after = wait;
        return AC_GATE_REJECTED;
    }
    if (!entry->slot.has_slot && !begun) {
        free_spare(gate);
    }
    if (!entry->slot.has_slot && is_full(gate) && !begun) {
        return enqueue(gate, entry, err) ? AC_GATE_QUEUED : AC_GATE_REJECTED;
    }
    if (!entry->slot.has_slot) {
        gate_acquire(gate, entry);
    }
    entry->ticket = ac_breaker_begin(&gate->breaker, now);
    return AC_GATE_ADMITTED;
}

ac_gate_e ac_gate_enter_spare(ac_gate_entry_t *entry, ac_err_t *err)
{
    ac_gate_t *gate = entry->gate;
    if (is_full(gate)) {
        gate_reject(gate, err, "a call that can be left out does not wait");
        return AC_GATE_REJECTED;
    }
    ac_gate_e way = ac_gate_enter(entry, false, err);
    if (way == AC_GATE_ADMITTED) {
        entry->next_spare = gate->spares;
        gate->spares = entry;
    }
    return way;
}

void ac_gate_leave(ac_gate_entry_t *entry)
{
    ac_gate_t *gate = entry->gate;
    if (!gate) {
        return;
    }
    leave_spares(gate, entry);
    ac_timer_cancel(gate->loop, &entry->timer);
    if (!entry->slot.has_slot) {
        ac_run_queue_leave(&gate->queue, &entry->slot);
        count_queue(gate);
        return;
    }
    apr_interval_time_t held = ac_loop_now(gate->loop) - entry->since;
    gate->hold = gate->hold ? (7 * gate->hold + held) / 8 : held;
    ac_run_queue_leave(&gate->queue, &entry->slot);
    gate_serve_queue(gate);
}
