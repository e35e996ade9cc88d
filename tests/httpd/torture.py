# SPDX-License-Identifier: Apache-2.0
"""The parts of the torture test: clients that reconnect after any failure, a failing model, and a script that kills."""
import os
import random
import signal
import threading
import time
import uuid

import responses_server as responses
from model_server import DONE, Cut, Gate, Reply, finish, head, token, usage
from runs import MIRROR, REST, STORED

GIVE_UP = 60            # seconds a client tries for, after the faults


def troubled(share):
    """A model that fails on this share of calls: stalls, cuts, refuses, talks nonsense."""
    def script(request):
        kind = random.choice(("stall", "cut", "reset", "429", "500", "garbage")) if random.random() < share else "well"
        if kind == "429":
            yield Reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "1"})
        elif kind == "500":
            yield Reply(500, {"error": {"message": "oops"}})
        else:
            yield from speak(kind, by_responses if request.path.endswith("/responses") else by_chat)
    return script


def by_chat(words):
    """(beginning, words, end) of a stream of chat completions."""
    return [head()], [token(word) for word in words], [finish(), usage(), DONE]


def by_responses(words):
    """The same, of the Responses API."""
    item, number = responses.message(*words), random.randrange(10 ** 9)
    events, end = list(responses.stream(0, item)), 2 + len(words)
    last = responses.response(number, "completed", [item], usage=responses.USAGE)
    return ([responses.event("response.created", response=responses.response(number, "in_progress")), *events[:2]], events[2:end],
            [*events[end:], responses.event("response.completed", response=last)])


def speak(kind, form):
    breaks = random.randrange(1, 12)
    begin, words, end = form([f"w{random.randrange(10 ** 6)} " for _ in range(random.randrange(5, 25))])
    yield from begin
    for i, word in enumerate(words):
        yield word
        pause(0.02)
        if kind != "well" and i == breaks:
            break
    if kind == "stall":
        yield Gate()                    # never opened; the other side closes
    elif kind in ("cut", "reset"):
        yield Cut(kind == "reset")
    elif kind == "garbage":
        yield b"data: {\"choices\": nonsense\n\n"
    yield from end


def pause(seconds):
    """Part of what is simulated: words take time."""
    time.sleep(random.random() * seconds)


class Seen:
    """One client's view of one message. Every other message has an Idempotency-Key, and is sent again if its outcome
    is unknown; one without a key must not be. body: what is sent; without content it asks for a further answer."""

    def __init__(self, thread, content, keyed, body):
        self.thread, self.content, self.key = thread, content, str(uuid.uuid4()) if keyed else None
        self.regenerates = "regenerate" in body
        self.body = body if self.regenerates else {"content": content, **body}
        self.run_id = None
        self.numbers, self.text, self.end = [], "", None
        self.accepted = self.in_part = False
        self.n_resumed = self.n_repeated = self.n_gone = self.n_queued = 0


