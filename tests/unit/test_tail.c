/* SPDX-License-Identifier: Apache-2.0 */
/* Runs followed from the middle, from their log, from the store; runs of dead processes; runs without followers. */
#include "tail_world.h"

static apr_status_t made; /* why there is no log */

static void test_joining_from_every_point(void **state)
{
    (void)state;
    static const char *const past[] = {"<run>abc<live>", "abc<live>", "bc<live>", "c<live>"};
    start_new("x");
    open_well();
    say("a"), say("b"), say("c");
    for (uint64_t after = 0; after < 4; after++) {
        visitor_t *visitor = follow((int)after, run_id, after);
        fake_turn();
        assert_string_equal(visitor->seen, past[after]);
    }
    say("d");
    end_well();
    json_decref(close_well());
    for (int i = 0; i < 4; i++) {
        assert_int_equal(visitors[i].last_seq, 6);
        assert_string_equal(visitors[i].seen + strlen(visitors[i].seen) - 7, "d<done>");
        assert_non_null(visitors[i].message);
    }
}

static void test_a_run_that_has_ended(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a"), say("b");
    end_well();
    json_decref(close_well());
    visitor_t *all = follow(0, run_id, 0), *rest = follow(1, run_id, 2), *none = follow(2, run_id, 4),
              *more = follow(3, run_id, 9);
    fake_turn();
    assert_string_equal(all->seen, "<run>ab<done>");
    assert_string_equal(json_string_value(json_object_get(all->message, "content")), "ab");
    assert_string_equal(rest->seen, "b<done>");
    assert_string_equal(none->seen, "<nothing>");
    assert_string_equal(more->seen, "<done>");
}

static void test_leaving_within_a_callback(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a"), say("b");
    visitor_t *visitor = follow(0, run_id, 0);
    visitor->leave_after = 2;
    fake_turn();
    assert_string_equal(visitor->seen, "<run>a");
    assert_null(apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING));
    visitor = follow(1, run_id, 0);
    ac_channel_leave(&visitor->follower); /* before the first event */
    fake_turn();
    assert_string_equal(visitor->seen, "");
    end_well();
    json_decref(close_well());
}

static void test_a_run_of_another_owner(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    visitor_t *visitor = &visitors[0];
    visitor->follower.on_event = visit;
    ac_tail_start(engine, run_id, "bob", 0, &visitor->follower);
    fake_turn();
    assert_string_equal(visitor->seen, "<error>");
    assert_int_equal(visitor->kind, AC_NOT_FOUND);
    end_well();
    json_decref(close_well());
}

static void test_from_the_store(void **state)
{
    (void)state;
    visitor_t *visitor = follow(0, "run_gone", 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s}", "id", "run_gone", "status", "in_progress"), AC_OK);
    assert_int_equal(n_ops, 0); /* looks again a little later */
    fake_pass(300000);
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s, s:s, s:s}", "id", "run_gone", "thread_id", "thread_1", "status", "completed",
                        "completed_at", "2026-11-21T05:25:46.123Z"),
              AC_OK);
    expect_op(AC_STORE_STEP_LIST);
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s, s:{}}, {s:s, s:s}]}", "data", "id", "step_1", "type", "tool_call",
                        "tool", "t", "started_at", "2026-11-21T05:25:45.000Z", "arguments", "id", "step_2", "type",
                        "model_call"),
              AC_OK);
    expect_op(AC_STORE_MESSAGE_LIST);
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:i}], s:b}", "data", "role", "user", "run_id", "run_other", "id", "m9",
                        "seq", 9, "has_more", 1),
              AC_OK);
    assert_int_equal(expect_op(AC_STORE_MESSAGE_LIST)->page.before_seq, 9);
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s}, {s:s, s:s, s:s}], s:b}", "data", "role", "assistant", "run_id",
                        "run_gone", "content", "all of it", "id", "m2", "role", "user", "run_id", "run_gone", "id",
                        "m1", "has_more", 1),
              AC_OK);
    assert_string_equal(visitor->seen, "<live><run><trace_start><trace_end>all of it<done>");
    assert_int_equal(visitor->last_seq, AC_TAIL_STORED + 5);
}

