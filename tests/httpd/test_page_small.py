# SPDX-License-Identifier: Apache-2.0
"""The chat page on narrow screens, enlarged, and by keyboard: nothing scrolls sideways, and each control is reached and has a name."""
import json

import pytest

from model_server import answer, calls
from page import Page, PageServer

WORD = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen" * 3
URL = "https://example.org/" + "a-very-long-path-without-any-blank/" * 6 + "?q=" + "x" * 80
WIDE_ANSWER = f"""# {WORD}

{WORD} and **{WORD}** and `{WORD}` and {URL} and [{WORD}]({URL})

| {" | ".join(f"Column number {n}" for n in range(12))} |
|{"---|" * 12}
| {" | ".join(f"a value of column {n}" for n in range(12))} |

```python
{"x = " + " + ".join(f"value_{n}" for n in range(60))}
```

- one
  - two
    - three
      - four
        - five {WORD}

> > > {WORD}

$$ {" + ".join(f"x_{{{n}}}^{{2}}" for n in range(40))} $$

\\( {" + ".join(f"y_{{{n}}}" for n in range(40))} \\)
"""
MORE = """
AgentChatFiles on reserve=0
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path {folder}
</AgentChatTool>
<AgentChatAgent librarian>
    AgentChatModel scripted
    AgentChatName "{name}"
    AgentChatTools search_knowledge_base calculate
</AgentChatAgent>
AgentChatDefaultAgent librarian
"""
SIDEWAYS = """[...document.querySelectorAll('#transcript, html, body, dialog[open], .search-found')]
  .filter(node => node.scrollWidth > node.clientWidth + 1)
  .map(node => `${node.tagName} ${node.id}: ${node.scrollWidth} > ${node.clientWidth}`)"""
