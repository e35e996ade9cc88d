/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are no streams: JSON documents, texts, files, problem documents. */
#include "front/stream/stream.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

APLOG_USE_MODULE(agentchat);

/* An unread body must be read before the next request. A large body, or one of unknown length, is not worth it: the
 * connection closes. HTTP/2 can end a stream without its connection. */
static void close_unless_drained(const ac_request_t *rq)
{
    request_rec *r = rq->r;
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    if (rq->body_read || r->connection->master) {
        return;
    }
    if (apr_table_get(r->headers_in, "Transfer-Encoding") || (length && apr_atoi64(length) > AC_MAX_BODY_DEFAULT)) {
        apr_table_setn(r->headers_out, "Connection", "close");
    }
}

/* httpd takes this much without waiting for the client: FlushMaxThreshold is 64 KB. */
#define AT_ONCE (32 * 1024)

static void send_bucket(request_rec *r, apr_bucket *bucket)
{
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    APR_BRIGADE_INSERT_TAIL(brigade, bucket);
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(r->connection->bucket_alloc));
    /* httpd handles a client that has gone; there is no other answer to send. */
    ap_pass_brigade(r->output_filters, brigade);
}

typedef struct text_t {
    const char *bytes;
    size_t len;
} text_t;

static apr_status_t next_text(void *baton, const char **pbytes, size_t *plen)
{
    text_t *text = baton;
    *pbytes = text->bytes;
    *plen = text->len;
    text->len = 0;
    return APR_SUCCESS;
}

/* text: lives as long as the request. */
static int send_text(ac_request_t *rq, const char *text, size_t len)
{
    request_rec *r = rq->r;
    ap_set_content_length(r, (apr_off_t)len);
    if (len <= AT_ONCE) {
        send_bucket(r, apr_bucket_pool_create(text, len, r->pool, r->connection->bucket_alloc));
        return OK;
    }
    text_t *all = apr_palloc(r->pool, sizeof(*all));
    *all = (text_t){text, len};
    const ac_paced_source_t source = {.next = next_text, .baton = all, .fd = -1};
    return ac_paced_send(r, rq->body_read, &source);
}

static apr_status_t free_text(void *text)
{
    free(text);
    return APR_SUCCESS;
}

/* Consumes text. */
static int send_body(ac_request_t *rq, char *text, size_t len)
{
    if (len > AT_ONCE) {
        apr_pool_cleanup_register(rq->r->pool, text, free_text, apr_pool_cleanup_null);
        return send_text(rq, text, len);
    }
    ap_set_content_length(rq->r, (apr_off_t)len);
    send_bucket(rq->r, apr_bucket_heap_create(text, len, free, rq->r->connection->bucket_alloc));
    return OK;
}

static void set_common(ac_request_t *rq)
{
    apr_table_setn(rq->r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(rq->r->headers_out, "X-Content-Type-Options", "nosniff");
    ac_timing_add(rq->r, NULL);
    close_unless_drained(rq);
}

int ac_reply_json(ac_request_t *rq, int status, json_t *value)
{
    size_t len = 0;
    char *text = value ? ac_json_dump(value, &len) : NULL;
    json_decref(value);
    if (!text) {
        ac_err_set(&rq->err, AC_INTERNAL, "the answer could not be written");
        return ac_reply_problem(rq, NULL);
    }
    ac_audit_done(rq);
    set_common(rq);
    rq->r->status = status;
    ap_set_content_type(rq->r, "application/json");
    return send_body(rq, text, len);
}

int ac_reply_text(ac_request_t *rq, const char *type, const char *text, size_t len)
{
    ac_audit_done(rq);
    set_common(rq);
    ap_set_content_type(rq->r, type);
    return send_text(rq, text, len);
}

int ac_reply_file(ac_request_t *rq, const char *type, const char *path)
{
    request_rec *r = rq->r;
    apr_file_t *file = NULL;
    apr_finfo_t info;
    apr_status_t status = apr_file_open(&file, path, APR_READ, APR_OS_DEFAULT, r->pool);
    if (status == APR_SUCCESS) {
        status = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_SIZE, file);
    }
    if (status != APR_SUCCESS || info.filetype != APR_REG || info.size <= 0 || info.size > AC_MAX_STATIC_FILE) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "the file cannot be read");
        return ac_reply_problem(rq, NULL);
    }
    set_common(rq);
    ap_set_content_type(r, type);
    apr_bucket *whole = apr_bucket_file_create(file, 0, (apr_size_t)info.size, r->pool, r->connection->bucket_alloc);
    apr_bucket_file_enable_mmap(whole, 0); /* httpd's filter would wait for the client of a mapped file */
    ap_set_content_length(r, info.size);
    send_bucket(r, whole);
    return OK;
}

int ac_reply_empty(ac_request_t *rq, int status)
{
    request_rec *r = rq->r;
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, alloc);
    ac_audit_done(rq);
    set_common(rq);
    r->status = status;
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
    ap_pass_brigade(r->output_filters, brigade);
    return OK;
}

