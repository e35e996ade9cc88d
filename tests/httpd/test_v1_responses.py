# SPDX-License-Identifier: Apache-2.0
"""The Responses API below /v1, held against OpenAI's schema. test_v1_response_clients.py has its real clients."""
import json

import pytest

from model_server import DONE, Cut, Gate, Reply, answer, calls, finish, head, reasons, token, usage
from openai_schema import check, check_events, check_response, events_of

SWITCH = "<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\n"
NOWHERE = "0" * 26


@pytest.fixture(scope="module")
def _site(_model):
    from server import AGENT, MODEL, MOUNT, Server
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT + SWITCH).start()
    yield server
    server.remove()


@pytest.fixture
def site(_site, model):
    yield _site
    assert not (bad := _site.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


def ask(said="hi", **more):
    return {"model": "assistant", "input": said, **more}


def create(site, said="hi", **more):
    answered = site.client.post("/v1/responses", ask(said, **more))
    assert answered.status == 200, answered
    return check_response(answered.json)


def follow(site, said="hi", **more):
    return events_of(site.client.stream("/v1/responses", ask(said, stream=True, **more)))


def texts(response):
    return [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]


def asked(model, at=-1):
    """What the model got: roles and texts, without the agent's instructions."""
    return [(m["role"], m.get("content")) for m in model.requests[at].json["messages"] if m["role"] != "system"]


def test_the_events_of_an_answer(site, model):
    stream = site.client.stream("/v1/responses", ask(stream=True, metadata={"a": "b"}),
                                headers={"Accept": "application/json"})
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = events_of(stream)
    response = check_events(events)
    assert [e["type"].removeprefix("response.") for e in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed"]
    assert response["status"] == "completed" and response["model"] == "assistant" and response["metadata"] == {"a": "b"}
    assert response["usage"] == {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                                 "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
    assert texts(response) == ["Hello world"] and response["created_at"] <= response["completed_at"]
    shown = site.client.get(f"/v1/responses/{response['id']}")
    assert shown.status == 200 and shown.json == response


def test_each_token_comes_when_it_exists(site, model):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("one")
        yield gate
        yield finish()
        yield DONE
    model.play(script)
    stream = site.client.stream("/v1/responses", ask(stream=True))
    kinds = [stream.next().json["type"] for _ in range(5)]
    gate.wait_reached()
    assert kinds[-1] == "response.output_text.delta"
    gate.open()
    assert stream.rest()[-2].json["type"] == "response.completed"


def test_a_document(site, model):
    for accept in ("application/json", "text/event-stream", "*/*", "image/png"):
        answered = site.client.post("/v1/responses", ask(), headers={"Accept": accept})
        assert answered.status == 200 and answered.headers["content-type"] == "application/json", answered
        assert texts(check_response(answered.json)) == ["Hello world"]


def test_tools_of_the_server_are_calls_of_a_server(site, model):
    model.play(calls(("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1+1"}), said="Let me see."),
               answer("It is 42."))
    response = check_events(follow(site))
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["message", "mcp_call", "mcp_call", "message"] and texts(response) == ["Let me see.", "It is 42."]
    call = response["output"][1]
    assert call["server_label"] == "agentchat" and call["name"] == "calculate" and json.loads(call["arguments"]) == {"expression": "6*7"}
    assert json.loads(call["output"])["result"] == 42 and call["error"] is None and call["status"] == "completed"


def test_what_the_model_thinks_is_reasoning(site, model):
    model.play(reasons("I need a sum.", calls(("calculate", {"expression": "6*7"}))), reasons("That is it.", answer("It is ", "42.")))
    events = follow(site, "sum")
    response = check_events(events)
    assert [item["type"] for item in response["output"]] == ["reasoning", "mcp_call", "reasoning", "message"]
    thoughts = [item["summary"] for item in response["output"] if item["type"] == "reasoning"]
    assert [summary[0]["text"].strip() for summary in thoughts] == ["I need a sum.", "That is it."] and texts(response) == ["It is 42."]
    references = [{"type": "item_reference", "id": item["id"]} for item in response["output"]]
    create(site, [{"role": "user", "content": "sum"}, *references, {"role": "user", "content": "and now?"}])
    assert "I need a sum" not in json.dumps(model.requests[-1].json)


def test_a_failed_call_has_an_error(site, model):
    model.play(calls(("calculate", {"expression": "1/0"})), answer("No."))
    events = follow(site)
    call = check_events(events)["output"][0]
    assert call["status"] == "failed" and call["error"]["type"] == "mcp_tool_execution_error" and call["error"]["content"][0]["text"]
    assert "response.mcp_call.failed" in [e["type"] for e in events]


def test_instructions_and_items_reach_the_model(site, model):
    items = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"},
             {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "two"}]},
             {"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "web_search_call", "id": "ws_1", "status": "completed"},
             {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "In French."}]},
             {"role": "user", "content": [{"type": "input_text", "text": "three"}, {"type": "input_text", "text": "four"}]}]
    response = create(site, items, instructions="Answer.", max_output_tokens=7)
    sent = model.requests[-1].json
    assert asked(model) == [("user", "one"), ("assistant", "two"), ("user", "three\n\nfour")]
    assert any("Answer.\n\nBe brief.\n\nIn French." in m["content"] for m in sent["messages"] if m["role"] == "system")
    assert 7 in (sent.get("max_tokens"), sent.get("max_completion_tokens")) and response["max_output_tokens"] == 7
    assert response["instructions"] is None
    thread = response["agentchat"]["thread_id"]
    stored = site.client.get(f"/threads/{thread}/messages").json["data"]
    assert [(m["role"], m["content"]) for m in stored] == [("user", "one"), ("assistant", "two"), ("user", "three\n\nfour"),
                                                           ("assistant", "Hello world")]


