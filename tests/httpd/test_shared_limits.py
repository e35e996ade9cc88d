# SPDX-License-Identifier: Apache-2.0
"""AgentChatShared: servers that count in one Redis, and what they do without it."""
import re
import time

import pytest

from metrics import PLACE, wait_metrics
from model_server import Gate
import redis_server
from redis_server import Redis
from server import OPERATOR
from test_rate_limits import FOUR, chat, costing, field, flood, wait_for

pytestmark = [pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server; conf/packages.sh check installs it"),
              pytest.mark.usefixtures("within_a_day")]


@pytest.fixture
def make_redis():
    made = []

    def make(start=True, **options):
        redis = Redis(**options)
        made.append(redis)
        return redis.start() if start else redis

    yield make
    for redis in made:
        redis.remove()


@pytest.fixture
def make_sharing(make_server):
    def make(redis, directives, options="timeout=5s", **more):
        password = redis.root / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        line = f"AgentChatShared redis:127.0.0.1:{redis.port} user=chat password=file:{password} {options}\n"
        return make_server(line + OPERATOR + directives, **more)
    return make


def up(server):
    return wait_for(lambda: server.ready().json.get("shared", {}).get("state") == "ok")


def test_two_servers_admit_exactly_the_limit(make_redis, make_sharing):
    redis = make_redis()
    servers = [make_sharing(redis, "AgentChatLimit requests=1237/day", tuning=FOUR) for _ in range(2)]
    for server in servers:
        server.expect_log("AH00484")        # more connections than threads, on a slow machine
        server.wait_children(4)
        up(server)
    assert flood([server.port for server in servers], 5000) == {200: 1237, 429: 3763}
    response = servers[0].client.get("/agents")
    assert response.status == 429 and field(response, "requests-day-owner") == "0"
    assert 1 <= int(response.headers["retry-after"]) <= 86400
    assert re.fullmatch(r"(agentchat:[0-9a-f]{32}\n?|agentchat:holder:[0-9a-f]{16}-\d+\n?)+", redis.cli("KEYS", "*") + "\n")


def test_a_budget_of_two_servers_is_not_overspent(make_redis, make_sharing, model):
    redis, gate = make_redis(), Gate()
    servers = [make_sharing(redis, """
AgentChatLimit cost=1.00/day streams=6
<AgentChatAgent dear>
    AgentChatModel scripted
    AgentChatMaxTokens 100000
</AgentChatAgent>
""") for _ in range(2)]
    for server in servers:
        up(server)
    model.default = costing(0, 100000, gate)
    streams = [servers[i % 2].client.stream("/agents/dear/chat", {"message": "x"}) for i in range(8)]
    assert [stream.status for stream in streams].count(200) == 4
    running = [stream for stream in streams if stream.status == 200]
    gate.open()
    assert [stream.rest()[-1].json["cost"]["amount"] for stream in running] == [0.2] * 4
    response = chat(servers[0].client, "dear")
    assert (response.status, response.json["code"]) == (429, "budget_exceeded")
    assert field(response, "cost-day-owner") == "200000"        # 0.80 were spent, and nothing is reserved any more
    model.default = costing(0, 1000)
    for left in (198000, 196000, 194000):
        response = chat(servers[1].client)                      # 0.002, which is what it reserves beside what is asked
        assert response.status == 200 and left - 1000 < int(field(response, "cost-day-owner")) <= left
    assert field(chat(servers[0].client, "dear"), "cost-day-owner") == "194000"


def used_up(make_sharing, redis, model, gate, limit):
    """Two servers with a limit of 2 in all, and a stream of each, which wait at the gate."""
    servers = [make_sharing(redis, f"AgentChatLimit {limit}=2") for _ in range(2)]
    servers[1].expect_log("AH00098", "AC0")
    for server in servers:
        up(server)
    model.default = costing(1, 1, gate)
    streams = [server.client.stream("/agents/assistant/chat", {"message": "x"}) for server in servers]
    for stream in streams:
        assert stream.status == 200
        stream.until("token")
    return *servers, *streams


def die(redis, server):
    """Kills a server. Its signs of life in Redis end by themselves after 15 s; here they end now."""
    holders = set(redis.cli("KEYS", "agentchat:holder:*").split())
    server.kill()
    for key in holders:
        redis.cli("DEL", key)


