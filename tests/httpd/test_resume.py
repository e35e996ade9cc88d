# SPDX-License-Identifier: Apache-2.0
"""A client that comes back: the rest of a run from any point, in any child, live or ended, from its log or from the store."""
import json
import signal

import pytest

from model_server import DONE, Gate, answer, calls, finish, head, token, usage
from runs import CHILDREN, REST, STORED, begun, blocks, connection_to, events_of, holding, owner_of, run_of, wait_until


def recorded(client, model, path="/agents/assistant/chat", body=None, headers=None):
    """A run with tools and several tokens, and its stream as the first client had it."""
    model.play(calls(("calculate", {"expression": "6*7"}), ("get_weather", {"nothing": 1})),
               answer("It ", "is ", "42", ", \u00fcn\u00ef \"c\u00f6de\"\n", "\u2603", "."))
    stream = client.stream(path, body or {"message": "x", "stream": True}, headers=headers)
    stream.rest()
    return stream.raw


ROUTES = {"native": ("/agents/assistant/chat", {"message": "x", "stream": True}), "chunk": ("/chat", {"message": "x"})}
KEY = {"Idempotency-Key": "every-point"}


def come_back(client, dialect, run_id, after=None, header=True):
    """The rest of the run in this dialect: (status, its events as they were sent). Native: also by GET, without the POST."""
    if dialect == "get":
        stream = events_of(client, run_id, after, header)
    else:
        path, body = ROUTES[dialect]
        stream = client.stream(path, body, headers={**KEY, **({} if after is None else {"Last-Event-ID": str(after)})})
    if stream.status == 200:
        stream.rest()
        return 200, blocks(stream.raw)
    return stream.status, stream.body()


def every_point(client, dialect, run_id, whole):
    """What follows after any id is byte for byte what the first client had; also after one that this dialect does not show."""
    first, last = whole[0][0], whole[-1][0]
    for header in (True, False) if dialect == "get" else (True,):
        for after in range(first, last):
            rest = [pair for pair in whole if pair[0] > after]
            assert come_back(client, dialect, run_id, after, header) == (200, rest), after
    assert come_back(client, dialect, run_id) == (200, whole)
    assert come_back(client, dialect, run_id, last)[0] == 204


@pytest.mark.parametrize("dialect", ["get", "native", "chunk"])
def test_every_point_of_a_run(make_server, model, dialect):
    server = make_server("AgentChatEventLog auto\n")
    whole = blocks(recorded(server.client, model, *ROUTES["native" if dialect == "get" else dialect], KEY))
    run_id, _ = run_of(server.client)
    assert len(whole) > 6
    if dialect != "chunk":
        assert [number for number, _ in whole] == list(range(1, len(whole) + 1))
    every_point(server.client, dialect, run_id, whole)
    assert len(model.requests) == 2     # the two rounds of the one run


@pytest.mark.parametrize("dialect", ["get", "native", "chunk"])
def test_every_point_of_a_live_run(make_server, model, dialect):
    """The same during the run: the past from the log, the rest live."""
    server = make_server()
    gate = Gate()
    model.play(calls(("calculate", {"expression": "6*7"})), holding(gate, ("a", "b", "c"), ("d", "e")))
    path, body = ROUTES["native" if dialect == "get" else dialect]
    first = server.client.stream(path, body, headers=KEY)
    gate.wait_reached()
    run_id, _ = run_of(server.client)
    seen = first.until("chunk" if dialect == "chunk" else "token")
    newest = int(seen[-1].fields["id"]) + 2     # a, b, c
    streams = []
    for after in range(0, newest + 1):
        if dialect == "get":
            streams.append(events_of(server.client, run_id, after or None))
        else:
            streams.append(server.client.stream(path, body, headers={**KEY, "Last-Event-ID": str(after)} if after else KEY))
    gate.open()
    first.rest()
    whole = blocks(first.raw)
    for after, stream in enumerate(streams):
        stream.rest()
        assert blocks(stream.raw) == [pair for pair in whole if pair[0] > after], after


