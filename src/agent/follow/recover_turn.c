/* SPDX-License-Identifier: Apache-2.0 */
/* The documents that close the turn of a dead process, made from the run's event log. Pure. */
#include "follow_internal.h"

#include <stdio.h>
#include <string.h>

static void recover_turn_copy(json_t *to, const char *name, const json_t *from, const char *member)
{
    json_t *value = json_object_get(from, member);
    ac_json_put(to, name, value ? json_incref(value) : json_null());
}

/* ---- reading the log ---- */

void ac_recover_turn_free(ac_recover_turn_t *turn)
{
    ac_buf_free(&turn->text);
    json_decref(turn->tool_calls);
    json_decref(turn->steps);
    json_decref(turn->sources);
    ac_record_parts_free(&turn->parts);
    json_decref(turn->closing);
    memset(turn, 0, sizeof *turn);
}

static json_t *recover_turn_find(const json_t *list, const char *id)
{
    json_t *one;
    size_t i;
    json_array_foreach((json_t *)list, i, one)
    {
        if (strcmp(ac_json_peek_string(one, "id", ""), id) == 0) {
            return one;
        }
    }
    return NULL;
}

/* The call of a nested run is a step, but no call of the message. false: the call is one of the message. */
static bool recover_turn_nest(json_t *step, const json_t *data)
{
    if (!json_object_get(data, "parent_step_id")) {
        return false;
    }
    recover_turn_copy(step, "agent_id", data, "agent_id");
    recover_turn_copy(step, "depth", data, "depth");
    recover_turn_copy(step, "parent_step_id", data, "parent_step_id");
    return true;
}

/* A call counts as failed until the log's reader finds its end. */
static void begin_call(ac_recover_turn_t *turn, const ac_event_t *event)
{
    static const char lost[] = "the server process ended before this call did";
    json_t *step = json_object(), *call;
    recover_turn_copy(step, "id", event->data, "step_id");
    recover_turn_copy(step, "call_id", event->data, "call_id");
    ac_json_put(step, "type", json_string("tool_call"));
    ac_json_put(step, "status", json_string("failed"));
    recover_turn_copy(step, "tool", event->data, "tool");
    ac_json_put(step, "arguments", json_object());
    ac_json_put(step, "result", json_null());
    ac_json_put(step, "error", json_string(lost));
    ac_json_put(step, "usage", json_null());
    ac_json_put(step, "started_at", ac_time_json(event->at));
    ac_json_put(step, "completed_at", ac_time_json(event->at));
    ac_json_put(step, "latency_ms", json_integer(0));
    json_array_append_new(turn->steps, step);
    if (recover_turn_nest(step, event->data)) {
        return;
    }
    call = json_object();
    recover_turn_copy(call, "id", event->data, "call_id");
    recover_turn_copy(call, "tool", event->data, "tool");
    ac_json_put(call, "arguments", json_object());
    ac_json_put(call, "result", json_null());
    ac_json_put(call, "error", json_string(lost));
    ac_json_put(call, "latency_ms", json_integer(0));
    if (json_is_true(json_object_get(event->data, "hosted"))) {
        ac_json_put(step, "hosted", json_true());
        ac_json_put(call, "hosted", json_true());
    }
    if (json_object_get(event->data, "hands_over_to")) {
        recover_turn_copy(step, "hands_over_to", event->data, "hands_over_to");
        recover_turn_copy(call, "hands_over_to", event->data, "hands_over_to");
    }
    if (json_is_true(json_object_get(event->data, "client"))) {
        ac_json_put(step, "client", json_true());
        ac_json_put(call, "client", json_true());
    }
    json_array_append_new(turn->tool_calls, call);
    ac_record_parts_add_call(&turn->parts, turn->text.len, ac_json_peek_string(event->data, "call_id", ""));
}

