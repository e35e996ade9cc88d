# SPDX-License-Identifier: Apache-2.0
"""Files in Azure Blob Storage: uploads and downloads of any size, what the service refuses, answers that get lost or break off, several
machines with one container, links for models, and what configtest and /ready say."""
import hashlib
import os
import random
import re
import socket
import ssl
import threading
import urllib.request

import pytest

from blob_server import ACCOUNT, KEY, OID, Blob
from cosmos_stores import store, wait_ready
from cosmos_stores import ENV as COSMOS_ENV
from model_server import answer
from runs import wait_until
from server import AGENT, MODEL, MOUNT, OPERATOR, WAIT
from test_content_parts import PNG, data_url, image, text

PART = 1024 * 1024
ENV = {"BLOB_KEY": KEY, "WRONG_KEY": "d3Jvbmcga2V5", **COSMOS_ENV}
APP = {"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "app", "AZURE_CLIENT_SECRET": "zebra-secret"}
SECRETS = (KEY, "zebra-secret", "sig=", "SharedKey", "Bearer ")


@pytest.fixture
def blob():
    blob = Blob()
    yield blob
    blob.stop()


@pytest.fixture
def made(make_server, blob):
    servers = []

    def make(options="credential=env:BLOB_KEY", more="", env=None, **others):
        server = make_server(f"AgentChatFiles blob:{blob.container_url} {options}\n{more}", env={**ENV, **(env or {})}, **others)
        servers.append(server)
        return server
    yield make
    for server in servers:
        assert not [word for word in SECRETS if word in server.log()]


def data_of(size):
    return random.Random(size).randbytes(size).hex().encode()[:size]     # text


def upload(server, data, name="a.txt", **headers):
    return server.client.request("POST", "/files", data, headers={
        "Content-Type": "text/plain", "Content-Disposition": f'attachment; filename="{name}"', **headers})


def put(server, data, name="a.txt"):
    response = upload(server, data, name)
    assert response.status == 201, response
    return response.json["id"]


def content(server, id, **headers):
    return server.client.request("GET", f"/files/{id}/content", headers=headers)


SIZES = [1, 70_000, PART - 1, PART, PART + 1, 3 * PART, 5 * PART + 17]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_is_given_back_as_it_was_uploaded(made, blob, size):
    server = made("credential=env:BLOB_KEY prefix=chat/one_")
    data = data_of(size)
    id = put(server, data)
    assert blob.names() == ["chat/one_" + id]
    stored = blob.containers["files"]["chat/one_" + id]
    assert stored["data"] == data and stored["type"].startswith("text/") and stored["disposition"] == "attachment"
    assert blob.count("comp=blocklist") == (size > PART)
    assert blob.count("comp=block&|comp=block$") == (0 if size <= PART else -(-size // PART))
    got = content(server, id)
    assert got.status == 200 and got.body == data and got.headers["content-length"] == str(size)
    assert server.client.get(f"/files/{id}").json["sha256"] == hashlib.sha256(data).hexdigest()
    assert server.client.request("DELETE", f"/files/{id}").status == 200
    assert blob.names() == [] and content(server, id).status == 404


def test_ranges(made):
    server = made()
    data = data_of(3 * PART)
    id = put(server, data)
    for given, first, last in (("0-0", 0, 0), ("5-9", 5, 9), (f"{PART - 1}-{PART}", PART - 1, PART), ("-1", 3 * PART - 1, 3 * PART - 1),
                               (f"100-{2 * PART + 5}", 100, 2 * PART + 5), (f"{2 * PART}-", 2 * PART, 3 * PART - 1)):
        got = content(server, id, Range=f"bytes={given}")
        assert got.status == 206 and got.body == data[first:last + 1], given
        assert got.headers["content-range"] == f"bytes {first}-{last}/{3 * PART}"


def test_an_upload_that_breaks_off_leaves_nothing(made, blob):
    server = made()
    data = data_of(3 * PART)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /api/files HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(data))
        connection.sendall(data[:2 * PART + 100])
        wait_until(lambda: blob.count("comp=block") >= 2, "two blocks")
    wait_until(lambda: re.search(r"POST.*/files.*(-> |status |499|400)", server.log()) or server.access(), "the end of the upload")
    assert blob.names() == [] and server.client.get("/files").json["data"] == []
    assert upload(server, b"\0\1\2").status == 415 and blob.names() == []


def test_identity(made, blob):
    server = made(f"credential=identity:environment authority=http://127.0.0.1:{blob.port}", env=APP)
    id = put(server, b"words")
    assert content(server, id).body == b"words"
    # The service refuses a token that is no longer good; the next one is used at once.
    blob.token = "another-token"
    assert content(server, id).body == b"words" and blob.tokens == 2


# ---- faults ----

SINGLE, BLOCKS = 1000, 2 * PART + 5


@pytest.mark.parametrize("size", [SINGLE, BLOCKS])
@pytest.mark.parametrize("fault", [
    {"status": 503, "code": "ServerBusy"}, {"status": 500, "code": "InternalError"}, {"status": 500, "code": "OperationTimedOut"},
    {"status": 429, "code": "TooManyRequests"}, {"lost": True}, {"reset": True}])
@pytest.mark.parametrize("on", ["PUT .*comp=block&|PUT .*comp=block$", "PUT .*/file_[^?]*(.comp=blocklist)?$"])
def test_an_upload_continues_after_a_fault(made, blob, size, fault, on):
    server = made()
    blob.fault(on, **fault)
    data = data_of(size)
    id = put(server, data)
    assert content(server, id).body == data and blob.names() == [id]


def test_a_file_that_is_there_is_not_replaced(made, blob):
    """An answer that got lost is not taken for a blob of another upload."""
    server = made()
    server.expect_log("AC0619", "AC0001", "AC0")
    blob.fault("PUT ", lost=True)
    blob.fault("PUT ", status=409, code="BlobAlreadyExists")
    blob.fault("HEAD ", status=404, code="BlobNotFound")
    response = upload(server, b"words")
    assert response.status == 502 and response.json["code"] == "store_error", response
    assert blob.count("^HEAD") == 1 and server.client.get("/files").json["data"] == []


@pytest.mark.parametrize("size", [SINGLE, 3 * PART])
@pytest.mark.parametrize("fault", [{"cut": 500}, {"cut": 0}, {"status": 503, "code": "ServerBusy"},
                                   {"status": 500, "code": "InternalError"},
                                   {"lost": True}])
def test_a_download_continues_after_a_fault(made, blob, size, fault):
    server = made()
    data = data_of(size)
    id = put(server, data)
    blob.fault("GET .*/file_", **fault)
    assert content(server, id).body == data
    blob.fault(f"GET .*/file_", times=1, **fault)
    assert content(server, id, Range="bytes=10-").body == data[10:]


REFUSALS = [
    ({"status": 403, "code": "AuthenticationFailed"}, "not one of this account"),
    ({"status": 404, "code": "ContainerNotFound"}, "the container does not exist"),
    ({"status": 403, "code": "AuthorizationPermissionMismatch"}, "Storage Blob Data Contributor"),
    ({"status": 409, "code": "ContainerBeingDeleted"}, "being deleted"),
    ({"status": 412, "code": "ConditionNotMet"}, "changed meanwhile"),
]


@pytest.mark.parametrize("fault, said", REFUSALS)
def test_what_the_service_refuses(made, blob, fault, said):
    server = made()
    server.expect_log("AC0")
    id = put(server, data_of(100))
    blob.fault("PUT |GET .*/file_", times=2, **fault)
    assert upload(server, b"words").status == 502
    assert content(server, id).status == 502
    lines = server.wait_log(rf"AC0619: .*{fault['status']} {fault['code']}.*{said}.*; request id request-\d+", 2)
    assert len(lines) == 2 and blob.names() == [id]
    assert content(server, id).status == 200 and upload(server, b"words").status == 201


def test_a_clock_that_is_wrong(made, blob):
    server = made()
    server.expect_log("AC0")
    blob.skew = 3600
    assert upload(server, b"words").status == 502
    assert server.wait_log(r"AC0619: .*this machine's clock is 3[56]\d\d s slow")


def test_a_wrong_key(made, blob):
    server = made("credential=env:WRONG_KEY")
    server.expect_log("AC0")
    assert upload(server, b"words").status == 502
    assert server.wait_log("AC0619: .*AuthenticationFailed.*not one of this account") and blob.names() == []


def test_bytes_that_are_gone(made, blob):
    server = made()
    server.expect_log("AC0615")
    id = put(server, b"words")
    blob.containers["files"].clear()
    assert content(server, id).status == 404 and server.wait_log("AC0615")
    assert server.client.request("DELETE", f"/files/{id}").status == 200


def test_a_removal_that_fails_is_left_to_the_sweep(made, blob):
    server = made()
    server.expect_log("AC0613", "AC0619")
    id = put(server, b"words")
    blob.fault("DELETE", status=409, code="BlobImmutableDueToPolicy")
    assert server.client.request("DELETE", f"/files/{id}").status == 200
    assert blob.names() == [id] and content(server, id).status == 404 and server.wait_log("AC0613")


def test_a_child_that_ends_does_not_wait_for_the_service(made, blob):
    server = made()
    server.expect_log("AC0")
    gate = threading.Event()
    blob.fault("PUT ", gate=gate)
    sender = threading.Thread(target=lambda: pytest.raises(Exception, upload, server, b"words"))
    sender.start()
    wait_until(lambda: blob.count("^PUT"), "the request")
    server.stop()
    gate.set()
    sender.join()


# ---- several machines ----

def test_machines_share_a_container(made, blob, cosmos):
    one, other = (made(more=store(cosmos)) for _ in range(2))
    for server in (one, other):
        wait_ready(server.client)
    data = data_of(2 * PART)
    id = put(one, data)
    assert content(other, id).body == data and not list((one.root / "state").glob("files"))
    assert other.client.request("DELETE", f"/files/{id}").status == 200
    assert content(one, id).status == 404 and blob.names() == []


# ---- models ----

VISION = "AgentChatBreaker off\nAgentChatVision on {}"


def seeing(model, links):
    return MODEL.format(url=model.url).replace("AgentChatBreaker off", VISION.format(links)) + AGENT + MOUNT


def test_a_model_gets_a_data_url(make_server, model, blob):
    server = make_server(seeing(model, "") + f"AgentChatFiles blob:{blob.container_url} credential=env:BLOB_KEY\n", standard=False, env=ENV)
    one = put(server, PNG, "a.png")
    model.play(answer("I see."))
    assert server.client.send(server.client.thread(), [text("What?"), image(one)]).status == 200
    assert model.requests[-1].last["content"][1]["image_url"]["url"] == data_url()


@pytest.mark.parametrize("credential", ["env:BLOB_KEY", "identity:environment"])
def test_a_model_that_may_fetch_gets_a_link(make_server, model, tmp_path, credential):
    tmp_path.chmod(0o755)
    blob = Blob(tmp_path)
    blob.certificate.chmod(0o644)
    os.chmod(tmp_path, 0o755)
    (readable := tmp_path / "ca").mkdir()
    token = Blob()
    options = f"credential={credential} ca-file={blob.certificate}" + \
        (f" authority=http://127.0.0.1:{token.port}" if "identity" in credential else "")
    server = make_server(seeing(model, "links=on") + "AgentChatRunTimeout 5min\n" + f"AgentChatFiles blob:{blob.container_url} {options}\n",
                         standard=False, start=False, env={**ENV, **APP})
    # Its user cannot look into the test's folder.
    copy = server.root / "ca.crt"
    copy.write_bytes(blob.certificate.read_bytes())
    server.conf.write_text(server.conf.read_text().replace(str(blob.certificate), str(copy)))
    server.start()
    one = put(server, PNG, "a.png")
    model.play(answer("I see."), answer("Still."))
    thread = server.client.thread()
    assert server.client.send(thread, [text("What?"), image(one)]).status == 200
    url = model.requests[-1].last["content"][1]["image_url"]["url"]
    assert url.startswith(f"https://127.0.0.1:{blob.port}/{ACCOUNT}/files/{one}?se=") and "&sp=r&spr=https&sr=b&" in url
    assert (OID in url) == ("identity" in credential)
    with urllib.request.urlopen(url, context=ssl.create_default_context(cafile=blob.certificate)) as fetched:
        assert fetched.read() == PNG
    assert server.client.send(thread, "And now?").status == 200
    assert blob.count("userdelegationkey") == ("identity" in credential)
    assert not [word for word in (*SECRETS, url) if word in server.log()]
    blob.stop()
    token.stop()


def test_a_storage_that_is_away_does_not_end_the_turn(make_server, model, blob):
    server = make_server(seeing(model, "") + f"AgentChatFiles blob:{blob.container_url} credential=env:BLOB_KEY\n", standard=False, env=ENV)
    server.expect_log("AC0619")
    one, two = put(server, PNG, "a.png"), put(server, b"words")
    blob.fault("GET .*/file_", times=100, status=403, code="AuthorizationFailure")
    model.play(answer("I cannot."))
    parts = [text("What?"), image(one), {"type": "file", "file_id": two}]
    assert server.client.send(server.client.thread(), parts).status == 200
    assert "could not be read now" in str(model.requests[-1].last) and blob.count("GET .*/file_") == 1


# ---- configtest and /ready ----

def test_ready_says_how_the_container_is(made, blob):
    server = made(more=OPERATOR)
    shown = wait_until(lambda: server.ready().json, "an answer")
    assert shown["files"]["name"] == "blob" and shown["files"]["state"] == "ok" and "detail" not in shown["files"]
    del blob.containers["files"]
    shown = wait_until(lambda: (found := server.ready().json)["files"]["state"] == "failed" and found, "the failure")
    assert shown["status"] == "ready" and "the container does not exist" in shown["files"]["detail"]


def test_metrics(made, blob):
    server = made(more="<Location /api>\nAgentChatMetrics all\n</Location>\n")
    put(server, b"words")
    assert re.search(r'^agentchat_blob_requests_total\{status="201"\} 1$', server.client.get("/metrics").body.decode(), re.M)


def test_configtest_says_that_files_stay_on_this_machine(make_server, cosmos, blob):
    server = make_server(store(cosmos) + "AgentChatFiles on\n", env=ENV, start=False)
    fine, said = server.configtest()
    assert fine and f"files are kept in {server.root}/state/files of this machine" in said and "AgentChatFiles blob:URL" in said
    server.conf.write_text(server.conf.read_text().replace("AgentChatFiles on", f"AgentChatFiles blob:{blob.container_url} "
                                                                                "credential=env:BLOB_KEY"))
    fine, said = server.configtest()
    assert fine and "files are kept" not in said
