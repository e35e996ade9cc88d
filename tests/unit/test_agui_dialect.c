/* SPDX-License-Identifier: Apache-2.0 */
/* The events of AG-UI, byte by byte, for both versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/stream/dialect.c"
#include "front/agui/agui_id.c"
#include "front/agui/agui_dialect.c"
#undef LITERAL
#include "front/agui/agui_interrupt.c"
/* clang-format on */

#define THREAD "thread_01m7ybjtd1e00sbt3ndv6wbnqt"
#define BITS "01m7ybjtg4e00r9pk41h3p6e78"
#define RUN "run_" BITS
#define MSG "msg_" BITS

typedef struct out_t {
    ac_render_t render;
    ac_buf_t buf;
    ac_agui_view_t *view;
} out_t;

static out_t *open_out(bool is_1_0, const char *snapshot)
{
    out_t *out = ac_alloc(sizeof(*out));
    out->view = ac_alloc(sizeof(*out->view) + strlen(snapshot) + 1);
    apr_cpystrn(out->view->thread, "talk \"1\"", sizeof(out->view->thread));
    apr_cpystrn(out->view->run, "r1", sizeof(out->view->run));
    memcpy(out->view->snapshot, snapshot, strlen(snapshot) + 1);
    out->view->is_1_0 = is_1_0;
    ac_dialect_render_init(&out->render, &ac_agui_dialect);
    out->render.view = out->view;
    ac_buf_init(&out->buf, 1024 * 1024);
    return out;
}

static void close_out(out_t *out)
{
    ac_event_unref(out->render.kept);
    ac_buf_free(&out->buf);
    free(out->view);
    free(out);
}

static ac_event_t *make(ac_event_type_e type, const char *data, const char *text)
{
    json_t *json = data ? json_loads(data, 0, NULL) : NULL;
    assert_true(!data || json);
    ac_event_t *event = ac_event_create(type, json, text, text ? strlen(text) : 0);
    event->seq = 1;
    return event;
}

/* With each room that is too small the event leaves nothing behind; then it is rendered into enough. */
static void render(out_t *out, ac_event_t *event)
{
    ac_buf_t wide = out->buf;
    ac_render_place_t place = out->render.place;
    ac_buf_init(&out->buf, 1024 * 1024);
    assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
    size_t whole = out->buf.len;
    out->render.place = place;
    out->render.ended = false;
    for (size_t max = 0; max < whole; max++) {
        ac_buf_free(&out->buf);
        ac_buf_init(&out->buf, max);
        assert_int_not_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
        assert_int_equal(out->buf.len, 0);
        assert_memory_equal(&out->render.place, &place, sizeof(place));
        assert_false(out->render.ended);
    }
    ac_buf_free(&out->buf);
    out->buf = wide;
    assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
    ac_event_unref(event);
}

static void put(out_t *out, ac_event_type_e type, const char *data)
{
    render(out, make(type, data, NULL));
}

static void token(out_t *out, const char *text)
{
    render(out, make(AC_EVENT_TOKEN, NULL, text));
}

/* Exactly this was rendered since the last call. */
static void expect(out_t *out, const char *text)
{
    assert_string_equal(out->buf.data ? out->buf.data : "", text);
    ac_buf_clear(&out->buf);
}

static void begin(out_t *out)
{
    put(out, AC_EVENT_RUN, "{\"run_id\":\"" RUN "\",\"thread_id\":\"" THREAD "\"}");
}

#define D "data: {\"type\":"
#define E "}\n\n"
#define IDS \
    E D "\"CUSTOM\",\"name\":\"agentchat.run\",\"value\":{\"run_id\":\"" RUN "\",\"thread_id\":\"" THREAD "\"}" E
