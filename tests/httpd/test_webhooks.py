# SPDX-License-Identifier: Apache-2.0
"""Webhooks: who is notified what when a run ends, how often, and that no event is lost or notified by two processes."""
import pytest

from approvals import MAIL, MAIL_TOOL, mail  # noqa: F401
from cosmos_server import KEY
from metrics import PLACE, wait_metrics
from model_server import Gate, Reply, answer, calls
from runs import CHILDREN, holding, wait_until
from webhooks import ENV, OLD_SECRET, SECRET, Receiver, section, send, verify, wait_state

CONFIRM = {"confirm": "delete everything"}
APPROVALS = MAIL_TOOL + """
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail
</AgentChatAgent>
"""


@pytest.fixture
def receiver():
    server = Receiver()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "cosmos"])
def make(request, make_server, cosmos):
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""

    def start(directives="", **options):
        return make_server(text + directives, env={**ENV, "K": KEY}, **options)
    start.on_cosmos = request.param == "cosmos"
    return start


def test_the_end_of_a_run_is_sent(make, receiver, model):
    client = make(section(receiver)).client
    model.play(answer("forty-two"))
    said = send(client, content="a secret question")
    event, = receiver.wait(1)
    run = wait_state(client, said["run_id"], "delivered")[0]
    assert verify(event) == event.json and "refused" in verify(event, OLD_SECRET)
    assert event.type == "run.completed" and event.target == "/hook?for=billing" and event.headers["content-type"] == "application/json"
    assert set(event.data) == {"run_id", "thread_id", "agent_id", "status", "usage", "error", "message_id"}
    assert event.data["run_id"] == said["run_id"] and event.data["message_id"] == said["id"] and event.data["status"] == "completed"
    assert event.data["agent_id"] == "assistant" and event.data["usage"]["total_tokens"] > 0 and event.data["error"] is None
    assert "forty-two" not in event.body and "question" not in event.body
    assert run == {**run, "id": event.id, "type": "run.completed", "attempts": 1, "last_status": 204, "last_error": None,
                   "next_attempt_at": None} and run["delivered_at"]
    assert client.get(f"/runs/{said['run_id']}").json["webhook"]["name"] == "billing" and len(receiver.events) == 1


def test_the_receiver_finds_the_answer(make, receiver, model):
    """An event is sent only when the store has the end of the run."""
    client = make(section(receiver), tuning=CHILDREN).client
    model.default = answer("stored")
    for n in range(1, 11):
        send(client, background=True)
        event = receiver.wait(n)[-1]
        assert client.get(f"/runs/{event.data['run_id']}").json["status"] == "completed"
        assert client.messages(event.data["thread_id"])[-1]["id"] == event.data["message_id"]


def test_a_secret_is_replaced(make, receiver, model):
    client = make(section(receiver, secret="env:HOOK previous=env:OLD_HOOK")).client
    model.play(answer("x"))
    send(client)
    event, = receiver.wait(1)
    assert verify(event, SECRET) == verify(event, OLD_SECRET) == event.json
    assert len(event.headers["webhook-signature"].split(" ")) == 2


def test_a_failed_attempt_is_repeated(make, receiver, model):
    server = make(section(receiver))
    receiver.play(500, (503, "Retry-After: 1\r\n"))
    model.play(answer("x"))
    run = send(server.client)["run_id"]
    events = receiver.wait(3)
    state, = wait_state(server.client, run, "delivered")
    assert len({event.id for event in events}) == len({event.body for event in events}) == 1 and state["attempts"] == 3
    assert int(events[2].headers["webhook-timestamp"]) > int(events[1].headers["webhook-timestamp"])
    assert verify(events[2]) == events[0].json
    server.expect_log("AC0550")
    assert len([line for line in server.log().splitlines() if "AC0550" in line and "answered 50" in line and run in line]) == 2


@pytest.mark.parametrize("answers, state, status, error, number", [
    ([410], "gone", 410, "answered 410", 1),
    ([(302, "Location: /elsewhere\r\n"), (308, "Location: /elsewhere\r\n")], "failed", 308,
     "answered 308, and redirects are not followed", 2),
    ([500, 500], "failed", 500, "answered 500", 2),
])
def test_a_delivery_is_given_up(make, receiver, model, answers, state, status, error, number):
    server = make(section(receiver, retries="100ms"))
    receiver.play(*answers)
    model.play(answer("x"))
    run = send(server.client)["run_id"]
    server.expect_log("AC0550", "AC0551")
    server.wait_log("AC0551")
    one, = wait_state(server.client, run, state)
    assert one["last_status"] == status and one["last_error"] == error and one["attempts"] == number
    assert [event.target for event in receiver.events] == ["/hook?for=billing"] * number


