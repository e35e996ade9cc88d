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

/* ---- calls that the client carries out ---- */

/* The messages of a store have results in the message that follows the call's. */
static json_t *take_answered(ac_v1_messages_t *messages)
{
    json_t *answered = messages->answered;
    json_decref(messages->calls);
    messages->calls = messages->answered = NULL;
    return answered;
}

static void history_append(ac_v1_messages_t *messages, const char *role, const char *text, json_t *calls)
{
    json_t *message = json_object();
    ac_json_put(message, "role", json_string(role));
    ac_json_put(message, "content", ac_json_text(text));
    if (calls) {
        ac_json_put(message, "tool_calls", calls);
    }
    json_array_append_new(messages->history, message);
}

/* Arguments that are no JSON stay the text that the model wrote. */
static json_t *arguments_of(const json_t *function)
{
    const char *text = ac_json_peek_string(function, "arguments", "");
    json_t *arguments = *text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_object();
    return arguments ? arguments : ac_json_text(text);
}

/* The calls of an assistant message as a store has them; NULL: it has none. */
static json_t *calls_of(const json_t *message)
{
    const json_t *call;
    json_t *calls = NULL;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        const json_t *function = json_object_get(call, "function");
        json_t *own = json_object();
        ac_json_put(own, "id", ac_json_text(ac_json_peek_string(call, "id", "")));
        ac_json_put(own, "tool", ac_json_text(ac_json_peek_string(function, "name", "")));
        ac_json_put(own, "arguments", arguments_of(function));
        ac_json_put(own, "client", json_true());
        calls = calls ? calls : json_array();
        json_array_append_new(calls, own);
    }
    return calls;
}

/* An assistant message that follows results without a word of the user in between. */
static void end_results(ac_v1_messages_t *messages)
{
    if (messages->answered) {
        history_append(messages, "user", "", take_answered(messages));
    }
}

static void add_assistant(ac_v1_messages_t *messages, const char *text, json_t *calls)
{
    end_results(messages);
    if (*text || calls) {
        json_decref(messages->calls);
        messages->calls = json_incref(calls);
        history_append(messages, "assistant", text, calls);
    }
}

static apr_status_t v1_messages_add_result(ac_v1_messages_t *messages, ac_request_t *rq, const json_t *message,
                                           size_t i)
{
    const char *id = ac_json_peek_string(message, "tool_call_id", ""), *text;
    apr_status_t status = content_text(&text, rq, json_object_get(message, "content"), i);
    size_t k;
    json_t *call;
    if (status != APR_SUCCESS) {
        return status;
    }
    json_array_foreach(messages->calls, k, call)
    {
        if (strcmp(ac_json_peek_string(call, "id", ""), id) == 0) {
            json_t *answered = json_copy(call);
            ac_json_put(answered, "result", ac_json_text(text));
            ac_json_put(answered, "error", json_null());
            messages->answered = messages->answered ? messages->answered : json_array();
            json_array_append_new(messages->answered, answered);
            return APR_SUCCESS;
        }
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/tool_call_id", i),
                         "the assistant message before has no call with this id");
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
        history_append(messages, role, text, take_answered(messages));
    } else if (strcmp(role, "assistant") == 0) {
        add_assistant(messages, text, pass ? calls_of(message) : NULL);
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
    apr_status_t status = APR_SUCCESS;
    size_t n, i;
    const json_t *last, *call;
    end_results(messages);
    n = json_array_size(messages->history);
    last = json_array_get(messages->history, n - 1);
    if (!n || strcmp(ac_json_peek_string(last, "role", ""), "user") != 0) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages", "the last message must be the user's");
    }
    messages->content = apr_pstrdup(rq->r->pool, ac_json_peek_string(last, "content", ""));
    json_array_foreach(json_object_get(last, "tool_calls"), i, call)
    {
        status = status == APR_SUCCESS
            ? ac_client_tools_answer(tools, ac_json_peek_string(call, "id", ""), json_object_get(call, "result"), NULL,
                                     "/messages", &rq->err)
            : status;
    }
    json_array_remove(messages->history, n - 1);
    return status;
}

apr_status_t ac_v1_messages_read(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools)
{
    const json_t *list = json_object_get(rq->body, "messages"), *message;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    memset(messages, 0, sizeof(*messages));
    ac_buf_init(&messages->system, AC_MAX_INSTRUCTIONS);
    messages->history = json_array();
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
    json_decref(messages->history);
    json_decref(messages->calls);
    json_decref(messages->answered);
    ac_buf_free(&messages->system);
}
