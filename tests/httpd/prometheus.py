# SPDX-License-Identifier: Apache-2.0
"""A Prometheus that scrapes the server under test, and what its API says."""
import json
import subprocess
import urllib.parse
import urllib.request

from client import WAIT
from runs import wait_until
from server import HeldPort

CONFIGURATION = """
global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: agentchat
    metrics_path: /metrics
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """Scrapes this server four times a second."""

    def __init__(self, server, rules=""):
        self.held, self.root = HeldPort(), server.root / "prometheus"
        self.root.mkdir()
        (self.root / "prometheus.yml").write_text(CONFIGURATION.format(port=server.port, rules=rules))
        with open(self.root / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={self.root}/prometheus.yml", f"--storage.tsdb.path={self.root}/data",
                 f"--web.listen-address=127.0.0.1:{self.held.number}", "--enable-feature=exemplar-storage"], stdout=log, stderr=log)
        wait_until(lambda: self.number("sum(up)") == 1, "Prometheus does not scrape")

    def ask(self, what, **parameters):
        url = f"http://127.0.0.1:{self.held.number}/api/v1/{what}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url, timeout=WAIT) as answer:
                return json.load(answer)["data"]
        except OSError:
            assert self.process.poll() is None, (self.root / "log").read_text()
            return None

    def number(self, query):
        """The value of a query that gives one; None: it gives nothing yet."""
        found = (self.ask("query", query=query) or {}).get("result")
        return float(found[0]["value"][1]) if found else None

    def wait(self, query, wanted):
        seen = []

        def look():
            seen[:] = [self.number(query)]
            return seen[0] == wanted
        try:
            wait_until(look, query)
        except AssertionError:
            raise AssertionError(f"{query} is {seen[0]}, and not {wanted}") from None

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT)
        self.held.close()
