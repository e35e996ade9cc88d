# SPDX-License-Identifier: Apache-2.0
"""Calls of tools that wait for the word of the run's owner: let through, refused, given up, cancelled; by any process."""
import json
import threading
import time

import pytest

from approvals import MAIL, TOOLS, mail, make, make_on_store      # noqa: F401 (fixtures)
from model_server import WAIT, Gate, answer, calls
from runs import CHILDREN, holding, wait_asleep, wait_until


def wants(*wanted, said="Let me."):
    return calls(*wanted, said=said)


def begin(server, model, *script):
    """A run that waits: its id, its thread and the events so far."""
    model.play(*script)
    stream = server.client.stream("/agents/secretary/chat", {"message": "mail"})
    events = []
    while not events or not events[-1].json.get("approval_required"):
        events.append(stream.next())
    stream.close()
    return events[0].json["run_id"], events[0].json["thread_id"], events


def decide(server, run, approve, call="call_1", **more):
    return server.client.post(f"/runs/{run}/approvals", {"call_id": call, "approve": approve, **more})


def ended(server, run):
    def over():
        got = server.client.get(f"/runs/{run}").json
        return got if got["status"] != "in_progress" else None
    return wait_until(over, "the run does not end")


def all_events(server, run, after=0):
    stream = server.client.stream(f"/runs/{run}/events", method="GET", headers={"Last-Event-ID": str(after)} if after else None)
    return stream.rest()


def numbers(events):
    return [int(e.fields["id"]) for e in events if "id" in e.fields]


def tool_answers(model, n=-1):
    return [json.loads(m["content"]) for m in model.requests[n].messages if m["role"] == "tool"]


def test_approved(make, model, mail):
    server = make()
    run, thread, events = begin(server, model, wants(MAIL, ("calculate", {"expression": "1+1"})), answer("Sent."))
    asked = events[-1].json
    assert asked["call_id"] == "call_1" and asked["tool"] == "send_mail" and asked["arguments"] == {"to": "a@b"}
    assert asked["awaiting"] == [{"call_id": "call_1", "tool": "send_mail"}] and "client_calls" not in asked
    assert not mail.requests
    shown = server.client.get(f"/runs/{run}").json
    assert shown["status"] == "in_progress"
    steps = server.client.get(f"/runs/{run}/steps").json["data"]
    assert [(s["call_id"], s["tool"], s["status"], s.get("approval")) for s in steps if s["type"] == "tool_call"] == [
        ("call_2", "calculate", "completed", None), ("call_1", "send_mail", "in_progress", "required")]
    busy = server.client.send(thread, "and?")
    assert (busy.status, busy.json["code"]) == (409, "run_in_progress")
    assert server.client.delete(f"/threads/{thread}?hard_delete=true").json["code"] == "run_in_progress"

    wrong = decide(server, run, True, call="call_2")
    assert (wrong.status, wrong.json["code"]) == (409, "not_waiting")
    done = decide(server, run, True)
    assert done.status == 202 and done.json["id"] == run
    final = ended(server, run)
    assert final["status"] == "completed" and final["rounds"] == 2 and final["usage"]["total_tokens"] == 30
    assert [r.json for r in mail.requests] == [{"to": "a@b"}]
    assert tool_answers(model)[0]["result"] == {"sent": True} and tool_answers(model)[1]["result"] == 2
    message = server.client.messages(thread)[-1]
    assert message["content"] == "Let me.\n\nSent." and message["tool_calls"][0]["result"] == {"sent": True}
    assert [part.get("id", part.get("text")) for part in message["parts"]] == ["Let me.", "call_1", "call_2", "\n\nSent."]
    steps = server.client.get(f"/runs/{run}/steps").json["data"]
    assert [(s["tool"], s["status"], s.get("approval")) for s in steps if s["type"] == "tool_call"] == [
        ("calculate", "completed", None), ("send_mail", "completed", "approved")]
    every = all_events(server, run)
    assert numbers(every) == list(range(1, len(every) + 1)) and every[-1].type == "done"
    assert [(e.json["type"], e.json["approved"]) for e in every if "approved" in e.json] == [("trace_update", True), ("trace_end", True)]
    again = decide(server, run, True)
    assert (again.status, again.json["code"]) == (409, "run_ended")


