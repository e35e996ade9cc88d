/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a client's conversation in the form of a store: the results of calls that the client has carried out
 * stand in the message that follows the call's. */
#include "v1_internal.h"

#include <string.h>

void ac_v1_history_init(ac_v1_history_t *history)
{
    *history = (ac_v1_history_t){.list = json_array()};
}

void ac_v1_history_free(ac_v1_history_t *history)
{
    json_decref(history->list);
    json_decref(history->calls);
    json_decref(history->answered);
    memset(history, 0, sizeof(*history));
}

/* The results of the calls before, whose message begins now; NULL: none. */
static json_t *take_answered(ac_v1_history_t *history)
{
    json_t *answered = history->answered;
    json_decref(history->calls);
    history->calls = history->answered = NULL;
    return answered;
}

static json_t *history_append(ac_v1_history_t *history, const char *role, const char *text, json_t *calls)
{
    json_t *message = json_object();
    ac_json_put(message, "role", json_string(role));
    ac_json_put(message, "content", ac_json_text(text));
    if (calls) {
        ac_json_put(message, "tool_calls", calls);
    }
    json_array_append_new(history->list, message);
    return message;
}

void ac_v1_history_end_results(ac_v1_history_t *history)
{
    if (history->answered) {
        history_append(history, "user", "", take_answered(history));
    }
}

void ac_v1_history_add_user(ac_v1_history_t *history, const char *text, const json_t *files)
{
    json_t *message = history_append(history, "user", text, take_answered(history));
    if (files) { /* a copy for another thread */
        ac_json_put(message, "attachments", json_deep_copy(files));
    }
}

void ac_v1_history_add_answer(ac_v1_history_t *history, const char *text)
{
    ac_v1_history_end_results(history);
    json_decref(history->calls);
    history->calls = NULL;
    if (*text) {
        history_append(history, "assistant", text, NULL);
    }
}

/* Arguments that are no JSON stay the text that the model wrote. */
static json_t *arguments_of(const char *text)
{
    json_t *arguments = *text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_object();
    return arguments ? arguments : ac_json_text(text);
}

void ac_v1_history_add_call(ac_v1_history_t *history, const char *id, const char *tool, const char *arguments)
{
    json_t *call = json_object(), *last;
    ac_v1_history_end_results(history);
    ac_json_put(call, "id", ac_json_text(id));
    ac_json_put(call, "tool", ac_json_text(tool));
    ac_json_put(call, "arguments", arguments_of(arguments));
    ac_json_put(call, "client", json_true());
    last = json_array_get(history->list, json_array_size(history->list) - 1);
    if (!ac_record_is_answer(last)) {
        last = history_append(history, "assistant", "", NULL);
    }
    if (!json_object_get(last, "tool_calls")) {
        ac_json_put(last, "tool_calls", json_array());
    }
    json_array_append(json_object_get(last, "tool_calls"), call);
    history->calls = history->calls ? history->calls : json_array();
    json_array_append_new(history->calls, call);
}

bool ac_v1_history_add_result(ac_v1_history_t *history, const char *id, const char *text)
{
    size_t i;
    json_t *call;
    json_array_foreach(history->calls, i, call)
    {
        if (strcmp(ac_json_peek_string(call, "id", ""), id) == 0) {
            json_t *answered = json_copy(call);
            ac_json_put(answered, "result", ac_json_text(text));
            ac_json_put(answered, "error", json_null());
            history->answered = history->answered ? history->answered : json_array();
            json_array_append_new(history->answered, answered);
            return true;
        }
    }
    return false;
}

apr_status_t ac_v1_history_take_results(ac_client_tools_t *tools, const json_t *message, const char *pointer,
                                        ac_err_t *err)
{
    const json_t *call;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        status = status == APR_SUCCESS ? ac_client_tools_answer(tools, ac_json_peek_string(call, "id", ""),
                                                                json_object_get(call, "result"), NULL, pointer, err)
                                       : status;
    }
    return status;
}
