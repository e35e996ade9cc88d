/* SPDX-License-Identifier: Apache-2.0 */
/* MCP as bytes: messages, tools, their names and headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_json.h"
#include "wire/wire.h"

/* ---- messages ---- */

static bool read_message(ac_mcp_message_t *message, const char *text)
{
    char *copy = quoted(text);
    bool read = ac_mcp_message_read(message, copy, strlen(copy));
    free(copy);
    return read;
}

static void test_messages_by_their_kind(void **state)
{
    (void)state;
    ac_mcp_message_t message;
    assert_true(read_message(&message, "{'jsonrpc':'2.0','id':7,'result':{'a':1}}"));
    assert_int_equal(message.type, AC_MCP_RESULT);
    assert_true(ac_mcp_message_answers(&message, 7));
    assert_false(ac_mcp_message_answers(&message, 8));
    assert_int_equal(ac_json_peek_int(message.result, "a", 0), 1);
    ac_mcp_message_free(&message);

    assert_true(read_message(&message, "{'jsonrpc':'2.0','id':7,'error':{'code':-32602,'message':'no','data':[]}}"));
    assert_int_equal(message.type, AC_MCP_ERROR);
    assert_int_equal(message.code, AC_MCP_INVALID_PARAMS);
    assert_string_equal(message.text, "no");
    assert_non_null(message.data);
    ac_mcp_message_free(&message);

    /* an error before the id could be read */
    assert_true(read_message(&message, "{'jsonrpc':'2.0','id':null,'error':{'code':'x'}}"));
    assert_int_equal(message.type, AC_MCP_ERROR);
    assert_false(ac_mcp_message_answers(&message, 0));
    ac_mcp_message_free(&message);

    assert_true(read_message(&message, "{'jsonrpc':'2.0','id':'a','method':'ping'}"));
    assert_int_equal(message.type, AC_MCP_REQUEST);
    assert_string_equal(message.method, "ping");
    ac_mcp_message_free(&message);

    assert_true(read_message(&message, "{'jsonrpc':'2.0','method':'notifications/progress','params':{}}"));
    assert_int_equal(message.type, AC_MCP_NOTIFICATION);
    assert_non_null(message.params);
    ac_mcp_message_free(&message);
}

static void test_what_is_no_message(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "7",
        "{'jsonrpc':'1.0','id':1,'result':{}}",
        "{'jsonrpc':'2.0','id':1}",
        "{'jsonrpc':'2.0','result':{}}",
        "{'jsonrpc':'2.0','id':1.5,'result':{}}",
        "{'jsonrpc':'2.0','id':1,'result':7}",
        "{'jsonrpc':'2.0','id':1,'error':'no'}",
        "{'jsonrpc':'2.0','id':1,'result':{}} x",
        "<html>",
    };
    ac_mcp_message_t message;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (read_message(&message, texts[i])) {
            fail_msg("%s counts as a message", texts[i]);
        }
        assert_null(message.document);
    }
    char deep[512] = "{'jsonrpc':'2.0','id':1,'result':{'a':";
    size_t len = strlen(deep);
    memset(deep + len, '[', 65);
    memset(deep + len + 65, ']', 65);
    memcpy(deep + len + 130, "}}", 3);
    assert_false(read_message(&message, deep));
}

static void assert_text(char *text, const char *expected)
{
    assert_non_null(text);
    assert_json(load(text), expected);
    free(text);
}

