# SPDX-License-Identifier: Apache-2.0
"""Handoffs: an agent lets another one continue the run, which is the thread's agent from then on."""
import json

import pytest

from approvals import mail, make_on_store      # noqa: F401 (fixtures)
from client import Client
from metrics import PLACE, read, wait_metrics
from model_server import Gate, answer, calls
from runs import wait_until
from test_agents import ANN, MODULES, SIGNED
from test_agent_tools import Cast, ask, begin, chat, ended, maker, restart, said, steps_of, tools_of

AGENTS = """
<AgentChatAgent triage>
    AgentChatModel scripted
    AgentChatName "The front desk"
    AgentChatDescription "Answers first"
    AgentChatInstructions "You are triage."
    AgentChatTools calculate
    AgentChatHandoffs writer sums
    {triage}
</AgentChatAgent>
<AgentChatAgent writer>
    AgentChatModel scripted
    AgentChatDescription "Writes mails"
    AgentChatInstructions "You are writer."
    AgentChatTools send_mail
    AgentChatHandoffs triage
    {writer}
</AgentChatAgent>
<AgentChatAgent sums>
    AgentChatModel scripted
    AgentChatDescription "Adds numbers"
    AgentChatInstructions "You are sums."
    AgentChatTools calculate
</AgentChatAgent>
<AgentChatAgent outer>
    AgentChatModel scripted
    AgentChatInstructions "You are outer."
    AgentChatTools agent:triage
</AgentChatAgent>
"""


@pytest.fixture
def make(make_on_store):
    return maker(make_on_store, AGENTS)


def transfer(agent, **arguments):
    return (f"transfer_to_{agent}", arguments)


def names_of(request):
    return [tool["function"]["name"] for tool in request.json.get("tools", [])]


def agent_of(server, thread):
    return server.client.get(f"/threads/{thread}").json["agent_id"]


def test_another_agent_continues(make, model):
    server = make(PLACE)
    cast = Cast(model, triage=[calls(transfer("writer", reason="a mail is wanted"), said="A moment. ")],
                writer=[answer("Dear ", "Ann."), answer("Again.")], sums=[answer("2")])
    events = chat(server, "write to Ann").rest()
    run, thread = events[0].json["run_id"], events[0].json["thread_id"]
    assert "".join(e.json["content"] for e in events if e.type == "token") == "A moment. \n\nDear Ann."
    assert events[0].json["agent_id"] == "triage"
    traced = [e.json for e in events if e.type in ("trace_start", "trace_end")]
    assert [(t["tool"], t["hands_over_to"]) for t in traced] == [("transfer_to_writer", "writer")] * 2
    assert traced[1]["arguments"] == {"reason": "a mail is wanted"} and "asks" not in traced[0]
    assert events[-1].json["agent_id"] == "writer" and events[-1].json["status"] == "completed"
    # What the models got.
    first, second = (request for _name, request in cast.asked)
    assert names_of(first) == ["calculate", "transfer_to_writer", "transfer_to_sums"]
    assert "Writes mails" in first.json["tools"][1]["function"]["description"]
    assert names_of(second) == ["send_mail", "transfer_to_triage"]
    assert [(m["role"], m["content"]) for m in second.messages] == [
        ("system", "You are writer."), ("user", "write to Ann"), ("assistant", "A moment. "),
        ("user", "The agent The front desk has handed this conversation over to you, and says: a mail is wanted. "
                 "Answer now.")]
    # What is stored.
    final = server.client.get(f"/runs/{run}").json
    assert (final["agent_id"], final["rounds"], final["usage"]["total_tokens"]) == ("writer", 2, 30)
    assert tools_of(server, run)["transfer_to_writer"]["hands_over_to"] == "writer"
    message = server.client.messages(thread)[-1]
    assert message["metadata"]["agent_id"] == "writer" and message["tool_calls"][0]["hands_over_to"] == "writer"
    assert agent_of(server, thread) == "writer"
    assert [t["id"] for t in server.client.get("/threads?agent_id=writer").json["data"]] == [thread]
    assert not server.client.get("/threads?agent_id=triage").json["data"]
    # The next turn is the new agent's, which does not see the handoff.
    server.client.send(thread, "once more")
    name, third = cast.asked[-1]
    assert name == "writer" and not any(m.get("tool_calls") for m in third.messages)
    assert [m["role"] for m in third.messages] == ["system", "user", "assistant", "user"]
    assert read(server).sum("agentchat_handoffs_total", agent="triage") == 1


