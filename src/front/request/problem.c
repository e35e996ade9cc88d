/* SPDX-License-Identifier: Apache-2.0 */
/* Problem documents (RFC 9457). Errors that httpd answers itself below a mount (a refused sign-in, a path that
 * cannot be decoded, a missing body) get one too: an error filter replaces httpd's page. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define RETRY_DEFAULT apr_time_from_sec(2) /* where a retry makes sense and no time is known */

static ap_filter_rec_t *problem_filter;

json_t *ac_problem_json(const ac_err_t *err, const char *request_id, const void *view)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    char type[64];
    json_t *problem = json_object();
    (void)view;
    apr_snprintf(type, sizeof(type), "urn:agentchat:error:%s", row->code);
    ac_json_put(problem, "type", json_string(type));
    ac_json_put(problem, "title", json_string(row->title));
    ac_json_put(problem, "status", json_integer(row->http));
    ac_json_put(problem, "detail", ac_json_text(err->detail[0] ? err->detail : row->title));
    ac_json_put(problem, "code", json_string(row->code));
    ac_json_put(problem, "request_id", ac_json_text(request_id));
    if (err->pointer[0]) {
        json_t *item = json_object();
        json_t *errors = json_array();
        ac_json_put(item, "pointer", ac_json_text(err->pointer));
        ac_json_put(item, "detail", ac_json_text(err->detail));
        json_array_append_new(errors, item);
        ac_json_put(problem, "errors", errors);
    }
    return problem;
}

char *ac_problem_text(json_t *problem, size_t *plen)
{
    char *text = json_is_string(problem) ? strdup(json_string_value(problem)) : ac_json_dump(problem, plen);
    if (text && json_is_string(problem)) {
        *plen = strlen(text);
    }
    json_decref(problem);
    return text;
}