static void test_messages_written(void **state)
{
    (void)state;
    json_t *id = json_string("s");
    assert_text(ac_mcp_message_request(3, "tools/list", NULL), "{'jsonrpc':'2.0','id':3,'method':'tools/list'}");
    assert_text(ac_mcp_message_notification("n", json_object()), "{'jsonrpc':'2.0','method':'n','params':{}}");
    assert_text(ac_mcp_message_response(id, json_object()), "{'jsonrpc':'2.0','id':'s','result':{}}");
    assert_text(ac_mcp_message_response(id, NULL),
                "{'jsonrpc':'2.0','id':'s','error':{'code':-32601,'message':'not supported'}}");
    json_decref(id);
    ac_trace_t trace = {.trace_id = "0af7651916cd43dd8448eb211c80319c",
                        .span_id = "b7ad6b7169203331",
                        .sampled = true,
                        .state = "a=b"};
    assert_json(ac_mcp_message_meta(AC_MCP_MODERN, true, &trace),
                "{'io.modelcontextprotocol/protocolVersion':'2026-07-28',"
                "'io.modelcontextprotocol/clientInfo':{'name':'mod_agentchat','version':'" AC_VERSION "'},"
                "'io.modelcontextprotocol/clientCapabilities':{'elicitation':{'form':{}}},"
                "'traceparent':'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01','tracestate':'a=b'}");
    json_t *meta = ac_mcp_message_meta(AC_MCP_MODERN, false, NULL);
    assert_null(json_object_get(meta, "traceparent"));
    assert_int_equal(json_object_size(json_object_get(meta, "io.modelcontextprotocol/clientCapabilities")), 0);
    json_decref(meta);
    assert_json(
        ac_mcp_message_initialize(),
        "{'protocolVersion':'2025-11-25','capabilities':{'elicitation':{}},'clientInfo':{'name':'mod_agentchat',"
        "'version':'" AC_VERSION "'}}");
    assert_true(ac_mcp_message_is_legacy("2025-06-18"));
    assert_false(ac_mcp_message_is_legacy("2024-11-05"));
    assert_false(ac_mcp_message_is_legacy(AC_MCP_MODERN));
}

/* ---- tools ---- */

static void test_a_tool(void **state)
{
    (void)state;
    ac_mcp_tool_t tool;
    json_t *entry = load("{'name':'get.it','title':'T','description':'De\\u200bscription','inputSchema':{},"
                         "'annotations':{'readOnlyHint':true,'destructiveHint':true}}");
    assert_null(ac_mcp_tool_read(&tool, entry, true));
    assert_string_equal(tool.name, "get.it");
    assert_string_equal(tool.description, "Description");
    assert_true(tool.read_only && tool.idempotent && !tool.destructive);
    assert_null(tool.headers);
    ac_mcp_tool_free(&tool);
    json_decref(entry);

    /* a server that says nothing about a tool */
    entry = load("{'name':'x','annotations':{'title':'Title','readOnlyHint':1},'inputSchema':{}}");
    assert_null(ac_mcp_tool_read(&tool, entry, false));
    assert_string_equal(tool.description, "Title");
    assert_true(tool.destructive && !tool.read_only && !tool.idempotent);
    ac_mcp_tool_free(&tool);
    json_decref(entry);

    entry = load("{'name':'x','annotations':{'destructiveHint':false,'idempotentHint':true},'inputSchema':{}}");
    assert_null(ac_mcp_tool_read(&tool, entry, false));
    assert_true(!tool.destructive && !tool.read_only && tool.idempotent);
    ac_mcp_tool_free(&tool);
    json_decref(entry);
}

static void test_tools_that_cannot_be_used(void **state)
{
    (void)state;
    static const char *const entries[] = {
        "{}",
        "7",
        "{'name':'','inputSchema':{}}",
        "{'name':7,'inputSchema':{}}",
        "{'name':'x'}",
        "{'name':'x','inputSchema':{'type':'string'}}",
        "{'name':'x','inputSchema':{'properties':{'a':{'type':'string','x-mcp-header':''}}}}",
    };
    ac_mcp_tool_t tool;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        json_t *entry = load(entries[i]);
        if (!ac_mcp_tool_read(&tool, entry, true)) {
            fail_msg("%s can be used", entries[i]);
        }
        assert_null(tool.name);
        assert_null(tool.parameters);
        json_decref(entry);
    }
}

static void test_a_long_description_is_cut(void **state)
{
    (void)state;
    char text[AC_MAX_TOOL_DESCRIPTION + 100];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    json_t *entry = json_pack("{s:s, s:s, s:{}}", "name", "x", "description", text, "inputSchema");
    ac_mcp_tool_t tool;
    assert_null(ac_mcp_tool_read(&tool, entry, true));
    assert_int_equal(strlen(tool.description), AC_MAX_TOOL_DESCRIPTION + strlen("…"));
    ac_mcp_tool_free(&tool);
    json_decref(entry);
}

