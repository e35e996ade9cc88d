# SPDX-License-Identifier: Apache-2.0
"""CORS: preflight requests, exposed headers, and refused origins."""
import base64
import hashlib

import pytest

from client import Client
from model_server import answer as says

APP, OTHER = "https://app.example.com", "https://evil.example"
MOUNTS = """
<Location "/api">
    AgentChatCORSOrigin https://app.example.com http://localhost:3000
    AgentChatCORSCredentials on
    AgentChatCORSMaxAge 5min
</Location>
<Location "/open">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatCORSOrigin *
</Location>
<Location "/closed">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
<Location "/private">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile users
    Require valid-user
    AgentChatCORSOrigin https://app.example.com
</Location>
<Location "/password">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile users
    Require valid-user
    AgentChatCORSOrigin *
</Location>
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName chat
    AgentChatKeys keys
    Require valid-user
    AgentChatCORSOrigin *
</Location>
"""
ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}


@pytest.fixture
def site(make_server):
    server = make_server(MOUNTS, start=False, modules=("authn_core", "authn_file", "auth_basic", "authz_user"))
    (server.root / "users").write_text("ann:{SHA}" + base64.b64encode(hashlib.sha1(b"secret").digest()).decode() + "\n")
    server.key = "ack_ann_" + "a" * 40
    (server.root / "keys").write_text(f"id=ann key=sha256:{hashlib.sha256(server.key.encode()).hexdigest()} owner=ann\n")
    return server.start()


