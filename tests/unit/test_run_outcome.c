/* SPDX-License-Identifier: Apache-2.0 */
/* The outcome of a run in its log, read by other children. */
#include "tail_world.h"

#include "span_sink.h"

static void start_again(void)
{
    seen[0] = '\0';
    last_seq = 0;
    start_new("x");
}

/* What other children read of a run's end before the store has it. */
static void test_how_the_end_was_decided(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half");
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_OPEN);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CANCELLED);
    json_decref(close_well());
    start_again();
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    open_well(); /* it has a log from here on only */
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CANCELLED);
    json_decref(close_well());
    start_again();
    end_well();
    open_well();
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CLOSING);
    json_decref(close_well());
    start_again();
    open_well();
    assert_int_equal(ac_run_cancel(engine, run_id, AC_STOPPING), APR_SUCCESS);
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CLOSING); /* the owner's request comes too late */
    json_decref(close_well());
}

/* Another child has reported to a client that the run is cancelled: the run ends as cancelled, with any result. */
static void cancel_by_log(void)
{
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    assert_non_null(log);
    assert_int_equal(ac_event_log_decide(log, AC_LOG_OUTCOME_CANCELLED), AC_LOG_OUTCOME_CANCELLED);
    ac_event_log_close(log);
}

static void ended_as_cancelled(const char *text)
{
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    assert_string_equal(text_at(written, "message", "content"), text);
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "cancelled");
    assert_string_equal(json_string_value(json_object_get(last, "status")), "cancelled");
    json_decref(written);
}

static void test_another_child_decides_and_the_model_is_faster(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half");
    cancel_by_log();
    say(" and half");
    end_well();
    ended_as_cancelled("half and half");
}

static void test_another_child_decides_and_the_model_fails(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half");
    cancel_by_log();
    model_end((ac_model_end_t){.status = APR_EGENERAL, .err = {.kind = AC_MODEL_TIMEOUT, .detail = "silent"}});
    ended_as_cancelled("half");
}

static void test_another_child_is_too_late(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("all");
    end_well();
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    assert_int_equal(ac_event_log_decide(log, AC_LOG_OUTCOME_CANCELLED), AC_LOG_OUTCOME_CLOSING);
    ac_event_log_close(log);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "completed");
    json_decref(written);
}

/* The process dies that was to end it. */
static void test_a_cancelled_run_whose_process_dies(void **state)
{
    (void)state;
    static const char id[] = "run_00000000000000000000000001";
    leave_log_of_the_dead(id, "half");
    apr_cpystrn(run_id, id, sizeof run_id);
    cancel_by_log();
    follow(0, id, 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s, s:s}", "id", id, "thread_id", "thread_1", "status", "interrupted"), AC_OK);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "cancelled");
    json_decref(written);
    fake_pass(100000);
    assert_string_equal(visitors[0].seen, "<run>half<done>");
}

/* ---- its span ---- */

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

/* The process has exported spans below that of the run, perhaps: the one that closes it has its id. */
static void test_the_span_of_a_run_whose_process_died(void **state)
{
    (void)state;
    static const char id[] = "run_00000000000000000000000001";
    assert_true(ac_trace_parse(&logged_trace, "00-" TRACE "-" SPAN "-01"));
    sink_open(AC_CONTENT_NONE);
    leave_log_of_the_dead(id, "half");
    logged_trace = (ac_trace_t){.trace_id = ""};
    ac_trace_t found;
    assert_false(ac_event_log_find_trace(&found, dir, id, "bob"));
    assert_true(ac_event_log_find_trace(&found, dir, id, "ann"));
    assert_string_equal(found.span_id, SPAN);
    assert_true(found.sampled);
    follow(0, id, 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "thread_id", "thread_1", "status", "in_progress",
                        "agent_id", "assistant", "created_at", "2026-11-23T04:05:06.007Z"),
              AC_OK);
    json_decref(close_well());
    fake_pass(100000);
    assert_int_equal(sink_n, 1);
    assert_string_equal(sink_spans[0]->name, "invoke_agent assistant");
    assert_string_equal(sink_spans[0]->trace.trace_id, TRACE);
    assert_string_equal(sink_spans[0]->trace.span_id, SPAN);
    assert_string_equal(sink_spans[0]->parent_id, "");
    assert_string_equal(sink_spans[0]->error, "interrupted");
    assert_true(sink_spans[0]->started == INT64_C(1795406706007000));
    assert_string_equal(sink_text(sink_spans[0], AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID), "thread_1");
    sink_close();
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_how_the_end_was_decided, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_another_child_decides_and_the_model_is_faster, setup_logged,
                                        teardown_logged),
        cmocka_unit_test_setup_teardown(test_another_child_decides_and_the_model_fails, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_another_child_is_too_late, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_cancelled_run_whose_process_dies, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_the_span_of_a_run_whose_process_died, setup_logged, teardown_logged),
    };
    return cmocka_run_group_tests_name("run outcome", group, NULL, NULL);
}
