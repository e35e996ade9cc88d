# SPDX-License-Identifier: Apache-2.0
"""Words of clients, models and tools stay words: in event streams of every form, in the log, in the fields of an answer. Secrets are in
none of them, however much is logged."""
import base64
import json
import re
from urllib.parse import quote, unquote

import pytest

from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import DONE, Reply, answer, calls, finish, head, tool_call, usage
from server import MOUNT

# Line ends of all readers, and escape sequences of terminals.
NUL = "\x00"            # no text of ours has one; a model's are left out
HOSTILE = "a\n\ndata: {\"type\":\"done\"}\n\nb\revent: done\r\r\nid: 999\r\n\r\n: " \
          "c\u2028d\u2029e\x0bf\x0cg\x85h\x1b[2Ji\x00j\ufeffk</script>"
WORDS = HOSTILE.replace(NUL, "")
LINE = re.compile(rb"\[[^\]]+\] \[[\w-]*:\w+\] \[pid \d+(:tid \d+)?\] [\x20-\x7e]*")
FIELD = re.compile(r"(id: \d+|event: (done|error)|retry: \d+|data: \{.*\}|:.*|)")


def events_of(raw):
    """The data of a stream, read with the strictest of all readers; an unknown field fails."""
    text, found = raw.decode(), []
    assert "\r" not in text and "\x00" not in text
    for line in text.split("\n"):
        assert FIELD.fullmatch(line), line
        if line.startswith("data: "):
            found.append(json.loads(line[6:]))
    return found


def lines_are_lines(server):
    raw = (server.root / "logs/error.log").read_bytes()
    odd = [line for line in raw.split(b"\n") if line and not LINE.fullmatch(line)]
    assert not odd, odd[:3]
    return raw


def strings(value):
    if isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


def hostile_script(request):
    """Calls an unknown tool and one with wrong arguments, then answers with all of it."""
    yield head()
    if request.last["role"] == "user":
        yield tool_call(0, HOSTILE[:60], HOSTILE[:40], json.dumps({"x": WORDS}))
        yield tool_call(1, "call_2", "calculate", json.dumps({"expression": WORDS}))
        yield finish("tool_calls")
    else:
        yield from answer(HOSTILE)(request)
        return
    yield usage()
    yield DONE


@pytest.mark.parametrize("path, body", [
    ("/agents/assistant/chat", {"message": WORDS}), ("/chat", {"message": "x"}), ("/agent/stream", {"message": "x"})])
def test_no_text_ends_an_event(make_server, model, path, body):
    server = make_server()
    model.default = hostile_script
    stream = server.client.stream(path, body)
    events = events_of(stream.body())
    said = "".join(e.get("content", e.get("text", "")) for e in events if e.get("type") != "metadata")
    assert said == WORDS
    if path.startswith("/agents"):
        assert events[-1]["type"] == "done" and len([e for e in events if e["type"] == "trace_end"]) == 2
        assert any(e["type"] == "trace_end" and WORDS in strings(e["arguments"]) for e in events), events
        # The same events once more, from the log and from what is stored.
        run = events[0]["run_id"]
        again = events_of(server.client.stream(f"/runs/{run}/events", method="GET").body())
        assert [e for e in again if e["type"] == "token"] == [e for e in events if e["type"] == "token"]
        assert server.client.messages(events[0]["thread_id"])[-1]["content"] == WORDS
    lines_are_lines(server)


def test_titles_and_metadata_are_text(client):
    text = WORDS.replace("\n", " ").replace("\r", " ")
    response = client.post("/threads", {"metadata": {"k": WORDS}})
    assert response.status == 201 and response.json["metadata"]["k"] == WORDS
    assert client.post("/threads", {"title": HOSTILE}).status == 400       # a NUL; line ends are no part of a title
    assert client.post("/threads", {"title": text}).status in (201, 400)


def test_no_text_makes_a_line_of_the_log(make_server, model):
    server = make_server()
    server.expect_log(r"AC\d{4}: ")
    client, long = server.client, "x" * 10000
    wanted = {"error": {"message": HOSTILE + long, "type": HOSTILE, "code": HOSTILE}}
    for status in (400, 401, 404, 500):
        model.play(*[Reply(status, wanted, {"X-Request-Id": "up\x7fstream"})] * 4)
        response = client.send(client.thread(), "x")
        assert response.status >= 400
        assert not re.search(r"[\x00-\x1f\x7f]", response.json["detail"])
        model.reset()
    for header in ("X-Request-Id", "Idempotency-Key", "Last-Event-ID", "If-Match", "Accept", "User-Agent", "Origin"):
        for text in ("a\x1b[31mb", "\x9b2J", "x" * 8000, '" - "', "\\n"):
            client.get("/threads/" + "x" * 3000, headers={header: text})
    for path in ("%0a[fake]%20line", "%1b%5b31m", "%0d%0aX-Injected:%20yes", "%e2%80%a8", "x" * 7000):         # longer than any file's name
        for pattern in ("/threads/{}", "/agents/{}", "/runs/{}/events", "/{}"):
            response = client.get(pattern.format(path))
            assert response.status in (400, 404) and "x-injected" not in response.headers
        assert client.post(f"/agents/{path}/chat", {"message": "x"}).status in (400, 404)
    raw = lines_are_lines(server)
    assert b"fake] line" not in re.sub(rb"\\n\[fake\] line", b"", raw) and max(map(len, raw.split(b"\n"))) < 12000