def test_a_receiver_that_hangs_costs_its_own_events_only(make, receiver, model):
    other, gate = Receiver(), Gate()
    server = make(section(receiver, retries="none", more="AgentChatWebhookTimeout 1s") + section(other, "shop"))
    receiver.play(*[gate] * 20)
    model.default = answer("x")
    runs = [send(server.client, background=True)["id"] for _ in range(12)]
    notified = send(server.client, webhook="shop")["run_id"]
    wait_state(server.client, notified, "delivered")
    server.expect_log("AC0551")
    for run in runs:
        one, = wait_state(server.client, run, "failed")
        assert one["last_status"] is None and "within 1s" in one["last_error"]
    gate.open()
    other.stop()


def test_events_of_other_ends(make, receiver, model):
    server = make(section(receiver))
    server.expect_log("AC0503")
    client = server.client
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no"}})]))
    thread = client.thread()
    assert client.post(f"/threads/{thread}/messages", {"content": "x", "webhook": "billing"}).status >= 400
    event, = receiver.wait(1)
    assert (event.type, event.data["status"]) == ("run.failed", "failed") and set(event.data["error"]) == {"code"}
    gate = Gate()
    model.play(holding(gate))
    run = send(client, background=True)["id"]
    queued = client.post(f"/threads/{client.get(f'/runs/{run}').json['thread_id']}/messages",
                         {"content": "y", "webhook": "billing", "on_busy": "enqueue", "background": True}).json["id"]
    assert client.post(f"/runs/{queued}/cancel").status == 202
    assert client.post(f"/runs/{run}/cancel").status == 202
    notified = {event.data["run_id"]: event for event in receiver.wait(3)[1:]}
    assert {notified[run].type, notified[queued].type} == {"run.cancelled"} and notified[run].data["status"] == "cancelled"
    gate.open()


def test_only_wanted_events(make, receiver, model):
    client = make(section(receiver, more="AgentChatWebhookEvents run.failed")).client
    model.play(answer("x"))
    run = send(client)["run_id"]
    shown = client.get(f"/runs/{run}").json["webhook"]
    assert shown == {"name": "billing", "events": ["run.failed"], "deliveries": []} and not receiver.events


@pytest.mark.usefixtures("mail")
def test_an_approval_is_asked_for(make, receiver, model, mail):  # noqa: F811
    client = make(section(receiver) + APPROVALS.format(url=mail.url), tuning=CHILDREN).client
    thread = client.thread(agent_id="secretary")
    model.play(calls(MAIL), answer("sent"))
    run = send(client, thread, background=True)["id"]
    event, = receiver.wait(1)
    assert (event.type, event.data["status"], event.data["message_id"]) == ("run.approval_required", "in_progress", None)
    call = client.get(f"/runs/{run}/steps").json["data"][-1]["call_id"]
    assert client.post(f"/runs/{run}/approvals", {"call_id": call, "approve": True}).status < 300
    events = receiver.wait(2)
    assert events[1].type == "run.completed" and events[1].id != event.id and events[1].data["message_id"]
    assert [one["type"] for one in wait_state(client, run, "delivered", 2)] == ["run.approval_required", "run.completed"]


def test_a_request_names_a_webhook_and_no_url(make, receiver, model):
    default = "<Location /api>\nAgentChatOpenAI on\nAgentChatDefaultWebhook billing\n</Location>\n"
    client = make(section(receiver) + default).client
    thread = client.thread()
    for wrong in ("unknown", receiver.url, ""):
        refused = client.post(f"/threads/{thread}/messages", {"content": "x", "webhook": wrong})
        assert refused.status == 400 and refused.json["errors"][0]["pointer"] == "/webhook" and not model.requests, wrong
    assert client.post(f"/threads/{thread}/messages", {"content": "x", "webhook": {"url": receiver.url}}).status == 400
    model.default = answer("x")
    none = client.post(f"/threads/{thread}/messages", {"content": "x", "webhook": None}).json["run_id"]
    assert "webhook" not in client.get(f"/runs/{none}").json
    plain = client.post(f"/threads/{thread}/messages", {"content": "x"}).json["run_id"]
    chat = client.post("/chat", {"message": "x", "stream": False, "webhook": "billing"})
    assert chat.status == 200
    assert {event.data["run_id"] for event in receiver.wait(2)} >= {plain}
    assert client.post("/v1/responses", {"model": "assistant", "input": "x"}).status == 200       # another protocol
    assert receiver.wait(3)[-1].type == "run.completed"
    assert [run for run in client.get(f"/threads/{thread}/runs").json["data"] if "webhook" in run][0]["webhook"] == {"name": "billing"}


