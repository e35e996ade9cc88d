/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0.
 * Sources: prometheus.io/docs/instrumenting/exposition_formats, and the OpenMetrics specification 1.0. */
#include "metrics_internal.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SMALL_FAMILY 32 /* rows; a metric with at most so many shows those that are zero, too */

typedef struct writer_t {
    ac_buf_t *out;
    const ac_metrics_view_t *view;
    ac_metrics_reading_t reading;
    bool open; /* OpenMetrics */
} writer_t;

/* ---- numbers: all are whole parts of a unit, and no locale changes their point ---- */

static int decimal_digits(int64_t scale)
{
    int n = 0;
    while (scale > 1) {
        scale /= 10;
        n++;
    }
    return n;
}

/* "12.5"; a whole number as "12", or as "12.0" where a bound is written. */
static void write_scaled(ac_buf_t *out, int64_t value, int64_t scale, bool is_bound)
{
    char fraction[24] = "";
    int n = decimal_digits(scale);
    ac_buf_printf(out, "%s%" APR_INT64_T_FMT, value < 0 ? "-" : "", (apr_int64_t)(llabs(value) / scale));
    apr_snprintf(fraction, sizeof fraction, "%0*" APR_INT64_T_FMT, n, (apr_int64_t)(llabs(value) % scale));
    while (n > 0 && fraction[n - 1] == '0') {
        fraction[--n] = '\0';
    }
    if (n > 0) {
        ac_buf_printf(out, ".%s", fraction);
    } else if (is_bound) {
        ac_buf_str(out, ".0");
    }
}

/* ---- labels ---- */

static void write_escaped(ac_buf_t *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n') {
            ac_buf_str(out, "\\n");
        } else {
            ac_buf_printf(out, "%s%c", text[i] == '\\' || text[i] == '"' ? "\\" : "", text[i]);
        }
    }
}

static void write_label(void *baton, const char *label, size_t label_len, const char *value, size_t len)
{
    ac_buf_t *out = baton;
    if (out->len) {
        ac_buf_str(out, ",");
    }
    ac_buf_add(out, label, label_len);
    ac_buf_str(out, "=\"");
    write_escaped(out, value, len);
    ac_buf_str(out, "\"");
}

/* ---- one metric ---- */

static void write_head(const writer_t *w, const ac_metric_row_t *def)
{
    static const char *const types[] = {"counter", "histogram", "gauge", "info"};
    static const char *const units[] = {"_seconds", "_bytes"};
    bool counter = def->type == AC_METRIC_TYPE_COUNTER, info = def->type == AC_METRIC_TYPE_INFO;
    size_t len = strlen(def->name) - (!w->open ? 0 : counter ? strlen("_total") : info ? strlen("_info") : 0);
    const char *type = info && !w->open ? "gauge" : types[def->type];
    ac_buf_printf(w->out, "# TYPE %.*s %s\n", (int)len, def->name, type);
    for (int i = 0; w->open && i < 2; i++) {
        size_t n = strlen(units[i]);
        if (len > n && memcmp(def->name + len - n, units[i], n) == 0) {
            ac_buf_printf(w->out, "# UNIT %.*s %s\n", (int)len, def->name, units[i] + 1);
        }
    }
    ac_buf_printf(w->out, "# HELP %.*s ", (int)len, def->name);
    write_escaped(w->out, def->help, strlen(def->help)); /* 0.0.4 reads an escaped quote as it is: help has none */
    ac_buf_str(w->out, "\n");
}

static void write_sample(const writer_t *w, const char *name, const ac_buf_t *labels, int64_t value, int64_t scale)
{
    ac_buf_str(w->out, name);
    if (labels->len) {
        ac_buf_printf(w->out, "{%s}", labels->data);
    }
    ac_buf_str(w->out, " ");
    write_scaled(w->out, value, scale, false);
    ac_buf_str(w->out, "\n");
}

