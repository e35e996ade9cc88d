# SPDX-License-Identifier: Apache-2.0
"""GET /usage: sums that equal the runs, each run once; owners and admins; CSV; bad parameters."""
import csv
import io

import pytest

from client import Client
from key_file import KEYED
from key_file import MODULES as KEY_MODULES
from key_file import KeyFile
from model_server import Gate, Reply, answer
from runs import CHILDREN, begun, kill_child, owner_of, wait_until

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens")
STATUSES = ("completed", "failed", "cancelled", "interrupted")


class Caller:
    def __init__(self, server, key):
        self.client, self.headers = Client(server.port, "/keys"), {"X-API-Key": key}

    def __call__(self, path, body=None, **headers):
        return self.client.request("POST" if body else "GET", path, body, headers={**self.headers, **headers})

    def say(self, text="Hello"):
        return self("/chat", {"message": text, "stream": False})

    def runs(self):
        threads = self("/threads?limit=100").json["data"]
        return [run for thread in threads for run in self(f"/threads/{thread['id']}/runs?limit=100").json["data"]]

    def totals(self, query=""):
        response = self("/usage" + query)
        assert response.status == 200, response
        return response.json["totals"]


@pytest.fixture
def keyed(make_server, model):
    server = make_server(KEYED, start=False, modules=KEY_MODULES)
    keys = KeyFile(server.root / "keys")
    for name, fields in (("ann", ()), ("bob", ()), ("chief", ("roles=admin",)), ("=1+1", ())):
        setattr(server, "odd" if name.startswith("=") else name,
                Caller(server, keys.make(f"{name.strip('=').replace('+', '')}-1", f"owner={name}", *fields)))
    return server.start()


def wanted(runs):
    """What the sums of these runs must be."""
    return {"runs": len(runs), "status": {name: sum(run["status"] == name for run in runs) for name in STATUSES},
            "usage": {name: sum(run["usage"][name] for run in runs) for name in TOKENS},
            "cost": round(sum(run["cost"]["amount"] for run in runs if run["cost"]), 8)}


def shown(totals):
    return {**{name: totals[name] for name in ("runs", "status", "usage")}, "cost": round(sum(one["amount"] for one in totals["cost"]), 8)}


# ---- sums ----
def test_the_sums_equal_the_runs(keyed, model):
    for n in range(5):
        model.play(answer("Hello", prompt=1000 + n, completion=30 * n, cached=100 * n, reasoning=n))
        assert keyed.ann.say().status == 200
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no", "code": "bad"}})]))
    keyed.expect_log("AC0503")
    assert keyed.ann.say().status >= 400
    runs = keyed.ann.runs()
    totals = keyed.ann.totals()
    assert shown(totals) == wanted(runs) and totals["runs"] == 6
    assert totals["errors"] == {run["error"]["code"]: 1 for run in runs if run["error"]}
    assert totals["duration"]["count"] == 6 and totals["first_token"]["count"] == 5
    by_day = keyed.ann("/usage?by=day,agent,model").json["data"]
    assert {one["agent_id"] for one in by_day} == {"assistant"}
    assert sum(one["usage"]["total_tokens"] for one in by_day) == totals["usage"]["total_tokens"]


def test_a_cancelled_run_counts(make_server, model):
    server, gate = make_server(), Gate()
    stream, run = begun(server.client, model, gate)
    assert server.client.get("/usage").json["totals"]["runs"] == 0
    assert server.client.post(f"/runs/{run['run_id']}/cancel").status == 202
    stream.rest()
    totals = server.client.get("/usage").json["totals"]
    stored = server.client.get("/runs/" + run["run_id"]).json
    assert shown(totals)["usage"] == {name: stored["usage"][name] for name in TOKENS}
    assert (totals["runs"], totals["status"]["cancelled"], totals["estimated_runs"]) == (1, 1, 1)
    gate.open()


def test_the_run_of_a_killed_process_counts_once(make_server, model):
    server, gate = make_server(tuning=CHILDREN), Gate()
    stream, run = begun(server.client, model, gate, ("one ", "two "))
    kill_child(server, owner_of(server, stream.connection))
    wait_until(lambda: server.client.get("/runs/" + run["run_id"]).json["usage"]["total_tokens"] > 0, "it is recovered")
    stored = server.client.get("/runs/" + run["run_id"]).json
    for _ in range(2):
        totals = server.client.get("/usage").json["totals"]
        assert (totals["runs"], totals["status"]["interrupted"], totals["errors"]) == (1, 1, {"interrupted": 1})
        assert totals["usage"] == {name: stored["usage"][name] for name in TOKENS}
        server.stop()
        server.start()
    gate.open()


