/* SPDX-License-Identifier: Apache-2.0 */
/* Tools that the client carries out: what a request may bring, and the runs that end in their calls or begin with their
 * results. */
#include "run_world.h"

static ac_err_t failure;

/* Adds a tool given as text. */
static apr_status_t add(ac_client_tools_t *tools, const char *text)
{
    json_t *function = json_loads(text, JSON_DECODE_ANY, NULL);
    ac_err_init(&failure);
    apr_status_t status = ac_client_tools_add(tools, function, "/tools/0/function", &failure);
    json_decref(function);
    return status;
}

static ac_turn_t *turn_with_tools(const char *content)
{
    ac_turn_t *turn = new_turn(content);
    assert_int_equal(add(&turn->client,
                         "{\"name\": \"paint\", \"description\": \"Paints.\", \"strict\": true,"
                         " \"parameters\": {\"type\": \"object\"}}"),
                     APR_SUCCESS);
    assert_int_equal(add(&turn->client, "{\"name\": \"sing\"}"), APR_SUCCESS);
    return turn;
}

static void start(ac_turn_t *turn)
{
    ac_run_start(engine, turn, &follower);
    fake_turn();
}

static const char *name_of(const json_t *tools, size_t i)
{
    return text_at(json_array_get(tools, i), "function", "name");
}

static void test_what_a_request_may_bring(void **state)
{
    (void)state;
    ac_client_tools_t tools = {0};
    static const char *const bad[][2] = {
        {"7", "/tools/0/function"},
        {"{}", "/tools/0/function/name"},
        {"{\"name\": \"\"}", "/tools/0/function/name"},
        {"{\"name\": \"a b\"}", "/tools/0/function/name"},
        {"{\"name\": \"\xc3\xa4\"}", "/tools/0/function/name"},
        {"{\"name\": \"a2345678901234567890123456789012345678901234567890123456789012345\"}", "/tools/0/function/name"},
        {"{\"name\": \"a\", \"description\": 7}", "/tools/0/function/description"},
        {"{\"name\": \"a\", \"parameters\": []}", "/tools/0/function/parameters"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(add(&tools, bad[i][0]), APR_SUCCESS);
        assert_string_equal(failure.pointer, bad[i][1]);
        assert_null(tools.list);
    }
    assert_int_equal(add(&tools, "{\"name\": \"a\", \"description\": null, \"parameters\": null, \"strict\": null}"),
                     0);
    assert_int_not_equal(add(&tools, "{\"name\": \"a\"}"), APR_SUCCESS); /* twice */
    for (int i = 1; i < AC_MAX_CLIENT_TOOLS; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"name\": \"t%d\"}", i);
        assert_int_equal(add(&tools, text), APR_SUCCESS);
    }
    assert_int_not_equal(add(&tools, "{\"name\": \"more\"}"), APR_SUCCESS);
    ac_client_tools_free(&tools);
    json_t *large = json_pack("{s:s, s:o}", "name", "a", "description", json_string(""));
    char *text = malloc(AC_MAX_CLIENT_TOOLS_BYTES + 1);
    memset(text, 'x', AC_MAX_CLIENT_TOOLS_BYTES);
    text[AC_MAX_CLIENT_TOOLS_BYTES] = '\0';
    json_object_set_new(large, "description", json_string(text));
    assert_int_not_equal(ac_client_tools_add(&tools, large, "/tools/0", &failure), APR_SUCCESS);
    free(text);
    json_decref(large);
    ac_client_tools_free(&tools);
}

static void test_a_choice(void **state)
{
    (void)state;
    ac_client_tools_t tools = {0};
    ac_err_init(&failure);
    assert_int_equal(ac_client_tools_choose(&tools, "required", NULL, "/tool_choice", &failure), APR_SUCCESS);
    assert_string_equal(json_string_value(tools.choice), "required");
    assert_int_equal(ac_client_tools_choose(&tools, "auto", NULL, "/tool_choice", &failure), APR_SUCCESS);
    assert_null(tools.choice);
    assert_int_equal(ac_client_tools_choose(&tools, "", "paint", "/tool_choice", &failure), APR_SUCCESS);
    assert_string_equal(text_at(tools.choice, "function", "name"), "paint");
    assert_int_not_equal(ac_client_tools_choose(&tools, "always", NULL, "/tool_choice", &failure), APR_SUCCESS);
    assert_string_equal(failure.pointer, "/tool_choice");
    ac_client_tools_free(&tools);
}

