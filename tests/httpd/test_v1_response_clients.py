# SPDX-License-Identifier: Apache-2.0
"""The Responses API with its real clients, unchanged: the SDK in three versions, the AI SDK with two providers, LangChain, OpenAI's
Agents SDK."""
import json
import os
import subprocess

import pytest

import peers
from approvals import CAREFUL
from model_server import Cut, Gate, Reply, answer, calls, head, reasons, token
from server import AGENT, MODEL, MOUNT, TOP, Server

SDKS = ("openai", "openai6", "openai4")
STREAMING = ("openai", "openai6")           # version 4 has no helper for streams of responses that are followed
OTHERS = ("aisdk", "open", "langchain", "agents")
ALL = (*SDKS, *OTHERS)
SWITCH = "<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\n"


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
    """What the client makes of the server's answers."""
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    done = subprocess.run([peers.node_program(), str(TOP / "tests/clients/responses.mjs"), client, case,
                           f"http://127.0.0.1:{site.port}{mount}{path}", json.dumps(data)],
                          env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def well(said):
    assert said.get("error") is None and not said.get("errors"), said
    return said


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("case", ["whole", "stream"])
def test_an_answer(site, model, client, case):
    model.play(answer("Hello", " wörld", "!"))
    assert well(run(client, case, site))["text"] == "Hello wörld!"
    assert len(model.requests) == 1


@pytest.mark.parametrize("client", SDKS)
def test_the_helper(site, model, client):
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me see."), answer("It is", " 42."))
    said = well(run(client, "helper", site))
    assert said["text"] == "Let me see.It is 42." and said["types"][-1] == "response.completed", said
    assert [item["type"] for item in said["response"]["output"]] == ["message", "mcp_call", "message"], said


@pytest.mark.parametrize("client", ALL)
def test_what_the_model_thinks(site, model, client):
    model.play(reasons("I need a sum.", answer("It is", " 42.")))
    said = well(run(client, "helper" if client in SDKS else "stream", site))
    assert said["text"] == "It is 42.", said
    if client in ("aisdk", "open"):
        assert said["reasoning"].strip() == "I need a sum.", said


@pytest.mark.parametrize("client", OTHERS)
def test_tools_of_the_server_are_no_calls_for_the_client(site, model, client):
    model.play(calls(("calculate", {"expression": "6*7"})), answer("It is 42."))
    said = well(run(client, "stream", site))
    assert said["text"] == "It is 42." and not said.get("calls"), said
    assert client != "aisdk" or (said["called"]["name"] == "mcp.calculate" and said["called"]["provider"] and said["result"]), said


@pytest.mark.parametrize("client", ALL)
def test_a_second_turn(site, model, client):
    """By previous_response_id, by references to items, by items with and without ids."""
    model.play(answer("Hello"), answer("And", " now this."))
    assert well(run(client, "turns", site))["text"] == "And now this."
    sent = [(m["role"], m["content"]) for m in model.requests[-1].json["messages"] if m["role"] != "system"]
    assert sent == [("user", "hi"), ("assistant", "Hello"), ("user", "and now?")], sent
    newest = site.client.get("/threads").json["data"][0]
    assert newest["message_count"] == 4, newest                 # one thread has both turns


@pytest.mark.parametrize("client", ALL)
def test_clients_carry_out_their_tools(site, model, client):
    model.play(calls(("look", {"what": "it"})), answer("It is", " found."))
    said = well(run(client, "tools", site))
    assert said["text"] == "It is found." and said["called"] == {"what": "it"} and len(model.requests) == 2, said
    sent = model.requests[-1].json["messages"][-1]
    assert sent["role"] == "tool" and "found it" in sent["content"], sent


@pytest.mark.parametrize("client", SDKS)
def test_a_response_in_the_background(site, model, client):
    gate = Gate()
    model.play(lambda _request: [gate, *answer("Later.")(None)])
    gate.open()
    said = well(run(client, "background", site))
    assert said["status"] == "in_progress" and said["text"] == "Later." and said["response"]["background"] is True, said


@pytest.mark.parametrize("client", STREAMING)
def test_a_broken_stream_is_resumed(site, model, client):
    model.play(answer("One", " two", " three", " four"))
    said = well(run(client, "resume", site))
    assert said["events"] == said["whole"] and len(said["events"]) > 8, said
    assert said["response"]["output"][0]["content"][0]["text"] == "One two three four", said
    assert said["helped"] == list(range(4, len(said["events"]))), said["helped"]


@pytest.mark.parametrize("client", SDKS)
def test_a_response_is_shown_cancelled_and_deleted(site, model, client):
    said = well(run(client, "manage", site, input=[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
                                                    {"role": "user", "content": "three"}]))
    assert [item["content"][0]["text"] for item in said["items"]] == ["one", "two", "three"], said
    assert said["cancelled"]["status"] == said["shown"]["status"] == "completed" and said["gone"] == "NotFoundError", said


@pytest.mark.parametrize("client", SDKS)
def test_the_middle_of_a_chain_is_deleted(site, model, client):
    model.play(answer("A"), answer("B"), answer("C"), answer("D"))
    said = well(run(client, "chain", site, input="one"))
    assert said["refused"] == [["NotFoundError", None]] * 3 + [["NotFoundError", "previous_response_id"]], said
    assert said["shown"]["output"] == said["third"]["output"] and said["text"] == "D", said
    assert [m["content"] for m in model.requests[-1].json["messages"] if m["role"] != "system"] == ["one", "A", "three", "C", "four"]


@pytest.mark.parametrize("client", ALL)
def test_an_error_before_the_answer_comes_once(site, model, client):
    error = run(client, "whole", site, model="unknown")["error"]
    assert "no agent with this id" in error["message"], error
    if client in SDKS:
        assert (error["name"], error["code"], error["param"]) == ("NotFoundError", "model_not_found", "model"), error
    assert model.requests == []


@pytest.mark.parametrize("client", ALL)
def test_an_error_within_the_stream(site, model, client):
    """Once; the provider for Open Responses repeats it, since a stream's error is followed by the failed response there."""
    site.expect_log("AC0503")
    model.play(lambda _request: [head(), token("part"), Cut()])
    said = run(client, "stream", site)
    errors = [said["error"]["message"]] if "error" in said else said["errors"]
    assert all("the model's service broke its answer off" in error for error in errors), said
    assert len(errors) == (2 if client == "open" else 1) and len(model.requests) == 1, said


@pytest.mark.parametrize("client", SDKS)
def test_a_failed_run_is_not_started_again(site, model, client):
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "no", "code": "x"}}))
    said = run(client, "whole", site)
    assert said["error"]["name"] == "InternalServerError" and len(model.requests) == 1, said


