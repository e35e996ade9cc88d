# SPDX-License-Identifier: Apache-2.0
"""Guards of what is shipped for operators: rules for Prometheus, the dashboard for Grafana, queries for Azure Monitor. guards.py says
what a guard is."""
import json
import re

import azure_queries
import grafana_dashboard
import metric_table
import yaml

RULES, TESTS = "conf/observability/prometheus-rules.yml", "tests/observability/prometheus-rules.test.yml"
USES = ("conf/observability/*", "tests/observability/*.yml", "docs/*.md")


def metric_uses(top):
    """Each metric, and each label of one, that the rules, their tests, the dashboard and the manual name is in the table."""
    table = (top / "src/base/metrics_table.h").read_text()
    known = {}
    for _, name, kind, labels, _, _ in metric_table.rows(table):
        for end in ("_bucket", "_sum", "_count", "") if kind == "histogram" else ("",):
            known[name + end] = {*labels, "job", "instance", *(("le",) if end == "_bucket" else ())}
    known["agentchat_build_info"] |= {"version", "httpd"}
    recorded = set(re.findall(r"record: \w+:(\w+):", (top / RULES).read_text()))
    n, wrong = 0, []
    for path in (path for pattern in USES for path in sorted(top.glob(pattern))):
        for name, _, labels in re.findall(r"\b(agentchat_[a-z]\w+)\b(?!\.log|\.h\b)(\{(.*?)\})?", path.read_text().replace('\\"', '"')):
            n += 1
            if name not in known.keys() | recorded | {"agentchat_module"}:
                wrong.append(f"{path.relative_to(top)}: there is no metric {name}")
            for label in set(re.findall(r'(?:^|,)\s*(\w+)(?:=|!)', re.sub(r'"[^"]*"', '""', labels))) - known.get(name, set()):
                wrong.append(f"{path.relative_to(top)}: {name} has no label {label}")
    return n, wrong


def alerts(top):
    """Each alert has a section in docs/alerts.md that its runbook names, a test in which it fires, and one in which it does not."""
    rules, tests = (top / RULES).read_text(), (top / TESTS).read_text()
    names, wrong = [], []
    for group in yaml.safe_load(rules)["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                names.append(name := rule["alert"])
                if rule["annotations"]["runbook"] != f"docs/alerts.md#{name.lower()}" or set(rule["annotations"]) != {
                        "summary", "description", "runbook"} or rule["labels"]["severity"] not in ("critical", "warning"):
                    wrong.append(f"{RULES}: {name} lacks its runbook, a text or its severity")
                wrong += [f"{name} has no test that it {what}" for what in ("fires", "does not fire")
                          if f"name: {name} {what}\n" not in tests]
    sections = re.findall(r"^### (\w+)$", (top / "docs/alerts.md").read_text(), re.M)
    wrong += [f"docs/alerts.md and {RULES} do not have the same alerts: {name}" for name in sorted(set(names) ^ set(sections))]
    ours = re.search(r'status="failed",cause=~"([^"]*)"', rules)[1]
    for code, fault in re.findall(r"^\| `(\w+)` \| \d+ \| (\w+) \|", (top / "docs/errors.md").read_text(), re.M):
        if bool(re.fullmatch(ours, code)) != (fault != "client") and code != "stopping":     # of which a run is cancelled
            wrong.append(f"{RULES}: whether {code} is a failure of ours is otherwise in docs/errors.md")
    if f'"{ours}"' not in (top / "tests/guards/grafana_dashboard.py").read_text():
        wrong.append("tests/guards/grafana_dashboard.py has other causes than the rules")
    return len(names), wrong


def dashboard(top):
    """The dashboard is what its program writes."""
    file = "conf/observability/grafana-dashboard.json"
    wanted = json.dumps(grafana_dashboard.dashboard(), indent=2) + "\n"
    wrong = [] if (top / file).read_text() == wanted else [f"{file} is not what make observability writes"]
    return len(grafana_dashboard.panels()), wrong


def kusto(top):
    """The queries name attributes of the table of spans only, and the files for Azure have the queries of the page."""
    page, table = (top / "docs/kusto.md").read_text(), (top / "src/base/span_table.h").read_text()
    known = set(re.findall(r'^AC_ATTRIBUTE\(\w+, "([^"]+)"', table, re.M)) | {"error.type"}
    named = re.findall(r'customDimensions\["([^"]+)"\]', page)
    wrong = [f"docs/kusto.md: no span has {name}" for name in sorted(set(named) - known)]
    if "customDimensions" in re.sub(r'customDimensions\["[^"]+"\]', "", "".join(query for _, _, query, _ in azure_queries.parts(page))
                                    .replace("operation_ParentId, customDimensions", "")):
        wrong.append("docs/kusto.md: a query uses customDimensions without the name of an attribute in quotes")
    ours = re.search(r'status="failed",cause=~"([^"]*)"', (top / RULES).read_text())[1]
    if f'"^({ours})$"' not in page:
        wrong.append(f"docs/kusto.md has other causes of runs that fail than {RULES}")
    for file, text in azure_queries.files(page).items():
        path = top / "conf/observability" / file
        if not path.exists() or path.read_text() != text:
            wrong.append(f"conf/observability/{file} is not what make observability writes")
    return len(named), wrong
