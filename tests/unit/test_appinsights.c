/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes of Application Insights, and its answers. */
#include "metrics_world.h"

#include "wire/appinsights.h"

#include <apr_strings.h>
#include <math.h>

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define BEGAN INT64_C(1700000000123456)

static const ac_appinsights_source_t source = {.key = "K", .role = "shop.chat", .instance = "i1", .sample_rate = 25};

static ac_attribute_t attributes[16];

static ac_span_t span_of(ac_span_e what, const char *name, int n)
{
    ac_span_t span = {.what = what,
                      .name = (char *)name,
                      .started = BEGAN,
                      .ended = BEGAN + 1500000,
                      .parent_id = "b7ad6b7169203331",
                      .attributes = attributes,
                      .n_attributes = n};
    apr_cpystrn(span.trace.trace_id, TRACE, sizeof span.trace.trace_id);
    apr_cpystrn(span.trace.span_id, "00f067aa0ba902b7", sizeof span.trace.span_id);
    return span;
}

static ac_attribute_t text(ac_attribute_e key, const char *value)
{
    return (ac_attribute_t){.key = key, .type = AC_ATTRIBUTE_TYPE_TEXT, .value.text = (char *)value};
}

static ac_attribute_t integer(ac_attribute_e key, int64_t value)
{
    return (ac_attribute_t){.key = key, .type = AC_ATTRIBUTE_TYPE_INTEGER, .value.integer = value};
}

/* The envelope, which is one line. */
static json_t *parse(ac_buf_t *out)
{
    json_t *document = NULL;
    assert_false(out->failed);
    assert_int_equal(out->data[out->len - 1], '\n');
    assert_ptr_equal(strchr(out->data, '\n'), out->data + out->len - 1);
    assert_int_equal(ac_json_parse(&document, out->data, out->len - 1, NULL), APR_SUCCESS);
    ac_buf_free(out);
    return document;
}

static json_t *envelope_of(const ac_span_t *span)
{
    ac_buf_t out;
    ac_buf_init(&out, 1024 * 1024);
    ac_appinsights_span(&out, &source, span);
    return parse(&out);
}

/* "/data/baseData/name" */
static const json_t *at(const json_t *document, const char *path)
{
    char name[64];
    while (*path) {
        size_t len = strcspn(path + 1, "/");
        snprintf(name, sizeof name, "%.*s", (int)len, path + 1);
        document = json_is_array(document) ? json_array_get(document, (size_t)(name[0] - '0'))
                                           : json_object_get(document, name);
        path += len + 1;
    }
    return document;
}

static void expect(const json_t *document, const char *path, const char *want)
{
    const json_t *value = at(document, path);
    char *found = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15))
                        : strdup("nothing");
    if (strcmp(found, want) != 0) {
        fail_msg("%s is %s, not %s", path, found, want);
    }
    free(found);
}

