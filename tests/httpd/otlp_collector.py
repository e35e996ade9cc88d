# SPDX-License-Identifier: Apache-2.0
"""A scripted collector of OTLP over HTTP: it keeps all bodies, and reads the spans of JSON ones."""
import gzip
import json
import threading

from runs import wait_until
from scripted_server import ScriptedServer


def value_of(any_value):
    (kind, value), = any_value.items()
    if kind == "arrayValue":
        return [value_of(item) for item in value.get("values", [])]
    return int(value) if kind == "intValue" else value


class Span:
    def __init__(self, json_span):
        self.json = json_span
        self.name, self.kind = json_span["name"], json_span["kind"]
        self.trace_id, self.span_id = json_span["traceId"], json_span["spanId"]
        self.parent_id = json_span.get("parentSpanId", "")
        self.attributes = {item["key"]: value_of(item["value"]) for item in json_span.get("attributes", [])}

    def __getitem__(self, name):
        return self.attributes.get(name)

    def __repr__(self):
        return f"{self.name} {self.span_id} in {self.parent_id}: {self.attributes}"


class Collector(ScriptedServer):
    def __init__(self):
        self._lock = threading.Lock()
        self.bodies = []                        # (path, body), unpacked
        super().__init__()

    def directive(self, protocol="json"):
        return (f"AgentChatTelemetry otlp {self.url} protocol={protocol}\nAgentChatTelemetryBatch delay=20ms\n"
                "AgentChatTraceSampler always_on\n")

    def _respond(self, connection, method, target, headers, body):
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        with self._lock:
            self.bodies.append((target, body))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        return True

    def spans(self):
        with self._lock:
            bodies = [json.loads(body) for path, body in self.bodies if path.endswith("/v1/traces")]
        return [Span(span) for body in bodies for resource in body["resourceSpans"] for scope in resource["scopeSpans"]
                for span in scope["spans"]]

    def wait_spans(self, wanted, what="the spans do not come"):
        """Until this holds of all spans so far; returns them."""
        found = []

        def there():
            found[:] = self.spans()
            return wanted(found)
        try:
            wait_until(there, what)
        except AssertionError:
            raise AssertionError(f"{what}: {found}") from None
        return found
