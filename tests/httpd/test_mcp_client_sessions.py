# SPDX-License-Identifier: Apache-2.0
"""Tools of MCP servers: the two eras of the protocol, sessions, streams that break and continue, and what servers do wrong."""
import json

import pytest

from mcp_server import LEGACY, MODERN, Error, event, text, tool
from model_server import Cut, Gate, Reply, answer, calls
from runs import wait_until
from test_mcp_client import MCP, ask, era, make, mcp, offered, tool_answers  # noqa: F401

ECHO = ("one_echo", {})


def said(model):
    return [one.get("result", one.get("error")) for one in tool_answers(model)]


# ---- which era a server speaks ----

@pytest.mark.parametrize("refusal", [Reply(400, b""), Reply(404, {"error": "nothing here"}), Reply(405, b""), Reply(406, b""),
                                     Reply(415, b"no"), Error(-32000, "Bad Request: Server not initialized", 400),
                                     Error(-32600, "no session", 200)], ids=lambda r: str(r.status) + type(r).__name__)
def test_any_other_answer_leads_to_the_handshake(make, model, mcp, refusal):
    mcp.reset("legacy")
    mcp.before = lambda request: refusal if request.version == MODERN else None
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"]
    assert [request.method for request in mcp.requests] == ["tools/list", "initialize", "notifications/initialized", "tools/list",
                                                            "tools/call"]
    assert mcp.of("initialize")[0].params["protocolVersion"] == LEGACY and mcp.of("initialize")[0].version is None


@pytest.mark.parametrize("version", ["2025-11-25", "2025-06-18", "2025-03-26"])
def test_the_version_that_the_server_chooses(make, model, mcp, version):
    mcp.reset("legacy", sessions=True)
    mcp.version = version
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"] and mcp.of("tools/call")[0].version == version


@pytest.mark.parametrize("version", ["2024-11-05", "2030-01-01", "", None, 7])
def test_a_version_that_is_not_known(make, model, mcp, version):
    mcp.reset("legacy")
    mcp.version = version
    server = make()
    server.expect_log("AC0410")
    events = ask(server, model, answer("x"))
    assert "speaks version" in events[0].json["missing_tools"][0]["detail"] and events[-1].type == "done"
    assert not mcp.of("tools/call")


def test_a_version_of_the_future_only(make, model, mcp):
    mcp.version = "2099-01-01"
    server = make()
    server.expect_log("AC0410")
    events = ask(server, model, answer("x"))
    assert "-32022" in events[0].json["missing_tools"][0]["detail"] and not mcp.of("initialize")


def test_protocol_chooses_the_handshake_at_once(make_server, model, mcp):
    mcp.reset("legacy", sessions=True)
    server = make_server(MCP.format(url=mcp.url + " protocol=2025-11-25", more=""))
    ask(server, model, answer("x"))
    assert [request.method for request in mcp.requests] == ["initialize", "notifications/initialized", "tools/list"]


def test_a_server_that_becomes_modern(make, model, mcp):
    """It is replaced by a newer one while the process runs: the call finds out, and is sent in the other form."""
    mcp.reset("legacy", sessions=True)
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    mcp.era, mcp.version = "modern", MODERN
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"] and mcp.of("tools/call")[-1].version == MODERN


def test_a_server_that_becomes_legacy(make, model, mcp):
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    mcp.era, mcp.version, mcp.sessions = "legacy", LEGACY, True
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"] and mcp.of("tools/call")[-1].version == LEGACY


@pytest.mark.parametrize("kind", ["legacy", "modern"])
def test_a_list_of_the_older_form(make, model, mcp, kind):
    """A server answers the first request without having looked at its form: the handshake tells which one it speaks."""
    mcp.reset(kind)
    mcp.before = lambda request: {"tools": mcp.tools} if request.method == "tools/list" else None
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"] and len(mcp.of("initialize")) == 1
    assert mcp.of("tools/call")[0].version == (LEGACY if kind == "legacy" else MODERN)


# ---- sessions ----

def test_each_run_has_a_session_of_its_own(make, model, mcp):
    mcp.reset("legacy", sessions=True)
    server = make()
    ask(server, model, calls(ECHO, ECHO), calls(ECHO), answer("x"))
    ask(server, model, calls(ECHO), answer("x"))
    sessions = [call.session for call in mcp.of("tools/call")]
    assert sessions[0] == sessions[1] == sessions[2] != sessions[3]
    assert mcp.of("tools/list")[-1].session not in sessions
    assert {request.session for request in mcp.wait("DELETE", 2)} == set(sessions)


def test_a_shared_session(make, model, mcp):
    mcp.reset("legacy", sessions=True)
    server = make("AgentChatMCPSession shared")
    for _ in range(2):
        ask(server, model, calls(ECHO), answer("x"))
    assert len(mcp.of("initialize")) == 1 and not mcp.of("DELETE")
    assert {call.session for call in mcp.of("tools/call")} == {"session-1"}


