# SPDX-License-Identifier: Apache-2.0
"""Clients that read more slowly than their run sends: the run's log keeps the rest for them."""
import json
import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest

import mcp
from model_server import DONE, Gate, calls, finish, head, token, usage
from runs import CHILDREN, blocks, connection_to, events_of, owner_of, run_of, wait_asleep, wait_until
from server import OPERATOR, VERSION
from test_failing_calls import Faults

SMALL = "SendBufferSize 16384\n"
PIECE = "0123456789abcde\n" * 256       # a line end takes two bytes of JSON
N = 300
WHOLE = PIECE * N


class Flood:
    """A model that waits at its first gate, sends a lot, and waits again before its end."""

    def __init__(self, model, pieces=N, before=()):
        self.begin, self.end, self.pieces = Gate(), Gate(), pieces
        model.play(*before, self.script)

    def script(self, _request):
        yield head()
        yield self.begin
        for _ in range(self.pieces):
            yield token(PIECE)
        yield self.end
        yield finish()
        yield usage()
        yield DONE


def slow(client, path="/agents/assistant/chat", headers=None, **more):
    connection = client.connect(receive_buffer=4096)
    return connection.stream("POST", client.prefix + path, {"message": "x", **more}, headers)


def slow_follower(client, run_id):
    connection = client.connect(receive_buffer=4096)
    return connection.stream("GET", f"{client.prefix}/runs/{run_id}/events")


def said(stream):
    """Reads until the model has sent all."""
    text = ""
    while len(text) < len(WHOLE):
        event = stream.next().json
        text += event["content"] if event["type"] == "token" else ""
    return text


def ended(client, run_id):
    wait_until(lambda: client.get("/runs/" + run_id).json["status"] == "completed", "the run does not end")


@pytest.mark.parametrize("when", ["live", "ended"])
@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_a_slow_stream_gets_the_same_bytes(make_server, model, mpm, when):
    server = make_server(SMALL, mpm=mpm)
    flood = Flood(model)
    behind = slow(server.client)
    run_id = behind.next().json["run_id"]
    fast = events_of(server.client, run_id)
    fast.next()
    flood.begin.open()
    assert said(fast) == WHOLE          # all that while the other one reads nothing
    if when == "live":
        assert said(behind) == WHOLE
        flood.end.open()
    else:
        flood.end.open()
        ended(server.client, run_id)
    fast.rest(), behind.rest()
    assert behind.raw == fast.raw
    assert "AC0610" not in server.log()


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_a_slow_follower_in_another_child(make_server, model, mpm):
    server = make_server(SMALL, mpm=mpm, tuning=CHILDREN if mpm == "event" else CHILDREN.replace(
        "AsyncRequestWorkerFactor 100\n", ""))
    flood = Flood(model)
    fast = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = fast.next().json["run_id"]
    mine = owner_of(server, fast.connection)
    with connection_to(server, lambda pid: pid not in (mine, None)) as connection:
        behind = connection.stream("GET", f"/api/runs/{run_id}/events")
        behind.next()
        flood.begin.open()
        assert said(fast) == WHOLE
        flood.end.open()
        fast.rest(), behind.rest()
    assert blocks(behind.raw) == blocks(fast.raw)


def test_the_chunk_dialect(make_server, model):
    """Its last event has all of the answer once more: a client is in the middle of a long event."""
    server = make_server(SMALL)
    flood = Flood(model)
    key = {"Idempotency-Key": "one"}
    behind = slow(server.client, "/chat", key)
    behind.next()
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    run_id = server.client.get("/threads?limit=1").json["data"][0]["id"]
    run_id = server.client.get(f"/threads/{run_id}/runs").json["data"][0]["id"]
    ended(server.client, run_id)
    fast = server.client.stream("/chat", {"message": "x"}, headers=key)
    assert fast.rest()[-1].json["full_response"] == WHOLE
    behind.rest()
    assert behind.raw == fast.raw


