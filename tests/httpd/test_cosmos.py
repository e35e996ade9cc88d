# SPDX-License-Identifier: Apache-2.0
"""The Cosmos DB store in a real httpd, on the scripted Cosmos DB: configuration, outages, several processes, moving."""
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import pytest

from cosmos_server import KEY, TOKEN, Cosmos
from cosmos_stores import ENV, store, wait_ready
from metrics import PLACE, read
from model_server import DONE, Gate, ModelServer, Reply, answer, calls, finish, token
from runs import wait_until
from server import BUILD, OPERATOR

TOOL = BUILD / "agentchat-store"


# ---- configuration ----
def test_configtest_reports_errors(make_server, tmp_path):
    empty, no_key = tmp_path / "empty", tmp_path / "no_key"
    empty.write_text("\n")
    no_key.write_text("this is no key of an account\n")
    for file in (empty, no_key):
        file.chmod(0o600)
    for directive, part in [("AgentChatStore cosmos:http://account.documents.azure.com credential=env:COSMOS_KEY", "not encrypted"),
                            ("AgentChatStore cosmos:https://a.documents.azure.com credential=env:NOWHERE", "NOWHERE"),
                            ("AgentChatStore cosmos:https://a.documents.azure.com databse=chat credential=env:COSMOS_KEY", "databse"),
                            ("AgentChatStore cosmos:https://a.documents.azure.com retention=tomorrow credential=env:COSMOS_KEY",
                             "retention=tomorrow"),
                            ("AgentChatStore cosmos:https://a.documents.azure.com credential=file:/nowhere/key", "/nowhere/key"),
                            (f"AgentChatStore cosmos:https://a.documents.azure.com credential=file:{tmp_path}", str(tmp_path)),
                            (f"AgentChatStore cosmos:https://a.documents.azure.com credential=file:{empty}", "empty"),
                            (f"AgentChatStore cosmos:https://a.documents.azure.com credential=file:{no_key}", "contains no account key")]:
        ok, text = make_server(directive + "\n", start=False, env=ENV).configtest()
        assert not ok and part in text and "AgentChatStore" in text, text


@pytest.mark.parametrize("case", ["wrong key", "clock", "missing database", "unknown host"])
def test_a_wrong_configuration_is_reported_and_corrected_without_restart(make_server, cosmos, case):
    if case == "clock":
        cosmos.behave(clock=3600)
    directive = {"wrong key": store(cosmos, key="WRONG_KEY"), "clock": store(cosmos), "missing database": store(cosmos, create="off"),
                 "unknown host": "AgentChatStore cosmos:https://nowhere.invalid credential=env:COSMOS_KEY\n"}[case]
    number, says = {"wrong key": ("AC0220", "give a key of this account"), "clock": ("AC0221", "clock is 1h behind; set it"),
                    "missing database": ("AC0222", "there is no database 'chat'"),
                    "unknown host": ("AC0223", "name was not found")}[case]
    server = make_server(directive + OPERATOR, env=ENV)
    server.expect_log(number, "AC06", "AC0604")
    body = wait_ready(server.client, 503, ready=server.ready)
    assert body["store"]["name"] == "cosmos" and body["store"]["state"] == "failed"
    assert server.client.post("/threads").json["code"] in ("store_error", "store_timeout")
    lines = server.wait_log(rf"{number}:[^\n]*")
    assert says in lines[0] and KEY not in server.log()
    if case == "clock":
        cosmos.behave(clock=0)
    elif case == "missing database":
        make_server(store(cosmos), env=ENV).client.thread()
    elif case == "wrong key":
        cosmos.key = ENV["WRONG_KEY"]
    if case != "unknown host":
        assert wait_ready(server.client, ready=server.ready)["store"]["state"] == "ok"
        server.client.thread()
    assert len(re.findall(number, server.log())) <= len(server.children()) + 1      # once for each process


def test_ready_shows_state_and_latency(make_server, cosmos):
    server = make_server(store(cosmos) + OPERATOR, env=ENV)
    shown = wait_ready(server.client, ready=server.ready)["store"]
    assert shown["name"] == "cosmos" and shown["state"] == "ok" and shown["latency_ms"] >= 0
    assert set(shown) == {"name", "state", "latency_ms", "requests", "retries", "throttled", "request_units", "cache_hits", "cache_misses",
                          "cache_stale", "search"}


