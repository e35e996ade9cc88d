# SPDX-License-Identifier: Apache-2.0
"""Images and files in the bodies of OpenAI's clients and of useChat: what is stored, what the model is sent, what is
refused."""
import base64
import os

import pytest

import agui_client as agui
from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import answer
from server import AGENT, MODEL, MOUNT
from test_ui import ALL as UI_CLIENTS
from test_ui import run as chat
from test_ui import said, texts, thread_of
from test_v1_clients import ALL, run
from uploads import NOTICE, PNG, data_url, kept_bytes, pdf, text, upload

ON = "<Location /api>\nAgentChatOpenAI on threads=X-Chat\nAgentChatUI on\nAgentChatAGUI on\n</Location>\n"
PATH = "/v1/chat/completions"
THREAD = {"X-Chat": "c"}
SHOWN = {"type": "image_url", "image_url": {"url": data_url(), "detail": "low"}}
needs_pdftotext = pytest.mark.skipif(not os.path.exists("/usr/bin/pdftotext"), reason="pdftotext is missing")


def make(make_server, model, vision="AgentChatVision on detail=low images=2 size=1K", files="on reserve=0", more="", **options):
    models = MODEL.format(url=model.url).replace("AgentChatBreaker off", "AgentChatBreaker off\n" + vision)
    return make_server(models + AGENT + MOUNT + f"AgentChatFiles {files}\n" + ON + more, standard=False, **options)


@pytest.fixture
def server(make_server, model):
    return make(make_server, model)


def picture(url=None):
    return {"type": "image_url", "image_url": {"url": url or data_url()}}


def document(data=b"Buy milk.", name="notes.txt", kind="text/plain"):
    return {"type": "file", "file": {"file_data": data_url(data, kind), "filename": name}}


def user(*parts):
    return {"role": "user", "content": list(parts)}


def ask(server, *messages, headers=None, **more):
    return server.client.post(PATH, {"model": "assistant", "messages": list(messages), **more}, headers=headers)


def asked(model):
    return [m["content"] for m in model.requests[-1].messages if m["role"] == "user"]


def files_of(server):
    return server.client.get("/files").json["data"]


# ---- a conversation that is not stored ----

def test_the_model_gets_images_and_texts_of_all_messages(server, model):
    reply = ask(server, user(text("What is"), picture(), text("this?")), {"role": "assistant", "content": "A dot."},
                user(text("Sum up"), document()))
    assert reply.status == 200, reply
    first, last = asked(model)
    assert first == [text("What is\n\nthis?"), SHOWN]
    assert last == f'Sum up\n\n[The user attached the file "notes.txt" (text/plain, 9 bytes). {NOTICE}\n```\nBuy milk.\n```'
    assert files_of(server) == [] and kept_bytes(server) == [] and server.client.get("/threads").json["data"] == []


@needs_pdftotext
def test_a_pdf_is_read_without_being_kept(server, model):
    assert ask(server, user(document(pdf("Quarterly figures"), "q.pdf", "application/pdf"))).status == 200
    assert "\nQuarterly figures\n" in asked(model)[0] and kept_bytes(server) == []


def test_files_of_a_request_need_no_storage(make_server, model):
    server = make(make_server, model, files="off")
    assert ask(server, user(picture(), document())).status == 200
    assert asked(model)[0][1] == SHOWN and "Buy milk." in asked(model)[0][0]["text"]
    refused = ask(server, user(picture()), headers=THREAD)
    assert refused.status == 400 and "takes no files" in refused.json["error"]["message"], refused
    refused = ask(server, user({"type": "file", "file": {"file_id": "file_0" + "1" * 25}}))
    assert refused.status == 400 and refused.json["error"]["param"] == "messages[0].content[0]", refused


def test_an_uploaded_file_by_its_id(server, model):
    one = upload(server.client, b"Buy bread.", "b.txt")
    assert ask(server, user(text("Read"), {"type": "file", "file": {"file_id": one}}, document())).status == 200
    assert "Buy bread." in asked(model)[0] and "Buy milk." in asked(model)[0]


