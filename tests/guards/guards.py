# SPDX-License-Identifier: Apache-2.0
"""The rules of the house that a program can check. Each guard takes the top of a source tree and returns (how many things it
looked at, what is wrong); test_guards.py runs each on this tree and on a copy with a fault planted in it."""
import json
import re
from pathlib import Path

import yaml

import directive_table
import log_messages as log_table
import metric_table
import openapi_json
import route_table
import span_table
import set_version
import words_table
from observability import RULES, alerts, dashboard, kusto, metric_uses  # noqa: F401
from page_strings import LIBRARIES, page_strings  # noqa: F401
from statement_owners import OF_EVERY_OWNER

FLOORS = ["base", "wire", "io", "back", "agent", "front"]
BANNED = ["strcpy", "strcat", "sprintf", "vsprintf", "gets", "atoi", "atol", "atoll", "strtok", "rand", "tmpnam",
          "system", "popen", "setjmp", "usleep"]
MAX_FILE, MAX_LINE = 500, 140
# The header for other modules is one file.
LONGER = {"park.c": 520}


def sources(top, *patterns):
    for pattern in patterns or ("mod_agentchat.c", "src/**/*.[ch]"):
        yield from sorted(top.glob(pattern))


def without_comments(text):
    """C without comments and without the contents of strings."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: '""' if m[0][0] == '"' else "\n" * m[0].count("\n"), text, flags=re.S)


def floor_of(top, path):
    parts = path.relative_to(top).parts
    return "front" if parts[0] == "mod_agentchat.c" else parts[1] if len(parts) > 2 else None


def floors(top):
    """A file includes its own floor's headers and lower ones; below front nothing of httpd."""
    n, wrong = 0, []
    for path in sources(top):
        floor = floor_of(top, path)
        for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.M):
            n += 1
            if floor != "front" and re.match(r"(httpd|http_\w+|ap_\w+|util_\w+|mpm_common|scoreboard|mod_\w+)\.h$", name):
                wrong.append(f"{path.relative_to(top)}: includes httpd's {name}")
            target = next((place for place in (path.parent / name, top / "src" / name) if place.is_file()), None)
            if not target or top.resolve() not in target.resolve().parents:
                continue
            target = target.resolve()
            other = floor_of(top.resolve(), target)
            if floor and other and FLOORS.index(other) > FLOORS.index(floor):
                wrong.append(f"{path.relative_to(top)}: {floor} includes {name} of {other}")
            if floor is None and other:
                wrong.append(f"{path.relative_to(top)}: the vocabulary includes {name}")
        if floor != "front":
            for call in re.findall(r"\bap_[a-z]\w*\s*\(", without_comments(path.read_text())):
                wrong.append(f"{path.relative_to(top)}: calls httpd's {call}")
    return n, wrong


def headers(top):
    """A file includes another folder's public header only, which has the folder's name; folders inside it may include all."""
    n, wrong, src = 0, [], (top / "src").resolve()
    for path in sources(top, "mod_agentchat.c", "src/**/*.[ch]", "tools/*.[ch]", "examples/**/*.c"):
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(), re.M):
            target = next((place for place in (path.parent / name, src / name, top / name) if place.is_file()), None)
            if not target or src not in target.resolve().parents:
                continue
            n += 1
            target = target.resolve()
            folder = target.parent
            if folder not in path.resolve().parents and target.name != f"{folder.name}.h" and folder != src:
                wrong.append(f"{path.relative_to(top)}: includes {name}, an internal header of {folder.relative_to(src)}")
            if folder != path.resolve().parent and target != src / name and target != (top / name).resolve():
                wrong.append(f"{path.relative_to(top)}: {name} is not named from src/")
    return n, wrong


def banned(top):
    n, wrong = 0, []
    for path in sources(top, "mod_agentchat.c", "src/**/*.[ch]", "tests/unit/*.[ch]", "tests/fuzz/*.c"):
        n += 1
        for i, line in enumerate(without_comments(path.read_text()).splitlines(), 1):
            for name in re.findall(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(", line):
                wrong.append(f"{path.relative_to(top)}:{i}: {name}() is banned")
    return n, wrong


def sizes(top):
    """Files can be read in one sitting, and have unique names."""
    n, wrong, seen = 0, [], {}
    for path in sources(top, "mod_agentchat.c", "src/**/*.[ch]", "tests/**/*.[ch]", "tests/**/*.py"):
        n += 1
        lines = path.read_text().splitlines()
        if len(lines) > LONGER.get(path.name, MAX_FILE):
            wrong.append(f"{path.relative_to(top)}: {len(lines)} lines; split it by noun")
        for i, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                wrong.append(f"{path.relative_to(top)}:{i}: {len(line)} characters")
        if path.suffix == ".c" and "src" in path.parts:
            if path.name in seen:
                wrong.append(f"{path.relative_to(top)}: same name as {seen[path.name]}")
            seen[path.name] = path.relative_to(top)
        if path.suffix in (".c", ".h") and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:2]) \
                and path.name != "messages.h":
            wrong.append(f"{path.relative_to(top)}: no SPDX line")
    return n, wrong


