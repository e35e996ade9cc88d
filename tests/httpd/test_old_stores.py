# SPDX-License-Identifier: Apache-2.0
"""Stores that older versions of the module wrote open and read, and what had begun in them is finished: the files of old_stores.py, one
folder for each format of the embedded store that a version has had."""
import json
import os
import sqlite3
from contextlib import closing

import pytest

import old_stores
from model_server import Reply, answer
from old_stores import ANN, ENV, FOLDER, MODULES, differences, directives, get, send
from runs import wait_until
from server import user

NAMES = sorted((path.name for path in FOLDER.iterdir()), key=lambda name: int(name.split("-")[1]))


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture(params=["sqlite", "cosmos"])
def opened(request, name, make_server, model, cosmos):
    """A server of this version on the older store; the names of what is in it; the older one's answers."""
    folder, on_cosmos = FOLDER / name / request.param, request.param == "cosmos"
    server = make_server(directives(model, cosmos if on_cosmos else None), standard=False, start=False, modules=MODULES, env=ENV)
    if on_cosmos:
        old_stores.load_cosmos(folder, cosmos)
        if name < "schema-5":
            server.expect_log("AC0232")         # the container lacks the index of lists by the last change
    else:
        path = server.root / "state/agentchat.db"
        old_stores.load_sqlite(folder, path)
        if os.geteuid() == 0:
            os.chown(path, user().pw_uid, user().pw_gid)
    server.start()
    kept = json.loads((folder / "answers.json").read_text())
    return server, kept["named"], kept["answers"]


def ended(server, run):
    return wait_until(lambda: (now := get(server, f"/runs/{run}"))["status"] != "in_progress" and now, "the run does not end")["status"]


def test_each_format_has_its_files(server):
    """For a new one: tests/httpd/old_stores.py, with the version that is about to be released."""
    server.client.thread()
    with closing(sqlite3.connect(server.root / "state/agentchat.db")) as db:
        current = db.execute("PRAGMA user_version").fetchone()[0]
    assert NAMES[-1] == f"schema-{current}"


def test_the_answers_of_an_older_version_are_still_so(opened):
    server, named, answers = opened
    assert len(answers) > 10
    for path, old in answers.items():
        new = get(server, path)
        if path.startswith("/threads?"):
            new["data"] = [row for row in new["data"] if row["id"] != named["killed"]]
        assert not differences(old, new), path
    assert named["hidden"] not in [row["id"] for row in get(server, "/threads?limit=100&order=updated")["data"]]


def test_a_conversation_of_an_older_version_continues(opened, model):
    server, named, answers = opened
    plain = f"/threads/{named['plain']}"
    before = answers[f"{plain}/messages?limit=100"]["data"]
    model.play(answer("Still here."))
    assert send(server, named["plain"], "And the apples?")["content"] == "Still here."
    said = [message["content"] for message in model.requests[-1].messages if message["role"] in ("user", "assistant")]
    assert said[-3:] == [before[-2]["content"], before[-1]["content"], "And the apples?"]
    after = get(server, f"{plain}/messages?limit=100")["data"]
    assert not differences(before, after[:-2]) and [m["content"] for m in after[-2:]] == ["And the apples?", "Still here."]
    if "AC0232" not in server.log():
        assert get(server, "/threads?order=updated")["data"][0]["id"] == named["plain"]
    assert server.client.post(f"/threads/{named['hidden']}/restore", headers=ANN).status == 200
    assert get(server, f"/threads/{named['hidden']}/messages")["data"][1]["content"] == "Gone answer."
    agent = {"id": "poet", "name": "Poet", "model": "scripted", "instructions": "Rhyme more."}
    assert server.client.request("PUT", "/agents/poet", agent, {**ANN, "If-Match": '"another"'}).status == 412
    assert server.client.request("PUT", "/agents/poet", agent, {**ANN, "If-Match": answers["/agents/poet"]["etag"]}).status == 200
    # A container without a full-text index is searched for titles only.
    for word in ["Tips", *(["tangerines"] if (server.root / "state/agentchat.db").exists() else [])]:
        found = wait_until(lambda: get(server, f"/threads?q={word}")["data"], f"{word}, of an older version, is not found")
        assert [thread["id"] for thread in found] == [named["plain"]]


def test_what_had_begun_in_an_older_version_is_finished(opened, model):
    server, named, _ = opened
    assert ended(server, named["killed_run"]) == "interrupted"
    model.play(answer("Once more."))
    assert send(server, named["killed"], "Again.")["content"] == "Once more."
    model.play(Reply(200, {"sent": True}), answer("Written."))
    done = server.client.post(f"/runs/{named['waiting_run']}/approvals", {"call_id": "call_1", "approve": True}, headers=ANN)
    assert done.status == 202, done
    assert ended(server, named["waiting_run"]) == "completed"
    assert get(server, f"/threads/{named['waiting']}/messages")["data"][-1]["content"].endswith("Written.")
