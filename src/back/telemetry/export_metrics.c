/* SPDX-License-Identifier: Apache-2.0 */
/* A reading of the metrics as an item, and its requests. Sums that begin at the last request (deltas) are settled in
 * the memory that all processes share, so that the next process continues where this one ends. */
#include "telemetry.h"

#include <string.h>

typedef struct reading_t { /* an item; immutable but for `done` */
    ac_export_metrics_t *owner;
    ac_metrics_reading_t *reading;
    ac_metric_point_t *points;
    int n, size;
    apr_time_t when, since[AC_N_METRICS];
    bool *done;  /* of Application Insights: the points that need not be sent again; NULL: none */
    bool partly; /* some of them were received */
} reading_t;

/* ---- reading ---- */

static void keep_buckets(ac_metric_point_t *to, const ac_metric_point_t *from)
{
    size_t n = (size_t)ac_metric_rows[from->metric].n_bounds + 1;
    to->buckets = ac_alloc((n + AC_EXPONENTIAL_BUCKETS) * sizeof(uint64_t));
    to->exponential = to->buckets + n;
    memcpy(to->buckets, from->buckets, n * sizeof(uint64_t));
    memcpy(to->exponential, from->exponential, AC_EXPONENTIAL_BUCKETS * sizeof(uint64_t));
}

static void keep_point(void *baton, const ac_metric_point_t *point)
{
    reading_t *kept = baton;
    if (kept->n == kept->size) {
        kept->size = kept->size ? kept->size * 2 : 256;
        ac_metric_point_t *more = realloc(kept->points, (size_t)kept->size * sizeof *more);
        if (!more) {
            abort();
        }
        kept->points = more;
    }
    kept->points[kept->n] = *point;
    if (ac_metric_rows[point->metric].type == AC_METRIC_TYPE_HISTOGRAM) {
        keep_buckets(&kept->points[kept->n], point);
    }
    kept->n++;
}

static void reading_free(void *what)
{
    reading_t *kept = what;
    for (int i = 0; i < kept->n; i++) {
        if (ac_metric_rows[kept->points[i].metric].type == AC_METRIC_TYPE_HISTOGRAM) {
            free(kept->points[i].buckets);
        }
    }
    free(kept->points);
    free(kept->reading);
    free(kept->done);
    free(kept);
}

static reading_t *read_metrics(ac_export_metrics_t *metrics)
{
    ac_export_source_t *source = metrics->source;
    reading_t *kept = ac_alloc(sizeof *kept);
    kept->owner = metrics;
    kept->reading = ac_alloc(sizeof *kept->reading);
    ac_metrics_read_begin(kept->reading, source->metrics, source->lives);
    for (int i = 0; i < AC_N_METRICS; i++) {
        kept->since[i] = metrics->delta ? ac_metrics_export_since(source->metrics, metrics->export, (ac_metric_e)i)
                                        : ac_metrics_export_began(source->metrics);
    }
    ac_metric_walk_t walk = {.reading = kept->reading,
                             .event_log_bytes = source->event_log_bytes ? source->event_log_bytes() : 0,
                             .end = AC_N_METRICS,
                             .fn = keep_point,
                             .baton = kept};
    kept->when = apr_time_now();
    if (metrics->delta) {
        ac_metrics_export_news(source->metrics, metrics->export, &walk);
    } else {
        ac_metrics_export_all(&walk);
    }
    return kept;
}

ac_telemetry_item_t *ac_export_metrics_collect(void *baton)
{
    ac_export_metrics_t *metrics = baton;
    ac_export_source_t *source = metrics->source;
    if (!source->metrics || metrics->busy) {
        return NULL;
    }
    if (atomic_load(&source->phase) == AC_EXPORT_PHASE_LEAVING) {
        ac_metrics_export_leave(source->metrics, metrics->export);
        return NULL;
    }
    if (!ac_metrics_export_take(source->metrics, metrics->export, source->lives)) {
        return NULL;
    }
    reading_t *kept = read_metrics(metrics);
    ac_telemetry_item_t *item = ac_telemetry_item_create(AC_SIGNAL_METRICS, kept, sizeof *kept, reading_free);
    item->units = (unsigned)kept->n;
    metrics->busy = true;
    return item;
}

/* ---- requests ---- */

