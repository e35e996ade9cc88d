/* SPDX-License-Identifier: Apache-2.0 */
/* What the events, the message and the model's conversation have of the calls of a round. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

void ac_run_round_mark(const ac_call_t *call, json_t *data)
{
    ac_json_put(data, "call_id", ac_json_text(call->id));
    if (call->client) {
        ac_json_put(data, "client", json_true());
        ac_json_put(data, "index", json_integer(call->place));
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
    if (call->refusal || call->approved) {
        ac_json_put(data, "approved", json_boolean(call->approved));
    }
    ac_run_round_mark(call, data);
    return data;
}

void ac_run_round_keep_calls(ac_run_t *run)
{
    if (!run->answer.tool_calls) {
        run->answer.tool_calls = json_array();
    }
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        if (!call || !call->done) {
            continue;
        }
        json_t *kept = json_object();
        ac_json_put(kept, "id", ac_json_text(call->id));
        ac_json_put(kept, "tool", ac_json_text(call->name));
        ac_json_put(kept, "arguments", json_incref(call->arguments));
        ac_json_put(kept, "result", call_result_json(call));
        ac_json_put(kept, "error", call_error_json(call));
        ac_json_put(kept, "latency_ms", json_integer(apr_time_as_msec(call->took)));
        if (call->client) {
            ac_json_put(kept, "client", json_true());
        }
        json_array_append_new(run->answer.tool_calls, kept);
        ac_record_parts_add_call(&run->answer.parts, call->answer_len, call->id);
    }
}

void ac_run_round_next(ac_run_t *run)
{
    json_t *calls = json_array();
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
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
    json_t *message = json_object();
    ac_json_put(message, "role", json_string("assistant"));
    const char *said = run->answer.text.len > run->answer.round_start ? run->answer.text.data + run->answer.round_start
                                                                      : NULL;
    ac_json_put(message, "content", ac_json_text(said));
    ac_json_put(message, "tool_calls", calls);
    json_array_append_new(run->ask.messages, message);
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        json_array_append_new(run->ask.messages,
                              ac_history_tool_message(run->agent, call->id, call->name, call->result, call->error));
    }
    ac_run_round_keep_calls(run);
}
