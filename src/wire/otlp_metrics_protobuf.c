/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics in OTLP's protobuf. The numbers of the fields are those of opentelemetry-proto 1.x. */
#include "otlp_internal.h"
#include "otlp_metrics.h"

#include <stdio.h>
#include <string.h>

enum { SCOPE_METRIC = 2 };
enum { NAME = 1, DESCRIPTION = 2, UNIT = 3, GAUGE = 5, SUM = 7, HISTOGRAM = 9, EXPONENTIAL = 10 }; /* Metric */
enum { POINTS = 1, TEMPORALITY = 2, MONOTONIC = 3 };                                               /* Gauge, Sum … */
enum { NUMBER_START = 2, NUMBER_TIME = 3, NUMBER_DOUBLE = 4, NUMBER_INTEGER = 6, NUMBER_ATTRIBUTES = 7 };
enum {
    HISTOGRAM_START = 2,
    HISTOGRAM_TIME = 3,
    HISTOGRAM_COUNT = 4,
    HISTOGRAM_SUM = 5,
    HISTOGRAM_BUCKETS = 6,
    HISTOGRAM_BOUNDS = 7,
    HISTOGRAM_EXEMPLARS = 8,
    HISTOGRAM_ATTRIBUTES = 9
};
enum {
    EXPONENTIAL_ATTRIBUTES = 1,
    EXPONENTIAL_START = 2,
    EXPONENTIAL_TIME = 3,
    EXPONENTIAL_COUNT = 4,
    EXPONENTIAL_SUM = 5,
    EXPONENTIAL_SCALE = 6,
    EXPONENTIAL_ZEROS = 7,
    EXPONENTIAL_POSITIVE = 8,
    EXPONENTIAL_EXEMPLARS = 11,
    EXPONENTIAL_THRESHOLD = 14
};
enum { BUCKETS_OFFSET = 1, BUCKETS_COUNTS = 2 };
enum { EXEMPLAR_TIME = 2, EXEMPLAR_DOUBLE = 3, EXEMPLAR_SPAN = 4, EXEMPLAR_TRACE = 5 };

typedef struct protobuf_writer_t {
    ac_buf_t *out;
    const ac_otlp_metrics_t *metrics;
    size_t metric, kind; /* open messages */
    unsigned attributes; /* the field of the point that is being written */
} protobuf_writer_t;

static double in_seconds(int64_t us)
{
    return (double)us / (double)APR_USEC_PER_SEC;
}

static void protobuf_begin_metric(void *baton, const char *name, const ac_metric_point_t *first)
{
    protobuf_writer_t *w = baton;
    const ac_metric_row_t *row = &ac_metric_rows[first->metric];
    const char *unit = ac_metrics_names_unit(first->metric);
    w->metric = ac_protobuf_begin(w->out, SCOPE_METRIC);
    ac_protobuf_text(w->out, NAME, name, strlen(name));
    ac_protobuf_text(w->out, DESCRIPTION, row->help, strlen(row->help));
    if (*unit) {
        ac_protobuf_text(w->out, UNIT, unit, strlen(unit));
    }
    w->kind = ac_protobuf_begin(w->out,
                                row->type == AC_METRIC_TYPE_COUNTER     ? SUM
                                    : row->type == AC_METRIC_TYPE_GAUGE ? GAUGE
                                    : w->metrics->exponential           ? EXPONENTIAL
                                                                        : HISTOGRAM);
}

static void protobuf_end_metric(void *baton, const ac_metric_point_t *first)
{
    protobuf_writer_t *w = baton;
    ac_metric_type_e type = ac_metric_rows[first->metric].type;
    if (type != AC_METRIC_TYPE_GAUGE) {
        ac_protobuf_varint(w->out, TEMPORALITY, w->metrics->delta ? 1 : 2);
    }
    if (type == AC_METRIC_TYPE_COUNTER) {
        ac_protobuf_varint(w->out, MONOTONIC, 1);
    }
    ac_protobuf_end(w->out, w->kind);
    ac_protobuf_end(w->out, w->metric);
}

static void protobuf_label(void *baton, const char *label, size_t label_len, const char *value, size_t value_len)
{
    const protobuf_writer_t *w = baton;
    char name[128], text[AC_METRIC_OTEL_NAME_SIZE * 4];
    snprintf(name, sizeof name, "%.*s", (int)label_len, label);
    snprintf(text, sizeof text, "%.*s", (int)value_len, value);
    ac_otlp_protobuf_text(w->out, w->attributes, name, text);
}

static void protobuf_attributes(protobuf_writer_t *w, unsigned field, const ac_metric_point_t *point)
{
    w->attributes = field;
    ac_metrics_names_attributes(w->metrics->naming, point, protobuf_label, w);
}

