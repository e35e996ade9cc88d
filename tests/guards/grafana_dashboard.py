# SPDX-License-Identifier: Apache-2.0
"""Writes the dashboard for Grafana: python3 tests/guards/grafana_dashboard.py >conf/observability/grafana-dashboard.json"""
import json

SOURCE = {"type": "prometheus", "uid": "${source}"}
HERE = 'job=~"$job",instance=~"$instance"'
RATE = "$__rate_interval"
WIDTH = 24


def rate(metric, *by, **labels):
    """The rate of a counter, summed by these labels."""
    return f"sum{by_of(by)} (rate({metric}{{{select(labels)}}}[{RATE}]))"


def select(labels):
    return ",".join([HERE, *(f'{name}{value}' for name, value in labels.items())])


def by_of(by):
    return f" by ({', '.join(by)})" if by else ""


def gauge(metric, *by, **labels):
    return f"sum{by_of(by)} ({metric}{{{select(labels)}}})"


def quantile(q, metric, *by):
    return f"histogram_quantile({q}, {rate(metric + '_bucket', *by, 'le')})"


def share(part, whole):
    return f"{part} / {whole}"


def p50_p95(metric, *by):
    """Both quantiles, with the names of their lines."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return [(quantile(q, metric, *by), f"{word} {name}".strip()) for q, word in ((0.5, "p50"), (0.95, "p95"))]


def lines(title, unit, *queries, text="", stack=False, maximum=None):
    custom = {"fillOpacity": 20 if stack else 5, "lineWidth": 1, "showPoints": "never", "stacking": {"mode": "normal" if stack else "none"}}
    defaults = {"unit": unit, "min": 0, "custom": custom, **({"max": maximum} if maximum else {})}
    return {"type": "timeseries", "title": title, "description": text, "width": 8, "height": 8, "queries": queries,
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
                        "tooltip": {"mode": "multi", "sort": "desc"}}}


def figure(title, unit, query, text="", warning=None, critical=None, decimals=None):
    steps = [{"color": "green", "value": None}]
    steps += [{"color": color, "value": value} for color, value in (("orange", warning), ("red", critical)) if value is not None]
    defaults = {"unit": unit, "thresholds": {"mode": "absolute", "steps": steps}, **({} if decimals is None else {"decimals": decimals})}
    return {"type": "stat", "title": title, "description": text, "width": 3, "height": 4, "queries": [(query, "")],
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": {"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
                        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}}


def heat(title, metric, text):
    panel = lines(title, "s", (f"sum by (le) (increase({metric}_bucket{{{HERE}}}[{RATE}]))", "{{le}}"), text=text)
    return {**panel, "type": "heatmap", "fieldConfig": {"defaults": {}, "overrides": []}, "form": "heatmap",
            "options": {"calculate": False, "yAxis": {"unit": "s"},
                        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 32, "exponent": 0.5, "fill": "orange", "reverse": False},
                        "cellGap": 1, "tooltip": {"mode": "single", "yHistogram": False}}}


OURS = "Failures that the request itself caused are left out: refused content, limits, conversations that are too long."
CAUSES = '=~"model_.+|store_.+|tool_.+|upstream_.+|storage_full|output_invalid|overloaded|interrupted|run_timeout|internal"'
FAILED = rate("agentchat_runs_total", status='="failed"', cause=CAUSES)
PARTS = [
    ("Overview", [
        figure("Servers", "none", f'sum(up{{{HERE}}})', "Servers that answer Prometheus", decimals=0),
        figure("Runs a minute", "none", f"60 * {rate('agentchat_runs_total')}", "Runs that have ended", decimals=1),
        figure("Runs that fail", "percentunit",
               share(f"({FAILED} or vector(0))", rate("agentchat_runs_total")), OURS, 0.01, 0.05),
        figure("First token, p95", "s", quantile(0.95, "agentchat_run_first_token_seconds"), "From the start of a run", 5, 10),
        figure("Overhead, p95", "s", quantile(0.95, "agentchat_run_overhead_seconds"),
               "The part of a run in which no model and no tool worked", 0.25, 1),
        figure("Streams", "none", gauge("agentchat_streams_active"), "Answers that are being delivered", decimals=0),
        figure("Queued runs", "none", f"{gauge('agentchat_runs_queued')} + (sum(agentchat_model_queued_runs{{{HERE}}}) or vector(0))",
               "Runs that wait for a slot of a child or of a model", 1, 20, decimals=0),
        figure("Tokens in the time shown", "short", f"sum(increase(agentchat_tokens_total{{{HERE}}}[$__range]))", "Input and output"),
    ]),
    ("Runs", [
        lines("Runs by status", "ops", (rate("agentchat_runs_total", "status"), "{{status}}"), stack=True),
        lines("Runs that failed, by cause", "ops", (rate("agentchat_runs_total", "cause", status='="failed"'), "{{cause}}"),
              text="The cause is the code of the error (docs/errors.md)", stack=True),
        lines("Runs under way", "none", (gauge("agentchat_runs_active"), "active"), (gauge("agentchat_runs_queued"), "queued"),
              (f"{gauge('agentchat_children')}", "children")),
        lines("First token", "s", *p50_p95("agentchat_run_first_token_seconds", "agent"), text="From the start of a run, by agent"),
        lines("Duration of runs", "s", *p50_p95("agentchat_run_duration_seconds", "agent"), text="Without the time of a suspension"),
        lines("Overhead", "s", *p50_p95("agentchat_run_overhead_seconds"),
              text="What queues, limits, the store and the module add to what a user waits for"),
        heat("First token, all runs", "agentchat_run_first_token_seconds", "How many runs had their first token after which time"),
        lines("Approvals", "ops", (rate("agentchat_runs_suspended_total"), "suspended"), (rate("agentchat_runs_resumed_total"), "resumed"),
              text="Runs that were suspended to await approval, and that were resumed"),
        lines("Ratings of answers", "ops", (rate("agentchat_feedback_total", "rating"), "{{rating}}"),
              text="Feedback that owners gave, changed or removed", stack=True),
        lines("Requests by status", "reqps", (rate("agentchat_requests_total", "status"), "{{status}}"), stack=True),
        lines("Runs by protocol", "ops", (rate("agentchat_runs_started_total", "protocol"), "{{protocol}}"), stack=True,
              text="The API that clients use"),
        lines("Runs that failed, by protocol", "ops",
              (rate("agentchat_runs_total", "protocol", "cause", status='="failed"'), "{{protocol}} {{cause}}"), stack=True),
    ]),
    ("Models", [
        lines("Calls by outcome", "ops", (rate("agentchat_model_calls_total", "model", "outcome"), "{{model}} {{outcome}}"), stack=True),
        lines("First part of an answer", "s", *p50_p95("agentchat_model_first_token_seconds", "model"), text="From the call of the model"),
        lines("Duration of calls", "s", *p50_p95("agentchat_model_call_duration_seconds", "model"), text="With their retries"),
        lines("Retries and fallbacks", "ops", (rate("agentchat_model_retries_total", "model"), "retries {{model}}"),
              (rate("agentchat_model_fallbacks_total", "model"), "fallbacks of {{model}}")),
        lines("Circuit breakers that are open", "none",
              (gauge("agentchat_model_breakers", "model", "state", state='=~"open|half-open"'), "{{model}} {{state}}"),
              text="Each child that has called the model has one"),
        lines("Calls under way", "none", (gauge("agentchat_model_calls_active", "model"), "active {{model}}"),
              (gauge("agentchat_model_queued_runs", "model"), "queued {{model}}")),
    ]),
    ("Tokens and cost", [
        lines("Tokens by model", "short", (rate("agentchat_tokens_total", "model", "type"), "{{model}} {{type}}"),
              text="Tokens a second. Input includes cached tokens, and output includes reasoning", stack=True),
        lines("Tokens by agent", "short", (rate("agentchat_tokens_total", "agent"), "{{agent}}"), stack=True),
        lines("Cost an hour, by model", "none", (f"3600 * {rate('agentchat_cost_total', 'model', 'currency')}", "{{model}} {{currency}}"),
              text="By the prices of AgentChatPrice", stack=True),
        lines("Cost an hour, by agent", "none", (f"3600 * {rate('agentchat_cost_total', 'agent', 'currency')}", "{{agent}} {{currency}}"),
              stack=True),
        lines("Input tokens from the model's cache", "percentunit",
              (share(rate("agentchat_cached_input_tokens_total", "model"), rate("agentchat_tokens_total", "model", type='="input"')),
               "{{model}}"), maximum=1),
        lines("Output tokens of reasoning", "percentunit",
              (share(rate("agentchat_reasoning_output_tokens_total", "model"),
                     rate("agentchat_tokens_total", "model", type='="output"')),
               "{{model}}"), maximum=1),
    ]),
    ("Tools", [
        lines("Calls by outcome", "ops", (rate("agentchat_tool_calls_total", "tool", "outcome"), "{{tool}} {{outcome}}"), stack=True),
        lines("Calls that fail", "percentunit",
              (share(rate("agentchat_tool_calls_total", "tool", outcome='=~"error|timeout|invalid"'),
                     rate("agentchat_tool_calls_total", "tool")),
               "{{tool}}"), maximum=1),
        lines("Duration of calls", "s", *p50_p95("agentchat_tool_call_duration_seconds", "tool")),
    ]),
    ("Stores", [
        lines("Operations", "ops", (rate("agentchat_store_operations_total", "store", "operation"), "{{store}} {{operation}}"), stack=True),
        lines("Operations that did not end well, by outcome", "ops",
              (rate("agentchat_store_operations_total", "store", "outcome", outcome='!="ok"'), "{{store}} {{outcome}}"),
              text="not_found and conflicts are ordinary; store_error and store_timeout are not", stack=True),
        lines("Duration of operations, p95", "s",
              (quantile(0.95, "agentchat_store_operation_duration_seconds", "store", "operation"), "{{store}} {{operation}}")),
        lines("Threads from the cache", "ops", (rate("agentchat_cache_lookups_total", "result"), "{{result}}"), stack=True),
        lines("Operations in a transaction of SQLite", "none",
              (share(rate("agentchat_sqlite_group_operations_total"), rate("agentchat_sqlite_groups_total")), "operations")),
        lines("Redis", "ops", (rate("agentchat_redis_commands_total", "outcome"), "{{outcome}}"),
              (gauge("agentchat_redis_connections"), "connections")),
        lines("Cosmos DB: request units a second", "none",
              (rate("agentchat_cosmos_request_units_total", "operation"), "{{operation}}"), stack=True),
        lines("Cosmos DB: request units of a run", "none",
              (share(rate("agentchat_cosmos_request_units_total"), rate("agentchat_runs_total")), "request units")),
        lines("Cosmos DB: requests", "reqps", (rate("agentchat_cosmos_requests_total", "status"), "{{status}}"),
              (rate("agentchat_cosmos_throttled_total"), "throttled")),
    ]),
    ("Streams and limits", [
        lines("Streams under way", "none", (gauge("agentchat_streams_active", "delivery"), "{{delivery}}"),
              (gauge("agentchat_event_log_followers"), "followers of event logs"), text="A blocking one holds a thread"),
        lines("Streams that ended, by outcome", "ops", (rate("agentchat_streams_total", "outcome"), "{{outcome}}"), stack=True),
        lines("Streams that were continued", "ops", (rate("agentchat_stream_resumes_total"), "continued"),
              (rate("agentchat_stream_gaps_total"), "not possible: events are gone")),
        lines("Event logs", "bytes", (gauge("agentchat_event_log_bytes"), "bytes")),
        lines("Refused by limits", "ops", (rate("agentchat_limits_refused_total", "limit", "by"), "{{limit}} by {{by}}"), stack=True),
        lines("Duration of requests, p95", "s",
              (quantile(0.95, "agentchat_request_duration_seconds", "method", "route"), "{{method}} {{route}}"),
              text="Without event streams"),
    ]),
    ("Processes", [
        lines("Loop lag", "s", (quantile(0.5, "agentchat_loop_lag_seconds"), "p50"), (quantile(0.99, "agentchat_loop_lag_seconds"), "p99"),
              text="The longest time in five seconds in which a child's loop did not look for events"),
        lines("Memory", "bytes", (gauge("agentchat_resident_memory_bytes", "instance"), "{{instance}}")),
        lines("File descriptors", "none", (gauge("agentchat_open_descriptors", "instance"), "open {{instance}}"),
              (gauge("agentchat_max_descriptors", "instance"), "most {{instance}}")),
        lines("Since the start", "s", (f"time() - max by (instance) (agentchat_start_time_seconds{{{HERE}}})", "{{instance}}")),
        lines("Telemetry", "ops", (rate("agentchat_telemetry_exported_total", "signal"), "exported {{signal}}"),
              (rate("agentchat_telemetry_dropped_total", "signal"), "dropped {{signal}}"), text="Spans, metrics and log records"),
        lines("Versions", "none", (f"sum by (version, httpd) (agentchat_build_info{{{HERE}}})", "{{version}}, httpd {{httpd}}")),
    ]),
]


def panels():
    """All panels, with their places; a row for each part."""
    found, y = [], 0
    for title, members in PARTS:
        found.append({"id": len(found) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                      "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        x, y = 0, y + 1
        for member in members:
            panel = dict(member)
            queries, form = panel.pop("queries"), panel.pop("form", "time_series")
            width, height = panel.pop("width"), panel.pop("height")
            if x + width > WIDTH:
                x, y = 0, y + height
            targets = [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": expr, "legendFormat": name or "__auto", "range": True,
                        "format": form, "exemplar": "first_token_seconds" in expr} for i, (expr, name) in enumerate(queries)]
            found.append({"id": len(found) + 1, "datasource": SOURCE, "gridPos": {"x": x, "y": y, "w": width, "h": height},
                          "targets": targets, **panel})
            x += width
        y += members[-1]["height"]
    return found


def variable(name, label, query):
    return {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1, "multi": True, "includeAll": True,
            "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}, "query": {"query": query, "refId": name}}


def dashboard():
    return {
        "uid": "agentchat", "id": None, "title": "AgentChat", "description": "Runs, models, tools, stores and cost of mod_agentchat.",
        "tags": ["agentchat"], "schemaVersion": 41, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"}, "timezone": "browser", "fiscalYearStartMonth": 0, "links": [],
        "annotations": {"list": [{"name": "Restarts", "enable": True, "iconColor": "orange", "datasource": SOURCE,
                                  "expr": f"changes(agentchat_start_time_seconds{{{HERE}}}[2m]) > 0", "titleFormat": "httpd was started"}]},
        "templating": {"list": [
            {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"},
            variable("job", "Job", "label_values(agentchat_build_info, job)"),
            variable("instance", "Server", 'label_values(agentchat_build_info{job=~"$job"}, instance)')]},
        "panels": panels(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
