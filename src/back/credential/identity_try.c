/* SPDX-License-Identifier: Apache-2.0 */
/* One way to sign in, asked for one token: what all ways share, which is beginning, exchanges, work threads, ends. */
#include "identity.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- life ---- */

static void identity_try_begin(void *baton)
{
    identity_try_t *try = baton;
    try->link->run(try);
}

identity_try_t *identity_try_start(const identity_link_t *link, const identity_ask_t *ask, fetched_fn *done,
                                   void *baton)
{
    identity_try_t *try = ac_alloc(sizeof(*try));
    try->link = link;
    try->conf = ask->conf;
    try->tenant = ask->tenant ? try->tenant_text : NULL;
    snprintf(try->tenant_text, sizeof(try->tenant_text), "%s", ask->tenant ? ask->tenant : "");
    try->chained = ask->chained;
    try->loop = ask->loop;
    try->work = ask->work;
    try->done = done;
    try->baton = baton;
    ac_buf_init(&try->body, IDENTITY_MAX_TOKEN);
    snprintf(try->scope, sizeof(try->scope), "%s", ask->scope);
    ac_ready_set(try->loop, &try->ready, identity_try_begin, try);
    return try;
}

static void identity_try_wipe(ac_buf_t *buf)
{
    if (buf->data) {
        OPENSSL_cleanse(buf->data, buf->len);
    }
    ac_buf_free(buf);
}

void identity_try_cancel(identity_try_t *try)
{
    uint64_t one = 1;
    if (try->http) {
        ac_http_cancel(try->http);
    }
    if (try->job) {
        try->job->try = NULL;
        if (try->job->stop_fd >= 0 && write(try->job->stop_fd, &one, sizeof(one)) < 0) {
            ac_debug("identity: a program could not be told to stop");
        }
    }
    ac_ready_cancel(try->loop, &try->ready);
    ac_timer_cancel(try->loop, &try->timer);
    identity_try_wipe(&try->body);
    free(try);
}

/* ---- ends ---- */

void identity_end_err(identity_try_t *try, const ac_err_t *err, bool absent)
{
    fetched_t fetched = {.err = *err, .absent = absent};
    fetched_fn *done = try->done;
    void *baton = try->baton;
    identity_try_cancel(try);
    done(baton, &fetched);
}

static void identity_try_end_with(identity_try_t *try, ac_kind_e kind, bool absent, const char *fmt, va_list args)
{
    char detail[AC_ERR_DETAIL_SIZE];
    ac_err_t err;
    vsnprintf(detail, sizeof(detail), fmt, args);
    ac_err_init(&err);
    ac_err_set(&err, kind, "%s", detail);
    identity_end_err(try, &err, absent);
}

void identity_end_absent(identity_try_t *try, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    identity_try_end_with(try, AC_UNAUTHENTICATED, true, fmt, args);
    va_end(args);
}

void identity_end_failed(identity_try_t *try, ac_kind_e kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    identity_try_end_with(try, kind, false, fmt, args);
    va_end(args);
}

void identity_end_token(identity_try_t *try, const char *body, size_t len)
{
    fetched_t fetched;
    json_t *document = NULL;
    fetched_fn *done = try->done;
    void *baton = try->baton;
    memset(&fetched, 0, sizeof(fetched));
    identity_token_read(&fetched, &document, body, len, &fetched.err);
    identity_try_cancel(try);
    done(baton, &fetched);
    json_decref(document);
}

/* ---- exchanges ---- */

static void identity_try_on_head(void *baton, const ac_http_head_t *head)
{
    identity_try_t *try = baton;
    const char *challenge = head->header(head->self, "www-authenticate");
    try->status = head->status;
    snprintf(try->challenge, sizeof(try->challenge), "%s", challenge ? challenge : "");
}

static bool identity_try_on_body(void *baton, const char *bytes, size_t len)
{
    identity_try_t *try = baton;
    return ac_buf_add(&try->body, bytes, len) == APR_SUCCESS;
}

static void identity_try_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body,
                                size_t len)
{
    identity_try_t *try = baton;
    (void)error_body, (void)len;
    identity_answer_t answer = {
        .status = status == APR_SUCCESS ? try->status : 0,
        .err = err,
        .challenge = try->challenge,
        .body = try->body.data ? try->body.data : "",
        .len = try->body.len,
    };
    try->http = NULL;
    try->on_answer(try, &answer);
}

void identity_try_http(identity_try_t *try, const ac_http_request_t *request, identity_answer_fn *on_answer)
{
    static const ac_http_cb_t callbacks = {identity_try_on_head, identity_try_on_body, identity_try_on_end, NULL};
    ac_http_request_t mine = *request;
    ac_err_t err;
    ac_err_init(&err);
    mine.raw_errors = true;
    mine.max_response = IDENTITY_MAX_TOKEN;
    try->on_answer = on_answer;
    try->status = 0;
    identity_try_wipe(&try->body);
    if (ac_http_start(&try->http, try->loop, &mine, &callbacks, try, &err) != APR_SUCCESS) {
        identity_end_err(try, &err, false);
    }
}

/* ---- work threads ---- */

static void job_free(identity_job_t *job)
{
    if (job->stop_fd >= 0) {
        close(job->stop_fd);
    }
    identity_try_wipe(&job->out);
    free(job);
}

static void run_job(void *baton)
{
    identity_job_t *job = baton;
    job->fn(job);
}

static void end_job(void *baton)
{
    identity_job_t *job = baton;
    identity_try_t *try = job->try;
    if (try) {
        try->job = NULL;
        job->done(try, job);
    }
    job_free(job);
}

void identity_try_work(identity_try_t *try, void (*fn)(identity_job_t *job),
                       void (*done)(identity_try_t *try, identity_job_t *job), const char *path, bool stoppable)
{
    identity_job_t *job = ac_alloc(sizeof(*job));
    job->try = try;
    job->conf = try->conf;
    job->fn = fn;
    job->done = done;
    job->stop_fd = stoppable ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    ac_buf_init(&job->out, IDENTITY_MAX_TOKEN * 4);
    memcpy(job->scope, try->scope, sizeof(job->scope));
    snprintf(job->tenant, sizeof(job->tenant), "%s", try->tenant ? try->tenant : "");
    snprintf(job->path, sizeof(job->path), "%s", path ? path : "");
    try->job = job;
    if (ac_work_post(try->work, run_job, end_job, job) != APR_SUCCESS) {
        job->try = NULL;
        try->job = NULL;
        job_free(job);
        identity_end_failed(try, AC_OVERLOADED, "no work thread is free");
    }
}

/* ---- texts ---- */

static void identity_try_add_encoded(ac_buf_t *buf, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c);
        char encoded[3] = {'%', hex[c >> 4], hex[c & 15]};
        ac_buf_add(buf, plain ? text : encoded, plain ? 1 : 3);
    }
}

void identity_form_add(ac_buf_t *buf, const char *name, const char *value)
{
    ac_buf_str(buf, buf->len ? "&" : "");
    ac_buf_str(buf, name);
    ac_buf_str(buf, "=");
    identity_try_add_encoded(buf, value);
}

void identity_resource(char resource[IDENTITY_SCOPE_SIZE], const char *scope)
{
    static const char end[] = "/.default";
    size_t len = strlen(scope), end_len = sizeof(end) - 1;
    bool has = len > end_len && !strcmp(scope + len - end_len, end);
    snprintf(resource, IDENTITY_SCOPE_SIZE, "%.*s", (int)(has ? len - end_len : len), scope);
}
