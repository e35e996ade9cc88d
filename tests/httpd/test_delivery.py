# SPDX-License-Identifier: Apache-2.0
"""How streams reach clients: vanishing and slow ones, timeouts, restarts, logs; parked and with a thread."""
import os
import signal
import ssl
import subprocess
import threading
import time

import pytest

from model_server import DONE, Gate, answer, finish, token
from runs import events_of, holding, wait_asleep, wait_until
from server import VERSION

EVENT, WORKER, PREFORK = "event", "worker", "prefork"


def run_status(client, run_id):
    return client.get("/runs/" + run_id).json["status"]


def start(client, gate, model, path="/agents/assistant/chat", body=None):
    model.play(holding(gate))
    stream = client.stream(path, body or {"message": "x"})
    first = stream.next().json
    while stream.next().type != "token":
        pass
    return stream, first


@pytest.mark.parametrize("mpm", [EVENT, WORKER, PREFORK])
def test_streams_on_every_mpm(make_server, model, mpm):
    server = make_server(mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    gate.open()
    events = stream.rest()
    assert [e.type for e in events] == ["token", "done"]
    response = stream.connection.request("GET", "/api/runs/" + first["run_id"])     # the connection is kept
    assert response.status == 200 and response.json["status"] == "completed"
    message = server.client.send(first["thread_id"], "again").json
    assert message["content"] == "Hello world" and message["seq"] == 4


@pytest.mark.parametrize("mpm", [EVENT, WORKER, PREFORK])
def test_a_disconnected_client_does_not_stop_the_run(make_server, model, mpm):
    server = make_server('<Location "/api">\n AgentChatHeartbeat 1h\n</Location>\n', mpm=mpm)   # none is needed to notice it
    gate = Gate()
    stream, first = start(server.client, gate, model)
    gate.wait_reached()
    stream.close()
    (line,) = server.wait_access(1)     # logged when its going was noticed
    assert line[0] == "200" and line[3] == "X"
    assert run_status(server.client, first["run_id"]) == "in_progress"
    gate.open()
    wait_until(lambda: run_status(server.client, first["run_id"]) == "completed", "the run does not end")
    assert server.client.messages(first["thread_id"])[1]["content"] == "onetwo"


def test_access_log_lines(make_server, model):
    server = make_server()
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    stream.rest()
    (line,) = server.wait_access(1)
    status, sent, body, connection, _, method, path = line
    assert (status, connection, method, path) == ("200", "+", "POST", "/api/agents/assistant/chat")
    assert int(body) == len(stream.raw)


@pytest.mark.parametrize("mpm", [EVENT, WORKER])
def test_a_timeout_shorter_than_the_stream_is_harmless(make_server, model, mpm):
    server = make_server("Timeout 1\n", mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    whole = []
    other = Gate()
    model.play(holding(other))
    waiter = threading.Thread(target=lambda: whole.append(server.client.post(
        "/agents/assistant/chat", {"message": "as JSON", "stream": False})))
    waiter.start()
    other.wait_reached()
    time.sleep(3.2)                     # three times the Timeout: the only way to show that it has passed
    gate.open()
    other.open()
    assert [e.type for e in stream.rest() if e.type != "heartbeat"] == ["token", "done"]
    waiter.join(20)
    assert whole[0].status == 200 and whole[0].json["content"] == "onetwo"


def test_a_slow_reader_is_dropped_and_others_are_not(make_server, model):
    """Where no log has what waits for it."""
    server = make_server('SendBufferSize 16384\nAgentChatEventLog off\n<Location "/api">\n AgentChatStreamBuffer 64K\n</Location>\n')
    big = "x" * 4000
    begin, gate = Gate(), Gate()

    def flood(_request):
        yield begin
        for _ in range(300):
            yield token(big)
        yield gate
        yield finish()
        yield DONE
    model.play(flood)
    slow = server.client.stream("/agents/assistant/chat", {"message": "x"}, receive_buffer=4096)
    first = slow.next().json            # and then stops reading
    begin.open()
    gate.wait_reached()
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    assert stream.rest()[-1].type == "done"
    lines = server.wait_access(2)
    assert "X" in [line[3] for line in lines]
    gate.open()
    wait_until(lambda: run_status(server.client, first["run_id"]) == "completed", "the run does not end")
    assert len(server.client.messages(first["thread_id"])[1]["content"]) == 300 * len(big)
    slow.close()


def test_a_graceful_restart_cuts_no_stream(make_server, model):
    server = make_server()
    gates = [Gate() for _ in range(8)]
    streams = [start(server.client, gate, model)[0] for gate in gates]
    old = server.children()
    server.graceful()
    wait_until(lambda: set(server.children()) - set(old), "no new child")
    assert server.client.send(server.client.thread(), "new child").status == 200
    for gate in gates:
        gate.open()
    for stream in streams:
        assert [e.type for e in stream.rest() if e.type != "heartbeat"] == ["token", "done"]
        stream.close()
    server.wait_gone(old)


def restarted(server):
    """httpd loses this message in the middle of a restart."""
    server.wait_log("resuming normal operations", 2)


def left_in_an_old_child(make_server, model, mpm, stays=False):
    """A run in a child that is to end gracefully; its client has closed, or stays."""
    # The worker MPM has no place for a new child beside an old one but within MaxRequestWorkers.
    tuning = "StartServers 1\nThreadsPerChild 16\nMaxRequestWorkers 64\nMinSpareThreads 1\nMaxSpareThreads 64\n"
    server = make_server(mpm=mpm, tuning=tuning if mpm == WORKER else "")
    gate = Gate()
    stream, first = start(server.client, gate, model)
    gate.wait_reached()
    if not stays:
        stream.close()
        server.wait_access(1)           # its going was noticed
    old = server.children()
    server.graceful()
    restarted(server)
    wait_until(lambda: set(server.children()) - set(old), "no new child")
    return server, gate, first, old, stream


@pytest.mark.parametrize("mpm", [EVENT, WORKER, PREFORK])
def test_a_graceful_restart_cuts_no_run_whose_client_has_gone(make_server, model, mpm):
    server, gate, first, old, _ = left_in_an_old_child(make_server, model, mpm)
    assert run_status(server.client, first["run_id"]) == "in_progress"
    gate.open()
    wait_until(lambda: run_status(server.client, first["run_id"]) != "in_progress", "the run does not end")
    assert run_status(server.client, first["run_id"]) == "completed"
    server.wait_gone(old)


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("mpm", [EVENT, WORKER, PREFORK])
def test_a_stop_ends_runs_that_a_graceful_restart_let_continue(make_server, model, mpm, stays):
    server, gate, first, _, stream = left_in_an_old_child(make_server, model, mpm, stays)
    server.stop()                       # in time, or the log has a line
    if stays:
        assert stream.until("error")[-1].json["code"] == "stopping"
    gate.open()
    server.start()
    assert run_status(server.client, first["run_id"]) == "interrupted"
    assert server.client.messages(first["thread_id"])[1]["content"] == "one"


def test_graceful_stop_lets_streams_end(make_server, model):
    server = make_server()
    gate = Gate()
    stream, _ = start(server.client, gate, model)
    server.send_signal(signal.SIGWINCH)
    server.wait_log("caught SIGWINCH")
    gate.open()
    assert stream.rest()[-1].type == "done"
    stream.close()
    server.process.wait(20)


@pytest.mark.parametrize("how", ["stop", "restart"])
@pytest.mark.parametrize("mpm", [EVENT, WORKER, PREFORK])
def test_a_stop_stores_partial_answers(make_server, model, mpm, how):
    """And its client is notified, although httpd begins with closing the connections that its threads have."""
    server = make_server(mpm=mpm)
    gate = Gate()
    stream, first = start(server.client, gate, model)
    wait_asleep(server)
    old = server.children()
    if how == "restart":
        server.send_signal(signal.SIGHUP)
        server.wait_gone(old)
        restarted(server)
    server.stop()
    events = [e for e in stream.rest() if e.type != "heartbeat"]
    assert events[-1].type == "error" and events[-1].json["code"] == "stopping"
    assert len(server.access()) == 1        # logged, too
    server.start()
    run = server.client.get("/runs/" + first["run_id"]).json
    assert run["status"] == "interrupted"
    assert server.client.messages(first["thread_id"])[1]["content"] == "one"
    assert server.client.send(first["thread_id"], "go on").status == 200


def test_a_stop_does_not_wait_for_a_client_that_does_not_read(make_server, model):
    """With a thread in the middle of a write: httpd would kill the process, and log it."""
    server = make_server("SendBufferSize 16384\n", mpm=WORKER)
    begin, gate = Gate(), Gate()

    def flood(_request):
        yield begin
        for _ in range(300):
            yield token("x" * 4000)
        yield gate
    model.play(flood)
    slow = server.client.stream("/agents/assistant/chat", {"message": "x"}, receive_buffer=4096)
    first = slow.next().json            # and then stops reading
    other, received = events_of(server.client, first["run_id"]), 0
    begin.open()
    while received < 1_200_000:
        event = other.next()
        received += len(event.json["content"]) if event.type == "token" else 0
    server.stop()
    gate.open()
    server.start()
    assert run_status(server.client, first["run_id"]) == "interrupted"
    assert len(server.client.messages(first["thread_id"])[1]["content"]) == 1_200_000


def test_kill_9_loses_nothing_that_was_acknowledged(make_server, model):
    server = make_server()
    client = server.client
    thread = client.thread()
    for i in range(5):
        model.play(answer(f"a{i}"))
        assert client.send(thread, f"q{i}").status == 200
    gate = Gate()
    stream, first = start(client, gate, model, f"/threads/{thread}/messages", {"content": "last", "stream": True})
    server.kill()
    gate.open()
    server.expect_log("AH00098")        # httpd finds the pid file of the killed one
    server.start()
    kept = [m["content"] for m in client.messages(thread)]
    assert kept[:11] == [x for i in range(5) for x in (f"q{i}", f"a{i}")] + ["last"]
    assert run_status(client, first["run_id"]) == "interrupted"
    assert client.send(thread, "are you there?").status == 200
    seqs = [m["seq"] for m in client.messages(thread)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_killed_child_is_replaced_and_its_threads_are_free(make_server, model):
    server = make_server()
    gate = Gate()
    stream, first = start(server.client, gate, model)
    (child,) = server.children()
    server.expect_log("AH00052")
    os.kill(child, signal.SIGKILL)
    server.wait_gone([child])
    gate.open()
    server.wait_up()
    wait_until(lambda: server.children(), "no new child")
    assert server.client.send(first["thread_id"], "go on").status == 200
    assert run_status(server.client, first["run_id"]) == "interrupted"


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_the_start_logs_that_streams_hold_threads(make_server, mpm):
    server = make_server("AgentChatMaxBlockingStreams 3\n", mpm=mpm)
    server.wait_log("AC0601: ")
    said = [line for line in server.log().splitlines() if "AC0608: " in line]
    assert len(said) == (mpm != "event") and all("at most 3 in each child" in line and f"MPM {mpm} " in line for line in said), said
    state = "ASYNC_WAITIO" if VERSION >= (2, 4, 63) else "WRITE_COMPLETION"
    said = [line for line in server.log().splitlines() if "AC0609: " in line]
    assert len(said) == (mpm == "event") and all(f"in CONN_STATE_{state}" in line and "at most 20000 in" in line for line in said), said


@pytest.mark.parametrize("level", ["warn", "crit agentchat:error"])
def test_the_start_logs_it_at_each_level(make_server, level):
    server = make_server(f"LogLevel {level}\n")
    server.wait_log(r"\[agentchat:notice\] .* AC0609: ")


def test_cap_of_blocking_streams(make_server, model):
    server = make_server("AgentChatMaxBlockingStreams 2\n", mpm=WORKER)
    gates = [Gate(), Gate()]
    streams = [start(server.client, gate, model)[0] for gate in gates]
    server.expect_log("AC0652")
    response = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False})
    assert response.status == 503 and response.json["code"] == "overloaded" and "retry-after" in response.headers
    for gate in gates:
        gate.open()
    assert all(s.rest()[-1].type == "done" for s in streams)


def test_cap_of_parked_streams(make_server, model):
    server = make_server("AgentChatMaxStreams 2\n")
    gates = [Gate(), Gate()]
    streams = [start(server.client, gate, model)[0] for gate in gates]
    server.expect_log("AC0652")
    response = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False})
    assert response.status == 503 and response.json["code"] == "overloaded"
    for gate in gates:
        gate.open()
    assert all(s.rest()[-1].type == "done" for s in streams)


