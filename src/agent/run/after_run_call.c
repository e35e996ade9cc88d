/* SPDX-License-Identifier: Apache-2.0 */
/* The model call of a title or a summary. */
#include "after_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *ac_after_run_call_message(const char *role, const char *content)
{
    json_t *message = json_object();
    ac_json_put(message, "role", json_string(role));
    ac_json_put(message, "content", ac_json_text(content));
    return message;
}

/* ---- the call ---- */

static void span_begin(ac_after_run_t *after)
{
    ac_span_t *span = ac_span_begin(AC_SPAN_CHAT, &after->trace);
    after->span = span;
    after->asking = *ac_span_trace(span, &after->trace);
    after->asking.state = after->trace.state; /* the span is gone before the call is */
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_OPERATION_NAME, "chat");
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_PURPOSE, after->kind->name);
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_ID, after->run_id);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID, after->thread_id);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_ID, after->agent->id);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_NAME, after->agent->name);
    ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_REQUEST_MAX_TOKENS, after->conf->max_tokens);
    if (span) {
        ac_run_trace_model(span, after->model, after->messages);
    }
}

int64_t ac_after_run_call_estimate(const ac_after_run_t *after)
{
    char *text = ac_json_dump(after->messages, NULL);
    int64_t tokens = ac_history_estimate(text);
    free(text);
    return tokens;
}

/* The figures of the model, or an estimate of a call that it has worked for. */
static void note_usage(ac_after_run_t *after, const ac_model_end_t *end)
{
    ac_usage_t *usage = &after->usage;
    if (end->usage.known) {
        *usage = end->usage;
    } else if (after->answering || end->status == APR_SUCCESS || end->status == APR_EINTR) {
        usage->prompt = ac_after_run_call_estimate(after);
        usage->completion = (int64_t)(after->text.len + 3) / 4;
        usage->estimated = true;
    }
    if (usage->prompt < 0 || usage->completion < 0 || usage->cached < 0 || usage->reasoning < 0) {
        *usage = (ac_usage_t){0}; /* figures that no model can mean */
    }
    usage->total = usage->prompt + usage->completion;
}

/* A call has ended, or was ended. */
static void after_run_note_end(ac_after_run_t *after, const ac_model_end_t *end, ac_breaker_result_e result)
{
    const ac_model_conf_t *conf = after->model->conf;
    unsigned model = conf ? conf->metric : AC_METRIC_OTHER;
    ac_kind_e kind = end->status == APR_SUCCESS ? AC_OK : end->err.kind ? end->err.kind : AC_CANCELLED;
    double amount = 0;
    after->call = NULL;
    apr_cpystrn(after->answered_by, end->model[0] ? end->model : after->model->id, sizeof after->answered_by);
    ac_breaker_end(&after->entry.gate->breaker, &after->entry.ticket, result, ac_loop_now(after->engine->loop));
    ac_metrics_gauge_add(AC_METRIC_MODEL_CALLS_ACTIVE, AC_LABELS(model), -1);
    ac_metrics_add(AC_METRIC_MODEL_CALLS, AC_LABELS(model, kind), 1);
    ac_metrics_observe(AC_METRIC_MODEL_CALL_DURATION, AC_LABELS(model, kind), ac_clock() - after->started,
                       &after->trace);
    ac_run_trace_model_end(after->span, after->model, after->text.len ? after->text.data : "", end);
    after->span = NULL;
    note_usage(after, end);
    ac_run_metrics_tokens(after->agent->metric, after->model, &after->usage);
    if (after->reserved) {
        ac_counters_t *counters = after->engine->counters;
        if (!conf || !ac_record_amount(&amount, &after->usage, &conf->price)) {
            amount = 0;
        }
        ac_counters_spend(counters, after->reserved, AC_LIMIT_TOKENS, after->usage.total);
        ac_counters_spend(counters, after->reserved, AC_LIMIT_COST, ac_quota_money(amount));
    }
}

/* Ends the model call, which may be none, and the whole with it. */
void ac_after_run_call_stop(ac_after_run_t *after, unsigned outcome, const ac_err_t *err)
{
    ac_model_end_t end = {.status = APR_EINTR, .finish = AC_FINISH_NONE, .err = *err};
    if (after->ended) {
        return;
    }
    if (after->call) {
        after->model->vt->cancel(after->call);
        after_run_note_end(after, &end, after->answering ? AC_BREAKER_RESULT_OK : AC_BREAKER_RESULT_UNKNOWN);
    }
    ac_after_run_end(after, outcome, NULL);
}

