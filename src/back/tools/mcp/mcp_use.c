/* SPDX-License-Identifier: Apache-2.0 */
/* What one run uses of a server: the tools of the newest list when it began, and a session. The session of a server
 * that has sessions may hold what a user has done, so runs do not share it. */
#include "mcp_internal.h"

#include <apr_strings.h>

static void bind_tool(ac_mcp_bound_t *bound, ac_mcp_use_t *use, const ac_mcp_entry_t *entry)
{
    bound->use = use;
    bound->entry = entry;
    apr_cpystrn(bound->id, entry->tool.id, sizeof bound->id);
    bound->tool = (ac_tool_t){
        .id = bound->id,
        .description = entry->tool.description,
        .parameters = entry->tool.parameters,
        .vt = &ac_mcp_tool_call_vt,
        .self = bound,
        .conf = &entry->conf,
        .metric = use->server->metric,
        .source = entry->source,
    };
}

static bool use_want(void *self, ac_tool_waiter_t *waiter)
{
    return ac_mcp_list_want(self, waiter);
}

static void *use_open(void *self, const ac_err_t **perr)
{
    ac_mcp_upstream_t *server = self;
    ac_mcp_tools_t *tools = server->tools;
    *perr = &server->err;
    if (!tools) {
        return NULL;
    }
    ac_mcp_use_t *use = ac_alloc(sizeof *use + (size_t)tools->n * sizeof use->list[0]);
    use->server = server;
    use->tools = ac_mcp_list_ref(tools);
    ac_mcp_upstream_session_init(&use->session, server);
    use->n = tools->n;
    for (int i = 0; i < use->n; i++) {
        bind_tool(&use->list[i], use, &tools->list[i]);
    }
    return use;
}

static void use_close(void *self)
{
    ac_mcp_use_t *use = self;
    ac_mcp_upstream_session_close(&use->session);
    ac_mcp_list_unref(use->tools);
    free(use);
}

static int use_count(const void *self)
{
    return ((const ac_mcp_use_t *)self)->n;
}

static const ac_tool_t *use_tool(void *self, int i)
{
    return &((ac_mcp_use_t *)self)->list[i].tool;
}

static void use_rename(void *self, int i)
{
    ac_mcp_use_t *use = self;
    ac_mcp_bound_t *bound = &use->list[i];
    ac_tool_name_hash(bound->id, use->server->prefix, bound->entry->tool.name, use->server->conf->id);
}

const ac_tool_source_vt ac_mcp_use_source = {use_want, use_open, use_close, use_count, use_tool, use_rename};

void ac_mcp_use_adopt(ac_mcp_use_t *use, const ac_mcp_elicitation_t *elicitation)
{
    ac_mcp_upstream_session_t *session = ac_mcp_use_session(use);
    ac_mcp_upstream_session_adopt(session, elicitation->session, elicitation->version);
    session->asks = false;
    if (use->server->last_id < elicitation->request) {
        use->server->last_id = elicitation->request;
    }
}

ac_mcp_upstream_session_t *ac_mcp_use_session(ac_mcp_use_t *use)
{
    bool shared = use->server->conf->shared_session || (use->server->session.open && !use->server->session.id);
    return shared ? &use->server->session : &use->session;
}
