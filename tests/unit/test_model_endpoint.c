/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of OpenAI models: accepted values, and the error messages for others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "back/model/model_openai.h"

static apr_pool_t *pool;

typedef struct given_t {
    const char *endpoint, *key;
    const char *options[8]; /* name, value, … */
} given_t;

static const char *create(ac_model_openai_t **pmodel, const ac_model_vt *vt, const given_t *given)
{
    ac_model_conf_t *conf = apr_pcalloc(pool, sizeof(*conf));
    apr_table_t *options = apr_table_make(pool, 4);
    for (int i = 0; given->options[i]; i += 2) {
        apr_table_set(options, given->options[i], given->options[i + 1]);
    }
    conf->id = "test";
    conf->provider = vt->name;
    conf->endpoint = given->endpoint;
    conf->options = options;
    if (given->key) {
        setenv("MODEL_TEST_KEY", given->key, 1);
        bool identity = strcmp(given->key, "identity") == 0;
        assert_null(ac_credential_spec_create(&conf->auth, identity ? given->key : "env:MODEL_TEST_KEY", NULL, pool));
    }
    void *self = NULL;
    const char *problem = vt->create(&self, conf, pool);
    assert_true(problem ? !self : self != NULL);
    if (pmodel) {
        *pmodel = self;
    }
    return problem;
}

static void expect_problem(const ac_model_vt *vt, given_t given, const char *part)
{
    const char *problem = create(NULL, vt, &given);
    assert_non_null(problem);
    if (!strstr(problem, part)) {
        fail_msg("\"%s\" has no \"%s\"", problem, part);
    }
    assert_true(strncmp(problem, "AgentChat", 9) == 0);
    assert_true(!given.key || strcmp(given.key, "identity") == 0 || !strstr(problem, given.key));
}

static ac_model_openai_t *expect_good(const ac_model_vt *vt, given_t given)
{
    ac_model_openai_t *model;
    const char *problem = create(&model, vt, &given);
    if (problem) {
        fail_msg("%s", problem);
    }
    return model;
}

#define OPENAI &ac_model_openai
#define AZURE &ac_model_azure_openai

static void test_openai(void **state)
{
    (void)state;
    ac_model_openai_t *model = expect_good(OPENAI, (given_t){NULL, "sk-9", {"model", "m"}});
    assert_string_equal(model->url, "https://api.openai.com/v1/chat/completions");
    assert_string_equal(model->probe_url, "https://api.openai.com/v1/models");
    assert_string_equal(model->credential_header, "Authorization: Bearer ");
    assert_true(model->strict_probe);
    model = expect_good(OPENAI, (given_t){"http://127.0.0.1:11434/v1//", NULL, {"model", "m"}});
    assert_string_equal(model->url, "http://127.0.0.1:11434/v1/chat/completions");
    assert_null(model->credential_header);
    assert_false(model->strict_probe);
    /* A server with one model needs no model name. */
    assert_null(expect_good(OPENAI, (given_t){"http://localhost:8080/v1", NULL, {NULL}})->model);
}

static void test_openai_problems(void **state)
{
    (void)state;
    expect_problem(OPENAI, (given_t){NULL, "sk-9", {NULL}}, "model=gpt-5-mini");
    expect_problem(OPENAI, (given_t){NULL, NULL, {"model", "m"}}, "env:OPENAI_API_KEY");
    expect_problem(OPENAI, (given_t){"https://API.openai.com", "sk-9", {"model", "m"}}, "https://api.openai.com/v1");
    expect_problem(OPENAI, (given_t){"api.openai.com/v1", "sk-9", {"model", "m"}}, "not an http or https address");
    expect_problem(OPENAI, (given_t){"ftp://host/v1", "sk-9", {"model", "m"}}, "not an http or https address");
    expect_problem(OPENAI, (given_t){"https://host/v1?x=1", "sk-9", {"model", "m"}}, "has a '?'");
    expect_problem(OPENAI, (given_t){"https://host/v1/chat/completions", "sk-9", {"model", "m"}}, "only its beginning");
    expect_problem(OPENAI, (given_t){NULL, "sk-9", {"modell", "m"}},
                   "'modell'; provider 'openai' knows model=, insecure=");
    expect_problem(OPENAI, (given_t){NULL, "sk-9", {"model", "m", "insecure", "yes"}}, "give on or off");
}

static void test_plain_http(void **state)
{
    static const char *const near[] = {"http://localhost/v1",        "http://127.0.0.1/v1",
                                       "http://[::1]:8000/v1",       "http://10.1.2.3/v1",
                                       "http://192.168.0.7:8000/v1", "http://vllm:8000/v1",
                                       "http://box.local/v1",        "http://llm.internal/v1",
                                       "https://example.com/v1",     NULL};
    static const char *const far[] = {"http://example.com/v1",           "http://8.8.8.8/v1",
                                      "HTTP://[2606:4700::1111]/v1",     "http://localhost.example.com/v1",
                                      "http://127.0.0.1.example.com/v1", NULL};
    (void)state;
    for (int i = 0; near[i]; i++) {
        expect_good(OPENAI, (given_t){near[i], "k-secret", {"model", "m"}});
    }
    for (int i = 0; far[i]; i++) {
        expect_problem(OPENAI, (given_t){far[i], "k-secret", {"model", "m"}}, "insecure=on");
        expect_good(OPENAI, (given_t){far[i], "k-secret", {"model", "m", "insecure", "on"}});
        expect_good(OPENAI, (given_t){far[i], NULL, {"model", "m"}});
    }
}

