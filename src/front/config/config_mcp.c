/* SPDX-License-Identifier: Apache-2.0 */
/* The MCP servers of the configuration, and the agents that have their tools. */
#include "config_internal.h"

#include <string.h>

static const char *list_sources(const ac_config_check_t *check)
{
    const apr_array_header_t *defs = check->config->defs.mcp;
    apr_array_header_t *names = apr_array_make(check->ptemp, 4, sizeof(const char *));
    for (int i = 0; i < defs->nelts; i++) {
        const ac_mcp_def_t *def = APR_ARRAY_IDX(defs, i, const ac_mcp_def_t *);
        APR_ARRAY_PUSH(names, const char *) = ac_mcp_upstream_source(def->server)->name;
    }
    for (int i = 0; i < check->conf->openapi->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) =
            ac_openapi_service_source(APR_ARRAY_IDX(check->conf->openapi, i, const ac_openapi_service_t *))->name;
    }
    return ac_config_value_list(names, check->ptemp);
}

void ac_config_mcp_build(ac_config_check_t *check, apr_hash_t *sources)
{
    const apr_array_header_t *defs = check->config->defs.mcp;
    for (int i = 0; i < defs->nelts; i++) {
        ac_mcp_def_t *def = APR_ARRAY_IDX(defs, i, ac_mcp_def_t *);
        const char *problem = ac_mcp_config_create(&def->server, &def->conf, check->p);
        ac_config_check_created(check, &def->common, "MCP server", problem);
        const ac_tool_source_t *source = ac_mcp_upstream_source(def->server);
        APR_ARRAY_PUSH(check->conf->mcp, ac_mcp_upstream_t *) = def->server;
        apr_hash_set(sources, source->name, APR_HASH_KEY_STRING, source);
    }
}

void ac_config_mcp_set_sources(ac_config_check_t *check, ac_agent_def_t *def)
{
    const ap_directive_t *at = ac_config_check_at(&def->common, "AgentChatTools");
    int n = def->tools ? def->tools->nelts : 0;
    const ac_tool_source_t **list = apr_pcalloc(check->p, sizeof *list * (size_t)(n + 1));
    for (int i = 0; i < n; i++) {
        const char *word = APR_ARRAY_IDX(def->tools, i, const char *);
        const ac_tool_source_t *source = ac_registry_source(&check->conf->registry, word);
        if (!ac_registry_is_source(word)) {
            continue;
        }
        if (!source) {
            ac_config_check_problem(
                check, at,
                "AgentChatTools: agent '%s' names '%s', but no <AgentChatMCP> or <AgentChatOpenAPI> defines it; "
                "known are %s",
                def->agent.id, word, list_sources(check));
            continue;
        }
        for (int j = 0; j < def->agent.n_sources; j++) {
            if (list[j] == source) {
                ac_config_check_problem(check, at, "AgentChatTools: agent '%s' names '%s' twice", def->agent.id, word);
            }
        }
        list[def->agent.n_sources++] = source;
    }
    def->agent.sources = list;
}
