# SPDX-License-Identifier: Apache-2.0
"""A message to a thread that is answering another one: refused, in the queue, or in its place; and answers in the background."""
import concurrent.futures

import pytest

from cosmos_server import KEY
from model_server import Gate, answer
from runs import CHILDREN, events_of, holding, wait_until


@pytest.fixture(params=["sqlite", "cosmos"])
def make(request, make_server, cosmos):
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""

    def start(directives="", **options):
        return make_server(text + directives, env={"K": KEY}, **options)
    return start


def begin(client, model, gate, **members):
    """A thread that answers, until the gate opens."""
    thread = client.thread()
    model.play(holding(gate))
    stream = client.stream(f"/threads/{thread}/messages", {"content": "first", "stream": True, **members})
    assert stream.next().type == "run" and stream.next().type == "token"
    return thread, stream


def queue(client, thread, content, **members):
    return client.post(f"/threads/{thread}/messages", {"content": content, "on_busy": "enqueue", "background": True, **members})


def status(client, run):
    return client.get(f"/runs/{run}").json["status"]


def wait_status(client, run, wanted):
    wait_until(lambda: status(client, run) == wanted, f"the run is {status(client, run)}")


def contents(client, thread):
    return [message["content"] for message in client.messages(thread)]


def asked(model):
    return [request.json["messages"][-1]["content"] for request in model.requests]


def one_behind_another(make, model):
    """A message in the queue. (client, the gate of the answer before it, the thread's id, both streams)"""
    client, gate = make(tuning=CHILDREN).client, Gate()
    thread, first = begin(client, model, gate)
    second = client.stream(f"/threads/{thread}/messages", {"content": "second", "stream": True, "on_busy": "enqueue"})
    return client, gate, thread, first, second


def test_a_message_waits_for_its_turn(make, model):
    client, gate, thread, first, second = one_behind_another(make, model)
    queued = second.next()
    assert queued.type == "queued" and queued.json["place"] == 0 and "id" not in queued.fields
    third = queue(client, thread, "third")
    assert third.status == 202 and third.json["status"] == "queued" and third.json["place"] == 1
    assert third.headers["location"].endswith("/api/runs/" + third.json["id"])
    run = client.get(f"/runs/{third.json['id']}").json
    assert run["status"] == "queued" and run["input"]["content"] == "third" and run["thread_id"] == thread
    assert contents(client, thread) == ["first"] and len(model.requests) == 1
    model.play(answer("to the second"), answer("to the third"))
    gate.open()
    first.rest()
    assert second.next().json["run_id"] == queued.json["run_id"] and second.rest()[-1].type == "done"
    wait_status(client, third.json["id"], "completed")
    assert contents(client, thread) == ["first", "onetwo", "second", "to the second", "third", "to the third"]
    assert asked(model) == ["first", "second", "third"]
    assert "input" not in client.get(f"/runs/{third.json['id']}").json


def test_a_full_queue_refuses(make, model):
    client, gate = make("<Location /api>\nAgentChatOnBusy enqueue most=1\n</Location>\n").client, Gate()
    thread, first = begin(client, model, gate)
    waits = client.post(f"/threads/{thread}/messages", {"content": "x", "background": True})
    assert waits.json["status"] == "queued"
    full = client.post(f"/threads/{thread}/messages", {"content": "y", "background": True})
    assert (full.status, full.json["code"]) == (409, "run_in_progress") and "queue" in full.json["detail"]
    refused = client.post(f"/threads/{thread}/messages", {"content": "z", "on_busy": "reject"})
    assert (refused.status, refused.json["code"]) == (409, "run_in_progress")
    gate.open()
    first.rest()
    wait_status(client, waits.json["id"], "completed")


def test_a_queued_message_can_be_cancelled(make, model):
    client, gate, thread, first, second = one_behind_another(make, model)
    run = second.next().json["run_id"]
    assert client.post(f"/runs/{run}/cancel").status == 202
    assert status(client, run) == "cancelled"
    assert second.rest()[-1].json.get("status") == "cancelled"
    again = client.post(f"/runs/{run}/cancel")
    assert (again.status, again.json["code"]) == (409, "run_ended")
    gate.open()
    first.rest()
    assert contents(client, thread) == ["first", "onetwo"] and len(model.requests) == 1


def test_a_message_takes_the_place_of_another(make, model):
    client, gate = make(tuning=CHILDREN).client, Gate()
    thread, first = begin(client, model, gate)
    waits = queue(client, thread, "waits").json["id"]
    model.play(answer("at once"), answer("later"))
    urgent = client.post(f"/threads/{thread}/messages", {"content": "now", "on_busy": "interrupt"})
    assert urgent.status == 200 and urgent.json["content"] == "at once"
    assert first.rest()[-1].json["status"] == "cancelled"
    wait_status(client, waits, "completed")
    assert contents(client, thread) == ["first", "one", "now", "at once", "waits", "later"]
    free = client.post(f"/threads/{thread}/messages", {"content": "x", "on_busy": "interrupt"})
    assert free.status == 200


