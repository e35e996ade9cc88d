/* SPDX-License-Identifier: Apache-2.0 */
/* A run whose model fails: a fallback replaces it, or its breaker is open. */
#include "run_gates.h"

/* ---- the fallback model ---- */

static void test_another_model_stands_in(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    break_down(AC_MODEL_ERROR);
    assert_int_equal(second.n_asked, 1);
    assert_int_equal(second.n_messages, json_array_size(model.messages));
    assert_string_equal(seen, "run");
    other_says(&second, "Hello");
    other_ends(&second, AC_OK);
    json_t *written = close_well();
    assert_string_equal(seen, "run token done");
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_string_equal(text_at(written, "run", "model"), "second");
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "model"), "second");
    assert_int_equal(count_steps(written), 2);
    assert_string_equal(step_text(written, 0, "model"), "fake");
    assert_string_equal(step_text(written, 0, "status"), "failed");
    assert_string_equal(step_text(written, 0, "error"), "the fake model says so");
    assert_string_equal(step_text(written, 1, "model"), "second");
    assert_string_equal(step_text(written, 1, "status"), "completed");
    /* the price of the one that answered */
    assert_float_equal(json_real_value(json_object_get(json_object_get(last, "cost"), "amount")), 180e-6, 1e-9);
    json_decref(written);
}

static void test_failures_with_a_fallback(void **state)
{
    (void)state;
    static const ac_kind_e kinds[] = {AC_MODEL_ERROR, AC_MODEL_TIMEOUT, AC_MODEL_THROTTLED, AC_MODEL_REFUSED};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        start_run(0);
        open_well();
        break_down(kinds[i]);
        other_ends(&second, AC_OK);
        json_decref(close_well());
        assert_int_equal(runs[0].type, AC_EVENT_DONE);
    }
    assert_int_equal(second.n_asked, 4);
}

static void test_failures_without_a_fallback(void **state)
{
    (void)state;
    static const ac_kind_e kinds[] = {AC_CONTENT_FILTERED, AC_CONTEXT_LENGTH, AC_INVALID_REQUEST};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        start_run(0);
        open_well();
        break_down(kinds[i]);
        json_decref(close_well());
        assert_int_equal(runs[0].kind, kinds[i]);
    }
    assert_int_equal(second.n_asked, 0);
}

static void test_not_after_the_first_token(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("Hel");
    break_down(AC_MODEL_ERROR);
    json_t *written = close_well();
    assert_string_equal(seen, "run token error");
    assert_int_equal(second.n_asked, 0);
    assert_string_equal(text_at(written, "message", "content"), "Hel");
    json_decref(written);
}

static void test_not_after_a_tool_was_named(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    model.cb->on_tool_start(model.run, 0, "c1", "later");
    break_down(AC_MODEL_ERROR);
    json_decref(close_well());
    assert_int_equal(second.n_asked, 0);
    assert_int_equal(last_kind, AC_MODEL_ERROR);
}

static void test_a_model_that_cannot_even_be_asked(void **state)
{
    (void)state;
    model.refuse = true;
    start_new("x");
    open_well();
    assert_int_equal(second.n_asked, 1);
    other_ends(&second, AC_OK);
    json_t *written = close_well();
    assert_int_equal(count_steps(written), 2);
    assert_string_equal(step_text(written, 0, "error"), "no key");
    json_decref(written);
}

static void test_both_fail(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    break_down(AC_MODEL_TIMEOUT);
    other_ends(&second, AC_MODEL_ERROR);
    json_t *written = close_well();
    assert_string_equal(seen, "run error");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "the other model says so"));
    assert_int_equal(count_steps(written), 2);
    json_decref(written);
}

static void test_a_chain_of_three(void **state)
{
    (void)state;
    second_gate.fallback = &third_model;
    start_new("x");
    open_well();
    break_down(AC_MODEL_TIMEOUT);
    other_ends(&second, AC_MODEL_ERROR);
    assert_int_equal(third.n_asked, 1);
    other_ends(&third, AC_OK);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "model"), "third");
    assert_int_equal(count_steps(written), 3);
    assert_true(json_is_null(json_object_get(last, "cost"))); /* it has no price */
    json_decref(written);
}

