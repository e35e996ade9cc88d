/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is asked with an identity's token: two scripted servers, of which one is the authority. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "credential_rig.h"
#include "model_rig.h"

#define HELLO "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
#define CHUNK \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
#define UNKNOWN "{\"error\":{\"code\":\"401\",\"message\":\"Access token is missing, invalid, or expired.\"}}"

static const server_step_t token_1[] = {TOKEN("t1", "3600")}, token_2[] = {TOKEN("t2", "3600")};
static const server_step_t *const tokens[] = {token_1, token_2, NULL};
static const server_step_t answer[] = {
    SEND("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" CHUNK), CUT, END};
static const server_step_t unknown[] = {ANSWER("401 Unauthorized", "", UNKNOWN)};

typedef struct scene_t {
    credential_rig_t *rig;
    http_server_t *authority, *server;
    ac_model_conf_t conf;
    void *self;
    char endpoint[80];
    question_t question;
} scene_t;

static void scene_open(scene_t *scene, void **state, const server_step_t *const *authority,
                       const server_step_t *const *scripts)
{
    memset(scene, 0, sizeof(*scene));
    scene->rig = *state;
    scene->authority = http_server_start(authority);
    scene->server = http_server_start(scripts);
    set_url("AZURE_AUTHORITY_HOST", scene->authority, "");
    setenv("AZURE_TENANT_ID", "contoso.example", 1);
    setenv("AZURE_CLIENT_ID", "1111", 1);
    setenv("AZURE_CLIENT_SECRET", SECRET, 1);
    credential_rig_start(scene->rig, "identity:environment", NULL);
    snprintf(scene->endpoint, sizeof(scene->endpoint), "http://127.0.0.1:%d", http_server_port(scene->server));
    scene->conf.id = "test";
    scene->conf.provider = "azure-openai";
    scene->conf.endpoint = scene->endpoint;
    scene->conf.auth = scene->rig->credential;
    scene->conf.options = apr_table_make(scene->rig->pool, 2);
    apr_table_set((apr_table_t *)scene->conf.options, "deployment", "d");
    assert_null(ac_model_azure_openai.create(&scene->self, &scene->conf, scene->rig->pool));
    model_init(&scene->rig->loop, &ac_model_azure_openai, scene->self);
    question_init(&scene->question, &scene->rig->loop, &ac_model_azure_openai, scene->self, HELLO);
}

static void scene_close(scene_t *scene)
{
    question_free(&scene->question);
    credential_rig_stop(scene->rig);
    http_server_stop(scene->authority);
    http_server_stop(scene->server);
}

/* Calls the model, and expects this number of requests to each server. */
static void scene_run(scene_t *scene, int n_tokens, int n_requests)
{
    question_run(&scene->question);
    assert_int_equal(scene->question.started, APR_SUCCESS);
    assert_int_equal(scene->question.n_ends, 1);
    assert_int_equal(http_server_requests(scene->authority), n_tokens);
    assert_int_equal(http_server_requests(scene->server), n_requests);
}

static void test_bearer(void **state)
{
    static const server_step_t *const scripts[] = {answer, NULL};
    scene_t scene;
    scene_open(&scene, state, tokens, scripts);
    scene.question.ask.request_id = "req-7";
    scene_run(&scene, 1, 1);
    assert_string_equal(scene.question.text.data, "Hi");
    assert_contains(http_server_request(scene.server, 0), "\r\nAuthorization: Bearer t1\r\n");
    assert_contains(http_server_request(scene.server, 0), "\r\nx-ms-client-request-id: req-7\r\n");
    assert_contains(http_server_request(scene.authority, 0), "&scope=https%3A%2F%2Fai.azure.com%2F.default&");
    question_free(&scene.question);
    question_init(&scene.question, &scene.rig->loop, &ac_model_azure_openai, scene.self, HELLO);
    scene_run(&scene, 1, 2); /* the token is there already */
    scene_close(&scene);
}

static void test_renewed_once(void **state)
{
    static const server_step_t *const scripts[] = {unknown, answer, NULL};
    scene_t scene;
    scene_open(&scene, state, tokens, scripts);
    scene.question.ask.request_id = "req-7";
    scene_run(&scene, 2, 2);
    assert_int_equal(scene.question.end.status, APR_SUCCESS);
    assert_string_equal(scene.question.text.data, "Hi");
    assert_int_equal(scene.question.n_retries, 1);
    assert_int_equal(scene.question.retried.kind, AC_MODEL_REFUSED);
    assert_contains(http_server_request(scene.server, 0), "Authorization: Bearer t1\r\n");
    assert_contains(http_server_request(scene.server, 1), "Authorization: Bearer t2\r\n");
    assert_contains(http_server_request(scene.server, 1), "x-ms-client-request-id: req-7\r\n");
    assert_string_equal(strstr(http_server_request(scene.server, 0), "\r\n\r\n"),
                        strstr(http_server_request(scene.server, 1), "\r\n\r\n"));
    scene_close(&scene);
}

static void test_refused_for_good(void **state)
{
    static const server_step_t *const scripts[] = {unknown, NULL};
    scene_t scene;
    scene_open(&scene, state, tokens, scripts);
    scene_run(&scene, 2, 2);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_REFUSED);
    assert_int_equal(scene.question.n_retries, 1);
    assert_contains(scene.question.end.err.detail, "did not accept our credential");
    scene_close(&scene);
}

