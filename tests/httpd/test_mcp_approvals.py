# SPDX-License-Identifier: Apache-2.0
"""Calls of agents that need an approval, in hosts of MCP: asked within the stream, by a call that is sent again, or elsewhere."""
import json
import re

import pytest

from approvals import MAIL, TOOLS, mail, make, make_on_store      # noqa: F401 (fixtures)
from mcp import ACCEPT, BOTH, CLIENTS, META, OF, ON, ask, call, headers, message, rpc, run, session, stream, text_of
from model_server import Gate, answer, calls
from runs import holding, run_of, wait_until

YES = {"action": "accept", "content": {"approve": True}}
NO = {"action": "accept", "content": {"approve": False, "reason": "not now"}}
ELSE = ("send_mail", {"to": "c@d"})
NAME = "ask_secretary"


@pytest.fixture
def site(make):
    return make(ON)


def answered(given, text, thread=None):
    content = given["result"]["structuredContent"]
    assert content["answer"] == text and not given["result"].get("isError"), given
    return content


# ---- clients that can ask their user ----

@pytest.mark.parametrize("kind", CLIENTS)
def test_an_approved_call(site, model, mail, kind):
    model.play(calls(MAIL, said="Let me."), answer("Sent."))
    result = run(kind, site, ["call", NAME, {"message": "mail"}], answers=[YES])
    content = answered(result["given"][1], "Let me.\n\nSent.")
    question, = result["asked"]
    assert 'send_mail with {"to":"a@b"}' in question["message"] and question["requestedSchema"]["required"] == ["approve"]
    assert len(mail.requests) == 1 and site.client.get("/runs/" + content["run_id"]).json["status"] == "completed"
    assert len([s for s in result["sent"] if s[1] == "tools/call"]) == (1 if OF[kind] == "legacy" else 2)
    assert len(site.client.messages(content["thread_id"])) == 2


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("no", [NO, {"action": "decline"}, {"action": "cancel"}])
def test_a_refused_call(site, model, mail, kind, no):
    model.play(calls(MAIL), answer("Then not."))
    result = run(kind, site, ["call", NAME, {"message": "mail"}], answers=[no])
    answered(result["given"][1], "Then not.")
    assert mail.requests == [] and ("not now" in model.requests[-1].json["messages"][-1]["content"]) == (no == NO)


@pytest.mark.parametrize("kind", CLIENTS)
def test_two_calls_at_once_and_a_second_round(site, model, mail, kind):
    model.play(calls(MAIL, ("calculate", {"expression": "6*7"}), ELSE), calls(("send_mail", {"to": "e@f"})), answer("All."))
    result = run(kind, site, ["call", NAME, {"message": "mail"}, {"progress": True}], answers=[YES, NO, YES])
    answered(result["given"][1], "All.")
    assert [re.search(r'"to":"(\w@\w)"', question["message"])[1] for question in result["asked"]] == ["a@b", "c@d", "e@f"]
    assert [json.loads(r.body)["to"] for r in mail.requests] == ["a@b", "e@f"]


@pytest.mark.parametrize("kind", ("sdk", "client"))
def test_a_question_that_the_client_cannot_put(site, model, mail, kind):
    """It says that it can ask, and answers the question with an error: the call is refused."""
    model.play(calls(MAIL), answer("Then not."))
    result = run(kind, site, ["call", NAME, {"message": "mail"}], answers=["broken"])
    answered(result["given"][1], "Then not.")
    assert mail.requests == []


# ---- clients that cannot ----

