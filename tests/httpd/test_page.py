# SPDX-License-Identifier: Apache-2.0
"""The chat page: an answer from the question to its figures, and what breaks in between."""
import gzip
import json
import os
import re
import subprocess

import pytest

import commonmark
import peers
from browser import SOURCE
from model_server import DONE, Gate, Reply, answer, calls, finish, head, token, tool_call, usage
from page import WWW, Page, PageServer
from runs import holding
from server import TOP, WAIT

HOSTILE = """Hello <b>bold</b> <img src=x onerror="window.owned=1"> <script>window.owned=1</script>

<iframe src="https://evil.example/"></iframe>

[run](javascript:window.owned=1) [data](data:text/html,<script>window.owned=1</script>) [vb](  VBScript:x)
[case](jAvAsCrIpT:window.owned=1) [tab](java\tscript:window.owned=1) <javascript:window.owned=1>
![picture](https://evil.example/track.png) ![x](javascript:window.owned=1)
[good](https://example.org/a?b=1&c=2 "title") <https://example.com/> mail [me](mailto:a@example.org)

```html
<script>window.owned=1</script>
```

| <b>x</b> | [y](javascript:window.owned=1) |
|---|---|
| <img src=x onerror=window.owned=1> | &lt;b&gt; |
"""


LIBRARIES = ("markdown-it", "entities", "highlight", "temml")
OUT = 'rel="noopener noreferrer" target="_blank"'


