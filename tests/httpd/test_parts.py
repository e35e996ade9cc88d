# SPDX-License-Identifier: Apache-2.0
"""The order of text and calls in an answer: `parts` of a message, in both stores, in every route, and in a stream
made from the store."""
import pytest

from cosmos_stores import ENV, store, wait_ready
from model_server import Gate, answer, calls, finish, head, token, tool_call, usage, DONE
from runs import CHILDREN, STORED, blocks, events_of, kill_child, owner_of, wait_until

SUM = ("calculate", {"expression": "1 + 1"})
PARTS = ["First: ü.", "call_1", "call_2", "\n\nThen more.", "call_1_r2", "\n\nThe end."]


def in_order(model):
    model.play(calls(SUM, ("calculate", {"expression": "2 + 2"}), said="First: ü."), calls(SUM, said="Then more."), answer("The end."))


def parts_of(message):
    return [part["text"] if part["type"] == "text" else part["id"] for part in message["parts"]]


def streamed_parts(stream):
    """The parts that the events of a run show: joined texts and the ids of calls, in order."""
    found = [""]
    for event in stream.rest():
        if event.type == "token":
            found[-1] += event.json["content"]
        elif event.type == "trace_start":
            found += [event.json["call_id"], ""]
    return [part for part in found if part]


@pytest.mark.parametrize("kind", ["sqlite", "cosmos"])
def test_every_route_shows_the_order(make_server, model, cosmos, kind):
    server = make_server(store(cosmos), env=ENV) if kind == "cosmos" else make_server()
    wait_ready(server.client)
    client = server.client
    in_order(model)
    thread = client.thread(agent_id="assistant")
    message = client.send(thread, "x").json
    assert parts_of(message) == PARTS and message["content"] == "First: ü.\n\nThen more.\n\nThe end."
    assert [part["type"] for part in message["parts"]] == ["text", "tool_call", "tool_call", "text", "tool_call", "text"]
    assert [call["id"] for call in message["tool_calls"]] == ["call_1", "call_2", "call_1_r2"]
    assert "parts" not in message["metadata"]
    assert client.messages(thread)[1] == message == client.get(f"/chat/{thread}").json["data"][1]
    shown = client.get(f"/agents/assistant/threads/{thread}").json["messages"]
    assert shown[1] == message and "parts" not in shown[0]
    model.play(answer("No calls."))
    assert "parts" not in client.send(thread, "y").json
    model.play(calls(SUM), answer("At once."))
    message = client.send(thread, "z").json
    assert parts_of(message) == ["call_1", "At once."]


def test_events_from_the_store_have_the_order(make_server, model):
    server = make_server("AgentChatEventLogKeep 0\n")
    in_order(model)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = stream.next().json["run_id"]
    assert streamed_parts(stream) == PARTS

    def again():
        stream = events_of(server.client, run_id)
        said = streamed_parts(stream)
        return said if blocks(stream.raw)[0][0] > STORED else None
    assert wait_until(again, "the log stays") == PARTS


def test_a_run_that_dies_leaves_the_order(make_server, model):
    server = make_server(tuning=CHILDREN)
    server.expect_log("AH00098", "AC0")
    gate = Gate()

    def held(_request):
        yield head()
        yield token("And")
        yield gate
    model.play(calls(SUM, said="Before."), held)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = stream.next().json
    while (event := stream.next()).type != "token" or event.json["content"] != "And":
        pass
    kill_child(server, owner_of(server, stream.connection))
    messages = wait_until(lambda: (found := server.client.messages(run["thread_id"])) and len(found) == 2 and found, "nothing is stored")
    assert parts_of(messages[1]) == ["Before.", "call_1", "\n\nAnd"] and messages[1]["metadata"]["finish_reason"] == "interrupted"
    gate.open()


def test_a_stopped_run_keeps_the_order(make_server, model):
    """Also of a call that had not ended."""
    server = make_server()
    gate = Gate()

    def held(_request):
        yield head()
        yield token("Let me see")
        yield tool_call(0, "call_1", "calculate", "{")
        yield gate
    model.play(held)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = stream.next().json
    while stream.next().type != "trace_start":
        pass
    assert server.client.post(f"/runs/{run['run_id']}/cancel").status == 202
    done = stream.rest()[-1].json
    assert done["type"] == "done" and done["finish_reason"] == "cancelled"
    message = server.client.messages(run["thread_id"])[1]
    assert parts_of(message) == ["Let me see", "call_1"]
    gate.open()


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_end_has_its_reason(make_server, model, reason):
    """`done` has the reason of the stored message, live and in a stream made from the store."""
    server = make_server("AgentChatEventLogKeep 0\n")

    def script(_request):
        yield head()
        yield token("a")
        yield finish(reason)
        yield usage()
        yield DONE
    model.play(script)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = stream.next().json
    assert stream.rest()[-1].json["finish_reason"] == reason
    assert server.client.messages(run["thread_id"])[1]["metadata"]["finish_reason"] == reason

    def again():
        stream = events_of(server.client, run["run_id"])
        last = stream.rest()[-1].json
        return last if blocks(stream.raw)[0][0] > STORED else None
    assert wait_until(again, "the log stays")["finish_reason"] == reason
