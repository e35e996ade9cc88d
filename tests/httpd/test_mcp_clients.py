# SPDX-License-Identifier: Apache-2.0
"""Clients of the Model Context Protocol, unchanged: version 1 and 2 of the TypeScript SDK, and the project's conformance suite."""
import json
import re
import subprocess

import pytest

import peers
from key_file import KeyFile, MODULES, bearer
from mcp import CLIENTS, OF, ON, end, run, start
from model_server import Gate, Reply, answer, calls
from runs import holding, run_of, wait_until
from server import TOP
from test_mcp_sign_in import KEYS
from test_sign_in import issuer, openid  # noqa: F401

EACH = pytest.mark.parametrize("kind", CLIENTS)


@pytest.fixture
def site(make_server):
    return make_server(ON)


@EACH
def test_a_conversation(site, model, kind):
    model.play(answer("Hel", "lo"), answer("Fine"))
    result = run(kind, site, ["list"], ["call", "ask_assistant", {"message": "hi"}], ["again", "ask_assistant", "and you?"], ["close"])
    connected, listed, first, second, _ = result["given"]
    assert connected["server"]["name"] == "mod_agentchat" and connected["capabilities"] == {"tools": {}}
    assert connected["version"] == {"legacy": "2025-11-25", "modern": "2026-07-28"}[OF[kind]] and connected["instructions"]
    assert [tool["name"] for tool in listed["tools"]] == ["ask_assistant"]
    contents = [given["result"]["structuredContent"] for given in (first, second)]
    assert [content["answer"] for content in contents] == ["Hello", "Fine"] and contents[0]["thread_id"] == contents[1]["thread_id"]
    assert [m["content"] for m in site.client.messages(contents[0]["thread_id"])] == ["hi", "Hello", "and you?", "Fine"]
    assert all(status in (200, 202) or method == "GET" and status == 405 for method, _, status, _ in result["sent"]), result["sent"]
    assert all(kind in ("application/json", None) for _, _, _, kind in result["sent"]), result["sent"]


@EACH
def test_progress_of_a_long_call(site, model, kind):
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate))
    process = start(kind, site, ["call", "ask_assistant", {"message": "x"}, {"progress": True}])
    assert process.stderr.readline() == "progress\n"
    gate.open()
    result = end(process)
    given = result["given"][1]
    assert given["reports"][0]["message"] == "Calling calculate" and given["result"]["structuredContent"]["answer"] == "onetwo"
    assert result["sent"][-1][1:] == ["tools/call", 200, "text/event-stream"]


@EACH
def test_progress_resets_the_clients_timeout(make_server, model, kind):
    """The call takes longer than its client waits for an answer: the heartbeats tell it that there is one to come."""
    site = make_server(ON.replace("on\n", "on\nAgentChatHeartbeat 1s\n", 1))
    gate = Gate()
    model.play(holding(gate, before=()))
    patience = {"progress": True, "timeout": 4000, "resetTimeoutOnProgress": True}
    process = start(kind, site, ["call", "ask_assistant", {"message": "x"}, patience])
    for _ in range(6):
        assert process.stderr.readline() == "progress\n"
    gate.open()
    given = end(process)["given"][1]
    assert given["result"]["structuredContent"]["answer"] == "two" and given["reports"][0]["message"] == "The agent is working"


@EACH
def test_a_call_that_the_client_gives_up(site, model, kind):
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate))
    process = start(kind, site, ["call", "ask_assistant", {"message": "x"}, {"progress": True, "stop": True}], ["list"])
    assert process.stderr.readline() == "progress\n"
    gate.wait_reached()
    process.stdin.write("stop\n")
    process.stdin.flush()
    run_id, _ = run_of(site.client)
    wait_until(lambda: site.client.get("/runs/" + run_id).json["status"] == "cancelled", "the run continues")
    result = end(process)
    assert "enough" in result["given"][1]["error"]["message"] and result["given"][2]["tools"]
    gate.open()


