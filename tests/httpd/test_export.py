# SPDX-License-Identifier: Apache-2.0
"""Taking along: a conversation as Markdown and JSON, and everything of an owner as JSON lines."""
import json
import os
import re
import sqlite3

import pytest

from client import WAIT
from cosmos_stores import ENV, store, wait_ready
from model_server import answer
from runs import ONE_CHILD
from test_slow_readers import anonymous


def lines_of(response):
    assert response.status == 200 and response.headers["content-type"] == "application/x-ndjson", response
    return [json.loads(line) for line in response.body.decode().splitlines()]


def grow(server, n, size):
    """The one message of a user becomes n, of this size each."""
    with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(messages)")]
        new = {"seq": "seq + n", "id": "id || n", "content": f"printf('%.*c', {size}, 'w')"}
        db.execute(f"""WITH RECURSIVE numbers(n) AS (SELECT 10 UNION ALL SELECT n + 1 FROM numbers WHERE n < {n} + 8)
                       INSERT INTO messages SELECT {', '.join(new.get(name, name) for name in columns)}
                       FROM messages, numbers WHERE role = 'user' AND seq = 1""")


def test_a_large_export_takes_little_memory(make_server, model):
    server, size, most = make_server(tuning=ONE_CHILD), 0, 0
    assert server.client.send(server.client.thread(), "x").status == 200
    grow(server, 1000, 220_000)
    child, = server.children()
    before = anonymous(child)
    with server.client.connect() as connection:
        connection.send("GET", "/api/me/export")
        status, headers = connection.head()
        for piece in connection.pieces(headers):
            size, last = size + len(piece), piece
            most = max(most, anonymous(child) - before)
    print(f"{most >> 10} KB for an export of {size >> 20} MB")
    assert status == 200 and size > 200 << 20 and b'"object":"end"' in last
    if not os.environ.get("ASAN"):      # which keeps what was freed
        assert most < 20 << 20


def test_markdown_and_json(server, model):
    thread = server.client.thread()
    model.play(answer("The *first* answer"))
    assert server.client.send(thread, "First?\nIn two lines").status == 200
    rated = server.client.send(thread, "Second?").json
    server.client.request("PUT", f"/messages/{rated['id']}/feedback", {"rating": "up"})
    response = server.client.get(f"/threads/{thread}/export")
    assert response.headers["content-type"] == "text/markdown; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{thread}.md"'
    text = response.body.decode()
    assert re.match(r"# First\?", text) and "> First?\n> In two lines\n" in text and "The *first* answer\n" in text
    assert text.index("First?\n>") < text.index("The *first*") < text.index("> Second?")
    response = server.client.get(f"/threads/{thread}/export?format=json")
    assert response.headers["content-disposition"] == f'attachment; filename="{thread}.json"'
    made = response.json
    shown = server.client.get(f"/threads/{thread}/messages").json["data"]
    assert made["thread"] == server.client.get(f"/threads/{thread}").json
    assert [{k: v for k, v in message.items() if k != "steps"} for message in made["messages"]] == shown
    assert made["messages"][-1]["feedback"]["rating"] == "up"
    assert all("steps" in message for message in made["messages"] if message["role"] == "assistant")
    empty = server.client.thread()
    assert server.client.get(f"/threads/{empty}/export?format=json").json["messages"] == []
    assert server.client.get(f"/threads/{empty}/export").body.startswith(b"# Conversation\n")


def test_tools_are_folded(server):
    thread = server.client.thread()
    server.client.send(thread, "What is 18% tip on 75 euros?")
    steps = [step for message in server.client.get(f"/threads/{thread}/export?format=json").json["messages"]
             for step in message.get("steps", []) if step["type"] == "tool_call"]
    text = server.client.get(f"/threads/{thread}/export").body.decode()
    assert text.count("<details><summary>Tool: ") == text.count("</details>") == len(steps)


def test_results_of_a_clients_tool_are_folded(make_server):
    """A message of results is no answer. It is stored as a turn with results of the client's tools stores it."""
    server = make_server()
    thread = server.client.thread()
    server.client.send(thread, "Replaced below")
    call = {"id": "c", "tool": "map<b>", "arguments": {"x": 1}, "result": "```\n## Answer", "error": None,
            "latency_ms": None, "client": True}
    with sqlite3.connect(server.root / "state/agentchat.db", timeout=WAIT) as db:
        db.execute("UPDATE messages SET role = 'tool', content = '', tool_calls = ? WHERE thread_id = ? AND seq = 1",
                   (json.dumps([call]), thread))
    text = server.client.get(f"/threads/{thread}/export").body.decode()
    results = text.split("## Results of tools (", 1)[1].split("\n## Answer (", 1)[0]
    assert "<details><summary>Tool: map&lt;b></summary>\n\nArguments:\n\n" in results
    assert "Result:\n\n````\n```\n## Answer\n````\n\n</details>\n" in results


