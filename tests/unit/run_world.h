/* SPDX-License-Identifier: Apache-2.0 */
/* The world of a run in its tests: the clock, the store, the model and the tools are the test's. */
#ifndef AC_RUN_WORLD_H
#define AC_RUN_WORLD_H

#pragma GCC diagnostic ignored "-Wunused-function"

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
#include "agent/run/run_internal.h"

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
    if (kind) {
        op->status = ac_err_set(&op->err, kind, "the fake store says so");
    }
    ac_store_done(op);
    fake_turn();
}

/* ---- the model ---- */

static struct {
    const ac_model_cb_t *cb;
    void *run;
    json_t *messages, *tools, *tool_choice;
    bool asked, cancelled, no_calls, one_call, refuse;
    int n_asked;
} model;

static apr_status_t model_ask(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb, void *baton,
                              ac_err_t *err)
{
    (void)self;
    if (model.refuse) {
        return ac_err_set(err, AC_MODEL_REFUSED, "no key");
    }
    json_decref(model.messages);
    model.messages = json_deep_copy(ask->messages);
    json_decref(model.tools);
    json_decref(model.tool_choice);
    model.tools = json_deep_copy(ask->tools);
    model.tool_choice = json_deep_copy(ask->tool_choice);
    model.one_call = ask->one_call;
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
    model_end((ac_model_end_t){.finish = AC_FINISH_STOP,
                               .model = "fake-1",
                               .usage = {.prompt = 10, .completion = 4, .total = 14, .cached = 2, .known = true}});
}

static void want_tools(const ac_tool_call_t *calls, int n_calls)
{
    for (int i = 0; i < n_calls; i++) {
        model.cb->on_tool_start(model.run, i, calls[i].id, calls[i].name);
    }
    model_end((ac_model_end_t){.finish = AC_FINISH_TOOL_CALLS,
                               .calls = calls,
                               .n_calls = n_calls,
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
    if (json_object_get(arguments, "refuse")) {
        return ac_err_set(err, AC_TOOL_ERROR, "refused to start");
    }
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

static apr_status_t blocking_call(json_t **presult, void *self, const json_t *arguments, apr_time_t deadline,
                                  ac_err_t *err)
{
    (void)self, (void)deadline;
    if (json_object_get(arguments, "fail")) {
        return ac_err_set(err, AC_TOOL_ERROR, "it broke");
    }
    *presult = json_integer(42);
    return APR_SUCCESS;
}

static const ac_tool_vt later_vt = {.name = "later",
                                    .flags = AC_TOOL_COMPUTES,
                                    .start = later_start,
                                    .cancel = later_cancel};
static const ac_tool_vt blocking_vt = {.name = "blocking",
                                       .flags = AC_TOOL_BLOCKING | AC_TOOL_COMPUTES,
                                       .call = blocking_call};
/* The number that follows n. */
static apr_status_t next_compute(void *self, const json_t *arguments, json_t **presult, ac_err_t *err)
{
    (void)self;
    if (json_object_get(arguments, "fail")) {
        return ac_err_set(err, AC_TOOL_ERROR, "it has no next one");
    }
    *presult = json_integer(json_integer_value(json_object_get(arguments, "n")) + 1);
    return APR_SUCCESS;
}

static const ac_tool_vt next_vt = {.name = "next", .flags = AC_TOOL_COMPUTES, .compute = next_compute};
static const ac_tool_conf_t tool_conf = {.timeout = 5000000, .result_max = 1000};
static ac_tool_t later_tool = {.id = "later", .vt = &later_vt, .conf = &tool_conf};
static ac_tool_t blocking_tool = {.id = "blocking", .vt = &blocking_vt, .conf = &tool_conf};
static ac_tool_t next_tool = {.id = "next", .vt = &next_vt, .conf = &tool_conf};
static const ac_tool_t *const tools[] = {&later_tool, &blocking_tool, &next_tool};

/* ---- the world ---- */

static ac_agent_t agent = {
    .id = "assistant",
    .name = "assistant",
    .instructions = "Be brief.",
    .model = &the_model,
    .tools = tools,
    .n_tools = 3,
    .max_rounds = 3,
    .history_messages = 20,
    .history_tokens = 10000,
    .status = "active",
    .source = "config",
};
static ac_registry_t registry;
static ac_engine_t *engine;
static char seen[1024]; /* "run token done", as they came */
static char said[256];  /* the tokens' text */
static json_t *last;    /* the newest event's data */
static ac_kind_e last_kind;
static uint64_t last_seq;
static ac_follower_t follower;

static void on_event(ac_follower_t *self, ac_event_t *event)
{
    (void)self;
    assert_int_equal(event->seq, ++last_seq);
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s", seen[0] ? " " : "", ac_event_name(event->type));
    if (event->type == AC_EVENT_TOKEN) {
        snprintf(said + strlen(said), sizeof said - strlen(said), "%s", event->text);
    }
    json_decref(last);
    last = json_deep_copy(event->data);
    last_kind = event->kind;
}

static int setup(void **state)
{
    static apr_hash_t *agents;
    static apr_pool_t *pool;
    const ac_engine_conf_t conf = {
        .run_timeout = 60000000, .queue_timeout = 10000000, .store_timeout = 1000000, .max_runs = 2, .max_queued = 1};
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.now = 1000000000;
    if (!pool) {
        apr_pool_create(&pool, NULL);
        agents = apr_hash_make(pool);
        apr_hash_set(agents, "assistant", APR_HASH_KEY_STRING, &agent);
        registry.agents = agents;
        json_t *schema = json_pack("{s:s, s:{s:{s:s}}}", "type", "object", "properties", "n", "type", "integer");
        later_tool.parameters = blocking_tool.parameters = next_tool.parameters = schema;
        agent.temperature = NAN;
    }
    agent.max_rounds = 3;
    agent.status = "active";
    agent.max_tool_calls = 0;
    registry.gates = NULL;
    n_ops = n_later = 0;
    json_decref(model.messages);
    json_decref(model.tools);
    json_decref(model.tool_choice);
    memset(&model, 0, sizeof model);
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
    assert_int_equal(engine->queue.n_slots, 0);
    assert_int_equal(engine->queue.n_queued, 0);
    assert_int_equal(fake.n_timers, 0);
    assert_int_equal(n_ops, 0);
    ac_engine_destroy(engine);
    json_decref(last);
    last = NULL;
    json_decref(model.messages);
    json_decref(model.tools);
    json_decref(model.tool_choice);
    model.messages = model.tools = model.tool_choice = NULL;
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
    json_t *in = json_deep_copy(expect_op(AC_STORE_TURN_CLOSE)->in),
           *message = json_deep_copy(json_object_get(in, "message"));
    answer_op(json_pack("{s:o}", "message", message), AC_OK);
    return in;
}

static const char *text_at(const json_t *json, const char *a, const char *b)
{
    return json_string_value(json_object_get(json_object_get(json, a), b));
}

#endif
