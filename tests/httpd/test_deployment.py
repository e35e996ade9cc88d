# SPDX-License-Identifier: Apache-2.0
"""The templates for Azure and Kubernetes, as far as they can be read here: nothing of them runs in a cloud. The scripts beside them run
against a real server."""
import json
import os
import re
import subprocess

import jsonschema
import pytest
import yaml

import peers
from container import Container, table
from key_file import MODULES
from manual import blocks
from model_server import Reply, answer
from server import AGENT, MODEL, TOP, Server, user

INFRA = TOP / "infra"
KUBERNETES = TOP / "conf/kubernetes"
HOOKS = INFRA / "hooks"
READERS = TOP / "tests/infra"
# The package with the vendor's types of each kind of resource.
TYPES = {"Microsoft.App": "appcontainers", "Microsoft.Authorization": "authorization", "Microsoft.Cache": "redisenterprisecache",
         "Microsoft.CognitiveServices": "cognitiveservices", "Microsoft.ContainerRegistry": "containerregistry",
         "Microsoft.DocumentDB": "cosmosdb", "Microsoft.Insights": "monitor", "Microsoft.KeyVault": "keyvault",
         "Microsoft.ManagedIdentity": "msi", "Microsoft.Network": "network", "Microsoft.OperationalInsights": "operationalinsights",
         "Microsoft.Resources": "resources", "Microsoft.Storage": "storage"}
