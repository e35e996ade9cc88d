# SPDX-License-Identifier: Apache-2.0
"""Wrong requests, each with its answer: (name, method, path, body, headers, status, code[, pointer]). {thread} is
the id of an existing thread; a body of bytes is sent unchanged. A set of codes means any of them."""
import json

SEND = "/threads/{thread}/messages"
CHAT = "/agents/assistant/chat"
NO_THREAD = "thread_" + "0" * 26
NO_RUN = "run_" + "0" * 26
JSON = {"Content-Type": "application/json"}


def cases():
    yield from bad_json()
    yield from bad_utf8()
    yield from wrong_members()
    yield from wrong_values()
    yield from bad_ids()
    yield from bad_queries()
    yield from bad_paths()
    yield from bad_methods()
    yield from bad_media()
    yield from bad_sizes()


def bad_json():
    texts = {
        "empty": b"", "blank": b"  \n ", "half an object": b'{"content": "x"', "half a string": b'{"content": "x',
        "a trailing comma": b'{"content": "x",}', "two documents": b'{"content":"x"}{"content":"y"}',
        "text after": b'{"content":"x"} hello', "single quotes": b"{'content': 'x'}", "no quotes": b"{content: 1}",
        "a comment": b'{"content": "x" /* c */}', "NaN": b'{"content": NaN}', "a bare word": b"hello",
        "control character": b'{"content": "a\x01b"}', "a raw newline": b'{"content": "a\nb"}', "a bad escape": b'{"content": "\\x"}',
        "a short unicode escape": b'{"content": "\\u12"}',
        "a lone high surrogate": b'{"content": "\\ud800"}',
        "a lone low surrogate": b'{"content": "\\udc00"}',
        "a NUL escape": b'{"content": "a\\u0000b"}', "a NUL byte": b'{"content": "a\x00b"}',
        "a leading zero": b'{"limit": 01}', "a plus sign": b'{"limit": +1}', "a huge exponent": b'{"limit": 1e999}',
        "a huge integer": b'{"limit": 99999999999999999999999999}', "a duplicate member": b'{"content":"x","content":"y"}',
        "UTF-16": '{"content":"x"}'.encode("utf-16"), "an opening bracket": b"[", "a closing bracket": b"]", "a colon": b":",
        "form data": b"content=x&stream=false", "XML": b"<content>x</content>", "many open arrays": b"[" * 5000,
        "many open objects": b'{"a":' * 5000, "deep": b'{"metadata":' * 40 + b"{}" + b"}" * 40,
        "deep and whole": b'{"content":"x","metadata":{"a":' + b"[" * 100 + b"]" * 100 + b"}}",
    }
    for name, text in texts.items():
        yield f"JSON: {name}", "POST", SEND, text, JSON, 400, {"bad_json", "invalid_request"}
        yield f"JSON to chat: {name}", "POST", CHAT, text, JSON, 400, {"bad_json", "invalid_request"}
    for name, text in {"an array": b"[]", "a string": b'"x"', "a number": b"1", "null": b"null", "true": b"true"}.items():
        for path in (SEND, CHAT, "/threads", "/chat", "/agent/stream"):
            yield f"not an object: {name} to {path}", "POST", path, text, JSON, 400, {"invalid_request", "bad_json"}


def bad_utf8():
    texts = {"a lone continuation": b"\x80", "a cut character": b"\xc3", "overlong": b"\xc0\xaf", "a surrogate": b"\xed\xa0\x80",
             "beyond Unicode": b"\xf4\x90\x80\x80", "an invalid byte": b"\xff", "Latin-1": b"Z\xfcrich", "overlong NUL": b"\xc0\x80"}
    for name, text in texts.items():
        yield f"UTF-8 value: {name}", "POST", SEND, b'{"content":"' + text + b'"}', JSON, 400, "bad_json"
        yield f"UTF-8 name: {name}", "POST", "/threads", b'{"' + text + b'":1}', JSON, 400, "bad_json"


