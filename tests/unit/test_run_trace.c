/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a run: what a trace shows of a turn, of its retries, its tools and its end. */
#include "trace_world.h"

static void test_a_turn_with_tools_a_retry_and_a_fallback(void **state)
{
    (void)state;
    whole_turn();
    assert_tree("invoke_agent assistant gen_ai.request.model=second gen_ai.response.model=second "
                "gen_ai.response.finish_reasons=[\"stop\"] gen_ai.usage.input_tokens=20 gen_ai.usage.output_tokens=8 "
                "agentchat.run.status=completed agentchat.run.rounds=2 agentchat.run.tool_calls=2\n"
                "  chat gpt-x gen_ai.request.model=gpt-x http.response.status_code=429 !model_throttled\n"
                "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.finish_reasons=[\"tool_calls\"] "
                "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4 http.request.resend_count=1\n"
                "  execute_tool later gen_ai.tool.call.id=c2 agentchat.tool.outcome=ok\n"
                "  execute_tool later gen_ai.tool.call.id=c1 agentchat.tool.outcome=ok\n"
                "  chat gpt-x gen_ai.request.model=gpt-x !model_error\n"
                "  chat second gen_ai.request.model=second gen_ai.response.finish_reasons=[\"stop\"] "
                "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4\n");
}

static void test_every_span_of_a_turn_has_its_conversation(void **state)
{
    (void)state;
    whole_turn();
    const char *thread = sink_text(sink_find("invoke_agent assistant"), AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID);
    assert_int_equal(strncmp(thread, "thread_", 7), 0);
    for (int i = 0; i < sink_n; i++) {
        assert_string_equal(sink_spans[i]->trace.trace_id, TRACE);
        assert_string_equal(sink_spans[i]->trace.state, "vendor=1");
        if (sink_spans[i]->what == AC_SPAN_STORE) {
            continue;
        }
        assert_string_equal(sink_text(sink_spans[i], AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID), thread);
        assert_string_equal(sink_text(sink_spans[i], AC_ATTRIBUTE_AGENTCHAT_RUN_ID), run_id);
        assert_string_equal(sink_text(sink_spans[i], AC_ATTRIBUTE_GEN_AI_AGENT_ID), "assistant");
    }
}

static void test_what_a_model_call_says(void **state)
{
    (void)state;
    static const ac_attribute_e keys[] = {
        AC_ATTRIBUTE_GEN_AI_OPERATION_NAME,
        AC_ATTRIBUTE_GEN_AI_PROVIDER_NAME,
        AC_ATTRIBUTE_GEN_AI_REQUEST_MAX_TOKENS,
        AC_ATTRIBUTE_GEN_AI_REQUEST_REASONING_LEVEL,
        AC_ATTRIBUTE_GEN_AI_REQUEST_STREAM,
        AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL,
        AC_ATTRIBUTE_SERVER_ADDRESS,
        AC_ATTRIBUTE_SERVER_PORT,
        AC_ATTRIBUTE_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
        AC_ATTRIBUTE_AGENTCHAT_COST,
        AC_ATTRIBUTE_AGENTCHAT_COST_CURRENCY,
        AC_ATTRIBUTE_AGENTCHAT_REQUEST_ID,
    };
    start_traced("x", HEADER);
    open_well();
    say("Hello");
    end_well();
    json_decref(close_well());
    assert_string_equal(trace_tree(SPAN, keys, sizeof keys / sizeof keys[0]),
                        "invoke_agent assistant gen_ai.operation.name=invoke_agent gen_ai.provider.name=fake "
                        "gen_ai.response.model=fake-1 gen_ai.usage.cache_read.input_tokens=2 agentchat.cost=1.7e-05 "
                        "agentchat.cost.currency=USD agentchat.request.id=req_1\n"
                        "  chat gpt-x gen_ai.operation.name=chat gen_ai.provider.name=fake "
                        "gen_ai.request.max_tokens=500 gen_ai.request.reasoning.level=low gen_ai.request.stream=true "
                        "gen_ai.response.model=fake-1 server.address=models.example server.port=8443 "
                        "gen_ai.usage.cache_read.input_tokens=2 agentchat.cost=1.7e-05 agentchat.cost.currency=USD\n");
    assert_non_null(sink_attribute(sink_find("chat gpt-x"), AC_ATTRIBUTE_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK));
    assert_non_null(
        sink_attribute(sink_find("invoke_agent assistant"), AC_ATTRIBUTE_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK));
}

