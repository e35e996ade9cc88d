# SPDX-License-Identifier: Apache-2.0
"""Threads over REST: make, read, list, change, delete, restore."""
import re

from model_server import answer

ID = re.compile(r"thread_[0-9a-hjkmnp-tv-z]{26}$")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def test_create_with_nothing(client):
    response = client.post("/threads")
    assert response.status == 201
    thread = response.json
    assert ID.match(thread["id"])
    assert response.headers["location"].endswith("/api/threads/" + thread["id"])
    assert response.headers["etag"]
    assert set(thread) == {"id", "title", "agent_id", "status", "pinned", "metadata", "message_count", "leaf", "created_at",
                           "updated_at"}
    assert thread["status"] == "active" and thread["message_count"] == 0 and thread["metadata"] == {}
    assert TIME.match(thread["created_at"]) and TIME.match(thread["updated_at"])


def test_create_with_everything(client):
    body = {"title": "Größe", "metadata": {"a": "1", "b": "zwei"}, "agent_id": "assistant"}
    made = client.post("/threads", body).json
    read = client.get("/threads/" + made["id"]).json
    assert read == made
    assert (made["title"], made["metadata"], made["agent_id"]) == ("Größe", {"a": "1", "b": "zwei"}, "assistant")


def test_ids_sort_by_creation(client):
    ids = [client.thread() for _ in range(20)]
    assert ids == sorted(ids) and len(set(ids)) == 20


def test_list_in_pages(client):
    made = [client.thread(title=f"t{i}") for i in range(7)]
    seen, query = [], "?limit=3"
    while len(seen) < 7:
        page = client.get("/threads" + query).json
        assert len(page["data"]) <= 3
        seen += [thread["id"] for thread in page["data"]]
        if not page["has_more"]:
            break
        query = "?limit=3&after=" + page["next"]
    assert seen[:7] == made[::-1]       # newest first, none twice, none left out


def test_list_by_last_change(make_server, model):
    """The conversation that was used last comes first, page by page."""
    client = make_server().client
    made = [client.thread(title=f"t{i}") for i in range(5)]
    expected = made[::-1]
    for used in (made[1], made[3], made[0]):
        model.play(answer("hello"))
        assert client.send(used, "hi").status == 200
        expected = [used, *(thread for thread in expected if thread != used)]
    client.patch(f"/threads/{made[2]}", {"title": "new"})
    expected = [made[2], *(thread for thread in expected if thread != made[2])]
    seen, query = [], "?order=updated&limit=2"
    while query:
        page = client.get("/threads" + query).json
        seen += [thread["id"] for thread in page["data"]]
        query = page["has_more"] and f"?order=updated&limit=2&after={page['next']}"
    assert seen == expected
    assert [t["id"] for t in client.get("/threads?order=created").json["data"]] == made[::-1]
    assert client.get("/threads?order=size").json["detail"] == "order must be created or updated"
    for wrong in (made[0], "2026-01-01", page["data"][0]["updated_at"]):
        assert client.get(f"/threads?order=updated&after={wrong}").status == 400


def test_patch(client):
    thread = client.thread(title="old")
    response = client.patch(f"/threads/{thread}", {"title": "new", "status": "archived", "metadata": {"k": "v"}})
    assert response.status == 200
    assert (response.json["title"], response.json["status"], response.json["metadata"]) == ("new", "archived", {"k": "v"})
    assert client.get(f"/threads/{thread}").json == response.json
    assert thread in [t["id"] for t in client.get("/threads?status=archived&limit=100").json["data"]]
    assert thread not in [t["id"] for t in client.get("/threads?status=active&limit=100").json["data"]]


def test_if_match(client):
    thread = client.thread(title="one")
    etag = client.get(f"/threads/{thread}").headers["etag"]
    assert client.patch(f"/threads/{thread}", {"title": "two"}, headers={"If-Match": etag}).status == 200
    response = client.patch(f"/threads/{thread}", {"title": "three"}, headers={"If-Match": etag})
    assert response.status == 412 and response.json["code"] == "precondition_failed"
    assert client.get(f"/threads/{thread}").json["title"] == "two"
    assert client.patch(f"/threads/{thread}", {"title": "four"}, headers={"If-Match": "*"}).status == 200


