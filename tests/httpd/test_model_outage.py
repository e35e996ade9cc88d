# SPDX-License-Identifier: Apache-2.0
"""Outages of a model: its breaker, its fallback, and the queue before a full one."""
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from model_server import Cut, Gate, ModelServer, Reply, answer, calls, head, token
from runs import holding
from server import MOUNT, OPERATOR, WAIT

MODELS = """
<AgentChatModel first>
    AgentChatProvider openai
    AgentChatEndpoint {first} model=first-1
    AgentChatRetries 0
    AgentChatTimeouts connect=2s first-byte=20s idle=20s total=60s
    AgentChatPrice input=1.00 output=2.00 currency=USD
    {directives}
</AgentChatModel>
<AgentChatModel second>
    AgentChatProvider openai
    AgentChatEndpoint {second} model=second-1
    AgentChatRetries 0
    AgentChatPrice input=100.00 output=200.00 currency=USD
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel first
    AgentChatTools calculate
</AgentChatAgent>
AgentChatDefaultAgent assistant
""" + MOUNT + OPERATOR


@pytest.fixture
def second():
    """Another model with another name in its answers."""
    server = ModelServer()
    server.default = answer("the", " second")
    yield server
    server.stop()


@pytest.fixture
def start(make_server, model, second):
    def start(directives="", first=None):
        return make_server(MODELS.format(first=first or model.url, second=second.url, directives=directives), standard=False)
    return start


def broken(status=500):
    return lambda _request: iter([Reply(status, {"error": {"message": "no", "code": "x"}})])


def ready(server, name="first"):
    response = server.ready()
    return next(m for m in response.json["models"] if m["id"] == name)


def wait_breaker(server, state):
    deadline = time.monotonic() + WAIT
    while (now := ready(server))["breaker"] != state:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    return now


def run_of(client, message):
    run = client.get("/runs/" + message["run_id"]).json
    return run, client.get(f"/runs/{run['id']}/steps").json["data"]


def text_of(events):
    return "".join(event.json["content"] for event in events if event.type == "token")


# ---- the breaker ----
BREAKER = "AgentChatBreaker failures=50% calls=3 window=1h open=1h"


def test_a_model_in_the_process_is_always_reachable(make_server):
    server = make_server("<AgentChatModel demo>\nAgentChatProvider demo\n</AgentChatModel>\n"
                         "<AgentChatAgent assistant>\nAgentChatModel demo\n</AgentChatAgent>\n" + OPERATOR, standard=False)
    shown = ready(server, "demo")
    assert (shown["state"], shown["latency_ms"]) == ("ok", None) and server.ready().json["status"] == "ready"


def test_a_breaker_opens(start, model):
    server = start(BREAKER)
    client, thread = server.client, server.client.thread()
    server.expect_log("AC0503", "AC0540")
    model.default = broken()
    for _ in range(3):
        response = client.send(thread, "x")
        assert (response.status, response.json["code"]) == (502, "model_error") and "retry-after" not in response.headers
    refused = client.send(thread, "left alone")
    assert (refused.status, refused.json["code"]) == (502, "model_error"), refused
    assert 2800 <= int(refused.headers["retry-after"]) <= 4321              # spread by a fifth
    assert len(model.requests) == 3                         # it was not asked
    assert [m["content"] for m in client.messages(thread)] == ["x"] * 3     # and nothing was stored, so it can be sent again
    shown = ready(server)
    assert shown["breaker"] == "open" and 2800000 < shown["retry_after_ms"] <= 4320000
    assert ready(server, "second")["breaker"] == "closed"
    assert client.get("/ready").status == 200
    # The one that was turned away has no line of its own.
    assert len(re.findall("AC0540", server.log())) == 1 and len(re.findall("AC0503", server.log())) == 3


