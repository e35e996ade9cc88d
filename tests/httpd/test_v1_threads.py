# SPDX-License-Identifier: Apache-2.0
"""Conversations that a client of OpenAI's API names: AgentChatOpenAI threads=HEADER."""
import pytest

from client import Client
from cosmos_stores import ENV, store, wait_ready
from model_server import Cut, Gate, answer, finish, head, token
from test_v1 import ask, chunks

THREADS = "<Location /api>\nAgentChatOpenAI on threads=X-OpenWebUI-Chat-Id client-tools=pass\n</Location>\n"
PATH = "/v1/chat/completions"


@pytest.fixture(params=["sqlite", "cosmos"])
def site(request, make_server, _model, model):
    if request.param == "sqlite":
        return make_server(THREADS)
    site = make_server(store(request.getfixturevalue("cosmos")) + THREADS, env=ENV)
    wait_ready(site.client)
    return site


def turns(*texts):
    return [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]


def send(site, *texts, chat="chat-1", headers=None, **more):
    answered = site.client.post(PATH, ask(messages=turns(*texts), **more), headers={"X-OpenWebUI-Chat-Id": chat, **(headers or {})})
    assert answered.status == 200, answered
    return answered


def stored(site, thread_id, query=""):
    return [(m["role"], m["content"]) for m in site.client.get(f"/threads/{thread_id}/messages{query}").json["data"]]


def test_a_conversation_is_kept(site, model):
    model.play(answer("Hello"), answer("Fine"), answer("Bye"))
    first = send(site, "hi")
    thread_id = first.headers["x-agentchat-thread"]
    assert first.json["agentchat"]["thread_id"] == thread_id and first.json["agentchat"]["run_id"].startswith("run_")
    # What a client makes of the answers is not believed.
    second = send(site, "hi", "I made this up", "how are you?")
    assert second.headers["x-agentchat-thread"] == thread_id
    assert [m["content"] for m in model.requests[-1].json["messages"] if m["role"] != "system"] == ["hi", "Hello", "how are you?"]
    third = send(site, "how are you?", "Fine", "bye")       # a client that has dropped what is old
    assert third.headers["x-agentchat-thread"] == thread_id
    assert stored(site, thread_id) == [("user", "hi"), ("assistant", "Hello"), ("user", "how are you?"), ("assistant", "Fine"),
                                       ("user", "bye"), ("assistant", "Bye")]
    assert [t["id"] for t in site.client.get("/threads").json["data"]] == [thread_id]
    assert send(site, "hi", chat="chat-2").headers["x-agentchat-thread"] != thread_id


def test_the_stream_names_the_thread(site, model):
    stream = site.client.stream(PATH, ask(stream=True), headers={"X-OpenWebUI-Chat-Id": "c"})
    assert stream.headers["x-agentchat-thread"].startswith("thread_")
    found = chunks(stream)
    assert found[0]["agentchat"]["thread_id"] == stream.headers["x-agentchat-thread"]
    assert not any("agentchat" in c for c in found[1:])


def test_requests_beside_the_conversation_are_not_in_it(site, model):
    thread_id = send(site, "hi").headers["x-agentchat-thread"]
    aside = send(site, "Write a title for this conversation: hi")
    assert "x-agentchat-thread" not in aside.headers and "agentchat" not in aside.json
    assert len(stored(site, thread_id)) == 2 and len(site.client.get("/threads").json["data"]) == 1


def test_a_further_answer_and_an_edit_are_branches(site, model):
    model.play(answer("A1"), answer("A2"), answer("A2b"), answer("A3"))
    thread_id = send(site, "one").headers["x-agentchat-thread"]
    send(site, "one", "A1", "two")
    send(site, "one", "A1", "two")
    assert stored(site, thread_id)[-2:] == [("user", "two"), ("assistant", "A2b")]
    send(site, "one", "A1", "three")
    assert stored(site, thread_id) == [("user", "one"), ("assistant", "A1"), ("user", "three"), ("assistant", "A3")]
    assert sorted(stored(site, thread_id, "?all=true")) == sorted([
        ("user", "one"), ("assistant", "A1"), ("user", "two"), ("assistant", "A2"), ("assistant", "A2b"), ("user", "three"),
        ("assistant", "A3")])


def test_a_repeated_request_runs_once(site, model):
    first = send(site, "hi")
    again = send(site, "hi", headers={"X-Stainless-Retry-Count": "1"})
    assert again.json["agentchat"] == first.json["agentchat"] and again.json["choices"] == first.json["choices"]
    assert len(model.requests) == 1
    keyed = {"Idempotency-Key": "k-1"}
    second = send(site, "hi", "Hello world", "more", headers=keyed)
    assert send(site, "hi", "Hello world", "more", headers=keyed).json["agentchat"] == second.json["agentchat"]
    assert len(model.requests) == 2


def test_a_repeat_while_the_run_is_active_follows_it(site, model):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one")
        yield gate
        yield finish()
    model.play(script)
    headers = {"X-OpenWebUI-Chat-Id": "c"}
    stream = site.client.stream(PATH, ask(stream=True), headers=headers)
    stream.next(), stream.next()
    stream.close()
    gate.wait_reached()
    second = site.client.stream(PATH, ask(stream=True), headers=headers)
    assert second.next().json["choices"][0]["delta"]["role"] == "assistant"
    assert second.next().json["choices"][0]["delta"] == {"content": "one"}
    gate.open()
    assert chunks(second)[-1]["choices"][0]["finish_reason"] == "stop" and len(model.requests) == 1


def test_a_thread_of_this_api_by_its_id(site, model):
    thread = site.client.post("/threads", {}).json["id"]
    answered = site.client.post(PATH, ask(metadata={"thread_id": thread}))
    assert answered.headers["x-agentchat-thread"] == thread and len(stored(site, thread)) == 2
    other = thread[:-4] + ("0000" if thread[-4:] != "0000" else "1111")
    refused = site.client.post(PATH, ask(metadata={"thread_id": other}))
    assert refused.status == 404 and refused.json["error"]["code"] == "not_found", refused


def test_a_failed_run_is_not_repeated_by_itself(site, model):
    site.expect_log("AC0503")
    model.play(lambda _request: iter([head(), token("a"), Cut()]))
    stream = site.client.stream(PATH, ask(stream=True), headers={"X-OpenWebUI-Chat-Id": "c"})
    assert "error" in stream.rest()[-1].json
    n = len(model.requests)
    again = site.client.post(PATH, ask(), headers={"X-OpenWebUI-Chat-Id": "c", "X-Stainless-Retry-Count": "1"})
    assert again.status >= 500 and again.headers["x-should-retry"] == "false" and len(model.requests) == n, again


def test_names_are_the_owners(make_server, model):
    from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile
    site = make_server(start=False, modules=MODULES)
    keys = KeyFile(site.root / "keys")
    ann, bob = keys.make("ann-1", "owner=ann"), keys.make("bob-1", "owner=bob")
    site.conf.write_text(site.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                         "<Location /keys>\nAgentChatOpenAI on threads=X-Chat\n</Location>\n")
    site.start()
    ids = []
    for key in (ann, bob):
        answered = Client(site.port, "/keys").post(PATH, ask(), headers={"Authorization": f"Bearer {key}", "X-Chat": "same"})
        ids.append(answered.headers["x-agentchat-thread"])
    assert ids[0] != ids[1]


def test_a_name_that_is_too_long(site, model):
    refused = site.client.post(PATH, ask(), headers={"X-OpenWebUI-Chat-Id": "x" * 256})
    assert refused.status == 400 and "1 to 255 bytes" in refused.json["error"]["message"] and model.requests == []
