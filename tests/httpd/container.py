# SPDX-License-Identifier: Apache-2.0
"""The entrypoint and the configuration of the container image, with this machine's httpd and the module of the build folder: only
paths.conf is another one. The image itself is test_image.py's."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from client import WAIT, Client
from server import HTTPD, MODULE, MODULES, TOP, HeldPort, session_of, sanitizer, user

SOURCE = TOP / "conf/container"
DEMO = {"AGENTCHAT_SIGN_IN": "anonymous", "AGENTCHAT_DEMO": "on"}


def table():
    """name -> words of conf/container/variables, in their order."""
    lines = [line.split(None, 2) for line in (SOURCE / "variables").read_text().splitlines() if line and not line.startswith("#")]
    return {name: words for name, _, words in lines}


class Container:
    """A folder with what the image has, and one process with its entrypoint, which is never root."""

    def __init__(self, loaded=None):
        """loaded: name -> file of modules that are loaded besides those of the image."""
        self.root = Path(tempfile.mkdtemp(prefix="agentchat-container-"))
        self.root.chmod(0o755)
        for name in ("state", "tmp"):
            (self.root / name).mkdir()
            if os.geteuid() == 0:
                os.chown(self.root / name, user().pw_uid, user().pw_gid)
        (self.root / "share").mkdir()
        shutil.copytree(SOURCE, self.root / "container")
        shutil.copytree(TOP / "src/www", self.root / "share/www")
        shutil.copy(TOP / "conf/sign-in-openid.conf", self.root / "share")
        page = (TOP / "conf/chat-page.conf").read_text()
        (self.root / "share/chat-page.conf").write_text(page)
        shutil.copy(MODULE, self.root)
        paths = (SOURCE / "paths.conf").read_text()
        for name, path in {"MODULES": MODULES, "AGENTCHAT": self.root / MODULE.name, "SHARE": self.root / "share",
                           "STATE": self.root / "state"}.items():
            paths, n = re.subn(rf"(?m)^(Define {name} +).*$", rf"\g<1>{path}", paths)
            assert n == 1, name
        for name, path in (loaded or {}).items():
            # The folder of the build may be closed to the container's user.
            paths += f'LoadModule {name} "{shutil.copy(path, self.root)}"\n'
        (self.root / "container/paths.conf").write_text(paths)
        self.held = HeldPort()
        self.port = self.held.number
        self.client = Client(self.port)
        self.process, self.lines = None, []

    def environment(self, variables):
        return {"PATH": f"{Path(HTTPD).parent}:{os.environ['PATH']}", "TMPDIR": str(self.root / "tmp"), "PORT": str(self.port),
                **sanitizer(), **variables}

    def _popen(self, variables, *words):
        other = {"user": user().pw_uid, "group": user().pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.Popen([self.root / "container/entrypoint.sh", *words], env=self.environment(variables), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **other)

    def run(self, variables, *words):
        """(exit code, output) of a start that ends by itself."""
        process = self._popen(variables, *words)
        out = process.communicate(timeout=WAIT)[0]
        return process.returncode, out

    def start(self, **variables):
        self.lines = []
        self.process = self._popen(variables)
        lines, process = self.lines, self.process
        self._reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
        self._reader.start()
        deadline = time.monotonic() + WAIT
        while True:
            try:
                if Client(self.port, prefix="").get("/health").status == 200:
                    return self
            except OSError:
                assert self.process.poll() is None, "".join(self.lines)
                assert time.monotonic() < deadline, "".join(self.lines)
                time.sleep(0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit code; then all lines are there."""
        status = self.process.wait(WAIT)
        self._reader.join(WAIT)
        return status

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGQUIT)
            self.wait()

    def kill(self):
        """kill -9 of all of it, as of a container."""
        self.process.kill()
        self.process.wait(WAIT)
        for pid in session_of(self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def log(self):
        """The objects that were printed; each line is one."""
        return [json.loads(line) for line in list(self.lines)]

    def wait_log(self, **members):
        deadline = time.monotonic() + WAIT
        while not (found := [line for line in self.log() if members.items() <= line.items()]):
            assert time.monotonic() < deadline, f"{members} is not in:\n{''.join(self.lines)}"
            time.sleep(0.02)
        return found[0]

    def refuses(self):
        """Whether nothing listens any more, within the time of a graceful stop."""
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), WAIT).close()
            except ConnectionRefusedError:
                return True
            time.sleep(0.02)
        return False

    def remove(self):
        self.stop()
        self.held.close()
        shutil.rmtree(self.root, ignore_errors=True)
