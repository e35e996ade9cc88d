/* SPDX-License-Identifier: Apache-2.0 */
/* The agents as one request sees them. */
#include "request.h"

static apr_status_t request_agents_free(void *agents)
{
    ac_agents_unref(agents);
    return APR_SUCCESS;
}

static void request_agents_read(ac_request_t *rq)
{
    rq->agents = ac_catalog_agents(ac_child()->catalog);
    apr_pool_cleanup_register(rq->r->pool, rq->agents, request_agents_free, apr_pool_cleanup_null);
}

apr_status_t ac_request_agents_load(ac_request_t *rq, const ac_agents_t **pagents, bool surely)
{
    apr_status_t status = APR_SUCCESS;
    ac_store_op_t *result;
    if (!rq->agents) {
        request_agents_read(rq);
    }
    if (surely && !ac_agents_known(rq->agents) && ac_child()->conf->agents_refresh > 0) {
        status = ac_request_store(rq, ac_catalog_ask(ac_child()->catalog), &result);
        if (status == APR_SUCCESS) {
            ac_catalog_adopt(ac_child()->catalog, result);
            request_agents_read(rq);
        }
    }
    *pagents = rq->agents;
    return status;
}
