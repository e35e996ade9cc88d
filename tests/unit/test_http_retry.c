/* SPDX-License-Identifier: Apache-2.0 */
/* Trying again: which answers, how long after, what servers may ask for, and never once an answer has begun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_play.h"
#include "io/io_internal.h"

#include <strings.h>

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define BUSY "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nX-Request-Id: busy-1\r\n"
#define SOON "Retry-After-Ms: 1\r\n"

static const server_step_t hello[] = {SEND(OK_HELLO), END};

/* The server answers so first, and then well. */
static void play_first(const server_step_t *script)
{
    static const server_step_t *scripts[3];
    scripts[0] = script;
    scripts[1] = hello;
    play_scripts(scripts, "/");
    exchange.request.retries = 2;
}

static void expect_hello(int n_requests)
{
    assert_string_equal(exchange.err.detail, "");
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 200);
    assert_int_equal(exchange.n_heads, 1);
    assert_int_equal(exchange.n_ends, 1);
    assert_string_equal(exchange.body, "hello");
    assert_int_equal(http_server_requests(server), n_requests);
}

static void test_retry_statuses(void **state)
{
    (void)state;
    static const char *const lines[] = {"408 Timeout", "429 Slow Down", "500 Oops", "502 Gate", "503 Busy", "504 Late"};
    play_first(hello);
    for (int i = 0; i < 6; i++) {
        char text[160];
        exchange_t one;
        snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: 4\r\n" SOON "\r\nbusy", lines[i]);
        const server_step_t script[] = {SEND(text), END};
        const server_step_t *const scripts[] = {script, hello, NULL};
        http_server_t *one_server = http_server_start(scripts);
        exchange_init(&one, &rig, one_server, "/");
        one.request.retries = 1;
        one.request.method = "POST";
        one.request.body = "again";
        one.request.body_len = 5;
        exchange_run(&one);
        assert_string_equal(one.body, "hello");
        assert_int_equal(one.n_heads, 1);
        assert_int_equal(http_server_requests(one_server), 2);
        assert_int_equal(http_server_connections(one_server), 1);
        assert_string_equal(http_server_request(one_server, 0), http_server_request(one_server, 1));
        assert_non_null(strstr(http_server_request(one_server, 1), "\r\n\r\nagain"));
        exchange_free(&one);
        http_server_stop(one_server);
    }
}

static void test_retry_backs_off(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "\r\nbusy"), END};
    play_first(script);
    exchange_run(&exchange);
    expect_hello(2);
    assert_true(exchange.end - exchange.began >= apr_time_from_msec(375));
}

static void test_retry_runs_out(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY SOON "\r\nbusy"), END};
    static const server_step_t *const scripts[] = {script, NULL};
    play_scripts(scripts, "/");
    exchange.request.retries = 3;
    exchange_run(&exchange);
    assert_int_equal(http_server_requests(server), 4);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.err.kind, AC_OK);
    assert_int_equal(exchange.status, 503);
    assert_int_equal(exchange.n_heads, 1);
    assert_int_equal(exchange.n_bodies, 0);
    assert_string_equal(exchange.error_body, "busy");
    assert_int_equal(exchange.err.http_status, 503);
    assert_int_equal(exchange.err.retry_after, 1000);
    assert_string_equal(exchange.err.upstream_id, "busy-1");
}

static void test_retry_after_in_ms_first(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "Retry-After: 900\r\nretry-after-ms: 20.5\r\n\r\nbusy"), END};
    play_first(script);
    exchange_run(&exchange);
    expect_hello(2);
    assert_true(exchange.end - exchange.began >= 20500);
}

/* A delay longer than the deadline of the exchange is useless: the answer is final, and has the delay. */
static void test_retry_after_too_long(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "Retry-After: 30\r\n\r\nbusy"), END};
    play_first(script);
    exchange.request.total_timeout = apr_time_from_sec(10);
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 503);
    assert_int_equal(exchange.err.retry_after, apr_time_from_sec(30));
    assert_int_equal(exchange.retry_after, apr_time_from_sec(30));
    assert_int_equal(http_server_requests(server), 1);
}

static void test_retry_after_an_hour(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "Retry-After: 3600\r\n\r\nbusy"), END};
    play_first(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 503);
    assert_int_equal(exchange.err.retry_after, apr_time_from_sec(3600));
}

static void test_retry_server_forbids(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY SOON "X-Should-Retry: false\r\n\r\nbusy"), END};
    play_first(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 503);
    assert_int_equal(http_server_requests(server), 1);
}

static void test_retry_server_allows(void **state)
{
    (void)state;
    static const server_step_t script[] = {
        SEND("HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n" SOON "x-should-retry: true\r\n\r\n"),
        END,
    };
    play_first(script);
    exchange_run(&exchange);
    expect_hello(2);
}

