/* SPDX-License-Identifier: Apache-2.0 */
/* Spans: the timed operations of a trace, as OpenTelemetry defines them; base.h includes this. The table of spans and
 * attributes is span_table.h.
 *
 * A span is on the heap. One thread at a time uses it; ac_span_end() passes it to the sink of the process, which
 * exports it. Without a sink, and in a trace that is not sampled, there is no span: ac_span_begin() returns NULL, which
 * every function here allows and ignores. A failed allocation has the same effect: telemetry never makes a request
 * fail. */
#ifndef AC_SPAN_H
#define AC_SPAN_H

#include "agentchat.h"

#define AC_MAX_SPAN_TEXT (256 * 1024) /* bytes of an attribute; a longer text is cut */
#define AC_MAX_SPAN_NAME 256          /* bytes */
#define AC_MAX_SPAN_LINKS 4

/* ---- trace.c: headers of W3C Trace Context ---- */
#define AC_TRACEPARENT_SIZE 56
/* Writes a traceparent header; "" for a context without both ids. Any thread. */
void ac_trace_format(const ac_trace_t *trace, char text[AC_TRACEPARENT_SIZE]);
#define AC_MAX_TRACESTATE 1024
/* Whether a tracestate header can be passed on: printable ASCII of at most AC_MAX_TRACESTATE bytes, not empty. NULL is
 * allowed. Any thread. */
bool ac_trace_state_valid(const char *state);
/* *to becomes a copy with a state of its own, for ac_trace_clear(). *to is empty before. Any thread. */
void ac_trace_copy(ac_trace_t *to, const ac_trace_t *from);
void ac_trace_clear(ac_trace_t *trace); /* frees the state; trace is empty then */

/* ---- span.c ---- */
typedef enum ac_span_e {
#define AC_SPAN(id, ...) AC_SPAN_##id,
#define AC_ATTRIBUTE(...)
#include "span_table.h"
#undef AC_SPAN
#undef AC_ATTRIBUTE
    AC_N_SPANS
} ac_span_e;
typedef enum ac_attribute_e {
#define AC_SPAN(...)
#define AC_ATTRIBUTE(id, ...) AC_ATTRIBUTE_##id,
#include "span_table.h"
#undef AC_SPAN
#undef AC_ATTRIBUTE
    AC_N_ATTRIBUTES
} ac_attribute_e;
/* The values are those of OTLP. */
typedef enum ac_span_kind_e { AC_SPAN_KIND_INTERNAL = 1, AC_SPAN_KIND_SERVER, AC_SPAN_KIND_CLIENT } ac_span_kind_e;
typedef enum ac_attribute_type_e {
    AC_ATTRIBUTE_TYPE_TEXT,
    AC_ATTRIBUTE_TYPE_INTEGER,
    AC_ATTRIBUTE_TYPE_NUMBER,
    AC_ATTRIBUTE_TYPE_FLAG,
    AC_ATTRIBUTE_TYPE_LIST /* of texts; the value is the text of a JSON array */
} ac_attribute_type_e;

typedef struct ac_span_row_t {
    const char *id; /* "AGENT" */
    ac_span_kind_e kind;
    const char *name; /* its pattern */
} ac_span_row_t;
extern const ac_span_row_t ac_span_rows[AC_N_SPANS];
typedef struct ac_attribute_row_t {
    const char *name; /* "gen_ai.provider.name" */
    ac_attribute_type_e type;
    const char *old;   /* an earlier name, or NULL */
    const char *spans; /* the ids of the spans that may have it */
} ac_attribute_row_t;
extern const ac_attribute_row_t ac_span_attributes[AC_N_ATTRIBUTES];

typedef struct ac_attribute_t {
    ac_attribute_e key;
    ac_attribute_type_e type; /* of the row of key */
    union {
        char *text; /* TEXT, LIST: on the heap, valid UTF-8 */
        int64_t integer;
        double number; /* finite */
        bool flag;
    } value;
} ac_attribute_t;