/* A follower with events of a run whose log does not exist any more. */
static visitor_t *come_back(uint64_t after, const char *status)
{
    visitor_t *visitor = follow(0, "run_gone", after);
    fake_turn();
    answer_op(json_pack("{s:s, s:s, s:s, s:{s:s}}", "id", "run_gone", "thread_id", "thread_1", "status", status,
                        "error", "code", "interrupted"),
              AC_OK);
    answer_op(json_pack("{s:[]}", "data"), AC_OK);
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "data", "role", "assistant", "run_id",
                        "run_gone", "content", "all of it", "id", "m2", "role", "user", "run_id", "run_gone", "id",
                        "m1"),
              AC_OK);
    fake_turn();
    return visitor;
}

static void test_back_from_the_middle(void **state)
{
    (void)state;
    for (uint64_t after = 1; after < 6; after++) { /* never a part of the answer twice, never one left out */
        assert_string_equal(come_back(after, "completed")->seen, "<error>");
        assert_int_equal(visitors[0].kind, AC_EVENTS_GONE);
        assert_int_equal(visitors[0].last_seq, 0);
        assert_string_equal(come_back(after, "interrupted")->seen, "<error>");
        assert_int_equal(visitors[0].kind, AC_INTERRUPTED);
        assert_int_equal(visitors[0].last_seq, AC_TAIL_STORED + 3);
    }
    assert_string_equal(come_back(AC_TAIL_STORED + 1, "completed")->seen, "all of it<done>");
    assert_string_equal(come_back(AC_TAIL_STORED + 2, "completed")->seen, "<done>");
    assert_string_equal(come_back(AC_TAIL_STORED + 3, "completed")->seen, "<nothing>");
    assert_string_equal(come_back(AC_TAIL_STORED + 3, "interrupted")->seen, "<nothing>");
}

static void test_the_store_fails(void **state)
{
    (void)state;
    visitor_t *visitor = follow(0, "run_gone", 0), *left = follow(1, "run_gone", 0);
    fake_turn();
    answer_op(NULL, AC_NOT_FOUND);
    ac_channel_leave(&left->follower);
    fake_turn();
    answer_op(NULL, AC_STORE_TIMEOUT);
    /* the newest tail of a run is the second in its list, and the last to be asked */
    assert_string_equal(visitor->seen, "<error>");
    assert_int_equal(visitor->kind, AC_NOT_FOUND);
    assert_int_equal(visitor->last_seq, 0);
    assert_string_equal(left->seen, "");
}

/* ---- a key that was used ---- */

static ac_turn_t *keyed_turn(void)
{
    ac_turn_t *turn = new_turn("x");
    turn->key = strdup("k");
    apr_cpystrn(turn->key_hash, "hash", sizeof turn->key_hash);
    return turn;
}

static void test_the_other_one_was_first(void **state)
{
    (void)state;
    char first[AC_ID_SIZE];
    ac_run_start(engine, keyed_turn(), &follower);
    fake_turn();
    apr_cpystrn(first, run_id, sizeof first);
    void *first_call = model.run;
    assert_string_equal(json_string_value(
                            json_object_get(json_object_get(expect_op(AC_STORE_TURN_OPEN)->in, "idempotency"), "key")),
                        "k");
    open_well();
    say("once");
    memset(&visitors[0], 0, sizeof visitors[0]);
    visitors[0].follower.on_event = visit;
    ac_run_start(engine, keyed_turn(), &visitors[0].follower);
    fake_turn();
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(json_pack("{s:s, s:s}", "run_id", first, "request_hash", "hash"), AC_IDEMPOTENCY_CONFLICT);
    assert_true(model.cancelled);
    assert_string_equal(visitors[0].seen, "<run>once<live>");
    assert_int_equal(apr_hash_count(engine->runs), 1);
    model.run = first_call;
    model.asked = true;
    end_well();
    json_decref(close_well());
    assert_string_equal(visitors[0].seen, "<run>once<live><done>");
}