static void recover_turn_end_call(ac_recover_turn_t *turn, const ac_event_t *event)
{
    json_t *step = recover_turn_find(turn->steps, ac_json_peek_string(event->data, "step_id", ""));
    json_t *call = recover_turn_find(turn->tool_calls, ac_json_peek_string(event->data, "call_id", ""));
    bool failed = json_is_string(json_object_get(event->data, "error"));
    if (!step) {
        return;
    }
    ac_json_put(step, "status", json_string(failed ? "failed" : "completed"));
    ac_json_put(step, "completed_at", ac_time_json(event->at));
    if (!failed && json_object_get(event->data, "hands_over_to")) {
        apr_cpystrn(turn->agent_id, ac_json_peek_string(event->data, "hands_over_to", ""), sizeof turn->agent_id);
    }
    for (int pass = 0; pass < 1 + (call != NULL); pass++) {
        json_t *to = pass ? call : step;
        recover_turn_copy(to, "arguments", event->data, "arguments");
        recover_turn_copy(to, "result", event->data, "result");
        recover_turn_copy(to, "error", event->data, "error");
        recover_turn_copy(to, "latency_ms", event->data, "latency_ms");
    }
}

static void recover_turn_add_sources(ac_recover_turn_t *turn, const ac_event_t *event)
{
    json_t *sources = json_object_get(event->data, "sources");
    json_t *step = recover_turn_find(turn->steps, ac_json_peek_string(event->data, "step_id", ""));
    json_array_extend(turn->sources, sources);
    if (step && sources) {
        ac_json_put(step, "sources", json_incref(sources));
    }
}

void ac_recover_turn_read(ac_recover_turn_t *turn, ac_event_log_t *log)
{
    ac_event_cursor_t cursor = {0};
    ac_event_t *event;
    memset(turn, 0, sizeof *turn);
    ac_buf_init(&turn->text, AC_MAX_ANSWER);
    turn->tool_calls = json_array();
    turn->steps = json_array();
    turn->sources = json_array();
    turn->place = ac_event_log_place(log);
    apr_cpystrn(turn->message_id, ac_event_log_header(log)->message_id, sizeof turn->message_id);
    while (!turn->ended && (event = ac_event_log_next(log, &cursor, &turn->closing)) != NULL) {
        turn->seq = event->seq;
        if (event->type == AC_EVENT_TOKEN) {
            ac_buf_add(&turn->text, event->text, event->len);
        } else if (event->type == AC_EVENT_TRACE_START) {
            begin_call(turn, event);
        } else if (event->type == AC_EVENT_TRACE_END) {
            recover_turn_end_call(turn, event);
        } else if (event->type == AC_EVENT_SOURCES) {
            recover_turn_add_sources(turn, event);
        } else if (event->type != AC_EVENT_RUN && event->type != AC_EVENT_TRACE_UPDATE &&
                   event->type != AC_EVENT_REASONING) {
            turn->ended = true;
        }
        ac_event_unref(event);
    }
}

/* ---- the documents ---- */

/* Always the same for one run, so that an answer that is recovered twice is stored once. */
static json_t *message_id(const char *run_id)
{
    char id[AC_ID_SIZE];
    snprintf(id, sizeof id, "msg_%s", strncmp(run_id, "run_", 4) != 0 ? run_id : run_id + 4);
    return ac_json_text(id);
}

/* An estimate: the model's own figures were lost with the process. */
static json_t *guess_usage(const ac_recover_turn_t *turn, const json_t *run)
{
    ac_usage_t usage = {.estimated = true};
    usage.prompt = ac_json_peek_int(json_object_get(run, "usage"), "prompt_tokens", 0);
    usage.completion = ((int64_t)turn->text.len + 3) / 4;
    usage.total = usage.prompt + usage.completion;
    return ac_record_usage(&usage);
}