def test_usage_stays_when_its_thread_is_deleted(server):
    before = server.client.get("/usage").json["totals"]["runs"]
    thread = server.client.thread()
    assert server.client.send(thread, "Hello").status == 200
    assert server.client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    assert server.client.get("/usage").json["totals"]["runs"] == before + 1


# ---- whose ----
def test_owners_see_their_own_and_admins_all(keyed):
    for caller in (keyed.ann, keyed.ann, keyed.bob):
        assert caller.say().status == 200
    assert (keyed.ann.totals()["runs"], keyed.bob.totals()["runs"]) == (2, 1)
    assert keyed.ann("/usage").json["scope"] == "own" and keyed.chief("/usage").json["scope"] == "all"
    assert [one["owner"] for one in keyed.bob("/usage?by=owner").json["data"]] == ["bob"]
    assert keyed.bob.totals("?owner=bob")["runs"] == 1
    refused = keyed.bob("/usage?owner=ann")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert {one["owner"]: one["runs"] for one in keyed.chief("/usage?by=owner").json["data"]} == {"ann": 2, "bob": 1}
    assert keyed.chief.totals("?owner=ann")["runs"] == 2 and keyed.chief.totals("?owner=carl")["runs"] == 0
    assert keyed.chief.totals("?agent_id=assistant")["runs"] == 3 and keyed.chief.totals("?agent_id=other")["runs"] == 0
    assert keyed.chief.totals("?model=other")["runs"] == 0
    assert keyed.chief("/usage?by=").json["data"][0]["runs"] == 3


# ---- CSV ----
def test_csv(keyed, model):
    model.play(answer("Hello", prompt=1000, completion=100))
    for caller in (keyed.ann, keyed.odd):
        assert caller.say().status == 200
    model.play(lambda _request: iter([Reply(400, {"error": {"message": "no", "code": "bad"}})]))
    keyed.expect_log("AC0503")
    keyed.ann.say()
    response = keyed.chief("/usage?by=owner,day&format=csv")
    assert response.status == 200 and response.headers["content-type"].startswith("text/csv")
    assert response.headers["content-disposition"].startswith('attachment; filename="usage_')
    rows = list(csv.DictReader(io.StringIO(response.body.decode(), newline="")))
    assert [row["owner"] for row in rows] == ["'=1+1", "ann"]
    document = {one["owner"]: one for one in keyed.chief("/usage?by=owner").json["data"]}
    for row, owner in zip(rows, ("=1+1", "ann")):
        one = document[owner]
        assert int(row["runs"]) == one["runs"] and int(row["total_tokens"]) == one["usage"]["total_tokens"]
        assert float(row["cost_USD"] or 0) == sum(cost["amount"] for cost in one["cost"])
        assert int(row["failed"]) == one["status"]["failed"]
    assert sum(int(row["error_model_error"] or 0) for row in rows) == 1
    assert keyed.chief("/usage", Accept="text/csv").body.startswith(b"day,runs,completed,")
    assert keyed.chief("/usage?format=json", Accept="text/csv").json["totals"]["runs"] == 3
    assert keyed.chief("/threads", Accept="text/csv").status == 406
    assert keyed.bob("/usage?format=csv").body.count(b"\r\n") == 1        # no run: the header


# ---- bad input ----
@pytest.mark.parametrize("query, part", [
    ("from=yesterday", "from must be a day"), ("to=2026-02-30", "to must be a day"), ("to=2026-1-1", "to must be a day"),
    ("from=2026-01-31T00:00:00Z", "from must be a day"), ("from=", "from must be a day"), ("from=2026-02-02&to=2026-02-01", "after"),
    ("from=2020-01-01&to=2026-01-01", "366 days"), ("from=0000-01-01&to=9999-12-31", "366 days"), ("to=99999-01-01", "to must be a day"),
    ("by=week", "by may have"), ("by=day,,hour", "by may have"), ("format=xml", "json or csv"), ("agent_id=" + "x" * 300, "255 bytes"),
    ("model=%00", ""), ("from=2026-01-01&from=2026-01-02", ""), ("by=%ff", "")])
def test_bad_parameters(server, query, part):
    response = server.client.get("/usage?" + query)
    assert response.status == 400 and response.json["code"] == "invalid_request", response
    assert part in response.json["detail"], response.json


def test_a_range_without_runs(server):
    for query in ("from=1970-01-01&to=1970-01-02", "from=9998-01-01&to=9998-12-31", "from=2024-01-01&to=2024-12-31"):
        response = server.client.get("/usage?" + query)
        assert response.status == 200 and response.json["data"] == [] and response.json["totals"]["runs"] == 0
