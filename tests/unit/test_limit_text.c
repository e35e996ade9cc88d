/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as people write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static ac_err_t err;

static apr_status_t parse(ac_limits_t *limits, const char *text, ac_by_e by)
{
    ac_err_init(&err);
    return ac_limit_parse(limits, text, by, &err);
}

static void test_the_whole_form(void **state)
{
    (void)state;
    ac_limits_t limits = {0};
    assert_int_equal(parse(&limits, "requests=60/min  tokens=100k/min\tstreams=5 cost=2.50/day runs=2k by=agent",
                           AC_BY_OWNER),
                     APR_SUCCESS);
    assert_int_equal(limits.n, 5);
    static const ac_limit_t want[] = {
        {AC_LIMIT_REQUESTS, AC_BY_AGENT, 60, 60 * APR_USEC_PER_SEC, false},
        {AC_LIMIT_TOKENS, AC_BY_AGENT, 100000, 60 * APR_USEC_PER_SEC, false},
        {AC_LIMIT_STREAMS, AC_BY_AGENT, 5, 0, false},
        {AC_LIMIT_COST, AC_BY_AGENT, 2500000000, 86400 * APR_USEC_PER_SEC, false},
        {AC_LIMIT_RUNS, AC_BY_AGENT, 2000, 0, false},
    };
    for (int i = 0; i < limits.n; i++) {
        assert_int_equal(limits.list[i].measure, want[i].measure);
        assert_int_equal(limits.list[i].by, want[i].by);
        assert_int_equal(limits.list[i].most, want[i].most);
        assert_int_equal(limits.list[i].window, want[i].window);
    }
}

static void test_lines_add_up(void **state)
{
    (void)state;
    ac_limits_t limits = {0};
    assert_int_equal(parse(&limits, "requests=1/s requests=2M/hour", AC_BY_KEY), APR_SUCCESS);
    assert_int_equal(parse(&limits, "requests=1/s by=owner", AC_BY_OWNER), APR_SUCCESS);
    assert_int_equal(limits.n, 3);
    assert_int_equal(limits.list[0].by, AC_BY_KEY);
    assert_int_equal(limits.list[1].most, 2000000);
    assert_int_equal(limits.list[1].window, 3600 * APR_USEC_PER_SEC);
    assert_int_equal(limits.list[2].by, AC_BY_OWNER);
    assert_int_equal(limits.list[2].window, APR_USEC_PER_SEC);
}

static void test_money(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t most;
    } cases[] = {
        {"cost=1/day", 1000000000},
        {"cost=0.000000001/s", 1},
        {"cost=12.5/hour", 12500000000},
        {"cost=1000000000/day", AC_MAX_LIMIT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_limits_t limits = {0};
        assert_int_equal(parse(&limits, cases[i].text, AC_BY_OWNER), APR_SUCCESS);
        assert_int_equal(limits.list[0].most, cases[i].most);
    }
}

static void test_invalid_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no limit in it"},
        {"by=owner", "no limit in it"},
        {"requests", "'requests' is no limit; accepted are"},
        {"speed=1/s", "'speed=1/s' is no limit; accepted are requests=, tokens=, streams=, runs=, cost= and by="},
        {"requests=60", "like requests=60/min"},
        {"requests=60/month", "/s, /min, /hour or /day"},
        {"requests=/min", "'requests=/min'"},
        {"requests=0/min", "'requests=0/min'"},
        {"requests=-1/min", "'requests=-1/min'"},
        {"requests=1.5/min", "'requests=1.5/min'"},
        {"requests=1K/min", "'requests=1K/min'"},
        {"requests=1kk/min", "'requests=1kk/min'"},
        {"requests=9999999999999999999/min", "'requests=99"},
        {"tokens=9999999999999999M/min", "like tokens=100k/min"},
        {"streams=5/min", "like streams=5"},
        {"runs=5/min", "like runs=5"},
        {"streams=", "like streams=5"},
        {"cost=1.0000000001/day", "like cost=2.50/day"},
        {"cost=1./day", "cost=1./day"},
        {"cost=.5/day", "cost=.5/day"},
        {"cost=1k/day", "cost=1k/day"},
        {"cost=1.2.3/day", "cost=1.2.3"},
        {"cost=1000000000.1/day", "cost=1000000000.1"},
        {"cost=0.0/day", "cost=0.0"},
        {"requests=1/s by=me", "'by=me' is not one of by=owner, by=key, by=agent, by=address"},
        {"requests=1/s by=owner by=key", "second by="},
        {"requests=1/s requests=2/s", "'requests=2/s' is given twice by=owner"},
        {"requests=1/s aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "longer than"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_limits_t limits = {.scope = "mine"};
        assert_int_not_equal(parse(&limits, cases[i].text, AC_BY_OWNER), APR_SUCCESS);
        assert_non_null(strstr(err.detail, cases[i].says));
        assert_int_equal(limits.n, 0);
        assert_string_equal(limits.scope, "mine");
    }
}

static void test_a_key_counts_by_key(void **state)
{
    (void)state;
    ac_limits_t limits = {0};
    assert_int_not_equal(parse(&limits, "requests=1/s by=owner", AC_BY_KEY), APR_SUCCESS);
    assert_non_null(strstr(err.detail, "by key"));
    assert_int_equal(limits.n, 0);
}

static void test_no_more_than_there_is_room_for(void **state)
{
    (void)state;
    ac_limits_t limits = {0};
    static const char *const line[] = {"requests=1/s requests=1/min requests=1/hour requests=1/day", "by=owner",
                                       "by=agent", "by=key", "by=address"};
    for (int i = 1; i < 5; i++) {
        char text[160];
        snprintf(text, sizeof(text), "%s %s", line[0], line[i]);
        assert_int_equal(parse(&limits, text, AC_BY_OWNER), APR_SUCCESS);
    }
    assert_int_equal(limits.n, AC_MAX_LIMITS);
    assert_int_not_equal(parse(&limits, "streams=1", AC_BY_OWNER), APR_SUCCESS);
    assert_non_null(strstr(err.detail, "more than 16"));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(ac_limit_measure_name(AC_LIMIT_COST), "cost");
    assert_string_equal(ac_limit_by_name(AC_BY_ADDRESS), "address");
    assert_string_equal(ac_limit_window_name(60 * APR_USEC_PER_SEC), "min");
    assert_string_equal(ac_limit_window_name(0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_whole_form),
        cmocka_unit_test(test_lines_add_up),
        cmocka_unit_test(test_money),
        cmocka_unit_test(test_invalid_limits),
        cmocka_unit_test(test_a_key_counts_by_key),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
