/* SPDX-License-Identifier: Apache-2.0 */
/* mod_status: the most important metrics, and the streams of all children, on its page and in its ?auto form. */
#include "front_internal.h"

#include <stdlib.h>

#include "mod_status.h"
#include "util_script.h"

#define MOST_STREAMS 500 /* rows of the page */

typedef struct line_t {
    const char *title, *key; /* of the page; of ?auto, behind "AgentChat" */
    ac_metric_e metric;
} line_t;
static const line_t lines[] = {
    {"Requests", "Requests", AC_METRIC_REQUESTS},
    {"Streams now", "StreamsActive", AC_METRIC_STREAMS_ACTIVE},
    {"Runs now", "RunsActive", AC_METRIC_RUNS_ACTIVE},
    {"Runs queued", "RunsQueued", AC_METRIC_RUNS_QUEUED},
    {"Runs ended", "Runs", AC_METRIC_RUNS},
    {"Model calls", "ModelCalls", AC_METRIC_MODEL_CALLS},
    {"Tokens", "Tokens", AC_METRIC_TOKENS},
    {"Tool calls", "ToolCalls", AC_METRIC_TOOL_CALLS},
    {"Store operations", "StoreOperations", AC_METRIC_STORE_OPERATIONS},
    {"Refused by limits", "LimitsRefused", AC_METRIC_LIMITS_REFUSED},
};
#define N_LINES ((int)(sizeof(lines) / sizeof(lines[0])))

static void write_lines(request_rec *r, const ac_metrics_reading_t *reading, bool page)
{
    for (int i = 0; i < N_LINES; i++) {
        apr_int64_t value = ac_metrics_read_total(reading, lines[i].metric);
        ap_rprintf(r, page ? "<dt>%s: %" APR_INT64_T_FMT "</dt>\n" : "AgentChat%s: %" APR_INT64_T_FMT "\n",
                   page ? lines[i].title : lines[i].key, value);
    }
}

static void write_streams(request_rec *r, const ac_metrics_reading_t *reading)
{
    ac_activity_t *list = ac_alloc(MOST_STREAMS * sizeof *list);
    int n = ac_activity_list(list, MOST_STREAMS, reading);
    apr_time_t now = apr_time_now();
    if (n > 0) {
        ap_rputs("<table border=\"0\"><tr><th>PID</th><th>Delivery</th><th>Route</th><th>Agent</th><th>Run</th>"
                 "<th>Seconds</th><th>Bytes</th></tr>\n",
                 r);
    }
    for (int i = 0; i < n; i++) {
        apr_time_t age = now - list[i].began;
        ap_rprintf(r,
                   "<tr><td>%" APR_INT64_T_FMT "</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td>"
                   "<td>%" APR_INT64_T_FMT "</td><td>%" APR_UINT64_T_FMT "</td></tr>\n",
                   (apr_int64_t)list[i].pid, list[i].delivery, ap_escape_html(r->pool, list[i].route),
                   ap_escape_html(r->pool, list[i].agent), list[i].state, (apr_int64_t)apr_time_sec(age > 0 ? age : 0),
                   (apr_uint64_t)list[i].bytes);
    }
    ap_rputs(n > 0 ? "</table>\n" : "<p>No stream.</p>\n", r);
    free(list);
}

/* flags: AP_STATUS_SHORT for ?auto, AP_STATUS_EXTENDED for ExtendedStatus on. */
static int show_status(request_rec *r, int flags)
{
    if (!(flags & AP_STATUS_EXTENDED)) {
        return OK;
    }
    ac_metrics_reading_t *reading = ac_metrics_front_read();
    bool page = !(flags & AP_STATUS_SHORT);
    if (page) {
        ap_rputs("<hr />\n<h2>AgentChat</h2>\n<dl>\n", r);
    }
    write_lines(r, reading, page);
    if (page) {
        ap_rputs("</dl>\n", r);
        write_streams(r, reading);
    }
    free(reading);
    return OK;
}

/* Here, as the hooks of optional modules are known by now. */
static int add_hook(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)pconf;
    (void)plog;
    (void)ptemp;
    APR_OPTIONAL_HOOK(ap, status_hook, show_status, NULL, NULL, APR_HOOK_MIDDLE);
    return OK;
}

void ac_status_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_pre_config(add_hook, NULL, NULL, APR_HOOK_MIDDLE);
}
