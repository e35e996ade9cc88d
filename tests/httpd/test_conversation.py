# SPDX-License-Identifier: Apache-2.0
"""Conversations: requests to the model, results of tools, stored messages."""
import json

from metrics import PLACE, read
from model_server import answer, calls, chunk, finish, head, token, usage, DONE

from server import MODEL


def test_a_plain_answer(client, model):
    model.play(answer("Why did", " the chicken", "…"))
    thread = client.thread()
    response = client.send(thread, "Tell me a joke")
    assert response.status == 200
    message = response.json
    assert set(message) == {"id", "thread_id", "parent_id", "seq", "role", "content", "tool_calls", "run_id", "timestamp", "metadata"}
    assert (message["role"], message["content"], message["seq"]) == ("assistant", "Why did the chicken…", 2)
    assert message["tool_calls"] is None
    assert message["metadata"]["model"] == "scripted-1" and message["metadata"]["finish_reason"] == "stop"
    assert client.messages(thread)[1] == message
    sent = model.requests[0]
    assert sent.path == "/v1/chat/completions" and sent.json["stream"] is True
    assert sent.json["stream_options"] == {"include_usage": True} and sent.json["model"] == "scripted-1"
    assert [m["role"] for m in sent.messages] == ["system", "user"]
    assert {t["function"]["name"] for t in sent.json["tools"]} == {"calculate", "get_weather"}


def test_one_tool(client, model):
    model.play(calls(("calculate", {"expression": "85 * 0.15"})), answer("It is 12.75."))
    message = client.send(client.thread(), "What is 15% of 85?").json
    assert message["content"] == "It is 12.75."
    (call,) = message["tool_calls"]
    assert set(call) == {"id", "tool", "arguments", "result", "error", "latency_ms"}
    assert call["tool"] == "calculate" and call["arguments"] == {"expression": "85 * 0.15"} and call["error"] is None
    assert call["result"]["result"] == 12.75
    asked, results = model.requests[1].messages[-2:]
    assert asked["role"] == "assistant" and asked["tool_calls"][0]["id"] == "call_1"
    assert results["role"] == "tool" and results["tool_call_id"] == "call_1"
    assert json.loads(results["content"])["result"] == 12.75


def test_two_tools_in_one_round(client, model):
    model.play(calls(("calculate", {"expression": "75 * 0.18"}), ("calculate", {"expression": "2 ^ 10"})), answer("Done."))
    message = client.send(client.thread(), "Two things").json
    assert [c["result"]["result"] for c in message["tool_calls"]] == [13.5, 1024]
    results = model.requests[1].messages[-2:]
    assert [m["tool_call_id"] for m in results] == ["call_1", "call_2"]
    run = client.get("/runs/" + message["run_id"]).json
    assert run["rounds"] == 2 and run["status"] == "completed"
    steps = client.get(f"/runs/{message['run_id']}/steps").json["data"]
    assert sorted(s["type"] for s in steps) == ["model_call", "model_call", "tool_call", "tool_call"]
    assert all(s["status"] == "completed" for s in steps)


def test_the_model_sees_the_error_of_a_tool(client, model):
    model.play(calls(("calculate", {"expression": "1 / 0"}), ("nonesuch", {}), ("calculate", {"wrong": 1})),
               answer("Sorry."))
    message = client.send(client.thread(), "Break").json
    assert message["content"] == "Sorry."
    assert all(c["error"] and c["result"] is None for c in message["tool_calls"])
    results = [json.loads(m["content"])["error"] for m in model.requests[1].messages[-3:]]
    assert "division by zero" in results[0] and "no tool of this name" in results[1] and "expression" in results[2]


def test_figures_and_cost(client, model):
    model.play(answer("Hi", prompt=1000, completion=500, cached=400, reasoning=100))
    run_id = client.send(client.thread(), "Hello").json["run_id"]
    run = client.get("/runs/" + run_id).json
    assert run["usage"] == {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500, "cached_tokens": 400,
                            "reasoning_tokens": 100, "estimated": False}
    assert run["cost"]["currency"] == "USD"
    assert abs(run["cost"]["amount"] - (600 * 1.00 + 400 * 0.10 + 500 * 2.00) / 1e6) < 1e-9
    assert run["ttft_ms"] is not None and run["latency_ms"] >= run["ttft_ms"]


def test_only_missing_figures_are_estimated(client, model):
    def silent(_request):
        yield head()
        yield token("some words of an answer")
        yield finish()
        yield DONE
    model.play(silent)
    run_id = client.send(client.thread(), "Hello").json["run_id"]
    figures = client.get("/runs/" + run_id).json["usage"]
    assert figures["estimated"] is True and figures["completion_tokens"] > 0 and figures["prompt_tokens"] > 0


