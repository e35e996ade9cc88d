/* SPDX-License-Identifier: Apache-2.0 */
/* Agents as tools: one for each active agent, in the order of the names. */
#include "mcp_internal.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "apr_lib.h"
#include "apr_strings.h"

#define PREFIX "ask_"
#define HASH 4                /* bytes of a digest, for ids that a name cannot have as they are */
#define LIST_LIFE (60 * 1000) /* milliseconds */

/* ---- names ---- */

static bool is_name_char(char c)
{
    return apr_isalnum(c) || c == '_' || c == '-';
}

void ac_mcp_tools_name(char name[AC_MCP_TOOL_SIZE], const char *agent_id)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len = strlen(agent_id), room = AC_MCP_TOOL_SIZE - sizeof(PREFIX), at = sizeof(PREFIX) - 1;
    bool same = len <= room;
    for (size_t i = 0; i < len; i++) {
        same = same && is_name_char(agent_id[i]);
    }
    apr_cpystrn(name, PREFIX, AC_MCP_TOOL_SIZE);
    room -= same ? 0 : 1 + 2 * HASH;
    for (size_t i = 0; i < len && i < room; i++) {
        name[at++] = is_name_char(agent_id[i]) ? agent_id[i] : '_';
    }
    name[at] = '\0';
    if (!same && EVP_Digest(agent_id, len, digest, NULL, EVP_sha256(), NULL)) {
        name[at++] = '-';
        ap_bin2hex(digest, HASH, name + at);
    }
}

typedef struct named_t {
    char name[AC_MCP_TOOL_SIZE];
    const ac_agent_t *agent;
} named_t;

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const named_t *)a)->name, ((const named_t *)b)->name);
}

/* The active agents in order. *pn: their number. */
static apr_status_t mcp_tools_read(ac_request_t *rq, named_t **plist, size_t *pn)
{
    const ac_agents_t *agents;
    json_t *agent;
    size_t i;
    rq->doing = "listing agents";
    apr_status_t status = ac_request_agents_load(rq, &agents, true);
    if (status != APR_SUCCESS) {
        return status;
    }
    json_t *shown = ac_agents_json(agents, false);
    named_t *list = apr_palloc(rq->r->pool, sizeof(*list) * (json_array_size(shown) + 1));
    *pn = 0;
    json_array_foreach(shown, i, agent)
    {
        const ac_agent_t *found = ac_agents_find(agents, ac_json_peek_string(agent, "id", ""));
        if (found && !ac_agent_problem(found)) {
            list[*pn].agent = found;
            ac_mcp_tools_name(list[(*pn)++].name, found->id);
        }
    }
    json_decref(shown);
    qsort(list, *pn, sizeof(*list), compare_names);
    *plist = list;
    return APR_SUCCESS;
}

apr_status_t ac_mcp_tools_find(ac_request_t *rq, const ac_agent_t **pagent, const char *name)
{
    named_t *list;
    size_t n;
    apr_status_t status = mcp_tools_read(rq, &list, &n);
    *pagent = NULL;
    for (size_t i = 0; status == APR_SUCCESS && i < n; i++) {
        if (strcmp(list[i].name, name) == 0) {
            *pagent = list[i].agent;
        }
    }
    return status;
}

/* ---- the list ---- */

static json_t *input_schema(void)
{
    json_t *message = json_pack("{s:s, s:s, s:i}", "type", "string", "description",
                                "The message to the agent. It sees this message and the thread, and nothing else of "
                                "your conversation.",
                                "minLength", 1);
    json_t *thread = json_pack("{s:s, s:s}", "type", "string", "description",
                               "The thread_id of an earlier result, to continue that conversation. Without it a new "
                               "one begins.");
    return json_pack("{s:s, s:{s:o, s:o}, s:[s], s:b}", "type", "object", "properties", "message", message, "thread_id",
                     thread, "required", "message", "additionalProperties", 0);
}

static json_t *output_schema(void)
{
    return json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:{s:s}}}, s:[s, s, s]}", "type", "object",
                     "properties", "answer", "type", "string", "thread_id", "type", "string", "run_id", "type",
                     "string", "sources", "type", "array", "items", "type", "object", "required", "answer", "thread_id",
                     "run_id");
}

static json_t *tool_json(const named_t *named)
{
    const ac_agent_t *agent = named->agent;
    const char *title = agent->name && *agent->name ? agent->name : agent->id;
    json_t *description = agent->description && *agent->description ? ac_json_text(agent->description)
                                                                    : json_sprintf("Asks the agent %s.", title);
    json_t *annotations = json_pack("{s:b, s:b, s:b, s:b}", "readOnlyHint", 0, "destructiveHint", 0, "idempotentHint",
                                    0, "openWorldHint", 1);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name", named->name, "title", ac_json_text(title), "description",
                     description, "inputSchema", input_schema(), "outputSchema", output_schema(), "annotations",
                     annotations);
}

/* A cursor is the last name of the page before; the agent may be gone by then. */
static bool is_cursor(const json_t *cursor)
{
    const char *text = json_string_value(cursor);
    size_t len = text ? strlen(text) : 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_name_char(text[i])) {
            return false;
        }
    }
    return text && len < AC_MCP_TOOL_SIZE && strncmp(text, PREFIX, sizeof(PREFIX) - 1) == 0;
}

int ac_mcp_tools_list(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    const json_t *cursor = json_object_get(message->params, "cursor");
    json_t *tools, *result;
    named_t *list;
    size_t n, i = 0;
    if (cursor && !is_cursor(cursor)) {
        ac_mcp_envelope_refuse(message, HTTP_OK, AC_MCP_INVALID_PARAMS, "the cursor is not of this list");
        return ac_mcp_problem_refusal(rq, message);
    }
    if (mcp_tools_read(rq, &list, &n) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    while (cursor && i < n && strcmp(list[i].name, json_string_value(cursor)) <= 0) {
        i++;
    }
    tools = json_array();
    while (i < n && json_array_size(tools) < AC_MAX_PAGE) {
        json_array_append_new(tools, tool_json(&list[i++]));
    }
    result = json_pack("{s:o}", "tools", tools);
    if (i < n) {
        ac_json_put(result, "nextCursor", json_string(list[i - 1].name));
    }
    if (message->modern) {
        ac_json_put(result, "ttlMs", json_integer(LIST_LIFE));
        ac_json_put(result, "cacheScope", json_string("private"));
    }
    return ac_mcp_problem_result(rq, message, result);
}
