/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of a server during a call. An approval is a yes, so only those are taken that a yes answers: without
 * fields, or with one field that is true or false. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_MESSAGE 2000
#define MAX_STATE (64 * 1024)
#define MAX_REQUESTS 8

static apr_status_t mcp_question_refuse(ac_err_t *err)
{
    return ac_err_set(
        err, AC_TOOL_ERROR,
        "the MCP server asks for input that cannot be given here: only questions that are answered by yes "
        "or no are supported");
}

/* What a form is answered with; NULL: a yes does not answer it. New reference. */
static json_t *mcp_question_content(const json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties");
    void *first = json_object_iter(properties);
    if (schema && (!json_is_object(schema) || json_object_size(properties) > 1)) {
        return NULL;
    }
    if (!first) {
        return json_array_size(json_object_get(schema, "required")) ? NULL : json_object();
    }
    if (strcmp(ac_json_peek_string(json_object_iter_value(first), "type", ""), "boolean") != 0) {
        return NULL;
    }
    json_t *content = json_object();
    ac_json_put(content, json_object_iter_key(first), json_true());
    return content;
}

static bool mcp_question_take(json_t *answers, ac_buf_t *message, const char *key, const json_t *request)
{
    const json_t *params = json_object_get(request, "params");
    bool form = strcmp(ac_json_peek_string(request, "method", ""), "elicitation/create") == 0 &&
        strcmp(ac_json_peek_string(params, "mode", "form"), "form") == 0;
    const char *text = ac_json_peek_string(params, "message", NULL);
    json_t *content = form && text ? mcp_question_content(json_object_get(params, "requestedSchema")) : NULL;
    if (!content) {
        return false;
    }
    ac_buf_str(message, message->len ? "\n" : "");
    ac_tool_text_add(message, text, MAX_MESSAGE);
    ac_json_put(answers, key, json_pack("{s:s, s:o}", "action", "accept", "content", content));
    return true;
}

apr_status_t ac_mcp_question_read(json_t **pquestion, json_t **pstate, const json_t *result, ac_err_t *err)
{
    json_t *requests = json_object_get(result, "inputRequests"), *state = json_object_get(result, "requestState");
    json_t *answers = json_object(), *request;
    const char *key;
    bool fine = json_object_size(requests) <= MAX_REQUESTS &&
        (!state || (json_is_string(state) && json_string_length(state) <= MAX_STATE));
    ac_buf_t message;
    ac_buf_init(&message, MAX_REQUESTS * (MAX_MESSAGE + 16));
    *pquestion = *pstate = NULL;
    json_object_foreach(requests, key, request)
    {
        fine = fine && mcp_question_take(answers, &message, key, request);
    }
    if (fine && json_object_size(answers) == 0 && state) {
        *pstate = json_incref(state);
    } else if (fine && json_object_size(answers) > 0) {
        *pquestion =
            json_pack("{s:o, s:O}", "message", ac_json_text(message.data ? message.data : ""), "answers", answers);
        if (state) {
            json_object_set(*pquestion, "state", state);
        }
    } else {
        fine = false;
    }
    json_decref(answers);
    ac_buf_free(&message);
    return fine ? APR_SUCCESS : mcp_question_refuse(err);
}
