# SPDX-License-Identifier: Apache-2.0
"""One case for each route (route_table.py): how it is called, and what whose caller may have of it. A route
without a case fails test_authorization.py."""
import sys

from server import TOP

sys.path.insert(0, str(TOP / "tests/guards"))
import route_table  # noqa: E402

ROUTES = {row.name: row for row in route_table.rows(route_table.text(TOP))}

# The answer to a caller that does not own the resource in the path or the body:
NOT_FOUND = "what is not theirs is not there"
THEIRS = "the same as its owner, about what is theirs"
ADMIN = "403 without the role admin"
PUBLIC = "the same for everybody"


def with_theirs(ids):
    """The same with the ids that other protocols have for them."""
    return {**ids, "response": "resp_" + ids["run"][4:], "conversation": "conv_" + ids["thread"][7:]}


class Case:
    """path: {thread}, {run}, {response}, {file} and {agent} are ids of the owner's; an agent is the server's. good: the answer to the
    owner, or to a user with the role. head: requested without the body, which takes time."""

    def __init__(self, path, others, *bodies, good=(200,), head=False):
        self.path, self.others, self.bodies, self.good, self.head = path, others, bodies or (None,), good, head


SAY = {"content": "x", "stream": False}, {"content": "x", "stream": True}
MADE = {"name": "Made", "model": "scripted", "tools": [], "instructions": "x"}

SAID = [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]
RUN = {"threadId": "{thread}", "runId": "r1", "messages": [{"id": "u1", "role": "user", "content": "x"}]}
ASK = {"model": "assistant", "messages": [{"role": "user", "content": "x"}]}

