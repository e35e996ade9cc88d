# SPDX-License-Identifier: Apache-2.0
"""Writes the files for Azure Monitor from the queries of docs/kusto.md: python3 tests/guards/azure_queries.py conf/observability"""
import json
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SCHEMA = "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json"
# What a workspace calls the tables and columns of Application Insights.
NAMES = {"requests": "AppRequests", "dependencies": "AppDependencies", "traces": "AppTraces", "exceptions": "AppExceptions",
         "availabilityResults": "AppAvailabilityResults",
         "timestamp": "TimeGenerated", "name": "Name", "duration": "DurationMs", "success": "Success", "resultCode": "ResultCode",
         "message": "Message", "id": "Id", "itemCount": "ItemCount", "itemType": "Type", "operation_Id": "OperationId",
         "operation_ParentId": "ParentId", "customDimensions": "Properties"}
# What is asked for in the workbook: a thread's id, a run's id.
ENTERED = {"thread_…": "Conversation", "run_…": "Run"}
HALVES = ("First token", "Tokens over time", "Runs that fail, over time", "Errors by kind")


def parts(page):
    """(heading, its text, query) of each query of the page."""
    found = []
    for level, heading, body in re.findall(r"^(##+) ([^\n]+)\n(.*?)(?=^## |^### |\Z)", page, re.M | re.S):
        query = re.search(r"^```kusto\n(.*?)^```", body, re.M | re.S)
        if query:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(body[:query.start()].split()))
            found.append((heading, text, query[1].rstrip("\n"), level == "###"))
    return found


def queries(page):
    return [(heading, text, query) for heading, text, query, is_alert in parts(page) if not is_alert]


def in_workspace(query):
    """The query with the names of a workspace. Texts in quotes, and columns that the query itself makes, stay."""
    pieces = re.split(r'("[^"]*")', query)
    made = set(re.findall(r"\b(\w+) = ", query)) & set(NAMES)
    if made:
        raise SystemExit(f"a query gives a column the name of one of Application Insights: {made}")
    names = re.compile(rf"\b({'|'.join(NAMES)})\b(?!\()")
    return "".join(piece if piece.startswith('"') else names.sub(lambda m: NAMES[m[1]], piece) for piece in pieces)


def workspace(page):
    head = "// SPDX-License-Identifier: Apache-2.0\n// The queries of docs/kusto.md, with the names of a Log Analytics workspace.\n"
    return head + "".join(f"\n// {heading}\n{in_workspace(query)};\n" for heading, _, query, _ in parts(page))


def parameter(name, label, kind, **more):
    return {"id": f"{name.lower()}-parameter", "version": "KqlParameterItem/1.0", "name": name, "label": label, "type": kind, **more}


def workbook(page):
    ranges = [{"durationMs": hours * 3_600_000} for hours in (1, 4, 24, 72, 168, 720)]
    items = [
        {"type": 1, "name": "title", "content": {"json": "# AgentChat\n\nRuns, models, tools and costs of mod_agentchat."}},
        {"type": 9, "name": "parameters", "content": {
            "version": "KqlParameterItem/1.0", "style": "pills", "queryType": 0, "resourceType": "microsoft.insights/components",
            "parameters": [
                parameter("TimeRange", "Time range", 4, isRequired=True, value={"durationMs": 86_400_000},
                          typeSettings={"selectableValues": ranges, "allowCustom": True}),
                parameter("Conversation", "Conversation (thread_…)", 1, value=""), parameter("Run", "Run (run_…)", 1, value="")]}}]
    for heading, text, query in queries(page):
        entered = next((name for sample, name in ENTERED.items() if f'"{sample}"' in query), None)
        for sample, name in ENTERED.items():
            query = query.replace(f'"{sample}"', f'"{{{name}}}"')
        chart = query.endswith("| render timechart")
        item = {"type": 3, "name": heading, "content": {
            "version": "KqlItem/1.0", "query": query, "size": 0, "title": heading, "noDataMessage": "Nothing in this time.",
            "timeContextFromParameter": "TimeRange", "queryType": 0, "resourceType": "microsoft.insights/components",
            "visualization": "timechart" if chart else "table", "showExportToExcel": not chart}}
        if heading in HALVES:
            item["customWidth"] = "50"
        if entered:
            item["conditionalVisibility"] = {"parameterName": entered, "comparison": "isNotEqualTo", "value": ""}
        items.append(item)
    return {"version": "Notebook/1.0", "items": items, "fallbackResourceIds": [], "$schema": SCHEMA}


def alerts(page):
    """The properties of each scheduledQueryRules resource, without scopes and actions."""
    texts, found = {heading: query for heading, _, query, is_alert in parts(page) if is_alert}, []
    for name, severity, every, window, above, what in re.findall(
            r"^\| `([\w-]+)` \| (\d) \| (P\w+) \| (P\w+) \| (\d+) \| ([^|]*?) \|", page, re.M):
        query = texts.pop(name)
        split = re.findall(r"^\| project (\w+), value", query, re.M)
        found.append({"name": name, "properties": {
            "displayName": name, "description": what.replace("`", ""), "severity": int(severity), "enabled": True,
            "evaluationFrequency": every, "windowSize": window, "autoMitigate": True, "criteria": {"allOf": [{
                "query": query, "timeAggregation": "Maximum", "metricMeasureColumn": "value",
                "operator": "GreaterThan", "threshold": int(above),
                "dimensions": [{"name": one, "operator": "Include", "values": ["*"]} for one in split],
                "failingPeriods": {"numberOfEvaluationPeriods": 1, "minFailingPeriodsToAlert": 1}}]}}})
    if texts:
        raise SystemExit(f"the table of docs/kusto.md lacks {sorted(texts)}")
    return found


def files(page):
    """{name: text} of all files."""
    return {"azure-workbook.json": json.dumps(workbook(page), indent=2, ensure_ascii=False) + "\n",
            "azure-alerts.json": json.dumps(alerts(page), indent=2, ensure_ascii=False) + "\n",
            "kusto-workspace.kql": workspace(page)}


if __name__ == "__main__":
    for file, whole in files((TOP / "docs/kusto.md").read_text()).items():
        (Path(sys.argv[1]) / file).write_text(whole)
