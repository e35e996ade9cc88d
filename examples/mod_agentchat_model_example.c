/* SPDX-License-Identifier: Apache-2.0 */
/* A model in a module of its own: the provider "example-repeat" calls the agent's first tool with the user's text, then
 * streams what the tool answered, word by word. A real one would send the messages to a service, with the container's
 * credential. The service of this one accepts no key but "sesame", if AgentChatCredential is given.
 *
 *   apxs -c mod_agentchat_model_example.c && apxs -i -n agentchat_model_example mod_agentchat_model_example.la
 *
 *   LoadModule agentchat_module               modules/mod_agentchat.so
 *   LoadModule agentchat_model_example_module modules/mod_agentchat_model_example.so
 *   <AgentChatModel repeat>
 *       AgentChatProvider example-repeat
 *       AgentChatEndpoint example greeting=Hello
 *   </AgentChatModel> */
#include "agentchat.h"

#include <stdlib.h>
#include <string.h>

#include "ap_provider.h"
#include "apr_strings.h"
#include "httpd.h"
#include "http_config.h"

#define SCOPE "https://example.com/.default" /* for the token of an identity; a key needs none */

typedef struct model_t { /* in the configuration's pool */
    const char *greeting;
    ac_credential_t *auth; /* NULL: AgentChatCredential is not given */
    const ac_host_t *host; /* set in each child */
} model_t;

/* One answer, on the heap. While it waits for the credential, cancel() frees it; afterwards its next step is always on
 * the loop's list, and step() frees it. */
typedef struct answer_t {
    model_t *model;
    ac_model_cb_t cb; /* a copy: all of it on the loop thread */
    void *baton;
    char *tool, *text; /* tool: NULL if the answer is text */
    size_t sent;       /* bytes of text */
    bool waits;        /* for the credential */
    bool cancelled;
} answer_t;

/* Config time. Returns NULL on success, else an error message. */
static const char *create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    model_t *model = apr_pcalloc(p, sizeof(*model));
    const char *greeting = conf->options ? apr_table_get(conf->options, "greeting") : NULL;

    model->greeting = greeting ? greeting : "Hello";
    model->auth = conf->auth;
    *pself = model;
    return strlen(model->greeting) <= 80 ? NULL : "AgentChatEndpoint: greeting= has more than 80 characters";
}

static apr_status_t child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    model_t *model = self;

    if (host->version < 2) { /* the first with credentials */
        host->err_set(err, AC_MODEL_ERROR, "mod_agentchat is too old for this module");
        return APR_ENOTIMPL;
    }
    model->host = host; /* lives as long as the child */
    return APR_SUCCESS;
}

static void answer_free(answer_t *answer)
{
    free(answer->tool);
    free(answer->text);
    free(answer);
}

static void end_answer(answer_t *answer)
{
    json_t *arguments = answer->tool ? json_pack("{s:s}", "text", answer->text) : NULL;
    char *json = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;
    ac_tool_call_t call = {.id = "call_1", .name = answer->tool, .arguments = json};
    ac_model_end_t end = {.status = APR_SUCCESS, .finish = answer->tool ? AC_FINISH_TOOL_CALLS : AC_FINISH_STOP};

    apr_cpystrn(end.model, "example-repeat-1", sizeof(end.model));
    if (answer->tool) {
        end.calls = &call; /* borrowed: valid during on_end */
        end.n_calls = 1;
    }
    answer->cb.on_end(answer->baton, &end);
    json_decref(arguments);
    free(json);
}

/* Loop thread: sends one word, or ends the answer. A callback may call cancel(). */
static void step(void *baton)
{
    answer_t *answer = baton;
    const char *text = answer->text + answer->sent;
    size_t len = answer->tool ? 0 : strcspn(text, " ") + (strchr(text, ' ') != NULL);

    if (!answer->cancelled && len > 0) {
        answer->sent += len;
        answer->cb.on_text(answer->baton, text, len);
        answer->model->host->loop_post(answer->model->host->loop, step, answer);
        return;
    }
    if (!answer->cancelled) {
        end_answer(answer);
    }
    answer_free(answer);
}

/* Loop thread: the credential is there, or cannot be fetched. */
static void on_credential(void *baton, apr_status_t status, const char *key, const ac_err_t *err)
{
    answer_t *answer = baton;
    const model_t *model = answer->model;
    ac_model_end_t end = {.status = APR_EACCES};

    answer->waits = false;
    if (status == APR_SUCCESS && strcmp(key, "sesame") == 0) { /* a real one: into a header of its request */
        model->host->loop_post(model->host->loop, step, answer);
        return;
    }
    if (status == APR_SUCCESS) {
        model->host->credential_reject(model->auth, SCOPE, key); /* the next answer gets one that is fetched again */
    }
    model->host->err_set(&end.err, AC_MODEL_REFUSED, "%s", err ? err->detail : "the service does not accept the key");
    answer->cb.on_end(answer->baton, &end);
    answer_free(answer);
}

/* Loop thread. Starts one answer; no callback comes before this has returned. */
static apr_status_t ask(void **pcall, void *self, const ac_model_ask_t *what, const ac_model_cb_t *cb, void *baton,
                        ac_err_t *err)
{
    model_t *model = self;
    json_t *last = json_array_get(what->messages, json_array_size(what->messages) - 1);
    json_t *function = json_object_get(json_array_get(what->tools, 0), "function");
    const char *content = json_string_value(json_object_get(last, "content"));
    const char *role = json_string_value(json_object_get(last, "role"));
    answer_t *answer = calloc(1, sizeof(*answer));
    bool calls = function && !what->no_calls && role && strcmp(role, "user") == 0;
    size_t size = strlen(model->greeting) + (content ? strlen(content) : 0) + 64;

    if (!answer || !(answer->text = malloc(size)) ||
        (calls && !(answer->tool = strdup(json_string_value(json_object_get(function, "name")))))) {
        free(answer ? answer->text : NULL);
        free(answer);
        model->host->err_set(err, AC_MODEL_ERROR, "out of memory");
        return APR_ENOMEM;
    }
    apr_snprintf(answer->text, size, calls ? "%.0s%s" : "%s! The answer is: %s", model->greeting,
                 content ? content : "nothing");
    answer->model = model;
    answer->cb = *cb;
    answer->baton = baton;
    answer->waits = model->auth != NULL;
    if (answer->waits) {
        model->host->credential_get(model->auth, SCOPE, on_credential, answer);
    } else {
        model->host->loop_post(model->host->loop, step, answer);
    }
    *pcall = answer;
    return APR_SUCCESS;
}

static void cancel(void *call)
{
    answer_t *answer = call;

    if (answer->waits) {
        answer->model->host->credential_forget(answer->model->auth, on_credential, answer);
        answer_free(answer);
        return;
    }
    answer->cancelled = true;
}

static const ac_model_vt repeat = {
    .name = "example-repeat", .create = create, .child_init = child_init, .ask = ask, .cancel = cancel};

static void register_hooks(apr_pool_t *p)
{
    ap_register_provider(p, AC_MODEL_PROVIDER, repeat.name, AC_PROVIDER_VERSION, &repeat);
}

AP_DECLARE_MODULE(agentchat_model_example) = {STANDARD20_MODULE_STUFF, .register_hooks = register_hooks};
