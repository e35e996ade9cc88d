/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP bodies of spans, in both forms, and what is read of answers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/otlp_internal.h"

static ac_buf_t out;

static int begin_out(void **state)
{
    (void)state;
    ac_buf_init(&out, 1 << 20);
    return 0;
}

static int end_out(void **state)
{
    (void)state;
    ac_buf_free(&out);
    return 0;
}

/* ---- a span with everything, as the table of attributes allows it ---- */

static const ac_otlp_pair_t pairs[] = {{"service.name", "chat \"one\""}, {"host.name", "h"}};
static const ac_otlp_resource_t resource = {pairs, 2, false};

static ac_attribute_t attribute_of(ac_attribute_e key)
{
    return (ac_attribute_t){.key = key, .type = ac_span_attributes[key].type};
}

static ac_span_t whole_span(ac_attribute_t attributes[4])
{
    ac_span_t span = {.what = AC_SPAN_CHAT,
                      .trace = {.sampled = true, .state = "a=b"},
                      .parent_id = "00f067aa0ba902b7",
                      .name = "chat gpt",
                      .started = 1700000000000001,
                      .ended = 1700000001000002,
                      .error = "model_timeout",
                      .attributes = attributes,
                      .n_attributes = 4,
                      .n_dropped = 2,
                      .n_links = 1};
    memcpy(span.trace.trace_id, "0af7651916cd43dd8448eb211c80319c", sizeof "0af7651916cd43dd8448eb211c80319c");
    memcpy(span.trace.span_id, "b7ad6b7169203331", sizeof "b7ad6b7169203331");
    memcpy(span.links[0].trace_id, "11111111111111111111111111111111", sizeof "11111111111111111111111111111111");
    memcpy(span.links[0].span_id, "2222222222222222", sizeof "2222222222222222");
    attributes[0] = attribute_of(AC_ATTRIBUTE_GEN_AI_REQUEST_MODEL);
    attributes[0].value.text = "gpt\n\"4\"";
    attributes[1] = attribute_of(AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE);
    attributes[1].value.integer = -503;
    attributes[2] = attribute_of(AC_ATTRIBUTE_GEN_AI_RESPONSE_FINISH_REASONS);
    attributes[2].value.text = "[\"stop\",\"x\"]";
    attributes[3] = attribute_of(AC_ATTRIBUTE_GEN_AI_REQUEST_TEMPERATURE);
    attributes[3].value.number = 0.1;
    return span;
}

static void test_json_of_a_whole_span(void **state)
{
    (void)state;
    ac_attribute_t attributes[4];
    ac_span_t span = whole_span(attributes);
    const ac_span_t *spans[] = {&span};
    ac_otlp_json_traces(&out, &resource, spans, 1);
    assert_string_equal(
        out.data,
        "{\"resourceSpans\":[{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
        "\"chat \\\"one\\\"\"}},{\"key\":\"host.name\",\"value\":{\"stringValue\":\"h\"}}]},\"scopeSpans\":[{"
        "\"scope\":{\"name\":\"mod_agentchat\",\"version\":\"" AC_VERSION "\"},\"spans\":["
        "{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\",\"traceState\":\"a=b\","
        "\"parentSpanId\":\"00f067aa0ba902b7\",\"flags\":257,\"name\":\"chat gpt\",\"kind\":3,"
        "\"startTimeUnixNano\":\"1700000000000001000\",\"endTimeUnixNano\":\"1700000001000002000\",\"attributes\":["
        "{\"key\":\"gen_ai.request.model\",\"value\":{\"stringValue\":\"gpt\\n\\\"4\\\"\"}},"
        "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"-503\"}},"
        "{\"key\":\"gen_ai.response.finish_reasons\",\"value\":{\"arrayValue\":{\"values\":[{\"stringValue\":\"stop\"},"
        "{\"stringValue\":\"x\"}]}}},"
        "{\"key\":\"gen_ai.request.temperature\",\"value\":{\"doubleValue\":0.1}},"
        "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"model_timeout\"}}],\"droppedAttributesCount\":2,"
        "\"links\":[{\"traceId\":\"11111111111111111111111111111111\",\"spanId\":\"2222222222222222\",\"flags\":768}],"
        "\"status\":{\"code\":2}}]}]}]}");
}

static void test_older_names_beside_the_new_ones(void **state)
{
    (void)state;
    ac_attribute_t attributes[4];
    ac_span_t span = whole_span(attributes);
    const ac_span_t *spans[] = {&span, &span};
    ac_otlp_resource_t both = resource;
    both.old_names = true;
    ac_otlp_json_traces(&out, &both, spans, 2);
    json_t *document = NULL;
    assert_int_equal(ac_json_parse(&document, out.data, out.len, NULL), APR_SUCCESS);
    json_decref(document);
    assert_non_null(strstr(out.data,
                           "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"-503\"}},"
                           "{\"key\":\"http.status_code\",\"value\":{\"intValue\":\"-503\"}}"));
    ac_buf_clear(&out);
    ac_otlp_protobuf_traces(&out, &both, spans, 2);
    assert_non_null(memmem(out.data, out.len, "http.status_code", 16));
    assert_false(out.failed);
}

