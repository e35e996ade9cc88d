/* SPDX-License-Identifier: Apache-2.0 */
/* Envelopes of Application Insights, as the vendor's exporters write them. All values of customDimensions are texts. */
#include "appinsights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_VALUE 8192                 /* bytes of a value of customDimensions */
#define MAX_CONTENT_VALUE (256 * 1024) /* of one with contents of a conversation */
#define MAX_NAME 1024
#define MAX_URL 2048
#define MAX_MESSAGE 32768

/* ---- JSON ---- */

static void envelope_add_text(ac_buf_t *out, const char *text, size_t max)
{
    size_t len = strlen(text);
    ac_buf_json(out, text, len > max ? ac_utf8_whole(text, max) : len);
}

static void envelope_add_name(ac_buf_t *out, const char *name)
{
    if (out->len && out->data[out->len - 1] != '{') {
        ac_buf_add(out, ",", 1);
    }
    envelope_add_text(out, name, MAX_NAME);
    ac_buf_add(out, ":", 1);
}

static void add_member(ac_buf_t *out, const char *name, const char *text, size_t max)
{
    if (text && *text) {
        envelope_add_name(out, name);
        envelope_add_text(out, text, max);
    }
}

#define NUMBER_SIZE 64
/* The shortest text that reads back as the same number, as JavaScript writes it, whatever the locale. */
static void format_number(char text[NUMBER_SIZE], double value)
{
    static const char zeros[] = "00000000000000000000";
    const char *sign = value < 0 ? "-" : "";
    char form[40], digits[20];
    int n = 0;
    if (!isfinite(value)) {
        snprintf(text, NUMBER_SIZE, "%s%s", sign, isnan(value) ? "NaN" : "Infinity");
        return;
    }
    for (int after = 14; after <= 16; after++) {
        snprintf(form, sizeof form, "%.*e", after, fabs(value));
        if (strtod(form, NULL) == fabs(value)) {
            break;
        }
    }
    for (const char *at = form; *at != 'e' && n < (int)sizeof digits - 1; at++) {
        if (*at >= '0' && *at <= '9') {
            digits[n++] = *at;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    digits[n] = '\0';
    int before = (int)strtol(strchr(form, 'e') + 1, NULL, 10) + 1; /* digits before the point */
    if (before > 21 || before <= -6) {
        snprintf(text, NUMBER_SIZE, "%s%c%s%se%+d", sign, digits[0], n > 1 ? "." : "", digits + 1, before - 1);
    } else if (before <= 0) {
        snprintf(text, NUMBER_SIZE, "%s0.%.*s%s", sign, -before, zeros, digits);
    } else if (n <= before) {
        snprintf(text, NUMBER_SIZE, "%s%s%.*s", sign, digits, before - n, zeros);
    } else {
        snprintf(text, NUMBER_SIZE, "%s%.*s.%s", sign, before, digits, digits + before);
    }
}

static void envelope_add_number(ac_buf_t *out, const char *name, double value)
{
    char text[NUMBER_SIZE];
    format_number(text, value);
    envelope_add_name(out, name);
    ac_buf_str(out, text);
}

void ac_appinsights_duration(char text[AC_APPINSIGHTS_DURATION_SIZE], apr_interval_time_t duration)
{
    int64_t us = duration > 0 ? duration : 0, seconds = us / APR_USEC_PER_SEC, days = seconds / 86400;
    char before[24] = "";
    if (days > 0) {
        snprintf(before, sizeof before, "%" PRId64 ".", days);
    }
    int len = snprintf(text, AC_APPINSIGHTS_DURATION_SIZE, "%s%02d:%02d:%02d.%06d", before, (int)(seconds / 3600 % 24),
                       (int)(seconds / 60 % 60), (int)(seconds % 60), (int)(us % APR_USEC_PER_SEC));
    for (int i = 0; i < 3 && text[len - 1] == '0'; i++) {
        text[--len] = '\0';
    }
}

/* ---- what all envelopes have ---- */

typedef struct head_t {
    const char *name; /* "Request" */
    const char *type; /* "RequestData" */
    apr_time_t when;
    double sample_rate;
    const char *trace_id, *parent_id; /* or NULL, "" */
    const char *operation;            /* or NULL */
    const char *user_agent;           /* or NULL */
} head_t;

/* Up to the members of baseData. */
static void begin_envelope(ac_buf_t *out, const ac_appinsights_source_t *source, const head_t *head)
{
    char when[AC_TIME_SIZE];
    ac_time_format_micro(when, head->when);
    ac_buf_printf(out, "{\"ver\":1,\"name\":\"Microsoft.ApplicationInsights.%s\",\"time\":\"%s\"", head->name, when);
    envelope_add_number(out, "sampleRate", head->sample_rate);
    add_member(out, "iKey", source->key, MAX_NAME);
    ac_buf_str(out, ",\"tags\":{");
    add_member(out, "ai.cloud.role", source->role, MAX_NAME);
    add_member(out, "ai.cloud.roleInstance", source->instance, MAX_NAME);
    add_member(out, "ai.application.ver", source->version, MAX_NAME);
    add_member(out, "ai.internal.sdkVersion", "agentchat:" AC_VERSION, MAX_NAME);
    add_member(out, "ai.operation.id", head->trace_id, MAX_NAME);
    add_member(out, "ai.operation.parentId", head->parent_id, MAX_NAME);
    add_member(out, "ai.operation.name", head->operation, MAX_NAME);
    add_member(out, "ai.user.userAgent", head->user_agent, MAX_VALUE);
    ac_buf_printf(out, "},\"data\":{\"baseType\":\"%s\",\"baseData\":{\"ver\":2", head->type);
}

static void begin_properties(ac_buf_t *out)
{
    ac_buf_str(out, ",\"properties\":{");
}

static void end_envelope(ac_buf_t *out)
{
    ac_buf_str(out, "}}}}\n"); /* properties, baseData, data, the envelope */
}

static void add_property(ac_buf_t *out, const char *name, const char *text)
{
    static const char *const contents[] = {"gen_ai.input.messages",      "gen_ai.output.messages",
                                           "gen_ai.system_instructions", "gen_ai.tool.definitions",
                                           "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"};
    size_t max = MAX_VALUE;
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        max = strcmp(name, contents[i]) == 0 ? MAX_CONTENT_VALUE : max;
    }
    envelope_add_name(out, name);
    envelope_add_text(out, text, max);
}

static void add_integer_property(ac_buf_t *out, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    add_property(out, name, text);
}

static void add_number_property(ac_buf_t *out, const char *name, double value)
{
    char text[NUMBER_SIZE];
    format_number(text, value);
    add_property(out, name, text);
}

/* ---- spans ---- */

static const ac_attribute_t *find_attribute(const ac_span_t *span, ac_attribute_e key)
{
    for (int i = 0; i < span->n_attributes; i++) {
        if (span->attributes[i].key == key) {
            return &span->attributes[i];
        }
    }
    return NULL;
}

static const char *attribute_text(const ac_span_t *span, ac_attribute_e key)
{
    const ac_attribute_t *attribute = find_attribute(span, key);
    return attribute && attribute->type == AC_ATTRIBUTE_TYPE_TEXT ? attribute->value.text : NULL;
}

/* "200"; "0": not known. */
static void format_code(char text[24], const ac_span_t *span)
{
    const ac_attribute_t *status = find_attribute(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE);
    const char *db = attribute_text(span, AC_ATTRIBUTE_DB_RESPONSE_STATUS_CODE);
    if (status) {
        snprintf(text, 24, "%" PRId64, status->value.integer);
    } else {
        snprintf(text, 24, "%s", db ? db : "0");
    }
}

static void envelope_add_attribute(ac_buf_t *out, const char *name, const ac_attribute_t *attribute)
{
    switch (attribute->type) {
    case AC_ATTRIBUTE_TYPE_INTEGER: add_integer_property(out, name, attribute->value.integer); break;
    case AC_ATTRIBUTE_TYPE_NUMBER: add_number_property(out, name, attribute->value.number); break;
    case AC_ATTRIBUTE_TYPE_FLAG: add_property(out, name, attribute->value.flag ? "true" : "false"); break;
    default: add_property(out, name, attribute->value.text); break;
    }
}

/* Attributes that are, or are a part of, columns of their own. */
static bool is_column(const ac_span_t *span, ac_attribute_e key)
{
    bool db = attribute_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME) != NULL;
    switch (key) {
    case AC_ATTRIBUTE_HTTP_REQUEST_METHOD:
    case AC_ATTRIBUTE_HTTP_ROUTE:
    case AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE:
    case AC_ATTRIBUTE_URL_PATH:
    case AC_ATTRIBUTE_URL_SCHEME:
    case AC_ATTRIBUTE_URL_FULL:
    case AC_ATTRIBUTE_NETWORK_PROTOCOL_VERSION:
    case AC_ATTRIBUTE_USER_AGENT_ORIGINAL: return true;
    case AC_ATTRIBUTE_SERVER_ADDRESS:
    case AC_ATTRIBUTE_SERVER_PORT: return !db;
    case AC_ATTRIBUTE_DB_SYSTEM_NAME:
    case AC_ATTRIBUTE_DB_NAMESPACE:
    case AC_ATTRIBUTE_DB_OPERATION_NAME: return true;
    default: return false;
    }
}

