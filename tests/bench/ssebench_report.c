/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of the load client cost and saw: JSON to stdout, one line to stderr. */
#include "ssebench.h"

#include <stdio.h>
#include <sys/resource.h>

load_snapshot_t load_snapshot_take(void)
{
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (load_snapshot_t){
        .server = tree_read(&load_options.server, true),
        .upstream = tree_read(&load_options.upstream, false),
        .machine = tree_machine_read(),
        .client_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
            (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6,
    };
}

typedef struct cost_t { /* what a run took of each part, in seconds of CPU */
    double span, server, upstream, client, busy, steal;
    double us_per_token, us_per_request, rss_per_stream, pss_per_stream;
    uint64_t rss_base_kb, pss_base_kb;
} cost_t;

static double per(double amount, double count)
{
    return count > 0 ? amount / count : 0;
}

/* Growth of the server's memory for each stream held at once. */
static double per_stream(uint64_t peak_kb, uint64_t base_kb)
{
    return per((double)peak_kb - (double)base_kb, load.tally.active_max);
}

static double us(const rig_hist_t *hist, double quantile)
{
    return (double)rig_hist_quantile(hist, quantile) / 1e3;
}

static cost_t cost_between(const load_snapshot_t *a, const load_snapshot_t *b, const tree_usage_t *peak)
{
    cost_t cost = {
        .span = (double)(load.last_end_ns - load.start_ns) / 1e9,
        .server = b->server.cpu_s - a->server.cpu_s,
        .upstream = b->upstream.cpu_s - a->upstream.cpu_s,
        .client = b->client_s - a->client_s,
        .busy = b->machine.busy_s - a->machine.busy_s,
        .steal = b->machine.steal_s - a->machine.steal_s,
        .rss_base_kb = load_options.rss_base_kb ? load_options.rss_base_kb : a->server.rss_kb,
        .pss_base_kb = a->server.pss_kb,
    };
    cost.us_per_token = per(cost.server * 1e6, (double)load.tally.n_tokens);
    cost.us_per_request = per(cost.server * 1e6, (double)load.tally.outcome[LOAD_OK]);
    cost.rss_per_stream = per_stream(peak->rss_kb, cost.rss_base_kb);
    cost.pss_per_stream = per_stream(peak->pss_kb, cost.pss_base_kb);
    return cost;
}

static void put_count(rig_buf_t *out, const char *name, uint64_t value)
{
    rig_buf_printf(out, "\"%s\":%llu,", name, (unsigned long long)value);
}

static void put_hist(rig_buf_t *out, const char *name, const rig_hist_t *hist)
{
    rig_buf_printf(out, ",\n \"%s\":", name);
    rig_hist_json(out, hist);
}

static void put_counts(rig_buf_t *out, const cost_t *cost, uint64_t n_errors)
{
    const load_tally_t *tally = &load.tally;
    rig_buf_printf(out, "{\"label\":\"%s\",\"url\":\"%s\",\"mode\":\"%s\",\"connections\":%u,\"keepalive\":%s,\n ",
                   load_options.label, load_options.url, load_options.plain ? "plain" : "sse",
                   load_options.n_connections, load_options.keepalive ? "true" : "false");
    rig_buf_printf(out, "\"seconds\":%.3f,", cost->span);
    put_count(out, "requests", tally->n_started);
    put_count(out, "errors", n_errors);
    rig_buf_str(out, "\"outcome\":{");
    for (int i = 0; i < LOAD_N_OUTCOMES; i++) {
        rig_buf_printf(out, "%s\"%s\":%llu", i ? "," : "", load_outcome_names[i],
                       (unsigned long long)tally->outcome[i]);
    }
    rig_buf_str(out, "},\"status\":{");
    for (int i = 1; i < 6; i++) {
        rig_buf_printf(out, "%s\"%dxx\":%llu", i > 1 ? "," : "", i, (unsigned long long)tally->status[i]);
    }
    rig_buf_str(out, "},\n ");
    put_count(out, "tokens", tally->n_tokens);
    put_count(out, "stamped", tally->n_stamped);
    put_count(out, "lost", tally->n_lost);
    put_count(out, "surplus", tally->n_surplus);
    put_count(out, "disordered", tally->n_disordered);
    put_count(out, "events", tally->n_events);
    put_count(out, "heartbeats", tally->n_heartbeats);
    put_count(out, "bytes", tally->bytes);
    put_count(out, "connects", tally->n_connects);
    put_count(out, "reconnects", tally->n_reconnects);
    put_count(out, "streams_peak", tally->active_max);
    rig_buf_printf(out, "\n \"tokens_per_s\":%.1f,\"requests_per_s\":%.1f", per((double)tally->n_tokens, cost->span),
                   per((double)tally->outcome[LOAD_OK], cost->span));
}

static void put_costs(rig_buf_t *out, const cost_t *cost, const tree_usage_t *peak)
{
    rig_buf_str(out, ",\n \"server\":{");
    put_count(out, "rss_base_kb", cost->rss_base_kb);
    put_count(out, "rss_peak_kb", peak->rss_kb);
    put_count(out, "pss_base_kb", cost->pss_base_kb);
    put_count(out, "pss_peak_kb", peak->pss_kb);
    put_count(out, "processes", peak->n_processes);
    put_count(out, "threads", peak->n_threads);
    rig_buf_printf(out,
                   "\"rss_per_stream_kb\":%.1f,\"pss_per_stream_kb\":%.1f,\"cpu_s\":%.2f,\"cores\":%.3f,"
                   "\"cpu_us_per_token\":%.2f,\"cpu_us_per_request\":%.1f},\n",
                   cost->rss_per_stream, cost->pss_per_stream, cost->server, per(cost->server, cost->span),
                   cost->us_per_token, cost->us_per_request);
    rig_buf_printf(out, " \"upstream\":{\"cpu_s\":%.2f,\"cores\":%.3f},\"client\":{\"cpu_s\":%.2f,\"cores\":%.3f},\n",
                   cost->upstream, per(cost->upstream, cost->span), cost->client, per(cost->client, cost->span));
    double other = cost->busy - cost->server - cost->upstream - cost->client;
    rig_buf_printf(out, " \"machine\":{\"busy_cores\":%.3f,\"other_cores\":%.3f,\"steal_cores\":%.3f}}\n",
                   per(cost->busy, cost->span), per(other, cost->span), per(cost->steal, cost->span));
}

static void print_summary(const cost_t *cost, uint64_t n_errors)
{
    const load_tally_t *tally = &load.tally;
    uint64_t ok = tally->outcome[LOAD_OK];
    fprintf(stderr, "%s%sc=%u ok=%llu errors=%llu cut=%llu | ", load_options.label, *load_options.label ? ": " : "",
            load_options.n_connections, (unsigned long long)ok, (unsigned long long)n_errors,
            (unsigned long long)tally->outcome[LOAD_CUT]);
    if (load_options.plain) {
        fprintf(stderr, "%.0f req/s | latency p50 %.0f p99 %.0f us | cpu %.1f us/req (%.2f cores)\n",
                per((double)ok, cost->span), us(&tally->latency, .5), us(&tally->latency, .99), cost->us_per_request,
                per(cost->server, cost->span));
        return;
    }
    fprintf(stderr,
            "ttft p50 %.0f p99 %.0f us | relay p50 %.0f p99 %.0f us | %.0f tok/s | "
            "cpu %.2f us/tok (%.2f cores) | rss %.1f kB/stream\n",
            us(&tally->ttft, .5), us(&tally->ttft, .99), us(&tally->relay, .5), us(&tally->relay, .99),
            per((double)tally->n_tokens, cost->span), cost->us_per_token, per(cost->server, cost->span),
            cost->rss_per_stream);
}

uint64_t load_report(const load_snapshot_t *before, const load_snapshot_t *after, const tree_usage_t *peak)
{
    const load_tally_t *tally = &load.tally;
    cost_t cost = cost_between(before, after, peak);
    uint64_t n_errors = 0;
    for (int i = LOAD_CONNECT; i < LOAD_CUT; i++) {
        n_errors += tally->outcome[i];
    }
    rig_buf_t out = {0};
    put_counts(&out, &cost, n_errors);
    put_hist(&out, "ttft_us", &tally->ttft);
    put_hist(&out, "first_us", &tally->first);
    put_hist(&out, "relay_us", &tally->relay);
    put_hist(&out, "latency_us", &tally->latency);
    put_costs(&out, &cost, peak);
    fwrite(out.data, 1, out.len, stdout);
    rig_buf_free(&out);
    if (!load_options.quiet) {
        print_summary(&cost, n_errors);
    }
    return n_errors;
}