OTHER_TYPES = {"Microsoft.Insights/components": "appinsights", "Microsoft.Insights/workbooks": "appinsights",
               "Microsoft.Network/privateDnsZones": "privatedns", "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "privatedns"}
# Members of Bicep itself, and of objects whose names are data: identities, tags, metadata of a scale rule.
OF_BICEP = {"name", "location", "tags", "parent", "scope", "dependsOn", "properties", "${identityId}", "azd-service-name",
            "concurrentRequests"}
# Members that ARM has under another name than the package, and those of Redis that are newer than its package.
NAMED_OTHERWISE = {"supportsHttpsTrafficOnly", "Application_Type", "WorkspaceResourceId", "DisableLocalAuth", "highAvailability",
                   "publicNetworkAccess", "accessKeysAuthentication"}
CONNECTION = "InstrumentationKey=01234567-89ab-cdef-0123-456789abcdef;IngestionEndpoint=https://127.0.0.1:1/"
KEY_LINE = f"id=first key=sha256:{'0' * 64} owner=first roles=admin"
AZURE_YAML = {
    "type": "object", "additionalProperties": False, "required": ["name", "infra", "services"],
    "properties": {
        "name": {"type": "string"}, "metadata": {"type": "object"}, "requiredVersions": {"type": "object"},
        "infra": {"type": "object", "additionalProperties": False, "properties": {
            "provider": {"enum": ["bicep"]}, "path": {"type": "string"}, "module": {"type": "string"}}},
        "services": {"type": "object", "additionalProperties": {
            "type": "object", "additionalProperties": False, "required": ["host"], "properties": {
                "project": {"type": "string"}, "host": {"enum": ["containerapp"]}, "language": {"type": "string"},
                "docker": {"type": "object", "additionalProperties": False, "properties": {
                    "path": {"type": "string"}, "context": {"type": "string"}, "platform": {"type": "string"},
                    "remoteBuild": {"type": "boolean"}}}}}},
        "workflows": {"type": "object", "additionalProperties": False, "properties": {"up": {
            "type": "object", "properties": {"steps": {"type": "array", "items": {"required": ["azd"]}}}}}},
        "hooks": {"type": "object", "additionalProperties": False, "properties": {
            name: {"type": "object", "additionalProperties": False, "properties": {"shell": {"enum": ["sh"]}, "run": {"type": "string"}}}
            for name in ("preprovision", "postprovision", "predeploy", "postdeploy", "preup", "postup")}}}}


def read(script, *arguments, text=None):
    environment = {**os.environ, "PEERS": str(peers.install(READERS))}
    done = subprocess.run([peers.node_program(), str(READERS / script), *map(str, arguments)], env=environment, input=text,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def facts():
    """What each .bicep file says, by its path below infra."""
    files = sorted(INFRA.rglob("*.bicep"))
    found = read("bicep.mjs", *files)
    return {str(path.relative_to(INFRA)): found[str(path)] for path in files}


# ---- Azure ----

def test_templates_can_be_parsed_and_a_wrong_one_is_found(facts, tmp_path):
    assert len(facts) > 10 and not {name: fact["errors"] for name, fact in facts.items() if fact["errors"]}
    wrong = tmp_path / "wrong.bicep"
    wrong.write_text((INFRA / "main.bicep").read_text().replace("params: {", "params: [", 1))
    assert read("bicep.mjs", wrong)[str(wrong)]["errors"]


def test_modules_get_their_parameters_and_have_the_outputs_that_are_used(facts):
    main = facts["main.bicep"]
    used = set()
    for name, module in main["modules"].items():
        wanted = facts[module["path"]]["params"]
        used.add(module["path"])
        assert set(module["params"]) <= set(wanted), name
        assert {param for param, has_default in wanted.items() if not has_default} <= set(module["params"]), name
    assert used == set(facts) - {"main.bicep"}, "a module that nothing uses"
    assert main["references"]
    for module, output in main["references"]:
        assert output in facts[main["modules"][module]["path"]]["outputs"], f"{module}.outputs.{output}"


def test_parameters_come_from_the_environment_and_are_no_secrets(facts):
    parameters = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    assert set(parameters) == set(facts["main.bicep"]["params"])
    assert all(re.fullmatch(r"\$\{[A-Z_]+(=[A-Za-z0-9.-]*)?\}", parameter["value"]) for parameter in parameters.values())
    assert facts["main.bicep"]["secure"] == ["keys"] == facts["modules/vault.bicep"]["secure"]


def test_no_service_accepts_keys(facts):
    wanted = {"Microsoft.DocumentDB/databaseAccounts": ("disableLocalAuth", "true"),
              "Microsoft.CognitiveServices/accounts": ("disableLocalAuth", "true"),
              "Microsoft.Insights/components": ("DisableLocalAuth", "true"),
              "Microsoft.Storage/storageAccounts": ("allowSharedKeyAccess", "false"),
              "Microsoft.KeyVault/vaults": ("enableRbacAuthorization", "true"),
              "Microsoft.ContainerRegistry/registries": ("adminUserEnabled", "false")}
    for fact in facts.values():
        for resource in fact["resources"]:
            name, text = wanted.get(kind := resource["type"].partition("@")[0], (None, None))
            if name and not resource["existing"]:
                assert resource["values"][name] == text, kind
                wanted.pop(kind)
    assert not wanted


def test_containers_are_those_of_the_manual():
    """The partition keys, indexes and the unique key that docs/azure-from-nothing.md creates."""
    text = (INFRA / "modules/store.bicep").read_text()
    commands = "".join(block for _, block in blocks(TOP / "docs/azure-from-nothing.md", "sh"))
    for name, keys in (("messages", ["/thread_id"]), ("threads", ["/owner", "/key"])):
        policy = json.loads(re.search(rf"cat >{name}\.json <<'END'\n(.*?)\nEND", commands, re.S)[1])
        container = re.search(rf"^resource {name} .*?^}}$", text, re.S | re.M)[0]
        paths = [path["path"] for path in policy["includedPaths"]]
        assert re.findall(r"^ +\{ path: '([^']+)' \}$", container, re.M) == paths
        composite = [(path["path"], path["order"]) for path in policy.get("compositeIndexes", [[]])[0]]
        assert re.findall(r"\{ path: '([^']+)', order: '(\w+)' \}", container) == composite
        assert re.findall(r"paths: \['([^']+)'\]", container) == keys and "version: 2" in container
        assert ("defaultTtl: -1" in container) == (name == "threads")


def test_roles_are_those_of_the_manual(facts):
    page = (TOP / "docs/azure.md").read_text()
    ids = set()
    for path in INFRA.rglob("*.bicep"):
        ids |= set(re.findall(r"'([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})'", path.read_text()))
    assert ids == set(re.findall(r"`([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})`", page)) and len(ids) == 7


def test_the_costs_of_the_manual_add_up():
    page = (TOP / "docs/azure.md").read_text()
    month = 30 * 24 * 3600
    app = ((month / 2 - 180_000) + (month - 360_000)) * 0.000003
    probes = (month / 10 * 10 + month / 5 - month / 10) * 0.25 / 1e6          # an upsert each 10 s, else a read each 5 s
    assert f"| {app:.2f}: 1,116,000 vCPU-seconds and 2,232,000 GiB-seconds" in page and f"| {probes:.2f}: `/ready`" in page
    turns = 10_000 * 10 / 2 * (0.000024 - 0.000003)
    model = 10_000 * (1000 * 0.25 + 300 * 2.00) / 1e6
    units = 10_000 * 106 * 0.25 / 1e6
    assert f"| {turns:.2f}, if a turn" in page and f"| {model:.2f} with 1000 tokens" in page and f"| {units:.2f}: about 1.1 million" in page
    assert f"about {app + probes + 0.1667 * 30:.0f}**" in page and f"about {turns + model + units:.0f}**" in page
    assert "each of four" in page and len(re.findall(r"\bid: \w+\.outputs\.id\b", (INFRA / "main.bicep").read_text())) == 4


def test_azure_yaml_names_what_is_there():
    document = yaml.safe_load((TOP / "azure.yaml").read_text())
    jsonschema.validate(document, AZURE_YAML)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "hook": {}}, AZURE_YAML)
    assert (TOP / document["infra"]["path"] / f"{document['infra']['module']}.bicep").exists()
    assert all(os.access(TOP / hook["run"], os.X_OK) for hook in document["hooks"].values())
    assert (TOP / document["services"]["api"]["docker"]["path"]).exists()


