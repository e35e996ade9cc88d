# SPDX-License-Identifier: Apache-2.0
"""Clients that close their side of the connection after the request, and continue to read. The socket of a
disconnected client looks the same until something is sent to it, so the server sends something; heartbeats are
off here, so each one is such a probe."""
import os
import socket
import ssl

import pytest

from client import Stream
from model_server import Gate
from runs import events_of, holding, wait_asleep, wait_until
from test_delivery import certificate, run_status, start, tls_server    # noqa: F401: a fixture

MPMS = pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
QUIET = '<Location "/api">\n AgentChatHeartbeat 1h\n</Location>\n'
CHAT = ("POST", "/api/agents/assistant/chat")


def end_of(stream):
    return [e.type for e in stream.rest() if e.type != "heartbeat"]


def half_close(connection):
    """Below TLS, too."""
    with socket.socket(fileno=os.dup(connection.socket.fileno())) as tcp:
        tcp.shutdown(socket.SHUT_WR)


def half_close_in(stream):
    """And the server has noticed it."""
    half_close(stream.connection)
    assert stream.next().type == "heartbeat"


@MPMS
@pytest.mark.parametrize("method, path, body", [
    (*CHAT, {"message": "x"}), ("GET", "/api/agent/stream?message=x", None), (*CHAT, {"message": "x", "stream": False})])
def test_right_after_the_request(make_server, model, mpm, method, path, body):
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    model.play(holding(gate))
    with server.client.connect() as connection:
        connection.send(method, path, body)
        half_close(connection)
        gate.wait_reached()
        gate.open()
        if body and "stream" in body:
            assert connection.receive().json["content"] == "onetwo"
        else:
            stream = Stream(connection)
            stream.rest()
            assert all(part in stream.raw for part in (b'"one"', b'"two"', b"done"))
        assert not connection.socket.recv(1)
    (line,) = server.wait_access(1)
    assert line[0] == "200" and line[3] != "X"


@MPMS
def test_in_the_middle_of_a_stream(make_server, model, mpm):
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    other = events_of(server.client, first["run_id"])
    other.until("token")
    half_close_in(stream)
    half_close_in(other)
    gate.open()
    assert end_of(stream) == ["token", "done"] and end_of(other) == ["token", "done"]
    stream.close()
    other.close()


def test_over_tls(make_server, certificate, model):     # noqa: F811
    server = tls_server(make_server, certificate, QUIET)
    gate = Gate()
    model.play(holding(gate))
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"}, tls=context)
    stream.until("token")
    half_close_in(stream)
    gate.open()
    assert end_of(stream) == ["token", "done"]
    stream.close()


@MPMS
def test_while_a_json_answer_is_made(make_server, model, mpm):
    """The question has no place in its body, and its status is not known yet."""
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    model.play(holding(gate))
    with server.client.connect() as connection:
        connection.send(*CHAT, {"message": "x", "stream": False})
        gate.wait_reached()
        half_close(connection)
        assert (connection.line(), connection.line()) == (b"HTTP/1.1 100 Continue", b"")
        gate.open()
        response = connection.receive()
        assert response.status == 200 and response.json["content"] == "onetwo"


@MPMS
def test_a_disconnected_client_of_a_json_answer_is_noticed(make_server, model, mpm):
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    model.play(holding(gate))
    with server.client.connect() as connection:
        connection.send(*CHAT, {"message": "x", "stream": False})
        gate.wait_reached()
    (line,) = server.wait_access(1)     # while the model is still at work
    assert line[3] == "X"
    gate.open()
    (thread,) = [t["id"] for t in wait_until(lambda: server.client.get("/threads").json["data"], "no thread")]
    wait_until(lambda: len(server.client.messages(thread)) == 2, "the run does not end")


@MPMS
def test_a_half_closed_client_that_disconnects_is_noticed(make_server, model, mpm):
    server = make_server('<Location "/api">\n AgentChatHeartbeat 1s\n</Location>\n', mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    half_close_in(stream)
    stream.close()
    (line,) = server.wait_access(1)
    assert line[3] == "X" and run_status(server.client, first["run_id"]) == "in_progress"
    gate.open()
    wait_until(lambda: run_status(server.client, first["run_id"]) == "completed", "the run does not end")


@MPMS
def test_a_request_sent_behind_the_stream_before_the_end(make_server, model, mpm):
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    stream, _ = start(server.client, gate, model)
    stream.connection.send("GET", "/api/health")
    half_close_in(stream)
    gate.open()
    assert end_of(stream) == ["token", "done"]
    assert stream.connection.receive().json["status"] == "healthy"
    stream.close()


@MPMS
def test_a_stop(make_server, model, mpm):
    server = make_server(QUIET, mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    half_close_in(stream)
    wait_asleep(server)
    server.stop()
    events = stream.rest()
    assert events[-1].type == "error" and events[-1].json["code"] == "stopping"
    gate.open()
    server.start()
    assert run_status(server.client, first["run_id"]) == "interrupted"


@MPMS
def test_a_graceful_restart(make_server, model, mpm):
    # The worker MPM has no place for a new child beside an old one but within MaxRequestWorkers.
    tuning = "StartServers 1\nThreadsPerChild 16\nMaxRequestWorkers 64\nMinSpareThreads 1\nMaxSpareThreads 64\n"
    server = make_server(QUIET, mpm=mpm, tuning=tuning if mpm == "worker" else "")
    gate = Gate()
    stream, _ = start(server.client, gate, model)
    half_close_in(stream)
    old = server.children()
    server.graceful()
    wait_until(lambda: set(server.children()) - set(old), "no new child")
    gate.open()
    assert end_of(stream) == ["token", "done"]
    stream.close()
    server.wait_gone(old)


def test_as_many_as_may_hold_a_thread(make_server, model):
    """A parked stream needs a descriptor for this; without a free one its client counts as disconnected, and its run
    continues."""
    server = make_server(QUIET + "AgentChatMaxBlockingStreams 1\n")
    gates = [Gate(), Gate(), Gate()]
    one, two, three = [start(server.client, gate, model) for gate in gates]
    half_close_in(one[0])
    half_close(two[0].connection)
    (line,) = server.wait_access(1)
    assert line[3] == "X" and run_status(server.client, two[1]["run_id"]) == "in_progress"
    gates[0].open()
    assert end_of(one[0]) == ["token", "done"]
    server.wait_access(3)               # with the question for the run; that thread is free again
    half_close_in(three[0])
    for gate in gates[1:]:
        gate.open()
    assert end_of(three[0]) == ["token", "done"]
    wait_until(lambda: run_status(server.client, two[1]["run_id"]) == "completed", "the run does not end")


def test_many_that_go_at_once(make_server, model):
    """More than the server has threads, which are free again afterwards."""
    server = make_server(QUIET)
    gate = Gate()
    model.default = holding(gate)
    streams = [server.client.stream("/agents/assistant/chat", {"message": "x"}) for _ in range(40)]
    for stream in streams:
        stream.until("token")
    for stream in streams:
        stream.close()
    assert [line[3] for line in server.wait_access(40)] == ["X"] * 40
    gate.open()
    server.expect_log("AH00484")        # for a moment each thread has one of them in hand
    assert end_of(server.client.stream("/agents/assistant/chat", {"message": "x"}))[-1] == "done"
