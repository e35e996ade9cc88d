/* SPDX-License-Identifier: Apache-2.0 */
/* A run driven state by state: answers, tools, and what goes wrong on the way. */
#include "run_world.h"

static void test_a_plain_answer(void **state)
{
    (void)state;
    start_new("Hello there");
    json_t *in = expect_op(AC_STORE_TURN_OPEN)->in;
    assert_string_equal(text_at(in, "message", "content"), "Hello there");
    assert_string_equal(text_at(in, "run", "status"), "in_progress");
    assert_string_equal(text_at(in, "thread", "title"), "Hello there");
    assert_true(model.asked); /* beside the write, not after it */
    open_well();
    say("Hi");
    say(" Ann");
    end_well();
    assert_string_equal(seen, "run token token"); /* done only when stored */
    json_t *written = close_well();
    assert_string_equal(seen, "run token token done");
    assert_string_equal(text_at(written, "message", "content"), "Hi Ann");
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 1);
    assert_string_equal(json_string_value(json_object_get(last, "status")), "completed");
    assert_int_equal(json_integer_value(json_object_get(last, "tokens_used")), 14);
    /* 8 fresh and 2 cached in, 4 out, per million */
    assert_float_equal(json_real_value(json_object_get(json_object_get(last, "cost"), "amount")), 17e-6, 1e-9);
    json_decref(written);
}

static void test_no_token_is_shown_before_it_is_durable(void **state)
{
    (void)state;
    start_new("x");
    say("a");
    say("b");
    assert_string_equal(seen, "");
    end_well();
    assert_string_equal(seen, "");
    open_well();
    assert_string_equal(seen, "run token token");
    json_decref(close_well());
    assert_string_equal(seen, "run token token done");
}

static void test_history_is_read_and_sent(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("and now?");
    turn->agent = NULL; /* the thread's own */
    ac_id_make(turn->thread_id, "thread_");
    ac_run_start(engine, turn, &follower);
    fake_turn();
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s}, s:[{s:s,s:s},{s:s,s:s}], s:n}", "thread", "agent_id", "assistant", "messages",
                        "role", "user", "content", "before", "role", "assistant", "content", "yes", "active_run"),
              AC_OK);
    assert_int_equal(json_array_size(model.messages), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 0), "role")), "system");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 2), "content")), "yes");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 3), "content")), "and now?");
    open_well();
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run done");
}

/* The client brings messages that were said elsewhere: the model gets them behind those of the thread, and the opening
 * write stores them before the turn's own. */
static void test_a_turn_that_brings_a_history(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("and now?");
    ac_id_make(turn->thread_id, "thread_");
    turn->history = json_pack("[{s:s, s:s}, {s:s, s:s, s:[{s:s, s:b}]}, {s:s, s:s, s:[{s:s}]}]", "role", "user",
                              "content", "two", "role", "assistant", "content", "", "tool_calls", "id", "c1", "client",
                              1, "role", "user", "content", "", "tool_calls", "id", "c1");
    ac_run_start(engine, turn, &follower);
    fake_turn();
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s, s:i}, s:[{s:s, s:s}], s:n, s:s, s:i}", "thread", "agent_id", "assistant",
                        "message_count", 7, "messages", "role", "user", "content", "one", "active_run", "parent_id",
                        "msg_3", "parent_seq", 3),
              AC_OK);
    assert_int_equal(json_array_size(model.messages), 6);
    assert_string_equal(ac_json_peek_string(json_array_get(model.messages, 1), "content", ""), "one");
    assert_string_equal(ac_json_peek_string(json_array_get(model.messages, 2), "content", ""), "two");
    assert_string_equal(ac_json_peek_string(json_array_get(model.messages, 5), "content", ""), "and now?");
    const json_t *in = expect_op(AC_STORE_TURN_OPEN)->in, *earlier = json_object_get(in, "earlier");
    const json_t *message = json_object_get(in, "message");
    static const char *const roles[] = {"user", "assistant", "tool"};
    const char *parent_id = "msg_3";
    for (size_t i = 0; i < 3; i++) {
        const json_t *one = json_array_get(earlier, i);
        assert_string_equal(ac_json_peek_string(one, "role", ""), roles[i]);
        assert_string_equal(ac_json_peek_string(one, "parent_id", ""), parent_id);
        assert_true(json_is_null(json_object_get(one, "run_id")));
        parent_id = ac_json_peek_string(one, "id", "");
    }
    assert_string_equal(ac_json_peek_string(message, "parent_id", ""), parent_id);
    assert_int_equal(ac_json_peek_int(in, "parent_seq", -1), 3);
    assert_int_equal(ac_json_peek_int(in, "after", -1), 7);
    open_well();
    end_well();
    json_t *closed = close_well();
    assert_int_equal(ac_json_peek_int(closed, "after", -1), 11);
    assert_int_equal(ac_json_peek_int(closed, "parent_seq", -1), 11);
    json_decref(closed);
}

