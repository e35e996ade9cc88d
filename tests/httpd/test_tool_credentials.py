# SPDX-License-Identifier: Apache-2.0
"""AgentChatToolCredential: the requests of an HTTP tool with a key or a token, as Azure AI Search wants it (docs/ai-search.md)."""
import json
import re

import pytest

from model_server import ModelServer, Reply, answer, calls
from server import TOP
from test_credentials import APP, NOWHERE, refuse, token

AGENT = """
<AgentChatAgent clerk>
    AgentChatModel scripted
    AgentChatTools search_handbook
</AgentChatAgent>
"""
FOUND = [{"@search.score": 2.5, "title": "Leave", "content": "30 days", "url": "https://handbook.example/leave"}]


@pytest.fixture
def service(services):
    server = ModelServer()
    services.append(server)
    server.default = lambda _request: iter([Reply(200, {"@odata.context": "x", "value": FOUND})])
    return server


@pytest.fixture
def authority(services):
    server = ModelServer()
    services.append(server)
    server.default = token("zebra-token-1")
    return server


def tool(service, credential):
    """The tool of the manual, at a service of the test."""
    page = (TOP / "docs/ai-search.md").read_text()
    text = re.search(r"<AgentChatTool .*?</AgentChatTool>", page, re.S)[0]
    text = text.replace("https://NAME.search.windows.net", f"http://127.0.0.1:{service.port}")
    text = text.replace("AgentChatToolCredential  identity:managed", f"AgentChatToolCredential {credential}")
    return text.replace("</AgentChatTool>", "    AgentChatToolAllowPrivate on\n</AgentChatTool>") + AGENT


def search(server, model):
    model.play(calls(("search_handbook", {"query": 'leave "now"'})), answer("30 days."))
    events = server.client.stream("/agents/clerk/chat", {"message": "go"}).rest()
    assert events[-1].type == "done"
    got, = [json.loads(message["content"]) for message in model.requests[-1].messages if message["role"] == "tool"]
    return got.get("result", got.get("error"))


def with_identity(make_server, service, authority, scope=" scope=https://search.azure.com/.default"):
    return make_server(tool(service, "identity:environment authority=" + authority.url + scope), env={**NOWHERE, **APP})


def test_the_tool_of_the_manual_with_an_identity(make_server, model, service, authority):
    server = with_identity(make_server, service, authority)
    assert search(server, model) == FOUND
    asked, = service.requests
    assert asked.path == "/indexes/handbook/docs/search?api-version=2026-04-01"
    assert json.loads(asked.body) == {"search": 'leave "now"', "top": 5, "select": "title,content,url"}
    assert asked.headers["authorization"] == "Bearer zebra-token-1"
    assert b"search.azure.com" in authority.requests[0].body
    search(server, model)
    assert len(authority.requests) == 1


def test_a_token_that_is_refused_is_fetched_again(make_server, model, service, authority):
    server = with_identity(make_server, service, authority)
    assert search(server, model) == FOUND
    authority.default = token("zebra-token-2")
    service.play(refuse(401, {"error": {"message": "expired"}}))
    assert search(server, model) == FOUND
    assert [request.headers["authorization"] for request in service.requests] == [
        "Bearer zebra-token-1", "Bearer zebra-token-1", "Bearer zebra-token-2"]


def test_a_service_that_refuses_each_token(make_server, model, service, authority):
    server = with_identity(make_server, service, authority)
    service.default = refuse(401, {"error": {"message": "zebra-token-1 is not welcome"}})
    said = search(server, model)
    assert len(service.requests) == 2 and said.startswith("the service answered 401") and "zebra" not in said


def test_a_token_that_the_service_repeats_is_hidden(make_server, model, service, authority):
    service.default = lambda request: iter([Reply(200, {"value": [{"sent": request.headers["authorization"]}]})])
    assert search(with_identity(make_server, service, authority), model) == [{"sent": "Bearer *************"}]


def test_no_token(make_server, model, service, authority):
    authority.default = refuse(400, {"error": "invalid_client", "error_description": "AADSTS7000222: expired"})
    server = with_identity(make_server, service, authority)
    server.expect_log("AC0240")
    said = search(server, model)
    assert said.startswith("there is no credential for the service: ") and "AADSTS7000222" in said and not service.requests


def test_a_key(make_server, model, service):
    server = make_server(tool(service, "env:SEARCH_KEY"), env={"SEARCH_KEY": "a-key-of-search"})
    service.default = lambda request: iter([Reply(200, {"value": request.headers["authorization"]})])
    assert search(server, model) == "Bearer ***************"


@pytest.mark.parametrize("credential, more, problem", [
    ("identity:managed", "", "an identity needs the scope of the service"),
    ("env:HOME", 'AgentChatToolHeader Authorization x', "AgentChatToolCredential sends Authorization already"),
])
def test_mistakes(make_server, service, credential, more, problem):
    server = make_server(tool(service, credential).replace("</AgentChatTool>", more + "\n</AgentChatTool>"), start=False)
    ok, said = server.configtest()
    assert not ok and problem in said


def test_plain_http_to_another_host(make_server, service):
    text = tool(service, "env:HOME").replace(f"http://127.0.0.1:{service.port}", "http://search.example")
    ok, said = make_server(text, start=False).configtest()
    assert not ok and "over plain http the credential could be read on its way to search.example" in said
