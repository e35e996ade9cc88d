/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry.h includes this. Metrics on their way out: one process of a server at a time sends the sums of all of them,
 * at an interval. */
#ifndef AC_EXPORT_METRICS_H
#define AC_EXPORT_METRICS_H

#include "wire/wire.h"

typedef enum ac_export_phase_e {
    AC_EXPORT_PHASE_RUNNING,
    AC_EXPORT_PHASE_LEAVING, /* the process sends no more: a newer configuration has other processes */
    AC_EXPORT_PHASE_ENDING   /* it is about to end, and sends the rest if no other process does */
} ac_export_phase_e;

typedef struct ac_export_source_t { /* of a process; outlives its exporters */
    ac_metrics_t *metrics;          /* NULL: nothing is counted */
    ac_metrics_lives_fn *lives;
    int64_t (*event_log_bytes)(void);
    ac_metric_naming_t naming;
    atomic_int phase; /* ac_export_phase_e */
} ac_export_source_t;

typedef struct ac_export_metrics_t { /* the baton of an exporter of metrics */
    ac_export_source_t *source;
    ac_metric_export_e export;
    bool delta, exponential;
    const ac_appinsights_source_t *appinsights; /* or NULL: OTLP */
    bool busy;                                  /* an item is under way */
} ac_export_metrics_t;

/* For ac_exporter_conf_t. */
ac_telemetry_item_t *ac_export_metrics_collect(void *baton);
const ac_export_format_t *ac_export_metrics_otlp(bool protobuf);
extern const ac_export_format_t ac_export_metrics_appinsights;
/* otlp_export.c. The rules of OTLP for an answer. */
void ac_otlp_export_judge(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                          const ac_export_batch_t *batch);

/* ---- export_appinsights.c: spans and log records for Application Insights; the baton is its source ---- */
extern const ac_export_format_t ac_export_appinsights_format;
/* The meaning of an answer to n envelopes. again: n flags. */
void ac_export_appinsights_judge(ac_export_verdict_t *verdict, const ac_export_answer_t *answer, bool *again, int n);

#endif
