# SPDX-License-Identifier: Apache-2.0
"""docs/proxies.md and docs/existing-site.md: their configuration of proxies in front and of surrounding sites."""
import atexit
import functools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from manual import blocks
from peers import debian_package
from server import TOP, WAIT, HeldPort

PAGE, SITE = TOP / "docs/proxies.md", TOP / "docs/existing-site.md"
EVENTS = 10


def block(page, language, containing):
    text, = [text for _, text in blocks(page, language) if containing in text]
    return text


# ---- a proxy in front ----
@functools.cache
def nginx_program():
    """The installed one, or the one of Debian's package, unpacked: installed it would start a server on port 80."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program or not shutil.which("dpkg-deb"):
        return program
    unpacked = Path(tempfile.mkdtemp(prefix="agentchat-nginx-"))
    atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
    subprocess.run(["dpkg-deb", "-x", debian_package("nginx"), unpacked], check=True)
    return unpacked / "usr/sbin/nginx"


class Nginx:
    """The page's nginx in front of a server; with another HTTP version and more lines in its location."""

    def __init__(self, server, directory, version="1.1", more=()):
        self._held = HeldPort()
        self.port = self._held.number
        location = block(PAGE, "nginx", "proxy_pass").replace("http://127.0.0.1:8080", f"http://127.0.0.1:{server.port}")
        location = location.replace("proxy_http_version 1.1", f"proxy_http_version {version}")
        paths = "".join(f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf = directory / "nginx.conf"
        account = "user root; " if os.geteuid() == 0 else ""
        conf.write_text(f"{account} daemon off; pid {directory}/nginx.pid; error_log stderr; events {{}} http {{ access_log off; {paths}\n"
                        f"server {{ listen 127.0.0.1:{self.port};\n"
                        + location.replace("\n}", "\n" + "".join(line + ";\n" for line in more) + "}") + "} }\n")
        self.process = subprocess.Popen([nginx_program(), "-c", conf, "-p", directory], stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(WAIT)
        self._held.close()


def comes_as_it_is_sent(port):
    """Whether the self-test's first event is here before its last one was sent."""
    first, sent = None, []
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/selftest/stream", timeout=WAIT) as response:
        for line in response:
            if line.startswith(b"data:") and b"sent_at" in line:
                first = first or time.time()
                sent.append(datetime.fromisoformat(json.loads(line[5:])["sent_at"].replace("Z", "+00:00")).timestamp())
    assert len(sent) == EVENTS
    return first < sent[-1]


def passes_on(port):
    """On a machine that was busy just then a stream may look held back: it does not each time."""
    return any(comes_as_it_is_sent(port) for _ in range(5))


IGNORED = "proxy_ignore_headers X-Accel-Buffering"


BUFFERS = [("1.1", (), False), ("1.0", (), False), ("1.0", (IGNORED,), True), ("1.0", (IGNORED, "proxy_buffering off"), False)]


def test_the_self_test_shows_whether_nginx_buffers(server, tmp_path):
    """All at once, since each stream takes two seconds."""
    def buffers(case):
        number, (version, more, held_back) = case
        directory = tmp_path / str(number)
        directory.mkdir()
        nginx = Nginx(server, directory, version, more)
        try:
            return not (comes_as_it_is_sent if held_back else passes_on)(nginx.port)
        finally:
            nginx.stop()
    nginx_program()                         # fetched once, not by each thread
    with ThreadPoolExecutor(len(BUFFERS)) as pool:
        assert list(pool.map(buffers, enumerate(BUFFERS))) == [held_back for _, _, held_back in BUFFERS]


def test_through_httpds_own_proxy(server, make_server):
    text = block(PAGE, "apache", "ProxyPassReverse").replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    front = make_server(text, standard=False, modules=("proxy", "proxy_http"))
    assert passes_on(front.port)


# ---- a site around ----
def test_beside_everything_that_a_site_has(make_server):
    """A virtual host as on the page, with directives that seem to interfere: none of them does."""
    server = make_server("", start=False, modules=("alias", "dir", "rewrite", "deflate", "filter", "reqtimeout"))
    (server.root / "htdocs/index.php").write_text("the site")
    (server.root / "htdocs/api").mkdir()
    (server.root / "htdocs/api/.htaccess").write_text("Require all denied\n")
    server.conf.write_text(server.conf.read_text() + f"""
<Directory />
    AllowOverride All
    Require all denied
</Directory>
<VirtualHost *:{server.port}>
    ServerName www.example.com
    DocumentRoot "{server.root}/htdocs"
    SetOutputFilter DEFLATE
    FallbackResource /index.php
    Alias "/api" "{server.root}/htdocs"
    RewriteEngine On
    RewriteRule "^" "/index.php" [L]
</VirtualHost>
""")
    server.start()
    assert server.client.get("/health").json["status"] == "healthy"
    assert passes_on(server.port), "the mount outside of the virtual hosts is not in this one, or the site holds its stream back"


@pytest.mark.parametrize("containing", ["ProxyPass        \"/api\" \"!\"", "RewriteRule \"^/api"])
def test_beside_a_proxy(make_server, server, containing):
    """The module's own path stays; the rest goes to the backend, which here is another server."""
    text = block(SITE, "apache", containing).replace("127.0.0.1:3000", f"127.0.0.1:{server.port}")
    site = make_server(text, modules=("proxy", "proxy_http", "rewrite"))
    for name, port in (("here", site), ("there", server)):
        (port.root / "htdocs/where.txt").write_text(name)
    thread = site.client.post("/threads", {}).json["id"]
    assert site.client.get("/threads/" + thread).status == 200 and server.client.get("/threads/" + thread).status == 404
    site.client.prefix = ""
    assert site.client.get("/where.txt").body == b"there"
