/* SPDX-License-Identifier: Apache-2.0 */
/* A run's side of its event log, and what becomes of a run that nobody follows. */
#include "run.h"

#include <string.h>

static ac_event_log_t *run_log_create(ac_engine_t *engine, const ac_event_log_header_t *head)
{
    ac_event_dir_t *dir = engine->dir;
    apr_status_t status;
    ac_event_log_t *log = ac_event_log_create(dir, head, &status);
    if (status == APR_ENOENT) {
        status = ac_engine_recreate_dir(engine);
        if (status == APR_SUCCESS) {
            log = ac_event_log_create(dir, head, &status);
        }
    }
    if (log) {
        ac_event_outage_end(ac_event_dir_outage(dir));
    } else {
        ac_event_outage_begin(ac_event_dir_outage(dir),
                              status == AC_EVENT_TOTAL_EXCEEDED ? AC_EVENT_OUTAGE_TOTAL_FULL : AC_EVENT_OUTAGE_NO_LOG,
                              status, head->run_id);
    }
    return log;
}

void ac_run_log_begin(ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    ac_event_log_header_t head;
    if (!run->engine->dir || turn->stateless || run->log) {
        return;
    }
    memset(&head, 0, sizeof head);
    apr_cpystrn(head.run_id, turn->run_id, sizeof head.run_id);
    apr_cpystrn(head.thread_id, turn->thread_id, sizeof head.thread_id);
    apr_cpystrn(head.message_id, turn->message_id, sizeof head.message_id);
    apr_cpystrn(head.owner, turn->owner, sizeof head.owner);
    run->log = run_log_create(run->engine, &head);
    ac_channel_set_log(run->channel, run->log);
    if (run->log && run->opening) {
        ac_event_log_write_stored(run->log, json_object_get(run->opening, "run"));
    }
    /* Decided before it was stored at all. */
    if (run->state == AC_RUN_SAVING) {
        ac_run_log_decide(run, run->outcome == AC_RUN_CANCELLED && run->err.kind == AC_CANCELLED);
    }
}

bool ac_run_log_decide(ac_run_t *run, bool cancelled)
{
    ac_log_outcome_e fate = cancelled ? AC_LOG_OUTCOME_CANCELLED : AC_LOG_OUTCOME_CLOSING;
    if (run->log) {
        fate = ac_event_log_decide(run->log, fate);
    }
    return fate == AC_LOG_OUTCOME_CANCELLED;
}

bool ac_run_log_is_cancelled(const ac_run_t *run)
{
    return run->log && ac_event_log_outcome(run->log) == AC_LOG_OUTCOME_CANCELLED;
}

static void run_log_tell(void *baton)
{
    ac_run_t *run = baton;
    if (run->log) {
        ac_event_watcher_notify(run->log, run->engine->dir);
    }
}

void ac_run_event_show(ac_run_t *run, ac_event_t *event)
{
    ac_channel_emit(run->channel, event);
    /* Once for all that this turn of the loop brings. */
    if (run->log && ac_event_watcher_any(run->log)) {
        ac_ready_set(run->engine->loop, &run->tell_ready, run_log_tell, run);
    }
}

void ac_run_log_write_closing(ac_run_t *run)
{
    if (run->log) {
        ac_event_log_write_closing(run->log, run->closing);
    }
}

static void follow_elsewhere(ac_run_t *run, const char *run_id, uint64_t after)
{
    ac_follower_t *follower;
    ac_channel_on_empty(run->channel, NULL, NULL);
    while ((follower = ac_channel_first(run->channel)) != NULL) {
        ac_channel_leave(follower);
        ac_tail_start(run->engine, run_id, run->turn->owner, after, follower);
    }
}

void ac_run_log_leave_pending(ac_run_t *run)
{
    if (!run->log || ac_event_log_is_cut(run->log) || run->engine->stopping) {
        ac_channel_set_log(run->channel, NULL); /* the log does not say that it has ended, since it has not */
        return;
    }
    follow_elsewhere(run, run->turn->run_id, ac_channel_seq(run->channel));
    ac_channel_set_log(run->channel, NULL);
}

/* ---- a run that waits for its owner's word ---- */

static json_t *event_json(const ac_event_t *event)
{
    json_t *body = event->type == AC_EVENT_TOKEN ? ac_json_text(event->text) : json_incref(event->data);
    return json_pack("[i, I, o]", (int)event->type, (json_int_t)event->at, body);
}

json_t *ac_run_log_events(ac_run_t *run)
{
    ac_event_cursor_t cursor = {0};
    ac_event_t *event;
    uint64_t seq = 0;
    if (!run->log || ac_event_log_is_cut(run->log)) {
        return json_null();
    }
    json_t *events = json_array();
    while ((event = ac_event_log_next(run->log, &cursor, NULL)) != NULL) {
        seq = event->seq;
        json_array_append_new(events, event_json(event));
        ac_event_unref(event);
    }
    if (seq == ac_channel_seq(run->channel) && json_array_size(events) == seq) {
        return events;
    }
    json_decref(events);
    return json_null();
}

