/* SPDX-License-Identifier: Apache-2.0 */
/* Events to bytes: the functions of each dialect, and at the end of the file its row. Rendering a token is the
 * hottest path of the module: it copies bytes and does nothing else. */
#include "stream_internal.h"
#include "front/api/api.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

/* ---- parts of events ---- */

/* `,"timestamp":"2026-11-21T05:25:46.123Z"}` and the blank line that ends an event; formatted once per millisecond
 * and thread. */
typedef struct stamp_t {
    apr_time_t ms;
    size_t len;
    char text[AC_TIME_SIZE + 24];
} stamp_t;

static const stamp_t *dialect_stamp_of(apr_time_t at)
{
    static __thread stamp_t stamp = {.ms = -1};
    apr_time_t ms = at / 1000;
    if (ms != stamp.ms) {
        static const char before[] = ",\"timestamp\":\"", after[] = "\"}\n\n";
        char *to = stamp.text;
        memcpy(to, before, sizeof(before) - 1);
        to += sizeof(before) - 1;
        ac_time_format(to, at);
        to += strlen(to);
        memcpy(to, after, sizeof(after));
        stamp.len = (size_t)(to - stamp.text) + sizeof(after) - 1;
        stamp.ms = ms;
    }
    return &stamp;
}

#define ID_SPACE 32 /* "id: ", 20 digits, a line end */

static char *put_id(char *to, uint64_t seq)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + seq % 10);
        seq /= 10;
    } while (seq);
    memcpy(to, "id: ", 4);
    memcpy(to + 4, digits + n, sizeof(digits) - n);
    to += 4 + sizeof(digits) - n;
    *to++ = '\n';
    return to;
}

static void add_id(const ac_render_t *render, uint64_t seq, ac_buf_t *out)
{
    char line[ID_SPACE];
    /* An event of the server itself has no number: the client resumes after the last event of the run. */
    if (render->dialect->ids && seq) {
        ac_buf_add(out, line, (size_t)(put_id(line, seq) - line));
    }
}

/* Appends `id: 7`, head, and the text as a JSON string. */
static void add_token(const ac_render_t *render, const ac_event_t *event, const char *head, size_t head_len,
                      ac_buf_t *out)
{
    char start[ID_SPACE + 64], *to = start;
    if (render->dialect->ids) {
        to = put_id(to, event->seq);
    }
    memcpy(to, head, head_len);
    ac_buf_add(out, start, (size_t)(to - start) + head_len);
    ac_buf_json(out, event->text, event->len);
}
#define TOKEN(render, event, head, out) \
    do { \
        _Static_assert(sizeof(head) <= 64, "room in add_token"); \
        add_token(render, event, head, sizeof(head) - 1, out); \
    } while (0)

void ac_dialect_keep_facts(ac_render_t *render, const ac_event_t *event)
{
    if (event->type == AC_EVENT_RUN) {
        apr_cpystrn(render->thread_id, ac_json_peek_string(event->data, "thread_id", ""), sizeof(render->thread_id));
        apr_cpystrn(render->run_id, ac_json_peek_string(event->data, "run_id", ""), sizeof(render->run_id));
        render->began = event->at;
    } else if (event->type == AC_EVENT_ERROR) {
        render->status = ac_err_row(event->kind)->http;
        render->ended = true;
    } else if (event->type == AC_EVENT_DONE) {
        render->ended = true;
    }
}

void ac_dialect_keep_event(ac_render_t *render, const ac_event_t *event)
{
    ac_event_unref(render->kept);
    render->kept = (ac_event_t *)event; /* only its count changes */
    ac_event_ref(render->kept);
}

apr_status_t ac_dialect_finish(ac_buf_t *out, size_t before)
{
    if (!out->failed) {
        return APR_SUCCESS;
    }
    out->len = before;
    if (out->data) {
        out->data[before] = '\0';
    }
    return APR_ENOSPC;
}

void ac_dialect_add_json(ac_buf_t *out, const json_t *value)
{
    size_t len = 0;
    char *text = ac_json_dump(value ? value : json_null(), &len);
    if (!text || ac_buf_add(out, text, len) != APR_SUCCESS) {
        out->failed = true;
    }
    free(text);
}

void ac_dialect_add_text(ac_buf_t *out, const char *name, const char *text)
{
    ac_buf_printf(out, ",\"%s\":", name);
    ac_buf_json(out, text, strlen(text));
}

void ac_dialect_add_member(ac_buf_t *out, const char *name, const json_t *value)
{
    ac_buf_printf(out, ",\"%s\":", name);
    ac_dialect_add_json(out, value);
}

/* Appends the members of an object without its braces. */
static void add_members(ac_buf_t *out, const json_t *object)
{
    size_t len = 0;
    char *text = object ? ac_json_dump(object, &len) : NULL;
    if (text && len > 2) {
        LITERAL(out, ",");
        ac_buf_add(out, text + 1, len - 2);
    } else if (object && !text) {
        out->failed = true;
    }
    free(text);
}

