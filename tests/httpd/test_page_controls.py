# SPDX-License-Identifier: Apache-2.0
"""The chat page: keyboard, list, look, print, and signing in and out."""
import json
import re

import pytest

from model_server import Gate, answer
from page import LOADED, Page, PageServer, keyed_server
from runs import holding

COMPOSING = """document.querySelector('#text').dispatchEvent(
  new KeyboardEvent('keydown', {{ key: '{}', bubbles: true, cancelable: true, isComposing: true }}))"""
LONG = """
<AgentChatAgent long>
    AgentChatModel scripted
    AgentChatName "An assistant whose name is far longer than any name that an administrator would give to an assistant"
    AgentChatDescription "Long."
</AgentChatAgent>
"""


def focused(page):
    return page.evaluate("document.activeElement.id")


def follow(page, model, question="Write"):
    """An answer whose model waits at its gate."""
    gate = Gate()
    model.play(holding(gate, ("Half",), (" an answer",)))
    page.send(question)
    page.wait_text(".writing .prose", "Half")
    return gate


# ---- keys ----
def test_esc_elsewhere_stops_nothing(page, model):
    """In the search, on the agents, and while a character is composed it has a meaning of its own."""
    gate = follow(page, model)
    page.button("Search").click()
    page.wait("#search-box[open]")
    page.keyboard().press("Escape")
    page.until("!document.querySelector('#search-box').open && document.activeElement.id === 'search'")
    page.keyboard().press("Escape")
    page.find("#agent").focus()
    page.keyboard().press("Escape")
    page.find("#text").focus()
    page.evaluate(COMPOSING.format("Escape"))
    page.write("kana")
    page.evaluate(COMPOSING.format("Enter"))
    assert not page.find("#stop").isDisabled() and page.find("#text").inputValue() == "kana"
    gate.open()
    page.ended()
    assert page.answer() == "Half an answer" and not page.texts(".note")
    gate = follow(page, model, "Again")
    page.find("#text").focus()
    page.keyboard().press("Escape")
    page.wait_text(".note", "Stopped.")
    gate.open()


def test_a_name_that_is_composed_is_not_ended(page, model):
    page.send("A name to compose")
    page.ended()
    page.wait_text("#threads", "A name to compose")
    page.menu("A name to compose", "Rename")
    page.wait(".rename")
    page.evaluate("document.querySelector('.rename').dispatchEvent("
                  "new KeyboardEvent('keydown', { key: 'Escape', bubbles: true, isComposing: true }))")
    assert page.find(".rename").isVisible()


def test_shortcuts_and_ways_around(page, model, page_server):
    """However many conversations and turns there are, each place is a key or two away."""
    for n in range(12):
        page_server.client.thread(title=f"Number {n}")
    page.send("Hello")
    page.ended()
    keyboard = page.keyboard()
    page.find("#text").focus()
    keyboard.press("Shift+Tab")
    page.until("document.activeElement.id === 'skip-back'")
    page.check("skip")
    keyboard.press("Enter")
    assert focused(page) == "new"
    page.evaluate("document.body.focus()")
    page.find("#skip-list").focus()
    keyboard.press("Enter")
    assert focused(page) == "text"
    keyboard.press("Control+k")
    page.until("document.activeElement.matches('#search-box input')")
    keyboard.press("Escape")
    page.until("!document.querySelector('#search-box').open")
    keyboard.press("Shift+Escape")
    assert focused(page) == "text"
    keyboard.press("Control+/")
    page.wait("#keys[open]")
    page.check("shortcuts")
    keyboard.press("Escape")
    page.until("!document.querySelector('#keys').open")
    page.find("#new").focus()
    keyboard.press("?")
    page.wait("#keys[open]")
    keyboard.press("Escape")
    page.until("!document.querySelector('#keys').open")
    keyboard.press("Control+Shift+O")
    page.wait(".welcome")
    assert "#" not in page.url() and focused(page) == "text"
    keyboard.press("Control+Shift+S")
    page.until("document.body.classList.contains('folded')")
    keyboard.press("Control+Shift+S")
    page.until("!document.body.classList.contains('folded')")


