/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines as JSON: every line is one valid object, whatever bytes it is made of and however long they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

/* 2026-11-23T04:05:06.000007Z */
#define WHEN INT64_C(1795406706000007)

/* The line as an object; it is one line, and fits into a pipe's atomic write. */
static json_t *read_line(const ac_log_line_t *line)
{
    json_error_t problem;
    assert_true(line->len > 2 && line->len <= 4096);
    assert_int_equal(line->text[line->len - 1], '\n');
    assert_null(memchr(line->text, '\n', line->len - 1));
    assert_true(ac_utf8_valid(line->text, line->len));
    json_t *object = json_loadb(line->text, line->len - 1, JSON_REJECT_DUPLICATES, &problem);
    if (!object) {
        fail_msg("%s: %.*s", problem.text, (int)line->len, line->text);
    }
    return object;
}

static json_t *message_line(const char *text)
{
    ac_log_line_t line;
    ac_log_line_begin(&line, WHEN);
    ac_log_line_message(&line, text);
    ac_log_line_end(&line);
    return read_line(&line);
}

static void assert_message(const char *text, const char *expected)
{
    json_t *object = message_line(text);
    assert_string_equal(json_string_value(json_object_get(object, "message")), expected);
    assert_null(json_object_get(object, "truncated"));
    json_decref(object);
}

static void test_the_time_has_microseconds(void **state)
{
    (void)state;
    json_t *object = message_line("x");
    assert_string_equal(json_string_value(json_object_get(object, "time")), "2026-11-23T04:05:06.000007Z");
    json_decref(object);
}

static void test_every_byte_makes_valid_json(void **state)
{
    (void)state;
    assert_message("quote \" backslash \\ tab \t line \n bell \a del \x7f",
                   "quote \" backslash \\ tab \t line \n bell \a "
                   "del \x7f");
    assert_message("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_message("\xff\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_message("cut \xe2\x82", "cut \xef\xbf\xbd");
    assert_message("csi \xc2\x9b", "csi \xc2\x9b");
    for (int a = 1; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            char text[4] = {(char)a, (char)b, '"', '\0'};
            json_decref(message_line(text));
        }
    }
}

static void test_no_control_character_is_written_as_it_is(void **state)
{
    (void)state;
    ac_log_line_t line;
    ac_log_line_begin(&line, WHEN);
    ac_log_line_text(&line, "agent", "\x1b[31m\r");
    ac_log_line_message(&line,
                        "\x1b]0;title\x07 \xc2\x9b"
                        "31m \x7f");
    ac_log_line_end(&line);
    for (size_t i = 0; i + 1 < line.len; i++) {
        assert_true((unsigned char)line.text[i] >= 0x20 && line.text[i] != 0x7f);
        assert_false((unsigned char)line.text[i] == 0xc2 && (unsigned char)line.text[i + 1] < 0xa0);
    }
    json_decref(read_line(&line));
}

static void fill(char *text, const char *unit, size_t size)
{
    size_t len = strlen(unit), n = 0;
    while (n + len < size) {
        memcpy(text + n, unit, len);
        n += len;
    }
    text[n] = '\0';
}

static void test_a_long_message_is_cut_between_characters_and_says_so(void **state)
{
    static const char *const units[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x01", "\"", "\xff"};
    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        for (size_t size = 4000; size < 4200; size++) {
            char text[4200];
            fill(text, units[i], size);
            json_t *object = message_line(text);
            const char *message = json_string_value(json_object_get(object, "message"));
            bool cut = json_is_true(json_object_get(object, "truncated"));
            assert_true(units[i][0] == '\xff' || strncmp(text, message, strlen(message)) == 0);
            assert_true(cut || units[i][0] == '\xff' || strlen(message) == strlen(text));
            json_decref(object);
        }
    }
}