/* tests/httpd/test_telemetry.py decodes whole bodies by protoc. */
static void test_protobuf_of_a_span(void **state)
{
    (void)state;
    char hex[600];
    ac_otlp_resource_t none = {NULL, 0, false};
    ac_span_t span = {.what = AC_SPAN_REQUEST, .name = "GET", .started = 1, .ended = 2};
    memcpy(span.trace.trace_id, "0af7651916cd43dd8448eb211c80319c", sizeof "0af7651916cd43dd8448eb211c80319c");
    memcpy(span.trace.span_id, "b7ad6b7169203331", sizeof "b7ad6b7169203331");
    const ac_span_t *spans[] = {&span};
    ac_otlp_protobuf_traces(&out, &none, spans, 1);
    assert_true(out.len < sizeof hex / 2);
    ac_text_hex(hex, (const unsigned char *)out.data, out.len);
    const char *at = strstr(hex, "0a100af7651916cd43dd8448eb211c80319c1208b7ad6b7169203331");
    assert_non_null(at);
    assert_string_equal(at + 56,
                        "2a0347455430023"                         /* name, kind */
                        "9e80300000000000041d0070000000000007a00" /* times, status */
                        "850100010000" /* flags */);
    assert_memory_equal(hex, "0a", 2);
}

static void test_doubles(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0, "0"},
                {1.5, "1.5"},
                {0.1, "0.1"},
                {1e300, "1e+300"},
                {-2.5e-7, "-2.5e-07"},
                {NAN, "\"NaN\""},
                {INFINITY, "\"Infinity\""},
                {-INFINITY, "\"-Infinity\""},
                {1.0 / 3, "0.3333333333333333"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ac_buf_clear(&out);
        ac_otlp_json_double(&out, rows[i].value);
        assert_string_equal(out.data, rows[i].text);
    }
}

/* ---- answers ---- */

static ac_otlp_answer_t answer_of(bool ok, bool protobuf, const char *body, size_t len)
{
    ac_otlp_answer_t answer;
    char *exact = malloc(len ? len : 1); /* so that a read behind its end is found */
    memcpy(exact, body, len);
    ac_otlp_answer_read(&answer, ok, protobuf, exact, len);
    free(exact);
    return answer;
}

static void test_answers_in_json(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool ok;
        int rejected;
        const char *message;
    } rows[] = {
        {"{}", true, 0, ""},
        {"", true, 0, ""},
        {"garbage", true, 0, ""},
        {"[1]", true, 0, ""},
        {"{\"partialSuccess\":{}}", true, 0, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"too\\nlong\"}}", true, 3, "too?long"},
        {"{\"partialSuccess\":{\"rejectedDataPoints\":4}}", true, 4, ""},
        {"{\"partialSuccess\":{\"rejectedLogRecords\":\"-4\"}}", true, 0, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":\"99999999999999999999\"}}", true, (int)AC_OTLP_MAX_REJECTED, ""},
        {"{\"partialSuccess\":{\"rejectedSpans\":[]}}", true, 0, ""},
        {"{\"partialSuccess\":7}", true, 0, ""},
        {"{\"code\":3,\"message\":\"bad request\"}", false, 0, "bad request"},
        {"{\"message\":{\"partialSuccess\":1}}", false, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ac_otlp_answer_t answer = answer_of(rows[i].ok, false, rows[i].body, strlen(rows[i].body));
        assert_int_equal(answer.rejected, rows[i].rejected);
        assert_string_equal(answer.message, rows[i].message);
    }
}

static void test_answers_in_protobuf(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t len;
        bool ok;
        int rejected;
        const char *message;
    } rows[] = {
        {"", 0, true, 0, ""},
        {"\x0a\x00", 2, true, 0, ""},
        {"\x0a\x09\x08\x03\x12\x05oh no", 11, true, 3, "oh no"},
        {"\x0a\x09\x08\x03\x12\x05oh n", 10, true, 0, ""}, /* cut */
        {"\x0a\x02\x08\x03", 4, true, 3, ""},
        {"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, true, 0, ""}, /* -1 */
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 12, true, 0, ""},        /* a length of all that there is */
        {"\x0a\x0f\x29xxxxxxxx\x35xxxx\x08\x07", 18, true, 0, ""},                 /* its end is cut */
        {"\x0a\x10\x29xxxxxxxx\x35xxxx\x08\x07", 18, true, 7, ""},                 /* unknown fields */
        {"\x08\x03\x12\x03"
         "bad",
         7, false, 0, "bad"},
        {"garbage", 7, true, 0, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ac_otlp_answer_t answer = answer_of(rows[i].ok, true, rows[i].body, rows[i].len);
        assert_int_equal(answer.rejected, rows[i].rejected);
        assert_string_equal(answer.message, rows[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_json_of_a_whole_span, begin_out, end_out),
        cmocka_unit_test_setup_teardown(test_older_names_beside_the_new_ones, begin_out, end_out),
        cmocka_unit_test_setup_teardown(test_protobuf_of_a_span, begin_out, end_out),
        cmocka_unit_test_setup_teardown(test_doubles, begin_out, end_out),
        cmocka_unit_test(test_answers_in_json),
        cmocka_unit_test(test_answers_in_protobuf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
