# SPDX-License-Identifier: Apache-2.0
"""AgentChatTitles: a model makes the title of a thread after the first answer, and is never in the way of anything."""
import json
import threading

import pytest

from collector import Collector, attributes
from cosmos_stores import ENV, store, wait_ready
from metrics import PLACE, wait_metrics
from model_server import DONE, Cut, Gate, ModelServer, Reply, answer, calls, data, tool_call
from runs import ONE_CHILD, kill_child, wait_until

MODEL = """
<AgentChatModel small>
    AgentChatProvider openai
    AgentChatEndpoint {url} model=small-1
    AgentChatTimeouts connect=10s first-byte=5min idle=5min total=10min
    AgentChatPrice input=1.00 cached=0.10 output=2.00 currency=USD
    AgentChatBreaker off
    AgentChatRetries 0
    {more}
</AgentChatModel>
AgentChatTitles on model=small {keys}
""" + PLACE
QUESTION = "how do i grow tomatoes on a balcony that faces north and has no roof at all"
AUTOMATIC = "how do i grow tomatoes on a balcony that faces north and…"
TITLE = "Tomatoes on a northern balcony"


def titled(*texts, gate=None, finish="stop", prompt=100, completion=4):
    """A script: the answer of the model that makes titles; after the gate."""
    def chunk(delta, reason=None):
        return data({"id": "t", "object": "chat.completion.chunk", "created": 1, "model": "small-1",
                     "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    def script(_request):
        if gate:
            yield gate
        yield chunk({"role": "assistant", "content": ""})
        for text in texts:
            yield chunk({"content": text})
        yield chunk({}, finish)
        yield data({"id": "t", "object": "chat.completion.chunk", "created": 1, "model": "small-1", "choices": [],
                    "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}})
        yield DONE
    return script


@pytest.fixture
def titler():
    server = ModelServer()
    server.default = titled(TITLE)
    yield server
    server.stop()


@pytest.fixture
def make(make_server, titler):
    def start(directives="", keys="", more="", **options):
        server = make_server(MODEL.format(url=titler.url, keys=keys, more=more) + directives, **options)
        wait_ready(server.client)
        return server
    return start


def title_of(client, thread):
    return client.get(f"/threads/{thread}").json["title"]


def ask(client, thread=None, content=QUESTION):
    """The thread, after its answer."""
    thread = thread or client.thread()
    response = client.send(thread, content)
    assert response.status == 200, response
    return thread


def wait_outcome(server, outcome, n=1):
    """Until so many titles have ended like this."""
    def count(found):
        return sum(value for name, having, value, _ in found.samples
                   if name == "agentchat_titles_total" and having["outcome"] == outcome)
    return wait_metrics(server, lambda found: count(found) == n, f"{n} titles '{outcome}'")


@pytest.mark.parametrize("cosmos_db", [False, True])
def test_a_model_makes_the_title_after_the_first_answer(make, model, titler, cosmos, cosmos_db):
    server = make(store(cosmos) if cosmos_db else "", env=ENV)
    gate, client = Gate(), server.client
    titler.play(titled(TITLE, gate=gate))
    model.play(answer("Use deep pots", " and water them."))
    thread = ask(client)                            # the answer is there while the title is not
    gate.wait_reached()
    before = client.get(f"/threads/{thread}")
    assert before.json["title"] == AUTOMATIC
    assert client.get(f"/threads/{thread}/runs").json["data"][0]["status"] == "completed"
    (request,) = titler.requests
    system, user = request.messages
    assert system["role"] == "system" and user["role"] == "user"
    assert QUESTION in user["content"] and "Use deep pots and water them." in user["content"]
    assert "You are a test." not in json.dumps(request.json) and "tools" not in request.json
    assert 64 in (request.json.get("max_tokens"), request.json.get("max_completion_tokens"))
    gate.open()
    wait_until(lambda: title_of(client, thread) == TITLE, "the title comes")
    after = client.get(f"/threads/{thread}")
    assert after.json["updated_at"] == before.json["updated_at"] and after.headers["etag"] != before.headers["etag"]
    assert client.get("/threads").json["data"][0]["title"] == TITLE
    assert client.get("/threads?q=northern").json["data"][0]["id"] == thread
    ask(client, thread, "And basil?")               # only the first answer
    assert len(titler.requests) == 1 and title_of(client, thread) == TITLE

    wait_outcome(server, "set")
    found = wait_until(lambda: [row for row in client.get("/usage?by=model").json["data"] if row["titles"]], "it is counted")
    assert [(row["model"], row["runs"], row["titles"], row["usage"]["total_tokens"]) for row in found] == [("small-1", 0, 1, 104)]
    assert found[0]["cost"] == [{"amount": pytest.approx(0.000108), "currency": "USD"}]
    assert client.get("/usage?by=").json["totals"]["runs"] == 2


def test_every_way_to_the_first_answer_leads_to_a_title(make, model, titler):
    server = make()
    client = server.client
    whole = client.post("/agents/assistant/chat", {"message": QUESTION, "stream": False}).json["thread_id"]
    stream = client.stream("/agents/assistant/chat", {"message": QUESTION})
    streamed = [event for event in stream.rest() if event.type == "done"][0].json["thread_id"]
    stream.close()
    made = ask(client, client.post("/threads", {}).json["id"])
    for thread in (whole, streamed, made):
        wait_until(lambda: title_of(client, thread) == TITLE, "the title comes")
    wait_outcome(server, "set", 3)


def test_the_agents_own_model_makes_titles(make_server, model):
    server = make_server("AgentChatTitles on max-tokens=20 \"prompt=Name it.\"\n" + PLACE)
    model.play(answer("Use deep pots."), answer("Balcony"))
    thread = ask(server.client)
    wait_until(lambda: title_of(server.client, thread) == "Balcony", "the title comes")
    request = model.requests[1]
    assert request.messages[0] == {"role": "system", "content": "Name it."}
    assert 20 in (request.json.get("max_tokens"), request.json.get("max_completion_tokens"))


def test_without_the_directive_titles_are_automatic(make_server, model):
    server = make_server("AgentChatTitles off\n")
    thread = ask(server.client)
    assert title_of(server.client, thread) == AUTOMATIC and len(model.requests) == 1


def test_a_title_of_the_owner_stays(make, titler):
    server = make()
    client, gate = server.client, Gate()
    own = ask(client, client.thread(title="Mine"))
    titler.play(titled(TITLE, gate=gate))
    renamed = ask(client)
    gate.wait_reached()                             # the owner is faster
    assert client.patch(f"/threads/{renamed}", {"title": "Mine, too"}).status == 200
    gate.open()
    wait_outcome(server, "kept")
    assert (title_of(client, own), title_of(client, renamed)) == ("Mine", "Mine, too")
    assert len(titler.requests) == 1                # none for a thread that has a title


def test_a_thread_that_is_deleted_meanwhile(make, titler):
    server = make()
    gate = Gate()
    titler.play(titled(TITLE, gate=gate))
    thread = ask(server.client)
    gate.wait_reached()
    assert server.client.delete(f"/threads/{thread}").status == 200
    gate.open()
    wait_outcome(server, "kept")


def test_the_first_answer_may_come_late(make, model, titler):
    server = make()
    client = server.client
    thread = client.thread()
    model.play(Reply(400, {"error": {"message": "no"}}))
    assert client.send(thread, QUESTION).status >= 400
    assert titler.requests == [] and title_of(client, thread) == AUTOMATIC
    ask(client, thread, "Once more?")
    wait_until(lambda: title_of(client, thread) == TITLE, "the title comes")
    server.expect_log("AC0502", "AC0503")


@pytest.mark.parametrize("how", ["edit", "edit, regenerate", "edit, next"])
@pytest.mark.parametrize("cosmos_db", [False, True])
def test_a_first_question_that_failed_and_was_edited(make, model, titler, cosmos, cosmos_db, how):
    """The thread has the automatic title of the first question, which is not on the path of the answer."""
    server = make(store(cosmos) if cosmos_db else "", env=ENV)
    client, failure = server.client, Reply(400, {"error": {"message": "no"}})
    thread, named = client.thread(), client.thread(title="Mine")
    for each in (thread, named):
        model.play(failure)
        assert client.send(each, QUESTION).status >= 400
        if how != "edit":
            model.play(failure)
        status = client.send(each, "And on a roof?", parent_id=None).status
        assert status == 200 if how == "edit" else status >= 400
        if how == "edit, regenerate":
            question = client.messages(each)[-1]["id"]
            assert client.post(f"/threads/{each}/messages", {"regenerate": question, "stream": False}).status == 200
        elif how == "edit, next":
            assert client.send(each, "Well?").status == 200
    wait_until(lambda: title_of(client, thread) == TITLE, "the title comes")
    wait_outcome(server, "kept")
    assert title_of(client, named) == "Mine" and len(titler.requests) == 1
    question = client.messages(thread)[0]["id"]
    assert client.send(thread, "And in a cellar?", parent_id=None).status == 200
    wait_outcome(server, "kept", 2)
    assert title_of(client, thread) == TITLE and len(titler.requests) == 1 and question != client.messages(thread)[0]["id"]
    server.expect_log("AC0502", "AC0503")


@pytest.mark.parametrize("said, title", [
    (('"Tomatoes', ' at home"\n\nHere is why: …'), "Tomatoes at home"),
    (("**Title:** Tomatoes\u202e\u0007 at\thome.",), "Tomatoes at home"),
    (("<think>They want a title.</think>\n\n# Tomatoes at home",), "Tomatoes at home"),
    (("<script>alert(1)</script>",), "<script>alert(1)</script>"),
    (("word " * 100,), " ".join(["word"] * 12) + "…"),
])
def test_titles_are_one_short_line(make, titler, said, title):
    server = make()
    titler.play(titled(*said))
    thread = ask(server.client)
    wait_outcome(server, "set")
    assert title_of(server.client, thread) == title


def called(_request):
    yield from calls(("calculate", {"expression": "1+1"}))(_request)


@pytest.mark.parametrize("script", [
    titled(), titled("  \n\n "), titled("x" * 9000, "y" * 9000), titled("Tomatoes", finish="content_filter"), called,
    Reply(500, {"error": {"message": "planted-words"}}), Reply(200, b"not json"), lambda _request: iter([Cut()]),
    lambda _request: iter([tool_call(0, "c", "x" * 300, "{"), Cut()]),
], ids=["empty", "blank", "huge", "filtered", "calls", "error", "garbage", "cut", "half a call"])
def test_a_model_that_fails_costs_a_line_and_a_count(make, titler, script):
    server = make(tuning=ONE_CHILD)
    titler.play(script, script)
    threads = [ask(server.client), ask(server.client)]
    wait_outcome(server, "failed", 2)
    assert [title_of(server.client, thread) for thread in threads] == [AUTOMATIC] * 2
    lines = [line for line in server.log().splitlines() if "AC0546" in line]
    assert len(lines) == 1, lines                   # once a minute
    assert all(":info]" in line and "planted" not in line and "tomatoes" not in line for line in lines)
    ask(server.client)
    wait_outcome(server, "set")


def test_a_slow_model_is_given_up(make, titler):
    server = make(keys="timeout=1s")
    gate = Gate()
    titler.play(titled(TITLE, gate=gate))
    thread = ask(server.client)
    wait_outcome(server, "failed")
    assert title_of(server.client, thread) == AUTOMATIC
    assert titler.requests[0].closed.wait(30)
    found = server.client.get("/usage?by=model").json["data"]       # the prompt was read
    assert [row["titles"] for row in found if row["model"] == "small"] == [1]


@pytest.mark.parametrize("limit", ["tokens=400/day", "cost=0.0002/day"])
def test_no_title_without_a_budget(make, model, titler, limit):
    """The answer leaves less than a title may use."""
    server = make(f"AgentChatLimit {limit}\n", keys="max-tokens=300")
    thread = ask(server.client)
    wait_outcome(server, "skipped")
    assert titler.requests == [] and title_of(server.client, thread) == AUTOMATIC


def test_a_title_counts_for_the_limits(make, model, titler):
    server = make("AgentChatLimit tokens=100000/day\n")
    titler.play(titled(TITLE, prompt=90000, completion=9000))
    ask(server.client)
    wait_outcome(server, "set")
    refused = server.client.send(server.client.thread(), QUESTION * 100)
    assert refused.status == 429, refused


def test_a_run_takes_the_slot_of_a_title(make_server, model, titler):
    """The model does one thing at a time: the title makes way."""
    server = make_server(MODEL.format(url=titler.url, keys="", more="AgentChatModelLimit runs=1") + """
<AgentChatAgent busy>
    AgentChatModel small
</AgentChatAgent>
""", tuning=ONE_CHILD)
    gate = Gate()
    titler.play(answer("Use deep pots."), titled(TITLE, gate=gate), answer("Next."))
    first = server.client.post("/agents/busy/chat", {"message": QUESTION, "stream": False})
    assert first.status == 200
    gate.wait_reached()
    second = server.client.post(f"/threads/{first.json['thread_id']}/messages", {"content": "And?", "stream": False})
    assert second.status == 200 and second.json["content"] == "Next."
    wait_outcome(server, "skipped")
    assert titler.requests[1].closed.wait(30)
    assert title_of(server.client, first.json["thread_id"]) == AUTOMATIC


@pytest.mark.parametrize("how", ["stop", "graceful"])
def test_a_stop_does_not_wait_for_a_title(make, titler, how):
    server = make()
    gate = Gate()
    titler.play(titled(TITLE, gate=gate))
    thread = ask(server.client)
    gate.wait_reached()
    if how == "stop":
        server.stop()
        assert titler.requests[0].closed.wait(30)
        server.start()
        wait_ready(server.client)
    else:
        before = server.children()
        server.graceful()
        wait_until(lambda: server.children() and not set(before) & set(server.children()), "the children are others")
        assert titler.requests[0].closed.wait(30)
    assert title_of(server.client, thread) == AUTOMATIC
    again = ask(server.client)
    wait_until(lambda: title_of(server.client, again) == TITLE, "the title comes")


def test_a_killed_process_leaves_the_automatic_title(make, titler):
    server = make()
    gate = Gate()
    titler.play(titled(TITLE, gate=gate))
    thread = ask(server.client)
    gate.wait_reached()
    for pid in server.children():
        kill_child(server, pid)
    server.expect_log("AH00051", "AH00052", "exit signal")
    wait_until(lambda: server.children(), "a child comes")
    wait_ready(server.client)
    assert title_of(server.client, thread) == AUTOMATIC
    ask(server.client, thread, "And basil?")
    again = ask(server.client)
    wait_until(lambda: title_of(server.client, again) == TITLE, "the title comes")
    assert len(titler.requests) == 2


TOOL = """
<AgentChatTool send_mail>
    AgentChatToolURL {url}/mail method=POST
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters {{"type":"object"}}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail
</AgentChatAgent>
"""


def test_a_run_that_awaited_approval(make, model, titler):
    mail = ModelServer()
    mail.default = lambda _request: iter([Reply(200, {"sent": True})])
    try:
        server = make(TOOL.format(url=mail.url))
        model.play(calls(("send_mail", {}), said="Let me."), answer("Sent."))
        stream = server.client.stream("/agents/secretary/chat", {"message": QUESTION})
        started = stream.until("run")[-1].json
        run, thread = started["run_id"], started["thread_id"]
        event = stream.next()
        while not event.json.get("approval_required"):
            event = stream.next()
        assert titler.requests == [] and title_of(server.client, thread) == AUTOMATIC
        decided = server.client.post(f"/runs/{run}/approvals", {"call_id": "call_1", "approve": True})
        assert decided.status == 202, decided
        stream.close()
        wait_until(lambda: title_of(server.client, thread) == TITLE, "the title comes")
        assert "Sent." in titler.requests[0].messages[1]["content"]
    finally:
        mail.stop()


def test_many_threads_at_once(make, model, titler):
    """Each has a title, or was left out; none is lost or doubled."""
    server = make()
    threads, lock = [], threading.Lock()

    def work():
        for _ in range(5):
            thread = ask(server.client)
            with lock:
                threads.append(thread)
    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(threads) == 30

    def ended(found):
        return sum(value for name, _, value, _ in found.samples if name == "agentchat_titles_total") == 30
    wait_metrics(server, ended, "all titles have ended")
    titles = [title_of(server.client, thread) for thread in threads]
    assert set(titles) <= {AUTOMATIC, TITLE} and titles.count(TITLE) == len(titler.requests)
    totals = server.client.get("/usage").json["totals"]
    assert (totals["runs"], totals["titles"]) == (30, len(titler.requests))


def test_the_call_has_a_span(make, model, titler):
    collector = Collector()
    try:
        server = make(f"AgentChatTelemetry otlp {collector.url} protocol=json signals=traces\nAgentChatTelemetryBatch delay=10ms\n")
        titler.play(titled(TITLE))
        ask(server.client)
        wait_outcome(server, "set")

        def of_title():
            return [span for span in collector.spans() if attributes(span).get("agentchat.purpose") == "title"]
        (span,) = wait_until(of_title, "the span comes")
        having = attributes(span)
        run = [one for one in collector.spans() if attributes(one).get("gen_ai.operation.name") == "invoke_agent"][0]
        assert (span["name"], span["parentSpanId"]) == ("chat small-1", run["spanId"])
        assert having["gen_ai.usage.input_tokens"] == 100 and having["agentchat.run.id"] == attributes(run)["agentchat.run.id"]
        assert having["gen_ai.response.model"] == "small-1" and having["agentchat.cost"] == pytest.approx(0.000108)
    finally:
        collector.stop()
