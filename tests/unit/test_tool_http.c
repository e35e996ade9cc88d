/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP tool: requests, results of answers, and refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tool_http_play.h"

/* ---- requests ---- */

static void test_tool_http_get(void **state)
{
    (void)state;
    play(JSON "{}");
    tool_rig_call(&tool, &answer, "{\"query\":\"a&b=c/\xc3\xa9#\"}", 0);
    tool_answer_is(&answer, "{}");
    assert_sent(0, "GET /v1/search?q=a%26b%3Dc%2F%C3%A9%23 HTTP/1.1\r\n");
    assert_sent(0, "\r\nAccept: application/json, text/*;q=0.9, */*;q=0.1\r\n");
    assert_null(strstr(http_server_request(server, 0), "Content-Type"));
}

static void test_tool_http_headers(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "s3cr3t{query}");
    add_header("X-Two", "${secret}-{n}-${secret}", "k");
    add_header("accept", "text/csv", NULL);
    play(TEXT "x");
    tool_rig_call(&tool, &answer, "{\"query\":\"q\",\"n\":7}", 0);
    tool_answer_is(&answer, "\"x\"");
    assert_sent(0, "\r\nAuthorization: Bearer s3cr3t{query}\r\n");
    assert_sent(0, "\r\nX-Two: k-7-k\r\n");
    assert_sent(0, "\r\naccept: text/csv\r\n");
    assert_null(strstr(http_server_request(server, 0), "application/json"));
}

static void test_tool_http_header_injection(void **state)
{
    (void)state;
    add_header("X-Query", "{query}", NULL);
    play(TEXT "x");
    tool_rig_call(&tool, &answer, "{\"query\":\"a\\r\\nX-Evil: 1\"}", 0);
    assert_int_not_equal(answer.status, APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_INVALID_REQUEST);
    assert_int_equal(http_server_requests(server), 0);
}

static void test_tool_http_body(void **state)
{
    (void)state;
    tool.conf.method = "POST";
    tool.conf.body = "{\"q\": \"<{query}>\", \"n\": {n}, \"tags\": {tags}}";
    play(JSON "1");
    tool_rig_call(&tool, &answer, "{\"query\":\"say \\\"hi\\\"\\n\",\"tags\":[\"x\",{\"y\":1}]}", 0);
    tool_answer_is(&answer, "1");
    assert_sent(0, "POST /v1/search?q=say%20%22hi%22%0A HTTP/1.1\r\n");
    assert_sent(0, "\r\nContent-Type: application/json\r\n");
    assert_sent(0, "\r\n\r\n{\"q\": \"<say \\\"hi\\\"\\n>\", \"n\": null, \"tags\": [\"x\",{\"y\":1}]}");
}

static void test_tool_http_body_of_arguments(void **state)
{
    (void)state;
    tool.conf.method = "PUT";
    add_header("Content-Type", "application/vnd.x+json", NULL);
    play(JSON "true");
    tool_rig_call(&tool, &answer, "{\"query\":\"q\",\"n\":1}", 0);
    tool_answer_is(&answer, "true");
    assert_sent(0, "PUT /v1/search?q=q HTTP/1.1\r\n");
    assert_sent(0, "\r\nContent-Type: application/vnd.x+json\r\n");
    assert_sent(0, "\r\n\r\n{\"query\":\"q\",\"n\":1}");
    assert_null(strstr(http_server_request(server, 0), "application/json\r\nContent"));
}

