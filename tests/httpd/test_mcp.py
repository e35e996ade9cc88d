# SPDX-License-Identifier: Apache-2.0
"""POST /mcp byte by byte: envelopes, versions, tools, calls, progress, cancelling, faults."""
import json
import re

import pytest

from client import Client
from mcp import ACCEPT, BOTH, META, MODERN, ON, ask, call, error, headers, message, rpc, session, stream, text_of
from model_server import DONE, Cut, Gate, Reply, answer, calls, finish, head, token
from runs import holding, run_of, wait_until

ERA = pytest.mark.parametrize("era", BOTH)


@pytest.fixture
def site(make_server):
    return make_server(ON)


def failure(reply, code):
    """The result of a call that failed."""
    assert reply.status == 200 and reply.json["id"] == 1, reply
    result = reply.json["result"]
    assert result["isError"] is True and result["_meta"]["agentchat/code"] == code, reply
    assert "structuredContent" not in result and f"({code}" in text_of(result), reply
    return result


# ---- the envelope ----

@pytest.mark.parametrize("body, code, status", [
    (b"{", -32700, 400), (b"", -32700, 400), (b"[]", -32600, 400),
    ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], -32600, 400), ({"jsonrpc": "1.0", "method": "ping"}, -32600, 400),
    ({"jsonrpc": "2.0", "method": 3}, -32600, 400), ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600, 400),
    ({"jsonrpc": "2.0", "id": 1.5, "method": "ping"}, -32600, 400), ({"jsonrpc": "2.0", "id": "x" * 300, "method": "ping"}, -32600, 400),
])
def test_a_malformed_message(site, body, code, status):
    error(site.client.post("/mcp", body, headers=ACCEPT), code, status, id=None)


def test_faults_of_http(site):
    for method in ("GET", "DELETE", "PUT"):
        reply = site.client.request(method, "/mcp", headers=ACCEPT)
        error(reply, -32600, 405, id=None)
        assert reply.headers["allow"] == "POST, OPTIONS"
    error(site.client.post("/mcp", b"x" * 1_100_000, headers=ACCEPT), -32600, 413, id=None)
    error(site.client.post("/mcp", b"{}", headers={"Content-Type": "text/plain"}), -32600, 415, id=None)
    error(site.client.post("/mcp/more", {}), -32000, 404, id=None)


def test_it_is_off_unless_it_is_switched_on(server, client):
    error(client.post("/mcp", message("legacy", "ping")), -32000, 404, id=None)


def test_ids_come_back_as_they_are(site):
    for id in (0, -7, 1 << 60, "x", "", "ä\"\\\n"):
        assert rpc(site, "legacy", "ping", id=id).json == {"jsonrpc": "2.0", "id": id, "result": {}}


def test_members_that_are_not_known_are_ignored(site):
    reply = site.client.post("/mcp", {**message("legacy", "ping", {"x": 1}), "more": [1]}, headers=ACCEPT)
    assert reply.json["result"] == {}


# ---- legacy versions ----

@pytest.mark.parametrize("wanted, given", [("2025-11-25", "2025-11-25"), ("2025-06-18", "2025-06-18"), ("2025-03-26", "2025-03-26"),
                                           ("2024-11-05", "2025-11-25"), (MODERN, "2025-11-25"), ("x", "2025-11-25")])
def test_initialize(site, wanted, given):
    result = rpc(site, "legacy", "initialize", {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {}}).json["result"]
    assert result["protocolVersion"] == given and result["capabilities"] == {"tools": {}}
    assert result["serverInfo"]["name"] == "mod_agentchat" and result["instructions"]


def test_notifications_and_answers_are_accepted(site):
    for body in ({"jsonrpc": "2.0", "method": "notifications/initialized"},
                 {"jsonrpc": "2.0", "method": "notifications/none", "params": {}},
                 {"jsonrpc": "2.0", "id": "x", "result": {}}, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}},
                 {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}},
                 {"jsonrpc": "2.0", "method": "notifications/cancelled"}):
        reply = site.client.post("/mcp", body, headers=ACCEPT)
        assert reply.status == 202 and not reply.body, (body, reply)


