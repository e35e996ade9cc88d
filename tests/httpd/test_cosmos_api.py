# SPDX-License-Identifier: Apache-2.0
"""What the API promises with conversations in Cosmos DB, on the scripted one: in chaos, from several servers, at what price."""
import json
import re
import threading
import time

import pytest

from client import Stream
from cosmos_stores import ENV, store, wait_ready
from model_server import Gate, answer, head, token
from runs import wait_until
from server import OPERATOR

N_THREADS, N_TURNS = 50, 20
# A request for an answer in one document holds a worker.
TUNING = "StartServers 1\nServerLimit 1\nThreadsPerChild 64\nMaxRequestWorkers 64\nMinSpareThreads 1\nMaxSpareThreads 64\n" \
         "AsyncRequestWorkerFactor 4\n"


# ---- chaos ----
def test_a_thousand_turns_in_chaos(make_server, model, cosmos):
    """30 % of all calls are answered 429 or 503, 5 % of the connections are cut, before or after the call was carried out."""
    server = make_server(store(cosmos) + OPERATOR, env=ENV, tuning=TUNING)
    wait_ready(server.client)
    threads = [server.client.thread() for _ in range(N_THREADS)]
    cosmos.behave(chaos={"throttle": 0.15, "unavailable": 0.15, "cut": 0.05})
    failed = []

    def talk(thread):
        for i in range(N_TURNS):
            response = server.client.send(thread, f"question {i} of {thread}")
            if response.status != 200 or response.json["seq"] != 2 * i + 2:
                failed.append(response)
    talkers = [threading.Thread(target=talk, args=(thread,)) for thread in threads]
    for talker in talkers:
        talker.start()
    for talker in talkers:
        talker.join()
    assert not failed, failed[:5]
    cosmos.behave(clear=True)
    n_messages = 0
    for thread in threads:
        messages = server.client.messages(thread)
        assert [m["seq"] for m in messages] == list(range(1, 2 * N_TURNS + 1)), thread
        assert [m["content"] for m in messages[::2]] == [f"question {i} of {thread}" for i in range(N_TURNS)]
        assert {m["content"] for m in messages[1::2]} == {"Hello world"}
        n_messages += len(messages)
    # Nothing was written twice: a head, and two messages, a run and its steps for each turn; entries of the threads and runs.
    assert len(cosmos.documents("messages")) == N_THREADS * (1 + 4 * N_TURNS)
    assert sum(d["type"] not in ("ping", "usage") for d in cosmos.documents("threads")) == N_THREADS * (1 + N_TURNS)
    shown = server.ready().json["store"]
    print(f"\n{N_THREADS * N_TURNS} turns on {N_THREADS} threads, {n_messages} messages complete and in order; {shown['requests']} "
          f"requests, {shown['retries']} of them again, {shown['throttled']} throttled, {cosmos.n_connections} connections")
    assert shown["retries"] > 1000 and shown["throttled"] > 400 and shown["request_units"] > 1000


# ---- several servers ----
def test_a_thread_continues_at_another_server(make_server, model, cosmos):
    servers = [make_server(store(cosmos), env=ENV) for _ in range(2)]
    for server in servers:
        wait_ready(server.client)
    thread = servers[0].client.thread(title="shared")
    said = []
    for i in range(8):
        server = servers[i % 2]
        model.play(answer(f"answer {i}"))
        response = server.client.send(thread, f"question {i}")
        assert response.status == 200 and response.json["seq"] == 2 * i + 2
        said += [f"question {i}", f"answer {i}"]
        assert [m["content"] for m in model.requests[-1].messages if m["role"] != "system"] == said[:-1]
        for reader in servers:
            assert [m["content"] for m in reader.client.messages(thread)] == said
            assert reader.client.get(f"/threads/{thread}").json["message_count"] == len(said)


