/* SPDX-License-Identifier: Apache-2.0 */
/* The limits of a run: reserves before the first model call, spends with each answer, releases at the end. A limit
 * never stops a run that has begun. */
#include "run_internal.h"

#include <string.h>

/* ---- what it may take ---- */

/* The first model without a price among the agent's model and its fallbacks; NULL: all have one. */
static const ac_model_t *find_unpriced(const ac_run_t *run)
{
    static const ac_usage_t nothing;
    const ac_model_t *model = run->agent->model;
    bool priced = true;
    while (model && priced) {
        json_t *cost = ac_record_cost(&nothing, &model->conf->price);
        priced = !json_is_null(cost);
        json_decref(cost);
        if (priced) {
            model = ac_gate_get(&run->engine->gates, model)->conf->fallback;
        }
    }
    return model;
}

/* The amounts of one prompt and one answer; later rounds are counted as they come. */
static void estimate(const ac_run_t *run, int64_t amounts[AC_N_MEASURES])
{
    const ac_agent_t *agent = run->agent;
    int max_tokens = ac_turn_max_tokens(run->turn, run->agent);
    ac_model_ask_t ask = {.max_tokens = max_tokens};
    json_t *offered = ac_client_tools_offer(run, &ask);
    char *tools = offered ? ac_json_dump(offered, NULL) : NULL;
    ac_usage_t usage = {.prompt = ac_run_cost_estimate_prompt(run) + ac_history_estimate(tools),
                        .completion = max_tokens ? max_tokens : AC_RESERVED_ANSWER};
    json_t *cost = ac_record_cost(&usage, &agent->model->conf->price);
    free(tools);
    json_decref(offered);
    amounts[AC_LIMIT_REQUESTS] = amounts[AC_LIMIT_STREAMS] = amounts[AC_LIMIT_RUNS] = 1;
    amounts[AC_LIMIT_TOKENS] = usage.prompt + usage.completion;
    amounts[AC_LIMIT_COST] = ac_quota_money(json_number_value(json_object_get(cost, "amount")));
    json_decref(cost);
}

/* The reservation of runs=, made before the agent is known. NULL: no such limit. */
static ac_reservation_t *want_start(const ac_run_t *run)
{
    ac_quota_places_t places = ac_quota_places(run->turn->quota, NULL);
    ac_reservation_t *reservation = NULL;
    for (int i = 0; i < places.n; i++) {
        for (int j = 0; j < places.list[i]->n; j++) {
            const ac_limit_t *limit = &places.list[i]->list[j];
            if (ac_reservation_phase(limit) == AC_PHASE_START) {
                ac_reservation_add(&reservation, places.list[i], limit, &run->turn->quota->subject, 1);
            }
        }
    }
    return reservation;
}

/* The run has begun already: it is counted, and no limit refuses it. */
static void lift(ac_reservation_t *reservation)
{
    for (int i = 0; reservation && i < reservation->n; i++) {
        reservation->list[i].most = AC_MAX_LIMIT;
    }
}

static bool run_limit_counts(const ac_quota_t *quota, const ac_agent_t *agent)
{
    ac_quota_places_t places = ac_quota_places(quota, agent);
    for (int i = 0; i < places.n; i++) {
        for (int j = 0; j < places.list[i]->n; j++) {
            if (ac_quota_counts(agent, places.list[i], &places.list[i]->list[j])) {
                return true;
            }
        }
    }
    return false;
}

/* The limits of all agents of the path count a nested run. */
static bool has_any(const ac_run_t *run)
{
    for (const ac_run_t *at = run; at; at = at->nested.outer) {
        if (run_limit_counts(run->turn->quota, at->agent)) {
            return true;
        }
    }
    return false;
}

/* A nested run is no request of a client, no stream and no run of its own: limits on tokens and cost count it. */
static ac_reservation_t *run_limit_want(const ac_run_t *run, const int64_t amounts[AC_N_MEASURES])
{
    int64_t mine[AC_N_MEASURES];
    memcpy(mine, amounts, sizeof mine);
    if (run->nested.outer) {
        mine[AC_LIMIT_REQUESTS] = mine[AC_LIMIT_STREAMS] = mine[AC_LIMIT_RUNS] = -1;
    }
    ac_reservation_t *reservation = ac_quota_want(run->turn->quota, run->agent, mine);
    for (const ac_run_t *outer = run->nested.outer; outer; outer = outer->nested.outer) {
        ac_quota_want_agent(&reservation, run->turn->quota, outer->agent, mine);
    }
    return reservation;
}

