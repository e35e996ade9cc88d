/* SPDX-License-Identifier: Apache-2.0 */
/* A message to POST /mcp: what is read of it, which version it speaks, and each way to be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/mcp/mcp_envelope.c"
#include "mcp_json.h"
/* clang-format on */

#define VERSION "'" META "protocolVersion':'2026-07-28'"
#define MODERN "'_meta':{" VERSION ",'" META "clientCapabilities':{}}"
#define CALL(params) "{'jsonrpc':'2.0','id':1,'method':'tools/call','params':{" params "}}"
#define LIST(params) "{'jsonrpc':'2.0','id':1,'method':'tools/list','params':{" params "}}"

static const ac_mcp_headers_t none = {NULL, NULL, NULL};

static void test_messages(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        ac_mcp_message_e kind;
        const char *id, *method, *progress;
    } cases[] = {
        {"{'jsonrpc':'2.0','id':1,'method':'ping'}", AC_MCP_REQUEST, "1", "ping", ""},
        {"{'jsonrpc':'2.0','id':'a\\u00e9','method':'ping'}", AC_MCP_REQUEST, "\"a\u00e9\"", "ping", ""},
        {"{'jsonrpc':'2.0','id':-7,'method':'','more':[]}", AC_MCP_REQUEST, "-7", "", ""},
        {"{'jsonrpc':'2.0','method':'notifications/cancelled'}", AC_MCP_NOTIFICATION, "null", "notifications/cancelled",
         ""},
        {"{'jsonrpc':'2.0','id':1,'result':{}}", AC_MCP_RESULT, "1", NULL, ""},
        {"{'jsonrpc':'2.0','id':1,'error':{}}", AC_MCP_ERROR, "1", NULL, ""},
        {"{'jsonrpc':'2.0','id':1,'method':'ping','result':{}}", AC_MCP_REQUEST, "1", "ping", ""},
        {LIST("'_meta':{'progressToken':'t'}"), AC_MCP_REQUEST, "1", "tools/list", "\"t\""},
        {LIST("'_meta':{'progressToken':9}"), AC_MCP_REQUEST, "1", "tools/list", "9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_mcp_envelope_t message;
        json_t *body = load(cases[i].body);
        assert_true(ac_mcp_envelope_read(&message, body, &none));
        assert_int_equal(message.kind, cases[i].kind);
        assert_false(message.modern);
        assert_string_equal(message.id, cases[i].id);
        assert_string_equal(message.progress, cases[i].progress);
        assert_string_equal(message.method ? message.method : "none", cases[i].method ? cases[i].method : "none");
        json_decref(body);
    }
}

static void test_messages_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int code;
        const char *id;
    } cases[] = {
        {"[]", AC_MCP_INVALID_REQUEST, "null"},
        {"[{'jsonrpc':'2.0','id':1,'method':'ping'}]", AC_MCP_INVALID_REQUEST, "null"},
        {"'ping'", AC_MCP_INVALID_REQUEST, "null"},
        {"{}", AC_MCP_INVALID_REQUEST, "null"},
        {"{'jsonrpc':'1.0','id':1,'method':'ping'}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'jsonrpc':2.0,'id':1,'method':'ping'}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'id':1,'method':'ping'}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'jsonrpc':'2.0','id':null,'method':'ping'}", AC_MCP_INVALID_REQUEST, "null"},
        {"{'jsonrpc':'2.0','id':1.5,'method':'ping'}", AC_MCP_INVALID_REQUEST, "null"},
        {"{'jsonrpc':'2.0','id':{},'method':'ping'}", AC_MCP_INVALID_REQUEST, "null"},
        {"{'jsonrpc':'2.0','id':1}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'jsonrpc':'2.0','id':1,'method':7}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'jsonrpc':'2.0','id':1,'method':null,'params':{}}", AC_MCP_INVALID_REQUEST, "1"},
        {"{'jsonrpc':'2.0','id':1,'method':'ping','params':[]}", AC_MCP_INVALID_PARAMS, "1"},
        {"{'jsonrpc':'2.0','id':1,'method':'ping','params':null}", AC_MCP_INVALID_PARAMS, "1"},
        {LIST("'_meta':7"), AC_MCP_INVALID_PARAMS, "1"},
        {LIST("'_meta':{'progressToken':1.5}"), AC_MCP_INVALID_PARAMS, "1"},
        {LIST("'_meta':{'progressToken':{}}"), AC_MCP_INVALID_PARAMS, "1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_mcp_envelope_t message;
        json_t *body = load(cases[i].body);
        if (ac_mcp_envelope_read(&message, body, &none)) {
            fail_msg("%s was taken", cases[i].body);
        }
        assert_int_equal(message.error.code, cases[i].code);
        assert_int_equal(message.error.status, HTTP_BAD_REQUEST);
        assert_string_equal(message.id, cases[i].id);
        json_decref(body);
    }
}