def test_a_run_that_calls_nothing_opens_no_session(make, model, mcp):
    mcp.reset("legacy", sessions=True)
    server = make()
    ask(server, model, answer("x"))
    ask(server, model, answer("x"))
    assert len(mcp.of("initialize")) == 1


@pytest.mark.parametrize("more", ["", "AgentChatMCPSession shared"])
def test_a_session_that_the_server_has_forgotten(make, model, mcp, more):
    mcp.reset("legacy", sessions=True)
    server = make(more)
    gate = Gate()
    model.play(calls(ECHO), lambda request: iter([gate, *calls(ECHO)(request)]), answer("x"))
    stream = server.client.stream("/agents/clerk/chat", {"message": "go"})
    gate.wait_reached()
    mcp.open_sessions.clear()
    gate.open()
    assert stream.rest()[-1].type == "done"
    first, lost, again = mcp.of("tools/call")
    assert first.session == lost.session != again.session
    assert said(model) == ["echo: {}"] * 2


def test_the_session_of_the_list_is_opened_again(make, model, mcp):
    mcp.reset("legacy", sessions=True)
    server = make("AgentChatMCPRefresh 1s")
    ask(server, model, answer("x"))
    mcp.open_sessions.clear()
    mcp.tools = [tool("other")]

    def renewed():
        ask(server, model, answer("x"))
        return "one_other" in offered(model)
    wait_until(renewed, "the list is not read again")
    assert len(mcp.of("initialize")) == 2


def test_a_server_that_forgets_each_session_at_once(make, model, mcp):
    mcp.reset("legacy", sessions=True)
    mcp.before = lambda request: Reply(404, b"") if request.method == "tools/call" else None
    server = make()
    events = ask(server, model, calls(ECHO), answer("x"))
    assert events[-1].type == "done" and len(mcp.of("tools/call")) == 2
    assert said(model) == ["the MCP server 'one' answered 404"]


@pytest.mark.parametrize("session", ["with blank", "é", "x" * 1025])
def test_an_id_of_a_session_with_other_characters(make, model, mcp, session):
    """It cannot be sent back in a header."""
    mcp.reset("legacy")
    mcp.before = lambda request: Reply(200, {"jsonrpc": "2.0", "id": request.id, "result": {
        "protocolVersion": LEGACY, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}},
        {"Mcp-Session-Id": session.encode().decode("latin-1")}) if request.method == "initialize" else None
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["echo: {}"] and mcp.of("tools/call")[0].session is None


# ---- streams ----

def test_answers_as_event_streams(make, model, mcp, era):
    """As the project's own servers send them, also those of `initialize` and tools/list."""
    def streamed(request):
        if request.id is None or request.http != "POST":
            return None
        given = mcp._answer(request)
        if isinstance(given, Reply) and given.status == 200:
            given = json.loads(given.body)["result"]
        if not isinstance(given, dict):
            return given
        return lambda _: iter([b": hello\n\n", event(None, id="1"), b"event: other\ndata: {}\n\n",
                               {"method": "notifications/message", "params": {"level": "info", "data": "x"}}, {"result": given}])
    if era == "legacy":
        mcp.before = streamed
        server = make()
        ask(server, model, calls(ECHO), answer("x"))
        assert said(model) == ["echo: {}"]
    else:
        mcp.results["echo"] = lambda _: iter([b": hello\n\n", event(None), b"event: other\ndata: {}\n\n", b"data: no json\n\n",
                                              b"data: [1]\n\n", {"result": text("late")}])
        server = make()
        ask(server, model, calls(ECHO), answer("x"))
        assert said(model) == ["late"]


@pytest.mark.parametrize("sessions", [False, True])
def test_a_stream_that_breaks_is_resumed(make, model, mcp, sessions):
    mcp.reset("legacy", sessions=sessions)
    mcp.results["echo"] = lambda request: iter([event(None, id="a-1", retry="60"), Cut()])
    mcp.streams["a-1"] = lambda _: iter([event(None, id="a-2"), Cut()])
    server = make()

    def rest(_request):
        call, = mcp.of("tools/call")
        yield {"id": call.id, "result": text("at last")}
    mcp.streams["a-2"] = rest
    ask(server, model, calls(ECHO), answer("x"))
    assert said(model) == ["at last"]
    first, second = mcp.of("GET")
    assert [get.headers["last-event-id"] for get in (first, second)] == ["a-1", "a-2"]
    assert first.headers["accept"] == "text/event-stream" and first.version == LEGACY
    assert first.session == mcp.of("tools/call")[0].session and (first.session is not None) == sessions
    assert len(mcp.of("tools/call")) == 1


def test_a_stream_that_cannot_be_resumed(make, model, mcp):
    mcp.reset("legacy")
    mcp.results["echo"] = lambda request: iter([event(None, id="a-1", retry="60"), Cut()])
    server = make()
    events = ask(server, model, calls(ECHO), answer("x"))
    assert events[-1].type == "done" and len(mcp.of("tools/call")) == 1 and len(mcp.of("GET")) == 1
    assert said(model) == ["the MCP server 'one' answered 405"]


