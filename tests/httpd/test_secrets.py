# SPDX-License-Identifier: Apache-2.0
"""What an operator gets to see has no secrets, and people's words only where a directive allows it: logs, the audit log,
notes of the access log, metrics, server-status, and the spans, metrics and log messages that a collector and Application Insights get."""
import json

import pytest

from client import Client
from key_file import KeyFile, bearer
from metrics import PLACE, read
from model_server import Cut, Reply, answer, calls, head
from otlp_collector import Collector
from runs import wait_until
from telemetry_sink import Sink, attributes
from test_app_insights import base, string, total
from test_audit_log import MODULES
from test_logs import ACCESS, JSON, objects
from test_trace_context import Service

CONFIGURATION = """
<AgentChatModel secretive>
    AgentChatProvider openai
    AgentChatEndpoint {model} model=secretive-1
    AgentChatCredential env:MODEL_KEY
    AgentChatRetries 1
    AgentChatBreaker off
</AgentChatModel>
<AgentChatTool look_up>
    AgentChatToolURL "{tool}/of/{{place}}?word={{word}}"
    AgentChatToolDescription "Looks up"
    AgentChatToolParameters '{{"type": "object", "properties": {{"place": {{"type": "string"}}, "word": {{"type": "string"}}}}}}'
    AgentChatToolHeader X-Key %{{secret}} secret=env:TOOL_KEY
    AgentChatToolAllowPrivate on
</AgentChatTool>
<AgentChatAgent clerk>
    AgentChatModel secretive
    AgentChatInstructions "planted-instructions"
    AgentChatTools look_up
</AgentChatAgent>
ExtendedStatus on
<Location "/server-status">
    SetHandler server-status
</Location>
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName keys
    AgentChatKeys "{keys}"
    Require valid-user
</Location>
"""
ENV = {"MODEL_KEY": "planted-model-key", "TOOL_KEY": "planted-tool-key", "COLLECTOR_KEY": "planted-collector-key"}
# These are never shown, whatever is configured: keys, what identifies a sign-in, and what is in a query.
SECRETS = ["planted-model-key", "planted-tool-key", "planted-collector-key", "planted-bearer", "planted-cookie", "planted-idempotency",
           "planted-query", "planted-word", "planted-header", "planted-reason", "planted-metadata", "planted-title"]
OF_TOOLS = ["planted-place", "planted-result"]                              # arguments and results
WORDS = ["planted-question", "planted-answer", "planted-instructions"]      # prompts and answers
PLANTED = SECRETS + OF_TOOLS + WORDS
# The attributes of spans that have contents, and the words that each of them may have, at each AgentChatTraceContent. A word of a call's
# arguments is a part of them, also where it is in the query of the call; the URL that is shown has the path only.
ARGUMENTS = {"planted-place", "planted-word"}
PATH = {"planted-place"}
TOOL_FIELDS = {"gen_ai.tool.call.arguments": ARGUMENTS, "gen_ai.tool.call.result": {"planted-result"}, "url.full": PATH}
FIELDS = {"none": {}, "tools": TOOL_FIELDS, "all": {
    **TOOL_FIELDS, "gen_ai.system_instructions": {"planted-instructions"},
    "gen_ai.input.messages": {"planted-question", "planted-answer", "planted-result", *ARGUMENTS},
    "gen_ai.output.messages": {"planted-answer", *ARGUMENTS}}}


