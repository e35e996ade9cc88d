# SPDX-License-Identifier: Apache-2.0
"""The entrypoint and the configuration of the container image: each variable, each wrong value and its message, signals, logs."""
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from client import WAIT, Client
from container import DEMO, SOURCE, Container, table
from cosmos_server import KEY
from issuer import Issuer
from key_file import bearer
from model_server import DONE, Gate, answer, finish, head, token
from server import BUILD, TOP, sanitizer, user
from test_sign_in import openid_module

PAGE = (TOP / "docs/container.md").read_text()


@pytest.fixture
def container():
    container = Container()
    yield container
    container.remove()


@pytest.fixture
def keys(tmp_path):
    """(the text of a key file, a key of an admin)"""
    key = subprocess.run([BUILD / "agentchat-keys", "make", tmp_path / "keys", "admin", "owner=ann", "roles=admin"], check=True,
                         capture_output=True, text=True, env={**os.environ, **sanitizer()}).stdout.strip()
    return (tmp_path / "keys").read_text(), key


def readable(path, text):
    """A file that the container's user can read."""
    path.write_text(text)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, user().pw_gid)
    return str(path)


def messages(out):
    return [json.loads(line)["message"].removeprefix("entrypoint: ") for line in out.splitlines()]


# ---- variables ----
def test_the_manual_has_the_table():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", PAGE.split("## Variables")[1].split("\n## ")[0], re.M)
    assert [name for name, _, _ in rows] == list(table())
    # What the configuration and the entrypoint look at is in the table.
    known = set(table()) | {"SIGN_IN_KEYS", "SIGN_IN_OPENID", "SIGN_IN_ANONYMOUS", "MODEL_COMPATIBLE", "MODEL_AZURE", "MODEL_OPENAI",
                            "MODEL_DEMO", "TELEMETRY_IDENTITY"}
    configuration, script = ((SOURCE / name).read_text() for name in ("httpd.conf", "entrypoint.sh"))
    assert set(re.findall(r"<IfDefine !?(\w+)>", configuration)) <= known
    used = set(re.findall(r"[${:\"! ]((?:AGENTCHAT|AZURE_OPENAI|OPENAI|OPENID|OTEL|APPLICATIONINSIGHTS)_[A-Z_]+|PORT)\b",
                          configuration + script))
    used -= {"AGENTCHAT_", "AGENTCHAT_WWW", "AGENTCHAT_SERVICE_", "AGENTCHAT_PORT", "AGENTCHAT_PORT_"}
    assert used == set(table()) - {"AGENTCHAT_REDIS_PASSWORD"}           # which AGENTCHAT_SHARED names


WRONG = {
    "AGENTCHAT_SIGN_IN": "key", "AGENTCHAT_KEYS": "ack_first_0123", "AGENTCHAT_KEYS_FILE": "keys", "OPENID_ISSUER": "login.example.com",
    "OPENID_JWKS": "keys", "OPENID_AUDIENCE": "two words", "OPENID_SCOPE": "a b", "AGENTCHAT_MODEL_ENDPOINT": "localhost:11434",
    "AGENTCHAT_MODEL_NAME": "a\nb", "AGENTCHAT_MODEL_KEY": "k k", "AZURE_OPENAI_ENDPOINT": "x.openai.azure.com",
    "AZURE_OPENAI_DEPLOYMENT_NAME": "a b", "AZURE_OPENAI_API_KEY": "k\n", "AZURE_OPENAI_API_VERSION": "v1 v2", "OPENAI_API_KEY": "k k",
    "OPENAI_MODEL": "a b", "AGENTCHAT_DEMO": "yes", "AGENTCHAT_INSTRUCTIONS": None, "AGENTCHAT_STORE": "postgres:x",
    "AGENTCHAT_FILES": "yes", "AGENTCHAT_SHARED": "127.0.0.1:6379", "AGENTCHAT_REDIS_PASSWORD": "p p", "AGENTCHAT_EVENT_LOG": "events",
    "AGENTCHAT_DRAIN": "2 minutes", "AGENTCHAT_SERVER_NAME": "a b",
    "AGENTCHAT_CORS_ORIGIN": "app.example.com", "APPLICATIONINSIGHTS_CONNECTION_STRING": "x",
    "AGENTCHAT_TELEMETRY_IDENTITY": "yes", "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318", "AGENTCHAT_CONF_DIR": "conf", "PORT": "http"}


