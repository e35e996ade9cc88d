/* SPDX-License-Identifier: Apache-2.0 */
/* The counts that processes share, on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "back/limit/limit_table.h"
#include "scratch.h"

#define SECOND APR_USEC_PER_SEC
#define MINUTE (60 * SECOND)
#define DAY (86400 * SECOND)

static char scratch[] = "/tmp/agentchat-limits-XXXXXX";
static ac_limit_table_t *table;
static ac_err_t err;
static apr_time_t now;

static int setup(void **state)
{
    (void)state;
    now = INT64_C(20000) * DAY; /* the first moment of a day */
    ac_err_init(&err);
    assert_int_equal(ac_limit_table_open(&table, NULL, &err), APR_SUCCESS);
    assert_int_equal(ac_limit_table_join(table, &err), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ac_limit_table_leave(table);
    ac_limit_table_close(table);
    return 0;
}

typedef union one_t { /* takes of one or two counts */
    ac_reservation_t takes;
    char room[sizeof(ac_reservation_t) + 2 * sizeof(ac_reservation_item_t)];
} one_t;

static one_t want(const char *key, apr_interval_time_t window, int64_t most, int64_t amount, bool hold)
{
    one_t one = {.takes = {.n = 1, .max = 2}};
    snprintf((char *)one.takes.list[0].key, AC_COUNT_KEY, "%s", key);
    one.takes.list[0].window = window;
    one.takes.list[0].most = most;
    one.takes.list[0].amount = amount;
    one.takes.list[0].hold = hold;
    return one;
}

static apr_status_t take(one_t *one)
{
    ac_err_init(&err);
    return ac_limit_count_reserve(table, &one->takes, now, &err);
}

static int admitted(const char *key, apr_interval_time_t window, int64_t most, int n)
{
    int n_in = 0;
    for (int i = 0; i < n; i++) {
        one_t one = want(key, window, most, 1, false);
        n_in += take(&one) == APR_SUCCESS;
    }
    return n_in;
}

static void test_a_window_admits_so_many(void **state)
{
    (void)state;
    now += 30 * SECOND;
    one_t one = want("a", MINUTE, 3, 1, false);
    assert_int_equal(take(&one), APR_SUCCESS);
    assert_int_equal(one.takes.list[0].left, 2);
    assert_int_equal(one.takes.list[0].reset, 30 * SECOND);
    assert_int_equal(admitted("a", MINUTE, 3, 10), 2);
    now += 30 * SECOND - 1;
    assert_int_equal(take(&one), APR_EAGAIN);
    assert_true(one.takes.list[0].over);
    assert_int_equal(one.takes.list[0].left, 0);
    assert_int_equal(one.takes.list[0].reset, 1);
    assert_int_equal(admitted("b", MINUTE, 3, 10), 3);
    now += 1;
    assert_int_equal(admitted("a", MINUTE, 3, 10), 3);
    now += 7 * MINUTE;
    assert_int_equal(admitted("a", MINUTE, 3, 10), 3);
}

static void test_a_clock_that_goes_back(void **state)
{
    (void)state;
    assert_int_equal(admitted("a", MINUTE, 3, 10), 3);
    now -= 1;
    assert_int_equal(admitted("a", MINUTE, 3, 10), 0);
    now -= DAY;
    assert_int_equal(admitted("a", MINUTE, 3, 10), 3);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    one_t both = want("a", MINUTE, 5, 1, false);
    both.takes.list[1] = want("b", MINUTE, 2, 2, true).takes.list[0];
    both.takes.n = 2;
    assert_int_equal(take(&both), APR_SUCCESS);
    one_t again = both;
    assert_int_equal(take(&again), APR_EAGAIN);
    assert_false(again.takes.list[0].over);
    assert_true(again.takes.list[1].over);
    assert_int_equal(admitted("a", MINUTE, 5, 10), 4);
    /* New counts that a refused request would have made are not there either. */
    one_t fresh = want("c", MINUTE, 5, 1, false);
    fresh.takes.list[1] = again.takes.list[1];
    fresh.takes.n = 2;
    assert_int_equal(take(&fresh), APR_EAGAIN);
    assert_int_equal(admitted("c", MINUTE, 5, 10), 5);
}

