# SPDX-License-Identifier: Apache-2.0
"""Streams over HTTP/2, where each holds a thread: how many there may be, and that other requests of the same client are answered."""
import json
import subprocess

import pytest

from model_server import Gate
from runs import holding, wait_until
from test_delivery import certificate, tls_server  # noqa: F401: a fixture

MODULES = ("ssl", "socache_shmcb", "http2")
PROTOCOLS = "Protocols h2 http/1.1"
OVERLOADED = "AC0652"


class Curl:
    """Requests over one HTTP/2 connection, all at once; the output of each is in a file."""

    def __init__(self, server, certificate, directory, requests):
        self.files = [directory / f"answer-{i}" for i in range(len(requests))]
        command = ["curl", "-sS", "-N", "-Z", "--parallel-max", "100"]
        for i, ((path, body), file) in enumerate(zip(requests, self.files)):
            command += (["--next"] if i else []) + ["--http2", "--cacert", str(certificate / "cert.pem"), "--resolve",
                                                    f"localhost:{server.port}:127.0.0.1", "-N", "-sS", "-o", str(file)]
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body else []
            command += [f"https://localhost:{server.port}{path}"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def answers(self):
        return [file.read_text() if file.exists() else "" for file in self.files]

    def wait(self):
        complaint = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, complaint

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


CHAT, HEALTH = ("/api/agents/assistant/chat", {"message": "x"}), ("/api/health", None)


@pytest.fixture
def ask(certificate, tmp_path):  # noqa: F811
    made = []

    def ask(server, *requests):
        directory = tmp_path / str(len(made))
        directory.mkdir()
        made.append(Curl(server, certificate, directory, requests))
        return made[-1]
    yield ask
    for curl in made:
        curl.kill()


def begun(curl):
    return sum('"type":"token"' in text for text in curl.answers())


def refused(curl):
    return sum('"code":"overloaded"' in text for text in curl.answers())


def test_a_request_beside_streams_is_answered_at_once(make_server, certificate, ask, model):  # noqa: F811
    """mod_http2 works on six requests of a new connection at a time; streams leave one of these places."""
    server = tls_server(make_server, certificate, PROTOCOLS, MODULES)
    server.expect_log("AC0664", OVERLOADED)
    gate = Gate()
    model.default = holding(gate)
    curl = ask(server, *[CHAT] * 9, HEALTH)
    wait_until(lambda: "healthy" in curl.answers()[-1], "the request waits for the streams")
    wait_until(lambda: begun(curl) + refused(curl) == 9, "a stream waits for another one")
    n = begun(curl)
    assert n >= 5 and "HTTP/2 connection" in next(text for text in curl.answers() if "overloaded" in text), curl.answers()
    gate.open()
    curl.wait()
    assert sum('"type":"done"' in text for text in curl.answers()) == n


@pytest.mark.parametrize("limit,n", [("AgentChatMaxHTTP2Streams 3", 3), ("AgentChatMaxBlockingStreams 2", 2), ("", 4)])
def test_how_many_there_may_be(make_server, certificate, ask, model, limit, n):  # noqa: F811
    """Each over a connection of its own, so that each holds a thread of both kinds."""
    server = tls_server(make_server, certificate, f"{PROTOCOLS}\n{limit}", MODULES)
    server.expect_log("AC0664", OVERLOADED)
    gate = Gate()
    model.default = holding(gate)
    curls = []
    for i in range(4):
        curls.append(ask(server, CHAT))
        wait_until(lambda: begun(curls[-1]) + refused(curls[-1]) == 1, "no answer")
    assert [begun(curl) for curl in curls] == [int(i < n) for i in range(4)]
    gate.open()
    for curl in curls:
        curl.wait()
    # What ended has left its place.
    again = ask(server, CHAT)
    again.wait()
    assert '"type":"done"' in again.answers()[0]


def test_streams_of_both_kinds_have_limits_of_their_own(make_server, certificate, ask, model):  # noqa: F811
    server = tls_server(make_server, certificate, f"{PROTOCOLS}\nAgentChatMaxHTTP2Streams 2\nAgentChatMaxBlockingStreams 1", MODULES)
    server.expect_log("AC0664", OVERLOADED)
    gate = Gate()
    model.default = holding(gate)
    curl = ask(server, CHAT, CHAT, CHAT)            # one connection, one thread of the MPM
    wait_until(lambda: begun(curl) + refused(curl) == 3, "no answer")
    assert begun(curl) == 2 and refused(curl) == 1
    other = ask(server, CHAT)
    wait_until(lambda: begun(other) + refused(other) == 1, "no answer")
    assert refused(other) == 1
    gate.open()
    curl.wait()


@pytest.mark.parametrize("protocols,modules,mpm,warned", [
    (PROTOCOLS, MODULES, "event", True), ("Protocols http/1.1", MODULES, "event", False), ("", MODULES, "event", False),
    (PROTOCOLS, MODULES, "worker", False),
    (f"<VirtualHost *>\nServerName two.example\n{PROTOCOLS}\n</VirtualHost>", MODULES, "event", True)])
def test_a_warning_where_it_is_offered(make_server, protocols, modules, mpm, warned):
    server = make_server(protocols + "\n", start=False, modules=modules, mpm=mpm)
    server.expect_log("AC0664", "AH01873")
    server.start()
    lines = [line for line in server.log().splitlines() if "AC0664" in line]
    assert len(lines) == warned
    if "two.example" in protocols:
        assert "(two.example:" in lines[0]
    # As for 16 threads, of which 12 may hold connections, and mod_http2's 24.
    assert not warned or ("at most 18 in each child" in lines[0] and "at most 12;" in lines[0])