def wrong_members():
    for path, good, name in ((SEND, {"content": "x"}, "content"), (CHAT, {"message": "x"}, "message"),
                             ("/chat", {"message": "x"}, "message"), ("/agent/stream", {"message": "x"}, "message")):
        yield f"unknown member to {path}", "POST", path, {**good, "surprise": 1}, {}, 400, "invalid_request", "/surprise"
        yield f"no {name} to {path}", "POST", path, {}, {}, 400, {"invalid_request", "message_empty"}, f"/{name}"
        for value in (None, 1, 1.5, True, [], {}, ["x"]):
            body = {**good, name: value}
            place = f"/{name}/0" if value == ["x"] and path != "/agent/stream" else f"/{name}"        # a list has parts
            yield f"{name}={json.dumps(value)} to {path}", "POST", path, body, {}, 400, {"invalid_request", "message_empty"}, place
        for value in ("", "   ", "\n\t \r\n"):
            yield f"blank {value!r} to {path}", "POST", path, {name: value}, {}, 400, "message_empty"
        if path != "/agent/stream":
            for value in ("true", 1, 0, [], {}):
                body = {**good, "stream": value}
                yield f"stream={json.dumps(value)} to {path}", "POST", path, body, {}, 400, "invalid_request", "/stream"
    yield "a member with an escape in its name", "POST", "/threads", {"a/b~c": 1}, {}, 400, "invalid_request", "/a~1b~0c"
    yield "an empty name", "POST", "/threads", {"": 1}, {}, 400, "invalid_request", "/"
    for member in ("id", "status", "created_at", "message_count", "owner"):
        yield f"a thread's {member} cannot be given", "POST", "/threads", {member: "x"}, {}, 400, "invalid_request", f"/{member}"
    yield "two thread ids that differ", "POST", "/chat", {"message": "x", "thread_id": NO_THREAD,
                                                         "conversation_id": "thread_" + "1" * 26}, {}, 400, "invalid_request"


def wrong_values():
    for body, pointer in (
            ({"title": ""}, "/title"), ({"title": 1}, "/title"), ({"title": "x" * 201}, "/title"), ({"title": "a\nb"}, "/title"),
            ({"title": []}, "/title"), ({"metadata": []}, "/metadata"), ({"metadata": "x"}, "/metadata"),
            ({"metadata": {"a": 1}}, "/metadata/a"), ({"metadata": {"a": None}}, "/metadata/a"),
            ({"metadata": {"a": {}}}, "/metadata/a"), ({"metadata": {"a/b": 1}}, "/metadata/a~1b"),
            ({"metadata": {"a": "x" * 513}}, "/metadata/a"), ({"metadata": {"k" * 65: "x"}}, "/metadata/" + "k" * 65),
            ({"metadata": {str(i): "x" for i in range(17)}}, "/metadata")):
        yield f"create {json.dumps(body)[:50]}", "POST", "/threads", body, {}, 400, "invalid_request", pointer
        yield f"patch {json.dumps(body)[:50]}", "PATCH", "/threads/{thread}", body, {}, 400, "invalid_request", pointer
    for agent in ("unknown", "", "x" * 300, "a/b", 7, [], {}):
        yield f"agent {agent!r:.30}", "POST", "/threads", {"agent_id": agent}, {}, (400, 404), {"invalid_request", "not_found"}
        yield f"send to agent {agent!r:.30}", "POST", SEND, {"content": "x", "agent_id": agent}, {}, (400, 404), {
            "invalid_request", "not_found"}
    for status in ("deleted", "gone", "", 1, True, [], {}):
        yield f"status {status!r}", "PATCH", "/threads/{thread}", {"status": status}, {}, 400, "invalid_request", "/status"
    yield "patch nothing", "PATCH", "/threads/{thread}", b"", JSON, 400, {"bad_json", "invalid_request"}
    yield "patch with the wrong tag", "PATCH", "/threads/{thread}", {"title": "x"}, {"If-Match": '"wrong"'}, 412, "precondition_failed"
    for thread in (7, [], {}, True):
        yield f"thread_id {thread!r}", "POST", CHAT, {"message": "x", "thread_id": thread}, {}, 400, "invalid_request", "/thread_id"
    yield "a message's metadata", "POST", SEND, {"content": "x", "metadata": {"a": 1}}, {}, 400, "invalid_request", "/metadata/a"


def bad_ids():
    for bad in (NO_THREAD, "thread_", "x", "0", "run_" + "0" * 26, "thread_" + "0" * 25, "thread_" + "0" * 27, "thread_" + "u" * 26,
                "THREAD_" + "0" * 26, "thread_" + "A" * 26, "%00", "thread_%2e%2e", "'; drop table threads; --".replace(" ", "%20"),
                "%e2%82%ac", "%ff%fe", "a" * 2000, "thread_" + "0" * 25 + "%0a", "*", "null"):
        for method, path, body in (("GET", "/threads/{}", None), ("GET", "/threads/{}/messages", None),
                                   ("PATCH", "/threads/{}", {"title": "x"}),
                                   ("DELETE", "/threads/{}", None), ("POST", "/threads/{}/messages", {"content": "x"})):
            yield f"id {bad[:44]}: {method} {path}", method, path.format(bad), body, {}, (400, 404), {"not_found", "invalid_request"}
    for path in (f"/runs/{NO_RUN}", f"/runs/{NO_RUN}/steps", "/runs/x", "/runs/x/steps", "/agents/unknown", "/agents/unknown/threads",
                 f"/agents/assistant/threads/{NO_THREAD}", "/agents/assistant/threads/x", "/agents/%00"):
        yield f"no such thing: {path}", "GET", path, None, {}, (400, 404), {"not_found", "invalid_request"}
    yield "a thread that is not there", "POST", CHAT, {"message": "x", "thread_id": NO_THREAD}, {}, 404, "not_found"
    yield "a malformed thread", "POST", CHAT, {"message": "x", "thread_id": "../../etc"}, {}, (400, 404), {"not_found", "invalid_request"}
    yield "a conversation that is not there", "POST", "/chat", {"message": "x", "conversation_id": NO_THREAD}, {}, 404, "not_found"
    yield "an agent that is not there", "POST", "/agents/unknown/chat", {"message": "x"}, {}, 404, "not_found"


