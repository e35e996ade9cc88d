# SPDX-License-Identifier: Apache-2.0
"""OpenAI's API below /v1, byte by byte. test_v1_clients.py has its real clients."""
import json

import pytest

from model_server import DONE, Cut, Gate, Reply, answer, calls, finish, head, token, usage

SWITCH = "<Location /api>\nAgentChatOpenAI on\n</Location>\n"


@pytest.fixture(scope="module")
def _site(_model):
    from server import AGENT, MODEL, MOUNT, Server
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT + SWITCH).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def ask(**more):
    return {"model": "assistant", "messages": [{"role": "user", "content": "hi"}], **more}


def chunks(stream):
    """The chunks of a stream, without [DONE], which is its last event."""
    events = stream.rest()
    assert stream.status == 200 and events[-1].fields["data"] == "[DONE]", stream.raw
    return [event.json for event in events[:-1]]


def test_the_bytes_of_a_stream(site, model):
    stream = site.client.stream("/v1/chat/completions", ask(stream=True), headers={"Accept": "application/json"})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    found = chunks(stream)
    assert b"event:" not in stream.raw and b"id: " not in stream.raw and b"retry" not in stream.raw
    assert len({(c["id"], c["created"], c["model"], c["object"]) for c in found}) == 1
    assert found[0]["id"].startswith("chatcmpl-") and found[0]["model"] == "assistant" and found[0]["object"] == "chat.completion.chunk"
    assert [c["choices"][0]["delta"] for c in found] == [
        {"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " world"}, {}]
    assert [c["choices"][0]["finish_reason"] for c in found] == [None, None, None, "stop"]
    assert not any("usage" in c for c in found)


def test_usage_where_it_is_asked_for(site, model):
    found = chunks(site.client.stream("/v1/chat/completions", ask(stream=True, stream_options={"include_usage": True})))
    assert all(c["usage"] is None for c in found[:-1]) and found[-1]["choices"] == []
    assert found[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                                  "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}


def test_each_token_comes_when_it_exists(site, model):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one")
        yield gate
        yield finish()
        yield DONE
    model.play(script)
    stream = site.client.stream("/v1/chat/completions", ask(stream=True))
    assert stream.next().json["choices"][0]["delta"]["role"] == "assistant"
    gate.wait_reached()
    assert stream.next().json["choices"][0]["delta"] == {"content": "one"}
    gate.open()
    assert [c["choices"][0]["finish_reason"] for c in chunks(stream)] == ["stop"]


def test_a_document(site, model):
    for accept in ("application/json", "text/event-stream", "*/*", "image/png"):
        answered = site.client.post("/v1/chat/completions", ask(), headers={"Accept": accept})
        assert answered.status == 200 and answered.headers["content-type"] == "application/json", answered
        said = answered.json
        message = {"role": "assistant", "content": "Hello world", "refusal": None, "annotations": []}
        assert said["choices"] == [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
        assert said["usage"]["total_tokens"] == 15 and said["object"] == "chat.completion"


def test_the_model_gets_the_conversation(site, model):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"},
                {"role": "assistant", "content": [{"type": "text", "text": "two"}]},
                {"role": "developer", "content": "In French."},
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function",
                                                                       "function": {"name": "theirs", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "ignored"},
                {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "four"}]}]
    assert site.client.post("/v1/chat/completions", ask(messages=messages, max_tokens=7)).status == 200
    sent = model.requests[-1].json
    said = [(m["role"], m["content"]) for m in sent["messages"]]
    assert said[-3:] == [("user", "one"), ("assistant", "two"), ("user", "three\n\nfour")]
    assert ("system", "Be brief.\n\nIn French.") in said[:-3] and 7 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert site.client.get("/threads").json["data"] == []       # nothing is stored


def test_members_that_are_unknown_or_null_do_no_harm(site, model):
    more = {"temperature": 0.2, "seed": 1, "store": True, "metadata": {"a": "b"}, "verbosity": "low", "tools": [], "user": {"id": "u"},
            "response_format": {"type": "text"}, "modalities": ["text"], "n": None, "stream": None, "stream_options": None,
            "max_tokens": None, "made_up": {"x": [1]}}
    assert site.client.post("/v1/chat/completions", ask(**more)).status == 200


@pytest.mark.parametrize("more, param", [
    ({"messages": []}, "messages"), ({"messages": None}, "messages"), ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
    ({"messages": [7]}, "messages[0].role"), ({"messages": [{"role": "user", "content": " "}]}, "messages"),
    ({"model": None}, "model"), ({"model": 7}, "model"), ({"n": 2}, "n"), ({"max_tokens": 0}, "max_tokens"), ({"stream": "yes"}, "stream"),
    ({"response_format": {"type": "json_schema"}}, "response_format"), ({"modalities": ["text", "audio"]}, "modalities"),
    ({"stream_options": {"include_usage": 1}}, "include_usage"),
    ({"messages": [{"role": "system", "content": "x" * 110000}, {"role": "user", "content": "x"}]}, "messages"),
])
def test_a_bad_request(site, model, more, param):
    answered = site.client.post("/v1/chat/completions", ask(**more))
    assert answered.status == 400 and answered.headers["content-type"] == "application/json", answered
    error = answered.json["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error" and error["param"] == param
    assert "x-should-retry" not in answered.headers and model.requests == []


def test_bodies_that_are_no_request(site, model):
    for body, status in ((b"{", 400), (b"[]", 400), (b"", 400), (b'{"a":1,"a":2}', 400), (b"x" * (2 << 20), 413)):
        answered = site.client.request("POST", "/v1/chat/completions", body, headers={"Content-Type": "application/json"})
        assert answered.status == status and answered.json["error"]["type"] == "invalid_request_error", answered


def test_paths(site, model):
    for path in ("/v1/chat/completions", "/openai/v1/chat/completions"):
        assert site.client.post(path, ask()).status == 200
    answered = site.client.post("/openai/deployments/assistant/chat/completions?api-version=2024-10-21", ask(model="other"))
    assert answered.status == 200 and answered.json["model"] == "assistant"
    assert [m["id"] for m in site.client.get("/openai/v1/models").json["data"]] == ["assistant"]
    for path in ("/v1/models/unknown", "/openai/deployments/unknown/chat/completions"):
        answered = site.client.get(path) if "models" in path else site.client.post(path, ask())
        assert answered.status == 404 and answered.json["error"]["code"] == "model_not_found", answered
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405)):
        answered = site.client.request(method, path, {} if method == "POST" else None)
        assert answered.status == status and answered.json["error"]["message"], answered


