/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: an answer assembled from its events, or from one whole document. Each part of an output item may
 * come in pieces, whole at its end, or in the last event only; it is reported once. */
#include "openai_internal.h"

#include <stdio.h>
#include <string.h>

typedef apr_status_t take_fn(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err);

static int64_t responses_place(const json_t *event, const char *name)
{
    return ac_json_peek_int(event, name, 0);
}

/* ---- text and reasoning ---- */

/* Notes that the part with this name has been reported. Returns whether it is the first time. */
static bool note_part(ac_openai_answer_t *answer, char kind, int64_t item, int64_t part)
{
    ac_responses_place_t *last = &answer->responses.last;
    char key[64];
    if (last->kind == kind && last->item == item && last->part == part) {
        return false;
    }
    *last = (ac_responses_place_t){kind, item, part};
    snprintf(key, sizeof(key), "%c:%" PRId64 ":%" PRId64, kind, item, part);
    if (!answer->responses.noted) {
        answer->responses.noted = json_object();
    }
    if (json_object_get(answer->responses.noted, key)) {
        return false;
    }
    ac_json_put(answer->responses.noted, key, json_true());
    return true;
}

/* Another message, or another part of a summary, is a paragraph of its own. */
static apr_status_t report_part(ac_openai_answer_t *answer, char kind, const char *text, size_t len, ac_err_t *err)
{
    return kind == 't' ? ac_openai_text(answer, text, len, err) : ac_openai_reasoning(answer, text, len, err);
}

/* whole: the text of all pieces, which counts only if no piece has come. */
static apr_status_t take_part(ac_openai_answer_t *answer, char kind, const ac_responses_place_t *at, const json_t *text,
                              bool whole, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    if (!json_string_length(text)) {
        return APR_SUCCESS;
    }
    bool is_new = note_part(answer, at->kind, at->item, at->part);
    if (whole && !is_new) {
        return APR_SUCCESS;
    }
    size_t before = kind == 't' ? answer->text_len : answer->reasoning_len;
    bool apart = is_new && before && (kind != 't' || answer->responses.text_item != at->item);
    if (kind == 't') {
        answer->responses.text_item = at->item;
    }
    if (apart) {
        status = report_part(answer, kind, "\n\n", 2, err);
    }
    return status == APR_SUCCESS ? report_part(answer, kind, json_string_value(text), json_string_length(text), err)
                                 : status;
}

static apr_status_t take_text_delta(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'t', responses_place(event, "output_index"), responses_place(event, "content_index")};
    return take_part(answer, 't', &at, json_object_get(event, "delta"), false, err);
}

static apr_status_t take_text_done(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'t', responses_place(event, "output_index"), responses_place(event, "content_index")};
    const json_t *text = json_object_get(event, "text");
    return take_part(answer, 't', &at, text ? text : json_object_get(event, "refusal"), true, err);
}

static apr_status_t take_summary_delta(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'s', responses_place(event, "output_index"), responses_place(event, "summary_index")};
    return take_part(answer, 'r', &at, json_object_get(event, "delta"), false, err);
}

static apr_status_t take_summary_done(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'s', responses_place(event, "output_index"), responses_place(event, "summary_index")};
    return take_part(answer, 'r', &at, json_object_get(event, "text"), true, err);
}

static apr_status_t take_reasoning_delta(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'r', responses_place(event, "output_index"), responses_place(event, "content_index")};
    return take_part(answer, 'r', &at, json_object_get(event, "delta"), false, err);
}

static apr_status_t take_reasoning_done(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    ac_responses_place_t at = {'r', responses_place(event, "output_index"), responses_place(event, "content_index")};
    return take_part(answer, 'r', &at, json_object_get(event, "text"), true, err);
}

static void name_source(ac_openai_answer_t *answer, const json_t *annotation)
{
    if (answer->cb->on_annotation && json_is_object(annotation)) {
        answer->started = true;
        answer->cb->on_annotation(answer->baton, annotation);
    }
}

