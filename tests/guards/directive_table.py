# SPDX-License-Identifier: Apache-2.0
"""The table of directives in src/front/config/config.c as Python objects, and the lines of docs/directives.md that
each row requires."""
import re

STRING = r'(?:NULL|"((?:[^"\\]|\\.)*)")'
VALUES = r'(\w+), (\w+), [\w.]+, ' + ", ".join([STRING] * 3)
CONTEXT = {"MOUNT": "server config, virtual host, `<Location>`", "SERVER": "server config", "MODEL": "`<AgentChatModel>`",
           "TOOL": "`<AgentChatTool>`", "MCP": "`<AgentChatMCP>`", "OPENAPI": "`<AgentChatOpenAPI>`",
           "WEBHOOK": "`<AgentChatWebhook>`", "AGENT": "`<AgentChatAgent>`"}
RANGES = ("INT", "NUMBER", "SIZE", "DURATION", "PERCENT")


class Row:
    """One directive: name ("<AgentChatModel" for a container), where, syntax, and values: (key, default, min, max)."""

    def __init__(self, name, where, syntax, values=(), shape=None):
        self.name, self.where, self.syntax, self.values, self.shape = name, where, syntax, list(values), shape

    @property
    def heading(self):
        return f"## \\{self.name}>" if self.name[0] == "<" else f"## {self.name}"

    def facts(self):
        """The lines of the manual that follow from the table; one that ends in "…" is a beginning."""
        close = ">" if self.name[0] == "<" else ""
        yield f"- Syntax: `{self.name} {self.syntax}{close}`"
        if close:
            yield "- Context: server config"
            return
        yield from self._default()
        yield from self._range()
        yield f"- Context: {CONTEXT[self.where]}" + (f", {CONTEXT['AGENT']}" if self.shape == "LIMITS" else "")

    def _default(self):
        given = [(key, default) for key, default, _, _ in self.values if default not in (None, "nan")]
        text = " ".join(f"{key}={default}" if key else default for key, default in given)
        yield f"- Default: `{text}`" if text else "- Default: none…"

    def _range(self):
        parts = [(key, low, high) for key, _, low, high in self.values if low and high]
        if parts:
            yield "- Range: " + ", ".join((f"{key} " if key else "") + f"`{low}` to `{high}`" for key, low, high in parts)


def rows(config_c):
    """All rows of the table, in its order."""
    config_c = re.sub(r"\n {8,}", " ", config_c)
    found = []
    for m in re.finditer(r'\bROW\("(\w+)", ' + VALUES + r',\s*"([^"]*)", "[^"]*"\)', config_c):
        name, where, shape, default, low, high, syntax = m.groups()
        limits = (low, high) if shape in RANGES else (None, None)
        found.append((m.start(), Row(name, where, syntax, [("", default, *limits)], shape)))
    for m in re.finditer(r'\bROW_OF_KEYS\(\s*"(\w+)", (\w+),\s*"([^"]*)", "[^"]*",((?:\s*KEY\([^)]*\),?)+)\)', config_c):
        keys = re.findall(r'KEY\("([^"]*)", ' + VALUES + r'\)', m[4])
        values = [(key, default or None, low or None, high or None) if shape in RANGES else (key, default or None, None, None)
                  for key, _, shape, default, low, high in keys]
        found.append((m.start(), Row(m[1], m[2], m[3], values)))
    for m in re.finditer(r'\bCONTAINER\("(<\w+)", (\w+), "([^"]*)",\s*"[^"]*"\)', config_c):
        found.append((m.start(), Row(m[1], m[2], m[3])))
    missed = len(re.findall(r"^ +(?:ROW|ROW_OF_KEYS|CONTAINER)\(", config_c, re.M)) - len(found)
    if missed:
        raise ValueError(f"{missed} rows of the table have a form that this does not read")
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def sections(manual):
    """(heading, lines) of each section of the manual that is about a directive."""
    parts = re.split(r"^(## (?:\\<)?AgentChat\w+>?)$", manual, flags=re.M)
    return [(parts[i], parts[i + 1].splitlines()) for i in range(1, len(parts), 2)]


def problems(config_c, manual):
    table, wrong = rows(config_c), []
    there = sections(manual)
    for row in table:
        mine = [lines for heading, lines in there if heading == row.heading]
        if len(mine) != 1:
            wrong.append(f"{row.heading[3:]} has {len(mine)} sections")
            continue
        facts = list(row.facts())
        for fact in facts:
            fits = (lambda line: line.startswith(fact[:-1])) if fact.endswith("…") else (lambda line: line == fact)
            if not any(fits(line) for line in mine[0]):
                wrong.append(f"{row.heading[3:]} does not say: {fact}")
        labels = [line.split(":")[0] for line in mine[0] if re.match(r"- (Syntax|Default|Range|Context):", line)]
        if len(labels) != len(facts):
            wrong.append(f"{row.heading[3:]} says more than the table does: {labels}")
        if "```apache" not in mine[0]:
            wrong.append(f"{row.heading[3:]} has no example")
    known, by_task = {row.heading for row in table}, manual.partition("# By task")[2].partition("\n# ")[0]
    names = [name.replace("&lt;", "<").rstrip(">") for name in re.findall(r"\[([^\]]+)\]\(#agentchat", by_task)]
    wrong += [f"{row.heading[3:]} is not listed once by task" for row in table if names.count(row.name) != 1]
    wrong += [f"{heading[3:]} does not exist" for heading, _ in there if heading not in known]
    return len(table), wrong
