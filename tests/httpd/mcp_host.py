# SPDX-License-Identifier: Apache-2.0
"""A client of MCP as the project's conformance suite wants one: a program that gets the URL of a server. It runs an httpd whose agent has
the server's tools; a scripted model calls each of them, and the run's owner approves what is asked."""
import json
import os
import re
import sys
import time

from client import WAIT
from conftest import AGENT, MODEL
from model_server import ModelServer, answer, calls
from server import MOUNT, Server

HOST = """
<AgentChatMCP s>
    AgentChatMCPURL {url}
    AgentChatMCPAllowPrivate on
    AgentChatMCPApproval none
    AgentChatMCPTimeouts connect=30s list=1min call=30s
    {more}
</AgentChatMCP>
<AgentChatAgent host>
    AgentChatModel scripted
    AgentChatTools mcp:s
</AgentChatAgent>
"""
VALUES = {"number": 2, "integer": 3, "string": "x", "boolean": True, "object": {}, "array": []}


def arguments_for(schema):
    properties = schema.get("properties", {})
    return {name: VALUES.get(properties.get(name, {}).get("type"), "x") for name in schema.get("required", list(properties))}


def finish(client, stream, seconds=WAIT):
    """Reads the turn to its end, and approves what a tool asks."""
    run, due = stream.next().json["run_id"], time.monotonic() + seconds
    stream.close()
    while client.get(f"/runs/{run}").json["status"] == "in_progress":
        for step in client.get(f"/runs/{run}/steps").json["data"]:
            if step.get("approval") == "required":
                client.post(f"/runs/{run}/approvals", {"call_id": step["call_id"], "approve": True})
        assert time.monotonic() < due, "the run does not end"
        time.sleep(0.05)
    return run


def main(url):
    model = ModelServer()
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    server = Server(MODEL.format(url=model.url) + AGENT + MOUNT + HOST.format(url=url, more=os.environ.get("MCP_HOST_MORE", ""))).start()
    try:
        model.play(answer("x"))
        print(server.client.stream("/agents/host/chat", {"message": "go"}).rest()[0].json)
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in model.requests[-1].json.get("tools", [])}
        wanted = [("s_" + re.sub("[^A-Za-z0-9_-]", "_", call["name"]), call["arguments"]) for call in context.get("toolCalls", [])]
        for call in wanted or [(name, arguments_for(schema)) for name, schema in tools.items()]:
            model.play(calls(call), answer("x"))
            finish(server.client, server.client.stream("/agents/host/chat", {"message": "go"}))
            print(call, [message["content"] for message in model.requests[-1].messages if message["role"] == "tool"])
    finally:
        server.stop()
        server.remove()
        model.stop()


if __name__ == "__main__":
    main(sys.argv[1])
