# SPDX-License-Identifier: Apache-2.0
"""AgentChatHistorySummary: a model makes summaries of old messages, which replace those that do not fit, and nothing waits for them."""
import json

import pytest

from cosmos_stores import ENV, store, wait_ready
from metrics import PLACE, read, wait_metrics
from model_server import Gate, ModelServer, Reply, answer, calls
from runs import wait_until
from test_titles import ONE_CHILD, titled

MODEL = """
<AgentChatModel small>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=small-1
    AgentChatPrice input=1.00 cached=0.10 output=2.00 currency=USD
    AgentChatBreaker off
    AgentChatRetries 0
</AgentChatModel>
AgentChatHistorySummary on model=small {keys}
<AgentChatAgent forgetful>
    AgentChatModel scripted
    AgentChatInstructions "Be brief."
    AgentChatTools calculate
    AgentChatHistory messages=8
    AgentChatMaxTokens 100
</AgentChatAgent>
""" + PLACE
ASKED = {"role": "user", "content": "Summarize our conversation so far."}


@pytest.fixture
def small():
    """The model that makes summaries."""
    server = ModelServer()
    server.default = titled("They said things.")
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "cosmos"])
def make(request, make_server, small, cosmos):
    def start(directives="", keys="", **options):
        on = store(cosmos) if request.param == "cosmos" else ""
        server = make_server(on + MODEL.format(url=small.url, keys=keys) + directives, env=ENV, **options)
        wait_ready(server.client)
        return server
    return start


def turn(server, model, thread, n, **options):
    model.play(answer(f"answer {n}"))
    response = server.client.send(thread, f"question {n}", **options)
    assert response.status == 200, response


def turns(server, model, first, last, thread=None):
    thread = thread or server.client.thread(agent_id="forgetful")
    for n in range(first, last):
        turn(server, model, thread, n)
    return thread


def wait_outcome(server, outcome, n=1):
    return wait_metrics(server, lambda found: found.sum("agentchat_summaries_total", outcome=outcome) == n, f"{n} summaries '{outcome}'")


def said(request):
    return [(m["role"], m["content"]) for m in request.messages]


def pairs(first, last):
    return [pair for n in range(first, last) for pair in (("user", f"question {n}"), ("assistant", f"answer {n}"))]


def summaries(server, thread):
    """Of the thread's path, by the seq of their messages."""
    return {m["seq"]: m["summary"]["text"] for m in server.client.messages(thread) if "summary" in m}


def test_a_summary_replaces_old_messages(make, model, small):
    server = make()
    small.play(titled("One: apples."), titled("Two: pears."))
    thread = turns(server, model, 0, 3)
    assert small.requests == []                                      # there is room
    turn(server, model, thread, 3)
    wait_outcome(server, "set")
    system, user = small.requests[0].messages
    assert system["role"] == "system" and "Be brief." not in json.dumps(small.requests[0].json)
    assert "User: question 0\n\nAssistant: answer 0" in user["content"] and "question 1" not in user["content"]
    assert 1024 in (small.requests[0].json.get("max_tokens"), small.requests[0].json.get("max_completion_tokens"))
    assert summaries(server, thread) == {2: "One: apples."}
    shown = server.client.messages(thread)[1]["summary"]
    assert set(shown) == {"text", "model", "created_at"} and shown["model"] == "small-1"

    turn(server, model, thread, 4)                                   # all of it fits still
    assert said(model.requests[-1]) == [("system", "Be brief.")] + pairs(0, 4) + [("user", "question 4")]
    wait_outcome(server, "set", 2)
    user = small.requests[1].messages[1]["content"]                  # each one includes the one before
    assert user.startswith("Summary of what was before: One: apples.\n\nUser: question 1") and "question 0" not in user
    assert summaries(server, thread) == {2: "One: apples.", 4: "Two: pears."}

    turn(server, model, thread, 5)
    replaced = [("system", "Be brief."), ("user", ASKED["content"]), ("assistant", "One: apples.")]
    assert said(model.requests[-1]) == replaced + pairs(1, 5) + [("user", "question 5")]
    wait_outcome(server, "set", 3)
    turn(server, model, thread, 6)
    replaced[2] = ("assistant", "Two: pears.")
    assert said(model.requests[-1]) == replaced + pairs(2, 6) + [("user", "question 6")]
    found = read(server)
    assert found.sum("agentchat_history_cuts_total", agent="forgetful", what="summary") == 2
    assert not found.sum("agentchat_history_cuts_total", agent="forgetful", what="messages")
    wait_outcome(server, "set", 4)
    row = wait_until(lambda: [r for r in server.client.get("/usage?by=model").json["data"] if r["summaries"] == 4], "they are counted")[0]
    assert (row["model"], row["runs"], row["titles"], row["usage"]["total_tokens"]) == ("small-1", 0, 0, 4 * 104)
    assert row["cost"] == [{"amount": pytest.approx(4 * 0.000108), "currency": "USD"}]
    assert ",summaries," in server.client.get("/usage?by=model", headers={"Accept": "text/csv"}).body.decode()


