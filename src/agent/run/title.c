/* SPDX-License-Identifier: Apache-2.0 */
/* The title of a thread, which a model makes after the thread's first answer. It begins when the run has ended, holds
 * none of the run's slots, and nothing waits for it: a title that cannot be made is left out.
 *
 *  1  read the thread's first message, if it is not on the path of the run: an edited first question
 *  2  reserve its tokens and its cost
 *  3  call the model
 *  4  store the title, if the thread still has the automatic one; count the usage */
#include "title.h"

#include <stdlib.h>
#include <string.h>

#define LOG_EVERY apr_time_from_sec(60)

/* ---- whether there is one to make ---- */

static bool is_answered(const json_t *messages)
{
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)messages, i, message)
    {
        const char *why = ac_json_peek_string(json_object_get(message, "metadata"), "finish_reason", "");
        if (strcmp(ac_json_peek_string(message, "role", ""), "assistant") == 0 &&
            (strcmp(why, "stop") == 0 || strcmp(why, "length") == 0)) {
            return true;
        }
    }
    return false;
}

static json_t *automatic_of(const json_t *message)
{
    return ac_run_document_title_of(ac_json_peek_string(message, "content", ""),
                                    json_object_get(message, "attachments"));
}

void ac_title_note(ac_run_t *run, const json_t *loaded)
{
    const json_t *messages = json_object_get(loaded, "messages"), *first = json_array_get(messages, 0);
    const char *title = ac_json_peek_string(json_object_get(loaded, "thread"), "title", NULL);
    json_t *automatic = NULL;
    free(run->load.title);
    run->load.title = NULL;
    run->load.title_unsure = false;
    if (!run->engine->conf.titles.on || is_answered(messages)) {
        return;
    }
    if (title && run->load.last_seq > 0 && ac_json_peek_int(first, "seq", 0) != 1) {
        automatic = json_string(title);
        run->load.title_unsure = true;
    } else if (title && first) {
        automatic = automatic_of(first);
    } else if (!title && !run->turn->regenerate[0]) {
        automatic = ac_run_document_title(run);
    }
    if (automatic && (!title || strcmp(title, json_string_value(automatic)) == 0)) {
        run->load.title = strdup(json_string_value(automatic));
    }
    json_decref(automatic);
}

/* ---- its end ---- */

void ac_title_log(ac_title_t *title, const char *why, const ac_err_t *err)
{
    ac_titles_t *titles = &title->engine->titles;
    apr_time_t now = ac_clock();
    ac_log_fields_t fields = {.run = title->run_id,
                              .thread = title->thread_id,
                              .request = title->request_id,
                              .agent = title->agent->id,
                              .model = title->model->id,
                              .error = err && err->kind ? ac_err_row(err->kind)->code : NULL,
                              .trace = &title->trace};
    const char *detail = err && err->kind ? err->detail : why;
    if (titles->logged && now < titles->logged + LOG_EVERY) {
        ac_debug_about(&fields, "title after run[%s]: model[%s]: %s", title->run_id, title->model->id, detail);
        return;
    }
    titles->logged = now;
    ac_log_about(AC_M546, &fields, err ? err->status : APR_SUCCESS,
                 "title after run[%s] agent[%s] request[%s]: model[%s]: %s; the thread keeps its automatic title",
                 title->run_id, title->agent->id, title->request_id, title->model->id, detail);
}

static void title_free(ac_title_t *title)
{
    ac_engine_t *engine = title->engine;
    void (*left)(ac_engine_t *) = title->left;
    ac_title_t **at = &engine->titles.list;
    while (*at != title) {
        at = &(*at)->next;
    }
    *at = title->next;
    engine->titles.n--;
    ac_metrics_add(AC_METRIC_TITLES,
                   AC_LABELS(title->agent->metric, title->model->conf ? title->model->conf->metric : AC_METRIC_OTHER,
                             title->outcome),
                   1);
    ac_loop_ready_cancel(engine->loop, &title->ready);
    ac_timer_cancel(engine->loop, &title->timer);
    ac_buf_free(&title->text);
    ac_trace_clear(&title->trace);
    json_decref(title->messages);
    free(title->automatic);
    ac_quota_unref(title->quota);
    ac_agents_unref(title->agents);
    free(title);
    left(engine);
}

static void title_free_later(void *baton)
{
    title_free(baton);
}

static void title_leave(ac_title_t *title)
{
    if (title->ended && title->n_ops == 0) {
        ac_loop_ready_set(title->engine->loop, &title->ready, title_free_later, title);
    }
}

