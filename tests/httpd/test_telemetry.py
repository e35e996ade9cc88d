# SPDX-License-Identifier: Apache-2.0
"""Traces of real turns on their way to collectors: by protobuf and JSON, to collectors that fail in every way, at restarts and at
the end, with a token of Entra ID to Azure Monitor."""
import base64
import json
import re
import subprocess

import pytest

from collector import NO_PROTOC, PROTOC, Collector, attributes, decode, reply, unknown_fields
from metrics import PLACE, read
from model_server import Gate, answer
from peers import node
from runs import wait_until

FAST = "AgentChatTelemetryBatch delay=10ms\n"
ALL = "AgentChatTraceSampler always_on\n"
LOST = r"AC0268: telemetry: "
SECRET = "zebra-s3cret-of-the-collector"


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


def turn(server, model, said="Hello"):
    model.play(answer(said))
    thread = server.client.thread()
    response = server.client.send(thread, "planted-words-of-a-person")
    assert response.status == 200, response
    return thread


def is_agent(span):
    return span["name"].startswith("invoke_agent")


def lost(server, signal="traces"):
    return read(server).sum("agentchat_telemetry_dropped_total", signal=signal)


def exported(server, signal="traces"):
    return read(server).sum("agentchat_telemetry_exported_total", signal=signal)


# ---- bodies ----

@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_spans_of_a_turn_arrive(make_server, model, collector, compression):
    server = make_server(f"AgentChatTelemetry otlp {collector.url}/ signals=traces protocol=json compression={compression}\n{FAST}{ALL}"
                         "AgentChatTelemetryResource service.name support-chat\n" + PLACE)
    thread = turn(server, model)
    agent, = collector.wait_span(is_agent)
    assert attributes(agent)["gen_ai.conversation.id"] == thread
    collector.wait_span(lambda span: span["traceId"] == agent["traceId"] and span["kind"] == 2)
    export = collector.exports[0]
    assert (export.method, export.target) == ("POST", "/v1/traces")
    assert export.headers["content-type"] == "application/json"
    assert export.headers.get("content-encoding") == ("gzip" if compression == "gzip" else None)
    resource = export.resource()
    assert resource["service.name"] == "support-chat" and resource["service.instance.id"] and resource["host.name"]
    # The batch that brought the last span may still be without its answer.
    wait_until(lambda: exported(server) >= 4, "nothing was counted")
    assert lost(server) == 0
    assert "planted-words" not in json.dumps([export.json for export in collector.exports])


def without_defaults(value):
    """What means the same in any writing: defaults are left out, 64-bit integers are numbers."""
    if isinstance(value, dict):
        small = {name: without_defaults(member) for name, member in value.items()}
        if "intValue" in small or "doubleValue" in small:
            return {"number": float(small.get("intValue", small.get("doubleValue", 0)))}
        return {name: member for name, member in small.items() if member not in (0, "", "0", [], {}, None)}
    return [without_defaults(one) for one in value] if isinstance(value, list) else value


def as_numbers(text):
    """JavaScript has one type of number."""
    return re.sub(r"(?:int_value|double_value): (\S+)", lambda found: f"number: {float(found[1])}", text)


@pytest.mark.skipif(not PROTOC, reason=NO_PROTOC)
def test_bodies_are_those_of_the_vendors_package(make_server, model, tmp_path):
    """The same spans in JSON and in protobuf, as @opentelemetry/otlp-transformer writes them."""
    one, other = Collector(), Collector()
    server = make_server(f"AgentChatTelemetry otlp {one.url} signals=traces protocol=json\n"
                         f"AgentChatTelemetry otlp {other.url} signals=traces\n{ALL}"
                         "AgentChatTelemetryBatch delay=5min\n")
    turn(server, model)
    server.stop()     # and so everything is in one batch for each
    ours, = one.wait_exports(1)
    protobuf, = other.wait_exports(1)
    assert protobuf.headers["content-type"] == "application/x-protobuf"
    file = tmp_path / "ours.json"
    file.write_text(json.dumps(ours.json))
    theirs = json.loads(node("otlp.mjs", str(file)))
    assert without_defaults(ours.json) == without_defaults(theirs["json"])
    assert as_numbers(protobuf.text()) == as_numbers(decode(base64.b64decode(theirs["protobuf"])))
    # Nothing is left that the definition does not have.
    assert not unknown_fields(protobuf.text())
    one.stop(), other.stop()


