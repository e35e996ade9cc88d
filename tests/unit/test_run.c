/* SPDX-License-Identifier: Apache-2.0 */
/* A run driven state by state: the clock, the store, the model and the tools are the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <math.h>

#include "fake_loop.h"
#include "../../src/agent/run.h"

/* ---- the store: keeps what it was asked until the test answers ---- */

static ac_store_op_t *ops[8];
static int n_ops;

static void store_start(void *self, ac_store_op_t *op)
{
    (void)self;
    assert_true(n_ops < 8);
    ops[n_ops++] = op;
}

static const ac_store_vt store_vt = {.name = "fake", .start_post = store_start};
static const ac_store_t store = {.vt = &store_vt};

static ac_store_op_t *expect_op(ac_store_verb_e verb)
{
    assert_true(n_ops > 0);
    assert_int_equal(ops[0]->verb, verb);
    return ops[0];
}

static void answer_op(json_t *out, ac_kind_e kind)
{
    ac_store_op_t *op = ops[0];
    memmove(ops, ops + 1, (size_t)--n_ops * sizeof *ops);
    op->out = out;
    if (kind) op->status = ac_err_set(&op->err, kind, "the fake store says so");
    ac_store_done(op);
    fake_turn();
}

/* ---- the model ---- */

static struct {
    const ac_model_cb_t *cb;
    void *run;
    json_t *messages;
    bool asked, cancelled, no_calls, refuse;
    int n_asked;
} model;

static apr_status_t model_ask(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb, void *baton,
                              ac_err_t *err)
{
    (void)self;
    if (model.refuse) return ac_err_set(err, AC_MODEL_REFUSED, "no key");
    json_decref(model.messages);
    model.messages = json_deep_copy(ask->messages);
    model.cb = cb;
    model.run = baton;
    model.asked = true;
    model.no_calls = ask->no_calls;
    model.n_asked++;
    *pcall = &model;
    return APR_SUCCESS;
}

static void model_cancel(void *call)
{
    (void)call;
    assert_true(model.asked);
    model.asked = false;
    model.cancelled = true;
}

static void say(const char *text)
{
    model.cb->on_text(model.run, text, strlen(text));
    fake_turn();
}

static void model_end(ac_model_end_t end)
{
    assert_true(model.asked);
    model.asked = false;
    model.cb->on_end(model.run, &end);
    fake_turn();
}

static void end_well(void)
{
    model_end((ac_model_end_t){.finish = AC_FINISH_STOP, .model = "fake-1",
                               .usage = {.prompt = 10, .completion = 4, .total = 14, .cached = 2, .known = true}});
}

static void want_tools(const ac_tool_call_t *calls, int n_calls)
{
    for (int i = 0; i < n_calls; i++) model.cb->on_tool_start(model.run, i, calls[i].id, calls[i].name);
    model_end((ac_model_end_t){.finish = AC_FINISH_TOOL_CALLS, .calls = calls, .n_calls = n_calls,
                               .usage = {.prompt = 10, .completion = 4, .total = 14, .known = true}});
}

static const ac_model_vt model_vt = {.name = "fake", .ask = model_ask, .cancel = model_cancel};
static const ac_model_conf_t model_conf = {.id = "fake", .price = {1.0, 0.5, 2.0, "USD"}};
static const ac_model_t the_model = {.id = "fake", .vt = &model_vt, .conf = &model_conf};

/* ---- the tools: `later` waits for the test, `blocking` runs on a work thread ---- */

static struct {
    void (*done)(void *, apr_status_t, json_t *, const ac_err_t *);
    void *baton;
    bool cancelled;
} later[4];
static int n_later;

static apr_status_t later_start(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                                void (*done)(void *, apr_status_t, json_t *, const ac_err_t *), void *baton,
                                ac_err_t *err)
{
    (void)self, (void)deadline;
    if (json_object_get(arguments, "refuse")) return ac_err_set(err, AC_TOOL_ERROR, "refused to start");
    later[n_later].done = done;
    later[n_later].baton = baton;
    later[n_later].cancelled = false;
    *pcall = &later[n_later++];
    return APR_SUCCESS;
}

