# SPDX-License-Identifier: Apache-2.0
"""A child of httpd that is killed at each step of an operation. With files and SQLite on the disk a step is a call that changes a file;
with Azure Blob Storage and Cosmos DB it is a request to one of them, which is not carried out."""
import os
import shutil
import sqlite3
import struct
import threading

from blob_server import KEY as BLOB_KEY
from blob_server import Blob
from client import WAIT
from cosmos_stores import ENV, store
from purges import LONG_AGO, preload
from runs import ONE_CHILD, kill_child, wait_until
from server import user

BROKEN = (OSError, EOFError, ValueError, IndexError)        # of a client whose server dies
MOST = 200              # steps of an operation
YEAR_2001 = 978307200


class OnDisk:
    directives, env = "AgentChatFiles on reserve=0\n", {}

    def prepare(self, server):
        """Before the start."""
        self.server, self.counter, self.folder = server, server.root / "calls", server.root / "state/files"
        self.counter.write_bytes(bytes(8))
        self.counter.chmod(0o666)
        preload(server, "counted_calls.c")
        server.env["COUNTED_CALLS"] = str(self.counter)

    def arm(self, n):
        """The n-th step from now on kills; 0: none does. Returns the number of steps that are left."""
        with self.counter.open("r+b") as counter:
            left = struct.unpack("=q", counter.read(8))[0]
            counter.seek(0)
            counter.write(struct.pack("=q", n))
        return left

    def bytes(self):
        """The names of all bytes, also of unfinished uploads."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())

    def age_bytes(self):
        for path in self.folder.rglob("*"):
            os.utime(path, (YEAR_2001, YEAR_2001))

    def age_documents(self):
        """Files that no message has were uploaded long ago."""
        with sqlite3.connect(self.server.root / "state/agentchat.db", timeout=WAIT) as db:
            db.execute("UPDATE files SET loose = ? WHERE loose IS NOT NULL", (LONG_AGO,))

    def orphan(self, name):
        """Bytes that no document knows."""
        path = self.folder / name[-2:] / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"bytes")
        if os.geteuid() == 0:
            for each in (path, path.parent, self.folder):
                shutil.chown(each, user().pw_name, user().pw_name)

    def stop(self):
        pass


class InServices:
    env = {**ENV, "BLOB_KEY": BLOB_KEY}

    def __init__(self, cosmos):
        self.cosmos, self.blob, self.lock, self.left = cosmos, Blob(), threading.Lock(), 0
        self.directives = store(cosmos) + f"AgentChatFiles blob:{self.blob.container_url} credential=env:BLOB_KEY\n"

    def prepare(self, server):
        self.server = server
        self.cosmos.on_request = self.blob.on_request = self.count

    def count(self):
        """Whether the request is dropped."""
        with self.lock:
            kills = self.left == 1
            self.left -= self.left > 0
            if kills:
                kill_child(self.server, self.server.children()[0])
        return kills

    def arm(self, n):
        with self.lock:
            left, self.left = self.left, n
        return left

    def bytes(self):
        return self.blob.names()

    def age_bytes(self):
        with self.blob.lock:
            for blob in self.blob.containers["files"].values():
                blob["modified"] = YEAR_2001

    def age_documents(self):
        for document in self.cosmos.documents("threads"):
            if "loose" in document:
                document["loose"] = LONG_AGO

    def orphan(self, name):
        with self.blob.lock:
            self.blob.containers["files"][name] = {"data": b"bytes", "modified": YEAR_2001}

    def stop(self):
        self.blob.stop()


def killed_at_each_step(steps, prepare, act, each=1):
    """Calls act(prepare()), each time with the kill `each` steps later, until it comes to its end; gives what both returned, act() None
    where it was killed."""
    server, done = steps.server, []
    for n in range(1, MOST, each):
        ready = prepare()
        child, = server.children()
        steps.arm(n)
        try:
            done.append((ready, act(ready)))
        except BROKEN:
            done.append((ready, None))
        if steps.arm(0):
            assert done[-1][1] is not None, "its client was not answered, though no process was killed"
            return done
        server.wait_gone([child])
        wait_until(lambda: server.children() and server.client.get("/health").status == 200, "no other child")
    raise AssertionError(f"it does not end within {MOST} steps")
