# SPDX-License-Identifier: Apache-2.0
"""The resource manager of a scripted Azure, with an empty subscription. It refuses what a reader of the manual could
forget or get wrong: providers that are not registered, groups and parents that are missing or still being made,
kinds of resources that Azure does not make any more, models, roles and documents that do not fit."""
import json
import re
import uuid

HOST = "management.azure.com"
TENANT, SUBSCRIPTION, PRINCIPAL = (str(uuid.UUID(int=n)) for n in (0x1111, 0x2222, 0x3333))
ROOT = f"/subscriptions/{SUBSCRIPTION}"
KEY = "a-key-of-a-scripted-account"
IMAGE = "/publishers/Debian/artifacttypes/vmimage/offers/debian-12/skus/12-gen2/versions/0.20261101.1"

ROLES = {"5e0bd9bd-7b93-4f28-af87-19fc36ad61bd": "Cognitive Services OpenAI User",
         "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
         "db58b8e5-c6ad-4a2a-8342-4190687cbf4a": "Storage Blob Delegator"}

# What is there without anybody having made it.
GIVEN = {
    ROOT: {},
    **{f"{ROOT}/providers/Microsoft.Authorization/roleDefinitions/{id}": {"properties": {"roleName": name, "type": "BuiltInRole"}}
       for id, name in ROLES.items()},
    f"{ROOT}/providers/Microsoft.Compute/locations/swedencentral{IMAGE}":
        {"location": "swedencentral", "properties": {"hyperVGeneration": "V2", "osDiskImage": {"operatingSystem": "Linux"},
                                                     "dataDiskImages": []}},
}
LISTS = {"/tenants": [{"id": f"/tenants/{TENANT}", "tenantId": TENANT}],
         "/subscriptions": [{"id": ROOT, "subscriptionId": SUBSCRIPTION, "tenantId": TENANT, "displayName": "chat", "state": "Enabled"}]}
COMES_WITH = {"microsoft.storage/storageaccounts": {"blobServices/default": {}}, "microsoft.documentdb/databaseaccounts": {
    "sqlRoleDefinitions/00000000-0000-0000-0000-000000000001": {"properties": {"roleName": "Cosmos DB Built-in Data Reader"}},
    "sqlRoleDefinitions/00000000-0000-0000-0000-000000000002": {"properties": {"roleName": "Cosmos DB Built-in Data Contributor"}}}}
# What Azure adds to what was asked for.
ADDS = {
    "microsoft.documentdb/databaseaccounts": {
        "consistencyPolicy": {"defaultConsistencyLevel": "Session"},
        "backupPolicy": {"type": "Periodic", "periodicModeProperties": {
            "backupIntervalInMinutes": 240, "backupRetentionIntervalInHours": 8, "backupStorageRedundancy": "Geo"}}},
    "microsoft.compute/virtualmachines": {"instanceView": {"statuses": [{"code": "PowerState/running", "displayStatus": "VM running"}]}},
    "microsoft.network/publicipaddresses": {"ipAddress": "203.0.113.7"},
}
MODEL = {"format": "OpenAI", "name": "gpt-5-mini", "version": "2025-08-07"}
AT_ONCE = ("microsoft.resources/resourcegroups", "microsoft.authorization/roleassignments",
           "microsoft.storage/storageaccounts/blobservices/containers")


class Failure(Exception):
    def __init__(self, status, code, message=""):
        super().__init__(message)
        self.status, self.code = status, code


def demand(condition, what):
    if not condition:
        raise Failure(400, "BadRequest", what)


