# SPDX-License-Identifier: Apache-2.0
"""AgentChatAuditLog: each event with its caller, its object and its result; refusals; files of keys; and nothing that a
person wrote."""
import base64
import hashlib

import pytest

from approvals import TOOLS
from key_file import KeyFile, bearer
from model_server import Gate, answer, calls, finish, head, token, usage
from runs import wait_until
from test_logs import TRACE, TRACEPARENT, objects, restart_of

AUDIT = "AgentChatAuditLog logs/audit.log\n"
MOUNT = """
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName keys
    AgentChatKeys "{path}"
    Require valid-user
</Location>
<Location "/few">
    SetHandler agentchat
    AuthType AgentChat
    AuthName few
    AgentChatKeys "{path}"
    AgentChatLimit requests=1/day
    Require valid-user
</Location>
<Location "/basic">
    SetHandler agentchat
    AuthType Basic
    AuthName basic
    AuthUserFile "{users}"
    Require user ann
</Location>
"""
MODULES = ("authn_core", "authz_user", "authz_core", "auth_basic", "authn_file")
PASSWORD = base64.b64encode(hashlib.sha1(b"word").digest()).decode()
SECRET = "planted-secret-4711"


@pytest.fixture
def audited(make_server, model):
    return audited_with(make_server, "")


def audited_with(make_server, directives, **options):
    server = make_server(AUDIT + TOOLS.format(url="http://127.0.0.1:1") + directives, start=False, modules=MODULES, **options)
    server.keys = KeyFile(server.root / "keys")
    server.ann = server.keys.make("ann-1", "owner=ann", "roles=admin")
    server.bob = server.keys.make("bob-1", "owner=bob")
    users = server.root / "users"
    # The passwords are "word".
    users.write_text("ann:{SHA}" + PASSWORD + "\n"
                     "eve:{SHA}" + PASSWORD + "\n")
    users.chmod(0o644)
    server.conf.write_text(server.conf.read_text() + MOUNT.format(path=server.keys.path, users=users))
    server.start()
    server.client.prefix = "/keys"
    return server


def lines(server):
    found = objects(server, "audit.log")
    assert SECRET not in str(found)
    return found


def only(server, event, n=1):
    """The lines of this event; a line is written before its answer."""
    found = [line for line in lines(server) if line["event"] == event]
    assert len(found) == n, lines(server)
    return found[0] if n == 1 else found


def test_deleted_and_restored_threads(audited):
    client, headers = audited.client, {**bearer(audited.bob), **TRACEPARENT, "X-Request-Id": "my-request"}
    thread = client.post("/threads", {"title": SECRET}, headers=headers).json["id"]
    assert not lines(audited)
    assert client.delete(f"/threads/{thread}", headers=headers).status == 200
    line = only(audited, "thread.deleted")
    assert {**line, "time": "", "span_id": ""} == {
        "time": "", "event": "thread.deleted", "result": "done", "who": "bob", "key": "bob-1", "target": thread, "client": "127.0.0.1",
        "method": "DELETE", "request": "my-request", "trace_id": TRACE, "span_id": "", "route": "/threads/{id}"}
    assert client.post(f"/threads/{thread}/restore", headers=headers).status == 200
    assert only(audited, "thread.restored")["target"] == thread
    assert client.delete(f"/threads/{thread}?hard_delete=true", headers=headers).status == 200
    assert only(audited, "thread.erased")["who"] == "bob"
    assert client.delete(f"/threads/{thread}", headers=headers).status == 404
    refused = only(audited, "thread.deleted", 2)[1]
    assert (refused["result"], refused["error"], refused["target"]) == ("refused", "not_found", thread)
    assert client.delete(f"/agents/assistant/threads/{client.post('/threads', {}, headers=headers).json['id']}", headers=headers)


def test_agents(audited):
    client, ann, bob = audited.client, bearer(audited.ann), bearer(audited.bob)
    agent = {"id": "poet", "model": "scripted", "instructions": SECRET}
    assert client.post("/agents", agent, headers=ann).status == 201
    created = only(audited, "agent.created")
    assert (created["who"], created["key"], created["target"], created["result"]) == ("ann", "ann-1", "poet", "done")
    etag = client.get("/agents/poet", headers=ann).headers["etag"]
    assert client.request("PUT", "/agents/poet", agent, headers={**ann, "If-Match": etag}).status == 200
    assert only(audited, "agent.changed")["target"] == "poet"
    assert client.request("PUT", "/agents/other", {**agent, "id": "other"}, headers=ann).status == 201
    assert only(audited, "agent.created", 2)[1]["target"] == "other"
    assert client.delete("/agents/other", headers={**ann, "If-Match": "*"}).status == 204
    assert only(audited, "agent.deleted")["target"] == "other"
    assert client.delete("/agents/poet", headers=bob).status == 403
    refused = only(audited, "admin.used")
    assert (refused["who"], refused["result"], refused["error"], refused["route"]) == ("bob", "refused", "forbidden", "/agents/{id}")


