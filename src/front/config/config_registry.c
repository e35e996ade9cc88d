/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the registry from the definitions: looks providers up, and creates and connects models, tools and agents.
 * Every problem is reported at its line. */
#include "config_internal.h"

#include "back/credential/credential.h"

#include "ap_provider.h"
#include "apr_sha1.h"

/* Tools whose id says which provider they have. */
static const struct {
    const char *id, *provider;
    bool needs_container; /* it has a setting without a default */
} builtin_tools[] = {
    {"calculate", "calculator", false},
    {"get_weather", "weather", false},
    {"search_knowledge_base", "knowledge-base", true},
};
#define N_BUILTIN_TOOLS (sizeof(builtin_tools) / sizeof(builtin_tools[0]))

/* The provider of this name, or NULL, which is reported with the known ones. */
static const void *find_provider(ac_config_check_t *check, const ac_definition_t *definition, const char *group,
                                 const char *name)
{
    const char *directive = definition->where == AC_CONFIG_IN_MODEL ? "AgentChatProvider" : "AgentChatToolProvider";
    const void *vt = name ? ap_lookup_provider(group, name, AC_PROVIDER_VERSION) : NULL;
    if (vt) {
        return vt;
    }
    const char *list = ac_config_check_providers(check, group);
    if (name) {
        ac_config_check_problem(check, ac_config_check_at(definition, directive),
                                "%s: there is no provider '%s'; known are %s; other modules can add more (LoadModule)",
                                directive, name, list);
    } else {
        ac_config_check_problem(check, definition->at, "%s '%s' has no %s; known are %s",
                                definition->where == AC_CONFIG_IN_MODEL ? "model" : "tool", definition->id, directive,
                                list);
    }
    return NULL;
}

/* ---- models ---- */
static bool check_price(ac_config_check_t *check, ac_model_def_t *def)
{
    const ap_directive_t *at = ac_config_check_at(&def->common, "AgentChatPrice");
    ac_price_t *price = &def->conf.price;
    bool given = price->input > 0 || price->output > 0 || price->cached > 0;
    if (given && !price->currency[0]) {
        ac_config_check_problem(check, at, "AgentChatPrice: the price has no currency; add one, like currency=USD");
        return false;
    }
    if (price->cached < 0) {
        price->cached = price->input;
    }
    return true;
}

static void build_model(ac_config_check_t *check, ac_model_def_t *def, apr_hash_t *models)
{
    ac_model_conf_t *conf = &def->conf;
    if (!conf->options) {
        conf->options = apr_table_make(check->p, 1);
    }
    apr_hash_set(models, conf->id, APR_HASH_KEY_STRING, &def->model);
    if (conf->auth) {
        conf->credential.spec = ac_credential_spec(conf->auth);
        conf->credential.value = ac_credential_first(conf->auth);
    }
    def->model.id = conf->id;
    def->model.conf = conf;
    def->model.vt = find_provider(check, &def->common, AC_MODEL_PROVIDER, conf->provider);
    if (!check_price(check, def) || !def->model.vt) {
        return;
    }
    ac_config_check_created(check, &def->common, "model", def->model.vt->create(&def->model.self, conf, check->p));
}

/* ---- fallbacks ---- */
static const char *list_ids(const apr_array_header_t *defs, apr_pool_t *p);

static ac_model_def_t *find_model(const ac_config_check_t *check, const char *id)
{
    const apr_array_header_t *models = check->config->defs.models;
    for (int i = 0; id && i < models->nelts; i++) {
        ac_model_def_t *def = APR_ARRAY_IDX(models, i, ac_model_def_t *);
        if (strcmp(def->conf.id, id) == 0) {
            return def;
        }
    }
    return NULL;
}

/* "a, b, a" where the fallbacks lead from def back to it, else NULL. A ring that def is not part of is reported for
 * its members. */
static const char *find_ring(const ac_config_check_t *check, const ac_model_def_t *def)
{
    const ac_model_def_t *at = find_model(check, def->fallback);
    const char *path = def->conf.id;
    for (int i = 0; at && i < check->config->defs.models->nelts; i++) {
        path = apr_pstrcat(check->ptemp, path, ", ", at->conf.id, NULL);
        if (at == def) {
            return path;
        }
        at = find_model(check, at->fallback);
    }
    return NULL;
}