static void later_cancel(void *call)
{
    ((typeof(&later[0]))call)->cancelled = true;
}

static apr_status_t blocking_call(json_t **presult, void *self, const json_t *arguments, apr_time_t deadline, ac_err_t *err)
{
    (void)self, (void)deadline;
    if (json_object_get(arguments, "fail")) return ac_err_set(err, AC_TOOL_ERROR, "it broke");
    *presult = json_integer(42);
    return APR_SUCCESS;
}

static const ac_tool_vt later_vt = {.name = "later", .start = later_start, .cancel = later_cancel};
static const ac_tool_vt blocking_vt = {.name = "blocking", .flags = AC_TOOL_BLOCKING, .call = blocking_call};
static const ac_tool_conf_t tool_conf = {.timeout = 5000000, .result_max = 1000};
static ac_tool_t later_tool = {.id = "later", .vt = &later_vt, .conf = &tool_conf};
static ac_tool_t blocking_tool = {.id = "blocking", .vt = &blocking_vt, .conf = &tool_conf};
static const ac_tool_t *const tools[] = {&later_tool, &blocking_tool};

/* ---- the world ---- */

static ac_agent_t agent = {
    .id = "assistant", .name = "assistant", .instructions = "Be brief.", .model = &the_model, .tools = tools, .n_tools = 2,
    .max_rounds = 3, .history_messages = 20, .history_tokens = 10000, .status = "active", .source = "config",
};
static ac_engine_t *engine;
static char seen[1024];                         /* "run token done", as they came */
static char said[256];                          /* the tokens' text */
static json_t *last;                            /* the newest event's data */
static ac_kind_e last_kind;
static uint64_t last_seq;
static ac_follower_t follower;

static void on_event(ac_follower_t *self, ac_event_t *event)
{
    (void)self;
    assert_int_equal(event->seq, ++last_seq);
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s", seen[0] ? " " : "", ac_event_name(event->type));
    if (event->type == AC_EVENT_TOKEN) snprintf(said + strlen(said), sizeof said - strlen(said), "%s", event->text);
    json_decref(last);
    last = json_deep_copy(event->data);
    last_kind = event->kind;
}

