# SPDX-License-Identifier: Apache-2.0
"""Streams: their bytes, order and timing. Gates in the scripted model show the order."""
import re

import pytest

from model_server import Gate, Reply, answer, calls, finish, head, token, DONE, Cut

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def gated(*parts):
    """A script that stops before each part; returns it and the gates."""
    gates = [Gate() for _ in parts]

    def script(_request):
        yield head()
        for gate, part in zip(gates, parts):
            yield gate
            yield token(part)
        yield finish()
        yield DONE
    return script, gates


def test_the_native_stream(client, model):
    stream = client.stream("/agents/assistant/chat", {"message": "hi"})
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    assert stream.headers["x-accel-buffering"] == "no"
    events = stream.rest()
    assert stream.raw.startswith(b"retry: 2000\nid: 1\ndata: {")
    assert [e.type for e in events] == ["run", "token", "token", "done"]
    assert [int(e.fields["id"]) for e in events] == [1, 2, 3, 4]
    assert all(TIME.match(e.json["timestamp"]) for e in events)
    run, done = events[0].json, events[-1].json
    assert set(run) == {"type", "timestamp", "run_id", "thread_id", "agent_id", "message_id"}
    assert set(done) == {"type", "timestamp", "run_id", "thread_id", "message_id", "tokens_used", "usage", "cost", "status",
                         "finish_reason"}
    assert done["status"] == "completed" and done["tokens_used"] == 15
    stored = client.messages(run["thread_id"])
    assert [m["id"] for m in stored] == [run["message_id"], done["message_id"]]
    assert "".join(e.json["content"] for e in events if e.type == "token") == stored[1]["content"]


def test_each_token_comes_when_it_exists(client, model):
    script, gates = gated("one", "two", "three")
    model.play(script)
    stream = client.stream("/agents/assistant/chat", {"message": "count"})
    assert stream.next().type == "run"          # before the model has sent anything
    for gate, word in zip(gates, ("one", "two", "three")):
        gate.wait_reached()
        gate.open()
        assert stream.next().json["content"] == word    # the next one is still behind its gate
    assert stream.rest()[-1].type == "done"


def test_tools_in_the_stream(client, model):
    model.play(calls(("calculate", {"expression": "6*7"})), answer("42"))
    events = client.stream("/agents/assistant/chat", {"message": "6*7?"}).rest()
    kinds = [e.type for e in events]
    assert kinds == ["run", "trace_start", "trace_update", "trace_end", "token", "done"]
    start, update, end = (e.json for e in events[1:4])
    assert start["tool"] == "calculate" and start["call_id"] == "call_1" and start["step_id"].startswith("step_")
    assert update["step_id"] == start["step_id"] and update["arguments_delta"] == '{"expression": "6*7"}'
    assert end["step_id"] == start["step_id"] and end["arguments"] == {"expression": "6*7"}
    assert end["result"]["result"] == 42 and end["latency_ms"] >= 0 and "error" not in end


