/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of a server during a call. An approval is a yes, so only those are taken that a yes answers: without
 * fields, with one field that is true or false, or with defaults for all fields, which the owner sees. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_MESSAGE 2000
#define MAX_FIELDS 20
#define MAX_VALUE 200 /* bytes that are shown of a name, or of a value */
#define MAX_STATE (64 * 1024)
#define MAX_REQUESTS 8

static apr_status_t mcp_question_refuse(ac_err_t *err)
{
    return ac_err_set(
        err, AC_TOOL_ERROR,
        "the MCP server asks for input that cannot be given here: only questions that are answered by yes "
        "or no are supported");
}

/* One field that is true or false: a yes is its value. */
static bool mcp_question_is_choice(const json_t *properties)
{
    void *first = json_object_iter((json_t *)properties);
    return json_object_size(properties) == 1 &&
        strcmp(ac_json_peek_string(json_object_iter_value(first), "type", ""), "boolean") == 0;
}

/* The default of each field; NULL: a field has none. New reference. */
static json_t *mcp_question_defaults(const json_t *properties)
{
    json_t *content = json_object(), *property;
    const char *name;
    json_object_foreach((json_t *)properties, name, property)
    {
        json_t *value = json_object_get(property, "default");
        if (!value || json_is_null(value) || json_is_object(value)) {
            json_decref(content);
            return NULL;
        }
        json_object_set(content, name, value);
    }
    return content;
}

/* What a form is answered with; NULL: a yes does not answer it. New reference. */
static json_t *mcp_question_content(const json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties");
    if (schema && (!json_is_object(schema) || json_object_size(properties) > MAX_FIELDS)) {
        return NULL;
    }
    if (json_object_size(properties) == 0) {
        return json_array_size(json_object_get(schema, "required")) ? NULL : json_object();
    }
    if (mcp_question_is_choice(properties)) {
        return json_pack("{s:b}", json_object_iter_key(json_object_iter(properties)), 1);
    }
    return mcp_question_defaults(properties);
}

/* The owner agrees to the values, too. */
static void mcp_question_add_values(ac_buf_t *message, const json_t *properties, const json_t *content)
{
    const char *name;
    json_t *value;
    if (mcp_question_is_choice(properties)) {
        return;
    }
    json_object_foreach((json_t *)content, name, value)
    {
        char *shown = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        ac_buf_str(message, "\n");
        ac_tool_text_add(message, ac_json_peek_string(json_object_get(properties, name), "title", name), MAX_VALUE);
        ac_buf_str(message, ": ");
        ac_tool_text_add(message, shown ? shown : json_string_value(value), MAX_VALUE);
        free(shown);
    }
}

static bool mcp_question_take(json_t *answers, ac_buf_t *message, const char *key, const json_t *request)
{
    const json_t *params = json_object_get(request, "params");
    bool form = strcmp(ac_json_peek_string(request, "method", ""), AC_MCP_ELICITATION) == 0 &&
        strcmp(ac_json_peek_string(params, "mode", "form"), "form") == 0;
    const char *text = ac_json_peek_string(params, "message", NULL);
    const json_t *schema = json_object_get(params, "requestedSchema");
    json_t *content = form && text ? mcp_question_content(schema) : NULL;
    if (!content) {
        return false;
    }
    ac_buf_str(message, message->len ? "\n" : "");
    ac_tool_text_add(message, text, MAX_MESSAGE);
    mcp_question_add_values(message, json_object_get(schema, "properties"), content);
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
    ac_buf_init(&message, MAX_REQUESTS * (MAX_MESSAGE + MAX_FIELDS * (2 * MAX_VALUE + 16) + 16));
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
