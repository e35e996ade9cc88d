/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of metrics, its sums, and the two formats that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t dead; /* a pid that does not live */

static bool lives(int64_t pid, int64_t started)
{
    (void)started;
    return pid != dead;
}

static const char *const routes[] = {"other other", "GET /threads", "POST /threads"};

/* Names of one configuration: agents and models, each ended by NULL. */
static ac_metric_names_t names_of(const char *const *agents, const char *const *models)
{
    ac_metric_names_t names;
    ac_metrics_names_init(&names);
    names.list[AC_DOMAIN_ROUTE] = routes;
    names.n[AC_DOMAIN_ROUTE] = 3;
    names.list[AC_DOMAIN_AGENT] = agents;
    names.list[AC_DOMAIN_MODEL] = models;
    for (names.n[AC_DOMAIN_AGENT] = 0; agents[names.n[AC_DOMAIN_AGENT]]; names.n[AC_DOMAIN_AGENT]++) {
    }
    for (names.n[AC_DOMAIN_MODEL] = 0; models[names.n[AC_DOMAIN_MODEL]]; names.n[AC_DOMAIN_MODEL]++) {
    }
    return names;
}

static const char *const two[] = {"other", "alpha", "beta", NULL}, *const models[] = {"other", "m1", NULL};

static ac_metrics_t *make(int n_children)
{
    ac_metric_names_t names = names_of(two, models);
    ac_metrics_t *metrics = ac_metrics_create(&names, n_children, NULL);
    assert_non_null(metrics);
    dead = 0;
    return metrics;
}

static int64_t value(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels)
{
    static ac_metrics_reading_t reading;
    ac_metrics_read_begin(&reading, metrics, lives);
    return ac_metrics_read_value(&reading, metric, labels);
}

static char *text_of(const ac_metrics_t *metrics, ac_metrics_format_e format)
{
    ac_buf_t out;
    ac_metrics_view_t view = {.format = format, .lives = lives, .build = "version=\"1\"", .event_log_bytes = 42};
    ac_buf_init(&out, 16 * 1024 * 1024);
    assert_int_equal(ac_metrics_text(&out, metrics, &view), APR_SUCCESS);
    return out.data;
}

static void expect_line(const char *text, const char *line)
{
    char wanted[512];
    snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (!strstr(text, wanted) && strncmp(text, wanted + 1, strlen(wanted) - 1) != 0) {
        fail_msg("'%s' is not in:\n%s", line, text);
    }
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

/* ---- the text ---- */

static void test_the_text_format(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_REQUESTS, AC_LABELS(1, ac_metrics_http_status(200)), 12);
    ac_metrics_add(AC_METRIC_REQUESTS, AC_LABELS(0, ac_metrics_http_status(299)), 1);
    ac_metrics_add(AC_METRIC_COST, AC_LABELS(1, 1, 0), 1500000001);
    ac_metrics_gauge_set(AC_METRIC_RUNS_QUEUED, AC_NO_LABELS, -2);
    char *text = text_of(metrics, AC_METRICS_TEXT);
    expect_line(text, "# TYPE agentchat_requests_total counter");
    expect_line(text, "agentchat_requests_total{method=\"GET\",route=\"/threads\",status=\"200\"} 12");
    expect_line(text, "agentchat_requests_total{method=\"other\",route=\"other\",status=\"other\"} 1");
    expect_line(text, "agentchat_cost_total{agent=\"alpha\",model=\"m1\",currency=\"other\"} 1.500000001");
    expect_line(text, "agentchat_runs_queued -2");
    expect_line(text, "agentchat_children 1");
    expect_line(text, "agentchat_event_log_bytes 42");
    expect_line(text, "# TYPE agentchat_build_info gauge");
    expect_line(text, "agentchat_build_info{version=\"1\"} 1");
    expect_line(text, "agentchat_streams_active{delivery=\"parked\"} 0");
    assert_null(strstr(text, "# EOF"));
    assert_null(strstr(text, "# UNIT"));
    assert_null(strstr(text, "agent=\"other\""));
    free(text);
    ac_metrics_destroy(metrics);
}

static void test_openmetrics(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, 1);
    char *text = text_of(metrics, AC_METRICS_OPENMETRICS);
    size_t len = strlen(text);
    expect_line(text, "# TYPE agentchat_runs_started counter");
    expect_line(text, "agentchat_runs_started_total 1");
    expect_line(text, "# UNIT agentchat_run_duration_seconds seconds");
    expect_line(text, "# TYPE agentchat_build info");
    expect_line(text, "agentchat_build_info{version=\"1\"} 1");
    assert_string_equal(text + len - 6, "# EOF\n");
    assert_null(strstr(text, "\n\n"));
    free(text);
    ac_metrics_destroy(metrics);
}