static void test_a_request(void **state)
{
    (void)state;
    attributes[0] = text(AC_ATTRIBUTE_HTTP_REQUEST_METHOD, "POST");
    attributes[1] = text(AC_ATTRIBUTE_HTTP_ROUTE, "/agents/{id}/chat");
    attributes[2] = integer(AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE, 200);
    attributes[3] = text(AC_ATTRIBUTE_URL_SCHEME, "https");
    attributes[4] = text(AC_ATTRIBUTE_SERVER_ADDRESS, "chat.example");
    attributes[5] = text(AC_ATTRIBUTE_URL_PATH, "/api/agents/a/chat");
    attributes[6] = text(AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID, "thread_1");
    attributes[7] = text(AC_ATTRIBUTE_USER_AGENT_ORIGINAL, "client/1.0");
    ac_span_t span = span_of(AC_SPAN_REQUEST, "POST /agents/{id}/chat", 8);
    json_t *found = envelope_of(&span);
    expect(found, "/name", "\"Microsoft.ApplicationInsights.Request\"");
    expect(found, "/time", "\"2023-11-14T22:13:20.123456Z\"");
    expect(found, "/sampleRate", "25");
    expect(found, "/iKey", "\"K\"");
    expect(found, "/tags/ai.cloud.role", "\"shop.chat\"");
    expect(found, "/tags/ai.cloud.roleInstance", "\"i1\"");
    expect(found, "/tags/ai.operation.id", "\"" TRACE "\"");
    expect(found, "/tags/ai.operation.parentId", "\"b7ad6b7169203331\"");
    expect(found, "/tags/ai.operation.name", "\"POST /agents/{id}/chat\"");
    expect(found, "/data/baseType", "\"RequestData\"");
    expect(found, "/data/baseData/id", "\"00f067aa0ba902b7\"");
    expect(found, "/data/baseData/duration", "\"00:00:01.500\"");
    expect(found, "/data/baseData/success", "true");
    expect(found, "/data/baseData/responseCode", "\"200\"");
    expect(found, "/data/baseData/url", "\"https://chat.example/api/agents/a/chat\"");
    expect(found, "/tags/ai.user.userAgent", "\"client/1.0\"");
    expect(found, "/data/baseData/properties", "{\"gen_ai.conversation.id\":\"thread_1\"}");
    json_decref(found);
    attributes[2] = integer(AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE, 404);
    found = envelope_of(&span);
    expect(found, "/data/baseData/success", "false");
    json_decref(found);
}

static void test_a_call_of_a_model(void **state)
{
    (void)state;
    attributes[0] = text(AC_ATTRIBUTE_GEN_AI_OPERATION_NAME, "chat");
    attributes[1] = text(AC_ATTRIBUTE_GEN_AI_PROVIDER_NAME, "azure.ai.openai");
    attributes[2] = integer(AC_ATTRIBUTE_GEN_AI_USAGE_INPUT_TOKENS, 12);
    attributes[3] =
        (ac_attribute_t){.key = AC_ATTRIBUTE_AGENTCHAT_COST, .type = AC_ATTRIBUTE_TYPE_NUMBER, .value.number = 0.1};
    attributes[4] =
        (ac_attribute_t){.key = AC_ATTRIBUTE_GEN_AI_REQUEST_STREAM, .type = AC_ATTRIBUTE_TYPE_FLAG, .value.flag = true};
    attributes[5] = (ac_attribute_t){.key = AC_ATTRIBUTE_GEN_AI_RESPONSE_FINISH_REASONS,
                                     .type = AC_ATTRIBUTE_TYPE_LIST,
                                     .value.text = (char *)"[\"stop\"]"};
    attributes[6] = text(AC_ATTRIBUTE_SERVER_ADDRESS, "m.openai.azure.com");
    ac_span_t span = span_of(AC_SPAN_CHAT, "chat gpt-x", 7);
    span.error = "model_error";
    span.n_links = 1;
    apr_cpystrn(span.links[0].trace_id, TRACE, sizeof span.links[0].trace_id);
    apr_cpystrn(span.links[0].span_id, "1111111111111111", sizeof span.links[0].span_id);
    json_t *found = envelope_of(&span);
    expect(found, "/name", "\"Microsoft.ApplicationInsights.RemoteDependency\"");
    expect(found, "/data/baseData/name", "\"chat gpt-x\"");
    expect(found, "/data/baseData/type", "\"GenAI | azure.ai.openai\"");
    expect(found, "/data/baseData/target", "\"m.openai.azure.com\"");
    expect(found, "/data/baseData/success", "false");
    expect(found, "/data/baseData/resultCode", "\"0\"");
    expect(found, "/data/baseData/properties",
           "{\"gen_ai.operation.name\":\"chat\",\"gen_ai.provider.name\":\"azure.ai.openai\","
           "\"gen_ai.usage.input_tokens\":\"12\",\"agentchat.cost\":\"0.1\",\"gen_ai.request.stream\":\"true\","
           "\"gen_ai.response.finish_reasons\":\"[\\\"stop\\\"]\",\"error.type\":\"model_error\","
           "\"_MS.links\":\"[{\\\"operation_Id\\\":\\\"" TRACE "\\\",\\\"id\\\":\\\"1111111111111111\\\"}]\"}");
    json_decref(found);
}

