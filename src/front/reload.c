/* SPDX-License-Identifier: Apache-2.0 */
/* A reload never ends httpd, which may serve other sites. If the new configuration cannot be served, this module is
 * out of service until the next reload, and the rest of httpd continues. At the first start, and for `apachectl
 * configtest`, a problem is an error. */
#include "front_internal.h"

/* httpd counts its generations; the first is its start. */
static bool reloads(void)
{
    return ap_state_query(AP_SQ_CONFIG_GEN) > 1;
}

const char *ac_reload_directive(cmd_parms *cmd, const char *problem)
{
    if (!problem || !reloads()) {
        return problem;
    }
    ac_config_check_t check = ac_config_check_begin(cmd->server, cmd->pool, cmd->temp_pool);
    ac_config_check_problem(&check, cmd->directive, "%s", problem);
    return NULL;
}

int ac_reload_result(const ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    if (!conf->out_of_service) {
        return OK;
    }
    conf->active = false;
    return reloads() ? OK : HTTP_INTERNAL_SERVER_ERROR;
}

void ac_reload_log_refusal(const ac_conf_t *conf)
{
    ac_log(AC_M607, APR_SUCCESS,
           "out of service: the configuration of this reload cannot be served: %s; until httpd is reloaded with one "
           "that `apachectl configtest` accepts, requests get 503. The rest of httpd continues",
           conf->out_of_service);
}
