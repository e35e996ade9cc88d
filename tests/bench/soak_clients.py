# SPDX-License-Identifier: Apache-2.0
"""The clients of the soak: each has a thread, sends messages to it one after the other, and leaves, comes back, cancels, lists and
deletes as people do. All in one loop, so that many of them cost little."""
import asyncio
import collections
import json
import random
import time
import uuid

PATIENCE = 120              # seconds without a byte (heartbeats come every 15) after which a stream is stuck
IDLE = 3                    # seconds after which a connection that was kept alive may be closed by the server


class Counts(collections.Counter):
    """What happened how often; and each run's end that was an error, with its event: {at, run_id, id, code, message, ...}."""

    def __init__(self):
        super().__init__()
        self.errors = []


class Gone(Exception):
    """The server closed the connection."""


class Connection:
    """HTTP/1.1 with keep-alive. A stream's events are counted as they come; only their ids and types are looked at."""

    def __init__(self, port):
        self.port, self.reader, self.writer, self.buffer, self.used = port, None, None, b"", 0

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    def close(self):
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None
        self.buffer = b""

    async def fill(self):
        data = await asyncio.wait_for(self.reader.read(65536), PATIENCE)
        if not data:
            raise Gone
        self.buffer += data
        self.used = time.monotonic()

    async def line(self):
        while b"\r\n" not in self.buffer:
            await self.fill()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    async def exactly(self, n):
        while len(self.buffer) < n:
            await self.fill()
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    async def ask(self, method, path, body=None, headers=()):
        """(status, headers); the body is read with pieces()."""
        if self.writer and time.monotonic() - self.used > IDLE:
            self.close()
        kept = self.writer is not None
        try:
            return await self.try_once(method, path, body, headers)
        except (Gone, ConnectionError):
            if not kept or self.buffer:
                raise
            self.close()                    # httpd may close what it had kept alive, at any time
            return await self.try_once(method, path, body, headers)

    async def try_once(self, method, path, body, headers):
        if not self.writer:
            await self.open()
        raw = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} /api{path} HTTP/1.1", "Host: localhost", *headers]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(raw)}"]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + raw)
        status, found = int((await self.line()).split()[1]), {}
        while line := await self.line():
            name, _, value = line.decode().partition(":")
            found[name.lower()] = value.strip()
        return status, found

    async def pieces(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await self.line(), 16):
                yield await self.exactly(size)
                await self.line()
            await self.line()
        elif int(headers.get("content-length", "0")):
            yield await self.exactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()


