# SPDX-License-Identifier: Apache-2.0
"""Application Insights by its connection string: what is sent, and what each answer causes."""
import json
from datetime import datetime, timedelta, timezone

import pytest

from collector import Collector, attributes
from cosmos_stores import ENV, store
from model_server import Reply, answer, calls
from peers import node
from runs import CHILDREN, wait_until
from server import TOP, Server
from telemetry_sink import KEY, Sink, reply
from test_logs import TRACEPARENT
from test_telemetry import SECRET, Authority
from test_trace_context import Service

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


# ---- the vendor's exporter ----

CONVERSATION = """
<AgentChatModel priced>
    AgentChatProvider openai
    AgentChatEndpoint {model}/v1 model=priced-1
    AgentChatRetries 1
    AgentChatPrice input=0.01 output=0.02 currency=USD
</AgentChatModel>
<AgentChatTool look_up>
    AgentChatToolURL {tool}/items/{{id}}
    AgentChatToolDescription "Looks an item up"
    AgentChatToolParameters '{{"type": "object", "properties": {{"id": {{"type": "string"}}}}}}'
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent looker>
    AgentChatModel priced
    AgentChatTools look_up
</AgentChatAgent>
AgentChatTelemetryResource service.name support-chat
AgentChatTelemetryResource service.namespace shop
AgentChatTelemetryResource service.version 7
AgentChatTelemetryBatch delay=5min
AgentChatTraceSampler always_on
"""


def microseconds(text):
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)


def is_model_call(span):
    return "gen_ai.provider.name" in span and span["gen_ai.operation.name"] == "chat"


# Where an envelope may differ: the path of a member, and whether (ours, theirs, attributes of the span) is the difference that the
# manual states, with its reason, in these words. None: the member is not there.
DIFFERENCES = [
    # The exporter computes with floating point numbers, and may so lose a whole millisecond.
    (("time",), lambda a, b, _: 0 <= microseconds(a) - microseconds(b) <= 1000,
     "since the parts of a turn may be less than a millisecond apart"),
    (("data", "baseData", "properties", "error.type"), lambda a, b, span: b is None and a == span["error.type"],
     "where queries by cause look for it"),
    (("data", "baseData", "type"), lambda a, b, span: is_model_call(span) and (a, b) == ("GenAI | openai", "Dependency"),
     "so that queries find model calls by it"),
    (("data", "baseData", "target"), lambda a, b, span: is_model_call(span) and (a, b) == (span["server.address"], None),
     "which would not be shown otherwise"),
    (("data", "baseData", "resultCode"), lambda a, b, span: b == "0" and "http.request.method" not in span and
     a == str(span.get("http.response.status_code") or span["db.response.status_code"]), "so that a 429 is seen"),
    (("data", "baseData", "name"), lambda a, b, span: span.get("url.template") and
     a == b.replace("%7B", "{").replace("%7D", "}"), "as the configuration has it"),
    (("tags", "ai.internal.sdkVersion"), lambda a, b, _: a.startswith("agentchat:") and "ext" in b,
     "since the exporter did not write the rows"),
    (("data", "baseData", "measurements"), lambda a, b, _: (a, b) == (None, {}), "they have nothing that the rows do not have"),
]


def unexplained(ours, theirs, span):
    """(path, ours, theirs) of the members that differ otherwise than DIFFERENCES says."""
    ours, theirs = flat(ours), flat(theirs)
    return [(path, ours.get(path), theirs.get(path)) for path in {**ours, **theirs} if ours.get(path) != theirs.get(path) and
            not any(path == there and may(ours.get(path), theirs.get(path), span) for there, may, _ in DIFFERENCES)]


def flat(value, path=()):
    """{(name, inner name, …): value} of all members."""
    if isinstance(value, dict) and value:
        return {way: member for name, inner in value.items() for way, member in flat(inner, (*path, name)).items()}
    return {path: value}