def functions(top):
    """A function fits on a screen."""
    n, wrong = 0, []
    for path in sources(top):
        name = start = None
        for i, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r"[A-Za-z_].*\)$", line) and not line.endswith(";"):
                name = line
            elif line == "{":
                start = i
            elif line == "}" and start:
                n += 1
                if i - start > 75:
                    wrong.append(f"{path.relative_to(top)}:{start}: {i - start} lines: {(name or '')[:60]}")
                start = None
    return n, wrong


def unit_tests(top):
    """Every test function is in its group."""
    n, wrong = 0, []
    for path in sources(top, "tests/unit/*.c"):
        text = without_comments(path.read_text())
        defined = re.findall(r"^static void (test_\w+)\(void \*\*", text, re.M)
        groups = re.findall(r"struct CMUnitTest \w+\[\] = \{(.*?)\n\s*\};", text, re.S)
        registered = set(re.findall(r"\b(test_\w+)", "\n".join(groups)))
        for name in defined:
            n += 1
            if name not in registered:
                wrong.append(f"{path.relative_to(top)}: {name} is not registered")
    return n, wrong


def log_messages(top):
    """Each number once in the table, used in the source, and explained in docs/log-messages.md."""
    table = re.findall(r"AC_MESSAGE\((\d+), AC_(ERROR|WARNING|NOTICE|INFO),", (top / "src/base/messages.h").read_text())
    docs = (top / "docs/log-messages.md").read_text()
    code = "\n".join(without_comments(path.read_text()) for path in sources(top))
    wrong, numbers = [], [number for number, _ in table]
    for number, level in table:
        name = f"AC{int(number):04d}"
        if numbers.count(number) > 1:
            wrong.append(f"{name} is in the table twice")
        if not re.search(rf"\bAC_M{number}\b", code):
            wrong.append(f"{name} is in the table and nowhere used")
        row = re.search(rf"^\|\s*{name}\s*\|\s*(\w+)", docs, re.M)
        if not row:
            wrong.append(f"{name} is not in docs/log-messages.md")
        elif row[1] != level.lower():
            wrong.append(f"{name} is {level.lower()} in the table and {row[1]} in docs/log-messages.md")
    for name in re.findall(r"^\|\s*AC(\d{4})\s*\|", docs, re.M):
        if str(int(name)) not in numbers:
            wrong.append(f"docs/log-messages.md explains AC{name}, which does not exist")
    return len(table), wrong


def log_page(top):
    """docs/log-messages.md is what tests/guards/log_messages.py writes."""
    table = (top / "src/base/messages.h").read_text()
    wanted, there = (text.splitlines() for text in (log_table.page(table), (top / "docs/log-messages.md").read_text()))
    wrong = [f"docs/log-messages.md lacks: {line}" for line in wanted if line not in there]
    wrong += [f"docs/log-messages.md has: {line}" for line in there if line not in wanted]
    if wrong:
        wrong.append("generate it: python3 tests/guards/log_messages.py > docs/log-messages.md")
    n = len(list(log_table.rows(table)))
    if n != len(re.findall(r"^AC_MESSAGE\(", table, re.M)):
        wrong.append(f"tests/guards/log_messages.py reads only {n} rows of src/base/messages.h")
    return n, wrong


def metrics(top):
    """docs/metrics.md has the rows of the table of metrics, and no others."""
    return metric_table.problems((top / "src/base/metrics_table.h").read_text(), (top / "docs/metrics.md").read_text())


def traces(top):
    """docs/traces.md has the rows of the table of spans, and no others; something sets each attribute, and its id is its name."""
    code = "\n".join(path.read_text() for path in sources(top, "src/**/*.c"))
    return span_table.problems((top / "src/base/span_table.h").read_text(), (top / "docs/traces.md").read_text(), code)


