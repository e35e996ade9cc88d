/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body, query string, Accept, owner and preconditions. This file replaces the few functions of httpd
 * that they call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/request/precondition.c"
#include "front/auth/principal.c"
#include "front/request/query.c"
#include "front/request/request.c"

#include <apr_general.h>

/* ---- httpd, as far as it is needed ---- */

module AP_MODULE_DECLARE_DATA agentchat_module; /* its index is 0 */

AP_DECLARE(char *) ap_getword_conf(apr_pool_t *p, const char **pline)
{
    const char *word = *pline;
    *pline += strlen(word);
    return apr_pstrdup(p, word);
}

AP_DECLARE(apr_status_t)
ap_register_auth_provider(apr_pool_t *p, const char *group, const char *name, const char *version, const void *provider,
                          int type)
{
    (void)p;
    (void)group;
    (void)name;
    (void)version;
    (void)provider;
    (void)type;
    return APR_SUCCESS;
}

const char *ap_auth_type(request_rec *r)
{
    (void)r;
    return NULL;
}

apr_status_t ac_sign_in_unasked(request_rec *r, ac_err_t *err)
{
    (void)r;
    (void)err;
    return APR_SUCCESS; /* no request has a key here */
}

apr_status_t ac_host_check(request_rec *r, ac_err_t *err)
{
    (void)r;
    (void)err;
    return APR_SUCCESS; /* every name is the server's own here */
}

static ac_mount_conf_t mount;
static const char *const *pieces; /* what the client sends, NULL-terminated */
static apr_status_t last_status;  /* the status instead of the end; APR_SUCCESS: EOS */

const ac_mount_conf_t *ac_mount_conf(const request_rec *r)
{
    (void)r;
    return &mount;
}

apr_status_t ap_get_brigade(ap_filter_t *filter, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                            apr_read_type_e block, apr_off_t readbytes)
{
    apr_bucket_alloc_t *alloc = brigade->bucket_alloc;
    (void)filter;
    (void)readbytes;
    assert_int_equal(mode, AP_MODE_READBYTES);
    assert_int_equal(block, APR_BLOCK_READ);
    if (*pieces) {
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_immortal_create(*pieces, strlen(*pieces), alloc));
        pieces++;
        return APR_SUCCESS;
    }
    if (last_status == APR_SUCCESS) {
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
    }
    return last_status;
}

int ap_map_http_request_error(apr_status_t status, int fallback)
{
    return status == AP_FILTER_ERROR ? AP_FILTER_ERROR
        : status == APR_TIMEUP       ? HTTP_REQUEST_TIME_OUT
        : status == APR_ENOSPC       ? HTTP_REQUEST_ENTITY_TOO_LARGE
                                     : fallback;
}

/* ---- one request ---- */

static apr_pool_t *pool;
static conn_rec connection;

static ac_request_t *make(const char *args)
{
    request_rec *r = apr_pcalloc(pool, sizeof(*r));
    r->pool = pool;
    r->request_config = apr_pcalloc(pool, sizeof(void *));
    r->args = (char *)args;
    r->headers_in = apr_table_make(pool, 4);
    r->err_headers_out = apr_table_make(pool, 4);
    r->connection = &connection;
    return ac_request_create(r);
}

static void header(ac_request_t *rq, const char *name, const char *value)
{
    apr_table_set(rq->r->headers_in, name, value);
}

static int before(void **state)
{
    (void)state;
    static const char *const nothing[] = {NULL};
    memset(&mount, 0, sizeof(mount));
    memset(&connection, 0, sizeof(connection));
    pieces = nothing;
    last_status = APR_SUCCESS;
    apr_pool_create(&pool, NULL);
    connection.bucket_alloc = apr_bucket_alloc_create(pool);
    return 0;
}