def provoke(server, model, tool, key):
    """One of everything that has words in it, with successes and failures."""
    client = server.client
    headers = {**bearer(key), "Cookie": "session=planted-cookie", "Idempotency-Key": "planted-idempotency-1", "X-Other": "planted-header",
               "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    thread = client.post("/threads", {"title": "planted-title", "metadata": {"a": "planted-metadata"}}, headers=headers).json["id"]
    path = f"/threads/{thread}/messages"

    def ask(number, **more):
        body = {"content": "planted-question", "stream": False, "agent_id": "clerk", **more}
        return client.post(path + "?planted-query=planted-query", body,
                           headers={**headers, "Idempotency-Key": f"planted-idempotency-{number}"})
    call = calls(("look_up", {"place": "planted-place", "word": "planted-word"}), said="planted-answer")
    tool.answers = [(200, {}), (500, {"X-Why": "planted-result"}), (302, {"Location": tool.url + "/of/planted-place?a=planted-query"})]
    model.play(call, answer("planted-answer"))
    statuses = [client.post("/agents/clerk/chat", {"message": "planted-question", "stream": False}, headers=headers).status]
    model.play(call, answer("planted-answer"))
    stream = client.stream("/agents/clerk/chat", {"message": "planted-question"},
                           headers={**headers, "Idempotency-Key": "planted-idempotency-s"})
    stream.rest()
    stream.close()
    model.play(call, answer("planted-answer"))
    statuses.append(client.post("/agents/clerk/chat", {"message": "planted-question", "stream": False},
                                headers={**headers, "Idempotency-Key": "planted-idempotency-2"}).status)
    assert statuses == [200, 200]
    def cut(_request):
        yield head()
        yield Cut()
    for failure in (Reply(400, {"error": {"message": "planted-answer planted-model-key"}}), cut,
                    Reply(401, {"error": {"message": "planted-model-key is wrong"}})):
        model.play(failure, failure)
        ask(len(tool.requests) + len(model.requests))
    client.post("/agents/clerk/chat?planted-query=1", {"message": {"planted-question": 1}}, headers=headers)
    client.get(f"{path}?order=planted-query", headers=headers)
    client.get("/threads", headers={"Authorization": "Bearer ack_ann_planted-bearer"})
    client.get("/threads", headers={"Authorization": "Basic planted-bearer"})
    client.get("/threads/thread_none?planted-query", headers=headers)
    client.delete(f"/threads/{thread}", headers=headers)


@pytest.fixture
def watched(make_server, model):
    """Makes a server with everything on that writes or sends something, and what it asks."""
    made = []

    def make(content, protocol="json"):
        collector, sink, tool = Collector(), Sink(), Service("planted-result")
        made.extend((collector, sink, tool))
        server = make_server(PLACE + ACCESS + JSON + "AgentChatAuditLog logs/audit.log\nLogLevel agentchat:trace1\n" +
                             collector.directive(protocol) + f"AgentChatTraceContent {content}\n" +
                             f"AgentChatTelemetry otlp {sink.url} protocol=json signals=metrics,logs credential=env:COLLECTOR_KEY\n" +
                             f'AgentChatTelemetry appinsights "{string(sink)}"\n' +
                             "AgentChatTelemetryMetrics interval=50ms\nAgentChatTelemetryLogs info\n", start=False, env=ENV,
                             modules=(*MODULES, "status"))
        keys = KeyFile(server.root / "keys")
        server.key = keys.make("ann", "owner=ann")
        server.conf.write_text(server.conf.read_text() + CONFIGURATION.format(model=model.url, tool=tool.url, keys=keys.path))
        server.expect_log("AC0502", "AC0503", "AC0540")
        server.start()
        server.client.prefix = "/keys"
        return server, collector, sink, tool
    yield make
    for one in made:
        one.stop()


def logs(server):
    return {file.name: file.read_bytes().decode() for file in (server.root / "logs").iterdir() if file.is_file()}


def shown(server):
    """All that the server has written, and what it shows at its places, each with a name."""
    texts = logs(server)
    texts["metrics"] = read(server).text
    place = Client(server.port, prefix="")
    # Above that headline httpd itself shows requests with their queries.
    page = place.get("/server-status").body.decode().split("<h2>AgentChat</h2>")[1]
    texts["server-status"] = page + place.get("/server-status?auto").body.decode()
    return texts


def leaves(value, path=()):
    """(path of names, text) of all that a document has; an attribute of OTLP counts as a member with its name."""
    if isinstance(value, dict):
        for name, inner in [(value["key"], value["value"])] if value.keys() == {"key", "value"} else value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, str(value)


def planted(documents, fields):
    """The words in these fields; any other planted word, or one elsewhere, fails the test."""
    found = set()
    for path, text in (leaf for document in documents for leaf in leaves(document)):
        words = {word for word in PLANTED if word in text}
        assert words <= fields.get(path[-2 if path[-1] == "stringValue" else -1], set()), (path, text)
        assert not any(word in name for word in PLANTED for name in path), path
        found |= words
    return found


def wait_sent(server, collector, sink):
    """Until every destination has every signal of the runs; then until all is sent."""
    wait_until(lambda: len([line for line in objects(server) if line.get("number") == "AC0504"]) >= 6, "a run has no line")
    collector.wait_spans(lambda spans: sum(span.name.startswith("invoke_agent") for span in spans) >= 6 and
                         sum(span.name.startswith("execute_tool") for span in spans) >= 3)
    wait_signals(sink)


def wait_signals(sink):
    sink.wait(lambda s: s.newest("agentchat.runs_started") >= 6, "the collector was not sent the metrics")
    sink.wait(lambda s: sum(attributes(record).get("agentchat.log.number") == "AC0504" for record in s.records()) >= 6,
              "the collector was not sent the log messages")
    def named(kind, name):
        return sum(base(one)["name"].startswith(name) for one in sink.envelopes(kind))
    sink.wait(lambda s: named("RemoteDependency", "invoke_agent") >= 6 and named("RemoteDependency", "execute_tool") >= 3,
              "Application Insights was not sent the spans")
    sink.wait(lambda s: total(s, "agentchat.runs_started") >= 6, "Application Insights was not sent the metrics")
    sink.wait(lambda s: sum(base(one)["properties"].get("agentchat.log.number") == "AC0504" for one in s.envelopes("Message")) >= 6,
              "Application Insights was not sent the log messages")


@pytest.mark.parametrize("content", ["none", "tools", "all"])
def test_nothing_shows_secrets_and_words_only_go_where_they_may(watched, model, content):
    server, collector, sink, tool = watched(content)
    provoke(server, model, tool, server.key)
    wait_sent(server, collector, sink)
    texts = shown(server)
    server.stop()       # and so everything is sent
    texts.update(logs(server))
    assert {"agentchat.log", "audit.log", "notes.log", "error.log"} <= set(texts)
    for name, text in texts.items():
        for word in PLANTED:
            assert word not in text or name == "access.log", (name, word)
    fields = FIELDS[content]
    allowed = set().union(*fields.values())
    spans = [json.loads(body) for path, body in collector.bodies if path == "/v1/traces"]
    assert planted(spans, fields) == allowed
    # Application Insights has the URL in columns of the row.
    columns = {"name": PATH, "data": PATH} if "url.full" in fields else {}
    assert planted(sink.envelopes("RemoteDependency"), {**fields, **columns}) == allowed
    # No other signal has contents, whatever the directive says.
    others = [json.loads(body) for path, body in collector.bodies if path != "/v1/traces"]
    others += [one for one in sink.envelopes() if not one["name"].endswith(".RemoteDependency")]
    others += [*sink.documents("/v1/metrics"), *sink.documents("/v1/logs")]
    assert {one["name"].rpartition(".")[2] for one in others if "name" in one} == {"Request", "Metric", "Message"}
    assert not planted(others, {})
    # The collector's key is in its own header only.
    for target, headers, _ in sink.sent:
        assert headers.pop("authorization", None) == (None if target == "/v2.1/track" else "Bearer planted-collector-key")
        assert not planted([{**headers, "path": target}], {})
    assert server.key.rsplit("_", 1)[1] not in str(collector.bodies) + str(sink.sent) + "".join(texts.values())


@pytest.mark.parametrize("content", ["none", "all"])
def test_protobuf_bodies_have_no_secrets_either(watched, model, content):
    server, collector, _, tool = watched(content, protocol="protobuf")
    provoke(server, model, tool, server.key)

    def sent(signal):
        return b"".join(body for path, body in list(collector.bodies) if path == f"/v1/{signal}")
    for signal, name in (("traces", b"invoke_agent"), ("logs", b"AC0504")):
        wait_until(lambda: sent(signal).count(name) >= 6, f"the {signal} do not come")
    wait_until(lambda: b"agentchat.runs_started" in sent("metrics"), "the metrics do not come")
    server.stop()       # and so everything is sent
    allowed = set().union(*FIELDS[content].values())
    for word in PLANTED:
        assert (word.encode() in sent("traces")) == (word in allowed), word
        assert word.encode() not in sent("metrics") + sent("logs"), word