def test_each_wrong_value_has_its_message(container):
    assert list(WRONG) == list(table())
    wrong = {name: value for name, value in WRONG.items() if value}            # a text of instructions cannot be wrong
    status, out = container.run(wrong)
    said = messages(out)
    assert status == 2
    for name in wrong:
        assert f"{name} must be: {table()[name]}" in said
        alone = container.run({**DEMO, name: wrong[name]})
        assert alone[0] == 2 and f"{name} must be: {table()[name]}" in messages(alone[1]), name
    # A value may be a secret.
    assert not any(value in out.replace("two words", "") for value in ("ack_first", "k k", "p p"))
    assert not [line for line in said if '"' in line]


@pytest.mark.parametrize("variables, message", [
    ({}, "AGENTCHAT_SIGN_IN is not set: keys, openid or anonymous"),
    ({"AGENTCHAT_SIGN_IN": ""}, "AGENTCHAT_SIGN_IN is not set: keys, openid or anonymous"),
    ({"AGENTCHAT_SIGN_IN": "keys"}, "AGENTCHAT_SIGN_IN is keys, and neither AGENTCHAT_KEYS nor AGENTCHAT_KEYS_FILE is set"),
    ({"AGENTCHAT_SIGN_IN": "keys", "AGENTCHAT_KEYS": "id=a", "AGENTCHAT_KEYS_FILE": "/etc/passwd"},
     "AGENTCHAT_KEYS and AGENTCHAT_KEYS_FILE are set: one of them has the keys"),
    ({"AGENTCHAT_SIGN_IN": "keys", "AGENTCHAT_KEYS_FILE": "/no/such/file"},
     r"AGENTCHAT_KEYS_FILE names a file that the user \d+ cannot read"),
    ({"AGENTCHAT_SIGN_IN": "openid", "OPENID_ISSUER": "https://x", "OPENID_AUDIENCE": "x"},
     "AGENTCHAT_SIGN_IN is openid, and OPENID_JWKS is not set"),
    ({"AGENTCHAT_DEMO": "off"}, "there is no model: set AGENTCHAT_MODEL_ENDPOINT, AZURE_OPENAI_ENDPOINT, OPENAI_API_KEY, or "
                                "AGENTCHAT_DEMO=on for a demonstration without one"),
    ({"AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com"}, "AZURE_OPENAI_ENDPOINT is set, and AZURE_OPENAI_DEPLOYMENT_NAME is not"),
    ({"AGENTCHAT_TELEMETRY_IDENTITY": "on"},
     "AGENTCHAT_TELEMETRY_IDENTITY is on, and APPLICATIONINSIGHTS_CONNECTION_STRING is not set"),
    ({"AGENTCHAT_CONF_DIR": "/no/such/folder"}, "AGENTCHAT_CONF_DIR names a directory without a file *.conf"),
    ({"TMPDIR": "/proc"}, "/proc cannot be written: mount a tmpfs there"),
])
def test_what_does_not_fit_together_has_its_message(container, variables, message):
    base = {} if message.startswith("AGENTCHAT_SIGN_IN is not") else DEMO
    status, out = container.run({**base, **variables})
    assert status == 2 and any(line == message or re.fullmatch(message, line) for line in messages(out)), out
    assert container.run({**base, **variables}, "configtest")[0] == 2