static void test_a_run_in_progress_is_refused_on_reading(void **state)
{
    (void)state;
    start_in_thread("x");
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{}, s:[], s:s}", "thread", "messages", "active_run", "run_other"), AC_OK);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "run_other"));
    assert_int_equal(model.n_asked, 0);
}

static void test_a_run_in_progress_is_refused_on_writing(void **state)
{
    (void)state;
    start_new("x");
    say("never seen");
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(json_pack("{s:s}", "run_id", "run_other"), AC_RUN_IN_PROGRESS);
    assert_true(model.cancelled);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
}

static void test_a_missing_thread(void **state)
{
    (void)state;
    start_in_thread("x");
    answer_op(NULL, AC_NOT_FOUND);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_NOT_FOUND);
}

static void test_two_tools_of_one_round(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{\"n\": 1}", false}, {"c2", "blocking", "", false}};
    start_new("x");
    open_well();
    say("Let me see.");
    want_tools(calls, 2);
    assert_string_equal(seen, "run token trace_start trace_start");
    assert_int_equal(n_later, 1);
    assert_int_equal(fake.n_jobs, 1); /* both at once */
    fake_work();
    assert_string_equal(seen, "run token trace_start trace_start trace_end");
    assert_int_equal(json_integer_value(json_object_get(last, "result")), 42);
    assert_int_equal(model.n_asked, 1);
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 2);
    /* in the model's order, whichever came first: assistant, c1, c2 */
    size_t n = json_array_size(model.messages);
    assert_string_equal(text_at(json_array_get(model.messages, n - 2), "x", "x") ? "" : "c1",
                        json_string_value(json_object_get(json_array_get(model.messages, n - 2), "tool_call_id")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, n - 2), "content")), "sunny");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, n - 1), "content")), "42");
    say("It is sunny.");
    end_well();
    json_t *written = close_well(), *message = json_object_get(written, "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "Let me see.\n\nIt is sunny.");
    json_t *tool_calls = json_object_get(message, "tool_calls");
    assert_int_equal(json_array_size(tool_calls), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(tool_calls, 0), "id")), "c1");
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 4);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(written, "run"), "rounds")), 2);
    assert_string_equal(said, "Let me see.\n\nIt is sunny.");
    assert_int_equal(json_integer_value(json_object_get(last, "tokens_used")), 28);
    json_decref(written);
}

/* Runs one round with this call and gives what the model reads of its outcome; the run is then ended well. */
static void tool_answer(char *answer, size_t size, ac_tool_call_t call)
{
    start_new("x");
    open_well();
    want_tools(&call, 1);
    fake_work();
    assert_int_equal(model.n_asked, 2);
    json_t *message = json_array_get(model.messages, json_array_size(model.messages) - 1);
    snprintf(answer, size, "%s", json_string_value(json_object_get(message, "content")));
    end_well();
    json_decref(close_well());
}

static void test_a_failing_call_as_the_model_reads_it(void **state)
{
    (void)state;
    static const struct {
        ac_tool_call_t call;
        const char *answer;
    } cases[] = {
        {{"c", "nonesuch", "{}", false}, "there is no tool of this name; there are later, blocking, next"},
        {{"c", "blocking", "{\"n\": ", false}, "the arguments are not a JSON object"},
        {{"c", "blocking", "[1]", false}, "the arguments are not a JSON object"},
        {{"c", "blocking", "{\"n\": \"one\"}", false}, "/n: "},
        {{"c", "blocking", "{\"fail\": true}", false}, "it broke"},
        {{"c", "later", "{\"refuse\": true}", false}, "refused to start"},
        {{"c", "next", "{\"fail\": true}", false}, "it has no next one"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char answer[512];
        seen[0] = '\0';
        last_seq = 0;
        model.n_asked = 0;
        memset(&follower, 0, sizeof follower);
        follower.on_event = on_event;
        tool_answer(answer, sizeof answer, cases[i].call);
        if (!strstr(answer, cases[i].answer)) {
            fail_msg("case %zu: answer '%s'", i, answer);
        }
        assert_string_equal(seen, "run trace_start trace_end done");
    }
}

static void test_a_tool_that_computes_answers_at_once(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "next", "{\"n\": 1}", false},
                                    {"c2", "later", "{}", false},
                                    {"c3", "next", "{\"n\": 41}", false}};
    start_new("x");
    open_well();
    want_tools(calls, 3);
    assert_string_equal(seen, "run trace_start trace_start trace_start trace_end trace_end");
    assert_int_equal(json_integer_value(json_object_get(last, "result")), 42);
    assert_int_equal(model.n_asked, 1); /* the round is not over */
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 2);
    want_tools(calls, 1); /* a round that ends at once */
    assert_int_equal(model.n_asked, 3);
    end_well();
    json_decref(close_well());
}