static void test_another_request_with_that_key(void **state)
{
    (void)state;
    ac_run_start(engine, keyed_turn(), &follower);
    fake_turn();
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(json_pack("{s:s, s:s}", "run_id", "run_1", "request_hash", "another"), AC_IDEMPOTENCY_CONFLICT);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_IDEMPOTENCY_CONFLICT);
}

/* ---- dead processes ---- */

/* The answer was whole, but another server has closed the run as interrupted, and its thread was changed
 * concurrently. */
static void test_a_whole_answer_that_comes_too_late(void **state)
{
    (void)state;
    json_t *closing = json_pack("{s:{s:s, s:s, s:{s:s}}, s:{s:s, s:s, s:s, s:n}, s:[]}", "message", "id", "msg_2",
                                "content", "all of it", "metadata", "finish_reason", "stop", "run", "id",
                                "run_00000000000000000000000001", "thread_id", "thread_1", "status", "completed",
                                "error", "steps");
    leave_log_with("run_00000000000000000000000001", "all of it", closing);
    json_decref(closing);
    visitor_t *visitor = follow(0, "run_00000000000000000000000001", 0);
    fake_turn();
    json_t *in = expect_op(AC_STORE_TURN_CLOSE)->in;
    assert_true(json_is_true(json_object_get(in, "late")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(in, "run"), "status")), "completed");
    answer_op(NULL, AC_INTERRUPTED);
    in = expect_op(AC_STORE_TURN_CLOSE)->in;
    json_t *message = json_object_get(in, "message"), *run = json_object_get(in, "run");
    assert_string_equal(json_string_value(json_object_get(run, "status")), "interrupted");
    assert_string_equal(json_string_value(json_object_get(json_object_get(run, "error"), "code")), "interrupted");
    assert_string_equal(json_string_value(json_object_get(message, "id")), "msg_2");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "all of it");
    assert_string_equal(json_string_value(json_object_get(json_object_get(message, "metadata"), "finish_reason")),
                        "interrupted");
    answer_op(NULL, AC_INTERRUPTED); /* with a limit */
    fake_pass(100000);
    assert_string_equal(visitor->seen, "<run>all of it<error>");
    assert_int_equal(visitor->kind, AC_INTERRUPTED);
    assert_null(engine->follow->recoveries.first);
}

static void test_a_dead_run_is_closed(void **state)
{
    (void)state;
    leave_log_of_the_dead("run_00000000000000000000000001", "half of it");
    visitor_t *visitor = follow(0, "run_00000000000000000000000001", 0);
    fake_turn();
    assert_string_equal(visitor->seen, "<run>half of it");
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s, s:s, s:s}", "id", "run_00000000000000000000000001", "thread_id", "thread_1",
                        "status", "interrupted", "model", "m"),
              AC_OK);
    json_t *in = expect_op(AC_STORE_TURN_CLOSE)->in, *message = json_object_get(in, "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "half of it");
    assert_string_equal(json_string_value(json_object_get(message, "id")), "msg_00000000000000000000000001");
    assert_string_equal(json_string_value(json_object_get(json_object_get(message, "metadata"), "finish_reason")),
                        "interrupted");
    answer_op(NULL, AC_STORE_ERROR); /* the store is out for a moment */
    fake_pass(1000000);
    expect_op(AC_STORE_TURN_CLOSE);
    answer_op(json_pack("{s:{s:s}}", "message", "id", "msg_1"), AC_OK);
    fake_pass(100000);
    assert_string_equal(visitor->seen, "<run>half of it<live><error>");
    assert_int_equal(visitor->kind, AC_INTERRUPTED);
    assert_int_equal(visitor->last_seq, 3);
    assert_null(engine->follow->recoveries.first);
}

