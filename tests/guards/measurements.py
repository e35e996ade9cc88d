# SPDX-License-Identifier: Apache-2.0
"""Measures the source: python3 tests/guards/measurements.py prints the table of docs/internals/measurements.md; with
"list", the items behind the figures. The guards compare the figures with their limits."""
import re
import statistics
import sys
from collections import defaultdict
from pathlib import Path

LAYERS = ["base", "wire", "io", "back", "agent", "front"]
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
FUNCTION = re.compile(r"^(?!typedef\b|struct \w+ \{|enum\b|union\b|#|else\b|extern\b)"
                      r"([A-Za-z_][^;{}#=]*?\b(\w+)\((?:[^;{}])*\))\n\{\n(.*?)^\}", re.M | re.S)


def plain(text):
    """C without comments and without the contents of strings; line numbers stay the same."""
    return TOKEN.sub(lambda m: '""' if m[0][0] in "\"'" else "\n" * m[0].count("\n"), text)


class File:
    def __init__(self, top, path):
        self.path = path.relative_to(top)
        self.text = path.read_text()
        self.code = plain(self.text)
        self.lines = self.text.splitlines()
        self.functions = []  # (name, is it static, lines of its body)
        for m in FUNCTION.finditer(self.code):
            self.functions.append((m[2], m[1].startswith("static"), m[3].count("\n")))
        self.words = set(re.findall(r"\b[A-Za-z_]\w*\b", self.code))

    @property
    def folder(self):
        return self.path.parent

    @property
    def layer(self):
        return self.path.parts[1] if len(self.path.parts) > 2 else "front"


def sources(top):
    paths = [top / "mod_agentchat.c", *sorted((top / "src").rglob("*.c"))]
    return [File(top, path) for path in paths if path.is_file()]


def headers(top):
    return [File(top, path) for path in sorted((top / "src").rglob("*.h"))]


def public(files):
    """name -> the file that defines it, of all functions that are not static."""
    return {name: file for file in files for name, static, _ in file.functions if not static and name.startswith("ac_")}


def shared_statics(files):
    """Static functions whose name is used in more than one file: name -> files."""
    found = defaultdict(set)
    for file in files:
        for name, static, _ in file.functions:
            if static:
                found[name].add(str(file.path))
    return {name: sorted(where) for name, where in found.items() if len(where) > 1}


def belongs(name, file):
    """Whether a public function has the name of its file: ac_run_queue_push() in run_queue.c, ac_agent_json() in agents.c."""
    stem = file.path.stem
    return any(name == f"ac_{each}" or name.startswith(f"ac_{each}_") for each in {stem, re.sub(r"s$", "", stem)})


def misnamed(files):
    return sorted(f"{file.path}: {name}()" for name, file in public(files).items() if not belongs(name, file))