static void test_forbidden(void **state)
{
    static const server_step_t expired[] = {
        ANSWER("403 Forbidden", "", "{\"error\":{\"code\":\"ExpiredAuthenticationToken\"}}")};
    static const server_step_t role[] = {ANSWER("403 Forbidden", "", "{\"error\":{\"code\":\"PermissionDenied\"}}")};
    static const server_step_t *const first[] = {expired, answer, NULL}, *const second[] = {role, NULL};
    scene_t scene;
    scene_open(&scene, state, tokens, first);
    scene_run(&scene, 2, 2);
    assert_string_equal(scene.question.text.data, "Hi");
    scene_close(&scene);
    scene_open(&scene, state, tokens, second);
    scene_run(&scene, 1, 1); /* another token would have the same permissions */
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_REFUSED);
    scene_close(&scene);
}

static void test_no_token(void **state)
{
    static const server_step_t refused[] = {
        ANSWER("401 Unauthorized", "", "{\"error_description\":\"AADSTS7000222: x\"}")};
    static const server_step_t busy[] = {ANSWER("503 Busy", "retry-after-ms: 1\r\n", "")};
    static const server_step_t *const first[] = {refused, NULL}, *const second[] = {busy, NULL};
    static const server_step_t *const scripts[] = {answer, NULL};
    scene_t scene;
    scene_open(&scene, state, first, scripts);
    scene_run(&scene, 1, 0);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_REFUSED);
    assert_string_equal(scene.question.end.err.detail,
                        "no credential for the model's service: environment: "
                        "AADSTS7000222: the client secret has expired; make a new one in the app registration");
    scene_close(&scene);
    scene_open(&scene, state, second, scripts);
    scene_run(&scene, 4, 0);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_ERROR);
    assert_true(scene.question.end.err.retry_after > 0);
    scene_close(&scene);
}

static void test_cancelled_while_waiting(void **state)
{
    static const server_step_t slow[] = {GATE(0), TOKEN("t1", "3600")};
    static const server_step_t *const authority[] = {slow, NULL}, *const scripts[] = {answer, NULL};
    scene_t scene;
    scene_open(&scene, state, authority, scripts);
    question_start(&scene.question);
    assert_true(http_server_wait_requests(scene.authority, 1));
    question_cancel(&scene.question);
    http_server_open(scene.authority, 0);
    assert_string_equal(credential_rig_get(scene.rig, "https://ai.azure.com/.default"), "t1");
    assert_int_equal(scene.question.n_ends, 0);
    assert_int_equal(http_server_requests(scene.server), 0);
    scene_close(&scene);
}

static void test_token_is_late(void **state)
{
    static const server_step_t slow[] = {HANG, END};
    static const server_step_t *const authority[] = {slow, NULL}, *const scripts[] = {answer, NULL};
    scene_t scene;
    scene_open(&scene, state, authority, scripts);
    scene.conf.first_byte_timeout = apr_time_from_msec(200);
    scene_run(&scene, 1, 0);
    assert_int_equal(scene.question.end.err.kind, AC_MODEL_TIMEOUT);
    assert_string_equal(scene.question.end.err.detail, "no credential for the model's service within 200ms");
    scene_close(&scene);
}

typedef struct probed_t {
    scene_t *scene;
    apr_status_t status;
    ac_err_t err;
    ac_latch_t *done;
} probed_t;

static void on_probed(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err)
{
    probed_t *probed = baton;
    (void)took;
    probed->status = status;
    probed->err = *err;
    ac_latch_open(probed->done);
}

static void probe(void *baton)
{
    probed_t *probed = baton;
    ac_model_azure_openai.probe(probed->scene->self, on_probed, probed);
}

static void scene_probe(scene_t *scene, probed_t *probed)
{
    memset(probed, 0, sizeof(*probed));
    probed->scene = scene;
    probed->done = ac_latch_create();
    rig_call(&scene->rig->loop, probe, probed);
    assert_true(ac_latch_wait(probed->done, ac_clock() + apr_time_from_sec(20)));
    ac_latch_unref(probed->done);
}

static void test_probe(void **state)
{
    static const server_step_t list[] = {ANSWER("200 OK", "", "{\"data\":[]}")};
    static const server_step_t *const scripts[] = {unknown, list, NULL};
    scene_t scene;
    probed_t probed;
    scene_open(&scene, state, tokens, scripts);
    scene_probe(&scene, &probed);
    assert_int_equal(probed.err.kind, AC_MODEL_REFUSED);
    scene_probe(&scene, &probed); /* with another token */
    assert_int_equal(probed.status, APR_SUCCESS);
    assert_contains(http_server_request(scene.server, 0), "GET /openai/v1/models HTTP/1.1\r\n");
    assert_contains(http_server_request(scene.server, 0), "Authorization: Bearer t1\r\n");
    assert_contains(http_server_request(scene.server, 1), "Authorization: Bearer t2\r\n");
    scene_close(&scene);
}

static void test_probe_without_token(void **state)
{
    static const server_step_t refused[] = {ANSWER("400 Bad", "", "{\"error_description\":\"AADSTS90002: x\"}")};
    static const server_step_t *const authority[] = {refused, NULL}, *const scripts[] = {answer, NULL};
    scene_t scene;
    probed_t probed;
    scene_open(&scene, state, authority, scripts);
    scene_probe(&scene, &probed);
    assert_int_equal(probed.err.kind, AC_MODEL_REFUSED);
    assert_contains(probed.err.detail, "AADSTS90002: there is no such tenant");
    assert_int_equal(http_server_requests(scene.server), 0);
    scene_close(&scene);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, credential_rig_open, credential_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_bearer),        CASE(test_renewed_once), CASE(test_refused_for_good),
        CASE(test_forbidden),     CASE(test_no_token),     CASE(test_cancelled_while_waiting),
        CASE(test_token_is_late), CASE(test_probe),        CASE(test_probe_without_token),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("model_credential", tests, NULL, NULL);
}