def test_files_within_messages(site, model):
    """Those of earlier messages are for this response only, since nothing keeps them."""
    file = {"type": "input_file", "filename": "note.txt", "file_data": "UGFjayBhbiB1bWJyZWxsYS4="}
    question = {"role": "user", "content": [file, {"type": "input_text", "text": "See this."}]}
    earlier = [question, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And?"}]
    create(site, [question], store=False)
    assert "Pack an umbrella." in asked(model)[-1][1]
    create(site, earlier, store=False)
    assert "Pack an umbrella." in asked(model)[0][1]
    refused = site.client.post("/v1/responses", ask(earlier))
    assert refused.status == 400 and "unless `store` is false" in refused.json["error"]["message"], refused
    image = {"type": "input_image", "image_url": "https://elsewhere.example/x.png"}
    refused = site.client.post("/v1/responses", ask([{"role": "user", "content": [image]}]))
    assert refused.status == 400 and refused.json["error"]["param"] == "input[0].content[0]", refused


def test_a_response_follows_another_one_and_may_branch(site, model):
    model.play(answer("A"), answer("B"), answer("C"))
    first = create(site, "one")
    second = create(site, "two", previous_response_id=first["id"], instructions="Only now.")
    assert second["previous_response_id"] == first["id"] and asked(model) == [("user", "one"), ("assistant", "A"), ("user", "two")]
    third = create(site, "other", previous_response_id=first["id"])
    assert asked(model) == [("user", "one"), ("assistant", "A"), ("user", "other")] and texts(third) == ["C"]
    assert "Only now." not in json.dumps(model.requests[-1].json)
    assert second["agentchat"]["thread_id"] == third["agentchat"]["thread_id"] == first["agentchat"]["thread_id"]


def test_a_history_with_our_ids_continues_its_thread(site, model):
    """Some clients send all items back, others references to them."""
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me."), answer("42."), answer("B"), answer("C"))
    first = create(site, "one")
    whole = [{"role": "user", "content": "one"}, *first["output"], {"role": "user", "content": "two"}]
    second = create(site, whole)
    assert second["agentchat"]["thread_id"] == first["agentchat"]["thread_id"]
    references = [{"role": "user", "content": "one"}, *({"type": "item_reference", "id": item["id"]} for item in first["output"]),
                  {"role": "user", "content": "two"}]
    third = create(site, references)
    assert third["agentchat"]["thread_id"] == first["agentchat"]["thread_id"]
    assert asked(model, 2) == asked(model, 3) and [role for role, _ in asked(model)] == ["user", "assistant", "tool", "assistant", "user"]


def test_nothing_is_stored_where_that_is_not_wanted(site, model):
    before = site.client.get("/threads").json["data"]
    model.play(answer("A"), answer("B"), answer("C"))
    first = create(site, "one", store=False)
    assert first["store"] is False and site.client.get("/threads").json["data"] == before
    assert site.client.get(f"/v1/responses/{first['id']}").status == 404
    again = site.client.post("/v1/responses", ask("two", previous_response_id=first["id"]))
    assert again.status == 404 and again.json["error"]["param"] == "previous_response_id", again
    whole = [{"role": "user", "content": "one"}, *first["output"], {"role": "user", "content": "two"}]
    create(site, whole, store=False)
    assert asked(model) == [("user", "one"), ("assistant", "A"), ("user", "two")]


def test_a_response_that_is_not_stored_follows_a_stored_one(site, model):
    model.play(answer("A"), answer("B"))
    first = create(site, "one")
    second = create(site, "two", previous_response_id=first["id"], store=False)
    assert asked(model) == [("user", "one"), ("assistant", "A"), ("user", "two")] and texts(second) == ["B"]
    assert len(site.client.get(f"/threads/{first['agentchat']['thread_id']}/messages").json["data"]) == 2


def test_members_that_are_unknown_or_null_do_no_harm(site, model):
    more = {"temperature": 0.2, "top_p": 1, "include": ["reasoning.encrypted_content"], "metadata": None, "tools": [], "user": "u",
            "text": {"format": {"type": "text"}, "verbosity": "low"}, "reasoning": {"effort": "low"}, "truncation": "auto",
            "store": None, "stream": None, "previous_response_id": None, "conversation": None, "instructions": None,
            "max_output_tokens": None, "background": None, "service_tier": "auto", "prompt_cache_key": "k", "made_up": {"x": [1]}}
    create(site, **more)


@pytest.mark.parametrize("more, param", [
    ({"input": []}, "input"), ({"input": None}, "input"), ({"input": 7}, "input"), ({"input": " "}, "input"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"), ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
    ({"input": [{"type": "made_up"}]}, "input[0].type"), ({"input": [7]}, "input[0].type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "input"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id"),
    ({"input": [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}]}, "input[0].approval_request_id"),
    ({"model": None}, "model"), ({"model": 7}, "model"), ({"stream": "yes"}, "stream"), ({"store": 1}, "store"),
    ({"background": True, "store": False}, "background"), ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
    ({"max_output_tokens": 0}, "max_output_tokens"), ({"instructions": 7}, "instructions"), ({"metadata": {"a": 1}}, "metadata.a"),
    ({"instructions": "x" * 110000}, "instructions"), ({"conversation": 7}, "conversation"),
    ({"conversation": "conv_" + NOWHERE, "previous_response_id": "resp_" + NOWHERE}, "conversation"), ({"tools": {}}, "tools"),
])
def test_what_cannot_be_is_refused_before_the_model_is_asked(site, model, more, param):
    refused = site.client.post("/v1/responses", ask(**more))
    assert refused.status == 400 and refused.json["error"]["param"] == param, refused
    assert model.requests == []


@pytest.mark.parametrize("more, param", [
    ({"model": "unknown"}, "model"), ({"previous_response_id": "resp_" + NOWHERE}, "previous_response_id"),
    ({"previous_response_id": "resp_x"}, "previous_response_id"), ({"conversation": "conv_" + NOWHERE}, "conversation"),
    ({"conversation": {"id": "thread_" + NOWHERE}}, "conversation"),
    ({"input": [{"type": "item_reference", "id": "msg_" + NOWHERE}, {"role": "user", "content": "x"}]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "rs_1"}, {"role": "user", "content": "x"}]}, "input[0].id"),
])
def test_what_is_not_there(site, model, more, param):
    refused = site.client.post("/v1/responses", ask(**more))
    assert refused.status == 404 and refused.json["error"]["param"] == param, refused
    assert model.requests == []