static void set_fallback(ac_config_check_t *check, ac_model_def_t *def, apr_hash_t *gates)
{
    const ap_directive_t *at = ac_config_check_at(&def->common, "AgentChatFallback");
    apr_hash_set(gates, def->conf.id, APR_HASH_KEY_STRING, &def->gate);
    if (!def->fallback) {
        return;
    }
    const ac_model_def_t *other = find_model(check, def->fallback);
    const char *ring = find_ring(check, def);
    if (!other) {
        ac_config_check_problem(
            check, at,
            "AgentChatFallback: model '%s' names the model '%s', which no <AgentChatModel> defines; "
            "known are %s",
            def->conf.id, def->fallback, list_ids(check->config->defs.models, check->ptemp));
    } else if (ring) {
        ac_config_check_problem(
            check, at,
            "AgentChatFallback: the fallbacks form a ring: %s; the last model of a chain must have no fallback", ring);
    } else if (other->conf.price.currency[0] && def->conf.price.currency[0] &&
               strcmp(other->conf.price.currency, def->conf.price.currency) != 0) {
        ac_config_check_problem(
            check, at,
            "AgentChatFallback: model '%s' is priced in %s and '%s' in %s; a run that asks both has "
            "one cost, so give both prices in one currency",
            def->conf.id, def->conf.price.currency, other->conf.id, other->conf.price.currency);
    } else {
        def->gate.fallback = &other->model;
    }
}

/* ---- titles and summaries ---- */
static void set_after_run_model(ac_config_check_t *check, const char *directive, const char *id,
                                const ac_model_t **pmodel)
{
    const ac_model_def_t *def = find_model(check, id);
    if (def) {
        *pmodel = &def->model;
    } else if (id) {
        ac_config_check_problem(check, ac_config_check_server_at(check, directive),
                                "%s: model= names the model '%s', which no <AgentChatModel> defines; known are %s",
                                directive, id, list_ids(check->config->defs.models, check->ptemp));
    }
}

/* ---- tools ---- */
static const char *tool_provider(const ac_tool_conf_t *conf)
{
    if (conf->provider) {
        return conf->provider;
    }
    if (conf->url) {
        return "http";
    }
    for (size_t i = 0; i < N_BUILTIN_TOOLS; i++) {
        if (strcmp(builtin_tools[i].id, conf->id) == 0) {
            return builtin_tools[i].provider;
        }
    }
    return NULL;
}

/* Sets the schema of the arguments: as configured, else the provider's own. */
static void set_parameters(ac_config_check_t *check, ac_tool_def_t *def)
{
    const ap_directive_t *at = ac_config_check_at(&def->common, "AgentChatToolParameters");
    const ac_tool_vt *vt = def->tool.vt;
    ac_err_t err;
    ac_err_init(&err);
    def->tool.parameters = def->conf.parameters;
    if (!def->tool.parameters && !vt->parameters) {
        ac_config_check_problem(
            check, at,
            "tool '%s' has no AgentChatToolParameters; give the JSON Schema of its arguments, as file:PATH or as JSON",
            def->conf.id);
        return;
    }
    if (!def->tool.parameters) {
        if (ac_json_parse(&def->tool.parameters, vt->parameters, strlen(vt->parameters), &err) != APR_SUCCESS) {
            ac_config_check_problem(check, at, "tool '%s': the parameters of provider '%s' are not JSON: %s",
                                    def->conf.id, vt->name, err.detail);
            return;
        }
        ac_config_value_keep_json(def->tool.parameters, check->p);
    }
    const char *problem = ac_schema_problem(def->tool.parameters, check->p);
    if (problem) {
        ac_config_check_problem(check, at, "AgentChatToolParameters: tool '%s': %s", def->conf.id, problem);
    }
}

/* Returns NULL, or an error message. */
static const char *create_tool(ac_tool_def_t *def, apr_pool_t *p)
{
    const apr_array_header_t *options = apr_table_elts(def->conf.options);
    if (def->tool.vt->create) {
        return def->tool.vt->create(&def->tool.self, &def->conf, p);
    }
    return options->nelts == 0 ? NULL
                               : apr_psprintf(p, "AgentChatToolOption: there is no option '%s'; this provider has none",
                                              APR_ARRAY_IDX(options, 0, apr_table_entry_t).key);
}

