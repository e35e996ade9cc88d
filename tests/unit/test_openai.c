/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: answers from chunks with every quirk we know of, and whole ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "openai_answer.h"

/* ---- answers ---- */

static void test_text(void **state)
{
    (void)state;
    expect_answer(CHUNKS(DELTA("{\"role\":\"assistant\",\"content\":\"\"}"), TEXT("Hel"),
                         TEXT("lo \\u00e9\\ud83d\\ude00\\n"), FINISH("stop"), DONE),
                  "Hello \u00e9\U0001F600\n", AC_FINISH_STOP);
    /* The role comes again, with text, or never; content null; keep-alives without data. */
    expect_answer(CHUNKS(TEXT("a"), DELTA("{\"role\":\"assistant\",\"content\":\"b\"}"), DELTA("{\"content\":null}"),
                         "", " \n", DELTA("{}"), DELTA("null"), TEXT("c"), DONE),
                  "abc", AC_FINISH_STOP);
    expect_answer(CHUNKS(DELTA("{\"refusal\":\"I can't.\"}"), FINISH("stop")), "I can't.", AC_FINISH_STOP);
    expect_answer(CHUNKS(DELTA("{\"reasoning_content\":\"hm\",\"content\":null}"), DELTA("{\"reasoning\":\"ah\"}"),
                         DELTA("{\"reasoning_content\":\"so\",\"reasoning\":\"so\"}"),
                         DELTA("{\"reasoning_content\":\"\",\"reasoning\":null}"), DELTA("{\"reasoning\":7}"),
                         TEXT("so"), DONE),
                  "{hm}{ah}{so}so", AC_FINISH_STOP);
    /* Text after [DONE] is ignored. */
    expect_answer(CHUNKS(TEXT("a"), "[DONE] ", TEXT("b"), "garbage"), "a", AC_FINISH_STOP);
    expect_answer(CHUNKS(DONE), "", AC_FINISH_STOP);
}

static void test_parts(void **state)
{
    (void)state;
    expect_answer(CHUNKS(DELTA(
                             "{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"}]},"
                             "{\"type\":\"text\",\"text\":\"a\"},\"b\",{\"text\":\"c\"},{\"type\":\"image_url\"},7]}"),
                         DELTA("{\"content\":[{\"type\":\"refusal\",\"refusal\":\"d\"}]}"), DONE),
                  "{hm}abcd", AC_FINISH_STOP);
}

static void test_filter_chunks(void **state)
{
    (void)state;
    expect_answer(
        CHUNKS("{\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[],\"prompt_filter_results\":"
               "[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false}}}]}",
               "{\"prompt_annotations\":[]}",
               "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null,"
               "\"content_filter_results\":{\"hate\":{\"filtered\":false,\"content\":\"b\"}}}]}",
               "{\"id\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_filter_results\":{},"
               "\"content_filter_offsets\":{\"check_offset\":44}}]}",
               FINISH("stop"),
               "{\"id\":\"\",\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_filter_offsets\":{}}]}", DONE),
        "a", AC_FINISH_STOP);
    expect_answer(CHUNKS(TEXT("a"), FINISH("content_filter"), DONE), "a", AC_FINISH_CONTENT_FILTER);
}

static void test_filtered_calls_are_withheld(void **state)
{
    answer_t answer;
    (void)state;
    answer_run(&answer,
               CHUNKS(CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}"),
                      FINISH("content_filter"), DONE));
    assert_int_equal(answer.end.status, APR_SUCCESS);
    assert_int_equal(answer.end.finish, AC_FINISH_CONTENT_FILTER);
    assert_int_equal(answer.end.n_calls, 0);
    answer_free(&answer);
}

static void test_finish_reasons(void **state)
{
    static const char call[] = CALLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}");
    (void)state;
    expect_answer(CHUNKS(TEXT("a"), FINISH("length")), "a", AC_FINISH_LENGTH);
    expect_answer(CHUNKS(TEXT("a"), FINISH("model_length")), "a", AC_FINISH_LENGTH);
    expect_answer(CHUNKS(TEXT("a"), FINISH("eos_token_we_never_heard_of")), "a", AC_FINISH_STOP);
    expect_answer(CHUNKS(TEXT("a"), FINISH("tool_calls")), "a", AC_FINISH_STOP);
    expect_answer(CHUNKS(call, FINISH("tool_calls")), "[0 a f]<0 {}>", AC_FINISH_TOOL_CALLS);
    expect_answer(CHUNKS(call, FINISH("stop")), "[0 a f]<0 {}>", AC_FINISH_TOOL_CALLS);
    expect_answer(CHUNKS(call, DONE), "[0 a f]<0 {}>", AC_FINISH_TOOL_CALLS);
    expect_answer(CHUNKS(call, FINISH("length")), "[0 a f]<0 {}>", AC_FINISH_LENGTH);
    expect_answer(CHUNKS(DELTA("{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}"),
                         DELTA("{\"function_call\":{\"arguments\":\"{}\"}}"), FINISH("function_call")),
                  "[0 ours f]<0 {}>", AC_FINISH_TOOL_CALLS);
    expect_answer(CHUNKS("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}"), "a",
                  AC_FINISH_STOP);
}

