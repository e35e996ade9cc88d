# SPDX-License-Identifier: Apache-2.0
"""The compliance cases of the Open Responses specification, under their names. Its own program is not published as a package; the
cases are built from its documentation: the request, the schema of what comes, what the model must have seen, and what the
specification demands of items, events and errors beyond the schema."""
import base64
import json

import pytest

from model_server import Reply, answer, calls
from openai_schema import check_events, check_response, events_of
from server import AGENT, MODEL, MOUNT, Server
from uploads import data_url, pdf

WEATHER = {"type": "function", "name": "get_weather", "description": "Gets the current weather for a location",
           "parameters": {"type": "object", "properties": {"location": {"type": "string", "description": "A city"}},
                          "required": ["location"]}}
CONF = "<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\nAgentChatFiles on reserve=0\n"
KINDS = ("message", "function_call", "function_call_output", "reasoning")       # the items that the specification knows


@pytest.fixture(scope="module")
def _site(_model):
    models = MODEL.format(url=_model.url).replace("AgentChatBreaker off", "AgentChatBreaker off\nAgentChatVision on")
    # A tool of the caller that has the name of the agent's own would be refused.
    server = Server(models + AGENT.replace("    AgentChatTools calculate get_weather\n", "") + MOUNT + CONF).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def message(content, role="user"):
    return {"type": "message", "role": role, "content": content}


def create(site, stream, items, **more):
    """The response, by the document or by its events."""
    body = {"model": "assistant", "input": items, **more}
    if stream:
        response = check_events(events_of(site.client.stream("/v1/responses", {**body, "stream": True})))
    else:
        reply = site.client.post("/v1/responses", body)
        assert reply.status == 200 and reply.headers["content-type"].startswith("application/json"), reply
        response = check_response(reply.json)
    assert response["status"] == "completed" and response["output"] and response["error"] is None, response
    for item in response["output"]:
        assert item["type"] in KINDS and item["id"] and item["status"] == "completed", item
    return response


def text_of(response):
    return "".join(part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"])


def asked(model):
    return model.requests[-1].json["messages"]


BOTH = pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])


@BOTH
def test_basic_response(site, model, stream):
    """And streaming-response."""
    model.play(answer("Hello", " there", " friend"))
    response = create(site, stream, [message("Say hello in exactly 3 words.")])
    assert text_of(response) == "Hello there friend" and response["usage"]["total_tokens"] > 0
    assert response["completed_at"] >= response["created_at"] and asked(model)[-1]["content"] == "Say hello in exactly 3 words."


def test_streaming_response(site, model):
    """The terminal event, the names of events, and the order of an item's."""
    model.play(answer("1", " 2", " 3"))
    body = {"model": "assistant", "stream": True, "input": [message("Count from 1 to 3.")]}
    events = events_of(site.client.stream("/v1/responses", body))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds == ["created", "in_progress", "output_item.added", "content_part.added", *["output_text.delta"] * 3, "output_text.done",
                     "content_part.done", "output_item.done", "completed"]
    assert events[2]["item"]["status"] == "in_progress" and events[-2]["item"]["status"] == "completed"
    assert "".join(event["delta"] for event in events if event["type"].endswith("text.delta")) == "1 2 3"


@BOTH
def test_system_prompt(site, model, stream):
    model.play(answer("Arr."))
    create(site, stream, [message("You are a pirate. Always respond in pirate speak.", "system"), message("Say hello.")])
    *system, user = asked(model)
    assert {m["role"] for m in system} == {"system"} and user["content"] == "Say hello."
    assert any("You are a pirate. Always respond in pirate speak." in m["content"] for m in system)


@BOTH
def test_tool_calling(site, model, stream):
    """And tool-calling-streaming."""
    model.play(calls(("get_weather", {"location": "San Francisco"})))
    response = create(site, stream, [message("What's the weather like in San Francisco?")], tools=[WEATHER])
    call, = (item for item in response["output"] if item["type"] == "function_call")
    assert call["name"] == "get_weather" and json.loads(call["arguments"]) == {"location": "San Francisco"} and call["call_id"]
    assert [tool["function"]["name"] for tool in model.requests[-1].json["tools"]] == ["get_weather"]


@BOTH
def test_function_call_roundtrip(site, model, stream):
    """In one input, without anything that is stored."""
    model.play(answer("It is sunny."))
    given = [message("What's the weather?"),
             {"type": "function_call", "call_id": "call_9", "name": "get_weather", "arguments": '{"location":"Rome"}'},
             {"type": "function_call_output", "call_id": "call_9", "output": '{"temperature":25}'}]
    assert text_of(create(site, stream, given, tools=[WEATHER], store=False)) == "It is sunny."
    question, call, result = asked(model)[-3:]
    assert question["content"] == "What's the weather?" and call["tool_calls"][0]["function"]["name"] == "get_weather"
    assert (result["role"], result["tool_call_id"]) == ("tool", call["tool_calls"][0]["id"]) and "25" in result["content"]


