# SPDX-License-Identifier: Apache-2.0
"""AG-UI's client of two versions, when something is wrong: it shows one error, the right one, and nothing runs twice."""
import json

import pytest

from agui_client import ALL, NEW, ON, body, calls_of, events_of, ids_of, question, results_of, run, said, start, end, types
from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import Cut, Gate, Reply, answer, calls, head, token
from runs import run_of, wait_until

EACH = pytest.mark.parametrize("client", ALL)


@pytest.fixture
def site(make_server):
    return make_server(ON)


def failed(result, status, code, step=-1):
    """The client rejects the run, once, with the status and the problem document."""
    error = result["steps"][step]["error"]
    assert error["status"] == status and f'"code":"{code}"' in error["message"] and result["steps"][step]["reports"] == 1, result
    assert result["steps"][step]["events"] == []


@EACH
def test_an_error_of_the_model_before_the_first_token(site, model, client):
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "no", "code": "x"}}), answer("Fine."))
    result = run(client, site, ["send", "hi"], ["send", "and now?"])
    first, second = result["steps"]
    assert first["error"]["code"] == "model_error" and first["reports"] == 1 and types(first) == ["RUN_STARTED", "CUSTOM", "RUN_ERROR"]
    assert second["error"] is None and said(result) == [("user", "hi"), ("user", "and now?"), ("assistant", "Fine.")], result
    assert len(model.requests) == 2


@EACH
def test_an_error_of_the_model_after_the_first_token(site, model, client):
    site.expect_log("AC0503")
    model.play(lambda _request: iter([head(), token("one "), Cut()]), answer("Fine."))
    result = run(client, site, ["send", "hi"], ["run"])
    first, second = result["steps"]
    assert first["error"]["code"] == "model_error" and first["reports"] == 1 and said(first)[-1] == ("assistant", "one "), first
    assert types(first)[-1] == "RUN_ERROR" and types(first).count("RUN_ERROR") == 1
    assert len(model.requests) == 1 and second["error"] is None, second


@EACH
def test_a_tool_that_fails_is_no_error_of_the_run(site, model, client):
    model.play(calls(("calculate", {"expression": "1/"})), answer("It fails."))
    result = run(client, site, ["send", "hi"])
    assert result["error"] is None and said(result)[-1] == ("assistant", "It fails.") and len(results_of(result)) == 1, result
    assert len(calls_of(result)) == 1


@EACH
def test_a_key_that_is_wrong(make_server, model, client):
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    key, bobs = keys.make("ann-1", "owner=ann"), keys.make("bob-1", "owner=bob")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                           "<Location /keys>\nAgentChatAGUI on\n</Location>\n")
    server.start()
    assert run(client, server, ["send", "hi"], mount="/keys", headers=bearer(key))["error"] is None
    for headers in ({}, bearer(key[:-1] + ("0" if key[-1] != "0" else "1"))):
        failed(run(client, server, ["send", "hi"], mount="/keys", headers=headers), 401, "unauthenticated")
    assert len(model.requests) == 1
    # Two people with one name of a conversation have one each.
    other = Client(server.port, "/keys").stream("/agui/assistant", body(question()), headers=bearer(bobs))
    mine = Client(server.port, "/keys").stream("/agui/assistant", body(question()), headers=bearer(key))
    assert len({ids_of({"events": events_of(stream)})["thread_id"] for stream in (other, mine)}) == 2


@EACH
def test_a_limit(make_server, model, client):
    site = make_server("<Location /api>\nAgentChatAGUI on\nAgentChatLimit requests=1/day\n</Location>\n")
    result = run(client, site, ["send", "hi"], ["send", "more"])
    assert result["steps"][0]["error"] is None
    failed(result, 429, "rate_limited")
    assert len(model.requests) == 1


@EACH
def test_an_agent_that_is_not_there_and_a_protocol_that_is_off(site, make_server, model, client):
    failed(run(client, site, ["send", "hi"], agent="unknown"), 404, "not_found")
    failed(run(client, make_server(), ["send", "hi"]), 404, "not_found")
    assert model.requests == []


@EACH
def test_a_message_that_is_too_long(site, model, client):
    failed(run(client, site, ["sendLong", 3 << 20]), 413, "body_too_large")
    assert model.requests == []


@EACH
def test_a_cut_after_which_the_page_asks_once_more(site, model, client):
    """The page was cut off, and sends its next message when the run has ended: the history is whole."""
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
        yield from answer("two")(_request)
    model.play(script, answer("Fine."))
    process = start(client, site, [["cut", "hi"], ["gate"], ["send", "and now?"]])
    assert "cut" in process.stderr.readline()
    gate.wait_reached()
    gate.open()
    run_id, _ = run_of(site.client)
    wait_until(lambda: site.client.get(f"/runs/{run_id}").json["status"] == "completed", "the run does not end")
    process.stdin.write("\n")
    process.stdin.flush()
    result = end(process)
    assert result["error"] is None and said(result)[-1] == ("assistant", "Fine.") and len(model.requests) == 2, result
    assert [(m["role"], m["content"]) for m in model.requests[-1].messages[-3:]] == [
        ("user", "hi"), ("assistant", "one two"), ("user", "and now?")]


