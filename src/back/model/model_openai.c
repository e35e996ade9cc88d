/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models: chat completions and event streams over one HTTP exchange each. */
#include "model_openai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CREDENTIAL_WAIT \
    apr_time_from_sec(10)           /* longest wait for a credential; the first byte's time if that is shorter */
#define LINGER apr_time_from_sec(1) /* how long the connection of an answer stays open after [DONE] */
#define MAX_HEADERS 6

typedef enum body_e { BODY_NONE, BODY_STREAM, BODY_WHOLE } body_e;

/* An answer that is being received. */
typedef struct call_t {
    ac_model_openai_t *model;
    const ac_model_cb_t *cb;
    void *baton;
    ac_http_t *http; /* NULL once it has ended */
    ac_openai_answer_t answer;
    ac_sse_reader_t reader;
    ac_buf_t whole; /* of a server that ignores `stream` */
    body_e body;
    int status; /* HTTP's */
    int n_retries;
    bool page; /* the answer is a web page */
    bool busy; /* inside a callback of the exchange: cancelling waits for its end */
    bool cancelled;
    apr_interval_time_t retry_after;
    ac_timer_t linger;
    /* Kept until the head of the answer has come, for a second request with another credential. */
    ac_buf_t request;
    char *request_id; /* a whole header line, or NULL */
    const ac_trace_t *trace;
    char *used;   /* the credential's text, as sent; NULL: none so far */
    bool waiting; /* for a credential; the timer `linger` limits that wait, too */
    bool renewed; /* only one renewal */
    ac_err_t err;
    ac_err_t refused; /* of an attempt that may be repeated */
} call_t;

static void model_openai_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
static void get_credential(call_t *call);

static void model_openai_forget_request(call_t *call)
{
    ac_buf_free(&call->request);
    free(call->request_id);
    ac_model_credential_wipe(call->used);
    call->request_id = call->used = NULL;
}

static void model_openai_call_free(call_t *call)
{
    ac_timer_cancel(call->model->loop, &call->linger);
    if (call->waiting) {
        ac_credential_forget(call->model->conf->auth, model_openai_on_credential, call);
    }
    model_openai_forget_request(call);
    ac_openai_answer_free(&call->answer);
    ac_sse_reader_free(&call->reader);
    ac_buf_free(&call->whole);
    free(call);
}

/* ---- the answer's callbacks, silent once the caller has cancelled ---- */

static void model_openai_on_text(void *baton, const char *text, size_t len)
{
    call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_text(call->baton, text, len);
    }
}

static void model_openai_on_reasoning(void *baton, const char *text, size_t len)
{
    call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_reasoning(call->baton, text, len);
    }
}

static void model_openai_on_annotation(void *baton, const json_t *annotation)
{
    call_t *call = baton;
    if (!call->cancelled && call->cb->on_annotation) {
        call->cb->on_annotation(call->baton, annotation);
    }
}

static void model_openai_on_tool_start(void *baton, int index, const char *id, const char *name)
{
    call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_tool_start(call->baton, index, id, name);
    }
}

static void model_openai_on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_tool_args(call->baton, index, fragment, len);
    }
}

static const ac_model_cb_t answer_callbacks = {.on_text = model_openai_on_text,
                                               .on_tool_start = model_openai_on_tool_start,
                                               .on_tool_args = model_openai_on_tool_args,
                                               .on_annotation = model_openai_on_annotation};
static const ac_model_cb_t reasoning_callbacks = {.on_text = model_openai_on_text,
                                                  .on_tool_start = model_openai_on_tool_start,
                                                  .on_tool_args = model_openai_on_tool_args,
                                                  .on_annotation = model_openai_on_annotation,
                                                  .on_reasoning = model_openai_on_reasoning};

/* ---- the end ---- */

