/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run, made from its stored documents: the run, its steps, its messages. For a log that was cut, only
 * the events behind its end. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

static void tail_events_add(ac_tail_t *tail, ac_event_t *event, apr_time_t at)
{
    if (!event) {
        abort();
    }
    ac_event_t **events = realloc(tail->events, ((size_t)tail->n_events + 1) * sizeof *events);
    if (!events) {
        abort();
    }
    tail->events = events;
    uint64_t base = tail->log ? AC_TAIL_REMAINDER : tail->mirror.has_part ? AC_TAIL_MIRROR : AC_TAIL_STORED;
    event->seq = base + (uint64_t)tail->n_events + 1;
    event->at = at;
    events[tail->n_events++] = event;
}

static void tail_events_copy(json_t *to, const char *name, const json_t *from, const char *member)
{
    json_t *value = json_object_get(from, member);
    ac_json_put(to, name, value ? json_incref(value) : json_null());
}

static void tail_events_add_run(ac_tail_t *tail)
{
    json_t *data = json_object();
    tail_events_copy(data, "run_id", tail->run, "id");
    tail_events_copy(data, "thread_id", tail->run, "thread_id");
    tail_events_copy(data, "agent_id", tail->run, "agent_id");
    if (json_object_get(tail->run, "parent_id")) {
        tail_events_copy(data, "message_id", tail->run, "parent_id");
    } else { /* a run of an older version */
        tail_events_copy(data, "message_id", tail->user_message, "id");
    }
    tail_events_add(tail, ac_event_create(AC_EVENT_RUN, data, NULL, 0), ac_stored_event_time(tail->run, "created_at"));
}

/* ---- text ---- */

/* type: TOKEN or REASONING. */
static void tail_events_add_text(ac_tail_t *tail, ac_event_type_e type, const char *text, size_t len, apr_time_t at)
{
    while (len > 0) {
        size_t part = len > AC_TAIL_PIECE ? ac_utf8_whole(text, AC_TAIL_PIECE) : len;
        part = part ? part : len;
        tail_events_add(tail, ac_event_create(type, NULL, text, part), at);
        text += part;
        len -= part;
    }
}

/* What the model thought in this round, as far as it was stored. */
static void tail_events_add_reasoning(ac_tail_t *tail, json_int_t round)
{
    size_t i;
    json_t *step;
    json_array_foreach(tail->steps, i, step)
    {
        const char *text = ac_json_peek_string(step, "reasoning", "");
        if (ac_json_peek_int(step, "round", 0) == round && !json_object_get(step, "parent_step_id")) {
            tail_events_add_text(tail, AC_EVENT_REASONING, text, strlen(text),
                                 ac_stored_event_time(step, "started_at"));
        }
    }
}

/* The sources of a step, if it has some. */
static void tail_events_add_sources(ac_tail_t *tail, const json_t *step)
{
    json_t *sources = json_object_get(step, "sources"), *data = json_object();
    if (!sources) {
        json_decref(data);
        return;
    }
    if (json_object_get(step, "call_id")) {
        tail_events_copy(data, "step_id", step, "id");
        tail_events_copy(data, "call_id", step, "call_id");
    }
    ac_json_put(data, "sources", json_incref(sources));
    tail_events_add(tail, ac_event_create(AC_EVENT_SOURCES, data, NULL, 0), ac_stored_event_time(step, "completed_at"));
}

/* ---- one call: {step, call, index}; call: of the message; index: among those that the client carries out ---- */

static json_t *event_data(const json_t *one)
{
    json_t *data = json_object();
    tail_events_copy(data, "step_id", json_object_get(one, "step"), "id");
    tail_events_copy(data, "call_id", json_object_get(one, "call"), "id");
    return data;
}

/* The decision about a call that needed approval: "approved", "refused", else "". */
static const char *tail_events_decision(const json_t *one)
{
    const char *approval = ac_json_peek_string(json_object_get(one, "step"), "approval", "");
    return strcmp(approval, "required") == 0 ? "" : approval;
}

/* when: the member of the step with the time of the event. */
static void add_event(ac_tail_t *tail, ac_event_type_e type, const json_t *one, json_t *data, const char *when)
{
    const json_t *index = json_object_get(one, "index");
    if (json_is_integer(index)) {
        ac_json_put(data, "client", json_true());
        ac_json_put(data, "index", json_incref((json_t *)index));
    }
    tail_events_add(tail, ac_event_create(type, data, NULL, 0),
                    ac_stored_event_time(json_object_get(one, "step"), when));
}

/* The client that carries the call out knows its arguments from their parts. */
static void add_arguments(ac_tail_t *tail, const json_t *one)
{
    const json_t *arguments = json_object_get(json_object_get(one, "step"), "arguments");
    char *text = json_is_string(arguments) ? strdup(json_string_value(arguments)) : ac_json_dump(arguments, NULL);
    json_t *data = event_data(one);
    ac_json_put(data, "arguments_delta", ac_json_text(text ? text : "{}"));
    free(text);
    add_event(tail, AC_EVENT_TRACE_UPDATE, one, data, "completed_at");
}

