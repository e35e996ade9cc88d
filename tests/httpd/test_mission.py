# SPDX-License-Identifier: Apache-2.0
"""The four conversations that the module was made for, with the scripted model and with the demonstration model; the
weather and the HTTP tool answer from a scripted service."""
import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from model_server import answer, calls
from server import MODEL, MOUNT, TOP

PLACES = {"Tokyo": (35.6895, 139.69171, "Japan", "Asia/Tokyo"), "Paris": (48.85341, 2.3488, "France", "Europe/Paris"),
          "Seattle": (47.60621, -122.33207, "United States", "America/Los_Angeles")}


class Service(BaseHTTPRequestHandler):
    seen = []

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        Service.seen.append((url.path, query, dict(self.headers)))
        if url.path == "/search":
            place = PLACES.get(query["name"])
            body = {"results": [{"name": query["name"], "latitude": place[0], "longitude": place[1], "country": place[2],
                                 "timezone": place[3]}]} if place else {}
        elif url.path == "/forecast":
            body = {"timezone": "UTC", "current": {
                "time": "2026-11-21T12:00", "temperature_2m": 17.5, "apparent_temperature": 16.0, "relative_humidity_2m": 60,
                "wind_speed_10m": 9.4, "wind_direction_10m": 220, "precipitation": 0.0, "weather_code": 3, "is_day": 1},
                "daily": {"time": ["2026-11-21"], "temperature_2m_min": [11], "temperature_2m_max": [19],
                          "precipitation_probability_max": [5], "weather_code": [3]}}
        elif url.path == "/quote":
            body = {"symbol": query["s"], "price": 12.5}
        else:
            body = None
        text = json.dumps(body).encode()
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


DEMO = """
<AgentChatModel demonstration>
    AgentChatProvider demo
    AgentChatEndpoint demo pace=1
</AgentChatModel>
"""

REST = """
<AgentChatTool get_weather>
    AgentChatToolOption geocoding {service}
    AgentChatToolOption forecast {service}
</AgentChatTool>
<AgentChatTool search_knowledge_base>
    AgentChatToolOption path "{root}/knowledge"
</AgentChatTool>
<AgentChatTool get_stock_price>
    AgentChatToolURL {service}/quote?s={{symbol}}
    AgentChatToolDescription "The price of a share"
    AgentChatToolParameters '{{"type": "object", "properties": {{"symbol": {{"type": "string"}}}}, "required": ["symbol"]}}'
    AgentChatToolHeader X-Key "Bearer %{{secret}}" secret=env:STOCK_KEY
    AgentChatToolAllowPrivate on
</AgentChatTool>
<AgentChatTool forbidden>
    AgentChatToolURL {by_name}/quote?s={{symbol}}
    AgentChatToolDescription "The same, and not allowed to reach this machine"
    AgentChatToolParameters '{{"type": "object", "properties": {{"symbol": {{"type": "string"}}}}}}'
</AgentChatTool>
<AgentChatAgent support-triage>
    AgentChatModel {model}
    AgentChatTools get_weather calculate search_knowledge_base
</AgentChatAgent>
<AgentChatAgent ops-assistant azure-ops>
    AgentChatModel {model}
    AgentChatTools calculate get_stock_price forbidden
</AgentChatAgent>
AgentChatDefaultAgent support-triage
"""


@pytest.fixture(params=["scripted", "demonstration"])
def world(request, make_server, model, service):
    server = make_server(standard=False, start=False, env={"STOCK_KEY": "stock-secret"})
    shutil.copytree(TOP / "conf/sample/knowledge", server.root / "knowledge")
    by_name = service.replace("127.0.0.1", socket.gethostname())
    rest = REST.format(service=service, by_name=by_name, root=server.root, model=request.param)
    server.write(MODEL.format(url=model.url) + DEMO + rest + MOUNT)
    server.start()
    Service.seen.clear()
    return request.param, server, model


def say(server, text, agent="support-triage"):
    response = server.client.post(f"/agents/{agent}/chat", {"message": text, "stream": False})
    assert response.status == 200, response
    message = response.json
    assert message["content"]
    return message


def test_one_tool(world):
    kind, server, model = world
    model.play(calls(("get_weather", {"location": "Tokyo"})), answer("It is 17.5 degrees in Tokyo."))
    (call,) = say(server, "What's the weather in Tokyo?")["tool_calls"]
    assert call["tool"] == "get_weather" and call["arguments"]["location"] == "Tokyo" and call["error"] is None
    assert call["result"]["current"]["temperature"] == 17.5 and call["result"]["location"]["country"] == "Japan"


