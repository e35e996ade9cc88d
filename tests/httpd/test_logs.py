# SPDX-License-Identifier: Apache-2.0
"""AgentChatLog and AgentChatLogFormat: every line whole and valid, each member, files, pipes, rotation; and the notes of
the access log. (The audit log: test_audit_log.py.)"""
import json
import os
import re
import threading

import pytest

from model_server import Gate, Reply, answer, calls, finish, head, token, usage
from runs import begun, wait_until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
JSON = 'AgentChatLogFormat json\nAgentChatLog logs/agentchat.log\n'


def objects(server, name="agentchat.log"):
    """The lines of a log; each has to be a whole object."""
    file = server.root / "logs" / name
    return [json.loads(line) for line in file.read_bytes().decode().splitlines()] if file.exists() else []


def wait_objects(server, wanted, name="agentchat.log"):
    found = []

    def there():
        found[:] = [line for line in objects(server, name) if wanted(line)]
        return found
    wait_until(there, "the line is not in the log")
    return found


def summaries(server, n=1):
    found = []

    def there():
        found[:] = [line for line in objects(server) if line.get("number") == "AC0504"]
        return len(found) >= n
    wait_until(there, f"{len(found)} of {n} summaries")
    return found


def test_a_run_has_one_summary_with_all_members(make_server, model):
    server = make_server(JSON)
    model.play(calls(("calculate", {"expression": "6*7"})), answer("for", "ty-two", prompt=1000, cached=400, completion=50))
    thread = server.client.thread()
    response = server.client.post(f"/threads/{thread}/messages", {"content": "x", "stream": False},
                                  headers={**TRACEPARENT, "X-Request-Id": "my-request"})
    assert response.status == 200
    line, = summaries(server)
    assert line["run"] == response.json["run_id"] and line["thread"] == thread
    assert line["request"] == "my-request" and (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    assert line["agent"] == "assistant" and line["model"] == "scripted-1" and line["status"] == "completed"
    assert line["level"] == "info" and line["rounds"] == 2 and line["tool_calls"] == 1
    assert line["latency_ms"] >= line["first_token_ms"] > 0 and line["store_ms"] > 0
    assert line["cached_tokens"] == 400 and line["input_tokens"] >= 1000 and line["output_tokens"] >= 50
    assert line["tokens"] == "reported" and line["cost"] > 0 and line["currency"] == "USD"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    assert line["message"].startswith(f"run[{line['run']}] thread[{thread}] agent[assistant] model[scripted-1] "
                                      "request[my-request]: completed after ")
    assert "error" not in line
    tool, = [line for line in objects(server) if "tool" in line]
    assert tool["tool"] == "calculate" and tool["run"] == line["run"] and tool["status"] == "completed"


def test_unknown_members_are_left_out(make_server, model):
    server = make_server(JSON)
    model.play(Reply(status=400))
    server.client.request("POST", "/agent/stream", {"message": "x"})
    line, = summaries(server)
    assert line["status"] == "failed" and line["error"] == "model_error"
    for name in ("thread", "trace_id", "span_id", "tool", "first_token_ms", "input_tokens", "cost"):
        assert name not in line, name
    failure, = [line for line in objects(server) if line.get("number") == "AC0503"]
    assert failure["level"] == "warn" and failure["error"] == "model_error" and failure["run"] == line["run"]
    assert not any(value in ("", None) for line in objects(server) for value in line.values())
    # Nothing of the module is in the error log now.
    assert "AC0503" not in server.log()


def test_a_failed_request_has_its_members(make_server, model):
    server = make_server(JSON)
    assert server.client.get("/threads/thread_none", headers=TRACEPARENT).status == 404
    line, = wait_objects(server, lambda line: line.get("error") == "not_found")
    assert line["route"] == "/threads/{id}" and line["http_status"] == 404 and line["level"] == "debug"
    assert line["trace_id"] == TRACE and line["client"] == "127.0.0.1" and line["request"].startswith("req_")


def test_text_is_the_default_and_has_the_summary_at_info(make_server, model):
    server = make_server()
    server.client.send(server.client.thread(), "x")
    server.wait_log(r"\[agentchat:info\] .*AC0504: run\[run_\w+\] thread\[thread_\w+\] agent\[assistant\] model\[scripted-1\] "
                    r"request\[req_\w+\]: completed after \d+ ms: first token \d+ ms, store \d+ ms, 1 rounds, 0 tool calls, "
                    r"\d+ tokens in \(\d+ cached\), \d+ out, [\d.]+ USD")
    assert '{"time"' not in server.log()


def test_text_can_go_to_a_file_of_its_own(make_server, model):
    server = make_server("AgentChatLog logs/own.log")
    server.client.send(server.client.thread(), "x")
    file = server.root / "logs/own.log"
    wait_until(lambda: file.exists() and "AC0504" in file.read_text(), "no text line")
    assert re.search(r"^\S+Z \[agentchat:info\] \[pid \d+\] AC0504: run\[", file.read_text(), re.M)
    assert "AC0504" not in server.log()


def test_json_in_the_error_log_itself(make_server, model):
    server = make_server("AgentChatLogFormat json")
    server.client.send(server.client.thread(), "x")
    server.wait_log('"number":"AC0504"')
    ours = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert any(line.get("number") == "AC0504" for line in ours)
    assert not re.search(r"^\[.*agentchat:", server.log(), re.M)


def test_each_run_of_many_at_once_is_one_whole_line(make_server, model):
    """Several children and threads write to one file."""
    server = make_server(JSON, tuning="StartServers 3\nServerLimit 3\nThreadsPerChild 8\nMaxRequestWorkers 24\n"
                                      "AsyncRequestWorkerFactor 20\nMinSpareThreads 1\nMaxSpareThreads 24")
    runs, lock = [], threading.Lock()

    def work():
        for _ in range(10):
            run = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}).json["run_id"]
            with lock:
                runs.append(run)
    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(line["run"] for line in summaries(server, 80)) == sorted(runs)