def test_many_streams_hold_no_threads(make_server, model):
    """Sixty streams wait in a server of sixteen threads, and it still answers."""
    server = make_server()
    gate = Gate()
    model.default = holding(gate)
    streams = [server.client.stream("/agents/assistant/chat", {"message": "x"}) for _ in range(60)]
    for stream in streams:
        stream.until("token")
    assert server.client.get("/health").status == 200
    assert not server.check_log()
    server.expect_log("AH00484")        # for a moment each thread has the end of a stream in hand
    gate.open()
    assert all(stream.rest()[-1].type == "done" for stream in streams)
    # Closed before httpd is stopped, and seen to be: a listener that has just given more closed connections to its workers than
    # there are workers is slow to stop (httpd waits five seconds for it).
    for stream in streams:
        stream.close()
    wait_until(lambda: established(server.port) == 0, "the connections are not closed")


def established(port):
    """Connections that the server still holds on this port, whether or not the client has closed them."""
    local = f":{port:04X}"
    lines = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return len([line for line in lines if line[1].endswith(local) and line[3] in ("01", "08")])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(path / "key.pem"), "-out",
                    str(path / "cert.pem"), "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    return path


def tls_server(make_server, certificate, more="", modules=("ssl", "socache_shmcb"), **options):
    server = make_server(start=False, modules=modules, **options)
    text = server.conf.read_text() + (f'SSLEngine on\nSSLCertificateFile "{certificate}/cert.pem"\n'
                                      f'SSLCertificateKeyFile "{certificate}/key.pem"\n{more}\n')
    server.conf.write_text(text)
    server.expect_log("AH01906", "AH01873")     # the test's certificate signs itself, and there is no session cache
    return server.start()


