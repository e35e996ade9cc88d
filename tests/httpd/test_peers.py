# SPDX-License-Identifier: Apache-2.0
"""The Cosmos DB store together with programs of others: an emulator from npm, the vendor's SDK and signing package."""
import json
import os
import subprocess
import sys

import pytest

import peers
from cosmos_server import KEY
from model_server import answer, calls
from server import TOP

STORE = 'AgentChatStore cosmos:{url} database={database} create=on credential=env:COSMOS_KEY\n'
ENV = {"COSMOS_KEY": KEY}


@pytest.fixture(scope="session")
def emulator():
    emulator = peers.Emulator()
    yield emulator
    emulator.stop()


def test_signatures_agree_with_the_vendors_package():
    """tests/unit/test_cosmos.c checks ours against the same file."""
    assert peers.node("signatures.mjs") == (TOP / "tests/peers/signatures.json").read_text()


@pytest.mark.parametrize("suite", ["store_contract", "threads", "conversation", "stream", "bad_input", "model_quirks", "delivery",
                                   "mission"])
def test_everything_holds_on_the_emulator(emulator, suite):
    """What is tested with the embedded store, once more."""
    environment = {**os.environ, **ENV, "AGENTCHAT_TEST_COSMOS": emulator.url,
                   "AGENTCHAT_TEST_STORE": f"cosmos:{emulator.url} database=server-{{port}} create=on credential=env:COSMOS_KEY"}
    if suite == "store_contract":
        subprocess.run(["make", "-s", f"BUILD={peers.BUILD}", f"{peers.BUILD}/unit/test_store_cosmos"], cwd=TOP, check=True)
        command = [str(peers.BUILD / "unit/test_store_cosmos")]
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/httpd/test_{suite}.py"]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_the_vendors_sdk_reads_what_the_module_wrote(make_server, model, emulator):
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


def test_the_module_reads_what_the_vendors_sdk_wrote(make_server, model, emulator):
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
