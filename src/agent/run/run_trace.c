/* SPDX-License-Identifier: Apache-2.0 */
/* The spans of a run: one of the run, one of each attempt of a model call, one of each tool call. Source: the semantic
 * conventions for generative AI of OpenTelemetry. Text of a conversation gets here only if AgentChatTraceContent allows
 * it. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const ac_trace_t *ac_run_trace_context(const ac_run_t *run)
{
    return ac_span_trace(run->trace.run, &run->turn->trace);
}

const ac_trace_t *ac_run_trace_call(const ac_call_t *call)
{
    return ac_span_trace(call->span, ac_run_trace_context(call->run));
}

/* The attributes by which the spans of an agent and of a conversation are found. */
static void run_trace_identify(const ac_run_t *run, ac_span_t *span, const char *operation)
{
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_OPERATION_NAME, operation);
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_ID, run->turn->run_id);
    if (run->turn->thread_id[0]) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID, run->turn->thread_id);
    }
    if (run->agent) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_ID, run->agent->id);
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_NAME, run->agent->name);
    }
}

static void run_trace_usage(ac_span_t *span, const ac_usage_t *usage, const ac_usage_t *before)
{
    ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_USAGE_INPUT_TOKENS, usage->prompt - before->prompt);
    ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_USAGE_OUTPUT_TOKENS, usage->completion - before->completion);
    if (usage->cached > before->cached) {
        ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, usage->cached - before->cached);
    }
    if (usage->reasoning > before->reasoning) {
        ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, usage->reasoning - before->reasoning);
    }
}

static void run_trace_cost(ac_span_t *span, double amount, const char *currency)
{
    if (currency[0]) {
        ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_COST, amount);
        ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_COST_CURRENCY, currency);
    }
}

static void run_trace_finish_reason(ac_span_t *span, ac_finish_e finish)
{
    static const char *const reasons[] = {[AC_FINISH_STOP] = "[\"stop\"]",
                                          [AC_FINISH_TOOL_CALLS] = "[\"tool_calls\"]",
                                          [AC_FINISH_LENGTH] = "[\"length\"]",
                                          [AC_FINISH_CONTENT_FILTER] = "[\"content_filter\"]"};
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_FINISH_REASONS, reasons[finish]);
}

/* ---- the run ---- */

void ac_run_trace_begin(ac_run_t *run)
{
    ac_turn_t *turn = run->turn;
    if (!turn->trace.trace_id[0]) {
        ac_turn_set_trace(turn, &run->trace.resumed);
    }
    run->trace.run = ac_span_begin(AC_SPAN_AGENT, &turn->trace);
    ac_span_link(run->trace.run, &run->trace.resumed);
    if (run->trace.run && run->trace.resumed.trace_id[0]) {
        ac_run_summary_collect(&run->trace.before, run);
    }
}

/* The model that the run has asked, or would ask. */
static const ac_model_t *run_trace_model(const ac_run_t *run)
{
    return run->ask.entry.gate ? run->ask.entry.gate->model : run->agent ? run->agent->model : NULL;
}

/* The model's name, as the service knows it, or its id. */
static const char *requested_model(const ac_model_t *model)
{
    const apr_table_t *options = model->conf ? model->conf->options : NULL;
    const char *name = options ? apr_table_get(options, "model") : NULL;
    name = name || !options ? name : apr_table_get(options, "deployment");
    return name ? name : model->id;
}

static void run_trace_finish(ac_run_t *run, const char *status)
{
    ac_span_t *span = run->trace.run;
    const ac_run_facts_t *before = &run->trace.before;
    const ac_model_t *model = run_trace_model(run);
    ac_run_facts_t facts;
    if (!span) {
        return;
    }
    run->trace.run = NULL;
    ac_run_summary_collect(&facts, run);
    run_trace_identify(run, span, "invoke_agent");
    if (run->agent) {
        ac_span_name(span, "invoke_agent %s", run->agent->name);
    }
    if (model) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_PROVIDER_NAME, ac_registry_provider_name(model));
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_REQUEST_MODEL, requested_model(model));
    }
    if (facts.rounds > before->rounds) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL, facts.model);
        run_trace_finish_reason(span, run->ask.finish);
    }
    run_trace_usage(span, &facts.usage, &before->usage);
    run_trace_cost(span, facts.cost - before->cost, facts.currency);
    if (run->store.charge > 0) {
        ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_REQUEST_CHARGE, run->store.charge);
    }
    if (run->nested.outer) {
        ac_span_integer(span, AC_ATTRIBUTE_AGENTCHAT_AGENT_DEPTH, run->nested.depth);
    }
    ac_span_integer(span, AC_ATTRIBUTE_AGENTCHAT_RUN_ROUNDS, facts.rounds - before->rounds);
    ac_span_integer(span, AC_ATTRIBUTE_AGENTCHAT_RUN_TOOL_CALLS, facts.tool_calls - before->tool_calls);
    if (facts.first_token && !before->first_token) {
        ac_span_number(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
                       (double)facts.first_token / APR_USEC_PER_SEC);
    }
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_REQUEST_ID, run->turn->request_id);
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_PROTOCOL, ac_metrics_protocol(run->turn->protocol));
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_STATUS, status);
    if (!run->trace.attached && (run->outcome == AC_RUN_FAILED || run->err.kind == AC_STOPPING)) {
        ac_span_fail(span, run->err.kind);
    }
    ac_span_end(span);
}

