# SPDX-License-Identifier: Apache-2.0
"""CopilotKit's runtime, unchanged, between a page and this server: the code of the manual, and what a page sends."""
import json
import os
import re
import subprocess

import pytest

import peers
from agui_client import ON
from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import DONE, Gate, Reply, answer, calls, finish, head, token
from runs import wait_until
from server import TOP, WAIT, HeldPort

PAGE = TOP / "docs/ag-ui.md"
pytestmark = pytest.mark.long           # its packages are 280 MB


def example():
    text, = [text for text in re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(), re.M | re.S) if "CopilotRuntime" in text]
    return text


@pytest.fixture
def runtime(make_server, model, tmp_path):
    """The Node server of the manual's example, with this server's address, key and port."""
    site = make_server(ON, start=False, modules=MODULES)
    keys = KeyFile(site.root / "keys")
    site.key = keys.make("ann-1", "owner=ann")
    site.conf.write_text(site.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) +
                         "<Location /keys>\nAgentChatAGUI on\n</Location>\n")
    site.start()
    with HeldPort() as port:
        program = tmp_path / "runtime.mjs"
        program.write_text(example().replace("https://example.org/api", f"http://127.0.0.1:{site.port}/keys").replace("KEY", site.key)
                           .replace("listen(4000)", f"listen({port}, '127.0.0.1', () => console.log('ready'))"))
        (tmp_path / "node_modules").symlink_to(peers.install(TOP / "tests/copilotkit"))
        environment = {**os.environ, "COPILOTKIT_TELEMETRY_DISABLED": "true", "DO_NOT_TRACK": "1"}
        process = subprocess.Popen([peers.node_program(), str(program)], env=environment, stdout=subprocess.PIPE, text=True)
        while "ready" not in (line := process.stdout.readline()):
            assert line, "the runtime ended"
        yield Client(port, "/copilotkit"), site
        process.kill()
        process.wait(WAIT)


def body(*messages, run_id="r1", **more):
    return {"threadId": "talk-1", "runId": run_id, "state": {}, "messages": list(messages), "tools": [], "context": [],
            "forwardedProps": {}, **more}


def question(text, message_id):
    return {"id": message_id, "role": "user", "content": text}


def events_of(stream):
    return [event.json for event in stream.rest()]


def text_of(events):
    return "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT")


def test_a_conversation_by_the_runtime(runtime, model):
    page, _ = runtime
    assert list(page.get("/info").json["agents"]) == ["default"]
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me."), answer("42."), answer("Yes."))
    first = events_of(page.stream("/agent/default/run", body(question("what is it?", "u1"))))
    assert first[0]["type"] == "RUN_STARTED" and first[-1]["type"] == "RUN_FINISHED", first
    result, = [e["content"] for e in first if e["type"] == "TOOL_CALL_RESULT"]
    assert text_of(first) == "Let me.42." and json.loads(result)["result"] == 42
    second = events_of(page.stream("/agent/default/run", body(question("what is it?", "u1"), question("sure?", "u2"), run_id="r2")))
    assert text_of(second) == "Yes." and second[-1]["type"] == "RUN_FINISHED", second
    sent = [m["content"] for m in model.requests[-1].messages if m["role"] == "user"]
    assert sent == ["what is it?", "sure?"]
    shown = events_of(page.stream("/agent/default/connect", body()))
    assert "Yes." in json.dumps(shown) and shown[-1]["type"] == "RUN_FINISHED", shown


def test_a_tool_of_the_page_by_the_runtime(runtime, model):
    page, _ = runtime
    tools = [{"name": "look", "description": "Looks", "parameters": {"type": "object"}}]
    model.play(calls(("look", {"what": "it"})), answer("Seen."))
    first = events_of(page.stream("/agent/default/run", body(question("where?", "u1"), tools=tools)))
    start = next(e for e in first if e["type"] == "TOOL_CALL_START")
    call = {"id": start["toolCallId"], "type": "function", "function": {"name": "look", "arguments": '{"what": "it"}'}}
    assert first[-1]["type"] == "RUN_FINISHED" and not any(e["type"] == "TOOL_CALL_RESULT" for e in first), first
    messages = [question("where?", "u1"), {"id": start["parentMessageId"], "role": "assistant", "toolCalls": [call]},
                {"id": "t1", "role": "tool", "toolCallId": call["id"], "content": "here"}]
    second = events_of(page.stream("/agent/default/run", body(*messages, run_id="r2", tools=tools)))
    assert text_of(second) == "Seen." and "here" in json.dumps(model.requests[-1].messages[-1]), second


def test_an_error_by_the_runtime(runtime, model):
    page, site = runtime
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "no", "code": "x"}}))
    events = events_of(page.stream("/agent/default/run", body(question("hi", "u1"))))
    errors = [e for e in events if e["type"] == "RUN_ERROR"]
    assert [e["code"] for e in errors] == ["model_error"] and events[-1] == errors[0] and len(model.requests) == 1, events


def test_a_page_that_stops_by_the_runtime(runtime, model):
    """The page's stream ends. The run does not, and its answer is stored."""
    page, site = runtime
    gate, mine, key = Gate(), Client(site.port, "/keys"), bearer(site.key)

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
        yield finish()
        yield DONE
    model.play(script)
    stream = page.stream("/agent/default/run", body(question("hi", "u1")))
    gate.wait_reached()
    stopped = page.post("/agent/default/stop/talk-1", {})
    assert stopped.status == 200 and stopped.json["stopped"] is True, stopped
    assert events_of(stream)[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
    gate.open()
    thread, = mine.get("/threads", headers=key).json["data"]
    run, = mine.get(f"/threads/{thread['id']}/runs", headers=key).json["data"]
    wait_until(lambda: mine.get(f"/runs/{run['id']}", headers=key).json["status"] == "completed", "the run does not end")