def log_members(top):
    """docs/logs.md has each member of a JSON line, each audit event and each note of the access log, and no other."""
    page = (top / "docs/logs.md").read_text()
    cells = re.findall(r"^\| ((?:`[a-z_.-]+`(?:, )?)+) \|", page, re.M)
    docs = {name for cell in cells for name in re.findall(r"`([a-z_.-]+)`", cell)}
    code = "\n".join(path.read_text() for path in sources(top, "src/base/log_line.c", "src/front/log_front.c", "src/front/audit*.c"))
    table = set(re.findall(r'(?:ac_log_line_\w+|line_add_\w+)\(&?\w+, "(\w+)"', code)) | {"truncated"}
    table |= set(re.findall(r'\[AC_NOTE_\w+\] = "([\w-]+)"', (top / "src/front/access_notes.c").read_text()))
    table |= set(re.findall(r'\[AC_AUDIT_\w+\] = "([\w.]+)"', (top / "src/front/audit.c").read_text()))
    table |= set(re.findall(r'#define AC_NOTE_KEY "([\w-]+)"', (top / "src/front/auth/auth.h").read_text()))
    wrong = [f"docs/logs.md lacks `{name}`" for name in sorted(table - docs)]
    wrong += [f"docs/logs.md has `{name}`, which does not exist" for name in sorted(docs - table - {"warn"})]
    return len(table), wrong


def error_kinds(top):
    """Each code of the table has its row in docs/errors.md, with its status; and no other."""
    rows = [row for row in re.findall(r'"([a-z_]+)",\s*"[^"]*",\s*(\d{3}),', (top / "src/base/err.c").read_text())
            if row[0] != "ok"]
    docs = dict(re.findall(r"^\|\s*`([a-z_]+)`\s*\|\s*(\d{3})\s*\|", (top / "docs/errors.md").read_text(), re.M))
    wrong = [f"{code} is not in docs/errors.md with status {status}" for code, status in rows
             if docs.get(code) != status]
    wrong += [f"docs/errors.md has {code}, which does not exist" for code in docs if code not in dict(rows)]
    return len(rows), wrong


def directives(top):
    """The table of directives, the manual and the annotated reference name the same ones."""
    code = "\n".join(path.read_text() for path in sources(top, "src/front/**/*.c"))
    table = set(re.findall(r'"<?(AgentChat\w+)"\s*,', code))
    docs = set(re.findall(r"^## (?:\\?<)?(AgentChat\w+)", (top / "docs/directives.md").read_text(), re.M))
    conf = set(re.findall(r"^\s*#?\s*<?(AgentChat\w+)\b", (top / "conf/agentchat.conf").read_text(), re.M))
    wrong = [f"{name} is not in docs/directives.md" for name in sorted(table - docs)]
    wrong += [f"{name} is not in conf/agentchat.conf" for name in sorted(table - conf)]
    wrong += [f"docs/directives.md has {name}, which does not exist" for name in sorted(docs - table)]
    wrong += [f"conf/agentchat.conf has {name}, which does not exist" for name in sorted(conf - table)]
    return len(table), wrong


def manual(top):
    """Each directive's section of the manual has the syntax, default, range and context of the table."""
    return directive_table.problems((top / "src/front/config/config.c").read_text(), (top / "docs/directives.md").read_text())


def providers(top):
    """The manual and the annotated reference name each store, model and tool of the module."""
    found, wrong = [], []
    for path in sources(top, "src/back/**/*.c"):
        found += re.findall(r'^const ac_(store|model|tool)_vt ac_\w+ = \{\s*(?:\.name = )?"([\w-]+)"', path.read_text(), re.M)
    for kind, name in found:
        wrong += [f"{page} does not name the {kind} provider {name}"
                  for page in (f"docs/{kind}s.md", "docs/directives.md", "conf/agentchat.conf")
                  if not re.search(rf"(?<![\w-]){name}(?![\w-])", (top / page).read_text())]
    return len(found), wrong


def routes(top):
    """The route table and docs/api.md name the same routes."""
    code = route_table.text(top)
    table = {(row.method, row.pattern) for row in route_table.rows(code)}
    if len(table) != len(re.findall(r"^ *\{M_", code, re.M)):
        return 0, ["a row of the table has a form that route_table.py does not read"]
    docs = set(re.findall(r"^\|\s*([A-Z]+) `([^`]+)`", (top / "docs/api.md").read_text(), re.M))
    wrong = [f"{method} {path} is not in docs/api.md" for method, path in sorted(table - docs)]
    wrong += [f"docs/api.md has {method} {path}, which does not exist" for method, path in sorted(docs - table)]
    return len(table), wrong