static apr_status_t take_annotation_event(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    (void)err;
    name_source(answer, json_object_get(event, "annotation"));
    return APR_SUCCESS;
}

/* ---- function calls ---- */

static apr_status_t take_arguments(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    json_t *delta = json_object_get(event, "delta");
    if (!json_string_length(delta)) {
        return APR_SUCCESS;
    }
    json_t *fragment = json_pack("{s:I, s:{s:O}}", "index", (json_int_t)responses_place(event, "output_index"),
                                 "function", "arguments", delta);
    apr_status_t status = ac_openai_call_fragment(answer, fragment, err);
    json_decref(fragment);
    return status;
}

static apr_status_t finish_call(ac_openai_answer_t *answer, int64_t index, const char *id, const json_t *said,
                                ac_err_t *err)
{
    json_t *arguments = json_object_get(said, "arguments"), *name = json_object_get(said, "name");
    json_t *fragment = json_pack("{s:I, s:s*, s:{s:O*, s:O*}}", "index", (json_int_t)index, "id", id, "function",
                                 "name", name, "arguments", arguments);
    apr_status_t status = ac_openai_call_whole(answer, fragment, err);
    json_decref(fragment);
    return status;
}

static apr_status_t take_arguments_done(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    json_t *arguments = json_object_get(event, "arguments");
    json_t *fragment = json_pack("{s:I, s:{s:O*}}", "index", (json_int_t)responses_place(event, "output_index"),
                                 "function", "arguments", arguments);
    apr_status_t status = ac_openai_call_whole(answer, fragment, err);
    json_decref(fragment);
    return status;
}

static const char *responses_call_id(const json_t *item)
{
    return ac_json_peek_string(item, "call_id", ac_json_peek_string(item, "id", NULL));
}

/* ---- output items ---- */

static apr_status_t responses_take_message(ac_openai_answer_t *answer, const json_t *item, int64_t index, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(item, "content"), i, part)
    {
        ac_responses_place_t at = {'t', index, (int64_t)i};
        const json_t *text = json_object_get(part, "text");
        if (status == APR_SUCCESS) {
            status = take_part(answer, 't', &at, text ? text : json_object_get(part, "refusal"), true, err);
        }
        const json_t *annotations = json_object_get(part, "annotations");
        for (size_t k = 0; k < json_array_size(annotations); k++) { /* the run knows those that have come before */
            name_source(answer, json_array_get(annotations, k));
        }
    }
    return status;
}

static apr_status_t take_thought(ac_openai_answer_t *answer, const json_t *item, int64_t index, ac_err_t *err)
{
    static const struct {
        const char *name;
        char kind;
    } lists[] = {{"summary", 's'}, {"content", 'r'}};
    apr_status_t status = APR_SUCCESS;
    for (size_t k = 0; k < sizeof(lists) / sizeof(lists[0]); k++) {
        const json_t *list = json_object_get(item, lists[k].name), *part;
        size_t i;
        json_array_foreach((json_t *)list, i, part)
        {
            ac_responses_place_t at = {lists[k].kind, index, (int64_t)i};
            if (status == APR_SUCCESS) {
                status = take_part(answer, 'r', &at, json_object_get(part, "text"), true, err);
            }
        }
    }
    return status;
}

static apr_status_t take_item_begin(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    const json_t *item = json_object_get(event, "item");
    int64_t index = responses_place(event, "output_index");
    if (strcmp(ac_json_peek_string(item, "type", ""), "function_call") == 0) {
        return finish_call(answer, index, responses_call_id(item), item, err);
    }
    ac_responses_hosted_report(answer, item, index, false);
    return APR_SUCCESS;
}