/* The only end of a call that was not cancelled. Frees it. */
static void model_openai_end_call(call_t *call)
{
    ac_model_end_t end;
    if (call->err.kind == AC_OK) {
        ac_openai_end(&call->answer, &end);
    } else {
        memset(&end, 0, sizeof(end));
        end.usage = call->answer.usage;
        memcpy(end.model, call->answer.model, sizeof(end.model));
        end.err = call->err;
    }
    if (end.err.kind != AC_OK) {
        end.status = ac_err_row(end.err.kind)->status;
        end.err.http_status = end.err.http_status ? end.err.http_status : call->status;
        end.err.retry_after = end.err.retry_after ? end.err.retry_after : call->retry_after;
        memcpy(end.err.upstream_id, call->err.upstream_id, sizeof(end.err.upstream_id));
    }
    end.n_retries = call->n_retries;
    ac_debug("model %s: answer ended, HTTP %d, %d calls, upstream id %s%s%s", call->model->conf->id, call->status,
             call->answer.n_calls, *call->err.upstream_id ? call->err.upstream_id : "-", end.err.kind ? ": " : "",
             end.err.detail);
    if (!call->cancelled) {
        call->cb->on_end(call->baton, &end);
    }
    model_openai_call_free(call);
}

static bool is_complete(const call_t *call)
{
    return call->answer.done || call->answer.finish != AC_FINISH_NONE;
}

static void on_linger(void *baton)
{
    call_t *call = baton;
    ac_http_cancel(call->http);
    call->http = NULL;
    call->busy = true;
    model_openai_end_call(call);
}

/* ---- the exchange ---- */

static void model_openai_on_head(void *baton, const ac_http_head_t *head)
{
    call_t *call = baton;
    call->status = head->status;
    call->page = strncasecmp(head->content_type, "text/html", 9) == 0;
    if (head->status >= 200 && head->status < 300) {
        model_openai_forget_request(call);
    }
}

static bool model_openai_on_event(void *baton, const char *event, const char *data, size_t len)
{
    call_t *call = baton;
    (void)event;
    return ac_openai_chunk(&call->answer, data, len, &call->err) == APR_SUCCESS && !call->cancelled;
}

/* Reports the last event, which the end of the body has completed. If the body was cut, the event is incomplete. */
static bool on_last_event(void *baton, const char *event, const char *data, size_t len)
{
    return len && (data[len - 1] == '}' || data[len - 1] == ']') ? model_openai_on_event(baton, event, data, len)
                                                                 : true;
}

/* The first byte of the body shows its kind; content types are unreliable. */
static void sniff(call_t *call, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && call->body == BODY_NONE; i++) {
        if (!strchr(" \t\r\n", bytes[i]) || !bytes[i]) {
            call->body = bytes[i] == '{' || bytes[i] == '[' ? BODY_WHOLE : BODY_STREAM;
        }
    }
}

static void take_body(call_t *call, const char *bytes, size_t len)
{
    if (call->body == BODY_NONE) {
        sniff(call, bytes, len);
    }
    if (call->body == BODY_STREAM) {
        ac_sse_read(&call->reader, bytes, len, model_openai_on_event, call, &call->err);
    } else if (call->body == BODY_WHOLE && ac_buf_add(&call->whole, bytes, len) != APR_SUCCESS) {
        ac_err_set(&call->err, AC_MODEL_ERROR, "the model's answer is too long");
    }
}

static bool model_openai_on_body(void *baton, const char *bytes, size_t len)
{
    call_t *call = baton;
    call->busy = true;
    take_body(call, bytes, len);
    call->busy = false;
    if (call->cancelled) {
        model_openai_call_free(call);
        return false;
    }
    if (call->answer.done && !call->linger.slot) {
        ac_timer_set(call->model->loop, &call->linger, ac_loop_now(call->model->loop) + LINGER, on_linger, call);
    }
    return call->err.kind == AC_OK;
}

static ac_kind_e kind_of_failure(const ac_err_t *err)
{
    bool late = err->kind == AC_UPSTREAM_TIMEOUT;
    return late ? AC_MODEL_TIMEOUT : err->kind == AC_UPSTREAM_ERROR ? AC_MODEL_ERROR : err->kind;
}

