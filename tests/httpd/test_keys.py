# SPDX-License-Identifier: Apache-2.0
"""Authentication with API keys: accepted and refused keys, and changes of the file."""
import os
import re
import stat

import pytest

from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from runs import wait_until


@pytest.fixture
def keyed(make_server, model):
    """A server with a mount /keys that wants a key, and its file."""
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    keys.first = keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.start()
    server.client.prefix = "/keys"
    server.keys = keys
    return server


def status(server, key):
    return server.client.get("/threads", headers=bearer(key)).status


def test_both_headers_sign_in(keyed):
    key, client = keyed.keys.first, keyed.client
    thread = client.post("/threads", {}, headers={"X-API-Key": key}).json["id"]
    for headers in (bearer(key), {"Authorization": f"bearer   {key}"}, {"X-API-Key": key}, {"X-API-Key": key, **bearer(key)},
                    {"X-API-Key": key, "Authorization": "Basic eDp5"}):
        assert client.get(f"/threads/{thread}", headers=headers).status == 200, headers
    events = client.stream("/agents/assistant/chat", {"message": "hello"}, headers=bearer(key)).rest()
    assert events[-1].type == "done"


def test_the_challenge(keyed):
    response = keyed.client.get("/threads")
    assert response.status == 401 and response.headers["www-authenticate"] == r'Bearer realm="the \"chat\""'
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json["code"] == "unauthenticated" and response.json["detail"] == "this needs an API key"
    assert response.json["request_id"] == response.headers["x-request-id"]
    for headers in ({"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"X-API-Key": ""}):
        assert keyed.client.get("/threads", headers=headers).json["detail"] == "this needs an API key", headers
    response = keyed.client.get("/threads", headers=bearer("nonsense"))
    assert response.status == 401
    assert response.headers["www-authenticate"].endswith(', error="invalid_token", error_description="the key is not known"')
    assert response.json["detail"] == "the key is not known"
    response = keyed.client.get("/threads", headers={"X-API-Key": keyed.keys.first, **bearer("other")})
    assert response.status == 400 and response.json["detail"] == "there are two keys; send one"


def test_invalid_keys_are_refused(keyed):
    key = keyed.keys.first
    wrong = [key[:-1], key + "0", key[:-1] + ("0" if key[-1] != "0" else "1"), key.upper(), key.replace("ann-1", "ann-2"),
             "ack_ann-1_", "ack_ann-1", "ack__", "ack_", key.split("_", 2)[2], "x" * 255, "x" * 256, "x" * 4000, key + ", " + key]
    for text in wrong:
        assert status(keyed, text) == 401, text
    assert status(keyed, key) == 200


def test_routes_without_an_owner_want_the_key_that_httpd_asks_for(keyed):
    assert keyed.client.get("/health").status == 401
    assert keyed.client.get("/health", headers=bearer(keyed.keys.first)).status == 200
    assert keyed.client.get("/no-such-route").status == 401


def test_a_key_expires(keyed):
    past = keyed.keys.make("old", "owner=ann", "expires=2020-01-01")
    future = keyed.keys.make("new", "owner=ann", "expires=1h")
    wait_until(lambda: status(keyed, future) == 200, "the new key is not taken")
    response = keyed.client.get("/threads", headers=bearer(past))
    assert response.status == 401 and 'error_description="the key has expired"' in response.headers["www-authenticate"]
    # A caller without the complete key learns nothing about it.
    assert keyed.client.get("/threads", headers=bearer(past[:-1])).json["detail"] == "the key is not known"


def test_revoked_without_a_restart(keyed):
    thread = keyed.client.post("/threads", {}, headers=bearer(keyed.keys.first)).json["id"]
    keyed.keys("revoke", "ann-1")
    wait_until(lambda: status(keyed, keyed.keys.first) == 401, "the revoked key works on")
    assert keyed.client.get("/threads", headers=bearer(keyed.keys.first)).json["detail"] == "the key was revoked"
    second = keyed.keys.make("ann-2", "owner=ann")
    wait_until(lambda: status(keyed, second) == 200, "the new key is not taken")
    assert keyed.client.get(f"/threads/{thread}", headers=bearer(second)).status == 200
    keyed.wait_log(r"AC0661: a key was refused: the key was revoked, id ann-1")


def test_rotated_with_an_overlap_and_without(keyed):
    first = keyed.keys.first
    second = keyed.keys("rotate", "ann-1", "overlap=1h")
    wait_until(lambda: status(keyed, second) == 200, "the new secret is not taken")
    assert status(keyed, first) == 200
    third = keyed.keys("rotate", "ann-1")
    wait_until(lambda: status(keyed, third) == 200, "the new secret is not taken")
    assert status(keyed, first) == 401 and status(keyed, second) == 401


def test_a_broken_file_changes_nothing_and_is_said_once(keyed):
    keyed.expect_log("AC0660")
    text = keyed.keys.path.read_text()
    keyed.keys.replace(text + "id=b owner=bob\n")
    wait_until(lambda: status(keyed, keyed.keys.first) == 200 and "AC0660" in keyed.log(), "nothing was said")
    assert re.search(r"AC0660: keys file \S+/keys: line 2: key is not given; the keys that were read before stay in force", keyed.log())
    for _ in range(20):
        assert status(keyed, keyed.keys.first) == 200
    keyed.keys.replace(text.replace("enabled=on", "enabled=off"))
    wait_until(lambda: status(keyed, keyed.keys.first) == 401, "the mended file is not taken")
    assert keyed.log().count("AC0660") == 1


def test_a_removed_file_changes_nothing(keyed):
    keyed.expect_log("AC0660")
    os.rename(keyed.keys.path, str(keyed.keys.path) + ".away")
    wait_until(lambda: status(keyed, keyed.keys.first) == 200 and "AC0660" in keyed.log(), "nothing was said")
    assert "cannot be read: No such file or directory" in keyed.log()
    os.rename(str(keyed.keys.path) + ".away", keyed.keys.path)
    keyed.keys("revoke", "ann-1")
    wait_until(lambda: status(keyed, keyed.keys.first) == 401, "the file that came back is not taken")


def test_every_child_takes_the_change(make_server, model):
    tuning = "StartServers 4\nMaxRequestWorkers 16\nKeepAliveTimeout 60"
    server = make_server(start=False, mpm="prefork", modules=MODULES, tuning=tuning)
    keys = KeyFile(server.root / "keys")
    first = keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.start()
    server.wait_children(4)
    server.client.prefix = "/keys"
    held = [server.client.connect() for _ in range(4)]          # one child each, as prefork serves one connection at a time

    def ask(connection):
        connection.send("GET", "/keys/threads", headers=bearer(first))
        return connection.receive().status
    try:
        assert [ask(connection) for connection in held] == [200] * 4
        keys("revoke", "ann-1")
        for connection in held:
            wait_until(lambda: ask(connection) == 401, "a child keeps the old keys")
    finally:
        for connection in held:
            connection.close()


def test_roles_of_a_key(make_server, model):
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    plain, root, named = (keys.make("a", "owner=ann"), keys.make("b", "owner=bob", "roles=support,admin"), keys.make("c", "owner=carl"))
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path).replace(
        "Require valid-user", "Require agentchat-role admin\nAgentChatRole admin carl"))
    server.start()
    server.expect_log("authorization failure")
    server.client.prefix = "/keys"
    assert status(server, root) == 200 and status(server, named) == 200
    response = server.client.get("/threads", headers=bearer(plain))
    assert response.status == 401 and 'error="insufficient_scope"' in response.headers["www-authenticate"]
    assert server.client.get("/threads").status == 401


