# SPDX-License-Identifier: Apache-2.0
"""A real Redis on the loopback, of a test's own."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from client import WAIT
from server import HeldPort

# The permissions that the module needs, and no more: the same as in docs/limits.md.
ACL = ("user default on >default ~* &* +@all\n"
       "user chat on >secret resetkeys ~agentchat:* resetchannels -@all +eval +evalsha +time +hgetall +hget +hset +hincrby +hdel +del "
       "+exists +pexpire +set +ping +select +lrange +rpush +rpushx +xadd +xrange +xrevrange +xread\n")


def certificates(directory):
    """ca.pem, another-ca.pem, and server.pem with server.key for 127.0.0.1 by the first one."""
    def run(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)
    for name in ("ca", "another-ca"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", name + ".key", "-out", name + ".pem", "-days", "2", "-subj",
            f"/CN={name}")
    (Path(directory) / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis")
    run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem", "-days", "2",
        "-extfile", "san")


# Debian's redis-tools has the whole server under the name of one of its tools; only redis-server has a service to start.
PROGRAM = shutil.which("redis-server") or shutil.which("redis-check-rdb")


class Redis:
    def __init__(self, tls=False):
        self.root = Path(tempfile.mkdtemp(prefix="agentchat-redis-"))
        self.root.chmod(0o755)
        self.tls = tls
        if tls:
            certificates(self.root)
        self._held = HeldPort()
        self.port = self._held.number
        self.process = None
        (self.root / "users.acl").write_text(ACL)

    def start(self):
        port = ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", "server.pem", "--tls-key-file", "server.key",
                "--tls-ca-cert-file", "ca.pem", "--tls-auth-clients", "no"] if self.tls else ["--port", str(self.port)]
        self.process = subprocess.Popen(["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--aclfile",
                                         str(self.root / "users.acl"), *port], executable=PROGRAM, cwd=self.root,
                                        stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT
        while self.cli("PING") != "PONG":
            assert self.process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.02)
        return self

    def cli(self, *command):
        tls = ["--tls", "--cacert", str(self.root / "ca.pem")] if self.tls else []
        return subprocess.run(["redis-cli", "--no-auth-warning", "-p", str(self.port), "-a", "default", *tls, *command],
                              capture_output=True, text=True, errors="replace", timeout=WAIT).stdout.strip()

    def hang(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        if self.process:
            self.go_on()
            self.process.kill()
            self.process.wait(WAIT)
        self.process = None

    def remove(self):
        self.stop()
        self._held.close()
        shutil.rmtree(self.root, ignore_errors=True)
