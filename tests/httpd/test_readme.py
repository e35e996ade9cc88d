# SPDX-License-Identifier: Apache-2.0
"""README.md and the manual work as printed: the configuration and the curl of the README run as they are pasted, and
every piece of configuration in the manual passes httpd's own check."""
import json
import os
import re
import shutil
import subprocess

import pytest

from client import Client
from manual import blocks
from server import BUILD, MODULE, TOP, WAIT, Server, sanitizer, user
from webhooks import SECRET as WEBHOOK_SECRET

PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]


def paste(server, text, state=True):
    """Appends the text to a server's configuration that has nothing of ours yet, with the places of a real machine's."""
    text = text.replace("/usr/lib/apache2/modules/mod_agentchat.so", str(server.root / "mod_agentchat.so"))
    text = text.replace("/usr/share/agentchat/chat-page.conf", str(TOP / "conf/chat-page.conf"))
    for name in ("etc", "srv", "usr/share", "var/www"):
        text = text.replace(f" /{name}/", f" {server.root}/{name}/").replace(f":/{name}/", f":{server.root}/{name}/")
    conf = server.conf.read_text()
    if "LoadModule agentchat_module" in text:
        conf = re.sub(r"^LoadModule agentchat_module .*\n", "", conf, flags=re.M)
    if not state:
        conf = re.sub(r"^AgentChatStateDir .*\n", "", conf, flags=re.M)
    server.conf.write_text(conf + text.replace("/var/lib/agentchat", f"{server.root}/state"))


# ---- README.md ----
FOR_README = ("authz_host", "alias", "dir")


def test_readme_configuration_and_curl_stream(make_server):
    _, configuration = blocks(TOP / "README.md", "apache")[0]
    curl, = [text for _, text in blocks(TOP / "README.md", "sh") if text.startswith("curl ")]
    assert MODULE.exists() and "http://localhost/" in curl
    server = make_server("", start=False, standard=False, modules=FOR_README)
    shutil.copytree(TOP / "src/www", server.root / "www")
    paste(server, f"Define AGENTCHAT_WWW {server.root}/www\n{configuration}")
    server.start()
    site = Client(server.port, prefix="")
    assert site.get("/chat/").status == site.get("/chat/agentchat.js").status == 200
    done = subprocess.run(["bash", "-c", curl.replace("http://localhost/", f"http://127.0.0.1:{server.port}/")],
                          capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line[5:]) for line in done.stdout.splitlines() if line.startswith("data:")]
    types = [event["type"] for event in events]
    assert types[0] == "run" and types[-1] == "done", done.stdout
    call, = [event for event in events if event["type"] == "trace_end"]
    assert call["tool"] == "calculate" and call["result"]["result"] == 13.5
    assert "13.5" in "".join(event["content"] for event in events if event["type"] == "token")
    assert types.count("token") > 5, "the answer came in one piece"


def test_readme_configuration_in_one_virtual_host(make_server):
    """It has the API and the page, and the other hosts have their own paths of these names."""
    first, host = (text for _, text in blocks(TOP / "README.md", "apache")[:2])
    server = make_server("", start=False, standard=False, modules=FOR_README)
    for name in ("var/www/html", "other/api", "other/chat"):
        (server.root / name).mkdir(parents=True)
    (server.root / "other/api/agents").write_text("of another site")
    (server.root / "other/chat/index.html").write_text("of another site")
    outside = re.sub(r'<Location "/api">.*', "", first, flags=re.S)
    other = f'<VirtualHost *:80>\nServerName other.example\nDocumentRoot "{server.root}/other"\nDirectoryIndex index.html\n</VirtualHost>\n'
    shutil.copytree(TOP / "src/www", server.root / "www")           # httpd's user may not reach a clone
    paste(server, f'Define AGENTCHAT_WWW "{server.root}/www"\n' + outside + (other + host).replace("*:80", f"*:{server.port}"))
    ok, said = server.configtest()
    assert ok and "stands outside" not in said, said
    server.start()
    site = Client(server.port, prefix="")
    for path in ("/api/agents", "/chat/"):
        there, elsewhere = (site.get(path, headers={"Host": name}) for name in ("chat.example.com", "other.example"))
        assert there.status == elsewhere.status == 200 and elsewhere.body == b"of another site" != there.body, path
    conf = server.conf.read_text()
    mount, = re.findall(r'^ +<Location "/api">.*?</Location>\n', conf, flags=re.M | re.S)
    server.conf.write_text(conf.replace(mount, "") + mount)
    ok, said = server.configtest()
    assert ok and "hides what 'other.example'" in said and f"{server.root}/other/api" in said, said


