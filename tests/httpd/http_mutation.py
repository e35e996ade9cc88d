# SPDX-License-Identifier: Apache-2.0
"""Malformed requests: valid ones of every route, with changes in contents and framing. Case n of a seed is always
the same, so that a failed one can be sent again."""
import json
import random
import re

from route_cases import ADMIN, CASES, ROUTES, with_theirs
from server import TOP

# Placeholders for ids made by the server: as long as the real ones, which replace them in the finished bytes.
THREAD, RUN, KEY, ADMIN_KEY = "thread_" + "T" * 26, "run_" + "R" * 26, "KEY" * 20, "ADM" * 20
AGENT = "fuzzed"

TEXT = [
    "", " ", "x", "0", "-1", "null", "true", "é", "‮", "\u2028", "\u2029", "😀", "\ufeff", "a" * 64, "a" * 300, "b" * 5000, "\\", '"', "'",
    "%", "%00", "%2f", "%zz", "%s%n%x", "${jndi:x}", "../../etc/passwd", "..\\..", "<script>", "\x7f", "1e999", "99999999999999999999",
    "-9223372036854775809", "thread_", "run_", "msg_" + "0" * 26, THREAD, RUN, "thread_" + "0" * 26, "run_" + "0" * 26,
    THREAD.upper(), THREAD + "x", THREAD[:-1], "assistant", "unknown", AGENT, "a,b", "a;b", "a=b", "a&b", "a/b", "event: done", "data: {}",
    "\r\n", "\n\n", "a\r\nX-Injected: yes", "\x00", "\x1b[31m", "\x85", "\ud800", "\udc80\udcff",
]
SEGMENT = [
    "", ".", "..", "...", "%2e", "%2e%2e", "%2f", "%5c", "%00", "%0a", "%0d%0aX-Injected:%20yes", "%ff", "%c0%af", "%e2%82%ac",
    "%f0%9f%98%80",
    "%ed%a0%80", "%", "%z", "%1", "%252f", "%u0041", ";x=1", "*", "~", "a" * 200, "a" * 3000, "%41" * 500, THREAD, RUN, THREAD.upper(),
    "thread_%54" + "T" * 25, "thread_" + "0" * 26, "run_" + "0" * 26, "threads", "runs", "messages", "agents", "assistant", AGENT, "chat",
    "health",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "MKCOL", "LOCK", "REPORT", "M-SEARCH", "get",
           "Post",
           "X", "A" * 100, "A" * 8000, "!#$%&'*+-.^_`|~"]
QUERY = ["limit", "after", "before", "order", "status", "offset", "agent_id", "hard_delete", "message", "surprise", "", "%6cimit",
         "limit%00", "é"]
QUERY_VALUE = ["", "1", "100", "101", "-1", "0", "x", "true", "false", "desc", "asc", "deleted", "active", "%00", "%ff", "%e2%80%a8",
               "%0d%0a", "+", "%2B",
               "%", "%4", "1%", "99999999999999999999", "1.5", "a" * 3000, "1&limit=2", THREAD, RUN, "Say+something", "%61" * 200,
               "1099511627777"]
NUMBERS = ["0", "-0", "1", "-1", "1.5", "1e5", "1e999", "-1e999", "1E-400", "9007199254740993", "18446744073709551616", "9" * 400,
           "0." + "1" * 400, "2147483648"]
