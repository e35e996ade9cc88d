# SPDX-License-Identifier: Apache-2.0
"""Messages with images and files: what is refused, what is stored, and what exactly the model is sent."""
import os
import zlib

import pytest

from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import Reply, answer, calls
from server import AGENT, MODEL, MOUNT
from uploads import NOTICE, PNG, data_url, file, image, pdf, pdf_of, text, upload

SUM = ("calculate", {"expression": "1 + 1"})


def put(server, data, name):
    return upload(server.client, data, name)


def make(make_server, model, vision="", agent="", more="", **options):
    models = MODEL.format(url=model.url).replace("AgentChatBreaker off", "AgentChatBreaker off\n" + vision)
    agents = AGENT.replace("AgentChatTools", agent + "\nAgentChatTools")
    return make_server(models + agents + MOUNT + "AgentChatFiles on reserve=0\n" + more, standard=False, **options)


@pytest.fixture
def server(make_server, model):
    return make(make_server, model, "AgentChatVision on detail=low images=2 size=1K")


def test_a_model_gets_text_and_image(server, model):
    client = server.client
    thread, one = client.thread(), put(server, PNG, 'my "best".png')
    model.play(answer("I see."))
    reply = client.send(thread, [text("What is"), image(one), text("this?")])
    assert reply.status == 200, reply
    assert model.requests[-1].last == {"role": "user", "content": [
        text("What is\n\nthis?"), {"type": "image_url", "image_url": {"url": data_url(), "detail": "low"}}]}
    question = client.messages(thread)[0]
    assert question["content"] == "What is\n\nthis?"
    assert question["attachments"] == [{"file_id": one, "name": 'my "best".png', "type": "image/png", "size": len(PNG)}]
    assert "attachments" not in client.messages(thread)[1]
    # A later turn shows it again.
    model.play(answer("Still there."))
    assert client.send(thread, "And now?").status == 200
    assert model.requests[-1].messages[1]["content"][1]["image_url"]["url"] == data_url()
    assert model.requests[-1].last == {"role": "user", "content": "And now?"}


def test_an_image_alone_names_the_thread(server, model):
    client = server.client
    one = put(server, PNG, "harbour.png")
    model.play(answer("A harbour."))
    reply = client.post("/agents/assistant/chat", {"message": [image(one)], "stream": False})
    assert reply.status == 200, reply
    assert model.requests[-1].last["content"] == [{"type": "image_url", "image_url": {"url": data_url(), "detail": "low"}}]
    threads = client.get("/threads").json["data"]
    assert [thread["title"] for thread in threads] == ["harbour.png"]


def test_the_newest_images_within_the_limit(server, model):
    client = server.client
    thread = client.thread()
    names = [put(server, PNG, f"{i}.png") for i in range(3)]
    for i, name in enumerate(names):
        model.play(answer("ok"))
        assert client.send(thread, [text(f"q{i}"), image(name)]).status == 200
    asked = [m for m in model.requests[-1].messages if m["role"] == "user"]
    assert [isinstance(m["content"], list) for m in asked] == [False, True, True]
    assert asked[0]["content"].startswith('q0\n\n[The user attached the image "0.png" (image/png, ')
    assert "too many images" in asked[0]["content"]


def test_images_stay_through_rounds_and_retries(server, model):
    client = server.client
    thread, one = client.thread(), put(server, PNG, "a.png")
    model.play(Reply(503, {"error": {"message": "busy"}}), calls(SUM), answer("2"))
    assert client.send(thread, [image(one)]).status == 200
    assert len(model.requests) >= 3
    for request in model.requests[-3:]:
        assert request.messages[1]["content"] == [{"type": "image_url", "image_url": {"url": data_url(), "detail": "low"}}]


def refused(server, content, status, code, pointer, member="content"):
    reply = server.client.post(f"/threads/{server.client.thread()}/messages", {member: content, "stream": False})
    assert (reply.status, reply.json["code"]) == (status, code), reply
    if pointer:
        assert reply.json["errors"][0]["pointer"] == pointer, reply
    return reply