def test_the_version_of_a_request(site):
    for version in ("2025-03-26", "2025-06-18", "2025-11-25"):
        assert rpc(site, "legacy", "ping", extra={"MCP-Protocol-Version": version}).json["result"] == {}
    for version in ("2024-11-05", "1", "2025-11-26", ""):
        error(rpc(site, "legacy", "ping", extra={"MCP-Protocol-Version": version}), -32000, 400)


@ERA
def test_methods_of_the_other_versions(site, era):
    for method in {"legacy": ("server/discover",), "modern": ("initialize", "ping")}[era] + ("logging/setLevel", "prompts/list", "x"):
        error(rpc(site, era, method), -32601, 404 if era == "modern" else 200)


# ---- the modern version ----

def without(body, *path):
    at = body["params"]
    for name in path[:-1]:
        at = at[name]
    del at[path[-1]]
    return body


@pytest.mark.parametrize("change", ["_meta", "protocolVersion", "clientCapabilities"])
def test_what_each_modern_request_says(site, change):
    path = ("_meta",) if change == "_meta" else ("_meta", META + change)
    reply = site.client.post("/mcp", without(message("modern", "tools/list"), *path), headers=headers("modern", "tools/list"))
    error(reply, -32602, 400)


@pytest.mark.parametrize("name, value", [("MCP-Protocol-Version", None), ("Mcp-Method", None), ("Mcp-Method", "Tools/call"),
                                         ("Mcp-Name", None),
                                         ("Mcp-Name", "ask_Assistant"), ("MCP-Protocol-Version", "2025-11-25"),
                                         ("Mcp-Name", "=?base64?YXNrX2Fzc2lzdGFu?=")])
def test_header_fields_that_differ(site, model, name, value):
    error(rpc(site, "modern", "tools/call", ask("x"), extra={name: value}), -32020, 400)
    assert model.requests == []


def test_a_name_that_is_encoded(site, model):
    model.play(answer("Hello"))
    encoded = {"Mcp-Name": "=?base64?YXNrX2Fzc2lzdGFudA==?="}
    assert rpc(site, "modern", "tools/call", ask("x"), extra=encoded).json["result"]["structuredContent"]["answer"] == "Hello"


def test_a_version_that_is_not_supported(site):
    body = message("modern", "tools/list")
    body["params"]["_meta"][META + "protocolVersion"] = "2027-01-01"
    reply = site.client.post("/mcp", body, headers={**headers("modern", "tools/list"), "MCP-Protocol-Version": "2027-01-01"})
    assert error(reply, -32022, 400)["data"] == {"supported": [MODERN], "requested": "2027-01-01"}


def test_discover(site):
    result = rpc(site, "modern", "server/discover").json["result"]
    assert result["supportedVersions"] == [MODERN] and result["capabilities"] == {"tools": {}} and result["resultType"] == "complete"
    assert result["ttlMs"] > 0 and result["cacheScope"] == "public" and result["_meta"][META + "serverInfo"]["name"] == "mod_agentchat"


# ---- tools ----

AGENTS = """
<AgentChatAgent zebra>
    AgentChatModel scripted
    AgentChatDescription "Knows all about stripes."
</AgentChatAgent>
<AgentChatAgent "dotted.name">
    AgentChatModel scripted
</AgentChatAgent>
<AgentChatAgent off>
    AgentChatModel scripted
    AgentChatStatus inactive
</AgentChatAgent>
"""


