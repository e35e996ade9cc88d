# SPDX-License-Identifier: Apache-2.0
"""The trace of a real turn, as a collector gets it. TRACE_SHOW=1 with pytest -s prints its tree."""
import os
import secrets

import pytest

from collector import Collector, attributes
from model_server import Gate, ModelServer, Reply, answer, calls
from runs import holding, wait_until
from scripted_server import ScriptedServer
from server import load

CONFIGURATION = """
AgentChatTelemetry otlp {collector} protocol=json signals=traces
AgentChatTelemetryBatch delay=10ms
<AgentChatModel first>
    AgentChatProvider openai
    AgentChatEndpoint {first}/v1 model=first-1
    AgentChatRetries 1
    AgentChatPrice input=1.00 output=2.00 currency=USD
    AgentChatFallback second
</AgentChatModel>
<AgentChatModel second>
    AgentChatProvider openai
    AgentChatEndpoint {second}/v1 model=second-1
    AgentChatPrice input=1.00 output=2.00 currency=USD
</AgentChatModel>
<AgentChatTool item>
    AgentChatToolURL {tools}/items/{{id}}
    AgentChatToolDescription "Shows an item"
    AgentChatToolParameters {parameters}
    AgentChatToolAllowPrivate on
</AgentChatTool>
<AgentChatAgent helper>
    AgentChatModel first
    AgentChatTools item
</AgentChatAgent>
<AgentChatTool asked_item>
    AgentChatToolURL {tools}/items/{{id}}
    AgentChatToolDescription "Shows an item"
    AgentChatToolParameters {parameters}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent asking>
    AgentChatModel first
    AgentChatTools asked_item
</AgentChatAgent>
"""
PARAMETERS = r'"{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"}},\"required\":[\"id\"]}"'
WORDS = "planted-words-of-a-person"


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture
def second():
    server = ModelServer()
    yield server
    server.stop()


class ToolServer(ScriptedServer):
    """Keeps the headers of each request."""

    def __init__(self):
        self.headers = []
        super().__init__()

    def _respond(self, connection, _method, _target, headers, _body):
        self.headers.append(headers)
        body = b'{"item":"planted-result"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True


@pytest.fixture
def tools():
    server = ToolServer()
    yield server
    server.stop()


@pytest.fixture
def start(make_server, model, second, tools, collector):
    def start(directives="", **options):
        return make_server(CONFIGURATION.format(collector=collector.url, first=model.url, second=second.url, tools=tools.url,
                                                parameters=PARAMETERS) + directives, **options)
    return start


def status(number, **headers):
    return lambda _request: iter([Reply(number, {"error": {"message": "no", "code": "x"}}, headers)])


def begun(span):
    return int(span["startTimeUnixNano"])


class Trace:
    """The context of a client, and the spans of its trace."""

    def __init__(self, collector, flags="01"):
        self.collector, self.id, self.span = collector, secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.id}-{self.span}-{flags}", "tracestate": "vendor=1"}

    def spans(self):
        return [span for span in self.collector.spans() if span["traceId"] == self.id]

    def wait(self, *names):
        """All spans, when there are some of these names."""
        def found():
            spans = self.spans()
            return spans if set(names) <= {span["name"] for span in spans} else None
        return wait_until(found, f"the spans {names} did not come")

    def tree(self, spans):
        """(depth, span) of each, in the order of their beginnings."""
        shown, known = [], {span["spanId"] for span in spans}

        def below(parent, depth):
            for span in sorted(spans, key=begun):
                if span.get("parentSpanId", "") == parent:
                    shown.append((depth, span))
                    below(span["spanId"], depth + 1)
        for root in sorted({span.get("parentSpanId", "") for span in spans} - known):
            below(root, 0)
        return shown


def show(tree):
    """The whole trace, for people."""
    begin = min(int(span["startTimeUnixNano"]) for _, span in tree)
    lines = []
    for depth, span in tree:
        of = attributes(span)
        took = (int(span["endTimeUnixNano"]) - begun(span)) / 1e6
        more = [f"{name.split('.', 1)[1]}={of[name]}" for name in SHOWN if name in of]
        after = (begun(span) - begin) / 1e6
        lines.append(f"{after:9.2f} ms {took:8.2f} ms  {'  ' * depth}{span['name']}  {' '.join(more)}")
    return "\n".join(lines)


SHOWN = ["http.response.status_code", "http.request.resend_count", "gen_ai.response.model", "gen_ai.usage.input_tokens",
         "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons", "gen_ai.tool.call.id",
         "agentchat.tool.outcome", "agentchat.cost", "agentchat.run.status", "error.type"]


def one(spans, name):
    found, = [span for span in spans if span["name"] == name]
    return found


