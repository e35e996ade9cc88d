#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what a release contains of other projects, and which libraries it needs (SBOM), in the form of CycloneDX 1.5: sbom.py ARCHIVE.
Scripts of others in src/www name themselves in their first line; libraries are those that the Makefile links. httpd and its own libraries
belong to it. A container image has a list of its own, with the versions that are in it."""
import hashlib
import json
import re
import subprocess
import sys
import uuid
from datetime import datetime, timezone
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]

# What -lNAME is: the project, and its licence.
LIBRARIES = {"curl": ("curl", "curl"), "jansson": ("jansson", "MIT"), "sqlite3": ("sqlite", "blessing"), "hiredis": ("hiredis", "BSD-3-Clause"),
             "yaml": ("libyaml", "MIT"),
             "z": ("zlib", "Zlib"), "ssl": ("openssl", "Apache-2.0"), "crypto": ("openssl", "Apache-2.0")}
OF_THE_SYSTEM = {"m", "pthread"}


def licence(name):
    return [{"license": {"id": name}}]


def scripts(folder):
    """Files of src/www that are made from packages of npm."""
    for path in sorted(folder.glob("*.js")):
        found = re.match(r"// (\S+) (\S+) \(([\w.-]+)\): (\S+\.LICENSE)\.$", path.read_text().partition("\n")[0])
        if found:
            name, version, terms, text = found[1].lower(), *found.groups()[1:]          # as npm has it
            assert (folder / text).exists(), f"{path.name} names {text}"
            purl = f"pkg:npm/{name}@{version}"
            yield {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl, "licenses": licence(terms),
                   "scope": "required", "properties": [{"name": "file", "value": f"src/www/{path.name}"}]}


def libraries(makefile):
    linked = set(re.findall(r"-l(\w+)", next(line for line in makefile.splitlines() if "-shared" in line))) - OF_THE_SYSTEM
    for name, terms in sorted({LIBRARIES[library] for library in linked} | {("httpd", "Apache-2.0")}):
        purl = f"pkg:generic/{name}"
        yield {"bom-ref": purl, "type": "application" if name == "httpd" else "library", "name": name, "purl": purl,
               "licenses": licence(terms), "scope": "required",
               "properties": [{"name": "linked", "value": "of the system, not part of the archive"}]}


def main(archive):
    commit, made = subprocess.run(["git", "-C", str(TOP), "log", "-1", "--format=%H %ct"], capture_output=True, text=True, check=True).stdout.split()
    version = re.search(r'AC_VERSION "([^"]+)"', (TOP / "src/agentchat.h").read_text())[1]
    purl = f"pkg:generic/mod_agentchat@{version}"
    components = [*scripts(TOP / "src/www"), *libraries((TOP / "Makefile").read_text())]
    json.dump({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, purl + '#' + commit)}",
        "metadata": {"timestamp": datetime.fromtimestamp(int(made), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "component": {
            "bom-ref": purl, "type": "application", "name": "mod_agentchat", "version": version, "purl": purl, "licenses": licence("Apache-2.0"),
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(Path(archive).read_bytes()).hexdigest()}],
            "properties": [{"name": "commit", "value": commit}]}},
        "components": components,
        "dependencies": [{"ref": purl, "dependsOn": [component["bom-ref"] for component in components]}],
    }, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(sys.argv[1])
