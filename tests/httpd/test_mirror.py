# SPDX-License-Identifier: Apache-2.0
"""Runs that are followed live from another machine: servers that share nothing but the scripted Cosmos DB and a Redis."""
import json
import re
import threading

import pytest

import redis_server
from cosmos_server import KEY
from model_server import DONE, Gate, answer, calls, finish, head, token, usage
from redis_server import Redis
from runs import CHILDREN, blocks, events_of, kill_child, owner_of, wait_until
from server import OPERATOR
from test_resume import KEY as RESUME_KEY, ROUTES, every_point

pytestmark = pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server; conf/packages.sh check installs it")
WORDS = ("one ", "two ", "three ", "four ", "five")


@pytest.fixture
def redis():
    redis = Redis()
    yield redis.start()
    redis.remove()


@pytest.fixture
def machines(redis, make_server, cosmos):
    """machines(n, options): servers that are ready, and whose mirror works."""
    def make(n, store="", shared="", more="", reads=None, timeout="5s", **options):
        password = redis.root / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        servers = [make_server(
            f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:COSMOS_KEY {store}\n"
            f"AgentChatShared redis:127.0.0.1:{redis.port} user=chat password=file:{password} timeout={timeout} {shared}\n{more}",
            env={"COSMOS_KEY": KEY}, **options) for _ in range(n)]
        for server in servers:
            wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
        wait_until(lambda: readers(redis) >= (n if reads is None else reads), "a server does not read the mirror")
        return servers
    return make


def readers(redis):
    """Connections that are blocked in XREAD."""
    return sum("cmd=xread" in line for line in redis.cli("CLIENT", "LIST").splitlines())


def gated(gates, words=WORDS):
    """An answer whose words come one by one, each when its gate opens."""
    def script(_request):
        yield head()
        for gate, word in zip(gates, words):
            yield gate
            yield token(word)
        yield finish()
        yield usage()
        yield DONE
    return script


def begin(server, model, gates, words=WORDS):
    """A live stream whose model stands at its first gate; the run's id."""
    thread = server.client.thread()
    model.play(gated(gates, words))
    stream = server.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    return stream, thread, stream.next().json["run_id"]


def skip_heartbeats(stream):
    while (event := stream.next()).type == "heartbeat":
        pass
    return event


def test_each_token_comes_before_the_next_one_is_made(machines, model, redis):
    """No gate opens before the followers on the other machines have the word before it."""
    one, two, three = machines(3)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    followers = [events_of(server.client, run) for server in (two, three)]
    assert [skip_heartbeats(follower).type for follower in followers] == ["run", "run"]
    for gate, word in zip(gates, WORDS):
        gate.open()
        for follower in followers:
            event = skip_heartbeats(follower)
            assert (event.type, event.json["content"]) == ("token", word)
    stream.rest()
    for follower in followers:
        follower.rest()
        assert blocks(follower.raw) == blocks(stream.raw)
    assert len(model.requests) == 1


def test_every_id_on_every_machine(machines, model, redis):
    """While the run is active and after its end, every machine continues from every event, byte for byte as its own would."""
    servers = machines(3)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(servers[0], model, gates)
    for gate in gates[:3]:
        gate.open()
        skip_heartbeats(stream)
    known = [None, 0, 1, 2, 3, 4]
    followers = [(after, events_of(server.client, run, after)) for server in servers for after in known]
    for gate in gates[3:]:
        gate.open()
    stream.rest()
    events = blocks(stream.raw)
    assert len(events) == len(WORDS) + 2
    for after, follower in followers:
        follower.rest()
        assert blocks(follower.raw) == [b for b in events if b[0] > (after or 0)], after
    for server in servers:
        for number, _ in [(0, ""), *events]:
            again = events_of(server.client, run, number)
            again.rest()
            assert again.status == (204 if number == events[-1][0] else 200)
            assert blocks(again.raw) == [b for b in events if b[0] > number], number


# ---- other formats ----
@pytest.mark.parametrize("dialect", ["native", "chunk"])
def test_every_format_is_live(machines, model, redis, dialect):
    """The same POST with its key on another machine, in each format: the words come before the answer ends, and every id
    leads to the same bytes."""
    one, two = machines(2)
    gates = [Gate() for _ in WORDS]
    model.play(calls(("calculate", {"expression": "6*7"})), gated(gates))
    path, body = ROUTES[dialect]
    first = one.client.stream(path, body, headers=RESUME_KEY)
    gates[0].wait_reached()
    again = two.client.stream(path, body, headers=RESUME_KEY)
    for gate, word in zip(gates, WORDS):
        gate.open()
        while word not in skip_heartbeats(again).fields["data"]:
            pass
    first.rest()
    again.rest()
    assert blocks(again.raw) == blocks(first.raw)
    every_point(two.client, dialect, None, blocks(first.raw))
    assert len(model.requests) == 2


