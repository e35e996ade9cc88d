# SPDX-License-Identifier: Apache-2.0
"""Agents of Azure AI Foundry behind the API: by project and name, with Entra ID, their conversations and their tools."""

import pytest

from model_server import ModelServer, Reply
from responses_server import Responses, message
from test_credentials import APP, NOWHERE, token

SITE = """
<AgentChatModel writer>
    AgentChatProvider   foundry-agent
    AgentChatEndpoint   http://127.0.0.1:{port}/api/projects/news agent=writer version=3 {options}
    AgentChatCredential identity:environment
    AgentChatRetries    0
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel writer
</AgentChatAgent>
<AgentChatAgent instructed>
    AgentChatModel        writer
    AgentChatInstructions "Be short."
    AgentChatTemperature  0.5
</AgentChatAgent>
AgentChatDefaultAgent a
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
"""
SEARCH = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["news"], "results": [{"file_id": "f_1"}]}
CALL = {"type": "mcp_call", "id": "mcp_1", "server_label": "git", "name": "list", "arguments": '{"n": 1}', "output": "two",
        "error": None, "status": "completed"}
QUESTION = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "git", "name": "push", "arguments": '{"force": true}'}
CITED = {"type": "url_citation", "url": "https://example.org/a", "title": "A", "start_index": 0, "end_index": 3}


@pytest.fixture
def authority():
    server = ModelServer()
    server.default = token("zebra-token-1")
    yield server
    server.stop()


@pytest.fixture
def make(make_server, model, authority):
    def start(options=""):
        at = {"AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{authority.port}"}
        server = make_server("", standard=False, start=False, env={**NOWHERE, **at, **APP})
        server.write(SITE.format(port=model.port, options=options))
        return server.start()
    return start


@pytest.fixture
def up():
    return Responses()


def stream(client, path, body):
    return [e.json for e in client.stream(path, body, headers={"Accept": "text/event-stream"}).rest()]


def said(events):
    return [e["content"] for e in events if e["type"] == "token"]


def test_an_agent_by_its_name(make, model, up, authority):
    server = make()
    model.play(up.play(message("Hel", "lo", annotations=[CITED])), up.play(message("Two")))
    thread = server.client.thread(agent_id="instructed")
    events = stream(server.client, f"/threads/{thread}/messages", {"content": "Hi"})
    assert said(events) == ["Hel", "lo"]
    assert [s["url"] for s in events[-1]["sources"]] == ["https://example.org/a"]
    request = model.requests[0]
    assert request.path == "/api/projects/news/openai/v1/responses" and request.headers["authorization"] == "Bearer zebra-token-1"
    assert "scope=https%3A%2F%2Fai.azure.com%2F.default" in authority.requests[0].body.decode()
    assert request.json == {"agent_reference": {"type": "agent_reference", "name": "writer", "version": "3"},
                            "input": [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "Hi"}],
                            "store": True, "stream": True}
    stream(server.client, f"/threads/{thread}/messages", {"content": "More"})
    assert model.requests[1].json["previous_response_id"] == "resp_1"
    assert model.requests[1].json["input"] == [{"role": "user", "content": "More"}]
    assert "zebra" not in server.log()


def test_another_branch_does_not_continue_the_wrong_answer(make, model, up):
    server = make()
    model.play(*(up.play(message(text)) for text in ("One", "Two", "Three", "Four")))
    thread = server.client.thread()
    for text in ("a", "b"):
        stream(server.client, f"/threads/{thread}/messages", {"content": text})
    first = server.client.messages(thread)[1]
    assert first["metadata"]["response"] == {"model": "writer", "id": "resp_1"}
    stream(server.client, f"/threads/{thread}/messages", {"content": "c", "parent_id": first["id"]})
    assert model.requests[2].json["previous_response_id"] == "resp_1"
    stream(server.client, f"/threads/{thread}/messages", {"content": "d"})
    assert model.requests[3].json["previous_response_id"] == "resp_3"


