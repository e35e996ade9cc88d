# SPDX-License-Identifier: Apache-2.0
"""A scripted destination of metrics and log messages: OTLP, and Application Insights."""
import gzip
import json
import threading
from collections import Counter

from runs import wait_until
from scripted_server import ScriptedServer

KEY = "01234567-89ab-cdef-0123-456789abcdef"


class Sink(ScriptedServer):
    """`answers` are functions of (sink, connection, sent), one for each request; afterwards `always`, or 200. One returns
    whether the connection is kept. sent: (path, headers, [documents]); a document of protobuf is its bytes."""

    def __init__(self):
        self.sent, self.answers, self.always, self.lock = [], [], None, threading.Lock()
        super().__init__()

    def _respond(self, connection, method, target, headers, body):
        body = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        binary = headers.get("content-type") == "application/x-protobuf"
        sent = target, headers, [body] if binary else [json.loads(line) for line in body.splitlines()]
        with self.lock:
            answer = self.answers.pop(0) if self.answers else self.always or reply(200)
            self.sent.append(sent)
        return answer(self, connection, sent)

    def documents(self, path):
        return [document for target, _, documents in list(self.sent) if target == path for document in documents]

    def totals(self, name, **attributes):
        """The sum of all points of this metric, as one who was sent deltas adds them up."""
        return sum(value for found, having, value in self.points() if found == name and attributes.items() <= having.items())

    def newest(self, name, **attributes):
        """The value of this metric, as one who was sent sums since the beginning knows it."""
        newest = {}
        for found, having, value in self.points():
            if found == name and attributes.items() <= having.items():
                newest[json.dumps(having, sort_keys=True)] = value
        return sum(newest.values())

    def points(self):
        """(name, attributes, value or count), in the order in which they were accepted."""
        for document in self.documents("/v1/metrics"):
            for metric in document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]:
                body = next(metric[kind] for kind in ("sum", "gauge", "histogram", "exponentialHistogram") if kind in metric)
                for point in body["dataPoints"]:
                    yield metric["name"], attributes(point), float(point.get("count") or point.get("asInt") or point.get("asDouble"))

    def metric(self, name):
        """The newest form of a metric, whole."""
        found = [metric for document in self.documents("/v1/metrics")
                 for metric in document["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] if metric["name"] == name]
        return found[-1] if found else None

    def records(self):
        return [record for document in self.documents("/v1/logs") for record in document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]]

    def envelopes(self, kind=None):
        return [one for one in self.documents("/v2.1/track") if not kind or one["name"].endswith("." + kind)]

    def kinds(self):
        return Counter(one["name"].rpartition(".")[2] for one in self.envelopes())

    def wait(self, test, why):
        return wait_until(lambda: test(self), why)


def attributes(item):
    return {pair["key"]: next(iter(pair["value"].values())) for pair in item["attributes"]}


def reply(status, body=b"", drop=False, **headers):
    """drop: what was sent counts as not received."""
    def send(sink, connection, sent):
        if drop:
            with sink.lock:
                sink.sent.remove(sent)
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}",
                 *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True
    return send
