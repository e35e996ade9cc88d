/* SPDX-License-Identifier: Apache-2.0 */
/* The world of a run whose spans are kept. */
#ifndef AC_TRACE_WORLD_H
#define AC_TRACE_WORLD_H

#include "run_gates.h"

#include <inttypes.h>

#include <apr_tables.h>

#include "span_sink.h"

static ac_buf_t tree;

static inline void show_attribute(const ac_attribute_t *attribute)
{
    ac_buf_printf(&tree, " %s=", ac_span_attributes[attribute->key].name);
    switch (attribute->type) {
    case AC_ATTRIBUTE_TYPE_TEXT:
    case AC_ATTRIBUTE_TYPE_LIST: ac_buf_str(&tree, attribute->value.text); break;
    case AC_ATTRIBUTE_TYPE_INTEGER: ac_buf_printf(&tree, "%" PRId64, attribute->value.integer); break;
    case AC_ATTRIBUTE_TYPE_NUMBER: ac_buf_printf(&tree, "%g", attribute->value.number); break;
    case AC_ATTRIBUTE_TYPE_FLAG: ac_buf_str(&tree, attribute->value.flag ? "true" : "false"); break;
    }
}

/* The spans below this one in the order of their ends, without those of the store. */
static inline void show_below(const char *parent_id, int depth, const ac_attribute_e *keys, int n_keys)
{
    for (int i = 0; i < sink_n; i++) {
        const ac_span_t *span = sink_spans[i];
        if (span->what == AC_SPAN_STORE || strcmp(span->parent_id, parent_id) != 0) {
            continue;
        }
        ac_buf_printf(&tree, "%*s%s", 2 * depth, "", span->name);
        for (int k = 0; k < n_keys; k++) {
            const ac_attribute_t *attribute = sink_attribute(span, keys[k]);
            if (attribute) {
                show_attribute(attribute);
            }
        }
        ac_buf_printf(&tree, "%s%s%s\n", span->error ? " !" : "", span->error ? span->error : "",
                      span->n_links ? " +link" : "");
        show_below(span->trace.span_id, depth + 1, keys, n_keys);
    }
}

/* The spans below parent_id as indented lines. Valid until the next call. */
static inline const char *trace_tree(const char *parent_id, const ac_attribute_e *keys, int n_keys)
{
    ac_buf_free(&tree);
    ac_buf_init(&tree, 1 << 16);
    show_below(parent_id, 0, keys, n_keys);
    return tree.data ? tree.data : "";
}

/* The span of this name that ended as number n, from 0 on. */
static inline const ac_span_t *nth_span(const char *name, int n)
{
    for (int i = 0; i < sink_n; i++) {
        if (strcmp(sink_spans[i]->name, name) == 0 && n-- == 0) {
            return sink_spans[i];
        }
    }
    fail_msg("there is no such span: %s", name);
    return NULL;
}

static inline bool span_may_have(const ac_span_t *span, ac_attribute_e key)
{
    char spans[128], *rest = spans;
    snprintf(spans, sizeof spans, "%s", ac_span_attributes[key].spans);
    for (const char *word; (word = strsep(&rest, " "));) {
        if (strcmp(word, ac_span_rows[span->what].id) == 0) {
            return true;
        }
    }
    return false;
}

/* The table of attributes has each that a span of this test has. */
static inline void assert_table(void)
{
    for (int i = 0; i < sink_n; i++) {
        for (int k = 0; k < sink_spans[i]->n_attributes; k++) {
            ac_attribute_e key = sink_spans[i]->attributes[k].key;
            if (!span_may_have(sink_spans[i], key)) {
                fail_msg("%s: the table does not give it %s", sink_spans[i]->name, ac_span_attributes[key].name);
            }
        }
    }
}

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define HEADER "00-" TRACE "-" SPAN "-01"
#define APPROVAL apr_time_from_sec(40)

