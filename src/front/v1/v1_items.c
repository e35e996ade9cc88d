/* SPDX-License-Identifier: Apache-2.0 */
/* The items of a response. The event that ends an item, and the one that ends the response, repeat all that was in it,
 * so that a stream keeps it. A stream may render events again: what they tell is known then. */
#include "v1_response.h"

#include <stdio.h>
#include <string.h>

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)

ac_v1_items_t *ac_v1_items_create(void)
{
    ac_v1_items_t *items = ac_alloc(sizeof(*items));
    ac_buf_init(&items->text, AC_MAX_JSON_TEXT);
    items->sources = json_array();
    return items;
}

void ac_v1_items_free(void *baton)
{
    ac_v1_items_t *items = baton;
    for (size_t i = 0; i < items->n; i++) {
        ac_v1_item_t *item = items->list[i];
        free(item->step_id);
        free(item->call_id);
        free(item->tool);
        free(item->result);
        free(item->error);
        ac_buf_free(&item->arguments);
        free(item);
    }
    free(items->list);
    ac_buf_free(&items->text);
    json_decref(items->sources);
    free(items);
}

static char *items_copy(const json_t *data, const char *name)
{
    char *text = strdup(ac_json_peek_string(data, name, ""));
    if (!text) {
        abort();
    }
    return text;
}

static ac_v1_item_t *items_begin(ac_v1_items_t *items, ac_v1_item_e kind, const json_t *data)
{
    ac_v1_item_t *item = ac_alloc(sizeof(*item));
    if ((items->n & (items->n - 1)) == 0) {
        ac_v1_item_t **list = realloc(items->list, (items->n ? items->n * 2 : 1) * sizeof(*list));
        if (!list) {
            abort();
        }
        items->list = list;
    }
    items->list[items->n++] = item;
    item->kind = kind;
    item->segment = items->segment;
    item->from = item->to = items->text.len;
    ac_buf_init(&item->arguments, AC_MAX_TOOL_ARGUMENTS * 2);
    if (kind != AC_V1_ITEM_TEXT && kind != AC_V1_ITEM_REASONING) {
        item->step_id = items_copy(data, "step_id");
        item->call_id = items_copy(data, "call_id");
        item->tool = items_copy(data, "tool");
    }
    return item;
}

static ac_v1_item_t *items_last_text(const ac_v1_items_t *items)
{
    ac_v1_item_t *last = items->n ? items->list[items->n - 1] : NULL;
    bool is_text = last && (last->kind == AC_V1_ITEM_TEXT || last->kind == AC_V1_ITEM_REASONING);
    return is_text && !last->ended ? last : NULL;
}

static void items_end_text(ac_v1_items_t *items, bool incomplete)
{
    ac_v1_item_t *text = items_last_text(items);
    if (text && text->kind == AC_V1_ITEM_TEXT) {
        for (size_t i = 0; i < items->n; i++) {
            text->cited = items->list[i]->cited_end > text->cited ? items->list[i]->cited_end : text->cited;
        }
        text->cited_end = json_array_size(items->sources);
    }
    if (text) {
        text->ended = true;
        text->incomplete = incomplete;
    }
}

const ac_v1_item_t *ac_v1_items_call(const ac_v1_items_t *items, size_t n, const char *step_id, size_t *pat)
{
    for (size_t i = n; i-- > 0;) {
        const ac_v1_item_t *item = items->list[i];
        if ((item->kind == AC_V1_ITEM_CALL || item->kind == AC_V1_ITEM_FUNCTION) &&
            strcmp(item->step_id, step_id) == 0) {
            if (pat) {
                *pat = i;
            }
            return item;
        }
    }
    return NULL;
}

static ac_v1_item_t *items_call(ac_v1_items_t *items, const ac_event_t *event)
{
    return (ac_v1_item_t *)ac_v1_items_call(items, items->n, ac_json_peek_string(event->data, "step_id", ""), NULL);
}

size_t ac_v1_items_gap(const char *text, size_t len, bool first)
{
    size_t n = 0;
    while (!first && n < len && text[n] == '\n') {
        n++;
    }
    return n;
}

static void items_add_token(ac_v1_items_t *items, const ac_event_t *event)
{
    bool thinks = event->type == AC_EVENT_REASONING;
    ac_v1_item_e kind = thinks ? AC_V1_ITEM_REASONING : AC_V1_ITEM_TEXT;
    ac_v1_item_t *text = items_last_text(items);
    if (text && text->kind != kind) {
        items_end_text(items, false);
        text = NULL;
    }
    size_t gap = text ? 0 : ac_v1_items_gap(event->text, event->len, items->n == 0);
    if (!text && gap == event->len) {
        return;
    }
    if (!text) {
        text = items_begin(items, kind, NULL);
        text->number = thinks ? items->n_reasonings++ : items->n_texts++;
    }
    ac_buf_add(&items->text, event->text + gap, event->len - gap);
    text->to = items->text.len;
}