static void build_tool(ac_config_check_t *check, ac_tool_def_t *def, apr_hash_t *tools)
{
    ac_tool_conf_t *conf = &def->conf;
    int n_problems = check->n_problems;
    if (!conf->options) {
        conf->options = apr_table_make(check->p, 1);
    }
    if (!conf->headers) {
        conf->headers = apr_array_make(check->p, 1, sizeof(ac_tool_header_t));
    }
    if (!conf->allow_hosts) {
        conf->allow_hosts = apr_array_make(check->p, 1, sizeof(const char *));
    }
    if (conf->url && !conf->method) {
        conf->method = conf->body ? "POST" : "GET";
    }
    conf->state_dir = check->conf->state_dir;
    conf->provider = tool_provider(conf);
    apr_hash_set(tools, conf->id, APR_HASH_KEY_STRING, &def->tool);
    def->tool.id = conf->id;
    def->tool.conf = conf;
    def->tool.vt = find_provider(check, &def->common, AC_TOOL_PROVIDER, conf->provider);
    if (!def->tool.vt) {
        return;
    }
    def->tool.description = conf->description ? conf->description : def->tool.vt->description;
    if (!def->tool.description) {
        ac_config_check_problem(check, def->common.at,
                                "tool '%s' has no AgentChatToolDescription, by which the model chooses tools",
                                conf->id);
    }
    set_parameters(check, def);
    if (check->n_problems != n_problems) {
        return;
    }
    const char *problem = create_tool(def, check->p);
    if (problem) {
        ac_config_check_problem(check, def->common.at, "tool '%s': %s", conf->id, problem);
    }
}

/* ---- agents ---- */
/* The ids of these definitions, for an error message. */
static const char *list_ids(const apr_array_header_t *defs, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 8, sizeof(const char *));
    for (int i = 0; i < defs->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) = APR_ARRAY_IDX(defs, i, const ac_definition_t *)->id;
    }
    return ac_config_value_list(names, p);
}

/* Agents that are made through the API may use them, too. */
static void build_builtin_tools(ac_config_check_t *check, apr_hash_t *tools)
{
    for (size_t i = 0; i < N_BUILTIN_TOOLS; i++) {
        const char *id = builtin_tools[i].id;
        if (!builtin_tools[i].needs_container && !apr_hash_get(tools, id, APR_HASH_KEY_STRING)) {
            build_tool(check, ac_config_define_builtin_tool(id, builtin_tools[i].provider, check->p), tools);
        }
    }
}

static const ac_tool_t *config_registry_find_tool(ac_config_check_t *check, const ac_agent_def_t *def, const char *id,
                                                  apr_hash_t *tools)
{
    const ac_tool_t *tool = apr_hash_get(tools, id, APR_HASH_KEY_STRING);
    if (strncmp(id, AC_AGENT_TOOL, sizeof AC_AGENT_TOOL - 1) == 0) {
        return ac_config_agents_find(check, def, id);
    }
    if (tool) {
        return tool;
    }
    ac_config_check_problem(
        check, ac_config_check_at(&def->common, "AgentChatTools"),
        "AgentChatTools: agent '%s' names the tool '%s', which no <AgentChatTool> defines; known are %s", def->agent.id,
        id, list_ids(check->config->defs.tools, check->ptemp));
    return NULL;
}

/* tool may be NULL. name: as the configuration has it. */
static void config_registry_add_tool(ac_config_check_t *check, ac_agent_def_t *def, const ac_tool_t **list,
                                     const ac_tool_t *tool, const char *name)
{
    const char *directive = tool && tool->hands_off ? "AgentChatHandoffs" : "AgentChatTools";
    for (int i = 0; tool && i < def->agent.n_tools; i++) {
        if (list[i] == tool) {
            ac_config_check_problem(check, ac_config_check_at(&def->common, directive),
                                    "%s: agent '%s' names the %s '%s' twice", directive, def->agent.id,
                                    tool->hands_off ? "agent" : "tool", name);
        } else if (strcmp(list[i]->id, tool->id) == 0) {
            ac_config_check_problem(check, ac_config_check_at(&def->common, directive),
                                    "%s: agent '%s' has two tools of the name '%s'", directive, def->agent.id,
                                    tool->id);
        }
    }
    if (tool) {
        list[def->agent.n_tools++] = tool;
    }
}