static json_t *make_message(const ac_recover_turn_t *turn, const json_t *run, const char *finish)
{
    const char *run_id = ac_json_peek_string(run, "id", "");
    size_t n_calls = json_array_size(turn->tool_calls);
    if (!turn->text.len && !n_calls) {
        return json_null();
    }
    json_t *message = json_object(), *metadata = json_object(),
           *parts = ac_record_parts_list(&turn->parts, turn->text.len);
    if (parts) {
        ac_json_put(metadata, "parts", parts);
    }
    if (json_array_size(turn->sources)) {
        ac_json_put(metadata, "sources", json_incref(turn->sources));
    }
    if (turn->agent_id[0]) {
        ac_json_put(metadata, "agent_id", ac_json_text(turn->agent_id));
    }
    recover_turn_copy(metadata, "model", run, "model");
    ac_json_put(metadata, "finish_reason", json_string(finish));
    ac_json_put(metadata, "usage", guess_usage(turn, run));
    ac_json_put(message, "id", message_id(run_id));
    recover_turn_copy(message, "thread_id", run, "thread_id");
    ac_json_put(message, "parent_id", ac_json_text(turn->message_id));
    ac_json_put(message, "role", json_string("assistant"));
    ac_json_put(message, "content", ac_json_text(turn->text.len ? turn->text.data : ""));
    ac_json_put(message, "tool_calls", n_calls ? json_incref(turn->tool_calls) : json_null());
    ac_json_put(message, "run_id", ac_json_text(run_id));
    ac_json_put(message, "timestamp", ac_time_json(apr_time_now()));
    ac_json_put(message, "metadata", metadata);
    return message;
}

static void set_interrupted(json_t *run)
{
    ac_err_t cause;
    ac_err_init(&cause);
    ac_err_set(&cause, AC_INTERRUPTED, "the server process that ran it ended before it did");
    ac_json_put(run, "status", json_string("interrupted"));
    ac_json_put(run, "error", ac_record_error(&cause));
}

bool ac_recover_turn_interrupt(ac_recover_turn_t *turn)
{
    json_t *run = json_object_get(turn->closing, "run"), *message = json_object_get(turn->closing, "message");
    if (strcmp(ac_json_peek_string(run, "status", ""), "interrupted") == 0 || !json_is_object(message)) {
        return false;
    }
    json_t *metadata = json_object_get(message, "metadata");
    if (json_is_object(metadata)) {
        ac_json_put(metadata, "finish_reason", json_string("interrupted"));
    }
    set_interrupted(run);
    return true;
}

json_t *ac_recover_turn_closing(ac_recover_turn_t *turn, const json_t *run, bool cancelled)
{
    json_t *closing = json_object(), *after = json_copy((json_t *)run), *step;
    apr_time_t began = ac_stored_event_time(run, "created_at"), now = apr_time_now();
    size_t i;
    if (cancelled) {
        ac_json_put(after, "status", json_string("cancelled"));
    } else {
        set_interrupted(after);
    }
    ac_json_put(after, "usage", guess_usage(turn, run));
    ac_json_put(after, "completed_at", ac_time_json(now));
    ac_json_put(after, "latency_ms", began ? json_integer(apr_time_as_msec(now - began)) : json_null());
    json_array_foreach(turn->steps, i, step) recover_turn_copy(step, "run_id", run, "id");
    if (turn->agent_id[0]) {
        ac_json_put(after, "agent_id", ac_json_text(turn->agent_id));
        ac_json_put(closing, "agent_id", ac_json_text(turn->agent_id));
    }
    ac_json_put(closing, "message", make_message(turn, run, cancelled ? "cancelled" : "interrupted"));
    ac_json_put(closing, "run", after);
    if (turn->place.parent_seq > 0) { /* the log of an older version does not have it */
        ac_json_put(closing, "parent_seq", json_integer(turn->place.parent_seq));
        ac_json_put(closing, "after", json_integer(turn->place.after));
    }
    ac_json_put(closing, "steps", json_incref(turn->steps));
    return closing;
}