@pytest.mark.parametrize("client", SDKS)
def test_the_client_for_azure(site, model, client):
    assert well(run(client, "azure", site, path=""))["text"] == "Hello world"


@pytest.mark.parametrize("client", ("openai", "aisdk"))
def test_azures_path(site, model, client):
    assert well(run(client, "stream", site, path="/openai/v1"))["text"] == "Hello world"


@pytest.mark.parametrize("client", ("openai", "openai6"))
def test_a_conversation(site, model, client):
    said = well(run(client, "conversation", site, items=[{"role": "user", "content": "before"}]))
    assert said["text"] == "Hello world" and said["conversation"]["metadata"] == {"topic": "tests"}, said
    texts = [item["content"][0]["text"] for item in said["items"]]
    assert texts == ["before", "hi", "Hello world", "and now?", "Hello world"] and said["one"] == said["items"][0], said
    assert said["without"] == said["conversation"] and said["left"] == said["items"][:1] + said["items"][2:], said
    assert said["updated"] == said["shown"] and said["shown"]["metadata"] == {"topic": "other"}, said
    assert said["deleted"]["deleted"] is True and said["gone"] == "NotFoundError", said


@pytest.fixture(scope="module")
def _careful(_model):
    server = Server(MODEL.format(url=_model.url) + AGENT + CAREFUL + MOUNT + SWITCH).start()
    yield server
    server.remove()


@pytest.fixture
def careful(_careful, model):
    yield _careful
    assert not (bad := _careful.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


@pytest.mark.parametrize("client", SDKS)
def test_an_answer_to_one_of_two_questions(careful, model, client):
    """A request answers all that are open: one of them alone is refused, and decides nothing."""
    both = [("work_out", {"expression": "6*7"}), ("work_out", {"expression": "6*8"})]
    model.play(calls(*both), answer("Both."))
    said = well(run(client, "approval", careful, model="careful", partial=True))
    assert len(said["asked"]) == 2 and (said["refused"]["name"], said["refused"]["status"]) == ("BadRequestError", 400), said
    assert "a decision about each approval request that is open" in said["refused"]["message"], said
    assert said["text"] == "Both." and len(model.requests) == 2
    assert ["42" in m["content"] or "48" in m["content"] for m in model.requests[-1].json["messages"] if m["role"] == "tool"] == [True] * 2


@pytest.mark.parametrize("approve", [True, False])
@pytest.mark.parametrize("client", ("openai", "openai6", "aisdk", "agents"))
def test_a_call_that_needs_an_approval(careful, model, client, approve):
    model.play(calls(("work_out", {"expression": "6*7"})), answer("It is", " so."))
    said = well(run(client, "approval", careful, model="careful", approve=approve))
    assert said["text"] == "It is so." and len(model.requests) == 2, said
    assert said["asked"] if client.startswith("openai") else said["asked"] == 1, said
    sent = model.requests[-1].json["messages"][-1]
    assert sent["role"] == "tool" and ("42" in sent["content"]) == approve, sent
    if client.startswith("openai"):
        first, second = said["first"], said["response"]
        assert second["id"] == first["id"] + "_1" and second["previous_response_id"] == first["id"], said
        kinds = [item["type"] for item in second["output"]]
        assert kinds == (["mcp_call", "message"] if approve else ["message"]), kinds
        if approve:
            assert second["output"][0]["approval_request_id"] == said["asked"][0]["id"], second