static void config_registry_set_tools(ac_config_check_t *check, ac_agent_def_t *def, apr_hash_t *tools)
{
    int n = def->tools ? def->tools->nelts : 0, n_handoffs = def->handoffs ? def->handoffs->nelts : 0;
    const ac_tool_t **list = apr_pcalloc(check->p, sizeof(*list) * (size_t)(n + n_handoffs + 1));
    for (int i = 0; i < n; i++) {
        const char *id = APR_ARRAY_IDX(def->tools, i, const char *);
        if (!ac_registry_is_source(id)) {
            config_registry_add_tool(check, def, list, config_registry_find_tool(check, def, id, tools), id);
        }
    }
    for (int i = 0; i < n_handoffs; i++) {
        const char *id = APR_ARRAY_IDX(def->handoffs, i, const char *);
        config_registry_add_tool(check, def, list, ac_config_agents_find_handoff(check, def, id), id);
    }
    def->agent.tools = list;
}

/* An ETag that changes with the definition, and is the same in every child and after a restart. */
static const char *make_etag(const ac_agent_def_t *def, apr_pool_t *p)
{
    const ac_agent_t *agent = &def->agent;
    apr_sha1_ctx_t sha;
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char text[2 * 8 + 1];
    const char *tools = ac_config_value_list(def->tools, p);
    if (def->handoffs) {
        tools = apr_pstrcat(p, tools, "\n", ac_config_value_list(def->handoffs, p), NULL);
    }
    const char *all = apr_psprintf(p, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%d %d %d %d %" APR_INT64_T_FMT " %g", agent->id,
                                   agent->name, agent->description, agent->instructions, def->model, agent->status,
                                   tools, agent->max_rounds, agent->max_tool_calls, agent->max_tokens,
                                   agent->history_messages, agent->history_tokens, agent->temperature);
    apr_sha1_init(&sha);
    apr_sha1_update(&sha, all, (unsigned int)strlen(all));
    apr_sha1_final(digest, &sha);
    ap_bin2hex(digest, 8, text);
    return apr_psprintf(p, "\"%s\"", text);
}

static void build_agent(ac_config_check_t *check, ac_agent_def_t *def, ac_registry_t *registry, apr_hash_t *tools)
{
    ac_agent_t *agent = &def->agent;
    const ap_directive_t *at = ac_config_check_at(&def->common, "AgentChatModel");
    int n_problems = check->n_problems;
    const char *models = list_ids(check->config->defs.models, check->ptemp);
    agent->model = def->model ? apr_hash_get((apr_hash_t *)registry->models, def->model, APR_HASH_KEY_STRING) : NULL;
    if (!def->model) {
        ac_config_check_problem(check, at, "agent '%s' has no AgentChatModel; known are %s", agent->id, models);
    } else if (!agent->model) {
        ac_config_check_problem(check, at,
                                "AgentChatModel: agent '%s' names the model '%s', which no <AgentChatModel> defines; "
                                "known are %s",
                                agent->id, def->model, models);
    }
    if (!agent->name) {
        agent->name = agent->id;
    }
    if (!agent->description) {
        agent->description = "";
    }
    if (!agent->instructions) {
        agent->instructions = "";
    }
    const char *schema = agent->output_schema ? ac_schema_problem(agent->output_schema, check->ptemp) : NULL;
    if (schema) {
        ac_config_check_problem(check, ac_config_check_at(&def->common, "AgentChatOutputSchema"),
                                "AgentChatOutputSchema: agent '%s': %s", agent->id, schema);
    }
    config_registry_set_tools(check, def, tools);
    ac_config_mcp_set_sources(check, def);
    agent->etag = make_etag(def, check->p);
    if (check->n_problems != n_problems) {
        return;
    }
    agent->tools_json = ac_registry_tools_json(agent->tools, agent->n_tools);
    if (agent->tools_json) {
        ac_config_value_keep_json(agent->tools_json, check->p);
    }
}

/* Registers the agent under its id and its aliases, which must be unique. */
static void name_agent(ac_config_check_t *check, ac_agent_def_t *def, apr_hash_t *agents, apr_hash_t *owners)
{
    apr_array_header_t *names = apr_array_copy(check->ptemp, def->aliases);
    APR_ARRAY_PUSH(names, const char *) = def->agent.id;
    for (int i = 0; i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        const ac_agent_def_t *owner = apr_hash_get(owners, name, APR_HASH_KEY_STRING);
        if (owner) {
            ac_config_check_problem(check, def->common.at, "agent '%s': '%s' is already a name of agent '%s' at %s",
                                    def->agent.id, name, owner->agent.id,
                                    ac_config_define_where(owner->common.at, check->ptemp));
        }
        apr_hash_set(owners, name, APR_HASH_KEY_STRING, def);
        apr_hash_set(agents, name, APR_HASH_KEY_STRING, &def->agent);
    }
}

