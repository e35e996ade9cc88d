# SPDX-License-Identifier: Apache-2.0
"""The sample configurations of conf/sign-in-*.conf, as they are but for addresses and paths: API keys, passwords, and the tokens of
an OpenID provider, checked by mod_auth_openidc."""
import base64
import re
import subprocess
from urllib.parse import parse_qs, quote, urlsplit

import pytest

import peers
from client import Client
from issuer import Issuer
from key_file import KeyFile, bearer
from manual import blocks
from server import AGENT, MODEL, MODULES, TOP


def serve(make_server, model, name, **replaced):
    text = (TOP / f"conf/sign-in-{name}.conf").read_text()
    for old, new in replaced.items():
        text, n = re.subn(rf"(?m)^( *Define {old} +).*$", rf'\1"{new}"', text)
        assert n == 1, old
    server = make_server(MODEL.format(url=model.url) + AGENT, start=False, standard=False,
                         modules=("authn_core", "authn_file", "auth_basic", "authz_user"))
    (server.root / "etc").mkdir()
    (server.root / "etc").chmod(0o755)
    server.conf.write_text(server.conf.read_text() + text.replace("/etc/agentchat", f"{server.root}/etc"))
    return server


def threads_are_apart(client, ann, bob):
    thread = client.post("/threads", {}, headers=ann).json["id"]
    assert client.get(f"/threads/{thread}", headers=ann).status == 200
    assert client.get(f"/threads/{thread}", headers=bob).status == 404
    assert client.get("/threads", headers=bob).json["data"] == []
    assert client.get("/threads").status == 401


def is_admin(client, headers):
    """Whether a route for operators lets in."""
    status = client.request("DELETE", "/agents/no-such-agent", headers=headers).status
    assert status in (403, 404)
    return status == 404


def test_keys(make_server, model):
    server = serve(make_server, model, "keys")
    keys = KeyFile(server.root / "etc/keys")
    ann, bob = (bearer(keys.make(f"{name}-laptop", f"owner={name}", *more)) for name, *more in [("ann", "roles=admin"), ("bob",)])
    server.start()
    threads_are_apart(server.client, ann, bob)
    assert is_admin(server.client, ann) and not is_admin(server.client, bob)


def test_passwords(make_server, model):
    server = serve(make_server, model, "basic")
    passwords = server.root / "etc/passwords"
    hashed = {name: subprocess.run(["openssl", "passwd", "-apr1", "pw"], capture_output=True, text=True, check=True).stdout
              for name in ("ann", "bob")}
    passwords.write_text("".join(f"{name}:{text}" for name, text in hashed.items()))
    passwords.chmod(0o644)
    server.start()
    ann, bob = ({"Authorization": "Basic " + base64.b64encode(f"{name}:pw".encode()).decode()} for name in ("ann", "bob"))
    threads_are_apart(server.client, ann, bob)
    assert is_admin(server.client, ann) and not is_admin(server.client, bob)
    # What an EventSource in a page can do: a GET with the browser's own sign-in.
    events = server.client.stream("/agent/stream?message=x", method="GET", headers={**ann, "Accept": "text/event-stream"}).body()
    assert b"event: done" in events


# ---- OpenID ----
def openid_module():
    """Installed, or out of Debian's package, which would enable it."""
    module = MODULES / "mod_auth_openidc.so"
    if module.exists():
        return module
    return peers.debian_files("libapache2-mod-auth-openidc") / "usr/lib/apache2/modules/mod_auth_openidc.so"


@pytest.fixture
def issuer(tmp_path):
    issuer = Issuer(tmp_path)
    yield issuer
    issuer.stop()


@pytest.fixture
def openid(make_server, model, issuer):
    server = serve(make_server, model, "openid", OPENID_ISSUER=issuer.url, OPENID_JWKS=issuer.url + "/keys", OPENID_AUDIENCE="agentchat")
    server.conf.write_text(server.conf.read_text().replace("modules/mod_auth_openidc.so", str(openid_module())))
    (server.root / "issuer.crt").write_text(issuer.certificate.read_text())
    server.conf.write_text(server.conf.read_text() + f"OIDCCABundlePath {server.root}/issuer.crt\n")
    server.start()
    server.expect_log("auth_openidc:", "authz_core:", "authorization failure", "no check_authn")
    return server


def test_openid_owner_and_roles_come_from_claims(openid, issuer):
    ann, bob = bearer(issuer.token()), bearer(issuer.token(oid="id-bob", sub="s-bob", roles=["Other.Role", "AgentChat.Admin"]))
    threads_are_apart(openid.client, ann, bob)
    assert not is_admin(openid.client, ann) and is_admin(openid.client, bob)
    # The name may change; the identifier is the owner.
    thread = openid.client.post("/threads", {}, headers=ann).json["id"]
    renamed = bearer(issuer.token(sub="s-ann-2", aud=["other", "agentchat"], name="Ann B."))
    assert openid.client.get(f"/threads/{thread}", headers=renamed).status == 200
    events = openid.client.stream("/agents/assistant/chat", {"message": "x"}, headers=ann).rest()
    assert events[-1].type == "done"
    # A role of theirs that has our name's form is not ours.
    assert not is_admin(openid.client, bearer(issuer.token(roles=["admin"])))
    refused = openid.client.get("/threads", headers=bearer(issuer.token(oid=None)))
    assert refused.status == 403 and refused.json["detail"] == "the sign-in has no user name"