def test_a_summary_of_deleted_messages_is_not_stored(make, model, small):
    """The model is making it while one of them is deleted; the next one is made of what is left."""
    server, gate = make("<Location /api>\nAgentChatOpenAI on\n</Location>\n"), Gate()
    small.play(titled("It was about question 0.", gate=gate), titled("Pears."))
    thread = turns(server, model, 0, 4)
    gate.wait_reached()
    first = server.client.messages(thread)[0]["run_id"]
    assert server.client.delete(f"/v1/responses/resp_{first[4:]}").status == 200
    gate.open()
    wait_outcome(server, "kept")
    assert summaries(server, thread) == {}
    turn(server, model, thread, 4)
    wait_outcome(server, "set")
    assert summaries(server, thread) and "question 0" not in json.dumps(small.requests[1].json)
    assert said(model.requests[-1]) == [("system", "Be brief.")] + pairs(1, 4) + [("user", "question 4")]


def test_it_is_there_after_a_restart_and_in_exports(make, model, small):
    server = make()
    small.play(titled("Kept: caf\u00e9 \u201cx\u201d."))
    thread = turns(server, model, 0, 4)
    wait_outcome(server, "set")
    server.kill()
    server.expect_log("AH00098")
    server.start()
    wait_ready(server.client)
    turns(server, model, 4, 6, thread)
    assert ("assistant", "Kept: caf\u00e9 \u201cx\u201d.") in said(model.requests[-1])
    exported = server.client.get(f"/threads/{thread}/export?format=json").json
    assert [m["summary"]["text"] for m in exported["messages"] if m["seq"] == 2] == ["Kept: caf\u00e9 \u201cx\u201d."]


def test_each_branch_has_its_own(make, model, small):
    server = make()
    client = server.client
    small.play(titled("Of the beginning."), titled("Of the old branch."), titled("Of the new branch."))
    thread = turns(server, model, 0, 4)
    wait_outcome(server, "set")
    turn(server, model, thread, 4)
    wait_outcome(server, "set", 2)
    second = client.messages(thread)[2]                              # question 1 is put differently: the second summary is not on this path
    turn(server, model, thread, 11, parent_id=second["parent_id"])
    assert said(model.requests[-1]) == [("system", "Be brief.")] + pairs(0, 1) + [("user", "question 11")]
    turns(server, model, 12, 15, thread)
    wait_outcome(server, "set", 3)
    turn(server, model, thread, 15)
    beginning = [("system", "Be brief."), ("user", ASKED["content"]), ("assistant", "Of the beginning.")]
    assert said(model.requests[-1]) == beginning + pairs(11, 15) + [("user", "question 15")]
    assert "Of the old branch." not in summaries(server, thread).values()


def test_what_it_is_made_of(make, model, small):
    """Calls of tools with their results, and nothing of a turn that the model's safety system has refused."""
    server = make()
    thread = server.client.thread(agent_id="forgetful")
    model.play(calls(("calculate", {"expression": "6*7"})), answer("It is 42."))
    assert server.client.send(thread, "How much is it?").status == 200
    model.play(titled("No.", finish="content_filter"))
    server.client.send(thread, "Something wicked")
    turns(server, model, 2, 5, thread)
    wait_outcome(server, "set")
    text = small.requests[0].messages[1]["content"]
    called = 'Tool calculate: {"expression":"6*7"}\nResult: {"expression":"6*7","result":42}'
    assert f"User: How much is it?\n\n{called}\n\nAssistant: It is 42." in text
    wait_until(lambda: len(small.requests) >= 1, "it is made")
    turns(server, model, 5, 8, thread)
    assert not any("wicked" in json.dumps(request.json) for request in small.requests)


