# SPDX-License-Identifier: Apache-2.0
"""The chat page under test: served by conf/chat-page.conf, in a browser, with the scripted model behind it."""
import shutil
import time

from browser import SHOTS
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from server import AGENT, MODEL, MOUNT, TOP, WAIT, Server

WWW = TOP / "src/www"
MODULES = ("alias", "dir", "filter", "deflate")
SECOND = """
<AgentChatAgent writer>
    AgentChatModel scripted
    AgentChatName "Writer"
    AgentChatDescription "Writes."
</AgentChatAgent>
"""


# What reaches beyond the screen and cannot be scrolled to.
WIDE = """[...document.querySelectorAll('body *')]
  .filter(node => node.checkVisibility() && !node.closest('.offscreen, #sidebar, pre, .table, math'))
  .filter(node => node.getBoundingClientRect().right > screen.width + 1).map(node => node.outerHTML.slice(0, 120))"""

# The names of the files that the page has asked for, of those that match.
LOADED = "performance.getEntriesByType('resource').map(one => one.name.split('/').pop()).filter(name => /{}/.test(name))"

# Elements in transition have intermediate colours and places. The cursor blinks without end.
MOVING = "document.getAnimations().some(motion => motion.effect.getComputedTiming().endTime !== Infinity)"


KEYED = """
<Location "/api">
    SetHandler agentchat
    AuthType AgentChat
    AuthName "chat"
    AgentChatKeys keys
    Require valid-user
</Location>
"""


class PageServer(Server):
    """A server with the page at /chat/ and the API at /api."""

    def __init__(self, model, mount=MOUNT, more="", modules=(), of_model="", www=WWW, **options):
        super().__init__("", modules=(*MODULES, *modules), **options)
        shutil.copytree(www, self.root / "www")
        self.write(MODEL.format(url=model.url).replace("</", f"{of_model}\n</") + AGENT + SECOND + mount + more +
                   f'Define AGENTCHAT_WWW "{self.root}/www"\nInclude "{TOP}/conf/chat-page.conf"\n')
        self.url = f"http://127.0.0.1:{self.port}/chat/"


def keyed_server(model):
    """A server, started, whose API requires a key; and the key of ann."""
    server = PageServer(model, mount=KEYED, modules=KEY_MODULES)
    key = KeyFile(server.root / "keys").make("ann-1", "owner=ann")
    return server.start(), key


def long_thread(browser, server):
    """The page with a thread of 40 turns, of which the last 15 are shown."""
    thread = server.client.thread(title="Long")
    for n in range(40):
        assert server.client.send(thread, f"question {n}").status == 200
    page = Page(browser, browser.context(), f"{server.url}#/{thread}")
    page.ended(15)
    return page


class Page:
    """One tab. Playwright's own page is page.tab."""

    def __init__(self, browser, context, url, signed_in=True):
        self.browser, self.context = browser, context
        self.tab = context.newPage()
        self.tab.goto(url)
        if signed_in:
            self.tab.locator("#agent option").first().waitFor({"state": "attached"})

    def __getattr__(self, name):
        return getattr(self.tab, name)

    # ---- what one sees ----
    def find(self, selector):
        return self.tab.locator(selector)

    def button(self, name):
        return self.tab.getByRole("button", {"name": name, "exact": True})

    def wait(self, selector, n=1):
        """Waits until this number of elements is visible."""
        self.tab.locator(f"{selector} >> visible=true").nth(n - 1).waitFor()

    def wait_text(self, selector, text):
        self.tab.locator(selector, {"hasText": text}).first().waitFor()

    def texts(self, selector):
        return [text.strip() for text in self.tab.locator(selector).allTextContents()]

    def answer(self):
        """The text of the last answer."""
        return "".join(self.tab.locator(".answer").last().locator(".prose").allTextContents())

    def until(self, expression, every=0.03):
        """Until this is true on the page. Not the browser's own waitForFunction: it wants eval(), which the page's policy forbids."""
        end = time.monotonic() + WAIT
        while not self.tab.evaluate(f"(async () => Boolean(await ({expression})))()"):
            assert time.monotonic() < end, f"it does not come true: {expression}"
            time.sleep(every)

    # ---- what one does ----
    def write(self, text):
        self.tab.getByRole("textbox", {"name": "Message"}).fill(text)

    def send(self, text):
        self.write(text)
        self.button("Send").click()

    def menu(self, title, entry=None):
        """Opens the menu of a conversation in the list; chooses an entry."""
        self.tab.locator(".thread", {"hasText": title}).first().hover()
        self.button(f"More about “{title}”").first().click()
        self.wait("#menu-box button")
        if entry:
            self.tab.getByRole("menuitem", {"name": entry, "exact": True}).click()

    def ended(self, n=1):
        """The answers are whole."""
        self.wait(".answer:not(.writing):has(.turn-foot:not([hidden]), .failure)", n)
        self.until("!document.querySelector('.writing')")

    def check(self, name):
        """Checks with axe-core, light and dark, that there is no violation and nothing wider than the screen;
        screenshots of both."""
        for scheme in ("light", "dark"):
            self.tab.emulateMedia({"colorScheme": scheme})
            self.until(f"!({MOVING})")
            found = self.browser.violations(self.tab)
            assert not found, f"{name}, {scheme}:\n" + "\n".join(found)
            self.tab.screenshot({"path": str(SHOTS / f"{name}-{scheme}.png")})
        self.tab.emulateMedia({"colorScheme": "light"})
        wide = self.tab.evaluate(WIDE)
        assert not wide, f"{name} is wider than the screen: {wide}"