void ac_run_trace_suspend(ac_run_t *run)
{
    run_trace_finish(run, "awaiting_approval");
}

void ac_run_trace_end(ac_run_t *run)
{
    run_trace_finish(run, run->trace.attached ? "attached" : ac_run_document_status(run));
}

/* ---- model calls ---- */

static void add_endpoint(ac_span_t *span, const char *url)
{
    const char *scheme = url ? strstr(url, "://") : NULL;
    char host[256];
    if (!scheme) {
        return;
    }
    const char *start = scheme + 3;
    size_t len = *start == '[' ? strcspn(start, "]") + 1 : strcspn(start, ":/?#");
    const char *port = start + len;
    if (len >= sizeof(host) || strcspn(start, "@") < len) {
        return;
    }
    bool is_v6 = *start == '[';
    apr_cpystrn(host, start + is_v6, len + 1 - 2 * (size_t)is_v6);
    ac_span_text(span, AC_ATTRIBUTE_SERVER_ADDRESS, host);
    ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT,
                    *port == ':'                            ? strtol(port + 1, NULL, 10)
                        : strncasecmp(url, "https", 5) == 0 ? 443
                                                            : 80);
}

static void add_prompt(ac_span_t *span, const json_t *messages)
{
    if (!span || !ac_span_wants(AC_CONTENT_ALL)) {
        return;
    }
    char *instructions = ac_run_trace_content_instructions(messages);
    char *input = ac_run_trace_content_input(messages);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_SYSTEM_INSTRUCTIONS, instructions);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_INPUT_MESSAGES, input);
    free(instructions);
    free(input);
}

static void add_provider(ac_span_t *span, const ac_model_t *model)
{
    const char *provider = ac_registry_provider_name(model);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_PROVIDER_NAME, provider);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_REQUEST_MODEL, requested_model(model));
    if (strncmp(provider, "azure.", 6) == 0) {
        ac_span_text(span, AC_ATTRIBUTE_AZURE_RESOURCE_PROVIDER_NAMESPACE, "Microsoft.CognitiveServices");
    }
}

void ac_run_trace_model(ac_span_t *span, const ac_model_t *model, const json_t *messages)
{
    ac_span_name(span, "chat %s", requested_model(model));
    add_provider(span, model);
    ac_span_flag(span, AC_ATTRIBUTE_GEN_AI_REQUEST_STREAM, true);
    if (model->conf) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_REQUEST_REASONING_LEVEL,
                     ac_json_peek_string(model->conf->params, "reasoning_effort", NULL));
        add_endpoint(span, model->conf->endpoint);
    }
    add_prompt(span, messages);
}

static void run_trace_begin_attempt(ac_run_t *run)
{
    const ac_model_t *model = run->ask.entry.gate->model;
    ac_span_t *span = ac_span_begin(AC_SPAN_CHAT, ac_run_trace_context(run));
    run->trace.asking = *ac_span_trace(span, ac_run_trace_context(run));
    run->trace.asking.state = run->turn->trace.state; /* the span is gone before the call is */
    run->trace.attempted = ac_clock();
    run->trace.chat = span;
    if (!span) {
        return;
    }
    run_trace_identify(run, span, "chat");
    ac_run_trace_model(span, model, run->ask.messages);
    ac_span_number(span, AC_ATTRIBUTE_GEN_AI_REQUEST_TEMPERATURE, run->agent->temperature);
    if (ac_turn_max_tokens(run->turn, run->agent)) {
        ac_span_integer(span, AC_ATTRIBUTE_GEN_AI_REQUEST_MAX_TOKENS, ac_turn_max_tokens(run->turn, run->agent));
    }
    if (run->trace.n_attempts > 0) {
        ac_span_integer(span, AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT, run->trace.n_attempts);
    }
}

static void end_attempt(ac_span_t *span, ac_kind_e kind, const ac_err_t *err)
{
    ac_span_fail(span, kind);
    if (err->http_status) {
        ac_span_integer(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE, err->http_status);
    }
    ac_span_end(span);
}

void ac_run_trace_chat_begin(ac_run_t *run)
{
    run->trace.n_attempts = 0;
    run_trace_begin_attempt(run);
}

