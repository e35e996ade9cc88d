# SPDX-License-Identifier: Apache-2.0
"""Graceful restarts, one after the other, under live streams: none is cut. RESTART_STREAMS of them, 1000 by default."""
import os
import ssl
import threading

import pytest

from model_server import DONE, Gate, finish, head, token
from runs import begun, blocks, events_of, wait_until
from test_delivery import certificate, tls_server      # noqa: F401: a fixture

STREAMS = int(os.environ.get("RESTART_STREAMS", "1000"))
RESTARTS = 10
MOST_THREADS = 64               # of a child: sixteen of httpd's, the module's own, and none for each of its streams
TUNING = "StartServers 1\nServerLimit 24\nThreadsPerChild 16\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n" \
         "AsyncRequestWorkerFactor 200\nListenBacklog 1024\n"


def ready(client, **options):
    try:
        with client.connect(**options) as connection:
            return connection.request("GET", "/api/ready").status == 200
    except OSError:
        return False


def threads(server):
    return max(len(os.listdir(f"/proc/{pid}/task")) for pid in server.children())


@pytest.mark.long
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_streams_outlive_restarts(make_server, certificate, model, tls):    # noqa: F811
    options = {"tls": ssl.create_default_context(cafile=str(certificate / "cert.pem"))} if tls else {}
    drain = "AgentChatDrain 30min\n"    # on a busy machine all the restarts take longer than the default, two minutes
    server = tls_server(make_server, certificate, drain, tuning=TUNING) if tls else make_server(drain, tuning=TUNING)
    opened = threading.Event()

    def script(_request):
        yield head()
        yield token("before ")
        opened.wait(1800)
        yield token("after")
        yield finish()
        yield DONE
    model.default = script
    streams, generations = [], set()
    for _ in range(RESTARTS):
        for _ in range(STREAMS // RESTARTS):
            stream = server.client.stream("/agents/assistant/chat", {"message": "x"}, **options)
            assert stream.status == 200 and stream.next().type == "run" and stream.next().type == "token"
            streams.append(stream)
        old = set(server.children())
        generations |= old
        server.graceful()
        wait_until(lambda: set(server.children()) - old, "no new child")
        wait_until(lambda: ready(server.client, **options), "the new child is not ready")
    most = threads(server)
    assert most < MOST_THREADS
    opened.set()
    ends = [stream.rest()[-1].json for stream in streams]
    assert [end["type"] for end in ends] == ["done"] * len(streams)
    assert all([number for number, _ in blocks(stream.raw)] == [1, 2, 3, 4] for stream in streams)
    assert len(generations) >= RESTARTS
    print(f"\n{len(streams)} streams in {len(generations)} processes, {RESTARTS} graceful restarts, at most {most} threads in "
          "each: none was cut")
    wait_until(lambda: len(server.children()) < len(generations), "old children stay", 60)


def test_a_child_that_has_had_its_connections(make_server, model):
    """MaxConnectionsPerChild: the child accepts no more, and its stream continues; a client that lost one resumes at
    the next child."""
    server = make_server(tuning=TUNING + "MaxConnectionsPerChild 20\n")
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "), ("three",))
    old = set(server.children())
    for _ in range(40):
        assert server.client.get("/health").status == 200
    wait_until(lambda: set(server.children()) - old, "no new child")
    back = events_of(server.client, run["run_id"], 2)
    assert back.next().json["content"] == "two "
    gate.open()
    assert stream.rest()[-1].json["status"] == "completed"
    back.rest()
    assert blocks(back.raw) == blocks(stream.raw)[2:]
    assert server.client.messages(run["thread_id"])[1]["content"] == "one two three"


def test_children_of_few_connections(make_server, model):
    """The connection that MaxConnectionsPerChild counts last may be the only one, and just have come when httpd's threads end.

    There is room for many children: at a stop httpd tells as many to end as MaxRequestWorkers has room for, and kills the others. And
    some that have had their connection stay until then: one that has had it before its first thread waits does not hear of its end."""
    server = make_server(tuning=TUNING.replace("MaxRequestWorkers 32", "MaxRequestWorkers 384") + "MaxConnectionsPerChild 1\n")
    for _ in range(6):
        gate = Gate()
        stream, run = begun(server.client, model, gate, ("one ", "two "), ("three",))
        back = [events_of(server.client, run["run_id"], after) for after in (0, 2)]
        gate.open()
        assert stream.rest()[-1].json["status"] == "completed"
        whole = blocks(stream.raw)
        for after, follower in zip((0, 2), back):
            follower.rest()
            assert blocks(follower.raw) == whole[after:]
    server.stop()                               # in time, or the log has a line