static void metrics_sending(void *baton, const ac_export_batch_t *batch)
{
    const ac_export_metrics_t *metrics = baton;
    (void)batch;
    if (metrics->delta) {
        ac_metrics_export_sending(metrics->source->metrics, metrics->export);
    }
}

static void metrics_settle(void *baton, const ac_export_batch_t *batch, ac_export_end_e end)
{
    ac_export_metrics_t *metrics = baton;
    const reading_t *kept = batch->items[0]->what;
    metrics->busy = false;
    if (metrics->delta) {
        ac_metrics_export_settle(metrics->source->metrics, metrics->export, end != AC_EXPORT_END_LOST || kept->partly);
    }
}

/* An answer says that the destination does not have it: a successor of this process sends it again. */
static void metrics_withdraw(const ac_export_metrics_t *metrics)
{
    if (metrics->delta) {
        ac_metrics_export_withdraw(metrics->source->metrics, metrics->export);
    }
}

/* ---- OTLP ---- */

static ac_otlp_metrics_t otlp_metrics_of(const ac_export_metrics_t *metrics, const ac_export_batch_t *batch)
{
    const reading_t *kept = batch->items[0]->what;
    return (ac_otlp_metrics_t){.points = kept->points,
                               .n = kept->n,
                               .naming = &metrics->source->naming,
                               .since = kept->since,
                               .when = kept->when,
                               .delta = metrics->delta,
                               .exponential = metrics->exponential};
}

static void encode_json_metrics(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    ac_otlp_metrics_t metrics = otlp_metrics_of(baton, batch);
    ac_otlp_metrics_json(out, batch->resource, &metrics);
}

static void encode_protobuf_metrics(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    ac_otlp_metrics_t metrics = otlp_metrics_of(baton, batch);
    ac_otlp_metrics_protobuf(out, batch->resource, &metrics);
}

static void judge_otlp_metrics(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                               const ac_export_batch_t *batch)
{
    ac_otlp_export_judge(baton, verdict, answer, batch);
    if (verdict->result != AC_EXPORT_ACCEPTED) {
        metrics_withdraw(baton);
    }
}

const ac_export_format_t *ac_export_metrics_otlp(bool protobuf)
{
    static const ac_export_format_t json = {.content_type = "application/json",
                                            .encode = encode_json_metrics,
                                            .judge = judge_otlp_metrics,
                                            .sending = metrics_sending,
                                            .settle = metrics_settle},
                                    binary = {.content_type = "application/x-protobuf",
                                              .encode = encode_protobuf_metrics,
                                              .judge = judge_otlp_metrics,
                                              .sending = metrics_sending,
                                              .settle = metrics_settle};
    return protobuf ? &binary : &json;
}

/* ---- Application Insights ---- */

static void encode_envelopes(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    const ac_export_metrics_t *metrics = baton;
    const reading_t *kept = batch->items[0]->what;
    for (int i = 0; i < kept->n; i++) {
        if (!kept->done || !kept->done[i]) {
            ac_appinsights_metric(out, metrics->appinsights, &metrics->source->naming, &kept->points[i], kept->when);
        }
    }
}

/* again: of the envelopes that were sent; the others are done. */
static void mark_done(reading_t *kept, const bool *again)
{
    int k = 0;
    if (!kept->done) {
        kept->done = ac_alloc((size_t)kept->n);
    }
    for (int i = 0; i < kept->n; i++) {
        kept->done[i] = kept->done[i] || !again[k++];
    }
    kept->partly = true;
}

static void judge_envelopes(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                            const ac_export_batch_t *batch)
{
    reading_t *kept = batch->items[0]->what;
    bool *again = ac_alloc((size_t)kept->n + 1);
    int n = 0;
    for (int i = 0; i < kept->n; i++) {
        n += !kept->done || !kept->done[i];
    }
    ac_export_appinsights_judge(verdict, answer, again, n);
    if (verdict->result == AC_EXPORT_SOME) {
        mark_done(kept, again);
        verdict->again[0] = true;
        verdict->rejected = 0;
    } else if (verdict->result != AC_EXPORT_ACCEPTED && !kept->partly) {
        metrics_withdraw(baton);
    }
    free(again);
}

const ac_export_format_t ac_export_metrics_appinsights = {.content_type = "application/x-json-stream",
                                                          .encode = encode_envelopes,
                                                          .judge = judge_envelopes,
                                                          .sending = metrics_sending,
                                                          .settle = metrics_settle};
