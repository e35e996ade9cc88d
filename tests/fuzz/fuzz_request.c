/* SPDX-License-Identifier: Apache-2.0 */
/* A client's request. Lines: the query string, Accept, If-Match, If-None-Match, an entity tag, an origin. Any input
 * gives an error with a reason or a value that the types allow. The few functions of httpd are replaced here. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#ifdef __clang__
#pragma GCC diagnostic ignored "-Wnull-pointer-subtraction" /* of APR's brigades */
#endif
#include "front/request/precondition.c"
#include "front/request/query.c"
#include "front/request/request.c"
#include "front/auth/cors.c"
#include "front/config/config_section.c"
#include "front/stream/stream.h"
#include "fuzz_pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

module AP_MODULE_DECLARE_DATA agentchat_module;
static ac_mount_conf_t mount;

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

const ac_mount_conf_t *ac_mount_conf(const request_rec *r)
{
    (void)r;
    return &mount;
}

const ac_protocol_t *ac_protocol_of(const request_rec *r)
{
    static const ac_protocol_t native = {.title = "this API"};
    (void)r;
    return &native;
}

static char *take_line(const char **ptext, const char *end, apr_pool_t *p)
{
    const char *lf = memchr(*ptext, '\n', (size_t)(end - *ptext));
    char *line = apr_pstrndup(p, *ptext, (size_t)((lf ? lf : end) - *ptext));
    *ptext = lf ? lf + 1 : end;
    return line;
}

/* ---- httpd, and of ours what none of this calls ---- */

AP_DECLARE(int) ap_cstr_casecmp(const char *a, const char *b)
{
    return strcasecmp(a, b);
}

AP_DECLARE(int) ap_cstr_casecmpn(const char *a, const char *b, apr_size_t n)
{
    return strncasecmp(a, b, n);
}

#pragma GCC diagnostic ignored "-Wunused-parameter"
#define NOT_CALLED(type, name, ...) \
    type name(__VA_ARGS__) \
    { \
        abort(); \
    }
NOT_CALLED(AP_DECLARE(apr_status_t), ap_get_brigade, ap_filter_t *f, apr_bucket_brigade *b, ap_input_mode_t m,
           apr_read_type_e t, apr_off_t n)
NOT_CALLED(AP_DECLARE(int), ap_map_http_request_error, apr_status_t status, int fallback)
NOT_CALLED(AP_DECLARE(apr_status_t), ap_pass_brigade, ap_filter_t *f, apr_bucket_brigade *b)
NOT_CALLED(AP_DECLARE(const char *), ap_scan_http_token, const char *text)
NOT_CALLED(AP_DECLARE(const char *), ap_ssl_var_lookup, apr_pool_t *p, server_rec *s, conn_rec *c, request_rec *r,
           const char *name)
NOT_CALLED(AP_DECLARE(int), ap_strcasecmp_match, const char *text, const char *pattern)
NOT_CALLED(bool, ac_config_mount_is_here, request_rec *r)
NOT_CALLED(apr_status_t, ac_principal_find, const ac_principal_t **pprincipal, request_rec *r, ac_err_t *err)
NOT_CALLED(void, ac_log_front_request, ac_log_id_e n, const char *f, int l, int m, apr_status_t s, const request_rec *r,
           const char *t, ...)

/* ---- one request ---- */

static void check_query(ac_request_t *rq)
{
    static const char *const names[] = {"limit", "after", "history", "message", NULL};
    ac_page_t page;
    bool flag;
    memset(&page, 0, sizeof(page));
    if (ac_query_read(rq, names) != APR_SUCCESS) {
        must(rq->err.kind != AC_OK);
        return;
    }
    for (int i = 0; names[i]; i++) {
        const char *value = ac_query_get(rq, names[i]);
        must(!value || ac_utf8_valid(value, strlen(value)));
    }
    ac_query_bool(rq, &flag, "history", true);
    ac_err_init(&rq->err);
    if (ac_query_page(rq, &page) == APR_SUCCESS) {
        must(page.limit >= 1 && page.limit <= AC_MAX_PAGE && strlen(page.after) < sizeof(page.after));
    } else {
        must(rq->err.kind == AC_INVALID_REQUEST);
    }
}

static void check_tags(ac_request_t *rq, const char *etag)
{
    const apr_array_header_t *tags = NULL;
    ac_err_init(&rq->err);
    if (ac_precondition_if_match(rq, &tags) == APR_SUCCESS) {
        for (int i = 0; i < tags->nelts; i++) {
            const char *tag = APR_ARRAY_IDX(tags, i, const char *);
            must(*tag == '"' && strlen(tag) >= 2 && strlen(tag) < AC_ETAG_SIZE && tag[strlen(tag) - 1] == '"');
        }
    } else {
        must(rq->err.kind != AC_OK);
    }
    ac_precondition_none_match(rq, etag);
}

static void check_origin(request_rec *r, const char *origin)
{
    mount.cors_origins = apr_array_make(r->pool, 1, sizeof(const char *));
    APR_ARRAY_PUSH(mount.cors_origins, const char *) = origin;
    const char *problem = ac_config_section_problem(&mount, r->pool);
    must(problem || !strpbrk(origin, " \r\n,/\"") ||
         (strstr(origin, "://") && !strpbrk(strstr(origin, "://") + 3, " \r\n,/\"")));
    must(is_listed(&mount, origin));
    is_own_host(r, origin);
    mount.cors_origins = NULL;
}

/* A route that answers with a document or with events. */
static const ac_dialect_t event_dialect = {.name = "events", .media_type = "text/event-stream", .stream = true};
static const ac_dialect_t json_dialect = {.name = "json", .media_type = "application/json", .next = &event_dialect};
static const ac_route_t chat_route = {.dialect = &json_dialect};

static void check(const char *text, const char *end, apr_pool_t *p)
{
    static conn_rec connection;
    static server_rec server;
    request_rec *r = apr_pcalloc(p, sizeof(*r));
    r->pool = p;
    r->request_config = apr_pcalloc(p, sizeof(void *));
    r->args = take_line(&text, end, p);
    r->headers_in = apr_table_make(p, 4);
    r->subprocess_env = apr_table_make(p, 4);
    r->err_headers_out = apr_table_make(p, 4);
    r->connection = &connection;
    r->server = &server;
    r->hostname = "chat.example.com";
    apr_table_setn(r->headers_in, "Accept", take_line(&text, end, p));
    apr_table_setn(r->headers_in, "If-Match", take_line(&text, end, p));
    apr_table_setn(r->headers_in, "If-None-Match", take_line(&text, end, p));
    const char *etag = take_line(&text, end, p), *origin = take_line(&text, end, p);
    apr_table_setn(r->headers_in, "X-Forwarded-Host", take_line(&text, end, p));
    ac_request_t *rq = ac_request_create(r);
    rq->route = &chat_route;
    check_query(rq);
    ac_err_init(&rq->err);
    must((ac_request_accept(rq) == APR_SUCCESS) == (rq->err.kind == AC_OK));
    ac_request_prefers_stream(rq, true);
    check_tags(rq, etag);
    check_origin(r, origin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    check((const char *)data, (const char *)data + size, p);
    apr_pool_destroy(p);
    return 0;
}
