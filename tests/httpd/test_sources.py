# SPDX-License-Identifier: Apache-2.0
"""What an answer rests on: found by tools or named by a model, numbered, stored, and shown by every protocol."""
import pytest

import agui_client
import mcp
from mcp_server import McpServer, tool
from model_server import DONE, Gate, ModelServer, Reply, answer, calls, chunk, finish, head, token
from runs import wait_until
from test_ui import ALL as UI, ON as UI_ON, run as run_ui
from test_v1 import ask, chunks
from test_v1_clients import run as run_chat
from test_v1_response_clients import run as run_responses

TOOLS = """
<AgentChatTool search>
    AgentChatToolURL {url}/search method=POST
    AgentChatToolBody "{{\\"q\\":\\"{{q}}\\"}}"
    AgentChatToolDescription "Searches the handbook"
    AgentChatToolParameters {{"type":"object","properties":{{"q":{{"type":"string"}}}},"required":["q"]}}
    AgentChatToolAllowPrivate on
    AgentChatToolSources value title=title url=meta.url place=id score=@search.score snippet=text
    {more}
</AgentChatTool>
<AgentChatAgent clerk>
    AgentChatModel scripted
    AgentChatTools search calculate
</AgentChatAgent>
"""
FOUND = {"value": [{"title": "Leave", "meta": {"url": "https://handbook.example/leave"}, "@search.score": 2.5, "text": "30 days"},
                   {"title": "Sick leave", "id": "sick.md"}, {"title": "Bad", "meta": {"url": "javascript:alert(1)"}, "id": "bad.md"}]}
LEAVE = {"id": "1", "title": "Leave", "url": "https://handbook.example/leave", "score": 2.5, "snippet": "30 days"}
SICK = {"id": "2", "title": "Sick leave", "place": "sick.md"}
BAD = {"id": "3", "title": "Bad", "place": "bad.md"}
PAGE = {"value": [{"title": "Leave again", "meta": {"url": "https://handbook.example/leave"}},
                  {"title": "Travel", "meta": {"url": "https://handbook.example/travel"}}]}
TRAVEL = {"id": "4", "title": "Travel", "url": "https://handbook.example/travel"}
SEARCH = ("search", {"q": "leave"})
TEXT = "30 days [1], see [4]."
SWITCHES = "<Location /api>\nAgentChatOpenAI on activity={}\n</Location>\n"


@pytest.fixture
def service():
    server = ModelServer()
    yield server
    server.stop()


@pytest.fixture
def make(make_server, service):
    def start(directives="", more="", **options):
        return make_server(TOOLS.format(url=service.url, more=more) + directives, **options)
    return start


def found(service, *documents):
    service.play(*(lambda _request, document=document: iter([Reply(200, document)]) for document in documents))


def turn(service, model):
    """Two searches, of which the second finds one page again."""
    found(service, FOUND, PAGE)
    model.play(calls(SEARCH), calls(SEARCH, said="More."), answer(TEXT))


def events_of(stream):
    return [event.json for event in stream.rest() if event.json["type"] != "heartbeat"]


def kinds(events):
    return [event["type"] for event in events if event["type"] not in ("token", "trace_update")]


def sources_of(events):
    return [source for event in events if event["type"] == "sources" for source in event["sources"]]


