# SPDX-License-Identifier: Apache-2.0
"""Log messages by OTLP: those of the level that is wanted, with what they are about, and none about telemetry itself."""
import pytest

from model_server import Reply, answer
from runs import wait_until
from telemetry_sink import Sink, attributes, reply

FAST = "AgentChatTelemetryBatch delay=10ms\n"
FAILING = "AgentChatModelRetries 0\n"


@pytest.fixture
def sink():
    sink = Sink()
    yield sink
    sink.stop()


def fail(server, model):
    model.play(*[Reply(400)] * 3)
    response = server.client.post("/agents/assistant/chat", {"message": "planted-words", "stream": False},
                                  headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
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
    assert record["traceId"] == "0af7651916cd43dd8448eb211c80319c"
    assert record["timeUnixNano"] == record["observedTimeUnixNano"]
    assert "planted-words" not in str(sink.sent)
    assert all(one["severityNumber"] >= 13 for one in sink.records())


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
