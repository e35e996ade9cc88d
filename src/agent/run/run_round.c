/* SPDX-License-Identifier: Apache-2.0 */
/* What the events, the message and the model's conversation have of the calls of a round. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define MOST_HOSTED 128 /* calls of a model's service in one model call; more are not shown */

void ac_run_round_mark(const ac_call_t *call, json_t *data)
{
    ac_json_put(data, "call_id", ac_json_text(call->id));
    if (call->client) {
        ac_json_put(data, "client", json_true());
        ac_json_put(data, "index", json_integer(call->place));
    }
    if (call->hosted) {
        ac_json_put(data, "hosted", json_true());
    }
    ac_run_nesting_mark(call->run, data);
}

void ac_run_round_stream(ac_call_t *call, const char *fragment, size_t len)
{
    char *text = ac_alloc((size_t)call->n_tail + len + 1);
    memcpy(text, call->tail, (size_t)call->n_tail);
    memcpy(text + call->n_tail, fragment, len);
    len += (size_t)call->n_tail;
    size_t whole = ac_utf8_whole(text, len);
    if (len - whole >= sizeof call->tail) { /* no UTF-8; the event shows it as U+FFFD */
        whole = len;
    }
    call->n_tail = (int)(len - whole);
    memcpy(call->tail, text + whole, len - whole);
    text[whole] = '\0';
    if (whole > 0) {
        json_t *data = json_object();
        ac_json_put(data, "step_id", ac_json_text(call->step_id));
        ac_json_put(data, "arguments_delta", ac_json_text(text));
        ac_run_round_mark(call, data);
        call->streamed = true;
        ac_run_event_emit(call->run, AC_EVENT_TRACE_UPDATE, data, NULL, 0);
    }
    free(text);
}

static json_t *call_error_json(const ac_call_t *call)
{
    return call->error ? ac_json_text(call->error) : json_null();
}

static json_t *call_result_json(const ac_call_t *call)
{
    return call->result ? json_incref(call->result) : json_null();
}

json_t *ac_run_round_ended(const ac_call_t *call)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "tool", ac_json_text(call->name));
    ac_json_put(data, "arguments", json_incref(call->arguments));
    if (call->error) {
        ac_json_put(data, "error", call_error_json(call));
    } else if (!call->client) {
        ac_json_put(data, "result", call_result_json(call));
    }
    ac_json_put(data, "latency_ms", json_integer(apr_time_as_msec(call->took)));
    ac_run_handoff_mark(call, data);
    if (call->refusal || call->approved) {
        ac_json_put(data, "approved", json_boolean(call->approved));
    }
    ac_run_round_mark(call, data);
    return data;
}

void ac_run_round_keep(ac_run_t *run, const ac_call_t *call)
{
    json_t *kept = json_object();
    if (!run->answer.tool_calls) {
        run->answer.tool_calls = json_array();
    }
    ac_json_put(kept, "id", ac_json_text(call->id));
    ac_json_put(kept, "tool", ac_json_text(call->name));
    ac_json_put(kept, "arguments", json_incref(call->arguments));
    ac_json_put(kept, "result", call_result_json(call));
    ac_json_put(kept, "error", call_error_json(call));
    ac_json_put(kept, "latency_ms", json_integer(apr_time_as_msec(call->took)));
    if (call->client) {
        ac_json_put(kept, "client", json_true());
    }
    if (call->hosted) {
        ac_json_put(kept, "hosted", json_true());
    }
    ac_run_handoff_mark(call, kept);
    json_array_append_new(run->answer.tool_calls, kept);
    ac_record_parts_add_call(&run->answer.parts, call->answer_len, call->id);
}

void ac_run_round_keep_calls(ac_run_t *run)
{
    if (!run->answer.tool_calls) {
        run->answer.tool_calls = json_array();
    }
    for (int i = 0; i < run->calls.n; i++) {
        if (run->calls.list[i] && run->calls.list[i]->done) {
            ac_run_round_keep(run, run->calls.list[i]);
        }
    }
}

/* The message of the round, and the results. Consumes calls: those that the next model call gets. */
static void round_add(ac_run_t *run, json_t *calls)
{
    json_t *message = json_object();
    bool any = json_array_size(calls) > 0;
    const char *said = run->answer.text.len > run->answer.round_start ? run->answer.text.data + run->answer.round_start
                                                                      : NULL;
    ac_json_put(message, "role", json_string("assistant"));
    ac_json_put(message, "content", ac_json_text(said));
    if (any) {
        ac_json_put(message, "tool_calls", json_incref(calls));
    }
    if (!ac_run_handoff_find(run)) { /* what the model wants back has the call that hands over */
        ac_run_carried_put(run, message);
    }
    if (any || said) {
        json_array_append(run->ask.messages, message);
    }
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        if (!ac_run_handoff_has(call)) {
            json_array_append_new(run->ask.messages,
                                  ac_history_tool_message(run->agent, call->id, call->name, call->result, call->error));
        }
    }
    json_decref(message);
    json_decref(calls);
}

