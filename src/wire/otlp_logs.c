/* SPDX-License-Identifier: Apache-2.0 */
/* Log records in OTLP, in JSON and in protobuf. */
#include "otlp_internal.h"
#include "otlp_metrics.h"

#include <inttypes.h>
#include <string.h>

enum { SCOPE_RECORD = 2 };
enum {
    TIME = 1,
    SEVERITY = 2,
    SEVERITY_TEXT = 3,
    BODY = 5,
    ATTRIBUTES = 6,
    FLAGS = 8,
    TRACE_ID = 9,
    SPAN_ID = 10,
    OBSERVED = 11
};
enum { KEY = 1, VALUE = 2 };
enum { TEXT = 1, INTEGER = 3, NUMBER = 4 };

/* Source: OpenTelemetry, "Logs Data Model", SeverityNumber. */
static const struct {
    unsigned number;
    const char *text;
} severities[] = {{17, "ERROR"}, {13, "WARN"}, {9, "INFO"}, {5, "DEBUG"}, {1, "TRACE"}};

/* ---- JSON ---- */

static void logs_json_field(ac_buf_t *out, const ac_log_field_t *field)
{
    if (field->type == AC_ATTRIBUTE_TYPE_TEXT) {
        ac_otlp_json_text(out, field->name, field->value.text);
        return;
    }
    ac_buf_printf(out, "%s{\"key\":\"%s\",\"value\":{", out->data[out->len - 1] == '[' ? "" : ",", field->name);
    if (field->type == AC_ATTRIBUTE_TYPE_INTEGER) {
        ac_buf_printf(out, "\"intValue\":\"%" PRId64 "\"", field->value.integer);
    } else {
        ac_buf_str(out, "\"doubleValue\":");
        ac_otlp_json_double(out, field->value.number);
    }
    ac_buf_str(out, "}}");
}

static void logs_json_record(ac_buf_t *out, const ac_log_record_t *record)
{
    ac_buf_str(out, "{");
    ac_otlp_json_time(out, "timeUnixNano", record->when);
    ac_otlp_json_time(out, "observedTimeUnixNano", record->when);
    ac_buf_printf(out, ",\"severityNumber\":%u,\"severityText\":\"%s\",\"body\":{\"stringValue\":",
                  severities[record->level].number, severities[record->level].text);
    ac_buf_json(out, record->message, strlen(record->message));
    ac_buf_str(out, "},\"attributes\":[");
    for (int i = 0; i < record->n_fields; i++) {
        logs_json_field(out, &record->fields[i]);
    }
    ac_buf_str(out, "]");
    if (*record->trace.trace_id) {
        ac_buf_printf(out, ",\"traceId\":\"%s\"", record->trace.trace_id);
    }
    if (*record->trace.span_id) {
        ac_buf_printf(out, ",\"spanId\":\"%s\",\"flags\":%u", record->trace.span_id, record->trace.sampled ? 1u : 0u);
    }
    ac_buf_str(out, "}");
}

void ac_otlp_logs_json(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_log_record_t *const *records, int n)
{
    ac_otlp_json_begin(out, resource, "Logs", "logRecords");
    for (int i = 0; i < n; i++) {
        if (i) {
            ac_buf_str(out, ",");
        }
        logs_json_record(out, records[i]);
    }
    ac_otlp_json_end(out);
}

/* ---- protobuf ---- */

static void logs_protobuf_field(ac_buf_t *out, const ac_log_field_t *field)
{
    if (field->type == AC_ATTRIBUTE_TYPE_TEXT) {
        ac_otlp_protobuf_text(out, ATTRIBUTES, field->name, field->value.text);
        return;
    }
    size_t pair = ac_protobuf_begin(out, ATTRIBUTES);
    ac_protobuf_text(out, KEY, field->name, strlen(field->name));
    size_t value = ac_protobuf_begin(out, VALUE);
    if (field->type == AC_ATTRIBUTE_TYPE_INTEGER) {
        ac_protobuf_varint(out, INTEGER, (uint64_t)field->value.integer);
    } else {
        ac_protobuf_double(out, NUMBER, field->value.number);
    }
    ac_protobuf_end(out, value);
    ac_protobuf_end(out, pair);
}

static void logs_protobuf_record(ac_buf_t *out, const ac_log_record_t *record)
{
    const char *severity = severities[record->level].text;
    size_t at = ac_protobuf_begin(out, SCOPE_RECORD);
    ac_otlp_protobuf_time(out, TIME, record->when);
    ac_protobuf_varint(out, SEVERITY, severities[record->level].number);
    ac_protobuf_text(out, SEVERITY_TEXT, severity, strlen(severity));
    size_t body = ac_protobuf_begin(out, BODY);
    ac_protobuf_text(out, TEXT, record->message, strlen(record->message));
    ac_protobuf_end(out, body);
    for (int i = 0; i < record->n_fields; i++) {
        logs_protobuf_field(out, &record->fields[i]);
    }
    if (record->trace.sampled) {
        ac_protobuf_fixed32(out, FLAGS, 1);
    }
    ac_protobuf_hex(out, TRACE_ID, record->trace.trace_id);
    ac_protobuf_hex(out, SPAN_ID, record->trace.span_id);
    ac_otlp_protobuf_time(out, OBSERVED, record->when);
    ac_protobuf_end(out, at);
}

void ac_otlp_logs_protobuf(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_log_record_t *const *records,
                           int n)
{
    ac_otlp_nesting_t nesting = ac_otlp_protobuf_begin(out, resource);
    for (int i = 0; i < n; i++) {
        logs_protobuf_record(out, records[i]);
    }
    ac_otlp_protobuf_end(out, &nesting);
}