static void test_other_dependencies(void **state)
{
    (void)state;
    attributes[0] = text(AC_ATTRIBUTE_DB_SYSTEM_NAME, "azure.cosmosdb");
    attributes[1] = text(AC_ATTRIBUTE_DB_NAMESPACE, "db");
    attributes[2] = text(AC_ATTRIBUTE_DB_OPERATION_NAME, "query_items");
    attributes[3] = text(AC_ATTRIBUTE_SERVER_ADDRESS, "c.documents.azure.com");
    attributes[4] = text(AC_ATTRIBUTE_DB_RESPONSE_STATUS_CODE, "429");
    ac_span_t span = span_of(AC_SPAN_STORE, "query_items messages", 5);
    json_t *found = envelope_of(&span);
    expect(found, "/data/baseData/type", "\"azure.cosmosdb\"");
    expect(found, "/data/baseData/target", "\"c.documents.azure.com|db\"");
    expect(found, "/data/baseData/data", "\"query_items\"");
    expect(found, "/data/baseData/resultCode", "\"429\"");
    json_decref(found);
    attributes[0] = text(AC_ATTRIBUTE_HTTP_REQUEST_METHOD, "GET");
    attributes[1] = text(AC_ATTRIBUTE_URL_FULL, "https://w.example/v1/now");
    attributes[2] = text(AC_ATTRIBUTE_SERVER_ADDRESS, "w.example");
    span = span_of(AC_SPAN_HTTP, "GET", 3);
    found = envelope_of(&span);
    expect(found, "/data/baseData/type", "\"Http\"");
    expect(found, "/data/baseData/name", "\"GET /v1/now\"");
    expect(found, "/data/baseData/data", "\"https://w.example/v1/now\"");
    expect(found, "/data/baseData/properties", "{}");
    json_decref(found);
    span = span_of(AC_SPAN_TOOL, "execute_tool x", 0);
    found = envelope_of(&span);
    expect(found, "/data/baseData/type", "\"InProc\"");
    expect(found, "/data/baseData/target", "nothing");
    json_decref(found);
}

static void test_long_values_are_cut_between_characters(void **state)
{
    (void)state;
    static char value[300001];
    for (size_t i = 0; i + 3 <= sizeof value - 1; i += 3) {
        memcpy(value + i, "\xe2\x82\xac", 3);
    }
    attributes[0] = text(AC_ATTRIBUTE_GEN_AI_AGENT_NAME, value);
    attributes[1] = text(AC_ATTRIBUTE_GEN_AI_TOOL_CALL_RESULT, value);
    ac_span_t span = span_of(AC_SPAN_TOOL, "execute_tool x", 2);
    json_t *found = envelope_of(&span);
    const json_t *properties = at(found, "/data/baseData/properties");
    assert_int_equal(json_string_length(json_object_get(properties, "gen_ai.agent.name")), 8190);
    assert_int_equal(json_string_length(json_object_get(properties, "gen_ai.tool.call.result")), 262143);
    json_decref(found);
}

