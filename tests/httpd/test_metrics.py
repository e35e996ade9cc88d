# SPDX-License-Identifier: Apache-2.0
"""What the server counts: it is what clients have seen, it outlives reloads and children, and it says nothing of people."""
import json
import re
import shutil
import subprocess

import pytest

import agui_client
import mcp
from client import Client
from metrics import PLACE, Metrics, read, wait_metrics
from model_server import Cut, Gate, Reply, answer, calls
from runs import CHILDREN, begun, connection_to, events_of, kill_child, owner_of, wait_until
from server import AGENT, MODEL, MOUNT, OPERATOR, OPERATOR_KEY

CHAT = {"method": "POST", "route": "/agents/{id}/chat"}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def counting(make_server):
    """A server of the test's own, whose counters begin at zero."""
    def make(directives="", **options):
        return make_server(PLACE + directives, **options)
    return make


def chat(server, message="x", **members):
    return server.client.post("/agents/assistant/chat", {"message": message, "stream": False, **members})


def test_what_clients_see_is_counted(counting, model):
    server = counting()
    for _ in range(3):
        assert chat(server).status == 200
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    assert stream.rest()[-1].type == "done"
    assert server.client.get("/threads/thread_0000000000000000000000000a").status == 404
    assert server.client.get("/no-such-route").status == 404
    found = wait_metrics(server, lambda m: m.sum("agentchat_requests_total") >= 6 and m.sum("agentchat_streams_total") >= 4 and
                         m.sum("agentchat_runs_total") >= 4 and m.sum("agentchat_runs_active") == 0, "the requests are not counted")
    assert found.sum("agentchat_requests_total", **CHAT, status="200") == 4
    assert found.sum("agentchat_requests_total", method="GET", route="/threads/{id}", status="404") == 1
    assert found.sum("agentchat_requests_total", method="other", route="other", status="404") == 1
    assert found.sum("agentchat_requests_total") == 6
    assert found.sum("agentchat_request_duration_seconds_count", **CHAT) == 3       # streams are in no duration of requests
    assert found.sum("agentchat_streams_total", delivery="parked", outcome="sent") == 4
    assert found.sum("agentchat_runs_started_total") == 4
    assert found.sum("agentchat_runs_total", agent="assistant", status="completed", cause="none") == 4
    assert found.sum("agentchat_runs_total") == 4
    for name in ("run_duration", "run_overhead", "run_first_token"):
        assert found.sum(f"agentchat_{name}_seconds_count", agent="assistant") == 4, name
    assert found.sum("agentchat_run_overhead_seconds_sum") < found.sum("agentchat_run_duration_seconds_sum")
    assert found.sum("agentchat_model_calls_total", model="scripted", outcome="ok") == found.sum("agentchat_model_calls_total") == 4
    assert found.sum("agentchat_model_first_token_seconds_count", model="scripted") == 4
    for name in ("agentchat_runs_active", "agentchat_runs_queued", "agentchat_streams_active", "agentchat_model_calls_active"):
        assert found.sum(name) == 0, name
    assert found.sum("agentchat_store_operations_total", store="sqlite", operation="turn_close", outcome="ok") == 4
    assert found.sum("agentchat_store_operations_total", store="sqlite", operation="thread_get", outcome="not_found") == 1
    assert found.sum("agentchat_sqlite_group_operations_total") >= 8 and found.sum("agentchat_sqlite_groups_total") >= 1
    assert found.sum("agentchat_event_log_written_bytes_total") > 0
    assert found.sum("agentchat_children") == len(server.children())
    assert found.sum("agentchat_build_info") == 1 and found.sum("agentchat_start_time_seconds") > 1e9
    wait_metrics(server, lambda m: m.sum("agentchat_resident_memory_bytes") > 1e6 and m.sum("agentchat_open_descriptors") > 3,
                 "the process is not measured")


