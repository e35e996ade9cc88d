/* SPDX-License-Identifier: Apache-2.0 */
/* The connection string of Application Insights, as administrators paste it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/appinsights.h"

#define KEY "InstrumentationKey=00000000-0000-0000-0000-0123456789aB"

static ac_appinsights_target_t target;
static ac_err_t err;

static apr_status_t parse(const char *text)
{
    ac_err_init(&err);
    return ac_appinsights_string_read(&target, text, &err);
}

static void test_where_telemetry_goes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *url;
    } cases[] = {
        {KEY, "https://dc.services.visualstudio.com/v2.1/track"},
        {KEY ";", "https://dc.services.visualstudio.com/v2.1/track"},
        {KEY ";IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;"
             "LiveEndpoint=https://westeurope.livediagnostics.monitor.azure.com/;ApplicationId=x",
         "https://westeurope-5.in.applicationinsights.azure.com/v2.1/track"},
        {" instrumentationkey = 00000000-0000-0000-0000-0123456789ab ; INGESTIONENDPOINT = https://h ",
         "https://h/v2.1/track"},
        {KEY ";EndpointSuffix=applicationinsights.azure.cn", "https://dc.applicationinsights.azure.cn/v2.1/track"},
        {KEY ";EndpointSuffix=ai.contoso.com;Location=northeurope", "https://northeurope.dc.ai.contoso.com/v2.1/track"},
        {KEY ";EndpointSuffix=a.b;IngestionEndpoint=https://c.d", "https://c.d/v2.1/track"},
        {KEY ";IngestionEndpoint=http://h.example", "https://h.example/v2.1/track"},
        {KEY ";IngestionEndpoint=http://127.0.0.1:8080/", "http://127.0.0.1:8080/v2.1/track"},
        {KEY ";IngestionEndpoint=http://localhost:8080", "http://localhost:8080/v2.1/track"},
        {KEY ";IngestionEndpoint=http://[::1]:8080", "http://[::1]:8080/v2.1/track"},
        {KEY ";IngestionEndpoint=http://127.0.0.1.example:1", "https://127.0.0.1.example:1/v2.1/track"},
        {KEY ";Authorization=ikey", "https://dc.services.visualstudio.com/v2.1/track"},
        {KEY ";Unknown=", "https://dc.services.visualstudio.com/v2.1/track"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(parse(cases[i].text), APR_SUCCESS);
        assert_string_equal(target.url, cases[i].url);
        assert_string_equal(target.scope, "https://monitor.azure.com/.default");
    }
}

static void test_the_other_parts(void **state)
{
    (void)state;
    assert_int_equal(parse(KEY ";ApplicationId=abc;AADAudience=https://monitor.azure.us/"), APR_SUCCESS);
    assert_string_equal(target.key, "00000000-0000-0000-0000-0123456789aB");
    assert_string_equal(target.application, "abc");
    assert_string_equal(target.scope, "https://monitor.azure.us/.default");
    assert_int_equal(parse(KEY ";AADAudience=api://x/.default"), APR_SUCCESS);
    assert_string_equal(target.scope, "api://x/.default");
}

static void test_what_is_wrong_is_said_without_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"", "no InstrumentationKey"},
        {"IngestionEndpoint=https://h", "no InstrumentationKey"},
        {"00000000-0000-0000-0000-0123456789ab", "part 1 is not NAME=VALUE"},
        {KEY ";secret-planted", "part 2 is not NAME=VALUE"},
        {"InstrumentationKey=secret-planted", "not of the form"},
        {"InstrumentationKey=00000000-0000-0000-0000-0123456789a", "not of the form"},
        {"InstrumentationKey=00000000-0000-0000-0000-0123456789ab0", "not of the form"},
        {"InstrumentationKey=", "InstrumentationKey is empty"},
        {KEY ";" KEY, "InstrumentationKey twice"},
        {KEY ";IngestionEndpoint=ftp://h", "not an https address"},
        {KEY ";IngestionEndpoint=https://", "not an https address"},
        {KEY ";IngestionEndpoint=https:///x", "not the address of a host"},
        {KEY ";IngestionEndpoint=https://u@h", "not the address of a host"},
        {KEY ";IngestionEndpoint=https://h?x", "not the address of a host"},
        {KEY ";IngestionEndpoint=https://h h", "not one word"},
        {KEY ";IngestionEndpoint=https://h\r\nX: y", "not one word"},
        {KEY ";Authorization=AAD", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_not_equal(parse(cases[i].text), APR_SUCCESS);
        assert_int_equal(err.kind, AC_INVALID_REQUEST);
        assert_non_null(strstr(err.detail, cases[i].said));
        assert_null(strstr(err.detail, "planted"));
    }
}

static void test_long_texts(void **state)
{
    (void)state;
    static const char *const heads[] = {"",
                                        KEY ";IngestionEndpoint=https://",
                                        KEY ";EndpointSuffix=",
                                        KEY ";EndpointSuffix=a.b;Location=",
                                        KEY ";AADAudience=",
                                        KEY ";ApplicationId="};
    static char text[6000];
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        for (size_t n = 60; n < 5000; n += 7) {
            snprintf(text, sizeof text, "%s", heads[i]);
            memset(text + strlen(text), 'x', n);
            text[strlen(heads[i]) + n] = '\0';
            parse(text); /* sanitizers watch */
            if (n > 4300) {
                assert_non_null(strstr(err.detail, "longer than"));
            }
        }
    }
}

static void test_the_authentication_string(void **state)
{
    (void)state;
    char client[AC_APPINSIGHTS_CLIENT_SIZE];
    bool identity;
    ac_err_init(&err);
    assert_int_equal(ac_appinsights_string_authentication(&identity, client, "Authorization=AAD", &err), APR_SUCCESS);
    assert_true(identity);
    assert_string_equal(client, "");
    assert_int_equal(ac_appinsights_string_authentication(&identity, client, "authorization=aad;ClientId=abc", &err),
                     APR_SUCCESS);
    assert_string_equal(client, "abc");
    assert_int_equal(ac_appinsights_string_authentication(&identity, client, "", &err), APR_SUCCESS);
    assert_false(identity);
    assert_int_not_equal(ac_appinsights_string_authentication(&identity, client, "Authorization=Basic", &err),
                         APR_SUCCESS);
    assert_non_null(strstr(err.detail, "not AAD"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_telemetry_goes),
        cmocka_unit_test(test_the_other_parts),
        cmocka_unit_test(test_what_is_wrong_is_said_without_the_text),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_the_authentication_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
