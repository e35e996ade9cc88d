# SPDX-License-Identifier: Apache-2.0
"""Finding threads: pins, labels, and words."""
import pytest


def ids(client, query):
    answer = client.get("/threads" + query)
    assert answer.status == 200, answer
    return [thread["id"] for thread in answer.json["data"]]


def made(client, **members):
    answer = client.post("/threads", members)
    assert answer.status == 201, answer
    return answer.json["id"]


def test_pinned_threads_are_listed(client):
    pinned, other = made(client, pinned=True), made(client)
    assert client.get(f"/threads/{pinned}").json["pinned"] is True
    assert client.get(f"/threads/{other}").json["pinned"] is False
    assert pinned in ids(client, "?pinned=true") and other not in ids(client, "?pinned=true")
    assert other in ids(client, "?pinned=false") and pinned not in ids(client, "?pinned=false")
    before = client.get(f"/threads/{other}")
    after = client.request("PATCH", f"/threads/{other}", {"pinned": True}, {"If-Match": before.headers["etag"]})
    assert after.status == 200 and after.json["pinned"] is True
    assert after.json["updated_at"] == before.json["updated_at"]
    assert after.headers["etag"] != before.headers["etag"]
    assert ids(client, "?pinned=true")[:2] == [other, pinned]


def test_labels_choose_threads(client):
    both = made(client, metadata={"labels": ["work", "Büro"], "color": "red"})
    one, none = made(client, metadata={"labels": ["work"]}), made(client, metadata={"labels": "work"})
    assert ids(client, "?label=work") == [one, both]
    assert ids(client, "?label=B%C3%BCro") == [both]
    assert none not in ids(client, "?label=work")
    assert client.get(f"/threads/{both}").json["metadata"] == {"labels": ["work", "Büro"], "color": "red"}
    client.request("PATCH", f"/threads/{one}", {"metadata": {}})
    assert ids(client, "?label=work") == [both]


@pytest.mark.parametrize("query", ["?pinned=1", "?pinned=", "?label=", "?label=" + "x" * 65])
def test_wrong_choices_are_refused(client, query):
    answer = client.get("/threads" + query)
    assert answer.status == 400 and answer.json["code"] == "invalid_request"


@pytest.mark.parametrize("member", [
    {"pinned": "yes"}, {"pinned": None}, {"metadata": {"labels": [1]}}, {"metadata": {"labels": [""]}},
    {"metadata": {"labels": ["x"] * 33}}, {"metadata": {"labels": ["x" * 65]}}, {"metadata": {"others": ["x"]}}])
def test_wrong_pins_and_labels_are_refused(client, member):
    thread = made(client)
    for answer in (client.request("PATCH", f"/threads/{thread}", member), client.post("/threads", member)):
        assert answer.status == 400 and answer.json["code"] == "invalid_request"
