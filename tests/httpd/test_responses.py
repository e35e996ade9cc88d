# SPDX-License-Identifier: Apache-2.0
"""Models behind the Responses API, of OpenAI and of Azure OpenAI."""
import pytest

from model_server import Cut, Gate, Reply, answer, calls
from responses_server import Responses, event, function_call, message, reasoning, response

SITE = """
<AgentChatModel scripted>
    AgentChatProvider {provider}
    AgentChatEndpoint {url} {options}
    AgentChatCredential env:TEST_KEY
    AgentChatRetries 1
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel scripted
    AgentChatInstructions "Be short."
    AgentChatTools calculate
</AgentChatAgent>
<AgentChatAgent other>
    AgentChatModel scripted
</AgentChatAgent>
AgentChatDefaultAgent a
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatOpenAI on
</Location>
"""


@pytest.fixture
def make(make_server, model):
    def start(options="model=m", provider="responses", url=None):
        server = make_server("", standard=False, start=False, env={"TEST_KEY": "sk-secret-9"})
        server.write(SITE.format(provider=provider, url=url or model.url, options=options))
        server.start()
        return server
    return start


@pytest.fixture
def up():
    return Responses()


def stream(client, thread, content, **members):
    return [e.json for e in client.stream(f"/threads/{thread}/messages", {"content": content, **members},
                                          headers={"Accept": "text/event-stream"}).rest()]


def joined(events, kind):
    return "".join(e["content"] for e in events if e["type"] == kind)


def test_an_answer_in_a_form(make, model, up):
    """The first answer has not the form, and is answered."""
    server, schema = make(), {"type": "object", "required": ["a"]}
    model.play(up.play(message("no")), up.play(message('{"a":', ' 1}')))
    form = {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}
    events = stream(server.client, server.client.thread(), "Hi", response_format=form)
    assert joined(events, "token") == '{"a": 1}' and events[-1]["type"] == "done"
    assert [request.json["text"] for request in model.requests] == [
        {"format": {"type": "json_schema", "name": "one", "schema": schema}}] * 2
    assert "no" in str(model.requests[1].json["input"]) and "/a: a is missing" not in str(model.requests[0].json["input"])


def test_an_answer_with_reasoning_and_usage(make, model, up):
    server = make("model=m effort=low summary=auto")
    model.play(up.play(reasoning("I think so."), message("Hel", "lo")))
    thread = server.client.thread()
    events = stream(server.client, thread, "Hi")
    assert joined(events, "reasoning") == "I think so. " and joined(events, "token") == "Hello"
    request = model.requests[0]
    assert request.path == "/v1/responses" and request.headers["authorization"] == "Bearer sk-secret-9"
    tools = request.json.pop("tools")
    assert request.json == {"model": "m", "instructions": "Be short.", "input": [{"role": "user", "content": "Hi"}],
                            "reasoning": {"effort": "low", "summary": "auto"}, "store": False, "stream": True,
                            "include": ["reasoning.encrypted_content"]}
    assert [(tool["type"], tool["name"], tool["strict"]) for tool in tools] == [("function", "calculate", False)]
    stored = server.client.messages(thread)[-1]
    assert stored["content"] == "Hello" and "response" not in stored["metadata"]
    assert stored["metadata"]["usage"]["cached_tokens"] == 4 and stored["metadata"]["usage"]["reasoning_tokens"] == 2
    assert "sk-secret-9" not in server.log()


def test_encrypted_reasoning_is_carried_over_the_rounds(make, model, up):
    server = make()
    call = function_call("call_1", "calculate", {"expression": "6*7"})
    lost = reasoning("No key", None)
    model.play(up.play(lost, reasoning("Compute", "secret=="), call), up.play(message("42")), up.play(message("Fine")))
    thread = server.client.thread()
    events = stream(server.client, thread, "6*7?")
    assert joined(events, "token") == "42"
    said = model.requests[1].json["input"]
    assert said[0] == {"role": "user", "content": "6*7?"}
    assert said[1] == reasoning("Compute", "secret==")
    assert said[2] == {"type": "function_call", "call_id": "call_1", "name": "calculate", "arguments": '{"expression":"6*7"}'}
    assert said[3]["type"] == "function_call_output" and said[3]["call_id"] == "call_1" and "42" in said[3]["output"]
    assert len(said) == 4 and "previous_response_id" not in model.requests[1].json
    stream(server.client, thread, "thanks")
    assert "secret==" not in str(model.requests[2].json), "later turns need it no more"
    assert [m.get("role") or m["type"] for m in model.requests[2].json["input"]] == [
        "user", "function_call", "function_call_output", "assistant", "user"]


