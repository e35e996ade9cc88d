# SPDX-License-Identifier: Apache-2.0
"""The figures of measurements.py stay within their limits, and a fault that is put into a copy of the source is seen."""
import shutil
from pathlib import Path

import pytest

import measurements as m

TOP = Path(__file__).resolve().parents[2]

# The most there may be of each. A limit is only ever lowered.
MOST = {"misnamed": 0, "statics": 0, "knot": 8, "run": 17, "fields": 40, "wide": 0, "function": 60, "unneeded": 0}


def found(top):
    files, heads = m.sources(top), m.headers(top)
    circles = m.knots(files)
    run = [circle for circle in circles if all(path.startswith("src/agent/run/") for path in circle)]
    return {
        "misnamed": m.misnamed(files),
        "statics": sorted(m.shared_statics(files)),
        "knot": max((circle for circle in circles if circle not in run), key=len, default=[]),
        "run": max(run, key=len, default=[]),  # the states call the functions that enter other states
        "fields": ["-"] * m.structs(files + heads)[0][0],
        "wide": m.wide(top),
        "function": ["-"] * max(size for file in files for _, _, size in file.functions),
        "unneeded": m.unneeded(files, heads, [m.File(top, path) for path in sorted((top / "tools").glob("*.c"))]),
    }


def test_the_source_is_read():
    files = m.sources(TOP)
    assert len(files) >= 190 and sum(len(file.functions) for file in files) >= 2900 and len(m.public(files)) >= 800


@pytest.mark.parametrize("what", MOST)
def test_the_limits_hold(what):
    assert len(found(TOP)[what]) <= MOST[what], found(TOP)[what]


SPOILED = """
#include "base.h"
int ac_other_noun(void)
{
    return 1;
}

static int buf_spoiled(void)
{
    return 1;
}
"""
SPOILED += "/* " + "x" * 121 + " */\n" + "struct ac_spoiled_t {\n" + "    int a, b;\n" * 50 + "};\n"
SPOILED += "int ac_spoiled(void)\n{\n" + "    (void)0;\n" * 99 + "}\n"


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory):
    top = tmp_path_factory.mktemp("spoiled")
    shutil.copytree(TOP / "src", top / "src")
    shutil.copy(TOP / "mod_agentchat.c", top)
    (top / "src/base/spoiled.c").write_text(SPOILED)
    (top / "src/base/buf.c").write_text((top / "src/base/buf.c").read_text() + "static int buf_spoiled(void)\n{\n    return 1;\n}\n")
    (top / "src/base/base.h").write_text((top / "src/base/base.h").read_text() + "int ac_spoiled(void);\n")
    return found(top)


def test_faults_are_found(spoiled):
    assert "src/base/spoiled.c: ac_other_noun()" in spoiled["misnamed"] and "buf_spoiled" in spoiled["statics"]
    assert len(spoiled["fields"]) >= 100 and len(spoiled["function"]) >= 99
    assert any(line.startswith("src/base/spoiled.c:") for line in spoiled["wide"])
    assert "src/base/base.h: ac_spoiled()" in spoiled["unneeded"]


def test_a_circle_is_found(tmp_path):
    (tmp_path / "src/base").mkdir(parents=True)
    for name, other in (("one", "two"), ("two", "one"), ("three", "one")):
        (tmp_path / f"src/base/{name}.c").write_text(f"int ac_{name}(void)\n{{\n    return ac_{other}();\n}}\n")
    assert m.knots(m.sources(tmp_path)) == [["src/base/one.c", "src/base/two.c"]]
