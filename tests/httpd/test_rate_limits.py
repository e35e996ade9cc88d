# SPDX-License-Identifier: Apache-2.0
"""AgentChatLimit: requests, tokens, streams and money, in the memory that all children of a server share."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest

from client import Connection
from key_file import MODULES, MOUNT_WITH_KEYS, KeyFile, bearer
from manual import blocks
from model_server import DONE, Gate, calls, finish, head, token, usage
from server import MODEL, TOP, WAIT

pytestmark = pytest.mark.usefixtures("within_a_day")

# So small that 50 connections are more than three children take.
FOUR = ("StartServers 4\nServerLimit 4\nThreadsPerChild 8\nMaxRequestWorkers 32\nMinSpareThreads 1\nMaxSpareThreads 32\n"
        "AsyncRequestWorkerFactor 1\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n")


def costing(prompt=10, completion=5, gate=None):
    """An answer of this cost, after the gate."""
    def script(_request):
        yield head()
        yield token("words")
        if gate:
            yield gate
        yield finish()
        yield usage(prompt, completion)
        yield DONE
    return script


def chat(client, agent="assistant", stream=False, **options):
    return client.post(f"/agents/{agent}/chat", {"message": "x", "stream": stream}, **options)


def field(response, name, key="r"):
    """A parameter of one item of the RateLimit field, or of RateLimit-Policy."""
    header = response.headers["ratelimit-policy" if key in ("q", "w", "qu") else "ratelimit"]
    item = next(part for part in header.split(", ") if part.startswith(f'"{name}";'))
    return re.search(rf';{key}=("[^"]*"|\d+)', item)[1]


def wait_for(what):
    deadline = time.monotonic() + WAIT
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def flood(ports, n, connections=50, path="/api/agents"):
    """Sends n requests, many at a time; the statuses: {status: number}."""
    found, lock = {}, threading.Lock()

    def ask(connection, mine):
        """Asks as often, 20 times at once; how often it was answered before a busy child closed the connection."""
        for done in range(mine):
            try:
                if done % 20 == 0:
                    connection.socket.sendall(request * min(20, mine - done))
                status = connection.receive().status
            except (OSError, EOFError):
                return done
            with lock:
                found[status] = found.get(status, 0) + 1
        return mine

    def work(port, mine):
        start.wait(WAIT)
        while mine:
            with Connection(port) as connection:
                mine -= ask(connection, mine)

    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    start = threading.Barrier(connections)
    threads = [threading.Thread(target=work, args=(ports[i % len(ports)], n // connections)) for i in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_concurrent_requests_admit_exactly_the_limit(make_server):
    server = make_server("AgentChatLimit requests=1237/day\nCustomLog logs/pids.log %P:%s\n", tuning=FOUR)
    server.expect_log("AH00484")            # more connections than threads, on a slow machine
    server.wait_children(4)
    assert flood([server.port], 10000) == {200: 1237, 429: 8763}
    pids = {line.split(":")[0] for line in (server.root / "logs/pids.log").read_text().splitlines()}
    assert len(pids) == 4


def test_a_limit_is_said_and_retry_after_is_true(make_server):
    server = make_server("AgentChatLimit requests=3/s requests=1000/hour by=address")
    client = server.client
    for _ in range(3):
        while (response := client.get("/agents")).status != 429:
            assert response.status == 200
            assert response.headers["ratelimit-policy"] == '"requests-s-address";q=3;w=1, "requests-hour-address";q=1000;w=3600'
            assert int(field(response, "requests-s-address")) in (0, 1, 2) and field(response, "requests-s-address", "t") == "1"
            assert 0 < int(field(response, "requests-hour-address", "t")) <= 3600
        assert response.json["code"] == "rate_limited" and response.json["status"] == 429
        assert response.headers["content-type"] == "application/problem+json"
        assert "3 requests each s by address" in response.json["detail"]
        assert field(response, "requests-s-address") == "0" and response.headers["retry-after"] == "1"
        time.sleep(int(response.headers["retry-after"]))
        assert client.get("/agents").status == 200
    assert client.get("/health").status == 200 and "ratelimit" not in client.get("/health").headers


def test_refused_requests_count_too(make_server):
    client = make_server("AgentChatLimit requests=6/day").client
    refused = [client.get("/threads?limit=zero"), client.get("/threads", headers={"Accept": "image/png"}), client.get("/debug/config"),
               client.get("/threads/none"), client.post("/threads", b"{")]
    assert [response.status for response in refused] == [400, 406, 403, 404, 400]
    assert [field(response, "requests-day-owner") for response in refused] == ["5", "4", "3", "2", "1"]
    assert [client.get("/threads").status, client.get("/threads?bogus=1").status] == [200, 429]


def test_each_step_counts_for_all_of_its_limits_or_for_no_limit(make_server, model):
    """docs/limits.md: a request that another limit of requests refuses is not counted; one that a later step refuses is."""
    client = make_server("AgentChatLimit requests=2/day by=address\nAgentChatLimit requests=9/day streams=1 by=owner").client
    gate = Gate()
    model.default = costing(10, 5, gate)
    stream = client.stream("/agents/assistant/chat", {"message": "x"})
    stream.until("token")
    refused = chat(client)
    assert refused.status == 429 and "1 answers under way" in refused.json["detail"], refused.json
    assert field(refused, "streams-owner") == "0"
    for _ in range(3):
        refused = client.get("/agents")
        assert refused.status == 429 and "2 requests each day by address" in refused.json["detail"]
        assert [field(refused, f"requests-day-{who}") for who in ("owner", "address")] == ["7", "0"]
    gate.open()
    stream.body()


def test_ways_of_sharing_are_counted_apart(make_server):
    """Also for a caller with neither a name nor a key, so that all of them count for the address."""
    client = make_server("AgentChatLimit requests=3/day by=owner\nAgentChatLimit requests=3/day by=key\n"
                         "AgentChatLimit requests=3/day by=address").client
    for left in "210":
        response = client.get("/agents")
        assert response.status == 200
        assert [field(response, f"requests-day-{who}") for who in ("owner", "key", "address")] == [left] * 3
    assert client.get("/agents").status == 429


def test_a_budget_is_not_overspent(make_server, model):
    """With what each run reserves, and with what those that run have used."""
    server = make_server("""
