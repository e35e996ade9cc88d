# SPDX-License-Identifier: Apache-2.0
"""AgentChatCache: turns that do not read their thread's messages, seen from the store; and that nothing else changes."""

import pytest

from client import Client
from cosmos_stores import ENV, store
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import Gate, answer, calls
import redis_server
from redis_server import Redis
from runs import connection_to, holding, kill_child, owner_of, wait_until
from server import OPERATOR, OPERATOR_KEY
from test_rate_limits import FOUR

needs_redis = pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server; conf/packages.sh check installs it")


@pytest.fixture
def machines(make_server, cosmos):
    def make(n, directives="", options="", **more):
        servers = [make_server(store(cosmos, options) + OPERATOR + directives, env=ENV, **more) for _ in range(n)]
        for server in servers:
            wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
        return servers
    return make


@pytest.fixture
def redis():
    redis = Redis().start()
    yield redis
    redis.remove()


def sharing(redis, options="timeout=5s"):
    password = redis.root / "password"
    password.write_text("secret\n")
    password.chmod(0o644)
    return f"AgentChatShared redis:127.0.0.1:{redis.port} user=chat password=file:{password} {options}\nAgentChatCache redis\n"


class Reads:
    """What a thread's partition was asked since the last look: (reads of its head, queries of its messages)."""

    def __init__(self, cosmos, thread):
        self.cosmos, self.thread, self.at = cosmos, thread, (0, 0)
        self.take()

    def _count(self):
        with self.cosmos.lock:
            mine = [(method, path, headers) for method, path, _, headers in self.cosmos.requests
                    if self.thread in headers.get("x-ms-documentdb-partitionkey", "")]
        return (sum(method == "GET" and path.endswith(self.thread) for method, path, _ in mine),
                sum(headers.get("x-ms-documentdb-isquery", "").lower() == "true" for _, _, headers in mine))

    def take(self):
        now = self._count()
        new = tuple(a - b for a, b in zip(now, self.at))
        self.at = now
        return new


def say(client, thread, content, model, **more):
    """Runs a turn; returns the history that the model got."""
    model.play(answer(f"heard {content}"))
    response = client.post(f"/threads/{thread}/messages", {"content": content}, **more)
    assert response.status == 200 and response.json["content"] == f"heard {content}", response
    shown = [m["content"] for m in model.requests[-1].messages if m["role"] != "system"]
    assert shown[-1] == content
    return shown[:-1]


def history(*said):
    return [text for content in said for text in (content, f"heard {content}")]


def counts(client):
    return Client(client.port, prefix="/operator").get("/ready", headers={"X-API-Key": OPERATOR_KEY}).json["store"]


# ---- what it saves ----
def test_a_turn_reads_no_history(machines, model, cosmos):
    """As it is by itself with Cosmos DB: the thread's head is looked at, and its messages are known."""
    server, = machines(1)
    thread = server.client.thread()
    reads = Reads(cosmos, thread)
    assert say(server.client, thread, "a", model) == []
    reads.take()
    assert say(server.client, thread, "b", model) == history("a")
    assert reads.take() == (1, 0)
    assert say(server.client, thread, "c", model) == history("a", "b")
    assert reads.take() == (1, 0)


def test_a_turn_reads_nothing_without_other_writers(machines, model, cosmos):
    server, = machines(1, "AgentChatCache memory check=off\n")
    model.play(answer("heard a"))
    chat = server.client.post("/agents/assistant/chat", {"message": "a", "stream": False})
    thread = chat.json["thread_id"]
    reads = Reads(cosmos, thread)
    for content in ("b", "c", "d"):
        say(server.client, thread, content, model)
    assert reads.take() == (0, 0)
    assert [m["seq"] for m in server.client.messages(thread)] == list(range(1, 9))


def test_off_reads_each_time(machines, model, cosmos):
    server, = machines(1, "AgentChatCache off\n")
    thread = server.client.thread()
    say(server.client, thread, "a", model)
    reads = Reads(cosmos, thread)
    assert say(server.client, thread, "b", model) == history("a")
    assert reads.take()[1] == 1 and "cache_hits" not in counts(server.client)


def test_tool_calls_come_back_as_they_were(make_server, model):
    """The model is shown the same, from the store and from the cache."""
    shown = []
    for place in ("off", "memory"):
        server = make_server(f"AgentChatCache {place}\n")
        model.play(calls(("calculate", '{"expression": "15% of 85"}')), answer("12.75 \u20ac \"\\\n"))
        first = server.client.post("/agents/assistant/chat", {"message": "how \u2028 much?", "stream": False})
        assert first.status == 200
        model.play(answer("again"))
        server.client.post(f"/threads/{first.json['thread_id']}/messages", {"content": "and now?"})
        shown.append(model.requests[-1].messages)
    for messages in shown:                      # ids are new each time
        for message in messages:
            message.pop("tool_call_id", None)
            for call in message.get("tool_calls") or []:
                call.pop("id")
    assert shown[0] == shown[1] and any(m.get("tool_calls") for m in shown[0])