def test_runs_of_all_machines(make_redis, make_sharing, model):
    """Also runs without followers; those of a dead machine do not count any more."""
    redis, gate = make_redis(), Gate()
    one, two, *streams = used_up(make_sharing, redis, model, gate, "runs")
    for stream in streams:
        stream.close()
    for server in (one, two):
        response = chat(server.client)
        assert response.status == 429 and "2 runs under way" in response.json["detail"]
    gate.open()
    model.default = costing()
    wait_for(lambda: chat(two.client).status == 200)
    gate = Gate()
    model.default = costing(1, 1, gate)
    for server in (one, two):                   # the earlier run of each may be a moment behind its end
        ask = server.client.stream
        wait_for(lambda: (stream := ask("/agents/assistant/chat", {"message": "x"})).status == 200 and stream).until("token")
    assert chat(one.client).status == 429
    die(redis, two)
    model.default = costing()
    wait_for(lambda: chat(one.client).status == 200)
    gate.open()


def test_streams_of_all_machines(make_redis, make_sharing, model):
    """Held as long as the runs last; those of a dead machine do not count any more."""
    redis, gate = make_redis(), Gate()
    one, two, *streams = used_up(make_sharing, redis, model, gate, "streams")
    assert chat(one.client).status == chat(two.client).status == 429
    gate.open()
    assert streams[0].rest()[-1].type == "done"
    model.default = costing()
    wait_for(lambda: chat(two.client).status == 200)
    gate = Gate()
    model.default = costing(1, 1, gate)
    held = one.client.stream("/agents/assistant/chat", {"message": "x"})
    again = wait_for(lambda: (stream := two.client.stream("/agents/assistant/chat", {"message": "x"})).status == 200 and stream)
    again.until("token")
    assert chat(one.client).status == 429
    die(redis, two)
    model.default = costing()
    wait_for(lambda: chat(one.client).status == 200)
    gate.open()
    held.rest()


def test_tls_and_a_database_of_its_own(make_redis, make_sharing):
    redis = make_redis(tls=True)
    server = make_sharing(redis, "AgentChatLimit requests=3/day", f"timeout=5s tls=on ca={redis.root}/ca.pem db=3 prefix=agentchat:mine:")
    up(server)
    assert [server.client.get("/agents").status for _ in range(4)] == [200, 200, 200, 429]
    assert "agentchat:mine:" in redis.cli("-n", "3", "KEYS", "*") and not redis.cli("KEYS", "*")


CAUSES = {
    "gone": ("", "Connection refused"), "hangs": ("", "in time"), "password": ("", "WRONGPASS"),
    "ca": ("tls=on ca={root}/another-ca.pem", "TLS: "), "no tls": ("tls=on ca={root}/ca.pem", "TLS"),
}


@pytest.mark.parametrize("on_error", ["open", "closed"])
@pytest.mark.parametrize("cause", CAUSES)
def test_without_redis(make_redis, make_sharing, cause, on_error):
    options, why = CAUSES[cause]
    redis = make_redis(tls=cause == "ca", start=cause not in ("gone", "no tls"))
    if cause == "no tls":
        import redis_server
        redis_server.certificates(redis.root)
        redis.start()
    if cause == "hangs":
        redis.hang()
    if cause == "password":
        redis.cli("ACL", "SETUSER", "chat", "resetpass", ">another")
    # Short only where the time is what is waited for: else a slow machine would be another cause.
    timeout = "50ms" if cause == "hangs" else "5s"
    server = make_sharing(redis, "AgentChatLimit requests=3/day",
                          f"timeout={timeout} on-error={on_error} {options.format(root=redis.root)}")
    server.expect_log("AC0262", "AC0652")
    server.wait_log("AC0262")
    started = time.monotonic()
    found = [server.client.get("/agents") for _ in range(5)]
    assert time.monotonic() - started < 20
    ready = server.ready()
    assert ready.json["shared"] == {"name": "redis", "state": "failed"}
    if on_error == "open":
        assert [response.status for response in found] == [200, 200, 200, 429, 429] and ready.status == 200
    else:
        assert {response.status for response in found} == {503} and ready.status == 503
        assert {response.json["code"] for response in found} == {"overloaded"}
        assert all(int(response.headers["retry-after"]) >= 1 for response in found)
    line, = re.findall(r".*AC0262.*", server.log())
    assert why in line and "secret" not in server.log()


