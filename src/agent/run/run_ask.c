/* SPDX-License-Identifier: Apache-2.0 */
/* ASKING: one model call, from the gate to its end. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define HELD_PIECE 4096

/* The answer has begun: from here on no fallback can replace the model. */
static void note_answer(ac_run_t *run)
{
    if (!run->times.first_token) {
        run->times.first_token = ac_clock() - run->times.created;
    }
    if (run->ask.answering) {
        return;
    }
    run->ask.answering = true;
    run->ask.first_token = ac_clock() - run->ask.started;
    ac_run_metrics_model_answered(run);
    ac_run_trace_chat_answered(run);
    ac_breaker_answered(&run->ask.entry.gate->breaker, &run->ask.entry.ticket, ac_loop_now(run->engine->loop));
}

static void fail_later(void *baton)
{
    ac_run_t *run = baton;
    if (run->err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, NULL, "answer over its limit");
    }
}

/* The model has stopped thinking. */
static void run_ask_end_reasoning(ac_run_t *run)
{
    if (run->ask.reasoning_since) {
        run->times.reasoning += ac_clock() - run->ask.reasoning_since;
        run->ask.reasoning_since = 0;
    }
}

static void run_ask_on_text(void *baton, const char *text, size_t len)
{
    ac_run_t *run = baton;
    if (len == 0 || run->err.kind) {
        return;
    }
    note_answer(run);
    run_ask_end_reasoning(run);
    bool held = ac_run_output_is_json(run);
    if (run->answer.text.len == run->answer.round_start && run->answer.round_start > 0 && !held) {
        /* The text before the tool calls stays a paragraph of its own. */
        ac_buf_add(&run->answer.text, "\n\n", 2);
        ac_run_event_emit(run, AC_EVENT_TOKEN, NULL, "\n\n", 2);
    }
    if (ac_buf_add(&run->answer.text, text, len) != APR_SUCCESS) {
        ac_err_set(&run->err, AC_MODEL_ERROR, "the answer is longer than %" APR_SIZE_T_FMT " bytes",
                   run->answer.text.max);
        /* Not here, inside a call of the model's provider. */
        ac_loop_ready_set(run->engine->loop, &run->ready, fail_later, run);
        return;
    }
    if (!held) {
        ac_run_event_emit(run, AC_EVENT_TOKEN, NULL, text, len);
    }
}

/* Clients see all of it; the beginning is stored. */
static void run_ask_on_reasoning(void *baton, const char *text, size_t len)
{
    ac_run_t *run = baton;
    ac_buf_t *kept = &run->answer.reasoning;
    if (len == 0 || run->err.kind) {
        return;
    }
    note_answer(run);
    if (!run->ask.reasoning_since) {
        run->ask.reasoning_since = ac_clock();
    }
    size_t room = kept->max - kept->len;
    ac_buf_add(kept, text, len <= room ? len : ac_utf8_whole(text, room));
    ac_run_event_emit(run, AC_EVENT_REASONING, NULL, text, len);
}

static void run_ask_on_annotation(void *baton, const json_t *annotation)
{
    json_t *added = ac_run_sources_name(baton, annotation);
    if (added) {
        note_answer(baton);
        ac_run_event_emit(baton, AC_EVENT_SOURCES, ac_run_sources_event(NULL, added), NULL, 0);
    }
}

static void run_ask_on_tool_start(void *baton, int index, const char *id, const char *name)
{
    ac_run_t *run = baton;
    note_answer(run);
    run_ask_end_reasoning(run);
    ac_run_call_get(run, index, &(ac_tool_call_t){id, name, "", false});
}

static void run_ask_on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    ac_run_t *run = baton;
    if (index < 0 || index >= run->calls.n || !run->calls.list[index] || len == 0) {
        return;
    }
    ac_run_round_stream(run->calls.list[index], fragment, len);
}

static void run_ask_on_hosted(void *baton, const ac_hosted_call_t *hosted)
{
    ac_run_t *run = baton;
    if (run->err.kind) {
        return;
    }
    note_answer(run);
    run_ask_end_reasoning(run);
    ac_run_round_hosted(run, hosted);
}

/* ---- the end of a call ---- */

static void end_filtered(ac_run_t *run)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_CONTENT_FILTERED, "the model's safety system stopped the answer");
    ac_run_finish(run, AC_RUN_FAILED, &err, "content filter");
}

