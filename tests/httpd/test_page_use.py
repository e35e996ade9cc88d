# SPDX-License-Identifier: Apache-2.0
"""The chat page in use: the list of conversations, by keyboard, on a phone, with a key, and how fast it is."""
import json

import pytest

import page_speed
from browser import SHOTS
from model_server import DONE, Gate, answer, calls, finish, head, token, usage
from page import Page, keyed_server, long_thread
from runs import holding

RICH = """Here is a plan for **three days in Lisbon**, on foot and by tram.

## Day one: the hills

1. Coffee at the *miradouro* above Graça, before nine
2. Down through Alfama to the [cathedral](https://example.org/se)
3. Tram 28 back, when the queue is short

> Wear shoes that like wet stone.

| Stop | From | Ticket |
|---|---|--:|
| Castle | 09:00 | €15.00 |
| Tile museum | 10:00 | €8.00 |
| Tram, a day | | €6.80 |

```python
total = sum(ticket for ticket in (15.00, 8.00, 6.80))
print(f"{total:.2f} €")
```

The three tickets are `29.80` euros together.
"""


def tab_to(page, selector, backwards=False):
    """Presses Tab until this has the focus."""
    for _ in range(80):
        page.keyboard().press("Shift+Tab" if backwards else "Tab")
        if page.evaluate(f"document.activeElement.matches({json.dumps(selector)})"):
            return
    raise AssertionError(f"Tab does not lead to {selector}")


def focused(page):
    return page.evaluate("document.activeElement.id")


# ---- the list ----
def test_conversations_are_found_renamed_and_deleted(browser, model, page_server):
    client = page_server.client
    for n in range(70):
        client.thread(title=f"Number {n} of many")
    client.thread(title="A needle")
    for n in range(70, 75):
        client.thread(title=f"Number {n} of many")
    page = Page(browser, browser.context(), page_server.url)
    page.wait_text("#threads", "Number 74 of many")
    before = len(page.texts("#threads a"))
    assert 30 <= before < 76
    page.evaluate("document.querySelector('#threads-box').scrollTop = 1e6")
    page.until(f"document.querySelectorAll('#threads a').length > {before}")
    page.menu("A needle", "Rename")
    page.tab.getByRole("textbox", {"name": "Title"}).fill("A pin, <b>renamed</b>")
    page.keyboard().press("Enter")
    page.wait_text("#threads", "A pin, <b>renamed</b>")
    page.tab.locator("#threads a", {"hasText": "A pin"}).click()
    page.wait_text("#title", "A pin")
    page.menu("A pin, <b>renamed</b>", "Delete")
    page.wait_text("#toast", "was deleted")
    page.find("#toast").hover()             # it stays while the pointer is on it
    page.until("![...document.querySelectorAll('#threads a')].some(one => one.textContent.startsWith('A pin')) && !location.hash")
    page.check("undo")
    page.button("Undo").click()
    page.wait_text("#threads", "A pin, <b>renamed</b>")
    page.wait_text("#title", "A pin")


def test_a_long_conversation_is_read_backwards(browser, model, page_server):
    page = long_thread(browser, page_server)
    assert len(page.texts(".bubble")) == 15 and page.texts(".bubble")[-1] == "question 39"
    page.until("document.querySelector('#transcript').scrollTop > 100")
    for _ in range(6):
        page.evaluate("document.querySelector('#transcript').scrollTop = 0")
        page.until("document.querySelector('#transcript').scrollTop > 50 || document.querySelectorAll('.bubble').length === 40")
    page.until("document.querySelectorAll('.bubble').length === 40")
    assert page.texts(".bubble") == [f"question {n}" for n in range(40)]
    page.button("To the end").click()
    page.until("document.querySelector('#latest').hidden")


def test_a_limit_is_named_and_waited_for(browser, model, page_server):
    """429 is no lost connection: the page shows the server's text, keeps the draft, and continues after the delay."""
    browser.expected = ["429"]
    page = Page(browser, browser.context(), page_server.url)
    problem = json.dumps({"title": "Too many", "status": 429, "detail": "the limit of 3 requests is reached", "code": "rate_limited"})
    page.evaluate(f"""(() => {{
      const there = window.fetch;
      window.refused = 0;
      window.fetch = (...args) => {{
        if (args[1]?.method !== 'POST' || window.refused++) return there(...args);
        return Promise.resolve(new Response({json.dumps(problem)},
          {{ status: 429, headers: {{ 'Content-Type': 'application/problem+json', 'Retry-After': '1' }} }}));
      }};
    }})()""")
    page.send("Hello")
    page.wait_text("#banner", "The limit of 3 requests is reached. Trying again…")
    page.write("written meanwhile")
    page.ended()
    assert page.texts(".bubble") == ["Hello"] and page.find("#text").inputValue() == "written meanwhile"
    page.until("document.querySelector('#banner').hidden")


