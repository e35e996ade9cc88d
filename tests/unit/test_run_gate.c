/* SPDX-License-Identifier: Apache-2.0 */
/* A run whose model is full, and what an answer may have. */
#include "run_gates.h"

/* ---- a full model ---- */

static void limit(int n_runs, int n_queued)
{
    first_gate = (ac_gate_conf_t){.max_runs = n_runs, .max_queued = n_queued, .wait = 5000000};
    engine->conf.max_runs = engine->queue.max_per_owner = 100;
}

static void test_a_full_model_has_a_line(void **state)
{
    (void)state;
    ac_gate_state_t look;
    limit(1, 1);
    start_run(0);
    open_well();
    start_run(1);
    start_run(2);
    assert_int_equal(runs[1].n_events, 0);
    assert_int_equal(runs[2].n_events, 1); /* its only one */
    assert_int_equal(runs[2].kind, AC_OVERLOADED);
    assert_true(runs[2].retry_after >= APR_USEC_PER_SEC);
    assert_int_equal(n_ops, 0); /* neither the one that waits nor the one turned away was written down */
    ac_engine_gate_state(engine, &the_model, &look);
    assert_true(look.limited);
    assert_int_equal(look.n_runs, 1);
    assert_int_equal(look.n_queued, 1);
    assert_int_equal(model.n_asked, 1);
    say("all of it");
    end_well();
    json_decref(expect_op(AC_STORE_TURN_CLOSE) ? close_well() : NULL);
    assert_int_equal(runs[0].type, AC_EVENT_DONE);
    assert_int_equal(model.n_asked, 2);
    open_well();
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
    ac_engine_gate_state(engine, &the_model, &look);
    assert_int_equal(look.n_runs + look.n_queued, 0);
}

static void test_waiting_for_a_full_model_too_long(void **state)
{
    (void)state;
    limit(1, 5);
    start_run(0);
    open_well();
    start_run(1);
    fake_pass(5000001);
    assert_int_equal(runs[1].n_events, 1);
    assert_int_equal(runs[1].kind, AC_OVERLOADED);
    assert_true(runs[1].retry_after >= APR_USEC_PER_SEC);
    assert_int_equal(n_ops, 0);
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[0].type, AC_EVENT_DONE);
}

static void test_a_full_model_leads_to_the_fallback(void **state)
{
    (void)state;
    limit(1, 1);
    first_gate.fallback = &second_model;
    start_run(0);
    open_well();
    start_run(1);
    start_run(2);
    assert_int_equal(second.n_asked, 1); /* the queue is full */
    open_well();
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_int_equal(runs[2].type, AC_EVENT_DONE);
    fake_pass(5000001);
    assert_int_equal(second.n_asked, 2); /* and this one has waited long enough */
    open_well();
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[0].type, AC_EVENT_DONE);
}

static void test_leaving_the_line(void **state)
{
    (void)state;
    limit(1, 3);
    start_run(0);
    open_well();
    for (int i = 1; i <= 3; i++) {
        start_run(i);
    }
    cancel_run(2); /* from the middle */
    assert_int_equal(runs[2].type, AC_EVENT_DONE);
    cancel_run(1); /* the first */
    end_well();
    json_decref(close_well());
    assert_int_equal(model.n_asked, 2);
    open_well();
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[3].type, AC_EVENT_DONE);
}

/* The slot is already its own when it is cancelled, before it could ask. */
static void test_cancelled_between_slot_and_question(void **state)
{
    (void)state;
    limit(1, 3);
    start_run(0);
    open_well();
    start_run(1);
    start_run(2);
    model.asked = false;
    model.cb->on_end(model.run, &(ac_model_end_t){.finish = AC_FINISH_STOP});
    assert_int_equal(ac_run_cancel(engine, runs[1].id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
    assert_int_equal(model.n_asked, 2); /* the third's */
    json_decref(close_well());
    open_well();
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[2].type, AC_EVENT_DONE);
}

static void test_stopping_empties_the_line(void **state)
{
    (void)state;
    limit(1, 3);
    start_run(0);
    open_well();
    start_run(1);
    start_run(2);
    ac_engine_stop(engine, NULL, NULL);
    fake_turn();
    assert_int_equal(runs[1].kind, AC_STOPPING);
    assert_int_equal(runs[2].kind, AC_STOPPING);
    json_decref(close_well());
    assert_int_equal(runs[0].kind, AC_STOPPING);
    assert_int_equal(model.n_asked, 1);
}

/* The slot of the failed model is released; a run that has begun gets a slot of its fallback although that is full. */
static void test_a_run_that_has_begun_does_not_wait(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}};
    limit(1, 1);
    first_gate.fallback = &second_model;
    second_gate = (ac_gate_conf_t){.max_runs = 1, .max_queued = 1, .wait = 5000000};
    start_run(0);
    open_well();
    want_tools(calls, 1);
    start_run(1); /* waits for the first model */
    start_run(2); /* has the second one's only slot */
    assert_int_equal(second.n_asked, 1);
    open_well();
    void *run_2 = second.run;
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    break_down(AC_MODEL_ERROR);
    assert_int_equal(second.n_asked, 2); /* at once */
    assert_int_equal(model.n_asked, 3);  /* and the queued run got the slot */
    open_well();
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_int_equal(runs[0].type, AC_EVENT_DONE);
    second.run = run_2;
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_int_equal(runs[2].type, AC_EVENT_DONE);
    end_well();
    json_decref(close_well());
    assert_int_equal(runs[1].type, AC_EVENT_DONE);
}

/* ---- what an answer may have ---- */

static void test_more_tools_at_once_than_the_agent_allows(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false},
                                    {"c2", "later", "{}", false},
                                    {"c3", "later", "{}", false}};
    agent.max_tool_calls = 2;
    start_new("x");
    open_well();
    want_tools(calls, 2);
    assert_int_equal(n_later, 2);
    for (int i = 0; i < 2; i++) {
        later[i].done(later[i].baton, APR_SUCCESS, json_string("ok"), NULL);
    }
    fake_turn();
    want_tools(calls, 3);
    assert_int_equal(n_later, 2); /* none of the three was started */
    json_decref(close_well());
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    assert_non_null(
        strstr(json_string_value(json_object_get(last, "message")), "3 tools at once, and the agent allows 2"));
    assert_int_equal(second.n_asked, 0);
}

static void test_a_longer_answer_than_allowed(void **state)
{
    (void)state;
    engine->conf.max_answer = 8;
    start_new("x");
    open_well();
    say("12345678");
    say("9");
    assert_true(model.cancelled);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "12345678");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "longer than 8 bytes"));
    json_decref(written);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_a_full_model_has_a_line, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_for_a_full_model_too_long, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_model_leads_to_the_fallback, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_leaving_the_line, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_between_slot_and_question, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_empties_the_line, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_that_has_begun_does_not_wait, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_more_tools_at_once_than_the_agent_allows, setup_gates, teardown),
        cmocka_unit_test_setup_teardown(test_a_longer_answer_than_allowed, setup_gates, teardown),
    };
    return cmocka_run_group_tests_name("run line", group, NULL, NULL);
}
