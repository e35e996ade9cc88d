# SPDX-License-Identifier: Apache-2.0
"""What an older version of the module leaves in its stores, and what it says about it: a tool call, an archived and a hidden thread, an
agent of the API's, a run that awaits approval, and one whose server was killed.

As a program it makes the files of tests/httpd/old_stores, once for each format of a store that a version has had:

    old_stores.py NAME BUILD        BUILD: the folder of the older version's mod_agentchat.so"""
import gzip
import json
import os
import re
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from cosmos_container import Container
from cosmos_server import KEY, Cosmos
from model_server import Gate, ModelServer, answer, calls
from runs import holding, wait_until

FOLDER = Path(__file__).with_name("old_stores")

# Directives that all versions have.
DIRECTIVES = """
<AgentChatModel scripted>
    AgentChatProvider openai
    AgentChatEndpoint {model} model=scripted-1
</AgentChatModel>
<AgentChatTool send_mail>
    AgentChatToolURL {model}/mail method=POST
    AgentChatToolBody "{{\\"to\\":\\"{{to}}\\"}}"
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters {{"type":"object","properties":{{"to":{{"type":"string"}}}},"required":["to"]}}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent assistant>
    AgentChatModel scripted
    AgentChatTools calculate send_mail
</AgentChatAgent>
AgentChatDefaultAgent assistant
AgentChatPurgeAfter 0
<Location "/api">
    SetHandler agentchat
    AuthType Basic
    AuthName chat
    AuthBasicProvider anon
    Anonymous *
    Anonymous_MustGiveEmail off
    Anonymous_VerifyEmail off
    Require valid-user
    AgentChatRole admin ann
</Location>
"""
MODULES = ("auth_basic", "authn_core", "authn_anon", "authz_user")
ANN = {"Authorization": "Basic YW5uOng="}
ENV = {"K": KEY}


def directives(model, cosmos=None):
    store = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if cosmos else ""
    return store + DIRECTIVES.format(model=model.url)


def get(server, path):
    response = server.client.get(path, headers=ANN)
    assert response.status == 200, (path, response)
    return response.json


def send(server, thread, content=None, **members):
    body = {"stream": False, **members, **({} if content is None else {"content": content})}
    response = server.client.post(f"/threads/{thread}/messages", body, headers=ANN)
    assert response.status == 200, response
    return response.json


def make_thread(server, **members):
    response = server.client.post("/threads", members, headers=ANN)
    assert response.status == 201, response
    return response.json["id"]


def begin_approval(server, model, waits):
    """A run that awaits approval. waits(): whether the store has it."""
    model.play(calls(("send_mail", {"to": "a@b"}), said="Let me."))
    stream = server.client.stream("/agents/assistant/chat", {"message": "Write to Ann."}, headers=ANN)
    events = [stream.next().json]
    while not events[-1].get("approval_required"):
        events.append(stream.next().json)
    stream.close()
    wait_until(waits, "the run does not wait")
    return events[0]


def has_wait(server, cosmos=None):
    if cosmos:
        return any(document["type"] == "wait" for document in cosmos.documents("messages"))
    with closing(sqlite3.connect(server.root / "state/agentchat.db")) as db:
        return db.execute("SELECT count(*) FROM waits").fetchone()[0] == 1


def fill(server, model, cosmos=None):
    """Conversations, through the API; {name: thread or run}."""
    named = {"plain": make_thread(server, title="Tips", metadata={"colour": "blue"})}
    model.play(calls(("calculate", {"expression": "75 * 0.18"})), answer("It is ", "13.5."))
    send(server, named["plain"], "What is 18% of 75 euros?", metadata={"from": "a form"})
    model.play(answer("You are ", "welcome."))
    send(server, named["plain"], "Thank you for the tangerines!")
    if server.client.get("/me", headers=ANN).status == 200:     # since schema 7: branches and feedback
        model.play(answer("You are ", "most welcome."))
        send(server, named["plain"], regenerate=get(server, f"/threads/{named['plain']}/messages")["data"][-1]["id"])
        shown = get(server, f"/threads/{named['plain']}/messages")["data"][-1]["id"]
        rated = server.client.request("PUT", f"/messages/{shown}/feedback", {"rating": "up", "thread_id": named["plain"]}, ANN)
        assert rated.status == 200, rated
    for name, title in (("archived", "Old"), ("hidden", "Gone")):
        named[name] = make_thread(server, title=title)
        model.play(answer(f"{title} answer."))
        send(server, named[name], f"{title} question?")
    assert server.client.patch(f"/threads/{named['archived']}", {"status": "archived"}, headers=ANN).status == 200
    assert server.client.delete(f"/threads/{named['hidden']}", headers=ANN).status == 200
    agent = {"id": "poet", "name": "Poet", "description": "Rhymes.", "instructions": "Rhyme.", "model": "scripted", "tools": ["calculate"],
             "temperature": 0.7, "max_rounds": 3}
    assert server.client.request("PUT", "/agents/poet", agent, ANN).status == 201
    waiting = begin_approval(server, model, lambda: has_wait(server, cosmos))
    return {**named, "waiting": waiting["thread_id"], "waiting_run": waiting["run_id"]}


