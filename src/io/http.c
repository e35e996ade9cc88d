/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange with an upstream: attempts, deadlines, the response as it arrives, cancelling at any moment. */
#include "io_internal.h"

#include <errno.h>
#include <apr_strings.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LONGEST_WAIT apr_time_from_sec(60) /* the longest Retry-After that is obeyed without a total deadline */

typedef enum phase_e {
    STARTING, /* the first attempt begins in this turn's ready tasks */
    CONNECTING,
    ASKED,     /* the request is being sent, and no byte of a body has come */
    ANSWERING, /* body bytes come */
    PAUSING,   /* until the next attempt */
    ENDED      /* inside on_end */
} phase_e;

struct ac_http_t {
    ac_transfer_t transfer; /* first: curl's callbacks know this */
    ac_loop_t *loop;
    ac_multi_t *multi;
    ac_http_cb_t cb;
    void *baton;
    ac_http_request_copy_t *copy; /* NULL when the request cannot be sent again */
    ac_timer_t timer;
    ac_ready_t ready;
    apr_time_t began, total_due, phase_due; /* 0: none */
    apr_time_t active;                      /* when the last body byte arrived */
    apr_interval_time_t first_byte_timeout, idle_timeout, total_timeout, connect_timeout;
    int retries_left, tries;
    int cause; /* errno of this attempt's last socket */
    phase_e phase;
    bool raw_errors, public_only, follow_redirects;
    bool calling; /* inside one of the caller's callbacks */
    bool cancelled;
    ac_http_answer_t answer;
    ac_http_trace_t trace;
};

static void http_begin(void *baton);
static void http_on_timer(void *baton);

/* ---- the end ---- */

static void destroy(void *baton)
{
    ac_http_t *http = baton;
    ac_loop_ready_cancel(http->loop, &http->ready);
    ac_timer_cancel(http->loop, &http->timer);
    ac_multi_release(&http->transfer);
    ac_multi_leave(&http->transfer);
    ac_http_request_free(http->copy);
    ac_http_trace_free(&http->trace);
    ac_http_answer_free(&http->answer);
    free(http);
}

static void on_drop(ac_transfer_t *transfer)
{
    destroy(transfer);
}

/* The only end: calls on_end unless the caller has cancelled. Not inside a callback of curl. */
static void http_finish(ac_http_t *http, ac_err_t *err)
{
    const ac_http_answer_t *answer = &http->answer;
    ac_debug("upstream: status %d, %d tries, %" APR_SIZE_T_FMT " bytes, %" APR_TIME_T_FMT " us%s%s", answer->status,
             http->tries, answer->received, ac_clock() - http->began, err->detail[0] ? ": " : "", err->detail);
    ac_timer_cancel(http->loop, &http->timer);
    ac_multi_release(&http->transfer);
    ac_http_trace_end(&http->trace, answer, err->kind);
    if (!http->cancelled) {
        bool body = answer->kind == AC_HTTP_ANSWER_KEPT && !http->raw_errors && answer->kept.data;
        http->phase = ENDED;
        err->http_status = answer->status;
        err->retry_after = answer->retry_after;
        apr_cpystrn(err->upstream_id, answer->upstream_id ? answer->upstream_id : "", sizeof(err->upstream_id));
        apr_status_t status = err->kind == AC_OK ? APR_SUCCESS : ac_err_row(err->kind)->status;
        http->cb.on_end(http->baton, status, err, body ? answer->kept.data : "", body ? answer->kept.len : 0);
    }
    destroy(http);
}

static void finish_with(ac_http_t *http, ac_kind_e kind, const char *detail)
{
    ac_err_t err;
    ac_err_init(&err);
    if (kind != AC_OK) {
        ac_err_set(&err, kind, "%s", detail);
    }
    http_finish(http, &err);
}

static void finish_late(ac_http_t *http, const char *what, apr_interval_time_t timeout)
{
    char limit[AC_TIME_SIZE], text[AC_TIME_SIZE + 32];
    ac_time_format_duration(limit, timeout);
    apr_snprintf(text, sizeof(text), "%s within %s", what, limit);
    finish_with(http, AC_UPSTREAM_TIMEOUT, text);
}

/* ---- deadlines ---- */

/* One timer serves both deadlines. An arriving byte only stores its time; the timer compares it when it fires. */
static void arm(ac_http_t *http)
{
    apr_time_t due = http->phase_due;
    if (http->total_due && (!due || http->total_due < due)) {
        due = http->total_due;
    }
    if (due) {
        ac_timer_set(http->loop, &http->timer, due, http_on_timer, http);
    } else {
        ac_timer_cancel(http->loop, &http->timer);
    }
}