def ask(site, path, origin=APP, method="GET", body=None, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Client(site.port, prefix="").request(method, path, body, {**({"Origin": origin} if origin else {}), **given})


def preflight(site, path, method="POST", origin=APP):
    return ask(site, path, origin, "OPTIONS", Access_Control_Request_Method=method, Access_Control_Request_Headers="content-type")


def cors(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_a_listed_origin_gets_its_permissions(site):
    for origin in (APP, "http://localhost:3000"):
        answer = preflight(site, "/api/threads", origin=origin)
        assert answer.status == 204 and answer.body in (b"", "")
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-allow-methods"] == "POST, GET, HEAD, OPTIONS"
        assert answer.headers["access-control-max-age"] == "300"
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert {"authorization", "x-api-key", "idempotency-key", "last-event-id"} <= {
            name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    answer = ask(site, "/api/threads", method="POST", body={})
    assert answer.status == 201 and answer.headers["access-control-allow-origin"] == APP
    assert "Location" in answer.headers["access-control-expose-headers"] and "Origin" in answer.headers["vary"]


def test_an_answer_that_streams_can_be_read(site, model):
    model.play(says("hello"))
    answer = ask(site, "/api/agents/assistant/chat", method="POST", body={"message": "hi"})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["access-control-allow-origin"] == APP


def test_errors_can_be_read_too(site):
    for path in ("/api/threads/thread_none", "/api/nothing"):
        answer = ask(site, path)
        assert answer.status == 404 and answer.headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("origin", [OTHER, "null", "https://app.example.com.evil.example", "https://app.example.com:8443",
                                    "http://app.example.com", "HTTPS://APP.EXAMPLE.COM", "https://app.example.com,https://evil.example"])
def test_another_origin_gets_no_permissions(site, origin):
    assert not cors(preflight(site, "/api/threads", origin=origin))
    answer = ask(site, "/api/threads", origin)
    assert not cors(answer) and "Origin" in answer.headers["vary"]


def test_cross_site_requests_by_sec_fetch_site_are_refused(site):
    for path in ("/api/threads", "/closed/threads"):
        refused = ask(site, path, OTHER, "POST", {}, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")
        assert refused.status == 403 and refused.json["code"] == "forbidden" and "AgentChatCORSOrigin" in refused.json["detail"]
        assert ask(site, path, OTHER, "POST", {}, Sec_Fetch_Site="same-origin").status == 201
    assert ask(site, "/closed/agent/stream?message=hi", None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert ask(site, "/closed/threads", None, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    # A link may lead to what there is, and not run an agent.
    for where in ("cross-site", "same-site", "same-origin"):
        assert ask(site, "/closed/agent/stream?message=hi", None, Sec_Fetch_Site=where, Sec_Fetch_Mode="navigate").status == 403
    assert ask(site, "/closed/selftest/stream", None, "HEAD", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200
    assert ask(site, "/api/threads", APP, "POST", {}, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 201
    assert ask(site, "/open/threads", OTHER, "POST", {}, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors").status == 201


def test_simple_requests_of_other_sites_are_refused(site):
    """A Blob without a type is sent without one."""
    body = b'{"title": "x"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", None):
        refused = ask(site, "/closed/threads", "http://localhost", "POST", body, Content_Type=kind)
        assert refused.status == 415 and refused.json["code"] == "unsupported_media_type", kind
        # Also where there is nothing of this type.
        refused = ask(site, "/closed/threads", "http://localhost", "POST", b"", Content_Type=kind)
        assert refused.status == (415 if kind else 201), kind
    assert ask(site, "/closed/threads", None, "POST", b"", Content_Type="text/plain").status == 415
    assert ask(site, "/closed/threads", None, "POST", body, Content_Type=None).status == 201


@pytest.mark.parametrize("origin", [OTHER, "null", "http://localhost.evil.example", "http://evil.example:80", "localhost"])
def test_without_sec_fetch_site_the_origin_decides(site, origin):
    """Over plain http browsers do not send Sec-Fetch-Site."""
    for method, path, body in (("POST", "/threads", {}), ("POST", "/threads", b""), ("POST", "/threads", None), ("GET", "/threads", None),
                               ("GET", "/agent/stream?message=hi", None), ("GET", "/agents", None)):
        for mount, signed in (("/closed", {}), ("/private", ANN), ("/password", ANN)):
            headers = {**signed, "Content-Type": "application/json" if body == {} else None}
            refused = ask(site, mount + path, origin, method, body, **headers)
            assert refused.status == 403 and refused.json["code"] == "forbidden", (method, mount + path, body, refused)
            assert "AgentChatCORSOrigin" in refused.json["detail"]
    assert ask(site, "/private/threads", APP, "POST", b"", **ANN).status == 201


@pytest.mark.parametrize("origin,headers", [
    ("http://localhost", {}), ("http://localhost:8080", {}), ("https://localhost", {"Host": "localhost:8443"}),
    ("http://[::1]:81", {"Host": "[::1]:81"}), ("https://LOCALHOST", {"Host": "localhost"}),
    ("https://www.example.com", {"X-Forwarded-Host": "www.example.com"}),
    ("https://www.example.com:8443", {"X-Forwarded-Host": "inner, www.example.com:8443"})])
def test_pages_of_the_host_itself_need_no_permission(site, origin, headers):
    """Also behind a proxy that asks under a name of its own."""
    assert ask(site, "/closed/threads", origin, "POST", {}, **headers).status == 201
    assert ask(site, "/private/threads", origin, "POST", b"", **headers, **ANN).status == 201


def test_every_origin_does_not_apply_to_passwords(site, model):
    """Credentials that a browser adds by itself are no permission of the visitor; those that a page adds are."""
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    for headers in (foreign, {}):
        for method, path in (("GET", "/agent/stream?message=hi"), ("GET", "/threads"), ("POST", "/threads")):
            refused = ask(site, "/password" + path, OTHER, method, {} if method == "POST" else None, **headers, **ANN)
            assert refused.status == 403 and "'*' is not enough" in refused.json["detail"], (headers, path)
            assert ask(site, "/password" + path, None, method, None, **foreign, **ANN).status == 403
        for key in ({"Authorization": f"Bearer {site.key}"}, {"X-API-Key": site.key}):
            assert ask(site, "/keys/threads", OTHER, "POST", {}, **headers, **key).status == 201
    assert not model.requests
    assert ask(site, "/password/threads", "http://localhost", "POST", {}, **ANN).status == 201
    # This mount has no authentication, so a page has no identity to borrow.
    model.play(says("hello"))
    assert ask(site, "/open/agent/stream?message=hi", OTHER, **foreign).status == 200


def test_headers_of_other_clients_are_allowed(site):
    """The OpenAI SDKs send headers about themselves; each version sends more."""
    sent = ["x-stainless-lang", "x-stainless-package-version", "x-stainless-os", "x-stainless-arch", "x-stainless-runtime",
            "x-stainless-runtime-version", "x-stainless-retry-count", "x-stainless-timeout", "X-Stainless-Something-New",
            "openai-organization", "openai-project", "user-agent", "authorization", "content-type"]
    answer = ask(site, "/api/agents/assistant/chat", APP, "OPTIONS", Access_Control_Request_Method="POST",
                 Access_Control_Request_Headers=",".join([*sent, "x-other", "x-stainless-b@d", "openai"]))
    assert answer.status == 204
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {name.lower() for name in sent} <= allowed and not allowed & {"x-other", "x-stainless-b@d", "openai"}
    assert not any("stainless" in name for name in preflight(site, "/api/threads").headers["access-control-allow-headers"].split(","))


def test_every_origin_without_credentials(site):
    answer = preflight(site, "/open/threads", origin=OTHER)
    assert answer.status == 204 and answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers and "vary" not in answer.headers


def test_without_the_directive_there_is_no_header(site):
    assert not cors(preflight(site, "/closed/threads")) and not cors(ask(site, "/closed/threads"))
    assert ask(site, "/closed/threads", method="OPTIONS").headers["allow"] == "POST, GET, HEAD, OPTIONS"


def test_preflight_requests_need_no_sign_in(site):
    assert preflight(site, "/private/threads").status == 204
    assert preflight(site, "/private/threads", origin=OTHER).status == 401
    assert preflight(site, "/private/nothing").status == 401
    assert ask(site, "/private/threads", method="OPTIONS").status == 401
    refused = ask(site, "/private/threads")
    assert refused.status == 401 and refused.headers["access-control-allow-origin"] == APP
    answer = ask(site, "/private/threads", **ANN)
    assert answer.status == 200 and "access-control-allow-credentials" not in answer.headers
