/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded buffers: growth, limits that leave them unharmed, and JSON strings compared with a parser's reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void test_add_grows_and_ends_with_nul(void **state)
{
    (void)state;
    ac_buf_t buf;
    char wanted[3001];
    ac_buf_init(&buf, sizeof(wanted));
    assert_null(buf.data);
    for (size_t i = 0; i < sizeof(wanted) - 1; i++) {
        wanted[i] = (char)('a' + i % 26);
        assert_int_equal(ac_buf_add(&buf, wanted + i, 1), APR_SUCCESS);
        assert_int_equal(buf.data[buf.len], '\0');
    }
    wanted[sizeof(wanted) - 1] = '\0';
    assert_int_equal(buf.len, sizeof(wanted) - 1);
    assert_string_equal(buf.data, wanted);
    assert_false(buf.failed);
    ac_buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.max, sizeof(wanted));
}

static void test_max_is_exact_and_refusal_changes_nothing(void **state)
{
    (void)state;
    ac_buf_t buf;
    ac_buf_init(&buf, 10);
    assert_int_equal(ac_buf_str(&buf, "12345"), APR_SUCCESS);
    assert_int_equal(ac_buf_str(&buf, "678901"), APR_ENOSPC);
    assert_true(buf.failed);
    assert_string_equal(buf.data, "12345");
    assert_int_equal(ac_buf_printf(&buf, "%s", "678901"), APR_ENOSPC);
    assert_string_equal(buf.data, "12345");
    assert_int_equal(ac_buf_json(&buf, "6789", 4), APR_ENOSPC);
    assert_string_equal(buf.data, "12345");
    assert_int_equal(ac_buf_add(&buf, "x", SIZE_MAX), APR_ENOSPC);
    assert_int_equal(ac_buf_json(&buf, "x", SIZE_MAX), APR_ENOSPC);
    assert_int_equal(ac_buf_str(&buf, "67890"), APR_SUCCESS);
    assert_string_equal(buf.data, "1234567890");
    assert_int_equal(ac_buf_add(&buf, "x", 1), APR_ENOSPC);
    assert_int_equal(ac_buf_add(&buf, NULL, 0), APR_SUCCESS);
    assert_true(buf.failed);
    ac_buf_clear(&buf);
    assert_false(buf.failed);
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf.data, "");
    ac_buf_free(&buf);
}

static void test_a_max_of_nothing(void **state)
{
    (void)state;
    ac_buf_t buf;
    ac_buf_init(&buf, 0);
    assert_int_equal(ac_buf_str(&buf, ""), APR_SUCCESS);
    assert_string_equal(buf.data, "");
    assert_int_equal(ac_buf_str(&buf, "a"), APR_ENOSPC);
    assert_int_equal(ac_buf_json(&buf, "", 0), APR_ENOSPC);
    ac_buf_free(&buf);
    ac_buf_init(&buf, SIZE_MAX);
    assert_int_equal(ac_buf_str(&buf, "a"), APR_SUCCESS);
    ac_buf_free(&buf);
}

static void test_printf_of_every_length(void **state)
{
    (void)state;
    for (int width = 1; width < 600; width += 7) {
        ac_buf_t buf;
        ac_buf_init(&buf, 2000);
        assert_int_equal(ac_buf_printf(&buf, "%*d", width, 1), APR_SUCCESS);
        assert_int_equal(ac_buf_printf(&buf, "%-*d|", width, 2), APR_SUCCESS);
        assert_int_equal(buf.len, 2 * (size_t)width + 1);
        assert_int_equal(buf.data[width - 1], '1');
        assert_int_equal(buf.data[width], '2');
        assert_int_equal(buf.data[2 * width], '|');
        assert_int_equal(strlen(buf.data), buf.len);
        ac_buf_free(&buf);
    }
}

static void test_shift(void **state)
{
    (void)state;
    ac_buf_t buf;
    ac_buf_init(&buf, 100);
    ac_buf_shift(&buf, 5);
    assert_int_equal(buf.len, 0);
    ac_buf_str(&buf, "hello world");
    ac_buf_shift(&buf, 0);
    ac_buf_shift(&buf, 6);
    assert_string_equal(buf.data, "world");
    assert_int_equal(buf.len, 5);
    ac_buf_shift(&buf, 99);
    assert_string_equal(buf.data, "");
    assert_int_equal(buf.len, 0);
    ac_buf_free(&buf);
}

static void check_json(const char *text, size_t len, const char *wanted)
{
    ac_buf_t buf;
    ac_buf_init(&buf, 10000);
    assert_int_equal(ac_buf_str(&buf, ">"), APR_SUCCESS);
    assert_int_equal(ac_buf_json(&buf, text, len), APR_SUCCESS);
    assert_string_equal(buf.data + 1, wanted);
    assert_int_equal(strlen(buf.data), buf.len);
    ac_buf_free(&buf);
}

