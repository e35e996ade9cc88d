/* SPDX-License-Identifier: Apache-2.0 */
/* The state document of a suspended run: all that any process needs to resume it. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define VERSION 1               /* of the document's format */
#define MOST (INT64_C(1) << 53) /* tokens, events, or microseconds (1970 to 2255) */

/* ---- out ---- */

static json_t *usage_json(const ac_usage_t *usage)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "prompt", (json_int_t)usage->prompt, "completion",
                     (json_int_t)usage->completion, "total", (json_int_t)usage->total, "cached",
                     (json_int_t)usage->cached, "reasoning", (json_int_t)usage->reasoning, "known", usage->known,
                     "estimated", usage->estimated);
}

static json_t *call_json(const ac_call_t *call) /* with the state of its nested run */
{
    json_t *json = json_object();
    ac_json_put(json, "id", ac_json_text(call->id));
    ac_json_put(json, "name", ac_json_text(call->name));
    ac_json_put(json, "step_id", ac_json_text(call->step_id));
    ac_json_put(json, "arguments", json_incref(call->arguments));
    ac_json_put(json, "result", call->result ? json_incref(call->result) : json_null());
    ac_json_put(json, "error", ac_json_text(call->error));
    ac_json_put(json, "started_at", json_integer(call->started_at));
    ac_json_put(json, "took", json_integer(call->took));
    ac_json_put(json, "done", json_boolean(call->done));
    ac_json_put(json, "at", json_integer((json_int_t)call->answer_len));
    if (call->client) {
        ac_json_put(json, "client", json_integer(call->place));
    }
    if (call->tool && call->tool->source) {
        ac_json_put(json, "source", ac_json_text(call->tool->source));
    }
    if (call->hosted) {
        ac_json_put(json, "hosted", ac_json_text(call->hosted));
    }
    if (call->question) {
        ac_json_put(json, "question", json_incref(call->question));
        ac_json_put(json, "questions", json_integer(call->n_questions));
    }
    if (call->nested) {
        ac_json_put(json, "state", ac_run_suspended_make(call->nested, json_null()));
    } else if (call->state) {
        ac_json_put(json, "state", json_incref(call->state));
    }
    return json;
}

