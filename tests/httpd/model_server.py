# SPDX-License-Identifier: Apache-2.0
"""A scripted upstream that speaks chat completions over HTTP/1.1.

A test says what the next answers are; every request is recorded. A script is a function
that takes the request and yields actions:

    bytes            sent as they are, as one chunk of the body
    Gate             wait until the test opens it
    Cut()            close the connection now, in mid-answer
    Reply(...)       instead of a stream: a whole answer with a status

    def script(request):
        yield head()
        yield token("Hel")
        yield gate
        yield token("lo")
        yield end()
"""
import json
import socket
import threading

from client import WAIT
from scripted_server import ScriptedServer, reset_at_close


class Gate:
    """Opened by the test; `reached` is set when the script waits at it."""

    def __init__(self):
        self._open = threading.Event()
        self.reached = threading.Event()

    def open(self):
        self._open.set()

    def pass_through(self, gone):
        self.reached.set()
        for _ in range(WAIT * 50):
            if self._open.wait(0.02) or gone():
                return

    def wait_reached(self):
        assert self.reached.wait(WAIT), "the script never came to its gate"


class Cut:
    def __init__(self, reset=False):
        self.reset = reset


class Reply:
    def __init__(self, status=200, body=b"", headers=None, content_type="application/json"):
        self.status, self.headers = status, dict(headers or {})
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers.setdefault("Content-Type", content_type)


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.closed = threading.Event()     # the other side has closed
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None

    @property
    def messages(self):
        return self.json["messages"]

    @property
    def last(self):
        return self.messages[-1]


# ---- the parts of a stream ----
def data(value):
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def chunk(delta=None, finish=None, index=0, **more):
    value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted-1",
             "choices": [{"index": index, "delta": delta or {}, "finish_reason": finish}]}
    value.update(more)
    return data(value)


def head():
    return chunk({"role": "assistant", "content": ""})


def token(text):
    return chunk({"content": text})


def tool_call(index, call_id, name, arguments):
    return chunk({"tool_calls": [{"index": index, "id": call_id, "type": "function",
                                  "function": {"name": name, "arguments": arguments}}]})


def usage(prompt=10, completion=5, cached=0, reasoning=0):
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "scripted-1",
                 "choices": [], "usage": {
                     "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                     "prompt_tokens_details": {"cached_tokens": cached},
                     "completion_tokens_details": {"reasoning_tokens": reasoning}}})


def finish(reason="stop"):
    return chunk({}, reason)


DONE = b"data: [DONE]\n\n"


def answer(*tokens, **figures):
    """A script: an ordinary answer of these tokens."""
    def script(_request):
        yield head()
        for text in tokens:
            yield token(text)
        yield finish()
        yield usage(**figures)
        yield DONE
    return script


def reasons(thought, script):
    """A script: the model thinks, then does what this script says."""
    def play(request):
        yield head()
        for word in thought.split(" "):
            yield chunk({"reasoning_content": word + " "})
        yield from script(request)
    return play


def calls(*wanted, said=None):
    """A script: an answer with these tool calls, as (name, arguments) pairs, all in one round, after some text."""
    def script(_request):
        yield head()
        if said:
            yield token(said)
        for i, (name, arguments) in enumerate(wanted):
            yield tool_call(i, f"call_{i + 1}", name, json.dumps(arguments))
        yield finish("tool_calls")
        yield usage()
        yield DONE
    return script


class ModelServer(ScriptedServer):
    """Listens on a port that the kernel chooses. `play(script, …)` queues scripts for the next requests; when the
    queue is empty `default` answers."""

    def __init__(self):
        self._lock = threading.Condition()
        self.reset()
        super().__init__()
        self.url += "/v1"

    def reset(self):
        with self._lock:
            self._scripts, self.requests, self.default = [], [], answer("Hello", " world")
            self.probe = None               # a Reply to readiness probes, instead of a good one

    def play(self, *scripts):
        with self._lock:
            self._scripts.extend(
                (lambda _request, reply=script: iter([reply])) if isinstance(script, Reply) else script for script in scripts)

    def wait_requests(self, n):
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= n, WAIT), f"{len(self.requests)} of {n} requests came"
        return self.requests

    def _respond(self, connection, method, target, headers, body):
        request = Request(method, target, headers, body)
        if request.method == "GET":         # a readiness probe
            self._whole(connection, self.probe or Reply(200, {"object": "list", "data": []}))
            return True
        with self._lock:
            self.requests.append(request)
            script = self._scripts.pop(0) if self._scripts else self.default
            self._lock.notify_all()
        return self._perform(connection, request, script)

    @staticmethod
    def _whole(connection, reply):
        lines = [f"HTTP/1.1 {reply.status} Scripted"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        lines += [f"Content-Length: {len(reply.body)}", "", ""]
        connection.sendall("\r\n".join(lines).encode() + reply.body)

    def _perform(self, connection, request, script):
        def gone():
            try:
                if connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                    request.closed.set()
            except BlockingIOError:
                pass
            except OSError:
                request.closed.set()
            return request.closed.is_set()

        started = False
        try:
            for action in script(request):
                if isinstance(action, Gate):
                    action.pass_through(gone)
                elif isinstance(action, Reply):
                    self._whole(connection, action)
                    return True
                elif isinstance(action, Cut):
                    if action.reset:
                        reset_at_close(connection)
                    return False
                else:
                    if not started:
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                           b"x-request-id: req_scripted\r\nTransfer-Encoding: chunked\r\n\r\n")
                        started = True
                    connection.sendall(b"%x\r\n%s\r\n" % (len(action), action))
            connection.sendall(b"0\r\n\r\n")
            return True
        except OSError:
            request.closed.set()
            return False