static void add_properties(ac_buf_t *out, const ac_span_t *span, bool old_names)
{
    begin_properties(out);
    for (int i = 0; i < span->n_attributes; i++) {
        const ac_attribute_t *attribute = &span->attributes[i];
        const ac_attribute_row_t *row = &ac_span_attributes[attribute->key];
        if (!is_column(span, attribute->key)) {
            envelope_add_attribute(out, row->name, attribute);
            if (old_names && row->old) {
                envelope_add_attribute(out, row->old, attribute);
            }
        }
    }
    if (span->error) {
        add_property(out, "error.type", span->error);
    }
    if (span->n_links) {
        char text[AC_MAX_SPAN_LINKS * 96] = "[";
        size_t len = 1;
        for (int i = 0; i < span->n_links; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%s{\"operation_Id\":\"%s\",\"id\":\"%s\"}",
                                    i ? "," : "", span->links[i].trace_id, span->links[i].span_id);
        }
        snprintf(text + len, sizeof text - len, "]");
        add_property(out, "_MS.links", text);
    }
}

static void add_common(ac_buf_t *out, const ac_span_t *span, const char *name)
{
    char duration[AC_APPINSIGHTS_DURATION_SIZE];
    ac_appinsights_duration(duration, span->ended - span->started);
    add_member(out, "id", span->trace.span_id, MAX_NAME);
    add_member(out, "name", name, MAX_NAME);
    add_member(out, "duration", duration, MAX_NAME);
}

