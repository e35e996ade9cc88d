# SPDX-License-Identifier: Apache-2.0
"""The guard of the chat page's texts. guards.py says what a guard is."""
import re

TEXT = r"(?:'(?:[^'\\]|\\.)*'|\{[^{}]*(?:\{\w+\}[^{}]*)*\})"
LIBRARIES = {"markdown-it.js", "entities.js", "highlight.js", "temml.js"}
# The client is a library of its own, whose texts are for operators; a DOMException is never shown. The widget is a file of its own on
# other sites, and has its three texts itself.
OPERATORS = {"agentchat.js", "widget.js"}
WORDS = re.compile(r"(?<!DOMException\()(?<=[\s([{,?:])(['`])((?:[A-Za-z“]|\$\{)[^'`\n]* [a-z]{2}[^'`\n]*)\1")
CODE = re.compile(r"[;=]|^[a-z. -]*[.#>[]|^(?:[a-z-]+ )?(?:min|max)-|application/|\(|^noopener|^bar ")


def texts(path):
    """Key to text, as it is in the file."""
    return dict(re.findall(rf"^  '([\w.]+)': ({TEXT}),$", path.read_text(), re.M))


def page_strings(top):
    """Each language has the same keys with the same places for values; each key that the page names exists, and each is named.
    No other file of the page has words for its user. strings.PART.en.js has the texts of a part that is loaded later."""
    folder = top / "src/www"
    languages = {path.name: texts(path) for path in sorted({*folder.glob("strings.??.js"), *folder.glob("strings.*.??.js")})}
    english, wrong = {}, []
    for name, found in languages.items():
        same = languages[re.sub(r"\.\w+\.js$", ".en.js", name)]
        wrong += [f"{name}: {key} is in one language only" for key in sorted(found.keys() ^ same.keys())]
        wrong += [f"{name}: {key} has other places for values than in English" for key in sorted(found.keys() & same.keys())
                  if set(re.findall(r"\{(\w+)\}", found[key])) != set(re.findall(r"\{(\w+)\}", same[key]))]
        wrong += [f"{name}: {key} is in two files" for key in sorted(found.keys() & english.keys()) if same is found]
        english |= found if same is found else {}
        lines = len(re.findall(r"^  '", (folder / name).read_text(), re.M))
        wrong += [f"{name}: {lines} texts, of which {len(found)} can be read"] if lines != len(found) else []
    named, families = set(), set()
    for path in sorted({*folder.glob("*.js"), *folder.glob("*.html")}):
        if path.name in LIBRARIES or path.name in languages:
            continue
        source = path.read_text()
        named |= set(re.findall(r"data-(?:t|label|hint)=\"([\w.]+)\"", source))
        named |= {key for key in re.findall(r"['`]([\w.]+)['`]", source) if key in english}
        families |= set(re.findall(r"`([\w.]+\.)\$\{", source))
        wrong += [f"{path.name}: there is no text {key}" for key in re.findall(r"\bt\('([\w.]+)'", source) if key not in english]
        wrong += [f"{path.name}: there is no text {key}" for key in re.findall(r"data-(?:t|label|hint)=\"([\w.]+)\"", source)
                  if key not in english]
        if path.suffix == ".html":
            body = re.sub(r"<noscript>.*", "", source[source.index("<body"):], flags=re.S)
            body = re.sub(r"<!--.*?-->|<svg.*?</svg>", "", body, flags=re.S)
            said = re.findall(r">([^<>]*[A-Za-z][^<>]*)<|\b(?:aria-label|title|placeholder)=\"([^\"]*)\"", body)
            wrong += [f"{path.name}: {''.join(words).strip()!r} is not in the texts" for words in said]
        elif path.name not in OPERATORS:
            code = re.sub(r"/\*.*?\*/|(?<![:'\"])//[^\n]*", "", source, flags=re.S)
            wrong += [f"{path.name}: {words!r} is not in the texts" for _, words in WORDS.findall(code) if not CODE.search(words)]
            wrong += [f"{path.name}: {words!r} is not in the texts"
                      for words in re.findall(r"(?:\btext|'aria-label'|\btitle|placeholder): '([A-Za-z][^']*)'", code)]
    wrong += [f"nothing names the text {key}" for key in sorted(english)
              if key not in named and not any(key.startswith(family) for family in families)]
    return sum(len(found) for found in languages.values()), wrong
