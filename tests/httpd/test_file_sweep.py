# SPDX-License-Identifier: Apache-2.0
"""What becomes of files that belong to nothing, and of the bytes of removed files, on both stores."""
import os
import shutil
import sqlite3
import threading
import time

import pytest

from client import WAIT
from cosmos_stores import ENV, store, wait_ready
from model_server import Gate, answer
from purges import LONG_AGO, purge, shift_clocks
from runs import ONE_CHILD, wait_until
from server import user
from uploads import file, kept_bytes, pdf, text, upload

FILES = "AgentChatFiles on reserve=0\n"


@pytest.fixture(params=["sqlite", "cosmos"])
def server(request, make_server, model):
    cosmos = request.getfixturevalue("cosmos") if request.param == "cosmos" else None
    server = make_server(FILES + (store(cosmos) if cosmos else ""), start=False, tuning=ONE_CHILD)
    server.cosmos = cosmos
    server.env = {**server.env, **(ENV if cosmos else {})}
    shift_clocks(server)
    server.start()
    if cosmos:
        wait_ready(server.client)
    return server


def age(server, *ids):
    """These files were uploaded or attached long ago."""
    if server.cosmos:
        with server.cosmos.lock:
            for container in next(iter(server.cosmos.databases.values())).values():
                for partition in container.partitions.values():
                    for id in ids:
                        if "loose" in partition.get(id, {}):
                            partition[id]["loose"] = LONG_AGO
    else:
        with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
            db.executemany("UPDATE files SET loose = ? WHERE id = ? AND loose IS NOT NULL", [(LONG_AGO, id) for id in ids])


def test_a_file_that_two_turns_want_at_once(make_server, model, cosmos):
    """The second turn makes the first one store its message again, and is slower then."""
    server = make_server(FILES + store(cosmos), env=ENV)
    wait_ready(server.client)
    threads, id, held, results = [server.client.thread() for _ in range(2)], upload(server.client, b"words"), [Gate(), Gate()], {}

    def send(thread):
        results[thread] = server.client.send(thread, [text("read this"), file(id)]).status
    turns = [threading.Thread(target=send, args=(thread,)) for thread in threads]
    cosmos.behave(faults=[{"match": "POST .*/messages/docs", "batch": True, "gate": held[0]}])
    turns[0].start()
    held[0].wait_reached()              # has the file, and is about to store its message
    cosmos.behave(faults=[{"match": "POST .*/threads/docs", "batch": True, "skip": 1, "gate": held[1]}])
    turns[1].start()
    held[1].wait_reached()              # has seen that no message has the file, and is about to take it
    held[0].open()
    wait_until(lambda: threads[0] in results, "the first turn does not end")
    held[1].open()
    for turn in turns:
        turn.join(WAIT)
    having = [thread for thread in threads if any(m.get("attachments") for m in server.client.messages(thread))]
    assert results == {threads[0]: 200, threads[1]: 400} and having == threads[:1], (results, having)
    assert server.client.get(f"/files/{id}").json["thread_id"] == threads[0]


def place(server, folder, name, hours):
    """Bytes that no upload knows of, as old as that."""
    path = server.root / "state/files" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    os.utime(path, (time.time() - hours * 3600,) * 2)
    if os.geteuid() == 0:
        for each in (path.parent, path):
            shutil.chown(each, user().pw_name, user().pw_name)
    return path


def path_of(server, id):
    return server.root / "state/files" / id[-2:] / id


def known(server, *ids):
    return [server.client.get(f"/files/{id}").status == 200 for id in ids]


def test_a_sweep_removes_what_belongs_to_nothing(server, model):
    client = server.client
    names = ("loose", "young", "kept", "attached", "bare")
    ids = {name: upload(client, name.encode(), f"{name}.txt") for name in names}
    thread = client.thread()
    model.play(answer("ok"))
    reply = client.send(thread, [text("a"), file(ids["attached"])])
    assert reply.status == 200, reply
    path_of(server, ids["bare"]).unlink()                       # its bytes are gone, as after an incomplete restore
    age(server, ids["loose"], ids["attached"])
    # Bytes without a file, an unfinished upload of a dead process, and one that is under way.
    lost, fresh = (place(server, "zz", "file_0" + digit * 23 + "zz", hours) for digit, hours in (("1", 2), ("2", 0)))
    dead = place(server, "new", "file_0" + "3" * 25, 2)
    with client.connect() as connection:
        connection.send("POST", "/api/files", headers={"Content-Length": "6"})
        connection.socket.sendall(b"sl")
        under_way = wait_until(lambda: [p for p in (server.root / "state/files/new").iterdir() if p != dead], "the first bytes")[0]
        os.utime(under_way, (time.time() - 7200,) * 2)
        purge(server)
        connection.socket.sendall(b"ow..")
        late = connection.receive("POST")
    assert late.status == 201, late
    assert not lost.exists() and not dead.exists() and fresh.exists()
    assert known(server, *ids.values()) == [False, True, True, True, True]
    assert not path_of(server, ids["loose"]).exists()
    assert kept_bytes(server) == sorted([ids["young"], ids["kept"], ids["attached"], late.json["id"], fresh.name])
    assert client.get(f"/files/{ids['attached']}/content").body == b"attached"
    server.expect_log("AC0615")                                 # a file without bytes is not removed: a folder may not be mounted
    assert client.get(f"/files/{ids['bare']}/content").status == 404
    # Its thread keeps the attached file for good; what is deleted with the thread leaves no bytes.
    age(server, *ids.values())
    purge(server)
    assert known(server, *ids.values()) == [False, False, False, True, False]
    assert client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    assert not path_of(server, ids["attached"]).exists() and known(server, ids["attached"]) == [False]


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext is missing")
@pytest.mark.parametrize("how", ["file", "thread", "purge"])
def test_the_text_of_a_pdf_goes_with_it(server, model, how):
    client = server.client
    thread, one = client.thread(), upload(server.client, pdf("Quarterly figures"), "q.pdf")
    model.play(answer("ok"))
    assert client.send(thread, [file(one)]).status == 200
    assert "Quarterly figures" in model.requests[-1].last["content"] and len(kept_bytes(server)) == 2
    if how == "file":
        assert client.delete(f"/files/{one}").status == 200
    elif how == "thread":
        assert client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    else:
        assert client.delete(f"/threads/{thread}").status == 200
        assert len(kept_bytes(server)) == 2
        backdate_deletion(server, thread)
        purge(server)
    assert kept_bytes(server) == [] and known(server, one) == [False]


def backdate_deletion(server, thread):
    if server.cosmos:
        with server.cosmos.lock:
            for partition in next(iter(server.cosmos.databases.values()))["messages"].partitions.values():
                if thread in partition:
                    partition[thread]["deleted_at"] = LONG_AGO
    else:
        with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
            db.execute("UPDATE threads SET deleted_at = ? WHERE id = ?", (LONG_AGO, thread))


def test_nothing_of_a_forgotten_owner_is_left(server, model):
    client = server.client
    loose, attached = upload(client, b"loose"), upload(client, pdf("Secret"), "s.pdf")
    model.play(answer("ok"))
    assert client.send(client.thread(), [file(attached)]).status == 200
    receipt = client.request("DELETE", "/me", {"confirm": "delete everything"})
    assert (receipt.status, receipt.json["status"]) == (200, "done"), receipt
    assert known(server, loose, attached) == [False, False]
    assert kept_bytes(server) == []
