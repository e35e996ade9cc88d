/* SPDX-License-Identifier: Apache-2.0 */
/* A message of JSON-RPC 2.0, and the version of the protocol that it speaks, which each message says for itself. The
 * envelope is read strictly; members that are not known are ignored. Modern messages have header fields that repeat
 * what the body says, so that proxies need not read it. */
#include "mcp_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_base64.h"
#include "apr_lib.h"
#include "apr_strings.h"

#define META "io.modelcontextprotocol/"
#define MARKER "=?base64?" /* before the value of a header field that is no plain text; "?=" after it */

bool ac_mcp_envelope_refuse(ac_mcp_envelope_t *message, int status, int code, const char *fmt, ...)
{
    va_list args;
    message->error.status = status;
    message->error.code = code;
    va_start(args, fmt);
    vsnprintf(message->error.text, sizeof(message->error.text), fmt, args);
    va_end(args);
    return false;
}

bool ac_mcp_envelope_token(char text[AC_MCP_ID_SIZE], const json_t *value)
{
    size_t len = 0;
    char *dumped = json_is_string(value) || json_is_integer(value) ? ac_json_dump(value, &len) : NULL;
    bool fits = dumped && len < AC_MCP_ID_SIZE;
    if (fits) {
        memcpy(text, dumped, len + 1);
    }
    free(dumped);
    return fits;
}

/* ---- the envelope ---- */

static bool refuse_envelope(ac_mcp_envelope_t *message, const char *why)
{
    return ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_REQUEST, "%s", why);
}

static bool mcp_envelope_read_id(ac_mcp_envelope_t *message, const json_t *body)
{
    message->id_value = json_object_get(body, "id");
    message->kind = message->id_value ? AC_MCP_REQUEST : AC_MCP_NOTIFICATION;
    if (!message->id_value || ac_mcp_envelope_token(message->id, message->id_value)) {
        return true;
    }
    message->id_value = NULL;
    return refuse_envelope(message, "id must be a string or an integer, and at most 255 bytes as JSON");
}

static bool read_params(ac_mcp_envelope_t *message, const json_t *body)
{
    const json_t *params = json_object_get(body, "params");
    if (params && !json_is_object(params)) {
        return ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_PARAMS, "params must be an object");
    }
    message->params = params;
    message->meta = json_object_get(params, "_meta");
    if (message->meta && !json_is_object(message->meta)) {
        return ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_PARAMS, "_meta must be an object");
    }
    const json_t *progress = json_object_get(message->meta, "progressToken");
    if (progress && !ac_mcp_envelope_token(message->progress, progress)) {
        return ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_PARAMS,
                                      "progressToken must be a string or an integer, and at most 255 bytes as JSON");
    }
    return true;
}

static bool read_envelope(ac_mcp_envelope_t *message, const json_t *body)
{
    const json_t *method = json_object_get(body, "method");
    if (!json_is_object(body)) {
        return refuse_envelope(message, "the body must be one message, which is an object; batches are not taken");
    }
    if (!mcp_envelope_read_id(message, body)) {
        return false;
    }
    if (strcmp(ac_json_peek_string(body, "jsonrpc", ""), "2.0") != 0) {
        return refuse_envelope(message, "jsonrpc must be \"2.0\"");
    }
    message->result = json_object_get(body, "result");
    if (!method && (message->result || json_object_get(body, "error"))) {
        message->kind = message->result ? AC_MCP_RESULT : AC_MCP_ERROR;
        return true;
    }
    if (!json_is_string(method)) {
        return refuse_envelope(message, "method must be a string");
    }
    message->method = json_string_value(method);
    return read_params(message, body);
}

/* ---- the version ---- */

/* "2026-07-28" */
static bool is_date(const char *text)
{
    for (size_t i = 0; i < sizeof(AC_MCP_MODERN) - 1; i++) {
        if (AC_MCP_MODERN[i] == '-' ? text[i] != '-' : !apr_isdigit(text[i])) {
            return false;
        }
    }
    return !text[sizeof(AC_MCP_MODERN) - 1];
}

