/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask a model now, who waits in line for it, and who is turned away. A run keeps its slot until it ends, so that those
 * that have begun are not held up by those that come later. */
#include "agent/run/run.h"

static const ac_gate_conf_t open_way; /* no breaker, no limit, no fallback */

ac_gate_t *ac_gate_get(ac_engine_t *engine, const ac_model_t *model)
{
    ac_gate_t *gate = apr_hash_get(engine->gates, model->id, APR_HASH_KEY_STRING);
    if (gate) {
        return gate;
    }
    const apr_hash_t *confs = engine->registry->gates;
    gate = apr_pcalloc(engine->pool, sizeof *gate);
    gate->loop = engine->loop;
    gate->model = model;
    gate->conf = confs ? apr_hash_get((apr_hash_t *)confs, model->id, APR_HASH_KEY_STRING) : NULL;
    if (!gate->conf) {
        gate->conf = &open_way;
    }
    ac_run_queue_init(&gate->queue, engine->pool);
    ac_breaker_init(&gate->breaker, &gate->conf->breaker, model->id);
    apr_hash_set(engine->gates, model->id, APR_HASH_KEY_STRING, gate);
    return gate;
}

void ac_gate_state(ac_engine_t *engine, const ac_model_t *model, ac_gate_state_t *state)
{
    static const char *const names[] = {
        [AC_BREAKER_OFF] = "off",
        [AC_BREAKER_CLOSED] = "closed",
        [AC_BREAKER_OPEN] = "open",
        [AC_BREAKER_HALF_OPEN] = "half-open",
    };
    const ac_gate_t *gate = ac_gate_get(engine, model);
    state->breaker = names[ac_breaker_state(&gate->breaker, ac_loop_now(engine->loop), &state->retry_after)];
    state->limited = gate->conf->max_runs > 0;
    state->n_runs = gate->queue.n_slots;
    state->n_queued = gate->queue.n_waiting;
}

/* ---- the line ---- */

static void lane_take_slot(ac_gate_t *gate, ac_run_t *run)
{
    ac_run_queue_acquire(&gate->queue, &run->lane_place, run);
    run->lane_since = ac_loop_now(gate->loop);
}

static void lane_serve_line(ac_gate_t *gate)
{
    ac_run_t *next;
    while (gate->queue.n_slots < gate->conf->max_runs && (next = ac_run_queue_next(&gate->queue))) {
        ac_timer_cancel(gate->loop, &next->state_timer);
        lane_take_slot(gate, next);
        ac_ready_set(gate->loop, &next->ready, ac_run_ask_try, next);
    }
}

/* When there may be room for one more, as far as the last runs tell. */
static apr_interval_time_t guess_wait(const ac_gate_t *gate)
{
    apr_interval_time_t wait = gate->hold / gate->conf->max_runs * (gate->queue.n_waiting + 1);
    if (wait < apr_time_from_sec(1)) {
        return apr_time_from_sec(1);
    }
    return wait < apr_time_from_sec(60) ? wait : apr_time_from_sec(60);
}

static void lane_turn_away(const ac_gate_t *gate, ac_err_t *err, const char *why)
{
    ac_err_set(err, AC_OVERLOADED, "the model has as many runs as it may have in this server process (%d), and %s",
               gate->conf->max_runs, why);
    err->retry_after = guess_wait(gate);
}

/* Out of the queue, without a slot. */
static void end_wait(ac_run_t *run, const char *why)
{
    ac_err_t err;
    ac_err_init(&err);
    lane_turn_away(run->gate, &err, why);
    ac_timer_cancel(run->gate->loop, &run->state_timer);
    ac_run_queue_leave(&run->gate->queue, &run->lane_place);
    ac_run_ask_rejected(run, &err);
}

static void on_wait_over(void *baton)
{
    end_wait(baton, "none of them ended in time");
}

/* false: err is set. A full queue is shared anew with an owner who has less of it. */
static bool stand_in_line(ac_gate_t *gate, ac_run_t *run, ac_err_t *err)
{
    const ac_gate_conf_t *conf = gate->conf;
    bool full = gate->queue.n_waiting >= conf->max_queued;
    ac_run_t *other = full ? ac_run_queue_displaced(&gate->queue, run) : NULL;
    if ((full && !other) || conf->wait == 0) {
        lane_turn_away(gate, err, conf->max_queued && conf->wait ? "as many wait as may" : "none may wait");
        return false;
    }
    ac_run_queue_push(&gate->queue, &run->lane_place, run);
    ac_timer_set(gate->loop, &run->state_timer, ac_loop_now(gate->loop) + conf->wait, on_wait_over, run);
    if (other) {
        end_wait(other, "as many wait as may, most of them of one owner");
    }
    return true;
}

/* ---- entering and leaving ---- */

ac_gate_e ac_gate_enter(ac_run_t *run, bool begun, ac_err_t *err)
{
    ac_gate_t *gate = run->gate;
    const ac_gate_conf_t *conf = gate->conf;
    apr_time_t now = ac_loop_now(gate->loop);
    apr_interval_time_t wait;
    if (!ac_breaker_allows(&gate->breaker, now, &wait) && !(begun && !conf->fallback)) {
        ac_err_set(err, AC_MODEL_ERROR, "the model has failed too often and is left alone for now");
        err->retry_after = wait;
        return AC_GATE_REJECTED;
    }
    if (!run->lane_place.holds && conf->max_runs && gate->queue.n_slots >= conf->max_runs && !begun) {
        return stand_in_line(gate, run, err) ? AC_GATE_QUEUED : AC_GATE_REJECTED;
    }
    if (!run->lane_place.holds) {
        lane_take_slot(gate, run);
    }
    run->ticket = ac_breaker_begin(&gate->breaker, now);
    return AC_GATE_ADMITTED;
}

void ac_gate_leave(ac_run_t *run)
{
    ac_gate_t *gate = run->gate;
    if (!gate) {
        return;
    }
    if (run->lane_place.waits) {
        ac_timer_cancel(gate->loop, &run->state_timer);
    }
    if (!run->lane_place.holds) {
        ac_run_queue_leave(&gate->queue, &run->lane_place);
        return;
    }
    apr_interval_time_t held = ac_loop_now(gate->loop) - run->lane_since;
    gate->hold = gate->hold ? (7 * gate->hold + held) / 8 : held;
    ac_run_queue_leave(&gate->queue, &run->lane_place);
    lane_serve_line(gate);
}
