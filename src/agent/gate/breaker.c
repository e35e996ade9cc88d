/* SPDX-License-Identifier: Apache-2.0 */
/* A model's circuit breaker. A model that fails most of its calls is not called for a while; then one run at a time
 * probes whether it answers again. */
#include "gate_internal.h"

#include <string.h>

#define OPEN_MAX apr_time_from_sec(300) /* the longest open time, unless `open` itself is longer */

void ac_breaker_init(ac_breaker_t *breaker, const ac_breaker_conf_t *conf, const char *name)
{
    memset(breaker, 0, sizeof *breaker);
    breaker->conf = conf;
    breaker->name = name;
    breaker->state = conf->off || conf->failures == 0 ? AC_BREAKER_OFF : AC_BREAKER_CLOSED;
}

/* ---- the window ---- */

/* Drops the parts that have left the window. */
static void slide(ac_breaker_t *breaker, apr_time_t now)
{
    int64_t part = now / (breaker->conf->window / AC_BREAKER_PARTS);
    int64_t n = part - breaker->part;
    if (n > AC_BREAKER_PARTS || n < 0) {
        n = AC_BREAKER_PARTS;
    }
    for (int64_t i = 0; i < n; i++) {
        memset(&breaker->parts[(part - i) % AC_BREAKER_PARTS], 0, sizeof breaker->parts[0]);
    }
    breaker->part = part;
}

static void count(ac_breaker_t *breaker, bool failed, apr_time_t now)
{
    slide(breaker, now);
    breaker->parts[breaker->part % AC_BREAKER_PARTS].calls++;
    breaker->parts[breaker->part % AC_BREAKER_PARTS].failures += failed;
}

static void sum(const ac_breaker_t *breaker, int64_t *pcalls, int64_t *pfailures)
{
    *pcalls = *pfailures = 0;
    for (int i = 0; i < AC_BREAKER_PARTS; i++) {
        *pcalls += breaker->parts[i].calls;
        *pfailures += breaker->parts[i].failures;
    }
}

/* ---- opening and closing ---- */

/* Doubles with each time in succession, with a random part: children and machines that saw the same outage at the
 * same time should not probe at the same time. */
static apr_interval_time_t open_time(const ac_breaker_t *breaker)
{
    apr_interval_time_t base = breaker->conf->open, most = base > OPEN_MAX ? base : OPEN_MAX, time = base;
    for (int i = 1; i < breaker->n_opened && time < most; i++) {
        time *= 2;
    }
    if (time > most) {
        time = most;
    }
    return time - time / 5 + (apr_interval_time_t)(ac_random() % (uint64_t)(2 * (time / 5) + 1));
}

static void set_state(ac_breaker_t *breaker, ac_breaker_state_e state)
{
    ac_metrics_gauge_add(AC_METRIC_BREAKERS, AC_LABELS(breaker->metric, breaker->state), -1);
    ac_metrics_gauge_add(AC_METRIC_BREAKERS, AC_LABELS(breaker->metric, state), 1);
    breaker->state = state;
}

static void open_now(ac_breaker_t *breaker, apr_time_t now)
{
    set_state(breaker, AC_BREAKER_OPEN);
    ac_metrics_add(AC_METRIC_BREAKER_OPENED, AC_LABELS(breaker->metric), 1);
    breaker->epoch++;
    breaker->n_opened++;
    breaker->reopens = now + open_time(breaker);
}

static void open_first(ac_breaker_t *breaker, apr_time_t now)
{
    char time[AC_TIME_SIZE];
    int64_t calls, failures;
    sum(breaker, &calls, &failures);
    /* Opening again right after closing continues the succession. */
    if (breaker->closed && now - breaker->closed > breaker->conf->window) {
        breaker->n_opened = 0;
    }
    breaker->opened = now;
    open_now(breaker, now);
    ac_time_format_duration(time, apr_time_from_msec(apr_time_as_msec(breaker->reopens - now)));
    ac_log_about(AC_M540, (&(ac_log_fields_t){.model = breaker->name}), APR_SUCCESS,
                 "model[%s]: %" APR_INT64_T_FMT " of its last %" APR_INT64_T_FMT " calls failed; it is not "
                 "asked for %s, then by one run at a time until it answers",
                 breaker->name, failures, calls, time);
}