@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_that_cannot_ask(site, model, mail, kind):
    """The result says how to decide. The run continues without the client, and the thread has its answer."""
    model.play(calls(MAIL, ELSE), answer("Sent."), answer("Both were sent."))
    given = run(kind, site, ["call", NAME, {"message": "mail"}])["given"][1]["result"]
    run_id, thread = run_of(site.client)
    assert given["isError"] and given["_meta"]["agentchat/code"] == "approval_required" and len(given["content"]) == 3
    assert 'send_mail with {"to":"a@b"}' in given["content"][0]["text"] and "call_1" in text_of(given)
    assert run_id in given["content"][2]["text"] and thread in given["content"][2]["text"] and mail.requests == []
    assert site.client.get("/runs/" + run_id).json["status"] == "in_progress"
    for call_id in re.findall(r"call_id (\S+)\.", text_of(given)):
        assert site.client.post(f"/runs/{run_id}/approvals", {"call_id": call_id, "approve": True}).status == 202
    wait_until(lambda: site.client.get("/runs/" + run_id).json["status"] == "completed", "the run does not go on")
    assert len(mail.requests) == 2
    again = run(kind, site, ["call", NAME, {"message": "was it sent?", "thread_id": thread}])["given"][1]
    answered(again, "Both were sent.")


@pytest.mark.parametrize("kind", CLIENTS)
def test_approvals_are_refused_where_they_are_not_wanted(make_server, model, mail, kind):
    site = make_server(TOOLS.format(url=mail.url) + ON.replace(" on\n", " on approvals=refuse\n"))
    model.play(calls(MAIL), answer("I may not."))
    result = run(kind, site, ["call", NAME, {"message": "mail"}], answers=[YES])
    answered(result["given"][1], "I may not.")
    assert result["asked"] == [] and mail.requests == []


# ---- the modern form, byte by byte ----

def first_of(site, model, *scripts, **more):
    """The questions of a call, and the state."""
    model.play(*scripts)
    result = call(site, "modern", "mail", agent="secretary", elicits=True, **more).json["result"]
    assert result["resultType"] == "input_required" and META + "serverInfo" in result["_meta"], result
    return result["inputRequests"], result["requestState"]


def again(site, state, responses, agent="secretary", id=2):
    params = {**ask("mail", agent), "requestState": state, "inputResponses": responses}
    return rpc(site, "modern", "tools/call", params, id=id, elicits=True)


def test_questions_and_their_answers(site, model, mail):
    questions, state = first_of(site, model, calls(MAIL, ELSE), answer("Sent."))
    assert set(questions) == {"call_1", "call_2"} and all(q["method"] == "elicitation/create" for q in questions.values())
    assert run_of(site.client)[0] in state
    reply = again(site, state, {"call_1": YES, "call_2": NO})
    assert reply.json["id"] == 2 and reply.json["result"]["structuredContent"]["answer"] == "Sent." and len(mail.requests) == 1
    # Sent again, it neither runs nor decides anything again.
    assert again(site, state, {"call_1": YES, "call_2": YES}).json == reply.json and len(mail.requests) == 1 and len(model.requests) == 2


def test_answers_that_are_missing(site, model, mail):
    questions, state = first_of(site, model, calls(MAIL, ELSE), answer("Sent."))
    for responses in ({}, {"call_1": YES}):
        result = again(site, state, responses).json["result"]
        assert result["resultType"] == "input_required" and result["inputRequests"] == questions and result["requestState"] == state
    assert mail.requests == []
    assert again(site, state, {"call_1": NO, "call_2": YES}).json["result"]["structuredContent"]["answer"] == "Sent."
    assert len(mail.requests) == 2          # the first decision counts


def test_a_wrong_state(site, model, mail):
    _, state = first_of(site, model, calls(MAIL), answer("Sent."))
    run_id = state.split(":")[0]
    for wrong in ("x", "", run_id, run_id + ":1", run_id + ":1:x", run_id + ":x:1", run_id + ":-1:1", "run_x:1:1", state + ":1", 7):
        reply = again(site, wrong, {"call_1": YES})
        assert reply.status == 400 and reply.json["error"]["code"] == -32602, (wrong, reply)
    for responses in ({"call_1": True}, {"call_1": []}):
        assert again(site, state, responses).json["error"]["code"] == -32602
    nobodys = "run_" + "0" * 26 + ":1:1"
    assert again(site, nobodys, {"call_1": YES}).json["result"]["_meta"]["agentchat/code"] == "not_found"
    assert again(site, state, {"call_1": YES}, agent="assistant").json["result"]["_meta"]["agentchat/code"] == "not_found"
    assert mail.requests == []
    assert again(site, state, {"call_1": YES}).json["result"]["structuredContent"]["answer"] == "Sent."


