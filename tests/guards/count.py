# SPDX-License-Identifier: Apache-2.0
"""Writes tests/guards/counts.json: how many things each guard looks at today."""
import json
from pathlib import Path

import guards
import test_guards

if __name__ == "__main__":
    counts = {name: getattr(guards, name)(test_guards.TOP)[0] for name in test_guards.CASES}
    (Path(__file__).parent / "counts.json").write_text(json.dumps(counts, indent=2) + "\n")