def test_a_server_that_is_away_for_a_while(browser, model, page_server):
    """Unreadable answers are requested again; the page shows that as long as it tries, and no longer."""
    client = page_server.client
    thread = client.thread(title="Away")
    assert client.send(thread, "Hello").status == 200
    page = Page(browser, browser.context(), page_server.url)
    page.wait_text("#threads", "Away")
    page.evaluate("""(() => {
      const there = window.fetch;
      window.away = true;
      window.fetch = (...args) => (window.away ? Promise.reject(new TypeError('away')) : there(...args));
    })()""")
    page.find("#threads a").first().click()
    page.wait_text("#banner", "The connection is lost. Trying again…")
    page.evaluate("window.away = false")
    page.ended()
    page.until("document.querySelector('#banner').hidden")
    page.evaluate("window.away = true")
    page.send("And more")
    page.wait_text("#banner", "The connection is lost. Trying again…")
    page.button("Stop").click()
    page.until("document.querySelector('#banner').hidden")
    assert page.find("#text").inputValue() == "And more" and page.texts(".bubble") == ["Hello"]


# ---- without a mouse, without eyes ----
def test_by_keyboard_alone(page, model):
    keyboard = page.keyboard()
    page.until("document.activeElement.id === 'text'")
    keyboard.type("Three days in Lisbon, please.")
    keyboard.press("Shift+Enter")
    keyboard.type("What are the tickets?")
    model.play(calls(("calculate", {"expression": "15 + 8 + 6.80"})), answer(RICH))
    keyboard.press("Enter")
    page.ended()
    assert page.texts(".bubble") == ["Three days in Lisbon, please.\nWhat are the tickets?"]
    # A view at the end stays there, also if content is laid out late.
    page.until("(box => box.scrollTop > 0 && box.scrollHeight - box.scrollTop - box.clientHeight < 2)"
               "(document.querySelector('#transcript'))")
    assert not page.button("To the end").isVisible()
    page.check("conversation")
    assert focused(page) == "text"
    gate = Gate()
    model.play(holding(gate, ("Half",), ("",)))
    keyboard.type("Stop me")
    keyboard.press("Enter")
    page.wait_text(".writing .prose", "Half")
    keyboard.press("Escape")
    page.wait_text(".note", "Stopped.")
    gate.open()
    tab_to(page, "#new")
    tab_to(page, "#threads a")
    keyboard.press("Tab")
    keyboard.press("Enter")
    page.until("document.activeElement.textContent === 'Pin'")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")                 # rename
    page.until("document.activeElement.matches('#threads input')")
    keyboard.press("Control+A")
    keyboard.type("By keys")
    keyboard.press("Enter")
    page.wait_text("#threads", "By keys")
    page.until("document.activeElement.matches('#threads a')")
    page.find("#text").focus()
    tab_to(page, "#transcript", backwards=True)
    tab_to(page, ".call summary")
    keyboard.press("Enter")
    page.wait(".call[open] .call-result pre")
    tab_to(page, ".prose pre")
    tab_to(page, "#text")
    tab_to(page, "#threads .icon-button", backwards=True)
    keyboard.press("Enter")
    page.until("document.activeElement.textContent === 'Pin'")
    keyboard.press("ArrowUp")
    keyboard.press("Enter")                 # delete
    page.wait_text("#toast", "was deleted")
    page.until("document.activeElement.matches('.toast-action')")
    keyboard.press("Enter")
    page.wait_text("#threads", "By keys")


def test_complete_sentences_are_announced(page, model):
    gates = [Gate(), Gate()]
    first, second = "Lisbon has seven hills, or so they say in Lisbon.", " Each of them has a fine view over the river."

    def script(_request):
        yield head()
        for piece in first.split(" "):
            yield token(piece + " ")
        yield token("Each of them")
        yield gates[0]
        yield token(second.removeprefix(" Each of them"))
        yield gates[1]
        yield token(" **End**")
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    page.send("Tell me")
    page.wait_text(".writing .prose", "Each of them")
    assert page.texts("#announcer p") == [first]
    gates[0].open()
    page.wait_text(".writing .prose", "river.")
    assert page.texts("#announcer p") == [first, second.strip()]
    gates[1].open()
    page.ended()
    assert page.texts("#announcer p") == [first, second.strip(), "End", "The answer is complete."]


