/* SPDX-License-Identifier: Apache-2.0 */
/* Counters, histograms and gauges in memory that the children of a server share; base.h includes this. The table of
 * metrics is metrics_table.h.
 *
 * The memory has a stripe for each child: a child counts in its stripe only, with relaxed atomics and without a lock.
 * A reader adds the stripes. A stripe outlives its child, and the next child of that slot counts on in it, so a counter
 * never falls, and counts nothing twice, however a child ends. Gauges are part of a stripe too, and count only as long
 * as its child lives.
 *
 * A label's value is an index into the names of its domain. Names are appended and never removed, so that an index
 * means the same in all generations of children; index 0 of an OPEN domain is "other". */
#ifndef AC_METRICS_H
#define AC_METRICS_H

#include "agentchat.h"

#include <stdatomic.h>

typedef enum ac_metric_domain_e {
#define AC_METRIC_DOMAIN(id, label, kind) AC_DOMAIN_##id,
#define AC_METRIC(...)
#include "metrics_table.h"
#undef AC_METRIC_DOMAIN
#undef AC_METRIC
    AC_N_DOMAINS
} ac_metric_domain_e;

typedef enum ac_metric_e {
#define AC_METRIC_DOMAIN(...)
#define AC_METRIC(id, ...) AC_METRIC_##id,
#include "metrics_table.h"
#undef AC_METRIC_DOMAIN
#undef AC_METRIC
    AC_N_METRICS
} ac_metric_e;

typedef enum ac_metric_type_e {
    AC_METRIC_TYPE_COUNTER,
    AC_METRIC_TYPE_HISTOGRAM,
    AC_METRIC_TYPE_GAUGE,
    AC_METRIC_TYPE_INFO
} ac_metric_type_e;

/* The indexes of the FIXED domains that the code counts with. */
typedef enum ac_tool_outcome_e {
    AC_TOOL_OUTCOME_OK,
    AC_TOOL_OUTCOME_ERROR,
    AC_TOOL_OUTCOME_TIMEOUT,
    AC_TOOL_OUTCOME_INVALID,  /* not started: arguments that the schema does not allow, an unknown tool, no capacity */
    AC_TOOL_OUTCOME_REFUSED,  /* not started: the owner refused it, or the time for the approval was over */
    AC_TOOL_OUTCOME_ABANDONED /* the run ended first */
} ac_tool_outcome_e;
typedef enum ac_stream_outcome_e {
    AC_STREAM_OUTCOME_SENT, /* to its end */
    AC_STREAM_OUTCOME_PROBLEM,
    AC_STREAM_OUTCOME_DISCONNECTED, /* the client has gone */
    AC_STREAM_OUTCOME_SLOW,         /* the client was dropped, because it read too slowly */
    AC_STREAM_OUTCOME_STOPPED       /* the process ended */
} ac_stream_outcome_e;
typedef enum ac_signal_e { AC_SIGNAL_TRACES, AC_SIGNAL_METRICS, AC_SIGNAL_LOGS, AC_N_SIGNALS } ac_signal_e;
enum { AC_DELIVERY_PARKED, AC_DELIVERY_BLOCKING };
enum { AC_TOKENS_INPUT, AC_TOKENS_OUTPUT };
enum { AC_AFTER_RUN_SET, AC_AFTER_RUN_KEPT, AC_AFTER_RUN_SKIPPED, AC_AFTER_RUN_FAILED };
enum { AC_WEBHOOK_DELIVERED, AC_WEBHOOK_RETRIED, AC_WEBHOOK_FAILED, AC_WEBHOOK_GONE };
enum { AC_HISTORY_RESULTS, AC_HISTORY_MESSAGES, AC_HISTORY_SUMMARY };
enum { AC_RATING_UP, AC_RATING_DOWN, AC_RATING_REMOVED };
enum { AC_CACHE_HIT, AC_CACHE_MISS, AC_CACHE_STALE };

typedef enum ac_protocol_e {                    /* the API that a request came by */
                             AC_PROTOCOL_OTHER, /* not known */
                             AC_PROTOCOL_NATIVE,
                             AC_PROTOCOL_CHAT_COMPLETIONS,
                             AC_PROTOCOL_RESPONSES,
                             AC_PROTOCOL_UI,
                             AC_PROTOCOL_AGUI,
                             AC_PROTOCOL_MCP,
                             AC_N_PROTOCOLS
} ac_protocol_e;
const char *ac_metrics_protocol(ac_protocol_e which); /* "native"; any thread */
/* The index of a run's end in AC_DOMAIN_RUN_STATUS. status: 0 completed, 1 failed, 2 cancelled. */
unsigned ac_metrics_run_status(ac_protocol_e which, unsigned status);

