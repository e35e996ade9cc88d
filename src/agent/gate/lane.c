/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask a model now, who waits in line for it, and who is turned away. A run keeps its slot until it ends, so that those
 * that have begun are not held up by those that come later. */
#include "agent/run/run.h"

static const ac_lane_conf_t open_way; /* no breaker, no limit, no fallback */

ac_lane_t *ac_lane_of(ac_engine_t *engine, const ac_model_t *model)
{
    ac_lane_t *lane = apr_hash_get(engine->lanes, model->id, APR_HASH_KEY_STRING);
    if (lane) {
        return lane;
    }
    const apr_hash_t *confs = engine->registry->lanes;
    lane = apr_pcalloc(engine->pool, sizeof *lane);
    lane->loop = engine->loop;
    lane->model = model;
    lane->conf = confs ? apr_hash_get((apr_hash_t *)confs, model->id, APR_HASH_KEY_STRING) : NULL;
    if (!lane->conf) {
        lane->conf = &open_way;
    }
    ac_run_queue_init(&lane->queue, engine->pool);
    ac_breaker_init(&lane->breaker, &lane->conf->breaker, model->id);
    apr_hash_set(engine->lanes, model->id, APR_HASH_KEY_STRING, lane);
    return lane;
}

void ac_lane_look(ac_engine_t *engine, const ac_model_t *model, ac_lane_state_t *state)
{
    static const char *const names[] = {
        [AC_BREAKER_OFF] = "off",
        [AC_BREAKER_CLOSED] = "closed",
        [AC_BREAKER_OPEN] = "open",
        [AC_BREAKER_HALF_OPEN] = "half-open",
    };
    const ac_lane_t *lane = ac_lane_of(engine, model);
    state->breaker = names[ac_breaker_look(&lane->breaker, ac_loop_now(engine->loop), &state->retry_after)];
    state->limited = lane->conf->max_runs > 0;
    state->n_runs = lane->queue.n_slots;
    state->n_queued = lane->queue.n_waiting;
}

/* ---- the line ---- */

static void lane_take_slot(ac_lane_t *lane, ac_run_t *run)
{
    ac_run_queue_take(&lane->queue, &run->lane_place, run);
    run->lane_since = ac_loop_now(lane->loop);
}

static void lane_serve_line(ac_lane_t *lane)
{
    ac_run_t *next;
    while (lane->queue.n_slots < lane->conf->max_runs && (next = ac_run_queue_next(&lane->queue))) {
        ac_timer_cancel(lane->loop, &next->state_timer);
        lane_take_slot(lane, next);
        ac_ready_set(lane->loop, &next->ready, ac_run_seek, next);
    }
}

/* When there may be room for one more, as far as the last runs tell. */
static apr_interval_time_t guess_wait(const ac_lane_t *lane)
{
    apr_interval_time_t wait = lane->hold / lane->conf->max_runs * (lane->queue.n_waiting + 1);
    if (wait < apr_time_from_sec(1)) {
        return apr_time_from_sec(1);
    }
    return wait < apr_time_from_sec(60) ? wait : apr_time_from_sec(60);
}

static void lane_turn_away(const ac_lane_t *lane, ac_err_t *err, const char *why)
{
    ac_err_set(err, AC_OVERLOADED, "the model has as many runs as it may have in this server process (%d), and %s",
               lane->conf->max_runs, why);
    err->retry_after = guess_wait(lane);
}

/* Out of the queue, without a slot. */
static void end_wait(ac_run_t *run, const char *why)
{
    ac_err_t err;
    ac_err_init(&err);
    lane_turn_away(run->lane, &err, why);
    ac_timer_cancel(run->lane->loop, &run->state_timer);
    ac_run_queue_leave(&run->lane->queue, &run->lane_place);
    ac_run_waited(run, &err);
}

static void on_wait_over(void *baton)
{
    end_wait(baton, "none of them ended in time");
}

/* false: err is set. A full queue is shared anew with an owner who has less of it. */
static bool stand_in_line(ac_lane_t *lane, ac_run_t *run, ac_err_t *err)
{
    const ac_lane_conf_t *conf = lane->conf;
    bool full = lane->queue.n_waiting >= conf->max_queued;
    ac_run_t *other = full ? ac_run_queue_displaced(&lane->queue, run) : NULL;
    if ((full && !other) || conf->wait == 0) {
        lane_turn_away(lane, err, conf->max_queued && conf->wait ? "as many wait as may" : "none may wait");
        return false;
    }
    ac_run_queue_wait(&lane->queue, &run->lane_place, run);
    ac_timer_set(lane->loop, &run->state_timer, ac_loop_now(lane->loop) + conf->wait, on_wait_over, run);
    if (other) {
        end_wait(other, "as many wait as may, most of them of one owner");
    }
    return true;
}

/* ---- entering and leaving ---- */

ac_way_e ac_lane_enter(ac_run_t *run, bool begun, ac_err_t *err)
{
    ac_lane_t *lane = run->lane;
    const ac_lane_conf_t *conf = lane->conf;
    apr_time_t now = ac_loop_now(lane->loop);
    apr_interval_time_t wait;
    if (!ac_breaker_allows(&lane->breaker, now, &wait) && !(begun && !conf->fallback)) {
        ac_err_set(err, AC_MODEL_ERROR, "the model has failed too often and is left alone for now");
        err->retry_after = wait;
        return AC_WAY_SHUT;
    }
    if (!run->lane_place.holds && conf->max_runs && lane->queue.n_slots >= conf->max_runs && !begun) {
        return stand_in_line(lane, run, err) ? AC_WAY_LINE : AC_WAY_SHUT;
    }
    if (!run->lane_place.holds) {
        lane_take_slot(lane, run);
    }
    run->ticket = ac_breaker_begin(&lane->breaker, now);
    return AC_WAY_FREE;
}

void ac_lane_leave(ac_run_t *run)
{
    ac_lane_t *lane = run->lane;
    if (!lane) {
        return;
    }
    if (run->lane_place.waits) {
        ac_timer_cancel(lane->loop, &run->state_timer);
    }
    if (!run->lane_place.holds) {
        ac_run_queue_leave(&lane->queue, &run->lane_place);
        return;
    }
    apr_interval_time_t held = ac_loop_now(lane->loop) - run->lane_since;
    lane->hold = lane->hold ? (7 * lane->hold + held) / 8 : held;
    ac_run_queue_leave(&lane->queue, &run->lane_place);
    lane_serve_line(lane);
}
