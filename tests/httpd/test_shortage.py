# SPDX-License-Identifier: Apache-2.0
"""Exhausted resources of the machine: no descriptors, a full disk, and a store that cannot be written."""
import json
import os
import re
import resource
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

from model_server import ModelServer, answer
from runs import wait_until
from server import user
from test_cancel import HeldSqlite
from test_credentials import MODEL, NOWHERE, token
from uploads import upload


# One child, which takes as many connections as it has descriptors.
ONE = ("StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\n"
       "AsyncRequestWorkerFactor 200\nKeepAliveTimeout 60\n")


@contextmanager
def few_descriptors():
    """For n processes that begin in that time."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(map(int, os.listdir("/proc/self/fd"))) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        yield few
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def small_disk(place, size):
    """A file system of that size, which belongs to httpd's children."""
    place.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0700,uid={user().pw_uid},gid={user().pw_gid}"
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    shutil.chown(place.parent, user().pw_uid, user().pw_gid)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)     # a server that a failed test has left may use it


def test_uploads_to_a_full_disk(make_server):
    server = make_server("AgentChatFiles on reserve=0\n", start=False)
    with small_disk(server.root / "state/files", "2m") as place:
        client = server.start().client
        first = upload(client, b"a" * 1_000_000)
        for _ in range(3):
            response = client.request("POST", "/files", b"b" * 3_000_000)
            assert response.status == 507 and response.json["code"] == "storage_full", response
        server.expect_log("AC0651.*storage_full", "AC0619")
        assert [path.name for path in place.rglob("*") if path.is_file()] == [first]
        assert client.send(client.thread(), "x").status == 200
        assert client.delete(f"/files/{first}").json["deleted"]
        second = upload(client, b"c" * 1_500_000)
        assert client.get(f"/files/{second}/content").body == b"c" * 1_500_000
        server.stop()


def fill_disk(place):
    """No byte is free afterwards. Returns the file that takes the room."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    return filler


def test_a_full_disk_gives_everything_out(make_server, model):
    """An export needs no room; what is new is refused with the reason, and fits when there is room again."""
    server = make_server(start=False)
    with small_disk(server.root / "state", "4m") as place:
        client = server.start().client
        thread = client.thread()
        for _ in range(3):
            model.play(answer("w" * 100_000))
            assert client.send(thread, "x").status == 200
        whole = client.get("/me/export").body
        filler = fill_disk(place)
        model.default = answer("m" * 200_000)
        refused = client.send(thread, "y" * 100_000)
        assert refused.status == 502 and "disk is full" in refused.json["detail"], refused
        server.expect_log("AC0204.*free space on its file system", "AC0502.*disk is full")
        export = client.get("/me/export").body
        assert export.splitlines()[1:] == whole.splitlines()[1:] and b'"object":"end"' in export
        filler.unlink()
        assert client.send(thread, "y" * 100_000).status == 200
        server.stop()


@contextmanager
def no_descriptors(server, few):
    """A connection of a child that has no descriptors left; afterwards there are some again."""
    child, = server.children()
    connections = []

    def connect():
        connections.append(server.client.connect())
        assert connections[-1].request("GET", "/api/agents").status == 200
    try:
        while len(os.listdir(f"/proc/{child}/fd")) < few:
            connect()
        yield connections[0]
        for connection in connections[1:]:
            connection.close()
        wait_until(lambda: len(os.listdir(f"/proc/{child}/fd")) < few - 20, "no descriptor comes back")
    finally:
        for connection in connections:
            connection.close()


CHAT = "/agents/assistant/chat", {"message": "x", "stream": False}


def test_no_descriptors_left(make_server, model):
    """The server has reached its limit, and the model has not failed; the next run works again."""
    server = make_server(tuning=ONE, start=False)
    with few_descriptors() as few:
        server.start()
    server.expect_log("AC0503", "AC0510", "AH00484")
    model.default = answer("well")
    with no_descriptors(server, few) as connection:
        response = connection.request("POST", "/api" + CHAT[0], CHAT[1])
        assert (response.status, response.json["code"]) == (503, "overloaded"), response
        assert "no file descriptors left" in response.json["detail"] and int(response.headers["retry-after"]) >= 1
    assert server.client.post(*CHAT).status == 200
    said, = {line.split("AC0503")[1] for line in server.log().splitlines() if "AC0503" in line}
    assert re.search(r"overloaded: .*this server process has no file descriptors left", said) and len(model.requests) == 1


@pytest.mark.parametrize("spec", ["identity:environment", "identity:workload", "identity:managed", "identity:cli", "identity"])
def test_no_descriptors_left_for_a_credential(make_server, model, spec):
    """Independent of the kind of token, this is not reported as a failure of the identity service; the log has the
    cause."""
    identity = ModelServer()
    identity.default = token("token-1")
    identity.probe = next(identity.default(None))          # a GET, which the service of the machine is asked by
    at = f"http://127.0.0.1:{identity.port}"
    server = make_server(MODEL.format(port=model.port, credential=spec), standard=False, tuning=ONE, start=False,
                         env={**NOWHERE, "AZURE_AUTHORITY_HOST": at, "AZURE_POD_IDENTITY_AUTHORITY_HOST": at})
    app = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "11111111-2222"}
    server.env |= {"identity:environment": {**app, "AZURE_CLIENT_SECRET": "x"}, "identity:cli": {"PATH": str(server.root)},
                   "identity:workload": {**app, "AZURE_FEDERATED_TOKEN_FILE": str(server.root / "token")}}.get(spec, {})
    said = json.dumps({"accessToken": "token-1", "expires_on": int(time.time()) + 3600})
    for name, text, mode in (("token", "a.b.c", 0o644), ("az", f"#!/bin/sh\necho '{said}'\n", 0o755)):
        (server.root / name).write_text(text)
        (server.root / name).chmod(mode)
    with few_descriptors() as few:
        server.start()
    server.expect_log("AC0240", "AC0242", "AC0503", "AC0510", "AH00484")
    model.default = answer("well")
    with no_descriptors(server, few) as connection:
        response = connection.request("POST", "/api/agents/a/chat", CHAT[1])
        assert (response.status, response.json["code"]) == (503, "overloaded"), response
        assert "no file descriptors left" in response.json["detail"] and int(response.headers["retry-after"]) >= 1
    said, = server.wait_log("AC0240: .*")
    assert "this server process has no file descriptors left" in said and not model.requests
    wait_until(lambda: server.client.post("/agents/a/chat", CHAT[1]).status == 200, "it stays so")
    identity.stop()


def test_a_server_whose_store_takes_nothing_is_not_ready(make_server, model):
    server, store = make_server(HeldSqlite.directives), HeldSqlite()
    client = server.client
    wait_until(lambda: client.get("/ready").status == 200, "the server is not ready")
    thread = client.thread()
    store.hold(server)
    wait_until(lambda: client.get("/ready").status == 503, "/ready does not report it")
    assert client.get(f"/threads/{thread}").status == 200               # reads continue
    store.release()
    wait_until(lambda: client.get("/ready").status == 200, "it stays so")
    assert client.messages(thread) == []
