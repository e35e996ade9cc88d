# SPDX-License-Identifier: Apache-2.0
"""Branches in the file of the embedded store: the most that a thread has, what a purge leaves, a file of an older version."""
import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from model_server import answer
from runs import events_of
from server import STORE
from test_branches import FOUR, branched, conversation, leaf, path, problem, regenerate, tree

SRC = Path(__file__).resolve().parents[2] / "src"
pytestmark = pytest.mark.skipif(STORE is not None, reason="the file of the embedded store")


def older_file(file):
    """Makes the file one of schema version 6, with the rows that it has."""
    source = (SRC / "back/sqlite/sqlite_schema.c").read_text().replace("AC_SQLITE_ACTIVE", '"status IN (\'queued\', \'in_progress\')"')
    older = file.with_suffix(".older")
    with closing(sqlite3.connect(older, isolation_level=None)) as database:
        for version in range(1, 7):
            text = re.search(rf"version_{version}\[\] =\s*(.*?);\n\n", source, re.S).group(1)
            database.executescript("".join(re.findall(r'"([^"]*)"', text)))
        database.execute("DELETE FROM stamps")
        database.execute("ATTACH ? AS newer", (str(file),))
        for table, in database.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            columns = ", ".join(row[1] for row in database.execute(f"PRAGMA main.table_info({table})"))
            database.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}")
        database.execute("UPDATE main.runs SET doc = json_remove(doc, '$.parent_id')")
        number, = database.execute("PRAGMA newer.application_id").fetchone()
        database.execute(f"PRAGMA main.application_id = {number}")
        database.execute("PRAGMA main.user_version = 6")
    stat = file.stat()
    for rest in file.parent.glob(file.name + "*"):
        rest.unlink()
    older.rename(file)
    os.chown(file, stat.st_uid, stat.st_gid)
    file.chmod(stat.st_mode)


def test_a_thread_with_the_most_branches(make_server, model):
    """A thousand branch points, made in the file; the next one is refused, and nothing of it is stored."""
    server = make_server("")
    thread = conversation(server.client, model, "q1", "a1")
    question = server.client.messages(thread)[0]["id"]
    server.stop()
    copies = [f"msg_{i:026d}" for i in range(1000)]
    tree = {"leaf": {"seq": 1002, "id": copies[-1]}, "jumps": [[seq, 1] for seq in range(3, 1003)]}
    with sqlite3.connect(server.root / "state/agentchat.db") as db:
        columns = [name for _, name, *_ in db.execute("PRAGMA table_info(messages)") if name not in ("id", "seq", "parent_id")]
        copied = ", ".join(columns)
        for seq, id in enumerate(copies, 3):
            db.execute(f"INSERT INTO messages (id, seq, parent_id, {copied}) SELECT ?, ?, ?, {copied} FROM messages"
                       " WHERE thread_id = ? AND seq = 2", (id, seq, question, thread))
        db.execute("UPDATE threads SET message_count = 1002, tree = ? WHERE id = ?", (json.dumps(tree), thread))
    server.start()
    client, n = server.client, len(model.requests)
    shown = client.messages(thread)
    assert [m["id"] for m in shown] == [question, copies[-1]] and len(shown[1]["siblings"]) == 1001, shown
    for body in ({"regenerate": copies[5]}, {"content": "q2", "parent_id": copies[5]}):
        refused = client.post(f"/threads/{thread}/messages", {**body, "stream": False})
        problem(refused, 400, "invalid_request")
        assert "at most 1000" in refused.json["detail"], refused
    assert client.get(f"/threads/{thread}").json["message_count"] == 1002
    # A model is asked while the store opens the turn; the calls of the two refused turns may arrive late.
    model.default = lambda request: answer("a3" if request.last["content"] == "q3" else "of a refused turn")(request)
    assert client.send(thread, "q3").status == 200          # the end of the path is no branch point
    assert path(client, thread)[2:] == ["q3", "a3"]
    assert len(model.requests) > n


def test_a_purge_of_a_thread_with_branches(make_server, model):
    server = make_server("")
    thread = tree(server.client, model)
    assert server.client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    with sqlite3.connect(server.root / "state/agentchat.db") as db:
        for table in ("messages", "runs", "steps", "threads"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_file_of_an_older_version_is_a_line(make_server, model):
    server = make_server("")
    thread, at = branched(server, model)
    server.stop()
    older_file(server.root / "state/agentchat.db")
    server.start()
    client = server.client
    messages = client.messages(thread)
    assert [m["parent_id"] for m in messages] == [None] + [m["id"] for m in messages[:-1]]
    assert path(client, thread) == FOUR and leaf(client, thread) is None
    assert "parent_id" not in client.get("/runs/" + messages[1]["run_id"]).json
    assert events_of(client, messages[1]["run_id"]).rest()[0].json["message_id"] == at["q1"]
    model.play(answer("a3"))
    assert regenerate(client, thread, at["a1"]).status == 200
    assert path(client, thread) == ["q1", "a3"] and path(client, thread, "?all=true") == FOUR + ["a3"]
    assert [m["parent_id"] for m in client.messages(thread, "?all=true")][1:4] == [m["id"] for m in messages[:3]]