static void test_the_address_of_a_model(void **state)
{
    (void)state;
    static const struct {
        const char *url, *address;
        int port;
    } rows[] = {
        {"http://127.0.0.1:11434/v1", "127.0.0.1", 11434},
        {"https://a.example", "a.example", 443},
        {"http://a.example/v1", "a.example", 80},
        {"https://[::1]:9/v1", "::1", 9},
        {"https://[fe80::2]/v1", "fe80::2", 443},
        {"https://user@a.example/", "", -1},
        {"nothing", "", -1},
        {NULL, "", -1},
    };
    const char *endpoint = traced_conf.endpoint;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        sink_clear();
        traced_conf.endpoint = rows[i].url;
        start_run(0);
        open_well();
        end_well();
        json_decref(close_well());
        assert_int_equal(sink_n, 0); /* its request has no trace */
        start_traced("x", HEADER);
        open_well();
        end_well();
        json_decref(close_well());
        const char *address = sink_text(sink_find("chat gpt-x"), AC_ATTRIBUTE_SERVER_ADDRESS);
        assert_string_equal(address, rows[i].address);
        assert_int_equal(sink_integer(sink_find("chat gpt-x"), AC_ATTRIBUTE_SERVER_PORT), rows[i].port);
        last_seq = 0;
    }
    traced_conf.endpoint = endpoint;
}

/* The upstream gets the context of the attempt, also where nothing is recorded. */
static void test_the_context_of_an_attempt(void **state)
{
    (void)state;
    start_traced("x", HEADER);
    ac_run_t *run = model.run;
    open_well();
    char first[17];
    apr_cpystrn(first, run->trace.asking.span_id, sizeof first);
    assert_string_equal(run->trace.asking.trace_id, TRACE);
    assert_string_equal(run->trace.asking.state, "vendor=1");
    assert_true(run->trace.asking.sampled);
    retry(AC_MODEL_ERROR, 0);
    assert_string_equal(sink_find("chat gpt-x")->trace.span_id, first);
    assert_string_not_equal(run->trace.asking.span_id, first);
    end_well();
    json_decref(close_well());

    sink_clear();
    last_seq = 0;
    ac_span_install(NULL);
    start_traced("x", HEADER);
    run = model.run;
    open_well();
    assert_string_equal(run->trace.asking.span_id, SPAN);
    retry(AC_MODEL_ERROR, 0);
    assert_string_equal(run->trace.asking.span_id, SPAN);
    end_well();
    json_decref(close_well());
    last_seq = 0;
    sink_open(AC_CONTENT_ALL);
    start_traced("x", "00-" TRACE "-" SPAN "-00");
    run = model.run;
    open_well();
    assert_string_equal(run->trace.asking.span_id, SPAN);
    assert_false(run->trace.asking.sampled);
    end_well();
    json_decref(close_well());
    assert_int_equal(sink_n, 0);
}

/* ---- tools ---- */

static void test_the_outcomes_of_tools(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "next", "{\"n\": 1}", false},
                                    {"c2", "next", "{\"fail\": 1}", false},
                                    {"c3", "next", "{\"n\": \"text\"}", false},
                                    {"c4", "the words of a model", "{}", false},
                                    {"c5", "later", "{}", false}};
    start_traced_with_tools(calls, 5);
    fake_pass(tool_conf.timeout);
    end_well();
    json_decref(close_well());
    assert_tree(
        "invoke_agent assistant gen_ai.request.model=gpt-x gen_ai.response.model=fake-1 "
        "gen_ai.response.finish_reasons=[\"stop\"] gen_ai.usage.input_tokens=20 gen_ai.usage.output_tokens=8 "
        "agentchat.run.status=completed agentchat.run.rounds=2 agentchat.run.tool_calls=5\n"
        "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.finish_reasons=[\"tool_calls\"] "
        "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4\n"
        "  execute_tool next gen_ai.tool.call.id=c1 agentchat.tool.outcome=ok\n"
        "  execute_tool next gen_ai.tool.call.id=c2 agentchat.tool.outcome=error !tool_error\n"
        "  execute_tool next gen_ai.tool.call.id=c3 agentchat.tool.outcome=invalid !tool_error\n"
        "  execute_tool gen_ai.tool.call.id=c4 agentchat.tool.outcome=invalid !tool_error\n"
        "  execute_tool later gen_ai.tool.call.id=c5 agentchat.tool.outcome=timeout !tool_timeout\n"
        "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.model=fake-1 "
        "gen_ai.response.finish_reasons=[\"stop\"] gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4\n");
}