def test_history_of_thirty_messages(make_server, model):
    server = make_server()
    client = server.client
    thread = client.thread()
    for i in range(15):
        model.play(answer(f"answer {i}"))
        assert client.send(thread, f"question {i}").status == 200

    def sent_with():
        return [(m["role"], m["content"]) for m in model.requests[-1].messages if m["role"] != "system"]

    whole = [pair for i in range(15) for pair in (("user", f"question {i}"), ("assistant", f"answer {i}"))]
    model.play(answer("answer 15"))
    client.send(thread, "the thirty-first")
    assert sent_with() == whole + [("user", "the thirty-first")]
    server.stop()
    server.start()
    client.send(thread, "after a restart")
    assert sent_with() == whole + [("user", "the thirty-first"), ("assistant", "answer 15"), ("user", "after a restart")]
    seqs = [m["seq"] for m in client.messages(thread)]
    assert seqs == list(range(1, 35))


def test_history_is_windowed_by_whole_turns(make_server, model):
    server = make_server("""
<AgentChatAgent forgetful>
    AgentChatModel scripted
    AgentChatHistory messages=4
</AgentChatAgent>
""")
    client = server.client
    thread = client.thread(agent_id="forgetful")
    for i in range(4):
        model.play(answer(f"a{i}"))
        client.send(thread, f"q{i}")
    client.send(thread, "now")
    assert [m["content"] for m in model.requests[-1].messages] == ["q2", "a2", "q3", "a3", "now"]
    assert "tools" not in model.requests[-1].json


def test_results_of_old_calls_go_before_turns(make_server, model):
    server = make_server(PLACE + """
<AgentChatAgent forgetful>
    AgentChatModel scripted
    AgentChatTools calculate
    AgentChatHistory tokens=1600
</AgentChatAgent>
""")
    client = server.client
    thread = client.thread(agent_id="forgetful")
    for i in range(12):
        model.play(calls(("calculate", {"expression": f"{i}+{'0' * 200}"})), answer(f"a{i}"))
        client.send(thread, f"q{i}")
    model.play(answer("now"))
    client.send(thread, "now")
    messages = model.requests[-1].messages
    results = [m["content"] for m in messages if m["role"] == "tool"]
    cleared = ["left out to save space" in text for text in results]
    assert [m["content"] for m in messages if m["role"] == "user"] == [f"q{i}" for i in range(12)] + ["now"]
    assert any(cleared) and not any(cleared[-3:]) and cleared == sorted(cleared, reverse=True)
    assert "left out" not in json.dumps(client.messages(thread))
    assert read(server).sum("agentchat_history_cuts_total", agent="forgetful", what="results") >= 1


