/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models: one answer, over one HTTP exchange. */
#include "model_call.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINGER apr_time_from_sec(1) /* how long the connection of an answer stays open after its end */

void ac_model_openai_forget(ac_model_call_t *call)
{
    ac_buf_free(&call->request);
    free(call->request_id);
    ac_model_credential_wipe(call->used);
    call->request_id = call->used = NULL;
    json_decref((json_t *)call->again.messages);
    json_decref((json_t *)call->again.tools);
    json_decref((json_t *)call->again.tool_choice);
    call->again.messages = call->again.tools = call->again.tool_choice = NULL;
}

void ac_model_openai_free(ac_model_call_t *call)
{
    ac_timer_cancel(call->model->loop, &call->linger);
    ac_model_ask_forget(call);
    ac_model_openai_forget(call);
    ac_openai_answer_free(&call->answer);
    ac_sse_reader_free(&call->reader);
    ac_buf_free(&call->whole);
    free(call);
}

/* ---- the answer's callbacks, silent once the caller has cancelled ---- */

static void model_openai_on_text(void *baton, const char *text, size_t len)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_text(call->baton, text, len);
    }
}

static void model_openai_on_reasoning(void *baton, const char *text, size_t len)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_reasoning(call->baton, text, len);
    }
}

static void model_openai_on_annotation(void *baton, const json_t *annotation)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled && call->cb->on_annotation) {
        call->cb->on_annotation(call->baton, annotation);
    }
}

static void model_openai_on_tool_start(void *baton, int index, const char *id, const char *name)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_tool_start(call->baton, index, id, name);
    }
}

static void model_openai_on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_tool_args(call->baton, index, fragment, len);
    }
}

static void model_openai_on_hosted(void *baton, const ac_hosted_call_t *hosted)
{
    ac_model_call_t *call = baton;
    if (!call->cancelled) {
        call->cb->on_hosted(call->baton, hosted);
    }
}

void ac_model_openai_answer(ac_model_call_t *call)
{
    call->report = (ac_model_cb_t){.on_text = model_openai_on_text,
                                   .on_tool_start = model_openai_on_tool_start,
                                   .on_tool_args = model_openai_on_tool_args,
                                   .on_reasoning = call->cb->on_reasoning ? model_openai_on_reasoning : NULL,
                                   .on_annotation = model_openai_on_annotation,
                                   .on_hosted = call->cb->on_hosted ? model_openai_on_hosted : NULL};
    ac_openai_answer_init(&call->answer, &call->report, call);
}

/* ---- the end ---- */

/* The only end of a call that was not cancelled. Frees it. */
void ac_model_openai_end(ac_model_call_t *call)
{
    ac_model_end_t end;
    if (call->err.kind == AC_OK) {
        call->model->form->end(call->model, &call->answer, &end);
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
    ac_model_openai_free(call);
}

static bool is_complete(const ac_model_call_t *call)
{
    return call->answer.done || call->answer.finish != AC_FINISH_NONE;
}

static void on_linger(void *baton)
{
    ac_model_call_t *call = baton;
    ac_http_cancel(call->http);
    call->http = NULL;
    call->busy = true;
    ac_model_openai_end(call);
}

/* ---- the exchange ---- */

static void model_openai_on_head(void *baton, const ac_http_head_t *head)
{
    ac_model_call_t *call = baton;
    call->status = head->status;
    call->page = strncasecmp(head->content_type, "text/html", 9) == 0;
    if (head->status >= 200 && head->status < 300) {
        ac_model_openai_forget(call);
    }
}

static bool model_openai_on_event(void *baton, const char *event, const char *data, size_t len)
{
    ac_model_call_t *call = baton;
    (void)event;
    return call->model->form->event(&call->answer, data, len, &call->err) == APR_SUCCESS && !call->cancelled;
}

/* Reports the last event, which the end of the body has completed. If the body was cut, the event is incomplete. */
static bool on_last_event(void *baton, const char *event, const char *data, size_t len)
{
    return len && (data[len - 1] == '}' || data[len - 1] == ']') ? model_openai_on_event(baton, event, data, len)
                                                                 : true;
}

/* The first byte of the body shows its kind; content types are unreliable. */
static void sniff(ac_model_call_t *call, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && call->body == AC_MODEL_BODY_NONE; i++) {
        if (!strchr(" \t\r\n", bytes[i]) || !bytes[i]) {
            call->body = bytes[i] == '{' || bytes[i] == '[' ? AC_MODEL_BODY_WHOLE : AC_MODEL_BODY_STREAM;
        }
    }
}