def test_a_server_that_breaks_each_stream(make, model, mcp):
    mcp.reset("legacy")
    mcp.results["echo"] = lambda request: iter([event(None, id="a-1", retry="60"), Cut()])
    mcp.streams["a-1"] = lambda _: iter([b": nothing new\n\n", Cut()])
    server = make()
    events = ask(server, model, calls(ECHO), answer("x"))
    assert events[-1].type == "done" and len(mcp.of("GET")) == 3
    assert "could not be reached" in said(model)[0]


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_lost_call_of_the_newer_era(make, model, mcp, idempotent):
    """Nothing resumes it. It is sent again only if the server calls the tool idempotent."""
    mcp.tools = [tool("echo", annotations={"idempotentHint": idempotent, "destructiveHint": False})]
    mcp.results["echo"] = lambda _: iter([b": begin\n\n", Cut()]) if len(mcp.of("tools/call")) == 1 else iter([{"result": text("b")}])
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    first, *more = mcp.of("tools/call")
    assert len(more) == idempotent and first.id not in [call.id for call in more]
    assert (said(model) == ["b"]) == idempotent


def test_what_a_server_asks_meanwhile(make, model, mcp):
    """A ping is answered; what this client has not declared is refused; the call continues. A form without an id of its event is
    like one that a person has closed: test_mcp_elicitation.py has the others."""
    mcp.reset("legacy", sessions=True)
    gate = Gate()
    mcp.results["echo"] = lambda _: iter([{"id": "p-1", "method": "ping"}, {"id": "s-1", "method": "sampling/createMessage", "params": {}},
                                          {"id": "e-1", "method": "elicitation/create", "params": {"message": "Name?"}},
                                          gate, {"result": text("done")}])
    server = make()
    model.play(calls(ECHO), answer("x"))
    stream = server.client.stream("/agents/clerk/chat", {"message": "go"})
    gate.wait_reached()

    def replies():
        found = [request for request in mcp.requests if request.json.get("id") in ("p-1", "s-1", "e-1")]
        return found if len(found) == 3 else None
    got = {request.id: request for request in wait_until(replies, "no answers came")}
    assert got["p-1"].json["result"] == {} and got["p-1"].session == mcp.of("tools/call")[0].session
    assert got["s-1"].json["error"]["code"] == -32601 and got["e-1"].json["result"] == {"action": "cancel"}
    gate.open()
    stream.rest()
    assert said(model) == ["done"]


def test_a_list_that_the_server_says_has_changed(make, model, mcp):
    mcp.reset("legacy")
    mcp.results["echo"] = lambda _: iter([{"method": "notifications/tools/list_changed"}, {"result": text("done")}])
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    mcp.tools = [tool("other")]
    ask(server, model, answer("x"))
    assert set(offered(model)) == {"calculate", "one_other"}


@pytest.mark.parametrize("gone", [Error(-32602, "Unknown tool: echo"), text("MCP error -32602: Tool echo not found", isError=True)],
                         ids=["error", "result"])
def test_a_tool_that_is_gone_renews_the_list(make, model, mcp, gone):
    server = make()
    ask(server, model, answer("x"))
    mcp.tools, mcp.results["echo"] = [tool("other")], gone
    ask(server, model, calls(ECHO), answer("x"))
    assert "-32602" in said(model)[0]
    ask(server, model, answer("x"))
    assert set(offered(model)) == {"calculate", "one_other"}


def test_headers_that_the_server_sees_differently(make, model, mcp):
    """Its tool has another header now: the list is read again, and the call is sent once more."""
    mcp.tools = [tool("echo", {"type": "object", "properties": {"x": {"type": "string"}}})]
    server = make()
    ask(server, model, answer("x"))
    mcp.tools = [tool("echo", {"type": "object", "properties": {"x": {"type": "string", "x-mcp-header": "X"}}})]
    mcp.before = lambda request: Error(-32020, "mismatch", 400) if request.method == "tools/call" and \
        "mcp-param-x" not in request.headers else None
    ask(server, model, calls(("one_echo", {"x": "v"})), answer("x"))
    assert said(model) == ['echo: {"x": "v"}'] and mcp.of("tools/call")[-1].headers["mcp-param-x"] == "v"


def test_a_flood_of_events_ends_its_own_call_only(make, model, mcp):
    mcp.tools = [tool("flood"), tool("echo")]
    flood = event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 60000}})
    mcp.results["flood"] = lambda _: iter(flood for _ in range(1000))
    server = make()
    events = ask(server, model, calls(("one_flood", {}), ECHO), answer("x"))
    assert events[-1].type == "done"
    first, second = said(model)
    assert "could not be reached" in first and second == "echo: {}"
