# SPDX-License-Identifier: Apache-2.0
"""The steps of a run say where its time went: first token, queue, retries, fallbacks, cost, approvals."""
import time
from datetime import datetime

from client import Stream
from metrics import PLACE, read, wait_metrics
from model_server import Gate, Reply, answer, calls
from runs import holding, wait_until
from test_metrics_rare import APPROVAL

FALLBACK = """
<AgentChatModel unsteady>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=unsteady-1
    AgentChatRetries 0
    AgentChatFallback scripted
    AgentChatBreaker calls=1 failures=50% open=1h
</AgentChatModel>
<AgentChatAgent careful>
    AgentChatModel unsteady
</AgentChatAgent>
"""
ONE_AT_A_TIME = """
<AgentChatModel narrow>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=narrow-1
    AgentChatModelLimit runs=1 queue=5 wait=5min
</AgentChatModel>
<AgentChatAgent single>
    AgentChatModel narrow
</AgentChatAgent>
"""


def steps_of(client, run):
    return client.get(f"/runs/{run}/steps").json["data"]


def chat(server, agent="assistant"):
    response = server.client.post(f"/agents/{agent}/chat", {"message": "x", "stream": False})
    assert response.status == 200, response
    return steps_of(server.client, response.json["run_id"])


def at(text):
    return datetime.fromisoformat(text)


def test_model_calls_and_tool_calls(server, model):
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1+1"})),
               answer("42", prompt=200, completion=10, cached=100))
    steps = chat(server)
    first, second = [step for step in steps if step["type"] == "model_call"]
    tools = [step for step in steps if step["type"] == "tool_call"]
    assert (first["round"], second["round"], [tool["round"] for tool in tools]) == (1, 2, [1, 1])
    for step in (first, second):
        assert step["retries"] == 0 and step["fallback_of"] is None and step["queued_ms"] >= 0
        assert 0 <= step["ttft_ms"] <= step["latency_ms"]
        assert step["cost"]["currency"] == "USD"
    assert abs(first["cost"]["amount"] - (10 * 1.00 + 5 * 2.00) / 1e6) < 1e-12
    assert abs(second["cost"]["amount"] - (100 * 1.00 + 100 * 0.10 + 10 * 2.00) / 1e6) < 1e-12
    assert not {"approval", "requested_at", "retries", "ttft_ms", "cost"} & set(tools[0])
    assert at(first["completed_at"]) <= at(tools[0]["started_at"]) <= at(second["started_at"])


def test_retries(server, model):
    model.play(Reply(503, headers={"Retry-After": "0"}), Reply(503, headers={"Retry-After": "0"}), answer("well"))
    step, = chat(server)
    assert step["retries"] == 2 and step["status"] == "completed" and step["ttft_ms"] is not None


def test_fallbacks(make_server, model):
    server = make_server(FALLBACK.format(url=model.url))
    server.expect_log("AC0540", "AC0542")
    model.play(Reply(500), answer("from the other one"), answer("again"))
    failed, instead = chat(server, "careful")
    assert (failed["model"], failed["status"], failed["fallback_of"], failed["ttft_ms"]) == ("unsteady", "failed", None, None)
    assert (instead["model"], instead["status"], instead["fallback_of"]) == ("scripted", "completed", "unsteady")
    step, = chat(server, "careful")                # the breaker is open: the first model is not asked
    assert (step["model"], step["fallback_of"]) == ("scripted", "unsteady")


def test_an_approval(make_server, model):
    server = make_server(APPROVAL)
    client = server.client
    model.play(calls(("sum", {"expression": "6*7"})), answer("42"))
    stream = client.stream("/agents/secretary/chat", {"message": "x"})
    run = stream.next().json["run_id"]
    while not stream.next().json.get("approval_required"):
        pass
    asked = wait_until(lambda: [step for step in steps_of(client, run) if step.get("approval") == "required"], "no step awaits approval")[0]
    assert asked["status"] == "in_progress" and asked["requested_at"] == asked["started_at"] and asked["completed_at"] is None
    assert client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}).status == 202
    assert stream.rest()[-1].type == "done"
    tool, = [step for step in steps_of(client, run) if step["type"] == "tool_call"]
    assert tool["approval"] == "approved" and tool["requested_at"] == asked["requested_at"]
    assert at(tool["requested_at"]) <= at(tool["started_at"]) <= at(tool["completed_at"])


def test_a_queue_at_the_model(make_server, model):
    server = make_server(PLACE + ONE_AT_A_TIME.format(url=model.url))
    gate = Gate()
    model.play(holding(gate), answer("later"))
    first = server.client.stream("/agents/single/chat", {"message": "x"})
    while first.next().type != "token":
        pass
    connection = server.client.connect()
    connection.send("POST", server.client.prefix + "/agents/single/chat", {"message": "x"})
    wait_metrics(server, lambda m: m.sum("agentchat_model_queued_runs", model="narrow") == 1, "no run is queued")
    seen = time.monotonic()
    for _ in range(5):
        read(server)
    waited = time.monotonic() - seen
    gate.open()
    assert first.rest()[-1].type == "done"
    events = Stream(connection).rest()
    assert events[-1].type == "done"
    step, = steps_of(server.client, events[0].json["run_id"])
    assert step["queued_ms"] + 2 >= 1000 * waited       # it waited before and after, too