# ---- the files ----
def test_headers_of_each_file(page_server):
    """A strict policy with each, compressed; nothing in the files that needs less."""
    for path in sorted(WWW.iterdir()):
        with page_server.client.connect() as connection:
            name = "" if path.name == "index.html" else path.name
            response = connection.request("GET", f"/chat/{name}", headers={"Accept-Encoding": "gzip"})
        assert response.status == 200, path
        assert response.headers["content-security-policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
        assert response.headers["x-content-type-options"] == "nosniff" and response.headers["cache-control"] == "no-cache"
        assert response.headers.get("content-encoding") == "gzip" or len(path.read_bytes()) < 500
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.srcdoc|DOMParser", text), path
        foreign = re.findall(r"https?://[\w.]+", text)
        known = {"http://www.w3.org", "https://html.spec.whatwg.org", "https://page.invalid"}
        if path.stem in LIBRARIES:
            known |= {"http://www.w", "https://github.com"}             # in a warning
        assert set(foreign) <= known or path.suffix == ".LICENSE", foreign
    for name in ("index.html", "usage.html"):
        assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", (WWW / name).read_text())


def test_what_the_page_loads_at_its_start(page, browser):
    """Under 80 kB, compressed; what few conversations need comes when it is needed."""
    page.wait(".welcome")
    loaded = page.evaluate("[...new Set(performance.getEntriesByType('resource').map(one => new URL(one.name).pathname))]")
    names = {"index.html", *(path.removeprefix("/chat/") for path in loaded if path.startswith("/chat/"))}
    later = {name for name in names if name.startswith((
        "steps", "reasoning", "usage", "chart", "highlight", "syntax", "temml", "formula", "entities", "strings.de", "search", "feedback",
        "editor", "keys", "sign-in", "thread-menu", "sources"))}
    assert not later, later
    weight = sum(len(gzip.compress((WWW / name).read_bytes(), 6)) for name in names)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    print(f"the page at its start: {len(names)} files, {weight / 1000:.1f} kB compressed; first paint after {paint:.0f} ms")
    assert weight < 80_000, "docs/chat-page.md says how much it weighs"


@pytest.mark.parametrize("define, shown", [
    ("", "frame.contentDocument === null"),
    ("""Define AGENTCHAT_FRAME_ANCESTORS "'self' https://intranet.example.com"\n""",
     "frame.contentDocument?.querySelector('#agent option')")])
def test_the_page_in_a_frame(browser, model, define, shown):
    """Shown where one Define names the page around it, and refused elsewhere."""
    browser.expected = ["frame-ancestors"]
    server = PageServer(model, more=define)
    (server.root / "htdocs").mkdir(exist_ok=True)
    (server.root / "htdocs/intranet.html").write_text('<!doctype html><title>Intranet</title><iframe src="/chat/"></iframe>')
    server.start()
    try:
        tab = Page(browser, browser.context(), f"{server.url[:-5]}intranet.html", signed_in=False)
        tab.until(f"(frame => {shown})(document.querySelector('iframe'))")
    finally:
        server.remove()


def test_no_text_becomes_markup_or_script(page, browser):
    """The content security policy refuses it, also after any later change of the page."""
    browser.expected = ["TrustedHTML", "TrustedScript", "against the policy"]
    for code in ("document.createElement('div').innerHTML = 'x'", "document.createElement('script').text = 'x'",
                 "trustedTypes.createPolicy('x', {})"):
        name = page.evaluate(f"(() => {{ try {{ {code}; return 'done'; }} catch (error) {{ return error.name; }} }})()")
        assert name == "TypeError", code
    page.until("refusals.length === 3")
    assert page.evaluate("refusals") == ["require-trusted-types-for", "require-trusted-types-for", "trusted-types"]


# ---- an answer ----
def test_the_stream_is_seen_growing(page, model, page_server):
    gates = [Gate(), Gate(), Gate()]

    def script(_request):
        yield head()
        for gate, text in zip(gates, ("The **first** words", ", and more.\n\n- one", "\n- two\n\n```sh\necho hi\n```\n")):
            yield token(text)
            yield gate
        yield finish()
        yield usage(prompt=1000, completion=234)
        yield DONE
    page.check("empty")
    model.play(script)
    page.send("Write something")
    page.wait_text(".answer .prose", "The first words")
    assert page.texts(".answer .prose strong") == ["first"] and page.texts(".bubble") == ["Write something"]
    page.button("Stop").waitFor()
    assert not page.button("Send").isVisible()
    gates[0].open()
    page.wait_text(".prose li", "one")
    page.check("streaming")
    gates[1].open()
    page.wait(".prose .code")
    gates[2].open()
    page.ended()
    assert page.texts(".prose li") == ["one", "two"] and page.texts(".prose pre code") == ["echo hi"]
    page.wait_text(".figures", "1,234 tokens")
    page.wait_text(".figures", "scripted-1")
    page.wait_text("#threads", "Write something")
    assert page.texts("#title") == ["Write something"] and "#/thread_" in page.url()
    page.button("Send").waitFor()
    page.context.grantPermissions(["clipboard-read", "clipboard-write"])
    page.button("Copy code").click()
    page.until("navigator.clipboard.readText().then(text => text === 'echo hi')")
    page.check("answer")
    page.reload()
    page.ended()
    assert page.texts(".prose li") == ["one", "two"] and "1,234 tokens" in page.texts(".figures")[0]


def test_tools_are_seen_at_work(page, model):
    gates = [Gate(), Gate()]

    def script(_request):
        yield head()
        yield token("Let me calculate.")
        yield tool_call(0, "call_1", "calculate", "")
        yield tool_call(0, None, None, '{"expression": ')
        yield gates[0]
        yield tool_call(0, None, None, '"6 * 7"}')
        yield tool_call(1, "call_2", "get_weather", '{"nothing": 1}')
        yield finish("tool_calls")
        yield usage()
        yield DONE
    model.play(script, holding(gates[1], ("It is ",), ("42.",)))
    page.send("6 * 7?")
    page.wait(".call.running")
    page.wait_text(".call-preview", '{"expression":')
    page.check("tool-running")
    gates[0].open()
    page.wait(".call.ended")
    page.wait(".call.failed")
    gates[1].open()
    page.ended()
    assert page.texts(".call-tool") == ["calculate", "get_weather"]
    times = page.texts(".call-time")
    assert re.fullmatch(r"[\d.]+ m?s", times[0]) and re.fullmatch(r"failed · [\d.]+ m?s", times[1]), times
    page.find(".call summary").first().click()
    assert '"expression": "6 * 7"' in page.find(".call-arguments pre").first().innerText()
    assert '"result": 42' in page.find(".call-result pre").first().innerText()
    page.find(".call summary").nth(1).click()
    page.check("tools")
    assert "Let me calculate." in page.answer() and "It is 42." in page.answer()
    page.reload()
    page.ended()
    assert page.texts(".call-tool") == ["calculate", "get_weather"]


def test_stop(page, model, page_server):
    gate = Gate()
    model.play(holding(gate, ("Half",), (" an answer",)))
    page.send("Write")
    page.wait_text(".prose", "Half")
    page.button("Stop").click()
    page.ended()
    assert page.answer() == "Half" and page.texts(".note") == ["Stopped."]
    gate.open()
    thread = page.url().split("#/")[1]
    assert page_server.client.get(f"/threads/{thread}/runs").json["data"][0]["status"] == "cancelled"
    page.send("And now?")
    page.ended(2)
    assert page.answer() == "Hello world"


def test_reload_in_mid_answer(page, model):
    gate = Gate()
    model.play(holding(gate, ("One, ", "two"), (", three.",)))
    page.send("Count")
    page.wait_text(".prose", "One, two")
    page.reload()
    page.wait_text(".writing .prose", "One, two")
    gate.open()
    page.ended()
    assert page.answer() == "One, two, three." and page.texts(".bubble") == ["Count"] and len(page.texts(".answer")) == 1
    assert len(model.requests) == 1


def test_offline_and_back(page, model, browser):
    browser.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    gates = [Gate(), Gate()]

    def script(_request):
        yield head()
        for gate, text in zip(gates, ("One", ", two")):
            yield token(text)
            yield gate
        yield token(", three.")
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    page.send("Count")
    page.wait_text(".prose", "One")
    page.context.setOffline(True)
    page.wait_text("#banner", "offline")
    page.check("offline")
    gates[0].open()
    gates[1].wait_reached()
    assert page.answer() == "One"
    page.context.setOffline(False)
    page.wait_text(".prose", "One, two")
    page.until("document.querySelector('#banner').hidden")
    gates[1].open()
    page.ended()
    assert page.answer() == "One, two, three." and len(model.requests) == 1


def test_a_message_that_cannot_be_sent(page, model, browser):
    """It waits for the network; stopped, it comes back to the box."""
    browser.expected = ["ERR_INTERNET_DISCONNECTED", "ERR_FAILED"]
    page.context.setOffline(True)
    page.send("Into the void")
    page.wait(".sending")
    page.write("And more")
    page.button("Stop").click()
    page.wait(".welcome")
    assert page.find("#text").inputValue() == "Into the void\n\nAnd more"
    page.write("Into the void")
    assert page.find("#text").inputValue() == "Into the void" and not page.texts(".bubble")
    page.button("Send").click()
    page.wait(".sending")
    page.context.setOffline(False)
    page.ended()
    assert page.texts(".bubble") == ["Into the void"] and page.answer() == "Hello world" and len(model.requests) == 1


def test_two_tabs(page, model, browser, page_server):
    """The other tab shows the question, follows the answer, can stop it, and cannot send in that time."""
    page.send("Hello")
    page.ended()
    other = Page(browser, page.context, page.url())
    other.ended()
    gate = Gate()
    model.play(holding(gate, ("Both ",), ("see it.",)))
    page.send("Who sees this?")
    other.wait_text(".bubble", "Who sees this?")
    other.wait_text(".writing .prose", "Both")
    other.button("Stop").waitFor()
    gate.open()
    page.ended(2)
    other.ended(2)
    page.bringToFront()
    assert page.texts(".prose") == other.texts(".prose") == ["Hello world", "Both see it."]
    gate = Gate()
    model.play(holding(gate, ("Never",), ("ending",)))
    other.send("Go on")
    page.wait_text(".writing .prose", "Never")
    page.button("Stop").click()
    other.wait_text(".note", "Stopped.")
    page.ended(3)
    gate.open()


def test_a_message_while_another_client_has_a_run(page, model, page_server, browser):
    """The words come back to the box, and the other answer is shown."""
    browser.expected = ["409"]
    page.send("Hello")
    page.ended()
    thread = page.url().split("#/")[1]
    gate = Gate()
    model.play(holding(gate, ("Of another",), (" client",)))
    stream = page_server.client.stream(f"/threads/{thread}/messages", {"content": "From elsewhere", "stream": True})
    stream.until("token")
    page.send("Mine")
    page.wait_text("#notice", "An answer is still being written")
    page.wait_text(".writing .prose", "Of another")
    assert page.find("#text").inputValue() == "Mine" and page.texts(".bubble") == ["Hello", "From elsewhere"]
    gate.open()
    page.ended(2)
    stream.rest()


def test_a_hostile_answer_is_text(page, model):
    model.play(answer(*[HOSTILE[i:i + 7] for i in range(0, len(HOSTILE), 7)]))
    page.send("<i>Attack</i>")
    page.ended()
    assert page.texts(".bubble") == ["<i>Attack</i>"]
    text = page.answer()
    for part in ('<img src=x onerror="window.owned=1">', "<script>window.owned=1</script>",
                 '<iframe src="https://evil.example/"></iframe>',
                 "[run](javascript:window.owned=1)", "[case](jAvAsCrIpT:window.owned=1)", "<javascript:window.owned=1>",
                 "![x](javascript:window.owned=1)", "<img src=x onerror=window.owned=1>"):
        assert part in text, part
    assert page.evaluate("window.owned") is None
    inside = page.evaluate("[...document.querySelectorAll('#turns *')].map(node => node.tagName)")
    assert not set(inside) & {"IMG", "SCRIPT", "IFRAME", "B", "I", "OBJECT", "EMBED"}, set(inside)
    links = page.evaluate("[...document.querySelectorAll('.prose a')].map(a => [a.getAttribute('href'), a.rel, a.target])")
    wanted = ["https://evil.example/", "https://evil.example/track.png", "https://example.org/a?b=1&c=2", "https://example.com/",
              "mailto:a@example.org"]
    assert sorted(links) == sorted([address, "noopener noreferrer", "_blank"] for address in wanted)
    page.check("hostile")


def test_a_run_that_fails_and_is_tried_again(page, model, page_server):
    page_server.expect_log("AC0")
    model.play(Reply(400, {"error": {"message": "The scripted model says no.", "code": "bad"}}))
    page.send("Fail, please")
    page.wait(".failure")
    assert re.fullmatch(r"[A-Z].*\.", page.texts(".failure span")[0])
    page.find(".mine").first().hover()
    # Nothing can be copied, and there is one way to ask again.
    buttons = "[...document.querySelectorAll('.answer button')].filter(one => one.checkVisibility())"
    assert page.evaluate(f"{buttons}.map(one => one.title || one.textContent)") == ["Try again", "Steps"]
    page.check("failed")
    page.reload()
    page.wait(".failure")
    page.button("Try again").click()
    page.ended()
    assert page.answer() == "Hello world" and page.texts(".bubble") == ["Fail, please"]
    page.button("Answer again").click()
    page.wait_text(".branches-place", "2/2")
    page.ended()
    page.reload()
    page.ended()
    assert not page.texts(".failure") and page.texts(".prose") == ["Hello world"] and page.texts(".bubble") == ["Fail, please"]


# ---- markdown ----
@pytest.mark.parametrize("name", LIBRARIES)
def test_each_library_is_built_from_its_source(name):
    """The page's file is the packages that tests/browser/package-lock.json names, and nothing else; its licence is beside it."""
    environment = {**os.environ, "PEERS": str(peers.install(SOURCE))}
    made = subprocess.run([peers.node_program(), TOP / f"tests/browser/{name}.mjs"], env=environment,
                          capture_output=True, text=True, timeout=WAIT, check=True).stdout
    assert (WWW / f"{name}.js").read_text() == made
    assert "Copyright" in (WWW / f"{name}.LICENSE").read_text()


def test_no_text_takes_more_than_its_length():
    """Hostile text of 200,000 characters is rendered at once; a case of quadratic time is killed here."""
    done = subprocess.run([peers.node_program(), "--no-warnings", TOP / "tests/browser/fuzz.mjs"], capture_output=True, text=True,
                          timeout=6 * WAIT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "event streams, in pieces" in done.stdout


def test_pieces_make_the_same_as_the_whole(page, model):
    """However an answer is cut into tokens, its elements are those of the whole text."""
    wrong = page.evaluate((TOP / "tests/browser/pieces.js").read_text())
    assert not wrong, "\n\n".join(wrong)


def test_the_examples_of_commonmark(page):
    """Each as the specification has it, whole and character by character."""
    code = (TOP / "tests/browser/commonmark.js").read_text()
    code = code[code.index("async text"):].rstrip()
    examples, wrong = list(commonmark.examples()), []
    for number, markdown, wanted in examples:
        got = page.evaluate(f"({code})({json.dumps(markdown)})")
        wrong += [f"{number}, {way}: {markdown!r}\n{wanted}\n{html}" for way, html in got.items() if html != wanted]
    assert not wrong, f"{len(wrong)} are otherwise\n\n" + "\n\n".join(wrong[:40])
    assert len(examples) == 573


def test_markdown_as_elements(page):
    cases = {
        "a\n\nb\nc": "<p>a</p><p>b<br>c</p>",
        "## A *b*\ntext": '<h3 class="h-2">A <em>b</em></h3><p>text</p>',
        "- a\n- b\n  1. c\n- d": "<ul><li><p>a</p></li><li><p>b</p><ol><li><p>c</p></li></ol></li><li><p>d</p></li></ul>",
        "3. a\n\n4. b": '<ol start="3" class="loose"><li><p>a</p></li><li><p>b</p></li></ol>',
        "> a\n> > b": "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
        "***a*** **b *c* d** _e_ snake_case_x 2 * 3":
            "<p><em><strong>a</strong></em> <strong>b <em>c</em> d</strong> <em>e</em> snake_case_x 2 * 3</p>",
        "`` a`b `` `<b>`": "<p><code>a`b</code> <code>&lt;b&gt;</code></p>",
        "a ~~b~~ \\*c\\* &lt;d&gt; &#8364;": "<p>a <del>b</del> *c* &lt;d&gt; €</p>",
        "see https://a.example/b_(c), or": f'<p>see <a href="https://a.example/b_(c)" {OUT}>https://a.example/b_(c)</a>, or</p>',
        "[a [b](https://b.example)](https://c.example)":
            f'<p>[a <a href="https://b.example" {OUT}>b</a>](<a href="https://c.example" {OUT}>https://c.example</a>)</p>',
        "[wiki](/wiki/Page) [up](../x?y#z) [this](//b.example/)":
            f'<p><a href="/wiki/Page" {OUT}>wiki</a> <a href="../x?y#z" {OUT}>up</a> <a href="//b.example/" {OUT}>this</a></p>',
        r"\(a_1 * b_2 * c\) and \[ \frac{1}{2} \] $$x_i * y_i$$ \( \)":
            r'<p><span class="formula" dir="ltr">\(a_1 * b_2 * c\)</span> and <span class="formula" dir="ltr">\[ \frac{1}{2} \]</span> '
            r'<span class="formula" dir="ltr">$$x_i * y_i$$</span> ( )</p>',
        "a<br>b<BR />c <i>d</i> 21&deg;C": "<p>a<br>b<br>c &lt;i&gt;d&lt;/i&gt; 21°C</p>",
        "| a<br>b | c |\n|---|--:|\n| `1` | 2 |":
            '<div class="table" tabindex="0" role="group" aria-label="Table"><table><thead><tr><th scope="col">a<br>b</th>'
            '<th class="right" scope="col">c</th></tr></thead>'
            '<tbody><tr><td><code>1</code></td><td class="right">2</td></tr></tbody></table></div>',
        "see [it][1] and [that]\n\n[1]: https://a.example/ 'One'\n[that]: /b":
            f'<p>see <a href="https://a.example/" title="One" {OUT}>it</a> and <a href="/b" {OUT}>that</a></p>',
        "- [x] a **b**\n- [ ] c":
            '<ul class="tasks"><li><input type="checkbox" disabled="" aria-label="done"><p>a <strong>b</strong></p></li>'
            '<li><input type="checkbox" disabled="" aria-label="open"><p>c</p></li></ul>',
        "---\n* * *": "<hr><hr>",
    }
    for text, wanted in cases.items():
        got = page.evaluate("(async text => { const { Rendered } = await import('./render.js'); const div = document.createElement('div');"
                            f"new Rendered(div, text); return div.querySelector('.part').innerHTML; }})({json.dumps(text)})")
        assert got.replace(' dir="auto"', "") == wanted, f"{text!r}:\n{got}\n{wanted}"


def test_a_long_list_is_cut_without_a_visible_gap(page):
    """Its numbers continue, and it looks like one list."""
    rows = page.evaluate("""(async () => {
      const { Rendered } = await import('./render.js');
      const prose = document.querySelector('#turns').appendChild(document.createElement('div'));
      prose.className = 'prose';
      new Rendered(prose, Array.from({ length: 46 }, (_, i) => `${i + 3}. item`).join('\\n'));
      document.querySelector('#turns').classList.add('writing');
      const tops = [...prose.querySelectorAll('li')].map(node => node.getBoundingClientRect().top);
      return [[...prose.querySelectorAll('ol')].map(list => [list.start, list.children.length]),
        [...new Set(tops.slice(1).map((top, i) => Math.round(10 * (top - tops[i]))))]];
    })()""")
    assert rows[0] == [[3, 24], [27, 22]] and len(rows[1]) == 1, rows


def test_right_to_left_text(page, model):
    """Each block begins at the side of its own words; code, and the page around it, stay as they are."""
    model.play(answer("# مرحبا\n\nفقرة مع `code` ونص.\n\n- بند\n  1. اثنان: two\n\n> اقتباس\n\n| اسم | قيمة |\n|---|---|\n| سعر | 12 |\n\n",
                      "An English one.\n\n```\nprint('مرحبا')\n```\n"))
    page.send("اكتب لي شيئا بالعربية من فضلك")
    page.ended()
    page.wait_text("#threads", "اكتب لي شيئا")
    directions = page.evaluate("[...document.querySelectorAll('.part > *')].map(node => getComputedStyle(node).direction)")
    assert directions == ["rtl", "rtl", "rtl", "rtl", "rtl", "ltr", "ltr"]
    for selector in (".bubble", "#threads a", "#title", ".prose li li", ".prose td"):
        assert page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).direction") == "rtl", selector
    page.find("#text").fill("سؤال")
    assert page.evaluate("document.querySelector('#text').matches(':dir(rtl)') && document.documentElement.matches(':dir(ltr)')")
    page.check("right-to-left")