def tell(server, named):
    """What the API says, by path."""
    paths = ["/threads?limit=100", "/threads?status=archived", "/agents", "/agents/poet"]
    for name in ("plain", "archived", "waiting"):
        paths += [f"/threads/{named[name]}", f"/threads/{named[name]}/messages?limit=100", f"/threads/{named[name]}/runs"]
        for run in get(server, f"/threads/{named[name]}/runs")["data"]:
            paths += [f"/runs/{run['id']}", f"/runs/{run['id']}/steps"]
    return {path: get(server, path) for path in paths}


def begin_kill(server, model):
    """A run in the middle of its answer."""
    gate = Gate()
    model.play(holding(gate, before=["Once upon ", "a time"]))
    stream = server.client.stream("/agents/assistant/chat", {"message": "Tell me a tale."}, headers=ANN)
    first = stream.next().json
    stream.until("token")
    gate.wait_reached()
    server.kill()
    gate.open()
    return {"killed": first["thread_id"], "killed_run": first["run_id"]}


def differences(old, new, at=""):
    """Where something that the older version answered is missing or another one; members and rows that are new do not count."""
    if isinstance(old, dict) and isinstance(new, dict):
        gone = [f"{at}/{name}: gone" for name in old if name not in new]
        return gone + [text for name in old if name in new for text in differences(old[name], new[name], f"{at}/{name}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [text for i, value in enumerate(old) for text in differences(value, new[i], f"{at}/{i}")]
    return [] if old == new else [f"{at}: {old!r} → {new!r}"]


# ---- the files ----
def tomorrow():
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 86400))


def save_sqlite(folder, state):
    """One file, with what is in its log, and without what SQLite keeps free."""
    path = folder / "agentchat.db"
    with closing(sqlite3.connect(state / "agentchat.db")) as db:
        db.execute("VACUUM INTO ?", (str(path),))
    with gzip.GzipFile(folder / "agentchat.db.gz", "wb", mtime=0) as file:
        file.write(path.read_bytes())
    path.unlink()


def load_sqlite(folder, path):
    """The store as it was, but for the time: what waited waits until tomorrow."""
    path.write_bytes(gzip.decompress((folder / "agentchat.db.gz").read_bytes()))
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute("UPDATE waits SET until = ?", (tomorrow(),))
        db.commit()
    return version


def save_cosmos(folder, cosmos):
    with cosmos.lock:
        kept = {name: {"definition": container.definition, "documents": cosmos.documents(name)}
                for name, container in cosmos.databases["chat"].items()}
    (folder / "cosmos.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def load_cosmos(folder, cosmos):
    """The documents as they were, but for the time, as above."""
    kept = json.loads(re.sub(r'"due_at": "[^"]*"', f'"due_at": "{tomorrow()}"', (folder / "cosmos.json").read_text()))
    with cosmos.lock:
        cosmos.databases["chat"] = {}
        for name, parts in kept.items():
            container = cosmos.databases["chat"][name] = Container(parts["definition"])
            for document in parts["documents"]:
                key, lsn = document[container.path], int(document["_etag"][1:9], 16)
                container.partitions.setdefault(key, {})[document["id"]] = document
                container.versions[key, document["id"]] = [(lsn, document)]
                container.lsn = container.replica = max(container.lsn, lsn)


def make(name, server_class):
    for store in ("sqlite", "cosmos"):
        folder = FOLDER / name / store
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model, cosmos = ModelServer(), Cosmos() if store == "cosmos" else None
        server = server_class(directives(model, cosmos), modules=MODULES, env=ENV).start()
        try:
            named = fill(server, model, cosmos)
            answers = tell(server, named)
            named |= begin_kill(server, model)
            if cosmos:
                save_cosmos(folder, cosmos)
            else:
                save_sqlite(folder, server.root / "state")
            (folder / "answers.json").write_text(json.dumps({"named": named, "answers": answers}, indent=1, sort_keys=True) + "\n")
        finally:
            server.remove()
            model.stop()


if __name__ == "__main__":
    os.environ["BUILD_DIR"] = sys.argv[2]
    from server import Server
    make(sys.argv[1], Server)