static void add_member_string(ac_buf_t *out, const json_t *object, const char *name, const char *before)
{
    ac_buf_str(out, before);
    ac_dialect_add_json(out, json_object_get(object, name));
}

/* {"code":…,"message":… */
static void add_reason(ac_buf_t *out, const json_t *data)
{
    add_member_string(out, data, "code", "\"code\":");
    add_member_string(out, data, "message", ",\"message\":");
}

/* The thread under both of its names. */
static void add_thread_id(const ac_render_t *render, ac_buf_t *out)
{
    LITERAL(out, "\"" AC_COMPAT_THREAD_ID "\":");
    ac_buf_json(out, render->thread_id, strlen(render->thread_id));
    LITERAL(out, ",\"thread_id\":");
    ac_buf_json(out, render->thread_id, strlen(render->thread_id));
}

void ac_dialect_begin_events(apr_interval_time_t retry, ac_buf_t *out)
{
    if (retry > 0) {
        /* Part of the first event's block: some clients treat each block as an event. */
        ac_buf_printf(out, "retry: %" APR_INT64_T_FMT "\n", (apr_int64_t)apr_time_as_msec(retry));
    }
}

apr_status_t ac_dialect_no_heartbeat(ac_render_t *render, ac_buf_t *out)
{
    (void)render;
    (void)out;
    return APR_SUCCESS;
}

apr_status_t ac_dialect_comment_heartbeat(ac_render_t *render, ac_buf_t *out)
{
    size_t before = out->len;
    (void)render;
    LITERAL(out, ": heartbeat\n"); /* a blank line would be an event without data to some clients */
    return ac_dialect_finish(out, before);
}

/* ---- native: all events with all members ---- */

static apr_status_t native_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    const stamp_t *stamp = dialect_stamp_of(event->at);
    if (event->type == AC_EVENT_TOKEN) {
        TOKEN(render, event, "data: {\"type\":\"token\",\"content\":", out);
        ac_buf_add(out, stamp->text, stamp->len);
        return ac_dialect_finish(out, before);
    }
    if (event->type == AC_EVENT_REASONING) {
        TOKEN(render, event, "data: {\"type\":\"reasoning\",\"content\":", out);
        ac_buf_add(out, stamp->text, stamp->len);
        return ac_dialect_finish(out, before);
    }
    ac_dialect_keep_facts(render, event);
    add_id(render, event->seq, out);
    LITERAL(out, "data: {\"type\":\"");
    ac_buf_str(out, ac_event_name(event->type));
    LITERAL(out, "\"");
    add_members(out, event->data);
    ac_buf_add(out, stamp->text, stamp->len);
    return ac_dialect_finish(out, before);
}

static apr_status_t native_heartbeat(ac_render_t *render, ac_buf_t *out)
{
    size_t before = out->len;
    const stamp_t *stamp = dialect_stamp_of(apr_time_now());
    (void)render;
    LITERAL(out, "data: {\"type\":\"heartbeat\"");
    ac_buf_add(out, stamp->text, stamp->len);
    return ac_dialect_finish(out, before);
}

/* ---- chunk: /chat ---- */

static void chunk_done(const ac_event_t *event, ac_buf_t *out)
{
    const stamp_t *stamp = dialect_stamp_of(event->at);
    LITERAL(out, "data: {\"type\":\"done\",\"full_response\":");
    ac_buf_json(out, event->text, event->len);
    ac_buf_add(out, stamp->text, stamp->len);
}

static apr_status_t chunk_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    switch (event->type) {
    case AC_EVENT_TOKEN:
        TOKEN(render, event, "data: {\"type\":\"chunk\",\"content\":", out);
        LITERAL(out, "}\n\n");
        break;
    case AC_EVENT_RUN:
        add_id(render, event->seq, out);
        LITERAL(out, "data: {\"type\":\"metadata\",");
        add_thread_id(render, out);
        LITERAL(out, "}\n\n");
        break;
    case AC_EVENT_DONE:
        add_id(render, event->seq, out);
        chunk_done(event, out);
        break;
    case AC_EVENT_ERROR:
        add_id(render, event->seq, out);
        LITERAL(out, "data: {\"type\":\"error\",");
        add_reason(out, event->data);
        LITERAL(out, "}\n\n");
        break;
    default: break; /* this dialect has no events of tools and no reasoning */
    }
    return ac_dialect_finish(out, before);
}

/* ---- text: /agent/stream ---- */

static apr_status_t text_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    switch (event->type) {
    case AC_EVENT_TOKEN:
        TOKEN(render, event, "data: {\"text\":", out);
        LITERAL(out, "}\n\n");
        break;
    case AC_EVENT_ERROR:
        LITERAL(out, "event: error\ndata: {");
        add_reason(out, event->data);
        LITERAL(out, "}\n\n");
        break;
    case AC_EVENT_DONE: LITERAL(out, "event: done\ndata: {}\n\n"); break;
    default: break;
    }
    return ac_dialect_finish(out, before);
}

