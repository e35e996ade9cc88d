# SPDX-License-Identifier: Apache-2.0
"""Agents that other agents call as tools: nested runs, their events, steps, limits, approvals and ends."""
import json
import re
import threading

import pytest

from approvals import MAIL_TOOL, mail, make_on_store      # noqa: F401 (fixtures)
from model_server import Gate, Reply, answer, calls
from runs import wait_until

AGENTS = """
<AgentChatAgent triage>
    AgentChatModel scripted
    AgentChatInstructions "You are triage."
    AgentChatTools agent:writer agent:sums calculate
    {triage}
</AgentChatAgent>
<AgentChatAgent writer>
    AgentChatModel scripted
    AgentChatDescription "Writes mails"
    AgentChatInstructions "You are writer."
    AgentChatTools send_mail
    {writer}
</AgentChatAgent>
<AgentChatAgent sums>
    AgentChatModel scripted
    AgentChatDescription "Adds numbers"
    AgentChatInstructions "You are sums."
    AgentChatTools calculate
</AgentChatAgent>
"""


def maker(make_on_store, agents):
    def start(directives="", triage="", writer="", **options):
        return make_on_store(MAIL_TOOL, agents.format(triage=triage, writer=writer) + directives, **options)
    return start


@pytest.fixture
def make(make_on_store):
    return maker(make_on_store, AGENTS)


class Cast:
    """The model: each agent, known by its instructions, has a script of its own."""

    def __init__(self, model, **scripts):
        self.scripts = {name: list(script) for name, script in scripts.items()}
        self.asked = []
        self._lock = threading.Lock()
        model.default = self.play

    def play(self, request):
        system = request.messages[0]["content"]
        name = next(n for n in self.scripts if f"You are {n}." in system)
        with self._lock:
            self.asked.append((name, request))
            script = self.scripts[name]
            now = script.pop(0) if len(script) > 1 else script[0]
        return now(request)

    def requests(self, name):
        return [request for who, request in self.asked if who == name]


def ask(agent, text="do it"):
    return (f"ask_{agent}", {"input": text})


def steps_of(server, run):
    return server.client.get(f"/runs/{run}/steps").json["data"]


def tools_of(server, run):
    return {s["tool"]: s for s in steps_of(server, run) if s["type"] == "tool_call"}


def chat(server, message="hello", agent="triage"):
    return server.client.stream(f"/agents/{agent}/chat", {"message": message})


def ended(server, run):
    def over():
        got = server.client.get(f"/runs/{run}").json
        return got if got["status"] != "in_progress" else None
    return wait_until(over, "the run does not end")


def said(request, role):
    return [m.get("content") for m in request.messages if m["role"] == role]


def test_an_agent_is_a_tool_of_another(make, model):
    server = make()
    cast = Cast(model, triage=[calls(ask("sums", "add 1 and 1")), answer("It is ", "two.")],
                sums=[calls(("calculate", {"expression": "1+1"}), said="Let me add."), answer("Two.")])
    events = chat(server, "how much is it?").rest()
    run, thread = events[0].json["run_id"], events[0].json["thread_id"]
    assert "".join(e.json["content"] for e in events if e.type == "token") == "It is two."
    traced = [(e.type, e.json["tool"], e.json.get("agent_id"), e.json.get("depth")) for e in events
              if e.type in ("trace_start", "trace_end")]
    assert traced == [("trace_start", "ask_sums", None, None), ("trace_start", "calculate", "sums", 1),
                      ("trace_end", "calculate", "sums", 1), ("trace_end", "ask_sums", None, None)]
    outer = next(e.json["step_id"] for e in events if e.type == "trace_start")
    assert {e.json["parent_step_id"] for e in events if "depth" in (e.json or {})} == {outer}
    # The agent gets its own instructions and the input, and nothing of the conversation.
    first = cast.requests("sums")[0]
    assert [m["role"] for m in first.messages] == ["system", "user"] and said(first, "user") == ["add 1 and 1"]
    assert [t["function"]["name"] for t in first.json["tools"]] == ["calculate"]
    result = json.loads(said(cast.requests("triage")[1], "tool")[0])
    assert result["origin"] == "ask_sums" and result["result"] == "Let me add.\n\nTwo."
    # One stored answer with one call; the usage of all four model calls.
    message = server.client.messages(thread)[-1]
    assert message["content"] == "It is two." and [c["tool"] for c in message["tool_calls"]] == ["ask_sums"]
    final = server.client.get(f"/runs/{run}").json
    assert final["usage"]["total_tokens"] == 60 and final["rounds"] == 2 and final["agent_id"] == "triage"
    steps = steps_of(server, run)
    assert [(s["type"], s.get("agent_id"), s.get("depth")) for s in steps] == [
        ("model_call", None, None), ("model_call", "sums", 1), ("tool_call", "sums", 1), ("model_call", "sums", 1),
        ("tool_call", None, None), ("model_call", None, None)]
    assert {s["parent_step_id"] for s in steps if "depth" in s} == {outer}


