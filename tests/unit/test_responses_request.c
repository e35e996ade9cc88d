/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: the bodies of requests. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

/* Compares members of the body of these messages; `members` has them. ask may be NULL. */
static void expect_body(const char *messages, const ac_model_ask_t *given, const ac_responses_conf_t *conf,
                        const char *members)
{
    ac_buf_t out;
    bool chain = true;
    ac_model_ask_t ask = {.temperature = NAN};
    json_error_t error;
    if (given) {
        ask = *given;
    }
    json_t *said = json_loads(messages, 0, &error), *wanted = json_loads(members, 0, &error), *value;
    const char *name;
    assert_non_null(said);
    assert_non_null(wanted);
    ask.messages = said;
    ac_buf_init(&out, AC_MAX_REQUEST);
    assert_int_equal(ac_responses_request(&out, &ask, conf, &chain, NULL), APR_SUCCESS);
    json_t *body = json_loadb(out.data, out.len, 0, &error);
    assert_non_null(body);
    assert_int_equal(chain, json_object_get(body, "previous_response_id") != NULL);
    json_object_foreach(wanted, name, value)
    {
        json_t *found = json_object_get(body, name);
        if (json_is_null(value) ? found != NULL : !json_equal(found, value)) {
            fail_msg("%s of %.*s", name, (int)out.len, out.data);
        }
    }
    json_decref(body);
    json_decref(said);
    json_decref(wanted);
    ac_buf_free(&out);
}

#define SYSTEM "{\"role\":\"system\",\"content\":\"Be short.\"}"
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define CALLS(ids) "{\"role\":\"assistant\",\"content\":\"Let me.\",\"tool_calls\":[" ids "],\"carried\":"
#define CALL(id) "{\"id\":\"" id "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}"
#define RESULT(id, text) "{\"role\":\"tool\",\"tool_call_id\":\"" id "\",\"content\":\"" text "\"}"

static const ac_responses_conf_t plain = {.model = "m"}, stored = {.model = "m", .store = true};

static void test_settings(void **state)
{
    json_t *params = json_pack("{s:i, s:s, s:n, s:{s:s}}", "max_output_tokens", 50, "tool_choice", "auto", "include",
                               "reasoning", "effort", "high");
    ac_responses_conf_t conf = {.model = "m", .effort = "low", .summary = "auto", .params = params};
    ac_model_ask_t ask = {.temperature = 0.7, .max_tokens = 100};
    (void)state;
    expect_body("[" SYSTEM ",{\"role\":\"system\",\"content\":\"And kind.\"}," USER("Hi") "]", &ask, &conf,
                "{\"model\":\"m\",\"instructions\":\"Be short.\\n\\nAnd kind.\",\"temperature\":0.7,\"include\":null,"
                "\"max_output_tokens\":50,\"tool_choice\":null,\"reasoning\":{\"effort\":\"high\"},\"store\":false,"
                "\"stream\":true,\"input\":[{\"role\":\"user\",\"content\":\"Hi\"}]}");
    json_decref(params);
    expect_body("[" USER("Hi") "]", NULL, &stored,
                "{\"instructions\":null,\"temperature\":null,\"include\":null,\"store\":true,\"reasoning\":null,"
                "\"max_output_tokens\":null,\"tools\":null}");
}

static void test_tools(void **state)
{
    json_t *tools = json_loads("[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
                               "\"parameters\":{\"type\":\"object\"}}}]",
                               0, NULL);
    json_t *choice = json_loads("{\"type\":\"function\",\"function\":{\"name\":\"f\"}}", 0, NULL);
    json_t *allowed = json_loads("{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"required\",\"tools\":"
                                 "[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}}",
                                 0, NULL);
    ac_model_ask_t ask = {.tools = tools, .temperature = NAN, .no_calls = true};
    (void)state;
    expect_body("[]", &ask, &plain,
                "{\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":"
                "\"object\"},\"strict\":false}],\"tool_choice\":\"none\",\"parallel_tool_calls\":null,\"input\":[]}");
    ask = (ac_model_ask_t){.tools = tools, .temperature = NAN, .tool_choice = choice, .one_call = true};
    expect_body("[]", &ask, &plain,
                "{\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"parallel_tool_calls\":false}");
    ask.tool_choice = allowed;
    expect_body("[]", &ask, &plain,
                "{\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{\"type\":\"function\","
                "\"name\":\"f\"}]}}");
    json_decref(tools);
    json_decref(choice);
    json_decref(allowed);
}

