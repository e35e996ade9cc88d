/* SPDX-License-Identifier: Apache-2.0 */
/* A run before its turn is stored: another server is faster, or the store refuses, while the model already answers. */
#include "run_world.h"

static void load_seen(int n)
{
    json_t *messages = json_array();
    for (int i = 1; i <= n; i++) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:s, s:i}", "role", i % 2 ? "user" : "assistant", "content", "said",
                                        "seq", i));
    }
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s, s:i}, s:o, s:n}", "thread", "agent_id", "assistant", "message_count", n, "messages",
                        messages, "active_run"),
              AC_OK);
}

static void start_known(int n)
{
    start_in_thread("and now?");
    load_seen(n);
}

static int64_t after_of(const ac_store_op_t *op)
{
    return ac_json_peek_int(op->in, "after", -1);
}

static void changed_concurrently(bool answered)
{
    start_known(2);
    say("not this");
    if (answered) {
        end_well();
    }
    assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), 2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    assert_int_equal(model.cancelled, !answered);
    load_seen(4);
    assert_int_equal(model.n_asked, 1); /* the turn is opened first from here on */
    assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), 4);
    open_well();
    assert_int_equal(model.n_asked, 2);
    assert_int_equal(json_array_size(model.messages), 6);
    say("but that");
    end_well();
    json_t *written = close_well();
    assert_string_equal(seen, "run token done");
    assert_string_equal(text_at(written, "message", "content"), "but that");
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_int_equal(ac_json_peek_int(json_object_get(written, "run"), "rounds", 0), 1);
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 2); /* both have cost something */
    json_decref(written);
}

static void test_the_thread_changed_concurrently(void **state)
{
    (void)state;
    changed_concurrently(false);
}

static void test_the_thread_changed_concurrently_and_the_model_was_faster(void **state)
{
    (void)state;
    changed_concurrently(true);
}

/* However often other servers are faster: an answer to an older history is neither stored nor shown. */
static void test_the_thread_changes_again_and_again(void **state)
{
    (void)state;
    int seq = 2;
    start_known(seq);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), seq);
        answer_op(NULL, AC_PRECONDITION_FAILED);
        seq += 2;
        load_seen(seq);
    }
    assert_int_equal(model.n_asked, 1);
    assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), seq);
    open_well();
    assert_int_equal(model.n_asked, 2);
    say("a");
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run token done");
}

/* A store whose read is behind its write is not asked without a pause. */
static void test_the_read_is_behind_the_write(void **state)
{
    (void)state;
    start_known(2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    load_seen(2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    assert_int_equal(n_ops, 0);
    fake_pass(1000000);
    load_seen(4);
    open_well();
    say("a");
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run token done");
}

static void test_the_thread_changes_until_the_run_has_no_time(void **state)
{
    (void)state;
    start_known(2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    load_seen(2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    fake_pass(engine->conf.run_timeout);
    assert_int_equal(n_ops, 1); /* the read, which was under way */
    load_seen(2);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_TIMEOUT);
    assert_int_equal(n_ops, 0);
}

/* The question of a run that was cancelled is refused: stored here it could come before an answer that is older. */
static void test_a_cancelled_run_after_a_concurrent_change(void **state)
{
    (void)state;
    start_known(2);
    say("to an older history");
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
    assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), 2);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    assert_int_equal(n_ops, 0);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
}

static void test_the_thread_changed_concurrently_and_tools_were_wanted(void **state)
{
    (void)state;
    static const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}, {"c2", "blocking", "{}", false}};
    start_known(2);
    want_tools(calls, 2);
    assert_int_equal(n_later + fake.n_jobs, 0);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    load_seen(4);
    assert_int_equal(after_of(expect_op(AC_STORE_TURN_OPEN)), 4);
    open_well();
    want_tools(calls, 1);
    assert_int_equal(n_later, 1);
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    say("a");
    end_well();
    json_t *written = close_well();
    assert_int_equal(json_array_size(json_object_get(json_object_get(written, "message"), "tool_calls")), 1);
    json_decref(written);
    assert_string_equal(seen, "run trace_start trace_end token done");
}

