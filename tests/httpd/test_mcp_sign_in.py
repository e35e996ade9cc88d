# SPDX-License-Identifier: Apache-2.0
"""Who may use POST /mcp: keys, pages of other sites, and where clients get tokens (RFC 9728)."""
import pytest

from client import Client
from key_file import KeyFile, MODULES, bearer
from mcp import BOTH, ON, call, error, message, rpc
from model_server import answer
from server import AGENT, MODEL

ERA = pytest.mark.parametrize("era", BOTH)


KEYS = """
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName chat
    AgentChatKeys "{keys}"
    Require valid-user
    AgentChatMCPServer on {more}
</Location>
"""


@pytest.fixture
def keyed(make_server):
    def make(more=""):
        site = make_server(start=False, modules=MODULES)
        keys = KeyFile(site.root / "keys")
        site.key = bearer(keys.make("ann", "owner=ann"))
        site.conf.write_text(site.conf.read_text() + KEYS.format(keys=keys.path, more=more))
        site.start()
        site.keyed = Client(site.port, "/keys")
        return site
    return make


@ERA
def test_keys(keyed, model, era):
    site = keyed()
    model.play(answer("Hello"))
    refused = rpc(site, era, "tools/list", mount=site.keyed)
    error(refused, -32000, 401, id=None)
    assert refused.headers["www-authenticate"] == 'Bearer realm="chat"'
    refused = call(site, era, "x", mount=site.keyed, extra=bearer("ack_ann_" + "0" * 40))
    error(refused, -32000, 401, id=None)
    assert 'error="invalid_token"' in refused.headers["www-authenticate"] and model.requests == []
    assert call(site, era, "x", mount=site.keyed, extra=site.key).json["result"]["structuredContent"]["answer"] == "Hello"


def test_pages_of_other_sites(make_server):
    site = make_server(ON)
    for origin, status in (("https://evil.example", 403), ("http://localhost", 200)):
        assert rpc(site, "legacy", "ping", extra={"Origin": origin}).status == status
    error(rpc(site, "legacy", "ping", extra={"Host": "evil.example"}), -32000, 403, id=None)
    site.expect_log("AC0663")


# ---- tokens of OpenID ----

SERVER = "authorization-server=https://login.example/t/v2.0,https://other.example scopes=Chat,Mail.Read"


def metadata(site, path, **more):
    return Client(site.port, "").get("/.well-known/oauth-protected-resource" + path, **more)


def test_the_metadata_of_the_resource(keyed):
    """Without a sign-in: a client reads it before it can sign in."""
    site = keyed(SERVER)
    host = {"Host": f"127.0.0.1:{site.port}"}
    where = f"http://127.0.0.1:{site.port}"
    reply = metadata(site, "/keys/mcp", headers=host)
    assert reply.status == 200 and reply.headers["access-control-allow-origin"] == "*"
    assert reply.json == {"resource": where + "/keys/mcp",
                          "authorization_servers": ["https://login.example/t/v2.0", "https://other.example"],
                          "bearer_methods_supported": ["header"], "scopes_supported": ["Chat", "Mail.Read"]}
    refused = rpc(site, "legacy", "ping", mount=site.keyed, extra=host)
    assert refused.status == 401 and refused.headers["www-authenticate"] == \
        f'Bearer realm="chat", resource_metadata="{where}/.well-known/oauth-protected-resource/keys/mcp", scope="Chat Mail.Read"'
    wrong = rpc(site, "legacy", "ping", mount=site.keyed, extra={**host, **bearer("ack_ann_" + "0" * 40)})
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"] and "resource_metadata=" in wrong.headers["www-authenticate"]
    native = site.keyed.get("/threads", headers=host)
    assert native.status == 401 and native.headers["www-authenticate"] == 'Bearer realm="chat"'
    post = Client(site.port, "").post("/.well-known/oauth-protected-resource/keys/mcp", {})
    assert post.status == 405 and "GET" in post.headers["allow"]


def test_there_is_no_metadata_elsewhere(keyed):
    site = keyed(SERVER)
    for path in ("", "/", "/keys", "/keys/", "/mcp", "/keys/x/mcp", "/keys/mcp/", "/api/mcp", "/keysmcp"):
        assert metadata(site, path).status == 404, path


def test_the_public_name_of_the_resource(keyed):
    """Behind a proxy the server does not know the address that clients use."""
    site = keyed(SERVER + " resource=https://chat.example.org/api/mcp")
    assert metadata(site, "/keys/mcp").json["resource"] == "https://chat.example.org/api/mcp"
    challenge = rpc(site, "legacy", "ping", mount=site.keyed).headers["www-authenticate"]
    assert 'resource_metadata="https://chat.example.org/.well-known/oauth-protected-resource/api/mcp"' in challenge


def test_a_mount_at_the_root(make_server):
    site = make_server(MODEL.format(url="http://127.0.0.1:9/v1") + AGENT + "<Location />\nSetHandler agentchat\nAgentChatMCPServer on "
                       "authorization-server=https://login.example\n</Location>\n", standard=False)
    reply = metadata(site, "/mcp")
    assert reply.json["resource"] == "http://localhost/mcp"
    challenge = Client(site.port, "").post("/mcp", message("legacy", "ping")).headers["www-authenticate"]
    assert 'resource_metadata="http://localhost/.well-known/oauth-protected-resource/mcp"' in challenge
