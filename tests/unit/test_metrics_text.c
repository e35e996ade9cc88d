/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as Prometheus reads them: the two formats, and the choice between them. */
#include "metrics_world.h"

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
    expect_line(text,
                "agentchat_requests_total{protocol=\"native\",method=\"GET\",route=\"/threads\",status=\"200\"} 12");
    expect_line(text,
                "agentchat_requests_total{protocol=\"other\",method=\"other\",route=\"other\",status=\"other\"} 1");
    expect_line(text, "agentchat_cost_total{agent=\"alpha\",model=\"m1\",currency=\"other\"} 1.500000001");
    expect_line(text, "agentchat_runs_queued -2");
    expect_line(text, "agentchat_children 1");
    expect_line(text, "agentchat_event_log_bytes 42");
    expect_line(text, "# TYPE agentchat_build_info gauge");
    expect_line(text, "agentchat_build_info{version=\"1\"} 1");
    expect_line(text, "agentchat_streams_active{delivery=\"parked\",protocol=\"agui\"} 0");
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
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_LABELS(AC_PROTOCOL_NATIVE), 1);
    char *text = text_of(metrics, AC_METRICS_OPENMETRICS);
    size_t len = strlen(text);
    expect_line(text, "# TYPE agentchat_runs_started counter");
    expect_line(text, "agentchat_runs_started_total{protocol=\"native\"} 1");
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
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",cause=\"none\",le=\"0.1\"} 2");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",cause=\"none\",le=\"0.2\"} 3");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",cause=\"none\",le=\"409.6\"} 3");
    expect_line(text, "agentchat_run_duration_seconds_bucket{agent=\"alpha\",cause=\"none\",le=\"+Inf\"} 4");
    expect_line(text, "agentchat_run_duration_seconds_sum{agent=\"alpha\",cause=\"none\"} 500.200001");
    expect_line(text, "agentchat_run_duration_seconds_count{agent=\"alpha\",cause=\"none\"} 4");
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
    ac_metrics_add(AC_METRIC_RUNS_SUSPENDED, AC_LABELS(1, AC_PROTOCOL_MCP), 1);
    char *text = text_of(metrics, AC_METRICS_TEXT);
    expect_line(text, "agentchat_runs_suspended_total{agent=\"a\\\"b\\\\c\\nd\",protocol=\"mcp\"} 1");
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
                        "agentchat_run_duration_seconds_bucket{agent=\"alpha\",cause=\"none\",le=\"0.2\"} 2 # "
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
        cmocka_unit_test(test_the_text_format),
        cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_a_histogram_is_coherent),
        cmocka_unit_test(test_labels_are_escaped),
        cmocka_unit_test(test_exemplars),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_formats_by_accept),
        cmocka_unit_test(test_the_table_follows_the_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
