/* SPDX-License-Identifier: Apache-2.0 */
/* Events to bytes: each dialect, event by event, down to the byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/stream/dialect.c"

#define AT INT64_C(1795238746123456) /* 2026-11-21T05:25:46.123456Z */
#define STAMP "\"timestamp\":\"2026-11-21T05:25:46.123Z\""
#define THREAD "thread_01m7ybjtd1e00sbt3ndv6wbnqt"
#define RUN "run_01m7ybjtg4e00r9pk41h3p6e78"

typedef struct out_t {
    ac_render_t render;
    ac_buf_t buf;
} out_t;

static out_t *open_out(const ac_dialect_t *dialect)
{
    out_t *out = ac_alloc(sizeof(*out));
    ac_dialect_render_init(&out->render, dialect);
    ac_buf_init(&out->buf, 1024 * 1024);
    return out;
}

static void close_out(out_t *out)
{
    ac_buf_free(&out->buf);
    free(out);
}

static ac_event_t *make(ac_event_type_e type, uint64_t seq, const char *data, const char *text)
{
    json_t *json = data ? json_loads(data, 0, NULL) : NULL;
    assert_true(!data || json);
    ac_event_t *event = ac_event_create(type, json, text, text ? strlen(text) : 0);
    event->seq = seq;
    event->at = AT;
    return event;
}

/* Renders the event, expects exactly this to be appended, and forgets both. */
static void expect(out_t *out, ac_event_t *event, const char *text)
{
    ac_buf_clear(&out->buf);
    assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
    assert_string_equal(out->buf.data ? out->buf.data : "", text);
    ac_event_unref(event);
}

static ac_event_t *run_event(void)
{
    return make(AC_EVENT_RUN, 1,
                "{\"run_id\":\"" RUN "\",\"thread_id\":\"" THREAD "\",\"agent_id\":\"a\",\"message_id\":\"m\"}", NULL);
}

static ac_event_t *error_event(void)
{
    ac_event_t *event =
        make(AC_EVENT_ERROR, 9, "{\"code\":\"model_timeout\",\"message\":\"too \\\"late\\\"\",\"run_id\":\"r\"}", NULL);
    event->kind = AC_MODEL_TIMEOUT;
    return event;
}

static void test_native(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_native);
    expect(out, run_event(),
           "id: 1\ndata: {\"type\":\"run\",\"run_id\":\"" RUN "\",\"thread_id\":\"" THREAD
           "\",\"agent_id\":\"a\",\"message_id\":\"m\"," STAMP "}\n\n");
    assert_string_equal(out->render.thread_id, THREAD);
    assert_string_equal(out->render.run_id, RUN);
    expect(out, make(AC_EVENT_TOKEN, 2, NULL, "a \"b\"\n\xc3\xa9\x01"),
           "id: 2\ndata: {\"type\":\"token\",\"content\":\"a \\\"b\\\"\\n\xc3\xa9\\u0001\"," STAMP "}\n\n");
    expect(out, make(AC_EVENT_REASONING, 3, NULL, "so \"b\""),
           "id: 3\ndata: {\"type\":\"reasoning\",\"content\":\"so \\\"b\\\"\"," STAMP "}\n\n");
    expect(out, make(AC_EVENT_TRACE_START, 10, "{\"step_id\":\"s\",\"tool\":\"t\",\"call_id\":\"c\"}", NULL),
           "id: 10\ndata: {\"type\":\"trace_start\",\"step_id\":\"s\",\"tool\":\"t\",\"call_id\":\"c\"," STAMP "}\n\n");
    expect(out, make(AC_EVENT_TRACE_END, 11, "{\"result\":{\"n\":12.75,\"s\":\"x\\ny\"},\"latency_ms\":3}", NULL),
           "id: 11\ndata: {\"type\":\"trace_end\",\"result\":{\"n\":12.75,\"s\":\"x\\ny\"},\"latency_ms\":3," STAMP
           "}\n\n");
    assert_false(out->render.ended);
    expect(out, make(AC_EVENT_DONE, 12, "{\"status\":\"completed\",\"cost\":null}", "whole"),
           "id: 12\ndata: {\"type\":\"done\",\"status\":\"completed\",\"cost\":null," STAMP "}\n\n");
    assert_true(out->render.ended);
    close_out(out);
}