@pytest.mark.parametrize("path", ["input_tokens", "compact"])
def test_paths_that_are_not_there(site, model, path):
    refused = site.client.post(f"/v1/responses/{path}", ask())
    assert refused.status == 405 and set(refused.json["error"]) == {"message", "type", "param", "code"}, refused
    assert model.requests == []


def test_an_answer_that_is_cut(site, model):
    def script(_request):
        yield head()
        yield token("Much")
        yield finish("length")
        yield usage()
        yield DONE
    model.play(script, script)
    events = follow(site)
    response = check_events(events)
    assert events[-1]["type"] == "response.incomplete" and response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == response["status"] == "incomplete" and response["completed_at"] is None
    assert create(site)["status"] == "incomplete"


def test_a_failure_before_the_answer(site, model):
    site.expect_log("AC0503")
    model.play(Reply(400, {"error": {"message": "no", "code": "x"}}))
    refused = site.client.post("/v1/responses", ask())
    assert refused.status == 502 and refused.json["error"]["type"] == "server_error" and refused.headers["x-should-retry"] == "false"


def test_a_failure_within_the_answer(site, model):
    site.expect_log("AC0503")
    model.play(lambda _request: [head(), token("part"), Cut()])
    events = follow(site)
    response = check_events(events)
    assert events[-1]["type"] == "response.failed" and response["status"] == "failed"
    assert response["error"]["code"] == "server_error" and response["error"]["type"] == "server_error"
    assert "broke its answer off" in response["error"]["message"] and texts(response) == ["part"]
    assert response["output"][0]["status"] == "incomplete"
    shown = site.client.get(f"/v1/responses/{response['id']}")
    assert shown.status == 200 and shown.json == response


