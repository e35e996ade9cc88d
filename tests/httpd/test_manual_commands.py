# SPDX-License-Identifier: Apache-2.0
"""Every command of the manual runs as it is printed: against a real server, or where it cannot run in a test, as a stub that writes
down how it was called, and why it is one."""
import grp
import json
import os
import re
import shutil
import subprocess

import pytest

from blob_server import KEY as BLOB_KEY
from blob_server import Blob
from cosmos_server import KEY
from manual import blocks
from server import BUILD, HTTPD, MODULES, TOP, WAIT, Server, sanitizer, user
from webhooks import SECRET as WEBHOOK_SECRET

PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]

# Programs replaced by a stub, and the reason.
STUBS = {
    "az": "test_azure_commands.py calls it, where it is installed",
    "a2enmod": "test_install.py calls it in a Debian apache2 of its own",
    "a2dismod": "the same",
    "apache2ctl": "the same; what only asks is asked here",
    "apachectl": "the same",
    "make": "test_install.py installs and packs; here its targets are looked up",
    "apt-get": "tests/packages.sh installs the package on a bare machine, and what builds it", "dnf": "the same",
    "setsebool": "SELinux is the machine's", "semanage": "the same", "restorecon": "the same",
    "azd": "it signs in to Azure; test_deployment.py runs its scripts and reads its templates",
    "kubectl": "there is no cluster; test_deployment.py reads the manifests",
    "docker": "test_container.py runs what is in the image",
    "nano": "an editor is interactive",
    "systemctl": "httpd is not the system's here; the test stops and starts it instead",
}
# Pages whose curl is run elsewhere, with their own configuration.
CURL_ELSEWHERE = {"README.md": "test_readme.py", "first-configuration.md": "test_install.py"}
WHOLE_ELSEWHERE = {"clients.md": "test_clients.py"}



def commands(page):
    """What a reader of the page types, from its first line to its last."""
    return "".join(text for _, text in blocks(page, "sh") if not (page.name in CURL_ELSEWHERE and "curl " in text))


CASES = [page for page in PAGES if page.name not in WHOLE_ELSEWHERE and commands(page)]

AZ = ("login", "group", "cosmosdb", "cognitiveservices", "vm", "role", "rest", "storage")

# A sanitizer is loaded into what was built with it, and into no other program.
EXPORTS = "".join(f"export {name}='{value}';" for name, value in sanitizer().items())
OURS = """#!/bin/bash
{exports} exec {program} "$@"
"""
STUB = """#!/bin/bash
printf '%s\\0' "${0##*/}" "$@" $'\\n' >>"$STUB_LOG"
case "${0##*/} $*" in
apache*" -V"|apache*" configtest") {exports} exec {httpd} ${2:+$2} -f {conf} $([ "$1" = configtest ] && echo -t || echo -V) ;;
"azd env get-value SERVICE_API_URI") echo {url} ;;
"azd env get-value AGENTCHAT_KEY") echo "$KEY" ;;
"az "*"-o tsv") echo /subscriptions/1/what-was-asked-for ;;
esac
"""
# Another user's commands are carried out as that user where root may; else there is one user for all.
SUDO = """#!/bin/bash
if [ "$1" = -u ]; then
    user=$2
    shift 2
    [ "$(id -u)" != 0 ] || exec runuser -u "$user" -- "$@"
fi
exec "$@"
"""
# As a user that is signed in; an error as answer fails.
SHELL = """set -e -o pipefail
curl() { case "$*" in *X-API-Key*) command curl -f "$@" ;; *) command curl -f -H "X-API-Key: $KEY" "$@" ;; esac; }
"""
INSTALL = """#!/bin/bash
[ "$(id -u)" != 0 ] || exec /usr/bin/install "$@"
for word; do
    shift
    case $word in -o|-g) drop=1 ;; *) [ "${drop:-}" ] || set -- "$@" "$word"; drop= ;; esac
done
exec /usr/bin/install "$@"
"""