def openapi(top):
    """docs/openapi.yaml has the routes, their lines and query parameters, the header fields and the error kinds of the code; its JSON is
    the same."""
    text = (top / "docs/openapi.yaml").read_text()
    document, code = yaml.safe_load(text), route_table.text(top)
    lists = {name: set(re.findall(r'"(\w+)"', words)) for name, words in re.findall(r"(q_\w+)\[\] = \{([^}]*)\}", code)}
    table = {(method, path): (line, lists.get(query, set())) for method, path, line, query in re.findall(
        r'\{\s*M_([A-Z]+)\s*,\s*"([^"]+)",[^"]*"([^"]+)",\s*(\w+)\}', code)}
    parts, have = document["components"], {}
    for path, item in document["paths"].items():
        for method in set(item) - {"parameters"}:
            given = [parts["parameters"][p["$ref"].rpartition("/")[2]] if "$ref" in p else p
                     for p in item.get("parameters", []) + item[method].get("parameters", [])]
            have[method.upper(), path] = (item[method]["summary"], {p["name"] for p in given if p["in"] == "query"})
    wrong = [f"docs/openapi.yaml: {route} is {have.get(route)}, src/front/route.c has {table.get(route)}"
             for route in sorted(set(have) | set(table)) if have.get(route) != table.get(route)]
    older = {(row.method, row.pattern) for row in route_table.rows((top / "src/front/api/api.h").read_text())}
    marked = {(method.upper(), path) for path, item in document["paths"].items()
              for method in set(item) - {"parameters"} if item[method].get("deprecated")}
    wrong += [f"docs/openapi.yaml: {route} is deprecated there or in src/front/api/api.h only" for route in older ^ marked]
    listed = set(re.findall(r"^\| ([A-Z]+) `([^`]+)` \|", (top / "docs/upgrades.md").read_text(), re.M))
    wrong += [f"docs/upgrades.md: {route} is deprecated there or in docs/openapi.yaml only" for route in listed ^ marked]
    kinds = set(re.findall(r'^\s+\{AC_\w+, "(\w+)"', (top / "src/base/err.c").read_text(), re.M)) - {"ok"}
    codes = set(parts["schemas"]["ErrorCode"]["enum"])
    wrong += [f"docs/openapi.yaml: the error codes differ: {sorted(kinds ^ codes)}"] if kinds != codes else []
    # A browser is shown what clients need of an answer; a page of another site may send what the API takes.
    cors = (top / "src/front/auth/cors.c").read_text()
    exposed, taken = (set("".join(re.findall('"(.+?)"', re.search(rf'#define {name}((?:[\s\\]+"[^"]+")+)', cors)[1])).split(", "))
                      for name in ("EXPOSED", "TAKEN"))
    answered = set(re.findall(r"^ +([A-Z][A-Za-z-]+): \{\$ref: '#/components/headers/", text, re.M)) - {"Allow"}
    if answered != exposed:
        wrong.append(f"docs/openapi.yaml: header fields of answers differ from src/front/auth/cors.c: {answered ^ exposed}")
    named = {p["name"] for p in parts["parameters"].values() if p["in"] == "header"} | {"X-Request-Id"}
    named |= {"Authorization", "Content-Type", *(one["name"] for one in parts["securitySchemes"].values() if one["type"] == "apiKey")}
    if named != taken:
        wrong.append(f"docs/openapi.yaml: header fields of requests differ from src/front/auth/cors.c: {named ^ taken}")
    if openapi_json.convert(text) != (top / "docs/openapi.json").read_text():
        wrong.append("docs/openapi.json is not docs/openapi.yaml; make openapi writes it")
    return len(have), wrong


def words_of_search(top):
    """The table of letters is what its program writes."""
    have = (top / "src/base/words_table.h").read_text().splitlines()
    wanted = words_table.text().splitlines()
    return len(wanted), [] if have == wanted else ["src/base/words_table.h: python3 tests/guards/words_table.py writes it"]


def version(top):
    """What has a copy of the version has that of src/agentchat.h; make version VERSION= writes them all."""
    found = set_version.versions(top)
    wanted = found["src/agentchat.h"]
    return len(found), [f"{file}: version {has}, src/agentchat.h has {wanted}" for file, has in found.items() if has != wanted]


