# SPDX-License-Identifier: Apache-2.0
"""Clients that read long answers slowly: files, exports and long documents hold no thread of the server meanwhile."""
import os
import random
import ssl
from pathlib import Path

import pytest

from blob_server import KEY, Blob
from client import Connection
from model_server import DONE, finish, head, token, usage
from runs import wait_until
from test_delivery import certificate, tls_server      # noqa: F401

N = 12                                  # slow clients
THREADS = 4
TUNING = (f"StartServers 1\nServerLimit 1\nThreadsPerChild {THREADS}\nMaxRequestWorkers {THREADS}\nMinSpareThreads 1\n"
          f"MaxSpareThreads {THREADS}\nAsyncRequestWorkerFactor 100\n")
SMALL = "SendBufferSize 16384\n"
SIZE = 6 * 1024 * 1024
DATA = random.Random(7).randbytes(SIZE // 2).hex().encode()
PIECE = "0123456789 abcd\n" * 256


@pytest.fixture
def blob():
    made = Blob()
    yield made
    made.stop()


@pytest.fixture
def made(make_server, blob, certificate):
    """A server whose files are on the disk or in Blob Storage, over http or https."""
    def make(storage="disk", tls=False, more="", tuning=TUNING):
        files = "on reserve=0" if storage == "disk" else f"blob:{blob.container_url} credential=env:BLOB_KEY"
        text = f"{SMALL}AgentChatFiles {files}\n{more}\n"
        if not tls:
            return make_server(text, tuning=tuning, env={"BLOB_KEY": KEY})
        server = tls_server(make_server, certificate, text, tuning=tuning)
        server.tls = ssl.create_default_context(cafile=certificate / "cert.pem")
        return server
    return make


def connect(server, slow=False):
    return Connection(server.port, receive_buffer=4096 if slow else None, tls=getattr(server, "tls", None))


def request(server, method, path, body=None, headers=None):
    with connect(server) as connection:
        return connection.request(method, "/api" + path, body, headers)


def file_of(server):
    response = request(server, "POST", "/files", DATA, {"Content-Type": "text/plain",
                                                         "Content-Disposition": 'attachment; filename="a.txt"'})
    assert response.status == 201, response
    return f"/files/{response.json['id']}/content"


def conversation_of(server, model):
    def script(_request):
        yield head()
        for _ in range(300):
            yield token(PIECE)
        yield finish()
        yield usage()
        yield DONE
    thread = request(server, "POST", "/threads", {}).json["id"]
    for _ in range(4):
        model.play(script)
        assert request(server, "POST", f"/threads/{thread}/messages", {"content": "x", "stream": False}).status == 200
    return thread


def begin(server, path, headers=None):
    """A slow client of this path that has read the head of its answer: the connection, the status, the header fields."""
    connection = connect(server, slow=True)
    connection.send("GET", "/api" + path, headers=headers)
    return connection, *connection.head()


WAYS = ["disk", "disk, TLS", "Blob Storage", "a part of a file", "export of all", "export as JSON", "messages"]


@pytest.mark.parametrize("way", WAYS)
def test_slow_readers_hold_no_thread(made, model, way):
    server = made("blob" if way == "Blob Storage" else "disk", tls="TLS" in way)
    headers = {}
    if way in ("export of all", "export as JSON", "messages"):
        thread = conversation_of(server, model)
        path = {"messages": f"/threads/{thread}/messages", "export of all": "/me/export",
                "export as JSON": f"/threads/{thread}/export?format=json"}[way]
    else:
        path = file_of(server)
        headers = {"Range": "bytes=1000-"} if "part" in way else {}
    clients = [begin(server, path, headers) for _ in range(N)]
    assert {status for _, status, _ in clients} == {206 if headers else 200}
    # All threads would wait for these clients, and no other one would get an answer.
    assert request(server, "GET", "/threads?limit=1").status == 200
    whole = request(server, "GET", path, headers=headers)
    for client, status, fields in clients:
        body = b"".join(client.pieces(fields, status=status))
        if way == "export of all":      # its first line has the time
            assert body.split(b"\n", 1)[1] == whole.body.split(b"\n", 1)[1]
        else:
            assert body == whole.body
        # The connection is as good as after any answer.
        assert client.request("GET", "/api/threads?limit=1").status == 200
        client.close()
    if not way.startswith(("export", "messages")):
        assert whole.body == (DATA[1000:] if headers else DATA)
    lines = logged(server, path.split("?")[0])
    assert len(lines) == N + 1 and {line[3] for line in lines} <= {"+", "-"} and len({line[2] for line in lines}) == 1


def logged(server, path):
    return [line for line in server.access() if line[5] == "GET" and line[6] == "/api" + path]


def open_files(server):
    """The files that the server's children have open below its state directory."""
    found = []
    for child in server.children():
        for fd in Path(f"/proc/{child}/fd").iterdir():
            try:
                found.append(os.readlink(fd))
            except OSError:
                pass
    return [name for name in found if f"{server.root}/state/files" in name]


@pytest.mark.parametrize("end", ["the client leaves", "Timeout"])
def test_a_download_that_is_not_read_ends(made, end):
    server = made(more="Timeout 1" if end == "Timeout" else "")
    path = file_of(server)
    client, _, _ = begin(server, path)
    if end != "Timeout":
        client.close()
    wait_until(lambda: logged(server, path), "the request is not logged")
    assert [line[3] for line in logged(server, path)] == ["X"] and open_files(server) == []
    assert request(server, "GET", path).body == DATA
    client.close()


def test_a_graceful_restart_lets_downloads_end(made):
    server = made(tuning=TUNING.replace("ServerLimit 1", "ServerLimit 2"))
    path = file_of(server)
    before = server.children()
    clients = [begin(server, path) for _ in range(N)]
    server.graceful()
    wait_until(lambda: set(server.children()) - set(before), "no new child comes")
    assert request(server, "GET", path).body == DATA
    for client, status, fields in clients:
        assert b"".join(client.pieces(fields, status=status)) == DATA
        client.close()
    wait_until(lambda: not set(server.children()) & set(before), "the old child does not end")


def test_a_stop_ends_downloads_and_logs_them(made):
    server = made()
    path = file_of(server)
    clients = [begin(server, path) for _ in range(N)]
    server.stop()
    assert len(logged(server, path)) == N and {line[3] for line in logged(server, path)} == {"X"}
    for client, _, _ in clients:
        client.close()
