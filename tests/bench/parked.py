# SPDX-License-Identifier: Apache-2.0
"""Parked streams on one machine: how many there can be, and what they cost. Several children of one httpd, and for every STEP
streams one more load client and model simulator, so that none of them runs out of descriptors or ports.

usage: parked.py BUILD OUTDIR, with PARKED_STREAMS (100000), PARKED_STEP (25000), PARKED_CHILDREN (as many as the descriptors of a
process ask for, two for each stream), PARKED_HEARTBEAT (15s), PARKED_RAMP (streams a second, 400), MODULE

A parked stream has got its first token and waits; its model sends one every five minutes. At each step: resident and shared memory
of the children, what the whole machine has less, CPU of the children while nothing but heartbeats happens, and the delay of tokens of
PROBES other streams, from the model's write to the client's socket. It stops by itself before 70 % of memory is used."""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
STREAMS = int(os.environ.get("PARKED_STREAMS", "100000"))
STEP = int(os.environ.get("PARKED_STEP", "25000"))
STEPS = sorted({1, *range(STEP, STREAMS + 1, STEP), STREAMS})
RAMP = int(os.environ.get("PARKED_RAMP", "400"))
HEARTBEAT = os.environ.get("PARKED_HEARTBEAT", "15s")
PROBES = 100
PORT, SIM = 9200, 9100
PER_CLIENT = 12500                      # streams of one load client and one model
MEMORY_MOST = 0.7                       # of the machine's memory
IDLE_SECONDS = 20


def in_namespace():
    """A network namespace of its own, for its ports and its backlog; not needed where the machine's are large enough."""
    if not os.environ.get("IN_NAMESPACE") and subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execvpe("unshare", ["unshare", "-n", sys.executable, *sys.argv], {**os.environ, "IN_NAMESPACE": "1"})
    if os.environ.get("IN_NAMESPACE"):
        subprocess.run("ip link set lo up && sysctl -q -w net.ipv4.tcp_congestion_control=reno net.core.somaxconn=65535 "
                       "net.ipv4.ip_local_port_range='10000 65535'", shell=True, check=True)


def meminfo(name):
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)


