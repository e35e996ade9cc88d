# SPDX-License-Identifier: Apache-2.0
"""Each limit has its answer. (Bodies: test_bad_input.py; rounds: test_conversation.py; streams of a child: test_delivery.py;
full models: test_model_outage.py.)"""
import base64
import json
import re
import subprocess
import time

import pytest

from model_server import DONE, Gate, calls, finish, token
from runs import holding
from server import MODULES, WAIT

WORKER = pytest.param("worker", marks=pytest.mark.skipif(not (MODULES / "mod_mpm_worker.so").exists(), reason="no worker MPM"))


def sign(name):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:pw-{name}".encode()).decode()}


@pytest.fixture
def signed(make_server):
    """A server whose /mine wants ann or bob to sign in; /api stays anonymous."""
    def make(directives, mpm):
        server = make_server(directives, mpm=mpm, start=False, modules=("auth_basic", "authn_core", "authn_file", "authz_user"))
        users = server.root / "users"
        users.write_text("".join(f"{name}:" + subprocess.run(
            ["openssl", "passwd", "-apr1", "pw-" + name], capture_output=True, text=True, check=True).stdout
            for name in ("ann", "bob")))
        users.chmod(0o644)
        server.conf.write_text(server.conf.read_text() + f"""
<Location "/mine">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile "{users}"
    Require valid-user
</Location>
""")
        return server.start()
    return make


@pytest.mark.parametrize("mpm", ["event", WORKER])
def test_streams_of_an_owner(signed, model, mpm):
    server = signed("AgentChatLimit streams=2\n<Location /api>\nAgentChatLimit off\n</Location>", mpm)
    client, gate = server.client, Gate()
    model.default = holding(gate)
    for prefix, owner in (("/api", None), ("/mine", "ann")):
        client.prefix = prefix
        headers = sign(owner) if owner else {}
        streams = [client.stream("/agents/assistant/chat", {"message": "x"}, headers=headers) for _ in range(2 if owner else 4)]
        for stream in streams:
            assert stream.status == 200     # nothing is counted in a place with AgentChatLimit off
            stream.until("token")
        kept = streams
    for stream in (True, False):
        response = client.post("/agents/assistant/chat", {"message": "x", "stream": stream}, headers=sign("ann"))
        assert (response.status, response.json["code"]) == (429, "rate_limited"), response
        assert int(response.headers["retry-after"]) >= 1 and "2 answers" in response.json["detail"]
        assert response.headers["content-type"] == "application/problem+json"
    assert client.get("/threads", headers=sign("ann")).status == 200    # only answers are counted
    other = client.stream("/agents/assistant/chat", {"message": "x"}, headers=sign("bob"))
    assert other.status == 200
    gate.open()
    assert [stream.rest()[-1].type for stream in kept] == ["done", "done"]
    assert other.rest()[-1].type == "done"
    model.reset()
    for _ in range(5):                      # a place is free again when the server has ended its request
        deadline = time.monotonic() + WAIT
        while (response := client.post("/agents/assistant/chat", {"message": "x", "stream": False}, headers=sign("ann"))).status == 429:
            assert time.monotonic() < deadline
        assert response.status == 200, response


def test_a_longer_answer_than_allowed(make_server, model):
    server = make_server("AgentChatMaxAnswer 1K")
    client, thread = server.client, server.client.thread()
    server.expect_log("AC0503")
    model.play(lambda _request: iter([token("a" * 1000), token("b" * 100), finish(), DONE]))
    response = client.send(thread, "x")
    assert (response.status, response.json["code"]) == (502, "model_error")
    assert "longer than 1024 bytes" in response.json["detail"]
    assert client.messages(thread)[-1]["content"] == "a" * 1000
    assert client.send(thread, "again").status == 200


def test_more_tools_at_once_than_allowed(make_server, model):
    server = make_server("""
<AgentChatAgent few>
    AgentChatModel scripted
    AgentChatTools calculate
    AgentChatMaxToolCalls 2
</AgentChatAgent>
""")
    server.expect_log("AC0503")
    one = ("calculate", {"expression": "1+1"})
    model.play(calls(one, one))
    assert server.client.post("/agents/few/chat", {"message": "x", "stream": False}).status == 200
    model.play(calls(one, one, one))
    response = server.client.post("/agents/few/chat", {"message": "x", "stream": False})
    assert (response.status, response.json["code"]) == (502, "model_error")
    assert "3 tools at once, and the agent allows 2" in response.json["detail"]
    assert len(model.requests) == 3


def test_more_tools_at_once_than_anybody_may_call(client, server, model):
    server.expect_log("AC0503")
    one = ("calculate", {"expression": "1+1"})
    model.play(calls(*[one] * 33))
    response = client.send(client.thread(), "x")
    assert (response.status, response.json["code"]) == (502, "model_error") and "32 tools" in response.json["detail"]
    model.play(calls(*[one] * 32))
    assert len(client.send(client.thread(), "x").json["tool_calls"]) == 32


def test_a_run_that_takes_too_long(make_server, model):
    server = make_server("AgentChatRunTimeout 3s")
    server.expect_log("AC0503")
    client, thread, never = server.client, server.client.thread(), Gate()
    model.play(holding(never))
    response = client.send(thread, "x")
    assert (response.status, response.json["code"]) == (504, "run_timeout") and "3s" in response.json["detail"]
    assert model.requests[0].closed.wait(WAIT)
    assert client.messages(thread)[-1]["content"] == "one"
    assert client.send(thread, "x").status == 200


def test_runs_in_the_queue(make_server, model):
    server = make_server("AgentChatMaxRuns 1\nAgentChatMaxQueuedRuns 0")
    server.expect_log("AC0503", "AC0652")
    client, gate = server.client, Gate()
    model.play(holding(gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    response = client.send(client.thread(), "x")
    assert (response.status, response.json["code"]) == (503, "overloaded") and int(response.headers["retry-after"]) >= 1
    gate.open()
    assert stream.rest()[-1].type == "done"


@pytest.mark.parametrize("header, status", [({"X-Long": "x" * 9000}, 400), ({f"X-{n}": "1" for n in range(120)}, 400)])
def test_headers_are_httpds_to_limit(client, header, status):
    """httpd refuses them before it knows where they go; the connection ends, and the next request is served."""
    response = client.get("/threads", headers=header)
    assert response.status == status
    assert client.get("/health").status == 200


def test_a_message_in_the_query_is_as_long_as_a_request_line(client):
    response = client.get("/agent/stream?message=" + "x" * 9000)
    assert response.status == 414
    assert client.get("/agent/stream?message=" + "x" * 4000).status == 200


def test_a_result_that_is_too_long_is_cut_and_said_to_be(make_server, model):
    server = make_server("""
<AgentChatAgent reader>
    AgentChatModel scripted
    AgentChatTools search_knowledge_base
</AgentChatAgent>
""", start=False)
    folder = server.root / "knowledge"
    folder.mkdir()
    for n in range(5):
        (folder / f"{n}.md").write_text(f"# Bread {n}\n\n" + "How bread is baked. " * 60)
    server.conf.write_text(server.conf.read_text() + f"""
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path {folder}
    AgentChatToolResultMax 1K
</AgentChatTool>
""")
    server.start()
    model.play(calls(("search_knowledge_base", {"query": "bread"})))
    message = server.client.post("/agents/reader/chat", {"message": "x", "stream": False}).json
    result = json.loads(model.requests[1].last["content"])["result"]
    assert "bread" in result and re.search(r"\(cut: 1024 of \d+ bytes\)$", result) and len(result) < 1100
    assert message["tool_calls"][0]["result"] == result