static void http_enter(ac_http_t *http, phase_e phase, apr_interval_time_t timeout)
{
    if (phase == ASKED && http->cb.on_send && !http->cancelled) {
        http->cb.on_send(http->baton);
    }
    http->phase = phase;
    http->phase_due = timeout > 0 ? ac_loop_now(http->loop) + timeout : 0;
    arm(http);
}

static void http_on_timer(void *baton)
{
    ac_http_t *http = baton;
    apr_time_t now = ac_loop_now(http->loop);
    if (http->total_due && now >= http->total_due) {
        finish_late(http, "no whole answer", http->total_timeout);
        return;
    }
    if (http->phase == ANSWERING && http->idle_timeout > 0) {
        http->phase_due = http->active + http->idle_timeout;
    }
    if (!http->phase_due || now < http->phase_due) {
        arm(http);
    } else if (http->phase == PAUSING) {
        http_begin(http);
    } else if (http->phase == ASKED) {
        finish_late(http, "no first byte", http->first_byte_timeout);
    } else {
        finish_late(http, "no further byte", http->idle_timeout);
    }
}

/* ---- the response's head ---- */

static void report_head(ac_http_t *http)
{
    if (http->cancelled || !http->cb.on_head) {
        return;
    }
    ac_http_head_t head = ac_http_answer_head(&http->answer);
    http->calling = true;
    http->cb.on_head(http->baton, &head);
    http->calling = false;
}

/* Returns false if the caller wants no more of the body. */
static bool report_body(ac_http_t *http, const char *bytes, size_t len)
{
    http->calling = true;
    bool more = http->cb.on_body(http->baton, bytes, len);
    http->calling = false;
    return more && !http->cancelled;
}

/* The request cannot be sent again: frees its copy, unless curl is still sending it. */
static void http_forget_request(ac_http_t *http)
{
    curl_off_t sent = 0;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (!http->copy->send_body || (size_t)sent >= http->copy->request.body_len) {
        ac_http_request_forget(http->copy, http->transfer.easy);
        http->copy = NULL;
    }
    ac_buf_free(&http->answer.head);
}

static void head_complete(ac_http_t *http)
{
    long status = 0;
    ac_http_answer_t *answer = &http->answer;
    curl_easy_getinfo(http->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {
        return; /* an interim response */
    }
    ac_http_answer_read_head(answer, (int)status);
    bool again = http->retries_left > 0 && ac_http_answer_retries(answer);
    if (http->follow_redirects && ac_http_answer_redirects(answer, http->copy && http->copy->request.keep_method)) {
        answer->kind = AC_HTTP_ANSWER_SKIPPED;
    } else if (status >= 300 && (again || !http->raw_errors)) {
        answer->kind = AC_HTTP_ANSWER_KEPT;
    } else {
        answer->kind = AC_HTTP_ANSWER_GIVEN;
        report_head(http);
        http_forget_request(http);
    }
}

/* ---- called by curl; only options and figures of the handle may be touched ---- */

static size_t stop(ac_http_t *http, ac_http_abort_e reason)
{
    ac_http_answer_abort(&http->answer, reason);
    return 0; /* curl closes the connection, or resets the stream */
}

static size_t on_curl_header(char *line, size_t size, size_t n, void *baton)
{
    ac_http_t *http = baton;
    ac_http_answer_t *answer = &http->answer;
    answer->responded = true;
    if (answer->abort_reason == AC_HTTP_ABORT_PRIVATE_ADDRESS) {
        answer->abort_reason = AC_HTTP_ABORT_NONE; /* another address of the host answered */
    }
    if (http->cancelled) {
        return stop(http, AC_HTTP_ABORT_STOPPED);
    }
    if (answer->kind != AC_HTTP_ANSWER_NONE) {
        return n * size; /* trailers */
    }
    bool whole = false;
    if (ac_http_answer_header(answer, line, n * size, &whole)) {
        return stop(http, AC_HTTP_ABORT_HEAD_TOO_LONG);
    }
    if (whole) {
        head_complete(http);
    }
    return http->cancelled ? stop(http, AC_HTTP_ABORT_STOPPED) : n * size;
}

static size_t on_curl_body(char *bytes, size_t size, size_t n, void *baton)
{
    ac_http_t *http = baton;
    size_t len = size * n;
    if (http->cancelled) {
        return stop(http, AC_HTTP_ABORT_STOPPED);
    }
    if (!len) {
        return 0;
    }
    http->active = ac_loop_now(http->loop);
    if (http->phase == ASKED) {
        http_enter(http, ANSWERING, http->idle_timeout);
    }
    http->answer.received += len;
    if (http->answer.kind != AC_HTTP_ANSWER_GIVEN) {
        return ac_http_answer_keep(&http->answer, bytes, len) ? len : 0;
    }
    if (http->answer.received > http->answer.max) {
        return stop(http, AC_HTTP_ABORT_TOO_LONG);
    }
    return report_body(http, bytes, len) ? len : stop(http, AC_HTTP_ABORT_STOPPED);
}

static curl_socket_t on_curl_open(void *baton, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    ac_http_t *http = baton;
    if (http->public_only && ac_http_address_sockaddr_private(&address->addr)) {
        stop(http, AC_HTTP_ABORT_PRIVATE_ADDRESS); /* another address of the host may be public */
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    http->cause = fd < 0 ? errno : 0;
    return fd;
}

#if LIBCURL_VERSION_NUM >= 0x075000
/* curl is about to send the request, on a new connection or a kept one. */
static int on_curl_ask(void *baton, char *remote, char *local, int remote_port, int local_port)
{
    (void)local, (void)remote_port, (void)local_port;
    ac_http_t *http = baton;
    if (http->public_only && ac_http_address_private(remote)) {
        stop(http, AC_HTTP_ABORT_PRIVATE_ADDRESS);
        return CURL_PREREQFUNC_ABORT;
    }
    if (http->phase == CONNECTING) {
        http_enter(http, ASKED, http->first_byte_timeout);
    }
    return http->cancelled ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}
#endif

/* ---- attempts ---- */

static void on_done(ac_transfer_t *transfer, int code);

static bool http_prepare(ac_http_t *http)
{
    if (!ac_multi_prepare(http->multi, &http->transfer, ac_http_request_multiplexes(http->copy))) {
        return false;
    }
    CURL *easy = http->transfer.easy;
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_curl_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, http);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_curl_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, http);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_curl_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, http);
#if LIBCURL_VERSION_NUM >= 0x075000
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_curl_ask);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, http);
#else
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, http->public_only ? 1L : 0L); /* a kept one is not checked */
#endif
    return ac_http_request_apply(http->copy, easy);
}

