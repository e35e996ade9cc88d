/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run: emits them, or holds them back until the opening write is durable, and shows them to
 * followers here and in other children. */
#include "run_internal.h"

#include <stdlib.h>

static void notify_watchers(void *baton)
{
    ac_run_t *run = baton;
    if (run->events.log) {
        ac_event_watcher_notify(run->events.log, run->engine->dir);
    }
}

/* Emits an event now, and notifies followers in other children. Consumes the event. */
static void run_event_show(ac_run_t *run, ac_event_t *event)
{
    ac_channel_emit(run->channel, event);
    ac_mirror_writer_notify(run->events.mirror);
    /* Once for all events of this turn of the loop. */
    if (run->events.log && ac_event_watcher_any(run->events.log)) {
        ac_loop_ready_set(run->engine->loop, &run->events.watcher_ready, notify_watchers, run);
    }
}

void ac_run_event_hold(ac_run_t *run, ac_event_t *event)
{
    if (run->events.n_held == run->events.held_size) {
        int size = run->events.held_size ? run->events.held_size * 2 : 8;
        ac_event_t **held = realloc(run->events.held, (size_t)size * sizeof *held);
        if (!held) {
            abort();
        }
        run->events.held = held;
        run->events.held_size = size;
    }
    run->events.held[run->events.n_held++] = event;
}

void ac_run_event_emit(ac_run_t *run, ac_event_type_e type, json_t *data, const char *text, size_t len)
{
    if (run->nested.outer && ac_event_is_text(type)) {
        return; /* the answer of a nested run is the result of a call */
    }
    run = ac_run_nesting_root(run);
    ac_event_t *event = ac_event_create(type, data, text, len);
    if (!event) {
        abort();
    }
    if (ac_run_open_is_done(run)) {
        run_event_show(run, event);
    } else {
        ac_run_event_hold(run, event);
    }
}

void ac_run_event_show_held(ac_run_t *run)
{
    for (int i = 0; i < run->events.n_held; i++) {
        run_event_show(run, run->events.held[i]);
    }
    run->events.n_held = 0;
}

void ac_run_event_drop_held(ac_run_t *run)
{
    for (int i = 0; i < run->events.n_held; i++) {
        ac_event_unref(run->events.held[i]);
    }
    free(run->events.held);
    run->events.held = NULL;
    run->events.n_held = run->events.held_size = 0;
}

void ac_run_event_release(ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    json_t *data = json_object();
    ac_json_put(data, "run_id", ac_json_text(turn->run_id));
    ac_json_put(data, "thread_id", ac_json_text(turn->stateless ? NULL : turn->thread_id));
    ac_json_put(data, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(data, "message_id", ac_json_text(turn->stateless ? NULL : turn->message_id));
    if (ac_toolset_missing(run->tools.set)) {
        ac_json_put(data, "missing_tools", json_incref(ac_toolset_missing(run->tools.set)));
    }
    ac_run_metrics_publish(run);
    ac_run_log_begin(run);
    run_event_show(run, ac_event_create(AC_EVENT_RUN, data, NULL, 0));
    ac_run_event_show_held(run);
    ac_run_event_drop_held(run);
}

/* ---- the terminal event ---- */

static json_t *done_data(const ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    json_t *data = json_object();
    ac_json_put(data, "run_id", ac_json_text(turn->run_id));
    ac_json_put(data, "thread_id", ac_json_text(turn->stateless ? NULL : turn->thread_id));
    ac_json_put(data, "message_id", ac_json_text(ac_json_peek_string(run->close.message, "id", NULL)));
    ac_json_put(data, "tokens_used", json_integer(run->cost.usage.total));
    ac_json_put(data, "usage", ac_record_usage(&run->cost.usage));
    ac_json_put(data, "cost", ac_run_cost_json(run));
    ac_json_put(data, "status", json_string(run->outcome == AC_RUN_CANCELLED ? "cancelled" : "completed"));
    ac_json_put(data, "finish_reason", json_string(ac_run_document_finish_reason(run)));
    if (run->answer.handed_over) {
        ac_json_put(data, "agent_id", ac_json_text(run->agent->id));
    }
    if (run->answer.sources) {
        ac_json_put(data, "sources", json_incref(run->answer.sources));
    }
    json_t *message = run->answer.ends_in_calls ? json_pack("{s:O}", "tool_calls", run->answer.tool_calls) : NULL;
    json_t *calls = ac_client_tools_calls(message);
    if (calls) {
        ac_json_put(data, "client_calls", calls);
    }
    json_decref(message);
    return data;
}

static ac_event_t *error_event(const ac_run_t *run)
{
    json_t *data = json_object();
    ac_json_put(data, "code", ac_json_text(ac_err_row(run->err.kind)->code));
    ac_json_put(data, "message", ac_json_text(run->err.detail));
    if (run->err.pointer[0]) {
        ac_json_put(data, "pointer", ac_json_text(run->err.pointer));
    }
    if (run->err.retry_after) {
        ac_json_put(data, "retry_after_ms", json_integer(apr_time_as_msec(run->err.retry_after)));
    }
    ac_json_put(data, "run_id", ac_json_text(run->turn->run_id));
    ac_event_t *event = ac_event_create(AC_EVENT_ERROR, data, NULL, 0);
    if (!event) {
        abort();
    }
    event->kind = run->err.kind;
    event->retry_after = run->err.retry_after;
    return event;
}

void ac_run_event_show_terminal(ac_run_t *run)
{
    bool stopping = run->outcome == AC_RUN_CANCELLED && run->err.kind == AC_STOPPING;
    if (run->outcome == AC_RUN_FAILED || stopping) {
        ac_channel_emit(run->channel, error_event(run));
        return;
    }
    const ac_buf_t *text = &run->answer.text;
    ac_event_t *event = ac_event_create(AC_EVENT_DONE, done_data(run), text->data, text->len);
    if (!event) {
        abort();
    }
    event->message = json_incref(run->close.message);
    ac_channel_emit(run->channel, event);
}