def test_a_breaker_recovers(start, model):
    server = start(BREAKER.replace("open=1h", "open=100ms"))
    client, thread = server.client, server.client.thread()
    server.expect_log("AC0503", "AC0540")
    model.default = broken()
    for _ in range(3):
        client.send(thread, "x")
    wait_breaker(server, "half-open")
    gate, model.default = Gate(), answer("well", " again")

    def probe(_request):
        yield gate
        yield from answer("I am back")(None)
    model.play(probe)
    with ThreadPoolExecutor() as pool:
        probing = pool.submit(client.send, thread, "probe")
        gate.wait_reached()
        beside = client.send(client.thread(), "beside it")
        assert beside.status == 502 and int(beside.headers["retry-after"]) >= 1
        assert len(model.requests) == 4
        gate.open()
        assert probing.result().json["content"] == "I am back"
    assert client.send(thread, "x").json["content"] == "well again"
    assert wait_breaker(server, "closed").get("retry_after_ms") is None
    assert len(re.findall("AC0540", server.log())) == 1 and len(server.wait_log("AC0541")) == 1
    # Nor has the one beside the probe.
    assert len(re.findall("AC0503", server.log())) == 3


@pytest.mark.parametrize("kind, why", [("no listener", "The model failed: connection refused"), ("refused", ": it answered 401")])
def test_ready_has_the_cause_of_an_unusable_model(make_server, model, unused_port, kind, why):
    """As in the error log, and without a service's text about a key."""
    url = f"http://127.0.0.1:{unused_port}/v1" if kind == "no listener" else model.url
    server = make_server(MODELS.format(first=url, second=url, directives="") + OPERATOR, standard=False)
    if kind == "refused":
        model.probe = Reply(401, {"error": {"message": "Incorrect API key provided: sk-abc*xyz", "code": "invalid_api_key"}})
    ready = server.ready()
    assert ready.status == 503 and all(one["detail"].endswith(why) for one in ready.json["models"]), ready
    assert "sk-abc" not in ready.body.decode()


def test_a_probe_that_fails_opens_it_again(start, model):
    server = start(BREAKER.replace("open=1h", "open=500ms"))
    client = server.client
    server.expect_log("AC0503", "AC0540")
    model.default = broken(503)
    for _ in range(3):
        assert client.send(client.thread(), "x").status == 502
    took, open_for = 1, 0.4             # a fifth less
    while took > open_for:              # it doubles each time, so that a slow machine gets there, too
        n, open_for = len(model.requests), 2 * open_for
        while len(model.requests) == n:
            began = time.monotonic()
            assert client.send(client.thread(), "x").status == 502
        again = client.send(client.thread(), "x")
        took = time.monotonic() - began
    assert again.status == 502 and "retry-after" in again.headers and len(model.requests) == n + 1
    model.default = answer("well")
    deadline = time.monotonic() + WAIT
    while (response := client.send(client.thread(), "x")).status == 502:
        assert "retry-after" in response.headers and time.monotonic() < deadline
    assert response.json["content"] == "well" and len(model.requests) == n + 2
    assert len(re.findall("AC0540", server.log())) == 1


@pytest.mark.parametrize("status, body, code", [
    (400, {"error": {"code": "content_filter", "message": "x"}}, "content_filtered"),
    (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, "context_length_exceeded"),
    (401, {"error": {"code": "invalid_api_key", "message": "x"}}, "model_refused"),
])
def test_refused_requests_do_not_open_the_breaker(start, model, status, body, code):
    server = start(BREAKER)
    server.expect_log("AC0502")
    model.default = lambda _request: iter([Reply(status, body)])
    for _ in range(6):
        assert server.client.send(server.client.thread(), "x").json["code"] == code
    assert len(model.requests) == 6 and ready(server)["breaker"] == "closed"


def test_a_breaker_that_is_off(start, model):
    server = start("AgentChatBreaker off")
    server.expect_log("AC0503")
    model.default = broken()
    for _ in range(12):
        assert server.client.send(server.client.thread(), "x").status == 502
    assert len(model.requests) == 12 and ready(server)["breaker"] == "off"