def sessions(path):
    """(command, what it prints) of each line of the page's console blocks."""
    for _, text in blocks(path, "console"):
        for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.strip()


def test_readme_sessions(make_server, tmp_path):
    """Every command of the README's sessions, in order, prints the text below it; … matches anything."""
    first, _, keys = (text for _, text in blocks(TOP / "README.md", "apache")[:3])
    configuration = re.sub(r'<Location "/api">.*?</Location>\n', lambda _: keys, first, flags=re.S)
    server = make_server("", start=False, standard=False, modules=(*FOR_README, "authn_core", "authz_user"))
    (server.root / "etc/apache2").mkdir(parents=True)
    paste(server, configuration)
    # A sanitizer is loaded into what was built with it, and into no other program.
    only_there = " ".join(f"{name}='{value}'" for name, value in sanitizer().items())
    before = f"sudo() {{ \"$@\"; }}; systemctl() {{ :; }}; agentchat-keys() {{ {only_there} '{BUILD}/agentchat-keys' \"$@\"; }}\n" \
             f"[ ! -e '{tmp_path}/known' ] || . '{tmp_path}/known'\n"
    n = 0
    for command, output in sessions(TOP / "README.md"):
        if "systemctl restart" in command:
            server.stop()
            server.start()
        command = command.replace("http://localhost/", f"http://127.0.0.1:{server.port}/").replace("/etc/", f"{server.root}/etc/")
        command = command.replace("-g www-data", f"-g {user().pw_name}")
        done = subprocess.run(["bash", "-c", f"{before}{command}\nstatus=$?; declare -p key >'{tmp_path}/known' 2>&-; exit $status"],
                              capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 0, (command, done.stderr)
        wanted = "(?s)" + ".*".join(re.escape(part) for part in output.split("…"))
        assert re.fullmatch(wanted, done.stdout.strip()), (command, done.stdout, output)
        n += 1
    assert n > 8


# ---- the manual ----
# Those of mod_auth_openidc are used by test_sign_in.py.
CASES = [(page, line, text) for page in PAGES for line, text in blocks(page, "apache") if "OIDCClientID" not in text]
WRAP = {"`<AgentChatModel>`": "<AgentChatModel m>\n{text}{needs}</AgentChatModel>\n",
        "`<AgentChatTool>`": "<AgentChatTool t>\n{text}{needs}</AgentChatTool>\n",
        "`<AgentChatMCP>`": "<AgentChatMCP m>\n{text}{needs}</AgentChatMCP>\n",
        "`<AgentChatOpenAPI>`": "<AgentChatOpenAPI m>\n{text}{needs}</AgentChatOpenAPI>\n",
        "`<AgentChatWebhook>`": "<AgentChatWebhook w>\n{text}{needs}</AgentChatWebhook>\n",
        "`<AgentChatAgent>`": "<AgentChatAgent a>\n{text}{needs}</AgentChatAgent>\n"}
NEEDS = {"`<AgentChatModel>`": {"AgentChatProvider": "openai", "AgentChatCredential": "env:A_KEY",
                                "AgentChatEndpoint": "https://api.openai.com/v1 model=m"},
         "`<AgentChatTool>`": {"AgentChatToolURL": "https://search.example.com/?q={query} method=POST",
                               "AgentChatToolDescription": "d",
                               "AgentChatToolParameters": '{"type": "object", "properties": {"query": {"type": "string"}}}'},
         "`<AgentChatOpenAPI>`": {"AgentChatToolsFrom": "openapi:https://tools.example.com/openapi.json",
                                  "AgentChatOpenAPIOperations": "get"},
         "`<AgentChatMCP>`": {"AgentChatMCPURL": "https://tools.example.com/mcp"},
         "`<AgentChatWebhook>`": {"AgentChatWebhookURL": "https://hooks.example.com/x", "AgentChatWebhookSecret": "env:HOOK"},
        "`<AgentChatAgent>`": {"AgentChatModel": "gpt"}}
DEFINED = {"model": "<AgentChatModel {id}>\nAgentChatProvider demo\n"
                    "AgentChatPrice input=1 output=1 currency=USD\n</AgentChatModel>\n",
           "agent": "<AgentChatAgent {id}>\nAgentChatModel {model}\nAgentChatDescription x\n</AgentChatAgent>\n",
           "tool": "<AgentChatTool {id}>\nAgentChatToolProvider calculator\n</AgentChatTool>\n",
          "webhook": "<AgentChatWebhook {id}>\nAgentChatWebhookURL https://hooks.example.com/x\n"
                     "AgentChatWebhookSecret env:HOOK\n</AgentChatWebhook>\n",
          "server": "<AgentChatMCP {id}>\nAgentChatMCPURL https://tools.example.com/mcp\n</AgentChatMCP>\n"}

# The document of the examples.
PETS = """
openapi: 3.0.3
info: {title: Pets, version: "1"}
servers: [{url: https://pets.example.com/v1}]
security: [{api_key: []}, {}]
components: {securitySchemes: {api_key: {type: apiKey, in: header, name: X-API-Key}}}
paths:
  /pets:
    parameters: [{name: limit, in: query, schema: {type: integer}}]
    get: {operationId: listPets, responses: {"200": {description: fine}}}
    post: {operationId: addPet, requestBody: {content: {application/json: {}}}, responses: {"201": {description: fine}}}
  /pets/{petId}:
    parameters: [{name: petId, in: path, required: true, schema: {type: string}}]
    get: {operationId: getPet, responses: {"200": {description: fine}}}
    delete: {operationId: removePet, responses: {"204": {description: gone}}}
"""

# As it is in the environment of httpd where the manual says so.
CONNECTION = "InstrumentationKey=00000000-0000-0000-0000-000000000001"


def context_of(page, line):
    """The context that the section of this line gives, or None."""
    before = "\n".join(page.read_text().splitlines()[:line]).rpartition("\n## ")[2]
    return (re.findall(r"^- Context: (.*)$", before, re.M) or [None])[0]


def whole(text, context):
    """A piece of configuration with everything around it that it needs to be whole."""
    if context in WRAP and not text.startswith("<"):
        needs = "".join(f"{name} {value}\n" for name, value in NEEDS[context].items()
                        if not re.search(rf"^{name}\b", text, re.M))
        text = WRAP[context].format(text=text, needs=needs)
    models, tools, servers, agents = (set(re.findall(rf"^ *<AgentChat{kind} ([\w.-]+)", text, re.M))
                                      for kind in ("Model", "Tool", "MCP", "Agent"))
    tools |= {f"mcp:{server}" for server in servers} | {f"agent:{agent}" for agent in agents}
    tools |= {f"openapi:{name}" for name in re.findall(r"^ *<AgentChatOpenAPI ([\w.-]+)", text, re.M)}
    wanted = re.findall(r"^ *AgentChat(?:Model|Fallback) +([\w.-]+)", text, re.M)
    more = "".join(DEFINED["model"].format(id=name) for name in sorted({*wanted, "any"} - models))
    for list_of in re.findall(r"^ *AgentChatTools +(.*)$", text, re.M):
        for name in set(list_of.split()) - tools - {"calculate", "get_weather"}:
            tools.add(name)
            more += DEFINED["server" if name.startswith("mcp:") else "tool"].format(id=name.removeprefix("mcp:"))
    named = re.findall(r"^ *AgentChatDefaultAgent +([\w.-]+)", text, re.M)
    named += " ".join(re.findall(r"^ *AgentChatHandoffs +(.*)$", text, re.M)).split()
    more += "".join(DEFINED["agent"].format(id=name, model="any") for name in sorted({*named, "any"} - agents))
    return text + more


@pytest.mark.parametrize("page, line, text", CASES, ids=[f"{page.name}:{line}" for page, line, _ in CASES])
def test_manual_configuration_is_valid(page, line, text):
    text += "".join(DEFINED["webhook"].format(id=name) for name in re.findall(r"^ *AgentChatDefaultWebhook +(\w+)", text, re.M))
    keys = {name: WEBHOOK_SECRET if name.endswith("HOOK") else "secret" for name in {*re.findall(r"\benv:(\w+)", text), "HOOK"}}
    server = Server("", modules=("authz_host", "authz_user", "authn_core", "authn_file", "auth_basic", "alias", "dir",
                                 "proxy", "proxy_http", "rewrite", "remoteip", "ssl"),
                    env={**keys, "A_KEY": "secret", "APPLICATIONINSIGHTS_CONNECTION_STRING": CONNECTION})
    try:
        for name in ("etc/agentchat", "srv/agentchat/knowledge", "srv/agentchat/handbook", "agents", "tools", "var/www/html",
                     "usr/share/agentchat/swagger-ui"):
            (server.root / name).mkdir(parents=True)
        (server.root / "usr/share/agentchat/swagger-ui/swagger-ui-bundle.js").touch()
        if os.geteuid() == 0:
            os.chown(server.root / "srv/agentchat", user().pw_uid, user().pw_gid)
        for path in re.findall(r"^ *AgentChatKeys +/([\w./-]+)", text, re.M):
            (server.root / path).parent.mkdir(parents=True, exist_ok=True)
            (server.root / path).write_text("# none\n")
        for name in re.findall(r"^ *SSLCertificate(?:Key)?File +/([\w./-]+)", text, re.M):
            (server.root / name).parent.mkdir(parents=True, exist_ok=True)
            (server.root / name).write_text("not looked at by configtest\n")
        for name in re.findall(r"^ *AgentChat(?:Tool|MCP|OpenAPI)?CAFile +/([\w./-]+)|\bca=/([\w./-]+)", text, re.M):
            path = server.root / "".join(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if "openapi:/etc/agentchat/pets.yaml" in text:
            (server.root / "etc/agentchat/pets.yaml").write_text(PETS)
        for name in re.findall(r"\bfile:([\w./-]+)", text):
            path = server.root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            names = {argument: {"type": "string"} for argument in re.findall(r"\{(\w+)\}", text)}
            path.write_text(json.dumps({"type": "object", "properties": names}) if name.endswith(".json") else "some text")
        paste(server, whole(text, context_of(page, line)), state="AgentChatStateDir" not in text)
        ok, said = server.configtest()
        assert ok, f"{page.name}:{line}:\n{text}\n{said}"
        assert "AH" not in said.replace("AH00558", ""), said
    finally:
        server.remove()


@pytest.mark.parametrize("page", ["limits.md"])
def test_the_first_example_works_with_the_configuration_of_the_readme(make_server, page):
    (_, configuration), (_, example) = blocks(TOP / "README.md", "apache")[0], blocks(TOP / "docs" / page, "apache")[0]
    server = make_server("", start=False, standard=False, modules=FOR_README)
    paste(server, f"Define AGENTCHAT_WWW {TOP}/src/www\n{configuration}\n{example}")
    ok, said = server.configtest()
    assert ok, said


def test_manual_has_examples():
    assert len(CASES) > 50
    for page in PAGES:
        rest = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        assert not re.findall(r"^    <?AgentChat.*$", rest, re.M), f"{page.name} has configuration that no test reads: put it in ```apache"
