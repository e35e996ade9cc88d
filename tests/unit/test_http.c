/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange: requests, streamed responses, deadlines, limits, broken responses, invalid requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_play.h"

#include <strings.h>

#define OK_HELLO \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: req-1\r\nX-Test:  yes \r\n" \
    "Content-Length: 5\r\n\r\nhello"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static const server_step_t hello[] = {SEND(OK_HELLO), END};

/* ---- what goes out and comes back ---- */

static void test_http_get(void **state)
{
    (void)state;
    const char *const headers[] = {"Accept: text/plain", "X-Empty:", NULL};
    play(hello);
    exchange.request.headers = headers;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.err.kind, AC_OK);
    assert_int_equal(exchange.status, 200);
    assert_int_equal(exchange.n_heads, 1);
    assert_int_equal(exchange.n_ends, 1);
    assert_string_equal(exchange.body, "hello");
    assert_string_equal(exchange.content_type, "text/plain");
    assert_string_equal(exchange.request_id, "req-1");
    assert_string_equal(exchange.err.upstream_id, "req-1");
    assert_string_equal(exchange.x_test, "yes");
    const char *sent = http_server_request(server, 0);
    assert_memory_equal(sent, "GET /path?q=1 HTTP/1.1\r\n", 24);
    assert_non_null(strstr(sent, "\r\nAccept: text/plain\r\n"));
    assert_non_null(strstr(sent, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(sent, "\r\nUser-Agent: mod_agentchat/" AC_VERSION "\r\n"));
    assert_null(strcasestr(sent, "content-"));
}

static void test_http_post(void **state)
{
    (void)state;
    size_t len = 1536 * 1024; /* more than sockets hold, and where curl would ask with Expect */
    char *body = malloc(len + 1);
    memset(body, 'b', len);
    body[len] = '\0';
    const char *const headers[] = {"Content-Type: application/json", NULL};
    play(hello);
    exchange.request.method = "POST";
    exchange.request.headers = headers;
    exchange.request.body = body;
    exchange.request.body_len = len;
    exchange_run(&exchange);
    assert_string_equal(exchange.body, "hello");
    const char *sent = http_server_request(server, 0);
    assert_memory_equal(sent, "POST ", 5);
    assert_non_null(strstr(sent, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Length: 1572864\r\n"));
    assert_null(strcasestr(sent, "\r\nExpect"));
    assert_string_equal(strstr(sent, "\r\n\r\n") + 4, body);
    free(body);
}

static void test_http_methods(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body, *length;
    } rows[] = {
        {"PUT", "x", "\r\nContent-Length: 1\r\n"},      {"PATCH", "xy", "\r\nContent-Length: 2\r\n"},
        {"POST", NULL, "\r\nContent-Length: 0\r\n"},    {"DELETE", NULL, NULL},
        {"DELETE", "xyz", "\r\nContent-Length: 3\r\n"},
    };
    play(hello);
    for (int i = 0; i < 5; i++) {
        exchange_t one;
        exchange_init(&one, &rig, server, "/");
        one.request.method = rows[i].method;
        one.request.body = rows[i].body;
        one.request.body_len = rows[i].body ? strlen(rows[i].body) : 0;
        exchange_run(&one);
        assert_string_equal(one.body, "hello");
        const char *sent = http_server_request(server, i);
        assert_memory_equal(sent, rows[i].method, strlen(rows[i].method));
        assert_true(rows[i].length ? strstr(sent, rows[i].length) != NULL : strcasestr(sent, "content-length") == NULL);
        assert_null(strcasestr(sent, "content-type"));
        exchange_free(&one);
    }
    assert_int_equal(http_server_connections(server), 1); /* kept alive throughout */
}

static void test_http_head(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Test: h\r\n\r\n"), END};
    play(script);
    exchange.request.method = "HEAD";
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 200);
    assert_string_equal(exchange.x_test, "h");
    assert_int_equal(exchange.n_bodies, 0);
}

static bool open_next_gate(exchange_t *one)
{
    http_server_open(one->server, ++one->number);
    return true;
}

/* Each piece is seen before the next one is sent. */
static void test_http_streams(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND(CHUNKED "1\r\na\r\n"),
        GATE(1),
        SEND("2\r\nbc\r\n"),
        GATE(2),
        TRICKLE("3\r\nde"),
        GATE(3),
        TRICKLE("f\r\n"),
        GATE(4),
        SEND("0\r\nX-Trailer: t\r\n\r\n"),
        END,
    };
    play(script);
    exchange.in_body = open_next_gate;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_string_equal(exchange.body, "abcdef");
    assert_in_range(exchange.n_bodies, 4, 5);
}