def restart_of(server):
    def restart(_i):
        server.expect_log("AH00488")           # a child of the generation before the last has ended
        old = set(server.children())
        server.graceful()
        wait_until(lambda: set(server.children()) - old, "no new children")
    return restart


def rotate_under_load(server, each, n=4):
    """Chats while `each` is called n times between them; returns the runs."""
    runs, stop, lock = [], threading.Event(), threading.Lock()

    def work():
        while not stop.is_set():
            try:
                response = server.client.post("/agents/assistant/chat", {"message": "x", "stream": False})
            except OSError:
                continue                        # a connection that met the restart
            if response.status == 200:
                with lock:
                    runs.append(response.json["run_id"])
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    try:
        for i in range(n):
            before = len(runs)
            wait_until(lambda: len(runs) >= before + 10, "no more answers")
            each(i)
    finally:
        stop.set()
        [thread.join() for thread in threads]
    return runs


def test_rotation_by_graceful_restarts_loses_and_tears_no_line(make_server, model):
    server = make_server(JSON)
    logs = server.root / "logs"

    restart = restart_of(server)

    def rotate(i):
        (logs / "agentchat.log").rename(logs / f"agentchat.log.{i}")
        restart(i)
        wait_until((logs / "agentchat.log").exists, "no new log")
    runs = rotate_under_load(server, rotate)

    def logged():
        return [line["run"] for file in logs.glob("agentchat.log*") for line in objects(server, file.name)
                if line.get("number") == "AC0504"]
    wait_until(lambda: set(runs) <= set(logged()), "runs without a line")
    assert len(logged()) == len(set(logged()))


ROTATELOGS = next((path for path in ("/usr/bin/rotatelogs", "/usr/sbin/rotatelogs") if os.path.exists(path)), None)


def piped(server, pattern):
    return [line["run"] for file in (server.root / "logs").glob(pattern) for line in objects(server, file.name)
            if line.get("number") == "AC0504"]


