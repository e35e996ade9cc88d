/* SPDX-License-Identifier: Apache-2.0 */
/* The sums that other systems are sent, and what they have been sent so far.
 *
 * What has been sent is counted as the metrics are: in cells of each block, whose sum over the blocks counts. A request
 * goes through these states, and its process may die in any of them:
 *     IDLE      nothing is under way
 *     PREPARED  the journal has the cells as they will be. A successor forgets it
 *     SENDING   the request may have reached the other system. A successor regards it as received
 *     SETTLING  it was received: the cells are being set, which a successor repeats: to do it twice does no harm */
#include "metrics_internal.h"

#include <string.h>

enum { IDLE, PREPARED, SENDING, SETTLING };

static uint64_t load(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit((_Atomic uint64_t *)cell, memory_order_relaxed);
}

/* ---- the lease ---- */

static ac_metric_lease_t *lease_of(ac_metrics_t *metrics, ac_metric_export_e export)
{
    return &metrics->lead->leases[export];
}

static const ac_metrics_t *block_of(const ac_metrics_t *metrics, int n_before)
{
    while (metrics && metrics->n_before != n_before) {
        metrics = metrics->before;
    }
    return metrics;
}

static void settle_journal(ac_metrics_t *metrics, ac_metric_export_e export, ac_metric_lease_t *lease)
{
    const ac_metrics_t *block = block_of(metrics, atomic_load(&lease->block));
    const ac_metric_entry_t *journal = block ? ac_metrics_export_journal(block, export) : NULL;
    uint64_t n = block ? atomic_load(&lease->n_journal) : 0;
    atomic_store(&lease->state, SETTLING);
    for (uint64_t i = 0; i < n; i++) {
        atomic_store_explicit(&ac_metrics_export_sent(block, export)[load(&journal[i].cell)], load(&journal[i].value),
                              memory_order_relaxed);
    }
    for (int i = atomic_load(&lease->first); i < atomic_load(&lease->end); i++) {
        atomic_store(&lease->settled[i], atomic_load(&lease->until));
    }
    atomic_store(&lease->state, IDLE);
}

bool ac_metrics_export_take(ac_metrics_t *metrics, ac_metric_export_e export, ac_metrics_lives_fn *lives)
{
    ac_metric_lease_t *lease = lease_of(metrics, export);
    uint64_t me = ac_metrics_me(), owner = atomic_load(&lease->owner);
    if (!me || atomic_load(&metrics->lead->newest) != metrics->n_before) {
        ac_metrics_export_leave(metrics, export);
        return false;
    }
    if (owner == me) {
        return true;
    }
    if (ac_metrics_owner_lives(owner, lives) || !atomic_compare_exchange_strong(&lease->owner, &owner, me)) {
        return false;
    }
    int state = atomic_load(&lease->state);
    if (state == SENDING || state == SETTLING) {
        settle_journal(metrics, export, lease);
    }
    atomic_store(&lease->state, IDLE);
    return true;
}

void ac_metrics_export_leave(ac_metrics_t *metrics, ac_metric_export_e export)
{
    uint64_t me = ac_metrics_me();
    if (me) {
        atomic_compare_exchange_strong(&lease_of(metrics, export)->owner, &me, 0);
    }
}

void ac_metrics_export_sending(ac_metrics_t *metrics, ac_metric_export_e export)
{
    atomic_store(&lease_of(metrics, export)->state, SENDING);
}

void ac_metrics_export_withdraw(ac_metrics_t *metrics, ac_metric_export_e export)
{
    atomic_store(&lease_of(metrics, export)->state, PREPARED);
}

void ac_metrics_export_settle(ac_metrics_t *metrics, ac_metric_export_e export, bool received)
{
    ac_metric_lease_t *lease = lease_of(metrics, export);
    if (received) {
        settle_journal(metrics, export, lease);
    } else {
        atomic_store(&lease->state, IDLE);
    }
}

apr_time_t ac_metrics_export_began(const ac_metrics_t *metrics)
{
    return metrics->created;
}

apr_time_t ac_metrics_export_since(const ac_metrics_t *metrics, ac_metric_export_e export, ac_metric_e metric)
{
    apr_time_t settled = atomic_load(&metrics->lead->leases[export].settled[metric]);
    return settled ? settled : metrics->created;
}

/* ---- the points ---- */

typedef struct walker_t {
    const ac_metric_walk_t *walk;
    ac_metrics_t *metrics;     /* NULL: the sums since the counters began */
    ac_metric_export_e export; /* whose news */
    uint64_t n_journal;
    ac_metric_point_t point;
    uint64_t buckets[32], exponential[AC_EXPONENTIAL_CELLS];
} walker_t;

/* Cell k of the row, or of its exponential histogram. */
static size_t cell_in(const ac_metrics_t *metrics, const ac_metric_point_t *point, size_t k, bool exponential)
{
    size_t row = ac_metrics_row(metrics, point->metric, point->labels);
    return exponential ? metrics->first_gauge + metrics->exponential_at[point->metric] + row * AC_EXPONENTIAL_CELLS + k
                       : metrics->cells_at[point->metric] + row * ac_metrics_width(point->metric) + k;
}

/* What a cell has more than was sent, which goes to the journal; or all of it. */
static uint64_t news_of(walker_t *w, uint64_t value, size_t k, bool exponential)
{
    uint64_t sent = 0;
    for (const ac_metrics_t *metrics = w->metrics; metrics; metrics = metrics->before) {
        if (ac_metrics_has_row(metrics, w->point.metric, w->point.labels)) {
            sent += load(&ac_metrics_export_sent(metrics, w->export)[cell_in(metrics, &w->point, k, exponential)]);
        }
    }
    if (w->metrics && value != sent) {
        size_t cell = cell_in(w->metrics, &w->point, k, exponential);
        ac_metric_entry_t *entry = &ac_metrics_export_journal(w->metrics, w->export)[w->n_journal++];
        uint64_t before = load(&ac_metrics_export_sent(w->metrics, w->export)[cell]);
        atomic_store_explicit(&entry->cell, cell, memory_order_relaxed);
        atomic_store_explicit(&entry->value, before + value - sent, memory_order_relaxed);
    }
    return value - sent;
}

