/* SPDX-License-Identifier: Apache-2.0 */
/* Responses of JSON-RPC. A request that is refused has an `error`. A call whose run failed, or could not begin, has a
 * result with isError: models read it, and can do something about it. */
#include "mcp_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

/* ---- results ---- */

void ac_mcp_problem_complete(json_t *result)
{
    ac_json_put(result, "resultType", json_string("complete"));
    ac_json_put(result, "_meta",
                json_pack("{s:{s:s, s:s}}", "io.modelcontextprotocol/serverInfo", "name", "mod_agentchat", "version",
                          AC_VERSION));
}

int ac_mcp_problem_result(ac_request_t *rq, const ac_mcp_envelope_t *message, json_t *result)
{
    json_t *response = json_object();
    if (message->modern) {
        ac_mcp_problem_complete(result);
    }
    ac_json_put(response, "jsonrpc", json_string("2.0"));
    ac_json_put(response, "id", json_incref((json_t *)message->id_value));
    ac_json_put(response, "result", result);
    return ac_reply_json(rq, HTTP_OK, response);
}

json_t *ac_mcp_problem_failure(const ac_err_t *err)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    json_t *meta = json_pack("{s:s}", "agentchat/code", row->code);
    if (err->retry_after > 0) {
        ac_json_put(meta, "agentchat/retry_after_ms", json_integer(apr_time_as_msec(err->retry_after)));
    }
    return json_pack("{s:[{s:s, s:o}], s:b, s:o}", "content", "type", "text", "text",
                     json_sprintf("%s%s%s (%s)", err->pointer, err->pointer[0] ? ": " : "",
                                  err->detail[0] ? err->detail : row->title, row->code),
                     "isError", 1, "_meta", meta);
}

/* ---- errors ---- */

int ac_mcp_problem_refusal(ac_request_t *rq, const ac_mcp_envelope_t *message)
{
    json_t *error = json_pack("{s:i, s:s}", "code", message->error.code, "message", message->error.text);
    if (message->error.requested) {
        ac_json_put(error, "data",
                    json_pack("{s:[s], s:o}", "supported", AC_MCP_MODERN, "requested",
                              ac_json_text(message->error.requested)));
    }
    json_t *response = json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", message->id_value, "error", error);
    if (!message->id_value) {
        ac_json_put(response, "id", json_null());
    }
    return ac_reply_json(rq, message->error.status, response);
}

static int mcp_problem_code_of(ac_kind_e kind)
{
    switch (kind) {
    case AC_BAD_JSON: return AC_MCP_PARSE_ERROR;
    case AC_INVALID_REQUEST:
    case AC_METHOD_NOT_ALLOWED:
    case AC_NOT_ACCEPTABLE:
    case AC_BODY_TOO_LARGE:
    case AC_UNSUPPORTED_MEDIA: return AC_MCP_INVALID_REQUEST;
    case AC_INTERNAL: return AC_MCP_INTERNAL;
    default: return AC_MCP_REFUSED;
    }
}

static json_t *mcp_problem_json(const ac_err_t *err, const char *request_id, const void *of_request)
{
    const ac_mcp_view_t *view = of_request;
    const ac_err_row_t *row = ac_err_row(err->kind);
    json_t *id = view ? json_loads(view->id, JSON_DECODE_ANY, NULL) : NULL;
    json_t *response = json_pack("{s:s, s:o}", "jsonrpc", "2.0", "id", id ? id : json_null());
    if (view && view->is_call) {
        json_t *result = ac_mcp_problem_failure(err);
        if (view->modern) {
            ac_json_put(result, "resultType", json_string("complete"));
        }
        ac_json_put(response, "result", result);
        return response;
    }
    ac_json_put(response, "error",
                json_pack("{s:i, s:s, s:{s:s, s:s?}}", "code", mcp_problem_code_of(err->kind), "message",
                          err->detail[0] ? err->detail : row->title, "data", "code", row->code, "request_id",
                          request_id));
    return response;
}

/* Clients show no result whose HTTP status is an error. */
static void mcp_problem_headers(request_rec *r, const ac_err_t *err, bool started)
{
    (void)err;
    (void)started;
    if (apr_table_get(r->notes, AC_MCP_NOTE_CALL)) {
        r->status = HTTP_OK;
    }
}

/* ---- the protocol ---- */

static bool mcp_is_on(const ac_mount_conf_t *mount)
{
    return mount->mcp.on;
}

static ac_protocol_e mcp_id(const char *pattern)
{
    (void)pattern;
    return AC_PROTOCOL_MCP;
}

static const char *const mcp_prefixes[] = {"/mcp", NULL};
const ac_protocol_t ac_mcp_protocol = {.id = mcp_id,
                                       .title = "the Model Context Protocol",
                                       .prefixes = mcp_prefixes,
                                       .is_on = mcp_is_on,
                                       .any_accept = true,
                                       .problem_type = "application/json",
                                       .problem = mcp_problem_json,
                                       .problem_headers = mcp_problem_headers,
                                       .challenge = ac_mcp_resource_challenge};
