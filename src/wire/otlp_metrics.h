/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics and log records as bodies of OTLP; wire.h includes this. Any thread. The functions append to a buffer; its
 * `failed` says that something did not fit. */
#ifndef AC_OTLP_METRICS_H
#define AC_OTLP_METRICS_H

#include "otlp.h"

typedef struct ac_otlp_metrics_t {   /* what a request has; borrowed */
    const ac_metric_point_t *points; /* those of a metric stand together */
    int n;
    const ac_metric_naming_t *naming;
    const apr_time_t *since; /* of each metric: when the interval of its points began */
    apr_time_t when;         /* when it ended */
    bool delta;              /* the points have what was counted in the interval; else since the counters began */
    bool exponential;        /* histograms in exponential buckets; else in explicit ones */
} ac_otlp_metrics_t;

/* ---- otlp_metrics_json.c, otlp_metrics_protobuf.c: ExportMetricsServiceRequest ---- */
void ac_otlp_metrics_json(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_otlp_metrics_t *metrics);
void ac_otlp_metrics_protobuf(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_otlp_metrics_t *metrics);

/* ---- otlp_metrics.c: for the two ---- */
/* Metrics have a name, and several rows. Calls begin, point for each of its rows, and end, for each name. */
typedef struct ac_otlp_metrics_form_t {
    void (*begin)(void *baton, const char *name, const ac_metric_point_t *first);
    void (*point)(void *baton, const ac_metric_point_t *point);
    void (*end)(void *baton, const ac_metric_point_t *first);
} ac_otlp_metrics_form_t;
void ac_otlp_metrics_each(const ac_otlp_metrics_t *metrics, const ac_otlp_metrics_form_t *form, void *baton);
#define AC_OTLP_METRICS_BUCKETS 160        /* the most that OpenTelemetry's own libraries use */
typedef struct ac_otlp_metrics_buckets_t { /* of an exponential histogram, without those that are zero at both ends */
    int scale, offset, n;
    uint64_t count; /* of all, with zeros */
    uint64_t counts[AC_OTLP_METRICS_BUCKETS];
} ac_otlp_metrics_buckets_t;
void ac_otlp_metrics_buckets(ac_otlp_metrics_buckets_t *buckets, const ac_metric_point_t *point);
/* The exemplars of a histogram's buckets, of this interval; at most AC_OTLP_METRICS_EXEMPLARS. Returns how many. */
#define AC_OTLP_METRICS_EXEMPLARS 32
int ac_otlp_metrics_exemplars(ac_exemplar_t *exemplars, const ac_otlp_metrics_t *metrics,
                              const ac_metric_point_t *point);

/* ---- otlp_logs.c: ExportLogsServiceRequest ---- */
void ac_otlp_logs_json(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_log_record_t *const *records, int n);
void ac_otlp_logs_protobuf(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_log_record_t *const *records,
                           int n);

#endif
