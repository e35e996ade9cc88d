# SPDX-License-Identifier: Apache-2.0
"""Every route of the table, called with every kind of credential: allowed, refused, and that another owner's
resources look as if they did not exist."""
import json
import os
import re
import stat

import pytest

from client import Client
from cosmos_server import Cosmos
from cosmos_stores import ENV, store
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from model_server import Gate, answer, calls
from route_cases import ADMIN, CASES, NOT_FOUND, PUBLIC, ROUTES, with_theirs
from runs import holding, wait_until
from server import AGENT, MODEL, MOUNT, Server

SECRET = "words that are private"
NOBODYS = with_theirs({"thread": "thread_" + "0" * 26, "run": "run_" + "0" * 26,
                       "answer": "msg_" + "0" * 26, "file": "file_" + "0" * 26, "agent": "made"})
FILES = "AgentChatFiles on reserve=0\n"
MOUNTS = """
<Location "/bare">
    SetHandler agentchat
</Location>
"""


class World:
    """A server with keys of several people, and what one of them has."""

    def __init__(self, model, directives="", **options):
        self.model = model
        self.server = Server(MODEL.format(url=model.url) + AGENT + FILES + MOUNT + directives, modules=MODULES, **options)
        keys = KeyFile(self.server.root / "keys")
        self.keys = {name: keys.make(name, f"owner={owner}", *more) for name, owner, *more in [
            ("ann", "ann"), ("bob", "bob"), ("root", "root", "roles=admin"), ("revoked", "ann"), ("expired", "ann", "expires=2020-01-01")]}
        keys("revoke", "revoked")
        self.keys["wrong"] = self.keys["ann"][:-1] + ("0" if self.keys["ann"][-1] != "0" else "1")
        conf = self.server.conf
        conf.write_text(conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) + MOUNTS + "AgentChatOpenAI on\nAgentChatUI on\n"
                        "AgentChatAGUI on\nAgentChatMCPServer on\n")
        self.server.start()
        self.client = Client(self.server.port, "/keys")

    def as_(self, name):
        return bearer(self.keys[name]) if name else {}

    def make(self, who="ann"):
        """A thread with one turn, which has ended."""
        self.model.play(answer(SECRET))
        made = self.client.post("/agents/assistant/chat", {"message": SECRET, "stream": False}, headers=self.as_(who))
        assert made.status == 200, made
        file = self.client.post("/files", SECRET.encode(), headers=self.as_(who))
        assert file.status == 201, file
        return with_theirs({"thread": made.json["thread_id"], "run": made.json["run_id"], "answer": made.json["id"],
                            "file": file.json["id"], "agent": "made"})

    def state(self, ids):
        """All that its owner sees of it."""
        return [self.client.get(path.format(**ids), headers=self.as_("ann")).json
                for path in ("/threads/{thread}", "/threads/{thread}/messages", "/threads/{thread}/runs", "/runs/{run}",
                             "/runs/{run}/steps", "/files/{file}")]

    def calls(self, name, ids):
        """(method, path, body) of each way to call a route about these."""
        route, case = ROUTES[name], CASES[name]
        for body in case.bodies:
            text = json.dumps(body)
            for key, value in ids.items():
                text = text.replace("{%s}" % key, value)
            yield "HEAD" if case.head else route.method, case.path.format(**ids), json.loads(text)

    def ask(self, who, call, prefix="/keys", **headers):
        method, path, body = call
        client = Client(self.server.port, prefix)
        return client.request(method, path, body, headers={**self.as_(who), **headers})


@pytest.fixture(scope="module")
def made_world(_model):
    world = World(_model)
    yield world
    world.server.remove()


@pytest.fixture
def world(made_world, model):
    yield made_world
    assert not (bad := made_world.server.check_log()), "\n".join(bad)


def shown(response):
    """An answer without what is different each time, and without what the caller has left of its own limits."""
    headers = {name: value for name, value in response.headers.items() if name not in ("date", "x-request-id", "ratelimit")}
    body = response.json if response.body and "json" in headers.get("content-type", "") else response.body
    if isinstance(body, dict):
        body.pop("request_id", None)
    return response.status, headers, body


def code_of(response):
    """The code of an error, in the form of its protocol."""
    if response.headers["content-type"].startswith("text/plain"):
        return re.search(r"\((\w+)\)$", response.body.decode())[1]
    error = response.json.get("error", response.json)
    return error.get("data", error)["code"]