ASKED = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}
EACH = {        # protocol: how a client of it sends a message, and the pattern of its route
    "native": (chat, "/agents/{id}/chat"),
    "chat_completions": (lambda server: server.client.post("/v1/chat/completions", ASKED), "/v1/chat/completions"),
    "responses": (lambda server: server.client.post("/v1/responses", {"model": "assistant", "input": "x"}), "/v1/responses"),
    "ui": (lambda server: server.client.post("/ui/chat", {"id": "c1", "trigger": "submit-message", "messages": [
        {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]}]}), "/ui/chat"),
    "agui": (lambda server: server.client.post("/agui/assistant", agui_client.body(agui_client.question("x"))), "/agui/{agent}"),
    "mcp": (lambda server: mcp.call(server, "modern", "x"), "/mcp"),
}


def test_each_protocol_has_its_name(counting, model):
    server = counting("<Location /api>\nAgentChatOpenAI on\nAgentChatUI on\nAgentChatAGUI on\nAgentChatMCPServer on\n</Location>\n"
                      "AgentChatLogFormat json\nAgentChatLog logs/agentchat.log\nLogLevel agentchat:info\n"
                      'CustomLog logs/notes.log "%{agentchat-protocol}n"\n')
    for protocol, (send, _) in EACH.items():
        assert send(server).status == 200, protocol
    assert server.client.get("/v1/no-such-route").status == 404
    found = wait_metrics(server, lambda m: m.sum("agentchat_requests_total") >= 7 and m.sum("agentchat_runs_active") == 0 and
                         m.sum("agentchat_streams_total") >= 6, "the requests are not counted")
    for protocol, (_, route) in EACH.items():
        mine = {"protocol": protocol}
        assert found.sum("agentchat_requests_total", **mine, method="POST", route=route, status="200") == 1, protocol
        assert found.sum("agentchat_runs_total", **mine, agent="assistant", status="completed", cause="none") == 1, protocol
        assert found.sum("agentchat_runs_started_total", **mine) == found.sum("agentchat_streams_total", **mine) == 1, protocol
        assert found.sum("agentchat_stream_duration_seconds_count", **mine) == 1, protocol
        assert found.sum("agentchat_run_overhead_seconds_count", **mine) == 1, protocol
    assert found.sum("agentchat_requests_total", protocol="other", status="404") == 1
    lines = [json.loads(line) for line in (server.root / "logs/agentchat.log").read_text().splitlines()]
    assert [line["protocol"] for line in lines if line.get("number") == "AC0504"] == list(EACH)
    assert [line for line in (server.root / "logs/notes.log").read_text().split() if line != "-"][:len(EACH)] == list(EACH)


def test_tokens_and_cost_are_those_of_the_runs(counting, model):
    server = counting()
    model.play(answer("one", prompt=100, completion=20, cached=40, reasoning=5), answer("two", prompt=7, completion=3))
    runs = [chat(server).json["metadata"] for _ in range(2)]
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 2, "the runs are not counted")
    mine = {"agent": "assistant", "model": "scripted"}
    assert found.sum("agentchat_tokens_total", **mine, type="input") == 107
    assert found.sum("agentchat_tokens_total", **mine, type="output") == 23
    assert found.sum("agentchat_tokens_total") == sum(run["usage"]["total_tokens"] for run in runs)
    assert found.sum("agentchat_cached_input_tokens_total", **mine) == 40
    assert found.sum("agentchat_reasoning_output_tokens_total", **mine) == 5
    cost = found.sum("agentchat_cost_total", **mine, currency="USD")
    assert cost == found.sum("agentchat_cost_total") and abs(cost - (67 + 4 + 46) / 1e6) < 1e-12


