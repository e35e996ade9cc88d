# SPDX-License-Identifier: Apache-2.0
"""AG-UI's interrupts: calls that await approval, and their answers, with its client of two versions."""
import re
import subprocess

import pytest

import peers
from agui_client import (ALL, NEW, ON, body, calls_of, end, events_of, finish_of, ids_of, question, results_of, run, said, start, stored,
                         types)
from approvals import MAIL, TOOLS, mail, make, make_on_store      # noqa: F401 (fixtures)
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile
from model_server import Gate, Reply, answer, calls
from runs import kill_child, wait_until
from server import TOP
from test_approvals import ended

EACH = pytest.mark.parametrize("client", ALL)
SECRETARY = {"agent": "secretary"}
YES, NO = {"approved": True}, {"approved": False, "reason": "not now"}


@pytest.fixture
def site(make):
    return make(ON)


def asked(step):
    """The interrupts with which a run ended."""
    outcome = finish_of(step)
    assert outcome["type"] == "interrupt" and outcome["interrupts"], outcome
    return outcome["interrupts"]


def answers(interrupts, *payloads):
    return [{"interruptId": i["id"], "status": "resolved", "payload": payload} if payload else
            {"interruptId": i["id"], "status": "cancelled"} for i, payload in zip(interrupts, payloads)]


@EACH
def test_an_approved_call(site, model, mail, client):
    model.play(calls(MAIL, said="Let me."), answer("Sent."), answer("Again."))
    result = run(client, site, ["send", "mail"], ["resume", YES], ["send", "more"], **SECRETARY)
    first, second, third = result["steps"]
    interrupt, = asked(first)
    assert interrupt["reason"] == "tool_call" and interrupt["id"] == interrupt["toolCallId"] == calls_of(first)[0]["id"]
    assert interrupt["responseSchema"]["required"] == ["approved"] and interrupt["expiresAt"].endswith("Z"), interrupt
    assert "send_mail" in interrupt["message"] and first["pending"] == [interrupt] and second["pending"] == []
    assert types(first)[-4:] == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "RUN_FINISHED"]
    assert types(second)[:3] == ["RUN_STARTED", "CUSTOM", "TOOL_CALL_RESULT"] and not {"TOOL_CALL_START"} & set(types(second))
    assert first["events"][0]["runId"] != second["events"][0]["runId"] == second["events"][-1]["runId"]
    assert ids_of(first)["run_id"] == ids_of(second)["run_id"] and ids_of(third)["run_id"] != ids_of(first)["run_id"]
    assert [role for role, _ in said(result)] == ["user", "assistant", "tool", "assistant", "user", "assistant"], result
    assert said(second)[1] == ("assistant", "Let me.") and said(second)[-1] == ("assistant", "Sent.") and third["error"] is None
    assert '"sent"' in results_of(result)[0] and len(mail.requests) == 1 and len(model.requests) == 3
    assert stored(site, ids_of(third)["thread_id"]) == [("user", "mail"), ("assistant", "Let me.\n\nSent."), ("user", "more"),
                                                        ("assistant", "Again.")]


@EACH
@pytest.mark.parametrize("step", [["resume", NO], ["resume", None, "cancelled"]])
def test_a_refused_call(site, model, mail, client, step):
    model.play(calls(MAIL), answer("Then not."))
    result = run(client, site, ["send", "mail"], step, **SECRETARY)
    assert result["error"] is None and said(result)[-1] == ("assistant", "Then not.") and mail.requests == [], result
    assert "did not approve" in results_of(result)[0] and ("not now" in results_of(result)[0]) == (step[1] is not None)


@EACH
def test_several_at_once_and_one_that_needs_none(site, model, mail, client):
    """The answers come in another order than the calls, and differ."""
    model.play(calls(MAIL, ("calculate", {"expression": "6*7"}), ("send_mail", {"to": "c@d"}), said="Let me."), answer("One of them."))
    process = start(client, site, [["send", "mail"], ["gate"], ["reload"]], **SECRETARY)
    wait_until(lambda: site.client.get("/threads").json["data"], "the turn is not stored")
    process.stdin.write("\n")
    process.stdin.flush()
    first = end(process)
    interrupts = asked(first["steps"][0])
    assert [i["toolCallId"] for i in interrupts] == [c["id"] for c in calls_of(first["steps"][0]) if c["function"]["name"] == "send_mail"]
    assert first["pending"] == interrupts and said(first) == said(first["steps"][0]), first     # a page that is opened again asks, too
    resume = answers(list(reversed(interrupts)), NO, YES)
    refused = run(client, site, ["resumeAs", resume[:1]], messages=first["messages"], **SECRETARY)
    assert refused["error"]["status"] == 400 and "has no answer" in refused["error"]["message"] and refused["steps"][0]["reports"] == 1
    result = run(client, site, ["resumeAs", resume], messages=first["messages"], **SECRETARY)
    assert result["error"] is None and said(result)[-1] == ("assistant", "One of them."), result
    assert [request.json for request in mail.requests] == [{"to": "a@b"}]
    outcomes = {m["toolCallId"]: m["content"] for m in result["messages"] if m["role"] == "tool"}
    assert "sent" in outcomes[interrupts[0]["id"]] and "not now" in outcomes[interrupts[1]["id"]] and len(outcomes) == 3, outcomes