# ---- the list ----
def test_two_deletes_can_both_be_undone(page, model):
    for text in ("Alpha", "Beta", "Gamma"):
        page.button("New conversation").click()
        page.send(text)
        page.ended()
        page.wait_text("#threads", text)
    for text in ("Alpha", "Beta"):
        page.menu(text, "Delete")
        page.wait_text("#toast", f"“{text}” was deleted.")
    listed = page.texts("#threads a")
    assert len(page.texts(".toast")) == 2 and "Gamma" in listed and "Alpha" not in listed and "Beta" not in listed
    page.check("two-deletes")
    page.tab.locator(".toast", {"hasText": "Alpha"}).getByRole("button", {"name": "Undo"}).click()
    page.wait_text("#threads", "Alpha")
    page.tab.locator(".toast", {"hasText": "Beta"}).getByRole("button", {"name": "Undo"}).click()
    page.wait_text("#threads", "Beta")
    assert {"Alpha", "Beta", "Gamma"} <= set(page.texts("#threads a")) and not page.texts(".toast")


def test_the_conversation_of_the_last_message_comes_first(page, model):
    """At once, and when the page is loaded again."""
    for text in ("An older one", "A newer one"):
        page.button("New conversation").click()
        page.send(text)
        page.ended()
        page.wait_text("#threads", text)
    page.until("document.querySelector('#threads a').textContent === 'A newer one'")
    page.tab.locator("#threads a", {"hasText": "An older one"}).first().click()
    page.wait_text("#title", "An older one")
    page.ended()
    page.send("Once more")
    page.ended(2)
    page.until("document.querySelector('#threads a').textContent === 'An older one'")
    page.reload()
    page.wait_text("#threads", "A newer one")
    assert page.texts("#threads a")[:2] == ["An older one", "A newer one"]


def test_the_list_folds_away(page):
    page.button("Close the list").click()
    page.until("getComputedStyle(document.querySelector('#sidebar')).display === 'none'")
    assert focused(page) == "menu"
    page.check("folded")
    page.reload()
    page.find("#agent option").first().waitFor({"state": "attached"})
    assert page.find("#sidebar").isHidden()
    page.button("Conversations").click()
    page.until("document.activeElement.id === 'close-menu'")
    page.reload()
    page.find("#sidebar").waitFor()


# ---- look ----
def test_the_agents_take_the_room_of_the_one_that_is_chosen(browser, model):
    server = PageServer(model, more=LONG).start()
    try:
        page = Page(browser, browser.context(), server.url)
        width = "document.querySelector('#agent').getBoundingClientRect().width"
        assert page.evaluate(width) < 140
        page.find("#agent").selectOption("long")
        assert 140 < page.evaluate(width) <= 256
        page.check("long-agent")
    finally:
        server.stop()
        server.remove()


def test_reduced_motion_is_respected(page, model):
    page.tab.emulateMedia({"reducedMotion": "reduce"})
    gate = follow(page, model)
    cursor = "document.querySelector('.writing .growing > .part:last-child > p:last-child')"
    page.until(f"getComputedStyle({cursor}, '::after').content === '\"\"'")
    assert page.evaluate(f"getComputedStyle({cursor}, '::after').animationName") == "none"
    assert page.evaluate("document.getAnimations().length") == 0
    gate.open()
    page.ended()


def test_on_paper_there_is_all_of_it(page, model, tmp_path):
    model.play(answer(*[f"Paragraph {n} of many.\n\n" for n in range(150)]))
    page.send("Write a lot")
    page.ended()
    page.wait_text(".prose", "Paragraph 149")
    page.tab.pdf({"path": str(tmp_path / "print.pdf"), "format": "A4"})
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", (tmp_path / "print.pdf").read_bytes()))
    assert pages >= 4, f"{pages} pages"
    page.tab.emulateMedia({"media": "print"})
    assert page.find("#sidebar").isHidden() and page.find("#composer").isHidden()
    page.tab.emulateMedia({"media": "screen"})