HEADERS = {
    "Last-Event-ID": ["0", "1", "3", "-1", "x", "", "99999999999999999999", "1099511627777", "1099511627776", "18446744073709551615",
                      "1 2", "１", "0x1", "+1",
                      "1" * 500],
    "Idempotency-Key": ["k", "k1", "k2", "a" * 255, "a" * 256, "", " ", "é", "a b", "'; --", '"quoted"', "\t", "a" * 5000],
    "If-Match": ["*", '""', '"x"', 'W/"x"', '"1", "2"', "x", '"', '"a' + "b" * 3000 + '"', ",,,", '* , "x"', '"é"', 'W/', ""],
    "If-None-Match": ["*", '""', '"x"', 'W/"1"', ", ".join(['"x"'] * 500), '"', "x", ",", ""],
    "If-Modified-Since": ["Sat, 01 Jan 2000 00:00:00 GMT", "x", "0", "Fri, 31 Dec 9999 23:59:59 GMT"],
    "If-Unmodified-Since": ["Sat, 01 Jan 2000 00:00:00 GMT", "x"],
    "If-Range": ['"x"', "Sat, 01 Jan 2000 00:00:00 GMT"],
    "Range": ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=5-1", "bytes=0-0,1-1,2-2", "bytes=99999999-", "lines=1-2",
              "bytes=" + ",".join(["0-"] * 500)],
    "Accept": ["*/*", "text/event-stream", "application/json", "text/html", "text/*", "application/json;q=0",
               "text/event-stream;q=1,application/json;q=0.5",
               "*/*;q=0", ";", ",", "/", "application/json;q=" + "9" * 300, "a/b;" * 900, "text/event-stream;q=0.0001", "é/é",
               "application/*;q=x", ""],
    "Accept-Encoding": ["gzip", "identity;q=0", "*;q=0", "br, gzip;q=1.0"],
    "Content-Type": ["application/json", "application/json; charset=utf-8", "application/json;charset=utf-16", "application/x+json",
                     "text/plain", "", ";",
                     "application/", "multipart/form-data; boundary=x", "application/json" + ";a=b" * 500, "APPLICATION/JSON",
                     "application/\tjson"],
    "Content-Encoding": ["gzip", "identity", "br", "", "x" * 300],
    "Origin": ["https://app.example", "https://evil.example", "null", "", "https://app.example.evil", "file://", "x" * 4000,
               "https://app.example:443"],
    "Sec-Fetch-Site": ["cross-site", "same-origin", "none", "same-site", "x"],
    "Access-Control-Request-Method": ["POST", "x", "", "A" * 3000],
    "Access-Control-Request-Headers": ["content-type", "x-api-key, authorization", "", "é", "a," * 1000],
    "Authorization": [f"Bearer {KEY}", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Basic", "Basic !!!", "bearer\t" + KEY,
                      "Bearer " + "x" * 4000, "é",
                      f"Bearer {KEY}x", f"Bearer  {KEY}", "Digest username=x", f"Bearer {KEY[:-1]}", "Bearer a.b.c"],
    "X-API-Key": [KEY, "", "x", KEY[:-1], KEY + "x", KEY.lower(), "é", "a" * 4000, f"{KEY}, {KEY}", ".", "a.b", "ac_"],
    "X-Request-Id": ["abc", "a b", "x" * 63, "x" * 64, "x" * 5000, "é", "<script>", "a\tb", "", '"', "%0a", "..", "a-b_c.d"],
    "X-Forwarded-For": ["1.2.3.4", "x", "::1", "a," * 500],
    "X-HTTP-Method-Override": ["DELETE", "PATCH"],
    "Cookie": ["a=b", "x" * 4000, "é"],
    "Prefer": ["return=minimal", "wait=10"],
    "Cache-Control": ["no-cache", "only-if-cached", "max-age=-1"],
    "Upgrade": ["h2c", "websocket", "x"],
    "TE": ["trailers", "x"],
    "User-Agent": ["", "x" * 4000, "é"],
    "Connection": ["keep-alive", "Upgrade", "Last-Event-ID", "Authorization", "x, y, z"],
    "Host": ["localhost", "localhost:80", "evil.example", "a" * 200],
    "Expect": ["100-continue"],
    "X-Original-URL": ["/api/agents"],
    "Traceparent": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "x", "00-" + "0" * 500],
}
# Left to httpd, which may answer 400, 408, 413, 417, 501 or close: the module is never asked, or is asked about less than was sent.
FRAMING = [
    ("Content-Length", ["0", "1", "-1", "+5", "5x", "0x10", "99999999999", "9" * 40, "5, 5", "5, 6", "", " 5", "1048577", "2000000"]),
    ("Transfer-Encoding", ["chunked", "identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked, gzip", " chunked",
                           "\x0bchunked", "Chunked", ""]),
    ("Expect", ["magic", "100-continue, x", ""]),
    ("Connection", ["close", "Content-Length", "Transfer-Encoding", "Host", ""]),
    ("Host", ["", " ", "a b", "localhost\x00", "local/host", "[::1", "localhost:99999", "é", "a" * 9000, "localhost, evil"]),
    ("Content-Length ", ["5"]), ("Content_Length", ["5"]), (" Content-Length", ["5"]), ("Transfer-Encoding\x0b", ["chunked"]),
    ("X-Folded", ["a\r\n b", "a\r\n\tb"]),
    ("X-Bare", ["a\nX-Injected: yes", "a\rX-Injected: yes", "a\x00b"]), ("", ["x"]), ("X" * 9000, ["x"]), ("X-Long", ["x" * 9000]),
    ("Bad Name", ["x"]),
]


