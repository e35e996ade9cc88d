# SPDX-License-Identifier: Apache-2.0
"""Words of messages in Cosmos DB, with a full-text index of the container and without one."""
import pytest

from cosmos_stores import ENV, store, wait_ready
from model_server import answer
from server import OPERATOR
from test_search import found


def indexed(cosmos, policy=True, index=True):
    """As an administrator changes the container."""
    definition = cosmos.databases["chat"]["messages"].definition
    if policy:
        definition["fullTextPolicy"] = {"defaultLanguage": "en-US", "fullTextPaths": [{"path": "/content", "language": "en-US"}]}
    if index:
        definition["indexingPolicy"]["fullTextIndexes"] = [{"path": "/content"}]


def searched(server):
    return wait_ready(server.client, ready=server.ready)["store"]["search"]


@pytest.fixture
def server(make_server, model, cosmos):
    def make(**what):
        server = make_server(OPERATOR + store(cosmos), env=ENV)
        assert searched(server) == "titles"
        indexed(cosmos, **what)
        server.stop()
        return server.start()
    return make


def test_words_are_found_with_their_place(server, model, cosmos):
    server = server()
    client = server.client
    assert searched(server) == "messages"
    model.play(answer("Quokkas sleep in the shade."))
    first, second = client.thread(), client.thread(title="Something else")
    assert client.send(first, "Where do quokkas sleep?").status == 200
    assert client.send(second, "And wombats?").status == 200
    [hit] = found(client, "QUOKKAS%20sleep")
    messages = client.messages(first)
    assert (hit["id"], hit["match"]["message_id"], hit["match"]["seq"]) == (first, messages[1]["id"], 2)
    assert hit["match"]["snippet"].startswith("Quokkas sleep in")
    assert [hit["match"]["snippet"][h["start"]:h["end"]] for h in hit["match"]["highlights"]] == ["Quokkas", "sleep"]
    assert [hit["id"] for hit in found(client, "%22in%20the%20shade%22")] == [first]
    assert found(client, "%22shade%20the%22") == [] and found(client, "quokkas%20wombats") == []
    [hit] = found(client, "something")
    assert hit["id"] == second and hit["match"]["message_id"] is None
    client.delete(f"/threads/{first}")
    assert found(client, "quokkas") == []


def test_only_the_owners_threads_are_asked_for(server, make_server, model, cosmos):
    client = server().client
    threads = {client.thread() for _ in range(3)}
    for thread in threads:
        assert client.send(thread, "quokkas").status == 200
    assert {hit["id"] for hit in found(client, "quokkas")} == threads
    assert cosmos.searches
    for query in cosmos.searches:
        assert "c.thread_id IN (" in query and "quokkas" not in query


def test_pages_of_a_search(server, model):
    client = server().client
    threads = [client.thread() for _ in range(7)]
    for i, thread in enumerate(threads):
        assert client.send(thread, "even quokkas" if i % 2 == 0 else "odd wombats").status == 200
    seen, after = [], ""
    while True:
        page = client.get("/threads?q=quokkas&limit=2" + after).json
        seen += [thread["id"] for thread in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next']}"
    assert seen == threads[::-1][::2]


@pytest.mark.parametrize("words", ["the", "to%20the", "is%20it"])
def test_words_that_the_index_has_not_search_titles(server, model, cosmos, words):
    client = server().client
    thread = client.thread(title="To the sea: is it far?")
    assert client.send(client.thread(title="Else"), "to the sea, is it far").status == 200
    assert [hit["id"] for hit in found(client, words)] == [thread] and cosmos.searches == []


@pytest.mark.parametrize("what", [{"index": False}, {"policy": False}])
def test_without_the_policy_or_the_index_titles_are_searched(server, model, cosmos, what):
    server = server(**what)
    assert searched(server) == "titles"
    assert server.client.send(server.client.thread(title="Animals"), "quokkas").status == 200
    assert found(server.client, "quokkas") == [] and cosmos.searches == []
    assert [hit["title"] for hit in found(server.client, "animals")] == ["Animals"]


def test_an_account_without_full_text_search(server, model, cosmos):
    server = server()
    server.expect_log("AC0233")
    cosmos.behave(no_full_text=True)
    assert server.client.send(server.client.thread(title="Quokkas"), "wombats").status == 200
    assert [hit["title"] for hit in found(server.client, "quokkas")] == ["Quokkas"]
    server.wait_log("AC0233: .*finds titles only")
    asked = len(cosmos.searches)
    assert found(server.client, "wombats") == [] and searched(server) == "titles" and len(cosmos.searches) == asked


def test_a_failure_of_the_query_is_an_error(server, model, cosmos):
    server = server()
    server.expect_log("AC02", "AC065")
    assert server.client.send(server.client.thread(), "quokkas").status == 200
    cosmos.behave(faults=[{"match": "POST /dbs/chat/colls/messages/docs", "n": 1, "status": 404}])
    assert server.client.get("/threads?q=quokkas").status >= 500
    cosmos.behave(clear=True)
    assert len(found(server.client, "quokkas")) == 1