static void test_numbers_are_those_of_javascript(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *want;
    } cases[] = {{0, "0"},
                 {-0.0, "0"},
                 {1, "1"},
                 {-1.5, "-1.5"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {0.000018, "0.000018"},
                 {0.000001, "0.000001"},
                 {0.00000012, "1.2e-7"},
                 {2e-7, "2e-7"},
                 {1234567.5, "1234567.5"},
                 {1e15, "1000000000000000"},
                 {123456789012345680000.0, "123456789012345680000"},
                 {1e21, "1e+21"},
                 {-1.7976931348623157e308, "-1.7976931348623157e+308"},
                 {2.2250738585072014e-308, "2.2250738585072014e-308"},
                 {-INFINITY, "-Infinity"},
                 {NAN, "NaN"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        attributes[0] = (ac_attribute_t){.key = AC_ATTRIBUTE_AGENTCHAT_COST,
                                         .type = AC_ATTRIBUTE_TYPE_NUMBER,
                                         .value.number = cases[i].value};
        ac_span_t span = span_of(AC_SPAN_CHAT, "chat x", 1);
        json_t *found = envelope_of(&span);
        assert_string_equal(json_string_value(
                                json_object_get(at(found, "/data/baseData/properties"), "agentchat.cost")),
                            cases[i].want);
        json_decref(found);
    }
}

static void test_durations(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *want;
    } cases[] = {{0, "00:00:00.000"},          {-1, "00:00:00.000"},
                 {1, "00:00:00.000001"},       {12663, "00:00:00.012663"},
                 {1500000, "00:00:01.500"},    {59999999, "00:00:59.999999"},
                 {3661000000, "01:01:01.000"}, {93784000005, "1.02:03:04.000005"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char found[AC_APPINSIGHTS_DURATION_SIZE];
        ac_appinsights_duration(found, cases[i].us);
        assert_string_equal(found, cases[i].want);
    }
}

static json_t *logged(ac_level_e level, const char *message, const ac_log_fields_t *fields)
{
    ac_buf_t out;
    ac_log_entry_t entry = {.level = level, .text = message, .fields = fields};
    ac_log_record_t *record = ac_log_record_make(&entry);
    ac_buf_init(&out, 1024 * 1024);
    ac_appinsights_log(&out, &source, record);
    free(record);
    return parse(&out);
}

static void test_log_records(void **state)
{
    (void)state;
    ac_usage_t usage = {.prompt = 3, .completion = 4, .total = 7};
    ac_trace_t trace = {.trace_id = TRACE, .span_id = "00f067aa0ba902b7"};
    ac_log_fields_t fields = {
        .run = "run_1", .thread = "thread_1", .usage = &usage, .trace = &trace, .latency = 1500000};
    json_t *found = logged(AC_WARNING, "AC0503: slow", &fields);
    expect(found, "/name", "\"Microsoft.ApplicationInsights.Message\"");
    expect(found, "/sampleRate", "100");
    expect(found, "/tags/ai.operation.id", "\"" TRACE "\"");
    expect(found, "/tags/ai.operation.parentId", "\"00f067aa0ba902b7\"");
    expect(found, "/data/baseData/message", "\"slow\"");
    expect(found, "/data/baseData/severityLevel", "\"Warning\"");
    expect(
        found, "/data/baseData/properties",
        "{\"agentchat.log.number\":\"AC0503\",\"agentchat.run.id\":\"run_1\",\"gen_ai.conversation.id\":\"thread_1\","
        "\"agentchat.duration\":\"1.5\",\"gen_ai.usage.input_tokens\":\"3\","
        "\"gen_ai.usage.cache_read.input_tokens\":\"0\",\"gen_ai.usage.output_tokens\":\"4\","
        "\"gen_ai.usage.reasoning.output_tokens\":\"0\",\"agentchat.usage\":\"reported\"}");
    json_decref(found);
    fields = (ac_log_fields_t){.error = "store_error", .run = "run_1"};
    found = logged(AC_ERROR, "AC0502: the store", &fields);
    expect(found, "/data/baseType", "\"ExceptionData\"");
    expect(found, "/data/baseData/exceptions",
           "[{\"typeName\":\"store_error\",\"message\":\"the store\",\"hasFullStack\":false}]");
    expect(found, "/data/baseData/severityLevel", "\"Error\"");
    expect(found, "/data/baseData/properties/error.type", "\"store_error\"");
    json_decref(found);
    found = logged(AC_ERROR, "", NULL);
    expect(found, "/data/baseData/message", "\"n/a\"");
    expect(found, "/data/baseData/properties", "{}");
    expect(found, "/tags/ai.operation.id", "nothing");
    json_decref(found);
}

typedef struct wanted_t {
    ac_metric_e metric;
    json_t *found;
} wanted_t;

static void encode(void *baton, const ac_metric_point_t *point)
{
    static const ac_metric_naming_t naming;
    wanted_t *wanted = baton;
    if (point->metric == wanted->metric) {
        ac_buf_t out;
        ac_buf_init(&out, 1024 * 1024);
        ac_appinsights_metric(&out, &source, &naming, point, BEGAN);
        wanted->found = parse(&out);
    }
}

static json_t *measured(ac_metrics_t *metrics, ac_metric_e metric)
{
    wanted_t wanted = {metric, NULL};
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, metrics, lives);
    ac_metrics_export_all(&(ac_metric_walk_t){.reading = reading, .end = AC_N_METRICS, .fn = encode, .baton = &wanted});
    free(reading);
    assert_non_null(wanted.found);
    return wanted.found;
}