class Case:
    """raw: the bytes. exact: one request that httpd's grammar allows, which gets one answer. method: as it was sent. way: how the bytes are
    sent: "whole", "halves" (another request is answered between them), "drop" (the client goes before it has the answer)."""

    def __init__(self, name, raw, exact, method, way="whole"):
        self.name, self.raw, self.exact, self.method, self.way = name, raw, exact, method, way


def encoded(text):
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


class Draft:
    """A request that can still be changed."""

    def __init__(self, method, path, query, headers, body):
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body
        self.version, self.chunked, self.exact = "HTTP/1.1", False, True

    def set(self, name, value):
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()] + [(name, value)]

    def chunks(self, rng):
        out, rest = b"", self.body or b""
        while rest:
            n = rng.choice([1, 7, 100, 50000])
            out += b"%x%s\r\n%s\r\n" % (len(rest[:n]), rng.choice([b"", b"", b";a=b", b' ; x="y"']), rest[:n])
            rest = rest[n:]
        return out + b"0\r\n" + rng.choice([b"", b"", b"X-Trailer: yes\r\n"]) + b"\r\n"

    def render(self, rng):
        target = self.path + ("?" + self.query if self.query is not None else "")
        body = self.body or b""
        headers = list(self.headers)
        names = {name.lower() for name, _ in headers}
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
            body = self.chunks(rng)
        elif self.body is not None and "content-length" not in names:
            headers.append(("Content-Length", str(len(body))))
        if "host" not in names:
            headers.insert(0, ("Host", "localhost"))
        lines = [encoded(f"{self.method} {target} {self.version}")] + [encoded(name) + b": " + encoded(value) for name, value in headers]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


# ---- bodies ----
def words(rng):
    text = rng.choice(TEXT)
    return text if rng.random() < 0.7 else text + rng.choice(TEXT)