def test_two_tools_in_one_round(world):
    kind, server, model = world
    model.play(calls(("get_weather", {"location": "Paris"}), ("calculate", {"expression": "75 * 0.18"})), answer("Both."))
    message = say(server, "What's the weather in Paris and what's 18% tip on €75?")
    by_tool = {call["tool"]: call for call in message["tool_calls"]}
    assert set(by_tool) == {"get_weather", "calculate"}
    assert by_tool["calculate"]["result"]["result"] == 13.5
    assert by_tool["get_weather"]["result"]["location"]["name"] == "Paris"
    assert server.client.get("/runs/" + message["run_id"]).json["rounds"] == 2


def test_a_tool_that_the_user_names(world):
    kind, server, model = world
    model.play(calls(("get_weather", {"location": "Seattle"}), ("calculate", {"expression": "85 * 15 / 100"})),
               answer("In Seattle it is 17.5 degrees, and the tip is 12.75."))
    message = say(server, "What's the weather in Seattle and calculate 15% tip on $85?")
    by_tool = {call["tool"]: call for call in message["tool_calls"]}
    assert set(by_tool) == {"get_weather", "calculate"}
    assert by_tool["calculate"]["result"]["result"] == 12.75
    assert by_tool["get_weather"]["result"]["location"]["name"] == "Seattle"
    assert all(word in message["content"] for word in ("Seattle", "17.5", "12.75"))


def test_no_tool(world):
    kind, server, model = world
    model.play(answer("A joke."))
    assert say(server, "Tell me a joke")["tool_calls"] is None


def test_the_knowledge_base(world):
    kind, server, model = world
    model.play(calls(("search_knowledge_base", {"query": "order"})), answer("Look at your e-mail."))
    (call,) = say(server, "I need help with my order")["tool_calls"]
    assert call["tool"] == "search_knowledge_base" and isinstance(call["result"], dict)
    assert any("order" in hit["title"].lower() for hit in call["result"]["results"])
    assert all(set(hit) >= {"title", "snippet", "document"} for hit in call["result"]["results"])


def test_the_conversation_continues(world):
    kind, server, model = world
    first = say(server, "Tell me a joke")
    response = server.client.post("/agents/support-triage/chat", {"message": "What did I ask before?", "stream": False,
                                                                 "thread_id": first["thread_id"]})
    assert response.json["seq"] == 4
    if kind == "demonstration":
        assert "Tell me a joke" in response.json["content"]
    else:
        assert "Tell me a joke" in json.dumps(model.requests[-1].messages)


def test_the_demonstration_model_introduces_itself(world):
    kind, server, model = world
    if kind == "demonstration":
        first = say(server, "Who are you?")
        assert "demonstration model" in first["content"]
        response = server.client.post("/agents/support-triage/chat", {"message": "What is 3 plus 4?", "stream": False,
                                                                     "thread_id": first["thread_id"]})
        assert response.json["content"] == "3 + 4 = 7. "


def test_the_http_tool(world):
    kind, server, model = world
    if kind != "scripted":
        return
    model.play(calls(("get_stock_price", {"symbol": "A&B/../x"}), ("forbidden", {"symbol": "X"})), answer("12.5"))
    allowed, refused = say(server, "price?", "azure-ops")["tool_calls"]
    assert allowed["error"] is None and allowed["result"] == {"symbol": "A&B/../x", "price": 12.5}
    # Found to be this machine only after its name was looked up; where the name is not known, it could not be reached either.
    assert refused["result"] is None and ("private" in refused["error"] or "not found" in refused["error"])
    ((path, query, headers),) = [seen for seen in Service.seen if seen[0] == "/quote"]
    assert headers["X-Key"] == "Bearer stock-secret"
    assert "stock-secret" not in json.dumps(server.client.get("/agents").json) + server.log()


def test_a_changed_document_is_found(world):
    kind, server, model = world
    if kind != "scripted":
        return
    (server.root / "knowledge/new.md").write_text("# Gift wrapping\n\nWe wrap your xylophones in paper.\n")
    end, titles = time.monotonic() + 15, []
    while not titles:                       # the folder is looked at every two seconds at most
        assert time.monotonic() < end, "the new document is not found"
        model.play(calls(("search_knowledge_base", {"query": "xylophones"})), answer("Yes."))
        (call,) = say(server, "wrap?")["tool_calls"]
        titles = [hit["title"] for hit in call["result"]["results"]]
    assert titles == ["Gift wrapping"]
