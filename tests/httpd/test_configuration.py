# SPDX-License-Identifier: Apache-2.0
"""`apachectl configtest` names file, line, directive and what is accepted; and the shipped configurations are right."""
import base64
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bad_agents import BAD_AGENTS
from bad_configuration import BAD, GOOD
from bad_mcp import BAD_MCP
from bad_models import BAD_MODELS
from bad_openapi import BAD_OPENAPI
from bad_webhooks import BAD_WEBHOOKS
from server import MODULES, TOP, Server, load
from webhooks import SECRET as WEBHOOK_SECRET

CERTIFICATE = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.fixture
def configtest():
    made = []

    def check(directives):
        server = Server("", modules=("authn_core",), env={"GOOD": WEBHOOK_SECRET, "OTHER": "secret"})
        made.append(server)
        text = directives.replace("{root}", str(server.root)).replace("{port}", str(server.port))
        server.write(text)
        first = server.conf.read_text().split("\n").index(text.split("\n")[0]) + 1 if text else 1
        ok, said = server.configtest()
        return ok, said.replace(str(server.root), "{root}"), first

    yield check
    for server in made:
        server.remove()


WRONG = BAD + BAD_MCP + BAD_OPENAPI + BAD_AGENTS + BAD_MODELS + BAD_WEBHOOKS


@pytest.mark.parametrize("case", WRONG, ids=[case[0] for case in WRONG])
def test_wrong(configtest, case):
    _, line, directives, message = case
    ok, said, first = configtest(directives)
    assert not ok
    wanted = re.sub(r"\{line(\d+)\}", lambda m: str(first + int(m[1]) - 1), message)
    assert wanted in said, said
    assert re.search(rf"on line {first + line - 1} of \{{root\}}/httpd\.conf", said), said


@pytest.mark.parametrize("case", GOOD, ids=[case[0] for case in GOOD])
def test_right(configtest, case):
    ok, said, _ = configtest(case[1])
    assert ok and "Syntax OK" in said, said


def test_the_reference_with_everything_in_it(make_server):
    """conf/agentchat.conf with every directive made active, on files that exist."""
    server = make_server(start=False, standard=False, env={"AZURE_OPENAI_API_KEY": "k", "SEARCH_KEY": "k", "ORDERS_KEY": "k",
                                                              "ORDERS_SECRET": "s", "PETS_KEY": "k", "BILLING_HOOK": WEBHOOK_SECRET,
                                                              "OLD_HOOK": WEBHOOK_SECRET})
    lines = (TOP / "conf/agentchat.conf").read_text().splitlines()
    active = [re.sub(r"^(\s*)#(?=\S)", r"\1", line) for line in lines if not line.startswith("#LoadModule")]
    text = "\n".join(active)
    assert len(re.findall(r"^\s*<?AgentChat\w+", text, re.M)) >= 50
    (server.root / "keys").write_text("")
    (server.root / "audit-secret").write_text("a secret of the tests, long enough\n")
    (server.root / "ca.pem").write_text(CERTIFICATE.read_text())
    shutil.copy(TOP / "tests/openapi/pets.yaml", server.root)
    (server.root / "conf").mkdir(exist_ok=True)
    (server.root / "conf/answer.json").write_text('{"type": "object"}')
    shutil.copytree(TOP / "conf/sample/knowledge", server.root / "knowledge")
    (server.root / "swagger-ui").mkdir()
    (server.root / "swagger-ui/swagger-ui-bundle.js").touch()
    for path, real in (("/var/lib/agentchat", "state"), ("/etc/agentchat/upstream-ca.pem", "ca.pem"),
                       ("/etc/agentchat/orders-ca.pem", "ca.pem"), ("/etc/agentchat/pets-ca.pem", "ca.pem"),
                       ("/etc/agentchat/pets.yaml", "pets.yaml"),
                       ("/srv/agentchat/knowledge", "knowledge"), ("/etc/agentchat/keys", "keys"),
                       ("/etc/agentchat/audit-secret", "audit-secret"),
                       ("/usr/share/agentchat/swagger-ui", "swagger-ui")):
        text = text.replace(path, str(server.root / real))
    text = re.sub(r'"\|/usr/bin/rotatelogs [^"]*"', '"|/bin/cat"', text)    # its folder may be missing
    server.write(text)
    ok, said = server.configtest()
    assert ok, said
    server.expect_log("AC0262")             # there is no Redis here
    server.start()
    server.client.prefix = "/api"
    assert server.client.get("/health").status == 200
    assert server.client.get("/threads").status == 401      # the reference's defaults are the secure ones


