# SPDX-License-Identifier: Apache-2.0
"""The chat page: drafts are not lost, answers are shown as they were, and each kind of ending is named."""
import json

from model_server import DONE, Cut, Gate, Reply, answer, calls, finish, head, token, usage
from page import Page, long_thread
from runs import holding

REFUSE = """(({{ status, code, detail, after }}) => {{
  const there = window.fetch;
  window.fetch = (...args) => {{
    if (args[1]?.method !== 'POST') return there(...args);
    window.fetch = there;
    return Promise.resolve(new Response(JSON.stringify({{ title: 'No', status, code, detail }}),
      {{ status, headers: {{ 'Content-Type': 'application/problem+json', 'Retry-After': after }} }}));
  }};
}})({})"""
# Of a busy machine it may be more than a second.
HAS_DURATION = r"[...document.querySelectorAll('.figures span')].some(figure => /^[\d.]+ m?s$/.test(figure.textContent))"
WHEN = r"at \d\d:\d\d"


def said(page):
    """What the last answer shows, in order: texts, and the tools that were used."""
    return page.evaluate("""[...document.querySelectorAll('.answer')].at(-1).querySelectorAll('.prose, .call-tool').values()
      .map(node => node.textContent.trim()).filter(Boolean).toArray()""")


# ---- one conversation, several tabs ----
def test_a_conversation_that_was_begun_behind_another_one_hears(page, model, browser, page_server):
    """Open one, then New, then send: additions of another tab to the new one are shown."""
    page.send("First")
    page.ended()
    page.button("New conversation").click()
    page.wait(".welcome")
    page.send("Second")
    page.ended()
    page.wait_text("#title", "Second")
    other = Page(browser, page.context, page.url())
    other.ended()
    other.send("From the other tab")
    page.wait_text(".bubble", "From the other tab")
    page.ended(2)
    other.ended(2)
    page.send("And back")
    page.ended(3)
    assert page.texts(".bubble") == ["Second", "From the other tab", "And back"]


def test_changes_during_a_refresh_are_shown_too(page, model, page_server):
    """Two notifications of a change; the second arrives while the first refresh is under way."""
    page.send("Hello")
    page.ended()
    page.wait_text("#title", "Hello")
    thread = page.url().split("#/")[1]
    page.evaluate("""(() => {
      const there = window.fetch;
      window.look = null;
      window.fetch = async (...args) => {
        const response = await there(...args);
        if (/messages[?]after=/.test(args[0]) && !window.look) await new Promise(go => { window.look = go; });
        return response;
      };
      new BroadcastChannel('agentchat').postMessage({ kind: 'run', threadId: location.hash.slice(2) });
    })()""")
    page.until("window.look")
    assert page_server.client.send(thread, "Later").status == 200
    page.evaluate("new BroadcastChannel('agentchat').postMessage({ kind: 'run', threadId: location.hash.slice(2) })")
    page.evaluate("setTimeout(() => window.look())")
    page.ended(2)
    assert page.texts(".bubble") == ["Hello", "Later"]


def test_an_answer_that_broke_off_is_shown_once(page, model, page_server):
    """Also when the page looks again for what is stored."""
    page_server.expect_log("AC0")

    def script(_request):
        yield head()
        yield token("Half of it")
        yield Cut()
    model.play(script)
    page.send("Break")
    page.wait(".failure")
    page.ended()
    thread = page.url().split("#/")[1]
    assert page_server.client.send(thread, "From elsewhere").status == 200
    page.evaluate("new BroadcastChannel('agentchat').postMessage({ kind: 'run', threadId: location.hash.slice(2) })")
    page.ended(2)
    assert [text for text in page.texts(".prose") if text] == ["Half of it", "Hello world"]
    page.reload()
    page.ended(2)
    assert [text for text in page.texts(".prose") if text] == ["Half of it", "Hello world"] and len(page.texts(".failure")) == 1


def test_earlier_turns_after_a_jump_to_the_top_and_back(browser, model, page_server):
    page = long_thread(browser, page_server)
    page.until("document.querySelector('#transcript').scrollTop > 400")
    for known in (15, 30):
        page.evaluate("(box => { box.scrollTop = 0; box.scrollTop = 1e6; box.scrollTop = 0; })(document.querySelector('#transcript'))")
        page.until(f"document.querySelectorAll('.bubble').length > {known}")
    page.until("document.querySelectorAll('.bubble').length === 40")
    assert page.texts(".bubble") == [f"question {n}" for n in range(40)]


