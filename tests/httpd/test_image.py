# SPDX-License-Identifier: Apache-2.0
"""The container image: built twice, and run with bubblewrap as a container platform does, in namespaces of its own, with a read-only
root, a user that is not root, and the entrypoint as the first process. `make image-test` runs it, as root; the figures that it prints are
those of docs/container.md."""
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from client import WAIT, Client
from container import DEMO, Container
from model_server import DONE, Gate, answer, finish, head, token
from server import BUILD, TOP, HeldPort, lives

pytestmark = pytest.mark.skipif(not os.environ.get("IMAGE_TEST"), reason="minutes: make image-test")

WORK = BUILD / "image-test"
STORAGE = """[storage]
driver = "vfs"
graphroot = "{work}/store"
runroot = "{work}/run"
"""
SHARE = "usr/share/agentchat"
MB = 1 << 20


def run(*words, **options):
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def storage():
    """The environment of buildah, whose images are below the build folder. It needs no namespaces of the machine."""
    WORK.mkdir(parents=True, exist_ok=True)
    (WORK / "storage.conf").write_text(STORAGE.format(work=WORK))
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(WORK / "storage.conf"), "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}


@pytest.fixture(scope="module")
def base(storage):
    """A Debian of debootstrap's in the place of debian:bookworm-slim, as a local image."""
    archive = WORK / "base.tar"
    if not archive.exists():
        shutil.rmtree(WORK / "base", ignore_errors=True)
        run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", WORK / "base")
        # The official image leaves out what has no reader there.
        for name in ("man", "locale", "info"):
            shutil.rmtree(WORK / "base/usr/share" / name, ignore_errors=True)
        for name in ("var/cache/apt/archives", "var/lib/apt/lists"):
            run("find", WORK / "base" / name, "-type", "f", "-delete")
        run("tar", "-C", WORK / "base", "--one-file-system", "-cf", WORK / "base.part", ".")
        (WORK / "base.part").rename(archive)
        shutil.rmtree(WORK / "base")
    name = "localhost/debian:bookworm-slim"
    if subprocess.run(["buildah", "inspect", "--type", "image", name], env=storage, capture_output=True).returncode != 0:
        container = run("buildah", "from", "scratch", env=storage).strip()
        run("buildah", "add", container, archive, "/", env=storage)
        run("buildah", "commit", container, name, env=storage)
        run("buildah", "rm", container, env=storage)
    return name


def build(folder, to, storage, base, umask):
    version = run("python3", "tests/guards/set_version.py", cwd=TOP).strip()
    environment = {**storage, "BASE": base, "SOURCE_DATE_EPOCH": "1760000000"}
    out = run("make", "--no-print-directory", "image", f"BUILD={to}", cwd=folder, env=environment, umask=umask)
    (to / "build.log").write_text(out)
    return to / f"image/mod-agentchat-{version}.tar", to / "image/sbom.cdx.json", f"mod-agentchat:{version}"


@pytest.fixture(scope="module")
def image(storage, base):
    """(OCI archive, list of contents, folder with the root)"""
    archive, sbom, name = build(TOP, WORK / "first", storage, base, 0o022)
    container = run("buildah", "from", "--pull-never", name, env=storage).strip()
    root = Path(run("buildah", "mount", container, env=storage).strip())
    yield archive, sbom, root
    run("buildah", "rm", container, env=storage)


