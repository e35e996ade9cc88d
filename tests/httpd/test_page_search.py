# SPDX-License-Identifier: Apache-2.0
"""The search dialog of the chat page: Ctrl+K, titles and words, the place that was found."""
from model_server import answer
from page import Page


def in_view(words):
    """Whether the message with these words is marked, and in view."""
    return f"""((box, found) => {{ const top = found?.getBoundingClientRect().top;
      return found && top >= box.top - 1 && top < box.bottom && found.textContent.includes('{words}');
    }})(document.querySelector('#transcript').getBoundingClientRect(), document.querySelector('.turn.found'))"""


def search(page, words):
    page.keyboard().press("Control+k")
    page.wait_text("#search-box .hint", "Most recently used")
    page.find("#search-box input").fill(words)


def test_titles_are_found(browser, page_server):
    for title in ("A needle in the hay", "Only hay"):
        page_server.client.thread(title=title)
    page = Page(browser, browser.context(), page_server.url)
    page.keyboard().press("Control+k")
    page.wait_text("#search-box .hint", "Most recently used")
    page.find("#search-box input").fill("needle")
    page.wait_text("#search-box .hint", "1 conversation")
    page.until("[...document.querySelectorAll('#found a')].map(one => one.textContent).join() === 'A needle in the hay'")
    page.check("search-titles")


def test_words_are_found(browser, model, page_server):
    client = page_server.client
    said = (("Which tram goes up?", "The <b>yellow</b> funicular does."), ("Where is coffee?", "At the corner."))
    for n, (question, reply) in enumerate(said):
        model.play(answer(reply))
        assert client.send(client.thread(title=f"Trip {n}"), question).status == 200
    page = Page(browser, browser.context(), page_server.url)
    page.wait_text("#threads", "Trip 1")
    page.keyboard().press("Control+k")
    page.wait_text("#search-box .hint", "Most recently used")
    page.until("document.activeElement.matches('#search-box input')")
    page.find("#search-box input").fill("funicular")
    page.wait_text("#search-box .hint", "1 conversation")
    page.until("document.querySelectorAll('#found a').length === 1 && document.querySelector('#found mark')")
    assert page.texts("#found mark") == ["funicular"] and "<b>yellow</b>" in page.texts(".found-text")[0]
    page.check("search-dialog")
    page.keyboard().press("ArrowDown")
    page.until("document.activeElement.matches('#found a')")
    page.keyboard().press("Enter")
    page.wait_text("#title", "Trip 0")
    page.ended()
    assert not page.evaluate("document.querySelector('#search-box').open")
    page.keyboard().press("Control+k")
    page.find("#search-box input").fill("nothingofthekind")
    page.wait_text("#search-box .hint", "Nothing found.")
    page.keyboard().press("Escape")
    page.until("!document.querySelector('#search-box').open")


def test_all_that_is_found_is_shown(browser, page_server):
    """Page by page, as one scrolls; the number is known at the end."""
    for n in range(45):
        page_server.client.thread(title=f"Quarry {n}")
    page = Page(browser, browser.context(), page_server.url)
    search(page, "quarry")
    page.wait_text("#search-box .hint", "More than 20 conversations")
    page.check("search-many")
    page.evaluate("document.querySelector('.search-found').scrollTop = 1e6")
    page.wait_text("#search-box .hint", "More than 40 conversations")
    page.evaluate("document.querySelector('.search-found').scrollTop = 1e6")
    page.wait_text("#search-box .hint", "45 conversations")
    assert sorted(page.texts("#found a")) == sorted(f"Quarry {n}" for n in range(45))


def test_a_place_far_above_and_on_another_branch(browser, model, page_server):
    """Earlier messages are loaded until it is there; its branch becomes the one that is shown."""
    client = page_server.client
    thread = client.thread(title="A long way")
    model.play(answer("A wombat is in the first answer."))
    assert client.send(thread, "question 0").status == 200
    first = client.messages(thread)
    for n in range(1, 70):
        assert client.send(thread, f"question {n}").status == 200
    page = Page(browser, browser.context(), f"{page_server.url}#/{thread}")
    page.ended(15)
    search(page, "wombat")
    page.wait_text("#search-box .hint", "1 conversation")
    page.keyboard().press("Enter")
    page.until(in_view("wombat"))
    model.play(answer("A quokka is elsewhere."))
    assert client.request("POST", f"/threads/{thread}/messages", {"regenerate": first[1]["id"], "stream": False}).status == 200
    page.reload()
    page.ended()
    search(page, "wombat")
    page.wait_text("#search-box .hint", "1 conversation")
    page.keyboard().press("Enter")
    page.until(in_view("wombat"))
    assert page.texts(".branches-place")[1] == "1/2"


def test_by_touch(browser, model, page_server):
    """From the list of a phone: the dialog takes the whole screen, has a button that closes it, and the list goes with it."""
    client = page_server.client
    model.play(answer("The numbat eats termites."))
    assert client.send(client.thread(title="Of animals"), "What does it eat?").status == 200
    page = Page(browser, browser.context(viewport={"width": 360, "height": 720}, isMobile=True, hasTouch=True), page_server.url)
    for close in (True, False):
        page.button("Conversations").tap()
        page.until("document.querySelector('#sidebar').getBoundingClientRect().left === 0")
        page.button("Search").tap()
        page.wait("#search-box[open]")
        page.find("#search-box input").fill("numbat")
        page.wait_text("#search-box .hint", "1 conversation")
        page.check("search-phone")
        if close:
            page.find("#search-box").getByRole("button", {"name": "Close"}).tap()
            page.until("!document.querySelector('#search-box').open")
            page.button("Close the list").tap()
            page.until("document.querySelector('#sidebar').inert")
    page.find("#found a").tap()
    page.wait_text("#title", "Of animals")
    page.until(in_view("numbat"))
    assert page.evaluate("document.querySelector('#sidebar').inert && !document.querySelector('#search-box').open")
    # Once more, in the conversation that is open.
    page.button("Conversations").tap()
    page.until("document.querySelector('#sidebar').getBoundingClientRect().left === 0")
    page.button("Search").tap()
    page.until("document.querySelector('#search-box').open && document.querySelectorAll('#found mark').length === 1")
    page.find("#found a").tap()
    page.until(f"document.querySelector('#sidebar').inert && {in_view('numbat')}")