@pytest.mark.parametrize("lag", [1, 3])
@pytest.mark.parametrize("slow", [False, True])
def test_the_history_has_new_messages_of_another_server(make_server, model, cosmos, lag, slow):
    """A replica that is behind hides it at first. The model may have answered by then, or not; its answer is
    discarded."""
    servers = [make_server(store(cosmos), env=ENV) for _ in range(2)]
    for server in servers:
        wait_ready(server.client)
    cosmos.behave(lag=lag)
    thread, gate, said = servers[0].client.thread(title="shared"), Gate(), []

    def shown(request):
        return [m["content"] for m in request.messages if m["role"] != "system"]

    def first(request):
        yield head()
        yield token("not this")
        if slow and len(shown(request)) < len(said) + 1:
            yield gate              # never opened: the other side closes
        yield from answer(f" but that: {len(shown(request))}")(request)
    model.default = first
    for i in range(6):
        response = servers[i % 2].client.send(thread, f"question {i}")
        assert response.status == 200 and response.json["seq"] == 2 * i + 2, response
        said.append(f"question {i}")
        # The model may read the request of which nothing came after the other one.
        assert said in [shown(request) for request in model.requests]
        said.append(response.json["content"])
        assert said[-1] == f"not this but that: {2 * i + 1}"
    assert len(model.requests) > 6, "no replica was ever behind"
    gate.open()
    for server in servers:
        wait_until(lambda server=server: [m["content"] for m in server.client.messages(thread)] == said, "it is not all there")
    runs = servers[0].client.get(f"/threads/{thread}/runs").json["data"]
    steps = [servers[0].client.get(f"/runs/{run['id']}/steps").json["data"] for run in runs]
    wait_until(lambda: sum(len(s) for s in steps) == len(model.requests), "the model was not asked so often")
    assert all(s[-1]["status"] == "completed" for s in steps)


# ---- what it costs ----
def test_a_point_read_is_one_exchange(make_server, model, cosmos):
    server = make_server(store(cosmos), env=ENV)
    thread = server.client.thread()
    server.client.send(thread, "x")
    with server.client.connect() as connection:
        assert connection.request("GET", f"/api/threads/{thread}").status == 200
        n_requests, n_connections = len(cosmos.requests), cosmos.n_connections
        for _ in range(20):
            assert connection.request("GET", f"/api/threads/{thread}").json["id"] == thread
    # A server also checks, at its times, for changed agents and for runs of dead machines, and counts the run's usage.
    asked = [(method, status) for method, path, status, _ in cosmos.requests[n_requests:] if thread in path]
    assert asked == [("GET", 200)] * 20
    own = [f"{method} {path}" for method, path, _, _ in cosmos.requests[n_requests:] if thread not in path]
    known = r"GET .*/threads/docs/(\S*stamp|run_\S+|usage_\S+)$|POST .*/(messages|threads)/docs$"
    assert all(re.match(known, at) for at in own) and len(own) < 20, own
    assert cosmos.n_connections - n_connections <= len(own)


def test_the_users_message_does_not_delay_the_model(make_server, model, cosmos):
    """The model has been called, and has sent everything, while the write of the message is held; no part of it is
    shown before."""
    server = make_server(store(cosmos), env=ENV)
    thread = server.client.thread()
    server.client.send(thread, "first")
    n, gate = len(model.requests), Gate()
    cosmos.behave(faults=[{"match": "POST .*/messages/docs", "batch": True, "gate": gate}])
    with server.client.connect() as connection:
        connection.send("POST", f"/api/threads/{thread}/messages", {"content": "second", "stream": True})
        gate.wait_reached()
        model.wait_requests(n + 1)
        with pytest.raises(TimeoutError):
            connection.socket.settimeout(0.5)       # long enough to see something that would be shown
            connection.line()
        assert len(server.client.messages(thread)) == 2
        connection.socket.settimeout(20)
        gate.open()
        assert [e.type for e in Stream(connection).rest()] == ["run", "token", "token", "done"]
    assert [m["seq"] for m in server.client.messages(thread)] == [1, 2, 3, 4]


