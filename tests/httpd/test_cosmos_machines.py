# SPDX-License-Identifier: Apache-2.0
"""Several machines with one Cosmos DB: servers that share nothing but the scripted account. Each has a state directory of its own, so
none sees the event logs of another."""
import threading

import pytest

from cosmos_server import KEY
from model_server import Gate, answer
from runs import blocks, holding, wait_until

ENV = {"COSMOS_KEY": KEY}


@pytest.fixture
def machines(make_server, cosmos):
    """machines(n, options): servers that are ready."""
    def make(n, options=""):
        servers = [make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:COSMOS_KEY {options}\n",
                               env=ENV) for _ in range(n)]
        for server in servers:
            wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
        return servers
    return make


def key(name):
    return {"Idempotency-Key": name}


def test_a_machine_shows_no_answer_that_another_one_deleted(machines, model):
    """Not even from its own log of the run, which the other one cannot remove."""
    one, other = machines(2, "\nAgentChatEventLogKeep 1d\n<Location /api>\nAgentChatOpenAI on\n</Location>")
    conversation = one.client.post("/v1/conversations", {}).json["id"]
    made = one.client.post("/v1/responses", {"model": "assistant", "input": "x", "conversation": conversation}).json
    events = f"/runs/run_{made['id'][5:]}/events"
    assert "Hello" in one.client.get(events).body.decode()
    assert other.client.delete(f"/v1/responses/{made['id']}").status == 200
    for path in (events, f"/v1/responses/{made['id']}", f"/v1/responses/{made['id']}?stream=true"):
        assert one.client.get(path).status == 404, path


# ---- one key, two machines ----
def test_a_key_counts_on_the_other_machine(machines, model):
    one, other = machines(2)
    thread = one.client.thread()
    path = f"/threads/{thread}/messages"
    model.play(answer("only once"))
    first = one.client.post(path, {"content": "x"}, headers=key("a"))
    again = other.client.post(path, {"content": "x"}, headers=key("a"))
    assert first.status == again.status == 200 and first.json == again.json and len(model.requests) == 1
    conflict = other.client.post(path, {"content": "y"}, headers=key("a"))
    assert (conflict.status, conflict.json["code"]) == (409, "idempotency_conflict")


@pytest.mark.parametrize("known", [True, False])
def test_one_key_at_the_same_time(machines, model, known):
    """The order of the machines is random. The second one drops its own run, and follows."""
    servers = machines(2)
    model.default = answer("only ", "once")
    thread = servers[0].client.thread() if known else None
    for i in range(8):
        path, body = (f"/threads/{thread}/messages", {"content": "x"}) if known else \
            ("/agents/assistant/chat", {"message": "x", "stream": False})
        answers, start = [], threading.Barrier(4)

        def send(client):
            start.wait()
            answers.append(client.post(path, body, headers=key(f"together-{i}")))
        senders = [threading.Thread(target=send, args=(servers[n % 2].client,)) for n in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(60)
        assert [r.status for r in answers] == [200] * 4, answers
        assert len({r.body for r in answers}) == 1 and answers[0].json["content"] == "only once"
    shown = servers[1].client.get("/threads?limit=100").json["data"]
    assert [t["message_count"] for t in shown] == ([16] if known else [2] * 8)


def test_a_key_that_is_used_between_its_check_and_the_thread(machines, model, cosmos):
    """The store has answered that the key is free when the other request with it opens its turn: that makes the thread busy."""
    server, = machines(1)
    thread, checked, gate = server.client.thread(), Gate(), Gate()
    model.play(holding(gate), holding(gate))
    path, answers = f"/threads/{thread}/messages", []
    # The first look at the key is that of the request itself, the second one of the opening write.
    cosmos.behave(faults=[{"match": "GET .*/docs/key_", "skip": 1, "gate": checked, "after": True}])

    def send():
        answers.append(server.client.post(path, {"content": "x"}, headers=key("between")))
    late = threading.Thread(target=send)
    late.start()
    checked.wait_reached()
    first = server.client.stream(path, {"content": "x", "stream": True}, headers=key("between"))
    assert first.next().type == "run"
    checked.open()
    gate.open()
    first.rest()
    late.join(60)
    assert [r.status for r in answers] == [200] and answers[0].json["content"] == "onetwo", answers
    assert len(server.client.messages(thread)) == 2


def test_a_key_after_a_day(machines, model, cosmos):
    server, = machines(1)
    thread = server.client.thread()
    server.client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("old"))
    with cosmos.lock:
        for entry in cosmos.documents("threads"):
            if entry["type"] == "key":
                entry["created_at"] = "2020-01-01T00:00:00.000Z"
    again = server.client.post(f"/threads/{thread}/messages", {"content": "y"}, headers=key("old"))
    assert again.status == 200 and again.json["seq"] == 4