/* ---- 4: storing ---- */

static void on_title_stored(ac_store_op_t *op)
{
    ac_title_t *title = op->baton;
    title->n_ops--;
    if (op->status == APR_SUCCESS) {
        title->outcome = AC_TITLE_SET;
    } else if (op->err.kind == AC_PRECONDITION_FAILED || op->err.kind == AC_NOT_FOUND) {
        title->outcome = AC_TITLE_KEPT;
    } else {
        ac_title_log(title, "the store failed", &op->err);
    }
    ac_store_op_free(op);
    title_leave(title);
}

static void on_title_counted(ac_store_op_t *op)
{
    ac_title_t *title = op->baton;
    title->n_ops--;
    ac_store_op_free(op);
    title_leave(title);
}

static void title_store(ac_title_t *title, ac_store_verb_e verb, json_t *in, void (*done)(ac_store_op_t *op))
{
    bool counts = verb == AC_STORE_USAGE_ADD;
    ac_store_op_t *op = ac_store_op_create(verb, title->owner, counts ? title->run_id : title->thread_id);
    if (!op) {
        abort();
    }
    ac_store_op_trace(op, &title->trace);
    op->in = in;
    op->deadline = ac_clock() + title->engine->conf.store_timeout;
    op->page.limit = 1; /* of MESSAGE_LIST */
    title->n_ops++;
    ac_store_call_post(title->engine->store, title->engine->loop, op, done, title);
}

static void store_usage(ac_title_t *title)
{
    static const ac_price_t no_price;
    json_t *in = json_object();
    ac_json_put(in, "created_at", ac_time_json(title->created_at));
    ac_json_put(in, "agent_id", ac_json_text(title->agent->id));
    ac_json_put(in, "model", ac_json_text(title->answered_by));
    ac_json_put(in, "usage", ac_record_usage(&title->usage));
    ac_json_put(in, "cost", ac_record_cost(&title->usage, title->model->conf ? &title->model->conf->price : &no_price));
    title_store(title, AC_STORE_USAGE_ADD, in, on_title_counted);
}

/* text: of the title, consumed; NULL: it was not made. */
void ac_title_end(ac_title_t *title, unsigned outcome, json_t *text)
{
    title->ended = true;
    title->outcome = outcome;
    ac_timer_cancel(title->engine->loop, &title->timer);
    ac_loop_ready_cancel(title->engine->loop, &title->ready);
    ac_gate_leave(&title->entry);
    if (title->reserved && title->n_ops == 0) {
        ac_counters_release(title->engine->counters, title->reserved);
        title->reserved = NULL;
    }
    if (title->usage.total > 0) {
        store_usage(title);
    }
    if (text) {
        json_t *in = json_object();
        ac_json_put(in, "title", text);
        ac_json_put(in, "title_was", ac_json_text(title->automatic));
        title_store(title, AC_STORE_THREAD_UPDATE, in, on_title_stored);
    }
    title_leave(title);
}

/* ---- 2: the limits ---- */

static void on_reserved(void *baton, apr_status_t status, const ac_err_t *err)
{
    ac_title_t *title = baton;
    title->n_ops--;
    if (status != APR_SUCCESS) {
        ac_debug("title after run[%s]: %s", title->run_id, err->detail);
        free(title->reserved);
        title->reserved = NULL;
    }
    if (title->ended) {
        ac_counters_release(title->engine->counters, title->reserved);
        title->reserved = NULL;
        title_leave(title);
    } else if (status != APR_SUCCESS) {
        ac_title_end(title, AC_TITLE_SKIPPED, NULL);
    } else {
        ac_title_call_begin(title);
    }
}

