/* SPDX-License-Identifier: Apache-2.0 */
/* The log: numbers, thresholds, what reaches the sink; and the table of messages itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static struct {
    int n_calls;
    ac_level_e level;
    char file[200];
    int line;
    apr_status_t status;
    char text[4096];
} seen;

static void remember(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    seen.n_calls++;
    seen.level = level;
    snprintf(seen.file, sizeof(seen.file), "%s", file);
    seen.line = line;
    seen.status = status;
    snprintf(seen.text, sizeof(seen.text), "%s", text);
}

static int forget(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    ac_log_install(NULL, AC_INFO);
    return 0;
}

static void test_nothing_happens_without_a_sink(void **state)
{
    (void)state;
    assert_false(ac_log_on(AC_ERROR));
    ac_log(AC_M101, APR_SUCCESS, "no %s", "listener");
    ac_log_detail(AC_TRACE, "file", 1, "no listener");
    assert_int_equal(seen.n_calls, 0);
}

static void test_a_message_carries_number_place_and_cause(void **state)
{
    (void)state;
    ac_log_install(remember, AC_INFO);
    int line = __LINE__ + 1;
    ac_log(AC_M101, APR_ENOMEM, "loop %d: no memory", 7);
    assert_int_equal(seen.n_calls, 1);
    assert_string_equal(seen.text, "AC0101: loop 7: no memory");
    assert_int_equal(seen.level, AC_ERROR);
    assert_int_equal(seen.status, APR_ENOMEM);
    assert_int_equal(seen.line, line);
    assert_non_null(strstr(seen.file, "test_log.c"));
}

static void test_threshold(void **state)
{
    (void)state;
    ac_log_install(remember, AC_DEBUG);
    assert_true(ac_log_on(AC_ERROR) && ac_log_on(AC_WARNING) && ac_log_on(AC_INFO) && ac_log_on(AC_DEBUG));
    assert_false(ac_log_on(AC_TRACE));
    ac_debug("run[%s] %s", "1", "LOADING");
    assert_int_equal(seen.n_calls, 1);
    assert_string_equal(seen.text, "run[1] LOADING");
    assert_int_equal(seen.level, AC_DEBUG);
    ac_trace("frame");
    ac_log_detail(AC_TRACE, "file", 1, "frame");
    assert_int_equal(seen.n_calls, 1);
    ac_log_install(remember, AC_TRACE);
    ac_trace("frame");
    assert_int_equal(seen.n_calls, 2);
    assert_int_equal(seen.level, AC_TRACE);
}

static int count_call(int *pn)
{
    return ++*pn;
}

static void test_arguments_of_silent_levels_are_not_evaluated(void **state)
{
    (void)state;
    int n = 0;
    ac_log_install(remember, AC_INFO);
    ac_debug("%d", count_call(&n));
    ac_trace("%d", count_call(&n));
    assert_int_equal(n, 0);
    ac_log_install(remember, AC_TRACE);
    ac_debug("%d", count_call(&n));
    assert_int_equal(n, 1);
}

static void test_long_messages_are_cut_between_characters(void **state)
{
    (void)state;
    char text[6001] = "";
    for (size_t i = 0; i + 3 < sizeof(text); i += 3) {
        memcpy(text + i, "\xe2\x82\xac", 3);
    }
    ac_log_install(remember, AC_TRACE);
    ac_log(AC_M101, APR_SUCCESS, "%s", text);
    assert_true(strlen(seen.text) > 1000 && strlen(seen.text) < 2100);
    assert_true(ac_utf8_valid(seen.text, strlen(seen.text)));
    for (int shift = 0; shift < 3; shift++) {
        ac_debug("%.*s%s", shift, "xx", text);
        assert_true(ac_utf8_valid(seen.text, strlen(seen.text)));
    }
}

static void test_the_table(void **state)
{
    (void)state;
    int n_rows = 0;
    for (const ac_log_row_t *row = ac_log_rows(); row->number; row++, n_rows++) {
        assert_in_range(row->number, 101, 699);
        assert_true(row->level <= AC_INFO);
        assert_true(strlen(row->meaning) > 10 && strlen(row->remedy) > 10);
        for (const ac_log_row_t *other = ac_log_rows(); other != row; other++) {
            assert_int_not_equal(other->number, row->number);
        }
    }
    assert_true(n_rows >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_happens_without_a_sink, forget),
        cmocka_unit_test_setup(test_a_message_carries_number_place_and_cause, forget),
        cmocka_unit_test_setup(test_threshold, forget),
        cmocka_unit_test_setup(test_arguments_of_silent_levels_are_not_evaluated, forget),
        cmocka_unit_test_setup(test_long_messages_are_cut_between_characters, forget),
        cmocka_unit_test_setup(test_the_table, forget),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
