# SPDX-License-Identifier: Apache-2.0
"""The manual's commands of the Azure CLI, each as it is printed, with the CLI itself on a scripted Azure; and what they have made there
is what the module asks for."""
import json
import os
import re
import shutil
import subprocess

import pytest

from azure_manager import PRINCIPAL, ROOT
from azure_server import TOKEN, Azure
from cosmos_container import Container
from cosmos_stores import ENV, store, wait_ready
from manual import blocks
from server import TOP

pytestmark = pytest.mark.skipif(not shutil.which("az"), reason="no az: Debian's azure-cli takes 690 MB")

PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
NOTHING, STORES = TOP / "docs/azure-from-nothing.md", TOP / "docs/stores.md"
NAMES = {"GROUP": "chat", "ACCOUNT": "chat-store-4711", "OPENAI": "chat-openai-4711", "STORAGE": "chatfiles4711"}
DELETE = f"az group delete -n {NAMES['GROUP']}"
NEWER = ("az cognitiveservices model list -l REGION -o table",)          # Debian 12's CLI does not have it yet
LONG = 600          # seconds: a machine with much to do starts the CLI in ten

# Debian 12's CLI and its library do not fit: the CLI asks for versions of two interfaces that the library has not, and for a member
# that has another name there, and ends before it has sent anything. Here it gets the newest versions, and the member.
FITTING = """
import importlib, os, re, sys
from azure.cli.core.profiles import _shared as shared
profile = shared.AZURE_API_PROFILES["latest"]
for kind in (shared.ResourceType.MGMT_COMPUTE, shared.ResourceType.MGMT_NETWORK):
    known = [name[1:].replace("_", "-") for name in os.listdir(importlib.import_module(kind.import_prefix).__path__[0])]
    newest, named = max(name for name in known if re.fullmatch(r"[0-9-]{10}", name)), profile[kind]
    if isinstance(named, str):
        profile[kind] = named if named in known else newest
    elif named.default_api_version not in known:
        profile[kind] = shared.SDKProfile(newest, {part: v for part, v in named.profile.items() if part and v in known})
if "role" in sys.orig_argv:
    from azure.mgmt.authorization.v2020_04_01_preview.operations import RoleAssignmentsOperations as operations
    if not hasattr(operations, "config"):
        operations.config = property(lambda self: self._config)
"""
# Signs in when a browser is opened.
BROWSER = """#!/bin/bash
exec curl -sfL --cacert {certificate} --proxy {proxy} --noproxy localhost -o /dev/null "$@"
"""


def az_blocks(page):
    """The blocks of a page that call az, and nothing of httpd."""
    return "".join(text for _, text in blocks(page, "sh") if re.search(r"\baz ", text))


def az_words(page):
    """Commands outside of blocks: `az …` in a line or a table."""
    return re.findall(r"`(az\s[^`]*)`", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))


