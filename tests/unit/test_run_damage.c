/* SPDX-License-Identifier: Apache-2.0 */
/* Damaged state documents of suspended runs, with a nested run in them. Each value of a document is replaced by values
 * of other types and sizes, one at a time, and the run is resumed and brought to its end: it must leave the process,
 * and leave nothing behind, whatever the document says. */
#include "run_world.h"

#include <stdlib.h>

#define APPROVAL apr_time_from_sec(40)
#define MOST_STEPS 200 /* of one run, until it must have ended */

static const ac_tool_conf_t asking_conf = {.timeout = 5000000, .result_max = 1000, .approval = 1};
static ac_tool_t writer_tool = {.id = "writer", .vt = &next_vt, .conf = &tool_conf};
static const ac_tool_t *const both_tools[] = {&later_tool, &blocking_tool, &next_tool, &writer_tool};
static ac_agent_t writer;

/* ---- the stored document ---- */

static int setup_nested(void **state)
{
    setup(state);
    writer = agent;
    writer.id = writer.name = "writer";
    writer_tool.agent = &writer;
    writer_tool.parameters = later_tool.parameters;
    agent.tools = both_tools;
    agent.n_tools = 4;
    later_tool.conf = &asking_conf;
    engine->conf.approval_timeout = APPROVAL;
    ac_run_approval_watch(engine, NULL);
    return 0;
}

static int teardown_nested(void **state)
{
    later_tool.conf = &tool_conf;
    agent.tools = tools;
    agent.n_tools = 3;
    ac_timer_cancel(NULL, &engine->approval_timer);
    return teardown(state);
}

/* A turn with a completed call, one that awaits approval, and one of an agent whose own call awaits approval, after
 * text. */
static json_t *suspended_input(void)
{
    const ac_tool_call_t outer[] = {{"c1", "blocking", "{}", false},
                                    {"c2", "later", "{\"n\": 7}", false},
                                    {"c3", "writer", "{\"input\": \"a letter\"}", false}};
    const ac_tool_call_t inner[] = {{"i1", "next", "{\"n\": 1}", false}, {"i2", "later", "{\"n\": 2}", false}};
    start_new("send it");
    open_well();
    say("I shall ask.");
    want_tools(outer, 3);
    fake_work();
    assert_true(model.asked);
    say("Dear reader,");
    want_tools(inner, 2);
    json_t *in = json_deep_copy(expect_op(AC_STORE_RUN_SUSPEND)->in);
    ac_channel_leave(&follower);
    answer_op(NULL, AC_OK);
    assert_int_equal(ac_engine_active(engine), 0);
    return in;
}

/* ---- bringing a run to its end ---- */

static json_t *decisions_of(const json_t *in)
{
    json_t *calls = json_object();
    const char *id;
    json_t *value;
    json_object_foreach(json_object_get(in, "calls"), id, value)
    {
        json_object_set_new(calls, id, json_pack("{s:b}", "approve", true));
    }
    return calls;
}

static void resume(json_t *damaged, const json_t *in)
{
    while (n_ops == 0 || ops[0]->verb != AC_STORE_SUSPENDED_LIST) { /* it also looks for other runs at times */
        if (n_ops > 0) {
            answer_op(json_pack("{s:[]}", "data"), AC_OK);
        } else {
            fake_pass(APPROVAL);
        }
    }
    answer_op(json_pack("{s:[{s:s, s:s}]}", "data", "run_id", run_id, "owner", "ann"), AC_OK);
    expect_op(AC_STORE_APPROVAL_DECIDE);
    answer_op(json_pack("{s:s, s:o, s:o}", "thread_id", "thread_1", "state", damaged, "calls", decisions_of(in)),
              AC_OK);
}

/* Does what the run waits for. Returns false if it waits for nothing but time. */
static bool serve_one(int *n_answered)
{
    if (n_ops > 0) {
        json_t *message = json_object_get(ops[0]->in, "message");
        answer_op(ops[0]->verb == AC_STORE_TURN_CLOSE ? json_pack("{s:O*}", "message", message) : NULL, AC_OK);
    } else if (fake.n_jobs > 0) {
        fake_work();
    } else if (model.asked) {
        say("It is done.");
        end_well();
    } else if (*n_answered < n_later) {
        typeof(&later[0]) call = &later[(*n_answered)++];
        if (!call->cancelled) {
            call->done(call->baton, APR_SUCCESS, json_string("sent"), NULL);
            fake_turn();
        }
    } else {
        return false;
    }
    return true;
}

static void run_to_its_end(void)
{
    int n_answered = 0;
    for (int i = 0; i < MOST_STEPS && ac_engine_active(engine) > 0; i++) {
        if (!serve_one(&n_answered)) {
            fake_pass(apr_time_from_sec(5));
        }
    }
    assert_int_equal(ac_engine_active(engine), 0);
    while (n_ops > 0) { /* the list of suspended runs, which is asked for from time to time */
        answer_op(json_pack("{s:[]}", "data"), AC_OK);
    }
}

