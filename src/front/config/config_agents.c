/* SPDX-License-Identifier: Apache-2.0 */
/* Agents that other agents call as tools ("agent:ID" in AgentChatTools), or hand over to (AgentChatHandoffs). */
#include "config_internal.h"

#include <string.h>

/* The run carries calls out itself, so the table has no functions. */
static const ac_tool_vt agent_tool = {.name = "agent"};

static const char input_parameters[] =
    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\",\"description\":\"What the agent shall do, "
    "with all that it needs to know: it does not see this conversation.\"}},\"required\":[\"input\"],"
    "\"additionalProperties\":false}";
static const char handoff_parameters[] =
    "{\"type\":\"object\",\"properties\":{\"reason\":{\"type\":\"string\",\"description\":\"Why, and what the other "
    "agent shall do. It sees this conversation.\"}},\"additionalProperties\":false}";

/* The name that models see: letters, digits, '-' and '_'. */
static const char *tool_name(const char *prefix, const char *agent_id, apr_pool_t *p)
{
    char *name = apr_pstrcat(p, prefix, agent_id, NULL);
    for (char *c = name; (c = strchr(c, '.')) != NULL;) {
        *c = '_';
    }
    return name;
}

static void make_agent_tool(ac_config_check_t *check, const ac_agent_t *agent, bool hands_off, apr_hash_t *tools)
{
    ac_tool_t *tool = apr_pcalloc(check->p, sizeof *tool);
    ac_tool_conf_t *conf = apr_pcalloc(check->p, sizeof *conf);
    const char *text = hands_off ? handoff_parameters : input_parameters;
    tool->id = conf->id = tool_name(hands_off ? "transfer_to_" : "ask_", agent->id, check->p);
    tool->description = agent->description;
    if (hands_off && agent->description && *agent->description) {
        tool->description = apr_psprintf(check->p,
                                         "Hands the conversation over to another agent, which answers from then on: %s",
                                         agent->description);
    }
    conf->description = tool->description;
    conf->provider = agent_tool.name;
    tool->vt = &agent_tool;
    tool->conf = conf;
    tool->agent = agent;
    tool->hands_off = hands_off;
    tool->source = apr_pstrcat(check->p, hands_off ? AC_HANDOFF_TOOL : AC_AGENT_TOOL, agent->id, NULL);
    ac_json_parse(&tool->parameters, text, strlen(text), NULL);
    ac_config_value_keep_json(tool->parameters, check->p);
    apr_hash_set(tools, tool->source, APR_HASH_KEY_STRING, tool);
}

void ac_config_agents_add_tools(ac_config_check_t *check, apr_hash_t *tools)
{
    const apr_array_header_t *defs = check->config->defs.agents;
    for (int i = 0; i < defs->nelts; i++) {
        const ac_agent_def_t *def = APR_ARRAY_IDX(defs, i, const ac_agent_def_t *);
        make_agent_tool(check, &def->agent, false, tools);
        make_agent_tool(check, &def->agent, true, tools);
    }
}

static const char *list_agents(const ac_config_check_t *check, const char *prefix)
{
    const apr_array_header_t *defs = check->config->defs.agents;
    apr_array_header_t *names = apr_array_make(check->ptemp, 8, sizeof(const char *));
    for (int i = 0; i < defs->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) =
            apr_pstrcat(check->ptemp, prefix, APR_ARRAY_IDX(defs, i, const ac_agent_def_t *)->agent.id, NULL);
    }
    return ac_config_value_list(names, check->ptemp);
}

