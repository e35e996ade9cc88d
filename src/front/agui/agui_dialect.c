/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as those of AG-UI. Clients end a stream at an event of a message or a call that is not open, at
 * the end of a run with one that is, and at null; those of version 0.0.x also at an event or an outcome that they do
 * not know. A stream ends where calls await approval, as the clients expect; the run does not. */
#include "agui_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

/* ---- where the stream is: render->place ---- */

enum {
    IN_RUN = 1,    /* RUN_STARTED was sent */
    HAS_CALLS = 2, /* the section has calls: a text begins another one */
    WAITS = 4,     /* calls await approval */
    IS_LIVE = 8    /* the stored events were sent */
};
#define HAS_ARGUMENTS 1U /* in the mark of a call */

static const ac_agui_view_t *agui_view_of(const ac_render_t *render)
{
    return render->view;
}

static bool agui_dialect_has(const ac_render_t *render, unsigned flag)
{
    return (render->place.flags & flag) != 0;
}

/* FNV-1a of a call's id, which is unique in its run. At most 32 calls are open at a time. */
static uint32_t mark_of(const char *call_id)
{
    uint32_t mark = 2166136261U;
    for (const char *at = call_id; *at; at++) {
        mark = (mark ^ (unsigned char)*at) * 16777619U;
    }
    return mark & ~HAS_ARGUMENTS;
}

/* The mark of an open call; NULL: it is not open in this stream. */
static uint32_t *open_mark(ac_render_t *render, const char *call_id)
{
    uint32_t mark = mark_of(call_id);
    for (unsigned i = 0; i < render->place.n_calls; i++) {
        if ((render->place.calls[i] & ~HAS_ARGUMENTS) == mark) {
            return &render->place.calls[i];
        }
    }
    return NULL;
}

/* ---- events ---- */

static void agui_event_begin(ac_buf_t *out, const char *type)
{
    ac_buf_printf(out, "data: {\"type\":\"%s\"", type);
}

static void agui_event_end(ac_buf_t *out)
{
    LITERAL(out, "}\n\n");
}

/* The current section; its id has no character that JSON escapes. */
static void agui_dialect_add_section(const ac_render_t *render, const char *name, ac_buf_t *out)
{
    char id[AC_ID_SIZE];
    ac_record_answer_id(id, render->run_id);
    ac_buf_printf(out, ",\"%s\":\"", name);
    ac_agui_id_section(out, id, render->place.n_items);
    LITERAL(out, "\"");
}

static const char *call_id_of(const ac_event_t *event)
{
    return ac_json_peek_string(event->data, "call_id", "");
}

static void add_custom(const char *name, const json_t *value, ac_buf_t *out)
{
    agui_event_begin(out, "CUSTOM");
    ac_dialect_add_text(out, "name", name);
    ac_dialect_add_member(out, "value", value);
    agui_event_end(out);
}

/* What this server calls the run. */
static void agui_dialect_add_ids(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    json_t *ids = event ? json_incref(event->data)
                        : json_pack("{s:s, s:s}", "run_id", render->run_id, "thread_id", render->thread_id);
    add_custom("agentchat.run", ids, out);
    json_decref(ids);
}

/* event: of the type RUN, or NULL: the stream begins in the middle. */
static void begin_run(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const ac_agui_view_t *view = agui_view_of(render);
    if (agui_dialect_has(render, IN_RUN)) {
        return;
    }
    render->place.flags |= IN_RUN;
    agui_event_begin(out, "RUN_STARTED");
    ac_dialect_add_text(out, "threadId", view->thread);
    ac_dialect_add_text(out, "runId", view->run);
    if (view->is_1_0) {
        LITERAL(out, ",\"protocolVersion\":\"1.0\"");
    }
    agui_event_end(out);
    if (*render->run_id) {
        agui_dialect_add_ids(render, event, out);
    }
    ac_buf_str(out, view->snapshot);
}

/* What `open` names. */
enum { TEXT = 1, REASONING = 2 };

/* An event of the current reasoning message; n_events counts these messages. */
static void reasoning_event(const ac_render_t *render, const char *type, const char *more, ac_buf_t *out)
{
    char id[AC_ID_SIZE];
    ac_record_answer_id(id, render->run_id);
    ac_buf_printf(out, "data: {\"type\":\"REASONING_%s\",\"messageId\":\"%s.reasoning.%u\"%s", type, id,
                  render->place.n_events, more);
}

static void agui_dialect_end_text(ac_render_t *render, ac_buf_t *out)
{
    if (render->place.open == REASONING) {
        render->place.open = 0;
        reasoning_event(render, "MESSAGE_END", "}\n\n", out);
        reasoning_event(render, "END", "}\n\n", out);
    } else if (render->place.open) {
        render->place.open = 0;
        agui_event_begin(out, "TEXT_MESSAGE_END");
        agui_dialect_add_section(render, "messageId", out);
        agui_event_end(out);
    }
}

