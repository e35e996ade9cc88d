# SPDX-License-Identifier: Apache-2.0
"""The soak: many streams for a long time against the model simulator, with clients that leave, come back, cancel, list and delete. Every
ten seconds it looks at each child's memory, descriptors, threads and at the event logs. After a warm-up nothing may grow: the slope by
least squares is below a bound, and descriptors and threads stay in a range. It begins with many short answers, which fill what is
meant to fill: the store's caches. usage: soak.py LLMSIM OUTDIR, with

    SOAK_MINUTES (30), SOAK_STREAMS (500), SOAK_WARMUP (minutes; two thirds of the whole), SOAK_RATE (tokens/s of a stream, 5),
    SOAK_BOUND (kB/min by which what malloc gave out to the children may grow, 100; five times that for their own memory), BUILD_DIR
"""
import asyncio
import csv
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "httpd"))

from runs import event_logs                  # noqa: E402
from server import HeldPort, Server          # noqa: E402
import soak_clients                          # noqa: E402

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
STREAMS = int(os.environ.get("SOAK_STREAMS", "500"))
WARMUP = float(os.environ.get("SOAK_WARMUP", MINUTES * 2 / 3))
RATE = float(os.environ.get("SOAK_RATE", "5"))
BOUND = float(os.environ.get("SOAK_BOUND", "100"))
HASTE = 0.25                                # of the warm-up, with short answers
SCATTER = 5                                 # times the bound, for memory that malloc keeps
EVERY = 10                                  # seconds from sample to sample
KEEP = 30                                   # seconds that an event log stays after its run

TUNING = """
StartServers 2
ServerLimit 2
ThreadsPerChild 16
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
AsyncRequestWorkerFactor 200
ListenBacklog 1024
MaxMemFree 32
"""
DIRECTIVES = """
LogLevel warn
CustomLog /dev/null test
<AgentChatModel simulated>
    AgentChatProvider openai
    AgentChatEndpoint http://127.0.0.1:{sim}/v1 model=simulated-1
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel simulated
    AgentChatInstructions "You are a helpful assistant."
    AgentChatTools calculate
</AgentChatAgent>
AgentChatDefaultAgent assistant
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
AgentChatEventLog "{logs}"
AgentChatEventLogKeep {keep}s
"""
MALLOC = {"MALLOC_ARENA_MAX": "2", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}    # docs/tuning.md
COLUMNS = ("seconds", "child", "rss_kb", "pss_kb", "anon_kb", "live_kb", "shmem_kb", "fds", "threads", "logs", "streams")


class Heap:
    """What malloc has given out in each child: the samples of heap_sampler.c, which is preloaded into httpd."""

    def __init__(self, library):
        self.folder = Path(tempfile.mkdtemp(prefix="agentchat-heap-"))
        self.folder.chmod(0o777)
        shutil.copy(library, self.folder)           # a build tree below a private home cannot be read by the server's user
        self.env = {**MALLOC, "LD_PRELOAD": str(self.folder / library.name), "HEAP_SAMPLES": str(self.folder)}

    def live_kb(self, pid):
        try:
            return int((self.folder / str(pid)).read_text())
        except FileNotFoundError:                   # in its first moments
            return 0

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def sample_child(pid, heap):
    """RSS, PSS, private memory, what malloc gave out, mapped event logs in kB; descriptors, threads."""
    rollup, status = (Path(f"/proc/{pid}/{name}").read_text().splitlines() for name in ("smaps_rollup", "status"))
    figures = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:] + status if line.endswith(" kB")}
    threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
    return (figures["VmRSS"], figures["Pss"], figures["RssAnon"], heap.live_kb(pid), figures["RssShmem"],
            len(os.listdir(f"/proc/{pid}/fd")), threads)


def slope(times, values):
    """Least squares, per minute."""
    return statistics.linear_regression(times, values).slope * 60 if len(times) > 2 else 0.0


def grown(live, anon):
    """kB a minute of all children together. What malloc gave out is a leak if it grows; the whole of a process's own memory also grows
    where a busy machine scatters what is freed, so a wider bound serves for it."""
    wrong = [f"what malloc gave out grows by {live:.1f} kB a minute, more than {BOUND:g}"] if live > BOUND else []
    if anon > BOUND * SCATTER:
        wrong.append(f"the children's own memory grows by {anon:.1f} kB a minute, more than {BOUND * SCATTER:g}")
    return wrong


