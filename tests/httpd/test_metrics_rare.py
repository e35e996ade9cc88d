# SPDX-License-Identifier: Apache-2.0
"""What the server counts of fallbacks, breakers, suspended runs, blocking streams and the cache."""
import signal

import pytest

from metrics import wait_metrics
from model_server import Gate, Reply, answer, calls
from runs import begun, wait_asleep
from test_metrics import chat, counting  # noqa: F401
from test_slow_readers import SMALL, Flood, slow

FALLBACK = """
<AgentChatModel unsteady>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=unsteady-1
    AgentChatRetries 0
    AgentChatFallback scripted
    AgentChatBreaker calls=2 failures=50% open=1h
</AgentChatModel>
<AgentChatAgent careful>
    AgentChatModel unsteady
</AgentChatAgent>
"""


def test_fallbacks_and_breakers(counting, model):
    server = counting(FALLBACK.format(url=model.url))
    server.expect_log("AC0540", "AC0542")
    for _ in range(2):
        model.play(Reply(500), answer("from the other one"))
        assert server.client.post("/agents/careful/chat", {"message": "x", "stream": False}).status == 200
    assert server.client.post("/agents/careful/chat", {"message": "x", "stream": False}).status == 200       # the breaker is open
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total", agent="careful", status="completed") == 3,
                         "the runs are not counted")
    assert found.sum("agentchat_model_calls_total", model="unsteady") == 2
    assert found.sum("agentchat_model_calls_total", outcome="model_error") == 2
    assert found.sum("agentchat_model_calls_total", model="scripted", outcome="ok") == 3
    assert found.sum("agentchat_model_fallbacks_total", model="unsteady") == 3
    assert found.sum("agentchat_model_breaker_opened_total", model="unsteady") == 1
    states = {state: found.sum("agentchat_model_breakers", model="unsteady", state=state)
              for state in ("off", "closed", "open", "half-open")}
    assert states == {"off": 0, "closed": 0, "open": 1, "half-open": 0}


APPROVAL = """
<AgentChatTool sum>
    AgentChatToolProvider calculator
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools sum
</AgentChatAgent>
"""


def test_suspended_runs_are_counted_once(counting, model):
    server = counting(APPROVAL)
    for approve in (True, False):
        model.play(calls(("sum", {"expression": "6*7"})), answer("42"))
        stream = server.client.stream("/agents/secretary/chat", {"message": "x"})
        run = stream.next().json["run_id"]
        while not stream.next().json.get("approval_required"):
            pass
        found = wait_metrics(server, lambda m: m.sum("agentchat_runs_active") == 0, "the run is not suspended")
        assert found.sum("agentchat_runs_suspended_total", agent="secretary") == 2 - approve
        assert server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": approve}).status == 202
        assert stream.rest()[-1].type == "done"
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total", agent="secretary", status="completed") == 2,
                         "the runs do not end")
    assert found.sum("agentchat_runs_started_total") == found.sum("agentchat_runs_total") == 2
    assert found.sum("agentchat_runs_resumed_total", agent="secretary") == 2
    assert found.sum("agentchat_run_duration_seconds_count", agent="secretary") == 2
    assert found.sum("agentchat_tool_calls_total", tool="sum", outcome="ok") == 1
    assert found.sum("agentchat_tool_calls_total", tool="sum", outcome="refused") == 1


def test_streams_that_hold_a_thread(counting, model):
    server = counting(mpm="prefork")
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    assert stream.rest()[-1].type == "done"
    stream.close()
    assert chat(server).status == 200
    found = wait_metrics(server, lambda m: m.sum("agentchat_streams_total") == 2 and m.sum("agentchat_runs_total") == 2 and
                         m.sum("agentchat_requests_total") == 2, "the streams are not counted")
    assert found.sum("agentchat_streams_total", delivery="blocking", outcome="sent") == 2
    assert found.sum("agentchat_streams_active") == 0


def test_the_cache_is_counted(counting, model):
    server = counting("AgentChatCache memory check=off\n")
    thread = server.client.thread()
    for _ in range(3):
        assert server.client.send(thread, "x").status == 200
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 3, "the runs are not counted")
    assert found.sum("agentchat_cache_lookups_total") == 3
    assert found.sum("agentchat_cache_lookups_total", result="hit") == 2
    assert found.sum("agentchat_store_operations_total", store="sqlite", operation="turn_load") == 3


def test_a_client_that_is_dropped_because_it_reads_too_slowly(counting, model):
    server = counting(SMALL + "AgentChatEventLog off\n")
    flood = Flood(model, 900)
    behind = slow(server.client)
    flood.begin.open()
    server.wait_log("dropped a client that reads too slowly")
    flood.end.open()
    found = wait_metrics(server, lambda m: m.sum("agentchat_streams_total") == 1 and m.sum("agentchat_streams_active") == 0,
                         "the stream is not counted")
    assert found.sum("agentchat_streams_total", delivery="parked", outcome="slow") == 1
    behind.close()


@pytest.mark.parametrize("mpm, delivery", [("event", "parked"), ("prefork", "blocking")])
def test_a_stream_that_a_restart_ends(counting, model, mpm, delivery):
    server, gate = counting(mpm=mpm), Gate()
    stream, _ = begun(server.client, model, gate)
    server.expect_log("AC0503", "AC0612")
    wait_asleep(server)
    server.send_signal(signal.SIGHUP)
    assert stream.until("error")[-1].json["code"] == "stopping"
    server.wait_log("resuming normal operations", 2)    # prefork resets connections that its ending children have taken
    found = wait_metrics(server, lambda m: m.sum("agentchat_streams_total") == 1 and m.sum("agentchat_streams_active") == 0,
                         "the stream is not counted")
    assert found.sum("agentchat_streams_total", delivery=delivery, outcome="stopped") == 1
    gate.open()
