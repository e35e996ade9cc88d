# SPDX-License-Identifier: Apache-2.0
"""Files on the chat page: attached by button, drop and paste, their uploads, and how messages show them."""
import json
import struct
import zlib

import pytest

from browser import SHOTS
from model_server import Gate, answer
from page import Page, PageServer
from runs import holding, wait_until

FILES = "AgentChatFiles on reserve=0 max=3M owner-files=12\n"
SLOW = 200_000                          # bytes a second, of an upload that a test looks at
WORDS = "Buy milk.\n"
UPLOADS = "[...document.querySelectorAll('.uploads .file')]"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, red=200):
    """A picture with a gradient."""
    rows = b"".join(b"\0" + b"".join(bytes((red, x * 255 // width, y * 255 // height)) for x in range(width)) for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def _files_server(_model):
    server = PageServer(_model, more=FILES, of_model="AgentChatVision on").start()
    yield server
    server.remove()


@pytest.fixture
def files_server(_files_server, model):
    """A server that takes files, of which it has none; nothing was logged that should not be."""
    forget(_files_server)
    yield _files_server
    assert not (bad := _files_server.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def forget(server):
    assert server.client.request("DELETE", "/me", {"confirm": "delete everything"}).status in (200, 202)


@pytest.fixture
def made(tmp_path):
    """Writes files of this computer; gives their paths."""
    def make(**files):
        paths = []
        for name, data in files.items():
            path = tmp_path / name.replace("__", ".")
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
            paths.append(str(path))
        return paths
    return make


def open_page(browser, server, path="", **options):
    page = Page(browser, browser.context(**options), server.url + path)
    page.wait(".attach")
    return page


def choose(page, *paths):
    page.find("input[type=file]").setInputFiles(list(paths))


def names(page, selector=".uploads .file-name"):
    return page.texts(selector)


def until_done(page, n):
    page.until(f"{UPLOADS}.filter(one => one.dataset.state === 'done').length === {n}")


def stored(server):
    return server.client.get("/files?limit=100").json["data"]


def messages(server):
    thread = server.client.get("/threads?limit=1&order=updated").json["data"][0]["id"]
    return server.client.messages(thread)


def slow(page, throughput):
    """Limits what the tab sends, in bytes a second; -1: not any more."""
    session = page.context.newCDPSession(page.tab)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions",
                 {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": throughput})
    return session


def transfer(page, event, target, *files, text="", folder=False):
    """Dispatches a paste or a drop with these files, given as (name, type, text)."""
    page.evaluate(f"""(() => {{
      const data = new DataTransfer();
      for (const [name, type, text] of {json.dumps(files)}) data.items.add(new File([text], name, {{ type }}));
      if ({json.dumps(text)}) data.setData('text/plain', {json.dumps(text)});
      const options = {{ bubbles: true, cancelable: true, {"clipboardData" if event == "paste" else "dataTransfer"}: data }};
      document.querySelector('{target}').dispatchEvent(new {"ClipboardEvent" if event == "paste" else "DragEvent"}('{event}', options));
    }})()""")


# ---- attaching ----
def test_files_are_attached_and_sent(browser, files_server, model, made):
    """Several at once; the model gets them, and the message shows them, also after a reload."""
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS, picture__png=png(320, 200), report__md="# Report\n"))
    until_done(page, 3)
    assert names(page) == ["notes.txt", "picture.png", "report.md"]
    page.wait(".uploads canvas")
    page.check("attach-chosen")
    model.play(answer("I see."))
    page.send("What is this?")
    page.ended()
    sent = model.requests[-1].last["content"]
    assert WORDS in sent[0]["text"] and "What is this?" in sent[0]["text"] and sent[-1]["type"] == "image_url", sent
    page.wait(".attachments canvas")
    assert not names(page) and not page.find(".uploads").isVisible()
    page.check("attach-sent")
    stored_message = messages(files_server)[0]
    assert stored_message["content"] == "What is this?"
    assert [(one["name"], one["type"]) for one in stored_message["attachments"]] == [
        ("notes.txt", "text/plain"), ("picture.png", "image/png"), ("report.md", "text/markdown")]
    page.reload()
    page.ended()
    page.wait(".attachments canvas")
    assert page.texts(".attachments .file-name") == ["notes.txt", "report.md"]


def test_paste_and_drop(browser, files_server, model):
    page = open_page(browser, files_server)
    transfer(page, "paste", "#text", ("pasted.txt", "text/plain", WORDS))
    until_done(page, 1)
    transfer(page, "dragover", "#turns", ("dropped.txt", "text/plain", WORDS))
    page.wait(".drop-veil")
    page.check("attach-drop")
    transfer(page, "drop", "#turns", ("dropped.txt", "text/plain", WORDS), ("other.csv", "text/csv", "a,b\n1,2\n"))
    until_done(page, 3)
    page.until("document.querySelector('.drop-veil').hidden")
    assert names(page) == ["pasted.txt", "dropped.txt", "other.csv"]
    # Office programs give a picture of a copied text, too: the text is meant.
    transfer(page, "paste", "#text", ("image.png", "image/png", "x"), text="1\t2")
    transfer(page, "paste", "#text", ("name.txt", "text/plain", WORDS), text="name.txt")
    until_done(page, 4)
    assert names(page)[3] == "name.txt"
    page.until("document.activeElement.id === 'text'")


def test_a_message_of_files_alone(browser, files_server, model, made):
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS))
    until_done(page, 1)
    model.play(answer("Milk."))
    page.find("#text").focus()
    page.keyboard().press("Enter")
    page.ended()
    page.wait(".attachments .file")
    assert not page.find(".bubble").isVisible() and messages(files_server)[0]["content"] == ""
    page.find(".mine").hover()
    page.check("attach-alone")


# ---- uploads ----
def test_progress_and_cancel(browser, files_server, made):
    """An upload shows how far it is; the message waits for it; one that is cancelled leaves nothing on the server."""
    page = open_page(browser, files_server)
    page.write("With files")
    limits = slow(page, SLOW)
    big, other, small = made(big__csv="1,2\n" * 500_000, other__csv="3,4\n" * 500_000, small__txt=WORDS)
    choose(page, big, other, small)
    page.until(f"{UPLOADS}.some(one => one.dataset.state === 'uploading' && one.querySelector('progress').value > 0)")
    page.until(f"{UPLOADS}[2].dataset.state === 'waiting'")
    page.wait_text(".files-state", "3 files are being uploaded.")
    assert page.find("#send").isDisabled()
    page.find("#text").focus()
    page.keyboard().press("Enter")
    page.check("attach-progress")
    assert page.find("#text").inputValue() == "With files"
    page.button("Cancel the upload of big.csv").click()
    page.until("document.activeElement.title === 'Cancel the upload of other.csv'")
    page.button("Cancel the upload of other.csv").click()
    until_done(page, 1)
    limits.send("Network.emulateNetworkConditions", {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    page.until("!document.querySelector('#send').disabled")
    assert [one["name"] for one in stored(files_server)] == ["small.txt"]
    page.button("Remove small.txt").click()
    page.until("document.querySelector('.uploads').hidden && document.activeElement.id === 'text'")
    wait_until(lambda: not stored(files_server), "a file that was removed is still on the server")
    assert page.find("#text").inputValue() == "With files"


def test_what_is_refused(browser, files_server, made):
    """Before it is sent, as too large or empty; or by the server, by its contents. The text stays, and the rest is uploaded."""
    browser.expected = ["415"]
    page = open_page(browser, files_server)
    assert page.find(".attach").getAttribute("title") == "Attach files. At most 3 MB each, 20 in a message"
    page.write("About these")
    choose(page, *made(large__txt="x" * (3 << 20) + "x", empty__txt="", program__bin=b"\x7fELF\x02\x01\x01" + bytes(64), good__txt=WORDS))
    page.until(f"{UPLOADS}.map(one => one.dataset.state).join() === 'failed,failed,failed,done'")
    reasons = page.texts(".uploads .file-info")
    assert reasons[:2] == ["Larger than 3 MB.", "Empty."] and reasons[2].endswith(".") and len(reasons[2]) > 20, reasons
    page.wait_text(".files-state", "3 files could not be uploaded.")
    assert page.find("#send").isDisabled() and page.find("#text").inputValue() == "About these"
    assert not page.find(".uploads [aria-label^='Upload ']").first().isVisible(), "another attempt is of no use"
    page.check("attach-refused")
    for name in ("large.txt", "empty.txt", "program.bin"):
        page.button(f"Remove {name}").click()
    page.until("!document.querySelector('#send').disabled")
    assert names(page) == ["good.txt"]


def test_an_upload_is_tried_again(browser, files_server, made):
    """After the limit of an owner was reached, and after the network was lost."""
    browser.expected = ["413", "ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    for n in range(12):
        assert files_server.client.request("POST", "/files", b"x %d" % n).status == 201
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS))
    page.until(f"{UPLOADS}[0]?.dataset.state === 'failed'")
    assert "12" in page.texts(".uploads .file-info")[0]
    for one in stored(files_server)[:2]:
        files_server.client.request("DELETE", f"/files/{one['id']}")
    page.button("Upload notes.txt again").click()
    until_done(page, 1)
    page.context.setOffline(True)
    choose(page, *made(more__txt=WORDS))
    page.until(f"{UPLOADS}[1]?.dataset.state === 'failed'")
    assert page.texts(".uploads .file-info")[1] == "The server cannot be reached. Check your connection and try again."
    page.context.setOffline(False)
    page.button("Upload more.txt again").click()
    until_done(page, 2)


def test_too_many_for_a_message(browser, files_server):
    page = open_page(browser, files_server)
    transfer(page, "paste", "#text", *[[f"{n}.txt", "text/plain", ""] for n in range(22)])
    page.wait_text("#notice", "A message can have 20 files.")
    assert len(names(page)) == 20


# ---- drafts ----
def test_a_draft_keeps_its_files(browser, files_server, model, made):
    """With its conversation, also after a reload; not those that were removed meanwhile."""
    browser.expected = ["404"]
    page = open_page(browser, files_server)
    model.play(answer("Yes."))
    page.send("First")
    page.ended()
    choose(page, *made(kept__txt=WORDS, lost__txt=WORDS))
    until_done(page, 2)
    page.write("Second")
    page.button("New conversation").click()
    page.wait(".welcome")
    page.until("document.querySelector('.uploads').hidden")
    page.find("#threads a").first().click()
    page.ended()
    assert names(page) == ["kept.txt", "lost.txt"] and page.find("#text").inputValue() == "Second"
    lost = next(one for one in stored(files_server) if one["name"] == "lost.txt")
    files_server.client.request("DELETE", f"/files/{lost['id']}")
    page.reload()
    page.ended()
    page.wait(".uploads .file", 2)
    page.until(f"{UPLOADS}[1].dataset.state === 'failed'")
    assert page.texts(".uploads .file-info")[1] == "This file no longer exists."
    page.button("Remove lost.txt").click()
    model.play(answer("And yes."))
    page.button("Send").click()
    page.ended(2)
    assert [one["name"] for one in messages(files_server)[2]["attachments"]] == ["kept.txt"]
    page.reload()
    page.ended(2)
    assert not names(page)


def test_a_refused_message_gives_its_files_back(browser, files_server, model, made):
    browser.expected = ["409"]
    page = open_page(browser, files_server)
    model.play(answer("Yes."))
    page.send("First")
    page.ended()
    gate = Gate()
    model.play(holding(gate, ("Of another",), (" client",)))
    thread = page.url().split("#/")[1]
    choose(page, *made(notes__txt=WORDS))
    until_done(page, 1)
    stream = files_server.client.stream(f"/threads/{thread}/messages", {"content": "From elsewhere", "stream": True})
    stream.until("token")
    page.send("Mine")
    page.wait_text("#notice", "An answer is still being written")
    page.wait(".uploads .file")
    assert names(page) == ["notes.txt"] and page.find("#text").inputValue() == "Mine"
    gate.open()
    stream.rest()
    page.ended(2)
    model.play(answer("Now."))
    page.button("Send").click()
    page.ended(3)
    assert [one["name"] for one in messages(files_server)[-2]["attachments"]] == ["notes.txt"]
    # The message has the file: it is not deleted with a later draft.
    assert [one["name"] for one in stored(files_server)] == ["notes.txt"]


# ---- in messages ----
def test_edit_and_regenerate_keep_the_files(browser, files_server, model, made):
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS, picture__png=png(64, 64)))
    until_done(page, 2)
    model.play(answer("One."))
    page.send("What is this?")
    page.ended()
    model.play(answer("Two."))
    page.button("Answer again").click()
    page.until("document.querySelector('.answer .branches-place')?.textContent === '2/2'")
    assert "image_url" in json.dumps(model.requests[-1].messages)
    page.find(".mine").hover()
    page.button("Edit message").click()
    page.wait(".editor textarea")
    page.wait(".editor .file canvas")
    page.check("attach-edit")
    page.find(".editor textarea").fill("And this?")
    model.play(answer("Three."))
    page.find(".editor").getByRole("button", {"name": "Send"}).click()
    page.wait_text(".bubble", "And this?")
    page.ended()
    page.wait(".attachments canvas")
    page.until("document.querySelector('.mine .branches-place')?.textContent === '2/2'")
    assert [one["name"] for one in messages(files_server)[0]["attachments"]] == ["notes.txt", "picture.png"]
    assert "image_url" in json.dumps(model.requests[-1].messages)


def test_a_file_is_left_out_of_the_next_version(browser, files_server, model, made):
    """By its button in the editor, also by keyboard; the first version keeps it."""
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS, picture__png=png(64, 64), more__txt="More.\n"))
    until_done(page, 3)
    model.play(answer("One."))
    page.send("What is this?")
    page.ended()
    page.wait(".attachments canvas")
    page.find(".mine").hover()
    page.button("Edit message").click()
    page.wait(".editor .file", 3)
    assert not page.find(".attachments").isVisible()
    page.check("attach-leave-out")
    page.find(".editor").getByRole("button", {"name": "Remove notes.txt"}).click()
    page.until("document.activeElement.title === 'Remove picture.png'")
    page.keyboard().press("Enter")
    page.until("document.activeElement.title === 'Remove more.txt'")
    assert names(page, ".editor .file-name") == ["more.txt"]
    page.keyboard().press("Escape")
    page.wait(".attachments canvas")
    page.button("Edit message").click()
    page.wait(".editor .file", 3)
    for name in ("notes.txt", "picture.png", "more.txt"):
        page.find(".editor").getByRole("button", {"name": f"Remove {name}"}).click()
    page.until("document.activeElement.matches('.editor textarea') && !document.querySelector('.editor .files')")
    page.find(".editor textarea").fill("")
    assert page.find(".editor").getByRole("button", {"name": "Send"}).isDisabled(), "neither text nor files"
    page.find(".editor").getByRole("button", {"name": "Cancel"}).click()
    page.button("Edit message").click()
    page.wait(".editor .file", 3)
    page.find(".editor").getByRole("button", {"name": "Remove picture.png"}).click()
    model.play(answer("Two."))
    page.find(".editor").getByRole("button", {"name": "Send"}).click()
    page.until("document.querySelector('.mine .branches-place')?.textContent === '2/2'")
    page.ended()
    page.wait(".attachments .file", 2)
    assert page.texts(".attachments .file-name") == ["notes.txt", "more.txt"] and not page.find(".attachments canvas").count()
    assert "image_url" not in json.dumps(model.requests[-1].messages)
    page.button("Previous version").click()
    page.wait(".attachments canvas")
    assert sorted(one["name"] for one in stored(files_server)) == ["more.txt", "notes.txt", "picture.png"]


