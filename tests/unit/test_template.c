/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of the HTTP tool: a model's arguments fill their placeholders and break nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "wire/wire.h"

static apr_pool_t *pool;

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

static void expect_filled(ac_template_e kind, const char *text, const char *args, const char *expected)
{
    ac_buf_t out;
    ac_err_t err = {0};
    json_t *values = parse(args);
    ac_buf_init(&out, 4096);
    apr_status_t status = ac_template_fill(&out, text, kind, values, &err);
    assert_string_equal(err.detail, "");
    assert_int_equal(status, APR_SUCCESS);
    assert_string_equal(out.data, expected);
    ac_buf_free(&out);
    json_decref(values);
}

static void expect_refused(ac_template_e kind, const char *text, const char *args, const char *pointer)
{
    ac_buf_t out;
    ac_err_t err = {0};
    json_t *values = parse(args);
    ac_buf_init(&out, 256);
    ac_buf_str(&out, "before");
    assert_int_not_equal(ac_template_fill(&out, text, kind, values, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_INVALID_REQUEST);
    assert_string_equal(err.pointer, pointer);
    assert_string_equal(out.data, "before");
    assert_false(out.failed);
    ac_buf_free(&out);
    json_decref(values);
}

static void expect_problem(ac_template_e kind, const char *text, const char *part)
{
    json_t *schema = parse("{\"properties\":{\"q\":{\"type\":\"string\"},\"n\":{},\"list\":{\"type\":\"array\"},"
                           "\"maybe\":{\"type\":[\"object\",\"null\"]},\"a.b-c_1\":{}}}");
    const char *problem = ac_template_problem(text, kind, schema, pool);
    if (part) {
        assert_non_null(problem);
        assert_non_null(strstr(problem, part));
    } else {
        assert_null(problem);
    }
    json_decref(schema);
}

#define URL AC_TEMPLATE_URL
#define JSON AC_TEMPLATE_JSON
#define HEADER AC_TEMPLATE_HEADER

static void test_url_values(void **state)
{
    (void)state;
    expect_filled(URL, "https://h/v1?q={q}", "{\"q\":\"a b&c=d#e+f/g?h%i\"}",
                  "https://h/v1?q=a%20b%26c%3Dd%23e%2Bf%2Fg%3Fh%25i");
    expect_filled(URL, "https://h/{q}/x", "{\"q\":\"A-z_0.9~\"}", "https://h/A-z_0.9~/x");
    expect_filled(URL, "https://h/?q={q}", "{\"q\":\"\u00e9\u20ac\"}", "https://h/?q=%C3%A9%E2%82%AC");
    expect_filled(URL, "https://h/?q={q}", "{\"q\":\"a\\r\\nHost: b\\\"<>\"}",
                  "https://h/?q=a%0D%0AHost%3A%20b%22%3C%3E");
    expect_filled(URL, "https://h/?a={n}&b={b}&c={no}&d={nil}", "{\"n\":-2.5,\"b\":true,\"nil\":null}",
                  "https://h/?a=-2.5&b=true&c=&d=");
    expect_filled(URL, "https://h?q={q}{q}", "{\"q\":\"{q}\"}", "https://h?q=%7Bq%7D%7Bq%7D");
    expect_filled(URL, "https://h/a{q}", "{\"q\":\"//evil.example\"}", "https://h/a%2F%2Fevil.example");
    expect_filled(URL, "https://h/%41?q=%2e%2e", "{}", "https://h/%41?q=%2e%2e");
    expect_filled(URL, "https://h/v/{q}", "{\"q\":\"..a\"}", "https://h/v/..a");
    expect_filled(URL, "https://h/v?x={q}", "{\"q\":\"..\"}", "https://h/v?x=..");
}

static void test_url_segments(void **state)
{
    (void)state;
    expect_refused(URL, "https://h/v/{q}", "{\"q\":\"..\"}", "/q");
    expect_refused(URL, "https://h/v/{q}/x", "{\"q\":\".\"}", "/q");
    expect_refused(URL, "https://h/v/.{q}?a", "{\"q\":\".\"}", "/q");
    expect_refused(URL, "https://h/v/{q}.", "{\"q\":\".\"}", "/q");
    expect_refused(URL, "https://h/v/{a}{b}", "{\"a\":\".\",\"b\":\".\"}", "/b");
    expect_refused(URL, "https://h/v/%2e{q}", "{\"q\":\".\"}", "/q");
    expect_refused(URL, "https://h/v/{q}%2E", "{\"q\":\".\"}", "/q");
    expect_refused(URL, "https://h/v/{q}", "{\"q\":\"a/../b\"}", "/q");
    expect_refused(URL, "https://h/v/{q}", "{\"q\":\"../../etc\"}", "/q");
    expect_refused(URL, "https://h/v/{q}", "{\"q\":\"a\\\\..\"}", "/q");
    expect_refused(URL, "https://h/v/{q}", "{\"q\":\"..;x=1\"}", "/q");
    expect_refused(URL, "https://h/users/{q}", "{\"q\":\"\"}", "/q");
    expect_refused(URL, "https://h/users/{q}/x", "{}", "/q");
    expect_refused(URL, "https://h/?q={q}", "{\"q\":[1]}", "/q");
    expect_refused(URL, "https://h/?q={a.b-c_1}", "{\"a.b-c_1\":{}}", "/a.b-c_1");
    expect_filled(URL, "https://h/users/x{q}", "{\"q\":\"\"}", "https://h/users/x");
}

static void test_url_host(void **state)
{
    ac_buf_t out;
    ac_err_t err = {0};
    json_t *args = parse("{\"q\":\"evil.example/\"}");
    (void)state;
    ac_buf_init(&out, 256);
    assert_int_not_equal(ac_template_fill(&out, "https://{q}/x", URL, args, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_INTERNAL);
    assert_int_equal(out.len, 0);
    ac_buf_free(&out);
    json_decref(args);
}

static void test_too_long(void **state)
{
    char args[600] = "{\"q\":\"";
    (void)state;
    memset(args + 6, '/', 200);
    memcpy(args + 206, "\"}", 3);
    expect_refused(URL, "https://h/?q={q}", args, "");
    memset(args + 6, 'a', 400);
    memcpy(args + 406, "\"}", 3);
    expect_refused(JSON, "{\"a\":{q}}", args, "");
    expect_refused(JSON, "{\"a\":\"{q}\"}", args, "");
    expect_refused(HEADER, "{q}", args, "");
}

static void test_json(void **state)
{
    (void)state;
    expect_filled(JSON, "{\"a\": {q}, \"b\": {}}", "{\"q\":\"x \\\"y\\\"\"}", "{\"a\": \"x \\\"y\\\"\", \"b\": {}}");
    expect_filled(JSON, "{\"a\":\"<{q}>\"}", "{\"q\":\"\\\",\\\"b\\\":1\\n\"}", "{\"a\":\"<\\\",\\\"b\\\":1\\n>\"}");
    expect_filled(JSON, "[{a},{b},{c},{d},{e},\"{c}\",\"{d}\",\"{none}\"]",
                  "{\"a\":1,\"b\":2.5,\"c\":null,\"d\":{\"x\":[true]}}",
                  "[1,2.5,null,{\"x\":[true]},null,\"\",\"{\\\"x\\\":[true]}\",\"\"]");
    expect_filled(JSON, "{\"a\":\"\\\"{q}\\\\\",\"b\":{q}}", "{\"q\":\"z\"}", "{\"a\":\"\\\"z\\\\\",\"b\":\"z\"}");
    expect_filled(JSON, "{\"a\":\"{ q } {\"}", "{\"q\":\"z\"}", "{\"a\":\"{ q } {\"}");
    expect_filled(JSON, "{q}", "{\"q\":{\"whole\":1}}", "{\"whole\":1}");
}

static void test_header(void **state)
{
    (void)state;
    expect_filled(HEADER, "Bearer ${secret}", "{\"secret\":\"mine\"}", "Bearer ${secret}");
    expect_filled(HEADER, "a {q} b", "{\"q\":\"x \u00e9\"}", "a x \u00e9 b");
    expect_refused(HEADER, "a {q}", "{\"q\":\"x\\r\\nCookie: y\"}", "/q");
    expect_refused(HEADER, "a {q}", "{\"q\":\"x\\u007f\"}", "/q");
    expect_filled(HEADER, "a {q}", "{\"q\":\"${secret}\"}", "a ${secret}");
    expect_refused(HEADER, "a {q}", "{\"q\":[]}", "/q");
}

static void expect_header(const char *text, const char *secret, const char *args, const char *expected)
{
    ac_buf_t out;
    ac_err_t err = {0};
    json_t *values = parse(args);
    ac_buf_init(&out, 64);
    ac_buf_str(&out, "X: ");
    apr_status_t status = ac_template_header(&out, text, secret, values, &err);
    assert_string_equal(out.data + 3, expected ? expected : "");
    assert_true((status == APR_SUCCESS) == (expected != NULL));
    assert_true((err.kind == AC_OK) == (expected != NULL));
    assert_false(out.failed);
    ac_buf_free(&out);
    json_decref(values);
}

/* Only the template decides where the secret is. */
static void test_header_secret(void **state)
{
    (void)state;
    expect_header("Bearer ${secret}", "k", "{}", "Bearer k");
    expect_header("${secret}{q}${secret}", "k", "{\"q\":\"-\"}", "k-k");
    expect_header("${secret}", "{q}${secret}", "{\"q\":\"x\"}", "{q}${secret}");
    expect_header("{a}{b}", NULL, "{\"a\":\"$\",\"b\":\"{secret}\"}", "${secret}");
    expect_header("{a}{b}${secret}", "k", "{\"a\":\"$\",\"b\":\"{secret}\"}", "${secret}k");
    expect_header("{a}{b}{c}", NULL, "{\"a\":\"$\",\"b\":\"{secret\",\"c\":\"}\"}", "${secret}");
    expect_header("$ {a}", "k", "{\"a\":\"${secret}\"}", "$ ${secret}");
    expect_header("${s{a}", NULL, "{\"a\":\"ecret}\"}", "${secret}");
    expect_header("${sec${secret}ret}", "k", "{}", "${seckret}");
    expect_header("", NULL, "{}", "");
    expect_header("a ${secret}", NULL, "{}", NULL);
    expect_header("${secret}{a}", "k", "{\"a\":\"\\n\"}", NULL);
    expect_header("${secret}{a}", "k",
                  "{\"a\":\"a word that is much longer than all that a line of this test may have\"}", NULL);
    expect_header("{a}${secret}", "a word that is much longer than all that a line of this test may have",
                  "{\"a\":\"k\"}", NULL);
}

static void test_url_problems(void **state)
{
    (void)state;
    expect_problem(URL, "https://example.com:8080/v1/{q}/b.{n}?x={a.b-c_1}&y=%20", NULL);
    expect_problem(URL, "HTTP://[::1]:80?x={q}", NULL);
    expect_problem(URL, "https://{q}/x", "scheme, host");
    expect_problem(URL, "https://h{q}", "scheme, host");
    expect_problem(URL, "https://h:{n}/", "scheme, host");
    expect_problem(URL, "{q}://h/", "absolute");
    expect_problem(URL, "/v1/{q}", "absolute");
    expect_problem(URL, "https:///x", "absolute");
    expect_problem(URL, "ftp://h/x", "absolute");
    expect_problem(URL, "https://user:pw@h/", "user name");
    expect_problem(URL, "https://h/#{q}", "fragment");
    expect_problem(URL, "https://h/a b", "%20");
    expect_problem(URL, "https://h/\\x", "%5C");
    expect_problem(URL, "https://h\\@evil/{q}", "%5C");
    expect_problem(URL, "https://h/\u00e9", "%C3");
    expect_problem(URL, "https://h/100%", "%25");
    expect_problem(URL, "https://h/{q", "%7B");
    expect_problem(URL, "https://h/q}", "%7D");
    expect_problem(URL, "https://h/{}", "%7B");
    expect_problem(URL, "https://h/{q q}", "must be percent-encoded");
    expect_problem(URL, "https://h/{other}", "{other} is not among");
    expect_problem(URL, "https://h/?l={list}", "array or an object");
    expect_problem(URL, "https://h/?l={maybe}", "array or an object");
}

static void test_other_problems(void **state)
{
    (void)state;
    expect_problem(JSON, "{\"q\":{q},\"l\":{list},\"s\":\"{n} {q}\",\"e\":{}}", NULL);
    expect_problem(JSON, "{\"q\":{other}}", "{other} is not among");
    expect_problem(JSON, "{\"q\":{q}", "not JSON");
    expect_problem(JSON, "{{q}:1}", "not JSON");
    expect_problem(JSON, "{\"a\":1{n}}", "not JSON");
    expect_problem(JSON, "{\"a\":{n}{n}}", "not JSON");
    expect_problem(JSON, "{\"a\":\"\\{n}\"}", "not JSON");
    expect_problem(JSON, "", "not JSON");
    expect_problem(HEADER, "Bearer ${secret} {q}", NULL);
    expect_problem(HEADER, "a\nb", "control");
    expect_problem(HEADER, "{list}", "a header");
    expect_problem(HEADER, "{unknown}", "is not among");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_values),     cmocka_unit_test(test_url_segments),
        cmocka_unit_test(test_url_host),       cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_json),           cmocka_unit_test(test_header),
        cmocka_unit_test(test_header_secret),  cmocka_unit_test(test_url_problems),
        cmocka_unit_test(test_other_problems),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("template", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
