/* SPDX-License-Identifier: Apache-2.0 */
/* CALLING: the tools of a round, all at once, each with its own deadline. A failed call gives the model an error to
 * read, and the run continues. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define PROGRESS_PAUSE apr_time_from_msec(100) /* between two events of a call's progress */

/* Ids are unique in one round, but a model may use the same ones in the next; the stored message has all of them. */
static char *unique_id(const ac_run_t *run, const char *id)
{
    size_t i;
    json_t *earlier;
    if (run->nested.outer) { /* decisions name the calls of all runs of a turn */
        char own[AC_ID_SIZE];
        ac_id_make(own, "call_");
        return strdup(own);
    }
    json_array_foreach(run->answer.tool_calls, i, earlier)
    {
        if (strcmp(ac_json_peek_string(earlier, "id", ""), id) == 0) {
            ac_buf_t text;
            ac_buf_init(&text, AC_MAX_TOOL_ARGUMENTS);
            if (ac_buf_printf(&text, "%s_r%d", id, run->round) == APR_SUCCESS) {
                return text.data;
            }
            ac_buf_free(&text);
        }
    }
    return strdup(id);
}

/* Makes a call and emits TRACE_START. hosted: the model's service carries it out. */
static ac_call_t *make_call(ac_run_t *run, const char *id, const char *name, bool hosted)
{
    ac_call_t *call = ac_alloc(sizeof *call);
    call->run = run;
    call->id = unique_id(run, id);
    call->name = strdup(name);
    call->hosted = hosted ? strdup(id) : NULL;
    if (!call->id || !call->name) {
        abort();
    }
    call->arguments = json_object();
    call->tool = hosted ? NULL : ac_toolset_find(run->tools.set, name);
    call->client = !hosted && !call->tool && ac_client_tools_has(run, name);
    call->started = ac_clock();
    call->started_at = apr_time_now();
    call->answer_len = run->answer.text.len;
    ac_id_make(call->step_id, "step_");
    return call;
}

/* asks: it needs an approval. */
static void show_call(ac_call_t *call, bool asks)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "tool", ac_json_text(call->name));
    if (asks && !call->run->turn->stateless) {
        ac_json_put(data, "needs_approval", json_true());
    }
    if (call->tool && call->tool->agent && !call->tool->hands_off) {
        ac_json_put(data, "asks", ac_json_text(call->tool->agent->id));
    }
    ac_run_handoff_mark(call, data);
    ac_run_round_mark(call, data);
    ac_run_event_emit(call->run, AC_EVENT_TRACE_START, data, NULL, 0);
}

ac_call_t *ac_run_call_hosted(ac_run_t *run, const char *id, const char *name)
{
    ac_call_t *call = make_call(run, id, name, true);
    show_call(call, false);
    return call;
}

ac_call_t *ac_run_call_get(ac_run_t *run, int index, const ac_tool_call_t *wanted)
{
    if (index >= run->calls.n) {
        ac_call_t **calls = realloc(run->calls.list, ((size_t)index + 1) * sizeof *calls);
        if (!calls) {
            abort();
        }
        memset(calls + run->calls.n, 0, ((size_t)index + 1 - (size_t)run->calls.n) * sizeof *calls);
        run->calls.list = calls;
        run->calls.n = index + 1;
    }
    if (run->calls.list[index]) {
        return run->calls.list[index];
    }
    ac_call_t *call = run->calls.list[index] = make_call(run, wanted->id, wanted->name, wanted->approval);
    call->index = index;
    call->place = run->calls.n_client;
    run->calls.n_client += call->client;
    show_call(call, call->hosted || (call->tool && call->tool->conf->approval));
    return call;
}

void ac_run_call_free(ac_call_t *call)
{
    json_decref(call->arguments);
    json_decref(call->result);
    free(call->error);
    free(call->refusal);
    free(call->source);
    free(call->hosted);
    json_decref(call->question);
    json_decref(call->sources);
    json_decref(call->state);
    free(call->id);
    free(call->name);
    free(call);
}

void ac_run_call_record(ac_run_t *run, ac_call_t *call)
{
    ac_run_event_emit(run, AC_EVENT_TRACE_END, ac_run_round_ended(call), NULL, 0);
    if (call->sources) {
        ac_run_event_emit(run, AC_EVENT_SOURCES, ac_run_sources_event(call, json_incref(call->sources)), NULL, 0);
    }
    ac_run_document_add_step(run, ac_run_document_step(run, call));
}