def test_a_value_that_the_directive_refuses_is_an_error_of_the_start(container):
    status, out = container.run({**DEMO, "AGENTCHAT_STORE": "cosmos:https://x.documents.azure.com colour=red"})
    assert status == 1 and any("AgentChatStore" in message and "colour" in message for message in messages(out)), out
    status, out = container.run({**DEMO, "AGENTCHAT_DRAIN": "2d"}, "configtest")
    assert status == 1 and "AgentChatDrain" in out
    assert container.run(DEMO, "configtest") == (0, "Syntax OK\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_volume_of_another_user_is_an_error_of_the_start(container):
    os.chown(container.root / "state", 0, 0)
    status, out = container.run(DEMO)
    assert status == 1 and any("AgentChatStateDir" in message and "cannot" in message for message in messages(out)), out


def test_names_that_the_image_does_not_know_are_reported(container):
    container.start(**DEMO, AGENTCHAT_SING_IN="keys", AGENTCHAT_PORT="tcp://10.0.0.1:80", AGENTCHAT_PORT_80_TCP="x",
                    AGENTCHAT_SERVICE_HOST="10.0.0.1")
    said = [line["message"] for line in container.log() if "not a variable" in line.get("message", "")]
    assert len(said) == 1 and "AGENTCHAT_SING_IN is not a variable of this image" in said[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_is_refused(container):
    done = subprocess.run([container.root / "container/entrypoint.sh"], env=container.environment(DEMO), capture_output=True, text=True,
                          timeout=WAIT)
    assert done.returncode == 2 and "the image runs as a user that is not root, such as 33" in messages(done.stdout)


def test_another_program_of_the_image_runs_instead(container):
    assert container.run({}, "sh", "-c", "echo $0 $1", "a", "b") == (0, "a b\n")


# ---- what the variables do ----
INSIGHTS = "InstrumentationKey=01234567-89ab-cdef-0123-456789abcdef;IngestionEndpoint=https://127.0.0.1:1/"


def test_a_demonstration_needs_two_variables(container):
    container.start(**DEMO)
    site = Client(container.port, prefix="")
    assert container.client.stream("/agents/assistant/chat", {"message": "What is 18% tip on 75 euros?"}).rest()[-1].type == "done"
    assert site.get("/ready?check=store").json == {"status": "ready"}
    assert site.get("/chat/").status == 200 and site.get("/chat/custom.css").status == 200
    assert site.get("/").headers["location"].endswith("/chat/")
    assert site.get("/entrypoint.sh").status == 404 == site.get("/httpd.conf").status
    assert [model["id"] for model in container.client.get("/v1/models").json["data"]] == ["assistant"]
    assert container.client.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}).status != 404
    assert (container.root / "state/agentchat.db").exists()


def configuration(container, key):
    answered = container.client.get("/debug/config", headers=bearer(key))
    assert answered.status == 200, answered
    return answered.json