def test_nothing_is_stored_there_if_it_shall_not(make, model, up):
    server = make("store=off")
    model.play(up.play(message("One")), up.play(message("Two")))
    thread = server.client.thread()
    for text in ("a", "b"):
        stream(server.client, f"/threads/{thread}/messages", {"content": text})
    second = model.requests[1].json
    assert second["store"] is False and "previous_response_id" not in second
    assert [i["content"] for i in second["input"]] == ["a", "One", "b"]


def test_its_tools_are_steps(make, model, up):
    server = make()
    model.play(up.play(SEARCH, CALL, {**CALL, "id": "mcp_2", "output": None, "error": "down", "status": "failed"},
                       {"type": "workflow_action", "id": "wf_1", "status": "completed"}, message("Done")), up.play(message("Two")))
    thread = server.client.thread()
    events = stream(server.client, f"/threads/{thread}/messages", {"content": "Hi"})
    ended = [e for e in events if e["type"] == "trace_end"]
    assert [(e["tool"], e["arguments"], e.get("result"), e.get("error"), e["hosted"]) for e in ended] == [
        ("file_search", {"queries": ["news"]}, [{"file_id": "f_1"}], None, True),
        ("git_list", {"n": 1}, "two", None, True), ("git_list", {"n": 1}, None, "down", True)]
    starts = [e for e in events if e["type"] == "trace_start"]
    assert [e["step_id"] for e in starts] == [e["step_id"] for e in ended] and said(events) == ["Done"]
    steps = server.client.get(f"/runs/{events[-1]['run_id']}/steps").json["data"]
    assert [s["tool"] for s in steps if s["type"] == "tool_call"] == ["file_search", "git_list", "git_list"]
    assert [c["hosted"] for c in server.client.messages(thread)[-1]["tool_calls"]] == [True, True, True]
    stream(server.client, f"/threads/{thread}/messages", {"content": "b"})
    assert model.requests[1].json["input"] == [{"role": "user", "content": "b"}]


@pytest.mark.parametrize("approve", (True, False))
@pytest.mark.parametrize("options", ("", "store=off"))
def test_its_questions_are_approvals(make, model, up, approve, options):
    server = make(options)
    model.play(up.play(QUESTION), up.play(CALL, message("Done")))
    thread = server.client.thread()
    live = server.client.stream(f"/threads/{thread}/messages", {"content": "push"}, headers={"Accept": "text/event-stream"})
    events = []
    while not events or not events[-1].get("approval_required"):
        events.append(live.next().json)
    asked = events[-1]
    assert asked["tool"] == "git_push" and asked["arguments"] == {"force": True} and asked["call_id"] == "mcpr_1"
    run_id = next(e["run_id"] for e in events if e["type"] == "run")
    decision = {"call_id": "mcpr_1", "approve": approve}
    assert server.client.post(f"/runs/{run_id}/approvals", decision).status == 202
    rest = [e.json for e in live.rest()]
    assert said(rest) == ["Done"]
    body = model.requests[1].json
    answered = body["input"][-1]
    assert answered.pop("reason", None) is None or not approve
    assert answered == {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": approve}
    if options:
        assert body["input"][-2] == QUESTION
    else:
        assert body["previous_response_id"] == "resp_1" and len(body["input"]) == 1


@pytest.mark.parametrize("status, error, code", [
    (400, {"code": "token_limit_exceeded", "message": "m", "type": None, "param": None}, "model_error"),
    (401, {"code": "401", "message": "m"}, "model_refused"),
    (404, {"code": "not_found", "message": "agent not found"}, "model_refused"),
    (429, {"code": "rate_limit_exceeded", "message": "m"}, "model_throttled"),
])
def test_errors(make, model, status, error, code):
    server = make()
    server.expect_log("AC0502", "AC0503", "AC0504", "AC0505")
    model.play(*[Reply(status, {"error": error}) for _ in range(2)])
    assert server.client.send(server.client.thread(), "x").json["code"] == code


def test_the_configuration_of_the_manual(make_server):
    text = (__import__("pathlib").Path(__file__).parents[2] / "docs/foundry.md").read_text()
    blocks = [part.split("```")[0] for part in text.split("```apache\n")[1:]]
    server = make_server("", standard=False, start=False, env={**NOWHERE, **APP})
    server.write("\n".join(blocks))
    valid, output = server.configtest()
    assert valid, output
