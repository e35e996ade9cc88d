# SPDX-License-Identifier: Apache-2.0
"""What a model thinks before it answers: apart from the answer, shown, stored with the step, and dropped where that is wanted."""
import pytest

import agui_client
from model_server import DONE, Cut, answer, calls, chunk, finish, head, reasons, token
from test_ui import ALL, ON, run
from test_v1 import ask, chunks

HIDDEN = """
<AgentChatModel other>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=other-1
</AgentChatModel>
<AgentChatModel silent>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=silent-1
    AgentChatRetries 0
    AgentChatReasoning {shown}
    AgentChatFallback other
</AgentChatModel>
<AgentChatAgent thinker>
    AgentChatModel silent
    AgentChatTools calculate
</AgentChatAgent>
"""


def stream(client, path, body=None, method="POST"):
    return [event.json for event in client.stream(path, body, method=method, headers={"Accept": "text/event-stream"}).rest()]


def joined(events, kind):
    return "".join(event["content"] for event in events if event["type"] == kind)


def types(events):
    """The types of the events, without repetitions in a row."""
    found = [event["type"] for event in events if event["type"] != "heartbeat"]
    return [kind for i, kind in enumerate(found) if not i or kind != found[i - 1]]


def test_events_steps_and_the_message(client, model):
    model.play(reasons("I need a sum.", calls(("calculate", {"expression": "6*7"}))), reasons("It is \u00e9asy.", answer("It is ", "42.")))
    thread = client.thread()
    events = stream(client, f"/threads/{thread}/messages", {"content": "what is it?"})
    assert types(events) == ["run", "reasoning", "trace_start", "trace_update", "trace_end", "reasoning", "token", "done"]
    assert joined(events, "reasoning") == "I need a sum. It is \u00e9asy. "
    assert joined(events, "token") == "It is 42."
    run_id = events[-1]["run_id"]
    steps = client.get(f"/runs/{run_id}/steps").json["data"]
    assert [step.get("reasoning") for step in steps] == ["I need a sum. ", None, "It is \u00e9asy. "]
    message = client.messages(thread)[-1]
    assert message["content"] == "It is 42." and message["metadata"]["reasoning_ms"] >= 0
    again = stream(client, f"/runs/{run_id}/events", method="GET")
    assert [(e["type"], e.get("content")) for e in again] == [(e["type"], e.get("content")) for e in events]
    model.play(answer("Fine."))
    client.send(thread, "thanks")
    assert "sum" not in str(model.requests[-1].messages), "a model gets no reasoning of an earlier turn"
    assert "reasoning_ms" not in client.messages(thread)[-1]["metadata"]


def test_only_the_beginning_is_stored(client, model):
    def script(_request):
        yield head()
        for _ in range(40):
            yield chunk({"reasoning": "\u20ac" * 341})
        yield token("ok")
        yield finish()
        yield DONE
    model.play(script)
    events = stream(client, f"/threads/{client.thread()}/messages", {"content": "x"})
    assert joined(events, "reasoning") == "\u20ac" * 341 * 40
    step = client.get(f"/runs/{events[-1]['run_id']}/steps").json["data"][0]
    assert step["reasoning"] == "\u20ac" * (32 * 1024 // 3)


@pytest.mark.parametrize("shown", ("on", "off"))
def test_hidden_reasoning_leaves_the_fallback_possible(make_server, model, shown):
    site = make_server(HIDDEN.format(url=model.url, shown=shown))
    if shown == "on":
        site.expect_log("AC0503")
    else:
        site.expect_log("AC0542")

    def thinks_and_dies(_request):
        yield head()
        yield chunk({"reasoning_content": "secret"})
        yield Cut()
    model.play(thinks_and_dies, answer("from the other"))
    events = stream(site.client, f"/threads/{site.client.thread(agent_id='thinker')}/messages", {"content": "x"})
    steps = site.client.get(f"/runs/{events[-1]['run_id']}/steps").json["data"]
    if shown == "on":
        assert types(events) == ["run", "reasoning", "error"] and steps[0]["reasoning"] == "secret"
    else:
        assert types(events) == ["run", "token", "done"] and joined(events, "token") == "from the other"
        assert "secret" not in str(events) + str(steps)


@pytest.mark.parametrize("activity", ("none", "reasoning", "events"))
def test_openai_clients(make_server, model, activity):
    site = make_server(f"<Location /api>\nAgentChatOpenAI on activity={activity}\n</Location>\n")
    model.play(reasons("Hm so.", answer("42")))
    found = chunks(site.client.stream("/v1/chat/completions", ask(stream=True)))
    thoughts = "".join(c["choices"][0]["delta"].get("reasoning_content", "") for c in found if c["choices"])
    native = "".join(c["agentchat"]["content"] for c in found if not c["choices"] and c.get("agentchat", {}).get("type") == "reasoning")
    assert (thoughts, native) == {"none": ("", ""), "reasoning": ("Hm so. ", ""), "events": ("", "Hm so. ")}[activity]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in found if c["choices"]) == "42"


@pytest.mark.parametrize("client", ALL)
def test_use_chat(make_server, model, client):
    site = make_server(ON)
    model.play(reasons("A sum.", calls(("calculate", {"expression": "6*7"}), said="Let me see.")), reasons("Easy.", answer("42")))
    result = run(client, site, ["send", "what is it?"])
    assert result["error"] is None, result
    parts = [p for p in result["messages"][-1]["parts"] if p["type"] != "step-start"]
    assert [p["type"] for p in parts] == ["reasoning", "text", "dynamic-tool", "reasoning", "text"], parts
    assert [p["text"] for p in parts if p["type"] == "reasoning"] == ["A sum. ", "Easy. "]
    assert all(p["state"] == "done" for p in parts if p["type"] in ("reasoning", "text"))


@pytest.mark.parametrize("version", agui_client.ALL)
def test_agui(make_server, model, version):
    """The second turn has the reasoning messages of the first one in its history."""
    site = make_server(agui_client.ON)
    model.play(reasons("A sum.", calls(("calculate", {"expression": "6*7"}), said="Let me see.")),
               reasons("Easy.", answer("42")), answer("Bye"))
    result = agui_client.run(version, site, ["send", "what is it?"], ["send", "thanks"])
    assert result["error"] is None, result
    thoughts = [event for event in result["steps"][0]["events"] if event["type"].startswith("REASONING")]
    kinds = [event["type"] for event in thoughts if event["type"] != "REASONING_MESSAGE_CONTENT"]
    assert kinds == 2 * ["REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_END", "REASONING_END"]
    assert "".join(event.get("delta", "") for event in thoughts) == "A sum. Easy. "
    assert len({event["messageId"] for event in thoughts}) == 2
    shown = [(m["role"], m.get("content")) for m in result["messages"] if m["role"] in ("reasoning", "assistant") and m.get("content")]
    assert ("assistant", "Let me see.") in shown and shown[-1] == ("assistant", "Bye"), shown
    thread_id = agui_client.ids_of(result["steps"][-1])["thread_id"]
    assert [role for role, _ in agui_client.stored(site, thread_id)] == ["user", "assistant", "user", "assistant"]