AgentChatLimit cost=1.00/day
<AgentChatAgent dear>
    AgentChatModel scripted
    AgentChatMaxTokens 100000
</AgentChatAgent>
<AgentChatAgent cheap>
    AgentChatModel scripted
    AgentChatMaxTokens 10000
</AgentChatAgent>
""", tuning=FOUR)
    client, gate = server.client, Gate()
    # An answer may cost 0.20 and a little for the question: four fit, and a fifth does not.
    model.default = costing(0, 100000, gate)
    streams, refused = [], []
    for _ in range(8):
        stream = client.stream("/agents/dear/chat", {"message": "x"})
        (streams if stream.status == 200 else refused).append(stream)
    assert (len(streams), len(refused)) == (4, 4)
    assert {stream.status for stream in refused} == {429}
    assert int(field(streams[-1], "cost-day-owner")) < 200000 and field(streams[0], "cost-day-owner", "q") == "1000000"
    assert field(streams[0], "cost-day-owner", "qu") == '"millionths"'
    assert len(model.wait_requests(4)) == 4
    gate.open()
    assert [stream.rest()[-1].json["cost"]["amount"] for stream in streams] == [0.2] * 4
    # 0.80 are spent. Reservations are released, and smaller answers fit.
    model.default = costing(0, 10000)
    small = [chat(client, "cheap") for _ in range(12)]
    assert [response.status for response in small] == [200] * 9 + [429] * 3     # 0.98: a tenth one may cost more than 0.02
    assert small[-1].json["code"] == "budget_exceeded" and "budget of 1 each day by owner" in small[-1].json["detail"]
    assert 1 <= int(small[-1].headers["retry-after"]) <= 86400
    assert client.get("/threads").status == 200                 # requests without cost still work


def test_rounds_and_cancelled_and_failed_runs_are_counted(make_server, model):
    server = make_server("AgentChatLimit tokens=1M/day")
    client = server.client
    server.expect_log("AC0503", "AC0652")

    def left():
        response = chat(client)
        assert response.status == 200
        return int(field(response, "tokens-day-owner"))

    model.default = costing(1, 1)
    before = left()
    model.play(calls(("calculate", {"expression": "1+1"})), costing(1000, 500))
    assert chat(client).status == 200                           # 15 tokens in its first round
    assert left() == before - 1515 - 2

    gate = Gate()
    model.play(costing(1, 1, gate))
    stream = client.stream("/agents/assistant/chat", {"message": "x" * 4000})
    run = stream.until("run")
    stream.until("token")
    assert client.post(f"/runs/{(run[-1] if isinstance(run, list) else run).json['run_id']}/cancel").status == 202
    assert stream.rest()[-1].json["status"] == "cancelled"
    gate.open()
    after = left()
    assert before - 1515 - 1500 < after < before - 1515 - 1000      # what was asked, and the words that came, about

    def breaks(_request):
        yield head()
        yield token("half")
        yield b"data: {\n\n"
    model.play(breaks)
    assert chat(client).status == 502
    assert left() < after


@pytest.mark.parametrize("how", ["graceful", "stopped", "killed", "machine"])
def test_counts_outlive_restarts(make_server, model, how):
    server = make_server("AgentChatLimit requests=100/day")
    for _ in range(5):
        assert server.client.get("/agents").status == 200
    if how == "graceful":
        generation = set(server.children())
        server.graceful()
        wait_for(lambda: server.children() and not generation & set(server.children()))
    elif how == "machine":                                      # its memory is lost, its disk is not
        saved = server.root / "state/limits.saved"
        wait_for(lambda: saved.exists() and saved.read_text().endswith(" 5\n"))
        server.stop()
        for path in server._memory:
            shutil.rmtree(path)
        server.start()
    else:
        server.expect_log("AH00098")
        server.stop() if how == "stopped" else server.kill()
        server.start()
    assert int(field(server.client.get("/agents"), "requests-day-owner")) == 94


def test_a_killed_child_holds_nothing(make_server, model):
    server = make_server("AgentChatLimit streams=2\nAgentChatLimit cost=1.00/day")
    client, gate = server.client, Gate()
    server.expect_log("AH00051", "AH00052", "exit signal", "AC0")
    model.default = costing(10, 100, gate)
    streams = [client.stream("/agents/assistant/chat", {"message": "x"}) for _ in range(2)]
    for stream in streams:
        stream.until("token")
    response = chat(client)
    assert response.status == 429 and "2 answers under way" in response.json["detail"]
    assert field(response, "streams-owner", "qu") == '"concurrent-requests"' and field(response, "streams-owner") == "0"
    for pid in server.children():
        os.kill(pid, signal.SIGKILL)
    gate.open()
    model.default = costing(10, 5)

    def again():
        try:
            return (found := chat(client)).status == 200 and found
        except (OSError, EOFError):
            return None
    response = wait_for(again)
    # What the dead runs had reserved has run out as well: the price of 1000 tokens, twice.
    assert int(field(response, "cost-day-owner")) > 1000000 - 2 * 2000


def test_an_agent_has_limits_of_its_own(make_server, model):
    server = make_server("""