def knots(files):
    """Files that call each other in a circle, the largest circle first: sorted lists of paths."""
    home = public(files)
    edges = {file.path: {home[word].path for word in file.words if word in home} - {file.path} for file in files}
    order, seen = [], set()
    for root in edges:  # Kosaraju's algorithm, without recursion
        stack = [(root, iter(edges[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            node, rest = stack[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                order.append(stack.pop()[0])
            else:
                seen.add(following)
                stack.append((following, iter(edges[following])))
    back = defaultdict(set)
    for node, others in edges.items():
        for other in others:
            back[other].add(node)
    found, placed = [], set()
    for root in reversed(order):
        circle, stack = [], [root] if root not in placed else []
        placed.add(root)
        while stack:
            node = stack.pop()
            circle.append(str(node))
            fresh = back[node] - placed
            placed |= fresh
            stack.extend(fresh)
        if len(circle) > 1:
            found.append(sorted(circle))
    return sorted(found, key=len, reverse=True)


def structs(files):
    """(fields, name) of each struct, the largest first. A struct inside of another counts as one field of it."""
    found = []
    for file in files:
        for m in re.finditer(r"\bstruct (\w+)\s*\{", file.code):
            depth, fields, at = 1, 0, m.end()
            while depth and at < len(file.code):
                c = file.code[at]
                depth += (c == "{") - (c == "}")
                if depth == 1 and c == ";":
                    fields += 1
                elif depth == 1 and c == "," and file.code[:at].count("(", m.end()) == file.code[:at].count(")", m.end()):
                    fields += 1
                at += 1
            found.append((fields, m[1]))
    return sorted(found, reverse=True)


def outside(files, others):
    """folder -> (public functions, those that a file of another folder uses); `others` are programs that use them too."""
    home, used = public(files), defaultdict(set)
    for file in [*files, *others]:
        for word in file.words & home.keys():
            if file.folder != home[word].folder:
                used[home[word].folder].add(word)
    return {str(folder): (sum(1 for f in home.values() if f.folder == folder), len(used[folder]))
            for folder in sorted({f.folder for f in home.values()})}


def unneeded(files, heads, others):
    """What a folder's own header publishes (back/sqlite/sqlite.h) though no file of another folder needs it: functions."""
    home, needed = public(files), defaultdict(set)
    for file in [*files, *heads, *others]:
        for word in file.words & home.keys():
            needed[word].add(file.folder)
    for head in heads:  # a macro of the header is used under the macro's name
        for word in re.findall(r"\b\w+\b", " ".join(re.findall(r"^#define (?:[^\n]*\\\n)*[^\n]*", head.code, re.M))):
            needed[word].add(None)
    return sorted(f"{head.path}: {word}()" for head in heads if head.path.stem == head.folder.name
                  for word in head.words & home.keys() if not needed[word] - {head.folder})


def wide(top, patterns=("mod_agentchat.c", "src/**/*.[ch]", "tools/*.c", "examples/**/*.c", "tests/**/*.[ch]")):
    """Lines of more than 120 columns: path:line."""
    return [f"{path.relative_to(top)}:{number}" for pattern in patterns for path in sorted(top.glob(pattern))
            for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120]


def rows(top):
    """(what is measured, its figure) in the order of the table."""
    files, heads = sources(top), headers(top)
    lengths = [len(file.lines) for file in files]
    functions = [(size, name) for file in files for name, _, size in file.functions]
    circles, all_structs = knots(files), structs(files + heads)
    n_public, wrong = len(public(files)), misnamed(files)
    shared = shared_statics(files)
    programs = [File(top, path) for path in sorted((top / "tools").glob("*.c"))]
    folders = outside(files, programs)
    comments = sum(1 for file in files for line in file.lines if re.match(r"\s*(/\*|\*|//)", line))
    code = sum(lengths)
    yield ".c files / .h files", f"{len(files)} / {len(heads)}"
    yield "lines .c / .h", f"{code:,} / {sum(len(file.lines) for file in heads):,}"
    yield "median / longest .c", f"{statistics.median(lengths):.0f} / {max(lengths)}"
    yield ".c files > 500 lines", str(sum(1 for n in lengths if n > 500))
    yield "functions / median length", f"{len(functions):,} / {statistics.median(n for n, _ in functions):.0f}"
    yield "functions > 60 lines / longest", f"{sum(1 for n, _ in functions if n > 60)} / {max(functions)[0]}"
    yield "whole comment lines", f"{100 * comments / code:.1f} %"
    yield "lines > 120 columns", str(len(wide(top)))
    yield "knots of calls (files in each)", ", ".join(str(len(circle)) for circle in circles) or "none"
    yield "static names in several files", f"{len(shared)} names, {sum(map(len, shared.values()))} functions"
    yield "structs > 40 fields; largest", f"{sum(1 for n, _ in all_structs if n > 40)}; {all_structs[0][1]} {all_structs[0][0]}"
    yield "public functions / not named by their file", f"{n_public} / {len(wrong)}"
    yield "published by a folder's header, needed by no other folder", str(len(unneeded(files, heads, programs)))
    for layer in LAYERS:
        mine = [pair for folder, pair in folders.items() if folder.split("/")[1:2] == [layer]]
        yield (f"public functions of {layer} (used outside of their folder)",
               f"{sum(n for n, _ in mine)} ({sum(n for _, n in mine)})")


def main(top, arguments):
    if arguments == ["list"]:
        files = sources(top)
        print("\n".join(f"misnamed {line}" for line in misnamed(files)))
        programs = [File(top, path) for path in sorted((top / "tools").glob("*.c"))]
        print("\n".join(f"unneeded {line}" for line in unneeded(files, headers(top), programs)))
        print("\n".join(f"static {name}: {', '.join(where)}" for name, where in shared_statics(files).items()))
        print("\n".join(f"knot of {len(circle)}: {' '.join(circle)}" for circle in knots(files)))
        print("\n".join(f"struct {name}: {n} fields" for n, name in structs(files + headers(top)) if n > 30))
        print("\n".join(f"wide {line}" for line in wide(top)))
    else:
        print("\n".join(f"| {what} | {figure} |" for what, figure in rows(top)))


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2], sys.argv[1:])
