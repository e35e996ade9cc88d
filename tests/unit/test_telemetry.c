/* SPDX-License-Identifier: Apache-2.0 */
/* Exporters against a scripted server: batches, retries, losses that are counted, and the end of a process. */
#include "telemetry_world.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Length: 0\r\n\r\n"

/* ---- batches ---- */

static const server_step_t ok[] = {SEND(OK_EMPTY), END};

static void test_a_batch_is_sent_when_it_is_full_and_the_rest_at_the_end(void **state)
{
    (void)state;
    static const server_step_t *const scripts[] = {ok, NULL};
    begin(scripts);
    put("a"), put("b");
    put("c");
    assert_true(http_server_wait_requests(server, 1));
    put("d");
    end(PATIENCE);
    expect_body(0, "a,b,c");
    expect_body(1, "d");
    assert_non_null(strstr(http_server_request(server, 0), "Content-Type: text/plain\r\n"));
    assert_memory_equal(http_server_request(server, 0), "POST /v1/logs?key=x ", 20);
    assert_int_equal(http_server_requests(server), 2);
    expect_counts(4, 0);
    put("late");
    expect_counts(4, 1);
}

static void test_an_item_does_not_wait_longer_than_the_delay(void **state)
{
    (void)state;
    static const server_step_t *const scripts[] = {ok, NULL};
    conf.delay = apr_time_from_msec(10);
    begin(scripts);
    put("a");
    assert_true(http_server_wait_requests(server, 1));
    put("b");
    assert_true(http_server_wait_requests(server, 2));
    end(PATIENCE);
    expect_counts(2, 0);
}

static void test_a_full_queue_drops_the_oldest(void **state)
{
    (void)state;
    static const server_step_t gated[] = {GATE(0), SEND(OK_EMPTY), END};
    static const server_step_t *const scripts[] = {gated, ok, NULL};
    begin(scripts);
    put("1"), put("2"), put("3");
    assert_true(http_server_wait_requests(server, 1));
    for (int i = 4; i < 13; i++) {
        char text[8];
        snprintf(text, sizeof text, "%d", i);
        put(text);
    }
    expect_counts(0, 3);
    http_server_open(server, 0);
    assert_true(http_server_wait_requests(server, 3));
    end(PATIENCE);
    expect_body(0, "1,2,3");
    expect_body(1, "7,8,9");
    expect_body(2, "10,11,12");
    expect_counts(9, 3);
}

static void test_the_queue_is_bounded_by_bytes_too(void **state)
{
    (void)state;
    static const server_step_t *const scripts[] = {ok, NULL};
    conf.max_bytes = 10;
    conf.batch = 6;
    begin(scripts);
    put("12345"), put("678"), put("901"); /* the first goes */
    put("far too long for it");
    end(PATIENCE);
    expect_body(0, "678,901");
    expect_counts(2, 2);
}

static void test_no_work_thread_is_needed_at_the_end(void **state)
{
    (void)state;
    static const server_step_t *const scripts[] = {ok, NULL};
    begin(scripts);
    ac_work_stop(work); /* from now on it refuses */
    put("a"), put("b"), put("c"), put("d");
    end(PATIENCE);
    expect_body(0, "a,b,c");
    expect_body(1, "d");
    expect_counts(4, 0);
}

/* ---- answers ---- */

static void test_what_is_busy_is_asked_again(void **state)
{
    (void)state;
    static const server_step_t busy[] = {SEND("HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"),
                                         END},
                               down[] = {SEND(STATUS("503 Down")), END};
    static const server_step_t *const scripts[] = {busy, down, ok, NULL};
    begin(scripts);
    put("a"), put("b"), put("c");
    assert_true(http_server_wait_requests(server, 3));
    end(PATIENCE);
    for (int i = 0; i < 3; i++) {
        expect_body(i, "a,b,c");
    }
    expect_counts(3, 0);
    assert_int_equal(n_settled, 1);
    assert_int_equal(settled[0], AC_EXPORT_END_ACCEPTED);
}