def test_openid_refuses_tokens_for_others(openid, issuer):
    good = issuer.token()
    head, body, signature = good.split(".")
    other = issuer.token(oid="id-bob").split(".")
    for what, token in {
        "expired": issuer.token(exp=1600000000), "another issuer": issuer.token(iss="http://127.0.0.1:1"),
        "another audience": issuer.token(aud="other"), "no audience": issuer.token(aud=None),
        "no expiry": issuer.token(exp=None), "an ID token": issuer.token(scp=None, nonce="x", roles=["AgentChat.Admin"]),
        "other scopes": issuer.token(scp="User.Read Chat.Other XChat"), "no scope": issuer.token(scp=""),
        "an unknown key": issuer.token(key=issuer.stranger),
        "an unknown key under a known name": issuer.token(key=issuer.stranger, header={"kid": "key-1"}),
        "no signature": issuer.token(header={"alg": "none"}),
        "signed with the public key": issuer.token(header={"alg": "HS256"}),
        "another's claims": ".".join([head, other[1], signature]), "cut": good[:-8], "nonsense": "nonsense",
    }.items():
        response = openid.client.get("/threads", headers=bearer(token))
        assert response.status == 401, (what, response)
        assert response.json["code"] == "unauthenticated"
    assert openid.client.get("/threads", headers=bearer(good)).status == 200


def test_openid_headers_of_the_client_are_ignored(openid, issuer):
    forged = {"OIDC_CLAIM_oid": "id-ann", "OIDC-CLAIM-oid": "id-ann", "Oidc-Claim-Roles": "AgentChat.Admin",
              "OIDC_CLAIM_roles": "AgentChat.Admin", "X-Remote-User": "ann"}
    thread = openid.client.post("/threads", {}, headers=bearer(issuer.token())).json["id"]
    bob = {**bearer(issuer.token(oid="id-bob")), **forged}
    assert openid.client.get(f"/threads/{thread}", headers=bob).status == 404
    assert not is_admin(openid.client, bob)
    assert openid.client.get("/threads", headers=forged).status == 401


# ---- OpenID with a cookie ----
@pytest.fixture
def cookies(make_server, model, issuer):
    """docs/sign-in.md for people in browsers, at this provider."""
    text, = [text for _, text in blocks(TOP / "docs/sign-in.md", "apache") if "OIDCRedirectURI" in text]
    metadata = (f"OIDCProviderIssuer {issuer.url}\nOIDCProviderAuthorizationEndpoint {issuer.url}/authorize\n"
                f"OIDCProviderTokenEndpoint {issuer.url}/token\nOIDCProviderJwksUri {issuer.url}/keys\nOIDCCABundlePath issuer.crt")
    text = re.sub("(?m)^OIDCProviderMetadataURL .*$", metadata, text)
    text, n = re.subn('(?m)"exec:/bin/cat [^"]+"', '"a secret of the test"', text)
    assert n == 2
    server = make_server(MODEL.format(url=model.url) + AGENT, start=False, standard=False,
                         modules=("authn_core", "authz_user", "dir", "alias"))
    (server.root / "issuer.crt").write_text(issuer.certificate.read_text())
    (server.root / "htdocs/chat").mkdir()
    (server.root / "htdocs/chat/index.html").write_text("the page")
    text = text.replace("OIDCCABundlePath ", f"OIDCCABundlePath {server.root}/")
    server.conf.write_text(server.conf.read_text() + f"LoadModule auth_openidc_module {openid_module()}\n{text}\n")
    server.start()
    server.expect_log("auth_openidc:")
    return server


def cookie(response):
    return {"Cookie": response.headers["set-cookie"].split(";")[0]}


def at_the_provider(server, issuer, **claims):
    """Signs in as a browser does; the session's cookie."""
    client = Client(server.port, prefix="/chat")
    sent = client.get("/", headers={"Accept": "text/html"})
    assert sent.status == 302 and sent.headers["location"].startswith(issuer.url + "/authorize?")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    issuer.nonce, issuer.claims = asked["nonce"], claims
    back = client.get(f"/openid?code=c&state={asked['state']}", headers=cookie(sent))
    assert back.status == 302 and back.headers["location"].endswith("/chat/"), back.headers
    return cookie(back)


def test_openid_with_a_cookie(cookies, issuer):
    ann, bob = at_the_provider(cookies, issuer), at_the_provider(cookies, issuer, oid="id-bob", roles=["AgentChat.Admin"])
    threads_are_apart(cookies.client, ann, bob)
    assert is_admin(cookies.client, bob) and not is_admin(cookies.client, ann)
    assert Client(cookies.port, prefix="/chat").get("/index.html", headers=ann).body == b"the page"
    # Pages of other sites have no use of the cookie.
    assert cookies.client.get("/threads", headers={**ann, "Origin": "https://evil.example"}).status == 403


def test_openid_without_a_session_is_a_plain_401(cookies, issuer):
    """No redirect that a request of the page's could not follow, and no challenge that makes a browser ask for a password."""
    for method, path in (("GET", "/threads"), ("POST", "/threads"), ("GET", "/agent/stream?message=x"), ("DELETE", "/agents/x")):
        for headers in ({}, {"Cookie": "mod_auth_openidc_session=nonsense"}):
            refused = cookies.client.request(method, path, {} if method == "POST" else None, headers=headers)
            assert refused.status == 401 and refused.json["code"] == "unauthenticated", (path, refused)
            assert "www-authenticate" not in refused.headers and "location" not in refused.headers


def test_openid_sign_out(cookies, issuer):
    ann = at_the_provider(cookies, issuer)
    here = f"http://localhost:{cookies.port}/chat/"
    headers = {**ann, "Host": f"localhost:{cookies.port}"}
    out = Client(cookies.port, prefix="/chat").get("/openid?logout=" + quote(here, safe=""), headers=headers)
    assert out.status == 302 and out.headers["location"] == here, out.headers
    assert cookies.client.get("/threads", headers=ann).status == 401
