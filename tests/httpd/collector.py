# SPDX-License-Identifier: Apache-2.0
"""A scripted collector: keeps what it is sent, and answers as a test says."""
import ast
import gzip
import json
import shutil
import subprocess
import threading
from pathlib import Path

from client import WAIT
from runs import wait_until
from scripted_server import ScriptedServer

HERE = Path(__file__).parent
PROTOC = shutil.which("protoc")
NO_PROTOC = "no protoc; conf/packages.sh check installs it"


class Export:
    def __init__(self, target, headers, body):
        self.target, self.headers = target, headers
        self.body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.is_json = headers.get("content-type") == "application/json"
        self.json = json.loads(self.body) if self.is_json else None

    def text(self, message="ExportTraceServiceRequest"):
        """A protobuf body as protoc shows it."""
        return decode(self.body, message)

    def spans(self):
        return [span for group in self.json["resourceSpans"] for scope in group["scopeSpans"] for span in scope["spans"]]

    def resource(self):
        return attributes(self.json["resourceSpans"][0]["resource"])


def decode(body, message="ExportTraceServiceRequest"):
    done = subprocess.run([PROTOC, f"-I{HERE}", f"--decode=otlp.{message}", "otlp.proto"], input=body, capture_output=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def unknown_fields(text):
    """Lines of what protoc shows whose fields the definition does not have: values and messages with a number for a name."""
    return [line for line in text.splitlines() if line.lstrip()[:1].isdigit()]


def read_text(text):
    """What protoc shows as {name: [value]}. A message is such a dictionary too, and ids are hexadecimal as in JSON."""
    nesting = [{}]
    for line in map(str.strip, text.splitlines()):
        if line.endswith(" {"):
            nesting[-1].setdefault(line[:-2], []).append({})
            nesting.append(nesting[-1][line[:-2]][-1])
        elif line == "}":
            nesting.pop()
        else:
            name, _, value = line.partition(": ")
            nesting[-1].setdefault(name, []).append(text_value(name, value))
    return nesting[0]


def text_value(name, value):
    if value[0] == '"':
        content = ast.literal_eval("b" + value)
        return content.hex() if name in ("trace_id", "span_id") else content.decode()
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.lstrip("-").isdigit() else float(value)


def text_attributes(item):
    """{name: value} of an item that read_text() returned."""
    return {pair["key"][0]: next(iter(pair["value"][0].values()))[0] for pair in item["attributes"]}


def attributes(item):
    """{name: value} of a span or a resource."""
    def value(any_value):
        (kind, content), = any_value.items()
        return int(content) if kind == "intValue" else [value(one) for one in content["values"]] if kind == "arrayValue" else content
    return {pair["key"]: value(pair["value"]) for pair in item["attributes"]}


class Collector(ScriptedServer):
    """`answers` are functions of (collector, connection, export), one for each request; afterwards, and without any, it
    answers 200. A function sends what it wants, and returns whether the connection is kept."""

    def __init__(self):
        self.exports, self.answers, self.lock, self.always = [], [], threading.Lock(), None
        super().__init__()

    def _respond(self, connection, method, target, headers, body):
        export = Export(target, headers, body)
        export.method = method
        if target.endswith(("/v1/metrics", "/v1/logs")):  # of other tests
            return reply(200)(self, connection, export)
        with self.lock:
            self.exports.append(export)
            answer = self.answers.pop(0) if self.answers else self.always or reply(200)
        return answer(self, connection, export)

    def spans(self):
        """Of all exports in JSON, by name."""
        return [span for export in list(self.exports) if export.is_json for span in export.spans()]

    def wait_exports(self, n):
        wait_until(lambda: len(self.exports) >= n, "the collector was not sent enough")
        return self.exports

    def wait_span(self, test, n=1):
        """Spans for which test(span) is true."""
        def found():
            spans = [span for span in self.spans() if test(span)]
            return spans if len(spans) >= n else None
        return wait_until(found, "the spans did not come")


def reply(status, body=b"", **headers):
    def send(_collector, connection, export):
        kind = export.headers.get("content-type", "text/plain")
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", f"Content-Type: {kind}",
                 *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True
    return send
