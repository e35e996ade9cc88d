# SPDX-License-Identifier: Apache-2.0
"""Tables and aims for the results that run.sh left in a folder; also results.json there. Each figure is the median over the
runs. usage: report.py OUTDIR"""
import json
import pathlib
import re
import statistics
import sys

NAN = float("nan")
# heading, path in a result, format
COUNTS = [("threads", "server.threads", ".0f"), ("lost", "missing", ".0f"), ("bad/ok", "bad_ok", "text"),
          ("noise cores", "noise", ".2f")]
MEMORY = [("RSS kB/stream", "server.rss_per_stream_kb", ".1f"), ("PSS kB/stream", "server.pss_per_stream_kb", ".1f")]
CPU = [("tokens/s", "tokens_per_s", ".0f"), ("CPU µs/token", "server.cpu_us_per_token", ".1f"), ("× nginx", "ratio", ".2f"),
       ("server cores", "server.cores", ".2f")]
STREAMS = [("TTFT p50 ms", "ttft_us.p50", "ms"), ("p99", "ttft_us.p99", "ms"),
           ("first token p50 ms", "first_us.p50", "ms"), ("relay p50 µs", "relay_us.p50", ".0f"),
           ("p99", "relay_us.p99", ".0f"), ("stream p50 s", "latency_us.p50", "s")] + CPU + [
           ("rig cores", "rig", ".2f"), ("model late p99 ms", "late", "ms")] + MEMORY + COUNTS
TURNS = [("turns/s", "requests_per_s", ".0f"), ("p50 µs", "latency_us.p50", ".0f"), ("p99", "latency_us.p99", ".0f"),
         ("CPU µs/turn", "server.cpu_us_per_request", ".0f"), ("server cores", "server.cores", ".2f")] + COUNTS
REQUESTS = [("requests/s", "requests_per_s", ".0f"), ("p50 µs", "latency_us.p50", ".0f"), ("p99", "latency_us.p99", ".0f"),
            ("CPU µs/request", "server.cpu_us_per_request", ".0f"), ("server cores", "server.cores", ".2f")] + COUNTS[2:]


def titles(machine):
    few, h2 = machine["streams_10k"], machine["streams_10k_h2"]
    return {
        "c1": ("one stream at a time, of 20 tokens, 5 ms apart", STREAMS),
        "c100": ("100 streams at once, of 100 tokens, 20 ms apart (2 s)", STREAMS),
        "c1000": ("1,000 streams at once, of 100 tokens, 20 ms apart (2 s; 33,333 tokens/s asked over all)", STREAMS),
        "burst": ("1,000 streams begun at the same time, of 100 tokens, 20 ms apart", STREAMS),
        "turn": ("8 at once: whole turns of 2 tokens, stored", TURNS),
        "c10k": (f"{few:,} streams at once, 500 ms from token to token ({machine['files']:,} open files a process, two for "
                 f"each stream, allow {few:,})", STREAMS),
        "c10k-h2": (f"{h2:,} streams at once, 500 ms from token to token, HTTP/2 and TLS to the model", STREAMS),
        "max": ("64 streams at once, of 500 tokens, as fast as possible",
                [c for c in STREAMS if c[0] not in ("model late p99 ms", "stream p50 s")]),
        "max1": ("the same, but the model writes each token by itself", STREAMS),
        "crud-post": ("16 at once: POST /api/threads", REQUESTS),
        "crud-get": ("16 at once: GET /api/threads/{id}", REQUESTS),
    }


def lookup(result, path):
    for key in path.split("."):
        result = result[key]
    return result


def load(path):
    result = json.loads(path.read_text())
    model = path.with_suffix(".sim")  # llmsim's own statistics
    outcome = result["outcome"]
    result["rig"] = result["upstream"]["cores"] + result["client"]["cores"]
    result["late"] = json.loads(model.read_text())["lag_us"]["p99"] if model.exists() else NAN
    result["missing"] = result["lost"] + result["surplus"] + result["disordered"]
    result["noise"] = max(0, result["machine"]["other_cores"]) + result["machine"]["steal_cores"]
    result["n_bad"] = sum(outcome.values()) - outcome["ok"]  # what still ran long after the end, too
    return result


def collect(out):
    """{scenario: {server: [result of each run]}}, servers in the order they were measured"""
    found = {}
    for path in sorted(out.glob("run-*/*.json"), key=lambda p: p.stat().st_mtime):
        server, scenario, _ = path.name.split(".")
        if scenario != "warm" and path.stat().st_size:
            found.setdefault(scenario, {}).setdefault(server, []).append(load(path))
    return found


def medians(results, columns):
    row = {path: statistics.median(lookup(r, path) for r in results) for _, path, form in columns
           if form != "text" and path not in ("ratio", "missing")}
    row["missing"] = sum(r["missing"] for r in results)
    row["bad_ok"] = f"{sum(r['n_bad'] for r in results)}/{sum(r['outcome']['ok'] for r in results)}"
    row["n_bad"] = sum(r["n_bad"] for r in results)
    row["runs"] = len(results)
    return row


