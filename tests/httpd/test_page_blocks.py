# SPDX-License-Identifier: Apache-2.0
"""Colours of code and formulas on the chat page: their libraries come when the first of them is there."""
import json

from model_server import DONE, Gate, answer, finish, head, token, usage
from page import LOADED

PYTHON = 'def area(r):\n    # of a circle\n    return 3.14 * r ** 2\n\n\ntext = """one\ntwo"""\nprint(area(2))\n'
MATHS = r"""The roots are \( x_{1,2} = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a} \) of it.

\[
\begin{aligned}
\int_0^\infty e^{-x^2}\,dx &= \frac{\sqrt{\pi}}{2} \\
\sum_{n=1}^{\infty} \frac{1}{n^2} &= \frac{\pi^2}{6}
\end{aligned}
\]

$$ \boldsymbol{A} = \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}, \qquad \sideset{_1^2}{_3^4}\prod, \quad \pmb{x}, \cancel{y} $$

Wrong: \( \frac{1 \) and \( \nosuchcommand{x} \).
"""
HOSTILE = [r"\href{javascript:window.owned=1}{x}", r"\includegraphics{https://evil.example/x.png}", r"\url{javascript:window.owned=1}",
           r"\class{turn}{x}", r"\style{position:fixed}{x}", r"\def\a{\a\a}\a", r"\def\b#1{#1#1#1#1#1#1#1#1#1#1}\b{\b{\b{\b{\b{x}}}}}",
           r"\rule{1000000em}{1000000em}", "{" * 4000 + "x" + "}" * 4000, r"\text{<img src=x onerror=window.owned=1>}",
           r"\sqrt{" * 500 + "x" + "}" * 500]


def code(page):
    """The text of the code, and the words of each colour."""
    return page.evaluate("[...document.querySelectorAll('.prose pre')].map(pre => [...pre.children].map(one => one.textContent).join(''))")


def coloured(page, kind):
    return page.texts(f".prose pre .hl-{kind}")


def test_code_gets_its_colours_while_it_comes(page, model):
    """Line by line, with states that span lines; the text is the same with them and without."""
    gates = [Gate(), Gate()]

    def script(_request):
        yield head()
        yield token("No code.\n\n")
        yield gates[0]
        for i in range(0, len(PYTHON), 5):
            yield token(("```python\n" if i == 0 else "") + PYTHON[i:i + 5])
        yield gates[1]
        yield token("```\n\nThat is all.")
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    page.send("Code, please")
    page.wait_text(".prose", "No code.")
    assert not page.evaluate(LOADED.format("highlight|syntax|temml|formula"))
    gates[0].open()
    page.until("[...document.querySelectorAll('.hl-string')].some(node => node.textContent.includes('two'))")
    page.wait_text(".prose pre", "print(area(2))")
    assert page.evaluate("Boolean(document.querySelector('.writing'))")
    assert coloured(page, "keyword") == ["def", "return"] and coloured(page, "comment") == ["# of a circle"]
    page.check("code-growing")
    gates[1].open()
    page.ended()
    assert code(page) == [PYTHON.rstrip("\n")]
    page.check("code")
    page.context.grantPermissions(["clipboard-read", "clipboard-write"])
    page.button("Copy code").click()
    page.until(f"navigator.clipboard.readText().then(text => text === {json.dumps(PYTHON.rstrip(chr(10)))})")
    page.reload()
    page.ended()
    page.until("document.querySelectorAll('.hl-keyword').length === 2")
    assert code(page) == [PYTHON.rstrip("\n")] and coloured(page, "comment") == ["# of a circle"]
    assert not page.evaluate(LOADED.format("temml|formula"))
    defined = "import('./highlight.js').then(({ default: hljs }) => hljs.listLanguages())"
    assert page.evaluate(defined) == ["python"], "a language is defined that no code has: to define all takes longer than a frame"