def test_calls_of_the_first_agent_become_text_for_the_next(make, model):
    """Some providers refuse a conversation with calls of tools that they are not offered."""
    server = make()
    cast = Cast(model, triage=[calls(("calculate", {"expression": "20+22"})),
                               calls(transfer("writer"), ("calculate", {"expression": "1+1"}))],
                writer=[answer("It is 42."), answer("Yes.")], sums=[calls(("calculate", {"expression": "2+2"}))])
    thread = chat(server, "how much?").rest()[0].json["thread_id"]
    got = cast.requests("writer")[0].messages
    assert [m["role"] for m in got] == ["system", "user", "assistant", "assistant", "user"]
    assert got[2]["content"] == ('(The tool calculate was called with {"expression":"20+22"}. '
                                 'Its result: {"expression":"20+22","result":42})')
    assert '"1+1"' in got[3]["content"] and "transfer" not in json.dumps(got)
    server.client.send(thread, "sure?")
    got = cast.requests("writer")[1].messages
    assert [m["role"] for m in got] == ["system", "user", "assistant", "user"]
    assert got[2]["content"].startswith("(The tool calculate") and got[2]["content"].endswith("\n\nIt is 42.")


def test_an_agent_that_has_the_tool_sees_the_call(make, model):
    server = make()
    cast = Cast(model, triage=[calls(("calculate", {"expression": "1+1"}), transfer("sums"))], sums=[answer("Two.")], writer=[])
    assert chat(server).rest()[-1].json["agent_id"] == "sums"
    got = cast.requests("sums")[0].messages
    assert [m["role"] for m in got] == ["system", "user", "assistant", "tool", "user"]
    assert [c["function"]["name"] for c in got[2]["tool_calls"]] == ["calculate"] and json.loads(got[3]["content"])["result"] == 2


def test_one_handoff_in_a_round(make, model):
    server = make()
    Cast(model, triage=[calls(transfer("sums"), transfer("writer"))], sums=[answer("Two.")], writer=[answer("no")])
    events = chat(server).rest()
    assert events[-1].json["agent_id"] == "sums"
    steps = tools_of(server, events[0].json["run_id"])
    assert steps["transfer_to_sums"]["status"] == "completed"
    assert "handed over to another agent" in steps["transfer_to_writer"]["error"]


def test_agents_that_hand_over_without_end(make, model):
    server = make(triage="AgentChatMaxRounds 6", writer="AgentChatMaxRounds 6")
    cast = Cast(model, triage=[calls(transfer("writer"))], writer=[calls(transfer("triage"))], sums=[])
    events = chat(server).rest()
    assert events[-1].type == "error" and events[-1].json["code"] == "model_error" and len(cast.asked) == 6
    assert cast.asked[-1][1].json["tool_choice"] == "none"
    thread = events[0].json["thread_id"]
    assert agent_of(server, thread) == "writer"
    server.expect_log("AC0503: .* wanted more tools")


@pytest.mark.parametrize("killed", [False, True])
def test_an_approval_after_a_handoff(make, model, mail, killed):
    server = make()
    cast = Cast(model, triage=[calls(transfer("writer"))], writer=[calls(("send_mail", {"to": "a@b"})), answer("Sent.")], sums=[])
    run, thread, events = begin(server)
    restart(server, killed)
    approval = {"call_id": events[-1].json["call_id"], "approve": True}
    assert server.client.post(f"/runs/{run}/approvals", approval).status == 202
    assert ended(server, run)["agent_id"] == "writer" and [r.json for r in mail.requests] == [{"to": "a@b"}]
    assert agent_of(server, thread) == "writer" and len(cast.requests("triage")) == 1
    answers = [m for m in server.client.messages(thread) if m["role"] == "assistant"]
    assert [m["content"] for m in answers] == ["Sent."] and answers[0]["metadata"]["agent_id"] == "writer"


