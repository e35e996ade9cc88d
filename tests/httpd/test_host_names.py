# SPDX-License-Identifier: Apache-2.0
"""A mount without a sign-in answers for its server's own names only: a page whose name was led here (DNS rebinding) gets nothing."""
import hashlib

import pytest

HOSTS = """
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName chat
    AgentChatKeys keys
    Require valid-user
</Location>
<VirtualHost *>
    ServerName first.example.com
</VirtualHost>
<VirtualHost *>
    ServerName second.example.com:8080
    ServerAlias second *.second.example.com
</VirtualHost>
"""
KEY = "ack_ann_" + "a" * 40
WARNING = "AC0663.*which is neither ServerName nor ServerAlias"


@pytest.fixture
def hosts(make_server):
    server = make_server(HOSTS, start=False, modules=("authn_core", "authz_user"))
    (server.root / "keys").write_text(f"id=ann key=sha256:{hashlib.sha256(KEY.encode()).hexdigest()} owner=ann\n")
    return server.start()


def ask(server, host, path="/threads", method="GET", body=None, prefix="/api", **headers):
    server.client.prefix = prefix
    return server.client.request(method, path, body, {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "chat.localhost", "localhost.localdomain", "127.0.0.1:80", "10.0.0.7",
                                  "[::1]", "[fe80::1]:8080", "first.example.com", "First.Example.com:80", "second.example.com", "second",
                                  "second:81", "a.second.example.com", "second.example.com."])
def test_own_names_and_addresses(hosts, host):
    assert ask(hosts, host).status == 200, host
    assert ask(hosts, host, method="POST", body={}, Origin=f"http://{host}".rstrip(".").lower()).status == 201, host


def test_other_names_are_refused(hosts):
    hosts.expect_log(WARNING)
    for host in ("evil.example", "evil.example:8080", "first.example.com.evil.example", "localhost.evil.example", "xsecond.example.com",
                 "127.0.0.1.evil.example", "localhost.example"):
        for method, path, body in (("GET", "/threads", None), ("POST", "/threads", {}), ("GET", "/agents", None),
                                   ("GET", "/agent/stream?message=hi", None)):
            refused = ask(hosts, host, path, method, body, Origin=f"http://{host}")
            assert refused.status == 403 and refused.json["code"] == "forbidden", (host, path)
            assert "ServerName" in refused.json["detail"]
        assert ask(hosts, host, "/health").status == 200
    lines = hosts.wait_log("AC0663.*")
    assert "'evil.example'" in lines[0] and len(lines) == 1


def test_a_sign_in_needs_no_name(hosts):
    assert ask(hosts, "evil.example", prefix="/keys", X_API_Key=KEY).status == 200
    # Also on a mount that is open to all, if a request has a key.
    assert ask(hosts, "evil.example", prefix="/keys").status == 401


def test_without_a_virtual_host(make_server):
    server = make_server()
    server.expect_log(WARNING)
    assert ask(server, "localhost").status == 200
    assert ask(server, "evil.example").status == 403
    # No browser asks without a name.
    with server.client.connect() as connection:
        connection.socket.sendall(b"GET /api/threads HTTP/1.0\r\n\r\n")
        assert connection.head()[0] == 200