def test_the_responses_dialect(make_server, model):
    """The events at its end have all of the answer four times more."""
    server = make_server(SMALL + "<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    flood = Flood(model)
    behind = slow(server.client, "/v1/responses", model="assistant", input="x", stream=True)
    run_id = behind.next().json["response"]["agentchat"]["run_id"]
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    ended(server.client, run_id)
    fast = server.client.connect().stream("GET", f"/api/v1/responses/resp_{run_id[4:]}?stream=true")
    assert fast.rest()[-2].json["response"]["output"][0]["content"][0]["text"] == WHOLE
    behind.rest()
    assert behind.raw == fast.raw


AGUI = ("AgentChatAGUI", "/agui/assistant", {"threadId": "t", "runId": "r", "messages": [{"id": "u", "role": "user", "content": "x"}]})
UI = ("AgentChatUI", "/ui/chat", {"id": "t", "message": {"id": "u", "role": "user", "parts": [{"type": "text", "text": "x"}]}})


@pytest.mark.parametrize("directive, path, body", [AGUI, UI], ids=["ag-ui", "ui"])
def test_dialects_of_other_protocols(make_server, model, directive, path, body):
    """Their events depend on those before: a call, and a long text behind it. The request that is sent again gets the same bytes."""
    server = make_server(f"{SMALL}<Location /api>\n{directive} on\n</Location>\n")
    flood = Flood(model, before=[calls(("calculate", {"expression": "6*7"}), said="Let me.")])
    behind = slow(server.client, path, **body)
    behind.next()
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    ended(server.client, run_of(server.client)[0])
    fast = server.client.stream(path, {"message": "x", **body})
    fast.rest(), behind.rest()
    assert behind.raw == fast.raw and len(fast.raw) > len(WHOLE)
    assert len(model.requests) == 2 and "AC0610" not in server.log()


@pytest.mark.parametrize("progress", [True, False])
def test_the_mcp_dialect(make_server, model, progress):
    """The result has the answer twice: as the end of a stream that began with progress, or as a document."""
    server = make_server(SMALL + mcp.ON)
    flood = Flood(model, before=[calls(("calculate", {"expression": "6*7"}), said="Let me.")])
    params = {**mcp.ask("x"), "_meta": {"progressToken": 1}} if progress else mcp.ask("x")
    connection = server.client.connect(receive_buffer=4096)
    connection.send("POST", "/api/mcp", mcp.message("legacy", "tools/call", params), mcp.headers("legacy", "tools/call", params))
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    ended(server.client, run_of(server.client)[0])
    status, headers = connection.head()
    body = b"".join(connection.pieces(headers)).decode()
    assert status == 200 and headers["content-type"] == ("text/event-stream" if progress else "application/json")
    messages = re.findall("^data: (.*)$", body, re.M) if progress else [body]
    assert [json.loads(m).get("method") for m in messages] == ["notifications/progress"] * progress + [None]
    result = json.loads(messages[-1])["result"]
    assert result["structuredContent"]["answer"] == result["content"][0]["text"] == "Let me.\n\n" + WHOLE
    assert len(model.requests) == 2 and "AC0610" not in server.log()
    connection.close()


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_a_document(make_server, model, mpm):
    server = make_server(SMALL, mpm=mpm)
    flood = Flood(model)
    flood.begin.open()
    flood.end.open()
    connection = server.client.connect(receive_buffer=4096)
    connection.send("POST", "/api/agents/assistant/chat", {"message": "x", "stream": False}, {"Idempotency-Key": "one"})
    status, headers = connection.head()     # and then stops reading
    fast = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False},
                              headers={"Idempotency-Key": "one"})
    body = b"".join(connection.pieces(headers))
    assert (status, body) == (200, fast.body)
    assert fast.json["content"] == WHOLE
    connection.send("GET", "/api/health")
    assert connection.receive().status == 200
    connection.close()


def test_stops_at_any_byte(make_server, model):
    """A client that reads a little, and again, is in the middle of an event each time."""
    server = make_server(SMALL)
    flood = Flood(model, 60)
    behind = slow(server.client)
    run_id = behind.next().json["run_id"]
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    ended(server.client, run_id)
    fast = events_of(server.client, run_id)
    fast.rest()
    parts = []
    for n, piece in enumerate(behind._pieces):
        parts.append(piece)
        server.client.get("/health") if n % 3 == 0 else None
    assert behind.raw + b"".join(parts) == fast.raw


def anonymous(pid):
    """Memory that is the process's own, in bytes."""
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_fifty_slow_readers_cost_little(make_server, model, mpm):
    threads = "StartServers 1\nServerLimit 1\nThreadsPerChild 64\nMaxRequestWorkers 64\nMinSpareThreads 1\n"
    server = make_server(SMALL + "AgentChatMaxBlockingStreams 60\n", mpm=mpm,
                         tuning=threads + ("AsyncRequestWorkerFactor 100\n" if mpm == "event" else ""))
    flood = Flood(model)
    fast = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = fast.next().json["run_id"]
    behind = [slow_follower(server.client, run_id) for _ in range(50)]
    for stream in behind:
        assert stream.next().type == "run"
    (pid,) = server.children()
    before = anonymous(pid)
    flood.begin.open()
    assert said(fast) == WHOLE
    grown = anonymous(pid) - before
    flood.end.open()
    fast.rest()
    threads = [threading.Thread(target=stream.rest) for stream in behind]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(stream.raw == behind[0].raw for stream in behind) and blocks(behind[0].raw) == blocks(fast.raw)
    print(f"{grown // 1024} KB for 50 clients and one answer of {len(WHOLE) // 1024} KB")
    if not os.environ.get("ASAN"):      # which keeps what was freed
        assert grown < 3 * len(WHOLE) + 50 * 48 * 1024     # the run has its answer


