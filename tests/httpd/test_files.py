# SPDX-License-Identifier: Apache-2.0
"""Files: uploads, their types and names, limits, delivery, removal, sweeps and processes that are killed."""
import hashlib
import os
import re
import struct
import threading
import zlib

import pytest

import hostile_files
from client import Client
from key_file import KEYED
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile, bearer
from runs import ONE_CHILD, kill_child, wait_until

FILES = "AgentChatFiles on reserve=0 {more}\nAgentChatStateDir {state}\n"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=1, height=1, more=b""):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + more + \
        chunk(b"IDAT", zlib.compress(b"\0\0\0\0")) + chunk(b"IEND", b"")


@pytest.fixture
def made(make_server):
    def make(more="", tuning=""):
        server = make_server("", start=False, modules=KEY_MODULES, tuning=tuning)
        conf = server.conf
        conf.write_text(conf.read_text() + FILES.format(more=more, state=server.root / "state") + KEYED)
        keys = KeyFile(server.root / "keys")
        server.people = {name: bearer(keys.make(name, f"owner={name}")) for name in ("ann", "bob")}
        server.keyed = Client(server.port, "/keys")
        return server.start()
    return make


def upload(server, data, name=None, who="ann", query="", **headers):
    if name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return server.keyed.request("POST", "/files" + query, data,
                                headers={**server.people[who], "Content-Type": "application/octet-stream", **headers})


def ask(server, path, who="ann", method="GET", **headers):
    return server.keyed.request(method, path, headers={**server.people[who], **headers})


def stored(server):
    """The names of all that is in the folder of files."""
    top = server.root / "state/files"
    return sorted(path.name for path in top.rglob("*") if path.is_file()) if top.exists() else []


def test_a_file_is_given_back_as_it_was_uploaded(made):
    server = made()
    data = os.urandom(300_000).join([png(more=chunk(b"prIv", b"x")), b""])
    response = upload(server, data, "a picture.png")
    assert response.status == 201, response
    file = response.json
    assert file == {"id": file["id"], "object": "file", "name": "a picture.png", "type": "image/png", "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(), "created_at": file["created_at"], "thread_id": None,
                    "status": "uploaded"}
    assert response.headers["location"] == f"/keys/files/{file['id']}"
    assert ask(server, f"/files/{file['id']}").json == file
    assert ask(server, "/files").json == {"data": [file], "has_more": False, "next": None}
    content = ask(server, f"/files/{file['id']}/content")
    assert content.status == 200 and content.body == data
    assert content.headers["content-type"] == "image/png"
    assert content.headers["content-disposition"] == 'attachment; filename="a picture.png"'
    assert content.headers["x-content-type-options"] == "nosniff"
    assert content.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert content.headers["cross-origin-resource-policy"] == "same-origin"
    assert content.headers["cache-control"].startswith("private")
    shown = ask(server, f"/files/{file['id']}/content?inline=true")
    assert shown.headers["content-disposition"].startswith("inline;")
    path = next((server.root / "state/files").rglob(file["id"]))
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_a_form_with_one_file_is_an_upload(made):
    server = made()
    data = b"line\r\n--not the end\r\n\r\n-\r\n" * 1000
    body = b'--b0\r\nContent-Disposition: form-data; name="file"; filename="n\xc3\xb6tes %22.md"\r\nContent-Type: image/png\r\n\r\n' \
        + data + b"\r\n--b0--\r\n"
    response = upload(server, body, **{"Content-Type": 'multipart/form-data; boundary="b0"'})
    assert response.status == 201, response
    assert response.json["name"] == 'nötes ".md' and response.json["type"] == "text/markdown"
    content = ask(server, f"/files/{response.json['id']}/content")
    assert content.body == data and content.headers["content-type"] == "text/markdown; charset=utf-8"
    assert content.headers["content-disposition"] == \
        "attachment; filename=\"n_tes _.md\"; filename*=UTF-8''n%C3%B6tes%20%22.md"
    for wrong in (body[:-8], body.replace(b'"file"', b'"other"'), b"", b"--b0--\r\n", body[:-4] + b"\r\n" + body):
        refused = upload(server, wrong, **{"Content-Type": "multipart/form-data; boundary=b0"})
        assert refused.status == 400 and refused.json["code"] == "invalid_request", (wrong[-40:], refused)
    assert upload(server, body, **{"Content-Type": "multipart/form-data"}).status == 400
    assert stored(server) == [response.json["id"]]


