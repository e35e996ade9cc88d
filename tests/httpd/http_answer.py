# SPDX-License-Identifier: Apache-2.0
"""Is this HTTP, and an answer that the documentation promises? Everything that is not raises Wrong."""
import json
import posixpath
import re
from urllib.parse import unquote

from server import TOP

# The header fields of our responses. Any other one is the result of an injection.
FIELDS = {"date", "server", "connection", "keep-alive", "content-type", "content-length", "transfer-encoding", "cache-control",
          "x-accel-buffering",
          "x-request-id", "x-content-type-options", "etag", "location", "allow", "vary", "retry-after", "ratelimit", "ratelimit-policy",
          "www-authenticate", "access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers",
          "access-control-allow-credentials", "access-control-expose-headers", "access-control-max-age", "last-modified",
          "content-security-policy", "x-vercel-ai-ui-message-stream", "mcp-session-id",
          "referrer-policy", "content-disposition", "x-should-retry"}
CODES = {code: int(status) for code, status in re.findall(r"^\| `(\w+)` \| (\d+) \|", (TOP / "docs/errors.md").read_text(), re.M)}
GOOD = {200, 201, 202, 204, 304}
# What httpd answers by itself, before it knows whose a request is: broken requests, and paths that it does not decode.
HTTPDS = {400, 404, 405, 408, 413, 414, 417, 431, 501, 505}
OUTSIDE = {200, 403}            # TRACE, OPTIONS; a path that is longer than any file's name
MOUNTS = ("api", "keys", "limited")
TERMINAL = {"done", "error", "RUN_FINISHED", "RUN_ERROR"}
assert len(CODES) > 30


class Wrong(Exception):
    pass


class Ended(Exception):
    """The connection was closed before the answer was whole."""


def need(condition, text):
    if not condition:
        raise Wrong(text)


class Reader:
    """Answers from a function that gives the next bytes, or none at the end."""

    def __init__(self, more):
        self.more, self.buffer = more, b""

    def fill(self):
        part = self.more()
        self.buffer += part
        return bool(part)

    def upto(self, mark, most):
        while mark not in self.buffer:
            need(len(self.buffer) < most, f"no {mark!r} within {most} bytes: {self.buffer[:200]!r}")
            if not self.fill():
                raise Ended
        part, self.buffer = self.buffer.split(mark, 1)
        return part

    def exactly(self, n):
        while len(self.buffer) < n:
            if not self.fill():
                raise Ended
        part, self.buffer = self.buffer[:n], self.buffer[n:]
        return part

    def rest(self):
        while self.fill():
            pass
        part, self.buffer = self.buffer, b""
        return part

    def chunks(self):
        out = []
        while True:
            line = self.upto(b"\r\n", 100)
            need(re.fullmatch(rb"[0-9a-fA-F]{1,8}", line), f"a chunk's size is {line!r}")
            size = int(line, 16)
            if not size:
                need(self.exactly(2) == b"\r\n", "a trailer")
                return b"".join(out)
            out.append(self.exactly(size))
            need(self.exactly(2) == b"\r\n", "a chunk is longer than it says")

    def head(self):
        head = self.upto(b"\r\n\r\n", 65536)
        line, *fields = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.1 ([1-5]\d\d) [\x20-\x7e]*", line)
        need(match, f"the status line is {line[:200]!r}")
        found = {}
        for field in fields:
            parts = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\x20-\x7e]*)", field)
            need(parts, f"a field is {field[:200]!r}")
            name = parts[1].decode().lower()
            need(name in FIELDS, f"the field {field[:200]!r}")
            need(name not in found or name in ("vary", "www-authenticate"), f"{name} twice")
            found[name] = parts[2].decode()
        return int(match[1]), found

    def answer(self, method):
        """(status, fields, body, whether the connection stays open)"""
        status, fields = self.head()
        while status == 100:
            status, fields = self.head()
        stays_open = fields.get("connection", "").lower() != "close"
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "transfer-encoding" in fields:
            need(fields["transfer-encoding"] == "chunked" and "content-length" not in fields, f"framed as {fields}")
            body = self.chunks()
        elif "content-length" in fields:
            body = self.exactly(int(fields["content-length"]))
        else:
            need(not stays_open, "the answer has no length, and the connection stays open")
            body = self.rest()
        return status, fields, body, stays_open


def strict_json(raw):
    def no_twins(pairs):
        need(len(dict(pairs)) == len(pairs), "a member twice")
        return dict(pairs)
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=no_twins, parse_constant=lambda name: need(False, name))
    except (UnicodeDecodeError, ValueError) as error:
        raise Wrong(f"no JSON: {error}: {raw[:300]!r}") from error