@EACH
def test_a_second_round_that_waits_too(site, model, mail, client):
    model.play(calls(MAIL), calls(("send_mail", {"to": "c@d"}), said="Another."), answer("Done."))
    result = run(client, site, ["send", "mail"], ["resume", YES], ["resume", YES], **SECRETARY)
    first, second, third = result["steps"]
    assert len(asked(first)) == len(asked(second)) == 1 and asked(first) != asked(second)
    assert finish_of(third) == {"type": "success"} and types(third).count("TOOL_CALL_RESULT") == 1 and len(mail.requests) == 2
    assert said(result)[-3:] == [("assistant", "Another."), ("tool", results_of(result)[1]), ("assistant", "Done.")], result
    assert len({m["id"] for m in result["messages"]}) == len(result["messages"]) == 6


@EACH
def test_the_answer_after_a_kill(site, model, mail, client):
    model.play(calls(MAIL, said="Let me."), answer("Sent."))
    first = run(client, site, ["send", "mail"], **SECRETARY)
    for pid in site.children():
        kill_child(site, pid)
    result = run(client, site, ["reload"], ["resume", YES], **SECRETARY)
    assert result["steps"][0]["pending"] == first["pending"] and said(result["steps"][0]) == said(first), result
    assert result["error"] is None and said(result)[-1] == ("assistant", "Sent.") and len(mail.requests) == 1
    assert types(result["steps"][1])[:3] == ["RUN_STARTED", "CUSTOM", "TOOL_CALL_RESULT"], types(result["steps"][1])


@EACH
def test_an_answer_that_is_sent_twice(site, model, mail, client):
    """While the call is made, and when the run has ended: each stream has the result and the text."""
    gate = Gate()

    def deliver(_request):
        yield gate
        yield Reply(200, {"sent": True})
    mail.default = deliver
    model.play(calls(MAIL), answer("Sent."))
    first = run(client, site, ["send", "mail"], **SECRETARY)
    resume = answers(first["pending"], YES)
    version = {"protocolVersion": "1.0"} if client == NEW else {}
    again = body(*first["messages"], run_id="again", resume=resume, **version)
    streams = [site.client.stream("/agui/secretary", again) for _ in range(2)]
    gate.wait_reached()
    gate.open()
    late = site.client.stream("/agui/secretary", {**again, "runId": "late"})
    for stream in [*streams, late]:
        events = events_of(stream)
        assert [e["type"] for e in events] == ["RUN_STARTED", "CUSTOM", "TOOL_CALL_RESULT", "TEXT_MESSAGE_START",
                                               "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"], events
    assert len(mail.requests) == 1 and len(model.requests) == 2
    other = run(client, site, ["resumeAs", answers(first["pending"], NO)], messages=first["messages"], **SECRETARY)
    assert other["error"]["status"] == 409 and "not_waiting" in other["error"]["message"] and len(mail.requests) == 1, other
    missed = run(client, site, ["resumeAs", resume], messages=first["messages"], **SECRETARY)
    assert missed["error"] is None and said(missed)[-1] == ("assistant", "Sent."), missed


@EACH
def test_an_answer_that_comes_too_late(make, model, mail, client):
    site = make(ON + "AgentChatApprovalTimeout 1s\n")
    model.play(calls(MAIL), answer("Then not."))
    first = run(client, site, ["send", "mail"], **SECRETARY)
    ended(site, ids_of(first["steps"][0])["run_id"])
    late = run(client, site, ["resumeAs", answers(first["pending"], YES)], messages=first["messages"], **SECRETARY)
    assert late["error"]["status"] == 409 and "not_waiting" in late["error"]["message"] and late["steps"][0]["reports"] == 1, late
    assert mail.requests == []
    given_up = run(client, site, ["resumeAs", answers(first["pending"], None)], messages=first["messages"], **SECRETARY)
    assert given_up["error"] is None and said(given_up)[-1] == ("assistant", "Then not."), given_up
    assert "not approved in time" in results_of(given_up)[0]