def test_ready_reports_that_every_write_fails(make_server, cosmos):
    """A service that lets us read is not enough: a role without writes, a region that only reads, a full partition."""
    server = make_server(store(cosmos) + OPERATOR, env=ENV)
    wait_ready(server.client, ready=server.ready)
    thread = server.client.thread()
    server.expect_log("AC0220", "AC0651")
    cosmos.behave(faults=[{"match": f"{method} .*", "n": 1_000_000, "write": True, "status": 403, "substatus": 5302}
                          for method in ("POST", "PUT", "PATCH", "DELETE")])
    wait_until(lambda: server.ready().status == 503, "/ready does not report it")
    shown = server.ready().json["store"]
    assert shown["state"] == "failed" and "403" in shown["detail"]
    assert server.client.get(f"/threads/{thread}").status == 200
    assert server.client.post("/threads", {}).json["code"] == "store_error"
    cosmos.behave(clear=True)
    wait_until(lambda: server.ready().status == 200, "it stays so")


# ---- several processes ----
def test_a_caller_reads_its_own_writes_on_every_child(make_server, model, cosmos):
    """Any read may reach a replica that is behind; the children of a server share their session tokens."""
    server = make_server(store(cosmos), mpm="prefork", env=ENV)
    cosmos.behave(lag=True)
    client = server.client
    server.wait_children(4)
    for i in range(6):
        thread = client.thread(title=f"t{i}")
        assert client.get(f"/threads/{thread}").json["title"] == f"t{i}"
        client.patch(f"/threads/{thread}", {"title": "changed"})
        for _ in range(4):
            assert client.get(f"/threads/{thread}").json["title"] == "changed"
        model.play(answer("yes"))
        run = client.send(thread, "no?").json["run_id"]
        assert [m["seq"] for m in client.messages(thread)] == [1, 2]
        assert client.get(f"/runs/{run}").json["status"] == "completed"
        assert client.get("/threads").json["data"][0]["id"] == thread
    assert cosmos.count(r"GET .* 404") > 0, "no replica was ever behind"


def test_a_caller_reads_its_own_writes_after_a_reload(make_server, cosmos):
    server = make_server(store(cosmos), env=ENV)
    wait_ready(server.client)
    thread = server.client.thread(title="first")
    assert server.client.get(f"/threads/{thread}").json["title"] == "first"
    cosmos.behave(lag=100000)                   # the replica stays where it is, but for a session that it has to serve
    server.client.patch(f"/threads/{thread}", {"title": "changed"})
    old = set(server.children())
    server.graceful()
    wait_until(lambda: (new := set(server.children())) and not new & old, "the old children stay")
    wait_ready(server.client)
    assert server.client.get(f"/threads/{thread}").json["title"] == "changed"


def test_two_servers_and_a_dead_one(make_server, model, cosmos):
    gate = Gate()

    def slow(_request):
        yield token("a")
        yield gate
        yield finish()
        yield DONE
    one, other = make_server(store(cosmos), env=ENV), make_server(store(cosmos), env=ENV)
    thread = one.client.thread()
    model.play(slow)
    stream = one.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    run = stream.next().json["run_id"]
    busy = other.client.send(thread, "me too")
    assert busy.status == 409 and busy.json["code"] == "run_in_progress"
    one.kill()
    gate.open()
    assert other.client.send(thread, "me now").status == 200       # its process is known to have ended
    assert other.client.get(f"/runs/{run}").json["status"] == "interrupted"


# ---- moving ----
def copy(*arguments, ok=True):
    done = subprocess.run([str(TOOL), "copy", *arguments], capture_output=True, text=True, timeout=120,
                          env={**ENV, "PATH": "/usr/bin:/bin"})
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done


def table(done):
    return {line.split()[0]: [int(n) for n in line.split()[1:3]] for line in done.stdout.splitlines()
            if re.match(r"(threads|messages|runs|steps) ", line)}


def everything(client):
    shown = {"usage": client.get("/usage?by=day,agent,model,owner").json}
    for status in ("", "?status=deleted"):
        for thread in client.get("/threads" + status).json["data"]:
            shown[thread["id"]] = thread
            if not status:
                shown[thread["id"], "messages"] = client.messages(thread["id"])
                runs = client.get(f"/threads/{thread['id']}/runs").json["data"]
                shown[thread["id"], "runs"] = [(run, client.get(f"/runs/{run['id']}/steps").json["data"]) for run in runs]
    return shown