/* ---- damages ---- */

static const char *const wrong[] = {"null",         "true",    "-1",           "7",  "9223372036854775807",
                                    "\"\\u00e9x\"", "1.5e308", "\"writer\"",   "[]", "[[]]",
                                    "[null, 7]",    "{}",      "{\"n\": [{}]}"};
#define N_WRONG ((int)(sizeof wrong / sizeof wrong[0]))

/* Replaces the at-th value of the document, counted from 0 as they are written, or removes it (text NULL). Returns
 * whether there is one. */
static bool damage(json_t *json, int *at, const char *text)
{
    const char *name;
    void *next;
    json_t *value;
    size_t i;
    json_object_foreach_safe(json, next, name, value)
    {
        if ((*at)-- == 0) {
            if (text) {
                json_object_set_new(json, name, json_loads(text, JSON_DECODE_ANY, NULL));
            } else {
                json_object_del(json, name);
            }
            return true;
        }
        if (damage(value, at, text)) {
            return true;
        }
    }
    json_array_foreach(json, i, value)
    {
        if ((*at)-- == 0) {
            if (text) {
                json_array_set_new(json, i, json_loads(text, JSON_DECODE_ANY, NULL));
            } else {
                json_array_remove(json, i);
            }
            return true;
        }
        if (damage(value, at, text)) {
            return true;
        }
    }
    return false;
}

static void resume_and_end(const json_t *in, json_t *state)
{
    n_later = 0;
    resume(state, in);
    run_to_its_end();
}

/* The whole document leads to the answer, so that the damages below are damages of something that works. */
static void test_the_whole_document(void **state)
{
    (void)state;
    json_t *in = suspended_input(), *kept = json_deep_copy(json_object_get(in, "state"));
    assert_int_equal(json_object_size(json_object_get(in, "calls")), 2);
    resume(kept, in);
    int n_answered = 0;
    while (n_ops == 0 && serve_one(&n_answered)) {
    }
    assert_int_equal(n_answered, 2);
    json_t *written = close_well();
    assert_string_equal(text_at(written, "run", "status"), "completed");
    assert_string_equal(text_at(written, "message", "content"), "I shall ask.\n\nIt is done.");
    run_to_its_end();
    json_decref(written);
    json_decref(in);
}

static void damage_each_value(const json_t *in, const json_t *kept)
{
    for (int n = 0;; n++) {
        for (int i = -1; i < N_WRONG; i++) {
            int at = n;
            json_t *damaged = json_deep_copy(kept);
            if (!damage(damaged, &at, i < 0 ? NULL : wrong[i])) {
                json_decref(damaged);
                assert_true(n > 200); /* the nested run's document was gone through, too */
                return;
            }
            resume_and_end(in, damaged);
        }
    }
}

static void test_each_value_damaged(void **state)
{
    (void)state;
    json_t *in = suspended_input();
    damage_each_value(in, json_object_get(in, "state"));
    json_decref(in);
}

/* What only some turns have: tools of the client, a form of the answer, data and calls of the model's service, a
 * question of a tool, sources. */
static void add_rare_members(json_t *kept)
{
    static const char turn[] =
        "{\"client_tools\": [{\"type\": \"function\", \"function\": {\"name\": \"paint\", \"parameters\": {}}}],"
        " \"one_call\": true, \"format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"f\","
        " \"schema\": {\"type\": \"object\"}}}, \"carried\": {\"model\": \"fake\", \"response\": \"r1\","
        " \"output\": [{\"type\": \"reasoning\"}]},"
        " \"sources\": [{\"title\": \"A\", \"url\": \"https://a.example/\"}]}";
    json_t *calls = json_object_get(kept, "calls");
    json_t *more = json_loads(turn, 0, NULL);
    json_object_update_new(kept, more);
    json_object_set_new(json_array_get(calls, 0), "hosted", json_string("mcpr_1"));
    json_object_set_new(json_array_get(calls, 1), "question",
                        json_pack("{s:s, s:{s:s}}", "message", "Sure?", "requestedSchema", "type", "object"));
    json_object_set_new(json_array_get(calls, 1), "questions", json_integer(1));
    json_array_append_new(calls,
                          json_pack("{s:s, s:s, s:s, s:{}, s:b, s:i, s:i}", "id", "c4", "name", "paint", "step_id",
                                    "step_9", "arguments", "done", 0, "client", 0, "at", 3));
}

static void test_each_value_of_rare_members_damaged(void **state)
{
    (void)state;
    json_t *in = suspended_input(), *kept = json_object_get(in, "state");
    add_rare_members(kept);
    damage_each_value(in, kept);
    json_decref(in);
}

#define NESTED(test) cmocka_unit_test_setup_teardown(test, setup_nested, teardown_nested)

int main(void)
{
    const struct CMUnitTest group[] = {
        NESTED(test_the_whole_document),
        NESTED(test_each_value_damaged),
        NESTED(test_each_value_of_rare_members_damaged),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("damaged run states", group, NULL, NULL);
}
