/* SPDX-License-Identifier: Apache-2.0 */
/* What a run has done and used so far, for log lines and for the request that started it. */
#include "run_internal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct ac_run_summary_t {
    atomic_uint refs;
    pthread_mutex_t lock;
    ac_run_facts_t facts;
};

ac_run_summary_t *ac_run_summary_create(void)
{
    ac_run_summary_t *summary = ac_alloc(sizeof(*summary));
    atomic_init(&summary->refs, 1);
    pthread_mutex_init(&summary->lock, NULL);
    return summary;
}

ac_run_summary_t *ac_run_summary_ref(ac_run_summary_t *summary)
{
    atomic_fetch_add_explicit(&summary->refs, 1, memory_order_relaxed);
    return summary;
}

void ac_run_summary_unref(ac_run_summary_t *summary)
{
    if (summary && atomic_fetch_sub_explicit(&summary->refs, 1, memory_order_acq_rel) == 1) {
        pthread_mutex_destroy(&summary->lock);
        free(summary);
    }
}

void ac_run_summary_get(ac_run_summary_t *summary, ac_run_facts_t *facts)
{
    pthread_mutex_lock(&summary->lock);
    *facts = summary->facts;
    pthread_mutex_unlock(&summary->lock);
}

void ac_run_summary_collect(ac_run_facts_t *facts, const ac_run_t *run)
{
    *facts = (ac_run_facts_t){.protocol = run->turn->protocol,
                              .status = ac_run_document_status(run),
                              .error = run->err.kind,
                              .usage = run->cost.usage,
                              .took = ac_run_metrics_took(run),
                              .first_token = run->times.first_token,
                              .store = run->store.took,
                              .rounds = run->round,
                              .tool_calls = (int)json_array_size(run->answer.tool_calls)};
    apr_cpystrn(facts->run_id, run->turn->run_id, sizeof(facts->run_id));
    apr_cpystrn(facts->thread_id, run->turn->thread_id, sizeof(facts->thread_id));
    if (!run->agent) {
        return;
    }
    apr_cpystrn(facts->agent, run->agent->id, sizeof(facts->agent));
    apr_cpystrn(facts->model, ac_run_document_model(run), sizeof(facts->model));
    json_t *cost = ac_run_cost_json(run);
    facts->cost = json_number_value(json_object_get(cost, "amount"));
    apr_cpystrn(facts->currency, ac_json_peek_string(cost, "currency", ""), sizeof(facts->currency));
    json_decref(cost);
}

void ac_run_summary_note(const ac_run_t *run)
{
    ac_run_summary_t *summary = run->turn->summary;
    ac_run_facts_t facts;
    if (!summary) {
        return;
    }
    ac_run_summary_collect(&facts, run);
    pthread_mutex_lock(&summary->lock);
    summary->facts = facts;
    pthread_mutex_unlock(&summary->lock);
}

void ac_run_summary_attach(ac_run_t *run, const char *run_id)
{
    ac_run_summary_t *summary = run->turn->summary;
    if (!summary) {
        return;
    }
    pthread_mutex_lock(&summary->lock);
    summary->facts = (ac_run_facts_t){.status = NULL};
    apr_cpystrn(summary->facts.run_id, run_id, sizeof(summary->facts.run_id));
    pthread_mutex_unlock(&summary->lock);
    run->turn->summary = NULL;
    ac_run_summary_unref(summary);
}

void ac_run_summary_fields(ac_log_fields_t *fields, ac_run_facts_t *facts, const ac_run_t *run)
{
    ac_run_summary_collect(facts, run);
    *fields = (ac_log_fields_t){.run = facts->run_id,
                                .thread = facts->thread_id,
                                .request = run->turn->request_id,
                                .protocol = ac_metrics_protocol(facts->protocol),
                                .agent = facts->agent,
                                .model = facts->model,
                                .status = facts->status,
                                .error = facts->error ? ac_err_row(facts->error)->code : NULL,
                                .rounds = facts->rounds,
                                .tool_calls = facts->tool_calls,
                                .latency = facts->took,
                                .first_token = facts->first_token,
                                .store = facts->store,
                                .usage = &facts->usage,
                                .currency = facts->currency,
                                .cost = facts->cost,
                                .trace = &run->turn->trace};
}

void ac_run_summary_log(const ac_run_t *run, const ac_log_fields_t *fields)
{
    if (run->err.kind != AC_IDEMPOTENCY_CONFLICT) { /* the second one is no run of its own: it follows an earlier one */
        ac_run_summary_write(fields);
    }
}

static const char *known(const char *text)
{
    return text && *text ? text : "-";
}

void ac_run_summary_write(const ac_log_fields_t *fields)
{
    const ac_usage_t *usage = fields->usage;
    char cost[AC_AMOUNT_SIZE + 8] = "unknown cost", amount[AC_AMOUNT_SIZE];
    if (!ac_log_on(AC_INFO)) {
        return;
    }
    if (fields->currency && fields->currency[0]) {
        ac_text_amount(amount, fields->cost);
        apr_snprintf(cost, sizeof(cost), "%s %s", amount, fields->currency);
    }
    ac_log_about(AC_M504, fields, APR_SUCCESS,
                 "run[%s] thread[%s] agent[%s] model[%s] request[%s]: %s%s%s after %d ms: first token %d ms, store %d "
                 "ms, %d rounds, %d tool calls, %s%" PRId64 " tokens in (%" PRId64 " cached), %" PRId64 " out, %s",
                 fields->run, known(fields->thread), known(fields->agent), known(fields->model), known(fields->request),
                 fields->status, fields->error ? " " : "", fields->error ? fields->error : "",
                 (int)apr_time_as_msec(fields->latency),
                 fields->first_token ? (int)apr_time_as_msec(fields->first_token) : -1,
                 (int)apr_time_as_msec(fields->store), fields->rounds, fields->tool_calls,
                 usage->estimated ? "about " : "", usage->prompt, usage->cached, usage->completion, cost);
}
