# SPDX-License-Identifier: Apache-2.0
"""`make run` starts the described server and stops on request, `make clean` removes everything, and a build prints a
line for each file."""
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from client import WAIT, Client
from server import BUILD, TOP, HeldPort

pytestmark = pytest.mark.skipif(bool(os.environ.get("ASAN")), reason="make builds without the sanitizer")


def make(*arguments):
    done = subprocess.run(["make", "--no-print-directory", *arguments], cwd=TOP, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def build(tmp_path):
    """A build folder of a test's own, in which nothing is left to be built."""
    folder = tmp_path / "build"
    folder.mkdir()
    subprocess.run(["cp", "-a", "src", "mod_agentchat.o", "libagentchat.a", "mod_agentchat.so", folder], cwd=BUILD, check=True)
    yield folder
    make("clean", f"BUILD={folder}")


def test_one_short_line_for_each_file(tmp_path):
    target = f"{tmp_path}/src/base/limit.o"
    assert re.fullmatch(r"  CC +src/base/limit\.c\n", make(f"BUILD={tmp_path}", target))
    (tmp_path / "src/base/limit.o").unlink()
    assert "-Wall" in make(f"BUILD={tmp_path}", "V=1", target)


def test_a_build_has_one_name():
    """Else dependency files of one build are useless for the next."""
    assert f"{TOP}/build" not in make("-n", "-B", "V=1", f"BUILD={TOP}/build", "module", "tools")


class Run:
    def __init__(self, build, port, *arguments):
        self.port = port
        self.process = subprocess.Popen(["make", "--no-print-directory", "run", f"BUILD={build}", f"PORT={port}", *arguments], cwd=TOP,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if "Ctrl-C stops it" in line:
                return
        raise AssertionError(f"make run has ended: {self.said}")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), WAIT)

    def stop(self, number=signal.SIGTERM):
        """To make alone, as `kill` does: Ctrl-C goes to all that it has started."""
        self.process.send_signal(number)
        self.said += self.process.communicate(timeout=WAIT)[0]
        with pytest.raises(ConnectionRefusedError):
            self.connect()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_make_stops_the_server(build, number):
    with HeldPort() as port:
        run = Run(build, port)
        run.connect().close()
        assert "  CC" not in run.said and "gcc" not in run.said
        run.stop(number)
        assert "run: stopped" in run.said


def test_the_sample_takes_files(build):
    with HeldPort() as port:
        run, client = Run(build, port), Client(port)
        assert client.request("POST", "/files", b"words", headers={"Content-Type": "text/plain"}).status == 201
        assert client.get("/me").json["files"]["max_bytes"] == 20 << 20
        run.stop()


def test_the_sample_has_agents_that_ask_others(build):
    """Two specialists at once; the one for the weather, which is another site's, is refused here."""
    with HeldPort() as port:
        run, client = Run(build, port), Client(port)
        stream = client.stream("/agents/front-desk/chat", {"message": "How warm is it in Paris, and what is 15% of 250?"})
        events = []
        while not events or not events[-1].json.get("approval_required"):
            events.append(stream.next())
        asked = events[-1].json
        assert (asked["agent_id"], asked["tool"], asked["arguments"]["location"]) == ("meteorologist", "get_weather_if_approved", "Paris")
        run_id = events[0].json["run_id"]
        assert client.post(f"/runs/{run_id}/approvals", {"call_id": asked["call_id"], "approve": False}).status == 202
        text = "".join(e.json["content"] for e in stream.rest() if e.type == "token")
        assert "37.5" in text and "not approve" in text
        run.stop()


def test_a_slow_body_does_not_keep_its_thread(build, tmp_path):
    conf = tmp_path / "more.conf"
    conf.write_text("RequestReadTimeout body=1\n")
    with HeldPort() as port:
        run = Run(build, port, f"CONF={conf}")
        with run.connect() as connection:
            connection.settimeout(WAIT)
            connection.sendall(b"POST /api/threads HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Content-Length: 9\r\n\r\n{")
            said = connection.makefile("rb").readline()
            assert b" 408 " in said, said
        run.stop()


def test_clean_leaves_nothing(build):
    with HeldPort() as port:
        Run(build, port).stop()
    left = [line for file in ("data.path", "memory.path") if (build / "run" / file).exists()
            for line in (build / "run" / file).read_text().split()]
    assert left and all(os.path.isdir(path) for path in left), left
    make("clean", f"BUILD={build}")
    assert not [path for path in (*left, build) if os.path.exists(path)]


def test_clean_removes_the_files_of_a_removed_folder(build):
    with HeldPort() as port:
        Run(build, port).stop()
    if not (build / "run/data.path").exists():
        pytest.skip("all is in the build folder")
    data = (build / "run/data.path").read_text().strip()
    for path in (build / "run/memory.path").read_text().split():
        shutil.rmtree(path)
    shutil.rmtree(build)
    make("clean", f"BUILD={build}")
    assert not os.path.exists(data)


def test_uninstall_removes_the_memory_of_servers_that_are_gone(tmp_path):
    for name in ("agentchat-0123456789ab", "agentchat-ba9876543210", "other-ba9876543210"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "limits").write_text("")
    with (tmp_path / "agentchat-ba9876543210/limits").open():
        subprocess.run([TOP / "conf/install.sh", "memory", tmp_path], check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agentchat-ba9876543210", "other-ba9876543210"]
    assert "install.sh memory /dev/shm" in make("-n", "uninstall") and "install.sh memory" not in make("-n", "uninstall", "DESTDIR=/x")