# ---- what cannot be seen ----
def test_characters_that_hide_are_seen(page, model, page_server):
    """In approvals, in arguments and results of tools, and in titles."""
    hidden = "pay \u202ennA\u202c a\u200bb\u2066c\u2069 \U000e0041\u00ad\ufeff"
    seen = "pay ‹U+202E›nnA‹U+202C› a‹U+200B›b‹U+2066›c‹U+2069› ‹U+E0041›‹U+00AD›‹U+FEFF›"
    page.evaluate(f"""(async hidden => {{
      const {{ Trace, callList }} = await import('./trace.js');
      const list = callList(), trace = new Trace(async () => {{}}, () => list);
      document.querySelector('#turns').replaceChildren(list);
      trace.take({{ type: 'trace_start', step_id: 's', tool: 'pay' + hidden, call_id: 'call_7' }});
      trace.take({{ type: 'trace_update', step_id: 's', arguments: {{ [hidden]: hidden }}, approval_required: true }});
      trace.take({{ type: 'trace_start', step_id: 't', tool: 'read', call_id: 'call_8' }});
      trace.take({{ type: 'trace_update', step_id: 't', arguments_delta: hidden }});
      trace.take({{ type: 'trace_end', step_id: 't', arguments: {{}}, result: hidden, latency_ms: 1 }});
    }})({json.dumps(hidden)})""")
    page.wait(".approval")
    page.check("hidden-characters")
    assert page.texts(".call-tool")[0] == "pay" + seen and page.texts(".call-preview")[0] == seen
    shown = page.texts(".call-arguments pre")[0]
    assert f'"{seen}": "{seen}"' in shown, shown
    assert page.texts(".call-result pre")[-1] == seen
    whole = "1️⃣ family 👨‍👩‍👧 ❤️ می‌خواهم"
    kept = page.evaluate(f"import('./dom.js').then(({{ visible }}) => visible({json.dumps(whole)}))")
    assert kept == whole
    page_server.client.thread(title="to \u202egnp.exe")
    page.reload()
    page.wait_text("#threads", "to ‹U+202E›gnp.exe")
    page.find("#threads a").first().click()
    page.wait_text("#title", "to ‹U+202E›gnp.exe")
    assert "‹U+202E›" in page.evaluate("document.title")


# ---- signing in and out ----
def test_a_sign_in_that_expires_elsewhere(page, model, browser, page_server):
    """The API redirects to another origin: the page reports it, keeps the text, and offers to sign in."""
    browser.expected = ["401"]
    config = page_server.root / "www/config.json"
    before = config.read_text()
    config.write_text(json.dumps({"api": "../api", "sign_in": "../sign/in?back={here}", "sign_out": "../sign/out"}))
    try:
        page.reload()
        page.find("#agent option").first().waitFor({"state": "attached"})
        page.send("Hello")
        page.ended()
        page.evaluate("""(() => {
          const there = window.fetch;
          window.asked = [];
          window.fetch = (address, options) => {
            window.asked.push(options.redirect);
            return there(`${location.origin}/chat`, options);       // which httpd answers with a redirect
          };
        })()""")
        page.send("Who am I?")
        page.wait("#sign-in-link")
        assert set(page.evaluate("window.asked")) == {"manual"} and page.find("#key").isHidden()
        here = page.evaluate("encodeURIComponent(location.href)")
        way = page.evaluate("document.querySelector('#sign-in-link').href")
        assert way == f"{page_server.url.removesuffix('chat/')}sign/in?back={here}"
        assert page.find("#text").inputValue() == "Who am I?" and not page.texts("#banner")[0]
        page.check("sign-in-elsewhere")
        page.reload()
        page.ended()
        assert page.find("#text").inputValue() == "Who am I?"
        page.button("Sign out").click()
        page.tab.waitForURL("**/sign/out")
    finally:
        config.write_text(before)
        browser.expected = ["404"]


@pytest.mark.parametrize("challenge", ['Basic realm="chat"', ""])
def test_no_key_is_asked_for_where_none_would_do(page, browser, challenge):
    page.evaluate(f"""(() => {{
      const headers = {{ 'Content-Type': 'text/html' }}, challenge = {json.dumps(challenge)};
      if (challenge) headers['WWW-Authenticate'] = challenge;
      window.fetch = async () => new Response('<h1>Unauthorized</h1>', {{ status: 401, headers }});
    }})()""")
    page.send("Hello")
    page.button("Reload the page").waitFor()
    assert page.find("#key").isHidden()
    page.check("sign-in-again")
    page.button("Reload the page").click()
    page.find("#agent option").first().waitFor({"state": "attached"})
    page.until("document.querySelector('#text').value === 'Hello'")


