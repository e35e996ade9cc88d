/* SPDX-License-Identifier: Apache-2.0 */
/* WAITING: a run some of whose calls wait for its owner's word is put into the store and is nobody's from then on; it costs no slot,
 * no memory and no process. The child that brings the last word goes on with it. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#define LATE_EVERY apr_time_from_sec(60) /* looks for runs whose time for an answer is over */
#define LATE_AT_ONCE 32
#define AGENTS_WAIT apr_time_from_msec(200) /* until this child has heard of the agents */
#define AGENTS_TRIES 50
#define ASK_WAIT apr_time_from_sec(2) /* a worker's for its loop, beyond the store's time */

/* ---- into the store ---- */

static ac_event_t *ask_event(const ac_call_t *call, apr_time_t until)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "call_id", ac_json_text(call->id));
    ac_json_put(data, "tool", ac_json_text(call->name));
    ac_json_put(data, "arguments", json_incref(call->arguments));
    ac_json_put(data, "approval_required", json_true());
    ac_json_put(data, "expires_at", ac_json_time(until));
    ac_event_t *event = ac_event_create(AC_EVENT_TRACE_UPDATE, data, NULL, 0);
    if (!event) {
        abort();
    }
    return event;
}

/* The events that ask are shown only when the run is in the store, where they have to be among those that were shown. */
static void ask_owner(ac_run_t *run)
{
    for (int i = 0; i < run->n_held; i++) {
        ac_run_event_show(run, run->held[i]);
    }
    run->n_held = 0;
}

static void hold_questions(ac_run_t *run, apr_time_t until)
{
    free(run->held);
    run->held = ac_alloc(((size_t)run->n_waiting_calls + 1) * sizeof *run->held);
    run->held_size = run->n_waiting_calls + 1;
    run->n_held = 0;
    for (int i = 0; i < run->n_calls; i++) {
        if (run->calls[i]->waits) {
            run->held[run->n_held++] = ask_event(run->calls[i], until);
        }
    }
}

static json_t *events_json(ac_run_t *run)
{
    json_t *events = ac_run_log_events(run);
    for (int i = 0; json_is_array(events) && i < run->n_held; i++) {
        json_array_append_new(events,
                              json_pack("[i, I, O]", (int)run->held[i]->type, (json_int_t)run->held[i]->at,
                                        run->held[i]->data));
    }
    return events;
}

static void on_waiting(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    ac_err_t err = op->err;
    bool stored = op->status == APR_SUCCESS;
    ac_store_op_free(op);
    run->n_ops--;
    if (run->state != AC_RUN_SUSPENDING) { /* it was cancelled meanwhile; its closing write ends the waiting, too */
        ac_run_close_continue(run);
        return;
    }
    if (!stored) {
        if (!err.kind) {
            ac_err_set(&err, AC_STORE_ERROR, "the store failed");
        }
        ac_run_finish(run, AC_RUN_FAILED, &err, "not put aside");
        return;
    }
    ac_recover_retry_all(run->engine);
    ask_owner(run);
    ac_run_detach(run);
}

static void run_wait_put_aside(ac_run_t *run)
{
    apr_time_t until = apr_time_now() + run->engine->conf.approval_timeout;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_WAIT, run->turn->owner, run->turn->thread_id);
    json_t *calls = json_object(), *asks = json_array(), *state;
    if (!op) {
        abort();
    }
    ac_run_cost_commit(run);
    hold_questions(run, until);
    for (int i = 0; i < run->n_calls; i++) {
        if (!run->calls[i]->waits) {
            continue;
        }
        ac_json_put(calls, run->calls[i]->id, json_null());
        json_array_append_new(asks, ac_run_document_step(run, run->calls[i]));
    }
    state = ac_run_suspended_make(run, events_json(run));
    ac_json_put(state, "seq", json_integer((json_int_t)ac_channel_seq(run->channel) + run->n_held));
    ac_json_put(state, "run", ac_run_document_run(run)); /* whoever goes on with it knows what is stored of it */
    op->in = json_object();
    ac_json_put(op->in, "run", json_deep_copy(json_object_get(state, "run")));
    ac_json_put(op->in, "steps", run->steps ? json_deep_copy(run->steps) : json_array());
    ac_json_put(op->in, "asks", json_deep_copy(asks));
    ac_json_put(op->in, "until", ac_json_time(until));
    ac_json_put(op->in, "calls", calls);
    /* A copy: the store's thread reads it while this one goes on. */
    ac_json_put(op->in, "state", json_deep_copy(state));
    json_decref(state);
    json_decref(asks);
    op->deadline = ac_clock() + run->engine->conf.store_timeout;
    run->n_ops++;
    ac_store_call_post(run->engine->store, run->engine->loop, op, on_waiting, run);
}

