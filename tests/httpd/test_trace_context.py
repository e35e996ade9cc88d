# SPDX-License-Identifier: Apache-2.0
"""The trace of a request is passed on to models, tools and Cosmos DB, although nothing is exported."""
import json

import pytest

from cosmos_stores import ENV, store
from model_server import Reply, answer, calls
from scripted_server import ScriptedServer
from test_logs import SPAN, TRACE, TRACEPARENT

PARENT, STATE = f"00-{TRACE}-{SPAN}-01", "vendor=1,other=2"
HEADERS = {**TRACEPARENT, "tracestate": STATE}
TOOL = """
<AgentChatTool look_up>
    AgentChatToolURL "{url}/items/{{id}}?word={{word}}"
    AgentChatToolDescription "Looks an item up"
    AgentChatToolParameters '{{"type": "object", "properties": {{"id": {{"type": "string"}}, "word": {{"type": "string"}}}}}}'
    AgentChatToolAllowPrivate on
    {more}
</AgentChatTool>
<AgentChatAgent looker>
    AgentChatModel scripted
    AgentChatTools look_up
</AgentChatAgent>
"""


class Service(ScriptedServer):
    """A service that a tool asks; `answers` are (status, headers) of its next answers."""

    def __init__(self, found="something"):
        self.requests, self.answers, self.found = [], [], found
        super().__init__()

    def _respond(self, connection, method, target, headers, body):
        self.requests.append((target, headers))
        status, more = self.answers.pop(0) if self.answers else (200, {})
        body = json.dumps({"found": self.found}).encode()
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}",
                 *(f"{name}: {value}" for name, value in more.items())]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return True


@pytest.fixture
def service():
    made = []

    def make():
        made.append(Service())
        return made[-1]
    yield make
    for one in made:
        one.stop()


def ask(server, headers):
    response = server.client.post("/agents/looker/chat", {"message": "x", "stream": False}, headers=headers)
    assert response.status == 200


def play(model):
    model.play(calls(("look_up", {"id": "7", "word": "a"})), answer("ok"))


def test_models_and_tools_get_the_context_of_the_request(make_server, model, service):
    tool = service()
    server = make_server(TOOL.format(url=tool.url, more=""))
    play(model)
    ask(server, HEADERS)
    (_, headers), = tool.requests
    assert len(model.requests) == 2
    for got in [headers] + [request.headers for request in model.requests]:
        assert got["traceparent"] == PARENT and got["tracestate"] == STATE


def test_nothing_is_sent_without_a_context(make_server, model, service):
    tool = service()
    server = make_server(TOOL.format(url=tool.url, more=""))
    for headers in ({}, {"traceparent": "00-nonsense", "tracestate": STATE}):
        play(model)
        ask(server, headers)
    for got in [headers for _, headers in tool.requests] + [request.headers for request in model.requests]:
        assert "traceparent" not in got and "tracestate" not in got


def test_a_configured_header_wins(make_server, model, service):
    tool = service()
    server = make_server(TOOL.format(url=tool.url, more="AgentChatToolHeader traceparent mine"))
    play(model)
    ask(server, HEADERS)
    (_, headers), = tool.requests
    assert headers["traceparent"] == "mine" and "tracestate" not in headers


def test_a_redirect_to_another_origin_gets_no_context(make_server, model, service):
    tool, other = service(), service()
    port = other.url.rsplit(":", 1)[1]
    server = make_server(TOOL.format(url=tool.url, more=f"AgentChatToolAllowHost 127.0.0.1:{port}"))
    tool.answers = [(302, {"Location": f"{tool.url}/same"}), (302, {"Location": f"{other.url}/else"})]
    play(model)
    ask(server, HEADERS)
    assert [headers.get("traceparent") for _, headers in tool.requests] == [PARENT, PARENT]
    (target, headers), = other.requests
    assert target == "/else" and "traceparent" not in headers and "tracestate" not in headers


def test_cosmos_db_gets_the_context(make_server, model, cosmos):
    server = make_server(store(cosmos), env=ENV)
    client = server.client
    thread = client.thread()
    cosmos.behave(clear=True)
    assert client.post(f"/threads/{thread}/messages", {"content": "x", "stream": False}, headers=HEADERS).status == 200
    assert client.get(f"/threads/{thread}/messages", headers=HEADERS).status == 200
    traced = [headers for _, _, _, headers in cosmos.requests if headers.get("traceparent") == PARENT]
    assert len(traced) >= 4 and all(headers["tracestate"] == STATE for headers in traced)
