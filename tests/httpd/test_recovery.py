# SPDX-License-Identifier: Apache-2.0
"""kill -9: partial answers are stored, threads are usable at once, followers are notified, and nothing happens
twice."""
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from model_server import WAIT, Gate, answer, calls
from runs import CHILDREN, begun, blocks, connection_to, event_logs, events_of, holding, kill_child, owner_of, wait_asleep, wait_until
from server import HTTPD, STORE
from test_logs import wait_objects


def run_of(client, run):
    return client.get("/runs/" + run["run_id"]).json


def event_dir(server):
    return server.root / "events"


@pytest.fixture
def logged(make_server):
    """A server whose event logs are where the test can see them."""
    def make(directives="", **options):
        server = make_server("", start=False, **options)
        text = server.conf.read_text()
        server.conf.write_text(text + f'AgentChatEventLog "{event_dir(server)}"\n' + directives)
        # httpd's own message after a kill -9.
        server.expect_log("AH00098")
        return server.start()
    return make


def interrupted(server, run, text, n_messages=2, code="interrupted"):
    """Checks of a run whose process died, or was stopped, after it had sent this text."""
    wait_until(lambda: run_of(server.client, run)["status"] == "interrupted" and
               len(server.client.messages(run["thread_id"])) == n_messages, "the run is not closed")
    messages = server.client.messages(run["thread_id"])
    message = messages[1]
    assert message["content"] == text and message["role"] == "assistant"
    assert message["metadata"]["finish_reason"] == "interrupted" and message["run_id"] == run["run_id"]
    assert run_of(server.client, run)["error"]["code"] == code


def test_a_follower_elsewhere_is_notified(logged, model):
    server = logged(tuning=CHILDREN)
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "))
    mine = owner_of(server, stream.connection)
    other = connection_to(server, lambda pid: pid != mine)
    follower = other.stream("GET", f"/api/runs/{run['run_id']}/events")
    assert [follower.next().type for _ in range(3)] == ["run", "token", "token"]
    kill_child(server, mine)
    assert follower.next().json["code"] == "interrupted" and not follower.rest()
    interrupted(server, run, "one two ")
    again = events_of(server.client, run["run_id"], 2)
    again.rest()
    assert blocks(again.raw) == blocks(follower.raw)[2:]
    assert server.client.send(run["thread_id"], "go on").json["seq"] == 4
    gate.open()


def test_a_run_that_is_closed_from_its_log_has_its_line_at_the_end(logged, model):
    server = logged("AgentChatLogFormat json\nAgentChatLog logs/agentchat.log\n", tuning=CHILDREN)
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "))
    kill_child(server, owner_of(server, stream.connection))
    interrupted(server, run, "one two ")
    line, = wait_objects(server, lambda line: line.get("number") == "AC0504" and line["run"] == run["run_id"])
    assert (line["thread"], line["agent"], line["status"]) == (run["thread_id"], "assistant", "interrupted")
    assert line["error"] == "interrupted" and line["tokens"] == "estimated" and line["output_tokens"] > 0 and line["latency_ms"] > 0
    assert len(wait_objects(server, lambda line: line.get("number") == "AC0522")) == 1
    gate.open()


def test_the_next_message_follows_the_partial_answer(logged, model):
    """Sent the moment after the death, before anybody has swept."""
    server = logged(tuning=CHILDREN)
    gate = Gate()
    stream, run = begun(server.client, model, gate, ("half",))
    mine = owner_of(server, stream.connection)
    other = connection_to(server, lambda pid: pid != mine)
    model.play(answer("next"))
    kill_child(server, mine)
    response = other.request("POST", f"/api/threads/{run['thread_id']}/messages", {"content": "y", "stream": False})
    assert response.status == 200 and response.json["seq"] == 4
    messages = server.client.messages(run["thread_id"])
    assert [m["content"] for m in messages] == ["x", "half", "y", "next"]
    assert [m["content"] for m in model.requests[-1].messages][-3:] == ["x", "half", "y"]
    interrupted(server, run, "half", 4)
    gate.open()


def test_all_of_httpd(logged, model):
    server = logged()
    gate = Gate()
    runs = []
    for i in range(5):
        stream, run = begun(server.client, model, gate, (f"said {i}",))
        runs.append((stream, run))
    model.play(calls(("get_weather", {"nothing": 1})), holding(gate, ("after the tool",)))
    tool = server.client.stream("/agents/assistant/chat", {"message": "x"})
    tool_run = tool.next().json
    while tool.next().type != "token":
        pass
    server.kill()
    server.start()
    for i, (stream, run) in enumerate(runs):
        interrupted(server, run, f"said {i}")
        assert server.client.send(run["thread_id"], "again").status == 200
    interrupted(server, tool_run, "after the tool")
    message = server.client.messages(tool_run["thread_id"])[1]
    assert message["tool_calls"][0]["tool"] == "get_weather" and message["tool_calls"][0]["error"]
    steps = server.client.get(f"/runs/{tool_run['run_id']}/steps").json["data"]
    assert [s["type"] for s in steps] == ["tool_call"]
    assert [e.type for e in events_of(server.client, tool_run["run_id"]).rest()][-1] == "error"
    gate.open()