static void test_what_is_refused_is_dropped(void **state)
{
    (void)state;
    static const server_step_t bad[] = {SEND(STATUS("400 Bad")), END}, error[] = {SEND(STATUS("500 Error")), END},
                               moved[] = {SEND("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), END};
    static const server_step_t *const scripts[] = {bad, error, moved, ok, NULL};
    begin(scripts);
    static const char *const sent[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
    for (int i = 0; i < 12; i++) {
        put(sent[i]);
        wait_dropped(i < 9 ? (i + 1) / 3 * 3 : 9);
    }
    end(PATIENCE);
    expect_body(3, "j,k,l");
    expect_counts(3, 9);
    assert_int_equal(settled[0], AC_EXPORT_END_LOST);
}

static void test_a_part_that_is_refused_is_not_sent_again(void **state)
{
    (void)state;
    static const server_step_t part[] = {
        SEND("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 57\r\n\r\n"
             "{\"partialSuccess\":{\"rejectedSpans\":2,\"errorMessage\":\"x\"}}"),
        END};
    static const server_step_t *const scripts[] = {part, NULL};
    begin(scripts);
    put("a"), put("b"), put("c");
    end(PATIENCE);
    assert_int_equal(http_server_requests(server), 1);
    expect_counts(1, 2);
}

static void test_some_items_are_sent_again(void **state)
{
    (void)state;
    static const server_step_t some[] = {SEND("HTTP/1.1 206 Partial\r\nContent-Length: 9\r\n\r\nagain a,c"), END};
    static const server_step_t *const scripts[] = {some, ok, NULL};
    begin(scripts);
    put("a"), put("b"), put("c");
    assert_true(http_server_wait_requests(server, 2));
    end(PATIENCE);
    expect_body(1, "a,c");
    expect_counts(3, 0);
}

static void test_a_cut_connection_is_tried_again(void **state)
{
    (void)state;
    static const server_step_t cut[] = {CUT, END};
    static const server_step_t *const scripts[] = {cut, ok, NULL};
    begin(scripts);
    put("a"), put("b"), put("c");
    assert_true(http_server_wait_requests(server, 2));
    end(PATIENCE);
    expect_counts(3, 0);
}

static void test_what_must_not_be_doubled_is_not_sent_again(void **state)
{
    (void)state;
    static const server_step_t cut[] = {CUT, END};
    static const server_step_t *const scripts[] = {cut, ok, NULL};
    conf.once = true;
    begin(scripts);
    put("a"), put("b"), put("c");
    wait_dropped(3);
    put("d");
    end(PATIENCE);
    expect_counts(1, 3);
    assert_int_equal(settled[0], AC_EXPORT_END_UNKNOWN);
    assert_int_equal(settled[1], AC_EXPORT_END_ACCEPTED);
}

/* Longer than what is kept of it, without an end. */
static void test_an_endless_answer_ends(void **state)
{
    (void)state;
    static const server_step_t endless[] = {SEND("HTTP/1.1 400 Bad\r\n\r\n"),
                                            REPEAT("0123456789abcdef0123456789abcdef", 100000), END};
    static const server_step_t *const scripts[] = {endless, ok, NULL};
    begin(scripts);
    put("a"), put("b"), put("c");
    wait_dropped(3);
    put("d");
    end(PATIENCE);
    expect_counts(1, 3);
}

/* ---- secrets ---- */

static void test_a_redirect_keeps_the_body_and_drops_secrets(void **state)
{
    (void)state;
    static char line[200];
    static server_step_t redirect[2];
    static const server_step_t *const scripts[] = {redirect, NULL}, *const other_scripts[] = {ok, NULL};
    static const char *const headers[] = {"Authorization: Bearer secret-1", "x-team: secret-2", NULL};
    http_server_t *other = http_server_start(other_scripts);
    snprintf(line, sizeof line,
             "HTTP/1.1 307 Temporary\r\nLocation: http://127.0.0.1:%d/other\r\nContent-Length: 0\r\n\r\n",
             http_server_port(other));
    redirect[0] = (server_step_t)SEND(line);
    conf.headers = headers;
    begin(scripts);
    put("a"), put("b"), put("c");
    end(PATIENCE);
    assert_non_null(strstr(http_server_request(server, 0), "Authorization: Bearer secret-1\r\n"));
    const char *sent = http_server_request(other, 0);
    assert_memory_equal(sent, "POST /other ", 12);
    assert_null(strstr(sent, "secret"));
    assert_string_equal(strstr(sent, "\r\n\r\n") + 4, "a,b,c");
    expect_counts(3, 0);
    http_server_stop(other);
}

/* ---- the end ---- */

static void test_a_server_that_hangs_does_not_hold_the_end(void **state)
{
    (void)state;
    static const server_step_t hang[] = {HANG, END};
    static const server_step_t *const scripts[] = {hang, NULL};
    begin(scripts);
    put("a"), put("b"), put("c"), put("d");
    assert_true(http_server_wait_requests(server, 1));
    end(apr_time_from_msec(20));
    expect_counts(0, 4);
    put("late");
    expect_counts(0, 5);
}

static void test_the_end_does_not_wait_for_another_attempt(void **state)
{
    (void)state;
    static const server_step_t busy[] = {SEND("HTTP/1.1 503 Down\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"),
                                         END},
                               wait[] = {SEND("HTTP/1.1 503 Down\r\nRetry-After: 100\r\nContent-Length: 0\r\n\r\n"),
                                         END};
    static const server_step_t *const scripts[] = {busy, wait, ok, NULL};
    begin(scripts);
    put("a"), put("b"), put("c"); /* an hour is too long */
    wait_dropped(3);
    put("d"), put("e"), put("f");
    assert_true(http_server_wait_requests(server, 2));
    wait_state(AC_EXPORTER_PAUSING);
    put("g");
    end(PATIENCE);
    expect_body(2, "d,e,f");
    expect_body(3, "g");
    expect_counts(4, 3);
}

/* ---- signals that are read ---- */

static int n_collected;

static ac_telemetry_item_t *collect(void *baton)
{
    char text[16];
    (void)baton;
    snprintf(text, sizeof text, "%d", ++n_collected);
    return item_of(text);
}

static void test_a_signal_is_collected_now_and_then_and_at_the_end(void **state)
{
    (void)state;
    static const server_step_t *const scripts[] = {ok, NULL};
    n_collected = 0;
    conf.collect = collect;
    conf.delay = apr_time_from_msec(10);
    begin(scripts);
    put("not for this exporter");
    assert_true(http_server_wait_requests(server, 2));
    end(PATIENCE);
    expect_body(0, "1");
    expect_body(1, "2");
    char last[16];
    snprintf(last, sizeof last, "%d", n_collected);
    const char *sent = http_server_request(server, http_server_requests(server) - 1);
    assert_non_null(strstr(sent, last));
    expect_counts(n_collected, 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_batch_is_sent_when_it_is_full_and_the_rest_at_the_end),
        CASE(test_an_item_does_not_wait_longer_than_the_delay),
        CASE(test_a_full_queue_drops_the_oldest),
        CASE(test_the_queue_is_bounded_by_bytes_too),
        CASE(test_no_work_thread_is_needed_at_the_end),
        CASE(test_what_is_busy_is_asked_again),
        CASE(test_what_is_refused_is_dropped),
        CASE(test_a_part_that_is_refused_is_not_sent_again),
        CASE(test_some_items_are_sent_again),
        CASE(test_a_cut_connection_is_tried_again),
        CASE(test_what_must_not_be_doubled_is_not_sent_again),
        CASE(test_an_endless_answer_ends),
        CASE(test_a_redirect_keeps_the_body_and_drops_secrets),
        CASE(test_a_server_that_hangs_does_not_hold_the_end),
        CASE(test_the_end_does_not_wait_for_another_attempt),
        CASE(test_a_signal_is_collected_now_and_then_and_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