static void take_body(ac_model_call_t *call, const char *bytes, size_t len)
{
    if (call->body == AC_MODEL_BODY_NONE) {
        sniff(call, bytes, len);
    }
    if (call->body == AC_MODEL_BODY_STREAM) {
        ac_sse_read(&call->reader, bytes, len, model_openai_on_event, call, &call->err);
    } else if (call->body == AC_MODEL_BODY_WHOLE && ac_buf_add(&call->whole, bytes, len) != APR_SUCCESS) {
        ac_err_set(&call->err, AC_MODEL_ERROR, "the model's answer is too long");
    }
}

static bool model_openai_on_body(void *baton, const char *bytes, size_t len)
{
    ac_model_call_t *call = baton;
    call->busy = true;
    take_body(call, bytes, len);
    call->busy = false;
    if (call->cancelled) {
        ac_model_openai_free(call);
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
static void model_openai_take_failure(ac_model_call_t *call, const ac_err_t *err)
{
    ac_err_set(&call->err, kind_of_failure(err), "the model's service %s: %s",
               call->status ? "broke its answer off" : "did not answer", err->detail);
}

static void take_end(ac_model_call_t *call, apr_status_t status, const ac_err_t *err)
{
    if (call->body == AC_MODEL_BODY_STREAM) {
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
    } else if (call->body == AC_MODEL_BODY_WHOLE) {
        call->model->form->whole(&call->answer, call->whole.data, call->whole.len, &call->err);
    }
}

/* The service does not accept the credential any more: repeats the request with another one, if there is one. */
static bool renew(ac_model_call_t *call, const char *error_body, size_t len)
{
    const ac_model_openai_t *model = call->model;
    if (!call->used || call->renewed || !ac_model_credential_is_rejected(call->status, error_body, len)) {
        return false;
    }
    call->renewed = true;
    ac_credential_reject(model->conf->auth, model->scope, call->used);
    ac_model_ask_credential(call);
    return true;
}

/* The service does not know the answer that the request continues, or the conversation on its side has grown too long:
 * says the conversation as this side has it. */
static bool say_whole(ac_model_call_t *call, const char *error_body, size_t len)
{
    const ac_model_openai_t *model = call->model;
    bool chained = false, unknown = ac_responses_is_unknown(call->status, error_body, len);
    if (!call->chained || call->cancelled || (!unknown && call->err.kind != AC_CONTEXT_LENGTH)) {
        return false;
    }
    ac_err_t why = call->err;
    char *text = call->used;
    call->chained = false;
    call->used = NULL;
    ac_model_openai_report_retry(call, &why);
    ac_err_init(&call->err);
    call->status = 0;
    ac_buf_clear(&call->request);
    apr_status_t status = model->form->request(&call->request, &call->again, model, &chained, &call->err);
    if (status == APR_SUCCESS) {
        status = ac_model_ask_start(call, text, &call->err);
    }
    ac_model_credential_wipe(text);
    return status == APR_SUCCESS;
}

static void on_http_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    ac_model_call_t *call = baton;
    call->http = NULL;
    if (err->http_status) {
        call->status = err->http_status;
    }
    call->retry_after = err->retry_after;
    if (status == APR_SUCCESS && (call->status < 200 || call->status > 299)) {
        ac_openai_error(call->status, error_body, len, NULL, &call->err);
        memcpy(call->err.upstream_id, err->upstream_id, sizeof(call->err.upstream_id));
        if (renew(call, error_body, len) || say_whole(call, error_body, len)) {
            return;
        }
    }
    call->busy = true;
    if (status != APR_SUCCESS || (call->status >= 200 && call->status <= 299)) {
        take_end(call, status, err);
    }
    memcpy(call->err.upstream_id, err->upstream_id, sizeof(call->err.upstream_id));
    ac_model_openai_end(call);
}

static bool model_openai_may_retry(void *baton, int status, const char *error_body, size_t len)
{
    ac_model_call_t *call = baton;
    bool retry;
    ac_err_init(&call->refused);
    ac_openai_error(status, error_body, len, &retry, &call->refused);
    return retry;
}

void ac_model_openai_report_retry(const ac_model_call_t *call, const ac_err_t *err)
{
    if (call->cb->on_retry && !call->cancelled) {
        call->cb->on_retry(call->baton, err);
    }
}

static void model_openai_on_retry(void *baton, const ac_err_t *err)
{
    ac_model_call_t *call = baton;
    ac_err_t why = call->refused;
    if (!why.kind) {
        ac_err_set(&why, kind_of_failure(err), "%s", err->detail);
    }
    why.http_status = err->http_status;
    ac_err_init(&call->refused);
    call->n_retries++;
    ac_metrics_add(AC_METRIC_MODEL_RETRIES, AC_LABELS(call->model->conf->metric), 1);
    ac_model_openai_report_retry(call, &why);
}

const ac_http_cb_t ac_model_openai_exchange = {.on_head = model_openai_on_head,
                                               .on_body = model_openai_on_body,
                                               .on_end = on_http_end,
                                               .may_retry = model_openai_may_retry,
                                               .on_retry = model_openai_on_retry};