def test_an_agent_gets_the_conversation_where_that_is_wanted(make, model):
    server = make(triage="AgentChatAgentHistory on")
    cast = Cast(model, triage=[answer("Hello."), calls(ask("sums", "add")), answer("Two.")], sums=[answer("2")])
    thread = chat(server, "first").rest()[0].json["thread_id"]
    server.client.send(thread, "second")
    assert [(m["role"], m["content"]) for m in cast.requests("sums")[0].messages[1:]] == [
        ("user", "first"), ("assistant", "Hello."), ("user", "second"), ("user", "add")]


def test_agents_of_a_round_work_at_once(make, model):
    server = make()
    gate = Gate()

    def late(request):
        yield gate
        yield from answer("written")(request)
    cast = Cast(model, triage=[calls(ask("writer"), ask("sums")), answer("Both.")], writer=[late], sums=[answer("added")])
    stream = chat(server)
    gate.wait_reached()
    stream.until("trace_end")       # that of the other one
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert [json.loads(text)["result"] for text in said(cast.requests("triage")[1], "tool")] == ["written", "added"]


def test_an_agent_works_on_the_slot_of_its_turn(make, model):
    server = make("AgentChatMaxRuns 1\n")
    Cast(model, triage=[calls(*[ask("sums")] * 5), answer("Five.")], sums=[answer("1")])
    assert chat(server).rest()[-1].json["status"] == "completed"


def test_an_agent_that_fails_is_an_error_for_the_model(make, model):
    server = make()
    cast = Cast(model, triage=[calls(ask("sums")), answer("Sorry.")],
                sums=[lambda _request: iter([Reply(400, {"error": {"message": "no", "code": "bad"}})])])
    events = chat(server).rest()
    assert events[-1].json["status"] == "completed"
    assert "error" in json.loads(said(cast.requests("triage")[1], "tool")[0])
    assert tools_of(server, events[0].json["run_id"])["ask_sums"]["status"] == "failed"


def begin(server):
    stream = chat(server)
    events = []
    while not events or not events[-1].json.get("approval_required"):
        events.append(stream.next())
    stream.close()
    return events[0].json["run_id"], events[0].json["thread_id"], events


def restart(server, killed=True):
    """The server dies, and another one takes its place."""
    if killed:
        server.kill()
        server.expect_log("AH00098")
        server.start()


TWO = {"triage": [calls(ask("writer", "thank a@b"), ask("sums", "1+1")), answer("Sent and added.")],
       "writer": [calls(("send_mail", {"to": "a@b"})), answer("Sent.")],
       "sums": [calls(("calculate", {"expression": "1+1"})), answer("Two.")]}


def check_two(server, cast, mail, run, thread):
    assert ended(server, run)["status"] == "completed"
    assert [r.json for r in mail.requests] == [{"to": "a@b"}]
    assert {name: len(cast.requests(name)) for name in TWO} == {"triage": 2, "writer": 2, "sums": 2}
    assert [json.loads(text)["result"] for text in said(cast.requests("triage")[1], "tool")] == ["Sent.", "Two."]
    answers = [m for m in server.client.messages(thread) if m["role"] == "assistant"]
    assert [m["content"] for m in answers] == ["Sent and added."]
    assert server.client.get(f"/runs/{run}").json["usage"]["total_tokens"] == 90
    steps = tools_of(server, run)
    assert {name: (s["status"], s.get("agent_id"), s.get("approval")) for name, s in steps.items()} == {
        "ask_writer": ("completed", None, None), "send_mail": ("completed", "writer", "approved"),
        "ask_sums": ("completed", None, None), "calculate": ("completed", "sums", None)}
    assert steps["send_mail"]["parent_step_id"] == steps["ask_writer"]["id"]
    assert steps["calculate"]["parent_step_id"] == steps["ask_sums"]["id"]