def test_streams_that_have_begun_outlive_the_breaker(start, model):
    """A stream in mid-answer, and one between its rounds, while all others fail."""
    server = start(BREAKER)
    client = server.client
    server.expect_log("AC0503", "AC0540")
    gates = [Gate(), Gate()]

    def wants_tool(_request):
        yield token("begun")
        yield gates[1]
        yield from calls(("calculate", {"expression": "6*7"}))(None)
    model.play(holding(gates[0], after=(" and", " ended")), wants_tool)
    streams = []
    for n in (1, 2):
        streams.append(client.stream("/agents/assistant/chat", {"message": "x"}))
        streams[-1].until("token")
    model.default = broken()
    for _ in range(3):
        client.send(client.thread(), "x")
    assert "retry-after" in client.send(client.thread(), "x").headers
    model.play(answer("It is 42."))
    for gate in gates:
        gate.open()
    rest = [stream.rest() for stream in streams]
    assert [events[-1].type for events in rest] == ["done", "done"]
    assert text_of(rest[0]) == " and ended" and text_of(rest[1]).strip() == "It is 42."


# ---- the fallback ----
FAILING = {
    "500": broken(500), "429": broken(429), "a refused key": broken(401), "a missing deployment": broken(404),
    "cut before its head": lambda _request: iter([Cut(reset=True)]),
    "cut before its first token": lambda _request: iter([head(), Cut()]),
    "an error in the stream": lambda _request: iter([b'data: {"error": {"message": "boom"}}\n\n']),
}


@pytest.mark.parametrize("name", FAILING)
def test_another_model_answers(start, model, second, name):
    server = start("AgentChatFallback second")
    client, thread = server.client, server.client.thread()
    server.expect_log("AC0542")
    model.default = FAILING[name]
    message = client.send(thread, "who are you?").json
    assert message["content"] == "the second"
    assert second.requests[0].messages == model.requests[0].messages
    run, steps = run_of(client, message)
    assert run["status"] == "completed" and run["model"] == "scripted-1" and run["error"] is None
    assert run["cost"]["amount"] == pytest.approx((10 * 100 + 5 * 200) / 1e6)
    assert [(s["type"], s["model"], s["status"]) for s in steps] == [
        ("model_call", "first", "failed"), ("model_call", "second", "completed")]
    assert steps[0]["error"]
    assert [m["role"] for m in client.messages(thread)] == ["user", "assistant"]


def test_the_fallback_has_no_listener(start, second, unused_port):
    server = start("AgentChatFallback second", first=f"http://127.0.0.1:{unused_port}/v1")
    server.expect_log("AC0542")
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    events = stream.rest()
    assert [e.type for e in events] == ["run", "token", "token", "done"] and text_of(events) == "the second"
    ids = [int(event.fields["id"].rpartition(":")[2].rpartition("-")[2]) for event in events]
    assert ids == list(range(ids[0], ids[0] + 4))


def test_not_after_the_first_token(start, model, second):
    server = start("AgentChatFallback second")
    client, thread = server.client, server.client.thread()
    server.expect_log("AC0503")
    model.default = lambda _request: iter([token("half"), Cut(reset=True)])
    stream = client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    assert [e.type for e in stream.rest()] == ["run", "token", "error"]
    assert second.requests == []
    assert client.messages(thread)[-1]["content"] == "half"


def test_not_for_a_refused_request(start, model, second):
    server = start("AgentChatFallback second")
    model.default = lambda _request: iter([Reply(400, {"error": {"code": "content_filter", "message": "x"}})])
    assert server.client.send(server.client.thread(), "x").status == 422
    assert second.requests == []


def test_both_fail(start, model, second):
    server = start("AgentChatFallback second")
    server.expect_log("AC0542", "AC0503")
    model.default, second.default = broken(500), broken(429)
    response = server.client.send(server.client.thread(), "x")
    assert (response.status, response.json["code"]) == (503, "model_throttled")


