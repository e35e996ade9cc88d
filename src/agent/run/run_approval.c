/* SPDX-License-Identifier: Apache-2.0 */
/* SUSPENDING and resuming: a run with calls that need approval is suspended in the store. From then on it belongs to
 * no process, and needs no slot and no memory. The child that stores the last decision resumes it. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define EXPIRY_EVERY apr_time_from_sec(60)  /* the longest time between two looks for expired approvals */
#define EXPIRED_MAX 32                      /* runs in one look */
#define AGENTS_WAIT apr_time_from_msec(200) /* until the catalog has been read */
#define AGENTS_TRIES 50
#define LOOP_WAIT apr_time_from_sec(2) /* of a worker for the loop, beyond the store's time */

/* ---- suspending ---- */

/* What the tool itself asks, without its own members; NULL: nothing. New reference. */
static json_t *shown_question(const ac_call_t *call)
{
    static const char *const members[] = {"form", "problem"};
    if (!call->question) {
        return NULL;
    }
    json_t *question = json_object();
    ac_json_put(question, "message", ac_json_text(ac_json_peek_string(call->question, "message", "")));
    ac_json_put(question, "server", ac_json_text(ac_json_peek_string(call->question, "server", NULL)));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_object_set(question, members[i], json_object_get(call->question, members[i]));
    }
    return question;
}

static void add_awaited(ac_call_t *call, void *baton)
{
    json_array_append_new(baton,
                          json_pack("{s:s, s:s, s:o*}", "call_id", call->id, "tool", call->name, "question",
                                    shown_question(call)));
}

/* The calls that ask agents and are open because of a call below them. */
static void add_asking(json_t *list, const ac_run_t *run)
{
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        if (call->nested) {
            json_array_append_new(list, json_pack("{s:s, s:O}", "call_id", call->id, "arguments", call->arguments));
            add_asking(list, call->nested);
        }
    }
}

/* The last of several requests has all of them, and the other calls that wait: those of the client, and those that ask
 * agents. */
static void add_all_awaited(json_t *data, ac_run_t *run)
{
    json_t *awaiting = json_array(), *client = json_array(), *asking = json_array();
    ac_run_nesting_each(run, add_awaited, awaiting);
    add_asking(asking, run);
    if (json_array_size(asking) > 0) {
        ac_json_put(data, "asking", json_incref(asking));
    }
    json_decref(asking);
    for (int i = 0; i < run->calls.n; i++) {
        if (run->calls.list[i]->client) {
            json_array_append_new(client, ac_json_text(run->calls.list[i]->id));
        }
    }
    ac_json_put(data, "awaiting", awaiting);
    if (json_array_size(client) > 0) {
        ac_json_put(data, "client_calls", json_incref(client));
    }
    json_decref(client);
}

typedef struct requests_t { /* of a run that is being suspended */
    apr_time_t until;
    int n;                /* that are still to come */
    json_t *calls, *asks; /* of RUN_SUSPEND */
} requests_t;

/* more: another request follows at once. */
static ac_event_t *request_event(const ac_call_t *call, apr_time_t until, bool more)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "call_id", ac_json_text(call->id));
    ac_json_put(data, "tool", ac_json_text(call->name));
    ac_json_put(data, "arguments", json_incref(call->arguments));
    ac_json_put(data, "approval_required", json_true());
    if (call->question) {
        ac_json_put(data, "question", shown_question(call));
    }
    ac_json_put(data, "expires_at", ac_time_json(until));
    ac_json_put(data, "more", json_boolean(more));
    if (!more) {
        add_all_awaited(data, ac_run_nesting_root(call->run));
    }
    ac_run_nesting_mark(call->run, data);
    ac_event_t *event = ac_event_create(AC_EVENT_TRACE_UPDATE, data, NULL, 0);
    if (!event) {
        abort();
    }
    return event;
}

static void count_request(ac_call_t *call, void *baton)
{
    (void)call;
    ((requests_t *)baton)->n++;
}

static void add_awaiting_request(ac_call_t *call, void *baton)
{
    requests_t *requests = baton;
    ac_run_event_hold(ac_run_nesting_root(call->run), request_event(call, requests->until, --requests->n > 0));
    ac_json_put(requests->calls, call->id, json_null());
    json_array_append_new(requests->asks, ac_run_document_step(call->run, call));
}

static json_t *events_json(ac_run_t *run)
{
    json_t *events = ac_run_log_events(run);
    for (int i = 0; json_is_array(events) && i < run->events.n_held; i++) {
        json_array_append_new(events,
                              json_pack("[i, I, O]", (int)run->events.held[i]->type,
                                        (json_int_t)run->events.held[i]->at, run->events.held[i]->data));
    }
    return events;
}

