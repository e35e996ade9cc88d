/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics, their memory, and counting in it. */
#include "metrics_internal.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_NAMES 1024 /* of an OPEN domain; further ones count as "other" */
#define PAGE 4096

/* ---- the table ---- */

#define MS INT64_C(1000)
static const int64_t bounds_NONE[] = {0};
static const int64_t bounds_STORE[] = {MS / 2,   MS,       2 * MS,    5 * MS,    10 * MS,    20 * MS, 50 * MS,
                                       100 * MS, 500 * MS, 1000 * MS, 5000 * MS, 10000 * MS, 0};
static const int64_t bounds_REQUEST[] = {MS / 2,    MS,         2 * MS,     5 * MS,   10 * MS,   20 * MS,
                                         50 * MS,   100 * MS,   200 * MS,   500 * MS, 1000 * MS, 2000 * MS,
                                         5000 * MS, 10000 * MS, 30000 * MS, 0};
static const int64_t bounds_LAG[] = {MS,       2 * MS,   5 * MS,   10 * MS,   20 * MS,   50 * MS,
                                     100 * MS, 200 * MS, 500 * MS, 1000 * MS, 5000 * MS, 0};
/* Those of the conventions for generative AI of OpenTelemetry. */
static const int64_t bounds_MODEL[] = {10 * MS,    20 * MS,    40 * MS,    80 * MS,    160 * MS,
                                       320 * MS,   640 * MS,   1280 * MS,  2560 * MS,  5120 * MS,
                                       10240 * MS, 20480 * MS, 40960 * MS, 81920 * MS, 0};
static const int64_t bounds_RUN[] = {100 * MS,    200 * MS,    400 * MS,    800 * MS,   1600 * MS,
                                     3200 * MS,   6400 * MS,   12800 * MS,  25600 * MS, 51200 * MS,
                                     102400 * MS, 204800 * MS, 409600 * MS, 0};
#define COUNT(bounds) ((int)(sizeof(bounds) / sizeof(bounds[0])) - 1)