/* ---- documents: one JSON text at the end; stream.c makes a problem response of an error ---- */

/* The message that was not stored: the run was stateless, or its thread was deleted meanwhile. */
static void message_unstored(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    char at[AC_TIME_SIZE];
    ac_time_format(at, event->at);
    LITERAL(out, "{\"id\":null,\"thread_id\":");
    if (render->thread_id[0]) {
        ac_buf_json(out, render->thread_id, strlen(render->thread_id));
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, ",\"role\":\"assistant\",\"content\":");
    ac_buf_json(out, event->text, event->len);
    LITERAL(out, ",\"tool_calls\":null,\"run_id\":");
    ac_buf_json(out, render->run_id, strlen(render->run_id));
    LITERAL(out, ",\"timestamp\":");
    ac_buf_json(out, at, strlen(at));
    LITERAL(out, "}");
}

static apr_status_t message_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    if (event->type == AC_EVENT_DONE && event->message) {
        json_t *shown = json_copy(event->message); /* other followers have the same event */
        ac_record_show_parts(shown);
        ac_dialect_add_json(out, shown);
        json_decref(shown);
    } else if (event->type == AC_EVENT_DONE) {
        message_unstored(render, event, out);
    }
    return ac_dialect_finish(out, before);
}

static apr_status_t chat_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    char at[AC_TIME_SIZE];
    ac_dialect_keep_facts(render, event);
    if (event->type != AC_EVENT_DONE) {
        return APR_SUCCESS;
    }
    ac_time_format(at, event->at);
    LITERAL(out, "{");
    add_thread_id(render, out);
    LITERAL(out, ",\"response\":");
    ac_buf_json(out, event->text, event->len);
    LITERAL(out, ",\"timestamp\":");
    ac_buf_json(out, at, strlen(at));
    LITERAL(out, "}");
    return ac_dialect_finish(out, before);
}

/* ---- accepted: the run, which continues in the background ---- */

static apr_status_t accepted_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    bool queued = event->type == AC_EVENT_QUEUED;
    ac_dialect_keep_facts(render, event);
    if (!queued && event->type != AC_EVENT_RUN) {
        return APR_SUCCESS;
    }
    render->status = HTTP_ACCEPTED;
    render->ended = true;
    add_member_string(out, event->data, "run_id", "{\"id\":");
    add_member_string(out, event->data, "thread_id", ",\"thread_id\":");
    add_member_string(out, event->data, "agent_id", ",\"agent_id\":");
    add_member_string(out, event->data, "message_id", ",\"parent_id\":");
    ac_dialect_add_text(out, "status", queued ? "queued" : "in_progress");
    if (json_object_get(event->data, "place")) {
        ac_dialect_add_member(out, "place", json_object_get(event->data, "place"));
    }
    LITERAL(out, "}");
    return ac_dialect_finish(out, before);
}

/* ---- the table ---- */

#define EVENTS "text/event-stream; charset=utf-8"
#define JSON "application/json"

/* A route names the first of its dialects; `next` leads to the others, and Accept chooses. */
const ac_dialect_t ac_dialect_message = {.name = "message",
                                         .media_type = JSON,
                                         .event = message_event,
                                         .heartbeat = ac_dialect_no_heartbeat};
const ac_dialect_t ac_dialect_chat = {.name = "chat",
                                      .media_type = JSON,
                                      .event = chat_event,
                                      .heartbeat = ac_dialect_no_heartbeat};
const ac_dialect_t ac_dialect_accepted = {.name = "accepted",
                                          .media_type = JSON,
                                          .event = accepted_event,
                                          .heartbeat = ac_dialect_no_heartbeat};
const ac_dialect_t ac_dialect_native = {.name = "native",
                                        .media_type = EVENTS,
                                        .stream = true,
                                        .ids = true,
                                        .next = &ac_dialect_message,
                                        .begin = ac_dialect_begin_events,
                                        .event = native_event,
                                        .heartbeat = native_heartbeat};
const ac_dialect_t ac_dialect_chunk = {.name = "chunk",
                                       .media_type = EVENTS,
                                       .stream = true,
                                       .ids = true,
                                       .next = &ac_dialect_chat,
                                       .begin = ac_dialect_begin_events,
                                       .event = chunk_event,
                                       .heartbeat = ac_dialect_comment_heartbeat};
const ac_dialect_t ac_dialect_text = {.name = "text",
                                      .media_type = EVENTS,
                                      .stream = true,
                                      .begin = ac_dialect_begin_events,
                                      .event = text_event,
                                      .heartbeat = ac_dialect_comment_heartbeat};

void ac_dialect_render_init(ac_render_t *render, const ac_dialect_t *dialect)
{
    memset(render, 0, sizeof(*render));
    render->dialect = dialect;
    render->status = HTTP_OK;
}