static void test_params(void **state)
{
    ac_model_conf_t conf = {.endpoint = "http://localhost/v1", .params = json_pack("{s:[]}", "tools")};
    void *self;
    (void)state;
    assert_non_null(strstr(ac_model_openai.create(&self, &conf, pool), "AgentChatModelParameter"));
    json_decref(conf.params);
}

static void test_azure(void **state)
{
    (void)state;
    ac_model_openai_t *model = expect_good(AZURE,
                                           (given_t){"https://r.openai.azure.com",
                                                     "sk-9",
                                                     {"deployment", "d/1", "api-version", "2024-10-21", "model", "x"}});
    assert_string_equal(model->url,
                        "https://r.openai.azure.com/openai/deployments/d%2F1/chat/completions?api-version=2024-10-21");
    assert_string_equal(model->probe_url, "https://r.openai.azure.com/openai/models?api-version=2024-10-21");
    assert_string_equal(model->credential_header, "api-key: ");
    assert_null(model->model);
    model = expect_good(AZURE, (given_t){"https://r.openai.azure.com/", "sk-9", {"model", "d"}});
    assert_string_equal(model->url, "https://r.openai.azure.com/openai/v1/chat/completions");
    assert_string_equal(model->model, "d");
    model =
        expect_good(AZURE,
                    (given_t){"https://r.services.ai.azure.com/api/projects/p/openai/v1", "sk-9", {"deployment", "d"}});
    assert_string_equal(model->url, "https://r.services.ai.azure.com/api/projects/p/openai/v1/chat/completions");
    assert_string_equal(model->credential_header, "Authorization: Bearer ");
}

/* Which service a token is asked for, and that none goes to a host that is not known to be its. */
static void test_identity(void **state)
{
    static const char ai[] = "https://ai.azure.com/.default",
                      cognitive[] = "https://cognitiveservices.azure.com/.default";
    (void)state;
    ac_model_openai_t *model =
        expect_good(AZURE, (given_t){"https://r.openai.azure.com", "identity", {"deployment", "d"}});
    assert_string_equal(model->credential_header, "Authorization: Bearer ");
    assert_string_equal(model->scope, ai);
    model = expect_good(
        AZURE, (given_t){"https://r.openai.azure.com", "identity", {"deployment", "d", "api-version", "2024-10-21"}});
    assert_string_equal(model->credential_header, "Authorization: Bearer ");
    assert_string_equal(model->scope, cognitive);
    model = expect_good(OPENAI, (given_t){"https://r.openai.azure.com/openai/v1", "identity", {"model", "d"}});
    assert_string_equal(model->scope, ai);
    expect_problem(
        OPENAI, (given_t){"https://llm.example.com/v1", "identity", {"model", "d"}},
        "AgentChatCredential: 'identity' gives tokens of Entra ID, and llm.example.com is not a host of Azure");
}

static void test_azure_problems(void **state)
{
    static const char resource[] = "https://r.openai.azure.com";
    (void)state;
    expect_problem(AZURE, (given_t){NULL, "sk-9", {"deployment", "d"}}, "https://NAME.openai.azure.com");
    expect_problem(AZURE, (given_t){resource, "sk-9", {NULL}}, "deployment=gpt-5-mini");
    expect_problem(AZURE, (given_t){resource, NULL, {"deployment", "d"}}, "env:AZURE_OPENAI_API_KEY");
    expect_problem(AZURE, (given_t){resource, "sk-9", {"deployment", "d", "api-version", "2024"}}, "like 2024-10-21");
    expect_problem(AZURE, (given_t){resource, "sk-9", {"deployment", "d", "api-version", "2024-10-21&x=1"}},
                   "like 2024-10-21");
    expect_problem(AZURE,
                   (given_t){"https://r.openai.azure.com/openai/v1",
                             "sk-9",
                             {"deployment", "d", "api-version", "2024-10-21"}},
                   "does not go with");
    expect_problem(AZURE, (given_t){"https://r.openai.azure.com/openai/deployments/d", "sk-9", {"deployment", "d"}},
                   "only its beginning");
    expect_problem(AZURE, (given_t){resource, "sk-9", {"region", "x"}},
                   "knows deployment=, model=, api-version=, insecure=");
    expect_problem(AZURE, (given_t){"http://r.openai.azure.com", "sk-9", {"deployment", "d"}}, "use https");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openai),         cmocka_unit_test(test_openai_problems),
        cmocka_unit_test(test_plain_http),     cmocka_unit_test(test_params),
        cmocka_unit_test(test_azure),          cmocka_unit_test(test_identity),
        cmocka_unit_test(test_azure_problems),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("model_endpoint", tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