@pytest.mark.parametrize("killed", [False, True])
def test_a_handoff_beside_a_call_that_awaits_approval(make, model, mail, killed):
    """The round ends when the call is decided, in another process perhaps; then the other agent continues."""
    server = make(triage="AgentChatTools send_mail")
    cast = Cast(model, triage=[calls(("send_mail", {"to": "a@b"}), transfer("sums"))], sums=[answer("Two.")], writer=[])
    run, thread, events = begin(server)
    restart(server, killed)
    assert not cast.requests("sums")
    server.client.post(f"/runs/{run}/approvals", {"call_id": events[-1].json["call_id"], "approve": True})
    assert ended(server, run)["agent_id"] == "sums" and len(mail.requests) == 1
    assert "sent" in cast.requests("sums")[0].messages[2]["content"]
    assert agent_of(server, thread) == "sums"


def test_a_killed_process_leaves_the_handoff(make, model):
    server = make()
    gate = Gate()

    def hangs(_request):
        yield gate
    Cast(model, triage=[calls(transfer("writer"), said="A moment.")], writer=[hangs], sums=[])
    stream = chat(server)
    first = stream.next().json
    while stream.next().type != "trace_end":
        pass
    gate.wait_reached()
    server.kill()
    server.expect_log("AH00098")
    gate.open()
    server.start()
    message = wait_until(lambda: server.client.messages(first["thread_id"])[1:], "the answer is not recovered")[-1]
    final = ended(server, first["run_id"])
    assert (final["status"], final["agent_id"]) == ("interrupted", "writer")
    assert message["metadata"]["agent_id"] == "writer" and message["tool_calls"][0]["hands_over_to"] == "writer"
    assert agent_of(server, first["thread_id"]) == "writer"


def test_a_nested_run_cannot_hand_over(make, model):
    server = make()
    cast = Cast(model, outer=[calls(ask("triage")), answer("Done.")],
                triage=[calls(transfer("writer")), answer("Mine.")], writer=[answer("no")], sums=[])
    events = chat(server, agent="outer").rest()
    assert events[-1].json["status"] == "completed" and "agent_id" not in events[-1].json
    assert names_of(cast.requests("triage")[0]) == ["calculate"] and not cast.requests("writer")
    assert [s["error"] is None for s in steps_of(server, events[0].json["run_id"]) if s["tool"] == "transfer_to_writer"] == [False]


def test_an_agent_of_the_api_hands_over(make, model):
    server = make(SIGNED, modules=MODULES)
    admin = Client(server.port, "/signed")
    body = {"id": "guide", "name": "Guide", "model": "scripted", "instructions": "You are guide.", "tools": ["handoff:writer"]}
    made = admin.post("/agents", body, headers=ANN)
    assert made.status == 201 and made.json["tools"] == ["handoff:writer"]
    refused = admin.post("/agents", {**body, "id": "other", "tools": ["handoff:missing"]}, headers=ANN)
    assert refused.status == 400 and refused.json["errors"][0]["pointer"] == "/tools/0"
    Cast(model, guide=[calls(transfer("writer"))], writer=[answer("Dear Ann.")])
    assert chat(server, agent="guide").rest()[-1].json["agent_id"] == "writer"


def test_a_request_that_names_its_agent(make, model):
    """The thread's agent answers where the request names none."""
    server = make()
    cast = Cast(model, triage=[calls(transfer("writer")), answer("I am back.")], writer=[answer("Dear Ann.")], sums=[])
    thread = chat(server).rest()[0].json["thread_id"]
    server.client.send(thread, "hello", agent_id="triage")
    assert cast.asked[-1][0] == "triage" and agent_of(server, thread) == "writer"


def test_tokens_count_for_the_agent_that_spent_them(make, model):
    server = make(PLACE, writer="AgentChatLimit tokens=1000/day\nAgentChatMaxTokens 100")
    Cast(model, triage=[calls(transfer("writer"))], writer=[answer("Dear Ann.")], sums=[])

    def left():
        fields = server.client.post("/agents/writer/chat", {"message": "a"}).headers["ratelimit"].split(", ")
        return int(next(part for part in fields if "tokens" in part).split("r=")[1].split(";")[0])
    before = left()
    chat(server).rest()
    for agent, tokens in (("triage", 5), ("writer", 10)):
        wait_metrics(server, lambda m, a=agent, n=tokens: m.sum("agentchat_tokens_total", agent=a, type="output") == n, agent)
    # The limit of the new agent counts its part of the run: 15 tokens, and 15 of the request that asks.
    assert before - left() == 2 * 15