<AgentChatAgent busy>
    AgentChatModel scripted
    AgentChatLimit requests=2/day by=agent
    AgentChatLimit tokens=100k/day
</AgentChatAgent>
AgentChatLimit off
""")
    client = server.client
    for left in ("1", "0"):
        response = chat(client, "busy")
        assert response.status == 200 and field(response, "agent-requests-day-agent") == left
        assert field(response, "agent-tokens-day-owner", "qu") == '"tokens"'
    for stream in (False, True):
        response = chat(client, "busy", stream)
        assert (response.status, response.json["code"]) == (429, "rate_limited")
        assert response.headers["content-type"] == "application/problem+json" and int(response.headers["retry-after"]) >= 1
    response = chat(client)
    assert response.status == 200 and "ratelimit" not in response.headers
    # A thread that has the agent is limited as well, though its request does not name it; nothing of it is stored.
    thread = client.thread(agent_id="busy")
    response = client.send(thread, "x")
    assert response.status == 429 and client.messages(thread) == []
    assert len(model.requests) == 3


def test_the_scope_of_a_limit(make_server, model):
    """Each mount counts for itself; so does each address."""
    server = make_server("""
AgentChatLimit requests=2/day by=address
<Location "/other">
    SetHandler agentchat
    AgentChatAnonymous on
    AgentChatLimit requests=1/day
    AgentChatLimit requests=5/day by=address
