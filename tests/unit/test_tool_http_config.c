/* SPDX-License-Identifier: Apache-2.0 */
/* Directives of an HTTP tool: accepted values, and error messages for others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tool_rig.h"

#define SCHEMA \
    "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}," \
    "\"tags\":{\"type\":\"array\"}},\"additionalProperties\":false}"

static tool_rig_t tool;

static int set_up(void **state)
{
    (void)state;
    tool_rig_open(&tool, &ac_tool_http);
    tool.conf.parameters = json_loads(SCHEMA, 0, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tool_rig_close(&tool);
    return 0;
}

static void add_header(const char *name, const char *value, const char *secret)
{
    ac_tool_header_t *header = apr_array_push((apr_array_header_t *)tool.conf.headers);
    memset(header, 0, sizeof(*header));
    header->name = name;
    header->value = value;
    header->secret.value = secret;
}

typedef struct setting_t {
    const char *url, *method, *body, *header, *value, *host, *pointer, *problem;
} setting_t;

static void check_setting(const setting_t *row)
{
    tool.conf.url = row->url;
    tool.conf.method = row->method;
    tool.conf.body = row->body;
    apr_array_clear((apr_array_header_t *)tool.conf.headers);
    apr_array_clear((apr_array_header_t *)tool.conf.allow_hosts);
    apr_table_clear((apr_table_t *)tool.conf.options);
    if (row->header) {
        add_header(row->header, row->value, NULL);
    }
    if (row->host) {
        APR_ARRAY_PUSH((apr_array_header_t *)tool.conf.allow_hosts, const char *) = row->host;
    }
    if (row->pointer) {
        tool_rig_option(&tool, "result", row->pointer);
    }
    const char *problem = tool_rig_create(&tool);
    if (!row->problem) {
        if (problem) {
            print_error("%s: %s\n", row->url, problem);
        }
        assert_null(problem);
        return;
    }
    assert_non_null(problem);
    if (strncmp(problem, row->problem, strlen(row->problem)) != 0) {
        print_error("expected '%s', got '%s'\n", row->problem, problem);
    }
    assert_memory_equal(problem, row->problem, strlen(row->problem));
}

#define URL "https://host.example/v1"
static void test_tool_http_configuration(void **state)
{
    (void)state;
    static const setting_t rows[] = {
        {.url = URL},
        {.url = URL "/{query}?n={n}"},
        {.url = "http://[2606:4700::1111]:8080/"},
        {.url = URL, .method = "delete"},
        {.url = URL, .method = "POST", .body = "{\"a\": {tags}}"},
        {.url = URL, .host = "api.example"},
        {.url = URL, .host = "*.example.com"},
        {.url = URL, .host = "a.b:8443"},
        {.url = URL, .host = "[2606:4700::1111]:443"},
        {.url = URL, .pointer = ""},
        {.url = URL, .pointer = "/a~0/~1b"},
        {.url = URL, .header = "X-Key", .value = "{query}"},
        {.problem = "AgentChatToolURL is missing"},
        {.url = "host/path", .problem = "AgentChatToolURL: "},
        {.url = "ftp://host/", .problem = "AgentChatToolURL: "},
        {.url = "https:///x", .problem = "AgentChatToolURL: "},
        {.url = "https://{query}/", .problem = "AgentChatToolURL: a {name} in scheme, host"},
        {.url = URL "/{nothing}", .problem = "AgentChatToolURL: {nothing} is not among the tool's parameters"},
        {.url = URL "/{query", .problem = "AgentChatToolURL: "},
        {.url = URL "?t={tags}", .problem = "AgentChatToolURL: "},
        {.url = "http://127.0.0.1:80/", .problem = "AgentChatToolURL: '127.0.0.1' is a private address"},
        {.url = "http://[::1]/{query}", .problem = "AgentChatToolURL: '::1' is a private address"},
        {.url = "http://LocalHost:80", .problem = "AgentChatToolURL: 'LocalHost' is a private address"},
        {.url = "http://a.localhost./", .problem = "AgentChatToolURL: 'a.localhost.' is a private address"},
        {.url = "http://169.254.169.254/x", .problem = "AgentChatToolURL: '169.254.169.254' is a private address"},
        {.url = URL, .method = "TRACE", .problem = "AgentChatToolURL: there is no method 'TRACE'"},
        {.url = URL, .method = "GET", .body = "{}", .problem = "AgentChatToolBody: a GET request takes no body"},
        {.url = URL, .method = "DELETE", .body = "{}", .problem = "AgentChatToolBody: a DELETE request takes no body"},
        {.url = URL, .body = "{\"a\": {nothing}}", .problem = "AgentChatToolBody: {nothing} is not among"},
        {.url = URL, .body = "{\"a\": ", .problem = "AgentChatToolBody: "},
        {.url = URL,
         .header = "X Key",
         .value = "",
         .problem = "AgentChatToolHeader: 'X Key' is not the name of a "
                    "header"},
        {.url = URL,
         .header = "host",
         .value = "x",
         .problem = "AgentChatToolHeader: host is written by the module "
                    "itself"},
        {.url = URL, .header = "X-Key", .value = "{no}", .problem = "AgentChatToolHeader X-Key: {no} is not among"},
        {.url = URL,
         .header = "X-Key",
         .value = "${secret}",
         .problem = "AgentChatToolHeader X-Key: its value "
                    "names a secret"},
        {.url = URL, .host = "https://a.b", .problem = "AgentChatToolAllowHost: 'https://a.b' is not a host"},
        {.url = URL, .host = "a.b/c", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .host = "a.b:99999", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .host = "a.*.b", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .host = "", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .host = "a..b", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .host = ":80", .problem = "AgentChatToolAllowHost: "},
        {.url = URL, .pointer = "data", .problem = "AgentChatToolOption result: 'data' is not a JSON Pointer"},
        {.url = URL, .pointer = "/a~2", .problem = "AgentChatToolOption result: in a JSON Pointer"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        check_setting(&rows[i]);
    }
    tool_rig_option(&tool, "timeout", "3s");
    assert_string_equal(tool_rig_create(&tool), "AgentChatToolOption: there is no option 'timeout'; known are result");
    json_decref(tool.conf.parameters);
    tool.conf.parameters = NULL;
    tool.conf.url = URL;
    assert_memory_equal(tool_rig_create(&tool), "AgentChatToolParameters is missing", 34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tool_http_configuration, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tool_http_config", tests, NULL, NULL);
}