def test_long_code_and_unknown_languages(page, model):
    """A long block is coloured part by part; a string that is open at the end of a part stays one. What is not known stays plain."""
    long = 'x = """\n' + "".join(f"line {n} of a text\n" for n in range(150)) + '"""\n' + "".join(f"v{n} = {n}\n" for n in range(400))
    wide = "y = '" + "a" * 5000 + "'\n"
    model.play(answer(f"```py\n{long}```\n\n```nosuch\nif x\n```\n\n```\nreturn\n```\n\n",
                      f"```js\n{wide}return 1\n```\n\n- in a list\n  ```sh\n  # x\n  ```\n"))
    page.send("Much code, please")
    page.ended()
    page.until("[...document.querySelectorAll('.hl-number')].some(node => node.textContent === '399')")
    page.until("document.querySelectorAll('.hl-comment').length === 1")
    first, *others = code(page)
    assert first.replace("\n", "") == long.replace("\n", "") and others == ["if x", "return", f"{wide}return 1", "# x"]
    strings = page.evaluate("[...document.querySelector('.prose pre').querySelectorAll('.hl-string')].map(one => one.textContent).join('')")
    assert strings.startswith('"""') and "line 149" in strings and "v0" not in strings
    page.reload()
    page.ended()
    page.until("[...document.querySelectorAll('.hl-number')].some(node => node.textContent === '399')")
    assert code(page)[0].replace("\n", "") == long.replace("\n", "")


def test_formulas_are_drawn(page, model):
    """As MathML, when they are complete; one that is wrong stays as it was written."""
    gate = Gate()

    def script(_request):
        yield head()
        yield token(MATHS[:60])
        yield gate
        for i in range(60, len(MATHS), 7):
            yield token(MATHS[i:i + 7])
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    page.send("Maths, please")
    page.wait_text(".writing .formula", r"\( x_{1,2} = \frac{-b \pm \sqrt{b^2")
    assert page.find("math").count() == 0
    gate.open()
    page.ended()
    page.until("document.querySelectorAll('.prose math').length === 3")
    assert page.evaluate("document.querySelectorAll('.prose mfrac').length") == 4
    assert page.find(".formula.display:not([tabindex])").count() == 2
    left = page.evaluate("[...document.querySelectorAll('.formula:not(:has(math))')].map(node => node.textContent)")
    assert left == [r"\( \frac{1 \)", r"\( \nosuchcommand{x} \)"]
    page.check("formulas")
    page.reload()
    page.ended()
    page.until("document.querySelectorAll('.prose math').length === 3")
    assert not page.evaluate(LOADED.format("highlight|syntax"))


def test_hostile_formulas(page, model):
    """No address, no class and no style of a model; no formula takes much time or room."""
    model.play(answer("\n\n".join(f"\\( {formula} \\)" for formula in HOSTILE)))
    page.send("Attack")
    page.ended()
    page.until(f"{LOADED.format('temml.js')}.length > 0 && document.querySelectorAll('.formula').length >= {len(HOSTILE) - 1}")
    page.evaluate("import('./formula.js')")
    assert page.evaluate("window.owned") is None
    inside = page.evaluate("[...document.querySelectorAll('.formula *')].flatMap(node => [...node.attributes].map(one => one.name))")
    assert not set(inside) & {"href", "src", "onerror", "style:position"}, set(inside)
    assert not page.evaluate("document.querySelector('.formula :is(a, img, [href], .turn)')")
    assert page.evaluate("[...document.querySelectorAll('.formula *')].every(node => node.style.position !== 'fixed')")


def test_characters_by_name(page, model, page_server, browser):
    """The frequent ones at once. For others a file is loaded; if it cannot be had, the name stays as it is written."""
    def script(_request):
        yield head()
        for piece in ("21&deg;C &am", "p; `&eacute;` &constructor; &nosuch; x\n\n", "- Caf&eac",
                      'ute; [1] [x](https://a.example/ "&uuml;")\n'):
            yield token(piece)
        yield finish()
        yield usage()
        yield DONE
    file, away = page_server.root / "www/entities.js", page_server.root / "www/entities.away"
    browser.expected = ["404"]
    model.play(answer("21&deg;C"), script)
    page.send("Frequent")
    page.ended()
    assert page.answer() == "21°C" and not page.evaluate(LOADED.format("entities"))
    file.rename(away)
    try:
        page.send("Others")
        page.ended(2)
        page.until(f"{LOADED.format('entities')}.length === 3")
        page.wait_text(".prose li", "Caf&eacute;")
    finally:
        away.rename(file)
    page.reload()
    page.wait_text(".prose li", "Café [1]")
    assert page.find(".prose li a").getAttribute("title") == "ü"
    assert page.texts(".prose p")[1] == "21°C & &eacute; &constructor; &nosuch; x"
