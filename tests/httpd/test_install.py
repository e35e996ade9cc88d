# SPDX-License-Identifier: Apache-2.0
"""`make install`, `make uninstall` and the packages put everything in the places of docs/install.md; a Debian
apache2 of its own loads the module by a2enmod."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from manual import blocks
from peers import debian_package
from server import BUILD, TOP, WAIT, HeldPort, user

LOAD, CONF = "etc/apache2/mods-available/agentchat.load", "etc/apache2/mods-available/agentchat.conf"
FIRST = TOP / "docs/first-configuration.md"
SO = "usr/lib/apache2/modules/mod_agentchat.so"
HEADERS = [f"usr/include/apache2/agentchat{part}.h" for part in ("", "_store", "_types")]
DEBIAN = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="Debian's packages are for Debian")


def make(*arguments, wait=600, **options):
    done = subprocess.run(["make", "-s", f"BUILD={BUILD}", *arguments], cwd=TOP, capture_output=True, text=True, timeout=wait, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def programs():
    return {path.stem.replace("_", "-") for path in (TOP / "tools").glob("agentchat_*.c")}


def expected(prefix, module, *configuration):
    page = {f"{prefix}/share/agentchat/www/{name}" for name in files(TOP / "src/www")} | {f"{prefix}/share/agentchat/chat-page.conf"}
    page |= {f"{prefix}/share/agentchat/systemd/{name}" for name in files(TOP / "conf/systemd")}
    # Where `make swagger-ui` has brought it.
    page |= {f"{prefix}/share/agentchat/swagger-ui/{name}" for name in files(BUILD / "swagger-ui")}
    return ({f"{prefix}/bin/{name}" for name in programs()} | {f"{prefix}/share/man/man1/{name}.1" for name in programs()} |
            page | {module, *configuration})


@DEBIAN
def test_install_keeps_changed_files_and_uninstall_removes_the_rest(tmp_path):
    said = make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert "a2enmod agentchat" in said
    assert files(tmp_path) == expected("usr", SO, *HEADERS, LOAD, CONF) and programs()
    (tmp_path / CONF).write_text("# changed\n")
    old = tmp_path / "usr/share/agentchat/www/of-an-older-version.js"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text("")
    assert ".dist" in make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert (tmp_path / CONF).read_text() == "# changed\n"
    assert files(tmp_path) == expected("usr", SO, *HEADERS, LOAD, CONF, CONF + ".dist")
    make("uninstall", f"DESTDIR={tmp_path}", "PREFIX=/usr")
    assert files(tmp_path) == {CONF}


@DEBIAN
def test_install_and_uninstall_leave_the_administrators_files_of_the_page(tmp_path):
    """Changed files of the administrator stay; unchanged ones are installed and removed with the page."""
    place = f"DESTDIR={tmp_path}", "PREFIX=/usr"
    www = tmp_path / "usr/share/agentchat/www"
    make("install", *place)
    shipped = (www / "style.css").read_text()
    theirs = {"custom.css": ":root { --accent: #14532d; }\n", "config.json": '{"title": "Ours"}\n'}
    for name, text in {**theirs, "style.css": "changed\n"}.items():
        (www / name).write_text(text)
    assert "custom.css" in make("install", *place)
    assert {name: (www / name).read_text() for name in theirs} == theirs and (www / "style.css").read_text() == shipped
    make("uninstall", *place)
    assert files(www) == set(theirs) and {name: (www / name).read_text() for name in theirs} == theirs
    for name in theirs:
        (www / name).unlink()
    make("install", *place)
    assert files(tmp_path) == expected("usr", SO, *HEADERS, LOAD, CONF)
    make("uninstall", *place)
    assert not files(tmp_path) and not www.parent.exists()


@pytest.mark.skipif(bool(os.environ.get("ASAN")), reason="a sanitizer takes the place of these checks")
@pytest.mark.parametrize("name", ["mod_agentchat.so", *sorted(programs())])
def test_installed_programs_are_hardened(name):
    """Tables that calls go through are read-only once it is loaded; bounds and the stack are checked."""
    said = subprocess.run(["readelf", "-W", "-d", "-l", "--dyn-syms", BUILD / name], capture_output=True, text=True, check=True).stdout
    assert re.search(r"FLAGS_1.*\bNOW\b", said) and "GNU_RELRO" in said and not re.search(r"GNU_STACK.* RWE", said)
    assert "__stack_chk_fail" in said and "_chk@" in said


def test_a_32_bit_build_is_refused(tmp_path):
    """The macro is what tells a compiler of 64 bits."""
    done = subprocess.run(["make", "-s", f"BUILD={tmp_path}", "CFLAGS=-U__LP64__", f"{tmp_path}/src/base/err.o"], cwd=TOP,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode and "needs a 64-bit system" in done.stderr, done


@pytest.mark.parametrize("layout, configuration", [
    ("fedora", {"etc/httpd/conf.modules.d/10-agentchat.conf", "etc/httpd/conf.d/agentchat.conf", "usr/lib/tmpfiles.d/agentchat.conf"}),
    ("httpd", {"etc/httpd/conf/extra/agentchat-load.conf", "etc/httpd/conf/extra/agentchat.conf"})])
def test_install_in_other_layouts(tmp_path, layout, configuration):
    make("install", f"DESTDIR={tmp_path}", "PREFIX=/usr", f"LAYOUT={layout}", "MODDIR=/usr/lib64/httpd/modules", "SYSCONF=/etc/httpd/conf",
         "INCDIR=/usr/include/httpd")
    assert files(tmp_path) == expected("usr", "usr/lib64/httpd/modules/mod_agentchat.so",
                                       *(path.replace("apache2", "httpd") for path in HEADERS), *configuration)


# ---- Debian's way ----
@pytest.fixture
def debian(tmp_path):
    """The root of a Debian apache2 as its package leaves it, which listens on a port of its own: (root, environment, port)."""
    subprocess.run(["dpkg-deb", "-x", debian_package("apache2"), tmp_path], check=True)
    # Where make puts it may not be readable for the server's user.
    for path in [tmp_path, *tmp_path.parents][:4]:          # processes beside each other have one more each
        path.chmod(path.stat().st_mode | 0o055)
    etc, port = tmp_path / "etc/apache2", HeldPort()
    (etc / "ports.conf").write_text(f"Listen 127.0.0.1:{port.number}\n")
    for name in ("run", "log", "lock", "state"):
        (tmp_path / "var" / name).mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(tmp_path / "var/state", user().pw_uid, user().pw_gid)
    (etc / "envvars").write_text("".join(f"export APACHE_{name}={value}\n" for name, value in {
        "RUN_USER": user().pw_name, "RUN_GROUP": user().pw_name, "PID_FILE": tmp_path / "var/run/apache2.pid",
        "RUN_DIR": tmp_path / "var/run", "LOCK_DIR": tmp_path / "var/lock", "LOG_DIR": tmp_path / "var/log"}.items()) + "export LANG=C\n")
    environment = {**os.environ, "APACHE_CONFDIR": str(etc), "APACHE_ENVVARS": str(etc / "envvars"),
                   "APACHE_STATE_DIRECTORY": str(tmp_path / "var/lib"), "PATH": f"{tmp_path}/usr/sbin:{os.environ['PATH']}:/usr/sbin"}
    yield tmp_path, environment, port.number
    pid = tmp_path / "var/run/apache2.pid"
    if pid.exists():
        os.kill(number := int(pid.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + WAIT
        while os.path.exists(f"/proc/{number}") and time.monotonic() < deadline:
            time.sleep(0.02)
    port.close()


def run(debian, *command):
    done = subprocess.run(command, env=debian[1], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@DEBIAN
@pytest.mark.skipif(bool(os.environ.get("ASAN")), reason="apache2ctl starts a server without the sanitizer")
def test_debians_apache_takes_it_by_a2enmod(debian):
    root, _, port = debian
    make("install", f"DESTDIR={root}", "PREFIX=/usr")
    load = root / LOAD
    load.write_text(load.read_text().replace(" /usr/lib/", f" {root}/usr/lib/"))
    run(debian, "a2enmod", "-q", "mpm_event", "alias", "authz_core", "authz_host", "dir", "headers", "mime", "agentchat")
    assert "Syntax OK" in run(debian, "apache2ctl", "configtest")
    # Then literally docs/first-configuration.md, except for the place of the state directory.
    api, page = [text for _, text in blocks(FIRST, "apache")][:2]
    with (root / CONF).open("a") as file:
        file.write(f"AgentChatStateDir {root}/var/state\nDefine AGENTCHAT_WWW {root}/usr/share/agentchat/www\n" + api +
                   page.replace(" /usr/", f" {root}/usr/"))
    assert "Syntax OK" in run(debian, "apache2ctl", "configtest")
    run(debian, "apache2ctl", "start")
    answer, selftest = [text for _, text in blocks(FIRST, "sh") if "curl" in text]
    said = run(debian, "bash", "-c", answer.replace("localhost/", f"127.0.0.1:{port}/"))
    events = [json.loads(line[5:]) for line in said.splitlines() if line.startswith("data:")]
    assert events[0]["type"] == "run" and events[-1]["type"] == "done", said
    assert "13.5" in "".join(event["content"] for event in events if event["type"] == "token")
    assert run(debian, "bash", "-c", selftest.replace("localhost/", f"127.0.0.1:{port}/")).count("data:") >= 10
    assert "export" in run(debian, "curl", "-sS", "--fail", f"http://127.0.0.1:{port}/chat/agentchat.js")
    run(debian, "a2dismod", "-q", "agentchat")
    done = subprocess.run(["apache2ctl", "configtest"], env=debian[1], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, "what was switched off is still read: " + done.stderr


# ---- packages ----
@pytest.mark.long
@pytest.mark.skipif(not shutil.which("rpmbuild") or not (TOP / ".git").exists(), reason="packages are made with rpmbuild from a clone")
def test_rpm_packages_are_built_and_have_no_errors(tmp_path):
    """With the unit tests of %check, and with what macros of Fedora and RHEL add: packages for debuggers."""
    macros = tmp_path / "macros"
    macros.write_text("%_enable_debug_packages 1\n%_debugsource_packages 1\n"
                      "%install %{?buildsubdir:%{debug_package}}\\\n%%install\\\n%{nil}\n")
    make("rpm", f"RPM_FLAGS=--nodeps --quiet --load={macros}", wait=3600)
    packages = sorted((BUILD / "rpm").rglob("*.rpm"))
    for name, file in (("debuginfo", "/mod_agentchat.so-"), ("debugsource", "/src/agentchat.h")):
        package, = [path for path in packages if f"-{name}-" in path.name]
        packages.remove(package)
        assert file in subprocess.run(["rpm", "-qlp", package], capture_output=True, text=True, check=True).stdout
    assert [re.sub(r"-\d.*?\.(\w+)\.rpm", r".\1", path.name) for path in packages] == [
        "mod_agentchat-devel.noarch", "mod_agentchat-page.noarch", f"mod_agentchat.{os.uname().machine}", "mod_agentchat.src"]
    listed = {path: subprocess.run(["rpm", "-qlp", path], capture_output=True, text=True, check=True).stdout.split() for path in packages}
    devel, page, main = (listed[path] for path in packages[:3])
    assert "/usr/include/httpd/agentchat.h" in devel and "/usr/include/httpd/agentchat.h" not in main
    for name in ("/usr/lib64/httpd/modules/mod_agentchat.so", "/etc/httpd/conf.d/agentchat.conf", "/var/lib/agentchat",
                 "/etc/httpd/conf.modules.d/10-agentchat.conf", "/usr/lib/tmpfiles.d/agentchat.conf",
                 *(f"/usr/bin/{name}" for name in programs())):
        assert name in main
    configuration = subprocess.run(["rpm", "-qcp", packages[1]], capture_output=True, text=True, check=True).stdout.split()
    assert set(configuration) == {f"/usr/share/agentchat/www/{name}" for name in ("custom.css", "config.json")}
    assert "/usr/share/agentchat/www/agentchat.js" in page and not [name for name in main if "/www/" in name]
    done = subprocess.run(["rpmlint", "-r", "rpm/mod_agentchat.rpmlintrc", *packages, "rpm/mod_agentchat.spec"], cwd=TOP,
                          capture_output=True, text=True, timeout=120)
    # Where rpmlint has a dictionary, it knows no httpd.
    errors = [line for line in done.stdout.splitlines() if re.search(r": E: (?!spelling-error)", line)]
    assert not errors and re.search(r"\d+ errors, \d+ warnings", done.stdout), done.stdout
