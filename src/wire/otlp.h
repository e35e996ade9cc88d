/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP: telemetry as bodies of requests, in JSON and in protobuf, and what their answers say; wire.h includes this. The
 * functions append to a buffer, and what does not fit sets its `failed`. Any thread. source: opentelemetry-proto 1.x,
 * docs/specification.md. */
#ifndef AC_OTLP_H
#define AC_OTLP_H

#include "base/base.h"

#define AC_OTLP_SCOPE "mod_agentchat" /* the name of the instrumentation */

/* What all telemetry of a server has in common: service.name and others. */
typedef struct ac_otlp_pair_t {
    const char *name, *value;
} ac_otlp_pair_t;
typedef struct ac_otlp_resource_t {
    const ac_otlp_pair_t *attributes;
    int n;
    bool old_names; /* attributes of spans have their earlier names, too */
} ac_otlp_resource_t;

/* ---- otlp_json.c, otlp_protobuf.c: ExportTraceServiceRequest ---- */
void ac_otlp_json_traces(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_span_t *const *spans, int n);
void ac_otlp_protobuf_traces(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_span_t *const *spans, int n);

/* ---- otlp_answer.c: Export…ServiceResponse, and the Status of an error ---- */
typedef struct ac_otlp_answer_t {
    int64_t rejected;  /* spans, data points, log records; 0 to AC_OTLP_MAX_REJECTED */
    char message[160]; /* printable; "": none */
} ac_otlp_answer_t;
#define AC_OTLP_MAX_REJECTED INT64_C(1000000000)
/* Reads the body of an answer; what cannot be read says nothing. ok: its status was a 2xx. */
void ac_otlp_answer_read(ac_otlp_answer_t *answer, bool ok, bool protobuf, const char *body, size_t len);

#endif