SECRETS = {"MODEL_KEY": "sk-secret-of-the-model-0123456789", "TOOL_KEY": "secret-of-the-tool-9876543210"}
KEYED = """
<AgentChatModel keyed>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=m
    AgentChatCredential env:MODEL_KEY
    AgentChatRetries 0
    AgentChatBreaker off
</AgentChatModel>
<AgentChatTool lookup>
    AgentChatToolURL {url}/lookup method=POST
    AgentChatToolDescription "Looks something up"
    AgentChatToolParameters {{"type":"object","properties":{{}}}}
    AgentChatToolHeader Authorization "Bearer %{{secret}}" secret=env:TOOL_KEY
    AgentChatToolAllowPrivate on
</AgentChatTool>
<AgentChatAgent assistant>
    AgentChatModel keyed
    AgentChatTools lookup
</AgentChatAgent>
"""


def test_no_secret_comes_out(make_server, model):
    """At the loudest log level, with a model and a tool that echo the secrets everywhere."""
    server = make_server(start=False, standard=False, modules=MODULES, env=SECRETS)
    keys = KeyFile(server.root / "keys")
    key = keys.make("ann-1", "owner=ann")
    server.write(KEYED.format(url=model.url) + MOUNT + MOUNT_WITH_KEYS.format(path=keys.path))
    server.conf.write_text(server.conf.read_text().replace("LogLevel warn agentchat:debug", "LogLevel warn agentchat:trace8"))
    server.start()
    server.expect_log(r"AC\d{4}: ")
    server.client.prefix, said, shown = "/keys", [], []

    def script(request):
        shown.append(request.headers.get("authorization", ""))
        if request.path.endswith("/lookup"):
            yield Reply(403, {"error": f"no entry for {request.headers['authorization']}"})
        elif request.last["role"] == "user":
            yield from calls(("lookup", {}))(request)
        else:
            yield from answer("done")(request)

    model.default = script
    said.append(server.client.stream("/agents/assistant/chat", {"message": "x"}, headers=bearer(key)).body())
    assert f"Bearer {SECRETS['MODEL_KEY']}" in shown and f"Bearer {SECRETS['TOOL_KEY']}" in shown
    for status in (400, 401, 403, 429, 500):
        model.play(Reply(status, {"error": {"message": f"the key {SECRETS['MODEL_KEY']} is not valid"}}))
        said.append(server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}, headers=bearer(key)).body)
    for path in ("/ready", "/health", "/agents", "/agents/assistant", "/threads", "/nothing", "/openapi.json"):
        said.append(server.client.get(path, headers=bearer(key)).body)
    said.append(lines_are_lines(server))
    said.append((server.root / "logs/access.log").read_bytes())
    everything = b"".join(said)
    assert len(said[-2]) > 5000                 # there is something to look through
    for secret in (*SECRETS.values(), key, key.split("_")[2]):
        assert secret.encode() not in everything


FORMS = [lambda secret: Reply(200, json.dumps({"you": f"Bearer {secret}", secret: [secret]}).replace("secret", "\\u0073ecret").encode()),
         lambda secret: Reply(200, {"form": quote(secret, safe=""), "basic": base64.b64encode(f"you:{secret}!".encode()).decode()}),
         lambda secret: Reply(200, f'"secret" is \\u0073{secret[1:]}'.encode(), {"Content-Type": "text/plain"}),
         lambda secret: Reply(200, "x", {"Content-Type": f"image/{secret}"}),
         lambda secret: Reply(400, f'{{"why":"\\u0073{secret[1:]}"}}'.encode(), {"Content-Type": "application/json"})]


@pytest.mark.parametrize("form", FORMS, ids=["json", "encoded", "text", "type", "error"])
def test_no_secret_of_a_tool_comes_out_in_another_form(make_server, model, form):
    """The service repeats it escaped, encoded, as a name and as its media type: neither the model nor the client can read it."""
    secret = "secret/of the-tool+9876543210"
    server = make_server(start=False, standard=False, env={**SECRETS, "TOOL_KEY": secret})
    server.write(KEYED.format(url=model.url) + MOUNT)
    server.start()
    sent = []

    def script(request):
        if request.path.endswith("/lookup"):
            sent.append(request.headers["authorization"])
            yield form(secret)
        elif request.last["role"] == "user":
            yield from calls(("lookup", {}))(request)
        else:
            yield from answer("done")(request)

    model.default = script
    shown = server.client.stream("/agents/assistant/chat", {"message": "x"}).body().decode()
    read = model.requests[-1].last["content"]
    assert sent == [f"Bearer {secret}"] and "***" in read
    for text in (shown, read, server.log()):
        plain = unquote(re.sub(r"\\+u0073", "s", text)).replace("\\", "")
        assert secret not in plain and base64.b64encode(secret[2:-3].encode()).decode() not in plain
        assert "9876543210" not in plain


