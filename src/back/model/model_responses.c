/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of models behind the Responses API: what its requests have beyond those of chat completions. */
#include "model_openai.h"

#include <string.h>
#include <strings.h>

#include <apr_strings.h>

static const char *const responses_options[] = {"model", "effort", "summary", "store", "insecure", NULL};
static const char *const foundry_options[] = {"agent", "version", "store", "insecure", NULL};
static const char *const azure_responses_options[] = {"deployment", "model", "api-version", "effort",
                                                      "summary",    "store", "insecure",    NULL};

/* One of the values, which end with NULL; *pvalue NULL: not given. */
static const char *model_responses_choose(const char **pvalue, const ac_model_conf_t *conf, const char *name,
                                          const char *const *values, apr_pool_t *p)
{
    const char *list = "", *value = ac_model_endpoint_option(conf, name);
    *pvalue = NULL;
    for (int i = 0; value && values[i]; i++) {
        if (strcasecmp(value, values[i]) == 0) {
            *pvalue = values[i];
            return NULL;
        }
        list = apr_pstrcat(p, list, !i ? "" : values[i + 1] ? ", " : " or ", values[i], NULL);
    }
    return value ? apr_psprintf(p, "AgentChatEndpoint: %s='%s'; give %s", name, value, list) : NULL;
}

/* The conversation is said by `input`, or by the id of the last answer. */
static const char *check_params(const json_t *params, apr_pool_t *p)
{
    static const char *const own[] = {"input", "previous_response_id", "conversation", "background", "store", NULL};
    for (int i = 0; own[i]; i++) {
        if (json_object_get(params, own[i])) {
            return apr_psprintf(p, "AgentChatModelParameter: '%s' cannot be set%s", own[i],
                                strcmp(own[i], "store") == 0 ? "; use store=on or store=off of AgentChatEndpoint"
                                                             : ": this module decides it");
        }
    }
    return NULL;
}

static const char *set_responses(ac_model_openai_t *model, apr_pool_t *p)
{
    static const char *const efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max", NULL};
    static const char *const summaries[] = {"auto", "concise", "detailed", NULL};
    static const char *const switches[] = {"on", "off", NULL};
    const ac_model_conf_t *conf = model->conf;
    ac_responses_conf_t *responses = &model->responses;
    const char *store, *problem = check_params(conf->params, p);
    if (!problem) {
        problem = model_responses_choose(&responses->effort, conf, "effort", efforts, p);
    }
    if (!problem) {
        problem = model_responses_choose(&responses->summary, conf, "summary", summaries, p);
    }
    if (!problem) {
        problem = model_responses_choose(&store, conf, "store", switches, p);
    }
    if (!problem) {
        responses->store = store && strcmp(store, "on") == 0;
        responses->model = model->model;
        responses->params = conf->params;
    }
    return problem;
}

const char *ac_model_responses_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    ac_model_openai_t *model = NULL;
    const char *problem = ac_model_endpoint_make(&model, conf, &ac_model_form_responses, responses_options, p);
    *pself = model;
    return problem ? problem : set_responses(model, p);
}

const char *ac_model_responses_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    ac_model_openai_t *model = NULL;
    const char *version = ac_model_endpoint_option(conf, "api-version");
    if (version && version[0] == '2') {
        return apr_psprintf(p,
                            "AgentChatEndpoint: api-version='%s'; the Responses API is under /openai/v1: leave "
                            "api-version= out, or give v1, preview or latest",
                            version);
    }
    const char *problem =
        ac_model_endpoint_make_azure(&model, conf, &ac_model_form_responses, azure_responses_options, p);
    *pself = model;
    return problem ? problem : set_responses(model, p);
}

/* {project}/openai/v1: the agent is named in the body, and brings model, instructions and tools itself. */
const char *ac_model_responses_create_foundry(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    static const char example[] = "https://NAME.services.ai.azure.com/api/projects/PROJECT agent=NAME";
    ac_model_openai_t *model = NULL;
    const char *agent = ac_model_endpoint_option(conf, "agent");
    if (!conf->endpoint || !strstr(conf->endpoint, "/api/projects/")) {
        return apr_psprintf(p, "AgentChatEndpoint: give the address of the Foundry project and an agent, like %s",
                            example);
    }
    if (!agent) {
        return apr_psprintf(p, "AgentChatEndpoint: no agent; add its name, like %s", example);
    }
    if (!conf->auth || ac_credential_kind(conf->auth) != AC_CREDENTIAL_TOKEN) {
        return "AgentChatCredential: Foundry takes tokens of Entra ID and no keys; give identity";
    }
    const char *problem = ac_model_endpoint_make_azure(&model, conf, &ac_model_form_responses, foundry_options, p);
    *pself = model;
    problem = problem ? problem : set_responses(model, p);
    if (!problem) {
        const char *store = ac_model_endpoint_option(conf, "store");
        model->responses.store = !store || strcasecmp(store, "on") == 0;
        model->responses.agent = agent;
        model->responses.version = ac_model_endpoint_option(conf, "version");
        model->strict_probe = false;
    }
    return problem;
}
