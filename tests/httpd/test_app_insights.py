# SPDX-License-Identifier: Apache-2.0
"""Application Insights by its connection string: what is sent, and what each answer causes."""
import pytest

from model_server import answer
from runs import CHILDREN, wait_until
from server import Server
from telemetry_sink import KEY, Sink, reply

FAST = "AgentChatTelemetryBatch delay=10ms\nAgentChatTelemetryMetrics interval=50ms\nAgentChatTraceSampler always_on\n"
ACCEPTED = b'{"itemsReceived":1,"itemsAccepted":1,"errors":[]}'


@pytest.fixture
def sink():
    sink = Sink()
    sink.always = reply(200, ACCEPTED)
    yield sink
    sink.stop()


def string(sink, more=""):
    return f"InstrumentationKey={KEY};IngestionEndpoint={sink.url}/;ApplicationId=x{more}"


def to(sink, more=""):
    return f'AgentChatTelemetry appinsights "{string(sink)}" {more}\n{FAST}'


def chat(server, model):
    model.play(answer("one", prompt=100, completion=20))
    response = server.client.post("/agents/assistant/chat", {"message": "planted-words", "stream": False})
    assert response.status == 200, response


def base(envelope):
    return envelope["data"]["baseData"]


def test_a_turn_as_requests_dependencies_and_metrics(make_server, model, sink):
    server = make_server(to(sink) + "AgentChatTelemetryResource service.name support-chat\n")
    chat(server, model)
    def named(kind, name):
        return sink.wait(lambda s: next((one for one in s.envelopes(kind) if name in base(one)["name"]), None),
                         f"{name} was not sent")
    agent, call = named("RemoteDependency", "invoke_agent"), named("RemoteDependency", "chat ")
    request = named("Request", "/agents/{id}/chat")
    assert agent["iKey"] == KEY and agent["tags"]["ai.cloud.role"] == "support-chat" and agent["tags"]["ai.cloud.roleInstance"]
    assert agent["sampleRate"] == 100
    assert agent["tags"]["ai.operation.id"] == call["tags"]["ai.operation.id"] == request["tags"]["ai.operation.id"]
    assert call["tags"]["ai.operation.parentId"] == base(agent)["id"]
    assert base(agent)["type"] == "InProc" and base(call)["type"].startswith("GenAI | ")
    assert base(agent)["properties"]["gen_ai.agent.id"] == "assistant"
    assert base(call)["properties"]["gen_ai.usage.input_tokens"] == "100"
    assert base(request)["responseCode"] == "200" and base(request)["success"] is True
    assert all(isinstance(value, str) for one in sink.envelopes() for value in base(one)["properties"].values())
    sink.wait(lambda s: sum(metric["value"] for one in s.envelopes("Metric") for metric in base(one)["metrics"]
                            if metric["name"] == "gen_ai.client.inference.usage.input_tokens") == 100, "the tokens were not sent")
    assert all(headers["content-type"] == "application/x-json-stream" for _, headers, _ in sink.sent)
    assert "planted-words" not in str(sink.sent)


def test_the_variable_has_the_connection_string(make_server, model, sink):
    server = make_server("AgentChatTelemetry appinsights signals=traces\n" + FAST,
                         env={"APPLICATIONINSIGHTS_CONNECTION_STRING": string(sink)})
    chat(server, model)
    sink.wait(lambda s: s.envelopes("Request"), "nothing was sent")
    assert set(sink.kinds()) <= {"Request", "RemoteDependency"}


def partial(again):
    """206, with these indexes to send again; the others count as received."""
    def send(sink, connection, sent):
        target, headers, documents = sent
        errors = [f'{{"index":{index},"statusCode":500,"message":"x"}}' for index in again if index < len(documents)]
        with sink.lock:
            sink.sent.remove(sent)
            sink.sent.append((target, headers, [one for index, one in enumerate(documents) if index not in again]))
        return reply(206, f'{{"itemsReceived":{len(documents)},"itemsAccepted":0,"errors":[{",".join(errors)}]}}'.encode())(
            sink, connection, sent)
    return send