@BOTH
def test_function_call_roundtrip_of_a_stored_response(site, model, stream):
    """With nothing but the response before and the result. The first call is one that tool_choice wants."""
    model.play(calls(("get_weather", {"location": "Rome"})), answer("It is sunny."))
    first = create(site, stream, [message("What's the weather?")], tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"})
    assert model.requests[-1].json["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    call, = (item for item in first["output"] if item["type"] == "function_call")
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "25 degrees"}
    assert text_of(create(site, stream, [result], tools=[WEATHER], previous_response_id=first["id"])) == "It is sunny."
    assert asked(model)[-1]["role"] == "tool" and "25 degrees" in asked(model)[-1]["content"]


@BOTH
def test_image_input(site, model, stream):
    model.play(answer("A dot."))
    create(site, stream, [message([{"type": "input_text", "text": "What do you see in this image?"},
                                   {"type": "input_image", "image_url": data_url()}])])
    image, = (part for part in asked(model)[-1]["content"] if part["type"] == "image_url")
    assert image["image_url"]["url"] == data_url()


@BOTH
@pytest.mark.parametrize("kind", ["text/plain", "application/pdf"])
def test_file_input(site, model, stream, kind):
    model.play(answer("About umbrellas."))
    data = pdf("Pack an umbrella") if kind == "application/pdf" else b"Pack an umbrella"
    file = {"type": "input_file", "filename": "note." + ("pdf" if kind == "application/pdf" else "txt"),
            "file_data": f"data:{kind};base64,{base64.b64encode(data).decode()}"}
    create(site, stream, [message([{"type": "input_text", "text": "What is this about?"}, file])])
    assert "Pack an umbrella" in json.dumps(asked(model)[-1]), asked(model)


@BOTH
def test_multi_turn(site, model, stream):
    model.play(answer("Your name is Alice."))
    history = [message("My name is Alice."), message("Hello Alice!", "assistant"), message("What is my name?")]
    assert "Alice" in text_of(create(site, stream, history))
    assert [(m["role"], m["content"]) for m in asked(model)[-3:]] == [
        ("user", "My name is Alice."), ("assistant", "Hello Alice!"), ("user", "What is my name?")]


@BOTH
def test_previous_response_id(site, model, stream):
    model.play(answer("Hello Alice!"), answer("Alice."))
    first = create(site, stream, [message("My name is Alice.")])
    second = create(site, stream, [message("What is my name?")], previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"] != second["id"]
    assert [m["content"] for m in asked(model)[-3:]] == ["My name is Alice.", "Hello Alice!", "What is my name?"]


# ---- beyond the cases: what the specification demands of errors, tools and truncation ----

@pytest.mark.parametrize("body, status, kind", [
    ({"input": "hi"}, 400, "invalid_request_error"), ({"model": "other", "input": "hi"}, 404, "not_found_error"),
    ({"model": "assistant", "input": 7}, 400, "invalid_request_error"),
    ({"model": "assistant", "input": [{"type": "message", "role": "user", "content": [{"type": "video"}]}]}, 400, "invalid_request_error"),
    ({"model": "assistant", "input": "hi", "previous_response_id": "resp_" + "0" * 26}, 404, "not_found_error")])
def test_errors(site, body, status, kind):
    reply = site.client.post("/v1/responses", body)
    assert (reply.status, reply.json["error"]["type"]) == (status, kind) and reply.json["error"]["message"], reply


@BOTH
def test_a_model_that_fails(site, model, stream):
    """A stream that has begun ends with the error and the failed response."""
    site.expect_log("AC0503")
    model.default = lambda _: iter([Reply(500, {"error": {"message": "out of order"}})])
    body = {"model": "assistant", "input": "hi", "stream": stream}
    if stream:
        events = events_of(site.client.stream("/v1/responses", body))
        assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
        assert check_events(events)["status"] == "failed"
    else:
        reply = site.client.post("/v1/responses", body)
        assert reply.status >= 500 and reply.json["error"]["type"], reply


def test_allowed_tools_hold(site, model):
    """A call of a tool that is not allowed reaches neither the caller nor the answer as a call that it could carry out."""
    other = {**WEATHER, "name": "get_time"}
    create(site, False, [message("hi")], tools=[WEATHER, other],
           tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]})
    assert [tool["function"]["name"] for tool in model.requests[-1].json["tools"]] == ["get_time"]


@BOTH
def test_one_image_twice(site, model, stream):
    """Of a message that has the same data URL twice, the model gets two images; so it does in the next turn, from what is stored."""
    image = {"type": "input_image", "image_url": data_url()}
    first = create(site, stream, [message([image, {"type": "input_text", "text": "What differs?"}, image])])
    create(site, stream, [message("Sure?")], previous_response_id=first["id"])
    for request in model.requests[-2:]:
        asked_first = next(m for m in request.json["messages"] if m["role"] == "user")
        assert [p["image_url"]["url"] for p in asked_first["content"] if p["type"] == "image_url"] == [data_url()] * 2
