# SPDX-License-Identifier: Apache-2.0
"""What the tests of POST /mcp have in common: messages of both kinds of versions, and clients of others."""
import json
import os
import subprocess

import peers
from server import TOP

ON = "<Location /api>\nAgentChatMCPServer on\n</Location>\n"
MODERN = "2026-07-28"
BOTH = ("legacy", "modern")
CLIENTS = ("sdk", "client", "auto", "pin")
OF = {"sdk": "legacy", "client": "legacy", "auto": "modern", "pin": "modern"}
ACCEPT = {"Accept": "application/json, text/event-stream"}
META = "io.modelcontextprotocol/"


def message(era, method, params=None, id=1, elicits=False, token=None):
    params = dict(params or {})
    if era == "modern":
        params["_meta"] = {META + "protocolVersion": MODERN, META + "clientCapabilities": {"elicitation": {}} if elicits else {}}
    if token is not None:
        params.setdefault("_meta", {})["progressToken"] = token
    return {"jsonrpc": "2.0", "id": id, "method": method, **({"params": params} if params or era == "modern" else {})}


def headers(era, method, params=None):
    named = {"Mcp-Name": params["name"]} if method == "tools/call" and params and "name" in params else {}
    return {**ACCEPT, **({"MCP-Protocol-Version": MODERN, "Mcp-Method": method, **named} if era == "modern" else {})}


def rpc(site, era, method, params=None, mount=None, session=None, extra=None, **more):
    client = mount or site.client
    sent = {**headers(era, method, params), **({"Mcp-Session-Id": session} if session else {}), **(extra or {})}
    return client.post("/mcp", message(era, method, params, **more), headers=sent)


def stream(site, era, params, session=None, extra=None, **more):
    sent = {**headers(era, "tools/call", params), **({"Mcp-Session-Id": session} if session else {}), **(extra or {})}
    return site.client.stream("/mcp", message(era, "tools/call", params, **more), headers=sent)


def ask(text, agent="assistant", **arguments):
    return {"name": "ask_" + agent, "arguments": {"message": text, **arguments}}


def call(site, era, text, agent="assistant", thread=None, **more):
    return rpc(site, era, "tools/call", ask(text, agent, **({"thread_id": thread} if thread else {})), **more)


def session(site, elicits=False):
    params = {"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}} if elicits else {},
              "clientInfo": {"name": "test", "version": "1"}}
    return rpc(site, "legacy", "initialize", params).headers["mcp-session-id"]


def start(kind, site, *steps, mount="/api", **more):
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    return subprocess.Popen([peers.node_program(), str(TOP / "tests/clients/mcp.mjs"), kind, f"http://127.0.0.1:{site.port}{mount}/mcp",
                             json.dumps({"steps": [["connect"], *steps], **more})], env=environment, stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return json.loads(out.splitlines()[-1])


def run(kind, site, *steps, **more):
    return end(start(kind, site, *steps, **more))


def text_of(result):
    return "\n".join(part["text"] for part in result["content"])


def error(reply, code, status=200, id=1):
    assert reply.status == status and reply.headers["content-type"] == "application/json", reply
    assert reply.json["jsonrpc"] == "2.0" and reply.json["id"] == id and reply.json["error"]["code"] == code, reply
    return reply.json["error"]
