/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling an exchange at every moment of its life; the loop that goes first; many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_play.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static const server_step_t hello[] = {SEND(OK_HELLO), END};

static const server_step_t endless[] = {SEND(CHUNKED "3\r\nabc\r\n"), GATE(1), SEND("3\r\ndef\r\n"), HANG, END};

static void tell(exchange_t *one)
{
    one->end = ac_clock();
    ac_latch_open(one->done);
}

static void cancel_in_head(exchange_t *one, const ac_http_head_t *head)
{
    ac_http_cancel(one->http);
    assert_int_equal(head->status, 200);
    tell(one);
}

static bool cancel_in_body(exchange_t *one)
{
    ac_http_cancel(one->http);
    tell(one);
    return true;
}

/* The server sees within 100 ms that it was cancelled. A machine that is busy with others shows nothing: then once
 * more. */
static void expect_gone(const server_step_t *script, void (*begin)(void))
{
    for (int i = 0; i < 20; i++) {
        play_end();
        play(script);
        begin();
        exchange_wait(&exchange);
        assert_true(http_server_wait_gone(server, 1));
        assert_int_equal(exchange.n_ends, 0);
        if (ac_clock() - exchange.end < apr_time_from_msec(100)) {
            return;
        }
    }
    fail_msg("never within 100 ms");
}

static void begin_in_head(void)
{
    exchange.in_head = cancel_in_head;
    exchange_start(&exchange);
}

static void begin_in_body(void)
{
    exchange.in_body = cancel_in_body;
    exchange_start(&exchange);
}

static void begin_outside(void)
{
    exchange_start(&exchange);
    assert_true(http_server_wait_requests(server, 1));
    tell(&exchange);
    exchange_cancel(&exchange);
}

static void test_http_cancel_in_head(void **state)
{
    (void)state;
    expect_gone(endless, begin_in_head);
    assert_int_equal(exchange.n_bodies, 0);
}

static void test_http_cancel_in_body(void **state)
{
    (void)state;
    expect_gone(endless, begin_in_body);
    assert_int_equal(exchange.n_bodies, 1);
}

static void test_http_cancel_from_outside(void **state)
{
    (void)state;
    static const server_step_t silent[] = {HANG, END};
    expect_gone(silent, begin_outside);
    assert_int_equal(exchange.n_heads, 0);
}

static bool cancel_other(exchange_t *one)
{
    ac_http_cancel(one->other->http);
    one->other->http = NULL;
    http_server_open(one->server, 1);
    return one->len < 6;
}

/* One exchange ends another while curl is calling. */
static void test_http_cancel_another(void **state)
{
    (void)state;
    exchange_t one;
    play(endless);
    exchange_start(&exchange);
    assert_true(http_server_wait_requests(server, 1));
    exchange_init(&one, &rig, server, "/other");
    one.in_body = cancel_other;
    one.other = &exchange;
    exchange_run(&one);
    assert_string_equal(one.body, "abcdef");
    assert_int_equal(exchange.n_ends, 0);
    assert_true(http_server_wait_gone(server, 2));
    exchange_free(&one);
}

static void start_and_cancel(void *baton)
{
    exchange_t *one = baton;
    ac_http_cb_t cb = {.on_body = NULL};
    assert_int_equal(ac_http_start(&one->http, one->rig->loop, &one->request, &cb, one, NULL), APR_SUCCESS);
    ac_http_cancel(one->http);
}

static void test_http_cancel_at_once(void **state)
{
    (void)state;
    play(hello);
    rig_call(&rig, start_and_cancel, &exchange);
    exchange_run(&exchange);
    assert_int_equal(http_server_requests(server), 1);
}

static void cancel_in_end(exchange_t *one)
{
    ac_http_cancel(one->http);
}

static void test_http_cancel_in_end(void **state)
{
    (void)state;
    play(hello);
    exchange.in_end = cancel_in_end;
    exchange_run(&exchange);
    assert_int_equal(exchange.n_ends, 1);
    ac_http_cancel(NULL);
}

/* The loop goes with an exchange under way, one that waits for its next try, and one that has not begun. */
static void test_http_loop_goes_first(void **state)
{
    (void)state;
    static const server_step_t busy[] = {SEND("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 30\r\n\r\n"),
                                         END};
    static const server_step_t *const scripts[] = {endless, busy, NULL};
    exchange_t waiting;
    play_scripts(scripts, "/");
    exchange_start(&exchange);
    assert_true(http_server_wait_requests(server, 1));
    exchange_init(&waiting, &rig, server, "/");
    waiting.request.retries = 1;
    exchange_start(&waiting);
    assert_true(http_server_wait_requests(server, 2));
    rig_close(&rig);
    assert_int_equal(exchange.n_ends + waiting.n_ends, 0);
    exchange_free(&waiting);
    rig_open(&rig);
}

/* More at once than one of curl's multis is given, all ended in one turn. */
#define MANY 600

static exchange_t *many;

static void start_many(void *baton)
{
    ac_http_cb_t cb = {.on_body = NULL};
    for (int i = 0; i < MANY; i++) {
        many[i].request = *(const ac_http_request_t *)baton;
        assert_int_equal(ac_http_start(&many[i].http, rig.loop, &many[i].request, &cb, &many[i], NULL), APR_SUCCESS);
    }
}

static void cancel_many(void *baton)
{
    (void)baton;
    for (int i = 0; i < MANY; i++) {
        ac_http_cancel(many[i].http);
    }
}

static void test_http_many(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(mute, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(mute, 1024), 0);
    assert_int_equal(getsockname(mute, (struct sockaddr *)&address, &len), 0);
    many = calloc(MANY, sizeof(*many));
    exchange_init(&exchange, &rig, NULL, "");
    snprintf(exchange.url, sizeof(exchange.url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
    exchange.request.first_byte_timeout = apr_time_from_sec(20);
    rig_call(&rig, start_many, &exchange.request);
    rig_call(&rig, cancel_many, NULL);
    close(mute);
    free(many);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, play_set_up, play_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_http_cancel_in_head),  TEST(test_http_cancel_in_body), TEST(test_http_cancel_from_outside),
        TEST(test_http_cancel_another),  TEST(test_http_cancel_at_once), TEST(test_http_cancel_in_end),
        TEST(test_http_loop_goes_first), TEST(test_http_many),
    };
    return cmocka_run_group_tests_name("http_cancel", tests, NULL, NULL);
}