def value(rng, depth=0):
    """Any JSON value, as text."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return rng.choice(["null", "true", "false"])
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind < 6:
        return quoted(rng, words(rng))
    if kind == 6:
        return "[" + ",".join(value(rng, depth + 1) for _ in range(rng.randrange(4))) + "]"
    if kind == 7:
        return "{" + ",".join(quoted(rng, words(rng)) + ":" + value(rng, depth + 1) for _ in range(rng.randrange(4))) + "}"
    n = rng.choice([5, 31, 33, 200, 3000])
    return "[" * n + "]" * n if rng.random() < 0.5 else '{"a":' * n + "1" + "}" * n


def quoted(rng, text):
    """A JSON string; now and then with what JSON does not allow in one."""
    if rng.random() < 0.15:
        return '"' + text.replace('"', "") + '"'
    return json.dumps(text, ensure_ascii=rng.random() < 0.5)


def members(rng, document):
    """The document as text, with some of its members changed, added, doubled or gone."""
    parts = []
    for name, old in document.items():
        pick = rng.random()
        if pick < 0.08:
            continue
        text = value(rng) if pick < 0.45 else json.dumps(old)
        parts.append(f"{quoted(rng, name) if pick < 0.1 else json.dumps(name)}:{text}")
    if rng.random() < 0.3:
        name = rng.choice(["metadata", "title", "stream", "agent_id", "thread_id", "conversation_id", "status", "tools", "name",
                           "call_id", "approve", words(rng)])
        parts.insert(rng.randrange(len(parts) + 1), f"{quoted(rng, name)}:{value(rng)}")
    if parts and rng.random() < 0.05:
        parts.append(rng.choice(parts))
    space = rng.choice(["", "", " ", "\n\t"])
    return "{" + ("," + space).join(parts) + "}"


def body(rng, document):
    pick = rng.random()
    if pick < 0.72:
        raw = encoded_loosely(members(rng, document if isinstance(document, dict) else {}))
    elif pick < 0.8:
        raw = encoded_loosely(value(rng))
    elif pick < 0.805:
        raw = b'{"content":"' + b"x" * rng.randrange(500_000, 2_000_000) + b'"}'
    elif pick < 0.81:
        raw = b'{"message":"x","metadata":{' + b",".join(b'"k%d":"v"' % i for i in range(rng.choice([17, 5000, 60000]))) + b"}}"
    else:
        raw = json.dumps(document if document is not None else {}).encode()
    return bytes_changed(rng, raw) if rng.random() < 0.25 else raw


def encoded_loosely(text):
    return text.encode("utf-8", "surrogatepass")


def bytes_changed(rng, raw):
    out = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(len(out) + 1)
        pick = rng.randrange(6)
        if pick == 0:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 3, 20])))
        elif pick == 1:
            del out[at:at + rng.choice([1, 2, 10, 100])]
        elif pick == 2 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif pick == 3:
            out[at:at] = rng.choice([b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\x80",
                                     b"\xc0\x80", b"\\"])
        elif pick == 4:
            out[at:at] = out[at:at + rng.choice([1, 10, 60])]
        else:
            del out[at:]
    return bytes(out)


# ---- a request ----
def example_bodies():
    """(method, pattern) → the bodies that docs/openapi.json shows."""
    document, found = json.loads((TOP / "docs/openapi.json").read_text()), {}
    for pattern, item in document["paths"].items():
        for method, operation in item.items():
            asked = operation.get("requestBody", {}) if isinstance(operation, dict) else {}
            if "$ref" in asked:
                asked = document["components"]["requestBodies"][asked["$ref"].rsplit("/", 1)[1]]
            for media in asked.get("content", {}).values():
                shown = [example["value"] for example in media.get("examples", {}).values() if "value" in example]
                found.setdefault((method.upper(), re.sub(r"\{\w+\}", "{}", pattern)), []).extend(shown)
    return found


def seeds():
    """(name, method, path, query, document) of valid requests, at least one for each route."""
    examples, found = example_bodies(), []
    ids = with_theirs({"thread": THREAD, "run": RUN, "agent": AGENT, "answer": "msg_" + "0" * 26, "file": "file_" + "0" * 26})
    for name, case in CASES.items():
        method, pattern = name.split(" ", 1)
        path, _, query = case.path.format(**ids).partition("?")
        documents = [*case.bodies, *examples.get((method, re.sub(r"\{\w+\}", "{}", pattern)), [])]
        if name == "DELETE /me":            # a whole one would remove what the other clients are about
            documents = [{"confirm": "delete"}]
        for document in documents:
            if document is not None:
                text = json.dumps(document)
                for key, made in ids.items():
                    text = text.replace("{%s}" % key, made)
                document = json.loads(text)
            found.append((name, method, path, query or None, document))
    return found


SEEDS = seeds()
NEEDS_ADMIN = {name for name, case in CASES.items() if case.others == ADMIN}
# Takes two seconds; now and then is enough.
RARE = {"GET /selftest/stream"}


def change_path(rng, draft):
    mount, *parts = draft.path.lstrip("/").split("/")
    pick, at = rng.randrange(8), rng.randrange(len(parts) + 1)
    if pick <= 2 and parts:
        parts[min(at, len(parts) - 1)] = rng.choice(SEGMENT)
    elif pick == 3:
        parts.insert(at, rng.choice(SEGMENT))
    elif pick == 4 and parts:
        del parts[min(at, len(parts) - 1)]
    elif pick == 5 and parts and parts[-1]:
        i = rng.randrange(len(parts[-1]))
        parts[-1] = parts[-1][:i] + f"%{ord(parts[-1][i]) & 255:02{rng.choice('xX')}}" + parts[-1][i + 1:]
    elif pick == 6:
        parts = (parts + [rng.choice(SEGMENT)]) * rng.choice([1, 2, 20])
    else:
        mount = rng.choice([mount, mount, mount.upper(), mount + "x", "%61pi", "", "x/../" + mount, mount + "/."])
    draft.path = "/" + "/".join([mount, *parts])


def change_query(rng, draft):
    pairs = [f"{rng.choice(QUERY)}={rng.choice(QUERY_VALUE)}" for _ in range(rng.choice([1, 1, 2, 3, 30]))]
    draft.query = rng.choice(["&", "&", "&&", ";"]).join(pairs) if rng.random() < 0.9 else rng.choice(["", "=", "&", "%", "?", "#"])
    draft.query = encoded(draft.query).decode("utf-8", "surrogatepass")


def change_header(rng, draft):
    name = rng.choice(list(HEADERS))
    text = rng.choice(HEADERS[name])
    draft.set(rng.choice([name, name, name.lower(), name.upper()]), text)
    if rng.random() < 0.1:
        draft.headers.append((name, rng.choice(HEADERS[name])))
        draft.exact = draft.exact and name not in ("Host", "Expect")


def change_body(rng, draft):
    draft.body = body(rng, draft.document)
    if rng.random() < 0.9 and not any(name.lower() == "content-type" for name, _ in draft.headers):
        draft.set("Content-Type", "application/json")


def change_method(rng, draft):
    draft.method = rng.choice(METHODS)


def change_framing(rng, draft):
    pick = rng.random()
    if pick < 0.35:
        draft.chunked = True
        draft.body = draft.body if draft.body is not None else body(rng, draft.document)
        return
    if pick < 0.42:
        draft.version = rng.choice(["HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "HTTP/9.9", "http/1.1", "", "HTTP/1.1 x"])
    elif pick < 0.46:
        draft.path = rng.choice(["*", "http://localhost" + draft.path, "http://evil.example" + draft.path, "//" + draft.path,
                                 "api/health", draft.path + "#x",
                                 draft.path + " x", "\x7f" + draft.path, draft.path + "é", draft.path + "\\", "a" * 9000])
    elif pick < 0.48:
        draft.method = rng.choice(["", "CONNECT", "G ET", "GET\t", "é", "G\x00T"])
    else:
        name, values = rng.choice(FRAMING)
        draft.headers.append((name, rng.choice(values)))
        if rng.random() < 0.2:
            name, values = rng.choice(FRAMING)
            draft.headers.append((name, rng.choice(values)))
    draft.exact = False


CHANGES = [change_path] * 3 + [change_query] * 2 + [change_header] * 5 + [change_body] * 6 + [change_method] + [change_framing]


def sign_in(rng, name, draft):
    if draft.path.startswith("/keys"):
        key = ADMIN_KEY if name in NEEDS_ADMIN and rng.random() < 0.8 else KEY
        draft.set(*(("Authorization", f"Bearer {key}") if rng.random() < 0.6 else ("X-API-Key", key)))


def draft_of(rng):
    name, method, path, query, document = rng.choice(SEEDS)
    while name in RARE and rng.random() < 0.97:
        name, method, path, query, document = rng.choice(SEEDS)
    mount = rng.choice(["/api", "/keys", "/keys", "/limited"] if name not in NEEDS_ADMIN else ["/keys", "/keys", "/api"])
    draft = Draft(method, mount + path, query, [], None if document is None else json.dumps(document).encode())
    draft.document = document
    if draft.body is not None:
        draft.set("Content-Type", "application/json")
    sign_in(rng, name, draft)
    return name, draft


def exact_request(rng, n_changes):
    """One request whose end is defined by httpd's grammar; framing may still have changed that."""
    name, draft = draft_of(rng)
    for _ in range(n_changes):
        rng.choice(CHANGES)(rng, draft)
    return name, draft