static void after_run_on_late(void *baton)
{
    ac_after_run_t *after = baton;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_MODEL_TIMEOUT, "the model took too long for a %s", after->kind->name);
    ac_after_run_log(after, "late", &err);
    ac_after_run_call_stop(after, AC_AFTER_RUN_FAILED, &err);
}

static void after_run_on_long(void *baton)
{
    ac_after_run_t *after = baton;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_MODEL_ERROR, "the model's answer is too long for a %s", after->kind->name);
    ac_after_run_log(after, "long", &err);
    ac_after_run_call_stop(after, AC_AFTER_RUN_FAILED, &err);
}

static void after_run_note_answer(ac_after_run_t *after)
{
    if (!after->answering) {
        after->answering = true;
        ac_metrics_observe(AC_METRIC_MODEL_FIRST_TOKEN, AC_LABELS(after->entry.gate->breaker.metric),
                           ac_clock() - after->started, &after->trace);
        ac_breaker_answered(&after->entry.gate->breaker, &after->entry.ticket, ac_loop_now(after->engine->loop));
    }
}

static void after_run_on_text(void *baton, const char *text, size_t len)
{
    ac_after_run_t *after = baton;
    after_run_note_answer(after);
    if (ac_buf_add(&after->text, text, len) != APR_SUCCESS) {
        /* Not here, inside a call of the model's provider. */
        ac_loop_ready_set(after->engine->loop, &after->ready, after_run_on_long, after);
    }
}

static void after_run_on_tool_start(void *baton, int index, const char *id, const char *name)
{
    (void)index;
    (void)id;
    (void)name;
    after_run_note_answer(baton);
}

static void after_run_on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    (void)baton;
    (void)index;
    (void)fragment;
    (void)len;
}

static void after_run_on_retry(void *baton, const ac_err_t *err)
{
    ac_after_run_t *after = baton;
    ac_model_end_t end = {.status = APR_EGENERAL, .finish = AC_FINISH_NONE, .err = *err};
    ac_run_trace_model_end(after->span, after->model, "", &end);
    span_begin(after);
}

static void after_run_on_end(void *baton, const ac_model_end_t *end)
{
    ac_after_run_t *after = baton;
    json_t *result = NULL;
    bool whole = end->status == APR_SUCCESS && end->finish != AC_FINISH_CONTENT_FILTER && end->n_calls == 0;
    after_run_note_end(after, end, ac_breaker_result(&end->err));
    if (whole && !after->text.failed && after->text.len) {
        result = after->kind->result(after->text.data);
    }
    if (!result) {
        ac_after_run_log(after, whole ? "its answer is empty" : "it answered with something else",
                         end->status != APR_SUCCESS ? &end->err : NULL);
    }
    ac_after_run_end(after, AC_AFTER_RUN_FAILED, result);
}

static void after_run_on_rejected(void *baton, const ac_err_t *err)
{
    ac_after_run_call_stop(baton, AC_AFTER_RUN_SKIPPED, err);
}

void ac_after_run_call_begin(ac_after_run_t *after)
{
    static const ac_model_cb_t callbacks = {.on_text = after_run_on_text,
                                            .on_tool_start = after_run_on_tool_start,
                                            .on_tool_args = after_run_on_tool_args,
                                            .on_end = after_run_on_end,
                                            .on_retry = after_run_on_retry};
    ac_loop_t *loop = after->engine->loop;
    ac_model_ask_t ask = {.messages = after->messages,
                          .temperature = NAN,
                          .max_tokens = after->conf->max_tokens,
                          .request_id = after->request_id,
                          .trace = &after->asking};
    ac_err_t err;
    ac_err_init(&err);
    after->entry.on_rejected = after_run_on_rejected;
    after->entry.gate = ac_gate_get(&after->engine->gates, after->model);
    if (ac_gate_enter_spare(&after->entry, &err) != AC_GATE_ADMITTED) {
        ac_after_run_end(after, AC_AFTER_RUN_SKIPPED, NULL);
        return;
    }
    after->started = ac_clock();
    ac_timer_set(loop, &after->timer, ac_loop_now(loop) + after->conf->timeout, after_run_on_late, after);
    ac_metrics_gauge_add(AC_METRIC_MODEL_CALLS_ACTIVE, AC_LABELS(after->entry.gate->breaker.metric), 1);
    span_begin(after);
    apr_status_t status = after->model->vt->ask(&after->call, after->model->self, &ask, &callbacks, after, &err);
    if (status != APR_SUCCESS) {
        ac_model_end_t end = {.status = status, .finish = AC_FINISH_NONE, .err = err};
        after_run_note_end(after, &end, ac_breaker_result(&err));
        ac_after_run_log(after, "it could not be asked", &err);
        ac_after_run_end(after, AC_AFTER_RUN_FAILED, NULL);
    }
}
