# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of the chat page in docs/: page_pictures.py. `make pictures` calls it. The fonts are those of the machine; on
Debian the package fonts-noto-core has what a reader's machine is likely to have."""
import json
import shutil
import tempfile
from pathlib import Path

from browser import SHOTS, Browser
from model_server import ModelServer, answer, calls
from page import MOVING, Page, PageServer
from server import TOP

ARTICLES = {
    "trams.md": "# Tram 28\n\nA day ticket for all trams costs 6.80 euros.\n",
    "museums.md": "# Tile museum\n\nThe tile museum opens at 10:00. A ticket costs 8 euros, one for the castle 15 euros.\n",
}
AGENT = """
AgentChatFiles on reserve=0
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path {folder}
</AgentChatTool>
<AgentChatAgent travel>
    AgentChatModel scripted
    AgentChatName "Travel desk"
    AgentChatTools search_knowledge_base calculate
</AgentChatAgent>
"""
ANSWER = """Here is a plan for **three days in Lisbon**, on foot and by tram.

### Day one: the hills

1. Coffee at the *miradouro* above Graça, before nine
2. Down through Alfama to the [cathedral](https://example.org/se)
3. Tram 28 back, when the queue is short

| Stop | From | Ticket |
|---|---|--:|
| Castle | 09:00 | €15.00 |
| Tile museum [1] | 10:00 | €8.00 |
| Tram, a day [2] | | €6.80 |

The three tickets are **€29.80** together.
"""
QUESTION = "Three days in Lisbon, please: what do I see, and what do the tickets cost?"
TITLES = ("A rail pass for two", "Night ferry to Palermo", "Is Porto too hot in July?", "Luggage on the sleeper train",
          "A birthday in Trieste", "What the hotel in Évora said")
DESKTOP = {"viewport": {"width": 1120, "height": 800}, "deviceScaleFactor": 1.5}
PHONE = {"viewport": {"width": 360, "height": 720}, "deviceScaleFactor": 2, "isMobile": True, "hasTouch": True, "colorScheme": "dark"}


def conversation(browser, server, model):
    """A conversation whose question was put differently, in a list of others. Gives its address."""
    for title in TITLES:
        server.client.thread(title=title)
    page = Page(browser, browser.context(**DESKTOP), server.url)
    page.menu(TITLES[0], "Pin")
    page.wait_text("#threads h3", "Pinned")
    page.find("#agent").selectOption("travel")
    page.send("Three days in Lisbon")
    page.ended()
    model.play(calls(("search_knowledge_base", {"query": "ticket"}), ("calculate", {"expression": "15 + 8 + 6.80"})),
               answer(ANSWER))
    page.find(".mine").hover()
    page.button("Edit message").click()
    page.find(".editor textarea").fill(QUESTION)
    page.find(".editor .primary").click()
    page.wait(".sources li", 2)
    page.ended()
    return page.evaluate("location.href")


def picture(browser, address, options, name):
    page = Page(browser, browser.context(**options), address)
    page.wait(".sources li", 2)
    page.wait(".attach")
    page.evaluate("document.querySelector('#transcript').scrollTop = 0")
    page.evaluate("document.activeElement.blur()")
    page.until(f"document.querySelector('#transcript').scrollTop === 0 && !({MOVING})")
    page.tab.screenshot({"path": str(SHOTS / name)})
    shutil.copy(SHOTS / name, TOP / "docs" / name)


def main():
    model, browser = ModelServer(), Browser()
    with tempfile.TemporaryDirectory() as folder:
        for name, text in ARTICLES.items():
            (Path(folder) / name).write_text(text)
        Path(folder).chmod(0o755)
        server = PageServer(model, more=AGENT.format(folder=folder))
        (server.root / "www/config.json").write_text(json.dumps({"title": "Harbour Travel"}))
        try:
            server.start()
            address = conversation(browser, server, model)
            picture(browser, address, DESKTOP, "chat-page.png")
            picture(browser, address, PHONE, "chat-page-phone.png")
        finally:
            server.remove()
            browser.stop()
            model.stop()


if __name__ == "__main__":
    main()
