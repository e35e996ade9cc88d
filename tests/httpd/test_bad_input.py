# SPDX-License-Identifier: Apache-2.0
"""Every wrong request gets its problem document, and httpd's children live on."""
import pytest

from bad_input import cases
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import answer
from server import MOUNT, OPERATOR, OPERATOR_KEY

CASES = list(cases())


def problem(response):
    assert response.headers["content-type"] == "application/problem+json", response
    document = response.json
    assert set(document) >= {"type", "title", "status", "detail", "code", "request_id"}
    assert document["status"] == response.status and document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def perform(client, case, thread):
    _, method, path, body, headers = case[:5]
    path = client.prefix + path.replace("{thread}", thread)
    with client.connect() as connection:
        if isinstance(body, bytes) and headers.get("Transfer-Encoding") == "chunked":
            chunks = [body[i:i + 50000] for i in range(0, len(body), 50000)]
            connection.send(method, path, None, {**headers, "Connection": "close"})
            try:
                for piece in chunks:
                    connection.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                connection.socket.sendall(b"0\r\n\r\n")
            except OSError:
                pass                        # refused before all of it was read
            return connection.receive(method)
        connection.send(method, path, body, {**headers, "Connection": "close"})
        return connection.receive(method)


def test_there_are_enough_of_them():
    assert len(CASES) >= 400 and len({case[0] for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def thread(_standard):
    return _standard.client.thread(title="stays as it is")


def check(client, case, thread):
    name, status, codes = case[0], case[5], case[6]
    response = perform(client, case, thread)
    wanted = status if isinstance(status, tuple) else (status,)
    assert response.status in wanted, f"{name}: {response}"
    if case[1] == "HEAD":
        return
    document = problem(response)
    assert document["code"] in (codes if isinstance(codes, set) else {codes}), f"{name}: {document}"
    if len(case) > 7 and document["code"] == "invalid_request":
        pointers = [error["pointer"] for error in document.get("errors", [])]
        assert case[7] in pointers, f"{name}: {document}"


@pytest.mark.parametrize("group", range(20))
def test_bad_input(server, client, thread, group):
    """All cases, in twenty parts: the children that serve them stay the same ones."""
    children, wrong = server.children(), []
    for case in CASES[group::20]:
        try:
            check(client, case, thread)
        except (AssertionError, OSError, EOFError, KeyError, ValueError) as error:
            wrong.append(f"{case[0]}: {error!r:.400}")
    assert not wrong, "\n".join(wrong)
    assert set(children) <= set(server.children())
    assert client.get(f"/threads/{thread}").json["message_count"] == 0      # nothing was stored


RAW = {
    "no request": b"\r\n\r\n",
    "no version": b"GET /api/threads\r\n\r\n",
    "an old version": b"GET /api/health HTTP/1.0\r\n\r\n",
    "an unknown version": b"GET /api/health HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /api/health HTTP/1.1\r\n\r\n",
    "a bad header": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n",
    "a header with a NUL": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nA: b\x00c\r\n\r\n",
    "two lengths": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunked": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a negative length": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n{}",
    "a bad chunk": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                   b"Content-Type: application/json\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a cut body": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
    "a cut chunk": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n50\r\n{",
    "a long line": b"GET /api/threads?x=" + b"y" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "many headers": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    "binary": bytes(range(256)) * 20,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "an absolute URI": b"GET http://localhost/api/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "CONNECT": b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an unknown expectation": b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n{}",
    "an odd request id": b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a b\tc<script>\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW)
def test_raw_bytes(server, client, name):
    import socket
    children = server.children()
    with client.connect() as connection:
        connection.socket.sendall(RAW[name])
        connection.socket.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while (part := connection.socket.recv(65536)):
                answer += part
        except ConnectionError:
            pass
    assert b" 500 " not in answer.split(b"\r\n", 1)[0] and b"<script>" not in answer
    assert client.get("/health").status == 200
    assert set(children) <= set(server.children())


def test_a_request_id_is_kept_where_it_is_sane(client):
    assert client.get("/health", headers={"X-Request-Id": "abc-123"}).headers["x-request-id"] == "abc-123"
    assert client.get("/health", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"
    assert len(client.get("/health", headers={"X-Request-Id": "x" * 500}).headers["x-request-id"]) < 64


def test_an_early_refusal_leaves_the_connection_usable(client, thread):
    with client.connect() as connection:
        for _ in range(3):
            response = connection.request("POST", f"/api/threads/{thread}/messages", b" " * 100000, {"Content-Type": "text/plain"})
            assert response.status == 415
            assert connection.request("GET", "/api/health").status == 200


def test_without_anonymous_use_everything_wants_a_user(make_server, model):
    server = make_server('<Location "/closed">\n SetHandler agentchat\n</Location>\n')
    server.client.prefix = "/closed"
    for method, path in (("GET", "/threads"), ("POST", "/threads"), ("POST", "/agents/assistant/chat"), ("GET", "/agents"),
                         ("POST", "/chat"), ("POST", "/agent/stream"), ("GET", "/runs/run_" + "0" * 26)):
        response = server.client.request(method, path, {} if method == "POST" else None)
        assert response.status == 401 and problem(response)["code"] == "unauthenticated", path
        assert response.headers["www-authenticate"]
    assert server.client.get("/health").json["status"] == "healthy"
    assert server.client.get("/ready").status == 200


@pytest.mark.parametrize("others", ["_=1", "api-version=2024-06-01", "_=1&_=2", "utm=%ff", "%zz=1&%",
                                    "&".join(f"p{i}={i}" for i in range(500))])
def test_parameters_of_others_are_ignored(client, model, others):
    """Those of caches, gateways and trackers."""
    thread = client.thread()
    for path in ("/health", "/ready", "/threads", "/agents", f"/threads/{thread}", f"/threads/{thread}/messages"):
        assert client.get(f"{path}?{others}").status == 200, path
    assert len(client.get(f"/threads?{others}&limit=1").json["data"]) == 1
    assert client.get(f"/threads?{others}&limit=0").status == 400
    assert client.request("POST", f"/threads?{others}", {}).status == 201
    model.play(answer("hello"))
    assert client.request("GET", f"/agent/stream?{others}&message=x").status == 200
    assert client.request("DELETE", f"/threads/{thread}?hard_delete=true&{others}").status == 200


def test_health_and_ready(client):
    health = client.get("/health")
    assert health.status == 200 and health.json["service"] == "agentchat" and health.json["version"]
    ready = client.get("/ready")
    assert ready.status == 200 and ready.json == {"status": "ready"}


def test_the_role_admin_sees_why_it_is_ready_or_not(make_server):
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    ann, bob = (bearer(keys.make(f"{name}-laptop", f"owner={name}", *more)) for name, *more in [("ann", "roles=admin"), ("bob",)])
    open_ready = '<Location "/keys/ready">\nRequire all granted\n</Location>\n'
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) + open_ready)
    server.start()
    server.client.prefix = "/keys"
    ready = server.client.get("/ready", headers=ann)
    assert ready.status == 200 and ready.json["store"]["state"] == "ok" and ready.json["models"][0]["id"] == "scripted"
    assert ready.json["runs"] == 0 and ready.json["streams"] == 0 and ready.json["version"]
    for headers in (bob, {}, bearer("ack_ann-laptop_nonsense"), {"X-Forwarded-User": "ann"}):
        assert server.client.get("/ready", headers=headers).json == {"status": "ready"}, headers
    server.client.prefix = "/api"
    assert server.client.get("/ready", headers=ann).json == {"status": "ready"}         # where no keys are taken


def test_readiness_of_the_store_alone_asks_no_model(make_server):
    """And so does not wait for one that does not answer."""
    server = make_server("""
<AgentChatModel dead>
    AgentChatProvider openai
    AgentChatEndpoint http://127.0.0.1:9/v1 model=none
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel dead
</AgentChatAgent>
""" + MOUNT + OPERATOR, standard=False)
    client = server.client
    assert client.get("/ready").status == 503 and client.get("/ready?check=all").json == {"status": "not_ready"}
    for _ in range(2):
        assert (client.get("/ready?check=store").status, client.get("/ready?check=store").json) == (200, {"status": "ready"})
    client.prefix = "/operator"
    shown = client.get("/ready?check=store", headers={"X-API-Key": OPERATOR_KEY}).json
    assert shown["store"]["state"] == "ok" and not {"models", "mirror", "files"} & set(shown)
    assert client.get("/ready", headers={"X-API-Key": OPERATOR_KEY}).json["models"][0]["state"] == "failed"
    client.prefix = "/api"
    wrong = client.get("/ready?check=models")
    assert (wrong.status, wrong.json["code"], wrong.json["detail"]) == (400, "invalid_request", "check must be all or store")


def test_ranges_are_not_for_documents(client):
    whole = client.get("/health")
    for header in ({"Range": "bytes=0-3"}, {"Range": "bytes=9999-"}, {"Request-Range": "bytes=0-3"}, {"Range": "bytes=0-1,3-4",
                                                                                                      "If-Range": '"x"'}):
        response = client.get("/health", headers=header)
        assert (response.status, response.body) == (200, whole.body), header


POST = b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: hidden\r\n\r\n"
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 0, %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "chunks that are not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a space before the colon": POST + b"Content-Length : %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "a control character before the colon": POST + b"Transfer-Encoding\x0b: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a NUL in a field": POST + b"X-A: a\x00b\r\n\r\n" + HIDDEN,
    "a bare CR in a field": POST + b"X-A: a\rContent-Length: 5\r\n\r\n" + HIDDEN,
    "a length in hex": POST + b"Content-Length: 0x10\r\n\r\n" + HIDDEN,
    "a sign before the length": POST + b"Content-Length: +5\r\n\r\n" + HIDDEN,
    "a folded name": POST + b" Transfer-Encoding: chunked\r\nX-A: b\r\n c: d\r\nBad Name: x\r\n\r\n" + HIDDEN,
    "an invalid chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
    "a bare LF in a chunk's line": POST + b"Transfer-Encoding: chunked\r\n\r\n2;\nxx\r\n{}\r\n0\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_requests_that_two_servers_read_differently(server, client, name):
    """One answer, and the connection ends: the bytes behind are no request. This is httpd's own strictness, its
    default."""
    import socket
    with client.connect() as connection:
        connection.socket.sendall(AMBIGUOUS[name])
        connection.socket.shutdown(socket.SHUT_WR)
        answer = b""
        while (part := connection.socket.recv(65536)):
            answer += part
    assert b"hidden" not in answer and answer.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answer, answer
    # Chunks count where there is a length too (RFC 9112, 6.3); everything else is refused.
    assert answer.startswith((b"HTTP/1.1 201 ",) if name == "length and chunks" else (b"HTTP/1.1 400 ", b"HTTP/1.1 501 ")), answer
