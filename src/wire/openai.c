/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: an answer assembled from its chunks, or from one whole document. */
#include "openai_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ac_openai_answer_init(ac_openai_answer_t *answer, const ac_model_cb_t *cb, void *baton)
{
    memset(answer, 0, sizeof(*answer));
    answer->cb = cb;
    answer->baton = baton;
}

void ac_openai_answer_free(ac_openai_answer_t *answer)
{
    ac_openai_calls_free(answer);
    json_decref(answer->responses.noted);
    json_decref(answer->responses.items);
    json_decref(answer->responses.carried);
}

/* ---- text ---- */

typedef void report_fn(void *baton, const char *text, size_t len);

/* Neither stores nor clients accept U+0000; the text around it is kept. *plen: the bytes of this kind so far. */
static apr_status_t openai_report(ac_openai_answer_t *answer, size_t *plen, report_fn *fn, const char *text, size_t len,
                                  ac_err_t *err)
{
    if (len > AC_MAX_ANSWER - *plen) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's answer is longer than %d bytes", AC_MAX_ANSWER);
    }
    *plen += len;
    while (len) {
        const char *nul = memchr(text, '\0', len);
        size_t n = nul ? (size_t)(nul - text) : len;
        if (n) {
            answer->started = true;
            fn(answer->baton, text, n);
        }
        n += nul != NULL;
        text += n;
        len -= n;
    }
    return APR_SUCCESS;
}

apr_status_t ac_openai_text(ac_openai_answer_t *answer, const char *text, size_t len, ac_err_t *err)
{
    return openai_report(answer, &answer->text_len, answer->cb->on_text, text, len, err);
}

apr_status_t ac_openai_reasoning(ac_openai_answer_t *answer, const char *text, size_t len, ac_err_t *err)
{
    report_fn *fn = answer->cb->on_reasoning;
    return fn ? openai_report(answer, &answer->reasoning_len, fn, text, len, err) : APR_SUCCESS;
}

static apr_status_t openai_take_text(ac_openai_answer_t *answer, const json_t *value, ac_err_t *err)
{
    return json_is_string(value) ? ac_openai_text(answer, json_string_value(value), json_string_length(value), err)
                                 : APR_SUCCESS;
}

static apr_status_t openai_take_reasoning(ac_openai_answer_t *answer, const json_t *value, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    if (json_is_string(value)) {
        status = ac_openai_reasoning(answer, json_string_value(value), json_string_length(value), err);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(value); i++) {
        status = openai_take_reasoning(answer, json_object_get(json_array_get(value, i), "text"), err);
    }
    return status;
}

/* A part of content that came as an array. */
static apr_status_t openai_take_part(ac_openai_answer_t *answer, const json_t *part, ac_err_t *err)
{
    const char *type = ac_json_peek_string(part, "type", "text");
    if (strcmp(type, "thinking") == 0) {
        return openai_take_reasoning(answer, json_object_get(part, "thinking"), err);
    }
    if (json_is_string(part)) {
        return openai_take_text(answer, part, err);
    }
    if (strcmp(type, "text") == 0 || strcmp(type, "output_text") == 0) {
        return openai_take_text(answer, json_object_get(part, "text"), err);
    }
    return strcmp(type, "refusal") != 0 ? APR_SUCCESS : openai_take_text(answer, json_object_get(part, "refusal"), err);
}

static apr_status_t take_content(ac_openai_answer_t *answer, const json_t *content, ac_err_t *err)
{
    apr_status_t status = openai_take_text(answer, content, err);
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(content); i++) {
        status = openai_take_part(answer, json_array_get(content, i), err);
    }
    return status;
}

/* ---- a chunk's members ---- */

void ac_openai_model(ac_openai_answer_t *answer, const char *name, size_t len)
{
    if (len && !*answer->model) {
        if (len >= sizeof(answer->model)) {
            len = ac_utf8_whole(name, sizeof(answer->model) - 1);
        }
        memcpy(answer->model, name, len);
        answer->model[len] = '\0';
    }
}

static int64_t peek_count(const json_t *object, const char *name, int64_t fallback)
{
    int64_t n = ac_json_peek_int(object, name, fallback);
    return n < 0 ? 0 : n < AC_MAX_USAGE ? n : AC_MAX_USAGE;
}

