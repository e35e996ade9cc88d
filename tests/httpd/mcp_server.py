# SPDX-License-Identifier: Apache-2.0
"""A scripted MCP server over Streamable HTTP, of either era.

A test sets `tools` and `results`; every request is recorded. The result of a call is a dictionary (the result), an Error, or a
function of the request that yields actions, which become an event stream:

    dict             a JSON-RPC message; {"result": …} and {"error": …} get the request's id
    bytes            sent as they are
    Gate             wait until the test opens it
    Cut()            close the connection now
    Reply(...)       instead of a stream: a whole answer
"""
import json
import socket
import threading

from client import WAIT
from model_server import Cut, Gate, Reply
from scripted_server import ScriptedServer

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = "io.modelcontextprotocol/"


class Error:
    def __init__(self, code, message, status=200, data=None):
        self.body = {"code": code, "message": message, **({"data": data} if data is not None else {})}
        self.status = status


class Request:
    def __init__(self, method, headers, body):
        self.http, self.headers = method, headers
        self.json = json.loads(body) if body else {}
        self.closed = threading.Event()     # the other side has closed

    method = property(lambda self: self.json.get("method"))
    params = property(lambda self: self.json.get("params", {}))
    id = property(lambda self: self.json.get("id"))
    meta = property(lambda self: self.params.get("_meta", {}))
    version = property(lambda self: self.headers.get("mcp-protocol-version"))
    session = property(lambda self: self.headers.get("mcp-session-id"))


def tool(name, schema=None, **more):
    return {"name": name, "description": f"Does {name}", "inputSchema": schema or {"type": "object"}, **more}


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def event(message, **fields):
    """One event of a stream as bytes."""
    lines = [f"{name}: {value}\n" for name, value in fields.items()]
    return ("".join(lines) + f"data: {json.dumps(message) if message is not None else ''}\n\n").encode()


class McpServer(ScriptedServer):
    def __init__(self):
        self._lock = threading.Condition()
        self.reset()
        super().__init__()
        self.url += "/mcp"

    def reset(self, era="modern", sessions=False):
        with self._lock:
            self.era, self.sessions, self.version = era, sessions, MODERN if era == "modern" else LEGACY
            self.tools, self.results, self.requests = [tool("echo")], {}, []
            self.page, self.ttl = 100, 300000
            self.open_sessions, self.n_sessions = set(), 0
            self.before = None              # a function of the request, which may answer instead
            self.streams = {}               # Last-Event-ID → a function of the request

    def of(self, method):
        with self._lock:
            return [request for request in self.requests if request.method == method or request.http == method]

    def wait(self, method, n=1):
        """The requests with this method, or HTTP method, when there are n of them."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.of_unlocked(method)) >= n, WAIT), \
                f"{len(self.of_unlocked(method))} of {n} {method} came"
            return self.of_unlocked(method)

    def of_unlocked(self, method):
        return [request for request in self.requests if request.method == method or request.http == method]

    # ---- answers ----
    def _respond(self, connection, method, target, headers, body):
        request = Request(method, headers, body)
        with self._lock:
            self.requests.append(request)
            self._lock.notify_all()
        answer = self.before(request) if self.before else None
        if answer is None:
            answer = self._answer(request)
        return self._send(connection, request, answer)

    def _answer(self, request):
        if request.http == "GET":
            return self.streams.get(request.headers.get("last-event-id"), Reply(405, b""))
        if request.http == "DELETE":
            self.open_sessions.discard(request.session)
            return Reply(200, b"")
        if self.era == "modern":
            return self._modern(request)
        return self._legacy(request)

    def _modern(self, request):
        meta = request.meta
        if META + "protocolVersion" not in meta or META + "clientCapabilities" not in meta:
            if request.method == "initialize":
                return Error(-32022, "unsupported", 400, {"supported": [MODERN]})
            return Error(-32602, "no _meta", 400)
        name = request.params.get("name")
        if request.version != meta[META + "protocolVersion"] or request.headers.get("mcp-method") != request.method or \
                (request.method == "tools/call" and request.headers.get("mcp-name") != name):
            return Error(-32020, "header mismatch", 400)
        if request.version != self.version:
            return Error(-32022, "unsupported", 400, {"supported": [self.version]})
        return self._method(request)

    def _legacy(self, request):
        if request.method == "initialize":
            headers = {}
            if self.sessions:
                self.n_sessions += 1
                headers["Mcp-Session-Id"] = f"session-{self.n_sessions}"
                self.open_sessions.add(headers["Mcp-Session-Id"])
            result = {"protocolVersion": self.version, "capabilities": {"tools": {"listChanged": True}},
                      "serverInfo": {"name": "scripted", "version": "1"}}
            return Reply(200, {"jsonrpc": "2.0", "id": request.id, "result": result}, headers)
        if self.sessions and not request.session:
            return Error(-32000, "Bad Request: Server not initialized", 400)
        if self.sessions and request.session not in self.open_sessions:
            return Reply(404, {"jsonrpc": "2.0", "id": None, "error": {"code": -32001, "message": "Session not found"}})
        if request.version != self.version:
            return Error(-32000, "Bad Request: Unsupported protocol version", 400)
        if request.id is None or request.method is None:
            return Reply(202, b"")
        return self._method(request)

    def _method(self, request):
        if request.method == "tools/list":
            begin = int(request.params.get("cursor", 0))
            result = {"tools": self.tools[begin:begin + self.page]}
            if begin + self.page < len(self.tools):
                result["nextCursor"] = str(begin + self.page)
            if self.era == "modern":
                result |= {"resultType": "complete", "ttlMs": self.ttl, "cacheScope": "public"}
            return result
        if request.method == "tools/call":
            name = request.params["name"]
            result = self.results.get(name, text(f"{name}: {json.dumps(request.params['arguments'], sort_keys=True)}"))
            if isinstance(result, dict) and self.era == "modern":
                result = {"resultType": "complete", **result}
            return result
        return Error(-32601, "no such method", 404 if self.era == "modern" else 200)

    def _send(self, connection, request, answer):
        if isinstance(answer, Reply):
            self._whole(connection, answer)
            return True
        if isinstance(answer, Error):
            self._whole(connection, Reply(answer.status, {"jsonrpc": "2.0", "id": request.id, "error": answer.body}))
            return True
        if isinstance(answer, dict):
            self._whole(connection, Reply(200, {"jsonrpc": "2.0", "id": request.id, "result": answer}))
            return True
        return self._stream(connection, request, answer)

    @staticmethod
    def _whole(connection, reply):
        lines = [f"HTTP/1.1 {reply.status} Scripted", *(f"{name}: {value}" for name, value in reply.headers.items())]
        connection.sendall("\r\n".join([*lines, f"Content-Length: {len(reply.body)}", "", ""]).encode() + reply.body)

    def _stream(self, connection, request, script):
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
                if isinstance(action, Reply):
                    self._whole(connection, action)
                    return True
                if isinstance(action, Gate):
                    action.pass_through(gone)
                    continue
                if isinstance(action, Cut):
                    return False
                if not started:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                    started = True
                if isinstance(action, dict):
                    if ("result" in action or "error" in action) and "id" not in action:
                        action = {"id": request.id, **action}
                    action = event({"jsonrpc": "2.0", **action})
                connection.sendall(b"%x\r\n%s\r\n" % (len(action), action))
            connection.sendall(b"0\r\n\r\n")
            return True
        except OSError:
            request.closed.set()
            return False