/* The tools' results go to the other model; both models' rounds are paid, each at its price. */
static void test_in_a_later_round(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}};
    start_new("x");
    open_well();
    say("Let me see.");
    want_tools(calls, 1);
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 2);
    break_down(AC_MODEL_ERROR);
    assert_int_equal(second.n_asked, 1);
    other_says(&second, "Sunny.");
    const ac_tool_call_t again[] = {{"c2", "later", "{}", false}};
    second.cb->on_end(second.run,
                      &(ac_model_end_t){.finish = AC_FINISH_TOOL_CALLS,
                                        .calls = again,
                                        .n_calls = 1,
                                        .usage = {.prompt = 10, .completion = 4, .total = 14, .known = true}});
    fake_turn();
    later[1].done(later[1].baton, APR_SUCCESS, json_string("still"), NULL);
    fake_turn();
    assert_int_equal(second.n_asked, 2); /* it stays with the one that answers */
    other_ends(&second, AC_OK);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "Let me see.\n\nSunny.");
    /* 10 in and 4 out at 1 and 2, then twice 10 in and 4 out at 10 and 20, per million */
    assert_float_equal(json_real_value(json_object_get(json_object_get(last, "cost"), "amount")), 378e-6, 1e-9);
    json_decref(written);
}

/* ---- the breaker ---- */

static const ac_breaker_conf_t breaker = {.failures = 60, .calls = 2, .window = 30000000, .open = 10000000};

static void open_breaker(void)
{
    const ac_model_t *next = first_gate.fallback;
    first_gate.breaker = breaker;
    first_gate.fallback = NULL;
    for (int i = 0; i < 2; i++) {
        start_run(0);
        open_well();
        break_down(AC_MODEL_ERROR);
        json_decref(close_well());
    }
    first_gate.fallback = next;
}

static void test_an_open_breaker_fails_at_once_and_stores_nothing(void **state)
{
    (void)state;
    ac_gate_state_t look;
    open_breaker();
    first_gate.fallback = NULL;
    int n_asked = model.n_asked;
    start_run(0);
    assert_int_equal(runs[0].n_events, 1);
    assert_int_equal(runs[0].kind, AC_MODEL_ERROR);
    assert_in_range(runs[0].retry_after, 8000000, 12000000);
    assert_int_equal(model.n_asked, n_asked);
    ac_engine_gate_state(engine, &the_model, &look);
    assert_string_equal(look.breaker, "open");
    assert_in_range(look.retry_after, 8000000, 12000000);
    fake_pass(12000000);
    ac_engine_gate_state(engine, &the_model, &look);
    assert_string_equal(look.breaker, "half-open");
    start_run(1);
    assert_int_equal(model.n_asked, n_asked + 1);
    start_run(0); /* beside the one that tries */
    assert_int_equal(runs[0].kind, AC_MODEL_ERROR);
    open_well();
    say("I am back");
    ac_engine_gate_state(engine, &the_model, &look);
    assert_string_equal(look.breaker, "closed");
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
}

static void test_an_open_breaker_leads_to_the_fallback(void **state)
{
    (void)state;
    open_breaker();
    int n_asked = model.n_asked;
    start_new("x");
    assert_int_equal(model.n_asked, n_asked);
    assert_int_equal(second.n_asked, 1);
    open_well();
    other_ends(&second, AC_OK);
    json_t *written = close_well();
    assert_int_equal(count_steps(written), 1); /* the other one was not tried */
    assert_string_equal(text_at(written, "run", "model"), "second");
    json_decref(written);
}

static void test_a_probe_that_is_cancelled_leaves_it_to_the_next(void **state)
{
    (void)state;
    open_breaker();
    first_gate.fallback = NULL;
    fake_pass(12000000);
    start_run(0);
    open_well();
    cancel_run(0);
    json_decref(close_well());
    int n_asked = model.n_asked;
    start_run(1);
    assert_int_equal(model.n_asked, n_asked + 1);
    open_well();
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
}

/* Its tools have run and its client has read half of the answer: it is not turned away by others' failures. */
static void test_a_run_that_has_begun_asks_in_spite_of_it(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}};
    first_gate.breaker = breaker;
    start_run(1);
    open_well();
    want_tools(calls, 1);
    open_breaker();
    first_gate.fallback = NULL;
    int n_asked = model.n_asked;
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, n_asked + 1);
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
    ac_gate_state_t look;
    ac_engine_gate_state(engine, &the_model, &look);
    assert_string_equal(look.breaker, "closed");
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_another_model_stands_in, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_failures_with_a_fallback, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_failures_without_a_fallback, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_not_after_the_first_token, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_not_after_a_tool_was_named, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_model_that_cannot_even_be_asked, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_both_fail, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_chain_of_three, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_in_a_later_round, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_an_open_breaker_fails_at_once_and_stores_nothing, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_an_open_breaker_leads_to_the_fallback, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_probe_that_is_cancelled_leaves_it_to_the_next, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_that_has_begun_asks_in_spite_of_it, setup_gates, teardown),
    };
    return cmocka_run_group_tests_name("run fallback", group, NULL, NULL);
}