static void test_a_histogram_is_coherent(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), 100000, NULL); /* on a bound, and so within it */
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), 100001, NULL);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), 500000000, NULL);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), -5, NULL);
    char *text = text_of(metrics, AC_METRICS_TEXT);
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",le=\"0.1\"} 2");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",le=\"0.2\"} 3");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",le=\"409.6\"} 3");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",le=\"+Inf\"} 4");
    expect_line(text, "agentchat_run_duration_seconds_sum{agent=\"alpha\"} 500.200001");
    expect_line(text, "agentchat_run_duration_seconds_count{agent=\"alpha\"} 4");
    assert_null(strstr(text, "agentchat_run_duration_seconds_bucket{agent=\"beta\""));
    expect_line(text, "agentchat_loop_lag_seconds_bucket{le=\"1.0\"} 0");
    expect_line(text, "agentchat_loop_lag_seconds_count 0");
    free(text);
    ac_metrics_destroy(metrics);
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    static const char *const odd[] = {"other", "a\"b\\c\nd", NULL};
    ac_metric_names_t names = names_of(odd, models);
    ac_metrics_t *metrics = ac_metrics_create(&names, 1, NULL);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_RUNS_SUSPENDED, AC_LABELS(1), 1);
    char *text = text_of(metrics, AC_METRICS_TEXT);
    expect_line(text, "agentchat_runs_suspended_total{agent=\"a\\\"b\\\\c\\nd\"} 1");
    free(text);
    ac_metrics_destroy(metrics);
}

static void test_exemplars(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_trace_t trace;
    assert_true(ac_trace_parse(&trace, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), 150000, &trace);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1), 50000, NULL);
    ac_metrics_observe(AC_METRIC_LOOP_LAG, AC_NO_LABELS, 50000, &trace);
    char *text = text_of(metrics, AC_METRICS_OPENMETRICS);
    char *line = strstr(text,
                        "agentchat_run_duration_seconds_bucket{agent=\"alpha\",le=\"0.2\"} 2 # "
                        "{trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"} 0.15 ");
    assert_non_null(line);
    assert_null(strstr(line + 10, "trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"b7ad6b7169203331\"} 0.05"));
    free(text);
    text = text_of(metrics, AC_METRICS_TEXT);
    assert_null(strstr(text, "trace_id"));
    free(text);
    ac_metrics_destroy(metrics);
}

static void test_without_memory(void **state)
{
    (void)state;
    char *text = text_of(NULL, AC_METRICS_TEXT);
    expect_line(text, "agentchat_children 0");
    expect_line(text, "agentchat_build_info{version=\"1\"} 1");
    free(text);
}

static void test_formats_by_accept(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        ac_metrics_format_e format;
    } cases[] = {
        {NULL, AC_METRICS_TEXT},
        {"", AC_METRICS_TEXT},
        {"*/*", AC_METRICS_TEXT},
        {"application/openmetrics-text", AC_METRICS_OPENMETRICS},
        {"Application/OpenMetrics-Text; version=1.0.0", AC_METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=\"1.0.0\"", AC_METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=2.0.0", AC_METRICS_TEXT},
        {"application/openmetrics-text;version=0.0.1", AC_METRICS_TEXT},
        {"application/openmetrics-text;q=0", AC_METRICS_TEXT},
        {"application/openmetrics-text;q=0.4, text/plain;q=0.5", AC_METRICS_TEXT},
        {"text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.75", AC_METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         AC_METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;q=0.4",
         AC_METRICS_OPENMETRICS},
        {"application/json", AC_METRICS_TEXT},
        {";;;,,q=;=,\"", AC_METRICS_TEXT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ac_metrics_text_format(cases[i].accept) != cases[i].format) {
            fail_msg("%s", cases[i].accept);
        }
    }
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

static void test_the_table_follows_the_conventions(void **state)
{
    (void)state;
    for (int i = 0; i < AC_N_METRICS; i++) {
        const ac_metric_row_t *row = &ac_metric_rows[i];
        const char *end = row->name + strlen(row->name);
        assert_int_equal(strncmp(row->name, "agentchat_", 10), 0);
        assert_int_equal(row->type == AC_METRIC_TYPE_COUNTER, strcmp(end - 6, "_total") == 0);
        if (row->type == AC_METRIC_TYPE_HISTOGRAM) {
            assert_string_equal(end - 8, "_seconds");
        }
        for (int k = 1; k < row->n_bounds; k++) {
            assert_true(row->bounds[k] > row->bounds[k - 1]);
        }
        assert_true(row->help[0] && !strpbrk(row->help, "\\\n\""));
        assert_false(row->help[strlen(row->help) - 1] == '.');
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
        cmocka_unit_test(test_the_text_format),
        cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_a_histogram_is_coherent),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_exemplars),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_formats_by_accept),
        cmocka_unit_test(test_traceparent),
        cmocka_unit_test(test_the_table_follows_the_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