def test_a_key_counts_on_an_open_mount(make_server, model):
    """On a mount that is open to all, a caller with a key is its owner nevertheless."""
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    key = keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path).replace(
        "Require valid-user", "Require all granted\nAgentChatAnonymous on"))
    server.start()
    client = server.client
    client.prefix = "/keys"
    thread = client.post("/threads", {}, headers=bearer(key)).json["id"]
    assert client.get(f"/threads/{thread}").status == 404
    assert client.get(f"/threads/{thread}", headers={"X-API-Key": key}).status == 200
    response = client.get("/threads", headers=bearer(key + "x"))
    assert response.status == 401 and 'error="invalid_token"' in response.headers["www-authenticate"]
    assert client.get("/threads").status == 200


def test_no_key_is_in_a_log(keyed):
    keyed.stop()
    keyed.conf.write_text(keyed.conf.read_text().replace("agentchat:debug", "agentchat:trace8 core:debug authz_core:debug")
                          + 'CustomLog logs/keys.log "%u %{agentchat-key}n %r"\n')
    keyed.start()
    key = keyed.keys.first
    assert status(keyed, key) == 200
    wait_until(lambda: "ann ann-1 GET" in (keyed.root / "logs/keys.log").read_text(), "the key's id is not logged")
    keyed.client.get("/threads", headers=bearer("ack_ann-1_wrongwrongwrong"))
    keyed.client.get("/threads", headers={"X-API-Key": "some-other-secret"})
    said = keyed.log() + (keyed.root / "logs/keys.log").read_text() + (keyed.root / "logs/access.log").read_text()
    digest = re.search(r"sha256:(\w+)", keyed.keys.path.read_text())[1]
    for secret in (key, key.split("_")[2], "wrongwrongwrong", "some-other-secret", digest):
        assert secret not in said