def test_a_key_while_its_run_is_active_elsewhere(machines, model):
    """The other machine has no log of the run: it waits, and then streams the stored answer."""
    one, other = machines(2)
    thread = one.client.thread()
    gate = Gate()
    model.play(holding(gate))
    first = one.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True}, headers=key("b"))
    assert [first.next().type, first.next().type] == ["run", "token"]
    got = []
    waiter = threading.Thread(target=lambda: got.append(
        other.client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=key("b"))))
    waiter.start()
    gate.open()
    first.rest()
    waiter.join(60)
    assert got[0].status == 200 and got[0].json["content"] == "onetwo" and len(model.requests) == 1


# ---- many writers of one thread ----
def shown_count(request):
    return answer(str(sum(1 for m in request.messages if m["role"] != "system")))(request)


def test_an_answer_to_an_older_history_is_not_stored(machines, model):
    """Five writers, two machines, keys, a model without delay: each answer knows all messages before it, a busy
    thread is reported as busy, and a refused request can be sent again at once."""
    servers = machines(2)
    model.default = shown_count
    thread = servers[0].client.thread()
    problems, start = [], threading.Barrier(5)

    def write(number):
        client = servers[number % 2].client
        start.wait()
        for turn in range(6):
            for _ in range(500):
                response = client.post(f"/threads/{thread}/messages", {"content": f"{number}-{turn}"},
                                       headers=key(f"writer-{number}-{turn}"))
                if response.status == 200:
                    break
                if response.json["code"] != "run_in_progress":
                    problems.append(response)
                    return
            else:
                problems.append(f"writer {number}, turn {turn} had no answer")
    writers = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert not problems, problems
    messages = servers[0].client.messages(thread)
    assert [m["role"] for m in messages] == ["user", "assistant"] * 30
    assert sorted(m["content"] for m in messages[::2]) == sorted(f"{n}-{t}" for n in range(5) for t in range(6))
    # The agent shows its model the last 20 messages at most, and the question.
    said = [int(m["content"]) for m in messages[1::2]]
    most = max(said)
    assert said == [min(2 * i + 1, most) for i in range(30)], said


# ---- what was carried out and not acknowledged ----
@pytest.mark.parametrize("how", ["cut", "late"])
def test_a_turn_whose_opening_was_not_acknowledged_is_one(machines, model, cosmos, how):
    """The message is stored, and the store's answer is lost, or comes too late: the run repeats the write with the
    same ids, and continues."""
    server, = machines(1, "\nAgentChatStoreTimeout 1s\n")
    thread = server.client.thread()
    batch = {"match": "POST .*/messages/docs", "batch": True, "n": 1}
    cosmos.behave(faults=[{**batch, "delay": 2.5}] if how == "late" else
                  [{**batch, "cut": True, "after": True}, {"match": "POST .*/messages/docs", "skip": 1, "n": 4, "cut": True}])
    model.play(answer("once"))
    response = server.client.post(f"/threads/{thread}/messages", {"content": "x"})
    assert response.status == 200 and response.json["content"] == "once", response
    assert [m["role"] for m in server.client.messages(thread)] == ["user", "assistant"]
    runs = server.client.get(f"/threads/{thread}/runs").json["data"]
    assert [r["status"] for r in runs] == ["completed"] and len(model.requests) == 1