static int after(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

static ac_kind_e body_kind(const char *const *sent, const char *type, bool required)
{
    ac_request_t *rq = make(NULL);
    pieces = sent;
    if (type) {
        header(rq, "Content-Type", type);
    }
    apr_status_t status = ac_request_body(rq, required);
    assert_int_equal(status == APR_SUCCESS, rq->err.kind == AC_OK);
    return rq->err.kind;
}
#define SENT(...) \
    (const char *const[]) \
    { \
        __VA_ARGS__, NULL \
    }
#define NOTHING \
    (const char *const[]) \
    { \
        NULL \
    }

/* ---- the body ---- */

static void test_body_in_pieces(void **state)
{
    (void)state;
    ac_request_t *rq = make(NULL);
    pieces = SENT("{\"a", "\":", "\"b\"", "}");
    assert_int_equal(ac_request_body(rq, true), APR_SUCCESS);
    assert_string_equal(ac_json_peek_string(rq->body, "a", ""), "b");
    assert_true(rq->body_read);
}

static void test_body_media(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        ac_kind_e kind;
    } cases[] = {
        {NULL, AC_OK},
        {"", AC_OK},
        {"application/json", AC_OK},
        {"Application/JSON; charset=utf-8", AC_OK},
        {"application/json;x", AC_OK},
        {"application/merge-patch+json", AC_OK},
        {"application/x+JSON ; a=b", AC_OK},
        {"text/plain", AC_UNSUPPORTED_MEDIA},
        {"application/jsonp", AC_UNSUPPORTED_MEDIA},
        {"text/json", AC_UNSUPPORTED_MEDIA},
        {"application/+json", AC_UNSUPPORTED_MEDIA},
        {"application/x-www-form-urlencoded", AC_UNSUPPORTED_MEDIA},
        {"json", AC_UNSUPPORTED_MEDIA},
        {"image/svg+json", AC_UNSUPPORTED_MEDIA},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(body_kind(SENT("{}"), cases[i].type, true), cases[i].kind);
    }
    ac_request_t *rq = make(NULL);
    pieces = SENT("{}");
    header(rq, "Origin", "http://elsewhere.example"); /* a browser, which always sends a type */
    ac_request_body(rq, true);
    assert_int_equal(rq->err.kind, AC_UNSUPPORTED_MEDIA);
    rq = make(NULL);
    pieces = SENT("{}");
    header(rq, "Content-Encoding", "gzip");
    ac_request_body(rq, true);
    assert_int_equal(rq->err.kind, AC_UNSUPPORTED_MEDIA);
}

static void test_body_refused(void **state)
{
    (void)state;
    assert_int_equal(body_kind(NOTHING, "text/plain", false), AC_UNSUPPORTED_MEDIA);
    assert_int_equal(body_kind(NOTHING, NULL, false), AC_OK);
    assert_int_equal(body_kind(NOTHING, NULL, true), AC_BAD_JSON);
    assert_int_equal(body_kind(SENT("{", "\"a\":"), NULL, true), AC_BAD_JSON);
    assert_int_equal(body_kind(SENT("{\"a\":\"\xff\"}"), NULL, true), AC_BAD_JSON);
    assert_int_equal(body_kind(SENT(" "), NULL, false), AC_BAD_JSON);
    assert_int_equal(body_kind(SENT("[]"), NULL, false), AC_INVALID_REQUEST);
    assert_int_equal(body_kind(SENT("\"x\""), NULL, false), AC_INVALID_REQUEST);
}

static void test_body_too_large(void **state)
{
    (void)state;
    mount.max_body = 8;
    assert_int_equal(body_kind(SENT("{\"a\":12}"), NULL, true), AC_OK);
    assert_int_equal(body_kind(SENT("{\"a\":", "123}"), NULL, true), AC_BODY_TOO_LARGE);
    ac_request_t *rq = make(NULL);
    header(rq, "Content-Length", "9");
    pieces = SENT("{}");
    ac_request_body(rq, true);
    assert_int_equal(rq->err.kind, AC_BODY_TOO_LARGE);
    assert_string_equal(*pieces, "{}"); /* and no byte was read */
    assert_false(rq->body_read);
}

