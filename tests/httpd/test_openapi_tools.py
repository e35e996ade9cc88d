# SPDX-License-Identifier: Apache-2.0
"""Operations of OpenAPI documents as tools: excerpts of the documents of well-known services, whose scripted service checks
each request with the document itself."""
import json
import re

import pytest

import manual
from model_server import Reply, answer, calls
from openapi_service import OpenApiService, excerpt, sample
from server import TOP

SECTION = """
<AgentChatOpenAPI shop>
    AgentChatToolsFrom           openapi:{path}
    AgentChatOpenAPIOperations   "* *"
    AgentChatOpenAPIAllowPrivate on
    AgentChatOpenAPIApproval     none
    {more}
</AgentChatOpenAPI>
<AgentChatAgent clerk>
    AgentChatModel scripted
    AgentChatTools openapi:shop
</AgentChatAgent>
"""
KEY = "AgentChatOpenAPICredential {scheme} env:SERVICE_KEY"
ENV = {"SERVICE_KEY": "zebra-key-12345"}
# name, tools, left out, security scheme (None: the document has none), where the key comes
SERVICES = [
    ("github", 6, 0, "*", "bearer"),
    ("petstore", 7, 1, "petstore_auth", "bearer"),
    ("twilio", 3, 0, "accountSid_authToken", "basic"),
    ("adyen", 4, 0, "ApiKeyAuth", "x-api-key"),
    ("openai", 5, 0, "ApiKeyAuth", "bearer"),
    ("box", 5, 0, "OAuth2Security", "bearer"),
    ("figma", 4, 0, "PersonalAccessToken", "x-figma-token"),
    ("discord", 4, 0, "BotToken", "authorization"),
    ("qdrant", 4, 0, "api-key", "api-key"),
    ("xero", 4, 0, "OAuth2", "bearer"),
]


@pytest.fixture
def make_service(services):
    def make(document):
        services.append(OpenApiService(document))
        return services[-1]
    return make


def start(make_server, service, tmp_path, more="", **options):
    return make_server(SECTION.format(path=service.file(tmp_path), more=more), env=ENV, **options)


def offered(model):
    return {entry["function"]["name"]: entry["function"] for entry in model.requests[-1].json.get("tools", [])}


def turn(server, model, *script):
    model.play(*script)
    return server.client.stream("/agents/clerk/chat", {"message": "go"}).rest()


def results(model):
    found = [json.loads(message["content"]) for message in model.requests[-1].messages if message["role"] == "tool"]
    return [one.get("result", one) for one in found]


def call_one(server, model, name, arguments):
    """A call's result as the model reads it."""
    turn(server, model, calls((name, arguments)), answer("done"))
    return results(model)[-1]


def texts(values):
    return sorted(json.dumps(value) for value in values.values())


def plain(name):
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")


@pytest.mark.parametrize("name, n_tools, n_left_out, scheme, place", SERVICES, ids=[row[0] for row in SERVICES])
def test_each_operation_is_called_as_its_document_says(make_server, make_service, model, tmp_path, name, n_tools, n_left_out,
                                                       scheme, place):
    service = make_service(excerpt(name))
    server = start(make_server, service, tmp_path, KEY.format(scheme=scheme))
    server.expect_log("AC0422: .*api_key")
    ok, text = server.configtest()
    assert ok and f"{n_tools} tools of {n_tools + n_left_out} operations, {n_left_out} left out" in text
    turn(server, model, answer("hello"))
    tools = offered(model)
    assert len(tools) == n_tools
    for tool, function in tools.items():
        assert re.fullmatch(r"shop_[A-Za-z0-9_-]{1,60}", tool) and len(json.dumps(function["parameters"])) < 20000
        assert '"$ref"' not in json.dumps(function)
        given = sample(function["parameters"])
        result = call_one(server, model, tool, given)
        request = service.last()
        assert not request.problems, (tool, request.problems, given)
        assert result == {"fine": request.operation}, (tool, result)
        assert plain(tool) == plain("shop_" + request.operation)
        assert texts(request.values) == texts(given), tool
        check_key(request, place)