def test_configtest_checks_the_permissions_of_the_file(make_server):
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    ok, said = server.configtest()
    assert ok and "keys" not in said, said
    keys.path.chmod(0o644)
    ok, said = server.configtest()
    assert ok and re.search(r"AgentChatKeys: '\S+/keys' can be read by every user of this machine", said), said
    keys.path.chmod(0o600)
    ok, said = server.configtest()
    assert ok == (os.geteuid() != 0), said
    assert ok or re.search(r"AgentChatKeys: '\S+/keys' cannot be read by \S+, whose processes check it for changes: Permission", said)


# ---- the program ----
@pytest.fixture
def keys(tmp_path):
    return KeyFile(tmp_path / "keys")


def test_the_file_that_is_made(keys):
    key = keys.make("ann.laptop-1", 'owner=Ann "A" Größe', "roles=admin,support", "limits=requests=60/min streams=5",
                    "expires=2040-02-03")
    assert re.fullmatch(r"ack_ann\.laptop-1_[0-9a-hjkmnp-tv-z]{40}", key)
    assert stat.S_IMODE(keys.path.stat().st_mode) == (0o640 if os.geteuid() == 0 else 0o600)
    assert key.split("_")[2] not in keys.path.read_text()
    listed = keys("list").splitlines()
    assert len(listed) == 2
    assert re.search(r'^ann\.laptop-1 +Ann "A" Größe +admin,support +2040-02-03T00:00:00Z valid +requests=60/min', listed[1])
    assert [path.name for path in keys.path.parent.iterdir()] == ["keys"]


def test_comments_and_the_other_lines_stay(keys):
    keys.make("a", "owner=ann")
    keys.make("b", "owner=bob")
    text = "# one\n\n" + keys.path.read_text().replace("\nid=b", "\n  # two\nid=b").rstrip("\n")
    keys.path.write_text(text)
    keys.path.chmod(0o644)
    keys("revoke", "a")
    keys.make("c", "owner=carl")
    lines = keys.path.read_text().splitlines()
    assert [line.split()[0] if line else "" for line in lines] == ["#", "", "id=a", "#", "id=b", "id=c"]
    assert "enabled=off" in lines[2] and lines[4] == text.splitlines()[4]


@pytest.mark.parametrize("words, said", [
    (("make", "a", "owner=x"), "there is a key 'a' already"),
    (("make", "b_c", "owner=x"), "an id is 1 to 64"),
    (("make", "b",), "whose key is it"),
    (("make", "b", "owner=anonymous"), "'anonymous' is the owner of requests without authentication"),
    (("make", "b", "owner=x", "roles=a b"), "roles must be names"),
    (("make", "b", "owner=x", "expires=soon"), "expires= takes a date"),
    (("make", "b", "owner=x", "expires=1970-01-01"), "expires= takes a date"),      # 0 means never in a file
    (("make", "b", "owner=x\nid=z key=sha256:" + "0" * 64 + " owner=z"), "control character"),
    (("make", "b", "owner=x", "colour=red"), "behind the id stand"),
    (("rotate", "b"), "there is no key 'b'"),
    (("revoke", "b"), "there is no key 'b'"),
    (("frob",), "usage:"),
], ids=lambda value: value if isinstance(value, str) else " ".join(value).split("\n")[0][:40])
def test_the_program_refuses_invalid_arguments(keys, words, said):
    keys.make("a", "owner=ann")
    text = keys.path.read_text()
    done = keys.run(*words)
    assert done.returncode != 0 and said in done.stderr and not done.stdout
    assert keys.path.read_text() == text


def test_a_broken_file_is_not_edited(keys):
    keys.path.write_text("id=a owner=ann\n")
    done = keys.run("make", "b", "owner=bob")
    assert done.returncode == 1 and "line 1: key is not given; nothing was changed" in done.stderr
    assert keys.path.read_text() == "id=a owner=ann\n"


def test_many_programs_edit_one_file(keys):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: keys.make(f"k{i}", "owner=ann"), range(16)))
    assert len(set(made)) == 16 and len(keys("list").splitlines()) == 17