def within_mount(target):
    """Whether a request's target, as httpd reads it, lies in one of the fuzzed server's mounts."""
    path = posixpath.normpath("/" + unquote(target.partition("?")[0], "latin-1").lstrip("/"))
    return path.split("/")[1] in MOUNTS


def check_openai_error(body):
    problem = strict_json(body)
    need(set(problem) == {"error"} and set(problem["error"]) == {"message", "type", "param", "code"}, f"the error is {problem}")
    need(problem["error"]["message"] and not re.search(r"[\x00-\x1f\x7f]", problem["error"]["message"]), f"the error is {problem}")


def check_line_error(body):
    code = re.fullmatch(r"[^\x00-\x1f\x7f]+ \((\w+)\)", body.decode("utf-8"))
    need(code and code[1] in CODES, f"the error is {body[:300]!r}")


def check_rpc_error(body):
    problem = strict_json(body)
    need(set(problem) == {"jsonrpc", "id", "error"} and problem["jsonrpc"] == "2.0", f"the error is {problem}")
    need(isinstance(problem["error"]["code"], int) and problem["error"]["message"], f"the error is {problem}")
    need(not re.search(r"[\x00-\x1f\x7f]", problem["error"]["message"]), f"the error is {problem}")


# Protocols whose errors have their own form: a segment of their paths, the media type, the check.
PROTOCOLS = (("v1|openai", "application/json", check_openai_error), ("ui", "text/plain; charset=utf-8", check_line_error),
             ("mcp", "application/json", check_rpc_error))


def check_problem(status, fields, body, target):
    path = unquote(target.partition("?")[0], "latin-1")
    for segment, media_type, check_error in PROTOCOLS:
        if fields.get("content-type") == media_type and re.search(rf"/({segment})(/|$)", path):
            return check_error(body)
    need(fields.get("content-type") == "application/problem+json", f"{status} as {fields.get('content-type')}")
    problem = strict_json(body)
    need(set(problem) >= {"type", "title", "status", "detail", "code", "request_id"}, f"the problem has {sorted(problem)}")
    need(problem["status"] == status and problem["detail"] and problem["code"] in CODES, f"{status}: {problem}")
    need(problem["request_id"] == fields["x-request-id"], "another request_id")
    need(re.fullmatch(r"[A-Za-z0-9._-]{1,63}", problem["request_id"]), "an odd request_id")
    need(not re.search(r"[\x00-\x1f\x7f]", problem["detail"]), f"control characters in {problem['detail']!r}")


def check_events(body):
    """Lines that an event stream has, each datum one JSON document, and nothing behind the end."""
    need(body.endswith(b"\n\n") and b"\r" not in body and b"\x00" not in body, f"the stream ends with {body[-100:]!r}")
    last, name = None, None
    for line in body.decode("utf-8").split("\n"):
        need(re.match(r"(id: \d+|event: (done|error|response\.[a-z_.]+)|retry: \d+|data: .*|: ?.*|)$", line), f"the line {line[:200]!r}")
        if line.startswith("event: "):
            name = line[7:]
        if line == "data: [DONE]" and last == "error":
            continue
        if line.startswith("data: "):
            need(last not in TERMINAL, "something comes behind the end")
            if line == "data: [DONE]":
                last = "done"
                continue
            datum = strict_json(line[6:].encode())
            last = "error" if set(datum) == {"error"} else name or datum.get("type")
            if last == "error" and "sequence_number" in datum:      # the failed response comes behind it
                last = None
    return last


def check(status, fields, body, method, target="/api"):
    """One whole answer. Returns whether it was ours, and not httpd's own, as it is outside of our mounts."""
    ours = "x-request-id" in fields
    if not ours:
        need(status in HTTPDS or (status in OUTSIDE and not within_mount(target)), f"{status} is not ours: {body[:300]!r}")
        return False
    need(status in GOOD | HTTPDS or status in CODES.values(), f"{status} is not documented")
    need(status not in (500, 502, 504), f"{status}: {body[:500]!r}")
    if status == 405:
        need(fields.get("allow"), "405 without Allow")
    if status == 401:
        need(fields.get("www-authenticate"), "401 without WWW-Authenticate")
    if status in (429, 503):
        need(fields.get("retry-after", "").isdigit(), f"{status} without Retry-After")
    if method == "HEAD" or status in (204, 304):
        return True
    if status >= 400:
        check_problem(status, fields, body, target)
    elif "transfer-encoding" not in fields and "content-length" not in fields:
        pass                                    # HTTP/1.0: a cut response is not distinguishable from a complete one
    elif fields.get("content-type", "").startswith("text/event-stream"):
        last = check_events(body)
        need(last in TERMINAL or last is None or b"selftest" in body or '"n"' in body.decode(), f"the stream ended with {last}")
    elif fields.get("content-type") == "application/json":
        strict_json(body)
    return True