@pytest.mark.long
def test_members_of_resources_are_the_vendors(facts):
    """Each member of a resource has the name of one in the package for its kind. The packages are 170 MB."""
    home = peers.install(READERS / "types") / "@azure"
    known = {}
    for fact in facts.values():
        for resource in fact["resources"]:
            kind = resource["type"].partition("@")[0]
            package = OTHER_TYPES.get(kind) or TYPES[kind.partition("/")[0]]
            if package not in known:
                known[package] = set()
                for file in (home / f"arm-{package}").rglob("*.d.ts"):
                    known[package] |= set(re.findall(r"^\s+(?:readonly )?\"?([\w-]+)\"?\??:", file.read_text(), re.M))
            unknown = set(resource["properties"]) - known[package] - OF_BICEP - NAMED_OTHERWISE
            assert not unknown, f"{kind}: {sorted(unknown)}"
    assert len(known) > 10 and "disableLocalAuht" not in known["cosmosdb"]


# ---- the variables of the image ----
def test_the_image_knows_the_variables_of_the_template(facts):
    """And starts with the values that the template puts together."""
    text = (INFRA / "main.bicep").read_text() + (INFRA / "modules/app.bicep").read_text()
    values = dict(re.findall(r"\{ name: '([A-Z_]+)', (?:value|secretRef): (.*?) \}", text))
    assert len(values) > 10 and set(values) - {"AZURE_CLIENT_ID"} <= set(table())
    known = {"store.outputs.endpoint": "https://cosmos-1.documents.azure.com:443/", "store.outputs.database": "chat",
             "files.outputs.containerUrl": "https://st1.blob.core.windows.net/files",
             "redis.?outputs.host ?? ''": "redis-1.redis.azure.net",
             "drainSeconds": "120", "signIn": "keys", "model.outputs.endpoint": "https://ai-1.openai.azure.com",
             "monitoring.outputs.connectionString": CONNECTION, "identityClientId": "client-1", "'agentchat-keys'": KEY_LINE,
             "'redis-password'": "secret-1", "corsOrigin": "https://app.example.com", "openidIssuer": "https://login.example.com/v2.0",
             "openidJwks": "https://login.example.com/keys", "openidAudience": "aud-1", "openidScope": "Chat"}

    def value(expression):
        if expression in known:
            return known[expression]
        return re.sub(r"\$\{(.*?)\}", lambda match: known[match[1]], expression.strip("'"))
    container = Container()
    try:
        status, out = container.run({**{name: value(text) for name, text in values.items()},
                                     "AGENTCHAT_EVENT_LOG": f"{container.root}/state/events"}, "configtest")
        assert (status, out) == (0, "Syntax OK\n")
    finally:
        container.remove()


def test_the_image_knows_the_variables_of_the_manifests():
    """A key file is a link there, and the directories of an emptyDir belong to root."""
    document = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    values = dict(text.split("=", 1) for text in document["configMapGenerator"][0]["literals"])
    assert set(values) <= set(table())
    container = Container()
    try:
        folder = container.root / "keys"
        (folder / "..data").mkdir(parents=True)
        (folder / "..data/keys").write_text(KEY_LINE + "\n")
        (folder / "..data/keys").chmod(0o440)
        (folder / "keys").symlink_to("..data/keys")
        if os.geteuid() == 0:
            os.chown(folder / "..data/keys", 0, user().pw_gid)
            os.chown(container.root / "state", 0, 0)
        (container.root / "state").chmod(0o777)
        # Of the webhook of workload identity.
        identity = {"AZURE_CLIENT_ID": "client-1", "AZURE_TENANT_ID": "tenant-1", "AZURE_FEDERATED_TOKEN_FILE": str(folder / "keys")}
        container.start(**{**values, **identity, "AGENTCHAT_KEYS_FILE": str(folder / "keys")})
        assert container.client.get("/threads").status == 401
    finally:
        container.remove()


# ---- the scripts that azd runs ----