def test_events_the_message_its_steps_and_the_export(make, service, model):
    site = make()
    turn(service, model)
    thread = site.client.thread(agent_id="clerk")
    events = events_of(site.client.stream(f"/threads/{thread}/messages", {"content": "leave?"}, headers={"Accept": "text/event-stream"}))
    call = ["trace_start", "trace_end", "sources"]
    assert kinds(events) == ["run", *call, *call, "done"]
    first, second = (event for event in events if event["type"] == "sources")
    started = [event for event in events if event["type"] == "trace_start"]
    assert first["sources"] == [LEAVE, SICK, BAD] and second["sources"] == [TRAVEL]
    assert (first["step_id"], first["call_id"]) == (started[0]["step_id"], started[0]["call_id"])
    assert events[-1]["sources"] == [LEAVE, SICK, BAD, TRAVEL]
    message = site.client.messages(thread)[-1]
    assert message["sources"] == [LEAVE, SICK, BAD, TRAVEL] and "sources" not in message["metadata"] and "parts" in message
    run_id = events[-1]["run_id"]
    steps = site.client.get(f"/runs/{run_id}/steps").json["data"]
    assert [step.get("sources") for step in steps] == [None, [LEAVE, SICK, BAD], None, [TRAVEL], None]
    assert events_of(site.client.stream(f"/runs/{run_id}/events", method="GET")) == events
    text = site.client.get(f"/threads/{thread}/export").body.decode()
    assert ("Sources:\n\n1. Leave: https://handbook.example/leave\n2. Sick leave: sick.md\n3. Bad: bad.md\n"
            "4. Travel: https://handbook.example/travel\n\n") in text
    exported = site.client.get(f"/threads/{thread}/export?format=json").json["messages"]
    assert [m.get("sources") for m in exported] == [None, message["sources"]]
    model.play(answer("Fine."))
    assert "sources" not in site.client.send(thread, "thanks").json
    assert "handbook.example/travel" in str(model.requests[-1].messages), "the result itself stays in the history"


def test_events_that_are_made_from_the_store(make, service, model):
    site = make("AgentChatEventLogKeep 0\n")
    turn(service, model)
    events = events_of(site.client.stream("/agents/clerk/chat", {"message": "leave?"}))
    wait_until(lambda: site.client.get(f"/runs/{events[0]['run_id']}").json["status"] == "completed", "the run has not ended")
    again = events_of(site.client.stream(f"/runs/{events[0]['run_id']}/events", method="GET"))
    assert kinds(again) == kinds(events) and sources_of(again) == sources_of(events)
    assert again[-1]["sources"] == events[-1]["sources"]


def test_a_tool_without_sources(make, service, model):
    site = make()
    found(service, {"value": []}, {"value": "none"}, {"results": [{"url": "https://a.example"}]})
    model.play(calls(SEARCH), calls(SEARCH), calls(SEARCH), answer("None."))
    events = events_of(site.client.stream("/agents/clerk/chat", {"message": "leave?"}))
    assert "sources" not in kinds(events) and "sources" not in events[-1]
    assert "sources" not in site.client.messages(events[0]["thread_id"])[-1]


def test_a_run_that_awaits_approval(make, service, model):
    """The sources of the calls before the suspension, and those after it, of one answer."""
    mail = TOOLS.split("<AgentChatAgent")[0].format(url=service.url, more="AgentChatToolApproval required").replace("search>", "ask>")
    site = make(mail + "<AgentChatAgent asker>\nAgentChatModel scripted\nAgentChatTools search ask\n</AgentChatAgent>\n"
                "AgentChatEventLogKeep 0\n")
    found(service, FOUND, PAGE)
    model.play(calls(SEARCH, ("ask", {"q": "x"})), answer(TEXT))
    stream = site.client.stream("/agents/asker/chat", {"message": "leave?"})
    events = []
    while not events or not events[-1].get("approval_required"):
        events.append(stream.next().json)
    run_id, call_id = events[0]["run_id"], events[-1]["call_id"]
    assert site.client.post(f"/runs/{run_id}/approvals", {"call_id": call_id, "approve": True}).status == 202
    events += events_of(stream)
    assert sources_of(events) == events[-1]["sources"] == [LEAVE, SICK, BAD, TRAVEL]
    assert site.client.messages(events[0]["thread_id"])[-1]["sources"] == events[-1]["sources"]
    again = events_of(site.client.stream(f"/runs/{run_id}/events", method="GET"))
    assert sources_of(again) == events[-1]["sources"]