def test_forms_of_data(server, model):
    plain = base64.b64encode(PNG).decode()
    forms = [f"data:image/png;base64,{plain}", f"data:;base64,{plain.rstrip('=')}", f"DATA:text/html;x=y;BASE64,{plain[:8]}%0A{plain[8:]}",
             "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG)]
    forms[2] = forms[2].replace("%0A", "\n")
    for url in forms:
        assert ask(server, user(picture(url))).status == 200
        assert asked(model)[0] == [SHOWN], url
    assert ask(server, user({"type": "image_url", "image_url": data_url()})).status == 200
    assert ask(server, user({"type": "file", "file": {"file_data": plain, "filename": "a.png"}})).status == 200
    assert asked(model)[0] == [SHOWN]


@pytest.mark.parametrize("part, word", [
    (picture("https://example.com/a.png"), "fetches no URL"), (picture("http://127.0.0.1/a.png"), "fetches no URL"),
    (picture("file:///etc/passwd"), "fetches no URL"), (picture("data:image/png;base64,!!!!"), "not base64"),
    (picture("data:image/png;base64,iVBOR"), "not base64"), (picture("data:image/png"), "no comma"), (picture("data:,a%2"), "% sequence"),
    (picture("data:,"), "empty"), (picture("data:image/png,hello"), "no image"), (picture(data_url(b"\x7fELF\x01\x02")), "type"),
    ({"type": "image_url", "image_url": {}}, "no url"), ({"type": "file", "file": {"filename": "x"}}, "neither"),
    ({"type": "file"}, "neither"), ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "types text, image_url"),
    (picture(data_url(PNG + b"x" * 2000)), "bytes at most"), ({"type": "text"}, "no text"),
])
def test_a_part_that_is_refused(server, model, part, word):
    for headers in (None, THREAD):
        refused = ask(server, {"role": "user", "content": "before"}, {"role": "assistant", "content": "x"}, user(text("a"), part),
                      headers=headers)
        error = refused.json["error"]
        assert refused.status == 400 and word in error["message"] and error["param"] == "messages[2].content[1]", refused
        assert error["type"] == "invalid_request_error" and "x-should-retry" not in refused.headers
    assert model.requests == []


def test_what_else_is_refused(make_server, model):
    server = make(make_server, model, files="on reserve=0 max=100 types=text/plain")
    unknown = ask(server, user({"type": "file", "file": {"file_id": "file_0" + "1" * 25}}))
    assert unknown.status == 404 and unknown.json["error"]["param"] == "messages[0].content[0]", unknown
    assert "not accepted here" in ask(server, user(picture())).json["error"]["message"]
    assert "too large" in ask(server, user(document(b"x" * 101))).json["error"]["message"]
    assert "20 files" in ask(server, user(*[document()] * 21)).json["error"]["message"]
    assert "too many parts" in ask(server, user(*[text("a")] * 65)).json["error"]["message"]
    theirs = ask(server, {"role": "system", "content": [document()]}, user(text("a")))
    assert theirs.json["error"]["param"] == "messages[0].content[0]" and "of the user" in theirs.json["error"]["message"], theirs
    assert model.requests == []


def test_a_model_without_images(make_server, model):
    server = make(make_server, model, vision="")
    refused = ask(server, user(text("a"), picture()))
    assert refused.status == 400 and refused.json["error"]["param"] == "messages[0].content[1]", refused
    assert ask(server, user(picture()), {"role": "assistant", "content": "x"}, user(text("b"))).status == 200
    assert "you cannot see images" in asked(model)[0]


# ---- in a thread ----

