# SPDX-License-Identifier: Apache-2.0
"""A scripted collector: keeps what it is sent, and answers as a test says."""
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