</Location>
""")
    def ask(path, source):
        connection = Connection.__new__(Connection)
        import socket
        connection.socket, connection._buffer = socket.create_connection(("127.0.0.1", server.port), WAIT, (source, 0)), b""
        with connection:
            return connection.request("GET", path).status
    assert [ask("/api/agents", "127.0.0.1") for _ in range(3)] == [200, 200, 429]
    assert [ask("/api/agents", "127.0.0.2") for _ in range(3)] == [200, 200, 429]
    # An anonymous caller has no name to share: each address is one owner.
    assert [ask("/other/agents", source) for source in ("127.0.0.1", "127.0.0.1", "127.0.0.2")] == [200, 429, 200]


def test_money_in_two_currencies(make_server):
    server = make_server(start=False, standard=False)
    server.write(MODEL.format(url="http://127.0.0.1:1/v1").replace("USD", "EUR").replace("scripted", "other")
                 + MODEL.format(url="http://127.0.0.1:1/v1") + "AgentChatLimit cost=1/day\n")
    ok, text = server.configtest()
    assert not ok and "model 'scripted' is paid in USD, another one in EUR; use one currency" in text


def test_the_session_of_the_readme(make_server):
    session, = [text for _, text in blocks(TOP / "README.md", "sh") if text.startswith("for i in")]
    directive, = re.findall(r"With `(AgentChatLimit [^`]*)` at the end of the configuration", (TOP / "README.md").read_text())
    server = make_server(directive)
    minute = None
    while minute != time.time() // 60:      # once more if a minute ended in between; the next attempt ends much earlier
        minute = time.time() // 60
        done = subprocess.run(["bash", "-c", session.replace("http://localhost/", f"http://127.0.0.1:{server.port}/")],
                              capture_output=True, text=True, timeout=WAIT)
    assert re.fullmatch(r'429 "requests-min-owner";r=0;t=\d+ \d+', done.stdout.splitlines()[-1]), done


def test_keys_have_limits_of_their_own(make_server, model):
    """In addition to those of the place, wherever the key is used; and a place can count by key."""
    server = make_server(start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    one, two = keys.make("ann-1", "owner=ann", "limits=requests=3/day cost=1/day"), keys.make("ann-2", "owner=ann")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path)
                           + "<Location /keys>\nAgentChatLimit requests=5/day\nAgentChatLimit requests=4/day by=key\n</Location>\n")
    server.start()
    client = server.client
    client.prefix = "/keys"
    response = chat(client, headers=bearer(one))
    assert response.status == 200 and field(response, "key-requests-day-key") == "2" and field(response, "requests-day-key") == "3"
    assert 990000 < int(field(response, "key-cost-day-key")) < 1000000
    assert [client.get("/agents", headers=bearer(one)).status for _ in range(3)] == [200, 200, 429]
    # The owner's five are shared by both keys, each of which has four.
    assert [client.get("/agents", headers=bearer(two)).status for _ in range(3)] == [200, 200, 429]
    response = client.get("/agents", headers=bearer(two))
    assert "5 requests each day by owner" in response.json["detail"] and field(response, "requests-day-key") == "2"


def test_a_budget_wants_a_price(make_server, model):
    """Keys come later than the configuration, so that a key's budget is checked when it is used."""
    server = make_server(MODEL.format(url=model.url).replace("scripted>", "free>").replace("AgentChatPrice", "#AgentChatPrice") + """
<AgentChatAgent unpriced>
    AgentChatModel free
</AgentChatAgent>
<AgentChatModel first>
    AgentChatProvider openai
    AgentChatEndpoint """ + model.url + """ model=first
    AgentChatPrice input=1.00 output=2.00 currency=USD
    AgentChatFallback free
</AgentChatModel>
<AgentChatAgent behind>
    AgentChatModel first
</AgentChatAgent>
""", start=False, modules=MODULES)
    keys = KeyFile(server.root / "keys")
    key = keys.make("ann-1", "owner=ann", "limits=cost=1/day")
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path))
    server.expect_log("AC0545")
    server.start()
    server.client.prefix = "/keys"
    assert chat(server.client, headers=bearer(key)).status == 200
    for agent in ("unpriced", "behind"):        # a fallback that costs money would not be counted
        response = chat(server.client, agent, headers=bearer(key))
        assert (response.status, response.json["code"]) == (429, "budget_exceeded") and "has no price" in response.json["detail"]
    assert "AC0545" in server.log() and len(model.requests) == 1