def test_delete_hides_and_restore_brings_back(client, model):
    thread = client.thread(title="x")
    client.send(thread, "hello")
    response = client.delete(f"/threads/{thread}")
    assert response.status == 200
    assert response.json == {"id": thread, "deleted": True, "message": "Thread deleted successfully"}
    for path in (f"/threads/{thread}", f"/threads/{thread}/messages", f"/threads/{thread}/runs", f"/chat/{thread}"):
        assert client.get(path).status == 404, path
    assert client.send(thread, "anybody?").status == 404
    assert client.patch(f"/threads/{thread}", {"title": "y"}).status == 404
    assert client.delete(f"/threads/{thread}").status == 404
    assert thread not in [t["id"] for t in client.get("/threads?limit=100").json["data"]]
    assert thread in [t["id"] for t in client.get("/threads?status=deleted&limit=100").json["data"]]
    response = client.post(f"/threads/{thread}/restore")
    assert response.status == 200 and response.json["status"] == "active"
    assert len(client.messages(thread)) == 2


def test_hard_delete_leaves_nothing(client, model):
    thread = client.thread()
    run = client.send(thread, "hello").json["run_id"]
    assert client.get(f"/runs/{run}").status == 200
    assert client.delete(f"/threads/{thread}?hard_delete=true").status == 200
    for path in (f"/threads/{thread}", f"/runs/{run}", f"/runs/{run}/steps", f"/threads/{thread}/messages"):
        assert client.get(path).status == 404, path
    assert client.post(f"/threads/{thread}/restore").status == 404
    assert thread not in [t["id"] for t in client.get("/threads?status=deleted&limit=100").json["data"]]


def test_threads_of_an_agent(client, model):
    started = client.post("/agents/assistant/chat", {"message": "hello there", "stream": False}).json["thread_id"]
    page = client.get("/agents/assistant/threads?limit=2&offset=0").json
    assert set(page) == {"threads", "total", "limit", "offset"}
    assert page["threads"][0]["id"] == started and page["limit"] == 2 and page["total"] >= 1
    second = client.get("/agents/assistant/threads?limit=1&offset=1").json
    assert started not in [t["id"] for t in second["threads"]]
    whole = client.get(f"/agents/assistant/threads/{started}").json
    assert [m["role"] for m in whole["messages"]] == ["user", "assistant"]
    assert client.delete(f"/agents/assistant/threads/{started}").json == {"message": "Thread deleted successfully"}
    assert client.get(f"/threads/{started}").status == 404


def test_the_first_message_names_the_thread(client, model):
    thread = client.thread()
    client.send(thread, "What is the weather like in the beautiful city of Tokyo on a rainy day in autumn?\nThanks")
    title = client.get(f"/threads/{thread}").json["title"]
    assert title.startswith("What is the weather like") and len(title) <= 61 and "\n" not in title
    client.send(thread, "Something else")
    assert client.get(f"/threads/{thread}").json["title"] == title


def test_a_given_title_stays(client, model):
    thread = client.thread(title="Mine")
    client.send(thread, "hello")
    assert client.get(f"/threads/{thread}").json["title"] == "Mine"


def test_head_and_options(client):
    thread = client.thread()
    response = client.request("HEAD", f"/threads/{thread}")
    assert response.status == 200 and response.body == b"" and response.headers["etag"]
    response = client.request("OPTIONS", f"/threads/{thread}")
    assert response.status in (200, 204)
    assert {m.strip() for m in response.headers["allow"].split(",")} >= {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}


def test_method_not_allowed(client):
    response = client.request("PUT", "/threads", {})
    assert response.status == 405 and response.json["code"] == "method_not_allowed"
    assert {m.strip() for m in response.headers["allow"].split(",")} >= {"GET", "POST"}
