/* SPDX-License-Identifier: Apache-2.0 */
/* Model calls that record all their callbacks. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_rig.h"

#define PATIENCE apr_time_from_sec(20)

static void note(question_t *question)
{
    question->n_after += question->over || question->asking;
    if (!question->first) {
        question->first = ac_clock();
    }
}

static void stop(question_t *question)
{
    question->vt->cancel(question->call);
    question->over = true;
    ac_latch_open(question->done);
}

static void on_text(void *baton, const char *text, size_t len)
{
    question_t *question = baton;
    note(question);
    question->n_texts++;
    ac_buf_add(&question->text, text, len);
    ac_latch_open(question->heard);
    if (question->in_text && question->in_text(question)) {
        stop(question);
    }
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    question_t *question = baton;
    note(question);
    question->n_after += !id || !*id;
    ac_buf_printf(&question->tools, "[%d %s]", index, name);
    if (question->cancel_in_start) {
        stop(question);
    }
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    question_t *question = baton;
    note(question);
    ac_buf_printf(&question->tools, "<%d %.*s>", index, (int)len, fragment);
}

static void on_end(void *baton, const ac_model_end_t *end)
{
    question_t *question = baton;
    question->n_after += question->over || question->asking;
    question->over = true;
    question->n_ends++;
    question->end = *end;
    question->ended = ac_clock();
    for (int i = 0; i < end->n_calls; i++) {
        ac_buf_printf(&question->calls, "%s %s;", end->calls[i].name, end->calls[i].arguments);
    }
    ac_latch_open(question->done);
}

static void on_retry(void *baton, const ac_err_t *err)
{
    question_t *question = baton;
    question->n_retries++;
    question->retried = *err;
}

void question_init(question_t *question, rig_t *rig, const ac_model_vt *vt, void *self, const char *text)
{
    memset(question, 0, sizeof(*question));
    question->rig = rig;
    question->vt = vt;
    question->self = self;
    question->document = json_loads(text, 0, NULL);
    assert_non_null(question->document);
    question->ask.messages = json_object_get(question->document, "messages");
    question->ask.tools = json_object_get(question->document, "tools");
    question->ask.temperature = NAN;
    ac_buf_init(&question->text, AC_MAX_ANSWER);
    ac_buf_init(&question->tools, AC_MAX_ANSWER);
    ac_buf_init(&question->calls, AC_MAX_ANSWER);
    ac_buf_str(&question->text, "");
    ac_buf_str(&question->tools, "");
    ac_buf_str(&question->calls, "");
    question->done = ac_latch_create();
    question->heard = ac_latch_create();
}

static void start(void *baton)
{
    static const ac_model_cb_t callbacks = {on_text, on_tool_start, on_tool_args, on_end, on_retry, NULL, NULL, NULL};
    question_t *question = baton;
    question->began = ac_clock();
    question->asking = true;
    question->started =
        question->vt->ask(&question->call, question->self, &question->ask, &callbacks, question, &question->err);
    question->asking = false;
    /* What was asked is borrowed for the call only. */
    json_decref(question->document);
    question->document = NULL;
    if (question->started != APR_SUCCESS) {
        ac_latch_open(question->done);
    }
}

void question_start(question_t *question)
{
    rig_call(question->rig, start, question);
}

void question_wait(question_t *question)
{
    assert_true(ac_latch_wait(question->done, ac_clock() + PATIENCE));
}

void question_run(question_t *question)
{
    question_start(question);
    question_wait(question);
}

static void cancel_now(void *baton)
{
    question_t *question = baton;
    if (!question->over) {
        stop(question);
    }
}

void question_cancel(question_t *question)
{
    rig_call(question->rig, cancel_now, question);
}

static void nothing(void *baton)
{
    (void)baton;
}

void question_free(question_t *question)
{
    rig_call(question->rig, nothing, NULL); /* what came late has come now */
    assert_int_equal(question->n_after, 0);
    ac_buf_free(&question->text);
    ac_buf_free(&question->tools);
    ac_buf_free(&question->calls);
    ac_latch_unref(question->done);
    ac_latch_unref(question->heard);
    json_decref(question->document);
}

typedef struct init_t {
    rig_t *rig;
    const ac_model_vt *vt;
    void *self;
} init_t;

static void init(void *baton)
{
    init_t *what = baton;
    ac_host_t host = {.version = 1, .loop = what->rig->loop};
    assert_int_equal(what->vt->child_init(what->self, &host, NULL), APR_SUCCESS);
}

void model_init(rig_t *rig, const ac_model_vt *vt, void *self)
{
    init_t what = {rig, vt, self};
    rig_call(rig, init, &what);
}