/* ---- runs under way ---- */

static void on_begun(void *baton, apr_status_t status, const ac_err_t *err)
{
    ac_run_t *run = baton;
    run->n_ops--;
    if (status != APR_SUCCESS) {
        if (err->kind == AC_RATE_LIMITED) {
            ac_quota_publish(run->turn->quota, run->limits.started, NULL);
        }
        free(run->limits.started);
        run->limits.started = NULL;
        run->limits.refused = ac_err_copy(err);
    }
    if (run->state == AC_RUN_QUEUED) {
        ac_run_slot_admit(run);
    } else {
        ac_run_close_continue(run); /* cancelled meanwhile */
    }
}

void ac_run_limit_count(ac_run_t *run)
{
    ac_err_t err;
    bool counts = run->engine->counters && run->turn->quota;
    run->limits.started = counts ? want_start(run) : NULL;
    if (!run->limits.started) {
        ac_run_slot_admit(run);
        return;
    }
    ac_err_init(&err);
    run->n_ops++;
    ac_reservation_trace(run->limits.started, ac_run_trace_context(run));
    apr_status_t status = ac_counters_reserve(run->engine->counters, run->limits.started, on_begun, run, &err);
    if (status != APR_EINPROGRESS) {
        on_begun(run, status, &err);
    }
}

void ac_run_limit_uncount(ac_run_t *run)
{
    if (run->limits.started) {
        ac_counters_release(run->engine->counters, run->limits.started);
    }
    run->limits.started = NULL;
}

/* ---- before the model ---- */

static void run_limit_refuse(ac_run_t *run, const ac_err_t *err)
{
    ac_run_finish(run, AC_RUN_FAILED, err, "not within its limits");
}

static void on_counted(void *baton, apr_status_t status, const ac_err_t *err)
{
    ac_run_t *run = baton;
    run->n_ops--;
    run->limits.is_admitting = false;
    if (status == APR_SUCCESS || err->kind != AC_OVERLOADED) {
        ac_quota_publish(run->turn->quota, run->limits.started, run->limits.reserved);
    }
    if (status != APR_SUCCESS) {
        free(run->limits.reserved);
        run->limits.reserved = NULL;
    }
    if (run->state != AC_RUN_LOADING) {
        ac_run_limit_release(run);
        ac_run_close_continue(run);
    } else if (status != APR_SUCCESS) {
        run_limit_refuse(run, err);
    } else {
        ac_run_transit(run, AC_RUN_ASKING, "within its limits");
    }
}

void ac_run_limit_admit(ac_run_t *run, const char *cause)
{
    int64_t amounts[AC_N_MEASURES];
    ac_err_t err;
    ac_err_init(&err);
    /* A restarted run keeps its first reservation. */
    if (run->limits.reserved || !run->engine->counters || !run->turn->quota || !has_any(run)) {
        if (run->limits.started) {
            ac_quota_publish(run->turn->quota, run->limits.started, NULL);
        }
        ac_run_transit(run, AC_RUN_ASKING, cause);
        return;
    }
    estimate(run, amounts);
    run->limits.reserved = run_limit_want(run, amounts);
    const ac_model_t *unpriced = ac_quota_wants_cost(run->limits.reserved) ? find_unpriced(run) : NULL;
    if (unpriced) {
        free(run->limits.reserved);
        run->limits.reserved = NULL;
        ac_run_facts_t facts;
        ac_log_fields_t fields;
        ac_run_summary_fields(&fields, &facts, run);
        fields.model = unpriced->id;
        ac_log_about(
            AC_M545, &fields, APR_SUCCESS,
            "run[%s] agent[%s]: the cost of model[%s] is unknown (AgentChatPrice), so a budget does not allow it",
            run->turn->run_id, run->agent->id, unpriced->id);
        ac_err_set(&err, AC_BUDGET_EXCEEDED, "there is a budget, but the agent's model, or its fallback, has no price");
        run_limit_refuse(run, &err);
        return;
    }
    run->n_ops++;
    run->limits.is_admitting = true;
    ac_reservation_trace(run->limits.reserved, ac_run_trace_context(run));
    apr_status_t status = ac_counters_reserve(run->engine->counters, run->limits.reserved, on_counted, run, &err);
    if (status != APR_EINPROGRESS) {
        on_counted(run, status, &err);
    }
}

