/* SPDX-License-Identifier: Apache-2.0 */
/* Nested runs: an agent that another agent calls as a tool. A nested run has a conversation, tools and a model of its
 * own; its calls, steps, events and usage are those of the turn. It needs no slot: a run that waited for one while its
 * outer run holds another would never get it. */
#include "run_internal.h"

#include <string.h>

/* ---- beginning ---- */

/* What was said so far, without calls and their results. */
static json_t *nested_history(const ac_run_t *outer)
{
    json_t *history = json_array(), *message;
    size_t i;
    json_array_foreach(outer->ask.messages, i, message)
    {
        const char *role = ac_json_peek_string(message, "role", ""),
                   *text = ac_json_peek_string(message, "content", "");
        if (*text && (strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0)) {
            json_array_append_new(history, json_pack("{s:s, s:o}", "role", role, "content", ac_json_text(text)));
        }
    }
    return history;
}

static ac_turn_t *nested_turn(const ac_call_t *call)
{
    const ac_run_t *outer = call->run;
    ac_turn_t *turn =
        ac_turn_create(call->tool->agent, outer->turn->owner, ac_json_peek_string(call->arguments, "input", ""));
    if (!turn) {
        abort();
    }
    apr_cpystrn(turn->run_id, outer->turn->run_id, sizeof turn->run_id);
    apr_cpystrn(turn->thread_id, outer->turn->thread_id, sizeof turn->thread_id);
    apr_cpystrn(turn->request_id, outer->turn->request_id, sizeof turn->request_id);
    turn->protocol = outer->turn->protocol;
    turn->stateless = outer->turn->stateless;
    turn->no_approvals = outer->turn->no_approvals;
    turn->quota = outer->turn->quota;
    ac_quota_ref(turn->quota);
    ac_turn_set_trace(turn, ac_run_trace_call(call));
    if (outer->agent->tells_history) {
        turn->history = nested_history(outer);
    }
    return turn;
}

static void nested_begin(void *baton)
{
    ac_run_t *run = baton;
    if (ac_run_is_live(run)) {
        ac_run_transit(run, AC_RUN_LOADING, "called by another agent");
    }
}

static void nested_continue(ac_run_t *run)
{
    ac_run_tools_find(run);
    ac_run_decision_apply(run, ac_run_nesting_root(run)->suspended.decisions);
    ac_run_transit(run, AC_RUN_CALLING, "resumed with its turn");
}

static void nested_resume(void *baton)
{
    ac_run_t *run = baton;
    if (ac_run_is_live(run)) {
        ac_run_tools_load(run, nested_continue);
    }
}

apr_status_t ac_run_nested_start(ac_call_t *call, ac_err_t *err)
{
    ac_run_t *outer = call->run;
    json_t *state = call->state;
    if (outer->nested.depth >= AC_MAX_AGENT_DEPTH) {
        return ac_err_set(err, AC_TOOL_ERROR, "agents call each other at most %d deep", AC_MAX_AGENT_DEPTH);
    }
    ac_run_t *run = ac_run_create(outer->engine, nested_turn(call));
    ac_timer_cancel(outer->engine->loop, &run->state_timer);
    run->nested = (ac_run_nested_t){.outer = outer, .call = call, .depth = outer->nested.depth + 1};
    run->times.started_at = run->times.created_at;
    run->open.requested = true;
    run->open.state = AC_RUN_OPEN_DONE;
    call->state = NULL;
    call->nested = run;
    outer->nested.n_inner++;
    bool whole = !state || ac_run_suspended_read(run, state);
    json_decref(state);
    ac_run_trace_begin(run);
    ac_metrics_add(AC_METRIC_NESTED_RUNS, AC_LABELS(run->agent->metric, (unsigned)run->nested.depth), 1);
    if (!whole) {
        ac_err_set(&run->err, AC_STORE_ERROR, "the stored state of the agent's run is damaged");
        ac_run_finish(run, AC_RUN_FAILED, NULL, "state damaged");
    } else if (state) {
        ac_run_limit_resume(run);
        ac_loop_ready_set(outer->engine->loop, &run->ready, nested_resume, run);
    } else {
        ac_loop_ready_set(outer->engine->loop, &run->ready, nested_begin, run);
    }
    return APR_SUCCESS;
}

/* ---- waiting, and the end ---- */

void ac_run_nested_wait(ac_run_t *run)
{
    ac_call_t *call = run->nested.call;
    if (call->waits) {
        return;
    }
    ac_gate_leave(&run->ask.entry);
    ac_run_cost_commit(run);
    call->waits = true;
    call->run->calls.n_approvals++;
    ac_run_call_moved(call->run);
}

static void nested_stop_clocks(ac_run_t *run)
{
    ac_timer_cancel(run->engine->loop, &run->state_timer);
    ac_loop_ready_cancel(run->engine->loop, &run->ready);
}

static void nested_leave(void *baton)
{
    ac_run_t *run = baton, *outer = run->nested.outer;
    ac_call_t *call = run->nested.call;
    bool completed = run->outcome == AC_RUN_COMPLETED;
    json_t *result = completed ? ac_json_text(run->answer.text.len ? run->answer.text.data : "") : NULL;
    ac_err_t err = run->err;
    ac_run_transit(run, run->outcome, "its call has ended");
    nested_stop_clocks(run);
    ac_run_trace_end(run);
    ac_run_free(run);
    outer->nested.n_inner--;
    if (call) {
        call->nested = NULL;
        ac_run_call_result(call, completed ? APR_SUCCESS : APR_EGENERAL, result, &err);
    } else {
        json_decref(result);
        if (outer->state == AC_RUN_SAVING) {
            ac_run_close_continue(outer);
        }
    }
}

void ac_run_nested_close(ac_run_t *run)
{
    ac_loop_ready_cancel(run->engine->loop, &run->ready);
    ac_loop_ready_set(run->engine->loop, &run->ready, nested_leave, run);
}

void ac_run_nested_stop(ac_call_t *call)
{
    ac_run_t *run = call->nested;
    ac_err_t err;
    if (!run) {
        return;
    }
    ac_err_init(&err);
    ac_err_set(&err, AC_CANCELLED, "the run ended before this agent did");
    ac_run_finish(run, AC_RUN_CANCELLED, &err, "not wanted any more");
    run->nested.call = NULL;
    call->nested = NULL;
}

void ac_run_nested_drop(ac_call_t *call)
{
    ac_run_t *run = call->nested;
    if (!run) {
        return;
    }
    call->nested = NULL;
    nested_stop_clocks(run);
    ac_run_limit_release(run);
    ac_run_trace_suspend(run);
    ac_run_call_drop_all(run);
    run->nested.outer->nested.n_inner--;
    ac_run_free(run);
}