static void test_a_run_ends_in_calls(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "paint", "{\"n\": 1}", false},
                                    {"c2", "later", "{}", false},
                                    {"c3", "sing", "", false}};
    start(turn_with_tools("x"));
    assert_int_equal(json_array_size(model.tools), 2); /* this agent's own list is NULL */
    assert_string_equal(name_of(model.tools, 0), "paint");
    assert_true(json_is_true(json_object_get(json_object_get(json_array_get(model.tools, 0), "function"), "strict")));
    open_well();
    say("Let me paint.");
    model.cb->on_tool_start(model.run, 0, "c1", "paint");
    assert_true(json_is_true(json_object_get(last, "client")));
    model.cb->on_tool_args(model.run, 0, "{\"n\": ", 6);
    assert_string_equal(ac_json_peek_string(last, "arguments_delta", ""), "{\"n\": ");
    assert_int_equal(ac_json_peek_int(last, "index", -1), 0);
    model.cb->on_tool_args(model.run, 0, "1}", 2);
    want_tools(calls, 3);
    assert_int_equal(n_later, 1); /* the agent's own tool of the round is called */
    assert_int_equal(n_ops, 0);   /* and the run waits for it */
    later[0].done(later[0].baton, APR_SUCCESS, json_string("done"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 1);
    json_t *written = close_well(), *message = json_object_get(written, "message");
    json_t *stored = json_object_get(message, "tool_calls");
    assert_string_equal(seen,
                        "run token trace_start trace_update trace_update trace_start trace_start trace_update"
                        " trace_end trace_end trace_end done");
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_string_equal(text_at(message, "metadata", "finish_reason"), "tool_calls");
    assert_int_equal(json_array_size(stored), 3);
    assert_true(json_is_true(json_object_get(json_array_get(stored, 0), "client")));
    assert_true(json_is_null(json_object_get(json_array_get(stored, 0), "result")));
    assert_string_equal(ac_json_peek_string(json_array_get(stored, 1), "result", ""), "done");
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 4);
    json_t *left = json_object_get(last, "client_calls");
    assert_string_equal(ac_json_peek_string(last, "finish_reason", ""), "tool_calls");
    assert_int_equal(json_array_size(left), 2);
    assert_string_equal(ac_json_peek_string(json_array_get(left, 0), "id", ""), "c1");
    assert_string_equal(ac_json_peek_string(json_array_get(left, 1), "tool", ""), "sing");
    json_decref(written);
}

static void test_a_character_is_not_cut(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "paint", "{\"n\": \"\xc3\xa4\"}", false}};
    start(turn_with_tools("x"));
    open_well();
    model.cb->on_tool_start(model.run, 0, "c1", "paint");
    model.cb->on_tool_args(model.run, 0, "{\"n\": \"\xc3", 8);
    assert_string_equal(ac_json_peek_string(last, "arguments_delta", ""), "{\"n\": \"");
    model.cb->on_tool_args(model.run, 0, "\xa4\"}", 3);
    assert_string_equal(ac_json_peek_string(last, "arguments_delta", ""), "\xc3\xa4\"}");
    want_tools(calls, 1);
    json_decref(close_well());
}

/* The messages that a store has of a turn that ended in these calls. */
static json_t *stored_calls(void)
{
    return json_loads(
        "[{\"role\": \"user\", \"content\": \"paint it\"}, {\"role\": \"assistant\", \"content\": \"Yes.\","
        " \"id\": \"msg_1\", \"metadata\": {\"finish_reason\": \"tool_calls\"}, \"tool_calls\": ["
        "{\"id\": \"c0\", \"tool\": \"next\", \"arguments\": {}, \"result\": 2, \"error\": null},"
        "{\"id\": \"c1\", \"tool\": \"paint\", \"arguments\": {\"n\": 1}, \"result\": null, \"error\": null,"
        " \"client\": true}, {\"id\": \"c2\", \"tool\": \"sing\", \"arguments\": {}, \"result\": null,"
        " \"error\": null, \"client\": true}]}]",
        0, NULL);
}

