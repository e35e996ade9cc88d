/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as those of the Responses API. Clients fail at an event that they do not
 * know, at a delta whose item was not announced, at ids that change, and at a terminal event without the whole output.
 * Numbers have no gaps, and are the same whenever the run is followed from its event log. */
#include "v1_response.h"

#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

/* ---- where the stream is: render->place. n_events: the next number; n_items: items of the whole run that have begun;
 * open: the text that has not ended, its index + 1; seq: the segment of the next event ---- */
enum { IN_RESPONSE = 1 }; /* `response.created` was sent */

static const ac_v1_response_view_t *response_view(const ac_render_t *render)
{
    return render->view;
}

static bool response_has(const ac_render_t *render, unsigned flag)
{
    return (render->place.flags & flag) != 0;
}

/* ---- events ---- */

typedef struct frame_t { /* of one event */
    ac_render_t *render;
    ac_buf_t *out;
    size_t start;
    bool hidden; /* the client has it */
} frame_t;

static frame_t frame_begin(ac_render_t *render, const char *type, ac_buf_t *out)
{
    unsigned number = render->place.n_events++;
    frame_t frame = {render, out, out->len, (int64_t)number <= response_view(render)->after};
    ac_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%u", type, type, number);
    return frame;
}

static void frame_end(const frame_t *frame)
{
    LITERAL(frame->out, "}\n\n");
    if (frame->hidden && !frame->out->failed) {
        frame->out->len = frame->start;
        frame->out->data[frame->start] = '\0';
    }
}

static unsigned output_index(ac_render_t *render, size_t at)
{
    const ac_v1_items_t *items = ac_v1_document_items(render);
    unsigned index = 0;
    for (size_t i = 0; i < at; i++) {
        index += items->list[i]->segment == items->list[at]->segment;
    }
    return index;
}

/* ,"item_id":…,"output_index":… The id is that of the item's JSON. */
static void response_put_place(ac_render_t *render, size_t at, ac_buf_t *out)
{
    char id[AC_V1_ID_SIZE], number[16];
    const ac_v1_item_t *item = ac_v1_document_items(render)->list[at];
    apr_snprintf(number, sizeof(number), "%d", item->number);
    switch (item->kind) {
    case AC_V1_ITEM_TEXT: ac_v1_id_write(id, "msg_", render->run_id, item->number ? number : NULL); break;
    case AC_V1_ITEM_REASONING: ac_v1_id_write(id, "rs_", render->run_id, item->number ? number : NULL); break;
    case AC_V1_ITEM_FUNCTION: ac_v1_id_write(id, "fc_", render->run_id, number); break;
    default: ac_v1_id_write(id, "mcp_", render->run_id, item->call_id); break;
    }
    ac_dialect_add_text(out, "item_id", id);
    ac_buf_printf(out, ",\"output_index\":%u", output_index(render, at));
}

/* An event about an item that has no further member. */
static void response_put_about(ac_render_t *render, const char *type, size_t at, ac_buf_t *out)
{
    frame_t frame = frame_begin(render, type, out);
    response_put_place(render, at, out);
    frame_end(&frame);
}

static void response_put_item(ac_render_t *render, size_t at, bool begun, ac_buf_t *out)
{
    frame_t frame = frame_begin(render, begun ? "response.output_item.added" : "response.output_item.done", out);
    ac_buf_printf(out, ",\"output_index\":%u,\"item\":", output_index(render, at));
    ac_v1_items_json(out, ac_v1_document_items(render), at, render->run_id, begun);
    frame_end(&frame);
}

/* What differs in the events of a text and of a reasoning. */
typedef struct text_events_t {
    const char *added, *delta, *done, *part_done, *index, *part_type, *part_rest, *rest;
} text_events_t;

