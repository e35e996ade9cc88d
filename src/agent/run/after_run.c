/* SPDX-License-Identifier: Apache-2.0 */
/* A model call after a run: its limits, its result and its usage. */
#include "after_run.h"

#include <stdlib.h>
#include <string.h>

#define LOG_EVERY apr_time_from_sec(60)

/* ---- its end ---- */

void ac_after_run_log(ac_after_run_t *after, const char *why, const ac_err_t *err)
{
    const ac_after_run_kind_t *kind = after->kind;
    apr_time_t *plogged = &after->engine->after_runs.logged[kind->which];
    apr_time_t now = ac_clock();
    ac_log_fields_t fields = {.run = after->run_id,
                              .thread = after->thread_id,
                              .request = after->request_id,
                              .agent = after->agent->id,
                              .model = after->model->id,
                              .error = err && err->kind ? ac_err_row(err->kind)->code : NULL,
                              .trace = &after->trace};
    const char *detail = err && err->kind ? err->detail : why;
    if (*plogged && now < *plogged + LOG_EVERY) {
        ac_debug_about(&fields, "%s after run[%s]: model[%s]: %s", kind->name, after->run_id, after->model->id, detail);
        return;
    }
    *plogged = now;
    ac_log_about(kind->message, &fields, err ? err->status : APR_SUCCESS,
                 "%s after run[%s] agent[%s] request[%s]: model[%s]: %s; %s", kind->name, after->run_id,
                 after->agent->id, after->request_id, after->model->id, detail, kind->without);
}

static void count_outcome(const ac_after_run_kind_t *kind, const ac_agent_t *agent, const ac_model_t *model,
                          unsigned outcome)
{
    ac_metrics_add(kind->metric, AC_LABELS(agent->metric, model->conf ? model->conf->metric : AC_METRIC_OTHER, outcome),
                   1);
}

static void after_run_free(ac_after_run_t *after)
{
    ac_engine_t *engine = after->engine;
    void (*left)(ac_engine_t *) = after->left;
    ac_after_run_t **at = &engine->after_runs.list;
    while (*at != after) {
        at = &(*at)->next;
    }
    *at = after->next;
    engine->after_runs.n--;
    count_outcome(after->kind, after->agent, after->model, after->outcome);
    ac_loop_ready_cancel(engine->loop, &after->ready);
    ac_timer_cancel(engine->loop, &after->timer);
    ac_buf_free(&after->text);
    ac_trace_clear(&after->trace);
    json_decref(after->messages);
    if (after->kind->clear) {
        after->kind->clear(after);
    }
    ac_quota_unref(after->quota);
    ac_agents_unref(after->agents);
    free(after);
    left(engine);
}

static void after_run_free_later(void *baton)
{
    after_run_free(baton);
}

void ac_after_run_leave(ac_after_run_t *after)
{
    if (after->ended && after->n_ops == 0) {
        ac_loop_ready_set(after->engine->loop, &after->ready, after_run_free_later, after);
    }
}

/* ---- 4: storing ---- */

void ac_after_run_on_stored(ac_store_op_t *op)
{
    ac_after_run_t *after = op->baton;
    after->n_ops--;
    if (op->status == APR_SUCCESS) {
        after->outcome = AC_AFTER_RUN_SET;
    } else if (op->err.kind == AC_PRECONDITION_FAILED || op->err.kind == AC_NOT_FOUND) {
        after->outcome = AC_AFTER_RUN_KEPT;
    } else {
        ac_after_run_log(after, "the store failed", &op->err);
    }
    ac_store_op_free(op);
    ac_after_run_leave(after);
}

static void on_usage_counted(ac_store_op_t *op)
{
    ac_after_run_t *after = op->baton;
    after->n_ops--;
    ac_store_op_free(op);
    ac_after_run_leave(after);
}

void ac_after_run_store(ac_after_run_t *after, ac_store_verb_e verb, json_t *in, void (*done)(ac_store_op_t *op))
{
    bool counts = verb == AC_STORE_USAGE_ADD;
    ac_store_op_t *op = ac_store_op_create(verb, after->owner, counts ? after->run_id : after->thread_id);
    if (!op) {
        abort();
    }
    ac_store_op_trace(op, &after->trace);
    op->in = in;
    op->deadline = ac_clock() + after->engine->conf.store_timeout;
    op->page.limit = 1; /* of MESSAGE_LIST */
    after->n_ops++;
    ac_store_call_post(after->engine->store, after->engine->loop, op, done, after);
}

static void store_usage(ac_after_run_t *after)
{
    static const ac_price_t no_price;
    json_t *in = json_object();
    ac_json_put(in, "created_at", ac_time_json(after->created_at));
    ac_json_put(in, "agent_id", ac_json_text(after->agent->id));
    ac_json_put(in, "model", ac_json_text(after->answered_by));
    ac_json_put(in, "usage", ac_record_usage(&after->usage));
    ac_json_put(in, "cost", ac_record_cost(&after->usage, after->model->conf ? &after->model->conf->price : &no_price));
    ac_json_put(in, "made", json_string(after->kind->name));
    ac_after_run_store(after, AC_STORE_USAGE_ADD, in, on_usage_counted);
}

