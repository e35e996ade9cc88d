# SPDX-License-Identifier: Apache-2.0
"""Questions that a server of an older protocol asks on the stream of a call: the run's owner answers, and the stream is resumed."""
import json

import pytest

from agui_client import ON, body, events_of, question
from mcp_server import event, text
from model_server import Cut, Gate, Reply, answer, calls
from runs import wait_until
from test_approvals import all_events, decide, ended
from test_mcp_client import MCP, ask, make, mcp, tool_answers  # noqa: F401
from test_mcp_client_runs import ECHO, wait_for_approval

YES = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
DEFAULTS = {"type": "object", "properties": {"name": {"type": "string", "title": "Your name", "default": "Ann"},
                                             "count": {"type": "integer", "default": 3}, "all": {"type": "boolean", "default": False}}}


def elicit(message="Really?", schema=YES, id="e-1", **more):
    return {"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {"message": message, "requestedSchema": schema, **more}}


def reply_to(mcp, id="e-1"):  # noqa: F811
    """The client's answer to the question; None: none yet."""
    found = [request for request in mcp.requests if request.id == id and request.http == "POST" and not request.method]
    assert len(found) < 2, found
    return found[0] if found else None


def replied(mcp, id="e-1"):  # noqa: F811
    return wait_until(lambda: reply_to(mcp, id), "the question is not answered")


def result(mcp, value, n=0):  # noqa: F811
    """The result of a call, on a stream that is resumed."""
    return {"id": mcp.of("tools/call")[n].id, "result": text(value)}


def asking(mcp, *questions, sessions=True):  # noqa: F811
    """A server that asks this on the stream of its call, in an event that has an id; the result comes when it has the answer."""
    mcp.reset("legacy", sessions=sessions)
    mcp.results["echo"] = lambda _: iter([event(questions[0], id="s-1"), Gate()])

    def resumed(n):
        def stream(_request):
            replied(mcp, questions[n - 1]["id"])
            if n < len(questions):
                yield event(questions[n], id=f"s-{n + 1}")
                yield Gate()
            yield result(mcp, "done")
        return stream
    for n in range(1, len(questions) + 1):
        mcp.streams[f"s-{n}"] = resumed(n)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize("schema, content", [(YES, {"ok": True}), ({"type": "object", "properties": {}}, {})])
def test_a_question_becomes_an_approval(make, model, mcp, restart, sessions, schema, content):  # noqa: F811
    asking(mcp, elicit("Delete\x07 5 orders?", schema), sessions=sessions)
    server = make()
    run, request = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert request["question"] == {"server": "one", "message": "Delete 5 orders?"} and request["arguments"] == {"x": 1}
    assert mcp.of("initialize")[0].params["capabilities"] == {"elicitation": {}}
    call, = mcp.of("tools/call")
    assert call.closed.wait(10) and reply_to(mcp) is None
    if restart:
        server.stop()
        server.start()
    assert call.session not in [request.session for request in mcp.of("DELETE")] or not sessions
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0]["result"] == "done"
    reply, stream = reply_to(mcp), mcp.of("GET")[0]
    assert reply.json == {"jsonrpc": "2.0", "id": "e-1", "result": {"action": "accept", "content": content}}
    assert stream.headers["last-event-id"] == "s-1" and len(mcp.of("tools/call")) == len(mcp.of("GET")) == 1
    assert reply.session == stream.session == call.session and reply.version == stream.version == call.version
    assert not mcp.of("notifications/cancelled")
    if sessions:
        wait_until(lambda: call.session in [request.session for request in mcp.of("DELETE")], "the session is not ended")
        assert call.session not in json.dumps([event.json for event in all_events(server, run)])


@pytest.mark.parametrize("restart", [False, True])
def test_a_question_that_is_declined(make, model, mcp, restart):  # noqa: F811
    asking(mcp, elicit())
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    if restart:
        server.stop()
        server.start()
    assert decide(server, run, False, reason="too many").status == 202
    assert ended(server, run)["status"] == "completed" and "too many" in tool_answers(model)[0]["error"]
    assert replied(mcp).json["result"] == {"action": "decline"} and not mcp.of("GET")
    wait_until(lambda: mcp.of("tools/call")[0].session in [request.session for request in mcp.of("DELETE")], "the session is not ended")