@pytest.mark.parametrize("killed", [False, True])
def test_an_approval_in_an_agent_waits_on_the_turn(make, model, mail, killed):
    server = make()
    cast = Cast(model, **TWO)
    run, thread, events = begin(server)
    asked = events[-1].json
    assert asked["tool"] == "send_mail" and asked["agent_id"] == "writer" and asked["depth"] == 1
    assert asked["awaiting"] == [{"call_id": asked["call_id"], "tool": "send_mail"}]
    assert server.client.get(f"/runs/{run}").json["status"] == "in_progress"
    waiting = tools_of(server, run)
    assert waiting["send_mail"]["approval"] == "required" and waiting["ask_sums"]["status"] == "completed"
    restart(server, killed)
    assert server.client.post(f"/runs/{run}/approvals", {"call_id": asked["call_id"], "approve": True}).status == 202
    check_two(server, cast, mail, run, thread)
    every = server.client.stream(f"/runs/{run}/events", method="GET").rest()
    assert [int(e.fields["id"]) for e in every if "id" in e.fields] == list(range(1, len(every) + 1))
    assert every[-1].type == "done" and sum(e.type == "done" for e in every) == 1


def test_forms_of_answers_outlive_an_approval(make, model, mail):
    """Of the request, and of the agent that is asked."""
    server = make(writer='AgentChatOutputSchema {"type":"object","required":["sent"]}')
    cast = Cast(model, triage=[calls(ask("writer")), answer("Done."), answer('{"done": true}')],
                writer=[calls(("send_mail", {"to": "a@b"})), answer("Sent."), answer('{"sent": 1}')])
    stream = server.client.stream("/agents/triage/chat", {"message": "x", "response_format": {"type": "json_object"}})
    begun = stream.next().json
    while not (asked := stream.next().json).get("approval_required"):
        pass
    restart(server)
    server.client.post(f"/runs/{begun['run_id']}/approvals", {"call_id": asked["call_id"], "approve": True})
    assert ended(server, begun["run_id"])["status"] == "completed" and len(mail.requests) == 1
    assert server.client.messages(begun["thread_id"])[-1]["content"] == '{"done": true}'
    assert json.loads(said(cast.requests("triage")[1], "tool")[0])["result"] == '{"sent": 1}'
    assert [r.json["response_format"]["type"] for r in cast.requests("triage")] == ["json_object"] * 3
    assert [r.json["response_format"]["type"] for r in cast.requests("writer")] == ["json_schema"] * 3


def test_a_refusal_reaches_the_agent(make, model, mail):
    server = make()
    cast = Cast(model, **{**TWO, "writer": [calls(("send_mail", {"to": "a@b"})), answer("I may not.")]})
    run, _thread, events = begin(server)
    server.client.post(f"/runs/{run}/approvals", {"call_id": events[-1].json["call_id"], "approve": False, "reason": "no"})
    assert ended(server, run)["status"] == "completed" and not mail.requests
    assert "the user says: no" in said(cast.requests("writer")[1], "tool")[0]
    assert json.loads(said(cast.requests("triage")[1], "tool")[0])["result"] == "I may not."


def test_two_agents_wait_for_two_approvals_one_after_the_other(make, model, mail):
    server = make()
    mails = ("send_mail", {"to": "x@y"})
    cast = Cast(model, triage=[calls(ask("writer", "one"), ask("writer", "two")), answer("Done.")],
                writer=[calls(mails), calls(mails), calls(mails), answer("Sent.")])
    run, _thread, events = begin(server)

    def over():
        for step in steps_of(server, run):
            if step.get("approval") == "required":      # 409: it was decided, and is not made yet
                answered = server.client.post(f"/runs/{run}/approvals", {"call_id": step["call_id"], "approve": True})
                assert answered.status in (202, 409), answered
        return server.client.get(f"/runs/{run}").json["status"] != "in_progress"
    wait_until(over, "the calls are not made", 60)
    assert ended(server, run)["status"] == "completed" and len(mail.requests) == 3


def test_a_killed_process_leaves_what_was_done(make, model):
    server = make()
    gate = Gate()

    def hangs(_request):
        yield gate
    Cast(model, triage=[calls(ask("sums", "1+1"), ask("writer", "late")), answer("never")],
         sums=[calls(("calculate", {"expression": "1+1"})), answer("Two.")], writer=[hangs])
    stream = chat(server)
    first = stream.next().json
    for _ in range(2):
        while stream.next().type != "trace_end":
            pass
    gate.wait_reached()
    server.kill()
    server.expect_log("AH00098")
    gate.open()
    server.start()
    final = ended(server, first["run_id"])
    assert final["status"] == "interrupted"
    message = wait_until(lambda: server.client.messages(first["thread_id"])[1:], "the answer is not recovered")[-1]
    assert [(c["tool"], c["error"] is None) for c in message["tool_calls"]] == [("ask_sums", True), ("ask_writer", False)]
    steps = tools_of(server, first["run_id"])
    assert steps["calculate"]["parent_step_id"] == steps["ask_sums"]["id"] and steps["calculate"]["agent_id"] == "sums"