const ac_metric_row_t ac_metric_rows[AC_N_METRICS] = {
#define AC_METRIC_DOMAIN(...)
#define AC_METRIC(id, name, type, scale, bounds, exemplars, d1, d2, d3, since, help) \
    [AC_METRIC_##id] = {name, \
                        AC_METRIC_TYPE_##type, \
                        scale, \
                        bounds_##bounds, \
                        COUNT(bounds_##bounds), \
                        exemplars, \
                        {AC_DOMAIN_##d1, AC_DOMAIN_##d2, AC_DOMAIN_##d3}, \
                        since, \
                        help},
#include "metrics_table.h"
#undef AC_METRIC_DOMAIN
#undef AC_METRIC
};

#define OPEN true
#define FIXED false
const ac_metric_domain_t ac_metric_domains[AC_N_DOMAINS] = {
#define AC_METRIC_DOMAIN(id, label, kind) [AC_DOMAIN_##id] = {label, kind},
#define AC_METRIC(...)
#include "metrics_table.h"
#undef AC_METRIC_DOMAIN
#undef AC_METRIC
};

/* ---- names ---- */

static const char *const other[] = {"other"}, *const none[] = {""};
static const char *const protocol[AC_N_PROTOCOLS] = {"other", "native", "chat_completions", "responses", "ui",
                                                     "agui",  "mcp"};
static const char *const run_status[] = {"completed", "failed", "cancelled"};
#define N_RUN_STATUS ((int)(sizeof(run_status) / sizeof(run_status[0])))
static const char *const tool_outcome[] = {"ok", "error", "timeout", "invalid", "refused", "abandoned"};
static const char *const stream_outcome[] = {"sent", "problem", "disconnected", "slow", "stopped"};
static const char *const delivery[] = {"parked", "blocking"};
static const char *const token_type[] = {"input", "output"};
static const char *const breaker_state[] = {"off", "closed", "open", "half-open"};
static const char *const cache_result[] = {"hit", "miss", "stale"};
static const char *const history_cut[] = {"results", "messages", "summary"};
static const char *const rating[] = {"up", "down", "removed"};
static const char *const after_run_outcome[] = {"set", "kept", "skipped", "failed"};
static const char *const webhook_outcome[] = {"delivered", "retried", "failed", "gone"};
static const char *const depth[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8"};
_Static_assert(sizeof depth / sizeof depth[0] == AC_MAX_AGENT_DEPTH + 1, "each depth has a name");
static const char *const telemetry_signal[] = {"traces", "metrics", "logs"};
static const int statuses[] = {200, 201, 202, 204, 206, 207, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410,
                               411, 412, 413, 415, 422, 424, 428, 429, 431, 449, 500, 501, 502, 503, 504};
#define N_STATUSES ((int)(sizeof(statuses) / sizeof(statuses[0])))

unsigned ac_metrics_http_status(int status)
{
    for (int i = 0; i < N_STATUSES; i++) {
        if (statuses[i] == status) {
            return (unsigned)i + 1;
        }
    }
    return AC_METRIC_OTHER;
}

static void set_names(ac_metric_names_t *names, ac_metric_domain_e domain, const char *const *list, size_t n)
{
    names->list[domain] = list;
    names->n[domain] = (int)n;
}

const char *ac_metrics_protocol(ac_protocol_e which)
{
    return protocol[which];
}

unsigned ac_metrics_run_status(ac_protocol_e which, unsigned status)
{
    return (unsigned)which * N_RUN_STATUS + status;
}

/* Texts that are made from other tables. One thread calls this, before there are others. */
static void make_names(ac_metric_names_t *names)
{
    static char texts[N_STATUSES][8], ends[AC_N_PROTOCOLS * N_RUN_STATUS][AC_METRIC_NAME_SIZE];
    static const char *end[AC_N_PROTOCOLS * N_RUN_STATUS];
    static const char *status[N_STATUSES + 1], *outcome[AC_N_KINDS], *cause[AC_N_KINDS], *limit[AC_N_MEASURES],
        *by[AC_N_BYS];
    status[0] = other[0];
    for (int i = 0; i < N_STATUSES; i++) {
        apr_snprintf(texts[i], sizeof texts[i], "%d", statuses[i]);
        status[i + 1] = texts[i];
    }
    for (int i = 0; i < AC_N_PROTOCOLS * N_RUN_STATUS; i++) {
        apr_snprintf(ends[i], sizeof ends[i], "%s %s", protocol[i / N_RUN_STATUS], run_status[i % N_RUN_STATUS]);
        end[i] = ends[i];
    }
    for (int i = 0; i < AC_N_KINDS; i++) {
        outcome[i] = cause[i] = ac_err_row((ac_kind_e)i)->code;
    }
    cause[AC_OK] = "none";
    for (int i = 0; i < AC_N_MEASURES; i++) {
        limit[i] = ac_limit_measure_name((ac_measure_e)i);
    }
    for (int i = 0; i < AC_N_BYS; i++) {
        by[i] = ac_limit_by_name((ac_by_e)i);
    }
    set_names(names, AC_DOMAIN_RUN_STATUS, end, AC_N_PROTOCOLS * N_RUN_STATUS);
    set_names(names, AC_DOMAIN_HTTP_STATUS, status, N_STATUSES + 1);
    set_names(names, AC_DOMAIN_OUTCOME, outcome, AC_N_KINDS);
    set_names(names, AC_DOMAIN_CAUSE, cause, AC_N_KINDS);
    set_names(names, AC_DOMAIN_LIMIT, limit, AC_N_MEASURES);
    set_names(names, AC_DOMAIN_LIMIT_BY, by, AC_N_BYS);
}

#define SET(domain, list) set_names(names, AC_DOMAIN_##domain, list, sizeof(list) / sizeof(list[0]))

void ac_metrics_names_init(ac_metric_names_t *names)
{
    for (int i = 0; i < AC_N_DOMAINS; i++) {
        set_names(names, (ac_metric_domain_e)i, other, 1);
    }
    SET(NONE, none);
    SET(PROTOCOL, protocol);
    SET(TOOL_OUTCOME, tool_outcome);
    SET(STREAM_OUTCOME, stream_outcome);
    SET(DELIVERY, delivery);
    SET(TOKEN_TYPE, token_type);
    SET(BREAKER_STATE, breaker_state);
    SET(CACHE_RESULT, cache_result);
    SET(SIGNAL, telemetry_signal);
    SET(HISTORY_CUT, history_cut);
    SET(RATING, rating);
    SET(AFTER_RUN_OUTCOME, after_run_outcome);
    SET(WEBHOOK_OUTCOME, webhook_outcome);
    SET(DEPTH, depth);
    make_names(names);
}

unsigned ac_metrics_find(const ac_metrics_t *metrics, ac_metric_domain_e domain, const char *name)
{
    unsigned n = metrics ? atomic_load_explicit(&((ac_metrics_t *)metrics)->n_names[domain], memory_order_acquire) : 0;
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(ac_metrics_name(metrics, domain, i), name) == 0) {
            return i;
        }
    }
    return AC_METRIC_OTHER;
}

static bool has_name(const ac_metrics_t *metrics, ac_metric_domain_e domain, const char *name)
{
    unsigned i = ac_metrics_find(metrics, domain, name);
    return i || strcmp(ac_metrics_name(metrics, domain, 0), name) == 0;
}

/* false: there is no room for it. */
static bool append_name(ac_metrics_t *metrics, ac_metric_domain_e domain, const char *name)
{
    unsigned n = atomic_load_explicit(&metrics->n_names[domain], memory_order_relaxed);
    if (strlen(name) >= AC_METRIC_NAME_SIZE || (n && has_name(metrics, domain, name))) {
        return true;
    }
    if (n == metrics->capacity[domain]) {
        return n >= MAX_NAMES;
    }
    apr_cpystrn((char *)ac_metrics_name(metrics, domain, n), name, AC_METRIC_NAME_SIZE);
    atomic_store_explicit(&metrics->n_names[domain], n + 1, memory_order_release);
    return true;
}

static bool append_names(ac_metrics_t *metrics, const ac_metric_names_t *names)
{
    bool all = true;
    for (int domain = 0; domain < AC_N_DOMAINS; domain++) {
        for (int i = 0; i < names->n[domain]; i++) {
            all = append_name(metrics, (ac_metric_domain_e)domain, names->list[domain][i]) && all;
        }
    }
    return all;
}

/* ---- the memory ---- */

static uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    } while (*text++);
    return hash;
}

