/* SPDX-License-Identifier: Apache-2.0 */
/* A log message as other systems get it: its text, its level, and what it is about as attributes with the names of
 * OpenTelemetry's conventions. */
#include "base.h"

#include <stdio.h>
#include <string.h>

#define MAX_FIELDS 24

typedef struct writer_t {
    ac_log_record_t *record; /* NULL: sizes only */
    char *at;                /* where the next text goes */
    size_t size;             /* of all texts */
    int n;
} writer_t;

static void put_field(writer_t *w, const char *name, ac_attribute_type_e type)
{
    if (w->record) {
        w->record->fields[w->n] = (ac_log_field_t){.name = name, .type = type};
    }
    w->n++;
}

static const char *put_copy(writer_t *w, const char *text)
{
    size_t size = strlen(text) + 1;
    char *at = w->at;
    w->size += size;
    if (w->record) {
        memcpy(at, text, size);
        w->at += size;
    }
    return at;
}

static void record_put_text(writer_t *w, const char *name, const char *text)
{
    if (text && *text) {
        put_field(w, name, AC_ATTRIBUTE_TYPE_TEXT);
        const char *copy = put_copy(w, text);
        if (w->record) {
            w->record->fields[w->n - 1].value.text = copy;
        }
    }
}

static void record_put_integer(writer_t *w, const char *name, int64_t value)
{
    put_field(w, name, AC_ATTRIBUTE_TYPE_INTEGER);
    if (w->record) {
        w->record->fields[w->n - 1].value.integer = value;
    }
}

static void put_number(writer_t *w, const char *name, double value)
{
    put_field(w, name, AC_ATTRIBUTE_TYPE_NUMBER);
    if (w->record) {
        w->record->fields[w->n - 1].value.number = value;
    }
}

static void put_seconds(writer_t *w, const char *name, apr_interval_time_t value)
{
    if (value > 0) {
        put_number(w, name, (double)value / (double)APR_USEC_PER_SEC);
    }
}

static void put_usage(writer_t *w, const ac_log_fields_t *fields)
{
    const ac_usage_t *usage = fields->usage;
    if (!usage || !usage->total) {
        return;
    }
    record_put_integer(w, "gen_ai.usage.input_tokens", usage->prompt);
    record_put_integer(w, "gen_ai.usage.cache_read.input_tokens", usage->cached);
    record_put_integer(w, "gen_ai.usage.output_tokens", usage->completion);
    record_put_integer(w, "gen_ai.usage.reasoning.output_tokens", usage->reasoning);
    record_put_text(w, "agentchat.usage", usage->estimated ? "estimated" : "reported");
    if (fields->currency && *fields->currency) {
        put_number(w, "agentchat.cost", fields->cost);
        record_put_text(w, "agentchat.cost.currency", fields->currency);
    }
}

static void put_fields(writer_t *w, const ac_log_fields_t *fields)
{
    record_put_text(w, "error.type", fields->error);
    record_put_text(w, "agentchat.run.id", fields->run);
    record_put_text(w, "gen_ai.conversation.id", fields->thread);
    record_put_text(w, "agentchat.request.id", fields->request);
    record_put_text(w, "agentchat.protocol", fields->protocol);
    record_put_text(w, "http.route", fields->route);
    record_put_text(w, "gen_ai.agent.id", fields->agent);
    record_put_text(w, "agentchat.model.id", fields->model);
    record_put_text(w, "gen_ai.tool.name", fields->tool);
    record_put_text(w, "agentchat.run.status", fields->status);
    if (fields->http_status) {
        record_put_integer(w, "http.response.status_code", fields->http_status);
    }
    put_seconds(w, "agentchat.duration", fields->latency);
    put_seconds(w, "gen_ai.response.time_to_first_chunk", fields->first_token);
    put_seconds(w, "agentchat.store.duration", fields->store);
    if (fields->rounds) {
        record_put_integer(w, "agentchat.run.rounds", fields->rounds);
    }
    if (fields->tool_calls) {
        record_put_integer(w, "agentchat.run.tool_calls", fields->tool_calls);
    }
    put_usage(w, fields);
}

static void put_all(writer_t *w, const ac_log_entry_t *entry, const char *number, const char *message)
{
    char reason[160];
    const char *copy = put_copy(w, message);
    if (w->record) {
        w->record->message = copy;
    }
    record_put_text(w, "agentchat.log.number", number);
    if (entry->fields) {
        put_fields(w, entry->fields);
    }
    if (entry->status && !(entry->fields && entry->fields->error)) {
        record_put_text(w, "agentchat.log.cause", apr_strerror(entry->status, reason, sizeof(reason)));
    }
}

ac_log_record_t *ac_log_record_make(const ac_log_entry_t *entry)
{
    char number[8] = "";
    const char *message = entry->text;
    writer_t w = {0};
    if (strlen(message) > 8 && memcmp(message, "AC", 2) == 0 && memcmp(message + 6, ": ", 2) == 0) {
        snprintf(number, sizeof number, "%.6s", message);
        message += 8;
    }
    put_all(&w, entry, number, message);
    size_t size = sizeof(ac_log_record_t) + MAX_FIELDS * sizeof(ac_log_field_t) + w.size;
    ac_log_record_t *record = calloc(1, size);
    if (!record) {
        return NULL;
    }
    *record = (ac_log_record_t){.when = apr_time_now(), .level = entry->level, .size = size};
    w = (writer_t){.record = record, .at = (char *)(record->fields + MAX_FIELDS)};
    put_all(&w, entry, number, message);
    record->n_fields = w.n;
    if (entry->fields && entry->fields->error) {
        record->error = record->fields[*number ? 1 : 0].value.text;
    }
    if (entry->fields && entry->fields->trace) {
        record->trace = *entry->fields->trace;
        record->trace.state = NULL;
    }
    return record;
}
