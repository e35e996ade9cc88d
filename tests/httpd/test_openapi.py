# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml is what the server does: every example of it is sent, every answer and every event is held against its schema."""
import copy
import json
import re
import subprocess

import pytest
import yaml
from jsonschema import Draft202012Validator

import peers
from approvals import CAREFUL
from client import Client, Response
from model_server import Gate, Reply, answer, calls, head, token
from server import AGENT, MODEL, TOP

DOCUMENT = yaml.safe_load((TOP / "docs/openapi.yaml").read_text())
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = {item[method]["operationId"]: (method.upper(), path, item[method], item.get("parameters", []))
              for path, item in DOCUMENT["paths"].items() for method in METHODS if method in item}
ADMIN = """
<Location "/api">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile users
    Require valid-user
    AgentChatRole admin ann
    AgentChatOpenAI on
    AgentChatUI on
    AgentChatMCPServer on
    AgentChatAGUI on
</Location>
"""
WORD = {"Authorization": "Basic YW5uOnNlY3JldA=="}         # ann:secret


def resolve(node):
    while "$ref" in node:
        target = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def validator(schema):
    return Draft202012Validator({**copy.deepcopy(schema), "components": DOCUMENT["components"]})


def check(value, schema, what):
    problems = [f"{what}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
                for error in validator(schema).iter_errors(value)]
    assert not problems, "\n".join(problems)


class Contract:
    """Sends requests by operationId, and holds every answer against the document."""

    def __init__(self, server):
        self.server, self.client, self.seen = server, Client(server.port), set()

    def call(self, operation, body=None, query="", headers=None, status=None, send=None, **path):
        method, pattern, described, _ = OPERATIONS[operation]
        url = re.sub(r"\{(\w+)\}", lambda m: path[m[1]], pattern) + query
        reply = self.client.request(method, url, send if send is not None else body, {**WORD, **(headers or {})})
        self.check(operation, described, reply)
        assert status is None or reply.status in (status if isinstance(status, tuple) else (status,)), f"{operation}: {reply}"
        return reply

    def check(self, operation, described, reply):
        what = f"{operation} {reply.status}"
        answers = described["responses"]
        found = resolve(answers.get(str(reply.status)) or answers["default"])
        assert str(reply.status) in answers or reply.status >= 400, f"{what} is not described: {reply}"
        assert reply.headers["x-request-id"], what
        self.seen.add((operation, reply.status))
        if reply.status >= 400 and operation != "ready" and not operation.startswith(("v1", "ui", "mcp")):
            assert reply.headers["content-type"] == "application/problem+json", what
            assert reply.json["status"] == reply.status
        for name in ("Location", "ETag", "WWW-Authenticate"):
            assert name not in found.get("headers", {}) or name.lower() in reply.headers, f"{what} has no {name}"
        if "content" not in found:
            assert not reply.body, what
            return
        media = reply.headers["content-type"].split(";")[0]
        assert media in found["content"], f"{what}: {media}"
        schema = found["content"][media]["schema"]
        if media == "text/event-stream":
            lines = [line[5:].strip() for line in reply.body.decode().splitlines() if line.startswith("data:") and "[DONE]" not in line]
            assert lines, what
            for line in lines:
                check(json.loads(line), schema["contentSchema"], f"{what} {line}")
        elif media == "application/x-ndjson":
            for line in reply.body.decode().splitlines():
                check(json.loads(line), schema, f"{what} {line}")
        elif media.endswith("json"):
            check(reply.json, schema, what)


