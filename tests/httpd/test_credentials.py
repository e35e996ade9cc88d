# SPDX-License-Identifier: Apache-2.0
"""AgentChatCredential in all its forms, end to end: an authority and a vault of the tests' own stand for Azure's."""
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest

from model_server import Gate, ModelServer, Reply
from server import MOUNT, OPERATOR, Server

SECRET = "zebra-app-s3cr3t"
APP = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "11111111-2222", "AZURE_CLIENT_SECRET": SECRET}
# Nothing of the machine that the tests run on: no identity service, no az.
NOWHERE = {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:1", "AZURE_AUTHORITY_HOST": "http://127.0.0.1:1",
           "PATH": "/nonexistent"}
MODEL = """
<AgentChatModel azure>
    AgentChatProvider azure-openai
    AgentChatEndpoint http://127.0.0.1:{port} deployment=d
    AgentChatCredential {credential}
    AgentChatRetries 0
</AgentChatModel>
<AgentChatAgent a>
    AgentChatModel azure
</AgentChatAgent>
AgentChatDefaultAgent a
""" + MOUNT + OPERATOR


def token(text, seconds=3600):
    return lambda _request: iter([Reply(200, {"token_type": "Bearer", "access_token": text, "expires_in": seconds})])


def refuse(status, body):
    return lambda _request: iter([Reply(status, body)])


EXPIRED = refuse(401, {"error": {"code": "401", "message": "Access token is missing, invalid, or expired."}})


@pytest.fixture
def authority():
    server = ModelServer()
    server.default = token("zebra-token-1")
    yield server
    server.stop()


class Vault:
    """Has one secret, whose value the test may change."""

    def __init__(self, value):
        self.value, self.requests = value, []
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                vault.requests.append((self.path, self.headers.get("authorization")))
                body = b'{"value": "%s", "id": "x"}' % vault.value.encode()
                self.send_response(200 if self.headers.get("authorization") else 401)
                self.send_header("WWW-Authenticate", f'Bearer authorization="https://127.0.0.1/of-the-vault", '
                                 f'resource="https://localhost"')
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://kv.localhost:{self.server.server_address[1]}/secrets/model-key"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def vault():
    vault = Vault("zebra-key-1")
    yield vault
    vault.stop()


@pytest.fixture
def start(make_server, model, authority):
    """start("identity", **environment): a server whose model is asked with this credential."""
    def make(credential, **env):
        at = {"AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{authority.port}"}
        server = make_server("", standard=False, start=False, env={**NOWHERE, **at, **env})
        server.write(MODEL.format(port=model.port, credential=credential))
        return server.start()

    return make


def say(server, text="x"):
    return server.client.send(server.client.thread(), text)


def check_no_secret(server):
    assert not re.search(r"zebra", server.log())


def test_identity(start, model, authority):
    server = start("identity", **APP)
    for _ in range(3):
        assert say(server).json["content"] == "Hello world"
    assert {request.headers["authorization"] for request in model.requests} == {"Bearer zebra-token-1"}
    assert all("api-key" not in request.headers for request in model.requests)
    asked, = authority.requests
    form = {name: value for name, (value,) in parse_qs(asked.body.decode()).items()}
    assert asked.path == "/contoso.example/oauth2/v2.0/token"
    assert form == {"client_id": "11111111-2222", "grant_type": "client_credentials", "client_secret": SECRET,
                    "scope": "https://ai.azure.com/.default"}
    assert server.wait_log("AC0244: identity: signed in by environment")
    check_no_secret(server)


def test_a_scope_of_its_own(start, authority):
    server = start("identity:environment scope=https://cognitiveservices.azure.com/.default", **APP)
    assert say(server).status == 200
    assert b"scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default" in authority.requests[0].body


def test_an_expired_token_is_renewed_once(start, model, authority):
    server = start("identity", **APP)
    assert say(server).status == 200
    authority.default = token("zebra-token-2")
    model.play(EXPIRED)
    assert say(server).json["content"] == "Hello world"
    assert [request.headers["authorization"] for request in model.requests] == [
        "Bearer zebra-token-1", "Bearer zebra-token-1", "Bearer zebra-token-2"]
    assert model.requests[1].body == model.requests[2].body
    assert len(authority.requests) == 2
    check_no_secret(server)


def test_a_model_that_takes_no_token(start, model, authority):
    server = start("identity", **APP)
    server.expect_log("AC0502")
    model.default = EXPIRED
    authority.play(token("zebra-token-1"), token("zebra-token-2"))
    response = say(server)
    assert response.status == 502 and response.json["code"] == "model_refused"
    assert len(model.requests) == 2 and len(authority.requests) == 2
    check_no_secret(server)