static void test_cut_off(void **state)
{
    answer_t answer;
    (void)state;
    answer_run(&answer, CHUNKS(TEXT("half an ans")));
    assert_int_equal(answer.end.err.kind, AC_MODEL_ERROR);
    assert_string_equal(answer.end.err.detail, "the answer was cut off");
    assert_true(answer.wire.started);
    answer_free(&answer);
    answer_run(&answer, CHUNKS(DELTA("{\"role\":\"assistant\"}")));
    assert_int_equal(answer.end.err.kind, AC_MODEL_ERROR);
    assert_false(answer.wire.started);
    answer_free(&answer);
}

static void test_other_choices(void **state)
{
    (void)state;
    expect_answer(
        CHUNKS(
            "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}",
            "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"length\"}]}",
            "{\"choices\":[{\"delta\":{\"content\":\"b\"}}]}", FINISH("stop")),
        "ab", AC_FINISH_STOP);
}

static void test_usage(void **state)
{
    answer_t answer;
    (void)state;
    answer_run(
        &answer,
        CHUNKS("{\"choices\":[],\"usage\":null,\"model\":\"\"}", TEXT("a"),
               "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
               "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,"
               "\"completion_tokens\":5,\"total_tokens\":17,\"prompt_tokens_details\":{\"cached_tokens\":8},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":3}},\"timings\":{\"prompt_ms\":1.5e3}}",
               "{\"choices\":[],\"usage\":null}", "{\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}", DONE));
    assert_true(answer.end.usage.known);
    assert_int_equal(answer.end.usage.prompt, 12);
    assert_int_equal(answer.end.usage.completion, 5);
    assert_int_equal(answer.end.usage.total, 17);
    assert_int_equal(answer.end.usage.cached, 8);
    assert_int_equal(answer.end.usage.reasoning, 3);
    assert_string_equal(answer.end.model, "m-1");
    answer_free(&answer);
    answer_run(&answer,
               CHUNKS("{\"choices\":[],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":-1,\"total_tokens\":null,"
                      "\"prompt_tokens_details\":null,\"completion_tokens_details\":{\"reasoning_tokens\":null}}}",
                      DONE));
    assert_true(answer.end.usage.known);
    assert_int_equal(answer.end.usage.total, 2);
    assert_int_equal(answer.end.usage.completion, 0);
    answer_free(&answer);
    answer_run(&answer,
               CHUNKS("{\"choices\":[],\"usage\":{\"prompt_tokens\":9223372036854775807,\"completion_tokens\":1e18}}",
                      DONE));
    assert_int_equal(answer.end.usage.prompt, AC_MAX_USAGE);
    assert_int_equal(answer.end.usage.completion, AC_MAX_USAGE);
    assert_int_equal(answer.end.usage.total, 2 * AC_MAX_USAGE);
    answer_free(&answer);
    answer_run(&answer, CHUNKS(TEXT("a"), DONE));
    assert_false(answer.end.usage.known);
    answer_free(&answer);
}

/* ---- limits ---- */

static void test_answer_limit(void **state)
{
    answer_t answer;
    char *chunk = large_chunk("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", 512 * 1024, "\"}}]}");
    (void)state;
    answer_start(&answer);
    for (int i = 0; i < AC_MAX_ANSWER / (512 * 1024); i++) {
        assert_int_equal(feed(&answer, chunk), APR_SUCCESS);
    }
    assert_int_not_equal(feed(&answer, TEXT("x")), APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_MODEL_ERROR);
    assert_int_equal(answer.events.log.len, AC_MAX_ANSWER);
    answer_free(&answer);
    free(chunk);
}

/* ---- errors in the stream ---- */

static void expect_chunk_error(const char *chunk, ac_kind_e kind, const char *part)
{
    answer_t answer;
    answer_start(&answer);
    assert_int_equal(feed(&answer, TEXT("a")), APR_SUCCESS);
    assert_int_not_equal(feed(&answer, chunk), APR_SUCCESS);
    assert_int_equal(answer.err.kind, kind);
    assert_non_null(strstr(answer.err.detail, part));
    assert_null(strstr(answer.err.detail, "secret"));
    answer_free(&answer);
}

