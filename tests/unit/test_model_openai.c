/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models on a real loop, against a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "model_scene.h"

static void expect_answer(const server_step_t *const *scripts, const char *text, ac_finish_e finish)
{
    scene_t scene;
    scene_run(&scene, scripts);
    assert_string_equal(scene.question.end.err.detail, "");
    assert_int_equal(scene.question.end.status, APR_SUCCESS);
    assert_string_equal(scene.question.text.data, text);
    assert_int_equal(scene.question.end.finish, finish);
    scene_close(&scene);
}

static void expect_failure(const server_step_t *const *scripts, ac_kind_e kind, const char *part)
{
    scene_t scene;
    scene_run(&scene, scripts);
    if (!strstr(scene.question.end.err.detail, part)) {
        fail_msg("\"%s\" has no \"%s\"", scene.question.end.err.detail, part);
    }
    assert_int_equal(scene.question.end.err.kind, kind);
    assert_int_equal(scene.question.end.status, ac_err_row(kind)->status);
    assert_int_equal(scene.question.end.n_calls, 0);
    assert_int_equal(http_server_requests(scene.server), 1);
    scene_close(&scene);
}

/* ---- answers ---- */

static void test_stream(void **state)
{
    scene_t scene;
    (void)state;
    scene_run(&scene,
              SCRIPTS(SCRIPT(SEND(OPEN CHUNK("Hel")), SEND(CHUNK("lo")), SEND(FINISH("stop") USAGE DONE), CUT)));
    assert_string_equal(scene.question.text.data, "Hello");
    assert_int_equal(scene.question.end.finish, AC_FINISH_STOP);
    assert_int_equal(scene.question.end.usage.total, 9);
    assert_string_equal(scene.question.end.model, "m-1");
    const char *request = http_server_request(scene.server, 0);
    assert_non_null(strstr(request, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer sk-test\r\n"));
    assert_non_null(strstr(request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(request, "\"model\":\"m\""));
    assert_non_null(strstr(request, "\"stream\":true"));
    assert_non_null(strstr(request, "\"include_usage\":true"));
    assert_null(strstr(request, "equest-Id"));
    scene_close(&scene);
}

static void test_stream_trickled(void **state)
{
    (void)state;
    expect_answer(SCRIPTS(SCRIPT(SEND(OPEN),
                                 TRICKLE(": ping\r\n\r\n" CHUNK("a\\u00e9") "data: {\"choices\":[]}\r\n\r\n" CHUNK("b")
                                             FINISH("stop") DONE),
                                 CUT)),
                  "a\u00e9b", AC_FINISH_STOP);
}

static void test_missing_ends(void **state)
{
    (void)state;
    expect_answer(SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") FINISH("length")), CUT)), "a", AC_FINISH_LENGTH);
    expect_answer(SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") "data: [DONE]"), CUT)), "a", AC_FINISH_STOP);
    expect_failure(SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a")), CUT)), AC_MODEL_ERROR, "the answer was cut off");
    expect_failure(SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") "data: {\"choices\":[{\"del"), CUT)), AC_MODEL_ERROR,
                   "the answer was cut off");
    expect_failure(SCRIPTS(SCRIPT(SEND(OPEN), CUT)), AC_MODEL_ERROR, "the answer was cut off");
    /* A connection that breaks before the announced end: an answer that was complete stays one. */
    expect_answer(SCRIPTS(SCRIPT(SEND(STREAM_HEAD "Content-Length: 9999\r\n\r\n" CHUNK("a") FINISH("stop")), CUT)), "a",
                  AC_FINISH_STOP);
    expect_failure(SCRIPTS(SCRIPT(SEND(STREAM_HEAD "Content-Length: 9999\r\n\r\n" CHUNK("a")), CUT)), AC_MODEL_ERROR,
                   "broke its answer off");
}

static void test_done_ends_a_stream_that_stays_open(void **state)
{
    scene_t scene;
    (void)state;
    scene_run(&scene, SCRIPTS(SCRIPT(SEND(STREAM_HEAD "Content-Length: 9999\r\n\r\n" CHUNK("a") DONE), HANG)));
    assert_int_equal(scene.question.end.status, APR_SUCCESS);
    assert_string_equal(scene.question.text.data, "a");
    assert_true(http_server_wait_gone(scene.server, 1));
    scene_close(&scene);
}

static void test_connection_is_kept(void **state)
{
    static const char body[] = CHUNK("a") DONE;
    char head[200];
    scene_t scene;
    question_t second;
    (void)state;
    snprintf(head, sizeof(head), STREAM_HEAD "Content-Length: %zu\r\n\r\n", sizeof(body) - 1);
    scene_run(&scene, SCRIPTS(SCRIPT(SEND(head), SEND(body))));
    question_init(&second, &rig, scene.vt, scene.self, HELLO);
    question_run(&second);
    assert_int_equal(second.end.status, APR_SUCCESS);
    assert_int_equal(http_server_requests(scene.server), 2);
    assert_int_equal(http_server_connections(scene.server), 1);
    question_free(&second);
    scene_close(&scene);
}

#define CALL(call) "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[" call "]}}]}\n\n"

static void test_tools(void **state)
{
    scene_t scene;
    (void)state;
    scene_run(&scene,
              SCRIPTS(
                  SCRIPT(SEND(OPEN CALL("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}")
                                  CALL("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}") FINISH("tool_calls") DONE),
                         CUT)));
    assert_string_equal(scene.question.tools.data, "[0 f]<0 {}>");
    assert_string_equal(scene.question.calls.data, "f {};");
    assert_int_equal(scene.question.end.finish, AC_FINISH_TOOL_CALLS);
    assert_false(scene.question.end.usage.known);
    scene_close(&scene);
}

static void test_whole_answer(void **state)
{
    static const char body[] =
        "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}";
    (void)state;
    expect_answer(SCRIPTS(SCRIPT(SEND(JSON_HEAD("200 OK") "\r\n"), TRICKLE(body), CUT)), "Hi", AC_FINISH_STOP);
    /* Content types that do not fit. */
    expect_answer(SCRIPTS(SCRIPT(SEND(OPEN " \n"), SEND(body), CUT)), "Hi", AC_FINISH_STOP);
    expect_answer(SCRIPTS(SCRIPT(SEND(JSON_HEAD("200 OK") "\r\n" CHUNK("Hi") DONE), CUT)), "Hi", AC_FINISH_STOP);
    expect_failure(SCRIPTS(SCRIPT(SEND(JSON_HEAD("200 OK") "\r\n{\"choices\":[{\"mess"), CUT)), AC_MODEL_ERROR,
                   "not JSON");
    expect_failure(SCRIPTS(SCRIPT(SEND(JSON_HEAD("200 OK") "\r\n{\"error\":{\"code\":\"model_not_found\"}}"), CUT)),
                   AC_MODEL_REFUSED, "model=");
    expect_failure(SCRIPTS(SCRIPT(SEND("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>"),
                                  CUT)),
                   AC_MODEL_REFUSED, "a web page");
}

/* ---- errors ---- */

static void test_error_in_the_stream(void **state)
{
    scene_t scene;
    (void)state;
    scene_run(&scene,
              SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") USAGE
                                  "data: {\"error\":{\"message\":\"secret\",\"type\":\"server_error\"}}\n\n" CHUNK("b")
                                      DONE),
                             HANG)));
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_ERROR);
    assert_null(strstr(scene.question.end.err.detail, "secret"));
    assert_string_equal(scene.question.end.err.upstream_id, "up-1");
    assert_string_equal(scene.question.text.data, "a");
    assert_int_equal(scene.question.end.usage.total, 9);
    assert_string_equal(scene.question.end.model, "m-1");
    assert_true(http_server_wait_gone(scene.server, 1));
    assert_int_equal(http_server_requests(scene.server), 1);
    scene_close(&scene);
}

