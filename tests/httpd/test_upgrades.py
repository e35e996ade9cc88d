# SPDX-License-Identifier: Apache-2.0
"""An upgrade by a new file and a graceful reload, from the release before, with answers under way, and the way back, as docs/upgrades.md
describes them: on both stores. The release before is built from the newest tag; before the first one, from two commits, one of them with
an older format of the embedded store."""
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from model_server import Gate, Reply, answer
from old_stores import ANN, ENV, MODULES, begin_approval, differences, directives, fill, get, has_wait, send, tell
from runs import holding, wait_until
from server import BUILD, MODULE, TOP, user

COMMITS = {"07c3ddb": "an older format", "e498831": "the same format"}
OLD = "0.0.9"                   # the version of such a commit


def git(*arguments):
    return subprocess.run(["git", "-C", str(TOP), *arguments], capture_output=True, text=True)


def releases_before():
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^").stdout.strip()
    return [tag] if tag else [commit for commit in COMMITS if git("cat-file", "-e", commit).returncode == 0]


pytestmark = [pytest.mark.long, pytest.mark.skipif(not releases_before(), reason="no older version: a clone with its history has one")]


@pytest.fixture(params=releases_before(), ids=lambda name: COMMITS.get(name, name).replace(" ", "-"))
def older(request):
    """The module of an older version."""
    folder = BUILD / "older-version" / request.param
    module = folder / "build/mod_agentchat.so"
    if not module.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        archive = subprocess.run(["git", "-C", str(TOP), "archive", request.param], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
        if request.param in COMMITS:
            header = folder / "src/agentchat.h"
            header.write_text(header.read_text().replace('#define AC_VERSION "0.1.0"', f'#define AC_VERSION "{OLD}"'))
        subprocess.run(["make", "-s", "-j2", "BUILD=build", "module"], cwd=folder, check=True, timeout=1800)
    return module


@pytest.fixture(params=["sqlite", "cosmos"])
def server(request, older, make_server, model, cosmos):
    """A server of the older version."""
    on_cosmos = request.param == "cosmos"
    server = make_server(directives(model, cosmos if on_cosmos else None), standard=False, modules=MODULES, env=ENV, module=older)
    server.cosmos = cosmos if on_cosmos else None
    return server


def version(server):
    try:
        return server.client.get("/health", headers=ANN).json["version"]
    except OSError:
        return None


def change_version(server, module):
    """Until the children of the other version answer. Those of the one before, which may still have answers under way."""
    old, was = server.children(), version(server)
    server.replace_module(module)
    assert server.configtest()[0]
    server.graceful()
    wait_until(lambda: version(server) not in (None, was), "the other version does not answer")
    return old


def begin_answer(server, model):
    """An answer that waits in its middle: the stream, its event `run`, and the gate."""
    gate = Gate()
    model.play(holding(gate))
    stream = server.client.stream("/agents/assistant/chat", {"message": "A long one."}, headers=ANN)
    first = stream.next().json
    stream.until("token")
    gate.wait_reached()
    return stream, first, gate


def answers_are_whole(server, under_way):
    """After a change of version: each answer arrives whole at its first client and at one that follows it at a child of the other version,
    and is stored."""
    followers = [events_of_signed(server, first["run_id"]) for _, first, _ in under_way]
    for (stream, first, gate), follower in zip(under_way, followers):
        gate.open()
        rest = [event.json for event in stream.rest() if event.type]
        assert [event["content"] for event in rest if event["type"] == "token"] == ["two"] and rest[-1]["type"] == "done", rest
        followed = [event.json for event in follower.rest() if event.type]
        assert "".join(event["content"] for event in followed if event["type"] == "token") == "onetwo" and followed[-1]["type"] == "done"
        said = get(server, f"/threads/{first['thread_id']}/messages")["data"]
        assert [message["content"] for message in said] == ["A long one.", "onetwo"]
        assert get(server, f"/runs/{first['run_id']}")["status"] == "completed"


def events_of_signed(server, run):
    return server.client.stream(f"/runs/{run}/events", method="GET", headers=ANN)


def approve(server, model, run):
    model.play(Reply(200, {"sent": True}), answer("Written."))
    done = server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}, headers=ANN)
    assert done.status == 202, done
    wait_until(lambda: get(server, f"/runs/{run}")["status"] == "completed", "the run does not end")


def schema(path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def back_up(server):
    """As docs/stores.md has it."""
    with closing(sqlite3.connect(server.root / "state/agentchat.db")) as db:
        db.execute("VACUUM INTO ?", (str(server.root / "backup.db"),))


def restore(server):
    server.stop()
    store = server.root / "state/agentchat.db"
    for ending in ("-wal", "-shm"):
        store.with_name(store.name + ending).unlink(missing_ok=True)
    shutil.copy(server.root / "backup.db", store)
    shutil.chown(store, user().pw_name, user().pw_name)
    server.start()


def test_an_upgrade_and_the_way_back(server, older, model):
    named = fill(server, model, server.cosmos)
    answers = tell(server, named)
    store = server.root / "state/agentchat.db"
    if not server.cosmos:
        back_up(server)
    under_way = [begin_answer(server, model) for _ in range(4)]

    old = change_version(server, MODULE)
    answers_are_whole(server, under_way)
    server.wait_gone(old)
    for path, before in answers.items():
        now = get(server, path)
        if path.startswith("/threads?"):
            now["data"] = [row for row in now["data"] if row["id"] not in [first["thread_id"] for _, first, _ in under_way]]
        assert not differences(before, now), path
    approve(server, model, named["waiting_run"])
    model.play(answer("Newer."))
    send(server, named["plain"], "And now?")
    waiting = begin_approval(server, model, lambda: has_wait(server, server.cosmos))
    named |= {"waiting": waiting["thread_id"], "waiting_run": waiting["run_id"]}

    changed = not server.cosmos and schema(store) != schema(server.root / "backup.db")
    under_way = [begin_answer(server, model) for _ in range(4)]
    if changed:
        server.expect_log("AC0203", "AC0606", "AC0651")
    was = tell(server, named)
    change_version(server, older)
    if changed:
        for stream, _, gate in under_way:
            gate.open()
            assert stream.rest()[-1].type == "done"
        refused = server.client.get("/threads", headers=ANN)
        assert refused.status == 502 and "newer version" in refused.json["detail"]
        server.wait_log("AC0203: .* newer module")
        restore(server)
        assert not [path for path, before in answers.items() if differences(before, get(server, path))]
        return
    answers_are_whole(server, under_way)
    for path, now in tell(server, named).items():
        before = was[path]
        if path.startswith("/threads?"):
            continue                # the heads of the answers that were under way
        assert not differences(now, before), path
    approve(server, model, named["waiting_run"])
    model.play(answer("Older."))
    send(server, named["plain"], "And then?")
    assert [message["content"] for message in get(server, f"/threads/{named['plain']}/messages")["data"]][-4:] == [
        "And now?", "Newer.", "And then?", "Older."]