@pytest.mark.skipif(STORE is not None, reason="another program holds only a database of this machine")
def test_the_next_message_follows_an_answer_that_was_stored_late(logged, model):
    """Answers of a httpd that is killed, while another program holds the database; each thread is usable when it
    releases it."""
    server = logged("AgentChatStoreTimeout 1s\n", tuning=CHILDREN)
    gate = Gate()
    runs = [begun(server.client, model, gate, (f"said {i}",))[1] for i in range(6)]
    server.kill()
    server.expect_log("AC0206", "AC0503", "AC0520", "AC0502", "AC0651")
    with closing(sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        server.start()
        for run in runs:
            server.wait_log(rf"AC0520.*{run['run_id']}.*not closed yet")
        for _ in range(8):                  # the interval of retries grows until then
            assert server.client.post("/threads", {}).status in (502, 503, 504)
        database.execute("ROLLBACK")
    for run in runs:
        model.play(answer("next"))
        response = wait_until(lambda run=run: (r := server.client.send(run["thread_id"], "y")).status == 200 and r, "not accepted")
        assert response.json["seq"] == 4
    for i, run in enumerate(runs):
        messages = server.client.messages(run["thread_id"])
        assert [m["content"] for m in messages] == ["x", f"said {i}", "y", "next"]
        interrupted(server, run, f"said {i}", 4)
    gate.open()


def test_before_the_first_word(logged, model):
    server = logged()
    gate = Gate()
    stream, run = begun(server.client, model, gate, ())
    gate.wait_reached()
    server.kill()
    server.start()
    wait_until(lambda: run_of(server.client, run)["status"] == "interrupted", "the run is not closed")
    assert [e.type for e in events_of(server.client, run["run_id"]).rest()] == ["run", "error"]
    assert len(server.client.messages(run["thread_id"])) == 1
    assert server.client.send(run["thread_id"], "again").json["seq"] == 3
    gate.open()


@pytest.mark.parametrize("how", ["restart", "stop"])
def test_a_restart_and_a_stop_store_partial_answers(logged, model, how):
    server = logged()
    gate = Gate()
    runs = [begun(server.client, model, gate, (f"said {i}",)) for i in range(5)]
    old = set(server.children())
    server.expect_log("AC0503", "AC0612")
    wait_asleep(server)
    if how == "restart":
        server.send_signal(signal.SIGHUP)
    else:
        server.stop()
    for stream, _ in runs:
        assert stream.until("error")[-1].json["code"] == "stopping"
    if how == "stop":
        server.start()
    wait_until(lambda: set(server.children()) - old, "no new child")
    for i, (stream, run) in enumerate(runs):
        interrupted(server, run, f"said {i}", code="stopping")
        again = events_of(server.client, run["run_id"], 2)
        (error,) = again.rest()
        assert error.json["code"] == "stopping"
        # A stopped server leaves no ended logs; then the events are made from the store, with other ids.
        assert how == "stop" or blocks(again.raw) == blocks(stream.raw)[2:]
    gate.open()


def test_nothing_twice_over_many_deaths(logged, model):
    """Each new process dies as soon as it has begun to take over."""
    server = logged("LogLevel agentchat:debug\n")
    gate = Gate()
    runs = [begun(server.client, model, gate, (f"said {i}",))[1] for i in range(8)]
    for _ in range(3):
        server.kill()
        server.start()
    for i, run in enumerate(runs):
        interrupted(server, run, f"said {i}")
    server.kill()
    server.start()
    for i, run in enumerate(runs):
        interrupted(server, run, f"said {i}")
    gate.open()


def test_without_the_log(logged, model):
    """Its memory is lost with the machine: the store closes the run by itself."""
    server = logged()
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    server.kill()
    shutil.rmtree(event_dir(server))
    server.start()
    wait_until(lambda: run_of(server.client, run)["status"] == "interrupted", "the run is not closed")
    assert [e.type for e in events_of(server.client, run["run_id"]).rest()] == ["run", "error"]
    assert server.client.send(run["thread_id"], "again").status == 200
    gate.open()


def test_nothing_is_left_over(logged, model):
    server = logged("AgentChatEventLogKeep 0\n", tuning=CHILDREN)
    gate = Gate()
    stream, run = begun(server.client, model, gate)
    mine = owner_of(server, stream.connection)
    kill_child(server, mine)
    wait_until(lambda: run_of(server.client, run)["status"] == "interrupted", "the run is not closed")
    for _ in range(3):
        assert server.client.send(run["thread_id"], "x").status == 200
    server.kill()
    server.start()
    wait_until(lambda: not event_logs(event_dir(server)), "a log stays")
    wait_until(lambda: len(list(event_dir(server).glob("c-*"))) <= len(server.children()) + 1, "a dead child's place stays")
    server.stop()
    assert not event_logs(event_dir(server))
    gate.open()


def test_a_directory_that_is_not_ours_is_refused(make_server, tmp_path):
    server = make_server("", start=False)
    place = Path(server.root) / "open"
    place.mkdir()
    place.chmod(0o755)
    server.conf.write_text(server.conf.read_text() + f'AgentChatEventLog "{place}"\n')
    ok, said = server.configtest()
    assert not ok and f"AgentChatEventLog: '{place}' " in said
    done = subprocess.run([HTTPD, "-f", str(server.conf), "-DFOREGROUND"], capture_output=True, timeout=30,
                          env={**os.environ, **server.env})
    server.expect_log("AgentChatEventLog", "Configuration Failed")
    assert done.returncode and f"AgentChatEventLog: '{place}' ".encode() in done.stderr + server.log().encode()
