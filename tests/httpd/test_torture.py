# SPDX-License-Identifier: Apache-2.0
"""Many clients, failing models and stores, and processes that die: at the end everything is accounted for. Half a
minute for both stores, or TORTURE_SECONDS for each (make torture)."""
import collections
import os
import random
import threading
import time
from pathlib import Path

import pytest

from runs import event_logs, wait_until
from torture import Chaos, Visitor, troubled
from torture_stores import ScriptedCosmos, Sqlite
from webhooks import ENV, Receiver, section

SECONDS = os.environ.get("TORTURE_SECONDS")
CLIENTS, THREADS = int(os.environ.get("TORTURE_CLIENTS", "200")), int(os.environ.get("TORTURE_THREADS", "100"))
CHILDREN = 4
# At a restart httpd notifies as many children as MaxRequestWorkers allows; if some are killed a generation may have
# more of them for a moment, and one without a notice continues to serve. So it allows more than there will be.
TUNING = f"StartServers 3\nServerLimit 24\nThreadsPerChild 16\nMaxRequestWorkers {16 * 3 * CHILDREN}\nMinSpareThreads 1\n" \
         f"MaxSpareThreads {16 * CHILDREN}\nAsyncRequestWorkerFactor 100\n"
MODEL = """
<AgentChatModel scripted>
    AgentChatProvider {provider}
    AgentChatEndpoint {url} model=scripted-1
    AgentChatTimeouts connect=2s first-byte=1s idle=1s total=20s
    AgentChatRetries 0
    AgentChatBreaker off
</AgentChatModel>
<AgentChatAgent assistant>
    AgentChatModel scripted
</AgentChatAgent>
<Location "/api">
    SetHandler agentchat
    AgentChatAnonymous on
</Location>
AgentChatStoreTimeout {timeout}
AgentChatEventLog events
"""
WEBHOOKS = '<Location "/api">\nAgentChatDefaultWebhook billing\n</Location>\n'
STATUS = {"completed": ("completed",), "cancelled": ("cancelled",), "interrupted": ("interrupted",), "stopping": ("interrupted",)}


def whole(client, path, query=""):
    """All pages of a list."""
    found, after = [], ""
    while True:
        response = client.get(f"{path}?limit=100{query}{after}")
        assert response.status == 200, response
        page = response.json
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['next']}"


def account(client, threads, visitors):
    """Everything that is wrong, and counts."""
    wrong, counts = [], collections.Counter()
    for visitor in visitors:
        wrong += visitor.problems
    stored = {thread: whole(client, f"/threads/{thread}/messages", "&all=true") for thread in threads}
    again = collections.Counter(seen.thread for visitor in visitors for seen in visitor.messages if seen.regenerates)
    said = collections.Counter(m["content"] for messages in stored.values() for m in messages if m["role"] == "user")
    wrong += [f"'{content}' is stored {n} times" for content, n in said.items() if n > 1 and content.startswith("message")]
    answers = collections.defaultdict(list)
    for thread, messages in stored.items():
        if [m["seq"] for m in messages] != list(range(1, len(messages) + 1)):
            wrong.append(f"{thread}: seq has gaps")
        by_id = {m["id"]: m for m in messages}
        questions = {m["run_id"]: m for m in messages if m["role"] == "user"}
        runs = whole(client, f"/threads/{thread}/runs")
        wrong += check_tree(client, thread, messages, by_id)
        parents = {run["id"]: questions.get(run["id"], by_id.get(run.get("parent_id"))) for run in runs}
        # One that has ended in the queue of its thread has no message.
        n_again = sum(run["id"] not in questions and run.get("parent_id") in by_id for run in runs)
        counts["answers asked for again"] += n_again
        if n_again > again[thread]:
            wrong.append(f"{thread}: {n_again} further answers for {again[thread]} requests")
        for message in messages:
            if message["role"] == "assistant":
                answers[message["run_id"]].append(message)
                wrong += check_place(thread, message, parents.get(message["run_id"]))
    wrong += [f"{run_id} has {len(a)} answers" for run_id, a in answers.items() if len(a) > 1]
    for seen in (seen for visitor in visitors for seen in visitor.messages):
        counts["sent"] += 1
        counts["connections lost"] += seen.n_resumed
        if seen.key and seen.n_repeated > 1:
            counts["sent again"] += 1
        counts[f"end {seen.end}"] += 1
        counts["in a branch"] += "parent_id" in seen.body or seen.regenerates
        counts["queued"] += seen.n_queued > 0
        if seen.accepted:
            wrong += check_run(client, seen, said, answers)
            counts["accepted"] += 1
    counts["events"] = sum(len(seen.numbers) for visitor in visitors for seen in visitor.messages)
    counts["answers"] = len(answers)
    return wrong, counts