static void load(void)
{
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s, s:i}, s:o, s:n, s:s, s:i}", "thread", "agent_id", "assistant", "message_count", 2,
                        "messages", stored_calls(), "active_run", "parent_id", "msg_1", "parent_seq", 2),
              AC_OK);
}

static const json_t *sent(size_t from_end)
{
    return json_array_get(model.messages, json_array_size(model.messages) - from_end);
}

static void answer(ac_turn_t *turn, const char *id, const char *result, const char *error)
{
    json_t *value = result ? json_string(result) : NULL;
    ac_err_init(&failure);
    assert_int_equal(ac_client_tools_answer(&turn->client, id, value, error, "/messages/2", &failure), APR_SUCCESS);
    json_decref(value);
}

static void test_a_turn_brings_the_results(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("");
    ac_id_make(turn->thread_id, "thread_");
    answer(turn, "c2", NULL, "no voice");
    answer(turn, "c1", "painted", NULL);
    start(turn);
    load();
    /* system, user, assistant with c0, its result, assistant with c1 and c2, their results */
    assert_int_equal(json_array_size(model.messages), 7);
    assert_string_equal(ac_json_peek_string(sent(3), "content", ""), "Yes.");
    assert_int_equal(json_array_size(json_object_get(sent(3), "tool_calls")), 2);
    assert_string_equal(ac_json_peek_string(sent(2), "content", ""), "painted");
    assert_string_equal(ac_json_peek_string(sent(1), "tool_call_id", ""), "c2");
    assert_string_equal(ac_json_peek_string(sent(1), "content", ""), "{\"error\":\"no voice\"}");
    const json_t *in = expect_op(AC_STORE_TURN_OPEN)->in,
                 *calls = json_object_get(json_object_get(in, "message"), "tool_calls");
    assert_string_equal(text_at(in, "message", "role"), "tool");
    assert_string_equal(text_at(in, "message", "content"), "");
    assert_true(json_is_null(json_object_get(in, "title")));
    assert_int_equal(json_array_size(calls), 2);
    assert_string_equal(ac_json_peek_string(json_array_get(calls, 0), "result", ""), "painted");
    assert_string_equal(ac_json_peek_string(json_array_get(calls, 1), "error", ""), "no voice");
    open_well();
    say("Done.");
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run token done");
}

static void refused(const char *id)
{
    ac_turn_t *turn = turn_with_tools("");
    ac_id_make(turn->thread_id, "thread_");
    answer(turn, "c1", "painted", NULL);
    if (id) {
        answer(turn, id, "x", NULL);
    }
    start(turn);
    load();
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_INVALID_REQUEST);
    assert_int_equal(model.n_asked, 0);
}

static void test_a_result_is_missing(void **state)
{
    (void)state;
    refused(NULL);
}

static void test_a_result_of_another_call(void **state)
{
    (void)state;
    refused("c0"); /* the agent's own */
}

static void test_a_message_instead_of_results(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("never mind");
    ac_id_make(turn->thread_id, "thread_");
    start(turn);
    load();
    assert_string_equal(ac_json_peek_string(sent(1), "content", ""), "never mind");
    assert_non_null(strstr(ac_json_peek_string(sent(2), "content", ""), "has not carried out"));
    open_well();
    end_well();
    json_decref(close_well());
}

static void test_a_message_with_the_results(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("and a tree");
    ac_id_make(turn->thread_id, "thread_");
    answer(turn, "c1", "painted", NULL);
    answer(turn, "c2", "la", NULL);
    start(turn);
    load();
    assert_string_equal(ac_json_peek_string(sent(1), "content", ""), "and a tree");
    assert_string_equal(ac_json_peek_string(sent(2), "content", ""), "la");
    assert_string_equal(text_at(expect_op(AC_STORE_TURN_OPEN)->in, "message", "role"), "user");
    open_well();
    end_well();
    json_decref(close_well());
}

