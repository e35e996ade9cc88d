/* SPDX-License-Identifier: Apache-2.0 */
/* Ids from many threads and processes, times against APR's own, durations and sizes, what logs may show. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>

static void test_id_form(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    ac_id_make(id, "thread_");
    assert_int_equal(strlen(id), 33);
    assert_memory_equal(id, "thread_", 7);
    assert_in_range(id[7], '0', '7');
    assert_true(ac_id_valid(id, "thread_"));
    assert_false(ac_id_valid(id, "msg_"));
    assert_false(ac_id_valid(id, ""));
    ac_id_make(id, "");
    assert_int_equal(strlen(id), 26);
    ac_id_make(id, "a_prefix_that_is_too_long_");
    assert_int_equal(strlen(id), AC_ID_SIZE - 1);
}

static void test_id_valid_refuses(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    assert_true(ac_id_valid("run_01m7ya2r99e0089npxw4497xeq", "run_"));
    assert_false(ac_id_valid(NULL, "run_"));
    assert_false(ac_id_valid("", "run_"));
    assert_false(ac_id_valid("run_", "run_"));
    assert_false(ac_id_valid("run_01m7ya2r99e0089npxw4497xe", "run_"));
    assert_false(ac_id_valid("run_01m7ya2r99e0089npxw4497xeqq", "run_"));
    assert_false(ac_id_valid("run_01M7YA2R99E0089NPXW4497XEQ", "run_"));
    assert_false(ac_id_valid("run_01m7ya2r99e0089npxw4497xe'", "run_"));
    for (const char *c = "ilou-_%/ \n"; *c; c++) {
        ac_id_make(id, "run_");
        id[20] = *c;
        assert_false(ac_id_valid(id, "run_"));
    }
}

/* The 128 bits of an id. */
static void decode(const char *id, uint64_t *phigh, uint64_t *plow)
{
    static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";
    *phigh = *plow = 0;
    for (int i = 0; i < 26; i++) {
        *phigh = *phigh << 5 | *plow >> 59;
        *plow = *plow << 5 | (uint64_t)(strchr(alphabet, id[i]) - alphabet);
    }
}

static void test_id_is_a_uuid_of_version_7(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    uint64_t high, low;
    uint64_t before = (uint64_t)(apr_time_now() / 1000);
    ac_id_make(id, "");
    uint64_t after = (uint64_t)(apr_time_now() / 1000);
    decode(id, &high, &low);
    assert_int_equal(high >> 12 & 0xf, 7);
    assert_int_equal(low >> 62, 2);
    assert_true(high >> 16 >= before && high >> 16 <= after + 1);
}

static void test_ids_sort_by_creation(void **state)
{
    (void)state;
    char last[AC_ID_SIZE] = "", id[AC_ID_SIZE];
    /* More than the 4,096 of one millisecond. */
    for (int i = 0; i < 50000; i++) {
        ac_id_make(id, "msg_");
        assert_true(strcmp(last, id) < 0);
        memcpy(last, id, sizeof(last));
    }
}

#define N_THREADS 4
#define IDS_PER_THREAD 20000
static char (*made)[AC_ID_SIZE];

static void *make_many(void *baton)
{
    char(*mine)[AC_ID_SIZE] = baton;
    for (int i = 0; i < IDS_PER_THREAD; i++) {
        ac_id_make(mine[i], "run_");
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void test_ids_of_threads_differ(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];
    made = calloc(N_THREADS * IDS_PER_THREAD, sizeof(*made));
    assert_non_null(made);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, made + (size_t)i * IDS_PER_THREAD), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        for (int j = 1; j < IDS_PER_THREAD; j++) {
            assert_true(strcmp(made[i * IDS_PER_THREAD + j - 1], made[i * IDS_PER_THREAD + j]) < 0);
        }
    }
    qsort(made, N_THREADS * IDS_PER_THREAD, sizeof(*made), compare_ids);
    /* The bits of time and counter alone are unique within a process. */
    for (int i = 1; i < N_THREADS * IDS_PER_THREAD; i++) {
        uint64_t before, high, low;
        decode(made[i - 1] + 4, &before, &low);
        decode(made[i] + 4, &high, &low);
        assert_true(before < high);
    }
    free(made);
}