static apr_status_t end_item(ac_openai_answer_t *answer, json_t *item, int64_t index, ac_err_t *err)
{
    const char *type = ac_json_peek_string(item, "type", "");
    if (!json_is_object(item) || !note_part(answer, 'i', index, 0)) {
        return APR_SUCCESS;
    }
    if (!answer->responses.items) {
        answer->responses.items = json_array();
    }
    json_array_append(answer->responses.items, item);
    if (strcmp(type, "message") == 0) {
        return responses_take_message(answer, item, index, err);
    }
    if (strcmp(type, "reasoning") == 0) {
        return take_thought(answer, item, index, err);
    }
    if (strcmp(type, "function_call") == 0) {
        return finish_call(answer, index, responses_call_id(item), item, err);
    }
    if (strcmp(type, "mcp_approval_request") == 0) {
        return ac_responses_hosted_ask(answer, item, err);
    }
    ac_responses_hosted_report(answer, item, index, true);
    return APR_SUCCESS;
}

static apr_status_t take_item_end(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    return end_item(answer, json_object_get(event, "item"), responses_place(event, "output_index"), err);
}

/* ---- the response ---- */

static apr_status_t take_response(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    const json_t *response = json_object_get(event, "response");
    const char *model = ac_json_peek_string(response, "model", ""), *id = ac_json_peek_string(response, "id", "");
    (void)err;
    ac_openai_model(answer, model, strlen(model));
    if (strlen(id) < sizeof(answer->responses.id)) {
        memcpy(answer->responses.id, id, strlen(id) + 1);
    }
    return APR_SUCCESS;
}

/* A response with everything: what no event has said before is reported now. */
static apr_status_t end_response(ac_openai_answer_t *answer, const json_t *response, ac_finish_e finish, ac_err_t *err)
{
    json_t *output = json_object_get(response, "output"), *item;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    json_array_foreach(output, i, item)
    {
        if (status == APR_SUCCESS) {
            status = end_item(answer, item, (int64_t)i, err);
        }
    }
    ac_openai_usage(answer, json_object_get(response, "usage"));
    answer->finish = finish;
    answer->done = answer->started = true;
    return status;
}

static apr_status_t take_completed(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    take_response(answer, event, err);
    return end_response(answer, json_object_get(event, "response"), AC_FINISH_STOP, err);
}

static apr_status_t fail_response(ac_openai_answer_t *answer, const json_t *response, ac_err_t *err)
{
    const json_t *error = json_object_get(response, "error");
    ac_openai_usage(answer, json_object_get(response, "usage"));
    if (!json_is_object(error)) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service failed in the middle of the answer");
    }
    return ac_openai_error_parsed(0, response, NULL, err);
}

static apr_status_t take_failed(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    take_response(answer, event, err);
    return fail_response(answer, json_object_get(event, "response"), err);
}

static apr_status_t cut_response(ac_openai_answer_t *answer, const json_t *response, ac_err_t *err)
{
    const char *why = ac_json_peek_string(json_object_get(response, "incomplete_details"), "reason", "");
    if (strcmp(ac_json_peek_string(response, "status", ""), "cancelled") == 0) {
        ac_openai_usage(answer, json_object_get(response, "usage"));
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service cancelled the answer");
    }
    return end_response(answer, response,
                        strcmp(why, "content_filter") == 0 ? AC_FINISH_CONTENT_FILTER : AC_FINISH_LENGTH, err);
}

static apr_status_t take_incomplete(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    take_response(answer, event, err);
    return cut_response(answer, json_object_get(event, "response"), err);
}

/* The service's own form is flat; other servers nest it as chat completions do. */
static apr_status_t take_error(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    (void)answer;
    return ac_openai_error_parsed(0, event, NULL, err);
}

static const struct {
    const char *type;
    take_fn *take;
} events[] = {
    {"response.output_text.delta", take_text_delta},
    {"response.function_call_arguments.delta", take_arguments},
    {"response.reasoning_summary_text.delta", take_summary_delta},
    {"response.reasoning_text.delta", take_reasoning_delta},
    {"response.reasoning.delta", take_reasoning_delta}, /* of Open Responses */
    {"response.refusal.delta", take_text_delta},
    {"response.output_text.annotation.added", take_annotation_event},
    {"response.output_text.done", take_text_done},
    {"response.refusal.done", take_text_done},
    {"response.reasoning_summary_text.done", take_summary_done},
    {"response.reasoning_text.done", take_reasoning_done},
    {"response.reasoning.done", take_reasoning_done},
    {"response.function_call_arguments.done", take_arguments_done},
    {"response.output_item.added", take_item_begin},
    {"response.output_item.done", take_item_end},
    {"response.created", take_response},
    {"response.in_progress", take_response},
    {"response.queued", take_response},
    {"response.completed", take_completed},
    {"response.incomplete", take_incomplete},
    {"response.cancelled", take_incomplete},
    {"response.failed", take_failed},
    {"error", take_error},
    {NULL, NULL},
};