/* Adds the calls and results to the message and to the conversation, in the same order. */
static void next_round(ac_run_t *run)
{
    json_t *calls = json_array();
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        if (ac_run_handoff_has(call)) {
            continue;
        }
        char *arguments = json_is_string(call->arguments) ? strdup(json_string_value(call->arguments))
                                                          : ac_json_dump(call->arguments, NULL);
        json_t *function = json_object(), *entry = json_object();
        ac_json_put(function, "name", ac_json_text(call->name));
        ac_json_put(function, "arguments", ac_json_text(arguments ? arguments : "{}"));
        free(arguments);
        ac_json_put(entry, "id", ac_json_text(call->id));
        ac_json_put(entry, "type", json_string("function"));
        ac_json_put(entry, "function", function);
        json_array_append_new(calls, entry);
    }
    round_add(run, calls);
    ac_run_round_keep_calls(run);
}

/* The client carries out the rest of the round, and brings the results with its next turn. */
static void end_in_calls(ac_run_t *run)
{
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        if (call->client) {
            call->done = true;
            call->took = 0;
            ac_run_call_record(run, call);
        }
    }
    ac_run_round_keep_calls(run);
    run->answer.ends_in_calls = true;
    ac_run_finish(run, AC_RUN_COMPLETED, NULL, "calls of the client");
}

static void ask_new_agent(ac_run_t *run)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_client_tools_check(run, &err) != APR_SUCCESS) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "tools refused");
        return;
    }
    ac_history_offer(run->ask.messages, run->tools.set, run->turn->client.list);
    ac_run_transit(run, AC_RUN_ASKING, "another agent continues");
}

void ac_run_round_end(ac_run_t *run)
{
    const ac_call_t *handoff = ac_run_handoff_find(run);
    bool ends = run->calls.n_client > 0;
    if (!ends) {
        next_round(run);
    }
    if (handoff) {
        ac_run_handoff_take(run, handoff);
        ac_run_limit_move(run);
    }
    if (ends) {
        end_in_calls(run);
        return;
    }
    ac_run_call_drop_all(run);
    if (handoff) {
        ac_run_tools_free(run);
        ac_run_tools_load(run, ask_new_agent);
    } else {
        ac_run_transit(run, AC_RUN_ASKING, "tools answered");
    }
}

/* ---- calls that the model's service carries out itself: it knows their results, so no model gets them again ---- */

static ac_call_t *hosted_by_id(const ac_run_t *run, const char *id)
{
    for (int i = run->ask.n_hosted - 1; i >= 0; i--) {
        if (strcmp(run->ask.hosted[i]->hosted, id) == 0) {
            return run->ask.hosted[i];
        }
    }
    return NULL;
}

static ac_call_t *add_hosted(ac_run_t *run, const ac_hosted_call_t *hosted)
{
    if (run->ask.n_hosted == MOST_HOSTED) {
        return NULL;
    }
    if (!run->ask.hosted) {
        run->ask.hosted = ac_alloc(MOST_HOSTED * sizeof *run->ask.hosted);
    }
    ac_call_t *call = ac_run_call_hosted(run, hosted->id, hosted->name);
    run->ask.hosted[run->ask.n_hosted++] = call;
    return call;
}

/* Consumes result; error may be NULL. */
static void end_hosted(ac_call_t *call, json_t *result, const char *error)
{
    ac_run_t *run = call->run;
    call->done = true;
    call->took = ac_clock() - call->started;
    call->error = error ? strdup(error) : NULL;
    call->result = error ? NULL : result;
    if (error) {
        json_decref(result);
    }
    ac_run_call_record(run, call);
    ac_run_round_keep(run, call);
}

void ac_run_round_hosted(ac_run_t *run, const ac_hosted_call_t *hosted)
{
    ac_call_t *call = hosted_by_id(run, hosted->id);
    call = call ? call : add_hosted(run, hosted);
    if (!call || call->done || !hosted->ended) {
        return;
    }
    json_decref(call->arguments);
    call->arguments = json_deep_copy(hosted->arguments);
    char *text = ac_json_dump(call->arguments, NULL);
    if (text && json_object_size(call->arguments)) {
        ac_run_round_stream(call, text, strlen(text));
    }
    free(text);
    json_t *result = hosted->result ? ac_run_call_cap(json_deep_copy(hosted->result), AC_MAX_TOOL_RESULT) : json_null();
    end_hosted(call, result, hosted->error);
}

void ac_run_round_end_hosted(ac_run_t *run)
{
    for (int i = 0; i < run->ask.n_hosted; i++) {
        if (!run->ask.hosted[i]->done) {
            end_hosted(run->ask.hosted[i], NULL, "the model's service has not said how the call ended");
        }
        ac_run_call_free(run->ask.hosted[i]);
    }
    free(run->ask.hosted);
    run->ask.hosted = NULL;
    run->ask.n_hosted = 0;
}
