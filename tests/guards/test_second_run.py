# SPDX-License-Identifier: Apache-2.0
"""What tests/httpd/second_run.py makes of tests that fail beside others: runs of pytest on tests that are planted here."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOOKS = Path(__file__).resolve().parents[1] / "httpd/second_run.py"

FINE = """
def test_fine():
    pass
"""

# `again` is there from the second call on.
ONCE = """
import os
from pathlib import Path
import pytest

@pytest.fixture
def tidy():
    yield
    assert Path("again-tidy").exists() or Path("again-tidy").touch(), "left something behind"

def test_once():
    assert Path("again").exists() or Path("again").touch(), "failed beside others"

def test_once_afterwards(tidy):
    pass
"""

ALWAYS = """
def test_always():
    assert not "always"
"""

ALONE = """
import os
import pytest

@pytest.mark.alone
def test_alone():
    assert "PYTEST_XDIST_WORKER" not in os.environ
"""

CRASH = """
import os

def test_crash():
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(7)
"""

CRASH_AGAIN = """
import os

def test_crash_again():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        os._exit(0)
    assert not "first"
"""


def test_early_files_are_there():
    names = re.findall(r'"(test_\w+)"', HOOKS.read_text().split("EARLY = (")[1].split(")")[0])
    assert len(names) >= 10 and not [name for name in names if not list(HOOKS.parent.glob(f"{name}*.py"))]


@pytest.fixture
def run(tmp_path):
    """The result of pytest with test files in parallel: (exit code, its output, its last line)."""
    def run(*texts, arguments=()):
        (tmp_path / "conftest.py").write_text(HOOKS.read_text())
        for number, text in enumerate(texts):
            (tmp_path / f"test_{number}.py").write_text(text)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile",
                               f"--basetemp={tmp_path}/temp", *arguments, "."], cwd=tmp_path, env=environment, capture_output=True,
                              text=True, timeout=120)
        said = done.stdout + done.stderr
        return done.returncode, said, re.sub(r" in .*", "", said.strip().splitlines()[-1])
    return run


def test_a_test_that_fails_once_passes_and_is_named(run):
    status, said, last = run(FINE, ONCE)
    assert (status, last) == (0, "3 passed"), said
    assert re.findall(r"^UNSTABLE (\S+)", said, re.M)[-2:] == ["test_1.py::test_once", "test_1.py::test_once_afterwards"], said
    assert "failed beside others" in said and "left something behind" in said


def test_a_test_that_always_fails_fails(run):
    status, said, last = run(FINE, ALWAYS, ONCE)
    assert (status, last) == (1, "1 failed, 3 passed"), said
    assert "FAILED test_1.py::test_always" in said and "UNSTABLE test_1.py::test_always" not in said


def test_a_test_runs_alone_that_asks_for_it(run):
    assert run(FINE, ALONE)[::2] == (0, "2 passed")
    assert run(FINE, ALONE, arguments=["-k", "fine"])[::2] == (0, "1 passed")
    assert run(FINE, ALONE, arguments=["-k", "alone"])[::2] == (0, "1 passed")


def test_a_process_that_dies_is_a_failure(run):
    status, said, last = run(FINE, CRASH)
    assert status == 1 and re.fullmatch(r"\d+ failed, 1 passed", last) and "crashed" in said, said


def test_a_second_run_that_dies_is_a_failure(run):
    status, said, last = run(FINE, CRASH_AGAIN)
    assert status not in (0, 5) and "did not finish" in said and "1 failed, 1 passed" == last, said


def test_a_file_that_cannot_be_read_is_a_failure(run):
    status, said, _ = run(FINE, "import nothing_of_this_name\n")
    assert status not in (0, 5) and "nothing_of_this_name" in said


# ---- programs without a server: tests/unit/run.py ----
def programs(*commands):
    done = subprocess.run([sys.executable, HOOKS.parents[1] / "unit/run.py", "2"], input="\n".join(commands), capture_output=True,
                          text=True, timeout=60)
    return done.returncode, done.stdout


def test_a_program_that_fails_once_passes_and_is_named(tmp_path):
    once = f"test -e {tmp_path}/again || {{ touch {tmp_path}/again; echo because; false; }}"
    status, said = programs("true", once)
    assert status == 0 and "because" in said and f"UNSTABLE beside others: failed first, passed alone: {once}" in said, said


def test_a_program_that_always_fails_fails():
    status, said = programs("true", "echo first; false", "kill -SEGV $$")
    assert status == 1 and "UNSTABLE" not in said and "3 programs, 2 failed" in said, said
    assert programs() == (1, "  0 programs, 0 failed\n")
