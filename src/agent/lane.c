/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask a model now, who waits in line for it, and who is turned away. A run keeps its slot until it ends, so that those
 * that have begun are not held up by those that come later. */
#include "run.h"

static const ac_lane_conf_t open_way;           /* no breaker, no limit, no fallback */

ac_lane_t *ac_lane_of(ac_engine_t *engine, const ac_model_t *model)
{
    ac_lane_t *lane = apr_hash_get(engine->lanes, model->id, APR_HASH_KEY_STRING);
    if (lane) return lane;
    const apr_hash_t *confs = engine->registry->lanes;
    lane = apr_pcalloc(engine->pool, sizeof *lane);
    lane->loop = engine->loop;
    lane->model = model;
    lane->conf = confs ? apr_hash_get((apr_hash_t *)confs, model->id, APR_HASH_KEY_STRING) : NULL;
    if (!lane->conf) lane->conf = &open_way;
    ac_breaker_init(&lane->breaker, &lane->conf->breaker, model->id);
    apr_hash_set(engine->lanes, model->id, APR_HASH_KEY_STRING, lane);
    return lane;
}

void ac_lane_look(ac_engine_t *engine, const ac_model_t *model, ac_lane_state_t *state)
{
    static const char *const names[] = {
        [AC_BREAKER_OFF] = "off", [AC_BREAKER_CLOSED] = "closed", [AC_BREAKER_OPEN] = "open",
        [AC_BREAKER_HALF_OPEN] = "half-open",
    };
    const ac_lane_t *lane = ac_lane_of(engine, model);
    state->breaker = names[ac_breaker_look(&lane->breaker, ac_loop_now(engine->loop), &state->retry_after)];
    state->limited = lane->conf->max_runs > 0;
    state->n_runs = lane->n_runs;
    state->n_queued = lane->n_queued;
}

/* ---- the line ---- */

static void take_slot(ac_lane_t *lane, ac_run_t *run)
{
    lane->n_runs++;
    run->in_lane = true;
    run->lane_since = ac_loop_now(lane->loop);
}

static void stand_in_line(ac_lane_t *lane, ac_run_t *run)
{
    run->in_line = true;
    run->prev_in_line = lane->last;
    run->next_in_line = NULL;
    if (lane->last) lane->last->next_in_line = run;
    else lane->first = run;
    lane->last = run;
    lane->n_queued++;
}

static void leave_line(ac_lane_t *lane, ac_run_t *run)
{
    if (run->prev_in_line) run->prev_in_line->next_in_line = run->next_in_line;
    else lane->first = run->next_in_line;
    if (run->next_in_line) run->next_in_line->prev_in_line = run->prev_in_line;
    else lane->last = run->prev_in_line;
    run->next_in_line = run->prev_in_line = NULL;
    run->in_line = false;
    lane->n_queued--;
    ac_timer_cancel(lane->loop, &run->state_timer);
}

static void serve_line(ac_lane_t *lane)
{
    while (lane->first && lane->n_runs < lane->conf->max_runs) {
        ac_run_t *next = lane->first;
        leave_line(lane, next);
        take_slot(lane, next);
        ac_ready_set(lane->loop, &next->ready, ac_run_seek, next);
    }
}

/* When there may be room for one more, as far as the last runs tell. */
static apr_interval_time_t guess_wait(const ac_lane_t *lane)
{
    apr_interval_time_t wait = lane->hold / lane->conf->max_runs * (lane->n_queued + 1);
    if (wait < apr_time_from_sec(1)) return apr_time_from_sec(1);
    return wait < apr_time_from_sec(60) ? wait : apr_time_from_sec(60);
}

static void turn_away(const ac_lane_t *lane, ac_err_t *err, const char *why)
{
    ac_err_set(err, AC_OVERLOADED, "the model has as many runs as it may have in this server process (%d), and %s",
               lane->conf->max_runs, why);
    err->retry_after = guess_wait(lane);
}

static void on_wait_over(void *baton)
{
    ac_run_t *run = baton;
    ac_err_t err;
    ac_err_init(&err);
    turn_away(run->lane, &err, "none of them ended in time");
    leave_line(run->lane, run);
    ac_run_waited(run, &err);
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
    if (!run->in_lane && conf->max_runs && lane->n_runs >= conf->max_runs && !begun) {
        if (lane->n_queued >= conf->max_queued || conf->wait == 0) {
            turn_away(lane, err, conf->max_queued && conf->wait ? "as many wait as may" : "none may wait");
            return AC_WAY_SHUT;
        }
        stand_in_line(lane, run);
        ac_timer_set(lane->loop, &run->state_timer, now + conf->wait, on_wait_over, run);
        return AC_WAY_LINE;
    }
    if (!run->in_lane) take_slot(lane, run);
    run->ticket = ac_breaker_begin(&lane->breaker, now);
    return AC_WAY_FREE;
}

void ac_lane_leave(ac_run_t *run)
{
    ac_lane_t *lane = run->lane;
    if (!lane) return;
    if (run->in_line) leave_line(lane, run);
    if (!run->in_lane) return;
    apr_interval_time_t held = ac_loop_now(lane->loop) - run->lane_since;
    lane->hold = lane->hold ? (7 * lane->hold + held) / 8 : held;
    run->in_lane = false;
    lane->n_runs--;
    serve_line(lane);
}