@pytest.mark.parametrize("on", ["sqlite", "cosmos"])
@pytest.mark.parametrize("names", ["", "AgentChatTraceNames both\nAgentChatTraceContent all\n"], ids=["newest", "both"])
def test_envelopes_are_those_of_the_vendors_exporter(make_server, model, sink, cosmos, tmp_path, on, names):
    collector, service = Collector(), Service()
    server = make_server(CONVERSATION.format(model=model.url, tool=service.url) + names + (store(cosmos) if on == "cosmos" else "") +
                         f'AgentChatTelemetry appinsights "{string(sink)}" signals=traces\n'
                         f"AgentChatTelemetry otlp {collector.url} signals=traces protocol=json\n", env=ENV)
    service.answers = [(503, {"retry-after-ms": "1"})]
    model.play(lambda _request: iter([Reply(503, {"error": {"message": "no"}}, {"retry-after-ms": "1"})]),
               calls(("look_up", {"id": "an item/ä"})), answer("Hello", prompt=100, completion=20))
    headers = {**TRACEPARENT, "User-Agent": "client/1.0"}
    stream = server.client.stream("/agents/looker/chat", {"message": "x"}, headers=headers)
    run = stream.next().json["run_id"]
    while not stream.next().json.get("approval_required"):
        pass
    assert server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}).status == 202
    stream.until("done")
    assert server.client.get("/nothing?word=x").status == 404
    server.stop()     # and so everything is sent
    spans, document = collector.spans(), collector.exports[0].json
    document["resourceSpans"][0]["scopeSpans"][0]["spans"] = spans
    file = tmp_path / "spans.json"
    file.write_text(json.dumps(document))
    resource, *theirs = json.loads(node("appinsights.mjs", str(file), string(sink)))
    assert base(resource)["metrics"] == [{"name": "_OTELRESOURCE_", "value": 1}]
    ours, theirs = ({base(one)["id"]: one for one in envelopes} for envelopes in (sink.envelopes(), theirs))
    spans = {span["spanId"]: attributes(span) for span in spans}
    assert set(ours) == set(theirs) == set(spans)
    assert not [(base(ours[id])["name"], *found) for id in ours for found in unexplained(ours[id], theirs[id], spans[id])]
    # Each kind of row is among them, with what is rare.
    assert {base(one)["type"] for one in ours.values() if "type" in base(one)} == {
        "GenAI | openai", "InProc", "Http", "SQL" if on == "sqlite" else "azure.cosmosdb"}
    assert {base(one)["responseCode"] for one in ours.values() if "responseCode" in base(one)} == {"200", "202", "404"}
    assert {"error.type", "_MS.links", "agentchat.cost"} <= {name for one in ours.values() for name in base(one)["properties"]}
    assert "client/1.0" in [one["tags"].get("ai.user.userAgent") for one in ours.values()]
    collector.stop(), service.stop()


def test_the_manual_gives_the_reason_of_each_difference():
    text = " ".join((TOP / "docs/application-insights.md").read_text().partition("## Differences")[2].split())
    assert not [reason for _, _, reason in DIFFERENCES if reason not in text]


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


MONITOR = "https%3A%2F%2Fmonitor.azure.com"


@pytest.mark.parametrize("text, how, variables, asked", [
    ("", "credential=identity:managed", {}, [f"resource={MONITOR}&"]),
    (";AADAudience=https://monitor.azure.us/", "credential=identity:managed", {}, ["resource=https%3A%2F%2Fmonitor.azure.us&"]),
    ("", "", {"APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "Authorization=AAD;ClientId=of-a-user"},
     [f"resource={MONITOR}&", "client_id=of-a-user&"]),
], ids=["directive", "audience", "variable"])
def test_an_identity_gets_a_token(make_server, model, sink, text, how, variables, asked):
    """And another one when the service refuses the first."""
    authority = Authority()
    sink.answers.append(reply(401))
    server = make_server(f'AgentChatTelemetry appinsights {how} signals=traces\n{FAST}', env={
        "APPLICATIONINSIGHTS_CONNECTION_STRING": string(sink) + text, "IDENTITY_ENDPOINT": f"{authority.url}/token",
        "IDENTITY_HEADER": "of-the-service", **variables})
    chat(server, model)

    def tokens(sink):
        """Of the refused batch, both times."""
        found = [headers.get("authorization") for _, headers, documents in sink.sent if documents == sink.sent[0][2]]
        return found if len(found) > 1 else None
    first, second = sink.wait(tokens, "the refused batch did not come again")
    assert first.startswith(f"Bearer {SECRET}-") and second.startswith(f"Bearer {SECRET}-") and first != second
    assert all(part in target + "&" for target, _ in authority.exports for part in asked)
    assert SECRET not in server.log()
    authority.stop()


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