def test_tls_streams_are_parked_too(make_server, certificate, model):
    server = tls_server(make_server, certificate)
    context = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    gate = Gate()
    model.default = holding(gate)
    streams = [server.client.stream("/agents/assistant/chat", {"message": "x"}, tls=context) for _ in range(24)]
    for stream in streams:
        stream.until("token")               # more of them than there are threads
    gate.open()
    for stream in streams:
        assert stream.rest()[-1].type == "done"
    assert streams[0].connection.request("GET", "/api/health").status == 200
    streams[0].close()


@pytest.fixture
def http2(make_server, certificate):
    """A server with HTTP/2, and curl's arguments for a stream of it."""
    server = tls_server(make_server, certificate, "Protocols h2 http/1.1", ("ssl", "socache_shmcb", "http2"))
    server.expect_log("AC0664")
    return server, ["curl", "-sS", "--http2", "--cacert", str(certificate / "cert.pem"), "-N", "-w", "%{http_version}",
                    "--resolve", f"localhost:{server.port}:127.0.0.1",
                    f"https://localhost:{server.port}/api/agents/assistant/chat", "-H", "Content-Type: application/json",
                    "-d", '{"message": "x"}']


def test_http2(http2, model):
    done = subprocess.run(http2[1], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2") and done.stdout.count('"type":"token"') == 2 and '"type":"done"' in done.stdout


@pytest.mark.skipif(VERSION == (2, 4, 57), reason="mod_http2 sends its GOAWAY in the middle of another write: PR 66646")
def test_http2_at_a_stop(http2, model):
    server, command = http2
    gate = Gate()
    model.play(holding(gate))
    curl = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while '"type":"token"' not in curl.stdout.readline():
        pass
    server.stop()
    said, complaint = curl.communicate(timeout=30)
    gate.open()
    assert '"code":"stopping"' in said and said.endswith("2") and curl.returncode == 0, said + complaint


def test_compression_is_never_applied(make_server, model):
    server = make_server('SetOutputFilter DEFLATE\n', modules=("filter", "deflate"))
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"}, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in stream.headers
    assert stream.rest()[-1].type == "done"


def test_a_request_behind_the_stream_on_the_same_connection(make_server, model):
    """A client that does not wait for the stream's end before it sends the next request."""
    server = make_server()
    gate = Gate()
    stream, first = start(server.client, gate, model)
    stream.connection.send("GET", "/api/health")
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert stream.connection.receive().json["status"] == "healthy"


def test_a_long_request_behind_the_stream(make_server, model):
    """It waits its turn in the kernel."""
    server = make_server()
    gate = Gate()
    stream, first = start(server.client, gate, model)
    model.play(answer("second"))
    stream.connection.send("POST", "/api/agents/assistant/chat", {"message": "y" * 200_000, "stream": False})
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert stream.connection.receive().json["content"] == "second"
    assert model.requests[-1].messages[-1]["content"] == "y" * 200_000


def test_too_much_behind_the_stream(make_server, model):
    """A client that sends without reading an answer is disconnected; the run continues."""
    server = make_server()
    gate = Gate()
    stream, first = start(server.client, gate, model)
    stream.connection.socket.settimeout(20)
    with pytest.raises(OSError):
        for _ in range(400):
            stream.connection.socket.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    gate.open()
    wait_until(lambda: run_status(server.client, first["run_id"]) == "completed", "the run does not end")