void ac_run_call_moved(ac_run_t *run)
{
    if (!run->calls.begun || run->state != AC_RUN_CALLING || run->calls.n_open > run->calls.n_approvals) {
        return;
    }
    if (run->calls.n_open == 0) {
        ac_run_round_end(run);
    } else if (run->n_ops > 0) {
        return; /* a limit counts the resumed run; its completion comes back here */
    } else if (run->nested.outer) {
        ac_run_nested_wait(run);
    } else {
        ac_run_transit(run, AC_RUN_SUSPENDING, "awaiting approval");
    }
}

static void log_call(const ac_call_t *call)
{
    ac_run_facts_t facts;
    ac_log_fields_t fields;
    if (!ac_log_on(AC_DEBUG)) {
        return;
    }
    ac_run_summary_fields(&fields, &facts, call->run);
    fields.tool = call->tool ? call->tool->id : NULL; /* a name that the model has made up is its text */
    fields.status = call->error ? "failed" : "completed";
    fields.latency = call->took;
    fields.usage = NULL;
    fields.currency = NULL;
    ac_debug_about(&fields, "run[%s] tool[%s]: %s after %d ms", facts.run_id, fields.tool ? fields.tool : "unknown",
                   fields.status, (int)apr_time_as_msec(call->took));
}

/* Consumes result. The end of the last call ends the round and frees the call. */
static void run_call_end(ac_call_t *call, json_t *result, const char *error, ac_tool_outcome_e outcome)
{
    ac_run_t *run = call->run;
    ac_timer_cancel(run->engine->loop, &call->deadline);
    call->done = true;
    if (call->needs_approval || call->waits) {
        run->calls.n_approvals--;
    }
    call->needs_approval = call->waits = false;
    call->result = result;
    if (error) {
        call->error = strdup(error);
    }
    call->took = ac_clock() - call->started;
    ac_run_metrics_tool_end(call, outcome);
    ac_run_trace_tool_end(call, outcome);
    log_call(call);
    ac_run_call_record(run, call);
    run->calls.n_open--;
    ac_run_call_moved(run);
}

json_t *ac_run_call_cap(json_t *result, size_t max)
{
    size_t len = 0;
    char *text = json_is_string(result) ? strdup(json_string_value(result)) : ac_json_dump(result, &len);
    if (text && json_is_string(result)) {
        len = strlen(text);
    }
    if (text && len > max) {
        ac_buf_t cut;
        ac_buf_init(&cut, max + 64);
        ac_buf_add(&cut, text, ac_utf8_whole(text, max));
        ac_buf_printf(&cut, " … (cut: %" APR_SIZE_T_FMT " of %" APR_SIZE_T_FMT " bytes)", max, len);
        json_decref(result);
        result = ac_json_text(cut.data);
        ac_buf_free(&cut);
    }
    free(text);
    return result;
}

static json_t *cap_result(const ac_tool_t *tool, json_t *result)
{
    return ac_run_call_cap(result, tool->conf->result_max ? tool->conf->result_max : AC_MAX_TOOL_RESULT);
}

/* The text that the model gets of a call that failed: the tool's own, if it has one. Consumes result. */
static void run_call_fail(ac_call_t *call, json_t *result, const ac_err_t *err)
{
    ac_tool_outcome_e outcome = err && err->kind == AC_TOOL_TIMEOUT ? AC_TOOL_OUTCOME_TIMEOUT : AC_TOOL_OUTCOME_ERROR;
    json_t *text = json_is_string(result) ? cap_result(call->tool, json_incref(result)) : NULL;
    const char *error = text ? json_string_value(text) : err && err->detail[0] ? err->detail : "the tool failed";
    json_decref(result);
    run_call_end(call, NULL, error, outcome);
    json_decref(text);
}

/* The tool gets no answer to its question; NULL: it has asked nothing. */
static void decline(const ac_call_t *call, const json_t *question)
{
    if (question && call->tool && call->tool->vt->decline) {
        call->tool->vt->decline(call->tool->self, question);
    }
}

