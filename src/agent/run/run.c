/* SPDX-License-Identifier: Apache-2.0 */
/* The state machine of a run: one writer of the state, one way to SAVING, one end. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define FROM(state) (1u << (state))
#define LIVE \
    (FROM(AC_RUN_QUEUED) | FROM(AC_RUN_LOADING) | FROM(AC_RUN_WAITING) | FROM(AC_RUN_ASKING) | FROM(AC_RUN_CALLING) | \
     FROM(AC_RUN_SUSPENDING))

typedef struct ac_state_row_t {
    const char *name, *doing;
    unsigned from; /* a set of states */
    void (*enter)(ac_run_t *run);
} ac_state_row_t;

static const ac_state_row_t states[AC_RUN_N_STATES] = {
    [AC_RUN_QUEUED] = {"QUEUED", "waiting for a slot", FROM(AC_RUN_WAITING), NULL},
    [AC_RUN_LOADING] = {"LOADING", "reading the thread",
                        FROM(AC_RUN_QUEUED) | FROM(AC_RUN_ASKING) | FROM(AC_RUN_CALLING) | FROM(AC_RUN_SAVING),
                        ac_run_load_enter},
    [AC_RUN_WAITING] = {"WAITING", "waiting for the thread", FROM(AC_RUN_LOADING), ac_run_busy_enter},
    [AC_RUN_ASKING] = {"ASKING", "asking the model", FROM(AC_RUN_LOADING) | FROM(AC_RUN_ASKING) | FROM(AC_RUN_CALLING),
                       ac_run_ask_enter},
    [AC_RUN_CALLING] = {"CALLING", "calling tools", FROM(AC_RUN_ASKING) | FROM(AC_RUN_QUEUED), ac_run_call_enter},
    [AC_RUN_SUSPENDING] = {"SUSPENDING", "suspending the run for an approval", FROM(AC_RUN_CALLING),
                           ac_run_approval_enter},
    [AC_RUN_SAVING] = {"SAVING", "storing the answer", LIVE, ac_run_close_continue},
    [AC_RUN_COMPLETED] = {"COMPLETED", "done", FROM(AC_RUN_SAVING), NULL},
    [AC_RUN_FAILED] = {"FAILED", "done", FROM(AC_RUN_SAVING), NULL},
    [AC_RUN_CANCELLED] = {"CANCELLED", "done", FROM(AC_RUN_SAVING), NULL},
};

static void note_doing(ac_run_t *run)
{
    const char *doing = states[run->state].doing;
    if (run->round > 0 && (run->state == AC_RUN_ASKING || run->state == AC_RUN_CALLING)) {
        apr_snprintf(run->doing, sizeof run->doing, "%s, round %d", doing, run->round);
    } else {
        apr_cpystrn(run->doing, doing, sizeof run->doing);
    }
}

bool ac_run_is_live(const ac_run_t *run)
{
    return (LIVE & FROM(run->state)) != 0;
}

void ac_run_transit(ac_run_t *run, ac_run_state_e state, const char *cause)
{
    if (!(states[state].from & FROM(run->state))) {
        /* A defect of this module. A run that continued would end twice or never, so the process aborts with a log
         * line and a core file. */
        ac_log(AC_M501, APR_EGENERAL, "run[%s]: %s --%s--> %s is not allowed", run->turn->run_id,
               states[run->state].name, cause, states[state].name);
        abort();
    }
    if (state == AC_RUN_ASKING) {
        run->round++;
        ac_run_nesting_root(run)->nested.n_rounds++;
    }
    ac_run_metrics_leave_state(run);
    ac_debug("run[%s] %s --%s--> %s", run->turn->run_id, states[run->state].name, cause, states[state].name);
    ac_timer_cancel(run->engine->loop, &run->state_timer);
    run->state = state;
    note_doing(run);
    ac_run_summary_note(run);
    if (states[state].enter) {
        states[state].enter(run);
    }
}

static void on_queue_timeout(void *baton)
{
    ac_run_t *run = baton;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_OVERLOADED, "no slot for a run became free in time");
    err.retry_after = apr_time_from_sec(2);
    ac_run_finish(run, AC_RUN_FAILED, &err, "queue time is over");
}

static void on_run_timeout(void *baton)
{
    ac_run_t *run = baton;
    char limit[AC_TIME_SIZE];
    ac_err_t err;
    ac_err_init(&err);
    ac_time_format_duration(limit, run->engine->conf.run_timeout);
    ac_err_set(&err, AC_RUN_TIMEOUT, "the run took longer than %s", limit);
    ac_run_finish(run, AC_RUN_FAILED, &err, "run time is over");
}

/* As limits by owner count: an address stands for clients that are not signed in. */
static const char *owner_of(const ac_turn_t *turn)
{
    const ac_quota_t *quota = turn->quota;
    return quota && !quota->subject.owner && quota->subject.address ? quota->subject.address : turn->owner;
}

