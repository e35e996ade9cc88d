# SPDX-License-Identifier: Apache-2.0
"""Each fault by a real client of each protocol: the client shows the error that is its own, once, and the model counts that nothing runs
twice."""
import json
import os
import secrets
import subprocess

import pytest

import peers
from client import Client
from cut_proxy import CutProxy
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile
from model_server import Cut, Gate, Reply, answer, calls, head, token
from runs import holding, wait_until
from server import AGENT, MODEL, MOUNT, TOP, Server

QUESTION = "What is it?"
ON = "AgentChatOpenAI on threads=X-Chat\nAgentChatUI on\nAgentChatAGUI on\nAgentChatMCPServer on\n"
LIMITED = MOUNT.replace("/api", "/limited").replace("</L", "    AgentChatLimit tokens=1/day\n</L")


class Talk:
    """One request of a client, which runs beside the test."""

    def __init__(self, script, *arguments, spoil=None, **more):
        environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients")), "SPOIL": spoil or ""}
        preload = ["--import", (TOP / "tests/clients/spoil.mjs").as_uri()] if spoil else []
        self._process = subprocess.Popen(
            [peers.node_program(), *preload, TOP / "tests/clients" / script, *arguments, json.dumps(more)], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self):
        out, err = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, out + err
        return json.loads(out.splitlines()[-1])


# How each client asks its question. A second attempt of an SDK gets the answer of an equal request, so that no two questions are equal.
def question():
    return f"{QUESTION} {secrets.token_hex(8)}"


def chat(base, key="none", agent="assistant", thread=None, said=(), **more):
    request = {"metadata": {"thread_id": thread}} if thread else {}
    return Talk("chat.mjs", "openai", "stream", base + "/v1", key=key, model=agent, request=request,
                messages=[*said, {"role": "user", "content": question()}], **more)


def responses(base, key="none", agent="assistant", thread=None, **more):
    request = {"conversation": thread.replace("thread_", "conv_")} if thread else {}
    return Talk("responses.mjs", "openai", "stream", base + "/v1", key=key, model=agent, request=request, input=question(), **more)


def use_chat(base, key="none", agent="assistant", thread=None, **more):
    return Talk("ui.mjs", "ai", base, id=thread or secrets.token_hex(8), headers={"X-API-Key": key}, body={"agent_id": agent},
                steps=[["send", question()]], **more)


def agui(version):
    def ask(base, key="none", agent="assistant", thread=None, **more):
        return Talk("agui.mjs", version, base, thread=thread or secrets.token_hex(8), headers={"X-API-Key": key}, agent=agent,
                    steps=[["send", question()]], **more)
    return ask


def mcp(version):
    def ask(base, key="none", agent="assistant", thread=None, patience=60, **more):
        arguments = {"message": question(), **({"thread_id": thread} if thread else {})}
        return Talk("mcp.mjs", version, base + "/mcp", headers={"X-API-Key": key},
                    steps=[["connect"], ["call", "ask_" + agent, arguments, {"progress": True, "timeout": 1000 * patience}]], **more)
    return ask


CLIENTS = {"chat": chat, "responses": responses, "useChat": use_chat, "agui": agui("@ag-ui/client"), "agui0": agui("agui0"),
           "mcp": mcp("pin"), "mcp1": mcp("sdk")}
EACH = pytest.mark.parametrize("client", CLIENTS)


def words(*known):
    return " ".join(str(one) for one in known if one is not None)


def shown(said):
    """Each error that the client shows, as a text of all that it knows of it."""
    if "given" in said:                 # MCP; a call without a connection is no error of its own
        failed = [one["error"] for one in said["given"] if one.get("error", {}).get("message") not in (None, "Not connected")]
        results = [one["result"] for one in said["given"] if one.get("result", {}).get("isError")]
        return [words(one["name"], one["code"], one["message"]) for one in failed] + [
            words(*(part["text"] for part in result["content"])) for result in results]
    if "pending" in said:               # AG-UI
        step, = said["steps"]
        error = step["error"] or {}
        return [words(error.get("status"), error.get("code"), error.get("message"))] * step["reports"]
    if "messages" in said:              # useChat
        assert (said["status"] == "error") == (said["error"] is not None)
        return [words(said["code"], said["error"])] if said["error"] is not None else []
    error = said.get("error")
    return [words(error["name"], error["status"], error["code"], error["message"])] if error else []


