# SPDX-License-Identifier: Apache-2.0
"""The torture test with three machines that share Cosmos DB and Redis: each connection of a client goes to any of them, and
Redis fails, too. TORTURE_SECONDS sets its length (make torture)."""
import os
import random
import threading
import time

import pytest

import redis_server
from redis_server import Redis
from runs import wait_until
from test_torture import MODEL, account, whole
from torture import Chaos, Visitor, troubled
from torture_stores import ScriptedCosmos

pytestmark = pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server; conf/packages.sh check installs it")
SECONDS = float(os.environ.get("TORTURE_SECONDS", "8"))
CLIENTS, THREADS, MACHINES = int(os.environ.get("TORTURE_CLIENTS", "60")), 30, 3
TUNING = "StartServers 2\nServerLimit 16\nThreadsPerChild 16\nMaxRequestWorkers 128\nMinSpareThreads 1\nMaxSpareThreads 64\n" \
         "AsyncRequestWorkerFactor 100\n"


class MachineChaos(Chaos):
    """The same for all machines, and for Redis."""

    def __init__(self, servers, redis, store, stop):
        super().__init__(servers[0], store, stop)
        self.servers, self.redis = servers, redis
        self.n_redis = 0

    def run(self):
        kinds = [self.kill, self.graceful, self.outage, self.restart_redis, self.pause_redis, self.flush_redis]
        while not self.stop.is_set():
            random.shuffle(kinds)
            for kind in kinds:
                if not self.stop.wait(0.5 + random.random()):
                    self.server = random.choice(self.servers)
                    kind()

    def restart_redis(self):
        self.redis.stop()
        self.stop.wait(0.5)
        self.redis.start()
        self.n_redis += 1

    def pause_redis(self):
        self.redis.hang()
        self.stop.wait(3)
        self.redis.go_on()
        self.n_redis += 1

    def flush_redis(self):
        self.redis.cli("FLUSHALL")
        self.n_redis += 1


@pytest.fixture
def redis():
    redis = Redis()
    yield redis.start()
    redis.remove()


@pytest.fixture
def store():
    store = ScriptedCosmos()
    yield store
    store.stop()


def still_active(client, threads):
    return [run["id"] for thread in threads for run in whole(client, f"/threads/{thread}/runs")
            if run["status"] in ("queued", "in_progress")]


def test_torture_of_three_machines(redis, make_server, model, store):
    password = redis.root / "password"
    password.write_text("secret\n")
    password.chmod(0o644)
    text = MODEL.format(provider="openai", url=model.url, timeout=store.timeout) + store.directives + \
        f"AgentChatShared redis:127.0.0.1:{redis.port} user=chat password=file:{password}\n"
    servers = [make_server(text, standard=False, tuning=TUNING, env=store.env) for _ in range(MACHINES)]
    for server in servers:
        server.expect_log(r"AC0\d\d\d", "AH00484", "AH00485", "AH10503", "scoreboard is full", "long lost child came home",
                          "AH0004[56]")
    store.separate()
    threads = [servers[0].client.thread() for _ in range(THREADS)]
    model.default = troubled(0.2)
    stop = threading.Event()
    store.start()
    clients = [server.client for server in servers]
    visitors = [Visitor(i, clients, threads[i % THREADS], stop) for i in range(CLIENTS)]
    chaos = MachineChaos(servers, redis, store, stop)
    for worker in [*visitors, chaos]:
        worker.start()
    time.sleep(SECONDS)                 # how long it lasts is what the test is about
    stop.set()
    chaos.join(60)
    store.calm()
    model.default = troubled(0)
    deadline = time.monotonic() + 120
    for visitor in visitors:
        visitor.join(max(0.1, deadline - time.monotonic()))
    alive = sum(visitor.is_alive() for visitor in visitors)
    for server in servers:              # a child takes over what dead ones left when it starts
        server.stop()
        server.start()
    wait_until(lambda: not still_active(clients[0], threads), "runs are left over", 150)
    wrong, counts = account(clients[0], threads, visitors)
    in_part = sum(seen.in_part for visitor in visitors for seen in visitor.messages)
    gone = sum(seen.n_gone for visitor in visitors for seen in visitor.messages)
    print(f"\nthree machines: {dict(counts)}; {gone} times 410, {in_part} errors without all before; {chaos.n_killed} "
          f"children killed, {chaos.n_graceful} graceful restarts, {chaos.n_outages} times without a store, {chaos.n_redis} "
          f"failures of Redis; {store.summary()}")
    assert not wrong and not alive, f"{len(wrong)} wrong, {alive} clients without an end:\n" + "\n".join(wrong[:20])
    assert counts["accepted"] > 20 and counts["connections lost"] > 20