static void test_the_length_of_an_id(void **state)
{
    (void)state;
    char text[AC_MCP_ID_SIZE + 8];
    memset(text, 'x', sizeof(text));
    for (size_t len = AC_MCP_ID_SIZE - 5; len < AC_MCP_ID_SIZE + 2; len++) {
        ac_mcp_envelope_t message;
        json_t *body = json_pack("{s:s, s:s%, s:s}", "jsonrpc", "2.0", "id", text, len, "method", "ping");
        bool taken = ac_mcp_envelope_read(&message, body, &none);
        assert_int_equal(taken, len + 2 < AC_MCP_ID_SIZE); /* with its quotes and the end */
        assert_int_equal(strlen(message.id), taken ? len + 2 : strlen("null"));
        json_decref(body);
    }
}

/* One row for each way in which body and header fields can go together. code 0: taken. */
static void test_versions(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        ac_mcp_headers_t headers;
        bool modern;
        int code;
    } cases[] = {
        {LIST(""), {NULL, NULL, NULL}, false, 0},
        {LIST(""), {"2025-03-26", NULL, NULL}, false, 0},
        {LIST(""), {"2025-11-25", "else", "else"}, false, 0},
        {LIST(""), {"2024-11-05", NULL, NULL}, false, AC_MCP_REFUSED},
        {LIST(""), {"", NULL, NULL}, false, AC_MCP_REFUSED},
        {LIST(""), {"latest", NULL, NULL}, false, AC_MCP_REFUSED},
        {LIST(""), {"2026-07-28x", NULL, NULL}, false, AC_MCP_REFUSED},
        {LIST(""), {"2026-07-28", "tools/list", NULL}, true, AC_MCP_INVALID_PARAMS},
        {LIST("'_meta':{" VERSION "}"), {"2026-07-28", "tools/list", NULL}, true, AC_MCP_INVALID_PARAMS},
        {LIST("'_meta':{" VERSION ",'" META "clientCapabilities':[]}"),
         {"2026-07-28", "tools/list", NULL},
         true,
         AC_MCP_INVALID_PARAMS},
        {LIST("'_meta':{'" META "protocolVersion':7,'" META "clientCapabilities':{}}"),
         {"2026-07-28", "tools/list", NULL},
         true,
         AC_MCP_INVALID_PARAMS},
        {LIST(MODERN), {"2026-07-28", "tools/list", NULL}, true, 0},
        {LIST(MODERN), {NULL, "tools/list", NULL}, true, AC_MCP_HEADER_MISMATCH},
        {LIST(MODERN), {"2025-11-25", "tools/list", NULL}, true, AC_MCP_HEADER_MISMATCH},
        {LIST(MODERN), {"2026-07-28", NULL, NULL}, true, AC_MCP_HEADER_MISMATCH},
        {LIST(MODERN), {"2026-07-28", "TOOLS/LIST", NULL}, true, AC_MCP_HEADER_MISMATCH},
        {CALL(MODERN ",'name':'ask'"), {"2026-07-28", "tools/call", "ask"}, true, 0},
        {CALL(MODERN ",'name':'ask'"), {"2026-07-28", "tools/call", NULL}, true, AC_MCP_HEADER_MISMATCH},
        {CALL(MODERN ",'name':'ask'"), {"2026-07-28", "tools/call", "else"}, true, AC_MCP_HEADER_MISMATCH},
        {CALL(MODERN ",'name':'ask'"), {"2026-07-28", "tools/call", "=?base64?YXNr?="}, true, 0},
        {CALL(MODERN ",'name':'ask'"), {"2026-07-28", "tools/call", "=?base64?YXNr"}, true, AC_MCP_HEADER_MISMATCH},
        {CALL(MODERN ",'name':'ask'"),
         {"2026-07-28", "tools/call", "=?base64?YXNrZQ==?="},
         true,
         AC_MCP_HEADER_MISMATCH},
        {CALL(MODERN ",'name':'f\u00fcr'"), {"2026-07-28", "tools/call", "=?base64?ZsO8cg==?="}, true, 0},
        {CALL(MODERN), {"2026-07-28", "tools/call", NULL}, true, 0}, /* the method says that the name is missing */
        {LIST("'_meta':{'" META "protocolVersion':'2027-01-01','" META "clientCapabilities':{}}"),
         {"2027-01-01", "tools/list", NULL},
         true,
         AC_MCP_UNSUPPORTED_VERSION},
        {"{'jsonrpc':'2.0','method':'notifications/cancelled'}", {"2026-07-28", NULL, NULL}, true, 0},
        {"{'jsonrpc':'2.0','id':1,'result':{}}", {"1999-01-01", NULL, NULL}, false, AC_MCP_REFUSED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_mcp_envelope_t message;
        json_t *body = load(cases[i].body);
        bool taken = ac_mcp_envelope_read(&message, body, &cases[i].headers);
        if (taken != (cases[i].code == 0) || message.error.code != cases[i].code || message.modern != cases[i].modern) {
            fail_msg("case %zu: %d %s", i, message.error.code, message.error.text);
        }
        assert_int_equal(message.error.requested != NULL, cases[i].code == AC_MCP_UNSUPPORTED_VERSION);
        json_decref(body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_messages_that_are_refused),
        cmocka_unit_test(test_the_length_of_an_id),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests_name("mcp envelope", tests, NULL, NULL);
}
