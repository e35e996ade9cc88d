# SPDX-License-Identifier: Apache-2.0
"""Calls that await approval, decided in the AI SDK's chat: its versions 6 and 7; version 5 by the native API."""
import pytest

from approvals import MAIL, TOOLS, mail, make, make_on_store      # noqa: F401 (fixtures)
from model_server import answer, calls
from runs import kill_child, wait_until
from test_ui import ALL, NEW, ON, run, said, start, end, stored, texts, thread_of

SECRETARY = {"body": {"agent_id": "secretary"}}


@pytest.fixture
def site(make):
    return make(ON)


def part_of(result, name="send_mail"):
    return [p for p in result["messages"][-1]["parts"] if p.get("toolName") == name]


@pytest.mark.parametrize("client", NEW)
def test_an_approved_call(site, model, mail, client):
    model.play(calls(MAIL, said="Let me."), answer("Sent."))
    result = run(client, site, ["send", "mail"], ["approve", True], **SECRETARY)
    waiting, = [p for p in result["steps"][0]["messages"][-1]["parts"] if p.get("toolName")]
    assert waiting["state"] == "approval-requested" and waiting["input"] == {"to": "a@b"} and not waiting.get("providerExecuted")
    assert result["error"] is None and texts(result["messages"][-1]) == "Let me.\n\nSent." and len(result["messages"]) == 2, result
    done, = part_of(result)
    assert done["state"] == "output-available" and done["output"]["sent"] is True and len(mail.requests) == 1
    assert result["steps"][0]["messages"][-1]["id"] == result["messages"][-1]["id"]
    assert stored(site, thread_of(result)) == [("user", "mail"), ("assistant", "Let me.\n\nSent.")]


@pytest.mark.parametrize("client", NEW)
def test_a_refused_call(site, model, mail, client):
    model.play(calls(MAIL), answer("Then not."))
    result = run(client, site, ["send", "mail"], ["approve", False, "not now"], **SECRETARY)
    done, = part_of(result)
    assert done["state"] == "output-denied" and said(result)[-1] == ("assistant", "Then not."), result
    assert mail.requests == [] and "not now" in model.requests[-1].json["messages"][-1]["content"]


@pytest.mark.parametrize("client", NEW)
def test_two_calls_at_once_and_one_that_needs_none(site, model, mail, client):
    model.play(calls(MAIL, ("calculate", {"expression": "6*7"}), ("send_mail", {"to": "c@d"})), answer("Both."))
    result = run(client, site, ["send", "mail"], ["approve", True], **SECRETARY)
    assert result["error"] is None and [p["state"] for p in part_of(result)] == ["output-available"] * 2, result
    assert part_of(result, "calculate")[0]["output"]["result"] == 42 and len(mail.requests) == 2
    assert said(result)[-1] == ("assistant", "Both.")


@pytest.mark.parametrize("client", NEW)
@pytest.mark.parametrize("eager", [False, True])
def test_one_of_two_calls_is_decided(site, model, mail, client, eager):
    """The client sends decisions when it has all of them. A page that sends each one at once loses none: the answer ends where the other
    call waits, and nothing is carried out before."""
    model.play(calls(MAIL, ("send_mail", {"to": "c@d"})), answer("One of them."))
    early = [["submit"]] if eager else []
    result = run(client, site, ["send", "mail"], ["decide", 0, True], *early, ["decide", 1, False], **SECRETARY)
    first, second = result["steps"][-2:]
    assert first["status"] == "ready" and first["error"] is None, first
    assert [p["state"] for p in part_of(first)] == ["approval-responded", "approval-requested"], first
    assert second["error"] is None and [p["state"] for p in part_of(result)] == ["output-available", "output-denied"], result
    assert said(result)[-1] == ("assistant", "One of them.") and len(mail.requests) == 1 and len(model.requests) == 2


@pytest.mark.parametrize("client", NEW)
def test_a_second_round_that_waits_too(site, model, mail, client):
    model.play(calls(MAIL), calls(("send_mail", {"to": "c@d"}), said="Another."), answer("Done."))
    result = run(client, site, ["send", "mail"], ["approve", True], ["approve", True], **SECRETARY)
    assert [p["state"] for p in part_of(result)] == ["output-available"] * 2 and len(mail.requests) == 2, result
    assert texts(result["messages"][-1]) == "Another.\n\nDone." and len(result["messages"]) == 2