static bool is_modern(const ac_mcp_envelope_t *message, const ac_mcp_headers_t *headers)
{
    return json_object_get(message->meta, META "protocolVersion") ||
        (headers->version && is_date(headers->version) && strcmp(headers->version, AC_MCP_MODERN) >= 0);
}

bool ac_mcp_envelope_knows(const char *version)
{
    static const char *const known[] = {"2025-03-26", "2025-06-18", "2025-11-25"};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (strcmp(version, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Another code would tell a client that the server is modern. */
static bool check_legacy(ac_mcp_envelope_t *message, const ac_mcp_headers_t *headers)
{
    return !headers->version || ac_mcp_envelope_knows(headers->version) ||
        ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_REFUSED,
                               "MCP-Protocol-Version is not known; versions are 2025-03-26, 2025-06-18, 2025-11-25 "
                               "and " AC_MCP_MODERN);
}

/* ---- modern messages ---- */

static bool check_meta(ac_mcp_envelope_t *message)
{
    return (json_is_string(json_object_get(message->meta, META "protocolVersion")) &&
            json_is_object(json_object_get(message->meta, META "clientCapabilities"))) ||
        ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_PARAMS,
                               "params._meta must have the string " META "protocolVersion and the object " META
                               "clientCapabilities");
}

/* Whether a header field has this value, as it is or encoded. */
static bool is_value(const char *header, const char *value)
{
    size_t marker = sizeof(MARKER) - 1, len = strlen(value);
    if (strncmp(header, MARKER, marker) != 0) {
        return strcmp(header, value) == 0;
    }
    char *encoded = ac_alloc((size_t)apr_base64_encode_len((int)len));
    apr_base64_encode(encoded, value, (int)len);
    size_t n = strlen(encoded);
    bool same = strncmp(header + marker, encoded, n) == 0 && strcmp(header + marker + n, "?=") == 0;
    free(encoded);
    return same;
}

static bool mcp_envelope_check_header(ac_mcp_envelope_t *message, const char *name, const char *header,
                                      const char *value)
{
    return (header && is_value(header, value)) ||
        ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_HEADER_MISMATCH,
                               "the header field %s must be there and say the same as the body", name);
}

static bool check_headers(ac_mcp_envelope_t *message, const ac_mcp_headers_t *headers)
{
    const char *name = ac_json_peek_string(message->params, "name", NULL);
    return mcp_envelope_check_header(message, "MCP-Protocol-Version", headers->version,
                                     ac_json_peek_string(message->meta, META "protocolVersion", "")) &&
        mcp_envelope_check_header(message, "Mcp-Method", headers->method, message->method) &&
        (strcmp(message->method, "tools/call") != 0 || !name ||
         mcp_envelope_check_header(message, "Mcp-Name", headers->name, name));
}

static bool check_version(ac_mcp_envelope_t *message)
{
    const char *version = ac_json_peek_string(message->meta, META "protocolVersion", "");
    if (strcmp(version, AC_MCP_MODERN) == 0) {
        return true;
    }
    message->error.requested = version;
    return ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_UNSUPPORTED_VERSION,
                                  "this version of the protocol is not supported");
}

bool ac_mcp_envelope_read(ac_mcp_envelope_t *message, const json_t *body, const ac_mcp_headers_t *headers)
{
    memset(message, 0, sizeof(*message));
    apr_cpystrn(message->id, "null", sizeof(message->id));
    if (!read_envelope(message, body)) {
        return false;
    }
    message->modern = is_modern(message, headers);
    if (message->kind != AC_MCP_REQUEST) {
        return message->modern || check_legacy(message, headers);
    }
    return message->modern ? check_meta(message) && check_headers(message, headers) && check_version(message)
                           : check_legacy(message, headers);
}
