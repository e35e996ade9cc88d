# SPDX-License-Identifier: Apache-2.0
"""Agents that other agents ask, or hand over to, as the clients of all protocols see them: one answer, and an approval
inside of an agent."""
import pytest

import agui_client
import mcp
from model_server import answer, calls
from approvals import MAIL_TOOL, mail      # noqa: F401 (a fixture)
from test_agent_tools import AGENTS, TWO, Cast, ask, said
from test_ui import ALL as UI, ON as UI_ON, run as run_ui
from test_v1_clients import run as run_chat
from test_v1_response_clients import run as run_responses

WHOLE = "It is two."


@pytest.fixture
def make(make_server, mail):  # noqa: F811
    def start(directives):
        return make_server(MAIL_TOOL.format(url=mail.url) + AGENTS.format(triage="AgentChatHandoffs sums", writer="") + directives)
    return start


@pytest.fixture(params=["asked", "handed over to"])
def first(request, model):
    """The other agent adds; the name of the first call."""
    add = ("calculate", {"expression": "1+1"})
    if request.param == "asked":
        Cast(model, triage=[calls(ask("sums")), answer(WHOLE)], sums=[calls(add, said="Let me add."), answer("Two.")])
        return "ask_sums"
    Cast(model, triage=[calls(("transfer_to_sums", {}))], sums=[calls(add), answer(WHOLE)])
    return "transfer_to_sums"


@pytest.mark.parametrize("client", UI)
def test_use_chat(make, first, client):
    site = make(UI_ON)
    result = run_ui(client, site, ["send", "how much?"], body={"agent_id": "triage"})
    assert result["error"] is None, result
    parts = result["messages"][1]["parts"]
    assert [p["text"] for p in parts if p["type"] == "text"] == [WHOLE]
    tools = {p.get("toolName") or p["type"].removeprefix("tool-"): p for p in parts if "toolCallId" in p}
    assert set(tools) == {first, "calculate"} and {p["state"] for p in tools.values()} == {"output-available"}


def test_use_chat_decides_about_a_call_of_an_agent(make, model, mail):  # noqa: F811
    site = make(UI_ON)
    cast = Cast(model, **TWO)
    result = run_ui(UI[0], site, ["send", "thank them"], ["approve", True], body={"agent_id": "triage"})
    assert result["error"] is None and [r.json for r in mail.requests] == [{"to": "a@b"}], result
    text = [p["text"] for p in result["messages"][-1]["parts"] if p["type"] == "text"]
    assert text == ["Sent and added."] and len(said(cast.requests("triage")[1], "tool")) == 2


@pytest.mark.parametrize("client", ("openai", "aisdk"))
@pytest.mark.parametrize("case", ("whole", "stream"))
@pytest.mark.parametrize("activity", ("none", "events", "reasoning"))
def test_chat_completions(make, first, client, case, activity):
    site = make(f"<Location /api>\nAgentChatOpenAI on activity={activity}\n</Location>\n")
    assert run_chat(client, case, site, model="triage")["text"] == WHOLE


@pytest.mark.parametrize("client", ("openai", "aisdk"))
@pytest.mark.parametrize("case", ("whole", "stream"))
def test_responses(make, first, client, case):
    site = make("<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\n")
    result = run_responses(client, case, site, model="triage")
    assert result.get("error") is None and not result.get("errors"), result
    if client == "openai":
        texts = [part["text"] for item in result["response"]["output"] if item["type"] == "message" for part in item["content"]]
        assert texts == [WHOLE]


@pytest.mark.parametrize("version", agui_client.ALL)
def test_agui(make, first, version):
    site = make(agui_client.ON)
    result = agui_client.run(version, site, ["send", "how much?"], agent="triage")
    assert result["error"] is None, result
    events = result["steps"][0]["events"]
    assert "".join(e["delta"] for e in events if e["type"] == "TEXT_MESSAGE_CONTENT") == WHOLE
    assert [e["toolCallName"] for e in events if e["type"] == "TOOL_CALL_START"] == [first, "calculate"]


@pytest.mark.parametrize("client", mcp.CLIENTS)
def test_mcp_server(make, first, client):
    site = make(mcp.ON)
    result = mcp.run(client, site, ["call", "ask_triage", {"message": "how much?"}])["given"][-1]["result"]
    assert mcp.text_of(result).split("\n")[0] == WHOLE, result


@pytest.mark.parametrize("version", agui_client.ALL)
def test_agui_decides_about_a_call_of_an_agent(make, model, mail, version):  # noqa: F811
    site = make(agui_client.ON)
    Cast(model, **TWO)
    result = agui_client.run(version, site, ["send", "thank them"], ["resume", {"approved": True}], agent="triage")
    assert result["error"] is None and [r.json for r in mail.requests] == [{"to": "a@b"}], result
    assert [m["content"] for m in result["messages"] if m["role"] == "assistant" and m.get("content")] == ["Sent and added."]