static void on_suspended(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    ac_err_t err = op->err;
    bool stored = op->status == APR_SUCCESS;
    if (stored) {
        ac_run_webhook_notify(run->engine, run->turn->owner, json_object_get(op->in, "run"),
                              json_object_get(op->in, "asks"));
    }
    ac_store_op_free(op);
    run->n_ops--;
    if (run->state != AC_RUN_SUSPENDING) { /* cancelled meanwhile; the closing write ends the suspended run, too */
        ac_run_close_continue(run);
        return;
    }
    if (!stored) {
        if (!err.kind) {
            ac_err_set(&err, AC_STORE_ERROR, "the store failed");
        }
        ac_run_finish(run, AC_RUN_FAILED, &err, "not suspended");
        return;
    }
    run->engine->hooks->on_stored(run->engine);
    ac_run_event_show_held(run);
    ac_run_detach(run);
}

static void suspend(ac_run_t *run)
{
    requests_t requests = {.until = apr_time_now() + run->engine->conf.approval_timeout,
                           .calls = json_object(),
                           .asks = json_array()};
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_SUSPEND, run->turn->owner, run->turn->thread_id);
    json_t *state;
    if (!op) {
        abort();
    }
    ac_store_op_trace(op, ac_run_trace_context(run));
    ac_run_cost_commit(run);
    /* Followers get the requests only after the run is suspended in the store, where the requests already stand among
     * the shown events. */
    ac_run_event_drop_held(run);
    ac_run_nesting_each(run, count_request, &requests);
    ac_run_nesting_each(run, add_awaiting_request, &requests);
    state = ac_run_suspended_make(run, events_json(run));
    ac_json_put(state, "seq", json_integer((json_int_t)ac_channel_seq(run->channel) + run->events.n_held));
    ac_json_put(state, "run", ac_run_document_run(run)); /* the child that resumes it knows the stored document */
    op->in = json_object();
    ac_json_put(op->in, "run", json_deep_copy(json_object_get(state, "run")));
    ac_json_put(op->in, "steps", run->answer.steps ? json_deep_copy(run->answer.steps) : json_array());
    ac_json_put(op->in, "asks", json_deep_copy(requests.asks));
    ac_json_put(op->in, "until", ac_time_json(requests.until));
    ac_json_put(op->in, "calls", requests.calls);
    /* A copy: the store's thread reads it while this thread continues. */
    ac_json_put(op->in, "state", json_deep_copy(state));
    json_decref(state);
    json_decref(requests.asks);
    op->deadline = ac_clock() + run->engine->conf.store_timeout;
    run->n_ops++;
    ac_store_call_post(run->engine->store, run->engine->loop, op, on_suspended, run);
}

void ac_run_approval_enter(ac_run_t *run)
{
    ac_gate_leave(&run->ask.entry);
    ac_timer_cancel(run->engine->loop, &run->run_timer);
    suspend(run);
}

/* ---- resuming ---- */

typedef struct resume_t { /* a run that this child has taken from the store to resume */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *out; /* of APPROVAL_DECIDE */
    bool cancel;
    ac_quota_t *quota; /* counts the run from now on, or NULL */
    ac_trace_t trace;  /* of the request that resumes it, or empty */
    apr_interval_time_t leave;
    int n_tries;
    ac_timer_t timer;
} resume_t;

static void resume_free(resume_t *resume)
{
    json_decref(resume->out);
    ac_quota_unref(resume->quota);
    ac_trace_clear(&resume->trace);
    free(resume);
}

static const ac_agent_t *run_approval_find_agent(ac_run_t *run, ac_err_t *err)
{
    const ac_turn_t *turn = run->turn;
    const ac_agent_t *agent = turn->agents ? ac_agents_find(turn->agents, run->suspended.agent_id)
                                           : ac_registry_agent(run->engine->registry, run->suspended.agent_id);
    const char *problem = agent ? ac_agent_problem(agent) : "the agent no longer exists";
    if (problem) {
        ac_err_set(err, AC_INVALID_REQUEST, "%s", problem);
    }
    if (agent) {
        return agent;
    }
    run->suspended.missing_agent =
        (ac_agent_t){.id = run->suspended.agent_id, .name = run->suspended.agent_id, .status = "inactive"};
    return &run->suspended.missing_agent;
}