static int setup(void **state)
{
    static apr_hash_t *agents;
    static ac_registry_t registry;
    static apr_pool_t *pool;
    const ac_engine_conf_t conf = {.run_timeout = 60000000, .queue_timeout = 10000000, .store_timeout = 1000000,
                                   .max_runs = 2, .max_queued = 1};
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.now = 1000000000;
    if (!pool) {
        apr_pool_create(&pool, NULL);
        agents = apr_hash_make(pool);
        apr_hash_set(agents, "assistant", APR_HASH_KEY_STRING, &agent);
        registry.agents = agents;
        json_t *schema = json_pack("{s:s, s:{s:{s:s}}}", "type", "object", "properties", "n", "type", "integer");
        later_tool.parameters = blocking_tool.parameters = schema;
        agent.temperature = NAN;
    }
    agent.max_rounds = 3;
    agent.status = "active";
    n_ops = n_later = 0;
    json_t *kept = model.messages;
    memset(&model, 0, sizeof model);
    json_decref(kept);
    memset(&follower, 0, sizeof follower);
    follower.on_event = on_event;
    seen[0] = said[0] = '\0';
    last_seq = 0;
    last_kind = AC_OK;
    assert_int_equal(ac_engine_create(&engine, (ac_loop_t *)&fake, NULL, &store, &registry, &conf), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(ac_engine_active(engine), 0);
    assert_int_equal(engine->n_slots, 0);
    assert_int_equal(engine->n_queued, 0);
    assert_int_equal(fake.n_timers, 0);
    assert_int_equal(n_ops, 0);
    ac_engine_destroy(engine);
    json_decref(last);
    last = NULL;
    json_decref(model.messages);
    model.messages = NULL;
    return 0;
}

static char run_id[AC_ID_SIZE];

static ac_turn_t *new_turn(const char *content)
{
    ac_turn_t *turn = ac_turn_create(&agent, "ann", content);
    apr_cpystrn(run_id, turn->run_id, sizeof run_id);
    return turn;
}

static void start_new(const char *content)
{
    ac_run_start(engine, new_turn(content), &follower);
    assert_string_equal(seen, "");
    fake_turn();
}

static void start_in_thread(const char *content)
{
    ac_turn_t *turn = new_turn(content);
    ac_id_make(turn->thread_id, "thread_");
    ac_run_start(engine, turn, &follower);
    fake_turn();
}

static json_t *opened(void)
{
    return json_pack("{s:{}, s:{s:i}}", "thread", "message", "seq", 1);
}

static void open_well(void)
{
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(opened(), AC_OK);
}

/* Answers the closing write with its own message, as the store does. Returns what was written. */
static json_t *close_well(void)
{
    json_t *in = json_deep_copy(expect_op(AC_STORE_TURN_CLOSE)->in), *message = json_deep_copy(json_object_get(in, "message"));
    answer_op(json_pack("{s:o}", "message", message), AC_OK);
    return in;
}

static const char *text_at(const json_t *json, const char *a, const char *b)
{
    return json_string_value(json_object_get(json_object_get(json, a), b));
}

/* ---- tests ---- */

static void test_a_plain_answer(void **state)
{
    (void)state;
    start_new("Hello there");
    json_t *in = expect_op(AC_STORE_TURN_OPEN)->in;
    assert_string_equal(text_at(in, "message", "content"), "Hello there");
    assert_string_equal(text_at(in, "run", "status"), "in_progress");
    assert_string_equal(text_at(in, "thread", "title"), "Hello there");
    assert_true(model.asked);                   /* beside the write, not after it */
    open_well();
    say("Hi");
    say(" Ann");
    end_well();
    assert_string_equal(seen, "run token token");   /* done only when stored */
    json_t *written = close_well();
    assert_string_equal(seen, "run token token done");
    assert_string_equal(text_at(written, "message", "content"), "Hi Ann");
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 1);
    assert_string_equal(json_string_value(json_object_get(last, "status")), "completed");
    assert_int_equal(json_integer_value(json_object_get(last, "tokens_used")), 14);
    /* 8 fresh and 2 cached in, 4 out, per million */
    assert_float_equal(json_real_value(json_object_get(json_object_get(last, "cost"), "amount")), 17e-6, 1e-9);
    json_decref(written);
}

static void test_no_token_is_shown_before_it_is_durable(void **state)
{
    (void)state;
    start_new("x");
    say("a");
    say("b");
    assert_string_equal(seen, "");
    end_well();
    assert_string_equal(seen, "");
    open_well();
    assert_string_equal(seen, "run token token");
    json_decref(close_well());
    assert_string_equal(seen, "run token token done");
}

static void test_history_is_read_and_sent(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("and now?");
    turn->agent = NULL;                         /* the thread's own */
    ac_id_make(turn->thread_id, "thread_");
    ac_run_start(engine, turn, &follower);
    fake_turn();
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{s:s}, s:[{s:s,s:s},{s:s,s:s}], s:n}", "thread", "agent_id", "assistant", "messages",
                        "role", "user", "content", "before", "role", "assistant", "content", "yes", "active_run"), AC_OK);
    assert_int_equal(json_array_size(model.messages), 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 0), "role")), "system");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 2), "content")), "yes");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, 3), "content")), "and now?");
    open_well();
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run done");
}

static void test_a_run_in_progress_is_refused_on_reading(void **state)
{
    (void)state;
    start_in_thread("x");
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(json_pack("{s:{}, s:[], s:s}", "thread", "messages", "active_run", "run_other"), AC_OK);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "run_other"));
    assert_int_equal(model.n_asked, 0);
}

