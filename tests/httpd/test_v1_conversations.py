# SPDX-License-Identifier: Apache-2.0
"""Conversations of OpenAI's API, which are threads: /v1/conversations, held against OpenAI's schema."""
import pytest

from model_server import Gate, answer, calls
from openai_schema import check
from test_v1_responses import LOOK, NOWHERE, _site, ask, asked, create, holding, site  # noqa: F401


def converse(site, **body):
    made = site.client.post("/v1/conversations", body)
    assert made.status == 200, made
    return check(made.json, "ConversationResource")


def items_of(site, conversation, query="order=asc"):
    found = site.client.get(f"/v1/conversations/{conversation['id']}/items?{query}")
    assert found.status == 200, found
    return check(found.json, "ConversationItemList")


def test_a_conversation(site, model):
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me."), answer("42."), answer("B"))
    conversation = converse(site, metadata={"topic": "tests"}, items=[{"role": "user", "content": "before"},
                                                                      {"role": "assistant", "content": "yes?"}])
    first = create(site, "one", conversation=conversation["id"])
    assert first["conversation"] == {"id": conversation["id"]} and first["previous_response_id"] is None
    create(site, "two", conversation={"id": conversation["id"]})
    assert [(role, said) for role, said in asked(model) if role == "user"] == [("user", "before"), ("user", "one"), ("user", "two")]
    items = items_of(site, conversation)["data"]
    said = ["".join(part["text"] for part in item["content"]) if item["type"] == "message" else item["type"] for item in items]
    assert said == ["before", "yes?", "one", "Let me.", "mcp_call", "42.", "two", "B"]
    first["output"][1]["arguments"] = '{"expression":"6*7"}'      # stored without the model's spaces
    assert items[3:6] == first["output"]
    assert items_of(site, conversation, "limit=100")["data"] == items[::-1]
    for order, whole in (("asc", items), ("desc", items[::-1])):
        found, after = [], ""
        while True:
            page = items_of(site, conversation, f"limit=3&order={order}{after}")
            found += page["data"]
            assert page["first_id"] == page["data"][0]["id"] and page["last_id"] == page["data"][-1]["id"]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert found == whole, order
    for item in items:
        assert site.client.get(f"/v1/conversations/{conversation['id']}/items/{item['id']}").json == item
    assert site.client.get(f"/v1/conversations/{conversation['id']}/items/mcp_{NOWHERE}_x").status == 404


def test_items_are_added_to_a_conversation(site, model):
    conversation = converse(site)
    path = f"/v1/conversations/{conversation['id']}/items"
    given = [{"role": "user", "content": [{"type": "input_text", "text": "one"}]},
             {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"what":"it"}'},
             {"type": "function_call_output", "call_id": "c1", "output": "found"}, {"role": "assistant", "content": "It is there."}]
    added = site.client.post(path, {"items": given})
    assert added.status == 200, added
    data = check(added.json, "ConversationItemList")["data"]
    assert [item["type"] for item in data] == ["message", "function_call", "function_call_output", "message"]
    assert [item.get("call_id") for item in data] == [None, "c1", "c1", None] and items_of(site, conversation)["data"] == data
    create(site, "and now?", conversation=conversation["id"], tools=[LOOK])
    assert asked(model)[-3:] == [("tool", "found"), ("assistant", "It is there."), ("user", "and now?")]
    assert site.client.get(f"/threads/thread_{conversation['id'][5:]}").json["title"] == "one"


def test_items_wait_for_no_response(site, model):
    gate = Gate()
    model.play(holding(gate))
    conversation = converse(site)
    begun = create(site, background=True, conversation=conversation["id"])
    gate.wait_reached()
    refused = site.client.post(f"/v1/conversations/{conversation['id']}/items", {"items": [{"role": "user", "content": "x"}]})
    assert refused.status == 409 and refused.headers["x-should-retry"] == "false", refused
    gate.open()
    site.client.connect().stream("GET", f"/api/v1/responses/{begun['id']}?stream=true").rest()


@pytest.mark.parametrize("body, param", [
    ({"items": []}, "items"), ({"items": 7}, "items"), ({"items": [{"role": "user", "content": "x"}] * 21}, "items"),
    ({"items": [{"role": "system", "content": "x"}]}, "items"), ({"items": [{"type": "made_up"}]}, "items[0].type"),
    ({"items": [{"type": "reasoning"}]}, "items"), ({"items": [{"role": "user", "content": 7}]}, "items[0].content"),
    ({"items": [{"type": "mcp_approval_response", "approval_request_id": "x", "approve": True}]}, "items[0].approval_request_id"),
    ({"metadata": {"a": 1}}, "metadata.a"),
])
def test_conversations_that_cannot_be(site, model, body, param):
    refused = site.client.post("/v1/conversations", body)
    assert refused.status == 400 and refused.json["error"]["param"] == param, refused


def test_a_conversation_is_changed_and_deleted(site, model):
    conversation = converse(site, metadata={"a": "b"})
    path = f"/v1/conversations/{conversation['id']}"
    assert site.client.post(path, {"metadata": {"c": "d"}}).json["metadata"] == {"c": "d"}
    assert check(site.client.get(path).json, "ConversationResource")["metadata"] == {"c": "d"}
    response = create(site, conversation=conversation["id"])
    assert site.client.delete(f"{path}/items/{response['output'][0]['id']}").json == site.client.get(path).json
    assert site.client.delete(f"/v1/responses/{response['id']}").status == 404
    assert check(site.client.delete(path).json, "DeletedConversationResource")["id"] == conversation["id"]
    for gone in (path, path + "/items", f"/v1/responses/{response['id']}"):
        assert site.client.get(gone).status == 404, gone
    assert site.client.post("/v1/responses", ask(conversation=conversation["id"])).status == 404
