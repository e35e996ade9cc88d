# SPDX-License-Identifier: Apache-2.0
"""One conversation, continued by a client of each protocol: all see the whole of it, in its order."""
import json

import pytest

import agui_client as agui
import mcp
import test_ui as ui
from cosmos_stores import ENV, store, wait_ready
from model_server import answer, calls

ON = "<Location /api>\nAgentChatAGUI on\nAgentChatUI on\nAgentChatOpenAI on threads=X-Chat\nAgentChatMCPServer on\n</Location>\n"
NAME = "talk-1"
SUM = ("calculate", {"expression": "6*7"})
WRONG = ("calculate", {"expression": "1/0"})
TALK = [("user", "one"), ("assistant", "Let me.\n\nA"), ("user", "two"), ("assistant", "B"), ("user", "three"), ("assistant", "C"),
        ("user", "four"), ("assistant", "D"), ("user", "five"), ("assistant", "E")]


@pytest.fixture(params=["sqlite", "cosmos"])
def site(request, make_server, _model, model):
    if request.param == "sqlite":
        return make_server(ON)
    site = make_server(store(request.getfixturevalue("cosmos")) + ON, env=ENV)
    wait_ready(site.client)
    return site


def by_agui(site, text):
    result = agui.run(agui.NEW, site, ["reload"], ["send", text], thread=NAME)
    assert result["error"] is None, result
    return result["messages"]


def by_ui(site, text):
    result = ui.run("ai", site, ["load"], ["send", text], id=NAME)
    assert result["error"] is None, result
    return result["messages"]


def by_v1(site, text):
    """Its clients send what they have shown before."""
    history = [{"role": m["role"], "content": m["content"]} for t in site.client.get("/threads").json["data"]
               for m in site.client.messages(t["id"])]
    body = {"model": "assistant", "messages": [*history, {"role": "user", "content": text}]}
    assert site.client.post("/v1/chat/completions", body, headers={"X-Chat": NAME}).status == 200


def by_mcp(site, text):
    thread, = site.client.get("/threads").json["data"]
    assert mcp.call(site, "modern", text, thread=thread["id"]).json["result"]["structuredContent"]["thread_id"] == thread["id"]


def by_native(site, text):
    thread, = site.client.get("/threads").json["data"]
    assert site.client.send(thread["id"], text).status == 200


ALL = (by_agui, by_ui, by_v1, by_mcp, by_native)


@pytest.mark.parametrize("first", range(3))         # the others know no names, and continue a thread
def test_one_conversation(site, model, first):
    model.play(calls(SUM, WRONG, said="Let me."), answer("A"), *(answer(text) for text in "BCDE"))
    for send, (_, text) in zip([ALL[first], *(send for send in ALL if send != ALL[first])], TALK[::2]):
        send(site, text)
    thread, = site.client.get("/threads").json["data"]
    stored = site.client.messages(thread["id"])
    assert [(m["role"], m["content"]) for m in stored] == TALK
    assert [(c["tool"], bool(c["error"])) for c in stored[1]["tool_calls"]] == [("calculate", False), ("calculate", True)]
    assert [(m["role"], m["content"]) for m in model.requests[-1].messages if m.get("content") and m["role"] in ("user", "assistant")] \
        == TALK[:-1]

    shown = agui.run(agui.OLD, site, ["reload"], thread=NAME)["messages"]
    assert [m["role"] for m in shown][:5] == ["user", "assistant", "tool", "tool", "assistant"], shown
    assert [(m["role"], m["content"]) for m in shown[4:]] == [("assistant", "A"), *TALK[2:]]
    assert [c["function"]["name"] for c in shown[1]["toolCalls"]] == ["calculate"] * 2 and shown[1]["content"] == "Let me."
    assert json.loads(shown[2]["content"])["result"] == 42 and "divi" in shown[3]["content"]

    shown = ui.run("ai", site, ["load"], id=NAME)["messages"]
    assert ui.said({"messages": shown})[2:] == TALK[2:]
    assert [p["type"] for p in shown[1]["parts"]] == ["step-start", "text", "dynamic-tool", "dynamic-tool", "text"]
    assert [p["state"] for p in shown[1]["parts"][2:4]] == ["output-available", "output-error"]