static void test_a_cancelled_run_and_its_tool(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}", false}};
    start_traced_with_tools(calls, 1);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    json_decref(close_well());
    assert_tree("invoke_agent assistant gen_ai.request.model=gpt-x gen_ai.response.model=fake "
                "gen_ai.response.finish_reasons=[\"tool_calls\"] gen_ai.usage.input_tokens=10 "
                "gen_ai.usage.output_tokens=4 agentchat.run.status=cancelled agentchat.run.rounds=1 "
                "agentchat.run.tool_calls=1\n"
                "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.finish_reasons=[\"tool_calls\"] "
                "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4\n"
                "  execute_tool later gen_ai.tool.call.id=c1 agentchat.tool.outcome=abandoned !cancelled\n");
}

/* ---- ends ---- */

static void test_a_client_that_leaves(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("x");
    ac_trace_t trace;
    assert_true(ac_trace_parse(&trace, HEADER));
    ac_turn_set_trace(turn, &trace);
    turn->leave = 0;
    ac_run_start(engine, turn, &follower);
    fake_turn();
    open_well();
    say("Hel");
    ac_channel_leave(&follower);
    fake_pass(1);
    json_decref(close_well());
    assert_string_equal(sink_text(sink_find("invoke_agent assistant"), AC_ATTRIBUTE_AGENTCHAT_RUN_STATUS), "cancelled");
    assert_null(sink_find("invoke_agent assistant")->error);
    assert_string_equal(sink_find("chat gpt-x")->error, "cancelled");
}

static void test_a_run_that_fails(void **state)
{
    (void)state;
    first_gate.fallback = NULL;
    start_traced("x", HEADER);
    open_well();
    break_down(AC_MODEL_TIMEOUT);
    json_decref(close_well());
    assert_string_equal(sink_find("invoke_agent assistant")->error, "model_timeout");
    assert_string_equal(sink_find("chat gpt-x")->error, "model_timeout");
    assert_string_equal(sink_text(sink_find("invoke_agent assistant"), AC_ATTRIBUTE_AGENTCHAT_RUN_STATUS), "failed");
}

static void load_seen(int n)
{
    json_t *messages = json_array();
    for (int i = 1; i <= n; i++) {
        json_array_append_new(messages,
                              json_pack("{s:s, s:s, s:i}", "role", i % 2 ? "user" : "assistant", "content", "said",
                                        "seq", i));
    }
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s}, s:o, s:n}", "thread", "agent_id", "assistant", "messages", messages, "active_run"),
              AC_OK);
}

/* The thread changes while the model answers: the run asks again, and both calls are seen. */
static void test_a_conflict(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("x");
    ac_trace_t trace;
    assert_true(ac_trace_parse(&trace, HEADER));
    ac_turn_set_trace(turn, &trace);
    ac_id_make(turn->thread_id, "thread_");
    ac_run_start(engine, turn, &follower);
    fake_turn();
    load_seen(2);
    say("not this");
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    load_seen(4);
    open_well();
    say("but that");
    end_well();
    json_decref(close_well());
    assert_string_equal(nth_span("chat gpt-x", 0)->error, "cancelled");
    assert_null(nth_span("chat gpt-x", 1)->error);
    const ac_span_t *run = nth_span("invoke_agent assistant", 0);
    assert_null(run->error);
    assert_string_equal(nth_span("turn_open", 0)->parent_id, run->trace.span_id);
    assert_string_equal(nth_span("turn_open", 1)->parent_id, run->trace.span_id);
}

/* ---- suspended runs ---- */

/* A run that awaits approval has left this child. Returns its state document. */
static json_t *suspend_traced(void)
{
    const ac_tool_call_t calls[] = {{"c1", "next", "{\"n\": 1}", false}, {"c2", "later", "{\"n\": 7}", false}};
    later_tool.conf = &asking_conf;
    start_traced_with_tools(calls, 2);
    json_t *kept = json_deep_copy(json_object_get(expect_op(AC_STORE_RUN_SUSPEND)->in, "state"));
    ac_channel_leave(&follower);
    answer_op(NULL, AC_OK);
    assert_int_equal(ac_engine_active(engine), 0);
    return kept;
}