def test_admin_routes(audited):
    assert audited.client.get("/debug/config", headers=bearer(audited.ann)).status == 200
    used = only(audited, "admin.used")
    assert (used["who"], used["result"], used["route"]) == ("ann", "done", "/debug/config")
    assert audited.client.get("/debug/config", headers=bearer(audited.bob)).status == 403
    assert only(audited, "admin.used", 2)[1]["result"] == "refused"


def test_refused_keys(audited):
    client = audited.client
    assert client.get("/threads", headers=bearer("ack_ann-1_" + SECRET)).status == 401
    line = only(audited, "key.refused")
    assert line["error"] == "key_unknown" and "who" not in line and "key" not in line and line["client"] == "127.0.0.1"
    audited.keys("revoke", "bob-1")
    wait_until(lambda: client.get("/threads", headers=bearer(audited.bob)).status == 401, "the key is still valid")
    line = [line for line in lines(audited) if line["event"] == "key.refused"][-1]
    assert (line["error"], line["key"], line["result"]) == ("key_revoked", "bob-1", "refused")
    assert not [line for line in lines(audited) if line["event"] == "sign_in.refused"]
    assert client.get("/threads").status == 401
    line = only(audited, "sign_in.refused")
    assert line["error"] == "unauthenticated" and "who" not in line


def test_sign_ins_and_users_that_httpd_refuses(audited):
    client = audited.client
    client.prefix = "/basic"

    def basic(user, word):
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()}
    audited.expect_log("AH01617", "AH01618", "AH01631")
    assert client.get("/threads", headers=basic("ann", "word")).status == 200
    assert not lines(audited)
    assert client.get("/threads", headers=basic(SECRET, SECRET)).status == 401
    assert client.get("/threads", headers=basic("ann", SECRET)).status == 401
    for line in only(audited, "sign_in.refused", 2):
        assert line["result"] == "refused" and "who" not in line
    assert client.get("/threads", headers=basic("eve", "word")).status in (401, 403)


def test_changes_of_the_file_of_keys_are_seen_once(audited):
    client = audited.client
    assert client.get("/threads", headers=bearer(audited.bob)).status == 200
    new = audited.keys.make("new-1", "owner=ann")
    wait_until(lambda: client.get("/threads", headers=bearer(new)).status == 200, "the new key is not valid")
    created = only(audited, "key.created")
    assert created["target"] == "new-1" and created["result"] == "done"
    rotated = audited.keys("rotate", "new-1")
    wait_until(lambda: client.get("/threads", headers=bearer(rotated)).status == 200, "the rotated key is not valid")
    changed = only(audited, "key.changed")
    assert changed["target"] == "new-1" and changed["result"] == "done" and "who" not in changed
    key_file = audited.keys.path
    audited.keys.replace(key_file.read_text().replace("owner=ann", "owner=eve"))

    def noticed():
        client.get("/threads", headers=bearer(rotated))         # a key's owner is looked at when a request signs in
        return len([line for line in lines(audited) if line["event"] == "key.changed"]) == 3
    wait_until(noticed, "other owners are not seen")
    assert sorted(line["target"] for line in only(audited, "key.changed", 3)) == ["ann-1", "new-1", "new-1"]
    audited.keys("revoke", "new-1")
    wait_until(lambda: client.get("/threads", headers=bearer(rotated)).status == 401, "the key is still valid")
    assert only(audited, "key.revoked")["target"] == "new-1"


def test_approvals_and_cancels(make_server, model):
    server = audited_with(make_server, "")
    client, headers = server.client, bearer(server.bob)
    events = []
    for approve, event in ((False, "approval.refused"), (True, "approval.given")):
        model.play(calls(("send_mail", {"to": SECRET})), answer("ok"))
        stream = client.stream("/agents/secretary/chat", {"message": SECRET}, headers=headers)
        events = [stream.next()]
        while not events[-1].json.get("approval_required"):
            events.append(stream.next())
        stream.close()
        run = events[0].json["run_id"]
        assert client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": approve, "reason": SECRET},
                           headers=headers).status == 202
        line = only(server, event)
        assert (line["who"], line["target"], line["call"], line["result"]) == ("bob", run, "call_1", "done")
        # The resumed run asks the model once more.
        wait_until(lambda: client.get(f"/runs/{run}", headers=headers).json["status"] == "completed", "the run does not end")
    gate = Gate()

    def script(_request):
        yield head()
        yield token(SECRET)
        yield gate
        yield usage()
        yield finish()
    model.play(script)
    stream = client.stream("/agents/assistant/chat", {"message": SECRET}, headers=headers)
    run = stream.until("token")[0].json["run_id"]
    assert client.post(f"/runs/{run}/cancel", headers=headers).status == 202
    assert only(server, "run.cancelled")["target"] == run
    stream.rest()
    gate.open()
    assert client.post(f"/runs/{run}/cancel", headers=headers).status == 409
    late = only(server, "run.cancelled", 2)[1]
    assert (late["result"], late["error"]) == ("refused", "run_ended")