static void test_the_sweep(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    for (int i = 0; i < 3; i++) {
        snprintf(id, sizeof id, "run_%026d", i);
        leave_log_of_the_dead(id, "x");
    }
    ac_engine_watch(engine);
    fake_work();
    fake_pass(1000);
    for (int i = 0; i < 3; i++) {
        expect_op(AC_STORE_RUN_GET);
        answer_op(NULL, AC_NOT_FOUND); /* its thread was removed for good */
    }
    ac_child_key_t children[8];
    assert_int_equal(ac_event_dir_children(dir, children, 8), 1);
    visitor_t *visitor = follow(0, id, 0);
    fake_turn();
    assert_string_equal(visitor->seen, "<run>x<error>");
    assert_int_equal(visitor->kind, AC_INTERRUPTED);
    fake_pass(59000000);
    assert_non_null(engine->follow->ended.first);
    fake_work();
    fake_pass(5000000);
    assert_null(engine->follow->ended.first); /* kept for its minute, and gone */
    fake_work();
}

static void test_a_message_after_a_dead_run(void **state)
{
    (void)state;
    leave_log_of_the_dead("run_00000000000000000000000001", "half");
    start_in_thread("y");
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{}, s:[{s:s, s:s, s:s}]}", "thread", "messages", "role", "user", "content", "x", "run_id",
                        "run_00000000000000000000000001"),
              AC_OK);
    assert_false(model.asked); /* first the earlier events */
    expect_op(AC_STORE_RUN_GET);
    answer_op(json_pack("{s:s, s:s, s:s}", "id", "run_00000000000000000000000001", "thread_id", "thread_1", "status",
                        "interrupted"),
              AC_OK);
    expect_op(AC_STORE_TURN_CLOSE);
    answer_op(json_pack("{s:n}", "message"), AC_OK);
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{}, s:[{s:s, s:s, s:s}, {s:s, s:s, s:s}]}", "thread", "messages", "role", "user", "content",
                        "x", "run_id", "run_1", "role", "assistant", "content", "half", "run_id", "run_1"),
              AC_OK);
    assert_true(model.asked);
    assert_int_equal(json_array_size(model.messages), 4);
    open_well();
    end_well();
    json_decref(close_well());
}

static void test_an_answer_that_is_stored_later(void **state)
{
    (void)state;
    visitor_t *visitor = &visitors[0];
    visitor->follower.on_event = visit;
    ac_run_start(engine, new_turn("x"), &visitor->follower);
    fake_turn();
    open_well();
    say("a");
    end_well();
    for (int i = 0; i <= AC_MAX_CLOSINGS; i++) {
        assert_string_equal(visitor->seen, "<run>a");                 /* an end that may change is not delivered */
        assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CLOSING); /* but that it is too late to cancel */
        expect_op(AC_STORE_TURN_CLOSE);
        answer_op(NULL, AC_STORE_ERROR);
        fake_pass(10000000);
    }
    assert_int_equal(ac_engine_active(engine), 0);
    assert_int_equal(outcome_of(run_id), AC_LOG_OUTCOME_CLOSING);
    json_t *closing = json_incref(expect_op(AC_STORE_TURN_CLOSE)->in);
    answer_op(json_pack("{s:O}", "message", json_object_get(closing, "message")), AC_OK);
    fake_pass(1000000);
    assert_string_equal(visitor->seen, "<run>a<live><done>");
    assert_string_equal(text_at(closing, "run", "status"), "completed");
    json_decref(closing);
}

/* ---- no followers ---- */

static void test_a_run_without_followers(void **state)
{
    (void)state;
    start_leaving(5000000);
    ac_channel_leave(&follower);
    fake_pass(4000000);
    assert_false(model.cancelled);
    visitor_t *visitor = follow(0, run_id, 2); /* a follower comes back */
    fake_pass(4000000);
    assert_false(model.cancelled);
    ac_channel_leave(&visitor->follower);
    fake_pass(5100000);
    assert_true(model.cancelled);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    json_decref(written);
}