def test_a_tool_that_awaits_approval(page):
    """What the page makes of `approval_required`, and what it sends."""
    page.evaluate("""(async () => {
      const { Trace, callList } = await import('./trace.js');
      window.said = [];
      const list = callList();
      const trace = new Trace(async (id, approve) => { said.push([id, approve]); }, () => list);
      document.querySelector('#turns').replaceChildren(list);
      trace.take({ type: 'trace_start', step_id: 's', tool: 'send_mail', call_id: 'call_7' });
      trace.take({ type: 'trace_update', step_id: 's', arguments: { to: 'ann@example.org' }, approval_required: true });
    })()""")
    page.wait_text(".call-time", "awaits your approval")
    page.check("approval")
    page.button("Approve").click()
    page.until("window.said.length === 1")
    assert page.evaluate("window.said") == [["call_7", True]]


# ---- elsewhere ----
def test_on_a_phone(browser, model, page_server):
    context = browser.context(viewport={"width": 360, "height": 720}, isMobile=True, hasTouch=True, deviceScaleFactor=2)
    page = Page(browser, context, page_server.url)
    page.check("phone-empty")
    model.play(calls(("calculate", {"expression": "15 + 8 + 6.80"})), answer(RICH, "\n`" + "wide" * 40 + "`\n\n" + "long" * 60))
    page.send("Three days in Lisbon, please: what do I see, and what are the tickets?")
    page.ended()
    page.check("phone-answer")
    page.evaluate("document.querySelector('#transcript').scrollTop = 0")
    page.tab.screenshot({"path": str(SHOTS / "phone-top.png")})
    page.button("Conversations").click()
    page.wait_text("#threads", "Three days")
    page.until("getComputedStyle(document.querySelector('#sidebar')).transform === 'none' && "
               "document.querySelector('#sidebar').getBoundingClientRect().left === 0")
    page.check("phone-list")
    page.button("Close the list").click()
    page.until("document.querySelector('#sidebar').inert")
    page.find("#text").fill("a\n" * 30)
    height = page.evaluate("document.querySelector('#text').clientHeight")
    assert 150 < height < 400, "the box neither grows nor ends"


def test_dark_by_hand(page):
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.button("Light or dark").click()
    dark = page.evaluate(color)
    assert dark != light
    page.reload()
    page.until(f"{color} === {json.dumps(dark)}")


def test_signing_in_with_a_key(browser, model):
    server, key = keyed_server(model)
    try:
        browser.expected = ["401"]
        context = browser.context()
        tab = Page(browser, context, server.url, signed_in=False)
        tab.wait("#sign-in[open]")
        tab.keyboard().press("Escape")
        tab.keyboard().press("Escape")
        tab.wait("#sign-in[open]")
        tab.check("sign-in")
        tab.find("#key").fill("wrong")
        tab.keyboard().press("Enter")
        tab.wait_text("#sign-in-word", "not accepted")
        tab.check("sign-in-refused")
        tab.find("#key").fill(key)
        tab.keyboard().press("Enter")
        tab.find("#agent option").first().waitFor({"state": "attached"})
        tab.send("Hello")
        tab.ended()
        tab.wait_text("#threads", "Hello")
        assert tab.evaluate("sessionStorage.length") == 1 and tab.evaluate("localStorage.length") == 0
        assert not tab.evaluate("document.cookie")
        tab.reload()
        tab.ended()
        tab.wait_text("#threads", "Hello")
        other = Page(browser, context, server.url, signed_in=False)
        other.wait("#sign-in[open]")        # the key is of one tab
        tab.button("Sign out").click()
        tab.wait("#sign-in[open]")
        assert tab.evaluate("sessionStorage.length") == 0 and not tab.texts("#threads a")
    finally:
        server.stop()
        log = server.log()
        server.remove()
    assert key not in log


# ---- how fast ----
@pytest.mark.alone
def test_the_first_token_is_on_the_screen_in_the_next_frame(browser, model, page_server):
    frames, times = page_speed.first_token(browser, model, page_server)
    print(f"from the arrival of the first token to the screen: {frames} frames, {[round(ms, 1) for ms in times]} ms")
    assert max(frames) <= 1, frames


@pytest.mark.alone
@pytest.mark.parametrize("kind", page_speed.TEXTS)
def test_two_thousand_lines_stay_smooth(browser, model, page_server, tmp_path, kind):
    page, got = page_speed.long_answer(browser, model, page_server, kind, tmp_path / "trace")
    print(f"{kind}, 2000 lines in {got.tokens} tokens: at most {got.longest:.0f} ms of work in one go; worst frame {got.worst:.0f} ms, "
          f"{got.late} of {got.frames} over 50 ms; work for a token {got.first:.2f} ms in the first half, "
          f"{got.second:.2f} ms in the second")
    # Seen: 8 to 39 ms, and half a millisecond. Frame times are printed but not asserted: the machine may be busy
    # otherwise.
    assert got.longest < 75 and got.second < 10 and got.second < 4 * got.first + 0.5, got
    page.evaluate("document.querySelector('#transcript').scrollTop = 0")
    page.wait_text(".prose", {"mixed": "Part 0", "code": "variable_0", "list": "item 0"}[kind])
