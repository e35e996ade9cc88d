/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of conversations in spans: none, those of tools, or all. */
#include "trace_world.h"

static void test_no_contents(void **state)
{
    (void)state;
    whole_turn();
    for (int i = 0; i < sink_n; i++) {
        for (int k = 0; k < sink_spans[i]->n_attributes; k++) {
            const ac_attribute_t *attribute = &sink_spans[i]->attributes[k];
            if (attribute->type == AC_ATTRIBUTE_TYPE_TEXT) {
                assert_null(strstr(attribute->value.text, "Hello"));
                assert_null(strstr(attribute->value.text, "six"));
                assert_null(strstr(attribute->value.text, "Be brief."));
            }
        }
    }
}

static void test_contents_of_tools(void **state)
{
    (void)state;
    sink_open(AC_CONTENT_TOOLS);
    whole_turn();
    const ac_span_t *span = sink_find("execute_tool later"); /* c2, which has ended first */
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_GEN_AI_TOOL_CALL_ARGUMENTS), "{\"n\":2}");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_GEN_AI_TOOL_CALL_RESULT), "5");
    assert_string_equal(sink_text(nth_span("execute_tool later", 1), AC_ATTRIBUTE_GEN_AI_TOOL_CALL_RESULT), "six");
    assert_string_equal(sink_text(sink_find("chat second"), AC_ATTRIBUTE_GEN_AI_INPUT_MESSAGES), "");
    assert_string_equal(sink_text(sink_find("chat second"), AC_ATTRIBUTE_GEN_AI_OUTPUT_MESSAGES), "");
}

static void test_all_contents(void **state)
{
    (void)state;
    sink_open(AC_CONTENT_ALL);
    whole_turn();
    const ac_span_t *span = sink_find("chat second");
    json_t *input = json_loads(sink_text(span, AC_ATTRIBUTE_GEN_AI_INPUT_MESSAGES), 0, NULL);
    json_t *expected =
        json_pack("[{s:s, s:[{s:s, s:s}]}, {s:s, s:[{s:s, s:s, s:s, s:{s:i}}, {s:s, s:s, s:s, s:{s:i}}]},"
                  " {s:s, s:[{s:s, s:s, s:s}]}, {s:s, s:[{s:s, s:s, s:s}]}]",
                  "role", "user", "parts", "type", "text", "content", "x", "role", "assistant", "parts", "type",
                  "tool_call", "id", "c1", "name", "later", "arguments", "n", 1, "type", "tool_call", "id", "c2",
                  "name", "later", "arguments", "n", 2, "role", "tool", "parts", "type", "tool_call_response", "id",
                  "c1", "response", "six", "role", "tool", "parts", "type", "tool_call_response", "id", "c2",
                  "response", "5");
    assert_true(json_equal(input, expected));
    json_decref(input);
    json_decref(expected);
    assert_non_null(strstr(sink_text(span, AC_ATTRIBUTE_GEN_AI_SYSTEM_INSTRUCTIONS), "Be brief."));
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_GEN_AI_OUTPUT_MESSAGES),
                        "[{\"role\":\"assistant\",\"parts\":[{\"type\":\"text\",\"content\":\"Hello\"}]}]");
    assert_non_null(strstr(sink_text(nth_span("chat gpt-x", 1), AC_ATTRIBUTE_GEN_AI_OUTPUT_MESSAGES),
                           "{\"type\":\"tool_call\",\"id\":\"c1\",\"name\":\"later\",\"arguments\":{\"n\":1}}"));
}

/* A long history: the newest messages that fit, and valid JSON. */
static void test_a_long_prompt(void **state)
{
    (void)state;
    json_t *messages = json_array();
    char *text = malloc(AC_MAX_SPAN_TEXT / 4 + 1);
    memset(text, '"', AC_MAX_SPAN_TEXT / 4); /* each becomes two characters */
    text[AC_MAX_SPAN_TEXT / 4] = '\0';
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", text));
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "assistant", "content", text));
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", "short"));
    char *input = ac_run_trace_content_input(messages);
    json_t *read = json_loads(input, 0, NULL);
    assert_true(strlen(input) <= AC_MAX_SPAN_TEXT);
    assert_int_equal(json_array_size(read), 2);
    assert_string_equal(ac_json_peek_string(json_array_get(read, 0), "role", ""), "assistant");
    json_decref(read);
    free(input);
    json_array_clear(messages);
    assert_null(ac_run_trace_content_input(messages));
    assert_null(ac_run_trace_content_instructions(messages));
    json_decref(messages);
    free(text);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        TRACE_TEST(test_no_contents),
        TRACE_TEST(test_contents_of_tools),
        TRACE_TEST(test_all_contents),
        TRACE_TEST(test_a_long_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
