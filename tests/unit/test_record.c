/* SPDX-License-Identifier: Apache-2.0 */
/* Nouns to JSON: usage, cost, errors, titles; and the check of metadata. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void check_json(json_t *value, const char *wanted)
{
    char *text = ac_json_dump(value, NULL);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    free(text);
    json_decref(value);
}

static void test_usage(void **state)
{
    (void)state;
    ac_usage_t usage = {.prompt = 10, .completion = 20, .total = 30, .cached = 4, .reasoning = 5, .known = true};
    check_json(ac_record_usage(&usage),
               "{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":30,"
               "\"cached_tokens\":4,\"reasoning_tokens\":5,\"estimated\":false}");
    usage.known = false;
    usage.estimated = true;
    usage.total = INT64_C(5000000000);
    check_json(ac_record_usage(&usage),
               "{\"prompt_tokens\":10,\"completion_tokens\":20,\"total_tokens\":5000000000,"
               "\"cached_tokens\":4,\"reasoning_tokens\":5,\"estimated\":true}");
    check_json(ac_record_usage(NULL), "null");
}

static void test_cost(void **state)
{
    (void)state;
    ac_usage_t usage = {.prompt = 1000, .completion = 500, .total = 1500, .cached = 400};
    ac_price_t price = {.input = 0.25, .cached = 0.025, .output = 2.0, .currency = "USD"};
    /* 600 * 0.25 + 400 * 0.025 + 500 * 2 = 1160 millionths */
    check_json(ac_record_cost(&usage, &price), "{\"amount\":0.00116,\"currency\":\"USD\"}");
    usage = (ac_usage_t){.prompt = 1};
    price.input = 0.004999;
    check_json(ac_record_cost(&usage, &price), "{\"amount\":0.0,\"currency\":\"USD\"}");
    price.input = 0.005001;
    check_json(ac_record_cost(&usage, &price), "{\"amount\":1e-08,\"currency\":\"USD\"}");
    usage = (ac_usage_t){.prompt = 100, .cached = 500};
    price = (ac_price_t){.input = 1e6, .cached = 1e6, .output = 0, .currency = "EUR"};
    check_json(ac_record_cost(&usage, &price), "{\"amount\":100.0,\"currency\":\"EUR\"}");
    usage = (ac_usage_t){0};
    check_json(ac_record_cost(&usage, &price), "{\"amount\":0.0,\"currency\":\"EUR\"}");
}

static void test_no_cost(void **state)
{
    (void)state;
    ac_usage_t usage = {.prompt = 1000};
    ac_price_t price = {.input = 1, .currency = ""};
    check_json(ac_record_cost(&usage, &price), "null");
    check_json(ac_record_cost(&usage, NULL), "null");
    price = (ac_price_t){.input = 1e308 * 10, .currency = "USD"};
    check_json(ac_record_cost(&usage, &price), "null");
    price.input = 1;
    check_json(ac_record_cost(NULL, &price), "null");
}

static void test_error(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    check_json(ac_record_error(&err), "null");
    check_json(ac_record_error(NULL), "null");
    ac_err_set(&err, AC_TOOL_TIMEOUT, "the tool gave no answer in %s", "10s");
    check_json(ac_record_error(&err), "{\"code\":\"tool_timeout\",\"message\":\"the tool gave no answer in 10s\"}");
    err.detail[0] = '\0';
    check_json(ac_record_error(&err), "{\"code\":\"tool_timeout\",\"message\":\"A tool took too long\"}");
    err.detail[0] = '\xff';
    err.detail[1] = '\0';
    check_json(ac_record_error(&err), "{\"code\":\"tool_timeout\",\"message\":\"\xef\xbf\xbd\"}");
}

static void check_metadata(json_t *metadata, const char *pointer)
{
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_record_check_metadata(metadata, &err);
    assert_int_equal(status, pointer ? APR_EINVAL : APR_SUCCESS);
    assert_int_equal(err.kind, pointer ? AC_INVALID_REQUEST : AC_OK);
    assert_string_equal(err.pointer, pointer ? pointer : "");
    json_decref(metadata);
}

static json_t *n_members(int n)
{
    json_t *object = json_object();
    char name[20];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        json_object_set_new(object, name, json_string("v"));
    }
    return object;
}

/* A text of n characters, three bytes each. */
static const char *euros(int n)
{
    static char text[3 * 1000 + 1];
    text[0] = '\0';
    for (int i = 0; i < n; i++) {
        memcpy(text + 3 * i, "\xe2\x82\xac", 4);
    }
    return text;
}