# ---- functions of the client ----

LOOK = {"type": "function", "name": "look", "description": "Looks it up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}}}


def test_functions_that_the_client_carries_out(site, model):
    model.play(calls(("look", {"what": "a"}), ("calculate", {"expression": "6*7"}), ("look", {"what": "b"}), said="Let me."),
               answer("Both."))
    response = check_events(follow(site, tools=[LOOK]))
    made = [item for item in response["output"] if item["type"] == "function_call"]
    assert response["status"] == "completed" and [json.loads(item["arguments"]) for item in made] == [{"what": "a"}, {"what": "b"}]
    assert [item["type"] for item in response["output"]] == ["message", "function_call", "mcp_call", "function_call"]
    results = [{"type": "function_call_output", "call_id": item["call_id"], "output": f"found {i}"} for i, item in enumerate(made)]
    for said in ({"previous_response_id": response["id"]}, {}):         # the ids of the calls lead to the response, too
        refused = site.client.post("/v1/responses", ask(results[:1], tools=[LOOK], **said))
        assert refused.status == 400 and "of all calls" in refused.json["error"]["message"], refused
    second = create(site, results, tools=[LOOK])
    assert texts(second) == ["Both."]
    assert [content for role, content in asked(model) if role == "tool"][-2:] == ["found 0", "found 1"]
    items = site.client.get(f"/v1/responses/{second['id']}/input_items?order=asc").json
    assert [(item["type"], item["call_id"], item["output"]) for item in check(items, "ResponseItemList")["data"]] == [
        ("function_call_output", result["call_id"], result["output"]) for result in results]


def test_arguments_of_a_function_come_as_the_model_writes_them(site, model):
    from model_server import chunk, tool_call

    def script(_request):
        yield head()
        yield tool_call(0, "call_1", "look", '{"wh')
        yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'at" : "it"}'}}]})
        yield finish("tool_calls")
        yield DONE
    model.play(script)
    events = follow(site, tools=[LOOK], store=False)
    check_events(events)
    assert [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"] == ['{"wh', 'at" : "it"}']
    assert [e["arguments"] for e in events if e["type"] == "response.function_call_arguments.done"] == ['{"what" : "it"}']


@pytest.mark.parametrize("choice, sent", [("required", "required"), ("auto", None), (None, None),
                                          ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}})])
def test_the_choice_of_a_function(site, model, choice, sent):
    create(site, tools=[LOOK], tool_choice=choice, parallel_tool_calls=False)
    assert model.requests[-1].json.get("tool_choice") == sent and model.requests[-1].json["parallel_tool_calls"] is False