static void test_metrics(void **state)
{
    (void)state;
    ac_metrics_t *metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    ac_metrics_add(AC_METRIC_COST, AC_LABELS(1, 1, 0), 1500000001);
    json_t *found = measured(metrics, AC_METRIC_COST);
    expect(found, "/data/baseType", "\"MetricData\"");
    expect(found, "/sampleRate", "100");
    expect(found, "/data/baseData/metrics",
           "[{\"name\":\"agentchat.cost\",\"kind\":\"Aggregation\",\"value\":1.500000001,\"count\":1}]");
    expect(found, "/data/baseData/properties", "{\"agent\":\"alpha\",\"model\":\"m1\",\"currency\":\"other\"}");
    json_decref(found);
    ac_metrics_observe(AC_METRIC_MODEL_FIRST_TOKEN, AC_LABELS(1), 1500000, NULL);
    found = measured(metrics, AC_METRIC_MODEL_FIRST_TOKEN);
    expect(
        found, "/data/baseData/metrics",
        "[{\"name\":\"gen_ai.client.inference.time_to_first_chunk\",\"kind\":\"Aggregation\",\"value\":1.5,\"count\":1,"
        "\"min\":1.5,\"max\":1.5}]");
    json_decref(found);
    ac_metrics_observe(AC_METRIC_MODEL_FIRST_TOKEN, AC_LABELS(1), 500000, NULL);
    found = measured(metrics, AC_METRIC_MODEL_FIRST_TOKEN);
    expect(found, "/data/baseData/metrics/0/value", "2");
    expect(found, "/data/baseData/metrics/0/count", "2");
    double least = json_number_value(at(found, "/data/baseData/metrics/0/min")),
           most = json_number_value(at(found, "/data/baseData/metrics/0/max"));
    assert_true(least > 0.45 && least <= 0.5 && most >= 1.5 && most < 1.65);
    json_decref(found);
    ac_metrics_destroy(metrics);
}

/* ---- answers ---- */

static ac_appinsights_answer_t answer;
static bool again[4];

static ac_appinsights_result_e read_answer(int status, const char *body)
{
    memset(again, 0, sizeof again);
    ac_appinsights_answer_read(&answer, status, body, strlen(body), again, 4);
    return answer.result;
}

static void test_answers(void **state)
{
    (void)state;
    assert_int_equal(read_answer(200, "{\"itemsReceived\":4,\"itemsAccepted\":4,\"errors\":[]}"),
                     AC_APPINSIGHTS_ACCEPTED);
    assert_int_equal(answer.rejected, 0);
    assert_int_equal(read_answer(200, "{\"itemsReceived\":4,\"itemsAccepted\":3,\"errors\":[]}"),
                     AC_APPINSIGHTS_ACCEPTED);
    assert_int_equal(answer.rejected, 1);
    assert_int_equal(read_answer(200, "garbage"), AC_APPINSIGHTS_ACCEPTED);
    static const int later[] = {401, 403, 408, 429, 439, 500, 502, 503, 504}, never[] = {301, 400, 402, 404, 413, 501};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        assert_int_equal(read_answer(later[i], ""), AC_APPINSIGHTS_AGAIN);
    }
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        assert_int_equal(read_answer(never[i], ""), AC_APPINSIGHTS_REFUSED);
        assert_int_equal(answer.rejected, 4);
    }
    assert_int_equal(read_answer(308, ""), AC_APPINSIGHTS_ELSEWHERE);
    assert_int_equal(read_answer(400, "{\"errors\":[{\"message\":\"Invalid\\ninstrumentation key\"}]}"),
                     AC_APPINSIGHTS_REFUSED);
    assert_string_equal(answer.message, "Invalid?instrumentation key");
}