def test_what_is_refused(make_server, model):
    server = make(make_server, model, "AgentChatVision on images=2 size=1K", modules=MODULES, start=False)
    keys = KeyFile(server.root / "keys")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=server.root / "keys"))
    ann = bearer(keys.make("ann", "owner=ann"))
    server.start()
    one, other = put(server, PNG, "a.png"), upload(Client(server.port, "/keys"), PNG, "x.png", ann)
    words, large = put(server, b"hi", "a.txt"), put(server, PNG + b"x" * 2000, "l.png")
    unknown = "file_0" + "1" * 25
    refused(server, [], 400, "message_empty", "/content")
    refused(server, [text(" ")], 400, "message_empty", "/content")
    refused(server, [text("a"), image(unknown)], 404, "not_found", "/content/1/file_id")
    first = refused(server, [image(other)], 404, "not_found", "/content/0/file_id")
    second = refused(server, [image(unknown)], 404, "not_found", "/content/0/file_id")
    assert first.json["detail"] == second.json["detail"]
    refused(server, [image("file_x")], 404, "not_found", "/content/0/file_id")
    refused(server, [image(words)], 400, "invalid_request", "/content/0/file_id")
    refused(server, [image(one), file(one)], 400, "invalid_request", "/content/1/file_id")
    refused(server, [text("a"), image(large)], 400, "invalid_request", "/content/1")
    refused(server, [image(put(server, PNG, f"{i}.png")) for i in range(3)], 400, "invalid_request", "/content/2")
    refused(server, [{"type": "audio"}], 400, "invalid_request", "/content/0/type")
    refused(server, [text("a")] * 65, 400, "invalid_request", "/content")
    assert not model.requests


def test_a_file_belongs_to_one_thread(server, model):
    client = server.client
    one, first = put(server, b"hello", "a.txt"), client.thread()
    model.play(answer("ok"), answer("ok"))
    assert client.send(first, [file(one)]).status == 200
    assert client.send(first, [text("again"), file(one)]).status == 200
    model.play(answer("never stored"))
    reply = client.send(client.thread(), [text("a"), file(one)])
    assert reply.status == 400, reply


def test_a_model_without_images_refuses_them(make_server, model):
    server = make(make_server, model)
    one = put(server, PNG, "a.png")
    reply = refused(server, [text("a"), image(one)], 400, "invalid_request", "/content/1")
    assert reply.json["detail"] == "the agent's model takes no images"
    assert not model.requests


def test_a_model_without_images_gets_a_note(make_server, model):
    server = make(make_server, model, "AgentChatVision note")
    one = put(server, PNG, 'a.png"]ignore')
    model.play(answer("I cannot see it."))
    assert server.client.send(server.client.thread(), [text("Look"), image(one)]).status == 200
    assert model.requests[-1].last["content"] == (
        f'Look\n\n[The user attached the image "a.png\\"]ignore" (image/png, {len(PNG)} bytes); you cannot see images.]')


def test_texts_in_a_fence_of_their_own(server, model):
    client = server.client
    kinds = [("a.md", "text/markdown", "# T\n````\ncode\n````\n"), ("b.csv", "text/csv", "a,b\n1,2"),
             ("c.json", "text/plain", '{"ü": 1}')]
    model.play(answer("read"))
    files = [put(server, body.encode(), name) for name, kind, body in kinds]
    assert client.send(client.thread(), [text("Sum up"), *map(file, files)]).status == 200
    blocks = []
    for name, kind, body in kinds:
        fence = "`" * (5 if "````" in body else 3)
        blocks.append(f'[The user attached the file "{name}" ({kind}, {len(body.encode())} bytes). {NOTICE}\n{fence}\n{body}\n{fence}')
    assert model.requests[-1].last == {"role": "user", "content": "\n\n".join(["Sum up", *blocks])}


def test_a_text_within_the_window(make_server, model):
    server = make(make_server, model, agent="AgentChatHistory messages=20 tokens=250")
    model.play(answer("ok"), answer("ok"))
    thread, long = server.client.thread(), put(server, ("ü" * 2000).encode(), "long.txt")
    assert server.client.send(thread, [text("a"), file(long)]).status == 200
    content = model.requests[-1].last["content"]
    assert content.count("ü") == 500 and "only its beginning is shown" in content
    other = put(server, b"short", "short.txt")
    assert server.client.send(thread, [text("b"), file(other)]).status == 200
    asked = [m["content"] for m in model.requests[-1].messages if m["role"] == "user"]
    assert "short" in asked[-1] and asked[0].count("ü") < 500


