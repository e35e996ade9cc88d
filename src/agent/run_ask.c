/* SPDX-License-Identifier: Apache-2.0 */
/* ASKING: a round with the model, from its request to its last word. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

static void note_first(ac_run_t *run)
{
    if (!run->ttft) run->ttft = ac_clock() - run->created;
}

static void fail_later(void *baton)
{
    ac_run_t *run = baton;
    if (run->err.kind) ac_run_finish(run, AC_RUN_FAILED, NULL, "answer over its limit");
}

static void on_text(void *baton, const char *text, size_t len)
{
    ac_run_t *run = baton;
    if (len == 0 || run->err.kind) return;
    note_first(run);
    if (run->answer.len == run->round_start && run->round_start > 0) {
        /* What was said before the tools were called stands by itself. */
        ac_buf_add(&run->answer, "\n\n", 2);
        ac_run_emit(run, AC_EVENT_TOKEN, NULL, "\n\n", 2);
    }
    if (ac_buf_add(&run->answer, text, len) != APR_SUCCESS) {
        ac_err_set(&run->err, AC_MODEL_ERROR, "the answer is over %d MB", AC_MAX_ANSWER / (1024 * 1024));
        /* Not here: the model's provider is in the middle of calling us. */
        ac_ready_set(run->engine->loop, &run->ready, fail_later, run);
        return;
    }
    ac_run_emit(run, AC_EVENT_TOKEN, NULL, text, len);
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    ac_run_t *run = baton;
    note_first(run);
    ac_run_call_at(run, index, id, name);
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    ac_run_t *run = baton;
    if (index < 0 || index >= run->n_calls || !run->calls[index] || len == 0) return;
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(run->calls[index]->step_id));
    /* A fragment may end in the middle of a character, which JSON can't carry; then the pieces of it become U+FFFD, and
     * trace_end has the arguments whole. */
    char *text = strndup(fragment, len);
    ac_json_put(data, "arguments_delta", ac_json_text(text));
    free(text);
    ac_run_emit(run, AC_EVENT_TRACE_UPDATE, data, NULL, 0);
}

static int64_t estimate_prompt(const ac_run_t *run)
{
    char *text = ac_json_dump(run->messages, NULL);
    int64_t tokens = ac_history_estimate(text);
    free(text);
    return tokens;
}

static void add_usage(ac_run_t *run, const ac_model_end_t *end)
{
    ac_usage_t *sum = &run->usage;
    if (end->usage.known) {
        sum->prompt += end->usage.prompt;
        sum->completion += end->usage.completion;
        sum->cached += end->usage.cached;
        sum->reasoning += end->usage.reasoning;
        sum->known = true;
        sum->estimated |= end->usage.estimated;
    } else if (run->ttft || end->status == APR_SUCCESS) {
        /* Also a round that was cut or cancelled has cost something; the model's own figures come last, so there are none. */
        sum->prompt += estimate_prompt(run);
        sum->completion += (int64_t)(run->answer.len - run->round_start + 3) / 4;
        for (int i = 0; i < end->n_calls; i++) sum->completion += ac_history_estimate(end->calls[i].arguments);
        sum->estimated = true;
    }
    sum->total = sum->prompt + sum->completion;
}

static void end_filtered(ac_run_t *run)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_CONTENT_FILTERED, "the model's safety system stopped the answer");
    ac_run_finish(run, AC_RUN_FAILED, &err, "content filter");
}

static void on_end(void *baton, const ac_model_end_t *end)
{
    ac_run_t *run = baton;
    run->asking = NULL;
    if (end->model[0]) apr_cpystrn(run->model, end->model, sizeof run->model);
    add_usage(run, end);
    ac_run_note_model_step(run, end);
    run->finish = end->finish;
    if (end->status != APR_SUCCESS) {
        if (end->err.kind == AC_CONTENT_FILTERED) run->finish = AC_FINISH_CONTENT_FILTER;
        ac_run_finish(run, AC_RUN_FAILED, &end->err, "model failed");
    } else if (run->err.kind) {
        fail_later(run);
    } else if (end->finish == AC_FINISH_CONTENT_FILTER) {
        end_filtered(run);
    } else if (end->n_calls > 0 && run->round >= run->agent->max_rounds) {
        ac_err_t err;
        ac_err_init(&err);
        ac_err_set(&err, AC_MODEL_ERROR, "the model wanted more tools after all of its %d rounds", run->round);
        ac_run_finish(run, AC_RUN_FAILED, &err, "rounds are over");
    } else if (end->n_calls > 0) {
        for (int i = 0; i < end->n_calls; i++) {
            ac_call_t *call = ac_run_call_at(run, i, end->calls[i].id, end->calls[i].name);
            json_decref(call->arguments);
            ac_err_t bad;
            ac_err_init(&bad);
            const char *text = end->calls[i].arguments && *end->calls[i].arguments ? end->calls[i].arguments : "{}";
            if (ac_json_parse(&call->arguments, text, strlen(text), &bad) != APR_SUCCESS) {
                call->arguments = ac_json_text(text);
            }
        }
        ac_run_transit(run, AC_RUN_CALLING, "tools wanted");
    } else {
        ac_run_finish(run, AC_RUN_COMPLETED, NULL, "answer complete");
    }
}

static const ac_model_cb_t callbacks = {
    .on_text = on_text, .on_tool_start = on_tool_start, .on_tool_args = on_tool_args, .on_end = on_end,
};

void ac_run_enter_asking(ac_run_t *run)
{
    const ac_agent_t *agent = run->agent;
    ac_err_t err;
    ac_err_init(&err);
    if (run->round == 1) {
        if (run->turn->stateless) ac_run_release(run);
        else ac_run_open(run);
    }
    run->round_start = run->answer.len;
    run->asked = ac_clock();
    run->asked_at = apr_time_now();
    ac_model_ask_t ask = {
        .messages = run->messages, .tools = agent->tools_json, .temperature = agent->temperature,
        .max_tokens = agent->max_tokens, .no_calls = run->round >= agent->max_rounds,
        .request_id = run->turn->request_id,
    };
    if (agent->model->vt->ask(&run->asking, agent->model->self, &ask, &callbacks, run, &err) != APR_SUCCESS) {
        run->asking = NULL;
        ac_run_finish(run, AC_RUN_FAILED, &err, "model not asked");
    }
}

void ac_run_stop_asking(ac_run_t *run)
{
    if (!run->asking) return;
    run->agent->model->vt->cancel(run->asking);
    run->asking = NULL;
    /* The model's figures are lost with the rest of its answer; what is known of the round is kept. */
    ac_model_end_t end = {.status = APR_EINTR, .finish = AC_FINISH_NONE, .err = run->err};
    add_usage(run, &end);
    ac_run_note_model_step(run, &end);
}