class Soak:
    def __init__(self, llmsim, out):
        self.out, self.rows = Path(out), []
        self.out.mkdir(parents=True, exist_ok=True)
        self.logs = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else out) / f"agentchat-soak-{os.getpid()}"
        self.sim_port = HeldPort()
        self.sim = subprocess.Popen([llmsim, "--port", str(self.sim_port.number), "--interval-us", str(int(1e6 / RATE)), "--jitter", "30",
                                     "--ttft-ms", "300"])
        self.heap = Heap(Path(llmsim).with_name("heap_sampler.so"))
        self.server = Server(DIRECTIVES.format(sim=self.sim_port.number, logs=self.logs, keep=KEEP), tuning=TUNING,
                             env=self.heap.env).start()
        self.server.wait_children(2)
        self.server.expect_log("AC0503")    # answers that the simulator cuts off on request
        self.server.expect_log("AH00484")   # all threads are busy with the clients that come at once

    def look(self, began, counts):
        n_logs, now = len(event_logs(self.logs)), round(time.monotonic() - began, 1)
        return [(now, pid, *sample_child(pid, self.heap), n_logs, counts["live"]) for pid in self.server.children()]

    async def run(self):
        stop, began = asyncio.Event(), time.monotonic()
        def pace():
            return "tokens=3" if time.monotonic() - began < HASTE * WARMUP * 60 else f"tokens={random.randrange(50, 200)}"
        counts, clients = await soak_clients.visit(self.server.port, STREAMS, stop, pace)
        n_looks = 0
        while time.monotonic() - began < MINUTES * 60 and not clients.done():
            await asyncio.sleep(EVERY)
            rows = self.look(began, counts)
            self.rows += rows
            n_looks += 1
            if n_looks % 12 == 0:
                self.say(rows)
        self.write()
        self.report(counts)                 # before the end, so that a client that is stuck does not keep it back
        stop.set()
        wrong = await asyncio.wait_for(clients, 180)
        wrong += await self.afterwards(began, counts)
        return wrong, counts

    async def afterwards(self, began, counts):
        """Nothing is left over when all clients have closed."""
        end = time.monotonic() + KEEP + 60
        while event_logs(self.logs) and time.monotonic() < end:
            await asyncio.sleep(1)
        n_logs = len(event_logs(self.logs))
        print("when all have gone:", flush=True)
        self.say(self.look(began, counts))
        return [f"{n_logs} event logs are left"] if n_logs else []

    @staticmethod
    def say(rows):
        for row in rows:
            print("  ".join(f"{name}={value}" for name, value in zip(COLUMNS, row)), flush=True)

    def write(self):
        with open(self.out / "soak.csv", "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *self.rows])

    @staticmethod
    def sums(rows):
        """The children's rows of each look as one."""
        looks = {}
        for row in rows:
            looks.setdefault(row[0], []).append(row)
        return [(seconds, "all", *map(sum, list(zip(*look))[2:9]), *look[0][9:]) for seconds, look in looks.items()]

    def children(self):
        """{pid: its columns after the warm-up}, and under "all" the sums, since a connection goes to one child or the other by chance."""
        found = {}
        late = [row for row in self.rows if row[0] >= WARMUP * 60]
        for row in late:
            found.setdefault(row[1], []).append(row)
        found["all"] = self.sums(late)
        return {pid: dict(zip(COLUMNS, zip(*rows))) for pid, rows in found.items()}

    def report(self, counts):
        print(f"{MINUTES:g} minutes, the first {WARMUP:g} of them warm-up; {STREAMS} clients, {dict(counts)}")
        together = self.sums(self.rows)
        fifths = [[row for row in together if n <= row[0] / MINUTES / 12 < n + 1] for n in range(5)]
        print("kB/min of all children together, in each fifth of the time: " + ", ".join(
            f"{slope([row[0] for row in part], [row[4] for row in part]):+.0f}" for part in fifths))
        for pid, column in self.children().items():
            slopes = ", ".join(f"{name[:-3]} {slope(column['seconds'], column[name]):+.1f}"
                               for name in ("live_kb", "anon_kb", "rss_kb", "pss_kb", "shmem_kb"))
            ranges = ", ".join(f"{name} {min(column[name])} to {max(column[name])}"
                               for name in ("live_kb", "anon_kb", "rss_kb", "pss_kb", "fds", "threads", "logs", "streams"))
            print(f"child {pid}: kB/min: {slopes}; fds/min {slope(column['seconds'], column['fds']):+.2f}\n    {ranges}", flush=True)

    def verdict(self, counts):
        """What grew, or was cut."""
        children = self.children()
        together, wrong = children.pop("all"), []
        if len(children) != 2:
            wrong.append(f"{len(children)} children were seen; two should have lived for the whole time")
        wrong += grown(slope(together["seconds"], together["live_kb"]), slope(together["seconds"], together["anon_kb"]))
        half = len(together["fds"]) // 2
        early, late = (statistics.median(part) for part in (together["fds"][:half], together["fds"][half:]))
        if late > early * 1.05 + 10:
            wrong.append(f"{early:g} descriptors became {late:g}")
        for pid, column in children.items():
            if max(column["threads"]) > min(column["threads"]) + 8:
                wrong.append(f"child {pid}: {min(column['threads'])} to {max(column['threads'])} threads")
        if counts["cut"]:
            wrong.append(f"{counts['cut']} answers were cut")
        if counts["events"] < STREAMS:
            wrong.append(f"only {counts['events']} events")
        return wrong

    def end(self):
        self.sim.send_signal(signal.SIGTERM)
        self.sim.wait(10)
        self.server.stop()
        (self.out / "error.log").write_text(self.server.log())
        wrong = self.server.check_log()
        self.server.remove()
        self.heap.remove()
        shutil.rmtree(self.logs, ignore_errors=True)
        return wrong


def main():
    soak = Soak(*sys.argv[1:3])
    try:
        wrong, counts = asyncio.run(soak.run())
        wrong += soak.verdict(counts)
    finally:
        lines = soak.end()
    wrong += lines
    print("\n".join(["flat" if not wrong else f"{len(wrong)} wrong:", *wrong[:20]]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