static void agui_dialect_add_reasoning(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    if (render->place.open != REASONING) {
        agui_dialect_end_text(render, out);
        render->place.open = REASONING;
        render->place.n_events++;
        reasoning_event(render, "START", "}\n\n", out);
        reasoning_event(render, "MESSAGE_START", ",\"role\":\"reasoning\"}\n\n", out);
    }
    reasoning_event(render, "MESSAGE_CONTENT", ",\"delta\":", out);
    ac_buf_json(out, event->text, event->len);
    agui_event_end(out);
}

/* A text behind calls is a message of its own, which begins without the blank line in front of it. */
static void agui_dialect_add_token(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *text = event->text;
    size_t len = event->len;
    if (render->place.open == REASONING) {
        agui_dialect_end_text(render, out);
    }
    while (!render->place.open && agui_dialect_has(render, HAS_CALLS) && len && *text == '\n') {
        text++;
        len--;
    }
    if (!len) {
        return;
    }
    if (!render->place.open) {
        render->place.n_items += !render->place.n_items || agui_dialect_has(render, HAS_CALLS);
        render->place.flags &= ~(unsigned)HAS_CALLS;
        render->place.open = TEXT;
        agui_event_begin(out, "TEXT_MESSAGE_START");
        agui_dialect_add_section(render, "messageId", out);
        LITERAL(out, ",\"role\":\"assistant\"");
        agui_event_end(out);
    }
    agui_event_begin(out, "TEXT_MESSAGE_CONTENT");
    agui_dialect_add_section(render, "messageId", out);
    LITERAL(out, ",\"delta\":");
    ac_buf_json(out, text, len);
    agui_event_end(out);
}

/* ---- tool calls ---- */

static void call_event_begin(const ac_render_t *render, const char *type, const char *call_id, ac_buf_t *out)
{
    agui_event_begin(out, type);
    ac_agui_id_add_call(out, "toolCallId", render->run_id, call_id, "");
}

static void agui_dialect_begin_call(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_render_place_t *place = &render->place;
    agui_dialect_end_text(render, out);
    if (place->n_calls == sizeof(place->calls) / sizeof(*place->calls)) {
        return; /* no run has more */
    }
    place->n_items += !place->n_items;
    place->flags |= HAS_CALLS;
    place->calls[place->n_calls++] = mark_of(call_id_of(event));
    call_event_begin(render, "TOOL_CALL_START", call_id_of(event), out);
    ac_dialect_add_text(out, "toolCallName", ac_json_peek_string(event->data, "tool", ""));
    agui_dialect_add_section(render, "parentMessageId", out);
    agui_event_end(out);
}

static void agui_dialect_add_arguments(const ac_render_t *render, const char *call_id, const char *text, ac_buf_t *out)
{
    call_event_begin(render, "TOOL_CALL_ARGS", call_id, out);
    ac_dialect_add_text(out, "delta", text);
    agui_event_end(out);
}

/* arguments: whole, for a call whose arguments came in no piece; NULL: none. */
static void end_call(ac_render_t *render, const char *call_id, const json_t *arguments, ac_buf_t *out)
{
    uint32_t *mark = open_mark(render, call_id);
    if (!mark) {
        return;
    }
    if (arguments && !(*mark & HAS_ARGUMENTS)) {
        char *text = json_is_string(arguments) ? strdup(json_string_value(arguments)) : ac_json_dump(arguments, NULL);
        agui_dialect_add_arguments(render, call_id, text ? text : "{}", out);
        free(text);
    }
    *mark = render->place.calls[--render->place.n_calls];
    call_event_begin(render, "TOOL_CALL_END", call_id, out);
    agui_event_end(out);
}

static void finish_waiting(ac_render_t *render, ac_buf_t *out);

static void agui_dialect_add_request(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *id, *call;
    size_t i;
    end_call(render, call_id_of(event), json_object_get(event->data, "arguments"), out);
    if (json_is_true(json_object_get(event->data, "more"))) {
        return;
    }
    json_array_foreach(json_object_get(event->data, "asking"), i, call)
        end_call(render, ac_json_peek_string(call, "call_id", ""), json_object_get(call, "arguments"), out);
    ac_dialect_keep_event(render, event);
    json_array_foreach(json_object_get(event->data, "client_calls"), i, id)
        end_call(render, json_string_value(id) ? json_string_value(id) : "", NULL, out);
    if (agui_view_of(render)->replays && !agui_dialect_has(render, IS_LIVE)) {
        render->place.flags |= WAITS; /* a stored event may say that the decision was made */
    } else {
        finish_waiting(render, out);
    }
}

