/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run without a log, made from its stored documents: the run, its steps, its messages. For a log
 * that was cut, only the events behind its end. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

#define LOOK apr_time_from_msec(250)  /* at a run that is active elsewhere without a log: at first */
#define LOOK_MAX apr_time_from_sec(2) /* later */
#define GONE_AFTER 2                  /* looks at a run whose log is not here: a child may be adopting it */

void ac_tail_stored_free(ac_tail_t *tail)
{
    for (int i = tail->next_event; i < tail->n_events; i++) {
        ac_event_unref(tail->events[i]);
    }
    free(tail->events);
    tail->events = NULL;
    tail->n_events = tail->next_event = 0;
    json_decref(tail->run);
    json_decref(tail->steps);
    json_decref(tail->message);
    json_decref(tail->user_message);
    tail->run = tail->steps = tail->message = tail->user_message = NULL;
}

/* ---- events ---- */

static void tail_stored_add(ac_tail_t *tail, ac_event_t *event, apr_time_t at)
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

static void tail_stored_copy(json_t *to, const char *name, const json_t *from, const char *member)
{
    json_t *value = json_object_get(from, member);
    ac_json_put(to, name, value ? json_incref(value) : json_null());
}

static void tail_stored_add_run(ac_tail_t *tail)
{
    json_t *data = json_object();
    tail_stored_copy(data, "run_id", tail->run, "id");
    tail_stored_copy(data, "thread_id", tail->run, "thread_id");
    tail_stored_copy(data, "agent_id", tail->run, "agent_id");
    if (json_object_get(tail->run, "parent_id")) {
        tail_stored_copy(data, "message_id", tail->run, "parent_id");
    } else { /* a run of an older version */
        tail_stored_copy(data, "message_id", tail->user_message, "id");
    }
    tail_stored_add(tail, ac_event_create(AC_EVENT_RUN, data, NULL, 0), ac_stored_event_time(tail->run, "created_at"));
}

static void tail_stored_mark(ac_tail_t *tail, json_t *data)
{
    ac_json_put(data, "client", json_true());
    ac_json_put(data, "index", json_integer(tail->n_client));
}

/* The client that carries the call out knows its arguments from their parts. */
static void add_arguments(ac_tail_t *tail, const json_t *step, const json_t *call)
{
    const json_t *arguments = json_object_get(step, "arguments");
    char *text = json_is_string(arguments) ? strdup(json_string_value(arguments)) : ac_json_dump(arguments, NULL);
    json_t *data = json_object();
    tail_stored_copy(data, "step_id", step, "id");
    tail_stored_copy(data, "call_id", call, "id");
    ac_json_put(data, "arguments_delta", ac_json_text(text ? text : "{}"));
    tail_stored_mark(tail, data);
    free(text);
    tail_stored_add(tail, ac_event_create(AC_EVENT_TRACE_UPDATE, data, NULL, 0),
                    ac_stored_event_time(step, "completed_at"));
}

static void add_tool(ac_tail_t *tail, const json_t *step, const json_t *call)
{
    json_t *start = json_object(), *end = json_object();
    bool client = json_is_true(json_object_get(step, "client"));
    bool failed = json_is_string(json_object_get(step, "error"));
    tail_stored_copy(start, "step_id", step, "id");
    tail_stored_copy(start, "tool", step, "tool");
    tail_stored_copy(start, "call_id", call, "id");
    if (client) {
        tail_stored_mark(tail, start);
        tail_stored_mark(tail, end);
    }
    tail_stored_add(tail, ac_event_create(AC_EVENT_TRACE_START, start, NULL, 0),
                    ac_stored_event_time(step, "started_at"));
    if (client) {
        add_arguments(tail, step, call);
        tail->n_client++;
    }
    tail_stored_copy(end, "step_id", step, "id");
    tail_stored_copy(end, "tool", step, "tool");
    tail_stored_copy(end, "arguments", step, "arguments");
    if (failed || !client) {
        tail_stored_copy(end, failed ? "error" : "result", step, failed ? "error" : "result");
    }
    tail_stored_copy(end, "latency_ms", step, "latency_ms");
    tail_stored_copy(end, "call_id", call, "id");
    if (json_is_string(json_object_get(step, "approval"))) {
        ac_json_put(end, "approved", json_boolean(strcmp(ac_json_peek_string(step, "approval", ""), "approved") == 0));
    }
    tail_stored_add(tail, ac_event_create(AC_EVENT_TRACE_END, end, NULL, 0),
                    ac_stored_event_time(step, "completed_at"));
}

/* The call of a step. Steps are in the order of their end, calls in the model's order. Removes the call from calls;
 * new reference. */
