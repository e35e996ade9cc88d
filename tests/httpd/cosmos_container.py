# SPDX-License-Identifier: Apache-2.0
"""A container of the scripted Cosmos DB, with the versions of documents that a replica may still have, and requests as text."""
import json
import re
from urllib.parse import unquote

# The kind of document by its id, for requests without the document.
KINDS = [(r"thread_\w+$", "thread"), (r"run_\w+_steps$", "steps"), (r"run_\w+_wait$", "wait"), (r"\w+_\d+$", "part"), (r"run_\w+$", "run"),
         (r"msg_\w+$", "message"), (r"key_\w+$", "key"), (r"!stamp$", "stamp"), (r"ping$", "ping"), (r"agent_\w+$", "agent")]


def describe(method, path, headers, body):
    """A request in one line: the operation, the container, and the kinds of documents."""
    names = [unquote(n) for n in path.strip("/").split("/") if n]
    if len(names) < 5:
        resource = ("account", "database", "container")[(len(names) + (method == "POST")) // 2]
        return " ".join(["READ" if method == "GET" else "CREATE", resource, *names[3:]])
    container = names[3]
    document = json.loads(body) if body else {}

    def kind(document, name):
        if headers.get("x-ms-documentdb-partitionkey") == '[" waiting"]':
            return "wait"
        return (document or {}).get("type") or next((k for pattern, k in KINDS if re.match(pattern, name)), name)

    if headers.get("x-ms-documentdb-isquery") == "True":
        members = dict.fromkeys(re.findall(r"c\.([\w.]+)", document["query"].partition("WHERE")[2]))
        crosses = "" if "x-ms-documentdb-partitionkey" in headers else "CROSS-PARTITION "
        return f"{crosses}QUERY {container} by {', '.join(members)}"
    if headers.get("x-ms-cosmos-is-batch-request") == "True":
        verbs = [f"{o['operationType'].upper()} {kind(o.get('resourceBody'), o.get('id', ''))}" for o in document]
        return f"BATCH {container}: {', '.join(verbs)}"
    verb = {"GET": "READ", "PUT": "REPLACE", "DELETE": "DELETE", "PATCH": "PATCH"}.get(method) or \
        ("UPSERT" if headers.get("x-ms-documentdb-is-upsert") == "True" else "CREATE")
    what = kind(document, names[5] if len(names) > 5 else "")
    return f"{verb} {container}: {what}" + (f" {document['operations'][0]['path']}" if verb == "PATCH" else "")


class Failure(Exception):
    def __init__(self, status, substatus=0, message="", headers=None):
        super().__init__(message)
        self.status, self.substatus, self.message, self.headers = status, substatus, message, headers or {}


class Container:
    def __init__(self, definition):
        self.definition = definition
        self.path = definition["partitionKey"]["paths"][0][1:]
        self.unique = [k["paths"][0][1:] for k in definition.get("uniqueKeyPolicy", {}).get("uniqueKeys", [])]
        self.versions = {}                  # (key, id) → [(lsn, document or None)]
        self.partitions = {}                # key → {id: document}
        self.lsn, self.replica, self.n_behind, self.n_owed = 0, 0, 0, 0
        self.mortal = {}                    # (key, id) → when: documents with a time to live of their own

    def bury(self, now):
        for at in [at for at, when in self.mortal.items() if when <= now] if "defaultTtl" in self.definition else []:
            del self.mortal[at]
            self.partitions.get(at[0], {}).pop(at[1], None)
            self.versions.pop(at, None)

    def now(self, key, name):
        return self.partitions.get(key, {}).get(name)

    def seen(self, key, name, lsn):
        if lsn >= self.lsn:
            return self.now(key, name)
        found = None
        for at, document in self.versions.get((key, name), ()):
            if at <= lsn:
                found = document
        return found

    def all_seen(self, key, lsn):
        keys = self.partitions if key is None else [key]
        for k in keys:
            if lsn >= self.lsn:
                yield from list(self.partitions.get(k, {}).values())
            else:
                names = [n for (kk, n) in self.versions if kk == k]
                yield from (d for d in (self.seen(k, n, lsn) for n in names) if d)