@pytest.mark.parametrize("mode, sent", [("auto", None), ("required", "required")])
def test_only_allowed_functions_are_offered(site, model, mode, sent):
    other = {**LOOK, "name": "other"}
    create(site, tools=[LOOK, other], tool_choice={"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": "look"}]})
    offered = {tool["function"]["name"] for tool in model.requests[-1].json["tools"]}
    assert "look" in offered and "other" not in offered and model.requests[-1].json.get("tool_choice") == sent


# ---- background, resuming, cancelling ----

def holding(gate):
    def script(_request):
        yield head()
        yield token("one")
        yield gate
        yield token(" two")
        yield finish()
        yield usage()
        yield DONE
    return script


def test_a_response_in_the_background(site, model):
    gate = Gate()
    model.play(holding(gate))
    begun = create(site, background=True)
    assert begun["status"] == "in_progress" and begun["background"] is True and begun["usage"] is None
    gate.wait_reached()
    shown = check_response(site.client.get(f"/v1/responses/{begun['id']}").json)
    assert shown["status"] == "in_progress" and texts(shown) == ["one"]
    busy = site.client.post("/v1/responses", ask("more", previous_response_id=begun["id"]))
    assert busy.status == 409 and busy.headers["x-should-retry"] == "false", busy
    stream = site.client.connect().stream("GET", f"/api/v1/responses/{begun['id']}?stream=true")
    gate.open()
    response = check_events(events_of(stream))
    assert texts(response) == ["one two"] and response["status"] == "completed"
    assert site.client.get(f"/v1/responses/{begun['id']}").json == response


def test_a_stream_is_resumed_at_each_event(site, model):
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me."), answer("It is", " 42."))
    events = follow(site, metadata={"k": "v"})
    path = f"/api/v1/responses/{events[0]['response']['id']}?stream=true"
    assert events_of(site.client.connect().stream("GET", path)) == events
    for after in range(len(events)):
        assert events_of(site.client.connect().stream("GET", f"{path}&starting_after={after}")) == events[after + 1:], after


def test_a_response_is_cancelled(site, model):
    gate = Gate()
    model.play(holding(gate))
    stream = site.client.stream("/v1/responses", ask(stream=True))
    first = stream.next().json["response"]
    gate.wait_reached()
    cancelled = site.client.post(f"/v1/responses/{first['id']}/cancel", None)
    assert cancelled.status == 200 and check_response(cancelled.json)["status"] == "cancelled", cancelled
    last = [event for event in stream.rest() if event.fields["data"] != "[DONE]"][-1].json
    assert last["type"] == "response.incomplete" and last["response"] == cancelled.json
    assert site.client.post(f"/v1/responses/{first['id']}/cancel", None).json == cancelled.json
    assert site.client.get(f"/v1/responses/{first['id']}").json == cancelled.json


def test_a_repeated_request_follows_the_run(site, model):
    gate = Gate()
    model.play(holding(gate))
    with site.client.connect() as connection:
        first = connection.stream("POST", "/api/v1/responses", ask("once", stream=True)).next().json["response"]
        gate.wait_reached()
    with site.client.connect() as connection:
        stream = connection.stream("POST", "/api/v1/responses", ask("once", stream=True), {"X-Stainless-Retry-Count": "1"})
        assert stream.next().json["response"]["id"] == first["id"]
        gate.open()
        stream.rest()
    assert len(model.requests) == 1
    create(site, "once")                                        # the same words again are another turn
    assert len(model.requests) == 2


# ---- deleting ----

def test_a_response_is_deleted_with_its_thread(site, model):
    first = create(site, "one")
    assert site.client.delete(f"/v1/responses/{first['id']}").json == {"id": first["id"], "object": "response", "deleted": True}
    for path in (f"/v1/responses/{first['id']}", f"/threads/{first['agentchat']['thread_id']}"):
        assert site.client.get(path).status == 404
    assert site.client.delete(f"/v1/responses/{first['id']}").status == 404
    first = create(site, "one")
    second = create(site, "two", previous_response_id=first["id"])
    assert site.client.delete(f"/v1/responses/{first['id']}").status == 200
    assert site.client.get(f"/v1/responses/{second['id']}").json == second
