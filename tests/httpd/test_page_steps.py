# SPDX-License-Identifier: Apache-2.0
"""The steps of an answer on the chat page: a waterfall that is loaded when it is opened."""
import json

import pytest

from browser import SHOTS
from model_server import Reply, answer, calls
from page import Page, PageServer

SETUP = """
<AgentChatModel unsteady>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=unsteady-1
    AgentChatRetries 1
    AgentChatFallback scripted
    AgentChatBreaker off
</AgentChatModel>
<AgentChatTool sum>
    AgentChatToolProvider calculator
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent clerk>
    AgentChatModel unsteady
    AgentChatName "Clerk"
    AgentChatTools sum calculate
</AgentChatAgent>
AgentChatDefaultAgent clerk
"""
RUN = {"id": "run_x", "thread_id": "thread_x", "agent_id": "assistant", "status": "completed", "model": "gpt-5-mini", "rounds": 2,
       "usage": {"prompt_tokens": 2400, "completion_tokens": 310, "total_tokens": 2710, "cached_tokens": 1024, "reasoning_tokens": 64,
                 "estimated": False},
       "cost": {"amount": 0.00213, "currency": "USD"}, "ttft_ms": 1450, "latency_ms": 7213400, "error": None,
       "created_at": "2026-03-01T10:00:00.000Z", "started_at": "2026-03-01T10:00:00.120Z", "completed_at": "2026-03-01T12:00:13.400Z"}


def step(kind, name, since, until, **more):
    """A step between these times, in seconds after the run was made."""
    def at(seconds):
        return f"2026-03-01T{10 + int(seconds // 3600):02}:{int(seconds % 3600 // 60):02}:{seconds % 60:06.3f}Z"
    found = {"id": f"step_{name}_{since}", "run_id": "run_x", "type": kind, "status": "completed", "model": None, "tool": None,
             "arguments": None, "result": None, "error": None, "usage": None, "started_at": at(since), "completed_at": at(until),
             "latency_ms": round(1000 * (until - since))}
    found["model" if kind == "model_call" else "tool"] = name
    if "requested" in more:
        found["requested_at"] = at(more.pop("requested"))
    return {**found, **more}


STEPS = [
    step("model_call", "gpt-5", 0.2, 0.7, status="failed", error="the service failed", round=1, retries=2, fallback_of=None, queued_ms=40,
         ttft_ms=None, cost=None),
    step("model_call", "gpt-5-mini", 0.7, 2.6, round=1, retries=0, fallback_of="gpt-5", queued_ms=0, ttft_ms=750,
         usage={**RUN["usage"], "prompt_tokens": 1100, "completion_tokens": 60}, cost={"amount": 0.0009, "currency": "USD"}),
    step("tool_call", "search_knowledge_base", 2.6, 4.1, arguments={"query": "refunds"}, result={"hits": 3}, round=1),
    step("tool_call", "get_weather", 2.6, 3.4, status="failed", arguments={"city": "Oslo"}, error="the tool did not answer within 800ms",
         round=1),
    step("tool_call", "send_mail", 7204.1, 7204.9, approval="approved", requested=2.6, arguments={"to": "ann@example.org"},
         result="sent", round=1),
    step("model_call", "gpt-5-mini", 7204.9, 7213.4, round=2, retries=0, fallback_of=None, queued_ms=0, ttft_ms=600,
         usage={**RUN["usage"], "prompt_tokens": 1300, "completion_tokens": 250}, cost={"amount": 0.00123, "currency": "USD"}),
]
NEW = {"round", "retries", "fallback_of", "queued_ms", "ttft_ms", "cost", "requested_at"}
OLD = [{key: value for key, value in one.items() if key not in NEW} for one in STEPS]


@pytest.fixture
def given(page):
    """The page, whose next run has these steps."""
    def make(run=RUN, steps=STEPS, tab=page):
        tab.send("Hello")
        tab.ended()
        tab.evaluate(f"""(() => {{
          const there = window.fetch, answers = {json.dumps({"run": run, "steps": {"data": steps}})};
          window.fetch = (url, options) => {{
            const kind = /\\/runs\\/[^/]+(\\/steps)?$/.exec(String(url?.url ?? url));
            if (!kind) return there(url, options);
            return Promise.resolve(new Response(JSON.stringify(answers[kind[1] ? 'steps' : 'run']),
              {{ headers: {{ 'Content-Type': 'application/json' }} }}));
          }};
        }})()""")
        tab.button("Steps").click()
        tab.wait(".steps-table")
        return tab
    return make


def places(page):
    """[name, [[kind, left, right]]] of each row, in percent of the axis."""
    return page.evaluate("""[...document.querySelectorAll('.steps-row:has(.steps-track)')].map(row => [
      row.querySelector('.steps-name').textContent,
      [...row.querySelectorAll('.steps-bar')].map(bar => [bar.className.split(' ')[1], parseFloat(bar.style.left),
        parseFloat(bar.style.left) + parseFloat(bar.style.width)])])""")