MASKED = """
AgentChatStateDir "{state}"
AgentChatShared redis:127.0.0.1:1 user=chat password=env:REDIS_WORD on-error=open
<AgentChatModel keyed>
    AgentChatProvider openai
    AgentChatEndpoint https://models.example/v1 model=m
    AgentChatCredential env:MODEL_KEY
    AgentChatPrice input=1.5 output=2 currency=EUR
    AgentChatModelParameter extra {{"api_key":"inline-secret-1","user":"chat"}}
    AgentChatModelParameter data_sources [{{"type":"search","parameters":{{"authentication":{{"key":"inline-secret-6"}},"top":[1]}}}}]
    AgentChatBreaker failures=40% open=1500ms
</AgentChatModel>
<AgentChatTool lookup>
    AgentChatToolURL "https://tools.example/find?code=inline-secret-2&q={{q}}&inline-secret-3" method=POST
    AgentChatToolDescription "Looks something up"
    AgentChatToolParameters {{"type":"object","properties":{{"q":{{"type":"string"}}}}}}
    AgentChatToolHeader Authorization "Bearer %{{secret}}" secret=env:TOOL_KEY
    AgentChatToolHeader X-Other "inline-secret-4"
    AgentChatToolBody {{"token":"inline-secret-5","q":"{{q}}"}}
</AgentChatTool>
<AgentChatAgent assistant>
    AgentChatModel keyed
    AgentChatTools lookup
    AgentChatInstructions "Be kind."
</AgentChatAgent>
<Location "/keys">
    SetHandler agentchat
    AuthType AgentChat
    AgentChatKeys "{keys}"
    Require valid-user
    AgentChatLimit requests=60/min cost=2.50/day
    AgentChatOnDisconnect cancel-after=90s
</Location>
"""


def test_the_configuration_is_shown_without_its_secrets(make_server):
    env = {**SECRETS, "REDIS_WORD": "secret-of-redis"}
    server = make_server(start=False, standard=False, modules=MODULES, env=env)
    server.expect_log(r"AC\d{4}: ")             # there is no Redis
    keys = KeyFile(server.root / "keys")
    admin, other = keys.make("root-1", "owner=root", "roles=admin"), keys.make("ann-1", "owner=ann")
    server.write(MASKED.format(state=server.root / "state", keys=keys.path))
    server.start()
    server.client.prefix = "/keys"
    assert server.client.get("/debug/config", headers=bearer(other)).status == 403
    response = server.client.get("/debug/config", headers=bearer(admin))
    assert response.status == 200 and server.client.get("/debug/env", headers=bearer(admin)).json == response.json
    assert not re.search(rb"inline-secret", response.body)
    for secret in (*env.values(), admin, other):
        assert secret.encode() not in response.body
    shown = response.json
    model, tool, mount = shown["models"]["keyed"], shown["tools"]["lookup"], shown["mount"]
    assert model["AgentChatCredential"] == "env:MODEL_KEY" and model["AgentChatEndpoint"] == {"value": "https://models.example/v1",
                                                                                              "model": "m"}
    assert model["AgentChatPrice"] == {"input": 1.5, "cached": 1.5, "output": 2, "currency": "EUR"}
    assert model["AgentChatBreaker"]["failures"] == "40%" and model["AgentChatBreaker"]["open"] == "1500ms"
    assert model["AgentChatModelParameter"] == {
        "extra": {"api_key": "***", "user": "chat"},
        "data_sources": [{"type": "search", "parameters": {"authentication": {"key": "***"}, "top": [1]}}]}
    assert tool["AgentChatToolURL"] == {"value": "https://tools.example/find?code=***&q={q}&***", "method": "POST",
                                        "insecure": False}
    assert tool["AgentChatToolHeader"] == {"Authorization": "env:TOOL_KEY", "X-Other": "***"} and tool["AgentChatToolBody"] == "***"
    assert shown["server"]["AgentChatShared"]["password"] == "env:REDIS_WORD" and shown["server"]["AgentChatMaxRuns"] == 10000
    assert shown["agents"]["assistant"]["AgentChatTools"] == ["lookup"] and shown["agents"]["assistant"]["AgentChatTemperature"] is None
    assert mount["AgentChatLimit"] == ["requests=60/min by=owner", "cost=2.5/day by=owner", "runs=1000 by=owner"]
    assert mount["AgentChatOnDisconnect"] == "cancel-after=90s" and mount["AgentChatAnonymous"] is False