@ERA
def test_each_active_agent_is_a_tool(make_server, model, era):
    site = make_server(ON + AGENTS)
    result = rpc(site, era, "tools/list").json["result"]
    names = [tool["name"] for tool in result["tools"]]
    assert len(names) == 3 and names == sorted(names) and names[0] == "ask_assistant" and names[2] == "ask_zebra"
    assert re.fullmatch(r"ask_dotted_name-[0-9a-f]{8}", names[1])
    zebra = result["tools"][2]
    assert zebra["title"] == "zebra" and zebra["description"] == "Knows all about stripes."
    assert zebra["inputSchema"]["required"] == ["message"] and zebra["outputSchema"]["required"] == ["answer", "thread_id", "run_id"]
    assert ("ttlMs" in result, result.get("cacheScope")) == ((True, "private") if era == "modern" else (False, None))
    model.play(answer("Dots."))
    reply = rpc(site, era, "tools/call", {"name": names[1], "arguments": {"message": "x"}})
    assert reply.json["result"]["structuredContent"]["answer"] == "Dots."
    error(call(site, era, "x", agent="off"), -32602)


def test_a_list_of_pages(make_server):
    many = "".join(f"<AgentChatAgent a{i:03}>\nAgentChatModel scripted\n</AgentChatAgent>\n" for i in range(220))
    site = make_server(ON + many)
    names, cursor = [], None
    for size in (100, 100, 21):
        result = rpc(site, "legacy", "tools/list", {"cursor": cursor} if cursor else None).json["result"]
        assert len(result["tools"]) == size
        names, cursor = names + [tool["name"] for tool in result["tools"]], result.get("nextCursor")
    assert cursor is None and names == sorted(set(names)) and len(names) == 221
    for wrong in ("x", "", 7, "ask_ä"):
        error(rpc(site, "legacy", "tools/list", {"cursor": wrong}), -32602)


# ---- calls ----

@ERA
def test_a_call_and_its_thread(site, model, era):
    model.play(answer("Hel", "lo"), answer("Fine"))
    first = call(site, era, "hi")
    assert first.status == 200 and first.headers["content-type"] == "application/json"
    result = first.json["result"]
    content = result["structuredContent"]
    assert content["answer"] == "Hello" and result["content"][0] == {"type": "text", "text": "Hello"} and "isError" not in result
    assert json.loads(result["content"][1]["text"]) == {"thread_id": content["thread_id"], "run_id": content["run_id"]}
    assert result.get("resultType") == ("complete" if era == "modern" else None)
    again = call(site, era, "and you?", thread=content["thread_id"]).json["result"]["structuredContent"]
    assert again["thread_id"] == content["thread_id"] and again["run_id"] != content["run_id"]
    assert [m["content"] for m in model.requests[1].json["messages"]][-3:] == ["hi", "Hello", "and you?"]
    assert [m["content"] for m in site.client.messages(content["thread_id"])] == ["hi", "Hello", "and you?", "Fine"]
    assert site.client.get("/runs/" + content["run_id"]).json["status"] == "completed"


@ERA
@pytest.mark.parametrize("params, code", [({}, -32602), ({"name": "nope"}, -32602), ({"name": 3}, -32602),
                                          ({"name": "ask_assistant", "arguments": []}, -32602)])
def test_a_call_of_no_tool(site, model, era, params, code):
    error(rpc(site, era, "tools/call", params, extra={"Mcp-Name": str(params.get("name", ""))}), code)
    assert model.requests == []


@ERA
@pytest.mark.parametrize("arguments, code, said", [
    (None, "invalid_request", "/message"), ({"message": 3}, "invalid_request", "/message"),
    ({"message": " \n"}, "message_empty", "/message"),
    ({"message": "x", "threadId": "t"}, "invalid_request", "/threadId"), ({"message": "x" * 262_145}, "invalid_request", "/message"),
    ({"message": "x", "thread_id": "mine"}, "not_found", "/thread_id"),
    ({"message": "x", "thread_id": "thread_" + "0" * 26}, "not_found", ""),
])
def test_the_model_reads_what_is_wrong_with_its_arguments(site, model, era, arguments, code, said):
    params = {"name": "ask_assistant", **({"arguments": arguments} if arguments is not None else {})}
    assert said in text_of(failure(rpc(site, era, "tools/call", params), code))
    assert model.requests == []


