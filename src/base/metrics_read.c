/* SPDX-License-Identifier: Apache-2.0 */
/* The values of metrics: the sums of all stripes, in this memory and in those that it refers to. */
#include "metrics_internal.h"

#include <stdio.h>

void ac_metrics_read_begin(ac_metrics_reading_t *reading, const ac_metrics_t *metrics, ac_metrics_lives_fn *lives)
{
    int n = 0;
    *reading = (ac_metrics_reading_t){.metrics = metrics};
    for (; metrics && n < AC_METRICS_MAX_BLOCKS; metrics = metrics->before, n++) {
        for (int i = 0; i < metrics->n_stripes; i++) {
            uint64_t owner = atomic_load(&ac_metrics_stripe(metrics, i)->owner);
            reading->lives[n][i] = ac_metrics_owner_lives(owner, lives);
            reading->n_lives += reading->lives[n][i];
            reading->n_used[n] = owner || i == 0 ? i + 1 : reading->n_used[n];
        }
    }
}

/* The sum of cell k of a row. Stripes behind the last one that a process has had are not touched: they take no memory.
 * The first one also has the counts of processes that found no stripe. */
static uint64_t add_stripes(const ac_metrics_reading_t *reading, ac_metric_e metric, ac_metric_labels_t labels,
                            size_t k)
{
    bool gauge = ac_metric_rows[metric].type == AC_METRIC_TYPE_GAUGE;
    uint64_t total = 0;
    int n = 0;
    for (const ac_metrics_t *metrics = reading->metrics; metrics; metrics = metrics->before, n++) {
        if (!ac_metrics_has_row(metrics, metric, labels)) {
            continue;
        }
        size_t cell = metrics->cells_at[metric] + ac_metrics_row(metrics, metric, labels) * ac_metrics_width(metric) +
            k;
        for (int i = 0; i < reading->n_used[n]; i++) {
            if (!gauge || reading->lives[n][i]) {
                total += atomic_load_explicit(&ac_metrics_stripe(metrics, i)->cells[cell], memory_order_relaxed);
            }
        }
    }
    return total;
}

int64_t ac_metrics_read_value(const ac_metrics_reading_t *reading, ac_metric_e metric, ac_metric_labels_t labels)
{
    return (int64_t)add_stripes(reading, metric, labels, ac_metrics_width(metric) - 1);
}

int64_t ac_metrics_read_total(const ac_metrics_reading_t *reading, ac_metric_e metric)
{
    const ac_metric_domain_e *domains = ac_metric_rows[metric].domains;
    unsigned n[3];
    int64_t total = 0;
    for (int i = 0; i < 3; i++) {
        n[i] = reading->metrics ? ((ac_metrics_t *)reading->metrics)->n_names[domains[i]] : 0;
    }
    for (unsigned a = 0; a < n[0]; a++) {
        for (unsigned b = 0; b < n[1]; b++) {
            for (unsigned c = 0; c < n[2]; c++) {
                total += ac_metrics_read_value(reading, metric, AC_LABELS(a, b, c));
            }
        }
    }
    return total;
}

uint64_t ac_metrics_read_bucket(const ac_metrics_reading_t *reading, ac_metric_e metric, ac_metric_labels_t labels,
                                int i)
{
    return add_stripes(reading, metric, labels, (size_t)i);
}

static bool read_exemplar(ac_exemplar_t *to, const ac_metric_exemplar_t *from)
{
    ac_metric_exemplar_t *exemplar = (ac_metric_exemplar_t *)from;
    _Atomic uint64_t *parts[] = {&exemplar->trace[0], &exemplar->trace[1], &exemplar->span, &exemplar->value,
                                 &exemplar->at};
    uint64_t words[5], check = atomic_load_explicit(&exemplar->check, memory_order_relaxed);
    for (int i = 0; i < 5; i++) {
        words[i] = atomic_load_explicit(parts[i], memory_order_relaxed);
    }
    if (!words[4] || check != ac_metrics_exemplar_check(words)) {
        return false; /* none, or it is being written */
    }
    snprintf(to->trace.trace_id, sizeof to->trace.trace_id, "%016llx%016llx", (unsigned long long)words[0],
             (unsigned long long)words[1]);
    snprintf(to->trace.span_id, sizeof to->trace.span_id, "%016llx", (unsigned long long)words[2]);
    to->value = (apr_interval_time_t)words[3];
    to->at = (apr_time_t)words[4];
    return true;
}

bool ac_metrics_read_exemplar(ac_exemplar_t *exemplar, const ac_metrics_reading_t *reading, ac_metric_e metric,
                              ac_metric_labels_t labels, int i)
{
    for (const ac_metrics_t *metrics = reading->metrics; metrics; metrics = metrics->before) {
        if (!ac_metric_rows[metric].exemplars || !ac_metrics_has_row(metrics, metric, labels)) {
            continue;
        }
        if (read_exemplar(exemplar, ac_metrics_exemplar(metrics, metric, ac_metrics_row(metrics, metric, labels), i))) {
            return true;
        }
    }
    return false;
}
