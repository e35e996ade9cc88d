# SPDX-License-Identifier: Apache-2.0
"""runs= of AgentChatLimit: which runs are counted, and until when. (How many there may be: test_rate_limits.py.)"""
import os
import signal
import threading

from key_file import MODULES
from model_server import Gate
from server import WAIT
from test_rate_limits import begins, chat, costing, field, leave_alone, wait_for, with_keys


def test_runs_have_a_limit_where_nothing_is_said_of_them(make_server, model):
    server = make_server("""
AgentChatLimit streams=3
<Location "/none">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatLimit off
</Location>
<Location "/few">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatLimit runs=7 by=address
    AgentChatLimit requests=100/day
</Location>
""")
    client = server.client
    response = chat(client)
    assert field(response, "runs-owner", "q") == "1000" and field(response, "streams-owner", "q") == "3"
    client.prefix = "/few"
    response = chat(client)
    assert field(response, "runs-address", "q") == "7" and "runs-owner" not in response.headers["ratelimit-policy"]
    client.prefix = "/none"
    assert "ratelimit" not in chat(client).headers


def test_a_queued_run_is_counted(make_server, model):
    server = make_server("AgentChatMaxRuns 1\nAgentChatMaxQueuedRuns 5\nAgentChatLimit runs=2")
    client, gate = server.client, Gate()
    model.default = costing(gate=gate)
    first = client.stream("/agents/assistant/chat", {"message": "x"})
    first.until("token")
    answers = []
    others = [threading.Thread(target=lambda: answers.append(chat(client))) for _ in range(2)]
    for other in others:
        other.start()
    wait_for(lambda: answers)                   # one of the two waits, so the other one is too much
    assert answers[0].status == 429 and "2 runs" in answers[0].json["detail"]
    gate.open()
    assert first.rest()[-1].type == "done"
    for other in others:
        other.join(WAIT)
    assert answers[1].status == 200


def test_a_retry_finds_its_run_beyond_the_limit(make_server, model):
    """The key belongs to a run that is already counted: a client that lost the answer gets it."""
    server = make_server("AgentChatLimit runs=1")
    client, gate = server.client, Gate()
    model.default = costing(gate=gate)
    thread, key = client.thread(), {"Idempotency-Key": "one"}
    first = client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True}, headers=key)
    first.until("token")
    again = client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True}, headers=key)
    assert again.status == 200
    again.until("token")
    def send(content, key):
        return client.post(f"/threads/{thread}/messages", {"content": content, "stream": True}, headers=key)
    assert send("x", {"Idempotency-Key": "two"}).status == 429
    assert send("other words", key).json["code"] == "idempotency_conflict"
    gate.open()
    assert first.rest()[-1].type == again.rest()[-1].type == "done"
    assert len(model.requests) == 1


def test_runs_of_a_killed_child_are_counted_no_more(make_server, model):
    server = make_server(start=False, modules=MODULES)
    ann, _ = with_keys(server, "AgentChatLimit runs=2")
    server.expect_log("AH00051", "AH00052", "exit signal", "AC0")
    server.start()
    client, gate = server.client, Gate()
    model.default = costing(gate=gate)
    for _ in range(2):
        leave_alone(client, ann)
    assert chat(client, headers=ann).status == 429
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
    gate.open()
    begins(client, ann)