def check_place(thread, message, question):
    """An answer follows its question. What is left of one whose process died comes to the end of a thread that was used meanwhile."""
    late = message["metadata"]["finish_reason"] in ("interrupted", "cancelled")
    fine = question and question["role"] == "user" and (late or question["id"] == message["parent_id"])
    return [] if fine else [f"{thread}: answer {message['seq']} does not follow its message"]


def check_tree(client, thread, messages, by_id):
    """The current path leads from the leaf up to a root."""
    wrong, path, at = [], [], client.get(f"/threads/{thread}").json["leaf"] or (messages[-1]["id"] if messages else None)
    wrong += [f"{thread}: the parent of {m['seq']} is not before it" for m in messages
              if m["parent_id"] and by_id[m["parent_id"]]["seq"] >= m["seq"]]
    while at and not wrong:
        path.append(at)
        at = by_id[at]["parent_id"]
    if not wrong and path[::-1] != [m["id"] for m in whole(client, f"/threads/{thread}/messages")]:
        wrong.append(f"{thread}: the path is not that of the leaf")
    return wrong


def check_run(client, seen, said, answers):
    run = client.get("/runs/" + seen.run_id).json
    wrong = [] if said[seen.content] == (not seen.regenerates) else [f"'{seen.content}' is stored {said[seen.content]} times"]
    if run["status"] not in STATUS.get(seen.end, ("failed",)):
        wrong.append(f"{seen.run_id}: the client saw {seen.end}, the store has {run['status']}")
    kept = "".join(m["content"] for m in answers[seen.run_id])
    if kept != seen.text and not seen.in_part:
        wrong.append(f"{seen.run_id} ({seen.end}): the client saw {len(seen.text)} bytes, {len(kept)} are stored")
    return wrong


def left_over(server, threads):
    """Runs without an end, threads that are unusable, directories of dead children."""
    client, wrong = server.client, []
    places, children = list((server.root / "events").glob("c-*")), set(server.children())
    wrong += [f"{place.name} is left" for place in places if int(place.name.split("-")[1], 16) not in children]
    wrong += [f"{place.name} is left" for place in (server.root / "events").glob("new-*")]
    for thread in threads:
        for run in whole(client, f"/threads/{thread}/runs"):
            if run["status"] in ("queued", "in_progress"):
                wrong.append(f"{run['id']} is {run['status']}")
    for thread in threads[:20]:
        if client.send(thread, "is anybody there?").status != 200:
            wrong.append(f"{thread} cannot be used")
    return wrong


class FailingReceiver(Receiver):
    """Every tenth event is refused, and comes again."""

    def _respond(self, *request):
        if random.random() < 0.1:
            self.play(503)
        return super()._respond(*request)


def check_webhooks(client, threads, receiver):
    """The end of each run was sent, at least once; all attempts for one event have one id."""
    ids = collections.defaultdict(set)
    for event in list(receiver.events):
        ids[event.data["run_id"], event.type].add(event.id)
    wrong = [f"{run_id} {kind} was sent as {len(found)} events" for (run_id, kind), found in ids.items() if len(found) > 1]
    for thread in threads:
        wrong += [f"{run['id']}: the end {run['status']} was not sent" for run in whole(client, f"/threads/{thread}/runs")
                  if not ids[run["id"], "run." + run["status"].replace("interrupted", "failed")]]
    return wrong


def all_sent(client, threads, receiver):
    deadline = time.monotonic() + 120
    while wrong := check_webhooks(client, threads, receiver):
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    return wrong


def nothing_left(server, threads):
    deadline = time.monotonic() + 90
    while wrong := left_over(server, threads):
        assert time.monotonic() < deadline, "something is left over: " + "; ".join(wrong[:5])
        time.sleep(0.5)


def connections(server):
    """Of clients, that httpd holds: local port, state ESTABLISHED or CLOSE_WAIT."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if int(row[1].split(":")[1], 16) == server.port and row[3] in ("01", "08") and row[9] != "0")


def own_memory(pid):
    """Private memory in kB; 0 for a process that is just ending."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