#define AC_METRIC_NAME_SIZE 72 /* of a label's value, with its NUL */
#define AC_METRIC_OTHER 0      /* index of "other" */

typedef struct ac_metric_row_t {
    const char *name; /* "agentchat_runs_total" */
    ac_metric_type_e type;
    int64_t scale;         /* parts of the unit that are counted */
    const int64_t *bounds; /* of a histogram, in microseconds; ends with 0 */
    int n_bounds;
    bool exemplars;
    ac_metric_domain_e domains[3];
    const char *since, *help;
} ac_metric_row_t;
extern const ac_metric_row_t ac_metric_rows[AC_N_METRICS];
typedef struct ac_metric_domain_t {
    const char *label; /* "agent"; "protocol method route": its names have a value of each, with blanks between them */
    bool open;
} ac_metric_domain_t;
extern const ac_metric_domain_t ac_metric_domains[AC_N_DOMAINS];

/* ---- metrics.c: the memory, and counting in it ---- */
typedef struct ac_metrics_t ac_metrics_t; /* in shared memory; metrics_internal.h */
typedef struct ac_metric_names_t {        /* the values of each domain, in the order of their indexes */
    const char *const *list[AC_N_DOMAINS];
    int n[AC_N_DOMAINS];
} ac_metric_names_t;
/* Sets the names of those FIXED domains that this layer knows, and "other" as the only name of the OPEN ones. */
void ac_metrics_names_init(ac_metric_names_t *names);
/* Memory for these names and this number of children. before: the memory of the previous configuration, or NULL. It is
 * returned if it has room for new names; else the result includes its counts and refers to it, or begins at zero if
 * another version of this module has made it. NULL: out of memory. The parent process, before it forks. */
ac_metrics_t *ac_metrics_create(const ac_metric_names_t *names, int n_children, ac_metrics_t *before);
/* Unmaps the memory and those that it refers to; NULL is allowed. For tests: a server keeps it for its whole life. */
void ac_metrics_destroy(ac_metrics_t *metrics);
typedef bool ac_metrics_lives_fn(int64_t pid, int64_t started); /* started: as ac_metrics_join() had it */
/* Makes this process count in a stripe of its own: one without a process, or whose process has ended. Its gauges begin
 * at zero, and are gone when the process ends. started: tells processes with the same pid apart. metrics NULL: this
 * process counts nothing. Before the process has other threads. */
void ac_metrics_join(ac_metrics_t *metrics, int64_t pid, int64_t started, ac_metrics_lives_fn *lives);
/* The index of a name; AC_METRIC_OTHER, if the domain does not have it. Any process and thread. */
unsigned ac_metrics_find(const ac_metrics_t *metrics, ac_metric_domain_e domain, const char *name);

/* The same in the memory that this process counts in. */
unsigned ac_metrics_index(ac_metric_domain_e domain, const char *name);

/* Counting. labels: the indexes of the labels, in the order of the table; an index out of range counts as 0. They do
 * nothing in a process that has not joined. Any thread. */
typedef struct ac_metric_labels_t {
    unsigned i[3];
} ac_metric_labels_t;
#define AC_LABELS(...) ((ac_metric_labels_t){{__VA_ARGS__}})
#define AC_NO_LABELS AC_LABELS(0)
/* n: in parts of the unit, as `scale` of the row says. */
void ac_metrics_add(ac_metric_e metric, ac_metric_labels_t labels, uint64_t n);
/* trace: for the exemplar, or NULL. */
void ac_metrics_observe(ac_metric_e metric, ac_metric_labels_t labels, apr_interval_time_t took,
                        const ac_trace_t *trace);
void ac_metrics_gauge_set(ac_metric_e metric, ac_metric_labels_t labels, int64_t value);
void ac_metrics_gauge_add(ac_metric_e metric, ac_metric_labels_t labels, int64_t n);
/* The index of an HTTP status in its domain. */
unsigned ac_metrics_http_status(int status);

/* ---- activity.c: the streams of all children, for an operator; beside the metrics of each ---- */
#define AC_ACTIVITY_ROWS 128 /* of a child; further streams have no row */
typedef enum ac_activity_e {
    AC_ACTIVITY_WAITING, /* for the first event */
    AC_ACTIVITY_RUNNING,
    AC_ACTIVITY_ANSWERING,
    AC_ACTIVITY_CALLING, /* tools */
    AC_ACTIVITY_ENDED,   /* the last bytes are being sent */
    AC_N_ACTIVITIES
} ac_activity_e;
typedef struct ac_activity_row_t ac_activity_row_t; /* in shared memory; metrics_internal.h */
/* A row of this process, until ac_activity_end(). NULL, which all functions allow: there is none left. Any thread; then
 * one thread at a time. */