/* The store gives the run to this child, with this state and these decisions. Consumes kept. */
static void come_back(json_t *kept, const char *decisions)
{
    fake_pass(APPROVAL);
    expect_op(AC_STORE_SUSPENDED_LIST);
    answer_op(json_pack("{s:[{s:s, s:s}]}", "data", "run_id", run_id, "owner", "ann"), AC_OK);
    expect_op(AC_STORE_APPROVAL_DECIDE);
    answer_op(json_pack("{s:s, s:o, s:o}", "thread_id", "thread_1", "state", kept, "calls",
                        json_loads(decisions, 0, NULL)),
              AC_OK);
}

static void test_an_approved_run_is_linked_to_its_first_part(void **state)
{
    (void)state;
    json_t *kept = suspend_traced();
    assert_tree("invoke_agent assistant gen_ai.request.model=gpt-x gen_ai.response.model=fake "
                "gen_ai.response.finish_reasons=[\"tool_calls\"] gen_ai.usage.input_tokens=10 "
                "gen_ai.usage.output_tokens=4 agentchat.run.status=awaiting_approval agentchat.run.rounds=1 "
                "agentchat.run.tool_calls=0\n"
                "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.finish_reasons=[\"tool_calls\"] "
                "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=4\n"
                "  execute_tool next gen_ai.tool.call.id=c1 agentchat.tool.outcome=ok\n");
    char first[17];
    apr_cpystrn(first, sink_find("invoke_agent assistant")->trace.span_id, sizeof first);
    sink_clear();
    come_back(kept, "{\"c2\": {\"approve\": true}}");
    tool_answers(0, json_integer(8));
    end_well();
    json_decref(close_well());
    assert_string_equal(trace_tree(first, shown, sizeof shown / sizeof shown[0]),
                        "invoke_agent assistant gen_ai.request.model=gpt-x gen_ai.response.model=fake-1 "
                        "gen_ai.response.finish_reasons=[\"stop\"] gen_ai.usage.input_tokens=10 "
                        "gen_ai.usage.output_tokens=4 agentchat.run.status=completed agentchat.run.rounds=1 "
                        "agentchat.run.tool_calls=2 +link\n"
                        "  execute_tool later gen_ai.tool.call.id=c2 agentchat.tool.outcome=ok\n"
                        "  chat gpt-x gen_ai.request.model=gpt-x gen_ai.response.model=fake-1 "
                        "gen_ai.response.finish_reasons=[\"stop\"] gen_ai.usage.input_tokens=10 "
                        "gen_ai.usage.output_tokens=4\n");
    const ac_span_t *span = sink_find("invoke_agent assistant");
    assert_string_equal(span->links[0].trace_id, TRACE);
    assert_string_equal(span->links[0].span_id, first);
}

static void test_a_refused_call(void **state)
{
    (void)state;
    json_t *kept = suspend_traced();
    sink_clear();
    come_back(kept, "{\"c2\": {\"approve\": false}}");
    end_well();
    json_decref(close_well());
    const ac_span_t *span = sink_find("execute_tool later");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_AGENTCHAT_TOOL_OUTCOME), "refused");
    assert_null(span->error);
}

/* Without the first part's context, or with a damaged one. */
static void test_a_state_without_a_context(void **state)
{
    (void)state;
    static const char *const values[] = {"null", "\"00-xyz\"", "17"};
    for (size_t i = 0; i < 3; i++) {
        json_t *kept = suspend_traced();
        sink_clear();
        json_object_set_new(kept, "trace", json_loads(values[i], JSON_DECODE_ANY, NULL));
        come_back(kept, "{\"c2\": {\"approve\": false}}");
        end_well();
        json_decref(close_well());
        assert_int_equal(sink_n, 0);
        last_seq = 0;
    }
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        TRACE_TEST(test_a_turn_with_tools_a_retry_and_a_fallback),
        TRACE_TEST(test_every_span_of_a_turn_has_its_conversation),
        TRACE_TEST(test_what_a_model_call_says),
        TRACE_TEST(test_the_address_of_a_model),
        TRACE_TEST(test_the_context_of_an_attempt),
        TRACE_TEST(test_the_outcomes_of_tools),
        TRACE_TEST(test_a_cancelled_run_and_its_tool),
        TRACE_TEST(test_a_client_that_leaves),
        TRACE_TEST(test_a_run_that_fails),
        TRACE_TEST(test_a_conflict),
        TRACE_TEST(test_an_approved_run_is_linked_to_its_first_part),
        TRACE_TEST(test_a_refused_call),
        TRACE_TEST(test_a_state_without_a_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
