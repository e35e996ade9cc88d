/* SPDX-License-Identifier: Apache-2.0 */
/* Tools that the client carries out: what a request brings, and what a run makes of it. */
#include "run_internal.h"

#include <apr_lib.h>
#include <stdlib.h>
#include <string.h>

void ac_client_tools_free(ac_client_tools_t *tools)
{
    json_decref(tools->list);
    json_decref(tools->choice);
    json_decref(tools->results);
    memset(tools, 0, sizeof *tools);
}

/* ---- of a request ---- */

static apr_status_t client_tools_refuse(ac_err_t *err, const char *pointer, const char *member, const char *why)
{
    char at[AC_ERR_POINTER_SIZE];
    apr_cpystrn(at, pointer, sizeof at);
    if (member) {
        ac_json_pointer_add(at, member);
    }
    return ac_err_set_at(err, AC_INVALID_REQUEST, at, "%s", why);
}

/* The function of a tool with this name; NULL: none. */
static const json_t *client_tools_find(const json_t *list, const char *name)
{
    const json_t *tool;
    size_t i;
    json_array_foreach((json_t *)list, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        if (strcmp(ac_json_peek_string(function, "name", ""), name) == 0) {
            return function;
        }
    }
    return NULL;
}

static bool is_name(const char *name)
{
    size_t n = 0;
    while (apr_isalnum(name[n]) || name[n] == '_' || name[n] == '-') {
        n++;
    }
    return n > 0 && n <= AC_MAX_CLIENT_TOOL_NAME && !name[n];
}

static apr_status_t client_tools_check_tool(const ac_client_tools_t *tools, const json_t *function, const char *pointer,
                                            ac_err_t *err)
{
    const json_t *parameters = json_object_get(function, "parameters");
    const json_t *description = json_object_get(function, "description");
    const char *name = ac_json_peek_string(function, "name", "");
    if (!json_is_object(function)) {
        return client_tools_refuse(err, pointer, NULL, "a tool must be an object");
    }
    if (!is_name(name)) {
        return client_tools_refuse(err, pointer, "name", "must be 1 to 64 letters, digits, underscores or hyphens");
    }
    if (client_tools_find(tools->list, name)) {
        return client_tools_refuse(err, pointer, "name", "another tool of the request has this name");
    }
    if (description && !json_is_null(description) && !json_is_string(description)) {
        return client_tools_refuse(err, pointer, "description", "must be a string");
    }
    if (parameters && !json_is_null(parameters) && !json_is_object(parameters)) {
        return client_tools_refuse(err, pointer, "parameters", "must be a JSON Schema, which is an object");
    }
    return APR_SUCCESS;
}

apr_status_t ac_client_tools_add(ac_client_tools_t *tools, const json_t *function, const char *pointer, ac_err_t *err)
{
    apr_status_t status = client_tools_check_tool(tools, function, pointer, err);
    json_t *parameters = json_object_get(function, "parameters"), *strict = json_object_get(function, "strict");
    const char *description = ac_json_peek_string(function, "description", NULL);
    if (status != APR_SUCCESS) {
        return status;
    }
    json_t *own = json_object();
    ac_json_put(own, "name", json_incref(json_object_get(function, "name")));
    if (description) {
        ac_json_put(own, "description", ac_json_text(description));
    }
    ac_json_put(own, "parameters",
                json_is_object(parameters) ? json_deep_copy(parameters)
                                           : json_pack("{s:s, s:{}}", "type", "object", "properties"));
    if (json_is_boolean(strict)) {
        ac_json_put(own, "strict", json_incref(strict));
    }
    size_t len = 0;
    free(ac_json_dump(own, &len));
    tools->bytes += len;
    tools->list = tools->list ? tools->list : json_array();
    json_array_append_new(tools->list, json_pack("{s:s, s:o}", "type", "function", "function", own));
    if (json_array_size(tools->list) > AC_MAX_CLIENT_TOOLS) {
        return client_tools_refuse(err, pointer, NULL, "a request may have at most 128 tools");
    }
    if (tools->bytes > AC_MAX_CLIENT_TOOLS_BYTES) {
        return client_tools_refuse(err, pointer, NULL, "the tools of a request may have at most 256 KB");
    }
    return APR_SUCCESS;
}

apr_status_t ac_client_tools_choose(ac_client_tools_t *tools, const char *mode, const char *name, const char *pointer,
                                    ac_err_t *err)
{
    json_decref(tools->choice);
    tools->choice = NULL;
    if (name) {
        tools->choice = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", name);
        return tools->choice && is_name(name)
            ? APR_SUCCESS
            : client_tools_refuse(err, pointer, NULL, "must name a tool of the request");
    }
    if (strcmp(mode, "none") == 0 || strcmp(mode, "required") == 0) {
        tools->choice = json_string(mode);
    } else if (strcmp(mode, "auto") != 0) {
        return client_tools_refuse(err, pointer, NULL, "must be auto, none, required or a tool of the request");
    }
    return APR_SUCCESS;
}

static json_t *client_tools_result(const json_t *results, const char *id)
{
    json_t *result;
    size_t i;
    json_array_foreach((json_t *)results, i, result)
    {
        if (strcmp(ac_json_peek_string(result, "id", ""), id) == 0) {
            return result;
        }
    }
    return NULL;
}

