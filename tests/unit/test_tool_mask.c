/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that a service repeats: hidden in every form in which a reader would know them again, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <openssl/evp.h>

#include "back/tools/tool_support.h"

#define SECRET "s3c/r3t+T k\"e=y"

static apr_pool_t *pool;

static const ac_tool_mask_t *mask_of(const char *secret)
{
    apr_array_header_t *headers = apr_array_make(pool, 2, sizeof(ac_tool_header_t));
    ac_tool_header_t *header = apr_array_push(headers);
    memset(header, 0, sizeof(*header));
    header = apr_array_push(headers);
    memset(header, 0, sizeof(*header));
    header->secret.value = secret;
    return ac_tool_mask_create(headers, pool);
}

static void expect_cut(const char *secret, const char *text, const char *expected, bool cut)
{
    char *copy = strdup(text);
    bool any = ac_tool_mask_text(mask_of(secret), copy, strlen(copy), cut);
    assert_string_equal(copy, expected);
    assert_true(any == (strcmp(text, expected) != 0));
    free(copy);
}

static void expect(const char *secret, const char *text, const char *expected)
{
    expect_cut(secret, text, expected, false);
}

static void test_as_it_is(void **state)
{
    (void)state;
    expect("s3cr3t", "", "");
    expect("s3cr3t", "Bearer s3cr3t.", "Bearer ******.");
    expect("s3cr3t", "s3cr3ts3cr3t s3cr3 s3crs3cr3t", "************ s3cr3 s3cr******");
    expect("s3cr3t", "S3CR3T s3cr3T", "S3CR3T s3cr3T");
    expect("short", "short", "short"); /* may stand anywhere by chance */
    expect(NULL, "s3cr3t", "s3cr3t");
    expect("\xc3\xa9\xc3\xa9\xc3\xa9", "a \xc3\xa9\xc3\xa9\xc3\xa9 b", "a ****** b");
}

static void test_escaped(void **state)
{
    (void)state;
    expect("Token1", "\\u0054oken1 \\u0054\\u006f\\u006B\\u0065\\u006e\\u0031",
           "*********** ************************************");
    expect("a/token", "a\\/token a\\\\/token a\\x2ftoken", "******** ********* **********");
    expect("a\"b\\c'd", "a\\\"b\\\\c'd a\"b\\c'd a\\u0022b\\u005cc\\'d", "********* ******* ******************");
    expect("to ken/", "to%20ken%2F to+ken%2f %74o ken/", "*********** ********* *********");
    expect("a&b<c>d", "a&amp;b&lt;c&gt;d a&#38;b&#x3c;c&#X3E;d a&b<c>d",
           "***************** ********************* *******");
    expect("100%41x", "100%41x 100%2541x 100%25x", "******* ********* 100%25x");
    static const char none[] = "\\u00zztoken \\ \\\\\\ % %2 %zz & &# &#x; &#9999999; \\u0074";
    expect("token1", none, none);
    expect(SECRET, "{\"a\":\"s3c\\/r3t+T k\\\"e=y\"}", "{\"a\":\"*****************\"}");
}

/* The secret in base64, with each number of bytes before and after it. */
static void test_base64(void **state)
{
    (void)state;
    for (size_t before = 0; before < 8; before++) {
        for (size_t behind = 0; behind < 4; behind++) {
            char plain[64], text[128] = "", again[128];
            memset(plain, 'x', sizeof(plain));
            memcpy(plain + before, "key?>?>?>_1", 11);
            EVP_EncodeBlock((unsigned char *)text, (unsigned char *)plain, (int)(before + 11 + behind));
            size_t len = strlen(text);
            assert_true(ac_tool_mask_text(mask_of("key?>?>?>_1"), text, len, false));
            assert_true(strspn(strchr(text, '*'), "*") >= 13);
            for (char *c = again; (size_t)(c - again) <= len; c++) {
                char was = text[c - again];
                *c = was == '+' ? '-' : was == '/' ? '_' : was;
            }
            assert_string_equal(text, again); /* what is left has none of the bytes that differ */
        }
    }
    expect("key?>?>?>_1", "a2V5Pz4_Pj8-XzE=", "**************E=");
    expect("key?>?>?>_1", "a2V5Pz4%2FPj8%2BXzE= a2V5Pz4\\/Pj8+XzE", "******************E= ***************E");
    expect("s3cr3t", "7333637233 733363723374 733363723374", "7333637233 ************ ************");
    expect("kkkkkkm", "6b6b6b6b6b6b6D", "**************");
}

static void test_cut(void **state)
{
    (void)state;
    expect_cut("s3cr3t", "Bearer s3cr3", "Bearer *****", true);
    expect_cut("s3cr3t", "Bearer s3cr3", "Bearer s3cr3", false);
    expect_cut("s3cr3t", "Bearer s3c", "Bearer s3c", true);
    expect_cut("s3cr3t", "Bearer s3cr3t", "Bearer ******", true);
    expect_cut("s3cr3t", "Bearer s3cr\\u0033", "Bearer **********", true);
}

static void expect_json(const char *secret, const char *text, const char *expected)
{
    json_t *value = ac_tool_mask_json(mask_of(secret), json_loads(text, JSON_DECODE_ANY, NULL));
    char *is = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    assert_string_equal(is, expected);
    free(is);
    json_decref(value);
}

static void test_json(void **state)
{
    (void)state;
    expect_json("Token/1", "{\"a\":[\"\\u0054oken\\/1\",1,null,true,[\"x Token/1\"]],\"b\":{\"Token\\/1\":2}}",
                "{\"a\":[\"*******\",1,null,true,[\"x *******\"]],\"b\":{\"*******\":2}}");
    expect_json("Token/1", "\"\\\\u0054oken/1\"", "\"************\"");
    expect_json("1234567", "[1234567,-1234567,12345678.5,123456,\"1234567\"]",
                "[\"*******\",\"-*******\",\"*******8.5\",123456,\"*******\"]");
    expect_json("no", "{\"no\":[\"no\"]}", "{\"no\":[\"no\"]}");
    assert_null(ac_tool_mask_json(mask_of("s3cr3t"), NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_it_is), cmocka_unit_test(test_escaped), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_cut),      cmocka_unit_test(test_json),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("tool_mask", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