static void test_images(void **state)
{
    const ac_model_image_t images[] = {{.id = "file_1", .type = "image/png", .bytes = "abc", .len = 3},
                                       {.id = "file_2", .type = "image/png", .url = "https://x/y"}};
    ac_model_ask_t ask = {.temperature = NAN, .images = images, .n_images = 2};
    (void)state;
    expect_body("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Look\"},"
                "{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:file_1\",\"detail\":\"low\"}},"
                "{\"type\":\"image_url\",\"image_url\":{\"url\":\"file:file_2\"}}]}]",
                &ask, &plain,
                "{\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"Look\"},"
                "{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,YWJj\",\"detail\":\"low\"},"
                "{\"type\":\"input_image\",\"image_url\":\"https://x/y\",\"detail\":\"auto\"}]}]}");
}

/* The run may have renamed a call; the service knows the id that it gave. */
static void test_results_have_the_ids_of_the_service(void **state)
{
    static const char chained[] = "[" USER("Hi") "," CALLS(
        CALL("a") "," CALL("b2")) "{\"response\":\"resp_1\",\"calls\":[{\"id\":\"a\"},{\"id\":\"b\"}]}},";
    static const char whole[] =
        "[" CALLS(CALL("a2")) "{\"calls\":[{\"id\":\"a\"}],\"items\":[{\"type\":\"reasoning\",\"id\":\"r\","
                              "\"encrypted_content\":\"k\"},{\"type\":\"reasoning\",\"id\":\"s\"},"
                              "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\","
                              "\"text\":\"Let me.\"}]},{\"type\":\"function_call\",\"call_id\":\"a\"},"
                              "{\"type\":\"web_search_call\",\"id\":\"w\"}]}},";
    char messages[2048];
    (void)state;
    snprintf(messages, sizeof(messages), "%s%s]", chained, RESULT("a", "1") "," RESULT("b2", "2"));
    expect_body(messages, NULL, &stored,
                "{\"previous_response_id\":\"resp_1\",\"input\":["
                "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"1\"},"
                "{\"type\":\"function_call_output\",\"call_id\":\"b\",\"output\":\"2\"}]}");
    snprintf(messages, sizeof(messages), "%s%s]", whole, RESULT("a2", "1"));
    expect_body(messages, NULL, &plain,
                "{\"previous_response_id\":null,\"input\":[{\"type\":\"reasoning\",\"id\":\"r\","
                "\"encrypted_content\":\"k\"},{\"role\":\"assistant\",\"content\":\"Let me.\"},"
                "{\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\",\"arguments\":\"{}\"},"
                "{\"type\":\"web_search_call\",\"id\":\"w\"},"
                "{\"type\":\"function_call_output\",\"call_id\":\"a\",\"output\":\"1\"}]}");
}

static void test_answers_to_questions(void **state)
{
    (void)state;
    expect_body(
        "[" CALLS(CALL("mcpr_1") "," CALL("mcpr_2") "," CALL(
            "c")) "{\"response\":\"resp_1\",\"approved\":[true,false,null],\"calls\":[{\"id\":\"mcpr_1\",\"approval\":"
                  "true},{\"id\":\"mcpr_2\",\"approval\":true},{\"id\":\"c\",\"approval\":false}]}}," RESULT(
                      "mcpr_1", "approved") "," RESULT("mcpr_2", "no") "," RESULT("c", "3") "]",
        NULL, &stored,
        "{\"input\":[{\"type\":\"mcp_approval_response\",\"approval_request_id\":\"mcpr_1\",\"approve\":true},"
        "{\"type\":\"mcp_approval_response\",\"approval_request_id\":\"mcpr_2\",\"approve\":false,\"reason\":"
        "\"no\"},{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"3\"}]}");
}

static void test_only_what_was_said_since(void **state)
{
    static const char messages[] =
        "[" SYSTEM
        "," USER("a") ",{\"role\":\"assistant\",\"content\":\"A\",\"carried\":{\"response\":\"resp_1\"}}," USER(
            "b") ",{\"role\":\"assistant\",\"content\":\"B\"}," USER("c") "]";
    (void)state;
    expect_body(
        messages, NULL, &stored,
        "{\"previous_response_id\":\"resp_1\",\"instructions\":\"Be short.\",\"input\":[{\"role\":\"user\","
        "\"content\":\"b\"},{\"role\":\"assistant\",\"content\":\"B\"},{\"role\":\"user\",\"content\":\"c\"}]}");
    expect_body(messages, NULL, &plain, "{\"previous_response_id\":null}");
}

static void test_too_long(void **state)
{
    ac_buf_t out;
    ac_err_t err = {0};
    bool chain = false;
    json_t *messages = json_loads("[" USER("Hello") "]", 0, NULL);
    ac_model_ask_t ask = {.messages = messages, .temperature = NAN};
    (void)state;
    ac_buf_init(&out, 20);
    assert_int_not_equal(ac_responses_request(&out, &ask, &plain, &chain, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_CONTEXT_LENGTH);
    ac_buf_free(&out);
    json_decref(messages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_results_have_the_ids_of_the_service),
        cmocka_unit_test(test_answers_to_questions),
        cmocka_unit_test(test_only_what_was_said_since),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