@pytest.mark.parametrize("content", [None, {"name": "Bo", "all": True}])
def test_a_form_with_defaults(make, model, mcp, content):  # noqa: F811
    asking(mcp, elicit("As usual?", DEFAULTS))
    server = make()
    run, request = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert request["question"] == {"server": "one", "message": "As usual?", "form": DEFAULTS}
    assert decide(server, run, True, content=content).status == 202 and ended(server, run)["status"] == "completed"
    assert reply_to(mcp).json["result"] == {"action": "accept", "content": content or {"name": "Ann", "count": 3, "all": False}}


@pytest.mark.parametrize("question, reply", [
    (elicit(schema={"type": "object", "properties": {"name": {"type": "object"}}}), {"result": {"action": "cancel"}}),
    (elicit(mode="url", url="https://x.example"), {"error": {"code": -32601, "message": "not supported"}}),
    ({"jsonrpc": "2.0", "id": "e-1", "method": "sampling/createMessage"}, {"error": {"code": -32601, "message": "not supported"}})],
    ids=["object", "url", "sampling"])
def test_a_question_that_an_approval_cannot_answer(make, model, mcp, question, reply):  # noqa: F811
    mcp.reset("legacy", sessions=True)
    gate = Gate()
    mcp.results["echo"] = lambda _: iter([event(question, id="s-1"), gate, {"result": text("without")}])
    server = make()
    model.play(calls(ECHO), answer("x"))
    stream = server.client.stream("/agents/clerk/chat", {"message": "go"})
    assert replied(mcp).json == {"jsonrpc": "2.0", "id": "e-1", **reply}
    gate.open()
    assert stream.rest()[-1].type == "done" and tool_answers(model)[0]["result"] == "without" and not mcp.of("GET")


def test_a_stream_that_cannot_be_resumed(make, model, mcp):  # noqa: F811
    """Its events have no ids, so a question can be answered in this process only, in which no run awaits a person."""
    mcp.reset("legacy", sessions=True)
    mcp.results["echo"] = lambda _: iter([elicit(), {"result": text("without")}])
    server = make()
    ask(server, model, calls(ECHO), answer("x"))
    assert replied(mcp).json["result"] == {"action": "cancel"} and tool_answers(model)[0]["result"] == "without"


def test_one_question_after_the_other(make, model, mcp):  # noqa: F811
    asking(mcp, elicit("One?"), elicit("Two?", id=2))
    server = make()
    run, request = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert request["question"]["message"] == "One?"
    assert decide(server, run, True).status == 202
    stream = server.client.stream(f"/runs/{run}/events", method="GET")
    shown = (event.json["question"]["message"] for event in iter(stream.next, None) if "question" in event.json)
    assert [next(shown), next(shown)] == ["One?", "Two?"]
    stream.close()
    wait_until(lambda: decide(server, run, True).status == 202, "the run does not wait")
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0]["result"] == "done"
    assert len(mcp.of("tools/call")) == 1
    assert [get.headers["last-event-id"] for get in mcp.of("GET")] == ["s-1", "s-2"]


def test_a_form_that_is_filled_in_wrongly_at_first(make, model, mcp):  # noqa: F811
    asking(mcp, elicit("How many?", DEFAULTS))
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert decide(server, run, True, content={"count": "many"}).status == 202
    stream = server.client.stream(f"/runs/{run}/events", method="GET")
    problem = next(event.json["question"]["problem"] for event in iter(stream.next, None) if "problem" in event.json.get("question", {}))
    stream.close()
    assert problem == "count must be of type integer" and reply_to(mcp) is None
    assert decide(server, run, True, content={"count": 5}).status == 202 and ended(server, run)["status"] == "completed"
    assert reply_to(mcp).json["result"]["content"] == {"count": 5} and tool_answers(model)[0]["result"] == "done"


def test_a_question_that_the_resumed_stream_repeats(make, model, mcp):  # noqa: F811
    asking(mcp, elicit())
    mcp.streams["s-1"] = lambda _: iter([event(elicit(), id="s-1"), event(None, id="s-2"), Cut()])
    mcp.streams["s-2"] = lambda _: iter([result(mcp, "done")])
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0]["result"] == "done"
    assert reply_to(mcp).json["result"]["action"] == "accept"


def test_a_server_that_still_holds_the_first_connection(make, model, mcp):  # noqa: F811
    asking(mcp, elicit())
    mcp.before = lambda request: Reply(409, b"") if request.http == "GET" and len(mcp.of("GET")) == 1 else None
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0]["result"] == "done"
    assert len(mcp.of("GET")) == 2