# ---- one server, several children ----
def two_children(server):
    server.wait_children(4)
    first = server.client.connect()
    first.send("GET", "/api/health")
    first.receive()
    pid = owner_of(server, first)
    return first, connection_to(server, lambda other: other and other != pid)


def ask(connection, method, path, body=None, status=200):
    connection.send(method, "/api" + path, body)
    response = connection.receive(method)
    assert response.status == status, response
    return response


@pytest.mark.parametrize("place", ["memory", pytest.param("redis", marks=needs_redis)])
def test_writes_of_one_child_are_seen_by_the_others(make_server, model, request, place):
    directives = "AgentChatCache memory\n" if place == "memory" else sharing(request.getfixturevalue("redis"))
    server = make_server(directives, tuning=FOUR)
    server.expect_log("AC0262")                 # Redis is stopped first
    one, other = two_children(server)
    thread = server.client.thread()
    said = []
    for i in range(6):
        connection = (one, other)[i % 2]
        model.play(answer(f"heard {i}"))
        ask(connection, "POST", f"/threads/{thread}/messages", {"content": str(i)})
        shown = [m["content"] for m in model.requests[-1].messages if m["role"] != "system"]
        assert shown == history(*said) + [str(i)]
        said.append(str(i))
    assert len(model.requests) == 6             # no request was made twice

    ask(one, "PATCH", f"/threads/{thread}", {"title": "New"})
    assert ask(other, "GET", f"/threads/{thread}").json["title"] == "New"
    ask(one, "DELETE", f"/threads/{thread}")
    ask(other, "GET", f"/threads/{thread}", status=404)
    n = len(model.requests)
    ask(other, "POST", f"/threads/{thread}/messages", {"content": "gone"}, status=404)
    assert len(model.requests) == n
    ask(other, "POST", f"/threads/{thread}/restore")
    model.play(answer("heard back"))
    ask(one, "POST", f"/threads/{thread}/messages", {"content": "back"})
    assert [m["content"] for m in model.requests[-1].messages if m["role"] != "system"] == history(*said) + ["back"]
    ask(one, "DELETE", f"/threads/{thread}?hard_delete=true")
    ask(other, "POST", f"/threads/{thread}/messages", {"content": "gone"}, status=404)


def test_a_child_that_was_killed_left_nothing_wrong(make_server, model):
    server = make_server("AgentChatCache memory\n", tuning=FOUR)
    server.expect_log("AC0", "AH00052")
    thread = server.client.thread()
    assert say(server.client, thread, "a", model) == []
    gate = Gate()
    model.play(holding(gate))
    stream = server.client.stream(f"/threads/{thread}/messages", {"content": "b", "stream": True})
    assert [stream.next().type, stream.next().type] == ["run", "token"]
    pid = owner_of(server, stream.connection)
    kill_child(server, pid)
    gate.open()
    shown = say(server.client, thread, "c", model)
    assert shown[:3] == ["a", "heard a", "b"]
    assert [m["seq"] for m in server.client.messages(thread)] == list(range(1, len(shown) + 3))


# ---- whose it is ----
@pytest.mark.parametrize("place", ["memory", pytest.param("redis", marks=needs_redis)])
def test_cached_threads_belong_to_their_owner(make_server, model, request, place):
    directives = "AgentChatCache memory\n" if place == "memory" else sharing(request.getfixturevalue("redis"))
    server = make_server(directives, start=False, modules=MODULES)
    server.expect_log("AC0262")                 # Redis is stopped first
    keys = KeyFile(server.root / "keys")
    ann, bob = (bearer(keys.make(name, f"owner={name}")) for name in ("ann", "bob"))
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.start()
    client = Client(server.port, "/keys")
    model.play(answer("of ann alone"))
    thread = client.post("/agents/assistant/chat", {"message": "secret", "stream": False}, headers=ann).json["thread_id"]
    n = len(model.requests)
    assert client.post(f"/threads/{thread}/messages", {"content": "x"}, headers=bob).status == 404
    assert client.patch(f"/threads/{thread}", {"title": "mine"}, headers=bob).status == 404
    assert client.delete(f"/threads/{thread}?hard_delete=true", headers=bob).status == 404
    assert len(model.requests) == n
    assert say(client, thread, "more", model, headers=ann) == ["secret", "of ann alone"]
    if place == "redis":
        redis = request.getfixturevalue("redis")
        names = redis.cli("KEYS", "*thread:*").split()
        assert len(names) == 1 and thread not in names[0] and "ann" not in names[0]
        assert 0 < int(redis.cli("PTTL", names[0])) <= 600000


