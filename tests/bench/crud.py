# SPDX-License-Identifier: Apache-2.0
"""Measures the time of one API call with each store, one call after the other on one connection. The Cosmos DB is the
scripted one of the tests, and reports its own share; the rest of a call's time is the module's and the network's.

usage: crud.py BUILD OUTDIR [cache]; QUICK=1 for fewer calls. cache: only turns with AgentChatCache and without"""
import json
import os
import pathlib
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent / "httpd"
sys.path.insert(0, str(TESTS))
from client import Connection           # noqa: E402
from cosmos_server import KEY           # noqa: E402
from server import HTTPD, MODULES, HeldPort    # noqa: E402

QUICK = os.environ.get("QUICK") == "1"
CALLS, WARM = (100, 20) if QUICK else (600, 100)
RIG_CPU, SERVER_CPU = (int(os.environ.get(name, n)) for name, n in (("RIG_CPU", 0), ("SERVER_CPU", 1)))
SIM = "[[sim tokens=2 interval-us=0]]"
WAIT = 20


def pinned(cpu):
    return lambda: os.sched_setaffinity(0, {cpu % (os.cpu_count() or 1)})


def await_port(port):
    end = time.monotonic() + WAIT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end, f"nothing listens on port {port}"
            time.sleep(0.02)


