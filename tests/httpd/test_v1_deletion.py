# SPDX-License-Identifier: Apache-2.0
"""DELETE /v1/responses/{id} and DELETE /v1/conversations/{id}/items/{item}: what was said is nowhere any more, with each store."""
import json
import sqlite3
from pathlib import Path

import pytest

from approvals import CAREFUL
from client import Client
from cosmos_stores import ENV, store, wait_ready
from key_file import KEYED, MODULES, KeyFile
from model_server import Gate, answer, calls
from openai_schema import check, check_response
from runs import wait_until
from test_v1_responses import asked, holding
from uploads import upload

PROTOCOLS = """    AgentChatOpenAI on client-tools=pass
    AgentChatUI on
    AgentChatAGUI on
</Location>"""
SITE = KEYED.replace("</Location>", PROTOCOLS) + """
AgentChatFiles on
AgentChatEventLogKeep 1d
AgentChatCache memory check=off
AgentChatAuditLog logs/audit.log
""" + CAREFUL
SECRET = "Walross4711"


class Caller:
    def __init__(self, server, key):
        self.client, self.headers = Client(server.port, "/keys"), {"X-API-Key": key}

    def __call__(self, method, path, body=None, **headers):
        return self.client.request(method, path, body, headers={**self.headers, **headers})

    def ask(self, said, **more):
        answered = self("POST", "/v1/responses", {"model": "assistant", "input": said, **more})
        assert answered.status == 200, answered
        return check_response(answered.json)

    def messages(self, response):
        return self("GET", f"/threads/{response['agentchat']['thread_id']}/messages?limit=100").json["data"]

    def items(self, conversation):
        found = self("GET", f"/v1/conversations/{conversation}/items?order=asc&limit=100")
        return check(found.json, "ConversationItemList")["data"] if found.json["data"] else []