static void test_without_a_store(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("");
    const ac_tool_call_t again[] = {{"c9", "sing", "{}", false}};
    turn->stateless = true;
    turn->history = stored_calls();
    answer(turn, "c1", "painted", NULL);
    answer(turn, "c2", "la", NULL);
    start(turn);
    assert_string_equal(ac_json_peek_string(sent(1), "content", ""), "la");
    want_tools(again, 1);
    assert_string_equal(seen, "run trace_start trace_update trace_end done");
    assert_int_equal(json_array_size(json_object_get(last, "client_calls")), 1);
}

static void test_a_name_of_the_agents(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("x");
    assert_int_equal(add(&turn->client, "{\"name\": \"blocking\"}"), APR_SUCCESS);
    start(turn);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_INVALID_REQUEST);
    assert_string_equal(ac_json_peek_string(last, "pointer", ""), "/tools");
}

static void test_a_choice_of_no_tool(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("x");
    assert_int_equal(ac_client_tools_choose(&turn->client, NULL, "dance", "/tool_choice", &failure), APR_SUCCESS);
    start(turn);
    assert_int_equal(last_kind, AC_INVALID_REQUEST);
    assert_string_equal(ac_json_peek_string(last, "pointer", ""), "/tool_choice");
}

static void test_a_choice_holds_for_the_first_round(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "next", "{\"n\": 1}", false}};
    ac_turn_t *turn = turn_with_tools("x");
    assert_int_equal(ac_client_tools_choose(&turn->client, "required", NULL, "/tool_choice", &failure), APR_SUCCESS);
    turn->client.one_call = true;
    start(turn);
    open_well();
    assert_string_equal(json_string_value(model.tool_choice), "required");
    assert_true(model.one_call);
    want_tools(calls, 1);
    assert_int_equal(model.n_asked, 2);
    assert_null(model.tool_choice);
    want_tools(calls, 1);
    assert_int_equal(model.n_asked, 3); /* the last round */
    assert_false(model.no_calls);
    assert_int_equal(json_array_size(model.tools), 2);
    end_well();
    json_decref(close_well());
}

static void test_none_is_offered(void **state)
{
    (void)state;
    ac_turn_t *turn = turn_with_tools("x");
    assert_int_equal(ac_client_tools_choose(&turn->client, "none", NULL, "/tool_choice", &failure), APR_SUCCESS);
    start(turn);
    open_well();
    assert_null(model.tools);
    assert_null(model.tool_choice);
    end_well();
    json_decref(close_well());
}

static void test_cancelled_while_the_agents_tool_works(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "paint", "{}", false}, {"c2", "later", "{}", false}};
    start(turn_with_tools("x"));
    open_well();
    want_tools(calls, 2);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
    json_t *written = close_well();
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "cancelled");
    assert_null(json_object_get(last, "client_calls"));
    assert_null(ac_client_tools_calls(json_object_get(written, "message")));
    json_decref(written);
}

#define BOTH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        BOTH(test_what_a_request_may_bring),
        BOTH(test_a_choice),
        BOTH(test_a_run_ends_in_calls),
        BOTH(test_a_character_is_not_cut),
        BOTH(test_a_turn_brings_the_results),
        BOTH(test_a_result_is_missing),
        BOTH(test_a_result_of_another_call),
        BOTH(test_a_message_instead_of_results),
        BOTH(test_a_message_with_the_results),
        BOTH(test_without_a_store),
        BOTH(test_a_name_of_the_agents),
        BOTH(test_a_choice_of_no_tool),
        BOTH(test_a_choice_holds_for_the_first_round),
        BOTH(test_none_is_offered),
        BOTH(test_cancelled_while_the_agents_tool_works),
    };
    return cmocka_run_group_tests_name("client_tools", group, NULL, NULL);
}
