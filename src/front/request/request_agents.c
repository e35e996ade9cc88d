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

static apr_status_t check_active(ac_request_t *rq, const ac_agent_t *agent, const char *pointer)
{
    const char *problem = ac_agent_problem(agent);
    return problem ? ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", problem) : APR_SUCCESS;
}

apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active)
{
    const ac_agents_t *agents;
    apr_status_t status = ac_request_agents_load(rq, &agents, false);
    *pagent = ac_agents_find(agents, id);
    if (!*pagent) {
        status = ac_request_agents_load(rq, &agents, true);
        *pagent = ac_agents_find(agents, id);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (!*pagent) {
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, pointer, "no agent with this id");
    }
    return active ? check_active(rq, *pagent, pointer) : APR_SUCCESS;
}

const ac_agent_t *ac_request_agents_default(const ac_request_t *rq)
{
    return rq->mount->default_agent ? rq->mount->default_agent : ac_child()->conf->registry.default_agent;
}

apr_status_t ac_request_agents_find_default(ac_request_t *rq, const ac_agent_t **pagent)
{
    *pagent = ac_request_agents_default(rq);
    if (!*pagent) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST,
                          "no agent was named and the server has no default agent; its "
                          "administrator can set one with AgentChatDefaultAgent");
    }
    return check_active(rq, *pagent, "");
}