SAVED = """(() => {
  window.saved = [];
  const create = URL.createObjectURL;
  URL.createObjectURL = blob => { window.blob = blob; return create.call(URL, blob); };
  HTMLAnchorElement.prototype.click = async function () { window.saved.push([this.download, await window.blob.text()]); };
})()"""


def test_files_are_shown_and_downloaded(browser, files_server, model, made):
    """With the page's authentication: a picture in full size, the bytes of the others; also by keyboard."""
    browser.expected = ["404"]
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS, wide__png=png(1600, 500)))
    until_done(page, 2)
    model.play(answer("Yes."))
    page.send("Look")
    page.ended()
    page.reload()
    page.ended()
    page.evaluate(SAVED)
    page.wait(".attachments canvas")
    page.button("Show wide.png").focus()
    page.keyboard().press("Enter")
    page.wait(".viewer canvas")
    page.check("attach-viewer")
    assert page.evaluate("document.querySelector('.viewer canvas').width") == 1600
    page.keyboard().press("Escape")
    page.until("document.activeElement.title === 'wide.png'")
    page.find(".attachments .file").click()
    page.until("window.saved.length === 1")
    assert page.evaluate("window.saved[0]") == ["notes.txt", WORDS]
    for one in stored(files_server):
        files_server.client.request("DELETE", f"/files/{one['id']}")
    page.find(".attachments .file").click()
    page.wait_text(".toast", "This file no longer exists.")
    page.reload()
    page.ended()
    page.wait(".attachments .file", 2)
    page.check("attach-gone")


