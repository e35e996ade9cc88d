/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client on a loop in a thread of its own, and the server that the test plays itself, byte by byte. */
#ifndef AC_REDIS_WORLD_H
#define AC_REDIS_WORLD_H

#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "http_rig.h"
#include "io/redis.h"

#define PATIENCE apr_time_from_sec(60)
#define LONG apr_time_from_sec(300) /* a timeout that is not to be reached, however slow the machine */
#define SHORT apr_time_from_sec(1)  /* one that is */

static rig_t rig;
static ac_work_t *work;
static ac_redis_t *redis;
static ac_redis_conf_t conf;
static int listener = -1, peer = -1; /* the server's */
static atomic_int n_ups, n_downs;
static char why_down[200]; /* the loop's; read after a call on the loop */

/* ---- the server ---- */

static void listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    socklen_t len = sizeof(address);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    conf.port = ntohs(address.sin_port);
}

static void accept_one(void)
{
    struct timeval patience = {.tv_sec = 20};
    peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)), 0);
}

static void expect(const char *text)
{
    char got[1024] = "";
    size_t len = strlen(text), n = 0;
    assert_true(len < sizeof(got));
    while (n < len) {
        ssize_t more = recv(peer, got + n, len - n, 0);
        assert_true(more > 0);
        n += (size_t)more;
    }
    assert_string_equal(got, text);
}

static void reply(const char *text)
{
    assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(void)
{
    close(peer);
    peer = -1;
}

/* The client is freed: no call of it completes any more, and its end is reported. */
static void expect_gone(void)
{
    char byte;
    assert_true(recv(peer, &byte, 1, 0) <= 0);
    hang_up();
}

#define PING "*1\r\n$4\r\nPING\r\n"
#define GET(key_) "*2\r\n$3\r\nGET\r\n$1\r\n" key_ "\r\n"

static void greet(void)
{
    accept_one();
    expect(PING);
    reply("+PONG\r\n");
}

/* ---- the client ---- */

static void on_state(void *baton, bool up, const char *why)
{
    (void)baton;
    if (!up) {
        snprintf(why_down, sizeof(why_down), "%s", why);
    }
    atomic_fetch_add(up ? &n_ups : &n_downs, 1);
}

static void start(void *baton)
{
    (void)baton;
    conf.host = conf.host ? conf.host : "127.0.0.1";
    conf.on_state = on_state;
    assert_int_equal(ac_redis_create(&redis, &conf, rig.loop, work, NULL), APR_SUCCESS);
    ac_redis_start(redis);
}

static void end(void *baton)
{
    (void)baton;
    ac_redis_destroy(redis);
    redis = NULL;
}

static void nothing(void *baton)
{
    (void)baton;
}

static const char *log_cause(void)
{
    rig_call(&rig, nothing, NULL);
    return why_down;
}

typedef struct call_t {
    char key[8];
    ac_latch_t *done;
    bool inside; /* ac_redis_call() has not returned */
    bool answered;
    int type, order;
    long long number;
    size_t len;
    char text[64]; /* the beginning of it */
    size_t n_elements;
    ac_kind_e kind;
    apr_time_t began, ended;
    struct call_t *next; /* asked from inside of this one's answer */
} call_t;

static int n_answers;

static void ask(void *baton);

static void on_reply(void *baton, const struct redisReply *answer, const ac_err_t *err)
{
    call_t *call = baton;
    assert_false(call->inside);
    call->answered = answer != NULL;
    call->order = n_answers++;
    call->kind = err->kind;
    call->ended = ac_clock();
    if (answer) {
        call->type = answer->type;
        call->number = answer->integer;
        call->n_elements = answer->elements;
        call->len = answer->str ? answer->len : 0;
        snprintf(call->text, sizeof(call->text), "%s", answer->str ? answer->str : "");
    }
    if (call->next) {
        ask(call->next);
    }
    ac_latch_open(call->done);
}

static void ask(void *baton)
{
    call_t *call = baton;
    const char *argv[] = {"GET", call->key};
    const ac_redis_command_t command = {.argc = 2, .argv = argv};
    call->inside = true;
    call->began = ac_loop_now(rig.loop); /* from which its time counts */
    ac_redis_call(redis, &command, on_reply, call);
    call->inside = false;
}

static void call_make(call_t *call, const char *key)
{
    memset(call, 0, sizeof(*call));
    snprintf(call->key, sizeof(call->key), "%s", key);
    call->done = ac_latch_create();
}

static void call_start(call_t *call, const char *key)
{
    call_make(call, key);
    rig_call(&rig, ask, call);
}

static void call_wait(call_t *call)
{
    assert_true(ac_latch_wait(call->done, ac_clock() + PATIENCE));
    ac_latch_unref(call->done);
}

static void expect_failed(call_t *call)
{
    call_wait(call);
    assert_false(call->answered);
    assert_int_equal(call->kind, AC_OVERLOADED);
}

static void look_up(void *baton)
{
    *(bool *)baton = redis->state == AC_REDIS_UP;
}

static bool is_up(void)
{
    bool up;
    rig_call(&rig, look_up, &up);
    return up;
}

/* The greeting is answered; the client's turn of the loop may be yet to come. */
static void wait_up(void)
{
    apr_time_t until = ac_clock() + PATIENCE;
    while (!is_up()) {
        assert_true(ac_clock() < until);
    }
}

/* The client comes back, and a call made then is answered on the new connection. */
static void expect_recovery(void)
{
    call_t call;
    greet();
    wait_up();
    call_start(&call, "z");
    expect(GET("z"));
    reply(":26\r\n");
    call_wait(&call);
    assert_int_equal(call.number, 26);
}

static int set_up(void **state)
{
    (void)state;
    memset(&conf, 0, sizeof(conf));
    conf.timeout = LONG;
    n_ups = n_downs = n_answers = 0;
    why_down[0] = '\0';
    rig_open(&rig);
    assert_int_equal(ac_work_create(&work, rig.loop, 1, 8, NULL), APR_SUCCESS);
    listen_anywhere();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_call(&rig, end, NULL);
    ac_work_stop(work);
    rig_close(&rig);
    ac_work_destroy(work);
    if (peer >= 0) {
        hang_up();
    }
    close(listener);
    return 0;
}

static void open_client(void)
{
    rig_call(&rig, start, NULL);
    greet();
    wait_up();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

#endif
