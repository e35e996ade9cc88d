/* SPDX-License-Identifier: Apache-2.0 */
/* What a child knows of a server, from its start to its end. */
#include "mcp_internal.h"

#include "back/credential/credential.h"

#include <apr_strings.h>

const ac_tool_source_t *ac_mcp_upstream_source(const ac_mcp_upstream_t *server)
{
    return &server->source;
}

void ac_mcp_upstream_set_metric(ac_mcp_upstream_t *server, unsigned metric)
{
    server->metric = metric;
}

apr_status_t ac_mcp_upstream_child_init(ac_mcp_upstream_t *server, const ac_host_t *host, ac_err_t *err)
{
    server->host = host;
    server->loop = host->loop;
    ac_mcp_upstream_session_init(&server->session, server);
    return server->conf->auth ? ac_credential_child_init(server->conf->auth, host, err) : APR_SUCCESS;
}

void ac_mcp_upstream_child_exit(ac_mcp_upstream_t *server)
{
    if (!server->loop) {
        return;
    }
    ac_mcp_list_stop(server);
    ac_mcp_upstream_session_close(&server->session);
    ac_loop_ready_cancel(server->loop, &server->ready);
    ac_mcp_exchange_cancel_all(server);
    ac_mcp_list_unref(server->tools);
    server->tools = NULL;
    server->loop = NULL;
    if (server->conf->auth) {
        ac_credential_child_exit(server->conf->auth);
    }
}

json_t *ac_mcp_upstream_mask_token(const ac_mcp_upstream_t *server, json_t *value)
{
    ac_credential_t *auth = server->conf->auth;
    const char *token = auth && !ac_credential_first(auth) ? ac_credential_now(auth, server->scope) : NULL;
    apr_pool_t *p;
    if (!token || apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return value;
    }
    value = ac_tool_mask_json(ac_tool_mask_secret(token, p), value);
    apr_pool_destroy(p);
    return value;
}

void ac_mcp_upstream_state(const ac_mcp_upstream_t *server, ac_mcp_state_t *state)
{
    bool failed = server->err.kind != AC_OK;
    *state = (ac_mcp_state_t){
        .state = failed     ? "failed"
            : server->tools ? "ok"
                            : "unknown",
        .protocol = !server->known ? ""
            : server->modern       ? AC_MCP_MODERN
                                   : server->session.version,
        .n_tools = server->tools ? server->tools->n : 0,
        .n_left_out = server->tools ? server->tools->n_left_out : 0,
        .err = server->err,
    };
}
