/* SPDX-License-Identifier: Apache-2.0 */
/* A model's circuit breaker, on a clock of the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "agent/gate/gate_internal.h"

#define SECOND APR_USEC_PER_SEC

static const ac_breaker_conf_t conf = {.failures = 50, .calls = 10, .window = 30 * SECOND, .open = 10 * SECOND};
static ac_breaker_t breaker;
static apr_time_t now;
static int n_opened, n_closed;

static void count_lines(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)file, (void)line, (void)status;
    n_opened += level == AC_WARNING && strstr(text, "AC0540") != NULL;
    n_closed += level == AC_INFO && strstr(text, "AC0541") != NULL;
}

static int setup(void **state)
{
    (void)state;
    now = 1000000 * SECOND;
    n_opened = n_closed = 0;
    ac_breaker_init(&breaker, &conf, "gpt");
    return 0;
}

static void call(ac_breaker_result_e outcome)
{
    ac_breaker_ticket_t ticket = ac_breaker_begin(&breaker, now);
    ac_breaker_end(&breaker, &ticket, outcome, now);
}

static void calls(int n, ac_breaker_result_e outcome)
{
    for (int i = 0; i < n; i++) {
        call(outcome);
    }
}

static ac_breaker_state_e state_now(void)
{
    return ac_breaker_state(&breaker, now, NULL);
}

/* The time until the breaker allows a call; it must be open. */
static apr_interval_time_t wait_now(void)
{
    apr_interval_time_t wait = 0;
    assert_int_equal(ac_breaker_state(&breaker, now, &wait), AC_BREAKER_OPEN);
    assert_false(ac_breaker_allows(&breaker, now, NULL));
    assert_true(wait > 0);
    return wait;
}