def test_a_decision_that_was_made_elsewhere(site, model, mail):
    """And the run asks again at once: the second question reaches the client."""
    _, state = first_of(site, model, calls(MAIL), calls(ELSE), answer("All."))
    run_id = state.split(":")[0]
    assert site.client.post(f"/runs/{run_id}/approvals", {"call_id": "call_1", "approve": True}).status == 202
    wait_until(lambda: len(mail.requests) == 1 and len(model.requests) == 2, "the run does not go on")
    result = again(site, state, {"call_1": NO}).json["result"]
    assert result["resultType"] == "input_required" and "c@d" in json.dumps(result["inputRequests"]), result
    last = again(site, result["requestState"], dict.fromkeys(result["inputRequests"], YES)).json["result"]
    assert last["structuredContent"]["answer"] == "All."
    assert len(mail.requests) == 2


def test_closing_the_stream_cancels_the_run_that_resumes(site, model, mail):
    _, state = first_of(site, model, calls(MAIL))
    gate = Gate()
    model.play(holding(gate))
    params = {**ask("mail", "secretary"), "requestState": state, "inputResponses": {"call_1": YES}}
    connection = site.client.connect()
    connection.send("POST", "/api/mcp", message("modern", "tools/call", params, elicits=True), headers("modern", "tools/call", params))
    gate.wait_reached()
    run_id = state.split(":")[0]
    connection.close()
    wait_until(lambda: site.client.get("/runs/" + run_id).json["status"] == "cancelled", "the run continues")
    gate.open()


def test_long_arguments_are_cut(site, model, mail):
    """A person decides about what is shown; nothing of a call's size reaches the client's dialog."""
    many = [("send_mail", {"to": "ä" * 3000}) for _ in range(30)]
    questions, _ = first_of(site, model, calls(*many))
    shown = [q["params"]["message"] for q in questions.values()]
    assert len(shown) == 30 and all("(cut: " in text and len(text.encode()) < 1200 for text in shown)
    assert sum(len(text) for text in shown) < 30_000


# ---- the legacy form, byte by byte ----

def answer_to(site, id, result):
    return site.client.post("/mcp", {"jsonrpc": "2.0", "id": id, **result}, headers=ACCEPT)


def test_a_question_within_the_stream(site, model, mail):
    model.play(calls(MAIL), answer("Sent."))
    got = stream(site, "legacy", ask("mail", "secretary"), session=session(site, elicits=True))
    question = got.next().json
    assert question["method"] == "elicitation/create" and run_of(site.client)[0] in question["id"]
    for other in ("approval x y", "approval run_" + "0" * 26 + " call_1", 7):
        assert answer_to(site, other, {"result": YES}).status == 202
    assert mail.requests == []
    assert answer_to(site, question["id"], {"result": YES}).status == 202
    last, = [event.json for event in got.rest()]
    assert last["result"]["structuredContent"]["answer"] == "Sent." and len(mail.requests) == 1
    assert answer_to(site, question["id"], {"result": YES}).status == 202 and len(mail.requests) == 1


def test_a_session_of_a_client_that_cannot_ask(site, model, mail):
    for mine in (session(site), None, "mcpe_x"):
        model.play(calls(MAIL))
        result = call(site, "legacy", "mail", agent="secretary", session=mine).json["result"]
        assert result["_meta"]["agentchat/code"] == "approval_required"


@pytest.mark.parametrize("era", BOTH)
def test_a_cancelled_wait(site, model, mail, era):
    """The run is cancelled elsewhere while its question is open."""
    model.play(calls(MAIL))
    result = call(site, era, "mail", agent="secretary").json["result"]
    run_id, thread = run_of(site.client)
    assert result["isError"] and site.client.post(f"/runs/{run_id}/cancel").status == 202
    wait_until(lambda: site.client.get("/runs/" + run_id).json["status"] == "cancelled", "the run waits on")
    model.play(answer("Fine."))
    assert call(site, era, "x", agent="secretary", thread=thread).json["result"]["structuredContent"]["answer"] == "Fine."
    assert mail.requests == []