static void check_default_agents(ac_config_check_t *check, const ac_registry_t *registry)
{
    const apr_array_header_t *given = check->config->defs.default_agents;
    for (int i = 0; i < given->nelts; i++) {
        const ap_directive_t *at = APR_ARRAY_IDX(given, i, const ap_directive_t *);
        const char *args = at->args;
        const char *id = ap_getword_conf(check->ptemp, &args);
        if (ac_registry_agent(registry, id)) {
            continue;
        }
        ac_config_check_problem(check, at, "AgentChatDefaultAgent: there is no agent '%s'; known are %s", id,
                                list_ids(check->config->defs.agents, check->ptemp));
    }
}

/* The main server's default agent, else the only agent. */
static const ac_agent_t *config_registry_default_agent(ac_config_check_t *check, const ac_registry_t *registry)
{
    const ac_mount_conf_t *mount = ap_get_module_config(check->server->lookup_defaults, &agentchat_module);
    if (mount && mount->default_agent_id) {
        return ac_registry_agent(registry, mount->default_agent_id);
    }
    return registry->agent_list->nelts == 1 ? APR_ARRAY_IDX(registry->agent_list, 0, const ac_agent_t *) : NULL;
}

void ac_config_registry_build(ac_config_check_t *check)
{
    ac_registry_t *registry = &check->conf->registry;
    const ac_definitions_t *defs = &check->config->defs;
    apr_hash_t *models = apr_hash_make(check->p), *tools = apr_hash_make(check->p), *agents = apr_hash_make(check->p);
    apr_hash_t *owners = apr_hash_make(check->ptemp), *gates = apr_hash_make(check->p);
    apr_hash_t *sources = apr_hash_make(check->p), *agent_tools = apr_hash_make(check->p);
    apr_array_header_t *list = apr_array_make(check->p, 8, sizeof(const ac_agent_t *));
    registry->models = models;
    registry->gates = gates;
    registry->tools = tools;
    registry->sources = sources;
    registry->agent_tools = agent_tools;
    registry->agents = agents;
    registry->agent_list = list;
    for (int i = 0; i < defs->models->nelts; i++) {
        build_model(check, APR_ARRAY_IDX(defs->models, i, ac_model_def_t *), models);
    }
    for (int i = 0; i < defs->models->nelts; i++) {
        set_fallback(check, APR_ARRAY_IDX(defs->models, i, ac_model_def_t *), gates);
    }
    set_after_run_model(check, "AgentChatTitles", check->conf->titles_model, &check->conf->engine.titles.model);
    set_after_run_model(check, "AgentChatHistorySummary", check->conf->summaries_model,
                        &check->conf->engine.summaries.model);
    for (int i = 0; i < defs->tools->nelts; i++) {
        build_tool(check, APR_ARRAY_IDX(defs->tools, i, ac_tool_def_t *), tools);
    }
    build_builtin_tools(check, tools);
    ac_config_mcp_build(check, sources);
    ac_config_agents_add_tools(check, agent_tools);
    ac_config_openapi_build(check, sources);
    ac_config_webhook_build(check);
    for (int i = 0; i < defs->agents->nelts; i++) {
        ac_agent_def_t *def = APR_ARRAY_IDX(defs->agents, i, ac_agent_def_t *);
        name_agent(check, def, agents, owners);
        build_agent(check, def, registry, tools);
        APR_ARRAY_PUSH(list, const ac_agent_t *) = &def->agent;
    }
    ac_config_agents_check(check);
    ac_config_limit_check(check);
    ac_caching_check(check);
    check_default_agents(check, registry);
    registry->default_agent = config_registry_default_agent(check, registry);
    ac_agent_def_t *pattern = apr_pcalloc(check->p, sizeof *pattern);
    ac_config_args_set_defaults(AC_CONFIG_IN_AGENT, pattern, check->p);
    check->conf->agent_defaults = &pattern->agent;
}