def test_a_process_that_is_killed(make, service, model):
    """Another process stores the answer with the sources that were shown."""
    site = make()
    site.expect_log("AH00098")
    found(service, FOUND)
    gate = Gate()
    model.play(calls(SEARCH), lambda _request: iter([head(), token("30 days"), gate]))
    stream = site.client.stream("/agents/clerk/chat", {"message": "leave?"})
    events = [stream.next().json]
    while events[-1]["type"] != "token":
        events.append(stream.next().json)
    site.kill()
    gate.open()
    site.start()
    run_id, thread = events[0]["run_id"], events[0]["thread_id"]
    wait_until(lambda: site.client.get(f"/runs/{run_id}").json["status"] == "interrupted" and len(site.client.messages(thread)) == 2,
               "the run is not closed")
    message = site.client.messages(thread)[-1]
    assert message["content"] == "30 days" and message["sources"] == [LEAVE, SICK, BAD]
    steps = site.client.get(f"/runs/{run_id}/steps").json["data"]
    assert [step["sources"] for step in steps if step["type"] == "tool_call"] == [[LEAVE, SICK, BAD]]


def annotated(*annotations):
    def script(_request):
        yield head()
        yield token("See [1].")
        yield chunk({"annotations": list(annotations)})
        yield chunk({"annotations": list(annotations)})
        yield finish()
        yield DONE
    return script


def test_sources_that_a_model_names(server, model):
    model.play(annotated({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0}},
                         {"type": "url_citation", "url_citation": {"url": "ftp://a.example"}}, {"type": "file_citation"}, 7))
    events = events_of(server.client.stream("/agents/assistant/chat", {"message": "x"}))
    named = [{"id": "1", "title": "A", "url": "https://a.example"}]
    assert kinds(events) == ["run", "sources", "done"] and sources_of(events) == named == events[-1]["sources"]
    assert server.client.messages(events[0]["thread_id"])[-1]["sources"] == named
    steps = server.client.get(f"/runs/{events[0]['run_id']}/steps").json["data"]
    assert [step.get("sources") for step in steps] == [named]


@pytest.mark.parametrize("linked", ("links", "structure"))
def test_mcp_tools(make_server, model, linked):
    upstream = McpServer()
    link = {"type": "resource_link", "uri": "https://a.example/x", "name": "a", "title": "A", "description": "About"}
    upstream.tools = [tool("look")]
    upstream.results["look"] = {"content": [{"type": "text", "text": "see"}, link]} if linked == "links" else {
        "content": [], "structuredContent": {"results": [{"title": "A", "url": "https://a.example/x", "snippet": "About"}]}}
    try:
        site = make_server(f"<AgentChatMCP one>\nAgentChatMCPURL {upstream.url}\nAgentChatMCPAllowPrivate on\nAgentChatMCPApproval none\n"
                           "</AgentChatMCP>\n<AgentChatAgent clerk>\nAgentChatModel scripted\nAgentChatTools mcp:one\n</AgentChatAgent>\n")
        model.play(calls(("one_look", {})), answer("See [1]."))
        events = events_of(site.client.stream("/agents/clerk/chat", {"message": "x"}))
        assert sources_of(events) == [{"id": "1", "title": "A", "url": "https://a.example/x", "snippet": "About"}], events
    finally:
        upstream.stop()


# ---- the other protocols, by their own clients ----

@pytest.mark.parametrize("client", UI)
def test_use_chat(make, service, model, client):
    site = make(UI_ON)
    turn(service, model)
    model.play(answer("Bye"))
    result = run_ui(client, site, ["send", "leave?"], ["send", "thanks"], body={"agent_id": "clerk"})
    assert result["error"] is None, result
    parts = [p for p in result["messages"][1]["parts"] if p["type"].startswith("source")]
    assert [(p["type"], p["sourceId"], p.get("url"), p["title"], p.get("filename")) for p in parts] == [
        ("source-url", "1", LEAVE["url"], "Leave", None), ("source-document", "2", None, "Sick leave", "sick.md"),
        ("source-document", "3", None, "Bad", "bad.md"), ("source-url", "4", TRAVEL["url"], "Travel", None)]
    assert [p["type"] for p in result["messages"][-1]["parts"] if p["type"] == "text"] == ["text"]


