/* SPDX-License-Identifier: Apache-2.0 */
/* The query string of a request. */
#include "request_world.h"

static const char *const names[] = {"a", "b", "c", "d", "", "f", "n", "t", "x", "limit", "after", NULL};

static void test_query_decoded(void **state)
{
    (void)state;
    ac_request_t *rq = make("a=1&&b=x+y%20%C3%a9&c&d=&=e&f=1=2");
    assert_int_equal(ac_query_read(rq, names), APR_SUCCESS);
    assert_string_equal(ac_query_get(rq, "a"), "1");
    assert_string_equal(ac_query_get(rq, "b"), "x y \xc3\xa9");
    assert_string_equal(ac_query_get(rq, "c"), "");
    assert_string_equal(ac_query_get(rq, "d"), "");
    assert_string_equal(ac_query_get(rq, ""), "e");
    assert_string_equal(ac_query_get(rq, "f"), "1=2");
    assert_null(ac_query_get(rq, "A"));
    assert_null(ac_query_get(make(NULL), "a"));
}

static void test_query_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=%",   "a=%4",   "a=%zz",   "a=%00",    "a=%ff",
                                      "a=%c3", "a=\xff", "a=1&a=2", "a=1&%61=2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ac_request_t *rq = make(bad[i]);
        assert_int_not_equal(ac_query_read(rq, names), APR_SUCCESS);
        assert_int_equal(rq->err.kind, AC_INVALID_REQUEST);
    }
}

static void test_query_of_others(void **state)
{
    (void)state;
    static const char *const fine[] = {"a=1&_=5",         "_=5&a=1&_=6",
                                       "z=%zz&%zz=1&a=1", "%00=1&a=1&%ff&z=%ff",
                                       "A=2&a=1&a%00=3",  "p&q&r&s&u&v&w&y&z&p&q&r&s&u&v&w&y&z&a=1"};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        ac_request_t *rq = make(fine[i]);
        assert_int_equal(ac_query_read(rq, names), APR_SUCCESS);
        assert_int_equal(rq->query->nelts, 1);
        assert_string_equal(ac_query_get(rq, "a"), "1");
    }
}

static void test_query_typed(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        int64_t value;
    } cases[] = {
        {"", 7},       {"n=1", 1},   {"n=100", 100}, {"n=0100", 100}, {"n=0", -1}, {"n=101", -1},
        {"n=-1", -1},  {"n=+1", -1}, {"n=%201", -1}, {"n=1x", -1},    {"n=", -1},  {"n=99999999999999999999999", -1},
        {"n=1e1", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value;
        ac_request_t *rq = make(cases[i].args);
        ac_query_read(rq, names);
        apr_status_t status = ac_query_int(rq, &value, "n", 7, 1, 100);
        assert_int_equal(status == APR_SUCCESS, cases[i].value >= 0);
        assert_true(status != APR_SUCCESS || value == cases[i].value);
    }
    bool value;
    ac_request_t *rq = make("t=true&f=false&x=1");
    ac_query_read(rq, names);
    assert_true(ac_query_bool(rq, &value, "t", false) == APR_SUCCESS && value);
    assert_true(ac_query_bool(rq, &value, "f", true) == APR_SUCCESS && !value);
    assert_true(ac_query_bool(rq, &value, "none", true) == APR_SUCCESS && value);
    assert_int_not_equal(ac_query_bool(rq, &value, "x", false), APR_SUCCESS);
}

static void test_page(void **state)
{
    (void)state;
    ac_page_t page = {.limit = 0};
    ac_request_t *rq = make("");
    ac_query_read(rq, names);
    assert_int_equal(ac_query_page(rq, &page), APR_SUCCESS);
    assert_int_equal(page.limit, 20);
    assert_string_equal(page.after, "");
    rq = make("limit=5&after=thread_01.x-Y~%3d");
    ac_query_read(rq, names);
    assert_int_equal(ac_query_page(rq, &page), APR_SUCCESS);
    assert_int_equal(page.limit, 5);
    assert_string_equal(page.after, "thread_01.x-Y~=");
    static const char *const bad[] = {
        "after=",         "after=a%20b", "after=%27",
        "after=\xc3\xa9", "limit=0",     "after=0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rq = make(bad[i]);
        ac_query_read(rq, names);
        assert_int_not_equal(ac_query_page(rq, &page), APR_SUCCESS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_query_decoded, before, after),
        cmocka_unit_test_setup_teardown(test_query_refused, before, after),
        cmocka_unit_test_setup_teardown(test_query_of_others, before, after),
        cmocka_unit_test_setup_teardown(test_query_typed, before, after),
        cmocka_unit_test_setup_teardown(test_page, before, after),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests_name("query", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
