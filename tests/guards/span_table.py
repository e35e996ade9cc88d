# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/traces.md from src/base/span_table.h: python3 tests/guards/span_table.py docs/traces.md"""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ROW = re.compile(r'^/\* ([^*\n]+) \*/$|^AC_(SPAN|ATTRIBUTE)\((.*?)\)$', re.M | re.S)
TITLES = {"spans": "| span | kind | since | what it is |\n|---|---|---|---|\n",
          "attributes": "| attribute | type | spans | since | what it has | earlier name |\n|---|---|---|---|---|---|\n"}


def rows(table):
    """(title of its part, line of the page, the attribute's id or None) of each row."""
    title = "spans"
    for heading, kind, text in ROW.findall(table.split("/* clang-format off */")[1]):
        if heading and heading != "clang-format on":
            title = heading
        if not kind:
            continue
        words = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\w+)', text)]
        if kind == "SPAN":
            _, what, name, since, help_text = words
            yield title, f"| `{name}` | {what.lower()} | {since} | {help_text} |", None
        else:
            key, name, what, old, spans, since, help_text = [""] * (7 - len(words)) + words
            earlier = f" `{old}` " if old else " "
            yield title, f"| `{name}` | {what.lower()} | {spans.lower()} | {since} | {help_text} |{earlier}|", key


def page(table, text):
    """The page with its tables, each below the heading of its part, as the source has them."""
    parts = {}
    for title, line, key in rows(table):
        parts.setdefault((title, "attributes" if key else "spans"), []).append(line)
    for (title, kind), mine in parts.items():
        text, n = re.subn(rf"(^## {title[0].upper()}{title[1:]}$.*?)^\| (?:span|attribute) \|.*?(?=\n\n|\Z)",
                          lambda m: m[1] + TITLES[kind] + "\n".join(mine), text, count=1, flags=re.M | re.S)
        if n != 1:
            raise SystemExit(f"the page has no table below '## {title}'")
    return text


def problems(table, text, code):
    """How many rows there are, and what is wrong with them or with the page."""
    found = list(rows(table))
    wanted, there = [line for _, line, _ in found], re.findall(r"^\| `[\w.{} ]+` \| \w+ \|.*$", text, re.M)
    wrong = [f"docs/traces.md lacks: {line}" for line in wanted if line not in there]
    wrong += [f"docs/traces.md has: {line}" for line in there if line not in wanted]
    if wrong:
        wrong.append("write the tables again: python3 tests/guards/span_table.py docs/traces.md")
    for _, line, key in found:
        name = line.split("`")[1]
        if key and key != re.sub(r"\W", "_", name).upper():
            wrong.append(f"the id of {name} is {key}")
        if key and not re.search(rf"\bAC_ATTRIBUTE_{key}\b", code):
            wrong.append(f"nothing sets AC_ATTRIBUTE_{key}")
    if len(wanted) != len(re.findall(r"^AC_(?:SPAN|ATTRIBUTE)\(", table, re.M)):
        wrong.append("a row of src/base/span_table.h has a form that span_table.py does not read")
    return len(wanted), wrong


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page((TOP / "src/base/span_table.h").read_text(), path.read_text()))