@pytest.mark.parametrize("length", [True, False])
def test_an_upload_in_chunks_and_pieces(made, length):
    server = made()
    data = b"0123456789abcdef" * 4096
    with server.keyed.connect() as connection:
        framing = {"Content-Length": str(len(data))} if length else {"Transfer-Encoding": "chunked"}
        connection.send("POST", "/keys/files", headers={**server.people["ann"], **framing})
        for at in range(0, len(data), 1000):
            piece = data[at:at + 1000]
            connection.socket.sendall(piece if length else b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.socket.sendall(b"" if length else b"0\r\n\r\n")
        response = connection.receive("POST")
    assert response.status == 201 and response.json["size"] == len(data), response


def test_an_upload_that_breaks_off_leaves_nothing(made):
    server = made()
    with server.keyed.connect() as connection:
        connection.send("POST", "/keys/files", headers={**server.people["ann"], "Content-Length": "1000000"})
        connection.socket.sendall(b"x" * 1000)
        wait_until(lambda: stored(server), "the bytes that came")
        assert ask(server, "/files").json["data"] == []
    wait_until(lambda: not stored(server), "the removal of the bytes")
    assert ask(server, "/files").json["data"] == []


def test_a_killed_process_leaves_nothing_that_clients_see(made):
    server = made(tuning=ONE_CHILD)
    with server.keyed.connect() as connection:
        connection.send("POST", "/keys/files", headers={**server.people["ann"], "Content-Length": "1000000"})
        connection.socket.sendall(b"x" * 1000)
        wait_until(lambda: stored(server), "the bytes that came")
        kill_child(server, server.children()[0])
    wait_until(server.ready, "another process")
    assert ask(server, "/files").json["data"] == []
    again = upload(server, b"again")
    assert again.status == 201, again


def test_ranges_and_conditions(made):
    server = made()
    data = bytes(range(48, 122)) * 10
    id = upload(server, data).json["id"]
    path = f"/files/{id}/content"
    whole = ask(server, path)
    for text, part in (("bytes=0-0", data[:1]), ("bytes=5-9", data[5:10]), ("bytes=700-", data[700:]), ("bytes=-3", data[-3:]),
                       ("bytes=10-99999", data[10:]), ("bytes=-99999", data)):
        response = ask(server, path, Range=text)
        assert response.status == 206 and response.body == part, (text, response)
        first = len(data) - len(part) if text.startswith("bytes=-") else int(re.match(r"bytes=(\d+)", text)[1])
        assert response.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(data)}"
    for text in ("bytes=740-", "bytes=-0", "bytes=99999999999-"):
        response = ask(server, path, Range=text)
        assert response.status == 416 and response.headers["content-range"] == "bytes */740", (text, response)
    for text in ("bytes=5-4", "lines=1-2", "bytes=a-b", "bytes=1-2,4-5", "bytes=", "bytes=99999999999999999999-"):
        assert ask(server, path, Range=text).body == data, text
    etag = whole.headers["etag"]
    assert ask(server, path, **{"If-None-Match": etag}).status == 304
    assert ask(server, path, **{"Range": "bytes=0-1", "If-Range": etag}).status == 206
    assert ask(server, path, **{"Range": "bytes=0-1", "If-Range": '"other"'}).status == 200


def test_files_belong_to_their_owner(made):
    server = made()
    id = upload(server, b"private words").json["id"]
    for method, path in (("GET", f"/files/{id}"), ("GET", f"/files/{id}/content"), ("DELETE", f"/files/{id}")):
        response = ask(server, path, "bob", method)
        assert response.status == 404 and b"private" not in response.body, response
    assert ask(server, "/files", "bob").json["data"] == []
    assert server.keyed.get(f"/files/{id}/content").status == 401
    assert ask(server, f"/files/{id}", method="DELETE").json == {"id": id, "deleted": True}
    assert ask(server, f"/files/{id}").status == ask(server, f"/files/{id}/content").status == 404
    assert not stored(server)


def test_limits_are_exact_with_many_uploads_at_once(made):
    server = made("max=1K thread=3K owner=5K thread-files=2 owner-files=100")
    assert upload(server, b"x" * 1024).status == 201
    for framing in ({}, {"Transfer-Encoding": "chunked", "Content-Length": None}):
        body = b"x" * 1025
        response = upload(server, b"401\r\n" + body + b"\r\n0\r\n\r\n" if framing else body, **framing)
        assert response.status == 413 and response.json["code"] == "body_too_large", response
    answers = []

    def send():
        answers.append(upload(server, b"y" * 1000))
    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [201] * 4 + [413] * 8
    assert {answer.json["code"] for answer in answers if answer.status == 413} == {"file_limit_exceeded"}
    assert len(stored(server)) == 5 == len(ask(server, "/files").json["data"])
    assert upload(server, b"z" * 1000, who="bob").status == 201
    thread = server.keyed.post("/threads", {}, headers=server.people["bob"]).json["id"]
    assert [upload(server, b"z", who="bob", query=f"?thread_id={thread}").status for _ in range(3)] == [201, 201, 413]
    assert upload(server, b"z", query=f"?thread_id={thread}").status == 404
    assert [len(ask(server, f"/files?thread_id={thread}", who).json["data"]) for who in ("ann", "bob")] == [0, 2]