static ac_run_t *make_run(resume_t *resume, ac_agents_t *agents)
{
    ac_engine_t *engine = resume->engine;
    ac_turn_t *turn = ac_turn_create(NULL, resume->owner, "");
    if (!turn) {
        abort();
    }
    apr_cpystrn(turn->run_id, resume->run_id, sizeof turn->run_id);
    apr_cpystrn(turn->thread_id, ac_json_peek_string(resume->out, "thread_id", ""), sizeof turn->thread_id);
    turn->agents = agents;
    turn->leave = resume->leave;
    turn->quota = resume->quota;
    ac_quota_ref(turn->quota);
    ac_turn_set_trace(turn, &resume->trace);
    ac_run_t *run = ac_run_create(engine, turn);
    ac_timer_cancel(engine->loop, &run->state_timer);
    return run;
}

/* A resumed run gets a slot in any case. */
static void enter(ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, run);
    ac_run_slot_acquire(run);
    ac_channel_on_empty(run->channel, ac_run_follower_left, run);
}

static void run_approval_resume(void *baton)
{
    resume_t *resume = baton;
    ac_engine_t *engine = resume->engine;
    ac_agents_t *agents = engine->catalog ? ac_catalog_agents(engine->catalog) : NULL;
    const json_t *state = json_object_get(resume->out, "state");
    ac_err_t err;
    if (agents && !ac_agents_known(agents) && resume->n_tries++ < AGENTS_TRIES && !engine->stop.stopping) {
        ac_agents_unref(agents);
        ac_timer_set(engine->loop, &resume->timer, ac_loop_now(engine->loop) + AGENTS_WAIT, run_approval_resume,
                     resume);
        return;
    }
    ac_err_init(&err);
    ac_run_t *run = make_run(resume, agents);
    if (!ac_run_suspended_read(run, state)) {
        ac_err_set(&err, AC_STORE_ERROR, "the stored state of the run is damaged");
    }
    run->agent = run_approval_find_agent(run, &err);
    ac_run_trace_begin(run);
    for (int i = 0; i < run->calls.n; i++) {
        run->calls.list[i]->tool = ac_registry_agent_tool(run->agent, run->calls.list[i]->name);
    }
    enter(run);
    ac_run_log_resume(run, state);
    ac_run_limit_resume(run);
    if (resume->cancel || ac_run_log_is_cancelled(run)) {
        ac_err_set(&err, AC_CANCELLED, "the run was cancelled");
    }
    if (engine->stop.stopping) {
        ac_err_set(&err, AC_STOPPING, "the server is stopping");
    }
    if (!err.kind) {
        run->suspended.decisions = json_incref(json_object_get(resume->out, "calls"));
        ac_run_decision_apply(run, run->suspended.decisions);
    }
    if (err.kind == AC_CANCELLED || err.kind == AC_STOPPING) {
        ac_run_finish(run, AC_RUN_CANCELLED, &err, "cancelled");
    } else if (err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "cannot resume");
    } else {
        ac_run_resume(run);
    }
    resume_free(resume);
}

static resume_t *make_resume(ac_engine_t *engine, const char *run_id, const char *owner, json_t *out)
{
    resume_t *resume = ac_alloc(sizeof *resume);
    resume->engine = engine;
    resume->leave = -1;
    resume->out = json_incref(out);
    apr_cpystrn(resume->run_id, run_id, sizeof resume->run_id);
    apr_cpystrn(resume->owner, owner, sizeof resume->owner);
    return resume;
}

/* ---- decisions of the owner ---- */

typedef struct decide_t { /* a worker's; the loop completes it even if the worker has given up */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *in;
    ac_quota_t *quota;
    ac_trace_t trace;
    apr_interval_time_t leave;
    ac_handover_t handover;
    apr_status_t status;
    ac_err_t err;
} decide_t;

static void decide_free(decide_t *decide)
{
    json_decref(decide->in);
    ac_quota_unref(decide->quota);
    ac_trace_clear(&decide->trace);
    free(decide);
}

static void on_decided(ac_store_op_t *op)
{
    decide_t *decide = op->baton;
    decide->status = op->status;
    decide->err = op->err;
    if (op->status == APR_SUCCESS && json_object_get(op->out, "state")) {
        resume_t *resume = make_resume(decide->engine, decide->run_id, decide->owner, op->out);
        resume->leave = decide->leave;
        resume->quota = decide->quota;
        ac_quota_ref(resume->quota);
        ac_trace_copy(&resume->trace, &decide->trace);
        resume->cancel = json_is_true(json_object_get(decide->in, "cancel"));
        run_approval_resume(resume);
    }
    ac_store_op_free(op);
    if (!ac_handover_answer(&decide->handover)) {
        decide_free(decide);
    }
}

