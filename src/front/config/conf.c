/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of this process. */
#include "config_internal.h"

static ac_config_t *config;

const ac_conf_t *ac_conf(void)
{
    return config ? &config->conf : NULL;
}

ac_config_t *ac_conf_mutable(void)
{
    return config;
}

static apr_status_t forget_config(void *baton)
{
    (void)baton;
    config = NULL;
    return APR_SUCCESS;
}

ac_config_t *ac_conf_create(apr_pool_t *pconf)
{
    config = apr_pcalloc(pconf, sizeof(*config));
    config->defs.models = apr_array_make(pconf, 4, sizeof(ac_model_def_t *));
    config->defs.tools = apr_array_make(pconf, 8, sizeof(ac_tool_def_t *));
    config->conf.mcp = apr_array_make(pconf, 4, sizeof(ac_mcp_upstream_t *));
    config->conf.openapi = apr_array_make(pconf, 4, sizeof(ac_openapi_service_t *));
    config->defs.mcp = apr_array_make(pconf, 4, sizeof(ac_mcp_def_t *));
    config->defs.openapi = apr_array_make(pconf, 4, sizeof(ac_openapi_def_t *));
    config->conf.webhooks = apr_array_make(pconf, 4, sizeof(ac_webhook_t *));
    config->defs.webhooks = apr_array_make(pconf, 4, sizeof(ac_webhook_def_t *));
    config->defs.default_webhooks = apr_array_make(pconf, 4, sizeof(const ap_directive_t *));
    config->defs.agents = apr_array_make(pconf, 8, sizeof(ac_agent_def_t *));
    config->defs.default_agents = apr_array_make(pconf, 4, sizeof(const ap_directive_t *));
    config->conf.store_options = apr_table_make(pconf, 4);
    apr_pool_cleanup_register(pconf, NULL, forget_config, apr_pool_cleanup_null);
    return config;
}