/* The exchange failed. Its error text may be shown; its kind becomes one of a model. */
static void model_openai_take_failure(call_t *call, const ac_err_t *err)
{
    ac_err_set(&call->err, kind_of_failure(err), "the model's service %s: %s",
               call->status ? "broke its answer off" : "did not answer", err->detail);
}

static void take_end(call_t *call, apr_status_t status, const ac_err_t *err)
{
    if (call->body == BODY_STREAM) {
        ac_sse_finish(&call->reader, on_last_event, call);
    }
    if (call->err.kind != AC_OK || call->cancelled || is_complete(call)) {
        return;
    }
    if (status != APR_SUCCESS) {
        model_openai_take_failure(call, err);
    } else if (call->page) {
        ac_err_set(&call->err, AC_MODEL_REFUSED,
                   "the model's service answered with a web page; check the address in "
                   "AgentChatEndpoint");
    } else if (call->body == BODY_WHOLE) {
        ac_openai_whole(&call->answer, call->whole.data, call->whole.len, &call->err);
    }
}

/* The service does not accept the credential any more: repeats the request with another one, if there is one. */
static bool renew(call_t *call, const char *error_body, size_t len)
{
    const ac_model_openai_t *model = call->model;
    if (!call->used || call->renewed || !ac_model_credential_is_rejected(call->status, error_body, len)) {
        return false;
    }
    call->renewed = true;
    ac_credential_reject(model->conf->auth, model->scope, call->used);
    get_credential(call);
    return true;
}

static void on_http_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    call_t *call = baton;
    call->http = NULL;
    if (err->http_status) {
        call->status = err->http_status;
    }
    call->retry_after = err->retry_after;
    if (status == APR_SUCCESS && (call->status < 200 || call->status > 299)) {
        ac_openai_error(call->status, error_body, len, NULL, &call->err);
        memcpy(call->err.upstream_id, err->upstream_id, sizeof(call->err.upstream_id));
        if (renew(call, error_body, len)) {
            return;
        }
    }
    call->busy = true;
    if (status != APR_SUCCESS || (call->status >= 200 && call->status <= 299)) {
        take_end(call, status, err);
    }
    memcpy(call->err.upstream_id, err->upstream_id, sizeof(call->err.upstream_id));
    model_openai_end_call(call);
}

static bool model_openai_may_retry(void *baton, int status, const char *error_body, size_t len)
{
    call_t *call = baton;
    bool retry;
    ac_err_init(&call->refused);
    ac_openai_error(status, error_body, len, &retry, &call->refused);
    return retry;
}

static void report_retry(const call_t *call, const ac_err_t *err)
{
    if (call->cb->on_retry && !call->cancelled) {
        call->cb->on_retry(call->baton, err);
    }
}

static void model_openai_on_retry(void *baton, const ac_err_t *err)
{
    call_t *call = baton;
    ac_err_t why = call->refused;
    if (!why.kind) {
        ac_err_set(&why, kind_of_failure(err), "%s", err->detail);
    }
    why.http_status = err->http_status;
    ac_err_init(&call->refused);
    call->n_retries++;
    ac_metrics_add(AC_METRIC_MODEL_RETRIES, AC_LABELS(call->model->conf->metric), 1);
    report_retry(call, &why);
}

static const ac_http_cb_t http_callbacks = {.on_head = model_openai_on_head,
                                            .on_body = model_openai_on_body,
                                            .on_end = on_http_end,
                                            .may_retry = model_openai_may_retry,
                                            .on_retry = model_openai_on_retry};

/* ---- asking ---- */

/* text: that of the credential; NULL: none configured. */
static apr_status_t model_openai_start(call_t *call, const char *text, ac_err_t *err)
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
    apr_status_t status = ac_http_start(&call->http, model->loop, &request, &http_callbacks, call, err);
    ac_model_credential_wipe(credential);
    return status;
}

/* The only end of a call before its exchange has begun. */
static void end_unasked(call_t *call)
{
    call->busy = true;
    model_openai_end_call(call);
}

