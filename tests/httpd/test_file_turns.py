# SPDX-License-Identifier: Apache-2.0
"""Turns with files, on both stores: what fails and is sent again, and what the model sees when a turn is repeated, edited,
resumed or continued."""
import sqlite3
import threading

import pytest

from client import WAIT
from cosmos_stores import ENV, store, wait_ready
from model_server import Gate, ModelServer, Reply, answer, calls
from runs import ONE_CHILD, holding, kill_child, wait_until
from server import AGENT, MODEL, MOUNT
from uploads import NOTICE, PNG, data_url, file, image, text, upload

FILES = "AgentChatFiles on reserve=0\nAgentChatStateDir state\n"

MAIL = """
<AgentChatTool send_mail>
    AgentChatToolURL {url}/mail method=POST
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters {{"type":"object","properties":{{}}}}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail
</AgentChatAgent>
"""


@pytest.fixture
def mail():
    tool = ModelServer()
    tool.default = lambda _request: iter([Reply(200, {"sent": True})])
    yield tool
    tool.stop()


@pytest.fixture(params=["sqlite", "cosmos"])
def make(request, make_server, model):
    def made(more="", **options):
        on_cosmos = request.param == "cosmos"
        cosmos = request.getfixturevalue("cosmos") if on_cosmos else None
        models = MODEL.format(url=model.url).replace("AgentChatBreaker off", "AgentChatBreaker off\nAgentChatVision on")
        server = make_server(models + AGENT + MOUNT + FILES + more + (store(cosmos) if cosmos else ""), standard=False,
                             env=ENV if cosmos else None, **options)
        server.cosmos = cosmos
        if cosmos:
            wait_ready(server.client)
        return server
    return made


class Locked:
    """Nothing is written to the store: SQLite is locked; Cosmos DB's next batch in the threads' container waits. `late` lets
    it go on."""

    def __init__(self, server):
        self.server, self.gate, self.db = server, Gate(), None

    def __enter__(self):
        if self.server.cosmos:
            self.server.cosmos.behave(faults=[{"match": "POST .*/messages/docs", "batch": True, "gate": self.gate}])
        else:
            self.db = sqlite3.connect(self.server.root / "state/agentchat.db", timeout=WAIT, isolation_level=None)
            self.db.execute("BEGIN IMMEDIATE")
        return self

    def wait_reached(self, model):
        if self.db:
            wait_until(lambda: model.requests, "the model is not asked")
        else:
            self.gate.wait_reached()

    def unlock(self):
        if self.db:
            self.db.execute("ROLLBACK")
            self.db.close()
            self.db = None

    def __exit__(self, *_):
        self.unlock()
        self.gate.open()


def shown(server, file_id):
    return server.client.get(f"/files/{file_id}").json


def test_a_message_whose_opening_failed_is_sent_again(make, model):
    """A new thread, and its first write is refused: nothing is stored, and the file is as free as before."""
    server = make()
    client, one = server.client, upload(server.client, b"words")
    body = {"message": [text("Read"), file(one)], "stream": False}
    if server.cosmos:
        server.cosmos.behave(faults=[{"match": "POST .*/messages/docs", "batch": True, "status": 400}])
    else:
        with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
            db.execute("CREATE TRIGGER refusal BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'refused'); END")
    server.expect_log("AC0502", "AC0651", "AC02")
    model.play(answer("lost"))
    refused = client.post("/agents/assistant/chat", body)
    assert refused.status >= 400, refused
    if not server.cosmos:
        with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
            db.execute("DROP TRIGGER refusal")
        assert (shown(server, one)["thread_id"], shown(server, one)["status"]) == (None, "uploaded")
    model.play(answer("read"))
    reply = client.post("/agents/assistant/chat", body)
    assert reply.status == 200 and reply.json["content"] == "read", reply
    assert (shown(server, one)["thread_id"], shown(server, one)["status"]) == (reply.json["thread_id"], "attached")
    assert [thread["id"] for thread in client.get("/threads").json["data"]] == [reply.json["thread_id"]]


def test_a_message_is_sent_again_after_a_kill(make, model):
    """The process ends while the first write of a new thread is under way. The late write cannot store that thread behind
    the one that the client makes next with the same file."""
    server = make(tuning=ONE_CHILD)
    client, one = server.client, upload(server.client, b"words")
    body = {"message": [text("Read"), file(one)], "stream": False}
    with Locked(server) as lock:
        model.play(answer("lost"))
        lost = threading.Thread(target=lambda: pytest.raises((EOFError, OSError), client.post, "/agents/assistant/chat", body))
        lost.start()
        lock.wait_reached(model)
        kill_child(server, server.children()[0])
        lost.join(WAIT)
        lock.unlock()
        assert client.get("/health").status == 200      # of another process
        model.play(answer("read"))
        reply = client.post("/agents/assistant/chat", body)
        assert reply.status == 200 and reply.json["content"] == "read", reply
    if server.cosmos:                       # the write of the killed process was carried out after all
        wait_until(lambda: server.cosmos.count("POST .*/messages/docs 409") + server.cosmos.count("POST .*/messages/docs 207"),
                   "the late write")
    assert shown(server, one)["thread_id"] == reply.json["thread_id"]
    assert [thread["id"] for thread in client.get("/threads").json["data"]] == [reply.json["thread_id"]]
    assert [message["content"] for message in client.messages(reply.json["thread_id"])] == ["Read", "read"]