/* ---- names ---- */

static void name_all(ac_tool_name_t *tools, const char *const *names, int n, const char *prefix)
{
    memset(tools, 0, (size_t)n * sizeof *tools);
    for (int i = 0; i < n; i++) {
        tools[i].name = names[i];
    }
    ac_tool_name_make(tools, n, prefix);
}

static void test_names_are_legal_and_unique(void **state)
{
    (void)state;
    static const char *const names[] = {"search", "get_it", "get.it", "get it", "gr\xc3\xbc\xc3\x9f", "search"};
    ac_tool_name_t tools[6], other[2];
    name_all(tools, names, 6, "s_");
    assert_string_equal(tools[0].id, "s_search");
    assert_string_equal(tools[1].id, "s_get_it");
    assert_int_equal(strncmp(tools[2].id, "s_get_it_", 9), 0);
    assert_int_equal(strncmp(tools[3].id, "s_get_it_", 9), 0);
    assert_string_not_equal(tools[2].id, tools[3].id);
    assert_string_equal(tools[4].id, "s_gr____");
    assert_string_equal(tools[5].id, "");
    /* the same in another order */
    name_all(other, (const char *const[]){"get.it", "get_it"}, 2, "s_");
    assert_string_equal(other[0].id, tools[2].id);
    assert_string_equal(other[1].id, tools[1].id);
}

static void test_long_names_stay_different(void **state)
{
    (void)state;
    char first[201], second[201];
    memset(first, 'a', 200);
    first[200] = '\0';
    memcpy(second, first, sizeof first);
    second[199] = 'b';
    ac_tool_name_t tools[2];
    name_all(tools, (const char *const[]){first, second}, 2, "");
    assert_int_equal(strlen(tools[0].id), 64);
    assert_int_equal(strlen(tools[1].id), 64);
    assert_string_not_equal(tools[0].id, tools[1].id);
    first[64] = '\0';
    name_all(tools, (const char *const[]){first}, 1, "");
    assert_string_equal(tools[0].id, first);
    char salted[AC_TOOL_NAME_SIZE];
    ac_tool_name_hash(salted, "", "x", "one");
    ac_tool_name_hash(tools[0].id, "", "x", "two");
    assert_string_not_equal(salted, tools[0].id);
}

/* ---- headers ---- */

static void test_annotations_that_are_valid(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *headers; /* NULL: none */
    } cases[] = {
        {"{'properties':{'a':{'type':'string'}}}", NULL},
        {"{'properties':{'a':{'type':'string','x-mcp-header':'A'},'b':{'properties':{'c':{'type':"
         "['integer','null'],'x-mcp-header':'X-c'}}}}}",
         "[{'name':'A','path':['a']},{'name':'X-c','path':['b','c']}]"},
        /* the name of a member, and data */
        {"{'properties':{'x-mcp-header':{'type':'string'},'b':{'default':{'x-mcp-header':'B'}}}}", NULL},
        {"{'items':{'properties':{'x-mcp-header':{'type':'string'}}}}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *schema = load(cases[i].schema), *headers;
        assert_true(ac_mcp_header_find(&headers, schema));
        if (cases[i].headers) {
            assert_json(headers, cases[i].headers);
        } else {
            assert_null(headers);
        }
        json_decref(schema);
    }
}