static void tail_events_add_start(ac_tail_t *tail, const json_t *one)
{
    bool needed = *tail_events_decision(one) != '\0';
    json_t *data = event_data(one);
    tail_events_copy(data, "tool", json_object_get(one, "step"), "tool");
    if (needed) {
        ac_json_put(data, "needs_approval", json_true());
    }
    add_event(tail, AC_EVENT_TRACE_START, one, data, needed ? "requested_at" : "started_at");
    if (json_object_get(one, "index")) {
        add_arguments(tail, one);
    }
}

/* more: another request follows at once. */
static void tail_events_add_request(ac_tail_t *tail, const json_t *one, bool more)
{
    json_t *data = event_data(one);
    tail_events_copy(data, "tool", json_object_get(one, "step"), "tool");
    tail_events_copy(data, "arguments", json_object_get(one, "step"), "arguments");
    ac_json_put(data, "approval_required", json_true());
    ac_json_put(data, "more", json_boolean(more));
    add_event(tail, AC_EVENT_TRACE_UPDATE, one, data, "requested_at");
}

static void add_decision(ac_tail_t *tail, const json_t *one)
{
    json_t *data = event_data(one);
    ac_json_put(data, "approved", json_boolean(strcmp(tail_events_decision(one), "approved") == 0));
    add_event(tail, AC_EVENT_TRACE_UPDATE, one, data, "started_at");
}

static void tail_events_add_end(ac_tail_t *tail, const json_t *one)
{
    const json_t *step = json_object_get(one, "step");
    bool failed = json_is_string(json_object_get(step, "error"));
    json_t *data = event_data(one);
    tail_events_copy(data, "tool", step, "tool");
    tail_events_copy(data, "arguments", step, "arguments");
    if (failed || !json_object_get(one, "index")) {
        tail_events_copy(data, failed ? "error" : "result", step, failed ? "error" : "result");
    }
    tail_events_copy(data, "latency_ms", step, "latency_ms");
    if (*tail_events_decision(one)) {
        ac_json_put(data, "approved", json_boolean(strcmp(tail_events_decision(one), "approved") == 0));
    }
    add_event(tail, AC_EVENT_TRACE_END, one, data, "completed_at");
    tail_events_add_sources(tail, step);
}

/* ---- the calls of a round ---- */

/* Some needed approval: the others ended before the run was suspended, and those of the client at its end. */
static void add_suspended_round(ac_tail_t *tail, const json_t *round, size_t n_requests)
{
    enum { STARTS, OTHERS, REQUESTS, DECISIONS, ENDS, N_PASSES };
    const json_t *one;
    size_t i;
    for (int pass = STARTS; pass < N_PASSES; pass++) {
        json_array_foreach((json_t *)round, i, one)
        {
            bool needed = *tail_events_decision(one) != '\0', late = needed || json_object_get(one, "index");
            if (pass == STARTS) {
                tail_events_add_start(tail, one);
            } else if ((pass == OTHERS && !late) || (pass == ENDS && late)) {
                tail_events_add_end(tail, one);
            } else if (pass == REQUESTS && needed) {
                tail_events_add_request(tail, one, --n_requests > 0);
            } else if (pass == DECISIONS && needed) {
                add_decision(tail, one);
            }
        }
    }
}

/* Adds the calls that have been collected, and empties the list. */
static void add_round(ac_tail_t *tail, json_t *round)
{
    const json_t *one, *first = json_object_get(json_array_get(round, 0), "step");
    size_t i, n_requests = 0;
    json_array_foreach(round, i, one)
    {
        n_requests += *tail_events_decision(one) != '\0';
    }
    if (n_requests) {
        add_suspended_round(tail, round, n_requests);
    }
    json_array_foreach(n_requests ? NULL : round, i, one)
    {
        tail_events_add_start(tail, one);
        tail_events_add_end(tail, one);
    }
    if (first) {
        tail_events_add_reasoning(tail, ac_json_peek_int(first, "round", 0) + 1);
    }
    json_array_clear(round);
}

/* Collects a call, after those of an earlier round were added. call NULL: unknown. */
static void collect_call(ac_tail_t *tail, json_t *round, json_t *step, json_t *call)
{
    const json_t *before = json_object_get(json_array_get(round, 0), "step");
    json_t *one = json_pack("{s:O, s:O?}", "step", step, "call", call);
    if (before && !json_equal(json_object_get(before, "round"), json_object_get(step, "round"))) {
        add_round(tail, round);
    }
    if (json_is_true(json_object_get(step, "client"))) {
        ac_json_put(one, "index", json_integer(tail->n_client++));
    }
    json_array_append_new(round, one);
}

