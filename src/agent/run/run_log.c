/* SPDX-License-Identifier: Apache-2.0 */
/* A run's side of its event log: making it, deciding the outcome in it, suspending and resuming it, ending it. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

static ac_event_log_t *run_log_create(ac_engine_t *engine, const ac_event_log_header_t *head)
{
    ac_event_dir_t *dir = engine->dir;
    apr_status_t status;
    ac_event_log_t *log = ac_event_log_create(dir, head, &status);
    if (status == APR_ENOENT) {
        status = engine->hooks->recreate_dir(engine);
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

static void note_trace(const ac_run_t *run)
{
    if (run->events.log && run->trace.run) {
        ac_event_log_set_trace(run->events.log, ac_run_trace_context(run));
    }
}

void ac_run_log_begin(ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    ac_event_log_header_t head;
    if (!run->engine->dir || (turn->stateless && !turn->key) || run->events.log) {
        return;
    }
    memset(&head, 0, sizeof head);
    apr_cpystrn(head.run_id, turn->run_id, sizeof head.run_id);
    apr_cpystrn(head.thread_id, turn->thread_id, sizeof head.thread_id);
    apr_cpystrn(head.message_id, turn->stateless ? "" : turn->message_id, sizeof head.message_id);
    apr_cpystrn(head.owner, turn->owner, sizeof head.owner);
    run->events.log = run_log_create(run->engine, &head);
    run->events.mirror = ac_mirror_writer_create(&run->engine->writers, run->events.log, ac_channel_seq(run->channel));
    ac_channel_set_log(run->channel, run->events.log);
    note_trace(run);
    if (run->events.log) {
        ac_event_log_set_place(run->events.log, &run->open.place);
    }
    if (run->events.log && run->open.document && !turn->stateless) {
        ac_event_log_write_stored(run->events.log, json_object_get(run->open.document, "run"));
    }
    /* The outcome was decided before the opening write was durable. */
    if (run->state == AC_RUN_SAVING) {
        ac_run_log_decide(run, run->outcome == AC_RUN_CANCELLED && run->err.kind == AC_CANCELLED);
    }
}

bool ac_run_log_decide(ac_run_t *run, bool cancelled)
{
    ac_log_outcome_e fate = cancelled ? AC_LOG_OUTCOME_CANCELLED : AC_LOG_OUTCOME_CLOSING;
    if (run->events.log) {
        fate = ac_event_log_decide(run->events.log, fate);
    }
    return fate == AC_LOG_OUTCOME_CANCELLED;
}

bool ac_run_log_is_cancelled(const ac_run_t *run)
{
    return run->events.log && ac_event_log_outcome(run->events.log) == AC_LOG_OUTCOME_CANCELLED;
}

void ac_run_log_write_closing(ac_run_t *run)
{
    if (run->events.log) {
        ac_event_log_write_closing(run->events.log, run->close.document);
    }
}

void ac_run_log_leave_pending(ac_run_t *run)
{
    if (!run->events.log || ac_event_log_is_cut(run->events.log) || run->engine->stop.stopping) {
        ac_channel_set_log(run->channel,
                           NULL); /* the log does not get the terminal event, since the run has not ended there */
        return;
    }
    ac_run_follower_move_all(run, run->turn->run_id, ac_channel_seq(run->channel));
    ac_channel_set_log(run->channel, NULL);
}

/* ---- suspending and resuming ---- */

static json_t *event_json(const ac_event_t *event)
{
    json_t *body = ac_event_is_text(event->type) ? ac_json_text(event->text) : json_incref(event->data);
    return json_pack("[i, I, o]", (int)event->type, (json_int_t)event->at, body);
}

json_t *ac_run_log_events(ac_run_t *run)
{
    ac_event_cursor_t cursor = {0};
    ac_event_t *event;
    uint64_t seq = 0;
    if (!run->events.log || ac_event_log_is_cut(run->events.log)) {
        return json_null();
    }
    json_t *events = json_array();
    while ((event = ac_event_log_next(run->events.log, &cursor, NULL)) != NULL) {
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

static void close_log(void *baton, ac_event_log_t *log)
{
    (void)baton;
    ac_event_log_close(log);
}

/* The log leaves this run: the rest of it is copied to the mirror. */
static void end_mirror(ac_run_t *run, ac_mirror_log_fn *done)
{
    ac_mirror_writer_t *mirror = run->events.mirror;
    ac_event_log_t *log = run->events.log;
    run->events.mirror = NULL;
    run->events.log = NULL;
    ac_mirror_writer_end(mirror, log, done, run->engine);
}

void ac_run_log_suspend(ac_run_t *run)
{
    ac_loop_ready_cancel(run->engine->loop, &run->events.watcher_ready);
    ac_channel_set_log(run->channel, NULL);
    if (run->events.log) {
        ac_event_log_set_suspended(run->events.log, true);
        run->suspended.wants_cancel = run->suspended.wants_cancel || ac_run_log_is_cancelled(run);
        ac_event_watcher_notify(run->events.log, run->engine->dir);
        end_mirror(run, close_log);
        run->engine->hooks->track_suspended(run->engine, run->turn->run_id);
    }
    ac_run_follower_move_all(run, run->turn->run_id, ac_channel_seq(run->channel));
}

/* Adopts the suspended log if it has all events; removes it if it has others. NULL: no log. */
static ac_event_log_t *adopt_suspended(const ac_run_t *run)
{
    ac_event_dir_t *dir = run->engine->dir;
    ac_event_log_t *log = ac_event_log_find(dir, run->turn->run_id);
    if (!log) {
        return NULL;
    }
    bool valid = ac_event_log_is_suspended(log) && !ac_event_log_ended(log) && !ac_event_log_is_cut(log) &&
        ac_event_log_seq(log) == ac_channel_seq(run->channel);
    ac_child_key_t from = ac_event_log_child(log);
    ac_event_log_close(log);
    log = ac_event_log_adopt(dir, from, run->turn->run_id);
    if (log && valid) {
        return log;
    }
    ac_event_log_close(log);
    ac_event_log_unlink(dir, run->turn->run_id);
    return NULL;
}

static void copy_events(ac_event_log_t *log, const json_t *events)
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
    run->events.log = adopt_suspended(run);
    if (run->events.log) {
        ac_event_log_set_suspended(run->events.log, false);
        run->events.mirror =
            ac_mirror_writer_create(&run->engine->writers, run->events.log, ac_channel_seq(run->channel));
    } else if (json_array_size(events) == ac_channel_seq(run->channel)) {
        ac_run_log_begin(run);
        if (run->events.log) {
            copy_events(run->events.log, events);
        }
    }
    note_trace(run);
    if (run->events.log && stored) {
        ac_event_log_write_stored(run->events.log, stored);
    }
    ac_channel_set_log(run->channel, run->events.log);
}

static void keep_log(void *baton, ac_event_log_t *log)
{
    ac_engine_t *engine = baton;
    engine->hooks->keep_ended(engine, log);
}

void ac_run_log_end(ac_run_t *run)
{
    ac_loop_ready_cancel(run->engine->loop, &run->events.watcher_ready);
    if (!run->events.log) {
        return;
    }
    ac_event_log_t *log = run->events.log;
    ac_channel_set_log(run->channel, NULL);
    if (run->close.failed) {
        run->events.log = NULL;
        ac_mirror_writer_leave(run->events.mirror);
        run->events.mirror = NULL;
        run->engine->hooks->close_later(run->engine, log);
        return;
    }
    ac_event_log_end(log);
    ac_event_watcher_notify(log, run->engine->dir);
    end_mirror(run, keep_log);
}
