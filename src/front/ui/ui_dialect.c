/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as parts of a UI message stream. Clients end a stream at a part that they do not know, at a null
 * and at a delta whose part has not begun; those of versions 5 and 6 also at a text that is left open at the end of its
 * step. A stream ends where calls await approval, as the clients expect; the run does not. */
#include "ui_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

/* ---- where the stream is: render->place ---- */

enum {
    IN_STREAM = 1, /* `start` was sent */
    IN_STEP = 2,
    HAS_RESULTS = 4, /* calls of this step have ended: what follows is another step */
    WAITS = 8,       /* calls await approval */
    IS_LIVE = 16,    /* the stored events were sent */
    ASKS = 32        /* this step has nothing but calls of agents that await approval */
};

static const ac_ui_view_t *ui_view_of(const ac_render_t *render)
{
    return render->view;
}

static bool ui_dialect_has(const ac_render_t *render, unsigned flag)
{
    return (render->place.flags & flag) != 0;
}

/* ---- parts ---- */

static void part_begin(ac_buf_t *out, const char *type)
{
    ac_buf_printf(out, "data: {\"type\":\"%s\"", type);
}

static void part_end(ac_buf_t *out)
{
    LITERAL(out, "}\n\n");
}

static void part_alone(ac_buf_t *out, const char *type)
{
    part_begin(out, type);
    part_end(out);
}

/* ---- the frame: stream, steps, texts ---- */

static void begin_stream(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    char id[AC_ID_SIZE];
    const char *agent = event ? ac_json_peek_string(event->data, "agent_id", NULL) : NULL;
    if (ui_dialect_has(render, IN_STREAM)) {
        return;
    }
    render->place.flags |= IN_STREAM;
    ac_record_answer_id(id, render->run_id);
    part_begin(out, "start");
    ac_dialect_add_text(out, "messageId", id);
    LITERAL(out, ",\"messageMetadata\":{\"run_id\":");
    ac_buf_json(out, render->run_id, strlen(render->run_id));
    ac_dialect_add_text(out, "thread_id", render->thread_id);
    if (agent) {
        ac_dialect_add_text(out, "agent_id", agent);
    }
    LITERAL(out, "}");
    part_end(out);
}

/* The parts with text, as `open` names them. */
enum { TEXT = 1, REASONING = 2 };
static const char *const ui_dialect_kinds[] = {[TEXT] = "text", [REASONING] = "reasoning"};

/* {"type":"text-delta","id":"text-3" */
static void ui_dialect_text(const ac_render_t *render, const char *what, ac_buf_t *out)
{
    const char *kind = ui_dialect_kinds[render->place.open];
    ac_buf_printf(out, "data: {\"type\":\"%s-%s\",\"id\":\"%s-%u\"", kind, what, kind, render->place.n_items);
}

static void end_text(ac_render_t *render, ac_buf_t *out)
{
    if (render->place.open) {
        ui_dialect_text(render, "end", out);
        part_end(out);
        render->place.open = 0;
    }
}

static void end_step(ac_render_t *render, ac_buf_t *out)
{
    end_text(render, out);
    if (ui_dialect_has(render, IN_STEP)) {
        part_alone(out, "finish-step");
    }
    render->place.flags &= ~(unsigned)(IN_STEP | HAS_RESULTS | ASKS);
}

/* The step that a text or a new call belongs to. */
static void enter_step(ac_render_t *render, ac_buf_t *out)
{
    if (ui_dialect_has(render, HAS_RESULTS)) {
        end_step(render, out);
    }
    if (!ui_dialect_has(render, IN_STEP)) {
        part_alone(out, "start-step");
        render->place.flags |= IN_STEP;
    }
}

static void ui_dialect_add_text(ac_render_t *render, unsigned kind, const ac_event_t *event, ac_buf_t *out)
{
    enter_step(render, out);
    if (render->place.open != kind) {
        end_text(render, out);
        render->place.open = kind;
        render->place.n_items++;
        ui_dialect_text(render, "start", out);
        part_end(out);
    }
    ui_dialect_text(render, "delta", out);
    LITERAL(out, ",\"delta\":");
    ac_buf_json(out, event->text, event->len);
    part_end(out);
}

/* ---- tool calls ---- */

static bool is_client(const ac_event_t *event)
{
    return json_is_true(json_object_get(event->data, "client"));
}

/* Tools of the server are unknown to the page. Its own ones are typed parts. */
static void add_kind(const ac_event_t *event, ac_buf_t *out)
{
    if (!is_client(event)) {
        LITERAL(out, ",\"dynamic\":true");
    }
}

static void ui_dialect_call_begin(ac_buf_t *out, const char *type, const ac_event_t *event)
{
    part_begin(out, type);
    ac_dialect_add_text(out, "toolCallId", ac_json_peek_string(event->data, "call_id", ""));
}