static const ac_tool_t *find_agent_tool(ac_config_check_t *check, const ac_agent_def_t *def, const char *id,
                                        bool hands_off)
{
    const char *directive = hands_off ? "AgentChatHandoffs" : "AgentChatTools";
    const char *name = hands_off ? apr_pstrcat(check->ptemp, AC_HANDOFF_TOOL, id, NULL) : id;
    const ac_tool_t *tool = ac_registry_tool(&check->conf->registry, name);
    const char *problem = !tool ? apr_psprintf(check->ptemp, "no <AgentChatAgent> defines it; known are %s",
                                               list_agents(check, hands_off ? "" : AC_AGENT_TOOL))
        : hands_off && tool->agent == &def->agent ? "an agent cannot hand over to itself"
        : !tool->description || !*tool->description
        ? "the agent has no AgentChatDescription, by which the model chooses tools"
        : strlen(tool->id) > AC_MAX_AGENT_ID ? "its id is too long for the name of a tool"
                                             : NULL;
    if (problem) {
        ac_config_check_problem(check, ac_config_check_at(&def->common, directive), "%s: agent '%s' names '%s', but %s",
                                directive, def->agent.id, id, problem);
    }
    return problem ? NULL : tool;
}

const ac_tool_t *ac_config_agents_find(ac_config_check_t *check, const ac_agent_def_t *def, const char *name)
{
    return find_agent_tool(check, def, name, false);
}

const ac_tool_t *ac_config_agents_find_handoff(ac_config_check_t *check, const ac_agent_def_t *def, const char *id)
{
    return find_agent_tool(check, def, id, true);
}

/* ---- cycles ---- */

typedef struct path_t { /* agents that call each other, from the first one on */
    const ac_agent_t *list[AC_MAX_AGENT_DEPTH + 2];
    int n;
} path_t;

static const char *show_path(const path_t *path, const ac_agent_t *last, apr_pool_t *p)
{
    const char *text = "";
    for (int i = 0; i < path->n; i++) {
        text = apr_pstrcat(p, text, path->list[i]->id, ", ", NULL);
    }
    return apr_pstrcat(p, text, last->id, NULL);
}

/* An error message, or NULL. A ring that does not lead back to the first agent is reported for its members. */
static const char *find_problem(path_t *path, const ac_agent_t *agent, apr_pool_t *p)
{
    const char *problem = NULL;
    for (int i = 0; i < path->n; i++) {
        if (path->list[i] == agent) {
            return i > 0 ? NULL
                         : apr_psprintf(p, "the agents call each other in a ring: %s", show_path(path, agent, p));
        }
    }
    if (path->n > AC_MAX_AGENT_DEPTH) {
        return apr_psprintf(p, "the agents call each other more than %d deep: %s", AC_MAX_AGENT_DEPTH,
                            show_path(path, agent, p));
    }
    path->list[path->n++] = agent;
    for (int i = 0; !problem && i < agent->n_tools; i++) {
        const ac_tool_t *tool = agent->tools[i];
        problem = tool->agent && !tool->hands_off ? find_problem(path, tool->agent, p) : NULL;
    }
    path->n--;
    return problem;
}

/* A form is checked of the whole answer, and the text before the handoff was shown already. */
static void check_forms(ac_config_check_t *check, const ac_agent_def_t *def)
{
    for (int i = 0; i < def->agent.n_tools; i++) {
        const ac_tool_t *tool = def->agent.tools[i];
        if (tool->hands_off && tool->agent->output_schema && !def->agent.output_schema) {
            ac_config_check_problem(check, ac_config_check_at(&def->common, "AgentChatHandoffs"),
                                    "AgentChatHandoffs: agent '%s' hands over to '%s', whose answers have a form "
                                    "(AgentChatOutputSchema) and its own have none",
                                    def->agent.id, tool->agent->id);
        }
    }
}

void ac_config_agents_check(ac_config_check_t *check)
{
    const apr_array_header_t *defs = check->config->defs.agents;
    for (int i = 0; i < defs->nelts; i++) {
        const ac_agent_def_t *def = APR_ARRAY_IDX(defs, i, const ac_agent_def_t *);
        path_t path = {.n = 0};
        const char *problem = find_problem(&path, &def->agent, check->ptemp);
        if (problem) {
            ac_config_check_problem(check, ac_config_check_at(&def->common, "AgentChatTools"),
                                    "AgentChatTools: agent '%s': %s", def->agent.id, problem);
        }
        check_forms(check, def);
    }
}
