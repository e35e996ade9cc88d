# SPDX-License-Identifier: Apache-2.0
"""Reads a file of requests in the format of REST clients (### between them, @name = value, {{name}}), and sends them in order.
A comment has the expected answer: # → STATUS [CONTENT-TYPE][: TEXT … TEXT].

    python3 tests/httpd/http_file.py tests/demo.http            all of it, against the file's own @host
"""
import json
import re
import sys
from urllib.parse import urlsplit

from client import Connection


class Step:
    """One request: title, name, method, url, headers, body; and what is expected: status, kind, texts."""

    def __init__(self, title, text):
        self.title, self.name, self.expected = title.strip(), None, None
        lines = text.splitlines()
        while lines and (not lines[0].strip() or lines[0].startswith("#")):
            self._comment(lines.pop(0))
        self.method, self.url = lines.pop(0).split()
        self.headers = {}
        while lines and lines[0].strip():
            name, _, value = lines.pop(0).partition(":")
            self.headers[name.strip()] = value.strip()
        self.body = "\n".join(lines).strip()

    def _comment(self, line):
        if m := re.match(r"# @name (\w+)$", line):
            self.name = m[1]
        elif m := re.match(r"# → (\d{3})(?: ([a-z]+/[a-z+-]+))?(?:: (.+))?$", line):
            self.expected = (int(m[1]), m[2] or "application/json", m[3].split(" … ") if m[3] else [])


def read(path):
    """(variables, steps)"""
    head, *parts = re.split(r"^###", path.read_text(), flags=re.M)
    variables = dict(re.findall(r"^@(\w+) = (.*)$", head, re.M))
    return variables, [Step(*part.split("\n", 1)) for part in parts]


class Session:
    """Sends steps; later ones can use the answer of a named one."""

    def __init__(self, variables):
        self.variables, self.answers = variables, {}

    def fill(self, text):
        while "{{" in text:
            text = re.sub(r"\{\{([^{}]+)\}\}", lambda m: self._value(m[1].strip()), text)
        return text

    def _value(self, name):
        if name in self.variables:
            return self.variables[name]
        step, _, rest = name.partition(".response.")
        answer = self.answers[step]
        if rest.startswith("headers."):
            return answer.headers[rest[8:].lower()]
        value = answer.json
        for part in re.findall(r"[\w-]+", rest[len("body.$"):]):
            value = value[int(part) if isinstance(value, list) else part]
        return value if isinstance(value, str) else json.dumps(value)

    def send(self, step):
        url = urlsplit(self.fill(step.url))
        with Connection(url.port or 80, url.hostname) as connection:
            headers = {name: self.fill(value) for name, value in step.headers.items()}
            target = url.path + ("?" + url.query if url.query else "")
            body = self.fill(step.body).encode() if step.body else None
            answer = connection.request(step.method, target, body, {**headers, "Connection": "close"})
        if step.name:
            self.answers[step.name] = answer
        return answer


def problem(step, answer):
    """What the answer is not, or None."""
    status, kind, texts = step.expected
    if answer.status != status:
        return f"status {answer.status}, not {status}: {answer!r}"
    has = answer.headers.get("content-type", "").split(";")[0]
    if has != kind and answer.body:
        return f"{has}, not {kind}"
    body, at = answer.body.decode(), 0
    for text in texts:
        if (found := body.find(text, at)) < 0:
            return f"no {text} where it should be: {body[:3000]}"
        at = found + len(text)
    return None


if __name__ == "__main__":
    from pathlib import Path
    given, steps = read(Path(sys.argv[1]))
    session = Session(given)
    n_wrong = 0
    for each in steps:
        wrong = problem(each, session.send(each))
        n_wrong += wrong is not None
        print(f"{'FAILED' if wrong else 'ok':6} {each.method:7} {each.title}" + (f"\n       {wrong}" if wrong else ""))
    sys.exit(1 if n_wrong else 0)