@ERA
def test_a_client_that_takes_no_stream(site, model, era):
    model.play(calls(("calculate", {"expression": "6*7"})), answer("42"))
    reply = rpc(site, era, "tools/call", ask("x"), token="t", extra={"Accept": "application/json"})
    assert reply.headers["content-type"] == "application/json" and reply.json["result"]["structuredContent"]["answer"] == "42"


# ---- progress and heartbeats ----

def messages_of(events):
    return [event.json for event in events]


@ERA
@pytest.mark.parametrize("progress", ["t-1", 7])
def test_progress(site, model, era, progress):
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1+1"})), holding(gate))
    got = stream(site, era, ask("x"), token=progress)
    assert got.headers["content-type"] == "text/event-stream" and got.headers["x-accel-buffering"] == "no"
    reports = messages_of([got.next(), got.next()])
    gate.open()
    last, = messages_of(got.rest())
    assert [m["method"] for m in reports] == ["notifications/progress"] * 2 and all("id" not in m for m in reports)
    assert [m["params"]["message"] for m in reports] == ["Calling calculate"] * 2
    assert all(m["params"]["progressToken"] == progress for m in reports)
    assert reports[0]["params"]["progress"] < reports[1]["params"]["progress"]
    assert last["id"] == 1 and last["result"]["structuredContent"]["answer"] == "onetwo"


@ERA
def test_heartbeats(make_server, model, era):
    """Comments, or progress where the client wants it; the number grows over both kinds of progress."""
    site = make_server(ON.replace("on\n", "on\nAgentChatHeartbeat 1s\n", 1))
    for progress in (None, 1):
        gate = Gate()
        model.play(holding(gate, before=()))
        got = stream(site, era, ask("x"), token=progress)
        beats = [got.any(), got.any()]
        gate.open()
        if progress is None:
            assert [beat.comment for beat in beats] == ["heartbeat"] * 2
        else:
            numbers = [beat.json["params"]["progress"] for beat in beats]
            assert numbers[0] < numbers[1] and beats[0].json["params"]["message"] == "The agent is working"
        last = messages_of(got.rest())[-1]
        assert last["result"]["structuredContent"]["answer"] == "two"


# ---- faults of a run ----

def broken_before(_request):
    yield Reply(500, {"error": {"message": "out of order"}})


def broken_after(_request):
    yield head()
    yield token("Half")
    yield Cut()


@ERA
@pytest.mark.parametrize("script", [broken_before, broken_after])
def test_a_model_that_fails(site, model, era, script):
    model.default = script
    result = failure(call(site, era, "x"), "model_error")
    assert re.search(r"thread_id thread_\w{26}\)$", result["content"][-1]["text"])
    run_id, thread = run_of(site.client)
    assert site.client.get("/runs/" + run_id).json["status"] == "failed" and thread in result["content"][-1]["text"]
    site.expect_log("AC0503")


@ERA
def test_a_failure_after_progress(site, model, era):
    model.play(calls(("calculate", {"expression": "6*7"})), broken_after)
    model.default = broken_before
    got = stream(site, era, ask("x"), token=1)
    got.next()
    last, = messages_of(got.rest())
    assert last["id"] == 1 and last["result"]["isError"] and last["result"]["_meta"]["agentchat/code"] == "model_error"
    site.expect_log("AC0503")


@ERA
def test_a_thread_with_an_active_run(site, model, era):
    gate = Gate()
    model.play(holding(gate))
    other = site.client.stream("/agents/assistant/chat", {"message": "x"})
    thread = other.next().json["thread_id"]
    failure(call(site, era, "y", thread=thread), "run_in_progress")
    gate.open()
    other.rest()
    assert len(model.requests) == 1 and len(site.client.messages(thread)) == 2


