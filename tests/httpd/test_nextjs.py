# SPDX-License-Identifier: Apache-2.0
"""A front end elsewhere: examples/nextjs, built and served by Next.js on another origin, talks with the API by CORS."""
import os
import shutil
import subprocess

import pytest

import peers
from client import WAIT
from model_server import DONE, Gate, answer, finish, head, token, usage
from server import AGENT, MODEL, TOP, HeldPort, Server

EXAMPLE = TOP / "examples/nextjs"
MOUNT = """
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatCORSOrigin {origin}
</Location>
"""
pytestmark = pytest.mark.long


@pytest.fixture
def site(model, tmp_path):
    """The API, and the page on http://localhost. The packages of Next.js are 400 MB."""
    with HeldPort() as port:
        origin = f"http://localhost:{port}"
        server = Server(MODEL.format(url=model.url) + AGENT + MOUNT.format(origin=origin)).start()
        app = tmp_path / "app"
        shutil.copytree(EXAMPLE, app)
        shutil.copy(TOP / "src/www/agentchat.js", app / "app")
        shutil.copytree(peers.install(EXAMPLE), app / "node_modules", symlinks=True)     # it follows no link out of the folder
        node = peers.node_program()
        environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "NEXT_PUBLIC_AGENTCHAT_API": f"http://127.0.0.1:{server.port}/api"}
        next_program = [node, str(app / "node_modules/next/dist/bin/next")]
        done = subprocess.run([*next_program, "build"], cwd=app, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        page = subprocess.Popen([*next_program, "start", "-p", str(port)], cwd=app, env=environment, stdout=subprocess.PIPE, text=True)
        while "Ready" not in (line := page.stdout.readline()):
            assert line, "next start ended"
        yield server, origin
        page.kill()
        page.wait(WAIT)
        server.remove()


def test_an_answer_streams_into_a_page_of_nextjs(browser, site, model):
    server, origin = site
    gate = Gate()
    model.play(lambda _: [head(), token("One "), gate, token("two."), finish(), usage(), DONE], answer("Three."))
    tab = browser.context().newPage()
    tab.goto(origin)
    field, send = tab.getByRole("textbox", {"name": "Message"}), tab.getByRole("button", {"name": "Send"})
    field.fill("Count")
    send.click()
    tab.locator("p.answer", {"hasText": "One"}).waitFor()
    assert tab.locator("p.answer").innerText().strip() == "One"           # the rest has not come yet
    gate.open()
    tab.locator("p.answer", {"hasText": "One two."}).waitFor()
    field.fill("Further")
    send.click()
    tab.locator("p.answer", {"hasText": "Three."}).waitFor()
    assert [message["content"] for message in model.requests[1].json["messages"][1:]] == ["Count", "One two.", "Further"]
