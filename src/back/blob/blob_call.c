/* SPDX-License-Identifier: Apache-2.0 */
/* One request to Blob Storage: a thread waits while the loop gets the credential, signs, sends and reads. The call owns
 * copies of all that the request is made of, so that a thread that gives up leaves nothing behind. */
#include "blob_internal.h"

#include <string.h>

#include <apr_date.h>
#include <apr_strings.h>

#define CONNECT_TIMEOUT apr_time_from_sec(5)
#define FIRST_BYTE_TIMEOUT apr_time_from_sec(15) /* after the body was sent */
#define IDLE_TIMEOUT apr_time_from_sec(15)
#define READ_TIMEOUT apr_time_from_sec(20)
#define WRITE_TIMEOUT apr_time_from_sec(60)
#define GRACE apr_time_from_sec(5) /* for a loop that is busy */
#define STOP_PATIENCE apr_time_from_sec(3)
#define RETRIES 3 /* of answers that say so, and of connections without an answer */
#define TRIES 3   /* of answers that break off or do not come */
#define HEADERS_ROOM 4096

struct ac_blob_call_t {
    ac_handover_t handover;
    ac_blob_t *blob;
    ac_blob_call_t *next, *prev; /* loop thread, as is all that follows until the call is answered */
    const char *method;
    ac_buf_t url, body;
    size_t path_at, query_at; /* in url: of the path, and of the query */
    char *query[2 * AC_BLOB_PARAMETERS + 1], *headers[AC_BLOB_HEADERS];
    size_t max;
    apr_time_t deadline; /* ac_clock */
    ac_timer_t timer;
    ac_http_t *http;
    char *token; /* that was sent, to be reported if it is refused */
    int tries;
    bool waits, rejected;
    apr_interval_time_t skew;
    ac_blob_reply_t reply;
    ac_err_t err;
};

static void call_ask(ac_blob_call_t *call);

/* ---- the life of a call ---- */

static void call_copy(char **to, size_t size, const char *const *from)
{
    for (size_t i = 0; from && from[i] && i + 1 < size; i++) {
        to[i] = strdup(from[i]);
        if (!to[i]) {
            abort();
        }
    }
}

static ac_blob_call_t *call_create(ac_blob_t *blob, const ac_blob_request_t *request)
{
    ac_blob_call_t *call = ac_alloc(sizeof(*call));
    call->blob = blob;
    call->method = request->method;
    ac_buf_init(&call->url, AC_BLOB_TEXT);
    ac_buf_str(&call->url, blob->conf.origin);
    call->path_at = call->url.len;
    ac_buf_str(&call->url, request->name ? blob->conf.path : blob->conf.service);
    if (request->name && *request->name) {
        ac_buf_printf(&call->url, "/%s%s", blob->conf.prefix, request->name);
    }
    call->query_at = call->url.len;
    ac_blob_query(&call->url, request->query);
    call_copy(call->query, sizeof(call->query) / sizeof(call->query[0]), request->query);
    call_copy(call->headers, AC_BLOB_HEADERS, request->headers);
    ac_buf_init(&call->body, AC_MAX_REQUEST);
    if (request->body) {
        call->body = *request->body;
        ac_buf_init(request->body, request->body->max);
    }
    call->max = request->max ? request->max : AC_MAX_ERROR_BODY;
    call->deadline = ac_clock() + (request->timeout ? request->timeout : request->body ? WRITE_TIMEOUT : READ_TIMEOUT);
    call->reply.size = -1;
    ac_buf_init(&call->reply.body, call->max);
    ac_err_init(&call->err);
    return call;
}

/* The reply's body is the caller's. */
static void call_free(ac_blob_call_t *call)
{
    for (size_t i = 0; i < sizeof(call->query) / sizeof(call->query[0]); i++) {
        free(call->query[i]);
    }
    for (size_t i = 0; i < AC_BLOB_HEADERS; i++) {
        free(call->headers[i]);
    }
    ac_buf_free(&call->url);
    ac_buf_free(&call->body);
    free(call->token);
    free(call);
}

static void on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

/* Loop thread. The only end. */
static void call_end(ac_blob_call_t *call)
{
    ac_blob_t *blob = call->blob;
    ac_timer_cancel(blob->loop, &call->timer);
    if (call->waits) {
        ac_credential_forget(blob->conf.credential, on_credential, call);
    }
    if (call->http) {
        ac_http_cancel(call->http);
    }
    if (call->next) {
        call->next->prev = call->prev;
    }
    if (call->prev) {
        call->prev->next = call->next;
    } else if (blob->calls == call) {
        blob->calls = call->next;
    }
    if (!ac_handover_answer(&call->handover)) {
        ac_buf_free(&call->reply.body);
        call_free(call);
    }
}

static void call_refuse(ac_blob_call_t *call, ac_kind_e kind, const char *detail)
{
    ac_err_set(&call->err, kind, "%s", detail);
    call_end(call);
}

static void on_late(void *baton)
{
    call_refuse(baton, AC_STORE_TIMEOUT, "Blob Storage did not answer in time");
}

/* ---- the answer ---- */

