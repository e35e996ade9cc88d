/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: tool calls in chunks, with the variants of known services, and their limits. */
#include "openai_answer.h"

static void expect_calls(const char *const *chunks, const char *log, const char *list)
{
    answer_t answer;
    ac_buf_t seen;
    answer_run(&answer, chunks);
    assert_string_equal(answer.end.err.detail, "");
    assert_int_equal(answer.end.finish, AC_FINISH_TOOL_CALLS);
    assert_string_equal(answer.events.log.data, log);
    ac_buf_init(&seen, 65536);
    for (int i = 0; i < answer.end.n_calls; i++) {
        const ac_tool_call_t *call = &answer.end.calls[i];
        ac_buf_printf(&seen, "%s %s %s;", strncmp(call->id, "call_0", 6) != 0 ? call->id : "ours", call->name,
                      call->arguments);
    }
    assert_string_equal(seen.data, list);
    ac_buf_free(&seen);
    answer_free(&answer);
}

static void test_call_fragments(void **state)
{
    (void)state;
    expect_calls(
        CHUNKS(CALLS(
                   "{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"),
               CALLS("{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}"),
               CALLS("{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}"),
               CALLS("{\"index\":0,\"function\":{\"arguments\":\":1}\"}}"),
               CALLS("{\"index\":1,\"function\":{\"arguments\":\"{}\"}}"), FINISH("tool_calls"), DONE),
        "[0 a f]<0 {\"x\">[1 b g]<0 :1}><1 {}>", "a f {\"x\":1};b g {};");
    /* Whole, several in one delta; without arguments; arguments as an object or null; numeric id. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}},"
                              "{\"index\":1,\"id\":7,\"function\":{\"name\":\"g\",\"arguments\":{\"y\":[1,2]}}},"
                              "{\"index\":2,\"id\":\"c\",\"function\":{\"name\":\"h\",\"arguments\":null}}"),
                        DONE),
                 "[0 a f][1 7 g]<1 {\"y\":[1,2]}>[2 c h]", "a f ;7 g {\"y\":[1,2]};c h ;");
    /* The last fragment carries the finish; text comes before. */
    expect_calls(
        CHUNKS(
            TEXT("Let me see."), CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
            "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"}\"}}]},"
            "\"finish_reason\":\"tool_calls\"}]}"),
        "Let me see.[0 a f]<0 {><0 }>", "a f {};");
}

