# SPDX-License-Identifier: Apache-2.0
"""A scripted Cosmos DB for NoSQL, over plain HTTP. It is as strict as the hosted service where that matters: signatures,
partition keys, ETags, transactional batches, limits, requests that the gateway refuses. And it does on demand what no
emulator does: throttle, fail, cut connections before or after a request was carried out, answer from a replica that is
behind, give empty pages.

As a program it prints its port, is controlled by POST /_control, and ends when its standard input is closed."""
import base64
import hashlib
import hmac
import json
import random
import re
import sys
import threading
import time
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote, unquote

from cosmos_container import Container, Failure, describe
from cosmos_sql import SqlError, parse
from scripted_server import ScriptedServer, Stalls, reset_at_close

KEY = base64.b64encode(b"a key of the scripted account, of sixty-four bytes, all visible.").decode()
TOKEN = "a-token-of-the-scripted-tenant"
MAX_BODY = 2 * 1024 * 1024
OF_NO_THREAD = ("ping", "usage")


class Cosmos(ScriptedServer):
    def __init__(self, key=KEY):
        self.key, self.lock, self.busy_lock = key, threading.RLock(), threading.Lock()
        self.busy, self.busy_since, self.n_busy = 0.0, 0.0, 0
        self.slowest, self.stalls = [0.0, 0.0, ""], None
        self.reset()
        super().__init__()

    def reset(self):
        with self.lock:
            self.databases, self.tokens = {}, {TOKEN}
            self.behave(clear=True)
            self.requests, self.n_connections, self.n_carried_out, self.n_faults = [], 0, 0, 0
            self.journal = None
            self.apart = False
            self.searches = []          # queries of the full-text index

    def behave(self, clear=False, faults=None, chaos=None, seed=None, **settings):
        """faults: a list of {match: "POST /dbs/.*", skip, n, status, substatus, headers, op (of a batch), cut: true, after: true}:
        those that match, after the first `skip` of them, n times; batch: true: only batches, and none of a server's
        periodic queries; gate: waits until the test opens it, then continues normally, or, with after, answers;
        garbage: true: carried out, and answered with a body that is no JSON; write: true: no queries.
        stop_after: the number of requests that are still carried out; later ones get no answer. chaos: {throttle,
        unavailable, gone, contended, timeout, cut, late: probabilities}; late: carried out, and answered after up to a
        second. lag: the number of reads from a replica that is behind. empty_pages, page_most: paging of queries.
        no_full_text: the account has no full-text search.
        clock: seconds that the service is ahead. aged: seconds by which documents with a time to live are older."""
        with self.lock:
            if clear:
                self.faults, self.chaos = [], {}
                self.empty_pages = self.no_auth = self.no_full_text = False
                self.lag, self.page_most, self.clock, self.aad_forbids_create = 0, 100, 0, True
                self.aged = 0
                self.stop_after = None
            self.faults += [dict(fault, n=fault.get("n", 1)) for fault in faults or []]
            if chaos is not None:
                self.chaos = chaos
            if seed is not None:
                self.random = random.Random(seed)
            elif clear:
                self.random = random.Random(1)
            for name, value in settings.items():
                assert hasattr(self, name), name
                setattr(self, name, value)

    def documents(self, container, database=None):
        """All documents of a container, for a look."""
        with self.lock:
            db = self.databases[database or next(iter(self.databases))]
            return [d for p in db[container].partitions.values() for d in p.values()]

    def expire(self, container, seq=0, type=None):
        """Messages up to this seq, or documents of this type, are past their time to live."""
        with self.lock:
            for partition in next(iter(self.databases.values()))[container].partitions.values():
                for name in [d["id"] for d in partition.values() if d.get("seq", seq + 1) <= seq or d["type"] == type]:
                    del partition[name]

    def count(self, pattern):
        """How many requests were answered that match "METHOD /path STATUS"."""
        with self.lock:
            return sum(1 for method, path, status, _ in self.requests if re.match(pattern, f"{method} {path} {status}"))

    # ---- requests ----
    def _respond(self, connection, method, path, headers, body):
        if path == "/_control":
            return self._send(connection, 200, {}, self._control(json.loads(body or b"{}")))
        self._note_busy(1)
        began = time.monotonic()
        try:
            return self._answer(connection, method, path, headers, body)
        finally:
            self._note_busy(-1)
            self.slowest = max(self.slowest, [round(time.monotonic() - began, 2), began, method])

    def _note_busy(self, more):
        """For how long at least one request has been in our hands."""
        with self.busy_lock:
            now = time.monotonic()
            self.busy += now - self.busy_since if self.n_busy else 0
            self.busy_since, self.n_busy = now, self.n_busy + more

    def _control(self, order):
        with self.lock:
            dump, pattern = order.pop("dump", None), order.pop("count", None)
            definition, expire = order.pop("definition", None), order.pop("expire", None)
            journal = order.pop("journal", None)
            if journal == "begin":                              # to record each request in one line; "read" returns them
                self.journal = []
            strip, change = order.pop("strip", {}), order.pop("change", {})
            for name, members in order.pop("define", {}).items():   # as an administrator would; null: without it
                made = next(iter(self.databases.values()))[name].definition
                made.update(members)
                for member in [m for m, value in members.items() if value is None]:
                    del made[member]
            if order.pop("reset", False):
                self.reset()
            self.behave(**order)
            answer = {"requests": len(self.requests), "connections": self.n_connections, "carried_out": self.n_carried_out,
                      "faults": self.n_faults, "busy": self.busy, "slowest": self.slowest,
                      "stalls": self.stalls.found if self.stalls else [],
                      "documents_in": {name: sum(d.get("type") not in OF_NO_THREAD
                                              for p in container.partitions.values() for d in p.values())
                                       for database in self.databases.values() for name, container in database.items()}}
            if expire:
                self.expire(**expire)
            for name, members in strip.items():         # of all documents, or of what "container/member" is in them
                name, _, inner = name.partition("/")
                for document in self.documents(name):
                    for member in members:
                        (document.get(inner, {}) if inner else document).pop(member, None)
            for name, members in change.items():        # of all documents that have them
                for document in self.documents(name):
                    document.update({member: value for member, value in members.items() if member in document})
            if definition:
                answer["definition"] = next(iter(self.databases.values()))[definition].definition
            if pattern:
                answer["count"] = self.count(pattern)
            if dump:
                answer["documents"] = self.documents(dump)
            if journal:
                answer["journal"] = self.journal
            return answer

    def _send(self, connection, status, headers, body):
        data = b"" if body is None else body
        if not isinstance(data, bytes):
            data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        lines = [f"HTTP/1.1 {status} Scripted", f"Date: {formatdate(time.time() + self.clock, usegmt=True)}",
                 "Content-Type: application/json", f"x-ms-activity-id: {random.getrandbits(64):016x}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if status not in (204, 304):
            lines.append(f"Content-Length: {len(data)}")
        connection.sendall("\r\n".join(lines + ["", ""]).encode() + (data if status not in (204, 304) else b""))
        return True

    def _cut(self, connection):
        reset_at_close(connection)
        return False

    # ---- faults ----
    def _find_fault(self, method, path, headers, body):
        batch = headers.get("x-ms-cosmos-is-batch-request") == "True"
        query = headers.get("x-ms-documentdb-isquery") == "True"
        for fault in self.faults:
            if not batch and ("op" in fault or "batch" in fault):
                continue
            if query and "write" in fault:
                continue
            fits = re.match(fault.get("match", ""), f"{method} {path}") and fault.get("body", b"") in (body or b"")
            if fault["n"] > 0 and fits:
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["n"] -= 1
                return fault
        if self.stop_after is not None:
            if self.stop_after <= 0:
                return {"cut": True}
            self.stop_after -= 1
        dice = self.random.random()
        kinds = {"throttle": {"status": 429, "substatus": 3200, "headers": {"x-ms-retry-after-ms": "2"}},
                 "unavailable": {"status": 503}, "gone": {"status": 410, "substatus": 1002}, "contended": {"status": 449},
                 "timeout": {"status": 408, "after": self.random.random() < 0.5},
                 "cut": {"cut": True, "after": self.random.random() < 0.5}, "late": {"delay": self.random.random()}}
        for name, share in self.chaos.items():
            if dice < share:
                return kinds[name]
            dice -= share
        return None

    def _answer(self, connection, method, path, headers, body):
        with self.lock:
            fault = self._find_fault(method, path, headers, body)
            self.n_faults += fault is not None
        held = fault["gate"] if fault and "gate" in fault and fault.get("after") else None
        if fault and "gate" in fault:
            if not held:
                fault["gate"].pass_through(lambda: False)
            fault = None
        with self.lock:
            late = fault and (fault.get("after") or fault.get("garbage") or fault.get("op") is not None)
            try:
                if fault and not late and "delay" not in fault:
                    if fault.get("cut"):
                        return self._cut(connection)
                    raise Failure(fault["status"], fault.get("substatus", 0), "scripted", fault.get("headers"))
                status, more, answer = self._perform(method, path, headers, body, fault if late else None)
                self.n_carried_out += 1
                if fault and fault.get("garbage"):
                    answer = b'{"id": "garbage'
                elif fault and fault.get("after"):
                    if fault.get("cut"):
                        return self._cut(connection)
                    raise Failure(fault["status"], fault.get("substatus", 0), "scripted", fault.get("headers"))
            except Failure as failure:
                status, answer = failure.status, {"code": "Scripted", "message": failure.message}
                more = {**failure.headers, "x-ms-request-charge": "0.38"}
                if failure.substatus:
                    more["x-ms-substatus"] = failure.substatus
            self.requests.append((method, path, status, headers))
            if self.journal is not None:
                failed = next(r["statusCode"] for r in answer if r["statusCode"] != 424) if status == 207 else status
                self.journal.append(describe(method, path, headers, body) + (f" -> {failed}" if failed >= 300 else ""))
            del self.requests[:-20000]
        if held:
            held.pass_through(lambda: False)
        time.sleep(fault.get("delay", 0) if fault else 0)
        return self._send(connection, status, {"x-ms-request-charge": "1", **more}, answer)

    # ---- authentication ----
    def _authorize(self, method, path, headers):
        text = unquote(headers.get("authorization", ""))
        date = headers.get("x-ms-date", "")
        if headers.get("x-ms-version") != "2020-07-15":
            raise Failure(400, message="x-ms-version")
        parts = dict(p.split("=", 1) for p in text.split("&") if "=" in p)
        if parts.get("type") == "aad":
            if parts.get("sig") not in self.tokens:
                raise Failure(401, message="token")
            return "aad"
        names = [unquote(n) for n in path.strip("/").split("/") if n]
        kind = names[(len(names) - 1) // 2 * 2] if names else ""
        whole = len(names) % 2 == 0
        link = "/".join(names if whole else names[:-1])
        signed = f"{method.lower()}\n{kind}\n{link}\n{date.lower()}\n\n"
        digest = hmac.new(base64.b64decode(self.key), signed.encode(), hashlib.sha256).digest()
        if parts.get("sig") != base64.b64encode(digest).decode():
            raise Failure(401, message="The input authorization token can't serve the request.")
        if abs(parsedate_to_datetime(date).timestamp() - time.time() - self.clock) > 900:
            raise Failure(403, message="The authorization token is not valid at the current time.")
        return "master"

    # ---- resources ----
    def _perform(self, method, path, headers, body, fault):
        who = "master" if self.no_auth else self._authorize(method, path, headers)
        if len(body) > MAX_BODY:
            raise Failure(413, message="Request size is too large")
        names = [unquote(n) for n in path.strip("/").split("/") if n]
        if not names:
            return 200, {}, {"writableLocations": [{"name": "here", "databaseAccountEndpoint": self.url + "/"}]}
        if len(names) <= 4:
            return self._metadata(method, names, body, who)
        database = self.databases.get(names[1])
        container = database.get(names[3]) if database is not None else None
        if container is None or names[4] != "docs":
            raise Failure(404, 1003, "owner resource")
        key = json.loads(headers["x-ms-documentdb-partitionkey"])[0] if "x-ms-documentdb-partitionkey" in headers else None
        container.bury(time.time() + self.clock + self.aged)
        status, more, answer = self._item(method, names[5:], container, key, headers, body, fault)
        more.setdefault("x-ms-session-token", f"0:-1#{container.lsn}")
        return status, more, answer

    def _metadata(self, method, names, body, who):
        if method == "POST" and who == "aad" and self.aad_forbids_create:
            raise Failure(403, 5300, "data plane only")
        if names == ["dbs"] and method == "POST":
            name = json.loads(body)["id"]
            if name in self.databases:
                raise Failure(409)
            self.databases[name] = {}
            return 201, {}, {"id": name}
        if names[1:] and names[1] not in self.databases:
            raise Failure(404, 1003 if len(names) > 2 else 0)
        containers = self.databases[names[1]]
        if len(names) == 2 and method == "GET":
            return 200, {}, {"id": names[1]}
        if len(names) == 3 and method == "POST":
            definition = json.loads(body)
            if definition["id"] in containers:
                raise Failure(409)
            containers[definition["id"]] = Container(definition)
            return 201, {}, definition
        if len(names) == 4 and method == "GET":
            if names[3] not in containers:
                raise Failure(404)
            return 200, {}, containers[names[3]].definition
        raise Failure(405)

    # ---- documents ----
    def _item(self, method, rest, container, key, headers, body, fault):
        if method == "POST" and headers.get("x-ms-documentdb-isquery") == "True":
            if headers.get("content-type") != "application/query+json":
                raise Failure(400, message="content type of a query")
            return self._query(container, key, headers, json.loads(body))
        if key is None:
            raise Failure(400, 1001, "no partition key")
        if method == "GET":
            lsn = self._replica(container, headers)
            document = container.seen(key, rest[0], lsn)
            if document is None:
                raise Failure(404, headers={"x-ms-session-token": f"0:-1#{lsn}"})
            return 200, {"etag": document["_etag"], "x-ms-session-token": f"0:-1#{lsn}"}, document
        if headers.get("content-type") not in ("application/json", "application/json-patch+json", None):
            raise Failure(400, message="content type")
        if headers.get("x-ms-cosmos-is-batch-request") == "True":
            return self._batch(container, key, json.loads(body), fault)
        document = json.loads(body) if body else None
        verb = {"PUT": "Replace", "DELETE": "Delete", "PATCH": "Patch"}.get(method) or \
            ("Upsert" if headers.get("x-ms-documentdb-is-upsert") == "True" else "Create")
        status, etag = self._write(container, key, verb, rest[0] if rest else None, document, headers.get("if-match"))
        minimal = headers.get("prefer") == "return=minimal"
        return status, {"etag": etag} if etag else {}, None if minimal else document

    @staticmethod
    def _has_index(policy, order):
        """One member needs a path of its own, several an index over them together, in these directions or all in the others."""
        if len(order) == 1:
            path = order[0][0].replace(".", "/")
            return path in ("id", "_ts") or f"/{path}/?" in [p["path"] for p in policy.get("includedPaths", [])]
        wanted = [("/" + name.replace(".", "/"), descending) for name, descending in order]
        there = [[(p["path"], p.get("order") == "descending") for p in index] for index in policy.get("compositeIndexes", [])]
        return wanted in there or [(path, not descending) for path, descending in wanted] in there

    def _replica(self, container, headers):
        """The progress of the answering replica. With lag, this number of reads on a replica that is behind let it
        catch up; a client that was refused because of that finds it up to date at the next read, with any number
        of writes in between."""
        wanted = max([int(t.split("#")[1]) for t in headers.get("x-ms-session-token", "").split(",") if "#" in t] or [0])
        at = container.replica if self.lag and not container.n_owed else container.lsn
        container.n_owed = max(0, container.n_owed - 1)
        container.n_behind += 1
        if container.n_behind >= self.lag or at == container.lsn:
            container.replica, container.n_behind = container.lsn, 0
        if wanted > at:
            container.n_owed += 1
            raise Failure(404, 1002, "the session is not available")
        return at

    def _write(self, container, key, verb, name, document, if_match, undo=None):
        if verb == "Patch":
            old = container.now(key, name)
            if old is None:
                raise Failure(404)
            condition = re.fullmatch(r"from c where c\.(\w+) = '([^']*)'", document.get("condition", ""))
            if "condition" in document and not condition:
                raise Failure(400, message="condition")
            if condition and old.get(condition[1]) != condition[2]:
                raise Failure(412, 1110, "condition")
            new = dict(old)
            for operation in document["operations"]:
                if operation["op"] != "set" or operation["path"].count("/") != 1:
                    raise Failure(400, message="patch")
                new[operation["path"][1:]] = operation["value"]
            verb, document = "Replace", new
        if verb != "Delete":
            if not isinstance(document.get("id"), str) or not document["id"] or re.search(r"[/\\#?]", document["id"]):
                raise Failure(400, message="id")
            if document.get(container.path) != key:
                raise Failure(400, 1001, "partition key mismatch")
            if len(json.dumps(document, ensure_ascii=False).encode()) > MAX_BODY:
                raise Failure(413, message="Request size is too large")
            if verb == "Replace" and name != document["id"]:
                raise Failure(400, message="id")
            name = document["id"]
        old = container.now(key, name)
        if old is None and verb in ("Replace", "Delete"):
            raise Failure(404)
        if old is not None and verb == "Create":
            raise Failure(409)
        if if_match and old is not None and if_match not in ("*", old["_etag"]):
            raise Failure(412)
        for path in container.unique:
            if document is not None and any(d["id"] != name and d.get(path) == document.get(path)
                                            for d in container.partitions.get(key, {}).values()):
                raise Failure(409, message="unique key")
        if undo is not None:
            undo.append((name, old))
        if verb == "Delete":
            self._store(container, key, name, None)
            return 204, None
        return 201 if old is None else 200, self._store(container, key, name, document)

    def _store(self, container, key, name, document):
        container.replica = min(container.replica, container.lsn)
        container.lsn += 1
        partition = container.partitions.setdefault(key, {})
        if document is None:
            partition.pop(name, None)
            container.mortal.pop((key, name), None)
        else:
            if self.apart:      # each process is on a machine of its own: none sees whether another one lives
                for part in (document, document.get("active_run") or {}):
                    if "process" in part:
                        part["process"] = "another-machine"
            before = partition.get(name)
            document = {**document, "_rid": before["_rid"] if before else f"r{container.lsn}", "_self": "s", "_attachments": "a",
                        "_ts": int(time.time() + self.clock),
                        "_etag": f'"{container.lsn:08x}-0000-0000-0000-000000000000"'}
            partition[name] = document
            container.mortal.pop((key, name), None)
            if document.get("ttl", -1) > 0:
                container.mortal[key, name] = document["_ts"] + document["ttl"]
        versions = container.versions.setdefault((key, name), [])
        versions.append((container.lsn, document))
        while len(versions) > 1 and versions[1][0] <= container.replica:   # what the replica that is behind may still show stays
            del versions[0]
        return document and document["_etag"]

    def _batch(self, container, key, operations, fault):
        if not 1 <= len(operations) <= 100:
            raise Failure(400, message="operations of a batch")
        results, undo, failed = [], [], None
        for i, operation in enumerate(operations):
            try:
                if fault and fault.get("op") == i:
                    raise Failure(fault["status"], fault.get("substatus", 0))
                status, etag = self._write(container, key, operation["operationType"], operation.get("id"),
                                           operation.get("resourceBody"), operation.get("ifMatch"), undo)
                results.append({"statusCode": status, "requestCharge": 1, "eTag": etag})
            except Failure as failure:
                failed = i
                results = [{"statusCode": 424, "requestCharge": 0} for _ in operations]
                results[i] = {"statusCode": failure.status, "subStatusCode": failure.substatus, "requestCharge": 1}
                if failure.status == 429:
                    results[i]["retryAfterMilliseconds"] = 1
                break
        if failed is not None:
            for name, old in reversed(undo):
                self._store(container, key, name, old)
        return 200 if failed is None else 207, {}, results

    # ---- queries ----
    def _query(self, container, key, headers, body):
        try:
            query = parse(body["query"])
        except SqlError as error:
            raise Failure(400, message=str(error)) from error
        if key is None:
            if headers.get("x-ms-documentdb-query-enablecrosspartition") != "True":
                raise Failure(400, message="Cross partition query is required but disabled")
            if query.needs_gateway_plan:
                raise Failure(400, 1004, "The provided cross partition query can not be directly served by the gateway")
        policy = container.definition.get("indexingPolicy", {})
        if query.order and not self._has_index(policy, query.order):
            raise Failure(400, message="The order by query does not have a corresponding index")
        if query.full_text:
            self.searches.append(body["query"])
        if query.full_text and self.no_full_text:
            raise Failure(400, message="Full text search is not enabled for this account")
        lsn = self._replica(container, headers)
        parameters = {p["name"]: p["value"] for p in body.get("parameters", [])}
        rows = query.run(container.all_seen(key, lsn), parameters)
        start, empty = json.loads(headers.get("x-ms-continuation", '{"at": 0, "empty": true}')).values()
        size = min(int(headers.get("x-ms-max-item-count", 1000)), self.page_most)
        if self.empty_pages and empty:
            page, more = [], {"at": start, "empty": False}
        else:
            page, more = rows[start:start + size], {"at": start + size, "empty": True}
            if start + size >= len(rows):
                more = None
        extra = {"x-ms-session-token": f"0:-1#{lsn}", "x-ms-item-count": len(page)}
        if more:
            extra["x-ms-continuation"] = json.dumps(more)
        return 200, extra, {"_rid": "r", "Documents": page, "_count": len(page)}


if __name__ == "__main__":
    server = Cosmos()
    server.stalls = Stalls()
    print(server.port, flush=True)
    sys.stdin.read()