def test_accept_chooses_the_stream(client, model):
    thread = client.thread()
    stream = client.stream(f"/threads/{thread}/messages", {"content": "x"}, headers={"Accept": "text/event-stream"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.rest()[-1].type == "done"
    response = client.post(f"/threads/{thread}/messages", {"content": "x"})
    assert response.headers["content-type"] == "application/json"
    response = client.post(f"/threads/{thread}/messages", {"content": "x", "stream": False},
                           headers={"Accept": "text/event-stream, application/json"})
    assert response.json["role"] == "assistant"


@pytest.mark.parametrize("accept, form", [
    ("text/event-stream;q=0.5, application/json", "application/json"), ("application/json;q=0.5, text/event-stream", "text/event-stream"),
    ("application/*", "application/json"), ("text/*", "text/event-stream"), ("*/*", None),
    ("text/event-stream;q=0, */*", "application/json"), ("application/json;q=0, */*;q=0.1", "text/event-stream")])
def test_accept_weighs_the_forms_of_an_answer(client, model, accept, form):
    for path, body, default in (("/chat", {"message": "x"}, "text/event-stream"),
                                (f"/threads/{client.thread()}/messages", {"content": "x"}, "application/json")):
        stream = client.stream(path, body, headers={"Accept": accept})
        assert stream.headers["content-type"].split(";")[0] == (form or default), path
        stream.body()


def test_an_error_before_the_first_byte_is_a_problem(client, model):
    stream = client.stream("/agents/assistant/chat", {"message": "x", "thread_id": "thread_" + "0" * 26})
    assert stream.status == 404 and stream.headers["content-type"] == "application/problem+json"
    assert b'"code":"not_found"' in stream.body().replace(b" ", b"")
    assert stream.connection.request("GET", "/api/health").status == 200


def test_an_error_in_mid_stream(client, server, model):
    def broken(_request):
        yield token("half")
        yield Cut()
    model.play(broken)
    server.expect_log("AC0503")
    events = client.stream("/agents/assistant/chat", {"message": "x"}).rest()
    assert [e.type for e in events] == ["run", "token", "error"]
    error = events[-1].json
    assert error["code"] == "model_error" and error["run_id"] == events[0].json["run_id"]
    assert "while asking the model" in error["message"]
    stored = client.messages(events[0].json["thread_id"])
    assert stored[1]["content"] == "half" and stored[1]["metadata"]["finish_reason"] == "error"
    run = client.get("/runs/" + error["run_id"]).json
    assert run["status"] == "failed" and run["error"]["code"] == "model_error"


def test_the_same_error_as_json(client, server, model):
    model.play(Reply(404, {"error": {"code": "DeploymentNotFound", "message": "no such deployment"}}))
    server.expect_log("AC0502")
    response = client.send(client.thread(), "x")
    assert response.status == 502 and response.json["code"] == "model_refused"
    assert response.headers["content-type"] == "application/problem+json"


def test_the_text_stream_has_its_errors(client, server, model):
    def broken(_request):
        yield token("half")
        yield Cut()
    model.play(broken)
    server.expect_log("AC0503")
    events = client.stream("/agent/stream", {"message": "x"}).rest()
    assert events[0].json == {"text": "half"}
    assert events[-1].fields["event"] == "error" and events[-1].json["code"] == "model_error"
    assert "id" not in events[0].fields


def test_newlines_in_tokens_stay_inside_their_event(client, model):
    nasty = ["\n\ndata: {}\n\n", "\r\nevent: done\r\n", "id: 9\n", ": comment\n", "\u2028"]
    model.play(answer(*nasty))
    for path, member in (("/agents/assistant/chat", "content"), ("/agent/stream", "text")):
        model.play(answer(*nasty))
        events = client.stream(path, {"message": "x"}).rest()
        tokens = [e.json[member] for e in events if member in e.json]
        assert tokens == nasty or tokens == ["Hello", " world"], tokens


def test_heartbeats_come_before_the_first_token_and_between(make_server, model):
    server = make_server('<Location "/api">\n AgentChatHeartbeat 1s\n</Location>\n')
    script, gates = gated("one", "two")
    model.play(script)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    assert stream.next().type == "run"
    for gate in gates:
        beat = stream.next()
        assert beat.type == "heartbeat" and set(beat.json) == {"type", "timestamp"} and "id" not in beat.fields
        gate.open()
        while (event := stream.next()).type == "heartbeat":
            pass
        assert event.type == "token"
    events = [e for e in stream.rest() if e.type != "heartbeat"]
    assert [e.fields["id"] for e in events] == ["4"]


def test_heartbeats_of_the_text_stream_are_comments(make_server, model):
    server = make_server('<Location "/api">\n AgentChatHeartbeat 1s\n</Location>\n')
    script, gates = gated("one")
    model.play(script)
    stream = server.client.stream("/agent/stream", {"message": "x"})
    while stream.any().comment is None:
        pass
    gates[0].open()
    assert stream.rest()[-1].fields["event"] == "done"


def test_every_block_is_an_event(make_server, model):
    """A blank line ends an event that has data, in each form: `retry:` and comments make no block of their own."""
    server = make_server('<Location "/api">\n AgentChatHeartbeat 1s\n</Location>\n')
    for path in ("/agents/assistant/chat", "/chat", "/agent/stream"):
        script, (gate,) = gated("one")
        model.play(script)
        stream = server.client.stream(path, {"message": "x"}, headers={"Accept": "text/event-stream"})
        while (event := stream.any()).type != "heartbeat" and event.comment is None:
            pass
        gate.open()
        stream.rest()
        *blocks, end = stream.raw.decode().split("\n\n")
        assert end == "" and stream.raw.startswith(b"retry: 2000\n") and stream.raw.count(b"retry:") == 1, stream.raw
        for block in blocks:
            assert sum(line.startswith("data: {") for line in block.split("\n")) == 1, stream.raw
    stream = server.client.stream("/selftest/stream", method="GET")
    stream.rest()
    assert all("\ndata: {" in f"\n{block}" for block in stream.raw.decode().split("\n\n")[:-1]), stream.raw


def test_selftest(client):
    stream = client.stream("/selftest/stream", method="GET")
    events = stream.rest()
    assert len([e for e in events if "event" not in e.fields]) == 10
    assert events[-1].fields.get("event") == "done"


def test_keep_alive_afterwards(client, model):
    with client.connect() as connection:
        for _ in range(3):
            stream = connection.stream("POST", "/api/agents/assistant/chat", {"message": "x"})
            assert stream.rest()[-1].type == "done"
            response = connection.request("POST", "/api/threads")
            assert response.status == 201