static void test_native_error_ends(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_native);
    expect(out, error_event(),
           "id: 9\ndata: {\"type\":\"error\",\"code\":\"model_timeout\",\"message\":\"too \\\"late\\\"\","
           "\"run_id\":\"r\"," STAMP "}\n\n");
    assert_true(out->render.ended);
    assert_int_equal(out->render.status, 504);
    close_out(out);
}

static void test_native_empty_data(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_native);
    expect(out, make(AC_EVENT_TRACE_UPDATE, 3, "{}", NULL), "id: 3\ndata: {\"type\":\"trace_update\"," STAMP "}\n\n");
    expect(out, make(AC_EVENT_TRACE_UPDATE, 4, NULL, NULL), "id: 4\ndata: {\"type\":\"trace_update\"," STAMP "}\n\n");
    close_out(out);
}

static void test_ids_of_any_size(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_chunk);
    expect(out, make(AC_EVENT_TOKEN, 0, NULL, ""), "id: 0\ndata: {\"type\":\"chunk\",\"content\":\"\"}\n\n");
    expect(out, make(AC_EVENT_TOKEN, UINT64_MAX, NULL, "x"),
           "id: 18446744073709551615\ndata: {\"type\":\"chunk\",\"content\":\"x\"}\n\n");
    close_out(out);
}

/* The formatted time is kept for a millisecond; the next one must not get it. */
static void test_time_moves(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_native);
    static const struct {
        apr_time_t at;
        const char *shown;
    } cases[] = {
        {AT, "46.123Z"}, {AT + 543, "46.123Z"}, {AT + 544, "46.124Z"}, {AT + 1000000, "47.123Z"}, {AT, "46.123Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_event_t *event = make(AC_EVENT_TOKEN, 1, NULL, "x");
        event->at = cases[i].at;
        ac_buf_clear(&out->buf);
        assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
        assert_non_null(strstr(out->buf.data, cases[i].shown));
        ac_event_unref(event);
    }
    close_out(out);
}

static void test_chunk(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_chunk);
    expect(out, run_event(),
           "id: 1\ndata: {\"type\":\"metadata\",\"conversation_id\":\"" THREAD "\",\"thread_id\":\"" THREAD "\"}\n\n");
    expect(out, make(AC_EVENT_TRACE_START, 2, "{\"tool\":\"t\"}", NULL), "");
    expect(out, make(AC_EVENT_TOKEN, 3, NULL, "hi"), "id: 3\ndata: {\"type\":\"chunk\",\"content\":\"hi\"}\n\n");
    expect(out, error_event(),
           "id: 9\ndata: {\"type\":\"error\",\"code\":\"model_timeout\",\"message\":\"too \\\"late\\\"\"}\n\n");
    expect(out, make(AC_EVENT_DONE, 4, "{\"status\":\"completed\"}", "hi\n"),
           "id: 4\ndata: {\"type\":\"done\",\"full_response\":\"hi\\n\"," STAMP "}\n\n");
    close_out(out);
}

static void test_text(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_text);
    expect(out, make(AC_EVENT_RUN, 1, "{\"run_id\":\"" RUN "\",\"thread_id\":null}", NULL), "");
    expect(out, make(AC_EVENT_TRACE_END, 2, "{\"tool\":\"t\"}", NULL), "");
    expect(out, make(AC_EVENT_TOKEN, 3, NULL, "hi"), "data: {\"text\":\"hi\"}\n\n");
    expect(out, error_event(), "event: error\ndata: {\"code\":\"model_timeout\",\"message\":\"too \\\"late\\\"\"}\n\n");
    expect(out, make(AC_EVENT_DONE, 4, "{}", "hi"), "event: done\ndata: {}\n\n");
    close_out(out);
}

static void test_message(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_message);
    expect(out, run_event(), "");
    expect(out, make(AC_EVENT_TOKEN, 2, NULL, "hi"), "");
    ac_event_t *event = make(AC_EVENT_DONE, 3, "{}", "hi");
    event->message = json_pack("{s:s, s:i}", "id", "msg_1", "seq", 2);
    expect(out, event, "{\"id\":\"msg_1\",\"seq\":2}");
    assert_true(out->render.ended);
    assert_int_equal(out->render.status, 200);
    close_out(out);
}

