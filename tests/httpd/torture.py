# SPDX-License-Identifier: Apache-2.0
"""The parts of the torture test: clients that come back whatever happens, a model in trouble, and a script that kills."""
import os
import random
import signal
import sqlite3
import threading
import time
import uuid

from model_server import DONE, Cut, Gate, Reply, finish, head, token, usage

GIVE_UP = 60            # seconds a client tries for, once the trouble is over


def troubled(share):
    """A model that fails on this share of calls: stalls, cuts, refuses, talks nonsense."""
    def script(_request):
        kind = random.choice(("stall", "cut", "reset", "429", "500", "garbage")) if random.random() < share else "well"
        if kind == "429":
            yield Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        elif kind == "500":
            yield Reply(500, {"error": {"message": "oops"}})
        else:
            yield from speak(kind)
    return script


def speak(kind):
    yield head()
    breaks = random.randrange(1, 12)
    for i in range(random.randrange(5, 25)):
        yield token(f"w{random.randrange(10 ** 6)} ")
        pause(0.02)
        if kind != "well" and i == breaks:
            break
    if kind == "stall":
        yield Gate()                    # nobody opens it; the other side hangs up
    elif kind in ("cut", "reset"):
        yield Cut(kind == "reset")
    elif kind == "garbage":
        yield b"data: {\"choices\": nonsense\n\n"
    yield finish()
    yield usage()
    yield DONE


def pause(seconds):
    """Part of what is simulated: words take time."""
    time.sleep(random.random() * seconds)


class Seen:
    """What one client saw of one message."""

    def __init__(self, thread, content):
        self.thread, self.content, self.key = thread, content, str(uuid.uuid4())
        self.run_id = None
        self.numbers, self.text, self.end = [], "", None
        self.accepted = False
        self.n_resumed = 0


class Visitor(threading.Thread):
    """Sends messages to one thread and follows each to its end, over any number of connections."""

    def __init__(self, number, client, thread, stop):
        super().__init__(daemon=True)
        self.number, self.client, self.thread, self.stop = number, client, thread, stop
        self.messages, self.problems = [], []

    def run(self):
        n = 0
        while not self.stop.is_set():
            seen = Seen(self.thread, f"message {self.number}.{n}")
            n += 1
            try:
                self.follow(seen)
            except Exception as problem:        # a thread's own would be lost
                self.problems.append(f"{seen.content}: {problem!r}")
            self.messages.append(seen)

    def follow(self, seen):
        deadline = None
        while seen.end is None:
            if self.stop.is_set():
                if not seen.accepted and deadline is None:
                    seen.end = "given up"       # it may have been accepted all the same; then it must be in the store once
                    return
                deadline = deadline or time.monotonic() + GIVE_UP
                if time.monotonic() > deadline:
                    raise AssertionError("no end within a minute")
            try:
                self.once(seen)
            except (OSError, EOFError, ValueError, IndexError):
                seen.n_resumed += 1
                pause(0.1)

    def once(self, seen):
        """One connection. Leaves by itself at times."""
        headers = {"Last-Event-ID": str(seen.numbers[-1])} if seen.numbers else {}
        if seen.run_id and random.random() < 0.5:
            stream = self.client.stream(f"/runs/{seen.run_id}/events", method="GET", headers=headers)
        else:
            stream = self.client.stream(f"/threads/{seen.thread}/messages", {"content": seen.content, "stream": True},
                                        headers={**headers, "Idempotency-Key": seen.key})
        try:
            if stream.status != 200:
                self.refused(seen, stream)
                return
            patience = random.randrange(3, 60)
            for event in iter(stream.next, None):
                if self.take(seen, event):
                    return
                patience -= 1
                if patience == 0:
                    seen.n_resumed += 1
                    return
        finally:
            stream.close()

    def refused(self, seen, stream):
        body = stream.body()
        if stream.status in (400, 401, 403, 404, 422) or (stream.status == 409 and b"run_in_progress" not in body):
            raise AssertionError(f"{stream.status} {body[:200]}")
        if stream.status == 204:
            raise AssertionError("204 for a client that has not seen the end")
        pause(0.2)

    @staticmethod
    def take(seen, event):
        """True: that was the end."""
        value = event.json
        if value["type"] == "heartbeat":
            return False
        if "id" not in event.fields:            # the server's own: come back
            assert value["type"] == "error", value
            return True
        number = int(event.fields["id"])
        expected = seen.numbers[-1] + 1 if seen.numbers else 1
        if number != expected:
            raise AssertionError(f"event {number} where {expected} was due: {value}")
        seen.numbers.append(number)
        if value["type"] == "run":
            seen.run_id, seen.accepted = value["run_id"], True
        elif value["type"] == "token":
            seen.text += value["content"]
        elif value["type"] in ("done", "error"):
            seen.end = value["status"] if value["type"] == "done" else value["code"]
            return True
        return False


class Chaos(threading.Thread):
    """SIGKILL to children, graceful restarts, and a database that is locked a tenth of the time for longer than anybody waits."""

    def __init__(self, server, stop):
        super().__init__(daemon=True)
        self.server, self.stop = server, stop
        self.n_killed = self.n_graceful = self.n_locked = 0

    def run(self):
        while not self.stop.wait(0.8 + random.random()):
            what = random.random()
            if what < 0.4:
                children = self.server.children()
                if children:
                    os.kill(random.choice(children), signal.SIGKILL)
                    self.n_killed += 1
            elif what < 0.7:
                self.server.graceful()
                self.n_graceful += 1
            else:
                self.lock()

    def lock(self):
        database = sqlite3.connect(self.server.root / "state/agentchat.db", timeout=5, isolation_level=None)
        try:
            database.execute("BEGIN IMMEDIATE")
            self.n_locked += 1
            self.stop.wait(0.7)
            database.execute("ROLLBACK")
        except sqlite3.OperationalError:
            pass
        finally:
            database.close()