static void test_body_does_not_come(void **state)
{
    (void)state;
    static const struct {
        apr_status_t status;
        int answer;
        ac_kind_e kind;
    } cases[] = {
        {APR_TIMEUP, HTTP_REQUEST_TIME_OUT, AC_INVALID_REQUEST},
        {AP_FILTER_ERROR, AP_FILTER_ERROR, AC_INVALID_REQUEST},
        {APR_ENOSPC, 0, AC_BODY_TOO_LARGE},
        {APR_EGENERAL, 0, AC_INVALID_REQUEST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_request_t *rq = make(NULL);
        pieces = SENT("{");
        last_status = cases[i].status;
        assert_int_not_equal(ac_request_body(rq, false), APR_SUCCESS);
        assert_int_equal(rq->httpd_answer, cases[i].answer);
        assert_int_equal(rq->err.kind, cases[i].kind);
    }
}

static void test_body_dropped(void **state)
{
    (void)state;
    ac_request_t *rq = make(NULL);
    mount.max_body = 10;
    pieces = SENT("junk", "junk");
    assert_int_equal(ac_request_body_drop(rq), APR_SUCCESS);
    assert_true(rq->body_read && !rq->body);
    rq = make(NULL);
    pieces = SENT("junk", "junk", "junk");
    ac_request_body_drop(rq);
    assert_int_equal(rq->err.kind, AC_BODY_TOO_LARGE);
}

/* ---- the query string ---- */

static const char *const names[] = {"a", "b", "c", "d", "", "f", "n", "t", "x", "limit", "after", NULL};

static void test_query_decoded(void **state)
{
    (void)state;
    ac_request_t *rq = make("a=1&&b=x+y%20%C3%a9&c&d=&=e&f=1=2");
    assert_int_equal(ac_query_read(rq, names), APR_SUCCESS);
    assert_string_equal(ac_query_get(rq, "a"), "1");
    assert_string_equal(ac_query_get(rq, "b"), "x y \xc3\xa9");
    assert_string_equal(ac_query_get(rq, "c"), "");
    assert_string_equal(ac_query_get(rq, "d"), "");
    assert_string_equal(ac_query_get(rq, ""), "e");
    assert_string_equal(ac_query_get(rq, "f"), "1=2");
    assert_null(ac_query_get(rq, "A"));
    assert_null(ac_query_get(make(NULL), "a"));
}

static void test_query_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"a=%",   "a=%4",   "a=%zz",   "a=%00",    "a=%ff",
                                      "a=%c3", "a=\xff", "a=1&a=2", "a=1&%61=2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ac_request_t *rq = make(bad[i]);
        assert_int_not_equal(ac_query_read(rq, names), APR_SUCCESS);
        assert_int_equal(rq->err.kind, AC_INVALID_REQUEST);
    }
}

static void test_query_of_others(void **state)
{
    (void)state;
    static const char *const fine[] = {"a=1&_=5",         "_=5&a=1&_=6",
                                       "z=%zz&%zz=1&a=1", "%00=1&a=1&%ff&z=%ff",
                                       "A=2&a=1&a%00=3",  "p&q&r&s&u&v&w&y&z&p&q&r&s&u&v&w&y&z&a=1"};
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        ac_request_t *rq = make(fine[i]);
        assert_int_equal(ac_query_read(rq, names), APR_SUCCESS);
        assert_int_equal(rq->query->nelts, 1);
        assert_string_equal(ac_query_get(rq, "a"), "1");
    }
}

static void test_query_typed(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        int64_t value;
    } cases[] = {
        {"", 7},       {"n=1", 1},   {"n=100", 100}, {"n=0100", 100}, {"n=0", -1}, {"n=101", -1},
        {"n=-1", -1},  {"n=+1", -1}, {"n=%201", -1}, {"n=1x", -1},    {"n=", -1},  {"n=99999999999999999999999", -1},
        {"n=1e1", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t value;
        ac_request_t *rq = make(cases[i].args);
        ac_query_read(rq, names);
        apr_status_t status = ac_query_int(rq, &value, "n", 7, 1, 100);
        assert_int_equal(status == APR_SUCCESS, cases[i].value >= 0);
        assert_true(status != APR_SUCCESS || value == cases[i].value);
    }
    bool value;
    ac_request_t *rq = make("t=true&f=false&x=1");
    ac_query_read(rq, names);
    assert_true(ac_query_bool(rq, &value, "t", false) == APR_SUCCESS && value);
    assert_true(ac_query_bool(rq, &value, "f", true) == APR_SUCCESS && !value);
    assert_true(ac_query_bool(rq, &value, "none", true) == APR_SUCCESS && value);
    assert_int_not_equal(ac_query_bool(rq, &value, "x", false), APR_SUCCESS);
}