def test_failures_are_counted_by_their_cause(counting, model):
    server = counting()
    server.expect_log("AC0503", "AC0652")
    model.play(Reply(503), Reply(503), Reply(503))
    assert chat(server).status in (502, 503)
    model.play(Reply(503, headers={"Retry-After": "0"}), answer("well"))
    assert chat(server).status == 200
    model.play(lambda _: iter([b"data: {\n\n", Cut()]))
    assert chat(server).status == 502
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == m.sum("agentchat_streams_total") == 3,
                         "the runs are not counted")
    assert found.sum("agentchat_runs_total", status="failed") == 2
    assert not found.sum("agentchat_runs_total", status="failed", cause="none")
    assert found.sum("agentchat_model_retries_total", model="scripted") == 3
    assert found.sum("agentchat_model_calls_total", outcome="ok") == 1 and found.sum("agentchat_model_calls_total") == 3
    assert found.sum("agentchat_streams_total", outcome="problem") == 2


def test_tools_are_counted_by_outcome(counting, model):
    server = counting()
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "6*"}), ("calculate", {}), ("no_such", {})),
               answer("42"))
    assert chat(server).status == 200
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 1, "the run is not counted")
    outcomes = {outcome: found.sum("agentchat_tool_calls_total", tool="calculate", outcome=outcome)
                for outcome in ("ok", "error", "invalid", "refused", "timeout", "abandoned")}
    assert outcomes == {"ok": 1, "error": 1, "invalid": 1, "refused": 0, "timeout": 0, "abandoned": 0}
    assert found.sum("agentchat_tool_calls_total", tool="other", outcome="invalid") == 1
    assert found.sum("agentchat_tool_call_duration_seconds_count", tool="calculate") == 2


def test_a_run_under_way_is_in_the_gauges(counting, model):
    server = counting()
    gate = Gate()
    stream, _ = begun(server.client, model, gate)
    found = read(server)
    assert found.sum("agentchat_runs_active") == found.sum("agentchat_model_calls_active", model="scripted") == 1
    assert found.sum("agentchat_streams_active", delivery="parked") == 1
    stream.close()
    wait_metrics(server, lambda m: m.sum("agentchat_streams_total", delivery="parked", outcome="disconnected") == 1 and
                 m.sum("agentchat_streams_active") == 0, "the client's end is not counted")
    gate.open()
    wait_metrics(server, lambda m: m.sum("agentchat_runs_active") == 0 and m.sum("agentchat_runs_total", status="completed") == 1,
                 "the run's end is not counted")


def test_followers_and_resumes(counting, model):
    server = counting()
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "))
    back = events_of(server.client, run["run_id"], 2)
    assert back.next().json["content"] == "two "
    gate.open()
    stream.rest(), back.rest()
    wait_metrics(server, lambda m: m.sum("agentchat_stream_resumes_total") == 1 and m.sum("agentchat_event_log_followers") == 0,
                 "the resume is not counted")


