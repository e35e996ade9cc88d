/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of the memory of metrics, for metrics.c and its readers. */
#ifndef AC_METRICS_INTERNAL_H
#define AC_METRICS_INTERNAL_H

#include "base.h"

typedef struct ac_metric_exemplar_t { /* of a bucket; without a lock: a torn one does not fit its check */
    _Atomic uint64_t trace[2], span, value, at, check;
} ac_metric_exemplar_t;

struct ac_activity_row_t {
    _Atomic int64_t began; /* 0: free; -1: being filled */
    _Atomic uint64_t bytes;
    atomic_uint delivery, route, agent, state;
};

typedef struct ac_metric_stripe_t { /* of one process at a time */
    _Atomic uint64_t owner;         /* start time and pid; 0: never used. The owner of a process that has ended stays */
    uint64_t unused[7];             /* the cells begin on a cache line */
    _Atomic uint64_t cells[];
} ac_metric_stripe_t;

struct ac_metrics_t {
    uint64_t signature; /* of the table and the names that the module knows */
    size_t size;
    int n_stripes;
    apr_time_t created;         /* when the oldest of `before` was */
    const ac_metrics_t *before; /* counts of a memory that had too little room for names, or NULL */
    int n_before;
    uint32_t capacity[AC_N_DOMAINS];
    atomic_uint n_names[AC_N_DOMAINS];
    size_t names_at[AC_N_DOMAINS];     /* bytes from the beginning, to char[capacity][AC_METRIC_NAME_SIZE] */
    size_t exemplars_at[AC_N_METRICS]; /* bytes from the beginning; 0: it has none */
    size_t cells_at[AC_N_METRICS];     /* cells from the beginning of a stripe's */
    size_t first_gauge, n_cells;       /* the gauges are last */
    size_t activity_at;                /* bytes from the beginning of a stripe */
    size_t stripes_at, stripe_size;
};

/* metrics.c: the activity rows of this process; NULL: it has none. */
ac_activity_row_t *ac_metrics_activity(void);

static inline ac_metric_stripe_t *ac_metrics_stripe(const ac_metrics_t *metrics, int i)
{
    return (ac_metric_stripe_t *)((char *)metrics + metrics->stripes_at + (size_t)i * metrics->stripe_size);
}

static inline ac_activity_row_t *ac_metrics_activity_of(const ac_metrics_t *metrics, int stripe)
{
    return (ac_activity_row_t *)((char *)ac_metrics_stripe(metrics, stripe) + metrics->activity_at);
}

/* The number of cells of each row: buckets and the sum of a histogram. */
static inline size_t ac_metrics_width(ac_metric_e metric)
{
    return ac_metric_rows[metric].type == AC_METRIC_TYPE_HISTOGRAM ? (size_t)ac_metric_rows[metric].n_bounds + 2 : 1;
}

/* The number of the row with these labels. */
static inline size_t ac_metrics_row(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels)
{
    size_t row = 0;
    for (int k = 0; k < 3; k++) {
        uint32_t n = metrics->capacity[ac_metric_rows[metric].domains[k]];
        row = row * n + (labels.i[k] < n ? labels.i[k] : 0);
    }
    return row;
}

static inline const char *ac_metrics_name(const ac_metrics_t *metrics, ac_metric_domain_e domain, unsigned i)
{
    return (const char *)metrics + metrics->names_at[domain] + (size_t)i * AC_METRIC_NAME_SIZE;
}

/* The exemplar of a bucket; NULL: the metric has none. */
static inline ac_metric_exemplar_t *ac_metrics_exemplar(const ac_metrics_t *metrics, ac_metric_e metric, size_t row,
                                                        int bucket)
{
    size_t at = metrics->exemplars_at[metric], width = (size_t)ac_metric_rows[metric].n_bounds + 1;
    return at ? (ac_metric_exemplar_t *)((char *)metrics + at) + row * width + (size_t)bucket : NULL;
}

static inline uint64_t ac_metrics_exemplar_check(const uint64_t words[5])
{
    uint64_t check = UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 5; i++) {
        check = (check ^ words[i]) * UINT64_C(0x100000001b3);
        check ^= check >> 29;
    }
    return check;
}

/* The owner of a stripe. A pid has at most 22 bits. */
static inline uint64_t ac_metrics_owner(int64_t pid, int64_t started)
{
    return (uint64_t)(started > 0 ? started : 0) << 23 | (uint64_t)pid;
}

static inline int64_t ac_metrics_owner_pid(uint64_t owner)
{
    return (int64_t)(owner & ((1 << 23) - 1));
}

static inline bool ac_metrics_owner_lives(uint64_t owner, ac_metrics_lives_fn *lives)
{
    return owner && lives(ac_metrics_owner_pid(owner), (int64_t)(owner >> 23));
}

#endif