static const text_events_t *text_events(ac_render_t *render, size_t at)
{
    static const text_events_t text = {"response.content_part.added", "response.output_text.delta",
                                       "response.output_text.done",   "response.content_part.done",
                                       ",\"content_index\":0",        "output_text",
                                       ",\"logprobs\":[]}",           ",\"logprobs\":[]"};
    static const text_events_t reasoning = {"response.reasoning_summary_part.added",
                                            "response.reasoning_summary_text.delta",
                                            "response.reasoning_summary_text.done",
                                            "response.reasoning_summary_part.done",
                                            ",\"summary_index\":0",
                                            "summary_text",
                                            "}",
                                            ""};
    return ac_v1_document_items(render)->list[at]->kind == AC_V1_ITEM_REASONING ? &reasoning : &text;
}

/* whole: with the text. */
static void response_put_part(ac_render_t *render, size_t at, bool whole, ac_buf_t *out)
{
    const text_events_t *events = text_events(render, at);
    frame_t frame = frame_begin(render, whole ? events->part_done : events->added, out);
    response_put_place(render, at, out);
    ac_buf_printf(out, "%s,\"part\":{\"type\":\"%s\",\"text\":", events->index, events->part_type);
    if (whole) {
        ac_v1_items_text(out, ac_v1_document_items(render), at);
    } else {
        LITERAL(out, "\"\"");
    }
    if (events->part_rest[1]) { /* of a text */
        json_t *citations = whole ? ac_v1_items_citations(ac_v1_document_items(render), at) : json_array();
        ac_dialect_add_member(out, "annotations", citations);
        json_decref(citations);
    }
    ac_buf_str(out, events->part_rest);
    frame_end(&frame);
}

static void response_begin(ac_render_t *render, ac_buf_t *out)
{
    static const char *const types[] = {"response.created", "response.in_progress"};
    if (response_has(render, IN_RESPONSE)) {
        return;
    }
    render->place.flags |= IN_RESPONSE;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        frame_t frame = frame_begin(render, types[i], out);
        LITERAL(out, ",\"response\":");
        ac_v1_document_put(render, NULL, false, out);
        frame_end(&frame);
    }
}

/* What the text rests on, when the places of the numbers in it are known. */
static void response_put_annotations(ac_render_t *render, size_t at, ac_buf_t *out)
{
    json_t *citations = ac_v1_items_citations(ac_v1_document_items(render), at), *one;
    size_t i;
    json_array_foreach(citations, i, one)
    {
        frame_t frame = frame_begin(render, "response.output_text.annotation.added", out);
        response_put_place(render, at, out);
        ac_buf_printf(out, ",\"content_index\":0,\"annotation_index\":%" APR_SIZE_T_FMT, i);
        ac_dialect_add_member(out, "annotation", one);
        frame_end(&frame);
    }
    json_decref(citations);
}

static void response_end_text(ac_render_t *render, ac_buf_t *out)
{
    size_t at = render->place.open - 1;
    if (!render->place.open) {
        return;
    }
    const text_events_t *events = text_events(render, at);
    render->place.open = 0;
    response_put_annotations(render, at, out);
    frame_t frame = frame_begin(render, events->done, out);
    response_put_place(render, at, out);
    ac_buf_printf(out, "%s,\"text\":", events->index);
    ac_v1_items_text(out, ac_v1_document_items(render), at);
    ac_buf_str(out, events->rest);
    frame_end(&frame);
    response_put_part(render, at, true, out);
    response_put_item(render, at, false, out);
}

/* Some clients read the members of an error in the event, others in a member `error`; some take no notice of
 * response.failed. */
static void response_put_failure(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    static const char *const members[] = {"code", "message", "param"};
    json_t *error = ac_v1_document_error(event);
    frame_t frame = frame_begin(render, "error", out);
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        ac_dialect_add_member(out, members[i], json_object_get(error, members[i]));
    }
    ac_dialect_add_member(out, "error", error);
    frame_end(&frame);
    json_decref(error);
}