static void breaker_close_again(ac_breaker_t *breaker, apr_time_t now)
{
    char time[AC_TIME_SIZE];
    ac_time_format_duration(time, apr_time_from_msec(apr_time_as_msec(now - breaker->opened)));
    set_state(breaker, AC_BREAKER_CLOSED);
    breaker->epoch++;
    breaker->closed = now;
    memset(breaker->parts, 0, sizeof breaker->parts);
    ac_log_about(AC_M541, (&(ac_log_fields_t){.model = breaker->name}), APR_SUCCESS,
                 "model[%s]: answers again after %s; it is asked as before", breaker->name, time);
}

/* ---- calls ---- */

ac_breaker_state_e ac_breaker_state(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait)
{
    apr_interval_time_t wait = 0;
    ac_breaker_state_e state = breaker->state;
    if (state == AC_BREAKER_OPEN && now >= breaker->reopens) {
        state = AC_BREAKER_HALF_OPEN;
    } else if (state == AC_BREAKER_OPEN) {
        wait = breaker->reopens - now;
    } else if (state == AC_BREAKER_HALF_OPEN) {
        wait = apr_time_from_sec(1); /* the probe's end is not known */
    }
    if (pwait) {
        *pwait = wait;
    }
    return state;
}

bool ac_breaker_allows(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait)
{
    apr_interval_time_t wait;
    ac_breaker_state(breaker, now, &wait);
    if (pwait) {
        *pwait = wait;
    }
    return wait == 0;
}

ac_breaker_ticket_t ac_breaker_begin(ac_breaker_t *breaker, apr_time_t now)
{
    ac_breaker_ticket_t ticket = {breaker->epoch, false};
    if (breaker->state == AC_BREAKER_OPEN && now >= breaker->reopens) {
        set_state(breaker, AC_BREAKER_HALF_OPEN);
        ticket.probe = true;
        ac_debug("model[%s]: one run tries whether it answers again", breaker->name);
    }
    return ticket;
}

void ac_breaker_answered(ac_breaker_t *breaker, ac_breaker_ticket_t *ticket, apr_time_t now)
{
    if (breaker->state <= AC_BREAKER_CLOSED || ticket->epoch != breaker->epoch) {
        return;
    }
    breaker_close_again(breaker, now);
    ticket->epoch = breaker->epoch; /* its end counts in the new window */
    ticket->probe = false;
}

void ac_breaker_end(ac_breaker_t *breaker, const ac_breaker_ticket_t *ticket, ac_breaker_result_e outcome,
                    apr_time_t now)
{
    int64_t calls, failures;
    if (breaker->state == AC_BREAKER_OFF || ticket->epoch != breaker->epoch) {
        return;
    }
    if (breaker->state != AC_BREAKER_CLOSED) {
        if (outcome == AC_BREAKER_RESULT_OK) {
            breaker_close_again(breaker, now);
        } else if (ticket->probe && outcome == AC_BREAKER_RESULT_FAILED) {
            ac_debug("model[%s]: the run that tried it failed", breaker->name);
            open_now(breaker, now);
        } else if (ticket->probe) {
            set_state(breaker, AC_BREAKER_OPEN); /* the open time is over, so the next run is the probe */
        }
        return;
    }
    if (outcome == AC_BREAKER_RESULT_UNKNOWN) {
        return;
    }
    count(breaker, outcome == AC_BREAKER_RESULT_FAILED, now);
    sum(breaker, &calls, &failures);
    if (outcome == AC_BREAKER_RESULT_FAILED && calls >= breaker->conf->calls &&
        failures * 100 >= calls * breaker->conf->failures) {
        open_first(breaker, now);
    }
}

ac_breaker_result_e ac_breaker_result(const ac_err_t *err)
{
    switch (err->kind) {
    case AC_MODEL_ERROR:
    case AC_MODEL_TIMEOUT:
    case AC_MODEL_THROTTLED:
    case AC_UPSTREAM_ERROR:
    case AC_UPSTREAM_TIMEOUT: return AC_BREAKER_RESULT_FAILED;
    default: return AC_BREAKER_RESULT_OK;
    }
}