def test_tool_calls_of_earlier_turns_are_in_the_history(client, model):
    thread = client.thread()
    model.play(calls(("calculate", {"expression": "1+1"})), answer("Two."), answer("Yes."))
    client.send(thread, "1+1?")
    client.send(thread, "Sure?")
    roles = [m["role"] for m in model.requests[-1].messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_rounds_are_capped(make_server, model):
    server = make_server("""
<AgentChatAgent short>
    AgentChatModel scripted
    AgentChatTools calculate
    AgentChatMaxRounds 2
</AgentChatAgent>
""")
    want = calls(("calculate", {"expression": "1"}))
    model.play(want, answer("Enough."))
    message = server.client.post("/agents/short/chat", {"message": "x", "stream": False}).json
    assert message["content"] == "Enough."
    assert model.requests[1].json["tool_choice"] == "none"
    model.play(want, want)
    response = server.client.post("/agents/short/chat", {"message": "x", "stream": False})
    assert response.status == 502 and response.json["code"] == "model_error"
    server.expect_log("AC0503")


def test_one_active_run_per_thread(client, model):
    from model_server import Gate
    gate = Gate()

    def slow(_request):
        yield token("a")
        yield gate
        yield finish()
        yield DONE
    model.play(slow)
    thread = client.thread()
    stream = client.stream(f"/threads/{thread}/messages", {"content": "x", "stream": True})
    first = stream.next().json
    gate.wait_reached()
    response = client.send(thread, "me too")
    assert response.status == 409 and response.json["code"] == "run_in_progress"
    assert first["run_id"] in response.json["detail"]
    gate.open()
    assert stream.rest()[-1].type == "done"
    assert client.send(thread, "now?").status == 200


def test_a_length_finish(client, model):
    def cut_short(_request):
        yield token("and so")
        yield finish("length")
        yield usage()
        yield DONE
    model.play(cut_short)
    message = client.send(client.thread(), "x").json
    assert message["content"] == "and so" and message["metadata"]["finish_reason"] == "length"


def test_a_filtered_answer(client, model):
    def filtered(_request):
        yield token("I will now say")
        yield chunk({}, "content_filter")
        yield DONE
    model.play(filtered)
    thread = client.thread()
    response = client.send(thread, "something bad")
    assert response.status == 422 and response.json["code"] == "content_filtered"
    assert client.send(thread, "something good").status == 200        # the thread stays usable
    assert "something bad" not in json.dumps(model.requests[-1].messages)


def test_stateless(client, model):
    stream = client.stream("/agent/stream", {"message": "hello"})
    events = stream.rest()
    assert [e.json for e in events if "event" not in e.fields] == [{"text": "Hello"}, {"text": " world"}]
    assert events[-1].fields["event"] == "done" and events[-1].json == {}
    stream = client.stream("/agent/stream?message=hello%20there", method="GET")
    assert stream.rest()[-1].fields["event"] == "done"
    assert model.requests[-1].last["content"] == "hello there"


def test_the_older_chat_route(client, model):
    response = client.post("/chat", {"message": "hi", "stream": False})
    assert response.status == 200
    assert set(response.json) == {"conversation_id", "thread_id", "response", "timestamp"}
    assert response.json["response"] == "Hello world"
    conversation = response.json["conversation_id"]
    events = client.stream("/chat", {"message": "again", "conversation_id": conversation}).rest()
    assert [e.type for e in events] == ["metadata", "chunk", "chunk", "done"]
    assert events[0].json["conversation_id"] == conversation and events[-1].json["full_response"] == "Hello world"
    assert len(model.requests[-1].messages) == 4
    assert client.get(f"/chat/{conversation}").json["data"][0]["content"] == "hi"
    assert client.post(f"/chat/{conversation}", {"content": "more", "stream": False}).json["seq"] == 6


def test_metadata_of_a_message(client, model):
    thread = client.thread()
    assert client.send(thread, "x", metadata={"source": "test"}).status == 200
    assert client.messages(thread)[0]["metadata"] == {"source": "test"}


def test_pages_of_messages(client, model):
    thread = client.thread()
    for i in range(3):
        client.send(thread, f"q{i}")
    page = client.get(f"/threads/{thread}/messages?limit=4").json
    assert [m["seq"] for m in page["data"]] == [1, 2, 3, 4] and page["has_more"] is True
    page = client.get(f"/threads/{thread}/messages?limit=4&after={page['next']}").json
    assert [m["seq"] for m in page["data"]] == [5, 6] and page["has_more"] is False and page["next"] is None
    page = client.get(f"/threads/{thread}/messages?limit=2&order=desc").json
    assert [m["seq"] for m in page["data"]] == [6, 5]
    page = client.get(f"/threads/{thread}/messages?before=3&order=desc").json
    assert [m["seq"] for m in page["data"]] == [2, 1]


def test_runs_of_a_thread(client, model):
    thread = client.thread()
    made = [client.send(thread, f"q{i}").json["run_id"] for i in range(3)]
    page = client.get(f"/threads/{thread}/runs").json
    assert [r["id"] for r in page["data"]] == made[::-1]
    assert set(page["data"][0]) == {
        "id", "thread_id", "agent_id", "parent_id", "status", "model", "usage", "cost", "rounds", "ttft_ms", "latency_ms", "error",
        "created_at", "started_at", "completed_at"}


def test_agents(client):
    (agent,) = client.get("/agents").json["data"]
    assert agent["id"] == "assistant" and agent["tools"] == ["calculate", "get_weather"] and agent["source"] == "config"
    assert "instructions" not in agent
    assert client.get("/agents/assistant").json == agent
    assert client.get("/agents/unknown").status == 404


def test_an_alias_of_an_agent(make_server, model):
    server = make_server("""
<AgentChatAgent ops-assistant azure-ops>
    AgentChatModel scripted
</AgentChatAgent>
""")
    message = server.client.post("/agents/azure-ops/chat", {"message": "x", "stream": False}).json
    assert message["content"] == "Hello world"
    assert server.client.get("/threads/" + message["thread_id"]).json["agent_id"] == "ops-assistant"


def test_unicode_survives(client, model):
    text = "Zürich 東京 🎉 \u202e ‏עברית \\ \" </script> \u2028"
    model.play(answer(*[c for c in text]))
    thread = client.thread()
    assert client.send(thread, text).json["content"] == text
    assert client.messages(thread)[0]["content"] == text
    assert model.requests[0].last["content"] == text


def test_two_models(make_server, model):
    server = make_server(MODEL.format(url=model.url).replace("scripted>", "other>", 1).replace("scripted-1", "other-1") + """
<AgentChatAgent second>
    AgentChatModel other
</AgentChatAgent>
""")
    server.client.post("/agents/second/chat", {"message": "x", "stream": False})
    assert model.requests[-1].json["model"] == "other-1"
