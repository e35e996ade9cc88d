/* SPDX-License-Identifier: Apache-2.0 */
/* JSON-RPC as MCP uses it: reads what a server sends, writes what this client sends. */
#include "wire/mcp.h"

#include <string.h>

#define META "io.modelcontextprotocol/"

/* ---- reading ---- */

static bool mcp_message_is_id(const json_t *id)
{
    return json_is_string(id) || json_is_integer(id);
}

static bool take_members(ac_mcp_message_t *message)
{
    const json_t *document = message->document, *error = json_object_get(document, "error");
    const json_t *id = json_object_get(document, "id");
    message->id = mcp_message_is_id(id) ? id : NULL;
    message->method = ac_json_peek_string(document, "method", NULL);
    message->params = json_object_get(document, "params");
    message->result = json_object_get(document, "result");
    message->text = ac_json_peek_string(error, "message", "");
    message->code = ac_json_peek_int(error, "code", 0);
    message->data = json_object_get(error, "data");
    if (message->method) {
        message->type = message->id ? AC_MCP_REQUEST : AC_MCP_NOTIFICATION;
        return true;
    }
    message->type = json_is_object(error) ? AC_MCP_ERROR : AC_MCP_RESULT;
    return json_is_object(error) || (message->id && json_is_object(message->result));
}

bool ac_mcp_message_read(ac_mcp_message_t *message, const char *text, size_t len)
{
    memset(message, 0, sizeof *message);
    message->document = json_loadb(text, len, 0, NULL);
    if (json_is_object(message->document) && !ac_json_is_deeper(message->document, AC_MAX_MCP_DEPTH) &&
        strcmp(ac_json_peek_string(message->document, "jsonrpc", ""), "2.0") == 0 && take_members(message)) {
        return true;
    }
    ac_mcp_message_free(message);
    return false;
}

void ac_mcp_message_free(ac_mcp_message_t *message)
{
    json_decref(message->document);
    memset(message, 0, sizeof *message);
}

bool ac_mcp_message_answers(const ac_mcp_message_t *message, int64_t id)
{
    return (message->type == AC_MCP_RESULT || message->type == AC_MCP_ERROR) && json_is_integer(message->id) &&
        json_integer_value(message->id) == id;
}

/* ---- writing ---- */

static json_t *new_message(const char *method)
{
    json_t *message = json_object();
    ac_json_put(message, "jsonrpc", json_string("2.0"));
    if (method) {
        ac_json_put(message, "method", json_string(method));
    }
    return message;
}

static char *mcp_message_text(json_t *message)
{
    char *text = ac_json_dump(message, NULL);
    json_decref(message);
    return text;
}

char *ac_mcp_message_request(int64_t id, const char *method, json_t *params)
{
    json_t *message = new_message(method);
    ac_json_put(message, "id", json_integer(id));
    if (params) {
        ac_json_put(message, "params", params);
    }
    return mcp_message_text(message);
}

char *ac_mcp_message_notification(const char *method, json_t *params)
{
    json_t *message = new_message(method);
    if (params) {
        ac_json_put(message, "params", params);
    }
    return mcp_message_text(message);
}

char *ac_mcp_message_response(const json_t *id, json_t *result)
{
    json_t *message = new_message(NULL);
    ac_json_put(message, "id", json_incref((json_t *)id));
    if (result) {
        ac_json_put(message, "result", result);
    } else {
        ac_json_put(message, "error",
                    json_pack("{s:i, s:s}", "code", AC_MCP_METHOD_NOT_FOUND, "message", "not supported"));
    }
    return mcp_message_text(message);
}

static json_t *client_info(void)
{
    return json_pack("{s:s, s:s}", "name", "mod_agentchat", "version", AC_VERSION);
}

json_t *ac_mcp_message_meta(const char *version, bool elicits, const ac_trace_t *trace)
{
    json_t *meta = json_object();
    char traceparent[AC_TRACEPARENT_SIZE] = "";
    ac_json_put(meta, META "protocolVersion", json_string(version));
    ac_json_put(meta, META "clientInfo", client_info());
    ac_json_put(meta, META "clientCapabilities",
                elicits ? json_pack("{s:{s:{}}}", "elicitation", "form") : json_object());
    if (trace) {
        ac_trace_format(trace, traceparent);
    }
    if (traceparent[0]) {
        ac_json_put(meta, "traceparent", json_string(traceparent));
    }
    if (traceparent[0] && trace->state && *trace->state) {
        ac_json_put(meta, "tracestate", ac_json_text(trace->state));
    }
    return meta;
}

json_t *ac_mcp_message_initialize(void)
{
    return json_pack("{s:s, s:{s:{}}, s:o}", "protocolVersion", AC_MCP_LEGACY, "capabilities", "elicitation",
                     "clientInfo", client_info());
}

bool ac_mcp_message_is_legacy(const char *version)
{
    static const char *const versions[] = {AC_MCP_LEGACY, "2025-06-18", "2025-03-26"};
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        if (strcmp(versions[i], version) == 0) {
            return true;
        }
    }
    return false;
}