@ERA
def test_limits(make_server, model, within_a_day, era):
    limited = "<Location {path}>\nSetHandler agentchat\nAgentChatAnonymous on\nAgentChatMCPServer on\nAgentChatLimit {limit}\n</Location>\n"
    site = make_server(limited.format(path="/requests", limit="requests=1/hour") + limited.format(path="/runs", limit="tokens=1/hour"))
    model.play(answer("one"))
    requests, runs = Client(site.port, "/requests"), Client(site.port, "/runs")
    assert rpc(site, era, "tools/list", mount=requests).status == 200
    refused = rpc(site, era, "tools/list", mount=requests)
    assert error(refused, -32000, 429, id=None)["data"]["code"] == "rate_limited" and int(refused.headers["retry-after"]) > 0
    assert call(site, era, "x", mount=runs).json["result"]["structuredContent"]["answer"] == "one"
    refused = call(site, era, "x", mount=runs)
    assert failure(refused, "rate_limited")["_meta"]["agentchat/retry_after_ms"] > 0 and int(refused.headers["retry-after"]) > 0
    assert len(model.requests) == 1


def test_a_stop_of_the_server(make_server, model):
    site = make_server(ON + "AgentChatDrain 0\n")
    gate = Gate()
    model.play(holding(gate))
    got = stream(site, "legacy", ask("x"))
    gate.wait_reached()
    site.stop()
    gate.open()
    assert got.status == 200


# ---- cancelling ----

def status_of(site, run_id):
    return site.client.get("/runs/" + run_id).json["status"]


def begun(site, model, era, **more):
    """A call whose run waits at a gate; the run."""
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate))
    got = stream(site, era, ask("x"), token=1, **more)
    got.next()
    gate.wait_reached()
    return got, run_of(site.client)[0], gate


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_a_modern_client_cancels_by_closing_the_stream(make_server, model, mpm):
    site = make_server(ON, mpm=mpm)
    got, run_id, gate = begun(site, model, "modern")
    got.close()
    wait_until(lambda: status_of(site, run_id) == "cancelled", "the run continues")
    gate.open()


def test_a_modern_client_cancels_before_there_is_an_answer(site, model):
    gate = Gate()
    model.play(holding(gate))
    connection = site.client.connect()
    connection.send("POST", "/api/mcp", message("modern", "tools/call", ask("x")), headers("modern", "tools/call", ask("x")))
    gate.wait_reached()
    run_id = wait_until(lambda: site.client.get("/threads").json["data"] and run_of(site.client)[0], "no run")
    connection.close()
    wait_until(lambda: status_of(site, run_id) == "cancelled", "the run continues")
    gate.open()


def test_a_legacy_run_continues_without_its_client(site, model):
    got, run_id, gate = begun(site, model, "legacy", session=session(site))
    got.close()
    gate.open()
    wait_until(lambda: status_of(site, run_id) == "completed", "the run has not ended")


def cancel(site, id, session_id):
    body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id, "reason": "enough"}}
    return site.client.post("/mcp", body, headers={**ACCEPT, "Mcp-Session-Id": session_id})


@pytest.mark.parametrize("id", [3, "a"])
def test_a_legacy_client_cancels_by_a_notification(site, model, id):
    mine = session(site)
    got, run_id, gate = begun(site, model, "legacy", session=mine, id=id)
    for other in (session(site), "x", None):        # the same number of another client is another request
        assert cancel(site, id, other).status == 202
    assert cancel(site, 4, mine).status == 202 and status_of(site, run_id) == "in_progress"
    assert cancel(site, id, mine).status == 202
    last = messages_of(got.rest())[-1]
    assert last["id"] == id and last["result"]["isError"] and last["result"]["_meta"]["agentchat/code"] == "cancelled"
    assert status_of(site, run_id) == "cancelled"
    gate.open()
    assert cancel(site, id, mine).status == 202     # too late is no error


def test_a_legacy_request_that_is_sent_twice_runs_once(site, model):
    mine = session(site)
    model.play(answer("one"))
    first, again = (call(site, "legacy", "x", session=mine, id=5).json for _ in range(2))
    assert first == again and len(model.requests) == 1
    model.play(answer("two"))                       # the same number with another message: the client counts from the beginning again
    assert call(site, "legacy", "y", session=mine, id=5).json["result"]["structuredContent"]["answer"] == "two"