static void decide_here(void *baton)
{
    decide_t *decide = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_APPROVAL_DECIDE, decide->owner, decide->run_id);
    if (!op) {
        abort();
    }
    op->in = json_deep_copy(decide->in);
    op->deadline = ac_clock() + decide->engine->conf.store_timeout;
    ac_store_call_post(decide->engine->store, decide->engine->loop, op, on_decided, decide);
}

apr_status_t ac_run_approval_decide(ac_engine_t *engine, const ac_approval_t *approval, ac_err_t *err)
{
    decide_t *decide = ac_alloc(sizeof *decide);
    decide->quota = approval->quota;
    ac_quota_ref(decide->quota);
    if (approval->trace) {
        ac_trace_copy(&decide->trace, approval->trace);
    }
    decide->engine = engine;
    decide->leave = approval->leave;
    decide->in = json_incref(approval->decision);
    ac_handover_begin(&decide->handover);
    apr_cpystrn(decide->run_id, approval->run_id, sizeof decide->run_id);
    apr_cpystrn(decide->owner, approval->owner, sizeof decide->owner);
    ac_err_init(&decide->err);
    ac_loop_post(engine->loop, decide_here, decide);
    if (!ac_handover_wait(&decide->handover, ac_clock() + engine->conf.store_timeout + LOOP_WAIT)) {
        ac_err_set(err, AC_STORE_TIMEOUT, "the store did not answer in time");
        return APR_TIMEUP;
    }
    apr_status_t status = decide->status;
    if (status != APR_SUCCESS) {
        *err = decide->err;
    }
    decide_free(decide);
    return status;
}

/* ---- decisions without the owner: expiry and cancel ---- */

static void on_expired(ac_store_op_t *op)
{
    resume_t *resume = op->baton;
    resume->cancel = json_is_true(json_object_get(op->in, "cancel"));
    if (op->status == APR_SUCCESS) {
        resume->out = json_incref(op->out);
        run_approval_resume(resume);
    } else {
        resume_free(resume);
    }
    ac_store_op_free(op);
}

/* Stores a decision in place of the owner. Consumes it. */
static void decide_for_owner(ac_engine_t *engine, const char *run_id, const char *owner, json_t *decision)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_APPROVAL_DECIDE, owner, run_id);
    if (!op) {
        json_decref(decision);
        return;
    }
    op->in = decision;
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, on_expired, make_resume(engine, run_id, owner, NULL));
}

static void expire(ac_engine_t *engine, const json_t *expired)
{
    json_t *decision = json_object();
    ac_json_put(decision, "expired", ac_time_json(apr_time_now()));
    decide_for_owner(engine, ac_json_peek_string(expired, "run_id", ""), ac_json_peek_string(expired, "owner", ""),
                     decision);
}

void ac_run_approval_cancel(ac_engine_t *engine, const char *run_id, const char *owner)
{
    decide_for_owner(engine, run_id, owner, json_pack("{s:b}", "cancel", 1));
}

static void look_for_expired(void *baton);

static void run_approval_set_timer(ac_engine_t *engine)
{
    apr_interval_time_t every = engine->conf.approval_timeout / 4;
    if (every > EXPIRY_EVERY) {
        every = EXPIRY_EVERY;
    }
    every += (apr_interval_time_t)(ac_random() % (uint64_t)(every / 4 + 1));
    ac_timer_set(engine->loop, &engine->approval_timer, ac_loop_now(engine->loop) + every, look_for_expired, engine);
}

static void on_expired_list(ac_store_op_t *op)
{
    ac_engine_t *engine = op->baton;
    const json_t *expired;
    size_t i;
    json_array_foreach(json_object_get(op->out, "data"), i, expired)
    {
        if (!engine->stop.stopping) {
            expire(engine, expired);
        }
    }
    ac_store_op_free(op);
    if (!engine->stop.stopping) {
        run_approval_set_timer(engine);
    }
}

static void look_for_expired(void *baton)
{
    ac_engine_t *engine = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_SUSPENDED_LIST, NULL, NULL);
    if (!op) {
        abort();
    }
    op->in = json_object();
    op->page.limit = EXPIRED_MAX;
    ac_json_put(op->in, "before", ac_time_json(apr_time_now()));
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, on_expired_list, engine);
}

void ac_run_approval_watch(ac_engine_t *engine, ac_catalog_t *catalog)
{
    engine->catalog = catalog;
    run_approval_set_timer(engine);
}
