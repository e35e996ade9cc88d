# SPDX-License-Identifier: Apache-2.0
"""The page /chat/usage: totals, charts, table and CSV; its empty, loading and failed states; who sees what."""
import csv
import io
import re
from datetime import datetime, timedelta, timezone

import pytest

from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from model_server import Reply, answer
from page import KEYED, Page, PageServer



def usage_page(browser, server, query="", **options):
    return Page(browser, browser.context(**options), f"{server.url}usage{query}", signed_in=False)


@pytest.fixture
def used(page_server, model):
    """The server of the page, with some runs today."""
    for n in range(3):
        model.play(answer("Hello", prompt=1200 + n, completion=80, cached=400, reasoning=10))
        assert page_server.client.send(page_server.client.thread(), f"question {n}").status == 200
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no", "code": "bad"}})]))
    page_server.expect_log("AC0503")
    page_server.client.send(page_server.client.thread(), "refused")
    return page_server


def total_runs(page):
    return int(page.find("tfoot td").first().textContent().replace(",", ""))


def test_totals_charts_and_table(browser, used):
    page = usage_page(browser, used)
    page.wait("tfoot td")
    runs = used.client.get("/usage").json["totals"]["runs"]
    assert total_runs(page) == runs
    page.check("usage")
    assert len(page.texts(".chart")) == 4 and page.find(".chart .bar").count() >= 4
    for label in page.evaluate("[...document.querySelectorAll('.chart')].map(one => one.getAttribute('aria-label'))"):
        assert "The table has the figures." in label
    assert page.find("#errors-list code").first().textContent() == "model_error"
    page.find("#by").selectOption("agent")
    page.wait_text("tbody th", "assistant")
    assert total_runs(page) == runs and re.search(r"[?&]by=agent", page.url())
    page.check("usage-agents")


def test_phone(browser, used):
    page = usage_page(browser, used, viewport={"width": 390, "height": 844}, isMobile=True, hasTouch=True)
    page.wait("tfoot td")
    page.check("usage-phone")
    assert page.evaluate("document.querySelector('.chart').getBoundingClientRect().width") <= 390


def test_periods(browser, used):
    page = usage_page(browser, used, "?from=2024-01-01&to=2024-01-31&by=model")
    page.wait_text("#state", "No run has ended in this period.")
    assert not page.find("#result").isVisible() and page.find("#by").inputValue() == "model"
    page.check("usage-empty")
    page.find("#period").selectOption("7")
    page.wait("tfoot td")
    today = datetime.now(timezone.utc).date()
    assert page.find("#to").inputValue() in (str(today), str(today + timedelta(days=1)))
    page.find("#from").fill("2030-01-02")
    page.find("#to").fill("2030-01-01")
    browser.expected = ["400"]
    page.button("Show").click()
    page.wait_text("#state", "From is after to.")
    assert page.find("#period").inputValue() == "" and not page.find("#again").isVisible()


def test_csv(browser, used):
    page = usage_page(browser, used)
    page.wait("tfoot td")
    # What the click saves, instead of a file.
    page.evaluate("""window.saved = new Promise(resolve => {
      HTMLAnchorElement.prototype.click = function () { resolve(fetchText(this.href, this.download)); };
      const made = URL.createObjectURL;
      URL.createObjectURL = blob => { window.blob = blob; return made(blob); };
      const fetchText = async (href, name) => ({ name, text: await window.blob.text() });
    }), 0""")
    page.button("Download CSV").click()
    saved = page.evaluate("window.saved")
    rows = list(csv.DictReader(io.StringIO(saved["text"], newline="")))
    assert saved["name"].startswith("usage_") and sum(int(row["runs"]) for row in rows) == total_runs(page)


def test_a_server_that_fails_and_comes_back(browser, used):
    page = usage_page(browser, used)
    page.wait("tfoot td")
    browser.expected = ["Failed to load resource"]
    page.context.setOffline(True)
    page.button("Show").click()
    page.wait_text("#state", "cannot be reached")
    assert not page.find("#result").isVisible()
    page.check("usage-error")
    page.context.setOffline(False)
    page.button("Try again").click()
    page.wait("tfoot td")
    assert not page.find("#state").isVisible()


def test_sign_in_and_who_sees_what(browser, model):
    server = PageServer(model, mount=KEYED, modules=KEY_MODULES)
    keys = KeyFile(server.root / "keys")
    ann, chief = keys.make("ann-1", "owner=ann"), keys.make("chief-1", "owner=chief", "roles=admin")
    odd = keys.make("odd-1", "owner==1+1 <b>odd</b>")
    server.start()
    try:
        for key in (ann, odd):
            said = server.client.request("POST", "/chat", {"message": "Hello", "stream": False}, headers={"X-API-Key": key})
            assert said.status == 200
        browser.expected = ["401"]
        page = usage_page(browser, server, "?by=owner")
        page.wait("#sign-in[open]")
        page.check("usage-sign-in")
        page.find("#key").fill(ann)
        page.button("Sign in").click()
        page.wait("tfoot td")
        assert page.texts("#scope") == ["Your own runs"] and page.texts("tbody th") == ["ann"]
        page = usage_page(browser, server, "?by=owner")
        page.wait("#sign-in[open]")
        page.find("#key").fill(chief)
        page.button("Sign in").click()
        page.wait("tfoot td")
        page.find("#by").selectOption("owner")
        page.wait_text("tbody th", "ann")
        assert sorted(page.texts("tbody th")) == ["=1+1 <b>odd</b>", "ann"] and page.texts("#scope") == ["All owners"]
    finally:
        server.stop()
        problems = server.check_log()
        server.remove()
    assert not problems, problems


def test_from_the_chat_page_and_back(page, used):
    page.find("#usage").click()
    page.wait("tfoot td")
    page.find("header a").click()
    page.find("#agent option").first().waitFor({"state": "attached"})
