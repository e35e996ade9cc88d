# SPDX-License-Identifier: Apache-2.0
"""make release, on a tag of a clone: the files, their sums, twice the same bytes, and the list of what is in them."""
import json
import shutil
import subprocess
import tarfile

import jsonschema
import pytest

import peers
from server import TOP

VERSION = subprocess.run(["python3", "tests/guards/set_version.py"], cwd=TOP, capture_output=True, text=True, check=True).stdout.strip()
TAG = f"v{VERSION}"
PARTS = ["source", *(["deb"] if shutil.which("dh") else []), *(["rpm"] if shutil.which("rpmbuild") else [])]

pytestmark = [pytest.mark.long, pytest.mark.skipif(not (TOP / ".git").exists(), reason="a release is made in a clone")]


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, **options)


@pytest.fixture(scope="module")
def make_release(tmp_path_factory):
    """make_release(name, parts, tag): the folder of a release of the last commit, made in a clone of this name."""
    def make(name, parts, tag=TAG):
        clone = tmp_path_factory.mktemp(name) / name
        assert run("git", "clone", "-q", TOP, clone).returncode == 0
        run("git", "-C", clone, "tag", "-f", tag)
        # A clone that has been worked in: nothing of that belongs to the release.
        (clone / "src/agentchat.h").write_text("unfinished\n")
        done = run("make", "-s", "release", f"TAG={tag}", f"PARTS={' '.join(parts)}", cwd=clone)
        return done, clone / "build/release"
    return make


@pytest.fixture(scope="module")
def releases(make_release):
    made = [make_release(name, PARTS) for name in ("one", "another-folder")]
    for done, _ in made:
        assert done.returncode == 0, done.stdout + done.stderr
    return [folder for _, folder in made]


def test_a_tag_gives_the_same_files_twice(releases):
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in releases)
    assert sorted(one) == sorted(other)
    assert not [name for name in one if one[name] != other[name]]
    assert {f"mod_agentchat-{VERSION}.tar.gz", f"mod_agentchat-{VERSION}.cdx.json", "SHA256SUMS"} <= set(one)
    for part, ending in (("deb", "_all.deb"), ("deb", ".dsc"), ("rpm", ".src.rpm")):
        assert part not in PARTS or [name for name in one if name.endswith(ending)], ending
    listed = {line.split()[1] for line in one["SHA256SUMS"].decode().splitlines()}
    assert listed == set(one) - {"SHA256SUMS"}
    assert run("sha256sum", "--quiet", "-c", "SHA256SUMS", cwd=releases[0]).returncode == 0


def test_the_archive_builds_where_there_is_no_clone(releases, tmp_path):
    with tarfile.open(releases[0] / f"mod_agentchat-{VERSION}.tar.gz") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / f"mod_agentchat-{VERSION}"
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    done = run("make", "-s", "-j2", cwd=folder)
    assert done.returncode == 0 and (folder / "build/mod_agentchat.so").exists(), done.stderr


def test_the_list_of_contents_is_right(releases):
    """By the schema of CycloneDX, as its project's package has it."""
    document = json.loads((releases[0] / f"mod_agentchat-{VERSION}.cdx.json").read_text())
    folder = peers.install() / "@cyclonedx/cyclonedx-library/res/schema"
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.schema.json")}
    schema = schemas["bom-1.5.SNAPSHOT.schema.json"]
    store = {f"http://cyclonedx.org/schema/{name}": one for name, one in schemas.items()}
    resolver = jsonschema.RefResolver.from_schema(schema, store=store)
    jsonschema.Draft7Validator(schema, resolver=resolver).validate(document)
    names = {component["name"]: component.get("version") for component in document["components"]}
    wanted = json.loads((TOP / "tests/browser/package.json").read_text())["dependencies"]
    for name in ("highlight.js", "markdown-it", "temml"):
        assert names[name] == wanted[name]
    assert {"entities", "httpd", "curl", "openssl", "sqlite", "jansson", "hiredis", "libyaml", "zlib"} <= set(names)
    assert len(names) == len(document["components"]) == len(document["dependencies"][0]["dependsOn"])
    archive = releases[0] / f"mod_agentchat-{VERSION}.tar.gz"
    assert document["metadata"]["component"]["hashes"][0]["content"] == run("sha256sum", archive).stdout.split()[0]


@pytest.mark.parametrize("tag, parts, text", [("v99.0.0", ["source"], "has the version"), (TAG, ["nothing"], "no part nothing")])
def test_a_wrong_tag_or_part_is_refused(make_release, tag, parts, text):
    done, _ = make_release("refused", parts, tag)
    assert done.returncode != 0 and text in done.stderr