def test_every_route_of_the_table_has_a_case():
    assert set(CASES) == set(ROUTES)
    for name, route in ROUTES.items():
        kind = CASES[name].others
        assert ("AC_NEEDS_ADMIN" in route.needs) == (kind == ADMIN) and ("AC_NEEDS_OWNER" in route.needs) == (kind != PUBLIC), name
        # A path that names something of an owner's is a case of its own kind.
        if "{id}" in route.pattern and not route.pattern.startswith(("/agents/{id}", "/v1/models")) or "{tid}" in route.pattern:
            assert kind == NOT_FOUND, name


@pytest.mark.parametrize("name", CASES)
def test_without_a_good_key(world, name):
    ids = world.make()
    before = world.state(ids)
    for call in world.calls(name, ids):
        for who in (None, "wrong", "revoked", "expired"):
            response = world.ask(who, call)
            assert response.status == 401, (who, call, response)
            assert ('error="invalid_token"' in response.headers["www-authenticate"]) == bool(who)
            if call[0] != "HEAD":
                assert code_of(response) in ("unauthenticated", "invalid_api_key"), response
    assert world.state(ids) == before


@pytest.mark.parametrize("name", CASES)
def test_a_mount_without_authentication(world, name):
    """No authentication and no AgentChatAnonymous: closed; and keys mean nothing here."""
    for call in world.calls(name, world.make()):
        for who in (None, "root"):
            response = world.ask(who, call, "/bare")
            assert response.status == (200 if CASES[name].others == PUBLIC else 401), (call, response)


@pytest.mark.parametrize("name", CASES)
def test_with_the_key_of_another_owner(world, name):
    ids, case = world.make(), CASES[name]
    before = world.state(ids)
    for call, nobodys in zip(world.calls(name, ids), world.calls(name, NOBODYS)):
        for who in ("bob", "root"):
            if case.others == ADMIN and who == "root":
                continue
            response = world.ask(who, call)
            if case.others == NOT_FOUND:
                assert response.status == 404 and code_of(response) == "not_found", (who, call, response)
                assert shown(response) == shown(world.ask(who, nobodys)), call
            elif case.others == ADMIN:
                assert response.status == 403 and response.json["code"] == "forbidden", (who, call, response)
            else:
                assert response.status in case.good, (who, call, response)
                for mine in (ids["thread"], ids["run"], SECRET):
                    assert mine.encode() not in response.body
            if call[0] == "GET" and case.others == NOT_FOUND:
                assert shown(world.ask(who, ("HEAD", *call[1:]))) == shown(world.ask(who, ("HEAD", *nobodys[1:])))
    assert world.state(ids) == before


@pytest.mark.parametrize("name", CASES)
def test_with_the_right_key(world, name):
    case = CASES[name]
    who = "root" if case.others == ADMIN else "ann"
    calls = list(world.calls(name, world.make()))
    for i in range(len(calls)):
        call = list(world.calls(name, world.make()))[i]
        response = world.ask(who, call)
        assert response.status in case.good, (call, response)
        # A shared cache must not keep it.
        assert response.headers["cache-control"] in ("no-store", "no-cache, no-transform", "private, no-cache"), response.headers
        if "json" in response.headers.get("content-type", ""):
            assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].others == ADMIN])
def test_anonymous_has_no_role(world, name):
    for call in world.calls(name, NOBODYS):
        response = world.ask(None, call, "/api")
        assert response.status == 403 and response.json["code"] == "forbidden", response


def test_a_run_under_way_is_not_there_for_others(world):
    """Neither the thread's 409 nor the run's events show that a run is active."""
    gate = Gate()
    world.model.play(holding(gate))
    stream = world.client.stream("/agents/assistant/chat", {"message": SECRET}, headers=world.as_("ann"))
    first = stream.next().json
    file = world.client.post("/files", SECRET.encode(), headers=world.as_("ann")).json["id"]
    ids = with_theirs({"thread": first["thread_id"], "run": first["run_id"], "answer": first["message_id"], "file": file,
                       "agent": "made"})
    stream.until("token")
    try:
        for name, case in CASES.items():
            if case.others != NOT_FOUND:
                continue
            for call, nobodys in zip(world.calls(name, ids), world.calls(name, NOBODYS)):
                response = world.ask("bob", call)
                assert response.status == 404 and shown(response) == shown(world.ask("bob", nobodys)), (call, response)
    finally:
        gate.open()
    assert stream.rest()[-1].json["status"] == "completed"
    assert world.state(ids)[0]["message_count"] == 2


