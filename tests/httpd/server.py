# SPDX-License-Identifier: Apache-2.0
"""A real httpd with the module, on a port that the kernel chooses, in a root of its own."""
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from client import WAIT, Client

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BUILD_DIR", TOP / "build")).resolve()
MODULE = BUILD / "mod_agentchat.so"
# Another httpd than the machine's, installed below this directory: make older-httpd.
HOME = os.environ.get("HTTPD_HOME")
HTTPD = f"{HOME}/bin/httpd" if HOME else next((p for p in ("/usr/sbin/apache2", "/usr/sbin/httpd") if os.path.exists(p)),
                                              "httpd")
MODULES = Path(HOME, "modules") if HOME else next((Path(p) for p in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules")
                                                  if os.path.isdir(p)))
VERSION = tuple(map(int, re.search(r"Apache/([\d.]+)", subprocess.run([HTTPD, "-v"], capture_output=True, text=True,
                                                                     check=True).stdout)[1].split(".")))


def sanitizer():
    """The environment of a server whose module was built with AddressSanitizer (make asan)."""
    if not os.environ.get("ASAN"):
        return {}
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()
    # httpd itself leaves memory behind when it ends, so leaks are looked for in the unit tests only.
    return {"LD_PRELOAD": os.path.realpath(library), "UBSAN_OPTIONS": "print_stacktrace=1",
            "ASAN_OPTIONS": "detect_leaks=0:handle_abort=1:allocator_may_return_null=1"}