def test_off_unless_it_is_switched_on(client):
    for path in ("/v1/models", "/v1/chat/completions"):
        answered = client.get(path) if "models" in path else client.post(path, ask())
        assert answered.status == 404 and "not switched on" in answered.json["error"]["message"], answered


def test_an_error_of_the_model_before_the_answer(site, model):
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "planted", "code": "x"}}))
    answered = site.client.post("/v1/chat/completions", ask())
    assert answered.status == 502 and answered.json["error"]["type"] == "server_error", answered
    assert answered.headers["x-should-retry"] == "false" and "planted" not in answered.body.decode()


def test_an_error_of_the_model_in_the_stream(site, model):
    site.expect_log("AC0503")
    model.play(lambda _request: [head(), token("part"), Cut()])
    stream = site.client.stream("/v1/chat/completions", ask(stream=True))
    events = stream.rest()
    assert events[1].json["choices"][0]["delta"] == {"content": "part"}
    assert set(events[-1].json) == {"error"} and events[-1].json["error"]["type"] == "server_error"


def test_an_answer_that_is_cut_by_its_length_or_filtered(site, model):
    site.expect_log("AC0503")
    for reason, expected in (("length", "length"), ("content_filter", "content_filter")):
        model.play(lambda _request, reason=reason: [head(), token("part"), finish(reason), DONE])
        found = chunks(site.client.stream("/v1/chat/completions", ask(stream=True)))
        assert found[-1]["choices"][0]["finish_reason"] == expected


def test_what_clients_see_of_tools(make_server, model):
    for activity in ("none", "reasoning", "events"):
        site = make_server(f"<Location /api>\nAgentChatOpenAI on activity={activity}\n</Location>\n")
        model.play(calls(("calculate", {"expression": "6*7"})), answer("42"))
        found = chunks(site.client.stream("/v1/chat/completions", ask(stream=True)))
        deltas = [c["choices"][0]["delta"] for c in found if c["choices"]]
        assert not any("tool_calls" in delta for delta in deltas)
        thoughts = [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta]
        assert thoughts == (["Calling calculate.\n"] if activity == "reasoning" else [])
        extra = [c for c in found if not c["choices"]]
        assert bool(extra) == (activity == "events")
        if extra:
            assert [c["event"] for c in extra if "event" in c] == [
                {"type": "status", "data": {"description": "calculate", "done": False}},
                {"type": "status", "data": {"description": "calculate", "done": True}}]
            assert extra[-1]["agentchat"]["type"] == "trace_end" and extra[-1]["agentchat"]["result"]["result"] == 42


def test_tools_of_the_client(site, make_server, model):
    tools = [{"type": "function", "function": {"name": "theirs", "parameters": {}}}]
    assert site.client.post("/v1/chat/completions", ask(tools=tools)).status == 200
    assert "theirs" not in json.dumps(model.requests[-1].json)
    strict = make_server("<Location /api>\nAgentChatOpenAI on client-tools=refuse\n</Location>\n")
    assert strict.client.post("/v1/chat/completions", ask(tools=[])).status == 200
    answered = strict.client.post("/v1/chat/completions", ask(tools=tools))
    assert answered.status == 400 and answered.json["error"]["param"] == "tools", answered


def test_limits(make_server, model):
    site = make_server("<Location /api>\nAgentChatOpenAI on\nAgentChatLimit requests=1/day\n</Location>\n")
    assert site.client.post("/v1/chat/completions", ask()).status == 200
    answered = site.client.post("/v1/chat/completions", ask())
    assert answered.status == 429 and answered.json["error"]["type"] == "rate_limit_error", answered
    assert answered.json["error"]["code"] == "rate_limit_exceeded" and int(answered.headers["retry-after"]) > 0
