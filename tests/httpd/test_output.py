# SPDX-License-Identifier: Apache-2.0
"""Answers in a form that is asked for: sent to the model, checked, asked for once more, and an error after that."""
import json

import pytest

from model_server import answer, calls
from test_v1 import ask
from test_v1_clients import run

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/none"}]}},
          "required": ["name", "age"], "additionalProperties": False, "$defs": {"none": {"type": "null"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
GOOD = '{"name": "Ada", "age": null}'


def events_of(stream):
    return [event.json for event in stream.rest() if event.json["type"] != "heartbeat"]


def send(client, thread, **more):
    return events_of(client.stream(f"/threads/{thread}/messages", {"content": "who?", "response_format": FORMAT, **more},
                                   headers={"Accept": "text/event-stream"}))


def text_of(events):
    return "".join(event["content"] for event in events if event["type"] == "token")


def test_an_answer_that_fits(server, model):
    model.play(answer('{"name": "Ada",', ' "age": null}'))
    events = send(server.client, server.client.thread())
    assert [event["type"] for event in events] == ["run", "token", "done"] and text_of(events) == GOOD
    assert model.requests[-1].json["response_format"] == FORMAT


@pytest.mark.parametrize("bad, why", [('{"name": "Ada"}', "/age: age is missing"), ("Ada", "JSON"),
                                      ('{"name": "Ada", "age": "x"}', "/age: age is of none of the allowed forms")])
def test_it_is_asked_for_once_more(server, model, bad, why):
    thread = server.client.thread()
    model.play(answer(bad), answer(GOOD))
    events = send(server.client, thread)
    assert text_of(events) == GOOD and events[-1]["type"] == "done", events
    asked = model.requests[-1].messages[-2:]
    assert asked[0] == {"role": "assistant", "content": bad} and why in asked[1]["content"], asked
    steps = server.client.get(f"/runs/{events[0]['run_id']}/steps").json["data"]
    assert [step["status"] for step in steps] == ["failed", "completed"] and why in steps[0]["error"]
    assert [m["content"] for m in server.client.messages(thread)] == ["who?", GOOD]


def test_an_error_after_that(server, model):
    server.expect_log("AC0503")
    thread = server.client.thread()
    model.play(answer("Ada"), answer("Ada"))
    events = send(server.client, thread)
    assert [event["type"] for event in events] == ["run", "error"] and events[-1]["code"] == "output_invalid"
    assert len(model.requests) == 2 and len(server.client.messages(thread)) == 1


def test_calls_of_tools_before_it(server, model):
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me see."), answer(GOOD))
    events = send(server.client, server.client.thread())
    assert text_of(events) == GOOD and events[-1]["type"] == "done"


def test_any_object(server, model):
    model.play(answer("[1]"), answer('{"a": 1}'))
    reply = server.client.send(server.client.thread(), "x", response_format={"type": "json_object"})
    assert reply.json["content"] == '{"a": 1}'


@pytest.mark.parametrize("client", ["openai", "openai6", "aisdk", "langchain"])
def test_clients_parse_it(make_server, model, client):
    site = make_server("<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    model.play(answer("Ada"), answer(GOOD), answer('{"name": "Bob", "age": 3}'))
    said = run(client, "parse", site)
    assert said == {**({"text": "", "finish": None, "usage": None, "reasoning": ""} if client.startswith("openai") else {}),
                    "parsed": {"name": "Ada", "age": None}, "response": {"name": "Bob", "age": 3}}, said
    assert all(r.json["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"] for r in model.requests)


def test_wrong_forms(server, model):
    thread = server.client.thread()
    for given in (7, {}, {"type": "xml"}, {"type": "json_schema"},
                  {"type": "json_schema", "json_schema": {"schema": {"type": "string"}}}):
        reply = server.client.send(thread, "x", response_format=given)
        assert reply.status == 400 and reply.json["errors"][0]["pointer"] == "/response_format", reply
    assert model.requests == []


def test_an_agents_own(make_server, model):
    site = make_server(f"<AgentChatAgent clerk>\nAgentChatModel scripted\nAgentChatOutputSchema '{json.dumps(SCHEMA)}'\n"
                       "</AgentChatAgent>\n")
    model.play(answer(GOOD), answer("Hello"))
    assert events_of(site.client.stream("/agents/clerk/chat", {"message": "x"}))[-1]["type"] == "done"
    assert model.requests[-1].json["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA}
    assert text_of(send(site.client, site.client.thread(agent_id="clerk"), response_format={"type": "text"})) == "Hello"
    assert "response_format" not in model.requests[-1].json


def test_chat_completions_and_responses(make_server, model):
    site = make_server("<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    model.play(answer(GOOD), answer(GOOD))
    said = site.client.post("/v1/chat/completions", ask(response_format=FORMAT)).json
    assert said["choices"][0]["message"]["content"] == GOOD
    flat = {"type": "json_schema", **FORMAT["json_schema"]}
    shown = site.client.post("/v1/responses", {"model": "assistant", "input": "x", "text": {"format": flat}}).json
    assert shown["output"][0]["content"][0]["text"] == GOOD and shown["text"] == {"format": flat}
    assert [request.json["response_format"] for request in model.requests] == [FORMAT, FORMAT]