static void size_read(ac_blob_reply_t *reply, const char *range)
{
    const char *slash = range ? strchr(range, '/') : NULL;
    char *end;
    if (slash && slash[1] >= '0' && slash[1] <= '9') {
        int64_t size = apr_strtoi64(slash + 1, &end, 10);
        reply->size = *end ? -1 : size;
    }
}

static void on_head(void *baton, const ac_http_head_t *head)
{
    ac_blob_call_t *call = baton;
    ac_blob_reply_t *reply = &call->reply;
    const char *code = head->header(head->self, "x-ms-error-code"), *etag = head->header(head->self, "etag");
    const char *nonce = head->header(head->self, "x-ms-meta-agentchat"), *date = head->header(head->self, "date");
    apr_time_t when = date ? apr_date_parse_http(date) : 0;
    reply->status = head->status;
    apr_cpystrn(reply->code, code ? code : "", sizeof(reply->code));
    apr_cpystrn(reply->etag, etag ? etag : "", sizeof(reply->etag));
    apr_cpystrn(reply->nonce, nonce ? nonce : "", sizeof(reply->nonce));
    size_read(reply, head->header(head->self, "content-range"));
    call->skew = when > 0 ? when - apr_time_now() : 0;
}

static bool on_body(void *baton, const char *bytes, size_t len)
{
    ac_blob_call_t *call = baton;
    return ac_buf_add(&call->reply.body, bytes, len) == APR_SUCCESS;
}

/* The exchange brought no complete answer. */
static void call_broken(ac_blob_call_t *call, const ac_err_t *err)
{
    /* The exchange itself has tried again where no answer began. */
    bool again = err->kind == AC_UPSTREAM_TIMEOUT || (err->kind == AC_UPSTREAM_ERROR && call->reply.status);
    if (again && call->tries < TRIES && ac_clock() < call->deadline) {
        call_ask(call);
        return;
    }
    if (err->kind == AC_UPSTREAM_TIMEOUT) {
        ac_err_set(&call->err, AC_STORE_TIMEOUT, "Blob Storage did not answer in time: %s", err->detail);
    } else if (err->kind == AC_UPSTREAM_ERROR) {
        ac_err_set(&call->err, AC_STORE_ERROR, "Blob Storage cannot be reached: %s", err->detail);
    } else {
        call->err = *err;
    }
    call_end(call);
}

static void on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    ac_blob_call_t *call = baton;
    (void)error_body;
    (void)len;
    call->http = NULL;
    ac_metrics_add(AC_METRIC_BLOB_REQUESTS,
                   AC_LABELS(status == APR_SUCCESS ? ac_metrics_http_status(call->reply.status) : AC_METRIC_OTHER), 1);
    if (status != APR_SUCCESS) {
        call_broken(call, err);
    } else if (call->reply.body.failed) {
        call_refuse(call, AC_STORE_ERROR, "Blob Storage's answer is longer than what was asked for");
    } else if (call->reply.status == 401 && !call->rejected &&
               ac_credential_kind(call->blob->conf.credential) == AC_CREDENTIAL_TOKEN) {
        call->rejected = true;
        ac_credential_reject(call->blob->conf.credential, call->blob->conf.scope, call->token);
        call_ask(call);
    } else {
        if (call->reply.status < 200 || call->reply.status > 299) {
            ac_blob_answer_error(&call->err, call->reply.status, call->reply.code, call->skew);
            call->err.retry_after = err->retry_after;
            apr_cpystrn(call->err.upstream_id, err->upstream_id, sizeof(call->err.upstream_id));
        }
        call_end(call);
    }
}

/* ---- the request ---- */

static const ac_http_cb_t callbacks = {.on_head = on_head, .on_body = on_body, .on_end = on_end};

static apr_status_t call_send(ac_blob_call_t *call, const char *credential)
{
    ac_blob_t *blob = call->blob;
    bool key = ac_credential_kind(blob->conf.credential) == AC_CREDENTIAL_KEY;
    const char *lines[AC_BLOB_HEADERS];
    char *path = strndup(call->url.data + call->path_at, call->query_at - call->path_at);
    ac_blob_ask_t ask = {.method = call->method,
                         .path = path,
                         .query = (const char *const *)call->query,
                         .headers = (const char *const *)call->headers,
                         .len = call->body.len};
    ac_blob_auth_t auth = {.account = blob->conf.account,
                           .key = key ? credential : NULL,
                           .token = key ? NULL : credential,
                           .now = apr_time_now()};
    apr_interval_time_t left = call->deadline - ac_clock();
    ac_buf_t text;
    ac_buf_init(&text, HEADERS_ROOM + AC_BLOB_TEXT + (key ? 0 : strlen(credential)));
    apr_status_t status = path ? ac_blob_headers(lines, &text, &ask, &auth, &call->err) : APR_ENOMEM;
    bool sends = strcmp(call->method, "PUT") == 0 || strcmp(call->method, "POST") == 0;
    if (status == APR_SUCCESS) {
        ac_http_request_t request = {
            .method = call->method,
            .url = call->url.data,
            .headers = lines,
            .body = sends ? (call->body.data ? call->body.data : "") : NULL,
            .body_len = call->body.len,
            .connect_timeout = CONNECT_TIMEOUT,
            .first_byte_timeout = FIRST_BYTE_TIMEOUT,
            .idle_timeout = IDLE_TIMEOUT,
            .total_timeout = left > 0 ? left : 1,
            .max_response = call->max,
            .retries = RETRIES,
            .http_version = 1,
            .ca_file = blob->conf.ca_file,
        };
        status = ac_http_start(&call->http, blob->loop, &request, &callbacks, call, &call->err);
    }
    free(path);
    ac_buf_free(&text);
    return status;
}