class HeldPort:
    """A port reserved while this is open. Connections are refused until a program of ours listens, which may happen
    several times. The kernel assigns it to no other program in between, neither to a listener on any port nor to
    a client."""

    def __init__(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # so may a listener that sets the option too
        self._socket.bind(("127.0.0.1", 0))
        self.number = self._socket.getsockname()[1]

    def __enter__(self):
        return self.number

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()


def load(*names):
    """LoadModule lines for those modules that are not built in."""
    lines = []
    for name in names:
        file = MODULES / f"mod_{name}.so"
        if file.exists():
            lines.append(f"LoadModule {name}_module {file}")
    return "\n".join(lines)


def user():
    for name in ("www-data", "apache"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("no user www-data or apache")


MODEL = """
<AgentChatModel scripted>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=scripted-1
    # A test looks at what there is while an answer waits at a gate, and takes its time.
    AgentChatTimeouts connect=10s first-byte=5min idle=5min total=10min
    AgentChatPrice input=1.00 cached=0.10 output=2.00 currency=USD
    # What one test makes fail shall not be left alone in the next.
    AgentChatBreaker off
</AgentChatModel>
"""

AGENT = """
<AgentChatAgent assistant>
    AgentChatModel scripted
    AgentChatInstructions "You are a test."
    AgentChatTools calculate get_weather
</AgentChatAgent>
AgentChatDefaultAgent assistant
"""

MOUNT = """
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
"""


# A mount with everything that only the role admin sees; needs no other module than this and httpd's own authn_core.
OPERATOR_KEY = "ack_operator_" + "0" * 40
OPERATOR = """
<Location "/operator">
    SetHandler agentchat
    AuthType AgentChat
    AuthName operators
    AgentChatKeys operator.keys
    Require all granted
</Location>
"""


# Another store than SQLite for every server whose configuration names none: as in AgentChatStore, {name} is the
# server's own, so that servers do not see each other's threads. (A port is used again after its server.)
STORE = os.environ.get("AGENTCHAT_TEST_STORE")

# Messages of httpd that appear without our module too: when it is stopped at the moment in which an answer ends; if its
# mod_ssl is newer than the machine's OpenSSL.
OF_HTTPD = [r"Bad file descriptor: AH0309[23]: process_\w+", r"AH01882: Init: this version of mod_ssl was compiled against"]
# Properties of these MPMs: streams hold threads; and children of worker before httpd 2.4.59 end late, see its CHANGES.
OF_MPM = {"worker": ["AC0608: ", *(["AH00045: ", "AH00288: "] if HOME else [])], "prefork": ["AC0608: "]}
# The same for a connection that a worker has just taken, was about to write to, or closes: only when a child ends.
OF_ENDING = [r"Bad file descriptor: (AH(10503|03465): process_socket: apr_pollset_add failure|AH00468: error closing socket)"]


class Server:
    """Writes a configuration and runs httpd with it. Lines of the error log at warning and above that a test has not
    announced with expect_log() fail it."""

    def __init__(self, directives, mpm="event", tuning="", modules=(), scheme="http", env=None, module=MODULE):
        base = Path(os.environ.get("TEST_ROOT", tempfile.gettempdir()))
        self.root = Path(tempfile.mkdtemp(prefix="agentchat-", dir=base))
        self.root.chmod(0o755)
        for name in ("logs", "state", "htdocs"):
            (self.root / name).mkdir()
        self.module = module
        self.mpm, self.tuning, self.modules, self.env = mpm, tuning, modules, {**sanitizer(), **(env or {})}
        self.held = HeldPort()
        self.port = self.held.number
        self.client = Client(self.port)
        self.process = None
        self.conf = self.root / "httpd.conf"
        self._log_seen = 0
        self._memory = set()
        self._expected = []
        self._ending = False
        keys = self.root / "operator.keys"
        keys.write_text(f"id=operator key=sha256:{hashlib.sha256(OPERATOR_KEY.encode()).hexdigest()} owner=operator roles=admin\n")
        keys.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(self.root / "state", user().pw_uid, user().pw_gid)
            os.chown(keys, 0, user().pw_gid)
        self.write(directives)

    # ---- configuration ----
    def write(self, directives):
        # The module is copied: a build tree below a private home cannot be read by the server's user.
        module = self.root / "mod_agentchat.so"
        if not module.exists():
            shutil.copy(self.module, module)
        account = f"User {user().pw_name}\nGroup {user().pw_name}" if os.geteuid() == 0 else ""
        self.conf.write_text(f"""
ServerRoot "{self.root}"
PidFile "{self.root}/httpd.pid"
DefaultRuntimeDir "{self.root}"
Listen 127.0.0.1:{self.port}
ServerName localhost
{load(*dict.fromkeys([f'mpm_{self.mpm}', 'unixd', 'authz_core', 'authn_core', 'log_config', 'logio', 'mime', 'headers', *self.modules]))}
LoadModule agentchat_module "{module}"
{account}
DocumentRoot "{self.root}/htdocs"
TypesConfig /dev/null
ErrorLog "{self.root}/logs/error.log"
LogLevel warn agentchat:debug
LogFormat "%>s %O %B %X %k %m %U" test
CustomLog "{self.root}/logs/access.log" test
GracefulShutdownTimeout 20
{self.tuning or self._tuning()}
AgentChatStateDir "{self.root}/state"
{self._store(directives)}
{directives}
""")

    def _store(self, directives):
        return f"AgentChatStore {STORE.format(name=self.root.name)}" if STORE and "AgentChatStore " not in directives else ""

    def _tuning(self):
        if self.mpm == "prefork":
            return "StartServers 4\nMaxRequestWorkers 16"
        return ("StartServers 1\nServerLimit 4\nThreadsPerChild 16\nMaxRequestWorkers 16\nMinSpareThreads 1\n"
                "MaxSpareThreads 64\n" + ("AsyncRequestWorkerFactor 100" if self.mpm == "event" else ""))

    def configtest(self):
        """(ok, what it printed)"""
        done = subprocess.run([HTTPD, "-t", "-f", str(self.conf)], capture_output=True, text=True, timeout=WAIT,
                              env={**os.environ, **self.env})
        return done.returncode == 0, done.stdout + done.stderr

    # ---- life ----
    def start(self):
        ok, text = self.configtest()
        assert ok, text
        environment = {**os.environ, **self.env}
        # A session of its own: prefork ends its children by a signal to the whole process group, which would be ours.
        # Reports of sanitizers go to the error log, with httpd's other output to stderr.
        self.process = subprocess.Popen([HTTPD, "-f", str(self.conf), "-DFOREGROUND"], env=environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.wait_up()
        return self

    def wait_up(self):
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                # httpd reads its configuration twice, and listens from the first time on.
                self.wait_children(1)
                return
            except OSError:
                assert self.process.poll() is None, "httpd ended at once:\n" + self.log()
                assert time.monotonic() < deadline, "httpd does not listen:\n" + self.log()
                time.sleep(0.02)

    def wait_children(self, n):
        """The port is open before the children are there."""
        deadline = time.monotonic() + WAIT
        while len(self.children()) < n:
            assert self.process.poll() is None, "httpd ended at once:\n" + self.log()
            assert time.monotonic() < deadline, f"{len(self.children())} of {n} children came:\n" + self.log()
            time.sleep(0.02)

    def send_signal(self, number):
        self._ending = True
        self.process.send_signal(number)

    def graceful(self):
        self.send_signal(signal.SIGUSR1)

    def replace_module(self, module):
        """As package managers do it: running children have the old file mapped."""
        shutil.copy(module, self.root / "mod_agentchat.so.new")
        os.replace(self.root / "mod_agentchat.so.new", self.root / "mod_agentchat.so")

    def _note_memory(self):
        """What this server keeps in /dev/shm outlives it, for its next start; a test has none."""
        try:
            maps = Path(f"/proc/{self.process.pid}/maps").read_text()
        except (AttributeError, OSError):
            return
        self._memory |= set(re.findall(r"(/dev/shm/agentchat-\w+)/", maps))

    def ready(self):
        """/ready as the role admin sees it; with OPERATOR in the configuration."""
        return Client(self.port, prefix="/operator").get("/ready", headers={"X-API-Key": OPERATOR_KEY})

    def stop(self, number=signal.SIGTERM):
        self._note_memory()
        if self.process and self.process.poll() is None:
            self.send_signal(number)
            self.process.wait(WAIT)
        self.process = None

    def kill(self):
        """kill -9 of all of httpd."""
        self._note_memory()
        self.process.kill()
        self.process.wait(WAIT)
        # Children are listed when their parent, which could start more, is dead.
        children = session_of(self.process.pid)
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wait_gone(children)

    @staticmethod
    def wait_gone(pids):
        deadline = time.monotonic() + WAIT
        while any(lives(pid) for pid in pids):
            assert time.monotonic() < deadline, "processes do not end"
            time.sleep(0.02)

    def children(self):
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(pid) for pid in text.split()]

    def remove(self):
        self.stop()
        self.held.close()
        for path in [self.root, *self._memory]:
            shutil.rmtree(path, ignore_errors=True)

    # ---- logs ----
    def log(self):
        file = self.root / "logs/error.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def access(self):
        """Lines of the access log, as (status, bytes sent, body bytes, connection, keepalives, method, path)."""
        file = self.root / "logs/access.log"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def wait_log(self, pattern, n=1):
        deadline = time.monotonic() + WAIT
        while len(found := re.findall(pattern, self.log())) < n:
            assert time.monotonic() < deadline, f"'{pattern}' is not in the log:\n{self.log()[-3000:]}"
            time.sleep(0.02)
        return found

    def wait_access(self, n):
        deadline = time.monotonic() + WAIT
        while len(lines := self.access()) < n:
            assert time.monotonic() < deadline, f"{len(lines)} of {n} access log lines:\n{lines}"
            time.sleep(0.02)
        return lines

    def expect_log(self, *patterns):
        self._expected += patterns

    def check_log(self):
        """What went wrong and was not expected."""
        text = self.log()
        fresh, self._log_seen = text[self._log_seen:], len(text)
        expected, self._expected = self._expected, []
        bad = []
        for line in fresh.splitlines():
            serious = re.search(r"\[[\w-]*:(warn|error|crit|alert|emerg)\]", line)
            if not serious and not re.search(r"AddressSanitizer|runtime error:|LeakSanitizer", line):
                continue
            of_mpm = OF_MPM.get(self.mpm, [])
            if not any(re.search(pattern, line) for pattern in [*expected, *OF_HTTPD, *of_mpm, *(OF_ENDING if self._ending else [])]):
                bad.append(line)
        return bad


def stat_fields(pid):
    """The fields of /proc/PID/stat behind the name: state, parent, group, session, and more; of a dead process,
    nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def lives(pid):
    """Whether a thread of it is left: its first one may be gone while others still hold what the process has open, as its port."""
    try:
        return stat_fields(pid)[0] != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (IndexError, FileNotFoundError, ProcessLookupError):
        return False


def session_of(leader):
    """The processes that began in this one's session, and live."""
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
            if stat_fields(pid)[3:4] == [str(leader)] and lives(pid)]