@pytest.mark.parametrize("client", NEW)
def test_another_page_decides(site, model, mail, client):
    """A page that is opened later replays the run, and its stream ends where the call waits."""
    model.play(calls(MAIL, said="Let me."), answer("Sent."))
    run(client, site, ["send", "mail"], **SECRETARY)
    result = run(client, site, ["load"], ["resume"], ["approve", True], **SECRETARY)
    assert result["error"] is None and [p["state"] for p in part_of(result)] == ["output-available"], result
    assert texts(result["messages"][-1]) == "Let me.\n\nSent." and len(mail.requests) == 1


@pytest.mark.parametrize("client", NEW)
def test_a_decision_that_is_sent_twice(site, model, mail, client):
    model.play(calls(MAIL), answer("Sent."))
    first = run(client, site, ["send", "mail"], automatic=False, **SECRETARY)
    responded = first["messages"]
    part, = part_of(first)
    part.update(state="approval-responded", approval={"id": part["approval"]["id"], "approved": True})
    body = {"id": "chat-1", "messages": responded, "trigger": "submit-message", "messageId": responded[-1]["id"]}
    streams = [site.client.stream("/ui/chat", body) for _ in range(2)]
    for stream in streams:
        parts = [event.json for event in stream.rest()[:-1]]
        assert parts[0]["type"] == "start" and parts[-1]["type"] == "finish", parts
        assert "".join(p.get("delta", "") for p in parts) == "Sent."
    assert len(mail.requests) == 1
    late = site.client.stream("/ui/chat", body).rest()
    assert "".join(event.json.get("delta", "") for event in late[:-1]) == "Sent." and len(mail.requests) == 1


def test_a_call_that_was_not_asked_about(site, model, mail):
    model.play(calls(MAIL), answer("Sent."))
    first = run("ai", site, ["send", "mail"], automatic=False, **SECRETARY)
    part, = part_of(first)
    part.update(state="approval-responded", approval={"id": "call_9", "approved": True})
    parts = [e.json for e in site.client.stream("/ui/chat", {"id": "chat-1", "messages": first["messages"]}).rest()[:-1]]
    assert [p["type"] for p in parts] == ["start", "finish"] and mail.requests == [], parts
    assert part_of(run("ai", site, ["load"], ["resume"], ["approve", True], **SECRETARY))[0]["state"] == "output-available"


def test_the_decision_after_a_kill(site, model, mail):
    model.play(calls(MAIL), answer("Sent."))
    first = run("ai", site, ["send", "mail"], automatic=False, **SECRETARY)
    part, = part_of(first)
    part.update(state="approval-responded", approval={"id": part["approval"]["id"], "approved": True})
    for pid in site.children():
        kill_child(site, pid)
    parts = [e.json for e in site.client.stream("/ui/chat", {"id": "chat-1", "messages": first["messages"]}).rest()[:-1]]
    assert "".join(p.get("delta", "") for p in parts) == "Sent." and len(mail.requests) == 1
    assert [p["type"] for p in parts][:2] == ["start", "tool-output-available"], parts


def test_version_5_decides_by_the_native_api(make_server, model, mail):
    site = make_server(TOOLS.format(url=mail.url) + "<Location /api>\nAgentChatUI on approvals=data\n</Location>\n")
    model.play(calls(MAIL), answer("Sent."))
    process = start("ai5", site, [["send", "mail"]], **SECRETARY)

    def waiting():
        runs = [r for t in site.client.get("/threads").json["data"] for r in site.client.get(f"/threads/{t['id']}/runs").json["data"]]
        word = {"call_id": "call_1", "approve": True}
        return [r["id"] for r in runs if site.client.post(f"/runs/{r['id']}/approvals", word).status == 202]
    wait_until(waiting, "the run does not wait")
    result = end(process)
    assert result["error"] is None and said(result)[-1] == ("assistant", "Sent."), result
    approval, = [p for p in result["messages"][-1]["parts"] if p["type"] == "data-approval"]
    assert approval["data"]["tool"] == "send_mail" and approval["id"] == "call_1"