void ac_run_trace_chat_answered(ac_run_t *run)
{
    ac_span_number(run->trace.chat, AC_ATTRIBUTE_GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
                   (double)(ac_clock() - run->trace.attempted) / APR_USEC_PER_SEC);
}

void ac_run_trace_chat_retry(ac_run_t *run, const ac_err_t *err)
{
    end_attempt(run->trace.chat, err->kind, err);
    run->trace.n_attempts++;
    run_trace_begin_attempt(run);
}

void ac_run_trace_model_end(ac_span_t *span, const ac_model_t *model, const char *text, const ac_model_end_t *end)
{
    static const ac_usage_t none;
    ac_kind_e kind = end->status == APR_SUCCESS ? AC_OK : end->err.kind ? end->err.kind : AC_CANCELLED;
    double amount;
    if (!span) {
        return;
    }
    if (end->model[0]) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL, end->model);
    }
    run_trace_finish_reason(span, end->finish);
    if (end->usage.known) {
        run_trace_usage(span, &end->usage, &none);
        if (model->conf && ac_record_amount(&amount, &end->usage, &model->conf->price)) {
            run_trace_cost(span, amount, model->conf->price.currency);
        }
    }
    if (ac_span_wants(AC_CONTENT_ALL)) {
        char *output = ac_run_trace_content_output(text, end);
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_OUTPUT_MESSAGES, output);
        free(output);
    }
    end_attempt(span, kind, &end->err);
}

void ac_run_trace_chat_end(ac_run_t *run, const ac_model_end_t *end)
{
    const ac_buf_t *text = &run->answer.text;
    ac_run_trace_model_end(run->trace.chat, run->ask.entry.gate->model,
                           text->len > run->answer.round_start ? text->data + run->answer.round_start : "", end);
    run->trace.chat = NULL;
}

/* ---- tools ---- */

static void add_content(ac_span_t *span, ac_attribute_e key, const json_t *value)
{
    if (json_is_string(value)) {
        ac_span_text(span, key, json_string_value(value));
    } else if (value) {
        char *text = ac_json_dump(value, NULL);
        ac_span_text(span, key, text);
        free(text);
    }
}

void ac_run_trace_tool_begin(ac_call_t *call)
{
    const ac_run_t *run = call->run;
    call->span = ac_span_begin(AC_SPAN_TOOL, ac_run_trace_context(run));
    if (!call->span) {
        return;
    }
    run_trace_identify(run, call->span, "execute_tool");
    if (call->tool) { /* any other name is text of the model */
        ac_span_name(call->span, "execute_tool %s", call->tool->id);
        ac_span_text(call->span, AC_ATTRIBUTE_GEN_AI_TOOL_NAME, call->tool->id);
    }
    ac_span_text(call->span, AC_ATTRIBUTE_GEN_AI_TOOL_TYPE, "function");
    ac_span_text(call->span, AC_ATTRIBUTE_GEN_AI_TOOL_CALL_ID, call->id);
}

void ac_run_trace_tool_drop(ac_call_t *call)
{
    ac_span_free(call->span);
    call->span = NULL;
}

void ac_run_trace_tool_end(ac_call_t *call, ac_tool_outcome_e outcome)
{
    static const struct {
        const char *name;
        ac_kind_e kind;
    } rows[] = {[AC_TOOL_OUTCOME_OK] = {"ok", AC_OK},
                [AC_TOOL_OUTCOME_ERROR] = {"error", AC_TOOL_ERROR},
                [AC_TOOL_OUTCOME_TIMEOUT] = {"timeout", AC_TOOL_TIMEOUT},
                [AC_TOOL_OUTCOME_INVALID] = {"invalid", AC_TOOL_ERROR},
                [AC_TOOL_OUTCOME_REFUSED] = {"refused", AC_OK},
                [AC_TOOL_OUTCOME_ABANDONED] = {"abandoned", AC_CANCELLED}};
    ac_span_t *span = call->span;
    call->span = NULL;
    if (!span) {
        return;
    }
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_TOOL_OUTCOME, rows[outcome].name);
    ac_span_fail(span, rows[outcome].kind);
    if (ac_span_wants(AC_CONTENT_TOOLS)) {
        add_content(span, AC_ATTRIBUTE_GEN_AI_TOOL_CALL_ARGUMENTS, call->arguments);
        add_content(span, AC_ATTRIBUTE_GEN_AI_TOOL_CALL_RESULT, call->result);
    }
    ac_span_end(span);
}

/* ---- the state document ---- */

json_t *ac_run_trace_json(const ac_run_t *run)
{
    char text[AC_TRACEPARENT_SIZE];
    ac_trace_format(ac_run_trace_context(run), text);
    return ac_json_text(*text ? text : NULL);
}

void ac_run_trace_read(ac_run_t *run, const json_t *state)
{
    ac_trace_parse(&run->trace.resumed, ac_json_peek_string(state, "trace", NULL));
}
