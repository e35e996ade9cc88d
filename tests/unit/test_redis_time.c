/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client: silence, greetings, addresses, and its end. */
#include "redis_world.h"

/* ---- time ---- */

static void silent_after(const char *part)
{
    call_t call;
    conf.timeout = SHORT;
    open_client();
    call_start(&call, "a");
    expect(GET("a"));
    reply(part);
    expect_failed(&call);
    assert_true(call.ended - call.began >= SHORT);
    assert_non_null(strstr(log_cause(), "does not answer in time"));
    expect_gone();
    greet();
}

static void test_half_an_answer_and_silence(void **state)
{
    (void)state;
    silent_after("$10\r\nhalf");
}

static void test_silence(void **state)
{
    (void)state;
    silent_after("");
}

/* A byte now and then is no answer: the time is that of the whole. */
static void test_a_trickle_does_not_help(void **state)
{
    call_t call;
    (void)state;
    conf.timeout = SHORT;
    open_client();
    call_start(&call, "a");
    expect(GET("a"));
    reply("$1000000\r\n");
    while (!ac_latch_wait(call.done, ac_clock() + SHORT / 20)) {
        if (send(peer, "x", 1, MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    expect_failed(&call);
}

/* The server does not accept: a call waits for the first connection for its own time limit only. */
static void test_a_server_that_never_greets(void **state)
{
    call_t first, second;
    (void)state;
    conf.timeout = SHORT;
    rig_call(&rig, start, NULL);
    call_start(&first, "a");
    accept_one();
    expect(PING);
    expect_failed(&first);
    call_start(&second, "b"); /* and from now on none waits */
    expect_failed(&second);
    hang_up();
    greet();
    wait_up(); /* an abandoned call is not sent later */
    call_start(&first, "c");
    expect(GET("c"));
    reply("+late\r\n");
    call_wait(&first);
    assert_string_equal(first.text, "late");
}

static void test_calls_wait_for_the_first_connection(void **state)
{
    call_t call[2];
    (void)state;
    rig_call(&rig, start, NULL);
    call_start(&call[0], "a");
    call_start(&call[1], "b");
    greet();
    expect(GET("a") GET("b"));
    reply("+one\r\n+two\r\n");
    call_wait(&call[0]);
    call_wait(&call[1]);
    assert_string_equal(call[1].text, "two");
}

/* ---- greeting ---- */

static void test_credentials(void **state)
{
    (void)state;
    conf.user = "chat";
    conf.password = "geheim w\xc3\xb6rt";
    conf.db = 3;
    rig_call(&rig, start, NULL);
    accept_one();
    expect("*3\r\n$4\r\nAUTH\r\n$4\r\nchat\r\n$12\r\ngeheim w\xc3\xb6rt\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n" PING);
    reply("+OK\r\n+OK\r\n");
    assert_false(is_up());
    reply("+PONG\r\n");
    wait_up();
    assert_int_equal(n_ups, 1);
}

/* A refusal is logged once for all attempts; attempts continue, and a corrected password works later. */
static void test_refused(void **state)
{
    call_t call;
    (void)state;
    conf.password = "wrong";
    rig_call(&rig, start, NULL);
    call_start(&call, "a");
    for (int i = 0; i < 2; i++) {
        accept_one();
        expect("*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n" PING);
        reply("-WRONGPASS invalid username-password pair or user is disabled.\r\n-NOAUTH Authentication required.\r\n");
        expect_gone();
    }
    expect_failed(&call);
    assert_string_equal(log_cause(), "it refuses us: WRONGPASS invalid username-password pair or user is disabled.");
    assert_int_equal(n_downs, 1);
    accept_one();
    expect("*2\r\n$4\r\nAUTH\r\n$5\r\nwrong\r\n" PING);
    reply("+OK\r\n+PONG\r\n");
    wait_up();
    assert_int_equal(n_ups, 1);
}

/* A server that answers, and takes nothing, is as good as away. */
static void test_the_proof(void **state)
{
    static const char *const proof[] = {"SET", "k", "1"};
    call_t call;
    (void)state;
    conf.proof = proof;
    conf.n_proof = 3;
    rig_call(&rig, start, NULL);
    call_start(&call, "a");
    for (int i = 0; i < 2; i++) {
        accept_one();
        expect(PING "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n");
        reply("+PONG\r\n-READONLY You can't write against a read only replica.\r\n");
        expect_gone();
    }
    expect_failed(&call);
    assert_string_equal(log_cause(), "it refuses us: READONLY You can't write against a read only replica.");
    assert_int_equal(n_downs, 1);
    accept_one();
    expect(PING "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n");
    reply("+PONG\r\n");
    assert_false(is_up());
    reply("+OK\r\n");
    wait_up();
    assert_int_equal(n_ups, 1);
}

static void test_no_listener(void **state)
{
    call_t call;
    (void)state;
    int port = conf.port;
    close(listener);
    rig_call(&rig, start, NULL);
    call_start(&call, "a");
    expect_failed(&call);
    assert_non_null(strstr(log_cause(), "refused"));
    /* The port is free again; another process may have it. */
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int on = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 16), 0);
    expect_recovery();
}

/* A name is looked up on a work thread. */
static void test_a_name(void **state)
{
    (void)state;
    conf.host = "localhost";
    rig_call(&rig, start, NULL);
    greet(); /* the first address may be ::1, without a listener: the next attempt uses the other one */
    wait_up();
    assert_int_equal(n_ups, 1);
}

static void test_a_name_without_an_address(void **state)
{
    call_t call;
    (void)state;
    conf.host = "unknown.invalid";
    rig_call(&rig, start, NULL);
    call_start(&call, "a");
    expect_failed(&call);
    assert_non_null(strstr(log_cause(), "its name has no address: "));
    assert_true(strlen(log_cause()) > strlen("its name has no address: "));
}

/* ---- the end ---- */

/* No callback is called any more, and no memory is left. */
static void test_ended_with_calls_under_way(void **state)
{
    call_t call[2];
    (void)state;
    open_client();
    call_start(&call[0], "a");
    expect(GET("a"));
    call_start(&call[1], "b");
    rig_call(&rig, end, NULL);
    expect(GET("b"));
    expect_gone();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(call[i].ended, 0);
        ac_latch_unref(call[i].done);
    }
}

static void test_more_than_it_may_hold(void **state)
{
    static call_t calls[AC_MAX_REDIS_CALLS + 1];
    (void)state;
    open_client();
    for (int i = 0; i <= AC_MAX_REDIS_CALLS; i++) {
        call_start(&calls[i], "a");
    }
    expect_failed(&calls[AC_MAX_REDIS_CALLS]);
    for (int i = 0; i < AC_MAX_REDIS_CALLS; i++) {
        expect(GET("a"));
        reply(":1\r\n");
    }
    for (int i = 0; i < AC_MAX_REDIS_CALLS; i++) {
        call_wait(&calls[i]);
        assert_int_equal(calls[i].number, 1);
    }
    assert_int_equal(n_downs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_half_an_answer_and_silence),
        TEST(test_silence),
        TEST(test_a_trickle_does_not_help),
        TEST(test_a_server_that_never_greets),
        TEST(test_calls_wait_for_the_first_connection),
        TEST(test_credentials),
        TEST(test_refused),
        TEST(test_the_proof),
        TEST(test_no_listener),
        TEST(test_a_name),
        TEST(test_a_name_without_an_address),
        TEST(test_ended_with_calls_under_way),
        TEST(test_more_than_it_may_hold),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("redis time", tests, NULL, NULL);
}
