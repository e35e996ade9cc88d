/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: the quick reader of chunks gives exactly the events of the general one, or nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/openai_internal.h"

#define DELTA(delta) \
    "{\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}"
#define TEXT(text) DELTA("{\"content\":\"" text "\"}")

typedef struct answer_t {
    ac_buf_t text;
    ac_openai_answer_t wire;
    ac_err_t err;
} answer_t;

static void on_text(void *baton, const char *text, size_t len)
{
    ac_buf_add(baton, text, len);
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    ac_buf_printf(baton, "[%d %s %s]", index, id, name);
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    ac_buf_printf(baton, "<%d %.*s>", index, (int)len, fragment);
}

static void on_reasoning(void *baton, const char *text, size_t len)
{
    ac_buf_printf(baton, "{%.*s}", (int)len, text);
}

static const ac_model_cb_t callbacks = {.on_text = on_text,
                                        .on_reasoning = on_reasoning,
                                        .on_tool_start = on_tool_start,
                                        .on_tool_args = on_tool_args};

static void answer_start(answer_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    ac_buf_init(&answer->text, 65536);
    ac_buf_str(&answer->text, "");
    ac_openai_answer_init(&answer->wire, &callbacks, &answer->text);
}

static void answer_free(answer_t *answer)
{
    ac_openai_answer_free(&answer->wire);
    ac_buf_free(&answer->text);
}

typedef struct read_t {
    const char *chunk;
    bool quick; /* the quick reader must be certain of it */
} read_t;

static const read_t reads[] = {
    {TEXT("plain"), true},
    {TEXT(""), true},
    {TEXT("\\\"\\\\\\/\\b\\f\\n\\r\\t"), true},
    {TEXT("\\u0041\\u00e9\\u20AC\\uD83D\\uDE00\\ud83d\\ude00x"), true},
    {TEXT("\u00e9\u20ac\U0001F600"), true},
    {TEXT("\\u0000"), false},
    {TEXT("\\ud83d"), false},
    {TEXT("\\ude00"), false},
    {TEXT("\\ud83dx"), false},
    {TEXT("\\ud83d\\u0041"), false},
    {TEXT("\\u00g1"), false},
    {TEXT("\\q"), false},
    {TEXT("\xff"), false},
    {TEXT("\xc3"), false},
    {TEXT("a\nb"), false},
    {"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}", true},
    {"{\"choices\":[{\"finish_reason\":null,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"index\":0}],"
     "\"id\":\"x\"}",
     true},
    {" {\t\"choices\" :\r\n [ { \"delta\" : { \"content\" : \"a\" , \"x\" : [ ] } , \"index\" : 0 } ] , \"a\" : { } } ",
     true},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", true},
    {"{\"choices\":[{\"delta\":{}}]}", true},
    {"{\"choices\":[{\"delta\":{\"content\":null}}]}", true},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"tool_calls\":[ ],\"refusal\":null,\"function_call\":null}}]}",
     true},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"tool_calls\":null,\"reasoning_content\":null,"
     "\"reasoning\":null}}]}",
     true},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"reasoning_content\":\"\u20ac\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"reasoning\":\"b\"}}]}", false},
    {"{\"content\":\"no\",\"choices\":[{\"content\":\"no\",\"logprobs\":{\"content\":\"no\"},"
     "\"delta\":{\"content\":\"a\"},"
     "\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\","
     "\"delta\":{\"content\":\"no\"}}}}],"
     "\"usage\":null,\"error\":null,\"obfuscation\":\"\"}",
     true},
    {"{\"created\":1763000000,\"n\":-1,\"r\":-0.25,\"t\":true,\"f\":false,\"a\":[1,[2,{}]],"
     "\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
     true},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"choices\":[{\"delta\":{\"content\":\"b\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"},\"delta\":{\"content\":\"b\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"content\":\"b\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"content\":null}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"c\\u006fntent\":\"b\"}}]}", false},
    {"{\"choices\":[{\"index\":0,\"index\":1,\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"index\":0.0,\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"index\":0x,\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"index\":\"0\",\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}},{\"delta\":{\"content\":\"b\"}}]}", false},
    {"{\"choices\":[]}", false},
    {"{\"choices\":[{}]}", false},
    {"{\"choices\":[{\"delta\":null}]}", false},
    {"{\"choices\":[{\"message\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":1}}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"error\":{}}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"tool_calls\":[{\"id\":\"x\"}]}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\",\"refusal\":\"b\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":[\"a\"]}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":7}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":1e400}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":01}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":99999999999999999999}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":nul}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":nullx}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],}", false},
    {"{,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}x", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"n\":\"\\q\"}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"\xff\":1}", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\"}}]", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a", false},
    {"{\"choices\":[{\"delta\":{\"content\":\"a\\", false},
    {"{\"model\":\"one\",\"model\":\"two\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", false},
    {"{\"model\":\"a-name-of-a-model-that-is-longer-than-the-eighty-bytes-that-there-are-for-it-\u20ac-and-so-is-cut\","
     "\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
     true},
    {"{\"model\":\"a-name-whose-eightieth-byte-is-in-the-middle-of-a-character-which-must-not-be-\u20ac-cut\","
     "\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
     true},
    {"{\"model\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", true},
    {"[]", false},
    {"{}", false},
    {"", false},
};

static void test_readers_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
        answer_t quick, parsed;
        apr_status_t status = -1;
        size_t len = strlen(reads[i].chunk);
        char *copy = malloc(len ? len : 1);
        memcpy(copy, reads[i].chunk, len);
        answer_start(&quick);
        answer_start(&parsed);
        bool certain = ac_openai_quick_chunk(&quick.wire, copy, len, &status, &quick.err);
        if (certain != reads[i].quick) {
            fail_msg("the quick reader is %scertain of %s", certain ? "" : "not ", reads[i].chunk);
        }
        apr_status_t expected = ac_openai_chunk_parsed(&parsed.wire, copy, len, &parsed.err);
        assert_int_equal(status, certain ? expected : -1);
        assert_string_equal(quick.text.data, certain ? parsed.text.data : "");
        assert_string_equal(quick.wire.model, certain ? parsed.wire.model : "");
        assert_int_equal(quick.wire.started, certain && parsed.wire.started);
        assert_int_equal(quick.wire.text_len, certain ? parsed.wire.text_len : 0);
        answer_free(&quick);
        answer_free(&parsed);
        free(copy);
    }
}

/* A chunk that is cut at any point is never read as a complete one. */
static void test_quick_needs_the_end(void **state)
{
    static const char chunk[] = TEXT("a\\u00e9");
    (void)state;
    for (size_t len = 0; len < sizeof(chunk) - 1; len++) {
        answer_t answer;
        apr_status_t status;
        char *copy = malloc(len ? len : 1);
        memcpy(copy, chunk, len);
        answer_start(&answer);
        assert_false(ac_openai_quick_chunk(&answer.wire, copy, len, &status, NULL));
        assert_int_equal(answer.text.len, 0);
        answer_free(&answer);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_readers_agree),
        cmocka_unit_test(test_quick_needs_the_end),
    };
    return cmocka_run_group_tests_name("openai_quick", tests, NULL, NULL);
}