def test_a_thread_keeps_the_files(server, model):
    first = ask(server, user(text("Look"), picture(), document()), headers=THREAD)
    assert first.status == 200, first
    thread = first.headers["x-agentchat-thread"]
    question = server.client.messages(thread)[0]
    assert [(f["name"], f["type"], f["size"]) for f in question["attachments"]] == [
        ("image.png", "image/png", len(PNG)), ("notes.txt", "text/plain", 9)]
    assert sorted(f["thread_id"] for f in files_of(server)) == [thread] * 2 and len(kept_bytes(server)) == 2
    content = server.client.get(f"/files/{question['attachments'][0]['file_id']}/content")
    assert content.body == PNG and content.headers["content-type"] == "image/png"
    assert asked(model)[0][1] == SHOWN
    # The client sends them again with each message; they are stored once, and the thread continues.
    second = ask(server, user(text("Look"), picture(), document()), {"role": "assistant", "content": "Hello world"}, user(text("And?")),
                 headers=THREAD)
    assert second.headers["x-agentchat-thread"] == thread and len(files_of(server)) == 2
    assert [m["role"] for m in server.client.messages(thread)] == ["user", "assistant"] * 2
    # Another image is another question.
    start = [user(text("Look"), picture(), document()), {"role": "assistant", "content": "Hello world"}]
    assert ask(server, *start, user(text("And?"), picture()), headers=THREAD).status == 200
    assert [len(m.get("attachments", [])) for m in server.client.messages(thread)] == [2, 0, 1, 0]
    everything = server.client.get(f"/threads/{thread}/messages?all=true").json["data"]
    assert len(everything) == 6 and len(files_of(server)) == 3


def test_a_message_of_files_alone_is_answered_again(server, model):
    thread = ask(server, user(picture()), headers=THREAD).headers["x-agentchat-thread"]
    assert ask(server, user(picture()), headers=THREAD).headers["x-agentchat-thread"] == thread
    everything = server.client.get(f"/threads/{thread}/messages?all=true").json["data"]
    assert [m["role"] for m in everything] == ["user", "assistant", "assistant"] and len(files_of(server)) == 1


def test_a_repeated_request_stores_its_files_once(server, model):
    keyed = {**THREAD, "Idempotency-Key": "k"}
    for _ in range(2):
        assert ask(server, user(text("a"), picture()), headers=keyed).status == 200
    assert len(files_of(server)) == 1 and len(model.requests) == 1


def test_files_over_a_limit_are_stored_all_or_none(make_server, model):
    server = make(make_server, model, files="on reserve=0 owner-files=2")
    refused = ask(server, user(document(name="a.txt"), document(name="b.txt"), document(name="c.txt")), headers=THREAD)
    assert refused.status == 413 and refused.json["error"]["code"] == "file_limit_exceeded", refused
    assert files_of(server) == [] and kept_bytes(server) == [] and model.requests == []


def test_files_are_in_the_audit_log_and_the_metrics(make_server, model):
    server = make(make_server, model, more="AgentChatAuditLog logs/audit.log\n<Location /api>\nAgentChatMetrics all\n</Location>\n")
    assert ask(server, user(document(), picture()), headers=THREAD).status == 200
    lines = [line for line in (server.root / "logs/audit.log").read_text().splitlines() if "file.uploaded" in line]
    assert [one["id"] in "".join(lines) for one in files_of(server)] == [True, True] and len(lines) == 2
    assert "agentchat_files_total 2" in server.client.get("/metrics").body.decode()


def test_files_of_others_are_not_found(make_server, model):
    server = make(make_server, model, modules=MODULES, start=False)
    keys = KeyFile(server.root / "keys")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                           "<Location /keys>\nAgentChatOpenAI on\nAgentChatUI on\n</Location>\n")
    ann, bob = bearer(keys.make("ann", "owner=ann")), bearer(keys.make("bob", "owner=bob"))
    server.start()
    client = Client(server.port, "/keys")
    one = upload(client, b"secret", "s.txt", ann)
    for key, status in ((ann, 200), (bob, 404)):
        by_id = client.post(PATH, {"model": "assistant", "messages": [user(text("a"), {"type": "file", "file": {"file_id": one}})]},
                            headers=key)
        assert by_id.status == status, by_id
        url = {"type": "file", "mediaType": "text/plain", "url": f"/keys/files/{one}/content"}
        by_url = client.post("/ui/chat", {"id": "c", "message": {"id": "u", "role": "user", "parts": [url]}}, headers=key)
        assert by_url.status == status and (status != 200 or "secret" in str(model.requests[-1].json)), by_url


# ---- real clients ----