void ac_openai_usage(ac_openai_answer_t *answer, const json_t *usage)
{
    int64_t asked = peek_count(usage, "prompt_tokens", peek_count(usage, "input_tokens", 0));
    int64_t said = peek_count(usage, "completion_tokens", peek_count(usage, "output_tokens", 0));
    /* Every answer uses tokens: figures that are all 0 mean that usage is unknown. */
    if (!asked && !said) {
        return;
    }
    ac_usage_t *to = &answer->usage;
    const json_t *of_asked = json_object_get(usage, "prompt_tokens_details");
    const json_t *of_said = json_object_get(usage, "completion_tokens_details");
    of_asked = of_asked ? of_asked : json_object_get(usage, "input_tokens_details");
    of_said = of_said ? of_said : json_object_get(usage, "output_tokens_details");
    to->prompt = asked;
    to->completion = said;
    to->total = peek_count(usage, "total_tokens", 0);
    if (!to->total) {
        to->total = to->prompt + to->completion;
    }
    to->cached = peek_count(of_asked, "cached_tokens", peek_count(usage, "prompt_cache_hit_tokens", 0));
    to->reasoning = peek_count(of_said, "reasoning_tokens", 0);
    to->known = true;
}

static apr_status_t take_finish(ac_openai_answer_t *answer, const json_t *reason, ac_err_t *err)
{
    static const struct {
        const char *name;
        ac_finish_e finish;
    } known[] = {
        {"length", AC_FINISH_LENGTH},
        {"model_length", AC_FINISH_LENGTH},
        {"max_tokens", AC_FINISH_LENGTH},
        {"content_filter", AC_FINISH_CONTENT_FILTER},
        {"tool_calls", AC_FINISH_TOOL_CALLS},
        {"function_call", AC_FINISH_TOOL_CALLS},
        {NULL, AC_FINISH_STOP},
    };
    const char *name = json_string_value(reason);
    if (!name || !*name) {
        return APR_SUCCESS;
    }
    if (strcmp(name, "error") == 0) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service failed in the middle of the answer");
    }
    int i = 0;
    while (known[i].name && strcmp(known[i].name, name) != 0) {
        i++;
    }
    answer->finish = known[i].finish;
    answer->started = true;
    return APR_SUCCESS;
}

static apr_status_t take_delta(ac_openai_answer_t *answer, const json_t *delta, ac_err_t *err)
{
    const json_t *calls = json_object_get(delta, "tool_calls"), *legacy = json_object_get(delta, "function_call");
    /* Some servers send both members with the same text. */
    const json_t *reasoning = json_object_get(delta, "reasoning_content");
    apr_status_t status =
        openai_take_reasoning(answer, json_string_length(reasoning) ? reasoning : json_object_get(delta, "reasoning"),
                              err);
    if (status == APR_SUCCESS) {
        status = take_content(answer, json_object_get(delta, "content"), err);
    }
    if (status == APR_SUCCESS) {
        status = openai_take_text(answer, json_object_get(delta, "refusal"), err);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(calls); i++) {
        status = ac_openai_call_fragment(answer, json_array_get(calls, i), err);
    }
    const json_t *annotations = json_object_get(delta, "annotations");
    for (size_t i = 0; answer->cb->on_annotation && i < json_array_size(annotations); i++) {
        answer->started = true;
        answer->cb->on_annotation(answer->baton, json_array_get(annotations, i));
    }
    if (status == APR_SUCCESS && json_is_object(legacy)) {
        status = ac_openai_call_legacy(answer, legacy, err);
    }
    return status;
}

static apr_status_t take_choice(ac_openai_answer_t *answer, const json_t *choice, ac_err_t *err)
{
    if (ac_json_peek_int(choice, "index", 0) != 0) {
        return APR_SUCCESS;
    }
    const json_t *delta = json_object_get(choice, "delta");
    if (!json_is_object(delta)) {
        delta = json_object_get(choice, "message");
    }
    apr_status_t status = take_delta(answer, delta, err);
    return status == APR_SUCCESS ? take_finish(answer, json_object_get(choice, "finish_reason"), err) : status;
}

/* ---- documents ---- */

static bool has(const json_t *document, const char *name)
{
    const json_t *value = json_object_get(document, name);
    const char *text = json_string_value(value);
    return value && !json_is_null(value) && !json_is_false(value) && (!text || *text);
}

/* Whether it is an error in any known form: under "error", or the document itself if it has no choices. */
static bool is_error(const json_t *document)
{
    if (json_is_array(document)) {
        return has(json_array_get(document, 0), "error");
    }
    return has(document, "error") ||
        (!has(document, "choices") &&
         (has(document, "message") || has(document, "detail") ||
          strcmp(ac_json_peek_string(document, "object", ""), "error") == 0 ||
          strcmp(ac_json_peek_string(document, "type", ""), "error") == 0));
}