static void write_exemplar(const writer_t *w, const ac_exemplar_t *exemplar)
{
    ac_buf_printf(w->out, " # {trace_id=\"%s\",span_id=\"%s\"} ", exemplar->trace.trace_id, exemplar->trace.span_id);
    write_scaled(w->out, exemplar->value, APR_USEC_PER_SEC, true);
    ac_buf_str(w->out, " ");
    write_scaled(w->out, exemplar->at, APR_USEC_PER_SEC, true);
}

static void write_histogram(const writer_t *w, ac_metric_e metric, ac_metric_labels_t row, const ac_buf_t *labels)
{
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    const char *comma = labels->len ? "," : "", *all = labels->len ? labels->data : "";
    char name[128];
    uint64_t count = 0;
    ac_exemplar_t exemplar;
    int64_t sum = ac_metrics_read_value(&w->reading, metric, row);
    for (int i = 0; i <= def->n_bounds; i++) {
        count += ac_metrics_read_bucket(&w->reading, metric, row, i);
        ac_buf_printf(w->out, "%s_bucket{%s%sle=\"", def->name, all, comma);
        if (i < def->n_bounds) {
            write_scaled(w->out, def->bounds[i], APR_USEC_PER_SEC, true);
        } else {
            ac_buf_str(w->out, "+Inf");
        }
        ac_buf_printf(w->out, "\"} %" APR_UINT64_T_FMT, (apr_uint64_t)count);
        if (w->open && ac_metrics_read_exemplar(&exemplar, &w->reading, metric, row, i)) {
            write_exemplar(w, &exemplar);
        }
        ac_buf_str(w->out, "\n");
    }
    apr_snprintf(name, sizeof name, "%s_sum", def->name);
    write_sample(w, name, labels, sum, APR_USEC_PER_SEC);
    apr_snprintf(name, sizeof name, "%s_count", def->name);
    write_sample(w, name, labels, (int64_t)count, 1);
}

/* Whether anything was counted in this row. */
static bool is_used(const writer_t *w, ac_metric_e metric, ac_metric_labels_t row)
{
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    if (def->type != AC_METRIC_TYPE_HISTOGRAM) {
        return ac_metrics_read_value(&w->reading, metric, row) != 0;
    }
    for (int i = 0; i <= def->n_bounds; i++) {
        if (ac_metrics_read_bucket(&w->reading, metric, row, i)) {
            return true;
        }
    }
    return false;
}

static void write_row(const writer_t *w, ac_metric_e metric, ac_metric_labels_t row)
{
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    ac_buf_t labels;
    ac_buf_init(&labels, 8 * AC_METRIC_NAME_SIZE);
    ac_metrics_names_labels(w->reading.metrics, metric, row, write_label, &labels);
    if (def->type == AC_METRIC_TYPE_HISTOGRAM) {
        write_histogram(w, metric, row, &labels);
    } else {
        write_sample(w, def->name, &labels, ac_metrics_read_value(&w->reading, metric, row), def->scale);
    }
    ac_buf_free(&labels);
}

static void write_rows(const writer_t *w, ac_metric_e metric)
{
    const ac_metrics_t *metrics = w->reading.metrics;
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    unsigned n[3];
    for (int i = 0; i < 3; i++) {
        n[i] = atomic_load_explicit(&((ac_metrics_t *)metrics)->n_names[def->domains[i]], memory_order_acquire);
    }
    bool no_labels = n[0] * n[1] * n[2] == 1;
    bool zeros = no_labels || (def->type != AC_METRIC_TYPE_HISTOGRAM && n[0] * n[1] * n[2] <= SMALL_FAMILY);
    for (unsigned a = 0; a < n[0]; a++) {
        for (unsigned b = 0; b < n[1]; b++) {
            for (unsigned c = 0; c < n[2]; c++) {
                ac_metric_labels_t row = AC_LABELS(a, b, c);
                if (is_used(w, metric, row) || (zeros && !ac_metrics_is_other(metric, row))) {
                    write_row(w, metric, row);
                }
            }
        }
    }
}

