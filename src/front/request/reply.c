/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are no streams: JSON documents, texts, files, problem documents. */
#include "request.h"

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

static void send_bucket(request_rec *r, apr_bucket *bucket)
{
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    ap_set_content_length(r, (apr_off_t)bucket->length);
    APR_BRIGADE_INSERT_TAIL(brigade, bucket);
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(r->connection->bucket_alloc));
    /* httpd handles a client that has gone; there is no other answer to send. */
    ap_pass_brigade(r->output_filters, brigade);
}

static void send_body(request_rec *r, char *text, size_t len)
{
    send_bucket(r, apr_bucket_heap_create(text, len, free, r->connection->bucket_alloc));
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
    send_body(rq->r, text, len);
    return OK;
}

int ac_reply_text(ac_request_t *rq, const char *type, const char *text, size_t len)
{
    ac_audit_done(rq);
    set_common(rq);
    ap_set_content_type(rq->r, type);
    send_bucket(rq->r, apr_bucket_pool_create(text, len, rq->r->pool, rq->r->connection->bucket_alloc));
    return OK;
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
    send_bucket(r, apr_bucket_file_create(file, 0, (apr_size_t)info.size, r->pool, r->connection->bucket_alloc));
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
    /* Headers that a handler set for a successful answer do not belong to a problem. */
    apr_table_unset(rq->r->headers_out, "ETag");
    apr_table_unset(rq->r->headers_out, "Location");
    apr_table_unset(rq->r->headers_out, "Content-Disposition");
    send_body(rq->r, text, len);
    return OK;
}

/* ---- JSON lines, sent while they are made ---- */

#define WAITING_MOST (64 * 1024) /* bytes that are collected before they are sent */

void ac_reply_lines_begin(ac_reply_lines_t *lines, ac_request_t *rq, const char *type)
{
    *lines = (ac_reply_lines_t){.rq = rq, .type = type};
    lines->brigade = apr_brigade_create(rq->r->pool, rq->r->connection->bucket_alloc);
}

static void lines_begin_answer(ac_reply_lines_t *lines)
{
    ac_request_t *rq = lines->rq;
    if (lines->begun) {
        return;
    }
    lines->begun = true;
    ac_audit_done(rq);
    set_common(rq);
    ap_set_content_type(rq->r, lines->type);
    apr_table_setn(rq->r->headers_out, "X-Accel-Buffering", "no");
}

static void lines_pass(ac_reply_lines_t *lines, bool last)
{
    apr_bucket_alloc_t *alloc = lines->rq->r->connection->bucket_alloc;
    lines_begin_answer(lines);
    APR_BRIGADE_INSERT_TAIL(lines->brigade, last ? apr_bucket_eos_create(alloc) : apr_bucket_flush_create(alloc));
    apr_status_t status = ap_pass_brigade(lines->rq->r->output_filters, lines->brigade);
    apr_brigade_cleanup(lines->brigade);
    lines->gone = lines->gone || status != APR_SUCCESS || lines->rq->r->connection->aborted ||
        lines->rq->r->header_only;
}

bool ac_reply_lines_text(ac_reply_lines_t *lines, const char *text, size_t len)
{
    apr_off_t waiting = 0;
    apr_brigade_write(lines->brigade, NULL, NULL, text, len);
    if (apr_brigade_length(lines->brigade, 0, &waiting) == APR_SUCCESS && waiting > WAITING_MOST) {
        lines_pass(lines, false);
    }
    return !lines->gone;
}

bool ac_reply_lines_add(ac_reply_lines_t *lines, const json_t *value)
{
    size_t len = 0;
    char *text = value ? ac_json_dump(value, &len) : NULL;
    if (!text) {
        ac_err_set(&lines->rq->err, AC_INTERNAL, "memory ran out");
        return false;
    }
    ac_reply_lines_text(lines, text, len);
    free(text);
    return ac_reply_lines_text(lines, "\n", 1);
}

int ac_reply_lines_end(ac_reply_lines_t *lines)
{
    const ac_err_t *err = &lines->rq->err;
    if (err->kind != AC_OK && !lines->begun) {
        apr_brigade_cleanup(lines->brigade);
        return ac_reply_problem(lines->rq, NULL);
    }
    if (err->kind != AC_OK) {
        json_t *line =
            json_pack("{s:s, s:s, s:s}", "object", "error", "code", ac_err_row(err->kind)->code, "detail", err->detail);
        log_problem(lines->rq, err);
        ac_reply_lines_add(lines, line);
        json_decref(line);
    }
    lines_pass(lines, true);
    return OK;
}