static void test_reserving_and_settling(void **state)
{
    (void)state;
    one_t run = want("a", DAY, 1000, 600, true), other = want("a", DAY, 1000, 600, true);
    assert_int_equal(take(&run), APR_SUCCESS);
    assert_int_equal(run.takes.list[0].left, 400);
    assert_int_equal(take(&other), APR_EAGAIN);
    ac_limit_count_spend(table, &run.takes.list[0], 100, now); /* a first round */
    assert_int_equal(run.takes.list[0].held, 500);
    assert_int_equal(take(&other), APR_EAGAIN);
    ac_limit_count_spend(table, &run.takes.list[0], 200, now); /* a second one, and the end */
    ac_limit_count_release(table, &run.takes);
    assert_int_equal(take(&other), APR_SUCCESS);
    assert_int_equal(other.takes.list[0].left, 100);
    ac_limit_count_release(table, &other.takes); /* a run that used nothing */
    assert_int_equal(take(&other), APR_SUCCESS);
    ac_limit_count_spend(table, &other.takes.list[0], 900, now); /* more than was reserved */
    ac_limit_count_release(table, &other.takes);
    one_t last = want("a", DAY, 1000, 1, false);
    assert_int_equal(take(&last), APR_EAGAIN);
    assert_int_equal(last.takes.list[0].left, 0);
}

/* What runs side by side have used is more than any limit: it stays so. */
static void test_more_than_any_limit(void **state)
{
    (void)state;
    one_t runs[12];
    for (int i = 0; i < 12; i++) {
        runs[i] = want("a", DAY, AC_MAX_LIMIT, 1, true);
        assert_int_equal(take(&runs[i]), APR_SUCCESS);
    }
    for (int i = 0; i < 12; i++) {
        ac_limit_count_spend(table, &runs[i].takes.list[0], AC_MAX_LIMIT, now);
        ac_limit_count_release(table, &runs[i].takes);
        assert_int_equal(admitted("a", DAY, AC_MAX_LIMIT, 1), 0);
    }
}

static void test_settling_in_a_later_window(void **state)
{
    (void)state;
    one_t run = want("a", MINUTE, 1000, 600, true);
    assert_int_equal(take(&run), APR_SUCCESS);
    now += MINUTE;
    one_t probe = want("a", MINUTE, 1000, 1, false);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 999); /* a new window owes nothing to the old one */
    ac_limit_count_spend(table, &run.takes.list[0], 500, now);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 998);
    ac_limit_count_spend(table, &run.takes.list[0], 200, now); /* 100 of it were never accounted for */
    ac_limit_count_release(table, &run.takes);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 897);
}

static void test_concurrent_reservations(void **state)
{
    (void)state;
    one_t streams[4];
    for (int i = 0; i < 4; i++) {
        streams[i] = want("a", 0, 3, 1, true);
        assert_int_equal(take(&streams[i]), i < 3 ? APR_SUCCESS : APR_EAGAIN);
        now += DAY; /* time does not end it */
    }
    assert_int_equal(streams[3].takes.list[0].reset, 0);
    ac_limit_count_release(table, &streams[1].takes);
    ac_limit_count_release(table, &streams[1].takes); /* once */
    assert_int_equal(take(&streams[3]), APR_SUCCESS);
    assert_int_equal(take(&streams[1]), APR_EAGAIN);
}

static int n_full;

static void count_lines(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)file, (void)line, (void)status;
    n_full += level == AC_ERROR && strstr(text, "AC0261") != NULL;
}

static void test_a_full_table_refuses(void **state)
{
    (void)state;
    int n = 0;
    char key[AC_COUNT_KEY];
    ac_log_install(count_lines, AC_INFO);
    n_full = 0;
    for (int i = 0; i < 2 * AC_MAX_COUNTS; i++) {
        snprintf(key, sizeof(key), "%d", i);
        n += admitted(key, MINUTE, 3, 1);
    }
    assert_in_range(n, AC_MAX_COUNTS * 9 / 10, AC_MAX_COUNTS);
    one_t one = want("a new owner", MINUTE, 3, 1, false);
    int i = 0;
    while (take(&one) == APR_SUCCESS) { /* nearly always at once: a bucket may still have a place */
        snprintf((char *)one.takes.list[0].key, AC_COUNT_KEY, "new %d", i++);
    }
    assert_int_equal(err.kind, AC_OVERLOADED);
    assert_true(err.retry_after > 0);
    assert_int_equal(n_full, 1);                      /* not a line for each */
    assert_int_equal(admitted("0", MINUTE, 3, 5), 2); /* counted owners stay counted */
    now += MINUTE;                                    /* what has expired makes room */
    assert_int_equal(take(&one), APR_SUCCESS);
    ac_log_install(NULL, AC_ERROR);
}

static void test_holds_run_out(void **state)
{
    (void)state;
    one_t one = want("a", 0, 2 * AC_MAX_HOLDS, 1, true), last = one;
    for (int i = 0; i < AC_MAX_HOLDS; i++) {
        last = one;
        assert_int_equal(take(&last), APR_SUCCESS);
    }
    assert_int_equal(take(&one), ac_err_row(AC_OVERLOADED)->status);
    assert_int_equal(err.kind, AC_OVERLOADED);
    ac_limit_count_release(table, &last.takes);
    assert_int_equal(take(&one), APR_SUCCESS);
}