static void items_add_start(ac_v1_items_t *items, const ac_event_t *event)
{
    bool client = json_is_true(json_object_get(event->data, "client"));
    items_end_text(items, false);
    if (!json_is_true(json_object_get(event->data, "needs_approval"))) {
        ac_v1_item_t *call = items_begin(items, client ? AC_V1_ITEM_FUNCTION : AC_V1_ITEM_CALL, event->data);
        call->number = (int)ac_json_peek_int(event->data, "index", 0);
    }
}

static void items_set_arguments(ac_v1_item_t *item, const json_t *arguments)
{
    char *text = json_is_string(arguments) ? strdup(json_string_value(arguments))
        : arguments                        ? ac_json_dump(arguments, NULL)
                                           : NULL;
    if (!item->arguments.len) {
        ac_buf_str(&item->arguments, text ? text : "{}");
    }
    free(text);
}

/* The call of an earlier request begins, in the next segment. */
static void items_add_approved(ac_v1_items_t *items, const ac_event_t *event)
{
    ac_v1_item_t *call = items_begin(items, AC_V1_ITEM_CALL, event->data);
    call->approved = true;
    for (size_t i = items->n; i-- > 0;) {
        const ac_v1_item_t *request = items->list[i];
        if (request->kind == AC_V1_ITEM_REQUEST && strcmp(request->call_id, call->call_id) == 0) {
            free(call->tool);
            call->tool = strdup(request->tool);
            ac_buf_add(&call->arguments, request->arguments.data, request->arguments.len);
            return;
        }
    }
}

static void items_add_update(ac_v1_items_t *items, const ac_event_t *event)
{
    const char *delta = ac_json_peek_string(event->data, "arguments_delta", NULL);
    ac_v1_item_t *call = items_call(items, event);
    if (delta) {
        if (call) {
            ac_buf_str(&call->arguments, delta);
        }
    } else if (json_is_true(json_object_get(event->data, "approval_required"))) {
        items_end_text(items, false);
        call = items_begin(items, AC_V1_ITEM_REQUEST, event->data);
        call->ended = true;
        items_set_arguments(call, json_object_get(event->data, "arguments"));
        items->segment += !json_is_true(json_object_get(event->data, "more"));
    } else if (json_is_true(json_object_get(event->data, "approved"))) {
        items_add_approved(items, event);
    }
}

static void items_add_end(ac_v1_items_t *items, const ac_event_t *event)
{
    ac_v1_item_t *call = items_call(items, event);
    const json_t *result = json_object_get(event->data, "result");
    const char *error = ac_json_peek_string(event->data, "error", NULL);
    if (!call) { /* it was refused */
        return;
    }
    items_set_arguments(call, json_object_get(event->data, "arguments"));
    call->ended = true;
    if (error) {
        call->error = strdup(error);
    } else if (call->kind == AC_V1_ITEM_CALL) {
        call->result = json_is_string(result) ? strdup(json_string_value(result)) : ac_json_dump(result, NULL);
    }
}

static bool is_whole(const ac_event_t *event)
{
    const char *reason = ac_json_peek_string(event->data, "finish_reason", "");
    return event->type == AC_EVENT_DONE && strcmp(reason, "length") != 0 && strcmp(reason, "content_filter") != 0 &&
        strcmp(ac_json_peek_string(event->data, "status", ""), "cancelled") != 0;
}

static void items_end_all(ac_v1_items_t *items, const ac_event_t *event)
{
    items_end_text(items, !is_whole(event));
    for (size_t i = 0; i < items->n; i++) {
        if (!items->list[i]->ended) {
            items->list[i]->ended = items->list[i]->incomplete = true;
        }
    }
}

void ac_v1_items_add(ac_v1_items_t *items, const ac_event_t *event)
{
    if (event->seq && event->seq <= items->seq) {
        return;
    }
    items->seq = event->seq ? event->seq : items->seq;
    switch (event->type) {
    case AC_EVENT_TOKEN:
    case AC_EVENT_REASONING: items_add_token(items, event); break;
    case AC_EVENT_SOURCES: json_array_extend(items->sources, json_object_get(event->data, "sources")); break;
    case AC_EVENT_TRACE_START: items_add_start(items, event); break;
    case AC_EVENT_TRACE_UPDATE: items_add_update(items, event); break;
    case AC_EVENT_TRACE_END: items_add_end(items, event); break;
    case AC_EVENT_DONE:
    case AC_EVENT_ERROR: items_end_all(items, event); break;
    default: break;
    }
}

/* ---- JSON ---- */

void ac_v1_items_text(ac_buf_t *out, const ac_v1_items_t *items, size_t at)
{
    const ac_v1_item_t *item = items->list[at];
    ac_buf_json(out, items->text.data ? items->text.data + item->from : "", item->to - item->from);
}

static const char *items_status(const ac_v1_item_t *item, bool begun)
{
    if (begun || !item->ended) {
        return "in_progress";
    }
    if (item->incomplete || (item->kind == AC_V1_ITEM_FUNCTION && item->error)) {
        return "incomplete";
    }
    return item->error ? "failed" : "completed";
}

static void items_put_id(ac_buf_t *out, const char *theirs, const char *run_id, const char *rest)
{
    char id[AC_V1_ID_SIZE];
    ac_v1_id_write(id, theirs, run_id, rest);
    ac_buf_json(out, id, strlen(id));
}

