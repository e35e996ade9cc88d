/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: calls that the service makes itself, and its questions about them. */
#include "openai_internal.h"

#include <stdio.h>
#include <string.h>

/* A server's tool is named like one that the model calls: in letters, digits, '_' and '-'. */
static void hosted_name(char name[AC_MAX_HOSTED_NAME], const json_t *item)
{
    const char *type = ac_json_peek_string(item, "type", "");
    const char *label = ac_json_peek_string(item, "server_label", ""), *own = ac_json_peek_string(item, "name", "");
    if (*own) {
        snprintf(name, AC_MAX_HOSTED_NAME, "%s%s%s", label, *label ? "_" : "", own);
    } else {
        snprintf(name, AC_MAX_HOSTED_NAME, "%.*s", (int)(strlen(type) - strlen("_call")), type);
    }
    for (char *c = name; *c; c++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", *c)) {
            *c = '_';
        }
    }
}

static json_t *first_of(const json_t *item, const char *const *names)
{
    json_t *value = NULL;
    for (; *names && (!value || json_is_null(value)); names++) {
        value = json_object_get(item, *names);
    }
    return json_is_null(value) ? NULL : value;
}

/* An object: `arguments` is text with JSON; other tools have a member of their own. New reference. */
static json_t *hosted_arguments(const json_t *item)
{
    static const char *const names[] = {"action", "queries", "code", "input", NULL};
    const char *text = ac_json_peek_string(item, "arguments", NULL);
    json_t *parsed = text ? ac_openai_document(text, strlen(text)) : NULL;
    if (json_is_object(parsed)) {
        return parsed;
    }
    json_decref(parsed);
    json_t *arguments = json_object(), *value = json_object_get(item, "arguments");
    if (json_is_object(value)) {
        json_object_update(arguments, value);
    } else if (text && *text) {
        ac_json_put(arguments, "arguments", ac_json_text(text));
    }
    for (int i = 0; names[i]; i++) {
        value = json_object_get(item, names[i]);
        if (value && !json_is_null(value)) {
            ac_json_put(arguments, names[i], json_incref(value));
        }
    }
    return arguments;
}

static const char *hosted_error(const json_t *item)
{
    static const char *const failed[] = {"failed", "incomplete", "cancelled", NULL};
    const json_t *error = json_object_get(item, "error");
    if (json_is_string(error)) {
        return json_string_value(error);
    }
    if (json_is_object(error)) {
        return ac_json_peek_string(error, "message", "the tool failed");
    }
    return ac_openai_body_among(ac_json_peek_string(item, "status", ""), failed) ? "the tool failed" : NULL;
}

void ac_responses_hosted_report(ac_openai_answer_t *answer, const json_t *item, int64_t index, bool ended)
{
    static const char *const results[] = {"output", "results", "outputs", "result", NULL};
    const char *type = ac_json_peek_string(item, "type", ""), *id = ac_json_peek_string(item, "id", "");
    size_t len = strlen(type);
    char name[AC_MAX_HOSTED_NAME], own[32];
    /* custom_tool_call is one that the caller would carry out; this module offers none. */
    if (!answer->cb->on_hosted || len <= 5 || strcmp(type + len - 5, "_call") != 0 ||
        strcmp(type, "custom_tool_call") == 0) {
        return;
    }
    snprintf(own, sizeof(own), "hosted_%d", (int)index);
    hosted_name(name, item);
    json_t *arguments = hosted_arguments(item);
    ac_hosted_call_t call = {.id = *id && strlen(id) < AC_MAX_HOSTED_ID ? id : own, .name = name, .ended = ended};
    call.arguments = arguments;
    if (ended) {
        call.error = hosted_error(item);
        call.result = first_of(item, results);
    }
    answer->started = true;
    answer->cb->on_hosted(answer->baton, &call);
    json_decref(arguments);
}

apr_status_t ac_responses_hosted_ask(ac_openai_answer_t *answer, const json_t *item, ac_err_t *err)
{
    char name[AC_MAX_HOSTED_NAME];
    hosted_name(name, item);
    json_t *arguments = hosted_arguments(item);
    json_t *call = json_pack("{s:s*, s:{s:s, s:o}}", "id", ac_json_peek_string(item, "id", NULL), "function", "name",
                             name, "arguments", arguments);
    apr_status_t status = ac_openai_call_question(answer, call, err);
    json_decref(call);
    return status;
}
