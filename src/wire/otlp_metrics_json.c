/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics in OTLP's JSON. */
#include "otlp_internal.h"
#include "otlp_metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct json_writer_t {
    ac_buf_t *out;
    const ac_otlp_metrics_t *metrics;
} json_writer_t;

static void json_comma(ac_buf_t *out)
{
    if (out->len && out->data[out->len - 1] != '[' && out->data[out->len - 1] != '{') {
        ac_buf_add(out, ",", 1);
    }
}

static void json_begin_metric(void *baton, const char *name, const ac_metric_point_t *first)
{
    const json_writer_t *w = baton;
    const ac_metric_row_t *row = &ac_metric_rows[first->metric];
    const char *kind = row->type == AC_METRIC_TYPE_COUNTER ? "sum"
        : row->type == AC_METRIC_TYPE_GAUGE                ? "gauge"
        : w->metrics->exponential                          ? "exponentialHistogram"
                                                           : "histogram";
    json_comma(w->out);
    ac_buf_printf(w->out, "{\"name\":\"%s\",\"description\":", name);
    ac_buf_json(w->out, row->help, strlen(row->help));
    ac_buf_printf(w->out, ",\"unit\":\"%s\",\"%s\":{\"dataPoints\":[", ac_metrics_names_unit(first->metric), kind);
}

static void json_end_metric(void *baton, const ac_metric_point_t *first)
{
    const json_writer_t *w = baton;
    ac_metric_type_e type = ac_metric_rows[first->metric].type;
    ac_buf_str(w->out, "]");
    if (type != AC_METRIC_TYPE_GAUGE) {
        ac_buf_printf(w->out, ",\"aggregationTemporality\":%d", w->metrics->delta ? 1 : 2);
    }
    ac_buf_str(w->out, type == AC_METRIC_TYPE_COUNTER ? ",\"isMonotonic\":true}}" : "}}");
}

static void json_label(void *baton, const char *label, size_t label_len, const char *value, size_t value_len)
{
    char name[128], text[AC_METRIC_OTEL_NAME_SIZE * 4];
    snprintf(name, sizeof name, "%.*s", (int)label_len, label);
    snprintf(text, sizeof text, "%.*s", (int)value_len, value);
    ac_otlp_json_text(baton, name, text);
}

static void json_seconds(ac_buf_t *out, const char *name, int64_t us)
{
    json_comma(out);
    ac_buf_printf(out, "\"%s\":", name);
    ac_otlp_json_double(out, (double)us / (double)APR_USEC_PER_SEC);
}

static void json_counts(ac_buf_t *out, const char *name, const uint64_t *counts, int n)
{
    json_comma(out);
    ac_buf_printf(out, "\"%s\":[", name);
    for (int i = 0; i < n; i++) {
        ac_buf_printf(out, "%s\"%" PRIu64 "\"", i ? "," : "", counts[i]);
    }
    ac_buf_str(out, "]");
}

static void json_exemplars(const json_writer_t *w, const ac_metric_point_t *point)
{
    ac_exemplar_t exemplars[AC_OTLP_METRICS_EXEMPLARS];
    int n = ac_otlp_metrics_exemplars(exemplars, w->metrics, point);
    if (!n) {
        return;
    }
    ac_buf_str(w->out, ",\"exemplars\":[");
    for (int i = 0; i < n; i++) {
        json_comma(w->out);
        ac_buf_printf(w->out, "{\"traceId\":\"%s\",\"spanId\":\"%s\"", exemplars[i].trace.trace_id,
                      exemplars[i].trace.span_id);
        ac_otlp_json_time(w->out, "timeUnixNano", exemplars[i].at);
        json_seconds(w->out, "asDouble", exemplars[i].value);
        ac_buf_str(w->out, "}");
    }
    ac_buf_str(w->out, "]");
}

static void json_explicit(const json_writer_t *w, const ac_metric_point_t *point)
{
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    ac_buf_printf(w->out, ",\"count\":\"%" PRIu64 "\"", point->count);
    json_seconds(w->out, "sum", point->value);
    json_counts(w->out, "bucketCounts", point->buckets, row->n_bounds + 1);
    ac_buf_str(w->out, ",\"explicitBounds\":[");
    for (int i = 0; i < row->n_bounds; i++) {
        json_comma(w->out);
        ac_otlp_json_double(w->out, (double)row->bounds[i] / (double)APR_USEC_PER_SEC);
    }
    ac_buf_str(w->out, "]");
}

static void json_exponential(const json_writer_t *w, const ac_metric_point_t *point)
{
    ac_otlp_metrics_buckets_t *buckets = ac_alloc(sizeof *buckets);
    ac_otlp_metrics_buckets(buckets, point);
    ac_buf_printf(w->out, ",\"count\":\"%" PRIu64 "\"", buckets->count);
    json_seconds(w->out, "sum", point->value);
    ac_buf_printf(w->out, ",\"scale\":%d,\"zeroCount\":\"%" PRIu64 "\",\"zeroThreshold\":", buckets->scale,
                  point->zeros);
    ac_otlp_json_double(w->out, AC_EXPONENTIAL_ZERO);
    ac_buf_printf(w->out, ",\"positive\":{\"offset\":%d", buckets->offset);
    json_counts(w->out, "bucketCounts", buckets->counts, buckets->n);
    ac_buf_str(w->out, "}");
    free(buckets);
}

static void json_point(void *baton, const ac_metric_point_t *point)
{
    const json_writer_t *w = baton;
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    json_comma(w->out);
    ac_buf_str(w->out, "{\"attributes\":[");
    ac_metrics_names_attributes(w->metrics->naming, point, json_label, w->out);
    ac_buf_str(w->out, "]");
    if (row->type != AC_METRIC_TYPE_GAUGE) {
        ac_otlp_json_time(w->out, "startTimeUnixNano", w->metrics->since[point->metric]);
    }
    ac_otlp_json_time(w->out, "timeUnixNano", w->metrics->when);
    if (row->type == AC_METRIC_TYPE_HISTOGRAM) {
        (w->metrics->exponential ? json_exponential : json_explicit)(w, point);
        json_exemplars(w, point);
    } else if (row->scale == 1) {
        ac_buf_printf(w->out, ",\"asInt\":\"%" PRId64 "\"", point->value);
    } else {
        ac_buf_str(w->out, ",\"asDouble\":");
        ac_otlp_json_double(w->out, (double)point->value / (double)row->scale);
    }
    ac_buf_str(w->out, "}");
}

void ac_otlp_metrics_json(ac_buf_t *out, const ac_otlp_resource_t *resource, const ac_otlp_metrics_t *metrics)
{
    static const ac_otlp_metrics_form_t form = {json_begin_metric, json_point, json_end_metric};
    json_writer_t w = {out, metrics};
    ac_otlp_json_begin(out, resource, "Metrics", "metrics");
    ac_otlp_metrics_each(metrics, &form, &w);
    ac_otlp_json_end(out);
}
