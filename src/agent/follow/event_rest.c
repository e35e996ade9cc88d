/* SPDX-License-Identifier: Apache-2.0 */
/* Logs of this child that rest, while their runs wait for their owner's word. Another machine may go on with such a run and end it, of
 * which nobody tells us; so the store is asked now and then, and the log of a run that has ended is kept for its time and goes. */
#include "agent/run/run.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY apr_time_from_sec(60)
#define LOOK_MOST 32 /* that the store is asked about in one go */

typedef struct ac_suspended_log_t {
    char run_id[AC_ID_SIZE];
    ac_engine_t *engine;
    struct ac_suspended_log_t *next;
} ac_suspended_log_t;

static void event_rest_look(void *baton);

static void event_rest_set_timer(ac_engine_t *engine)
{
    apr_interval_time_t wait = LOOK_EVERY + (apr_interval_time_t)(ac_random() % (LOOK_EVERY / 4));
    if (!engine->first_rest || engine->rest_timer.slot || engine->stopping) {
        return;
    }
    ac_timer_set(engine->loop, &engine->rest_timer, ac_loop_now(engine->loop) + wait, event_rest_look, engine);
}

static void event_rest_append(ac_engine_t *engine, ac_suspended_log_t *rest)
{
    rest->next = NULL;
    *(engine->first_rest ? &engine->last_rest->next : &engine->first_rest) = rest;
    engine->last_rest = rest;
}

void ac_suspended_log_track(ac_engine_t *engine, const char *run_id)
{
    ac_suspended_log_t *rest = engine->first_rest;
    while (rest && strcmp(rest->run_id, run_id) != 0) {
        rest = rest->next;
    }
    if (rest) {
        return; /* it rests again since we last looked */
    }
    rest = ac_alloc(sizeof *rest);
    rest->engine = engine;
    apr_cpystrn(rest->run_id, run_id, sizeof rest->run_id);
    event_rest_append(engine, rest);
    event_rest_set_timer(engine);
}

void ac_suspended_log_drop_all(ac_engine_t *engine)
{
    ac_timer_cancel(engine->loop, &engine->rest_timer);
    while (engine->first_rest) {
        ac_suspended_log_t *rest = engine->first_rest;
        engine->first_rest = rest->next;
        free(rest);
    }
}

/* Its log, if it still rests here; to be written where `take`. */
static ac_event_log_t *event_rest_find(const ac_suspended_log_t *rest, bool take)
{
    ac_event_dir_t *dir = rest->engine->dir;
    ac_child_key_t here = ac_event_dir_key(dir);
    ac_event_log_t *log = take ? ac_event_log_adopt(dir, here, rest->run_id) : ac_event_log_find(dir, rest->run_id);
    if (log && ac_event_log_child(log) == here && ac_event_log_is_suspended(log) && !ac_event_log_ended(log)) {
        return log;
    }
    ac_event_log_close(log);
    return NULL;
}

/* Who follows is told the rest by the store, as where a log broke off. */
static void event_rest_end(const ac_suspended_log_t *rest)
{
    ac_event_log_t *log = event_rest_find(rest, true);
    if (!log) {
        return;
    }
    ac_event_log_end(log);
    ac_event_watcher_notify(log, rest->engine->dir);
    ac_ended_log_keep(rest->engine, log);
    ac_tail_wake(rest->engine, rest->run_id);
}

static void event_rest_on_run(ac_store_op_t *op)
{
    ac_suspended_log_t *rest = op->baton;
    ac_engine_t *engine = rest->engine;
    bool over = op->status == APR_SUCCESS ? !ac_record_is_active(op->out) : op->err.kind == AC_NOT_FOUND;
    ac_store_op_free(op);
    if (over) {
        event_rest_end(rest);
        free(rest);
    } else {
        event_rest_append(engine, rest);
        event_rest_set_timer(engine);
    }
}

static void event_rest_look(void *baton)
{
    ac_engine_t *engine = baton;
    ac_suspended_log_t *rest, *past = engine->last_rest;
    for (int n = 0; n < LOOK_MOST && (rest = engine->first_rest) != NULL;) {
        engine->first_rest = rest->next;
        ac_event_log_t *log = event_rest_find(rest, false);
        bool last = rest == past;
        if (log) {
            ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_GET, ac_event_log_header(log)->owner, rest->run_id);
            if (!op) {
                abort();
            }
            op->deadline = ac_clock() + engine->conf.store_timeout;
            ac_store_call_post(engine->store, engine->loop, op, event_rest_on_run, rest);
            ac_event_log_close(log);
            n++;
        } else {
            free(rest); /* somebody has gone on with it */
        }
        if (last) {
            break;
        }
    }
    event_rest_set_timer(engine);
}