class Boxed(Container):
    """A container of the image. Its volume outlives it."""

    def __init__(self, root, volume, shm=512 * MB):
        self.image, self.volume, self.shm = root, volume, shm
        volume.mkdir(exist_ok=True)
        self.held = HeldPort()
        self.port = self.held.number
        self.client = Client(self.port)
        self.process, self.lines = None, []

    def _popen(self, variables, *words):
        settings = [word for name, value in {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PORT": str(self.port), **variables}.items()
                    for word in ("--setenv", name, value)]
        read, write = os.pipe()
        process = subprocess.Popen(
            ["bwrap", "--unshare-user", "--uid", "33", "--gid", "33", "--unshare-pid", "--as-pid-1", "--unshare-ipc", "--cap-drop", "ALL",
             "--die-with-parent", "--new-session", "--info-fd", str(write), "--clearenv", *settings, "--ro-bind", self.image, "/",
             "--proc", "/proc", "--dev", "/dev", "--size", str(self.shm), "--tmpfs", "/dev/shm", "--size", str(16 * MB), "--tmpfs", "/tmp",
             "--bind", self.volume, "/var/lib/agentchat", f"/{SHARE}/container/entrypoint.sh", *words],
            pass_fds=[write], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        os.close(write)
        with open(read) as info:
            self.first = json.load(info)["child-pid"]
        return process

    def signal(self, number):
        os.kill(self.first, number)

    def kill(self):
        """The end of its first process is the end of all."""
        pids = self.pids()
        os.kill(self.first, signal.SIGKILL)
        self.process.wait(WAIT)
        deadline = time.monotonic() + WAIT
        while any(lives(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def pids(self):
        found, left = [], [self.first]
        while left:
            pid = left.pop()
            found.append(pid)
            left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def memory(self):
        """MB of all its processes: what they share is counted once."""
        kb = 0
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kb += int(line.split()[1])
        return kb / 1024

    def remove(self):
        self.stop()
        self.held.close()


@pytest.fixture
def box(image, tmp_path):
    box = Boxed(image[2], tmp_path / "volume")
    yield box
    box.remove()


def say(text):
    print(f"image: {text}")


def test_the_archive_is_small_and_says_how_it_is_run(image):
    blobs = WORK / "blobs"
    shutil.rmtree(blobs, ignore_errors=True)
    blobs.mkdir()
    run("tar", "-C", blobs, "-xf", image[0])

    def blob(digest):
        return blobs / "blobs/sha256" / digest.removeprefix("sha256:")
    entry, = json.loads((blobs / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(entry["digest"]).read_text())
    size = sum(layer["size"] for layer in manifest["layers"]) / MB
    say(f"{size:.0f} MB compressed, "
        f"{sum(file.stat().st_size for file in image[2].rglob('*') if file.is_file() and not file.is_symlink()) / MB:.0f} MB unpacked")
    assert size < 120
    config = json.loads(blob(manifest["config"]["digest"]).read_text())["config"]
    assert config["User"] == "33:33" and config["StopSignal"] == "SIGTERM" and list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["Entrypoint"] == [f"/{SHARE}/container/entrypoint.sh"] and list(config["Volumes"]) == ["/var/lib/agentchat"]
    shutil.rmtree(blobs)
    state = image[2] / "var/lib/agentchat"
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (33, 0o750)
    # The container's user can change nothing but its own folders, and no program makes it another user.
    found = run("find", image[2], "-xdev", "(", "-user", "33", "-o", "-group", "33", "-o", "-perm", "/6000", "-type", "f", ")",
                "-printf", "%P\n").split()
    assert [path for path in found if not path.startswith("var/cache/apache2/mod_auth_openidc")] == ["var/lib/agentchat"]


def test_the_same_sources_give_the_same_image(image, storage, base):
    """Built in another folder, by a user with another umask."""
    other = WORK / "other"
    shutil.rmtree(other, ignore_errors=True)
    files = run("git", "ls-files", cwd=TOP).split("\n")[:-1]
    for name in files:
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, other / name)
        (other / name).chmod(0o700 if os.access(TOP / name, os.X_OK) else 0o600)
    again = build(other, WORK / "second", storage, base, 0o077)
    shutil.rmtree(other)
    assert again[1].read_bytes() == image[1].read_bytes()
    assert again[0].read_bytes() == image[0].read_bytes(), f"{again[0]} differs from {image[0]}"


def test_the_list_of_contents_has_each_package(image):
    document = json.loads(image[1].read_text())
    assert document["bomFormat"] == "CycloneDX" and document["specVersion"] == "1.5"
    listed = {(component["name"], component["version"]) for component in document["components"] if component["type"] == "library"}
    text = (image[2] / "var/lib/dpkg/status").read_text()
    installed = set()
    for paragraph in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status") == "install ok installed":
            installed.add((fields["Package"], fields["Version"]))
    assert listed == installed and len(listed) > 80
    ours, = [component for component in document["components"] if component["name"] == "mod_agentchat"]
    assert ours["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    references = [component["bom-ref"] for component in document["components"]]
    assert len(references) == len(set(references)) and (image[2] / SHARE / "sbom.cdx.json").read_bytes() == image[1].read_bytes()
    for name in ("mod_agentchat.so", "mod_auth_openidc.so"):
        assert (image[2] / "usr/lib/apache2/modules" / name).exists()
    assert (image[2] / SHARE / "LICENSE").exists() and not (image[2] / "src").exists()


def test_programs_and_configtest(box):
    assert box.run(DEMO, "configtest") == (0, "Syntax OK\n")
    status, out = box.run({}, "agentchat-keys", "make", "/var/lib/agentchat/keys", "ann", "owner=ann")
    assert status == 0 and out.startswith("ack_ann_") and (box.volume / "keys").exists()
    assert box.run({}, "sh", "-c", "id -u; touch /x")[1].splitlines()[0] == "33"
    assert box.run({}, "touch", "/etc/x")[0] != 0
    assert box.run({})[0] == 2
    # Each sign-in loads what it needs.
    openid = {"AGENTCHAT_SIGN_IN": "openid", "AGENTCHAT_DEMO": "on", "OPENID_ISSUER": "https://x", "OPENID_JWKS": "https://x/keys",
              "OPENID_AUDIENCE": "x"}
    assert box.run(openid, "configtest") == (0, "Syntax OK\n")
    keys = {"AGENTCHAT_SIGN_IN": "keys", "AGENTCHAT_KEYS_FILE": "/var/lib/agentchat/keys", "AGENTCHAT_DEMO": "on"}
    assert box.run(keys, "configtest") == (0, "Syntax OK\n")


def test_it_streams_from_its_first_second_on(box):
    began = time.monotonic()
    box.start(**DEMO)
    events = box.client.stream("/agents/assistant/chat", {"message": "Hello"}).any()
    say(f"{time.monotonic() - began:.2f} s from the start to the first event of an answer")
    assert events
    assert box.client.stream("/agents/assistant/chat", {"message": "What is 18% tip on 75 euros?"}).rest()[-1].type == "done"
    site = Client(box.port, prefix="")
    assert site.get("/ready?check=store").json == {"status": "ready"} and site.get("/chat/").status == 200
    assert box.client.get("/threads").status == 200
    box.signal(signal.SIGTERM)
    assert box.wait() == 0
    assert all({"time", "level"} <= line.keys() for line in box.log())


def gated(model):
    """Answers that wait in their middle for one gate."""
    gate = Gate()

    def script(_request):
        yield head()
        yield token("It is ")
        yield gate
        yield token("13.50.")
        yield finish()
        yield DONE
    return gate, script


def many(box, model, n, then):
    """n answers at a gate: their streams, after their first tokens."""
    gate, script = gated(model)
    for _ in range(n):
        model.play(script)

    def one(_):
        stream = box.client.stream("/agents/assistant/chat", {"message": "x"})
        stream.until("token")
        return stream
    with ThreadPoolExecutor(16) as pool:
        streams = list(pool.map(one, range(n)))
        then()
        gate.open()
        return list(pool.map(lambda stream: stream.rest(), streams))


def begin(box, model):
    return box.start(AGENTCHAT_SIGN_IN="anonymous", AGENTCHAT_MODEL_ENDPOINT=model.url)


def test_a_thousand_streams(box, model):
    begin(box, model)
    box.client.get("/threads")
    say(f"{box.memory():.0f} MB of memory idle, {len(box.pids())} processes")

    def look():
        shm = Path(f"/proc/{box.first}/root/dev/shm")
        logs = sum(file.stat().st_blocks * 512 for file in shm.rglob("*") if file.is_file()) / MB
        say(f"{box.memory():.0f} MB with 1,000 active streams, each a run of its own, and {logs:.0f} MB in /dev/shm")
    ended = many(box, model, 1000, look)
    assert all(events[-1].type == "done" and events[-1].json["status"] == "completed" for events in ended)


def test_a_stop_lets_fifty_streams_end(box, model):
    begin(box, model)

    def stop():
        box.signal(signal.SIGTERM)
        assert box.refuses()
        box.signal(signal.SIGTERM)
    ended = many(box, model, 50, stop)
    assert len(ended) == 50 and all(events[-1].type == "done" and events[-1].json["status"] == "completed" for events in ended)
    assert box.wait() == 0
    assert len([line for line in box.log() if line.get("number") == "AC0504" and line["status"] == "completed"]) == 50
    box.held.close()
    box.__init__(box.image, box.volume)
    begin(box, model)
    assert len(box.client.get("/threads?limit=100").json["data"]) == 50


@pytest.mark.parametrize("shm, kept", [(512 * MB, False), (64 * MB, True)])
def test_a_kill_keeps_what_is_on_the_volume(image, model, tmp_path, shm, kept):
    """Docker's /dev/shm is 64 MB: the event logs are on the volume then, and the partial answer outlives the container. Otherwise it does
    not; all that was acknowledged does."""
    box = Boxed(image[2], tmp_path / "volume", shm)
    try:
        begin(box, model)
        model.play(answer("Whole."))
        assert box.client.stream("/agents/assistant/chat", {"message": "first"}).rest()[-1].type == "done"
        gate, script = gated(model)
        model.play(script)
        stream = box.client.stream("/agents/assistant/chat", {"message": "second"})
        stream.until("token")
        assert (box.volume / "events").exists() == kept
        box.kill()
        stream.close()
        gate.open()
        # The same process ids again, in another namespace.
        begin(box, model)
        box.wait_log(**({"number": "AC0504", "status": "interrupted"} if kept else {"number": "AC0208"}))
        second, first = box.client.get("/threads").json["data"]
        assert box.client.messages(first["id"])[-1]["content"] == "Whole."
        messages = box.client.messages(second["id"])
        assert messages[0]["content"] == "second"
        if kept:
            assert messages[1]["content"] == "It is " and messages[1]["metadata"]["finish_reason"] == "interrupted"
        model.play(answer("Again."))
        assert box.client.send(second["id"], "third").status == 200
    finally:
        box.remove()