def check_key(request, place):
    key = ENV["SERVICE_KEY"]
    if place == "bearer":
        assert request.headers["authorization"] == f"Bearer {key}"
    elif place == "basic":
        assert request.headers["authorization"].startswith("Basic ")
    else:
        assert request.headers[place] == key


# ---- a document of the tests' own ----
def own(**paths):
    operation = {"responses": {"200": {"description": "fine", "content": {"application/json": {}}}}}
    return {"openapi": "3.1.0", "info": {"title": "t", "version": "1"},
            "paths": {path: {method: operation | given for method, given in item.items()} for path, item in paths.items()}}


def parameter(name, where, schema=None, **more):
    return {"name": name, "in": where, "schema": schema or {"type": "string"}, "required": where == "path", **more}


ITEM = {"get": {"operationId": "getItem", "parameters": [parameter("id", "path"), parameter("X-Note", "header"),
                                                         parameter("mine", "cookie")]}}


@pytest.mark.parametrize("value", ["..", ".", "../../admin", "a/../b", "..\\x", "", "..;x"])
def test_an_argument_does_not_leave_its_place_in_the_path(make_server, make_service, model, tmp_path, value):
    service = make_service(own(**{"/items/{id}": ITEM}))
    server = start(make_server, service, tmp_path)
    assert "path" in call_one(server, model, "shop_getItem", {"id": value})["error"]
    assert not service.requests


def test_arguments_stay_values(make_server, make_service, model, tmp_path):
    """A slash, a percent sign, line ends: they arrive as they were given, or the call is refused."""
    service = make_service(own(**{"/items/{id}": ITEM}))
    server = start(make_server, service, tmp_path)
    call_one(server, model, "shop_getItem", {"id": "a/b%2F?x=1#y", "mine": "1; admin=1"})
    assert service.last().path == "/items/a%2Fb%252F%3Fx%3D1%23y" and service.last().query == ""
    assert service.last().headers["cookie"] == "mine=1%3B%20admin%3D1"
    error = call_one(server, model, "shop_getItem", {"id": "1", "X_Note": "x"})["error"]
    assert "X_Note" in error        # an argument that the tool does not have
    error = call_one(server, model, "shop_getItem", {"id": "1", "X-Note": "x\r\nEvil: 1"})["error"]
    assert "control characters" in error and len(service.requests) == 1


def test_what_the_configuration_gives_is_not_the_models(make_server, make_service, model, tmp_path):
    item = {"get": {"operationId": "list", "parameters": [
        parameter("tenant", "query"), parameter("key", "query"), parameter("Authorization", "header"), parameter("q", "query")]}}
    document = own(**{"/items": item}) | {"components": {"securitySchemes": {"k": {"type": "apiKey", "in": "query", "name": "key"}}},
                                          "security": [{"k": []}]}
    service = make_service(document)
    server = start(make_server, service, tmp_path, KEY.format(scheme="k") + "\nAgentChatOpenAPIParameter tenant blue\n"
                   "AgentChatOpenAPIHeader X-Version 7")
    service.answer = lambda request: None
    call_one(server, model, "shop_list", {"q": "x"})
    assert list(offered(model)["shop_list"]["parameters"]["properties"]) == ["q"]
    assert service.last().query == "tenant=blue&q=x&key=zebra-key-12345"
    assert service.last().headers["x-version"] == "7"


def test_a_secret_that_the_service_repeats_is_masked(make_server, make_service, model, tmp_path):
    document = own(**{"/me": {"get": {"operationId": "me"}}})
    service = make_service(document)
    server = start(make_server, service, tmp_path, KEY.format(scheme="*"))
    service.answer = lambda request: Reply(200, {"you sent": request.headers["authorization"]})
    assert "zebra" not in json.dumps(call_one(server, model, "shop_me", {}))


