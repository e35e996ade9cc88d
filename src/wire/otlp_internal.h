/* SPDX-License-Identifier: Apache-2.0 */
/* What the encoders of the signals share: the resource, the scope and attributes, in both forms. */
#ifndef AC_OTLP_INTERNAL_H
#define AC_OTLP_INTERNAL_H

#include "protobuf.h"

/* ---- otlp_json.c ---- */
/* {"resourceSpans":[{"resource":…,"scopeSpans":[{"scope":…,"spans":[ for signal "Spans", list "spans". The items
 * follow, with commas between them, then ac_otlp_json_end(). */
void ac_otlp_json_begin(ac_buf_t *out, const ac_otlp_resource_t *resource, const char *signal, const char *list);
void ac_otlp_json_end(ac_buf_t *out);
/* {"key":…,"value":{"stringValue":…}} */
void ac_otlp_json_text(ac_buf_t *out, const char *name, const char *text);
/* old_name: also under its earlier name, if it has one */
void ac_otlp_json_attribute(ac_buf_t *out, const ac_attribute_t *attribute, bool old_name);
/* "name":"123…000": nanoseconds of a time in microseconds */
void ac_otlp_json_time(ac_buf_t *out, const char *name, apr_time_t when);
/* A JSON number, or "NaN", "Infinity", "-Infinity". */
void ac_otlp_json_double(ac_buf_t *out, double value);

/* ---- otlp_protobuf.c ---- */
#define AC_OTLP_ERROR_TYPE "error.type"
/* The flags of a link, and of a span: those of its trace, and whether its parent is in another process. */
unsigned ac_otlp_protobuf_flags(const ac_trace_t *trace, bool remote);
unsigned ac_otlp_protobuf_span_flags(const ac_span_t *span);
typedef struct ac_otlp_nesting_t { /* the open messages around the items */
    size_t group, scope;
} ac_otlp_nesting_t;
/* Each item is then field 2 of the scope's message. */
ac_otlp_nesting_t ac_otlp_protobuf_begin(ac_buf_t *out, const ac_otlp_resource_t *resource);
void ac_otlp_protobuf_end(ac_buf_t *out, const ac_otlp_nesting_t *nesting);
/* A KeyValue, as this field. */
void ac_otlp_protobuf_text(ac_buf_t *out, unsigned field, const char *name, const char *text);
void ac_otlp_protobuf_attribute(ac_buf_t *out, unsigned field, const ac_attribute_t *attribute, bool old_name);
void ac_otlp_protobuf_time(ac_buf_t *out, unsigned field, apr_time_t when); /* fixed64, nanoseconds */

#endif