def test_no_data_of_the_previous_user_is_left(browser, model):
    """After the sign-out: no title, no agents, no draft."""
    server, key = keyed_server(model)
    try:
        browser.expected = ["401"]
        page = Page(browser, browser.context(), server.url, signed_in=False)
        page.wait("#sign-in[open]")
        page.find("#key").fill(key)
        page.keyboard().press("Enter")
        page.find("#agent option").first().waitFor({"state": "attached"})
        page.send("A private matter")
        page.ended()
        page.wait_text("#title", "A private matter")
        page.write("a private thought")
        page.button("Sign out").click()
        page.wait("#sign-in[open]")
        page.until("!document.querySelector('#agent option')")
        left = page.evaluate("document.title + document.body.innerText + [...document.querySelectorAll('input, textarea')]"
                             ".map(field => field.value) + JSON.stringify(sessionStorage) + location.href")
        assert "private" not in left and "Assistant" not in left and page.evaluate("document.title") == "Chat"
    finally:
        server.stop()
        server.remove()


def test_a_part_that_cannot_be_loaded_is_asked_for_again(page, model, page_server, browser):
    """What is loaded when it is wanted: a notice says that it could not be had, with a button for another attempt."""
    browser.expected = ["404", "Failed to load"]
    page.send("Hello")
    page.ended()
    parts = ("keys", "feedback", "steps", "editor", "thread-menu", "search", "sign-in")
    files = [page_server.root / f"www/{name}.js" for name in parts]
    assert not page.evaluate(LOADED.format("|".join(parts)))
    for file in files:
        file.rename(file.with_suffix(".away"))
    try:
        page.keyboard().press("Control+k")
        page.wait_text(".toast", "could not be loaded")
        page.check("part-not-loaded")
        page.button("Close").click()
        page.button("Good answer").click()
        page.wait_text(".toast", "could not be loaded")
        asked = f"{LOADED.format('feedback')}.length"
        before = page.evaluate(asked)
        page.button("Try again").click()
        page.until(f"{asked} > {before}")
        page.wait_text(".toast", "could not be loaded")
    finally:
        for file in files:
            file.with_suffix(".away").rename(file)
    page.button("Try again").click()
    page.until("document.querySelector('.answer [title=\"Good answer\"]').ariaPressed === 'true'")
    page.button("Bad answer").click()
    page.wait(".feedback")
    page.button("Keyboard shortcuts").click()
    page.wait("#keys[open]")


# ---- a browser that keeps nothing ----
BLOCKED = """for (const name of ['localStorage', 'sessionStorage']) {
  Object.defineProperty(window, name, { get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); } });
}"""


def blocked(browser):
    context = browser.context()
    context.addInitScript({"content": BLOCKED})
    return context


def test_where_the_browser_allows_no_storage(browser, model, page_server):
    """Cookies are blocked: the page works, and forgets drafts and the theme when it is left."""
    page = Page(browser, blocked(browser), page_server.url)
    page.button("Light or dark").click()
    page.button("Close the list").click()
    page.send("Keep nothing")
    page.ended()
    page.wait_text("#title", "Keep nothing")
    page.write("a draft")
    page.button("Conversations").click()
    page.button("New conversation").click()
    page.wait(".welcome")
    page.tab.locator("#threads a", {"hasText": "Keep nothing"}).first().click()
    page.ended()
    assert page.find("#text").inputValue() == "a draft"
    page.check("no-storage")
    page.reload()
    page.ended()
    assert page.find("#text").inputValue() == "" and page.find("#sidebar").isVisible()


def test_a_key_needs_storage(browser, model):
    """It is sent again after the page was loaded again; the page says why it cannot be asked for."""
    browser.expected = ["401"]
    server, _ = keyed_server(model)
    try:
        page = Page(browser, blocked(browser), server.url, signed_in=False)
        page.wait_text("#sign-in .hint", "Your browser lets this page keep nothing.")
        assert page.find("#sign-in").getByRole("button", {"name": "Sign in"}).isDisabled()
        page.check("sign-in-no-storage")
    finally:
        server.remove()