@pytest.fixture
def contract(model, make_server):
    server = make_server(MODEL.format(url=model.url) + AGENT + "AgentChatFiles on reserve=0\n" + ADMIN, standard=False, start=False,
                         modules=("authn_core", "authn_file", "auth_basic", "authz_user"))
    (server.root / "users").write_text("ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
    return Contract(server.start())


def test_the_document_is_well_formed():
    Draft202012Validator.check_schema({"allOf": list(DOCUMENT["components"]["schemas"].values())})
    for operation, (_, path, described, shared) in OPERATIONS.items():
        names = {resolve(p)["name"] for p in shared + described.get("parameters", []) if resolve(p)["in"] == "path"}
        assert names == set(re.findall(r"\{(\w+)\}", path)), operation
    assert len(OPERATIONS) >= 30


def test_examples_fit_their_schemas():
    n = 0
    for operation, (_, _, described, _) in OPERATIONS.items():
        content = resolve(described.get("requestBody", {})).get("content", {}).get("application/json", {})
        for name, example in content.get("examples", {}).items():
            check(example["value"], content["schema"], f"{operation} {name}")
            n += 1
    assert n >= 12


def test_every_example_is_taken_and_every_answer_is_as_described(contract, model):
    sent = set()

    def examples(operation):
        for name, example in resolve(OPERATIONS[operation][2]["requestBody"])["content"]["application/json"]["examples"].items():
            sent.add((operation, name))
            yield json.loads(json.dumps(example["value"]).replace('"model": "default"', '"model": "scripted"'))

    def plays(n=1):
        for _ in range(n):
            model.play(calls(("calculate", '{"expression": "0.18*75"}')), answer("It is ", "13.5"))

    call = contract.call
    for body in examples("createThread"):
        thread = call("createThread", body, status=201).json["id"]
    call("createThread", status=201)
    for operation in ("sendMessage", "sendMessageOlderPath"):
        for body in examples(operation):
            plays()
            call(operation, body, id=thread, status=200)
    plays(2)
    for body in examples("talkToAgent"):
        call("talkToAgent", body, id="assistant", status=200)
    plays(2)
    for body in examples("chat"):
        call("chat", body, status=200)
    plays()
    for body in examples("ask"):
        call("ask", body, status=200)
    plays()
    call("askByQuery", query="?message=Hello", status=200)
    for body in examples("changeThread"):
        changed = call("changeThread", body, id=thread, status=200)
    call("changeThread", {"title": "x"}, id=thread, headers={"If-Match": '"old"'}, status=412)
    tag = changed.headers["etag"]
    call("getThread", id=thread, headers={"If-None-Match": tag}, status=304)
    call("getThread", id=thread, status=200)
    call("listThreads", query="?limit=1", status=200)
    call("listThreads", query="?limit=0", status=400)
    call("listMessages", id=thread, query="?order=desc&limit=2", status=200)
    call("listMessagesOlderPath", id=thread, status=200)
    run = call("listRuns", id=thread, query="?limit=1", status=200).json["data"][0]["id"]
    call("getRun", id=run, status=200)
    call("listSteps", id=run, status=200)
    last = re.findall(rb"^id: (\d+)", call("followRun", id=run, status=200).body, re.M)[-1].decode()
    call("followRun", id=run, headers={"Last-Event-ID": last}, status=204)
    call("cancelRun", id=run, status=409)
    call("decideCall", {"call_id": "call_1", "approve": True}, id=run, status=409)
    answer_id = call("listMessages", id=thread, query="?order=desc&limit=1", status=200).json["data"][0]["id"]
    for body in examples("rateAnswer"):
        call("rateAnswer", body, id=answer_id, status=200)
    call("readFeedback", status=200)
    for query in ("?format=json", "?format=json&all=true", ""):
        call("exportThread", id=thread, query=query, status=200)
    call("exportMe", status=200)
    call("listAgents", status=200)
    for query in ("", "?by=day,owner&format=csv"):
        call("readUsage", query=query, status=200)
    file = call("uploadFile", send=b"words", query=f"?thread_id={thread}", status=201).json["id"]
    call("uploadFile", send=b"\0\1", status=415)
    call("listFiles", query="?limit=1", status=200)
    call("getFile", id=file, status=200)
    content = call("readFile", id=file, status=200)
    call("readFile", id=file, headers={"Range": "bytes=1-2"}, status=206)
    call("readFile", id=file, headers={"If-None-Match": content.headers["etag"]}, status=304)
    call("readFile", id=file, headers={"Range": "bytes=9-"}, status=416)
    call("deleteFile", id=file, status=200)
    call("getFile", id=file, status=404)
    call("getAgent", id="assistant", status=200)
    response = None
    call("v1Models", status=200)
    call("v1Model", id="assistant", status=200)
    call("v1Model", id="unknown", status=404)
    for operation, path in (("v1ChatCompletion", {}), ("v1DeploymentChatCompletion", {"agent": "assistant"})):
        for body in examples(operation):
            plays()
            call(operation, body, **path, status=200)
        call(operation, {}, **path, status=400)
    for body in examples("v1CreateResponse"):
        plays()
        made = call("v1CreateResponse", body, status=200)
        response = response if body.get("background") or body.get("stream") or not body.get("store", True) else made.json["id"]
    call("v1CreateResponse", {}, status=400)
    for query in ("", "?stream=true&starting_after=2"):
        call("v1GetResponse", id=response, query=query, status=200)
    call("v1GetResponse", id=response, query="?stream=maybe", status=400)
    call("v1CancelResponse", id=response, status=200)
    call("v1ListInputItems", id=response, query="?limit=1&order=asc", status=200)
    call("v1DeleteResponse", id=response, status=200)
    call("v1DeleteResponse", id=response, status=404)
    for body in examples("v1CreateConversation"):
        conversation = call("v1CreateConversation", body, status=200).json["id"]
    for body in examples("v1UpdateConversation"):
        call("v1UpdateConversation", body, id=conversation, status=200)
    for body in examples("v1AddItems"):
        item = call("v1AddItems", body, id=conversation, status=200).json["last_id"]
    call("v1AddItems", {"items": []}, id=conversation, status=400)
    call("v1GetConversation", id=conversation, status=200)
    call("v1ListItems", id=conversation, query="?limit=1", status=200)
    call("v1GetItem", id=conversation, item=item, status=200)
    call("v1DeleteItem", id=conversation, item=item, status=200)
    call("v1DeleteItem", id=conversation, item=item, status=404)
    assert call("getThread", id=f"thread_{conversation[5:]}", status=200).json["deleted_messages"] == 1
    assert call("listMessages", id=f"thread_{conversation[5:]}", status=200).json["data"][-1]["deleted"]
    call("v1DeleteConversation", id=conversation, status=200)
    call("v1GetConversation", id=conversation, status=404)
    for body in examples("mcp"):
        plays()
        call("mcp", body, status=200)
    call("mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, status=202)
    call("mcp", {}, status=400)
    for body in examples("uiChat"):
        plays()
        call("uiChat", body, status=200)
    call("uiChat", {}, status=400)
    call("uiMessages", id="order-1234", status=200)
    call("uiStream", id="order-1234", status=204)
    call("uiStream", id="thread_" + "0" * 26, status=404)
    for body in examples("aguiRun"):
        plays()
        call("aguiRun", body, agent="assistant", status=200)
    call("aguiRun", {}, agent="assistant", status=400)
    body = next(examples("aguiRun"))
    call("aguiRun", body, agent="unknown", status=404)
    call("aguiRun", {**body, "messages": [{"id": "u2", "role": "user", "content": "x"}]}, agent="assistant", status=409)
    call("aguiCapabilities", agent="assistant", status=200)
    call("aguiCapabilities", agent="unknown", status=404)
    for body in examples("createAgent"):
        made = call("createAgent", body, status=201)
    call("createAgent", made.json, status=409)
    for body in examples("putAgent"):
        call("putAgent", body, id="poet", headers={"If-Match": made.headers["etag"]}, status=200)
        call("putAgent", body, id="other", status=201)
        call("putAgent", body, id="assistant", status=409)
    call("deleteAgent", id="poet", headers={"If-Match": '"old"'}, status=412)
    call("deleteAgent", id="poet", status=204)
    call("listAgentThreads", id="assistant", status=200)
    call("getAgentThread", id="assistant", tid=thread, status=200)
    call("deleteThread", id=thread, status=200)
    call("restoreThread", id=thread, status=200)
    call("deleteAgentThread", id="assistant", tid=thread, query="?hard_delete=true", status=200)
    for operation in ("getMe", "health", "ready", "selftestStream", "openapiJson", "openapiYaml", "docs", "readMetrics",
                      "showConfiguration", "showConfigurationOlder"):
        call(operation, status=200)
    call("docsFile", file="page.css", status=200)
    for body in examples("forgetMe"):
        call("forgetMe", body, status=(200, 202))
    for operation in ("getThread", "restoreThread", "listMessages", "listRuns", "deleteThread"):
        call(operation, id=thread, status=404)
    missing = set(OPERATIONS) - {operation for operation, status in contract.seen if status < 400} - WAITS_FOR_A_RUN - REFUSED
    assert not missing, f"never seen to succeed: {missing}"
    wanted = {(operation, name) for operation, (_, _, described, _) in OPERATIONS.items()
              for name in resolve(described.get("requestBody", {})).get("content", {}).get("application/json", {}).get("examples", {})}
    assert wanted - {(operation, name) for operation, name in wanted if operation in WAITS_FOR_A_RUN} == sent


# What only a run that is under way can show: below.
WAITS_FOR_A_RUN = {"cancelRun", "decideCall"}
REFUSED = {"v1DeleteItem"}          # always


def test_a_run_that_is_under_way(contract, model):
    gate = Gate()

    def script(_request):
        yield head()
        yield token("It is")
        yield gate

    model.play(script)
    thread = contract.call("createThread", status=201).json["id"]
    stream = contract.client.stream(f"/threads/{thread}/messages", {"content": "Hello", "stream": True}, headers=WORD)
    stream.until("token")
    run = contract.call("listRuns", id=thread, status=200).json["data"][0]["id"]
    contract.call("sendMessage", {"content": "Again"}, id=thread, status=409)
    contract.call("deleteThread", id=thread, query="?hard_delete=true")
    contract.call("cancelRun", id=run, status=202)
    stream.rest()
    contract.check("sendMessage", OPERATIONS["sendMessage"][2], Response(stream.status, stream.headers, stream.raw))


def test_a_call_that_waits(model, make_server):
    contract = Contract(make_server(CAREFUL))
    model.play(calls(("work_out", {"expression": "1+1"})), answer("Two."))
    stream = contract.client.stream("/agents/careful/chat", {"message": "1+1?"}, headers=WORD)
    event = stream.next()
    while not event.json.get("approval_required"):
        event = stream.next()
    run = contract.client.get("/threads", headers=WORD).json["data"][0]["id"]
    run = contract.call("listRuns", id=run, status=200).json["data"][0]["id"]
    contract.call("listSteps", id=run, status=200)
    contract.call("decideCall", {"call_id": event.json["call_id"], "approve": True}, id=run, status=202)
    stream.rest()
    contract.check("talkToAgent", OPERATIONS["talkToAgent"][2], Response(stream.status, stream.headers, stream.raw))
    contract.call("listSteps", id=run, status=200)


@pytest.mark.parametrize("operation", sorted(name for name, (_, _, described, _) in OPERATIONS.items()
                                             if "application/json" in resolve(described.get("requestBody", {})).get("content", {})))
def test_requests_against_the_schema_are_refused(contract, operation):
    body = next(iter(resolve(OPERATIONS[operation][2]["requestBody"])["content"]["application/json"]["examples"].values()))["value"]
    schema = resolve(resolve(OPERATIONS[operation][2]["requestBody"])["content"]["application/json"]["schema"])
    thread = contract.call("createThread", status=201).json["id"]
    route = OPERATIONS[operation][1]
    named = "assistant" if "/agents/" in route else f"conv_{thread[7:]}" if "/conversations/" in route else thread
    path = {"id": named, "agent": "assistant"}
    further = [] if operation.startswith(("v1", "ui", "agui", "mcp")) else [{**body, "surprise": 1}]
    for wrong in (*further, [], 7, *({k: v for k, v in body.items() if k != name} for name in schema.get("required", []))):
        assert list(validator(schema).iter_errors(wrong)), wrong
        assert contract.call(operation, wrong, **path).status in (400, 409), (operation, wrong)
    contract.call(operation, send=b"{", headers={"Content-Type": "application/json"}, **path)


def test_limits_and_signing_in_are_as_described(contract, make_server):
    limited = Contract(make_server('<Location "/api">\nAgentChatLimit requests=2/min\n</Location>\n'))
    for operation, status in (("listAgents", 200), ("listThreads", 200), ("listAgents", 429), ("sendMessage", 429)):
        reply = limited.call(operation, {"content": "x"} if operation == "sendMessage" else None, id="thread_" + "0" * 26, status=status)
        assert str(status) in OPERATIONS[operation][2]["responses"]
        assert reply.headers["ratelimit"] and reply.headers["ratelimit-policy"]
        assert status == 200 or int(reply.headers["retry-after"]) >= 1
    contract.call("listThreads", headers={"Authorization": "Basic bm9ib2R5OndoeQ=="}, status=401)
    contract.server.expect_log("AH01618")


def test_model_outage_is_as_described(contract, model):
    model.play(Reply(400, b"{}"))
    reply = contract.call("talkToAgent", {"message": "x", "stream": False}, id="assistant", status=502)
    assert "502" in OPERATIONS["talkToAgent"][2]["responses"], reply
    model.play(Reply(400, b"{}"))
    events = contract.call("talkToAgent", {"message": "x"}, id="assistant").body.decode()
    assert json.loads(events.strip().rpartition("data:")[2])["code"] == "model_error"
    contract.server.expect_log("AC0502", "AC0503")


@pytest.mark.parametrize("name, media", [("openapiJson", "application/json"), ("openapiYaml", "application/yaml")])
def test_the_document_is_served(client, name, media):
    reply = client.get("/openapi.json" if name == "openapiJson" else "/openapi.yaml")
    assert reply.headers["content-type"] == media
    assert (json.loads if name == "openapiJson" else yaml.safe_load)(reply.body) == DOCUMENT


def test_the_page_lists_every_route_or_is_swagger_ui(client, make_server):
    plain = client.get("/docs")
    assert all(path in plain.body.decode() for path in DOCUMENT["paths"])
    assert "script-src 'self'" in plain.headers["content-security-policy"]
    assert client.get("/docs/swagger-ui.css").status == client.get("/docs/page.js").status == 404
    folder = make_server(start=False).root / "swagger"      # readable by the server's user, unlike pytest's own directories
    folder.mkdir()
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "secret"):
        (folder / name).write_text(name)
    client = make_server(f'<Location "/api">\nAgentChatDocs {folder}\n</Location>\n').client
    page = client.get("/docs").body.decode()
    for name in re.findall(r'(?:src|href)="(docs/[^"]+)"', page):
        assert client.get("/" + name).status == 200, name
    assert "//" not in re.sub(r"<!.*?>", "", page), "something comes from another host"
    assert client.get("/docs/secret").status == client.get("/docs/..%2fsecret").status == 404


def test_redocly_reports_nothing():
    done = subprocess.run([peers.node_program(), str(peers.install() / "@redocly/cli/bin/cli.js"), "lint", "--extends", "recommended",
                           "--format", "json", str(TOP / "docs/openapi.yaml")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    totals = json.loads(done.stdout[done.stdout.index("{"):])["totals"]
    assert totals == {"errors": 0, "warnings": 0, "ignored": 0}
