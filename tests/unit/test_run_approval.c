/* SPDX-License-Identifier: Apache-2.0 */
/* A suspended run: its document in the store, and how it resumes from that, whole or damaged. */
#include "run_world.h"

#define APPROVAL apr_time_from_sec(40)

static const ac_tool_conf_t asking_conf = {.timeout = 5000000, .result_max = 1000, .approval = 1};
static const char *model_name = "fake-1"; /* as the model calls itself */

static int setup_waits(void **state)
{
    setup(state);
    later_tool.conf = &asking_conf;
    engine->conf.approval_timeout = APPROVAL;
    ac_run_approval_watch(engine, NULL);
    model_name = "fake-1";
    return 0;
}

static int teardown_waits(void **state)
{
    later_tool.conf = &tool_conf;
    agent.model = &the_model;
    apr_hash_set((apr_hash_t *)registry.agents, "assistant", APR_HASH_KEY_STRING, &agent);
    ac_timer_cancel(NULL, &engine->approval_timer);
    return teardown(state);
}

static void end_with_calls(const ac_tool_call_t *calls, int n_calls)
{
    for (int i = 0; i < n_calls; i++) {
        model.cb->on_tool_start(model.run, i, calls[i].id, calls[i].name);
    }
    ac_model_end_t end = {
        .finish = AC_FINISH_TOOL_CALLS,
        .calls = calls,
        .n_calls = n_calls,
        .usage = {.prompt = 10, .completion = 4, .total = 14, .cached = 2, .reasoning = 1, .known = true}};
    apr_cpystrn(end.model, model_name, sizeof end.model);
    model_end(end);
}

/* Stores a run with a completed call and one that awaits approval. Returns the stored document; the run has left
 * this child. */
static json_t *put_aside(void)
{
    const ac_tool_call_t calls[] = {{"c1", "blocking", "{}", false}, {"c2", "later", "{\"n\": 7}", false}};
    start_new("send it");
    open_well();
    say("I shall ask. \xf0\x9f\x98\x80");
    end_with_calls(calls, 2);
    fake_work();
    json_t *in = json_deep_copy(expect_op(AC_STORE_RUN_SUSPEND)->in);
    ac_channel_leave(&follower);
    answer_op(NULL, AC_OK);
    assert_int_equal(ac_engine_active(engine), 0);
    assert_int_equal(engine->queue.n_slots, 0);
    return in;
}

/* No approval came in time: the store gives the run to this child, with this state and these decisions. Consumes
 * state. */
static void come_back(json_t *state, const char *words)
{
    fake_pass(APPROVAL);
    assert_int_equal(expect_op(AC_STORE_SUSPENDED_LIST)->page.limit, 32);
    answer_op(json_pack("{s:[{s:s, s:s}]}", "data", "run_id", run_id, "owner", "ann"), AC_OK);
    expect_op(AC_STORE_APPROVAL_DECIDE);
    answer_op(json_pack("{s:s, s:o, s:o}", "thread_id", "thread_1", "state", state, "calls",
                        json_loads(words, 0, NULL)),
              AC_OK);
}

#define REFUSED "{\"c2\": {\"approve\": false, \"expired\": true}}"
#define APPROVED "{\"c2\": {\"approve\": true}}"

static json_t *state_of(const json_t *in)
{
    return json_deep_copy(json_object_get(in, "state"));
}

static void test_the_documents_given_to_the_store(void **state)
{
    (void)state;
    json_t *in = put_aside(), *kept = json_object_get(in, "state"), *calls = json_object_get(kept, "calls");
    assert_int_equal(ac_json_peek_int(kept, "version", 0), 1);
    assert_string_equal(ac_json_peek_string(kept, "agent_id", ""), "assistant");
    assert_string_equal(ac_json_peek_string(kept, "answer", ""), "I shall ask. \xf0\x9f\x98\x80");
    assert_int_equal(ac_json_peek_int(json_object_get(kept, "usage"), "cached", 0), 2);
    assert_int_equal(json_array_size(calls), 2);
    assert_true(json_is_true(json_object_get(json_array_get(calls, 0), "done")));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(calls, 0), "result")), 42);
    assert_false(json_is_true(json_object_get(json_array_get(calls, 1), "done")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json_array_get(calls, 1), "arguments"), "n")),
                     7);
    assert_true(json_is_null(json_object_get(json_object_get(in, "calls"), "c2")));
    assert_int_equal(json_object_size(json_object_get(in, "calls")), 1);
    assert_true(json_is_null(json_object_get(kept, "events"))); /* it had no log */
    assert_true(json_equal(json_object_get(kept, "run"), json_object_get(in, "run")));
    json_decref(in);
}

