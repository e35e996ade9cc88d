# SPDX-License-Identifier: Apache-2.0
"""The soak of the mirror: three machines that share a scripted Cosmos DB and a Redis, and clients whose runs are on one machine while they
come back, watch and cancel on another. Redis is killed, paused, filled and emptied in turns. Nothing may grow, no answer may lack a
word, and no copy may stay in Redis when its time is over. usage: soak_mirror.py LLMSIM OUTDIR, with

    SOAK_MINUTES (24), SOAK_STREAMS (40), SOAK_WARMUP (minutes; two thirds of the whole), SOAK_BOUND (kB/min by which what malloc gave out
    to the children may grow, 100; five times that for their own memory), BUILD_DIR

Runs that end as interrupted count as wrong, unless the scripted Cosmos DB stood still shortly before: soak_mirror.ends has their errors.
"""
import asyncio
import collections
import csv
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("SOAK_MINUTES", "24")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

import soak                                     # noqa: E402
import soak_clients                             # noqa: E402
from redis_server import Redis                  # noqa: E402
from runs import STORED, wait_until             # noqa: E402
from server import HeldPort, Server             # noqa: E402
from torture_stores import ScriptedCosmos       # noqa: E402

MINUTES = soak.MINUTES
CLIENTS = int(os.environ.get("SOAK_STREAMS", "40"))
WARMUP = float(os.environ.get("SOAK_WARMUP", MINUTES * 2 / 3))
KEEP, RUN_TIMEOUT = 10, 60                      # seconds
REMEMBERED = 3000                               # threads; three for each document of a thread that a child may keep
LEASE = 60                                      # of a run in Cosmos DB
STALL = 5                                       # longer than the module waits for Cosmos DB
CALM, OUTAGE = 15, 6
TUNING = soak.TUNING.replace("StartServers 2\nServerLimit 2", "StartServers 1\nServerLimit 1").replace(
    "MaxRequestWorkers 32", "MaxRequestWorkers 16")
AWAY = ("AC0262", "AC0263", "AC0265", "AC0266", "AC0267")


class Visitor(soak_clients.Visitor):
    """A thread is on one machine, and each time a client follows a run again it is on any."""

    def __init__(self, ports, stop, counts, pace):
        super().__init__(random.choice(ports), stop, counts, pace)
        self.ports = ports

    def elsewhere(self):
        return Visitor(self.ports, self.stop, self.counts, self.pace)

    async def aside(self, method, path, expected):
        other = self.elsewhere()
        try:
            await other.plain(method, path, None, expected)
        finally:
            other.connection.close()

    async def watch(self, run_id):
        other = self.elsewhere()
        try:
            async for _ in other.events(("GET", f"/runs/{run_id}/events", None, []), {"last": 0, "run": None, "end": None}):
                pass
        finally:
            other.connection.close()

    async def events(self, source, seen):
        if source[0] == "GET":
            self.connection.close()
            self.connection.port = random.choice(self.ports)
        if seen["last"] >= STORED:          # the rest came from the store: nothing continues after such an id
            source = (*source[:3], ["Last-Event-ID: 0"])
            seen["last"] = 0
        try:
            async for event in super().events(source, seen):
                yield event
        except AssertionError as problem:   # without Redis another machine has no events: the client begins again
            if ": 410 " not in str(problem):
                raise
            self.counts["events gone"] += 1
            seen["last"] = 0
            await asyncio.sleep(1)

    def take(self, block, seen):
        number = int(block[4:block.index(b"\n")])
        if number >= STORED and seen["last"] < STORED:
            self.counts["from the store"] += 1
            seen["last"] = number - 1
        super().take(block, seen)


