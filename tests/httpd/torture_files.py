# SPDX-License-Identifier: Apache-2.0
"""Owners who upload files, send them, remove them and have everything forgotten, while the server is tortured; and what
must be true of them afterwards."""
import collections
import json
import os
import random
import sqlite3
import threading
import uuid

from client import Client
from purges import LONG_AGO
from test_agents import sign
from torture import pause
from torture_stores import Sqlite
from uploads import file, kept_bytes, text

OWNER_BYTES, OWNER_FILES, THREAD_FILES = 150_000, 25, 6
FILES = f"AgentChatFiles on reserve=0 max=40K owner={OWNER_BYTES} owner-files={OWNER_FILES} thread-files={THREAD_FILES}\n"
BROKEN = (OSError, EOFError, ValueError, IndexError)
LOOSE, SENT, GONE = "loose", "sent", "gone"


class Upload:
    """What the owner knows of a file. doubtful: the outcome of a request for it is not known."""

    def __init__(self, data):
        self.data, self.state, self.thread, self.doubtful = data, LOOSE, None, False


class Owner(threading.Thread):
    """One owner's client, which does one thing after the other. Each life ends with DELETE /me and has a word of its
    own, which is in all that the owner says and uploads."""

    def __init__(self, number, port, stop):
        super().__init__(daemon=True)
        self.name, self.client, self.stop = f"owner-{number}", Client(port, "/signed"), stop
        self.headers = sign(self.name)
        self.random = random.Random(number)
        self.counts, self.problems, self.lives, self.unfinished = collections.Counter(), [], [], None
        self.begin()

    def begin(self):
        self.word, self.files, self.threads = f"w{uuid.uuid4().hex}", {}, set()

    def request(self, method, path, body=None, **headers):
        return self.client.request(method, path, body, headers={**self.headers, **headers})

    def run(self):
        deeds = [self.upload] * 6 + [self.send] * 6 + [self.read] * 3 + [self.break_upload, self.remove_file, self.remove_thread,
                                                                       self.export]
        while not self.stop.is_set():
            deed = self.forget if self.unfinished or self.random.random() < 0.03 else self.random.choice(deeds)
            try:
                deed()
                self.counts[deed.__name__] += 1
            except BROKEN:
                self.counts["broken"] += 1
                pause(0.1)
            except AssertionError as problem:
                self.problems.append(f"{self.name}: {deed.__name__}: {problem}")

    def pick(self, *states):
        """A file in one of these states whose story is certain; (None, None): there is none."""
        return self.random.choice([(id, one) for id, one in self.files.items() if one.state in states and not one.doubtful]
                                  or [(None, None)])

    def some_data(self):
        return f"{self.word} {self.random.randrange(10 ** 9)} ".encode() * self.random.choice((1, 20, 200, 500))

    # ---- deeds ----
    def upload(self):
        data, thread = self.some_data(), self.random.choice([None] * 3 + sorted(self.threads))
        answer = self.request("POST", "/files" + (f"?thread_id={thread}" if thread else ""), data,
                              **{"Content-Disposition": f'attachment; filename="{self.word}.txt"'})
        if answer.status == 201:
            self.files[answer.json["id"]] = Upload(data)
            self.files[answer.json["id"]].thread = thread
        elif answer.status == 413:
            self.counts["over a limit"] += 1
        else:
            assert answer.status >= 500 or answer.status == 429 or answer.status == 404 and thread, answer

    def break_upload(self):
        with self.client.connect() as connection:
            data = self.some_data()
            connection.send("POST", "/signed/files", headers={**self.headers, "Content-Length": str(len(data))})
            connection.socket.sendall(data[:len(data) // 2])

    def send(self):
        """A turn with one file or two. One whose outcome is not known is sent again as it is, or in another thread."""
        chosen = {id: one for id, one in (self.pick(LOOSE, SENT) for _ in range(self.random.choice((1, 1, 2)))) if id}
        thread = self.random.choice(sorted(self.threads) + [None])
        key = {"Idempotency-Key": str(uuid.uuid4())}
        while not self.stop.is_set():
            try:
                answer = self.say(thread, list(chosen), key)
            except BROKEN:
                answer = None
            if answer and self.judge(answer, thread, chosen):
                return
            for one in chosen.values():
                one.doubtful = True
            if self.random.random() < 0.5:
                thread, key = self.random.choice(sorted(self.threads) + [None]), {"Idempotency-Key": str(uuid.uuid4())}
            pause(0.2)

    def say(self, thread, ids, key):
        parts = [text(f"{self.word} hello"), *map(file, ids)]
        if not thread:
            return self.request("POST", "/agents/assistant/chat", {"message": parts, "stream": False}, **key)
        branch = {}
        if self.random.random() < 0.3:
            page = self.request("GET", f"/threads/{thread}/messages?limit=100&all=true")
            ids = [m["id"] for m in page.json["data"]] if page.status == 200 else []
            branch = {"parent_id": self.random.choice(ids)} if ids else {}
        return self.request("POST", f"/threads/{thread}/messages", {"content": parts, "stream": False, **branch}, **key)

    def judge(self, answer, thread, chosen):
        """Whether the outcome is known."""
        if answer.status == 200:
            assert answer.json.get("id", True), f"{answer} for {thread}"
            self.counts["turns"] += 1
            self.threads.add(answer.json["thread_id"])
            for one in chosen.values():
                other = one.state == SENT and one.thread != answer.json["thread_id"]
                assert not other or one.doubtful, "a file is in two threads"
                one.state, one.thread = SENT, answer.json["thread_id"]
            return True
        # A message is stored before its model fails, and after an earlier attempt whose answer did not arrive.
        if answer.status in (400, 404, 409, 413, 422) and answer.json["code"] != "run_in_progress":
            certain = thread is None or thread in self.threads
            strange = [one for one in chosen.values() if one.doubtful or one.thread not in (None, thread)]
            assert strange or answer.status == 413 or not certain or not chosen, f"{answer} for {thread}"
            return answer.status != 409
        return False

    def read(self):
        id, one = self.pick(LOOSE, SENT, GONE)
        if not id:
            return
        answer = self.request("GET", f"/files/{id}/content")
        if answer.status < 500:
            wanted = 404 if one.state == GONE else 200
            assert answer.status == wanted, f"{id} is {one.state}: {answer.status}"
            assert one.state == GONE or answer.body == one.data, f"{id} has other bytes"

    def remove_file(self):
        id, one = self.pick(LOOSE, SENT)
        if id:
            one.doubtful = True
            answer = self.request("DELETE", f"/files/{id}")
            if answer.status in (200, 204):
                one.state, one.doubtful = GONE, False

    def remove_thread(self):
        thread = self.random.choice(sorted(self.threads) or [None])
        if not thread:
            return
        inside = [one for one in self.files.values() if one.thread == thread]
        doubts = [one.doubtful for one in inside]
        for one in inside:
            one.doubtful = True
        self.threads.discard(thread)        # without an answer it is not known whether it is there
        answer = self.request("DELETE", f"/threads/{thread}?hard_delete=true")
        if answer.status == 200:
            for one, doubtful in zip(inside, doubts):
                one.state, one.doubtful = GONE, doubtful
        elif answer.status == 409:
            self.threads.add(thread)
            for one, doubtful in zip(inside, doubts):
                one.doubtful = doubtful

    def export(self):
        answer = self.request("GET", "/me/export")
        if answer.status == 200:
            for line in answer.body.splitlines():
                assert isinstance(json.loads(line), dict)

    def forget(self):
        """Again until it is accepted."""
        self.unfinished = self.unfinished or (self.word, list(self.files))
        answer = self.request("DELETE", "/me", {"confirm": "delete everything"})
        if answer.status in (200, 202):
            self.lives.append(self.unfinished)
            self.unfinished = None
            self.begin()

    # ---- afterwards ----
    def pages(self, path):
        found, after = [], ""
        while True:
            page = self.request("GET", f"{path}{'&' if '?' in path else '?'}limit=100{after}").json
            found += page["data"]
            if not page["has_more"]:
                return found
            after = f"&after={page['next']}"

    def account(self, ids):
        """What is wrong; `ids` gets the files that the owner has."""
        wrong, used = list(self.problems), collections.defaultdict(set)
        known = {one["id"]: one for one in self.pages("/files")}
        ids.update(known)
        threads = {thread["id"] for thread in self.pages("/threads") + self.pages("/threads?status=archived")}
        for thread in threads:
            for message in self.pages(f"/threads/{thread}/messages?all=true"):
                for one in message.get("attachments") or ():
                    used[one["file_id"]].add(thread)
        wrong += [f"{id} is in {len(places)} threads" for id, places in used.items() if len(places) > 1]
        for id, places in used.items():
            mine = self.files.get(id)
            if id in known:
                wrong += [] if known[id]["thread_id"] in places and known[id]["status"] == "attached" else [f"{id} is not of its thread"]
            elif not mine or not (mine.state == GONE or mine.doubtful):
                wrong.append(f"{id} is missing")
        wrong += [f"{id} is attached to nothing" for id in known if id not in used]
        for id, one in self.files.items():
            if one.state == SENT and not one.doubtful and one.thread not in used[id]:
                wrong.append(f"{id} was acknowledged and is not in its thread")
            if id in known and self.request("GET", f"/files/{id}/content").body != one.data:
                wrong.append(f"{id} has other bytes")
            if id in known and one.state == GONE and not one.doubtful:
                wrong.append(f"{id} was deleted and is there")
        wrong += [f"{id} was forgotten and is there" for _, files in self.lives for id in files if id in known]
        if len(known) > OWNER_FILES or sum(one["size"] for one in known.values()) > OWNER_BYTES:
            wrong.append(f"{self.name} is over the limit")
        most = collections.Counter(one["thread_id"] for one in known.values())
        wrong += [f"{thread} has {n} files" for thread, n in most.items() if n > THREAD_FILES]
        return [f"{self.name}: {each}" for each in wrong]


def age(server, store):
    """All files and bytes are old: the next sweep looks at them. The server is stopped."""
    for path in (server.root / "state/files").rglob("*"):
        os.utime(path, (978307200, 978307200))
    if isinstance(store, Sqlite):
        with sqlite3.connect(server.root / "state/agentchat.db") as db:
            db.execute("UPDATE files SET loose = ? WHERE loose IS NOT NULL", (LONG_AGO,))
    else:
        store.control(change={"threads": {"loose": LONG_AGO}})


def holders(server, store, words):
    """Where one of the words is left."""
    found = [path.name for place in ("state", "events") for path in (server.root / place).rglob("*") if path.is_file()
             and any(word.encode() in path.read_bytes() for word in words)]
    if not isinstance(store, Sqlite):
        for name in ("threads", "messages"):
            found += [document["id"] for document in store.control(dump=name)["documents"]
                      if any(word in json.dumps(document) for word in words)]
    return found


def account(server, store, owners):
    """Everything that is wrong."""
    wrong, ids = [], set()
    for owner in owners:
        wrong += owner.account(ids)
    kept = kept_bytes(server)
    wrong += [f"{id} has bytes and no document" for id in kept if id not in ids]
    wrong += [f"{id} has no bytes" for id in ids if id not in kept]
    words = [word for owner in owners for word, _ in owner.lives]
    wrong += [f"{name} has a word of a forgotten owner" for name in holders(server, store, words)]
    return wrong
