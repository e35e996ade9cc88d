/* SPDX-License-Identifier: Apache-2.0 */
/* The services with an OpenAPI document. A document that is a file is read here, so that a configuration test says
 * which tools there will be. */
#include "config_internal.h"

#include <string.h>

APLOG_USE_MODULE(agentchat);

#define FROM "openapi:"

/* A path is relative to ServerRoot, as in other directives. */
static const char *whole_from(const ac_openapi_conf_t *conf, apr_pool_t *p)
{
    if (!conf->from || strncmp(conf->from, FROM, strlen(FROM)) != 0 || ac_openapi_config_fetches(conf)) {
        return conf->from;
    }
    const char *path = conf->from[strlen(FROM)] ? ap_server_root_relative(p, conf->from + strlen(FROM)) : NULL;
    return path ? apr_pstrcat(p, FROM, path, NULL) : conf->from;
}

void ac_config_openapi_build(ac_config_check_t *check, apr_hash_t *sources)
{
    const apr_array_header_t *defs = check->config->defs.openapi;
    for (int i = 0; i < defs->nelts; i++) {
        ac_openapi_def_t *def = APR_ARRAY_IDX(defs, i, ac_openapi_def_t *);
        def->conf.state_dir = check->conf->state_dir;
        def->conf.from = whole_from(&def->conf, check->p);
        const char *problem = ac_openapi_config_create(&def->service, &def->conf, check->p);
        ac_config_check_created(check, &def->common, "OpenAPI service", problem);
        const ac_tool_source_t *source = ac_openapi_service_source(def->service);
        APR_ARRAY_PUSH(check->conf->openapi, ac_openapi_service_t *) = def->service;
        apr_hash_set(sources, source->name, APR_HASH_KEY_STRING, source);
    }
}

static void tell_line(void *baton, ac_log_id_e number, const char *text)
{
    (void)baton;
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_NOTICE, 0, NULL, "AC%04d: %s", (int)number, text);
}

void ac_config_openapi_tell(const ac_config_check_t *check)
{
    const apr_array_header_t *defs = check->config->defs.openapi;
    for (int i = 0; i < defs->nelts; i++) {
        const ac_openapi_def_t *def = APR_ARRAY_IDX(defs, i, const ac_openapi_def_t *);
        if (ac_openapi_config_fetches(&def->conf)) {
            tell_line(
                NULL, AC_M427,
                apr_psprintf(check->ptemp,
                             "openapi[%s]: its document is fetched when a run wants its tools; nothing is known of "
                             "them before",
                             def->conf.id));
        } else {
            ac_openapi_list_tell(def->service, tell_line, NULL);
        }
    }
}