def words(top):
    """What belongs to no public project."""
    pattern = re.compile(r"/work/|\bTODO\b|\bFIXME\b|\bXXX\b|\bHACK\b|not implemented", re.I)
    n, wrong = 0, []
    for path in sorted(top.rglob("*")):
        parts = path.relative_to(top).parts
        if not path.is_file() or parts[0] in ("build", ".git") or parts[:2] == ("tests", "guards") \
                or "corpus" in parts or path.suffix not in (".c", ".h", ".py", ".md", ".sh", ".conf", ".json", ".spec"):
            continue
        n += 1
        for i, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                wrong.append(f"{path.relative_to(top)}:{i}: {line.strip()[:100]}")
    return n, wrong


def anchors(text):
    """The names by which the headings of a page are linked, as GitHub makes them."""
    found = []
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")
        n = sum(1 for other in found if re.fullmatch(re.escape(name) + r"(-\d+)?", other))
        found.append(f"{name}-{n}" if n else name)
    return set(found)


def links(top):
    """Links between the pages of the manual lead somewhere, to a heading that is there where they name one."""
    n, wrong = 0, []
    for path in sources(top, "*.md", "docs/**/*.md", "tests/bench/*.md"):
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", path.read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            n += 1
            other = path.parent / target if target else path
            if not other.exists():
                wrong.append(f"{path.relative_to(top)}: {target} does not exist")
            elif anchor and anchor not in anchors(other.read_text()):
                wrong.append(f"{path.relative_to(top)}: {target}#{anchor} does not exist")
    return n, wrong


def types(top):
    """The interfaces of agentchat.d.ts have the members of the schemas of the same names, and the same ones are optional."""
    schemas = json.loads((top / "docs/openapi.json").read_text())["components"]["schemas"]
    text, n, wrong = (top / "src/www/agentchat.d.ts").read_text(), 0, []
    for name, extends, body in re.findall(r"^export interface (\w+)( extends EventBase)? \{\n(.*?)^\}", text, re.M | re.S):
        if name not in schemas or name == "Problem":
            continue
        schema = schemas[name]
        members = {(member, mark == "?") for member, mark in re.findall(r"^  (\w+)(\??):", body, re.M)}
        known = {(member, member not in schema.get("required", ())) for member in schema["properties"]}
        n += len(known)
        for member, optional in sorted(members ^ known - ({("timestamp", False)} if extends else set())):
            wrong.append(f"agentchat.d.ts: {name}.{member}{'?' if optional else ''} is otherwise in docs/openapi.json")
    return n, wrong


def pages(top):
    """The index links every page of the manual; log numbers and directives that pages name exist."""
    index = (top / "docs/README.md").read_text()
    numbers = {f"AC{int(number):04d}" for number in re.findall(r"AC_MESSAGE\((\d+),", (top / "src/base/messages.h").read_text())}
    known = {row.name.strip("<") for row in directive_table.rows((top / "src/front/config/config.c").read_text())}
    classes = set(re.findall(r"\bclass (\w+)", (top / "src/www/agentchat.js").read_text()))
    wrong = [f"docs/README.md does not link {path.name}" for path in sources(top, "docs/*.md")
             if path.name != "README.md" and f"]({path.name})" not in index]
    if "](docs/README.md)" not in (top / "README.md").read_text():
        wrong.append("README.md does not link docs/README.md")
    classes |= set(re.findall(r"alert: (\w+)", (top / RULES).read_text()))
    n, named = 0, set()
    for path in sources(top, "README.md", "docs/*.md"):
        text = path.read_text()
        for word in re.findall(r"\bAC0\d{3}\b", text):
            n += 1
            if word not in numbers:
                wrong.append(f"{path.relative_to(top)}: there is no {word}")
        words = set(re.findall(r"\bAgentChat[A-Z]\w+\b", text))
        wrong += [f"{path.relative_to(top)}: there is no {word}" for word in sorted(words - known - classes)]
        named |= words
    wrong += [f"no page names {name}" for name in sorted(known - named)]
    return n + len(named), wrong


