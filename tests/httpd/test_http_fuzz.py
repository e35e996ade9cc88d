# SPDX-License-Identifier: Apache-2.0
"""Thousands of malformed requests of several clients at once: no child dies, no sanitizer reports an error, every
answer is HTTP and documented, and the server still works afterwards. make http-fuzz has the long form."""
import collections
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from key_file import MODULES, KeyFile
from model_server import DONE, finish, head, token, tool_call, usage
from server import AGENT, BUILD, MODEL, sanitizer
from torture_stores import ScriptedCosmos, Sqlite

HERE = Path(__file__).parent
REQUESTS = int(os.environ.get("HTTP_FUZZ_REQUESTS", "2000"))
SECONDS = float(os.environ.get("HTTP_FUZZ_SECONDS", "60"))
SEED = os.environ.get("SEED", "1")
CASE = os.environ.get("CASE")
LONG = "HTTP_FUZZ_REQUESTS" in os.environ or bool(CASE)
CLIENTS = 6
GROWTH = 96 * 1024      # kB that a child may have more at the end than after its first tenth

TUNING = "StartServers 2\nServerLimit 2\nThreadsPerChild 16\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n" \
         "AsyncRequestWorkerFactor 100\nMaxKeepAliveRequests 0\nKeepAliveTimeout 300\nTimeout 60\n"
MOUNTS = """
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatOpenAI on
    AgentChatUI on
    AgentChatMCPServer on
    AgentChatAGUI on
    AgentChatCORSOrigin https://app.example
</Location>
<Location "/limited">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatLimit requests=30/s streams=4
</Location>
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AgentChatKeys "{keys}"
    Require valid-user
    AgentChatCORSOrigin https://app.example
    AgentChatCORSCredentials on
</Location>
"""
# httpd's own messages about malformed requests, and about long paths outside of our mounts.
OF_BROKEN_REQUESTS = [r"AH10244: invalid URI path", r"AH00135: Invalid method",
                      r"(AH00036: access to|AH00127: Cannot map \S+) /(?!api/|keys/|limited/)", r"AC0663"]
LINE = re.compile(rb"\[[^\]]+\] \[[\w-]*:\w+\] \[pid \d+(:tid \d+)?\] [\x20-\x7e]*")


def echo(request):
    """The user's text comes back: as tokens, and now and then as a tool's arguments and in the tool's error about
    them."""
    last = request.last
    text = last["content"] if isinstance(last["content"], str) else "x"
    yield head()
    if last["role"] == "user" and len(text) % 4 == 1:
        yield tool_call(0, "call_" + text[:20], "calculate", json.dumps({"expression": text[:500]}))
        yield finish("tool_calls")
    else:
        for at in range(0, min(len(text), 2000), 300):
            yield token(text[at:at + 300])
        yield token("!")
        yield finish()
    yield usage()
    yield DONE


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def send(server, keys, first, last):
    """Runs the cases of all clients: (sent, counts, silent, failures)."""
    until, clients = time.time() + SECONDS, []
    for n in range(CLIENTS):
        orders = {"port": server.port, "keys": keys, "seed": SEED, "first": first + n, "last": last, "step": CLIENTS, "until": until}
        clients.append(subprocess.Popen([sys.executable, HERE / "http_fuzzer.py", json.dumps(orders)], stdout=subprocess.PIPE, text=True))
    sent, counts, silent, failures = 0, collections.Counter(), 0, []
    for client in clients:
        account = json.loads(client.communicate()[0])
        sent, silent = sent + account["sent"], silent + account["silent"]
        counts.update(account["counts"])
        failures += account["failures"]
    return sent, counts, silent, failures


def described(failure):
    path = BUILD / f"http-fuzz-{SEED}-{failure['case']}.request"
    path.write_bytes(bytes.fromhex(failure["raw"]))
    return (f"case {failure['case']} ({failure['name']}): {failure['error']}\n  make http-fuzz SEED={SEED} CASE={failure['case']}\n"
            f"  {path}: {bytes.fromhex(failure['raw'])[:1500]!r}\n  {failure['where']}")


def odd_lines(server):
    """Lines of the log that httpd did not write: an input made several lines of one, or was not escaped."""
    raw = (server.root / "logs/error.log").read_bytes()
    return [line[:300] for line in raw.split(b"\n") if line and not LINE.fullmatch(line)]


def fuzz(server, keys):
    children, report = sorted(server.children()), []
    first = int(CASE) if CASE else 0
    bounds = [first, first + 1] if CASE else [0, REQUESTS // 10, REQUESTS]
    before, total, silent = {}, collections.Counter(), 0
    for begin, end in zip(bounds, bounds[1:]):
        before = {pid: resident(pid) for pid in children}
        sent, counts, quiet, failures = send(server, keys, begin, end)
        total.update(counts)
        total["requests"] += sent
        silent += quiet
        assert not failures, "\n".join(map(described, failures))
        assert sorted(server.children()) == children, "a child has gone:\n" + server.log()[-3000:]
    for pid in children:
        grown = resident(pid) - before[pid]
        report.append(f"{grown:+} kB")
        assert grown < GROWTH, f"child {pid} has grown from {before[pid]} by {grown} kB"
    assert not (odd := odd_lines(server)), f"lines that are no lines: {odd[:5]}"
    n = total.pop("requests")
    print(f"\nseed {SEED}: {n} requests; {dict(sorted(total.items()))}; {silent} without an answer; memory {', '.join(report)}")
    return n, total


@pytest.mark.parametrize("kind", [Sqlite, ScriptedCosmos] if LONG else [Sqlite], ids=lambda kind: kind.name)
def test_http_fuzz(make_server, model, kind):
    store = kind()
    store.chaos = {}
    env = {**store.env, **sanitizer()}
    if "ASAN_OPTIONS" in env:
        env["ASAN_OPTIONS"] += ":quarantine_size_mb=16"     # freed memory that it keeps would count as growth
    server = make_server(start=False, standard=False, modules=MODULES, tuning=TUNING, env=env)
    key_file = KeyFile(server.root / "keys")
    keys = [key_file.make("ann-1", "owner=ann"), key_file.make("root-1", "owner=root", "roles=admin")]
    server.write(store.directives + MODEL.format(url=model.url) + AGENT + MOUNTS.format(keys=key_file.path))
    model.default = echo
    try:
        store.start()
        server.start()
        server.wait_children(2)
        server.expect_log(*OF_BROKEN_REQUESTS)
        began = time.monotonic()
        n, counts = fuzz(server, keys)
        assert CASE or time.monotonic() - began >= SECONDS or n >= REQUESTS
        # Enough of them have come through to be of use.
        assert CASE or sum(counts[status] for status in ("200", "201", "202", "204")) > n / 10
        assert server.client.get("/health").status == 200
    finally:
        server.stop()
        store.stop()
