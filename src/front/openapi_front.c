/* SPDX-License-Identifier: Apache-2.0 */
/* The services with an OpenAPI document: what the log says of them, their start and their end in a child. */
#include "front_internal.h"

#include "apr_strings.h"

static void log_line(void *baton, ac_log_id_e number, const char *text)
{
    (void)baton;
    ac_log(number, APR_SUCCESS, "%s", text);
}

void ac_openapi_front_report(const ac_conf_t *conf)
{
    for (int i = 0; i < conf->openapi->nelts; i++) {
        ac_openapi_list_tell(APR_ARRAY_IDX(conf->openapi, i, const ac_openapi_service_t *), log_line, NULL);
    }
}

apr_status_t ac_openapi_front_start(ac_child_t *child, apr_pool_t *p, const char **ppart, ac_err_t *err)
{
    const apr_array_header_t *services = child->conf->openapi;
    apr_status_t status = APR_SUCCESS;
    for (int i = 0; i < services->nelts && status == APR_SUCCESS; i++) {
        ac_openapi_service_t *service = APR_ARRAY_IDX(services, i, ac_openapi_service_t *);
        *ppart = apr_pstrcat(p, "OpenAPI service ", ac_openapi_service_source(service)->name, NULL);
        status = ac_openapi_service_child_init(service, &child->host, err);
    }
    return status;
}

void ac_openapi_front_stop(ac_child_t *child)
{
    const apr_array_header_t *services = child->conf->openapi;
    if (ac_engine_active(child->engine) > 0) {
        return; /* a run that was not stored in time still uses them */
    }
    for (int i = 0; i < services->nelts; i++) {
        ac_openapi_service_child_exit(APR_ARRAY_IDX(services, i, ac_openapi_service_t *));
    }
}
