# SPDX-License-Identifier: Apache-2.0
"""What an operator gets to see has no secrets, and people's words only where a directive allows it: logs, the audit log,
notes of the access log, metrics, server-status, and what a collector gets."""
import json

import pytest

from client import Client
from key_file import KeyFile, bearer
from metrics import PLACE, read
from model_server import Cut, Reply, answer, calls, head
from otlp_collector import Collector
from runs import wait_until
from test_approvals import TOOLS
from test_audit_log import MODULES
from test_logs import ACCESS, JSON, objects
from test_trace_context import Service

CONFIGURATION = """
<AgentChatModel secretive>
    AgentChatProvider openai
    AgentChatEndpoint {model} model=secretive-1
    AgentChatCredential env:MODEL_KEY
    AgentChatRetries 1
    AgentChatBreaker off
</AgentChatModel>
<AgentChatTool look_up>
    AgentChatToolURL "{tool}/of/{{place}}?word={{word}}"
    AgentChatToolDescription "Looks up"
    AgentChatToolParameters '{{"type": "object", "properties": {{"place": {{"type": "string"}}, "word": {{"type": "string"}}}}}}'
    AgentChatToolHeader X-Key %{{secret}} secret=env:TOOL_KEY
    AgentChatToolAllowPrivate on
</AgentChatTool>
<AgentChatAgent clerk>
    AgentChatModel secretive
    AgentChatInstructions "planted-instructions"
    AgentChatTools look_up
</AgentChatAgent>
ExtendedStatus on
<Location "/server-status">
    SetHandler server-status
</Location>
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AuthName keys
    AgentChatKeys "{keys}"
    Require valid-user
</Location>
"""
ENV = {"MODEL_KEY": "planted-model-key", "TOOL_KEY": "planted-tool-key"}
# These are never shown, whatever is configured: keys, what identifies a sign-in, and what is in a query.
SECRETS = ["planted-model-key", "planted-tool-key", "planted-bearer", "planted-cookie", "planted-idempotency", "planted-query",
           "planted-word", "planted-header", "planted-reason", "planted-metadata", "planted-title"]
OF_TOOLS = ["planted-place", "planted-result"]                              # arguments and results
WORDS = ["planted-question", "planted-answer", "planted-instructions"]      # prompts and answers