static void open_it(void)
{
    calls(10, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
}

static void test_few_calls_do_not_open_it(void **state)
{
    (void)state;
    calls(9, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    call(AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
    assert_int_equal(n_opened, 1);
}

static void test_a_rate_opens_it(void **state)
{
    (void)state;
    calls(11, AC_BREAKER_RESULT_OK);
    calls(10, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED); /* 10 of 21 */
    call(AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN); /* 11 of 22 */
}

static void test_neutral_calls_do_not_count(void **state)
{
    (void)state;
    calls(9, AC_BREAKER_RESULT_FAILED);
    calls(50, AC_BREAKER_RESULT_UNKNOWN);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    call(AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
}

static void test_the_window_slides(void **state)
{
    (void)state;
    /* Nine now and then: never ten within any 30 seconds. */
    for (int i = 0; i < 40; i++) {
        call(AC_BREAKER_RESULT_FAILED);
        now += 4 * SECOND;
    }
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    calls(3, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
}

static void test_all_is_forgotten_after_the_window(void **state)
{
    (void)state;
    calls(9, AC_BREAKER_RESULT_FAILED);
    now += 31 * SECOND;
    calls(9, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    now += 3600 * SECOND;
    calls(9, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
}

static void test_one_probe_at_a_time_closes_it(void **state)
{
    (void)state;
    open_it();
    now += wait_now() - 1;
    assert_false(ac_breaker_allows(&breaker, now, NULL));
    now += 1;
    assert_int_equal(state_now(), AC_BREAKER_HALF_OPEN);
    assert_true(ac_breaker_allows(&breaker, now, NULL));
    ac_breaker_ticket_t probe = ac_breaker_begin(&breaker, now);
    apr_interval_time_t wait = 0;
    assert_false(ac_breaker_allows(&breaker, now, &wait));
    assert_true(wait > 0);
    assert_int_equal(state_now(), AC_BREAKER_HALF_OPEN);
    assert_int_equal(n_closed, 0);
    ac_breaker_answered(&breaker, &probe, now);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    assert_int_equal(n_closed, 1);
    ac_breaker_answered(&breaker, &probe, now);
    /* Its end counts, as one call of the new window. */
    ac_breaker_end(&breaker, &probe, AC_BREAKER_RESULT_FAILED, now);
    calls(8, AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    call(AC_BREAKER_RESULT_FAILED);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
}

static void test_a_probe_without_a_token_closes_it_at_its_end(void **state)
{
    (void)state;
    open_it();
    now += wait_now();
    call(AC_BREAKER_RESULT_OK);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
    assert_int_equal(n_closed, 1);
}

static void test_a_probe_that_fails_opens_it_for_longer(void **state)
{
    (void)state;
    apr_interval_time_t base = 10 * SECOND;
    open_it();
    for (int i = 0; i < 12; i++) {
        apr_interval_time_t wait = wait_now(), most = base < 300 * SECOND ? base : 300 * SECOND;
        assert_in_range(wait, most * 8 / 10, most * 12 / 10);
        now += wait;
        call(AC_BREAKER_RESULT_FAILED);
        base *= 2;
    }
    assert_int_equal(n_opened, 1); /* one line, however often it was tried */
}

static void test_the_jitter_spreads(void **state)
{
    (void)state;
    apr_interval_time_t least = 20 * SECOND, most = 0;
    for (int i = 0; i < 200; i++) {
        ac_breaker_init(&breaker, &conf, "gpt");
        open_it();
        apr_interval_time_t wait = wait_now();
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(most - least > 2 * SECOND);
}

static void test_a_probe_that_was_cancelled_leaves_it_to_the_next(void **state)
{
    (void)state;
    open_it();
    now += wait_now();
    ac_breaker_ticket_t probe = ac_breaker_begin(&breaker, now);
    ac_breaker_end(&breaker, &probe, AC_BREAKER_RESULT_UNKNOWN, now);
    assert_true(ac_breaker_allows(&breaker, now, NULL));
    call(AC_BREAKER_RESULT_OK);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
}

static void test_calls_that_began_before_it_opened_are_ignored(void **state)
{
    (void)state;
    ac_breaker_ticket_t before = ac_breaker_begin(&breaker, now), failed = before;
    open_it();
    ac_breaker_answered(&breaker, &before, now);
    ac_breaker_end(&breaker, &before, AC_BREAKER_RESULT_OK, now);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
    now += wait_now();
    ac_breaker_ticket_t probe = ac_breaker_begin(&breaker, now);
    ac_breaker_end(&breaker, &failed, AC_BREAKER_RESULT_FAILED, now);
    assert_int_equal(state_now(), AC_BREAKER_HALF_OPEN);
    assert_true(breaker.state == AC_BREAKER_HALF_OPEN);
    ac_breaker_answered(&breaker, &probe, now);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
}

/* A run that has begun calls the model anyway; its success closes the breaker like that of a probe. */
static void test_an_answer_while_it_is_open_closes_it(void **state)
{
    (void)state;
    open_it();
    ac_breaker_ticket_t ticket = ac_breaker_begin(&breaker, now);
    assert_false(ticket.probe);
    ac_breaker_end(&breaker, &ticket, AC_BREAKER_RESULT_FAILED, now);
    assert_int_equal(state_now(), AC_BREAKER_OPEN);
    ticket = ac_breaker_begin(&breaker, now);
    ac_breaker_answered(&breaker, &ticket, now);
    assert_int_equal(state_now(), AC_BREAKER_CLOSED);
}

static void test_delays_continue_when_it_opens_again_at_once(void **state)
{
    (void)state;
    open_it();
    now += wait_now();
    call(AC_BREAKER_RESULT_OK);
    open_it();
    assert_in_range(wait_now(), 16 * SECOND, 24 * SECOND);
    now += wait_now();
    call(AC_BREAKER_RESULT_OK);
    now += 31 * SECOND; /* a whole window without a failure */
    open_it();
    assert_in_range(wait_now(), 8 * SECOND, 12 * SECOND);
    assert_int_equal(n_opened, 3);
    assert_int_equal(n_closed, 2);
}

static void test_without_one_nothing_opens(void **state)
{
    (void)state;
    static const ac_breaker_conf_t none, off = {.off = true, .failures = 50, .calls = 1, .window = 30, .open = 10};
    const ac_breaker_conf_t *const both[] = {&none, &off};
    for (int i = 0; i < 2; i++) {
        ac_breaker_init(&breaker, both[i], "gpt");
        calls(1000, AC_BREAKER_RESULT_FAILED);
        assert_int_equal(state_now(), AC_BREAKER_OFF);
        assert_true(ac_breaker_allows(&breaker, now, NULL));
    }
}

static void test_outcomes_that_count_as_failures(void **state)
{
    (void)state;
    static const ac_kind_e failures[] = {AC_MODEL_ERROR, AC_MODEL_TIMEOUT, AC_MODEL_THROTTLED, AC_UPSTREAM_ERROR,
                                         AC_UPSTREAM_TIMEOUT};
    int n = 0;
    for (int kind = AC_OK; kind < AC_N_KINDS; kind++) {
        ac_err_t err = {.kind = kind};
        n += ac_breaker_result(&err) == AC_BREAKER_RESULT_FAILED;
    }
    assert_int_equal(n, sizeof failures / sizeof failures[0]);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        ac_err_t err = {.kind = failures[i]};
        assert_int_equal(ac_breaker_result(&err), AC_BREAKER_RESULT_FAILED);
    }
}

int main(void)
{
    apr_initialize();
    ac_log_install(count_lines, AC_INFO);
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup(test_few_calls_do_not_open_it, setup),
        cmocka_unit_test_setup(test_a_rate_opens_it, setup),
        cmocka_unit_test_setup(test_neutral_calls_do_not_count, setup),
        cmocka_unit_test_setup(test_the_window_slides, setup),
        cmocka_unit_test_setup(test_all_is_forgotten_after_the_window, setup),
        cmocka_unit_test_setup(test_one_probe_at_a_time_closes_it, setup),
        cmocka_unit_test_setup(test_a_probe_without_a_token_closes_it_at_its_end, setup),
        cmocka_unit_test_setup(test_a_probe_that_fails_opens_it_for_longer, setup),
        cmocka_unit_test_setup(test_the_jitter_spreads, setup),
        cmocka_unit_test_setup(test_a_probe_that_was_cancelled_leaves_it_to_the_next, setup),
        cmocka_unit_test_setup(test_calls_that_began_before_it_opened_are_ignored, setup),
        cmocka_unit_test_setup(test_an_answer_while_it_is_open_closes_it, setup),
        cmocka_unit_test_setup(test_delays_continue_when_it_opens_again_at_once, setup),
        cmocka_unit_test_setup(test_without_one_nothing_opens, setup),
        cmocka_unit_test_setup(test_outcomes_that_count_as_failures, setup),
    };
    return cmocka_run_group_tests_name("breaker", group, NULL, NULL);
}