/* event: the last one of the run, or a request for approval. */
static void response_end(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *status = ac_v1_document_status(event);
    const char *type = strcmp(status, "completed") == 0 ? "response.completed"
        : strcmp(status, "failed") == 0                 ? "response.failed"
                                                        : "response.incomplete";
    response_end_text(render, out);
    if (strcmp(status, "failed") == 0) {
        response_put_failure(render, event, out);
    }
    frame_t frame = frame_begin(render, type, out);
    /* A client with a higher number had its events of a log that is gone, and lacks the end. */
    frame.hidden = (int64_t)render->place.n_events - 1 == response_view(render)->after;
    LITERAL(out, ",\"response\":");
    ac_v1_document_put(render, event, true, out);
    frame_end(&frame);
    LITERAL(out, "data: [DONE]\n\n");
    render->ended = true;
}

/* The item that begins with this event. */
static size_t next_item(ac_render_t *render, ac_buf_t *out)
{
    response_begin(render, out);
    response_end_text(render, out);
    return render->place.n_items++;
}

/* Whether a text continues the one that is open. */
static bool continues(ac_render_t *render, const ac_event_t *event)
{
    ac_v1_item_e kind = event->type == AC_EVENT_REASONING ? AC_V1_ITEM_REASONING : AC_V1_ITEM_TEXT;
    return render->place.open && ac_v1_document_items(render)->list[render->place.open - 1]->kind == kind;
}

static size_t gap_of(ac_render_t *render, const ac_event_t *event)
{
    return continues(render, event) ? 0 : ac_v1_items_gap(event->text, event->len, render->place.n_items == 0);
}

static void response_add_token(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t gap = gap_of(render, event);
    if (!continues(render, event)) {
        response_end_text(render, out); /* of the other kind */
    }
    if (!render->place.open && gap == event->len) {
        return;
    }
    if (!render->place.open) {
        size_t at = next_item(render, out);
        response_put_item(render, at, true, out);
        response_put_part(render, at, false, out);
        render->place.open = (unsigned)at + 1;
    }
    const text_events_t *events = text_events(render, render->place.open - 1);
    frame_t frame = frame_begin(render, events->delta, out);
    response_put_place(render, render->place.open - 1, out);
    ac_buf_printf(out, "%s,\"delta\":", events->index);
    ac_buf_json(out, event->text + gap, event->len - gap);
    ac_buf_str(out, events->rest);
    frame_end(&frame);
}

static void response_begin_call(ac_render_t *render, ac_buf_t *out)
{
    size_t at = next_item(render, out);
    response_put_item(render, at, true, out);
    if (ac_v1_document_items(render)->list[at]->kind == AC_V1_ITEM_CALL) {
        response_put_about(render, "response.mcp_call.in_progress", at, out);
    }
}

/* The item of an event's call that has begun before; NULL: none. */
static const ac_v1_item_t *response_call(ac_render_t *render, const ac_event_t *event, size_t *pat)
{
    return ac_v1_items_call(ac_v1_document_items(render), render->place.n_items,
                            ac_json_peek_string(event->data, "step_id", ""), pat);
}

static void response_add_delta(ac_render_t *render, const ac_event_t *event, const char *delta, ac_buf_t *out)
{
    size_t at;
    const ac_v1_item_t *call = response_call(render, event, &at);
    if (!call) { /* it needs an approval, and is an item when it is complete */
        return;
    }
    frame_t frame = frame_begin(render,
                                call->kind == AC_V1_ITEM_CALL ? "response.mcp_call_arguments.delta"
                                                              : "response.function_call_arguments.delta",
                                out);
    response_put_place(render, at, out);
    ac_dialect_add_text(out, "delta", delta);
    frame_end(&frame);
}

static void response_add_update(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    const char *delta = ac_json_peek_string(event->data, "arguments_delta", NULL);
    if (delta) {
        response_add_delta(render, event, delta, out);
    } else if (json_is_true(json_object_get(event->data, "approval_required"))) {
        size_t at = next_item(render, out);
        response_put_item(render, at, true, out);
        response_put_item(render, at, false, out);
        if (!json_is_true(json_object_get(event->data, "more"))) {
            response_end(render, event, out);
        }
    } else if (json_is_true(json_object_get(event->data, "approved"))) {
        response_begin_call(render, out);
    }
}