def test_refused_with_a_reason(make, model, mail):
    server = make()
    run, thread, _ = begin(server, model, wants(MAIL), answer("As you wish."))
    assert decide(server, run, False, reason="Not on a Sunday.").status == 202
    assert ended(server, run)["status"] == "completed"
    assert not mail.requests
    assert tool_answers(model) == [{"error": "the user did not approve this call, so it was not made; the user says: Not on a Sunday."}]
    step = [s for s in server.client.get(f"/runs/{run}/steps").json["data"] if s["type"] == "tool_call"]
    assert [(s["status"], s["approval"]) for s in step] == [("failed", "refused")]
    assert server.client.send(thread, "and now").status == 200


def test_text_without_words(make, model):
    server = make()
    run, thread, _ = begin(server, model, wants(MAIL), answer("x"))
    for body, pointer in (({"approve": True}, "/call_id"), ({"call_id": "call_1"}, "/approve"),
                          ({"call_id": 1, "approve": True}, "/call_id"),
                          ({"call_id": "call_1", "approve": "yes"}, "/approve"), ({"call_id": "call_1", "approve": None}, "/approve"),
                          ({"call_id": "call_1", "approve": True, "reason": "r" * 1001}, "/reason"),
                          ({"call_id": "call_1", "approve": True, "x": 1}, "/x")):
        response = server.client.post(f"/runs/{run}/approvals", body)
        assert response.status == 400 and response.json["errors"][0]["pointer"] == pointer, response
    unknown = server.client.post("/runs/run_00000000000000000000000000/approvals", {"call_id": "call_1", "approve": True})
    assert unknown.status == 404
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed"


def test_two_calls_are_decided_one_by_one(make, model, mail):
    server = make()
    run, _, events = begin(server, model, wants(MAIL, ("send_mail", {"to": "c@d"})), wants(("send_mail", {"to": "e@f"}), said="More."),
                           answer("Done."))
    assert decide(server, run, True, call="call_2").status == 202
    twice = decide(server, run, False, call="call_2")
    assert (twice.status, twice.json["code"]) == (409, "not_waiting")
    assert server.client.get(f"/runs/{run}").json["status"] == "in_progress" and not mail.requests
    assert decide(server, run, False, call="call_1").status == 202
    # the next round wants another one
    second = wait_until(lambda: [s for s in server.client.get(f"/runs/{run}/steps").json["data"] if s.get("approval") == "required"],
                        "the second round does not wait")
    assert second[0]["arguments"] == {"to": "e@f"}
    assert [r.json for r in mail.requests] == [{"to": "c@d"}]
    assert decide(server, run, True, call="call_1_r2").status == 202
    assert ended(server, run)["status"] == "completed"
    assert [r.json for r in mail.requests] == [{"to": "c@d"}, {"to": "e@f"}]
    every = all_events(server, run)
    assert numbers(every) == list(range(1, len(every) + 1))


def test_one_of_many_words_counts(make, model, mail):
    server = make(mpm="prefork")
    server.wait_children(4)
    for _ in range(3):
        del mail.requests[:]
        run, _, _ = begin(server, model, wants(MAIL), answer("Sent."))
        got, start = [], threading.Barrier(8)

        def say(i):
            start.wait()
            got.append(decide(server, run, True).status)
        speakers = [threading.Thread(target=say, args=(i,)) for i in range(8)]
        for speaker in speakers:
            speaker.start()
        for speaker in speakers:
            speaker.join()
        assert sorted(got) == [202] + [409] * 7
        assert ended(server, run)["status"] == "completed" and len(mail.requests) == 1


