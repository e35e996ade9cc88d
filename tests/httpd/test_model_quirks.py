# SPDX-License-Identifier: Apache-2.0
"""What real models and compatible servers do, end to end: each quirk of the wire is played by the scripted model."""
import json

import pytest

from model_server import (DONE, WAIT, Cut, Gate, Reply, answer, chunk, data, finish, head, token, tool_call, usage)

FILTERS = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}


def call(index=None, call_id=None, name=None, arguments=None, **more):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    entry = {"type": "function", "function": function, **more}
    if index is not None:
        entry["index"] = index
    if call_id is not None:
        entry["id"] = call_id
    return chunk({"tool_calls": [entry]})


TEXTS = {
    "the first chunk has no choices": [
        data({"choices": [], "created": 0, "id": "", "model": "", "object": "",
              "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERS}]}),
        head(), token("ok"), finish(), usage(), DONE],
    "filter chunks have no delta": [
        head(), token("ok"), data({"id": "", "choices": [{"index": 0, "finish_reason": None,
                                                         "content_filter_results": FILTERS,
                                                         "content_filter_offsets": {"check_offset": 4}}]}),
        finish(), data({"id": "", "choices": [{"index": 0, "content_filter_results": FILTERS}]}), DONE],
    "no role chunk, no usage": [token("ok"), finish(), DONE],
    "null content and a role each time": [
        chunk({"role": "assistant", "content": None}), chunk({"role": "assistant", "content": "ok"}), finish(), DONE],
    "no [DONE]": [token("ok"), finish()],
    "no finish_reason but [DONE]": [token("ok"), DONE],
    "the finish rides on the last token": [chunk({"content": "ok"}, "stop"), DONE],
    "usage on the finish chunk": [token("ok"), chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1,
                                                                        "total_tokens": 2}), DONE],
    "usage null until the end": [chunk({"content": "ok"}, usage=None), finish(), usage(), DONE],
    "comments between": [b": OPENROUTER PROCESSING\n\n", token("o"), b": ping\n\n", token("k"), finish(), DONE],
    "CRLF": [token("ok").replace(b"\n", b"\r\n"), finish().replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"],
    "no space after data:": [token("ok").replace(b"data: ", b"data:"), finish().replace(b"data: ", b"data:"), b"data:[DONE]\n\n"],
    "event: lines": [b"event: message\n" + token("ok"), b"event: x\nid: 4\n" + finish(), DONE],
    "reasoning apart from content": [chunk({"reasoning_content": "hmm"}), chunk({"reasoning": "hmm"}), token("ok"),
                                     finish(), DONE],
    "content in parts": [chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]},
                                            {"type": "text", "text": "ok"}]}), finish(), DONE],
    "an unknown finish": [token("ok"), finish("eos_token"), DONE],
    "a second choice is left out": [token("ok"), chunk({"content": "NO"}, index=1), finish(), DONE],
    "numeric id, no object": [data({"id": 7, "choices": [{"index": 0, "delta": {"content": "ok"}}]}), finish(), DONE],
    "unknown members": [chunk({"content": "ok", "audio": None}, obfuscation="xx", service_tier="default"), finish(), DONE],
    "text after [DONE] is ignored": [token("ok"), finish(), DONE, token("NO")],
    "a refusal is text": [chunk({"refusal": "ok"}), finish(), DONE],
    "a last event that is not closed": [token("ok"), finish().rstrip(b"\n") + b"\n"],
    "empty data": [b"data:\n\n", token("ok"), b"data: \n\n", finish(), DONE],
    "cut in the middle of a character": None,
    "one byte at a time": None,
}
SPLIT = token("ok").replace(b"ok", "oké".encode()) + finish() + DONE


@pytest.mark.parametrize("name", TEXTS)
def test_text(client, model, name):
    parts, expected = TEXTS[name], "ok"
    if name == "cut in the middle of a character":
        at, expected = SPLIT.index("é".encode()) + 1, "oké"
        parts = [SPLIT[:at], SPLIT[at:]]
    elif name == "one byte at a time":
        parts, expected = [bytes([b]) for b in SPLIT], "oké"
    model.play(lambda _request: iter(parts))
    response = client.send(client.thread(), "x")
    assert response.status == 200, response
    assert response.json["content"] == expected