def test_a_whole_answer_from_another_machine(machines, model, redis):
    """A client that wants no stream: the POST with its key waits on the other machine, and gets the same document."""
    one, two = machines(2)
    gates = [Gate() for _ in WORDS]
    model.play(gated(gates))
    path, body = "/agents/assistant/chat", {"message": "x", "stream": False}
    answers = []
    senders = [threading.Thread(target=lambda client=server.client: answers.append(client.post(path, body, headers=RESUME_KEY)))
               for server in (one, two)]
    senders[0].start()
    gates[0].wait_reached()
    # The model is asked while the run is stored. Until it is, the key is free, and the other machine would begin a run of its own.
    wait_until(lambda: two.client.get("/threads").json["data"], "the run is not stored")
    senders[1].start()
    for gate in gates:
        gate.open()
    for sender in senders:
        sender.join(60)
    assert [r.status for r in answers] == [200, 200] and answers[0].body == answers[1].body
    assert answers[0].json["content"] == "".join(WORDS)


# ---- a machine that is lost ----
LEASE = "lease=5s"


def as_if_elsewhere(cosmos):
    """Processes of this machine can see whether others live. Those of another machine cannot."""
    with cosmos.lock:
        for document in cosmos.documents("messages"):
            if document.get("active_run"):
                document["active_run"]["process"] = "another-machine"


def test_a_machine_that_is_lost_in_the_middle(machines, model, cosmos):
    """Its last words are shown on the other machine, and the end comes from the store."""
    one, two = machines(2, LEASE)
    gates = [Gate() for _ in WORDS]
    stream, thread, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    assert skip_heartbeats(follower).type == "run"
    for gate in gates[:2]:
        gate.open()
        assert skip_heartbeats(follower).type == "token"
    as_if_elsewhere(cosmos)
    one.kill()
    late = events_of(two.client, run, 2)
    assert skip_heartbeats(late).json["content"] == WORDS[1]
    for waiting in (follower, late):
        events = [event for event in waiting.rest() if event.type != "heartbeat"]
        assert [event.type for event in events] == ["error"] and events[0].json["code"] == "interrupted"
    for gate in gates[2:]:
        gate.open()
    model.play(answer("here"))
    assert two.client.send(thread, "again").json["content"] == "here"


def test_a_child_that_is_lost_in_the_middle(machines, model):
    """Another child of its machine closes the run from the log, and copies the rest of it."""
    one, two = machines(2, tuning=CHILDREN)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    assert skip_heartbeats(follower).type == "run"
    gates[0].open()
    assert skip_heartbeats(follower).type == "token"
    one.expect_log("AH00051", "AH00052", "AC0522", "AC0208")
    kill_child(one, owner_of(one, stream.connection))
    events = [event for event in follower.rest() if event.type != "heartbeat"]
    assert [event.type for event in events] == ["error"] and events[0].json["code"] == "interrupted"
    events = events_of(one.client, run)
    events.rest()
    assert blocks(events.raw) == blocks(follower.raw)
    for gate in gates[1:]:
        gate.open()


# ---- Redis that fails ----
AWAY = ("AC0262", "AC0263", "AC0265", "AC0266", "AC0267")


def play_to_the_end(stream, gates):
    for gate in gates:
        gate.open()
    events = stream.rest()
    assert events[-1].type == "done"
    return events


def text_of(follower):
    lines = re.findall("^data: (.*)$", follower.raw.decode(), flags=re.M)
    return "".join(event["content"] for event in map(json.loads, lines) if event["type"] == "token")


def follow_whole(stream, gates, followers):
    """The run ends as ever; the followers have the whole answer, once."""
    play_to_the_end(stream, gates)
    for follower in followers:
        events = follower.rest()
        assert events[-1].type == "done", events
        assert text_of(follower) == "".join(WORDS)


