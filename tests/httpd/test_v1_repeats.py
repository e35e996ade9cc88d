# SPDX-License-Identifier: Apache-2.0
"""Requests that are sent again although their runs are in no store: chat completions, and responses with `store` false. The OpenAI SDKs do
that by themselves when their connection is cut. The model counts."""
import json
import os
import subprocess
import threading

import pytest

import peers
from cosmos_server import KEY
from cut_proxy import CutProxy
from model_server import Cut, Gate, answer, calls, head, token
from runs import CHILDREN, holding, kill_child, owner_of, wait_until
from server import AGENT, MODEL, MOUNT, TOP, Server

SDKS = ("openai", "openai6", "openai4")
SWITCH = "<Location /api>\nAgentChatOpenAI on\n</Location>\n"
PATH = "/v1/chat/completions"
BODIES = {PATH: {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]},
          "/v1/responses": {"model": "assistant", "input": "hi", "store": False}}


@pytest.fixture(scope="module")
def _site(_model):
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT + SWITCH, tuning=CHILDREN).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


@pytest.fixture
def proxy(site):
    proxy = CutProxy(site.port)
    yield proxy
    proxy.stop()


def key(name):
    return {"Idempotency-Key": name}


def ask(path=PATH, **more):
    return {**BODIES[path], **more}


def text_of(said):
    """Of a whole answer of either path."""
    return said["choices"][0]["message"]["content"] if "choices" in said else said["output"][0]["content"][0]["text"]


def deltas(stream):
    events = [event for event in stream.rest() if event.fields["data"] != "[DONE]"]
    return [(event.json["id"], event.json["choices"][0]["delta"]) for event in events]


class Sdk:
    """A request of a real client, which runs beside the test."""

    def __init__(self, client, case, port, **data):
        self._process = subprocess.Popen(
            [peers.node_program(), str(TOP / "tests/clients/chat.mjs"), client, case, f"http://127.0.0.1:{port}/api/v1", json.dumps(data)],
            env={**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}, stdout=subprocess.PIPE, text=True)

    def wait_begun(self):
        assert self._process.stdout.readline() == "begun\n"

    def said(self):
        out, _ = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, out
        return json.loads(out.splitlines()[-1])


# ---- the SDKs, whose connection is cut ----
@pytest.mark.parametrize("client", SDKS)
@pytest.mark.parametrize("with_key", [True, False])
def test_a_request_whose_connection_is_cut_runs_once(site, model, proxy, client, with_key):
    """Before the head of the answer the SDK itself sends the request again, while the run is under way."""
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate))
    options = {"defaultHeaders": key(f"cut-{client}")} if with_key else {}
    sdk = Sdk(client, "whole", proxy.port, options=options)
    gate.wait_reached()
    assert proxy.cut() == 1
    wait_until(lambda: proxy.taken == 2, "the SDK does not try again")
    gate.open()
    said = sdk.said()
    assert said.get("error") is None and said["text"] == "onetwo" and said["finish"] == "stop", said
    assert len(model.requests) == 2     # the answer, and before it the one call of the tool
    assert proxy.taken == 2


@pytest.mark.parametrize("client", SDKS)
@pytest.mark.parametrize("before", [(), ("one",)])
def test_a_stream_that_is_cut_is_sent_again_with_its_key(site, model, proxy, client, before):
    """Before the first token and after it. No SDK sends a stream again by itself when its head was there."""
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate, before, ("two",)))
    sdk = Sdk(client, "again", proxy.port, options={"defaultHeaders": key(f"stream-{client}-{len(before)}")}, seen="".join(before))
    gate.wait_reached()
    sdk.wait_begun()
    assert proxy.cut() == 1
    wait_until(lambda: proxy.taken == 2, "the request is not sent again")
    gate.open()
    said = sdk.said()
    assert said["text"] == "".join(before) + "two" and said["finish"] == "stop" and said["cut"], said
    assert len(model.requests) == 2


# ---- with a key ----
@pytest.mark.parametrize("path", BODIES)
def test_a_key_leads_to_the_first_answer(site, model, path):
    model.play(answer("first"), answer("second"))
    one, two = [site.client.post(path, ask(path), headers=key("a" + path)) for _ in range(2)]
    assert one.status == two.status == 200 and one.json["id"] == two.json["id"] and text_of(two.json) == "first", two
    assert text_of(site.client.post(path, ask(path), headers=key("b" + path)).json) == "second"
    assert len(model.requests) == 2


def test_a_stream_is_shown_again_from_its_beginning(site, model):
    gate = Gate()
    model.play(holding(gate))
    first = site.client.stream(PATH, ask(stream=True), headers=key("stream"))
    assert first.next().json["choices"][0]["delta"]["role"] == "assistant" and "one" in first.next().fields["data"]
    second = site.client.stream(PATH, ask(stream=True), headers=key("stream"))
    assert second.next().json["choices"][0]["delta"]["role"] == "assistant" and "one" in second.next().fields["data"]
    gate.open()
    first.rest(), second.rest()
    third = site.client.stream(PATH, ask(stream=True), headers=key("stream"))
    assert deltas(third) and first.raw.split(b"\n\n") == second.raw.split(b"\n\n") == third.raw.split(b"\n\n")
    assert len(model.requests) == 1


@pytest.mark.parametrize("path", BODIES)
def test_another_request_with_the_key_is_a_conflict(site, model, path):
    assert site.client.post(path, ask(path), headers=key("c" + path)).status == 200
    other = site.client.post(path, ask(path, max_tokens=5), headers=key("c" + path))
    assert (other.status, other.json["error"]["code"], other.headers["x-should-retry"]) == (409, "idempotency_conflict", "false")
    assert len(model.requests) == 1


