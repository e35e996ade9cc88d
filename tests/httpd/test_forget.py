# SPDX-License-Identifier: Apache-2.0
"""DELETE /me: nothing that an owner had is left, also when the server is killed in between; others keep theirs."""
import sqlite3
import threading
from pathlib import Path

import pytest

from blob_server import KEY as BLOB_KEY
from blob_server import Blob
from client import WAIT, Client
from cosmos_stores import ENV, store, wait_ready
from key_file import KEYED
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from model_server import Gate, answer
from runs import begun, holding, wait_until
from uploads import kept_bytes, upload

PLACES = "AgentChatEventLogKeep 1d\nAgentChatCache memory check=off\n"
SECRET = "Gänseblümchen-7391"
CONFIRM = {"confirm": "delete everything"}


class Caller:
    def __init__(self, server, key):
        self.client, self.headers = Client(server.port, "/keys"), {"X-API-Key": key}

    def __call__(self, method, path, body=None, **headers):
        return self.client.request(method, path, body, headers={**self.headers, **headers})

    def say(self, text=SECRET, thread=None, **headers):
        path = f"/threads/{thread}/messages" if thread else "/agents/assistant/chat"
        response = self("POST", path, {"content" if thread else "message": text, "stream": False}, **headers)
        assert response.status == 200, response
        return response.json

    def threads(self, query=""):
        return self("GET", "/threads?limit=100" + query).json["data"]

    def forget(self):
        return self("DELETE", "/me", CONFIRM)


@pytest.fixture
def keyed(make_server, model):
    def make(directives="", **options):
        server = make_server(KEYED + PLACES + directives, start=False, modules=KEY_MODULES, **options)
        keys = KeyFile(server.root / "keys")
        for name, fields in (("ann", ()), ("bob", ()), ("chief", ("roles=admin",))):
            setattr(server, name, Caller(server, keys.make(f"{name}-1", f"owner={name}", *fields)))
        return server.start()
    return make


def fill(server, model):
    """Three threads of ann's with words in each place, one of them deleted; one thread of bob's."""
    made = []
    for _ in range(3):
        model.play(answer(f"Answer {SECRET}"))
        message = server.ann.say(**{"Idempotency-Key": f"key-{len(made)}"})
        server.ann("PUT", f"/messages/{message['id']}/feedback", {"rating": "down", "comment": SECRET})
        server.ann("PATCH", f"/threads/{message['thread_id']}", {"title": SECRET, "metadata": {"word": SECRET}})
        made.append(message)
    server.ann("DELETE", f"/threads/{made[0]['thread_id']}")
    model.play(answer("For bob"))
    server.bob.say("A question of bob's")
    return made


def is_empty(server, made):
    """Whether ann sees nothing of what she had."""
    return not server.ann.threads() and not server.ann.threads("&status=deleted") and all(
        server.ann("GET", path).status == 404 for message in made for path in (
            f"/threads/{message['thread_id']}", f"/threads/{message['thread_id']}/messages", f"/runs/{message['run_id']}",
            f"/runs/{message['run_id']}/steps", f"/runs/{message['run_id']}/events", f"/threads/{message['thread_id']}/export")) and \
        server.ann("POST", f"/threads/{made[0]['thread_id']}/restore").status == 404 and \
        server.ann("GET", "/usage").json["totals"]["runs"] == 0


def holders(*places):
    """Files below these that have the word."""
    found = []
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                found.append(path.name)
    return found


def test_it_asks_for_a_confirmation(server):
    for body in ({}, {"confirm": "yes"}, {"confirm": True}, {**CONFIRM, "more": 1}):
        response = server.client.request("DELETE", "/me", body)
        assert (response.status, response.json["code"]) == (400, "invalid_request"), (body, response)


