/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the OpenAI models: parameters, ids, Azure's addresses, probes. */
#include "model_scene.h"

/* ---- requests ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_and_request_id),
        cmocka_unit_test(test_bad_request_id_is_left_out),
        cmocka_unit_test(test_azure),
        cmocka_unit_test(test_probe),
    };
    return scene_main("model_openai_request", tests, sizeof(tests) / sizeof(*tests));
}