# ---- text and calls ----
def test_words_and_calls_stay_in_their_order(page, model, page_server):
    """While it comes, when it is whole, and when it is read again."""
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6 * 7"}), ("calculate", {"expression": "1 + 1"}), said="First I calculate."),
               calls(("calculate", {"expression": "2 + 2"}), said="Once more."), holding(gate, ("So it",), (" is 42.",)))
    page.send("6 * 7?")
    page.wait_text(".writing .growing", "So it")
    wanted = ["First I calculate.", "calculate", "calculate", "Once more.", "calculate", "So it is 42."]
    assert said(page) == [*wanted[:-1], "So it"]
    page.check("parts")
    gate.open()
    page.ended()
    assert said(page) == wanted
    page.reload()
    page.ended()
    assert said(page) == wanted
    page.find(".answer").hover()
    page.context.grantPermissions(["clipboard-read", "clipboard-write"])
    page.button("Copy answer").click()
    page.until("navigator.clipboard.readText().then(text => /calculate.[^]*more.[^]*42.$/.test(text))")
    thread = page.url().split("#/")[1]
    message = page_server.client.get(f"/threads/{thread}/messages").json["data"][-1]
    assert [part["type"] for part in message["parts"]] == ["text", "tool_call", "tool_call", "text", "tool_call", "text"]


# ---- how an answer ended ----
def test_an_answer_cut_at_its_length_is_marked(page, model):
    def script(_request):
        yield head()
        yield token("The first words")
        yield finish("length")
        yield usage()
        yield DONE
    model.play(script)
    page.send("Write on")
    page.ended()
    page.wait_text(".note", "cut off")
    page.check("cut")
    page.reload()
    page.ended()
    page.wait_text(".note", "cut off")
    assert len(page.texts(".note")) == 1


def test_an_answer_refused_in_its_middle_is_marked(page, model, page_server):
    page_server.expect_log("AC0")

    def script(_request):
        yield head()
        yield token("The first words")
        yield finish("content_filter")
        yield usage()
        yield DONE
    model.play(script)
    page.send("Write on")
    for _ in range(2):
        page.wait_text(".failure", "The safety system of the assistant refused this.")
        assert len(page.texts(".failure")) == 1
        page.reload()


def test_an_answer_whose_server_stopped_is_marked(page):
    """Also where its run is too old to be read with it."""
    notes = page.evaluate("""(async () => {
      const { AnswerTurn } = await import('./turn.js');
      return [undefined, { status: 'interrupted', error: { code: 'interrupted', message: 'x' } }].map(run => {
        const turn = new AnswerTurn('A', { decide() {}, retry() {}, grown() {} });
        turn.show({ content: 'Half', tool_calls: null, metadata: { finish_reason: 'interrupted' } }, run);
        return turn.node.querySelector('.note').textContent;
      });
    })()""")
    assert notes == ["The server stopped in the middle of this answer."] * 2


def test_the_figures_of_a_stopped_answer_stay(page, model):
    gate = Gate()
    model.play(holding(gate, ("Half",), (" an answer",)))
    page.send("Write")
    page.wait_text(".prose", "Half")
    page.button("Stop").click()
    page.ended()
    gate.open()
    page.until(HAS_DURATION)
    figures = page.texts(".figures span")
    page.reload()
    page.ended()
    page.until(HAS_DURATION)
    assert page.texts(".figures span") == figures and page.texts(".note") == ["Stopped."]


def test_a_failure_names_the_remedy(page, model, page_server):
    """Details for operators are behind a button."""
    page_server.expect_log("AC0")
    model.play(Reply(400, {"error": {"message": "The scripted model says no.", "code": "bad"}}))
    page.send("Fail")
    for _ in range(2):
        page.wait(".failure")
        words = page.find(".failure span").textContent()
        assert "round" not in words and ("Try again" in words or "Tell the people" in words), words
        page.find(".failure summary").click()
        assert "model_" in page.find(".failure details p").innerText()
        page.check("failure-details")
        page.reload()