def test_each_variable_is_in_the_configuration(container, keys, tmp_path):
    """All that the scripted services below do not show."""
    text, key = keys
    conf = container.root / "conf"
    conf.mkdir()
    readable(conf / "more.conf", "AgentChatWorkThreads 7\n")
    container.start(
        AGENTCHAT_SIGN_IN="keys", AGENTCHAT_KEYS=text, OPENAI_API_KEY="sk-1", OPENAI_MODEL="gpt-5-mini", AGENTCHAT_DEMO="on",
        AGENTCHAT_STORE=f"sqlite:{container.root}/state/other.db readers=3", AGENTCHAT_FILES="on max=5M",
        AGENTCHAT_SHARED="redis:127.0.0.1:1 password=env:AGENTCHAT_REDIS_PASSWORD", AGENTCHAT_REDIS_PASSWORD="secret-1",
        AGENTCHAT_EVENT_LOG=f"{container.root}/state/events", AGENTCHAT_DRAIN="90s",
        AGENTCHAT_CORS_ORIGIN="https://a.example.com https://b.example.com",
        APPLICATIONINSIGHTS_CONNECTION_STRING=INSIGHTS,
        AGENTCHAT_TELEMETRY_IDENTITY="on", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", AGENTCHAT_CONF_DIR=str(conf))
    document = configuration(container, key)
    server, mount, model = document["server"], document["mount"], document["models"]["default"]
    assert model["AgentChatEndpoint"] == {"value": "https://api.openai.com/v1", "model": "gpt-5-mini"}
    assert model["AgentChatCredential"] == "env:OPENAI_API_KEY"
    assert server["AgentChatStore"]["value"].endswith("/state/other.db") and (container.root / "state/other.db").exists()
    assert server["AgentChatFiles"]["value"] == "on" and server["AgentChatFiles"]["max"] == 5 << 20
    assert server["AgentChatShared"]["value"] == "redis:127.0.0.1:1"
    assert server["AgentChatShared"]["password"] == "env:AGENTCHAT_REDIS_PASSWORD"
    assert server["AgentChatEventLog"] == f"{container.root}/state/events" and (container.root / "state/events").is_dir()
    assert server["AgentChatDrain"] == "90s" and server["AgentChatWorkThreads"] == 7
    assert mount["AgentChatCORSOrigin"] == ["https://a.example.com", "https://b.example.com"]
    urls = {(row["url"], row["credential"]) for row in server["AgentChatTelemetry"]}
    assert {("https://127.0.0.1:1/v2.1/track", "identity"), ("http://127.0.0.1:1/v1/traces", None)} <= urls
    # Without the variables there is none of it.
    container.stop()
    container.start(AGENTCHAT_SIGN_IN="keys", AGENTCHAT_KEYS=text, AGENTCHAT_DEMO="on",
                    APPLICATIONINSIGHTS_CONNECTION_STRING=INSIGHTS)
    document = configuration(container, key)
    server, mount = document["server"], document["mount"]
    assert document["models"]["default"]["AgentChatProvider"] == "demo"
    assert server["AgentChatFiles"]["value"] == "off" and not server["AgentChatShared"].get("value")
    assert {row["credential"] for row in server["AgentChatTelemetry"]} == {None} and mount["AgentChatCORSOrigin"] == []
    assert server["AgentChatStore"]["value"].endswith("/state/agentchat.db") and server["AgentChatEventLog"] != "off"


def test_keys_sign_in_from_a_variable_and_from_a_file(container, keys):
    text, key = keys
    for variables in ({"AGENTCHAT_KEYS": text}, {"AGENTCHAT_KEYS_FILE": readable(container.root / "keys", text)}):
        container.start(AGENTCHAT_SIGN_IN="keys", AGENTCHAT_DEMO="on", **variables)
        assert container.client.get("/threads").status == 401
        assert container.client.get("/threads", headers=bearer(key)).status == 200
        assert Client(container.port, prefix="").get("/ready?check=store").status == 200
        # Nothing shows the keys.
        assert not [line for line in container.lines if "sha256" in line]
        container.stop()


def test_tokens_of_an_openid_provider_sign_in(tmp_path, keys):
    issuer = Issuer(tmp_path)
    container = Container({"auth_openidc_module": openid_module()})
    try:
        conf = Path(without_threads(container))
        certificate = readable(container.root / "issuer.crt", issuer.certificate.read_text())
        readable(conf / "trust.conf", f'OIDCCABundlePath "{certificate}"\n')
        variables = {"AGENTCHAT_SIGN_IN": "openid", "AGENTCHAT_DEMO": "on", "AGENTCHAT_CONF_DIR": str(conf),
                     "OPENID_ISSUER": issuer.url, "OPENID_JWKS": issuer.url + "/keys", "OPENID_AUDIENCE": "agentchat"}
        container.start(**variables)
        assert container.client.get("/threads").status == 401
        assert container.client.get("/threads", headers=bearer(issuer.token())).status == 200
        assert container.client.get("/threads", headers=bearer(issuer.token(aud="other"))).status == 401
        stream = container.client.stream("/agents/assistant/chat", {"message": "Hello"}, headers=bearer(issuer.token()))
        assert stream.rest()[-1].type == "done"
        container.stop()
        container.start(**variables, OPENID_SCOPE="chat.write")
        assert container.client.get("/threads", headers=bearer(issuer.token())).status == 401
        admin = issuer.token(scp="chat.write", roles=["AgentChat.Admin"])
        server = configuration(container, admin)["mount"]["AgentChatMCPServer"]
        assert server["authorization-server"] == issuer.url and server["scopes"] == "chat.write"
    finally:
        container.remove()
        issuer.stop()


@pytest.mark.parametrize("variables, path, header, model_name", [
    ({"AGENTCHAT_MODEL_ENDPOINT": "{}", "AGENTCHAT_MODEL_NAME": "llama 3", "AGENTCHAT_MODEL_KEY": "key-1", "OPENAI_API_KEY": "x"},
     "/chat/completions", ("authorization", "Bearer key-1"), "llama 3"),
    ({"AGENTCHAT_MODEL_ENDPOINT": "{}"}, "/chat/completions", ("authorization", None), "default"),
    ({"AZURE_OPENAI_ENDPOINT": "{}", "AZURE_OPENAI_DEPLOYMENT_NAME": "chat", "AZURE_OPENAI_API_KEY": "key-2", "OPENAI_API_KEY": "x"},
     "/openai/v1/chat/completions", ("api-key", "key-2"), "chat"),
    ({"AZURE_OPENAI_ENDPOINT": "{}", "AZURE_OPENAI_DEPLOYMENT_NAME": "chat", "AZURE_OPENAI_API_KEY": "key-2",
      "AZURE_OPENAI_API_VERSION": "2024-10-21"}, "/openai/deployments/chat/chat/completions?api-version=2024-10-21", ("api-key", "key-2"),
     None)])
def test_models_are_called_with_name_and_key(container, model, variables, path, header, model_name):
    url = re.match(r"http://[^/]+", model.url)[0]
    model.play(answer("Yes."))
    container.start(AGENTCHAT_SIGN_IN="anonymous", AGENTCHAT_INSTRUCTIONS='Say "yes"\nand ${PORT}.',
                    **{name: value.format(url) for name, value in variables.items()})
    assert container.client.stream("/agents/assistant/chat", {"message": "x"}).rest()[-1].type == "done"
    request, = model.requests
    assert request.path == path and request.headers.get(header[0]) == header[1]
    assert request.json.get("model") == model_name
    assert request.messages[0] == {"role": "system", "content": 'Say "yes"\nand ${PORT}.\n'}


def test_without_a_key_the_identity_signs_in_to_azure(container, keys):
    text, key = keys
    container.start(AGENTCHAT_SIGN_IN="keys", AGENTCHAT_KEYS=text, AZURE_OPENAI_ENDPOINT="https://x.openai.azure.com",
                    AZURE_OPENAI_DEPLOYMENT_NAME="chat", AGENTCHAT_INSTRUCTIONS="file:" + readable(container.root / "i", "Be brief."))
    document = configuration(container, key)
    assert document["models"]["default"]["AgentChatCredential"] == "identity"
    assert document["agents"]["assistant"]["AgentChatInstructions"] == "Be brief."


def test_conversations_in_cosmos(container, cosmos):
    container.start(**DEMO, AGENTCHAT_STORE=f"cosmos:{cosmos.url} database=chat credential=env:COSMOS_KEY create=on", COSMOS_KEY=KEY)
    thread = container.client.post("/threads", {}).json["id"]
    assert container.client.get(f"/threads/{thread}").status == 200 and not (container.root / "state/agentchat.db").exists()


def test_files_and_origins(container):
    container.start(**DEMO, AGENTCHAT_FILES="on", AGENTCHAT_CORS_ORIGIN="https://a.example.com")
    assert container.client.post("/files", b"x", headers={"Content-Type": "text/plain"}).status == 201
    allowed = container.client.get("/threads", headers={"Origin": "https://a.example.com"})
    assert allowed.headers["access-control-allow-origin"] == "https://a.example.com"


def test_an_open_server_answers_for_its_name_only(container):
    container.start(**DEMO, AGENTCHAT_SERVER_NAME="chat.example.com")
    assert container.client.get("/threads", headers={"Host": "chat.example.com"}).status == 200
    assert container.client.get("/threads", headers={"Host": "other.example.com"}).status == 403


def test_each_protocol_is_switched_on(container):
    container.start(**DEMO)
    for path, body in (("/v1/models", None), ("/agui/assistant", None), ("/ui/chat", {}), ("/mcp", {})):
        answered = container.client.request("GET" if body is None else "POST", path, body)
        assert answered.status == (200 if body is None else 400), (path, answered)


def without_threads(container):
    """A directory with a file that refuses streams which hold a thread."""
    conf = container.root / "conf"
    conf.mkdir(exist_ok=True)
    readable(conf / "threads.conf", "AgentChatMaxBlockingStreams 0\n")
    return str(conf)


def test_streams_hold_no_thread(container):
    """Whatever the modules put behind an answer: thousands of streams have room in few threads."""
    container.start(**DEMO, AGENTCHAT_CONF_DIR=without_threads(container))
    assert container.client.stream("/agents/assistant/chat", {"message": "Hello"}).rest()[-1].type == "done"


# ---- signals ----
def at_gate(container, model):
    """(an answer that waits in its middle, the gate)"""
    gate = Gate()

    def script(_request):
        yield head()
        yield token("It is ")
        yield gate
        yield token("13.50.")
        yield finish()
        yield DONE
    model.play(script)
    stream = container.client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    return stream, gate


@pytest.fixture
def begun(container, model):
    container.start(AGENTCHAT_SIGN_IN="anonymous", AGENTCHAT_MODEL_ENDPOINT=model.url)
    return container


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_streams(begun, model, number):
    stream, gate = at_gate(begun, model)
    for _ in range(3):                       # a platform may send it again
        begun.signal(number)
        begun.signal(signal.SIGTERM)
        assert begun.refuses()
    begun.signal(signal.SIGWINCH)            # a terminal has another size
    gate.open()
    events = stream.rest()
    assert events[-1].type == "done" and events[-1].json["status"] == "completed"
    assert begun.wait() == 0
    begun.wait_log(number="AC0504", status="completed")
    begun.wait_log(method="POST", path="/api/agents/assistant/chat", http_status=200)


def test_a_stop_before_httpd_has_begun_is_not_lost(container):
    process = container._popen(DEMO)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT)
    assert process.returncode in (0, -signal.SIGTERM)


