/* SPDX-License-Identifier: Apache-2.0 */
/* The Redis client: answers of every kind, in pieces, and what is no answer. */
#include "redis_world.h"

/* ---- answers ---- */

static void test_every_kind_of_answer(void **state)
{
    call_t call[6];
    (void)state;
    open_client();
    for (int i = 0; i < 6; i++) {
        call_start(&call[i], (const char *[]){"a", "b", "c", "d", "e", "f"}[i]);
    }
    expect(GET("a") GET("b") GET("c") GET("d") GET("e") GET("f"));
    reply("$5\r\nhe\r\no\r\n$-1\r\n:-7\r\n+OK\r\n-ERR wrong\r\n*3\r\n:1\r\n$-1\r\n*1\r\n$1\r\nx\r\n");
    for (int i = 0; i < 6; i++) {
        call_wait(&call[i]);
        assert_true(call[i].answered);
        assert_int_equal(call[i].order, i);
        assert_int_equal(call[i].kind, AC_OK);
    }
    assert_string_equal(call[0].text, "he\r\no");
    assert_int_equal(call[1].type, REDIS_REPLY_NIL);
    assert_int_equal(call[2].number, -7);
    assert_int_equal(call[3].type, REDIS_REPLY_STATUS);
    assert_int_equal(call[4].type, REDIS_REPLY_ERROR);
    assert_string_equal(call[4].text, "ERR wrong");
    assert_int_equal(call[5].n_elements, 3);
    assert_int_equal(n_ups, 1);
    assert_int_equal(n_downs, 0);
}

/* Each byte by itself, with the loop's turn in between. */
static void test_an_answer_in_single_bytes(void **state)
{
    const char *text = "*2\r\n$3\r\nabc\r\n:12\r\n+OK\r\n";
    call_t call[2];
    (void)state;
    open_client();
    call_start(&call[0], "a");
    call_start(&call[1], "b");
    expect(GET("a") GET("b"));
    for (const char *at = text; *at; at++) {
        char one[2] = {*at, '\0'};
        reply(one);
        rig_call(&rig, nothing, NULL);
    }
    call_wait(&call[0]);
    call_wait(&call[1]);
    assert_int_equal(call[0].n_elements, 2);
    assert_string_equal(call[1].text, "OK");
}

/* More than one reading can hold, and binary. */
static void test_a_long_answer(void **state)
{
    size_t len = 3 * 1024 * 1024;
    char *text = malloc(len + 32);
    call_t call;
    (void)state;
    open_client();
    call_start(&call, "a");
    expect(GET("a"));
    int head = snprintf(text, 32, "$%zu\r\n", len);
    memset(text + head, 'x', len);
    memcpy(text + head + len, "\r\n", 3);
    for (size_t at = 0, all = (size_t)head + len + 2; at < all;) {
        ssize_t n = send(peer, text + at, all - at, MSG_NOSIGNAL);
        assert_true(n > 0);
        at += (size_t)n;
    }
    call_wait(&call);
    assert_int_equal(call.len, len);
    free(text);
}

static void test_asked_from_inside_of_an_answer(void **state)
{
    call_t first, second;
    (void)state;
    open_client();
    call_make(&second, "b");
    call_make(&first, "a");
    first.next = &second;
    rig_call(&rig, ask, &first);
    expect(GET("a"));
    reply("+one\r\n");
    expect(GET("b"));
    reply("+two\r\n");
    call_wait(&first);
    call_wait(&second);
    assert_string_equal(second.text, "two");
}

/* ---- what is no answer ---- */

/* Two calls cannot be answered any more, and the client reconnects. */
static void fails_with(const char *answer, const char *why)
{
    call_t call[2];
    open_client();
    call_start(&call[0], "a");
    call_start(&call[1], "b");
    expect(GET("a") GET("b"));
    reply(answer);
    expect_failed(&call[0]);
    expect_failed(&call[1]);
    assert_non_null(strstr(log_cause(), why));
    expect_gone();
    expect_recovery();
    assert_int_equal(n_downs, 1);
    assert_int_equal(n_ups, 2);
}

static void test_no_redis_at_all(void **state)
{
    (void)state;
    fails_with("HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak Redis' protocol");
}

static void test_invalid_lengths(void **state)
{
    (void)state;
    fails_with("$99999999999999999999999\r\n", "does not speak Redis' protocol");
}

static void test_nested_without_end(void **state)
{
    (void)state;
#if HIREDIS_MAJOR >= 1
    skip(); /* it reads any depth, and the question's time ends what has no end */
#endif
    fails_with("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
               "does not speak Redis' protocol");
}

static void test_a_replica(void **state)
{
    (void)state;
    fails_with("-READONLY You can't write against a read only replica.\r\n", "it cannot be used now: READONLY");
}

static void test_a_server_that_is_full(void **state)
{
    (void)state;
    fails_with("-OOM command not allowed when used memory > 'maxmemory'.\r\n", "it cannot be used now: OOM");
}

static void test_a_server_that_loads(void **state)
{
    (void)state;
    fails_with("-LOADING Redis is loading the dataset in memory\r\n", "it cannot be used now: LOADING");
}

static void test_more_answers_than_questions(void **state)
{
    call_t call;
    (void)state;
    open_client();
    call_start(&call, "a");
    expect(GET("a"));
    reply("+one\r\n+two\r\n");
    call_wait(&call);
    assert_string_equal(call.text, "one");
    expect_gone();
    assert_non_null(strstr(log_cause(), "not asked"));
    expect_recovery();
}

/* An impossible length: the bytes are counted as they arrive, not reserved. */
static void test_a_huge_length(void **state)
{
    char *text = malloc(1024 * 1024);
    call_t call;
    (void)state;
    memset(text, 'x', 1024 * 1024);
    open_client();
    call_start(&call, "a");
    expect(GET("a"));
    reply("$500000000\r\n");
    for (int i = 0; i < 500 && send(peer, text, 1024 * 1024, MSG_NOSIGNAL) > 0; i++) {
    }
    expect_failed(&call);
    assert_non_null(strstr(log_cause(), "too long"));
    hang_up();
    expect_recovery();
    free(text);
}

static void test_cut_in_mid_answer(void **state)
{
    call_t call[2];
    (void)state;
    open_client();
    call_start(&call[0], "a");
    call_start(&call[1], "b");
    expect(GET("a") GET("b"));
    reply("+one\r\n$10\r\nhalf");
    hang_up();
    call_wait(&call[0]);
    assert_string_equal(call[0].text, "one");
    expect_failed(&call[1]);
    assert_non_null(strstr(log_cause(), "closed the connection"));
    expect_recovery();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_kind_of_answer),
        TEST(test_an_answer_in_single_bytes),
        TEST(test_a_long_answer),
        TEST(test_asked_from_inside_of_an_answer),
        TEST(test_no_redis_at_all),
        TEST(test_invalid_lengths),
        TEST(test_nested_without_end),
        TEST(test_a_replica),
        TEST(test_a_server_that_is_full),
        TEST(test_a_server_that_loads),
        TEST(test_more_answers_than_questions),
        TEST(test_a_huge_length),
        TEST(test_cut_in_mid_answer),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}
