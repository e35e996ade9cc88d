# SPDX-License-Identifier: Apache-2.0
"""The modules of examples/ are built as the manual describes, with the installed header alone, and work beside the
module."""
import os
import shutil
import subprocess

import pytest

from model_server import Gate, ModelServer, Reply
from runs import wait_until
from server import HOME, MOUNT, TOP

APXS = f"{HOME}/bin/apxs" if HOME else next((path for path in ("/usr/bin/apxs", "/usr/bin/apxs2", "/usr/sbin/apxs")
                                             if os.path.exists(path)), None)
NAMES = sorted(path.stem for path in (TOP / "examples").glob("mod_*.c"))

AGENT = """
<AgentChatModel repeat>
    AgentChatProvider example-repeat
    AgentChatEndpoint example "greeting=Good day"
</AgentChatModel>
<AgentChatTool count_words>
    AgentChatToolProvider example-words
</AgentChatTool>
<AgentChatAgent assistant>
    AgentChatModel repeat
    AgentChatTools count_words
</AgentChatAgent>
AgentChatDefaultAgent assistant
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """LoadModule lines of both examples."""
    # The libtool of APR, which apxs runs; a package of that name need not be installed.
    if not APXS or not shutil.which(subprocess.check_output([APXS, "-q", "LIBTOOL"], text=True).split()[0]):
        pytest.skip("modules are built with apxs and APR's libtool")
    root = tmp_path_factory.mktemp("examples")
    run("make", "-s", "-C", TOP, "install-header", f"DESTDIR={root}", f"APXS={APXS}")
    (header,) = root.rglob("agentchat.h")
    lines = []
    for name in NAMES:
        shutil.copy(TOP / "examples" / f"{name}.c", root)
        run(APXS, "-c", "-Wc,-Wall -Wextra -Werror", f"-I{header.parent}", f"{name}.c", cwd=root)
        lines.append(f"LoadModule {name[4:]}_module {root}/.libs/{name}.so")
    return "\n".join(lines) + "\n"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_an_agent_with_the_model_and_the_tool_of_the_examples(built, make_server):
    assert NAMES == ["mod_agentchat_model_example", "mod_agentchat_tool_example"]
    server = make_server(built + AGENT + MOUNT, standard=False)
    events = server.client.stream("/agents/assistant/chat", {"message": "one two thr\u00e9e"}).rest()
    assert events[-1].type == "done", events
    (trace,) = [event.json for event in events if event.type == "trace_end" and event.json.get("tool")]
    assert trace["tool"] == "count_words" and trace["result"] == {"words": 3, "characters": 13}
    tokens = [event.json["content"] for event in events if event.type == "token"]
    assert "".join(tokens).startswith("Good day! The answer is: ") and len(tokens) >= 6


def test_the_model_reads_an_error_of_the_example_tool(built, make_server):
    server = make_server(built + AGENT + MOUNT, standard=False)
    answer = server.client.post("/agents/assistant/chat", {"message": "\t \n", "stream": False})
    if answer.status == 200:                    # a message of blanks alone may be refused before
        (call,) = answer.json["tool_calls"]
        assert call["error"] == "the text has no words" and "the text has no words" in answer.json["content"]


def test_options_of_the_examples_are_checked(built, make_server):
    server = make_server(built + AGENT + MOUNT, standard=False, start=False)
    for old, new, reason in (("example-words", "example-words\n    AgentChatToolOption size 3",
                              "there is no option 'size'; this provider has none"),
                             ("Good day", 81 * "x", "greeting= has more than 80 characters")):
        server.write(built + AGENT.replace(old, new) + MOUNT)
        ok, text = server.configtest()
        assert not ok and reason in text


def test_the_example_model_uses_the_credential_of_its_container(built, make_server):
    """A key that the service refuses is read again, so that a new one in the file is used without a restart."""
    server = make_server(built + AGENT.replace("</AgentChatModel>", "    AgentChatCredential file:model.key\n    AgentChatBreaker off\n"
                                               "</AgentChatModel>") + MOUNT, standard=False, start=False)
    key = server.root / "model.key"
    key.write_text("no such key\n")
    server.start()
    server.expect_log("AC0502")
    refused = server.client.post("/agents/assistant/chat", {"message": "one", "stream": False})
    assert (refused.status, refused.json["code"]) == (502, "model_refused")
    assert "the service does not accept the key" in server.log()
    key.write_text("sesame\n")
    wait_until(lambda: server.client.post("/agents/assistant/chat", {"message": "one", "stream": False}).status == 200,
               "the key in the file is not used")
    assert "no such key" not in server.log() and "sesame" not in server.log()


@pytest.fixture
def authority():
    server = ModelServer()
    yield server
    server.stop()


def test_a_run_of_the_example_model_is_cancelled_while_it_waits_for_a_token(built, make_server, authority):
    gate = Gate()

    def token(_request):
        yield gate
        yield Reply(200, {"token_type": "Bearer", "access_token": "sesame", "expires_in": 3600})

    authority.play(token)
    env = {"AZURE_TENANT_ID": "contoso.example", "AZURE_CLIENT_ID": "app", "AZURE_CLIENT_SECRET": "secret",
           "AZURE_AUTHORITY_HOST": f"http://127.0.0.1:{authority.port}"}
    server = make_server(built + AGENT.replace("</AgentChatModel>", "    AgentChatCredential identity:environment\n</AgentChatModel>")
                         + MOUNT, standard=False, env=env)
    stream = server.client.stream("/agents/assistant/chat", {"message": "one"})
    gate.wait_reached()
    run = stream.until("run")[-1].json["run_id"]
    assert server.client.post(f"/runs/{run}/cancel").status == 202
    assert stream.rest()[-1].json["status"] == "cancelled"
    gate.open()
    answer = server.client.post("/agents/assistant/chat", {"message": "one", "stream": False})
    assert answer.status == 200 and answer.json["content"].startswith("Good day!"), answer
    (asked,) = authority.requests
    assert b"scope=https%3A%2F%2Fexample.com%2F.default" in asked.body