def test_quit_ends_at_once_and_keeps_what_there_is(begun, model):
    stream, _gate = at_gate(begun, model)
    begun.signal(signal.SIGQUIT)
    assert begun.wait() == 0
    assert stream.rest()[-1].type in ("done", "error")
    begun.start(AGENTCHAT_SIGN_IN="anonymous", AGENTCHAT_MODEL_ENDPOINT=model.url)
    thread, = begun.client.get("/threads").json["data"]
    assert begun.client.messages(thread["id"])[-1]["content"].startswith("It is")


def test_a_kill_keeps_what_there_is(begun, model):
    stream, _gate = at_gate(begun, model)
    begun.kill()
    stream.close()
    begun.start(AGENTCHAT_SIGN_IN="anonymous", AGENTCHAT_MODEL_ENDPOINT=model.url)
    begun.wait_log(number="AC0504", status="interrupted")
    thread, = begun.client.get("/threads").json["data"]
    assert begun.client.messages(thread["id"])[-1]["content"].startswith("It is")


def test_hup_reads_the_directory_again(container, keys):
    text, key = keys
    conf = container.root / "conf"
    conf.mkdir()
    readable(conf / "a.conf", "AgentChatWorkThreads 5\n")
    container.start(AGENTCHAT_SIGN_IN="keys", AGENTCHAT_KEYS=text, AGENTCHAT_DEMO="on", AGENTCHAT_CONF_DIR=str(conf))
    assert configuration(container, key)["server"]["AgentChatWorkThreads"] == 5
    readable(conf / "a.conf", "AgentChatWorkThreads 6\n")
    container.signal(signal.SIGHUP)
    container.wait_log(module="mpm_event", level="notice", message="AH00493: SIGUSR1 received.  Doing graceful restart")
    for _ in range(WAIT * 50):
        if configuration(container, key)["server"]["AgentChatWorkThreads"] == 6:
            break
    assert configuration(container, key)["server"]["AgentChatWorkThreads"] == 6