static void test_a_busy_server_as_the_model_reads_it(void **state)
{
    (void)state;
    char answer[512];
    fake.work_full = true;
    tool_answer(answer, sizeof answer, (ac_tool_call_t){"c", "blocking", "{}", false});
    assert_non_null(strstr(answer, "too busy"));
}

static void test_a_tool_over_its_deadline(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}, {"c2", "blocking", "{}", false}};
    start_new("x");
    open_well();
    want_tools(calls, 2);
    fake_pass(6000000);
    assert_true(later[0].cancelled);
    assert_int_equal(model.n_asked, 2);
    fake_work(); /* the job ends too late, and has no effect */
    assert_string_equal(seen, "run trace_start trace_start trace_end trace_end");
    end_well();
    json_decref(close_well());
}

static void test_rounds_are_capped(void **state)
{
    (void)state;
    const ac_tool_call_t call = {"c", "blocking", "{}", false};
    start_new("x");
    open_well();
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(model.no_calls, i == 3);
        want_tools(&call, 1);
        fake_work();
    }
    json_t *written = close_well(), *tool_calls = json_object_get(json_object_get(written, "message"), "tool_calls");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    /* the same id in each round would be three calls with one name */
    assert_string_equal(json_string_value(json_object_get(json_array_get(tool_calls, 0), "id")), "c");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tool_calls, 1), "id")), "c_r2");
    json_decref(written);
}

static void test_the_model_fails(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half an");
    ac_model_end_t end = {.status = APR_EGENERAL};
    ac_err_set(&end.err, AC_MODEL_ERROR, "the answer was cut off");
    model_end(end);
    json_t *written = close_well();
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "while asking the model, round 1"));
    assert_string_equal(text_at(written, "message", "content"), "half an");
    assert_string_equal(text_at(written, "run", "status"), "failed");
    assert_true(json_is_true(json_object_get(json_object_get(json_object_get(written, "run"), "usage"), "estimated")));
    json_decref(written);
}

static void test_the_model_cannot_be_asked(void **state)
{
    (void)state;
    model.refuse = true;
    start_new("x");
    open_well();
    json_t *written = close_well();
    assert_true(json_is_null(json_object_get(written, "message")));
    assert_string_equal(seen, "run error");
    json_decref(written);
}

static void test_a_filtered_answer_is_kept_and_marked(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("bad");
    model_end((ac_model_end_t){.finish = AC_FINISH_CONTENT_FILTER});
    json_t *written = close_well();
    assert_int_equal(last_kind, AC_CONTENT_FILTERED);
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "content_filter");
    json_decref(written);
}

static void test_the_answer_cannot_be_stored(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    end_well();
    for (int i = 0; i <= AC_MAX_CLOSINGS; i++) {
        assert_string_equal(seen, "run token");
        expect_op(AC_STORE_TURN_CLOSE);
        answer_op(NULL, AC_STORE_ERROR);
        fake_pass(10000000);
    }
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_STORE_ERROR);
}

static void test_the_answer_is_stored_at_the_second_try(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    end_well();
    answer_op(NULL, AC_STORE_TIMEOUT);
    assert_string_equal(seen, "run token"); /* done is not sent before */
    fake_pass(1000000);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "a");
    assert_string_equal(seen, "run token done");
    json_decref(written);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_a_plain_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_token_is_shown_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history_is_read_and_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_turn_that_brings_a_history, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_in_progress_is_refused_on_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_in_progress_is_refused_on_writing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_missing_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_tools_of_one_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failing_call_as_the_model_reads_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tool_that_computes_answers_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_busy_server_as_the_model_reads_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_tool_over_its_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rounds_are_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_model_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_model_cannot_be_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_filtered_answer_is_kept_and_marked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_answer_cannot_be_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_answer_is_stored_at_the_second_try, setup, teardown),
    };
    return cmocka_run_group_tests_name("run", group, NULL, NULL);
}
