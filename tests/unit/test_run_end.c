/* SPDX-License-Identifier: Apache-2.0 */
/* A run driven state by state: how runs are cancelled, queued, take too long, and end. */
#include "run_world.h"

static void cancel(void)
{
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
}

static void test_cancel_while_loading(void **state)
{
    (void)state;
    start_in_thread("x");
    cancel();
    assert_string_equal(seen, ""); /* the store's answer is still to come */
    answer_op(json_pack("{s:{}, s:[]}", "thread", "messages"), AC_OK);
    assert_string_equal(seen, "done");
    assert_string_equal(json_string_value(json_object_get(last, "status")), "cancelled");
}

static void test_cancel_before_it_is_durable(void **state)
{
    (void)state;
    start_new("x");
    cancel();
    assert_true(model.cancelled);
    open_well();
    json_t *written = close_well();
    assert_string_equal(seen, "run done");
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    json_decref(written);
}

static void test_cancel_in_mid_answer(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("what was said");
    cancel();
    assert_true(model.cancelled);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "what was said");
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "cancelled");
    assert_string_equal(seen, "run token done");
    json_decref(written);
}

static void test_cancel_while_calling(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}, {"c2", "blocking", "{}", false}};
    start_new("x");
    open_well();
    want_tools(calls, 2);
    cancel();
    assert_true(later[0].cancelled);
    fake_work();
    json_decref(close_well());
    assert_string_equal(seen, "run trace_start trace_start trace_end trace_end done");
}

static void test_cancel_while_saving_is_too_late(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    end_well();
    assert_int_not_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    json_decref(close_well());
    assert_string_equal(seen, "run done");
    assert_int_not_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
}

static void test_cancel_while_the_closing_write_is_tried_again(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("all of it");
    end_well();
    for (int i = 0; i < AC_MAX_CLOSINGS; i++) {
        expect_op(AC_STORE_TURN_CLOSE);
        answer_op(NULL, AC_STORE_TIMEOUT);
        assert_int_equal(n_ops, 0); /* it waits for its time */
        assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), ac_err_row(AC_RUN_ENDED)->status);
        fake_pass(apr_time_from_sec(2));
        assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), ac_err_row(AC_RUN_ENDED)->status);
    }
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_string_equal(text_at(written, "message", "content"), "all of it");
    assert_string_equal(json_string_value(json_object_get(last, "status")), "completed");
    json_decref(written);
}

/* A write that may have happened is found out about; one that surely has not is refused, within its time. */
static void test_an_opening_write_that_has_not_happened(void **state)
{
    (void)state;
    start_new("x");
    answer_op(NULL, AC_STORE_TIMEOUT);
    assert_true(json_is_true(json_object_get(expect_op(AC_STORE_TURN_OPEN)->in, "retry")));
    ops[0]->unwritten = true;
    answer_op(NULL, AC_STORE_TIMEOUT);
    assert_int_equal(n_ops, 0);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_STORE_TIMEOUT);
}

static void test_the_run_takes_too_long(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("slow");
    fake_pass(61000000);
    assert_true(model.cancelled);
    json_decref(close_well());
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_RUN_TIMEOUT);
}

static void test_a_stateless_run_stores_nothing(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("x");
    turn->stateless = true;
    ac_run_start(engine, turn, &follower);
    fake_turn();
    assert_int_equal(n_ops, 0);
    say("a");
    end_well();
    assert_string_equal(seen, "run token done");
}

static ac_follower_t quiet[3];
static int quiet_events[3];
static ac_kind_e quiet_kind[3];

static void on_quiet_event(ac_follower_t *self, ac_event_t *event)
{
    quiet_events[self - quiet]++;
    quiet_kind[self - quiet] = event->kind;
}

static void start_quiet(int i)
{
    memset(&quiet[i], 0, sizeof quiet[i]);
    quiet[i].on_event = on_quiet_event;
    quiet_events[i] = 0;
    ac_run_start(engine, new_turn("x"), &quiet[i]);
    fake_turn();
}

