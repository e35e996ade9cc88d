/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted of a run. No text of a conversation, no id and no owner gets here. */
#include "run_internal.h"

#include <math.h>

static unsigned agent_of(const ac_run_t *run)
{
    return run->agent ? run->agent->metric : AC_METRIC_OTHER;
}

static unsigned model_of(const ac_run_t *run)
{
    const ac_model_t *model = run->ask.entry.gate ? run->ask.entry.gate->model : run->agent ? run->agent->model : NULL;
    return model && model->conf ? model->conf->metric : AC_METRIC_OTHER;
}

/* ---- models ---- */

void ac_run_metrics_model_begin(const ac_run_t *run)
{
    ac_metrics_gauge_add(AC_METRIC_MODEL_CALLS_ACTIVE, AC_LABELS(model_of(run)), 1);
}

void ac_run_metrics_model_answered(const ac_run_t *run)
{
    ac_metrics_observe(AC_METRIC_MODEL_FIRST_TOKEN, AC_LABELS(model_of(run)), ac_clock() - run->ask.started,
                       &run->turn->trace);
}

void ac_run_metrics_model_end(ac_run_t *run, const ac_model_end_t *end)
{
    apr_interval_time_t took = ac_clock() - run->ask.started;
    ac_kind_e kind = end->status == APR_SUCCESS ? AC_OK : end->err.kind ? end->err.kind : AC_CANCELLED;
    run->times.working += took;
    run->times.asking += took;
    ac_metrics_gauge_add(AC_METRIC_MODEL_CALLS_ACTIVE, AC_LABELS(model_of(run)), -1);
    ac_metrics_add(AC_METRIC_MODEL_CALLS, AC_LABELS(model_of(run), kind), 1);
    ac_metrics_observe(AC_METRIC_MODEL_CALL_DURATION, AC_LABELS(model_of(run), kind), took, &run->turn->trace);
}

void ac_run_metrics_tokens(unsigned agent, const ac_model_t *asked, const ac_usage_t *usage)
{
    const ac_price_t *price = asked && asked->conf ? &asked->conf->price : NULL;
    unsigned model = asked && asked->conf ? asked->conf->metric : AC_METRIC_OTHER;
    double amount;
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(agent, model, AC_TOKENS_INPUT), (uint64_t)usage->prompt);
    ac_metrics_add(AC_METRIC_TOKENS, AC_LABELS(agent, model, AC_TOKENS_OUTPUT), (uint64_t)usage->completion);
    ac_metrics_add(AC_METRIC_CACHED_TOKENS, AC_LABELS(agent, model), (uint64_t)usage->cached);
    ac_metrics_add(AC_METRIC_REASONING_TOKENS, AC_LABELS(agent, model), (uint64_t)usage->reasoning);
    if (ac_record_amount(&amount, usage, price) && amount > 0 && amount < 1e9) {
        ac_metrics_add(AC_METRIC_COST, AC_LABELS(agent, model, ac_metrics_index(AC_DOMAIN_CURRENCY, price->currency)),
                       (uint64_t)llround(amount * (double)AC_COST_ONE));
    }
}

void ac_run_metrics_usage(const ac_run_t *run, const ac_usage_t *before)
{
    const ac_gate_t *gate = run->ask.entry.gate;
    ac_usage_t usage = run->cost.usage;
    usage.prompt -= before->prompt;
    usage.completion -= before->completion;
    usage.cached -= before->cached;
    usage.reasoning -= before->reasoning;
    if (usage.prompt < 0 || usage.completion < 0 || usage.cached < 0 || usage.reasoning < 0) {
        return; /* figures that no model can mean; a counter never falls */
    }
    ac_run_metrics_tokens(agent_of(run), gate ? gate->model : NULL, &usage);
}

void ac_run_metrics_history(const ac_run_t *run, const ac_history_cut_t *cut)
{
    if (cut->results) {
        ac_metrics_add(AC_METRIC_HISTORY_CUTS, AC_LABELS(agent_of(run), AC_HISTORY_RESULTS), 1);
    }
    if (cut->summary) {
        ac_metrics_add(AC_METRIC_HISTORY_CUTS, AC_LABELS(agent_of(run), AC_HISTORY_SUMMARY), 1);
    }
    if (cut->messages) {
        ac_metrics_add(AC_METRIC_HISTORY_CUTS, AC_LABELS(agent_of(run), AC_HISTORY_MESSAGES), 1);
    }
}

/* ---- tools ---- */

void ac_run_metrics_tool_end(const ac_call_t *call, ac_tool_outcome_e outcome)
{
    unsigned tool = call->tool ? call->tool->metric : AC_METRIC_OTHER;
    ac_metrics_add(AC_METRIC_TOOL_CALLS, AC_LABELS(tool, outcome), 1);
    if (call->begun) {
        ac_metrics_observe(AC_METRIC_TOOL_CALL_DURATION, AC_LABELS(tool, outcome), call->took, &call->run->turn->trace);
    }
}

void ac_run_metrics_tools_begin(ac_run_t *run)
{
    run->times.calling = ac_clock();
}

static bool is_storing(const ac_run_t *run)
{
    return run->state == AC_RUN_LOADING || run->state == AC_RUN_SAVING || run->state == AC_RUN_SUSPENDING;
}

void ac_run_metrics_leave_state(ac_run_t *run)
{
    apr_time_t now = ac_clock();
    if (run->times.calling) {
        run->times.working += now - run->times.calling;
    }
    if (is_storing(run)) {
        run->times.storing += now - run->times.in_state;
    }
    run->times.calling = 0;
    run->times.in_state = now;
}

void ac_run_metrics_publish(const ac_run_t *run)
{
    ac_quota_t *quota = run->turn->quota;
    apr_interval_time_t asking = run->times.asking, storing = run->times.storing;
    if (!quota) {
        return;
    }
    asking += run->ask.call ? ac_clock() - run->ask.started : 0;
    storing += is_storing(run) ? ac_clock() - run->times.in_state : 0;
    atomic_store_explicit(&quota->store_time, storing, memory_order_relaxed);
    atomic_store_explicit(&quota->model_time, asking, memory_order_relaxed);
    atomic_store_explicit(&quota->tool_time, run->times.working - run->times.asking, memory_order_relaxed);
}

/* ---- the run ---- */

apr_interval_time_t ac_run_metrics_took(const ac_run_t *run)
{
    return run->times.earlier + ac_clock() - run->times.entered;
}

void ac_run_metrics_end(const ac_run_t *run)
{
    unsigned agent = agent_of(run), status = (unsigned)(run->outcome - AC_RUN_COMPLETED);
    ac_kind_e cause = run->outcome == AC_RUN_FAILED || run->err.kind == AC_STOPPING ? run->err.kind : AC_OK;
    apr_interval_time_t took = ac_run_metrics_took(run);
    ac_metrics_observe(AC_METRIC_RUN_DURATION, AC_LABELS(agent, cause), took, &run->turn->trace);
    ac_metrics_observe(AC_METRIC_RUN_OVERHEAD, AC_LABELS(agent, run->turn->protocol), took - run->times.working,
                       &run->turn->trace);
    if (run->times.first_token) {
        ac_metrics_observe(AC_METRIC_FIRST_TOKEN, AC_LABELS(agent, model_of(run)), run->times.first_token,
                           &run->turn->trace);
    }
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(agent, ac_metrics_run_status(run->turn->protocol, status), cause), 1);
}

void ac_run_metrics_queue(const ac_engine_t *engine)
{
    ac_metrics_gauge_set(AC_METRIC_RUNS_QUEUED, AC_NO_LABELS, engine->queue.n_queued);
}
