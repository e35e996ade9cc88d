/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot of all agents: of the configuration, and of the store for those made through the API. Immutable and
 * counted: a run keeps the snapshot with which it began. */
#include "catalog_internal.h"

#include <apr_atomic.h>
#include <apr_strings.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ac_agents_t {
    volatile apr_uint32_t refs;
    const ac_registry_t *config;
    char stamp[AC_ID_SIZE];
    bool known;        /* the store was read */
    json_t *documents; /* own the texts of `list` */
    int n;
    ac_agent_t *list; /* sorted by id */
};

/* ---- one agent ---- */

const char *ac_agent_problem(const ac_agent_t *agent)
{
    return strcmp(agent->status, "active") != 0 ? "the agent is inactive" : agent->problem;
}

static char *make_problem(const char *what, const char *id)
{
    ac_buf_t text;
    ac_buf_init(&text, AC_ERR_DETAIL_SIZE);
    ac_buf_printf(&text, "the agent is inactive: its %s '%s' is not configured any more", what, id);
    return text.data;
}

static void agents_set_tools(ac_agent_t *agent, char **pproblem, const ac_registry_t *config, const json_t *names)
{
    size_t i, n = json_array_size(names);
    json_t *name;
    const ac_tool_t **tools = ac_alloc((n + 1) * sizeof *tools);
    const ac_tool_source_t **sources = ac_alloc((n + 1) * sizeof *sources);
    json_array_foreach((json_t *)names, i, name)
    {
        const char *id = json_string_value(name);
        const ac_tool_t *tool = id ? ac_registry_tool(config, id) : NULL;
        const ac_tool_source_t *source = id ? ac_registry_source(config, id) : NULL;
        if (tool) {
            tools[agent->n_tools++] = tool;
        } else if (source) {
            sources[agent->n_sources++] = source;
        } else if (!*pproblem) {
            *pproblem = make_problem("tool", id ? id : "");
        }
    }
    agent->tools = tools;
    agent->sources = sources;
    agent->tools_json = ac_registry_tools_json(agent->tools, agent->n_tools);
}

/* Values that the document does not say come from defaults. */
static void fill_agent(ac_agent_t *agent, const ac_registry_t *config, const ac_agent_t *pattern,
                       const json_t *document)
{
    const json_t *temperature = json_object_get(document, "temperature");
    const char *model = ac_json_peek_string(document, "model", "");
    char *problem = NULL;
    *agent = *pattern;
    agent->document = document;
    agent->id = ac_json_peek_string(document, "id", "");
    agent->name = ac_json_peek_string(document, "name", agent->id);
    agent->description = ac_json_peek_string(document, "description", "");
    agent->instructions = ac_json_peek_string(document, "instructions", "");
    agent->status = ac_json_peek_string(document, "status", "active");
    agent->etag = ac_json_peek_string(document, "etag", "");
    agent->source = "api";
    agent->max_rounds = (int)ac_json_peek_int(document, "max_rounds", pattern->max_rounds);
    if (json_is_number(temperature)) {
        agent->temperature = json_number_value(temperature);
    }
    agent->model = apr_hash_get((apr_hash_t *)config->models, model, APR_HASH_KEY_STRING);
    if (!agent->model) {
        problem = make_problem("model", model);
    }
    agent->n_tools = agent->n_sources = 0;
    agents_set_tools(agent, &problem, config, json_object_get(document, "tools"));
    agent->problem = problem;
}

static json_t *tools_of(const ac_agent_t *agent)
{
    if (agent->document) {
        return json_deep_copy(json_object_get(agent->document, "tools"));
    }
    json_t *tools = json_array();
    for (int i = 0; i < agent->n_tools; i++) {
        const ac_tool_t *tool = agent->tools[i];
        json_array_append_new(tools, ac_json_text(tool->source ? tool->source : tool->id));
    }
    for (int i = 0; i < agent->n_sources; i++) {
        json_array_append_new(tools, ac_json_text(agent->sources[i]->name));
    }
    return tools;
}

