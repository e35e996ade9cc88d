/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: every line is an event. The stream, the whole-document reader, the end, and the request that says
 * the answer again must accept any input. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "wire/openai_internal.h"

static void check_text(const char *text, size_t len)
{
    if (!len || memchr(text, '\0', len) || !ac_utf8_valid(text, len)) {
        abort();
    }
}

static void on_text(void *baton, const char *text, size_t len)
{
    (void)baton;
    check_text(text, len);
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    (void)baton;
    if (index < 0 || index >= AC_MAX_TOOL_CALLS || !*id || !*name) {
        abort();
    }
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    (void)baton, (void)fragment;
    if (index < 0 || index >= AC_MAX_TOOL_CALLS || !len) {
        abort();
    }
}

static void on_annotation(void *baton, const json_t *annotation)
{
    (void)baton;
    json_t *found = ac_sources_annotation(annotation);
    json_decref(found);
}

static void on_hosted(void *baton, const ac_hosted_call_t *call)
{
    (void)baton;
    if (!*call->id || !json_is_object(call->arguments) || (!call->ended && (call->result || call->error)) ||
        strspn(call->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(call->name)) {
        abort();
    }
}

static const ac_model_cb_t callbacks = {on_text, on_tool_start, on_tool_args,  NULL,
                                        NULL,    on_text,       on_annotation, on_hosted};

/* The next request, with the answer's calls and their results. */
static void say_again(const ac_model_end_t *end, const ac_responses_conf_t *conf)
{
    json_t *calls = json_array(), *messages = json_array();
    for (int i = 0; i < end->n_calls; i++) {
        const ac_tool_call_t *call = &end->calls[i];
        json_array_append_new(calls,
                              json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", call->id, "type", "function", "function",
                                        "name", ac_json_text(call->name), "arguments", ac_json_text(call->arguments)));
    }
    json_array_append_new(messages,
                          json_pack("{s:s, s:n, s:O, s:O*}", "role", "assistant", "content", "tool_calls", calls,
                                    "carried", end->carried));
    for (int i = 0; i < end->n_calls; i++) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:s, s:s}", "role", "tool", "tool_call_id", end->calls[i].id, "content",
                                        "x"));
    }
    ac_buf_t out;
    bool chain = true;
    ac_model_ask_t ask = {.messages = messages, .temperature = NAN};
    ac_buf_init(&out, 64 * 1024 * 1024);
    if (ac_responses_request(&out, &ask, conf, &chain, NULL) == APR_SUCCESS) {
        json_t *body = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
        if (!body || !json_is_array(json_object_get(body, "input"))) {
            abort();
        }
        json_decref(body);
    }
    ac_buf_free(&out);
    json_decref(calls);
    json_decref(messages);
}

static void end_answer(ac_openai_answer_t *answer)
{
    static const ac_responses_conf_t confs[] = {{.store = false}, {.store = true}, {.agent = "a", .store = true}};
    for (size_t i = 0; i < sizeof(confs) / sizeof(confs[0]); i++) {
        ac_model_end_t end;
        if (ac_responses_end(answer, &confs[i], &end) != end.status ||
            (end.status != APR_SUCCESS) != (end.err.kind != AC_OK)) {
            abort();
        }
        say_again(&end, &confs[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    ac_openai_answer_t answer;
    ac_err_t err = {0};
    ac_openai_answer_init(&answer, &callbacks, NULL);
    for (size_t i = 0; i < size && err.kind == AC_OK;) {
        const char *lf = memchr(text + i, '\n', size - i);
        size_t len = lf ? (size_t)(lf - text) - i : size - i;
        char *line = malloc(len ? len : 1);
        memcpy(line, text + i, len);
        ac_responses_event(&answer, line, len, &err);
        free(line);
        i += len + 1;
    }
    end_answer(&answer);
    ac_openai_answer_free(&answer);
    ac_openai_answer_init(&answer, &callbacks, NULL);
    if (ac_responses_whole(&answer, text, size, NULL) == APR_SUCCESS) {
        end_answer(&answer);
    }
    ac_openai_answer_free(&answer);
    ac_responses_is_unknown(400, text, size);
    return 0;
}