@pytest.mark.skipif(not ROTATELOGS, reason="rotatelogs is not installed")
def test_rotatelogs_gets_every_line_through_graceful_restarts(make_server, model):
    server = make_server(JSON, start=False)
    text = server.conf.read_text()
    server.conf.write_text(text.replace("AgentChatLog logs/agentchat.log",
                                        f'AgentChatLog "|{ROTATELOGS} {server.root}/logs/rotated 20K"'))
    server.start()
    # One program for all generations: httpd would end it at each restart, before the children that write to it.
    runs = rotate_under_load(server, restart_of(server))
    wait_until(lambda: sorted(runs) == sorted(piped(server, "rotated*")), "runs without a line, or lines of no run")


def test_a_program_that_does_not_read_harms_no_run(make_server, model):
    server = make_server('AgentChatLogFormat json\nAgentChatLog "|/bin/sleep 1000"\n')
    # Each request makes lines; a pipe has room for 1 MB of them.
    def lost():
        for _ in range(20):
            assert server.client.get("/threads/thread_none" + "x" * 3000).status == 404
            assert server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}).status == 200
        return "AC0680" in server.log()
    wait_until(lost, "nothing was lost")
    server.expect_log("AC0680: AgentChatLog .* could not be written")
    assert server.client.send(server.client.thread(), "x").status == 200


@pytest.mark.parametrize("target, text", [
    ("/nowhere/agentchat.log", "AgentChatLog: '/nowhere/agentchat.log' cannot be opened for writing: No such file"),
    ("/", "AgentChatLog: '/' cannot be opened for writing: Is a directory"),
    ('"|/nowhere/program x"', "AgentChatLog: '/nowhere/program' is no program that can be started"),
    ('"|"', "AgentChatLog: there is no program behind the |"),
])
def test_a_log_that_cannot_be_opened_is_found_by_configtest(make_server, target, text):
    server = make_server(f"AgentChatLog {target}", start=False)
    ok, printed = server.configtest()
    assert not ok and text in printed


@pytest.mark.parametrize("first, second", [
    ("logs/one.log", "logs/two.log"), ("logs/one.log", '"|$cat >>ROOT/logs/two.log"'), ('"|$cat >>ROOT/logs/one.log"', "logs/two.log"),
    ('"|$cat >>ROOT/logs/one.log"', '"|$cat >>ROOT/logs/two.log"')])
def test_a_reload_changes_the_destination(make_server, model, first, second):
    """Streams of the previous generation have their lines in the old one, to the last."""
    server = make_server("AgentChatLogFormat json\n", start=False)
    text, gate = server.conf.read_text(), Gate()

    def write(target):
        server.conf.write_text(text + f"AgentChatLog {target}\n".replace("ROOT", str(server.root)))
    write(first)
    server.start()
    stream, old = begun(server.client, model, gate)
    write(second)
    restart_of(server)(0)
    new = wait_until(lambda: (got := server.client.post("/agents/assistant/chat", {"message": "x", "stream": False})).status == 200
                     and got, "no answer after the restart").json["run_id"]
    gate.open()
    assert stream.rest()[-1].type == "done"

    def ended(name):
        return [line["run"] for line in objects(server, name) if line.get("number") == "AC0504"]
    wait_until(lambda: ended("one.log") == [old["run_id"]] and ended("two.log") == [new], "a line is missing, or in the wrong log")


NOTES = ["run", "thread", "agent", "model", "status", "error", "tokens-in", "tokens-out", "tokens-cached", "cost", "currency",
         "first-token-ms", "store-ms", "trace"]
ACCESS = 'CustomLog logs/notes.log "' + " ".join(f"{name}=%{{agentchat-{name}}}n" for name in NOTES) + '"\n'