def test_other_protocols_use_it(make, model, small):
    server = make("<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    before = None
    for n in range(6):
        model.play(answer(f"answer {n}"))
        body = {"model": "forgetful", "input": f"question {n}", **({"previous_response_id": before} if before else {})}
        response = server.client.post("/v1/responses", body)
        assert response.status == 200, response
        before = response.json["id"]
        if n == 3:
            wait_outcome(server, "set")
    assert ASKED in model.requests[-1].messages
    assert {"role": "assistant", "content": "They said things."} in model.requests[-1].messages


@pytest.mark.parametrize("script", [
    titled("  \n "), titled("<think>Hm"), titled("x" * 140000), titled("No.", finish="content_filter"),
    Reply(500, {"error": {"message": "planted-words"}}),
], ids=["blank", "only thoughts", "huge", "filtered", "error"])
def test_a_model_that_fails_costs_a_line_and_is_asked_again(make, model, small, script):
    server = make(tuning=ONE_CHILD)
    small.play(script, script)
    thread = turns(server, model, 0, 4)
    wait_outcome(server, "failed")
    turn(server, model, thread, 4)
    wait_outcome(server, "failed", 2)
    assert summaries(server, thread) == {}
    lines = [line for line in server.log().splitlines() if "AC0547" in line]
    assert len(lines) == 1 and "planted" not in lines[0] and "question" not in lines[0], lines
    turn(server, model, thread, 5)                                   # without a summary, messages are left out
    assert said(model.requests[-1]) == [("system", "Be brief.")] + pairs(1, 5) + [("user", "question 5")]
    wait_outcome(server, "set")
    assert summaries(server, thread) == {6: "They said things."} and "question 0" in small.requests[2].messages[1]["content"]


def test_a_thread_continues_while_it_is_made(make, model, small):
    server = make(tuning=ONE_CHILD)
    gate = Gate()
    small.play(titled("Late.", gate=gate))
    thread = turns(server, model, 0, 4)
    gate.wait_reached()
    turns(server, model, 4, 6, thread)                               # nothing waits, and no second one is begun
    assert len(small.requests) == 1
    gate.open()
    wait_outcome(server, "set")
    assert summaries(server, thread) == {2: "Late."}


def test_a_thread_that_is_deleted_meanwhile(make, model, small):
    server = make()
    gate = Gate()
    small.play(titled("Late.", gate=gate))
    thread = turns(server, model, 0, 4)
    gate.wait_reached()
    assert server.client.delete(f"/threads/{thread}").status == 200
    gate.open()
    wait_outcome(server, "kept")
    assert server.client.post(f"/threads/{thread}/restore").status == 200
    assert summaries(server, thread) == {}


def test_none_without_a_budget(make, model, small):
    server = make("AgentChatLimit tokens=900/day\n", keys="max-tokens=900")
    turns(server, model, 0, 4)
    wait_outcome(server, "skipped")
    assert small.requests == []


def test_the_agents_own_model_and_a_prompt(make_server, model):
    server = make_server(PLACE + """
AgentChatHistorySummary on max-tokens=100 "prompt=Sum up."
<AgentChatAgent forgetful>
    AgentChatModel scripted
    AgentChatHistory messages=8
</AgentChatAgent>
""")
    thread = turns(server, model, 0, 3)
    model.play(answer("answer 3"), answer("All of it."))
    server.client.send(thread, "question 3")
    wait_outcome(server, "set")
    assert model.requests[-1].messages[0] == {"role": "system", "content": "Sum up."} and summaries(server, thread) == {2: "All of it."}


def test_none_without_the_directive(make_server, model):
    server = make_server("<AgentChatAgent forgetful>\nAgentChatModel scripted\nAgentChatHistory messages=8\n</AgentChatAgent>\n")
    thread = turns(server, model, 0, 6)
    assert len(model.requests) == 6 and summaries(server, thread) == {}


def test_deleted_messages_have_no_summary(make, model, small):
    """The model is asked when there is something to say."""
    server = make("<Location /api>\nAgentChatOpenAI on\n</Location>\n")
    thread = turns(server, model, 0, 3)
    for message in server.client.messages(thread)[:4:2]:
        assert server.client.delete(f"/v1/responses/resp_{message['run_id'][4:]}").status == 200
    turns(server, model, 3, 6, thread)
    wait_outcome(server, "set")
    request, = small.requests
    assert "question 2" in request.last["content"] and "question 1" not in request.last["content"]