apr_status_t ac_client_tools_answer(ac_client_tools_t *tools, const char *call_id, const json_t *result,
                                    const char *error, const char *pointer, ac_err_t *err)
{
    if (client_tools_result(tools->results, call_id)) {
        return client_tools_refuse(err, pointer, NULL, "this call has a result already");
    }
    if (json_array_size(tools->results) >= AC_MAX_TOOL_CALLS) {
        return client_tools_refuse(err, pointer, NULL, "there are more results than calls");
    }
    json_t *entry = json_object();
    ac_json_put(entry, "id", ac_json_text(call_id));
    ac_json_put(entry, "result", result ? json_deep_copy(result) : json_null());
    ac_json_put(entry, "error", ac_json_text(error));
    tools->results = tools->results ? tools->results : json_array();
    json_array_append_new(tools->results, entry);
    return APR_SUCCESS;
}

json_t *ac_client_tools_calls(const json_t *message)
{
    const char *finish = ac_json_peek_string(json_object_get(message, "metadata"), "finish_reason", "tool_calls");
    json_t *calls = json_array(), *call;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        if (strcmp(finish, "tool_calls") == 0 && json_is_true(json_object_get(call, "client"))) {
            json_array_append_new(calls,
                                  json_pack("{s:O, s:O, s:O}", "id", json_object_get(call, "id"), "tool",
                                            json_object_get(call, "tool"), "arguments",
                                            json_object_get(call, "arguments")));
        }
    }
    if (json_array_size(calls) == 0) {
        json_decref(calls);
        return NULL;
    }
    return calls;
}

/* ---- of a run ---- */

bool ac_client_tools_has(const ac_run_t *run, const char *name)
{
    const ac_client_tools_t *tools = &run->turn->client;
    return client_tools_find(tools->list, name) != NULL;
}

apr_status_t ac_client_tools_check(ac_run_t *run, ac_err_t *err)
{
    ac_client_tools_t *tools = &run->turn->client;
    const char *chosen = ac_json_peek_string(json_object_get(tools->choice, "function"), "name", NULL);
    const json_t *tool;
    size_t i;
    if (json_is_string(tools->choice) && strcmp(json_string_value(tools->choice), "none") == 0) {
        json_decref(tools->list);
        json_decref(tools->choice);
        tools->list = tools->choice = NULL;
    }
    json_array_foreach(tools->list, i, tool)
    {
        const char *name = ac_json_peek_string(json_object_get(tool, "function"), "name", "");
        if (ac_toolset_find(run->tools.set, name)) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, "/tools",
                                 "the agent has a tool of its own named %s; give yours another name", name);
        }
    }
    if (chosen && !client_tools_find(tools->list, chosen) && !ac_toolset_find(run->tools.set, chosen)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/tool_choice", "must name a tool of the request");
    }
    return APR_SUCCESS;
}

json_t *ac_client_tools_offer(const ac_run_t *run, ac_model_ask_t *ask)
{
    const ac_client_tools_t *tools = &run->turn->client;
    bool last = ac_run_nesting_is_last(run);
    json_t *list = tools->list && last ? NULL : json_incref(ac_toolset_json(run->tools.set));
    const char *chosen = ac_json_peek_string(json_object_get(tools->choice, "function"), "name", NULL);
    if (tools->list && list) {
        json_t *both = json_copy(list);
        json_array_extend(both, tools->list);
        json_decref(list);
        list = both;
    } else if (tools->list) {
        list = json_incref(tools->list);
    }
    ask->tools = list;
    ask->no_calls = last && !tools->list;
    ask->one_call = tools->one_call;
    ask->tool_choice = run->round <= 1 && (!chosen || client_tools_find(list, chosen)) ? tools->choice : NULL;
    return list;
}

/* The call as the message has it that brings its result. */
static json_t *answered_call(json_t *call, const json_t *result)
{
    json_t *answered = json_object();
    ac_json_put(answered, "id", json_incref(json_object_get(call, "id")));
    ac_json_put(answered, "tool", json_incref(json_object_get(call, "tool")));
    ac_json_put(answered, "arguments", json_incref(json_object_get(call, "arguments")));
    ac_json_put(answered, "result", json_incref(json_object_get(result, "result")));
    ac_json_put(answered, "error", json_incref(json_object_get(result, "error")));
    ac_json_put(answered, "latency_ms", json_null());
    ac_json_put(answered, "client", json_true());
    return answered;
}

apr_status_t ac_client_tools_match(json_t **panswered, const ac_turn_t *turn, const json_t *stored, ac_err_t *err)
{
    const json_t *results = turn->client.results;
    json_t *calls = ac_client_tools_calls(json_array_get(stored, json_array_size(stored) - 1)), *call;
    size_t i, n = json_array_size(calls);
    json_t *answered = json_array();
    json_array_foreach(calls, i, call)
    {
        const json_t *result = client_tools_result(results, ac_json_peek_string(call, "id", ""));
        if (result) {
            json_array_append_new(answered, answered_call(call, result));
        }
    }
    json_decref(calls);
    if (json_array_size(answered) == n && n == json_array_size(results)) {
        *panswered = answered;
        return APR_SUCCESS;
    }
    json_decref(answered);
    return ac_err_set(err, AC_INVALID_REQUEST,
                      n ? "the results must be those of all calls that the last message has, and of no others"
                        : "there are results of tool calls, but the last message has no calls that await results");
}