SDK_PARTS = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": data_url(), "detail": "high"}},
             {"type": "file", "file": {"filename": "q.pdf", "file_data": data_url(pdf("Quarterly figures"), "application/pdf")}}]
AI_PARTS = [{"type": "text", "text": "Look"}, {"type": "file", "mediaType": "image/png", "data": base64.b64encode(PNG).decode()},
            {"type": "file", "mediaType": "application/pdf", "filename": "q.pdf",
             "data": base64.b64encode(pdf("Quarterly figures")).decode()}]


@needs_pdftotext
@pytest.mark.parametrize("client", ALL)
def test_images_and_documents_of_real_clients(server, model, client):
    model.play(answer("I see."))
    parts = AI_PARTS if client in ("aisdk", "compatible") else SDK_PARTS
    result = run(client, "stream", server, messages=[user(*parts)])
    assert result.get("error") is None and result["text"] == "I see.", result
    (words, shown), = asked(model)
    assert shown == SHOWN and words["text"].startswith("Look\n\n[The user attached the file ") and "Quarterly figures" in words["text"]


@pytest.mark.parametrize("client", ALL)
def test_a_part_that_is_refused_is_one_clear_error(server, model, client):
    parts = [{"type": "file", "mediaType": "image/png", "data": base64.b64encode(b"hello").decode()}] \
        if client in ("aisdk", "compatible") else [picture("data:image/png,hello")]
    result = run(client, "whole", server, messages=[user(*parts)])
    assert result["error"]["status"] == 400 and "the file is no image" in result["error"]["message"], result
    assert model.requests == []


@pytest.mark.parametrize("client", UI_CLIENTS)
def test_files_of_use_chat(server, model, client):
    model.play(answer("I see."), answer("Still."), answer("Once more."))
    files = [{"type": "file", "mediaType": "image/png", "filename": "dot.png", "url": data_url()},
             {"type": "file", "mediaType": "text/plain", "url": data_url(b"Buy milk.", "text/plain")}]
    first = chat(client, server, ["send", "Look", files], ["send", "And now?"])
    assert first["error"] is None and said(first)[-1] == ("assistant", "Still."), first
    assert asked(model)[0][1] == SHOWN and "Buy milk." in asked(model)[0][0]["text"]
    assert len(files_of(server)) == 2
    # A page that begins with the stored conversation has URLs of this server, and sends these again with an edit.
    again = chat(client, server, ["load"], ["edit", 0, "Look better"])
    loaded = again["steps"][0]["messages"][0]["parts"]
    assert [(p["type"], p.get("filename"), p.get("mediaType")) for p in loaded] == [
        ("file", "dot.png", "image/png"), ("file", "text.txt", "text/plain"), ("text", None, None)]
    assert Client(server.port, "").get(loaded[0]["url"]).body == PNG
    assert again["error"] is None and texts(again["messages"][-1]) == "Once more." and len(files_of(server)) == 2, again
    shown, = asked(model)
    assert shown[0]["text"].startswith("Look better") and shown[1] == SHOWN
    assert [len(m.get("attachments", [])) for m in server.client.messages(thread_of(again))] == [2, 0]


@pytest.mark.parametrize("part, word", [
    ({"type": "file", "mediaType": "image/png", "url": "https://example.com/a.png"}, "fetches no URL"),
    ({"type": "file", "mediaType": "image/png"}, "no url"),
    ({"type": "file", "url": "http://other.example/api/files/file_0" + "1" * 25 + "/content"}, "fetches no URL"),
    ({"type": "file", "url": "/api/files/file_0" + "1" * 25 + "/content"}, "no file with this id"),
    ({"type": "file", "url": data_url(b"\0\1\2")}, "invalid_request"),
])
def test_a_file_of_use_chat_that_is_refused(server, model, part, word):
    body = {"id": "c", "messages": [{"id": "u", "role": "user", "parts": [part, text("Look")]}]}
    refused = server.client.post("/ui/chat", body)
    assert refused.status in (400, 404) and word in refused.body.decode(), refused
    assert refused.headers["content-type"].startswith("text/plain") and model.requests == [] and files_of(server) == []