static const ac_tool_conf_t asking_conf = {.timeout = 5000000, .result_max = 1000, .approval = 1};
static ac_model_conf_t traced_conf;
static const ac_model_t traced_model = {.id = "fake", .vt = &model_vt, .conf = &traced_conf};

static int setup_trace(void **state)
{
    static apr_pool_t *pool;
    setup_gates(state);
    if (!pool) {
        apr_pool_create(&pool, NULL);
        apr_table_t *options = apr_table_make(pool, 1);
        apr_table_setn(options, "deployment", "gpt-x");
        traced_conf = model_conf;
        traced_conf.options = options;
        traced_conf.endpoint = "https://models.example:8443/openai";
        traced_conf.params = json_pack("{s:s}", "reasoning_effort", "low");
    }
    agent.model = &traced_model;
    agent.max_tokens = 500;
    engine->conf.approval_timeout = APPROVAL;
    ac_run_approval_watch(engine, NULL);
    sink_open(AC_CONTENT_NONE);
    return 0;
}

static int teardown_trace(void **state)
{
    assert_table();
    sink_close();
    ac_buf_free(&tree);
    agent.model = &the_model;
    agent.max_tokens = 0;
    later_tool.conf = &tool_conf;
    ac_timer_cancel(NULL, &engine->approval_timer);
    return teardown(state);
}

static void start_traced(const char *content, const char *traceparent)
{
    ac_turn_t *turn = new_turn(content);
    ac_trace_t trace;
    ac_trace_parse(&trace, traceparent);
    trace.state = "vendor=1";
    ac_turn_set_trace(turn, &trace);
    apr_cpystrn(turn->request_id, "req_1", sizeof turn->request_id);
    ac_run_start(engine, turn, &follower);
    fake_turn();
}

static void start_traced_with_tools(const ac_tool_call_t *calls, int n_calls)
{
    start_traced("x", HEADER);
    open_well();
    want_tools(calls, n_calls);
}

static void retry(ac_kind_e kind, int http_status)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, kind, "try again");
    err.http_status = http_status;
    model.cb->on_retry(model.run, &err);
}

static void tool_answers(int i, json_t *result)
{
    later[i].done(later[i].baton, APR_SUCCESS, result, NULL);
    fake_turn();
}

static const ac_attribute_e shown[] = {
    AC_ATTRIBUTE_GEN_AI_REQUEST_MODEL,           AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL,
    AC_ATTRIBUTE_GEN_AI_RESPONSE_FINISH_REASONS, AC_ATTRIBUTE_GEN_AI_USAGE_INPUT_TOKENS,
    AC_ATTRIBUTE_GEN_AI_USAGE_OUTPUT_TOKENS,     AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT,
    AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE,      AC_ATTRIBUTE_GEN_AI_TOOL_CALL_ID,
    AC_ATTRIBUTE_AGENTCHAT_TOOL_OUTCOME,         AC_ATTRIBUTE_AGENTCHAT_RUN_STATUS,
    AC_ATTRIBUTE_AGENTCHAT_RUN_ROUNDS,           AC_ATTRIBUTE_AGENTCHAT_RUN_TOOL_CALLS,
};

static void assert_tree(const char *expected)
{
    assert_string_equal(trace_tree(SPAN, shown, sizeof shown / sizeof shown[0]), expected);
}

/* Two tools at once, one attempt that is repeated, and a fallback. */
static void whole_turn(void)
{
    const ac_tool_call_t calls[] = {{"c1", "later", "{\"n\": 1}", false}, {"c2", "later", "{\"n\": 2}", false}};
    start_traced("x", HEADER);
    open_well();
    retry(AC_MODEL_THROTTLED, 429);
    want_tools(calls, 2);
    tool_answers(1, json_integer(5));
    tool_answers(0, json_string("six"));
    break_down(AC_MODEL_ERROR);
    other_says(&second, "Hello");
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_string_equal(said, "Hello");
}

#define TRACE_TEST(name) cmocka_unit_test_setup_teardown(name, setup_trace, teardown_trace)

#endif
