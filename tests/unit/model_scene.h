/* SPDX-License-Identifier: Apache-2.0 */
/* An OpenAI model on a real loop whose server answers with scripts. */
#ifndef MODEL_SCENE_H
#define MODEL_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static inline void scene_open(scene_t *scene, const server_step_t *const *scripts)
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

static inline void scene_ready(scene_t *scene)
{
    assert_null(scene->vt->create(&scene->self, &scene->conf, pool));
    assert_int_equal(ac_credential_child_init(scene->conf.auth, &(ac_host_t){.loop = rig.loop}, NULL), APR_SUCCESS);
    model_init(&rig, scene->vt, scene->self);
    question_init(&scene->question, &rig, scene->vt, scene->self, HELLO);
}

static inline void scene_close(scene_t *scene)
{
    question_free(&scene->question);
    ac_credential_child_exit(scene->conf.auth);
    http_server_stop(scene->server);
}

static inline void scene_run(scene_t *scene, const server_step_t *const *scripts)
{
    scene_open(scene, scripts);
    scene_ready(scene);
    question_run(&scene->question);
    assert_int_equal(scene->question.n_ends, 1);
}

static int scene_set_up(void **state)
{
    (void)state;
    rig_open(&rig);
    return 0;
}

static int scene_tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* Runs tests of scenes; returns cmocka's count of failures. */
static inline int scene_main(const char *name, const struct CMUnitTest *tests, size_t n)
{
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = _cmocka_run_group_tests(name, tests, n, scene_set_up, scene_tear_down);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}

#endif