def provoke(server, model, tool, key):
    """One of everything that has words in it, with successes and failures."""
    client = server.client
    headers = {**bearer(key), "Cookie": "session=planted-cookie", "Idempotency-Key": "planted-idempotency-1", "X-Other": "planted-header",
               "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    thread = client.post("/threads", {"title": "planted-title", "metadata": {"a": "planted-metadata"}}, headers=headers).json["id"]
    path = f"/threads/{thread}/messages"

    def ask(number, **more):
        body = {"content": "planted-question", "stream": False, "agent_id": "clerk", **more}
        return client.post(path + "?planted-query=planted-query", body,
                           headers={**headers, "Idempotency-Key": f"planted-idempotency-{number}"})
    call = calls(("look_up", {"place": "planted-place", "word": "planted-word"}), said="planted-answer")
    tool.answers = [(200, {}), (500, {"X-Why": "planted-result"}), (302, {"Location": tool.url + "/of/planted-place?a=planted-query"})]
    model.play(call, answer("planted-answer"))
    statuses = [client.post("/agents/clerk/chat", {"message": "planted-question", "stream": False}, headers=headers).status]
    model.play(call, answer("planted-answer"))
    stream = client.stream("/agents/clerk/chat", {"message": "planted-question"},
                           headers={**headers, "Idempotency-Key": "planted-idempotency-s"})
    stream.rest()
    stream.close()
    model.play(call, answer("planted-answer"))
    statuses.append(client.post("/agents/clerk/chat", {"message": "planted-question", "stream": False},
                                headers={**headers, "Idempotency-Key": "planted-idempotency-2"}).status)
    assert statuses == [200, 200]
    def cut(_request):
        yield head()
        yield Cut()
    for failure in (Reply(400, {"error": {"message": "planted-answer planted-model-key"}}), cut,
                    Reply(401, {"error": {"message": "planted-model-key is wrong"}})):
        model.play(failure, failure)
        ask(len(tool.requests) + len(model.requests))
    client.post("/agents/clerk/chat?planted-query=1", {"message": {"planted-question": 1}}, headers=headers)
    client.get(f"{path}?order=planted-query", headers=headers)
    client.get("/threads", headers={"Authorization": "Bearer ack_ann_planted-bearer"})
    client.get("/threads", headers={"Authorization": "Basic planted-bearer"})
    client.get("/threads/thread_none?planted-query", headers=headers)
    client.delete(f"/threads/{thread}", headers=headers)


@pytest.fixture
def watched(make_server, model):
    """Makes a server with everything on that writes or sends something, and what it asks."""
    made = []

    def make(content, protocol="json"):
        collector, tool = Collector(), Service("planted-result")
        made.extend((collector, tool))
        server = make_server(PLACE + ACCESS + JSON + "AgentChatAuditLog logs/audit.log\nLogLevel agentchat:trace1\n" +
                             collector.directive(protocol) + f"AgentChatTraceContent {content}\n", start=False, env=ENV,
                             modules=(*MODULES, "status"))
        keys = KeyFile(server.root / "keys")
        server.key = keys.make("ann", "owner=ann")
        server.conf.write_text(server.conf.read_text() + CONFIGURATION.format(model=model.url, tool=tool.url, keys=keys.path))
        server.expect_log("AC0502", "AC0503", "AC0540")
        server.start()
        server.client.prefix = "/keys"
        return server, collector, tool
    yield make
    for one in made:
        one.stop()


def shown(server):
    """All that the server has written, and what it shows at its places, each with a name."""
    texts = {file.name: file.read_bytes().decode() for file in (server.root / "logs").iterdir() if file.is_file()}
    texts["metrics"] = read(server).text
    place = Client(server.port, prefix="")
    # Above that headline httpd itself shows requests with their queries.
    page = place.get("/server-status").body.decode().split("<h2>AgentChat</h2>")[1]
    texts["server-status"] = page + place.get("/server-status?auto").body.decode()
    return texts


@pytest.mark.parametrize("content", ["none", "tools", "all"])
def test_nothing_shows_secrets_and_words_only_go_where_they_may(watched, model, content):
    server, collector, tool = watched(content)
    provoke(server, model, tool, server.key)
    wait_until(lambda: len([line for line in objects(server) if line.get("number") == "AC0504"]) >= 6, "a run has no line")
    collector.wait_spans(lambda spans: sum(span.name.startswith("invoke_agent") for span in spans) >= 6 and
                         sum(span.name.startswith("execute_tool") for span in spans) >= 3)
    texts = shown(server)
    assert {"agentchat.log", "audit.log", "notes.log", "error.log"} <= set(texts)
    for name, text in texts.items():
        for word in SECRETS + OF_TOOLS + WORDS:
            assert word not in text or name == "access.log", (name, word)
    sent = "".join(body.decode() for _, body in collector.bodies)
    allowed = {"none": [], "tools": OF_TOOLS + ["planted-word"], "all": OF_TOOLS + WORDS + ["planted-word"]}[content]
    for word in SECRETS + OF_TOOLS + WORDS:
        assert (word in sent) == (word in allowed), (word, content)
    if content != "none":
        # A word of the arguments may be an argument, and nothing else: the query of a URL is never shown.
        for span in collector.spans():
            assert "planted-word" not in str(span["url.full"]) + span.name
    assert server.key.rsplit("_", 1)[1] not in sent + "".join(texts.values())


def test_protobuf_bodies_have_no_secrets_either(watched, model):
    server, collector, tool = watched("none", protocol="protobuf")
    provoke(server, model, tool, server.key)
    wait_until(lambda: sum(body.count(b"invoke_agent") for _, body in collector.bodies) >= 6, "the spans do not come")
    sent = b"".join(body for _, body in collector.bodies)
    for word in SECRETS + OF_TOOLS + WORDS:
        assert word.encode() not in sent, word