static void test_message_that_was_not_stored(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_message);
    expect(out, run_event(), "");
    expect(out, make(AC_EVENT_DONE, 3, "{}", "h\"i"),
           "{\"id\":null,\"thread_id\":\"" THREAD "\",\"role\":\"assistant\","
           "\"content\":\"h\\\"i\",\"tool_calls\":null,\"run_id\":\"" RUN "\"," STAMP "}");
    close_out(out);
}

static void test_json_errors_are_left_to_the_stream(void **state)
{
    (void)state;
    const ac_dialect_t *dialects[] = {&ac_dialect_message, &ac_dialect_chat};
    for (int i = 0; i < 2; i++) {
        out_t *out = open_out(dialects[i]);
        expect(out, error_event(), "");
        assert_true(out->render.ended);
        assert_int_equal(out->render.status, 504);
        close_out(out);
    }
}

static void test_chat(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_dialect_chat);
    expect(out, run_event(), "");
    expect(out, make(AC_EVENT_TOKEN, 2, NULL, "hi"), "");
    expect(out, make(AC_EVENT_DONE, 3, "{}", "hi"),
           "{\"conversation_id\":\"" THREAD "\",\"thread_id\":\"" THREAD "\",\"response\":\"hi\"," STAMP "}");
    close_out(out);
}

static void test_heartbeats(void **state)
{
    (void)state;
    static const struct {
        const ac_dialect_t *dialect;
        const char *begins;
    } cases[] = {
        {&ac_dialect_native, "data: {\"type\":\"heartbeat\",\"timestamp\":\"20"},
        {&ac_dialect_chunk, ": heartbeat\n"},
        {&ac_dialect_text, ": heartbeat\n"},
        {&ac_dialect_message, ""},
        {&ac_dialect_chat, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        out_t *out = open_out(cases[i].dialect);
        assert_int_equal(out->render.dialect->heartbeat(&out->render, &out->buf), APR_SUCCESS);
        assert_int_equal(out->buf.len > 0, cases[i].begins[0] != '\0');
        if (out->buf.len) {
            assert_memory_equal(out->buf.data, cases[i].begins, strlen(cases[i].begins));
            /* An event ends with a blank line. A comment ends with its line. */
            bool comment = cases[i].begins[0] == ':';
            assert_string_equal(out->buf.data + out->buf.len - 2, comment ? "t\n" : "\n\n");
        }
        close_out(out);
    }
}

/* A route names the first of its dialects, a stream. The last one of those that follow it is a document. */
static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const ac_dialect_t *first, *last;
    } rows[] = {{&ac_dialect_native, &ac_dialect_message},
                {&ac_dialect_chunk, &ac_dialect_chat},
                {&ac_dialect_text, &ac_dialect_text}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const ac_dialect_t *dialect = rows[i].first;
        assert_string_equal(dialect->media_type, "text/event-stream; charset=utf-8");
        for (; dialect->next; dialect = dialect->next) {
            assert_true(dialect->stream);
        }
        assert_ptr_equal(dialect, rows[i].last);
        assert_true(dialect == rows[i].first ||
                    (!dialect->stream && strcmp(dialect->media_type, "application/json") == 0));
    }
}

/* For every size that is too small, nothing of the event is left behind. */
static void test_whole_or_nothing(void **state)
{
    (void)state;
    const ac_dialect_t *dialects[] = {&ac_dialect_native, &ac_dialect_chunk, &ac_dialect_text};
    for (int i = 0; i < 2 * 3; i++) {
        ac_event_t *event = i % 2 ? error_event() : make(AC_EVENT_TOKEN, 7, NULL, "some text \"quoted\"");
        out_t *out = open_out(dialects[i / 2]);
        assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
        size_t whole = out->buf.len;
        for (size_t max = 3; max < whole + 3; max++) {
            ac_buf_free(&out->buf);
            ac_buf_init(&out->buf, max);
            ac_buf_add(&out->buf, "abc", 3);
            assert_int_not_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
            assert_string_equal(out->buf.data, "abc");
        }
        ac_event_unref(event);
        close_out(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native),
        cmocka_unit_test(test_native_error_ends),
        cmocka_unit_test(test_native_empty_data),
        cmocka_unit_test(test_ids_of_any_size),
        cmocka_unit_test(test_time_moves),
        cmocka_unit_test(test_chunk),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_message_that_was_not_stored),
        cmocka_unit_test(test_json_errors_are_left_to_the_stream),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_whole_or_nothing),
    };
    return cmocka_run_group_tests_name("dialect", tests, NULL, NULL);
}