/* What two versions of the module have to agree on. */
static uint64_t sign(const ac_metric_names_t *names)
{
    uint64_t hash = hash_text(UINT64_C(0xcbf29ce484222325) + sizeof(ac_metrics_t), AC_VERSION);
    for (int i = 0; i < AC_N_METRICS; i++) {
        const ac_metric_row_t *row = &ac_metric_rows[i];
        hash = hash_text(hash, row->name) + (uint64_t)row->type + (uint64_t)row->scale + row->exemplars;
        for (int k = 0; k < row->n_bounds; k++) {
            hash = (hash ^ (uint64_t)row->bounds[k]) * UINT64_C(0x100000001b3);
        }
        for (int k = 0; k < 3; k++) {
            hash = hash_text(hash, ac_metric_domains[row->domains[k]].label);
        }
    }
    for (int domain = 0; domain < AC_N_DOMAINS; domain++) {
        for (int i = 0; !ac_metric_domains[domain].open && i < names->n[domain]; i++) {
            hash = hash_text(hash, names->list[domain][i]);
        }
    }
    return hash;
}

static size_t count_rows(const ac_metrics_t *metrics, ac_metric_e metric)
{
    const ac_metric_domain_e *domains = ac_metric_rows[metric].domains;
    return (size_t)metrics->capacity[domains[0]] * metrics->capacity[domains[1]] * metrics->capacity[domains[2]];
}

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static uint32_t choose_capacity(ac_metric_domain_e domain, const ac_metric_names_t *names, const ac_metrics_t *before)
{
    uint32_t wanted = (uint32_t)names->n[domain] + (before ? before->n_names[domain] : 0), capacity = 16;
    if (!ac_metric_domains[domain].open) {
        return (uint32_t)names->n[domain];
    }
    while (capacity < wanted + wanted / 2 && capacity < MAX_NAMES) {
        capacity *= 2;
    }
    return capacity;
}

/* Behind everything else: what is only used if a system gets it has no page before. */
static void lay_out_exports(ac_metrics_t *metrics)
{
    for (int i = 0; i < AC_N_METRICS; i++) {
        metrics->exponential_at[i] = metrics->n_exponential;
        metrics->n_exponential +=
            ac_metric_rows[i].type == AC_METRIC_TYPE_HISTOGRAM ? count_rows(metrics, i) * AC_EXPONENTIAL_CELLS : 0;
    }
    metrics->exponentials_at = round_up(metrics->size, PAGE);
    metrics->exports_at = round_up(metrics->exponentials_at + metrics->n_exponential * sizeof(uint64_t), PAGE);
    metrics->size = metrics->exports_at +
        ac_metrics_export_width(metrics) * (sizeof(uint64_t) + sizeof(ac_metric_entry_t)) * AC_N_METRIC_EXPORTS;
}