CONFIGURATION = """
AgentChatStore sqlite:{state}/agentchat.db
<AgentChatModel gpt>
    AgentChatProvider demo
    AgentChatEndpoint demo pace=0
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel gpt
    AgentChatTools calculate get_weather
</AgentChatAgent>
AgentChatFiles on
<AgentChatWebhook billing>
    AgentChatWebhookURL {url}/hook
    AgentChatWebhookSecret file:{hook}
    AgentChatWebhookAllowPrivate on
    AgentChatWebhookRetries none
</AgentChatWebhook>
<Location "/api">
    SetHandler agentchat
    AuthType AgentChat
    AuthName "chat"
    AgentChatKeys "{keys}"
    Require valid-user
</Location>
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """(server, directory of programs, key of an admin): a server as the manual's, whose watching needs no sign-in."""
    programs = tmp_path_factory.mktemp("machine") / "bin"
    programs.mkdir()
    server = Server("", modules=("authz_host", "authn_core", "authz_user"))
    keys, hook = server.root / "keys", server.root / "hook"
    hook.write_text(WEBHOOK_SECRET)
    key = subprocess.run([BUILD / "agentchat-keys", "make", keys, "admin", "owner=ann", "roles=admin"], capture_output=True, text=True,
                         check=True, env={**os.environ, **sanitizer()}).stdout.strip()
    for file in (keys, hook):
        file.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(file, -1, user().pw_gid)
    watching, = [text for _, text in blocks(TOP / "docs/operations.md", "apache") if "selftest" in text]
    server.conf.write_text(server.conf.read_text() + CONFIGURATION.format(
        keys=keys, hook=hook, state=server.root / "state", url=f"http://127.0.0.1:{server.port}") + watching)
    for name, text in [*((name, STUB) for name in STUBS), ("sudo", SUDO), ("install", INSTALL),
                       *((name, OURS.format(exports=EXPORTS, program=BUILD / name)) for name in ("agentchat-keys", "agentchat-store"))]:
        file = programs / name
        file.write_text(text.replace("{httpd}", HTTPD).replace("{conf}", str(server.conf))
                        .replace("{url}", f"http://127.0.0.1:{server.port}").replace("{exports}", EXPORTS))
        file.chmod(0o755)
    server.start()
    yield server, programs, key
    server.remove()


def of_this_machine(text, server):
    """The command with this server in the place of the manual's."""
    text = re.sub(r"http://localhost(:8080)?/", f"http://127.0.0.1:{server.port}/", text)
    text = text.replace("/var/log/apache2/error.log", f"{server.root}/logs/error.log")
    text = text.replace("/usr/share/agentchat/systemd", f"{TOP}/conf/systemd")
    text = text.replace("/var/lib/agentchat", f"{server.root}/state").replace("/etc/", f"{server.root}/etc/")
    return text.replace("www-data", user().pw_name if os.geteuid() == 0 else grp.getgrgid(os.getgid()).gr_name)


def parts(text):
    """The commands before and after each one that stops or starts httpd, and those: (command, verb or None)."""
    for piece in re.split(r"^(sudo systemctl (?:stop|start|restart|reload) \w+\n)", text, flags=re.M):
        verb = re.match(r"sudo systemctl (\w+)", piece)
        if piece.strip():
            yield piece, verb[1] if verb else None


def look_at_calls(calls):
    """Checks of the arguments of a program that was not called."""
    for name, *words in calls:
        if name == "make":
            targets = re.findall(r"^([\w -]+):(?!=)", "".join((TOP / n).read_text() for n in ("Makefile", "conf/install.mk")), re.M)
            named = [word for word in words if "=" not in word]
            assert set(named) <= set(" ".join(targets).split()), words
        elif name in ("a2enmod", "a2dismod"):
            assert all(word == "agentchat" or (MODULES / f"mod_{word}.so").exists() for word in words), words
        elif name == "systemctl":
            assert (words[0], len(words)) in (("edit", 2), ("daemon-reload", 1))
        elif name == "azd":
            assert words[0] in ("auth", "up", "env", "down"), words
        elif name == "kubectl" and "apply" in words:
            assert (TOP / words[-1] / "kustomization.yaml").exists(), words
        elif name == "az":
            assert words[0] in AZ, words


# What a page's commands must have printed.
SAYS = {"proxies.md": ['"n":10,', "event: done"], "agents.md": ['"id":"poet"'], "upgrades.md": ['"version"', '"status":"ready"', '"n":10,'],
        "azure.md": ['"type":"done"'], "azure-from-nothing.md": ['"status":"ready"', '"type":"done"'],
        "stores.md": ["^ok$"], "moving-stores.md": ["All is there"],
        "usage.md": ['"totals":'], "feedback.md": ['"rating":"down"', '"object":"end","count":1'], "files.md": ['"name":"notes.txt"'],
        "privacy.md": ['"object":"end"', '"object":"erasure"']}