# ---- what was written ----
def test_a_long_limit_returns_the_draft(page, browser, model):
    """With the time at which they may be sent."""
    browser.expected = ["429"]
    refusal = {"status": 429, "code": "budget_exceeded", "detail": "the budget of today is used up", "after": "5400"}
    page.evaluate(REFUSE.format(json.dumps(refusal)))
    page.send("Not today")
    page.wait_text("#notice", "The budget of today is used up. You can send your message at")
    page.until(f"/{WHEN}/.test(document.querySelector('#notice').textContent)")
    assert page.find("#text").inputValue() == "Not today" and not page.texts(".bubble")
    page.wait(".welcome")
    page.check("limit")
    page.button("Send").click()
    page.ended()
    assert page.find("#notice").isHidden() and page.texts(".bubble") == ["Not today"]


def test_drafts_stay_with_their_conversation(page, model):
    page.write("A new one")
    page.reload()
    page.until("document.querySelector('#text').value === 'A new one'")
    page.button("Send").click()
    page.ended()
    page.write("of the first")
    first = page.url()
    page.button("New conversation").click()
    page.wait(".welcome")
    assert page.find("#text").inputValue() == ""
    page.write("of the next")
    page.goto(first)
    page.ended()
    assert page.find("#text").inputValue() == "of the first"
    page.reload()
    page.ended()
    page.until("document.querySelector('#text').value === 'of the first'")
    page.button("New conversation").click()
    page.until("document.querySelector('#text').value === 'of the next'")
    page.send("of the next, sent")
    page.ended()
    page.reload()
    page.ended()
    page.button("New conversation").click()
    page.wait(".welcome")
    assert page.find("#text").inputValue() == ""
    assert page.evaluate("Object.keys(sessionStorage).length") == 1     # that of the first


def test_a_draft_stays_with_a_new_conversation(page, model):
    gate = Gate()
    model.play(holding(gate, ("One",), (" two",)))
    page.send("Begin")
    page.write("next")
    page.wait_text(".prose", "One")
    gate.open()
    page.ended()
    page.reload()
    page.ended()
    page.until("document.querySelector('#text').value === 'next'")
    page.button("New conversation").click()
    page.wait(".welcome")
    assert page.find("#text").inputValue() == ""


def test_edit_keeps_a_newer_draft(page, model):
    page.send("A question")
    page.ended()
    page.write("half a thought")
    page.find(".mine").hover()
    page.button("Edit message").click()
    page.wait(".editor textarea")
    assert page.find(".editor textarea").inputValue() == "A question"
    page.find(".editor").getByRole("button", {"name": "Cancel"}).click()
    assert page.find("#text").inputValue() == "half a thought" and page.texts(".bubble") == ["A question"]


def test_offline_notices_name_the_effect(page, model, browser):
    """The answer to a message that was sent continues; an unsent message has no answer, and stays in the box."""
    browser.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    page.send("Hello")
    page.ended()
    conversation = page.url()
    page.context.setOffline(True)
    page.wait_text("#banner", "You are offline.")
    assert page.texts("#banner") == ["You are offline."]
    page.send("Never sent")
    page.until("document.querySelector('#banner').textContent === 'You are offline. Your message is sent when you are online again.'")
    page.until("performance.getEntriesByType('resource').filter(one => one.name.endsWith('/messages')).length > 0")
    page.button("New conversation").click()
    page.wait(".welcome")
    assert page.texts("#banner") == ["You are offline."] and page.find("#text").inputValue() == ""
    page.context.setOffline(False)
    page.until("document.querySelector('#banner').hidden")
    page.goto(conversation)
    page.ended()
    assert page.find("#text").inputValue() == "Never sent" and page.texts(".bubble") == ["Hello"]
    gate = Gate()
    model.play(holding(gate, ("One",), (" two",)))
    page.button("Send").click()
    page.wait_text(".prose", "One")
    page.context.setOffline(True)
    page.until("document.querySelector('#banner').textContent === 'You are offline. The answer continues on the server.'")
    gate.open()
    page.context.setOffline(False)
    page.ended(2)
    page.until("document.querySelector('#banner').hidden")