def test_a_queued_message_outlives_its_process(make, model):
    """No client follows it; another process begins it, once."""
    server, gate = make(), Gate()
    client = server.client
    thread, _first = begin(client, model, gate)
    runs = [queue(client, thread, text, response_format=form).json["id"] for text, form in
            (("second", {"type": "json_object"}), ("third", None))]
    server.kill()
    gate.open()
    model.play(answer('{"a": 1}'))
    server.start()
    server.expect_log("AC0", "AH00098")
    client = server.client
    assert [status(client, run) for run in runs] == ["queued", "queued"]
    for run in runs:
        wait_until(lambda run=run: status(client, run) == "completed", "the turn was not begun", 180)
    assert [text for text in contents(client, thread) if text in ("second", "third")] == ["second", "third"]
    assert asked(model) == ["first", "second", "third"]
    assert [request.json.get("response_format") for request in model.requests] == [None, {"type": "json_object"}, None]


def test_an_answer_in_the_background(make, model):
    client, gate = make(tuning=CHILDREN).client, Gate()
    thread = client.thread()
    model.play(holding(gate))
    begun = client.post(f"/threads/{thread}/messages", {"content": "x", "background": True})
    run = begun.json["id"]
    assert begun.status == 202 and begun.json["status"] == "in_progress" and begun.json["thread_id"] == thread
    stream = events_of(client, run)
    assert stream.next().type == "run"
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert client.get(f"/runs/{run}").json["status"] == "completed"
    new = client.post("/agents/assistant/chat", {"message": "x", "background": True})
    assert new.status == 202 and new.json["thread_id"]
    wait_status(client, new.json["id"], "completed")
    both = client.post(f"/threads/{thread}/messages", {"content": "x", "background": True, "stream": True})
    assert (both.status, both.json["errors"][0]["pointer"]) == (400, "/background")
    missing = client.post("/threads/thread_01m88awmyde00vmddhzrtyfes3/messages", {"content": "x", "background": True})
    assert missing.status == 404 and "location" not in missing.headers


def test_a_repeated_message_is_queued_once(make, model):
    client, gate = make(tuning=CHILDREN).client, Gate()
    thread, first = begin(client, model, gate)
    body, headers = {"content": "again", "on_busy": "enqueue", "background": True}, {"Idempotency-Key": "one"}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(f"/threads/{thread}/messages", body, headers=headers), range(4)))
    assert {response.status for response in answers} == {202}, answers
    assert len({response.json["id"] for response in answers}) == 1
    gate.open()
    first.rest()
    wait_status(client, answers[0].json["id"], "completed")
    assert asked(model) == ["first", "again"]


def test_a_deleted_thread_takes_its_queue_along(make, model):
    client, gate, thread, first, second = one_behind_another(make, model)
    run = second.next().json["run_id"]
    assert client.delete(f"/threads/{thread}").status == 200
    gate.open()
    first.rest()
    assert second.rest()[-1].type == "error"
    assert client.get(f"/runs/{run}").status == 404 and len(model.requests) == 1


# ---- two machines ----
@pytest.fixture
def machines(make_server, cosmos):
    """Two servers that share nothing but the scripted account."""
    store = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n"
    servers = [make_server(store, env={"K": KEY}) for _ in range(2)]
    for server in servers:
        wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
    return servers


def test_messages_of_two_machines_wait_for_one_thread(machines, model):
    """They are answered one after the other, in the order in which they came."""
    one, other = (server.client for server in machines)
    gate = Gate()
    thread, first = begin(one, model, gate)
    runs = [queue(client, thread, f"message {n}").json for n, client in enumerate((other, one, other, one))]
    assert [run["place"] for run in runs] == [0, 1, 2, 3]
    follower = one.stream(f"/runs/{runs[0]['id']}/events", method="GET")
    assert follower.next().type == "queued"
    gate.open()
    first.rest()
    for run in runs:
        wait_status(one, run["id"], "completed")
    assert follower.rest()[-1].type == "done"
    assert asked(model) == ["first"] + [f"message {n}" for n in range(4)]
    assert [text for text in contents(other, thread) if text.startswith("message")] == [f"message {n}" for n in range(4)]


def test_a_message_takes_the_place_of_a_run_of_another_machine(machines, model):
    one, other = (server.client for server in machines)
    thread, first = begin(one, model, Gate())
    model.play(answer("at once"))
    urgent = other.post(f"/threads/{thread}/messages", {"content": "now", "on_busy": "interrupt"})
    assert urgent.status == 200 and urgent.json["content"] == "at once", urgent
    assert first.rest()[-1].json["status"] == "cancelled"
    assert contents(one, thread) == ["first", "one", "now", "at once"]


def test_an_interrupt_that_the_store_refused_is_tried_again(machines, model, cosmos):
    one, other = (server.client for server in machines)
    thread, first = begin(one, model, Gate())
    model.play(answer("at once"))
    cosmos.behave(faults=[{"match": "PATCH", "body": b"cancel_requested", "n": 1, "status": 403}])
    urgent = other.post(f"/threads/{thread}/messages", {"content": "now", "on_busy": "interrupt"})
    assert urgent.status == 200 and urgent.json["content"] == "at once", urgent
    assert first.rest()[-1].json["status"] == "cancelled" and cosmos.n_faults == 1
    machines[1].expect_log("AC0220", "AC0221")