typedef struct ac_span_t ac_span_t;
struct ac_span_t {
    ac_span_e what;
    ac_trace_t trace;          /* its own ids; its state belongs to the span */
    char parent_id[17];        /* "": it is a root */
    char *name;                /* on the heap; valid UTF-8; never NULL */
    apr_time_t started, ended; /* wall clock, in microseconds; ended >= started */
    const char *error;         /* error.type: the code of an error kind, or an HTTP status; NULL: no error */
    ac_attribute_t *attributes;
    int n_attributes, n_dropped;         /* dropped: memory ran out */
    ac_trace_t links[AC_MAX_SPAN_LINKS]; /* without their states */
    int n_links;
    size_t size;        /* bytes of memory, about; a queue may use it for its limit */
    ac_span_t *next;    /* for the queue that owns the span */
    char error_text[8]; /* behind `error` */
};

/* Begins a span of the trace of parent. parent: the context of the request or of the span that it is part of. NULL:
 * there is no sink, or parent is NULL, empty or not sampled. The name is the first word of the pattern, until
 * ac_span_name() sets it. Any thread. */
ac_span_t *ac_span_begin(ac_span_e what, const ac_trace_t *parent);
/* The context for what is part of span: its own, or that of parent if span is NULL. */
const ac_trace_t *ac_span_trace(const ac_span_t *span, const ac_trace_t *parent);
void ac_span_name(ac_span_t *span, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* These set an attribute, and replace an earlier value. A value of another type than that of the attribute's row is
 * ignored. Texts are copied; invalid UTF-8 becomes "?". NULL, and a number that is not finite, set nothing. */
void ac_span_text(ac_span_t *span, ac_attribute_e key, const char *text); /* also of a LIST */
void ac_span_integer(ac_span_t *span, ac_attribute_e key, int64_t value);
void ac_span_number(ac_span_t *span, ac_attribute_e key, double value);
void ac_span_flag(ac_span_t *span, ac_attribute_e key, bool value);
/* Links another trace or span; nothing for a trace without a span's id, or the span's own. */
void ac_span_link(ac_span_t *span, const ac_trace_t *to);
/* Marks the span as failed: error.type is the code of the kind, or the number of an HTTP status. The first one wins.
 * AC_OK marks nothing. */
void ac_span_fail(ac_span_t *span, ac_kind_e kind);
void ac_span_fail_status(ac_span_t *span, int http_status);
/* Ends the span now and passes it to the sink; consumes it. Any thread. */
void ac_span_end(ac_span_t *span);
void ac_span_free(ac_span_t *span);

/* ---- which traces are recorded ---- */
typedef struct ac_sampler_t {
    bool parent_based; /* the flag of the client's traceparent decides, if there is one */
    double ratio;      /* the part of the other traces that is sampled: 0 (always_off) to 1 (always_on) */
} ac_sampler_t;
/* Reads a name of OTEL_TRACES_SAMPLER: always_on, always_off, traceidratio, or one of them behind "parentbased_"; and
 * the ratio in OTEL_TRACES_SAMPLER_ARG, which is 1 if arg is NULL. Returns NULL, or what is wrong; *sampler then stays
 * unchanged. */
const char *ac_span_parse_sampler(ac_sampler_t *sampler, const char *name, const char *arg);
/* Completes the context of a request. In: the client's context, or an empty one. Out: the same trace, or a new one, and
 * whether it is sampled. A new trace that is sampled has no span id yet: its first span is a root. Without a sink the
 * context stays as it is. Any thread. */
void ac_span_context(ac_trace_t *trace);

/* ---- where spans go ---- */
typedef enum ac_content_e {
    AC_CONTENT_NONE,
    AC_CONTENT_TOOLS, /* arguments and results of tools */
    AC_CONTENT_ALL    /* also prompts and answers */
} ac_content_e;
typedef struct ac_span_sink_t {
    void (*take)(void *baton, ac_span_t *span); /* consumes the span; any thread; never blocks */
    void *baton;
    ac_sampler_t sampler;
    bool old_names;       /* the exporter adds older names beside the new ones */
    ac_content_e content; /* the most that attributes may contain */
} ac_span_sink_t;
/* Sets the sink of this process; it is copied. NULL: there is none any more, spans that end from now on are freed. In a
 * child after the fork, while no other thread uses spans. */
void ac_span_install(const ac_span_sink_t *sink);
/* Whether there is a sink. */
bool ac_span_on(void);
/* Whether there is a sink that may be given such contents. */
bool ac_span_wants(ac_content_e content);

#endif