def test_cancel_goes_down(make, model):
    server = make()
    gate = Gate()

    def hangs(_request):
        yield gate
    cast = Cast(model, triage=[calls(ask("writer"), ask("sums")), answer("never")], writer=[hangs], sums=[hangs])
    stream = chat(server)
    run = stream.next().json["run_id"]
    gate.wait_reached()
    wait_until(lambda: len(cast.asked) == 3, "the agents are not asked")
    assert server.client.post(f"/runs/{run}/cancel").status in (200, 202)
    assert stream.rest()[-1].json["status"] == "cancelled"
    for name in ("writer", "sums"):
        assert cast.requests(name)[0].closed.wait(10)
    gate.open()
    assert {s["status"] for s in tools_of(server, run).values()} == {"failed"}


def test_all_rounds_of_a_run_are_counted_together(make, model):
    server = make(triage="AgentChatMaxTotalRounds 8")
    cast = Cast(model, triage=[calls(*[ask("sums")] * 3), answer("Enough.")], sums=[calls(("calculate", {"expression": "1+1"}))])
    events = chat(server).rest()
    assert events[-1].json["status"] == "completed"
    assert len(cast.asked) == 8 and cast.asked[-1][0] == "triage"
    assert cast.asked[-1][1].json.get("tool_choice") == "none"
    assert [s["error"] is None for s in steps_of(server, events[0].json["run_id"]) if s["tool"] == "ask_sums"] == [False] * 3


def test_a_model_that_asks_without_end(make, model):
    """32 calls in each round, by all agents: the account of the run ends it."""
    server = make()
    cast = Cast(model, triage=[calls(*[ask("writer"), ask("sums")] * 16)], writer=[calls(*[("send_mail", {"to": 1})] * 32)],
                sums=[calls(*[("calculate", {"expression": "1+1"})] * 32)])
    events = chat(server).rest()
    assert len(cast.asked) == 50 and events[-1].type == "error" and events[-1].json["code"] == "model_error"
    server.expect_log("AC0503: .* wanted more tools")


def test_a_budget_holds_for_all_agents_of_a_run(make, model):
    """Each model call costs 15 tokens; what was reserved beyond them is given back."""
    server = make("AgentChatLimit tokens=1000/day\n", triage="AgentChatMaxTokens 100", writer="AgentChatMaxTokens 100")
    Cast(model, triage=[calls(ask("writer"), ask("writer")), answer("Done.")], writer=[answer("x")])

    def left(response):
        return int(next(part for part in response.headers["ratelimit"].split(", ") if "tokens" in part).split("r=")[1].split(";")[0])
    before = server.client.post("/agents/triage/chat", {"message": "a"})
    after = server.client.post("/agents/triage/chat", {"message": "b"})
    assert before.status == after.status == 200
    assert left(before) - left(after) == 4 * 15


def test_money_is_exact_over_all_agents(make, model):
    """Until the budget is used up: what is left is what the runs have not cost, also where agents inside were refused."""
    server = make("AgentChatLimit cost=0.001/day\n", triage="AgentChatMaxTokens 50", writer="AgentChatMaxTokens 50")
    cast = Cast(model, triage=[calls(ask("writer"), ask("writer")), answer("Done.")] * 100, writer=[answer("x")])
    costs, refused = [], 0
    body = {"message": "a", "stream": False}
    while (response := server.client.post("/agents/triage/chat", body)).status == 200:
        run = response.json["run_id"]
        costs.append(server.client.get(f"/runs/{run}").json["cost"]["amount"])
        inside = [step["error"] for step in steps_of(server, run) if step["type"] == "tool_call" and step["error"]]
        refused += len(inside)
        assert all("of the budget" in error for error in inside), inside
    assert response.status == 429 and response.json["code"] == "budget_exceeded", response
    left = float(re.search(r"([0-9.e-]+) is left", response.json["detail"])[1])
    assert left == pytest.approx(0.001 - sum(costs), rel=1e-5), response.json["detail"]
    assert refused and len(cast.requests("writer")) == 2 * len(costs) - refused
    calls_made = len(cast.asked)
    assert sum(costs) == pytest.approx(calls_made * costs[0] / 4) and server.client.get("/usage?by=").json["totals"]["cost"] == [
        {"amount": pytest.approx(sum(costs)), "currency": "USD"}]
