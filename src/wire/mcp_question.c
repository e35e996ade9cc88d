/* SPDX-License-Identifier: Apache-2.0 */
/* Questions of a server during a call. An approval is the answer: a yes is enough for a form without fields, and for
 * one with one field that is true or false. Other forms are filled in by the person who approves. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_MESSAGE 2000
#define MAX_FIELDS 20
#define MAX_FORM (16 * 1024) /* bytes of its schema */
#define MAX_STATE (64 * 1024)
#define MAX_REQUESTS 8

static apr_status_t mcp_question_refuse(ac_err_t *err)
{
    return ac_err_set(err, AC_TOOL_ERROR,
                      "the MCP server asks for input that cannot be given here: only a form is supported, or several "
                      "questions that are answered by yes or no");
}

/* One field that is true or false: a yes is its value. */
static bool mcp_question_is_choice(const json_t *properties)
{
    void *first = json_object_iter((json_t *)properties);
    return json_object_size(properties) == 1 &&
        strcmp(ac_json_peek_string(json_object_iter_value(first), "type", ""), "boolean") == 0;
}

/* What a form is answered with if the owner says no more than yes; NULL: that is no answer. New reference. */
static json_t *mcp_question_content(const json_t *schema)
{
    const json_t *properties = json_object_get(schema, "properties"), *property;
    const char *name;
    if (mcp_question_is_choice(properties)) {
        return json_pack("{s:b}", json_object_iter_key(json_object_iter((json_t *)properties)), 1);
    }
    json_t *content = json_object();
    json_object_foreach((json_t *)properties, name, property)
    {
        json_object_set(content, name, json_object_get(property, "default"));
    }
    if (ac_schema_check(schema, content, NULL) == APR_SUCCESS) {
        return content;
    }
    json_decref(content);
    return NULL;
}

/* A field of a form is a text, a number, true or false, or a list of texts. */
static bool mcp_question_is_field(const json_t *property)
{
    static const char *const types[] = {"string", "number", "integer", "boolean", "array"};
    const char *type = ac_json_peek_string(property, "type", "");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i], type) == 0) {
            return true;
        }
    }
    return false;
}

/* *pform: the form that has to be shown, a new reference; NULL: a yes answers it. false: it is no such form. */
static bool mcp_question_read_form(json_t **pform, const json_t *schema)
{
    json_t *properties = json_object_get(schema, "properties"), *property,
           *required = json_object_get(schema, "required");
    const char *name;
    *pform = NULL;
    if (schema &&
        (!json_is_object(schema) || (properties && !json_is_object(properties)) ||
         json_object_size(properties) > MAX_FIELDS || json_dumpb(schema, NULL, 0, JSON_COMPACT) > MAX_FORM)) {
        return false;
    }
    json_object_foreach(properties, name, property)
    {
        if (!mcp_question_is_field(property)) {
            return false;
        }
    }
    if (json_object_size(properties) == 0) {
        return json_array_size(required) == 0;
    }
    if (!mcp_question_is_choice(properties)) {
        *pform = json_pack("{s:s, s:O, s:O*}", "type", "object", "properties", properties, "required", required);
    }
    return true;
}

static bool mcp_question_take(json_t *question, ac_buf_t *message, const char *key, const json_t *request)
{
    const json_t *params = json_object_get(request, "params"), *schema = json_object_get(params, "requestedSchema");
    bool asks = strcmp(ac_json_peek_string(request, "method", ""), AC_MCP_ELICITATION) == 0 &&
        strcmp(ac_json_peek_string(params, "mode", "form"), "form") == 0;
    const char *text = ac_json_peek_string(params, "message", NULL);
    json_t *form, *content;
    if (!asks || !text || !mcp_question_read_form(&form, schema)) {
        return false;
    }
    content = mcp_question_content(schema);
    ac_buf_str(message, message->len ? "\n" : "");
    ac_tool_text_add(message, text, MAX_MESSAGE);
    ac_json_put(json_object_get(question, "answers"), key,
                json_pack("{s:s, s:o}", "action", "accept", "content", content ? content : json_null()));
    if (form) {
        ac_json_put(question, "form", form);
    }
    return true;
}

apr_status_t ac_mcp_question_read(json_t **pquestion, json_t **pstate, const json_t *result, ac_err_t *err)
{
    json_t *requests = json_object_get(result, "inputRequests"), *state = json_object_get(result, "requestState");
    json_t *question = json_pack("{s:{}}", "answers"), *request;
    size_t n = json_object_size(requests);
    const char *key;
    bool fine = n <= MAX_REQUESTS && (!state || (json_is_string(state) && json_string_length(state) <= MAX_STATE));
    ac_buf_t message;
    ac_buf_init(&message, MAX_REQUESTS * (MAX_MESSAGE + 16));
    *pquestion = *pstate = NULL;
    json_object_foreach(requests, key, request)
    {
        fine = fine && mcp_question_take(question, &message, key, request);
    }
    fine = fine && (n ? n == 1 || !json_object_get(question, "form") : state != NULL);
    if (fine && n == 0) {
        *pstate = json_incref(state);
    } else if (fine) {
        ac_json_put(question, "message", ac_json_text(message.data ? message.data : ""));
        json_object_set(question, "state", state);
        *pquestion = json_incref(question);
    }
    json_decref(question);
    ac_buf_free(&message);
    return fine ? APR_SUCCESS : mcp_question_refuse(err);
}

apr_status_t ac_mcp_question_answer(json_t *question, ac_err_t *err)
{
    json_t *content = json_object_get(question, "content"), *answers = json_object_get(question, "answers");
    json_t *answer = json_object_iter_value(json_object_iter(answers)), *form = json_object_get(question, "form");
    apr_status_t status = APR_SUCCESS;
    if (form && content) {
        status = ac_schema_check(form, content, err);
    } else if (form && !json_is_object(json_object_get(answer, "content"))) {
        status = ac_err_set(err, AC_INVALID_REQUEST, "the form has to be filled in");
    }
    if (status == APR_SUCCESS && form && content) {
        json_object_set(answer, "content", content);
    }
    json_object_del(question, "content");
    return status;
}