static void want_tools(ac_run_t *run, const ac_model_end_t *end)
{
    ac_err_t err;
    ac_err_init(&err);
    int most = run->agent->max_tool_calls;
    if (ac_run_nesting_is_last(run)) {
        ac_err_set(&err, AC_MODEL_ERROR, "the model wanted more tools after all of its %d rounds", run->round);
    } else if (most && end->n_calls > most) {
        ac_err_set(&err, AC_MODEL_ERROR, "the model wanted %d tools at once, and the agent allows %d", end->n_calls,
                   most);
    }
    if (err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "too many tools");
        return;
    }
    if (ac_run_output_is_json(run)) {
        ac_buf_clear(&run->answer.text); /* what it says beside calls is no part of the JSON */
    }
    for (int i = 0; i < end->n_calls; i++) {
        ac_call_t *call = ac_run_call_get(run, i, &end->calls[i]);
        json_decref(call->arguments);
        ac_err_t bad;
        ac_err_init(&bad);
        const char *text = end->calls[i].arguments && *end->calls[i].arguments ? end->calls[i].arguments : "{}";
        if (ac_json_parse(&call->arguments, text, strlen(text), &bad) != APR_SUCCESS) {
            call->arguments = ac_json_text(text);
        } else if (call->tool) {
            /* Models write null for an argument that they leave out. */
            ac_schema_drop_nulls(call->tool->parameters, call->arguments);
        }
        if ((call->client || call->hosted) && !call->streamed) {
            ac_run_round_stream(call, text, strlen(text));
        }
    }
    ac_run_transit(run, AC_RUN_CALLING, "tools wanted");
}

/* A call has ended, or was ended: reports it to the breaker, counts its usage, and adds a step. */
static void note_end(ac_run_t *run, const ac_model_end_t *end, ac_breaker_result_e outcome)
{
    run_ask_end_reasoning(run);
    ac_run_round_end_hosted(run);
    ac_breaker_end(&run->ask.entry.gate->breaker, &run->ask.entry.ticket, outcome, ac_loop_now(run->engine->loop));
    ac_run_metrics_model_end(run, end);
    ac_usage_t before = run->cost.usage;
    double amount = ac_run_cost_amount(run);
    ac_run_cost_add(run, end);
    ac_run_cost_pass(run, &before, amount);
    ac_run_limit_spend(run);
    ac_run_trace_chat_end(run, end);
    ac_run_document_add_model_step(run, end);
}

/* Whether the fallback may replace the model: not after a refusal that the request itself has caused, nor after a
 * part of the answer. */
static bool may_stand_in(const ac_run_t *run, const ac_err_t *err)
{
    return run->ask.entry.gate->conf->fallback && !run->ask.answering && !run->err.kind &&
        (err->kind == AC_MODEL_REFUSED || err->kind == AC_OVERLOADED ||
         ac_breaker_result(err) == AC_BREAKER_RESULT_FAILED);
}

/* Switches to the fallback. */
static void fall_back(ac_run_t *run, const ac_err_t *err, bool asked)
{
    const ac_model_t *next = run->ask.entry.gate->conf->fallback;
    ac_metrics_add(AC_METRIC_MODEL_FALLBACKS, AC_LABELS(run->ask.entry.gate->breaker.metric), 1);
    if (asked) {
        free(run->ask.fallback_cause);
        run->ask.fallback_cause = ac_err_copy(err);
        ac_run_facts_t facts;
        ac_log_fields_t fields;
        ac_run_summary_fields(&fields, &facts, run);
        fields.model = run->ask.entry.gate->model->id;
        fields.error = ac_err_row(err->kind)->code;
        ac_log_about(AC_M542, &fields, err->status,
                     "run[%s] request[%s]: model[%s]: %s: %s (upstream status %d, id %s); model[%s] is asked "
                     "instead",
                     run->turn->run_id, run->turn->request_id, run->ask.entry.gate->model->id,
                     ac_err_row(err->kind)->code, err->detail, err->http_status,
                     err->upstream_id[0] ? err->upstream_id : "-", next->id);
    } else {
        ac_debug("run[%s] model[%s]: %s; model[%s] is asked instead", run->turn->run_id, run->ask.entry.gate->model->id,
                 err->detail, next->id);
    }
    ac_gate_leave(&run->ask.entry);
    ac_run_cost_commit(run);
    run->ask.fallback_of = run->ask.entry.gate->model->id;
    run->ask.entered = ac_clock();
    run->ask.entry.gate = ac_gate_get(&run->engine->gates, next);
    apr_cpystrn(run->ask.model, next->id, sizeof run->ask.model);
}

