/* SPDX-License-Identifier: Apache-2.0 */
/* Telemetry on its way out of a child: spans, metrics and log records, in batches, to one or more destinations.
 *
 *     ac_telemetry_put_post()  any thread; never waits, never fails
 *         │ a counted item, in the queue of each exporter that takes its signal; a full queue drops its oldest items
 *         ▼
 *     exporter                 the loop: one batch at a time, by number, bytes or age
 *         │ encode(), gzip     a work thread; on the loop if none is free, and at the end
 *         │ credential
 *         ▼
 *     ac_http                  the answer: judge() says whether it was accepted, is refused, or is sent again
 *
 * A signal or a destination of another kind is an ac_export_format_t and an ac_exporter_conf_t, and nothing else. */
#ifndef AC_TELEMETRY_H
#define AC_TELEMETRY_H

#include "back/credential/credential.h"
#include "io/io.h"

typedef struct ac_telemetry_t ac_telemetry_t; /* of a child */

/* ---- items ---- */
typedef struct ac_telemetry_item_t { /* counted: several exporters may have it */
    ac_signal_e signal;
    void *what;                  /* traces: an ac_span_t; else what the format understands. Immutable */
    size_t bytes;                /* about; for the bound of a queue */
    unsigned units;              /* what it counts as in metrics: spans, data points, log records */
    void (*destroy)(void *what); /* any thread */
    atomic_int refs;
} ac_telemetry_item_t;
/* A new item with one reference. Consumes what. */
ac_telemetry_item_t *ac_telemetry_item_create(ac_signal_e signal, void *what, size_t bytes,
                                              void (*destroy)(void *what));

/* ---- a format: how items become requests, and what answers mean ---- */
typedef struct ac_export_batch_t {
    const ac_telemetry_item_t *const *items;
    int n;
    const ac_otlp_resource_t *resource;
} ac_export_batch_t;

typedef struct ac_export_answer_t {
    int status;
    const char *content_type; /* or "" */
    const char *body;         /* NUL-terminated; its first AC_MAX_ERROR_BODY bytes */
    size_t len;
    const char *url;      /* that the request went to */
    const char *location; /* or "" */
} ac_export_answer_t;

typedef enum ac_export_result_e {
    AC_EXPORT_ACCEPTED, /* the batch, without `rejected` units of it */
    AC_EXPORT_REFUSED,  /* for good: the batch is dropped */
    AC_EXPORT_AGAIN,    /* the same request, after a delay */
    AC_EXPORT_SOME,     /* the items that are marked in `again`, after a delay; the others are settled */
    AC_EXPORT_ELSEWHERE /* the same request, and all later ones, to the answer's location; with own_redirects */
} ac_export_result_e;
typedef struct ac_export_verdict_t {
    ac_export_result_e result;
    unsigned rejected; /* units that were dropped */
    bool *again;       /* for each item of the batch, false at first */
    char said[160];    /* what the destination said; shown at level debug only, since it may repeat what was sent */
} ac_export_verdict_t;

typedef enum ac_export_end_e {
    AC_EXPORT_END_ACCEPTED,
    AC_EXPORT_END_LOST,   /* the destination does not have it */
    AC_EXPORT_END_UNKNOWN /* no answer came: the destination may have it */
} ac_export_end_e;

typedef struct ac_export_format_t {
    const char *content_type;
    /* Appends the body of a request. One call at a time for an exporter, on any thread. errors: any failed append in
     * out; an empty body sends no request, and counts nothing. */
    void (*encode)(void *baton, ac_buf_t *out, const ac_export_batch_t *batch);
    /* The meaning of an answer. The loop. */
    void (*judge)(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                  const ac_export_batch_t *batch);
    /* The request is about to be sent: from now on the destination may have it. The loop; NULL is allowed. */
    void (*sending)(void *baton, const ac_export_batch_t *batch);
    /* A batch is settled. The loop; NULL is allowed. What was lost may be added to a later batch. */
    void (*settle)(void *baton, const ac_export_batch_t *batch, ac_export_end_e end);
} ac_export_format_t;

/* ---- an exporter: one URL, and the signals that go there ---- */
typedef struct ac_exporter_conf_t { /* what it points to lives longer than the exporter */
    unsigned signals;               /* 1u << AC_SIGNAL_TRACES … */
    const ac_export_format_t *format;
    void *baton; /* of the format */
    const char *url;
    const char *const *headers;    /* "Name: value", NULL-terminated, may contain secrets; or NULL */
    ac_credential_t *credential;   /* or NULL */
    const char *credential_header; /* the part before its text: "Authorization: Bearer " */
    const char *scope;             /* of an identity's token */
    const char *ca_file;           /* PEM, or NULL: the system's */
    bool gzip;
    /* A batch is not sent again if the first request may have been carried out, as when no answer came. */
    bool once;
    bool own_redirects;          /* the format decides about redirects */
    apr_interval_time_t timeout; /* of a request */
    apr_interval_time_t delay;   /* how long an item may wait for others; with collect: between two calls of it */
    int batch;                   /* the most items of a request */
    int max_items;               /* in the queue */
    size_t max_bytes;            /* of their sizes */
    /* For a signal that is read and not put: returns an item, which the exporter then has, or NULL. Called after each
     * delay, and once more at the end. The loop. */
    ac_telemetry_item_t *(*collect)(void *baton);
} ac_exporter_conf_t;
/* The usual values: timeout 10 s, delay 5 s, 512 items, 2048 in the queue, 8 MB; gzip. */
void ac_exporter_conf_init(ac_exporter_conf_t *conf);

/* ---- a child's telemetry ---- */
/* After the fork. resource: borrowed. */
ac_telemetry_t *ac_telemetry_create(const ac_host_t *host, const ac_otlp_resource_t *resource);
/* Before ac_telemetry_start(). conf: copied. errors: of the credential's child_init. */
apr_status_t ac_telemetry_add(ac_telemetry_t *telemetry, const ac_exporter_conf_t *conf, ac_err_t *err);
void ac_telemetry_start(ac_telemetry_t *telemetry); /* the loop */
/* Consumes the item. Never waits; in a queue that is full the oldest item is dropped and counted. Any thread, until
 * ac_telemetry_destroy(); after ac_telemetry_stop() the item is dropped. telemetry NULL: it is freed. */
void ac_telemetry_put_post(ac_telemetry_t *telemetry, ac_telemetry_item_t *item);
/* Whether an exporter takes this signal. Any thread. NULL: false. */
bool ac_telemetry_wants(const ac_telemetry_t *telemetry, ac_signal_e signal);
/* Sends what is queued, without delays and with one attempt for each batch. done is called on the loop, when all is
 * settled or the time is over, never inside. What is not settled then is dropped and counted. */
void ac_telemetry_stop(ac_telemetry_t *telemetry, apr_interval_time_t patience, ac_task_fn *done, void *baton);
/* The loop has ended, or never ran. NULL is allowed. */
void ac_telemetry_destroy(ac_telemetry_t *telemetry);

/* ---- otlp_export.c: OTLP over HTTP ---- */
/* The format of a signal: protobuf or JSON. NULL: it has none. */
const ac_export_format_t *ac_otlp_export_format(ac_signal_e signal, bool protobuf);

/* ---- export_metrics.c, export_appinsights.c: metrics, and Application Insights ---- */
#include "back/telemetry/export_metrics.h"

#endif
