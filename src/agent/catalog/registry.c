/* SPDX-License-Identifier: Apache-2.0 */
/* Agents, models and tools of the configuration, by name. */
#include "catalog_internal.h"

#include <string.h>

const ac_agent_t *ac_registry_agent(const ac_registry_t *registry, const char *id_or_alias)
{
    if (!id_or_alias || !registry->agents) {
        return NULL;
    }
    return apr_hash_get((apr_hash_t *)registry->agents, id_or_alias, APR_HASH_KEY_STRING);
}

bool ac_registry_is_agent_tool(const char *name)
{
    return strncmp(name, AC_AGENT_TOOL, sizeof AC_AGENT_TOOL - 1) == 0 ||
        strncmp(name, AC_HANDOFF_TOOL, sizeof AC_HANDOFF_TOOL - 1) == 0;
}

bool ac_registry_is_source(const char *name)
{
    return strchr(name, ':') != NULL && !ac_registry_is_agent_tool(name); /* no id of a tool has one */
}

const ac_tool_t *ac_registry_tool(const ac_registry_t *registry, const char *name)
{
    const apr_hash_t *known = ac_registry_is_agent_tool(name) ? registry->agent_tools : registry->tools;
    return known ? apr_hash_get((apr_hash_t *)known, name, APR_HASH_KEY_STRING) : NULL;
}

const ac_tool_source_t *ac_registry_source(const ac_registry_t *registry, const char *name)
{
    return registry->sources ? apr_hash_get((apr_hash_t *)registry->sources, name, APR_HASH_KEY_STRING) : NULL;
}

const ac_tool_t *ac_registry_agent_tool(const ac_agent_t *agent, const char *name)
{
    for (int i = 0; i < agent->n_tools; i++) {
        if (strcmp(agent->tools[i]->id, name) == 0) {
            return agent->tools[i];
        }
    }
    return NULL;
}

json_t *ac_registry_tools_json(const ac_tool_t *const *tools, int n_tools)
{
    if (n_tools == 0) {
        return NULL;
    }
    json_t *list = json_array();
    for (int i = 0; list && i < n_tools; i++) {
        json_t *function = json_pack("{s:s, s:s, s:O}", "name", tools[i]->id, "description",
                                     tools[i]->description ? tools[i]->description : "", "parameters",
                                     tools[i]->parameters);
        json_array_append_new(list, json_pack("{s:s, s:o}", "type", "function", "function", function));
    }
    return list;
}

const char *ac_registry_provider_name(const ac_model_t *model)
{
    static const struct {
        const char *provider, *name;
    } known[] = {{"azure-openai", "azure.ai.openai"},
                 {"azure-responses", "azure.ai.openai"},
                 {"responses", "openai"},
                 {NULL, NULL}};
    int i = 0;
    while (known[i].provider && strcmp(known[i].provider, model->vt->name) != 0) {
        i++;
    }
    return known[i].provider ? known[i].name : model->vt->name;
}