static void test_page(void **state)
{
    (void)state;
    ac_page_t page = {.limit = 0};
    ac_request_t *rq = make("");
    ac_query_read(rq, names);
    assert_int_equal(ac_query_page(rq, &page), APR_SUCCESS);
    assert_int_equal(page.limit, 20);
    assert_string_equal(page.after, "");
    rq = make("limit=5&after=thread_01.x-Y~%3d");
    ac_query_read(rq, names);
    assert_int_equal(ac_query_page(rq, &page), APR_SUCCESS);
    assert_int_equal(page.limit, 5);
    assert_string_equal(page.after, "thread_01.x-Y~=");
    static const char *const bad[] = {
        "after=",         "after=a%20b", "after=%27",
        "after=\xc3\xa9", "limit=0",     "after=0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rq = make(bad[i]);
        ac_query_read(rq, names);
        assert_int_not_equal(ac_query_page(rq, &page), APR_SUCCESS);
    }
}

/* ---- headers ---- */

static void test_accept(void **state)
{
    (void)state;
    /* acceptable at all; a stream where the route's default is JSON, and where it is a stream */
    static const struct {
        const char *accept;
        bool fine, from_json, from_stream;
    } cases[] = {
        {NULL, true, false, true},
        {"", true, false, true},
        {" , ,", true, false, true},
        {"*/*", true, false, true},
        {"application/json", true, false, false},
        {"text/event-stream", true, true, true},
        {"TEXT/Event-Stream", true, true, true},
        {"text/event-stream, */*", true, true, true},
        {"application/json, text/event-stream", true, false, true},
        {"application/json, */*", true, false, true},
        {"application/json;q=0.5, text/event-stream", true, true, true},
        {"text/event-stream;q=0.2,application/json", true, false, false},
        {"application/json; q=0.3 , text/event-stream ; q=0.301", true, true, true},
        {"application/json, text/plain, */*", true, false, true},
        {"text/*", true, true, true},
        {"application/*", true, false, false},
        {"text/event-stream;q=0, */*", true, false, false},
        {"application/json;q=0, */*;q=0.1", true, true, true},
        {"*/*;q=0, text/event-stream", true, true, true},
        {"text/html", false, false, true},
        {"application/json;q=0", false, false, true},
        {"*/*;q=0.000", false, false, true},
        {"application/jsonx, text/event-stream2", false, false, true},
        {"garbage", false, false, true},
        {"application/json;q=nonsense", true, false, false},
        {"application/json;version=1", true, false, false},
        {"text/html,application/xhtml+xml,*/*;q=0.8", true, false, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_request_t *rq = make(NULL);
        if (cases[i].accept) {
            header(rq, "Accept", cases[i].accept);
        }
        assert_int_equal(ac_request_accept(rq) == APR_SUCCESS, cases[i].fine);
        assert_int_equal(ac_request_prefers_stream(rq, false), cases[i].from_json);
        assert_int_equal(ac_request_prefers_stream(rq, true), cases[i].from_stream);
    }
}

static void test_request_id(void **state)
{
    (void)state;
    static const char *const kept[] = {"a", "A-z_0.9",
                                       "123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const made[] = {"",     "a b",
                                       "a\nb", "caf\xc3\xa9",
                                       "<x>",  "1234567890123456789012345678901234567890123456789012345678901234"};
    request_rec *r = make(NULL)->r;
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        apr_table_set(r->headers_in, "X-Request-Id", kept[i]);
        assert_string_equal(ac_request_create(r)->request_id, kept[i]);
        assert_string_equal(apr_table_get(r->err_headers_out, "X-Request-Id"), kept[i]);
    }
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        apr_table_set(r->headers_in, "X-Request-Id", made[i]);
        assert_true(ac_id_valid(ac_request_create(r)->request_id, "req_"));
    }
}

static ac_kind_e owner_kind(const char *user, int anonymous, const char **powner)
{
    ac_request_t *rq = make(NULL);
    rq->r->user = (char *)user;
    mount.anonymous = anonymous;
    ac_request_owner(rq);
    *powner = rq->owner;
    return rq->err.kind;
}

static void test_owner(void **state)
{
    (void)state;
    const char *owner;
    char name[AC_OWNER_SIZE + 1];
    memset(name, 'n', sizeof(name));
    name[AC_OWNER_SIZE] = '\0';
    assert_int_equal(owner_kind(name, 1, &owner), AC_FORBIDDEN);
    assert_null(owner);
    name[AC_OWNER_SIZE - 1] = '\0';
    assert_int_equal(owner_kind(name, 0, &owner), AC_OK);
    assert_string_equal(owner, name);
    assert_int_equal(owner_kind(NULL, 0, &owner), AC_UNAUTHENTICATED);
    assert_int_equal(owner_kind("", 0, &owner), AC_UNAUTHENTICATED);
    assert_int_equal(owner_kind(NULL, -1, &owner), AC_UNAUTHENTICATED);
    assert_int_equal(owner_kind(NULL, 1, &owner), AC_OK);
    assert_string_equal(owner, "anonymous");
    assert_int_equal(owner_kind("\xff", 1, &owner), AC_FORBIDDEN);
}

