# SPDX-License-Identifier: Apache-2.0
"""Tools that a client of OpenAI's API carries out itself: AgentChatOpenAI client-tools=pass."""
import json

import pytest

from model_server import DONE, Gate, answer, calls, finish, head, tool_call
from test_v1 import ask, chunks
from test_v1_clients import ALL, SDKS, run

PASS = "<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\n"
LOOK = {"type": "function", "function": {"name": "look", "description": "Looks it up.",
                                         "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}}}


@pytest.fixture(scope="module")
def _site(_model):
    from server import AGENT, MODEL, MOUNT, Server
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT + PASS).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def called(call_id="call_1", name="look", arguments='{"what":"it"}', text=None):
    return {"role": "assistant", "content": text,
            "tool_calls": [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]}


def result(call_id="call_1", content="found"):
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def test_the_round_trip(site, model):
    model.play(calls(("look", {"what": "it"})), answer("It is found."))
    first = site.client.post("/v1/chat/completions", ask(tools=[LOOK])).json["choices"][0]
    assert first["finish_reason"] == "tool_calls" and first["message"]["content"] is None, first
    call, = first["message"]["tool_calls"]
    assert (call["id"], call["type"], call["function"]["name"]) == ("call_1", "function", "look")
    assert json.loads(call["function"]["arguments"]) == {"what": "it"}
    offered = {tool["function"]["name"]: tool for tool in model.requests[-1].json["tools"]}
    assert offered["look"]["function"]["description"] == "Looks it up." and "calculate" in offered
    messages = [{"role": "user", "content": "hi"}, first["message"], result()]
    second = site.client.post("/v1/chat/completions", ask(tools=[LOOK], messages=messages)).json["choices"][0]
    assert second["message"]["content"] == "It is found." and second["finish_reason"] == "stop", second
    sent = model.requests[-1].json["messages"][-3:]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool"] and sent[2]["content"] == "found"
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "call_1"
    assert site.client.get("/threads").json["data"] == []


def test_arguments_come_as_the_model_writes_them(site, model):
    gate = Gate()

    def script(_request):
        from model_server import chunk
        yield head()
        yield tool_call(0, "call_1", "look", '{"wh')
        yield gate
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'at":"it"}'}}]})
        yield finish("tool_calls")
        yield DONE
    model.play(script)
    stream = site.client.stream("/v1/chat/completions", ask(stream=True, tools=[LOOK]))
    assert stream.next().json["choices"][0]["delta"]["role"] == "assistant"
    begun = stream.next().json["choices"][0]["delta"]["tool_calls"]
    assert begun == [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": ""}}]
    gate.wait_reached()
    assert stream.next().json["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": '{"wh'}}]
    gate.open()
    rest = chunks(stream)
    assert rest[0]["choices"][0]["delta"]["tool_calls"] == [{"index": 0, "function": {"arguments": 'at":"it"}'}}]
    assert rest[-1]["choices"][0]["finish_reason"] == "tool_calls" and len(rest) == 2


def test_the_servers_tools_of_a_round_are_not_shown(site, model):
    model.play(calls(("calculate", {"expression": "6*7"}), ("look", {"what": "a"}), ("look", {"what": "b"}), said="Let me see."))
    found = chunks(site.client.stream("/v1/chat/completions", ask(stream=True, tools=[LOOK])))
    pieces = [call for c in found for call in c["choices"][0]["delta"].get("tool_calls", [])]
    assert {(p["index"], p.get("function", {}).get("name")) for p in pieces if "id" in p} == {(0, "look"), (1, "look")}
    assert "calculate" not in json.dumps(pieces)
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in found) == "Let me see."


def test_a_history_with_calls(site, model):
    messages = [{"role": "user", "content": "one"}, called(text="Looking."), result(), {"role": "assistant", "content": "It is there."},
                {"role": "user", "content": "two"}, called("call_2", arguments="not json"),
                result("call_2", [{"type": "text", "text": "b"}]),
                {"role": "user", "content": "and now?"}]
    assert site.client.post("/v1/chat/completions", ask(tools=[LOOK], messages=messages)).status == 200
    sent = [(m["role"], m.get("content")) for m in model.requests[-1].json["messages"] if m["role"] != "system"]
    assert sent == [("user", "one"), ("assistant", "Looking."), ("tool", "found"), ("assistant", "It is there."), ("user", "two"),
                    ("assistant", None), ("tool", "b"), ("user", "and now?")]


@pytest.mark.parametrize("choice, sent", [("required", "required"), ({"type": "function", "function": {"name": "look"}},) * 2,
                                          ("auto", None), (None, None)])
def test_the_choice(site, model, choice, sent):
    assert site.client.post("/v1/chat/completions", ask(tools=[LOOK], tool_choice=choice, parallel_tool_calls=False)).status == 200
    assert model.requests[-1].json.get("tool_choice") == sent and model.requests[-1].json["parallel_tool_calls"] is False


def test_none_offers_no_tool_of_the_client(site, model):
    assert site.client.post("/v1/chat/completions", ask(tools=[LOOK], tool_choice="none")).status == 200
    assert "look" not in json.dumps(model.requests[-1].json)


@pytest.mark.parametrize("more, param", [
    ({"tools": {}}, "tools"), ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": [LOOK, LOOK]}, "tools[1].function.name"), ({"tools": [LOOK], "tool_choice": "look"}, "tool_choice"),
    ({"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
    ({"tools": [{"type": "function", "function": {"name": "calculate"}}]}, "tools"),
    ({"messages": [{"role": "user", "content": "hi"}, called(), result("call_9")]}, "messages[2].tool_call_id"),
    ({"messages": [{"role": "user", "content": "hi"}, called(), result(), result()]}, "messages"),
    ({"messages": [{"role": "user", "content": "hi"}, result()]}, "messages[1].tool_call_id"),
])
def test_what_cannot_be_is_refused_before_the_model_is_asked(site, model, more, param):
    refused = site.client.post("/v1/chat/completions", ask(**more))
    assert refused.status == 400 and refused.json["error"]["param"] == param, refused
    assert model.requests == []


def test_a_call_without_a_result(site, model):
    both = called()
    both["tool_calls"] += called("call_2")["tool_calls"]
    refused = site.client.post("/v1/chat/completions", ask(tools=[LOOK], messages=[{"role": "user", "content": "hi"}, both, result()]))
    assert refused.status == 400 and "of all calls" in refused.json["error"]["message"], refused
    assert model.requests == []


@pytest.mark.parametrize("client", ALL)
def test_real_clients_carry_out_their_tools(site, model, client):
    model.play(calls(("look", {"what": "it"})), answer("It is", " found."))
    said = run(client, "tools", site)
    assert said.get("error") is None and said["text"] == "It is found.", said
    assert said["called"] == {"what": "it"} and len(model.requests) == 2, said
    sent = model.requests[-1].json["messages"][-1]
    assert sent["role"] == "tool" and "found it" in sent["content"], sent


@pytest.mark.parametrize("client", SDKS)
def test_the_helper_of_the_sdk_sees_the_call(site, model, client):
    model.play(calls(("look", {"what": "it"})))
    said = run(client, "helper", site, request={"tools": [LOOK]})
    assert said.get("error") is None and said["finish"] == "tool_calls", said
