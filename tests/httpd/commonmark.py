# SPDX-License-Identifier: Apache-2.0
"""CommonMark's own examples, and their HTML as made by tests/browser/commonmark.js."""
import re

import peers
from browser import SOURCE

BLOCK = r"(?:p|h\d|ul|ol|li|blockquote|pre|hr)"
# What the page does on purpose: it links a bare address, and makes no link to an address that it does not know as safe.
OTHERWISE = {
    "https://example.com\n": '<p><a href="https://example.com">https://example.com</a></p>',
    "< https://foo.bar >\n": '<p>&lt; <a href="https://foo.bar">https://foo.bar</a> &gt;</p>',
    "<https://foo.bar/baz bim>\n": '<p>&lt;<a href="https://foo.bar/baz">https://foo.bar/baz</a> bim&gt;</p>',
    **{f"<{address}>\n": f"<p>&lt;{address}&gt;</p>" for address in (
        "irc://foo.bar:2233/baz", "a+b+c:d", "made-up-scheme://foo,bar", "localhost:5001/foo")},
}


def canonical(html):
    """Without the line ends between blocks; each one within a paragraph is <br>."""
    html = re.sub(r'<img src="(.*?)" alt="(.*?)"( title=".*?")? />',
                  lambda found: f'<a href="{found[1]}"{found[3] or ""}>{found[2] or found[1]}</a>', html)
    html = re.sub(r"(<a [^>]*>)([^<]*)<a [^>]*>([^<]*)</a>", r"\1\2\3", html)      # no link within a link
    html = html.replace("<hr />", "<hr>").replace("<br />\n", "<br>").replace("\n</code></pre>", "</code></pre>")
    parts = re.split(r"(<pre>.*?</pre>)", html, flags=re.S)
    parts[::2] = [re.sub(rf"\n?(</?{BLOCK}\b[^>]*>)\n?", r"\1", part).strip("\n") for part in parts[::2]]
    parts[::2] = [re.sub(r"\n(?![^<>]*>)", "<br>", part) for part in parts[::2]]
    return "".join(parts)


def examples():
    """[(number, Markdown, HTML)] of the specification, but those with raw HTML."""
    text = (peers.install(SOURCE) / "commonmark-spec/spec.txt").read_text()
    found = re.findall(r"^#+ ([^\n]*)$|^`{32} example\n(.*?)^\.\n(.*?)^`{32}$", text.replace("→", "\t"), re.M | re.S)
    section, number = "", 0
    for heading, markdown, html in found:
        section, number = heading or section, number + (not heading)
        is_raw = section in ("HTML blocks", "Raw HTML") or any(tag in markdown for tag in re.findall(r"</?[a-zA-Z!?][^<>]*>", html))
        if not heading and not is_raw:
            yield number, markdown, OTHERWISE.get(markdown) or canonical(html)