def noted(server, n=1):
    file = server.root / "logs/notes.log"
    wait_until(lambda: file.exists() and len(file.read_text().splitlines()) >= n, "no line in the access log")
    return [dict(part.split("=", 1) for part in line.split()) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_the_access_log_has_the_run(make_server, model, mpm, stream):
    server = make_server(ACCESS, mpm=mpm)
    model.default = answer("a", "b", prompt=1000, completion=50, cached=400)
    response = server.client.connect()
    with response as connection:
        got = connection.request("POST", "/api/agents/assistant/chat", {"message": "x", "stream": stream},
                                 {**TRACEPARENT, "Connection": "close"})
    assert got.status == 200
    line, = noted(server)
    assert re.search(line["run"].encode(), got.body) and line["thread"].startswith("thread_")
    assert (line["agent"], line["model"], line["status"], line["error"]) == ("assistant", "scripted-1", "completed", "-")
    assert (line["tokens-in"], line["tokens-out"], line["tokens-cached"]) == ("1000", "50", "400")
    assert float(line["cost"]) == pytest.approx((600 * 1 + 400 * 0.1 + 50 * 2) / 1e6) and line["currency"] == "USD"
    assert int(line["first-token-ms"]) > 0 and int(line["store-ms"]) > 0 and line["trace"] == TRACE


def test_the_access_log_of_other_requests(make_server, model):
    server = make_server(ACCESS)
    gate = Gate()

    def script(_request):
        yield head()
        yield token("x")
        yield gate
        yield usage()
        yield finish()
    model.play(script)
    stream = server.client.stream("/agents/assistant/chat", {"message": "x"})
    run = stream.until("token")[0].json["run_id"]
    stream.close()                              # logged during the run
    gone, = noted(server)
    assert gone["run"] == run and gone["agent"] == "assistant" and gone["status"] == "in_progress" and gone["cost"] == "-"
    gate.open()
    assert server.client.stream(f"/runs/{run}/events", method="GET").rest()[-1].type == "done"
    followed = noted(server, 2)[1]
    assert followed["run"] == run and followed["agent"] == "-"
    thread = server.client.thread()
    line = noted(server, 3)[2]
    assert thread and line["run"] == "-" and int(line["store-ms"]) > 0


def test_a_repeated_request_is_noted_with_the_run_that_it_follows(make_server, model):
    server = make_server(ACCESS + JSON)
    for _ in range(2):
        assert server.client.post("/agents/assistant/chat", {"message": "x"}, headers={"Idempotency-Key": "k"}).status == 200
    first, second = noted(server, 2)
    assert first["run"] == second["run"] != "-"
    assert len(summaries(server)) == 1


def test_no_log_has_what_people_and_models_wrote(make_server, model):
    secret = "planted-4711"
    server = make_server(ACCESS + JSON + "AgentChatAuditLog logs/audit.log\n")
    model.play(calls(("calculate", {"expression": secret})), answer(secret, "!"), Reply(400, {"error": {"message": secret}}))
    client, thread = server.client, server.client.thread(title=secret)
    key = {"Authorization": f"Bearer {secret}", "X-API-Key": secret}
    assert client.post(f"/threads/{thread}/messages", {"content": secret, "stream": False}, headers=key).status == 200
    assert client.post(f"/threads/{thread}/messages", {"content": secret, "stream": False, "metadata": {"a": secret}}).status >= 400
    assert client.get(f"/threads/{thread}/messages?order={secret}").status == 400
    assert client.delete(f"/threads/{thread}").status == 200
    summaries(server, 2)
    noted(server, 5)
    for name in ("agentchat.log", "notes.log", "audit.log", "error.log"):
        assert secret not in (server.root / "logs" / name).read_text(), name
    assert [line["event"] for line in objects(server, "audit.log")] == ["thread.deleted"]


def test_the_audit_log_can_be_a_program(make_server, model):
    server = make_server('AgentChatAuditLog "|$cat >>audit.piped"\n', start=False)
    text = server.conf.read_text()
    server.conf.write_text(text.replace("audit.piped", f"{server.root}/logs/audit.piped"))
    server.start()
    for i in range(3):
        thread = server.client.thread()
        assert server.client.delete(f"/threads/{thread}").status == 200
        restart_of(server)(i)
        wait_until(lambda: [line["target"] for line in objects(server, "audit.piped")][i:] == [thread], "no line of the audit log")
