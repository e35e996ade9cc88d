# SPDX-License-Identifier: Apache-2.0
"""Runs every guard on this tree, and on a copy with a fault in it that the guard must find. counts.json has how many things each
guard looked at when `make guard-counts` was run last: a guard that looks at nothing finds nothing."""
import json
import shutil
from pathlib import Path

import pytest

import guards

TOP = Path(__file__).resolve().parents[2]

COUNTS = json.loads((TOP / "tests/guards/counts.json").read_text())

# guard: (file to spoil, text to add to it)
CASES = {
    "floors": ("src/wire/sse.c", '#include "back/back.h"\n'),
    "headers": ("src/agent/engine.c", '#include "io/io_internal.h"\n'),
    "banned": ("src/base/text.c", "static char *spoil(char *a, const char *b) { return strcpy(a, b); }\n"),
    "sizes": ("src/base/buf.c", "/* one line */\n" * 600),
    "functions": ("src/base/buf.c", "void spoil(void)\n{\n" + "    spoil();\n" * 80 + "}\n"),
    "unit_tests": ("tests/unit/test_buf.c", "static void test_forgotten(void **state)\n{\n}\n"),
    "log_messages": ("src/base/messages.h", 'AC_MESSAGE(9999, AC_ERROR, "spoiled", "nothing")\n'),
    "log_page": ("docs/log-messages.md", "| AC0101 | error | spoiled | nothing |\n"),
    "metrics": ("docs/metrics.md", "| `agentchat_spoiled_total` | counter | | 0.1.0 | spoiled |\n"),
    "metric_uses": ("docs/observability.md", "`agentchat_runs_total{spoiled=\"x\"}`\n"),
    "alerts": ("docs/alerts.md", "### AgentChatSpoiled\n"),
    "kusto": ("docs/kusto.md", "\n## Spoiled\n\n```kusto\ndependencies | where isnotempty(customDimensions[\"spoiled\"])\n```\n"),
    "dashboard": ("conf/observability/grafana-dashboard.json", " "),
    "traces": ("docs/traces.md", "| `gen_ai.spoiled` | text | chat | 0.1.0 | spoiled | |\n"),
    "log_members": ("docs/logs.md", "| `agentchat-spoiled` | x |\n"),
    "error_kinds": ("docs/errors.md", "| `spoiled` | 500 | x |\n"),
    "directives": ("conf/agentchat.conf", "#AgentChatSpoiled on\n"),
    "manual": ("docs/directives.md", "## AgentChatRetry\n\n- Default: `3s`\n"),
    "providers": ("src/back/providers.c", 'const ac_tool_vt ac_tool_spoiled = {"spoiled"};\n'),
    "routes": ("docs/api.md", "| GET `/spoiled` | x | x |\n"),
    "openapi": ("docs/openapi.json", " "),
    "words_of_search": ("src/base/words_table.h", "static const int spoiled;\n"),
    "version": ("src/www/package.json", '"version": "9.9.9"\n'),
    "words": ("docs/architecture.md", "TO" + "DO: spoiled\n"),
    "owners": ("src/back/sqlite/sqlite_turns.c",
               'static const char sql_spoiled[] =\n    "SELECT id FROM messages WHERE thread_id = ?1";\n'),
    "threats": ("docs/threat-model.md", "| a | b | `test_authorization.py::test_spoiled` |\n"),
    "types": ("src/www/agentchat.d.ts", "export interface Cost {\n  spoiled: string;\n}\n"),
    "pages": ("docs/operations.md", "AC0999 is logged by AgentChatSpoiled.\n"),
    "links": ("README.md", "[spoiled](docs/install.md#no-such-heading)\n"),
    "page_strings": ("src/www/words.js", "export const spoiled = 'Words for a user';\n"),
    "phrases": ("docs/operations.md", "Who" "ever is told of this asks in vain.\n"),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree") / "copy"
    shutil.copytree(TOP, tree, ignore=shutil.ignore_patterns("build", ".git", "corpus", "__pycache__"))
    return tree


def test_every_guard_has_a_case():
    known = {name for name, value in vars(guards).items()
             if callable(value) and getattr(value, "__module__", "") in ("guards", "observability", "page_strings")}
    helpers = {"sources", "without_comments", "floor_of", "anchors", "prose", "texts"}
    assert known - helpers == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_guard(name):
    n, wrong = getattr(guards, name)(TOP)
    assert not wrong, "\n".join(wrong)
    assert n >= 0.95 * COUNTS[name], f"looked at {n} things only; if that is right: make guard-counts"


@pytest.mark.parametrize("name", CASES)
def test_guard_finds_a_planted_fault(name, copy):
    file, text = CASES[name]
    path = copy / file
    whole = path.read_text()
    before = set(getattr(guards, name)(copy)[1])
    path.write_text(whole + text)
    try:
        found = set(getattr(guards, name)(copy)[1]) - before
    finally:
        path.write_text(whole)
    assert found, "the planted fault was not found"
