/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens by client credentials, from a scripted authorization server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "credential_rig.h"

static const server_step_t token_1[] = {TOKEN("t1", "3600")}, token_2[] = {TOKEN("t2", "3600")};
static const server_step_t *const two_tokens[] = {token_1, token_2, NULL};
static const server_step_t without_time[] = {ANSWER("200 OK", "", "{\"access_token\":\"t1\"}")};
static const server_step_t refused[] = {
    ANSWER("401 Unauthorized", "", "{\"error\":\"invalid_client\",\"error_description\":\"" SECRET "\"}")};

static void start(credential_rig_t *rig, const http_server_t *server, const char *more)
{
    char spec[128], options[512];
    setenv("OAUTH_SECRET", SECRET "/ +", 1);
    snprintf(spec, sizeof spec, "oauth:http://127.0.0.1:%d/token", http_server_port(server));
    snprintf(options, sizeof options, "client-id=me:1 client-secret=env:OAUTH_SECRET%s%s", more ? " " : "",
             more ? more : "");
    credential_rig_start(rig, spec, options);
}

static void test_secret_in_a_header(void **state)
{
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(two_tokens);
    start(rig, server, "scope=tools:call resource=https://mcp.example.com/mcp");
    assert_string_equal(credential_rig_get(rig, NULL), "t1");
    const char *request = http_server_request(server, 0);
    assert_contains(request, "POST /token HTTP/1.1\r\n");
    /* "me%3A1:Zebra-~s3cr3t%2F%20%2B" */
    assert_contains(request, "\r\nAuthorization: Basic bWUlM0ExOlplYnJhLX5zM2NyM3QlMkYlMjAlMkI=\r\n");
    assert_contains(request,
                    "grant_type=client_credentials&scope=tools%3Acall&resource=https%3A%2F%2Fmcp.example.com%2Fmcp");
    assert_lacks(request, "client_secret");
    /* a service refuses the token */
    credential_rig_reject(rig, NULL, "t1");
    assert_string_equal(credential_rig_get(rig, NULL), "t2");
    assert_int_equal(http_server_requests(server), 2);
    http_server_stop(server);
}

static void test_secret_in_the_form(void **state)
{
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(two_tokens);
    start(rig, server, "auth=post");
    assert_string_equal(credential_rig_get(rig, NULL), "t1");
    const char *request = http_server_request(server, 0);
    assert_contains(request, "grant_type=client_credentials&client_id=me%3A1&client_secret=Zebra-~s3cr3t%2F%20%2B");
    assert_lacks(request, "Authorization");
    assert_lacks(request, "scope=");
    http_server_stop(server);
}

static void test_a_token_that_does_not_say_when_it_expires(void **state)
{
    static const server_step_t *const scripts[] = {without_time, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts);
    start(rig, server, NULL);
    assert_string_equal(credential_rig_get(rig, NULL), "t1");
    assert_string_equal(credential_rig_get(rig, NULL), "t1");
    assert_int_equal(http_server_requests(server), 1);
    http_server_stop(server);
}

static void test_the_server_refuses(void **state)
{
    static const server_step_t *const scripts[] = {refused, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts);
    start(rig, server, NULL);
    assert_string_equal(credential_rig_fail(rig, NULL), "HTTP 401, invalid_client");
    http_server_stop(server);
}

static void test_a_secret_in_a_file(void **state)
{
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(two_tokens);
    char spec[128], options[512];
    snprintf(spec, sizeof spec, "oauth:http://127.0.0.1:%d/token", http_server_port(server));
    snprintf(options, sizeof options, "client-id=me auth=post client-secret=file:%s",
             credential_rig_file(rig, "secret", "abc\n", 4, 0600));
    credential_rig_start(rig, spec, options);
    assert_string_equal(credential_rig_get(rig, NULL), "t1");
    assert_contains(http_server_request(server, 0), "client_secret=abc");
    http_server_stop(server);
}

static void test_configuration(void **state)
{
    static const struct {
        const char *spec, *options, *problem;
    } rows[] = {
        {"oauth:", "client-id=a client-secret=env:OAUTH_SECRET",
         "oauth: '' is not the https address of a token endpoint"},
        {"oauth:http://id.example.com/token", "client-id=a client-secret=env:OAUTH_SECRET",
         "oauth: 'http://id.example.com/token' is not the https address of a token endpoint"},
        {"oauth:https://id.example.com/token", NULL, "oauth needs client-id="},
        {"oauth:https://id.example.com/token", "client-id=a",
         "oauth needs client-secret=env:NAME or client-secret=file:PATH"},
        {"oauth:https://id.example.com/token", "client-id=a client-secret=" SECRET,
         "oauth needs client-secret=env:NAME or client-secret=file:PATH"},
        {"oauth:https://id.example.com/token", "client-id=a client-secret=env:NOT_THERE",
         "client-secret=: the environment of httpd has no variable 'NOT_THERE'"},
        {"oauth:https://id.example.com/token", "client-id=a client-secret=env:OAUTH_SECRET auth=jwt",
         "auth='jwt' is not a way to send the secret; accepted are basic, post"},
        {"oauth:https://id.example.com/token", "client=a",
         "'oauth' takes no option 'client'; it knows client-id=, client-secret=, scope=, resource=, auth="},
        {"oauth:https://id.example.com/token", "client-id=a client-secret=env:OAUTH_SECRET", NULL},
    };
    credential_rig_t *rig = *state;
    setenv("OAUTH_SECRET", SECRET, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *problem = credential_rig_make(rig, rows[i].spec, rows[i].options);
        assert_string_equal(problem ? problem : "none", rows[i].problem ? rows[i].problem : "none");
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, credential_rig_open, credential_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_secret_in_a_header),
        CASE(test_secret_in_the_form),
        CASE(test_a_token_that_does_not_say_when_it_expires),
        CASE(test_the_server_refuses),
        CASE(test_a_secret_in_a_file),
        CASE(test_configuration),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("oauth client", tests, NULL, NULL);
}
