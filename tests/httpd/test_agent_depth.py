# SPDX-License-Identifier: Apache-2.0
"""Agents that ask agents that ask agents: approvals, refusals of limits, cancelling and ends, three levels deep."""
import json

import pytest

from cosmos_server import KEY
from model_server import Gate, answer, calls
from runs import wait_until
from approvals import MAIL_TOOL, mail      # noqa: F401 (a fixture)
from test_agent_tools import Cast, ask, ended, said, steps_of, tools_of

AGENTS = "".join(f"""
<AgentChatAgent {name}>
    AgentChatModel scripted
    AgentChatDescription "Agent {name}"
    AgentChatInstructions "You are {name}."
    AgentChatTools {tools}
</AgentChatAgent>
""" for name, tools in (("top", "agent:middle"), ("middle", "agent:bottom calculate"), ("bottom", "send_mail")))

MAILS = ("send_mail", {"to": "a@b"})


def deep():
    return {"top": [calls(ask("middle")), answer("Top.")],
            "middle": [calls(ask("bottom"), ("calculate", {"expression": "2*3"})), answer("Middle.")],
            "bottom": [calls(MAILS, MAILS), answer("Bottom.")]}


@pytest.fixture(params=["sqlite", "cosmos"])
def server(request, make_server, cosmos, mail):  # noqa: F811
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""
    return make_server(text + MAIL_TOOL.format(url=mail.url) + AGENTS, env={"K": KEY})


def begin(server):
    """A run whose lowest agent awaits two approvals: its id, its thread, and their calls."""
    stream = server.client.stream("/agents/top/chat", {"message": "go"})
    events = []
    while not events or "awaiting" not in events[-1].json:
        events.append(stream.next())
    stream.close()
    return events[0].json["run_id"], events[0].json["thread_id"], [one["call_id"] for one in events[-1].json["awaiting"]]


def approve(server, run, call):
    response = server.client.post(f"/runs/{run}/approvals", {"call_id": call, "approve": True})
    assert response.status == 202, response


def test_approvals_at_the_bottom(server, model, mail):  # noqa: F811
    cast = Cast(model, **deep())
    run, thread, waiting = begin(server)
    assert len(waiting) == 2
    for call in waiting:
        server.kill()
        server.expect_log("AH00098")
        server.start()
        approve(server, run, call)
    final = ended(server, run)
    assert final["status"] == "completed" and final["usage"]["total_tokens"] == 6 * 15 and len(mail.requests) == 2
    assert {name: len(cast.requests(name)) for name in deep()} == {"top": 2, "middle": 2, "bottom": 2}
    bottom, six = (json.loads(text) for text in said(cast.requests("middle")[1], "tool"))
    assert bottom["result"] == "Bottom." and six["result"] == 6
    steps = tools_of(server, run)
    assert {name: (s.get("agent_id"), s.get("depth")) for name, s in steps.items()} == {
        "ask_middle": (None, None), "ask_bottom": ("middle", 1), "calculate": ("middle", 1), "send_mail": ("bottom", 2)}
    assert steps["send_mail"]["parent_step_id"] == steps["ask_bottom"]["id"]
    assert steps["ask_bottom"]["parent_step_id"] == steps["ask_middle"]["id"]
    assert [m["content"] for m in server.client.messages(thread)] == ["go", "Top."]


def test_cancelled_while_the_bottom_awaits_approval(server, model, mail):  # noqa: F811
    Cast(model, **deep())
    run, thread, waiting = begin(server)
    assert server.client.post(f"/runs/{run}/cancel").status in (200, 202)
    assert ended(server, run)["status"] == "cancelled" and not mail.requests
    assert server.client.post(f"/runs/{run}/approvals", {"call_id": waiting[0], "approve": True}).status == 409
    assert server.client.send(thread, "again", stream=False).status == 200


def test_cancelled_after_it_was_resumed(server, model, mail):  # noqa: F811
    gate = Gate()

    def hangs(_request):
        yield gate
    cast = Cast(model, **{**deep(), "bottom": [calls(MAILS, MAILS), hangs]})
    run, _thread, waiting = begin(server)
    for call in waiting:
        approve(server, run, call)
    gate.wait_reached()
    assert server.client.post(f"/runs/{run}/cancel").status in (200, 202)
    assert ended(server, run)["status"] == "cancelled" and len(mail.requests) == 2
    assert cast.requests("bottom")[1].closed.wait(10)
    gate.open()


def test_killed_after_it_was_resumed(server, model, mail):  # noqa: F811
    """What was approved has been done once, and is among the steps."""
    gate = Gate()

    def hangs(_request):
        yield gate
    Cast(model, **{**deep(), "bottom": [calls(MAILS, MAILS), hangs]})
    run, _thread, waiting = begin(server)
    for call in waiting:
        approve(server, run, call)
    gate.wait_reached()
    server.kill()
    server.expect_log("AH00098")
    gate.open()
    server.start()
    assert ended(server, run)["status"] == "interrupted" and len(mail.requests) == 2
    done = wait_until(lambda: [s for s in steps_of(server, run) if s["tool"] == "send_mail"], "there are no steps")
    assert [(s["status"], s["agent_id"], s["depth"]) for s in done] == [("completed", "bottom", 2)] * 2


def test_a_graceful_restart_ends_all_agents(server, model):
    gate = Gate()

    def hangs(_request):
        yield gate
    Cast(model, **{**deep(), "bottom": [hangs]})
    stream = server.client.stream("/agents/top/chat", {"message": "go"})
    run = stream.next().json["run_id"]
    gate.wait_reached()
    server.stop()
    gate.open()
    server.start()
    assert ended(server, run)["status"] == "interrupted"
    assert {s["status"] for s in tools_of(server, run).values()} <= {"failed", "completed"}
