/* SPDX-License-Identifier: Apache-2.0 */
/* One request of a token from one provider: the parts that all providers share, which are start, exchanges, work
 * threads, ends. */
#include "identity.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- life ---- */

static void token_request_begin(void *baton)
{
    ac_token_request_t *token_request = baton;
    token_request->provider->run(token_request);
}

ac_token_request_t *ac_token_request_start(const ac_credential_provider_t *provider, const ac_token_ask_t *ask,
                                           ac_credential_result_fn *done, void *baton)
{
    ac_token_request_t *token_request = ac_alloc(sizeof(*token_request));
    token_request->provider = provider;
    token_request->conf = ask->conf;
    token_request->tenant = ask->tenant ? token_request->tenant_text : NULL;
    snprintf(token_request->tenant_text, sizeof(token_request->tenant_text), "%s", ask->tenant ? ask->tenant : "");
    token_request->chained = ask->chained;
    token_request->loop = ask->loop;
    token_request->work = ask->work;
    token_request->done = done;
    token_request->baton = baton;
    ac_buf_init(&token_request->body, AC_IDENTITY_MAX_TOKEN);
    snprintf(token_request->scope, sizeof(token_request->scope), "%s", ask->scope);
    ac_loop_ready_set(token_request->loop, &token_request->ready, token_request_begin, token_request);
    return token_request;
}

static void token_request_wipe(ac_buf_t *buf)
{
    if (buf->data) {
        OPENSSL_cleanse(buf->data, buf->len);
    }
    ac_buf_free(buf);
}

void ac_token_request_cancel(ac_token_request_t *token_request)
{
    uint64_t one = 1;
    if (token_request->http) {
        ac_http_cancel(token_request->http);
    }
    if (token_request->job) {
        token_request->job->token_request = NULL;
        if (token_request->job->stop_fd >= 0 && write(token_request->job->stop_fd, &one, sizeof(one)) < 0) {
            ac_debug("identity: a program could not be stopped");
        }
    }
    ac_loop_ready_cancel(token_request->loop, &token_request->ready);
    ac_timer_cancel(token_request->loop, &token_request->timer);
    token_request_wipe(&token_request->body);
    free(token_request);
}

/* ---- ends ---- */

void ac_token_request_end_err(ac_token_request_t *token_request, const ac_err_t *err, bool absent)
{
    ac_credential_result_t fetched = {.err = *err, .absent = absent};
    ac_credential_result_fn *done = token_request->done;
    void *baton = token_request->baton;
    ac_token_request_cancel(token_request);
    done(baton, &fetched);
}

static void token_request_end_with(ac_token_request_t *token_request, ac_kind_e kind, bool absent, const char *fmt,
                                   va_list args)
{
    char detail[AC_ERR_DETAIL_SIZE];
    ac_err_t err;
    vsnprintf(detail, sizeof(detail), fmt, args);
    ac_err_init(&err);
    ac_err_set(&err, kind, "%s", detail);
    ac_token_request_end_err(token_request, &err, absent);
}

void ac_token_request_end_absent(ac_token_request_t *token_request, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    token_request_end_with(token_request, AC_UNAUTHENTICATED, true, fmt, args);
    va_end(args);
}

void ac_token_request_end_failed(ac_token_request_t *token_request, ac_kind_e kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    token_request_end_with(token_request, kind, false, fmt, args);
    va_end(args);
}

void ac_token_request_end_token(ac_token_request_t *token_request, const char *body, size_t len)
{
    ac_credential_result_t fetched;
    json_t *document = NULL;
    ac_credential_result_fn *done = token_request->done;
    void *baton = token_request->baton;
    memset(&fetched, 0, sizeof(fetched));
    ac_identity_token_read(&fetched, &document, body, len, token_request->life);
    ac_token_request_cancel(token_request);
    done(baton, &fetched);
    json_decref(document);
}

/* ---- exchanges ---- */

static void token_request_on_head(void *baton, const ac_http_head_t *head)
{
    ac_token_request_t *token_request = baton;
    const char *challenge = head->header(head->self, "www-authenticate");
    token_request->status = head->status;
    snprintf(token_request->challenge, sizeof(token_request->challenge), "%s", challenge ? challenge : "");
}

