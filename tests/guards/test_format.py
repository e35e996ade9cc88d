# SPDX-License-Identifier: Apache-2.0
"""All C is as .clang-format has it. Another version of the program formats a few lines otherwise, so only version 15 counts."""
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


def unformatted(folder, files):
    command = ["clang-format-15", "--style=file", "--dry-run", "-Werror", "--ferror-limit=1", *files]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr


@pytest.fixture(scope="module")
def program():
    if not shutil.which("clang-format-15"):
        pytest.skip("clang-format-15 is not installed; Debian 12 has it, and other versions format a few lines differently")


def test_all_c_is_formatted(program):
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"]
    files = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout.split()
    assert len(files) >= 300
    assert not unformatted(TOP, files), "make format"


def test_a_wrong_brace_is_found(program, tmp_path):
    shutil.copy(TOP / ".clang-format", tmp_path)
    (tmp_path / "spoiled.c").write_text("int f(int a)\n{\n    if (a) return 1;\n    return 0;\n}\n")
    assert "spoiled.c:3" in unformatted(tmp_path, ["spoiled.c"])
