/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing, getters that name the member, writing that reads back, and UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static json_t *parse(const char *text)
{
    json_t *value;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_json_parse(&value, text, strlen(text), &err), APR_SUCCESS);
    assert_non_null(value);
    assert_int_equal(err.kind, AC_OK);
    return value;
}

static void refused(const char *text, size_t len, const char *wanted)
{
    json_t *value = (json_t *)&value;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_json_parse(&value, text, len, &err), APR_EINVAL);
    assert_null(value);
    assert_int_equal(err.kind, AC_BAD_JSON);
    assert_string_equal(err.detail, wanted);
    assert_int_equal(ac_json_parse(&value, text, len, NULL), APR_EINVAL);
}
#define REFUSED(text, wanted) refused(text, sizeof(text) - 1, wanted)

static void test_parse_takes_any_value(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}",
                                        "[]",
                                        "null",
                                        "true",
                                        "\"x\"",
                                        " 1 ",
                                        "-0.5e3",
                                        "9223372036854775807",
                                        "\t{\"a\": [1, {\"b\": \"\\ud83d\\ude00 [[[[\\\"{{\"}]}\r\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_decref(parse(texts[i]));
    }
}

static void test_parse_refuses_with_the_position(void **state)
{
    (void)state;
    REFUSED("", "the document is empty");
    refused(NULL, 0, "the document is empty");
    REFUSED("   ", "the document ends too early at line 1, column 3");
    REFUSED("{\"a\": 1,\n \"a\": 2}", "an object has the same member twice at line 2, column 4");
    REFUSED("{\"a\": 1", "the document ends too early at line 1, column 7");
    REFUSED("\"open", "the document ends too early at line 1, column 5");
    REFUSED("{} {}", "something follows the end of the document at line 1, column 4");
    REFUSED("[1,]", "the document is not valid JSON at line 1, column 4");
    REFUSED("{a: 1}", "the document is not valid JSON at line 1, column 2");
    REFUSED("[01]", "the document is not valid JSON at line 1, column 2");
    REFUSED("NaN", "the document is not valid JSON at line 1, column 3");
    REFUSED("[1e999]", "a number is too large at line 1, column 6");
    REFUSED("9223372036854775808", "a number is too large at line 1, column 19");
    REFUSED("[\"\\u0000\"]", "a string holds the character U+0000 at line 1, column 9");
    REFUSED("{\"\\u0000\": 1}", "a string holds the character U+0000 at line 1, column 9");
    REFUSED("\xef\xbb\xbf{}", "the document is not valid JSON at line 1, column 1");
    REFUSED("[\"\\ud800\"]", "the document is not valid JSON at line 1, column 9");
}

static void test_parse_refuses_nul_bytes(void **state)
{
    (void)state;
    REFUSED("{}\0", "the document holds a NUL byte at line 1, column 3");
    REFUSED("{\n\"\xc3\xbc\0\": 1}", "the document holds a NUL byte at line 2, column 3");
    REFUSED("\0", "the document holds a NUL byte at line 1, column 1");
}

static void test_parse_refuses_invalid_utf8(void **state)
{
    (void)state;
    static const char *const texts[] = {"\"\xff\"",     "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
                                        "\"\xe2\x82\"", "\xff"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *value;
        ac_err_t err;
        ac_err_init(&err);
        assert_int_equal(ac_json_parse(&value, texts[i], strlen(texts[i]), &err), APR_EINVAL);
        assert_null(value);
        assert_memory_equal(err.detail, "the document is not valid UTF-8 at line 1", 41);
    }
}

static void test_parse_never_quotes_the_document(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"secretword\": secretword}", "[secretword]",
                                        "{\"secretword\" \"secretword\"}", "{\"secretword\":1,\"secretword\":2}",
                                        "\"x\" secretword"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        json_t *value;
        ac_err_t err;
        ac_err_init(&err);
        assert_int_equal(ac_json_parse(&value, texts[i], strlen(texts[i]), &err), APR_EINVAL);
        assert_null(strstr(err.detail, "secretword"));
    }
}

static void test_depth(void **state)
{
    (void)state;
    static const char *const opens[] = {"[", "{\"a\":"}, *const closes[] = {"]", "}"};
    for (int kind = 0; kind < 2; kind++) {
        for (int depth = AC_MAX_JSON_DEPTH; depth <= AC_MAX_JSON_DEPTH + 1; depth++) {
            ac_buf_t buf;
            json_t *value;
            ac_err_t err;
            ac_err_init(&err);
            ac_buf_init(&buf, 10000);
            for (int i = 0; i < depth; i++) {
                ac_buf_str(&buf, opens[kind]);
            }
            ac_buf_str(&buf, "\"]}\\\"[[[[{{{{\"");
            for (int i = 0; i < depth; i++) {
                ac_buf_str(&buf, closes[kind]);
            }
            apr_status_t status = ac_json_parse(&value, buf.data, buf.len, &err);
            assert_int_equal(status == APR_SUCCESS, depth <= AC_MAX_JSON_DEPTH);
            assert_int_equal(strstr(err.detail, "nested too deeply") != NULL, depth > AC_MAX_JSON_DEPTH);
            json_decref(value);
            ac_buf_free(&buf);
        }
    }
}