/* Sets capacities and the places of everything. */
static void lay_out(ac_metrics_t *metrics, const ac_metric_names_t *names, const ac_metrics_t *before)
{
    size_t at = round_up(sizeof *metrics, 64);
    for (int i = 0; i < AC_N_DOMAINS; i++) {
        metrics->capacity[i] = choose_capacity((ac_metric_domain_e)i, names, before);
        metrics->names_at[i] = at;
        at += (size_t)metrics->capacity[i] * AC_METRIC_NAME_SIZE;
    }
    at = round_up(at, 64);
    for (int i = 0; i < AC_N_METRICS; i++) {
        const ac_metric_row_t *row = &ac_metric_rows[i];
        metrics->exemplars_at[i] = row->exemplars ? at : 0;
        at += row->exemplars ? count_rows(metrics, i) * (size_t)(row->n_bounds + 1) * sizeof(ac_metric_exemplar_t) : 0;
    }
    for (int gauges = 0; gauges < 2; gauges++) {
        metrics->first_gauge = metrics->n_cells;
        for (int i = 0; i < AC_N_METRICS; i++) {
            if ((ac_metric_rows[i].type == AC_METRIC_TYPE_GAUGE) == (gauges == 1)) {
                metrics->cells_at[i] = metrics->n_cells;
                metrics->n_cells += count_rows(metrics, i) * ac_metrics_width(i);
            }
        }
    }
    metrics->stripes_at = round_up(at, PAGE);
    metrics->activity_at = sizeof(ac_metric_stripe_t) + metrics->n_cells * sizeof(uint64_t);
    metrics->stripe_size = round_up(metrics->activity_at + AC_ACTIVITY_ROWS * sizeof(ac_activity_row_t), PAGE);
    metrics->size = metrics->stripes_at + (size_t)metrics->n_stripes * metrics->stripe_size;
    lay_out_exports(metrics);
}

static void *map_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t size)
{
    if (memory) {
        munmap(memory, size);
    }
}

ac_metrics_t *ac_metrics_create(const ac_metric_names_t *names, int n_children, ac_metrics_t *before)
{
    int n_stripes = n_children < 1 ? 1 : n_children > AC_METRICS_MAX_STRIPES ? AC_METRICS_MAX_STRIPES : n_children;
    ac_metrics_t plan = {.signature = sign(names), .n_stripes = n_stripes, .created = apr_time_now()};
    if (before && before->signature != plan.signature) {
        before = NULL;
    }
    if (before && before->n_stripes == n_stripes &&
        (append_names(before, names) || before->n_before + 2 > AC_METRICS_MAX_BLOCKS)) {
        return before;
    }
    if (before) {
        plan.before = before;
        plan.n_before = before->n_before + 1;
        plan.created = before->created;
    }
    lay_out(&plan, names, before);
    /* A page of it exists when it is first used. */
    ac_metrics_t *metrics = map_shared(plan.size);
    plan.lead = before ? before->lead : map_shared(sizeof *plan.lead);
    if (!metrics || !plan.lead) {
        unmap(metrics, plan.size);
        unmap(before ? NULL : plan.lead, sizeof *plan.lead);
        return NULL;
    }
    memcpy(metrics, &plan, sizeof plan);
    ac_metrics_exponential_init();
    atomic_store(&plan.lead->newest, plan.n_before);
    for (int domain = 0; before && domain < AC_N_DOMAINS; domain++) {
        for (unsigned i = 0; i < before->n_names[domain]; i++) {
            append_name(metrics, (ac_metric_domain_e)domain, ac_metrics_name(before, (ac_metric_domain_e)domain, i));
        }
    }
    append_names(metrics, names);
    return metrics;
}

void ac_metrics_destroy(ac_metrics_t *metrics)
{
    while (metrics) {
        ac_metrics_t *before = (ac_metrics_t *)metrics->before;
        unmap(before ? NULL : metrics->lead, sizeof *metrics->lead);
        unmap(metrics, metrics->size);
        metrics = before;
    }
}

/* ---- counting ---- */

static struct {
    ac_metrics_t *metrics; /* NULL: nothing is counted */
    ac_metric_stripe_t *stripe;
    ac_activity_row_t *activity; /* NULL: none */
    bool has_gauges;             /* false: all stripes have an owner, and this process counts in another one's */
} mine;

