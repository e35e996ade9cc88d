# SPDX-License-Identifier: Apache-2.0
"""The lines for clients of others that docs/openai-clients.md, docs/ag-ui.md, docs/ai-sdk.md and docs/mcp-server.md show, run as they are
printed, with the address and the key of this server in place of the page's."""
import json
import os
import re
import shlex
import subprocess

import pytest
import yaml

import peers
from client import Client
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from manual import blocks
from model_server import answer, calls
from server import TOP

OPENAI, AGUI, UI, MCP = (TOP / f"docs/{name}.md" for name in ("openai-clients", "ag-ui", "ai-sdk", "mcp-server"))
SWITCHES = "<Location /keys>\nAgentChatOpenAI on threads=X-Chat\nAgentChatUI on\nAgentChatAGUI on\nAgentChatMCPServer on\n</Location>\n"
SHOWN = "https?://(?:localhost:8080|example.org|chat.example.com)/api"


@pytest.fixture
def keyed(make_server):
    """A server with all protocols switched on at /keys; `key` is a key of it."""
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    server.key = keys.make("ann-1", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) + SWITCHES)
    return server.start()


def filled_in(text, site):
    assert re.search(SHOWN, text) and "KEY" in text, text
    return re.sub(SHOWN, f"http://127.0.0.1:{site.port}/keys", text).replace("KEY", site.key)


def program(page, word):
    """The one block of the page that has the word."""
    text, = [text for _, text in blocks(page, "js") if word in text]
    return text