@pytest.mark.parametrize("stream", [True, False])
def test_limits_that_are_reached(make_server, model, stream):
    server = audited_with(make_server, "AgentChatLimit tokens=1100/day\n")
    server.client.prefix = "/few"
    assert server.client.get("/threads", headers=bearer(server.bob)).status == 200
    assert server.client.get("/threads", headers=bearer(server.bob)).status == 429
    line = only(server, "limit.reached")
    assert (line["who"], line["key"], line["error"], line["route"]) == ("bob", "bob-1", "rate_limited", "/threads")
    # Of tokens: the run finds it, when the request is already parked.
    server.client.prefix = "/keys"
    body = {"message": "x", "stream": stream}
    assert server.client.post("/agents/assistant/chat", body, headers=bearer(server.bob)).status == 200
    wait_until(lambda: server.client.post("/agents/assistant/chat", body, headers=bearer(server.bob)).status == 429, "no limit")
    last = [line for line in lines(server) if line["event"] == "limit.reached"][-1]
    assert (last["who"], last["route"], last["method"]) == ("bob", "/agents/{id}/chat", "POST")


def test_other_refusals(audited):
    audited.client.prefix = "/api"
    audited.expect_log("AC0663")
    assert audited.client.get("/threads", headers={"Host": "elsewhere.example"}).status == 403
    line = only(audited, "access.refused")
    assert line["result"] == "refused" and line["error"] == "forbidden" and line["route"] == "/threads"


def test_owners_can_be_hashed(make_server, model):
    shown = []
    for directive in ("AgentChatAuditOwner hashed\n", "AgentChatAuditOwner hashed secret=env:AUDIT_SECRET\n"):
        server = audited_with(make_server, directive, env={"AUDIT_SECRET": SECRET})
        for key in (server.bob, server.bob, server.ann):
            thread = server.client.post("/threads", {}, headers=bearer(key)).json["id"]
            server.client.delete(f"/threads/{thread}", headers=bearer(key))
        first, again, other = (line["who"] for line in only(server, "thread.deleted", 3))
        assert first == again != other and first.startswith("hashed:") and len(first) == 7 + 32
        shown.append(first)
    assert shown[0] != shown[1]


def test_graceful_restarts_lose_no_line(audited):
    server, threads, restart = audited, [], restart_of(audited)
    for i in range(3):
        thread = server.client.post("/threads", {}, headers=bearer(server.bob)).json["id"]
        assert server.client.delete(f"/threads/{thread}", headers=bearer(server.bob)).status == 200
        threads.append(thread)
        (server.root / "logs/audit.log").rename(server.root / f"logs/audit.log.{i}")
        restart(i)
    found = [line["target"] for file in (server.root / "logs").glob("audit.log*") for line in objects(server, file.name)]
    assert sorted(found) == sorted(threads)


def test_an_audit_log_that_cannot_be_opened_keeps_httpd_from_starting(make_server):
    server = make_server("AgentChatAuditLog /nowhere/audit.log", start=False)
    ok, text = server.configtest()
    assert not ok and "AgentChatAuditLog: '/nowhere/audit.log' cannot be opened for writing: No such file" in text
    server = make_server('AgentChatAuditLog "|/nowhere/program"', start=False)
    ok, text = server.configtest()
    assert not ok and "AgentChatAuditLog: '/nowhere/program' is no program that can be started" in text


def test_a_full_disk_harms_no_request_and_is_in_the_error_log(make_server, model):
    server = audited_with(make_server, "AgentChatAuditLog /dev/full\n")
    for _ in range(3):
        assert server.client.get("/debug/config", headers=bearer(server.ann)).status == 200
    server.expect_log("AC0680: AgentChatAuditLog /dev/full: 1 lines could not be written")
    server.wait_log("No space left on device: AC0680: AgentChatAuditLog")
    assert len(server.wait_log("AC0680")) == 1
