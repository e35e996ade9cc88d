/* SPDX-License-Identifier: Apache-2.0 */
/* The response to a call of the Model Context Protocol, byte by byte: document and stream, both kinds of versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/stream/dialect.c"
#undef LITERAL
#include "front/mcp/mcp_approval.c"
#include "front/mcp/mcp_dialect.c"
/* clang-format on */

#define THREAD "thread_01m7ybjtd1e00sbt3ndv6wbnqt"
#define RUN "run_01m7ybjtg4e00r9pk41h3p6e78"
#define BEGAN INT64_C(1795238746000000)

#define NOT_CALLED(type, name, ...) \
    type name(__VA_ARGS__) \
    { \
        abort(); \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
NOT_CALLED(apr_status_t, ac_request_store, ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult)
NOT_CALLED(apr_status_t, ac_api_runs_decide, ac_request_t *rq, const char *run_id, json_t *decision,
           apr_interval_time_t leave)
NOT_CALLED(int, ac_delivery_follow, ac_request_t *rq, const char *run_id, uint64_t after, bool stream)
NOT_CALLED(int, ac_mcp_problem_refusal, ac_request_t *rq, const ac_mcp_envelope_t *message)
NOT_CALLED(bool, ac_mcp_envelope_refuse, ac_mcp_envelope_t *message, int status, int code, const char *fmt, ...)
NOT_CALLED(int, ac_reply_problem, ac_request_t *rq, const ac_err_t *err)
NOT_CALLED(int, ac_reply_empty, ac_request_t *rq, int status)

typedef struct out_t {
    ac_render_t render;
    ac_buf_t buf;
    ac_mcp_view_t view;
} out_t;

static out_t *open_out(const ac_dialect_t *dialect, bool modern)
{
    out_t *out = ac_alloc(sizeof(*out));
    out->view = (ac_mcp_view_t){.id = "7", .modern = modern, .is_call = true, .began = BEGAN};
    ac_dialect_render_init(&out->render, dialect);
    out->render.view = &out->view;
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
    event->at = BEGAN + INT64_C(1500000);
    return event;
}

static void put(out_t *out, ac_event_type_e type, uint64_t seq, const char *data, const char *text)
{
    ac_event_t *event = make(type, seq, data, text);
    assert_int_equal(out->render.dialect->event(&out->render, event, &out->buf), APR_SUCCESS);
    ac_event_unref(event);
}

static void begin(out_t *out)
{
    put(out, AC_EVENT_RUN, 1, "{\"run_id\":\"" RUN "\",\"thread_id\":\"" THREAD "\"}", NULL);
}

/* Exactly this was rendered since the last call. */
static void expect(out_t *out, const char *text)
{
    assert_string_equal(out->buf.data ? out->buf.data : "", text);
    ac_buf_clear(&out->buf);
}

#define RPC "{\"jsonrpc\":\"2.0\","
#define IDS "\"thread_id\":\"" THREAD "\",\"run_id\":\"" RUN "\""
#define SERVER "\"io.modelcontextprotocol/serverInfo\":{\"name\":\"mod_agentchat\",\"version\":\"" AC_VERSION "\"}"
#define ANSWER \
    RPC "\"id\":7,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"a \\\"b\\\"\"},{\"type\":\"text\",\"text\":" \
        "\"{\\\"thread_id\\\":\\\"" THREAD "\\\",\\\"run_id\\\":\\\"" RUN "\\\"}\"}]," \
        "\"structuredContent\":{\"answer\":\"a \\\"b\\\"\"," IDS "}"
#define MODERN ",\"_meta\":{" SERVER "},\"resultType\":\"complete\""
#define SSE "event: message\ndata: "

static void test_a_document(void **state)
{
    (void)state;
    for (int modern = 0; modern < 2; modern++) {
        out_t *out = open_out(ac_mcp_dialect.next, modern);
        begin(out);
        put(out, AC_EVENT_TOKEN, 2, NULL, "a");
        put(out, AC_EVENT_TRACE_START, 3, "{\"call_id\":\"c\",\"tool\":\"t\"}", NULL);
        expect(out, "");
        put(out, AC_EVENT_DONE, 4, "{\"status\":\"completed\"}", "a \"b\"");
        expect(out, modern ? ANSWER MODERN "}}" : ANSWER "}}");
        assert_true(out->render.ended && out->render.status == 200);
        close_out(out);
    }
}

/* A stream that has shown nothing yet is a document. */
static void test_a_stream_begins_with_progress(void **state)
{
    (void)state;
    for (int shows = 0; shows < 2; shows++) {
        out_t *out = open_out(&ac_mcp_dialect, false);
        apr_cpystrn(out->view.progress, shows ? "\"p\"" : "", sizeof(out->view.progress));
        begin(out);
        put(out, AC_EVENT_TRACE_START, 2, "{\"call_id\":\"c\",\"tool\":\"look \\\"up\\\"\"}", NULL);
        expect(out,
               shows ? SSE RPC "\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"p\","
                               "\"progress\":1.500,\"message\":\"Calling look \\\"up\\\"\"}}\n\n"
                     : "");
        /* The protocol wants each progress to be more than the last one. */
        put(out, AC_EVENT_TRACE_START, 3, "{\"call_id\":\"d\",\"tool\":\"t\"}", NULL);
        expect(out,
               shows ? SSE RPC "\"method\":\"notifications/progress\",\"params\":{\"progressToken\":\"p\","
                               "\"progress\":1.501,\"message\":\"Calling t\"}}\n\n"
                     : "");
        put(out, AC_EVENT_DONE, 4, "{\"status\":\"completed\"}", "a \"b\"");
        expect(out, shows ? SSE ANSWER "}}\n\n" : ANSWER "}}");
        close_out(out);
    }
}

static void test_heartbeats(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_mcp_dialect, false);
    begin(out);
    assert_int_equal(out->render.dialect->heartbeat(&out->render, &out->buf), APR_SUCCESS);
    expect(out, ": heartbeat\n");
    apr_cpystrn(out->view.progress, "3", sizeof(out->view.progress));
    out->view.began = apr_time_now() + apr_time_from_sec(60); /* a clock that was set back */
    assert_int_equal(out->render.dialect->heartbeat(&out->render, &out->buf), APR_SUCCESS);
    expect(out,
           SSE RPC "\"method\":\"notifications/progress\",\"params\":{\"progressToken\":3,\"progress\":0.001,"
                   "\"message\":\"The agent is working\"}}\n\n");
    close_out(out);
    out = open_out(ac_mcp_dialect.next, false);
    assert_int_equal(out->render.dialect->heartbeat(&out->render, &out->buf), APR_SUCCESS);
    expect(out, "");
    close_out(out);
}