static json_t *shared(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

json_t *ac_run_suspended_make(ac_run_t *run, json_t *events)
{
    const ac_turn_t *turn = run->turn;
    json_t *state = json_object(), *calls = json_array();
    for (int i = 0; i < run->calls.n; i++) {
        json_array_append_new(calls, call_json(run->calls.list[i]));
    }
    ac_json_put(state, "version", json_integer(VERSION));
    ac_json_put(state, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(state, "message_id", ac_json_text(turn->message_id));
    ac_json_put(state, "parent_seq", json_integer(run->open.place.parent_seq));
    ac_json_put(state, "after", json_integer(run->open.place.after));
    ac_json_put(state, "request_id", ac_json_text(turn->request_id));
    ac_json_put(state, "protocol", json_string(ac_metrics_protocol(turn->protocol)));
    ac_json_put(state, "created_at", json_integer(run->times.created_at));
    ac_json_put(state, "started_at", json_integer(run->times.started_at));
    ac_json_put(state, "ttft", json_integer(run->times.first_token));
    ac_json_put(state, "took", json_integer(ac_run_metrics_took(run)));
    ac_json_put(state, "working", json_integer(run->times.working));
    ac_json_put(state, "reasoning", json_integer(run->times.reasoning));
    ac_json_put(state, "round", json_integer(run->round));
    ac_json_put(state, "total_rounds", json_integer(run->nested.n_rounds));
    ac_json_put(state, "round_start", json_integer((json_int_t)run->answer.round_start));
    ac_json_put(state, "answer", ac_json_text(run->answer.text.len ? run->answer.text.data : ""));
    ac_json_put(state, "model", ac_json_text(ac_run_document_model(run)));
    ac_json_put(state, "usage", usage_json(&run->cost.usage));
    ac_json_put(state, "paid_amount", json_real(run->cost.paid_amount));
    ac_json_put(state, "unpriced", json_boolean(run->cost.unpriced));
    ac_json_put(state, "messages", shared(run->ask.messages));
    if (run->ask.carried) {
        ac_json_put(state, "carried", json_incref(run->ask.carried));
    }
    ac_json_put(state, "tool_calls", shared(run->answer.tool_calls));
    ac_json_put(state, "parts", shared(run->answer.parts.list));
    ac_json_put(state, "steps", shared(run->answer.steps));
    ac_json_put(state, "sources", shared(run->answer.sources));
    ac_json_put(state, "calls", calls);
    ac_json_put(state, "seq", json_integer((json_int_t)ac_channel_seq(run->channel)));
    ac_json_put(state, "events", events);
    ac_json_put(state, "trace", ac_run_trace_json(run));
    if (turn->client.list) {
        ac_json_put(state, "client_tools", json_incref(turn->client.list));
        ac_json_put(state, "one_call", json_boolean(turn->client.one_call));
    }
    if (turn->format) {
        ac_json_put(state, "format", json_incref(turn->format));
    }
    ac_json_put(state, "handed_over", json_boolean(run->answer.handed_over));
    ac_json_put(state, "n_rejected", json_integer(run->answer.n_rejected));
    ac_json_put(state, "title", ac_json_text(run->load.title));
    ac_json_put(state, "title_unsure", json_boolean(run->load.title_unsure));
    return state;
}

/* ---- in ---- */

/* A count or a time. A value out of range is damaged and counts as 0, since sums are made with it. */
static int64_t number(const json_t *object, const char *name)
{
    int64_t value = ac_json_peek_int(object, name, 0);
    return value < 0 || value > MOST ? 0 : value;
}

static void read_usage(ac_usage_t *usage, const json_t *json)
{
    usage->prompt = number(json, "prompt");
    usage->completion = number(json, "completion");
    usage->total = number(json, "total");
    usage->cached = number(json, "cached");
    usage->reasoning = number(json, "reasoning");
    usage->known = json_is_true(json_object_get(json, "known"));
    usage->estimated = json_is_true(json_object_get(json, "estimated"));
}

static json_t *list_of(const json_t *state, const char *name)
{
    json_t *value = json_object_get(state, name);
    return json_is_array(value) ? json_deep_copy(value) : NULL;
}

static ac_call_t *run_state_read_call(ac_run_t *run, int index, const json_t *json)
{
    ac_call_t *call = ac_alloc(sizeof *call);
    json_t *result = json_object_get(json, "result"), *arguments = json_object_get(json, "arguments");
    const char *error = ac_json_peek_string(json, "error", NULL);
    call->run = run;
    call->index = index;
    call->id = strdup(ac_json_peek_string(json, "id", ""));
    call->name = strdup(ac_json_peek_string(json, "name", ""));
    if (!call->id || !call->name) {
        abort();
    }
    apr_cpystrn(call->step_id, ac_json_peek_string(json, "step_id", ""), sizeof call->step_id);
    call->arguments = arguments ? json_deep_copy(arguments) : json_object();
    call->done = json_is_true(json_object_get(json, "done"));
    call->error = call->done && error ? strdup(error) : NULL;
    call->result = call->done && !error && result ? json_deep_copy(result) : NULL;
    call->started_at = number(json, "started_at");
    call->started = ac_clock() - (apr_time_now() - call->started_at);
    call->took = number(json, "took");
    call->answer_len = (size_t)number(json, "at");
    call->client = json_is_integer(json_object_get(json, "client"));
    call->place = (int)number(json, "client");
    const char *source = ac_json_peek_string(json, "source", NULL);
    const char *hosted = ac_json_peek_string(json, "hosted", NULL);
    call->source = source ? strdup(source) : NULL;
    call->hosted = hosted ? strdup(hosted) : NULL;
    call->question = json_deep_copy(json_object_get(json, "question"));
    call->n_questions = (int)number(json, "questions");
    call->state = json_deep_copy(json_object_get(json, "state"));
    run->calls.n_client += call->client;
    return call;
}

static void read_calls(ac_run_t *run, const json_t *calls)
{
    const json_t *call;
    size_t i;
    run->calls.n = (int)json_array_size(calls);
    run->calls.list = ac_alloc((json_array_size(calls) + 1) * sizeof *run->calls.list);
    json_array_foreach((json_t *)calls, i, call) run->calls.list[i] = run_state_read_call(run, (int)i, call);
}

static bool of_objects(const json_t *list)
{
    const json_t *value;
    size_t i;
    json_array_foreach((json_t *)list, i, value)
    {
        if (!json_is_object(value)) {
            return false;
        }
    }
    return json_array_size(list) > 0;
}

static bool run_state_is_whole(const json_t *state)
{
    return number(state, "version") == VERSION && of_objects(json_object_get(state, "messages")) &&
        of_objects(json_object_get(state, "calls")) && json_is_string(json_object_get(state, "answer"));
}

static ac_protocol_e protocol_of(const json_t *state)
{
    const char *name = ac_json_peek_string(state, "protocol", "");
    int i = AC_N_PROTOCOLS - 1;
    while (i > AC_PROTOCOL_OTHER && strcmp(ac_metrics_protocol((ac_protocol_e)i), name) != 0) {
        i--;
    }
    return (ac_protocol_e)i;
}

/* Reads what even a damaged run needs for its closing write: the store counts it as this child's run. */
static void read_identity(ac_run_t *run, const json_t *state)
{
    ac_turn_t *turn = run->turn;
    apr_time_t created_at = number(state, "created_at"), started_at = number(state, "started_at");
    apr_cpystrn(turn->message_id, ac_json_peek_string(state, "message_id", ""), sizeof turn->message_id);
    apr_cpystrn(turn->request_id, ac_json_peek_string(state, "request_id", ""), sizeof turn->request_id);
    turn->protocol = protocol_of(state);
    apr_cpystrn(run->suspended.agent_id, ac_json_peek_string(state, "agent_id", ""), sizeof run->suspended.agent_id);
    apr_cpystrn(run->ask.model, ac_json_peek_string(state, "model", ""), sizeof run->ask.model);
    if (created_at) {
        run->times.created_at = created_at;
    }
    run->times.created = ac_clock() - (apr_time_now() - run->times.created_at);
    run->times.started_at = started_at ? started_at : run->times.created_at;
    ac_channel_set_seq(run->channel, (uint64_t)number(state, "seq"));
    run->open.requested = true;
    run->open.state = AC_RUN_OPEN_DONE;
    run->open.place = (ac_log_place_t){number(state, "parent_seq"), number(state, "after")};
    run->ask.finish = AC_FINISH_TOOL_CALLS;
    ac_run_trace_read(run, state);
}

bool ac_run_suspended_read(ac_run_t *run, const json_t *state)
{
    read_identity(run, state);
    if (!run_state_is_whole(state)) {
        return false;
    }
    run->times.first_token = number(state, "ttft");
    run->times.earlier = number(state, "took");
    run->times.working = number(state, "working");
    run->times.reasoning = number(state, "reasoning");
    run->round = (int)number(state, "round");
    run->nested.n_rounds = (int)number(state, "total_rounds");
    run->answer.round_start = (size_t)ac_json_peek_int(state, "round_start", 0);
    ac_buf_str(&run->answer.text, ac_json_peek_string(state, "answer", ""));
    if (run->answer.round_start > run->answer.text.len) {
        return false;
    }
    read_usage(&run->cost.usage, json_object_get(state, "usage"));
    run->cost.paid = run->cost.usage;
    run->cost.paid_amount = json_number_value(json_object_get(state, "paid_amount"));
    run->cost.unpriced = json_is_true(json_object_get(state, "unpriced"));
    run->ask.messages = list_of(state, "messages");
    run->ask.carried = json_deep_copy(json_object_get(state, "carried"));
    run->answer.tool_calls = list_of(state, "tool_calls");
    ac_record_parts_read(&run->answer.parts, list_of(state, "parts"));
    run->answer.steps = list_of(state, "steps");
    run->answer.sources = list_of(state, "sources");
    read_calls(run, json_object_get(state, "calls"));
    run->turn->client.list = list_of(state, "client_tools");
    run->turn->client.one_call = json_is_true(json_object_get(state, "one_call"));
    run->turn->format = json_deep_copy(json_object_get(state, "format"));
    run->turn->webhook = json_deep_copy(json_object_get(json_object_get(state, "run"), "webhook"));
    run->answer.n_rejected = (int)number(state, "n_rejected");
    run->answer.handed_over = json_is_true(json_object_get(state, "handed_over"));
    const char *title = ac_json_peek_string(state, "title", NULL);
    run->load.title = title ? strdup(title) : NULL;
    run->load.title_unsure = json_is_true(json_object_get(state, "title_unsure"));
    return true;
}