static void test_metadata(void **state)
{
    (void)state;
    check_metadata(NULL, NULL);
    check_metadata(json_null(), NULL);
    check_metadata(json_object(), NULL);
    check_metadata(n_members(16), NULL);
    check_metadata(n_members(17), "/metadata");
    check_metadata(json_array(), "/metadata");
    check_metadata(json_string("x"), "/metadata");
    check_metadata(json_pack("{s:s, s:i}", "a", "x", "b/c", 1), "/metadata/b~1c");
    check_metadata(json_pack("{s:n}", "a"), "/metadata/a");
    check_metadata(json_pack("{s:s}", "a", euros(512)), NULL);
    check_metadata(json_pack("{s:s}", "a", euros(513)), "/metadata/a");
    check_metadata(json_pack("{s:s}", euros(64), "x"), NULL);
    char pointer[AC_ERR_POINTER_SIZE] = "/metadata";
    ac_json_pointer_add(pointer, euros(65));
    check_metadata(json_pack("{s:s}", euros(65), "x"), pointer);
}

static void check_title(const char *content, const char *wanted)
{
    json_t *title = ac_record_title(content);
    assert_non_null(title);
    assert_string_equal(json_string_value(title), wanted);
    assert_int_equal(json_string_length(title), strlen(wanted));
    assert_true(ac_utf8_count(wanted, strlen(wanted)) <= AC_MAX_TITLE);
    json_decref(title);
}

static void test_short_titles(void **state)
{
    (void)state;
    check_title("What's the weather in Tokyo?", "What's the weather in Tokyo?");
    check_title("  \n\t\r\n  two   words\t here \nsecond line", "two words here");
    check_title("one\rtwo", "one");
    check_title("one\xe2\x80\xa8two", "one");
    check_title("\xef\xbb\xbf\xc2\xa0\xe3\x80\x80x\xc2\xa0y\xe3\x80\x80", "x y");
    check_title("bell\x07 \x1b[1m", "bell [1m");
    check_title("bad \xff byte", "bad \xef\xbf\xbd byte");
}

static void test_blank_titles(void **state)
{
    (void)state;
    check_title(NULL, "New conversation");
    check_title("", "New conversation");
    check_title(" \n\t\r\n\xc2\xa0\xe2\x80\xa9", "New conversation");
}

static void test_titles_are_cut_at_a_word(void **state)
{
    (void)state;
    /* 60 characters stay whole, the 61st cuts. */
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffffff",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffffff");
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffffff   \n",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffffff");
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffffff",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee\xe2\x80\xa6");
    /* A word that ends at the last place but one, which the ellipsis then takes. */
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff g",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff\xe2\x80\xa6");
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff gg",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee fffffffff\xe2\x80\xa6");
    check_title("aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffff gg",
                "aaaaaaaaa bbbbbbbbb ccccccccc ddddddddd eeeeeeeee ffffffff\xe2\x80\xa6");
}

static void test_titles_of_one_word_are_cut_in_it(void **state)
{
    (void)state;
    char wanted[3 * 60 + 1];
    snprintf(wanted, sizeof(wanted), "%.*s\xe2\x80\xa6", 59 * 3, euros(60));
    check_title(euros(61), wanted);
    check_title(euros(60), euros(60));
    char content[400];
    /* Cut after "Hi", the title would be useless. */
    snprintf(content, sizeof(content), "Hi %s", euros(100));
    snprintf(wanted, sizeof(wanted), "Hi %.*s\xe2\x80\xa6", 56 * 3, euros(100));
    check_title(content, wanted);
}

/* Text and calls in their order, given to ac_record_parts_add_call(). */
static json_t *message_of(const char *content, const char *first, const char *second)
{
    ac_record_parts_t parts = {0};
    if (first) {
        ac_record_parts_add_call(&parts, 6, first);
    }
    if (second) {
        ac_record_parts_add_call(&parts, 2, second); /* never in front of the one before */
    }
    json_t *list = ac_record_parts_list(&parts, strlen(content));
    json_t *message = json_pack("{s:s, s:[], s:{s:s}}", "content", content, "tool_calls", "metadata", "model", "m");
    json_t *calls = json_object_get(message, "tool_calls");
    if (first) {
        json_array_append_new(calls, json_pack("{s:s}", "id", first));
    }
    if (second) {
        json_array_append_new(calls, json_pack("{s:s}", "id", second));
    }
    if (list) {
        json_object_set_new(json_object_get(message, "metadata"), "parts", list);
    }
    ac_record_parts_free(&parts);
    return message;
}

