# SPDX-License-Identifier: Apache-2.0
"""MCP servers of others, unchanged, as sources of tools: the project's own, on version 1 and 2 of its SDK, and its suite for clients."""
import json
import os
import re
import subprocess

import pytest

import peers
from model_server import answer, calls
from runs import wait_until
from server import BUILD, TOP, HeldPort
from test_approvals import decide, ended
from test_mcp_client import MCP, ask, offered, tool_answers
from test_mcp_client_runs import wait_for_approval

SERVERS = TOP / "tests/mcp_servers"


@pytest.fixture
def run_server():
    """Starts a program of Node, and returns the port on which it listens."""
    started = []

    def start(script, *arguments, **environment):
        held = HeldPort()
        process = subprocess.Popen(
            [peers.node_program(), script, *(str(held.number) if one == "PORT" else one for one in arguments)],
            env={**os.environ, "PEERS": str(peers.install(SERVERS)), "PORT": str(held.number), "MCP_PORT": str(held.number), **environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append((process, held))
        said = ""
        while not re.search("listening", said, re.I):
            line = process.stdout.readline()
            assert line, said
            said += line
        return held.number
    yield start
    for process, held in started:
        process.kill()
        process.communicate()
        held.close()


@pytest.fixture
def everything(run_server, make_server):
    script = peers.install(SERVERS) / "@modelcontextprotocol/server-everything/dist/index.js"
    port = run_server(script, "streamableHttp")
    return make_server(MCP.format(url=f"http://127.0.0.1:{port}/mcp", more="AgentChatMCPTools !get-env !gzip-*"))


def test_the_tools_of_the_everything_server(everything, model):
    model.play(answer("x"))
    events = everything.client.stream("/agents/clerk/chat", {"message": "go"}).rest()
    assert "missing_tools" not in events[0].json
    names = set(offered(model)) - {"calculate"}
    assert {"one_echo", "one_get-sum", "one_get-structured-content", "one_trigger-long-running-operation"} <= names
    assert "one_get-env" not in names and all(tool["parameters"]["type"] == "object" for tool in offered(model).values())


def test_calls_of_the_everything_server(everything, model):
    ask(everything, model, calls(("one_echo", {"message": "hello"}), ("one_get-sum", {"a": 2, "b": 40}), ("one_get-tiny-image", {}),
                                 ("one_get-structured-content", {"location": "Chicago"}), ("one_get-resource-links", {"count": 2}),
                                 ("one_echo", {})), answer("x"))
    echo, added, image, structured, links, wrong = [one.get("result", one.get("error")) for one in tool_answers(model)]
    assert echo == "Echo: hello" and "42" in added
    assert [block["type"] for block in image if "type" in block].count("image") == 1 and "data" not in json.dumps(image)
    assert set(structured) == {"temperature", "conditions", "humidity"}
    assert [block["uri"] for block in links if block["type"] == "resource_link"]
    assert "message" in wrong                   # the arguments are checked before anything is sent


def test_progress_of_the_everything_server(everything, model):
    events = ask(everything, model, calls(("one_trigger-long-running-operation", {"duration": 1, "steps": 4})), answer("x"))
    shown = [event.json["progress"] for event in events if "progress" in event.json]
    assert shown and all(one["total"] == 4 for one in shown) and shown[-1]["progress"] == 4
    assert "completed" in tool_answers(model)[0]["result"]


def test_the_form_of_the_everything_server(everything, model):
    """A field of each kind, with defaults; the server checks the values, too. The run is resumed by another process."""
    run, asked = wait_for_approval(everything, model, calls(("one_trigger-elicitation-request", {})), answer("x"))
    form = asked["question"]["form"]
    assert len(form["properties"]) == 13 and form["required"] == ["name"]
    everything.stop()
    everything.start()
    filled = {"name": "Ann", "check": True, "email": "ann@example.org", "birthdate": "1990-02-03", "integer": 7,
              "untitledMultipleSelectEnum": ["Piano", "Bass"], "titledSingleSelectEnum": "hero-2"}
    wait_until(lambda: decide(everything, run, True, content=filled).status == 202, "the run does not wait")
    assert ended(everything, run)["status"] == "completed"
    given = json.dumps(tool_answers(model)[0]["result"])
    assert "User provided the requested information" in given and all(
        line in given for line in ("Name: Ann", "Agreed to terms: true", "Email: ann@example.org", "Birthdate: 1990-02-03", "Integer: 7"))


def test_an_example_of_version_1(run_server, make_server, model):
    """With sessions and a store of events. The other examples listen on a port that cannot be chosen."""
    port = run_server(peers.install(SERVERS) / "@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js")
    server = make_server(MCP.format(url=f"http://127.0.0.1:{port}/mcp", more=""))
    ask(server, model, calls(("one_greet", {"name": "Ann"})), answer("x"))
    assert tool_answers(model)[0]["result"] == "Hello, Ann!"
    ask(server, model, calls(("one_start-notification-stream", {"interval": 50, "count": 3})), answer("x"))
    assert tool_answers(model)[0]["result"].startswith("Started sending periodic notifications")


@pytest.mark.parametrize("era", ["both", "legacy"])
def test_version_2(run_server, make_server, model, era):
    port = run_server(SERVERS / "sdk2.mjs", "PORT", era)
    server = make_server(MCP.format(url=f"http://127.0.0.1:{port}/mcp", more=""))
    ask(server, model, calls(("one_add", {"a": 2, "b": 40}), ("one_region", {"name": "süd"}), ("one_fail", {})), answer("x"))
    added, region, failed = tool_answers(model)
    assert added["result"] == {"sum": 42} and region["result"] == "in süd"
    assert failed["error"] == "the MCP server 'one' reports an error: out of order"


def test_a_question_of_version_2(run_server, make_server, model):
    port = run_server(SERVERS / "sdk2.mjs", "PORT")
    server = make_server(MCP.format(url=f"http://127.0.0.1:{port}/mcp", more=""))
    run, asked = wait_for_approval(server, model, calls(("one_deploy", {"env": "production"})), answer("Done."))
    assert asked["question"] == {"server": "one", "message": "Deploy to production?"}
    wait_until(lambda: decide(server, run, True).status == 202, "the run does not wait")
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0]["result"] == "deployed to production"


@pytest.mark.parametrize("approve, said", [(True, "deployed to production"), (False, None)])
@pytest.mark.parametrize("restart", [False, True])
def test_a_question_of_version_1(run_server, make_server, model, approve, said, restart):
    """It is asked on the stream of the call, which the server keeps in its store of events."""
    port = run_server(SERVERS / "sdk1.mjs", "PORT")
    server = make_server(MCP.format(url=f"http://127.0.0.1:{port}/mcp", more=""))
    run, asked = wait_for_approval(server, model, calls(("one_deploy", {"env": "production"})), answer("Done."))
    assert asked["question"] == {"server": "one", "message": "Deploy to production?"}
    if restart:
        server.stop()
        server.start()
    wait_until(lambda: decide(server, run, approve).status == 202, "the run does not wait")
    assert ended(server, run)["status"] == "completed" and tool_answers(model)[0].get("result") == said


PASSING = {"2025-11-25": ["initialize", "tools_call", "sse-retry"],
           "2026-07-28": ["tools_call", "request-metadata", "sep-2322-client-request-state", "http-standard-headers", "http-custom-headers",
                          "http-invalid-tool-headers", "json-schema-ref-no-deref"]}


def conformance(version, folder, *options):
    suite = peers.install(TOP / "tests/clients") / "@modelcontextprotocol/conformance/dist/index.js"
    expected = TOP / f"tests/clients/mcp-client-conformance-{version}.yml"
    done = subprocess.run(
        [peers.node_program(), suite, "client", "--command", f"/usr/bin/python3 {TOP / 'tests/httpd/mcp_host.py'}", *options,
         "--expected-failures", expected, "--timeout", "240000", "-o", folder],
        env={**os.environ, "BUILD_DIR": str(BUILD)}, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    checks = [check for file in folder.rglob("checks.json") for check in json.loads(file.read_text())]
    assert not [c for c in checks if c["id"] == "wire-schema-valid" and c["status"] != "SUCCESS"]
    return done.stdout, checks


@pytest.mark.parametrize("version, scenario", [(version, name) for version, names in PASSING.items() for name in names])
def test_conformance_of_the_client(tmp_path, version, scenario):
    _, checks = conformance(version, tmp_path, "--scenario", scenario, "--spec-version", version)
    assert [c for c in checks if c["status"] == "SUCCESS"] and not [c for c in checks if c["status"] == "FAILURE"]


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.parametrize("version", PASSING)
def test_the_whole_suite_for_clients(tmp_path, version):
    """The file of expected failures says why each one is expected; one that does not fail is an error, too."""
    said, checks = conformance(version, tmp_path, "--requirements", version)
    assert set(re.findall(r"^✓ ([\w/-]+): [1-9]", said, re.M)) == set(PASSING[version]), said[-3000:]
    assert [c for c in checks if c["id"] == "wire-schema-valid"]
    for line in (TOP / f"tests/clients/mcp-client-conformance-{version}.yml").read_text().splitlines():
        assert line in ("client:", "") or re.fullmatch(r"#.*|  - [\w/-]+ +# \S.*", line), f"a failure without a reason: {line}"
