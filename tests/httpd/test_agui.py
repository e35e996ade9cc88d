# SPDX-License-Identifier: Apache-2.0
"""AG-UI: its client of two versions, unchanged, and the bytes of the stream."""
import json

import pytest

from agui_client import (ALL, NEW, ON, body, calls_of, end, events_of, finish_of, ids_of, question, results_of, run, said, start, stored,
                         types)
from model_server import DONE, Cut, Gate, answer, calls, finish, head, token, tool_call
from runs import wait_until


@pytest.fixture
def site(make_server, model):
    return make_server(ON)


@pytest.mark.parametrize("client", ALL)
def test_a_conversation(site, model, client):
    model.play(answer("Hel", "lo"), answer("Fine"))
    result = run(client, site, ["send", "hi"], ["send", "how are you?"])
    assert said(result) == [("user", "hi"), ("assistant", "Hello"), ("user", "how are you?"), ("assistant", "Fine")], result
    assert result["error"] is None
    first, second = result["steps"]
    assert types(first) == ["RUN_STARTED", "CUSTOM", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT",
                            "TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert finish_of(first) == {"type": "success"} and first["events"][-1]["usage"][0]["totalTokens"] == 15
    assert first["events"][0]["threadId"] == "talk-1" and first["events"][0].get("protocolVersion") == ("1.0" if client == NEW else None)
    assert first["events"][0]["runId"] == first["events"][-1]["runId"] != second["events"][0]["runId"]
    thread_id = ids_of(second)["thread_id"]
    assert stored(site, thread_id) == said(result)
    answers = [m["id"] for m in site.client.get(f"/threads/{thread_id}/messages").json["data"] if m["role"] == "assistant"]
    assert answers == [m["id"] for m in result["messages"] if m["role"] == "assistant"]


@pytest.mark.parametrize("client", ALL)
def test_tools_of_the_agent(site, model, client):
    """A call that fails, and in the next turn two at once, one of them with the same id of the model."""
    model.play(calls(("calculate", {"expression": "1/0"}), said="Let me."), answer("No."),
               calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1+1"})), answer("42 and 2."))
    result = run(client, site, ["send", "divide"], ["send", "both"])
    assert said(result)[:4] == [("user", "divide"), ("assistant", "Let me."), ("tool", results_of(result)[0]), ("assistant", "No.")], result
    assert "divi" in results_of(result)[0]
    assert [json.loads(text)["result"] for text in results_of(result)[1:]] == [42, 2], results_of(result)
    assert said(result)[-1] == ("assistant", "42 and 2.") and len({call["id"] for call in calls_of(result)}) == 3
    assert [json.loads(call["function"]["arguments"])["expression"] for call in calls_of(result)] == ["1/0", "6*7", "1+1"]
    assert {m["toolCallId"] for m in result["messages"] if m["role"] == "tool"} == {call["id"] for call in calls_of(result)}
    thread_id = ids_of(result["steps"][-1])["thread_id"]
    assert [m[0] for m in stored(site, thread_id)] == ["user", "assistant", "user", "assistant"]


TOOLS = [{"name": "look", "description": "Looks", "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}},
         {"name": "point", "description": "Points", "parameters": {"type": "object"}}]


@pytest.mark.parametrize("client", ALL)
def test_tools_of_the_page(site, model, client):
    wanted = ("look", {"what": "it"}), ("point", {}), ("calculate", {"expression": "1+1"})
    results = {"look": {"content": '{"place": "here"}'}, "point": {"content": "", "error": "no hand"}}
    model.play(calls(*wanted, said="Looking."), answer("It is there."))
    result = run(client, site, ["send", "where?"], ["carryOut", results], tools=TOOLS)
    first, second = result["steps"]
    page_calls = [call["id"] for call in calls_of(first) if call["function"]["name"] != "calculate"]
    assert finish_of(first) == {"type": "success", **({"pendingToolCallIds": page_calls} if client == NEW else {})}
    assert [json.loads(c["function"]["arguments"]) for c in calls_of(first)][:2] == [{"what": "it"}, {}]
    assert types(first).count("TOOL_CALL_RESULT") == 1 and second["error"] is None
    assert said(result)[-1] == ("assistant", "It is there."), result
    sent = [m["content"] for m in model.requests[-1].json["messages"] if m["role"] == "tool"]
    assert any("place" in text and "here" in text for text in sent) and any("no hand" in text for text in sent)
    thread_id = ids_of(second)["thread_id"]
    assert [m[0] for m in stored(site, thread_id)] == ["user", "assistant", "tool", "assistant"]
    loaded = run(client, site, ["reload"])
    assert said(loaded)[:2] == [("user", "where?"), ("assistant", "Looking.")] and said(loaded)[-1] == ("assistant", "It is there.")
    assert sorted(results_of(loaded)) == sorted(results_of(result)[:1] + ['{"place": "here"}', "no hand"]), loaded


@pytest.mark.parametrize("client", ALL)
def test_a_run_that_is_sent_again_runs_once(site, model, client):
    """Cut off after the first text, and sent once more: the client has each text once."""
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield gate
        yield token("two")
        yield finish()
        yield DONE
    model.play(script)
    process = start(client, site, [["cut", "hi", {"runId": "r1"}], ["gate"], ["run", {"runId": "r1"}]])
    assert "cut" in process.stderr.readline()
    gate.wait_reached()
    gate.open()
    process.stdin.write("\n")
    process.stdin.flush()
    result = end(process)
    assert said(result["steps"][0])[-1] == ("assistant", "one ") and len(model.requests) == 1
    assert said(result) == [("user", "hi"), ("assistant", "one two")] and result["error"] is None, result
    assert "MESSAGES_SNAPSHOT" in types(result["steps"][-1])


def test_a_run_id_of_another_request(site, model):
    first = events_of(site.client.stream("/agui/assistant", body(question())))
    again = events_of(site.client.stream("/agui/assistant", body(question())))
    assert again[0] == first[0] and again[-1]["type"] == "RUN_FINISHED" and len(model.requests) == 1
    refused = site.client.post("/agui/assistant", body(question("else", "u2")))
    assert (refused.status, refused.json["code"]) == (409, "idempotency_conflict") and "runId" in refused.json["detail"]
    other = events_of(site.client.stream("/agui/assistant", body(question(), thread="talk-2")))
    assert other[-1]["type"] == "RUN_FINISHED" and len(model.requests) == 2


@pytest.mark.parametrize("client", ALL)
def test_a_cancelled_run(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one ")
        yield tool_call(0, "call_1", "look", '{"what":')
        yield gate
    model.play(script)
    process = start(client, site, [["send", "hi"]], tools=TOOLS)
    gate.wait_reached()
    wait_until(lambda: site.client.get("/threads").json["data"], "the turn is not stored")
    thread, = site.client.get("/threads").json["data"]
    run_id = site.client.get(f"/threads/{thread['id']}/runs").json["data"][0]["id"]
    assert site.client.post(f"/runs/{run_id}/cancel").status == 202
    result = end(process)
    gate.open()
    assert result["error"] is None and ("assistant", "one ") in said(result), result
    assert finish_of(result["steps"][0]) == ({"type": "cancelled"} if client == NEW else None)
    assert "the run ended" in results_of(result)[0]


@pytest.mark.parametrize("client", ALL)
def test_a_failed_run(site, model, client):
    """After the first token an event; before it, a status."""
    site.expect_log("AC0503", "AC0503")
    model.play(lambda _request: iter([head(), token("one "), Cut()]))
    result = run(client, site, ["send", "hi"])
    assert result["error"]["code"] == "model_error" and said(result) == [("user", "hi"), ("assistant", "one ")], result
    result = run(client, site, ["send", "hi"], agent="unknown", thread="talk-2")
    assert result["error"]["status"] == 404 and "not_found" in result["error"]["message"] and len(model.requests) == 1, result


@pytest.mark.parametrize("client", ALL)
def test_a_run_that_is_under_way(site, model, client):
    gate = Gate()

    def script(_request):
        yield head()
        yield gate
        yield token("done")
        yield finish()
        yield DONE
    model.play(script)
    process = start(client, site, [["send", "hi"]])
    gate.wait_reached()
    wait_until(lambda: site.client.get("/threads").json["data"], "the turn is not stored")
    second = run(client, site, ["send", "me too"])
    assert second["error"]["status"] == 409 and "run_in_progress" in second["error"]["message"] and len(model.requests) == 1, second
    shows = start(client, site, [["reload"]])
    gate.open()
    assert end(process)["error"] is None
    assert said(end(shows)) == [("user", "hi"), ("assistant", "done")]


@pytest.mark.parametrize("client", ALL)
def test_edit_regenerate_and_cut(site, model, client):
    model.play(answer("A"), answer("B"), answer("C"), answer("D"), answer("E"))
    result = run(client, site, ["send", "one"], ["send", "two"], ["regenerate", 3], ["edit", 2, "2"], ["replace", 2, "zwei"])
    assert [said(step)[-1][1] for step in result["steps"]] == ["A", "B", "C", "D", "E"], result
    assert said(result) == [("user", "one"), ("assistant", "A"), ("user", "zwei"), ("assistant", "E")]
    thread_id = ids_of(result["steps"][-1])["thread_id"]
    assert stored(site, thread_id) == said(result)
    assert sorted(stored(site, thread_id, "?all=true")) == sorted(
        [("user", "one"), ("assistant", "A"), ("user", "two"), ("assistant", "B"), ("assistant", "C"), ("user", "2"), ("assistant", "D"),
         ("user", "zwei"), ("assistant", "E")])


@pytest.mark.parametrize("client", ALL)
def test_a_page_that_is_opened_again(site, model, client):
    """It shows the thread, also one that was made elsewhere, and a message that it brings comes behind the stored ones."""
    model.play(answer("A"), answer("B"), answer("C"))
    stream = site.client.stream("/agents/assistant/chat", {"message": "one"})
    thread_id = stream.rest()[0].json["thread_id"]
    shown = run(client, site, ["reload"], ["send", "two"], thread=thread_id)
    assert said(shown) == [("user", "one"), ("assistant", "A"), ("user", "two"), ("assistant", "B")] and shown["error"] is None, shown
    assert types(shown["steps"][0])[1:] == ["MESSAGES_SNAPSHOT", "RUN_FINISHED"] and len(model.requests) == 2
    assert "MESSAGES_SNAPSHOT" not in types(shown["steps"][1])
    late = run(client, site, ["send", "three"], thread=thread_id)
    assert said(late) == said(shown) + [("user", "three"), ("assistant", "C")] == stored(site, thread_id), late
    nothing = run(client, site, ["reload"], thread="new")
    assert nothing["messages"] == [] and types(nothing["steps"][0]) == ["RUN_STARTED", "RUN_FINISHED"]
