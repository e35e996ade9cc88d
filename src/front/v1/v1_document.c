/* SPDX-License-Identifier: Apache-2.0 */
/* A response as one document: at the end of an answer, and within the events of one. */
#include "v1_response.h"

#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

static const ac_v1_response_view_t *document_view(const ac_render_t *render)
{
    return render->view;
}

ac_v1_items_t *ac_v1_document_items(ac_render_t *render)
{
    if (!render->state) {
        render->state = ac_v1_items_create();
    }
    return render->state;
}

/* {message, type, param, code} of a failed run's error. The codes are OpenAI's, so that ours stand in the message. New
 * reference. */
json_t *ac_v1_document_error(const ac_event_t *event)
{
    const ac_err_row_t *row = ac_err_row(event->kind);
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, event->kind, "%s (%s)", ac_json_peek_string(event->data, "message", row->title), row->code);
    json_t *problem = ac_v1_problem_json(&err, NULL, NULL), *error = json_incref(json_object_get(problem, "error"));
    const char *code = row->http == HTTP_TOO_MANY_REQUESTS ? "rate_limit_exceeded"
        : row->http < 500                                  ? "invalid_prompt"
                                                           : "server_error";
    ac_json_put(error, "code", json_string(code));
    json_decref(problem);
    return error;
}

static const char *document_reason(const ac_event_t *event)
{
    const char *reason = event ? ac_json_peek_string(event->data, "finish_reason", "") : "";
    if ((event && event->kind == AC_CONTENT_FILTERED) || strcmp(reason, "content_filter") == 0) {
        return "content_filter";
    }
    return strcmp(reason, "length") == 0 ? "max_output_tokens" : NULL;
}

/* event: the last one of the response. */
const char *ac_v1_document_status(const ac_event_t *event)
{
    if (event->type == AC_EVENT_DONE && strcmp(ac_json_peek_string(event->data, "status", ""), "cancelled") == 0) {
        return "cancelled";
    }
    if (document_reason(event)) {
        return "incomplete";
    }
    return event->type == AC_EVENT_ERROR ? "failed" : "completed";
}

static void document_put_usage(const ac_event_t *event, ac_buf_t *out)
{
    const json_t *usage = event ? json_object_get(event->data, "usage") : NULL;
    apr_int64_t input = ac_json_peek_int(usage, "prompt_tokens", 0);
    apr_int64_t output = ac_json_peek_int(usage, "completion_tokens", 0);
    if (!json_is_object(usage)) {
        LITERAL(out, ",\"usage\":null");
        return;
    }
    ac_buf_printf(out,
                  ",\"usage\":{\"input_tokens\":%" APR_INT64_T_FMT
                  ",\"input_tokens_details\":{\"cached_tokens\":%" APR_INT64_T_FMT
                  ",\"cache_write_tokens\":0},\"output_tokens\":%" APR_INT64_T_FMT,
                  input, (apr_int64_t)ac_json_peek_int(usage, "cached_tokens", 0), output);
    ac_buf_printf(out,
                  ",\"output_tokens_details\":{\"reasoning_tokens\":%" APR_INT64_T_FMT
                  "},\"total_tokens\":%" APR_INT64_T_FMT "}",
                  (apr_int64_t)ac_json_peek_int(usage, "reasoning_tokens", 0),
                  (apr_int64_t)ac_json_peek_int(usage, "total_tokens", input + output));
}

static void document_put_output(ac_render_t *render, ac_buf_t *out)
{
    const ac_v1_items_t *items = ac_v1_document_items(render);
    const char *before = "";
    for (size_t i = 0; i < items->n; i++) {
        if (items->list[i]->segment == document_view(render)->segment) {
            ac_buf_str(out, before);
            ac_v1_items_json(out, items, i, render->run_id, false);
            before = ",";
        }
    }
}

/* The thread is a conversation to clients of this API where they named it as one. */
static void document_put_thread(const ac_render_t *render, ac_buf_t *out)
{
    char id[AC_V1_ID_SIZE];
    if (!document_view(render)->in_conversation) {
        LITERAL(out, ",\"conversation\":null");
    } else {
        ac_v1_id_write(id, "conv_", render->thread_id, NULL);
        ac_buf_printf(out, ",\"conversation\":{\"id\":\"%s\"}", id);
    }
    if (*render->thread_id) {
        ac_buf_printf(out, ",\"agentchat\":{\"thread_id\":\"%s\",\"run_id\":\"%s\"}", render->thread_id,
                      render->run_id);
    }
}