static void add_input(const ac_event_t *event, bool provider, ac_buf_t *out)
{
    ui_dialect_call_begin(out, "tool-input-available", event);
    ac_dialect_add_text(out, "toolName", ac_json_peek_string(event->data, "tool", ""));
    ac_dialect_add_member(out, "input", json_object_get(event->data, "arguments"));
    add_kind(event, out);
    if (provider) {
        LITERAL(out, ",\"providerExecuted\":true");
    }
    part_end(out);
}

/* A call of an agent that another agent asks is shown when it ends, or awaits approval. */
static bool is_nested(const ac_event_t *event)
{
    return json_object_get(event->data, "parent_step_id") != NULL;
}

static void add_start(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    if (is_nested(event)) {
        return;
    }
    enter_step(render, out);
    end_text(render, out);
    ui_dialect_call_begin(out, "tool-input-start", event);
    ac_dialect_add_text(out, "toolName", ac_json_peek_string(event->data, "tool", ""));
    add_kind(event, out);
    part_end(out);
}

static void add_finish(ac_render_t *render, const char *reason, const json_t *data, ac_buf_t *out);

/* Versions 6 and 7 answer in another request, version 5 by the native API, so that its stream waits. */
static void ui_dialect_add_request(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *id = ac_json_peek_string(event->data, "call_id", "");
    if (is_nested(event) && !ui_dialect_has(render, ASKS)) {
        /* A page answers when no other call of the step is open, and that which asks the agent is. */
        end_step(render, out);
        enter_step(render, out);
        render->place.flags |= ASKS;
    }
    add_input(event, false, out);
    if (ui_view_of(render)->approvals_as_data) {
        part_begin(out, "data-approval");
        ac_dialect_add_text(out, "id", id);
        ac_dialect_add_member(out, "data", event->data);
        part_end(out);
        return;
    }
    ui_dialect_call_begin(out, "tool-approval-request", event);
    ac_dialect_add_text(out, "approvalId", id);
    part_end(out);
    if (json_is_true(json_object_get(event->data, "more"))) {
        return;
    }
    if (ui_view_of(render)->replays && !ui_dialect_has(render, IS_LIVE)) {
        render->place.flags |= WAITS; /* a stored event may say that the decision was made */
    } else {
        add_finish(render, "tool-calls", NULL, out);
    }
}

static void add_update(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *delta = ac_json_peek_string(event->data, "arguments_delta", NULL);
    if (delta && is_nested(event)) {
        return;
    }
    if (delta) {
        ui_dialect_call_begin(out, "tool-input-delta", event);
        ac_dialect_add_text(out, "inputTextDelta", delta);
        part_end(out);
    } else if (json_is_true(json_object_get(event->data, "approval_required"))) {
        ui_dialect_add_request(render, event, out);
    } else if (json_object_get(event->data, "approved")) {
        render->place.flags &= ~(unsigned)WAITS;
    }
}

static void ui_dialect_add_result(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *error = json_object_get(event->data, "error"), *approved = json_object_get(event->data, "approved");
    bool provider = !approved && !is_client(event);
    if (!approved) {
        add_input(event, provider, out);
    }
    if (is_client(event)) {
        return;
    }
    render->place.flags |= HAS_RESULTS;
    if (json_is_false(approved)) {
        ui_dialect_call_begin(out, "tool-output-denied", event);
        part_end(out);
        return;
    }
    ui_dialect_call_begin(out, json_is_string(error) ? "tool-output-error" : "tool-output-available", event);
    if (json_is_string(error)) {
        ac_dialect_add_text(out, "errorText", json_string_value(error));
    } else {
        ac_dialect_add_member(out, "output", json_object_get(event->data, "result"));
    }
    LITERAL(out, ",\"dynamic\":true");
    if (provider) {
        LITERAL(out, ",\"providerExecuted\":true");
    }
    part_end(out);
}

/* ---- sources ---- */

static void ui_dialect_add_sources(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *source;
    size_t i;
    end_text(render, out);
    json_array_foreach(json_object_get(event->data, "sources"), i, source)
    {
        const char *url = ac_json_peek_string(source, "url", NULL), *place = ac_json_peek_string(source, "place", NULL);
        part_begin(out, url ? "source-url" : "source-document");
        ac_dialect_add_text(out, "sourceId", ac_json_peek_string(source, "id", ""));
        if (url) {
            ac_dialect_add_text(out, "url", url);
        } else {
            ac_dialect_add_text(out, "mediaType", "text/plain");
        }
        ac_dialect_add_text(out, "title", ac_json_peek_string(source, "title", ""));
        if (place) {
            ac_dialect_add_text(out, "filename", place);
        }
        part_end(out);
    }
}

/* ---- the end ---- */

static const char *reason_of(const ac_event_t *event)
{
    static const char *const words[][2] = {{"stop", "stop"},
                                           {"length", "length"},
                                           {"content_filter", "content-filter"},
                                           {"tool_calls", "tool-calls"}};
    const char *reason = ac_json_peek_string(event->data, "finish_reason", "");
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(reason, words[i][0]) == 0) {
            return words[i][1];
        }
    }
    return "other";
}