def bad_queries():
    for path in ("/threads", "/threads/{thread}/messages", "/threads/{thread}/runs", "/agents/assistant/threads"):
        for query in ("limit=0", "limit=101", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=1e2", "limit=99999999999999999999",
                      "limit=%31%00", "limit=5&limit=6", "limit=%zz", "limit=%", "limit=%e2%82"):
            yield f"?{query} of {path}", "GET", f"{path}?{query}", None, {}, 400, "invalid_request"
    for query in ("status=gone", "status=", "after=x", "after=%00", "after=" + "x" * 5000, "agent_id=" + "x" * 500):
        yield f"?{query[:30]} of threads", "GET", f"/threads?{query}", None, {}, (400, 404), {"invalid_request", "not_found"}
    for query in ("after=x", "after=-1", "before=x", "before=-5", "order=up", "order=", "after=99999999999999999999"):
        yield f"?{query} of messages", "GET", f"/threads/{{thread}}/messages?{query}", None, {}, 400, "invalid_request"
    for query in ("offset=-1", "offset=x", "offset=99999999999999999999"):
        yield f"?{query} of an agent's threads", "GET", f"/agents/assistant/threads?{query}", None, {}, 400, "invalid_request"
    for query in ("hard_delete=maybe", "hard_delete=1x"):
        yield f"delete ?{query}", "DELETE", "/threads/{thread}?" + query, None, {}, 400, "invalid_request"
    for query in ("", "message=", "message=%20%20", "message=%ff", "message=a%00b"):
        yield f"GET stream ?{query}", "GET", "/agent/stream?" + query, None, {}, 400, {"invalid_request", "message_empty"}


def bad_paths():
    for path in ("", "/", "/nothing", "/threads/", "/threads/{thread}/", "/threads/{thread}/nothing", "/threads/{thread}/messages/1",
                 "/runs", "/runs/", "/agents/", "/agents/assistant/", "/agents/assistant/chat/x", "/chat/", "/healthy", "/health/x",
                 "/threads//messages", "/Threads", "/%74hreads%2f", "/.git/config", "/threads;x=1", "/ready/", "/agent/stream/x"):
        yield f"path {path}", "GET", path, None, {}, 404, "not_found"


def bad_methods():
    for method, path in (("PUT", "/threads"), ("DELETE", "/threads"), ("PATCH", "/threads"), ("PUT", "/threads/{thread}"),
                         ("POST", "/threads/{thread}"), ("GET", "/threads/{thread}/restore"), ("PUT", SEND), ("DELETE", SEND),
                         ("POST", "/health"), ("POST", "/ready"), ("DELETE", "/chat"), ("GET", CHAT), ("PROPFIND", "/threads"),
                         ("TRACK", "/threads"), ("PUT", "/agents"), ("DELETE", "/runs/" + NO_RUN), ("PUT", "/agent/stream")):
        yield f"{method} {path}", method, path, {} if method in ("PUT", "POST", "PATCH") else None, {}, 405, "method_not_allowed"


def bad_media():
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "text/html",
                 "application/jsonx", "json", "application/", "*/*"):
        yield f"Content-Type {kind}", "POST", SEND, b'{"content":"x"}', {"Content-Type": kind}, 415, "unsupported_media_type"
    for kind in ("text/html", "image/png", "application/xml", "text/plain;q=0.5, image/*"):
        yield f"Accept {kind}", "POST", SEND, {"content": "x"}, {"Accept": kind}, 406, "not_acceptable"


def bad_sizes():
    big = b'{"content":"' + b"x" * 1_100_000 + b'"}'
    yield "a large body", "POST", SEND, big, JSON, 413, "body_too_large"
    yield "a large body that is no JSON", "POST", CHAT, b"x" * 1_200_000, JSON, 413, "body_too_large"
    yield "a large chunked body", "POST", SEND, big, {**JSON, "Content-Length": None, "Transfer-Encoding": "chunked"}, 413, "body_too_large"
    yield "a long message", "POST", SEND, {"content": "x" * 300_000}, {}, (400, 413), {"invalid_request", "body_too_large"}
    yield "a Content-Length that lies about a huge body", "POST", SEND, b"{}", {**JSON, "Content-Length": "99999999"}, 413, "body_too_large"