ac_run_t *ac_run_create(ac_engine_t *engine, ac_turn_t *turn)
{
    ac_run_t *run = ac_alloc(sizeof *run);
    run->engine = engine;
    run->turn = turn;
    run->agent = turn->agent;
    run->channel = ac_channel_create();
    if (!run->channel) {
        abort();
    }
    run->times.created = run->times.entered = run->times.in_state = ac_clock();
    run->times.created_at = apr_time_now();
    ac_err_init(&run->err);
    ac_buf_init(&run->answer.reasoning, AC_MAX_REASONING);
    ac_buf_init(&run->answer.text, engine->conf.max_answer ? engine->conf.max_answer : AC_MAX_ANSWER);
    run->slot.owner = owner_of(turn);
    run->slot.baton = run;
    ac_run_ask_init(run);
    note_doing(run);
    ac_timer_set(engine->loop, &run->state_timer, ac_loop_now(engine->loop) + engine->conf.queue_timeout,
                 on_queue_timeout, run);
    return run;
}

static void run_timer_set(ac_run_t *run)
{
    ac_timer_set(run->engine->loop, &run->run_timer, run->times.began + run->engine->conf.run_timeout, on_run_timeout,
                 run);
}

void ac_run_begin(void *baton)
{
    ac_run_t *run = baton;
    if (!ac_run_is_live(run)) {
        return; /* cancelled while it was in the ready list */
    }
    run->times.started_at = apr_time_now();
    if (run->limits.refused && !run->turn->key) {
        run->err = *run->limits.refused;
    }
    if (run->err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, NULL, "refused");
        return;
    }
    run->times.began = ac_loop_now(run->engine->loop);
    run_timer_set(run);
    ac_run_transit(run, AC_RUN_LOADING,
                   run->limits.refused ? "not within its limits, unless it is there" : "slot free");
}

static void resume_with_tools(ac_run_t *run)
{
    ac_run_tools_find(run);
    ac_run_transit(run, AC_RUN_CALLING, "resumed after the last decision");
}

void ac_run_resume(ac_run_t *run)
{
    ac_metrics_add(AC_METRIC_RUNS_RESUMED, AC_LABELS(run->agent->metric, run->turn->protocol), 1);
    ac_timer_set(run->engine->loop, &run->run_timer, ac_loop_now(run->engine->loop) + run->engine->conf.run_timeout,
                 on_run_timeout, run);
    ac_run_tools_load(run, resume_with_tools);
}

void ac_run_restart(ac_run_t *run)
{
    if (run->ask.call) {
        ac_err_set(&run->err, AC_CANCELLED, "the thread was changed concurrently, so the model was asked again");
        ac_run_ask_stop(run);
        ac_err_init(&run->err);
    }
    ac_gate_leave(&run->ask.entry);
    ac_run_call_drop_all(run);
    ac_run_event_drop_held(run);
    ac_buf_clear(&run->answer.text);
    json_decref(run->answer.sources);
    json_decref(run->answer.named);
    run->answer.sources = run->answer.named = NULL;
    json_decref(run->answer.tool_calls);
    run->answer.tool_calls = NULL;
    ac_record_parts_free(&run->answer.parts);
    run->round = run->nested.n_rounds = 0;
    run->answer.n_rejected = 0;
    run->times.first_token = 0;
    run->ask.finish = AC_FINISH_NONE;
    run_timer_set(run);
    ac_run_transit(run, AC_RUN_LOADING, "the thread was changed concurrently");
}

void ac_run_finish(ac_run_t *run, ac_run_state_e outcome, const ac_err_t *err, const char *cause)
{
    if (!ac_run_is_live(run)) {
        return;
    }
    if (err && !run->err.kind) {
        run->err = *err;
    }
    /* Another child may have reported "cancelled" to a client already. This does not hold for a run that another
     * machine has closed. */
    bool cancelled = run->suspended.wants_cancel || (outcome == AC_RUN_CANCELLED && run->err.kind == AC_CANCELLED);
    if (ac_run_log_decide(run, cancelled) && run->err.kind != AC_INTERRUPTED) {
        ac_err_init(&run->err);
        ac_err_set(&run->err, AC_CANCELLED, "the run was cancelled");
        outcome = AC_RUN_CANCELLED;
    }
    /* An error that the client has caused does not depend on what the run was doing. */
    if (outcome == AC_RUN_FAILED && strcmp(ac_err_row(run->err.kind)->fault, "client") != 0) {
        ac_err_while(&run->err, run->doing);
    }
    run->outcome = outcome;
    ac_timer_cancel(run->engine->loop, &run->run_timer);
    ac_run_tools_stop(run);
    ac_run_ask_stop(run);
    ac_gate_leave(&run->ask.entry);
    if (run->slot.is_queued) {
        ac_run_queue_leave(&run->engine->queue, &run->slot);
        ac_run_metrics_queue(run->engine);
    }
    if (!run->limits.is_admitting) {
        ac_run_limit_release(run);
    }
    if (outcome != AC_RUN_COMPLETED && ac_run_output_is_json(run)) {
        ac_buf_clear(&run->answer.text); /* no client has seen it */
    }
    if (outcome != AC_RUN_COMPLETED) {
        ac_run_call_close_all(run, "the run ended before this call did");
    }
    ac_run_call_drop_all(run);
    ac_run_transit(run, AC_RUN_SAVING, cause);
}

