/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the Responses API: every event of its documentation, and what servers of this kind do wrong. */
#include "openai_answer.h"

#undef TEXT
#define EVENT(type, rest) "{\"type\":\"" type "\",\"sequence_number\":1" rest "}"
#define CREATED \
    EVENT("response.created", ",\"response\":{\"id\":\"resp_1\",\"model\":\"m-1\",\"status\":\"in_progress\"}")
#define ADDED(index, item) EVENT("response.output_item.added", ",\"output_index\":" #index ",\"item\":" item)
#define ENDED(index, item) EVENT("response.output_item.done", ",\"output_index\":" #index ",\"item\":" item)
#define AT(index, part) ",\"item_id\":\"x\",\"output_index\":" #index ",\"content_index\":" #part
#define SUMMARY_AT(index, part) ",\"item_id\":\"x\",\"output_index\":" #index ",\"summary_index\":" #part
#define TEXT(index, text) EVENT("response.output_text.delta", AT(index, 0) ",\"logprobs\":[],\"delta\":\"" text "\"")
#define ARGS(index, text) \
    EVENT("response.function_call_arguments.delta", ",\"output_index\":" #index ",\"delta\":\"" text "\"")
#define SAID(text) \
    "{\"type\":\"message\",\"id\":\"msg_1\",\"content\":[{\"type\":\"output_text\",\"text\":\"" text \
    "\",\"annotations\":[]}]}"
#define CALL(id, name, arguments) \
    "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"" id "\",\"name\":\"" name \
    "\",\"arguments\":\"" arguments "\"}"
#define USED \
    ",\"usage\":{\"input_tokens\":11,\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":7," \
    "\"output_tokens_details\":{\"reasoning_tokens\":5},\"total_tokens\":18}"
#define RESPONSE(status, rest) "{\"id\":\"resp_1\",\"model\":\"m-1\",\"status\":\"" status "\"" rest "}"
#define TERMINAL(status, rest) EVENT("response." status, ",\"response\":" RESPONSE(status, rest))
#define COMPLETED(output) TERMINAL("completed", ",\"output\":[" output "]" USED)

static void on_hosted(void *baton, const ac_hosted_call_t *call)
{
    events_t *events = baton;
    char *arguments = ac_json_dump(call->arguments, NULL);
    char *result = call->result ? json_dumps(call->result, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    ac_buf_printf(&events->log, "(%s %s", call->ended ? "ended" : "began", call->name);
    if (call->ended) {
        ac_buf_printf(&events->log, " %s %s", arguments, call->error ? call->error : result ? result : "-");
    }
    ac_buf_printf(&events->log, ")");
    free(arguments);
    free(result);
}

static const ac_model_cb_t all_callbacks = {.on_text = on_text,
                                            .on_tool_start = on_tool_start,
                                            .on_tool_args = on_tool_args,
                                            .on_reasoning = on_reasoning,
                                            .on_hosted = on_hosted};
static const ac_responses_conf_t storing = {.store = true}, plain = {.store = false};

static apr_status_t take(answer_t *answer, const char *data)
{
    size_t len = strlen(data);
    char *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    apr_status_t status = ac_responses_event(&answer->wire, copy, len, &answer->err);
    free(copy);
    return status;
}

static void respond(answer_t *answer, const char *const *events)
{
    answer_start(answer);
    answer->wire.cb = &all_callbacks;
    for (; *events; events++) {
        assert_int_equal(take(answer, *events), APR_SUCCESS);
    }
    ac_responses_end(&answer->wire, &plain, &answer->end);
}

static void expect(const char *const *events, const char *log, ac_finish_e finish)
{
    answer_t answer;
    respond(&answer, events);
    assert_string_equal(answer.end.err.detail, "");
    assert_string_equal(answer.events.log.data, log);
    assert_int_equal(answer.end.finish, finish);
    answer_free(&answer);
}

/* The stream of the documentation: every event that has text. */
static void test_text_and_reasoning(void **state)
{
    (void)state;
    expect(CHUNKS(CREATED, EVENT("response.queued", ",\"response\":{}"),
                  EVENT("response.in_progress", ",\"response\":{}"),
                  ADDED(0, "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}"),
                  EVENT("response.reasoning_summary_part.added",
                        SUMMARY_AT(0, 0) ",\"part\":{\"type\":\"summary_text\",\"text\":\"\"}"),
                  EVENT("response.reasoning_summary_text.delta", SUMMARY_AT(0, 0) ",\"delta\":\"First\""),
                  EVENT("response.reasoning_summary_text.delta", SUMMARY_AT(0, 0) ",\"delta\":\" thought\""),
                  EVENT("response.reasoning_summary_text.done", SUMMARY_AT(0, 0) ",\"text\":\"First thought\""),
                  EVENT("response.reasoning_summary_part.done",
                        SUMMARY_AT(0, 0) ",\"part\":{\"type\":\"summary_text\",\"text\":\"First thought\"}"),
                  EVENT("response.reasoning_summary_text.delta", SUMMARY_AT(0, 1) ",\"delta\":\"Second\""),
                  EVENT("response.reasoning_text.delta", AT(0, 0) ",\"delta\":\"Raw\""),
                  EVENT("response.reasoning_text.done", AT(0, 0) ",\"text\":\"Raw\""),
                  ENDED(0,
                        "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\",\"text"
                        "\":\"First thought\"},"
                        "{\"type\":\"summary_text\",\"text\":\"Second\"}],\"content\":[{\"type\":\"reasoning_text"
                        "\",\"text\":\"Raw\"}]}"),
                  ADDED(1, "{\"type\":\"message\",\"id\":\"msg_1\",\"content\":[]}"),
                  EVENT("response.content_part.added", AT(1, 0) ",\"part\":{\"type\":\"output_text\",\"text\":\"\"}"),
                  TEXT(1, "Hel"), TEXT(1, "lo"),
                  EVENT("response.output_text.annotation.added",
                        AT(1, 0) ",\"annotation_index\":0,\"annotation\":{\"type\":\"url_citation\"}"),
                  EVENT("response.output_text.done", AT(1, 0) ",\"text\":\"Hello\""),
                  EVENT("response.content_part.done", AT(1, 0) ",\"part\":{}"), ENDED(1, SAID("Hello")),
                  EVENT("response.refusal.delta", AT(2, 0) ",\"delta\":\"I will\""),
                  EVENT("response.refusal.delta", AT(2, 0) ",\"delta\":\" not\""),
                  EVENT("response.refusal.done", AT(2, 0) ",\"refusal\":\"I will not\""), EVENT("keepalive", ""),
                  EVENT("response.something.new", ",\"x\":1"), COMPLETED(SAID("Hello")), "[DONE]"),
           "{First}{ thought}{\n\n}{Second}{\n\n}{Raw}Hello\n\nI will not", AC_FINISH_STOP);
}

/* What comes without deltas is reported at its end, wherever that is, and once. */
static void test_whole_parts(void **state)
{
    (void)state;
    expect(CHUNKS(EVENT("response.output_text.done", AT(0, 0) ",\"text\":\"Hello\""), ENDED(0, SAID("Hello")),
                  COMPLETED(SAID("Hello"))),
           "Hello", AC_FINISH_STOP);
    expect(CHUNKS(ENDED(0, SAID("Hello")), COMPLETED("")), "Hello", AC_FINISH_STOP);
    expect(CHUNKS(CREATED, COMPLETED(SAID("Hello"))), "Hello", AC_FINISH_STOP);
    expect(CHUNKS(ENDED(0, "{\"type\":\"reasoning\",\"summary\":[{\"text\":\"So\"}]}"), ENDED(1, SAID("Hi")),
                  COMPLETED("")),
           "{So}Hi", AC_FINISH_STOP);
    expect(CHUNKS(COMPLETED(CALL("call_1", "add", "{}"))), "[0 call_1 add]<0 {}>", AC_FINISH_TOOL_CALLS);
    expect(CHUNKS(EVENT("response.function_call_arguments.done",
                        ",\"output_index\":0,\"name\":\"add\",\"arguments\":\"{}\""),
                  ENDED(0, CALL("call_1", "add", "{}")), COMPLETED("")),
           "[0 call_1 add]<0 {}>", AC_FINISH_TOOL_CALLS);
}

static void test_calls(void **state)
{
    (void)state;
    answer_t answer;
    respond(&answer,
            CHUNKS(CREATED, ADDED(0, CALL("call_1", "add", "")), ADDED(1, CALL("call_2", "mul", "")),
                   ARGS(0, "{\\\"a\\\""), ARGS(1, "{}"), ARGS(0, ":1}"),
                   EVENT("response.function_call_arguments.done",
                         ",\"output_index\":0,\"arguments\":\"{\\\"a\\\":1}\""),
                   ENDED(0, CALL("call_1", "add", "{\\\"a\\\":1}")), ENDED(1, CALL("call_2", "mul", "{\\\"b\\\":2}")),
                   COMPLETED(CALL("call_1", "add", "{\\\"a\\\":1}") "," CALL("call_2", "mul", "{\\\"b\\\":2}"))));
    assert_string_equal(answer.events.log.data, "[0 call_1 add][1 call_2 mul]<0 {\"a\"><1 {}><0 :1}>");
    assert_int_equal(answer.end.n_calls, 2);
    assert_string_equal(answer.end.calls[0].arguments, "{\"a\":1}");
    assert_string_equal(answer.end.calls[1].arguments, "{\"b\":2}"); /* the end of the item decides */
    assert_int_equal(json_array_size(json_object_get(answer.end.carried, "items")), 2);
    assert_string_equal(answer.end.response, "");
    ac_responses_end(&answer.wire, &storing, &answer.end);
    assert_string_equal(answer.end.response, "resp_1");
    assert_null(json_object_get(answer.end.carried, "items"));
    answer_free(&answer);
}

static void test_usage_and_names(void **state)
{
    (void)state;
    answer_t answer;
    respond(&answer, CHUNKS(CREATED, TEXT(0, "x"), COMPLETED("")));
    assert_string_equal(answer.end.model, "m-1");
    assert_int_equal(answer.end.usage.prompt, 11);
    assert_int_equal(answer.end.usage.completion, 7);
    assert_int_equal(answer.end.usage.cached, 4);
    assert_int_equal(answer.end.usage.reasoning, 5);
    assert_int_equal(answer.end.usage.total, 18);
    assert_null(answer.end.carried);
    answer_free(&answer);
    respond(&answer, CHUNKS(TEXT(0, "x"), TERMINAL("completed", ",\"output\":null,\"usage\":null")));
    assert_false(answer.end.usage.known);
    answer_free(&answer);
}

static void test_ends(void **state)
{
    (void)state;
    expect(CHUNKS(TEXT(0, "x"),
                  TERMINAL("incomplete", ",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"output\":[]")),
           "x", AC_FINISH_LENGTH);
    expect(CHUNKS(TEXT(0, "x"),
                  TERMINAL("incomplete", ",\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[]")),
           "x", AC_FINISH_CONTENT_FILTER);
    expect(CHUNKS(TEXT(0, "x"), "[DONE]"), "x", AC_FINISH_STOP);
    expect(CHUNKS(TEXT(0, "x"), COMPLETED(""), TEXT(0, "after the end")), "x", AC_FINISH_STOP);
    answer_t answer;
    respond(&answer, CHUNKS(CREATED, TEXT(0, "x")));
    assert_int_equal(answer.end.err.kind, AC_MODEL_ERROR);
    assert_string_equal(answer.end.err.detail, "the answer was cut off");
    answer_free(&answer);
}

static void test_errors(void **state)
{
    static const struct {
        const char *event;
        ac_kind_e kind;
    } cases[] = {
        {EVENT("error", ",\"code\":\"server_error\",\"message\":\"m\",\"param\":null"), AC_MODEL_ERROR},
        {EVENT("error", ",\"code\":\"rate_limit_exceeded\",\"message\":\"m\",\"param\":null"), AC_MODEL_THROTTLED},
        {EVENT("error",
               ",\"error\":{\"type\":\"invalid_request\",\"code\":\"context_length_exceeded\",\"message\":\"m\"}"),
         AC_CONTEXT_LENGTH},
        {"{\"error\":{\"code\":\"content_filter\",\"message\":\"m\"}}", AC_CONTENT_FILTERED},
        {TERMINAL("failed", ",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}"), AC_MODEL_ERROR},
        {TERMINAL("failed", ",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}"), AC_MODEL_THROTTLED},
        {TERMINAL("failed", ",\"error\":{\"code\":\"invalid_prompt\",\"message\":\"m\"}"), AC_MODEL_ERROR},
        {TERMINAL("failed", ",\"error\":null"), AC_MODEL_ERROR},
        {TERMINAL("incomplete", ",\"status\":\"cancelled\""), AC_MODEL_ERROR},
        {TERMINAL("cancelled", ""), AC_MODEL_ERROR},
        {"{\"type\":", AC_MODEL_ERROR},
        {"7", AC_MODEL_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        answer_t answer;
        answer_start(&answer);
        assert_int_not_equal(take(&answer, cases[i].event), APR_SUCCESS);
        assert_int_equal(answer.err.kind, cases[i].kind);
        assert_null(strstr(answer.err.detail, "after"));
        answer_free(&answer);
    }
}

/* Calls that the service makes itself, in the forms that it has for them. */
static void test_hosted_calls(void **state)
{
    (void)state;
    expect(
        CHUNKS(ADDED(0, "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"in_progress\"}"),
               EVENT("response.web_search_call.searching", ",\"output_index\":0"),
               ENDED(0,
                     "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{\"typ"
                     "e\":\"search\",\"query\":\"q\"}}"),
               ENDED(1,
                     "{\"type\":\"file_search_call\",\"id\":\"fs_1\",\"queries\":[\"q\"],\"results\":[{\"file_"
                     "id\":\"f\"}]}"),
               ENDED(2, "{\"type\":\"code_interpreter_call\",\"id\":\"ci_1\",\"code\":\"1+1\",\"outputs\":null}"),
               ADDED(3,
                     "{\"type\":\"mcp_call\",\"id\":\"mcp_1\",\"server_label\":\"Git Hub\",\"name\":\"list.rep"
                     "os\",\"arguments\":\"\"}"),
               ENDED(3,
                     "{\"type\":\"mcp_call\",\"id\":\"mcp_1\",\"server_label\":\"Git Hub\",\"name\":\"list.repos\","
                     "\"arguments\":\"{\\\"n\\\":1}\",\"output\":\"two\",\"error\":null}"),
               ENDED(4,
                     "{\"type\":\"mcp_call\",\"id\":\"mcp_2\",\"name\":\"x\",\"arguments\":\"{}\",\"error\":{"
                     "\"message\":\"down\"}}"),
               ENDED(5, "{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"status\":\"failed\"}"),
               ENDED(6, "{\"type\":\"mcp_list_tools\",\"id\":\"mcpl_1\",\"tools\":[]}"),
               ENDED(7, "{\"type\":\"custom_tool_call\",\"id\":\"ct_1\",\"name\":\"x\"}"),
               ENDED(8, "{\"type\":\"workflow_action\",\"id\":\"wf_1\"}"), COMPLETED("")),
        "(began web_search)(ended web_search {\"action\":{\"type\":\"search\",\"query\":\"q\"}} -)"
        "(ended file_search {\"queries\":[\"q\"]} [{\"file_id\":\"f\"}])(ended code_interpreter {\"code\":\"1+1\"} -)"
        "(began Git_Hub_list_repos)(ended Git_Hub_list_repos {\"n\":1} \"two\")(ended x {} down)"
        "(ended image_generation {} the tool failed)",
        AC_FINISH_STOP);
}

static void test_questions(void **state)
{
    (void)state;
    answer_t answer;
    respond(&answer,
            CHUNKS(ENDED(0,
                         "{\"type\":\"mcp_approval_request\",\"id\":\"mcpr_1\",\"server_label\":\"git\","
                         "\"name\":\"push\",\"arguments\":\"{\\\"force\\\":true}\"}"),
                   COMPLETED("")));
    assert_string_equal(answer.events.log.data, ""); /* the run shows it, with its approval */
    assert_int_equal(answer.end.finish, AC_FINISH_TOOL_CALLS);
    assert_int_equal(answer.end.n_calls, 1);
    assert_true(answer.end.calls[0].approval);
    assert_string_equal(answer.end.calls[0].name, "git_push");
    assert_string_equal(answer.end.calls[0].id, "mcpr_1");
    assert_string_equal(answer.end.calls[0].arguments, "{\"force\":true}");
    answer_free(&answer);
}

static void test_whole_document(void **state)
{
    static const struct {
        const char *body, *log;
        ac_kind_e kind;
    } cases[] = {
        {RESPONSE("completed", ",\"error\":null,\"output\":[" SAID("Hello") "]" USED), "Hello", AC_OK},
        {RESPONSE("incomplete", ",\"output\":[" SAID("Hel") "]"), "Hel", AC_OK},
        {RESPONSE("failed", ",\"error\":{\"code\":\"server_error\"},\"output\":[]"), "", AC_MODEL_ERROR},
        {"{\"choices\":[]}", "", AC_MODEL_ERROR},
        {"{\"error\":{\"code\":\"invalid_api_key\"}}", "", AC_MODEL_REFUSED},
        {"nothing", "", AC_MODEL_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        answer_t answer;
        answer_start(&answer);
        answer.wire.cb = &all_callbacks;
        ac_responses_whole(&answer.wire, cases[i].body, strlen(cases[i].body), &answer.err);
        assert_int_equal(answer.err.kind, cases[i].kind);
        assert_string_equal(answer.events.log.data, cases[i].log);
        answer_free(&answer);
    }
}

static bool collect(void *baton, const char *event, const char *data, size_t len)
{
    answer_t *answer = baton;
    (void)event;
    return ac_responses_event(&answer->wire, data, len, &answer->err) == APR_SUCCESS;
}

/* A stream in two pieces, cut at each of its bytes, gives the same answer. */
static void test_cut_at_each_byte(void **state)
{
    static const char stream[] =
        ": open\r\nevent: response.created\r\ndata: " CREATED
        "\r\n\r\nevent: response.output_text.delta\ndata: " TEXT(0, "H\xc3\xa9") "\n\ndata:" ARGS(
            1, "{\\\"a\\\":") "\n\ndata: " ENDED(1,
                                                 CALL("call_1", "add",
                                                      "{\\\"a\\\":1}")) "\n\nevent: response.completed\ndata:"
                                                                        " " COMPLETED("") "\n\n";
    (void)state;
    for (size_t cut = 0; cut < sizeof(stream); cut++) {
        answer_t answer;
        ac_sse_reader_t reader;
        answer_start(&answer);
        answer.wire.cb = &all_callbacks;
        ac_sse_reader_init(&reader);
        ac_sse_read(&reader, stream, cut, collect, &answer, &answer.err);
        ac_sse_read(&reader, stream + cut, sizeof(stream) - 1 - cut, collect, &answer, &answer.err);
        ac_sse_finish(&reader, collect, &answer);
        assert_string_equal(answer.err.detail, "");
        assert_string_equal(answer.events.log.data, "H\xc3\xa9[0 call_1 add]<0 {\"a\":1}>");
        assert_int_equal(ac_responses_end(&answer.wire, &plain, &answer.end), APR_SUCCESS);
        assert_string_equal(answer.end.calls[0].arguments, "{\"a\":1}");
        ac_sse_reader_free(&reader);
        answer_free(&answer);
    }
}

static void test_unknown_answer(void **state)
{
    static const char body[] = "{\"error\":{\"code\":\"previous_response_not_found\",\"message\":\"m\"}}";
    (void)state;
    assert_true(ac_responses_is_unknown(400, body, strlen(body)));
    assert_true(ac_responses_is_unknown(404, body, strlen(body)));
    assert_false(ac_responses_is_unknown(429, body, strlen(body)));
    assert_false(ac_responses_is_unknown(400, "{}", 2));
    assert_false(ac_responses_is_unknown(404, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_and_reasoning),
        cmocka_unit_test(test_whole_parts),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_usage_and_names),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_hosted_calls),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_whole_document),
        cmocka_unit_test(test_cut_at_each_byte),
        cmocka_unit_test(test_unknown_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