static void agui_dialect_add_update(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *delta = ac_json_peek_string(event->data, "arguments_delta", NULL);
    uint32_t *mark = open_mark(render, call_id_of(event));
    if (delta && *delta && mark) {
        *mark |= HAS_ARGUMENTS;
        agui_dialect_add_arguments(render, call_id_of(event), delta, out);
    } else if (json_is_true(json_object_get(event->data, "approval_required"))) {
        agui_dialect_add_request(render, event, out);
    } else if (json_object_get(event->data, "approved")) {
        render->place.flags &= ~(unsigned)WAITS;
    }
}

/* A call of the client has a result here only if it can no longer be carried out. */
static void agui_dialect_add_result(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *result = json_object_get(event->data, "result");
    const char *error = ac_json_peek_string(event->data, "error", NULL);
    end_call(render, call_id_of(event), json_object_get(event->data, "arguments"), out);
    if (!error && json_is_true(json_object_get(event->data, "client"))) {
        return;
    }
    char *text = error           ? strdup(error)
        : json_is_string(result) ? strdup(json_string_value(result))
                                 : ac_json_dump(result ? result : json_null(), NULL);
    agui_event_begin(out, "TOOL_CALL_RESULT");
    ac_agui_id_add_call(out, "messageId", render->run_id, call_id_of(event), ".result");
    ac_agui_id_add_call(out, "toolCallId", render->run_id, call_id_of(event), "");
    ac_dialect_add_text(out, "content", text ? text : "");
    LITERAL(out, ",\"role\":\"tool\"");
    agui_event_end(out);
    free(text);
}

/* ---- the end ---- */

static void finish_begin(ac_render_t *render, ac_buf_t *out)
{
    agui_dialect_end_text(render, out);
    agui_event_begin(out, "RUN_FINISHED");
    ac_dialect_add_text(out, "threadId", agui_view_of(render)->thread);
    ac_dialect_add_text(out, "runId", agui_view_of(render)->run);
    render->ended = true;
}

/* The kept event is the last request of the round. */
static void finish_waiting(ac_render_t *render, ac_buf_t *out)
{
    const json_t *request = render->kept ? render->kept->data : NULL, *call;
    size_t i;
    finish_begin(render, out);
    LITERAL(out, ",\"outcome\":{\"type\":\"interrupt\",\"interrupts\":[");
    json_array_foreach(json_object_get(request, "awaiting"), i, call)
    {
        ac_buf_str(out, i ? "," : "");
        ac_agui_interrupt_add(out, render->run_id, call, ac_json_peek_string(request, "expires_at", ""));
    }
    LITERAL(out, "]}");
    agui_event_end(out);
}

static void agui_dialect_add_usage(const ac_event_t *event, ac_buf_t *out)
{
    static const char *const names[][2] = {{"prompt_tokens", "inputTokens"},
                                           {"completion_tokens", "outputTokens"},
                                           {"total_tokens", "totalTokens"},
                                           {"reasoning_tokens", "reasoningTokens"},
                                           {"cached_tokens", "cachedInputTokens"}};
    const json_t *usage = json_object_get(event->data, "usage");
    const char *model = ac_json_peek_string(json_object_get(event->message, "metadata"), "model", NULL);
    const char *before = "";
    if (!json_is_object(usage)) {
        return;
    }
    LITERAL(out, ",\"usage\":[{");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        ac_buf_printf(out, "%s\"%s\":%" APR_INT64_T_FMT, before, names[i][1],
                      (apr_int64_t)ac_json_peek_int(usage, names[i][0], 0));
        before = ",";
    }
    if (model) {
        ac_dialect_add_text(out, "model", model);
    }
    LITERAL(out, "}]");
}

/* Calls that the client carries out now. Version 0.0.x knows them by their missing results. */
static void add_pending(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *calls = json_object_get(event->data, "client_calls"), *call;
    json_t *ids = json_array();
    size_t i;
    json_array_foreach((json_t *)calls, i, call)
    {
        ac_buf_t id;
        ac_buf_init(&id, AC_MAX_JSON_TEXT);
        ac_agui_id_call(&id, render->run_id, ac_json_peek_string(call, "id", ""));
        json_array_append_new(ids, ac_json_text(id.data));
        ac_buf_free(&id);
    }
    if (json_array_size(ids) && agui_view_of(render)->is_1_0) {
        ac_dialect_add_member(out, "pendingToolCallIds", ids);
    }
    json_decref(ids);
}