# What was said, and what of it stands in the file for a reader of CommonMark to take as text or as code.
HOSTILE = {
    "<script>alert(1)</script>": "&lt;script>alert(1)&lt;/script>",
    "</details><img src=x onerror=alert(1)>": "&lt;/details>&lt;img src=x onerror=alert(1)>",
    "```\n<script>alert(2)</script>": "```\n<script>alert(2)</script>\n```",            # a fence is closed
    "~~~~\nx\n~~~\n<b>": "~~~~\nx\n~~~\n<b>\n~~~~",
    "```\n<b>\n```\n<b>": "```\n<b>\n```\n&lt;b>",
    "`<i>` and <i>": "`<i>` and &lt;i>",                                             # code as it is
    "`<i> and <i>": "`&lt;i> and &lt;i>",                                            # no code: it is not closed
    "a ` b\nc ` <b> ` d": "a ` b\nc ` &lt;b> ` d",                                   # closed in the next line
    "\\`<b>`": "\\`&lt;b>`",
    "``` `\n<script>": "``` `\n&lt;script>",                                          # no fence: backticks behind it
    "- a\n  ```\n<script>": "- a\n  ```\n&lt;script>",                               # ends with its list
    "    ```\n<script>": "    ```\n&lt;script>",
    "a\r\n<b>\rb": "a\n&lt;b>\nb",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_words_cannot_change_the_structure(server, model, text):
    thread = server.client.thread()
    model.play(answer(text))
    assert server.client.send(thread, "x" + text).status == 200
    assert server.client.request("PATCH", f"/threads/{thread}", {"title": "# [a](javascript:x) <b> ` *"}).status == 200
    exported = server.client.get(f"/threads/{thread}/export").body.decode()
    assert exported.startswith("# \\# \\[a\\]\\(javascript:x\\) \\<b\\> \\` \\*\n\n")
    assert exported.endswith(f")\n\n{HOSTILE[text]}\n\n"), exported
    question = exported.split("## Question (", 1)[1].split("## Answer (", 1)[0]
    assert all(line.startswith("> ") for line in question.split("\n\n", 1)[1].strip("\n").split("\n"))


def test_bad_requests(server):
    thread = server.client.thread()
    for query in ("format=pdf", "all=true", "all=x&format=json"):
        assert server.client.get(f"/threads/{thread}/export?{query}").status == 400
    assert server.client.get("/threads/thread_01jd0000000000000000000000/export").status == 404
    for after in ("x", "kept:x", "other:thread_01jd0000000000000000000000"):
        assert server.client.get(f"/me/export?after={after}").status == 400


@pytest.mark.parametrize("cosmos_db", [False, True])
def test_everything_of_one_owner(make_server, cosmos, cosmos_db):
    server = make_server(store(cosmos) if cosmos_db else "", env=ENV)
    wait_ready(server.client)
    threads = [server.client.thread() for _ in range(103)]
    for thread in threads[:2]:
        message = server.client.send(thread, f"Question in {thread}").json
        server.client.request("PUT", f"/messages/{message['id']}/feedback", {"rating": "up", "comment": "fine"})
    server.client.delete(f"/threads/{threads[0]}")
    lines = lines_of(server.client.get("/me/export"))
    assert lines[0]["object"] == "export" and lines[0]["owner"] == "anonymous"
    assert {line["id"] for line in lines if line["object"] == "thread"} == set(threads)
    assert [line["feedback"]["comment"] for line in lines if line["object"] == "message" and line["role"] == "assistant"] == ["fine"] * 2
    assert {line["content"] for line in lines if line["object"] == "message"} >= {f"Question in {thread}" for thread in threads[:2]}
    assert sum(line["object"] == "run" for line in lines) == 2 and any(line["object"] == "step" for line in lines)
    assert sum(line["object"] == "usage" for line in lines) == 1
    kinds = {line["object"] for line in lines} - {"end"}
    assert lines[-1] == {"object": "end", "counts": {kind: sum(line["object"] == kind for line in lines) for kind in kinds}}
    at = next(n for n, line in enumerate(lines) if line["object"] == "position")
    rest = lines_of(server.client.get(f"/me/export?after={lines[at]['after']}"))
    assert [line.get("id") for line in rest[1:-1]] == [line.get("id") for line in lines[at + 1:-1]]
    assert server.client.request("HEAD", "/me/export").status == 200