def test_moving_from_sqlite_to_cosmos_and_back(make_server, model, cosmos, tmp_path):
    first = make_server()
    for i in range(5):
        thread = first.client.thread(metadata={"n": str(i)})
        for k in range(12 if i == 0 else 2):
            model.play(calls(("calculate", {"expression": "1+1"})), answer(f"“{k}” — café"))
            first.client.send(thread, f"question {k} " + "x" * (200000 if i == 1 else 0))
    first.client.delete(f"/threads/{thread}")
    gone = first.client.thread()                                    # only its usage is left
    assert first.client.send(gone, "question").status == 200
    assert first.client.delete(f"/threads/{gone}?hard_delete=true").status == 200
    wanted = everything(first.client)
    first.stop()
    file = f"sqlite:{first.root}/state/agentchat.db"
    there = f"cosmos:{cosmos.url} database=moved create=on credential=env:COSMOS_KEY"

    # Cut at any place and taken up again.
    for n in (5, 12, 30):
        cosmos.behave(stop_after=n)
        copy(file, there, ok=False)
        cosmos.behave(stop_after=None)
    done = copy(file, there)
    assert table(done) == {"threads": [5, 5], "messages": [40, 40], "runs": [20, 20], "steps": [60, 60]}
    assert "All is there." in done.stdout and "5 of 5 threads" in done.stderr
    again = copy(file, there)
    assert "(5 were there)" in again.stderr and table(again) == table(done)
    assert table(copy("--quick", file, there))["messages"] == [40, 40]

    second = make_server(f"AgentChatStore {there}\n", env=ENV)
    assert everything(second.client) == wanted
    second.client.post(f"/threads/{thread}/restore")
    assert len(second.client.messages(thread)) == 4
    assert second.client.delete(f"/threads/{thread}").status == 200
    second.stop()

    back = f"sqlite:{tmp_path}/back.db"
    assert table(copy(there, back)) == table(done)
    third = f"sqlite:{tmp_path}/third.db"
    assert table(copy(back, third)) == table(done)
    other = Cosmos()
    assert table(copy(back, f"cosmos:{other.url} create=on credential=env:COSMOS_KEY")) == table(done)
    other.stop()


def branches_of(client, threads):
    return {thread: (client.get(f"/threads/{thread}").json, client.messages(thread), client.messages(thread, "?all=true&limit=100"))
            for thread in threads}


def test_moving_branches_to_cosmos_and_back(make_server, model, cosmos):
    first = make_server()
    threads = []
    for leaf in (0, 1, -1):
        thread = first.client.thread()
        for question in ("one", "two"):
            assert first.client.send(thread, question).status == 200
        one, answer_one, two, _ = first.client.messages(thread)
        assert first.client.send(thread, "two, put differently", parent_id=answer_one["id"]).status == 200
        assert first.client.send(thread, "another beginning", parent_id=None).status == 200
        again = first.client.post(f"/threads/{thread}/messages", {"regenerate": answer_one["id"], "stream": False})
        assert again.status == 200, again
        if leaf >= 0:
            assert first.client.patch(f"/threads/{thread}", {"leaf": (one, two)[leaf]["id"]}).status == 200
        threads.append(thread)
    wanted = branches_of(first.client, threads)
    assert [len(path) for _, path, _ in wanted.values()] == [2, 4, 2] and wanted[threads[0]][0]["leaf"]
    assert all(len(messages) == 9 for _, _, messages in wanted.values())
    first.stop()
    there = f"cosmos:{cosmos.url} database=moved create=on credential=env:COSMOS_KEY"
    for n in (4, 9):
        cosmos.behave(stop_after=n)
        copy(f"sqlite:{first.root}/state/agentchat.db", there, ok=False)
        cosmos.behave(stop_after=None)
    assert table(copy(f"sqlite:{first.root}/state/agentchat.db", there))["messages"] == [27, 27]

    second = make_server(f"AgentChatStore {there}\n", env=ENV)
    assert branches_of(second.client, threads) == wanted
    second.stop()
    back = f"{first.root}/state/back.db"
    assert table(copy(there, f"sqlite:{back}"))["messages"] == [27, 27]
    was = os.stat(f"{first.root}/state/agentchat.db")
    os.chown(back, was.st_uid, was.st_gid)
    third = make_server(f"AgentChatStore sqlite:{back}\n")
    assert branches_of(third.client, threads) == wanted
    assert third.client.send(threads[1], "three").status == 200     # and on from there
    assert [message["seq"] for message in third.client.messages(threads[1])] == [1, 2, 3, 4, 10, 11]


def test_errors_of_moving(tmp_path, cosmos, unused_port):
    for arguments, part in [(("sqlite:/nowhere/x.db", f"sqlite:{tmp_path}/a.db"), "no file '/nowhere/x.db'"),
                            ((f"redis:{tmp_path}", f"sqlite:{tmp_path}/a.db"), "no kind of store 'redis'"),
                            (("chat.db", f"sqlite:{tmp_path}/a.db"), "is no store"),
                            ((f"cosmos:{cosmos.url} database=none credential=env:COSMOS_KEY", f"sqlite:{tmp_path}/a.db"), "missing"),
                            ((f"cosmos:http://127.0.0.1:{unused_port} credential=env:COSMOS_KEY", f"sqlite:{tmp_path}/a.db"),
                             "cannot be reached")]:
        assert part in copy(*arguments, ok=False).stderr
    assert subprocess.run([str(TOOL)], capture_output=True, timeout=20).returncode == 2