/* The tool wants to know something before it ends: the approval of the call is the answer. Consumes question. */
static void run_call_ask(ac_call_t *call, json_t *question)
{
    ac_run_t *run = call->run;
    const char *refused = run->turn->stateless || run->turn->no_approvals
        ? "this tool needs approval, which is not possible here"
        : call->n_questions >= AC_MAX_MCP_QUESTIONS ? "the tool asks for one approval after the other"
                                                    : NULL;
    if (refused) {
        decline(call, question);
        json_decref(question);
        run_call_end(call, NULL, refused, AC_TOOL_OUTCOME_ERROR);
        return;
    }
    ac_timer_cancel(run->engine->loop, &call->deadline);
    ac_run_trace_tool_drop(call);
    json_decref(call->question);
    call->question = question;
    call->n_questions++;
    call->approved = call->begun = false;
    call->needs_approval = true;
    run->calls.n_approvals++;
    ac_run_call_moved(run);
}

void ac_run_call_result(void *baton, apr_status_t status, json_t *result, const ac_err_t *err)
{
    ac_call_t *call = baton;
    call->handle = NULL;
    if (status == APR_SUCCESS && result) {
        ac_run_sources_find(call, result);
        run_call_end(call, cap_result(call->tool, result), NULL, AC_TOOL_OUTCOME_OK);
    } else if (status == AC_TOOL_ASKS && json_is_object(result) && call->tool->vt->proceed) {
        run_call_ask(call, result);
    } else {
        run_call_fail(call, result, err);
    }
}

void ac_run_call_progress(void *baton, json_t *progress)
{
    ac_call_t *call = baton;
    apr_time_t now = ac_clock();
    if (call->n_progress >= AC_MAX_MCP_PROGRESS || (call->n_progress && now - call->progress_at < PROGRESS_PAUSE)) {
        json_decref(progress);
        return;
    }
    call->n_progress++;
    call->progress_at = now;
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "call_id", ac_json_text(call->id));
    ac_json_put(data, "tool", ac_json_text(call->name));
    ac_json_put(data, "progress", progress);
    ac_run_event_emit(call->run, AC_EVENT_TRACE_UPDATE, data, NULL, 0);
}

static void abandon(ac_call_t *call)
{
    ac_run_nested_stop(call);
    if (call->handle) {
        call->tool->vt->cancel(call->handle);
    }
    call->handle = NULL;
    ac_run_job_abandon(call);
}

static void run_call_on_deadline(void *baton)
{
    ac_call_t *call = baton;
    char limit[AC_TIME_SIZE], text[96];
    ac_time_format_duration(limit, call->tool->conf->timeout);
    apr_snprintf(text, sizeof text, "the tool did not answer within %s", limit);
    abandon(call);
    run_call_end(call, NULL, text, AC_TOOL_OUTCOME_TIMEOUT);
}

static apr_status_t start_tool(ac_call_t *call, apr_time_t deadline, ac_err_t *err)
{
    const ac_tool_t *tool = call->tool;
    ac_trace_enter(ac_run_trace_call(call));
    apr_status_t status = call->question
        ? tool->vt->proceed(&call->handle, tool->self, call->arguments, call->question, deadline, ac_run_call_result,
                            call, err)
        : tool->vt->start(&call->handle, tool->self, call->arguments, deadline, ac_run_call_result, call, err);
    ac_trace_enter(NULL);
    return status;
}

static apr_status_t compute_result(json_t **presult, const ac_call_t *call, ac_err_t *err)
{
    ac_trace_enter(ac_run_trace_call(call));
    apr_status_t status = call->tool->vt->compute(call->tool->self, call->arguments, presult, err);
    ac_trace_enter(NULL);
    return status;
}

/* The call waits for its owner. */
static apr_status_t await_approval(ac_call_t *call, ac_err_t *err)
{
    ac_run_t *run = call->run;
    if (run->turn->stateless || run->turn->no_approvals) {
        return ac_err_set(err, AC_TOOL_ERROR, "this tool needs approval, which is not possible here");
    }
    call->needs_approval = true;
    ac_run_trace_tool_drop(call);
    run->calls.n_approvals++;
    return APR_SUCCESS;
}

/* The model's service asks whether it may call a tool of its own: the decision is all that it gets. */
static apr_status_t start_hosted(ac_call_t *call, ac_err_t *err)
{
    if (!call->approved) {
        return await_approval(call, err);
    }
    ac_run_trace_tool_drop(call);
    run_call_end(call, json_string("approved"), NULL, AC_TOOL_OUTCOME_OK);
    return APR_SUCCESS;
}

