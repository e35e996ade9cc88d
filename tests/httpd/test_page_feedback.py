# SPDX-License-Identifier: Apache-2.0
"""Thumbs with reasons, and the sources of an answer as numbered notes, on the chat page."""
from model_server import answer, calls
from page import LOADED, Page, PageServer

KNOWLEDGE = """
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path {path}
</AgentChatTool>
<AgentChatAgent librarian>
    AgentChatModel scripted
    AgentChatName "Librarian"
    AgentChatTools search_knowledge_base
</AgentChatAgent>
AgentChatDefaultAgent librarian
"""


def stored(server):
    thread = server.client.get("/threads?limit=1&order=updated").json["data"][0]["id"]
    return server.client.get(f"/threads/{thread}/messages").json["data"][-1].get("feedback")


def pressed(page):
    return page.evaluate("[...document.querySelectorAll('.answer [aria-pressed]')].map(node => node.getAttribute('aria-pressed'))")


def test_thumbs(page, model, page_server):
    """Up; down, with a reason and a comment; and neither. All of it is there after a reload."""
    page.send("Hello")
    page.ended()
    page.button("Good answer").click()
    page.until("document.querySelector('[aria-pressed=true]')?.title === 'Good answer'")
    page.button("Bad answer").click()
    page.wait(".feedback")
    page.until("document.activeElement.matches('.feedback input')")
    page.check("feedback")
    page.find(".feedback label", ).first().click()
    page.tab.getByRole("textbox", {"name": "More about it"}).fill("The year is wrong.")
    page.find(".feedback").getByRole("button", {"name": "Send"}).click()
    page.wait_text(".note", "Thank you.")
    found = stored(page_server)
    assert (found["rating"], found["reason"], found["comment"]) == ("down", "incorrect", "The year is wrong.")
    assert pressed(page) == ["false", "true"]
    page.reload()
    page.ended()
    assert pressed(page) == ["false", "true"]
    page.button("Bad answer").click()
    page.until("!document.querySelector('[aria-pressed=true]')")
    page.reload()
    page.ended()
    assert pressed(page) == ["false", "false"] and not stored(page_server)
    page.button("Bad answer").click()
    page.wait(".feedback")
    page.keyboard().press("Escape")
    page.until("!document.querySelector('.feedback') && document.activeElement.title === 'Bad answer'")


def test_a_rating_that_cannot_be_stored(page, model, browser):
    browser.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    page.send("Hello")
    page.ended()
    page.button("Good answer").hover()
    page.until(f"{LOADED.format('feedback')}.length")
    page.context.setOffline(True)
    page.button("Good answer").click()
    page.wait_text(".note", "The server cannot be reached.")
    assert pressed(page) == ["false", "false"]
    page.context.setOffline(False)
    page.until("document.querySelector('#banner').hidden")


def test_sources_are_numbered_notes(browser, model, tmp_path):
    """Of what the knowledge base found; numbers in the text lead to them, but not in code. Also after a reload."""
    folder = tmp_path / "articles"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "refunds.md").write_text("# Refunds\n\nRefunds take five days.\n")
    (folder / "late.md").write_text("# Late refunds\n\nLate refunds take ten days.\n")
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    server = PageServer(model, more=KNOWLEDGE.format(path=folder)).start()
    try:
        page = Page(browser, browser.context(), server.url)
        page.find("#agent").selectOption("librarian")
        model.play(calls(("search_knowledge_base", {"query": "refunds"})), answer("Five days [1], or ten [2]; never [3]. `a[1]`"))
        page.send("How long do refunds take?")
        for _ in range(2):
            page.ended()
            page.wait(".sources li", 2)
            assert {"refunds.md", "late.md"} == set(page.texts(".source-place"))
            assert page.texts(".prose .cited") == ["1", "2"] and "never [3]." in page.answer() and page.texts(".prose code") == ["a[1]"]
            page.find(".cited").first().click()
            page.until("document.activeElement.matches('.sources li:first-child')")
            page.check("sources")
            page.reload()
    finally:
        server.stop()
        server.remove()


def test_addresses_of_sources(page):
    """Only http and https are links, whatever the server says."""
    found = page.evaluate("""import('./sources.js').then(({ notes }) => [...notes([
      { id: '1', title: 'A', url: 'https://a.example/x' }, { id: '2', title: 'B', url: 'javascript:alert(1)' },
      { id: '3', title: 'b.md', place: 'b.md', snippet: 'y' }, { id: '4', title: 'C' }], []).querySelectorAll('li')]
      .map(li => [li.querySelector('a')?.getAttribute('href') ?? null, li.querySelector('a')?.rel ?? null, li.textContent, li.title]))""")
    assert found == [["https://a.example/x", "noopener noreferrer", "Aa.example", ""], [None, None, "Bjavascript:alert(1)", ""],
                     [None, None, "b.md", "y"], [None, None, "C", ""]], found