void ac_run_approval_enter(ac_run_t *run)
{
    ac_gate_leave(run);
    ac_timer_cancel(run->engine->loop, &run->run_timer);
    run_wait_put_aside(run);
}

/* ---- out of the store ---- */

typedef struct taken_t { /* a run that is this child's, and is yet to go on */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *out; /* TURN_DECIDE's */
    bool cancel;
    ac_quota_t *quota; /* whom it is counted for from now on, or NULL */
    int n_tries;
    ac_timer_t timer;
} taken_t;

static void taken_free(taken_t *taken)
{
    json_decref(taken->out);
    ac_quota_unref(taken->quota);
    free(taken);
}

static const char *refusal_of(const json_t *word)
{
    if (json_is_true(json_object_get(word, "expired"))) {
        return "nobody approved this call in time, so it was not made";
    }
    return "the user did not approve this call, so it was not made";
}

static void tell_word(ac_run_t *run, const ac_call_t *call)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "call_id", ac_json_text(call->id));
    ac_json_put(data, "approved", json_boolean(call->approved));
    ac_run_event_emit(run, AC_EVENT_TRACE_UPDATE, data, NULL, 0);
}

static void put_words(ac_run_t *run, const json_t *words)
{
    for (int i = 0; i < run->n_calls; i++) {
        ac_call_t *call = run->calls[i];
        const json_t *word = json_object_get(words, call->id);
        const char *reason = ac_json_peek_string(word, "reason", NULL);
        ac_buf_t text;
        if (call->done || !json_is_object(word)) {
            continue;
        }
        call->approved = json_is_true(json_object_get(word, "approve"));
        if (!call->approved) {
            ac_buf_init(&text, AC_MAX_REASON + 128);
            ac_buf_printf(&text, "%s%s%s", refusal_of(word), reason ? "; the user says: " : "", reason ? reason : "");
            call->refusal = text.data;
        }
        tell_word(run, call);
    }
}

static const ac_agent_t *run_wait_find_agent(ac_run_t *run, ac_err_t *err)
{
    const ac_turn_t *turn = run->turn;
    const ac_agent_t *agent = turn->agents ? ac_agents_find(turn->agents, run->lost_id)
                                           : ac_registry_agent(run->engine->registry, run->lost_id);
    const char *problem = agent ? ac_agent_problem(agent) : "the agent is not there any more";
    if (problem) {
        ac_err_set(err, AC_INVALID_REQUEST, "%s", problem);
    }
    if (agent) {
        return agent;
    }
    run->lost = (ac_agent_t){.id = run->lost_id, .name = run->lost_id, .status = "inactive"};
    return &run->lost;
}

static ac_run_t *make_run(taken_t *taken, ac_agents_t *agents)
{
    ac_engine_t *engine = taken->engine;
    ac_turn_t *turn = ac_turn_create(NULL, taken->owner, "");
    if (!turn) {
        abort();
    }
    apr_cpystrn(turn->run_id, taken->run_id, sizeof turn->run_id);
    apr_cpystrn(turn->thread_id, ac_json_peek_string(taken->out, "thread_id", ""), sizeof turn->thread_id);
    turn->agents = agents;
    turn->quota = taken->quota;
    ac_quota_ref(turn->quota);
    ac_run_t *run = ac_run_create(engine, turn);
    ac_timer_cancel(engine->loop, &run->state_timer);
    return run;
}