static apr_status_t take_event(ac_openai_answer_t *answer, const json_t *event, ac_err_t *err)
{
    const char *type = ac_json_peek_string(event, "type", "");
    int i = 0;
    if (json_object_get(event, "error") && !json_is_null(json_object_get(event, "error"))) {
        return take_error(answer, event, err);
    }
    while (events[i].type && strcmp(events[i].type, type) != 0) {
        i++;
    }
    return events[i].type ? events[i].take(answer, event, err) : APR_SUCCESS;
}

apr_status_t ac_responses_event(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err)
{
    while (len && (*data == ' ' || *data == '\t' || *data == '\r' || *data == '\n')) {
        data++;
        len--;
    }
    if (answer->done || !len) {
        return APR_SUCCESS;
    }
    if (len >= 6 && memcmp(data, "[DONE]", 6) == 0) {
        answer->done = true;
        return APR_SUCCESS;
    }
    json_t *event = ac_openai_document(data, len);
    if (!event) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service sent an event that is not JSON");
    }
    apr_status_t status = take_event(answer, event, err);
    json_decref(event);
    return status;
}

apr_status_t ac_responses_whole(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err)
{
    json_t *response = ac_openai_document(body, len);
    const char *status_text = ac_json_peek_string(response, "status", "completed");
    apr_status_t status;
    if (json_is_object(json_object_get(response, "error")) || strcmp(status_text, "failed") == 0) {
        status = fail_response(answer, response, err);
    } else if (!json_is_array(json_object_get(response, "output"))) {
        status = ac_err_set(err, AC_MODEL_ERROR, "the model's service sent something that is no response");
    } else {
        json_t *event = json_pack("{s:O}", "response", response);
        status = strcmp(status_text, "completed") == 0 ? take_completed(answer, event, err)
                                                       : take_incomplete(answer, event, err);
        json_decref(event);
    }
    json_decref(response);
    return status;
}

/* ---- the end ---- */

static json_t *calls_json(const ac_openai_answer_t *answer)
{
    json_t *calls = json_array();
    for (int i = 0; i < answer->n_calls; i++) {
        const ac_openai_call_t *call = &answer->calls[i];
        json_array_append_new(calls, json_pack("{s:s*, s:b}", "id", call->given_id, "approval", (int)call->approval));
    }
    return calls;
}

apr_status_t ac_responses_end(ac_openai_answer_t *answer, const ac_responses_conf_t *conf, ac_model_end_t *end)
{
    apr_status_t status = ac_openai_end(answer, end);
    bool stored = conf->store && *answer->responses.id;
    if (status != APR_SUCCESS || end->finish == AC_FINISH_CONTENT_FILTER) {
        return status;
    }
    if (stored) {
        memcpy(end->response, answer->responses.id, sizeof(end->response));
    }
    if (end->n_calls) {
        json_t *carried = json_pack("{s:o}", "calls", calls_json(answer));
        if (!stored) {
            ac_json_put(carried, "items", json_incref(answer->responses.items));
        }
        json_decref(answer->responses.carried);
        answer->responses.carried = carried;
        end->carried = carried;
    }
    return status;
}

/* The service names the member or the error; its text has the id of the response. */
bool ac_responses_is_unknown(int http_status, const char *body, size_t len)
{
    if (http_status != 404 && http_status != 400) {
        return false;
    }
    return len && memmem(body, len, "previous_response", 17);
}
