/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP in JSON: ids in hexadecimal, enums as numbers, 64-bit integers as texts. */
#include "otlp_internal.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void add_text(ac_buf_t *out, const char *text)
{
    ac_buf_json(out, text, strlen(text));
}

/* A comma, unless it is the first of a list. */
static void add_comma(ac_buf_t *out)
{
    if (out->len && out->data[out->len - 1] != '[' && out->data[out->len - 1] != '{') {
        ac_buf_add(out, ",", 1);
    }
}

static void otlp_json_add_name(ac_buf_t *out, const char *name)
{
    add_comma(out);
    add_text(out, name);
    ac_buf_add(out, ":", 1);
}

void ac_otlp_json_time(ac_buf_t *out, const char *name, apr_time_t when)
{
    otlp_json_add_name(out, name);
    ac_buf_printf(out, "\"%" PRId64 "000\"", (int64_t)when);
}

void ac_otlp_json_double(ac_buf_t *out, double value)
{
    char text[32];
    if (!isfinite(value)) {
        ac_buf_str(out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    char *point = strpbrk(text, localeconv()->decimal_point);
    if (point) {
        *point = '.';
    }
    ac_buf_str(out, text);
}

/* ---- attributes ---- */

static void begin_attribute(ac_buf_t *out, const char *name)
{
    add_comma(out);
    ac_buf_str(out, "{\"key\":");
    add_text(out, name);
    ac_buf_str(out, ",\"value\":{");
}

void ac_otlp_json_text(ac_buf_t *out, const char *name, const char *text)
{
    begin_attribute(out, name);
    ac_buf_str(out, "\"stringValue\":");
    add_text(out, text);
    ac_buf_str(out, "}}");
}

static void add_list(ac_buf_t *out, const char *text)
{
    size_t i;
    json_t *item, *list = json_loads(text, 0, NULL);
    ac_buf_str(out, "\"arrayValue\":{\"values\":[");
    json_array_foreach(list, i, item)
    {
        add_comma(out);
        ac_buf_str(out, "{\"stringValue\":");
        add_text(out, json_is_string(item) ? json_string_value(item) : "");
        ac_buf_add(out, "}", 1);
    }
    ac_buf_str(out, "]}");
    json_decref(list);
}

static void add_attribute(ac_buf_t *out, const char *name, const ac_attribute_t *attribute)
{
    begin_attribute(out, name);
    switch (attribute->type) {
    case AC_ATTRIBUTE_TYPE_INTEGER: ac_buf_printf(out, "\"intValue\":\"%" PRId64 "\"", attribute->value.integer); break;
    case AC_ATTRIBUTE_TYPE_NUMBER:
        ac_buf_str(out, "\"doubleValue\":");
        ac_otlp_json_double(out, attribute->value.number);
        break;
    case AC_ATTRIBUTE_TYPE_FLAG:
        ac_buf_str(out, attribute->value.flag ? "\"boolValue\":true" : "\"boolValue\":false");
        break;
    case AC_ATTRIBUTE_TYPE_LIST: add_list(out, attribute->value.text); break;
    default:
        ac_buf_str(out, "\"stringValue\":");
        add_text(out, attribute->value.text);
        break;
    }
    ac_buf_str(out, "}}");
}

void ac_otlp_json_attribute(ac_buf_t *out, const ac_attribute_t *attribute, bool old_name)
{
    const ac_attribute_row_t *row = &ac_span_attributes[attribute->key];
    add_attribute(out, row->name, attribute);
    if (old_name && row->old) {
        add_attribute(out, row->old, attribute);
    }
}

/* ---- what is around the items ---- */

void ac_otlp_json_begin(ac_buf_t *out, const ac_otlp_resource_t *resource, const char *signal, const char *list)
{
    ac_buf_printf(out, "{\"resource%s\":[{\"resource\":{\"attributes\":[", signal);
    for (int i = 0; i < resource->n; i++) {
        ac_otlp_json_text(out, resource->attributes[i].name, resource->attributes[i].value);
    }
    ac_buf_printf(out, "]},\"scope%s\":[{\"scope\":{\"name\":\"" AC_OTLP_SCOPE "\",\"version\":\"" AC_VERSION "\"},",
                  signal);
    ac_buf_printf(out, "\"%s\":[", list);
}

void ac_otlp_json_end(ac_buf_t *out)
{
    ac_buf_str(out, "]}]}]}");
}

/* ---- spans ---- */

static void add_ids(ac_buf_t *out, const ac_trace_t *trace)
{
    ac_buf_printf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\"", trace->trace_id, trace->span_id);
}

static void add_links(ac_buf_t *out, const ac_span_t *span)
{
    otlp_json_add_name(out, "links");
    ac_buf_add(out, "[", 1);
    for (int i = 0; i < span->n_links; i++) {
        add_comma(out);
        add_ids(out, &span->links[i]);
        ac_buf_printf(out, ",\"flags\":%u}", ac_otlp_protobuf_flags(&span->links[i], true));
    }
    ac_buf_add(out, "]", 1);
}

static void add_span(ac_buf_t *out, const ac_span_t *span, bool old_names)
{
    add_comma(out);
    add_ids(out, &span->trace);
    if (span->trace.state) {
        otlp_json_add_name(out, "traceState");
        add_text(out, span->trace.state);
    }
    if (*span->parent_id) {
        ac_buf_printf(out, ",\"parentSpanId\":\"%s\"", span->parent_id);
    }
    otlp_json_add_name(out, "flags");
    ac_buf_printf(out, "%u", ac_otlp_protobuf_span_flags(span));
    otlp_json_add_name(out, "name");
    add_text(out, span->name);
    ac_buf_printf(out, ",\"kind\":%d", (int)ac_span_rows[span->what].kind);
    ac_otlp_json_time(out, "startTimeUnixNano", span->started);
    ac_otlp_json_time(out, "endTimeUnixNano", span->ended);
    otlp_json_add_name(out, "attributes");
    ac_buf_add(out, "[", 1);
    for (int i = 0; i < span->n_attributes; i++) {
        ac_otlp_json_attribute(out, &span->attributes[i], old_names);
    }
    if (span->error) {
        ac_otlp_json_text(out, AC_OTLP_ERROR_TYPE, span->error);
    }
    ac_buf_add(out, "]", 1);
    if (span->n_dropped) {
        ac_buf_printf(out, ",\"droppedAttributesCount\":%d", span->n_dropped);
    }
    if (span->n_links) {
        add_links(out, span);
    }
    ac_buf_printf(out, ",\"status\":{%s}}", span->error ? "\"code\":2" : "");
}

void ac_otlp_json_traces(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_span_t *const *spans, int n)
{
    ac_otlp_json_begin(out, resource, "Spans", "spans");
    for (int i = 0; i < n; i++) {
        add_span(out, spans[i], resource->old_names);
    }
    ac_otlp_json_end(out);
}