@pytest.mark.parametrize("how", ["hangs", "killed", "restarted"])
def test_an_outage_of_redis(make_redis, make_sharing, how):
    redis = make_redis()
    server = make_sharing(redis, "AgentChatLimit requests=100/day", "timeout=1s" if how == "hangs" else "timeout=5s")
    server.expect_log("AC0262")
    up(server)
    # A slow machine may have missed the first moment; from here on it is there.
    before = len(re.findall("AC0262", server.log())), len(re.findall("AC0263", server.log()))
    assert server.client.get("/agents").status == 200
    if how == "hangs":
        redis.hang()
    else:
        redis.stop()
    if how == "restarted":
        redis.start()
    for _ in range(10):
        assert server.client.get("/agents").status == 200
    server.wait_log("AC0262", before[0] + 1)
    if how == "hangs":
        redis.go_on()
    elif how == "killed":
        redis.start()
    server.wait_log("AC0263", before[1] + 1)
    up(server)
    left = int(field(server.client.get("/agents"), "requests-day-owner"))
    assert left in ((98, 97) if how == "hangs" else range(85, 100))     # Redis has what it had
    assert len(re.findall("AC0262", server.log())) == before[0] + 1     # not a line for each request


@pytest.mark.parametrize("how", ["replica", "full"])
def test_a_redis_that_takes_no_more_is_away(make_redis, make_sharing, how):
    """As after a failover, when the server behind the connection is another one's copy. It still answers what is only asked."""
    redis = make_redis()
    server = make_sharing(redis, "AgentChatLimit requests=1000/day", "timeout=5s")
    server.expect_log("AC0262")
    up(server)
    away, back = {"replica": (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
                  "full": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"])}[how]
    before = len(re.findall("AC0262", server.log()))
    assert redis.cli(*away) == "OK"
    assert server.client.get("/agents").status == 200           # on-error=open
    server.wait_log("AC0262", before + 1)
    assert server.ready().json["shared"]["state"] == "failed"

    def tries():
        return int(re.search(r"total_connections_received:(\d+)", redis.cli("INFO", "stats"))[1]) - asked()

    def asked(n=[0]):                                           # each look is a connection, too
        n[0] += 1
        return n[0]
    first = tries()
    wait_for(lambda: tries() >= first + 3)
    assert server.ready().json["shared"]["state"] == "failed"
    assert len(re.findall("AC0262", server.log())) == before + 1          # logged once for all attempts
    assert redis.cli(*back) == "OK"
    up(server)
    assert server.client.get("/agents").status == 200


def test_scripts_that_redis_has_forgotten(make_redis, make_sharing):
    redis = make_redis()
    server = make_sharing(redis, "AgentChatLimit requests=3/day")
    up(server)
    assert server.client.get("/agents").status == 200
    redis.cli("SCRIPT", "FLUSH")
    assert [server.client.get("/agents").status for _ in range(3)] == [200, 200, 429]


def test_a_redis_user_without_permissions(make_redis, make_sharing):
    redis = make_redis()
    redis.cli("ACL", "SETUSER", "chat", "-hgetall")
    server = make_sharing(redis, "AgentChatLimit requests=3/day", "timeout=5s on-error=closed")
    server.expect_log("AC0264", "AC0652")
    up(server)
    response = server.client.get("/agents")
    assert (response.status, response.json["code"]) == (503, "overloaded") and "hgetall" not in response.body.decode()
    # As Redis 7 and as Redis 8 word it.
    assert re.search("can't run this command|no permissions to run", server.wait_log(r"AC0264.*")[0])


def test_redis_is_counted(make_redis, make_sharing):
    redis = make_redis()
    server = make_sharing(redis, "AgentChatLimit requests=1000/day\n" + PLACE)
    up(server)
    for _ in range(3):
        assert server.client.get("/agents").status == 200
    found = wait_metrics(server, lambda m: m.sum("agentchat_redis_commands_total", outcome="ok") >= 3, "no command is counted")
    assert found.sum("agentchat_redis_connections") == len(server.children())
    assert found.sum("agentchat_redis_command_duration_seconds_count") >= 3
    server.expect_log("AC0262", "AC0652", "AC0651")
    redis.stop()
    wait_metrics(server, lambda m: m.sum("agentchat_redis_connections") == 0, "the connection is still counted")