/* The answer in the form that it must have, in pieces that no buffer is too small for. */
static void show_held(ac_run_t *run)
{
    const char *text = run->answer.text.data;
    size_t left = ac_run_output_is_json(run) ? run->answer.text.len : 0;
    while (left > 0) {
        size_t n = left > HELD_PIECE ? ac_utf8_whole(text, HELD_PIECE) : left;
        ac_run_event_emit(run, AC_EVENT_TOKEN, NULL, text, n);
        text += n;
        left -= n;
    }
}

/* The model has said all. */
static void run_ask_end_answer(ac_run_t *run, ac_finish_e finish)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_run_output_check(run, finish, &err) == APR_SUCCESS) {
        show_held(run);
        ac_run_finish(run, AC_RUN_COMPLETED, NULL, "answer complete");
        return;
    }
    bool again = run->answer.n_rejected == 0 && finish != AC_FINISH_LENGTH;
    ac_run_output_reject(run, &err);
    if (again) {
        ac_run_transit(run, AC_RUN_ASKING, "the answer has not the wanted form");
    } else {
        ac_run_finish(run, AC_RUN_FAILED, &err, "the answer has not the wanted form");
    }
}

static void run_ask_on_end(void *baton, const ac_model_end_t *end)
{
    ac_run_t *run = baton;
    run->ask.call = NULL;
    if (end->model[0]) {
        apr_cpystrn(run->ask.model, end->model, sizeof run->ask.model);
    }
    note_end(run, end, ac_breaker_result(&end->err));
    run->ask.finish = end->finish;
    ac_run_carried_take(run, end);
    if (end->status != APR_SUCCESS && may_stand_in(run, &end->err)) {
        fall_back(run, &end->err, true);
        ac_run_ask_try(run);
    } else if (end->status != APR_SUCCESS) {
        if (end->err.kind == AC_CONTENT_FILTERED) {
            run->ask.finish = AC_FINISH_CONTENT_FILTER;
        }
        ac_run_finish(run, AC_RUN_FAILED, &end->err, "model failed");
    } else if (run->err.kind) {
        fail_later(run);
    } else if (end->finish == AC_FINISH_CONTENT_FILTER) {
        end_filtered(run);
    } else if (end->n_calls > 0) {
        want_tools(run, end);
    } else {
        run_ask_end_answer(run, end->finish);
    }
}

static void run_ask_on_retry(void *baton, const ac_err_t *err)
{
    ac_run_trace_chat_retry(baton, err);
}

/* ---- asking ---- */

static const ac_model_cb_t callbacks = {
    .on_text = run_ask_on_text,
    .on_tool_start = run_ask_on_tool_start,
    .on_tool_args = run_ask_on_tool_args,
    .on_end = run_ask_on_end,
    .on_retry = run_ask_on_retry,
    .on_annotation = run_ask_on_annotation,
    .on_reasoning = run_ask_on_reasoning,
    .on_hosted = run_ask_on_hosted,
};

/* For models whose reasoning is not shown: it is no beginning of an answer either. */
static const ac_model_cb_t unreasoned = {
    .on_text = run_ask_on_text,
    .on_tool_start = run_ask_on_tool_start,
    .on_tool_args = run_ask_on_tool_args,
    .on_end = run_ask_on_end,
    .on_retry = run_ask_on_retry,
    .on_annotation = run_ask_on_annotation,
    .on_hosted = run_ask_on_hosted,
};

/* Only an admitted run is stored: a rejected run leaves nothing behind, and the client can send its request again. */
static void run_ask_open_once(ac_run_t *run)
{
    if (run->open.requested) {
        return;
    }
    run->open.requested = true;
    if (ac_run_open_is_done(run)) {
        ac_run_event_release(run);
    } else {
        ac_run_open_write(run);
    }
}

static apr_status_t run_ask_model(ac_run_t *run, ac_err_t *err)
{
    const ac_agent_t *agent = run->agent;
    const ac_model_t *model = run->ask.entry.gate->model;
    run_ask_open_once(run);
    run->ask.answering = false;
    run->ask.first_token = 0;
    run->ask.started = ac_clock();
    run->ask.started_at = apr_time_now();
    ac_run_metrics_model_begin(run);
    ac_run_trace_chat_begin(run);
    ac_model_ask_t ask = {
        .temperature = agent->temperature,
        .max_tokens = ac_turn_max_tokens(run->turn, run->agent),
        .request_id = run->turn->request_id,
        .trace = &run->trace.asking,
    };
    json_t *messages = ac_run_files_shown(run, model, &ask), *tools = ac_client_tools_offer(run, &ask);
    ask.messages = messages = ac_run_carried_shown(messages, model);
    json_t *format = ac_run_output_format(run);
    ask.response_format = format;
    apr_status_t status =
        model->vt->ask(&run->ask.call, model->self, &ask, model->conf->reasoning ? &callbacks : &unreasoned, run, err);
    json_decref(messages);
    json_decref(tools);
    json_decref(format);
    if (status != APR_SUCCESS) {
        ac_model_end_t end = {.status = status, .finish = AC_FINISH_NONE, .err = *err};
        run->ask.call = NULL;
        note_end(run, &end, ac_breaker_result(err));
    }
    return status;
}