/* Metrics whose value is not in the cells. false: it is in the cells. */
static bool write_special(const writer_t *w, ac_metric_e metric)
{
    const ac_metrics_t *metrics = w->reading.metrics;
    const ac_metric_row_t *def = &ac_metric_rows[metric];
    const ac_buf_t no_labels = {0};
    switch (metric) {
    case AC_METRIC_BUILD: ac_buf_printf(w->out, "%s{%s} 1\n", def->name, w->view->build); return true;
    case AC_METRIC_CHILDREN: write_sample(w, def->name, &no_labels, w->reading.n_lives, 1); return true;
    case AC_METRIC_EVENT_LOG_BYTES: write_sample(w, def->name, &no_labels, w->view->event_log_bytes, 1); return true;
    case AC_METRIC_START_TIME:
        write_sample(w, def->name, &no_labels, metrics ? metrics->created : 0, APR_USEC_PER_SEC);
        return true;
    default: return false;
    }
}

apr_status_t ac_metrics_text(ac_buf_t *out, const ac_metrics_t *metrics, const ac_metrics_view_t *view)
{
    writer_t *w = ac_alloc(sizeof *w);
    w->out = out;
    w->view = view;
    w->open = view->format == AC_METRICS_OPENMETRICS;
    ac_metrics_read_begin(&w->reading, metrics, view->lives);
    for (int metric = 0; metric < AC_N_METRICS; metric++) {
        write_head(w, &ac_metric_rows[metric]);
        if (!write_special(w, (ac_metric_e)metric) && metrics) {
            write_rows(w, (ac_metric_e)metric);
        }
    }
    if (w->open) {
        ac_buf_str(out, "# EOF\n");
    }
    free(w);
    return out->failed ? APR_ENOSPC : APR_SUCCESS;
}

/* ---- Accept: RFC 9110, section 12.5.1 ---- */

typedef struct range_t { /* "type/subtype;version=1.0.0;q=0.5" */
    const char *type, *version;
    size_t type_len, version_len;
    int q; /* thousandths */
} range_t;

/* "0", "1", "0.75" in thousandths; any other text counts as 1. */
static int read_q(const char *text, size_t len)
{
    int q = 0, scale = 1000;
    if (len == 0 || text[0] != '0') {
        return 1000;
    }
    for (size_t i = 1; i < len && scale > 1 && (text[i] == '.' || (text[i] >= '0' && text[i] <= '9')); i++) {
        if (text[i] != '.') {
            scale /= 10;
            q += (text[i] - '0') * scale;
        }
    }
    return q;
}

static void read_parameter(range_t *range, const char *text, size_t len)
{
    const char *value = memchr(text, '=', len);
    size_t name_len = value ? (size_t)(value - text) : 0;
    if (!value) {
        return;
    }
    value++;
    len -= name_len + 1;
    if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
        value++;
        len -= 2;
    }
    if (name_len == 1 && (text[0] | 0x20) == 'q') {
        range->q = read_q(value, len);
    } else if (name_len == 7 && strncasecmp(text, "version", 7) == 0) {
        range->version = value;
        range->version_len = len;
    }
}

/* Reads one range; returns the rest of the header. */
static const char *read_range(range_t *range, const char *text)
{
    *range = (range_t){.q = 1000};
    for (bool first = true; first || *text == ';'; first = false) {
        text += !first;
        text += strspn(text, " \t");
        size_t whole = strcspn(text, ";,"), len = whole;
        while (len && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
            len--;
        }
        if (first) {
            range->type = text;
            range->type_len = len;
        } else {
            read_parameter(range, text, len);
        }
        text += whole;
    }
    return *text ? text + 1 : text;
}

static bool is_text(const char *text, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(text, wanted, len) == 0;
}

ac_metrics_format_e ac_metrics_text_format(const char *accept)
{
    int open = 0, text = 0;
    range_t range;
    while (accept && *accept) {
        accept = read_range(&range, accept);
        bool version = !range.version || is_text(range.version, range.version_len, "1.0.0");
        if (is_text(range.type, range.type_len, "application/openmetrics-text") && version) {
            open = range.q;
        } else if (is_text(range.type, range.type_len, "text/plain") && range.q > text) {
            text = range.q;
        }
    }
    return open > 0 && open >= text ? AC_METRICS_OPENMETRICS : AC_METRICS_TEXT;
}