def test_a_whole_answer_instead_of_a_stream(client, model):
    model.play(lambda _request: iter([Reply(200, {
        "id": "1", "object": "chat.completion", "model": "scripted-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}})]))
    message = client.send(client.thread(), "x").json
    assert message["content"] == "ok" and message["metadata"]["usage"]["total_tokens"] == 4


ONE, TWO = '{"expression": "1+1"}', '{"expression": "2+2"}'
CALLS = {
    "fragments": ([call(0, "a", "calculate", ""), call(0, arguments='{"expres'), call(0, arguments='sion": "1+1"}')], [2]),
    "interleaved by index": ([call(0, "a", "calculate", ""), call(1, "b", "calculate", ""), call(0, arguments=ONE[:5]),
                              call(1, arguments=TWO[:5]), call(0, arguments=ONE[5:]), call(1, arguments=TWO[5:])], [2, 4]),
    "all indexes zero, ids differ": ([call(0, "a", "calculate", ONE), call(0, "b", "calculate", TWO)], [2, 4]),
    "no index": ([call(None, "a", "calculate", ONE), call(None, "b", "calculate", TWO)], [2, 4]),
    "the id is repeated": ([call(0, "a", "calculate", ""), call(0, "a", None, ONE[:6]), call(0, "a", "calculate", ONE[6:])], [2]),
    "the same id twice, indexes differ": ([call(0, "a", "calculate", ONE), call(1, "a", "calculate", TWO)], [2, 4]),
    "no id at all": ([call(0, None, "calculate", ONE)], [2]),
    "an empty id later": ([call(0, "a", "calculate", ""), call(0, "", None, ONE)], [2]),
    "arguments as an object": ([chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {
        "name": "calculate", "arguments": {"expression": "1+1"}}}]})], [2]),
    "both in one chunk": ([chunk({"tool_calls": [
        {"index": 0, "id": "a", "function": {"name": "calculate", "arguments": ONE}},
        {"index": 1, "id": "b", "function": {"name": "calculate", "arguments": TWO}}]})], [2, 4]),
    "text before the call": ([token("Let me see."), call(0, "a", "calculate", ONE)], [2]),
}


@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
@pytest.mark.parametrize("name", CALLS)
def test_calls(client, model, name, reason):
    parts, results = CALLS[name]
    model.play(lambda _request: iter([*parts, finish(reason), DONE]), answer("done"))
    response = client.send(client.thread(), "x")
    assert response.status == 200, response
    done = response.json["tool_calls"]
    assert [c["result"]["result"] for c in done] == results
    assert len({c["id"] for c in done}) == len(done)
    results = [m for m in model.requests[1].messages if m["role"] == "tool"]
    assert [m["tool_call_id"] for m in results] == [c["id"] for c in model.requests[1].messages[-1 - len(done)]["tool_calls"]]


FAILURES = {
    "an error in mid-stream": ([token("half"), data({"error": {"message": "boom", "type": "server_error", "code": None}})],
                               502, "model_error"),
    "an error as text": ([data({"error": "boom"})], 502, "model_error"),
    "cut without a finish": ([token("half")], 502, "model_error"),
    "reset": ([token("half"), Cut(reset=True)], 502, "model_error"),
    "garbage": ([b"data: {\"choices\": [\n\n"], 502, "model_error"),
    "not an object": ([b"data: 42\n\n", DONE], 502, "model_error"),
    "a refused key": ([Reply(401, {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})], 502, "model_refused"),
    "a gateway's refusal": ([Reply(401, {"statusCode": 401, "message": "Access denied"})], 502, "model_refused"),
    "a missing deployment": ([Reply(404, {"error": {"code": "DeploymentNotFound", "message": "x"}})], 502, "model_refused"),
    "no quota": ([Reply(429, {"error": {"code": "insufficient_quota", "message": "x"}})], 502, "model_refused"),
    "too long": ([Reply(400, {"error": {"code": "context_length_exceeded", "message": "x"}})], 400, "context_length_exceeded"),
    "a filtered prompt": ([Reply(400, {"error": {"code": "content_filter", "message": "x", "innererror": {
        "code": "ResponsibleAIPolicyViolation"}}})], 422, "content_filtered"),
    "a page of HTML": ([Reply(200, b"<html>login</html>", content_type="text/html")], 502, "model_refused"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(client, server, model, name):
    parts, status, code = FAILURES[name]
    server.expect_log("AC0502", "AC0503")
    model.play(lambda _request: iter(parts))
    response = client.send(client.thread(), "x")
    assert (response.status, response.json["code"]) == (status, code), response
    assert len(model.requests) == 1         # none of these is tried again
    assert model.url not in response.body.decode() and "boom" not in response.body.decode()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_retries(client, model, status):
    model.play(lambda _request: iter([Reply(status, {"error": {"message": "later"}}, {"retry-after-ms": "20"})]),
               answer("at last"))
    assert client.send(client.thread(), "x").json["content"] == "at last"
    assert len(model.requests) == 2
    assert model.requests[0].body == model.requests[1].body


def test_retries_end(client, server, model):
    model.default = lambda _request: iter([Reply(429, {"error": {"message": "later"}}, {"retry-after-ms": "5"})])
    server.expect_log("AC0503")
    response = client.send(client.thread(), "x")
    assert response.status == 503 and response.json["code"] == "model_throttled" and "retry-after" in response.headers
    assert len(model.requests) == 3


def test_a_request_is_never_repeated_after_the_first_token(client, server, model):
    def broken(_request):
        yield token("a")
        yield Cut(reset=True)
    model.default = broken
    server.expect_log("AC0503")
    assert client.send(client.thread(), "x").status == 502
    assert len(model.requests) == 1


def test_text_of_the_model_is_no_retry_field(client, model):
    model.play(lambda _request: iter([Reply(503, {"error": {"message": "no"}}, {"x-should-retry": "true",
                                                                               "retry-after-ms": "5"})]), answer("ok"))
    assert client.send(client.thread(), "x").json["content"] == "ok"


def test_deadlines(make_server, model):
    server = make_server("", standard=False, start=False)
    server.write(f"""
<AgentChatModel slow>
    AgentChatProvider openai
    AgentChatEndpoint {model.url} model=m
    AgentChatTimeouts connect=1s first-byte=300ms idle=300ms total=30s
    AgentChatRetries 0
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel slow
</AgentChatAgent>
AgentChatDefaultAgent a
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
""")
    server.start()
    server.expect_log("AC0503")
    never = Gate()

    def no_first_byte(_request):
        yield never
        yield DONE

    def idle(_request):
        yield token("a")
        yield never
        yield DONE
    for script in (no_first_byte, idle):
        model.play(script)
        response = server.client.send(server.client.thread(), "x")
        assert response.status == 504 and response.json["code"] == "model_timeout", response
    for request in model.requests:
        assert request.closed.wait(WAIT)


def test_no_listener(make_server, model, unused_port):
    server = make_server("", standard=False, start=False)
    server.write(f"""
<AgentChatModel gone>
    AgentChatProvider openai
    AgentChatEndpoint http://127.0.0.1:{unused_port}/v1 model=m
    AgentChatRetries 1
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel gone
</AgentChatAgent>
AgentChatDefaultAgent a
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
""")
    server.start()
    server.expect_log("AC0503")
    response = server.client.send(server.client.thread(), "x")
    assert response.status == 502 and response.json["code"] == "model_error"


AZURE = """
<AgentChatModel azure>
    AgentChatProvider azure-openai
    AgentChatEndpoint http://127.0.0.1:{port} {options}
    AgentChatCredential env:TEST_KEY
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel azure
</AgentChatAgent>
AgentChatDefaultAgent a
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
"""


@pytest.mark.parametrize("options, path, model_member", [
    ("deployment=gpt-5-mini api-version=2024-10-21",
     "/openai/deployments/gpt-5-mini/chat/completions?api-version=2024-10-21", None),
    ("deployment=gpt-5-mini api-version=v1", "/openai/v1/chat/completions", "gpt-5-mini"),
])
def test_azure(make_server, model, options, path, model_member):
    server = make_server("", standard=False, start=False, env={"TEST_KEY": "secret-key-7"})
    server.write(AZURE.format(port=model.port, options=options))
    server.start()
    assert server.client.send(server.client.thread(), "x").json["content"] == "Hello world"
    request = model.requests[0]
    assert request.path == path and request.headers["api-key"] == "secret-key-7"
    assert request.json.get("model") == model_member
    assert "secret-key-7" not in server.log()


def test_a_key_is_sent_as_bearer_and_never_logged(make_server, model):
    server = make_server("", standard=False, start=False, env={"TEST_KEY": "sk-secret-8"})
    server.write(AZURE.replace("azure-openai", "openai").format(port=str(model.port) + "/v1", options="model=m"))
    server.start()
    assert server.client.send(server.client.thread(), "my private words").status == 200
    assert model.requests[0].headers["authorization"] == "Bearer sk-secret-8"
    assert "sk-secret-8" not in server.log() and "private words" not in server.log()
    assert json.loads(model.requests[0].body)["model"] == "m"