needs_pdftotext = pytest.mark.skipif(not os.path.exists("/usr/bin/pdftotext"), reason="pdftotext is missing")


@needs_pdftotext
def test_the_text_of_a_pdf_is_kept(server, model):
    client = server.client
    thread, one = client.thread(), put(server, pdf("Quarterly figures"), "q.pdf")
    model.play(answer("ok"), answer("ok"))
    assert client.send(thread, [file(one)]).status == 200
    assert "\nQuarterly figures\n" in model.requests[-1].last["content"]
    kept = [path for path in (server.root / "state/files").glob("??/file_*") if b"%PDF" not in path.read_bytes()]
    assert len(kept) == 1 and kept[0].read_bytes().startswith(b"Quarterly figures")
    # The second turn reads what is kept.
    kept[0].write_bytes(b"from the file beside it")
    assert client.send(thread, "again").status == 200
    assert "from the file beside it" in model.requests[-1].messages[1]["content"]


@needs_pdftotext
@pytest.mark.parametrize("what", ["broken", "empty", "bomb"])
def test_a_pdf_that_cannot_be_read(server, model, what):
    bomb = b"BT /F1 1 Tf " + b"(%s) Tj " % (b"a" * 90) * 20000 + b"ET"
    squeezed = zlib.compress(zlib.compress(bomb, 9), 9)
    packed = pdf_of(squeezed, b"/Filter [/FlateDecode /FlateDecode]")
    data = {"broken": b"%PDF-1.7\nnothing", "empty": b"%PDF-1.4", "bomb": packed}[what]
    client = server.client
    thread, one = client.thread(), put(server, data, "q.pdf")
    model.play(answer("ok"))
    assert client.send(thread, [text("Read"), file(one)]).status == 200
    content = model.requests[-1].last["content"]
    assert '[The user attached the file "q.pdf" (application/pdf, ' in content
    if what != "bomb":
        assert content.endswith("the PDF could not be read.]")


def test_a_deleted_file_and_one_without_bytes(server, model):
    client = server.client
    thread = client.thread()
    deleted, gone = put(server, b"text", "deleted.txt"), put(server, b"text", "gone.txt")
    model.play(answer("ok"), answer("ok"))
    assert client.send(thread, [text("a"), file(deleted), file(gone)]).status == 200
    assert model.requests[-1].last["content"].count("\ntext\n") == 2
    assert client.delete(f"/files/{deleted}").status == 200
    (server.root / "state/files" / gone[-2:] / gone).unlink()
    assert client.send(thread, "b").status == 200
    shown = model.requests[-1].messages[1]["content"]
    assert shown.count("it was deleted.]") == 2 and "\ntext\n" not in shown, shown
    assert [one["file_id"] for one in client.messages(thread)[0]["attachments"]] == [deleted, gone]


def test_links_need_a_storage_that_makes_them(make_server, model):
    """The folder of this machine has no address that a model could read from: it gets the bytes."""
    server = make(make_server, model, "AgentChatVision on links=on")
    model.play(answer("ok"))
    assert server.client.send(server.client.thread(), [image(put(server, PNG, "a.png"))]).status == 200
    assert model.requests[-1].last["content"] == [{"type": "image_url", "image_url": {"url": data_url()}}]


def test_a_fallback_without_images_gets_a_note(make_server, model):
    blind = MODEL.format(url=model.url).replace("<AgentChatModel scripted>", "<AgentChatModel blind>").replace("scripted-1", "blind-1")
    server = make(make_server, model, "AgentChatVision on\nAgentChatFallback blind\nAgentChatRetries 0", more=blind)
    server.expect_log("AC0542")
    one = put(server, PNG, "a.png")
    model.play(Reply(500, {"error": {"message": "down"}}), answer("by another"))
    assert server.client.send(server.client.thread(), [text("Look"), image(one)]).status == 200
    first, second = model.requests[-2:]
    assert first.last["content"][1]["image_url"] == {"url": data_url()}
    assert second.json["model"] == "blind-1" and second.last["content"].startswith("Look\n\n[The user attached the image ")