def test_in_the_second_round(start, model, second):
    server = start("AgentChatFallback second")
    server.expect_log("AC0542")
    model.play(calls(("calculate", {"expression": "6*7"})))
    model.default = broken()
    message = server.client.send(server.client.thread(), "x").json
    assert message["content"] == "the second" and message["tool_calls"][0]["result"]["result"] == 42
    assert second.requests[0].last["role"] == "tool"
    run, steps = run_of(server.client, message)
    assert [(s["type"], s["model"]) for s in steps] == [
        ("model_call", "first"), ("tool_call", None), ("model_call", "first"), ("model_call", "second")]
    assert run["cost"]["amount"] == pytest.approx((10 * 1 + 5 * 2 + 10 * 100 + 5 * 200) / 1e6)


def test_an_open_breaker_leads_there_at_once(start, model, second):
    server = start(BREAKER + "\nAgentChatFallback second")
    server.expect_log("AC0540", "AC0542")
    model.default = broken()
    for _ in range(8):
        assert server.client.send(server.client.thread(), "x").json["content"] == "the second"
    assert len(model.requests) == 3 and len(second.requests) == 8


# ---- a full model ----
def test_overload_sheds_new_work_and_harms_no_stream(start, model):
    server = start("AgentChatModelLimit runs=2 queue=1 wait=20s")
    client = server.client
    server.expect_log("AC0503")
    gates, words = [Gate(), Gate()], [f" word{i}" for i in range(50)]
    model.play(*(holding(gate, after=words) for gate in gates))
    streams = [client.stream("/agents/assistant/chat", {"message": "x"}) for _ in gates]
    for stream in streams:
        stream.until("token")
    waiting = client.thread()
    with ThreadPoolExecutor() as pool:
        third = pool.submit(client.send, waiting, "I can wait")
        deadline = time.monotonic() + WAIT
        while ready(server).get("queued") != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert ready(server)["runs"] == 2 and client.messages(waiting) == []
        for _ in range(20):
            thread = client.thread()
            shed = client.send(thread, "too much")
            assert (shed.status, shed.json["code"]) == (503, "overloaded"), shed
            assert int(shed.headers["retry-after"]) >= 1 and client.messages(thread) == []
        assert len(model.requests) == 2
        for gate in gates:
            gate.open()
        for stream in streams:
            events = stream.rest()
            assert events[-1].type == "done" and text_of(events) == "".join(words)
        assert third.result().json["content"] == "Hello world"
    assert [m["content"] for m in client.messages(waiting)] == ["I can wait", "Hello world"]
    assert client.send(client.thread(), "x").status == 200


def test_waiting_until_the_limit(start, model):
    server = start("AgentChatModelLimit runs=1 queue=5 wait=200ms")
    client, gate = server.client, Gate()
    server.expect_log("AC0503")
    model.play(holding(gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    response = client.stream("/agents/assistant/chat", {"message": "x"})    # a stream is a problem, too, before it has begun
    assert response.status == 503 and response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    gate.open()
    assert stream.rest()[-1].type == "done"


def test_a_client_that_leaves_the_line_gives_up_no_slot(start, model):
    """The run stays in the queue and is answered, as any run whose client has disconnected."""
    server = start("AgentChatModelLimit runs=1 queue=5 wait=20s")
    client, gate = server.client, Gate()
    model.play(holding(gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    thread = client.thread()
    connection = client.connect()
    connection.send("POST", f"/api/threads/{thread}/messages", {"content": "and gone", "stream": True})
    deadline = time.monotonic() + WAIT
    while ready(server).get("queued") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    connection.close()
    gate.open()
    assert stream.rest()[-1].type == "done"
    while len(client.messages(thread)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert client.messages(thread)[-1]["content"] == "Hello world"


def test_a_full_model_leads_to_the_fallback(start, model, second):
    server = start("AgentChatModelLimit runs=1 queue=0\nAgentChatFallback second")
    client, gate = server.client, Gate()
    model.play(holding(gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    assert client.send(client.thread(), "x").json["content"] == "the second"
    gate.open()
    assert stream.rest()[-1].type == "done" and len(model.requests) == 1
