# SPDX-License-Identifier: Apache-2.0
"""Agents that are made, replaced and deleted through the API: permissions, validation, visibility, in both stores."""
import base64
import subprocess
import threading
import time

import pytest

from client import Client
from cosmos_server import KEY
from model_server import Gate, answer, calls, token
from server import BUILD

MODULES = ("auth_basic", "authn_core", "authn_anon", "authz_user")
SIGNED = """
<Location "/signed">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthBasicProvider anon
    Anonymous *
    Anonymous_MustGiveEmail off
    Anonymous_VerifyEmail off
    Require valid-user
    AgentChatRole admin ann
</Location>
"""
AGENT = {"id": "poet", "name": "Poet", "description": "Rhymes.", "instructions": "Rhyme.", "model": "scripted",
         "tools": ["calculate"], "temperature": 0.7, "max_rounds": 3}


def sign(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:x".encode()).decode()}


ANN, BOB = sign("ann"), sign("bob")


@pytest.fixture(params=["sqlite", "cosmos"])
def make(request, make_server, cosmos):
    """Makes servers on one of the two stores."""
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""

    def start(directives="", **options):
        server = make_server(text + SIGNED + directives, modules=MODULES, env={"K": KEY}, **options)
        server.admin = Client(server.port, "/signed")
        return server
    start.on_cosmos = request.param == "cosmos"
    return start


def put(server, agent, **headers):
    return server.admin.request("PUT", f"/agents/{agent['id']}", agent, {**ANN, **{k.replace("_", "-"): v for k, v in headers.items()}})


def wait_until(true, what):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


# ---- from making to deleting ----
def test_an_agent_is_made_talked_to_replaced_and_deleted(make, model):
    server = make()
    made = server.admin.post("/agents", AGENT, headers=ANN)
    assert made.status == 201 and made.headers["location"] == "/signed/agents/poet", made
    assert made.json == {**AGENT, "status": "active", "source": "api", "etag": made.headers["etag"]}
    assert server.admin.get("/agents/poet", headers=ANN).json == made.json
    assert server.admin.get("/agents/poet", headers={**ANN, "If-None-Match": made.headers["etag"]}).status == 304
    listed = server.admin.get("/agents", headers=ANN).json["data"]
    assert [a["id"] for a in listed] == ["assistant", "poet"] and all("instructions" in a for a in listed)

    model.play(calls(("calculate", {"expression": "2+3"})), answer("five, alive"))
    said = server.admin.post("/agents/poet/chat", {"message": "2+3?", "stream": False}, headers=BOB)
    assert said.status == 200 and said.json["content"] == "five, alive"
    asked = model.requests[-1].json
    assert asked["messages"][0] == {"role": "system", "content": "Rhyme."} and asked["temperature"] == 0.7
    assert [t["function"]["name"] for t in asked["tools"]] == ["calculate"]
    thread = said.json["thread_id"]
    assert server.admin.get("/agents/poet/threads", headers=BOB).json["total"] == 1

    other = put(server, {**AGENT, "instructions": "Limerick.", "tools": []}, If_Match=made.headers["etag"])
    assert other.status == 200 and other.json["etag"] != made.json["etag"] and "location" not in other.headers
    model.play(answer("there once was"))
    assert server.admin.post(f"/threads/{thread}/messages", {"content": "more"}, headers=BOB).status == 200
    assert model.requests[-1].json["messages"][0]["content"] == "Limerick." and "tools" not in model.requests[-1].json

    assert put(server, {**other.json, "status": "inactive"}).status == 200         # as it was shown: id, source and etag too
    refused = server.admin.post("/agents/poet/chat", {"message": "x"}, headers=BOB)
    assert refused.status == 400 and "inactive" in refused.json["detail"]
    gone = server.admin.request("DELETE", "/agents/poet", headers=ANN)
    assert gone.status == 204 and gone.body == b""
    assert server.admin.get("/agents/poet", headers=ANN).status == 404
    assert server.admin.request("DELETE", "/agents/poet", headers=ANN).status == 404
    assert server.admin.get(f"/threads/{thread}", headers=BOB).status == 200        # stored messages stay


def test_only_admins_manage_and_see_instructions(make):
    server = make()
    assert server.admin.post("/agents", AGENT, headers=ANN).status == 201
    for client, headers in ((server.admin, BOB), (server.client, {})):
        for method, path in (("POST", "/agents"), ("PUT", "/agents/poet"), ("DELETE", "/agents/poet")):
            response = client.request(method, path, AGENT if method != "DELETE" else None, headers)
            assert (response.status, response.json["code"]) == (403, "forbidden"), (method, response)
        assert "instructions" not in client.get("/agents/poet", headers=headers).json
        assert all("instructions" not in a for a in client.get("/agents", headers=headers).json["data"])
    assert server.admin.post("/agents", AGENT).status == 401
    assert server.admin.get("/agents/assistant", headers=ANN).json["instructions"] == "You are a test."


def test_switched_off(make):
    server = make("AgentChatAgentsRefresh 0\n")
    for method, path in (("POST", "/agents"), ("PUT", "/agents/poet"), ("DELETE", "/agents/poet")):
        response = server.admin.request(method, path, AGENT if method != "DELETE" else None, ANN)
        assert response.status == 403 and "AgentChatAgentsRefresh" in response.json["detail"]
    assert [a["id"] for a in server.admin.get("/agents", headers=ANN).json["data"]] == ["assistant"]


# ---- validation ----
WRONG = [
    ({"model": None}, "/model", "null"), ({"model": "gpt"}, "/model", "scripted"), ({"model": 4}, "/model", "string"),
    ({"tools": ["calculate", "shell"]}, "/tools/1", "calculate, get_weather"), ({"tools": "calculate"}, "/tools", "array"),
    ({"tools": ["calculate", "calculate"]}, "/tools/1", "twice"), ({"tools": [1]}, "/tools/0", "name"),
    ({"temperature": 2.01}, "/temperature", "0 to 2"), ({"temperature": -1}, "/temperature", "0 to 2"),
    ({"temperature": "hot"}, "/temperature", "0 to 2"), ({"max_rounds": 0}, "/max_rounds", "1 to 64"),
    ({"max_rounds": 65}, "/max_rounds", "1 to 64"), ({"max_rounds": 1.5}, "/max_rounds", ""),
    ({"status": "asleep"}, "/status", "active or inactive"), ({"name": "n" * 201}, "/name", "200"),
    ({"description": "d" * 2001}, "/description", "2000"), ({"instructions": "i" * 102401}, "/instructions", "102400"),
    ({"instructions": ["a"]}, "/instructions", "string"), ({"instruction": "a"}, "/instruction", ""),
    ({"id": "a b"}, "/id", "letters"), ({"id": ".."}, "/id", "letters"), ({"id": "x" * 65}, "/id", "64"), ({"id": ""}, "/id", "1 to 64"),
]


def test_errors_name_their_pointer(make):
    server = make()
    for change, pointer, part in WRONG:
        response = server.admin.post("/agents", {**AGENT, **change}, headers=ANN)
        assert (response.status, response.json["code"]) == (400, "invalid_request"), (change, response)
        assert response.json["errors"][0]["pointer"] == pointer, (change, response)
        assert part in response.json["detail"], (change, response)
    differs = server.admin.request("PUT", "/agents/other", AGENT, ANN)
    assert differs.status == 400 and differs.json["errors"][0]["pointer"] == "/id"
    assert server.admin.get("/agents", headers=ANN).json["data"][1:] == []
    least = server.admin.post("/agents", {"model": "scripted"}, headers=ANN).json
    assert least["id"].startswith("agent_") and least == {
        "id": least["id"], "name": least["id"], "description": "", "instructions": "", "model": "scripted", "tools": [],
        "temperature": None, "max_rounds": 8, "status": "active", "source": "api", "etag": least["etag"]}


# ---- conditions ----
def test_conditions(make):
    server = make()
    assert put(server, AGENT, If_Match="*").status == 412
    assert put(server, AGENT, If_Match='"1"').status == 412
    first = put(server, AGENT, If_None_Match="*")
    assert first.status == 201 and first.headers["location"] == "/signed/agents/poet"
    assert put(server, AGENT, If_None_Match="*").status == 412
    assert put(server, AGENT, If_None_Match='"x"').status == 400
    again = server.admin.post("/agents", AGENT, headers=ANN)
    assert (again.status, again.json["code"]) == (409, "already_exists")
    second = put(server, AGENT, If_Match=f'"no", {first.headers["etag"]}')
    assert second.status == 200
    for tag in (first.headers["etag"], "W/" + second.headers["etag"], '""'):
        assert put(server, AGENT, If_Match=tag).status == 412, tag
        assert server.admin.request("DELETE", "/agents/poet", headers={**ANN, "If-Match": tag}).status == 412, tag
    assert put(server, AGENT, If_Match="*").status == 200
    assert server.admin.request("DELETE", "/agents/poet", headers={**ANN, "If-Match": "*"}).status == 204


def test_one_of_many_writers_wins(make):
    servers = [make(mpm="prefork")]
    servers[0].wait_children(4)
    if make.on_cosmos:
        servers.append(make())
    for round_ in range(4):
        headers = {"If_Match": put(servers[0], AGENT).headers["etag"]} if round_ % 2 else {"If_None_Match": "*"}
        if not round_ % 2:
            servers[0].admin.request("DELETE", "/agents/poet", headers=ANN)
        statuses, start = [], threading.Barrier(12)

        def write(i):
            start.wait()
            statuses.append((put(servers[i % len(servers)], {**AGENT, "name": f"w{i}"}, **headers).status, f"w{i}"))
        writers = [threading.Thread(target=write, args=(i,)) for i in range(12)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        won = [name for status, name in statuses if status in (200, 201)]
        assert len(won) == 1 and [s for s, _ in statuses].count(412) == 11, statuses
        wait_until(lambda: servers[0].admin.get("/agents/poet", headers=ANN).json.get("name") == won[0], "the winner is not what is kept")


# ---- visibility ----
def everywhere(server, agent, name, n=24):
    """n requests in a row, each over a connection of its own, get this (None: not found)."""
    def same():
        got = [server.admin.get(f"/agents/{agent}", headers=ANN) for _ in range(n)]
        return all((g.json["name"] if g.status == 200 else None) == name for g in got)
    wait_until(same, f"{agent} is not {name} everywhere")


def test_four_children_see_every_change(make):
    server = make(mpm="prefork")
    server.wait_children(4)
    assert put(server, AGENT).status == 201
    everywhere(server, "poet", "Poet")
    assert put(server, {**AGENT, "name": "Bard"}).status == 200
    everywhere(server, "poet", "Bard")
    assert server.admin.request("DELETE", "/agents/poet", headers=ANN).status == 204
    everywhere(server, "poet", None)


def test_another_machine_sees_every_change(make, cosmos):
    one = make()
    if not make.on_cosmos:
        pytest.skip("an embedded store has one machine")
    two = make()
    cosmos.behave(lag=True)
    assert put(one, AGENT).status == 201
    everywhere(two, "poet", "Poet", 1)
    assert put(two, {**AGENT, "name": "Bard"}).status == 200
    everywhere(one, "poet", "Bard", 1)
    assert one.admin.request("DELETE", "/agents/poet", headers=ANN).status == 204
    everywhere(two, "poet", None, 1)


def lists_of(cosmos):
    """Queries, but for those of the partition of suspended runs, which each child makes from time to time."""
    with cosmos.lock:
        return sum(1 for method, path, status, headers in cosmos.requests
                   if (method, path, status) == ("POST", "/dbs/chat/colls/threads/docs", 200)
                   and " waiting" not in str(headers.get("x-ms-documentdb-partitionkey")))


def test_a_look_for_changes_is_one_read_for_all_children(make, cosmos):
    server = make("AgentChatAgentsRefresh 100ms\n", mpm="prefork")
    if not make.on_cosmos:
        pytest.skip("this is about what Cosmos DB costs")
    server.wait_children(4)
    put(server, AGENT)
    everywhere(server, "poet", "Poet")
    before, began = cosmos.count(r"GET .*stamp"), time.monotonic()
    wait_until(lambda: cosmos.count(r"GET .*stamp") >= before + 3, "the children do not query")
    n, took = cosmos.count(r"GET .*stamp") - before, time.monotonic() - began
    assert n <= took / 0.8 + 2, f"{n} looks in {took:.1f} s by four children, each of which wants one every 0.1 s"
    queries = lists_of(cosmos)
    wait_until(lambda: cosmos.count(r"GET .*stamp") >= before + 5, "the children do not query")
    assert lists_of(cosmos) == queries, "lists although nothing has changed"


def test_agents_survive_a_restart_and_the_first_request_knows_them(make, model):
    server = make()
    etag = put(server, AGENT).headers["etag"]
    model.play(answer("a"))
    thread = server.admin.post("/agents/poet/chat", {"message": "x", "stream": False}, headers=BOB).json["thread_id"]
    for _ in range(3):
        server.stop()
        server.start()
        model.play(answer("b"))
        assert server.admin.post(f"/threads/{thread}/messages", {"content": "y"}, headers=BOB).status == 200
        assert model.requests[-1].json["messages"][0]["content"] == "Rhyme."
    assert server.admin.get("/agents/poet", headers=ANN).headers["etag"] == etag


def test_a_store_that_is_out_is_no_missing_agent(make, cosmos):
    server = make()
    if not make.on_cosmos:
        pytest.skip("an embedded store is not out")
    put(server, AGENT)
    server.stop()
    cosmos.behave(chaos={"cut": 1.0})
    server.expect_log("AC02", "AC06")
    server.start()
    assert server.admin.get("/agents/poet", headers=ANN).status in (502, 504)
    assert server.admin.get("/agents/assistant", headers=ANN).status == 200
    cosmos.behave(clear=True)
    wait_until(lambda: server.admin.get("/agents/poet", headers=ANN).status == 200, "it does not come back")


# ---- beside the configuration ----
TWO = """
<AgentChatAgent poet bard>
    AgentChatModel scripted
    AgentChatName "As configured"
</AgentChatAgent>
"""
OTHER_MODEL = """
<AgentChatModel other>
    AgentChatProvider demo
</AgentChatModel>
"""


def test_the_configuration_wins(make):
    server = make()
    assert put(server, AGENT).status == 201
    text = server.conf.read_text()
    server.stop()
    server.conf.write_text(text + TWO)
    server.start()
    for name in ("poet", "bard"):
        assert server.admin.get(f"/agents/{name}", headers=ANN).json["name"] == "As configured"
        for method in ("PUT", "DELETE"):
            response = server.admin.request(method, f"/agents/{name}", {**AGENT, "id": name} if method == "PUT" else None, ANN)
            assert (response.status, response.json["code"]) == (409, "read_only"), response
    assert server.admin.post("/agents", AGENT, headers=ANN).json["code"] == "read_only"
    assert [a["id"] for a in server.admin.get("/agents", headers=ANN).json["data"]] == ["assistant", "poet"]
    server.stop()
    server.conf.write_text(text)
    server.start()
    assert server.admin.get("/agents/poet", headers=ANN).json["source"] == "api"


def test_an_agent_whose_model_is_gone_is_inactive(make, model):
    server = make(OTHER_MODEL)
    assert put(server, {**AGENT, "model": "other"}).status == 201
    model.play()
    thread = server.admin.post("/agents/poet/chat", {"message": "hello", "stream": False}, headers=BOB).json["thread_id"]
    text = server.conf.read_text()
    server.stop()
    server.conf.write_text(text.replace(OTHER_MODEL, ""))
    server.start()
    shown = server.admin.get("/agents/poet", headers=ANN).json
    assert (shown["status"], shown["model"]) == ("inactive", "other")
    for path, body in (("/agents/poet/chat", {"message": "x"}), (f"/threads/{thread}/messages", {"content": "x"})):
        refused = server.admin.post(path, body, headers=BOB)
        assert refused.status == 400 and "its model 'other' is not configured any more" in refused.json["detail"], refused
    assert put(server, {**shown, "model": "scripted", "status": "active"}).json["status"] == "active"
    model.play(answer("again"))
    assert server.admin.post(f"/threads/{thread}/messages", {"content": "x"}, headers=BOB).json["content"] == "again"


def test_a_run_keeps_the_agent_it_began_with(make, model):
    server = make("AgentChatAgentsRefresh 100ms\n")
    put(server, AGENT)
    gate = Gate()

    def slow(_request):
        yield token("wait")
        yield gate
        yield from calls(("calculate", {"expression": "1+1"}))(_request)
    model.play(slow, answer("two"))
    stream = server.admin.stream("/agents/poet/chat", {"message": "x"}, headers=BOB)
    stream.until("token")
    assert put(server, {**AGENT, "instructions": "Other.", "tools": []}).status == 200
    assert server.admin.request("DELETE", "/agents/poet", headers=ANN).status == 204
    everywhere(server, "poet", None, 3)
    gate.open()
    assert stream.until("done")[-1].json["status"] == "completed"
    asked = model.requests[-1].json
    assert asked["messages"][0]["content"] == "Rhyme." and asked["tools"]
    assert [m for m in asked["messages"] if m["role"] == "tool"]


# ---- moving ----
def test_agents_are_copied_with_the_conversations(make, cosmos):
    server = make()
    in_cosmos = make.on_cosmos
    put(server, AGENT)
    etag = put(server, {**AGENT, "id": "second", "instructions": "Zwölf €."}).headers["etag"]
    server.stop()
    here = f"cosmos:{cosmos.url} database=chat credential=env:K" if in_cosmos else f"sqlite:{server.root}/state/agentchat.db"
    there = f"sqlite:{server.root}/state/other.db" if in_cosmos else f"cosmos:{cosmos.url} database=moved create=on credential=env:K"
    for _ in range(2):
        done = subprocess.run([BUILD / "agentchat-store", "copy", here, there], env={"K": KEY, **server.env}, capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0 and "All is there." in done.stdout, done.stdout + done.stderr
        assert done.stdout.split("agents")[1].split()[:2] == ["2", "2"], done.stdout
    text = server.conf.read_text()
    if in_cosmos:
        text = text.replace(f"AgentChatStore {here} create=on", f"AgentChatStore {there}") if here in text else "\n".join(
            f"AgentChatStore {there}" if line.startswith("AgentChatStore") else line for line in text.splitlines())
        subprocess.run(["chmod", "-R", "a+rwX", server.root / "state"], check=True)
    else:
        text += f"\nAgentChatStore {there}\n"
    server.conf.write_text(text)
    server.start()
    moved = server.admin.get("/agents/second", headers=ANN).json
    assert (moved["etag"], moved["instructions"]) == (etag, "Zwölf €.")
