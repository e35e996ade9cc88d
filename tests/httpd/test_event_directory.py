# SPDX-License-Identifier: Apache-2.0
"""The directory of the event logs disappears, or is full: runs continue, one log line is written, and the directory
is made again if possible."""
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from model_server import Gate, answer
from runs import CHILDREN, begun, connection_to, event_logs, events_of, kill_child, owner_of, wait_until
from server import user
from test_shortage import small_disk


@pytest.fixture
def placed(make_server):
    """placed(name, …): a server whose event logs are there, below its root; below `state` its children may make what they like."""
    def make(name, **options):
        server = make_server("", start=False, **options)
        server.events = server.root / name
        server.conf.write_text(server.conf.read_text() + f'AgentChatEventLog "{server.events}"\nAgentChatEventLogKeep 1h\n')
        return server.start()
    return make


def answers(server, model, n):
    """Runs n answers that complete."""
    for i in range(n):
        model.play(answer(f"answer {i}"))
        response = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False})
        assert response.status == 200 and response.json["content"] == f"answer {i}"


def lines(server, number):
    return [line for line in server.log().splitlines() if f"{number}: " in line]


def logged_once(server, number):
    """By each child that had reason to."""
    children = [re.search(r"\[pid (\d+)", line)[1] for line in lines(server, number)]
    assert 1 <= len(children) == len(set(children)), children


def test_a_removed_directory_comes_back(placed, model):
    """With the next run, if httpd's children may make it. Features that need it work again, also from another child."""
    server = placed("state/events", tuning=CHILDREN)
    server.wait_log("AC0601", 3)        # each of them has its place
    answers(server, model, 1)
    shutil.rmtree(server.events)
    server.expect_log("AC0514")
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "))
    mine = owner_of(server, stream.connection)
    assert event_logs(server.events) and server.events.stat().st_mode & 0o777 == 0o700
    other = connection_to(server, lambda pid: pid != mine)
    follower = other.stream("GET", f"/api/runs/{run['run_id']}/events")
    assert [follower.next().type for _ in range(3)] == ["run", "token", "token"]
    back = events_of(server.client, run["run_id"], 2)
    assert back.next().json["content"] == "two "
    other = connection_to(server, lambda pid: pid != mine)
    assert other.request("POST", f"/api/runs/{run['run_id']}/cancel").status == 202
    for seen in (stream, follower, back):
        assert seen.rest()[-1].json["status"] == "cancelled"
    gate.open()
    answers(server, model, 9)
    logged_once(server, "AC0514")         # each child makes its own directory
    assert not lines(server, "AC0510")


@pytest.mark.skipif(os.geteuid() != 0, reason="httpd's children may do here what its first process may")
def test_a_removed_directory_that_children_may_not_make(placed, model):
    """The log line names the cause and the remedy, which works."""
    server = placed("events")
    answers(server, model, 1)           # its child has its place by then
    shutil.rmtree(server.events)
    server.expect_log("AC0510")
    answers(server, model, 30)
    logged_once(server, "AC0510")
    said = lines(server, "AC0510")[0]
    assert str(server.events) in said and "apachectl graceful" in said, said
    server.expect_log("AC0514")         # of an old child that is asked once more
    server.graceful()

    def logged_again():
        answers(server, model, 1)
        return event_logs(server.events)
    wait_until(logged_again, "it is not made again")
    logged_once(server, "AC0510")


@pytest.mark.skipif(os.geteuid() != 0, reason="httpd's children may do here what its first process may")
def test_a_child_that_begins_without_a_directory(placed, model):
    """It takes its place as soon as there is one to be had."""
    server = placed("events")
    answers(server, model, 1)
    shutil.rmtree(server.events)
    server.expect_log("AC0510", "AC0512", "AC0514", "AH00098")
    first, = server.children()
    kill_child(server, first)
    wait_until(lambda: lines(server, "AC0512"), "no word of it")
    answers(server, model, 5)
    logged_once(server, "AC0512")
    logged_once(server, "AC0510")
    server.events.mkdir(mode=0o700)
    answers(server, model, 2)
    assert not event_logs(server.events)                # it still belongs to another user
    os.chown(server.events, user().pw_uid, user().pw_gid)
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    assert event_logs(server.events)
    assert events_of(server.client, run["run_id"], 1).next().json["content"] == "one"
    gate.open()
    assert stream.rest()[-1].json["status"] == "completed"
    for number in ("AC0510", "AC0512", "AC0514"):
        logged_once(server, number)


@pytest.fixture
def full(make_server):
    """A server whose event logs have 192 KB."""
    server = make_server("", start=False)
    with small_disk(server.root / "small/events", "192k") as place:
        server.conf.write_text(server.conf.read_text() + f'AgentChatEventLog "{place}"\nAgentChatEventLogKeep 1h\n'
                               "AgentChatEventLogTotal 1G\n")
        try:
            yield server.start()
        finally:
            server.stop()