static void add_finish(ac_render_t *render, const char *reason, const json_t *data, ac_buf_t *out)
{
    static const char *const members[] = {"status", "usage", "cost", "message_id"};
    const char *before = "";
    end_step(render, out);
    part_begin(out, "finish");
    ac_dialect_add_text(out, "finishReason", reason);
    LITERAL(out, ",\"messageMetadata\":{");
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        const json_t *value = json_object_get(data, members[i]);
        char *text = value && !json_is_null(value) ? ac_json_dump(value, NULL) : NULL;
        if (text) {
            ac_buf_printf(out, "%s\"%s\":", before, members[i]);
            ac_buf_str(out, text);
            before = ",";
        }
        free(text);
    }
    LITERAL(out, "}");
    part_end(out);
    LITERAL(out, "data: [DONE]\n\n");
    render->ended = true;
}

static void add_done(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    bool cancelled = strcmp(ac_json_peek_string(event->data, "status", ""), "cancelled") == 0;
    end_step(render, out);
    if (cancelled) {
        LITERAL(out, "data: {\"type\":\"abort\",\"reason\":\"cancelled\"}\n\n");
    }
    add_finish(render, cancelled ? "other" : reason_of(event), event->data, out);
}

static void ui_dialect_add_error(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const ac_err_row_t *row = ac_err_row(event->kind);
    char text[sizeof(((ac_err_t *)0)->detail) + 64];
    snprintf(text, sizeof(text), "%s (%s)", ac_json_peek_string(event->data, "message", row->title), row->code);
    end_step(render, out);
    part_begin(out, "error");
    ac_dialect_add_text(out, "errorText", text);
    part_end(out);
    LITERAL(out, "data: [DONE]\n\n");
}

/* ---- events ---- */

/* A stream after a decision continues the client's message: the client has what came before. */
static bool is_before_decision(const ac_render_t *render, const ac_event_t *event)
{
    const char *decided = ui_view_of(render)->decided;
    if (!*decided || ui_dialect_has(render, IN_STREAM) || event->type == AC_EVENT_ERROR ||
        event->type == AC_EVENT_DONE) {
        return false;
    }
    bool outcome = event->type == AC_EVENT_TRACE_END ||
        (event->type == AC_EVENT_TRACE_UPDATE && json_object_get(event->data, "approved"));
    return !outcome || strncmp(ac_json_peek_string(event->data, "call_id", ""), decided, AC_UI_CALL_SIZE - 1) != 0;
}

static void ui_dialect_add(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    if (event->type != AC_EVENT_ERROR || ui_dialect_has(render, IN_STREAM)) {
        begin_stream(render, event->type == AC_EVENT_RUN ? event : NULL, out);
    }
    switch (event->type) {
    case AC_EVENT_TOKEN: ui_dialect_add_text(render, TEXT, event, out); break;
    case AC_EVENT_REASONING: ui_dialect_add_text(render, REASONING, event, out); break;
    case AC_EVENT_TRACE_START: add_start(render, event, out); break;
    case AC_EVENT_TRACE_UPDATE: add_update(render, event, out); break;
    case AC_EVENT_TRACE_END: ui_dialect_add_result(render, event, out); break;
    case AC_EVENT_SOURCES: ui_dialect_add_sources(render, event, out); break;
    case AC_EVENT_DONE: add_done(render, event, out); break;
    case AC_EVENT_ERROR: ui_dialect_add_error(render, event, out); break;
    default: break;
    }
}

/* An event is appended whole or not at all. */
static apr_status_t ui_dialect_whole(ac_render_t *render, const ac_render_place_t *place, ac_buf_t *out, size_t before)
{
    render->place = out->failed ? *place : render->place;
    return ac_dialect_finish(out, before);
}

static apr_status_t ui_dialect_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    if (!is_before_decision(render, event)) {
        ui_dialect_add(render, event, out);
    } else if (json_is_true(json_object_get(event->data, "approval_required"))) {
        render->place.flags |= WAITS;
    } else if (json_object_get(event->data, "approved")) {
        render->place.flags &= ~(unsigned)WAITS;
    }
    return ui_dialect_whole(render, &place, out, before);
}

static apr_status_t ui_dialect_live(ac_render_t *render, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    render->place.flags |= IS_LIVE;
    if (ui_dialect_has(render, WAITS) && (ui_dialect_has(render, IN_STREAM) || ui_view_of(render)->repeats)) {
        begin_stream(render, NULL, out);
        add_finish(render, "tool-calls", NULL, out);
    }
    return ui_dialect_whole(render, &place, out, before);
}

const ac_dialect_t ac_ui_dialect = {.name = "ui-message",
                                    .media_type = "text/event-stream",
                                    .stream = true,
                                    .event = ui_dialect_event,
                                    .heartbeat = ac_dialect_comment_heartbeat,
                                    .live = ui_dialect_live};