static void test_a_run_in_progress_is_refused_on_writing(void **state)
{
    (void)state;
    start_new("x");
    say("never seen");
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(json_pack("{s:s}", "run_id", "run_other"), AC_RUN_IN_PROGRESS);
    assert_true(model.cancelled);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
}

static void test_a_missing_thread(void **state)
{
    (void)state;
    start_in_thread("x");
    answer_op(NULL, AC_NOT_FOUND);
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_NOT_FOUND);
}

static void test_two_tools_of_one_round(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{\"n\": 1}"}, {"c2", "blocking", ""}};
    start_new("x");
    open_well();
    say("Let me see.");
    want_tools(calls, 2);
    assert_string_equal(seen, "run token trace_start trace_start");
    assert_int_equal(n_later, 1);
    assert_int_equal(fake.n_jobs, 1);           /* both at once */
    fake_work();
    assert_string_equal(seen, "run token trace_start trace_start trace_end");
    assert_int_equal(json_integer_value(json_object_get(last, "result")), 42);
    assert_int_equal(model.n_asked, 1);
    later[0].done(later[0].baton, APR_SUCCESS, json_string("sunny"), NULL);
    fake_turn();
    assert_int_equal(model.n_asked, 2);
    /* in the model's order, whichever came first: assistant, c1, c2 */
    size_t n = json_array_size(model.messages);
    assert_string_equal(text_at(json_array_get(model.messages, n - 2), "x", "x") ? "" : "c1",
                        json_string_value(json_object_get(json_array_get(model.messages, n - 2), "tool_call_id")));
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, n - 2), "content")), "sunny");
    assert_string_equal(json_string_value(json_object_get(json_array_get(model.messages, n - 1), "content")), "42");
    say("It is sunny.");
    end_well();
    json_t *written = close_well(), *message = json_object_get(written, "message");
    assert_string_equal(json_string_value(json_object_get(message, "content")), "Let me see.\n\nIt is sunny.");
    assert_int_equal(json_array_size(json_object_get(message, "tool_calls")), 2);
    assert_int_equal(json_array_size(json_object_get(written, "steps")), 4);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(written, "run"), "rounds")), 2);
    assert_string_equal(said, "Let me see.\n\nIt is sunny.");
    assert_int_equal(json_integer_value(json_object_get(last, "tokens_used")), 28);
    json_decref(written);
}

/* Runs one round with this call and gives what the model reads of its outcome; the run is then ended well. */
static void tell_model(char *told, size_t size, ac_tool_call_t call)
{
    start_new("x");
    open_well();
    want_tools(&call, 1);
    fake_work();
    assert_int_equal(model.n_asked, 2);
    json_t *message = json_array_get(model.messages, json_array_size(model.messages) - 1);
    snprintf(told, size, "%s", json_string_value(json_object_get(message, "content")));
    end_well();
    json_decref(close_well());
}