/* ---- with each answer, and at the end ---- */

void ac_run_limit_spend(ac_run_t *run)
{
    if (!run->limits.reserved) {
        return;
    }
    ac_counters_t *counters = run->engine->counters;
    json_t *cost = ac_run_cost_json(run);
    int64_t spent = ac_quota_money(json_number_value(json_object_get(cost, "amount"))), tokens = run->cost.usage.total;
    json_decref(cost);
    int64_t more = tokens - run->limits.spent_tokens, paid = spent - run->limits.spent_cost;
    paid = paid > 0 ? paid : 0;
    ac_counters_spend(counters, run->limits.reserved, AC_LIMIT_TOKENS, more);
    ac_counters_spend(counters, run->limits.reserved, AC_LIMIT_COST, paid);
    /* The reservation of a nested run has the limits of its outer runs, too. */
    for (ac_run_t *at = run; at; at = at->nested.outer) {
        at->limits.spent_tokens += more;
        at->limits.spent_cost += paid;
    }
}

void ac_run_limit_release(ac_run_t *run)
{
    if (run->limits.reserved) {
        ac_counters_release(run->engine->counters, run->limits.reserved);
    }
    run->limits.reserved = NULL;
}

/* ---- of a resumed run ---- */

typedef struct again_t {
    ac_run_t *run;
    ac_reservation_t *reservation, **pmine; /* the run's field for them */
} again_t;

static void on_counted_again(void *baton, apr_status_t status, const ac_err_t *err)
{
    again_t *again = baton;
    ac_run_t *run = again->run;
    (void)err; /* no limit stops a run that has begun */
    if (status == APR_SUCCESS) {
        if (*again->pmine) { /* two agents have taken the run over meanwhile */
            ac_counters_release(run->engine->counters, *again->pmine);
        }
        *again->pmine = again->reservation;
    } else {
        free(again->reservation);
    }
    free(again);
    run->n_ops--;
    if (run->state == AC_RUN_SAVING) {
        ac_run_limit_release(run);
        ac_run_close_continue(run);
    } else if (run->state == AC_RUN_CALLING) {
        ac_run_call_moved(run);
    }
}

static void take_again(ac_run_t *run, ac_reservation_t *reservation, ac_reservation_t **pmine)
{
    ac_err_t err;
    if (!reservation) {
        return;
    }
    again_t *again = ac_alloc(sizeof *again);
    *again = (again_t){run, reservation, pmine};
    lift(reservation);
    ac_err_init(&err);
    run->n_ops++;
    apr_status_t status = ac_counters_reserve(run->engine->counters, reservation, on_counted_again, again, &err);
    if (status != APR_EINPROGRESS) {
        on_counted_again(again, status, &err);
    }
}

static const int64_t itself[AC_N_MEASURES] = {[AC_LIMIT_STREAMS] = 1, [AC_LIMIT_RUNS] = 1};

/* What other reservations have counted. */
static void note_spent(ac_run_t *run)
{
    json_t *spent = ac_run_cost_json(run);
    run->limits.spent_tokens = run->cost.usage.total;
    run->limits.spent_cost = ac_quota_money(json_number_value(json_object_get(spent, "amount")));
    json_decref(spent);
}

void ac_run_limit_resume(ac_run_t *run)
{
    note_spent(run);
    if (!run->engine->counters || !run->turn->quota) {
        return;
    }
    if (!run->nested.outer) {
        take_again(run, want_start(run), &run->limits.started);
    }
    if (has_any(run)) {
        take_again(run, run_limit_want(run, itself), &run->limits.reserved);
    }
}

void ac_run_limit_move(ac_run_t *run)
{
    ac_run_limit_release(run);
    note_spent(run);
    if (run->engine->counters && run->turn->quota && has_any(run)) {
        take_again(run, run_limit_want(run, itself), &run->limits.reserved);
    }
}