# ---- everywhere ----
def test_on_a_phone_in_german_and_from_right_to_left(browser, files_server, model, made):
    page = open_page(browser, files_server, locale="de-DE", viewport={"width": 360, "height": 720}, isMobile=True, hasTouch=True)
    long = "Ein sehr langer Name " * 6 + "Ende"
    choose(page, *made(**{f"{long}__txt": WORDS, "bild__png": png(90, 160), "bericht__pdf": "%PDF-1.4\n%%EOF\n"}))
    until_done(page, 3)
    page.wait_text(".files-state", "3 Dateien sind angehängt.")
    page.check("attach-phone-german")
    model.play(answer("Ja."))
    page.find("#text").fill("Was ist das?")
    page.button("Senden").click()
    page.ended()
    page.wait(".attachments canvas")
    page.check("attach-phone-sent")
    page.evaluate("document.documentElement.dir = 'rtl'")
    page.check("attach-phone-mirrored")


def test_in_print(browser, files_server, model, made):
    page = open_page(browser, files_server)
    choose(page, *made(notes__txt=WORDS, picture__png=png(64, 64)))
    until_done(page, 2)
    model.play(answer("Yes."))
    page.send("Print this")
    page.ended()
    page.wait(".attachments canvas")
    page.tab.emulateMedia({"media": "print"})
    assert page.find(".attachments canvas").isVisible() and page.find(".attachments .file-name").isVisible()
    assert not page.find("#composer").isVisible()
    page.tab.screenshot({"path": str(SHOTS / "attach-print.png")})


def test_nothing_of_it_where_the_server_takes_no_files(page, browser):
    """Neither button nor files of this part; a dropped file is left to the browser."""
    page.wait(".welcome")
    page.until("performance.getEntriesByType('resource').some(one => one.name.endsWith('/me') && one.responseEnd)")
    loaded = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)"
                           ".filter(name => /attach|uploads|files/.test(name))")
    assert not loaded and not page.find(".attach").count()


def test_an_image_for_a_model_that_sees_none(browser, model, made):
    """The server says it; the message and its file are there again, to be sent to another agent or without the image."""
    browser.expected = ["400"]
    server = PageServer(model, more=FILES).start()
    try:
        for locale, words in (("en-GB", "The agent's model takes no images."),
                              ("de-DE", "Der Assistent nimmt eine dieser Dateien nicht an.")):
            page = open_page(browser, server, locale=locale)
            choose(page, *made(picture__png=png(64, 64)))
            until_done(page, 1)
            page.find("#text").fill("Look")
            page.find("#send").click()
            page.wait_text("#notice", words)
            page.wait(".uploads canvas")
            assert page.find("#text").inputValue() == "Look"
    finally:
        server.remove()
