/* SPDX-License-Identifier: Apache-2.0 */
/* Agents, models and tools by name. Leaves this folder: everything below; agent.h includes it. */
#ifndef AC_CATALOG_H
#define AC_CATALOG_H

#include "back/back.h"

/* ---- registry.c: agents, models and tools of the configuration; immutable afterwards ---- */
typedef struct ac_registry_t {
    const apr_hash_t *models;             /* id → ac_model_t */
    const apr_hash_t *tools;              /* id → ac_tool_t */
    const apr_hash_t *agent_tools;        /* "agent:ID" and "handoff:ID" → ac_tool_t; NULL: none */
    const apr_hash_t *sources;            /* name → const ac_tool_source_t; NULL: none */
    const apr_hash_t *agents;             /* id or alias → ac_agent_t */
    const apr_hash_t *gates;              /* model id → ac_gate_conf_t; NULL: nothing is configured */
    const apr_array_header_t *agent_list; /* of const ac_agent_t *, in the order of the configuration */
    const ac_agent_t *default_agent;      /* or NULL */
} ac_registry_t;
/* NULL: there is no such agent, or the id is NULL. Any thread. */
const ac_agent_t *ac_registry_agent(const ac_registry_t *registry, const char *id_or_alias);
/* The tool of this name among the agent's own tools; NULL: the agent has none. Any thread. */
const ac_tool_t *ac_registry_agent_tool(const ac_agent_t *agent, const char *name);
/* Makes the `tools` array of a model call. NULL for no tools. New reference. */
json_t *ac_registry_tools_json(const ac_tool_t *const *tools, int n_tools);
/* The name of OpenTelemetry for the provider of a model; one of another module keeps its own. */
const char *ac_registry_provider_name(const ac_model_t *model);

/* Before an agent's id in a list of tools: the tool that calls this agent, and the one that hands over to it. */
#define AC_AGENT_TOOL "agent:"
#define AC_HANDOFF_TOOL "handoff:"
/* A tool by its name in a list of tools; NULL: there is none. Any thread. */
const ac_tool_t *ac_registry_tool(const ac_registry_t *registry, const char *name);
/* Whether this name in a list of tools means a source of tools ("mcp:github") and not a tool. */
bool ac_registry_is_source(const char *name);
const ac_tool_source_t *ac_registry_source(const ac_registry_t *registry, const char *name); /* NULL: there is none */

/* ---- toolset.c: the tools of a run; loop thread ---- */
typedef struct ac_toolset_t ac_toolset_t;
/* The agent's own tools, and those of its sources as they are known now; their names are unique. nested: of a nested
 * run, which cannot hand over. Each other function allows NULL. */
ac_toolset_t *ac_toolset_create(const ac_agent_t *agent, bool nested);
void ac_toolset_destroy(ac_toolset_t *set); /* no call of its tools is active */
const ac_tool_t *ac_toolset_find(const ac_toolset_t *set, const char *name);
json_t *ac_toolset_json(const ac_toolset_t *set); /* the `tools` of a model call, or NULL; borrowed */
/* The sources whose tools the run has not, [{source, detail}], or NULL; borrowed. */
json_t *ac_toolset_missing(const ac_toolset_t *set);
/* For a name that no tool has: sets a tool_error that lists the names. Returns APR_NOTFOUND. */
apr_status_t ac_toolset_unknown(const ac_toolset_t *set, ac_err_t *err);

/* ---- agents.c: a snapshot of all agents, of the configuration and of the store; immutable, counted, any thread
 * ---- */
typedef struct ac_agents_t ac_agents_t;
ac_agents_t *ac_agents_ref(ac_agents_t *agents);
void ac_agents_unref(ac_agents_t *agents); /* NULL is allowed */
const ac_agent_t *ac_agents_find(const ac_agents_t *agents, const char *id_or_alias);
/* the store was read: an agent that is not found does not exist */
bool ac_agents_known(const ac_agents_t *agents);
int ac_agents_made(const ac_agents_t *agents); /* the number of agents made through the API */
/* All agents as the API shows them: in the order of the configuration, then by id. whole: with instructions.
 * New reference. */
json_t *ac_agents_json(const ac_agents_t *agents, bool whole);
json_t *ac_agent_json(const ac_agent_t *agent, bool whole); /* one agent, in the same form */
/* NULL: the agent can run. Else an error message that says why it cannot. */
const char *ac_agent_problem(const ac_agent_t *agent);

/* ---- agent_document.c: an agent's document, made from a request; pure ---- */
/* Whether the text can be an agent's id: 1 to 64 letters, digits, '-', '_' and '.'; no '.' at the beginning. */
bool ac_agent_document_id_valid(const char *id);
/* Makes the whole document that the store keeps from a request's body, with a new etag. Ignores `source`, `etag` and
 * `id` of the body. errors: invalid_request, at the pointer of the member. New reference. */
apr_status_t ac_agent_document_make(json_t **pdocument, const json_t *body, const char *id,
                                    const ac_registry_t *registry, ac_err_t *err);

/* ---- catalog.c: the current snapshot of a child, refreshed from the store ---- */
typedef struct ac_catalog_t ac_catalog_t;
/* Begins with the agents of the configuration alone. config must outlive the catalog. */
ac_catalog_t *ac_catalog_create(const ac_registry_t *config, const ac_agent_t *defaults);
void ac_catalog_destroy(ac_catalog_t *catalog); /* after the loop has ended; NULL is allowed */
/* The current snapshot, a new reference. Any thread. */
ac_agents_t *ac_catalog_agents(ac_catalog_t *catalog);
/* Builds the AGENT_LIST operation that reads what has changed; ac_catalog_adopt() applies its result. Any thread. */
ac_store_op_t *ac_catalog_ask(ac_catalog_t *catalog);
/* Applies the result of ac_catalog_ask(), unless the result of a later question was applied before. A caller that
 * changes an agent and asks afterwards therefore finds the change applied. false: the result says "unchanged" of a
 * snapshot that is no longer the current one; ask again. Any thread. */
bool ac_catalog_adopt(ac_catalog_t *catalog, const ac_store_op_t *op);
/* Reads the store now and then every `every`. Loop thread. The caller unwatches before the store ends. */
void ac_catalog_watch(ac_catalog_t *catalog, ac_loop_t *loop, const ac_store_t *store, apr_interval_time_t every);
void ac_catalog_unwatch(ac_catalog_t *catalog);

#endif