static void agui_dialect_add_error(ac_render_t *render, ac_kind_e kind, const json_t *data, ac_buf_t *out)
{
    agui_event_begin(out, "RUN_ERROR");
    ac_dialect_add_text(out, "message", ac_json_peek_string(data, "message", ac_err_row(kind)->title));
    ac_dialect_add_text(out, "code", ac_err_row(kind)->code);
    agui_event_end(out);
    render->ended = true;
}

static void agui_dialect_add_done(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    bool cancelled = strcmp(ac_json_peek_string(event->data, "status", ""), "cancelled") == 0;
    if (render->place.n_calls) { /* the process died with the calls that it made */
        agui_dialect_add_error(render, AC_INTERRUPTED, NULL, out);
        return;
    }
    finish_begin(render, out);
    if (!cancelled) {
        LITERAL(out, ",\"outcome\":{\"type\":\"success\"");
        add_pending(render, event, out);
        LITERAL(out, "}");
    } else if (agui_view_of(render)->is_1_0) {
        LITERAL(out, ",\"outcome\":{\"type\":\"cancelled\"}");
    }
    agui_dialect_add_usage(event, out);
    agui_event_end(out);
}

/* ---- the dialect ---- */

/* A stream after a decision continues the client's messages: the client has what came before. */
static bool agui_dialect_is_past(const ac_render_t *render, const ac_event_t *event)
{
    const char *decided = agui_view_of(render)->decided;
    if (!*decided || agui_dialect_has(render, IN_RUN) || event->type == AC_EVENT_ERROR ||
        event->type == AC_EVENT_DONE) {
        return false;
    }
    bool outcome = event->type == AC_EVENT_TRACE_END ||
        (event->type == AC_EVENT_TRACE_UPDATE && json_object_get(event->data, "approved"));
    return !outcome || strncmp(call_id_of(event), decided, AC_AGUI_CALL_SIZE - 1) != 0;
}

static void agui_dialect_add(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    switch (event->type) {
    case AC_EVENT_TOKEN: agui_dialect_add_token(render, event, out); break;
    case AC_EVENT_REASONING: agui_dialect_add_reasoning(render, event, out); break;
    case AC_EVENT_TRACE_START: agui_dialect_begin_call(render, event, out); break;
    case AC_EVENT_TRACE_UPDATE: agui_dialect_add_update(render, event, out); break;
    case AC_EVENT_TRACE_END: agui_dialect_add_result(render, event, out); break;
    case AC_EVENT_SOURCES: add_custom("agentchat.sources", json_object_get(event->data, "sources"), out); break;
    case AC_EVENT_DONE: agui_dialect_add_done(render, event, out); break;
    case AC_EVENT_ERROR: agui_dialect_add_error(render, event->kind, event->data, out); break;
    default: break;
    }
}

/* An event is appended whole or not at all. */
static apr_status_t agui_dialect_whole(ac_render_t *render, const ac_render_place_t *place, ac_buf_t *out,
                                       size_t before)
{
    if (out->failed) {
        render->place = *place;
        render->ended = false;
    }
    return ac_dialect_finish(out, before);
}

/* The client has this event. Its sections count, and its requests are kept. */
static void agui_dialect_pass(ac_render_t *render, const ac_event_t *event)
{
    ac_buf_t past;
    ac_buf_init(&past, AC_MAX_JSON_TEXT);
    agui_dialect_add(render, event, &past);
    ac_buf_free(&past);
    render->place.open = render->place.n_calls = 0;
    render->ended = false;
}

static apr_status_t agui_dialect_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    if (agui_dialect_is_past(render, event)) {
        agui_dialect_pass(render, event);
        return APR_SUCCESS;
    }
    begin_run(render, event->type == AC_EVENT_RUN ? event : NULL, out);
    agui_dialect_add(render, event, out);
    return agui_dialect_whole(render, &place, out, before);
}

static apr_status_t agui_dialect_live(ac_render_t *render, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    size_t before = out->len;
    render->place.flags |= IS_LIVE;
    if (agui_dialect_has(render, WAITS) && (agui_dialect_has(render, IN_RUN) || agui_view_of(render)->repeats)) {
        begin_run(render, NULL, out);
        finish_waiting(render, out);
    }
    return agui_dialect_whole(render, &place, out, before);
}

void ac_agui_dialect_show(ac_buf_t *out, const ac_agui_view_t *view)
{
    ac_render_t render = {.view = view};
    begin_run(&render, NULL, out);
    finish_begin(&render, out);
    LITERAL(out, ",\"outcome\":{\"type\":\"success\"}");
    agui_event_end(out);
}

const ac_dialect_t ac_agui_dialect = {.name = "ag-ui",
                                      .media_type = "text/event-stream",
                                      .stream = true,
                                      .event = agui_dialect_event,
                                      .heartbeat = ac_dialect_comment_heartbeat,
                                      .live = agui_dialect_live};