static void test_a_run_that_continues_alone(void **state)
{
    (void)state;
    start_leaving(-1);
    ac_channel_leave(&follower);
    fake_pass(30000000);
    assert_false(model.cancelled);
    end_well();
    json_decref(close_well());
}

/* The log of a suspended run, with its partial answer. */
static ac_event_log_t *rest(const char *id)
{
    ac_event_log_header_t head = {.owner = "ann", .thread_id = "thread_1"};
    ac_event_t *event = ac_event_create(AC_EVENT_TOKEN, NULL, "all ", 4);
    snprintf(head.run_id, sizeof head.run_id, "%s", id);
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made);
    event->seq = 1;
    ac_event_log_append(log, event);
    ac_event_unref(event);
    ac_event_log_set_suspended(log, true);
    ac_suspended_log_track(engine, id);
    return log;
}

static bool is_there(const char *id)
{
    ac_event_log_t *log = ac_event_log_find(dir, id);
    ac_event_log_close(log);
    return log != NULL;
}

/* Another machine has resumed the run and ended it, without a notification. */
static void test_a_run_that_waited_here_and_ended_elsewhere(void **state)
{
    (void)state;
    ac_event_log_t *log = rest("run_gone");
    for (int i = 0; i < 3; i++) {
        fake_pass(76000000);
        assert_string_equal(expect_op(AC_STORE_RUN_GET)->id, "run_gone");
        if (i == 0) {
            answer_op(json_pack("{s:s}", "status", "in_progress"), AC_OK);
        } else if (i == 1) {
            answer_op(NULL, AC_STORE_TIMEOUT);
        }
        assert_false(ac_event_log_ended(log));
    }
    visitor_t *visitor = follow(0, "run_gone", 0);
    fake_turn();
    assert_string_equal(visitor->seen, "all <live>");
    answer_op(json_pack("{s:s}", "status", "completed"), AC_OK);
    assert_true(ac_event_log_ended(log));
    answer_op(json_pack("{s:s, s:s, s:s}", "id", "run_gone", "thread_id", "thread_1", "status", "completed"), AC_OK);
    answer_op(json_pack("{s:[]}", "data"), AC_OK);
    answer_op(json_pack("{s:[{s:s, s:s, s:s}]}", "data", "role", "assistant", "run_id", "run_gone", "content",
                        "all of it"),
              AC_OK);
    assert_string_equal(visitor->seen, "all <live>of it<done>");
    assert_true(is_there("run_gone"));
    fake_pass(61000000);
    assert_false(is_there("run_gone"));
    assert_int_equal(n_ops, 0);
    ac_event_log_close(log);
}

static void test_logs_that_rested(void **state)
{
    (void)state;
    ac_event_log_t *went_on = rest("run_on"), *removed = rest("run_removed");
    ac_suspended_log_track(engine, "run_removed"); /* counts once */
    ac_event_log_set_suspended(went_on, false);
    fake_pass(76000000);
    assert_string_equal(expect_op(AC_STORE_RUN_GET)->id, "run_removed");
    answer_op(NULL, AC_NOT_FOUND);
    assert_true(ac_event_log_ended(removed));
    assert_false(ac_event_log_ended(went_on));
    fake_pass(76000000);
    assert_int_equal(n_ops, 0);
    assert_false(is_there("run_removed"));
    assert_true(is_there("run_on"));
    ac_event_log_close(went_on);
    ac_event_log_close(removed);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_joining_from_every_point, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_run_that_has_ended, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_leaving_within_a_callback, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_run_of_another_owner, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_from_the_store, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_the_store_fails, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_the_other_one_was_first, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_another_request_with_that_key, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_dead_run_is_closed, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_whole_answer_that_comes_too_late, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_the_sweep, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_after_a_dead_run, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_back_from_the_middle, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_an_answer_that_is_stored_later, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_run_without_followers, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_run_that_waited_here_and_ended_elsewhere, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_logs_that_rested, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_run_that_continues_alone, setup_logged, teardown_logged),
    };
    return cmocka_run_group_tests_name("tail", group, NULL, NULL);
}