@EACH
def test_a_run_that_is_cancelled_while_it_waits(site, model, mail, client):
    model.play(calls(MAIL))
    first = run(client, site, ["send", "mail"], **SECRETARY)
    run_id = ids_of(first["steps"][0])["run_id"]
    assert site.client.post(f"/runs/{run_id}/cancel").status == 202
    ended(site, run_id)
    result = run(client, site, ["resumeAs", answers(first["pending"], None)], messages=first["messages"], **SECRETARY)
    assert result["error"] is None and len(results_of(result)) == 1 and mail.requests == [], result
    assert finish_of(result["steps"][0]) == ({"type": "cancelled"} if client == NEW else None)
    yes = run(client, site, ["resumeAs", answers(first["pending"], YES)], messages=first["messages"], **SECRETARY)
    assert yes["error"]["status"] == 409 and mail.requests == [], yes


def test_answers_that_are_wrong(site, model, mail):
    model.play(calls(MAIL), answer("Sent."))
    events = events_of(site.client.stream("/agui/secretary", body(question("mail"))))
    interrupt, = events[-1]["outcome"]["interrupts"]
    other = interrupt["id"][:-1] + "9"
    good = {"interruptId": interrupt["id"], "status": "resolved", "payload": YES}
    for wrong, pointer in (({**good, "interruptId": other}, "/resume/0/interruptId"),
                           ({**good, "interruptId": "x"}, "/resume/0/interruptId"),
                           ({**good, "status": "maybe"}, "/resume/0/status"), ({**good, "payload": {}}, "/resume/0/payload"),
                           ({**good, "payload": {"approved": "yes"}}, "/resume/0/payload"),
                           ({**good, "payload": {**YES, "reason": "x" * 1001}}, "/resume/0/payload"), ("x", "/resume/0/interruptId")):
        refused = site.client.post("/agui/secretary", body(resume=[wrong], run_id="r2"))
        assert (refused.status, refused.json["code"]) == (400, "invalid_request"), (wrong, refused)
        assert pointer in refused.body.decode() or "has no answer" in refused.json["detail"], (wrong, refused)
    elsewhere = site.client.post("/agui/secretary", body(resume=[good], run_id="r2", thread="talk-2"))
    assert elsewhere.status == 400 and "no interrupt with this id" in elsewhere.json["detail"], elsewhere
    busy = site.client.post("/agui/secretary", body(question("more", "u2"), run_id="r3"))
    assert (busy.status, busy.json["code"]) == (409, "run_in_progress")
    both = site.client.post("/agui/secretary", body(question("mail"), question("more", "u2"), run_id="r4", resume=[good]))
    assert both.status == 400 and "takes no message" in both.json["detail"], both
    assert mail.requests == [] and len(model.requests) == 1
    resumed = events_of(site.client.stream("/agui/secretary", body(question("mail"), run_id="r5", resume=[good])))
    assert resumed[-1]["outcome"] == {"type": "success"} and len(mail.requests) == 1, resumed


def test_the_code_of_the_manual(make_server, model, mail, tmp_path):
    """Both examples of HttpAgent, one behind the other, with this server's address, agent and key."""
    page = (TOP / "docs/ag-ui.md").read_text()
    first, second = (text for text in re.findall(r"^```js\n(.*?)^```$", page, re.M | re.S) if "CopilotRuntime" not in text)
    site = make_server(TOOLS.format(url=mail.url), start=False, modules=MODULES)
    keys = KeyFile(site.root / "keys")
    key = keys.make("ann-1", "owner=ann")
    site.conf.write_text(site.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                         "<Location /keys>\nAgentChatAGUI on\n</Location>\n")
    site.start()
    model.play(calls(MAIL, said="Let me."), answer("Sent."))
    program = tmp_path / "example.mjs"
    program.write_text((first + second + "console.log(agent.messages.at(-1).content);\n")
                       .replace("https://example.org/api/agui/assistant", f"http://127.0.0.1:{site.port}/keys/agui/secretary")
                       .replace("KEY", key))
    (tmp_path / "node_modules").symlink_to(peers.install(TOP / "tests/clients"))
    done = subprocess.run([peers.node_program(), str(program)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "Let me.\nSent.\n"), done
    assert len(mail.requests) == 1