def output(text, site, tmp_path):
    """What the program prints."""
    file = tmp_path / "example.mjs"
    file.write_text(filled_in(text, site))
    (tmp_path / "node_modules").symlink_to(peers.install(TOP / "tests/clients"))
    done = subprocess.run([peers.node_program(), str(file)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("word", ["chunk.choices", "createOpenAICompatible", "ChatOpenAI", "new Agent("])
def test_a_question(keyed, model, tmp_path, word):
    model.play(answer("It is ", "13.50", " €."))
    assert output(program(OPENAI, word), keyed, tmp_path).strip() == "It is 13.50 €."
    assert "What is 18% tip on 75 euros?" in model.requests[0].body.decode()
    assert len(model.requests) == 1


def head():
    """The lines that make the client which the other programs of the page use."""
    text = program(OPENAI, "chunk.choices")
    return text[:text.index("const stream")]


def test_a_key_of_the_request(keyed, model, tmp_path):
    model.play(answer("Hello"))
    text = head() + program(OPENAI, "Idempotency-Key")
    text += "for await (const chunk of answer) console.log(chunk.choices[0]?.delta?.content);\n"
    assert "Hello" in output(text, keyed, tmp_path)


def test_responses(keyed, model, tmp_path):
    model.play(answer("13.50"), answer("15"))
    assert output(head() + program(OPENAI, "previous_response_id: first.id"), keyed, tmp_path) == "15\n"
    assert [m["content"] for m in model.requests[1].json["messages"] if m["role"] != "system"] == [
        "What is 18% tip on 75 euros?", "13.50", "And 20%?"]


def test_conversations(keyed, model, tmp_path):
    model.play(answer("On its way."))
    said = output(head() + program(OPENAI, "client.conversations.create"), keyed, tmp_path)
    assert [line.split(" ")[0] for line in said.splitlines()] == ["message"] * 3, said
    assert "My order is 1234." in model.requests[0].body.decode()


def test_the_client_for_azure(keyed, model, tmp_path):
    model.play(answer("Hello"))
    made, = re.findall(r"`(new AzureOpenAI\(.*?\))`", OPENAI.read_text())
    text = ("import { AzureOpenAI } from 'openai';\n" + f"const client = {made};\n"
            "const said = await client.chat.completions.create({ model: 'assistant', messages: [{ role: 'user', content: 'Hi' }] });\n"
            "console.log(said.choices[0].message.content);\n")
    assert output(text, keyed, tmp_path) == "Hello\n"


def test_ag_ui(keyed, model, tmp_path):
    model.play(answer("Hello", " there"))
    assert output(program(AGUI, "agent.addMessage"), keyed, tmp_path) == "Hello\n there\n"


def test_a_transport_that_sends_one_message(keyed, model, tmp_path):
    """The page's transport, with the address and the key that a program outside of a browser has to add."""
    model.play(answer("Hello"), answer("there"))
    transport = program(UI, "prepareSendMessagesRequest").replace(
        "api: '/api/ui/chat',", "api: 'http://localhost:8080/api/ui/chat', headers: { Authorization: 'Bearer KEY' },")
    text = ("import { DefaultChatTransport, readUIMessageStream } from 'ai';\n" + f"const transport = {transport.strip()};\n" + """
const messages = [];
for (const id of ['one', 'two']) {
  messages.push({ id, role: 'user', parts: [{ type: 'text', text: id }] });
  const stream = await transport.sendMessages({ chatId: 'order-1234', messages, trigger: 'submit-message' });
  let last;
  for await (last of readUIMessageStream({ stream }));
  messages.push(last);
  console.log(last.parts.find(part => part.type === 'text').text);
}
""")
    assert output(text, keyed, tmp_path) == "Hello\nthere\n"
    assert [m["content"] for m in model.requests[1].json["messages"] if m["role"] != "system"] == ["one", "Hello", "two"]


# ---- MCP hosts: address and header field of their settings ----

def settings_of_hosts():
    """(address, header fields) that each host of the page has in its settings."""
    for _, text in blocks(MCP, "json"):
        shown = json.loads(text)
        asked, = [one["id"] for one in shown.get("inputs", [{"id": "-"}])]
        entry = (shown.get("servers") or shown.get("mcpServers"))["agents"]
        yield entry["url"], {name: value.replace("${input:%s}" % asked, "KEY") for name, value in entry["headers"].items()}
    line, = [text for _, text in blocks(MCP, "text") if "claude mcp add" in text]
    words = shlex.split(line)
    at = words.index("--header")
    yield words[at - 1], dict([words[at + 1].split(": ", 1)])


def test_mcp_hosts(keyed, model):
    """What a host sends with these settings: it begins, and lists the tools."""
    found = list(settings_of_hosts())
    assert len(found) == 3
    for url, fields in found:
        assert re.fullmatch(f"{SHOWN}/mcp", url), url
        host = Client(keyed.port, "/keys")
        headers = {name: value.replace("KEY", keyed.key) for name, value in fields.items()} | {
            "Accept": "application/json, text/event-stream"}
        begun = host.post("/mcp", {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}}, headers=headers)
        assert begun.status == 200 and begun.json["result"]["serverInfo"], begun.body
        listed = host.post("/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, headers=headers)
        assert [tool["name"] for tool in listed.json["result"]["tools"]] == ["ask_assistant"], listed.body
        assert host.post("/mcp", {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}).status == 401


def test_the_mcp_inspector(keyed, model, tmp_path):
    model.play(answer("It is ", "13.50", " €."))
    line, = [text for _, text in blocks(MCP, "text") if "inspector --cli" in text]
    words = shlex.split(filled_in(line.replace("\\\n", ""), keyed))
    program = peers.install(TOP / "tests/inspector") / ".bin/mcp-inspector"
    done = subprocess.run([peers.node_program(), str(program), *words[words.index("--cli"):]], capture_output=True, text=True, timeout=120,
                          cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["structuredContent"]["answer"] == "It is 13.50 €.", done.stdout


# ---- LibreChat ----

def ask_as_librechat(site, *texts):
    """The answer to the last of these texts, the user's and the assistant's in turns, of the conversation c-1."""
    modules = peers.install(TOP / "tests/librechat")
    endpoint, = yaml.safe_load(blocks(OPENAI, "yaml")[0][1])["endpoints"]["custom"]
    (header, value), = endpoint["headers"].items()
    assert value == "{{LIBRECHAT_BODY_CONVERSATIONID}}"
    script = [str(TOP / "tests/librechat/ask.mjs"), filled_in(f"{endpoint['baseURL']} {endpoint['apiKey']}", site).split(" ")]
    done = subprocess.run([peers.node_program(), script[0], *script[1], header, "c-1", *texts], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PEERS": str(modules)})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.long                           # its packages are 375 MB
def test_librechat(keyed, model):
    """The package with which LibreChat asks a custom endpoint, with the settings of the page: a conversation is one thread."""
    model.play(calls(("calculate", {"expression": "75*0.18"})), answer("It is ", "13.50", " €."), answer("15 €."))
    assert ask_as_librechat(keyed, "What is 18% tip on 75 euros?") == "It is 13.50 €."
    assert ask_as_librechat(keyed, "What is 18% tip on 75 euros?", "It is 13.50 €.", "And 20%?") == "15 €."
    thread, = Client(keyed.port, "/keys").get("/threads", headers=bearer(keyed.key)).json["data"]
    assert thread["message_count"] == 4, thread


# ---- the list of clients ----

def test_the_list_names_the_versions_that_are_tested():
    """docs/clients.md names no version of a package that the tests' package files do not have."""
    page = (TOP / "docs/clients.md").read_text().split("## Clients of others")[1].split("## Rules")[0]
    pinned = {}
    for folder in ("clients", "copilotkit", "inspector", "librechat"):
        for name, version in json.loads((TOP / f"tests/{folder}/package.json").read_text())["dependencies"].items():
            name, version = version.removeprefix("npm:").rsplit("@", 1) if version.startswith("npm:") else (name, version)
            pinned.setdefault(name, set()).add(version)
    listed = re.findall(r"`(@?[\w/-]+)` (\d+\.\d+\.\d+(?:(?:,| and) \d+\.\d+\.\d+)*)", page)
    assert len(listed) >= 9
    for name, versions in listed:
        assert set(re.findall(r"[\d.]+", versions)) <= pinned[name], name