@pytest.fixture(scope="module")
def _site(_model):
    server = Server(MODEL.format(url=_model.url) + AGENT, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    server.key = keys.make("ann-1", "owner=ann")
    mounts = [MOUNT, LIMITED, MOUNT_WITH_KEYS.format(path=keys.path)]
    server.conf.write_text(server.conf.read_text() + "".join(mount.replace("</L", ON + "</L") for mount in mounts))
    yield server.start()
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def base(site, mount="/api", port=None):
    return f"http://127.0.0.1:{port or site.port}{mount}"


# ---- faults in an answer ----
CODES = {"chat": "APIError model_error ", "responses": "APIError server_error ", "useChat": "", "agui": "model_error ",
         "agui0": "model_error ", "mcp": "", "mcp1": ""}


@pytest.mark.parametrize("script, why", [
    (Reply(400, {"error": {"message": "no", "code": "x"}}), "the model's service did not take the request"),
    (lambda _request: iter([head(), token("part"), Cut()]), "the model's service broke its answer off")], ids=["before", "after"])
@EACH
def test_an_error_of_the_model_before_and_after_the_first_token(site, model, client, script, why):
    site.expect_log("AC0503")
    model.play(script)
    error, = shown(CLIENTS[client](base(site)).end())
    assert error.startswith(CODES[client]) and why in error and "model_error" in error, error
    assert len(model.requests) == 1


@EACH
def test_a_connection_that_is_cut_in_mid_stream(site, model, client):
    """No client sends a question again whose answer has begun. Those of MCP wait for the rest of it, until their patience ends."""
    gate = Gate()
    proxy = CutProxy(site.port)
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate))
    talk = CLIENTS[client](base(site, port=proxy.port), **({"patience": 15} if client.startswith("mcp") else {}))
    gate.wait_reached()
    begun = b"Calling calculate" if client.startswith("mcp") else b'"one"'
    wait_until(lambda: begun in proxy.answered, "the answer does not begin")
    proxy.cut()
    error, = shown(talk.end())
    assert ("Request timed out" if client.startswith("mcp") else "terminated") in error, error
    gate.open()
    proxy.stop()
    assert len(model.requests) == 2     # the answer, and before it the call of the tool


@EACH
def test_a_run_that_is_cancelled(site, model, client):
    """By another client. That is the end of an answer, and no error, except where the client wants the answer of a tool."""
    gate = Gate()
    model.play(holding(gate))
    thread = site.client.post("/threads").json["id"]
    talk = CLIENTS[client](base(site), thread=thread)
    gate.wait_reached()
    wait_until(lambda: site.client.get(f"/threads/{thread}/runs").json["data"], "the turn is not stored")
    run_id = site.client.get(f"/threads/{thread}/runs").json["data"][0]["id"]
    assert site.client.post(f"/runs/{run_id}/cancel").status == 202
    said = talk.end()
    gate.open()
    errors = shown(said)
    assert len(model.requests) == 1
    if client.startswith("mcp"):
        error, = errors
        assert error.startswith("one The run was cancelled"), error
        return
    assert errors == [], errors
    if client == "chat":
        assert said["text"] == "one" and said["finish"] == "stop", said
    elif client == "responses":
        assert said["text"] == "one" and said["response"]["status"] == "cancelled", said
    elif client == "useChat":
        assert said["messages"][-1]["metadata"]["status"] == "cancelled", said
    else:
        assert said["steps"][0]["events"][-1].get("outcome") == ({"type": "cancelled"} if client == "agui" else None), said


# ---- requests that are refused ----
@EACH
def test_a_thread_that_answers_another_question(site, model, client):
    gate = Gate()
    model.play(answer("Before."), holding(gate))
    thread = site.client.post("/threads").json["id"]
    assert site.client.send(thread, "first").status == 200
    stream = site.client.stream(f"/threads/{thread}/messages", {"content": "second", "stream": True})
    gate.wait_reached()
    more = {"said": [{"role": "user", "content": "first"}, {"role": "assistant", "content": "Before."}]} if client == "chat" else {}
    error, = shown(CLIENTS[client](base(site), thread=thread, **more).end())
    assert "run_in_progress" in error, error
    assert {"chat": "ConflictError 409", "responses": "ConflictError 409", "mcp": "the thread has", "mcp1": "the thread has"}.get(
        client, "409") in error, error
    gate.open()
    stream.rest()
    assert len(model.requests) == 2


def own(sdk, status, modern, legacy):
    """What each client knows of an answer with this status beside its words; for MCP, of the two versions."""
    return {"chat": f"{sdk} {status} ", "responses": f"{sdk} {status} ", "useChat": f"{status} ", "agui": f"{status} ",
            "agui0": f"{status} ", "mcp": modern, "mcp1": legacy}


REFUSED = {
    "limit": ({"mount": "/limited"}, "of the limit of 1 tokens each day", own("RateLimitError", 429, "of the limit", "of the limit")),
    "wrong key": ({"mount": "/keys"}, "the key is not known",
                  own("AuthenticationError", 401, "SdkHttpError CLIENT_HTTP_AUTHENTICATION ", "Error 401 ")),
    "unknown agent": ({"agent": "unknown"}, "no agent with this id",
                      own("NotFoundError", 404, "ProtocolError -32602 ", "McpError -32602 ")),
    "long body": ({"spoil": "long"}, "the body may have at most 1048576 bytes", own("APIError", 413, "SdkHttpError ", "Error 413 ")),
    "cut body": ({"spoil": "cut"}, "the document ends too early", own("BadRequestError", 400, "SdkHttpError ", "Error 400 ")),
}
OTHERWISE = {("wrong key", "mcp"): "(HTTP 401)",                # the client shows the challenge, and no words
             ("unknown agent", "mcp"): "no tool with this name", ("unknown agent", "mcp1"): "no tool with this name"}


@pytest.mark.parametrize("fault", REFUSED)
@EACH
def test_a_request_that_is_refused(site, model, client, fault):
    more, why, forms = REFUSED[fault]
    if fault == "limit":                # the first answer may take what there is
        use = {"message": "x", "stream": False}
        wait_until(lambda: Client(site.port, "/limited").post("/agents/assistant/chat", use).status == 429, "the limit does not count")
    before = len(model.requests)
    more = dict(more)
    at = base(site, more.pop("mount", "/api"))
    error, = shown(CLIENTS[client](at, key=site.key[:-1] + "!", **more).end())
    assert error.startswith(forms[client]) and OTHERWISE.get((fault, client), why) in error, error
    assert len(model.requests) == before