def owners(top):
    """Every statement of the embedded store names the owner, so that a check that was forgotten cannot leak."""
    n, wrong, found = 0, [], set()
    for path in sources(top, "src/back/sqlite/*.c"):
        for name, text in re.findall(r'\b(sql_\w+)(?:\[\d*\])* =\s*((?:[^;"]|"(?:\\.|[^"\\])*")*);', path.read_text()):
            n += 1
            found |= {path.name, f"{path.name}:{name}"}
            owned = re.search(r"\bowner = |[(,] ?owner,|AC_SQLITE_(THREAD|RUN)_OF|\b(LIST|RECENT|COUNT)\(|\b(PINNED|LABELLED)\b"
                              r"|CREATE VIRTUAL", text)
            if not owned and not {path.name, f"{path.name}:{name}"} & set(OF_EVERY_OWNER):
                wrong.append(f"{path.relative_to(top)}: {name} does not name the owner")
    wrong += [f"OF_EVERY_OWNER has {name}, which does not exist" for name in OF_EVERY_OWNER
              if ":" in name and name not in found]
    return n, wrong


def threats(top):
    """Each row of the threat model names tests, and they exist."""
    n, wrong = 0, []
    files = {path.name: path for path in sources(top, "tests/*/test_*.py", "tests/unit/*.c")}
    for line in (top / "docs/threat-model.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or len(cells) != 3 or cells[0] in ("threat", "---"):
            continue
        n += 1
        named = re.findall(r"`([\w.]+)::(\w+)`", cells[2])
        if not named or re.sub(r"`[\w.]+::\w+`(, )?", "", cells[2]):
            wrong.append(f"docs/threat-model.md: '{cells[0]}' names no test, or has other text")
        for file, name in named:
            text = files[file].read_text() if file in files else ""
            if not re.search(rf"^(def|static void) {name}\(", text, re.M):
                wrong.append(f"docs/threat-model.md: there is no {file}::{name}")
    return n, wrong


# Phrases of a private dialect; docs/internals/glossary.md has the words that are used instead.
PHRASES = re.compile(
    r"\bowner's word\b|\b(?:its|your) word\b|\bin vain\b|\banew\b|\bnobody(?:'s)?\b"
    r"|(?-i:(?<!there )(?<!known )\b(?:is|are) none\b)|\bof (?:before|now)\b"
    r"|\bfor ever\b|\b(?:exactly|of) so many\b|\bso many of\b|\bwhoever\b|\bsomebody(?:'s)?\b|\bwhat stands\b|\btrouble\b"
    r"|\b(?:goes|gone) on\b|\btold\b|\btells of\b"
    r"|\bor a sentence\b", re.I)
# A sentence that begins with a pronoun in the place of a noun, and is no question.
PRONOUN_FIRST = re.compile(r"(?:^|(?<=[.;:] ))(?:Who|Whoever|Whatever|What(?! happens))\b [^.?]*[.]", re.M)
# How many there may be.
PHRASES_LEFT = {"docs": 0, "src": 0, "tests": 0}


def prose(path):
    """The text of a file without the parts that are code: fenced blocks and code spans. Names in tests are read as words."""
    text = path.read_text()
    if path.suffix == ".md":
        text = re.sub(r"^```.*?^```$", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
        text = re.sub(r"`[^`]*`", lambda m: "`" + "\n" * m[0].count("\n") + "`", text)
    elif "tests" in path.parts:
        text = text.replace("_", " ")
    return text


def phrases(top):
    """Phrases of a private dialect do not come back."""
    areas = {"docs": ("*.md", "docs/**/*.md", "docs/openapi.yaml", "docs/man/*", "CHANGES", "conf/**/*.conf"),
             "src": ("mod_agentchat.c", "src/**/*.[ch]"),
             "tests": ("Makefile", "conf/*.sh", "conf/*.mk", "src/www/*.js", "src/www/*.css", "src/www/*.d.ts", "tests/*.*",
                       "tests/**/*.[ch]", "tests/**/*.py", "tests/**/*.sh", "tests/**/*.*js", "tools/*.c", "examples/*.c")}
    n, wrong = 0, []
    for area, patterns in areas.items():
        found = []
        for path in sources(top, *patterns):
            if path.name in {"glossary.md", *LIBRARIES} or {"node_modules", "guards"} & set(path.relative_to(top).parts):
                continue
            n += 1
            text = prose(path).replace("www-data apache nobody", "")    # users
            hits = [*PHRASES.finditer(text), *(PRONOUN_FIRST.finditer(text) if area == "docs" else ())]
            found += [f"{path.relative_to(top)}:{text[:m.start()].count(chr(10)) + 1}: {m[0][:60]!r}" for m in hits]
        if len(found) > PHRASES_LEFT[area]:
            wrong += [f"{len(found)} phrases in {area}, at most {PHRASES_LEFT[area]}:", *found]
    return n, wrong