@pytest.mark.parametrize("how", ["cut", "late"])
def test_a_turn_whose_end_was_not_acknowledged_is_one(machines, model, cosmos, how):
    server, = machines(1, "\nAgentChatStoreTimeout 1s\n")
    thread = server.client.thread()
    gate = Gate()
    model.play(holding(gate))
    stream = server.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    assert [stream.next().type, stream.next().type] == ["run", "token"]
    batch = {"match": "POST .*/messages/docs", "batch": True, "n": 1}
    cosmos.behave(faults=[{**batch, "delay": 2.5}] if how == "late" else
                  [{**batch, "cut": True, "after": True}, {"match": "POST .*/messages/docs", "n": 4, "cut": True}])
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert [m["content"] for m in server.client.messages(thread)] == ["x", "onetwo"]


# ---- dead machines ----
LEASE = "lease=5s"


def begun_on(server, model, gate, thread=None):
    model.play(holding(gate))
    thread = thread or server.client.thread()
    stream = server.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    run = stream.next().json["run_id"]
    stream.next()
    return stream, thread, run


def as_if_elsewhere(cosmos):
    """Processes of this machine can be checked. Those of another machine cannot."""
    with cosmos.lock:
        for document in cosmos.documents("messages"):
            if document.get("active_run"):
                document["active_run"]["process"] = "another-machine"


def test_a_machine_that_is_gone(machines, model, cosmos):
    """The thread is not used: the sweep closes the run when its lease has expired. Then the thread can be used, and
    a follower on the other machine gets the outcome."""
    one, other = machines(2, LEASE)
    gate = Gate()
    _, thread, run = begun_on(one, model, gate)
    as_if_elsewhere(cosmos)
    follower = other.client.stream(f"/runs/{run}/events", method="GET")
    one.kill()
    gate.open()
    assert other.client.send(thread, "and I?").status == 409      # it may still live
    events = follower.rest()
    assert [e.type for e in events if e.type != "heartbeat"] == ["run", "error"]
    assert events[-1].json["code"] == "interrupted" and events[-1].json["run_id"] == run
    shown = other.client.get(f"/runs/{run}").json
    assert shown["status"] == "interrupted" and shown["error"]["code"] == "interrupted"
    model.play(answer("here"))
    assert other.client.send(thread, "again").json["content"] == "here"
    assert [m["content"] for m in other.client.messages(thread)] == ["x", "again", "here"]


def killed_in_a_run(machines, model, cosmos):
    """(the machine that was killed, another one, the thread's id, the run's id)"""
    one, other = machines(2, LEASE)
    gate = Gate()
    _, thread, run = begun_on(one, model, gate)
    as_if_elsewhere(cosmos)
    one.kill()
    gate.open()
    return one, other, thread, run


def test_a_run_of_a_machine_that_is_gone_is_closed_unasked(machines, model, cosmos):
    _, other, thread, run = killed_in_a_run(machines, model, cosmos)

    def closed():
        with cosmos.lock:
            return [d["status"] for d in cosmos.documents("messages") if d["id"] == run] == ["interrupted"]
    wait_until(closed, "the sweep did not find the run", 40)
    model.play(answer("here"))
    assert other.client.send(thread, "again").status == 200


def test_a_partial_answer_is_stored_when_its_machine_returns(machines, model, cosmos):
    one, other, thread, run = killed_in_a_run(machines, model, cosmos)
    wait_until(lambda: other.client.get(f"/runs/{run}").json["status"] == "interrupted", "the run was not closed", 40)
    assert len(other.client.messages(thread)) == 1
    one.expect_log("AH00098")               # the pid file of a server that was killed
    one.start()                             # its event logs are still there
    wait_until(lambda: len(other.client.messages(thread)) == 2, "what had been said was not stored")
    said = other.client.messages(thread)[1]
    assert said["content"] == "one" and said["metadata"]["finish_reason"] == "interrupted" and said["run_id"] == run
    assert other.client.get(f"/runs/{run}").json["status"] == "interrupted"