static void test_json_escapes(void **state)
{
    (void)state;
    check_json("", 0, "\"\"");
    check_json("plain text, longer than a word of 8 bytes", 41, "\"plain text, longer than a word of 8 bytes\"");
    check_json("say \"hi\" \\ to/all", 17, "\"say \\\"hi\\\" \\\\ to/all\"");
    check_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
    check_json("a\0b\x01\x1f\x7f", 6, "\"a\\u0000b\\u0001\\u001f\x7f\"");
    check_json("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", 15,
               "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80\"");
}

/* source: Unicode 15, 3.9, "U+FFFD substitution of maximal subparts", table 3-8 and its neighbours. */
static void test_json_replaces_invalid_bytes(void **state)
{
    (void)state;
#define R "\xef\xbf\xbd"
    check_json("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", 9, "\"" R R R R R R R R "A\"");
    check_json("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", 9, "\"" R R R R R R R R "A\"");
    check_json("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", 9, "\"" R R R R R "A" R R "B\"");
    check_json("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", 9, "\"" R R R R "A\"");
    check_json("end \xe2\x82", 6, "\"end " R "\"");
    check_json("end \xf0\x9f\x98", 7, "\"end " R "\"");
    check_json("\xc3\"", 2, "\"" R "\\\"\"");
#undef R
}

/* Every byte at every place of a word, so that the scan by words is compared with the scan by bytes. */
static void test_json_of_every_byte_at_every_place(void **state)
{
    (void)state;
    ac_buf_t buf;
    ac_buf_init(&buf, 1000);
    for (int byte = 0; byte < 0x80; byte++) {
        for (size_t place = 0; place < 24; place++) {
            char text[25] = "abcdefghijklmnopqrstuvwx", back[25];
            text[place] = (char)byte;
            ac_buf_clear(&buf);
            assert_int_equal(ac_buf_json(&buf, text, 24), APR_SUCCESS);
            json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(value);
            assert_int_equal(json_string_length(value), 24);
            memcpy(back, json_string_value(value), 24);
            assert_memory_equal(back, text, 24);
            json_decref(value);
        }
    }
    ac_buf_free(&buf);
}

/* A fixed sequence of pseudo-random bytes: any input gives valid JSON of valid UTF-8. */
static void test_json_of_any_bytes_is_json(void **state)
{
    (void)state;
    uint64_t seed = 42;
    ac_buf_t buf;
    ac_buf_init(&buf, 1000);
    for (int round = 0; round < 20000; round++) {
        char text[40];
        size_t len = (size_t)round % (sizeof(text) + 1);
        for (size_t i = 0; i < len; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            /* mostly lead and continuation bytes */
            text[i] = (char)((seed >> 60) < 4 ? seed >> 33 : 0x80 | (seed >> 33 & 0x7f));
        }
        ac_buf_clear(&buf);
        assert_int_equal(ac_buf_json(&buf, text, len), APR_SUCCESS);
        json_t *value = json_loadb(buf.data, buf.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        if (ac_utf8_valid(text, len)) {
            assert_int_equal(json_string_length(value), len);
            assert_true(len == 0 || memcmp(json_string_value(value), text, len) == 0);
        }
        json_decref(value);
    }
    ac_buf_free(&buf);
}

static void test_json_at_its_limit(void **state)
{
    (void)state;
    ac_buf_t buf;
    for (size_t max = 0; max < 12; max++) {
        ac_buf_init(&buf, max);
        apr_status_t status = ac_buf_json(&buf, "a\nb\x01", 4); /* "a\nb\u0001" with its quotes: 12 */
        assert_int_equal(status, APR_ENOSPC);
        assert_int_equal(buf.len, 0);
        assert_true(buf.failed);
        assert_true(!buf.data || !*buf.data);
        ac_buf_free(&buf);
    }
    ac_buf_init(&buf, 12);
    assert_int_equal(ac_buf_json(&buf, "a\nb\x01", 4), APR_SUCCESS);
    assert_string_equal(buf.data, "\"a\\nb\\u0001\"");
    ac_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_grows_and_ends_with_nul),
        cmocka_unit_test(test_max_is_exact_and_refusal_changes_nothing),
        cmocka_unit_test(test_a_max_of_nothing),
        cmocka_unit_test(test_printf_of_every_length),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_json_escapes),
        cmocka_unit_test(test_json_replaces_invalid_bytes),
        cmocka_unit_test(test_json_of_every_byte_at_every_place),
        cmocka_unit_test(test_json_of_any_bytes_is_json),
        cmocka_unit_test(test_json_at_its_limit),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