def test_no_room(full, model):
    """First logs cannot grow any more (each answer is in its own three times), then they cannot begin."""
    full.expect_log("AC0510", "AC0511")
    words = "word " * 2000
    for _ in range(12):
        model.play(answer(words, words, words, words))
        response = full.client.post("/agents/assistant/chat", {"message": "x", "stream": False})
        assert response.status == 200 and response.json["content"] == words * 4
    answers(full, model, 40)
    for number in ("AC0510", "AC0511"):
        logged_once(full, number)
        assert all("No space left" in line and "AgentChatEventLogKeep" in line for line in lines(full, number))


@pytest.mark.parametrize("how", ["open", "link", "file"])
def test_a_name_in_shared_memory_of_another_user(make_server, model, how):
    """All users can write to /dev/shm, and the name can be guessed: a foreign directory is not touched, and a log
    line is written."""
    server = make_server()
    server.stop()
    if not server._memory:
        pytest.skip("no /dev/shm of 256 MB")
    name, = map(Path, server._memory)
    shutil.rmtree(name)
    if how == "open":
        name.mkdir()
        name.chmod(0o777)
    elif how == "link":
        name.symlink_to(server.root / "htdocs")
    else:
        name.touch()
    try:
        server.expect_log("AC0515")
        server.start()
        said, = set(re.findall(r"AC0515: .*", server.log()))
        assert str(name) in said and "another user" in said
        answers(server, model, 1)
        assert event_logs(server.root / "state/events") and list((server.root / "state").glob("limits-*"))
        assert how == "file" or not list(name.iterdir())
        server.stop()
    finally:
        name.unlink() if how != "open" else shutil.rmtree(name)


def test_all_logs_together(make_server, model):
    """Ended ones are removed first, the oldest of them before the others; then runs continue without a log."""
    server = make_server("", start=False)
    place = server.root / "state/events"
    server.conf.write_text(server.conf.read_text() + f'AgentChatEventLog "{place}"\nAgentChatEventLogKeep 1h\n'
                           "AgentChatEventLogTotal 128K\n")
    server.start()

    def size(name):
        try:
            return (place / name).stat().st_size
        except FileNotFoundError:           # it was removed in between
            return 0

    def total():
        return sum(map(size, event_logs(place)))
    runs = []
    for i in range(40):
        model.play(answer(f"answer {i}"))
        stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
        runs.append(stream.next().json["run_id"])
        assert stream.rest()[-1].type == "done"
        assert total() <= 128 * 1024
        assert events_of(server.client, runs[-1], 1).next().type == "token"
    names = " ".join(event_logs(place))
    assert runs[0] not in names and runs[-1] in names and not lines(server, "AC0516")
    server.expect_log("AC0516")
    gates, live = [Gate() for _ in range(40)], []
    for gate in gates:
        live.append(begun(server.client, model, gate))
        assert total() <= 128 * 1024
    logged_once(server, "AC0516")
    assert "AgentChatEventLogTotal" in lines(server, "AC0516")[0]
    names = " ".join(event_logs(place))
    assert live[0][1]["run_id"] in names and live[-1][1]["run_id"] not in names and not any(run in names for run in runs)
    for gate, (stream, _) in zip(gates, live):
        gate.open()
        assert stream.rest()[-1].json["status"] == "completed"
    stream, run = begun(server.client, model, gate)                 # there is room again
    assert stream.rest()[-1].json["status"] == "completed"
    assert run["run_id"] in " ".join(event_logs(place))


@pytest.mark.parametrize("how", ["stop", "graceful stop", "restart", "graceful restart"])
def test_a_stopped_server_leaves_no_ended_logs(placed, model, how):
    """They have texts of users, and would not be removed in time."""
    server = placed("state/events", tuning=CHILDREN)
    server.wait_log("AC0601", 3)
    answers(server, model, 5)
    kept = event_logs(server.events)
    assert len(kept) == 5

    def all_there():                        # new children are moving them to their own places
        return sorted(name.split("/")[1] for name in event_logs(server.events)) == sorted(name.split("/")[1] for name in kept)
    if how == "graceful restart":
        generation = set(server.children())
        server.graceful()
        wait_until(lambda: (new := set(server.children())) and not generation & new, "the old children stay")
        wait_until(all_there, "an ended log is gone")
    elif how == "restart":
        server.send_signal(signal.SIGHUP)
        server.wait_log("AC0601", 6)
        wait_until(all_there, "an ended log is gone")
    server.stop(signal.SIGWINCH if how == "graceful stop" else signal.SIGTERM)
    assert not event_logs(server.events) and not list(server.events.glob("c-*"))


def test_active_runs_survive_a_stop(placed, model):
    """A run whose process was killed is closed at the next start, from its log."""
    server = placed("state/events")
    server.expect_log("AC0522", "exit signal", "AH00052", "AH00051")
    answers(server, model, 1)
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    child, = server.children()
    os.kill(server.process.pid, signal.SIGSTOP)         # so that no new child takes the log over before httpd ends
    os.kill(child, signal.SIGKILL)
    server.send_signal(signal.SIGTERM)
    os.kill(server.process.pid, signal.SIGCONT)
    server.stop()
    assert [run["run_id"] in name for name in event_logs(server.events)] == [True]
    gate.open()
    server.start()
    wait_until(lambda: server.client.get("/runs/" + run["run_id"]).json["status"] == "interrupted", "it is not closed")