static void test_what_a_failing_call_tells_the_model(void **state)
{
    (void)state;
    static const struct { ac_tool_call_t call; const char *told; } cases[] = {
        {{"c", "nonesuch", "{}"}, "there is no tool of this name; there are later, blocking"},
        {{"c", "blocking", "{\"n\": "}, "the arguments are not a JSON object"},
        {{"c", "blocking", "[1]"}, "the arguments are not a JSON object"},
        {{"c", "blocking", "{\"n\": \"one\"}"}, "/n: "},
        {{"c", "blocking", "{\"fail\": true}"}, "it broke"},
        {{"c", "later", "{\"refuse\": true}"}, "refused to start"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char told[512];
        seen[0] = '\0';
        last_seq = 0;
        model.n_asked = 0;
        memset(&follower, 0, sizeof follower);
        follower.on_event = on_event;
        tell_model(told, sizeof told, cases[i].call);
        if (!strstr(told, cases[i].told)) fail_msg("case %zu: told '%s'", i, told);
        assert_string_equal(seen, "run trace_start trace_end done");
    }
}

static void test_a_busy_server_tells_the_model(void **state)
{
    (void)state;
    char told[512];
    fake.work_full = true;
    tell_model(told, sizeof told, (ac_tool_call_t){"c", "blocking", "{}"});
    assert_non_null(strstr(told, "too busy"));
}

static void test_a_tool_over_its_deadline(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}"}, {"c2", "blocking", "{}"}};
    start_new("x");
    open_well();
    want_tools(calls, 2);
    fake_pass(6000000);
    assert_true(later[0].cancelled);
    assert_int_equal(model.n_asked, 2);
    fake_work();                                /* the job ends too late, and nobody minds */
    assert_string_equal(seen, "run trace_start trace_start trace_end trace_end");
    end_well();
    json_decref(close_well());
}

static void test_rounds_are_capped(void **state)
{
    (void)state;
    const ac_tool_call_t call = {"c", "blocking", "{}"};
    start_new("x");
    open_well();
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(model.no_calls, i == 3);
        want_tools(&call, 1);
        fake_work();
    }
    json_t *written = close_well(), *tool_calls = json_object_get(json_object_get(written, "message"), "tool_calls");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    /* the same id in each round would be three calls with one name */
    assert_string_equal(json_string_value(json_object_get(json_array_get(tool_calls, 0), "id")), "c");
    assert_string_equal(json_string_value(json_object_get(json_array_get(tool_calls, 1), "id")), "c_r2");
    json_decref(written);
}

static void test_the_model_fails(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half an");
    ac_model_end_t end = {.status = APR_EGENERAL};
    ac_err_set(&end.err, AC_MODEL_ERROR, "the answer was cut off");
    model_end(end);
    json_t *written = close_well();
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_MODEL_ERROR);
    assert_non_null(strstr(json_string_value(json_object_get(last, "message")), "while asking the model, round 1"));
    assert_string_equal(text_at(written, "message", "content"), "half an");
    assert_string_equal(text_at(written, "run", "status"), "failed");
    assert_true(json_is_true(json_object_get(json_object_get(json_object_get(written, "run"), "usage"), "estimated")));
    json_decref(written);
}

static void test_the_model_cannot_be_asked(void **state)
{
    (void)state;
    model.refuse = true;
    start_new("x");
    open_well();
    json_t *written = close_well();
    assert_true(json_is_null(json_object_get(written, "message")));
    assert_string_equal(seen, "run error");
    json_decref(written);
}

static void test_a_filtered_answer_is_kept_and_marked(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("bad");
    model_end((ac_model_end_t){.finish = AC_FINISH_CONTENT_FILTER});
    json_t *written = close_well();
    assert_int_equal(last_kind, AC_CONTENT_FILTERED);
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "content_filter");
    json_decref(written);
}

static void test_the_answer_cannot_be_stored(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    end_well();
    expect_op(AC_STORE_TURN_CLOSE);
    answer_op(NULL, AC_STORE_ERROR);
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_STORE_ERROR);
}

static void cancel(void)
{
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
}

static void test_cancel_while_loading(void **state)
{
    (void)state;
    start_in_thread("x");
    cancel();
    assert_string_equal(seen, "");              /* the store's answer is still to come */
    answer_op(json_pack("{s:{}, s:[]}", "thread", "messages"), AC_OK);
    assert_string_equal(seen, "done");
    assert_string_equal(json_string_value(json_object_get(last, "status")), "cancelled");
}

static void test_cancel_before_it_is_durable(void **state)
{
    (void)state;
    start_new("x");
    cancel();
    assert_true(model.cancelled);
    open_well();
    json_t *written = close_well();
    assert_string_equal(seen, "run done");
    assert_string_equal(text_at(written, "run", "status"), "cancelled");
    json_decref(written);
}

