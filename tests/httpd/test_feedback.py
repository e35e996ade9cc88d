# SPDX-License-Identifier: Apache-2.0
"""Feedback: owners rate their answers, admins read the feedback of all owners, metrics count it."""
import json

import pytest

from client import Client
from cosmos_stores import ENV, store, wait_ready
from key_file import KEYED
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from metrics import read
from model_server import answer

SECRET = "Gänseblümchen-7391"


class Caller:
    def __init__(self, server, key):
        self.client, self.headers = Client(server.port, "/keys"), {"X-API-Key": key}

    def __call__(self, method, path, body=None, **headers):
        return self.client.request(method, path, body, headers={**self.headers, **headers})

    def say(self, text="Hello", thread=None):
        path = f"/threads/{thread}/messages" if thread else "/agents/assistant/chat"
        response = self("POST", path, {"content" if thread else "message": text, "stream": False})
        assert response.status == 200, response
        return response.json

    def rate(self, message, **body):
        return self("PUT", f"/messages/{message}/feedback", body)

    def feedback(self, query=""):
        """(lines of feedback, the last line)"""
        response = self("GET", "/feedback" + query)
        assert response.status == 200 and response.headers["content-type"] == "application/x-ndjson", response
        lines = [json.loads(line) for line in response.body.decode().splitlines()]
        assert all(line["object"] == "feedback" for line in lines[:-1])
        return lines[:-1], lines[-1]


@pytest.fixture
def keyed(make_server, model):
    def make(directives="", **options):
        server = make_server(KEYED + directives, start=False, modules=KEY_MODULES, **options)
        keys = KeyFile(server.root / "keys")
        for name, fields in (("ann", ()), ("bob", ()), ("chief", ("roles=admin",))):
            setattr(server, name, Caller(server, keys.make(f"{name}-1", f"owner={name}", *fields)))
        return server.start()
    return make


def test_an_owner_rates_an_answer(server):
    thread = server.client.thread()
    message = server.client.send(thread, "Hello").json
    assert "feedback" not in message

    def rate(**body):
        response = server.client.request("PUT", f"/messages/{message['id']}/feedback", body)
        assert response.status == 200, response
        return response.json

    def shown():
        return server.client.get(f"/threads/{thread}/messages").json["data"][-1].get("feedback")

    made = rate(rating="down", reason="incorrect", comment=SECRET)
    assert made == {"message_id": message["id"], "thread_id": thread, "rating": "down", "reason": "incorrect",
                    "comment": SECRET, "at": made["at"]}
    assert shown() == {"rating": "down", "reason": "incorrect", "comment": SECRET, "at": made["at"]}
    rate(rating="up", thread_id=thread)
    assert {**shown(), "at": None} == {"rating": "up", "reason": None, "comment": None, "at": None}
    assert server.client.get(f"/agents/assistant/threads/{thread}").json["messages"][-1]["feedback"] == shown()
    assert server.client.send(thread, "Again").status == 200        # the model gets the conversation as before
    assert rate(rating=None)["rating"] is None
    assert rate(rating=None)["rating"] is None
    assert "feedback" not in server.client.get(f"/threads/{thread}/messages").json["data"][1]


@pytest.mark.parametrize("body, pointer", [
    ({}, "/rating"), ({"rating": "great"}, "/rating"), ({"rating": 1}, "/rating"), ({"rating": "up", "reason": 1}, "/reason"),
    ({"rating": "up", "comment": []}, "/comment"), ({"rating": "up", "reason": "ä" * 201}, "/reason"),
    ({"rating": "up", "comment": "ä" * 4001}, "/comment"), ({"rating": "up", "more": 1}, "/more")])
def test_bad_bodies(server, body, pointer):
    message = server.client.send(server.client.thread(), "Hello").json["id"]
    response = server.client.request("PUT", f"/messages/{message}/feedback", body)
    assert (response.status, response.json["code"]) == (400, "invalid_request")
    assert response.json["errors"][0]["pointer"] == pointer


def test_only_answers_can_be_rated(server):
    thread = server.client.thread()
    server.client.send(thread, "Hello")
    question = server.client.get(f"/threads/{thread}/messages").json["data"][0]["id"]
    assert server.client.request("PUT", f"/messages/{question}/feedback", {"rating": "up"}).status == 400
    for wrong in ("msg_01jd0000000000000000000000", "thread_01jd0000000000000000000000", "x"):
        assert server.client.request("PUT", f"/messages/{wrong}/feedback", {"rating": "up"}).status == 404


