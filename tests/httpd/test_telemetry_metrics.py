# SPDX-License-Identifier: Apache-2.0
"""Metrics by OTLP: their sums are what clients have counted, whichever child sends them and however that one ends."""
import os
import signal
import threading

import pytest

from collector import NO_PROTOC, PROTOC, decode, read_text, text_attributes, unknown_fields
from model_server import answer
from runs import CHILDREN, wait_until
from telemetry_sink import Sink, attributes, reply

FAST = "AgentChatTelemetryMetrics interval=50ms "
STARTED = "agentchat.runs_started"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
COUNTED = STARTED, "gen_ai.invoke_agent.duration", "gen_ai.client.inference.duration"


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.stop()


def chat(server, **options):
    response = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}, **options)
    assert response.status == 200, response


def to(sink, more=""):
    return f"AgentChatTelemetry otlp {sink.url} protocol=json signals=metrics\n{FAST}{more}\n"


def test_sums_since_the_beginning(make_server, model, sink):
    server = make_server(to(sink))
    model.play(answer("one", prompt=100, completion=20, cached=40, reasoning=5))
    chat(server)
    sink.wait(lambda s: s.newest("gen_ai.invoke_agent.duration") == 1 and s.newest(STARTED) == 1, "the run was not sent")
    tokens = {"gen_ai.agent.id": "assistant", "gen_ai.operation.name": "chat", "gen_ai.token.modality": "text"}
    usage = "gen_ai.client.inference.usage."
    sink.wait(lambda s: s.newest(usage + "input_tokens", **tokens) == 100 and s.newest(usage + "output_tokens", **tokens) == 20 and
              s.newest(usage + "cache_read.input_tokens") == 40 and s.newest(usage + "reasoning.output_tokens") == 5,
              "the tokens were not sent")
    metric = sink.metric("gen_ai.client.inference.duration")
    point, = metric["histogram"]["dataPoints"]
    assert metric["unit"] == "s" and metric["histogram"]["aggregationTemporality"] == 2
    assert point["explicitBounds"][0] == 0.01 and point["explicitBounds"][-1] == 81.92
    assert sum(map(int, point["bucketCounts"])) == int(point["count"]) == 1
    assert attributes(point)["gen_ai.operation.name"] == "chat" and attributes(point)["gen_ai.provider.name"]
    assert int(point["startTimeUnixNano"]) < int(point["timeUnixNano"])
    assert sink.metric("agentchat.requests")["sum"]["isMonotonic"] is True
    assert sink.newest("agentchat.children") == len(server.children())
    # One process sends: no interval begins again, and no time goes back.
    times = [int(metric["sum"]["dataPoints"][0]["timeUnixNano"]) for document in sink.documents("/v1/metrics")
             for metric in document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] if metric["name"] == STARTED]
    assert times == sorted(set(times))


def test_exponential_histograms_and_deltas(make_server, model, sink):
    server = make_server(to(sink, "temporality=delta histograms=exponential"))
    model.play(answer("one"), answer("two"))
    chat(server)
    sink.wait(lambda s: s.totals(STARTED) == 1, "the run was not sent")
    chat(server)
    sink.wait(lambda s: s.totals("gen_ai.invoke_agent.duration") == 2, "the second run was not sent")
    metric = sink.metric("gen_ai.invoke_agent.duration")
    histogram = metric["exponentialHistogram"]
    point, = histogram["dataPoints"]
    assert histogram["aggregationTemporality"] == 1
    assert sum(map(int, point["positive"]["bucketCounts"])) + int(point["zeroCount"]) == int(point["count"])
    low = 2 ** (point["positive"]["offset"] / 2 ** point["scale"])
    assert low <= point["sum"] / int(point["count"]) <= low * 2 ** (len(point["positive"]["bucketCounts"]) / 2 ** point["scale"])


def read_protobuf(document):
    """The metrics of a request by their names, as protoc reads them."""
    text = decode(document, "ExportMetricsServiceRequest")
    assert not unknown_fields(text), unknown_fields(text)
    of_resource, = read_text(text)["resource_metrics"]
    assert text_attributes(of_resource["resource"][0])["service.name"]
    of_scope, = of_resource["scope_metrics"]
    names = [metric["name"][0] for metric in of_scope["metrics"]]
    assert len(names) == len(set(names)) and of_scope["scope"][0]["name"]
    return dict(zip(names, of_scope["metrics"]))


def complete(metrics, kind):
    """The metrics of a run are there with what it counted, and with the exemplar, which is noted last."""
    if STARTED not in metrics or metrics[STARTED]["sum"][0]["data_points"][0]["as_int"] != [1]:
        return False
    points = [metrics[name][kind][0]["data_points"][0] for name in COUNTED[1:] if name in metrics]
    return len(points) == 2 and all(point.get("count") == [1] and "exemplars" in point for point in points)


