# SPDX-License-Identifier: Apache-2.0
"""The search dialog of the chat page: Ctrl+K, titles and words, the place that was found."""
import pytest

from model_server import answer
from page import Page


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
    client.thread(title="Hay")
    if "match" not in client.get("/threads?q=Hay&limit=1").json["data"][0]:
        pytest.skip("the store has no index of words")
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
    page.wait_text("#search-box .hint", "0 conversations")
    page.keyboard().press("Escape")
    page.until("!document.querySelector('#search-box').open")