# ---- configuration ----

def test_the_standard_variables_decide_without_a_url(make_server, model, collector):
    server = make_server("AgentChatTelemetry otlp\n" + FAST, env={
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1/nowhere",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/mine",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}, x-team=a%20b",
        "OTEL_SERVICE_NAME": "from-variable", "OTEL_RESOURCE_ATTRIBUTES": "service.name=hidden,deployment.environment.name=te%20st",
        "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_TRACES_SAMPLER": "always_on"})
    turn(server, model)
    collector.wait_span(is_agent)
    export = collector.exports[0]
    assert export.target == "/mine"
    assert export.headers["x-key"] == SECRET and export.headers["x-team"] == "a b"
    assert export.resource()["service.name"] == "from-variable"
    assert export.resource()["deployment.environment.name"] == "te st"
    assert SECRET not in server.log()


def test_variables_for_other_modules_have_no_effect(make_server, model, collector):
    """Neither without the directive, nor on a destination that it names."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}"}
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{ALL}", env=variables)
    turn(server, model)
    collector.wait_span(is_agent)
    assert "x-key" not in collector.exports[0].headers
    quiet = make_server(ALL, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    n = collector.n_connections
    turn(quiet, model)
    quiet.stop()
    assert collector.n_connections == n


@pytest.mark.parametrize("variables, directives", [
    ({"OTEL_SDK_DISABLED": "true"}, ""), ({}, "AgentChatTraceSampler always_off\n"), ({}, "AgentChatTelemetry off\n"),
    ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "")])
def test_nothing_is_sent(make_server, model, collector, variables, directives):
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{directives}", env=variables)
    turn(server, model)
    server.stop()
    assert not collector.exports


def test_a_credential_goes_into_the_header_that_is_named(make_server, model, collector):
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json "
                         'credential=env:COLLECTOR_KEY "header=X-Key: Basic"\n' + FAST + ALL, env={"COLLECTOR_KEY": SECRET})
    turn(server, model)
    collector.wait_span(is_agent)
    assert collector.exports[0].headers["x-key"] == f"Basic {SECRET}"
    assert "authorization" not in collector.exports[0].headers
    assert SECRET not in server.log()


# ---- collectors that fail ----

def hang(gate):
    def wait(_collector, _connection, _export):
        gate.pass_through(lambda: False)
        return False
    return wait


def trickle(gate):
    def send(_collector, connection, _export):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{")
        gate.pass_through(lambda: False)
        return False
    return send


def garbage(_collector, connection, _export):
    connection.sendall(b"\x00\xff garbage that is no HTTP\r\n\r\n" + SECRET.encode())
    return False


def garbage_in_http(_collector, connection, export):
    return reply(200, b'{"partialSuccess": [[[' + SECRET.encode())(_collector, connection, export)


def close(_collector, _connection, _export):
    return False


FAILING = {"hangs": hang, "is slow": trickle, "garbage": lambda _gate: garbage, "closes": lambda _gate: close,
           "429": lambda _gate: reply(429, Retry_After="3600"), "500": lambda _gate: reply(500, SECRET.encode()),
           "503": lambda _gate: reply(503)}


@pytest.mark.parametrize("kind", FAILING)
def test_turns_do_not_wait_for_a_collector_that(make_server, model, collector, kind):
    """All turns end while the collector does what it does; what the queue has no room for is lost and counted."""
    gate = Gate()
    collector.always = FAILING[kind](gate)
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{ALL}"
                         "AgentChatTelemetryBatch delay=10ms size=2 queue=8\n" + PLACE)
    server.expect_log(LOST)
    for _ in range(8):
        turn(server, model)
    wait_until(lambda: lost(server) > 0, "nothing was lost")
    collector.wait_exports(1)
    assert exported(server) == 0
    gate.open()
    server.stop()
    assert SECRET not in "".join(line for line in server.log().splitlines() if ":debug]" not in line)


def test_garbage_in_an_accepted_answer_is_no_failure(make_server, model, collector):
    collector.always = garbage_in_http
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{ALL}{PLACE}")
    turn(server, model)
    wait_until(lambda: exported(server) > 0, "nothing was counted")
    assert lost(server) == 0


def test_what_a_collector_refuses_in_part_is_counted_and_not_sent_again(make_server, model, collector):
    collector.always = lambda *things: reply(200, b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "no"}}')(*things)
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{ALL}{PLACE}")
    server.expect_log(LOST + ".*accepted a batch without 1 items of it")
    turn(server, model)
    collector.wait_span(is_agent)
    wait_until(lambda: lost(server) == len(collector.exports), "what was refused is not counted")
    ids = [span["spanId"] for span in collector.spans()]
    assert len(ids) == len(set(ids))


def test_a_collector_that_comes_back_gets_what_waits(make_server, model, collector):
    collector.answers = [reply(503), close]
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{ALL}{PLACE}")
    server.expect_log(LOST)
    turn(server, model)
    server.wait_log("AC0269: telemetry: .*accepts telemetry again")
    server.stop()
    sent = [span["spanId"] for export in collector.exports[2:] for span in export.spans()]
    assert any(is_agent(span) for export in collector.exports[2:] for span in export.spans())
    assert len(sent) == len(set(sent))
    assert collector.exports[0].body == collector.exports[1].body == collector.exports[2].body


# ---- restarts and the end ----

@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_nothing_is_lost_at_a_restart_and_at_the_end(make_server, model, collector, mpm):
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{ALL}"
                         "AgentChatTelemetryBatch delay=5min\n", mpm=mpm)
    threads = [turn(server, model)]
    before = server.children()
    server.graceful()
    server.wait_gone(before)
    spans = collector.wait_span(is_agent)
    assert [attributes(span)["gen_ai.conversation.id"] for span in spans] == threads
    server.wait_up()
    threads.append(turn(server, model))
    server.stop()
    spans = collector.wait_span(is_agent, 2)
    assert [attributes(span)["gen_ai.conversation.id"] for span in spans] == threads
    instances = {export.resource()["service.instance.id"] for export in collector.exports}
    assert len(instances) == 1
    ids = [span["spanId"] for span in collector.spans()]
    assert len(ids) == len(set(ids))


def test_a_collector_that_hangs_does_not_hold_a_stop(make_server, model, collector):
    gate = Gate()
    collector.always = hang(gate)
    server = make_server(f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n{FAST}{ALL}")
    server.expect_log(LOST)
    turn(server, model)
    gate.wait_reached()
    server.stop()     # the gate is closed
    gate.open()


# ---- Azure Monitor ----

DCR = "/datacollectionRules/dcr-0123456789abcdef/streams/Microsoft-OTLP-Traces/otlp/v1/traces"


class Authority(Collector):
    """Issues tokens by number, as the identity service of a virtual machine."""

    def _respond(self, connection, method, target, headers, body):
        self.exports.append((target, headers))
        text = json.dumps({"access_token": f"{SECRET}-{len(self.exports)}", "expires_in": "3600", "token_type": "Bearer"}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        return True


@pytest.mark.skipif(not PROTOC, reason=NO_PROTOC)
def test_azure_monitor_gets_protobuf_with_a_token(make_server, model, collector):
    """A data collection endpoint: a token once, 204, 429, a part refused, and a token that has been revoked."""
    authority = Authority()
    collector.answers = [reply(401), reply(429, Retry_After="1"), reply(204),
                         reply(200, b"\x0a\x02\x08\x01")]     # ExportTraceServiceResponse {partial_success {rejected_spans: 1}}
    server = make_server(f"AgentChatTelemetry otlp {collector.url}{DCR} credential=identity:managed\n{ALL}{PLACE}"
                         "AgentChatTelemetryBatch delay=5min\n",
                         env={"IDENTITY_ENDPOINT": f"{authority.url}/token", "IDENTITY_HEADER": "of-the-service"})
    server.expect_log(LOST + ".*status 429", LOST + ".*accepted a batch without 1 items of it")
    turn(server, model)
    before = server.children()
    server.graceful()
    server.wait_gone(before)
    first, again = collector.wait_exports(2)[:2]
    assert (first.target, first.headers["content-type"]) == (DCR, "application/x-protobuf")
    assert "invoke_agent assistant" in first.text()
    assert first.body == again.body
    assert first.headers["authorization"] == f"Bearer {SECRET}-1"
    assert again.headers["authorization"] == f"Bearer {SECRET}-2"
    assert all("resource=https%3A%2F%2Fmonitor.azure.com" in target for target, _ in authority.exports)
    assert SECRET not in server.log()
    authority.stop()
