/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets of the HTTP tool: they are not in results and errors, and arguments cannot ask for them. */
#include "tool_http_play.h"

static void test_tool_http_removes_the_secret(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "s3cr3t-key");
    add_header("X-Short", "${secret}", "no");
    expect_result(JSON "{\"you\":\"Bearer s3cr3t-key\",\"s3cr3t-key\":\"s3cr3t-keys3cr3t-key s3cr3t-ke no\"}",
                  "{\"**********\":\"******************** s3cr3t-ke no\",\"you\":\"Bearer **********\"}");
}

static void test_tool_http_removes_the_secret_from_errors(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "s3cr3t-key");
    expect_failure(HEAD("401 Unauthorized", "application/json") "{\"error\":\"s3cr3t-key is no key\"}",
                   "the service answered 401: {\"error\":\"********** is no key\"}");
}

/* As seen by a reader of the answer, not only as the bytes that were sent. */
static void test_tool_http_removes_the_secret_in_other_forms(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "Token/key+1");
    expect_result(
        JSON "{\"\\u0054oken\\/key+1\":[\"\\u0054oken\\/key+1\",\"Token%2Fkey%2B1\",\"QmVhcmVyIFRva2VuL2tleSsx\"]}",
        "{\"***********\":[\"***********\",\"***************\",\"QmVhcmVyIF**************\"]}");
}

static void test_tool_http_removes_the_secret_from_text(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "Token/key+1");
    tool.conf.result_max = 30;
    expect_result(TEXT "\\u0054oken\\/key+1 and Token/key+1",
                  "\"***************** and ********\\n[truncated: only the first 30 bytes]\"");
}

static void test_tool_http_removes_the_secret_from_the_type(void **state)
{
    (void)state;
    add_header("Authorization", "Bearer ${secret}", "s3cr3t-key");
    expect_failure(HEAD("200 OK", "image/s3cr3t-key; x=s3cr3t-key") "\x89PNG",
                   "the service answered with image/**********; x=**********, which is not text");
}

/* Arguments that form ${secret} only side by side are ordinary text, with a secret and without. */
static void test_tool_http_arguments_are_no_secret(void **state)
{
    (void)state;
    json_decref(tool.conf.parameters);
    tool.conf.parameters = json_loads("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},"
                                      "\"b\":{\"type\":\"string\"}}}",
                                      0, NULL);
    add_header("X-Ref", "{a}{b}", NULL);
    add_header("X-Key", "${secret}-{a}{b}-${secret}", "s3cr3t-key");
    add_header("X-Half", "${s{b}", NULL);
    play_at(TEXT "x", "/");
    tool_rig_call(&tool, &answer, "{\"a\":\"$\",\"b\":\"{secret}\"}", 0);
    tool_answer_is(&answer, "\"x\"");
    assert_sent(0, "\r\nX-Ref: ${secret}\r\n");
    assert_sent(0, "\r\nX-Key: s3cr3t-key-${secret}-s3cr3t-key\r\n");
    tool_answer_free(&answer);
    tool_rig_call(&tool, &answer, "{\"a\":\"${secret}\",\"b\":\"ecret}\"}", 0);
    tool_answer_is(&answer, "\"x\"");
    assert_sent(1, "\r\nX-Key: s3cr3t-key-${secret}ecret}-s3cr3t-key\r\n");
    assert_sent(1, "\r\nX-Half: ${secret}\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tool_http_removes_the_secret, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_removes_the_secret_from_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_removes_the_secret_in_other_forms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_removes_the_secret_from_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_removes_the_secret_from_the_type, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tool_http_arguments_are_no_secret, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("tool_http_secret", tests, NULL, NULL);
}
