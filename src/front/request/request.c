/* SPDX-License-Identifier: Apache-2.0 */
/* The request of a client: its id, its owner, Accept, the body. The query string is in query.c. */
#include "front/stream/stream.h"
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"

#define READ_SIZE 8192
#define REQUEST_KEY "agentchat-request" /* userdata of r->pool */

/* ---- the request itself ---- */

static bool request_id_sane(const char *id)
{
    size_t len = id ? strlen(id) : 0;
    return len >= 1 && len < sizeof(((ac_request_t *)0)->request_id) &&
        strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* mod_otel has a span of its own for the request, whose ids it leaves in these variables. */
static void find_trace(ac_request_t *rq)
{
    const request_rec *r = rq->r;
    const apr_table_t *env = r->subprocess_env;
    const char *id = apr_table_get(env, "OTEL_TRACEID"), *span = apr_table_get(env, "OTEL_SPANID"),
               *flags = apr_table_get(env, "OTEL_TRACEFLAGS");
    const char *made = id && span ? apr_pstrcat(r->pool, "00-", id, "-", span, "-", flags ? flags : "00", NULL) : NULL;
    const char *state = apr_table_get(env, "OTEL_TRACESTATE");
    rq->has_otel_span = made && ac_trace_parse(&rq->trace, made);
    if (!rq->has_otel_span) {
        ac_trace_parse(&rq->trace, apr_table_get(r->headers_in, "traceparent"));
        state = apr_table_get(r->headers_in, "tracestate");
    }
    if (rq->trace.trace_id[0] && ac_trace_state_valid(state)) {
        rq->trace.state = state;
    }
}

ac_request_t *ac_request_get(const request_rec *r)
{
    void *rq = NULL;
    apr_pool_userdata_get(&rq, REQUEST_KEY, r->pool);
    return rq;
}

ac_request_t *ac_request_create(request_rec *r)
{
    ac_request_t *rq = apr_pcalloc(r->pool, sizeof(*rq));
    const char *given = apr_table_get(r->headers_in, "X-Request-Id");
    rq->r = r;
    rq->mount = ac_mount_conf(r);
    rq->doing = "reading the request";
    ac_err_init(&rq->err);
    find_trace(rq);
    apr_pool_userdata_setn(rq, REQUEST_KEY, NULL, r->pool);
    if (request_id_sane(given)) {
        apr_cpystrn(rq->request_id, given, sizeof(rq->request_id));
    } else {
        char id[AC_ID_SIZE];
        ac_id_make(id, "req_");
        apr_cpystrn(rq->request_id, id, sizeof(rq->request_id));
    }
    /* This is an error header, so that an answer of httpd itself has it too. */
    apr_table_setn(r->err_headers_out, "X-Request-Id", rq->request_id);
    return rq;
}

apr_status_t ac_request_owner(ac_request_t *rq)
{
    apr_status_t status = ac_principal_find(&rq->principal, rq->r, &rq->err);
    rq->owner = status == APR_SUCCESS ? rq->principal->owner : NULL;
    return status;
}

static apr_status_t drop_summary(void *summary)
{
    ac_run_summary_unref(summary);
    return APR_SUCCESS;
}

ac_run_summary_t *ac_request_summary(ac_request_t *rq)
{
    if (!rq->summary) {
        rq->summary = ac_run_summary_create();
        apr_pool_cleanup_register(rq->r->pool, rq->summary, drop_summary, apr_pool_cleanup_null);
    }
    return rq->summary;
}

/* ---- for the dialect ---- */

static apr_status_t view_free(void *view)
{
    free(view);
    return APR_SUCCESS;
}

void *ac_request_view_make(ac_request_t *rq, size_t size)
{
    rq->view = ac_alloc(size);
    apr_pool_cleanup_register(rq->r->pool, rq->view, view_free, apr_pool_cleanup_null);
    return rq->view;
}

void *ac_request_view_take(ac_request_t *rq)
{
    void *view = rq->view;
    if (view) {
        apr_pool_cleanup_kill(rq->r->pool, view, view_free);
    }
    rq->view = NULL;
    return view;
}

/* ---- Accept ---- */

typedef struct weight_t {
    int specific; /* 3: the type itself, 2: type slash star, 1: any, 0: not named */
    int q;        /* thousandths */
} weight_t;

static bool request_is_token(const char *text, size_t len, const char *token)
{
    return len == strlen(token) && strncasecmp(text, token, len) == 0;
}

/* How specifically a media range, "type/subtype;q=0.5", names a type; 0: not at all. */
static int range_specific(const char *range, size_t len, const char *type)
{
    size_t name_len = strcspn(range, ";,");
    const char *slash = strchr(type, '/');
    size_t major = (size_t)(slash - type) + 1, type_len = strcspn(type, ";");
    name_len = name_len < len ? name_len : len;
    while (name_len && apr_isspace(range[name_len - 1])) {
        name_len--;
    }
    if (name_len == type_len && strncasecmp(range, type, type_len) == 0) {
        return 3;
    }
    if (request_is_token(range, name_len, "*/*")) {
        return 1;
    }
    return name_len == major + 1 && strncasecmp(range, type, major) == 0 && range[major] == '*' ? 2 : 0;
}

/* "0", "1", "0.5", "0.125" in thousandths; anything else counts as 1. */
static int parse_q(const char *text, const char *end)
{
    int q = 0, scale = 1000;
    if (text == end || (*text != '0' && *text != '.')) {
        return 1000;
    }
    for (text += *text == '0'; text < end && (*text == '.' || apr_isdigit(*text)) && scale > 1; text++) {
        if (*text != '.') {
            scale /= 10;
            q += (*text - '0') * scale;
        }
    }
    return q;
}

static int range_q(const char *range, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (range[i] != ';') {
            continue;
        }
        i += 1 + strspn(range + i + 1, " \t");
        if (i + 2 < len && (range[i] == 'q' || range[i] == 'Q') && range[i + 1] == '=') {
            return parse_q(range + i + 2, range + len);
        }
        i--;
    }
    return 1000;
}

