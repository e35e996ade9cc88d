# SPDX-License-Identifier: Apache-2.0
"""Programs of others that the tests talk with: an emulator of Cosmos DB and the vendor's own packages, from npm. They are kept for the
next build folder: below ~/.cache/mod_agentchat."""
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from server import BUILD, TOP, HeldPort

SOURCE = TOP / "tests/peers"
NODE = TOP / "tests/node"                # the versions that node_program() knows
INSTALL_WAIT = 600


@contextlib.contextmanager
def one_at_a_time(folder):
    """Of several processes that run tests, one at a time fills a folder below build/."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept_folder():
    """The user's cache folder, which outlives the build folder; the build folder if there is none."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mod_agentchat"
        folder.mkdir(parents=True, exist_ok=True)
        return folder if os.access(folder, os.W_OK) else BUILD
    except (OSError, RuntimeError):
        return BUILD


def install(source=SOURCE):
    """node_modules of the folder\'s package-lock.json; installed once for each text of that file."""
    lock = (source / "package-lock.json").read_bytes()
    home = kept_folder() / f"{source.name}-{platform.machine()}-{hashlib.sha256(lock).hexdigest()[:16]}"
    with one_at_a_time(home):
        if not (home / "installed").exists():
            for name in ("package.json", "package-lock.json", ".npmrc"):
                if (source / name).exists():
                    shutil.copy(source / name, home / name)
            done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=home, capture_output=True, text=True,
                                  timeout=INSTALL_WAIT)
            assert done.returncode == 0, done.stdout + done.stderr
            (home / "installed").touch()
    return home / "node_modules"


def node_program(major=22):
    """A Node of tests/node/package.json, and not whichever the machine has."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    program = install(NODE) / f"node{major}-{machine}/bin/node"
    assert program.exists(), f"tests/node/package.json has no Node {major} for {platform.machine()}"
    return str(program)


def node(script, *arguments, wait=60):
    """What a script of tests/peers prints."""
    environment = {**os.environ, "PEERS": str(install())}
    done = subprocess.run([node_program(), str(SOURCE / script), *arguments], env=environment, capture_output=True, text=True, timeout=wait)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def debian_package(name):
    """The file of a package of Debian's, fetched once. It has its name when it is whole."""
    folder = BUILD / "debs"
    folder.mkdir(exist_ok=True)
    if not (found := list(folder.glob(f"{name}_*.deb"))):
        with tempfile.TemporaryDirectory(dir=folder) as part:
            subprocess.run(["apt-get", "download", "-q", name], cwd=part, check=True, timeout=120, capture_output=True)
            file, = Path(part).iterdir()
            found = [file.rename(folder / file.name)]
    return found[0]


def debian_files(name):
    """The folder with what is in a package of Debian's, unpacked once: to install it would change the machine."""
    folder = BUILD / "debs" / name
    with one_at_a_time(BUILD / "debs"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=BUILD / "debs") as part:
                subprocess.run(["dpkg-deb", "-x", debian_package(name), Path(part) / "files"], check=True)
                (Path(part) / "files").rename(folder)
    return folder


class Emulator:
    """@vercel/cosmosdb-server; knows no signatures, keeps everything in memory."""

    def __init__(self):
        self._held = HeldPort()
        self.port = self._held.number
        self.url = f"http://127.0.0.1:{self.port}"
        program = install() / "@vercel/cosmosdb-server/lib/cli.js"
        self.process = subprocess.Popen([node_program(), str(program), "-p", str(self.port), "--host", "127.0.0.1", "--no-ssl"],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        assert "Ready" in line, line + self.process.stdout.read()
        self.said = []
        threading.Thread(target=lambda: self.said.extend(self.process.stdout), daemon=True).start()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self._held.close()
