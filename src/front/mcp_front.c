/* SPDX-License-Identifier: Apache-2.0 */
/* The MCP servers of a child: their start, their end, and their state for /ready. */
#include "front_internal.h"

#include "apr_strings.h"

apr_status_t ac_mcp_front_start(ac_child_t *child, apr_pool_t *p, const char **ppart, ac_err_t *err)
{
    const apr_array_header_t *servers = child->conf->mcp;
    apr_status_t status = APR_SUCCESS;
    for (int i = 0; i < servers->nelts && status == APR_SUCCESS; i++) {
        ac_mcp_upstream_t *server = APR_ARRAY_IDX(servers, i, ac_mcp_upstream_t *);
        *ppart = apr_pstrcat(p, "MCP server ", ac_mcp_upstream_source(server)->name, NULL);
        status = ac_mcp_upstream_child_init(server, &child->host, err);
    }
    return status;
}

json_t *ac_mcp_front_state(const ac_child_t *child)
{
    const apr_array_header_t *servers = child->conf->mcp;
    json_t *list = json_array();
    for (int i = 0; i < servers->nelts; i++) {
        const ac_mcp_upstream_t *server = APR_ARRAY_IDX(servers, i, const ac_mcp_upstream_t *);
        ac_mcp_state_t state;
        ac_mcp_upstream_state(server, &state);
        json_t *json = json_pack("{s:s, s:s, s:i, s:i}", "source", ac_mcp_upstream_source(server)->name, "state",
                                 state.state, "tools", state.n_tools, "left_out", state.n_left_out);
        ac_json_put(json, "protocol", ac_json_text(*state.protocol ? state.protocol : NULL));
        if (state.err.kind != AC_OK) {
            ac_json_put(json, "detail", ac_json_text(state.err.detail));
        }
        json_array_append_new(list, json);
    }
    return list;
}

void ac_mcp_front_stop(ac_child_t *child)
{
    const apr_array_header_t *servers = child->conf->mcp;
    if (ac_engine_active(child->engine) > 0) {
        return; /* a run that was not stored in time still uses them */
    }
    for (int i = 0; i < servers->nelts; i++) {
        ac_mcp_upstream_child_exit(APR_ARRAY_IDX(servers, i, ac_mcp_upstream_t *));
    }
}
