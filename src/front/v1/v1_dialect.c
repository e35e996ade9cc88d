/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as chat.completion.chunk and chat.completion. Clients fail at an event without `choices`, at a
 * first delta without `role`, and at a stream without finish_reason; a call that the server makes itself is never in
 * tool_calls, since clients would make it again. */
#include "v1_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

static const ac_v1_view_t *view_of(const ac_render_t *render)
{
    return render->view;
}

/* ---- parts of both forms ---- */

/* {"id":…,"object":…,"created":…,"model":…,"system_fingerprint":null */
static void add_head(const ac_render_t *render, const char *object, ac_buf_t *out)
{
    const char *id = strchr(render->run_id, '_'); /* run_…: the same characters behind another prefix */
    ac_buf_printf(out, "{\"id\":\"chatcmpl-%s\",\"object\":\"%s\",\"created\":%" APR_INT64_T_FMT ",\"model\":",
                  id ? id + 1 : "", object, (apr_int64_t)apr_time_sec(render->began));
    ac_buf_json(out, view_of(render)->model, strlen(view_of(render)->model));
    LITERAL(out, ",\"system_fingerprint\":null,");
}

/* The thread, and the run whose events can be followed again. */
static void add_thread(const ac_render_t *render, ac_buf_t *out)
{
    if (view_of(render)->in_thread) {
        ac_buf_printf(out, "\"agentchat\":{\"thread_id\":\"%s\",\"run_id\":\"%s\"},", render->thread_id,
                      render->run_id);
    }
}

static const char *finish_of(const ac_event_t *event)
{
    const char *reason = ac_json_peek_string(event->data, "finish_reason", "");
    static const char *const known[] = {"length", "content_filter", "tool_calls"};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strcmp(reason, known[i]) == 0) {
            return known[i];
        }
    }
    return "stop";
}

/* The sum of all calls of the model. */
static void add_usage(const ac_event_t *event, ac_buf_t *out)
{
    const json_t *usage = json_object_get(event->data, "usage");
    int64_t prompt = ac_json_peek_int(usage, "prompt_tokens", 0);
    int64_t completion = ac_json_peek_int(usage, "completion_tokens", 0);
    ac_buf_printf(out,
                  "\"usage\":{\"prompt_tokens\":%" APR_INT64_T_FMT ",\"completion_tokens\":%" APR_INT64_T_FMT
                  ",\"total_tokens\":%" APR_INT64_T_FMT,
                  (apr_int64_t)prompt, (apr_int64_t)completion,
                  (apr_int64_t)ac_json_peek_int(usage, "total_tokens", prompt + completion));
    ac_buf_printf(out,
                  ",\"prompt_tokens_details\":{\"cached_tokens\":%" APR_INT64_T_FMT
                  "},\"completion_tokens_details\":{\"reasoning_tokens\":%" APR_INT64_T_FMT "}}",
                  (apr_int64_t)ac_json_peek_int(usage, "cached_tokens", 0),
                  (apr_int64_t)ac_json_peek_int(usage, "reasoning_tokens", 0));
}

/* ---- chunks ---- */

static void chunk_begin(const ac_render_t *render, ac_buf_t *out)
{
    LITERAL(out, "data: ");
    add_head(render, "chat.completion.chunk", out);
}

#define CHOICE "\"choices\":[{\"index\":0,\"delta\":{"

static void choice_begin(const ac_render_t *render, ac_buf_t *out)
{
    chunk_begin(render, out);
    LITERAL(out, CHOICE);
}

