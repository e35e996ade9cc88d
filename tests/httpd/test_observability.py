# SPDX-License-Identifier: Apache-2.0
"""The rules for Prometheus and the dashboard for Grafana: their own tests, their form, and their queries against a real Prometheus.
The queries for Azure Monitor: their syntax, and the names in them."""
import json
import os
import shutil
import subprocess
import sys

import pytest

import peers
from metrics import wait_metrics
from model_server import Reply, answer, calls
from prometheus import Prometheus
from runs import wait_until
from server import BUILD, TOP
from test_metrics import chat, counting  # noqa: F401
from test_metrics_rare import APPROVAL, FALLBACK

sys.path.insert(0, str(TOP / "tests/guards"))
import azure_queries  # noqa: E402

SHIPPED, SOURCE = TOP / "conf/observability", TOP / "tests/observability"
RULES = SHIPPED / "prometheus-rules.yml"
# Queries that are empty here, because the server under test has no such thing.
ELSEWHERE = ("agentchat_cosmos_", "agentchat_redis_", "probe_success")


def need(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: prometheus)")


@pytest.mark.parametrize("command", (("check", "rules", RULES), ("test", "rules", SOURCE / "prometheus-rules.test.yml")),
                         ids=("form", "tests"))
def test_rules(command):
    need("promtool")
    done = subprocess.run(["promtool", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_has_the_form_of_grafanas_types():
    text = (SOURCE / "dashboard.ts").read_text()
    folder = BUILD / "dashboard"
    folder.mkdir(parents=True, exist_ok=True)
    modules = peers.install(SOURCE)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(modules)
    command = [peers.node_program(), modules / "typescript/lib/tsc.js", "--strict", "--noEmit", "--skipLibCheck", "--target", "es2022",
               "--module", "nodenext", "--moduleResolution", "nodenext"]
    whole = (SHIPPED / "grafana-dashboard.json").read_text()
    for name, old, new in (("whole", "", ""), ("spoiled", '"type": "timeseries"', '"type": "timelines"'),
                           ("spoiled", '"gridPos"', '"place"')):
        file = folder / f"{name}.ts"
        file.write_text(text.replace("= {};", f"= {whole.replace(old, new, 1) if old else whole};"))
        done = subprocess.run([*command, file], cwd=folder, capture_output=True, text=True)
        assert (done.returncode == 0) == (name == "whole"), done.stdout


def kusto(**given):
    """What Microsoft's own language service finds in these queries."""
    environment = {**os.environ, "PEERS": str(peers.install(SOURCE))}
    done = subprocess.run([peers.node_program(), SOURCE / "kusto.cjs"], env=environment, input=json.dumps(given),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_queries_for_azure_are_kusto():
    texts = [query for _, _, query, _ in azure_queries.parts((TOP / "docs/kusto.md").read_text())]
    assert len(texts) > 20
    assert not kusto(classic=texts, workspace=[azure_queries.in_workspace(text) for text in texts])
    assert kusto(classic=["dependencies | wher success"]) and kusto(classic=["dependencies | where Success"])
    assert kusto(workspace=["dependencies | where success"])


def queries():
    """Each query of the dashboard, as it is after Grafana has replaced its variables, with its panel."""
    board = json.loads((SHIPPED / "grafana-dashboard.json").read_text())
    found = [("annotation", one["expr"]) for one in board["annotations"]["list"]]
    found += [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]
    for name, value in (("$job", ".+"), ("$instance", ".+"), ("$__rate_interval", "1h"), ("$__range", "1h")):
        found = [(title, query.replace(name, value)) for title, query in found]
    return found


def traffic(server, model):
    """A little of everything that is counted."""
    for _ in range(2):
        model.play(Reply(500), answer("from the other one"))
        assert server.client.post("/agents/careful/chat", {"message": "x", "stream": False}).status == 200
    thread = server.client.thread()
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {})), answer("42", prompt=9, completion=5, cached=4, reasoning=2),
               Reply(503, headers={"Retry-After": "0"}), answer("well"))
    for _ in range(2):
        assert server.client.send(thread, "x").status == 200
    rated = server.client.messages(thread)[-1]["id"]
    assert server.client.request("PUT", f"/messages/{rated}/feedback", {"rating": "up"}).status == 200
    model.play(lambda _: iter([b"data: {\n\n"]))
    assert chat(server).status == 502
    assert server.client.get("/threads/thread_0000000000000000000000000a").status == 404
    model.play(calls(("sum", {"expression": "6*7"})), answer("42"))
    stream = server.client.stream("/agents/secretary/chat", {"message": "x"})
    run = stream.next().json["run_id"]
    while not stream.next().json.get("approval_required"):
        pass
    assert server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True}).status == 202
    assert stream.rest()[-1].type == "done"
    wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 6 and m.sum("agentchat_requests_total") >= 9,
                 "the runs are not counted")


def test_every_query_has_an_answer(counting, model):
    """No query of the dashboard or of the rules is wrong, and with traffic none is empty that should not be."""
    need("prometheus")
    server = counting(FALLBACK.format(url=model.url) + APPROVAL + "AgentChatCache memory check=off\n")
    server.expect_log("AC0540", "AC0542", "AC0503", "AC0652")
    prometheus = Prometheus(server, RULES)
    try:
        traffic(server, model)
        prometheus.wait("sum(agentchat_runs_total)", 6)
        missing = [(title, query) for title, query in queries()
                   if title != "annotation" and not any(name in query for name in ELSEWHERE)]

        def answered():             # a rate needs two scrapes
            missing[:] = [(title, query) for title, query in missing if not prometheus.ask("query", query=query)["result"]]
            return not missing
        for title, query in queries():
            assert prometheus.ask("query", query=query) is not None, f"{title}: Prometheus refuses {query}"
        try:
            wait_until(answered, "no answer")
        except AssertionError:
            raise AssertionError(f"without an answer: {missing}") from None

        def evaluated():
            groups = prometheus.ask("rules")["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None
        rules = wait_until(evaluated, "the rules are not evaluated")
        assert not [rule for rule in rules if rule["health"] != "ok"]
        for rule in rules:
            if rule["type"] == "recording":
                wait_until(lambda name=rule["name"]: prometheus.ask("query", query=name)["result"], f"{rule['name']} is empty")
    finally:
        prometheus.stop()