def summarize(found, shown):
    summary = {}
    for scenario, servers in found.items():
        rows = {server: medians(results, shown[scenario][1]) for server, results in servers.items()}
        base = rows.get("nginx", {}).get("server.cpu_us_per_token")
        for row in rows.values():
            cpu = row.get("server.cpu_us_per_token")
            row["ratio"] = cpu / base if cpu and base else NAN
        summary[scenario] = rows
    return summary


def show(value, form):
    if form == "text":
        return value
    if value != value:
        return "-"
    return {"ms": lambda: f"{value / 1e3:.2f}", "s": lambda: f"{value / 1e6:.2f}"}.get(form, lambda: format(value, form))()


def print_table(name, title, columns, rows):
    print(f"\n{name}: {title}\n")
    cells = [["server"] + [heading for heading, _, _ in columns]]
    cells += [[server] + [show(row[path], form) for _, path, form in columns] for server, row in rows.items()]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    for line in cells:
        print("  " + line[0].ljust(widths[0]) + "".join("  " + cell.rjust(w) for cell, w in zip(line[1:], widths[1:])))


def aims(summary):
    """(what is aimed at, what was measured, whether it is met) for the module"""
    def of(scenario, path, server="module"):
        return summary.get(scenario, {}).get(server, {}).get(path)

    wanted = [
        ("one stream: first token at most 1 ms after the model's, median", of("c1", "first_us.p50"), 1000, "ms"),
        ("100 streams: CPU per token at most 1.5 × nginx", of("c100", "ratio"), 1.5, ".2f"),
        ("1,000 streams: at least 25,000 tokens/s on one core", of("c1000", "tokens_per_s"), -25000, ".0f"),
    ]
    for scenario in ("c100", "c1000"):
        cpu, without = (of(scenario, "server.cpu_us_per_token", server) for server in ("module", "module-nolog"))
        if cpu and without:
            wanted.append((f"{scenario}: CPU per token at most 10 % over the same without event logs, %",
                           (cpu / without - 1) * 100, 10, ".1f"))
        through = of(scenario, "server.cpu_us_per_token", "module-completions")
        if cpu and through:
            wanted.append((f"{scenario}: CPU per token of chat completions at most 10 % over the native protocol, %",
                           (through / cpu - 1) * 100, 10, ".1f"))
        for server, most in (("module-traced", 5), ("module-hung", 3)):
            traced = of(scenario, "server.cpu_us_per_token", server)
            if cpu and traced:
                wanted.append((f"{scenario}: CPU per token of {server} at most {most} % over the same without telemetry, %",
                               (traced / cpu - 1) * 100, most, ".1f"))
    for scenario, server in (("c10k", "module"), ("c10k-h2", "module-h2")):
        if server in summary.get(scenario, {}):
            wanted += [
                (f"{scenario}: at most 64 kB of memory a stream", of(scenario, "server.rss_per_stream_kb", server), 64, ".1f"),
                (f"{scenario}: at most 64 threads", of(scenario, "server.threads", server), 64, ".0f"),
                (f"{scenario}: no event lost, doubled or out of order", of(scenario, "missing", server), 0, ".0f"),
                (f"{scenario}: no stream broken", of(scenario, "n_bad", server), 0, ".0f"),
            ]
    for text, value, limit, form in wanted:
        if value is not None and value == value:
            yield {"aim": text, "measured": show(value, form), "met": value >= -limit if limit < 0 else value <= limit}


def main(out):
    machine = json.loads((out / "machine.json").read_text())
    shown = titles(machine)
    summary = summarize(collect(out), shown)
    print(f"{machine['date']}, {machine['cpus']} CPUs ({machine['cpu']}), {machine['kernel']}; rig on one CPU, server on another;"
          f" store on {machine['store']}; {machine['runs']} run(s){', quick' if machine['quick'] else ''}")
    for scenario, (title, columns) in shown.items():
        if scenario in summary:
            print_table(scenario, title, columns, summary[scenario])
    met = list(aims(summary))
    print("\naims\n" if met else "")
    for line in met:
        print(f"  {'met   ' if line['met'] else 'MISSED'}  {line['aim']}: {line['measured']}")
    deaths = {path.stem: re.findall(r"exit signal [^\]\n]*", path.read_text()) for path in sorted(out.glob("run-*/*.log"))}
    for server, found in deaths.items():
        for death in found:
            print(f"  CRASH   {server}: a child ended: {death}")
    (out / "results.json").write_text(json.dumps({"machine": machine, "results": summary, "aims": met, "deaths": deaths}, indent=1) + "\n")


main(pathlib.Path(sys.argv[1]))