AZD = """#!/bin/sh
[ "$1 $2" = "env set" ] && printf '%s=%s\\n' "$3" "$4" >>"$AZD_ENV"
"""
MOUNTS = """
<Location "/api">
    SetHandler agentchat
    AuthType AgentChat
    AuthName chat
    AgentChatKeys "first.keys"
    Require valid-user
</Location>
<Location "/ready">
    SetHandler agentchat
</Location>
"""


def run_hook(name, tmp_path, **variables):
    azd = tmp_path / "azd"
    azd.write_text(AZD)
    azd.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "AZD_ENV": str(tmp_path / "env"), "SMOKE_TRIES": "1", **variables}
    return subprocess.run([HOOKS / name], env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture
def key(tmp_path):
    """The variables that make-key.sh has set."""
    done = run_hook("make-key.sh", tmp_path)
    assert done.returncode == 0 and "AGENTCHAT_KEY" in done.stdout, done.stderr
    return dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())


@pytest.fixture
def site(key, model):
    server = Server(MODEL.format(url=model.url) + AGENT + MOUNTS, modules=MODULES)
    keys = server.root / "first.keys"
    keys.write_text(key["AGENTCHAT_KEYS"] + "\n")
    keys.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(keys, 0, user().pw_gid)
    yield server.start()
    server.remove()


def test_a_key_is_made_once_and_only_for_this_sign_in(tmp_path, key):
    again = run_hook("make-key.sh", tmp_path, **key)
    assert again.returncode == 0 and again.stdout == ""
    assert run_hook("make-key.sh", tmp_path, AGENTCHAT_SIGN_IN="openid").stdout == ""
    assert len((tmp_path / "env").read_text().splitlines()) == 2


def smoke(tmp_path, site, **variables):
    return run_hook("smoke-test.sh", tmp_path, SERVICE_API_URI=f"http://127.0.0.1:{site.port}", **variables)


def test_the_smoke_test_streams_resumes_and_signs_in(tmp_path, site, key, model):
    model.play(answer("It ", "is ", "13.50."))
    done = smoke(tmp_path, site, **key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["ready", "signed out: 401", "streamed: 3 tokens"] and "resumed: six times" in done.stdout
    assert len(model.requests) == 1
    assert "was not tested" in smoke(tmp_path, site).stdout
    assert smoke(tmp_path, site, SERVICE_API_RESOURCE_EXISTS="false").stdout == "a new app: tested at the end of azd up\n"
    assert "ready" in smoke(tmp_path, site, SERVICE_API_RESOURCE_EXISTS="true").stdout


def test_the_smoke_test_finds_what_is_wrong(tmp_path, site, key, model):
    model.play(Reply(400, {"error": {"message": "no such model"}}))
    done = smoke(tmp_path, site, **key)
    assert done.returncode == 1 and "the stream did not end well" in done.stderr, done
    assert smoke(tmp_path, site, **{**key, "AGENTCHAT_KEY": "ack_first_wrong"}).returncode == 1
    site.stop()
    done = smoke(tmp_path, site, **key)
    assert done.returncode == 1 and "not ready" in done.stderr


# ---- Kubernetes ----

@pytest.fixture(scope="module")
def objects():
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == sorted(p.name for p in KUBERNETES.glob("*.yaml") if p.name != "kustomization.yaml")
    return [yaml.safe_load((KUBERNETES / name).read_text()) for name in kustomization["resources"]]


def test_objects_have_the_schema_of_kubernetes(objects):
    assert read("kubernetes.mjs", text=json.dumps(objects)) == []
    wrong = json.loads(json.dumps(objects))
    next(o for o in wrong if o["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"] = 1
    assert len(read("kubernetes.mjs", text=json.dumps(wrong))) == 1


def test_objects_fit_together(objects):
    by_kind = {o["kind"]: o for o in objects}
    deployment = by_kind["Deployment"]["spec"]
    pod, labels = deployment["template"]["spec"], deployment["template"]["metadata"]["labels"].items()
    container, = pod["containers"]
    for selector in (deployment["selector"]["matchLabels"], by_kind["Service"]["spec"]["selector"],
                     by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                     by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]):
        assert selector.items() <= labels
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for m in container["volumeMounts"]}
    assert by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == by_kind["Deployment"]["metadata"]["name"]
    assert pod["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"]
    drain = 120
    assert pod["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"] + drain


def test_the_grace_of_azure_is_longer_than_the_drain():
    app = (INFRA / "modules/app.bicep").read_text()
    assert "var drainSeconds = 120" in app and "var graceSeconds = drainSeconds + 30" in app
    assert "terminationGracePeriodSeconds: graceSeconds" in app and "value: '${drainSeconds}s'" in app
