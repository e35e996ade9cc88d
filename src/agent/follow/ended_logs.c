/* SPDX-License-Identifier: Apache-2.0 */
/* The logs of ended runs. Each stays for AgentChatEventLogKeep; earlier, the oldest go when all logs together need
 * room. */
#include "follow_internal.h"

#include <stdlib.h>

typedef struct ac_ended_log_t {
    char run_id[AC_ID_SIZE];
    apr_time_t due; /* ac_clock() */
    struct ac_ended_log_t *next, *prev;
} ac_ended_log_t;

static void drop_first(ac_engine_t *engine)
{
    ac_ended_logs_t *logs = &engine->follow->ended;
    ac_ended_log_t *first = logs->first;
    logs->first = first->next;
    *(first->next ? &first->next->prev : &logs->last) = NULL;
    ac_event_log_unlink(engine->dir, first->run_id);
    free(first);
}

static void ended_logs_set_timer(ac_engine_t *engine);

static void drop_due(void *baton)
{
    ac_engine_t *engine = baton;
    const ac_ended_logs_t *logs = &engine->follow->ended;
    apr_time_t now = ac_loop_now(engine->loop);
    while (logs->first && logs->first->due <= now) {
        drop_first(engine);
    }
    ended_logs_set_timer(engine);
}

static void ended_logs_set_timer(ac_engine_t *engine)
{
    ac_ended_logs_t *logs = &engine->follow->ended;
    if (logs->first && !logs->timer.slot) {
        ac_timer_set(engine->loop, &logs->timer, logs->first->due, drop_due, engine);
    }
}

void ac_ended_log_keep(ac_engine_t *engine, ac_event_log_t *log)
{
    ac_ended_logs_t *logs = &engine->follow->ended;
    ac_ended_log_t *kept = ac_alloc(sizeof *kept), *before = logs->last;
    apr_interval_time_t past = apr_time_now() - ac_event_log_ended(log);
    apr_interval_time_t left = past < 0 ? engine->conf.log_keep : engine->conf.log_keep - past;
    apr_cpystrn(kept->run_id, ac_event_log_header(log)->run_id, sizeof kept->run_id);
    kept->due = ac_loop_now(engine->loop) + (left > 0 ? left : 0);
    ac_event_log_close(log);
    while (before && before->due > kept->due) {
        before = before->prev;
    }
    kept->prev = before;
    kept->next = before ? before->next : logs->first;
    *(kept->next ? &kept->next->prev : &logs->last) = kept;
    *(before ? &before->next : &logs->first) = kept;
    if (!before) {
        ac_timer_cancel(engine->loop, &logs->timer);
    }
    ended_logs_set_timer(engine);
}

static void trim(void *baton)
{
    const ac_event_dir_t *dir = ((ac_engine_t *)baton)->dir;
    ac_event_scan_trim(ac_event_dir_total(dir), ac_event_dir_path(dir));
}

static void on_trimmed(void *baton)
{
    ((ac_engine_t *)baton)->follow->ended.is_trimming = false;
}

/* Removes ended logs of this child now, the oldest first. Those of other children go a little later, on a work
 * thread, so that this is seldom needed. */
bool ac_ended_log_make_room(void *baton, size_t bytes)
{
    ac_engine_t *engine = baton;
    ac_ended_logs_t *logs = &engine->follow->ended;
    ac_event_total_t *total = ac_event_dir_total(engine->dir);
    if (!logs->is_trimming && !engine->stop.stopping) {
        logs->is_trimming = ac_work_post(engine->work, trim, on_trimmed, engine) == APR_SUCCESS;
    }
    while (logs->first && ac_event_total_bytes(total) + (int64_t)bytes > (int64_t)total->max) {
        drop_first(engine);
    }
    return ac_event_total_bytes(total) + (int64_t)bytes <= (int64_t)total->max;
}

void ac_ended_log_forget_all(ac_engine_t *engine)
{
    ac_ended_logs_t *logs = &engine->follow->ended;
    ac_timer_cancel(engine->loop, &logs->timer);
    while (logs->first) {
        ac_ended_log_t *first = logs->first;
        logs->first = first->next;
        free(first);
    }
    logs->last = NULL;
}
