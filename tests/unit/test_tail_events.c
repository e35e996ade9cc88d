/* SPDX-License-Identifier: Apache-2.0 */
/* Events that are made from stored documents, in the order in which they happened. */
#include "tail_world.h"

static json_t *stored_step(const char *tool, const char *approval)
{
    json_t *step = json_pack("{s:s, s:s, s:s, s:i, s:{}, s:s}", "id", tool, "type", "tool_call", "tool", tool, "round",
                             1, "arguments", "result", "fine");
    if (approval) {
        json_object_set_new(step, "approval", json_string(approval));
        json_object_set_new(step, "requested_at", json_string("2026-11-21T05:25:44.000Z"));
    }
    return step;
}

/* Steps are stored in the order of their end, and the answer has its calls in the model's order. */
static void test_a_suspended_round_from_the_store(void **state)
{
    (void)state;
    visitor_t *visitor = follow(0, "run_gone", 0);
    fake_turn();
    answer_op(json_pack("{s:s, s:s, s:s, s:s}", "id", "run_gone", "thread_id", "thread_1", "status", "completed",
                        "completed_at", "2026-11-21T05:25:46.123Z"),
              AC_OK);
    answer_op(json_pack("{s:[o, o, o]}", "data", stored_step("free", NULL), stored_step("mail", "approved"),
                        stored_step("pay", "refused")),
              AC_OK);
    json_t *calls = json_pack("[{s:s, s:s, s:{}}, {s:s, s:s, s:{}}, {s:s, s:s, s:{}}]", "id", "c1", "tool", "mail",
                              "arguments", "id", "c2", "tool", "free", "arguments", "id", "c3", "tool", "pay",
                              "arguments");
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s, s:o, s:{s:[i, s, s, s, i]}}, {s:s, s:s, s:s}]}", "data", "role",
                        "assistant", "run_id", "run_gone", "content", "let me. done.", "id", "m2", "tool_calls", calls,
                        "metadata", "parts", 7, "c1", "c2", "c3", 6, "role", "user", "run_id", "run_gone", "id", "m1"),
              AC_OK);
    assert_string_equal(visitor->seen,
                        "<run>let me.<trace_start><trace_start><trace_start><trace_end><trace_update><trace_update>"
                        "<trace_update><trace_update><trace_end><trace_end> done.<done>");
}

/* What the model thought comes before the text and the calls of its round. */
static void test_reasoning_from_the_store(void **state)
{
    (void)state;
    visitor_t *visitor = follow(0, "run_gone", 0);
    fake_turn();
    answer_op(json_pack("{s:s, s:s, s:s, s:s}", "id", "run_gone", "thread_id", "thread_1", "status", "completed",
                        "completed_at", "2026-11-21T05:25:46.123Z"),
              AC_OK);
    answer_op(json_pack("{s:[{s:s, s:i, s:s}, o, {s:s, s:i, s:s}]}", "data", "type", "model_call", "round", 1,
                        "reasoning", "(first)", stored_step("free", NULL), "type", "model_call", "round", 2,
                        "reasoning", "(second)"),
              AC_OK);
    json_t *calls = json_pack("[{s:s, s:s, s:{}}]", "id", "c1", "tool", "free", "arguments");
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s, s:o, s:{s:[i, s, i]}}, {s:s, s:s, s:s}]}", "data", "role",
                        "assistant", "run_id", "run_gone", "content", "let me. done.", "id", "m2", "tool_calls", calls,
                        "metadata", "parts", 7, "c1", 6, "role", "user", "run_id", "run_gone", "id", "m1"),
              AC_OK);
    assert_string_equal(visitor->seen, "<run>(first)let me.<trace_start><trace_end>(second) done.<done>");
}

/* Those of a call follow it; those that the model named come at the end. */
static void test_sources_from_the_store(void **state)
{
    (void)state;
    visitor_t *visitor = follow(0, "run_gone", 0);
    fake_turn();
    answer_op(json_pack("{s:s, s:s, s:s}", "id", "run_gone", "thread_id", "thread_1", "status", "completed"), AC_OK);
    json_t *step = stored_step("search", NULL);
    json_object_set_new(step, "call_id", json_string("c1"));
    json_object_set_new(step, "sources", json_pack("[{s:s, s:s}]", "id", "1", "title", "A"));
    answer_op(json_pack("{s:[o, {s:s, s:i, s:[{s:s, s:s}]}]}", "data", step, "type", "model_call", "round", 2,
                        "sources", "id", "2", "title", "B"),
              AC_OK);
    json_t *calls = json_pack("[{s:s, s:s, s:{}}]", "id", "c1", "tool", "search", "arguments");
    answer_op(json_pack("{s:[{s:s, s:s, s:s, s:s, s:o, s:{s:[s, i]}}, {s:s, s:s, s:s}]}", "data", "role", "assistant",
                        "run_id", "run_gone", "content", "done.", "id", "m2", "tool_calls", calls, "metadata", "parts",
                        "c1", 5, "role", "user", "run_id", "run_gone", "id", "m1"),
              AC_OK);
    assert_string_equal(visitor->seen, "<run><trace_start><trace_end><sources>done.<sources><done>");
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_suspended_round_from_the_store, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_reasoning_from_the_store, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_sources_from_the_store, setup_logged, teardown_logged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