#define STARTED D "\"RUN_STARTED\",\"threadId\":\"talk \\\"1\\\"\",\"runId\":\"r1\""
#define STARTED_1_0 STARTED ",\"protocolVersion\":\"1.0\"" IDS
#define TEXT_START(id) D "\"TEXT_MESSAGE_START\",\"messageId\":\"" id "\",\"role\":\"assistant\"" E
#define TEXT(id, text) D "\"TEXT_MESSAGE_CONTENT\",\"messageId\":\"" id "\",\"delta\":\"" text "\"" E
#define TEXT_END(id) D "\"TEXT_MESSAGE_END\",\"messageId\":\"" id "\"" E
#define CALL(id) "\"toolCallId\":\"" RUN "." id "\""
#define CALL_START(id, tool, parent) \
    D "\"TOOL_CALL_START\"," CALL(id) ",\"toolCallName\":\"" tool "\",\"parentMessageId\":\"" parent "\"" E
#define CALL_ARGS(id, text) D "\"TOOL_CALL_ARGS\"," CALL(id) ",\"delta\":\"" text "\"" E
#define CALL_END(id) D "\"TOOL_CALL_END\"," CALL(id) E
#define RESULT(id, text) \
    D "\"TOOL_CALL_RESULT\",\"messageId\":\"" RUN "." id ".result\"," CALL(id) ",\"content\":\"" text \
                                                                               "\",\"role\":\"tool\"" E
#define FINISHED D "\"RUN_FINISHED\",\"threadId\":\"talk \\\"1\\\"\",\"runId\":\"r1\""
#define SUCCESS FINISHED ",\"outcome\":{\"type\":\"success\"}" E

static void test_a_text(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    begin(out);
    expect(out, STARTED_1_0);
    token(out, "a \"b\"");
    token(out, "");
    token(out, "\n\nc");
    expect(out, TEXT_START(MSG) TEXT(MSG, "a \\\"b\\\"") TEXT(MSG, "\\n\\nc"));
    put(out, AC_EVENT_DONE,
        "{\"status\":\"completed\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,"
        "\"cached_tokens\":2,\"reasoning_tokens\":1}}");
    expect(out,
           TEXT_END(MSG) FINISHED
           ",\"outcome\":{\"type\":\"success\"},\"usage\":[{\"inputTokens\":10,\"outputTokens\":5,\"totalTokens\":15,"
           "\"reasoningTokens\":1,\"cachedInputTokens\":2}]" E);
    assert_true(out->render.ended);
    close_out(out);
}

static void test_a_snapshot_comes_second(void **state)
{
    (void)state;
    out_t *out = open_out(false, "data: {}\n\n");
    begin(out);
    expect(out, STARTED IDS "data: {}\n\n");
    close_out(out);
}

static void test_calls_and_the_text_behind_them(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    begin(out);
    ac_buf_clear(&out->buf);
    token(out, "Let me.");
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c1\",\"tool\":\"t\"}");
    put(out, AC_EVENT_TRACE_UPDATE, "{\"call_id\":\"c1\",\"arguments_delta\":\"{\\\"a\\\":\"}");
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c2\",\"tool\":\"u\"}");
    put(out, AC_EVENT_TRACE_UPDATE, "{\"call_id\":\"c1\",\"arguments_delta\":\"1}\"}");
    put(out, AC_EVENT_TRACE_UPDATE, "{\"call_id\":\"c9\",\"arguments_delta\":\"of no call\"}");
    expect(out,
           TEXT_START(MSG) TEXT(MSG, "Let me.") TEXT_END(MSG) CALL_START("c1", "t", MSG) CALL_ARGS("c1", "{\\\"a\\\":")
               CALL_START("c2", "u", MSG) CALL_ARGS("c1", "1}"));
    put(out, AC_EVENT_TRACE_END, "{\"call_id\":\"c2\",\"arguments\":{\"b\":2},\"result\":\"two\"}");
    expect(out, CALL_ARGS("c2", "{\\\"b\\\":2}") CALL_END("c2") RESULT("c2", "two"));
    put(out, AC_EVENT_TRACE_END, "{\"call_id\":\"c1\",\"arguments\":{\"a\":1},\"error\":\"no\",\"result\":null}");
    expect(out, CALL_END("c1") RESULT("c1", "no"));
    token(out, "\n");
    token(out, "\nFine");
    token(out, "\n!");
    expect(out, TEXT_START(MSG ".2") TEXT(MSG ".2", "Fine") TEXT(MSG ".2", "\\n!"));
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c3\",\"tool\":\"t\"}");
    put(out, AC_EVENT_TRACE_END, "{\"call_id\":\"c3\",\"arguments\":\"no JSON\",\"result\":{\"n\":1}}");
    put(out, AC_EVENT_DONE, "{\"status\":\"completed\"}");
    expect(out,
           TEXT_END(MSG ".2") CALL_START("c3", "t", MSG ".2") CALL_ARGS("c3", "no JSON") CALL_END("c3")
               RESULT("c3", "{\\\"n\\\":1}") SUCCESS);
    close_out(out);
}

