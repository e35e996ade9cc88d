/* SPDX-License-Identifier: Apache-2.0 */
/* What other systems are sent of the metrics: each count once, whichever process sends it and however that one ends. */
#include "metrics_world.h"

#include <math.h>

#define EXPORT AC_METRIC_EXPORT_OTLP

typedef struct seen_t { /* sums over what a walk has passed */
    int64_t started, overhead_us, n_points, active;
    uint64_t overhead, exponential;
} seen_t;

static void see(void *baton, const ac_metric_point_t *point)
{
    seen_t *seen = baton;
    seen->n_points++;
    switch (point->metric) {
    case AC_METRIC_RUNS_STARTED: seen->started += point->value; break;
    case AC_METRIC_RUNS_ACTIVE: seen->active += point->value; break;
    case AC_METRIC_RUN_OVERHEAD:
        seen->overhead += point->count;
        seen->overhead_us += point->value;
        seen->exponential += point->zeros;
        for (int i = 0; i < AC_EXPONENTIAL_BUCKETS; i++) {
            seen->exponential += point->exponential[i];
        }
        break;
    default: break;
    }
}

static seen_t walk(ac_metrics_t *metrics, bool news, int first, int end)
{
    seen_t seen = {0};
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, metrics, lives);
    ac_metric_walk_t how = {.reading = reading, .first = first, .end = end, .fn = see, .baton = &seen};
    if (news) {
        ac_metrics_export_news(metrics, EXPORT, &how);
    } else {
        ac_metrics_export_all(&how);
    }
    free(reading);
    return seen;
}

static seen_t news(ac_metrics_t *metrics)
{
    return walk(metrics, true, 0, AC_N_METRICS);
}

static void count(uint64_t n)
{
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_NO_LABELS, n);
}

static void settle(ac_metrics_t *metrics, bool received)
{
    ac_metrics_export_sending(metrics, EXPORT);
    ac_metrics_export_settle(metrics, EXPORT, received);
}

static void test_each_count_is_sent_once(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(metrics, 1, 1, lives);
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    count(5);
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), 2000, NULL);
    ac_metrics_gauge_set(AC_METRIC_RUNS_ACTIVE, AC_NO_LABELS, 3);
    seen_t seen = news(metrics);
    assert_int_equal(seen.started, 5);
    assert_int_equal(seen.overhead, 1);
    assert_int_equal(seen.overhead_us, 2000);
    assert_int_equal(seen.exponential, 1);
    assert_int_equal(seen.active, 3);
    settle(metrics, true);
    apr_time_t since = ac_metrics_export_since(metrics, EXPORT, AC_METRIC_RUNS_STARTED);
    assert_true(since > ac_metrics_export_began(metrics));
    seen = news(metrics);
    assert_int_equal(seen.started, 0);
    assert_int_equal(seen.overhead, 0);
    assert_int_equal(seen.active, 3);
    count(2);
    assert_int_equal(news(metrics).started, 2);
    settle(metrics, false); /* refused: it is a part of the next */
    count(1);
    assert_int_equal(news(metrics).started, 3);
    settle(metrics, true);
    assert_int_equal(news(metrics).started, 0);
    assert_int_equal(walk(metrics, false, 0, AC_N_METRICS).started, 8);
    assert_int_equal(walk(metrics, false, 0, AC_N_METRICS).overhead, 1);
    ac_metrics_destroy(metrics);
}

static void test_an_export_knows_only_its_own(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    count(5);
    news(metrics);
    settle(metrics, true);
    seen_t seen = {0};
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, metrics, lives);
    ac_metrics_export_news(metrics, AC_METRIC_EXPORT_APPINSIGHTS,
                           &(ac_metric_walk_t){.reading = reading, .end = AC_N_METRICS, .fn = see, .baton = &seen});
    free(reading);
    assert_int_equal(seen.started, 5);
    ac_metrics_destroy(metrics);
}

static void test_a_part_of_the_metrics_is_settled_alone(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    count(5);
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), 2000, NULL);
    seen_t seen = walk(metrics, true, 0, AC_METRIC_RUN_OVERHEAD);
    assert_int_equal(seen.started, 5);
    assert_int_equal(seen.overhead, 0);
    settle(metrics, true);
    assert_int_equal(ac_metrics_export_since(metrics, EXPORT, AC_METRIC_RUN_OVERHEAD),
                     ac_metrics_export_began(metrics));
    seen = news(metrics);
    assert_int_equal(seen.started, 0);
    assert_int_equal(seen.overhead, 1);
    ac_metrics_destroy(metrics);
}

