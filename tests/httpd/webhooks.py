# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks, and servers that send to it."""
import base64
import json
import os
import subprocess
import threading

import peers
from model_server import Gate
from runs import wait_until
from scripted_server import ScriptedServer
from server import TOP

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OLD_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()
ENV = {"HOOK": SECRET, "OLD_HOOK": OLD_SECRET}
SOON = "100ms 100ms 100ms"


class Event:
    def __init__(self, target, headers, body):
        self.target, self.headers, self.body = target, headers, body.decode()
        self.json = json.loads(body)
        self.id, self.type, self.data = headers["webhook-id"], self.json["type"], self.json["data"]


class Receiver(ScriptedServer):
    """Answers with the statuses that were played, then with 204. What is played is a status, a status with header fields, or a gate, which
    holds its request until it opens."""

    def __init__(self):
        self.events, self.script, self.lock = [], [], threading.Lock()
        super().__init__()

    def play(self, *answers):
        self.script += answers

    def _respond(self, connection, method, target, headers, body):
        with self.lock:
            self.events.append(Event(target, headers, body))
            answer = self.script.pop(0) if self.script else 204
        if isinstance(answer, Gate):
            answer.pass_through(lambda: False)
            answer = 204
        status, fields = answer if isinstance(answer, tuple) else (answer, "")
        connection.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{fields}\r\n".encode())
        return True

    def wait(self, n):
        wait_until(lambda: len(self.events) >= n, f"{len(self.events)} of {n} events have come")
        return self.events[:n]


def section(receiver, name="billing", secret="env:HOOK", retries=SOON, more=""):
    return f"""
<AgentChatWebhook {name}>
    AgentChatWebhookURL {receiver.url}/hook?for={name}
    AgentChatWebhookSecret {secret}
    AgentChatWebhookAllowPrivate on
    AgentChatWebhookRetries {retries}
    {more}
</AgentChatWebhook>
"""


def verify(event, secret=SECRET):
    """What the library of Standard Webhooks makes of the request."""
    environment = {**os.environ, "PEERS": str(peers.install(TOP / "tests/clients"))}
    done = subprocess.run([peers.node_program(), str(TOP / "tests/clients/webhook.mjs"), secret],
                          input=json.dumps({"headers": event.headers, "body": event.body}), env=environment, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def send(client, thread=None, content="question", webhook="billing", **members):
    answer = client.post(f"/threads/{thread or client.thread()}/messages", {"content": content, "webhook": webhook, **members})
    assert answer.status in (200, 202), answer
    return answer.json


def deliveries(client, run):
    return client.get(f"/runs/{run}").json["webhook"]["deliveries"]


def wait_state(client, run, state, n=1):
    wait_until(lambda: [one["state"] for one in deliveries(client, run)] == [state] * n, f"the deliveries are {deliveries(client, run)}")
    return deliveries(client, run)
