/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body, Accept, owner and preconditions. */
#include "request_world.h"

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
