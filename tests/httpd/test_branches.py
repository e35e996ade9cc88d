# SPDX-License-Identifier: Apache-2.0
"""Branches of a conversation: edited questions, further answers, the current path, and what a model sees of it."""
import json

import pytest

from approvals import MAIL, TOOLS, mail      # noqa: F401 (a fixture)
from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import Gate, Reply, answer
from runs import CHILDREN, blocks, connection_to, events_of, holding, kill_child, owner_of, wait_until
from test_approvals import decide, ended, wants
from test_recovery import logged  # noqa: F401 (a fixture)

FOUR = ["q1", "a1", "q2", "a2"]


def conversation(client, model, *texts):
    """A thread with these questions and answers."""
    thread = client.thread()
    for question, said in zip(texts[::2], texts[1::2]):
        model.play(answer(said))
        assert client.send(thread, question).status == 200
    return thread


def path(client, thread, query="?limit=100"):
    return [m["content"] for m in client.messages(thread, query)]


def ids(client, thread):
    """The id of each message by its text."""
    return {m["content"]: m["id"] for m in client.messages(thread, "?limit=100&all=true")}


def regenerate(client, thread, message, **members):
    headers = members.pop("headers", None)
    return client.post(f"/threads/{thread}/messages", {"regenerate": message, "stream": False, **members}, headers=headers)


def asked(model):
    """The texts of the last conversation that the model got, without the instructions."""
    return [m["content"] for m in model.requests[-1].messages if m["role"] != "system"]


def leaf(client, thread):
    return client.get(f"/threads/{thread}").json["leaf"]


def problem(response, status, code, pointer=None):
    assert (response.status, response.json["code"]) == (status, code), response
    if pointer:
        assert response.json["errors"][0]["pointer"] == pointer, response


# ---- lines

def test_a_thread_without_branches(client, model):
    thread = conversation(client, model, *FOUR)
    messages = client.messages(thread)
    assert [m["parent_id"] for m in messages] == [None] + [m["id"] for m in messages[:-1]]
    assert all("siblings" not in m and "sibling_index" not in m for m in messages)
    assert messages == client.messages(thread, "?limit=100&all=true")
    assert leaf(client, thread) is None
    run = client.get("/runs/" + messages[3]["run_id"]).json
    assert run["parent_id"] == messages[2]["id"]


# ---- editing