def test_limits_are_counted(counting, model):
    server = counting("", standard=False, start=False)
    server.write(MODEL.format(url=model.url) + AGENT + PLACE + MOUNT.replace("on\n", "on\n    AgentChatLimit requests=2/day by=address\n"))
    server.start()
    statuses = [server.client.get("/threads").status for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
    found = wait_metrics(server, lambda m: m.sum("agentchat_requests_total") == 4, "the requests are not counted")
    assert found.sum("agentchat_limits_refused_total", limit="requests", by="address") == found.sum("agentchat_limits_refused_total") == 2


# ---- who may read it, and how ----

def test_who_may_read(make_server, model):
    server = make_server(OPERATOR + PLACE + PLACE.replace("/metrics", "/guarded").replace("all\n", "admin\n", 1))
    assert server.client.get("/metrics").status == 403                              # the owner anonymous has no role
    operator = Client(server.port, prefix="/operator")
    assert operator.get("/metrics").status == 401
    answered = operator.get("/metrics", headers={"X-API-Key": OPERATOR_KEY})
    assert answered.status == 200 and answered.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    place = Client(server.port, prefix="")
    assert place.get("/metrics").status == 200
    assert place.get("/guarded").status == 401
    assert place.request("HEAD", "/metrics").status == 200
    assert place.post("/metrics", {}).status == 405
    assert Metrics(place.get("/metrics").body.decode()).sum("agentchat_requests_total", route="/metrics") == 0


def test_formats(counting, model):
    server = counting()
    chat(server)
    wait_metrics(server, lambda m: m.sum("agentchat_requests_total"), "the request is not counted")
    place = Client(server.port, prefix="")
    plain, opened = place.get("/metrics"), place.get("/metrics", headers={"Accept": OPENMETRICS + ", text/plain;q=0.5"})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert opened.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert opened.headers["vary"] == plain.headers["vary"] == "Accept"
    assert opened.body.endswith(b"\n# EOF\n") and b"# EOF" not in plain.body
    one, other = Metrics(plain.body.decode()), Metrics(opened.body.decode())
    assert {name for name, *_ in one.samples} == {name for name, *_ in other.samples}
    assert other.types["agentchat_runs"] == one.types["agentchat_runs_total"] == "counter"
    assert other.types["agentchat_build"] == "info" and one.types["agentchat_build_info"] == "gauge"


def test_promtool_has_nothing_to_say(counting, model):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (Debian: prometheus)")
    server = counting()
    model.play(calls(("calculate", {"expression": "6*7"})), answer("42"))
    chat(server)
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 1, "the run is not counted")
    checked = subprocess.run(["promtool", "check", "metrics"], input=found.text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_exemplars_name_the_trace_of_the_request(counting, model):
    server = counting()
    for parent in (f"00-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad6b7169203331-01, 00-{TRACE}-b7ad6b7169203331-01", "nonsense"):
        headers = {"traceparent": parent}
        assert server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}, headers=headers).status == 200
    wait_metrics(server, lambda m: m.sum("agentchat_requests_total") == 3 and m.sum("agentchat_runs_total") == 3, "nothing is counted")
    found = read(server, OPENMETRICS)
    traced = {name for name, _, _, exemplar in found.samples if exemplar == {"trace_id": TRACE, "span_id": "b7ad6b7169203331"}}
    assert {f"agentchat_{name}_seconds_bucket" for name in
            ("run_duration", "run_overhead", "run_first_token", "request_duration", "model_call_duration", "model_first_token")} <= traced
    assert "trace_id" not in read(server).text


def test_nothing_of_people_is_in_it(make_server, model):
    server = make_server(OPERATOR + PLACE)
    model.play(answer("planted-answer"))
    operator = Client(server.port, prefix="/operator")
    headers = {"X-API-Key": OPERATOR_KEY, "X-Request-Id": "planted-request", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    made = operator.post("/agents", {"id": "planted-agent", "name": "n", "model": "scripted", "instructions": "planted-instructions"},
                         headers=headers)
    assert made.status == 201, made
    answered = operator.post("/agents/planted-agent/chat", {"message": "planted-question", "stream": False}, headers=headers)
    assert answered.status == 200
    assert operator.get("/planted/path?planted=query", headers=headers).status == 404
    assert operator.get("/threads", headers={"X-API-Key": "ack_planted_" + "1" * 40}).status == 401
    wait_metrics(server, lambda m: m.sum("agentchat_requests_total") == 4 and m.sum("agentchat_runs_total") == 1, "nothing is counted")
    for accept in (None, OPENMETRICS):
        text = read(server, accept).text
        for secret in ("planted", "operator", OPERATOR_KEY, answered.json["thread_id"], answered.json["run_id"], answered.json["id"]):
            assert secret not in text, secret
    assert read(server).sum("agentchat_runs_total", agent="other") == 1              # made through the API


# ---- the life of the counts ----

def settled(server, n):
    """When n requests for a chat were answered, and counted."""
    return wait_metrics(server, lambda m: m.sum("agentchat_requests_total", **CHAT, status="200") == n and
                        m.sum("agentchat_runs_total", status="completed") == n, f"{n} chats are not counted")


def not_less(now, before):
    fallen = {key: (value, now.counters().get(key)) for key, value in before.counters().items() if now.counters().get(key, 0) < value}
    assert not fallen, fallen


def test_the_totals_outlive_a_kill_and_a_graceful_restart(counting, model):
    server = counting(tuning=CHILDREN)
    server.expect_log("AH00052", "AC0522")
    server.wait_log("AC0601", 3)
    for _ in range(5):
        assert chat(server).status == 200
    first = settled(server, 5)
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    mine = owner_of(server, stream.connection)
    assert read(server).sum("agentchat_runs_active") == 1
    kill_child(server, mine)
    gate.open()
    # What that child counted stays, what it did is not under way any more, and its run ends once.
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total", agent="assistant", status="failed", cause="interrupted") == 1,
                         "the run of the killed child is not counted")
    not_less(found, first)
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_active") == m.sum("agentchat_streams_active") == 0,
                         "the run and the stream of the killed child are still active")
    not_less(found, first)
    for _ in range(5):
        assert chat(server).status == 200
    second = settled(server, 10)
    server.graceful()
    server.wait_log("resuming normal operations", 2)
    for _ in range(5):
        assert chat(server).status == 200
    third = settled(server, 15)
    not_less(second, first), not_less(third, second)
    assert third.sum("agentchat_runs_total") == third.sum("agentchat_runs_started_total") == 16
    assert third.sum("agentchat_tokens_total", type="input") >= 150
    assert third.sum("agentchat_start_time_seconds") == first.sum("agentchat_start_time_seconds")
    assert run["run_id"]