@pytest.mark.parametrize("page", CASES, ids=[page.name for page in CASES])
def test_commands(machine, tmp_path, cosmos, services, page):
    server, programs, key = machine
    shutil.rmtree(server.root / "etc/agentchat", ignore_errors=True)       # no page may rely on another one's
    (server.root / "etc/apache2").mkdir(parents=True, exist_ok=True)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/packages.sh").symlink_to(TOP / "conf/packages.sh")         # what it would install it asks a stub for
    log = tmp_path / "calls"
    log.touch()
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin", "STUB_LOG": str(log), "KEY": key,
                   "COSMOS_KEY": KEY, "BLOB_KEY": BLOB_KEY, "GROUP": "chat", "OPENAI": "chat-openai", "ACCOUNT": "chat-store"}
    said, blob = "", Blob()
    services.append(blob)
    for piece, verb in parts(of_this_machine(commands(page), server)):
        if verb in ("stop", "restart"):
            server.stop()
        if verb in ("start", "restart"):
            server.start()
        if verb:
            continue
        piece = piece.replace("cosmos:https://ACCOUNT.documents.azure.com", f"cosmos:{cosmos.url}")
        piece = piece.replace("blob:https://ACCOUNT.blob.core.windows.net/files", f"blob:{blob.container_url}")
        done = subprocess.run(["bash", "-c", SHELL + piece], capture_output=True, text=True, timeout=WAIT, env=environment, cwd=tmp_path)
        assert done.returncode == 0, f"{page.name}: {piece}\n{done.stdout}{done.stderr}"
        said += done.stdout
    calls = [call.split("\0")[:-1] for call in log.read_text().split("\n\0") if call]
    look_at_calls(calls)
    for pattern in SAYS.get(page.name, []):
        assert re.search(pattern, said, re.M), f"{page.name}: '{pattern}' is not in:\n{said}"
    if page.name == "azure-from-nothing.md":
        containers_are_as_the_module_makes_them(tmp_path, calls)
    if page.name == "stores.md":
        assert server.client.get("/threads", headers={"X-API-Key": key}).status == 200


def containers_are_as_the_module_makes_them(directory, calls):
    source = re.sub(r'"\s*\n\s*"', "", (TOP / "src/back/cosmos/cosmos_prepare.c").read_text())
    for name in ("threads", "messages"):
        key, policy, unique = re.search(rf'\[AC_COSMOS_{name.upper()}\] =\s*{{\s*"([^"]+)",\s*"((?:[^"\\]|\\.)*)",\s*'
                                        r'(?:"((?:[^"\\]|\\.)*)"|NULL)', source).groups()
        call, = [call for call in calls if "container" in call and call[call.index("-n") + 1] == name]
        given = {word: call[i + 1] for i, word in enumerate(call[:-1]) if word.startswith("-")}
        assert given["--partition-key-path"] == key
        mine, theirs = json.loads((directory / f"{name}.json").read_text()), json.loads(policy.replace('\\"', '"'))
        assert mine == theirs and given["--idx"] == f"@{name}.json"
        assert json.loads(given.get("--unique-key-policy", "null")) == (json.loads(unique.replace('\\"', '"')) if unique else None)


@pytest.mark.parametrize("name", ["README.md", "docs/install.md"])
def test_a_bare_debian_has_the_commands_of_the_manual(name):
    """conf/packages.sh installs build tools and no service: packages of Debian's apache2 have to be there before."""
    needs = next(text for _, text in blocks(TOP / name, "sh") if "conf/packages.sh" in text)
    assert re.search(r"^sudo apt-get update && sudo apt-get install apache2$.*^conf/packages.sh run.*^sudo a2enmod", needs, re.M | re.S)


def test_every_command_is_looked_at():
    assert len(CASES) > 12 and set(WHOLE_ELSEWHERE) | set(CURL_ELSEWHERE) <= {page.name for page in PAGES}
    for name in {*WHOLE_ELSEWHERE.values(), *CURL_ELSEWHERE.values()}:
        assert (TOP / "tests/httpd" / name).exists()