json_t *ac_agent_json(const ac_agent_t *agent, bool whole)
{
    bool has_temperature = !isnan(agent->temperature);
    json_t *json = json_object();
    ac_json_put(json, "id", ac_json_text(agent->id));
    ac_json_put(json, "name", ac_json_text(agent->name));
    ac_json_put(json, "description", ac_json_text(agent->description));
    if (whole) {
        ac_json_put(json, "instructions", ac_json_text(agent->instructions));
    }
    ac_json_put(json, "model",
                ac_json_text(agent->model ? agent->model->id : ac_json_peek_string(agent->document, "model", NULL)));
    ac_json_put(json, "tools", tools_of(agent));
    ac_json_put(json, "temperature", has_temperature ? json_real(agent->temperature) : json_null());
    ac_json_put(json, "max_rounds", json_integer(agent->max_rounds));
    ac_json_put(json, "status", json_string(ac_agent_problem(agent) ? "inactive" : "active"));
    ac_json_put(json, "source", ac_json_text(agent->source));
    ac_json_put(json, "etag", ac_json_text(agent->etag));
    return json;
}

/* ---- all of them ---- */

static int compare_agents(const void *a, const void *b)
{
    return strcmp(((const ac_agent_t *)a)->id, ((const ac_agent_t *)b)->id);
}

ac_agents_t *ac_agents_create(const ac_registry_t *config, const ac_agent_t *pattern, const char *stamp,
                              const json_t *documents)
{
    ac_agents_t *agents = ac_alloc(sizeof *agents);
    const json_t *document;
    size_t i;
    agents->refs = 1;
    agents->config = config;
    agents->known = stamp != NULL;
    apr_cpystrn(agents->stamp, stamp ? stamp : "", sizeof agents->stamp);
    agents->documents = json_deep_copy(documents);
    agents->list = ac_alloc((json_array_size(documents) + 1) * sizeof *agents->list);
    json_array_foreach(agents->documents, i, document)
    {
        const char *id = ac_json_peek_string(document, "id", NULL);
        if (!id || ac_registry_agent(config, id)) {
            ac_debug("agent[%s]: as the configuration has it, not as the API was given it", id ? id : "");
            continue;
        }
        fill_agent(&agents->list[agents->n++], config, pattern, document);
    }
    qsort(agents->list, (size_t)agents->n, sizeof *agents->list, compare_agents);
    return agents;
}

ac_agents_t *ac_agents_ref(ac_agents_t *agents)
{
    if (agents) {
        apr_atomic_inc32(&agents->refs);
    }
    return agents;
}

void ac_agents_unref(ac_agents_t *agents)
{
    if (!agents || apr_atomic_dec32(&agents->refs)) {
        return;
    }
    for (int i = 0; i < agents->n; i++) {
        free((void *)agents->list[i].tools);
        free((void *)agents->list[i].sources);
        free((void *)agents->list[i].problem);
        json_decref(agents->list[i].tools_json);
    }
    free(agents->list);
    json_decref(agents->documents);
    free(agents);
}

const ac_agent_t *ac_agents_find(const ac_agents_t *agents, const char *id_or_alias)
{
    const ac_agent_t *agent = ac_registry_agent(agents->config, id_or_alias);
    if (agent || !id_or_alias) {
        return agent;
    }
    ac_agent_t wanted = {.id = id_or_alias};
    return bsearch(&wanted, agents->list, (size_t)agents->n, sizeof *agents->list, compare_agents);
}

bool ac_agents_known(const ac_agents_t *agents)
{
    return agents->known;
}

const char *ac_agents_stamp(const ac_agents_t *agents)
{
    return agents->known ? agents->stamp : NULL;
}

int ac_agents_made(const ac_agents_t *agents)
{
    return agents->n;
}

json_t *ac_agents_json(const ac_agents_t *agents, bool whole)
{
    const apr_array_header_t *config = agents->config->agent_list;
    json_t *list = json_array();
    for (int i = 0; config && i < config->nelts; i++) {
        json_array_append_new(list, ac_agent_json(APR_ARRAY_IDX(config, i, const ac_agent_t *), whole));
    }
    for (int i = 0; i < agents->n; i++) {
        json_array_append_new(list, ac_agent_json(&agents->list[i], whole));
    }
    return list;
}