def test_nothing_is_left(keyed, model):
    server = keyed('AgentChatAuditLog logs/audit.log')
    made = fill(server, model)
    state = server.root / "state"
    assert holders(state)
    response = server.ann.forget()
    receipt = response.json
    assert response.status == 200 and receipt["id"].startswith("erasure_"), response
    assert {k: receipt[k] for k in ("object", "status", "threads", "messages", "runs", "files")} == {
        "object": "erasure", "status": "done", "threads": 3, "messages": 6, "runs": 3, "files": 0}
    assert is_empty(server, made) and ended(server, receipt)
    # The write-ahead log is emptied by the checkpoint behind the answer.
    wait_until(lambda: not holders(state), "no file has the word")
    assert "ann" not in owners(state / "agentchat.db") and "bob" in owners(state / "agentchat.db")
    assert [thread["title"] for thread in server.bob.threads()] == ["A question of bob's"]
    assert server.chief("GET", "/usage?by=owner").json["totals"]["runs"] == 4
    assert server.chief("GET", "/feedback").body.count(b'"object":"feedback"') == 0
    audit = (server.root / "logs/audit.log").read_text()
    assert '"owner.erased"' in audit and receipt["id"] in audit and SECRET not in audit + server.log()
    fresh = server.ann.say("A new beginning", **{"Idempotency-Key": "key-0"})           # the key leads nowhere any more
    assert fresh["thread_id"] not in {message["thread_id"] for message in made}
    assert [thread["id"] for thread in server.ann.threads()] == [fresh["thread_id"]]
    assert server.ann.forget().json["threads"] == 1 and server.ann.forget().json["threads"] == 0


def test_an_active_run_is_cancelled(make_server, model):
    server, gate = make_server("AgentChatEventLogKeep 1d\n"), Gate()
    stream, run = begun(server.client, model, gate, (f"{SECRET} ",))
    receipt = server.client.request("DELETE", "/me", CONFIRM).json
    assert (receipt["status"], receipt["threads"], receipt["runs"], receipt["messages"]) == ("done", 1, 1, 1)
    assert stream.rest()[-1].type in ("done", "error")
    gate.open()
    for path in (f"/threads/{run['thread_id']}", f"/runs/{run['run_id']}", f"/runs/{run['run_id']}/events"):
        assert server.client.get(path).status == 404
    wait_until(lambda: not holders(server.root / "state"), "no file has the word")
    logs = [path for path in Path("/dev/shm").rglob(f"{run['run_id']}.log")]
    assert not logs


def test_the_answer_of_a_run_whose_thread_is_gone(make_server, model):
    """It says that nothing was stored; it is no JSON null."""
    server, gate, answers = make_server(), Gate(), []
    thread = server.client.thread()
    model.play(holding(gate))
    asking = threading.Thread(target=lambda: answers.append(server.client.send(thread, "hello")))
    asking.start()
    gate.wait_reached()
    wait_until(lambda: server.client.get(f"/threads/{thread}/messages").json["data"], "no turn")
    assert server.client.request("DELETE", "/me", CONFIRM).status == 200
    gate.open()
    asking.join(WAIT)
    assert answers and isinstance(answers[0].json, dict), answers
    assert answers[0].status != 200 or answers[0].json["id"] is None, answers


# Tables whose rows cannot be removed, in the order of the steps.
STEPS = ["messages", "runs", "threads", "erasures"]