def test_a_waterfall(given, browser):
    page = given()
    page.check("steps")
    rows = places(page)
    assert [name for name, _ in rows] == ["Wait for a free slot", "Read the conversation", "gpt-5", "gpt-5-mini", "search_knowledge_base",
                                          "get_weather", "send_mail", "gpt-5-mini"]
    assert [[kind for kind, _, _ in bars] for _, bars in rows] == [
        ["wait"], ["store"], ["wait", "bad"], ["first", "model"], ["tool"], ["bad"], ["approval", "tool"], ["first", "model"]]
    for _, bars in rows:
        assert all(0 <= left <= right <= 100.01 for _, left, right in bars), bars
    (_, search), (_, weather), (_, mail), (_, last) = rows[4:]
    assert search[0][1] == weather[0][1] == mail[0][1]               # in parallel
    assert weather[0][2] < search[0][2] < mail[1][1] <= last[0][1]
    assert mail[0][2] - mail[0][1] < 40 and abs(last[-1][2] - 100) < 0.1             # two hours, drawn shorter
    page.wait_text(".hint", "The time of an approval is drawn shorter than it was.")
    text = page.find(".steps").first().textContent()
    for words in ("Completed", "first token after 1.5 s", "2 rounds", "2,400 in, 310 out", "US$0.0021", "2 retries", "instead of gpt-5",
                  "failed", "1,300 in, 250 out", "approved after 2 h 0 min"):
        assert words in text, words


def test_a_row_shows_more(given):
    page = given()
    page.tab.getByRole("button", {"name": "Tool get_weather failed"}).click()
    page.wait_text(".steps-more", "the tool did not answer within 800ms")
    assert '"city": "Oslo"' in page.find(".steps-more >> visible=true").first().textContent()
    page.keyboard().press("Tab")                     # to what the row shows, which can be scrolled
    assert page.evaluate("document.activeElement.closest('.steps-more') !== null")
    page.check("steps-open")
    page.tab.getByRole("button", {"name": "Tool get_weather failed"}).press("Enter")
    page.until("![...document.querySelectorAll('.steps-more')].some(one => one.checkVisibility())")
    rows = page.evaluate("[...document.querySelectorAll('[role=table] > *')].every(one => one.getAttribute('role') === 'row')")
    assert rows and page.tab.getByRole("table", {"name": "Steps of this answer, in the order of their beginning"}).count() == 1


def test_on_a_phone(given, browser, page_server):
    context = browser.context(viewport={"width": 360, "height": 720}, isMobile=True, hasTouch=True, deviceScaleFactor=2)
    page = given(tab=Page(browser, context, page_server.url))
    page.check("steps-phone")
    page.find(".steps").first().screenshot({"path": str(SHOTS / "steps-phone-whole.png")})


def test_steps_of_an_older_version(given):
    page = given(steps=OLD)
    assert [[kind for kind, _, _ in bars] for _, bars in places(page)][2:] == [["bad"], ["model"], ["tool"], ["bad"], ["tool"], ["model"]]


def test_a_call_that_awaits_approval(given):
    waiting = {**STEPS[4], "status": "in_progress", "approval": "required", "started_at": STEPS[4]["requested_at"], "completed_at": None,
               "latency_ms": None, "result": None}
    page = given(run={**RUN, "status": "in_progress", "completed_at": None, "latency_ms": None}, steps=[*STEPS[:4], waiting])
    name, bars = places(page)[-1]
    assert name == "send_mail" and [kind for kind, _, _ in bars] == ["approval"]
    page.wait_text(".steps-mark", "awaits approval")


def test_a_real_run(browser, model):
    """A retry, a fallback, two tools in parallel of which one needs approval; in the same form after a reload."""
    server = PageServer(model, more=SETUP.format(url=model.url))
    server.expect_log("AC0542")
    server.start()
    try:
        page = Page(browser, browser.context(), server.url)
        model.play(Reply(500), Reply(500), calls(("sum", {"expression": "6*7"}), ("calculate", {"expression": "1+1"})),
                   answer("Forty-two."))
        page.find("#agent").selectOption("clerk")
        page.send("How much?")
        page.button("Approve").click()
        page.ended()
        for _ in range(2):
            page.until("performance.getEntriesByType('resource').every(one => !/steps\\.(js|css)/.test(one.name))")
            page.button("Steps").click()
            page.wait(".steps-table")
            rows = [(name, [kind for kind, _, _ in bars if kind not in ("wait",)]) for name, bars in places(page)
                    if name not in ("Wait for a free slot", "Read the conversation")]
            assert rows[0] == ("unsteady", ["bad"]) and rows[1] == ("scripted", ["first", "model"])
            assert rows[-1] == ("unsteady", ["first", "model"])         # a resumed run begins with its agent's model
            assert ("calculate", ["tool"]) in rows and ("sum", ["approval", "tool"]) in rows and len(rows) == 5
            marks = page.texts(".steps-mark")
            assert sorted(mark.partition(" after ")[0] for mark in marks) == ["1 retry", "approved", "failed", "instead of unsteady"]
            page.button("Steps").click()
            page.until("!document.querySelector('.steps-table').checkVisibility()")
            page.reload()
            page.ended()
    finally:
        server.remove()


def test_a_failed_run_has_steps(browser, model, page_server):
    page_server.expect_log("AC0503")
    browser.expected = ["502"]
    page = Page(browser, browser.context(), page_server.url)
    model.play(lambda _: iter([b"data: {\n\n"]))
    page.send("Hello")
    page.wait(".failure")
    page.button("Steps").click()
    page.wait(".steps-table")
    assert [kind for kind, _, _ in places(page)[-1][1]][-1] == "bad"
    assert "model_error" in page.find(".steps-error").first().textContent()


def test_steps_that_cannot_be_had(page):
    page.send("Hello")
    page.ended()
    page.evaluate("window.real = window.fetch; window.fetch = () => Promise.reject(new TypeError('no network')); 0")
    page.button("Steps").click()
    page.wait_text(".steps .failure", "The server cannot be reached.")
    page.evaluate("window.fetch = window.real; 0")
    page.find(".steps").getByRole("button", {"name": "Try again"}).click()
    page.wait(".steps-table")