def test_an_owner_that_was_only_slow(machines, model, cosmos):
    """It cannot renew its lease and counts as dead. It must not store its answer, and reports that to its followers."""
    one, other = machines(2, LEASE)
    gate = Gate()
    stream, thread, run = begun_on(one, model, gate)
    as_if_elsewhere(cosmos)
    cosmos.behave(faults=[{"match": "PATCH", "n": 100000, "status": 403}])      # only renewals are PATCH
    one.expect_log("AC0220", "AC0503")
    model.play(answer("instead"))

    def resent():
        response = other.client.send(thread, "x again")
        assert response.status == 200 or response.json["code"] == "run_in_progress"
        return response.status == 200
    wait_until(resent, "the thread stays blocked", 40)
    gate.open()
    events = stream.rest()
    assert events[-1].type == "error" and events[-1].json["code"] == "interrupted", events
    assert [m["content"] for m in other.client.messages(thread)] == ["x", "x again", "instead"]
    assert other.client.get(f"/runs/{run}").json["status"] == "interrupted"
    again = one.client.stream(f"/runs/{run}/events", method="GET")
    assert again.rest()[-1].json["code"] == "interrupted"


# ---- what works from one machine to another ----
def test_following_on_another_machine(machines, model):
    one, other = machines(2)
    gate = Gate()
    stream, _, run = begun_on(one, model, gate)
    follower = other.client.stream(f"/runs/{run}/events", method="GET")
    gate.open()
    stream.rest()
    events = [e for e in follower.rest() if e.type != "heartbeat"]
    assert [e.type for e in events] == ["run", "token", "done"]
    assert events[1].json["content"] == "onetwo" and events[2].json["status"] == "completed"


def test_cancel_on_another_machine(machines, model):
    one, other = machines(2, LEASE)
    gate = Gate()
    stream, thread, run = begun_on(one, model, gate)
    response = other.client.post(f"/runs/{run}/cancel")
    assert response.status == 202 and response.json["status"] == "in_progress"
    events = stream.rest()                  # the gate is still closed
    assert events[-1].type == "done" and events[-1].json["status"] == "cancelled"
    gate.open()
    assert other.client.get(f"/runs/{run}").json["status"] == "cancelled"
    assert [m["content"] for m in other.client.messages(thread)] == ["x", "one"]
    again = other.client.post(f"/runs/{run}/cancel")
    assert (again.status, again.json["code"]) == (409, "run_ended")


def test_coming_back_on_another_machine(machines, model):
    """A client with live events learns at once that they cannot be continued here; a client without gets all."""
    one, other = machines(2)
    gate = Gate()
    stream, _, run = begun_on(one, model, gate)
    gone = other.client.get(f"/runs/{run}/events", headers={"Last-Event-ID": "2"})
    assert (gone.status, gone.json["code"]) == (410, "events_gone")
    gate.open()
    stream.rest()


def test_coming_back_from_another_machine(machines, model):
    """Events that another machine made from the store have ids of their own; the run's machine continues after them."""
    one, other = machines(2)
    gate = Gate()
    stream, _, run = begun_on(one, model, gate)
    gate.open()
    stream.rest()
    stored = other.client.stream(f"/runs/{run}/events", method="GET")
    stored.rest()
    for number, _ in blocks(stored.raw):
        rest = one.client.stream(f"/runs/{run}/events", method="GET", headers={"Last-Event-ID": str(number)})
        rest.rest()
        assert rest.status in (200, 204) and blocks(rest.raw) == [b for b in blocks(stored.raw) if b[0] > number]