def test_redirects_stay_with_the_service(make_server, make_service, model, tmp_path):
    service, other = make_service(own(**{"/me": {"get": {"operationId": "me"}}})), make_service(own())
    server = start(make_server, service, tmp_path, KEY.format(scheme="*"))
    service.answer = lambda request: Reply(302, b"", {"Location": other.url + "/me"})
    assert "error" in call_one(server, model, "shop_me", {})
    assert not other.requests


def test_calls_that_change_something_await_approval(make_server, make_service, model, tmp_path):
    service = make_service(own(**{"/items": {"get": {"operationId": "list"}, "post": {"operationId": "add"},
                                             "delete": {"operationId": "clear"}}}))
    more = 'AgentChatOpenAPIApproval write "DELETE /items=none"'
    server = make_server(SECTION.format(path=service.file(tmp_path), more=more).replace(
        "    AgentChatOpenAPIApproval     none\n", ""))
    _, text = server.configtest()
    assert re.findall(r"tool (\w+): [^,\n]*(, with approval)?", text) == [
        ("shop_list", ""), ("shop_add", ", with approval"), ("shop_clear", "")]
    turn(server, model, calls(("shop_list", {}), ("shop_clear", {})), answer("done"))
    assert [request.operation for request in service.requests] in (["list", "clear"], ["clear", "list"])
    model.play(calls(("shop_add", {})))
    stream = server.client.stream("/agents/clerk/chat", {"message": "go"})
    while not stream.next().json.get("approval_required"):
        pass
    assert len(service.requests) == 2


# ---- a document that is fetched ----
def fetched(make_server, service, more="", **options):
    return make_server(SECTION.format(path=service.url + "/openapi.json", more=more), **options)


def serve(service):
    document = json.dumps(service.document).encode()
    service.answer = lambda request: Reply(200, document) if request.path == "/openapi.json" else None


def test_a_document_is_fetched_and_a_copy_kept(make_server, make_service, model):
    service = make_service(own(**{"/me": {"get": {"operationId": "me"}}}) | {"servers": [{"url": "./"}]})
    serve(service)
    server = fetched(make_server, service)
    ok, text = server.configtest()
    assert ok and "AC0427" in text and not service.requests     # the start needs no network
    assert call_one(server, model, "shop_me", {}) == {"fine": "me"}
    assert [request.path for request in service.requests] == ["/openapi.json", "/me"]
    copies = list((server.root / "state").glob("openapi-shop-*.doc"))
    assert len(copies) == 1 and json.loads(copies[0].read_text()) == service.document
    service.answer = lambda request: Reply(503, b"") if request.path == "/openapi.json" else None
    server.graceful()
    assert call_one(server, model, "shop_me", {}) == {"fine": "me"}


def test_configtest_says_what_the_manual_shows(make_server, tmp_path):
    page = TOP / "docs/openapi-tools.md"
    section = manual.blocks(page, "apache")[0][1].replace("AgentChatModel demo", "AgentChatModel scripted")
    said = manual.blocks(page, "text")[0][1].splitlines()
    server = make_server(section.replace("/etc/agentchat", str(TOP / "tests/openapi")), start=False, env={"PETS_KEY": "k"})
    ok, text = server.configtest()
    assert ok and len(said) == 4
    assert [line for line in said if line not in text] == [], text


def test_a_document_that_cannot_be_fetched_costs_its_tools_only(make_server, make_service, model):
    service = make_service(own())
    service.answer = lambda request: Reply(503, b"")
    server = fetched(make_server, service)
    server.expect_log("AC0424.*answered 503")
    turn(server, model, answer("hello"))
    assert not offered(model)


def test_a_fetched_document_does_not_lead_credentials_elsewhere(make_server, make_service, model):
    other = make_service(own())
    service = make_service(own(**{"/me": {"get": {"operationId": "me"}}}) | {"servers": [{"url": other.url}]})
    serve(service)
    server = fetched(make_server, service, KEY.format(scheme="*"), env=ENV)
    server.expect_log("AC0422.*another host than that of the document")
    turn(server, model, answer("hello"))
    assert not offered(model) and not other.requests