/* It has waited long enough: it stands in no line. */
static void run_wait_enter(ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, run);
    ac_run_slot_acquire(run);
    ac_channel_on_empty(run->channel, ac_run_follower_left, run);
}

static void run_wait_go_on(void *baton)
{
    taken_t *taken = baton;
    ac_engine_t *engine = taken->engine;
    ac_agents_t *agents = engine->catalog ? ac_catalog_agents(engine->catalog) : NULL;
    const json_t *state = json_object_get(taken->out, "state");
    ac_err_t err;
    if (agents && !ac_agents_known(agents) && taken->n_tries++ < AGENTS_TRIES && !engine->stopping) {
        ac_agents_unref(agents);
        ac_timer_set(engine->loop, &taken->timer, ac_loop_now(engine->loop) + AGENTS_WAIT, run_wait_go_on, taken);
        return;
    }
    ac_err_init(&err);
    ac_run_t *run = make_run(taken, agents);
    if (!ac_run_suspended_read(run, state)) {
        ac_err_set(&err, AC_STORE_ERROR, "what was kept of the run is damaged");
    }
    run->agent = run_wait_find_agent(run, &err);
    for (int i = 0; i < run->n_calls; i++) {
        run->calls[i]->tool = ac_registry_agent_tool(run->agent, run->calls[i]->name);
    }
    run_wait_enter(run);
    ac_run_log_resume(run, state);
    ac_run_limit_resume(run);
    if (taken->cancel || ac_run_log_is_cancelled(run)) {
        ac_err_set(&err, AC_CANCELLED, "the run was cancelled");
    }
    if (engine->stopping) {
        ac_err_set(&err, AC_STOPPING, "the server is stopping");
    }
    if (!err.kind) {
        put_words(run, json_object_get(taken->out, "calls"));
    }
    if (err.kind == AC_CANCELLED || err.kind == AC_STOPPING) {
        ac_run_finish(run, AC_RUN_CANCELLED, &err, "cancelled");
    } else if (err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "cannot go on");
    } else {
        ac_run_resume(run);
    }
    taken_free(taken);
}

static taken_t *run_wait_take(ac_engine_t *engine, const char *run_id, const char *owner, json_t *out)
{
    taken_t *taken = ac_alloc(sizeof *taken);
    taken->engine = engine;
    taken->out = json_incref(out);
    apr_cpystrn(taken->run_id, run_id, sizeof taken->run_id);
    apr_cpystrn(taken->owner, owner, sizeof taken->owner);
    return taken;
}

/* ---- the owner's word ---- */

typedef struct ask_t { /* a worker's; the loop goes on with it although nobody may wait any more */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *in;
    ac_quota_t *quota;
    ac_handover_t handover;
    apr_status_t status;
    ac_err_t err;
} ask_t;

static void ask_free(ask_t *ask)
{
    json_decref(ask->in);
    ac_quota_unref(ask->quota);
    free(ask);
}

static void on_decided(ac_store_op_t *op)
{
    ask_t *ask = op->baton;
    ask->status = op->status;
    ask->err = op->err;
    if (op->status == APR_SUCCESS && json_object_get(op->out, "state")) {
        taken_t *taken = run_wait_take(ask->engine, ask->run_id, ask->owner, op->out);
        taken->quota = ask->quota;
        ac_quota_ref(taken->quota);
        taken->cancel = json_is_true(json_object_get(ask->in, "cancel"));
        run_wait_go_on(taken);
    }
    ac_store_op_free(op);
    if (!ac_handover_answer(&ask->handover)) {
        ask_free(ask);
    }
}

static void decide_here(void *baton)
{
    ask_t *ask = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_DECIDE, ask->owner, ask->run_id);
    if (!op) {
        abort();
    }
    op->in = json_deep_copy(ask->in);
    op->deadline = ac_clock() + ask->engine->conf.store_timeout;
    ac_store_call_post(ask->engine->store, ask->engine->loop, op, on_decided, ask);
}

