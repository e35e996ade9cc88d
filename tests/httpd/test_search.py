# SPDX-License-Identifier: Apache-2.0
"""Finding threads: pins, labels, and words."""
import pytest

from server import OPERATOR


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


def found(client, query):
    answer = client.get("/threads?q=" + query)
    assert answer.status == 200, answer
    return answer.json["data"]


def test_words_of_messages_are_found_with_their_place(client):
    thread = client.thread()
    assert client.send(thread, "Where do quokkas sleep at night?").status == 200
    other = client.thread(title="Something else")
    [hit] = found(client, "QUOKKA")
    assert hit["id"] == thread and hit["match"]["snippet"].startswith("Where do quokkas sleep")
    assert hit["match"]["message_id"] == client.messages(thread)[hit["match"]["seq"] - 1]["id"]
    [place] = hit["match"]["highlights"][:1]
    assert hit["match"]["snippet"][place["start"]:place["end"]] == "quokkas"
    [hit] = found(client, "something%20els")
    assert hit["id"] == other and hit["match"]["message_id"] is None and hit["match"]["seq"] is None
    assert found(client, "quokkas%20nowhere") == []
    client.delete(f"/threads/{thread}")
    assert found(client, "quokkas") == []


def test_no_text_is_an_error_of_the_index(client):
    for text in ("%22", "*", "AND", "a%20OR", "NEAR(", "%22%22", "title:x", "-", "^x", "{a}", "%27;--", "x%22%20*", "%F0%9F%98%80"):
        assert client.get("/threads?q=" + text).status == 200, text
    assert client.get("/threads?q=" + "x" * 201).status == 400


def test_ready_says_what_is_searched(make_server):
    server = make_server(OPERATOR)
    assert server.ready().json["store"]["search"] == "messages"