static void test_call_ids(void **state)
{
    (void)state;
    /* All indexes 0, different ids; later fragments with the id, or without: the latest. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}"),
                        CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"[\"}}"),
                        CALLS("{\"index\":0,\"function\":{\"arguments\":\"1\"}}"),
                        CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"arguments\":\"]\"}}"),
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\" \"}}"), DONE),
                 "[0 a f]<0 {><0 }>[1 b f]<1 [><1 1><1 ]><0  >", "a f {} ;b f [1];");
    /* The same id under two indexes: two calls. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
                        CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"g\",\"arguments\":\"[\"}}"),
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"}\"}}"),
                        CALLS("{\"index\":1,\"id\":\"a\",\"function\":{\"arguments\":\"]\"}}"), DONE),
                 "[0 a f]<0 {>[1 a_2 g]<1 [><0 }><1 ]>", "a f {};a_2 g [];");
    /* A new id for each fragment of one call, which only its beginning names. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}"),
                        CALLS("{\"index\":0,\"id\":\"b\",\"function\":{\"arguments\":\"{\"}}"),
                        CALLS("{\"index\":0,\"id\":\"c\",\"function\":{\"arguments\":\"}\"}}"), DONE),
                 "[0 a f]<0 {><0 }>", "a f {};");
    /* No index at all. */
    expect_calls(CHUNKS(CALLS("{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
                        CALLS("{\"function\":{\"arguments\":\"}\"}}"),
                        CALLS("{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"), DONE),
                 "[0 a f]<0 {><0 }>[1 b f]<1 {}>", "a f {};b f {};");
    /* Indexes that do not begin at 0 and leave gaps: ours do not. */
    expect_calls(CHUNKS(CALLS("{\"index\":3,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
                        CALLS("{\"index\":7,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}"), DONE),
                 "[0 a f]<0 {}>[1 b g]<1 {}>", "a f {};b g {};");
}

static void test_call_without_id(void **state)
{
    (void)state;
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
                        CALLS(
                            "{\"index\":0,\"id\":null,\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}"),
                        CALLS("{\"index\":0,\"function\":{\"name\":\"g\"}}"), DONE),
                 "[0 ours f]<0 {}>[1 ours f]<1 {\"a\":1}>[2 ours g]", "ours f {};ours f {\"a\":1};ours g ;");
    /* The name repeated is not put together, and the id may come late. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"function\":{\"name\":\"f\"}}"), CALLS("{\"index\":0,\"id\":\"late\"}"),
                        CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}"),
                        CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}"), DONE),
                 "[0 late f]<0 {><0 }>", "late f {};");
    /* The name comes after the arguments began. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"{\"}}"),
                        CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}"), DONE),
                 "[0 a f]<0 {}>", "a f {};");
    /* Empty fragments begin nothing. */
    expect_calls(CHUNKS(CALLS("{\"index\":0,\"function\":{\"arguments\":\"\"}},null,7"),
                        CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"), DONE),
                 "[0 a f]<0 {}>", "a f {};");
}

static void test_own_ids_differ(void **state)
{
    answer_t answer;
    (void)state;
    answer_run(&answer,
               CHUNKS(CALLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
                            "{\"index\":1,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
                      DONE));
    assert_int_equal(answer.end.n_calls, 2);
    assert_string_not_equal(answer.end.calls[0].id, answer.end.calls[1].id);
    answer_free(&answer);
}

static void test_nameless_call(void **state)
{
    answer_t answer;
    (void)state;
    answer_run(&answer, CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"{}\"}}"), DONE));
    assert_int_equal(answer.end.err.kind, AC_MODEL_ERROR);
    assert_non_null(strstr(answer.end.err.detail, "without naming it"));
    answer_free(&answer);
}

static void test_call_limits(void **state)
{
    answer_t answer;
    char *chunk =
        large_chunk("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"",
                    AC_MAX_TOOL_ARGUMENTS / 2, "\"}}]}}]}");
    (void)state;
    answer_start(&answer);
    assert_int_equal(feed(&answer, CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}")), APR_SUCCESS);
    assert_int_equal(feed(&answer, chunk), APR_SUCCESS);
    assert_int_equal(feed(&answer, chunk), APR_SUCCESS);
    assert_int_not_equal(feed(&answer, chunk), APR_SUCCESS);
    assert_non_null(strstr(answer.err.detail, "bytes of arguments"));
    answer_free(&answer);
    free(chunk);
    answer_start(&answer);
    for (int i = 0; i <= AC_MAX_TOOL_CALLS; i++) {
        char call[200];
        snprintf(call, sizeof(call), CALLS("{\"index\":%d,\"id\":\"c%d\",\"function\":{\"name\":\"f\"}}"), i, i);
        assert_int_equal(feed(&answer, call) == APR_SUCCESS, i < AC_MAX_TOOL_CALLS);
    }
    assert_non_null(strstr(answer.err.detail, "more than 32 tools"));
    answer_free(&answer);
    chunk = large_chunk("{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"id\":\"", 600, "\"}]}}]}");
    answer_start(&answer);
    assert_int_not_equal(feed(&answer, chunk), APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_MODEL_ERROR);
    answer_free(&answer);
    free(chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_fragments),  cmocka_unit_test(test_call_ids),
        cmocka_unit_test(test_call_without_id), cmocka_unit_test(test_own_ids_differ),
        cmocka_unit_test(test_nameless_call),   cmocka_unit_test(test_call_limits),
    };
    return cmocka_run_group_tests_name("openai_calls", tests, NULL, NULL);
}