static void test_all_members_at_their_longest_fit(void **state)
{
    char text[600];
    ac_log_line_t line;
    (void)state;
    fill(text, "\x02", sizeof(text));
    ac_usage_t usage = {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, true, true};
    ac_trace_t trace = {.trace_id = "0af7651916cd43dd8448eb211c80319c", .span_id = "b7ad6b7169203331"};
    ac_log_fields_t fields = {.run = text,
                              .thread = text,
                              .request = text,
                              .route = text,
                              .agent = text,
                              .model = text,
                              .tool = text,
                              .status = text,
                              .error = text,
                              .http_status = 503,
                              .rounds = 1,
                              .tool_calls = 2,
                              .latency = INT64_MAX,
                              .first_token = INT64_MAX,
                              .store = INT64_MAX,
                              .usage = &usage,
                              .currency = text,
                              .cost = -1e300,
                              .trace = &trace};
    ac_log_line_begin(&line, WHEN);
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "more%d", i);
        ac_log_line_text(&line, name, text);
    }
    ac_log_line_fields(&line, &fields);
    ac_log_line_message(&line, text);
    ac_log_line_end(&line);
    json_t *object = read_line(&line);
    assert_true(json_is_true(json_object_get(object, "truncated")));
    assert_string_equal(json_string_value(json_object_get(object, "trace_id")), trace.trace_id);
    json_decref(object);
    /* More than fits: members are left out, and the line stays an object. */
    ac_log_line_begin(&line, WHEN);
    for (int i = 0; i < 100; i++) {
        char name[12];
        snprintf(name, sizeof(name), "m%d", i);
        ac_log_line_text(&line, name, text);
    }
    ac_log_line_message(&line, text);
    ac_log_line_end(&line);
    json_decref(read_line(&line));
}

static void test_unknown_fields_are_left_out(void **state)
{
    ac_log_fields_t fields = {.run = "run_1", .agent = "", .latency = 1234567};
    ac_log_line_t line;
    (void)state;
    ac_log_line_begin(&line, WHEN);
    ac_log_line_fields(&line, &fields);
    ac_log_line_end(&line);
    line.text[line.len] = '\0';
    assert_string_equal(line.text,
                        "{\"time\":\"2026-11-23T04:05:06.000007Z\",\"run\":\"run_1\",\"latency_ms\":1234.567}\n");
}

static void test_amounts_have_no_exponent(void **state)
{
    static const struct {
        double amount;
        const char *text;
    } cases[] = {{0, "0.0"},       {0.00000123, "0.00000123"}, {1e-9, "0.0"},           {12.5, "12.5"},
                 {-0.25, "-0.25"}, {1234567.1, "1234567.1"},   {1e300, "10000000000.0"}};
    char text[AC_AMOUNT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_text_amount(text, cases[i].amount);
        assert_string_equal(text, cases[i].text);
    }
}

static const ac_log_fields_t *seen_fields;

static void keep_fields(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)level, (void)file, (void)line, (void)status, (void)text;
    seen_fields = ac_log_fields();
}

static void test_a_sink_sees_the_fields_of_its_line_only(void **state)
{
    ac_log_fields_t fields = {.run = "run_1"};
    (void)state;
    ac_log_install(keep_fields, AC_INFO);
    ac_log_about(AC_M101, &fields, APR_SUCCESS, "about a run");
    assert_ptr_equal(seen_fields, &fields);
    ac_log(AC_M101, APR_SUCCESS, "about nothing");
    assert_null(seen_fields);
    ac_log_install(NULL, AC_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_time_has_microseconds),
        cmocka_unit_test(test_every_byte_makes_valid_json),
        cmocka_unit_test(test_no_control_character_is_written_as_it_is),
        cmocka_unit_test(test_a_long_message_is_cut_between_characters_and_says_so),
        cmocka_unit_test(test_all_members_at_their_longest_fit),
        cmocka_unit_test(test_unknown_fields_are_left_out),
        cmocka_unit_test(test_amounts_have_no_exponent),
        cmocka_unit_test(test_a_sink_sees_the_fields_of_its_line_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