static void model_openai_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    call_t *call = baton;
    call->waiting = false;
    ac_timer_cancel(call->model->loop, &call->linger);
    if (status == APR_SUCCESS && call->used && strcmp(text, call->used) == 0) {
        end_unasked(call); /* no other credential exists; the service's error is reported */
        return;
    }
    if (status == APR_SUCCESS && call->renewed) {
        report_retry(call, &call->err);
    }
    ac_err_init(&call->err);
    if (status != APR_SUCCESS) {
        ac_model_credential_fail(&call->err, err);
        end_unasked(call);
        return;
    }
    call->status = 0;
    if (model_openai_start(call, text, &call->err) != APR_SUCCESS) {
        end_unasked(call);
    }
}

/* An identity service that is being updated may take a minute; a caller does not wait that long. */
static apr_interval_time_t credential_patience(const ac_model_openai_t *model)
{
    apr_interval_time_t first_byte = model->conf->first_byte_timeout;
    return first_byte > 0 && first_byte < CREDENTIAL_WAIT ? first_byte : CREDENTIAL_WAIT;
}

static void on_no_credential(void *baton)
{
    call_t *call = baton;
    char text[AC_TIME_SIZE];
    ac_time_format_duration(text, credential_patience(call->model));
    ac_err_set(&call->err, AC_MODEL_TIMEOUT, "no credential for the model's service within %s", text);
    end_unasked(call);
}

static void get_credential(call_t *call)
{
    const ac_model_openai_t *model = call->model;
    call->waiting = true;
    ac_timer_set(model->loop, &call->linger, ac_loop_now(model->loop) + credential_patience(model), on_no_credential,
                 call);
    ac_credential_get(model->conf->auth, model->scope, model_openai_on_credential, call);
}

static apr_status_t model_openai_begin(call_t *call, ac_err_t *err)
{
    const ac_model_openai_t *model = call->model;
    const char *text = model->conf->auth ? ac_credential_now(model->conf->auth, model->scope) : NULL;
    if (text || !model->conf->auth) {
        return model_openai_start(call, text, err);
    }
    get_credential(call);
    return APR_SUCCESS;
}

static apr_status_t model_openai_ask(void **pcall, void *self, const ac_model_ask_t *what, const ac_model_cb_t *cb,
                                     void *baton, ac_err_t *err)
{
    ac_model_openai_t *model = self;
    *pcall = NULL;
    call_t *call = ac_alloc(sizeof(*call));
    call->model = model;
    call->cb = cb;
    call->baton = baton;
    call->trace = what->trace;
    ac_openai_answer_init(&call->answer, cb->on_reasoning ? &reasoning_callbacks : &answer_callbacks, call);
    ac_sse_reader_init(&call->reader);
    ac_buf_init(&call->whole, AC_MAX_RESPONSE);
    ac_buf_init(&call->request, AC_MAX_REQUEST);
    apr_status_t status = ac_openai_request(&call->request, what, model->model, model->conf->params, err);
    if (status == APR_SUCCESS) {
        call->request_id = ac_model_endpoint_request_id(model, what->request_id);
        status = model_openai_begin(call, err);
    }
    if (status == APR_SUCCESS) {
        *pcall = call;
    } else {
        model_openai_call_free(call);
    }
    return status;
}

static void model_openai_cancel(void *self)
{
    call_t *call = self;
    if (call->cancelled) {
        return;
    }
    call->cancelled = true;
    if (call->http) {
        ac_http_cancel(call->http);
        call->http = NULL;
    }
    if (!call->busy) {
        model_openai_call_free(call);
    }
}

static apr_status_t model_openai_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_model_openai_t *model = self;
    (void)err;
    model->loop = host->loop;
    return APR_SUCCESS;
}

const ac_model_vt ac_model_openai = {
    "openai",         ac_model_endpoint_create, model_openai_child_init,
    model_openai_ask, model_openai_cancel,      ac_model_probe_start,
};

const ac_model_vt ac_model_azure_openai = {
    "azure-openai",      ac_model_endpoint_create_azure, model_openai_child_init, model_openai_ask,
    model_openai_cancel, ac_model_probe_start,
};