def with_keys(server, limits):
    """Ann and Bob sign in with keys below /keys; their headers."""
    keys = KeyFile(server.root / "keys")
    headers = [bearer(keys.make(f"{name}-1", f"owner={name}")) for name in ("ann", "bob")]
    server.conf.write_text(server.conf.read_text() + MOUNT_WITH_KEYS.format(path=keys.path) + f"<Location /keys>\n{limits}\n</Location>\n")
    server.client.prefix = "/keys"
    return headers


def leave_alone(client, headers):
    """A run whose client hangs up as soon as it has begun; its id."""
    stream = client.stream("/agents/assistant/chat", {"message": "x"}, headers=headers)
    assert stream.status == 200
    run = stream.until("token")[0].json["run_id"]
    stream.close()
    return run


def begins(client, headers):
    """An answer to this owner, as soon as there is one."""
    def ask():
        try:
            return (response := chat(client, headers=headers)).status == 200 and response
        except (OSError, EOFError):
            return None
    return wait_for(ask)


def test_one_owner_cannot_take_all_runs(make_server, model):
    """A run continues without its client, and counts until its end."""
    server = make_server("AgentChatMaxRuns 4\nAgentChatMaxQueuedRuns 2", start=False, modules=MODULES)
    ann, bob = with_keys(server, "AgentChatLimit streams=10 runs=3")
    server.start()
    client, gate = server.client, Gate()
    model.default = costing(gate=gate)
    runs = [leave_alone(client, ann) for _ in range(3)]
    for stream in (True, False):
        response = chat(client, stream=stream, headers=ann)
        assert (response.status, response.json["code"]) == (429, "rate_limited"), response
        assert "3 runs under way" in response.json["detail"]
        assert response.headers["content-type"] == "application/problem+json" and int(response.headers["retry-after"]) == 5
        assert field(response, "runs-owner") == "0" and field(response, "runs-owner", "q") == "3"
        assert field(response, "runs-owner", "qu") == '"concurrent-runs"'
    other = client.stream("/agents/assistant/chat", {"message": "x"}, headers=bob)
    assert other.status == 200 and field(other, "runs-owner") == "2"
    other.until("token")
    assert client.post(f"/runs/{runs[0]}/cancel", headers=ann).status == 202
    again = wait_for(lambda: (stream := client.stream("/agents/assistant/chat", {"message": "x"}, headers=ann)).status == 200 and stream)
    again.until("token")                        # the cancelled one's place
    assert chat(client, headers=ann).status == 429
    gate.open()
    assert [stream.rest()[-1].type for stream in (other, again)] == ["done", "done"]
    begins(client, ann)
