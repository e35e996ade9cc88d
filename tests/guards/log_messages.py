# SPDX-License-Identifier: Apache-2.0
"""Writes docs/log-messages.md from src/base/messages.h: python3 tests/guards/log_messages.py > docs/log-messages.md"""
import re
from pathlib import Path

PARTS = [(100, "Base and loop"), (200, "Stores, credentials and limits"), (300, "Models"), (400, "Tools"), (500, "Runs"), (600, "httpd")]

HEAD = """# Log messages

Every line of level info and above that the running module writes to httpd's error log has a number, such as
`AC0202:`. Numbers are never reused. Lines below info have no number; nor do httpd's own messages about a wrong
configuration before it starts. `LogLevel warn agentchat:info` shows all numbered lines; `agentchat:debug` adds the
states of each run and each exchange with a model or a tool. No line contains messages, keys or tokens.

| level | who has to act |
|---|---|
| error | an operator, now |
| warning | an operator, if it is repeated: something failed, and the module handled it |
| notice | no one; httpd logs these lines whatever `LogLevel` says |
| info | no one |

This page is generated from the table in `src/base/messages.h`.
"""


def rows(messages_h):
    """(number, level, meaning, remedy) of each message."""
    text = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
    for number, level, *texts in re.findall(rf"AC_MESSAGE\((\d+), AC_(\w+),\s*{text},\s*{text}\)", messages_h):
        joined = ["".join(re.findall(r'"((?:[^"\\]|\\.)*)"', each)).replace('\\"', '"') for each in texts]
        yield int(number), level.lower(), *joined


def page(messages_h):
    table = sorted(rows(messages_h))
    lines = [HEAD]
    for first, title in PARTS:
        mine = [row for row in table if first <= row[0] < first + 100]
        if mine:
            lines.append(f"## {title}\n\n| number | level | meaning | remedy |\n|---|---|---|---|")
            lines += [f"| AC{number:04d} | {level} | " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"
                      for number, level, *texts in mine]
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page((Path(__file__).resolve().parents[2] / "src/base/messages.h").read_text()), end="")