static void title_reserve(ac_title_t *title)
{
    ac_counters_t *counters = title->engine->counters;
    ac_usage_t most = {.prompt = ac_title_call_estimate(title), .completion = title->engine->conf.titles.max_tokens};
    double amount = 0;
    bool known = title->model->conf && ac_record_amount(&amount, &most, &title->model->conf->price);
    ac_err_t err;
    ac_err_init(&err);
    if (counters && title->quota) {
        int64_t amounts[AC_N_MEASURES];
        for (int i = 0; i < AC_N_MEASURES; i++) {
            amounts[i] = -1; /* a title is no run, and no request */
        }
        amounts[AC_LIMIT_TOKENS] = most.prompt + most.completion;
        amounts[AC_LIMIT_COST] = ac_quota_money(known ? amount : 0);
        title->reserved = ac_quota_want(title->quota, title->agent, amounts);
    }
    if (!title->reserved) {
        ac_title_call_begin(title);
        return;
    }
    if (!known && ac_quota_wants_cost(title->reserved)) {
        ac_debug("title after run[%s]: there is a budget, and model[%s] has no price", title->run_id, title->model->id);
        free(title->reserved);
        title->reserved = NULL;
        ac_title_end(title, AC_TITLE_SKIPPED, NULL);
        return;
    }
    title->n_ops++;
    ac_reservation_trace(title->reserved, &title->trace);
    apr_status_t status = ac_counters_reserve(counters, title->reserved, on_reserved, title, &err);
    if (status != APR_EINPROGRESS) {
        on_reserved(title, status, &err);
    }
}

/* ---- 1: the thread's first message ---- */

static void on_first_read(ac_store_op_t *op)
{
    ac_title_t *title = op->baton;
    json_t *automatic = op->status == APR_SUCCESS ? automatic_of(json_array_get(json_object_get(op->out, "data"), 0))
                                                  : NULL;
    title->n_ops--;
    if (title->ended) {
        title_leave(title);
    } else if (!automatic) {
        ac_title_log(title, "the store failed", &op->err);
        ac_title_end(title, AC_TITLE_FAILED, NULL);
    } else if (strcmp(title->automatic, json_string_value(automatic)) != 0) {
        ac_title_end(title, AC_TITLE_KEPT, NULL);
    } else {
        title_reserve(title);
    }
    json_decref(automatic);
    ac_store_op_free(op);
}

static void title_start(void *baton)
{
    ac_title_t *title = baton;
    if (!title->unsure) {
        title_reserve(title);
        return;
    }
    json_t *in = json_object();
    ac_json_put(in, "all", json_true());
    title_store(title, AC_STORE_MESSAGE_LIST, in, on_first_read);
}

/* ---- its beginning ---- */

ac_title_t *ac_title_create(const ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    const ac_turn_t *turn = run->turn;
    const ac_model_t *model = engine->conf.titles.model;
    if (!run->load.title || run->outcome != AC_RUN_COMPLETED || !json_is_object(run->close.message) ||
        run->answer.text.len == 0 || run->agent == &run->suspended.missing_agent || engine->stop.stopping) {
        return NULL;
    }
    model = model ? model : run->agent->model;
    if (engine->titles.n >= AC_MAX_TITLES) {
        ac_metrics_add(AC_METRIC_TITLES,
                       AC_LABELS(run->agent->metric, model->conf ? model->conf->metric : AC_METRIC_OTHER,
                                 AC_TITLE_SKIPPED),
                       1);
        return NULL;
    }
    ac_title_t *title = ac_alloc(sizeof *title);
    title->engine = engine;
    title->agents = turn->agents ? ac_agents_ref(turn->agents) : NULL;
    title->agent = run->agent;
    title->model = model;
    title->quota = turn->quota;
    ac_quota_ref(title->quota);
    apr_cpystrn(title->owner, turn->owner, sizeof title->owner);
    apr_cpystrn(title->thread_id, turn->thread_id, sizeof title->thread_id);
    apr_cpystrn(title->run_id, turn->run_id, sizeof title->run_id);
    apr_cpystrn(title->request_id, turn->request_id, sizeof title->request_id);
    title->automatic = strdup(run->load.title);
    title->unsure = run->load.title_unsure;
    title->messages = ac_title_call_messages(run);
    title->created_at = apr_time_now();
    ac_trace_copy(&title->trace, ac_run_trace_context(run));
    ac_buf_init(&title->text, AC_MAX_TITLE_ANSWER);
    ac_gate_entry_init(&title->entry, title->owner, title);
    title->next = engine->titles.list;
    engine->titles.list = title;
    engine->titles.n++;
    return title;
}

void ac_title_begin(ac_title_t *title, void (*left)(ac_engine_t *engine))
{
    if (title) {
        title->left = left;
        ac_loop_ready_set(title->engine->loop, &title->ready, title_start, title);
    }
}

void ac_title_stop_all(ac_engine_t *engine)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_STOPPING, "the server is stopping");
    /* A title leaves the list later, from the ready list. */
    for (ac_title_t *title = engine->titles.list; title; title = title->next) {
        ac_title_call_stop(title, AC_TITLE_SKIPPED, &err);
    }
}
