/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of a request, which its client carries out, where AgentChatOpenAI has client-tools=pass. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

/* Chat completions have the function in a member of its own, the Responses API has its members in the tool. */
static const json_t *function_of(const json_t *tool)
{
    const json_t *function = json_object_get(tool, "function");
    return json_is_object(function) ? function : tool;
}

static apr_status_t read_list(ac_client_tools_t *tools, ac_request_t *rq, const json_t *list)
{
    const json_t *tool;
    size_t i;
    if (list && !json_is_null(list) && !json_is_array(list)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/tools", "tools must be an array");
    }
    json_array_foreach((json_t *)list, i, tool)
    {
        const json_t *function = function_of(tool);
        const char *pointer =
            apr_psprintf(rq->r->pool, "/tools/%" APR_SIZE_T_FMT "%s", i, function == tool ? "" : "/function");
        if (strcmp(ac_json_peek_string(tool, "type", ""), "function") != 0) {
            continue; /* a tool of OpenAI's servers */
        }
        apr_status_t status = ac_client_tools_add(tools, function, pointer, &rq->err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    return APR_SUCCESS;
}

static bool is_allowed(const json_t *allowed, const char *name)
{
    const json_t *tool;
    size_t i;
    json_array_foreach((json_t *)allowed, i, tool)
    {
        if (strcmp(ac_json_peek_string(function_of(tool), "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the request's tools only these are offered. Chat completions have the lists in a member of their own. */
static apr_status_t choose_allowed(ac_client_tools_t *tools, ac_request_t *rq, const json_t *choice)
{
    const json_t *inner = json_object_get(choice, "allowed_tools");
    inner = json_is_object(inner) ? inner : choice;
    for (size_t i = json_array_size(tools->list); i-- > 0;) {
        const json_t *function = function_of(json_array_get(tools->list, i));
        if (!is_allowed(json_object_get(inner, "tools"), ac_json_peek_string(function, "name", ""))) {
            json_array_remove(tools->list, i);
        }
    }
    if (!json_array_size(tools->list)) {
        json_decref(tools->list);
        tools->list = NULL;
    }
    return ac_client_tools_choose(tools, ac_json_peek_string(inner, "mode", "auto"), NULL, "/tool_choice", &rq->err);
}

static apr_status_t v1_tools_read_choice(ac_client_tools_t *tools, ac_request_t *rq, const json_t *choice)
{
    const char *name = json_is_object(choice) ? ac_json_peek_string(function_of(choice), "name", "") : NULL;
    if (!choice || json_is_null(choice)) {
        return APR_SUCCESS;
    }
    if (!json_is_string(choice) && !json_is_object(choice)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/tool_choice", "must be a string or an object");
    }
    if (strcmp(ac_json_peek_string(choice, "type", ""), "allowed_tools") == 0) {
        return choose_allowed(tools, rq, choice);
    }
    return ac_client_tools_choose(tools, json_string_value(choice), name, "/tool_choice", &rq->err);
}

apr_status_t ac_v1_tools_read(ac_client_tools_t *tools, ac_request_t *rq)
{
    const json_t *list = json_object_get(rq->body, "tools");
    apr_status_t status = APR_SUCCESS;
    if (rq->mount->openai.client_tools == AC_V1_TOOLS_REFUSE && json_array_size(list)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/tools",
                             "the agents of this server have their own tools, and call no others");
    }
    if (rq->mount->openai.client_tools != AC_V1_TOOLS_PASS) {
        return APR_SUCCESS;
    }
    status = read_list(tools, rq, list);
    if (status == APR_SUCCESS) {
        status = v1_tools_read_choice(tools, rq, json_object_get(rq->body, "tool_choice"));
    }
    tools->one_call = json_is_false(json_object_get(rq->body, "parallel_tool_calls"));
    return status;
}