def test_other_owners(keyed):
    server = keyed()
    message = server.ann.say()
    for body in ({"rating": "up"}, {"rating": "up", "thread_id": message["thread_id"]}, {"rating": None}):
        theirs, none = (server.bob.rate(id, **body) for id in (message["id"], "msg_01jd0000000000000000000000"))
        assert theirs.status == none.status == 404
        assert theirs.json["detail"] == none.json["detail"] or "thread_id" in body
    own = server.bob.say()
    assert server.bob.rate(own["id"], rating="up", thread_id=message["thread_id"]).status == 404
    assert server.bob("GET", "/feedback").status == 403
    assert server.chief.feedback() == ([], {"object": "end", "count": 0, "next": None})


@pytest.mark.parametrize("words", [False, True])
def test_words_need_the_directive(keyed, model, words):
    server = keyed("AgentChatFeedback words=on" if words else "")
    model.play(answer("The year is 1848."))
    message = server.ann.say(f"When? {SECRET}")
    assert server.ann.rate(message["id"], rating="down", reason="incorrect", comment=SECRET).status == 200
    (line,), end = server.chief.feedback()
    assert end == {"object": "end", "count": 1, "next": None}
    always = {"object": "feedback", "message_id": message["id"], "thread_id": message["thread_id"], "run_id": message["run_id"],
              "owner": "ann", "agent_id": "assistant", "model": line["model"], "rating": "down", "at": line["at"]}
    said = {"reason": "incorrect", "comment": SECRET, "question": f"When? {SECRET}", "answer": "The year is 1848."}
    assert line == {**always, **(said if words else {})}
    assert server.ann("DELETE", f"/threads/{message['thread_id']}").status == 200
    assert server.chief.feedback()[0] == []
    assert SECRET not in server.log()


@pytest.mark.parametrize("cosmos_db", [False, True])
def test_lists_by_parameters(keyed, cosmos, cosmos_db):
    server = keyed(store(cosmos) if cosmos_db else "", env=ENV)
    wait_ready(server.client)
    thread, made = None, []
    for n in range(7):
        message = server.ann.say(thread=thread)
        thread = message["thread_id"]
        made.append(server.ann.rate(message["id"], rating="down" if n % 3 else "up").json)
    other = server.bob.say()
    server.bob.rate(other["id"], rating="up")

    def ids(query):
        return {line["message_id"] for line in server.chief.feedback(query)[0]}

    assert len(ids("")) == 8
    assert len(ids("?rating=up")) == 4 and len(ids("?rating=down")) == 4
    assert len(ids("?agent_id=assistant")) == 8 and ids("?agent_id=other") == set()
    day = made[0]["at"][:10]
    assert len(ids(f"?from={day}")) == 8 and ids("?to=2020-01-01") == set() and ids("?from=2999-01-01") == set()
    assert made[3]["message_id"] in ids(f"?from={made[3]['at']}&to={made[3]['at']}")
    found, after = set(), ""
    while after is not None:
        lines, end = server.chief.feedback("?limit=3" + (f"&after={after.replace(' ', '%20')}" if after else ""))
        assert len(lines) <= 3 and end["count"] == len(lines)
        assert not found & {line["message_id"] for line in lines}
        found |= {line["message_id"] for line in lines}
        after = end["next"]
    assert len(found) == 8
    for bad in ("?from=yesterday", "?to=2026-13-01", "?rating=good", "?limit=0", "?agent_id=" + "x" * 256):
        assert server.chief("GET", "/feedback" + bad).status == 400
    assert server.chief("GET", "/feedback", Accept="application/x-ndjson").status == 200
    assert server.chief("GET", "/feedback", Accept="image/png").status == 406
    assert server.chief("HEAD", "/feedback").status == 200


def test_metrics_count_changes(make_server):
    server = make_server('<Location "/metrics">\nSetHandler agentchat-metrics\nAgentChatMetrics all\n</Location>\n')
    message = server.client.send(server.client.thread(), "Hello").json["id"]
    before = read(server)
    for rating in ("up", "up", "down", None, None):
        assert server.client.request("PUT", f"/messages/{message}/feedback", {"rating": rating}).status == 200
    after = read(server)
    counted = {rating: after.sum("agentchat_feedback_total", agent="assistant", model="scripted", rating=rating) -
               before.sum("agentchat_feedback_total", agent="assistant", model="scripted", rating=rating)
               for rating in ("up", "down", "removed")}
    assert counted == {"up": 1, "down": 1, "removed": 1}
