/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics and log records in OTLP, and exponential buckets that are merged without a loss. */
#include "metrics_world.h"

#include "wire/wire.h"

#define WHEN INT64_C(1700000000000000)

static ac_metric_point_t points[64];
static uint64_t buckets[64][32], exponentials[64][AC_EXPONENTIAL_BUCKETS];
static int n_points;

static void keep(void *baton, const ac_metric_point_t *point)
{
    (void)baton;
    if (ac_metric_rows[point->metric].type == AC_METRIC_TYPE_GAUGE) {
        return;
    }
    points[n_points] = *point;
    if (point->buckets && ac_metric_rows[point->metric].type == AC_METRIC_TYPE_HISTOGRAM) {
        size_t n = (size_t)ac_metric_rows[point->metric].n_bounds + 1;
        memcpy(buckets[n_points], point->buckets, n * sizeof(uint64_t));
        memcpy(exponentials[n_points], point->exponential, sizeof exponentials[0]);
        points[n_points].buckets = buckets[n_points];
        points[n_points].exponential = exponentials[n_points];
    }
    n_points++;
}

static ac_metrics_reading_t *read_all(ac_metrics_t *metrics)
{
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, metrics, lives);
    n_points = 0;
    ac_metrics_export_all(&(ac_metric_walk_t){.reading = reading, .end = AC_N_METRICS, .fn = keep});
    return reading;
}

static ac_metrics_t *world(void)
{
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    return metrics;
}

static json_t *encode(bool delta, bool exponential)
{
    static const ac_otlp_pair_t pairs[] = {{"service.name", "x"}};
    static const ac_metric_naming_t naming;
    static apr_time_t since[AC_N_METRICS];
    ac_otlp_resource_t resource = {pairs, 1, false};
    ac_otlp_metrics_t metrics = {.points = points,
                                 .n = n_points,
                                 .naming = &naming,
                                 .since = since,
                                 .when = WHEN,
                                 .delta = delta,
                                 .exponential = exponential};
    ac_buf_t out;
    json_t *document = NULL;
    ac_buf_init(&out, 1024 * 1024);
    ac_otlp_metrics_protobuf(&out, &resource, &metrics);
    assert_false(out.failed);
    assert_int_equal((unsigned char)out.data[0], 0x0a); /* resource_metrics */
    ac_buf_clear(&out);
    ac_otlp_metrics_json(&out, &resource, &metrics);
    assert_int_equal(ac_json_parse(&document, out.data, out.len, NULL), APR_SUCCESS);
    ac_buf_free(&out);
    return document;
}

static json_t *metric_of(json_t *document, const char *name)
{
    size_t i;
    json_t *metric,
        *list = json_object_get(
            json_array_get(json_object_get(json_array_get(json_object_get(document, "resourceMetrics"), 0),
                                           "scopeMetrics"),
                           0),
            "metrics");
    json_array_foreach(list, i, metric)
    {
        if (strcmp(json_string_value(json_object_get(metric, "name")), name) == 0) {
            return metric;
        }
    }
    return NULL;
}

static void expect(const json_t *value, const char *want)
{
    char *found = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    assert_string_equal(found, want);
    free(found);
}

static void test_sums(void **state)
{
    (void)state;
    ac_metrics_t *metrics = world();
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(1, 1, AC_TOKENS_INPUT), 5);
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(1, 1, AC_TOKENS_OUTPUT), 6);
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(2, 1, AC_TOKENS_INPUT), 7);
    ac_metrics_add(AC_METRIC_COST, AC_LABELS(1, 1, 0), 1500000001);
    ac_metrics_reading_t *reading = read_all(metrics);
    json_t *document = encode(true, false),
           *input = json_object_get(metric_of(document, "gen_ai.client.inference.usage.input_tokens"), "sum");
    assert_int_equal(json_array_size(json_object_get(input, "dataPoints")), 2); /* one metric, with both agents */
    expect(json_object_get(input, "aggregationTemporality"), "1");
    expect(json_object_get(input, "isMonotonic"), "true");
    expect(json_object_get(json_array_get(json_object_get(input, "dataPoints"), 1), "asInt"), "\"7\"");
    assert_non_null(metric_of(document, "gen_ai.client.inference.usage.output_tokens"));
    json_t *cost = json_object_get(metric_of(document, "agentchat.cost"), "sum");
    expect(json_object_get(json_array_get(json_object_get(cost, "dataPoints"), 0), "asDouble"), "1.500000001");
    json_decref(document);
    free(reading);
    ac_metrics_destroy(metrics);
}

static void test_exponential_buckets_are_merged_without_a_loss(void **state)
{
    (void)state;
    ac_metrics_t *metrics = world();
    for (int64_t us = 1; us < INT64_C(16000000000); us = us * 5 / 4 + 1) {
        ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), us, NULL);
    }
    ac_metrics_reading_t *reading = read_all(metrics);
    ac_otlp_metrics_buckets_t *merged = ac_alloc(sizeof *merged);
    ac_otlp_metrics_buckets(merged, &points[0]);
    uint64_t total = points[0].zeros;
    for (int i = 0; i < merged->n; i++) {
        total += merged->counts[i];
    }
    assert_true(merged->scale < AC_EXPONENTIAL_SCALE && merged->n <= AC_OTLP_METRICS_BUCKETS);
    assert_true(merged->counts[0] && merged->counts[merged->n - 1]);
    assert_int_equal(total, points[0].count);
    assert_int_equal(merged->count, points[0].count);
    json_t *document = encode(false, true),
           *histogram = json_object_get(metric_of(document, "agentchat.run_overhead"), "exponentialHistogram");
    expect(json_object_get(histogram, "aggregationTemporality"), "2");
    json_decref(document);
    free(merged);
    free(reading);
    ac_metrics_destroy(metrics);
}

static void test_log_records(void **state)
{
    (void)state;
    ac_otlp_resource_t resource = {NULL, 0, false};
    ac_trace_t trace = {.trace_id = "0af7651916cd43dd8448eb211c80319c", .span_id = "b7ad6b7169203331", .sampled = true};
    ac_log_fields_t fields = {.run = "run_1", .http_status = 502, .latency = 1500000, .trace = &trace};
    ac_log_record_t *record =
        ac_log_record_make(&(ac_log_entry_t){.level = AC_WARNING, .text = "AC0503: slow", .fields = &fields});
    const ac_log_record_t *records[] = {record, record};
    ac_buf_t out;
    ac_buf_init(&out, 1024 * 1024);
    ac_otlp_logs_protobuf(&out, &resource, records, 2);
    assert_false(out.failed);
    ac_buf_clear(&out);
    ac_otlp_logs_json(&out, &resource, records, 2);
    json_t *document = NULL;
    assert_int_equal(ac_json_parse(&document, out.data, out.len, NULL), APR_SUCCESS);
    assert_non_null(
        strstr(out.data, "\"severityNumber\":13,\"severityText\":\"WARN\",\"body\":{\"stringValue\":\"slow\"}"));
    assert_non_null(strstr(out.data, "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"502\"}}"));
    assert_non_null(strstr(out.data, "{\"key\":\"agentchat.duration\",\"value\":{\"doubleValue\":1.5}}"));
    assert_non_null(strstr(out.data, "\"spanId\":\"b7ad6b7169203331\",\"flags\":1"));
    json_decref(document);
    ac_buf_free(&out);
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_exponential_buckets_are_merged_without_a_loss),
        cmocka_unit_test(test_log_records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