/* finish: the reason, or NULL. */
static void choice_end(const ac_render_t *render, const char *finish, ac_buf_t *out)
{
    LITERAL(out, "},\"logprobs\":null,\"finish_reason\":");
    ac_buf_str(out, finish ? "\"" : "null");
    ac_buf_str(out, finish ? finish : "");
    ac_buf_str(out, finish ? "\"}]" : "}]");
    ac_buf_str(out, view_of(render)->with_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void add_delta(const ac_render_t *render, const char *name, const char *text, size_t len, ac_buf_t *out)
{
    choice_begin(render, out);
    ac_buf_printf(out, "\"%s\":", name);
    ac_buf_json(out, text, len);
    choice_end(render, NULL, out);
}

/* One line of what the agent does, as models write their thoughts. */
static void add_reasoning(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *error = json_object_get(event->data, "error");
    const char *tool = ac_json_peek_string(event->data, "tool", "");
    char line[160];
    if (event->type == AC_EVENT_TRACE_END && (!error || json_is_null(error))) {
        return;
    }
    snprintf(line, sizeof(line), event->type == AC_EVENT_TRACE_START ? "Calling %s.\n" : "%s failed.\n", tool);
    add_delta(render, "reasoning_content", line, strlen(line), out);
}

/* What the model thinks: for clients that are shown more than the answer. */
static void add_thoughts(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    if (view_of(render)->activity == AC_V1_ACTIVITY_REASONING) {
        add_delta(render, "reasoning_content", event->text, event->len, out);
    } else if (view_of(render)->activity == AC_V1_ACTIVITY_EVENTS) {
        chunk_begin(render, out);
        LITERAL(out, "\"choices\":[],\"agentchat\":{\"type\":\"reasoning\",\"content\":");
        ac_buf_json(out, event->text, event->len);
        LITERAL(out, "}}\n\n");
    }
}

/* The native event, and the status line that Open WebUI shows. */
static void add_activity(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    json_t *native = json_copy(event->data), *status;
    ac_json_put(native, "type", json_string(ac_event_name(event->type)));
    chunk_begin(render, out);
    LITERAL(out, "\"choices\":[],\"agentchat\":");
    ac_dialect_add_json(out, native);
    json_decref(native);
    if (event->type != AC_EVENT_TRACE_UPDATE) {
        status = json_pack("{s:s, s:{s:s, s:b}}", "type", "status", "data", "description",
                           ac_json_peek_string(event->data, "tool", ""), "done", event->type == AC_EVENT_TRACE_END);
        LITERAL(out, ",\"event\":");
        ac_dialect_add_json(out, status);
        json_decref(status);
    }
    LITERAL(out, "}\n\n");
}

/* The id comes with the first piece of a call, its arguments in the pieces after it. */
static void add_client_call(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *delta = ac_json_peek_string(event->data, "arguments_delta", NULL);
    const char *name = ac_json_peek_string(event->data, "tool", ""),
               *id = ac_json_peek_string(event->data, "call_id", "");
    if (event->type == AC_EVENT_TRACE_END || (event->type == AC_EVENT_TRACE_UPDATE && !delta)) {
        return;
    }
    choice_begin(render, out);
    ac_buf_printf(out, "\"tool_calls\":[{\"index\":%d,", (int)ac_json_peek_int(event->data, "index", 0));
    if (event->type == AC_EVENT_TRACE_START) {
        LITERAL(out, "\"id\":");
        ac_buf_json(out, id, strlen(id));
        LITERAL(out, ",\"type\":\"function\",\"function\":{\"name\":");
        ac_buf_json(out, name, strlen(name));
        LITERAL(out, ",\"arguments\":\"\"}}]");
    } else {
        LITERAL(out, "\"function\":{\"arguments\":");
        ac_buf_json(out, delta, strlen(delta));
        LITERAL(out, "}}]");
    }
    choice_end(render, NULL, out);
}

static void add_trace(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    if (json_is_true(json_object_get(event->data, "client"))) {
        add_client_call(render, event, out);
        return;
    }
    switch (view_of(render)->activity) {
    case AC_V1_ACTIVITY_REASONING:
        if (event->type != AC_EVENT_TRACE_UPDATE) {
            add_reasoning(render, event, out);
        }
        break;
    case AC_V1_ACTIVITY_EVENTS: add_activity(render, event, out); break;
    default: break;
    }
}

/* The answer's sources with a URL: [{type, url_citation: {url, title, start_index, end_index}}]. */
static void add_annotations(const ac_event_t *event, ac_buf_t *out)
{
    json_t *citations = ac_sources_citations(json_object_get(event->data, "sources"), event->text, event->len), *one;
    json_t *list = json_array();
    size_t i;
    json_array_foreach(citations, i, one)
    {
        json_object_del(one, "type");
        json_array_append_new(list, json_pack("{s:s, s:O}", "type", "url_citation", "url_citation", one));
    }
    ac_dialect_add_json(out, list);
    json_decref(list);
    json_decref(citations);
}

/* All of them, also those without a URL. */
static void v1_chunk_add_sources(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const json_t *sources = json_object_get(event->data, "sources");
    if (view_of(render)->activity == AC_V1_ACTIVITY_EVENTS && sources) {
        chunk_begin(render, out);
        LITERAL(out, "\"choices\":[],\"agentchat\":{\"type\":\"sources\",\"sources\":");
        ac_dialect_add_json(out, sources);
        LITERAL(out, "}}\n\n");
    }
}

static void add_end(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    choice_begin(render, out);
    if (json_object_get(event->data, "sources")) {
        LITERAL(out, "\"annotations\":");
        add_annotations(event, out);
    }
    choice_end(render, finish_of(event), out);
    if (view_of(render)->with_usage) {
        chunk_begin(render, out);
        LITERAL(out, "\"choices\":[],");
        add_usage(event, out);
        LITERAL(out, "}\n\n");
    }
    LITERAL(out, "data: [DONE]\n\n");
}

static void add_error(const ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_err_t err;
    if (event->kind == AC_CONTENT_FILTERED) { /* the end of an answer, to clients of this API */
        choice_begin(render, out);
        choice_end(render, "content_filter", out);
        LITERAL(out, "data: [DONE]\n\n");
        return;
    }
    ac_err_init(&err);
    ac_err_set(&err, event->kind, "%s", ac_json_peek_string(event->data, "message", ""));
    json_t *error = ac_v1_problem_json(&err, NULL, NULL);
    LITERAL(out, "data: ");
    ac_dialect_add_json(out, error);
    LITERAL(out, "\n\n");
    json_decref(error);
}

static apr_status_t v1_chunk_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    switch (event->type) {
    case AC_EVENT_RUN:
        chunk_begin(render, out);
        add_thread(render, out);
        LITERAL(out, CHOICE "\"role\":\"assistant\",\"content\":\"\"");
        choice_end(render, NULL, out);
        break;
    case AC_EVENT_TOKEN: add_delta(render, "content", event->text, event->len, out); break;
    case AC_EVENT_REASONING: add_thoughts(render, event, out); break;
    case AC_EVENT_TRACE_START:
    case AC_EVENT_TRACE_UPDATE:
    case AC_EVENT_TRACE_END: add_trace(render, event, out); break;
    case AC_EVENT_SOURCES: v1_chunk_add_sources(render, event, out); break;
    case AC_EVENT_DONE: add_end(render, event, out); break;
    case AC_EVENT_ERROR: add_error(render, event, out); break;
    default: break;
    }
    return ac_dialect_finish(out, before);
}

/* ---- one document ---- */

static void add_client_calls(const json_t *calls, ac_buf_t *out)
{
    const json_t *call;
    size_t i;
    json_array_foreach((json_t *)calls, i, call)
    {
        char *arguments = ac_json_dump(json_object_get(call, "arguments"), NULL);
        json_t *shown = json_pack("{s:O, s:s, s:{s:O, s:o}}", "id", json_object_get(call, "id"), "type", "function",
                                  "function", "name", json_object_get(call, "tool"), "arguments",
                                  ac_json_text(arguments ? arguments : "{}"));
        free(arguments);
        ac_buf_str(out, i ? "," : ",\"tool_calls\":[");
        ac_dialect_add_json(out, shown);
        json_decref(shown);
    }
    if (json_array_size(calls)) {
        LITERAL(out, "]");
    }
}

static apr_status_t document_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    if (event->type != AC_EVENT_DONE) {
        return APR_SUCCESS;
    }
    add_head(render, "chat.completion", out);
    add_thread(render, out);
    LITERAL(out,
            "\"service_tier\":\"default\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    const json_t *calls = json_object_get(event->data, "client_calls");
    if (event->len || !calls) {
        ac_buf_json(out, event->text, event->len);
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, ",\"refusal\":null,\"annotations\":");
    add_annotations(event, out);
    add_client_calls(calls, out);
    ac_buf_printf(out, "},\"logprobs\":null,\"finish_reason\":\"%s\"}],", finish_of(event));
    add_usage(event, out);
    LITERAL(out, "}");
    return ac_dialect_finish(out, before);
}

/* ---- the table ---- */

static const ac_dialect_t document = {.name = "completion",
                                      .media_type = "application/json",
                                      .event = document_event,
                                      .heartbeat = ac_dialect_no_heartbeat};
const ac_dialect_t ac_v1_dialect_chunk = {.name = "completion-chunk",
                                          .media_type = "text/event-stream; charset=utf-8",
                                          .stream = true,
                                          .next = &document,
                                          .event = v1_chunk_event,
                                          .heartbeat = ac_dialect_comment_heartbeat};