static void response_end_call(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    size_t at;
    const ac_v1_item_t *call = response_call(render, event, &at);
    if (!call) {
        return;
    }
    bool server = call->kind == AC_V1_ITEM_CALL;
    frame_t frame =
        frame_begin(render, server ? "response.mcp_call_arguments.done" : "response.function_call_arguments.done", out);
    response_put_place(render, at, out);
    if (!server) {
        ac_dialect_add_text(out, "name", call->tool);
    }
    ac_dialect_add_text(out, "arguments", call->arguments.len ? call->arguments.data : "");
    frame_end(&frame);
    if (server) {
        response_put_about(render, call->error ? "response.mcp_call.failed" : "response.mcp_call.completed", at, out);
    }
    response_put_item(render, at, false, out);
}

/* Whether the event begins an item; of segments that are not shown only those are counted. */
static unsigned items_begun(ac_render_t *render, const ac_event_t *event)
{
    const json_t *data = event->data;
    switch (event->type) {
    case AC_EVENT_TOKEN:
    case AC_EVENT_REASONING: return !continues(render, event) && gap_of(render, event) < event->len;
    case AC_EVENT_TRACE_START: return !json_is_true(json_object_get(data, "needs_approval"));
    case AC_EVENT_TRACE_UPDATE:
        return json_is_true(json_object_get(data, "approval_required")) ||
            json_is_true(json_object_get(data, "approved"));
    default: return false;
    }
}

/* An event of an earlier segment. */
static void skip_event(ac_render_t *render, const ac_event_t *event)
{
    bool text = event->type == AC_EVENT_TOKEN || event->type == AC_EVENT_REASONING;
    unsigned begun = items_begun(render, event);
    bool same = text && continues(render, event);
    render->place.n_items += begun;
    if (text && !same) {
        render->place.open = begun ? render->place.n_items : 0;
    } else if (event->type == AC_EVENT_TRACE_START || begun) {
        render->place.open = 0;
    }
}

static void response_show(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    switch (event->type) {
    case AC_EVENT_RUN: response_begin(render, out); break;
    case AC_EVENT_TOKEN:
    case AC_EVENT_REASONING: response_add_token(render, event, out); break;
    case AC_EVENT_TRACE_START:
        if (items_begun(render, event)) {
            response_begin_call(render, out);
        } else {
            response_end_text(render, out);
        }
        break;
    case AC_EVENT_TRACE_UPDATE: response_add_update(render, event, out); break;
    case AC_EVENT_TRACE_END: response_end_call(render, event, out); break;
    case AC_EVENT_DONE:
    case AC_EVENT_ERROR:
        response_begin(render, out);
        response_end(render, event, out);
        break;
    default: break;
    }
}

static apr_status_t response_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    ac_render_place_t place = render->place;
    bool terminal = event->type == AC_EVENT_DONE || event->type == AC_EVENT_ERROR;
    size_t before = out->len;
    ac_dialect_keep_facts(render, event);
    ac_v1_items_add(ac_v1_document_items(render), event);
    if (render->place.seq == response_view(render)->segment || terminal) {
        response_show(render, event, out);
    } else {
        skip_event(render, event);
    }
    render->place.seq += ac_v1_document_ends_segment(event);
    render->place = out->failed ? place : render->place;
    return ac_dialect_finish(out, before);
}

/* ---- the table ---- */

#define EVENTS "text/event-stream; charset=utf-8"

const ac_dialect_t ac_v1_dialect_response = {.name = "response-event",
                                             .media_type = EVENTS,
                                             .stream = true,
                                             .next = &ac_v1_document_dialect,
                                             .event = response_event,
                                             .heartbeat = ac_dialect_comment_heartbeat,
                                             .free = ac_v1_items_free};
const ac_dialect_t ac_v1_dialect_shown = {.name = "response-followed",
                                          .media_type = EVENTS,
                                          .stream = true,
                                          .next = &ac_v1_document_shown,
                                          .event = response_event,
                                          .heartbeat = ac_dialect_comment_heartbeat,
                                          .free = ac_v1_items_free};