@pytest.mark.parametrize("dialect", ["get", "native", "chunk"])
def test_resuming_a_stored_answer_at_every_event(make_server, model, dialect):
    """When the log is gone the events are made from the store, with ids of their own, which are valid too. The id of
    a live event does not show any more how much of the answer is known: then there is neither a repeat nor a gap,
    but an error."""
    server = make_server("AgentChatEventLogKeep 0\n")
    live = blocks(recorded(server.client, model, *ROUTES["native" if dialect == "get" else dialect], KEY))
    run_id, _ = run_of(server.client)
    wait_until(lambda: come_back(server.client, dialect, run_id)[1][0][0] > STORED, "the log stays")
    whole = come_back(server.client, dialect, run_id)[1]
    every_point(server.client, dialect, run_id, whole)
    for after in range(1, live[-1][0] + 3):
        status, body = come_back(server.client, dialect, run_id, after)
        assert status == 410 and b"events_gone" in body, after
    assert len(model.requests) == 2


def test_text_has_no_ids(make_server, model):
    """/agent/stream stores nothing: there is nothing to come back to, and it does not pretend otherwise."""
    server = make_server()
    model.play(answer("a", "b"), answer("c"))
    stream = server.client.stream("/agent/stream", {"message": "x"})
    stream.rest()
    assert b"id:" not in stream.raw and stream.raw.endswith(b"event: done\ndata: {}\n\n")
    again = server.client.stream("/agent/stream", {"message": "x"}, headers={**KEY, "Last-Event-ID": "1"})
    again.rest()
    assert b'"c"' in again.raw and len(model.requests) == 2


def test_an_event_source_that_has_everything_is_closed(make_server, model):
    server = make_server()
    whole = blocks(recorded(server.client, model))
    run_id, thread = run_of(server.client)
    last = whole[-1][0]
    response = server.client.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": str(last)})
    assert response.status == 204 and not response.body
    stream = events_of(server.client, run_id, last + 7)
    assert [e.type for e in stream.rest()] == ["done"]


def test_joining_a_live_run_without_a_gap_or_a_repeat(make_server, model):
    server = make_server()
    gate = Gate()
    model.play(holding(gate, ("a", "b", "c"), ("d", "e")))
    first = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = first.next().json["run_id"]
    for _ in range(3):
        first.next()
    followers = [events_of(server.client, run_id, after) for after in (None, 0, 1, 2, 3, 4)]
    gate.wait_reached()
    seen = []
    for stream, after in zip(followers, (0, 0, 1, 2, 3, 4)):
        seen.append([stream.next() for _ in range(4 - after)])      # the past, while the run waits
    gate.open()
    first.rest()
    whole = blocks(first.raw)
    for stream, after in zip(followers, (0, 0, 1, 2, 3, 4)):
        stream.rest()
        assert blocks(stream.raw) == whole[after:]


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_from_another_child(make_server, model, mpm):
    tuning = "StartServers 3\nMaxRequestWorkers 16" if mpm == "prefork" else CHILDREN
    if mpm == "worker":
        tuning = tuning.replace("AsyncRequestWorkerFactor 100\n", "")
    server = make_server(mpm=mpm, tuning=tuning)
    gate = Gate()
    model.play(holding(gate, ("a", "b"), ("c", "d")))
    first = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = first.next().json["run_id"]
    first.next(), first.next()
    mine = owner_of(server, first.connection)
    held = []
    for n in range(40 if mpm == "event" else 6):         # the first in another child, the others wherever they come
        connection = server.client.connect() if n else connection_to(server, lambda pid: pid != mine)
        stream = connection.stream("GET", f"/api/runs/{run_id}/events", None, {"Last-Event-ID": "1"})
        assert stream.next().json["content"] == "a"
        held.append(stream)
    gate.open()
    first.rest()
    whole = blocks(first.raw)
    for stream in held:
        stream.rest()
        assert blocks(stream.raw) == whole[1:]


def test_of_an_old_child_after_a_graceful_restart(make_server, model):
    server = make_server()
    gate = Gate()
    model.play(holding(gate, ("a", "b"), ("c", "d")))
    first = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run_id = first.next().json["run_id"]
    first.next(), first.next()
    old = server.children()
    server.graceful()
    wait_until(lambda: set(server.children()) - set(old), "no new child")
    stream = events_of(server.client, run_id, 1)
    assert stream.next().json["content"] == "a" and stream.next().json["content"] == "b"
    gate.open()
    stream.rest()
    first.rest()
    assert blocks(stream.raw) == blocks(first.raw)[1:]


