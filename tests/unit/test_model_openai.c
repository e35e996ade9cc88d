/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models on a real loop, against a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "model_rig.h"

#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: up-1\r\n"
#define OPEN STREAM_HEAD "Connection: close\r\n\r\n"
#define JSON_HEAD(status) \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nx-request-id: up-1\r\nConnection: close\r\n"
#define CHUNK(text) \
    "data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text \
    "\"},\"finish_reason\":null}]}\n\n"
#define FINISH(reason) "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"
#define USAGE "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n"
#define DONE "data: [DONE]\n\n"
#define HELLO "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
#define SCRIPTS(...) ((const server_step_t *const[]){__VA_ARGS__, NULL})
#define SCRIPT(...) ((const server_step_t[]){__VA_ARGS__, END})

static apr_pool_t *pool;
static rig_t rig;

/* A model whose server answers with these scripts. */
typedef struct scene_t {
    http_server_t *server;
    ac_model_conf_t conf;
    const ac_model_vt *vt;
    void *self;
    char endpoint[80];
    question_t question;
} scene_t;

static void scene_open(scene_t *scene, const server_step_t *const *scripts)
{
    memset(scene, 0, sizeof(*scene));
    scene->server = http_server_start(scripts);
    snprintf(scene->endpoint, sizeof(scene->endpoint), "http://127.0.0.1:%d/v1", http_server_port(scene->server));
    scene->vt = &ac_model_openai;
    scene->conf.id = "test";
    scene->conf.provider = "openai";
    scene->conf.endpoint = scene->endpoint;
    scene->conf.options = apr_table_make(pool, 2);
    apr_table_set((apr_table_t *)scene->conf.options, "model", "m");
    setenv("MODEL_TEST_KEY", "sk-test", 1);
    assert_null(ac_credential_spec_create(&scene->conf.auth, "env:MODEL_TEST_KEY", NULL, pool));
}

static void scene_ready(scene_t *scene)
{
    assert_null(scene->vt->create(&scene->self, &scene->conf, pool));
    assert_int_equal(ac_credential_child_init(scene->conf.auth, &(ac_host_t){.loop = rig.loop}, NULL), APR_SUCCESS);
    model_init(&rig, scene->vt, scene->self);
    question_init(&scene->question, &rig, scene->vt, scene->self, HELLO);
}

static void scene_close(scene_t *scene)
{
    question_free(&scene->question);
    ac_credential_child_exit(scene->conf.auth);
    http_server_stop(scene->server);
}

static void scene_run(scene_t *scene, const server_step_t *const *scripts)
{
    scene_open(scene, scripts);
    scene_ready(scene);
    question_run(&scene->question);
    assert_int_equal(scene->question.n_ends, 1);
}

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
    static const struct {
        const server_step_t *first;
        int n_requests;
        ac_kind_e kind;
    } rows[] = {
        {busy, 2, AC_OK},
        {quota, 1, AC_MODEL_REFUSED},
        {begun, 1, AC_MODEL_ERROR},
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

/* ---- asking ---- */

static void test_params_and_request_id(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN DONE), CUT)));
    scene.conf.params = json_pack("{s:i, s:n}", "max_tokens", 5, "stream_options");
    scene_ready(&scene);
    scene.question.ask.request_id = "req-1";
    question_run(&scene.question);
    const char *request = http_server_request(scene.server, 0);
    assert_non_null(strstr(request, "\r\nX-Client-Request-Id: req-1\r\n"));
    assert_non_null(strstr(request, "\"max_tokens\":5"));
    assert_null(strstr(request, "stream_options"));
    scene_close(&scene);
    json_decref(scene.conf.params);
}

static void test_bad_request_id_is_left_out(void **state)
{
    scene_t scene;
    (void)state;
    scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN DONE), CUT)));
    scene_ready(&scene);
    scene.question.ask.request_id = "a\r\nX-Evil: b";
    question_run(&scene.question);
    assert_null(strstr(http_server_request(scene.server, 0), "Evil"));
    scene_close(&scene);
}

