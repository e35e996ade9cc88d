/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of metrics: stripes, processes, names, and the rows of streams. */
#include "metrics_world.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t value(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels)
{
    static ac_metrics_reading_t reading;
    ac_metrics_read_begin(&reading, metrics, lives);
    return ac_metrics_read_value(&reading, metric, labels);
}

static void test_a_process_that_has_not_joined_counts_nothing(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(NULL, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 1);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 1);
    ac_metrics_observe(AC_METRIC_LOOP_LAG, AC_NO_LABELS, 1, NULL);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_STARTED, AC_NO_LABELS), 0);
    ac_metrics_destroy(metrics);
}

static void test_stripes_are_added(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(3);
    for (int64_t pid = 1; pid <= 3; pid++) {
        ac_metrics_join(metrics, pid, 7, lives);
        ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 10);
        ac_metrics_gauge_set(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, pid);
    }
    assert_int_equal(value(metrics, AC_METRIC_RUNS_STARTED, AC_NO_LABELS), 30);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 6);
    ac_metrics_destroy(metrics);
}

static void test_a_dead_process_keeps_its_counts_and_loses_its_gauges(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(metrics, 1, 7, lives);
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 10);
    ac_metrics_gauge_set(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 5);
    dead = 1;
    assert_int_equal(value(metrics, AC_METRIC_RUNS_STARTED, AC_NO_LABELS), 10);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 0);
    ac_metrics_join(metrics, 2, 8, lives); /* takes the stripe over */
    assert_int_equal(value(metrics, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 0);
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 1);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 2);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, -1);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_STARTED, AC_NO_LABELS), 11);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 1);
    ac_metrics_destroy(metrics);
}

static void test_more_processes_than_stripes(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    for (int64_t pid = 1; pid <= 3; pid++) {
        ac_metrics_join(metrics, pid, 7, lives);
        ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 1);
        ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 1);
    }
    assert_int_equal(value(metrics, AC_METRIC_RUNS_STARTED, AC_NO_LABELS), 3);
    assert_int_equal(value(metrics, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 1); /* of the owner only */
    ac_metrics_destroy(metrics);
}

static void *count_in_thread(void *unused)
{
    for (int i = 0; i < 20000; i++) {
        ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(1, 0, 0), 1);
        ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), i, NULL);
    }
    return unused;
}

static void test_threads_and_processes_lose_no_count(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(4);
    pid_t children[3];
    pthread_t threads[2];
    for (int i = 0; i < 3; i++) {
        children[i] = fork();
        if (!children[i]) {
            ac_metrics_join(metrics, getpid(), 1, lives);
            pthread_create(&threads[0], NULL, count_in_thread, NULL);
            count_in_thread(NULL);
            pthread_join(threads[0], NULL);
            _exit(0);
        }
    }
    ac_metrics_join(metrics, getpid(), 1, lives);
    count_in_thread(NULL);
    for (int i = 0; i < 3; i++) {
        waitpid(children[i], NULL, 0);
    }
    assert_int_equal(value(metrics, AC_METRIC_RUNS, AC_LABELS(1, 0, 0)), 7 * 20000);
    assert_int_equal(value(metrics, AC_METRIC_RUN_DURATION, AC_LABELS(1)), 7LL * 20000 * 19999 / 2);
    ac_metrics_destroy(metrics);
}

/* ---- a changed configuration ---- */

static void test_new_names_find_room_in_the_same_memory(void **state)
{
    (void)state;
    static const char *const more[] = {"other", "gamma", "alpha", NULL};
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "beta"), 0, 0), 5);
    ac_metric_names_t names = names_of(more, models);
    assert_ptr_equal(ac_metrics_create(&names, 2, metrics), metrics);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "alpha"), 1);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "beta"), 2);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "gamma"), 3);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "unknown"), AC_METRIC_OTHER);
    assert_int_equal(value(metrics, AC_METRIC_RUNS, AC_LABELS(2, 0, 0)), 5);
    ac_metrics_destroy(metrics);
}

static void test_a_larger_configuration_keeps_the_counts(void **state)
{
    (void)state;
    static char texts[60][8];
    static const char *many[62] = {"other"};
    ac_metrics_t *metrics = make(2), *larger;
    for (int i = 0; i < 60; i++) {
        snprintf(texts[i], sizeof(texts[i]), "a%d", i);
        many[i + 1] = texts[i];
    }
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(2, 1, 3), 5);
    ac_metrics_observe(AC_METRIC_FIRST_TOKEN, AC_LABELS(2, 1), 50000, NULL);
    ac_metric_names_t names = names_of(many, models);
    larger = ac_metrics_create(&names, 2, metrics);
    assert_ptr_not_equal(larger, metrics);
    assert_int_equal(ac_metrics_find(larger, AC_DOMAIN_AGENT, "beta"), 2);
    assert_int_equal(ac_metrics_find(larger, AC_DOMAIN_AGENT, "a59"), 62);
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(2, 1, 3), 1); /* a child of the previous generation */
    ac_metrics_gauge_set(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 3);
    ac_metrics_join(larger, 2, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(2, 1, 3), 10);
    ac_metrics_gauge_set(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 4);
    assert_int_equal(value(larger, AC_METRIC_RUNS, AC_LABELS(2, 1, 3)), 16);
    assert_int_equal(value(larger, AC_METRIC_FIRST_TOKEN, AC_LABELS(2, 1)), 50000);
    assert_int_equal(value(larger, AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS), 7);
    assert_int_equal(value(larger, AC_METRIC_RUNS, AC_LABELS(62, 1, 3)), 0);
    ac_metrics_destroy(larger);
}