static json_t *call_of(json_t *calls, const json_t *step)
{
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        bool same = json_equal(json_object_get(call, "tool"), json_object_get(step, "tool")) &&
            json_equal(json_object_get(call, "arguments"), json_object_get(step, "arguments"));
        if (!same) {
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
    json_t *calls = json_copy(json_object_get(tail->message, "tool_calls")), *step;
    size_t i;
    json_array_foreach(tail->steps, i, step)
    {
        if (strcmp(ac_json_peek_string(step, "type", ""), "tool_call") != 0) {
            continue;
        }
        json_t *call = call_of(calls, step);
        add_tool(tail, step, call);
        json_decref(call);
    }
    json_decref(calls);
}

static void tail_stored_add_text(ac_tail_t *tail, const char *text, size_t len, apr_time_t at)
{
    while (len > 0) {
        size_t part = len > AC_TAIL_PIECE ? ac_utf8_whole(text, AC_TAIL_PIECE) : len;
        part = part ? part : len;
        tail_stored_add(tail, ac_event_create(AC_EVENT_TOKEN, NULL, text, part), at);
        text += part;
        len -= part;
    }
}

/* The step of a call: the first one with its tool and arguments. Removes it from steps; new reference. */
static json_t *step_of(json_t *steps, const json_t *call)
{
    size_t i;
    json_t *step;
    json_array_foreach(steps, i, step)
    {
        bool same = strcmp(ac_json_peek_string(step, "type", ""), "tool_call") == 0 &&
            json_equal(json_object_get(call, "tool"), json_object_get(step, "tool")) &&
            json_equal(json_object_get(call, "arguments"), json_object_get(step, "arguments"));
        if (!same) {
            continue;
        }
        json_incref(step);
        json_array_remove(steps, i);
        return step;
    }
    return NULL;
}

static void tail_stored_add_call(ac_tail_t *tail, json_t *steps, const json_t *id)
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
            add_tool(tail, step, call);
        }
        json_decref(step);
        return;
    }
}

/* Text and calls in the order that the message keeps. A list that does not fit the text is used as far as it fits. */
static void add_parts(ac_tail_t *tail, json_t *parts, const char *text, size_t len)
{
    json_t *steps = json_copy(tail->steps), *part;
    size_t i, at = 0;
    json_array_foreach(parts, i, part)
    {
        json_int_t size = json_integer_value(part);
        size_t n = size > 0 && (uint64_t)size < len - at ? (size_t)size : len - at;
        if (json_is_string(part)) {
            tail_stored_add_call(tail, steps, part);
        } else if (i + 1 < json_array_size(parts)) {
            tail_stored_add_text(tail, text + at, n, tail->events[tail->n_events - 1]->at);
            at += n;
        }
    }
    tail_stored_add_text(tail, text + at, len - at, ac_stored_event_time(tail->run, "completed_at"));
    json_decref(steps);
}

static void make_events(ac_tail_t *tail)
{
    const json_t *content = json_object_get(tail->message, "content");
    const char *text = json_is_string(content) ? json_string_value(content) : "";
    bool has_part = tail->log || tail->mirror.has_part;
    size_t len = strlen(text), delivered = has_part ? tail->cursor.n_text : 0;
    json_t *parts = json_object_get(json_object_get(tail->message, "metadata"), "parts");
    apr_time_t ended = ac_stored_event_time(tail->run, "completed_at");
    if (!has_part) {
        tail_stored_add_run(tail);
    }
    if (!has_part && json_is_array(parts)) {
        add_parts(tail, parts, text, len);
        delivered = len;
    } else if (!has_part) {
        add_tools(tail);
    }
    if (delivered < len) {
        tail_stored_add_text(tail, text + delivered, len - delivered, ended);
    }
    tail_stored_add(tail, ac_stored_event_terminal(tail->run, tail->message), ended);
}

/* The follower has emitted events whose part of the answer is no longer known. A terminal ERROR can still be
 * delivered; after DONE the follower would take its part for the whole answer. */
static bool tail_stored_find_place(ac_tail_t *tail)
{
    const ac_event_t *last = tail->events[tail->n_events - 1];
    if (!ac_tail_is_beyond(tail)) {
        return true;
    }
    if (last->type == AC_EVENT_ERROR) {
        tail->after = last->seq - 1;
        return true;
    }
    ac_tail_refuse_gone(tail, "the run has ended");
    return false;
}

static void tail_stored_deliver(ac_tail_t *tail)
{
    while (tail->next_event < tail->n_events && !tail->left && !tail->ended) {
        if (!ac_tail_has_room(tail)) {
            return;
        }
        ac_tail_deliver(tail, tail->events[tail->next_event++]);
    }
    ac_tail_continue(tail, 0);
}