@pytest.mark.skipif(not PROTOC, reason=NO_PROTOC)
@pytest.mark.parametrize("histograms, kind", [("explicit", "histogram"), ("exponential", "exponential_histogram")])
def test_protoc_reads_the_bodies(make_server, model, sink, histograms, kind):
    server = make_server(f"AgentChatTelemetry otlp {sink.url} signals=metrics\n{FAST}histograms={histograms}\n")
    model.play(answer("one", prompt=100, completion=20))
    chat(server, headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})

    def after_the_run(s):
        """The reading that began after a complete one."""
        documents = s.documents("/v1/metrics")[-2:]
        return read_protobuf(documents[1]) if len(documents) == 2 and complete(read_protobuf(documents[0]), kind) else None
    metrics = sink.wait(after_the_run, "the run was not sent")
    assert {headers["content-type"] for _, headers, _ in sink.sent} == {"application/x-protobuf"}

    started, = metrics[STARTED]["sum"]
    assert started["aggregation_temporality"] == [2] and started["is_monotonic"] == [True]
    assert started["data_points"][0]["as_int"] == [1]
    assert metrics["agentchat.children"]["gauge"][0]["data_points"][0]["as_int"][0] >= 1

    run, = metrics["gen_ai.invoke_agent.duration"][kind]
    point, = run["data_points"]
    assert run["aggregation_temporality"] == [2] and metrics["gen_ai.invoke_agent.duration"]["unit"] == ["s"]
    assert text_attributes(point)["gen_ai.agent.id"] == "assistant"
    assert point["start_time_unix_nano"] < point["time_unix_nano"]
    exemplar, = point["exemplars"]
    assert exemplar["trace_id"] == [TRACE] and len(exemplar["span_id"][0]) == 16
    assert exemplar["as_double"] == point["sum"]
    assert point["start_time_unix_nano"] <= exemplar["time_unix_nano"] <= point["time_unix_nano"]
    low, high = (explicit_bucket if kind == "histogram" else exponential_bucket)(point)
    assert low <= point["sum"][0] <= high


def explicit_bucket(point):
    """The bounds of the bucket that has the only value."""
    bounds, counts = [0, *point["explicit_bounds"], float("inf")], point["bucket_counts"]
    assert len(counts) == len(bounds) - 1 and sorted(bounds) == bounds and sum(counts) == 1
    return bounds[counts.index(1)], bounds[counts.index(1) + 1]


def exponential_bucket(point):
    """The bounds of the bucket that has the only value. protoc does not show zeros."""
    positive, = point["positive"]
    assert positive["bucket_counts"] == [1] and "negative" not in point and "zero_count" not in point
    assert point["zero_threshold"][0] < point["sum"][0]
    width, offset = 2 ** -point.get("scale", [0])[0], positive.get("offset", [0])[0]
    return 2 ** (offset * width), 2 ** ((offset + 1) * width)


def test_the_variables_of_opentelemetry_are_obeyed(make_server, model, sink):
    environment = {"OTEL_METRIC_EXPORT_INTERVAL": "60", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
                   "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}
    server = make_server(f"AgentChatTelemetry otlp {sink.url} protocol=json signals=metrics\n", env=environment)
    model.play(answer("one"))
    chat(server)
    sink.wait(lambda s: s.totals("gen_ai.invoke_agent.duration") == 1, "the run was not sent")
    assert sink.metric("gen_ai.invoke_agent.duration")["exponentialHistogram"]["aggregationTemporality"] == 1


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_no_count_is_lost_or_sent_twice(make_server, model, sink, temporality):
    """Through graceful restarts, a destination that refuses, and a SIGKILL of the child that sends."""
    server = make_server(to(sink, f"temporality={temporality}"), tuning=CHILDREN)
    server.expect_log("AC0268", "AC0269")
    known = sink.totals if temporality == "delta" else sink.newest
    model.play(*[answer("x") for _ in range(40)])
    n = 0
    for step in range(8):
        for _ in range(3):
            chat(server)
            n += 1
        if step % 4 == 0:
            server.graceful()
        elif step % 4 == 1:
            with sink.lock:
                sink.answers += [reply(503, drop=True), reply(429, drop=True, Retry_After="0"), reply(400, drop=True)]
        elif step % 4 == 2:
            kill_the_sender(server, sink)
        sink.wait(lambda _: all(known(name) == n for name in COUNTED), f"the runs were not sent after step {step}")


def kill_the_sender(server, sink):
    """Holds the answer of one request, and kills the child that waits for it."""
    held, killed = threading.Event(), threading.Event()

    def hold(_sink, _connection, _sent):
        held.set()
        killed.wait(60)
        return False
    with sink.lock:
        sink.answers.append(hold)
    wait_until(held.is_set, "no request came")
    port = sink.port
    for pid in server.children():
        links = []
        for fd in os.listdir(f"/proc/{pid}/fd") if os.path.isdir(f"/proc/{pid}/fd") else []:
            try:
                links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                continue
        inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
        with open("/proc/net/tcp") as table:
            mine = [line.split() for line in table if f":{port:04X} " in line.split()[2] + " "]
        if any(row[9] in inodes for row in mine):
            os.kill(pid, signal.SIGKILL)
    killed.set()


def test_the_rest_is_sent_at_the_end(make_server, model, sink):
    server = make_server(f"AgentChatTelemetry otlp {sink.url} protocol=json signals=metrics\n"
                         "AgentChatTelemetryMetrics interval=1h temporality=delta\n")
    model.play(answer("one"))
    chat(server)
    server.stop()
    assert sink.totals(STARTED) == 1