def test_a_failed_run_is_not_run_again(site, model):
    site.expect_log("AC0503")
    model.play(lambda _request: [head(), token("part"), Cut()])
    one, two = [site.client.post(PATH, ask(), headers=key("fails")) for _ in range(2)]
    assert one.status == two.status == 502 and one.json == two.json and two.headers["x-should-retry"] == "false"
    assert len(model.requests) == 1


def test_many_with_one_key_at_the_same_time(site, model):
    answers, start = [], threading.Barrier(8)

    def send():
        start.wait()
        answers.append(site.client.post(PATH, ask(), headers=key("together")))
    senders = [threading.Thread(target=send) for _ in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert [r.status for r in answers] == [200] * 8 and len({r.json["id"] for r in answers}) == 1, answers
    assert len(model.requests) == 1     # not even the model is asked twice


def test_an_answer_that_is_not_kept_any_more(make_server, model):
    server = make_server("AgentChatEventLogKeep 0\n" + SWITCH)
    assert server.client.post(PATH, ask(), headers=key("old")).status == 200
    again = server.client.post(PATH, ask(), headers=key("old"))
    assert (again.status, again.json["error"]["code"], again.headers["x-should-retry"]) == (409, "idempotency_conflict", "false")
    assert "is not carried out again" in again.json["error"]["message"] and len(model.requests) == 1


def test_a_run_whose_process_died(make_server, model):
    server = make_server(SWITCH, tuning=CHILDREN)
    gate = Gate()
    model.play(holding(gate))
    first = server.client.stream(PATH, ask(stream=True), headers=key("dies"))
    first.next(), first.next()
    gate.wait_reached()
    kill_child(server, owner_of(server, first.connection))
    again = server.client.stream(PATH, ask(stream=True), headers=key("dies")).rest()
    assert again[1].json["choices"][0]["delta"]["content"] == "one" and again[2].json["error"]["code"] == "interrupted"
    whole = server.client.post(PATH, ask(), headers=key("dies"))
    assert whole.json["error"]["code"] == "interrupted" and whole.headers["x-should-retry"] == "false"
    assert len(model.requests) == 1
    gate.open()


# ---- without a key ----
def attempt(site, number, path=PATH):
    return site.client.post(path, ask(path), headers={"X-Stainless-Retry-Count": str(number)})


@pytest.mark.parametrize("path", BODIES)
def test_attempts_are_numbered_from_0_on(site, model, path):
    model.play(answer("one"), answer("two"))
    said = [text_of(attempt(site, number, path).json) for number in (0, 0, 1, 2)]
    assert said == ["one", "two", "two", "two"] and len(model.requests) == 2


def test_a_second_attempt_whose_first_one_did_not_arrive(site, model):
    other = {"messages": [{"role": "user", "content": "another"}]}
    one, two = [site.client.post(PATH, ask(**other), headers={"X-Stainless-Retry-Count": n}) for n in "12"]
    assert one.status == two.status == 200 and one.json["id"] == two.json["id"] and len(model.requests) == 1


def test_an_attempt_after_a_refusal_begins(make_server, model):
    """A refused request has started nothing."""
    server = make_server(SWITCH + "<Location /api>\nAgentChatLimit runs=1 by=owner\n</Location>\n")
    gate = Gate()
    model.play(holding(gate))
    first = server.client.stream(PATH, ask(stream=True, user="b"))
    first.next()
    assert attempt(server, 0).status == 429
    gate.open()
    first.rest()
    wait_until(lambda: attempt(server, 1).status == 200, "the run of the first request still counts")
    assert len(model.requests) == 2


# ---- two machines ----
@pytest.fixture
def machines(make_server, cosmos):
    """Two servers that share nothing but the scripted Cosmos DB."""
    servers = [make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" + SWITCH,
                           env={"K": KEY}) for _ in range(2)]
    for server in servers:
        wait_until(lambda client=server.client: client.get("/ready").status == 200, "a server is not ready")
    return servers


def test_a_key_on_the_other_machine(machines, model):
    """It has no event log of the run, so it says so; it never starts a second one."""
    one, other = machines
    model.play(answer("first"))
    first = one.client.post(PATH, ask(), headers=key("m"))
    again = other.client.post(PATH, ask(), headers=key("m"))
    assert first.status == 200 and (again.status, again.headers["x-should-retry"]) == (409, "false"), again
    assert "is not kept here" in again.json["error"]["message"]
    assert one.client.post(PATH, ask(), headers=key("m")).json == first.json and len(model.requests) == 1
    other = other.client.post(PATH, ask(n=1), headers=key("m"))
    assert (other.status, other.json["error"]["code"]) == (409, "idempotency_conflict") and len(model.requests) == 1


def test_many_attempts_at_two_machines(machines, model):
    answers, start = [], threading.Barrier(8)

    def send(i):
        start.wait()
        answers.append(machines[i % 2].client.post(PATH, ask(), headers=key("both")))
    senders = [threading.Thread(target=send, args=(i,)) for i in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(60)
    assert sorted({r.status for r in answers}) == [200, 409] and [r.status for r in answers].count(200) == 4, answers
    assert len({r.json["id"] for r in answers if r.status == 200}) == 1 and len(model.requests) == 1


def test_attempts_while_the_store_fails(make_server, cosmos, model):
    """What no client has asked for costs no answer; a key does."""
    server = make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\nAgentChatStoreTimeout 1s\n" +
                         SWITCH, env={"K": KEY})
    wait_until(lambda: server.client.get("/ready").status == 200, "the server is not ready")
    cosmos.behave(faults=[{"status": 503, "n": 1 << 30}])
    server.expect_log("AC0")
    assert attempt(server, 0).status == attempt(server, 1).status == 200
    assert server.client.post(PATH, ask(), headers=key("out")).status in (503, 504)
    assert len(model.requests) == 2
