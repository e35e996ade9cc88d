# SPDX-License-Identifier: Apache-2.0
"""What /metrics says, read strictly, and places where tests read it."""
import re

from client import Client
from runs import wait_until

# For every client; needs mod_authz_core only.
PLACE = """
<Location "/metrics">
    SetHandler agentchat-metrics
    AgentChatMetrics all
    Require all granted
</Location>
"""
LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf'([a-zA-Z_:][\w:]*)(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)(?: # \{{({LABEL}(?:,{LABEL})*)\}} (\S+) (\S+))?$')
GAUGES = ("agentchat_streams_active", "agentchat_runs_active", "agentchat_runs_queued")


def labels_of(text):
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text or ""))


class Metrics:
    """One answer: families {name: type}, and samples as (name, labels, value, exemplar's labels)."""

    def __init__(self, text):
        self.text, self.types, self.samples, self.helps = text, {}, [], {}
        seen, current = set(), None
        assert text.endswith("\n") and "\n\n" not in text
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, current, kind = line.split(" ")
                assert current not in self.types, f"{current} comes twice"
                self.types[current] = kind
            elif line.startswith("# HELP "):
                assert line.split(" ")[2] == current
                self.helps[current] = line.split(" ", 3)[3]
            elif line.startswith("# UNIT "):
                assert line.split(" ")[2] == current and current.endswith("_" + line.split(" ")[3])
            elif line == "# EOF":
                current = None
            else:
                found = SAMPLE.match(line)
                assert found, f"no sample: {line}"
                assert found[1].startswith(current), f"{found[1]} among those of {current}"
                key = found[1], found[2]
                assert key not in seen, f"twice: {line}"
                seen.add(key)
                self.samples.append((found[1], labels_of(found[2]), float(found[3]), labels_of(found[4]) if found[4] else None))

    def sum(self, name, **labels):
        """The sum of the samples that have these labels; 0 where there is no such sample."""
        return sum(value for found, having, value, _ in self.samples
                   if found == name and all(having.get(key) == wanted for key, wanted in labels.items()))

    def rows(self, name):
        return [(having, value) for found, having, value, _ in self.samples if found == name]

    def counters(self):
        """{(name, labels): value} of everything that never falls."""
        return {(name, *sorted(having.items())): value for name, having, value, _ in self.samples
                if name.endswith(("_total", "_bucket", "_sum", "_count"))}


def read(server, accept=None):
    response = Client(server.port, prefix="").get("/metrics", headers={"Accept": accept} if accept else None)
    assert response.status == 200, response
    return Metrics(response.body.decode())


def wait_metrics(server, question, what):
    """Until this holds of the metrics; returns them. A request is counted when it is over, which its client does not see."""
    def look():
        found = read(server)
        return found if question(found) else None
    try:
        return wait_until(look, what)
    except AssertionError:
        counted = [line for line in read(server).text.splitlines() if not line.startswith("#") and not re.search(r"_bucket| 0$", line)]
        raise AssertionError(f"{what}:\n" + "\n".join(counted)) from None