CITED = [(LEAVE["url"], "Leave", 8, 11), (TRAVEL["url"], "Travel", 17, 20)]


def cited(annotations, shift=0):
    return [(a["url"], a["title"], a["start_index"] - shift, a["end_index"] - shift) for a in annotations]


@pytest.mark.parametrize("client", ("openai", "openai6", "openai4", "aisdk"))
@pytest.mark.parametrize("case", ("whole", "stream"))
def test_chat_completions(make, service, model, client, case):
    site = make(SWITCHES.format("none"))
    turn(service, model)
    said = run_chat(client, case, site, model="clerk")
    whole = "More.\n\n" + TEXT
    assert said["text"] == whole, said
    if client == "aisdk":
        assert [(s["sourceType"], s["url"], s["title"]) for s in said["sources"]] == [("url", *pair[:2]) for pair in CITED], said
    else:
        assert cited(said["sources"], len("More.\n\n")) == CITED, said
        assert [whole[s["start_index"]:s["end_index"]] for s in said["sources"]] == ["[1]", "[4]"]


def test_chat_completions_with_events(make, service, model):
    """All sources are in the member of this server, also those without a URL."""
    site = make(SWITCHES.format("events"))
    turn(service, model)
    stream = site.client.stream("/v1/chat/completions", ask(stream=True, model="clerk"))
    shown = [c["agentchat"] for c in chunks(stream) if "agentchat" in c]
    assert [source for event in shown if event.get("type") == "sources" for source in event["sources"]] == [LEAVE, SICK, BAD, TRAVEL]


@pytest.mark.parametrize("client", ("openai", "openai6", "openai4", "aisdk", "langchain", "open"))
@pytest.mark.parametrize("case", ("whole", "stream"))
def test_responses(make, service, model, client, case):
    site = make("<Location /api>\nAgentChatOpenAI on client-tools=pass\n</Location>\n")
    turn(service, model)
    said = run_responses(client, case, site, model="clerk")
    assert said.get("error") is None and not said.get("errors"), said
    if client == "aisdk":
        assert [(s["sourceType"], s["url"]) for s in said["sources"]] == [("url", one[0]) for one in CITED], said
    if not client.startswith("openai"):
        return
    texts = [part for item in said["response"]["output"] if item["type"] == "message" for part in item["content"]]
    # The first text was said before the second search; it has the sources of the first one.
    assert [[a["title"] for a in part["annotations"]] for part in texts] == [["Leave"], ["Travel"]], texts
    assert cited(texts[1]["annotations"]) == CITED[1:]
    if case == "stream":
        added = [e for e in said["events"] if e["type"] == "response.output_text.annotation.added"]
        assert [(e["annotation_index"], e["annotation"]["title"]) for e in added] == [(0, "Leave"), (0, "Travel")]
        assert [e["sequence_number"] for e in said["events"]] == list(range(len(said["events"])))


@pytest.mark.parametrize("version", agui_client.ALL)
def test_agui(make, service, model, version):
    site = make(agui_client.ON)
    turn(service, model)
    result = agui_client.run(version, site, ["send", "leave?"], agent="clerk")
    assert result["error"] is None, result
    custom = [e["value"] for e in result["steps"][0]["events"] if e["type"] == "CUSTOM" and e["name"] == "agentchat.sources"]
    assert custom == [[LEAVE, SICK, BAD], [TRAVEL]]


@pytest.mark.parametrize("client", mcp.CLIENTS)
def test_mcp_server(make, service, model, client):
    site = make(mcp.ON)
    turn(service, model)
    result = mcp.run(client, site, ["call", "ask_clerk", {"message": "leave?"}])["given"][-1]["result"]
    assert result["structuredContent"]["sources"] == [LEAVE, SICK, BAD, TRAVEL], result
    assert mcp.text_of(result).split("\n")[3:8] == ["Sources:", "[1] Leave: https://handbook.example/leave", "[2] Sick leave: sick.md",
                                                    "[3] Bad: bad.md", "[4] Travel: https://handbook.example/travel"]