void ac_problem_headers(request_rec *r, const ac_err_t *err, bool started)
{
    const ac_protocol_t *protocol = ac_protocol_of(r);
    const ac_err_row_t *row = ac_err_row(err->kind);
    apr_interval_time_t wait = err->retry_after;
    ac_audit_problem(r, err);
    /* Headers that a handler set for a successful answer do not belong to a problem. */
    apr_table_unset(r->headers_out, "ETag");
    apr_table_unset(r->headers_out, "Location");
    apr_table_unset(r->headers_out, "Content-Disposition");
    r->status = row->http;
    r->status_line = NULL;
    ap_set_content_type(r, protocol->problem_type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    if (wait <= 0 && row->retry && (row->http == HTTP_SERVICE_UNAVAILABLE || row->http == HTTP_TOO_MANY_REQUESTS)) {
        wait = RETRY_DEFAULT;
    }
    if (wait > 0) {
        apr_int64_t seconds = (wait + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC;
        apr_table_setn(r->headers_out, "Retry-After", apr_psprintf(r->pool, "%" APR_INT64_T_FMT, seconds));
    }
    if (err->kind == AC_UNAUTHENTICATED && !apr_table_get(r->err_headers_out, "WWW-Authenticate")) {
        apr_table_setn(r->headers_out, "WWW-Authenticate", "Bearer realm=\"agentchat\"");
    }
    if (protocol->challenge && (row->http == HTTP_UNAUTHORIZED || row->http == HTTP_FORBIDDEN)) {
        protocol->challenge(r);
    }
    if (protocol->problem_headers) {
        protocol->problem_headers(r, err, started);
    }
}

/* ---- httpd's own errors ---- */

static ac_kind_e kind_of(int status)
{
    switch (status) {
    case HTTP_UNAUTHORIZED: return AC_UNAUTHENTICATED;
    case HTTP_FORBIDDEN: return AC_FORBIDDEN;
    case HTTP_NOT_FOUND: return AC_NOT_FOUND;
    case HTTP_METHOD_NOT_ALLOWED: return AC_METHOD_NOT_ALLOWED;
    case HTTP_NOT_ACCEPTABLE: return AC_NOT_ACCEPTABLE;
    case HTTP_PRECONDITION_FAILED: return AC_PRECONDITION_FAILED;
    case HTTP_REQUEST_ENTITY_TOO_LARGE: return AC_BODY_TOO_LARGE;
    case HTTP_RANGE_NOT_SATISFIABLE: return AC_INVALID_REQUEST;
    case HTTP_UNSUPPORTED_MEDIA_TYPE: return AC_UNSUPPORTED_MEDIA;
    case HTTP_TOO_MANY_REQUESTS: return AC_RATE_LIMITED;
    case HTTP_BAD_GATEWAY: return AC_UPSTREAM_ERROR;
    case HTTP_SERVICE_UNAVAILABLE: return AC_OVERLOADED;
    case HTTP_GATEWAY_TIME_OUT: return AC_UPSTREAM_TIMEOUT;
    default: return status < 500 ? AC_INVALID_REQUEST : AC_INTERNAL;
    }
}

/* The id that the handler gave to this request, or a new one if no handler ran. */
static const char *request_id(request_rec *r)
{
    const char *id = apr_table_get(r->headers_out, "X-Request-Id");
    id = id ? id : apr_table_get(r->err_headers_out, "X-Request-Id");
    return id ? id : ac_request_create(r)->request_id;
}

static char *problem_text(request_rec *r, size_t *plen)
{
    const char *reason = ap_get_status_line(r->status) + 4; /* what follows "404 " */
    ac_err_t err;
    ac_err_init(&err);
    const char *detail = apr_table_get(r->notes, AC_NOTE_DETAIL);
    ac_err_set(&err, kind_of(r->status), "%s%s",
               detail ? "" : "the server refused the request: ", detail ? detail : reason);
    json_t *problem = ac_protocol_of(r)->problem(&err, request_id(r), NULL);
    ac_audit_problem(r, &err);
    if (json_object_get(problem, "status") && ac_err_row(err.kind)->http != r->status) {
        ac_json_put(problem, "status", json_integer(r->status));
        ac_json_put(problem, "title", ac_json_text(reason));
    }
    return ac_problem_text(problem, plen);
}

/* Drops httpd's page and sends the problem document at its end, before any header is sent. */
static apr_status_t replace_page(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    request_rec *r = filter->r;
    apr_bucket *bucket = APR_BRIGADE_FIRST(brigade);
    while (bucket != APR_BRIGADE_SENTINEL(brigade) && !APR_BUCKET_IS_EOS(bucket)) {
        apr_bucket *next = APR_BUCKET_NEXT(bucket);
        apr_bucket_delete(bucket);
        bucket = next;
    }
    if (bucket == APR_BRIGADE_SENTINEL(brigade)) {
        return APR_SUCCESS;
    }
    size_t len = 0;
    char *text = problem_text(r, &len);
    if (text) {
        APR_BUCKET_INSERT_BEFORE(bucket, apr_bucket_heap_create(text, len, free, brigade->bucket_alloc));
    }
    ap_set_content_type(r, ac_protocol_of(r)->problem_type);
    ap_set_content_length(r, (apr_off_t)len);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    if (ac_protocol_of(r)->challenge && (r->status == HTTP_UNAUTHORIZED || r->status == HTTP_FORBIDDEN)) {
        ac_protocol_of(r)->challenge(r);
    }
    ap_remove_output_filter(filter);
    return ap_pass_brigade(filter->next, brigade);
}

static void insert_filter(request_rec *r)
{
    if (r->status >= 400 && !r->main && ac_config_mount_prefix(r)) {
        ap_add_output_filter_handle(problem_filter, NULL, r, r->connection);
    }
}

void ac_problem_register(apr_pool_t *p)
{
    (void)p;
    problem_filter = ap_register_output_filter("AGENTCHAT_PROBLEM", replace_page, NULL, AP_FTYPE_RESOURCE);
    ap_hook_insert_error_filter(insert_filter, NULL, NULL, APR_HOOK_LAST);
}