def ids(sink):
    return [base(one)["id"] for one in sink.envelopes() if "id" in base(one)]


def test_of_a_partial_answer_only_the_named_ones_come_again(make_server, model, sink):
    server = make_server(to(sink, "signals=traces"))
    server.expect_log("AC0268", "AC0269")
    with sink.lock:
        sink.answers += [partial({0}), partial({0})]
    for _ in range(3):
        chat(server, model)
    sink.wait(lambda s: sum(base(one)["name"].startswith("invoke_agent") for one in s.envelopes("RemoteDependency")) == 3 and
              len(s.envelopes("Request")) >= 3, "an envelope is missing")
    assert len(ids(sink)) == len(set(ids(sink)))


def total(sink, name):
    return sum(metric["value"] for one in sink.envelopes("Metric") for metric in base(one)["metrics"] if metric["name"] == name)


def test_sums_of_metrics_are_exact_whatever_is_answered(make_server, model, sink):
    server = make_server(to(sink, "signals=metrics"), tuning=CHILDREN)
    server.expect_log("AC0268", "AC0269")
    n = 0
    for answers in ([reply(429, drop=True, Retry_After="0")], [partial({0, 1, 2})], [reply(439, drop=True)], [reply(402, drop=True)],
                    [reply(503, b"garbage", drop=True)], []):
        with sink.lock:
            sink.answers += answers
        chat(server, model)
        n += 1
        if not answers:
            server.graceful()
        sink.wait(lambda s: total(s, "agentchat.runs_started") == n and total(s, "gen_ai.client.inference.usage.output_tokens") == 20 * n,
                  f"the sums are not right after {n} turns")


def test_a_redirect_is_followed_and_remembered(make_server, model, sink):
    server = make_server(to(sink, "signals=traces"))
    with sink.lock:
        sink.answers.append(reply(308, drop=True, Location=sink.url + "/elsewhere/v2.1/track"))
    chat(server, model)
    sink.wait(lambda s: s.documents("/elsewhere/v2.1/track"), "the redirect was not followed")
    chat(server, model)
    sink.wait(lambda s: len([one for one in s.documents("/elsewhere/v2.1/track") if one["name"].endswith(".Request")]) >= 2,
              "the redirect was not remembered")
    assert not sink.documents("/v2.1/track")


def test_a_redirect_to_another_host_is_refused(make_server, model, sink):
    other = Sink()
    try:
        server = make_server(to(sink, "signals=traces"))
        server.expect_log("AC0268")
        sink.always = reply(307, drop=True, Location=other.url + "/v2.1/track")
        chat(server, model)
        wait_until(lambda: "AC0268" in server.log(), "the redirect was not refused")
        assert not other.sent
    finally:
        other.stop()


@pytest.mark.parametrize("line, said", [
    ("appinsights", "the variable APPLICATIONINSIGHTS_CONNECTION_STRING, which shall have the connection string, is not set"),
    ('appinsights "InstrumentationKey=planted-key"', "its InstrumentationKey is not of the form"),
    (f'appinsights "InstrumentationKey={KEY};IngestionEndpoint=ftp://h"', "its IngestionEndpoint is not an https address"),
    (f'appinsights "InstrumentationKey={KEY}" colour=red', "'colour' is not a key of this directive"),
    (f'appinsights "InstrumentationKey={KEY}" signals=smoke', "is not one of traces, metrics, logs"),
    (f'appinsights "InstrumentationKey={KEY}" credential=env:PATH', "Application Insights wants a token"),
    ("appinsights planted-key", "the word after appinsights is a connection string in quotes"),
])
def test_configtest_says_what_is_wrong(line, said):
    server = Server(f"AgentChatTelemetry {line}\n")
    try:
        ok, output = server.configtest()
    finally:
        server.stop()
    assert not ok and said in output and "planted-key" not in output.replace(line, "")