def test_a_mount_that_hides_files_of_a_virtual_host(make_server):
    """Outside of all virtual hosts it applies to every one of them: hosts with own content get the warning, and no
    others."""
    server = make_server(start=False, modules=("alias",))
    right = server.conf.read_text()
    for name in ("plain/api", "bare", "aliased", "elsewhere/api", "own/api"):
        (server.root / name).mkdir(parents=True)

    def host(name, more=""):
        return f'<VirtualHost *:{server.port}>\nServerName {name}.example\nDocumentRoot "{server.root}/{name}"\n{more}</VirtualHost>\n'
    hosts = host("bare") + host("plain") + host("aliased", f'Alias "/api/v1" "{server.root}/elsewhere"\n')
    hosts += host("elsewhere", f'Alias "/app" "{server.root}/elsewhere"\n')
    server.conf.write_text(right + hosts)
    ok, said = server.configtest()
    assert ok, said
    warned = re.findall(r"the mount (\S+) at \S+ stands outside of all virtual hosts, and hides what '([\w.]+)' .*? has there, (\S+);",
                        said)
    assert sorted(warned) == [("/api", "aliased.example", f"{server.root}/elsewhere"),
                              ("/api", "elsewhere.example", f"{server.root}/elsewhere/api"),
                              ("/api", "plain.example", f"{server.root}/plain/api")], said
    server.conf.write_text(right.replace('<Location "/api">', f'<VirtualHost *:{server.port}>\nServerName own.example\nDocumentRoot '
                           f'"{server.root}/own"\n<Location "/api">').replace("</Location>", "</Location>\n</VirtualHost>") + hosts)
    ok, said = server.configtest()
    assert ok and "stands outside" not in said, said


@pytest.mark.parametrize("missing", ["headers", "alias", "dir", "mime"])
def test_the_chat_page_names_the_module_it_needs(make_server, missing):
    server = make_server(start=False)
    text = server.conf.read_text()
    wanted = {"alias", "dir", "headers", "mime"} - {missing}
    text = re.sub(r"^LoadModule (alias|dir|headers|mime)_module .*\n", "", text, flags=re.M)
    text = re.sub(r"^TypesConfig .*\n", "", text, flags=re.M)
    define = f'Define AGENTCHAT_WWW "{TOP}/src/www"'
    server.conf.write_text(f'{load(*sorted(wanted))}\n{text}{define}\nInclude "{TOP}/conf/chat-page.conf"\n')
    ok, said = server.configtest()
    if (MODULES / f"mod_{missing}.so").exists():
        assert not ok and f"chat-page.conf needs mod_{missing}" in said and f"a2enmod {missing}" in said, said
    else:
        assert ok, said                     # it is built in


def test_a_restart_with_a_wrong_configuration_leaves_the_old_one_running(make_server, model):
    server = make_server()
    server.conf.write_text(server.conf.read_text() + "\nAgentChatRunTimeout 5x\n")
    ok, said = server.configtest()
    assert not ok and "AgentChatRunTimeout" in said
    assert server.client.get("/health").status == 200


def test_the_longest_mount_wins(make_server, model):
    server = make_server("""
<Location "/api/v2">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
<Location "/health">
    SetHandler agentchat
</Location>
""")
    server.client.prefix = ""
    for path in ("/api/health", "/api/v2/health", "/health"):
        assert server.client.get(path).json["status"] == "healthy", path
    assert server.client.get("/api/v2/threads").status == 200
    assert server.client.get("/api/v3/threads").status == 404


def test_an_agent_of_the_mount(make_server, model):
    server = make_server("""
<AgentChatAgent other>
    AgentChatModel scripted
</AgentChatAgent>
<Location "/other">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatDefaultAgent other
</Location>
""")
    server.client.prefix = "/other"
    thread = server.client.post("/chat", {"message": "x", "stream": False}).json["thread_id"]
    assert server.client.get("/threads/" + thread).json["agent_id"] == "other"


def test_in_a_virtual_host_and_behind_basic_authentication(make_server, model):
    server = make_server(start=False, modules=("auth_basic", "authn_core", "authn_file", "authz_user"))
    users = server.root / "users"
    hashed = {name: subprocess.run(["openssl", "passwd", "-apr1", "pw-" + name], capture_output=True, text=True, check=True).stdout
              for name in ("ann", "bob")}
    users.write_text("".join(f"{name}:{text}" for name, text in hashed.items()))
    users.chmod(0o644)
    server.conf.write_text(server.conf.read_text() + f"""
<Location "/mine">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthUserFile "{users}"
    Require valid-user
</Location>
""")
    server.start()
    server.client.prefix = "/mine"

    def sign(name):
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:pw-{name}".encode()).decode()}
    refused = server.client.get("/threads")
    assert refused.status == 401 and refused.json["code"] == "unauthenticated"
    thread = server.client.post("/threads", {}, headers=sign("ann")).json["id"]
    assert server.client.get("/threads/" + thread, headers=sign("ann")).status == 200
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/messages"), ("POST", "/messages"), ("GET", "/runs")):
        body = {"content": "x"} if method == "POST" else {"title": "x"} if method == "PATCH" else None
        response = server.client.request(method, f"/threads/{thread}{path}", body, headers=sign("bob"))
        assert response.status == 404, (method, path, response)
    assert server.client.get("/threads", headers=sign("bob")).json["data"] == []


def test_files_of_the_document_root_do_not_affect_the_api(make_server):
    server = make_server("<Directory />\nAllowOverride All\n</Directory>\n", start=False)
    (server.root / "htdocs/api").mkdir()
    (server.root / "htdocs/api/.htaccess").write_text("Require all denied\n")
    (server.root / "htdocs/.htaccess").write_text("ThisIsNoDirective\n")
    server.start()
    assert server.client.get("/threads").status == 200