static head_t head_of(const ac_appinsights_source_t *source, const ac_span_t *span)
{
    return (head_t){.name = "RemoteDependency",
                    .type = "RemoteDependencyData",
                    .when = span->started,
                    .sample_rate = source->sample_rate,
                    .trace_id = span->trace.trace_id,
                    .parent_id = span->parent_id};
}

static void add_request(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_span_t *span)
{
    const char *method = attribute_text(span, AC_ATTRIBUTE_HTTP_REQUEST_METHOD),
               *route = attribute_text(span, AC_ATTRIBUTE_HTTP_ROUTE),
               *scheme = attribute_text(span, AC_ATTRIBUTE_URL_SCHEME),
               *host = attribute_text(span, AC_ATTRIBUTE_SERVER_ADDRESS),
               *path = attribute_text(span, AC_ATTRIBUTE_URL_PATH);
    const ac_attribute_t *status = find_attribute(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE);
    char name[MAX_NAME], url[MAX_URL + 1] = "", code[24];
    bool success = !span->error && !(status && status->value.integer >= 400);
    if (method && route) {
        snprintf(name, sizeof name, "%s %s", method, route);
    } else {
        snprintf(name, sizeof name, "%s", span->name);
    }
    if (scheme && host && path) {
        snprintf(url, sizeof url, "%s://%s%s", scheme, host, path);
    }
    head_t head = head_of(source, span);
    head.name = "Request";
    head.type = "RequestData";
    head.operation = name;
    head.user_agent = attribute_text(span, AC_ATTRIBUTE_USER_AGENT_ORIGINAL);
    format_code(code, span);
    begin_envelope(out, source, &head);
    add_common(out, span, name);
    ac_buf_str(out, success ? ",\"success\":true" : ",\"success\":false");
    add_member(out, "responseCode", code, MAX_NAME);
    add_member(out, "url", url, MAX_URL);
    add_properties(out, span, source->old_names);
    end_envelope(out);
}

