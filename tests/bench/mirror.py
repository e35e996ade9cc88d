# SPDX-License-Identifier: Apache-2.0
"""Live streams from another machine: the delay of a token, and the CPU of each token with the mirror of event logs and without. Two
servers share a scripted Cosmos DB and a Redis; the model simulator's tokens are the time at which it has sent them.

usage: mirror.py LLMSIM OUTDIR, with MIRROR_TOKENS (300), MIRROR_STREAMS (1,100), MIRROR_ROUNDS (3), BUILD_DIR

For each number of streams, in turns: `off` without the mirror; `on` with it; `followed` with a follower of each run on the other
machine. Delays are from the model's write to the client's read; the difference between the two machines is what the mirror adds."""
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from redis_server import Redis              # noqa: E402
from runs import wait_until                 # noqa: E402
from server import HeldPort, Server         # noqa: E402
from torture_stores import ScriptedCosmos   # noqa: E402

TOKENS = int(os.environ.get("MIRROR_TOKENS", "300"))
STREAMS = [int(n) for n in os.environ.get("MIRROR_STREAMS", "1,100").split(",")]
ROUNDS = int(os.environ.get("MIRROR_ROUNDS", "3"))
INTERVAL = 30000                            # µs between two tokens of a stream
TUNING = "StartServers 1\nServerLimit 1\nThreadsPerChild 64\nMaxRequestWorkers 64\nMinSpareThreads 1\nMaxSpareThreads 64\n" \
         "AsyncRequestWorkerFactor 20\n"
DIRECTIVES = """
LogLevel warn
<AgentChatModel simulated>
    AgentChatProvider openai
    AgentChatEndpoint http://127.0.0.1:{sim}/v1 model=simulated-1
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel simulated
</AgentChatAgent>
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
AgentChatLimit runs=1000000
"""
STAMP = re.compile(rb'"content":"(\d{6,})')


class Client:
    """One stream, read as it comes."""

    def __init__(self):
        self.delays, self.run = [], asyncio.get_running_loop().create_future()

    async def read(self, port, method, path, body=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"{method} /api{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/event-stream\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        rest = b""
        while piece := await reader.read(65536):
            now = time.monotonic_ns()
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if stamp := STAMP.search(line):
                    self.delays.append((now - int(stamp[1])) / 1e6)
                elif not self.run.done() and (run := re.search(rb'"run_id":"(run_\w+)"', line)):
                    self.run.set_result(run[1].decode())
        writer.close()


def processes(server):
    return [server.process.pid, *server.children()] if hasattr(server, "process") and server.process else server.children()


def cpu(pids):
    """Seconds that the threads of these processes have used."""
    return sum(int((task / "schedstat").read_text().split()[0]) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


async def play(servers, n, followed):
    """n runs on the first server, and their followers on the second one. Delays of both."""
    body = json.dumps({"message": "x", "stream": True}).encode()
    own, others = [Client() for _ in range(n)], [Client() for _ in range(n if followed else 0)]
    tasks = [asyncio.create_task(client.read(servers[0].port, "POST", "/agents/assistant/chat", body)) for client in own]
    for client, other in zip(own, others):
        run = await asyncio.wait_for(client.run, 60)
        tasks.append(asyncio.create_task(other.read(servers[1].port, "GET", f"/runs/{run}/events")))
    await asyncio.gather(*tasks)
    return [[delay for client in clients for delay in client.delays] for clients in (own, others)]


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


class Bench:
    def __init__(self, llmsim):
        self.port = HeldPort()
        self.sim = subprocess.Popen([llmsim, "--port", str(self.port.number), "--interval-us", str(INTERVAL), "--jitter", "30",
                                     "--tokens", str(TOKENS), "--stamp"], stdout=subprocess.DEVNULL)
        self.store, self.redis = ScriptedCosmos(), Redis().start()
        self.made = []

    def pair(self, events):
        password = self.redis.root / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        text = DIRECTIVES.format(sim=self.port.number) + self.store.directives + \
            f"AgentChatShared redis:127.0.0.1:{self.redis.port} user=chat password=file:{password} events={events}\n"
        servers = [Server(text, tuning=TUNING, env=self.store.env) for _ in range(2)]
        for server in servers:
            self.made.append(server.start())
        for server in servers:
            wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
        return servers

    def run(self, how, servers, n):
        pids = [*(processes(server) for server in servers), [self.redis.process.pid]]
        before = [cpu(p) for p in pids]
        own, other = asyncio.run(play(servers, n, how == "followed"))
        assert len(own) == n * TOKENS, f"{len(own)} of {n * TOKENS} tokens"
        assert len(other) in (0, n * TOKENS), f"{len(other)} of {n * TOKENS} tokens on the other machine"
        used = [(cpu(p) - b) * 1e6 / (n * TOKENS) for p, b in zip(pids, before)]
        return {"how": how, "streams": n, "owner_p50": percentile(own, .5), "owner_p99": percentile(own, .99),
                "other_p50": percentile(other, .5), "other_p99": percentile(other, .99),
                "owner_cpu": used[0], "other_cpu": used[1], "redis_cpu": used[2]}

    def stop(self):
        for server in self.made:
            server.stop()
            server.remove()
        self.redis.remove()
        self.store.stop()
        self.sim.terminate()
        self.sim.wait()
        self.port.close()


def main(llmsim, out):
    bench, rows = Bench(llmsim), []
    try:
        pairs = {"off": bench.pair("off"), "on": bench.pair("on")}
        for n in STREAMS:
            for _ in range(ROUNDS):
                for how in ("off", "on", "followed"):
                    rows.append(bench.run(how, pairs["off" if how == "off" else "on"], n))
    finally:
        bench.stop()
    names = ("owner_p50", "owner_p99", "other_p50", "other_p99", "owner_cpu", "other_cpu", "redis_cpu")
    lines = ["| streams | mirror | " + " | ".join(names) + " |", "|---:|---|" + "---:|" * len(names)]
    for n in STREAMS:
        for how in ("off", "on", "followed"):
            mine = [row for row in rows if row["how"] == how and row["streams"] == n]
            lines.append(f"| {n} | {how} | " + " | ".join(f"{statistics.median(r[name] for r in mine):.2f}" for name in names) + " |")
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "mirror.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
