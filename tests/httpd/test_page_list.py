# SPDX-License-Identifier: Apache-2.0
"""The menu of a conversation on the chat page: pin, archive, and the conversation as a file."""
from model_server import Gate, answer
from page import LOADED, Page, PageServer


def test_pin_and_archive(browser, page_server):
    """What is pinned is first, however old; the archive is a list of its own. All of it is there after a reload."""
    client = page_server.client
    for title in ("Alpha of the list", "Beta of the list", "Gamma of the list"):
        client.thread(title=title)
    page = Page(browser, browser.context(), page_server.url)
    page.wait_text("#threads", "Alpha of the list")
    page.menu("Alpha of the list", "Pin")
    page.until("document.querySelector('#threads h3').textContent === 'Pinned'")
    assert page.texts("#threads a")[0] == "Alpha of the list"
    page.menu("Beta of the list", "Move to the archive")
    page.wait_text("#toast", "“Beta of the list” is in the archive.")
    page.until("![...document.querySelectorAll('#threads a')].some(one => one.textContent === 'Beta of the list')")
    page.reload()
    page.wait_text("#threads", "Alpha of the list")
    assert page.texts("#threads a")[0] == "Alpha of the list" and "Beta of the list" not in page.texts("#threads a")
    page.button("Archive").click()
    page.until("[...document.querySelectorAll('#threads a')].some(one => one.textContent === 'Beta of the list')")
    assert "Gamma of the list" not in page.texts("#threads a")
    page.wait_text("#threads-title:not(.offscreen)", "Archive")
    page.check("archive")
    page.menu("Beta of the list", "Take out of the archive")
    page.wait_text("#threads-none", "The archive is empty.")
    page.button("Archive").click()
    page.wait_text("#threads", "Beta of the list")
    page.menu("Alpha of the list")
    page.check("menu")
    for entry in ("Rename", "Move to the archive"):
        page.keyboard().press("ArrowDown")
        page.until(f"document.activeElement.textContent === '{entry}'")
    page.keyboard().press("ArrowUp")
    page.keyboard().press("ArrowUp")
    page.keyboard().press("ArrowUp")
    page.until("document.activeElement.textContent === 'Delete'")
    page.keyboard().press("Escape")
    page.until("document.activeElement.matches('[aria-haspopup]')")
    page.menu("Alpha of the list", "Unpin")
    page.until("![...document.querySelectorAll('#threads h3')].some(one => one.textContent === 'Pinned')")


def test_a_conversation_as_a_file(page, model):
    page.send("Take this along")
    page.ended()
    page.wait_text("#threads", "Take this along")
    page.evaluate("""(() => {
      window.saved = [];
      const there = HTMLAnchorElement.prototype.click;
      HTMLAnchorElement.prototype.click = function () {
        if (!this.download) { there.call(this); return; }
        fetch(this.href).then(response => response.text()).then(text => saved.push([this.download, text]));
      };
      const own = URL.createObjectURL;
      URL.createObjectURL = blob => { window.blob = blob; return own(blob); };
      window.fetch = (fetch => (address, options) => String(address).startsWith('blob:')
        ? Promise.resolve({ text: () => window.blob.text() }) : fetch(address, options))(window.fetch);
    })()""")
    page.menu("Take this along", "Save as Markdown")
    page.until("window.saved.length === 1")
    page.menu("Take this along", "Save as JSON")
    page.until("window.saved.length === 2")
    (markdown, text), (json_name, whole) = page.evaluate("window.saved")
    assert markdown.endswith(".md") and "Hello world" in text and json_name.endswith(".json") and '"Take this along"' in whole


def test_a_title_that_a_model_makes(browser, model):
    """It replaces the first words in the list, in the head and in another tab, without a reload."""
    gate = Gate()

    def title(_request):
        yield gate
        yield from answer("Tomatoes on a balcony")(_request)
    server = PageServer(model, more="AgentChatTitles on model=scripted\n").start()
    try:
        page = Page(browser, browser.context(), server.url)
        other = Page(browser, page.context, server.url)
        page.until(f"{LOADED.format('titles')}.length")
        model.play(answer("In pots."), title)
        page.send("how do i grow tomatoes")
        page.ended()
        page.wait_text("#threads", "how do i grow tomatoes")
        gate.open()
        page.wait_text("#threads", "Tomatoes on a balcony")
        page.wait_text("#title", "Tomatoes on a balcony")
        other.wait_text("#threads", "Tomatoes on a balcony")
        assert "Tomatoes on a balcony" in page.evaluate("document.title")
    finally:
        server.remove()