/* Steps of an older version do not name their call: the first one with the same tool and arguments counts. */
static bool is_step_of(const json_t *step, const json_t *call)
{
    const json_t *id = json_object_get(step, "call_id");
    if (json_is_string(id)) {
        return json_equal(id, json_object_get(call, "id"));
    }
    return json_equal(json_object_get(call, "tool"), json_object_get(step, "tool")) &&
        json_equal(json_object_get(call, "arguments"), json_object_get(step, "arguments"));
}

/* ---- an answer without the order of its parts: its calls come first ---- */

/* The call of a step. Steps are in the order of their end, calls in the model's order. Removes the call from calls;
 * new reference. */
static json_t *call_of(json_t *calls, const json_t *step)
{
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        if (!is_step_of(step, call)) {
            continue;
        }
        json_incref(call);
        json_array_remove(calls, i);
        return call;
    }
    return NULL;
}

static void add_tools(ac_tail_t *tail)
{
    json_t *calls = json_copy(json_object_get(tail->message, "tool_calls")), *round = json_array(), *step;
    size_t i;
    json_array_foreach(tail->steps, i, step)
    {
        if (strcmp(ac_json_peek_string(step, "type", ""), "tool_call") != 0 ||
            json_object_get(step, "parent_step_id")) { /* the message has the calls of the turn's own agent */
            continue;
        }
        json_t *call = call_of(calls, step);
        collect_call(tail, round, step, call);
        json_decref(call);
    }
    add_round(tail, round);
    json_decref(round);
    json_decref(calls);
}

/* ---- text and calls in their order ---- */

/* The step of a call. Removes it from steps; new reference. */
static json_t *step_of(json_t *steps, const json_t *call)
{
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        if (strcmp(ac_json_peek_string(step, "type", ""), "tool_call") != 0 || !is_step_of(step, call)) {
            continue;
        }
        json_incref(step);
        json_array_remove(steps, i);
        return step;
    }
    return NULL;
}

static void collect_part(ac_tail_t *tail, json_t *round, json_t *steps, const json_t *id)
{
    size_t i;
    json_t *call;
    json_array_foreach(json_object_get(tail->message, "tool_calls"), i, call)
    {
        if (!json_equal(json_object_get(call, "id"), id)) {
            continue;
        }
        json_t *step = step_of(steps, call);
        if (step) {
            collect_call(tail, round, step, call);
        }
        json_decref(step);
        return;
    }
}

/* Text and calls in the order that the message keeps. A list that does not fit the text is used as far as it fits. */
static void add_parts(ac_tail_t *tail, json_t *parts, const char *text, size_t len)
{
    json_t *steps = json_copy(tail->steps), *round = json_array(), *part;
    size_t i, at = 0;
    json_array_foreach(parts, i, part)
    {
        json_int_t size = json_integer_value(part);
        size_t n = size > 0 && (uint64_t)size < len - at ? (size_t)size : len - at;
        if (json_is_string(part)) {
            collect_part(tail, round, steps, part);
        } else if (i + 1 < json_array_size(parts)) {
            add_round(tail, round);
            tail_events_add_text(tail, AC_EVENT_TOKEN, text + at, n, tail->events[tail->n_events - 1]->at);
            at += n;
        }
    }
    add_round(tail, round);
    tail_events_add_text(tail, AC_EVENT_TOKEN, text + at, len - at, ac_stored_event_time(tail->run, "completed_at"));
    json_decref(round);
    json_decref(steps);
}

void ac_tail_events_make(ac_tail_t *tail)
{
    const json_t *content = json_object_get(tail->message, "content");
    const char *text = json_is_string(content) ? json_string_value(content) : "";
    bool has_part = tail->log || tail->mirror.has_part;
    size_t len = strlen(text), delivered = has_part ? tail->cursor.n_text : 0;
    json_t *parts = json_object_get(json_object_get(tail->message, "metadata"), "parts");
    apr_time_t ended = ac_stored_event_time(tail->run, "completed_at");
    if (!has_part) {
        tail_events_add_run(tail);
        tail_events_add_reasoning(tail, 1);
    }
    if (!has_part && json_is_array(parts)) {
        add_parts(tail, parts, text, len);
        delivered = len;
    } else if (!has_part) {
        add_tools(tail);
    }
    if (delivered < len) {
        tail_events_add_text(tail, AC_EVENT_TOKEN, text + delivered, len - delivered, ended);
    }
    json_t *step;
    size_t i;
    json_array_foreach(has_part ? NULL : tail->steps, i, step)
    {
        if (!json_object_get(step, "call_id")) { /* named by a model */
            tail_events_add_sources(tail, step);
        }
    }
    tail_events_add(tail, ac_stored_event_terminal(tail->run, tail->message), ended);
}