/* Writing, reading and writing again loses nothing: the second suspension stores the same document as the first. */
static void test_read_and_made_again(void **state)
{
    (void)state;
    json_t *in = put_aside(), *kept = json_object_get(in, "state");
    ac_turn_t *turn = ac_turn_create(&agent, "ann", "");
    ac_run_t *run = ac_run_create(engine, turn);
    assert_true(ac_run_suspended_read(run, kept));
    json_t *again = ac_run_suspended_make(run, json_null());
    json_object_set(again, "seq", json_object_get(kept, "seq")); /* with the list queries that follow */
    json_object_del(kept, "run");                                /* answers of the store in between */
    json_object_del(kept, "paid_amount");
    json_object_del(again, "paid_amount");
    assert_true(ac_json_peek_int(again, "took", -1) >= ac_json_peek_int(kept, "took", 0));
    json_object_del(kept, "took");
    json_object_del(again, "took");
    assert_true(json_equal(kept, again));
    json_decref(again);
    json_decref(in);
    ac_run_slot_acquire(run);
    ac_run_finish(run, AC_RUN_CANCELLED, NULL, "the test is over");
    json_decref(close_well());
}

static void test_a_refused_call_continues_the_run(void **state)
{
    (void)state;
    json_t *in = put_aside();
    come_back(state_of(in), REFUSED);
    assert_true(model.asked);
    const json_t *message = json_array_get(model.messages, json_array_size(model.messages) - 1);
    assert_non_null(strstr(ac_json_peek_string(message, "content", ""), "this call was not approved in time"));
    say("It was not sent.");
    end_well();
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "I shall ask. \xf0\x9f\x98\x80\n\nIt was not sent.");
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(json_object_get(written, "run"), "usage"), "total_tokens")),
                     28);
    assert_int_equal(json_array_size(json_object_get(json_object_get(written, "message"), "tool_calls")), 2);
    json_decref(written);
    json_decref(in);
}

static void test_approved_it_is_called(void **state)
{
    (void)state;
    json_t *in = put_aside();
    come_back(state_of(in), APPROVED);
    assert_int_equal(n_later, 1); /* the one that was done is not called again */
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sent"), NULL);
    fake_turn();
    end_well();
    json_decref(close_well());
    json_decref(in);
}

/* The round's other call is the client's: the run is suspended first, and then ends in that call. */
static void test_a_call_of_the_client_in_the_same_round(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "paint", "{}", false}, {"c2", "later", "{}", false}};
    json_t *tool = json_pack("{s:s}", "name", "paint");
    ac_turn_t *turn = new_turn("x");
    assert_int_equal(ac_client_tools_add(&turn->client, tool, "", NULL), APR_SUCCESS);
    json_decref(tool);
    ac_run_start(engine, turn, &follower);
    fake_turn();
    open_well();
    end_with_calls(calls, 2);
    json_t *in = json_deep_copy(expect_op(AC_STORE_RUN_SUSPEND)->in);
    assert_int_equal(json_object_size(json_object_get(in, "calls")), 1);
    ac_channel_leave(&follower);
    answer_op(NULL, AC_OK);
    come_back(state_of(in), APPROVED);
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sent"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 1);
    json_t *written = close_well();
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "tool_calls");
    assert_int_equal(json_array_size(json_object_get(json_object_get(written, "message"), "tool_calls")), 2);
    json_decref(written);
    json_decref(in);
}

/* A resumed run offers the client's tools in its further rounds. */
static void test_a_resumed_run_has_the_tools_of_the_client(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c2", "later", "{}", false}};
    json_t *tool = json_pack("{s:s}", "name", "paint");
    ac_turn_t *turn = new_turn("x");
    assert_int_equal(ac_client_tools_add(&turn->client, tool, "", NULL), APR_SUCCESS);
    json_decref(tool);
    ac_run_start(engine, turn, &follower);
    fake_turn();
    open_well();
    end_with_calls(calls, 1);
    json_t *in = json_deep_copy(expect_op(AC_STORE_RUN_SUSPEND)->in);
    ac_channel_leave(&follower);
    answer_op(NULL, AC_OK);
    come_back(state_of(in), REFUSED);
    assert_int_equal(model.n_asked, 2);
    assert_int_equal(json_array_size(model.tools), 1);
    end_well();
    json_decref(close_well());
    json_decref(in);
}

/* In the store the run belongs to this child. Even a damaged run gets a closing write; else its thread would stay
 * busy. */
static void close_damaged(json_t *damaged)
{
    come_back(damaged, REFUSED);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "failed");
    assert_string_equal(text_at(json_object_get(written, "run"), "error", "code"), "store_error");
    assert_string_equal(text_at(written, "run", "id"), run_id);
    json_decref(written);
    assert_int_equal(ac_engine_active(engine), 0);
}

static void spoil(const char *name, json_t *value)
{
    json_t *in = put_aside(), *damaged = state_of(in);
    if (value) {
        json_object_set_new(damaged, name, value);
    } else {
        json_object_del(damaged, name);
    }
    close_damaged(damaged);
    json_decref(in);
}

static void test_damaged_of_another_version(void **state)
{
    (void)state;
    spoil("version", json_integer(2));
}