static void protobuf_exemplars(const protobuf_writer_t *w, unsigned field, const ac_metric_point_t *point)
{
    ac_exemplar_t exemplars[AC_OTLP_METRICS_EXEMPLARS];
    int n = ac_otlp_metrics_exemplars(exemplars, w->metrics, point);
    for (int i = 0; i < n; i++) {
        size_t at = ac_protobuf_begin(w->out, field);
        ac_otlp_protobuf_time(w->out, EXEMPLAR_TIME, exemplars[i].at);
        ac_protobuf_double(w->out, EXEMPLAR_DOUBLE, in_seconds(exemplars[i].value));
        ac_protobuf_hex(w->out, EXEMPLAR_SPAN, exemplars[i].trace.span_id);
        ac_protobuf_hex(w->out, EXEMPLAR_TRACE, exemplars[i].trace.trace_id);
        ac_protobuf_end(w->out, at);
    }
}

static void protobuf_explicit(protobuf_writer_t *w, const ac_metric_point_t *point)
{
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    ac_otlp_protobuf_time(w->out, HISTOGRAM_START, w->metrics->since[point->metric]);
    ac_otlp_protobuf_time(w->out, HISTOGRAM_TIME, w->metrics->when);
    ac_protobuf_fixed64(w->out, HISTOGRAM_COUNT, point->count);
    ac_protobuf_double(w->out, HISTOGRAM_SUM, in_seconds(point->value));
    size_t list = ac_protobuf_begin(w->out, HISTOGRAM_BUCKETS);
    for (int i = 0; i <= row->n_bounds; i++) {
        ac_protobuf_packed_fixed64(w->out, point->buckets[i]);
    }
    ac_protobuf_end(w->out, list);
    list = ac_protobuf_begin(w->out, HISTOGRAM_BOUNDS);
    for (int i = 0; i < row->n_bounds; i++) {
        ac_protobuf_packed_double(w->out, in_seconds(row->bounds[i]));
    }
    ac_protobuf_end(w->out, list);
    protobuf_exemplars(w, HISTOGRAM_EXEMPLARS, point);
    protobuf_attributes(w, HISTOGRAM_ATTRIBUTES, point);
}

static void protobuf_exponential(protobuf_writer_t *w, const ac_metric_point_t *point)
{
    ac_otlp_metrics_buckets_t *buckets = ac_alloc(sizeof *buckets);
    ac_otlp_metrics_buckets(buckets, point);
    protobuf_attributes(w, EXPONENTIAL_ATTRIBUTES, point);
    ac_otlp_protobuf_time(w->out, EXPONENTIAL_START, w->metrics->since[point->metric]);
    ac_otlp_protobuf_time(w->out, EXPONENTIAL_TIME, w->metrics->when);
    ac_protobuf_fixed64(w->out, EXPONENTIAL_COUNT, buckets->count);
    ac_protobuf_double(w->out, EXPONENTIAL_SUM, in_seconds(point->value));
    ac_protobuf_sint(w->out, EXPONENTIAL_SCALE, buckets->scale);
    ac_protobuf_fixed64(w->out, EXPONENTIAL_ZEROS, point->zeros);
    size_t positive = ac_protobuf_begin(w->out, EXPONENTIAL_POSITIVE);
    ac_protobuf_sint(w->out, BUCKETS_OFFSET, buckets->offset);
    size_t list = ac_protobuf_begin(w->out, BUCKETS_COUNTS);
    for (int i = 0; i < buckets->n; i++) {
        ac_protobuf_packed_varint(w->out, buckets->counts[i]);
    }
    ac_protobuf_end(w->out, list);
    ac_protobuf_end(w->out, positive);
    protobuf_exemplars(w, EXPONENTIAL_EXEMPLARS, point);
    ac_protobuf_double(w->out, EXPONENTIAL_THRESHOLD, AC_EXPONENTIAL_ZERO);
    free(buckets);
}

static void protobuf_number(protobuf_writer_t *w, const ac_metric_point_t *point)
{
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    if (row->type != AC_METRIC_TYPE_GAUGE) {
        ac_otlp_protobuf_time(w->out, NUMBER_START, w->metrics->since[point->metric]);
    }
    ac_otlp_protobuf_time(w->out, NUMBER_TIME, w->metrics->when);
    if (row->scale == 1) {
        ac_protobuf_fixed64(w->out, NUMBER_INTEGER, (uint64_t)point->value);
    } else {
        ac_protobuf_double(w->out, NUMBER_DOUBLE, (double)point->value / (double)row->scale);
    }
    protobuf_attributes(w, NUMBER_ATTRIBUTES, point);
}

static void protobuf_point(void *baton, const ac_metric_point_t *point)
{
    protobuf_writer_t *w = baton;
    size_t at = ac_protobuf_begin(w->out, POINTS);
    if (ac_metric_rows[point->metric].type != AC_METRIC_TYPE_HISTOGRAM) {
        protobuf_number(w, point);
    } else if (w->metrics->exponential) {
        protobuf_exponential(w, point);
    } else {
        protobuf_explicit(w, point);
    }
    ac_protobuf_end(w->out, at);
}

void ac_otlp_metrics_protobuf(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_otlp_metrics_t *metrics)
{
    static const ac_otlp_metrics_form_t form = {protobuf_begin_metric, protobuf_point, protobuf_end_metric};
    protobuf_writer_t w = {.out = out, .metrics = metrics};
    ac_otlp_nesting_t nesting = ac_otlp_protobuf_begin(out, resource);
    ac_otlp_metrics_each(metrics, &form, &w);
    ac_otlp_protobuf_end(out, &nesting);
}
