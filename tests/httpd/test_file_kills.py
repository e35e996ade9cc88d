# SPDX-License-Identifier: Apache-2.0
"""kill -9 at each step of what happens to files, with both stores: nothing that was acknowledged is lost, and after the sweep no bytes
are left without a file and no file without its bytes."""
import uuid

import pytest

from client import Client
from cosmos_stores import wait_ready
from kills import BROKEN, InServices, OnDisk, killed_at_each_step
from model_server import answer
from purges import purge, put_ahead, shift_clocks
from runs import ONE_CHILD, wait_until
from test_agents import MODULES, SIGNED, sign
from uploads import file, text
from uploads import upload as put

CONFIRM = {"confirm": "delete everything"}


def some(each):
    """Of the steps; a kill takes a second. The long form of the test has each step."""
    return pytest.mark.parametrize("each", [each, pytest.param(1, marks=pytest.mark.long)])


class Owner:
    def __init__(self, server, name):
        self.client, self.headers, self.data = Client(server.port, "/signed"), sign(name), {}

    def request(self, method, path, body=None):
        return self.client.request(method, path, body, headers=self.headers)

    def upload(self):
        data = uuid.uuid4().hex.encode()
        id = put(self.client, data, headers=self.headers)
        self.data[id] = data
        return id

    def send(self, id):
        return self.request("POST", "/agents/assistant/chat", {"message": [text("Read"), file(id)], "stream": False})

    def pages(self, path):
        found, after = [], ""
        while True:
            page = self.request("GET", f"{path}?limit=100{after}").json
            found += page["data"]
            if not page["has_more"]:
                return found
            after = f"&after={page['next']}"

    def files(self):
        """Their ids; each has the bytes that were uploaded."""
        ids = [one["id"] for one in self.pages("/files")]
        for id in ids:
            content = self.request("GET", f"/files/{id}/content")
            assert content.status == 200 and content.body == self.data.get(id, content.body), f"{id} has other bytes"
        return ids

    def threads_with(self, id):
        return [thread["id"] for thread in self.pages("/threads") if any(
            part["file_id"] == id for message in self.pages(f"/threads/{thread['id']}/messages")
            for part in message.get("attachments") or ())]

    def has_forgotten(self):
        answer = self.request("DELETE", "/me", CONFIRM)
        return answer.status == 200 and answer.json["status"] == "done"


@pytest.fixture(params=["disk", "services"])
def steps(request, make_server, model):
    steps = InServices(request.getfixturevalue("cosmos")) if request.param == "services" else OnDisk()
    model.default = answer("I see.")
    server = make_server(SIGNED + steps.directives, start=False, tuning=ONE_CHILD, modules=MODULES, env=steps.env)
    shift_clocks(server)
    steps.prepare(server)
    server.start()
    wait_ready(server.client)
    steps.ann, steps.bob = (Owner(server, name) for name in ("ann", "bob"))
    yield steps
    steps.stop()


def sweep(steps):
    """Looks at all bytes; there are always some to remove."""
    steps.orphan("file_0" + "1" * 23 + "zz")
    steps.age_bytes()
    purge(steps.server)


def account(steps):
    """All that is there: the ids of the files, which are those of the bytes."""
    ids = sorted(steps.ann.files() + steps.bob.files())
    assert ids == steps.bytes()
    return ids


def test_an_upload(steps):
    done = killed_at_each_step(steps, lambda: None, lambda _: steps.ann.upload())
    sweep(steps)
    there = account(steps)
    assert len(done) > 3 and done[-1][1] in there


def test_a_turn_with_a_file(steps):
    """A message of an unknown fate is sent again."""
    ann = steps.ann

    def send(id):
        reply = ann.send(id)
        assert reply.status == 200, reply
        return reply.json["thread_id"]
    done = killed_at_each_step(steps, ann.upload, send)
    for id, thread in done:
        threads = ann.threads_with(id)
        if not threads:
            threads = [send(id)]
        assert ann.request("GET", f"/files/{id}").json["thread_id"] == threads[0]
        assert ann.threads_with(id) == threads and thread in (None, threads[0])
    steps.age_documents()
    sweep(steps)
    assert len(done) > 3 and account(steps) == sorted(id for id, _ in done)


def test_a_removal(steps):
    ann = steps.ann

    def remove(id):
        assert ann.request("DELETE", f"/files/{id}").status == 200
        return True
    done = killed_at_each_step(steps, ann.upload, remove)
    sweep(steps)
    there = account(steps)
    assert len(done) > 2 and done[-1][0] not in there
    for id in there:
        remove(id)
    assert account(steps) == []


@some(3)
def test_a_sweep(steps, each):
    """It finds files that no message has, and bytes that no file has."""
    ann, server = steps.ann, steps.server
    kept = ann.upload()
    assert ann.send(kept).status == 200

    def prepare():
        ann.upload()
        steps.age_documents()
        steps.orphan(f"file_0{uuid.uuid4().hex[:25]}")
        steps.age_bytes()
        return server.log().count("AC0614")

    def is_over(n):
        children = server.children()
        put_ahead(server)

        def over():
            server.client.get("/threads")
            if server.children() != children:
                raise EOFError("the child has died between two requests")
            return server.log().count("AC0614") > n
        return wait_until(over, "no sweep")
    done = killed_at_each_step(steps, prepare, is_over, each)
    sweep(steps)
    assert len(done) > 3 and account(steps) == [kept]


@some(7)
def test_an_erasure(steps, each):
    """The owner has asked for it, and asks again."""
    ann, bob = steps.ann, steps.bob
    kept = bob.upload()

    def has_forgotten():
        try:
            return ann.has_forgotten()
        except BROKEN:
            return False

    def prepare():
        wait_until(has_forgotten, "the erasure before does not end")
        assert ann.files() == [] and ann.pages("/threads") == []
        assert ann.send(ann.upload()).status == 200
        return ann.upload()

    def forget(_):
        assert ann.has_forgotten()
        return True
    done = killed_at_each_step(steps, prepare, forget, each)
    assert ann.files() == [] and ann.pages("/threads") == []
    sweep(steps)
    assert len(done) > 3 and account(steps) == [kept]