static void test_one_process_sends_until_it_ends(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(3);
    ac_metrics_join(metrics, 1, 1, lives);
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    ac_metrics_join(metrics, 2, 1, lives);
    assert_false(ac_metrics_export_take(metrics, EXPORT, lives));
    ac_metrics_export_leave(metrics, EXPORT); /* of another process: nothing happens */
    assert_false(ac_metrics_export_take(metrics, EXPORT, lives));
    dead = 1;
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    ac_metrics_export_leave(metrics, EXPORT);
    dead = 0;
    ac_metrics_join(metrics, 3, 1, lives);
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    ac_metrics_destroy(metrics);
}

/* A process counts 5 and dies: before it has sent them, or after. */
static int64_t left_by_a_dead_process(bool sending)
{
    ac_metrics_t *metrics = make(2);
    ac_metrics_join(metrics, 1, 1, lives);
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    count(5);
    news(metrics);
    if (sending) {
        ac_metrics_export_sending(metrics, EXPORT);
    }
    ac_metrics_join(metrics, 2, 1, lives);
    count(2);
    dead = 1;
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    int64_t left = news(metrics).started;
    ac_metrics_destroy(metrics);
    return left;
}

static void test_the_death_of_the_sender_neither_loses_nor_repeats(void **state)
{
    (void)state;
    assert_int_equal(left_by_a_dead_process(false), 7);
    assert_int_equal(left_by_a_dead_process(true), 2);
}

static void test_memory_for_more_names_continues_what_was_sent(void **state)
{
    (void)state;
    static char texts[64][8];
    static const char *many[66] = {"other"};
    ac_metrics_t *before = make(2);
    ac_metrics_join(before, 1, 1, lives);
    assert_true(ac_metrics_export_take(before, EXPORT, lives));
    count(5);
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), 2000, NULL);
    news(before);
    settle(before, true);
    count(1);
    news(before);
    ac_metrics_export_sending(before, EXPORT); /* and it waits for the answer */
    for (int i = 0; i < 64; i++) {
        snprintf(texts[i], sizeof texts[i], "a%d", i);
        many[i + 1] = texts[i];
    }
    ac_metric_names_t names = names_of(many, models);
    ac_metrics_t *metrics = ac_metrics_create(&names, 2, before);
    assert_ptr_not_equal(metrics, before);
    ac_metrics_join(metrics, 2, 1, lives);
    count(2);
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), 2000, NULL);
    assert_false(ac_metrics_export_take(metrics, EXPORT, lives)); /* process 1 is still sending */
    dead = 1;
    assert_true(ac_metrics_export_take(metrics, EXPORT, lives));
    seen_t seen = news(metrics);
    assert_int_equal(seen.started, 2);
    assert_int_equal(seen.overhead, 1);
    settle(metrics, true);
    seen = news(metrics);
    assert_int_equal(seen.started, 0);
    assert_int_equal(seen.overhead, 0);
    assert_int_equal(walk(metrics, false, 0, AC_N_METRICS).started, 8);
    dead = 2;
    ac_metrics_join(before, 3, 1, lives);
    assert_false(ac_metrics_export_take(before, EXPORT, lives)); /* a process of the older configuration */
    ac_metrics_destroy(metrics);
}

static void test_exponential_buckets(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    int64_t whole = APR_USEC_PER_SEC;
    static const struct {
        int64_t value;
        int index;
    } want[] = {{1000000, -1}, {1000001, 0}, {2000000, 7}, {2000001, 8}, {500000, -9}, {1500000, 4}, {8, -136}};
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        ac_metrics_join(metrics, 1, 1, lives);
        ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), want[i].value, NULL);
        double seconds = (double)want[i].value / (double)whole;
        assert_true(seconds <= ac_metrics_exponential_bound(want[i].index, AC_EXPONENTIAL_SCALE));
        assert_true(seconds > ac_metrics_exponential_bound(want[i].index - 1, AC_EXPONENTIAL_SCALE));
    }
    ac_metrics_destroy(metrics);
}

static int first_index;
static void find_index(void *baton, const ac_metric_point_t *point)
{
    (void)baton;
    for (int i = 0; point->metric == AC_METRIC_RUN_OVERHEAD && i < AC_EXPONENTIAL_BUCKETS; i++) {
        first_index = point->exponential[i] ? AC_EXPONENTIAL_FIRST + i : first_index;
    }
}