@EACH
def test_errors(site, model, kind):
    model.default = lambda _request: iter([Reply(500, {"error": {"message": "out of order"}})])
    failed, unknown, wrong = run(kind, site, ["call", "ask_assistant", {"message": "x"}], ["call", "nope", {}],
                                 ["call", "ask_assistant", {"message": ""}])["given"][1:]
    assert failed["result"]["isError"] and "(model_error" in failed["result"]["content"][0]["text"]
    assert unknown["error"]["code"] == -32602 and "no tool with this name" in unknown["error"]["message"]
    assert wrong["result"]["isError"] and "(message_empty)" in wrong["result"]["content"][0]["text"]
    site.expect_log("AC0503")


@EACH
def test_keys(make_server, model, kind):
    site = make_server(start=False, modules=MODULES)
    keys = KeyFile(site.root / "keys")
    key = keys.make("ann", "owner=ann")
    site.conf.write_text(site.conf.read_text() + KEYS.format(keys=keys.path, more=""))
    site.start()
    model.play(answer("Hello"))
    result = run(kind, site, ["call", "ask_assistant", {"message": "x"}], mount="/keys", headers=bearer(key))
    assert result["given"][1]["result"]["structuredContent"]["answer"] == "Hello"
    refused = run(kind, site, ["call", "ask_assistant", {"message": "x"}], mount="/keys", headers=bearer(key[:-1] + "!"))["given"]
    said = {"legacy": "the key is not known", "modern": "(HTTP 401)"}[OF[kind]]
    assert said in refused[0]["error"]["message"], refused
    assert len(model.requests) == 1


@pytest.mark.parametrize("name", ("sdk", "client"))
def test_where_a_client_gets_its_tokens(openid, issuer, model, name):  # noqa: F811
    """It follows the challenge of a 401 to the metadata, and finds the provider; a token of that provider signs it in."""
    directive = f"AgentChatMCPServer on authorization-server={issuer.url} scopes=Chat"
    openid.conf.write_text(openid.conf.read_text() + f"<Location /api>\n{directive}\n</Location>\n")
    openid.stop()
    openid.start()
    resource = f"http://127.0.0.1:{openid.port}/api/mcp"
    command = [peers.node_program(), TOP / "tests/clients/mcp_metadata.mjs", name, resource]
    done = subprocess.run(command, env={"PEERS": str(peers.install(TOP / "tests/clients"))}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["challenge"]["scope"] == "Chat"
    assert found["metadata"]["resource"] == resource and found["metadata"]["authorization_servers"] == [issuer.url]
    model.play(answer("Hello"))
    result = run(name, openid, ["call", "ask_assistant", {"message": "x"}], headers=bearer(issuer.token()))
    assert result["given"][1]["result"]["structuredContent"]["answer"] == "Hello"


@pytest.mark.parametrize("version", ("2025-11-25", "2026-07-28"))
def test_conformance(site, model, tmp_path, version):
    """The project's own suite. The file of expected failures says why each one is expected; one that does not fail is an error, too."""
    model.default = answer("Hello")
    suite = peers.install(TOP / "tests/clients") / "@modelcontextprotocol/conformance/dist/index.js"
    expected = TOP / f"tests/clients/mcp-conformance-{version}.yml"
    done = subprocess.run([peers.node_program(), suite, "server", "--url", f"http://localhost:{site.port}/api/mcp",
                           "--requirements", version, "--expected-failures", expected, "-o", tmp_path],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert version == "2025-11-25" or "✓ http-header-validation: 14 passed, 0 failed" in done.stdout
    # Whatever a scenario is about, each message of this server's is valid by the schema of the version.
    checks = [check for file in tmp_path.glob("*/checks.json") for check in json.loads(file.read_text())]
    assert len(checks) > 50 and [c for c in checks if c["id"] == "wire-schema-valid"]
    assert not [c for c in checks if c["id"] == "wire-schema-valid" and c["status"] != "SUCCESS"]
    for line in expected.read_text().splitlines():
        assert line in ("server:", "") or re.fullmatch(r"#.*|  - [\w-]+ +# \S.*", line), f"a failure without a reason: {line}"
    site.expect_log("AC0663")