static void test_retry_not_for_others(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad"), END};
    play_first(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 400);
    assert_string_equal(exchange.error_body, "bad");
    assert_int_equal(http_server_requests(server), 1);
}

static bool refuse(exchange_t *one, int status)
{
    assert_int_equal(status, 429);
    assert_string_equal(one->error_body, "quota");
    return false;
}

static void test_retry_caller_forbids(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 429 No\r\nContent-Length: 5\r\n" SOON "\r\nquota"), END};
    play_first(script);
    exchange.in_may_retry = refuse;
    exchange_run(&exchange);
    assert_int_equal(exchange.n_asked, 1);
    assert_int_equal(exchange.status, 429);
    assert_string_equal(exchange.error_body, "quota");
    assert_int_equal(http_server_requests(server), 1);
}

static bool cancel_when_asked(exchange_t *one, int status)
{
    assert_int_equal(status, 503);
    ac_http_cancel(one->http);
    one->http = NULL;
    ac_latch_open(one->done);
    return true;
}

static void test_retry_cancelled_when_asked(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY SOON "\r\nbusy"), END};
    play_first(script);
    exchange.in_may_retry = cancel_when_asked;
    exchange_run(&exchange);
    assert_int_equal(exchange.n_heads + exchange.n_ends, 0);
    assert_int_equal(http_server_requests(server), 1);
}

static void cancel_soon(void *baton)
{
    exchange_t *one = baton;
    ac_http_cancel(one->http);
    one->http = NULL;
    ac_latch_open(one->done);
}

static bool cancel_in_pause(exchange_t *one, int status)
{
    static ac_timer_t timer;
    assert_int_equal(status, 503);
    ac_timer_set(one->rig->loop, &timer, ac_loop_now(one->rig->loop) + 2000, cancel_soon, one);
    return true;
}

static void test_retry_cancelled_in_pause(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "Retry-After: 1\r\n\r\nbusy"), END};
    play_first(script);
    exchange.in_may_retry = cancel_in_pause;
    exchange_run(&exchange);
    assert_int_equal(exchange.n_heads + exchange.n_ends, 0);
    assert_int_equal(http_server_requests(server), 1);
}

/* ---- connections ---- */

static void test_retry_unanswered(void **state)
{
    (void)state;
    static const server_step_t script[] = {RESET, END};
    play_first(script);
    exchange_run(&exchange);
    expect_hello(2);
}

static void test_retry_refused(void **state)
{
    (void)state;
    play_first(hello);
    exchange_t one;
    http_server_t *gone = http_server_start((const server_step_t *const[]){hello, NULL});
    exchange_init(&one, &rig, gone, "/");
    http_server_stop(gone);
    one.request.retries = 1;
    exchange_run(&one);
    assert_string_equal(one.err.detail, "connection refused");
    assert_true(one.end - one.began >= apr_time_from_msec(375));
    exchange_free(&one);
}

/* A kept connection that the server has closed costs no attempt. */
static void test_retry_stale_connection(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(OK_HELLO), GATE(1), CUT, END};
    play_first(script);
    exchange_run(&exchange);
    http_server_open(server, 1);
    exchange_t one;
    exchange_init(&one, &rig, server, "/");
    exchange_run(&one);
    assert_string_equal(one.err.detail, "");
    assert_string_equal(one.body, "hello");
    exchange_free(&one);
}

static void test_retry_never_in_answer(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhel"), CUT, END};
    play_first(script);
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "the answer was cut off");
    assert_int_equal(http_server_requests(server), 1);
}

static void test_retry_never_in_head(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 200 OK\r\nContent-"), RESET, END};
    play_first(script);
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "the answer was cut off");
    assert_int_equal(http_server_requests(server), 1);
}

static void test_retry_not_after_timeout(void **state)
{
    (void)state;
    static const server_step_t script[] = {HANG, END};
    play_first(script);
    exchange.request.first_byte_timeout = apr_time_from_msec(100);
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "no first byte within 100ms");
    assert_true(http_server_wait_requests(server, 1)); /* it may read it only now */
    assert_int_equal(http_server_requests(server), 1);
}

/* ---- bodies of errors ---- */

static void test_error_body_bounded(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 404 No\r\n\r\n"), REPEAT("0123456789abcdef", 6000), HANG,
                                           END};
    play_first(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 404);
    assert_int_equal(exchange.error_len, AC_MAX_ERROR_BODY);
    assert_int_equal(exchange.n_bodies, 0);
    assert_true(http_server_wait_gone(server, 1));
}