class Soak:
    def __init__(self, llmsim, out):
        self.out, self.rows, self.turns = Path(out).resolve(), [], collections.Counter()
        self.out.mkdir(parents=True, exist_ok=True)
        self.port = HeldPort()
        self.sim = subprocess.Popen([llmsim, "--port", str(self.port.number), "--interval-us", "200000", "--jitter", "30", "--ttft-ms",
                                     "300"], stdout=subprocess.DEVNULL)
        self.store, self.redis = ScriptedCosmos(), Redis().start()
        self.store.separate()
        self.heap = soak.Heap(Path(llmsim).with_name("heap_sampler.so"))
        password = self.redis.root / "password"
        password.write_text("secret\n")
        password.chmod(0o644)
        self.machines = []
        for i in range(3):
            directives = soak.DIRECTIVES.format(sim=self.port.number, logs=self.out / f"logs{i}", keep=KEEP) + self.store.directives + \
                f"AgentChatRunTimeout {RUN_TIMEOUT}s\n" \
                f"AgentChatShared redis:127.0.0.1:{self.redis.port} user=chat password=file:{password}\n"
            server = Server(directives, tuning=TUNING, env={**self.store.env, **self.heap.env}).start()
            server.expect_log("AC0503", "AH00484", *AWAY)
            self.machines.append(server)
        for server in self.machines:
            wait_until(lambda client=server.client: client.get("/ready").status == 200, "a machine is not ready")

    # ---- Redis ----
    def fail(self, how):
        self.turns[how] += 1
        if how == "killed":
            self.redis.stop()
        elif how == "paused":
            self.redis.hang()
        elif how == "filled":
            self.redis.cli("CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction")
        else:
            self.redis.cli("FLUSHALL")

    def mend(self, how):
        if how == "killed":
            self.redis.start()
        elif how == "paused":
            self.redis.go_on()
        elif how == "filled":
            self.redis.cli("CONFIG", "SET", "maxmemory", "0")

    async def disturb(self, stop):
        for how in itertools.cycle(("killed", "paused", "filled", "emptied")):
            for seconds, act in ((CALM, self.fail), (OUTAGE, self.mend)):
                try:
                    await asyncio.wait_for(stop.wait(), seconds)
                except asyncio.TimeoutError:
                    pass
                if stop.is_set() and act == self.fail:
                    return
                await asyncio.to_thread(act, how)

    def copies(self):
        """{key: ms left} of what is copied; -1: no end."""
        keys = self.redis.cli("KEYS", "agentchat:ev:*").split()
        return {key: int(self.redis.cli("PTTL", key)) for key in keys}

    # ---- machines ----
    def look(self, began, counts):
        now = round(time.monotonic() - began, 1)
        return [(now, pid, *soak.sample_child(pid, self.heap), 0, counts["live"]) for server in self.machines for pid in server.children()]

    async def fill(self, ports, counts):
        """Fills what is meant to fill: each child keeps documents of threads that it has seen, which would take hours otherwise."""
        async def each(first):
            visitors = [soak_clients.Visitor(port, None, counts, None) for port in ports]
            for i in range(first, REMEMBERED, CLIENTS):
                maker, *readers = visitors[i % 3:] + visitors[:i % 3]
                thread = (await maker.plain("POST", "/threads", {}, (201,)))[1]["id"]
                for reader in readers:
                    await reader.plain("GET", f"/threads/{thread}")
            for visitor in visitors:
                visitor.connection.close()
        began = time.monotonic()
        await asyncio.gather(*(each(i) for i in range(CLIENTS)))
        print(f"{REMEMBERED} threads known to all in {time.monotonic() - began:.0f} s", flush=True)

    async def run(self):
        stop, calm, began = asyncio.Event(), asyncio.Event(), time.monotonic()
        counts, ports = soak_clients.Counts(), [server.port for server in self.machines]

        def pace():
            return f"tokens={random.randrange(20, 120)}"

        async def visit(i):
            await asyncio.sleep(i * 10 / CLIENTS)
            await Visitor(ports, stop, counts, pace).run()
        await self.fill(ports, counts)
        clients = asyncio.gather(*(visit(i) for i in range(CLIENTS)), return_exceptions=True)
        chaos = asyncio.create_task(self.disturb(calm))
        while time.monotonic() - began < MINUTES * 60 and not clients.done():
            await asyncio.sleep(soak.EVERY)
            self.rows += (rows := self.look(began, counts))
            if len(self.rows) % 36 < 3:
                soak.Soak.say(rows)
        calm.set()
        await chaos
        stop.set()
        wrong = [repr(end) for end in await asyncio.wait_for(clients, 180) if end is not None]
        self.stood = await asyncio.to_thread(self.store.control)
        return wrong + await self.afterwards(), counts

    async def afterwards(self):
        """What stays in Redis when all runs have ended: each copy has an end, and after the longest one there is nothing."""
        copies = await asyncio.to_thread(self.copies)
        print(f"{len(copies)} copies when all have ended", flush=True)
        wrong = [f"{key} has no end" for key, left in copies.items() if left == -1]
        end = time.monotonic() + KEEP + 2 * RUN_TIMEOUT
        while (copies := await asyncio.to_thread(self.copies)) and time.monotonic() < end:
            for key in copies:              # notices and inboxes are written again while machines live
                if not key.startswith("agentchat:ev:run_"):
                    self.turns["notices"] = 1
            if not any(key.startswith("agentchat:ev:run_") for key in copies):
                break
            await asyncio.sleep(1)
        return wrong + [f"{key} is left with {left} ms" for key, left in copies.items() if key.startswith("agentchat:ev:run_")]

    # ---- what is said ----
    def unexplained(self, counts):
        """Runs that were interrupted although the scripted Cosmos DB went on in the time of their lease."""
        stalls = [stall for stall in self.stood["stalls"] if stall[1] >= STALL]
        print(f"the scripted Cosmos DB: {self.stood['carried_out']} requests, the slowest {self.stood['slowest'][0]} s "
              f"({self.stood['slowest'][2]}), stalls of {sorted((stall[1] for stall in self.stood['stalls']), reverse=True)[:5]} s")
        with open(self.out / "soak_mirror.ends", "w") as file:
            file.writelines(json.dumps(error) + "\n" for error in counts.errors)
        interrupted = [error for error in counts.errors if error.get("code") == "interrupted"]
        unexplained = [error for error in interrupted
                       if not any(at <= error["at"] <= at + seconds + 2 * LEASE for at, seconds in stalls)]
        print(f"{len(interrupted)} runs interrupted, {len(interrupted) - len(unexplained)} of them after a stall of Cosmos DB")
        return [f"{error['run_id']} was interrupted at event {error['id']}: {error.get('message')}" for error in unexplained]

    def verdict(self, counts):
        with open(self.out / "soak_mirror.csv", "w", newline="") as file:
            csv.writer(file).writerows([soak.COLUMNS, *self.rows])
        late = [row for row in self.rows if row[0] >= WARMUP * 60]
        wrong, live, anon = self.unexplained(counts), 0.0, 0.0
        for pid in dict.fromkeys(row[1] for row in self.rows):
            column = dict(zip(soak.COLUMNS, zip(*(row for row in late if row[1] == pid))))
            given, own = (soak.slope(column["seconds"], column[name]) for name in ("live_kb", "anon_kb"))
            live, anon = live + given, anon + own
            print(f"child {pid}: given out {given:+.1f} kB/min, own memory {own:+.1f}, " + ", ".join(
                f"{name} {min(column[name])} to {max(column[name])}" for name in ("live_kb", "anon_kb", "fds", "threads", "streams")))
            half = len(column["fds"]) // 2
            early, later = (statistics.median(part) for part in (column["fds"][:half], column["fds"][half:]))
            if later > early * 1.05 + 10:
                wrong.append(f"child {pid}: {early:g} descriptors became {later:g}")
        print(f"{MINUTES:g} minutes, the first {WARMUP:g} of them warm-up; {CLIENTS} clients on three machines, {dict(counts)}; "
              f"Redis: {dict(self.turns)}; all children: given out {live:+.1f} kB/min, own memory {anon:+.1f}")
        if len({row[1] for row in self.rows}) != 3:
            wrong.append("a child did not live for the whole time")
        wrong += soak.grown(live, anon)
        if counts["cut"]:
            wrong.append(f"{counts['cut']} answers were cut")
        return wrong

    def end(self):
        wrong = []
        for i, server in enumerate(self.machines):
            server.stop()
            (self.out / f"error{i}.log").write_text(server.log())
            wrong += server.check_log()
            server.remove()
        self.heap.remove()
        self.redis.remove()
        self.store.process.kill()
        self.sim.terminate()
        self.sim.wait()
        self.port.close()
        return wrong


def main():
    run = Soak(*sys.argv[1:3])
    try:
        wrong, counts = asyncio.run(run.run())
        wrong += run.verdict(counts)
    finally:
        lines = run.end()
    wrong += lines
    print("\n".join(["flat" if not wrong else f"{len(wrong)} wrong:", *wrong[:20]]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