static apr_status_t start_call(ac_call_t *call, ac_err_t *err)
{
    ac_run_t *run = call->run;
    const ac_tool_t *tool = call->tool;
    apr_status_t status;
    if (call->refusal) {
        decline(call, call->question);
        return ac_err_set(err, AC_TOOL_ERROR, "%s", call->refusal);
    }
    if (call->hosted) {
        return start_hosted(call, err);
    }
    if (!tool || (call->question && !tool->vt->proceed)) {
        return ac_toolset_unknown(run->tools.set, err);
    }
    if (!json_is_object(call->arguments)) {
        return ac_err_set(err, AC_TOOL_ERROR, "the arguments are not a JSON object");
    }
    if ((status = ac_schema_check(tool->parameters, call->arguments, err)) != APR_SUCCESS) {
        return status;
    }
    if (tool->conf->approval && !call->approved) {
        return await_approval(call, err);
    }
    call->begun = true;
    if (tool->hands_off) {
        status = ac_run_handoff_check(call, err);
        if (status == APR_SUCCESS) {
            ac_run_call_result(call, status, json_pack("{s:s}", "agent_id", tool->agent->id), NULL);
        }
        return status;
    }
    if (tool->agent) {
        return ac_run_nested_start(call, err);
    }
    if (tool->vt->compute) {
        json_t *result = NULL;
        status = compute_result(&result, call, err);
        if (status != APR_SUCCESS) {
            json_decref(result);
            return status;
        }
        ac_run_call_result(call, status, result, err);
        return APR_SUCCESS;
    }
    apr_time_t deadline = ac_loop_now(run->engine->loop) + tool->conf->timeout;
    if (tool->vt->flags & AC_TOOL_BLOCKING) {
        status = ac_run_job_start(call, deadline, ac_run_call_result, err);
    } else {
        status = start_tool(call, deadline, err);
    }
    if (status == APR_SUCCESS) {
        ac_timer_set(run->engine->loop, &call->deadline, deadline, run_call_on_deadline, call);
    }
    return status;
}

void ac_run_call_enter(ac_run_t *run)
{
    run->calls.n_open = run->calls.n_approvals = 0;
    run->calls.begun = false;
    for (int i = 0; i < run->calls.n; i++) {
        run->calls.n_open += !run->calls.list[i]->done && !run->calls.list[i]->client;
    }
    /* The effects of a tool cannot be undone, and a turn that is not stored may still be refused or restarted. */
    if (ac_run_open_is_done(run)) {
        ac_run_call_begin_all(run);
    }
}

static ac_tool_outcome_e outcome_of(const ac_call_t *call)
{
    return call->begun ? AC_TOOL_OUTCOME_ERROR : call->refusal ? AC_TOOL_OUTCOME_REFUSED : AC_TOOL_OUTCOME_INVALID;
}

void ac_run_call_begin_all(ac_run_t *run)
{
    ac_run_metrics_tools_begin(run);
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        ac_err_t err;
        if (call->done || call->client) {
            continue;
        }
        ac_err_init(&err);
        if (!call->state) {
            call->requested_at = call->approved || call->refusal ? call->started_at : 0;
            call->started = ac_clock();
            call->started_at = apr_time_now();
        }
        ac_run_trace_tool_begin(call);
        if (start_call(call, &err) == APR_SUCCESS) {
            continue;
        }
        char text[AC_ERR_DETAIL_SIZE + AC_ERR_POINTER_SIZE + 8];
        apr_snprintf(text, sizeof text, "%s%s%s", err.pointer, err.pointer[0] ? ": " : "", err.detail);
        run_call_end(call, NULL, text, outcome_of(call));
    }
    run->calls.begun = true;
    ac_run_call_moved(run);
}

void ac_run_call_close_all(ac_run_t *run, const char *error)
{
    run->calls.begun = false; /* so that run_call_end() does not end the round */
    for (int i = 0; i < run->calls.n; i++) {
        if (!run->calls.list[i] || run->calls.list[i]->done) {
            continue;
        }
        abandon(run->calls.list[i]);
        run_call_end(run->calls.list[i], NULL, error, AC_TOOL_OUTCOME_ABANDONED);
    }
    if (run->calls.n > 0) {
        ac_run_round_keep_calls(run);
    }
}

void ac_run_call_drop_all(ac_run_t *run)
{
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        if (!call) {
            continue;
        }
        ac_run_nested_drop(call);
        abandon(call);
        ac_timer_cancel(run->engine->loop, &call->deadline);
        ac_run_trace_tool_drop(call);
        ac_run_call_free(call);
    }
    free(run->calls.list);
    run->calls.list = NULL;
    run->calls.n = run->calls.n_open = run->calls.n_approvals = run->calls.n_client = 0;
}