class Cosmos:
    """The scripted one, as a process of its own."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, str(TESTS / "cosmos_server.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, preexec_fn=pinned(RIG_CPU))
        self.port = int(self.process.stdout.readline())
        self.connection = Connection(self.port)

    def tell(self, order=None):
        """(requests so far, seconds in its hands)"""
        answer = self.connection.request("POST", "/_control", order or {}).json
        return answer["carried_out"], answer["busy"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(WAIT)


class Httpd:
    """One server with one child, as in module.conf."""

    def __init__(self, build, store, cache="off"):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="agentchat-crud-", dir=os.environ.get("BENCH_TMP", "/var/tmp")))
        self.root.chmod(0o755)
        (self.root / "state").mkdir()
        account = ""
        if os.geteuid() == 0:
            user = next(u for u in pwd.getpwall() if u.pw_name in ("www-data", "apache"))
            account = f"User {user.pw_name}\nGroup {user.pw_name}\n"
            os.chown(self.root / "state", user.pw_uid, user.pw_gid)
        (self.root / "account.conf").write_text(account)
        shutil.copy(build / "mod_agentchat.so", self.root)
        self.ports = HeldPort(), HeldPort()
        self.port, self.sim = (port.number for port in self.ports)
        self.model = subprocess.Popen([str(build / "bench/llmsim"), "--port", str(self.sim)], preexec_fn=pinned(RIG_CPU),
                                      stderr=subprocess.DEVNULL)
        environment = {**os.environ, "DIR": str(self.root), "PORT": str(self.port), "SIM": str(self.sim), "FRONT": "0", "THREADS": "1",
                       "MODULES": str(MODULES), "STORE": store.format(dir=self.root), "COSMOS_KEY": KEY, "CACHE": cache}
        self.environment = environment
        self.start()

    def start(self, store=None):
        """Also again, with another store."""
        if store:
            self.environment["STORE"] = store.format(dir=self.root)
        self.process = subprocess.Popen([HTTPD, "-f", str(HERE / "module.conf"), "-DFOREGROUND", "-DCACHED"], env=self.environment,
                                        preexec_fn=pinned(SERVER_CPU), start_new_session=True)
        await_port(self.port)
        end = time.monotonic() + WAIT
        while not self.child() or Connection(self.port).request("GET", "/api/ready", headers={"Connection": "close"}).status != 200:
            assert time.monotonic() < end, (self.root / "error.log").read_text()
            time.sleep(0.1)

    def child(self):
        pids = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return pids[0] if pids else None

    def cpu(self):
        """Seconds on a CPU of all threads of the child."""
        threads = pathlib.Path(f"/proc/{self.child()}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def end(self):
        self.process.terminate()
        self.process.wait(WAIT)

    def stop(self):
        self.end()
        self.model.terminate()
        self.model.wait(WAIT)
        shutil.rmtree(self.root, ignore_errors=True)


class Rig:
    def __init__(self, httpd, cosmos):
        self.httpd, self.cosmos, self.connection = httpd, cosmos, Connection(httpd.port)

    def ask(self, method, path, body=None, wanted=(200, 201)):
        response = self.connection.request(method, "/api" + path, body)
        assert response.status in wanted, response
        return response

    def measure(self, calls, n, warm=WARM):
        """calls: an iterator of (method, path, body). Medians of a call's time, of that part of it for which Cosmos DB had it and of
        the rest; its mean CPU time (all in us) and requests."""
        self.connection = Connection(self.httpd.port)           # the last one may have been idle for too long
        for _ in range(warm):
            self.ask(*next(calls))
        cpu, times, inside, n_requests = self.httpd.cpu(), [], [], 0
        for _ in range(n):
            call = next(calls)
            n_before, busy = self.cosmos.tell() if self.cosmos else (0, 0)
            began = time.perf_counter()
            self.ask(*call)
            times.append(time.perf_counter() - began)
            n_after, busy_after = self.cosmos.tell() if self.cosmos else (0, 0)
            inside.append(busy_after - busy)
            n_requests += n_after - n_before
        cpu = self.httpd.cpu() - cpu
        return {"p50_us": statistics.median(times) * 1e6, "cosmos_us": statistics.median(inside) * 1e6,
                "own_us": statistics.median(a - b for a, b in zip(times, inside)) * 1e6, "cpu_us": cpu / n * 1e6,
                "requests": n_requests / n}


def forever(make):
    i = 0
    while True:
        yield make(i)
        i += 1


def run(httpd, cosmos):
    rig, found = Rig(httpd, cosmos), {}
    made = [rig.ask("POST", "/threads", {"metadata": {"user_id": "u"}}).json["id"] for _ in range(2 * (CALLS + WARM) + 40)]
    talk = made.pop()
    for i in range(10):
        rig.ask("POST", f"/threads/{talk}/messages", {"content": f"question {i} {SIM}", "stream": False})
    fresh = iter(made)
    found["create thread"] = rig.measure(forever(lambda i: ("POST", "/threads", {"metadata": {"user_id": f"user_{i}"}})), CALLS)
    found["get thread"] = rig.measure(forever(lambda i: ("GET", f"/threads/{made[i % 20]}")), CALLS)
    found["list 20 threads"] = rig.measure(forever(lambda i: ("GET", "/threads?limit=20")), CALLS // 5)
    found["list 20 messages"] = rig.measure(forever(lambda i: ("GET", f"/threads/{talk}/messages")), CALLS)
    found["patch title"] = rig.measure(forever(lambda i: ("PATCH", f"/threads/{talk}", {"title": f"t{i}"})), CALLS)
    found["turn"] = rig.measure(forever(lambda i: ("POST", f"/threads/{next(fresh)}/messages", {"content": SIM, "stream": False})), CALLS)
    found["delete thread"] = rig.measure(forever(lambda i: ("DELETE", f"/threads/{next(fresh)}")), CALLS)
    nothing = rig.measure(forever(lambda i: ("POST", "/agent/stream", {"message": SIM})), CALLS)
    found["turn, its store part"] = {key: max(0.0, value - nothing[key]) for key, value in found["turn"].items()}
    return found


def direct(cosmos):
    """A point read without the module, with nothing signed or checked: the least that any way to this Cosmos DB takes."""
    cosmos.tell({"no_auth": True})
    headers = {"x-ms-version": "2020-07-15", "x-ms-documentdb-partitionkey": '["anonymous"]'}
    connection, times = Connection(cosmos.port), []
    for i in range(CALLS + WARM):
        began = time.perf_counter()
        connection.request("GET", "/dbs/bench0/colls/threads/docs/missing", headers=headers)
        times.append(time.perf_counter() - began)
    cosmos.tell({"no_auth": False})
    return statistics.median(times[WARM:]) * 1e6


def show(found, base):
    print("\ncrud: one call at a time on one connection; medians in µs, of CPU means. In Cosmos: the time for which it had any of\n"
          f"the call's requests; own: the rest, the module and the way to both. A point read without the module takes {base:.0f}.\n")
    heads = ["call", "SQLite p50", "CPU", "Cosmos p50", "CPU", "requests", "in Cosmos", "own", "CPU × SQLite", "own × SQLite"]
    lines = [heads]
    for call, one in found["sqlite"].items():
        other = found["cosmos"][call]
        lines.append([call, f"{one['p50_us']:.0f}", f"{one['cpu_us']:.0f}", f"{other['p50_us']:.0f}", f"{other['cpu_us']:.0f}",
                      f"{other['requests']:.1f}", f"{other['cosmos_us']:.0f}", f"{other['own_us']:.0f}",
                      f"{other['cpu_us'] / max(one['cpu_us'], 1):.2f}", f"{other['own_us'] / max(one['own_us'], 1):.2f}"])
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        print("  " + line[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(line[1:], widths[1:])))


# ---- the cache ----
PASSES, TALKS, LENGTH = (2, 4, 20) if QUICK else (20, 10, 40)
SQLITE, COSMOS = "sqlite:{dir}/state/bench.db sync=full", "cosmos:http://127.0.0.1:%d database=bench%d create=on credential=env:COSMOS_KEY"
CACHES = [("SQLite", "off"), ("SQLite", "memory"), ("Cosmos", "off"), ("Cosmos", "memory"), ("Cosmos", "memory check=off")]


def talks(rig):
    """Threads of LENGTH messages, each of some 400 bytes."""
    words = "a question as people ask them, with some words around it " * 7
    made = [rig.ask("POST", "/threads", {}).json["id"] for _ in range(TALKS)]
    for _ in range(LENGTH // 2):
        for thread in made:
            rig.ask("POST", f"/threads/{thread}/messages", {"content": words + SIM, "stream": False})
    return forever(lambda i: ("POST", f"/threads/{made[i % TALKS]}/messages", {"content": words + SIM, "stream": False}))


def cache(build, out):
    """Starts all servers at once and lets them take turns in passes, one server after the other, so that other load
    of the machine affects all of them alike."""
    pinned(RIG_CPU)()
    cosmos, httpds, found = Cosmos(), [], {}
    try:
        for i, (store, what) in enumerate(CACHES):
            httpds.append(Httpd(build, SQLITE if store == "SQLite" else COSMOS % (cosmos.port, i), what))
        rigs = [Rig(httpd, cosmos if store == "Cosmos" else None) for httpd, (store, _) in zip(httpds, CACHES)]
        turns = [talks(rig) for rig in rigs]
        nothing = forever(lambda i: ("POST", "/agent/stream", {"message": SIM}))
        passes = [[rig.measure(calls, TALKS, 0) for rig, calls in zip(rigs, turns)] + [rigs[0].measure(nothing, TALKS, 0)]
                  for _ in range(PASSES)]
    finally:
        for httpd in httpds:
            httpd.stop()
        cosmos.stop()
    middle = [{key: statistics.median(one[i][key] for one in passes) for key in passes[0][i]} for i in range(len(CACHES) + 1)]
    print(f"\ncache: a turn in a thread of {LENGTH} messages and more, medians of {PASSES} passes in µs; its store part: without what a\n"
          f"turn costs that is not stored\n\n  {'store':8}{'AgentChatCache':18}{'turn':>8}{'store part':>12}{'CPU':>8}{'requests':>10}"
          f"{'x off':>7}")
    for i, (store, what) in enumerate(CACHES):
        one, part = middle[i], middle[i]["p50_us"] - middle[-1]["p50_us"]
        base = part if what == "off" else base
        cpu = one["cpu_us"] - middle[-1]["cpu_us"]
        print(f"  {store:8}{what:18}{one['p50_us']:8.0f}{part:12.0f}{cpu:8.0f}{one['requests']:10.1f}{part / base:7.2f}")
        found[f"{store}, {what}"] = {**one, "store_part_us": part}
    out.mkdir(parents=True, exist_ok=True)
    (out / "cache.json").write_text(json.dumps(found, indent=1) + "\n")


def main(build, out):
    pinned(RIG_CPU)()
    found = {}
    httpd = Httpd(build, SQLITE)
    try:
        found["sqlite"] = run(httpd, None)
    finally:
        httpd.stop()
    cosmos = Cosmos()
    try:
        httpd = Httpd(build, COSMOS % (cosmos.port, 0))
        try:
            found["cosmos"], base = run(httpd, cosmos), direct(cosmos)
        finally:
            httpd.stop()
    finally:
        cosmos.stop()
    show(found, base)
    out.mkdir(parents=True, exist_ok=True)
    (out / "crud.json").write_text(json.dumps({"direct_us": base, "calls": CALLS, **found}, indent=1) + "\n")


if __name__ == "__main__":
    (cache if sys.argv[3:] == ["cache"] else main)(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]))
