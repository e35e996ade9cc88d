# SPDX-License-Identifier: Apache-2.0
"""tests/demo.http is sent from top to bottom, and each answer is as the comment above its request describes."""
import re
import shutil

import pytest

import http_file
from server import TOP, Server

DEMO = TOP / "tests/demo.http"
VARIABLES, STEPS = http_file.read(DEMO)

# The agents of the sample configuration, without the tools that need a network.
CONF = """
<AgentChatModel default>
    AgentChatProvider demo
    AgentChatEndpoint demo pace=1
</AgentChatModel>
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path {folder}
</AgentChatTool>
<AgentChatAgent support-triage>
    AgentChatModel default
    AgentChatTools calculate search_knowledge_base
</AgentChatAgent>
<AgentChatAgent ops-assistant azure-ops>
    AgentChatModel default
    AgentChatTools calculate
</AgentChatAgent>
AgentChatDefaultAgent support-triage
AgentChatFiles on reserve=0
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatOpenAI on
    AgentChatUI on
    AgentChatMCPServer on
    AgentChatAGUI on
</Location>
"""


@pytest.fixture(scope="module")
def demo_server():
    server = Server("")
    shutil.copytree(TOP / "conf/sample/knowledge", server.root / "knowledge")
    server.write(CONF.format(folder=server.root / "knowledge"))
    server.start()
    yield server
    server.stop()
    bad = server.check_log()
    server.remove()
    assert not bad, "unexpected lines in httpd's log:\n" + "\n".join(bad)


@pytest.fixture(scope="module")
def session(demo_server):
    return http_file.Session({**VARIABLES, "host": f"http://127.0.0.1:{demo_server.port}"})


@pytest.mark.parametrize("step", STEPS, ids=[re.sub(r"\W+", "-", step.title) for step in STEPS])
def test_demo_step(session, step):
    wrong = http_file.problem(step, session.send(step))
    assert not wrong, wrong


def test_demo_walks_every_route():
    """Each route of the manual is requested at least once, and each request has an expected answer."""
    assert all(step.expected for step in STEPS)
    routes = re.findall(r"^\| (GET|POST|PUT|PATCH|DELETE) `([^`]+)`", (TOP / "docs/api.md").read_text(), re.M)
    assert len(routes) > 20
    paths = [(step.method, re.sub(r"\{\{(?!agent\b|api\b)[^}]+\}\}", "x", step.url)) for step in STEPS]
    asked = [(method, path.replace("{{api}}", "").replace("{{agent}}", "x").split("?")[0]) for method, path in paths]
    for method, route in routes:
        pattern = re.sub(r"\{\w+\}", "[^/]+", route)
        assert any(m == method and re.fullmatch(pattern, path) for m, path in asked), f"{method} {route} is not in demo.http"


def test_demo_finds_a_wrong_answer(session):
    """The check itself: a wrong status, type and text are seen."""
    step = http_file.Step(" health", '# → 200: "status":"healthy"\nGET {{api}}/health\n')
    answer = session.send(step)
    assert http_file.problem(step, answer) is None
    for wrong in ((201, "application/json", []), (200, "text/plain", []), (200, "application/json", ['"status":"sick"'])):
        step.expected = wrong
        assert http_file.problem(step, answer)