static void http_begin(void *baton)
{
    ac_http_t *http = baton;
    http->tries++, http->cause = 0;
    ac_http_answer_begin(&http->answer);
    bool asked = LIBCURL_VERSION_NUM < 0x075000; /* nothing calls on_curl_ask() */
    http_enter(http, asked ? ASKED : CONNECTING, asked ? http->first_byte_timeout : 0);
    ac_http_trace_begin(&http->trace, http->copy);
    if (!http_prepare(http) || !ac_multi_add(&http->transfer)) {
        finish_with(http, AC_INTERNAL, "out of memory");
    }
}

/* Schedules another attempt; err: why this one failed. false: no attempt is left, or not enough time. */
static bool http_try_again(ac_http_t *http, const ac_err_t *err)
{
    apr_time_t now = ac_loop_now(http->loop);
    if (http->retries_left <= 0 || !http->copy) {
        return false;
    }
    apr_interval_time_t wait = http->answer.retry_after
        ? http->answer.retry_after
        : ac_http_retry_backoff(http->copy->request.retries - http->retries_left);
    if (http->total_due ? now + wait >= http->total_due : wait > LONGEST_WAIT) {
        return false;
    }
    http->retries_left--;
    ac_http_trace_end(&http->trace, &http->answer, http->answer.status ? AC_OK : AC_UPSTREAM_ERROR);
    if (http->cb.on_retry) {
        http->cb.on_retry(http->baton, err);
    }
    ac_multi_release(&http->transfer);
    http_enter(http, PAUSING, wait);
    return true;
}

static void follow(ac_http_t *http)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_http_request_redirect(http->copy, http->answer.status, ac_http_answer_find(&http->answer, "location"),
                                 &err)) {
        http_finish(http, &err);
        return;
    }
    ac_multi_release(&http->transfer);
    ac_http_trace_end(&http->trace, &http->answer, AC_OK);
    http->tries--; /* the same attempt continues elsewhere */
    http_begin(http);
}

/* Whether the caller, too, considers this error temporary. */
static bool http_may_retry(ac_http_t *http)
{
    const ac_http_answer_t *answer = &http->answer;
    if (http->retries_left <= 0 || !ac_http_answer_retries(answer)) {
        return false;
    }
    if (!http->cb.may_retry) {
        return true;
    }
    http->calling = true;
    const char *body = answer->kept.data ? answer->kept.data : "";
    bool may = http->cb.may_retry(http->baton, answer->status, body, answer->kept.len);
    http->calling = false;
    return may && !http->cancelled;
}