def test_after_the_log_is_gone(make_server, model):
    """Events are made from the stored answer."""
    server = make_server("AgentChatEventLogKeep 0\n")
    raw = recorded(server.client, model)
    live = [block for _, block in blocks(raw)]
    run_id, thread = run_of(server.client)

    def replay():
        stream = events_of(server.client, run_id)
        return stream.rest()
    wait_until(lambda: len(replay()) < len(live), "the log stays")
    events = replay()
    assert [e.type for e in events] == ["run", "trace_start", "trace_end", "trace_start", "trace_end", "token", "done"]
    assert [e.fields["id"] for e in events] == [str(STORED + i) for i in range(1, 8)]
    stored = server.client.messages(thread)[1]
    assert events[0].json["run_id"] == run_id and events[0].json["message_id"] == server.client.messages(thread)[0]["id"]
    assert events[5].json["content"] == stored["content"]
    kept = {call["id"]: call for call in stored["tool_calls"]}
    for start, end in (events[1:3], events[3:5]):
        call = kept.pop(start.json["call_id"])
        assert start.json["step_id"] == end.json["step_id"] and start.json["tool"] == call["tool"]
        assert (end.json.get("result"), end.json.get("error")) == (call["result"], call["error"])
    assert not kept
    done = events[6].json
    assert (done["message_id"], done["status"]) == (stored["id"], "completed") and done["usage"]["total_tokens"] == done["tokens_used"]
    assert [e.type for e in events_of(server.client, run_id, STORED + 500).rest()] == ["done"]


def test_without_logs(make_server, model):
    """AgentChatEventLog off: a live run is joined where it is, the events of an ended one are made from the store."""
    server = make_server("AgentChatEventLog off\n")
    raw = recorded(server.client, model)
    run_id, thread = run_of(server.client)
    assert [e.type for e in events_of(server.client, run_id).rest()][-2:] == ["token", "done"]
    assert raw


def test_a_live_run_without_a_log(make_server, model):
    """A returning client learns at once what it will get: the rest from now on, all of it after the end, or that
    missing events cannot be sent."""
    server = make_server("AgentChatEventLog off\n")
    gate = Gate()
    stream, first = begun(server.client, model, gate, ("a", "b"), ("c", "d"))
    last, all_, gone = (events_of(server.client, first["run_id"], after) for after in (3, None, 2))
    assert (last.status, all_.status, gone.status) == (200, 200, 410)
    assert json.loads(gone.body())["code"] == "events_gone"
    gate.open()
    stream.rest()
    assert blocks(last.rest() and last.raw) == blocks(stream.raw)[3:]
    assert [(e.type, e.json.get("content")) for e in all_.rest()] == [("run", None), ("token", "abcd"), ("done", None)]


def test_a_long_stored_answer_is_sent_no_faster_than_it_is_read(make_server, model):
    """The past of a run is larger than what may wait for a client."""
    server = make_server('<Location "/api">\n AgentChatStreamBuffer 32K\n</Location>\n')
    text = "0123456789abcdef" * 64
    model.play(answer(*([text] * 1200)))
    thread = server.client.thread()
    server.client.send(thread, "x")
    run_id = server.client.get(f"/threads/{thread}/runs").json["data"][0]["id"]
    stream = events_of(server.client, run_id)
    assert "".join(e.json["content"] for e in stream.rest() if e.type == "token") == text * 1200


def test_other_owners_and_bad_requests(make_server, model):
    server = make_server()
    recorded(server.client, model)
    run_id, thread = run_of(server.client)
    for header in ("x", "-1", "1e3", "9" * 40):
        response = server.client.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": header})
        assert (response.status, response.json["code"]) == (400, "invalid_request")
    assert server.client.get(f"/runs/{run_id}/events?after=x").status == 400
    assert server.client.get("/runs/run_00000000000000000000000000/events").status == 404
    assert server.client.get("/runs/nonsense/events").status == 404
    assert server.client.request("HEAD", f"/runs/{run_id}/events").status == 200
    server.client.delete(f"/threads/{thread}")
    assert server.client.get(f"/runs/{run_id}/events").status == 404


