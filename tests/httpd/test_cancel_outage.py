# SPDX-License-Identifier: Apache-2.0
"""A run continues during an outage of its store; it can be stopped then, too."""
import pytest

from client import Client
from cosmos_stores import ENV, store, wait_ready
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import WAIT, Gate, calls
from runs import CHILDREN, begun, connection_to, events_of, holding, owner_of, wait_until

TOOL = """
<AgentChatTool send_mail>
    AgentChatToolURL {url}/mail method=POST
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters '{{"type": "object"}}'
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail
</AgentChatAgent>
"""


class Refusing:
    """Each request is answered, with 503."""
    def __init__(self, cosmos):
        self.cosmos = cosmos

    def begin(self):
        self.cosmos.behave(faults=[{"status": 503, "n": 1 << 30}])

    def end(self):
        self.cosmos.behave(clear=True)


class Silent(Refusing):
    """No request is answered."""
    def begin(self):
        self.gate = Gate()
        self.cosmos.behave(faults=[{"gate": self.gate, "n": 1 << 30}])

    def end(self):
        self.cosmos.behave(clear=True)
        self.gate.open()


OUT = ["AC0223", "AC0228", "AC0502", "AC0503", "AC0520", "AC0651"]


def started(make_server, cosmos, directives="", timeout="1s", **options):
    server = make_server(store(cosmos) + f"AgentChatStoreTimeout {timeout}\n" + directives, tuning=CHILDREN, env=ENV, **options)
    wait_ready(server.client)
    return server


def path_of(run):
    return f"/runs/{run['run_id']}"


def is_out(client, run):
    response = client.get(path_of(run))
    assert response.json["code"] in ("store_error", "store_timeout"), response


def cancel(server, stream, run, place):
    """From the child that has this stream and its run, or from another one."""
    mine = owner_of(server, stream.connection)
    connection = connection_to(server, lambda pid: (pid == mine) == (place == "here"))
    return connection.request("POST", f"/api{path_of(run)}/cancel")


def refused(response):
    """The answer is that of any failure of the store."""
    assert response.status in (502, 504) and response.json["code"] in ("store_error", "store_timeout"), response


def ended_as(server, stream, run, status, said):
    last = stream.rest()[-1].json
    assert (last["type"], last["status"]) == ("done", status), last
    kept = wait_until(lambda: (got := server.client.get(path_of(run))).status == 200 and got.json, "the store does not come back")
    assert kept["status"] == status and kept["error"] is None and kept["usage"] == last["usage"]
    assert server.client.messages(run["thread_id"])[-1]["content"] == said


@pytest.mark.parametrize("place", ["here", "there"])
@pytest.mark.parametrize("outage", [Refusing, Silent])
def test_from_any_child(make_server, model, cosmos, outage, place):
    server, outage = started(make_server, cosmos), outage(cosmos)
    server.expect_log(*OUT)
    stream, run = begun(server.client, model, Gate(), ("half ", "an "))
    stored = server.client.get(path_of(run)).json
    outage.begin()
    is_out(server.client, run)
    response = cancel(server, stream, run, place)
    assert response.status == 202 and response.json == stored, (response, stored)
    assert model.requests[-1].closed.wait(WAIT)
    again = cancel(server, stream, run, place)
    assert (again.status, again.json["code"]) == (409, "run_ended") and "too late" in again.json["detail"]
    outage.end()
    ended_as(server, stream, run, "cancelled", "half an ")


@pytest.mark.parametrize("place", ["here", "there"])
def test_no_request_waits_for_a_silent_store(make_server, model, cosmos, place):
    server, outage = started(make_server, cosmos, timeout="5min"), Silent(cosmos)
    stream, run = begun(server.client, model, Gate(), ("half ", "an "))
    outage.begin()
    assert cancel(server, stream, run, place).status == 202
    assert model.requests[-1].closed.wait(WAIT)
    outage.end()
    ended_as(server, stream, run, "cancelled", "half an ")


@pytest.mark.parametrize("place", ["here", "there"])
def test_one_that_is_complete_stays_so(make_server, model, cosmos, place):
    server, outage, gate = started(make_server, cosmos), Refusing(cosmos), Gate()
    server.expect_log(*OUT)
    stream, run = begun(server.client, model, gate, ("all ", "of "), ("it",))
    outage.begin()
    gate.open()
    server.wait_log(rf"run\[{run['run_id']}\] ASKING --.*--> SAVING")
    response = cancel(server, stream, run, place)
    assert (response.status, response.json["code"]) == (409, "run_ended"), response
    outage.end()
    ended_as(server, stream, run, "completed", "all of it")


@pytest.mark.parametrize("place", ["here", "there"])
def test_a_request_without_an_answer_has_no_effect(make_server, model, cosmos, place):
    """Without a log nothing shows which part of the run the store has."""
    server, outage, gate = started(make_server, cosmos, "AgentChatEventLog off\n"), Refusing(cosmos), Gate()
    server.expect_log(*OUT)
    stream, run = begun(server.client, model, gate, ("all ", "of "), ("it",))
    gate.wait_reached()
    outage.begin()
    refused(cancel(server, stream, run, place))
    outage.end()
    gate.open()
    ended_as(server, stream, run, "completed", "all of it")


def test_only_for_its_owner(make_server, model, cosmos):
    """To others such a run is answered as one that never was."""
    server = started(make_server, cosmos, modules=MODULES)
    server.stop()
    keys = KeyFile(server.root / "keys")
    ann, bob = bearer(keys.make("ann", "owner=ann")), bearer(keys.make("bob", "owner=bob"))
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.start()
    client, outage, gate = Client(server.port, "/keys"), Refusing(cosmos), Gate()
    wait_ready(server.client)
    server.expect_log(*OUT)
    model.play(holding(gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x"}, headers=ann)
    run = stream.next().json
    gate.wait_reached()
    outage.begin()
    for run_id in (run["run_id"], "run_" + "0" * 26):
        for _ in range(4):                          # in whichever child
            refused(client.post(f"/runs/{run_id}/cancel", headers=bob))
    assert not model.requests[-1].closed.is_set()
    assert client.post(path_of(run) + "/cancel", headers=ann).status == 202
    assert model.requests[-1].closed.wait(WAIT)
    outage.end()
    assert stream.rest()[-1].json["status"] == "cancelled"


def test_a_run_that_continues_after_its_approval(make_server, model, cosmos):
    """What is stored of it is then what it was when it was put aside."""
    server, outage, gate = started(make_server, cosmos, TOOL.format(url=model.url)), Refusing(cosmos), Gate()
    server.expect_log(*OUT)
    model.play(calls(("send_mail", {}), said="Let me. "))
    first = server.client.stream("/agents/secretary/chat", {"message": "x"})
    run = first.next().json
    assert any(event.json.get("approval_required") for event in iter(first.next, None))
    first.close()
    model.play(holding(gate, ("half ", "an ")))
    decided = server.client.post(path_of(run) + "/approvals", {"call_id": "call_1", "approve": False})
    assert decided.status == 202
    stream = events_of(server.client, run["run_id"])
    gate.wait_reached()
    stored = server.client.get(path_of(run)).json
    assert stored["rounds"] == 1 and stored["usage"]["total_tokens"] > 0
    outage.begin()
    response = server.client.post(path_of(run) + "/cancel")
    assert response.status == 202 and response.json == stored, (response, stored)
    assert model.requests[-1].closed.wait(WAIT)
    outage.end()
    ended_as(server, stream, run, "cancelled", "Let me. \n\nhalf an ")