def test_gauges_belong_to_children_that_live(counting, model):
    server = counting(tuning=CHILDREN)
    server.expect_log("AH00052", "AC0522")
    server.wait_log("AC0601", 3)
    gate = Gate()
    kept, _ = begun(server.client, model, gate)
    mine = owner_of(server, kept.connection)
    other = connection_to(server, lambda pid: pid != mine)
    model.play(lambda request: (yield from begin_and_wait(gate)))
    lost = other.stream("POST", "/api/agents/assistant/chat", {"message": "x"})
    lost.next(), lost.next()
    assert read(server).sum("agentchat_streams_active") == 2
    kill_child(server, owner_of(server, lost.connection))
    wait_metrics(server, lambda m: m.sum("agentchat_streams_active") == 1 and m.sum("agentchat_runs_active") == 1 and
                 m.sum("agentchat_children") == len(server.children()), "the gauges of the killed child are still there")
    gate.open()
    assert kept.rest()[-1].type == "done"
    wait_metrics(server, lambda m: m.sum("agentchat_streams_active") == 0 and m.sum("agentchat_runs_active") == 0, "they do not end")


def begin_and_wait(gate):
    from model_server import DONE, finish, head, token
    yield head()
    yield token("one")
    yield gate
    yield finish()
    yield DONE


def test_a_reload_with_other_names(counting, model):
    """Names that are gone keep their counts; new ones begin at zero; of old and new children no count is lost."""
    server = counting()
    chat(server)
    settled(server, 1)
    gate = Gate()
    stream, _ = begun(server.client, model, gate)
    another = AGENT.replace("assistant", "successor")
    server.write(MODEL.format(url=model.url) + another + MOUNT + PLACE)
    server.graceful()
    server.wait_log("resuming normal operations", 2)
    answered = wait_until(lambda: (got := server.client.post("/agents/successor/chat", {"message": "x", "stream": False})).status == 200
                          and got, "the new agent does not answer")
    assert answered.status == 200
    gate.open()
    assert stream.rest()[-1].type == "done"                                         # of a child of the previous generation
    found = wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == 3, "the runs are not counted")
    assert found.sum("agentchat_runs_total", agent="assistant") == 2
    assert found.sum("agentchat_runs_total", agent="successor") == 1