void ac_after_run_end(ac_after_run_t *after, unsigned outcome, json_t *result)
{
    after->ended = true;
    after->outcome = outcome;
    ac_timer_cancel(after->engine->loop, &after->timer);
    ac_loop_ready_cancel(after->engine->loop, &after->ready);
    ac_gate_leave(&after->entry);
    if (after->reserved && after->n_ops == 0) {
        ac_counters_release(after->engine->counters, after->reserved);
        after->reserved = NULL;
    }
    if (after->usage.total > 0) {
        store_usage(after);
    }
    if (result) {
        after->kind->store(after, result);
    }
    ac_after_run_leave(after);
}

/* ---- 2: the limits ---- */

static void on_reserved(void *baton, apr_status_t status, const ac_err_t *err)
{
    ac_after_run_t *after = baton;
    after->n_ops--;
    if (status != APR_SUCCESS) {
        ac_debug("%s after run[%s]: %s", after->kind->name, after->run_id, err->detail);
        free(after->reserved);
        after->reserved = NULL;
    }
    if (after->ended) {
        ac_counters_release(after->engine->counters, after->reserved);
        after->reserved = NULL;
        ac_after_run_leave(after);
    } else if (status != APR_SUCCESS) {
        ac_after_run_end(after, AC_AFTER_RUN_SKIPPED, NULL);
    } else {
        ac_after_run_call_begin(after);
    }
}

void ac_after_run_reserve(ac_after_run_t *after)
{
    ac_counters_t *counters = after->engine->counters;
    ac_usage_t most = {.prompt = ac_after_run_call_estimate(after), .completion = after->conf->max_tokens};
    double amount = 0;
    bool known = after->model->conf && ac_record_amount(&amount, &most, &after->model->conf->price);
    ac_err_t err;
    ac_err_init(&err);
    if (counters && after->quota) {
        int64_t amounts[AC_N_MEASURES];
        for (int i = 0; i < AC_N_MEASURES; i++) {
            amounts[i] = -1; /* it is no run, and no request */
        }
        amounts[AC_LIMIT_TOKENS] = most.prompt + most.completion;
        amounts[AC_LIMIT_COST] = ac_quota_money(known ? amount : 0);
        after->reserved = ac_quota_want(after->quota, after->agent, amounts);
    }
    if (!after->reserved) {
        ac_after_run_call_begin(after);
        return;
    }
    if (!known && ac_quota_wants_cost(after->reserved)) {
        ac_debug("%s after run[%s]: there is a budget, and model[%s] has no price", after->kind->name, after->run_id,
                 after->model->id);
        free(after->reserved);
        after->reserved = NULL;
        ac_after_run_end(after, AC_AFTER_RUN_SKIPPED, NULL);
        return;
    }
    after->n_ops++;
    ac_reservation_trace(after->reserved, &after->trace);
    apr_status_t status = ac_counters_reserve(counters, after->reserved, on_reserved, after, &err);
    if (status != APR_EINPROGRESS) {
        on_reserved(after, status, &err);
    }
}

/* ---- its beginning ---- */

ac_after_run_t *ac_after_run_create(const ac_run_t *run, const ac_after_run_kind_t *kind,
                                    const ac_after_run_conf_t *conf, json_t *messages)
{
    ac_engine_t *engine = run->engine;
    const ac_turn_t *turn = run->turn;
    const ac_model_t *model = conf->model ? conf->model : run->agent->model;
    if (engine->after_runs.n >= AC_MAX_AFTER_RUNS) {
        count_outcome(kind, run->agent, model, AC_AFTER_RUN_SKIPPED);
        json_decref(messages);
        return NULL;
    }
    ac_after_run_t *after = ac_alloc(sizeof *after);
    after->kind = kind;
    after->conf = conf;
    after->engine = engine;
    after->agents = turn->agents ? ac_agents_ref(turn->agents) : NULL;
    after->agent = run->agent;
    after->model = model;
    after->quota = turn->quota;
    ac_quota_ref(after->quota);
    apr_cpystrn(after->owner, turn->owner, sizeof after->owner);
    apr_cpystrn(after->thread_id, turn->thread_id, sizeof after->thread_id);
    apr_cpystrn(after->run_id, turn->run_id, sizeof after->run_id);
    apr_cpystrn(after->request_id, turn->request_id, sizeof after->request_id);
    after->messages = messages;
    after->created_at = apr_time_now();
    ac_trace_copy(&after->trace, ac_run_trace_context(run));
    ac_buf_init(&after->text, kind->most);
    ac_gate_entry_init(&after->entry, after->owner, after);
    after->next = engine->after_runs.list;
    engine->after_runs.list = after;
    engine->after_runs.n++;
    return after;
}

static void begin_now(void *baton)
{
    ac_after_run_t *after = baton;
    after->kind->start(after);
}

void ac_after_run_begin(ac_after_run_t *after, void (*left)(ac_engine_t *engine))
{
    if (after) {
        after->left = left;
        ac_loop_ready_set(after->engine->loop, &after->ready, begin_now, after);
    }
}

void ac_after_run_stop_all(ac_engine_t *engine)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_STOPPING, "the server is stopping");
    /* It leaves the list later, from the ready list. */
    for (ac_after_run_t *after = engine->after_runs.list; after; after = after->next) {
        ac_after_run_call_stop(after, AC_AFTER_RUN_SKIPPED, &err);
    }
}