static void test_cancel_in_mid_answer(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("what was said");
    cancel();
    assert_true(model.cancelled);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "message", "content"), "what was said");
    assert_string_equal(text_at(json_object_get(written, "message"), "metadata", "finish_reason"), "cancelled");
    assert_string_equal(seen, "run token done");
    json_decref(written);
}

static void test_cancel_while_calling(void **state)
{
    (void)state;
    const ac_tool_call_t calls[] = {{"c1", "later", "{}"}, {"c2", "blocking", "{}"}};
    start_new("x");
    open_well();
    want_tools(calls, 2);
    cancel();
    assert_true(later[0].cancelled);
    fake_work();
    json_decref(close_well());
    assert_string_equal(seen, "run trace_start trace_start trace_end trace_end done");
}

static void test_cancel_while_saving_is_too_late(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    end_well();
    assert_int_not_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    json_decref(close_well());
    assert_string_equal(seen, "run done");
    assert_int_not_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
}

static void test_the_run_takes_too_long(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("slow");
    fake_pass(61000000);
    assert_true(model.cancelled);
    json_decref(close_well());
    assert_string_equal(seen, "run token error");
    assert_int_equal(last_kind, AC_RUN_TIMEOUT);
}

static void test_a_stateless_run_stores_nothing(void **state)
{
    (void)state;
    ac_turn_t *turn = new_turn("x");
    turn->stateless = true;
    ac_run_start(engine, turn, &follower);
    fake_turn();
    assert_int_equal(n_ops, 0);
    say("a");
    end_well();
    assert_string_equal(seen, "run token done");
}

static ac_follower_t quiet[3];
static int quiet_events[3];
static ac_kind_e quiet_kind[3];

static void on_quiet_event(ac_follower_t *self, ac_event_t *event)
{
    quiet_events[self - quiet]++;
    quiet_kind[self - quiet] = event->kind;
}

static void start_quiet(int i)
{
    memset(&quiet[i], 0, sizeof quiet[i]);
    quiet[i].on_event = on_quiet_event;
    quiet_events[i] = 0;
    ac_run_start(engine, new_turn("x"), &quiet[i]);
    fake_turn();
}

/* Two slots, one place in line. */
static void test_the_line(void **state)
{
    (void)state;
    start_new("first");
    void *first = model.run;
    start_quiet(0);
    void *second = model.run;
    start_quiet(1);
    assert_int_equal(model.n_asked, 2);         /* the third stands in line */
    start_quiet(2);
    assert_int_equal(quiet_kind[2], AC_OVERLOADED);
    open_well();
    open_well();
    model.run = first;
    end_well();
    json_decref(close_well());
    assert_int_equal(model.n_asked, 3);         /* the slot went to the one in line */
    open_well();
    end_well();
    json_decref(close_well());
    model.run = second;
    model.asked = true;
    end_well();
    json_decref(close_well());
}

static void test_waiting_in_line_too_long(void **state)
{
    (void)state;
    start_new("first");
    open_well();
    void *first = model.run;
    start_quiet(0);
    void *second = model.run;
    open_well();
    start_quiet(1);
    fake_pass(11000000);
    assert_int_equal(quiet_events[1], 1);
    assert_int_equal(quiet_kind[1], AC_OVERLOADED);
    model.run = first;
    end_well();
    json_decref(close_well());
    model.run = second;
    model.asked = true;
    end_well();
    json_decref(close_well());
}

static void note_stopped(void *baton)
{
    (*(int *)baton)++;
}

static void test_stopping_stores_what_there_is(void **state)
{
    (void)state;
    int stopped = 0;
    start_new("x");
    open_well();
    say("half");
    ac_engine_stop(engine, note_stopped, &stopped);
    fake_turn();
    assert_int_equal(stopped, 0);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "interrupted");
    assert_int_equal(last_kind, AC_STOPPING);
    assert_int_equal(stopped, 1);
    json_decref(written);
    start_quiet(0);
    assert_int_equal(quiet_kind[0], AC_STOPPING);
}