/* As of a model that costs nothing, where money is limited. */
static void test_nothing_holds_no_record(void **state)
{
    (void)state;
    for (int i = 0; i < AC_MAX_HOLDS + 1; i++) {
        one_t one = want("a", DAY, 10, 0, true);
        assert_int_equal(take(&one), APR_SUCCESS);
        ac_limit_count_release(table, &one.takes);
    }
    assert_int_equal(table->head->n_used, 0);
    one_t late = want("a", DAY, 10, 0, true), all = want("a", DAY, 10, 10, true);
    assert_int_equal(take(&late), APR_SUCCESS);
    ac_limit_count_spend(table, &late.takes.list[0], 3, now); /* more than reserved, and counted nevertheless */
    assert_int_equal(take(&all), APR_EAGAIN);
    assert_int_equal(all.takes.list[0].left, 7);
}

/* ---- several processes ---- */

static void wait_for(pid_t child, int signal)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (signal) {
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal);
    } else {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

#define PROCESSES 4
#define EACH 2500
#define MOST 1237

static void test_concurrent_requests_admit_exactly_the_limit(void **state)
{
    (void)state;
    int *n_in = mmap(NULL, sizeof(int) * PROCESSES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        if ((children[i] = fork()) == 0) {
            if (ac_limit_table_join(table, &err) != APR_SUCCESS) {
                _exit(1);
            }
            n_in[i] = admitted("a", MINUTE, MOST, EACH);
            _exit(0);
        }
    }
    int sum = 0;
    for (int i = 0; i < PROCESSES; i++) {
        wait_for(children[i], 0);
        sum += n_in[i];
    }
    assert_int_equal(sum, MOST);
    munmap(n_in, sizeof(int) * PROCESSES);
}

static void test_a_dead_process_holds_nothing(void **state)
{
    (void)state;
    one_t mine = want("a", 0, 3, 1, true);
    assert_int_equal(take(&mine), APR_SUCCESS);
    pid_t child = fork();
    if (!child) {
        one_t one = want("a", 0, 3, 1, true), two = one;
        bool fine = ac_limit_table_join(table, &err) == APR_SUCCESS && take(&one) == APR_SUCCESS &&
            take(&two) == APR_SUCCESS;
        if (!fine) {
            _exit(1);
        }
        raise(SIGKILL);
    }
    wait_for(child, SIGKILL);
    one_t one = want("a", 0, 3, 1, true);
    assert_int_equal(take(&one), APR_EAGAIN);
    ac_limit_table_sweep(table);
    assert_int_equal(take(&one), APR_SUCCESS);
    one_t two = want("a", 0, 3, 1, true), three = two;
    assert_int_equal(take(&two), APR_SUCCESS);
    assert_int_equal(take(&three), APR_EAGAIN); /* ours was not given back with them */
}

static void test_a_process_killed_under_the_lock(void **state)
{
    (void)state;
    one_t mine = want("a", DAY, 100, 10, true);
    assert_int_equal(take(&mine), APR_SUCCESS);
    ac_limit_count_release(table, &mine.takes);
    assert_int_equal(take(&mine), APR_SUCCESS);
    pid_t child = fork();
    if (!child) {
        one_t one = want("a", DAY, 100, 20, true);
        if (ac_limit_table_join(table, &err) != APR_SUCCESS || take(&one) != APR_SUCCESS) {
            _exit(1);
        }
        if (ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
            _exit(1);
        }
        /* In the middle of giving back: the list of free records is broken, and what is held is in doubt. */
        table->slots[one.takes.list[0].slot].held = 77;
        table->head->first_free = 9999999;
        raise(SIGKILL);
    }
    wait_for(child, SIGKILL);
    one_t probe = want("a", DAY, 100, 1, false);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 100 - 10 - 20 - 1);
    ac_limit_table_sweep(table);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 100 - 10 - 2);
    ac_limit_count_release(table, &mine.takes);
    assert_int_equal(take(&probe), APR_SUCCESS);
    assert_int_equal(probe.takes.list[0].left, 100 - 3);
}

