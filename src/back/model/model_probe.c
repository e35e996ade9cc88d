/* SPDX-License-Identifier: Apache-2.0 */
/* Checks whether a model's service can be reached: requests its list of models, which costs nothing, and reads only the
 * head of the response. All responses show that it can, except for a rejected credential, a redirect, a failure (5xx),
 * and a 404 where the list must exist (OpenAI itself and Azure; a compatible server may lack it). */
#include "model_openai.h"

#include <stdlib.h>
#include <string.h>

#define CONNECT_TIMEOUT apr_time_from_sec(2)
#define TOTAL_TIMEOUT apr_time_from_sec(5)
#define HEAD_ONLY (1024 * 1024)

typedef struct probe_t {
    const ac_model_openai_t *model;
    void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err);
    void *baton;
    apr_time_t began;
    ac_http_t *http;
    ac_ready_t ready;
    ac_timer_t timer; /* limits the wait for the credential */
    char *used;       /* the credential's text; NULL: none */
    ac_err_t err;
} probe_t;

static void model_probe_end_probe(void *baton)
{
    probe_t *probe = baton;
    apr_status_t status = probe->err.kind == AC_OK ? APR_SUCCESS : ac_err_row(probe->err.kind)->status;
    ac_timer_cancel(probe->model->loop, &probe->timer);
    probe->done(probe->baton, status, ac_clock() - probe->began, &probe->err);
    ac_model_credential_wipe(probe->used);
    free(probe);
}

static bool model_probe_on_body(void *baton, const char *bytes, size_t len)
{
    (void)baton, (void)bytes, (void)len;
    return false;
}

static bool is_wrong(const ac_model_openai_t *model, int status)
{
    return status == 401 || status == 403 || (status == 404 && model->strict_probe) || status >= 500 ||
        (status >= 300 && status < 400);
}

static void model_probe_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body,
                               size_t len)
{
    probe_t *probe = baton;
    if (status != APR_SUCCESS) {
        bool late = err->kind == AC_UPSTREAM_TIMEOUT;
        ac_err_set(&probe->err, late ? AC_MODEL_TIMEOUT : AC_MODEL_ERROR, "%s", err->detail);
    } else if (is_wrong(probe->model, err->http_status)) {
        if (probe->used && ac_model_credential_is_rejected(err->http_status, error_body, len)) {
            ac_credential_reject(probe->model->conf->auth, probe->model->scope, probe->used);
        }
        ac_openai_error(err->http_status, error_body, len, NULL, &probe->err);
    }
    model_probe_end_probe(probe);
}

static void model_probe_start(probe_t *probe)
{
    static const ac_http_cb_t callbacks = {.on_body = model_probe_on_body, .on_end = model_probe_on_end};
    const ac_model_openai_t *model = probe->model;
    char *header = probe->used ? ac_model_credential_header(model, probe->used) : NULL;
    const char *headers[] = {"Accept: application/json", header, NULL};
    ac_http_request_t request = {
        .method = "GET",
        .url = model->probe_url,
        .headers = headers,
        .connect_timeout = CONNECT_TIMEOUT,
        .total_timeout = TOTAL_TIMEOUT,
        .max_response = HEAD_ONLY,
        .http_version = model->conf->http_version,
        .ca_file = model->conf->ca_file,
    };
    if (ac_http_start(&probe->http, model->loop, &request, &callbacks, probe, &probe->err) != APR_SUCCESS) {
        ac_loop_ready_set(model->loop, &probe->ready, model_probe_end_probe, probe);
    }
    ac_model_credential_wipe(header);
}

static void model_probe_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    probe_t *probe = baton;
    ac_timer_cancel(probe->model->loop, &probe->timer);
    if (status != APR_SUCCESS) {
        ac_model_credential_fail(&probe->err, err);
        model_probe_end_probe(probe);
        return;
    }
    probe->used = strdup(text);
    model_probe_start(probe);
}

static void model_probe_on_late(void *baton)
{
    probe_t *probe = baton;
    ac_credential_forget(probe->model->conf->auth, model_probe_on_credential, probe);
    ac_err_set(&probe->err, AC_MODEL_TIMEOUT, "no credential for the model's service within %d s",
               (int)apr_time_sec(TOTAL_TIMEOUT));
    model_probe_end_probe(probe);
}

void ac_model_probe_start(void *self,
                          void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err),
                          void *baton)
{
    const ac_model_openai_t *model = self;
    probe_t *probe = ac_alloc(sizeof(*probe));
    probe->model = model;
    probe->done = done;
    probe->baton = baton;
    probe->began = ac_clock();
    if (!model->conf->auth) {
        model_probe_start(probe);
        return;
    }
    ac_timer_set(model->loop, &probe->timer, ac_loop_now(model->loop) + TOTAL_TIMEOUT, model_probe_on_late, probe);
    ac_credential_get(model->conf->auth, model->scope, model_probe_on_credential, probe);
}