static void test_azure(void **state)
{
    static const struct {
        const char *path, *version, *line, *model;
    } rows[] = {
        {"", NULL, "POST /openai/v1/chat/completions HTTP/1.1\r\n", "\"model\":\"dep 1\""},
        {"/openai/v1/", "v1", "POST /openai/v1/chat/completions HTTP/1.1\r\n", "\"model\":\"dep 1\""},
        {"", "preview", "POST /openai/v1/chat/completions?api-version=preview HTTP/1.1\r\n", "\"model\":\"dep 1\""},
        {"/", "2024-10-21", "POST /openai/deployments/dep%201/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n",
         NULL},
        {"/apim/openai", "2025-04-01-preview",
         "POST /apim/openai/deployments/dep%201/chat/completions?api-version=2025-04-01-preview HTTP/1.1\r\n", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        scene_t scene;
        scene_open(&scene, SCRIPTS(SCRIPT(SEND(OPEN DONE), CUT)));
        snprintf(scene.endpoint, sizeof(scene.endpoint), "http://127.0.0.1:%d%s", http_server_port(scene.server),
                 rows[i].path);
        scene.vt = &ac_model_azure_openai;
        apr_table_t *options = apr_table_make(pool, 2);
        apr_table_set(options, "deployment", "dep 1");
        if (rows[i].version) {
            apr_table_set(options, "api-version", rows[i].version);
        }
        scene.conf.options = options;
        scene_ready(&scene);
        scene.question.ask.request_id = "req-1";
        question_run(&scene.question);
        const char *request = http_server_request(scene.server, 0);
        assert_non_null(strstr(request, rows[i].line));
        assert_non_null(strstr(request, "\r\napi-key: sk-test\r\n"));
        assert_null(strstr(request, "Authorization"));
        assert_non_null(strstr(request, "\r\nx-ms-client-request-id: req-1\r\n"));
        assert_true(rows[i].model ? strstr(request, rows[i].model) != NULL : !strstr(request, "\"model\""));
        scene_close(&scene);
    }
}

/* ---- probing ---- */

typedef struct probed_t {
    scene_t *scene;
    ac_latch_t *done;
    ac_err_t err;
    apr_status_t status;
} probed_t;

static void on_probed(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err)
{
    probed_t *probed = baton;
    probed->status = took >= 0 ? status : APR_EGENERAL;
    probed->err = *err;
    ac_latch_open(probed->done);
}

static void probe(void *baton)
{
    probed_t *probed = baton;
    probed->scene->vt->probe(probed->scene->self, on_probed, probed);
}

static void expect_probe(const char *answer, bool azure, ac_kind_e kind)
{
    scene_t scene;
    const server_step_t script[] = {SEND(answer), CUT, END};
    scene_open(&scene, SCRIPTS(script));
    scene.vt = azure ? &ac_model_azure_openai : &ac_model_openai;
    scene_ready(&scene);
    probed_t probed = {&scene, ac_latch_create(), {.kind = AC_OK}, APR_EGENERAL};
    rig_call(&rig, probe, &probed);
    assert_true(ac_latch_wait(probed.done, ac_clock() + apr_time_from_sec(20)));
    assert_int_equal(probed.err.kind, kind);
    assert_int_equal(probed.status, ac_err_row(kind)->status);
    const char *request = http_server_request(scene.server, 0);
    assert_non_null(strstr(request, azure ? "GET /v1/openai/v1/models HTTP/1.1\r\n" : "GET /v1/models HTTP/1.1\r\n"));
    assert_non_null(strstr(request, "sk-test"));
    ac_latch_unref(probed.done);
    scene_close(&scene);
}

static void test_probe(void **state)
{
    (void)state;
    expect_probe(JSON_HEAD("200 OK") "\r\n{\"data\":[]}", false, AC_OK);
    expect_probe(JSON_HEAD("404 No") "\r\n", false, AC_OK);
    expect_probe(JSON_HEAD("429 Busy") "\r\n", false, AC_OK);
    expect_probe(JSON_HEAD("401 No") "\r\n", false, AC_MODEL_REFUSED);
    expect_probe(JSON_HEAD("503 No") "\r\n", false, AC_MODEL_ERROR);
    expect_probe(JSON_HEAD("302 Go") "Location: /x\r\n\r\n", false, AC_MODEL_REFUSED);
    expect_probe(JSON_HEAD("200 OK") "\r\n{\"data\":[]}", true, AC_OK);
    expect_probe(JSON_HEAD("404 No") "\r\n", true, AC_MODEL_REFUSED);
}

static int set_up(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
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
        cmocka_unit_test(test_params_and_request_id),
        cmocka_unit_test(test_bad_request_id_is_left_out),
        cmocka_unit_test(test_azure),
        cmocka_unit_test(test_probe),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("model_openai", tests, set_up, tear_down);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