@pytest.mark.parametrize("mpm", ["event", "worker"])
@pytest.mark.parametrize("path", ["/agents/assistant/chat", "/agent/stream"])
def test_a_client_that_does_not_read_is_disconnected_in_time(make_server, model, mpm, path):
    server = make_server(SMALL + "Timeout 2\n", mpm=mpm)
    flood = Flood(model)
    behind = slow(server.client, path)
    flood.begin.open()
    (line,) = server.wait_access(1)
    assert line[3] == "X"
    flood.end.open()
    behind.close()


@pytest.mark.parametrize("path, more", [("/agent/stream", ""), ("/agents/assistant/chat", "AgentChatEventLog off\n")])
def test_without_a_log_little_waits(make_server, model, path, more):
    server = make_server(SMALL + more)
    flood = Flood(model, 900)
    behind = slow(server.client, path)
    flood.begin.open()
    (line,) = server.wait_access(1)     # long before Timeout
    assert line[3] == "X"
    server.wait_log("dropped a client that reads too slowly")
    flood.end.open()
    behind.close()


def test_a_log_that_breaks_off_while_a_client_is_behind(make_server, model):
    """The rest comes from the store, when the run has ended: in other pieces, and whole."""
    server = make_server(SMALL + "AgentChatEventLogMax 64K\n")
    flood = Flood(model)
    behind = slow(server.client)
    run_id = behind.next().json["run_id"]
    flood.begin.open()
    flood.end.wait_reached()
    flood.end.open()
    ended(server.client, run_id)
    assert said(behind) == WHOLE
    assert behind.rest()[-1].type == "done"
    server.expect_log("its event log can take no more")


@pytest.mark.parametrize("receive_buffer", [4096, None])
def test_a_model_faster_than_the_store(make_server, model, receive_buffer):
    """Text that arrived before the user's message was stored is sent at once: more than the buffer's limit. The
    access log counts all of it, also after partial writes to a socket."""
    server = make_server(SMALL)
    flood = Flood(model)
    flood.begin.open()
    flood.end.open()
    with server.client.connect(receive_buffer=receive_buffer) as connection:
        connection.send("POST", "/api/agents/assistant/chat", {"message": "x"}, {"Connection": "close"})
        n = 0
        while (part := connection.socket.recv(65536)):
            n += len(part)
    (line,) = server.wait_access(1)
    assert n > len(WHOLE) and (int(line[1]), line[3]) == (n, "-")


@pytest.mark.skipif(VERSION >= (2, 4, 63), reason="this MPM writes nothing before it waits")
@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
def test_a_write_of_the_mpm_that_fails(make_server, model, tmp_path):
    """Before a connection waits again, httpd up to 2.4.62 writes what its core holds, and closes it where that fails, as with a client
    that resets at this moment. The loop thread does not get the connection; the run continues."""
    server = make_server(SMALL + OPERATOR + "Timeout 2\nLogLevel mpm_event:debug\n")
    flood = Flood(model)
    behind = slow(server.client)
    run_id = behind.next().json["run_id"]
    wait_asleep(server)
    (child,) = server.children()
    workers = [task.name for task in Path(f"/proc/{child}/task").iterdir() if (task / "wchan").read_text().startswith("futex")]
    with Faults(child, "writev", "ECONNRESET", 1, tmp_path, workers):
        flood.begin.open()
        while not server.access():      # each second a worker takes the connection back, so that Timeout starts again
            behind.connection.exactly(1000)
            time.sleep(0.02)
    server.wait_log("AH00470")
    assert server.access()[0][3] == "X"
    wait_until(lambda: server.ready().json["streams"] == 0, "the stream is not released")
    flood.end.open()
    ended(server.client, run_id)
    again = events_of(server.client, run_id)
    again.rest()
    assert blocks(again.raw)[-1][1].count('"completed"') == 1
    behind.close()