static void test_calls_of_the_client(void **state)
{
    (void)state;
    for (int is_1_0 = 0; is_1_0 < 2; is_1_0++) {
        out_t *out = open_out(is_1_0, "");
        begin(out);
        ac_buf_clear(&out->buf);
        put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c1\",\"tool\":\"look\",\"client\":true}");
        put(out, AC_EVENT_TRACE_END, "{\"call_id\":\"c1\",\"client\":true,\"arguments\":{}}");
        put(out, AC_EVENT_DONE, "{\"status\":\"completed\",\"client_calls\":[{\"id\":\"c1\"}]}");
        expect(out,
               is_1_0 ? CALL_START("c1", "look", MSG) CALL_ARGS("c1", "{}") CALL_END("c1") FINISHED
                   ",\"outcome\":{\"type\":\"success\",\"pendingToolCallIds\":[\"" RUN ".c1\"]}" E
                      : CALL_START("c1", "look", MSG) CALL_ARGS("c1", "{}") CALL_END("c1") SUCCESS);
        close_out(out);
    }
}

#define REASONING(id, type, more) D "\"REASONING_" type "\",\"messageId\":\"" MSG ".reasoning." id "\"" more E

static void test_reasoning_is_apart_from_the_answer(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    begin(out);
    ac_buf_clear(&out->buf);
    render(out, make(AC_EVENT_REASONING, NULL, "a \"b\""));
    render(out, make(AC_EVENT_REASONING, NULL, "c"));
    expect(out,
           REASONING("1", "START", "") REASONING("1", "MESSAGE_START", ",\"role\":\"reasoning\"")
               REASONING("1", "MESSAGE_CONTENT", ",\"delta\":\"a \\\"b\\\"\"")
                   REASONING("1", "MESSAGE_CONTENT", ",\"delta\":\"c\""));
    token(out, "Hi");
    expect(out, REASONING("1", "MESSAGE_END", "") REASONING("1", "END", "") TEXT_START(MSG) TEXT(MSG, "Hi"));
    render(out, make(AC_EVENT_REASONING, NULL, "d"));
    put(out, AC_EVENT_DONE, "{\"status\":\"completed\"}");
    expect(out,
           TEXT_END(MSG) REASONING("2", "START", "") REASONING("2", "MESSAGE_START", ",\"role\":\"reasoning\"")
               REASONING("2", "MESSAGE_CONTENT", ",\"delta\":\"d\"") REASONING("2", "MESSAGE_END", "")
                   REASONING("2", "END", "") SUCCESS);
    close_out(out);
}

/* ---- ends ---- */

static void test_other_ends(void **state)
{
    (void)state;
    static const struct {
        bool is_1_0;
        const char *text;
    } cancelled[] = {{true, FINISHED ",\"outcome\":{\"type\":\"cancelled\"}" E}, {false, FINISHED E}};
    for (int i = 0; i < 2; i++) {
        out_t *out = open_out(cancelled[i].is_1_0, "");
        begin(out);
        ac_buf_clear(&out->buf);
        put(out, AC_EVENT_DONE, "{\"status\":\"cancelled\"}");
        expect(out, cancelled[i].text);
        close_out(out);
    }
    out_t *out = open_out(true, "");
    begin(out);
    token(out, "x");
    ac_buf_clear(&out->buf);
    ac_event_t *error = make(AC_EVENT_ERROR, "{\"message\":\"too \\\"late\\\"\"}", NULL);
    error->kind = AC_MODEL_TIMEOUT;
    render(out, error);
    expect(out, D "\"RUN_ERROR\",\"message\":\"too \\\"late\\\"\",\"code\":\"model_timeout\"" E);
    assert_true(out->render.ended);
    close_out(out);
}

