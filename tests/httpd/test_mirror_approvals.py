# SPDX-License-Identifier: Apache-2.0
"""Runs that are suspended on one machine and resumed or cancelled on another one, followed on all of them."""
import pytest

import redis_server
from approvals import MAIL, TOOLS, mail      # noqa: F401 (a fixture)
from model_server import Gate, answer
from runs import blocks, events_of
from test_approvals import decide, wants
from test_mirror import WORDS, gated, machines, redis, skip_heartbeats      # noqa: F401

pytestmark = pytest.mark.skipif(not redis_server.PROGRAM, reason="no redis-server; conf/packages.sh check installs it")


@pytest.fixture
def suspended(machines, model, mail):       # noqa: F811
    """suspended(gates): three machines, and a run that awaits approval on the first one, followed on each of them. Between
    looks at the store a machine would wait for hours."""
    def make(gates, *more):
        servers = machines(3, "lease=1d", more=TOOLS.format(url=mail.url))
        model.play(wants(MAIL), *more, gated(gates))
        stream = servers[0].client.stream("/agents/secretary/chat", {"message": "mail"})
        run = stream.next().json["run_id"]
        followers = [stream, *(events_of(server.client, run) for server in servers[1:])]
        for follower in followers:
            next_request(follower)
        return servers, run, followers
    return make


def next_request(follower):
    """The id of the next call that needs approval."""
    while not (event := skip_heartbeats(follower)).json.get("approval_required"):
        pass
    return event.json["call_id"]


def same_events(servers, run, followers):
    """Everywhere, live and afterwards, after each id."""
    events = blocks(followers[0].raw)
    assert [number for number, _ in events] == list(range(1, len(events) + 1))
    for follower in followers:
        assert blocks(follower.raw) == events
    for server in servers:
        for number in range(len(events)):
            again = events_of(server.client, run, number)
            again.rest()
            assert blocks(again.raw) == events[number:], number


@pytest.mark.parametrize("where", [0, 1])
def test_an_approval_on_any_machine(suspended, where, mail):        # noqa: F811
    """The machine that decides resumes the run, and every follower gets its words one by one."""
    gates = [Gate() for _ in WORDS]
    servers, run, followers = suspended(gates)
    assert decide(servers[where], run, True).status == 202
    for follower in followers:
        assert skip_heartbeats(follower).json["approved"] is True
        assert skip_heartbeats(follower).type == "trace_end"
    for gate, word in zip(gates, WORDS):
        gate.open()
        for follower in followers:
            while (said := skip_heartbeats(follower).json["content"]) == "\n\n":     # between the rounds
                pass
            assert said == word
    for follower in followers:
        assert follower.rest()[-1].type == "done"
    assert len(mail.requests) == 1
    same_events(servers, run, followers)


def test_approvals_on_one_machine_after_the_other(suspended, mail):     # noqa: F811
    """The run is suspended on one machine, then on another one, and comes back."""
    gates = [Gate() for _ in WORDS]
    servers, run, followers = suspended(gates, wants(MAIL, said="Again."))
    assert decide(servers[1], run, True).status == 202
    call, = {next_request(follower) for follower in followers}
    assert decide(servers[0], run, True, call=call).status == 202
    for gate in gates:
        gate.open()
    for follower in followers:
        assert follower.rest()[-1].type == "done"
    assert len(mail.requests) == 2
    same_events(servers, run, followers)


def test_a_suspended_run_is_cancelled_on_another_machine(suspended, mail):      # noqa: F811
    servers, run, followers = suspended([])
    assert servers[1].client.post(f"/runs/{run}/cancel").status == 202
    for follower in followers:
        assert follower.rest()[-1].json["status"] == "cancelled"
    assert not mail.requests
    same_events(servers, run, followers)


def test_an_approval_after_the_mirror_was_lost(suspended, redis):       # noqa: F811
    """The copies expire while a run awaits approval: the machine that resumes it copies its log from the beginning."""
    gates = [Gate() for _ in WORDS]
    servers, run, followers = suspended(gates)
    redis.cli("FLUSHALL")
    assert decide(servers[1], run, True).status == 202
    for gate in gates:
        gate.open()
    for follower in followers:
        assert follower.rest()[-1].type == "done"
    same_events(servers, run, followers)
