/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP in protobuf. The numbers of the fields are those of opentelemetry-proto 1.x. */
#include "otlp_internal.h"

#include <string.h>

enum { LIST_ITEM = 1 };                       /* ArrayValue */
enum { RESOURCE_GROUP = 1 };                  /* Export…ServiceRequest */
enum { GROUP_RESOURCE = 1, GROUP_SCOPE = 2 }; /* ResourceSpans … */
enum { RESOURCE_ATTRIBUTES = 1 };             /* Resource */
enum { SCOPE_ITSELF = 1, SCOPE_ITEM = 2 };    /* ScopeSpans … */
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2 };   /* InstrumentationScope */
enum { PAIR_KEY = 1, PAIR_VALUE = 2 };        /* KeyValue */
enum { STATUS_CODE = 3, STATUS_CODE_ERROR = 2 };
enum { LINK_TRACE_ID = 1, LINK_SPAN_ID = 2, LINK_FLAGS = 6 };
enum { VALUE_TEXT = 1, VALUE_FLAG = 2, VALUE_INTEGER = 3, VALUE_NUMBER = 4, VALUE_LIST = 5 }; /* AnyValue */
enum {
    SPAN_TRACE_ID = 1,
    SPAN_SPAN_ID = 2,
    SPAN_TRACE_STATE = 3,
    SPAN_PARENT_SPAN_ID = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START = 7,
    SPAN_END = 8,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_LINKS = 13,
    SPAN_STATUS = 15,
    SPAN_FLAGS = 16
};

static void protobuf_add_text(ac_buf_t *out, unsigned field, const char *text)
{
    ac_protobuf_text(out, field, text, strlen(text));
}

void ac_otlp_protobuf_time(ac_buf_t *out, unsigned field, apr_time_t when)
{
    ac_protobuf_fixed64(out, field, (uint64_t)when * 1000);
}

/* ---- attributes ---- */

void ac_otlp_protobuf_text(ac_buf_t *out, unsigned field, const char *name, const char *text)
{
    size_t pair = ac_protobuf_begin(out, field);
    protobuf_add_text(out, PAIR_KEY, name);
    size_t value = ac_protobuf_begin(out, PAIR_VALUE);
    protobuf_add_text(out, VALUE_TEXT, text);
    ac_protobuf_end(out, value);
    ac_protobuf_end(out, pair);
}

static void protobuf_add_list(ac_buf_t *out, const char *text)
{
    size_t i, list = ac_protobuf_begin(out, VALUE_LIST);
    json_t *item, *items = json_loads(text, 0, NULL);
    json_array_foreach(items, i, item)
    {
        size_t value = ac_protobuf_begin(out, LIST_ITEM);
        protobuf_add_text(out, VALUE_TEXT, json_is_string(item) ? json_string_value(item) : "");
        ac_protobuf_end(out, value);
    }
    json_decref(items);
    ac_protobuf_end(out, list);
}

static void protobuf_add_attribute(ac_buf_t *out, unsigned field, const char *name, const ac_attribute_t *attribute)
{
    size_t pair = ac_protobuf_begin(out, field);
    protobuf_add_text(out, PAIR_KEY, name);
    size_t value = ac_protobuf_begin(out, PAIR_VALUE);
    switch (attribute->type) {
    case AC_ATTRIBUTE_TYPE_INTEGER: ac_protobuf_varint(out, VALUE_INTEGER, (uint64_t)attribute->value.integer); break;
    case AC_ATTRIBUTE_TYPE_NUMBER: ac_protobuf_double(out, VALUE_NUMBER, attribute->value.number); break;
    case AC_ATTRIBUTE_TYPE_FLAG: ac_protobuf_varint(out, VALUE_FLAG, attribute->value.flag); break;
    case AC_ATTRIBUTE_TYPE_LIST: protobuf_add_list(out, attribute->value.text); break;
    default: protobuf_add_text(out, VALUE_TEXT, attribute->value.text); break;
    }
    ac_protobuf_end(out, value);
    ac_protobuf_end(out, pair);
}

void ac_otlp_protobuf_attribute(ac_buf_t *out, unsigned field, const ac_attribute_t *attribute, bool old_name)
{
    const ac_attribute_row_t *row = &ac_span_attributes[attribute->key];
    protobuf_add_attribute(out, field, row->name, attribute);
    if (old_name && row->old) {
        protobuf_add_attribute(out, field, row->old, attribute);
    }
}

/* ---- what is around the items ---- */

