# SPDX-License-Identifier: Apache-2.0
"""A client for the tests: whole responses, and event streams read as they come."""
import json
import socket

WAIT = 60           # seconds, on a slow and busy machine, for what comes sooner or later; nothing takes so long that is well


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Event:
    """One event of a stream: its fields, and `json`, its data."""

    def __init__(self, fields, comment=None):
        self.fields, self.comment = fields, comment

    @property
    def json(self):
        return json.loads(self.fields["data"])

    @property
    def type(self):
        return self.json.get("type") if "data" in self.fields else None

    def __repr__(self):
        return f"<event {self.fields or self.comment}>"


class Connection:
    """One HTTP/1.1 connection that shows everything: requests can be sent raw, answers read piece by piece."""

    def __init__(self, port, host="127.0.0.1", receive_buffer=None, tls=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WAIT)
        self.socket.connect((host, port))
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, method, path, body=None, headers=None):
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        lines = {"Host": "localhost"}
        if raw is not None:
            lines["Content-Type"] = "application/json"
            lines["Content-Length"] = str(len(raw))
        lines.update(headers or {})
        text = f"{method} {path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items() if value is not None) + "\r\n"
        self.socket.sendall(text.encode("utf-8", "surrogateescape") + (raw or b""))

    def _fill(self):
        more = self.socket.recv(65536)
        self._buffer += more
        return bool(more)

    def line(self):
        while b"\n" not in self._buffer:
            if not self._fill():
                raise EOFError("the connection was closed")
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def exactly(self, n):
        while len(self._buffer) < n:
            if not self._fill():
                raise EOFError("the connection was closed")
        part, self._buffer = self._buffer[:n], self._buffer[n:]
        return part

    def head(self):
        while (status := int(self.line().split()[1])) == 100:
            self.line()                 # interim: the answer is yet to come
        headers = {}
        while (line := self.line()):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return status, headers

    def pieces(self, headers, method="GET", status=200):
        """The body's pieces as they come: the chunks of a chunked body."""
        if method == "HEAD" or status in (204, 304):
            return
        if headers.get("transfer-encoding") == "chunked":
            while (size := int(self.line().split(b";")[0], 16)):
                yield self.exactly(size)
                self.line()
            self.line()
        elif "content-length" in headers:
            if int(headers["content-length"]):
                yield self.exactly(int(headers["content-length"]))
        else:
            while self._buffer or self._fill():
                part, self._buffer = self._buffer, b""
                yield part

    def receive(self, method="GET"):
        status, headers = self.head()
        return Response(status, headers, b"".join(self.pieces(headers, method, status)))

    def request(self, method, path, body=None, headers=None):
        self.send(method, path, body, headers)
        return self.receive(method)

    def stream(self, method, path, body=None, headers=None):
        self.send(method, path, body, headers)
        return Stream(self)


class Stream:
    """A streamed answer. `events()` yields them as they come; `rest()` reads to the end."""

    def __init__(self, connection):
        self.connection = connection
        self.status, self.headers = connection.head()
        self._pieces = connection.pieces(self.headers, status=self.status)
        self.raw = b""
        self._events = self._parse()

    def _lines(self):
        pending = b""
        for piece in self._pieces:
            self.raw += piece
            pending += piece
            while b"\n" in pending:
                line, pending = pending.split(b"\n", 1)
                yield line.decode()

    def _parse(self):
        fields = {}
        for line in self._lines():
            if not line:
                if fields:
                    yield Event(fields)
                fields = {}
            elif line.startswith(":"):
                yield Event({}, comment=line[1:].strip())
            else:
                name, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                fields[name] = fields[name] + "\n" + value if name == "data" and name in fields else value

    def next(self):
        """The next event that carries data."""
        for event in self._events:
            if "data" in event.fields:
                return event
        raise EOFError("the stream has ended")

    def any(self):
        """The next event or comment of any kind."""
        return next(self._events)

    def until(self, kind):
        """All events up to and with the first of this type."""
        seen = []
        while not seen or seen[-1].type != kind:
            seen.append(self.next())
        return seen

    def rest(self):
        return [event for event in self._events if "data" in event.fields]

    def body(self):
        return b"".join(self._pieces)

    def close(self):
        self.connection.close()


class Client:
    """A new connection for each request, below one mount."""

    def __init__(self, port, prefix="/api"):
        self.port, self.prefix = port, prefix

    def connect(self, **options):
        return Connection(self.port, **options)

    def request(self, method, path, body=None, headers=None):
        with self.connect() as connection:
            return connection.request(method, self.prefix + path, body, {"Connection": "close", **(headers or {})})

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def patch(self, path, body=None, **options):
        return self.request("PATCH", path, body, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def stream(self, path, body=None, method="POST", headers=None, **options):
        connection = self.connect(**options)
        return connection.stream(method, self.prefix + path, body, headers)

    # what most tests begin with
    def thread(self, **members):
        response = self.post("/threads", members or None)
        assert response.status == 201, response
        return response.json["id"]

    def send(self, thread, content, **members):
        return self.post(f"/threads/{thread}/messages", {"content": content, "stream": False, **members})

    def messages(self, thread, query="?limit=100"):
        response = self.get(f"/threads/{thread}/messages{query}")
        assert response.status == 200, response
        return response.json["data"]
