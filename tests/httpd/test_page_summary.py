# SPDX-License-Identifier: Apache-2.0
"""The summary of a conversation on the chat page: folded below the last answer that it is about."""
from metrics import PLACE, wait_metrics
from model_server import answer
from page import Page, PageServer

SUMMARIES = """
AgentChatHistorySummary on
<AgentChatAgent brief>
    AgentChatModel scripted
    AgentChatHistory messages=4
</AgentChatAgent>
""" + PLACE


def test_a_summary_is_folded_below_its_answer(browser, model):
    server = PageServer(model, more=SUMMARIES).start()
    try:
        client = server.client
        thread = client.thread(agent_id="brief")
        for n in range(3):
            model.play(answer(f"Answer {n}."), *([answer("They spoke about <b>apples</b>.")] if n == 2 else []))
            assert client.send(thread, f"Question {n}?").status == 200
        wait_metrics(server, lambda found: found.sum("agentchat_summaries_total", outcome="set") >= 1, "a summary")
        page = Page(browser, browser.context(), f"{server.url}#/{thread}")
        page.wait_text(".turn.answer:last-of-type .prose", "Answer 2.")
        page.wait_text(".turn.answer .reasoning summary", "Summary of the conversation up to here")
        assert page.evaluate("document.querySelector('.turn.answer').contains(document.querySelector('.reasoning'))")
        page.find(".reasoning summary").first().click()
        page.wait_text(".reasoning-text", "They spoke about <b>apples</b>.")
        page.check("summary")
    finally:
        server.remove()
