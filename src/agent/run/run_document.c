/* SPDX-License-Identifier: Apache-2.0 */
/* The documents of a run as the store keeps them: its thread, messages, steps, and the run itself. Pure. */
#include "run_internal.h"

#include <string.h>

json_t *ac_run_document_title_of(const char *content, const json_t *attachments)
{
    const char *name = ac_json_peek_string(json_array_get(attachments, 0), "name", NULL);
    return ac_record_title(*content || !name ? content : name);
}

json_t *ac_run_document_title(const ac_run_t *run)
{
    return ac_run_document_title_of(run->turn->content, run->turn->attachments);
}

json_t *ac_run_document_thread(const ac_run_t *run)
{
    json_t *thread = json_object();
    ac_json_put(thread, "id", ac_json_text(run->turn->thread_id));
    ac_json_put(thread, "title", ac_run_document_title(run));
    ac_json_put(thread, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(thread, "status", json_string("active"));
    ac_json_put(thread, "metadata", json_object());
    ac_json_put(thread, "message_count", json_integer(0));
    ac_json_put(thread, "created_at", ac_time_json(run->times.created_at));
    ac_json_put(thread, "updated_at", ac_time_json(run->times.created_at));
    return thread;
}

json_t *ac_run_document_user_message(const ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    json_t *message = json_object();
    ac_json_put(message, "id", ac_json_text(turn->message_id));
    ac_json_put(message, "thread_id", ac_json_text(turn->thread_id));
    ac_json_put(message, "parent_id", ac_json_text(run->load.parent_id[0] ? run->load.parent_id : NULL));
    ac_json_put(message, "role", json_string(run->load.answered && !*turn->content ? "tool" : "user"));
    ac_json_put(message, "content", ac_json_text(turn->content));
    ac_json_put(message, "tool_calls", run->load.answered ? json_incref(run->load.answered) : json_null());
    ac_json_put(message, "run_id", ac_json_text(turn->run_id));
    ac_json_put(message, "timestamp", ac_time_json(run->times.created_at));
    ac_json_put(message, "metadata", turn->metadata ? json_incref(turn->metadata) : json_object());
    if (turn->attachments) {
        ac_json_put(message, "attachments", json_incref(turn->attachments));
    }
    return message;
}

/* A message that was said elsewhere. It belongs to no run, and notes with which one it came. */
static json_t *earlier_message(const ac_run_t *run, const json_t *said, const char *parent_id)
{
    char id[AC_ID_SIZE];
    json_t *calls = json_object_get(said, "tool_calls"), *message = json_object();
    const char *role = ac_json_peek_string(said, "role", "user"), *content = ac_json_peek_string(said, "content", "");
    bool results = calls && strcmp(role, "user") == 0 && !*content;
    ac_id_make(id, "msg_");
    ac_json_put(message, "id", ac_json_text(id));
    ac_json_put(message, "thread_id", ac_json_text(run->turn->thread_id));
    ac_json_put(message, "parent_id", ac_json_text(*parent_id ? parent_id : NULL));
    ac_json_put(message, "role", json_string(results ? "tool" : role));
    ac_json_put(message, "content", ac_json_text(content));
    ac_json_put(message, "tool_calls", calls ? json_incref(calls) : json_null());
    ac_json_put(message, "run_id", json_null());
    ac_json_put(message, "timestamp", ac_time_json(run->times.created_at));
    ac_json_put(message, "metadata", json_pack("{s:s}", "came_with", run->turn->run_id));
    return message;
}

json_t *ac_run_document_earlier(const ac_run_t *run)
{
    const json_t *history = run->turn->history;
    size_t n = json_array_size(history), i = n > AC_STORE_MAX_EARLIER ? n - AC_STORE_MAX_EARLIER : 0;
    json_t *list = n ? json_array() : NULL;
    const char *parent_id = run->load.parent_id;
    for (; i < n; i++) {
        json_t *message = earlier_message(run, json_array_get(history, i), parent_id);
        parent_id = ac_json_peek_string(message, "id", "");
        json_array_append_new(list, message);
    }
    return list;
}

const char *ac_run_document_status(const ac_run_t *run)
{
    if (run->state < AC_RUN_SAVING) {
        return "in_progress";
    }
    if (run->outcome == AC_RUN_COMPLETED) {
        return "completed";
    }
    if (run->outcome == AC_RUN_FAILED) {
        return "failed";
    }
    return run->err.kind == AC_STOPPING ? "interrupted" : "cancelled";
}

const char *ac_run_document_model(const ac_run_t *run)
{
    if (run->ask.model[0]) {
        return run->ask.model;
    }
    return run->ask.entry.gate ? run->ask.entry.gate->model->id : run->agent->model ? run->agent->model->id : "";
}

json_t *ac_run_document_run(const ac_run_t *run)
{
    bool ended = run->state == AC_RUN_SAVING, bad = ended && run->outcome != AC_RUN_COMPLETED;
    bool user_cancelled = run->outcome == AC_RUN_CANCELLED && run->err.kind != AC_STOPPING;
    json_t *json = json_object();
    ac_json_put(json, "id", ac_json_text(run->turn->run_id));
    ac_json_put(json, "thread_id", ac_json_text(run->turn->thread_id));
    ac_json_put(json, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(json, "parent_id", ac_json_text(run->turn->message_id));
    ac_json_put(json, "status", json_string(ac_run_document_status(run)));
    ac_json_put(json, "model", ac_json_text(ac_run_document_model(run)));
    ac_json_put(json, "usage", ac_record_usage(&run->cost.usage));
    ac_json_put(json, "cost", ac_run_cost_json(run));
    ac_json_put(json, "rounds", json_integer(run->round));
    ac_json_put(json, "ttft_ms",
                run->times.first_token ? json_integer(apr_time_as_msec(run->times.first_token)) : json_null());
    ac_json_put(json, "latency_ms",
                ended ? json_integer(apr_time_as_msec(ac_clock() - run->times.created)) : json_null());
    ac_json_put(json, "error", bad && !user_cancelled ? ac_record_error(&run->err) : json_null());
    ac_json_put(json, "created_at", ac_time_json(run->times.created_at));
    ac_json_put(json, "started_at", ac_time_json(run->times.started_at));
    ac_json_put(json, "completed_at", ended ? ac_time_json(apr_time_now()) : json_null());
    if (run->turn->webhook) {
        ac_json_put(json, "webhook", json_deep_copy(run->turn->webhook));
    }
    return json;
}

void ac_run_document_add_step(ac_run_t *run, json_t *step)
{
    ac_run_answer_t *answer = &ac_run_nesting_root(run)->answer;
    if (!answer->steps) {
        answer->steps = json_array();
    }
    json_array_append_new(answer->steps, step);
}

void ac_run_document_add_model_step(ac_run_t *run, const ac_model_end_t *end)
{
    apr_interval_time_t took = ac_clock() - run->ask.started;
    const ac_model_t *model = run->ask.entry.gate->model;
    char id[AC_ID_SIZE];
    json_t *step = json_object();
    bool failed = end->status != APR_SUCCESS;
    ac_id_make(id, "step_");
    ac_json_put(step, "id", ac_json_text(id));
    ac_json_put(step, "run_id", ac_json_text(run->turn->run_id));
    ac_json_put(step, "type", json_string("model_call"));
    ac_json_put(step, "status", json_string(failed ? "failed" : "completed"));
    ac_json_put(step, "model", ac_json_text(model->id));
    ac_json_put(step, "tool", json_null());
    ac_json_put(step, "arguments", json_null());
    ac_json_put(step, "result", json_null());
    if (run->answer.reasoning.len) {
        ac_json_put(step, "reasoning", ac_json_text(run->answer.reasoning.data));
        ac_buf_clear(&run->answer.reasoning);
    }
    if (run->answer.named) {
        ac_json_put(step, "sources", run->answer.named);
        run->answer.named = NULL;
    }
    ac_json_put(step, "error", failed ? ac_json_text(end->err.detail) : json_null());
    ac_json_put(step, "usage", end->usage.known ? ac_record_usage(&end->usage) : json_null());
    ac_json_put(step, "cost", end->usage.known ? ac_record_cost(&end->usage, &model->conf->price) : json_null());
    ac_json_put(step, "round", json_integer(run->round));
    ac_json_put(step, "retries", json_integer(end->n_retries));
    ac_json_put(step, "fallback_of", ac_json_text(run->ask.fallback_of));
    ac_json_put(step, "queued_ms", json_integer(apr_time_as_msec(run->ask.started - run->ask.entered)));
    ac_json_put(step, "ttft_ms",
                run->ask.answering ? json_integer(apr_time_as_msec(run->ask.first_token)) : json_null());
    ac_json_put(step, "started_at", ac_time_json(run->ask.started_at));
    ac_json_put(step, "completed_at", ac_time_json(run->ask.started_at + took));
    ac_json_put(step, "latency_ms", json_integer(apr_time_as_msec(took)));
    ac_run_nesting_mark(run, step);
    ac_run_document_add_step(run, step);
}

const char *ac_run_document_finish_reason(const ac_run_t *run)
{
    if (run->ask.finish == AC_FINISH_CONTENT_FILTER) {
        return "content_filter";
    }
    if (run->outcome == AC_RUN_CANCELLED) {
        return run->err.kind == AC_STOPPING ? "interrupted" : "cancelled";
    }
    if (run->outcome == AC_RUN_FAILED) {
        return "error";
    }
    if (run->answer.ends_in_calls) {
        return "tool_calls";
    }
    return run->ask.finish == AC_FINISH_LENGTH ? "length" : "stop";
}

/* A refused turn stores an empty message, by which history.c knows that the turn must not be sent again. */
json_t *ac_run_document_answer(const ac_run_t *run)
{
    char id[AC_ID_SIZE];
    json_t *message, *metadata, *parts = ac_record_parts_list(&run->answer.parts, run->answer.text.len);
    if (run->outcome != AC_RUN_COMPLETED && run->answer.text.len == 0 && !run->answer.tool_calls &&
        run->ask.finish != AC_FINISH_CONTENT_FILTER) {
        return NULL;
    }
    ac_record_answer_id(id, run->turn->run_id);
    metadata = json_object();
    ac_json_put(metadata, "model", ac_json_text(ac_run_document_model(run)));
    ac_json_put(metadata, "finish_reason", json_string(ac_run_document_finish_reason(run)));
    ac_json_put(metadata, "usage", ac_record_usage(&run->cost.usage));
    if (parts) {
        ac_json_put(metadata, "parts", parts);
    }
    if (run->answer.sources) {
        ac_json_put(metadata, "sources", json_incref(run->answer.sources));
    }
    json_t *response = ac_run_carried_response(run);
    if (response) {
        ac_json_put(metadata, "response", response);
    }
    if (run->answer.handed_over) {
        ac_json_put(metadata, "agent_id", ac_json_text(run->agent->id));
    }
    if (run->times.reasoning) {
        ac_json_put(metadata, "reasoning_ms", json_integer(apr_time_as_msec(run->times.reasoning)));
    }
    message = json_object();
    ac_json_put(message, "id", ac_json_text(id));
    ac_json_put(message, "thread_id", ac_json_text(run->turn->thread_id));
    ac_json_put(message, "parent_id", ac_json_text(run->turn->message_id));
    ac_json_put(message, "role", json_string("assistant"));
    ac_json_put(message, "content", ac_json_text(run->answer.text.len ? run->answer.text.data : ""));
    ac_json_put(message, "tool_calls", run->answer.tool_calls ? json_incref(run->answer.tool_calls) : json_null());
    ac_json_put(message, "run_id", ac_json_text(run->turn->run_id));
    ac_json_put(message, "timestamp", ac_time_json(apr_time_now()));
    ac_json_put(message, "metadata", metadata);
    return message;
}

json_t *ac_run_document_step(const ac_run_t *run, const ac_call_t *call)
{
    const char *approval = call->needs_approval ? "required"
        : call->refusal                         ? "refused"
        : call->approved                        ? "approved"
                                                : NULL;
    json_t *step = json_object();
    ac_json_put(step, "id", ac_json_text(call->step_id));
    ac_json_put(step, "run_id", ac_json_text(run->turn->run_id));
    ac_json_put(step, "call_id", ac_json_text(call->id));
    ac_json_put(step, "type", json_string("tool_call"));
    ac_json_put(step, "status", json_string(!call->done ? "in_progress" : call->error ? "failed" : "completed"));
    ac_json_put(step, "model", json_null());
    ac_json_put(step, "tool", ac_json_text(call->name));
    ac_json_put(step, "arguments", json_incref(call->arguments));
    ac_json_put(step, "result", call->result ? json_incref(call->result) : json_null());
    ac_json_put(step, "error", call->error ? ac_json_text(call->error) : json_null());
    if (approval) {
        ac_json_put(step, "approval", json_string(approval));
        ac_json_put(step, "requested_at", ac_time_json(call->requested_at ? call->requested_at : call->started_at));
    }
    if (call->client) {
        ac_json_put(step, "client", json_true());
    }
    if (call->sources) {
        ac_json_put(step, "sources", json_incref(call->sources));
    }
    if (call->hosted) {
        ac_json_put(step, "hosted", json_true());
    }
    ac_run_handoff_mark(call, step);
    ac_json_put(step, "round", json_integer(run->round));
    ac_json_put(step, "usage", json_null());
    ac_json_put(step, "started_at", ac_time_json(call->started_at));
    ac_json_put(step, "completed_at", call->done ? ac_time_json(call->started_at + call->took) : json_null());
    ac_json_put(step, "latency_ms", call->done ? json_integer(apr_time_as_msec(call->took)) : json_null());
    ac_run_nesting_mark(run, step);
    return step;
}
