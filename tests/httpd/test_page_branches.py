# SPDX-License-Identifier: Apache-2.0
"""Versions of questions and answers on the chat page: edited, answered again, switched between."""
import json

from model_server import Gate, Reply, answer
from page import Page
from runs import holding


def places(page):
    return page.evaluate("[...document.querySelectorAll('.branches:not([hidden]) .branches-place')].map(node => node.textContent)")


def ask(page, model, question, reply, n):
    model.play(answer(reply))
    page.send(question)
    page.ended(n)


def edit(page, n, text):
    page.find(".mine").nth(n).hover()
    page.find(".mine").nth(n).getByRole("button", {"name": "Edit message"}).click()
    page.wait(".editor textarea")
    page.find(".editor textarea").fill(text)


def until_texts(page, *wanted):
    whole = json.dumps(json.dumps(wanted, separators=(",", ":")))
    page.until("JSON.stringify([...document.querySelectorAll('.turn')].map(turn => (turn.querySelector('.bubble') ?? "
               f"[...turn.querySelectorAll('.prose')].at(-1)).textContent.trim())) === {whole}")


def test_a_question_is_edited(page, model):
    """In its place; the old one is kept, and both can be seen; the model sees one of them."""
    ask(page, model, "One?", "First.", 1)
    ask(page, model, "Two?", "Second.", 2)
    model.play(answer("Third."))
    edit(page, 1, "Two, in other words?")
    page.check("editor")
    page.find(".editor").getByRole("button", {"name": "Send"}).click()
    until_texts(page, "One?", "First.", "Two, in other words?", "Third.")
    page.ended(2)
    assert [one["content"] for one in model.requests[-1].messages if one["role"] == "user"] == ["One?", "Two, in other words?"]
    page.until("document.querySelectorAll('.branches:not([hidden])').length === 1")
    assert places(page) == ["2/2"]
    page.find(".mine").nth(1).hover()
    page.check("versions")
    page.button("Previous version").click()
    until_texts(page, "One?", "First.", "Two?", "Second.")
    assert places(page) == ["1/2"]
    page.reload()
    page.ended(2)
    until_texts(page, "One?", "First.", "Two?", "Second.")
    ask(page, model, "And on?", "Fourth.", 3)
    assert [one["content"] for one in model.requests[-1].messages if one["role"] == "user"] == ["One?", "Two?", "And on?"]
    page.find(".mine").nth(1).hover()
    page.button("Next version").click()
    until_texts(page, "One?", "First.", "Two, in other words?", "Third.")


def test_the_first_question_is_edited_by_keyboard(page, model):
    ask(page, model, "One?", "First.", 1)
    page.find(".mine button[title='Edit message']").focus()
    page.keyboard().press("Enter")
    page.wait(".editor textarea")
    page.until("document.activeElement.matches('.editor textarea')")
    page.keyboard().press("Escape")
    page.until("document.activeElement.title === 'Edit message' && !document.querySelector('.editor')")
    page.keyboard().press("Enter")
    page.until("document.activeElement.matches('.editor textarea')")
    page.keyboard().press("Control+A")
    page.keyboard().type("Another one?")
    model.play(answer("Other."))
    page.keyboard().press("Enter")
    until_texts(page, "Another one?", "Other.")
    page.ended()
    page.until("document.querySelectorAll('.branches:not([hidden])').length === 1")
    page.find(".mine button[title='Previous version']").focus()
    page.keyboard().press("Enter")
    until_texts(page, "One?", "First.")
    page.until("document.activeElement.title === 'Next version'")


def test_an_answer_is_given_again(page, model):
    """With the agent that is chosen; all answers are kept."""
    ask(page, model, "One?", "First.", 1)
    for n, reply in enumerate(("Second.", "Third."), 2):
        model.play(answer(reply))
        page.button("Answer again").click()
        until_texts(page, "One?", reply)
        page.ended()
        page.until(f"document.querySelector('.answer .branches-place').textContent === '{n}/{n}'")
    page.button("Previous version").click()
    until_texts(page, "One?", "Second.")
    assert places(page) == ["2/3"]
    page.check("answers")
    page.reload()
    page.ended()
    until_texts(page, "One?", "Second.")
    assert places(page) == ["2/3"]


def test_another_tab_follows_to_the_other_branch(page, model, browser):
    ask(page, model, "One?", "First.", 1)
    other = Page(browser, page.context, page.url())
    other.ended()
    model.play(answer("Second."))
    page.button("Answer again").click()
    until_texts(page, "One?", "Second.")
    page.ended()
    until_texts(other, "One?", "Second.")
    gate = Gate()
    model.play(holding(gate, ("Half",), (" of it",)))
    edit(page, 0, "Another?")
    page.keyboard().press("Enter")
    page.wait_text(".writing .prose", "Half")
    other.wait_text(".bubble", "Another?")
    gate.open()
    page.ended()
    until_texts(other, "Another?", "Half of it")


def test_an_edit_that_is_refused_is_not_lost(page, model, page_server, browser):
    """An answer of another client is under way: the text returns to the input box, and that answer is shown."""
    browser.expected = ["409"]
    ask(page, model, "One?", "First.", 1)
    thread = page.url().split("#/")[1]
    gate = Gate()
    model.play(holding(gate, ("Of another",), (" client",)))
    stream = page_server.client.stream(f"/threads/{thread}/messages", {"content": "From elsewhere", "stream": True})
    stream.until("token")
    edit(page, 0, "Changed?")
    page.keyboard().press("Enter")
    page.wait_text("#notice", "An answer is still being written")
    page.wait_text(".writing .prose", "Of another")
    assert page.find("#text").inputValue() == "Changed?"
    gate.open()
    page.ended(2)
    stream.rest()
    until_texts(page, "One?", "First.", "From elsewhere", "Of another client")


def test_an_edit_waits_for_the_answer(page, model):
    """While an answer is written, nothing else is begun: the page says so, and the text stays in the editor."""
    ask(page, model, "One?", "First.", 1)
    gate = Gate()
    model.play(holding(gate, ("Half",), (" of it",)))
    page.send("Two?")
    page.wait_text(".writing .prose", "Half")
    edit(page, 0, "Another?")
    page.keyboard().press("Enter")
    page.wait_text("#toast", "An answer is still being written")
    assert page.find(".editor textarea").inputValue() == "Another?"
    page.button("Answer again").first().click()
    assert page.texts(".bubble") == ["One?", "Two?"]
    gate.open()
    page.ended(2)
    model.play(answer("Third."))
    page.find(".editor textarea").press("Enter")
    until_texts(page, "Another?", "Third.")
    page.until("document.activeElement.id === 'text'")


def test_a_failed_answer_is_tried_again_without_the_question(page, model, page_server):
    page_server.expect_log("AC0")
    model.play(Reply(400, {"error": {"message": "The scripted model says no.", "code": "bad"}}))
    page.send("Fail, please")
    page.wait(".failure")
    page.button("Try again").click()
    page.ended()
    until_texts(page, "Fail, please", "Hello world")
    page.reload()
    page.ended()
    until_texts(page, "Fail, please", "Hello world")
