/* SPDX-License-Identifier: Apache-2.0 */
/* What a child knows of a service, from its start to its end. */
#include "openapi_internal.h"

#include "back/credential/credential.h"

const ac_tool_source_t *ac_openapi_service_source(const ac_openapi_service_t *service)
{
    return &service->source;
}

void ac_openapi_service_set_metric(ac_openapi_service_t *service, unsigned metric)
{
    service->metric = metric;
}

apr_status_t ac_openapi_service_child_init(ac_openapi_service_t *service, const ac_host_t *host, ac_err_t *err)
{
    const apr_array_header_t *credentials = service->conf->credentials;
    apr_status_t status = APR_SUCCESS;
    service->host = host;
    service->loop = host->loop;
    ac_buf_init(&service->body, AC_MAX_OPENAPI_DOCUMENT);
    for (int i = 0; credentials && i < credentials->nelts && status == APR_SUCCESS; i++) {
        status = ac_credential_child_init(APR_ARRAY_IDX(credentials, i, ac_openapi_credential_t).auth, host, err);
    }
    return status;
}

void ac_openapi_service_child_exit(ac_openapi_service_t *service)
{
    const apr_array_header_t *credentials = service->conf->credentials;
    if (!service->loop) {
        return;
    }
    ac_openapi_load_stop(service);
    service->loop = NULL;
    for (int i = 0; credentials && i < credentials->nelts; i++) {
        ac_credential_child_exit(APR_ARRAY_IDX(credentials, i, ac_openapi_credential_t).auth);
    }
}