static void log_end(const ac_run_t *run)
{
    const ac_err_row_t *row = ac_err_row(run->err.kind);
    int took = (int)apr_time_as_msec(ac_clock() - run->times.created);
    const char *agent = run->agent ? run->agent->id : "-";
    ac_run_facts_t facts;
    ac_log_fields_t fields;
    ac_run_summary_fields(&fields, &facts, run);
    if (run->outcome != AC_RUN_FAILED || strcmp(row->fault, "client") == 0 || run->ask.breaker_open) {
        ac_debug("run[%s] agent[%s] request[%s]: %s after %d ms, %d rounds", run->turn->run_id, agent,
                 run->turn->request_id, states[run->outcome].name, took, run->round);
    } else if (strcmp(row->fault, "operator") == 0) {
        ac_log_about(AC_M502, &fields, run->err.status,
                     "run[%s] agent[%s] request[%s]: %s: %s (upstream status %d, id %s) after %d ms", run->turn->run_id,
                     agent, run->turn->request_id, row->code, run->err.detail, run->err.http_status,
                     run->err.upstream_id[0] ? run->err.upstream_id : "-", took);
    } else {
        ac_log_about(AC_M503, &fields, run->err.status,
                     "run[%s] agent[%s] request[%s]: %s: %s (upstream status %d, id %s) after %d ms", run->turn->run_id,
                     agent, run->turn->request_id, row->code, run->err.detail, run->err.http_status,
                     run->err.upstream_id[0] ? run->err.upstream_id : "-", took);
    }
    ac_run_summary_log(run, &fields);
}

void ac_run_free(ac_run_t *run)
{
    ac_span_free(run->trace.chat);
    ac_span_free(run->trace.run);
    ac_run_event_drop_held(run);
    ac_channel_destroy(run->channel);
    ac_buf_free(&run->answer.text);
    ac_run_files_free(run);
    ac_run_tools_free(run);
    json_decref(run->load.stored);
    json_decref(run->load.answered);
    json_decref(run->ask.messages);
    json_decref(run->ask.carried);
    json_decref(run->answer.tool_calls);
    ac_buf_free(&run->answer.reasoning);
    ac_record_parts_free(&run->answer.parts);
    json_decref(run->answer.steps);
    json_decref(run->answer.sources);
    json_decref(run->answer.named);
    json_decref(run->close.message);
    json_decref(run->open.document);
    json_decref(run->close.document);
    json_decref(run->suspended.decisions);
    free(run->limits.refused);
    free(run->load.title);
    json_decref(run->load.old);
    free(run->ask.fallback_cause);
    ac_turn_free(run->turn);
    free(run);
}

static void stop_clocks(ac_run_t *run)
{
    ac_timer_cancel(run->engine->loop, &run->run_timer);
    ac_timer_cancel(run->engine->loop, &run->state_timer);
    ac_timer_cancel(run->engine->loop, &run->events.leave_timer);
    ac_loop_ready_cancel(run->engine->loop, &run->ready);
    ac_channel_on_empty(run->channel, NULL, NULL);
}

void ac_run_detach(ac_run_t *run)
{
    ac_debug("run[%s] is suspended in the store", run->turn->run_id);
    ac_metrics_add(AC_METRIC_RUNS_SUSPENDED, AC_LABELS(run->agent->metric, run->turn->protocol), 1);
    stop_clocks(run);
    ac_run_limit_release(run);
    ac_run_trace_suspend(run);
    ac_run_log_suspend(run);
    ac_run_call_drop_all(run);
    if (run->suspended.wants_cancel) {
        ac_run_approval_cancel(run->engine, run->turn->run_id, run->turn->owner);
    }
    ac_run_slot_release(run);
    ac_run_free(run);
}

void ac_run_end(ac_run_t *run)
{
    ac_run_transit(run, run->outcome, "stored");
    log_end(run);
    stop_clocks(run);
    if (run->close.failed) {
        ac_run_log_leave_pending(run);
    }
    ac_run_metrics_publish(run);
    ac_after_run_t *title = ac_title_create(run), *summary = ac_history_summary_create(run);
    ac_run_trace_end(run); /* before its followers end their requests */
    ac_run_event_show_terminal(run);
    /* After the log has the end: a process that dies in between does not count the run twice with its recovery. */
    ac_run_metrics_end(run);
    ac_run_log_end(run);
    ac_run_slot_release(run);
    ac_run_busy_wake(run);
    ac_run_free(run);
    ac_after_run_begin(title, ac_run_slot_report_stop);
    ac_after_run_begin(summary, ac_run_slot_report_stop);
}

void ac_run_start(ac_engine_t *engine, ac_turn_t *turn, ac_follower_t *follower)
{
    ac_run_t *run = ac_run_create(engine, turn);
    ac_run_trace_begin(run);
    follower->unstored = turn->stateless;
    ac_channel_follow(run->channel, follower);
    ac_channel_on_empty(run->channel, ac_run_follower_left, run);
    ac_run_slot_request(run);
}