#define FAILED(before, text, code) \
    RPC "\"id\":7,\"result\":{\"content\":[" before "{\"type\":\"text\",\"text\":\"" text " (" code \
        ", thread_id " THREAD ")\"}],\"isError\":true,\"_meta\":{\"agentchat/code\":\"" code "\""

static void test_failures(void **state)
{
    (void)state;
    out_t *out = open_out(ac_mcp_dialect.next, true);
    begin(out);
    ac_event_t *error = make(AC_EVENT_ERROR, 2, "{\"message\":\"too \\\"late\\\"\"}", NULL);
    error->kind = AC_MODEL_TIMEOUT;
    assert_int_equal(out->render.dialect->event(&out->render, error, &out->buf), APR_SUCCESS);
    ac_event_unref(error);
    expect(out, FAILED("", "too \\\"late\\\"", "model_timeout") "," SERVER "},\"resultType\":\"complete\"}}");
    assert_int_equal(out->render.status, 200); /* the model of the host reads it */
    close_out(out);
    out = open_out(ac_mcp_dialect.next, false);
    begin(out);
    put(out, AC_EVENT_DONE, 2, "{\"status\":\"cancelled\"}", "half");
    char text[1024];
    snprintf(text, sizeof(text), FAILED("{\"type\":\"text\",\"text\":\"half\"},", "%s", "cancelled") "}}}",
             ac_err_row(AC_CANCELLED)->title);
    expect(out, text);
    close_out(out);
}

/* ---- approvals ---- */

#define REQUEST(call, more) \
    "{\"call_id\":\"" call \
    "\",\"tool\":\"mail\",\"arguments\":{\"to\":\"a\"},\"approval_required\":true,\"more\":" more "}"
#define QUESTION_TEXT \
    "{\"message\":\"The agent wants to call the tool mail with {\\\"to\\\":\\\"a\\\"}. May it?\"," \
    "\"requestedSchema\":{" \
    "\"type\":\"object\",\"properties\":{\"approve\":{\"type\":\"boolean\",\"title\":\"Approve the call\"}," \
    "\"reason\":{\"type\":\"string\",\"title\":\"Reason of a refusal\",\"maxLength\":200}},\"required\":[\"approve\"]}}"
#define ASKED(call) "\"" call "\":{\"method\":\"elicitation/create\",\"params\":" QUESTION_TEXT "}"

