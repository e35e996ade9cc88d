# SPDX-License-Identifier: Apache-2.0
"""Log messages by OTLP: those of the level that is wanted, with what they are about, and none about telemetry itself."""
import pytest

from collector import NO_PROTOC, PROTOC, decode, read_text, text_attributes, unknown_fields
from model_server import Reply, answer
from runs import wait_until
from telemetry_sink import Sink, attributes, reply

FAST = "AgentChatTelemetryBatch delay=10ms\n"
TRACE = "0af7651916cd43dd8448eb211c80319c"
FAILING = "AgentChatModelRetries 0\n"


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.stop()


def fail(server, model):
    model.play(*[Reply(400)] * 3)
    response = server.client.post("/agents/assistant/chat", {"message": "planted-words", "stream": False},
                                  headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert response.status >= 400, response


def test_a_warning_arrives_with_what_it_is_about(make_server, model, sink):
    server = make_server(f"AgentChatTelemetry otlp {sink.url} protocol=json signals=logs\n{FAST}")
    server.expect_log("AC0503", "AC0652", "AC0501", "AC0505", "AC0502", "AC0504")
    fail(server, model)
    record = sink.wait(lambda s: next((one for one in s.records() if "agentchat.run.id" in attributes(one)), None), "no message came")
    found = attributes(record)
    assert record["severityNumber"] in (13, 17) and record["severityText"] in ("WARN", "ERROR")
    assert found["agentchat.log.number"].startswith("AC") and not record["body"]["stringValue"].startswith("AC")
    assert found["agentchat.run.id"].startswith("run_")
    assert record["traceId"] == TRACE
    assert record["timeUnixNano"] == record["observedTimeUnixNano"]
    assert "planted-words" not in str(sink.sent)
    assert all(one["severityNumber"] >= 13 for one in sink.records())


def read_protobuf(document):
    """The records of a request, as protoc reads them."""
    text = decode(document, "ExportLogsServiceRequest")
    assert not unknown_fields(text), unknown_fields(text)
    of_resource, = read_text(text)["resource_logs"]
    assert text_attributes(of_resource["resource"][0])["service.name"]
    of_scope, = of_resource["scope_logs"]
    assert of_scope["scope"][0]["name"]
    return of_scope["log_records"]


@pytest.mark.skipif(not PROTOC, reason=NO_PROTOC)
def test_protoc_reads_the_bodies(make_server, model, sink):
    server = make_server(f"AgentChatTelemetry otlp {sink.url} signals=logs\n{FAST}")
    server.expect_log("AC0503", "AC0652", "AC0501", "AC0505", "AC0502", "AC0504")
    fail(server, model)

    def of_run(s):
        records = [record for document in s.documents("/v1/logs") for record in read_protobuf(document)]
        return next((one for one in records if "agentchat.run.id" in text_attributes(one)), None)
    record = sink.wait(of_run, "no message came")
    assert {headers["content-type"] for _, headers, _ in sink.sent} == {"application/x-protobuf"}
    found = text_attributes(record)
    assert (record["severity_number"], record["severity_text"]) in (([13], ["WARN"]), ([17], ["ERROR"]))
    assert found["agentchat.log.number"].startswith("AC") and found["agentchat.run.id"].startswith("run_")
    message, = record["body"][0]["string_value"]
    assert message and not message.startswith("AC") and message in server.log()
    assert record["trace_id"] == [TRACE] and len(record["span_id"][0]) == 16 and record["flags"] == [1]
    assert record["time_unix_nano"] == record["observed_time_unix_nano"] and record["time_unix_nano"][0] > 0
    assert not [document for document in sink.documents("/v1/logs") if b"planted-words" in document]


@pytest.mark.parametrize("level, wanted", [("info", True), ("error", False)])
def test_the_level_is_a_threshold(make_server, model, sink, level, wanted):
    server = make_server(f"AgentChatTelemetry otlp {sink.url} protocol=json signals=logs\nAgentChatTelemetryLogs {level}\n{FAST}")
    model.play(answer("one"))
    assert server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}).status == 200
    server.stop()
    ready = [one for one in sink.records() if attributes(one).get("agentchat.log.number") == "AC0601"]
    assert bool(ready) == wanted
    assert wanted or not sink.records()


def test_a_destination_that_fails_causes_no_further_messages(make_server, model, sink):
    sink.always = reply(400)
    server = make_server(f"AgentChatTelemetry otlp {sink.url} protocol=json signals=logs\nAgentChatTelemetryLogs info\n{FAST}")
    server.expect_log("AC0268")
    wait_until(lambda: "AC0268" in server.log(), "the failure was not logged")
    server.stop()
    assert not [one for one in sink.records() if attributes(one).get("agentchat.log.number") in ("AC0268", "AC0269")]