def test_metrics_while_the_configuration_cannot_be_served(counting, model):
    server = counting()
    chat(server)
    settled(server, 1)
    server.expect_log("AC0607", "AgentChatDefaultAgent", "AC0652")
    server.conf.write_text(server.conf.read_text() + "AgentChatDefaultAgent missing\n")
    server.graceful()
    server.wait_log("AC0607")
    wait_until(lambda: server.client.get("/threads").status == 503, "it is served")
    assert read(server).sum("agentchat_runs_total", agent="assistant") == 1


# ---- mod_status ----

STATUS = """
ExtendedStatus {extended}
<Location "/server-status">
    SetHandler server-status
    Require all granted
</Location>
"""


def test_mod_status_shows_the_figures_and_the_streams(counting, model):
    server = counting(STATUS.format(extended="On"), modules=("status",), tuning=CHILDREN)
    server.wait_log("AC0601", 3)
    assert chat(server, "planted-question").status == 200
    settled(server, 1)
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("planted-answer",), message="planted-question")
    place, mine = Client(server.port, prefix=""), owner_of(server, stream.connection)
    expected = [str(mine), "parked", "POST /agents/{id}/chat", "assistant", "answering"]

    def rows():
        page = place.get("/server-status").body.decode()
        return [re.findall(r"<td>([^<]*)</td>", line) for line in re.findall(r"<tr>(<td>.*<td>parked</td>.*)</tr>", page)]
    # The bytes are counted when httpd has them, which may be after the client has.
    wait_until(lambda: [row[:5] + row[6:] for row in rows()] == [[*expected, str(len(stream.raw))]], "the stream is not shown")
    page = place.get("/server-status").body.decode()
    assert "<dt>Runs ended: 1</dt>" in page and "<dt>Runs now: 1</dt>" in page
    for secret in ("planted", run["run_id"], run["thread_id"]):
        assert secret not in page
    short = place.get("/server-status?auto").body.decode()
    assert "\nAgentChatRunsActive: 1\n" in short and "\nAgentChatStreamsActive: 1\n" in short and "<" not in short
    gate.open()
    stream.rest()
    wait_until(lambda: "No stream." in place.get("/server-status").body.decode(), "the stream is still there")


def test_mod_status_without_extended_status(counting, model):
    server = counting(STATUS.format(extended="Off"), modules=("status",))
    place = Client(server.port, prefix="")
    assert "AgentChat" not in place.get("/server-status?auto").body.decode()
    assert "<h2>AgentChat" not in place.get("/server-status").body.decode()


# ---- Server-Timing ----

def timing(response):
    found = response.headers.get("server-timing")
    return found and {name: float(value) for name, value in re.findall(r"(\w+);dur=(\d+\.\d+)", found)}


def test_server_timing(make_server, model):
    server = make_server(MOUNT.replace("/api", "/timed").replace("on\n", "on\n    AgentChatServerTiming on\n") +
                         OPERATOR.replace("AuthName", "AgentChatServerTiming admin\n    AuthName") +
                         MOUNT.replace("/api", "/hidden").replace("on\n", "on\n    AgentChatServerTiming admin\n"))
    timed, body = Client(server.port, prefix="/timed"), {"message": "x", "stream": False}
    answered = timing(timed.post("/agents/assistant/chat", body))
    assert set(answered) == {"own", "store", "model", "tool"} and answered["store"] > 0 and answered["model"] > 0
    listed = timing(timed.get("/threads"))
    assert set(listed) == {"own", "store"} and listed["store"] > 0
    streamed = timed.stream("/agents/assistant/chat", {"message": "x"})
    assert set(timing(streamed)) == {"own", "store", "model", "tool"}
    assert streamed.rest()[-1].type == "done"
    assert set(timing(timed.get("/no-such-route"))) == {"own", "store"}
    operator = Client(server.port, prefix="/operator")
    assert timing(operator.get("/threads", headers={"X-API-Key": OPERATOR_KEY}))
    for prefix in ("/api", "/hidden"):
        client = Client(server.port, prefix=prefix)
        assert timing(client.get("/threads")) is None and timing(client.post("/agents/assistant/chat", body)) is None