# ---- much of it ----
def test_a_thread_of_thousands_of_documents_is_removed(make_server, model, cosmos):
    """Under throttling and cuts; the server is killed in the middle, and the next one takes it up."""
    server = make_server(store(cosmos), env=ENV)
    thread, kept = server.client.thread(), server.client.thread()
    server.client.send(thread, "x")
    server.client.send(kept, "x")
    message, run, _, _ = sorted((d for d in cosmos.documents("messages") if d["thread_id"] == thread), key=lambda d: d["type"])[:4]
    with cosmos.lock:                                                # as if it had talked for years
        container = cosmos.databases["chat"]["messages"]
        for i in range(3000):
            container.partitions[thread][f"msg_old{i}"] = {**message, "id": f"msg_old{i}", "_etag": f'"{i}"'}
    before = {d["id"] for d in cosmos.documents("messages") if d["thread_id"] == kept}
    server.expect_log("AC022[358]", "AC0651")
    cosmos.behave(chaos={"throttle": 0.2, "unavailable": 0.1, "cut": 0.1}, stop_after=30)
    assert server.client.delete(f"/threads/{thread}?hard_delete=true").status in (200, 502, 504)
    wait_until(lambda: cosmos.stop_after == 0, "nothing was removed")
    server.kill()
    left = sum(d["thread_id"] == thread for d in cosmos.documents("messages"))
    assert 0 < left < 3005
    cosmos.behave(stop_after=None)
    server.expect_log("AH00098")
    server.start()
    assert server.client.get(f"/threads/{thread}").status == 404     # hidden from the first moment on
    assert server.client.delete(f"/threads/{thread}?hard_delete=true").status in (200, 404)
    wait_until(lambda: not any(d["thread_id"] == thread for d in cosmos.documents("messages")), "documents stay")
    wait_until(lambda: not any(d.get("thread_id") == thread for d in cosmos.documents("threads")), "entries stay")
    assert before == {d["id"] for d in cosmos.documents("messages")}
    print(f"\n{left} documents were left when the server died, {cosmos.n_carried_out} requests were carried out")


def test_an_answer_larger_than_an_item_comes_back_whole(make_server, model, cosmos):
    server = make_server(store(cosmos), env=ENV)
    client, words = server.client, [f"“{i:06}” größer 🎉 \n" * 40 for i in range(2000)]
    whole = "".join(words)
    assert len(whole.encode()) > 2 * 1024 * 1024
    model.play(answer(*words))
    thread = client.thread()
    assert client.send(thread, "Say much").json["content"] == whole
    assert client.messages(thread)[1]["content"] == whole
    largest = max(len(json.dumps(d, ensure_ascii=False).encode()) for d in cosmos.documents("messages"))
    assert largest < 2 * 1024 * 1024 and sum(d["type"] == "part" for d in cosmos.documents("messages")) >= 3
    client.send(thread, "And now?")
    assert model.requests[-1].messages[-2] == {"role": "assistant", "content": whole}
    assert client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    wait_until(lambda: not cosmos.documents("messages"), "documents stay")


# ---- what expires ----
def test_an_idempotency_key_holds_for_a_day(make_server, model, cosmos):
    server = make_server(store(cosmos), env=ENV)
    thread, path = server.client.thread(), "/threads/{}/messages"
    headers = {"Idempotency-Key": "h"}
    first = server.client.post(path.format(thread), {"content": "x"}, headers=headers)
    cosmos.behave(aged=24 * 3600)
    assert server.client.post(path.format(thread), {"content": "x"}, headers=headers).json == first.json
    assert server.client.post(path.format(thread), {"content": "y"}, headers=headers).json["code"] == "idempotency_conflict"
    cosmos.behave(aged=28 * 3600)
    again = server.client.post(path.format(thread), {"content": "y"}, headers=headers)
    assert again.status == 200 and again.json["seq"] == 4 and len(model.requests) == 2


# ---- what is made ----
def test_containers_are_made_without_an_index_of_texts(make_server, model, cosmos):
    server = make_server(store(cosmos, "retention=30d autoscale=4000"), env=ENV)
    server.client.send(server.client.thread(metadata={"customer": "c"}), "x")
    definitions = {name: container.definition for name, container in cosmos.databases["chat"].items()}
    assert set(definitions) == {"messages", "threads"}
    for name, key in (("messages", "/thread_id"), ("threads", "/owner")):
        definition, written = definitions[name], {"content", "metadata", "title"}
        assert definition["partitionKey"] == {"paths": [key], "kind": "Hash", "version": 2}
        policy = definition["indexingPolicy"]
        assert policy["indexingMode"] == "consistent" and {"path": "/*"} in policy["excludedPaths"]
        assert not written & {p["path"].split("/")[1] for p in policy["includedPaths"]}
        assert definition["defaultTtl"] >= 30 * 86400
    assert definitions["messages"]["defaultTtl"] == 30 * 86400
    made = [headers for method, path, _, headers in cosmos.requests if method == "POST" and path == "/dbs"]
    assert json.loads(made[0]["x-ms-cosmos-offer-autopilot-settings"]) == {"maxThroughput": 4000}
