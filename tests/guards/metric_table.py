# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/metrics.md from src/base/metrics_table.h: python3 tests/guards/metric_table.py docs/metrics.md"""
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
UNITS = {"_seconds": "seconds", "_bytes": "bytes"}
HEAD = "| metric | type | labels | since | what it counts |\n|---|---|---|---|---|\n"


def domains(table):
    return dict(re.findall(r'AC_METRIC_DOMAIN\((\w+),\s+"([^"]*)"', table))


def rows(table):
    """(name, type, labels, since, help) of each metric, with the title of its part."""
    labels, title, found = domains(table), "", []
    for heading, name, kind, parts, since, text in re.findall(
            r'^/\* ([^*\n]+) \*/$|^AC_METRIC\(\w+, "(\w+)", (\w+), \w+, \w+, \d,\s+([\w, ]+),\s*"([\d.]+)",\s*"([^"]*)"\)', table, re.M):
        title = heading or title
        if name:
            words = " ".join(labels[part] for part in parts.split(", ")).split()
            found.append((title, name, kind.lower(), words, since, text))
    return found


def lines(table):
    for _, name, kind, words, since, text in rows(table):
        yield f"| `{name}` | {kind} | {', '.join(f'`{word}`' for word in words)} | {since} | {text} |".replace("|  |", "| |")


def names(table):
    """A line for each name of the conventions."""
    own = dict(re.findall(r'^AC_METRIC\((\w+), "(\w+)"', table, re.M))
    for metric, value, name in re.findall(r'^AC_METRIC_NAME\((\w+),\s+"(\w*)",\s+"([\w.]+)"\)', table, re.M):
        yield f"| `{name}` | `{own[metric]}`{f' of {value}' if value else ''} |"


def wrong_names(table, text):
    """What the page's names of the conventions lack."""
    found = list(names(table))
    wrong = [] if found == re.findall(r"^\| `gen_ai.*$", text, re.M) else ["docs/metrics.md has other names of the conventions"]
    if len(found) != len(re.findall(r"^AC_METRIC_NAME\(", table, re.M)):
        wrong.append("a name of src/base/metrics_table.h has a form that metric_table.py does not read")
    return wrong


def page(table, text):
    """The page with its tables, each below the heading of its part, as the source has them."""
    parts = {}
    for (title, *_), line in zip(rows(table), lines(table)):
        parts.setdefault(title, []).append(line)
    for title, mine in parts.items():
        text, n = re.subn(rf"(^## {title[0].upper()}{title[1:]}$.*?)^\| metric .*?(?=\n\n|\Z)",
                          lambda m: m[1] + HEAD + "\n".join(mine), text, count=1, flags=re.M | re.S)
        if n != 1:
            raise SystemExit(f"the page has no table below '## {title}'")
    return re.sub(r"(?<=\n)\| `gen_ai.*?(?=\n\n|\Z)", "\n".join(names(table)), text, count=1, flags=re.S)


def problems(table, text):
    """How many rows there are, and what is wrong with them or with the page."""
    wanted, there = list(lines(table)), re.findall(r"^\| `\w+` \|.*$", text, re.M)
    wrong = [f"docs/metrics.md lacks: {line}" for line in wanted if line not in there]
    wrong += [f"docs/metrics.md has: {line}" for line in there if line not in wanted]
    wrong += wrong_names(table, text)
    if wrong:
        wrong.append("write the tables again: python3 tests/guards/metric_table.py docs/metrics.md")
    if len(wanted) != len(re.findall(r"^AC_METRIC\(", table, re.M)):
        wrong.append("a row of src/base/metrics_table.h has a form that metric_table.py does not read")
    return len(wanted), wrong


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(page((TOP / "src/base/metrics_table.h").read_text(), path.read_text()))