static void check_parts(json_t *message, const char *wanted)
{
    ac_record_show_parts(message);
    json_t *parts = json_object_get(message, "parts");
    assert_null(json_object_get(json_object_get(message, "metadata"), "parts"));
    assert_string_equal(ac_json_peek_string(json_object_get(message, "metadata"), "model", ""), "m");
    if (wanted) {
        check_json(json_incref(parts), wanted);
    } else {
        assert_null(parts);
    }
    json_decref(message);
}

static void test_parts(void **state)
{
    (void)state;
    check_parts(message_of("Let me\u00e9", NULL, NULL), NULL);
    check_parts(message_of("Let me", "a", NULL),
                "[{\"type\":\"text\",\"text\":\"Let me\"},{\"type\":\"tool_call\",\"id\":\"a\"}]");
    check_parts(message_of("Let me.", "a", "b"),
                "[{\"type\":\"text\",\"text\":\"Let me\"},{\"type\":\"tool_call\",\"id\":\"a\"},"
                "{\"type\":\"tool_call\",\"id\":\"b\"},{\"type\":\"text\",\"text\":\".\"}]");
}

static void test_parts_that_do_not_fit(void **state)
{
    (void)state;
    static const char *const lists[] = {"[6]",
                                        "[\"a\"]",
                                        "[6,\"a\",2]",
                                        "[6,\"a\",0,1]",
                                        "[-1,\"a\",8]",
                                        "[5,\"a\",1,\"b\",1]",
                                        "[6,\"a\",null,1]",
                                        "[3,\"a\",4]",
                                        "[]",
                                        "[9223372036854775807,\"a\"]"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        json_t *message = message_of("xx\xc3\xa9xxx", "a", NULL); /* a cut at 3 is within a character */
        json_object_set_new(json_object_get(message, "metadata"), "parts", json_loads(lists[i], 0, NULL));
        check_parts(message, NULL);
    }
    json_t *message = json_pack("{s:n, s:n, s:{s:s}}", "content", "tool_calls", "metadata", "parts", "mine");
    ac_record_show_parts(message);
    check_json(message, "{\"content\":null,\"tool_calls\":null,\"metadata\":{\"parts\":\"mine\"}}");
    message = json_pack("{s:n, s:n}", "content", "metadata");
    ac_record_show_parts(message);
    check_json(message, "{\"content\":null,\"metadata\":null}");
}

static void test_parts_of_any_answer(void **state)
{
    (void)state;
    json_t *message = message_of("Let me.", "a", "b");
    check_json(ac_record_parts_of(message),
               "[{\"type\":\"text\",\"text\":\"Let me\"},{\"type\":\"tool_call\",\"id\":\"a\"},"
               "{\"type\":\"tool_call\",\"id\":\"b\"},{\"type\":\"text\",\"text\":\".\"}]");
    assert_string_equal(ac_json_peek_string(ac_record_call(message, "b"), "id", ""), "b");
    assert_null(ac_record_call(message, "c"));
    assert_null(ac_record_call(NULL, "a"));
    json_object_del(json_object_get(message, "metadata"), "parts");
    check_json(ac_record_parts_of(message),
               "[{\"type\":\"tool_call\",\"id\":\"a\"},{\"type\":\"tool_call\",\"id\":\"b\"},"
               "{\"type\":\"text\",\"text\":\"Let me.\"}]");
    json_object_set_new(json_object_get(message, "metadata"), "parts", json_loads("[6,\"a\"]", 0, NULL));
    assert_int_equal(json_array_size(json_object_get(message, "tool_calls")), 2);
    json_t *parts = ac_record_parts_of(message);
    assert_int_equal(json_array_size(parts), 3);
    json_decref(parts);
    json_decref(message);
    message = json_pack("{s:n, s:n}", "content", "metadata");
    check_json(ac_record_parts_of(message), "[]");
    json_decref(message);
}

static void test_parts_continue(void **state)
{
    (void)state;
    ac_record_parts_t parts = {0};
    ac_record_parts_read(&parts, NULL);
    assert_null(ac_record_parts_list(&parts, 9));
    ac_record_parts_read(&parts, json_loads("[6,\"a\",\"b\",2]", 0, NULL));
    ac_record_parts_add_call(&parts, 11, "c");
    check_json(ac_record_parts_list(&parts, 12), "[6,\"a\",\"b\",2,3,\"c\",1]");
    ac_record_parts_free(&parts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_parts_that_do_not_fit),
        cmocka_unit_test(test_parts_of_any_answer),
        cmocka_unit_test(test_parts_continue),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_no_cost),
        cmocka_unit_test(test_error),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_short_titles),
        cmocka_unit_test(test_blank_titles),
        cmocka_unit_test(test_titles_are_cut_at_a_word),
        cmocka_unit_test(test_titles_of_one_word_are_cut_in_it),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