def quiet(server):
    """All clients have closed: old children, connections and streams have ended. Returns the resources of the
    children."""
    wait_until(lambda: len(server.children()) <= CHILDREN, "old children stay", 60)
    wait_until(lambda: connections(server) == 0, "connections stay", 60)

    def look():
        """Once more where one of them ends just now."""
        try:
            return [(own_memory(pid), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
                    for pid in server.children()]
        except OSError:
            return None
    memory, fds, n_threads = zip(*wait_until(look, "children come and go"))
    return max(memory), max(fds), set(n_threads)


def no_logs(server):
    """With nothing to keep, no file is left of any run."""
    server.stop()
    server.conf.write_text(server.conf.read_text() + "AgentChatEventLogKeep 0\n")
    server.start()
    wait_until(lambda: not event_logs(server.root / "events"), "event logs stay", 60)


def torment(server, store, visitors, seconds):
    """Waits for this time, and longer where a slow machine has not seen each kind of fault by then; then all clients end."""
    stop = visitors[0].stop
    chaos = Chaos(server, store, stop)
    for worker in [*visitors, chaos]:
        worker.start()
    time.sleep(seconds)                 # how long it lasts is what the test is about
    wait_until(chaos.complete, "a kind of fault has not happened", 60)
    stop.set()
    chaos.join(30)
    store.calm()
    return chaos


@pytest.fixture
def receiver():
    server = FailingReceiver()
    yield server
    server.stop()


@pytest.fixture
def store(request):
    store = request.param()
    yield store
    store.stop()


@pytest.mark.parametrize("store, seconds, provider", [
    pytest.param(Sqlite, 10, "openai", id="sqlite"),
    pytest.param(ScriptedCosmos, 8, "openai", id="cosmos"),
    pytest.param(Sqlite, 10, "responses", id="responses", marks=pytest.mark.skipif(not SECONDS, reason="make torture"))],
                         indirect=["store"])
def test_torture(make_server, model, receiver, store, seconds, provider):
    text = MODEL.format(provider=provider, url=model.url, timeout=store.timeout) + store.directives
    text += WEBHOOKS + section(receiver, retries=" ".join(["100ms"] * 10))
    server = make_server(text, standard=False, tuning=TUNING, env={**store.env, **ENV})
    server.expect_log(r"AC0\d\d\d", "AH00484", "AH00485", "AH10503", "scoreboard is full", "long lost child came home")
    # A child that httpd starts at the moment of a restart, while others are killed, may miss the notice to end; it
    # continues to serve, and is killed at the stop. Seen with all of our threads idle, and its main thread reading from
    # httpd's pipe of death.
    server.expect_log("AH0004[56]")
    threads = [server.client.thread() for _ in range(THREADS)]
    model.default = troubled(0.2)
    stop = threading.Event()
    store.start()
    visitors = [Visitor(i, [server.client], threads[i % THREADS], stop) for i in range(CLIENTS)]
    chaos = torment(server, store, visitors, float(SECONDS or seconds))
    model.default = troubled(0)
    deadline = time.monotonic() + 90
    for visitor in visitors:
        visitor.join(max(0.1, deadline - time.monotonic()))
    alive = sum(visitor.is_alive() for visitor in visitors)
    memory, fds, n_threads = quiet(server)
    server.stop()                       # a child takes over what dead ones left when it starts
    server.start()
    nothing_left(server, threads)
    wrong, counts = account(server.client, threads, visitors)
    wrong += all_sent(server.client, threads, receiver)
    counts["webhook events"], counts["of which repeated"] = len({event.id for event in receiver.events}), len(receiver.events)
    counts["of which repeated"] -= counts["webhook events"]
    print(f"\n{store.name}: {dict(counts)}; {chaos.n_killed} children killed, {chaos.n_graceful} graceful restarts, "
          f"{chaos.n_outages} times without a store; {store.summary()}afterwards at most {memory} kB and {fds} descriptors in a child, "
          f"{sorted(n_threads)} threads; {len(event_logs(server.root / 'events'))} logs kept")
    assert not wrong and not alive, f"{len(wrong)} wrong, {alive} clients without an end:\n" + "\n".join(wrong[:20])
    assert counts["accepted"] > 100 and counts["connections lost"] > 50 and counts["sent again"] > 10 and counts["queued"]
    assert chaos.n_killed and chaos.n_graceful and chaos.n_outages
    no_logs(server)
