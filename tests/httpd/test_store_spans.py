# SPDX-License-Identifier: Apache-2.0
"""The spans of stores and of tools' requests, as a collector gets them, and how they hang together."""
import pytest

import redis_server
from cosmos_stores import ENV, store
from model_server import answer, calls
from otlp_collector import Collector
from test_logs import TRACE, TRACEPARENT
from test_shared_limits import make_redis, make_sharing  # noqa: F401
from test_trace_context import TOOL, Service


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.stop()


def turn(server):
    """One turn in a thread of its own; the ids of the run and the thread."""
    thread = server.client.thread()
    response = server.client.post(f"/threads/{thread}/messages", {"content": "x", "stream": False}, headers=TRACEPARENT)
    assert response.status == 200
    return response.json["run_id"], thread


def of_run(spans):
    """The one span of the run, and those that are its parts."""
    run, = [span for span in spans if span.name.startswith("invoke_agent")]
    return run, [span for span in spans if span.parent_id == run.span_id]


def ended(spans):
    return any(span.name.startswith("invoke_agent") for span in spans)


def test_a_turn_on_the_embedded_store(make_server, model, collector):
    server = make_server(collector.directive())
    turn(server)
    spans = collector.wait_spans(lambda spans: ended(spans) and any(span["db.operation.name"] == "turn_close" for span in spans))
    run, parts = of_run(spans)
    assert run.trace_id == TRACE and "agentchat.request_charge" not in run.attributes
    stored = {span["db.operation.name"]: span for span in parts if span["db.system.name"]}
    assert {"turn_load", "turn_open", "turn_close"} <= set(stored)
    for name, span in stored.items():
        assert span.name == f"{name} {span['db.namespace']}" and span["db.system.name"] == "sqlite" and span.kind == 3
        assert span.trace_id == TRACE and span["db.namespace"].endswith(".db") and "server.address" not in span.attributes
    assert stored["turn_load"]["db.response.returned_rows"] == 0


def test_a_turn_on_cosmos_db_with_its_request_units(make_server, model, cosmos, collector):
    server = make_server(store(cosmos) + collector.directive(), env=ENV)
    turn(server)
    spans = collector.wait_spans(ended)
    run, parts = of_run(spans)
    stored = [span for span in parts if span["db.system.name"]]
    assert {span["db.query.summary"] for span in stored} >= {"turn_load", "turn_open", "turn_close"}
    for span in stored:
        assert span["db.system.name"] == "azure.cosmosdb" and span["db.namespace"] == "chat" and span.kind == 3
        assert span.name == f"{span['db.operation.name']} {span['db.collection.name']}"
        assert span["azure.cosmosdb.operation.request_charge"] > 0 and span["azure.cosmosdb.connection.mode"] == "gateway"
        assert span["db.response.status_code"].isdigit() and span["server.address"] == "127.0.0.1" and span["server.port"] == cosmos.port
    charge = sum(span["azure.cosmosdb.operation.request_charge"] for span in stored)
    assert run["agentchat.request_charge"] == pytest.approx(charge)
    sent = {headers["traceparent"] for _, _, _, headers in cosmos.requests if TRACE in headers.get("traceparent", "")}
    assert {f"00-{TRACE}-{span.span_id}-01" for span in stored} <= sent


def test_a_tool_gets_the_context_of_its_own_request(make_server, model, collector):
    tool = Service()
    server = make_server(TOOL.format(url=tool.url, more="") + collector.directive())
    tool.answers = [(503, {"retry-after-ms": "1"})]
    model.play(calls(("look_up", {"id": "planted-id", "word": "planted-word"})), answer("ok"))
    assert server.client.post("/agents/looker/chat", {"message": "x", "stream": False}, headers=TRACEPARENT).status == 200
    spans = collector.wait_spans(ended)
    call, = [span for span in spans if span.name == "execute_tool look_up"]
    asked = [span for span in spans if span.parent_id == call.span_id]
    assert [span["http.response.status_code"] for span in asked] == [503, 200]
    assert [span["http.request.resend_count"] for span in asked] == [None, 1]
    assert [headers["traceparent"] for _, headers in tool.requests] == [f"00-{TRACE}-{span.span_id}-01" for span in asked]
    for span in asked:
        assert span.name == "GET" and span["url.template"] == "/items/{id}" and span["url.full"] == f"{tool.url}/items/{{id}}"
    chats = [span for span in spans if span.name.startswith("chat ")]
    assert [request.headers["traceparent"] for request in model.requests] == [f"00-{TRACE}-{span.span_id}-01" for span in chats]
    assert "planted" not in str(spans)
    tool.stop()


@pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server")
def test_limits_in_redis_are_parts_of_their_request(make_redis, make_sharing, model, collector):     # noqa: F811
    redis = make_redis()
    server = make_sharing(redis, "AgentChatLimit requests=100/day\n" + collector.directive())
    assert server.client.get("/threads", headers=TRACEPARENT).status == 200
    spans = collector.wait_spans(lambda spans: {"EVALSHA 0", "GET /api/threads"} <= {span.name for span in spans if span.trace_id == TRACE})
    request, = [span for span in spans if span.kind == 2 and span.trace_id == TRACE]
    reserved, = [span for span in spans if span["db.system.name"] == "redis"]
    assert reserved.parent_id == request.span_id and reserved["db.operation.name"] == "EVALSHA"
    assert (reserved["server.address"], reserved["server.port"]) == ("127.0.0.1", redis.port)


def test_the_operations_of_other_requests_are_theirs(make_server, model, collector):
    server = make_server(collector.directive())
    thread = server.client.thread()
    assert server.client.get(f"/threads/{thread}", headers=TRACEPARENT).status == 200
    wanted = {"GET", "thread_get"}
    spans = collector.wait_spans(lambda spans: {span.name.split(" ")[0] for span in spans if span.trace_id == TRACE} == wanted)
    request, = [span for span in spans if span.kind == 2 and span.trace_id == TRACE]
    operation, = [span for span in spans if span["db.operation.name"] == "thread_get"]
    assert operation.parent_id == request.span_id