static void test_too_many_names_count_as_other(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static char texts[MANY][8];
    static const char *many[MANY + 2] = {"other"};
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], sizeof(texts[i]), "a%d", i);
        many[i + 1] = texts[i];
    }
    ac_metric_names_t names = names_of(many, models);
    ac_metrics_t *metrics = ac_metrics_create(&names, 2, NULL);
    assert_non_null(metrics);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "a1000"), 1001);
    assert_int_equal(ac_metrics_find(metrics, AC_DOMAIN_AGENT, "a1999"), AC_METRIC_OTHER);
    assert_ptr_equal(ac_metrics_create(&names, 2, metrics), metrics);
    ac_metrics_destroy(metrics);
}

static void test_an_index_out_of_range_counts_as_other(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(9999, 1, 2), 3);
    assert_int_equal(value(metrics, AC_METRIC_RUNS, AC_LABELS(0, 1, 2)), 3);
    ac_metrics_destroy(metrics);
}

/* ---- streams ---- */

static int list_activity(ac_activity_t *list, const ac_metrics_t *metrics)
{
    static ac_metrics_reading_t reading;
    ac_metrics_read_begin(&reading, metrics, lives);
    return ac_activity_list(list, AC_ACTIVITY_ROWS, &reading);
}

static void test_rows_of_streams(void **state)
{
    (void)state;
    ac_activity_t list[AC_ACTIVITY_ROWS];
    ac_activity_row_t *rows[AC_ACTIVITY_ROWS + 1];
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(metrics, 1, 1, lives);
    for (int i = 0; i <= AC_ACTIVITY_ROWS; i++) {
        rows[i] = ac_activity_begin(AC_DELIVERY_BLOCKING, 2);
        assert_int_equal(rows[i] == NULL, i == AC_ACTIVITY_ROWS);
        ac_activity_set_agent(rows[i], 1);
        ac_activity_add_bytes(rows[i], 20);
        ac_activity_add_bytes(rows[i], 22);
    }
    assert_int_equal(list_activity(list, metrics), AC_ACTIVITY_ROWS);
    for (int i = 1; i <= AC_ACTIVITY_ROWS; i++) {
        ac_activity_end(rows[i]);
    }
    ac_activity_set_state(rows[0], AC_ACTIVITY_CALLING);
    assert_int_equal(list_activity(list, metrics), 1);
    assert_int_equal(list[0].pid, 1);
    assert_int_equal(list[0].bytes, 42);
    assert_string_equal(list[0].delivery, "blocking");
    assert_string_equal(list[0].route, "POST /threads");
    assert_string_equal(list[0].agent, "alpha");
    assert_string_equal(list[0].state, "calling tools");
    dead = 1;
    assert_int_equal(list_activity(list, metrics), 0);
    ac_metrics_join(metrics, 2, 1, lives); /* takes the stripe over, without its rows */
    assert_int_equal(list_activity(list, metrics), 0);
    ac_metrics_join(NULL, 3, 1, lives);
    assert_null(ac_activity_begin(AC_DELIVERY_PARKED, 1));
    ac_metrics_destroy(metrics);
}

static void test_traceparent(void **state)
{
    (void)state;
    static const char *const good[] = {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                                       "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                       "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more"};
    static const char *const bad[] = {NULL,
                                      "",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                                      "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
                                      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
                                      "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
                                      "00-0af7651916cd43dd8448eb211c8031-9c-b7ad6b716920333-01"};
    ac_trace_t trace;
    for (size_t i = 0; i < 3; i++) {
        assert_true(ac_trace_parse(&trace, good[i]));
        assert_string_equal(trace.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_string_equal(trace.span_id, "b7ad6b7169203331");
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(ac_trace_parse(&trace, bad[i]));
        assert_string_equal(trace.trace_id, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_process_that_has_not_joined_counts_nothing),
        cmocka_unit_test(test_stripes_are_added),
        cmocka_unit_test(test_a_dead_process_keeps_its_counts_and_loses_its_gauges),
        cmocka_unit_test(test_more_processes_than_stripes),
        cmocka_unit_test(test_threads_and_processes_lose_no_count),
        cmocka_unit_test(test_new_names_find_room_in_the_same_memory),
        cmocka_unit_test(test_a_larger_configuration_keeps_the_counts),
        cmocka_unit_test(test_too_many_names_count_as_other),
        cmocka_unit_test(test_an_index_out_of_range_counts_as_other),
        cmocka_unit_test(test_rows_of_streams),
        cmocka_unit_test(test_traceparent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