def test_an_authority_that_refuses(start, model, authority):
    server = start("identity", **APP)
    server.expect_log("AC0240", "AC0502")
    authority.default = refuse(401, {"error": "invalid_client", "error_codes": [7000222],
                                     "error_description": "AADSTS7000222: zebra of someone@contoso.example"})
    response = say(server)
    assert response.status == 502 and response.json["code"] == "model_refused"
    assert "AADSTS7000222: the client secret has expired; make a new one" in response.json["detail"]
    assert server.wait_log("AC0240: credential identity for https://ai.azure.com/.default: there is none: environment: AADSTS7000222")
    assert not model.requests and "someone" not in server.log()
    check_no_secret(server)


def test_a_machine_without_identity(start, model):
    server = start("identity")
    server.expect_log("AC0240", "AC0502")
    assert say(server).status == 502
    line, = server.wait_log("AC0240: .*")
    for part in ("environment: not set: AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET", "workload: not set: ",
                 "managed: no identity service on this machine", "cli: 'az' is not installed"):
        assert part in line
    assert not model.requests


def test_ready_reports_a_missing_identity(start, authority):
    server = start("identity:environment", **APP)
    server.expect_log("AC0240")
    authority.default = refuse(400, {"error_codes": [700016]})
    response = server.ready()
    assert response.status == 503 and response.json["models"][0]["state"] == "failed"
    assert server.wait_log("AC0240: .*AADSTS700016: the tenant has no app with this client id")
    check_no_secret(server)


def test_key_vault(start, model, authority, vault):
    server = start(f"keyvault:{vault.url} refresh=1s", AZURE_CLIENT_ID="1", AZURE_CLIENT_SECRET=SECRET)
    assert say(server).status == 200
    assert model.requests[0].headers["api-key"] == "zebra-key-1"
    assert vault.requests[0] == ("/secrets/model-key?api-version=7.4", None)
    assert vault.requests[1][1] == "Bearer zebra-token-1"
    assert authority.requests[0].path == "/of-the-vault/oauth2/v2.0/token"
    vault.value = "zebra-key-2"
    server.wait_log("AC0243: credential keyvault:")
    assert say(server).status == 200
    assert model.requests[-1].headers["api-key"] == "zebra-key-2"
    assert len(authority.requests) == 1
    check_no_secret(server)


def test_a_key_that_the_model_does_not_know_any_more(start, model, vault):
    server = start(f"keyvault:{vault.url} tenant-id=t", AZURE_CLIENT_ID="1", AZURE_CLIENT_SECRET=SECRET)
    assert say(server).status == 200
    vault.value = "zebra-key-2"
    model.play(EXPIRED)
    assert say(server).json["content"] == "Hello world"
    assert [request.headers["api-key"] for request in model.requests] == ["zebra-key-1", "zebra-key-1", "zebra-key-2"]
    check_no_secret(server)


def write_key(server, text, mode):
    new = server.root / "key.new"
    new.write_text(text)
    new.chmod(mode)
    new.rename(server.root / "key")


@pytest.fixture
def with_file(make_server, model):
    def make(mode, options):
        server = make_server("", standard=False, start=False, env=NOWHERE)
        write_key(server, "zebra-key-1\n", mode)
        server.write(MODEL.format(port=model.port, credential=f"file:key {options}"))
        return server.start()

    return make


def test_a_key_file_is_read_again(with_file, model):
    server = with_file(0o644, "refresh=1s")
    assert say(server).status == 200
    write_key(server, "zebra-key-2\n", 0o644)
    server.wait_log("AC0243: credential file:")
    assert say(server).status == 200
    assert [request.headers["api-key"] for request in model.requests] == ["zebra-key-1", "zebra-key-2"]
    check_no_secret(server)


@pytest.mark.skipif(os.geteuid() != 0, reason="all processes of httpd run as the same user")
def test_a_key_file_for_root_only(with_file, model):
    server = with_file(0o600, "refresh=1s")
    assert say(server).status == 200
    write_key(server, "zebra-key-2", 0o600)
    server.wait_log("AC0245: credential file:")
    assert say(server).status == 200
    before = server.children()
    server.graceful()
    server.wait_gone(before)                # one of them may still have taken a request
    server.wait_log("AC0601", 2)
    assert say(server).status == 200
    assert [request.headers["api-key"] for request in model.requests] == ["zebra-key-1", "zebra-key-1", "zebra-key-2"]
    check_no_secret(server)