/* Children that are forked at the same moment have the same counter; their ids must differ nevertheless. */
static void test_ids_of_children_differ(void **state)
{
    (void)state;
    enum { N_CHILDREN = 8, N_IDS = 200 };
    static char ids[N_CHILDREN * N_IDS][AC_ID_SIZE];
    int pipes[N_CHILDREN][2];
    for (int i = 0; i < N_CHILDREN; i++) {
        assert_int_equal(pipe(pipes[i]), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            for (int j = 0; j < N_IDS; j++) {
                ac_id_make(ids[j], "msg_");
            }
            size_t len = N_IDS * sizeof(ids[0]);
            _exit(write(pipes[i][1], ids, len) == (ssize_t)len ? 0 : 1);
        }
        close(pipes[i][1]);
    }
    for (int i = 0; i < N_CHILDREN; i++) {
        size_t got = 0, len = N_IDS * sizeof(ids[0]);
        ssize_t n;
        while (got < len && (n = read(pipes[i][0], (char *)ids[i * N_IDS] + got, len - got)) > 0) {
            got += (size_t)n;
        }
        assert_int_equal(got, len);
        close(pipes[i][0]);
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    qsort(ids, N_CHILDREN * N_IDS, sizeof(ids[0]), compare_ids);
    for (int i = 1; i < N_CHILDREN * N_IDS; i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
}

static void test_random_uses_every_bit(void **state)
{
    (void)state;
    uint64_t ones = 0, zeros = 0;
    for (int i = 0; i < 200; i++) {
        uint64_t value = ac_random();
        ones |= value;
        zeros |= ~value;
    }
    assert_true(ones == UINT64_MAX && zeros == UINT64_MAX);
}

static void test_time_format(void **state)
{
    (void)state;
    static const struct {
        apr_time_t when;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {INT64_C(1795238746123999), "2026-11-21T05:25:46.123Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(4107542399999999), "2100-02-28T23:59:59.999Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    char text[AC_TIME_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_time_format(text, cases[i].when);
        assert_string_equal(text, cases[i].text);
    }
}

/* Every day of 800 years, with a time of day that wanders, against APR. */
static void test_time_parse(void **state)
{
    static const struct {
        const char *text;
        apr_time_t when; /* 1: not a time */
    } cases[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1000},
        {"1969-12-31T23:59:59Z", -1000000},
        {"2026-11-21T05:25:46.123Z", 1795238746123000},
        {"2024-02-29", 1709164800000000},
        {"", 1},
        {"2027", 1},
        {"2027-1-1", 1},
        {"2027-02-29", 1},
        {"2027-04-31", 1},
        {"2027-13-01", 1},
        {"2027-00-01", 1},
        {"2027-01-01T24:00:00Z", 1},
        {"2027-01-01T00:60:00Z", 1},
        {"2027-01-01T00:00:60Z", 1},
        {"2027-01-01T00:00Z", 1},
        {"2027-01-01T00:00:00", 1},
        {"2027-01-01T00:00:00z", 1},
        {"2027-01-01T00:00:00+01:00", 1},
        {"2027-01-01T00:00:00.1Z", 1},
        {"2027-01-01T00:00:00Z ", 1},
        {" 2027-01-01", 1},
        {"2027-01-01 00:00:00Z", 1},
        {"+027-01-01", 1},
        {"-999-01-01", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_time_t when = 1;
        bool is = ac_time_parse(&when, cases[i].text);
        if (is != (cases[i].when != 1) || when != cases[i].when) {
            fail_msg("'%s' is %lld", cases[i].text, (long long)when);
        }
    }
}

static void test_time_format_agrees_with_apr(void **state)
{
    (void)state;
    char text[AC_TIME_SIZE], wanted[100];
    for (int64_t day = 0; day < 800 * 366; day++) {
        apr_time_t when = (day * 86400 + day * 7919 % 86400) * APR_USEC_PER_SEC + day * 997 % APR_USEC_PER_SEC;
        apr_time_exp_t parts;
        assert_int_equal(apr_time_exp_gmt(&parts, when), APR_SUCCESS);
        snprintf(wanted, sizeof(wanted), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                 parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, parts.tm_usec / 1000);
        ac_time_format(text, when);
        assert_string_equal(text, wanted);
    }
}

static void test_json_time(void **state)
{
    (void)state;
    json_t *value = ac_time_json(0);
    assert_true(json_is_null(value));
    json_decref(value);
    value = ac_time_json(APR_USEC_PER_SEC);
    assert_string_equal(json_string_value(value), "1970-01-01T00:00:01.000Z");
    json_decref(value);
}

static void test_hex(void **state)
{
    (void)state;
    static const unsigned char bytes[] = {0x00, 0x09, 0x10, 0x7f, 0x80, 0xa5, 0xff};
    char text[2 * sizeof(bytes) + 2];
    memset(text, 'x', sizeof(text));
    ac_text_hex(text, bytes, sizeof(bytes));
    assert_string_equal(text, "0009107f80a5ff");
    assert_int_equal(text[sizeof(text) - 1], 'x');
    ac_text_hex(text, bytes, 0);
    assert_string_equal(text, "");
}

static void test_hex_digits(void **state)
{
    (void)state;
    static const char small[] = "0123456789abcdef", large[] = "0123456789ABCDEF";
    for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
        const char *at = c ? strchr(small, c) : NULL, *other = c ? strchr(large, c) : NULL;
        int wanted = at ? (int)(at - small) : other ? (int)(other - large) : -1;
        assert_int_equal(ac_hex_value((char)c), wanted);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        apr_interval_time_t value;
        const char *shown;
    } cases[] = {
        {"0", 0, "0"},
        {"0s", 0, "0"},
        {"250ms", 250000, "250ms"},
        {"1000ms", 1000000, "1s"},
        {"15s", 15000000, "15s"},
        {"90s", 90000000, "90s"},
        {"10min", 600000000, "10min"},
        {"120min", INT64_C(7200000000), "2h"},
        {"2h", INT64_C(7200000000), "2h"},
        {"30d", INT64_C(2592000000000), "30d"},
        {"9223372036854775ms", INT64_C(9223372036854775000), "9223372036854775ms"},
        {"007s", 7000000, "7s"},
    };
    char text[AC_TIME_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_interval_time_t value = -1;
        assert_true(ac_time_parse_duration(&value, cases[i].text));
        assert_int_equal(value, cases[i].value);
        ac_time_format_duration(text, value);
        assert_string_equal(text, cases[i].shown);
    }
    ac_time_format_duration(text, 1);
    assert_string_equal(text, "1ms");
    ac_time_format_duration(text, 1500);
    assert_string_equal(text, "2ms");
    ac_time_format_duration(text, -1500000);
    assert_string_equal(text, "-1500ms");
    ac_time_format_duration(text, INT64_MIN);
    assert_string_equal(text, "-9223372036854776ms");
    ac_time_format_duration(text, INT64_MAX);
    assert_string_equal(text, "9223372036854776ms");
}

static void test_invalid_durations(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "5",
                                        "5m",
                                        "5x",
                                        "00x",
                                        "s",
                                        "-5s",
                                        "+5s",
                                        " 5s",
                                        "5s ",
                                        "5 s",
                                        "1.5s",
                                        "5S",
                                        "1h30min",
                                        "5sec",
                                        "0x10s",
                                        "106751992d",
                                        "9223372036854775808ms",
                                        "99999999999999999999s"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        apr_interval_time_t value = 42;
        assert_false(ac_time_parse_duration(&value, texts[i]));
        assert_int_equal(value, 42);
    }
    apr_interval_time_t value;
    assert_false(ac_time_parse_duration(&value, NULL));
}

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        apr_int64_t value;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"65536", 65536},
        {"64K", 65536},
        {"64k", 65536},
        {"1M", 1048576},
        {"2G", INT64_C(2147483648)},
        {"9223372036854775807", INT64_MAX},
        {"8589934591G", INT64_C(9223372035781033984)},
    };
    static const char *const wrong[] = {
        "", "K", "-1", "+1", "1.5M", "1KB", "1T", " 1", "1 ", "1 K", "0x10", "8589934592G", "9223372036854775808"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_int64_t value = -1;
        assert_true(ac_text_parse_size(&value, cases[i].text));
        assert_int_equal(value, cases[i].value);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        apr_int64_t value = 42;
        assert_false(ac_text_parse_size(&value, wrong[i]));
        assert_int_equal(value, 42);
    }
    apr_int64_t value;
    assert_false(ac_text_parse_size(&value, NULL));
}