json_t *ac_v1_items_citations(const ac_v1_items_t *items, size_t at)
{
    const ac_v1_item_t *item = items->list[at];
    json_t *sources = json_array();
    for (size_t i = item->cited; i < item->cited_end; i++) {
        json_array_append(sources, json_array_get(items->sources, i));
    }
    json_t *citations =
        ac_sources_citations(sources, items->text.len ? items->text.data + item->from : "", item->to - item->from);
    json_decref(sources);
    return citations;
}

static void items_put_text(ac_buf_t *out, const ac_v1_items_t *items, size_t at, const char *run_id, bool begun)
{
    const ac_v1_item_t *item = items->list[at];
    char number[16];
    snprintf(number, sizeof(number), "%d", item->number);
    LITERAL(out, "{\"id\":");
    items_put_id(out, "msg_", run_id, item->number ? number : NULL);
    ac_buf_printf(out, ",\"type\":\"message\",\"status\":\"%s\",\"role\":\"assistant\",\"content\":[",
                  items_status(item, begun));
    if (!begun) {
        LITERAL(out, "{\"type\":\"output_text\",\"text\":");
        ac_v1_items_text(out, items, at);
        json_t *citations = ac_v1_items_citations(items, at);
        ac_dialect_add_member(out, "annotations", citations);
        LITERAL(out, ",\"logprobs\":[]}");
        json_decref(citations);
    }
    LITERAL(out, "]}");
}

static void items_put_reasoning(ac_buf_t *out, const ac_v1_items_t *items, size_t at, const char *run_id, bool begun)
{
    const ac_v1_item_t *item = items->list[at];
    char number[16];
    snprintf(number, sizeof(number), "%d", item->number);
    LITERAL(out, "{\"id\":");
    items_put_id(out, "rs_", run_id, item->number ? number : NULL);
    ac_buf_printf(out, ",\"type\":\"reasoning\",\"status\":\"%s\",\"summary\":[", items_status(item, begun));
    if (!begun) {
        LITERAL(out, "{\"type\":\"summary_text\",\"text\":");
        ac_v1_items_text(out, items, at);
        LITERAL(out, "}");
    }
    LITERAL(out, "]}");
}

static void items_put_tool(ac_buf_t *out, const ac_v1_item_t *item, bool begun)
{
    ac_dialect_add_text(out, "name", item->tool);
    ac_dialect_add_text(out, "arguments", begun || !item->arguments.len ? "" : item->arguments.data);
}

static void items_put_call(ac_buf_t *out, const ac_v1_item_t *item, const char *run_id, bool begun)
{
    LITERAL(out, "{\"id\":");
    items_put_id(out, "mcp_", run_id, item->call_id);
    ac_buf_printf(out, ",\"type\":\"mcp_call\",\"status\":\"%s\",\"server_label\":\"" AC_V1_SERVER_LABEL "\"",
                  items_status(item, begun));
    items_put_tool(out, item, begun);
    LITERAL(out, ",\"output\":");
    if (!begun && item->result) {
        ac_buf_json(out, item->result, strlen(item->result));
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, ",\"error\":");
    if (!begun && item->error) {
        LITERAL(out, "{\"type\":\"mcp_tool_execution_error\",\"content\":[{\"type\":\"text\",\"text\":");
        ac_buf_json(out, item->error, strlen(item->error));
        LITERAL(out, "}]}");
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, ",\"approval_request_id\":");
    if (item->approved) {
        items_put_id(out, "mcpr_", run_id, item->call_id);
    } else {
        LITERAL(out, "null");
    }
    LITERAL(out, "}");
}

static void items_put_function(ac_buf_t *out, const ac_v1_item_t *item, const char *run_id, bool begun)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", item->number);
    LITERAL(out, "{\"id\":");
    items_put_id(out, "fc_", run_id, number);
    ac_buf_printf(out, ",\"type\":\"function_call\",\"status\":\"%s\",\"call_id\":", items_status(item, begun));
    items_put_id(out, "call_", run_id, number);
    items_put_tool(out, item, begun);
    LITERAL(out, "}");
}

void ac_v1_items_json(ac_buf_t *out, const ac_v1_items_t *items, size_t at, const char *run_id, bool begun)
{
    const ac_v1_item_t *item = items->list[at];
    switch (item->kind) {
    case AC_V1_ITEM_TEXT: items_put_text(out, items, at, run_id, begun); break;
    case AC_V1_ITEM_REASONING: items_put_reasoning(out, items, at, run_id, begun); break;
    case AC_V1_ITEM_CALL: items_put_call(out, item, run_id, begun); break;
    case AC_V1_ITEM_FUNCTION: items_put_function(out, item, run_id, begun); break;
    case AC_V1_ITEM_REQUEST:
        LITERAL(out, "{\"id\":");
        items_put_id(out, "mcpr_", run_id, item->call_id);
        LITERAL(out, ",\"type\":\"mcp_approval_request\",\"server_label\":\"" AC_V1_SERVER_LABEL "\"");
        items_put_tool(out, item, false);
        LITERAL(out, "}");
        break;
    }
}