@pytest.mark.parametrize("how", ["stop", "graceful", "kill", "another machine"])
def test_it_survives_its_process(make, model, mail, how):
    """Followers continue without a gap or a repeat."""
    server = make()
    if how == "another machine" and not make.on_cosmos:
        pytest.skip("an embedded store has one machine")
    run, thread, events = begin(server, model, wants(MAIL), answer("Sent", " now."))
    if how == "stop":
        server.stop()
        server.start()
    elif how == "graceful":
        before = server.children()
        server.graceful()
        server.wait_gone(before)
        server.wait_children(1)
    elif how == "kill":
        server.expect_log("AH00098")
        server.kill()
        server.start()
    else:
        server = make()
    assert server.client.get(f"/runs/{run}").json["status"] == "in_progress"
    assert server.client.send(thread, "x").json["code"] == "run_in_progress"
    last = int(events[-1].fields["id"])
    if how == "another machine":                # which has the events only from when it resumes the run
        assert decide(server, run, True).status == 202
    follower = server.client.stream(f"/runs/{run}/events", method="GET", headers={"Last-Event-ID": str(last)})
    if how != "another machine":
        assert decide(server, run, True).status == 202
    rest = follower.rest()
    assert follower.status == 200 and rest, (follower.status, follower.raw)
    assert rest[-1].type == "done" and "".join(e.json["content"] for e in rest if e.type == "token") == "\n\nSent now."
    rest = [e for e in rest if e.type != "heartbeat"]
    assert numbers(rest) == list(range(last + 1, last + 1 + len(rest))), rest
    every = all_events(server, run)
    assert numbers(every) == list(range(1, last + 1 + len(rest)))
    assert [e.json for e in every[:len(events)]] == [e.json for e in events]
    assert len(mail.requests) == 1 and ended(server, run)["status"] == "completed"
    assert server.client.messages(thread)[-1]["content"] == "Let me.\n\nSent now."


def test_a_stop_does_not_wait_for_it(make, model):
    server = make("AgentChatDrain 10min\n")
    begin(server, model, wants(MAIL))
    before, began = server.children(), time.monotonic()
    server.graceful()
    server.wait_gone(before)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("how", ["graceful", "stop"])
@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_a_follower_is_asked_to_reconnect(make, model, mpm, how):
    """By a graceful restart after AgentChatDrain, as for a follower of an active run; also if the follower has a
    thread."""
    server = make("AgentChatDrain 1s\n", mpm=mpm)
    model.play(wants(MAIL))
    stream = server.client.stream("/agents/secretary/chat", {"message": "mail"})
    events = [stream.next()]
    while not events[-1].json.get("approval_required"):
        events.append(stream.next())
    run = events[0].json["run_id"]
    wait_asleep(server)
    before = server.children()
    if how == "graceful":
        server.graceful()
    else:
        server.stop()
    assert stream.until("error")[-1].json["code"] == "stopping"
    server.wait_gone(before)
    if how == "stop":
        server.start()
    assert decide(server, run, False).status == 202 and ended(server, run)["status"] == "completed"


@pytest.mark.parametrize("restart", [False, True])
def test_cancelled(make, model, mail, restart):
    server = make()
    run, thread, events = begin(server, model, wants(MAIL))
    if restart:
        server.expect_log("AH00098")
        server.kill()
        server.start()
    assert server.client.post(f"/runs/{run}/cancel").status == 202
    assert ended(server, run)["status"] == "cancelled"
    assert not mail.requests
    assert decide(server, run, True).json["code"] == "run_ended"
    assert all_events(server, run)[-1].json["status"] == "cancelled"
    step = server.client.get(f"/runs/{run}/steps").json["data"][-1]
    assert step["started_at"] <= step["completed_at"] <= time.strftime("%Y-%m-%dT%H:%M:%S.999Z", time.gmtime()), step
    assert server.client.messages(thread)[-1]["content"] == "Let me."
    assert server.client.send(thread, "go on").status == 200