def test_one_key_at_the_same_time_is_one_turn_with_its_files(make, model):
    """Two requests for a new thread, with one Idempotency-Key and the same file."""
    server = make()
    one, replies = upload(server.client, b"words"), []
    gates = [Gate(), Gate()]
    for gate in gates:
        model.play(lambda request, gate=gate: iter([gate, *answer("read")(request)]))

    def send():
        replies.append(server.client.post("/agents/assistant/chat", {"message": [file(one)], "stream": False},
                                          headers={"Idempotency-Key": "one"}))
    threads = [threading.Thread(target=send) for _ in gates]
    for thread in threads:
        thread.start()
    gates[0].wait_reached()
    for gate in gates:
        gate.open()
    for thread in threads:
        thread.join(WAIT)
    assert [reply.status for reply in replies] == [200, 200], replies
    assert replies[0].json["id"] == replies[1].json["id"]
    assert len(server.client.get("/threads").json["data"]) == 1

def seen(said):
    """What the model is sent of a question with both files."""
    words = f'{said}\n\n[The user attached the file "a.txt" (text/plain, 5 bytes). {NOTICE}\n```\nwords\n```'
    return {"role": "user", "content": [text(words), {"type": "image_url", "image_url": {"url": data_url()}}]}


def said_to(request):
    """A conversation that the model got, without the instructions."""
    return [message for message in request.messages if message["role"] != "system"]


def both(client, said):
    """A question with a text and an image."""
    return [text(said), file(upload(client, b"words")), image(upload(client, PNG, "a.png"))]


def says(words):
    return {"role": "assistant", "content": words}


def test_the_model_sees_the_files_again(make, model):
    """A further answer, an edited question with the same files, and what follows on each branch."""
    client = make().client
    thread, parts = client.thread(), both(client, "Read")
    send = f"/threads/{thread}/messages"
    model.play(*map(answer, ("one", "two", "three", "four", "five")))
    first = client.send(thread, parts)
    assert first.status == 200 and said_to(model.requests[-1]) == [seen("Read")], first
    again = client.post(send, {"regenerate": first.json["id"], "stream": False})
    assert again.status == 200 and said_to(model.requests[-1]) == [seen("Read")], again
    assert client.send(thread, "And now?").status == 200
    assert said_to(model.requests[-1]) == [seen("Read"), says("two"), {"role": "user", "content": "And now?"}]
    edited = client.post(send, {"parent_id": None, "content": [text("Look"), *parts[1:]], "stream": False})
    assert edited.status == 200 and said_to(model.requests[-1]) == [seen("Look")], edited
    assert client.patch(f"/threads/{thread}", {"leaf": first.json["id"]}).status == 200
    assert client.send(thread, "Back").status == 200
    assert said_to(model.requests[-1]) == [seen("Read"), says("one"), {"role": "user", "content": "Back"}]
    stored = [message for message in client.messages(thread, "?limit=100&all=true") if "attachments" in message]
    assert [message["content"] for message in stored] == ["Read", "Look"]
    assert stored[0]["attachments"] == stored[1]["attachments"] and len(stored[0]["attachments"]) == 2
    files = client.get(f"/files?thread_id={thread}").json["data"]
    assert sorted(shown["id"] for shown in files) == sorted(part["file_id"] for part in parts[1:])


def test_files_outlive_a_killed_run(make, model):
    """The partial answer is stored, and the next question shows the files again."""
    server, gate = make(tuning=ONE_CHILD), Gate()
    client = server.client
    parts = both(client, "Read")
    model.play(holding(gate, ("half",)))
    stream = client.stream("/agents/assistant/chat", {"message": parts})
    run = stream.next().json
    stream.until("token")
    assert said_to(model.requests[-1]) == [seen("Read")]
    kill_child(server, server.children()[0])
    stream.close()
    wait_until(lambda: len(client.messages(run["thread_id"])) == 2, "the partial answer is not stored")
    gate.open()
    model.default = answer("next")
    reply = client.send(run["thread_id"], "Go on")
    assert reply.status == 200, reply
    messages = client.messages(run["thread_id"])
    assert [message["content"] for message in messages] == ["Read", "half", "Go on", "next"]
    assert [one["file_id"] for one in messages[0]["attachments"]] == [part["file_id"] for part in parts[1:]]
    assert said_to(model.requests[-1]) == [seen("Read"), says("half"), {"role": "user", "content": "Go on"}]
    for part, data in zip(parts[1:], (b"words", PNG)):
        assert client.get(f"/files/{part['file_id']}/content").body == data


@pytest.mark.parametrize("how", ["at once", "kill"])
def test_files_after_an_approval(make, model, mail, how):
    """Also in a process that knows of the run from the store only."""
    server = make(MAIL.format(url=mail.url))
    client, parts = server.client, both(server.client, "Mail it")
    model.play(calls(("send_mail", {})), answer("Sent."))
    stream = client.stream("/agents/secretary/chat", {"message": parts})
    run = stream.next().json["run_id"]
    while not stream.next().json.get("approval_required"):
        pass
    stream.close()
    if how == "kill":
        server.expect_log("AH00098")
        server.kill()
        server.start()
        wait_ready(client)
    assert client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}).status == 202
    shown = wait_until(lambda: (got := client.get(f"/runs/{run}").json)["status"] != "in_progress" and got, "the run does not end")
    assert shown["status"] == "completed" and len(mail.requests) == 1
    for request in model.requests:
        assert [message for message in request.messages if message["role"] == "user"] == [seen("Mail it")]
    assert len(model.requests) == 2
