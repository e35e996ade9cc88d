# SPDX-License-Identifier: Apache-2.0
"""src/agentchat.h has the version. This writes a new one there and into all copies that other formats require:
python3 tests/guards/set_version.py 0.2.0; without an argument it prints the version."""
import re
import sys
from pathlib import Path

# file: the text before the version, and behind it
PLACES = {
    "src/agentchat.h": (r'#define AC_VERSION "', '"'),
    "rpm/mod_agentchat.spec": (r"^Version: +", "$"),
    # Its newest entry.
    "debian/changelog": (r"\Amod-agentchat \(", r"\)"),
    "src/www/package.json": (r'"version": "', '"'),
    "conf/kubernetes/kustomization.yaml": (r'^    newTag: "', '"'),
    "docs/openapi.yaml": (r"^  version: ", "$"),
    "docs/openapi.json": (r'"title":"mod_agentchat","version":"', '"'),
}


def versions(top):
    """file -> the version that it has."""
    return {file: ", ".join(re.findall(before + r"([\w.~-]+)" + behind, (top / file).read_text(), re.M))
            for file, (before, behind) in PLACES.items()}


def write(top, version):
    for file, (before, behind) in PLACES.items():
        path = top / file
        path.write_text(re.sub(f"({before})[\\w.~-]+({behind})", rf"\g<1>{version}\g<2>", path.read_text(), count=1, flags=re.M))


if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    if len(sys.argv) > 1:
        write(root, sys.argv[1])
    print(versions(root)["src/agentchat.h"])
