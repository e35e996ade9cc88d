# SPDX-License-Identifier: Apache-2.0
"""What the tests of runs that are left and found again have in common."""
import glob
import os
import re
import signal
import time
from pathlib import Path

from client import WAIT
from model_server import DONE, finish, head, token, usage

CHILDREN = "StartServers 3\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n" \
           "AsyncRequestWorkerFactor 100\nKeepAliveTimeout 60\n"
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n"

STORED = 1 << 40                        # ids of events made from the store begin here,
MIRROR = 1 << 42                        # the same behind the end of a mirror
REST = 1 << 41                          # and those behind the end of a full log here


def holding(gate, before=("one",), after=("two",)):
    def script(_request):
        yield head()
        for text in before:
            yield token(text)
        yield gate
        for text in after:
            yield token(text)
        yield finish()
        yield usage()
        yield DONE
    return script


def wait_until(question, what, seconds=WAIT):
    end = time.monotonic() + seconds
    while not (found := question()):
        assert time.monotonic() < end, what
        time.sleep(0.02)
    return found


def wait_asleep(server):
    """Until no thread of httpd's children has anything to do. At an ungraceful stop httpd closes what its threads have in their hands, and
    that is also the connection of a stream that has just been parked, by a thread which a busy machine has not yet let put it back."""
    def state(task):
        try:
            return (task / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "S"
    for _ in range(2):
        wait_until(lambda: all(state(task) == "S" for pid in server.children() for task in Path(f"/proc/{pid}/task").iterdir()),
                   "httpd's threads are busy")


def event_logs(folder):
    """The event logs in this folder. Path.glob() does not bear directories that go while it looks; here such a one is empty."""
    return glob.glob("c-*/*.log", root_dir=folder)


def blocks(raw):
    """The events of a stream as bytes, each with its id; one without an id is no event of the run."""
    found = []
    for block in re.sub("^(retry: .*|:.*)\n", "", raw.decode(), flags=re.M).split("\n\n"):
        if block.startswith("id: "):
            found.append((int(block.split("\n")[0][4:]), block))
    return found


def events_of(client, run_id, after=None, header=True):
    headers = {"Last-Event-ID": str(after)} if after is not None and header else {}
    query = f"?after={after}" if after is not None and not header else ""
    return client.stream(f"/runs/{run_id}/events{query}", method="GET", headers=headers)


def run_of(client):
    """The newest run of the newest thread, and the thread."""
    response = client.get("/threads?limit=1")
    assert response.status == 200, response
    thread = response.json["data"][0]["id"]
    return client.get(f"/threads/{thread}/runs").json["data"][0]["id"], thread


def begun(client, model, gate, before=("one",), after=("two",), **options):
    """A live stream whose model waits at the gate, and its `run` event."""
    model.play(holding(gate, before, after))
    stream = client.stream("/agents/assistant/chat", {"message": "x", **options})
    first = stream.next().json
    for _ in before:
        stream.next()
    return stream, first


def owner_of(server, connection):
    """The child at the other end of this connection. The kernel's table of sockets is read in parts, and may lack
    one while others come and go: then it is read again."""
    return wait_until(lambda: find_owner(server, connection.socket.getsockname()[1]), "no child has this connection")


def find_owner(server, port):
    inode = None
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            parts = line.split()
            if int(parts[1].split(":")[1], 16) == server.port and int(parts[2].split(":")[1], 16) == port:
                inode = parts[9]
    for pid in server.children():
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                        return pid
                except OSError:
                    pass
        except OSError:
            pass
    return None


def connection_to(server, wanted):
    """A connection to a child for which wanted(pid) holds. Such a child may have to start first."""
    kept = []

    def find():
        del kept[:-100]
        connection = server.client.connect()
        kept.append(connection)             # busy children send the next one elsewhere
        connection.send("GET", "/api/health")
        connection.receive()
        return connection if wanted(owner_of(server, connection)) else None
    return wait_until(find, "no connection to such a child")


def kill_child(server, pid):
    os.kill(pid, signal.SIGKILL)
    server.wait_gone([pid])