def test_a_stopped_child_hands_its_streams_on(make_server, model):
    """At the end of AgentChatDrain a client gets the time to reconnect; the new child sends the rest."""
    server = make_server("AgentChatDrain 1s\n")
    gate = Gate()
    model.play(holding(gate, ("a", "b")))
    first = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = first.next().json
    first.next(), first.next()
    server.send_signal(signal.SIGUSR1)
    events = first.rest()
    assert events[-1].type == "error" and events[-1].json["code"] == "stopping" and events[-1].json["retry_after_ms"] > 0
    stream = events_of(server.client, run["run_id"], 2)
    again = stream.rest()
    assert [e.type for e in again] == ["token", "error"] and blocks(stream.raw) == blocks(first.raw)[2:]
    assert server.client.get("/runs/" + run["run_id"]).json["status"] == "interrupted"
    assert server.client.messages(run["thread_id"])[1]["content"] == "ab"
    server.expect_log("AC0503", "AC0612")
    gate.open()


@pytest.mark.parametrize("where", ["same child", "another child"])
def test_a_log_that_broke_off(make_server, model, where):
    """Live events behind the end of a full log have ids without a stored text: a client that returns with one of
    them gets all of the rest or an error, and never a part twice or not at all."""
    server = make_server("AgentChatEventLogMax 64K\n", tuning=CHILDREN if where == "another child" else "")
    server.expect_log("its event log can take no more")
    gates, pieces = [Gate() for _ in range(20)], [f"{n:05d} {'x' * 1000}" for n in range(200)]

    def script(_request):
        yield head()
        for i, gate in enumerate(gates):        # no faster than the client reads: it is live all the time
            yield from (token(piece) for piece in pieces[10 * i:10 * i + 10])
            yield gate
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    live = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = live.next().json["run_id"]
    for gate in gates[:15]:
        for _ in range(10):
            live.next()
        if gate is not gates[14]:
            gate.open()
    one = server.client.connect()
    if where == "another child":
        owner = owner_of(server, live.connection)
        one = connection_to(server, lambda pid: pid != owner)
    path = f"{server.client.prefix}/runs/{run}/events"
    waiting = [(after, one if after == 151 else server.client.connect()) for after in (10, 100, 151)]
    waiting = [(after, connection.stream("GET", path, headers={"Last-Event-ID": str(after)})) for after, connection in waiting]
    assert waiting[2][1].status == (410 if where == "another child" else 200)     # the child that runs it knows where that is
    for gate in gates[14:]:
        gate.open()
    whole = blocks(live.rest() and live.raw)
    assert whole[-1][0] == 202
    known = dict(whole)

    def check(after, stream):
        if stream.status == 410:
            assert after > 50 and json.loads(stream.body())["code"] == "events_gone"
            return
        events = stream.rest()
        text = "".join(e.json["content"] for e in events if e.type == "token")
        if events[-1].type == "error":
            assert events[-1].json["code"] == "events_gone" and not text
            return
        assert events[-1].type == "done" and text == "".join(pieces[max(after - 1, 0):]), (after, len(text))
        ids = [int(e.fields["id"]) for e in events if "id" in e.fields]
        assert len(set(ids)) == len(ids) and ids == sorted(ids)
        for number, block in blocks(stream.raw):        # the same bytes, whenever and to whom
            assert known.setdefault(number, block) == block
    for after, stream in waiting:
        check(after, stream)
    for after in (0, 1, 10, 50, 62, 70, 100, 201):
        check(after, events_of(server.client, run, after))
    assert events_of(server.client, run, 202).status in (204, 410)
    rest = [number for number in known if number > REST]
    assert rest == list(range(REST + 1, REST + 1 + len(rest))) and len(rest) > 3
    for after in rest[:-1]:
        stream = events_of(server.client, run, after)
        assert stream.rest() and blocks(stream.raw) == [(number, known[number]) for number in rest if number > after]
    assert events_of(server.client, run, rest[-1]).status == 204
    assert events_of(server.client, run, REST + 500).rest()[-1].type == "done"