/* "/path" of an URL; "/" without one. */
static void format_path(char path[MAX_NAME], const char *url)
{
    const char *host = strstr(url, "://"), *at = host ? strchr(host + 3, '/') : NULL;
    size_t len = at ? strcspn(at, "?#") : 0;
    snprintf(path, MAX_NAME, "%.*s", (int)(len < MAX_NAME - 1 ? len : MAX_NAME - 1), len ? at : "");
    if (!len) {
        snprintf(path, MAX_NAME, "/");
    }
}

typedef struct dependency_t {
    char name[MAX_NAME + 64], type[128], target[MAX_NAME];
    const char *data;
} dependency_t;

static void describe_store(dependency_t *to, const ac_span_t *span, const char *system)
{
    const char *host = attribute_text(span, AC_ATTRIBUTE_SERVER_ADDRESS),
               *database = attribute_text(span, AC_ATTRIBUTE_DB_NAMESPACE);
    snprintf(to->type, sizeof to->type, "%s", strcmp(system, "sqlite") == 0 ? "SQL" : system);
    snprintf(to->target, sizeof to->target, "%s%s%s", host ? host : "", host && database ? "|" : "",
             database   ? database
                 : host ? ""
                        : system);
    to->data = attribute_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME);
}

static void describe_dependency(dependency_t *to, const ac_span_t *span)
{
    const char *method = attribute_text(span, AC_ATTRIBUTE_HTTP_REQUEST_METHOD),
               *url = attribute_text(span, AC_ATTRIBUTE_URL_FULL),
               *host = attribute_text(span, AC_ATTRIBUTE_SERVER_ADDRESS),
               *system = attribute_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME),
               *provider = attribute_text(span, AC_ATTRIBUTE_GEN_AI_PROVIDER_NAME);
    bool internal = ac_span_rows[span->what].kind == AC_SPAN_KIND_INTERNAL;
    snprintf(to->name, sizeof to->name, "%s", span->name);
    snprintf(to->target, sizeof to->target, "%s", host ? host : "");
    snprintf(to->type, sizeof to->type, "%s", internal && *span->parent_id ? "InProc" : "Dependency");
    if (method) {
        char path[MAX_NAME];
        if (url) {
            format_path(path, url);
            snprintf(to->name, sizeof to->name, "%s %s", method, path);
        }
        snprintf(to->type, sizeof to->type, "Http");
        to->data = url;
    } else if (system) {
        describe_store(to, span, system);
    } else if (!internal && provider) {
        snprintf(to->type, sizeof to->type, "GenAI | %s", provider);
    }
}

static void add_dependency(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_span_t *span)
{
    dependency_t to = {.data = NULL};
    char code[24];
    head_t head = head_of(source, span);
    describe_dependency(&to, span);
    format_code(code, span);
    begin_envelope(out, source, &head);
    add_common(out, span, to.name);
    ac_buf_str(out, span->error ? ",\"success\":false" : ",\"success\":true");
    add_member(out, "resultCode", code, MAX_NAME);
    add_member(out, "type", to.type, MAX_NAME);
    add_member(out, "target", to.target, MAX_NAME);
    add_member(out, "data", to.data, MAX_VALUE);
    add_properties(out, span, source->old_names);
    end_envelope(out);
}

void ac_appinsights_span(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_span_t *span)
{
    if (ac_span_rows[span->what].kind == AC_SPAN_KIND_SERVER) {
        add_request(out, source, span);
    } else {
        add_dependency(out, source, span);
    }
}

/* ---- log records ---- */

