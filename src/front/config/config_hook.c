/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks that begin and check a configuration. `apachectl configtest` runs both. */
#include "config_internal.h"

/* ---- pre_config ---- */
static apr_status_t forget_log(void *baton)
{
    (void)baton;
    ac_log_front_install(NULL);
    return APR_SUCCESS;
}

int ac_config_hook_pre(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    ac_config_t *config = ac_conf_create(pconf);
    apr_pool_userdata_setn(apr_pool_parent_get(pconf), AC_KEEP_POOL, NULL, pconf);
    ac_config_keys_init(pconf);
    ac_config_args_set_defaults(AC_CONFIG_IN_SERVER, &config->conf, pconf);
    apr_pool_cleanup_register(pconf, NULL, forget_log, apr_pool_cleanup_null);
    return OK;
}

/* ---- certificates ---- */
static void check_ca_files(ac_config_check_t *check)
{
    const ac_definitions_t *defs = &check->config->defs;
    for (int i = 0; i < defs->models->nelts; i++) {
        const ac_model_def_t *def = APR_ARRAY_IDX(defs->models, i, const ac_model_def_t *);
        ac_config_access_check_file(check, ac_config_check_at(&def->common, "AgentChatCAFile"), "AgentChatCAFile",
                                    def->conf.ca_file);
    }
    for (int i = 0; i < defs->tools->nelts; i++) {
        const ac_tool_def_t *def = APR_ARRAY_IDX(defs->tools, i, const ac_tool_def_t *);
        ac_config_access_check_file(check, ac_config_check_at(&def->common, "AgentChatToolCAFile"),
                                    "AgentChatToolCAFile", def->conf.ca_file);
    }
    for (int i = 0; i < defs->mcp->nelts; i++) {
        const ac_mcp_def_t *def = APR_ARRAY_IDX(defs->mcp, i, const ac_mcp_def_t *);
        ac_config_access_check_file(check, ac_config_check_at(&def->common, "AgentChatMCPCAFile"), "AgentChatMCPCAFile",
                                    def->conf.ca_file);
    }
    for (int i = 0; i < defs->openapi->nelts; i++) {
        const ac_openapi_def_t *def = APR_ARRAY_IDX(defs->openapi, i, const ac_openapi_def_t *);
        ac_config_access_check_file(check, ac_config_check_at(&def->common, "AgentChatOpenAPICAFile"),
                                    "AgentChatOpenAPICAFile", def->conf.ca_file);
    }
    ac_config_access_check_file(check, ac_config_check_server_at(check, "AgentChatShared"), "AgentChatShared: ca",
                                check->conf->shared.ca_file);
}

/* ---- check_config ---- */
/* Opens and makes nothing. It checks what the start needs, so that the start does not fail for a reason that could
 * be reported here. */
static void check_all(ac_config_check_t *check, int n_mounts)
{
    ac_conf_t *conf = check->conf;
    ac_config_registry_build(check);
    ac_config_keys_check(check);
    conf->request_store_timeout = conf->engine.store_timeout;
    conf->active = n_mounts || conf->registry.agent_list->nelts;
    if (!conf->active) {
        return;
    }
    int n_problems = check->n_problems;
    ac_config_store_create_files(check);
    conf->needs_state_dir = ac_config_store_needs_dir(check);
    bool there = !conf->needs_state_dir || ac_config_store_check_dir(check);
    ac_config_store_create(check, there && check->n_problems == n_problems);
    ac_config_store_warn_files(check);
    ac_event_logs_check(check);
    ac_log_front_check(check);
    ac_audit_check(check);
    ac_config_trace_check(check);
    check_ca_files(check);
    if (ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_CONFIG_TEST) {
        ac_config_openapi_tell(check);
    }
}

int ac_config_hook_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_config_check_t check = ac_config_check_begin(s, pconf, ptemp);
    (void)plog;
    bool gaps = check.conf->out_of_service != NULL; /* where directives were refused */
    int n_mounts = ac_config_mount_find(&check);
    if (!gaps) {
        check_all(&check, n_mounts);
    }
    return ac_reload_result(&check);
}
