# SPDX-License-Identifier: Apache-2.0
"""The chat page leaves deleted messages out."""
from model_server import answer
from page import Page, PageServer


def test_deleted_messages_are_not_shown(browser, model):
    server = PageServer(model, more="<Location /api>\nAgentChatOpenAI on\n</Location>\n").start()
    try:
        client = server.client
        conversation = client.post("/v1/conversations", {}).json["id"]
        for n in range(3):
            model.play(answer(f"Answer {n}."))
            said = client.post("/v1/responses", {"model": "assistant", "input": f"Question {n}?", "conversation": conversation}).json
            second = said["id"] if n == 1 else second if n else ""
        assert client.delete(f"/v1/responses/{second}").status == 200
        page = Page(browser, browser.context(), f"{server.url}#/thread_{conversation[5:]}")
        page.wait_text(".turn.answer:last-of-type .prose", "Answer 2.")
        answers = page.evaluate("[...document.querySelectorAll('.turn.answer .prose')].map(one => one.textContent.trim())")
        assert answers == ["Answer 0.", "Answer 2."]
        assert page.evaluate("document.querySelectorAll('.turn.mine').length") == 2
        page.check("deletion")
    finally:
        server.remove()