static void add_field(ac_buf_t *out, const ac_log_field_t *field)
{
    switch (field->type) {
    case AC_ATTRIBUTE_TYPE_INTEGER: add_integer_property(out, field->name, field->value.integer); break;
    case AC_ATTRIBUTE_TYPE_NUMBER: add_number_property(out, field->name, field->value.number); break;
    default: add_property(out, field->name, field->value.text); break;
    }
}

void ac_appinsights_log(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_log_record_t *record)
{
    static const char *const levels[] = {"Error", "Warning", "Information", "Verbose", "Verbose"};
    bool exception = record->error && record->level == AC_ERROR;
    begin_envelope(out, source,
                   &(head_t){.name = exception ? "Exception" : "Message",
                             .type = exception ? "ExceptionData" : "MessageData",
                             .when = record->when,
                             .sample_rate = 100,
                             .trace_id = record->trace.trace_id,
                             .parent_id = record->trace.span_id});
    if (exception) {
        ac_buf_str(out, ",\"exceptions\":[{");
        add_member(out, "typeName", record->error, MAX_NAME);
    }
    envelope_add_name(out, "message");
    envelope_add_text(out, *record->message ? record->message : "n/a", MAX_MESSAGE);
    if (exception) {
        ac_buf_str(out, ",\"hasFullStack\":false}]");
    }
    add_member(out, "severityLevel", levels[record->level], MAX_NAME);
    begin_properties(out);
    for (int i = 0; i < record->n_fields; i++) {
        add_field(out, &record->fields[i]);
    }
    end_envelope(out);
}

/* ---- metrics ---- */

static void add_label(void *baton, const char *label, size_t label_len, const char *value, size_t value_len)
{
    char name[128], text[AC_METRIC_NAME_SIZE + 1];
    snprintf(name, sizeof name, "%.*s", (int)label_len, label);
    snprintf(text, sizeof text, "%.*s", (int)value_len, value);
    add_property(baton, name, text);
}

/* The least and the largest value, as exactly as the buckets know them. */
static void add_extremes(ac_buf_t *out, const ac_metric_point_t *point)
{
    double sum = (double)point->value / (double)APR_USEC_PER_SEC, mean = sum / (double)point->count, least = mean,
           most = mean;
    int first = 0, last = AC_EXPONENTIAL_BUCKETS - 1;
    while (first < AC_EXPONENTIAL_BUCKETS && !point->exponential[first]) {
        first++;
    }
    while (last >= 0 && !point->exponential[last]) {
        last--;
    }
    if (point->count > 1) {
        least = point->zeros || last < 0
            ? 0
            : ac_metrics_exponential_bound(AC_EXPONENTIAL_FIRST + first - 1, AC_EXPONENTIAL_SCALE);
        most = last < 0 ? AC_EXPONENTIAL_ZERO
                        : ac_metrics_exponential_bound(AC_EXPONENTIAL_FIRST + last, AC_EXPONENTIAL_SCALE);
    }
    envelope_add_number(out, "min", fmin(least, mean));
    envelope_add_number(out, "max", fmax(most, mean));
}

void ac_appinsights_metric(ac_buf_t *out, const ac_appinsights_source_t *source, const ac_metric_naming_t *naming,
                           const ac_metric_point_t *point, apr_time_t when)
{
    char name[AC_METRIC_OTEL_NAME_SIZE];
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    bool histogram = row->type == AC_METRIC_TYPE_HISTOGRAM;
    ac_metrics_names_otel(name, point);
    begin_envelope(out, source, &(head_t){.name = "Metric", .type = "MetricData", .when = when, .sample_rate = 100});
    ac_buf_str(out, ",\"metrics\":[{");
    add_member(out, "name", name, MAX_NAME);
    add_member(out, "kind", "Aggregation", MAX_NAME);
    envelope_add_number(out, "value",
                        (double)point->value / (double)(histogram ? (int64_t)APR_USEC_PER_SEC : row->scale));
    envelope_add_number(out, "count", histogram ? (double)point->count : 1);
    if (histogram) {
        add_extremes(out, point);
    }
    ac_buf_str(out, "}]");
    begin_properties(out);
    ac_metrics_names_attributes(naming, point, add_label, out);
    end_envelope(out);
}
