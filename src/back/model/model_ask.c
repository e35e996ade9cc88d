/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models: the request of an answer and its credential; the tables of the providers. */
#include "model_call.h"

#include <stdlib.h>
#include <string.h>

#define CREDENTIAL_WAIT \
    apr_time_from_sec(10) /* longest wait for a credential; the first byte's time if that is shorter */
#define MAX_HEADERS 6

apr_status_t ac_model_ask_start(ac_model_call_t *call, const char *text, ac_err_t *err)
{
    const ac_model_openai_t *model = call->model;
    const ac_model_conf_t *conf = model->conf;
    const char *headers[MAX_HEADERS] = {
        "Content-Type: application/json",
        "Accept: text/event-stream, application/json",
    };
    char *credential = text ? ac_model_credential_header(model, text) : NULL;
    int n = 2;
    if (credential) {
        headers[n++] = credential;
    }
    headers[n] = call->request_id;
    ac_model_credential_wipe(call->used);
    call->used = text ? strdup(text) : NULL;
    ac_http_request_t request = {
        .method = "POST",
        .url = model->url,
        .headers = headers,
        .body = call->request.data,
        .body_len = call->request.len,
        .connect_timeout = conf->connect_timeout,
        .first_byte_timeout = conf->first_byte_timeout,
        .idle_timeout = conf->idle_timeout,
        .total_timeout = conf->total_timeout,
        .max_response = AC_MAX_RESPONSE,
        .retries = conf->retries,
        .http_version = conf->http_version,
        .ca_file = conf->ca_file,
        .trace = call->trace,
    };
    apr_status_t status = ac_http_start(&call->http, model->loop, &request, &ac_model_openai_exchange, call, err);
    ac_model_credential_wipe(credential);
    return status;
}

/* The only end of a call before its exchange has begun. */
static void end_unasked(ac_model_call_t *call)
{
    call->busy = true;
    ac_model_openai_end(call);
}

static void model_ask_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    ac_model_call_t *call = baton;
    call->waiting = false;
    ac_timer_cancel(call->model->loop, &call->linger);
    if (status == APR_SUCCESS && call->used && strcmp(text, call->used) == 0) {
        end_unasked(call); /* no other credential exists; the service's error is reported */
        return;
    }
    if (status == APR_SUCCESS && call->renewed) {
        ac_model_openai_report_retry(call, &call->err);
    }
    ac_err_init(&call->err);
    if (status != APR_SUCCESS) {
        ac_model_credential_fail(&call->err, err);
        end_unasked(call);
        return;
    }
    call->status = 0;
    if (ac_model_ask_start(call, text, &call->err) != APR_SUCCESS) {
        end_unasked(call);
    }
}

/* An identity service that is being updated may take a minute; a caller does not wait that long. */
static apr_interval_time_t credential_patience(const ac_model_openai_t *model)
{
    apr_interval_time_t first_byte = model->conf->first_byte_timeout;
    return first_byte > 0 && first_byte < CREDENTIAL_WAIT ? first_byte : CREDENTIAL_WAIT;
}

void ac_model_ask_forget(ac_model_call_t *call)
{
    if (call->waiting) {
        ac_credential_forget(call->model->conf->auth, model_ask_on_credential, call);
    }
}

static void on_no_credential(void *baton)
{
    ac_model_call_t *call = baton;
    char text[AC_TIME_SIZE];
    ac_time_format_duration(text, credential_patience(call->model));
    ac_err_set(&call->err, AC_MODEL_TIMEOUT, "no credential for the model's service within %s", text);
    end_unasked(call);
}

void ac_model_ask_credential(ac_model_call_t *call)
{
    const ac_model_openai_t *model = call->model;
    call->waiting = true;
    ac_timer_set(model->loop, &call->linger, ac_loop_now(model->loop) + credential_patience(model), on_no_credential,
                 call);
    ac_credential_get(model->conf->auth, model->scope, model_ask_on_credential, call);
}

static apr_status_t model_ask_begin(ac_model_call_t *call, ac_err_t *err)
{
    const ac_model_openai_t *model = call->model;
    const char *text = model->conf->auth ? ac_credential_now(model->conf->auth, model->scope) : NULL;
    if (text || !model->conf->auth) {
        return ac_model_ask_start(call, text, err);
    }
    ac_model_ask_credential(call);
    return APR_SUCCESS;
}

/* Keeps what a second request needs. */
static void model_ask_keep(ac_model_call_t *call, const ac_model_ask_t *what)
{
    call->again = *what;
    json_incref((json_t *)what->messages);
    json_incref((json_t *)what->tools);
    json_incref((json_t *)what->tool_choice);
}

static apr_status_t model_ask_send(void **pcall, void *self, const ac_model_ask_t *what, const ac_model_cb_t *cb,
                                   void *baton, ac_err_t *err)
{
    ac_model_openai_t *model = self;
    *pcall = NULL;
    ac_model_call_t *call = ac_alloc(sizeof(*call));
    call->model = model;
    call->cb = cb;
    call->baton = baton;
    call->trace = what->trace;
    ac_model_openai_answer(call);
    ac_sse_reader_init(&call->reader);
    ac_buf_init(&call->whole, AC_MAX_RESPONSE);
    ac_buf_init(&call->request, AC_MAX_REQUEST);
    call->chained = true;
    apr_status_t status = model->form->request(&call->request, what, model, &call->chained, err);
    if (status == APR_SUCCESS) {
        if (call->chained) {
            model_ask_keep(call, what);
        }
        call->request_id = ac_model_endpoint_request_id(model, what->request_id);
        status = model_ask_begin(call, err);
    }
    if (status == APR_SUCCESS) {
        *pcall = call;
    } else {
        ac_model_openai_free(call);
    }
    return status;
}

static void model_ask_cancel(void *self)
{
    ac_model_call_t *call = self;
    if (call->cancelled) {
        return;
    }
    call->cancelled = true;
    if (call->http) {
        ac_http_cancel(call->http);
        call->http = NULL;
    }
    if (!call->busy) {
        ac_model_openai_free(call);
    }
}

static apr_status_t model_ask_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_model_openai_t *model = self;
    (void)err;
    model->loop = host->loop;
    return APR_SUCCESS;
}

const ac_model_vt ac_model_openai = {
    "openai", ac_model_endpoint_create, model_ask_child_init, model_ask_send, model_ask_cancel, ac_model_probe_start,
};

const ac_model_vt ac_model_azure_openai = {
    "azure-openai",   ac_model_endpoint_create_azure, model_ask_child_init, model_ask_send,
    model_ask_cancel, ac_model_probe_start,
};

const ac_model_vt ac_model_responses = {
    "responses",    ac_model_responses_create, model_ask_child_init,
    model_ask_send, model_ask_cancel,          ac_model_probe_start,
};

const ac_model_vt ac_model_azure_responses = {
    "azure-responses",    ac_model_responses_create_azure, model_ask_child_init, model_ask_send, model_ask_cancel,
    ac_model_probe_start,
};

const ac_model_vt ac_model_foundry = {
    "foundry-agent",      ac_model_responses_create_foundry, model_ask_child_init, model_ask_send, model_ask_cancel,
    ac_model_probe_start,
};
