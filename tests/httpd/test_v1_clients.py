# SPDX-License-Identifier: Apache-2.0
"""OpenAI's API below /v1 with its real clients, unchanged: the SDK in three versions, the AI SDK, LangChain."""
import json
import os
import subprocess

import pytest

import peers
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile
from model_server import Cut, Reply, answer, calls, head, reasons, token
from server import AGENT, MODEL, MOUNT, TOP, Server

SDKS = ("openai", "openai6", "openai4")
ALL = (*SDKS, "aisdk", "compatible", "langchain")
SWITCH = "<Location /api>\nAgentChatOpenAI on\n</Location>\n"


@pytest.fixture(scope="module")
def _site(_model):
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT + SWITCH).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def run(client, case, site, mount="/api", path="/v1", **data):
    """What the client makes of the server's answer."""
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    done = subprocess.run([peers.node_program(), str(TOP / "tests/clients/chat.mjs"), client, case,
                           f"http://127.0.0.1:{site.port}{mount}{path}", json.dumps(data)],
                          env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("case", ["whole", "stream"])
def test_an_answer(site, model, client, case):
    model.play(answer("Hello", " wörld", "!"))
    said = run(client, case, site)
    assert said.get("error") is None and said["text"] == "Hello wörld!" and said["finish"] == "stop", said
    assert len(model.requests) == 1


@pytest.mark.parametrize("client", SDKS)
def test_the_helper_and_the_models(site, model, client):
    model.play(answer("Hello", " world"))
    said = run(client, "helper", site)
    assert said["text"] == "Hello world" and said["same"] and said["finish"] == "stop", said
    said = run(client, "models", site)
    assert said["text"] == "assistant " and said["usage"]["object"] == "model", said


@pytest.mark.parametrize("client", ALL)
def test_tools_of_the_server_are_no_calls_for_the_client(site, model, client):
    model.play(calls(("calculate", {"expression": "6*7"})), answer("It is 42."))
    said = run(client, "stream", site)
    assert said["text"] == "It is 42." and not said.get("calls") and not said.get("errors"), said
    assert not any(part.startswith("tool") for part in said.get("parts", ())), said


@pytest.mark.parametrize("activity", ["none", "reasoning", "events"])
@pytest.mark.parametrize("client, case", [*((client, "stream") for client in ALL), *((client, "helper") for client in SDKS)])
def test_what_comes_beside_the_text(make_server, model, client, case, activity):
    """What the model thinks and the server's tools do, in each form that a setting has: no client takes it for text, a call or an error."""
    site = make_server(SWITCH.replace(" on\n", f" on activity={activity}\n"))
    model.play(reasons("Hm so.", calls(("calculate", {"expression": "6*7"}))), answer("It is", " 42.", prompt=9, completion=4))
    said = run(client, case, site)
    assert said["text"] == "It is 42." and said["finish"] == "stop" and said.get("error") is None and not said.get("errors"), said
    assert not said.get("calls") and not any(part.startswith("tool") for part in said.get("parts", ())), said
    thought = said.get("reasoning", "")
    assert ("Hm so." in thought) == (activity == "reasoning" and client != "aisdk"), said
    if case == "stream" and client in SDKS:
        assert said["usage"]["completion_tokens"] == 9, said      # of both calls of the model


@pytest.mark.parametrize("client", ALL)
def test_an_error_before_the_answer_comes_once(site, model, client):
    said = run(client, "whole", site, model="unknown")
    error = said["error"]
    assert error["status"] in (404, None) and "no agent with this id" in error["message"], said
    if client in SDKS:
        assert (error["name"], error["code"], error["type"], error["param"]) == ("NotFoundError", "model_not_found", "not_found_error",
                                                                                 "model"), said
        assert error["request"].startswith("req_"), said
    assert model.requests == []


@pytest.mark.parametrize("client", ALL)
def test_an_error_within_the_stream_comes_once(site, model, client):
    site.expect_log("AC0503")
    model.play(lambda _request: [head(), token("part"), Cut()])
    said = run(client, "stream", site)
    message = said["error"]["message"] if "error" in said else said["errors"][0]
    assert "the model's service broke its answer off" in message and len(said.get("errors", [0])) == 1, said
    assert len(model.requests) == 1


@pytest.mark.parametrize("client", SDKS)
def test_a_failed_run_is_not_started_again(site, model, client):
    """Only x-should-retry prevents that. LangChain and the AI SDK have retries of their own, which do not know it."""
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "no", "code": "x"}}))
    said = run(client, "whole", site)
    assert "did not take the request" in said["error"]["message"] and said["error"]["name"] == "InternalServerError", said
    assert len(model.requests) == 1


@pytest.fixture
def keyed(make_server):
    """A server whose mount /keys wants a key; `key` is one."""
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    server.key = keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                           "<Location /keys>\nAgentChatOpenAI on\n</Location>\n")
    return server.start()


@pytest.mark.parametrize("client", ALL)
def test_a_key(keyed, model, client):
    assert run(client, "whole", keyed, mount="/keys", key=keyed.key)["text"] == "Hello world"
    wrong = keyed.key[:-1] + ("0" if keyed.key[-1] != "0" else "1")
    error = run(client, "whole", keyed, mount="/keys", key=wrong)["error"]
    assert "the key is not known" in error["message"], error
    if client in SDKS:
        assert (error["name"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key"), error
        assert error["request"].startswith("req_"), error
    assert len(model.requests) == 1


@pytest.mark.parametrize("client", SDKS)
def test_the_client_for_azure(keyed, model, client):
    """It puts the deployment into the path, and the key into api-key."""
    said = run(client, "azure", keyed, mount="/keys", path="", key=keyed.key)
    assert said["text"] == "Hello world" and said["finish"] == "stop", said
