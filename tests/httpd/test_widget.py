# SPDX-License-Identifier: Apache-2.0
"""The chat on a page of another origin: examples/widget, with a policy that allows no inline script or style."""
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from browser import SHOTS
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from model_server import answer
from page import KEYED, PageServer
from server import TOP, WAIT

EXAMPLE = TOP / "examples/widget"
POLICY = "default-src 'none'; script-src 'self' {chat}; frame-src {chat}; connect-src 'self'; require-trusted-types-for 'script'; " \
         "trusted-types 'none'"
REPORTS = "addEventListener('securitypolicyviolation', e => { (window.refused ??= []).push(e.violatedDirective); })"


class Site:
    """A server of another origin: the example's files, and the token of its user."""

    def __init__(self, chat):
        self.key, self.asked = None, 0
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.partition("?")[0]
                if path == "/chat-token":
                    site.asked += 1
                    body, kind = (site.key or "").encode(), "text/plain"
                else:
                    name = "index.html" if path == "/" else path[1:]
                    file = EXAMPLE / name
                    body = file.read_bytes().replace(b"https://CHAT", chat.encode()) if file.is_file() else b""
                    kind = "text/javascript" if name.endswith(".js") else "text/html"
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Security-Policy", POLICY.format(chat=chat))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"      # another site than 127.0.0.1 to the browser
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def chat(model):
    """The server of the chat, which any site on localhost may show; its API wants a key."""
    server = PageServer(model, mount=KEYED, modules=KEY_MODULES, more='Define AGENTCHAT_FRAME_ANCESTORS "http://localhost:*"\n')
    server.keys = KeyFile(server.root / "keys")
    server.key = server.keys.make("ann-1", "owner=ann")
    server.start()
    yield server
    server.remove()


@pytest.fixture
def site(chat):
    site = Site(f"http://127.0.0.1:{chat.port}")
    yield site
    site.stop()


def visit(browser, site, **options):
    tab = browser.context(**options).newPage()
    tab.addInitScript(REPORTS)
    tab.goto(site.url)
    return tab, tab.frameLocator("agent-chat iframe")


def ask(frame, text):
    frame.getByRole("textbox", {"name": "Message"}).fill(text)
    frame.getByRole("button", {"name": "Send", "exact": True}).click()


@pytest.mark.parametrize("size", [(1180, 780), (360, 640)])
def test_a_page_of_another_site_has_the_chat(browser, site, chat, model, size):
    model.play(answer("Of ", "course."))
    site.key = chat.key
    tab, frame = visit(browser, site, viewport={"width": size[0], "height": size[1]})
    button = tab.getByRole("button", {"name": "Ask us"})
    assert tab.locator("agent-chat iframe").count() == 0         # nothing is loaded before it is wanted
    button.click()
    ask(frame, "May I return it?")
    frame.locator(".answer", {"hasText": "Of course."}).waitFor()
    assert not frame.locator("select#agent").isVisible()          # the site has chosen
    assert not browser.violations(tab)
    tab.screenshot({"path": str(SHOTS / f"widget-{size[0]}.png")})
    tab.getByRole("button", {"name": "Close the chat"}).click()
    tab.getByRole("button", {"name": "Ask us"}).click()
    assert frame.locator(".answer", {"hasText": "Of course."}).isVisible()          # it is the same as before
    assert tab.evaluate("window.refused ?? []") == []
    assert len(chat.client.get("/threads", headers={"X-API-Key": chat.key}).json["data"]) == 1


def test_escape_closes_it_and_the_button_has_the_focus(browser, site, chat):
    site.key = chat.key
    tab, frame = visit(browser, site)
    tab.getByRole("button", {"name": "Ask us"}).click()
    frame.getByRole("textbox", {"name": "Message"}).press("Escape")
    tab.getByRole("button", {"name": "Ask us"}).waitFor()
    assert not tab.locator("agent-chat iframe").isVisible()
    assert tab.evaluate("document.activeElement.localName") == "agent-chat"


def test_a_key_that_is_revoked_is_asked_for_again(browser, site, chat, model):
    browser.expected.append("401")
    model.play(answer("Yes."))
    site.key = chat.key
    tab, frame = visit(browser, site)
    tab.getByRole("button", {"name": "Ask us"}).click()
    frame.getByRole("textbox", {"name": "Message"}).waitFor()
    assert site.asked == 1
    site.key = chat.keys.make("ann-2", "owner=ann")
    chat.keys("revoke", "ann-1")
    end = time.monotonic() + WAIT
    while chat.client.get("/threads", headers={"X-API-Key": chat.key}).status != 401:
        assert time.monotonic() < end, "the key is still accepted"
        time.sleep(0.05)
    ask(frame, "Are you there?")
    # The page reports it to the site, gets the new key, and loads itself again.
    end = time.monotonic() + WAIT
    while site.asked < 2:
        assert time.monotonic() < end, "the site does not know"
        time.sleep(0.05)
    frame.locator(".welcome p").waitFor()
    ask(frame, "Are you there?")
    frame.locator(".answer", {"hasText": "Yes."}).waitFor()
    assert site.asked == 2 and len(model.requests) == 1


def test_a_site_that_is_not_named_shows_nothing(browser, model):
    browser.expected += ["frame-ancestors", "chrome-error"]
    chat = PageServer(model).start()
    site = Site(f"http://127.0.0.1:{chat.port}")
    tab, frame = visit(browser, site)
    tab.getByRole("button", {"name": "Ask us"}).click()
    tab.locator("agent-chat iframe").waitFor()
    assert frame.locator("#composer").count() == 0
    site.stop()
    chat.remove()


def test_an_address_chooses_the_agent_but_no_other_server(browser, page_server, model):
    other = Site("http://127.0.0.1:1")
    tab = browser.context().newPage()
    tab.goto(f"{page_server.url}?agent=writer&api={other.url}/api")
    tab.locator(".welcome", {"hasText": "Writer"}).waitFor()
    assert tab.locator("#agent").inputValue() == "writer" and other.asked == 0
    other.stop()
