/* SPDX-License-Identifier: Apache-2.0 */
/* All event logs of a directory together: their count, what goes first, and what the last process removes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>
#include <cmocka.h>

#include "agent/events/events_internal.h"
#include "scratch.h"

#define TOTAL 65536 /* 16 new logs */

static char top[64];
static ac_event_dir_t *one, *two;

static int setup(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/total-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(ac_event_dir_open(&one, top, 1024 * 1024, TOTAL), APR_SUCCESS);
    assert_int_equal(ac_event_dir_open(&two, top, 1024 * 1024, TOTAL), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ac_event_dir_close(one);
    ac_event_dir_close(two);
    return scratch_remove(top);
}

static const char *id_of(int i)
{
    static char id[4][AC_ID_SIZE];
    return snprintf(id[i % 4], AC_ID_SIZE, "run_%026d", i) > 0 ? id[i % 4] : NULL;
}

static apr_status_t status;

static ac_event_log_t *make(ac_event_dir_t *dir, int i)
{
    ac_event_log_header_t head = {.owner = "ann"};
    apr_cpystrn(head.run_id, id_of(i), sizeof head.run_id);
    return ac_event_log_create(dir, &head, &status);
}

static void make_ended(ac_event_dir_t *dir, int i)
{
    ac_event_log_t *log = make(dir, i);
    assert_non_null(log);
    ac_event_log_end(log);
    ac_event_log_close(log);
    apr_sleep(2); /* their ends are in microseconds */
}

static bool is_there(ac_event_dir_t *dir, int i)
{
    char path[AC_LOG_PATH_SIZE];
    ac_event_dir_log_path(path, dir, ac_event_dir_key(dir), id_of(i));
    return access(path, F_OK) == 0;
}

static int64_t bytes(void)
{
    assert_int_equal(ac_event_total_bytes(ac_event_dir_total(one)), ac_event_total_bytes(ac_event_dir_total(two)));
    return ac_event_total_bytes(ac_event_dir_total(one));
}

static void test_the_space_that_logs_use_and_return(void **state)
{
    (void)state;
    ac_event_t *event = ac_event_create(AC_EVENT_TOKEN, NULL, "word", 4);
    ac_event_log_t *logs[13];
    for (int i = 0; i < 13; i++) {
        assert_non_null(logs[i] = make(i % 2 ? two : one, i));
    }
    while (bytes() == 13 * 4096) {
        event->seq++;
        ac_event_log_append(logs[1], event);
    }
    assert_int_equal(bytes(), TOTAL); /* it has grown to four pages, and uses two */
    assert_null(make(one, 13));
    assert_int_equal(status, AC_EVENT_TOTAL_EXCEEDED);
    assert_false(is_there(one, 13));
    for (int i = 0; i < 8192 / 8 && !ac_event_log_is_cut(logs[0]); i++) { /* one cannot grow either */
        event->seq++;
        ac_event_log_append(logs[0], event);
    }
    assert_true(ac_event_log_is_cut(logs[0]));
    ac_event_log_end(logs[1]);
    assert_int_equal(bytes(), TOTAL - 8192);
    ac_event_log_unlink(two, id_of(1));
    ac_event_log_unlink(two, id_of(1)); /* that does not exist any more */
    assert_int_equal(bytes(), TOTAL - 16384);
    ac_event_log_t *log = make(one, 13);
    assert_non_null(log);
    ac_event_log_close(log);
    for (int i = 0; i < 13; i++) {
        ac_event_log_close(logs[i]);
    }
    ac_event_unref(event);
}

static void test_the_oldest_ended_ones_go(void **state)
{
    (void)state;
    ac_event_total_t *total = ac_event_dir_total(one);
    ac_event_log_t *live = make(two, 100), *rests = make(one, 101);
    ac_event_log_set_suspended(rests, true);
    for (int i = 0; i < 12; i++) {
        make_ended(i % 2 ? two : one, i);
    }
    assert_int_equal(bytes(), 2 * 4096 + 12 * 4096);
    ac_event_scan_trim(total, top);
    assert_int_equal(bytes(), TOTAL / 4 * 3); /* two of the twelve */
    for (int i = 0; i < 12; i++) {
        assert_int_equal(is_there(i % 2 ? two : one, i), i >= 2);
    }
    assert_true(is_there(two, 100) && is_there(one, 101));
    ac_event_log_close(live);
    ac_event_log_close(rests);
}

static void test_counted_again(void **state)
{
    (void)state;
    ac_event_total_t *total = ac_event_dir_total(two);
    make_ended(one, 1);
    make_ended(two, 2);
    ac_event_total_reserve(total, 3 * 8192); /* of a child that died before it made its files */
    ac_event_scan_recount(total, top);
    assert_int_equal(bytes(), 2 * 4096);
}

static void test_the_last_child_removes_ended_logs(void **state)
{
    (void)state;
    char gone[AC_LOG_PATH_SIZE];
    make_ended(one, 1);
    make_ended(two, 2);
    ac_event_log_t *live = make(one, 3), *rests = make(one, 4);
    ac_event_log_set_suspended(rests, true);
    ac_event_log_close(live);
    ac_event_log_close(rests);
    snprintf(gone, sizeof gone, "%s/c-12345678-00000000", top);
    assert_int_equal(mkdir(gone, 0700), 0); /* nothing is left of its child */
    ac_event_scan_clean(top);
    assert_true(is_there(one, 1) &&
                is_there(two, 2)); /* both have their locks: of another server, or of the next generation */
    char paths[4][AC_LOG_PATH_SIZE];
    for (int i = 0; i < 4; i++) {
        ac_event_dir_t *dir = i == 1 ? two : one;
        ac_event_dir_log_path(paths[i], dir, ac_event_dir_key(dir), id_of(i + 1));
    }
    ac_event_dir_close(one);
    one = NULL;
    ac_event_scan_clean(top);
    assert_int_equal(access(paths[0], F_OK), -1);
    assert_true(!access(paths[1], F_OK) && !access(paths[2], F_OK) && !access(paths[3], F_OK));
    assert_int_equal(access(gone, F_OK), -1);
    ac_event_scan_clean("/nonexistent/place");
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_the_space_that_logs_use_and_return, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_ended_ones_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counted_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_child_removes_ended_logs, setup, teardown),
    };
    return cmocka_run_group_tests_name("event total", group, NULL, NULL);
}