def agui_files(client):
    """A picture and a text as this version of AG-UI's client has them."""
    picture, words = base64.b64encode(PNG).decode(), base64.b64encode(b"Buy milk.").decode()
    if client == agui.OLD:
        return [{"type": "binary", "mimeType": "image/png", "data": picture, "filename": "dot.png"},
                {"type": "binary", "mimeType": "text/plain", "data": words}]
    return [{"type": "image", "source": {"type": "data", "value": picture, "mimeType": "image/png"}, "metadata": {"filename": "dot.png"}},
            {"type": "document", "source": {"type": "data", "value": words, "mimeType": "text/plain"}}]


@pytest.mark.parametrize("client", agui.ALL)
def test_files_of_ag_ui(server, model, client):
    model.play(answer("I see."), answer("Still."), answer("Again."), answer("Once more."))
    first = agui.run(client, server, ["send", [text("Look"), *agui_files(client)]], ["send", "And now?"], ["regenerate", 1])
    assert first["error"] is None and agui.said(first)[-1] == ("assistant", "Again."), first
    assert asked(model)[0][1]["image_url"] == SHOWN["image_url"] and "Buy milk." in asked(model)[0][0]["text"]
    assert len(files_of(server)) == 2
    # A page that begins with the stored conversation has URLs of this server, and sends these again with an edit.
    loaded = agui.run(client, server, ["reload"])["messages"]
    words, shown, other = loaded[0]["content"]
    assert words == text("Look") and shown["metadata"] == {"filename": "dot.png"} and other["type"] == "document", loaded
    assert Client(server.port, "").get(shown["source"]["value"]).body == PNG and shown["source"]["mimeType"] == "image/png"
    again = agui.run(client, server, ["edit", 0, [text("Look better"), shown, other]], messages=loaded[:1])
    assert again["error"] is None and agui.said(again)[-1] == ("assistant", "Once more.") and len(files_of(server)) == 2, again
    sent, = asked(model)
    assert sent[0]["text"].startswith("Look better") and sent[1] == SHOWN
    thread_id = agui.ids_of(again["steps"][0])["thread_id"]
    assert [len(m.get("attachments", [])) for m in server.client.messages(thread_id)] == [2, 0]


def test_files_alone_of_several_messages_of_ag_ui(server, model):
    """The model was never reached, so that the page has two messages that the thread has not."""
    one, two = ({"id": f"u{i}", "role": "user", "content": [part]} for i, part in enumerate(agui_files(agui.NEW)))
    events = agui.events_of(server.client.stream("/agui/assistant", agui.body(one, two)))
    assert events[-1]["type"] == "RUN_FINISHED" and len(files_of(server)) == 2, events
    sent, = asked(model)
    assert sent[1] == SHOWN and "Buy milk." in sent[0]["text"]


@pytest.mark.parametrize("part, place, word", [
    ({"type": "image", "source": {"type": "url", "value": "https://example.com/a.png"}}, "/1", "fetches no URL"),
    ({"type": "image", "source": {"type": "data", "value": "aGVsbG8=", "mimeType": "image/png"}}, "/1", "no image"),
    ({"type": "audio", "source": {"type": "data", "value": "AAEC", "mimeType": "audio/wav"}}, "/1", ""),
    ({"type": "image", "source": {"type": "file", "value": "file_0" + "1" * 25}}, "/1", "no file with this id"),
    ({"type": "image"}, "/1", "a file with its source"), ({"type": "image", "source": {"type": "data"}}, "/1", "neither the data"),
    ("x", "/1", "a part is a text"),
])
def test_a_file_of_ag_ui_that_is_refused(server, model, part, place, word):
    refused = server.client.post("/agui/assistant", agui.body(agui.question([text("Look"), part])))
    assert refused.status in (400, 404) and word in refused.json["detail"], refused
    assert refused.json["errors"][0]["pointer"] == f"/messages/0/content{place}", refused
    system = server.client.post("/agui/assistant", agui.body({"id": "s", "role": "system", "content": agui_files(agui.NEW)}))
    assert system.status == 400 and "only messages of the user" in system.json["detail"], system
    assert model.requests == [] and files_of(server) == []
