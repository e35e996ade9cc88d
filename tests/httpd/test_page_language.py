# SPDX-License-Identifier: Apache-2.0
"""The language of the chat page: its texts, dates and numbers, and a page that runs from right to left."""
import datetime
import json

from model_server import DONE, Reply, answer, calls, finish, head, token, usage
from page import Page, PageServer

STRINGS = """export default {{ {} }};
"""
# A few of the texts; the others are in English.
ARABIC = {
    "conversations": "المحادثات", "newConversation": "محادثة جديدة", "search": "بحث", "writeMessage": "اكتب رسالة", "message": "رسالة",
    "send": "إرسال", "closeList": "إغلاق القائمة", "list.today": "اليوم", "copyAnswer": "نسخ الإجابة", "askAgain": "اسأل مرة أخرى",
    "steps": "الخطوات", "call.failed": "فشل · {time}", "tokens": "{n} رمز",
}


TEXTS = "performance.getEntriesByType('resource').map(one => one.name.split('/').pop()).filter(name => name.startsWith('strings.')).sort()"


def open_page(browser, server, locale, path="", **options):
    return Page(browser, browser.context(locale=locale, **options), server.url + path, signed_in=not path)


def test_texts_do_not_wait_for_the_scripts(browser, model):
    """The first thing that is seen has words, also while most files are still on their way: here they never come."""
    browser.expected = ["404"]
    server = PageServer(model).start()
    try:
        (server.root / "www/conversation.js").unlink()
        page = open_page(browser, server, "de", path="?")
        page.wait_text("#new span", "Neue Unterhaltung")
        assert page.find("#text").getAttribute("placeholder") == "Nachricht schreiben"
    finally:
        server.remove()


def numbers(page):
    def script(_request):
        yield head()
        yield token("Eintausend.")
        yield finish("length")
        yield usage(prompt=1000, completion=234)
        yield DONE
    return script


def test_german(browser, model, page_server):
    """Every text, the dates and the numbers; no word of English is left."""
    page_server.expect_log("AC0")
    page = open_page(browser, page_server, "de-AT")
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == ["de-AT", "ltr"]
    assert page.texts("#new span") == ["Neue Unterhaltung"] and page.find("#text").getAttribute("placeholder") == "Nachricht schreiben"
    assert page.evaluate(TEXTS) == ["strings.de.js", "strings.en.js", "strings.js"]     # the English ones come ahead for all
    assert page.evaluate("performance.getEntriesByType('resource').filter(one => one.name.endsWith('/config.json')).length") == 1
    page.check("german-empty")
    model.play(calls(("calculate", {"expression": "6 * 7"})), numbers(page))
    page.find("#text").fill("Tausend?")
    page.button("Senden").click()
    page.ended()
    page.wait_text(".note", "bei der Höchstlänge abgeschnitten")
    thousand = page.evaluate("new Intl.NumberFormat('de-AT').format(1234)")
    # The duration is the run's, which the page reads after the end of the answer.
    page.until(r"/\d,\d s|\d ms/.test(document.querySelector('.figures').textContent)")
    figures = page.texts(".figures")[0]
    assert thousand in figures or "Tokens" in figures, figures
    page.wait_text("#threads h3", "Heute")
    page.button("Schritte").click()
    page.wait_text(".steps-table", "Werkzeug")
    page.check("german")
    page.button("Tastenkürzel").click()
    page.wait("#keys[open]")
    assert "Strg" in page.texts("#keys kbd")
    page.check("german-shortcuts")
    page.keyboard().press("Escape")
    model.play(Reply(400, {"error": {"message": "No.", "code": "bad"}}))
    page.find("#text").fill("Noch einmal")
    page.button("Senden").click()
    page.wait_text(".failure", "Der Assistent ist")
    here = page_server.client.get("/threads?limit=1").json["data"][0]["updated_at"][:10]
    page.goto(f"{page_server.url}usage?from={here}&to={datetime.date.today() + datetime.timedelta(days=1)}&by=agent")
    page.wait_text("#scope", "Ihre eigenen Läufe")
    page.wait_text("#table", "Erstes Token, p95")
    page.check("german-usage")


def test_a_language_that_the_page_does_not_have(browser, page_server):
    """The first of the browser's languages that it has, else English, with dates and numbers of that language."""
    page = open_page(browser, page_server, "fr-FR")
    assert page.evaluate("document.documentElement.lang") == "en" and page.texts("#new span") == ["New conversation"]
    assert page.evaluate(TEXTS) == ["strings.en.js", "strings.js"]
    context = browser.context(locale="fr-FR")
    context.addInitScript({"content": "Object.defineProperty(navigator, 'languages', { get: () => ['fr-FR', 'de-CH', 'en'] })"})
    page = Page(browser, context, page_server.url)
    assert page.evaluate("document.documentElement.lang") == "de-CH" and page.texts("#new span") == ["Neue Unterhaltung"]


def test_a_language_of_the_administrator_from_right_to_left(browser, model, page_server):
    """config.json names it. Texts that it lacks are English; the page is mirrored, on a phone too."""
    www = page_server.root / "www"
    before = (www / "config.json").read_text()
    (www / "strings.ar.js").write_text(STRINGS.format(json.dumps(ARABIC, ensure_ascii=False)[1:-1]))
    (www / "config.json").write_text(json.dumps({"languages": ["ar", "../evil"]}))
    try:
        page = open_page(browser, page_server, "ar-EG")
        assert page.evaluate("[document.documentElement.lang, document.documentElement.dir]") == ["ar-EG", "rtl"]
        assert page.texts("#new span") == [ARABIC["newConversation"]]
        assert page.evaluate("document.querySelector('#theme').title") == "Light or dark"
        box = "document.querySelector('{}').getBoundingClientRect()"
        assert page.evaluate(f"{box.format('#sidebar')}.left > {box.format('#main')}.left")
        model.play(calls(("calculate", {"expression": "6 * 7"})),
                   answer("النتيجة هي **42**.\n\n- أولا\n- ثانيا\n\n```py\nprint(42)\n```\n\nEnglish here.\n"))
        page.find("#text").fill("ما هو 6 في 7؟")
        page.button(ARABIC["send"]).click()
        page.ended()
        page.wait("#threads a")
        directions = page.evaluate("[...document.querySelectorAll('.part > *')].map(node => getComputedStyle(node).direction)")
        assert directions == ["rtl", "rtl", "ltr", "ltr"]
        assert page.evaluate(f"{box.format('.bubble')}.left < {box.format('.prose')}.right - 200")
        page.check("mirrored")
        phone = open_page(browser, page_server, "ar-EG", viewport={"width": 360, "height": 720}, isMobile=True, hasTouch=True)
        phone.wait("#menu")
        assert phone.evaluate(f"{box.format('#menu')}.left > 200")
        phone.button(ARABIC["conversations"]).click()
        phone.until(f"getComputedStyle(document.querySelector('#sidebar')).transform === 'none' && "
                    f"Math.abs({box.format('#sidebar')}.right - innerWidth) < 1")
        phone.check("mirrored-phone-list")
    finally:
        (www / "config.json").write_text(before)
        (www / "strings.ar.js").unlink()