/* ---- the store ---- */

static void tail_stored_ask(ac_tail_t *tail, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    if (!op) {
        abort();
    }
    op->deadline = ac_clock() + tail->engine->conf.store_timeout;
    tail->pending = true;
    ac_store_call_post(tail->engine->store, tail->engine->loop, op, done, tail);
}

/* The tail of a completed operation. NULL: it has no use for the result; then op is freed. */
static ac_tail_t *answered(ac_store_op_t *op)
{
    ac_tail_t *tail = op->baton;
    ac_err_t err = op->err;
    tail->pending = false;
    if (op->status == APR_SUCCESS && !tail->left) {
        return tail;
    }
    if (!tail->left) {
        if (!err.kind) {
            ac_err_set(&err, AC_STORE_ERROR, "the store failed");
        }
        ac_err_while(&err, "reading the run");
        ac_tail_fail(tail, &err);
    } else {
        ac_tail_continue(tail, 0);
    }
    ac_store_op_free(op);
    return NULL;
}

static void ask_messages(ac_tail_t *tail);

static void on_messages(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    size_t i;
    json_t *message;
    bool found = false; /* the question: a run's answer is newer */
    if (!tail) {
        return;
    }
    const char *question = ac_json_peek_string(tail->run, "parent_id", "");
    json_array_foreach(json_object_get(op->out, "data"), i, message)
    {
        json_t **pkept = ac_record_is_answer(message) ? &tail->message : &tail->user_message;
        tail->before_seq = ac_json_peek_int(message, "seq", tail->before_seq);
        found = found || strcmp(ac_json_peek_string(message, "id", ""), question) == 0;
        if (strcmp(ac_json_peek_string(message, "run_id", ""), tail->run_id) != 0 || *pkept) {
            continue;
        }
        *pkept = json_incref(message);
    }
    bool more = i && json_is_true(json_object_get(op->out, "has_more"));
    ac_store_op_free(op);
    /* Messages come from the newest on; the user's message is the first of its turn. */
    if (more && !tail->user_message && !found) {
        ask_messages(tail);
        return;
    }
    make_events(tail);
    if (tail_stored_find_place(tail)) {
        tail_stored_deliver(tail);
    }
}

static void ask_messages(ac_tail_t *tail)
{
    ac_store_op_t *op =
        ac_store_op_create(AC_STORE_MESSAGE_LIST, tail->owner, ac_json_peek_string(tail->run, "thread_id", ""));
    if (op) {
        op->in = json_pack("{s:b}", "all", 1);
        op->page.limit = AC_MAX_PAGE;
        op->page.descending = true;
        op->page.before_seq = tail->before_seq;
    }
    tail_stored_ask(tail, op, on_messages);
}

static void on_steps(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    if (!tail) {
        return;
    }
    tail->steps = json_incref(json_object_get(op->out, "data"));
    ac_store_op_free(op);
    tail->before_seq = 0;
    ask_messages(tail);
}

static void tail_stored_look_again(ac_tail_t *tail)
{
    apr_interval_time_t wait = LOOK << (tail->n_looks < 8 ? tail->n_looks : 8) / 2;
    if (tail->n_looks++ >= GONE_AFTER && ac_tail_is_beyond(tail)) {
        ac_tail_refuse_gone(tail, "the run continues where its events cannot be read from here");
        return;
    }
    if (!ac_tail_is_beyond(tail)) {
        ac_tail_report_live(tail);
    }
    ac_tail_continue(tail, wait < LOOK_MAX ? wait : LOOK_MAX);
}

static void tail_stored_on_run(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    if (!tail) {
        return;
    }
    json_decref(tail->run);
    tail->run = json_incref(op->out);
    ac_store_op_free(op);
    if (!ac_tail_mirror_read(tail)) {
        ac_tail_stored_decide(tail);
    }
}

void ac_tail_stored_decide(ac_tail_t *tail)
{
    if (ac_record_is_active(tail->run)) {
        tail_stored_look_again(tail);
    } else {
        tail_stored_ask(tail, ac_store_op_create(AC_STORE_STEP_LIST, tail->owner, tail->run_id), on_steps);
    }
}

void ac_tail_stored_continue(ac_tail_t *tail)
{
    if (tail->n_events) {
        tail_stored_deliver(tail);
    } else {
        tail_stored_ask(tail, ac_store_op_create(AC_STORE_RUN_GET, tail->owner, tail->run_id), tail_stored_on_run);
    }
}