/* ---- problems ---- */

static void log_problem(const ac_request_t *rq, const ac_err_t *err)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    const char *route = rq->route ? rq->route->pattern : "-";
    if (row->http < 500 || err->kind == AC_STOPPING) {
        ac_log_request(0, err->status, rq->r, "request[%s] %s %s: %s: %s", rq->request_id, rq->r->method, route,
                       row->code, err->detail);
    } else if (strcmp(row->fault, "operator") == 0) {
        ac_log_request(AC_M651, err->status, rq->r, "request[%s] %s %s: %s: %s", rq->request_id, rq->r->method, route,
                       row->code, err->detail);
    } else {
        ac_log_request(AC_M652, err->status, rq->r, "request[%s] %s %s: %s: %s", rq->request_id, rq->r->method, route,
                       row->code, err->detail);
    }
}

int ac_reply_problem(ac_request_t *rq, const ac_err_t *err)
{
    if (rq->httpd_answer) {
        return rq->httpd_answer;
    }
    ac_err_t shown = err ? *err : rq->err;
    if (shown.kind == AC_OK) {
        ac_err_set(&shown, AC_INTERNAL, "an error without a reason");
    }
    if (strcmp(ac_err_row(shown.kind)->fault, "client") != 0) {
        ac_err_while(&shown, rq->doing);
    }
    log_problem(rq, &shown);
    size_t len = 0;
    char *text = ac_problem_text(ac_protocol_of(rq->r)->problem(&shown, rq->request_id, rq->view), &len);
    if (!text) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    set_common(rq);
    ac_problem_headers(rq->r, &shown, false);
    return send_body(rq, text, len);
}

/* ---- answers that are made while they are sent ---- */

#define WAITING_MOST (64 * 1024) /* bytes that are collected before they are sent */

bool ac_reply_lines_text(ac_reply_lines_t *lines, const char *text, size_t len)
{
    lines->n_added += (int64_t)len;
    return ac_buf_add(&lines->text, text, len) == APR_SUCCESS;
}

bool ac_reply_lines_add(ac_reply_lines_t *lines, const json_t *value)
{
    size_t len = 0;
    char *text = value ? ac_json_dump(value, &len) : NULL;
    bool fine = text && ac_reply_lines_text(lines, text, len) && ac_reply_lines_text(lines, "\n", 1);
    free(text);
    if (!fine) {
        ac_err_set(&lines->rq->err, AC_INTERNAL, "memory ran out");
    }
    return fine;
}

/* Collects lines, as many as are worth sending. */
static void collect_lines(ac_reply_lines_t *lines)
{
    ac_buf_clear(&lines->text);
    while (!lines->over && lines->text.len < WAITING_MOST) {
        lines->over = !lines->next(lines, lines->baton) || lines->rq->err.kind != AC_OK;
    }
}

static void lines_add_error(ac_reply_lines_t *lines)
{
    const ac_err_t *err = &lines->rq->err;
    json_t *line =
        json_pack("{s:s, s:s, s:s}", "object", "error", "code", ac_err_row(err->kind)->code, "detail", err->detail);
    log_problem(lines->rq, err);
    ac_reply_lines_add(lines, line);
    json_decref(line);
}

static apr_status_t next_lines(void *baton, const char **pbytes, size_t *plen)
{
    ac_reply_lines_t *lines = baton;
    if (lines->begun) {
        collect_lines(lines);
        if (lines->over && lines->rq->err.kind != AC_OK && !lines->failed) {
            lines->failed = true;
            lines_add_error(lines);
        }
    }
    lines->begun = true;
    *pbytes = lines->text.data;
    *plen = lines->text.len;
    return APR_SUCCESS;
}

static apr_status_t free_lines(void *lines)
{
    ac_buf_free(&((ac_reply_lines_t *)lines)->text);
    return APR_SUCCESS;
}

int ac_reply_lines(ac_request_t *rq, const char *type, ac_reply_lines_fn *next, void *baton)
{
    ac_reply_lines_t *lines = apr_pcalloc(rq->r->pool, sizeof(*lines));
    lines->rq = rq;
    lines->next = next;
    lines->baton = baton;
    ac_buf_init(&lines->text, AC_MAX_JSON_TEXT);
    apr_pool_cleanup_register(rq->r->pool, lines, free_lines, apr_pool_cleanup_null);
    collect_lines(lines);
    if (rq->err.kind != AC_OK) {
        return ac_reply_problem(rq, NULL);
    }
    ac_audit_done(rq);
    set_common(rq);
    ap_set_content_type(rq->r, type);
    apr_table_setn(rq->r->headers_out, "X-Accel-Buffering", "no");
    const ac_paced_source_t source = {.next = next_lines, .baton = lines, .fd = -1};
    return ac_paced_send(rq->r, rq->body_read, &source);
}
