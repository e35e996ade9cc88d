# SPDX-License-Identifier: Apache-2.0
"""All of a user's conversations in the page: saved as one file, and deleted."""
import json

import pytest

from page import Page, PageServer

SAVES = """(() => {
  window.saved = [];
  URL.createObjectURL = blob => { blob.text().then(text => window.saved.push(text)); return '#'; };
  HTMLAnchorElement.prototype.click = function () { window.named = this.download; };
})()"""
# The connection breaks once in the middle of a line.
BREAKS = """(() => {
  const own = window.fetch;
  window.asked = [];
  window.fetch = async (address, options) => {
    const response = await own(address, options);
    if (!String(address).includes('/me/export')) return response;
    window.asked.push(String(address));
    if (window.asked.length > 1) return response;
    const text = await response.text();
    return new Response(text.slice(0, text.length / 2 | 0), { headers: response.headers });
  };
})()"""


@pytest.fixture
def server(model):
    server = PageServer(model).start()
    yield server
    server.stop()
    bad = server.check_log()
    server.remove()
    assert not bad, "unexpected lines in httpd's log:\n" + "\n".join(bad)


def opened(browser, server, **options):
    page = Page(browser, browser.context(**options), server.url)
    page.find("#account").click()
    page.wait("#account-box")
    return page


@pytest.mark.parametrize("broken", [False, True])
def test_all_conversations_as_one_file(browser, server, broken):
    threads = [server.client.thread(title=f"Trip {n}") for n in range(3)]
    assert server.client.send(threads[0], "Where to?").status == 200
    page = opened(browser, server)
    page.evaluate(SAVES)
    if broken:
        page.evaluate(BREAKS)
    page.check("account")
    page.find("#account-save").click()
    page.wait_text("#account-state", "Saved.")
    page.until("window.saved.length === 1")
    lines = [json.loads(line) for line in page.evaluate("window.saved[0]").splitlines()]
    assert page.evaluate("window.named").endswith(".jsonl")
    assert {line["id"] for line in lines if line["object"] == "thread"} == set(threads) and lines[-1]["object"] == "end"
    assert [line["object"] for line in lines].count("message") == 2
    if broken:
        assert page.evaluate("window.asked.length") == 2


def test_everything_is_deleted_after_a_word_is_typed(browser, server):
    thread = server.client.thread(title="To be forgotten")
    assert server.client.send(thread, "Where to?").status == 200
    page = opened(browser, server)
    page.wait_text("#threads", "To be forgotten")
    assert page.find("#account-erase").isDisabled()
    page.find("#account-word").fill("delet")
    assert page.find("#account-erase").isDisabled()
    page.find("#account-word").fill("Delete")
    page.keyboard().press("Enter")
    page.wait("#account-receipt")
    shown = page.texts("#account-receipt dd")
    assert shown[:3] == ["1", "2", "0"] and shown[3].startswith("erasure_")
    assert server.client.get(f"/threads/{thread}").status == 404
    page.check("account-erased")
    page.find("#account-begin").click()
    page.until("!document.querySelector('#account-box') && document.querySelector('#threads-none:not([hidden])')")


def test_a_refusal_is_shown_and_nothing_is_lost(browser, server):
    thread = server.client.thread(title="Stays")
    page = opened(browser, server)
    page.evaluate("""(own => { window.fetch = (address, options) => options.method === 'DELETE'
      ? Promise.resolve(new Response('{"detail": "the store does not answer", "code": "store_timeout"}',
        { status: 504, headers: { 'Content-Type': 'application/problem+json' } })) : own(address, options); })(window.fetch)""")
    page.find("#account-word").fill("delete")
    page.find("#account-erase").click()
    page.wait_text("#account-state", "the store does not answer")
    assert not page.find("#account-erase").isDisabled() and server.client.get(f"/threads/{thread}").status == 200


def test_in_german(browser, server):
    page = opened(browser, server, locale="de-DE")
    page.wait_text("#account-box", "Alles löschen")
    page.check("account-german")
    page.find("#account-word").fill("löschen")
    assert not page.find("#account-erase").isDisabled()