void ac_run_log_suspend(ac_run_t *run)
{
    ac_ready_cancel(run->engine->loop, &run->tell_ready);
    ac_channel_set_log(run->channel, NULL);
    if (run->log) {
        ac_event_log_set_suspended(run->log, true);
        run->wants_cancel = run->wants_cancel || ac_run_log_is_cancelled(run);
        ac_event_watcher_notify(run->log, run->engine->dir);
        ac_event_log_close(run->log);
        run->log = NULL;
        ac_suspended_log_track(run->engine, run->turn->run_id);
    }
    follow_elsewhere(run, run->turn->run_id, ac_channel_seq(run->channel));
}

/* The log that rests, if it is there with all events; one that is there with others goes. */
static ac_event_log_t *find_rest(const ac_run_t *run)
{
    ac_event_dir_t *dir = run->engine->dir;
    ac_event_log_t *log = ac_event_log_find(dir, run->turn->run_id);
    if (!log) {
        return NULL;
    }
    bool fits = ac_event_log_is_suspended(log) && !ac_event_log_ended(log) && !ac_event_log_is_cut(log) &&
        ac_event_log_seq(log) == ac_channel_seq(run->channel);
    ac_child_key_t from = ac_event_log_child(log);
    ac_event_log_close(log);
    log = ac_event_log_adopt(dir, from, run->turn->run_id);
    if (log && fits) {
        return log;
    }
    ac_event_log_close(log);
    ac_event_log_unlink(dir, run->turn->run_id);
    return NULL;
}

static void write_again(ac_event_log_t *log, const json_t *events)
{
    json_t *parts;
    size_t i;
    json_array_foreach((json_t *)events, i, parts)
    {
        ac_event_type_e type = (ac_event_type_e)json_integer_value(json_array_get(parts, 0));
        json_t *body = json_array_get(parts, 2);
        const char *text = json_is_string(body) ? json_string_value(body) : NULL;
        ac_event_t *event = ac_event_create(type, text ? NULL : json_incref(body), text, text ? strlen(text) : 0);
        if (!event) {
            abort();
        }
        event->seq = i + 1;
        event->at = json_integer_value(json_array_get(parts, 1));
        ac_event_log_append(log, event);
        ac_event_unref(event);
    }
}

void ac_run_log_resume(ac_run_t *run, const json_t *state)
{
    const json_t *events = json_object_get(state, "events"), *stored = json_object_get(state, "run");
    if (!run->engine->dir) {
        return;
    }
    run->log = find_rest(run);
    if (run->log) {
        ac_event_log_set_suspended(run->log, false);
    } else if (json_array_size(events) == ac_channel_seq(run->channel)) {
        ac_run_log_begin(run);
        if (run->log) {
            write_again(run->log, events);
        }
    }
    if (run->log && stored) {
        ac_event_log_write_stored(run->log, stored);
    }
    ac_channel_set_log(run->channel, run->log);
}

void ac_run_log_end(ac_run_t *run)
{
    ac_ready_cancel(run->engine->loop, &run->tell_ready);
    if (!run->log) {
        return;
    }
    ac_event_log_t *log = run->log;
    run->log = NULL;
    ac_channel_set_log(run->channel, NULL);
    if (run->unstored) {
        ac_recover_log(run->engine, log); /* goes on trying */
        return;
    }
    ac_event_log_end(log);
    ac_event_watcher_notify(log, run->engine->dir);
    ac_ended_log_keep(run->engine, log);
}

/* ---- nobody follows ---- */

static void on_leave_timer(void *baton)
{
    ac_run_t *run = baton;
    bool followed = ac_channel_followers(run->channel) > 0 || (run->log && ac_event_watcher_any(run->log)) ||
        apr_hash_get(run->engine->tails, run->turn->run_id, APR_HASH_KEY_STRING);
    if (followed) {
        return;
    }
    ac_run_cancel(run->engine, run->turn->run_id, AC_CANCELLED);
}

void ac_run_follower_left(void *baton)
{
    ac_run_t *run = baton;
    if (run->turn->leave < 0 || !ac_run_is_live(run)) {
        return;
    }
    ac_timer_set(run->engine->loop, &run->leave_timer, ac_loop_now(run->engine->loop) + run->turn->leave,
                 on_leave_timer, run);
}

void ac_run_follower_attach(ac_run_t *run, const char *run_id)
{
    ac_err_t err;
    ac_err_init(&err);
    follow_elsewhere(run, run_id, run->turn->after);
    ac_err_set(&err, AC_IDEMPOTENCY_CONFLICT, "its key had been used");
    ac_run_finish(run, AC_RUN_FAILED, &err, "attached to an earlier run");
}