class Visitor:
    """One client. `once` selects its actions and their frequency; pace() sets the length of an answer in the
    simulator."""

    def __init__(self, port, stop, counts, pace):
        self.port, self.stop, self.counts, self.pace = port, stop, counts, pace
        self.connection, self.thread, self.n_turns, self.left, self.doing = Connection(port), None, 0, [], ""

    async def run(self):
        try:
            while not self.stop.is_set():
                try:
                    await self.once()
                except (Gone, ConnectionError) as problem:
                    self.counts[f"cut: {problem!r} {self.doing}"] += 1
                    self.counts["cut"] += 1
                    self.connection.close()
        finally:
            self.connection.close()

    async def plain(self, method, path, body=None, expected=(200,)):
        """A whole answer over the client's own connection."""
        self.doing = method
        status, headers = await self.connection.ask(method, path, body)
        text = b"".join([piece async for piece in self.connection.pieces(headers)])
        if status not in expected:
            raise AssertionError(f"{method} {path}: {status} {text[:200]}")
        self.counts[f"{method} {status}"] += 1
        return status, json.loads(text)

    async def once(self):
        if self.thread and (self.n_turns >= 6 or random.random() < 0.05):
            self.left.append(self.thread)
            self.thread = None
        for thread in [*self.left]:
            if await self.delete(thread):
                self.left.remove(thread)
        if not self.thread:
            self.thread, self.n_turns = (await self.plain("POST", "/threads", {}, (201,)))[1]["id"], 0
        self.n_turns += 1
        await self.turn()
        if random.random() < 0.2:
            await self.plain("GET", "/threads?limit=5")
        if self.thread and random.random() < 0.2:
            await self.plain("GET", f"/threads/{self.thread}/{random.choice(('messages', 'runs'))}")

    async def delete(self, thread):
        """False: the run continues, and the client looks at it later."""
        return (await self.plain("DELETE", f"/threads/{thread}?hard_delete=true", expected=(200, 409)))[0] == 200

    async def turn(self):
        """One message, to the end of its run over any number of connections; the client's other actions in that time
        are random."""
        mood = random.choices(("stay", "return", "cancel", "leave", "watch"), (60, 15, 10, 5, 10))[0]
        how = random.choices(("", " tool-rounds=1", " fault=cut"), (80, 17, 3))[0]
        at = random.randrange(2, 30)
        seen = {"last": 0, "run": None, "end": None}
        headers = [f"Idempotency-Key: {uuid.uuid4()}"] if random.random() < 0.5 else []
        source = ("POST", f"/threads/{self.thread}/messages",
                  {"content": f"[[sim {self.pace()}{how}]] hello", "stream": True}, headers)
        watcher = None
        self.counts[mood] += 1
        while seen["end"] is None:
            async for _ in self.events(source, seen):
                if seen["last"] < at:
                    continue
                at = 1 << 62                # beyond the ids of each source
                if mood in ("return", "leave"):
                    self.connection.close()
                    break
                if mood == "cancel":
                    await self.aside("POST", f"/runs/{seen['run']}/cancel", (202, 409))
                elif mood == "watch":
                    watcher = asyncio.create_task(self.watch(seen["run"]))
            if seen["end"] is None and mood == "leave":
                self.left.append(self.thread)
                self.thread = None
                return
            source = ("GET", f"/runs/{seen['run']}/events", None, [f"Last-Event-ID: {seen['last']}"])
        self.counts[f"end {seen['end']}"] += 1
        if watcher:
            await watcher

    async def aside(self, method, path, expected):
        other = Visitor(self.port, self.stop, self.counts, self.pace)
        try:
            await other.plain(method, path, None, expected)
        finally:
            other.connection.close()

    async def watch(self, run_id):
        """A second client of the same run."""
        other = Visitor(self.port, self.stop, self.counts, self.pace)
        try:
            async for _ in other.events(("GET", f"/runs/{run_id}/events", None, []), {"last": 0, "run": None, "end": None}):
                pass
        except (Gone, ConnectionError):
            self.counts["cut"] += 1
        finally:
            other.connection.close()

    async def events(self, source, seen):
        self.doing = "before the stream"
        status, headers = await self.connection.ask(*source)
        self.doing = "in the stream"
        if status != 200:
            text = b"".join([piece async for piece in self.connection.pieces(headers)])
            raise AssertionError(f"{source[0]} {source[1]}: {status} {text[:200]}")
        self.counts["streams"] += 1
        self.counts["live"] += 1
        rest = b""
        try:
            async for piece in self.connection.pieces(headers):
                *whole, rest = (rest + piece).split(b"\n\n")
                for block in whole:
                    if (at := block.find(b"id: ")) == 0 or block[:at].endswith(b"\n"):     # behind `retry:` and comments
                        self.take(block[at:], seen)
                        yield
        finally:
            self.counts["live"] -= 1

    def take(self, block, seen):
        number = int(block[4:block.index(b"\n")])
        if number != seen["last"] + 1:
            raise AssertionError(f"event {number} where {seen['last'] + 1} was due")
        seen["last"] = number
        self.counts["events"] += 1
        data = block[block.index(b"data: ") + 6:]
        if b'"type":"token"' not in data:
            value = json.loads(data)
            if value["type"] == "run":
                seen["run"] = value["run_id"]
            elif value["type"] in ("done", "error"):
                seen["end"] = value.get("status") or value["code"]
                if value["type"] == "error":
                    self.counts.errors.append({"at": time.monotonic(), "clock": time.time(), "run_id": seen["run"], **value, "id": number})


async def visit(port, n_clients, stop, pace):
    """(counts, task). The task ends when `stop` is set and all have ended; its result is what went wrong."""
    counts = Counts()

    async def all_of_them():
        async def one(i):
            await asyncio.sleep(i * 20 / n_clients)         # not all in the same moment
            await Visitor(port, stop, counts, pace).run()
        ends = await asyncio.gather(*(one(i) for i in range(n_clients)), return_exceptions=True)
        return [repr(end) for end in ends if end is not None]
    return counts, asyncio.create_task(all_of_them())