SENTENCES = [
    ("identity:magic", {}, "AgentChatCredential: 'identity:magic' is not a credential provider; known are identity (each of these in "
     "turn), identity:environment, identity:workload, identity:managed, identity:cli"),
    ("identity:environment", {}, "AgentChatCredential: 'identity:environment' needs what the environment of httpd does not "
     "have: AZURE_CLIENT_ID (or client-id=), AZURE_TENANT_ID (or tenant-id=), AZURE_CLIENT_SECRET or "
     "AZURE_CLIENT_CERTIFICATE_PATH"),
    ("identity", {"AZURE_AUTHORITY_HOST": "http://login.example"},
     "AgentChatCredential: the variable AZURE_AUTHORITY_HOST: 'http://login.example' is not an https address"),
    ("identity", {"AZURE_TOKEN_CREDENTIALS": "production"},
     "AgentChatCredential: the variable AZURE_TOKEN_CREDENTIALS is 'production'; known here are prod, dev, "),
    ("identity", {**APP, "AZURE_CLIENT_SECRET": "", "AZURE_CLIENT_CERTIFICATE_PATH": "/nonexistent.pem"},
     "AgentChatCredential: the certificate '/nonexistent.pem' of AZURE_CLIENT_CERTIFICATE_PATH cannot be read"),
    ("identity object-id=1 client-id=2", {}, "AgentChatCredential: client-id=, object-id= and resource-id= each name a managed "
     "identity; give one of them"),
    ("identity client_id=2", {}, "AgentChatCredential: 'identity' takes no option 'client_id'; it knows client-id=, "),
    ("identity scope=openai", {}, "AgentChatCredential: scope='openai' is not a scope"),
    ("identity scope=a scope=b", {}, "AgentChatCredential: 'scope' is given twice"),
    ("keyvault:https://v.vault.azure.net/n", {}, "AgentChatCredential: 'keyvault:https://v.vault.azure.net/n' is not the address "
     "of a vault's secret; give one like keyvault:https://VAULT.vault.azure.net/secrets/NAME"),
    ("keyvault:http://v.vault.azure.net/secrets/n", {}, "is not the https address of a secret"),
    ("keyvault:https://v.vault.azure.net/secrets/n refresh=1", {}, "AgentChatCredential: refresh='1' is not a duration"),
    ("env:A_KEY refresh=1s", {"A_KEY": "k"}, "AgentChatCredential: 'env:A_KEY' takes no option 'refresh'; it has none"),
    ("Bearer zebra", {}, "AgentChatCredential: the first word must be followed by key=value"),
    ("zebra", {}, "AgentChatCredential: a secret must not be in the configuration; give env:NAME, file:PATH, keyvault:"),
]


def configtest(credential, env, model=MODEL):
    clean = {name: "" for name in os.environ if name.startswith(("AZURE_", "IDENTITY_", "MSI_"))}
    server = Server(model.format(port=1, credential=credential), env={**clean, **env})
    try:
        return server.configtest()
    finally:
        server.remove()


@pytest.mark.parametrize("credential, env, sentence", SENTENCES, ids=[row[0] for row in SENTENCES])
def test_configtest_reports_errors(credential, env, sentence):
    ok, said = configtest(credential, env)
    assert not ok
    assert sentence in said
    assert "on line" in said and "zebra" not in said


@pytest.mark.parametrize("credential", [
    "identity", "identity:managed", "identity:cli tenant-id=contoso.example",
    "identity:managed resource-id=/subscriptions/1/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i",
    "keyvault:https://v.vault.azure.net/secrets/n/0123abcd identity=managed client-id=11-22 refresh=1h"])
def test_configtest_takes(credential):
    ok, said = configtest(credential, {})
    assert ok, said


def test_tokens_do_not_go_to_foreign_hosts():
    model = MODEL.replace("azure-openai", "openai").replace("http://127.0.0.1:{port} deployment=d", "https://llm.example.com/v1")
    ok, said = configtest("identity", {}, model)
    assert not ok and "AgentChatCredential: 'identity' gives tokens of Entra ID, and llm.example.com is not a host of Azure" in said
    ok, said = configtest("identity scope=api://my-gateway/.default", {}, model)
    assert ok, said


def test_an_identity_service_that_hangs_costs_ten_seconds(make_server, model):
    """The machine's identity service may take a minute for a token while it is updated. No caller waits for that."""
    gate = Gate()

    class Hanging(ModelServer):
        def _respond(self, connection, method, target, headers, body):
            gate.pass_through(lambda: False)
            return False
    imds = Hanging()
    server = make_server(MODEL.format(port=model.port, credential="identity:managed"), standard=False,
                         env={**NOWHERE, "AZURE_POD_IDENTITY_AUTHORITY_HOST": f"http://127.0.0.1:{imds.port}"})
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _i: server.client.post("/agents/a/chat", {"message": "x", "stream": False}), range(5)))
    assert [(r.status, r.json["code"]) for r in answers] == [(504, "model_timeout")] * 5
    assert all("no credential for the model's service within 10s" in r.json["detail"] for r in answers)
    server.expect_log("AC0502", "AC0503", "AC0240", "AC0540")
    gate.open()
    imds.stop()
