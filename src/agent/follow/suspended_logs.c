/* SPDX-License-Identifier: Apache-2.0 */
/* The suspended logs of this child, whose runs await approval. Another machine may resume such a run and end it
 * without notifying this child. So the store is asked now and then, and the log of an ended run becomes an ended
 * log. */
#include "follow_internal.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY apr_time_from_sec(60)
#define LOOK_MAX 32 /* runs that one look asks the store about */

typedef struct ac_suspended_log_t {
    char run_id[AC_ID_SIZE];
    ac_engine_t *engine;
    struct ac_suspended_log_t *next;
} ac_suspended_log_t;

static void suspended_logs_look(void *baton);

static void suspended_logs_set_timer(ac_engine_t *engine)
{
    apr_interval_time_t wait = LOOK_EVERY + (apr_interval_time_t)(ac_random() % (LOOK_EVERY / 4));
    if (!engine->follow->suspended.first || engine->follow->suspended.timer.slot || engine->stop.stopping) {
        return;
    }
    ac_timer_set(engine->loop, &engine->follow->suspended.timer, ac_loop_now(engine->loop) + wait, suspended_logs_look,
                 engine);
}

static void suspended_logs_append(ac_engine_t *engine, ac_suspended_log_t *entry)
{
    entry->next = NULL;
    *(engine->follow->suspended.first ? &engine->follow->suspended.last->next : &engine->follow->suspended.first) =
        entry;
    engine->follow->suspended.last = entry;
}

void ac_suspended_log_track(ac_engine_t *engine, const char *run_id)
{
    ac_suspended_log_t *entry = engine->follow->suspended.first;
    while (entry && strcmp(entry->run_id, run_id) != 0) {
        entry = entry->next;
    }
    if (entry) {
        return; /* suspended again since the last look */
    }
    entry = ac_alloc(sizeof *entry);
    entry->engine = engine;
    apr_cpystrn(entry->run_id, run_id, sizeof entry->run_id);
    suspended_logs_append(engine, entry);
    suspended_logs_set_timer(engine);
}

void ac_suspended_log_forget_all(ac_engine_t *engine)
{
    ac_timer_cancel(engine->loop, &engine->follow->suspended.timer);
    while (engine->follow->suspended.first) {
        ac_suspended_log_t *entry = engine->follow->suspended.first;
        engine->follow->suspended.first = entry->next;
        free(entry);
    }
}

/* The log, if it is still suspended here; else NULL. */
static ac_event_log_t *suspended_logs_find(const ac_suspended_log_t *entry, bool to_write)
{
    ac_event_dir_t *dir = entry->engine->dir;
    ac_child_key_t here = ac_event_dir_key(dir);
    ac_event_log_t *log = to_write ? ac_event_log_adopt(dir, here, entry->run_id)
                                   : ac_event_log_find(dir, entry->run_id);
    if (log && ac_event_log_child(log) == here && ac_event_log_is_suspended(log) && !ac_event_log_ended(log)) {
        return log;
    }
    ac_event_log_close(log);
    return NULL;
}

/* Followers get the rest of the events from the store, as after a log that is cut. */
static void suspended_logs_end(const ac_suspended_log_t *entry)
{
    ac_event_log_t *log = suspended_logs_find(entry, true);
    if (!log) {
        return;
    }
    ac_event_log_end(log);
    ac_event_watcher_notify(log, entry->engine->dir);
    ac_ended_log_keep(entry->engine, log);
    ac_tail_wake(entry->engine, entry->run_id);
}

static void suspended_logs_on_run(ac_store_op_t *op)
{
    ac_suspended_log_t *entry = op->baton;
    ac_engine_t *engine = entry->engine;
    bool over = op->status == APR_SUCCESS ? !ac_record_is_active(op->out) : op->err.kind == AC_NOT_FOUND;
    ac_store_op_free(op);
    if (over) {
        suspended_logs_end(entry);
        free(entry);
    } else {
        suspended_logs_append(engine, entry);
        suspended_logs_set_timer(engine);
    }
}

static void suspended_logs_look(void *baton)
{
    ac_engine_t *engine = baton;
    ac_suspended_log_t *entry, *newest = engine->follow->suspended.last;
    for (int n = 0; n < LOOK_MAX && (entry = engine->follow->suspended.first) != NULL;) {
        engine->follow->suspended.first = entry->next;
        ac_event_log_t *log = suspended_logs_find(entry, false);
        bool last = entry == newest;
        if (log) {
            ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_GET, ac_event_log_header(log)->owner, entry->run_id);
            if (!op) {
                abort();
            }
            op->deadline = ac_clock() + engine->conf.store_timeout;
            ac_store_call_post(engine->store, engine->loop, op, suspended_logs_on_run, entry);
            ac_event_log_close(log);
            n++;
        } else {
            free(entry); /* a child has resumed the run */
        }
        if (last) {
            break;
        }
    }
    suspended_logs_set_timer(engine);
}