def owners(path):
    """All texts of the database, but for its index of words, which has numbers and single words."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        tables = [table for table, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")]
        return {value for table in tables for row in db.execute(f"SELECT * FROM {table}") for value in row if isinstance(value, str)}


def ended(server, receipt):
    """Whether a server has logged the end of the erasure, with the numbers of the receipt."""
    return "{id}: done: {threads} threads, {messages} messages, {runs} runs, {files} files".format(**receipt) in server.log()


@pytest.mark.parametrize("table", STEPS)
def test_killed_in_between(keyed, model, table):
    """A step cannot be carried out, and the server is killed: the owner sees nothing, and the next start continues."""
    server = keyed()
    made = fill(server, model)
    path = server.root / "state/agentchat.db"
    with sqlite3.connect(path, timeout=WAIT) as db:
        db.execute(f"CREATE TRIGGER gate BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, 'gate'); END")
    server.expect_log("AC02", "AC0651", "AC0616", "AH00098")
    response = server.ann.forget()
    receipt = response.json
    assert (response.status, receipt["status"], receipt["threads"], receipt["messages"]) == (202, "continuing", 3, 6), response
    again = server.ann.forget()
    assert (again.status, again.json) == (202, receipt), again
    assert is_empty(server, made)
    server.kill()
    with sqlite3.connect(path, timeout=WAIT) as db:
        assert db.execute("SELECT count(*) FROM erasures").fetchone() == (1,)
        db.execute("DROP TRIGGER gate")
    server.start()
    assert is_empty(server, made)
    kept = server.ann.say("A new beginning")["thread_id"]
    wait_until(lambda: ended(server, receipt), "the erasure has ended")
    wait_until(lambda: not holders(server.root / "state"), "no file has the word")
    assert [thread["id"] for thread in server.ann.threads()] == [kept]
    assert server.ann.forget().json["threads"] == 1
    wait_until(lambda: "ann" not in owners(path), "no row has the owner")


def test_killed_before_the_log_is_empty(keyed, model):
    """All is removed and the index is merged, and a reader keeps the write-ahead log, which has the words."""
    server = keyed()
    made = fill(server, model)
    path = server.root / "state/agentchat.db"
    reader = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM threads").fetchone()
    server.expect_log("AC02", "AC0651", "AC0616", "AH00098")
    receipt = server.ann.forget().json
    assert (receipt["status"], receipt["threads"], receipt["messages"]) == ("continuing", 3, 6)
    with sqlite3.connect(path, timeout=WAIT) as db:
        assert not db.execute("SELECT 1 FROM threads WHERE owner = 'ann'").fetchall()
    server.kill()
    reader.close()
    assert holders(server.root / "state")
    server.start()
    wait_until(lambda: ended(server, receipt), "the erasure has ended")
    wait_until(lambda: not holders(server.root / "state"), "no file has the word")
    assert is_empty(server, made)


def test_killed_before_a_file_is_removed(keyed, model):
    """The file cannot be removed, as its folder has become a file."""
    server = keyed("AgentChatFiles on reserve=0\n")
    made = fill(server, model)
    name = upload(server.ann.client, SECRET.encode(), headers=server.ann.headers)
    other = upload(server.bob.client, b"bob's", headers=server.bob.headers)
    folder = next(path for path in (server.root / "state/files").rglob("*") if path.name == name).parent
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("no folder")
    server.expect_log("AC0613", "AC0651", "AC0616", "AH00098")
    response = server.ann.forget()
    receipt = response.json
    assert (response.status, receipt["status"], receipt["files"]) == (202, "continuing", 1), response
    assert is_empty(server, made) and server.ann("GET", f"/files/{name}").status == 404
    server.kill()
    folder.unlink()
    aside.rename(folder)
    server.start()
    wait_until(lambda: ended(server, receipt), "the erasure has ended")
    wait_until(lambda: not holders(server.root / "state"), "no file has the word")
    assert kept_bytes(server) == [other]


def test_killed_before_a_blob_is_removed(keyed, model, cosmos):
    blob = Blob()
    try:
        server = keyed(store(cosmos) + f"AgentChatFiles blob:{blob.container_url} credential=env:BLOB_KEY\n",
                       env={**ENV, "BLOB_KEY": BLOB_KEY})
        wait_ready(server.client)
        fill(server, model)
        name = upload(server.ann.client, SECRET.encode(), headers=server.ann.headers)
        other = upload(server.bob.client, b"bob's", headers=server.bob.headers)
        blob.fault(rf"DELETE .*{name}", 1000, status=503, code="ServerBusy")
        server.expect_log("AC0613", "AC0619", "AC0651", "AC0616", "AH00098")
        receipt = server.ann.forget().json
        assert (receipt["status"], server.ann("GET", f"/files/{name}").status) == ("continuing", 404)
        server.kill()
        assert any(name in one for one in blob.names())
        blob.faults.clear()
        server.start()
        numbers = {"threads": 3, "messages": 6, "runs": 3, "files": 1}
        wait_until(lambda: ended(server, {**receipt, **numbers}), "the erasure has ended")
        assert not any(name in one for one in blob.names()) and any(other in one for one in blob.names())
        assert SECRET not in cosmos_text(cosmos)
    finally:
        blob.stop()


def test_nothing_happens_if_it_is_not_accepted(keyed, model):
    server = keyed()
    fill(server, model)
    before = server.ann.threads()
    with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
        db.execute("CREATE TRIGGER gate BEFORE INSERT ON erasures BEGIN INSERT INTO gate VALUES (1); END")
    server.expect_log("AC02", "AC0651")
    assert server.ann.forget().status >= 500
    assert server.ann.threads() == before


def test_a_budget_is_not_reset(keyed):
    server = keyed("AgentChatLimit tokens=1100/day by=owner\n")

    def status(caller):
        return caller("POST", "/agents/assistant/chat", {"message": "x", "stream": False}).status
    wait_until(lambda: status(server.ann) == 429, "no limit")
    assert server.ann.forget().status == 200
    assert status(server.ann) == 429 and status(server.bob) == 200


def cosmos_text(cosmos):
    return repr([cosmos.documents(container) for container in ("threads", "messages")])


def test_nothing_is_left_in_cosmos_db(keyed, model, cosmos):
    server = keyed(store(cosmos), env=ENV)
    wait_ready(server.client)
    made = fill(server, model)
    assert SECRET in cosmos_text(cosmos)
    receipt = server.ann.forget().json
    assert (receipt["status"], receipt["threads"], receipt["messages"], receipt["runs"]) == ("done", 3, 6, 3)
    assert is_empty(server, made) and ended(server, {**receipt, "files": 0})
    assert SECRET not in cosmos_text(cosmos) and "'ann'" not in cosmos_text(cosmos)
    assert server.chief("GET", "/usage?by=owner").json["totals"]["runs"] == 4
    assert [thread["title"] for thread in server.bob.threads()] == ["A question of bob's"]


def test_killed_in_between_with_cosmos_db(keyed, model, cosmos):
    """The second thread cannot be hidden, and the server is killed: the next start continues by the marker."""
    server = keyed(store(cosmos) + "AgentChatStoreTimeout 2s\n", env=ENV)
    wait_ready(server.client)
    made = fill(server, model)
    server.expect_log("AC02", "AC0651", "AC0616", "AH00098")
    cosmos.behave(faults=[{"match": "PUT /dbs/chat/colls/messages/.*", "skip": 1, "n": 1000, "status": 503}])
    response = server.ann.forget()
    receipt = response.json
    assert (response.status, receipt["status"], receipt["threads"]) == (202, "continuing", None), response
    assert is_empty(server, made)                   # also the threads that are not hidden yet
    again = server.ann.forget()
    assert (again.status, again.json) == (202, receipt), again
    server.kill()
    cosmos.behave(clear=True)
    assert SECRET in cosmos_text(cosmos)
    server.start()
    wait_ready(server.client)
    kept = server.ann.say("A new beginning")["thread_id"]
    numbers = {"threads": 3, "messages": 6, "runs": 3, "files": 0}
    wait_until(lambda: ended(server, {**receipt, **numbers}), "the erasure has ended")
    assert SECRET not in cosmos_text(cosmos)
    assert all(server.ann("GET", f"/threads/{message['thread_id']}").status == 404 for message in made)
    assert [thread["id"] for thread in server.ann.threads()] == [kept]