static void test_a_partial_answer_names_what_to_send_again(void **state)
{
    (void)state;
    assert_int_equal(read_answer(206,
                                 "{\"itemsReceived\":4,\"itemsAccepted\":0,\"errors\":["
                                 "{\"index\":0,\"statusCode\":400,\"message\":\"bad\"},"
                                 "{\"index\":1,\"statusCode\":500,\"message\":\"x\"},"
                                 "{\"index\":2,\"statusCode\":429,\"message\":\"Telemetry sampled out.\"},"
                                 "{\"index\":3,\"statusCode\":439,\"message\":\"x\"},"
                                 "{\"index\":3,\"statusCode\":439,\"message\":\"x\"},"
                                 "{\"index\":99,\"statusCode\":500},{\"index\":-1,\"statusCode\":500},7]}"),
                     AC_APPINSIGHTS_SOME);
    assert_false(again[0]);
    assert_true(again[1]);
    assert_false(again[2]);
    assert_true(again[3]);
    assert_string_equal(answer.message, "bad");
    assert_int_equal(read_answer(206, "{\"errors\":[{\"index\":0,\"statusCode\":400}]}"), AC_APPINSIGHTS_ACCEPTED);
    assert_int_equal(answer.rejected, 1);
    assert_int_equal(read_answer(206, "{\"errors\":"), AC_APPINSIGHTS_REFUSED);
    assert_int_equal(answer.rejected, 4);
}

static void test_redirects_stay_in_the_family(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        bool may;
    } cases[] = {
        {"https://dc.services.visualstudio.com/v2.1/track",
         "https://westus.in.applicationinsights.azure.com/v2.1/track", true},
        {"https://x.applicationinsights.azure.us/", "https://y.monitor.azure.us/", true},
        {"https://x.applicationinsights.azure.com/", "https://y.monitor.azure.us/", false},
        {"https://x.applicationinsights.azure.com/", "http://y.applicationinsights.azure.com/", false},
        {"https://x.applicationinsights.azure.com/", "https://y.applicationinsights.azure.com:8443/", false},
        {"https://x.applicationinsights.azure.com/", "https://evil.example/", false},
        {"https://x.applicationinsights.azure.com/", "https://evilapplicationinsights.azure.com/", false},
        {"https://x.applicationinsights.azure.com/", "https://u@y.applicationinsights.azure.com/", false},
        {"https://h.example/a", "https://h.example/b", true},
        {"https://h.example/a", "https://H.example:443/b", true},
        {"https://h.example/a", "http://h.example/b", false},
        {"http://127.0.0.1:8080/a", "http://127.0.0.1:8080/b", true},
        {"http://127.0.0.1:8080/a", "http://127.0.0.1:8081/b", false},
        {"http://[::1]:8080/a", "http://[::1]:8080/b", true},
        {"https://h.example/a", "/b", false},
        {"https://h.example/a", "https://", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (ac_appinsights_answer_may_redirect(cases[i].from, cases[i].to) != cases[i].may) {
            fail_msg("%s to %s", cases[i].from, cases[i].to);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_a_call_of_a_model),
        cmocka_unit_test(test_other_dependencies),
        cmocka_unit_test(test_long_values_are_cut_between_characters),
        cmocka_unit_test(test_numbers_are_those_of_javascript),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_log_records),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_partial_answer_names_what_to_send_again),
        cmocka_unit_test(test_redirects_stay_in_the_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