/* RUN_FINISHED with an open call ends a client's stream; the process died before the call did. */
static void test_an_end_with_an_open_call(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    begin(out);
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c1\",\"tool\":\"t\"}");
    ac_buf_clear(&out->buf);
    put(out, AC_EVENT_DONE, "{\"status\":\"completed\"}");
    expect(out, D "\"RUN_ERROR\",\"message\":\"The run was interrupted\",\"code\":\"interrupted\"" E);
    close_out(out);
}

static void test_a_thread_that_is_shown(void **state)
{
    (void)state;
    out_t *out = open_out(false, "data: {}\n\n");
    ac_agui_dialect_show(&out->buf, out->view);
    expect(out, STARTED E "data: {}\n\n" SUCCESS);
    assert_int_equal(out->render.dialect->heartbeat(&out->render, &out->buf), APR_SUCCESS);
    expect(out, ": heartbeat\n");
    close_out(out);
}

/* ---- interrupts ---- */

#define REQUEST(more) \
    "{\"call_id\":\"c1\",\"arguments\":{\"to\":1},\"approval_required\":true,\"expires_at\":\"T\",\"more\":" more \
    ",\"awaiting\":[{\"call_id\":\"c1\",\"tool\":\"mail\"},{\"call_id\":\"c2\",\"tool\":\"\\u0001\"}]}"
#define SCHEMA \
    ",\"responseSchema\":{\"type\":\"object\",\"properties\":{\"approved\":{\"type\":\"boolean\"}," \
    "\"reason\":{\"type\":\"string\"}},\"required\":[\"approved\"]},\"expiresAt\":\"T\"}"
#define INTERRUPT(id, tool) \
    "{\"reason\":\"tool_call\",\"id\":\"" RUN "." id "\"," CALL(id) ",\"message\":\"May " tool " be called?\"" SCHEMA
#define INTERRUPTED \
    FINISHED ",\"outcome\":{\"type\":\"interrupt\",\"interrupts\":[" INTERRUPT("c1", \
                                                                               "mail") "," INTERRUPT("c2", \
                                                                                                     "\\u0001") "]}" E

static void begin_calls(out_t *out)
{
    begin(out);
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c1\",\"tool\":\"mail\"}");
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c2\",\"tool\":\"mail\"}");
    put(out, AC_EVENT_TRACE_UPDATE,
        "{\"call_id\":\"c2\",\"arguments\":{},\"approval_required\":true,\"more\":true,\"expires_at\":\"T\"}");
}

static void test_an_interrupt_ends_the_stream(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    begin_calls(out);
    assert_false(out->render.ended);
    ac_buf_clear(&out->buf);
    put(out, AC_EVENT_TRACE_UPDATE, REQUEST("false"));
    expect(out, CALL_ARGS("c1", "{\\\"to\\\":1}") CALL_END("c1") INTERRUPTED);
    assert_true(out->render.ended);
    close_out(out);
}

/* Followed from its first event, a run may have been decided about since. */
static void test_an_interrupt_of_a_run_that_is_followed(void **state)
{
    (void)state;
    for (int decided = 0; decided < 2; decided++) {
        out_t *out = open_out(true, "");
        out->view->replays = true;
        begin_calls(out);
        put(out, AC_EVENT_TRACE_UPDATE, REQUEST("false"));
        assert_false(out->render.ended);
        if (decided) {
            put(out, AC_EVENT_TRACE_UPDATE, "{\"call_id\":\"c1\",\"approved\":true}");
        }
        ac_buf_clear(&out->buf);
        assert_int_equal(out->render.dialect->live(&out->render, &out->buf), APR_SUCCESS);
        expect(out, decided ? "" : INTERRUPTED);
        assert_int_equal(out->render.ended, !decided);
        close_out(out);
    }
}

