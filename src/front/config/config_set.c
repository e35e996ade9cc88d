/* SPDX-License-Identifier: Apache-2.0 */
/* The setter of the directives of the table. */
#include "config_internal.h"

/* The struct that this directive writes to, and where to note that it was given. A server's setting that is given
 * again replaces the first, as everywhere in httpd, so that an included file can change it. Inside a container that
 * is an error. */
static const char *find_target(void **ptarget, const ap_directive_t ***pgiven, cmd_parms *cmd,
                               const ac_setting_t *setting)
{
    if (setting->where == AC_CONFIG_IN_SERVER) {
        *ptarget = &ac_conf_mutable()->conf;
        *pgiven = &ac_conf_mutable()->given[ac_config_row_index(setting)];
        return NULL;
    }
    const char *problem = NULL;
    ac_definition_t *definition = ac_config_define_current(&problem, cmd, setting);
    if (!definition) {
        return problem;
    }
    *ptarget = definition;
    *pgiven = &definition->given[ac_config_row_index(setting)];
    bool adds = setting->value.type == AC_VALUE_WORDS || setting->value.type == AC_VALUE_PAIR ||
        setting->value.type == AC_VALUE_MEMBER || setting->value.type == AC_VALUE_HEADER ||
        setting->value.type == AC_VALUE_SCHEME;
    if (**pgiven && !adds) {
        return apr_psprintf(cmd->pool, "is given twice; first at %s", ac_config_define_where(**pgiven, cmd->pool));
    }
    return NULL;
}

/* The agent whose container this setting of a section is in; NULL: it is in no such container. */
static ac_agent_def_t *config_find_agent(const cmd_parms *cmd, const ac_setting_t *setting)
{
    const ap_directive_t *parent = cmd->directive->parent;
    bool inside = setting->value.type == AC_VALUE_LIMITS && parent && parent->data &&
        ap_cstr_casecmp(parent->directive, "<AgentChatAgent") == 0;
    return inside ? parent->data : NULL;
}

static const char *set_mount(cmd_parms *cmd, ac_mount_conf_t *mount, const ac_setting_t *setting, const char *args)
{
    ac_agent_def_t *agent = config_find_agent(cmd, setting);
    if (agent) {
        return ac_config_limit_set_agent(cmd, agent, args);
    }
    bool first = !(mount->set & UINT64_C(1) << ac_config_row_index(setting));
    const char *problem = setting->value.type == AC_VALUE_LIMITS ? ac_config_limit_set_mount(cmd, mount, args, first)
                                                                 : ac_config_args_set(setting, mount, args, cmd->pool);
    if (!problem) {
        problem = ac_config_section_problem(mount, cmd->pool);
    }
    if (problem) {
        return problem;
    }
    mount->set |= UINT64_C(1) << ac_config_row_index(setting);
    if (setting->value.offset == offsetof(ac_mount_conf_t, default_agent_id)) {
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.default_agents, const ap_directive_t *) = cmd->directive;
    }
    if (setting->value.offset == offsetof(ac_mount_conf_t, default_webhook)) {
        APR_ARRAY_PUSH(ac_conf_mutable()->defs.default_webhooks, const ap_directive_t *) = cmd->directive;
    }
    if (setting->value.offset == offsetof(ac_mount_conf_t, keys_path)) {
        ac_config_keys_add(mount->keys_path, cmd->directive);
    }
    return NULL;
}

const char *ac_config_set_directive(cmd_parms *cmd, void *dir, const char *args)
{
    const ac_setting_t *setting = cmd->info;
    const ap_directive_t **given = NULL;
    void *target = NULL;
    const char *problem;
    if (setting->where == AC_CONFIG_IN_MOUNT) {
        problem = set_mount(cmd, dir, setting, args);
    } else {
        problem = find_target(&target, &given, cmd, setting);
        if (!problem) {
            problem = ac_config_args_set(setting, target, args, cmd->pool);
        }
        if (!problem) {
            *given = cmd->directive;
        }
    }
    return ac_reload_directive(cmd, problem ? apr_pstrcat(cmd->pool, setting->name, ": ", problem, NULL) : NULL);
}