static void test_an_inactive_agent(void **state)
{
    (void)state;
    agent.status = "inactive";
    start_new("x");
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_INVALID_REQUEST);
}

/* Every step that the table does not allow ends the process: a run must never end twice or go backwards. */
static void test_steps_that_are_not_allowed(void **state)
{
    (void)state;
    static const struct { ac_run_state_e from; unsigned to; } allowed[] = {
        {AC_RUN_QUEUED, 1u << AC_RUN_LOADING | 1u << AC_RUN_SAVING},
        {AC_RUN_LOADING, 1u << AC_RUN_ASKING | 1u << AC_RUN_SAVING},
        {AC_RUN_ASKING, 1u << AC_RUN_CALLING | 1u << AC_RUN_SAVING},
        {AC_RUN_CALLING, 1u << AC_RUN_ASKING | 1u << AC_RUN_SAVING},
        {AC_RUN_SAVING, 1u << AC_RUN_COMPLETED | 1u << AC_RUN_FAILED | 1u << AC_RUN_CANCELLED},
        {AC_RUN_COMPLETED, 0}, {AC_RUN_FAILED, 0}, {AC_RUN_CANCELLED, 0},
    };
    int refused = 0;
    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        for (unsigned to = 0; to < AC_RUN_N_STATES; to++) {
            if (allowed[i].to & 1u << to) continue;
            pid_t child = fork();
            if (child == 0) {
                ac_run_t run = {.engine = engine, .state = allowed[i].from};
                run.turn = new_turn("x");
                signal(SIGABRT, SIG_DFL);
                ac_run_transit(&run, to, "test");
                _exit(0);
            }
            int status = 0;
            waitpid(child, &status, 0);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
            refused++;
        }
    }
    assert_int_equal(refused, 64 - 11);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_a_plain_answer, setup, teardown), cmocka_unit_test_setup_teardown(test_no_token_is_shown_before_it_is_durable, setup, teardown), cmocka_unit_test_setup_teardown(test_history_is_read_and_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_run_in_progress_is_refused_on_reading, setup, teardown), cmocka_unit_test_setup_teardown(test_a_run_in_progress_is_refused_on_writing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_missing_thread, setup, teardown), cmocka_unit_test_setup_teardown(test_two_tools_of_one_round, setup, teardown), cmocka_unit_test_setup_teardown(test_what_a_failing_call_tells_the_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_busy_server_tells_the_model, setup, teardown), cmocka_unit_test_setup_teardown(test_a_tool_over_its_deadline, setup, teardown), cmocka_unit_test_setup_teardown(test_rounds_are_capped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_model_fails, setup, teardown), cmocka_unit_test_setup_teardown(test_the_model_cannot_be_asked, setup, teardown), cmocka_unit_test_setup_teardown(test_a_filtered_answer_is_kept_and_marked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_answer_cannot_be_stored, setup, teardown), cmocka_unit_test_setup_teardown(test_cancel_while_loading, setup, teardown), cmocka_unit_test_setup_teardown(test_cancel_before_it_is_durable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel_in_mid_answer, setup, teardown), cmocka_unit_test_setup_teardown(test_cancel_while_calling, setup, teardown), cmocka_unit_test_setup_teardown(test_cancel_while_saving_is_too_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_run_takes_too_long, setup, teardown), cmocka_unit_test_setup_teardown(test_a_stateless_run_stores_nothing, setup, teardown), cmocka_unit_test_setup_teardown(test_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_in_line_too_long, setup, teardown), cmocka_unit_test_setup_teardown(test_stopping_stores_what_there_is, setup, teardown), cmocka_unit_test_setup_teardown(test_an_inactive_agent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steps_that_are_not_allowed, setup, teardown),
    };
    return cmocka_run_group_tests_name("run", group, NULL, NULL);
}