class Reader:
    """A user with an own home directory who follows the manual, on a scripted Azure."""

    def __init__(self, directory):
        self.azure, self.home, site = Azure(directory), directory / "home", directory / "site"
        self.home.mkdir()
        browser = directory / "browser"
        browser.write_text(BROWSER.format(certificate=self.azure.certificate, proxy=self.azure.url))
        browser.chmod(0o755)
        site.mkdir()
        (site / "sitecustomize.py").write_text(FITTING)
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8", "BROWSER": f"{browser} %s &",
            "HTTPS_PROXY": self.azure.url, "NO_PROXY": "localhost", "REQUESTS_CA_BUNDLE": str(self.azure.certificate),
            "PYTHONPATH": str(site), "AZURE_CORE_COLLECT_TELEMETRY": "0", **NAMES}

    def type(self, text):
        done = subprocess.run(["bash", "-c", "set -e -o pipefail\n" + text], cwd=self.home, env=self.environment, capture_output=True,
                              text=True, timeout=LONG, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout

    def resource(self, path):
        return self.azure.manager.find(f"{ROOT}/resourceGroups/chat/providers/{path}")

    def container(self, name):
        return self.resource(f"Microsoft.DocumentDB/databaseAccounts/chat-store-4711/sqlDatabases/chat/containers/{name}")[
            "properties"]["resource"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader who has carried out azure-from-nothing.md."""
    reader = Reader(tmp_path_factory.mktemp("azure"))
    try:
        reader.type(az_blocks(NOTHING))
        yield reader
    finally:
        reader.azure.stop()


def test_an_identity_gets_its_machine_and_its_roles(reader):
    vm = reader.resource("Microsoft.Compute/virtualMachines/chat")
    assert vm["identity"]["type"] == "SystemAssigned"
    openai = reader.resource("Microsoft.CognitiveServices/accounts/chat-openai-4711")
    account = reader.resource("Microsoft.DocumentDB/databaseAccounts/chat-store-4711")
    storage = reader.resource("Microsoft.Storage/storageAccounts/chatfiles4711")
    files = reader.resource("Microsoft.Storage/storageAccounts/chatfiles4711/blobServices/default/containers/files")
    roles = {reader.azure.manager.find(role["properties"]["roleDefinitionId"])["properties"]["roleName"]: role
             for role in reader.azure.manager.of_kind("Microsoft.Authorization/roleAssignments")}
    data_role, = reader.azure.manager.of_kind("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")
    for scope, name in [(openai, "Cognitive Services OpenAI User"), (account, "Cosmos DB Built-in Data Contributor"),
                        (files, "Storage Blob Data Contributor"), (storage, "Storage Blob Delegator")]:
        given = roles.pop(name, data_role)
        assert given["properties"]["principalId"] == PRINCIPAL
        assert reader.azure.manager.find(given["properties"]["roleDefinitionId"])["properties"]["roleName"] == name
        at = given["properties"].get("scope") or given["id"].rpartition("/providers/")[0]
        assert at.rstrip("/").lower() == scope["id"].lower()
    assert not roles
    rule = reader.resource("Microsoft.Network/networkSecurityGroups/chatNSG/securityRules/open-port-443")["properties"]
    assert rule["destinationPortRange"] == "443" and rule["access"].lower() == "allow"


def test_the_container_of_files_is_private_and_takes_no_keys(reader):
    configuration = "".join(text for _, text in blocks(NOTHING, "apache"))
    address, name = re.search(r"blob:https://(\w+)\.blob\.core\.windows\.net/(\w+) credential=identity:managed", configuration).groups()
    account, = reader.azure.manager.of_kind("Microsoft.Storage/storageAccounts")
    container, = reader.azure.manager.of_kind("Microsoft.Storage/storageAccounts/blobServices/containers")
    assert (account["name"], container["name"]) == (address, name)
    assert account["properties"]["allowBlobPublicAccess"] is account["properties"]["allowSharedKeyAccess"] is False
    assert account["properties"]["minimumTlsVersion"] == "TLS1_2" and container["properties"].get("publicAccess", "None") == "None"


def test_the_model_is_at_the_address_that_the_configuration_names(reader):
    configuration = "".join(text for _, text in blocks(NOTHING, "apache"))
    address, deployment = re.search(r"https://([\w-]+)\.openai\.azure\.com deployment=(\w+)", configuration).groups()
    account, = reader.azure.manager.of_kind("Microsoft.CognitiveServices/accounts")
    assert account["properties"]["customSubDomainName"] == address
    made, = reader.azure.manager.of_kind("Microsoft.CognitiveServices/accounts/deployments")
    assert made["name"] == deployment and made["sku"]["capacity"] == 50
    assert f"cosmos:https://{NAMES['ACCOUNT']}.documents.azure.com database=chat" in configuration


def test_the_containers_are_those_that_the_module_makes(reader, make_server, cosmos):
    """create=on makes the same; and a server without it takes what the commands have made."""
    server = make_server(store(cosmos), env=ENV)
    wait_ready(server.client)
    for name, container in cosmos.databases["chat"].items():
        asked = reader.container(name)
        for member in ("partitionKey", "indexingPolicy", "uniqueKeyPolicy", "defaultTtl"):
            assert asked.get(member) == container.definition.get(member), (name, member)
    server.stop()
    cosmos.reset()
    cosmos.databases["chat"] = {name: Container(reader.container(name)) for name in ("threads", "messages")}
    server = make_server(store(cosmos, create="off"), env=ENV)
    wait_ready(server.client)
    server.client.thread()


def test_other_commands_of_the_pages(reader):
    """In lines and tables: a command with options is carried out, another one is known to the CLI."""
    words = [" ".join(text.split()) for page in PAGES for text in az_words(page)]
    assert len(words) > 8 and DELETE in words
    before = reader.container("messages")
    for text in words:
        if text not in (DELETE, "az login", *NEWER):        # the first is the last one, the second has been done
            reader.type(text if " -" in text else text + " --help")
    assert reader.container("messages") == before
    before = reader.container("threads")
    reader.type("az cosmosdb sql container update -g $GROUP -a $ACCOUNT -d chat -n threads --idx @threads.json")
    assert reader.container("threads") == before


def test_an_account_comes_back_from_its_backup(reader):
    text = az_blocks(STORES)
    for word, name in [("NEW-ACCOUNT", "chat-store-4712"), ("ACCOUNT", NAMES["ACCOUNT"]), ("GROUP", NAMES["GROUP"])]:
        text = re.sub(rf"(?<= ){word}\b", name, text)
    reader.type(text)
    restored = reader.resource("Microsoft.DocumentDB/databaseAccounts/chat-store-4712")["properties"]
    assert restored["createMode"] == "Restore"
    assert restored["restoreParameters"]["restoreTimestampInUtc"].startswith(re.search(r"--restore-timestamp (\S+)Z", text)[1])


def test_the_cli_gives_tokens_as_the_module_reads_them(reader):
    words = re.search(r'path, ("account".*?), resource', (TOP / "src/back/credential/identity_cli.c").read_text(), re.S)[1]
    answer = json.loads(reader.type(f"az {' '.join(json.loads(f'[{words}]'))} https://management.azure.com"))
    assert answer["accessToken"] == TOKEN and re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", answer["expiresOn"])


def test_deleting_the_group_deletes_everything(reader):
    there = dict(reader.azure.manager.resources)
    reader.type(f"echo y | script -qec '{DELETE}' /dev/null")       # it asks, and only at a terminal
    assert not [path for path in reader.azure.manager.resources if "/resourcegroups/chat" in path]
    reader.azure.manager.resources |= there