static void test_tool_http_empty_body(void **state)
{
    (void)state;
    tool.conf.method = "PATCH";
    tool.conf.body = "";
    play("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_is(&answer, "{\"status\":204}");
    assert_sent(0, "PATCH /v1/search?q=a%20b HTTP/1.1\r\n");
    assert_sent(0, "\r\nContent-Length: 0\r\n");
}

/* ---- answers ---- */

static void test_tool_http_json_keeps_its_type(void **state)
{
    (void)state;
    expect_result(JSON "\xef\xbb\xbf [1, 2.5, {\"a\":null, \"a\":\"twice\"}]", "[1,2.5,{\"a\":\"twice\"}]");
}

static void test_tool_http_json_without_type(void **state)
{
    (void)state;
    expect_result("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\":1}", "{\"a\":1}");
}

static void test_tool_http_text(void **state)
{
    (void)state;
    expect_result(TEXT "{\"a\": 1} \xff\n", "\"{\\\"a\\\": 1} \xef\xbf\xbd\\n\"");
}

static void test_tool_http_latin1(void **state)
{
    (void)state;
    expect_result(HEAD("200 OK", "text/html; charset=ISO-8859-1") "caf\xe9", "\"caf\xc3\xa9\"");
}

static void test_tool_http_broken_json_is_text(void **state)
{
    (void)state;
    expect_result(JSON "{\"a\": 1,", "\"{\\\"a\\\": 1,\"");
}

static void test_tool_http_deep_json_is_text(void **state)
{
    (void)state;
    expect_result(JSON "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                  "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\"");
}

static void test_tool_http_pointer(void **state)
{
    (void)state;
    tool_rig_option(&tool, "result", "/data/1/a~1b~0c");
    expect_result(TEXT "{\"data\":[0,{\"a/b~c\":{\"x\":true}}]}", "{\"x\":true}");
}

static void test_tool_http_pointer_leads_nowhere(void **state)
{
    (void)state;
    tool_rig_option(&tool, "result", "/data/01");
    expect_failure(JSON "{\"data\":[1,2]}",
                   "the service's answer holds no part that the tool is set to take "
                   "(/data/01)");
}

static void test_tool_http_pointer_into_text(void **state)
{
    (void)state;
    tool_rig_option(&tool, "result", "/a");
    expect_failure(TEXT "hello", "the service's answer is not JSON");
}

static void test_tool_http_text_is_cut(void **state)
{
    (void)state;
    tool.conf.result_max = 5;
    expect_result(TEXT "abcd\xc3\xa9"
                       "fgh",
                  "\"abcd\\n[truncated: only the first 5 bytes]\"");
}

static void test_tool_http_json_is_cut(void **state)
{
    (void)state;
    tool.conf.result_max = 10;
    expect_result(JSON "{\"name\": \"a long one\"}",
                  "{\"bytes\":21,\"text\":\"{\\\"name\\\":\\\"a\",\"truncated\":true}");
}

static void test_tool_http_part_within_the_cap(void **state)
{
    (void)state;
    tool.conf.result_max = 10;
    tool_rig_option(&tool, "result", "/b");
    expect_result(JSON "{\"a\": \"longer than ten bytes\", \"b\": 7}", "7");
}

static void test_tool_http_endless_answer(void **state)
{
    (void)state;
    static char block[65537];
    static const server_step_t script[] = {SEND(JSON "[\""), REPEAT(block, 1000), HANG, END};
    static const server_step_t *const scripts[] = {script, NULL};
    memset(block, 'x', sizeof(block) - 1);
    tool.conf.result_max = 20;
    serve(scripts, "/");
    tool_rig_start(&tool);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_is(&answer, "\"[\\\"xxxxxxxxxxxxxxxxxx\\n[truncated: only the first 20 bytes]\"");
    assert_true(http_server_wait_gone(server, 1));
}

static void test_tool_http_binary(void **state)
{
    (void)state;
    expect_failure(HEAD("200 OK", "image/png") "\x89PNG", "the service answered with image/png, which is not text");
}

/* An answer that is declared as text but has a NUL byte. */
static void test_tool_http_binary_as_text(void **state)
{
    (void)state;
    ac_tool_answer_t read;
    const ac_tool_answer_rules_t configured = {ac_tool_mask_create(NULL, tool.pool), NULL, tool.conf.result_max};
    ac_err_t err;
    json_t *result;
    ac_err_init(&err);
    ac_tool_answer_init(&read, &configured);
    ac_tool_answer_head(&read, 200, "text/plain");
    assert_true(ac_tool_answer_body(&read, "abc", 3));
    assert_false(ac_tool_answer_body(&read, "de\0f", 4));
    assert_int_not_equal(ac_tool_answer_result(&result, &read, &err), APR_SUCCESS);
    assert_null(result);
    assert_string_equal(err.detail, "the service answered with text/plain, which is not text");
    ac_tool_answer_free(&read);
}

/* ---- failures ---- */

static void test_tool_http_not_found(void **state)
{
    (void)state;
    expect_failure(HEAD("404 Not Found", "application/json") "{\"error\":\r\n\t \"no such \x01thing\"}",
                   "the service answered 404: {\"error\": \"no such thing\"}");
}

static void test_tool_http_error_page(void **state)
{
    (void)state;
    expect_failure(HEAD("403 Forbidden", "text/html") "<html><body>Go away</body></html>", "the service answered 403");
}

static void test_tool_http_long_error(void **state)
{
    (void)state;
    static char response[2000];
    snprintf(response, sizeof(response), "%s%0*d", HEAD("400 Bad Request", "text/plain"), 1000, 0);
    play(response);
    tool_rig_call(&tool, &answer, ASK, 0);
    assert_int_equal(answer.err.kind, AC_TOOL_ERROR);
    assert_memory_equal(answer.err.detail, "the service answered 400: 0000", 30);
    assert_in_range(strlen(answer.err.detail), 250, AC_ERR_DETAIL_SIZE - 1);
}

static void test_tool_http_refuses_private_addresses(void **state)
{
    (void)state;
    play(TEXT "x");
    tool.conf.allow_private = false; /* after create, which would not have taken the URL */
    tool_rig_call(&tool, &answer, ASK, 0);
    assert_int_not_equal(answer.status, APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_TOOL_ERROR);
    assert_memory_equal(answer.err.detail, "the service could not be reached: ", 34);
    assert_int_equal(http_server_requests(server), 0);
}

static void test_tool_http_redirects(void **state)
{
    (void)state;
    static char away[160], home[160];
    static const server_step_t elsewhere[] = {SEND(away), CUT, END};
    static const server_step_t here[] = {SEND(home), CUT, END};
    static const server_step_t arrived[] = {SEND(TEXT "there"), CUT, END};
    static const server_step_t *const scripts[] = {here, here, here, arrived, here, here, here, here, elsewhere, NULL};
    snprintf(home, sizeof(home), "HTTP/1.1 302 Found\r\nLocation: /next\r\nConnection: close\r\n\r\n");
    snprintf(away, sizeof(away), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\nConnection: close\r\n\r\n");
    add_header("X-Key", "${secret}", "k");
    serve(scripts, "/");
    tool_rig_start(&tool);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_is(&answer, "\"there\"");
    assert_sent(3, "GET /next HTTP/1.1\r\n");
    assert_sent(3, "X-Key: k\r\n");
    tool_answer_free(&answer);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the service could not be reached: too many redirects");
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR,
                       "the service could not be reached: a redirect to a host that is not "
                       "allowed");
}

static void test_tool_http_too_late(void **state)
{
    (void)state;
    static const server_step_t script[] = {HANG, END};
    static const server_step_t *const scripts[] = {script, NULL};
    serve(scripts, "/");
    tool_rig_start(&tool);
    tool_rig_call(&tool, &answer, ASK, apr_time_from_msec(300));
    assert_int_not_equal(answer.status, APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_TOOL_TIMEOUT);
    tool_rig_call(&tool, &answer, ASK, -apr_time_from_sec(1));
    tool_answer_failed(&answer, AC_TOOL_TIMEOUT, "there was no time left");
}

static void test_tool_http_post_is_not_repeated(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(HEAD("503 Busy", "text/plain") "busy"), CUT, END};
    static const server_step_t *const scripts[] = {script, NULL};
    tool.conf.method = "POST";
    serve(scripts, "/");
    tool_rig_start(&tool);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the service answered 503: busy");
    assert_int_equal(http_server_requests(server), 1);
}

static void test_tool_http_cancel(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(TEXT "be"), HANG, END};
    static const server_step_t *const scripts[] = {script, NULL};
    serve(scripts, "/");
    tool_rig_start(&tool);
    void *call = tool_rig_begin(&tool, &answer, ASK);
    assert_true(http_server_wait_requests(server, 1));
    tool_rig_cancel(&tool, &answer, call);
    assert_true(http_server_wait_gone(server, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tool_http_get, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_header_injection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_body_of_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_empty_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_json_keeps_its_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_json_without_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_latin1, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_broken_json_is_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_deep_json_is_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_pointer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_pointer_leads_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_pointer_into_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_text_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_json_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_part_within_the_cap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_endless_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_binary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_binary_as_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_error_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_long_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_refuses_private_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_redirects, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_post_is_not_repeated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_cancel, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tool_http", tests, NULL, NULL);
}