ac_activity_row_t *ac_activity_begin(unsigned delivery, unsigned route);
void ac_activity_set_state(ac_activity_row_t *row, ac_activity_e state);
void ac_activity_set_agent(ac_activity_row_t *row, unsigned agent);
void ac_activity_add_bytes(ac_activity_row_t *row, size_t bytes);
void ac_activity_end(ac_activity_row_t *row);
typedef struct ac_activity_t { /* what a row says; the texts live as long as the memory */
    int64_t pid;
    const char *delivery, *route, *agent, *state;
    apr_time_t began;
    uint64_t bytes;
} ac_activity_t;
struct ac_metrics_reading_t;
/* The rows of processes that run, at most `most`. Returns how many. Any thread. */
int ac_activity_list(ac_activity_t *list, int most, const struct ac_metrics_reading_t *reading);

/* ---- metrics_read.c: the sums of all stripes; any thread ---- */
#define AC_METRICS_MAX_STRIPES 512
#define AC_METRICS_MAX_BLOCKS 8       /* memories that refer to each other */
typedef struct ac_metrics_reading_t { /* one look at the memory */
    const ac_metrics_t *metrics;
    int n_lives;                       /* processes that have joined and run */
    int n_used[AC_METRICS_MAX_BLOCKS]; /* stripes from the first to the last that a process has had */
    unsigned char lives[AC_METRICS_MAX_BLOCKS][AC_METRICS_MAX_STRIPES]; /* which stripes they have */
} ac_metrics_reading_t;
typedef struct ac_exemplar_t {
    ac_trace_t trace;
    apr_interval_time_t value;
    apr_time_t at;
} ac_exemplar_t;
void ac_metrics_read_begin(ac_metrics_reading_t *reading, const ac_metrics_t *metrics, ac_metrics_lives_fn *lives);
/* The value of a counter or a gauge, the sum of a histogram in microseconds. Gauges: of processes that run. */
int64_t ac_metrics_read_value(const ac_metrics_reading_t *reading, ac_metric_e metric, ac_metric_labels_t labels);
/* The sum of ac_metrics_read_value() over all labels. */
int64_t ac_metrics_read_total(const ac_metrics_reading_t *reading, ac_metric_e metric);
/* Of a histogram: how many values are in bucket i; i = n_bounds: above the last bound. */
uint64_t ac_metrics_read_bucket(const ac_metrics_reading_t *reading, ac_metric_e metric, ac_metric_labels_t labels,
                                int i);
/* The newest value of the bucket whose trace is known. false: none. */
bool ac_metrics_read_exemplar(ac_exemplar_t *exemplar, const ac_metrics_reading_t *reading, ac_metric_e metric,
                              ac_metric_labels_t labels, int i);

/* ---- metrics_exponential.c: exponential histograms ---- */
/* Beside its buckets each histogram has buckets of base 2^(2^-AC_EXPONENTIAL_SCALE), as OpenTelemetry defines them.
 * They cover AC_EXPONENTIAL_ZERO seconds to 2^14 seconds; longer times count in the last one. */
#define AC_EXPONENTIAL_SCALE 3
#define AC_EXPONENTIAL_FIRST (-17 * 8) /* index of the first bucket */
#define AC_EXPONENTIAL_BUCKETS (31 * 8)
#define AC_EXPONENTIAL_CELLS (AC_EXPONENTIAL_BUCKETS + 1)  /* and the values that count as zero */
#define AC_EXPONENTIAL_ZERO 0x1p-17                        /* seconds: the largest of those */
double ac_metrics_exponential_bound(int index, int scale); /* the upper bound of a bucket, in seconds */

/* ---- metrics_export.c: what other systems are sent ---- */
/* For each export one process of the server at a time sends the sums of all. It holds a lease; the lease of a process
 * that has ended, however it ended, goes to the next that asks. Processes of an older configuration, which do not see
 * all counts, get none. One thread of a process. */
typedef enum ac_metric_export_e {
    AC_METRIC_EXPORT_OTLP,
    AC_METRIC_EXPORT_APPINSIGHTS,
    AC_N_METRIC_EXPORTS
} ac_metric_export_e;
/* Whether this process has the lease, or gets it now. settles what a dead owner left: a request that it had sent counts
 * as received. */
bool ac_metrics_export_take(ac_metrics_t *metrics, ac_metric_export_e export, ac_metrics_lives_fn *lives);
void ac_metrics_export_leave(ac_metrics_t *metrics, ac_metric_export_e export);