static void run_ask_give_up(ac_run_t *run, const ac_err_t *err, bool asked)
{
    /* The failure of a model says more than the rejection by the gate of its fallback. */
    run->ask.breaker_open = !asked && err->kind == AC_MODEL_ERROR && !run->ask.fallback_cause;
    ac_run_finish(run, AC_RUN_FAILED, !asked && run->ask.fallback_cause ? run->ask.fallback_cause : err,
                  "model not asked");
}

void ac_run_ask_try(void *baton)
{
    ac_run_t *run = baton;
    if (run->state != AC_RUN_ASKING || run->ask.call) {
        return; /* the run has ended since it was admitted */
    }
    for (;;) {
        ac_err_t err;
        ac_err_init(&err);
        ac_gate_e way = ac_gate_enter(&run->ask.entry, run->round > 1, &err);
        if (way == AC_GATE_QUEUED) {
            return;
        }
        if (way == AC_GATE_ADMITTED && run_ask_model(run, &err) == APR_SUCCESS) {
            return;
        }
        if (!may_stand_in(run, &err)) {
            run_ask_give_up(run, &err, way == AC_GATE_ADMITTED);
            return;
        }
        fall_back(run, &err, way == AC_GATE_ADMITTED);
    }
}

static void on_rejected(void *baton, const ac_err_t *err)
{
    ac_run_t *run = baton;
    if (may_stand_in(run, err)) {
        fall_back(run, err, false);
        ac_run_ask_try(run);
    } else {
        run_ask_give_up(run, err, false);
    }
}

/* Later, from the ready list: another run's end has freed the slot. */
static void on_admitted(void *baton)
{
    ac_run_t *run = baton;
    ac_loop_ready_set(run->engine->loop, &run->ready, ac_run_ask_try, run);
}

void ac_run_ask_init(ac_run_t *run)
{
    ac_gate_entry_t *entry = &run->ask.entry;
    ac_gate_entry_init(entry, run->slot.owner, run);
    entry->on_admitted = on_admitted;
    entry->on_rejected = on_rejected;
}

static void ask_with_files(ac_run_t *run, const char *cause, const ac_err_t *err)
{
    (void)cause;
    if (run->state != AC_RUN_ASKING) {
        ac_run_close_continue(run);
    } else if (err) {
        ac_run_finish(run, AC_RUN_FAILED, err, "files not read");
    } else {
        ac_run_ask_enter(run);
    }
}

void ac_run_ask_enter(ac_run_t *run)
{
    if (!ac_run_nesting_may_ask(run)) {
        ac_err_t err;
        ac_err_init(&err);
        ac_err_set(&err, AC_TOOL_ERROR, "the run has no model calls left for agents that are called as tools");
        ac_run_nesting_root(run)->nested.n_rounds--;
        ac_run_finish(run, AC_RUN_FAILED, &err, "no rounds left");
        return;
    }
    if (ac_run_files_missing(run)) {
        ac_run_files_load(run, ask_with_files, "images read");
        return;
    }
    if (!run->ask.entry.gate) {
        run->ask.entry.gate = ac_gate_get(&run->engine->gates, run->agent->model);
    }
    free(run->ask.fallback_cause);
    run->ask.fallback_cause = NULL;
    run->ask.fallback_of = NULL;
    run->ask.entered = ac_clock();
    run->ask.answering = false;
    run->answer.round_start = run->answer.text.len;
    /* Then ac_run_ask_try() follows the opening write. */
    if (ac_run_open_is_first(run) && !run->open.requested) {
        run_ask_open_once(run);
    } else {
        ac_run_ask_try(run);
    }
}

void ac_run_ask_stop(ac_run_t *run)
{
    if (!run->ask.call) {
        return;
    }
    run->ask.entry.gate->model->vt->cancel(run->ask.call);
    run->ask.call = NULL;
    /* The model's usage comes at the end of its answer and is lost; the step is kept. */
    ac_model_end_t end = {.status = APR_EINTR, .finish = AC_FINISH_NONE, .err = run->err};
    note_end(run, &end, run->ask.answering ? AC_BREAKER_RESULT_OK : AC_BREAKER_RESULT_UNKNOWN);
}