/* The client has all that came before the decision. */
static void test_a_stream_behind_a_decision(void **state)
{
    (void)state;
    out_t *out = open_out(true, "");
    out->view->replays = true;
    apr_cpystrn(out->view->decided, "c1", sizeof(out->view->decided));
    begin(out);
    token(out, "Let me.");
    put(out, AC_EVENT_TRACE_START, "{\"call_id\":\"c1\",\"tool\":\"mail\"}");
    put(out, AC_EVENT_TRACE_UPDATE, REQUEST("false"));
    expect(out, "");
    put(out, AC_EVENT_TRACE_UPDATE, "{\"call_id\":\"c1\",\"approved\":true}");
    expect(out, STARTED_1_0);
    put(out, AC_EVENT_TRACE_END, "{\"call_id\":\"c1\",\"arguments\":{},\"result\":\"ok\"}");
    token(out, "\n\nSent.");
    put(out, AC_EVENT_DONE, "{\"status\":\"completed\"}");
    expect(out, RESULT("c1", "ok") TEXT_START(MSG ".2") TEXT(MSG ".2", "Sent.") TEXT_END(MSG ".2") SUCCESS);
    close_out(out);
}

/* All were decided before: a request that is sent again while the run waits for others gets the interrupt again. */
static void test_a_repeated_decision_of_a_run_that_waits(void **state)
{
    (void)state;
    for (int repeats = 0; repeats < 2; repeats++) {
        out_t *out = open_out(true, "");
        out->view->replays = true;
        out->view->repeats = repeats;
        apr_cpystrn(out->view->decided, "c7", sizeof(out->view->decided));
        begin_calls(out);
        put(out, AC_EVENT_TRACE_UPDATE, REQUEST("false"));
        assert_int_equal(out->render.dialect->live(&out->render, &out->buf), APR_SUCCESS);
        expect(out, repeats ? STARTED_1_0 INTERRUPTED : "");
        close_out(out);
    }
}

static void test_ids(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    const char *call = NULL;
    assert_true(ac_agui_id_read_call(run, &call, RUN ".a.b"));
    assert_string_equal(run, RUN);
    assert_string_equal(call, "a.b");
    static const char *const others[] = {
        "", "x", RUN, RUN ".", MSG ".a", RUN "x.a", "run_01m7ybjtg4e00r9pk41h3p6e7!.a"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(ac_agui_id_read_call(run, &call, others[i]));
    }
    assert_true(ac_agui_id_is_of_run(RUN ".c1", RUN) && ac_agui_id_is_of_run(MSG, RUN));
    assert_true(ac_agui_id_is_of_run(MSG ".2", RUN));
    assert_false(ac_agui_id_is_of_run(MSG "2", RUN) || ac_agui_id_is_of_run("", RUN) || ac_agui_id_is_of_run(RUN, ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_text),
        cmocka_unit_test(test_a_snapshot_comes_second),
        cmocka_unit_test(test_calls_and_the_text_behind_them),
        cmocka_unit_test(test_calls_of_the_client),
        cmocka_unit_test(test_reasoning_is_apart_from_the_answer),
        cmocka_unit_test(test_other_ends),
        cmocka_unit_test(test_an_end_with_an_open_call),
        cmocka_unit_test(test_a_thread_that_is_shown),
        cmocka_unit_test(test_an_interrupt_ends_the_stream),
        cmocka_unit_test(test_an_interrupt_of_a_run_that_is_followed),
        cmocka_unit_test(test_a_stream_behind_a_decision),
        cmocka_unit_test(test_a_repeated_decision_of_a_run_that_waits),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests_name("agui_dialect", tests, NULL, NULL);
}