def at_once(*questions):
    """The answers to requests that are sent together, each on its own thread."""
    start, answers = threading.Barrier(len(questions)), [None] * len(questions)

    def ask(i):
        start.wait(WAIT)
        answers[i] = questions[i]()
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("children", [1, 3])
def test_approved_and_cancelled_at_once(make, model, mail, children):
    """Each caller gets the result: a cancelled run ends as cancelled, one that could not be cancelled does not."""
    one = "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\n" \
          "MaxSpareThreads 16\n"
    server = make(tuning=one if children == 1 else CHILDREN)
    # What is asked decides, and not the order: the question of a cancelled run may arrive after the next run has begun.
    model.default = lambda request: (answer("Sent.") if request.messages[-1]["role"] == "tool" else wants(MAIL))(request)
    for _ in range(15):
        run, thread, _ = begin(server, model)
        approved, cancelled = at_once(lambda: decide(server, run, True), lambda: server.client.post(f"/runs/{run}/cancel"))
        status = ended(server, run)["status"]
        assert approved.status == 202 or (approved.status, approved.json["code"]) in ((409, "run_ended"), (409, "not_waiting"))
        assert cancelled.status == 202 or (cancelled.status, cancelled.json["code"]) == (409, "run_ended")
        assert status == ("cancelled" if cancelled.status == 202 else "completed"), (approved, cancelled)
        assert approved.status == 202 or not [m for m in server.client.messages(thread) if "Sent." in m["content"]]


@pytest.mark.parametrize("make_on_store", ["cosmos"], indirect=True)
def test_cancelled_where_it_waited_while_it_continues_elsewhere(make, model, mail):
    """The log that is left here does not have the run's holder: the store has."""
    one, other = make(), make()
    gate = Gate()
    run, thread, _ = begin(one, model, wants(MAIL), holding(gate))
    assert decide(other, run, True).status == 202
    gate.wait_reached()
    assert one.client.post(f"/runs/{run}/cancel").status == 202
    assert model.requests[-1].closed.wait(WAIT)
    assert ended(other, run)["status"] == "cancelled"
    assert one.client.messages(thread)[-1]["content"] == "Let me.\n\none"
    gate.open()


def test_no_decision_in_time(make, model, mail):
    server = make("AgentChatApprovalTimeout 1s\n")
    run, _, _ = begin(server, model, wants(MAIL), answer("Then not."))
    assert ended(server, run)["status"] == "completed"
    assert tool_answers(model) == [{"error": "this call was not approved in time, so it was not made"}]
    assert not mail.requests


def test_arguments_that_do_not_fit_are_not_asked_about(make, model, mail):
    server = make()
    model.play(calls(("send_mail", {"of": 1})), answer("Sorry."))
    message = server.client.post("/agents/secretary/chat", {"message": "x", "stream": False}).json
    assert message["content"] == "Sorry." and "to" in message["tool_calls"][0]["error"] and not mail.requests


def test_no_approval_without_a_thread(make_server, model, mail):
    server = make_server(TOOLS.format(url=mail.url) + '<Location "/s">\nSetHandler agentchat\nAgentChatAnonymous on\n'
                         'AgentChatDefaultAgent secretary\n</Location>\n')
    server.client.prefix = "/s"
    model.play(calls(MAIL), answer("I can't."))
    text = "".join(e.json.get("text", "") for e in server.client.stream("/agent/stream", {"message": "x"}).rest())
    assert text == "I can't." and not mail.requests
    assert "which is not possible here" in tool_answers(model)[0]["error"]


def test_an_agent_removed_in_between(make, model):
    server = make()
    run, thread, _ = begin(server, model, wants(MAIL))
    text = server.conf.read_text()
    server.stop()
    server.conf.write_text(text.replace("<AgentChatAgent secretary>", "<AgentChatAgent other>"))
    server.start()
    assert decide(server, run, True).status == 202
    final = ended(server, run)
    assert final["status"] == "failed" and "no longer exists" in final["error"]["message"] and final["agent_id"] == "secretary"
    assert server.client.send(thread, "go on", agent_id="assistant").status == 200


def test_a_run_that_waits_holds_no_slot(make, model):
    server = make("AgentChatMaxRuns 2\nAgentChatMaxQueuedRuns 0\n")
    for _ in range(4):
        begin(server, model, wants(MAIL))
    model.play(answer("still here"))
    assert server.client.send(server.client.thread(), "x").json["content"] == "still here"