static apr_status_t take_document(ac_openai_answer_t *answer, const json_t *document, ac_err_t *err)
{
    if (is_error(document)) {
        return ac_openai_error_parsed(0, document, NULL, err);
    }
    if (!json_is_object(document)) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service sent something that is no chat completion");
    }
    const json_t *choices = json_object_get(document, "choices");
    apr_status_t status = APR_SUCCESS;
    const char *model = ac_json_peek_string(document, "model", "");
    ac_openai_model(answer, model, strlen(model));
    ac_openai_usage(answer, json_object_get(document, "usage"));
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(choices); i++) {
        status = take_choice(answer, json_array_get(choices, i), err);
    }
    return status;
}

apr_status_t ac_openai_chunk_parsed(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err)
{
    json_t *document = ac_openai_document(data, len);
    if (!document) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service sent a chunk that is not JSON");
    }
    apr_status_t status = take_document(answer, document, err);
    json_decref(document);
    return status;
}

apr_status_t ac_openai_chunk(ac_openai_answer_t *answer, const char *data, size_t len, ac_err_t *err)
{
    apr_status_t status;
    if (answer->done) {
        return APR_SUCCESS;
    }
    if (ac_openai_quick_chunk(answer, data, len, &status, err)) {
        return status;
    }
    while (len && (*data == ' ' || *data == '\t' || *data == '\r' || *data == '\n')) {
        data++;
        len--;
    }
    if (len >= 6 && memcmp(data, "[DONE]", 6) == 0) {
        answer->done = true;
        return APR_SUCCESS;
    }
    return len ? ac_openai_chunk_parsed(answer, data, len, err) : APR_SUCCESS;
}

apr_status_t ac_openai_whole(ac_openai_answer_t *answer, const char *body, size_t len, ac_err_t *err)
{
    json_t *document = ac_openai_document(body, len);
    if (!document) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service sent an answer that is not JSON");
    }
    apr_status_t status = take_document(answer, document, err);
    if (status == APR_SUCCESS && !json_array_size(json_object_get(document, "choices"))) {
        status = ac_err_set(err, AC_MODEL_ERROR, "the model's service sent something that is no chat completion");
    }
    answer->done = status == APR_SUCCESS;
    json_decref(document);
    return status;
}

/* ---- the end ---- */

static ac_finish_e openai_finish_of(const ac_openai_answer_t *answer)
{
    switch (answer->finish) {
    case AC_FINISH_LENGTH:
    case AC_FINISH_CONTENT_FILTER: return answer->finish;
    default:
        /* With a forced tool some servers finish with "stop": the presence of calls decides. */
        return answer->n_calls ? AC_FINISH_TOOL_CALLS : AC_FINISH_STOP;
    }
}

static apr_status_t list_calls(ac_openai_answer_t *answer, ac_model_end_t *end)
{
    if (!answer->n_calls || end->finish == AC_FINISH_CONTENT_FILTER) {
        return APR_SUCCESS;
    }
    free(answer->list);
    answer->list = calloc((size_t)answer->n_calls, sizeof(*answer->list));
    if (!answer->list) {
        return ac_err_set(&end->err, AC_INTERNAL, "memory ran out");
    }
    for (int i = 0; i < answer->n_calls; i++) {
        const ac_openai_call_t *call = &answer->calls[i];
        const char *arguments = call->arguments.data ? call->arguments.data : "";
        answer->list[i] = (ac_tool_call_t){call->id, call->name, arguments, call->approval};
    }
    end->calls = answer->list;
    end->n_calls = answer->n_calls;
    return APR_SUCCESS;
}

apr_status_t ac_openai_end(ac_openai_answer_t *answer, ac_model_end_t *end)
{
    memset(end, 0, sizeof(*end));
    end->usage = answer->usage;
    memcpy(end->model, answer->model, sizeof(end->model));
    if (answer->finish == AC_FINISH_NONE && !answer->done) {
        end->status = ac_err_set(&end->err, AC_MODEL_ERROR, "the answer was cut off");
        return end->status;
    }
    end->finish = openai_finish_of(answer);
    if (end->finish != AC_FINISH_CONTENT_FILTER) {
        end->status = ac_openai_calls_end(answer, &end->err);
    }
    if (end->status == APR_SUCCESS) {
        end->status = list_calls(answer, end);
    }
    return end->status;
}