@pytest.fixture(params=["sqlite", "cosmos"])
def site(request, make_server, model, cosmos):
    on = store(cosmos) if request.param == "cosmos" else ""
    server = make_server(on + SITE, env=ENV, start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    for name in ("ann", "bob"):
        setattr(server, name, Caller(server, keys.make(f"{name}-1", f"owner={name}")))
    server.start()
    wait_ready(server.client)
    server.cosmos = cosmos if on else None
    return server


def stored(site):
    """All texts of the store as one, but for the index of words."""
    if site.cosmos:
        return json.dumps([site.cosmos.documents("threads"), site.cosmos.documents("messages")])
    with sqlite3.connect(f"file:{site.root}/state/agentchat.db?mode=ro", uri=True) as db:
        tables = [table for table, in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'")]
        return json.dumps([[value for value in row if isinstance(value, str)]
                           for table in tables if not table.startswith("search_") for row in db.execute(f"SELECT * FROM {table}")])


def test_a_response_is_deleted(site, model):
    ann = site.ann
    model.play(answer("A"), calls(("calculate", {"expression": "4711+1"}), said=f"The {SECRET}:"), answer(f"it is {SECRET}."), answer("C"),
               answer("D"), answer("E"))
    first = ann.ask("one")
    file = upload(ann.client, b"words", name=f"{SECRET}.txt", headers=ann.headers)
    parts = [{"type": "input_text", "text": f"is it {SECRET}?"}, {"type": "input_file", "file_id": file}]
    second = ann.ask([{"role": "user", "content": f"before {SECRET}"}, {"role": "assistant", "content": f"yes {SECRET}"},
                      {"role": "user", "content": parts}], previous_response_id=first["id"], metadata={"word": SECRET})
    third = ann.ask("three", previous_response_id=second["id"])
    run = f"run_{second['id'][5:]}"
    given = [m for m in ann.messages(first) if m["role"] == "assistant" and m["run_id"] == run][0]
    assert ann("PUT", f"/messages/{given['id']}/feedback", {"rating": "down", "comment": SECRET}).status == 200
    assert SECRET in stored(site) and list(Path("/dev/shm").rglob(f"{run}.log"))
    assert site.cosmos or ann("GET", f"/threads?q={SECRET}").json["data"]          # that account searches titles

    before = ann.messages(first)
    gone = ann("DELETE", f"/v1/responses/{second['id']}")
    assert gone.json == {"id": second["id"], "object": "response", "deleted": True}, gone
    refused = ann("DELETE", f"/v1/responses/{second['id']}")
    assert (refused.status, refused.json["error"]["type"]) == (404, "not_found_error"), refused
    for path in (second["id"], f"{second['id']}/input_items"):
        assert ann("GET", f"/v1/responses/{path}").status == 404, path
    refused = ann("POST", "/v1/responses", {"model": "assistant", "input": "x", "previous_response_id": second["id"]})
    assert (refused.status, refused.json["error"]["param"]) == (404, "previous_response_id"), refused
    assert ann("GET", f"/v1/responses/{first['id']}").json == first and ann("GET", f"/v1/responses/{third['id']}").json == third

    after = ann.messages(first)
    assert [m["seq"] for m in after] == list(range(1, 9))
    assert [m["id"] for m in after if m.get("deleted")] == [m["id"] for m in before[2:6]]
    assert all(m["content"] == "" and m["tool_calls"] is None and "attachments" not in m and "feedback" not in m for m in after[2:6])
    assert after[:2] + after[6:] == before[:2] + before[6:]
    thread = ann("GET", f"/threads/{first['agentchat']['thread_id']}").json
    assert (thread["message_count"], thread["deleted_messages"], thread["title"]) == (8, 4, "one")
    shown = ann("GET", f"/runs/{run}").json
    assert shown["deleted"] is True and shown["usage"]["total_tokens"] > 0
    assert ann("GET", f"/runs/{run}/steps").json["data"] == [] and ann("GET", f"/runs/{run}/events").status == 404
    assert not list(Path("/dev/shm").rglob(f"{run}.log"))
    for text in (json.dumps(after), ann("GET", "/me/export").body.decode().replace(f'"name":"{SECRET}.txt"', ""),
                 ann("GET", f"/threads/{thread['id']}/export").body.decode(), stored(site).replace(f'"{SECRET}.txt"', "")):
        assert SECRET not in text, text[max(text.index(SECRET) - 300, 0):text.index(SECRET) + 50]
    assert not ann("GET", f"/threads?q={SECRET}").json["data"]
    audit = [json.loads(line) for line in (site.root / "logs/audit.log").read_text().splitlines()]
    assert [(line["target"], line["result"]) for line in audit if line["event"] == "message.deleted"][0] == (run, "done"), audit

    ann.ask("four", previous_response_id=third["id"])
    assert asked(model) == [("user", "one"), ("assistant", "A"), ("user", "three"), ("assistant", "C"), ("user", "four")]
    refused = ann("POST", f"/threads/{thread['id']}/messages", {"regenerate": before[4]["id"], "stream": False})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (404, "/regenerate"), refused


def test_a_response_of_its_own_thread_takes_it_along(site, model):
    first = site.ann.ask(f"what is {SECRET}?")
    assert site.ann("DELETE", f"/v1/responses/{first['id']}").status == 200
    assert site.ann("GET", f"/threads/{first['agentchat']['thread_id']}").status == 404 and SECRET not in stored(site)
    conversation = site.ann("POST", "/v1/conversations", {}).json["id"]
    first = site.ann.ask(f"what is {SECRET}?", conversation=conversation)
    assert site.ann("GET", f"/threads/{first['agentchat']['thread_id']}").json["title"] == f"what is {SECRET}?"
    assert site.ann("DELETE", f"/v1/responses/{first['id']}").status == 200
    assert site.ann.items(conversation) == [] and SECRET not in stored(site)
    site.ann.ask("and now?", conversation=conversation)
    assert asked(model) == [("user", "and now?")]
    assert site.ann("GET", f"/threads/{first['agentchat']['thread_id']}").json["title"] == "and now?"


def test_items_are_deleted(site, model):
    ann = site.ann
    model.play(calls(("calculate", {"expression": "6*7"}), said="Let me."), answer("42."), answer("B"))
    conversation = ann("POST", "/v1/conversations", {"metadata": {"a": "b"}, "items": [{"role": "user", "content": "before"}]}).json["id"]
    first = ann.ask("one", conversation=conversation)
    path = f"/v1/conversations/{conversation}/items"
    items = ann.items(conversation)
    assert [item["type"] for item in items] == ["message", "message", "message", "mcp_call", "message"]
    answered = ann("DELETE", f"{path}/{items[0]['id']}")
    assert check(answered.json, "ConversationResource") == ann("GET", f"/v1/conversations/{conversation}").json
    assert ann.items(conversation) == items[1:]
    for method in ("GET", "DELETE"):
        assert ann(method, f"{path}/{items[0]['id']}").status == 404
        assert ann(method, f"{path}/{items[2]['id']}_9").status == 404
    assert ann("GET", f"{path}?after={items[0]['id']}").status == 404
    assert ann("GET", f"/v1/responses/{first['id']}").json == first

    assert ann("DELETE", f"{path}/{items[3]['id']}").status == 200             # an answer goes as a whole
    assert ann.items(conversation) == items[1:2] and ann("GET", f"/v1/responses/{first['id']}").status == 404
    refused = ann("POST", "/v1/responses", {"model": "assistant", "input": "x", "previous_response_id": first["id"]})
    assert refused.status == 404, refused
    ann.ask("two", conversation=conversation)
    assert asked(model) == [("user", "one"), ("user", "two")]


def test_clients_of_other_protocols_are_not_shown_it(site, model):
    """Not as an empty message, either."""
    ann = site.ann
    model.play(answer("A"), answer("B"))
    conversation = ann("POST", "/v1/conversations", {}).json["id"]
    first, _ = (ann.ask(said, conversation=conversation) for said in ("one", "two"))
    assert ann("DELETE", f"/v1/responses/{first['id']}").status == 200
    thread = f"thread_{conversation[5:]}"
    shown = ann("GET", f"/ui/chat/{thread}").json
    assert [(m["role"], [p["text"] for p in m["parts"] if p["type"] == "text"]) for m in shown] == [("user", ["two"]), ("assistant", ["B"])]
    body = {"threadId": thread, "runId": "r1", "state": {}, "messages": [], "tools": [], "context": [], "forwardedProps": {}}
    events = [json.loads(line[5:]) for line in ann("POST", "/agui/assistant", body).body.decode().splitlines() if line.startswith("data:")]
    snapshot, = (event["messages"] for event in events if event["type"] == "MESSAGES_SNAPSHOT")
    assert [(m["role"], m["content"]) for m in snapshot] == [("user", "two"), ("assistant", "B")]


def test_a_repeated_request_gets_nothing_of_it(site, model):
    first = site.ann("POST", "/agents/assistant/chat", {"message": SECRET, "stream": False}, **{"Idempotency-Key": "k"}).json
    assert site.ann("DELETE", f"/v1/responses/resp_{first['run_id'][4:]}").status == 200
    again = site.ann("POST", "/agents/assistant/chat", {"message": SECRET, "stream": False}, **{"Idempotency-Key": "k"})
    assert (again.status, again.json["code"], len(model.requests)) == (404, "not_found", 1), again


def test_an_answer_of_several_responses(site, model):
    """It has awaited an approval, and is deleted with each of them."""
    for n in range(2):
        model.play(calls(("work_out", {"expression": "6*7"})), answer(f"It is {SECRET}."))
        first = site.ann.ask("6*7?", model="careful")
        asks = [item["id"] for item in first["output"] if item["type"] == "mcp_approval_request"]
        refused = site.ann("DELETE", f"/v1/responses/{first['id']}")
        assert refused.status == 409, refused
        decided = [{"type": "mcp_approval_response", "approval_request_id": one, "approve": True} for one in asks]
        second = site.ann.ask(decided, model="careful", previous_response_id=first["id"])
        ids = [first["id"], second["id"]]
        assert site.ann("DELETE", f"/v1/responses/{ids[n]}").status == 200
        assert [site.ann("GET", f"/v1/responses/{one}").status for one in ids] == [404, 404] and SECRET not in stored(site)


def test_only_the_owner_deletes(site, model):
    conversation = site.ann("POST", "/v1/conversations", {}).json["id"]
    first = site.ann.ask("one", conversation=conversation)
    item = site.ann.items(conversation)[0]["id"]
    theirs = site.bob("POST", "/v1/conversations", {}).json["id"]
    for path in (f"/v1/responses/{first['id']}", f"/v1/conversations/{conversation}/items/{item}",
                 f"/v1/conversations/{theirs}/items/{item}"):
        refused = site.bob("DELETE", path)
        assert (refused.status, refused.json["error"]["type"]) == (404, "not_found_error"), refused
    assert len(site.ann.items(conversation)) == 2


def test_a_response_in_progress_is_not_deleted(site, model):
    gate = Gate()
    conversation = site.ann("POST", "/v1/conversations", {}).json["id"]
    first = site.ann.ask("one", conversation=conversation)
    model.play(holding(gate))
    second = site.ann.ask("two", conversation=conversation, background=True)
    gate.wait_reached()
    items = wait_until(lambda: (found := site.ann.items(conversation))[2:] and found, "no question")
    for path in (f"/v1/responses/{second['id']}", f"/v1/conversations/{conversation}/items/{items[2]['id']}"):
        refused = site.ann("DELETE", path)
        assert refused.status == 409 and refused.headers["x-should-retry"] == "false", refused
        assert refused.json["error"]["code"] == "run_in_progress", refused
    assert site.ann("DELETE", f"/v1/responses/{first['id']}").status == 200
    gate.open()
    wait_until(lambda: site.ann("GET", f"/v1/responses/{second['id']}").json["status"] == "completed", "the response does not end")
    assert [item["id"] for item in site.ann.items(conversation)][:1] == [items[2]["id"]]
    assert site.ann("DELETE", f"/v1/responses/{second['id']}").status == 200 and site.ann.items(conversation) == []