# Of a request line and of a field's value; others are left to httpd.
GOOD_TARGET = re.compile(rb"[!$-;=?-Z_a-z~%\[\]@]{1,8000}")


def within_grammar(raw):
    head = raw.split(b"\r\n\r\n", 1)[0]
    line, *fields = head.split(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or not GOOD_TARGET.fullmatch(parts[1]) or len(line) > 8000 or len(fields) > 90:
        return False
    return all(len(field) < 8000 and not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", field) for field in fields)


def case_of(seed, n):
    """Case n of this seed: a list of Case, sent one behind the other without waiting where there are more."""
    rng = random.Random(f"{seed}/{n}")
    pick = rng.random()
    if pick < 0.04:
        return in_line(rng, rng.choice([2, 3, 10]))
    name, draft = exact_request(rng, rng.choice([0, 1, 1, 1, 2, 2, 3, 5]))
    raw = draft.render(rng)
    exact = draft.exact and within_grammar(raw)
    if pick < 0.08:
        return [Case(name, bytes_changed(rng, raw), False, draft.method)]
    if pick < 0.1:
        return [Case(name, raw[:rng.randrange(len(raw))], False, draft.method)]
    if pick < 0.105:
        return [Case("bytes", bytes(rng.randrange(256) for _ in range(rng.choice([1, 50, 5000]))), False, "")]
    way = "halves" if pick < 0.12 else "drop" if pick < 0.14 else "whole"
    return [Case(name, raw, exact, draft.method, way)]


# What a client may send behind a request whose answer is a stream that has not ended; docs/limits.md.
EARLY = 14000


def in_line(rng, n):
    """Requests that are sent one behind the other, without waiting for an answer."""
    cases, room = [], EARLY
    while len(cases) < n and room > 1500:       # which most of them need
        name, draft = exact_request(rng, rng.choice([0, 1, 2]))
        raw = draft.render(rng)
        if draft.exact and within_grammar(raw) and len(raw) < room and b"xpect: " not in raw:
            cases.append(Case(name, raw, True, draft.method))
            room -= len(raw)
    return cases


assert set(CASES) == set(ROUTES), "a route of the table has no case"
