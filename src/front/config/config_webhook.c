/* SPDX-License-Identifier: Apache-2.0 */
/* The webhooks of the configuration, and the sections that name one. */
#include "config_internal.h"

#include <string.h>

static const char *list_webhooks(const ac_config_check_t *check)
{
    apr_array_header_t *names = apr_array_make(check->ptemp, 4, sizeof(const char *));
    for (int i = 0; i < check->conf->webhooks->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) =
            ac_webhook_config_id(APR_ARRAY_IDX(check->conf->webhooks, i, const ac_webhook_t *));
    }
    return ac_config_value_list(names, check->ptemp);
}

static void check_default_webhooks(ac_config_check_t *check)
{
    const apr_array_header_t *given = check->config->defs.default_webhooks;
    for (int i = 0; i < given->nelts; i++) {
        const ap_directive_t *at = APR_ARRAY_IDX(given, i, const ap_directive_t *);
        const char *args = at->args, *id = ap_getword_conf(check->ptemp, &args);
        if (strcmp(id, "none") != 0 && !ac_webhook_config_find(check->conf->webhooks, id)) {
            ac_config_check_problem(check, at,
                                    "AgentChatDefaultWebhook: no <AgentChatWebhook> defines '%s'; known are %s", id,
                                    list_webhooks(check));
        }
    }
}

void ac_config_webhook_build(ac_config_check_t *check)
{
    const apr_array_header_t *defs = check->config->defs.webhooks;
    for (int i = 0; i < defs->nelts; i++) {
        ac_webhook_def_t *def = APR_ARRAY_IDX(defs, i, ac_webhook_def_t *);
        const char *problem = ac_webhook_config_create(&def->webhook, &def->conf, check->p);
        ac_config_check_created(check, &def->common, "webhook", problem);
        APR_ARRAY_PUSH(check->conf->webhooks, ac_webhook_t *) = def->webhook;
    }
    check_default_webhooks(check);
}