@pytest.mark.parametrize("raw, status, code", [
    (b"{", 400, "bad_json"), (b"", 400, "bad_json"), (b"[]", 400, "invalid_request"), (b'{"runId":"a","runId":"b"}', 400, "bad_json"),
    (b"x" * (2 << 20), 413, "body_too_large")], ids=["cut", "empty", "list", "twice", "long"])
def test_bodies_that_are_no_object(site, model, raw, status, code):
    refused = site.client.post("/agui/assistant", raw)
    assert (refused.status, refused.json["code"]) == (status, code), refused
    assert model.requests == []


MESSAGE = question()


@pytest.mark.parametrize("change, pointer", [
    ({"threadId": None}, "/threadId"), ({"threadId": ""}, "/threadId"), ({"threadId": "x" * 256}, "/threadId"),
    ({"threadId": 1}, "/threadId"),
    ({"runId": None}, "/runId"), ({"runId": ""}, "/runId"), ({"runId": "x" * 256}, "/runId"),
    ({"messages": {}}, "/messages"), ({"messages": "x"}, "/messages"), ({"messages": [1]}, "/messages/0"),
    ({"messages": [{"role": "user", "content": "x"}]}, "/messages/0"), ({"messages": [{**MESSAGE, "id": "x" * 256}]}, "/messages/0"),
    ({"messages": [{**MESSAGE, "role": 1}]}, "/messages/0"), ({"messages": [{**MESSAGE, "content": 1}]}, "/messages/0/content"),
    ({"messages": [{**MESSAGE, "content": " "}]}, "/messages"),
    ({"resume": 1}, "/resume"), ({"context": 1}, "/context"), ({"context": [{"value": "x" * 200_000}]}, "/context"),
    ({"tools": "x"}, "/tools"), ({"tools": [{}]}, "/tools/0"), ({"tools": [{"name": "x", "parameters": 1}]}, "/tools/0"),
    ({"tools": [{"name": "x"}, {"name": "x"}]}, "/tools/1"),
], ids=lambda value: value if isinstance(value, str) else "wrong")
def test_members_that_are_wrong(site, model, change, pointer):
    refused = site.client.post("/agui/assistant", {**body(MESSAGE), **change})
    assert refused.status == 400 and refused.headers["content-type"] == "application/problem+json", refused
    assert refused.json["errors"][0]["pointer"].startswith(pointer), refused
    assert model.requests == []


def test_members_that_are_not_known_are_ignored(site, model):
    more = {"state": {"a": [1]}, "forwardedProps": {"x": None}, "parentRunId": "r0", "surprise": 1}
    odd = [{"id": "a1", "role": "activity", "activityType": "x", "content": {}}, {"id": "x1", "role": "reasoning", "content": "hm"},
           {"id": "y1", "role": "oracle", "content": 3}]
    events = events_of(site.client.stream("/agui/assistant", body(*odd, MESSAGE, **more)))
    assert events[-1]["outcome"] == {"type": "success"} and model.requests[-1].last["content"] == "hi", events


# ---- client-tools= ----

TOOLS = [{"name": "look", "description": "Looks", "parameters": {"type": "object"}}]


def with_policy(make_server, policy):
    return make_server(f"<Location /api>\nAgentChatAGUI on client-tools={policy}\n</Location>\n")


@EACH
def test_tools_of_the_page_are_ignored(make_server, model, client):
    site = with_policy(make_server, "ignore")
    result = run(client, site, ["send", "hi"], tools=TOOLS)
    assert result["error"] is None and len(result["messages"]) == 2, result
    assert [tool["function"]["name"] for tool in model.requests[-1].json["tools"]] == ["calculate", "get_weather"]
    assert site.client.get("/agui/assistant").json["tools"]["clientProvided"] is False


@EACH
def test_tools_of_the_page_are_refused(make_server, model, client):
    site = with_policy(make_server, "refuse")
    failed(run(client, site, ["send", "hi"], tools=TOOLS), 400, "invalid_request")
    assert model.requests == [] and run(client, site, ["send", "hi"])["error"] is None


def test_a_tool_of_the_page_with_the_name_of_the_agents(site, model):
    """Pages that show calls of the agent declare them, too: the server calls its own."""
    model.play(calls(("calculate", {"expression": "6*7"})), answer("42"))
    result = run(NEW, site, ["send", "hi"], tools=[{"name": "calculate", "description": "x", "parameters": {"type": "object"}}])
    assert json.loads(results_of(result)[0])["result"] == 42 and result["error"] is None
    assert [t["function"]["name"] for t in model.requests[0].json["tools"]] == ["calculate", "get_weather"]
