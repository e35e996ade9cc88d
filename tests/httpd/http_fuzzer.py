# SPDX-License-Identifier: Apache-2.0
"""Sends the requests of http_mutation.py to a server and looks at what comes back. As a program it is one of several clients: its orders
come as JSON in its first argument, its account goes to standard output."""
import collections
import hashlib
import json
import socket
import sys
import time
import traceback

from http_answer import Ended, Reader, Wrong, check
from http_mutation import ADMIN_KEY, KEY, RUN, THREAD, case_of

WAIT = 60               # seconds for an answer; a sanitizer is slow, and so may be the machine
RENEW = 400             # cases after which another thread and run take the places
LARGE = 60000           # bytes that may not be taken off a refused client


def target_of(raw):
    """The target in the request line; "" if there is none."""
    return (raw.split(b"\r\n", 1)[0].split(b" ") + [b""])[1].decode("latin-1")


class Visitor:
    """One client with one connection, that it opens again whenever it has to."""

    def __init__(self, port, keys):
        self.port, self.keys, self.connection, self.reader = port, keys, None, None
        self.counts, self.silent, self.ids = collections.Counter(), 0, {}
        self.before = ""                    # the last answer on this connection, and to what

    # ---- the connection ----
    def open(self):
        if not self.connection:
            self.connection = socket.create_connection(("127.0.0.1", self.port), WAIT)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.reader = Reader(self.more)

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection, self.before = None, ""

    def more(self):
        try:
            return self.connection.recv(65536)
        except ConnectionError:
            return b""

    def put(self, raw):
        """False where the server would not take all of it."""
        try:
            self.connection.sendall(raw)
            return True
        except ConnectionError:
            return False

    # ---- what the cases speak of ----
    def ask(self, method, path, body=None):
        self.open()
        raw = json.dumps(body).encode() if body is not None else b""
        kind = b"Content-Type: application/json\r\n" if raw else b""
        self.put(b"%s %s HTTP/1.1\r\nHost: localhost\r\nX-API-Key: %s\r\n%sContent-Length: %d\r\n\r\n%s"
                 % (method.encode(), path.encode(), self.keys[0].encode(), kind, len(raw), raw))
        status, fields, body, stays_open = self.reader.answer(method)
        check(status, fields, body, method)
        if not stays_open:
            self.close()
        return status, json.loads(body)

    def renew(self):
        """An ordinary conversation: it shows that the server still works."""
        ids = {}
        for mount in ("/api", "/keys"):
            status, thread = self.ask("POST", mount + "/threads", {"title": "fuzzed"})
            if status != 201:
                raise Wrong(f"an ordinary thread: {status} {thread}")
            status, message = self.ask("POST", f"{mount}/threads/{thread['id']}/messages", {"content": "hello", "stream": False})
            if status != 200 or "hello" not in message["content"]:
                raise Wrong(f"an ordinary message: {status} {message}")
            ids[mount] = thread["id"], message["run_id"]
        self.ids = ids

    def real(self, raw):
        thread, run = self.ids["/keys" if b" /keys" in raw[:200] else "/api"]
        for placeholder, text in ((THREAD[6:], thread[6:]), (RUN[3:], run[3:]), (KEY, self.keys[0]), (ADMIN_KEY, self.keys[1])):
            raw = raw.replace(placeholder.encode(), text.encode())
        return raw

    # ---- one case ----
    def receive(self, case, goes):
        try:
            status, fields, body, stays_open = self.reader.answer(case.method)
        except Ended:
            if goes and len(case.raw) < LARGE:
                raise Wrong(f"the connection was closed without a whole answer, after: {self.before}") from None
            self.silent += 1
            return False
        self.before = f"{status} {fields} to {case.raw[:1000]!r}"
        ours = check(status, fields, body, case.method, target_of(case.raw))
        self.counts[str(status) if ours else f"{status} of httpd"] += 1
        return stays_open

    def whole(self, case):
        raw = self.real(case.raw)
        self.open()
        if case.way == "halves":
            self.put(raw[:len(raw) // 2])
            other = Visitor(self.port, self.keys)
            other.ask("GET", "/api/health")
            other.close()
            raw = raw[len(raw) // 2:]
        sent = self.put(raw)
        if case.way == "drop":
            self.close()
            self.silent += 1
        elif not self.receive(case, sent):
            self.close()

    def several(self, cases):
        self.open()
        self.put(b"".join(self.real(case.raw) for case in cases))
        for n, case in enumerate(cases):
            if not self.receive(case, True):
                self.silent += len(cases) - n - 1
                self.close()
                return

    def wild(self, case):
        """The end of the answer is undefined, so the end of the connection ends it. Complete answers are checked."""
        self.close()
        self.open()
        raw = self.real(case.raw)
        self.put(raw)
        try:
            self.connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        method, n = case.raw.split(b" ", 1)[0].decode("latin-1"), 0
        try:
            while self.reader.buffer or self.reader.fill():
                if n == 0 and not self.reader.buffer.startswith(b"HTTP/"[:len(self.reader.buffer)]):
                    if b" HTTP/" in raw.split(b"\r\n", 1)[0].upper():
                        raise Wrong(f"an answer without a head: {self.reader.buffer[:200]!r}")
                    self.reader.rest()          # HTTP/0.9 has none
                    break
                status, fields, body, stays_open = self.reader.answer(method if n == 0 else "GET")
                ours = check(status, fields, body, method if n == 0 else "GET", target_of(raw))
                self.counts[str(status) if ours else f"{status} of httpd"] += 1
                n += 1
                if not stays_open:
                    break
        except Ended:
            pass                                # it went because its client did
        self.silent += not n
        self.close()

    def perform(self, cases):
        if len(cases) > 1:
            self.several(cases)
        elif cases[0].exact:
            self.whole(cases[0])
        else:
            self.wild(cases[0])


def main(orders):
    """orders: port, keys, seed, first, last, step, until (time.time()). Prints {"sent", "counts", "silent", "failures", "digest"}."""
    visitor, sent, failures, digest = Visitor(orders["port"], orders["keys"]), 0, [], hashlib.sha256()
    for turn, n in enumerate(range(orders["first"], orders["last"], orders["step"])):
        if time.time() > orders["until"] or len(failures) >= 5:
            break
        cases = case_of(orders["seed"], n)
        sent += len(cases)
        for case in cases:
            digest.update(case.raw)
        try:
            if turn % RENEW == 0:
                visitor.renew()
            visitor.perform(cases)
        except (Wrong, OSError, Ended, ValueError, KeyError) as error:
            raw = b"".join(visitor.real(case.raw) for case in cases) if visitor.ids else b""
            failures.append({"case": n, "name": cases[0].name, "error": f"{type(error).__name__}: {error}", "raw": raw.hex(),
                             "where": traceback.format_exc().splitlines()[-3:]})
            visitor.close()
    print(json.dumps({"sent": sent, "counts": visitor.counts, "silent": visitor.silent, "failures": failures,
                      "digest": digest.hexdigest()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