static uint64_t read_exponential(const walker_t *w, size_t k)
{
    uint64_t total = 0;
    ac_metric_e metric = w->point.metric;
    for (const ac_metrics_t *metrics = w->walk->reading->metrics; metrics; metrics = metrics->before) {
        if (ac_metrics_has_row(metrics, metric, w->point.labels)) {
            size_t row = ac_metrics_row(metrics, metric, w->point.labels);
            total += load(&ac_metrics_exponential_cells(metrics, metric, row)[k]);
        }
    }
    return total;
}

/* Values that are counted meanwhile are in some of these cells and not in others: count and buckets are of one reading
 * each, and what is missing comes next time. */
static void pass_histogram(walker_t *w)
{
    ac_metric_point_t *point = &w->point;
    const ac_metrics_reading_t *reading = w->walk->reading;
    int n = ac_metric_rows[point->metric].n_bounds;
    uint64_t seen = 0;
    for (int i = 0; i <= n; i++) {
        w->buckets[i] = ac_metrics_read_bucket(reading, point->metric, point->labels, i);
        seen |= w->buckets[i];
    }
    if (!seen) {
        return;
    }
    point->count = 0;
    for (int i = 0; i <= n; i++) {
        w->buckets[i] = news_of(w, w->buckets[i], (size_t)i, false);
        point->count += w->buckets[i];
    }
    uint64_t sum = (uint64_t)ac_metrics_read_value(reading, point->metric, point->labels);
    point->value = (int64_t)news_of(w, sum, (size_t)n + 1, false);
    for (size_t k = 0; k < AC_EXPONENTIAL_CELLS; k++) {
        w->exponential[k] = news_of(w, read_exponential(w, k), k, true);
    }
    point->buckets = w->buckets;
    point->zeros = w->exponential[0];
    point->exponential = w->exponential + 1;
    if (point->count) {
        w->walk->fn(w->walk->baton, point);
    }
}

static void pass_row(walker_t *w)
{
    ac_metric_point_t *point = &w->point;
    if (ac_metric_rows[point->metric].type == AC_METRIC_TYPE_HISTOGRAM) {
        pass_histogram(w);
        return;
    }
    int64_t value = ac_metrics_read_value(w->walk->reading, point->metric, point->labels);
    bool gauge = ac_metric_rows[point->metric].type == AC_METRIC_TYPE_GAUGE;
    point->value = gauge || value == 0 ? value : (int64_t)news_of(w, (uint64_t)value, 0, false);
    if (point->value != 0 || (gauge && !ac_metrics_is_other(point->metric, point->labels))) {
        w->walk->fn(w->walk->baton, point);
    }
}

/* Metrics whose value is not in the cells. false: it is in the cells. */
static bool pass_special(walker_t *w)
{
    const ac_metrics_reading_t *reading = w->walk->reading;
    switch (w->point.metric) {
    case AC_METRIC_CHILDREN: w->point.value = reading->n_lives; break;
    case AC_METRIC_EVENT_LOG_BYTES: w->point.value = w->walk->event_log_bytes; break;
    case AC_METRIC_START_TIME:
    case AC_METRIC_BUILD: return true; /* other systems get them with each point, and with the resource */
    default: return false;
    }
    w->walk->fn(w->walk->baton, &w->point);
    return true;
}

static void pass_metric(walker_t *w)
{
    const ac_metrics_t *metrics = w->walk->reading->metrics;
    const ac_metric_domain_e *domains = ac_metric_rows[w->point.metric].domains;
    unsigned n[3];
    for (int k = 0; k < 3; k++) {
        n[k] = atomic_load_explicit(&((ac_metrics_t *)metrics)->n_names[domains[k]], memory_order_acquire);
    }
    for (unsigned a = 0; a < n[0]; a++) {
        for (unsigned b = 0; b < n[1]; b++) {
            for (unsigned c = 0; c < n[2]; c++) {
                w->point.labels = AC_LABELS(a, b, c);
                pass_row(w);
            }
        }
    }
}

static uint64_t walk_metrics(ac_metrics_t *metrics, ac_metric_export_e export, const ac_metric_walk_t *walk)
{
    walker_t *w = ac_alloc(sizeof *w);
    w->walk = walk;
    w->metrics = metrics;
    w->export = export;
    w->point.reading = walk->reading;
    for (int i = walk->first; i < walk->end; i++) {
        w->point.metric = (ac_metric_e)i;
        w->point.labels = AC_NO_LABELS;
        if (!pass_special(w)) {
            pass_metric(w);
        }
    }
    uint64_t n = w->n_journal;
    free(w);
    return n;
}

void ac_metrics_export_all(const ac_metric_walk_t *walk)
{
    walk_metrics(NULL, AC_METRIC_EXPORT_OTLP, walk);
}

void ac_metrics_export_news(ac_metrics_t *metrics, ac_metric_export_e export, const ac_metric_walk_t *walk)
{
    ac_metric_lease_t *lease = lease_of(metrics, export);
    atomic_store(&lease->n_journal, walk_metrics(metrics, export, walk));
    atomic_store(&lease->block, metrics->n_before);
    atomic_store(&lease->first, walk->first);
    atomic_store(&lease->end, walk->end);
    atomic_store(&lease->until, apr_time_now());
    atomic_store(&lease->state, PREPARED);
}