class Parked:
    def __init__(self, build, out):
        self.bin, self.out = Path(build) / "bench", Path(out)
        self.module = os.environ.get("MODULE", f"{build}/mod_agentchat.so")
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        self.files, self.most = files, (files - 400) // 2
        self.children = int(os.environ.get("PARKED_CHILDREN", 0)) or -(-(STREAMS + 4 * PROBES) // self.most) + 1
        self.clients, self.sims, self.server, self.asked = [], [], None, 0
        self.dir = Path(tempfile.mkdtemp(prefix="agentchat-parked.", dir=os.environ.get("BENCH_TMP", "/var/tmp")))

    # ---- the processes ----

    def start(self):
        (self.dir / "state").mkdir()
        self.dir.chmod(0o755)
        account = ""
        if os.getuid() == 0:
            account = "User www-data\nGroup www-data\n"
            shutil.chown(self.dir / "state", "www-data")
        (self.dir / "account.conf").write_text(account)
        shutil.copy(self.module, self.dir / "mod_agentchat.so")
        n_models = len(STEPS) + -(-STREAMS // PER_CLIENT) + 1  # at least one for each client; the last one is the probes'
        (self.dir / "models.conf").write_text("".join(
            f'<AgentChatModel m{i}>\nAgentChatProvider openai\n'
            f'AgentChatEndpoint http://127.0.0.1:{SIM + i}/v1 model=simulated-1\nAgentChatTimeouts idle=10min total=1h\n</AgentChatModel>\n'
            f'<AgentChatAgent a{i}>\nAgentChatModel m{i}\n</AgentChatAgent>\n' for i in range(n_models)))
        for i in range(n_models):
            self.sims.append(subprocess.Popen([self.bin / "llmsim", "--port", str(SIM + i), "--stamp"], stderr=subprocess.DEVNULL))
        workers = self.children * 16
        env = {**os.environ, "DIR": str(self.dir), "PORT": str(PORT), "CHILDREN": str(self.children), "WORKERS": str(workers),
               "FACTOR": str(max(1, self.most // 16 - 1)), "HEARTBEAT": HEARTBEAT,
               "MODULES": next(d for d in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if os.path.isdir(d))}
        binary = shutil.which("apache2") or shutil.which("httpd")
        self.server = subprocess.Popen([binary, "-f", HERE / "parked.conf", "-DFOREGROUND"], env=env)
        for _ in range(600):
            if len(self.pids()) == self.children and self.get(f"http://127.0.0.1:{PORT}/api/health"):
                return
            time.sleep(0.1)
        raise SystemExit("httpd did not start: " + (self.dir / "error.log").read_text()[-2000:])

    def pids(self):
        text = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text()
        return [int(pid) for pid in text.split()]

    @staticmethod
    def get(url):
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        except OSError:
            return None

    def client(self, i, n, tokens, directive, *args):
        body = json.dumps({"message": f"Tell me a story. [[sim tokens={tokens} {directive}]]", "stream": True})
        return [str(self.bin / "ssebench"), "--quiet", "--timeout", "3600", "-b", body, "-c", str(n), "-n", str(n), *args,
                f"http://127.0.0.{i + 1}:{PORT}/api/agents/a{i}/chat"]

    def active(self):
        return sum(json.loads(self.get(f"http://127.0.0.1:{SIM + i}/stats"))["active"] for i in range(len(self.sims) - 1))

    # ---- the figures ----

    def memory(self):
        rss = pss = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                rss += int(line.split()[1]) if line.startswith("Rss:") else 0
                pss += int(line.split()[1]) if line.startswith("Pss:") else 0
        return {"rss": rss, "pss": pss, "used": meminfo("MemTotal") - meminfo("MemAvailable"),
                "slab": meminfo("Slab")}

    def cpu(self):
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def probe(self):
        last = len(self.sims) - 1
        done = subprocess.run(self.client(last, PROBES, 50, "interval-us=100000 jitter=10", "--ramp-ms", "2000", "-d", "60",
                                          "--expect-tokens", "50"), stdout=subprocess.PIPE, check=True)
        result = json.loads(done.stdout)
        return {"relay_p50_us": result["relay_us"]["p50"], "relay_p99_us": result["relay_us"]["p99"],
                "ttft_p50_us": result["ttft_us"]["p50"], "probe_lost": result["lost"] + result["surplus"],
                "probe_bad": sum(result["outcome"].values()) - result["outcome"]["ok"]}

    def figures(self, base, began):
        now, n = self.memory(), self.active()
        before, at = self.cpu(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        idle = (self.cpu() - before) / (time.monotonic() - at)
        each = {f"{k}_kb_each": (now[k] - base[k]) / n for k in now if n}
        row = {"streams": n, "minutes": (time.monotonic() - began) / 60, "idle_cores": idle, **each,
               "used_gb": now["used"] / 1e6, **self.probe()}
        print(" ".join(f"{k}={v:.1f}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
        return row

    def grow(self, wanted):
        """One more load client until so many streams wait. False: it does not get there."""
        while self.asked < wanted:
            n = min(PER_CLIENT, wanted - self.asked)
            args = self.client(len(self.clients), n, 20, "interval-us=300000000", "--ramp-ms", str(n * 1000 // RAMP),
                               "-d", "3600", "--grace", "3600")
            self.clients.append(subprocess.Popen(args, stdout=subprocess.DEVNULL))
            self.asked += n
            seen, since = 0, time.monotonic()
            while (n := self.active()) < self.asked:
                if n > seen:
                    seen, since = n, time.monotonic()
                if time.monotonic() - since > 60 or meminfo("MemAvailable") < (1 - MEMORY_MOST) * meminfo("MemTotal"):
                    print(f"stopped at {n} streams", flush=True)
                    return False
                time.sleep(1)
        return True

    def run(self):
        self.start()
        print(f"{self.children} children, {self.files} descriptors each, {os.cpu_count()} CPUs", flush=True)
        self.probe()                                        # which fills caches
        base, began, rows = self.memory(), time.monotonic(), []
        for wanted in STEPS:
            if wanted == 1:
                rows.append(self.figures(base, began))
                continue
            more = self.grow(wanted)
            rows.append(self.figures(base, began))
            if not more:
                break
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "parked.json").write_text(json.dumps({"children": self.children, "files": self.files, "rows": rows}, indent=1))
        log = (self.dir / "error.log").read_text().splitlines()
        print(f"{len(log)} lines in the error log" + "".join("\n  " + line[:200] for line in log[:10]))

    def stop(self):
        for process in [*self.clients, *self.sims, *([self.server] if self.server else [])]:
            process.terminate()
        for process in [*self.clients, *self.sims, *([self.server] if self.server else [])]:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    in_namespace()
    parked = Parked(sys.argv[1], sys.argv[2])
    try:
        parked.run()
    finally:
        parked.stop()


main()
