/* SPDX-License-Identifier: Apache-2.0 */
/* The usage of a run and its cost, over all rounds and models. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

int64_t ac_run_cost_estimate_prompt(const ac_run_t *run)
{
    char *text = ac_json_dump(run->ask.messages, NULL);
    int64_t tokens = ac_history_estimate(text);
    free(text);
    return tokens;
}

void ac_run_cost_add(ac_run_t *run, const ac_model_end_t *end)
{
    ac_usage_t *sum = &run->cost.usage, before = *sum;
    if (end->usage.known) {
        sum->prompt += end->usage.prompt;
        sum->completion += end->usage.completion;
        sum->cached += end->usage.cached;
        sum->reasoning += end->usage.reasoning;
        sum->known = true;
        sum->estimated |= end->usage.estimated;
    } else if (run->ask.answering || end->status == APR_SUCCESS || end->status == APR_EINTR) {
        /* A round that was cut or cancelled costs tokens, too: before its first token those of the prompt. The
         * model's own figures come last, so there are none. */
        sum->prompt += ac_run_cost_estimate_prompt(run);
        sum->completion += (int64_t)(run->answer.text.len - run->answer.round_start + 3) / 4;
        for (int i = 0; i < end->n_calls; i++) {
            sum->completion += ac_history_estimate(end->calls[i].arguments);
        }
        sum->estimated = true;
    }
    sum->total = sum->prompt + sum->completion;
    ac_run_metrics_usage(run, &before);
}

/* The cost of the usage since the last commit, at the price of the current model. */
static json_t *cost_since(const ac_run_t *run)
{
    const ac_model_t *model = run->ask.entry.gate ? run->ask.entry.gate->model : run->agent->model;
    ac_usage_t usage = run->cost.usage;
    usage.prompt -= run->cost.paid.prompt;
    usage.cached -= run->cost.paid.cached;
    usage.completion -= run->cost.paid.completion;
    return ac_record_cost(&usage, &model->conf->price);
}

json_t *ac_run_cost_json(const ac_run_t *run)
{
    if (!run->agent || run->cost.unpriced || (!run->ask.entry.gate && !run->agent->model)) {
        return json_null();
    }
    json_t *cost = cost_since(run), *amount = json_object_get(cost, "amount");
    if (amount) {
        json_real_set(amount, json_real_value(amount) + run->cost.paid_amount);
    }
    return cost;
}

void ac_run_cost_commit(ac_run_t *run)
{
    json_t *cost = cost_since(run);
    if (run->cost.usage.total > run->cost.paid.total && json_is_null(cost)) {
        run->cost.unpriced = true;
    }
    run->cost.paid_amount += json_real_value(json_object_get(cost, "amount"));
    run->cost.paid = run->cost.usage;
    json_decref(cost);
}

double ac_run_cost_amount(const ac_run_t *run)
{
    json_t *cost = ac_run_cost_json(run);
    double amount = json_number_value(json_object_get(cost, "amount"));
    json_decref(cost);
    return amount;
}

static void cost_add_usage(ac_usage_t *sum, const ac_usage_t *now, const ac_usage_t *before)
{
    sum->prompt += now->prompt - before->prompt;
    sum->completion += now->completion - before->completion;
    sum->cached += now->cached - before->cached;
    sum->reasoning += now->reasoning - before->reasoning;
    sum->total += now->total - before->total;
    sum->known |= now->known;
    sum->estimated |= now->estimated;
}

/* Sums have one currency; "": the cost is not known. */
static const char *currency_of(const ac_run_t *run)
{
    return run->cost.unpriced || !run->agent->model ? "" : run->agent->model->conf->price.currency;
}

void ac_run_cost_move(ac_run_t *run, const ac_agent_t *to)
{
    ac_run_cost_commit(run);
    if (to->model && strcmp(currency_of(run), to->model->conf->price.currency) != 0) {
        run->cost.unpriced = true;
    }
}

void ac_run_cost_pass(ac_run_t *run, const ac_usage_t *before, double amount)
{
    double more = ac_run_cost_amount(run) - amount;
    for (ac_run_t *outer = run->nested.outer; outer; outer = outer->nested.outer) {
        cost_add_usage(&outer->cost.usage, &run->cost.usage, before);
        cost_add_usage(&outer->cost.paid, &run->cost.usage, before);
        outer->cost.paid_amount += more;
        outer->cost.unpriced |= !*currency_of(run) || strcmp(currency_of(run), currency_of(outer)) != 0;
    }
}