class Visitor(threading.Thread):
    """Sends messages to one thread and follows each to its end, over any number of connections, each to any of the
    machines."""

    def __init__(self, number, clients, thread, stop):
        super().__init__(daemon=True)
        self.number, self.clients, self.thread, self.stop = number, clients, thread, stop
        self.messages, self.problems = [], []

    @property
    def client(self):
        return random.choice(self.clients)

    def run(self):
        n = 0
        while not self.stop.is_set():
            body = self.branch() if n % 4 == 3 or n % 8 == 4 else {}
            if n % 8 in (1, 3):             # a busy thread: wait for it, or take its place
                body["on_busy"] = "enqueue" if n % 16 < 8 else "interrupt"
            seen = Seen(self.thread, f"message {self.number}.{n}", n % 2 == 0, body)
            n += 1
            try:
                self.follow(seen)
            except Exception as problem:        # a thread's own would be lost
                self.problems.append(f"{seen.content}: {problem!r}")
            self.messages.append(seen)

    def branch(self):
        """The place of a turn that does not follow the current path; {}: the thread is empty or cannot be read now."""
        try:
            response = self.client.get(f"/threads/{self.thread}/messages?limit=100&all=true&order=desc")
            message = random.choice(response.json["data"])["id"]
        except (OSError, EOFError, ValueError, IndexError, KeyError):
            return {}
        return {"regenerate": message} if random.random() < 0.5 else {"parent_id": message}

    def follow(self, seen):
        deadline = None
        while seen.end is None:
            if self.stop.is_set():
                if not seen.accepted and deadline is None:
                    seen.end = "given up"       # it may have been accepted nevertheless; then it must be in the store once
                    return
                deadline = deadline or time.monotonic() + GIVE_UP
                if time.monotonic() > deadline:
                    raise AssertionError("no end within a minute")
            try:
                self.once(seen)
            except (OSError, EOFError, ValueError, IndexError):
                self.lost(seen)
                pause(0.1)

    @staticmethod
    def lost(seen):
        """The connection broke."""
        seen.n_resumed += 1
        if not seen.key and not seen.accepted:
            seen.end = "unknown"            # stored once or not at all

    def once(self, seen):
        """One connection. Leaves by itself at times."""
        headers = {"Last-Event-ID": str(seen.numbers[-1])} if seen.numbers else {}
        if seen.run_id and (not seen.key or random.random() < 0.5):
            stream = self.client.stream(f"/runs/{seen.run_id}/events", method="GET", headers=headers)
        else:
            seen.n_repeated += 1
            stream = self.client.stream(f"/threads/{seen.thread}/messages", {**seen.body, "stream": True},
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
            self.lost(seen)                 # without a last chunk this is an EOFError; with one it is a stream without an end
        finally:
            stream.close()

    def refused(self, seen, stream):
        body = stream.body()
        if stream.status == 410 and len(self.clients) > 1:
            # The mirror is lost: the run's own machine has the events. After the rest of an answer there is only the
            # whole of it.
            seen.n_gone += 1
            if seen.numbers[-1] > MIRROR:
                seen.numbers, seen.text = [], ""
            pause(0.2)
            return
        if stream.status in (400, 401, 403, 404, 410, 422) or (stream.status == 409 and b"run_in_progress" not in body):
            raise AssertionError(f"{stream.status} {body[:200]}")
        if stream.status == 204:
            raise AssertionError("204 for a client that has not seen the end")
        if not seen.key and not seen.accepted and stream.status not in (409, 429) and b"overloaded" not in body:
            seen.end = "unknown"
        pause(0.2)

    @staticmethod
    def take(seen, event):
        """True: that was the end."""
        value = event.json
        if value["type"] == "heartbeat":
            return False
        if value["type"] == "queued":           # it is stored, so it must not be sent again in other words
            seen.run_id, seen.n_queued = value["run_id"], seen.n_queued + 1
            return False
        if "id" not in event.fields:            # the server's own: come back
            assert value["type"] == "error", value
            return True
        number = int(event.fields["id"])
        # Events of a run without a log are made from the store; so is an error at the end that came after the log was
        # removed.
        from_store = number > STORED and (not seen.numbers or value["type"] == "error" or number == MIRROR + 1)
        expected = seen.numbers[-1] + 1 if seen.numbers else 1
        if number != expected and not (from_store and (seen.numbers or number == STORED + 1)):
            raise AssertionError(f"event {number} where {expected} was due: {value}")
        # After a mirror was lost, a run that has failed has its error, and not the events before it (docs/api.md).
        seen.in_part = from_store and STORED < number < REST and bool(seen.numbers) and seen.numbers[-1] < STORED
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
    """SIGKILL to children, graceful restarts, and a store that is unreachable for a while."""

    def __init__(self, server, store, stop):
        super().__init__(daemon=True)
        self.server, self.store, self.stop = server, store, stop
        self.n_killed = self.n_graceful = self.n_outages = 0

    def run(self):
        kinds = [self.kill, self.graceful, self.outage]
        while not self.stop.is_set():
            random.shuffle(kinds)           # each as often as the others, also in a short time
            for kind in kinds:
                if not self.stop.wait(0.5 + random.random()):
                    kind()

    def complete(self):
        return self.n_killed and self.n_graceful and self.n_outages

    def kill(self):
        children = self.server.children()
        if children:
            os.kill(random.choice(children), signal.SIGKILL)
            self.n_killed += 1

    def graceful(self):
        self.server.graceful()
        self.n_graceful += 1

    def outage(self):
        self.n_outages += self.store.outage(self.server, self.stop)
