# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the server under load: its totals are what the clients counted, whatever happens to httpd's children."""
import re
import shutil
import threading
import time

import pytest

from client import WAIT
from metrics import PLACE, wait_metrics
from model_server import Gate
from prometheus import Prometheus
from runs import begun, kill_child, owner_of, wait_until

CHILDREN = "StartServers 3\nServerLimit 16\nThreadsPerChild 8\nMaxRequestWorkers 32\nMinSpareThreads 16\nMaxSpareThreads 32\n" \
           "AsyncRequestWorkerFactor 100\n"
CLIENTS, ROUNDS = 4, 10
CHATS = 'sum(agentchat_requests_total{route="/agents/{id}/chat",method="POST",status="200"})'


class Load:
    """Clients that chat without a pause, each answer whole, and count."""

    def __init__(self, server):
        self.server, self.answered, self.failures = server, 0, []
        self._lock, self._may, self._end = threading.Lock(), threading.Event(), False
        self._busy = [threading.Lock() for _ in range(CLIENTS)]
        self._may.set()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _chat(self, i):
        if i % 2:
            stream = self.server.client.stream("/agents/assistant/chat", {"message": "x"}, headers={"Connection": "close"})
            return stream.status == 200 and stream.rest()[-1].type == "done"
        headers = {"traceparent": f"00-{i + 1:032x}-{i + 1:016x}-01"}
        return self.server.client.post("/agents/assistant/chat", {"message": "x", "stream": False}, headers=headers).status == 200

    def _run(self, i):
        while not self._end:
            self._may.wait()
            with self._busy[i]:
                if not self._may.is_set() or self._end:
                    continue
                try:
                    good = self._chat(i)
                except (OSError, EOFError) as error:
                    good = self.failures.append(repr(error))
                with self._lock:
                    self.answered += bool(good)

    def pause(self):
        """Until each client has its answer; how many there were."""
        self._may.clear()
        for busy in self._busy:
            with busy:
                pass
        return self.answered

    def resume(self):
        self._may.set()

    def wait_more(self, n):
        target = self.answered + n
        wait_until(lambda: self.answered >= target or self.failures, "the clients get no answers")

    def stop(self):
        n = self.pause()
        self._end = True
        self._may.set()
        for thread in self._threads:
            thread.join(WAIT)
        return n


def kill_one(server, model, load):
    """SIGKILL to a child with a run under way. Requests of others rest meanwhile: of a request that is cut off, the client cannot know
    whether it was counted."""
    n = load.pause()
    wait_metrics(server, lambda m: m.sum("agentchat_requests_total", route="/agents/{id}/chat", status="200") == n and
                 m.sum("agentchat_streams_active") == 0, f"{n} answers are not counted")
    gate = Gate()
    stream, _ = begun(server.client, model, gate)
    kill_child(server, owner_of(server, stream.connection))
    gate.open()
    stream.close()
    load.resume()


@pytest.mark.long
def test_prometheus_counts_what_the_clients_count(make_server, model):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    server = make_server(PLACE, tuning=CHILDREN)
    server.expect_log("AH00052", "AC0522", "AH00051", "AH03490", "AH00045", "AC0608")
    prometheus, load = Prometheus(server), Load(server)
    began = time.time()
    try:
        for _ in range(ROUNDS):
            load.wait_more(10)
            server.graceful()                   # in the middle of requests, which all end well
            load.wait_more(10)
            kill_one(server, model, load)
        load.wait_more(10)
        n = load.stop()
        assert not load.failures
        wait_metrics(server, lambda m: m.sum("agentchat_runs_total") == n + ROUNDS, "the runs are not counted")
        prometheus.wait(CHATS, n)
        prometheus.wait("sum(agentchat_runs_started_total)", n + ROUNDS)
        prometheus.wait('sum(agentchat_runs_total{agent="assistant",status="completed",cause="none"})', n)
        prometheus.wait('sum(agentchat_runs_total{status="failed",cause="interrupted"})', ROUNDS)
        prometheus.wait("sum(agentchat_runs_total)", n + ROUNDS)
        prometheus.wait('sum(agentchat_run_duration_seconds_count)', n)
        prometheus.wait('sum(agentchat_run_duration_seconds_bucket{le="+Inf"})', n)
        prometheus.wait('sum(agentchat_tokens_total{type="output"})', 5 * n)
        prometheus.wait("sum(agentchat_runs_active) + sum(agentchat_streams_active) + sum(agentchat_model_calls_active)", 0)
        # No counter ever fell, at any scrape.
        names = [name for name in prometheus.ask("label/__name__/values") if re.fullmatch("agentchat_.+_(total|bucket|sum|count)", name)]
        assert len(names) > 50
        assert not [name for name in names if prometheus.number(f"sum(resets({name}[1h]))") != 0]
        traces = {exemplar["labels"]["trace_id"] for series in
                  prometheus.ask("query_exemplars", query="agentchat_run_duration_seconds_bucket", start=began - 60, end=time.time() + 60)
                  for exemplar in series["exemplars"]}
        assert traces and traces <= {f"{i + 1:032x}" for i in range(0, CLIENTS, 2)}, traces
    finally:
        load.stop()
        prometheus.stop()
