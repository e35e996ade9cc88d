/* SPDX-License-Identifier: Apache-2.0 */
/* POST /mcp: one message of JSON-RPC. */
#include "mcp_internal.h"

#include <string.h>

#include "apr_strings.h"

#define INSTRUCTIONS \
    "Each tool asks one agent of this server. A result has a thread_id, with which the same agent continues the " \
    "conversation."
#define DISCOVERY_LIFE (60 * 60 * 1000) /* milliseconds */

typedef int method_fn(ac_request_t *rq, ac_mcp_envelope_t *message);

static json_t *capabilities(void)
{
    return json_pack("{s:{}}", "tools");
}

static int initialize(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    const char *wanted = ac_json_peek_string(message->params, "protocolVersion", "");
    char session[AC_ID_SIZE];
    ac_mcp_session_make(session, ac_mcp_session_can_elicit(json_object_get(message->params, "capabilities")));
    apr_table_setn(rq->r->headers_out, "Mcp-Session-Id", apr_pstrdup(rq->r->pool, session));
    return ac_mcp_problem_result(rq, message,
                                 json_pack("{s:s, s:o, s:{s:s, s:s}, s:s}", "protocolVersion",
                                           ac_mcp_envelope_knows(wanted) ? wanted : AC_MCP_LEGACY, "capabilities",
                                           capabilities(), "serverInfo", "name", "mod_agentchat", "version", AC_VERSION,
                                           "instructions", INSTRUCTIONS));
}

static int mcp_server_ping(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    return ac_mcp_problem_result(rq, message, json_object());
}

static int discover(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    return ac_mcp_problem_result(rq, message,
                                 json_pack("{s:[s], s:o, s:s, s:i, s:s}", "supportedVersions", AC_MCP_MODERN,
                                           "capabilities", capabilities(), "instructions", INSTRUCTIONS, "ttlMs",
                                           DISCOVERY_LIFE, "cacheScope", "public"));
}

typedef struct method_t {
    const char *name;
    bool legacy, modern; /* which versions have it */
    method_fn *fn;
} method_t;
static const method_t methods[] = {
    {"initialize", true, false, initialize},       {"ping", true, false, mcp_server_ping},
    {"server/discover", false, true, discover},    {"tools/list", true, true, ac_mcp_tools_list},
    {"tools/call", true, true, ac_mcp_call_start},
};

static int mcp_server_call(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        const method_t *method = &methods[i];
        if ((message->modern ? method->modern : method->legacy) && strcmp(method->name, message->method) == 0) {
            return method->fn(rq, message);
        }
    }
    /* A legacy client takes 404 for the end of its session. */
    ac_mcp_envelope_refuse(message, message->modern ? HTTP_NOT_FOUND : HTTP_OK, AC_MCP_METHOD_NOT_FOUND,
                           "there is no such method");
    return ac_mcp_problem_refusal(rq, message);
}

int ac_mcp_server_post(ac_request_t *rq)
{
    const apr_table_t *in = rq->r->headers_in;
    ac_mcp_headers_t headers = {apr_table_get(in, "MCP-Protocol-Version"), apr_table_get(in, "Mcp-Method"),
                                apr_table_get(in, "Mcp-Name")};
    ac_mcp_envelope_t *message = apr_palloc(rq->r->pool, sizeof(*message));
    if (ac_request_body(rq, true) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (!ac_mcp_envelope_read(message, rq->body, &headers)) {
        return ac_mcp_problem_refusal(rq, message);
    }
    if (message->kind == AC_MCP_RESULT || message->kind == AC_MCP_ERROR) {
        return ac_mcp_approval_answer(rq, message);
    }
    if (message->kind == AC_MCP_NOTIFICATION) {
        return strcmp(message->method, "notifications/cancelled") == 0 ? ac_mcp_call_cancel(rq, message)
                                                                       : ac_reply_empty(rq, HTTP_ACCEPTED);
    }
    ac_mcp_view_t *view = ac_request_view_make(rq, sizeof(*view));
    memcpy(view->id, message->id, sizeof(view->id));
    memcpy(view->progress, message->progress, sizeof(view->progress));
    view->modern = message->modern;
    return mcp_server_call(rq, message);
}
