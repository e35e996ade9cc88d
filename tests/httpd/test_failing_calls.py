# SPDX-License-Identifier: Apache-2.0
"""System calls of a child fail, one kind after another, as on a machine that is short of everything. Nothing that was acknowledged is
lost, the child lives or is replaced, and the server answers afterwards. strace makes the calls fail: make failing-calls."""
import itertools
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from client import WAIT
from responses_server import Responses, message
from runs import wait_until

pytestmark = [pytest.mark.skipif(not os.environ.get("FAILING_CALLS"), reason="takes minutes: make failing-calls"),
              pytest.mark.skipif(not shutil.which("strace"), reason="no strace: Debian and Fedora have a package of this name")]

CLIENTS, TURNS, TRIES = 2, 6, 4         # at the same time; of each; of each turn
PATIENCE = 10                           # seconds a client waits for an answer before it tries again
TUNING = "StartServers 1\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n" \
         "AsyncRequestWorkerFactor 100\n"
CONFIGURATION = """
<AgentChatModel scripted>
    AgentChatProvider {provider}
    AgentChatEndpoint {url} model=scripted-1
    AgentChatTimeouts connect=2s first-byte=2s idle=2s total=10s
    AgentChatBreaker off
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel scripted
</AgentChatAgent>
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
AgentChatStoreTimeout 2s
"""
# The call, its error, and the n-th of each thread that fails, again and again. httpd itself ends a child whose epoll_ctl() failed in its
# own pollset.
FAULTS = [("epoll_ctl", "ENOMEM", 3), ("epoll_wait", "EINTR", 2), ("poll", "EINTR", 2), ("accept4", "EMFILE", 2), ("socket", "EMFILE", 2),
          ("connect", "ENETUNREACH", 2), ("sendto", "ENOBUFS", 2), ("recvfrom", "ECONNRESET", 2), ("writev", "EPIPE", 2),
          ("write", "EIO", 3), ("openat", "EMFILE", 2), ("pread64", "EIO", 3), ("pwrite64", "ENOSPC", 10), ("fdatasync", "EIO", 2),
          ("fallocate", "ENOSPC", 1), ("fcntl", "ENOLCK", 60), ("mmap", "ENOMEM", 2), ("getrandom", "EAGAIN", 1),
          ("setsockopt", "ENOBUFS", 2)]


def traced(pid, threads):
    """Whether these threads of this process are; also where it has ended."""
    try:
        return all("TracerPid:\t0" not in Path(f"/proc/{pid}/task/{tid}/status").read_text()
                   for tid in threads or os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return not Path(f"/proc/{pid}").exists()


class Faults:
    """Calls of a process, or of some of its threads, fail as long as this is open; n is how many did, once it is closed."""

    def __init__(self, pid, call, error, nth, folder, threads=()):
        self.log, self.said, self.n = folder / "calls", folder / "strace", 0
        with self.said.open("w") as said:
            tasks = [f"-p{tid}" for tid in threads] or ["-f", f"-p{pid}"]
            self.process = subprocess.Popen(["strace", *tasks, "-o", str(self.log), "-e", f"trace={call}",
                                             "-e", "signal=none", "-e", f"inject={call}:error={error}:when={nth}+{nth}"],
                                            stdout=said, stderr=said)
        try:
            wait_until(lambda: self.process.poll() is not None or traced(pid, threads), "strace does not attach")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        if self.process.poll() and not self.log.exists() or "ptrace" in self.said.read_text():
            self.__exit__()
            pytest.skip(f"calls cannot be made to fail here: {self.said.read_text().strip()[:200]}")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WAIT)
        self.n = self.log.read_text(errors="replace").count("(INJECTED)") if self.log.exists() else 0


class Visitor(threading.Thread):
    """Runs some turns in one thread, and repeats unanswered ones in other words. No two messages are equal."""

    def __init__(self, server, name):
        super().__init__(daemon=True)
        self.server, self.prefix, self.thread = server, name, server.client.thread()
        self.said, self.acknowledged, self.numbers = [], [], itertools.count(1)

    def send(self):
        """Whether it was answered."""
        self.said.append(f"{self.prefix} {next(self.numbers)}")
        try:
            with self.server.client.connect() as connection:
                connection.socket.settimeout(PATIENCE)
                response = connection.request("POST", f"/api/threads/{self.thread}/messages",
                                              {"content": self.said[-1], "stream": False}, {"Connection": "close"})
        except (OSError, EOFError, IndexError, ValueError):
            return False                # the child has died, or closed
        if response.status == 200:
            self.acknowledged.append(self.said[-1])
        return response.status == 200

    def run(self):
        for _ in range(TURNS):
            for _ in range(TRIES):
                if self.send():
                    break
                time.sleep(0.05)        # as clients do before they ask again

    def check(self):
        messages = self.server.client.messages(self.thread)
        said = [message["content"] for message in messages if message["role"] == "user"]
        assert [message["seq"] for message in messages] == list(range(1, len(messages) + 1))
        assert len(set(said)) == len(said) and set(said) <= set(self.said)
        for content in self.acknowledged:
            assert content in said, f"'{content}' was acknowledged and is lost"
        for message, after in zip(messages, messages[1:]):
            if message["content"] in self.acknowledged:
                assert after["role"] == "assistant" and after["run_id"] == message["run_id"] and after["content"]


@pytest.mark.parametrize("provider", ["openai", "responses"])
@pytest.mark.parametrize("call, error, nth", FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_call_that_fails(make_server, model, tmp_path, call, error, nth, provider):
    if provider == "responses":
        model.default = Responses().play(message("o", "k"))
    server = make_server(CONFIGURATION.format(url=model.url, provider=provider), standard=False, tuning=TUNING)
    server.expect_log(".")              # each fault has words of its own
    visitors = [Visitor(server, f"visitor {i}") for i in range(CLIENTS)]
    with Faults(server.children()[0], call, error, nth, tmp_path) as faults:
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join(TURNS * TRIES * 2 * PATIENCE)
            assert not visitor.is_alive()
    print(f"{call} {error}: {faults.n} calls failed, {sum(len(v.acknowledged) for v in visitors)} of "
          f"{sum(len(v.said) for v in visitors)} messages were answered")
    assert faults.n, "no call failed"
    server.wait_children(1)
    for visitor in visitors:
        wait_until(visitor.send, f"no answer after {call} had failed")
        visitor.check()