typedef struct ac_metric_point_t { /* the value of a metric with these labels */
    ac_metric_e metric;
    ac_metric_labels_t labels;
    int64_t value;     /* of a counter or gauge in parts of its unit; of a histogram the sum in microseconds */
    uint64_t count;    /* of a histogram, as `buckets` */
    uint64_t *buckets; /* n_bounds + 1 of them */
    uint64_t zeros, *exponential; /* AC_EXPONENTIAL_BUCKETS of them */
    const ac_metrics_reading_t *reading;
} ac_metric_point_t;
typedef void ac_metric_point_fn(void *baton, const ac_metric_point_t *point);
typedef struct ac_metric_walk_t {
    ac_metrics_reading_t *reading;
    int64_t event_log_bytes;
    int first, end; /* the metrics */
    ac_metric_point_fn *fn;
    void *baton;
} ac_metric_walk_t;
/* Calls fn for each row of these metrics that was ever counted in, with its value since the counters began; and for
 * each gauge. */
void ac_metrics_export_all(const ac_metric_walk_t *walk);
/* The same with what was counted since the last interval that was settled, for rows where that is not nothing, and
 * gauges. The process has the lease; it remembers what it passed to fn. */
void ac_metrics_export_news(ac_metrics_t *metrics, ac_metric_export_e export, const ac_metric_walk_t *walk);
/* The request with what ac_metrics_export_news() passed is about to be sent: from now on, if nothing is known of its
 * fate, it counts as received, so that nothing is counted twice. */
void ac_metrics_export_sending(ac_metrics_t *metrics, ac_metric_export_e export);
/* It certainly was not received; it may be sent again as it is. */
void ac_metrics_export_withdraw(ac_metrics_t *metrics, ac_metric_export_e export);
/* received false: it certainly was not received, and is a part of the next interval. */
void ac_metrics_export_settle(ac_metrics_t *metrics, ac_metric_export_e export, bool received);
/* The beginning of the interval of this metric that ac_metrics_export_news() passes. */
apr_time_t ac_metrics_export_since(const ac_metrics_t *metrics, ac_metric_export_e export, ac_metric_e metric);
apr_time_t ac_metrics_export_began(const ac_metrics_t *metrics);

/* ---- metrics_names.c: names and attributes of metrics; any thread ---- */
typedef void ac_metric_label_fn(void *baton, const char *label, size_t label_len, const char *value, size_t value_len);
/* Calls fn for each label of a row. A domain of pairs has two. */
void ac_metrics_names_labels(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels,
                             ac_metric_label_fn *fn, void *baton);

#define AC_METRIC_OTEL_NAME_SIZE 96
typedef struct ac_metric_model_t { /* what the conventions want to know of a model; NULL: not known */
    const char *provider, *request_model;
} ac_metric_model_t;
typedef struct ac_metric_naming_t { /* by the indexes of models and agents; what is behind the end is not known */
    const ac_metric_model_t *models;
    unsigned n_models;
    const char *const *agents; /* their names for people */
    unsigned n_agents;
} ac_metric_naming_t;
/* The name of a row for OpenTelemetry. true: the conventions for generative AI define it. */
bool ac_metrics_names_otel(char name[AC_METRIC_OTEL_NAME_SIZE], const ac_metric_point_t *point);
/* The same for rows with the same name, within a metric. */
int ac_metrics_names_variant(const ac_metric_point_t *point);
/* Its unit, by UCUM: "s", "By", "{token}", or "". */
const char *ac_metrics_names_unit(ac_metric_e metric);
/* Calls fn for each attribute of a row: its labels, or with a name of the conventions their attributes. */
void ac_metrics_names_attributes(const ac_metric_naming_t *naming, const ac_metric_point_t *point,
                                 ac_metric_label_fn *fn, void *baton);

/* ---- metrics_text.c: what Prometheus reads ---- */
typedef enum ac_metrics_format_e { AC_METRICS_TEXT, AC_METRICS_OPENMETRICS } ac_metrics_format_e;
#define AC_METRICS_TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define AC_METRICS_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
typedef struct ac_metrics_view_t { /* what a reader adds to the memory */
    ac_metrics_format_e format;
    ac_metrics_lives_fn *lives;
    const char *build;       /* labels of the build row: `version="0.1.0",…` */
    int64_t event_log_bytes; /* of all event logs of the server */
} ac_metrics_view_t;
struct ac_buf_t;
/* Appends all metrics. metrics NULL: those that need no memory. errors: ENOSPC, ENOMEM. Any thread. */
apr_status_t ac_metrics_text(struct ac_buf_t *out, const ac_metrics_t *metrics, const ac_metrics_view_t *view);
/* The format of a reader's Accept header, which may be NULL. Only version 1.0.0 of OpenMetrics is written. */
ac_metrics_format_e ac_metrics_text_format(const char *accept);

#endif
