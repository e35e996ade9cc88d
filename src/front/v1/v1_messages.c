/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a chat completion: the whole conversation, which its client keeps. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

typedef struct place_t { /* messages[i].content[j], for errors */
    size_t message;
    int part; /* -1: the content itself */
} place_t;

static apr_status_t v1_messages_refuse(ac_request_t *rq, const place_t *place, const char *why)
{
    const char *pointer = place->part < 0
        ? apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/content", place->message)
        : apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/content/%d", place->message, place->part);
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* *ptext: the text of a part; NULL: it has none for the model. */
static apr_status_t part_text(const char **ptext, ac_request_t *rq, const json_t *part, const place_t *place)
{
    const char *type = ac_json_peek_string(part, "type", "");
    bool refusal = strcmp(type, "refusal") == 0;
    *ptext = NULL;
    if (strcmp(type, "text") != 0 && !refusal) {
        return v1_messages_refuse(rq, place, "this agent takes text only");
    }
    *ptext = ac_json_peek_string(part, refusal ? "refusal" : "text", NULL);
    return *ptext ? APR_SUCCESS : v1_messages_refuse(rq, place, "the part has no text");
}

/* *ptext: the content as one text, in the pool or borrowed; parts are joined by blank lines. */
static apr_status_t content_text(const char **ptext, ac_request_t *rq, const json_t *content, size_t message)
{
    place_t place = {message, -1};
    const char *text;
    const json_t *part;
    size_t i;
    *ptext = "";
    if (!content || json_is_null(content)) {
        return APR_SUCCESS;
    }
    if (json_is_string(content)) {
        *ptext = json_string_value(content);
        return APR_SUCCESS;
    }
    if (!json_is_array(content)) {
        return v1_messages_refuse(rq, &place, "content must be a string or an array of parts");
    }
    apr_array_header_t *texts = apr_array_make(rq->r->pool, 2, sizeof(const char *));
    json_array_foreach(content, i, part)
    {
        place.part = (int)i;
        apr_status_t status = part_text(&text, rq, part, &place);
        if (status != APR_SUCCESS) {
            return status;
        }
        if (texts->nelts) {
            APR_ARRAY_PUSH(texts, const char *) = "\n\n";
        }
        APR_ARRAY_PUSH(texts, const char *) = text;
    }
    *ptext = apr_array_pstrcat(rq->r->pool, texts, 0);
    return APR_SUCCESS;
}

static void add_system(ac_v1_messages_t *messages, const char *text)
{
    if (messages->system.len && *text) {
        ac_buf_str(&messages->system, "\n\n");
    }
    ac_buf_str(&messages->system, text);
}

static apr_status_t v1_messages_add_result(ac_v1_messages_t *messages, ac_request_t *rq, const json_t *message,
                                           size_t i)
{
    const char *id = ac_json_peek_string(message, "tool_call_id", ""), *text;
    apr_status_t status = content_text(&text, rq, json_object_get(message, "content"), i);
    if (status != APR_SUCCESS || ac_v1_history_add_result(&messages->history, id, text)) {
        return status;
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/tool_call_id", i),
                         "the assistant message before has no call with this id");
}

static void v1_messages_add_answer(ac_v1_messages_t *messages, const json_t *message, const char *text, bool pass)
{
    const json_t *call;
    size_t i;
    ac_v1_history_add_answer(&messages->history, text);
    json_array_foreach(pass ? json_object_get(message, "tool_calls") : NULL, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        ac_v1_history_add_call(&messages->history, ac_json_peek_string(call, "id", ""),
                               ac_json_peek_string(function, "name", ""),
                               ac_json_peek_string(function, "arguments", ""));
    }
}

/* ---- the list ---- */

static apr_status_t v1_messages_check_role(ac_request_t *rq, const char *role, size_t i)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer", "tool", "function", NULL};
    for (const char *const *known = roles; *known; known++) {
        if (strcmp(role, *known) == 0) {
            return APR_SUCCESS;
        }
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/role", i),
                         "role must be system, developer, user, assistant or tool");
}

/* Without pass, no agent calls tools of the client: it has calls and results of an earlier model, which are left
 * out. */
static apr_status_t v1_messages_add(ac_v1_messages_t *messages, ac_request_t *rq, const json_t *message, size_t i,
                                    bool pass)
{
    const char *role = ac_json_peek_string(message, "role", ""), *text;
    apr_status_t status = v1_messages_check_role(rq, role, i);
    if (status == APR_SUCCESS && (strcmp(role, "tool") == 0 || strcmp(role, "function") == 0)) {
        return pass && *role == 't' ? v1_messages_add_result(messages, rq, message, i) : APR_SUCCESS;
    }
    if (status == APR_SUCCESS) {
        status = content_text(&text, rq, json_object_get(message, "content"), i);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(role, "user") == 0) {
        ac_v1_history_add_user(&messages->history, text);
    } else if (strcmp(role, "assistant") == 0) {
        v1_messages_add_answer(messages, message, text, pass);
    } else {
        add_system(messages, text);
    }
    return messages->system.failed ? ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages",
                                                   "the system messages may have at most %d bytes", AC_MAX_INSTRUCTIONS)
                                   : APR_SUCCESS;
}

/* Takes the last message, which is the user's, out of the history. */
static apr_status_t take_last(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools)
{
    json_t *list = messages->history.list;
    const json_t *last;
    ac_v1_history_end_results(&messages->history);
    size_t n = json_array_size(list);
    last = json_array_get(list, n - 1);
    if (!n || strcmp(ac_json_peek_string(last, "role", ""), "user") != 0) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages", "the last message must be the user's");
    }
    messages->content = apr_pstrdup(rq->r->pool, ac_json_peek_string(last, "content", ""));
    apr_status_t status = ac_v1_history_take_results(tools, last, "/messages", &rq->err);
    json_array_remove(list, n - 1);
    return status;
}

apr_status_t ac_v1_messages_read(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools)
{
    const json_t *list = json_object_get(rq->body, "messages"), *message;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    memset(messages, 0, sizeof(*messages));
    ac_buf_init(&messages->system, AC_MAX_INSTRUCTIONS);
    ac_v1_history_init(&messages->history);
    if (!json_is_array(list) || !json_array_size(list)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages", "messages must be an array that is not empty");
    }
    json_array_foreach(list, i, message)
    {
        status = status == APR_SUCCESS ? v1_messages_add(messages, rq, message, i, tools != NULL) : status;
    }
    return status == APR_SUCCESS ? take_last(messages, rq, tools) : status;
}

void ac_v1_messages_free(ac_v1_messages_t *messages)
{
    ac_v1_history_free(&messages->history);
    ac_buf_free(&messages->system);
}