@pytest.mark.parametrize("how", ["killed", "paused", "full"])
def test_a_redis_that_fails(machines, model, redis, how):
    """The run continues, and followers on other machines get the rest of the answer from the store."""
    one, two = machines(2, LEASE)
    for server in (one, two):
        server.expect_log(*AWAY)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    assert skip_heartbeats(follower).type == "run"
    gates[0].open()
    assert skip_heartbeats(follower).type == "token"
    if how == "killed":
        redis.stop()
    elif how == "paused":
        redis.hang()
    else:
        redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
    follow_whole(stream, gates[1:], [follower])
    assert two.client.get(f"/runs/{run}").json["status"] == "completed"


def test_a_redis_that_comes_back_empty(machines, model, redis):
    """The mirror is copied again from the log: new followers get everything from it, and the old one continues."""
    one, two, three = machines(3)
    for server in (one, two, three):
        server.expect_log(*AWAY)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    assert skip_heartbeats(follower).type == "run"
    gates[0].open()
    assert skip_heartbeats(follower).type == "token"
    redis.stop()
    gates[1].open()
    assert skip_heartbeats(stream).type == "token" and skip_heartbeats(stream).type == "token"
    redis.start()
    wait_until(lambda: redis.cli("EXISTS", f"agentchat:ev:{run}") == "1", "the log is not copied again")
    assert skip_heartbeats(follower).json["content"] == WORDS[1]
    late = events_of(three.client, run, 1)
    assert skip_heartbeats(late).json["content"] == WORDS[0]
    gates[2].open()
    assert skip_heartbeats(follower).json["content"] == WORDS[2]
    play_to_the_end(stream, gates[3:])
    follower.rest()
    late.rest()
    events = events_of(one.client, run)
    events.rest()
    assert blocks(follower.raw) == blocks(events.raw)
    assert blocks(late.raw) == [b for b in blocks(events.raw) if b[0] > 1]


def test_a_redis_that_is_flushed(machines, model, redis):
    one, two = machines(2)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    assert skip_heartbeats(follower).type == "run"
    for gate, word in zip(gates, WORDS):
        redis.cli("FLUSHALL")
        gate.open()
        assert skip_heartbeats(follower).json["content"] == word
    stream.rest()
    follower.rest()
    again = events_of(two.client, run)
    again.rest()
    assert blocks(follower.raw) == blocks(stream.raw) == blocks(again.raw)


def test_a_mirror_that_was_trimmed(machines, model, redis):
    """A client that needs events which are gone gets 410; one that has them continues."""
    one, two = machines(2)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    key = f"agentchat:ev:{run}"
    for number, gate in enumerate(gates[:3], 2):
        gate.open()
        newest = f"{number}-0"
        wait_until(lambda: redis.cli("XREVRANGE", key, "+", "-", "COUNT", "1").startswith(newest), "the log is not copied")
    redis.cli("XTRIM", key, "MAXLEN", "1")
    gone = two.client.get(f"/runs/{run}/events", headers={"Last-Event-ID": "1"})
    assert (gone.status, gone.json["code"]) == (410, "events_gone")
    follower = events_of(two.client, run, 4)
    gates[3].open()
    assert skip_heartbeats(follower).json["content"] == WORDS[3]
    play_to_the_end(stream, gates[4:])
    assert follower.rest()[-1].type == "done"