# ---- tokens ----
def grant(text):
    return lambda _request: iter([Reply(200, {"token_type": "Bearer", "access_token": text, "expires_in": 3600})])


def test_a_token_instead_of_a_key(make_server, cosmos):
    """An identity may read and write documents, but makes no containers. A refused token is fetched again, once."""
    authority = ModelServer()
    authority.default = grant(TOKEN)
    # A tenant that does not know the account as a resource of its own.
    authority.play(lambda _request: iter([Reply(400, {"error": "invalid_resource",
                                                      "error_description": "AADSTS500011: The resource principal was not found."})]))
    identity = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "11111111-2222", "AZURE_CLIENT_SECRET": "s3cr3t",
                "AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{authority.port}"}
    # create=on does not help an identity, and the log line names what it could not make.
    eager = make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat credential=identity:environment create=on\n", env=identity)
    eager.expect_log("AC0220", "AC0240", "AC0604")
    wait_ready(eager.client, 503)
    assert "AC0220: store cosmos[127.0.0.1/chat]: there is no database 'chat', and it could not be made: Cosmos DB lets no identity" \
        in eager.log()
    eager.stop()
    authority.requests.clear()
    authority.play(lambda _request: iter([Reply(400, {"error": "invalid_resource",
                                                      "error_description": "AADSTS500011: The resource principal was not found."})]))
    make_server(store(cosmos), env=ENV).client.thread()             # a key makes the containers
    server = make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat credential=identity:environment\n", env=identity)
    server.expect_log("AC0240")                                     # the first of the two scopes
    thread = server.client.thread()
    assert server.client.get(f"/threads/{thread}").status == 200
    asked = [parse_qs(request.body.decode())["scope"] for request in authority.requests]
    assert asked == [["https://127.0.0.1/.default"], ["https://cosmos.azure.com/.default"]]

    for token in ("one", "another"):                                # also the second time within seconds
        authority.default = grant(token)
        cosmos.tokens = {token}
        assert server.client.get(f"/threads/{thread}").status == 200
    cosmos.tokens = set()
    response = server.client.get(f"/threads/{thread}")
    assert response.status == 502 and response.json["code"] == "store_error"
    server.expect_log("AC0220", "AC0651")
    assert "s3cr3t" not in server.log() and "another" not in server.log()
    authority.stop()


def test_fifty_at_once_ask_for_one_token(make_server, cosmos):
    """A token that is refused under load: each request is sent again, once, with the one token that was fetched for all of them."""
    authority = ModelServer()
    authority.default = grant(TOKEN)
    identity = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "11111111-2222", "AZURE_CLIENT_SECRET": "s3cr3t",
                "AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{authority.port}"}
    make_server(store(cosmos), env=ENV).client.thread()
    server = make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat credential=identity:environment\n", env=identity)
    thread = server.client.thread()
    before = len(authority.requests)
    authority.default = grant("another")        # first: the server's own requests may be refused from the next line on
    cosmos.tokens = {"another"}
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _i: server.client.get(f"/threads/{thread}").status, range(200)))
    assert answers == [200] * 200
    assert 1 <= len(authority.requests) - before <= len(server.children())
    authority.stop()


def test_request_units_and_throttles_are_counted(make_server, cosmos):
    server = make_server(store(cosmos) + OPERATOR + PLACE, env=ENV)
    wait_ready(server.client, ready=server.ready)
    before = read(server)
    cosmos.behave(faults=[{"match": "POST .*/threads/docs", "write": True, "status": 429, "substatus": 3200,
                           "headers": {"x-ms-retry-after-ms": "2"}}])
    server.client.thread()
    found = read(server)
    assert found.sum("agentchat_cosmos_throttled_total") - before.sum("agentchat_cosmos_throttled_total") == 1
    assert found.sum("agentchat_cosmos_requests_total", operation="thread_create", status="429") == 1
    assert found.sum("agentchat_cosmos_request_units_total", operation="thread_create") > 0
    assert found.sum("agentchat_store_operations_total", store="cosmos", operation="thread_create", outcome="ok") == 1
    cosmos.behave(faults=[{"match": ".*", "n": 1_000_000, "status": 403}])
    server.expect_log("AC02", "AC065")
    assert server.client.get("/threads").status == 502
    assert read(server).sum("agentchat_store_operations_total", store="cosmos", operation="thread_list") == 1
