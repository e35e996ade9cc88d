# SPDX-License-Identifier: Apache-2.0
"""Turns with files, on both stores: what fails and is sent again, and what the model sees when a turn is repeated, edited,
resumed or continued."""
import sqlite3
import threading

import pytest

from client import WAIT
from cosmos_stores import ENV, store, wait_ready
from model_server import Gate, answer
from runs import kill_child, wait_until
from server import AGENT, MODEL, MOUNT
from uploads import PNG, data_url, file, image, text, upload

FILES = "AgentChatFiles on reserve=0\nAgentChatStateDir state\n"
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n"


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
