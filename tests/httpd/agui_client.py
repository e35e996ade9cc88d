# SPDX-License-Identifier: Apache-2.0
"""AG-UI's HttpAgent of two versions, unchanged, and what tests say about its messages."""
import json
import os
import subprocess

import peers
from server import TOP

ON = "<Location /api>\nAgentChatAGUI on\n</Location>\n"
NEW, OLD = "@ag-ui/client", "agui0"      # 1.0.0, and 0.0.59, which CopilotKit uses
ALL = (NEW, OLD)


def start(client, site, steps, mount="/api", **more):
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    return subprocess.Popen([peers.node_program(), str(TOP / "tests/clients/agui.mjs"), client, f"http://127.0.0.1:{site.port}{mount}",
                             json.dumps({"steps": steps, **more})], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def end(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    return json.loads(out.splitlines()[-1])


def run(client, site, *steps, **more):
    return end(start(client, site, list(steps), **more))


def said(result):
    """Role and text of each message; a message of calls alone has the text None."""
    return [(m["role"], m.get("content")) for m in result["messages"]]


def types(step):
    return [event["type"] for event in step["events"]]


def finish_of(step):
    finish = step["events"][-1]
    assert finish["type"] == "RUN_FINISHED", finish
    return finish.get("outcome")


def ids_of(step):
    """What this server calls the run."""
    return next(event["value"] for event in step["events"] if event["type"] == "CUSTOM")


def calls_of(result):
    return [call for message in result["messages"] for call in message.get("toolCalls", [])]


def results_of(result):
    return [message["content"] for message in result["messages"] if message["role"] == "tool"]


def stored(site, thread_id, query=""):
    return [(m["role"], m["content"]) for m in site.client.get(f"/threads/{thread_id}/messages{query}").json["data"]]


def body(*messages, run_id="r1", thread="talk-1", **more):
    return {"threadId": thread, "runId": run_id, "messages": list(messages), "tools": [], "context": [], **more}


def question(text="hi", message_id="u1"):
    return {"id": message_id, "role": "user", "content": text}


def events_of(stream):
    return [event.json for event in stream.rest()]