# ---- other machines ----
def test_machines_that_do_not_share_a_cache(machines, model, cosmos):
    """Each looks at the thread first, so that none shows its model what is out of date."""
    servers = machines(2)
    thread = servers[0].client.thread()
    said = []
    for i in range(6):
        assert say(servers[i // 2 % 2].client, thread, str(i), model) == history(*said)
        said.append(str(i))
    assert len(model.requests) == 6


def test_outdated_entries_are_detected_before_anything_is_shown(machines, model, cosmos):
    """Without that look it is the turn's own write that finds it. The model is asked once more; the client sees one answer."""
    servers = machines(2, "AgentChatCache memory check=off\n")
    thread = servers[0].client.thread()
    assert say(servers[0].client, thread, "a", model) == []
    assert say(servers[1].client, thread, "b", model) == history("a")
    gate = Gate()
    model.play(holding(gate, before=("never ",), after=("seen",)), answer("heard c"))
    stream = servers[0].client.stream(f"/threads/{thread}/messages", {"content": "c", "stream": True})
    events = stream.rest()
    gate.open()
    assert "".join(e.json["content"] for e in events if e.type == "token") == "heard c"
    shown = [[m["content"] for m in request.messages if m["role"] != "system"] for request in model.requests[-2:]]
    assert shown == [history("a") + ["c"], history("a", "b") + ["c"]]
    assert [m["content"] for m in servers[1].client.messages(thread)] == history("a", "b", "c")


@needs_redis
def test_machines_with_one_redis_read_nothing(machines, model, cosmos, redis):
    servers = machines(2, sharing(redis))
    for server in servers:
        server.expect_log("AC0262", "AC0265")             # Redis is stopped first
        wait_until(lambda s=server: s.ready().json["shared"]["state"] == "ok", "no Redis")
    thread = servers[0].client.thread()
    reads = Reads(cosmos, thread)
    assert say(servers[0].client, thread, "0", model) == []
    reads.take()
    said = ["0"]
    for i in range(1, 40):                      # more than an entry has parts
        assert say(servers[i % 2].client, thread, str(i), model) == history(*said)
        said.append(str(i))
        assert reads.take()[1] == 0, i
    assert len(model.requests) == 40
    for server in servers:
        text = server.log()
        assert "heard 7" not in text and "thread:" not in text.replace("thread[", "")


# ---- a cache that is lost ----
@needs_redis
@pytest.mark.parametrize("how", ["flushed", "stopped", "hanging", "full of nonsense"])
def test_a_lost_cache_costs_only_time(machines, model, cosmos, redis, how):
    server, = machines(1, sharing(redis, "timeout=1s" if how == "hanging" else "timeout=5s"))
    server.expect_log("AC0262", "AC0263", "AC0265")
    wait_until(lambda: server.ready().json["shared"]["state"] == "ok", "no Redis")
    thread = server.client.thread()
    say(server.client, thread, "a", model)
    say(server.client, thread, "b", model)
    reads = Reads(cosmos, thread)
    if how == "flushed":
        redis.cli("FLUSHALL")
    elif how == "stopped":
        redis.stop()
    elif how == "hanging":
        redis.hang()
    else:
        name = redis.cli("KEYS", "*thread:*")
        redis.cli("DEL", name)
        redis.cli("RPUSH", name, '{"thread": {"id": "x"}}', "nonsense")
    assert say(server.client, thread, "c", model) == history("a", "b")
    assert reads.take()[1] == 1
    assert say(server.client, thread, "d", model) == history("a", "b", "c")
    server.client.patch(f"/threads/{thread}", {"title": "New"})
    assert server.client.get(f"/threads/{thread}").json["title"] == "New"
    if how == "stopped":
        redis.start()
    elif how == "hanging":
        redis.go_on()
    wait_until(lambda: server.ready().json["shared"]["state"] == "ok", "Redis does not come back")
    if how == "hanging":                        # it does not know of turns in between, and the turn's write detects that
        model.play(answer("lost"))
    assert say(server.client, thread, "e", model) == history("a", "b", "c", "d")
    assert say(server.client, thread, "f", model) == history("a", "b", "c", "d", "e")
    assert [m["seq"] for m in server.client.messages(thread)] == list(range(1, 13))
    assert server.log().count("AC0262") == (1 if how in ("stopped", "hanging") else 0)


# ---- configuration ----
@pytest.mark.parametrize("line, wanted", [
    ("AgentChatCache nowhere", "AgentChatCache: 'nowhere'"), ("AgentChatCache memory size=1K", "AgentChatCache: "),
    ("AgentChatCache memory ttl=5", "AgentChatCache: "), ("AgentChatCache memory check=perhaps", "AgentChatCache: "),
    ("AgentChatCache redis", "AgentChatCache: 'redis' is the Redis of AgentChatShared, which is not given")])
def test_wrong(make_server, line, wanted):
    assert wanted in make_server(line + "\n", start=False).configtest()[1]