static void test_a_question_within_a_legacy_stream(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_mcp_dialect, false);
    out->view.elicits = true;
    begin(out);
    put(out, AC_EVENT_TRACE_UPDATE, 2, REQUEST("c1", "false"), NULL);
    expect(out,
           SSE RPC "\"id\":\"approval " RUN " c1\",\"method\":\"elicitation/create\",\"params\":" QUESTION_TEXT
                   "}\n\n");
    assert_false(out->render.ended);
    put(out, AC_EVENT_TRACE_UPDATE, 3, "{\"call_id\":\"c1\",\"approved\":true}", NULL);
    put(out, AC_EVENT_DONE, 4, "{\"status\":\"completed\"}", "a \"b\"");
    expect(out, SSE ANSWER "}}\n\n");
    close_out(out);
}

static void test_questions_of_a_modern_response(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_mcp_dialect, true);
    out->view.elicits = true;
    begin(out);
    put(out, AC_EVENT_TRACE_UPDATE, 5, REQUEST("c1", "true"), NULL);
    put(out, AC_EVENT_TRACE_UPDATE, 6, REQUEST("c2", "false"), NULL);
    expect(out,
           RPC "\"id\":7,\"result\":{\"inputRequests\":{" ASKED("c1") "," ASKED(
               "c2") "},\"requestState\":\"" RUN ":4:2\",\"_meta\":{" SERVER "},\"resultType\":\"input_required\"}}");
    assert_true(out->render.ended);
    close_out(out);
}

/* The user decides elsewhere. */
static void test_a_client_that_cannot_ask(void **state)
{
    (void)state;
    out_t *out = open_out(&ac_mcp_dialect, false);
    begin(out);
    put(out, AC_EVENT_TRACE_UPDATE, 2, REQUEST("c1", "false"), NULL);
    json_t *answer = json_loads(out->buf.data, 0, NULL);
    const json_t *result = json_object_get(answer, "result"), *content = json_object_get(result, "content");
    assert_true(json_is_true(json_object_get(result, "isError")) && json_array_size(content) == 2);
    assert_string_equal(ac_json_peek_string(json_object_get(result, "_meta"), "agentchat/code", ""),
                        "approval_required");
    assert_non_null(strstr(ac_json_peek_string(json_array_get(content, 0), "text", ""), "for call_id c1."));
    assert_non_null(strstr(ac_json_peek_string(json_array_get(content, 1), "text", ""), "/runs/" RUN "/approvals"));
    json_decref(answer);
    close_out(out);
}

/* Followed from a stored event, a question counts only if no later event says that it was answered. */
static void test_a_stored_question(void **state)
{
    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        out_t *out = open_out(&ac_mcp_dialect, true);
        out->view.elicits = out->render.follows = true;
        begin(out);
        put(out, AC_EVENT_TRACE_UPDATE, 5, REQUEST("c1", "false"), NULL);
        assert_false(out->render.ended || out->render.begun);
        if (answered) {
            put(out, AC_EVENT_TRACE_UPDATE, 6, "{\"call_id\":\"c1\",\"approved\":true}", NULL);
        }
        assert_int_equal(out->render.dialect->live(&out->render, &out->buf), APR_SUCCESS);
        assert_int_equal(out->render.ended, !answered);
        if (answered) {
            put(out, AC_EVENT_DONE, 7, "{\"status\":\"completed\"}", "a \"b\"");
        }
        expect(out,
               answered ? ANSWER MODERN "}}"
                        : RPC
                   "\"id\":7,\"result\":{\"inputRequests\":{" ASKED("c1") "},\"requestState\":\"" RUN
                                                                          ":4:1\",\"_meta\":{" SERVER
                                                                          "},\"resultType\":\"input_required\"}}");
        close_out(out);
    }
}

static void test_whole_or_nothing(void **state)
{
    (void)state;
    for (int modern = 0; modern < 2; modern++) {
        ac_event_t *done = make(AC_EVENT_DONE, 2, "{\"status\":\"completed\"}", "a \"b\"");
        out_t *out = open_out(&ac_mcp_dialect, modern);
        begin(out);
        assert_int_equal(out->render.dialect->event(&out->render, done, &out->buf), APR_SUCCESS);
        size_t whole = out->buf.len;
        for (size_t max = 3; max < whole + 3; max++) {
            ac_buf_free(&out->buf);
            ac_buf_init(&out->buf, max);
            ac_buf_add(&out->buf, "abc", 3);
            assert_int_not_equal(out->render.dialect->event(&out->render, done, &out->buf), APR_SUCCESS);
            assert_string_equal(out->buf.data, "abc");
        }
        ac_event_unref(done);
        close_out(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_document),
        cmocka_unit_test(test_a_stream_begins_with_progress),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_a_question_within_a_legacy_stream),
        cmocka_unit_test(test_questions_of_a_modern_response),
        cmocka_unit_test(test_a_client_that_cannot_ask),
        cmocka_unit_test(test_a_stored_question),
        cmocka_unit_test(test_whole_or_nothing),
    };
    return cmocka_run_group_tests_name("mcp_dialect", tests, NULL, NULL);
}