void ac_metrics_join(ac_metrics_t *metrics, int64_t pid, int64_t started, ac_metrics_lives_fn *lives)
{
    mine.metrics = metrics;
    mine.stripe = metrics ? ac_metrics_stripe(metrics, 0) : NULL;
    mine.has_gauges = false;
    mine.activity = NULL;
    for (int i = 0; metrics && i < metrics->n_stripes; i++) {
        ac_metric_stripe_t *stripe = ac_metrics_stripe(metrics, i);
        uint64_t owner = atomic_load(&stripe->owner);
        if (ac_metrics_owner_lives(owner, lives) ||
            !atomic_compare_exchange_strong(&stripe->owner, &owner, ac_metrics_owner(pid, started))) {
            continue;
        }
        for (size_t cell = metrics->first_gauge; cell < metrics->n_cells; cell++) {
            atomic_store_explicit(&stripe->cells[cell], 0, memory_order_relaxed);
        }
        for (int row = 0; row < AC_ACTIVITY_ROWS; row++) {
            atomic_store_explicit(&ac_metrics_activity_of(metrics, i)[row].began, 0, memory_order_relaxed);
        }
        mine.stripe = stripe;
        mine.has_gauges = true;
        mine.activity = ac_metrics_activity_of(metrics, i);
        return;
    }
}

uint64_t ac_metrics_me(void)
{
    return mine.has_gauges ? atomic_load(&mine.stripe->owner) : 0;
}

ac_activity_row_t *ac_metrics_activity(void)
{
    return mine.activity;
}

unsigned ac_metrics_index(ac_metric_domain_e domain, const char *name)
{
    return ac_metrics_find(mine.metrics, domain, name);
}

static _Atomic uint64_t *cell_of(ac_metric_e metric, size_t row)
{
    return &mine.stripe->cells[mine.metrics->cells_at[metric] + row * ac_metrics_width(metric)];
}

void ac_metrics_add(ac_metric_e metric, ac_metric_labels_t labels, uint64_t n)
{
    if (mine.metrics) {
        size_t row = ac_metrics_row(mine.metrics, metric, labels);
        atomic_fetch_add_explicit(cell_of(metric, row), n, memory_order_relaxed);
    }
}

static void note_exemplar(ac_metric_exemplar_t *exemplar, apr_interval_time_t value, const ac_trace_t *trace)
{
    char half[17] = "";
    uint64_t words[5];
    memcpy(half, trace->trace_id, 16);
    words[0] = strtoull(half, NULL, 16);
    words[1] = strtoull(trace->trace_id + 16, NULL, 16);
    words[2] = strtoull(trace->span_id, NULL, 16);
    words[3] = (uint64_t)value;
    words[4] = (uint64_t)apr_time_now();
    _Atomic uint64_t *to[] = {&exemplar->trace[0], &exemplar->trace[1], &exemplar->span, &exemplar->value,
                              &exemplar->at};
    for (int i = 0; i < 5; i++) {
        atomic_store_explicit(to[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&exemplar->check, ac_metrics_exemplar_check(words), memory_order_relaxed);
}

void ac_metrics_observe(ac_metric_e metric, ac_metric_labels_t labels, apr_interval_time_t took,
                        const ac_trace_t *trace)
{
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    int bucket = 0;
    if (!mine.metrics) {
        return;
    }
    took = took > 0 ? took : 0;
    while (bucket < def->n_bounds && took > def->bounds[bucket]) {
        bucket++;
    }
    size_t row = ac_metrics_row(mine.metrics, metric, labels);
    _Atomic uint64_t *cells = cell_of(metric, row);
    atomic_fetch_add_explicit(&cells[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&cells[def->n_bounds + 1], (uint64_t)took, memory_order_relaxed);
    cells = ac_metrics_exponential_cells(mine.metrics, metric, row);
    atomic_fetch_add_explicit(&cells[ac_metrics_exponential_cell(took)], 1, memory_order_relaxed);
    if (trace && trace->trace_id[0] && def->exemplars) {
        note_exemplar(ac_metrics_exemplar(mine.metrics, metric, row, bucket), took, trace);
    }
}

void ac_metrics_gauge_set(ac_metric_e metric, ac_metric_labels_t labels, int64_t value)
{
    if (mine.has_gauges) {
        size_t row = ac_metrics_row(mine.metrics, metric, labels);
        atomic_store_explicit(cell_of(metric, row), (uint64_t)value, memory_order_relaxed);
    }
}

void ac_metrics_gauge_add(ac_metric_e metric, ac_metric_labels_t labels, int64_t n)
{
    if (mine.has_gauges) {
        ac_metrics_add(metric, labels, (uint64_t)n);
    }
}