def test_an_idempotency_key_is_its_owners(world):
    body = {"message": "a question that both ask", "stream": False}
    world.model.play(answer(SECRET))
    mine = world.client.post("/agents/assistant/chat", body, headers={**world.as_("ann"), "Idempotency-Key": "k1"}).json
    for other in (body, {**body, "message": "something else"}):
        theirs = world.client.post("/agents/assistant/chat", other, headers={**world.as_("bob"), "Idempotency-Key": "k1"})
        assert theirs.status == (200 if other == body else 409)         # 409: bob's own key, from the line before
        if theirs.status == 200:
            assert theirs.json["thread_id"] != mine["thread_id"] and SECRET.encode() not in theirs.body
    again = world.client.post("/agents/assistant/chat", body, headers={**world.as_("ann"), "Idempotency-Key": "k1"}).json
    assert again["run_id"] == mine["run_id"]


def test_a_cursor_of_another_owners_list_reveals_nothing(world):
    ids = world.make()
    for path in (f"/threads?after={ids['thread']}", "/threads?after=" + NOBODYS["thread"]):
        response = world.client.get(path, headers=world.as_("bob"))
        assert response.status == 200 and ids["thread"].encode() not in response.body


# ---- the same path ----
def exchanges(cosmos, since):
    """(method, container) of what the store was asked for."""
    return [(method, path.split("/docs")[0]) for method, path, _, _ in cosmos.requests[since:]]


def test_as_many_exchanges_for_a_foreign_id_as_for_an_unknown_one(model):
    """Measurable effects: the number and kinds of store operations. With Cosmos DB each of them is an exchange over
    the network. The server's own queries, for runs whose lease has expired, are made once in the time of a lease."""
    cosmos = Cosmos()
    world = World(model, store(cosmos, "lease=1d") + "AgentChatAgentsRefresh 0\n", env=ENV)
    try:
        ids = world.make()
        seen = 0
        for name, case in CASES.items():
            if case.others != NOT_FOUND:
                continue
            for calls in zip(world.calls(name, ids), world.calls(name, NOBODYS)):
                asked = []
                for call in calls:
                    world.ask("bob", call)              # operations that are done only once
                    since = len(cosmos.requests)
                    assert world.ask("bob", call).status == 404, call
                    asked.append(exchanges(cosmos, since))
                assert asked[0] == asked[1], (calls[0], asked)
                seen += len(asked[0])
        assert seen > 15
    finally:
        world.server.stop()
        bad = world.server.check_log()
        world.server.remove()
        cosmos.stop()
    assert not bad, "\n".join(bad)


# ---- other users of the machine ----
def open_to_others(top):
    """What another user of the machine could read or change below here."""
    found = []
    for folder, names, files in os.walk(top):
        names[:] = [name for name in names if os.stat(f"{folder}/{name}").st_mode & 0o077]
        found += [path for name in files if stat.S_ISREG(os.stat(path := f"{folder}/{name}").st_mode) and os.stat(path).st_mode & 0o077]
    return found


def test_files_are_httpds_only(make_server, model):
    """With a umask that keeps nothing back: the store, its journals, an index, the counts of limits and event logs."""
    server = make_server("AgentChatLimit requests=100/day\n", start=False)
    folder = server.root / "documents"
    folder.mkdir()
    (folder / "bread.md").write_text("# Bread\n\nHow bread is baked.\n")
    server.conf.write_text(server.conf.read_text().replace("AgentChatTools calculate", "AgentChatTools search_knowledge_base calculate")
                           + f"<AgentChatTool search_knowledge_base>\n    AgentChatToolOption path {folder}\n</AgentChatTool>\n")
    before = os.umask(0)
    try:
        server.start()
    finally:
        os.umask(before)
    model.play(calls(("search_knowledge_base", {"query": "bread"})), answer("done"))
    response = server.client.post("/agents/assistant/chat", {"message": SECRET, "stream": False})
    assert response.json["tool_calls"][0]["result"]
    state = server.root / "state"
    wait_until(lambda: (state / "limits.saved").exists(), "limits are not saved")
    kinds = {re.sub(r"-[\w-]+(?=\.db)", "", path.name) for path in state.iterdir()}
    assert {"knowledge.db", "limits.saved"} <= kinds, kinds
    assert open_to_others(state) == []
    server._note_memory()
    for path in server._memory:
        assert os.stat(path).st_mode & 0o077 == 0