@pytest.mark.parametrize("when", ["answer", "stream"])
def test_a_server_that_has_forgotten_the_question(make, model, mcp, when):  # noqa: F811
    """The call is not sent again: it may have done something."""
    asking(mcp, elicit())
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    if when == "answer":
        mcp.open_sessions.clear()
    else:
        del mcp.streams["s-1"]
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed" and len(mcp.of("tools/call")) == 1
    assert tool_answers(model)[0]["error"] == "the MCP server 'one' answered " + \
        ("with the error -32001: Session not found" if when == "answer" else "405")


def test_the_session_of_the_question_continues(make, model, mcp):  # noqa: F811
    """Calls beside it and after it, also in another process, use the session, and numbers of their own."""
    asking(mcp, elicit())
    ask_first = mcp.results["echo"]
    mcp.results["echo"] = lambda request: ask_first(request) if request.params["arguments"] else iter([{"result": text("plain")}])
    server = make()
    plain = ("one_echo", {})
    run, _ = wait_for_approval(server, model, calls(ECHO, plain), calls(plain), answer("End."))
    server.stop()
    server.start()
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed"
    asked = mcp.of("tools/call")
    assert len(asked) == 3 and len({call.session for call in asked}) == 1 and len({call.id for call in asked}) == 3


def test_a_run_that_is_cancelled_meanwhile(make, model, mcp):  # noqa: F811
    asking(mcp, elicit())
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    assert server.client.post(f"/runs/{run}/cancel", {}).status == 202
    assert ended(server, run)["status"] == "cancelled" and reply_to(mcp) is None and not mcp.of("GET")


def test_where_no_approval_is_possible(make_server, model, mcp):  # noqa: F811
    """A stateless completion has no owner who could be asked."""
    asking(mcp, elicit())
    server = make_server(MCP.format(url=mcp.url, more="") + "<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    model.play(calls(ECHO), answer("Then not."))
    reply = server.client.post("/v1/chat/completions", {"model": "clerk", "messages": [{"role": "user", "content": "go"}]})
    assert reply.json["choices"][0]["message"]["content"] == "Then not."
    assert "which is not possible here" in tool_answers(model)[0]["error"] and replied(mcp).json["result"] == {"action": "decline"}


def test_a_form_in_ag_ui(make_server, model, mcp):  # noqa: F811
    """The interrupt says what the server asks, and which form the answer has."""
    asking(mcp, elicit("As usual?", DEFAULTS))
    server = make_server(MCP.format(url=mcp.url, more="") + ON)
    model.play(calls(ECHO), answer("Ordered."))
    events = events_of(server.client.stream("/agui/clerk", body(question("order"))))
    interrupt, = events[-1]["outcome"]["interrupts"]
    assert interrupt["message"] == "As usual?" and interrupt["responseSchema"]["properties"]["content"] == DEFAULTS
    wrong = {"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True, "content": [1]}}
    refused = server.client.post("/agui/clerk", body(resume=[wrong], run_id="r2"))
    assert refused.status == 400 and "/resume/0/payload/content" in refused.body.decode()
    good = {**wrong, "payload": {"approved": True, "content": {"count": 5}}}
    resumed = events_of(server.client.stream("/agui/clerk", body(question("order"), run_id="r3", resume=[good])))
    assert resumed[-1]["outcome"] == {"type": "success"} and reply_to(mcp).json["result"]["content"] == {"count": 5}


@pytest.mark.parametrize("approve", [True, False])
def test_the_tool_of_another_server_gets_no_answer(make, model, mcp, approve):  # noqa: F811
    """By the time of the decision the name means the tool of a server that has not asked: the session is not sent there."""
    asking(mcp, elicit())
    server = make()
    run, _ = wait_for_approval(server, model, calls(ECHO), answer("End."))
    server.stop()
    conf = server.conf.read_text().replace("<AgentChatMCP one>", "<AgentChatMCP two>\nAgentChatMCPPrefix one_")
    server.conf.write_text(conf.replace("mcp:one", "mcp:two"))
    server.start()
    before = len(mcp.requests)
    assert decide(server, run, approve).status == 202
    assert ended(server, run)["status"] == "completed" and "error" in tool_answers(model)[0]
    session = mcp.of("tools/call")[0].session
    assert reply_to(mcp) is None and session not in [request.session for request in mcp.requests[before:]]