static weight_t accept_weight(const char *accept, const char *type)
{
    weight_t weight = {0, 0};
    while (*accept) {
        accept += strspn(accept, " \t,");
        size_t len = strcspn(accept, ",");
        int specific = range_specific(accept, len, type);
        if (specific > weight.specific) {
            weight = (weight_t){specific, range_q(accept, len)};
        }
        accept += len;
    }
    return weight;
}

/* The Accept header; NULL: the client did not send it, or with nothing in it. */
static const char *accept_header(const ac_request_t *rq)
{
    const char *accept = apr_table_get(rq->r->headers_in, "Accept");
    return accept && accept[strspn(accept, " \t,")] ? accept : NULL;
}

/* The route's dialect that accept prefers, of those that stream or of the documents: the first one of those with the
 * highest weight, which goes to *pweight. NULL: the route has no such dialect. */
static const ac_dialect_t *preferred_dialect(weight_t *pweight, const ac_request_t *rq, const char *accept, bool stream)
{
    const ac_dialect_t *best = NULL;
    *pweight = (weight_t){0, 0};
    for (const ac_dialect_t *dialect = rq->route->dialect; dialect; dialect = dialect->next) {
        weight_t weight = accept ? accept_weight(accept, dialect->media_type) : (weight_t){0, 0};
        if (dialect->stream == stream && (!best || weight.q > pweight->q)) {
            best = dialect;
            *pweight = weight;
        }
    }
    return best;
}

apr_status_t ac_request_accept(ac_request_t *rq)
{
    const char *accept = accept_header(rq);
    weight_t stream;
    if (!accept || ac_protocol_of(rq->r)->any_accept || accept_weight(accept, "application/json").q ||
        accept_weight(accept, "text/event-stream").q) {
        return APR_SUCCESS;
    }
    preferred_dialect(&stream, rq, accept, true);
    if (stream.q || ((rq->route->needs & AC_ALSO_CSV) && accept_weight(accept, "text/csv").q) ||
        ((rq->route->needs & AC_IS_LINES) &&
         (accept_weight(accept, AC_REPLY_LINES_TYPE).q || accept_weight(accept, "text/markdown").q))) {
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_NOT_ACCEPTABLE, "answers are application/json or text/event-stream");
}