def test_a_deleted_answer_is_not_copied_any_more(machines, model, redis):
    one, = machines(1, more="AgentChatEventLogKeep 1d\n<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    made = one.client.post("/v1/responses", {"model": "assistant", "input": "x"}).json
    key = f"agentchat:ev:run_{made['id'][5:]}"
    wait_until(lambda: redis.cli("EXISTS", key) == "1", "the log is not copied")
    assert one.client.delete(f"/v1/responses/{made['id']}").status == 200
    wait_until(lambda: redis.cli("EXISTS", key) == "0", "the copy is still there")


def test_events_off(machines, model, redis):
    """Nothing is copied, and a follower on another machine waits for the end."""
    one, two = machines(2, shared="events=off", reads=0)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    play_to_the_end(stream, gates)
    assert [e.type for e in follower.rest() if e.type != "heartbeat"] == ["run", "token", "done"]
    assert "agentchat:ev:" not in redis.cli("KEYS", "*") and readers(redis) == 0


# ---- what an operator sees ----
def mirror_of(server, *states):
    """The mirror's part of /ready, as soon as it is in one of these states; the server is ready in each of them."""
    def look():
        response = server.ready()
        assert response.status == 200, response
        mirror = response.json["mirror"]
        return mirror if mirror["state"] in states else None
    return wait_until(look, f"the mirror is not {states}")


def test_its_state(machines, model, redis):
    (server,) = machines(1, more=OPERATOR, timeout="10s")
    server.expect_log(*AWAY)
    gates = [Gate() for _ in WORDS]
    stream, _, _ = begin(server, model, gates)
    assert mirror_of(server, "ok")["lag_ms"] < 1000
    for gate in gates[:3]:
        redis.hang()
        gate.open()                     # this event is not copied
        assert skip_heartbeats(stream).type == "token"
        seen = mirror_of(server, "lagging", "failed")
        assert seen["lag_ms"] > 1000
        redis.go_on()
        mirror_of(server, "ok")
        if seen["state"] == "lagging":  # else this test has looked too late, when Redis had been silent for `timeout`
            break
    assert seen["state"] == "lagging"
    redis.stop()
    mirror_of(server, "failed")
    play_to_the_end(stream, gates)
    redis.start()
    assert mirror_of(server, "ok")["lag_ms"] == 0


def test_its_state_where_nothing_is_copied(machines, make_server, redis):
    (server,) = machines(1, shared="events=off", more=OPERATOR, reads=0)
    assert mirror_of(server, "off") == {"state": "off"}
    local = make_server(f"{OPERATOR}AgentChatShared redis:127.0.0.1:{redis.port} user=chat password=file:{redis.root}/password\n")
    assert mirror_of(local, "off") == {"state": "off"}
    assert "mirror" not in make_server(OPERATOR).ready().json


def test_a_user_that_may_not_use_streams(machines, model, redis):
    """The rights that limits need are enough for everything but the mirror, and the log says what is missing."""
    redis.cli("ACL", "SETUSER", "chat", "-xadd", "-xread", "-xrange", "-xrevrange")
    one, two = machines(2, reads=0)
    for server in (one, two):
        server.expect_log("AC0267", *AWAY)
    gates = [Gate() for _ in WORDS]
    stream, _, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    play_to_the_end(stream, gates)
    assert [e.type for e in follower.rest() if e.type != "heartbeat"] == ["run", "token", "done"]
    wait_until(lambda: "AC0267" in one.log(), "the log does not say why")


def test_a_slow_reader_on_another_machine(machines, model):
    """It stops reading in the middle of a long answer. Nothing of it waits in memory, and nothing is lost."""
    one, two = machines(2)
    words = [f"{i:06d} " * 200 for i in range(2000)]
    gate = Gate()
    thread = one.client.thread()

    def script(_request):
        yield head()
        yield gate
        for word in words:
            yield token(word)
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    stream = one.client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    run = stream.next().json["run_id"]
    slow = events_of(two.client, run)
    assert skip_heartbeats(slow).type == "run"
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert slow.rest()[-1].type == "done"
    assert blocks(slow.raw) == blocks(stream.raw)


# ---- what works at once ----
def test_a_cancel_takes_effect_at_once(machines, model):
    """The lease is so long that its holder would look after two hours."""
    one, two = machines(2, "lease=1d")
    gates = [Gate() for _ in WORDS]
    stream, thread, run = begin(one, model, gates)
    follower = events_of(two.client, run)
    gates[0].open()
    assert skip_heartbeats(stream).type == "token"
    assert two.client.post(f"/runs/{run}/cancel").status == 202
    for waiting in (stream, follower):
        assert waiting.rest()[-1].json["status"] == "cancelled"
    assert blocks(follower.raw) == blocks(stream.raw)
    for gate in gates[1:]:
        gate.open()


# ---- a run that no store has ----
def test_a_repeated_request_whose_run_is_in_no_store(machines, model):
    """Its key, which the store has, leads to the run, and the mirror has its events."""
    one, two = machines(2, more="<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
    path, gates, key = "/v1/chat/completions", [Gate() for _ in WORDS], {"Idempotency-Key": "once"}
    model.play(gated(gates))
    gates[0].open()
    streams = [server.client.stream(path, {**body, "stream": True}, headers=key) for server in (one, two)]
    for stream in streams:
        assert "role" in stream.next().fields["data"] and "one" in stream.next().fields["data"]
    for gate in gates[1:]:
        gate.open()
    ends = [[event.fields["data"] for event in stream.rest()] for stream in streams]
    assert ends[0] == ends[1] and ends[0][-1] == "[DONE]"
    whole = two.client.post(path, body, headers=key)
    assert whole.json["choices"][0]["message"]["content"] == "".join(WORDS) and len(model.requests) == 1
