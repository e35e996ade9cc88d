/* SPDX-License-Identifier: Apache-2.0 */
/* Tools and their calls, for the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tool_rig.h"

#include <apr_general.h>

#define PATIENCE apr_time_from_sec(20)

typedef struct begin_t {
    tool_rig_t *tool;
    tool_answer_t *answer;
    json_t *arguments;
    apr_time_t deadline;
    void *call;
    ac_latch_t *done;
    bool starting;
} begin_t;

void tool_rig_open(tool_rig_t *tool, const ac_tool_vt *vt)
{
    memset(tool, 0, sizeof(*tool));
    assert_int_equal(apr_initialize(), APR_SUCCESS);
    assert_int_equal(apr_pool_create(&tool->pool, NULL), APR_SUCCESS);
    rig_open(&tool->rig);
    tool->vt = vt;
    tool->host.version = 1;
    tool->host.loop = tool->rig.loop;
    tool->host.loop_post = ac_loop_post;
    tool->host.work_post = ac_work_post;
    tool->host.err_set = NULL;
    tool->conf.id = "a_tool";
    tool->conf.provider = vt->name;
    tool->conf.options = apr_table_make(tool->pool, 4);
    tool->conf.headers = apr_array_make(tool->pool, 4, sizeof(ac_tool_header_t));
    tool->conf.allow_hosts = apr_array_make(tool->pool, 4, sizeof(const char *));
    tool->conf.timeout = apr_time_from_sec(30);
    tool->conf.result_max = AC_MAX_TOOL_RESULT;
}

void tool_rig_close(tool_rig_t *tool)
{
    rig_close(&tool->rig);
    json_decref(tool->conf.parameters);
    apr_pool_destroy(tool->pool);
    apr_terminate();
}

void tool_rig_option(tool_rig_t *tool, const char *name, const char *value)
{
    apr_table_set((apr_table_t *)tool->conf.options, name, value);
}

const char *tool_rig_create(tool_rig_t *tool)
{
    ac_err_t err;
    ac_err_init(&err);
    const char *problem = tool->vt->create ? tool->vt->create(&tool->self, &tool->conf, tool->pool) : NULL;
    if (!problem && tool->vt->child_init) {
        assert_int_equal(tool->vt->child_init(tool->self, &tool->host, &err), APR_SUCCESS);
    }
    return problem;
}

void tool_rig_start(tool_rig_t *tool)
{
    const char *problem = tool_rig_create(tool);
    if (problem) {
        print_error("create: %s\n", problem);
    }
    assert_null(problem);
}

static void on_done(void *baton, apr_status_t status, json_t *result, const ac_err_t *err)
{
    begin_t *begin = baton;
    tool_answer_t *answer = begin->answer;
    answer->n_dones++;
    answer->inside = begin->starting;
    answer->status = status;
    answer->result = result;
    if (err && status != APR_SUCCESS) {
        answer->err = *err;
    }
    ac_latch_open(begin->done);
}

static void start(void *baton)
{
    begin_t *begin = baton;
    begin->starting = true;
    begin->answer->started = begin->tool->vt->start(&begin->call, begin->tool->self, begin->arguments, begin->deadline,
                                                    on_done, begin, &begin->answer->err);
    begin->starting = false;
    if (begin->answer->started != APR_SUCCESS) {
        begin->answer->status = begin->answer->started;
        ac_latch_open(begin->done);
    }
}

static json_t *read_arguments(const tool_rig_t *tool, const char *text)
{
    json_t *arguments, *schema = json_incref(tool->conf.parameters);
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_json_parse(&arguments, text, strlen(text), NULL), APR_SUCCESS);
    if (!schema) {
        assert_int_equal(ac_json_parse(&schema, tool->vt->parameters, strlen(tool->vt->parameters), NULL), APR_SUCCESS);
    }
    assert_null(ac_schema_problem(schema, tool->pool));
    if (ac_schema_check(schema, arguments, &err) != APR_SUCCESS) {
        print_error("%s: %s %s\n", text, err.pointer, err.detail);
    }
    assert_int_equal(err.kind, AC_OK);
    json_decref(schema);
    return arguments;
}

static void answer_init(tool_answer_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    ac_err_init(&answer->err);
}

void tool_rig_call(tool_rig_t *tool, tool_answer_t *answer, const char *arguments, apr_interval_time_t timeout)
{
    answer_init(answer);
    begin_t begin = {.tool = tool,
                     .answer = answer,
                     .arguments = read_arguments(tool, arguments),
                     .deadline = ac_clock() + (timeout ? timeout : PATIENCE),
                     .done = ac_latch_create()};
    if (tool->vt->compute) {
        answer->status = tool->vt->compute(tool->self, begin.arguments, &answer->result, &answer->err);
    } else if (tool->vt->flags & AC_TOOL_BLOCKING) {
        answer->status = tool->vt->call(&answer->result, tool->self, begin.arguments, begin.deadline, &answer->err);
    } else {
        rig_call(&tool->rig, start, &begin);
        assert_true(ac_latch_wait(begin.done, ac_clock() + 2 * PATIENCE));
    }
    assert_false(answer->inside);
    assert_true(answer->n_dones <= 1);
    assert_true((answer->status == APR_SUCCESS) == (answer->result != NULL));
    json_decref(begin.arguments);
    ac_latch_unref(begin.done);
}

void tool_answer_free(tool_answer_t *answer)
{
    json_decref(answer->result);
    answer->result = NULL;
}

void *tool_rig_begin(tool_rig_t *tool, tool_answer_t *answer, const char *arguments)
{
    answer_init(answer);
    begin_t *begin = ac_alloc(sizeof(*begin));
    begin->tool = tool;
    begin->answer = answer;
    begin->arguments = read_arguments(tool, arguments);
    begin->deadline = ac_clock() + PATIENCE;
    begin->done = ac_latch_create();
    rig_call(&tool->rig, start, begin);
    assert_int_equal(answer->started, APR_SUCCESS);
    return begin;
}

static void cancel(void *baton)
{
    begin_t *begin = baton;
    begin->tool->vt->cancel(begin->call);
}

static void nothing(void *baton)
{
    (void)baton;
}

void tool_rig_cancel(tool_rig_t *tool, tool_answer_t *answer, void *call)
{
    begin_t *begin = call;
    rig_call(&tool->rig, cancel, begin);
    rig_call(&tool->rig, nothing, NULL); /* a whole turn later */
    assert_int_equal(answer->n_dones, 0);
    json_decref(begin->arguments);
    ac_latch_unref(begin->done);
    free(begin);
}

void tool_answer_is(const tool_answer_t *answer, const char *text)
{
    if (answer->status != APR_SUCCESS) {
        print_error("failed: %s\n", answer->err.detail);
    }
    assert_int_equal(answer->status, APR_SUCCESS);
    char *is = json_dumps(answer->result, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    assert_string_equal(is, text);
    free(is);
}

void tool_answer_failed(const tool_answer_t *answer, ac_kind_e kind, const char *detail)
{
    assert_int_not_equal(answer->status, APR_SUCCESS);
    assert_string_equal(answer->err.detail, detail);
    assert_int_equal(answer->err.kind, kind);
}