/* What a tool does cannot be taken back: it is not called for a turn that the store may refuse. */
static void refused_with_tools(ac_kind_e kind)
{
    static const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}, {"c2", "blocking", "{}", false}};
    start_known(2);
    want_tools(calls, 2);
    fake_pass(500000);
    answer_op(NULL, kind);
    assert_int_equal(n_later + fake.n_jobs, 0);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, kind);
}

static void test_no_tool_is_called_for_a_turn_that_is_refused(void **state)
{
    (void)state;
    refused_with_tools(AC_RUN_IN_PROGRESS);
}

static void test_no_tool_is_called_for_a_turn_that_is_not_stored(void **state)
{
    (void)state;
    refused_with_tools(AC_STORE_ERROR);
}

static void test_cancelled_before_its_tools_could_be_called(void **state)
{
    (void)state;
    static const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}};
    start_known(2);
    want_tools(calls, 1);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    open_well();
    assert_int_equal(n_later, 0);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    json_decref(written);
    assert_string_equal(seen, "run trace_start trace_end done");
}

/* ---- a conversation that its client names ---- */

static char named[AC_ID_SIZE];

static void start_named(const char *content)
{
    const unsigned char bits[AC_ID_BITS] = "sixteen bytes...";
    ac_turn_t *turn = new_turn(content);
    ac_id_of_bits(named, "thread_", bits);
    assert_true(ac_id_valid(named, "thread_"));
    apr_cpystrn(turn->thread_id, named, sizeof turn->thread_id);
    turn->creates = true;
    ac_run_start(engine, turn, &follower);
    fake_turn();
}

static void test_the_first_message_makes_the_thread_of_its_name(void **state)
{
    (void)state;
    start_named("hi");
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(NULL, AC_NOT_FOUND);
    const ac_store_op_t *op = expect_op(AC_STORE_TURN_OPEN);
    assert_string_equal(text_at(op->in, "thread", "id"), named);
    assert_int_equal(after_of(op), -1);
    open_well();
    say("hello");
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run token done");
}

static void test_two_first_messages_make_one_thread(void **state)
{
    (void)state;
    start_named("hi");
    answer_op(NULL, AC_NOT_FOUND);
    say("not this");
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(NULL, AC_IDEMPOTENCY_CONFLICT);
    load_seen(2);
    const ac_store_op_t *op = expect_op(AC_STORE_TURN_OPEN);
    assert_null(json_object_get(op->in, "thread"));
    assert_int_equal(after_of(op), 2);
    open_well();
    say("but that");
    end_well();
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "but that");
    json_decref(written);
    assert_string_equal(seen, "run token done");
}

static void test_the_name_of_a_deleted_thread_is_not_free(void **state)
{
    (void)state;
    start_named("hi");
    for (int i = 0; i < 2; i++) {
        expect_op(AC_STORE_TURN_LOAD);
        answer_op(NULL, AC_NOT_FOUND);
        expect_op(AC_STORE_TURN_OPEN);
        answer_op(NULL, AC_IDEMPOTENCY_CONFLICT);
    }
    assert_string_equal(seen, "error");
    assert_int_equal(n_ops, 0);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_the_thread_changed_concurrently, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_thread_changed_concurrently_and_the_model_was_faster, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_thread_changes_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_read_is_behind_the_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_thread_changes_until_the_run_has_no_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_cancelled_run_after_a_concurrent_change, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_thread_changed_concurrently_and_tools_were_wanted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_tool_is_called_for_a_turn_that_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_tool_is_called_for_a_turn_that_is_not_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled_before_its_tools_could_be_called, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_first_message_makes_the_thread_of_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_first_messages_make_one_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_name_of_a_deleted_thread_is_not_free, setup, teardown),
    };
    return cmocka_run_group_tests_name("run_overtaken", group, NULL, NULL);
}
