# SPDX-License-Identifier: Apache-2.0
"""Many clients, a model and a store in trouble, and processes that die: at the end everything is accounted for. 20 seconds, or
TORTURE_SECONDS (make torture)."""
import collections
import os
import threading
import time

from runs import wait_until
from torture import Chaos, Visitor, troubled

SECONDS = float(os.environ.get("TORTURE_SECONDS", "20"))
CLIENTS, THREADS = int(os.environ.get("TORTURE_CLIENTS", "200")), int(os.environ.get("TORTURE_THREADS", "100"))
TUNING = "StartServers 3\nServerLimit 24\nThreadsPerChild 16\nMaxRequestWorkers 64\nMinSpareThreads 1\nMaxSpareThreads 64\n" \
         "AsyncRequestWorkerFactor 100\n"
MODEL = """
<AgentChatModel scripted>
    AgentChatProvider openai
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
AgentChatStoreTimeout 500ms
AgentChatEventLog events
"""
STATUS = {"completed": ("completed",), "cancelled": ("cancelled",), "interrupted": ("interrupted",), "stopping": ("interrupted",)}


def history(client, thread):
    messages, after = [], 0
    while True:
        page = client.get(f"/threads/{thread}/messages?limit=100&after={after}").json
        messages += page["data"]
        if not page["has_more"]:
            return messages
        after = page["next"]


def account(client, threads, visitors):
    """Everything that is wrong, and counts."""
    wrong, counts = [], collections.Counter()
    for visitor in visitors:
        wrong += visitor.problems
    stored = {thread: history(client, thread) for thread in threads}
    said = collections.Counter(m["content"] for messages in stored.values() for m in messages if m["role"] == "user")
    wrong += [f"'{content}' is stored {n} times" for content, n in said.items() if n > 1 and content.startswith("message")]
    answers = collections.defaultdict(list)
    for thread, messages in stored.items():
        if [m["seq"] for m in messages] != list(range(1, len(messages) + 1)):
            wrong.append(f"{thread}: seq has gaps")
        for message in messages:
            if message["role"] == "assistant":
                answers[message["run_id"]].append(message)
    wrong += [f"{run_id} has {len(a)} answers" for run_id, a in answers.items() if len(a) > 1]
    for seen in (seen for visitor in visitors for seen in visitor.messages):
        counts["sent"] += 1
        counts["resumed"] += seen.n_resumed
        counts[f"end {seen.end}"] += 1
        if seen.accepted:
            wrong += check_run(client, seen, said, answers)
            counts["accepted"] += 1
    counts["events"] = sum(len(seen.numbers) for visitor in visitors for seen in visitor.messages)
    counts["answers"] = len(answers)
    return wrong, counts


def check_run(client, seen, said, answers):
    run = client.get("/runs/" + seen.run_id).json
    wrong = [] if said[seen.content] == 1 else [f"'{seen.content}' is stored {said[seen.content]} times"]
    if run["status"] not in STATUS.get(seen.end, ("failed",)):
        wrong.append(f"{seen.run_id}: the client saw {seen.end}, the store has {run['status']}")
    kept = "".join(m["content"] for m in answers[seen.run_id])
    if kept != seen.text:
        wrong.append(f"{seen.run_id} ({seen.end}): the client saw {len(seen.text)} bytes, {len(kept)} are stored")
    return wrong


def left_over(server, threads):
    """Runs that never ended, threads that nobody can use, places of dead children."""
    client, wrong = server.client, []
    places, children = list((server.root / "events").glob("c-*")), set(server.children())
    wrong += [f"{place.name} is left" for place in places if int(place.name.split("-")[1], 16) not in children]
    for thread in threads:
        for run in client.get(f"/threads/{thread}/runs?limit=100").json["data"]:
            if run["status"] in ("queued", "in_progress"):
                wrong.append(f"{run['id']} is {run['status']}")
    for thread in threads[:20]:
        if client.send(thread, "is anybody there?").status != 200:
            wrong.append(f"{thread} cannot be used")
    return wrong


def test_torture(make_server, model):
    text = MODEL.format(url=model.url)
    server = make_server(text, standard=False, tuning=TUNING)
    server.expect_log(r"AC0\d\d\d", "AH00485", "AH10503", "scoreboard is full", "long lost child came home")
    client = server.client
    threads = [client.thread() for _ in range(THREADS)]
    model.default = troubled(0.2)
    stop = threading.Event()
    visitors = [Visitor(i, client, threads[i % THREADS], stop) for i in range(CLIENTS)]
    chaos = Chaos(server, stop)
    for worker in [*visitors, chaos]:
        worker.start()
    time.sleep(SECONDS)                 # how long it lasts is what the test is about
    stop.set()
    chaos.join(30)
    model.default = troubled(0)
    deadline = time.monotonic() + 90
    for visitor in visitors:
        visitor.join(max(0.1, deadline - time.monotonic()))
    alive = sum(visitor.is_alive() for visitor in visitors)
    server.stop()                       # a child takes over what dead ones left when it starts
    server.start()
    wait_until(lambda: not left_over(server, threads), "something is left over: " + "; ".join(left_over(server, threads)[:5]), 90)
    wrong, counts = account(client, threads, visitors)
    print(f"\n{dict(counts)}; {chaos.n_killed} children killed, {chaos.n_graceful} graceful restarts, "
          f"{chaos.n_locked} times without a store; {len(list((server.root / 'events').glob('c-*/*.log')))} logs kept")
    assert not wrong and not alive, f"{len(wrong)} wrong, {alive} clients without an end:\n" + "\n".join(wrong[:20])
    assert counts["accepted"] > 100 and counts["resumed"] > 100 and chaos.n_killed >= 1 and chaos.n_graceful >= 1