def test_a_turn_with_two_tools_a_retry_and_a_fallback(start, model, second, tools, collector):
    server = start()
    server.expect_log("AC0542")
    trace = Trace(collector)
    model.play(status(503, **{"retry-after-ms": "1"}), calls(("item", {"id": "a"}), ("item", {"id": "b"})), status(401))
    second.play(answer("Hello"))
    stream = server.client.stream("/agents/helper/chat", {"message": WORDS}, headers=trace.headers)
    events = stream.rest()
    thread = events[0].json["thread_id"]
    spans = trace.wait("POST /api/agents/{id}/chat", "invoke_agent helper")
    tree = trace.tree(spans)
    if os.environ.get("TRACE_SHOW"):
        print("\n" + show(tree))
    request, run = one(spans, "POST /api/agents/{id}/chat"), one(spans, "invoke_agent helper")
    assert request["parentSpanId"] == trace.span and run["parentSpanId"] == request["spanId"]
    below = [span for span in spans if span["parentSpanId"] == run["spanId"]]
    attempts = sorted((span for span in below if span["name"].startswith("chat")), key=begun)
    assert [(span["name"], attributes(span).get("error.type"), attributes(span).get("http.response.status_code"),
             attributes(span).get("http.request.resend_count")) for span in attempts] == [
        ("chat first-1", "model_error", 503, None), ("chat first-1", None, None, 1),
        ("chat first-1", "model_refused", 401, None), ("chat second-1", None, None, None)]
    calls_made = [span for span in below if span["name"] == "execute_tool item"]
    assert sorted(attributes(span)["gen_ai.tool.call.id"] for span in calls_made) == ["call_1", "call_2"]
    for span in calls_made:
        http, = [child for child in spans if child["parentSpanId"] == span["spanId"]]
        assert http["name"] == "GET"
        assert f"00-{trace.id}-{http['spanId']}-01" in [headers["traceparent"] for headers in tools.headers]
    asked = [r.headers["traceparent"] for r in model.requests + second.requests]
    assert asked == [f"00-{trace.id}-{span['spanId']}-01" for span in attempts]
    assert {r.headers["tracestate"] for r in model.requests + second.requests} == {"vendor=1"} == {h["tracestate"] for h in tools.headers}
    mine = attributes(run)
    assert mine["gen_ai.conversation.id"] == thread and mine["agentchat.run.status"] == "completed"
    assert mine["gen_ai.usage.input_tokens"] == sum(attributes(span).get("gen_ai.usage.input_tokens", 0) for span in attempts)
    assert attributes(request)["http.response.status_code"] == 200 and attributes(request)["http.route"] == "/api/agents/{id}/chat"
    everything = "".join(str(export.json) for export in collector.exports)
    assert WORDS not in everything and "planted-result" not in everything and "Hello" not in everything


def links(span):
    return [(link["traceId"], link["spanId"]) for link in span.get("links", [])]


def test_an_approved_run_is_below_the_request_that_approved_it(start, model, collector):
    server = start()
    model.play(calls(("asked_item", {"id": "a"})), answer("Done"))
    first, second = Trace(collector), Trace(collector)
    stream = server.client.stream("/agents/asking/chat", {"message": WORDS}, headers=first.headers)
    run = stream.next().json["run_id"]
    while not stream.next().json.get("approval_required"):
        pass
    response = server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}, headers=second.headers)
    assert response.status == 202, response
    stream.until("done")
    earlier = one(first.wait("invoke_agent asking", "POST /api/agents/{id}/chat"), "invoke_agent asking")
    spans = second.wait("invoke_agent asking", "POST /api/runs/{id}/approvals")
    later = one(spans, "invoke_agent asking")
    assert attributes(earlier)["agentchat.run.status"] == "awaiting_approval"
    assert attributes(later)["agentchat.run.status"] == "completed" and attributes(later)["agentchat.run.id"] == run
    assert later["parentSpanId"] == one(spans, "POST /api/runs/{id}/approvals")["spanId"]
    assert links(later) == [(first.id, earlier["spanId"])]
    assert one(spans, "execute_tool asked_item")["parentSpanId"] == later["spanId"]


def test_a_request_that_follows_a_run_is_linked_to_it(start, model, collector):
    server, gate = start(), Gate()
    model.play(holding(gate))
    leaver, follower = Trace(collector), Trace(collector)
    stream = server.client.stream("/agents/helper/chat", {"message": WORDS}, headers=leaver.headers)
    run = stream.next().json["run_id"]
    gate.wait_reached()
    other = server.client.stream(f"/runs/{run}/events", method="GET", headers=follower.headers)
    other.next()
    stream.close()
    gate.open()
    other.until("done")
    span = one(leaver.wait("invoke_agent helper"), "invoke_agent helper")
    request = one(follower.wait("GET /api/runs/{id}/events"), "GET /api/runs/{id}/events")
    assert links(request) == [(leaver.id, span["spanId"])]
    assert attributes(request)["agentchat.run.id"] == run and attributes(request)["agentchat.stream.outcome"] == "sent"
    left = one(leaver.wait("POST /api/agents/{id}/chat"), "POST /api/agents/{id}/chat")
    assert attributes(left)["agentchat.stream.outcome"] == "disconnected"