static void test_damaged_without_messages(void **state)
{
    (void)state;
    spoil("messages", NULL);
}

static void test_damaged_a_round_behind_its_answer(void **state)
{
    (void)state;
    spoil("round_start", json_integer(100));
}

static void test_damaged_a_negative_round(void **state)
{
    (void)state;
    spoil("round_start", json_integer(-1));
}

static void test_damaged_a_time_that_never_was(void **state)
{
    (void)state;
    json_t *in = put_aside(), *damaged = state_of(in);
    json_object_del(damaged, "messages");
    json_object_set_new(damaged, "created_at", json_integer(INT64_MIN));
    json_object_set_new(damaged, "started_at", json_integer(INT64_MAX));
    close_damaged(damaged);
    json_decref(in);
}

/* It resumes; a count out of range counts as 0. */
static void test_damaged_counts(void **state)
{
    static const char *const names[] = {"prompt", "completion", "total", "cached", "reasoning"};
    (void)state;
    json_t *in = put_aside(), *damaged = state_of(in), *usage = json_object_get(damaged, "usage");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_object_set_new(usage, names[i], json_integer(INT64_MAX));
    }
    come_back(damaged, REFUSED);
    say("It was not sent.");
    end_well();
    json_t *written = close_well();
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(json_object_get(written, "run"), "usage"), "total_tokens")),
                     14);
    json_decref(written);
    json_decref(in);
}

static void test_damaged_to_nothing(void **state)
{
    (void)state;
    json_decref(put_aside());
    close_damaged(json_object());
}

static void test_damaged_of_other_types(void **state)
{
    (void)state;
    json_decref(put_aside());
    close_damaged(json_pack("{s:i, s:[i], s:s, s:[s, {}], s:i, s:{}, s:s}", "version", 1, "messages", 7, "usage",
                            "none", "calls", "x", "answer", 4, "steps", "round_start", "far"));
}

/* ---- things that disappear in between ---- */

static void lose_agent(void)
{
    apr_hash_set((apr_hash_t *)registry.agents, "assistant", APR_HASH_KEY_STRING, NULL);
}

static void close_lost(const char *why, const char *model)
{
    json_t *written = close_well(), *run = json_object_get(written, "run");
    assert_non_null(strstr(text_at(run, "error", "message"), why));
    assert_string_equal(ac_json_peek_string(run, "model", "(none)"), model);
    assert_string_equal(ac_json_peek_string(run, "agent_id", ""), "assistant");
    json_decref(written);
}

static void test_the_agent_is_gone(void **state)
{
    (void)state;
    json_t *in = put_aside();
    lose_agent();
    come_back(state_of(in), APPROVED);
    close_lost("the agent no longer exists", "fake-1");
    json_decref(in);
}

/* Some providers do not report which model answered. */
static void test_the_agent_of_a_nameless_model_is_gone(void **state)
{
    (void)state;
    model_name = "";
    json_t *in = put_aside();
    lose_agent();
    come_back(state_of(in), APPROVED);
    close_lost("the agent no longer exists", "fake");
    json_decref(in);
}

static void test_the_nameless_model_is_gone(void **state)
{
    (void)state;
    model_name = "";
    json_t *in = put_aside();
    agent.model = NULL;
    agent.problem = "the agent is inactive: its model 'fake' is not configured any more";
    come_back(state_of(in), APPROVED);
    close_lost("its model 'fake' is not configured any more", "fake");
    agent.problem = NULL;
    json_decref(in);
}

static void test_damaged_and_the_agent_gone(void **state)
{
    (void)state;
    json_t *in = put_aside(), *damaged = state_of(in);
    json_object_del(damaged, "model");
    json_object_del(damaged, "messages");
    lose_agent();
    close_damaged(damaged);
    json_decref(in);
}

#define WAITS(fn) cmocka_unit_test_setup_teardown(fn, setup_waits, teardown_waits)

int main(void)
{
    const struct CMUnitTest group[] = {
        WAITS(test_the_documents_given_to_the_store),
        WAITS(test_read_and_made_again),
        WAITS(test_a_refused_call_continues_the_run),
        WAITS(test_approved_it_is_called),
        WAITS(test_a_call_of_the_client_in_the_same_round),
        WAITS(test_a_resumed_run_has_the_tools_of_the_client),
        WAITS(test_damaged_of_another_version),
        WAITS(test_damaged_without_messages),
        WAITS(test_damaged_a_round_behind_its_answer),
        WAITS(test_damaged_a_negative_round),
        WAITS(test_damaged_a_time_that_never_was),
        WAITS(test_damaged_counts),
        WAITS(test_damaged_to_nothing),
        WAITS(test_damaged_of_other_types),
        WAITS(test_the_agent_is_gone),
        WAITS(test_the_agent_of_a_nameless_model_is_gone),
        WAITS(test_the_nameless_model_is_gone),
        WAITS(test_damaged_and_the_agent_gone),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("run state", group, NULL, NULL);
}