static void test_error_answers(void **state)
{
    (void)state;
    expect_failure(SCRIPTS(
                       SCRIPT(SEND(JSON_HEAD(
                                  "401 No") "\r\n{\"error\":{\"code\":\"invalid_api_key\",\"message\":\"secret\"}}"),
                              CUT)),
                   AC_MODEL_REFUSED, "AgentChatCredential");
    expect_failure(SCRIPTS(SCRIPT(SEND(JSON_HEAD("400 Bad") "\r\n{\"error\":{\"code\":\"content_filter\"}}"), CUT)),
                   AC_CONTENT_FILTERED, "safety");
    expect_failure(
        SCRIPTS(
            SCRIPT(SEND(JSON_HEAD("400 Bad") "\r\n{\"error\":{\"message\":\"maximum context length is 10\"}}"), CUT)),
        AC_CONTEXT_LENGTH, "longer than");
    expect_failure(SCRIPTS(SCRIPT(SEND(JSON_HEAD("503 Busy") "\r\n"), CUT)), AC_MODEL_ERROR, "HTTP 503");
    expect_failure(SCRIPTS(SCRIPT(SEND(JSON_HEAD("307 Go") "Location: http://127.0.0.1:1/\r\n\r\n"), CUT)),
                   AC_MODEL_REFUSED, "redirect");
}

static void test_throttled(void **state)
{
    scene_t scene;
    (void)state;
    scene_run(&scene,
              SCRIPTS(SCRIPT(SEND(JSON_HEAD("429 Slow") "retry-after-ms: 1500\r\n\r\n{\"error\":{\"code\":\"429\"}}"),
                             CUT)));
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_THROTTLED);
    assert_int_equal(scene.question.end.err.retry_after, 1500 * 1000);
    assert_int_equal(scene.question.end.err.http_status, 429);
    assert_string_equal(scene.question.end.err.upstream_id, "up-1");
    scene_close(&scene);
}