static bool token_request_on_body(void *baton, const char *bytes, size_t len)
{
    ac_token_request_t *token_request = baton;
    return ac_buf_add(&token_request->body, bytes, len) == APR_SUCCESS;
}

static void token_request_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body,
                                 size_t len)
{
    ac_token_request_t *token_request = baton;
    (void)error_body, (void)len;
    ac_token_answer_t answer = {
        .status = status == APR_SUCCESS ? token_request->status : 0,
        .err = err,
        .challenge = token_request->challenge,
        .body = token_request->body.data ? token_request->body.data : "",
        .len = token_request->body.len,
    };
    token_request->http = NULL;
    token_request->on_answer(token_request, &answer);
}

void ac_token_request_http(ac_token_request_t *token_request, const ac_http_request_t *request,
                           ac_token_answer_fn *on_answer)
{
    static const ac_http_cb_t callbacks = {.on_head = token_request_on_head,
                                           .on_body = token_request_on_body,
                                           .on_end = token_request_on_end};
    ac_http_request_t mine = *request;
    ac_err_t err;
    ac_err_init(&err);
    mine.raw_errors = true;
    mine.max_response = AC_IDENTITY_MAX_TOKEN;
    token_request->on_answer = on_answer;
    token_request->status = 0;
    token_request_wipe(&token_request->body);
    if (ac_http_start(&token_request->http, token_request->loop, &mine, &callbacks, token_request, &err) !=
        APR_SUCCESS) {
        ac_token_request_end_err(token_request, &err, false);
    }
}

/* ---- work threads ---- */

static void job_free(ac_token_job_t *job)
{
    if (job->stop_fd >= 0) {
        close(job->stop_fd);
    }
    token_request_wipe(&job->out);
    free(job);
}

static void run_job(void *baton)
{
    ac_token_job_t *job = baton;
    job->fn(job);
}

static void end_job(void *baton)
{
    ac_token_job_t *job = baton;
    ac_token_request_t *token_request = job->token_request;
    if (token_request) {
        token_request->job = NULL;
        job->done(token_request, job);
    }
    job_free(job);
}

void ac_token_request_work(ac_token_request_t *token_request, void (*fn)(ac_token_job_t *job),
                           void (*done)(ac_token_request_t *token_request, ac_token_job_t *job), const char *path,
                           bool stoppable)
{
    ac_token_job_t *job = ac_alloc(sizeof(*job));
    job->token_request = token_request;
    job->conf = token_request->conf;
    job->fn = fn;
    job->done = done;
    job->stop_fd = stoppable ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    ac_buf_init(&job->out, AC_IDENTITY_MAX_TOKEN * 4);
    memcpy(job->scope, token_request->scope, sizeof(job->scope));
    snprintf(job->tenant, sizeof(job->tenant), "%s", token_request->tenant ? token_request->tenant : "");
    snprintf(job->path, sizeof(job->path), "%s", path ? path : "");
    token_request->job = job;
    if (ac_work_post(token_request->work, run_job, end_job, job) != APR_SUCCESS) {
        job->token_request = NULL;
        token_request->job = NULL;
        job_free(job);
        ac_token_request_end_failed(token_request, AC_OVERLOADED, "no work thread is free");
    }
}

/* ---- texts ---- */

void ac_token_request_add_encoded(ac_buf_t *buf, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c);
        char encoded[3] = {'%', hex[c >> 4], hex[c & 15]};
        ac_buf_add(buf, plain ? text : encoded, plain ? 1 : 3);
    }
}

void ac_token_request_add_field(ac_buf_t *buf, const char *name, const char *value)
{
    ac_buf_str(buf, buf->len ? "&" : "");
    ac_buf_str(buf, name);
    ac_buf_str(buf, "=");
    ac_token_request_add_encoded(buf, value);
}

void ac_token_request_resource(char resource[AC_IDENTITY_SCOPE_SIZE], const char *scope)
{
    static const char end[] = "/.default";
    size_t len = strlen(scope), end_len = sizeof(end) - 1;
    bool has = len > end_len && strcmp(scope + len - end_len, end) == 0;
    snprintf(resource, AC_IDENTITY_SCOPE_SIZE, "%.*s", (int)(has ? len - end_len : len), scope);
}