/* Two slots, a queue of one. */
static void test_the_line(void **state)
{
    (void)state;
    start_new("first");
    void *first = model.run;
    start_quiet(0);
    void *second = model.run;
    start_quiet(1);
    assert_int_equal(model.n_asked, 2); /* the third is queued */
    start_quiet(2);
    assert_int_equal(quiet_kind[2], AC_OVERLOADED);
    open_well();
    open_well();
    model.run = first;
    end_well();
    json_decref(close_well());
    assert_int_equal(model.n_asked, 3); /* the queued run got the slot */
    open_well();
    end_well();
    json_decref(close_well());
    model.run = second;
    model.asked = true;
    end_well();
    json_decref(close_well());
}

static void test_waiting_in_the_queue_too_long(void **state)
{
    (void)state;
    start_new("first");
    open_well();
    void *first = model.run;
    start_quiet(0);
    void *second = model.run;
    open_well();
    start_quiet(1);
    fake_pass(11000000);
    assert_int_equal(quiet_events[1], 1);
    assert_int_equal(quiet_kind[1], AC_OVERLOADED);
    model.run = first;
    end_well();
    json_decref(close_well());
    model.run = second;
    model.asked = true;
    end_well();
    json_decref(close_well());
}

static void note_stopped(void *baton)
{
    (*(int *)baton)++;
}

static void test_stopping_stores_partial_answers(void **state)
{
    (void)state;
    int stopped = 0;
    start_new("x");
    open_well();
    say("half");
    ac_engine_stop(engine, note_stopped, &stopped);
    fake_turn();
    assert_int_equal(stopped, 0);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "interrupted");
    assert_int_equal(last_kind, AC_STOPPING);
    assert_int_equal(stopped, 1);
    json_decref(written);
    start_quiet(0);
    assert_int_equal(quiet_kind[0], AC_STOPPING);
}

static void test_an_inactive_agent(void **state)
{
    (void)state;
    agent.status = "inactive";
    start_new("x");
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_INVALID_REQUEST);
}

/* Every step that the table does not allow ends the process: a run must never end twice or go backwards. */
static void test_steps_that_are_not_allowed(void **state)
{
    (void)state;
    static const struct {
        ac_run_state_e from;
        unsigned to;
    } allowed[] = {
        {AC_RUN_QUEUED, 1u << AC_RUN_LOADING | 1u << AC_RUN_CALLING | 1u << AC_RUN_SAVING},
        {AC_RUN_LOADING, 1u << AC_RUN_WAITING | 1u << AC_RUN_ASKING | 1u << AC_RUN_SAVING},
        {AC_RUN_WAITING, 1u << AC_RUN_QUEUED | 1u << AC_RUN_SAVING},
        {AC_RUN_ASKING, 1u << AC_RUN_LOADING | 1u << AC_RUN_ASKING | 1u << AC_RUN_CALLING | 1u << AC_RUN_SAVING},
        {AC_RUN_CALLING, 1u << AC_RUN_LOADING | 1u << AC_RUN_ASKING | 1u << AC_RUN_SUSPENDING | 1u << AC_RUN_SAVING},
        {AC_RUN_SUSPENDING, 1u << AC_RUN_SAVING},
        {AC_RUN_SAVING, 1u << AC_RUN_LOADING | 1u << AC_RUN_COMPLETED | 1u << AC_RUN_FAILED | 1u << AC_RUN_CANCELLED},
        {AC_RUN_COMPLETED, 0},
        {AC_RUN_FAILED, 0},
        {AC_RUN_CANCELLED, 0},
    };
    int refused = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        for (unsigned to = 0; to < AC_RUN_N_STATES; to++) {
            if (allowed[i].to & 1u << to) {
                continue;
            }
            pid_t child = fork();
            if (child == 0) {
                ac_run_t run = {.engine = engine, .state = allowed[i].from};
                run.turn = new_turn("x");
                signal(SIGABRT, SIG_DFL);
                ac_run_transit(&run, to, "test");
                _exit(0);
            }
            int status = 0;
            waitpid(child, &status, 0);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
            refused++;
        }
    }
    assert_int_equal(refused, 100 - 21);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_cancel_while_loading, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_in_mid_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_calling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_saving_is_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_while_the_closing_write_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_opening_write_that_has_not_happened, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_run_takes_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stateless_run_stores_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_in_the_queue_too_long, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopping_stores_partial_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_inactive_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steps_that_are_not_allowed, setup, teardown),
    };
    return cmocka_run_group_tests_name("run end", group, NULL, NULL);
}
