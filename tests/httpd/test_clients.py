# SPDX-License-Identifier: Apache-2.0
"""docs/clients.md: every example runs as it is printed, and agentchat.js loses nothing when it is cut off."""
import json
import re
import shutil
import subprocess
import sys

import pytest

import peers
from browser import SOURCE
from cut_proxy import CutProxy
from model_server import DONE, Gate, answer, calls, finish, head, token, usage
from server import TOP, WAIT

PAGE = TOP / "docs/clients.md"
PROJECT = (TOP / "src/www/package.json").read_text()
EXAMPLES = {"sh": 1, "python": 1, "js": 4}
TOOL = calls(("calculate", {"expression": "75 * 0.18"}))
ANSWER = answer("It is ", "13.50", " €.")


def add_client(folder):
    """agentchat.js in a project, as described in docs/clients.md."""
    shutil.copy(TOP / "src/www/agentchat.js", folder / "agentchat.js")
    (folder / "package.json").write_text(PROJECT)


def examples(language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(found) == EXAMPLES[language]
    return found


def run(server, text, command, tmp_path, suffix):
    """What the example prints, with the port of this server in place of the page's."""
    file = tmp_path / f"example{suffix}"
    assert suffix == ".txt" or "http://localhost:8080/api" in text
    file.write_text(text.replace("http://localhost:8080/", f"http://127.0.0.1:{server.port}/"))
    add_client(tmp_path)
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_run_has_the_agent_of_the_examples():
    named, = set(re.findall(r"/agents/(\w+)/", PAGE.read_text()))
    assert re.search(rf"^<AgentChatAgent [^>]*\b{named}\b", (TOP / "conf/sample/httpd.conf").read_text(), re.M), named


def test_curl(server, model, tmp_path):
    model.play(TOOL, ANSWER)
    text, = examples("sh")
    said = run(server, text, ["bash", "-e"], tmp_path, ".sh")
    assert '"type":"done"' in said and '"content":"It is 13.50 €."' in said, said


def test_python(server, model, tmp_path):
    model.play(TOOL, ANSWER)
    text, = examples("python")
    said = run(server, text, [sys.executable], tmp_path, ".py")
    assert "[calculate: {'expression': '75 * 0.18', 'result': 13.5}]\nIt is 13.50 €.\n" == said


@pytest.fixture(params=[18, 22])
def node(request):
    """The oldest Node that docs/clients.md promises, and a newer one."""
    assert "for Node 18 and later" in PAGE.read_text()
    return peers.node_program(request.param)


@pytest.mark.parametrize("number, calls_shown", [(0, True), (1, False)])
def test_javascript(server, model, tmp_path, node, number, calls_shown):
    model.play(TOOL, ANSWER)
    said = run(server, examples("js")[number], [node], tmp_path, ".mjs")
    call = '[calculate: {"expression":"75 * 0.18","result":13.5}]\n' if calls_shown else ""
    assert said == f"{call}It is 13.50 €.\n"


@pytest.mark.parametrize("number", [2, 3])
def test_event_source(browser, page_server, model, number):
    """In the browser, on a page of the same server."""
    tab = browser.context().newPage()
    tab.goto(page_server.url + "config.json")
    model.play(TOOL, ANSWER)
    text = examples("js")[number]
    assert "new EventSource(" in text and text.endswith("console.log(answer);\n")
    said = tab.evaluate("(async () => { " + text.replace("console.log(answer)", "return answer") + " })()")
    assert said == "It is 13.50 €."


def test_the_promises_of_agentchat_js(node, tmp_path):
    """Every fault at an exact byte, against a scripted server."""
    for name in ("src/www/agentchat.js", "tests/browser/client.mjs"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(TOP / name, tmp_path / name)
    (tmp_path / "package.json").write_text(PROJECT)
    command = [node, "--test", "--test-reporter=tap", str(tmp_path / "tests/browser/client.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "# fail 0" in done.stdout and int(re.search(r"# pass (\d+)", done.stdout)[1]) >= 14


@pytest.fixture
def project(tmp_path):
    """A project that has the client as a package, without a setting for modules."""
    package = tmp_path / "node_modules/agentchat"
    package.mkdir(parents=True)
    for name in ("package.json", *json.loads(PROJECT)["files"]):
        shutil.copy(TOP / "src/www" / name, package / name)
    return tmp_path


def test_the_package(node, project):
    """Its names can be imported, in any Node that it promises to work with."""
    (project / "use.mjs").write_text("import { AgentChat, AgentChatError, EventStreamParser } from 'agentchat';\n"
                                     "console.log(Object.getOwnPropertyNames(AgentChat.prototype).sort().join(' '));\n")
    done = subprocess.run([node, str(project / "use.mjs")], capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    types = (TOP / "src/www/agentchat.d.ts").read_text()
    client = types[types.index("export class AgentChat {"):types.index("export class EventStreamParser")]
    declared = re.findall(r"^  (?:set )?(\w+)\(", client, re.M)
    assert done.stdout.split() == sorted(declared)
    assert json.loads(PROJECT)["version"] == re.search(r'AC_VERSION "(.*)"', (TOP / "src/agentchat.h").read_text())[1]


def test_types(project):
    """tsc --strict accepts the manual's calls and its example, and refuses wrong calls."""
    shutil.copy(TOP / "tests/browser/types.ts", project / "types.ts")
    (project / "example.ts").write_text(examples("js")[0].replace("'./agentchat.js'", "'agentchat'"))
    (project / "package.json").write_text('{"type": "module"}')
    command = [peers.node_program(), peers.install(SOURCE) / "typescript/lib/tsc.js", "--strict", "--noUncheckedIndexedAccess", "--noEmit",
               "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable", "types.ts", "example.ts"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=2 * WAIT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_agentchat_js_comes_back_to_a_real_server(server, model, tmp_path, node):
    """Cut twice in mid-answer: once while it sends, once while it follows."""
    gates = [Gate(), Gate()]

    def script(_request):
        yield head()
        for gate, text in zip(gates, "ab"):
            yield token(text)
            yield gate
        yield token("c")
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    proxy = CutProxy(server.port)
    add_client(tmp_path)
    file = tmp_path / "watch.mjs"
    file.write_text("import { AgentChat } from './agentchat.js';\n"
                    f"const chat = new AgentChat({{ url: 'http://127.0.0.1:{proxy.port}/api', backoff: {{ min: 10, max: 50 }} }});\n"
                    "for await (const event of chat.send(null, 'x', { agent_id: 'assistant' }))\n"
                    "  console.log(event.id, event.type, event.content ?? '');\n")
    watcher = subprocess.Popen([node, str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        seen = [watcher.stdout.readline().strip() for _ in range(2)]
        for gate in gates:
            assert proxy.cut()
            gate.open()
            seen.append(watcher.stdout.readline().strip())
        seen += [line.strip() for line in watcher.stdout]
        assert watcher.wait(WAIT) == 0, watcher.stderr.read()
        assert seen == ["1 run", "2 token a", "3 token b", "4 token c", "5 done"]
        assert len(model.requests) == 1
    finally:
        watcher.kill()
        watcher.wait()
        proxy.stop()