bool ac_request_takes(const ac_request_t *rq, const char *type)
{
    const char *accept = accept_header(rq);
    return !accept || accept_weight(accept, type).q > 0;
}

bool ac_request_prefers_csv(const ac_request_t *rq)
{
    const char *accept = accept_header(rq);
    return accept && accept_weight(accept, "text/csv").q > accept_weight(accept, "application/json").q;
}

bool ac_request_prefers_stream(const ac_request_t *rq, bool fallback)
{
    const char *accept = accept_header(rq);
    weight_t document, stream;
    if (!accept) {
        return fallback;
    }
    preferred_dialect(&document, rq, accept, false);
    preferred_dialect(&stream, rq, accept, true);
    if (!document.q || !stream.q) {
        return document.q == stream.q ? fallback : stream.q > 0;
    }
    /* A wildcard does not ask for a stream; many clients send one in all requests. */
    if (stream.specific < 3) {
        return fallback;
    }
    return document.specific < 3 || document.q < stream.q ? true : document.q > stream.q ? false : fallback;
}

const ac_dialect_t *ac_request_dialect(const ac_request_t *rq, bool stream)
{
    weight_t weight;
    const ac_dialect_t *dialect = preferred_dialect(&weight, rq, accept_header(rq), stream);
    return dialect ? dialect : rq->route->dialect;
}

/* ---- the body ---- */

static int64_t body_max(const ac_request_t *rq)
{
    return rq->mount->max_body > 0 ? rq->mount->max_body : AC_MAX_BODY_DEFAULT;
}

static apr_status_t too_large(ac_request_t *rq, int64_t max)
{
    return ac_err_set(&rq->err, AC_BODY_TOO_LARGE, "the body may have at most %" APR_INT64_T_FMT " bytes", max);
}

/* Reading the body failed. 413 gets our own text. The rest is between httpd and the client: a timeout, a broken
 * chunk, a lost connection, or an answer that a filter has already sent. */
static apr_status_t unreadable(ac_request_t *rq, apr_status_t status)
{
    int answer = ap_map_http_request_error(status, HTTP_BAD_REQUEST);
    if (answer == HTTP_REQUEST_ENTITY_TOO_LARGE) {
        return ac_err_set(&rq->err, AC_BODY_TOO_LARGE, "the body is larger than the server allows");
    }
    if (answer == HTTP_BAD_REQUEST && !rq->r->connection->aborted) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "the body could not be read to its end");
    }
    rq->httpd_answer = answer;
    return ac_err_set(&rq->err, AC_INVALID_REQUEST, "the body did not come");
}

typedef struct reading_t {
    ac_request_piece_fn *piece; /* NULL: what comes is dropped */
    void *baton;
    int64_t total, max;
    bool end;
} reading_t;

static apr_status_t take_buckets(ac_request_t *rq, reading_t *reading, apr_bucket_brigade *brigade)
{
    apr_bucket *bucket;
    while (!reading->end && !APR_BRIGADE_EMPTY(brigade)) {
        const char *bytes;
        apr_size_t len;
        bucket = APR_BRIGADE_FIRST(brigade);
        if (APR_BUCKET_IS_EOS(bucket)) {
            reading->end = true;
        } else if (!APR_BUCKET_IS_METADATA(bucket)) {
            apr_status_t status = apr_bucket_read(bucket, &bytes, &len, APR_BLOCK_READ);
            if (status != APR_SUCCESS) {
                return unreadable(rq, status);
            }
            reading->total += (int64_t)len;
            if (reading->total > reading->max) {
                return too_large(rq, reading->max);
            }
            status = reading->piece ? reading->piece(reading->baton, bytes, len, &rq->err) : APR_SUCCESS;
            if (status != APR_SUCCESS) {
                return status;
            }
        }
        apr_bucket_delete(bucket);
    }
    return APR_SUCCESS;
}