# ---- logs ----
def test_each_line_is_an_object(container):
    container.start(**DEMO)
    site = Client(container.port, prefix="")
    assert site.get('/a"b\\c?key=secret').status == 404
    assert site.get("/%c3%a9%ff").status == 404
    assert site.get("/api/threads").status == 200
    site.get("/health"), site.get("/ready?check=store")
    container.stop()
    log = container.log()
    requests = [line for line in log if "method" in line]
    assert [(line["path"], line["http_status"]) for line in requests] == [('/a"b\\c', 404), (r"/\xc3\xa9\xff", 404), ("/api/threads", 200)]
    assert all(line["time"].endswith("Z") and isinstance(line["pid"], int) and line["latency_ms"] >= 0 for line in requests)
    assert all({"time", "level"} <= line.keys() for line in log) and not [line for line in container.lines if "secret" in line]


def test_lines_of_other_forms(tmp_path):
    lines = [b"plain \xc3\xa9 \"x\" \\ \t\x01", b"broken \xff", b'{"number":"AC0601"}', b"",
             b"httpd 2026-11-24 23:20:43.084275 notice 12 core 127.0.0.1:80 (2)No such file: AH1: \\x01 \\\\ \"q\"",
             b"httpd 2026-11-24 23:20:43.084275 error - - - x", b"access\t2026-11-24 1:2:3.5\t7\t::1\tGET\t/\t200\t10\t2999\t-\t-"]
    done = subprocess.run(["perl", SOURCE / "json-log.pl"], input=b"\n".join(lines), capture_output=True, check=True, timeout=WAIT)
    objects = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [line.pop("message", None) for line in objects] == [
        'plain é "x" \\ \t\x01', "broken \ufffd", None, '(2)No such file: AH1: \\x01 \\ "q"', "x", None]
    assert objects[3] == {"time": "2026-11-24T23:20:43.084275Z", "level": "notice", "pid": 12, "module": "core", "client": "127.0.0.1:80"}
    assert objects[4] == {"time": "2026-11-24T23:20:43.084275Z", "level": "error"}
    assert objects[5] == {"time": "2026-11-24T1:2:3.5Z", "level": "info", "pid": 7, "client": "::1", "method": "GET", "path": "/",
                          "http_status": 200, "bytes": 10, "latency_ms": 2}


# ---- the image ----
def test_the_image_is_made_of_what_is_there():
    """Containerfile's own files, packages and the context."""
    text = (TOP / "Containerfile").read_text()
    for path in re.findall(r"conf/container/[\w.]+\.\w+", text):
        assert (TOP / path).exists(), path
    kept = [line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert kept and all((TOP / path).exists() for path in kept)
    assert "USER 33:33" in text and "STOPSIGNAL SIGTERM" in text and f"EXPOSE {8080}" in text
    assert "export PORT=${PORT:-8080}" in (SOURCE / "entrypoint.sh").read_text()


def test_the_context_is_enough_to_build(tmp_path):
    """make reads no file that .dockerignore leaves out."""
    for line in (TOP / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source, to = TOP / line[1:], tmp_path / line[1:]
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, to) if source.is_dir() else shutil.copy(source, to)
    for words in (["-n", "module", "tools"], ["-n", "install", f"DESTDIR={tmp_path}/image", "PREFIX=/usr"]):
        done = subprocess.run(["make", *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