def test_a_client_that_leaves_cancels_its_run(start, model, collector):
    server, gate, trace = start('<Location "/api">\nAgentChatOnDisconnect cancel\n</Location>\n'), Gate(), Trace(collector)
    model.play(holding(gate))
    stream = server.client.stream("/agents/helper/chat", {"message": WORDS}, headers=trace.headers)
    gate.wait_reached()
    stream.close()
    spans = trace.wait("invoke_agent helper", "POST /api/agents/{id}/chat")
    gate.open()
    assert attributes(one(spans, "invoke_agent helper"))["agentchat.run.status"] == "cancelled"
    assert attributes(one(spans, "chat first-1"))["error.type"] == "cancelled"


def test_requests_without_a_run(start, collector):
    server, trace = start(), Trace(collector)
    assert server.client.get("/health", headers=trace.headers).status == 200
    assert server.client.get("/nothing?word=" + WORDS, headers=trace.headers).status == 404
    assert server.client.get("/threads/thread_00000000000000000000000000", headers=trace.headers).status == 404
    assert server.client.get("/threads?limit=0", headers=trace.headers).status == 400
    spans = trace.wait("GET", "GET /api/threads/{id}", "GET /api/threads")
    assert {span["name"] for span in spans if span["kind"] == 2} == {"GET", "GET /api/threads/{id}", "GET /api/threads"}
    unknown = attributes(one(spans, "GET"))
    assert unknown["url.path"] == "/api/nothing" and unknown["http.response.status_code"] == 404 and "http.route" not in unknown
    assert all("error.type" not in attributes(span) for span in spans)
    assert WORDS not in "".join(str(export.json) for export in collector.exports)


def test_a_request_that_is_not_sampled(start, model, collector):
    server, trace, last = start(), Trace(collector, "00"), Trace(collector)
    model.play(answer("Hello"))
    assert server.client.post("/agents/helper/chat", {"message": WORDS, "stream": False}, headers=trace.headers).status == 200
    assert model.requests[-1].headers["traceparent"] == trace.headers["traceparent"]
    server.client.get("/threads", headers=last.headers)
    last.wait("GET /api/threads")
    assert not trace.spans()


def test_the_span_of_mod_otel_is_the_parent(start, model, collector):
    trace = Trace(collector)
    server = start(load("env") + f"\nSetEnv OTEL_TRACEID {trace.id}\nSetEnv OTEL_SPANID {trace.span}\nSetEnv OTEL_TRACEFLAGS 01\n")
    model.play(answer("Hello"))
    assert server.client.post("/agents/helper/chat", {"message": WORDS, "stream": False}).status == 200
    spans = trace.wait("invoke_agent helper")
    assert one(spans, "invoke_agent helper")["parentSpanId"] == trace.span
    assert not [span for span in spans if span["kind"] == 2]


@pytest.mark.parametrize("content", ["tools", "all"])
def test_contents_and_earlier_names(start, model, tools, collector, content):
    server, trace = start(f"AgentChatTraceContent {content}\nAgentChatTraceNames both\n"), Trace(collector)
    model.play(calls(("item", {"id": "a"})), answer("the-answer"))
    assert server.client.post("/agents/helper/chat", {"message": WORDS, "stream": False}, headers=trace.headers).status == 200
    spans = trace.wait("invoke_agent helper", "POST /api/agents/{id}/chat")
    tool, chat = one(spans, "execute_tool item"), [span for span in spans if span["name"] == "chat first-1"][-1]
    assert attributes(tool)["gen_ai.tool.call.arguments"] == '{"id":"a"}'
    assert "planted-result" in attributes(tool)["gen_ai.tool.call.result"]
    assert (WORDS in attributes(chat).get("gen_ai.input.messages", "")) == (content == "all")
    assert ("the-answer" in attributes(chat).get("gen_ai.output.messages", "")) == (content == "all")
    assert attributes(chat)["gen_ai.system"] == attributes(chat)["gen_ai.provider.name"] == "openai"


def test_the_context_is_passed_on_without_telemetry(make_server, model, collector):
    server, trace = make_server(), Trace(collector)
    model.play(answer("Hello"))
    assert server.client.post("/agents/assistant/chat", {"message": WORDS, "stream": False}, headers=trace.headers).status == 200
    assert model.requests[-1].headers["traceparent"] == trace.headers["traceparent"]
    assert model.requests[-1].headers["tracestate"] == "vendor=1"