def test_stored_answers_are_continued_by_their_id(make, model, up):
    server = make("model=m store=on")
    model.play(up.play(function_call("call_1", "calculate", {"expression": "6*7"})), up.play(message("42")),
               up.play(message("Two")), up.play(message("Three")))
    thread = server.client.thread()
    stream(server.client, thread, "6*7?")
    first, second = model.requests[0].json, model.requests[1].json
    assert first["store"] is True and "include" not in first and "previous_response_id" not in first
    assert second["previous_response_id"] == "resp_1"
    assert [item["type"] for item in second["input"]] == ["function_call_output"]
    stored = server.client.messages(thread)
    assert stored[-1]["metadata"]["response"] == {"model": "scripted", "id": "resp_2"}
    stream(server.client, thread, "More?")
    third = model.requests[2].json
    assert third["previous_response_id"] == "resp_2" and third["input"] == [{"role": "user", "content": "More?"}]
    assert third["instructions"] == "Be short."
    # Another branch continues the answer above it, not the last one.
    stream(server.client, thread, "Else?", parent_id=stored[-1]["id"])
    assert model.requests[3].json["previous_response_id"] == "resp_2"


def test_after_a_deletion_no_answer_is_continued(make, model, up):
    """The service still has what was deleted here."""
    server = make("model=m store=on")
    model.play(*(up.play(message(f"{n}")) for n in range(4)))
    conversation = server.client.post("/v1/conversations", {}).json["id"]
    for said in "abcd":
        made = server.client.post("/v1/responses", {"model": "a", "input": said, "conversation": conversation}).json
        if said == "b":
            assert "previous_response_id" in model.requests[-1].json
            assert server.client.delete(f"/v1/responses/{made['id']}").status == 200
    for request, inputs in zip(model.requests[2:], (["a", "0", "c"], ["a", "0", "c", "2", "d"])):
        assert "previous_response_id" not in request.json
        assert [item["content"] for item in request.json["input"]] == inputs


@pytest.mark.parametrize("status, error", [
    (400, {"message": "Previous response with id 'resp_1' not found.", "type": "invalid_request_error",
           "param": "previous_response_id", "code": "previous_response_not_found"}),
    (404, {"message": "previous_response_id: no such response", "type": "not_found", "param": None, "code": None}),
    (400, {"message": "Your input exceeds the context window", "type": "invalid_request_error", "param": "input",
           "code": "context_length_exceeded"}),
])
def test_an_unknown_answer_is_said_again(make, model, up, status, error):
    server = make("model=m store=on")
    model.play(up.play(message("One")), Reply(status, {"error": error}), up.play(message("Two")))
    thread = server.client.thread()
    stream(server.client, thread, "a")
    assert joined(stream(server.client, thread, "b"), "token") == "Two"
    assert model.requests[1].json["previous_response_id"] == "resp_1"
    again = model.requests[2].json
    assert "previous_response_id" not in again
    assert again["input"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "One"},
                              {"role": "user", "content": "b"}]
    assert server.client.messages(thread)[-1]["metadata"]["response"]["id"] == "resp_2"


def test_another_request_is_refused_once(make, model, up):
    """With nothing to continue, a 404 is what it is."""
    server = make("model=m store=on")
    server.expect_log("AC0502")
    model.play(Reply(404, {"error": {"message": "previous_response", "code": "model_not_found"}}))
    assert server.client.send(server.client.thread(), "a").json["code"] == "model_refused"
    assert len(model.requests) == 1


