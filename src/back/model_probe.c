/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a model's service can be reached: its list of models is asked for, which costs nothing, and only the head of
 * the answer is read. Any answer will do but a refused credential, a redirect, a failure (5xx), and a 404 where the
 * list is known to exist (OpenAI itself and Azure; a compatible server need not have one). */
#include "model_openai.h"

#include <stdlib.h>

#define CONNECT_TIMEOUT apr_time_from_sec(2)
#define TOTAL_TIMEOUT   apr_time_from_sec(5)
#define HEAD_ONLY       (1024 * 1024)

typedef struct probe_t {
    const openai_model_t *model;
    void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err);
    void *baton;
    apr_time_t began;
    ac_http_t *http;
    ac_ready_t ready;
    ac_err_t err;
} probe_t;

static void end_probe(void *baton)
{
    probe_t *probe = baton;
    apr_status_t status = probe->err.kind == AC_OK ? APR_SUCCESS : ac_kind_row(probe->err.kind)->status;
    probe->done(probe->baton, status, ac_clock() - probe->began, &probe->err);
    free(probe);
}

static bool on_body(void *baton, const char *bytes, size_t len)
{
    (void)baton, (void)bytes, (void)len;
    return false;
}

static bool is_wrong(const openai_model_t *model, int status)
{
    return status == 401 || status == 403 || (status == 404 && model->strict_probe) || status >= 500
        || (status >= 300 && status < 400);
}

static void on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    probe_t *probe = baton;
    if (status != APR_SUCCESS) {
        bool late = err->kind == AC_UPSTREAM_TIMEOUT;
        ac_err_set(&probe->err, late ? AC_MODEL_TIMEOUT : AC_MODEL_ERROR, "%s", err->detail);
    }
    else if (is_wrong(probe->model, err->http_status)) {
        ac_openai_error(err->http_status, error_body, len, NULL, &probe->err);
    }
    end_probe(probe);
}

void openai_model_probe(void *self, void (*done)(void *baton, apr_status_t status, apr_interval_time_t took,
                                                 const ac_err_t *err), void *baton)
{
    static const ac_http_cb_t callbacks = {NULL, on_body, on_end, NULL};
    const openai_model_t *model = self;
    const char *headers[] = {"Accept: application/json", model->credential_header, NULL};
    ac_http_request_t request = {
        .method = "GET", .url = model->probe_url, .headers = headers, .connect_timeout = CONNECT_TIMEOUT,
        .total_timeout = TOTAL_TIMEOUT, .max_response = HEAD_ONLY, .http_version = model->conf->http_version,
        .ca_file = model->conf->ca_file,
    };
    probe_t *probe = ac_alloc(sizeof(*probe));
    probe->model = model;
    probe->done = done;
    probe->baton = baton;
    probe->began = ac_clock();
    if (ac_http_start(&probe->http, model->loop, &request, &callbacks, probe, &probe->err) != APR_SUCCESS) {
        ac_ready_set(model->loop, &probe->ready, end_probe, probe);
    }
}