static void test_clock_never_goes_back(void **state)
{
    (void)state;
    apr_time_t last = ac_clock();
    assert_true(last > 0);
    for (int i = 0; i < 100000; i++) {
        apr_time_t now = ac_clock();
        assert_true(now >= last);
        last = now;
    }
}

static void test_printable(void **state)
{
    (void)state;
    char buf[64], text[200];
    assert_string_equal(ac_text_printable(buf, NULL), "");
    assert_string_equal(ac_text_printable(buf, "support-triage"), "support-triage");
    assert_string_equal(ac_text_printable(buf, "a\nb\x1b[31m\x7f\xc2\x9b\xffz"), "a?b?[31m???z");
    assert_string_equal(ac_text_printable(buf, "gr\xc3\xbcn \xc2\xa0"), "gr\xc3\xbcn \xc2\xa0");
    assert_string_equal(ac_text_printable(buf, "cut \xe2\x82"), "cut ?");
    memset(text, 'x', sizeof(text));
    text[60] = '\0';
    assert_string_equal(ac_text_printable(buf, text), text);
    text[60] = 'x';
    text[61] = '\0';
    assert_int_equal(strlen(ac_text_printable(buf, text)), 63);
    assert_string_equal(buf + 60, "\xe2\x80\xa6");
    for (size_t i = 0; i + 3 < sizeof(text); i += 3) {
        memcpy(text + i, "\xe2\x82\xac", 4);
    }
    for (int shift = 0; shift < 3; shift++) {
        text[0] = 'x';
        ac_text_printable(buf, text + shift);
        assert_true(strlen(buf) <= 63);
        assert_true(ac_utf8_valid(buf, strlen(buf)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_form),
        cmocka_unit_test(test_id_valid_refuses),
        cmocka_unit_test(test_id_is_a_uuid_of_version_7),
        cmocka_unit_test(test_ids_sort_by_creation),
        cmocka_unit_test(test_ids_of_threads_differ),
        cmocka_unit_test(test_ids_of_children_differ),
        cmocka_unit_test(test_random_uses_every_bit),
        cmocka_unit_test(test_time_format),
        cmocka_unit_test(test_time_parse),
        cmocka_unit_test(test_time_format_agrees_with_apr),
        cmocka_unit_test(test_json_time),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_hex_digits),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_invalid_durations),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_clock_never_goes_back),
        cmocka_unit_test(test_printable),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests_name("util", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
