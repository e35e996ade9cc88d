# SPDX-License-Identifier: Apache-2.0
"""Idempotency-Key: the same request again leads to the first run, in any form, from any child, also at the same time."""
import sqlite3
import threading

import pytest

from model_server import DONE, Gate, answer, finish, head, token
from runs import CHILDREN, blocks, holding, kill_child, owner_of


def key(name):
    return {"Idempotency-Key": name}


def test_the_same_message_as_json(client, model):
    thread = client.thread()
    model.play(answer("first"), answer("second"))
    one = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("a"))
    two = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("a"))
    assert one.status == two.status == 200 and one.body == two.body and one.json["content"] == "first"
    assert len(model.requests) == 1 and len(client.messages(thread)) == 2
    other = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("b"))
    assert other.json["content"] == "second" and other.json["seq"] == 4


def test_another_body_or_path_is_a_conflict(client, model):
    thread, other = client.thread(), client.thread()
    first = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("c"))
    assert first.status == 200
    for path, body in ((f"/threads/{thread}/messages", {"content": "y"}), (f"/threads/{other}/messages", {"content": "x"}),
                       (f"/threads/{thread}/messages", {"content": "x", "metadata": {"a": "b"}}), ("/chat", {"message": "x"})):
        response = client.post(path, body, headers=key("c"))
        assert (response.status, response.json["code"]) == (409, "idempotency_conflict"), path
    again = client.post(f"/threads/{thread}/messages", {"stream": False, "content": "x"}, headers=key("c"))
    assert again.json == first.json     # neither the order of members nor the delivery is part of what was asked
    assert len(model.requests) == 1


def test_a_stream_again(client, model):
    """A new thread's first message: a second one would be a second thread."""
    body = {"message": "x"}
    model.play(answer("a", "b"))
    first = client.stream("/agents/assistant/chat", body, headers=key("d"))
    first.rest()
    second = client.stream("/agents/assistant/chat", body, headers=key("d"))
    second.rest()
    assert blocks(first.raw) == blocks(second.raw)
    rest = client.stream("/agents/assistant/chat", body, headers={**key("d"), "Last-Event-ID": "2"})
    rest.rest()
    assert blocks(rest.raw) == blocks(first.raw)[2:]
    whole = client.post("/agents/assistant/chat", {**body, "stream": False}, headers=key("d"))
    assert whole.json["content"] == "ab" and len(model.requests) == 1


def test_while_the_first_one_still_runs(client, model):
    thread = client.thread()
    gate = Gate()
    model.play(holding(gate, ("one",), ("two",)))
    body = {"content": "x", "stream": True}
    first = client.stream(f"/threads/{thread}/messages", body, headers=key("e"))
    assert first.next().type == "run" and first.next().type == "token"
    second = client.stream(f"/threads/{thread}/messages", body, headers=key("e"))
    assert second.next().type == "run" and second.next().json["content"] == "one"
    busy = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("f"))
    assert (busy.status, busy.json["code"]) == (409, "run_in_progress")
    gate.open()
    first.rest(), second.rest()
    assert blocks(first.raw) == blocks(second.raw) and len(client.messages(thread)) == 2


@pytest.mark.parametrize("known", [True, False])
def test_many_at_the_same_time(make_server, model, known):
    """To one thread, or each to a thread of its own that must not be made."""
    server = make_server(tuning=CHILDREN)
    client = server.client
    model.default = answer("only ", "once")
    threads = len(client.get("/threads?limit=100").json["data"])
    path, body = (f"/threads/{client.thread()}/messages", {"content": "x"}) if known else (
        "/agents/assistant/chat", {"message": "x", "stream": False})
    answers, start = [], threading.Barrier(12)

    def send():
        start.wait()
        answers.append(client.post(path, body, headers=key("together")))
    workers = [threading.Thread(target=send) for _ in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [r.status for r in answers] == [200] * 12, answers
    assert len({r.body for r in answers}) == 1 and answers[0].json["content"] == "only once"
    assert len(client.get("/threads?limit=100").json["data"]) == threads + 1
    assert len(client.messages(answers[0].json["thread_id"])) == 2


def test_after_a_restart_and_the_end_of_the_log(make_server, model):
    server = make_server("AgentChatEventLogKeep 0\n")
    thread = server.client.thread()
    model.play(answer("kept"))
    one = server.client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("g"))
    server.stop()
    server.start()
    two = server.client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("g"))
    assert two.status == 200 and two.body == one.body and len(model.requests) == 1


def test_after_a_day(make_server, model):
    server = make_server()
    thread = server.client.thread()
    server.client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("h"))
    with sqlite3.connect(server.root / "state/agentchat.db", timeout=20) as database:
        database.execute("UPDATE keys SET created_at = '2020-01-01T00:00:00.000Z'")
    again = server.client.post(f"/threads/{thread}/messages", {"content": "y"}, headers=key("h"))
    assert again.status == 200 and again.json["seq"] == 4


def test_a_failed_run_is_not_run_again(client, server, model):
    thread = client.thread()

    def broken(_request):
        yield head()
        yield token("half")
        yield finish("content_filter")
        yield DONE
    model.play(broken)
    one = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("i"))
    two = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("i"))
    assert one.status == two.status == 422 and len(model.requests) == 1
    assert one.json["code"] == two.json["code"] == "content_filtered"


def test_bad_keys(client, model):
    thread = client.thread()
    for bad in ("a b", "\u00e9", "x" * 256):
        response = client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key(bad))
        assert (response.status, response.json["code"]) == (400, "invalid_request"), bad
    assert client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("y" * 255)).status == 200
    response = client.post(f"/threads/{thread}/messages", {"content": "x", "stream": True}, headers={"Last-Event-ID": "3"})
    assert (response.status, response.json["code"]) == (400, "invalid_request")
    assert len(model.requests) == 1


def test_a_message_whose_process_died(make_server, model):
    """The client did not get the outcome, and sends it again: it gets the outcome, and nothing is run twice."""
    server = make_server(tuning=CHILDREN)
    gate = Gate()
    model.play(holding(gate, ("one",)))
    body = {"message": "x"}
    first = server.client.stream("/agents/assistant/chat", body, headers=key("j"))
    run = first.next().json
    first.next()
    gate.wait_reached()
    kill_child(server, owner_of(server, first.connection))
    again = server.client.stream("/agents/assistant/chat", body, headers=key("j"))
    events = again.rest()
    assert [e.type for e in events] == ["run", "token", "error"] and events[-1].json["code"] == "interrupted"
    assert events[0].json["run_id"] == run["run_id"] and len(model.requests) == 1
    gate.open()