static void test_annotations_that_are_not_valid(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{'x-mcp-header':'A'}",
        "{'properties':{'a':{'type':'string','x-mcp-header':''}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':7}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'A B'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'A:'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'R\xc3\xa9g'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'A\\r\\nB'}}}",
        "{'properties':{'a':{'type':'number','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'object','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'null','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':['string','integer'],'x-mcp-header':'A'}}}",
        "{'properties':{'a':{'$ref':'#/b','x-mcp-header':'A'}}}",
        "{'properties':{'a':{'type':'string','x-mcp-header':'A'},'b':{'type':'string','x-mcp-header':"
        "'a'}}}",
        "{'properties':{'a':{'items':{'type':'string','x-mcp-header':'A'}}}}",
        "{'anyOf':[{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}]}",
        "{'$defs':{'a':{'type':'string','x-mcp-header':'A'}}}",
        "{'if':{'properties':{'a':{'type':'string','x-mcp-header':'A'}}}}",
    };
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++) {
        json_t *schema = load(schemas[i]), *headers;
        if (ac_mcp_header_find(&headers, schema)) {
            fail_msg("%s is valid", schemas[i]);
        }
        assert_null(headers);
        json_decref(schema);
    }
}

static void assert_line(const char *value, const char *expected)
{
    json_t *entry = load("{'name':'N','path':['a','b']}");
    json_t *arguments = json_pack("{s:{s:o}}", "a", "b", load(value));
    char *line;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_mcp_header_line(&line, entry, arguments, &err), APR_SUCCESS);
    assert_string_equal(line ? line : "none", expected);
    free(line);
    json_decref(entry);
    json_decref(arguments);
}

/* Source: the table "Encoding examples" of the specification, and its rules. */
static void test_values_of_headers(void **state)
{
    (void)state;
    assert_line("'us-west1'", "Mcp-Param-N: us-west1");
    assert_line("'us west 1'", "Mcp-Param-N: us west 1");
    assert_line("''", "Mcp-Param-N: ");
    assert_line("'Hello, \xe4\xb8\x96\xe7\x95\x8c'", "Mcp-Param-N: =?base64?SGVsbG8sIOS4lueVjA==?=");
    assert_line("' padded '", "Mcp-Param-N: =?base64?IHBhZGRlZCA=?=");
    assert_line("'line1\\nline2'", "Mcp-Param-N: =?base64?bGluZTEKbGluZTI=?=");
    assert_line("'\\tindented'", "Mcp-Param-N: =?base64?CWluZGVudGVk?=");
    assert_line("'=?base64?literal?='", "Mcp-Param-N: =?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=");
    assert_line("'=?base64?='", "Mcp-Param-N: =?base64?=");
    assert_line("42", "Mcp-Param-N: 42");
    assert_line("-7", "Mcp-Param-N: -7");
    assert_line("42.0", "Mcp-Param-N: 42");
    assert_line("true", "Mcp-Param-N: true");
    assert_line("false", "Mcp-Param-N: false");
    assert_line("null", "none");
    assert_line("[1]", "none");
    assert_line("{}", "none");
}

static void test_values_that_no_header_can_have(void **state)
{
    (void)state;
    json_t *entry = load("{'name':'N','path':['a']}");
    char long_text[10000];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    json_t *values[] = {json_integer(INT64_C(1) << 53), json_integer(-(INT64_C(1) << 53)), json_real(1.5),
                        json_real(1e300), json_string(long_text)};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        json_t *arguments = json_pack("{s:o}", "a", values[i]);
        char *line;
        ac_err_t err;
        ac_err_init(&err);
        assert_int_not_equal(ac_mcp_header_line(&line, entry, arguments, &err), APR_SUCCESS);
        assert_int_equal(err.kind, AC_TOOL_ERROR);
        assert_null(line);
        json_decref(arguments);
    }
    json_decref(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_by_their_kind),     cmocka_unit_test(test_what_is_no_message),
        cmocka_unit_test(test_messages_written),           cmocka_unit_test(test_a_tool),
        cmocka_unit_test(test_tools_that_cannot_be_used),  cmocka_unit_test(test_a_long_description_is_cut),
        cmocka_unit_test(test_names_are_legal_and_unique), cmocka_unit_test(test_long_names_stay_different),
        cmocka_unit_test(test_annotations_that_are_valid), cmocka_unit_test(test_annotations_that_are_not_valid),
        cmocka_unit_test(test_values_of_headers),          cmocka_unit_test(test_values_that_no_header_can_have),
    };
    return cmocka_run_group_tests_name("mcp wire", tests, NULL, NULL);
}