static void document_put_id(const ac_render_t *render, ac_buf_t *out)
{
    char id[AC_V1_ID_SIZE], number[16];
    unsigned segment = document_view(render)->segment;
    apr_snprintf(number, sizeof(number), "%u", segment);
    ac_v1_id_write(id, "resp_", render->run_id, segment ? number : NULL);
    ac_buf_printf(out, "{\"id\":\"%s\",\"object\":\"response\"", id);
}

/* event: the last one of the response, or NULL: there is none yet. */
void ac_v1_document_put(ac_render_t *render, const ac_event_t *event, bool with_output, ac_buf_t *out)
{
    const char *reason = document_reason(event), *status = event ? ac_v1_document_status(event) : "in_progress";
    document_put_id(render, out);
    ac_buf_printf(out, ",\"created_at\":%" APR_INT64_T_FMT ",\"status\":\"%s\",\"completed_at\":",
                  (apr_int64_t)apr_time_sec(render->began), status);
    if (strcmp(status, "completed") == 0) {
        ac_buf_printf(out, "%" APR_INT64_T_FMT, (apr_int64_t)apr_time_sec(event->at));
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, ",\"error\":");
    if (strcmp(status, "failed") == 0) {
        json_t *error = ac_v1_document_error(event);
        ac_dialect_add_json(out, error);
        json_decref(error);
    } else {
        LITERAL(out, "null");
    }
    if (reason) {
        ac_buf_printf(out, ",\"incomplete_details\":{\"reason\":\"%s\"}", reason);
    } else {
        LITERAL(out, ",\"incomplete_details\":null");
    }
    LITERAL(out, ",\"output\":[");
    if (with_output) {
        document_put_output(render, out);
    }
    LITERAL(out, "]");
    document_put_usage(event && event->type == AC_EVENT_DONE ? event : NULL, out);
    document_put_thread(render, out);
    ac_buf_str(out, document_view(render)->members);
    LITERAL(out, "}");
}

/* ---- one document ---- */

bool ac_v1_document_ends_segment(const ac_event_t *event)
{
    return event->type == AC_EVENT_TRACE_UPDATE && json_is_true(json_object_get(event->data, "approval_required")) &&
        !json_is_true(json_object_get(event->data, "more"));
}

static apr_status_t document_add_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t before = out->len;
    ac_v1_items_t *items = ac_v1_document_items(render);
    ac_dialect_keep_facts(render, event);
    render->status = HTTP_OK;
    ac_v1_items_add(items, event);
    bool begun = event->type == AC_EVENT_RUN && document_view(render)->ends_begun;
    bool last = event->type == AC_EVENT_DONE || event->type == AC_EVENT_ERROR ||
        (ac_v1_document_ends_segment(event) && items->segment == document_view(render)->segment + 1);
    if (begun || last) {
        ac_v1_document_put(render, last ? event : NULL, true, out);
        render->ended = true;
    }
    return ac_dialect_finish(out, before);
}

static apr_status_t document_end_live(ac_render_t *render, ac_buf_t *out)
{
    size_t before = out->len;
    if (document_view(render)->ends_live) {
        ac_v1_document_put(render, NULL, true, out);
        render->ended = true;
    }
    return ac_dialect_finish(out, before);
}

/* ---- the table ---- */

const ac_dialect_t ac_v1_document_dialect = {.name = "response",
                                             .media_type = "application/json",
                                             .event = document_add_event,
                                             .heartbeat = ac_dialect_no_heartbeat,
                                             .free = ac_v1_items_free};
const ac_dialect_t ac_v1_document_shown = {.name = "response-shown",
                                           .media_type = "application/json",
                                           .shows_failure = true,
                                           .event = document_add_event,
                                           .heartbeat = ac_dialect_no_heartbeat,
                                           .live = document_end_live,
                                           .free = ac_v1_items_free};