static void test_retries(void **state)
{
    static const server_step_t busy[] = {SEND(JSON_HEAD("503 Busy") "retry-after-ms: 1\r\n\r\n"), CUT, END};
    static const server_step_t good[] = {SEND(OPEN CHUNK("a") DONE), CUT, END};
    static const server_step_t quota[] = {
        SEND(JSON_HEAD("429 Quota") "retry-after-ms: 1\r\n\r\n{\"error\":{\"code\":\"insufficient_quota\"}}"), CUT,
        END};
    static const server_step_t begun[] = {SEND(OPEN CHUNK("a")), CUT, END};
    static const server_step_t silent[] = {CUT, END};
    static const struct {
        const server_step_t *first;
        int n_requests;
        ac_kind_e kind, retried;
        int http_status; /* of what was retried */
    } rows[] = {
        {busy, 2, AC_OK, AC_MODEL_ERROR, 503},
        {silent, 2, AC_OK, AC_MODEL_ERROR, 0},
        {quota, 1, AC_MODEL_REFUSED, AC_OK, 0},
        {begun, 1, AC_MODEL_ERROR, AC_OK, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        scene_t scene;
        scene_open(&scene, SCRIPTS(rows[i].first, good));
        scene.conf.retries = 2;
        scene_ready(&scene);
        question_run(&scene.question);
        assert_int_equal(scene.question.end.err.kind, rows[i].kind);
        assert_int_equal(http_server_requests(scene.server), rows[i].n_requests);
        assert_int_equal(scene.question.n_retries, rows[i].n_requests - 1);
        assert_int_equal(scene.question.retried.kind, rows[i].retried);
        assert_int_equal(scene.question.retried.http_status, rows[i].http_status);
        scene_close(&scene);
    }
}

static void test_timeouts(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(HANG)));
    scene.conf.first_byte_timeout = apr_time_from_msec(50);
    scene_ready(&scene);
    question_run(&scene.question);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_TIMEOUT);
    assert_non_null(strstr(scene.question.end.err.detail, "did not answer: no first byte within 50ms"));
    scene_close(&scene);
    scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a")), HANG)));
    scene.conf.idle_timeout = apr_time_from_msec(50);
    scene_ready(&scene);
    question_run(&scene.question);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_TIMEOUT);
    assert_string_equal(scene.question.text.data, "a");
    scene_close(&scene);
}

static void test_no_server(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(CUT)));
    scene_ready(&scene);
    http_server_stop(scene.server);
    question_run(&scene.question);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_ERROR);
    assert_null(strstr(scene.question.end.err.detail, "127.0.0.1"));
    question_free(&scene.question);
    ac_credential_child_exit(scene.conf.auth);
}

/* ---- cancelling ---- */

static bool at_second(question_t *question)
{
    return question->n_texts == 2;
}

static void test_cancel_inside(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") CHUNK("b") CHUNK("c")), HANG)));
    scene_ready(&scene);
    scene.question.in_text = at_second;
    question_run(&scene.question);
    assert_true(http_server_wait_gone(scene.server, 1));
    assert_string_equal(scene.question.text.data, "ab");
    assert_int_equal(scene.question.n_ends, 0);
    scene_close(&scene);
}

/* The last text comes with the end of the body, and is answered with a cancel. */
static void test_cancel_at_the_end(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene,
               SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a") "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}"), CUT)));
    scene_ready(&scene);
    scene.question.in_text = at_second;
    question_run(&scene.question);
    assert_string_equal(scene.question.text.data, "ab");
    scene_close(&scene);
    assert_int_equal(scene.question.n_ends, 0);
}

static void test_cancel_from_outside(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN CHUNK("a")), HANG)));
    scene_ready(&scene);
    question_start(&scene.question);
    assert_true(ac_latch_wait(scene.question.heard, ac_clock() + apr_time_from_sec(20)));
    question_cancel(&scene.question);
    assert_true(http_server_wait_gone(scene.server, 1));
    scene_close(&scene);
    assert_int_equal(scene.question.n_ends, 0);
    /* Before the exchange has begun. */
    scene_open(&scene, SCRIPTS(SCRIPT(HANG)));
    scene_ready(&scene);
    question_start(&scene.question);
    question_cancel(&scene.question);
    scene_close(&scene);
    assert_int_equal(scene.question.n_ends, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_trickled),
        cmocka_unit_test(test_missing_ends),
        cmocka_unit_test(test_done_ends_a_stream_that_stays_open),
        cmocka_unit_test(test_connection_is_kept),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_whole_answer),
        cmocka_unit_test(test_error_in_the_stream),
        cmocka_unit_test(test_error_answers),
        cmocka_unit_test(test_throttled),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_no_server),
        cmocka_unit_test(test_cancel_inside),
        cmocka_unit_test(test_cancel_at_the_end),
        cmocka_unit_test(test_cancel_from_outside),
    };
    return scene_main("model_openai", tests, sizeof(tests) / sizeof(*tests));
}