class Manager:
    def __init__(self):
        self.resources, self.pending = {}, {}
        self.registered = {"microsoft.resources", "microsoft.authorization"}
        for path, members in GIVEN.items():
            self._put(path, members)

    def answer(self, method, path, query, body):
        """(status, document, header fields), or raises Failure."""
        if path in LISTS:
            return 200, {"value": LISTS[path]}, {}
        if match := re.fullmatch(rf"{ROOT}/providers/([\w.]+)(/register)?", path):
            if match[2]:
                self.registered.add(match[1].lower())
            state = "Registered" if match[1].lower() in self.registered else "NotRegistered"
            return 200, {"namespace": match[1], "registrationState": state, "resourceTypes": []}, {}
        if match := re.fullmatch(r"/operations/(\w+)", path):
            return 200, {"status": self._how_far(match[1])}, {"Retry-After": "1"}
        if method == "GET":
            return 200, self._read(path, query), {}
        if method == "HEAD":
            return 204 if path.lower() in self.resources else 404, None, {}
        if method == "PUT":
            return self._make(path, body)
        if method == "PATCH":
            old = self.find(path)
            return self._make(path, {**old, **body, "properties": old["properties"] | body.get("properties", {})})
        if method == "POST" and path.lower().endswith("/listkeys"):
            self.find(path.rpartition("/")[0])
            return 200, {"keys": [{"keyName": f"key{n}", "value": KEY, "permissions": "FULL"} for n in (1, 2)]}, {}
        if method == "DELETE" and self.find(path):
            for at in [at for at in self.resources if f"{at}/".startswith(path.lower() + "/")]:
                del self.resources[at]
            return 200, None, {}
        raise Failure(404, "NotFound", f"{method} {path}")

    def find(self, path):
        if path.lower() not in self.resources:
            raise Failure(404, "ResourceNotFound" if "/providers/" in path else "ResourceGroupNotFound", f"'{path}' was not found.")
        return self.resources[path.lower()]

    def of_kind(self, kind):
        return [resource for resource in self.resources.values() if resource.get("type", "").lower() == kind.lower()]

    def _put(self, path, members):
        resource = {"id": path, "name": path.rpartition("/")[2], **members}
        resource["properties"] = dict(members.get("properties", {}))
        if members.get("identity"):
            resource["identity"] = {**members["identity"], "principalId": PRINCIPAL, "tenantId": TENANT}
        self.resources[path.lower()] = resource

    def _read(self, path, query):
        """A resource, or those directly below."""
        if path.endswith("/restorableDatabaseAccounts"):
            return {"value": [restorable(account) for account in self.of_kind("Microsoft.DocumentDB/databaseAccounts")
                              if account["properties"].get("backupPolicy", {}).get("type") == "Continuous"]}
        if path.endswith("/restorableSqlResources"):
            return {"value": [{"databaseName": database["name"], "collectionNames": ["threads", "messages"]}
                              for database in self.of_kind("Microsoft.DocumentDB/databaseAccounts/sqlDatabases")]}
        if path.endswith("/models"):
            return {"value": [MODEL | {"skus": [{"name": "GlobalStandard"}]}]}
        if "/providers/" not in path or path.rpartition("/providers/")[2].count("/") % 2 == 0:
            return self.find(path)
        if path.endswith("/providers/Microsoft.Authorization/roleDefinitions"):
            path = f"{ROOT}/providers/Microsoft.Authorization/roleDefinitions"      # at each scope there are those of the subscription
        start, wanted = path.lower() + "/", re.search(r"roleName eq '([^']+)'", query.get("$filter", ""))
        found = [resource for at, resource in self.resources.items() if at.startswith(start) and "/" not in at[len(start):]
                 and (not wanted or resource["properties"]["roleName"] == wanted[1])]
        return found if path.endswith("/versions") else {"value": found}

    def _make(self, path, body):
        above, _, below = path.rpartition("/providers/")
        provider, *names = below.split("/") if above else ("Microsoft.Resources", "resourceGroups", "")
        if provider.lower() not in self.registered:
            raise Failure(409, "MissingSubscriptionRegistration", f"The subscription is not registered to use namespace '{provider}'.")
        parent = self.find(path.rsplit("/", 2)[0] if len(names) > 2 else above or ROOT)
        if parent["properties"].get("provisioningState", "Succeeded") != "Succeeded":
            raise Failure(409, "Conflict", f"'{parent['id']}' is not ready.")
        kind = "/".join([provider, *names[::2]])
        if rule := RULES.get(kind.lower()):
            rule(self, path, parent, body)
        was_there = path.lower() in self.resources
        self._put(path, {**body, "type": kind, "properties": ADDS.get(kind.lower(), {}) | body.get("properties", {})})
        for below, members in COMES_WITH.get(kind.lower(), {}).items():
            self._put(f"{path}/{below}", members)
        made = self.find(path)
        if kind.lower() in AT_ONCE:
            return 201, made, {}
        made["properties"]["provisioningState"] = "Creating"        # until a client has asked for its state
        name = uuid.uuid4().hex
        self.pending[name] = made["properties"]
        later = {"Azure-AsyncOperation": f"https://{HOST}/operations/{name}?api-version=1", "Retry-After": "1"}
        return 200 if was_there or provider in ("Microsoft.DocumentDB", "Microsoft.Storage") else 201, made, later

    def _how_far(self, name):
        state, self.pending[name]["provisioningState"] = self.pending[name]["provisioningState"], "Succeeded"
        return "InProgress" if state == "Creating" else "Succeeded"

    def deploy(self, path, group, body):
        """A template registers the providers that it needs, and makes what it lists in its order."""
        for resource in body["properties"]["template"]["resources"]:
            provider, kind = resource["type"].split("/")
            self.registered.add(provider.lower())
            at = f"{group['id']}/providers/{provider}/{kind}/{resource['name']}"
            for needed in resource["dependsOn"]:
                self.find(f"{group['id']}/providers/{needed}")
            self._make(at, {k: v for k, v in resource.items() if k in ("location", "sku", "identity", "properties")})
            self.find(at)["properties"]["provisioningState"] = "Succeeded"