def test_a_question_is_edited(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    model.play(answer("a3"))
    response = client.send(thread, "q3", parent_id=at["a1"])
    assert response.status == 200 and response.json["seq"] == 6
    assert asked(model) == ["q1", "a1", "q3"]
    assert path(client, thread) == ["q1", "a1", "q3", "a3"]
    assert path(client, thread, "?all=true") == FOUR + ["q3", "a3"]
    at = ids(client, thread)
    assert leaf(client, thread) == at["a3"] == response.json["id"]
    question = client.messages(thread)[2]
    assert question["parent_id"] == at["a1"]
    assert (question["siblings"], question["sibling_index"]) == ([at["q2"], at["q3"]], 1)
    model.play(answer("a4"))
    assert client.send(thread, "q4").status == 200
    assert asked(model) == ["q1", "a1", "q3", "a3", "q4"]


def test_the_first_question_is_edited(client, model):
    thread = conversation(client, model, *FOUR)
    model.play(answer("a3"))
    assert client.send(thread, "q3", parent_id=None).status == 200
    assert asked(model) == ["q3"]
    first = client.messages(thread)[0]
    at = ids(client, thread)
    assert first["parent_id"] is None and first["siblings"] == [at["q1"], at["q3"]]
    assert path(client, thread) == ["q3", "a3"]
    assert client.get(f"/threads/{thread}").json["message_count"] == 6


def test_the_other_ways_to_send(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    model.play(answer("a3"), answer("a4"), answer("a5"))
    for route, members in (("/agents/assistant/chat", {"message": "q3", "parent_id": at["a1"]}),
                           ("/chat", {"message": "q3", "parent_id": at["a1"]}),
                           ("/agents/assistant/chat", {"regenerate": at["q2"]})):
        response = client.post(route, {"thread_id": thread, "stream": False, **members})
        assert response.status == 200, response
        assert asked(model) == ["q1", "a1", "q2" if "regenerate" in members else "q3"]
    assert path(client, thread) == ["q1", "a1", "q2", "a5"]
    response = client.post("/chat", {"message": "new", "parent_id": None, "stream": False})
    assert response.status == 200       # the first message of a new thread


# ---- further answers

def test_a_further_answer(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    title = client.get(f"/threads/{thread}").json["title"]
    model.play(answer("a3"))
    response = regenerate(client, thread, at["a2"])
    assert response.status == 200 and response.json["seq"] == 5 and response.json["parent_id"] == at["q2"]
    assert asked(model) == ["q1", "a1", "q2"]
    assert path(client, thread) == ["q1", "a1", "q2", "a3"]
    last = client.messages(thread)[-1]
    assert (last["siblings"], last["sibling_index"]) == ([at["a2"], last["id"]], 1)
    assert client.get("/runs/" + last["run_id"]).json["parent_id"] == at["q2"]
    shown = client.get(f"/threads/{thread}").json
    assert (shown["title"], shown["message_count"], shown["leaf"]) == (title, 5, last["id"])
    # in the middle of the path, by the question
    model.play(answer("a4"))
    assert regenerate(client, thread, at["q1"]).status == 200
    assert asked(model) == ["q1"] and path(client, thread) == ["q1", "a4"]


def test_a_further_answer_by_another_agent(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    model.play(answer("briefly"))
    agents = [a["id"] for a in client.get("/agents").json["data"]]
    other = next((a for a in agents if a != "assistant"), "assistant")
    response = regenerate(client, thread, at["a2"], agent_id=other)
    assert response.status == 200
    assert client.get("/runs/" + response.json["run_id"]).json["agent_id"] == other


def test_a_further_answer_as_a_stream(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    model.play(answer("a", "3"))
    stream = client.stream(f"/threads/{thread}/messages", {"regenerate": at["a2"], "stream": True})
    events = stream.rest()
    assert events[0].json["message_id"] == at["q2"]
    assert events[-1].json["message_id"] == client.messages(thread)[-1]["id"]
    again = events_of(client, events[0].json["run_id"])
    again.rest()
    assert blocks(again.raw) == blocks(stream.raw)


def test_a_question_whose_answer_failed(server, client, model):
    server.expect_log("AC0503")
    thread = client.thread()
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no"}})]))
    assert client.send(thread, "q1").status >= 400
    question, = client.messages(thread)
    model.play(answer("a1"))
    response = regenerate(client, thread, question["id"])
    assert response.status == 200 and response.json["seq"] == 2
    assert asked(model) == ["q1"] and path(client, thread) == ["q1", "a1"]
    assert leaf(client, thread) is None         # still a line


def test_a_further_answer_that_fails_leaves_the_path(server, client, model):
    server.expect_log("AC0503")
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no"}})]))
    assert regenerate(client, thread, at["a1"]).status >= 400
    assert path(client, thread) == FOUR and leaf(client, thread) is None
    assert [r["status"] for r in client.get(f"/threads/{thread}/runs").json["data"]] == ["failed", "completed", "completed"]


def test_refused_requests(client, model):
    thread, other = conversation(client, model, *FOUR), conversation(client, model, "x", "y")
    at, elsewhere = ids(client, thread), ids(client, other)
    send = f"/threads/{thread}/messages"
    n = len(model.requests)
    problem(client.post(send, {"content": "x", "regenerate": at["a2"]}), 400, "invalid_request", "/content")
    problem(client.post(send, {"parent_id": at["a1"], "regenerate": at["a2"]}), 400, "invalid_request", "/parent_id")
    problem(client.post(send, {"metadata": {}, "regenerate": at["a2"]}), 400, "invalid_request", "/metadata")
    problem(client.post(send, {"regenerate": 7}), 400, "invalid_request", "/regenerate")
    problem(client.post(send, {"content": "x", "parent_id": 7}), 400, "invalid_request", "/parent_id")
    for missing in (elsewhere["y"], "msg_01jqh2m5vzk8x9r3n4p6s7t8w0", "nonsense"):
        problem(client.post(send, {"regenerate": missing}), 404, "not_found", "/regenerate")
        problem(client.post(send, {"content": "x", "parent_id": missing}), 404, "not_found", "/parent_id")
        problem(client.patch(f"/threads/{thread}", {"leaf": missing}), 404, "not_found", "/leaf")
    problem(client.post("/chat", {"regenerate": at["a2"]}), 400, "invalid_request", "/regenerate")
    problem(client.post("/chat", {"message": "x", "parent_id": at["a2"]}), 400, "invalid_request", "/parent_id")
    problem(client.patch(f"/threads/{thread}", {"leaf": None}), 400, "invalid_request", "/leaf")
    problem(client.get(f"/threads/{thread}/messages?all=maybe"), 400, "invalid_request")
    assert len(model.requests) == n and path(client, thread, "?all=true") == FOUR


# ---- paths

def tree(client, model):
    """q1 a1 q2 a2, below a1: q3 a3 q4 a4, below a3: q5 a5, below q3: a6"""
    thread = conversation(client, model, *FOUR)
    for question, said, parent in (("q3", "a3", "a1"), ("q4", "a4", "a3"), ("q5", "a5", "a3")):
        model.play(answer(said))
        assert client.send(thread, question, parent_id=ids(client, thread)[parent]).status == 200
    model.play(answer("a6"))
    assert regenerate(client, thread, ids(client, thread)["a3"]).status == 200
    return thread


def test_switching_between_branches(client, model):
    thread = tree(client, model)
    at = ids(client, thread)
    assert path(client, thread) == ["q1", "a1", "q3", "a6"]
    for message, wanted in (("q2", FOUR), ("q4", ["q1", "a1", "q3", "a3", "q4", "a4"]), ("a3", ["q1", "a1", "q3", "a3", "q5", "a5"]),
                            ("a6", ["q1", "a1", "q3", "a6"])):
        before = client.get(f"/threads/{thread}")
        response = client.patch(f"/threads/{thread}", {"leaf": at[message]}, headers={"If-Match": before.headers["etag"]})
        assert response.status == 200 and response.json["leaf"] == at[wanted[-1]]
        assert response.headers["etag"] != before.headers["etag"] and response.json["message_count"] == 11
        assert path(client, thread) == wanted
        shown = [t for t in client.get("/threads?limit=100").json["data"] if t["id"] == thread]
        assert shown[0]["leaf"] == at[wanted[-1]]
    client.patch(f"/threads/{thread}", {"leaf": at["a4"]})
    model.play(answer("a7"))
    assert client.send(thread, "q7").status == 200
    assert asked(model) == ["q1", "a1", "q3", "a3", "q4", "a4", "q7"]


def test_pages_of_a_path(client, model):
    thread = tree(client, model)
    client.patch(f"/threads/{thread}", {"leaf": ids(client, thread)["q5"]})
    whole = ["q1", "a1", "q3", "a3", "q5", "a5"]
    found, after = [], 0
    while True:
        page = client.get(f"/threads/{thread}/messages?limit=2&after={after}").json
        found += [m["content"] for m in page["data"]]
        if not page["has_more"]:
            break
        after = page["next"]
    assert found == whole
    assert path(client, thread, "?limit=3&order=desc") == ["a5", "q5", "a3"]
    assert path(client, thread, "?limit=9&order=desc&before=6") == ["q3", "a1", "q1"]
    everything = client.messages(thread, "?limit=100&all=true")
    assert [m["seq"] for m in everything] == list(range(1, 12))
    by_id = {m["id"]: m for m in everything}
    for message in everything:
        family = [m["id"] for m in everything if m["parent_id"] == message["parent_id"]]
        assert message.get("siblings", [message["id"]]) == family
        assert message.get("sibling_index", 0) == family.index(message["id"])
        assert message["parent_id"] is None or by_id[message["parent_id"]]["seq"] < message["seq"]


def test_one_run_at_a_time_on_all_branches(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    gate = Gate()
    model.play(holding(gate))
    stream = client.stream(f"/threads/{thread}/messages", {"regenerate": at["a1"], "stream": True})
    run = stream.next().json["run_id"]
    for members in ({"content": "x"}, {"content": "x", "parent_id": at["a1"]}, {"content": "x", "parent_id": None},
                    {"regenerate": at["a2"]}):
        problem(client.post(f"/threads/{thread}/messages", {"stream": False, **members}), 409, "run_in_progress")
    problem(client.patch(f"/threads/{thread}", {"leaf": at["a1"]}), 409, "run_in_progress")
    assert client.get(f"/runs/{run}").json["parent_id"] == at["q1"]
    assert path(client, thread) == FOUR
    gate.open()
    stream.rest()
    assert path(client, thread) == ["q1", "onetwo"]


def test_the_same_request_again(client, model):
    thread = conversation(client, model, *FOUR)
    at = ids(client, thread)
    n = len(model.requests)
    model.play(answer("a3"), answer("a4"))
    headers = {"Idempotency-Key": f"again-{thread}"}
    first, second = [regenerate(client, thread, at["a2"], headers=headers) for _ in range(2)]
    assert first.status == second.status == 200 and first.json == second.json
    assert len(model.requests) == n + 1 and path(client, thread, "?all=true") == FOUR + ["a3"]
    problem(regenerate(client, thread, at["a1"], headers=headers), 409, "idempotency_conflict")
    edit = {"content": "q3", "parent_id": at["a1"], "stream": False}
    one, two = [client.post(f"/threads/{thread}/messages", edit, headers={"Idempotency-Key": f"edit-{thread}"}) for _ in range(2)]
    assert one.json == two.json and len(model.requests) == n + 2
    problem(client.post(f"/threads/{thread}/messages", {**edit, "parent_id": None}, headers={"Idempotency-Key": f"edit-{thread}"}),
            409, "idempotency_conflict")


def test_deleted_for_good(client, model):
    thread = tree(client, model)
    runs = client.get(f"/threads/{thread}/runs?limit=100").json["data"]
    assert client.delete(f"/threads/{thread}").status == 200
    assert client.get(f"/threads/{thread}/messages?all=true").status == 404
    assert client.post(f"/threads/{thread}/restore").status == 200
    assert path(client, thread) == ["q1", "a1", "q3", "a6"]
    assert client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    assert client.get(f"/threads/{thread}/messages?all=true").status == 404
    assert all(client.get("/runs/" + run["id"]).status == 404 for run in runs)


def test_another_owner(make_server, model):
    server = make_server("", start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    ann, bob = [bearer(keys.make(name, f"owner={name}")) for name in ("ann", "bob")]
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.start()
    client = Client(server.port, "/keys")
    thread, own = [client.post("/threads", headers=who).json["id"] for who in (ann, bob)]
    model.play(answer("a1"))
    assert client.post(f"/threads/{thread}/messages", {"content": "q1", "stream": False}, headers=ann).status == 200
    at = [m["id"] for m in client.get(f"/threads/{thread}/messages", headers=ann).json["data"]]
    for where in (thread, own):
        for members in ({"regenerate": at[1]}, {"content": "x", "parent_id": at[1]}):
            problem(client.post(f"/threads/{where}/messages", {"stream": False, **members}, headers=bob), 404, "not_found")
        problem(client.patch(f"/threads/{where}", {"leaf": at[0]}, headers=bob), 404, "not_found")


# ---- with a cache, after a death, after a pause

def test_with_a_cache(make_server, model):
    server = make_server("AgentChatCache memory\n")
    client = server.client
    thread = tree(client, model)
    at = ids(client, thread)
    for message, wanted in (("a2", FOUR), ("a4", ["q1", "a1", "q3", "a3", "q4", "a4"])):
        assert client.patch(f"/threads/{thread}", {"leaf": at[message]}).status == 200
        for n in range(3):
            model.play(answer(f"{message} {n}"))
            assert client.send(thread, f"{message}? {n}").status == 200
            wanted = wanted + [f"{message}? {n}"]
            assert asked(model) == wanted
            wanted.append(f"{message} {n}")
        model.play(answer("again"))
        assert regenerate(client, thread, at["q1"]).status == 200 and asked(model) == ["q1"]
        model.play(answer("and"))
        assert client.send(thread, "on").status == 200 and asked(model) == ["q1", "again", "on"]


def branched(server, model):
    thread = conversation(server.client, model, *FOUR)
    return thread, ids(server.client, thread)


@pytest.mark.parametrize("edit", [False, True])
def test_a_death_in_a_branch(logged, model, edit):  # noqa: F811
    server = logged(tuning=CHILDREN)
    client = server.client
    thread, at = branched(server, model)
    gate = Gate()
    model.play(holding(gate, ("half",)))
    body = {"content": "q3", "parent_id": at["a1"]} if edit else {"regenerate": at["a1"]}
    stream = client.stream(f"/threads/{thread}/messages", {**body, "stream": True})
    run = stream.next().json
    stream.next()
    wanted = ["q1", "a1", "q3", "half"] if edit else ["q1", "half"]
    mine = owner_of(server, stream.connection)
    other = connection_to(server, lambda pid: pid != mine)
    kill_child(server, mine)
    wait_until(lambda: path(client, thread) == wanted, "the run is not closed")
    last = client.messages(thread)[-1]
    assert last["metadata"]["finish_reason"] == "interrupted" and last["run_id"] == run["run_id"]
    assert last["parent_id"] == run["message_id"] == ids(client, thread)["q3" if edit else "q1"]
    assert path(client, thread, "?all=true") == FOUR + wanted[-2 if edit else -1:]
    events = other.stream("GET", f"/api/runs/{run['run_id']}/events").rest()
    assert events[0].json == run and events[-1].json["code"] == "interrupted"
    model.play(answer("a4"))
    assert regenerate(client, thread, last["id"]).status == 200
    assert asked(model) == wanted[:-1] and path(client, thread) == wanted[:-1] + ["a4"]
    gate.open()


def test_a_death_of_all_in_a_further_answer(logged, model):  # noqa: F811
    server = logged()
    client = server.client
    thread, at = branched(server, model)
    gate = Gate()
    model.play(holding(gate, ("half",)))
    stream = client.stream(f"/threads/{thread}/messages", {"regenerate": at["a2"], "stream": True})
    run = stream.next().json
    stream.next()
    server.kill()
    server.start()
    wait_until(lambda: path(client, thread) == ["q1", "a1", "q2", "half"], "the run is not closed")
    assert client.get(f"/runs/{run['run_id']}").json["status"] == "interrupted"
    assert path(client, thread, "?all=true") == FOUR + ["half"]
    gate.open()


def test_resumed_from_the_store(make_server, model):
    """The log has gone; the answer is on another branch than the current one."""
    server = make_server("AgentChatEventLog off\n")
    client = server.client
    thread, at = branched(server, model)
    model.play(answer("a3"))
    answered = regenerate(client, thread, at["a1"]).json
    assert client.patch(f"/threads/{thread}", {"leaf": at["a2"]}).status == 200
    events = events_of(client, answered["run_id"]).rest()
    assert events[0].json["message_id"] == at["q1"]
    assert (events[-1].type, events[-1].json["message_id"]) == ("done", answered["id"])


def test_an_approval_in_a_branch(make_server, model, mail):  # noqa: F811
    server = make_server(TOOLS.format(url=mail.url))
    client = server.client
    thread, at = branched(server, model)
    model.play(wants(MAIL))
    stream = client.stream(f"/threads/{thread}/messages", {"regenerate": at["a1"], "agent_id": "secretary", "stream": True})
    events = [stream.next()]
    while not events[-1].json.get("approval_required"):
        events.append(stream.next())
    run = events[0].json["run_id"]
    stream.close()
    problem(client.send(thread, "x"), 409, "run_in_progress")
    server.stop()
    server.start()
    model.play(answer(" Sent."))
    assert decide(server, run, True).status == 202
    assert ended(server, run)["status"] == "completed"
    assert path(client, thread) == ["q1", "Let me.\n\n Sent."]
    assert client.messages(thread)[-1]["parent_id"] == at["q1"]
    assert path(client, thread, "?all=true") == FOUR + ["Let me.\n\n Sent."]
