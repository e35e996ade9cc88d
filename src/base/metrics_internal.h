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

/* One of the systems that sums are sent to: how far that is. In memory that all blocks share. */
typedef struct ac_metric_lease_t {
    _Atomic uint64_t owner; /* the process that sends; 0: none */
    atomic_int state;       /* ac_metric_export_e */
    atomic_int block;       /* with the journal of the request: n_before of it */
    _Atomic uint64_t n_journal;
    atomic_int first, end;                 /* the metrics in the request */
    _Atomic int64_t until;                 /* when their interval ends */
    _Atomic int64_t settled[AC_N_METRICS]; /* when the newest interval that was received ended; 0: none was */
} ac_metric_lease_t;
typedef struct ac_metrics_lead_t {
    atomic_int newest; /* n_before of the newest block: processes of an older configuration send nothing */
    ac_metric_lease_t leases[AC_N_METRIC_EXPORTS];
} ac_metrics_lead_t;

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
    size_t exponential_at[AC_N_METRICS]; /* cells from the beginning of a region of exponential histograms */
    size_t n_exponential;                /* cells of all of them */
    size_t exponentials_at;              /* bytes from the beginning: one region, in which all processes count */
    /* Bytes from the beginning. For each export: what has been sent, in the cells of a stripe without its gauges and in
     * a region of exponentials; and a journal with the cells that change when the request under way is received. */
    size_t exports_at;
    ac_metrics_lead_t *lead; /* of all blocks */
};

/* metrics.c: the owner of this process's stripe; 0: it has none of its own. */
uint64_t ac_metrics_me(void);
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

typedef struct ac_metric_entry_t { /* of a journal */
    _Atomic uint64_t cell, value;
} ac_metric_entry_t;

/* The cells that an export has: one for each that is counted in. */
static inline size_t ac_metrics_export_width(const ac_metrics_t *metrics)
{
    return metrics->first_gauge + metrics->n_exponential;
}

static inline _Atomic uint64_t *ac_metrics_export_sent(const ac_metrics_t *metrics, ac_metric_export_e export)
{
    size_t size = ac_metrics_export_width(metrics) * (sizeof(uint64_t) + sizeof(ac_metric_entry_t));
    return (_Atomic uint64_t *)((char *)metrics + metrics->exports_at + (size_t) export * size);
}

static inline ac_metric_entry_t *ac_metrics_export_journal(const ac_metrics_t *metrics, ac_metric_export_e export)
{
    return (ac_metric_entry_t *)(ac_metrics_export_sent(metrics, export) + ac_metrics_export_width(metrics));
}

static inline _Atomic uint64_t *ac_metrics_exponential_cells(const ac_metrics_t *metrics, ac_metric_e metric,
                                                             size_t row)
{
    return (_Atomic uint64_t *)((char *)metrics + metrics->exponentials_at) + metrics->exponential_at[metric] +
        row * AC_EXPONENTIAL_CELLS;
}

/* Whether the memory has a row for these labels. A name has the same index in all of them. */
static inline bool ac_metrics_has_row(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels)
{
    for (int k = 0; k < 3; k++) {
        if (labels.i[k] >= metrics->capacity[ac_metric_rows[metric].domains[k]]) {
            return false;
        }
    }
    return true;
}

/* Whether a label that the configuration names is "other". */
static inline bool ac_metrics_is_other(ac_metric_e metric, ac_metric_labels_t labels)
{
    for (int k = 0; k < 3; k++) {
        if (ac_metric_domains[ac_metric_rows[metric].domains[k]].open && labels.i[k] == AC_METRIC_OTHER) {
            return true;
        }
    }
    return false;
}

/* metrics_exponential.c: the cell of a value; 0: the values that count as zero. */
void ac_metrics_exponential_init(void); /* the parent process, before the first value */
size_t ac_metrics_exponential_cell(apr_interval_time_t value);

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