apr_status_t ac_run_approval_decide(ac_engine_t *engine, const ac_approval_t *word, ac_err_t *err)
{
    ask_t *ask = ac_alloc(sizeof *ask);
    ask->quota = word->quota;
    ac_quota_ref(ask->quota);
    ask->engine = engine;
    ask->in = json_incref(word->said);
    ac_handover_begin(&ask->handover);
    apr_cpystrn(ask->run_id, word->run_id, sizeof ask->run_id);
    apr_cpystrn(ask->owner, word->owner, sizeof ask->owner);
    ac_err_init(&ask->err);
    ac_loop_post(engine->loop, decide_here, ask);
    if (!ac_handover_wait(&ask->handover, ac_clock() + engine->conf.store_timeout + ASK_WAIT)) {
        ac_err_set(err, AC_STORE_TIMEOUT, "the store did not answer in time");
        return APR_TIMEUP;
    }
    apr_status_t status = ask->status;
    if (status != APR_SUCCESS) {
        *err = ask->err;
    }
    ask_free(ask);
    return status;
}

/* ---- nobody's word ---- */

static void on_expired(ac_store_op_t *op)
{
    taken_t *taken = op->baton;
    taken->cancel = json_is_true(json_object_get(op->in, "cancel"));
    if (op->status == APR_SUCCESS) {
        taken->out = json_incref(op->out);
        run_wait_go_on(taken);
    } else {
        taken_free(taken);
    }
    ac_store_op_free(op);
}

/* Takes what is said instead of the owner. */
static void decide_for_owner(ac_engine_t *engine, const char *run_id, const char *owner, json_t *said)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_DECIDE, owner, run_id);
    if (!op) {
        json_decref(said);
        return;
    }
    op->in = said;
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, on_expired, run_wait_take(engine, run_id, owner, NULL));
}

static void run_wait_expire(ac_engine_t *engine, const json_t *late)
{
    json_t *said = json_object();
    ac_json_put(said, "expired", ac_json_time(apr_time_now()));
    decide_for_owner(engine, ac_json_peek_string(late, "run_id", ""), ac_json_peek_string(late, "owner", ""), said);
}

void ac_run_approval_cancel(ac_engine_t *engine, const char *run_id, const char *owner)
{
    decide_for_owner(engine, run_id, owner, json_pack("{s:b}", "cancel", 1));
}

static void look_for_late(void *baton);

static void set_wait_timer(ac_engine_t *engine)
{
    apr_interval_time_t every = engine->conf.approval_timeout / 4;
    if (every > LATE_EVERY) {
        every = LATE_EVERY;
    }
    every += (apr_interval_time_t)(ac_random() % (uint64_t)(every / 4 + 1));
    ac_timer_set(engine->loop, &engine->wait_timer, ac_loop_now(engine->loop) + every, look_for_late, engine);
}

static void run_wait_on_late(ac_store_op_t *op)
{
    ac_engine_t *engine = op->baton;
    const json_t *late;
    size_t i;
    json_array_foreach(json_object_get(op->out, "data"), i, late)
    {
        if (!engine->stopping) {
            run_wait_expire(engine, late);
        }
    }
    ac_store_op_free(op);
    if (!engine->stopping) {
        set_wait_timer(engine);
    }
}

static void look_for_late(void *baton)
{
    ac_engine_t *engine = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_WAIT_LIST, NULL, NULL);
    if (!op) {
        abort();
    }
    op->in = json_object();
    op->page.limit = LATE_AT_ONCE;
    ac_json_put(op->in, "before", ac_json_time(apr_time_now()));
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, run_wait_on_late, engine);
}

void ac_run_approval_watch(ac_engine_t *engine, ac_catalog_t *catalog)
{
    engine->catalog = catalog;
    set_wait_timer(engine);
}
