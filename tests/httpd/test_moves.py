# SPDX-License-Identifier: Apache-2.0
"""agentchat-store moves conversations with branches and files, and the bytes of the files, to Cosmos DB and Azure Blob Storage and back;
a move that was killed is continued."""
import os
import re
import subprocess
import threading

import pytest

from blob_server import KEY as BLOB_KEY
from blob_server import Blob
from client import WAIT
from cosmos_stores import ENV, store, wait_ready
from model_server import answer
from runs import wait_until
from server import BUILD, sanitizer
from test_shortage import small_disk
from uploads import file, kept_bytes, text, upload

ALL_ENV = {**ENV, "BLOB_KEY": BLOB_KEY}


@pytest.fixture
def blob():
    blob = Blob()
    yield blob
    blob.stop()


def begin(*ends):
    return subprocess.Popen([str(BUILD / "agentchat-store"), "copy", *map(str, ends)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={**os.environ, **ALL_ENV, **sanitizer()})


def copy(*ends, code=0):
    process = begin(*ends)
    said = process.communicate(timeout=2 * WAIT)[0]
    assert process.returncode == code, said
    return said


def rows(said):
    return {name: (int(a), int(b)) for name, a, b in re.findall(r"^(\w+) +(\d+) +(\d+)", said, re.M)}


def fill(server, model):
    """A thread with three branches and files in two of them, one file that is in no message, and their bytes."""
    client, bytes_of = server.client, {}

    def put(data, name):
        id = upload(client, data, name)
        bytes_of[id] = data
        return id
    thread = client.thread()
    for words, more in (("first", {}), ("another first", {"parent_id": None}), ("second", {})):
        model.play(answer(f"about {words}"))
        parts = [text(words), file(put(words.encode() * 50_000, f"{words}.txt")), file(put(b"small", "b.md"))]
        response = client.post(f"/threads/{thread}/messages", {"content": parts, "stream": False, **more})
        assert response.status == 200, response
    model.play(answer("once more"))
    assert client.post(f"/threads/{thread}/messages", {"regenerate": response.json["id"], "stream": False}).status == 200
    put(b"in no message", "loose.txt")
    return thread, bytes_of


def seen(server, thread):
    """What clients see of a thread and of all files."""
    get = server.client.get
    shown = [get(f"/threads/{thread}").json, get(f"/threads/{thread}/messages?limit=100").json,
             get(f"/threads/{thread}/messages?limit=100&all=true").json, sorted(one["id"] for one in get("/files?limit=100").json["data"])]
    return shown, {id: (get(f"/files/{id}").json, get(f"/files/{id}/content").body) for id in shown[3]}


def test_a_move_there_and_back(make_server, model, cosmos, blob, tmp_path):
    here = make_server("AgentChatFiles on reserve=0\n")
    thread, bytes_of = fill(here, model)
    wanted = seen(here, thread)
    assert {id: body for id, (_, body) in wanted[1].items()} == bytes_of
    here.stop()
    root = here.root / "state"
    there = f"cosmos:{cosmos.url} database=chat create=on credential=env:COSMOS_KEY"
    container = f"blob:{blob.container_url} credential=env:BLOB_KEY"
    ends = (f"sqlite:{root / 'agentchat.db'}", there, root / "files", container)
    gate = threading.Event()
    blob.fault("^PUT .*comp=blocklist|^PUT .*file_", times=1000, gate=gate)       # killed while a file is on its way
    process = begin(*ends)
    wait_until(lambda: blob.count("^PUT .*file_"), "no file is moved")
    process.kill()
    process.wait(WAIT)
    gate.set()
    blob.faults.clear()
    said = rows(copy(*ends))
    assert said["files"] == said["contents"] == (len(bytes_of), len(bytes_of)) and said["messages"] == (7, 7), said
    assert blob.names() == sorted(bytes_of)
    n = blob.count("^PUT .*file_")
    assert rows(copy(*ends)) == said and blob.count("^PUT .*file_") == n         # nothing is moved twice
    away = make_server(f"AgentChatFiles {container}\n" + store(cosmos), env=ALL_ENV)
    wait_ready(away.client)
    assert seen(away, thread) == wanted
    away.stop()
    # Back, to a place where a damaged file is.
    damaged, back = sorted(bytes_of)[0], tmp_path / "back"
    (back / damaged[-2:]).mkdir(parents=True)
    (back / damaged[-2:] / damaged).write_bytes(b"damaged")
    said = rows(copy(there, f"sqlite:{tmp_path / 'back.db'}", container, back))
    assert said["files"] == said["contents"] == (len(bytes_of), len(bytes_of)), said
    assert {path.name: path.read_bytes() for path in back.glob("??/*")} == bytes_of


def test_bytes_that_are_not_there_are_named(make_server, model, tmp_path):
    here = make_server("AgentChatFiles on reserve=0\n")
    thread, bytes_of = fill(here, model)
    here.stop()
    files = here.root / "state/files"
    lost, damaged = sorted(bytes_of)[:2]
    (files / lost[-2:] / lost).unlink()
    (files / damaged[-2:] / damaged).write_bytes(b"other bytes")
    said = copy(f"sqlite:{here.root / 'state/agentchat.db'}", f"sqlite:{tmp_path / 'to.db'}", files, tmp_path / "files", code=1)
    assert f"{lost}: its bytes are not there in FROM" in said and f"{damaged}: its bytes are damaged in FROM" in said
    assert rows(said)["contents"] == (len(bytes_of), len(bytes_of) - 2) and kept_bytes(here)
    assert sorted(path.name for path in (tmp_path / "files").glob("??/*")) == sorted(set(bytes_of) - {lost, damaged})


def test_a_move_to_a_full_disk(make_server, model, tmp_path):
    """Nothing half is left, and with more room the same command moves the rest."""
    here = make_server("AgentChatFiles on reserve=0\n")
    thread, bytes_of = fill(here, model)
    here.stop()
    with small_disk(tmp_path / "small", "800k") as place:
        ends = (f"sqlite:{here.root / 'state/agentchat.db'}", f"sqlite:{tmp_path / 'to.db'}", here.root / "state/files", place)
        assert "no room" in copy(*ends, code=1)
        for path in place.rglob("*"):
            assert path.is_dir() or path.read_bytes() == bytes_of[path.name], path
        subprocess.run(["mount", "-o", "remount,size=8m", place], check=True)
        said = rows(copy(*ends))
        assert said["contents"] == (len(bytes_of), len(bytes_of)), said
        assert {path.name: path.read_bytes() for path in place.glob("??/*")} == bytes_of


@pytest.mark.parametrize("wrong, part", [("files", "is no place of files"), ("blob:https://a.blob.core.windows.net", "container")])
def test_wrong_places_of_files(make_server, tmp_path, wrong, part):
    here = make_server("")
    here.client.thread()                # the file is made before the answer, but not before the server can be stopped
    here.stop()
    said = copy(f"sqlite:{here.root / 'state/agentchat.db'}", f"sqlite:{tmp_path / 'to.db'}", wrong, tmp_path / "files", code=1)
    assert part in said