static void test_a_time_is_in_the_bucket_that_the_specification_says(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    for (int64_t value = 8; value < INT64_C(16384000000); value += value / 37 + 1) {
        ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), value, NULL);
        ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
        ac_metrics_read_begin(reading, metrics, lives);
        ac_metrics_export_news(metrics, EXPORT,
                               &(ac_metric_walk_t){.reading = reading, .end = AC_N_METRICS, .fn = find_index});
        settle(metrics, true);
        free(reading);
        int want = (int)ceil(log2((double)value / 1e6) * 8) - 1;
        if (first_index != want) { /* the logarithm of a bound is not exact */
            assert_true(first_index == want - 1 || first_index == want + 1);
            assert_true((double)value <= ac_metrics_exponential_bound(first_index, 3) * 1e6);
            assert_true((double)value > ac_metrics_exponential_bound(first_index - 1, 3) * 1e6);
        }
    }
    ac_metrics_destroy(metrics);
}

typedef struct described_t { /* the last point of a metric, as OpenTelemetry gets it */
    ac_metric_e metric;
    char name[AC_METRIC_OTEL_NAME_SIZE], attributes[512];
    const char *unit;
} described_t;

static void add_attribute(void *baton, const char *label, size_t label_len, const char *value, size_t value_len)
{
    char *text = baton;
    size_t len = strlen(text);
    snprintf(text + len, 512 - len, "%.*s=%.*s ", (int)label_len, label, (int)value_len, value);
}

static void describe(void *baton, const ac_metric_point_t *point)
{
    static const char *const agents[] = {"other", "Alpha"};
    static const ac_metric_model_t known[] = {{NULL, NULL}, {"openai", "gpt-x"}};
    const ac_metric_naming_t naming = {.models = known, .n_models = 2, .agents = agents, .n_agents = 2};
    described_t *described = baton;
    if (point->metric == described->metric) {
        ac_metrics_names_otel(described->name, point);
        described->unit = ac_metrics_names_unit(point->metric);
        *described->attributes = '\0';
        ac_metrics_names_attributes(&naming, point, add_attribute, described->attributes);
    }
}

static void expect(ac_metrics_t *metrics, ac_metric_e metric, const char *name, const char *unit,
                   const char *attributes)
{
    described_t described = {.metric = metric};
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, metrics, lives);
    ac_metrics_export_all(
        &(ac_metric_walk_t){.reading = reading, .end = AC_N_METRICS, .fn = describe, .baton = &described});
    free(reading);
    assert_string_equal(described.name, name);
    assert_string_equal(described.unit, unit);
    assert_string_equal(described.attributes, attributes);
}

static void test_names_and_attributes_are_those_of_the_conventions(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(1, AC_OK), 2000, NULL);
    expect(metrics, AC_METRIC_RUN_DURATION, "gen_ai.invoke_agent.duration", "s",
           "gen_ai.operation.name=invoke_agent gen_ai.agent.id=alpha gen_ai.agent.name=Alpha ");
    ac_metrics_observe(AC_METRIC_MODEL_CALL_DURATION, AC_LABELS(1, AC_MODEL_ERROR), 2000, NULL);
    expect(metrics, AC_METRIC_MODEL_CALL_DURATION, "gen_ai.client.inference.duration", "s",
           "gen_ai.operation.name=chat gen_ai.provider.name=openai gen_ai.request.model=gpt-x error.type=model_error ");
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(2, 0, AC_TOKENS_OUTPUT), 1);
    expect(metrics, AC_METRIC_TOKENS, "gen_ai.client.inference.usage.output_tokens", "{token}",
           "gen_ai.operation.name=chat gen_ai.token.modality=text gen_ai.agent.id=beta gen_ai.agent.name=beta "
           "gen_ai.request.model=other ");
    ac_metrics_add(AC_METRIC_REQUESTS, AC_LABELS(1, ac_metrics_http_status(200)), 1);
    expect(metrics, AC_METRIC_REQUESTS, "agentchat.requests", "",
           "protocol=native method=GET route=/threads status=200 ");
    ac_metrics_add(AC_METRIC_EVENT_LOG_WRITTEN, AC_NO_LABELS, 1);
    expect(metrics, AC_METRIC_EVENT_LOG_WRITTEN, "agentchat.event_log_written", "By", "");
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(1), 1, NULL);
    expect(metrics, AC_METRIC_RUN_OVERHEAD, "agentchat.run_overhead", "s", "agent=alpha protocol=other ");
    ac_metrics_destroy(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_count_is_sent_once),
        cmocka_unit_test(test_an_export_knows_only_its_own),
        cmocka_unit_test(test_a_part_of_the_metrics_is_settled_alone),
        cmocka_unit_test(test_one_process_sends_until_it_ends),
        cmocka_unit_test(test_the_death_of_the_sender_neither_loses_nor_repeats),
        cmocka_unit_test(test_memory_for_more_names_continues_what_was_sent),
        cmocka_unit_test(test_exponential_buckets),
        cmocka_unit_test(test_names_and_attributes_are_those_of_the_conventions),
        cmocka_unit_test(test_a_time_is_in_the_bucket_that_the_specification_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
