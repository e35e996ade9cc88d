/* SPDX-License-Identifier: Apache-2.0 */
/* MCP: every line is a message of a server. Tools must become what models accept, headers one line each, and nothing
 * may be nested too deeply for what is stored. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_pool.h"
#include "wire/wire.h"

#define MAX_TOOLS 16

static void check(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_headers(const ac_mcp_tool_t *tool, const json_t *arguments)
{
    for (size_t i = 0; i < json_array_size(tool->headers); i++) {
        ac_err_t err = {0};
        char *line;
        apr_status_t status = ac_mcp_header_line(&line, json_array_get(tool->headers, i), arguments, &err);
        check((status == APR_SUCCESS) == (err.kind == AC_OK));
        for (const char *at = line ? line : ""; *at; at++) {
            check(*at >= ' ' && *at <= '~');
        }
        free(line);
    }
}

static void check_names(const ac_mcp_tool_t *tools, int n)
{
    ac_tool_name_t names[MAX_TOOLS];
    static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (int i = 0; i < n; i++) {
        names[i].name = tools[i].name;
    }
    ac_tool_name_make(names, n, "server_");
    for (int i = 0; i < n; i++) {
        check(strspn(names[i].id, legal) == strlen(names[i].id) && strlen(names[i].id) <= 64);
        for (int j = 0; j < i; j++) {
            check(!names[i].id[0] || strcmp(names[i].id, names[j].id) != 0);
        }
    }
}

static void check_tools(const json_t *list, const json_t *arguments)
{
    apr_pool_t *p = fuzz_pool();
    ac_mcp_tool_t tools[MAX_TOOLS];
    int n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < MAX_TOOLS; i++) {
        if (ac_mcp_tool_read(&tools[n], json_array_get(list, i), i % 2 == 0)) {
            continue;
        }
        check(!ac_schema_problem(tools[n].parameters, p));
        check(!ac_json_is_deeper(tools[n].parameters, AC_MAX_JSON_DEPTH));
        check(ac_utf8_valid(tools[n].description, strlen(tools[n].description)));
        check_headers(&tools[n++], arguments);
    }
    check_names(tools, n);
    while (n-- > 0) {
        ac_mcp_tool_free(&tools[n]);
    }
    apr_pool_destroy(p);
}

static void check_result(const json_t *document)
{
    ac_mcp_result_t result;
    ac_err_t err = {0};
    json_t *question, *state;
    if (ac_mcp_result_read(&result, document, &err) == APR_SUCCESS) {
        check(result.value && !ac_json_is_deeper(result.value, AC_MAX_JSON_DEPTH));
        check(!result.failed || json_is_string(result.value));
        json_decref(result.value);
    } else {
        check(!result.value && err.kind == AC_TOOL_ERROR);
    }
    ac_err_init(&err);
    if (ac_mcp_question_read(&question, &state, document, &err) == APR_SUCCESS) {
        check(!question != !state);
    } else {
        check(!question && !state && err.kind == AC_TOOL_ERROR);
    }
    json_decref(question);
    json_decref(state);
}

static void check_message(const char *line, size_t len)
{
    ac_mcp_message_t message;
    if (!ac_mcp_message_read(&message, line, len)) {
        return;
    }
    if (message.type == AC_MCP_REQUEST) {
        char *text = ac_mcp_message_response(message.id, NULL);
        ac_mcp_message_t answer;
        check(text && ac_mcp_message_read(&answer, text, strlen(text)) && answer.type == AC_MCP_ERROR);
        ac_mcp_message_free(&answer);
        free(text);
    }
    check_tools(json_object_get(message.result, "tools"), json_object_get(message.result, "arguments"));
    check_result(message.result);
    ac_mcp_message_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    for (size_t i = 0; i < size;) {
        const char *lf = memchr(text + i, '\n', size - i);
        size_t len = lf ? (size_t)(lf - text) - i : size - i;
        char *line = malloc(len ? len : 1);
        memcpy(line, text + i, len);
        check_message(line, len);
        free(line);
        i += len + 1;
    }
    return 0;
}