# What has the focus: what it is, its name, and whether the focus can be seen on it or on the box around it.
FOCUS = """(() => {
  const node = document.activeElement;
  const seen = one => getComputedStyle(one).outlineStyle !== 'none' || getComputedStyle(one).boxShadow !== 'none';
  const name = node.getAttribute('aria-label') ?? (node.labels?.[0]?.textContent || node.textContent || node.title);
  node.dataset.reached = '1';
  return [node.tagName, name.trim(), node === document.body || seen(node) || (node.id === 'text' && seen(node.closest('form')))];
})()"""
MISSED = """[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter(node => node.checkVisibility({ visibilityProperty: true }) && !node.disabled && !node.closest('[inert]') && node.tabIndex >= 0 &&
    !node.dataset.reached)
  .map(node => node.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def wide_server(_model, tmp_path_factory):
    """A server with files, sources and an agent with a long name."""
    folder = tmp_path_factory.mktemp("articles")
    (folder / f"{WORD[:100]}.md").write_text(f"# Refunds {WORD}\n\nRefunds take five days.\n")
    for path in (folder, *folder.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    server = PageServer(_model, more=MORE.format(folder=folder, name=f"The {WORD[:58]}")).start()
    yield server
    server.remove()


def conversation(browser, server, model, made, **options):
    """A page that shows everything that a conversation can have."""
    page = Page(browser, browser.context(**options), server.url)
    page.wait(".attach")
    page.find("#agent").selectOption("librarian")
    page.find("input[type=file]").setInputFiles([made])
    page.until("document.querySelectorAll('.uploads [data-state=done]').length === 1")
    model.play(calls(("search_knowledge_base", {"query": "refunds"}), ("calculate", {"expression": "1 + " * 200 + "1"}),
                     said=f"{WORD} [1]"),
               answer(WIDE_ANSWER))
    page.write(f"{WORD} {URL}")
    page.find("#send").click()
    page.ended()
    page.wait(".sources li")
    page.until("document.querySelectorAll('.prose math').length === 2")
    page.until("document.querySelectorAll('.formula[aria-label=Formula][tabindex]').length === 2")     # they scroll
    page.wait(".attachments .file")
    return page


@pytest.fixture
def made(tmp_path):
    path = tmp_path / f"{WORD[:120]}.txt"
    path.write_text("Buy milk.\n")
    return str(path)


def check(page, name):
    page.check(name)
    assert not page.evaluate(SIDEWAYS), name


SIZES = {"phone": {"viewport": {"width": 320, "height": 640}, "isMobile": True, "hasTouch": True},
         "tablet": {"viewport": {"width": 768, "height": 1024}, "isMobile": True, "hasTouch": True},
         "zoomed": {"viewport": {"width": 590, "height": 390}}}          # a window of 1180 by 780 at 200 %


@pytest.mark.parametrize("size", SIZES)
def test_nothing_scrolls_sideways(browser, wide_server, model, made, size):
    """Long words, addresses, tables, code and formulas; open calls, steps, the editor, the list, its menu and each dialog."""
    page = conversation(browser, wide_server, model, made, **SIZES[size])
    check(page, f"{size}-wide")
    for summary in range(page.find(".call summary").count()):
        page.find(".call summary").nth(summary).click()
    check(page, f"{size}-wide-calls")
    page.button("Steps").click()
    page.wait(".steps-table")
    check(page, f"{size}-wide-steps")
    page.button("Bad answer").click()
    page.wait(".feedback")
    check(page, f"{size}-wide-feedback")
    page.find(".mine").hover()
    page.button("Edit message").click()
    page.wait(".editor .file")
    check(page, f"{size}-wide-editor")
    page.find(".editor").getByRole("button", {"name": "Cancel"}).click()
    is_narrow = page.evaluate("innerWidth <= 760")
    if is_narrow:
        page.button("Conversations").click()
        page.until("document.querySelector('#sidebar').getBoundingClientRect().left === 0")
    page.find("#threads .icon-button").first().click()
    page.wait("#menu-box button")
    check(page, f"{size}-wide-menu")
    assert page.evaluate("(box => box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.bottom <= innerHeight)"
                         "(document.querySelector('#menu-box').getBoundingClientRect())"), "the menu is not whole"
    page.keyboard().press("Escape")
    for opener, box in (("Search", "#search-box"), ("Keyboard shortcuts", "#keys"), ("Your data", "#account-box")):
        page.button(opener).click()
        page.wait(f"{box}[open]")
        if box == "#search-box":
            page.find("#search-box input").fill(WORD[:20])
            page.wait("#found a")
        check(page, f"{size}-wide-{box[1:]}")
        page.keyboard().press("Escape")
        page.until(f"!document.querySelector('{box}').open")


def test_each_control_is_reached_by_tab_and_has_a_name(browser, wide_server, model, made):
    """In a conversation with everything that it can have; the focus is seen wherever it is."""
    page = conversation(browser, wide_server, model, made)
    page.button("Bad answer").click()
    page.wait(".feedback")
    page.button("Steps").click()
    page.wait(".steps-table")
    page.find("input[type=file]").setInputFiles([made])
    page.until("document.querySelectorAll('.uploads [data-state=done]').length === 1")
    page.evaluate("document.activeElement.blur()")
    page.find("#skip-list").focus()
    found, nameless = [page.evaluate(FOCUS)], []
    for _ in range(150):
        page.keyboard().press("Tab")
        tag, name, is_seen = page.evaluate(FOCUS)
        if tag == "BODY":
            break
        if not name or not is_seen:
            nameless.append((tag, name, page.evaluate("document.activeElement.outerHTML.slice(0, 160)")))
        found.append((tag, name))
    assert tag == "BODY", f"Tab comes to no end: {json.dumps(found[-10:])}"
    assert not nameless, f"without a name, or the focus is not seen: {nameless}"
    missed = page.evaluate(MISSED)
    assert not [one for one in missed if "radio" not in one], missed     # of radio buttons one is reached
    page.tab.screenshot({"path": "build/screenshots/keyboard.png"})