def test_events_that_are_not_sent_yet_outlive_their_process(make, receiver, model):
    """Eight attempts of a webhook hang, and a ninth event waits: the server is killed, and another one sends all of them."""
    server, gate = make(section(receiver)), Gate()
    receiver.play(*[gate] * 8)
    model.default = answer("x")
    runs = [send(server.client)["run_id"] for _ in range(9)]
    receiver.wait(8)
    before = {event.id for event in receiver.events}
    assert len(before) == 8
    server.kill()
    gate.open()
    server.start()
    server.expect_log("AC0", "AH00098")
    for run in runs:
        wait_state(server.client, run, "delivered")
    assert len(receiver.events) == 17 and {event.data["run_id"] for event in receiver.events} == set(runs)
    assert {event.id for event in receiver.events[8:]} > before


def test_the_end_of_a_killed_run_is_sent(make, receiver, model):
    server, gate = make(section(receiver)), Gate()
    model.play(holding(gate))
    run = send(server.client, background=True)["id"]
    wait_until(lambda: model.requests, "the model was not asked")
    server.kill()
    gate.open()
    server.start()
    server.expect_log("AC0", "AH00098")
    wait_until(lambda: server.client.get(f"/runs/{run}").json["status"] == "interrupted", "the run is not closed")
    event, = receiver.wait(1)
    assert (event.type, event.data["status"], event.data["error"]) == ("run.failed", "interrupted", {"code": "interrupted"})


def test_each_event_is_sent_by_one_process(make_server, cosmos, receiver, model):
    """Two machines with three children each; every child has failed attempts to repeat."""
    store = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n"
    servers = [make_server(store + section(receiver), env={**ENV, "K": KEY}, tuning=CHILDREN) for _ in range(2)]
    receiver.play(*[503] * 10)
    model.default = answer("x")
    runs = [(server, send(server.client)["run_id"]) for _ in range(10) for server in servers]
    for server, run in runs:
        server.expect_log("AC0550")
        state, = wait_state(server.client, run, "delivered")
        assert state["attempts"] == len([event for event in receiver.events if event.data["run_id"] == run])
    assert len(receiver.events) == 30


def test_a_deleted_thread_sends_nothing_more(make, receiver, model):
    server = make(section(receiver, retries="1s 1s"))
    client = server.client
    receiver.play(503, 503, 503)
    model.default = answer("x")
    soft, hard = client.thread(), client.thread()
    runs = [send(client, thread)["run_id"] for thread in (soft, hard)]
    server.expect_log("AC0550")
    receiver.wait(2)
    assert client.delete(f"/threads/{soft}").status == 200 and client.delete(f"/threads/{hard}?hard_delete=true").status == 200
    marker = send(client)["run_id"]
    server.wait_log(f"completed of {marker}")
    wait_state(client, marker, "delivered")
    assert [event.data["run_id"] for event in receiver.events].count(runs[0]) == [
        event.data["run_id"] for event in receiver.events].count(runs[1]) == 1


def test_erasure_takes_the_deliveries_along(make, receiver, model):
    server = make(section(receiver, retries="1s"))
    receiver.play(503)
    model.play(answer("x"))
    send(server.client)
    server.expect_log("AC0550", "AC0618")
    receiver.wait(1)
    assert server.client.request("DELETE", "/me", CONFIRM).status == 200
    model.play(answer("y"))
    after = send(server.client)["run_id"]
    wait_state(server.client, after, "delivered")
    assert [event.data["run_id"] for event in receiver.events][1:] == [after]


def test_the_metrics_of_webhooks(make, receiver, model):
    server = make(section(receiver, retries="100ms") + PLACE)
    receiver.play(500, 204, 410)
    model.default = answer("x")
    for state in ("delivered", "gone"):
        wait_state(server.client, send(server.client)["run_id"], state)
    server.expect_log("AC0550", "AC0551")
    found = wait_metrics(server, lambda now: now.sum("agentchat_webhook_deliveries_pending") == 0, "deliveries are pending")
    for outcome in ("delivered", "retried", "gone"):
        assert found.sum("agentchat_webhook_attempts_total", webhook="billing", outcome=outcome) == 1, outcome