static void test_http_interim_answers(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND("HTTP/1.1 100 Continue\r\nX-Test: no\r\n\r\n"),
        SEND("HTTP/1.1 103 Early Hints\r\nLink: x\r\nX-Test: no\r\n\r\n" OK_HELLO),
        END,
    };
    play(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.n_heads, 1);
    assert_int_equal(exchange.status, 200);
    assert_string_equal(exchange.x_test, "yes");
    assert_string_equal(exchange.body, "hello");
}

static void test_http_until_close(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\n\r\nto the end"), CUT, END};
    play(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_string_equal(exchange.body, "to the end");
    assert_string_equal(exchange.content_type, "");
    assert_string_equal(exchange.request_id, "");
}

/* ---- broken answers ---- */

static void expect_error(const server_step_t *script, const char *detail)
{
    play(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.n_ends, 1);
    assert_int_not_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_string_equal(exchange.err.detail, detail);
}

static void test_http_cut_chunks(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(CHUNKED "5\r\nhello\r\n"), CUT, END};
    expect_error(script, "the answer was cut off");
    assert_string_equal(exchange.body, "hello");
}

static void test_http_cut_length(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"), RESET, END};
    expect_error(script, "the answer was cut off");
}

static void test_http_cut_head(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-Type: te"), RESET, END};
    expect_error(script, "the answer was cut off");
    assert_int_equal(exchange.n_heads, 0);
}

static void test_http_no_answer(void **state)
{
    (void)state;
    static const server_step_t script[] = {CUT, END};
    expect_error(script, "the connection was closed before an answer");
}

static void test_http_not_http(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("SSH-2.0-OpenSSH_9.2\r\nmore\r\n\r\n"), CUT, END};
    expect_error(script, "the answer is not HTTP");
}

static void test_http_head_too_long(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND("HTTP/1.1 200 OK\r\n"),
        REPEAT("X-Filler: 0123456789012345678901234567890123456789\r\n", 1500),
        SEND("\r\n"),
        HANG,
        END,
    };
    expect_error(script, "the answer's headers are too long");
}

static void test_http_refused(void **state)
{
    (void)state;
    play(hello);
    http_server_stop(server);
    server = NULL;
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_string_equal(exchange.err.detail, "connection refused");
}

static void test_http_unknown_host(void **state)
{
    (void)state;
    exchange_init(&exchange, &rig, NULL, "http://no-such-host.invalid/");
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_string_equal(exchange.err.detail, "the host's name was not found");
}

static void test_http_tls_to_plain(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 400 no TLS here\r\n\r\n"), CUT, END};
    play(script);
    snprintf(exchange.url, sizeof(exchange.url), "https://127.0.0.1:%d/", http_server_port(server));
    exchange.request.connect_timeout = apr_time_from_msec(100); /* this server never answers a TLS hello */
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_TIMEOUT);
    assert_string_equal(exchange.err.detail, "no connection within 100ms");
}

/* ---- limits ---- */

static void test_http_over_limit(void **state)
{
    (void)state;
    play(hello);
    exchange.request.max_response = 4;
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_string_equal(exchange.err.detail, "the answer is over 4 bytes");
    assert_int_equal(exchange.len, 0);
}

static void test_http_at_limit(void **state)
{
    (void)state;
    play(hello);
    exchange.request.max_response = 5;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_string_equal(exchange.body, "hello");
}

static void test_http_over_megabytes(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND("HTTP/1.1 200 OK\r\n\r\n"),
        REPEAT("0123456789abcdef0123456789abcdef", 40000),
        HANG,
        END,
    };
    play(script);
    exchange.request.max_response = 1024 * 1024;
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "the answer is over 1 MB");
    assert_true(http_server_wait_gone(server, 1));
}

static bool enough(exchange_t *one)
{
    return one->len < 3;
}

static void test_http_stopped_by_caller(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(CHUNKED "3\r\nabc\r\n"), HANG, END};
    play(script);
    exchange.in_body = enough;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.err.kind, AC_OK);
    assert_string_equal(exchange.body, "abc");
    assert_true(http_server_wait_gone(server, 1));
}

/* ---- deadlines ---- */

static void expect_timeout(const char *detail)
{
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_TIMEOUT);
    assert_int_equal(exchange.ended, ac_err_row(AC_UPSTREAM_TIMEOUT)->status);
    assert_string_equal(exchange.err.detail, detail);
    assert_true(exchange.end - exchange.began >= apr_time_from_msec(60));
    assert_true(http_server_wait_gone(server, 1));
}

static void test_http_first_byte_timeout(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), HANG, END};
    for (int i = 0; i < 20 && !exchange.n_heads; i++) { /* where the head came too late, too, once more */
        play_end();
        play(script);
        exchange.request.first_byte_timeout = apr_time_from_msec(60);
        exchange.request.idle_timeout = apr_time_from_msec(10);
        expect_timeout("no first byte within 60ms");
    }
    assert_int_equal(exchange.status, 200);
    assert_int_equal(exchange.err.http_status, 200);
}

