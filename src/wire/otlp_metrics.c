/* SPDX-License-Identifier: Apache-2.0 */
/* The order of metrics in OTLP, and the buckets of histograms, whatever the encoding. */
#include "otlp_metrics.h"

#include <string.h>

#define MAX_NAMES 8 /* of one metric of the table */

/* The points of one metric. */
static void each_name(const ac_metric_point_t *points, int n, const ac_otlp_metrics_form_t *form, void *baton)
{
    int seen[MAX_NAMES], n_seen = 0;
    for (int i = 0; i < n; i++) {
        int k = 0, variant = ac_metrics_names_variant(&points[i]);
        while (k < n_seen && seen[k] != variant) {
            k++;
        }
        if (k < n_seen || k == MAX_NAMES) {
            continue;
        }
        seen[n_seen++] = variant;
        char name[AC_METRIC_OTEL_NAME_SIZE];
        ac_metrics_names_otel(name, &points[i]);
        form->begin(baton, name, &points[i]);
        for (int j = i; j < n; j++) {
            if (ac_metrics_names_variant(&points[j]) == variant) {
                form->point(baton, &points[j]);
            }
        }
        form->end(baton, &points[i]);
    }
}

void ac_otlp_metrics_each(const ac_otlp_metrics_t *metrics, const ac_otlp_metrics_form_t *form, void *baton)
{
    for (int i = 0, end; i < metrics->n; i = end) {
        for (end = i; end < metrics->n && metrics->points[end].metric == metrics->points[i].metric; end++) {
        }
        each_name(metrics->points + i, end - i, form, baton);
    }
}

/* Source: OpenTelemetry, "Metrics Data Model": two buckets make one of the next smaller scale, without a loss. */
void ac_otlp_metrics_buckets(ac_otlp_metrics_buckets_t *buckets, const ac_metric_point_t *point)
{
    int first = 0, last = AC_EXPONENTIAL_BUCKETS - 1, shift = 0;
    *buckets = (ac_otlp_metrics_buckets_t){.scale = AC_EXPONENTIAL_SCALE, .count = point->zeros};
    while (first <= last && !point->exponential[first]) {
        first++;
    }
    while (last >= first && !point->exponential[last]) {
        last--;
    }
    if (first > last) {
        return;
    }
    int from = AC_EXPONENTIAL_FIRST + first, to = AC_EXPONENTIAL_FIRST + last;
    while ((to >> shift) - (from >> shift) >= AC_OTLP_METRICS_BUCKETS) {
        shift++;
    }
    buckets->scale -= shift;
    buckets->offset = from >> shift;
    buckets->n = (to >> shift) - buckets->offset + 1;
    for (int i = first; i <= last; i++) {
        buckets->counts[((AC_EXPONENTIAL_FIRST + i) >> shift) - buckets->offset] += point->exponential[i];
        buckets->count += point->exponential[i];
    }
}

int ac_otlp_metrics_exemplars(ac_exemplar_t *exemplars, const ac_otlp_metrics_t *metrics,
                              const ac_metric_point_t *point)
{
    const ac_metric_row_t *row = &ac_metric_rows[point->metric];
    apr_time_t since = metrics->since[point->metric];
    int n = 0;
    for (int i = 0; row->exemplars && i <= row->n_bounds && n < AC_OTLP_METRICS_EXEMPLARS; i++) {
        if (ac_metrics_read_exemplar(&exemplars[n], point->reading, point->metric, point->labels, i) &&
            exemplars[n].at >= since) {
            n++;
        }
    }
    return n;
}