/* The body of an error response is complete, or has reached its maximum. */
static void end_error(ac_http_t *http)
{
    const ac_err_t err = {.kind = AC_UPSTREAM_ERROR, .http_status = http->answer.status};
    if (http_may_retry(http) && http_try_again(http, &err)) {
        return;
    }
    report_head(http);
    if (!http->cancelled && http->raw_errors && http->answer.kept.len) {
        report_body(http, http->answer.kept.data, http->answer.kept.len);
    }
    finish_with(http, AC_OK, NULL);
}

static void end_unanswered(ac_http_t *http, int code)
{
    ac_err_t err;
    ac_err_init(&err);
    bool again = ac_http_retry_curl_error(&err, code, http->transfer.easy, http->cause, http->connect_timeout);
    if (again && http->answer.responded) {
        finish_with(http, AC_UPSTREAM_ERROR, "the answer was cut off");
    } else if (!again || !http_try_again(http, &err)) {
        http_finish(http, &err);
    }
}

/* An attempt has ended, successfully or not. */
static void on_done(ac_transfer_t *transfer, int code)
{
    ac_http_t *http = (ac_http_t *)transfer;
    ac_err_t err;
    ac_err_init(&err);
    if (http->cancelled) {
        destroy(http);
    } else if (http->answer.abort_reason == AC_HTTP_ABORT_STOPPED) {
        finish_with(http, AC_OK, NULL);
    } else if (ac_http_answer_failed(&http->answer, code, &err)) {
        http_finish(http, &err);
    } else if (http->answer.kind == AC_HTTP_ANSWER_SKIPPED) {
        follow(http);
    } else if (http->answer.kind == AC_HTTP_ANSWER_KEPT) {
        end_error(http); /* the status is sufficient, even if its body was cut */
    } else if (http->answer.kind == AC_HTTP_ANSWER_NONE) {
        end_unanswered(http, code == CURLE_OK ? CURLE_GOT_NOTHING : code);
    } else if (code == CURLE_OK) {
        finish_with(http, AC_OK, NULL);
    } else {
        finish_with(http, AC_UPSTREAM_ERROR, "the answer was cut off");
    }
}

/* ---- for callers ---- */

apr_status_t ac_http_start(ac_http_t **phttp, ac_loop_t *loop, const ac_http_request_t *request, const ac_http_cb_t *cb,
                           void *baton, ac_err_t *err)
{
    *phttp = NULL;
    ac_http_request_copy_t *copy;
    apr_status_t status = ac_http_request_copy(&copy, request, err);
    if (status) {
        return status;
    }
    ac_http_t *http = calloc(1, sizeof(*http));
    if (!http) {
        ac_http_request_free(copy);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    http->loop = loop;
    http->multi = ac_loop_multi(loop);
    http->transfer.on_done = on_done;
    http->transfer.on_drop = on_drop;
    http->cb = *cb;
    http->baton = baton;
    http->copy = copy;
    ac_http_trace_init(&http->trace, request);
    http->began = ac_loop_now(loop);
    http->connect_timeout = request->connect_timeout;
    http->first_byte_timeout = request->first_byte_timeout;
    http->idle_timeout = request->idle_timeout;
    http->total_timeout = request->total_timeout;
    http->total_due = request->total_timeout > 0 ? http->began + request->total_timeout : 0;
    ac_http_answer_init(&http->answer, request->max_response ? request->max_response : AC_MAX_RESPONSE);
    http->retries_left = request->retries;
    http->raw_errors = request->raw_errors;
    http->public_only = request->public_only;
    http->follow_redirects = request->max_redirects > 0;
    ac_multi_join(http->multi, &http->transfer);
    ac_loop_ready_set(loop, &http->ready, http_begin, http);
    *phttp = http;
    return APR_SUCCESS;
}

void ac_http_cancel(ac_http_t *http)
{
    if (!http || http->cancelled || http->phase == ENDED) {
        return;
    }
    http->cancelled = true;
    if (http->calling) {
        return; /* the caller sees it when this callback returns */
    }
    if (ac_multi_in_callback(http->multi)) {
        ac_timer_cancel(http->loop, &http->timer);
        ac_loop_ready_cancel(http->loop, &http->ready);
        ac_loop_ready_set(http->loop, &http->ready, destroy, http);
    } else {
        destroy(http);
    }
}