/* As on a machine that is busy otherwise, or in a container that has used up its share of the CPU. */
static void test_a_process_that_stands_still_under_the_lock(void **state)
{
    (void)state;
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (!child) {
        if (ac_limit_table_lock(table, NULL) != APR_SUCCESS || write(ready[1], "x", 1) != 1) {
            _exit(1);
        }
        apr_sleep(apr_time_from_msec(100));
        ac_limit_table_unlock(table);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    one_t one = want("a", MINUTE, 3, 1, false);
    assert_int_equal(take(&one), APR_SUCCESS);
    wait_for(child, 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- what stays ---- */

static void test_counts_outlive_their_processes(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/limits", scratch);
    teardown(NULL);
    assert_int_equal(ac_limit_table_open(&table, path, &err), APR_SUCCESS);
    assert_int_equal(ac_limit_table_join(table, &err), APR_SUCCESS);
    assert_int_equal(admitted("a", DAY, 5, 2), 2);
    one_t held = want("a", DAY, 5, 3, true);
    assert_int_equal(take(&held), APR_SUCCESS);
    /* Another one of the same machine, as after a graceful restart: it finds all, and what is held. */
    ac_limit_table_t *first = table;
    assert_int_equal(ac_limit_table_open(&table, path, &err), APR_SUCCESS);
    assert_int_equal(admitted("a", DAY, 5, 3), 0);
    ac_limit_table_close(table);
    /* All processes have ended without releasing: their reservations are free. */
    ac_limit_table_close(first);
    assert_int_equal(ac_limit_table_open(&table, path, &err), APR_SUCCESS);
    assert_int_equal(ac_limit_table_join(table, &err), APR_SUCCESS);
    assert_int_equal(admitted("a", DAY, 5, 9), 3);
}

static void test_long_windows_are_saved(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/saved", scratch);
    assert_int_equal(admitted("a", DAY, 5, 2), 2);
    assert_int_equal(admitted("b", MINUTE, 5, 2), 2);
    assert_int_equal(ac_limit_save_write(table, path, now), APR_SUCCESS);
    teardown(NULL);
    setup(NULL);
    assert_int_equal(ac_limit_save_read(table, path, now + 1), APR_SUCCESS);
    assert_int_equal(admitted("a", DAY, 5, 9), 3);
    assert_int_equal(admitted("b", MINUTE, 5, 9), 5);
    teardown(NULL);
    setup(NULL);
    assert_int_equal(ac_limit_save_read(table, path, now + DAY), APR_SUCCESS); /* of yesterday */
    assert_int_equal(admitted("a", DAY, 5, 9), 5);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ac_limit_save_read(table, path, now), APR_SUCCESS);
    assert_int_equal(ac_limit_save_write(table, "/nowhere/saved", now), APR_ENOENT);
}

static void test_a_file_of_another_program(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/saved", scratch);
    FILE *file = fopen(path, "w");
    fputs("something else\n", file);
    fclose(file);
    assert_int_equal(ac_limit_save_read(table, path, now), APR_EMISMATCH);
    file = fopen(path, "w");
    fputs("agentchat limits 1\nxx\n61000000000000000000000000000000 86400000000 20000 4\n61 1 1\n"
          "62000000000000000000000000000000 86400000000 -1 4\n62000000000000000000000000000000 0 0 4\n"
          "62000000000000000000000000000000 86400000000 20000 9223372036854775807\n",
          file);
    fclose(file);
    assert_int_equal(ac_limit_save_read(table, path, now), APR_SUCCESS);
    assert_int_equal(admitted("a", DAY, 5, 9), 1);
    assert_int_equal(admitted("b", DAY, 5, 9), 5);
    unlink(path);
}

static int make_scratch(void **state)
{
    (void)state;
    return mkdtemp(scratch) ? 0 : -1;
}

static int drop_scratch(void **state)
{
    (void)state;
    return scratch_remove(scratch);
}

int main(void)
{
#define EACH_NEW(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH_NEW(test_a_window_admits_so_many),
        EACH_NEW(test_a_clock_that_goes_back),
        EACH_NEW(test_all_or_nothing),
        EACH_NEW(test_reserving_and_settling),
        EACH_NEW(test_more_than_any_limit),
        EACH_NEW(test_settling_in_a_later_window),
        EACH_NEW(test_concurrent_reservations),
        EACH_NEW(test_a_full_table_refuses),
        EACH_NEW(test_holds_run_out),
        EACH_NEW(test_nothing_holds_no_record),
        EACH_NEW(test_concurrent_requests_admit_exactly_the_limit),
        EACH_NEW(test_a_dead_process_holds_nothing),
        EACH_NEW(test_a_process_killed_under_the_lock),
        EACH_NEW(test_a_process_that_stands_still_under_the_lock),
        EACH_NEW(test_counts_outlive_their_processes),
        EACH_NEW(test_long_windows_are_saved),
        EACH_NEW(test_a_file_of_another_program),
    };
    return cmocka_run_group_tests(tests, make_scratch, drop_scratch);
}