static void test_stream_errors(void **state)
{
    (void)state;
    expect_chunk_error(
        "{\"error\":{\"message\":\"secret words\",\"type\":\"server_error\",\"param\":null,\"code\":null}}",
        AC_MODEL_ERROR, "server_error");
    expect_chunk_error("{\"error\":{\"message\":\"secret\",\"code\":\"429\"}}", AC_MODEL_THROTTLED, "HTTP 429");
    expect_chunk_error("{\"error\":{\"code\":503,\"type\":\"unavailable_error\"}}", AC_MODEL_ERROR,
                       "HTTP 503, unavailable_error");
    expect_chunk_error("{\"error\":\"the secret model crashed\"}", AC_MODEL_ERROR, "failed");
    expect_chunk_error("{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"secret\"}",
                       AC_MODEL_THROTTLED, "rate_limit");
    expect_chunk_error("{\"object\":\"error\",\"message\":\"maximum context length is 10 secret tokens\",\"code\":400}",
                       AC_CONTEXT_LENGTH, "longer than");
    expect_chunk_error(
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"}}],\"error\":{\"code\":\"content_filter\"}}",
        AC_CONTENT_FILTERED, "safety");
    expect_chunk_error("[{\"error\":{\"code\":429,\"message\":\"x\",\"status\":\"RESOURCE_EXHAUSTED\"}}]",
                       AC_MODEL_THROTTLED, "429");
    expect_chunk_error(FINISH("error"), AC_MODEL_ERROR, "middle");
    expect_chunk_error("<html>", AC_MODEL_ERROR, "not JSON");
    expect_chunk_error("{\"choices\":[{", AC_MODEL_ERROR, "not JSON");
    expect_chunk_error("[1]", AC_MODEL_ERROR, "no chat completion");
    expect_chunk_error("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", AC_MODEL_ERROR,
                       "not JSON");
}

static void test_repaired_text(void **state)
{
    (void)state;
    expect_answer(CHUNKS(TEXT("a\\ud83d"), TEXT("\\ude00b \\\\ud83d"), DONE),
                  "a\uFFFD\uFFFD"
                  "b \\ud83d",
                  AC_FINISH_STOP);
    expect_answer(CHUNKS(TEXT("a\xf0\x9f"),
                         TEXT("\x98\x80"
                              "b"),
                         DONE),
                  "a\uFFFD\uFFFD\uFFFD"
                  "b",
                  AC_FINISH_STOP);
    expect_answer(CHUNKS(TEXT("\\ud83d\\ude00\\ud83d\\u0041"), DONE),
                  "\U0001F600\uFFFD"
                  "A",
                  AC_FINISH_STOP);
    expect_answer(CHUNKS(TEXT("a\\u0000b\\u0000"), DONE), "ab", AC_FINISH_STOP);
}

/* ---- whole answers ---- */

static void whole(answer_t *answer, const char *body)
{
    answer_start(answer);
    if (ac_openai_whole(&answer->wire, body, strlen(body), &answer->err) == APR_SUCCESS) {
        ac_openai_end(&answer->wire, &answer->end);
    }
}

static void test_whole(void **state)
{
    answer_t answer;
    (void)state;
    whole(&answer,
          "{\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\","
          "\"tool_calls\":"
          "[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
          "\"finish_reason\":\"tool_calls\"}],"
          "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}");
    assert_string_equal(answer.events.log.data, "Hi[0 a f]<0 {}>");
    assert_int_equal(answer.end.n_calls, 1);
    assert_int_equal(answer.end.finish, AC_FINISH_TOOL_CALLS);
    assert_int_equal(answer.end.usage.total, 7);
    assert_string_equal(answer.end.model, "m");
    answer_free(&answer);
    whole(&answer, "{\"choices\":[{\"message\":{\"content\":\"Hi\"}}]}");
    assert_int_equal(answer.end.finish, AC_FINISH_STOP);
    answer_free(&answer);
}

static void test_whole_errors(void **state)
{
    answer_t answer;
    (void)state;
    whole(&answer, "{\"error\":{\"code\":\"model_not_found\"}}");
    assert_int_equal(answer.err.kind, AC_MODEL_REFUSED);
    answer_free(&answer);
    whole(&answer, "{\"choices\":[]}");
    assert_int_equal(answer.err.kind, AC_MODEL_ERROR);
    answer_free(&answer);
    whole(&answer, "Bad gateway");
    assert_int_equal(answer.err.kind, AC_MODEL_ERROR);
    assert_false(answer.wire.started);
    answer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),           cmocka_unit_test(test_parts),
        cmocka_unit_test(test_filter_chunks),  cmocka_unit_test(test_filtered_calls_are_withheld),
        cmocka_unit_test(test_finish_reasons), cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_other_choices),  cmocka_unit_test(test_usage),
        cmocka_unit_test(test_answer_limit),   cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_repaired_text),  cmocka_unit_test(test_whole),
        cmocka_unit_test(test_whole_errors),
    };
    return cmocka_run_group_tests_name("openai", tests, NULL, NULL);
}