apr_status_t ac_request_body_pieces(ac_request_t *rq, int64_t max, ac_request_piece_fn *piece, void *baton)
{
    request_rec *r = rq->r;
    const char *declared = apr_table_get(r->headers_in, "Content-Length");
    if (rq->body_read) {
        return APR_SUCCESS;
    }
    if (declared && apr_atoi64(declared) > max) {
        return too_large(rq, max);
    }
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    reading_t reading = {.piece = piece, .baton = baton, .max = max};
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && !reading.end) {
        status = ap_get_brigade(r->input_filters, brigade, AP_MODE_READBYTES, APR_BLOCK_READ, READ_SIZE);
        if (status == APR_SUCCESS && APR_BRIGADE_EMPTY(brigade)) {
            status = APR_EOF;
        }
        status = status == APR_SUCCESS ? take_buckets(rq, &reading, brigade) : unreadable(rq, status);
        apr_brigade_cleanup(brigade);
    }
    apr_brigade_destroy(brigade);
    rq->body_read = reading.end;
    return status;
}

apr_status_t ac_request_body_drop(ac_request_t *rq)
{
    return ac_request_body_pieces(rq, body_max(rq), NULL, NULL);
}

static apr_status_t add_to_buf(void *buf, const char *bytes, size_t len, ac_err_t *err)
{
    return ac_buf_add(buf, bytes, len) == APR_SUCCESS ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "memory ran out");
}

/* A body without a type is accepted as JSON, except from a browser, which sends its page's Origin with each POST:
 * without a preflight, a page of another site can only send bodies that are not JSON or have no type. */
static apr_status_t check_media(ac_request_t *rq, bool empty)
{
    const char *type = apr_table_get(rq->r->headers_in, "Content-Type");
    const char *encoding = apr_table_get(rq->r->headers_in, "Content-Encoding");
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        return ac_err_set(&rq->err, AC_UNSUPPORTED_MEDIA, "an encoded body is not read here");
    }
    if ((!type || !*type) && (empty || !apr_table_get(rq->r->headers_in, "Origin"))) {
        return APR_SUCCESS;
    }
    type = type ? type : "";
    size_t len = strcspn(type, "; \t");
    if (request_is_token(type, len, "application/json") ||
        (len > 17 && strncasecmp(type, "application/", 12) == 0 && strncasecmp(type + len - 5, "+json", 5) == 0)) {
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_UNSUPPORTED_MEDIA, "the body must be application/json");
}

static apr_status_t free_json(void *value)
{
    json_decref(value);
    return APR_SUCCESS;
}

apr_status_t ac_request_body(ac_request_t *rq, bool required)
{
    ac_buf_t body;
    ac_buf_init(&body, (size_t)body_max(rq));
    apr_status_t status = ac_request_body_pieces(rq, body_max(rq), add_to_buf, &body);
    if (status == APR_SUCCESS) {
        status = check_media(rq, !body.len);
    }
    if (status == APR_SUCCESS && !body.len && !required) {
        goto leave;
    }
    if (status == APR_SUCCESS && !body.len) {
        status = ac_err_set(&rq->err, AC_BAD_JSON, "the body is empty; it must be a JSON object");
    }
    if (status == APR_SUCCESS) {
        status = ac_json_parse(&rq->body, body.data, body.len, &rq->err);
    }
    if (status == APR_SUCCESS) {
        apr_pool_cleanup_register(rq->r->pool, rq->body, free_json, apr_pool_cleanup_null);
        if (!json_is_object(rq->body)) {
            status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "the body must be a JSON object");
        }
    }
leave:
    ac_buf_free(&body);
    return status;
}

void ac_request_body_free(ac_request_t *rq)
{
    if (rq->body) {
        apr_pool_cleanup_run(rq->r->pool, rq->body, free_json);
        rq->body = NULL;
    }
}