def restorable(account):
    since = {"creationTime": "2026-01-01T00:00:00Z"}
    return {"id": f"{ROOT}/providers/Microsoft.DocumentDB/locations/swedencentral/restorableDatabaseAccounts/{TENANT}", "name": TENANT,
            "location": "swedencentral", "properties": {**since, "accountName": account["name"], "apiType": "Sql", "restorableLocations": [
                {**since, "locationName": place["locationName"]} for place in account["properties"]["locations"]]}}


def account_rule(manager, path, group, body):
    properties = body["properties"]
    demand(properties["databaseAccountOfferType"] == "Standard" and properties["locations"], "an account has an offer and a location")
    demand(re.fullmatch("[a-z0-9-]{3,44}", path.rpartition("/")[2]), "an account's name is lower-case letters, digits and -")
    demand({c["name"] for c in properties.get("capabilities", [])} <= {"EnableServerless"}, "there is no such capability")


def database_rule(manager, path, account, body):
    demand(body["properties"]["resource"]["id"] == path.rpartition("/")[2], "the database has another name")
    serverless = {"name": "EnableServerless"} in account["properties"].get("capabilities", [])
    demand(not (serverless and body["properties"]["options"]), "a serverless account has no throughput")


def container_rule(manager, path, database, body):
    resource = body["properties"]["resource"]
    demand(resource["id"] == path.rpartition("/")[2] and len(resource["partitionKey"]["paths"]) == 1, "name, or partition key")
    policy = resource["indexingPolicy"]
    demand({"path": "/*"} in policy["includedPaths"] + policy["excludedPaths"], "/* has to be among the paths")


def data_role_rule(manager, path, account, body):
    properties = body["properties"]
    manager.find(properties["roleDefinitionId"])
    demand(properties["scope"].lower().startswith(account["id"].lower()), "the scope is not of this account")
    demand(properties["principalId"] == PRINCIPAL, "there is no such principal")


def role_rule(manager, path, scope, body):
    properties = body["properties"]
    manager.find(properties["roleDefinitionId"])
    demand(properties["principalId"] == PRINCIPAL and properties.get("principalType") == "ServicePrincipal", "there is no such principal")


def storage_rule(manager, path, group, body):
    demand(re.fullmatch("[a-z0-9]{3,24}", path.rpartition("/")[2]), "the name of a storage account is lower-case letters and digits")
    demand(body["kind"] == "StorageV2" and body["sku"]["name"] == "Standard_LRS" and body["location"], "kind, sku, location")


def blobs_rule(manager, path, service, body):
    demand(body.get("properties", {}).get("publicAccess", "None") == "None", "the account permits no public access")


def openai_rule(manager, path, group, body):
    demand(body["kind"] == "OpenAI" and body["sku"] == {"name": "S0"} and body["location"], "kind, sku, location")


def model_rule(manager, path, account, body):
    demand(account["kind"] == "OpenAI" and body["properties"]["model"] == MODEL, "there is no such model")
    demand(body["sku"]["name"] == "GlobalStandard" and body["sku"]["capacity"] > 0, "the model is not to be had so")


def address_rule(manager, path, group, body):
    if body.get("sku", {}).get("name", "Basic") == "Basic":
        raise Failure(400, "IPv4BasicSkuPublicIpCountLimitReached",
                      "Cannot create more than 0 IPv4 Basic SKU public IP addresses for this subscription in this region.")


RULES = {
    "microsoft.documentdb/databaseaccounts": account_rule,
    "microsoft.documentdb/databaseaccounts/sqldatabases": database_rule,
    "microsoft.documentdb/databaseaccounts/sqldatabases/containers": container_rule,
    "microsoft.documentdb/databaseaccounts/sqlroleassignments": data_role_rule,
    "microsoft.authorization/roleassignments": role_rule,
    "microsoft.storage/storageaccounts": storage_rule,
    "microsoft.storage/storageaccounts/blobservices/containers": blobs_rule,
    "microsoft.cognitiveservices/accounts": openai_rule,
    "microsoft.cognitiveservices/accounts/deployments": model_rule,
    "microsoft.network/publicipaddresses": address_rule,
    "microsoft.resources/deployments": Manager.deploy,
}
