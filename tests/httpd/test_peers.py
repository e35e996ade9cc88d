# SPDX-License-Identifier: Apache-2.0
"""The Cosmos DB store together with programs of others: an emulator from npm, the vendor's SDK and signing package."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import peers
from cosmos_server import KEY
from cut_proxy import HoldingProxy
from model_server import answer, calls
from runs import wait_until
from second_run import skipped_as_long
from server import TOP, user

STORE = 'AgentChatStore cosmos:{url} database={database} create=on credential=env:COSMOS_KEY\n'
ENV = {"COSMOS_KEY": KEY}
COUNTED = ("threads", "messages", "runs", "steps")


@pytest.fixture(scope="session")
def emulator():
    emulator = peers.Emulator()
    yield emulator
    emulator.stop()


def test_signatures_agree_with_the_vendors_package():
    """tests/unit/test_cosmos_wire.c checks ours against the same file."""
    assert peers.node("signatures.mjs") == (TOP / "tests/peers/signatures.json").read_text()


# Every suite that reaches the store, and the tests of it that are done in another way: the emulator lets nothing expire, and has no
# file to write into (the same in test_cosmos_api.py).
SUITES = {
    "store_contract": (), "resume": (), "cancel": ("test_while_the_answer_waits_for_the_store[HeldSqlite]",), "recovery": (),
    "conversation": (), "branches": (), "threads": (), "steps": (), "idempotency": ("test_after_a_day",)}
# Suites that are about requests, streams and models, and make the same calls of the store as those above.
LONG_SUITES = {"delivery": (), "stream": (), "demo_http": (), "model_quirks": (), "mission": (), "limits": (), "bad_input": ()}


def run_suite(emulator, suite):
    """What is tested with the embedded store, once more."""
    environment = {**os.environ, **ENV, "AGENTCHAT_TEST_COSMOS": emulator.url,
                   "AGENTCHAT_TEST_STORE": f"cosmos:{emulator.url} database={{name}} create=on credential=env:COSMOS_KEY"}
    if suite == "store_contract":
        build = str(peers.BUILD).removeprefix(f"{TOP}/")        # the Makefile names a directory of the tree without the tree
        subprocess.run(["make", "-s", f"BUILD={build}", f"{build}/unit/test_cosmos_store"], cwd=TOP, check=True)
        command = [str(peers.BUILD / "unit/test_cosmos_store")]
    else:
        file = f"tests/httpd/test_{suite}.py"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file,
                   *(f"--deselect={file}::{test}" for test in {**SUITES, **LONG_SUITES}[suite])]
    return subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def suites(emulator, request):
    """Those that were asked for, begun two at a time: they mostly wait."""
    wanted = [item.callspec.params["suite"] for item in request.session.items if item.fspath == request.fspath
              and "suite" in getattr(getattr(item, "callspec", None), "params", {}) and not skipped_as_long(item)]
    with ThreadPoolExecutor(2) as pool:
        yield {suite: pool.submit(run_suite, emulator, suite) for suite in wanted}


@pytest.mark.parametrize("suite", [*SUITES, *(pytest.param(suite, marks=pytest.mark.long) for suite in LONG_SUITES)])
def test_everything_holds_on_the_emulator(suites, suite):
    done = suites[suite].result()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_vendors_sdk_reads_documents_of_the_module(make_server, model, emulator):
    server = make_server(STORE.format(url=emulator.url, database="sdk-reads"), env=ENV)
    model.play(calls(("calculate", {"expression": "85 * 0.15"})), answer("It is 12.75 €."))
    thread = server.client.thread(metadata={"from": "café"})
    message = server.client.send(thread, "What is 15 % of 85 €?").json
    seen = json.loads(peers.node("sdk.mjs", "read", emulator.url, "sdk-reads",
                                 json.dumps({"thread": thread, "owner": "anonymous"})))
    assert [m["role"] for m in seen["list"]] == ["user", "assistant"]
    assert seen["list"][0]["content"] == "What is 15 % of 85 €?" and seen["list"][1]["content"] == "It is 12.75 €."
    stored = seen["list"][1]
    assert (stored["id"], stored["thread_id"], stored["seq"], stored["timestamp"]) == \
        (message["id"], thread, 2, message["timestamp"])
    assert stored["metadata"]["model"] == "scripted-1" and stored["metadata"]["tool_calls"] == message["tool_calls"]
    assert seen["head"]["message_count"] == 2 and seen["head"]["metadata"] == {"from": "café"}
    assert seen["run"]["status"] == "completed" and seen["entries"][0]["id"] == thread


def test_the_module_reads_documents_of_the_vendors_sdk(make_server, model, emulator):
    server = make_server(STORE.format(url=emulator.url, database="sdk-writes"), env=ENV)
    server.client.thread()                  # the containers are there now
    thread, at = "thread_01jd3kq4000000000000000000", "2026-01-02T03:04:05.678Z"
    head = {"id": thread, "thread_id": thread, "type": "thread", "owner": "anonymous", "title": "Brought along", "agent_id": None,
            "status": "active", "metadata": {}, "message_count": 2, "created_at": at, "updated_at": at, "version": 1}
    messages = [{"id": f"msg_{i}", "thread_id": thread, "type": "message", "seq": i, "role": role, "content": content,
                 "timestamp": at, "metadata": {"model": "other", "tool_calls": []}}
                for i, role, content in ((1, "user", "Remember 42."), (2, "assistant", "I shall — “42”."))]
    entry = {"id": thread, "owner": "anonymous", "type": "thread", "thread_id": thread, "key": thread, "status": "active",
             "agent_id": None}
    peers.node("sdk.mjs", "write", emulator.url, "sdk-writes", json.dumps({"head": head, "messages": messages, "entry": entry}))
    assert thread in [t["id"] for t in server.client.get("/threads").json["data"]]
    shown = server.client.messages(thread)
    assert [m["content"] for m in shown] == ["Remember 42.", "I shall — “42”."]
    assert shown[1]["metadata"] == {"model": "other"} and shown[1]["tool_calls"] == []
    server.client.send(thread, "Which number?")
    assert [m["content"] for m in model.requests[-1].messages[-3:]] == ["Remember 42.", "I shall — “42”.", "Which number?"]
    assert [m["seq"] for m in server.client.messages(thread)] == [1, 2, 3, 4]


def test_two_servers_share_one_store(make_server, model, emulator):
    directive = STORE.format(url=emulator.url, database="shared")
    one, other = make_server(directive, env=ENV), make_server(directive, env=ENV)
    thread = one.client.thread()
    for i in range(3):
        for server in (one, other):
            model.play(answer(f"answer {i}"))
            assert server.client.send(thread, f"question {i}").status == 200
    assert [m["seq"] for m in other.client.messages(thread)] == list(range(1, 13))
    assert other.client.get("/threads").json["data"][0]["message_count"] == 12


def has(count, n):
    """Whether there are this many; there may be nothing at all yet."""
    try:
        return count() >= n
    except (OSError, sqlite3.Error, KeyError):
        return False


def test_conversations_move_to_the_emulator_and_back_although_the_copy_is_killed(make_server, model, emulator, tmp_path):
    first = make_server()
    kept, deleted = [first.client.thread(title=f"t{i}") for i in range(30)], first.client.thread(title="gone")
    for thread in [*kept, deleted]:
        model.play(calls(("calculate", {"expression": "1+1"})), answer("Two."))
        sent = {"content": f"What is 1+1 in {thread}?"}
        assert first.client.post(f"/threads/{thread}/messages", sent, headers={"Idempotency-Key": thread}).status == 200
    first.client.delete(f"/threads/{deleted}")
    first.stop()
    here, back = f"sqlite:{first.root}/state/agentchat.db", f"sqlite:{tmp_path}/back.db"
    there = f"cosmos:{emulator.url} database=moved create=on credential=env:COSMOS_KEY"
    port = urllib.parse.urlsplit(emulator.url).port

    def copy(source, target):
        return subprocess.Popen([str(peers.BUILD / "agentchat-store"), "copy", source, target], env={**os.environ, **ENV},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def threads_there():
        with urllib.request.urlopen(f"{emulator.url}/dbs/moved/colls/threads/docs") as answer:
            return sum(d["type"] == "thread" for d in json.load(answer)["Documents"])

    def threads_back():
        with closing(sqlite3.connect(f"file:{tmp_path}/back.db?mode=ro", uri=True)) as database:
            return database.execute("SELECT count(*) FROM threads").fetchone()[0]
    for source, target, count in ((here, there, threads_there), (there, back, threads_back)):
        for n in (3, 12):
            # It cannot have copied all when it is killed: from here on it waits for the emulator.
            proxy = HoldingProxy(port, lambda: has(count, n))
            held = [place.replace(f":{port}", f":{proxy.port}") for place in (source, target)]
            killed = copy(*held)
            wait_until(lambda: has(count, n), f"{n} threads do not come")
            killed.kill()
            killed.communicate()
            proxy.stop()
            assert killed.returncode == -signal.SIGKILL and count() < 31
        out, err = copy(source, target).communicate(timeout=60)
        counted = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line.split()[0] in COUNTED}
        assert counted == {"threads": ["31", "31"], "messages": ["62", "62"], "runs": ["31", "31"], "steps": ["93", "93"]}, out + err
        assert "All is there." in out
    second = make_server(start=False)
    file = second.root / "state/agentchat.db"
    shutil.copy(tmp_path / "back.db", file)
    if os.geteuid() == 0:
        os.chown(file, user().pw_uid, user().pw_gid)
    second.start()
    assert {t["id"] for t in second.client.get("/threads?limit=100").json["data"]} == set(kept)
    assert [t["id"] for t in second.client.get("/threads?status=deleted").json["data"]] == [deleted]
    assert second.client.post(f"/threads/{deleted}/restore").status == 200
    for thread in (kept[7], deleted):
        assert [m["content"] for m in second.client.messages(thread)] == [f"What is 1+1 in {thread}?", "Two."]
        run, = second.client.get(f"/threads/{thread}/runs").json["data"]
        steps = second.client.get(f"/runs/{run['id']}/steps").json["data"]
        assert [s["type"] for s in steps] == ["model_call", "tool_call", "model_call"]
