/* SPDX-License-Identifier: Apache-2.0 */
/* The containers <AgentChatModel>, <AgentChatTool>, <AgentChatMCP>, <AgentChatOpenAPI>, <AgentChatWebhook> and
 * <AgentChatAgent>: each makes
 * a definition that the directives inside of it fill. Definitions belong to the whole server, whatever virtual host
 * they stand in. */
#include "config_internal.h"

const char *ac_config_define_where(const ap_directive_t *at, apr_pool_t *p)
{
    return at ? apr_psprintf(p, "%s:%d", at->filename, at->line_num) : "the built-in definitions";
}

/* ---- definitions ---- */
static ac_definition_t *create_definition(ac_config_where_e where, const char *id, apr_pool_t *p)
{
    ac_definition_t *definition;
    if (where == AC_CONFIG_IN_MODEL) {
        ac_model_def_t *def = apr_pcalloc(p, sizeof *def);
        def->conf.id = id;
        def->conf.price.cached = -1;
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.models, ac_model_def_t *) = def;
    } else if (where == AC_CONFIG_IN_TOOL) {
        ac_tool_def_t *def = apr_pcalloc(p, sizeof *def);
        def->conf.id = id;
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.tools, ac_tool_def_t *) = def;
    } else if (where == AC_CONFIG_IN_MCP) {
        ac_mcp_def_t *def = apr_pcalloc(p, sizeof *def);
        def->conf.id = id;
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.mcp, ac_mcp_def_t *) = def;
    } else if (where == AC_CONFIG_IN_OPENAPI) {
        ac_openapi_def_t *def = apr_pcalloc(p, sizeof *def);
        def->conf.id = id;
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.openapi, ac_openapi_def_t *) = def;
    } else if (where == AC_CONFIG_IN_WEBHOOK) {
        ac_webhook_def_t *def = apr_pcalloc(p, sizeof *def);
        def->conf.id = id;
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.webhooks, ac_webhook_def_t *) = def;
    } else {
        ac_agent_def_t *def = apr_pcalloc(p, sizeof *def);
        def->agent.id = id;
        def->agent.source = "config";
        definition = &def->common;
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.agents, ac_agent_def_t *) = def;
    }
    definition->id = id;
    definition->where = where;
    ac_config_args_set_defaults(where, definition, p);
    return definition;
}

ac_tool_def_t *ac_config_define_builtin_tool(const char *id, const char *provider, apr_pool_t *p)
{
    ac_tool_def_t *def = (ac_tool_def_t *)create_definition(AC_CONFIG_IN_TOOL, id, p);
    def->conf.provider = provider;
    return def;
}

static const ac_definition_t *find_same(ac_config_where_e where, const char *id)
{
    const apr_array_header_t *list = where == AC_CONFIG_IN_MODEL ? ac_conf_mutable()->defs.models
        : where == AC_CONFIG_IN_TOOL                             ? ac_conf_mutable()->defs.tools
        : where == AC_CONFIG_IN_MCP                              ? ac_conf_mutable()->defs.mcp
        : where == AC_CONFIG_IN_OPENAPI                          ? ac_conf_mutable()->defs.openapi
        : where == AC_CONFIG_IN_WEBHOOK                          ? ac_conf_mutable()->defs.webhooks
                                                                 : ac_conf_mutable()->defs.agents;
    for (int i = 0; i < list->nelts; i++) {
        const ac_definition_t *definition = APR_ARRAY_IDX(list, i, const ac_definition_t *);
        if (strcmp(definition->id, id) == 0) {
            return definition;
        }
    }
    return NULL;
}

/* Models know tools by their names, so a tool's id has the form that all models accept. */
static const char *check_id(ac_config_where_e where, const char *id, apr_pool_t *p)
{
    bool tool = where == AC_CONFIG_IN_TOOL || where == AC_CONFIG_IN_MCP || where == AC_CONFIG_IN_OPENAPI;
    if (ac_agent_document_id_valid(id) && !(tool && strchr(id, '.'))) {
        return NULL;
    }
    return apr_psprintf(p, "'%s' is not an id; give 1 to 64 letters, digits, '-'%s", id,
                        tool ? " and '_'" : ", '_' and '.'");
}

static const char *config_define_read_ids(ac_definition_t **pdefinition, ac_config_where_e where, const char *words,
                                          apr_pool_t *p)
{
    ac_definition_t *definition = NULL;
    apr_array_header_t *aliases = apr_array_make(p, 2, sizeof(const char *));
    const char *unclosed = ac_config_args_quote_problem(words, 0);
    if (unclosed) {
        return unclosed;
    }
    do {
        const char *id = ap_getword_conf(p, &words);
        const char *problem = check_id(where, id, p);
        const ac_definition_t *same = !problem && !definition ? find_same(where, id) : NULL;
        if (problem) {
            return problem;
        }
        if (same) {
            return apr_psprintf(p, "'%s' is defined twice; first at %s", id, ac_config_define_where(same->at, p));
        }
        if (!definition) {
            definition = create_definition(where, id, p);
        } else {
            APR_ARRAY_PUSH(aliases, const char *) = id;
        }
    } while (*words);
    if (where == AC_CONFIG_IN_AGENT) {
        ((ac_agent_def_t *)definition)->aliases = aliases;
    } else if (aliases->nelts) {
        return "takes one id";
    }
    *pdefinition = definition;
    return NULL;
}

const char *ac_config_define_container(cmd_parms *cmd, void *dir, const char *args)
{
    const ac_container_t *container = cmd->info;
    const char *end = ap_strrchr_c(args, '>');
    const char *problem = ap_check_cmd_context(cmd, NOT_IN_DIR_LOC_FILE | NOT_IN_LIMIT);
    ac_definition_t *definition = NULL;
    (void)dir;
    if (problem) {
        return ac_reload_directive(cmd, problem);
    }
    if (!end || end[1]) {
        return ac_reload_directive(cmd, apr_pstrcat(cmd->pool, container->name, "> does not end with '>'", NULL));
    }
    problem = config_define_read_ids(&definition, container->where,
                                     apr_pstrmemdup(cmd->pool, args, (apr_size_t)(end - args)), cmd->pool);
    if (problem) {
        return ac_reload_directive(cmd, apr_pstrcat(cmd->pool, container->name, ">: ", problem, NULL));
    }
    definition->at = cmd->directive;
    cmd->directive->data = definition;
    return ap_walk_config(cmd->directive->first_child, cmd, cmd->context);
}

static const char *container_of(ac_config_where_e where)
{
    return where == AC_CONFIG_IN_MODEL  ? "<AgentChatModel"
        : where == AC_CONFIG_IN_TOOL    ? "<AgentChatTool"
        : where == AC_CONFIG_IN_MCP     ? "<AgentChatMCP"
        : where == AC_CONFIG_IN_OPENAPI ? "<AgentChatOpenAPI"
        : where == AC_CONFIG_IN_WEBHOOK ? "<AgentChatWebhook"
                                        : "<AgentChatAgent";
}

ac_definition_t *ac_config_define_current(const char **pproblem, const cmd_parms *cmd, const ac_setting_t *setting)
{
    const ap_directive_t *parent = cmd->directive->parent;
    const char *container = container_of(setting->where);
    if (parent && parent->data && ap_cstr_casecmp(parent->directive, container) == 0) {
        return parent->data;
    }
    *pproblem = apr_pstrcat(cmd->pool, "is allowed inside of ", container, "> only", NULL);
    return NULL;
}