CASES = {
    "POST /threads": Case("/threads", THEIRS, {}, good=(201,)),
    "GET /threads": Case("/threads?limit=100", THEIRS),
    "GET /threads/{id}": Case("/threads/{thread}", NOT_FOUND),
    "PATCH /threads/{id}": Case("/threads/{thread}", NOT_FOUND, {"title": "changed"}, {"leaf": "{answer}"}),
    "DELETE /threads/{id}": Case("/threads/{thread}?hard_delete=true", NOT_FOUND),
    "POST /threads/{id}/restore": Case("/threads/{thread}/restore", NOT_FOUND),
    "POST /threads/{id}/messages": Case("/threads/{thread}/messages", NOT_FOUND, *SAY,
                                        {"content": "x", "parent_id": "{answer}", "stream": False},
                                        {"regenerate": "{answer}", "stream": False}),
    "GET /threads/{id}/messages": Case("/threads/{thread}/messages?all=true", NOT_FOUND),
    "POST /chat/{id}": Case("/chat/{thread}", NOT_FOUND, *SAY),
    "GET /chat/{id}": Case("/chat/{thread}", NOT_FOUND),
    "GET /threads/{id}/runs": Case("/threads/{thread}/runs", NOT_FOUND),
    "GET /runs/{id}": Case("/runs/{run}", NOT_FOUND),
    "GET /runs/{id}/steps": Case("/runs/{run}/steps", NOT_FOUND),
    "GET /runs/{id}/events": Case("/runs/{run}/events", NOT_FOUND),
    "POST /runs/{id}/cancel": Case("/runs/{run}/cancel", NOT_FOUND, good=(202, 409)),
    "POST /runs/{id}/approvals": Case("/runs/{run}/approvals", NOT_FOUND, {"call_id": "call_1", "approve": True}, good=(409,)),
    "GET /agents": Case("/agents", THEIRS),
    "GET /agents/{id}": Case("/agents/assistant", THEIRS),
    "POST /agents": Case("/agents", ADMIN, MADE, good=(201,)),
    "PUT /agents/{id}": Case("/agents/{agent}", ADMIN, MADE, good=(200, 201)),
    "DELETE /agents/{id}": Case("/agents/{agent}", ADMIN, good=(204, 404)),
    "POST /agents/{id}/chat": Case("/agents/assistant/chat", NOT_FOUND, {"message": "x", "thread_id": "{thread}", "stream": False},
                                   {"message": "x", "thread_id": "{thread}"}),
    "GET /agents/{id}/threads": Case("/agents/assistant/threads?limit=100", THEIRS),
    "GET /agents/{id}/threads/{tid}": Case("/agents/assistant/threads/{thread}", NOT_FOUND),
    "DELETE /agents/{id}/threads/{tid}": Case("/agents/assistant/threads/{thread}", NOT_FOUND),
    "POST /chat": Case("/chat", NOT_FOUND, {"message": "x", "thread_id": "{thread}", "stream": False},
                       {"message": "x", "conversation_id": "{thread}"}),
    "POST /agent/stream": Case("/agent/stream", THEIRS, {"message": "x"}),
    "GET /agent/stream": Case("/agent/stream?message=x", THEIRS),
    "GET /threads/{id}/export": Case("/threads/{thread}/export", NOT_FOUND),
    "GET /me/export": Case("/me/export", THEIRS),
    "GET /me": Case("/me", THEIRS),
    "DELETE /me": Case("/me", THEIRS, {"confirm": "no"}, good=(400,)),
    "PUT /messages/{id}/feedback": Case("/messages/{answer}/feedback", NOT_FOUND,
                                        {"rating": "up", "thread_id": "{thread}"}, {"rating": None}),
    "GET /feedback": Case("/feedback", ADMIN),
    "GET /usage": Case("/usage?by=", THEIRS),
    "GET /v1/models": Case("/v1/models", THEIRS),
    "GET /v1/models/{id}": Case("/v1/models/assistant", THEIRS),
    "POST /v1/chat/completions": Case("/v1/chat/completions", THEIRS, ASK, {**ASK, "stream": True}),
    "POST /openai/deployments/{agent}/chat/completions": Case("/openai/deployments/assistant/chat/completions", THEIRS, ASK),
    "POST /v1/responses": Case("/v1/responses", NOT_FOUND, *({"model": "assistant", "input": "x", **more} for more in (
        {"previous_response_id": "{response}"}, {"conversation": "{conversation}"}, {"conversation": "{conversation}", "stream": True},
        {"input": [{"type": "item_reference", "id": "{answer}"}, {"role": "user", "content": "x"}]}))),
    "GET /v1/responses/{id}": Case("/v1/responses/{response}", NOT_FOUND),
    "DELETE /v1/responses/{id}": Case("/v1/responses/{response}", NOT_FOUND),
    "POST /v1/responses/{id}/cancel": Case("/v1/responses/{response}/cancel", NOT_FOUND),
    "GET /v1/responses/{id}/input_items": Case("/v1/responses/{response}/input_items", NOT_FOUND),
    "POST /v1/conversations": Case("/v1/conversations", THEIRS, {}, {"items": [{"role": "user", "content": "x"}]}),
    "GET /v1/conversations/{id}": Case("/v1/conversations/{conversation}", NOT_FOUND),
    "POST /v1/conversations/{id}": Case("/v1/conversations/{conversation}", NOT_FOUND, {"metadata": {"a": "b"}}),
    "DELETE /v1/conversations/{id}": Case("/v1/conversations/{conversation}", NOT_FOUND),
    "POST /v1/conversations/{id}/items": Case("/v1/conversations/{conversation}/items", NOT_FOUND,
                                              {"items": [{"role": "user", "content": "x"}]}),
    "GET /v1/conversations/{id}/items": Case("/v1/conversations/{conversation}/items?after={answer}", NOT_FOUND),
    "GET /v1/conversations/{id}/items/{item}": Case("/v1/conversations/{conversation}/items/{answer}", NOT_FOUND),
    "DELETE /v1/conversations/{id}/items/{item}": Case("/v1/conversations/{conversation}/items/{answer}", NOT_FOUND),
    "POST /ui/chat": Case("/ui/chat", NOT_FOUND, {"id": "{thread}", "messages": SAID}, {"id": "{thread}", "trigger": "regenerate-message"}),
    "GET /ui/chat/{id}": Case("/ui/chat/{thread}", NOT_FOUND),
    "GET /ui/chat/{id}/stream": Case("/ui/chat/{thread}/stream", NOT_FOUND, good=(204,)),
    "POST /mcp": Case("/mcp", THEIRS, *({"jsonrpc": "2.0", "id": 1, **call} for call in (
        {"method": "tools/list"}, {"method": "tools/call", "params": {"name": "ask_assistant", "arguments": {"message": "x"}}},
        {"method": "tools/call", "params": {"name": "ask_assistant", "arguments": {"message": "x", "thread_id": "{thread}"}}}))),
    "POST /agui/{agent}": Case("/agui/assistant", NOT_FOUND, RUN, {**RUN, "messages": []}),
    "GET /agui/{agent}": Case("/agui/assistant", THEIRS),
    "POST /files": Case("/files?thread_id={thread}", NOT_FOUND, {"text": "of a file"}, good=(201,)),
    "GET /files": Case("/files?limit=100", THEIRS),
    "GET /files/{id}": Case("/files/{file}", NOT_FOUND),
    "GET /files/{id}/content": Case("/files/{file}/content", NOT_FOUND),
    "DELETE /files/{id}": Case("/files/{file}", NOT_FOUND),
    "GET /health": Case("/health", PUBLIC),
    "GET /ready": Case("/ready", PUBLIC),
    "GET /debug/config": Case("/debug/config", ADMIN),
    "GET /metrics": Case("/metrics", ADMIN),
    "GET /debug/env": Case("/debug/env", ADMIN),
    "GET /openapi.json": Case("/openapi.json", PUBLIC),
    "GET /openapi.yaml": Case("/openapi.yaml", PUBLIC),
    "GET /docs": Case("/docs", PUBLIC),
    "GET /docs/{file}": Case("/docs/page.css", PUBLIC),
    "GET /selftest/stream": Case("/selftest/stream", PUBLIC, head=True),
}