static void test_error_body_raw(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY SOON "\r\nbusy"), END};
    static const server_step_t last[] = {SEND("HTTP/1.1 404 No\r\n\r\n"), REPEAT("0123456789abcdef", 6000), CUT, END};
    static const server_step_t *const scripts[] = {script, script, last, NULL};
    play_scripts(scripts, "/");
    exchange.request.retries = 4;
    exchange.request.raw_errors = true;
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 404);
    assert_int_equal(exchange.n_heads, 1);
    assert_int_equal(exchange.len, 96000);
    assert_int_equal(exchange.error_len, 0);
    assert_int_equal(http_server_requests(server), 3);
}

static void test_error_body_raw_final(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND(BUSY "Retry-After: 3000\r\n\r\nbusy"), END};
    play_first(script);
    exchange.request.raw_errors = true;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 503);
    assert_string_equal(exchange.body, "busy");
    assert_int_equal(exchange.error_len, 0);
}

static void test_error_body_cut(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nforbid"), CUT, END};
    play_first(script);
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 403);
    assert_string_equal(exchange.error_body, "forbid");
}

/* ---- the policy by itself ---- */

static void test_policy_statuses(void **state)
{
    (void)state;
    for (int status = 100; status < 600; status++) {
        bool usual = status == 408 || status == 429 || status >= 500;
        assert_int_equal(ac_http_retry_status(status, NULL), usual);
        assert_int_equal(ac_http_retry_status(status, "perhaps"), usual);
        assert_int_equal(ac_http_retry_status(status, "TRUE"), status >= 400);
        assert_false(ac_http_retry_status(status, "false"));
    }
}

static void test_policy_backoff(void **state)
{
    (void)state;
    static const int64_t full[] = {500000, 1000000, 2000000, 4000000, 8000000, 8000000, 8000000};
    for (int n = 0; n < 7; n++) {
        apr_interval_time_t least = APR_INT64_MAX, most = 0;
        for (int i = 0; i < 2000; i++) {
            apr_interval_time_t wait = ac_http_retry_backoff(n);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        assert_in_range(most, full[n] * 9 / 10, full[n]);
        assert_in_range(least, full[n] * 3 / 4, full[n] * 8 / 10);
    }
    assert_in_range(ac_http_retry_backoff(1000000), 6000000, 8000000);
}

static void test_policy_retry_after(void **state)
{
    (void)state;
    apr_time_t wall = apr_time_from_sec(1792576800); /* 2026-10-21 10:00:00 UTC */
    static const struct {
        const char *ms, *after;
        int64_t micros;
    } rows[] = {
        {NULL, NULL, 0},
        {NULL, "0", 0},
        {NULL, "7", 7000000},
        {NULL, "0.25", 250000},
        {"250", "7", 250000},
        {"0.5", NULL, 500},
        {"soon", "7", 7000000},
        {"-4", NULL, 0},
        {NULL, "-4", 0},
        {NULL, "1e9", 0},
        {NULL, "nan", 0},
        {NULL, "inf", 0},
        {NULL, "0x10", 0},
        {NULL, "", 0},
        {"", "", 0},
        {NULL, "99999999999999999999", 0},
        {NULL, "Wed, 21 Oct 2026 10:00:30 GMT", 30000000},
        {NULL, "Wed, 21 Oct 2026 09:59:59 GMT", 0},
        {NULL, "Wed, 21 Oct 2099 09:59:59 GMT", 0},
        {NULL, "tomorrow", 0},
        {NULL, "21 Oct 203788888 06:00:00 GMT", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ac_http_retry_after(rows[i].ms, rows[i].after, wall), rows[i].micros);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, play_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_retry_statuses),
        TEST(test_retry_backs_off),
        TEST(test_retry_runs_out),
        TEST(test_retry_after_in_ms_first),
        TEST(test_retry_after_too_long),
        TEST(test_retry_after_an_hour),
        TEST(test_retry_server_forbids),
        TEST(test_retry_server_allows),
        TEST(test_retry_not_for_others),
        TEST(test_retry_caller_forbids),
        TEST(test_retry_cancelled_when_asked),
        TEST(test_retry_cancelled_in_pause),
        TEST(test_retry_unanswered),
        TEST(test_retry_refused),
        TEST(test_retry_stale_connection),
        TEST(test_retry_never_in_answer),
        TEST(test_retry_never_in_head),
        TEST(test_retry_not_after_timeout),
        TEST(test_error_body_bounded),
        TEST(test_error_body_raw),
        TEST(test_error_body_raw_final),
        TEST(test_error_body_cut),
        cmocka_unit_test(test_policy_statuses),
        cmocka_unit_test(test_policy_backoff),
        cmocka_unit_test(test_policy_retry_after),
    };
    return cmocka_run_group_tests_name("http_retry", tests, NULL, NULL);
}