static void test_http_idle_timeout(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(CHUNKED "1\r\na\r\n"), HANG, END};
    play(script);
    exchange.request.first_byte_timeout = apr_time_from_sec(20);
    exchange.request.idle_timeout = apr_time_from_msec(60);
    expect_timeout("no further byte within 60ms");
    assert_string_equal(exchange.body, "a");
}

static void test_http_total_timeout(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(CHUNKED "1\r\na\r\n"), HANG, END};
    play(script);
    exchange.request.idle_timeout = apr_time_from_sec(20);
    exchange.request.total_timeout = apr_time_from_msec(60);
    expect_timeout("no whole answer within 60ms");
}

static ac_timer_t pace;

static void open_paced(void *baton)
{
    exchange_t *one = baton;
    http_server_open(one->server, ++one->number);
}

static bool pace_gate(exchange_t *one)
{
    if (one->number < 6) {
        ac_timer_set(one->rig->loop, &pace, ac_loop_now(one->rig->loop) + apr_time_from_msec(100), open_paced, one);
    }
    return true;
}

/* Bytes that keep coming hold the idle deadline off, though together they take longer. */
static void test_http_idle_is_lazy(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND(CHUNKED "1\r\na\r\n"), GATE(1), SEND("1\r\nb\r\n"), GATE(2), SEND("1\r\nc\r\n"), GATE(3),
        SEND("1\r\nd\r\n"),         GATE(4), SEND("1\r\ne\r\n"), GATE(5), SEND("1\r\nf\r\n"), GATE(6),
        SEND("0\r\n\r\n"),          END,
    };
    play(script);
    exchange.in_body = pace_gate;
    exchange.request.idle_timeout = apr_time_from_msec(450);
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "");
    assert_string_equal(exchange.body, "abcdef");
    assert_true(exchange.end - exchange.began >= apr_time_from_msec(600));
}

/* ---- invalid requests ---- */

static void test_http_invalid(void **state)
{
    (void)state;
    static const char *const urls[] = {"",
                                       "/",
                                       "ftp://host/",
                                       "http://",
                                       "http:/host/",
                                       "http://user@host/",
                                       "http://user:pw@host/",
                                       "http://ho st/",
                                       "http://host/a b",
                                       "http://host/\n",
                                       "https:///",
                                       "//host/",
                                       "file:///etc/passwd",
                                       "http://host:99999/",
                                       NULL};
    static const char *const headers[] = {"no colon",   ": x", "A b: c",  "X: a\r\nY: b",
                                          "X: a\nY: b", "",    "X: \x01", NULL};
    static const char *const methods[] = {"", "GET /x", "G\r\n", "G:", NULL};
    play(hello);
    for (int i = 0; urls[i]; i++) {
        assert_false(ac_http_address_url_valid(urls[i]));
        exchange.request.url = urls[i];
        exchange_run(&exchange);
        assert_int_equal(exchange.err.kind, AC_INVALID_REQUEST);
        ac_err_init(&exchange.err);
    }
    exchange.request.url = exchange.url;
    for (int i = 0; headers[i]; i++) {
        const char *const list[] = {"Accept: a", headers[i], NULL};
        exchange.request.headers = list;
        exchange_run(&exchange);
        assert_int_equal(exchange.err.kind, AC_INVALID_REQUEST);
        ac_err_init(&exchange.err);
    }
    exchange.request.headers = NULL;
    for (int i = 0; methods[i]; i++) {
        exchange.request.method = methods[i];
        exchange_run(&exchange);
        assert_int_equal(exchange.err.kind, AC_INVALID_REQUEST);
        ac_err_init(&exchange.err);
    }
    assert_int_equal(http_server_connections(server), 0);
    assert_null(exchange.http);
    assert_true(ac_http_address_url_valid("http://host"));
    assert_true(ac_http_address_url_valid("HTTPS://host:8443/a/b?c=d#e"));
    assert_true(ac_http_address_url_valid("http://[::1]:80/"));
    assert_false(ac_http_address_url_valid(NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, play_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_http_get),
        TEST(test_http_post),
        TEST(test_http_methods),
        TEST(test_http_head),
        TEST(test_http_streams),
        TEST(test_http_interim_answers),
        TEST(test_http_until_close),
        TEST(test_http_cut_chunks),
        TEST(test_http_cut_length),
        TEST(test_http_cut_head),
        TEST(test_http_no_answer),
        TEST(test_http_not_http),
        TEST(test_http_head_too_long),
        TEST(test_http_refused),
        TEST(test_http_unknown_host),
        TEST(test_http_tls_to_plain),
        TEST(test_http_over_limit),
        TEST(test_http_at_limit),
        TEST(test_http_over_megabytes),
        TEST(test_http_stopped_by_caller),
        TEST(test_http_first_byte_timeout),
        TEST(test_http_idle_timeout),
        TEST(test_http_total_timeout),
        TEST(test_http_idle_is_lazy),
        TEST(test_http_invalid),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