static void test_if_match(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        ac_kind_e kind;
        int n;
        const char *first;
    } cases[] = {
        {NULL, AC_OK, 0, NULL},
        {"*", AC_OK, 0, NULL},
        {" * ", AC_OK, 0, NULL},
        {"\"1\"", AC_OK, 1, "\"1\""},
        {"\"\"", AC_OK, 1, "\"\""},
        {"W/\"1\" , \"2\",,\"3\"", AC_OK, 2, "\"2\""},
        {"\"a,b\"", AC_OK, 1, "\"a,b\""},
        {"W/\"1\"", AC_PRECONDITION_FAILED, 0, NULL},
        {"1", AC_INVALID_REQUEST, 0, NULL},
        {"\"1", AC_INVALID_REQUEST, 0, NULL},
        {"\"1\" \"2\"", AC_INVALID_REQUEST, 0, NULL},
        {"* , \"1\"", AC_INVALID_REQUEST, 0, NULL},
        {"\"1\", *", AC_INVALID_REQUEST, 0, NULL},
        {"", AC_INVALID_REQUEST, 0, NULL},
        {"w/\"1\"", AC_INVALID_REQUEST, 0, NULL},
        {"\"0123456789012345678901234567890123456789012345678901234567890123\"", AC_PRECONDITION_FAILED, 0, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const apr_array_header_t *tags = NULL;
        ac_request_t *rq = make(NULL);
        if (cases[i].text) {
            header(rq, "If-Match", cases[i].text);
        }
        ac_precondition_if_match(rq, &tags);
        assert_int_equal(rq->err.kind, cases[i].kind);
        assert_int_equal(tags->nelts, cases[i].n);
        if (cases[i].first) {
            assert_string_equal(APR_ARRAY_IDX(tags, 0, const char *), cases[i].first);
        }
    }
}

static void test_if_none_match(void **state)
{
    (void)state;
    static const struct {
        const char *text, *etag;
        bool matches;
    } cases[] = {
        {NULL, "\"1\"", false},     {"\"1\"", "\"1\"", true},    {"\"2\", W/\"1\"", "\"1\"", true},
        {"\"1\"", "W/\"1\"", true}, {"*", "\"1\"", true},        {"\"11\"", "\"1\"", false},
        {"1", "\"1\"", false},      {"\"1\" x", "\"1\"", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ac_request_t *rq = make(NULL);
        if (cases[i].text) {
            header(rq, "If-None-Match", cases[i].text);
        }
        assert_int_equal(ac_precondition_none_match(rq, cases[i].etag), cases[i].matches);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_body_in_pieces, before, after),
        cmocka_unit_test_setup_teardown(test_body_media, before, after),
        cmocka_unit_test_setup_teardown(test_body_refused, before, after),
        cmocka_unit_test_setup_teardown(test_body_too_large, before, after),
        cmocka_unit_test_setup_teardown(test_body_does_not_come, before, after),
        cmocka_unit_test_setup_teardown(test_body_dropped, before, after),
        cmocka_unit_test_setup_teardown(test_query_decoded, before, after),
        cmocka_unit_test_setup_teardown(test_query_refused, before, after),
        cmocka_unit_test_setup_teardown(test_query_of_others, before, after),
        cmocka_unit_test_setup_teardown(test_query_typed, before, after),
        cmocka_unit_test_setup_teardown(test_page, before, after),
        cmocka_unit_test_setup_teardown(test_accept, before, after),
        cmocka_unit_test_setup_teardown(test_request_id, before, after),
        cmocka_unit_test_setup_teardown(test_owner, before, after),
        cmocka_unit_test_setup_teardown(test_if_match, before, after),
        cmocka_unit_test_setup_teardown(test_if_none_match, before, after),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests_name("request", tests, NULL, NULL);
    apr_terminate();
    return failed;
}
