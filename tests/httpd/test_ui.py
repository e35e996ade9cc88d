# SPDX-License-Identifier: Apache-2.0
"""The AI SDK's useChat: its chat class and transport of three versions, unchanged, and the bytes of the stream."""
import json
import os
import subprocess

import pytest

import peers
from model_server import DONE, Cut, Gate, answer, calls, finish, head, token, tool_call
from runs import wait_until
from server import TOP

ON = "<Location /api>\nAgentChatUI on\n</Location>\n"
ALL = ("ai", "ai6", "ai5")
NEW = ("ai", "ai6")                      # version 5 has no approvals


def start(client, site, steps, mount="/api", **more):
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    return subprocess.Popen([peers.node_program(), str(TOP / "tests/clients/ui.mjs"), client, f"http://127.0.0.1:{site.port}{mount}",
                             json.dumps({"steps": steps, **more})], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return json.loads(out.splitlines()[-1])


def run(client, site, *steps, **more):
    return end(start(client, site, list(steps), **more))


def texts(message):
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


def said(result):
    return [(m["role"], texts(m)) for m in result["messages"]]


def stored(site, thread_id, query=""):
    return [(m["role"], m["content"]) for m in site.client.get(f"/threads/{thread_id}/messages{query}").json["data"]]


def thread_of(result):
    return result["messages"][-1]["metadata"]["thread_id"]


def asked(text):
    return {"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]}


@pytest.fixture
def site(make_server, model):
    return make_server(ON)


@pytest.mark.parametrize("client", ALL)
def test_a_conversation(site, model, client):
    model.play(answer("Hel", "lo"), answer("Fine"))
    result = run(client, site, ["send", "hi"], ["send", "how are you?"])
    assert said(result) == [("user", "hi"), ("assistant", "Hello"), ("user", "how are you?"), ("assistant", "Fine")], result
    assert result["status"] == "ready" and result["error"] is None
    thread_id = thread_of(result)
    assert stored(site, thread_id) == said(result)
    answers = [m for m in site.client.get(f"/threads/{thread_id}/messages").json["data"] if m["role"] == "assistant"]
    assert [m["id"] for m in answers] == [m["id"] for m in result["messages"] if m["role"] == "assistant"]
    last = result["messages"][-1]
    assert last["metadata"]["status"] == "completed" and last["metadata"]["usage"]["total_tokens"] == 15
    assert all(p["state"] == "done" for m in result["messages"] for p in m["parts"] if p["type"] == "text" and m["role"] == "assistant")


@pytest.mark.parametrize("client", ALL)
def test_tools_of_the_server(site, model, client):
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1/"}), said="Let me see."), answer("It is 42."))
    result = run(client, site, ["send", "what is it?"])
    parts = [p for p in result["messages"][-1]["parts"]]
    assert result["error"] is None, result
    assert [p["type"] for p in parts] == ["step-start", "text", "dynamic-tool", "dynamic-tool", "step-start", "text"], parts
    good, bad = parts[2], parts[3]
    assert good["state"] == "output-available" and good["output"]["result"] == 42 and good["input"] == {"expression": "6*7"}
    assert bad["state"] == "output-error" and bad["errorText"] and good["providerExecuted"] is True
    assert len(model.requests) == 2


@pytest.mark.parametrize("client", ALL)
def test_edit_and_regenerate_are_branches(site, model, client):
    model.play(answer("A1"), answer("A2"), answer("A2b"), answer("B2"), answer("C1"))
    result = run(client, site, ["send", "one"], ["send", "two"], ["regenerate"], ["edit", 2, "zwei"], ["regenerate", 1])
    states = [[(m["role"], texts(m)) for m in step["messages"]] for step in result["steps"]]
    assert states[2] == [("user", "one"), ("assistant", "A1"), ("user", "two"), ("assistant", "A2b")]
    assert states[3] == [("user", "one"), ("assistant", "A1"), ("user", "zwei"), ("assistant", "B2")]
    assert states[4] == [("user", "one"), ("assistant", "C1")], result["error"]
    thread_id = thread_of(result)
    assert stored(site, thread_id) == states[4]
    assert len(stored(site, thread_id, "?all=true")) == 8


@pytest.mark.parametrize("client", ALL)
def test_a_page_begins_with_the_stored_conversation(site, model, client):
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me see."), answer("It is 42."), answer("Yes."))
    first = run(client, site, ["send", "what is it?"])
    again = run(client, site, ["load"], ["send", "sure?"])
    assert said(again)[:2] == said(first) and said(again)[2:] == [("user", "sure?"), ("assistant", "Yes.")]
    assert [p["type"] for p in again["messages"][1]["parts"]] == ["step-start", "text", "dynamic-tool", "text"]
    assert [m["id"] for m in again["messages"][:2]] == [m["id"] for m in first["messages"]]
    assert site.client.get("/ui/chat/unknown").json == []


@pytest.mark.parametrize("client", ALL)
def test_a_page_that_sends_the_last_message_alone(site, model, client):
    model.play(answer("A1"), answer("A2"), answer("A2b"), answer("B1"))
    result = run(client, site, ["send", "one"], ["send", "two"], ["regenerate"], ["edit", 0, "eins"], last=True)
    assert said(result) == [("user", "eins"), ("assistant", "B1")] and result["error"] is None, result
    assert said(result["steps"][2])[2:] == [("user", "two"), ("assistant", "A2b")]
    assert stored(site, thread_of(result)) == said(result)


@pytest.mark.parametrize("client", ALL)
def test_resume_in_another_page(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
        yield token("two")
        yield finish()
        yield DONE
    model.play(script)
    process = start(client, site, [["begin", "hi", "forget"], ["resume", True]])
    assert "begun" in process.stderr.readline() and "resumed" in process.stderr.readline()
    gate.open()
    result = end(process)
    assert said(result) == [("user", "hi"), ("assistant", "one two")] and result["error"] is None, result
    assert len(model.requests) == 1


@pytest.mark.parametrize("client", ALL)
def test_resume_where_nothing_runs(site, model, client):
    assert site.client.get("/ui/chat/chat-1/stream").status == 204
    result = run(client, site, ["send", "hi"], ["resume"])
    assert result["status"] == "ready" and len(result["messages"]) == 2
    assert site.client.get("/ui/chat/chat-1/stream").status == 204


@pytest.mark.parametrize("client", ALL)
def test_a_stopped_client_does_not_stop_the_run(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
        yield token("two")
        yield finish()
        yield DONE
    model.play(script)
    process = start(client, site, [["begin", "hi", "stop"], ["gate"], ["load"]])
    assert "begun" in process.stderr.readline()
    gate.wait_reached()
    gate.open()
    site.client.stream("/ui/chat/chat-1/stream", method="GET").rest()
    process.stdin.write("\n")
    process.stdin.flush()
    assert said(end(process)) == [("user", "hi"), ("assistant", "one two")]


@pytest.mark.parametrize("client", ALL)
def test_a_cancelled_run(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
    model.play(script)
    process = start(client, site, [["send", "hi"]])
    gate.wait_reached()
    wait_until(lambda: site.client.get("/threads").json["data"], "the turn is not stored")
    thread, = site.client.get("/threads").json["data"]
    run_id = site.client.get(f"/threads/{thread['id']}/runs").json["data"][0]["id"]
    assert site.client.post(f"/runs/{run_id}/cancel").status == 202
    result = end(process)
    gate.open()
    assert result["status"] == "ready" and said(result)[-1] == ("assistant", "one "), result
    assert result["messages"][-1]["metadata"]["status"] == "cancelled"


@pytest.mark.parametrize("client", ALL)
def test_an_error_before_and_after_the_first_token(site, model, client):
    site.expect_log("AC0503", "AC0503", "AC0502", "AC0502")
    model.play(lambda _request: iter([head(), token("one "), Cut()]))
    result = run(client, site, ["send", "hi"])
    assert result["status"] == "error" and "model_error" in result["error"] and said(result)[-1] == ("assistant", "one "), result
    n = len(model.requests)
    result = run(client, site, ["send", "hi"], body={"agent_id": "unknown"}, id="chat-2")
    assert result["status"] == "error" and result["error"] == "no agent with this id (not_found)", result
    assert len(result["messages"]) == 1 and len(model.requests) == n
    if client == "ai":
        assert result["code"] == 404


@pytest.mark.parametrize("client", ALL)
def test_a_run_that_is_under_way(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield gate
        yield finish()
        yield DONE
    model.play(script)
    process = start(client, site, [["send", "hi"]])
    gate.wait_reached()
    second = run(client, site, ["send", "me too"])
    assert "run_in_progress" in second["error"] and len(model.requests) == 1, second
    gate.open()
    assert end(process)["error"] is None


@pytest.mark.parametrize("client", ALL)
def test_tools_of_the_page(site, model, client):
    tools = [{"name": "look", "inputSchema": {"type": "object", "properties": {"what": {"type": "string"}}}}]
    model.play(calls(("look", {"what": "it"}), said="Looking."), answer("It is there."))
    result = run(client, site, ["send", "where?"], tools={"look": {"place": "here"}}, body={"tools": tools})
    assert result["error"] is None and said(result)[-1] == ("assistant", "Looking.It is there."), result
    part, = [p for p in result["messages"][-1]["parts"] if p["type"] == "tool-look"]
    assert part["input"] == {"what": "it"} and part["output"] == {"place": "here"} and part["state"] == "output-available"
    sent = model.requests[-1].json["messages"][-1]
    assert sent["role"] == "tool" and json.loads(sent["content"]) == {"place": "here"}
    loaded = site.client.get("/ui/chat/chat-1").json
    assert [m["role"] for m in loaded] == ["user", "assistant"] and loaded[1]["id"] == result["messages"][-1]["id"]
    assert [p["type"] for p in loaded[1]["parts"]] == ["step-start", "text", "tool-look", "step-start", "text"]


def test_a_call_of_the_page_in_a_cancelled_run(site, model):
    """A page that loads the chat shows it as failed, and does not carry it out."""
    gate = Gate()
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]

    def script(_request):
        yield head()
        yield tool_call(0, "call_1", "look", '{"what":')
        yield gate
    model.play(script)
    stream = site.client.stream("/ui/chat", {"id": "c", "messages": [asked("hi")], "tools": tools})
    gate.wait_reached()
    run_id = stream.next().json["messageMetadata"]["run_id"]
    assert site.client.post(f"/runs/{run_id}/cancel").status == 202
    stream.rest()
    gate.open()
    part, = [p for p in site.client.get("/ui/chat/c").json[-1]["parts"] if p["type"] == "tool-look"]
    assert part["state"] == "output-error" and "the run ended" in part["errorText"]


def test_the_bytes(site, model):
    model.play(answer("Hel", "lo"))
    stream = site.client.stream("/ui/chat", {"id": "c", "messages": [asked("hi")]})
    assert stream.headers["x-vercel-ai-ui-message-stream"] == "v1" and stream.headers["content-type"] == "text/event-stream"
    events = [event.fields["data"] for event in stream.rest()]
    assert events[-1] == "[DONE]" and b"event:" not in stream.raw and b"id: " not in stream.raw and b"null" not in stream.raw
    parts = [json.loads(event) for event in events[:-1]]
    assert [p["type"] for p in parts] == ["start", "start-step", "text-start", "text-delta", "text-delta", "text-end", "finish-step",
                                          "finish"]
    assert parts[0]["messageId"].startswith("msg_") and parts[-1]["finishReason"] == "stop"


def test_a_message_that_is_sent_twice_runs_once(site, model):
    body = {"id": "c", "message": {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}}
    first, second = (site.client.stream("/ui/chat", body) for _ in range(2))
    first.rest(), second.rest()
    assert first.raw.split(b"\n")[0] == second.raw.split(b"\n")[0] and len(model.requests) == 1


@pytest.mark.parametrize("body, text", [
    ({}, "id"), ({"id": "c"}, "the last message must be"), ({"id": "c", "messages": []}, "the last message must be"),
    ({"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": " "}]}]}, "white space"),
    ({"id": "c", "messages": [{"role": "user", "parts": [{"type": "file", "url": "data:,", "mediaType": "image/png"}]}]}, "empty"),
    ({"id": "", "messages": [{"role": "user", "parts": [{"type": "text", "text": "a"}]}]}, "1 to 255 bytes"),
    ({"id": "c", "messages": [{"role": "assistant", "parts": []}]}, "is the assistant's"),
    ({"id": "c", "trigger": "regenerate-message"}, "answered again"),
    ({"id": "c", "messageId": "x", "messages": [{"role": "user", "parts": [{"type": "text", "text": "a"}]}]}, "cannot be edited"),
    ({"id": "c", "tools": [{}], "messages": [{"role": "user", "parts": [{"type": "text", "text": "a"}]}]}, "letters"),
])
def test_bodies_that_are_wrong(site, model, body, text):
    refused = site.client.post("/ui/chat", body)
    assert refused.status in (400, 404) and text in refused.body.decode(), refused
    assert refused.headers["content-type"].startswith("text/plain")
    assert model.requests == []


def test_a_path_of_its_own_and_off(make_server, model):
    site = make_server("<Location /api>\nAgentChatUI on path=/ai/talk\n</Location>\n")
    assert said(run("ai", site, ["send", "hi"], path="/ai/talk"))[-1] == ("assistant", "Hello world")
    assert site.client.get("/ai/talk/chat-1").json[0]["role"] == "user"
    off = make_server()
    refused = off.client.post("/ui/chat", {"id": "c"})
    assert refused.status == 404 and b"not switched on" in refused.body