def test_a_full_disk_is_an_error_of_the_operator(made):
    server = made("reserve=1023G")
    response = upload(server, b"words")
    assert response.status == 507 and response.json["code"] == "storage_full", response
    assert not stored(server)
    server.expect_log("AC0651.*storage_full")


def test_only_the_types_that_are_listed(made):
    server = made("types=text/plain,image/png")
    assert upload(server, b"words").status == 201 and upload(server, png()).status == 201
    for data, name in ((b"# words", "a.md"), (b"%PDF-1.7\n", "a.pdf")):
        response = upload(server, data, name)
        assert response.status == 415 and response.json["code"] == "unsupported_media_type", response
    assert len(stored(server)) == 2


def test_without_the_directive_there_are_no_files(client):
    response = client.request("POST", "/files", b"words")
    assert response.status == 404 and "AgentChatFiles" in response.json["detail"], response
    assert client.get("/files").json["data"] == []


def test_a_thread_takes_its_files_along(made):
    server = made()
    thread = server.keyed.post("/threads", {}, headers=server.people["ann"]).json["id"]
    ids = sorted(upload(server, b"%d" % i, query=f"?thread_id={thread}").json["id"] for i in range(3))
    other = upload(server, b"stays").json["id"]
    ask(server, f"/threads/{thread}", method="DELETE")
    assert stored(server) == sorted(ids + [other])
    assert ask(server, f"/threads/{thread}?hard_delete=true", method="DELETE").status == 200
    wait_until(lambda: stored(server) == [other], "the removal of the files")
    assert [file["id"] for file in ask(server, "/files").json["data"]] == [other]


def test_hostile_files(made):
    server = made("max=64K owner-files=2000")
    kept = []
    for case in hostile_files.cases():
        response = upload(server, case.body, who="bob", **{name.replace("_", "-"): value for name, value in case.headers.items()})
        assert response.status == case.status, (case.name, response)
        if response.status != 201:
            assert response.headers["content-type"] == "application/problem+json", case.name
            continue
        file = response.json
        assert file["type"] == case.type, (case.name, file)
        assert file["name"] and not re.search(r"[\x00-\x1f\x7f/\\\u202a-\u202e\u2066-\u2069]", file["name"]), (case.name, file)
        content = ask(server, f"/files/{file['id']}/content?inline=true", "bob")
        assert content.body == case.content and content.headers["x-content-type-options"] == "nosniff", case.name
        assert content.headers["content-type"].split(";")[0] == case.type and "sandbox" in content.headers["content-security-policy"]
        assert re.fullmatch(r'(inline|attachment); filename="[ !#-\[\]-~]*"(; filename\*=UTF-8\'\'[\w!#$&+.^`|~%-]+)?',
                            content.headers["content-disposition"]), (case.name, content.headers)
        assert content.headers["content-disposition"].startswith("inline") == case.type.startswith("image/"), case.name
        kept.append(file["id"])
    assert stored(server) == sorted(kept)


def test_a_client_learns_the_limits(made, make_server):
    """Before it uploads: who it is, and what is accepted. Without AgentChatFiles nothing is."""
    server = made("max=1M thread=2M owner=3M thread-files=4 owner-files=5 types=image/png,text/plain")
    assert ask(server, "/me").json == {"object": "me", "owner": "ann", "admin": False, "titles": False, "files": {
        "max_bytes": 1 << 20, "thread_bytes": 2 << 20, "owner_bytes": 3 << 20, "thread_files": 4, "owner_files": 5,
        "message_files": 20, "types": ["image/png", "text/plain"]}}
    assert server.keyed.get("/me").status == 401
    every = ask(made(), "/me").json["files"]["types"]
    assert {"image/png", "image/jpeg", "application/pdf", "text/markdown", "text/csv"} <= set(every)
    assert make_server("").client.get("/me").json == {"object": "me", "owner": "anonymous", "admin": False, "titles": False, "files": None}
