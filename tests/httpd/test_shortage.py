# SPDX-License-Identifier: Apache-2.0
"""The machine gives no more: no descriptors, and a store that cannot be written."""
import os
import re
import resource
from contextlib import contextmanager

from model_server import answer
from runs import wait_until
from test_cancel import HeldSqlite


# One child, which takes as many connections as it has descriptors.
ONE = ("StartServers 1\nServerLimit 1\nThreadsPerChild 8\nMaxRequestWorkers 8\nMinSpareThreads 1\nMaxSpareThreads 8\n"
       "AsyncRequestWorkerFactor 200\nKeepAliveTimeout 60\n")


@contextmanager
def few_descriptors():
    """For processes that begin meanwhile; how many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = max(map(int, os.listdir("/proc/self/fd"))) + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        yield few
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_descriptors_left(make_server, model):
    """It is this server that can take no more, and not the model that has failed; the next run is well again."""
    server = make_server(tuning=ONE, start=False)
    with few_descriptors() as few:
        server.start()
    server.expect_log("AC0503", "AC0510")
    model.default = answer("well")
    child, = server.children()
    connections = []

    def connect():
        connections.append(server.client.connect())
        assert connections[-1].request("GET", "/api/agents").status == 200
    try:
        while len(os.listdir(f"/proc/{child}/fd")) < few:
            connect()
        chat = "/api/agents/assistant/chat", {"message": "x", "stream": False}
        response = connections[0].request("POST", *chat)
        assert (response.status, response.json["code"]) == (503, "overloaded"), response
        assert "no file descriptors left" in response.json["detail"] and int(response.headers["retry-after"]) >= 1
        for connection in connections[1:]:
            connection.close()
        wait_until(lambda: len(os.listdir(f"/proc/{child}/fd")) < few - 20, "no descriptor comes back")
        assert server.client.post("/agents/assistant/chat", chat[1]).status == 200
    finally:
        for connection in connections:
            connection.close()
    said, = {line.split("AC0503")[1] for line in server.log().splitlines() if "AC0503" in line}
    assert re.search(r"overloaded: .*this server process has no file descriptors left", said) and len(model.requests) == 1


def test_a_server_whose_store_takes_nothing_is_not_ready(make_server, model):
    server, store = make_server(HeldSqlite.directives), HeldSqlite()
    client = server.client
    wait_until(lambda: client.get("/ready").status == 200, "the server is not ready")
    thread = client.thread()
    store.hold(server)
    wait_until(lambda: client.get("/ready").status == 503, "nobody is told")
    assert client.get(f"/threads/{thread}").status == 200               # reading goes on
    store.release()
    wait_until(lambda: client.get("/ready").status == 200, "it stays so")
    assert client.messages(thread) == []