static void test_depth_counts_open_ones_only(void **state)
{
    (void)state;
    ac_buf_t buf;
    ac_buf_init(&buf, 10000);
    for (int i = 0; i < 500; i++) {
        ac_buf_str(&buf, i ? ",[{}]" : "[[{}]");
    }
    ac_buf_str(&buf, "]");
    json_t *value = parse(buf.data);
    assert_int_equal(json_array_size(value), 500);
    json_decref(value);
    ac_buf_free(&buf);
}

static void test_a_million_brackets_are_refused_early(void **state)
{
    (void)state;
    size_t len = 1000000;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, '[', len);
    refused(text, len, "the document is nested too deeply at line 1, column 33");
    memset(text, '"', len);
    text[1] = '\\';
    refused(text, len, "something follows the end of the document at line 1, column 6");
    free(text);
}

typedef struct getter_case_t {
    const char *document;
    ac_kind_e kind;
    const char *pointer, *detail;
} getter_case_t;

static void check_err(const ac_err_t *err, const getter_case_t *c)
{
    assert_int_equal(err->kind, c->kind);
    assert_string_equal(err->pointer, c->pointer);
    assert_string_equal(err->detail, c->detail);
}

static void test_string_getter(void **state)
{
    (void)state;
    static const getter_case_t cases[] = {
        {"{\"a\": \"x\"}", AC_OK, "", ""},
        {"{\"a\": \"\"}", AC_OK, "", ""},
        {"{}", AC_INVALID_REQUEST, "/a", "a is missing"},
        {"{\"a\": null}", AC_INVALID_REQUEST, "/a", "a must not be null"},
        {"{\"a\": 1}", AC_INVALID_REQUEST, "/a", "a must be a string"},
        {"[]", AC_INVALID_REQUEST, "", "the document must be an object"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *text = "untouched";
        ac_err_t err;
        ac_err_init(&err);
        json_t *object = parse(cases[i].document);
        apr_status_t status = ac_json_string(&text, object, "a", true, &err);
        assert_int_equal(status == APR_SUCCESS, cases[i].kind == AC_OK);
        assert_int_equal(text != NULL, cases[i].kind == AC_OK);
        check_err(&err, &cases[i]);
        json_decref(object);
    }
    json_t *object = parse("{\"a\": null, \"b\": \"y\"}");
    const char *text = "untouched";
    assert_int_equal(ac_json_string(&text, object, "a", false, NULL), APR_SUCCESS);
    assert_null(text);
    assert_int_equal(ac_json_string(&text, object, "b", true, NULL), APR_SUCCESS);
    assert_string_equal(text, "y");
    assert_int_equal(ac_json_string(&text, NULL, "a", false, NULL), APR_SUCCESS);
    assert_null(text);
    assert_int_equal(ac_json_string(&text, NULL, "a", true, NULL), APR_EINVAL);
    json_decref(object);
}

static void test_bool_and_int_getters(void **state)
{
    (void)state;
    json_t *object = parse("{\"t\": true, \"f\": false, \"n\": null, \"i\": -5, \"r\": 2.0, \"s\": \"1\"}");
    bool flag;
    int64_t number;
    ac_err_t err;
    assert_int_equal(ac_json_bool(&flag, object, "t", false, NULL), APR_SUCCESS);
    assert_true(flag);
    assert_int_equal(ac_json_bool(&flag, object, "f", true, NULL), APR_SUCCESS);
    assert_false(flag);
    assert_int_equal(ac_json_bool(&flag, object, "n", true, NULL), APR_SUCCESS);
    assert_true(flag);
    assert_int_equal(ac_json_int(&number, object, "i", 7, NULL), APR_SUCCESS);
    assert_int_equal(number, -5);
    assert_int_equal(ac_json_int(&number, object, "absent", 7, NULL), APR_SUCCESS);
    assert_int_equal(number, 7);

    ac_err_init(&err);
    assert_int_equal(ac_json_bool(&flag, object, "i", false, &err), APR_EINVAL);
    check_err(&err, &(getter_case_t){NULL, AC_INVALID_REQUEST, "/i", "i must be true or false"});
    ac_err_init(&err);
    assert_int_equal(ac_json_int(&number, object, "r", 0, &err), APR_EINVAL);
    check_err(&err, &(getter_case_t){NULL, AC_INVALID_REQUEST, "/r", "r must be an integer"});
    ac_err_init(&err);
    assert_int_equal(ac_json_int(&number, object, "s", 0, &err), APR_EINVAL);
    check_err(&err, &(getter_case_t){NULL, AC_INVALID_REQUEST, "/s", "s must be an integer"});
    json_decref(object);
}

static void test_only(void **state)
{
    (void)state;
    static const char *const names[] = {"content", "stream", NULL};
    ac_err_t err;
    ac_err_init(&err);
    json_t *object = parse("{\"content\": 1, \"stream\": 2}");
    assert_int_equal(ac_json_only(object, names, &err), APR_SUCCESS);
    assert_int_equal(ac_json_only(NULL, names, &err), APR_SUCCESS);
    json_decref(object);
    object = parse("{\"content\": 1, \"a/b~c\": 2, \"other\": 3}");
    assert_int_equal(ac_json_only(object, names, &err), APR_EINVAL);
    check_err(&err, &(getter_case_t){NULL, AC_INVALID_REQUEST, "/a~1b~0c", "a member of this name is not known"});
    json_decref(object);
    object = parse("[]");
    assert_int_equal(ac_json_only(object, names, NULL), APR_EINVAL);
    json_decref(object);
}

static void test_pointer_add_truncates(void **state)
{
    (void)state;
    char pointer[AC_ERR_POINTER_SIZE] = "", name[200];
    memset(name, '~', sizeof(name));
    name[199] = '\0';
    ac_json_pointer_add(pointer, name);
    assert_int_equal(strlen(pointer), 95);
    assert_memory_equal(pointer + 93, "~0", 2);
    ac_json_pointer_add(pointer, "more");
    assert_int_equal(strlen(pointer), 95);
    pointer[0] = '\0';
    memset(name, 'x', sizeof(name));
    memcpy(name + 93, "\xe2\x82\xac", 4);
    ac_json_pointer_add(pointer, name);
    assert_int_equal(strlen(pointer), 94);
    pointer[0] = '\0';
    ac_json_pointer_add(pointer, "");
    ac_json_pointer_add(pointer, "\xff!");
    assert_string_equal(pointer, "//\xef\xbf\xbd!");
}

static void test_peek(void **state)
{
    (void)state;
    json_t *object = parse("{\"s\": \"x\", \"i\": 5, \"r\": 12.0, \"half\": 0.5, \"huge\": 1e300, \"n\": null}");
    assert_string_equal(ac_json_peek_string(object, "s", "fallback"), "x");
    assert_string_equal(ac_json_peek_string(object, "i", "fallback"), "fallback");
    assert_null(ac_json_peek_string(object, "absent", NULL));
    assert_null(ac_json_peek_string(NULL, "s", NULL));
    assert_int_equal(ac_json_peek_int(object, "i", -1), 5);
    assert_int_equal(ac_json_peek_int(object, "r", -1), 12);
    assert_int_equal(ac_json_peek_int(object, "half", -1), -1);
    assert_int_equal(ac_json_peek_int(object, "huge", -1), -1);
    assert_int_equal(ac_json_peek_int(object, "s", -1), -1);
    assert_int_equal(ac_json_peek_int(object, "n", -1), -1);
    assert_int_equal(ac_json_peek_int(NULL, "i", -1), -1);
    json_decref(object);
}

/* Leaks of what put takes are seen by the address sanitizer and valgrind. */
static void test_put_takes_the_value_always(void **state)
{
    (void)state;
    json_t *object = json_object();
    assert_true(ac_json_put(object, "a", json_integer(1)));
    assert_true(ac_json_put(object, "a", json_string("x")));
    assert_false(ac_json_put(object, "b", NULL));
    assert_false(ac_json_put(NULL, "b", json_string("x")));
    assert_false(ac_json_put(object, "\xff", json_string("x")));
    assert_int_equal(json_object_size(object), 1);
    json_decref(object);
}

static void test_text(void **state)
{
    (void)state;
    json_t *value = ac_json_text(NULL);
    assert_true(json_is_null(value));
    json_decref(value);
    value = ac_json_text("");
    assert_string_equal(json_string_value(value), "");
    json_decref(value);
    value = ac_json_text("gr\xc3\xbcn");
    assert_string_equal(json_string_value(value), "gr\xc3\xbcn");
    json_decref(value);
    value = ac_json_text("a\xff"
                         "b\xe2\x82");
    assert_string_equal(json_string_value(value),
                        "a\xef\xbf\xbd"
                        "b\xef\xbf\xbd");
    json_decref(value);
}

static void check_dump(json_t *value, const char *wanted)
{
    size_t len = 0;
    char *text = ac_json_dump(value, &len);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    assert_int_equal(len, strlen(wanted));
    free(text);
    json_decref(value);
}

static void test_dump(void **state)
{
    (void)state;
    check_dump(parse("{\"b\": [1, -2, true, false, null, {}, [], \"\\n\\u00fc\"], \"a\": {\"\\\"\": \"\"}}"),
               "{\"b\":[1,-2,true,false,null,{},[],\"\\n\xc3\xbc\"],\"a\":{\"\\\"\":\"\"}}");
    check_dump(json_string("x"), "\"x\"");
    check_dump(json_null(), "null");
    check_dump(json_integer(INT64_MIN), "-9223372036854775808");
    assert_null(ac_json_dump(NULL, NULL));
}

static void test_dump_writes_the_shortest_real(void **state)
{
    (void)state;
    static const struct {
        double real;
        const char *text;
    } cases[] = {
        {0.1, "0.1"},
        {12.75, "12.75"},
        {13.5, "13.5"},
        {3.0, "3.0"},
        {-0.0, "-0.0"},
        {1e22, "1e+22"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {5e-324, "4.94065645841247e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0.00000123, "1.23e-06"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_dump(json_real(cases[i].real), cases[i].text);
        json_t *back = parse(cases[i].text);
        assert_true(json_is_real(back) && json_real_value(back) == cases[i].real);
        json_decref(back);
    }
}

static void test_dump_refuses_cycles(void **state)
{
    (void)state;
    json_t *outer = json_array(), *inner = json_array();
    json_array_append(outer, inner);
    json_array_append(inner, outer);
    assert_null(ac_json_dump(outer, NULL));
    json_array_clear(inner);
    json_decref(inner);
    json_decref(outer);
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        bool valid;
        size_t whole;
    } cases[] = {
        {"", 0, true, 0},
        {"abc", 3, true, 3},
        {"\xc3\xbc", 2, true, 2},
        {"a\xc3", 2, false, 1},
        {"\xe2\x82\xac", 3, true, 3},
        {"a\xe2\x82", 3, false, 1},
        {"a\xe2", 2, false, 1},
        {"\xf0\x9f\x98\x80", 4, true, 4},
        {"a\xf0\x9f\x98", 4, false, 1},
        {"a\xf0\x9f", 3, false, 1},
        {"a\xf0", 2, false, 1},
        {"\xf4\x8f\xbf\xbf", 4, true, 4},
        {"\xf4\x90\x80\x80", 4, false, 4},
        {"\xed\x9f\xbf", 3, true, 3},
        {"\xed\xa0\x80", 3, false, 3},
        {"\xe0\x9f\xbf", 3, false, 3},
        /* the end is wrong, not cut: nothing that could follow would mend it */
        {"a\xff", 2, false, 2},
        {"a\x80\x80\x80", 4, false, 4},
        {"\xe0\x80", 2, false, 2},
        {"\xf0\x80", 2, false, 2},
        {"\xc1", 1, false, 1},
        {"\xf5\x80", 2, false, 2},
        {"\x80", 1, false, 1},
        {"a\0b", 3, true, 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(ac_utf8_valid(cases[i].text, cases[i].len), cases[i].valid);
        assert_int_equal(ac_utf8_whole(cases[i].text, cases[i].len), cases[i].whole);
    }
    assert_int_equal(ac_utf8_count("", 0), 0);
    assert_int_equal(ac_utf8_count("a\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 10), 4);
}

/* Every code point is accepted, and no other sequence of 1 to 4 bytes. */
static void test_utf8_next_knows_every_character(void **state)
{
    (void)state;
    uint32_t n_valid = 0;
    for (uint32_t bytes = 0; bytes < 1u << 24; bytes++) {
        char text[4] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes, (char)0x80};
        bool valid;
        size_t n = ac_utf8_next(text, 4, &valid);
        assert_true(n >= 1 && n <= 4);
        /* Each character once: with zeros for the bytes that it does not have. */
        bool zeros = (n > 1 || !text[1]) && (n > 2 || !text[2]);
        n_valid += valid && zeros ? (n == 4 ? 64 : 1) : 0;
    }
    assert_int_equal(n_valid, 0x110000 - 0x800);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_takes_any_value),
        cmocka_unit_test(test_parse_refuses_with_the_position),
        cmocka_unit_test(test_parse_refuses_nul_bytes),
        cmocka_unit_test(test_parse_refuses_invalid_utf8),
        cmocka_unit_test(test_parse_never_quotes_the_document),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_counts_open_ones_only),
        cmocka_unit_test(test_a_million_brackets_are_refused_early),
        cmocka_unit_test(test_string_getter),
        cmocka_unit_test(test_bool_and_int_getters),
        cmocka_unit_test(test_only),
        cmocka_unit_test(test_pointer_add_truncates),
        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_put_takes_the_value_always),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_dump),
        cmocka_unit_test(test_dump_writes_the_shortest_real),
        cmocka_unit_test(test_dump_refuses_cycles),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_next_knows_every_character),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