ac_otlp_nesting_t ac_otlp_protobuf_begin(ac_buf_t *out, const ac_otlp_resource_t *resource)
{
    ac_otlp_nesting_t nesting = {.group = ac_protobuf_begin(out, RESOURCE_GROUP)};
    size_t at = ac_protobuf_begin(out, GROUP_RESOURCE);
    for (int i = 0; i < resource->n; i++) {
        ac_otlp_protobuf_text(out, RESOURCE_ATTRIBUTES, resource->attributes[i].name, resource->attributes[i].value);
    }
    ac_protobuf_end(out, at);
    nesting.scope = ac_protobuf_begin(out, GROUP_SCOPE);
    at = ac_protobuf_begin(out, SCOPE_ITSELF);
    protobuf_add_text(out, SCOPE_NAME, AC_OTLP_SCOPE);
    protobuf_add_text(out, SCOPE_VERSION, AC_VERSION);
    ac_protobuf_end(out, at);
    return nesting;
}

void ac_otlp_protobuf_end(ac_buf_t *out, const ac_otlp_nesting_t *nesting)
{
    ac_protobuf_end(out, nesting->scope);
    ac_protobuf_end(out, nesting->group);
}

/* ---- spans ---- */

unsigned ac_otlp_protobuf_flags(const ac_trace_t *trace, bool remote)
{
    return (trace->sampled ? 1u : 0) | (trace->random ? 2u : 0) | 0x100u | (remote ? 0x200u : 0);
}

unsigned ac_otlp_protobuf_span_flags(const ac_span_t *span)
{
    return ac_otlp_protobuf_flags(&span->trace,
                                  *span->parent_id && ac_span_rows[span->what].kind == AC_SPAN_KIND_SERVER);
}

static void protobuf_add_link(ac_buf_t *out, const ac_trace_t *to)
{
    size_t link = ac_protobuf_begin(out, SPAN_LINKS);
    ac_protobuf_hex(out, LINK_TRACE_ID, to->trace_id);
    ac_protobuf_hex(out, LINK_SPAN_ID, to->span_id);
    ac_protobuf_fixed32(out, LINK_FLAGS, ac_otlp_protobuf_flags(to, true));
    ac_protobuf_end(out, link);
}

static void protobuf_add_span(ac_buf_t *out, const ac_span_t *span, bool old_names)
{
    size_t at = ac_protobuf_begin(out, SCOPE_ITEM);
    ac_protobuf_hex(out, SPAN_TRACE_ID, span->trace.trace_id);
    ac_protobuf_hex(out, SPAN_SPAN_ID, span->trace.span_id);
    if (span->trace.state) {
        protobuf_add_text(out, SPAN_TRACE_STATE, span->trace.state);
    }
    ac_protobuf_hex(out, SPAN_PARENT_SPAN_ID, span->parent_id);
    protobuf_add_text(out, SPAN_NAME, span->name);
    ac_protobuf_varint(out, SPAN_KIND, ac_span_rows[span->what].kind);
    ac_otlp_protobuf_time(out, SPAN_START, span->started);
    ac_otlp_protobuf_time(out, SPAN_END, span->ended);
    for (int i = 0; i < span->n_attributes; i++) {
        ac_otlp_protobuf_attribute(out, SPAN_ATTRIBUTES, &span->attributes[i], old_names);
    }
    if (span->error) {
        ac_otlp_protobuf_text(out, SPAN_ATTRIBUTES, AC_OTLP_ERROR_TYPE, span->error);
    }
    if (span->n_dropped) {
        ac_protobuf_varint(out, SPAN_DROPPED_ATTRIBUTES, (uint64_t)span->n_dropped);
    }
    for (int i = 0; i < span->n_links; i++) {
        protobuf_add_link(out, &span->links[i]);
    }
    size_t status = ac_protobuf_begin(out, SPAN_STATUS);
    if (span->error) {
        ac_protobuf_varint(out, STATUS_CODE, STATUS_CODE_ERROR);
    }
    ac_protobuf_end(out, status);
    ac_protobuf_fixed32(out, SPAN_FLAGS, ac_otlp_protobuf_span_flags(span));
    ac_protobuf_end(out, at);
}

void ac_otlp_protobuf_traces(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_span_t *const *spans, int n)
{
    ac_otlp_nesting_t nesting = ac_otlp_protobuf_begin(out, resource);
    for (int i = 0; i < n; i++) {
        protobuf_add_span(out, spans[i], resource->old_names);
    }
    ac_otlp_protobuf_end(out, &nesting);
}