static void on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    ac_blob_call_t *call = baton;
    call->waits = false;
    if (status != APR_SUCCESS || !text) {
        ac_err_set(&call->err, AC_STORE_ERROR, "there is no credential for Blob Storage: %s", err ? err->detail : "");
        call_end(call);
        return;
    }
    if (!call->method) {
        ac_buf_str(&call->reply.body, text);
        call_end(call);
        return;
    }
    free(call->token);
    call->token = ac_credential_kind(call->blob->conf.credential) == AC_CREDENTIAL_TOKEN ? strdup(text) : NULL;
    call->tries++;
    ac_buf_clear(&call->reply.body);
    call->reply.status = 0;
    call->reply.size = -1;
    if (call_send(call, text) != APR_SUCCESS) {
        call_refuse(call, AC_INTERNAL, "a request to Blob Storage could not be built");
    }
}

static void call_ask(ac_blob_call_t *call)
{
    call->waits = true;
    ac_credential_get(call->blob->conf.credential, call->blob->conf.scope, on_credential, call);
}

static void call_begin(void *baton)
{
    ac_blob_call_t *call = baton;
    ac_blob_t *blob = call->blob;
    if (blob->stopping) {
        call_refuse(call, AC_OVERLOADED, "the server is stopping");
        return;
    }
    call->next = blob->calls;
    if (call->next) {
        call->next->prev = call;
    }
    blob->calls = call;
    ac_timer_set(blob->loop, &call->timer, call->deadline, on_late, call);
    call_ask(call);
}

/* ---- the thread that waits ---- */

void ac_blob_call_log(const char *doing, const ac_err_t *err)
{
    if (err->kind != AC_NOT_FOUND) {
        ac_log(AC_M619, err->status, "files: %s: %s%s%s", doing, err->detail, *err->upstream_id ? "; request id " : "",
               err->upstream_id);
    }
}

apr_status_t ac_blob_call(ac_blob_t *blob, const ac_blob_request_t *request, ac_blob_reply_t *reply, ac_err_t *err)
{
    ac_blob_call_t *call = call_create(blob, request);
    apr_time_t deadline = call->deadline + GRACE;
    ac_err_t failed;
    memset(reply, 0, sizeof(*reply));
    ac_buf_init(&reply->body, request->max);
    ac_err_init(&failed);
    ac_handover_begin(&call->handover);
    ac_loop_post(blob->loop, call_begin, call);
    if (ac_handover_wait(&call->handover, deadline)) {
        *reply = call->reply;
        failed = call->err;
        call_free(call);
    } else {
        ac_err_set(&failed, AC_STORE_TIMEOUT, "Blob Storage did not answer in time");
    }
    if (failed.kind == AC_OK) {
        return APR_SUCCESS;
    }
    if (!request->quiet) {
        ac_blob_call_log(request->doing, &failed);
    }
    if (err && err->kind == AC_OK) {
        *err = failed;
    }
    return ac_err_row(failed.kind)->status;
}

/* ---- the life of the process ---- */

apr_status_t ac_blob_call_init(ac_blob_t *blob, const ac_host_t *host, ac_err_t *err)
{
    blob->loop = host->loop;
    blob->stopping = false;
    blob->calls = NULL;
    apr_status_t status = ac_credential_child_init(blob->conf.credential, host, err);
    blob->started = status == APR_SUCCESS;
    return status;
}

typedef struct stop_t {
    ac_blob_t *blob;
    ac_latch_t *latch;
} stop_t;

static void call_stop_all(void *baton)
{
    stop_t *stop = baton;
    stop->blob->stopping = true;
    while (stop->blob->calls) {
        call_refuse(stop->blob->calls, AC_OVERLOADED, "the server is stopping");
    }
    ac_latch_open(stop->latch);
    ac_latch_unref(stop->latch);
    free(stop);
}

void ac_blob_call_exit(ac_blob_t *blob)
{
    ac_latch_t *latch = blob->started ? ac_latch_create() : NULL;
    if (!latch) {
        return;
    }
    stop_t *stop = ac_alloc(sizeof(*stop));
    stop->blob = blob;
    stop->latch = latch;
    ac_latch_ref(latch);
    ac_loop_post(blob->loop, call_stop_all, stop);
    if (ac_latch_wait(latch, ac_clock() + STOP_PATIENCE)) {
        ac_credential_child_exit(blob->conf.credential);
    }
    ac_latch_unref(latch);
    blob->started = false;
}