@pytest.mark.parametrize("options, key", [("deployment=gpt-5-mini", "api-key"), ("deployment=gpt-5-mini api-version=v1", "api-key")])
def test_azure(make, model, up, options, key):
    server = make(options, "azure-responses", f"http://127.0.0.1:{model.port}")
    model.play(up.play(message("Hello")))
    assert server.client.send(server.client.thread(), "x").json["content"] == "Hello"
    request = model.requests[0]
    assert request.path == "/openai/v1/responses" and request.headers[key] == "sk-secret-9"
    assert request.json["model"] == "gpt-5-mini"


@pytest.mark.parametrize("script, code, partial", [
    (Reply(429, {"error": {"code": "insufficient_quota", "message": "m"}}), "model_refused", None),
    (Reply(400, {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}), "content_filtered", ""),
    ([event("response.created", response=response(1, "in_progress")),
      event("response.output_text.delta", output_index=0, content_index=0, delta="Hel"), Cut()], "model_error", "Hel"),
    ([event("response.output_text.delta", output_index=0, content_index=0, delta="Hel"),
      event("error", code="server_error", message="broken", param=None)], "model_error", "Hel"),
    ([event("response.output_text.delta", output_index=0, content_index=0, delta="Hel"),
      event("response.failed", response=response(1, "failed", error={"code": "rate_limit_exceeded", "message": "m"}))],
     "model_throttled", "Hel"),
    ([event("response.output_text.delta", output_index=0, content_index=0, delta="Hel"),
      event("response.incomplete", response=response(1, "incomplete", incomplete_details={"reason": "content_filter"}))],
     "content_filtered", "Hel"),
])
def test_failures(make, model, script, code, partial):
    server = make()
    server.expect_log("AC0502", "AC0503", "AC0504", "AC0505")
    model.play(script if isinstance(script, Reply) else lambda _request: iter(script))
    thread = server.client.thread()
    events = stream(server.client, thread, "x")
    assert events[-1]["code"] == code
    assert len(model.requests) == 1
    stored = server.client.messages(thread)[-1]
    assert (stored["content"] if stored["role"] == "assistant" else None) == partial


def test_a_limit_and_a_retry(make, model, up):
    server = make()
    model.play(Reply(503, {"error": {"message": "busy"}}, {"Retry-After": "0"}),
               up.play(message("Hel"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}))
    thread = server.client.thread()
    stream(server.client, thread, "x")
    assert len(model.requests) == 2
    assert server.client.messages(thread)[-1]["metadata"]["finish_reason"] == "length"


def test_a_cancelled_run_closes_the_exchange(make, model, up):
    server, gate = make(), Gate()
    model.play(up.play(message("Hel"), before=gate))
    live = server.client.stream(f"/threads/{server.client.thread()}/messages", {"content": "x"}, headers={"Accept": "text/event-stream"})
    run_id = live.next().json["run_id"]
    gate.wait_reached()
    assert server.client.post(f"/runs/{run_id}/cancel").status in (200, 202)
    live.rest()
    gate.open()
    assert model.requests[0].closed.wait(10)


def test_the_module_behind_itself(make_server, model):
    """This server's own Responses API is one, too: answers, tools of the agent behind, and continued conversations."""
    behind = make_server("<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    front = make_server("", standard=False, start=False)
    front.write(SITE.format(provider="responses", url=f"http://127.0.0.1:{behind.port}/api/v1", options="model=assistant store=on")
                .replace("    AgentChatCredential env:TEST_KEY\n", "").replace("    AgentChatTools calculate\n", ""))
    front.start()
    model.play(calls(("calculate", {"expression": "6*7"})), answer("It is ", "42."), answer("Yes."))
    thread = front.client.thread()
    events = stream(front.client, thread, "6*7?")
    assert joined(events, "token") == "It is 42."
    ended = [e for e in events if e["type"] == "trace_end"]
    assert [(e["tool"], e["arguments"], e["hosted"]) for e in ended] == [("agentchat_calculate", {"expression": "6*7"}, True)]
    first = front.client.messages(thread)[-1]
    assert first["metadata"]["response"]["id"].startswith("resp_")
    assert joined(stream(front.client, thread, "Sure?"), "token") == "Yes."
    assert [m["role"] for m in model.requests[-1].messages if m["role"] in ("user", "assistant")].count("user") == 2
