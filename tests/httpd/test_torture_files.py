# SPDX-License-Identifier: Apache-2.0
"""Owners with files while models and stores fail and processes die: nothing that was acknowledged is lost, nothing is
orphaned after the sweep, and nothing of a forgotten owner is left. For TORTURE_SECONDS (make torture): beside other tests
it cannot tell a slow machine from a fault."""
import collections
import os
import threading
import time

import pytest

from purges import purge, shift_clocks
from test_agents import MODULES, SIGNED
from test_torture import MODEL, TUNING, quiet, torment
from torture import troubled
from torture_files import FILES, Owner, account, age
from torture_stores import ScriptedCosmos, Sqlite

SECONDS = os.environ.get("TORTURE_SECONDS")
OWNERS = int(os.environ.get("TORTURE_OWNERS", "24"))
pytestmark = pytest.mark.skipif(not SECONDS, reason="make torture")


@pytest.fixture
def store(request):
    store = request.param()
    yield store
    store.stop()


@pytest.mark.parametrize("store", [Sqlite, ScriptedCosmos], indirect=True, ids=["sqlite", "cosmos"])
def test_torture_with_files(make_server, model, store):
    text = MODEL.format(provider="openai", url=model.url, timeout=store.timeout) + SIGNED + FILES + store.directives
    server = make_server(text, standard=False, start=False, tuning=TUNING, env=store.env, modules=MODULES)
    shift_clocks(server)
    server.start()
    server.expect_log(r"AC0\d\d\d", "AH00484", "AH00485", "AH10503", "AH0004[56]", "scoreboard is full", "long lost child came home")
    model.default = troubled(0.1)
    stop = threading.Event()
    store.start()
    owners = [Owner(i, server.port, stop) for i in range(OWNERS)]
    chaos = torment(server, store, owners, float(SECONDS))
    deadline = time.monotonic() + 60
    for owner in owners:
        owner.join(max(0.1, deadline - time.monotonic()))
    assert not any(owner.is_alive() for owner in owners)
    model.default = troubled(0)
    quiet(server)
    for owner in owners:                # what was not accepted yet
        while owner.unfinished:
            owner.forget()
    server.stop()
    age(server, store)
    server.start()
    purge(server)
    deadline = time.monotonic() + 60
    while (wrong := account(server, store, owners)) and time.monotonic() < deadline:
        time.sleep(0.5)                 # other children purge, and erasures end
    counts = sum((owner.counts for owner in owners), collections.Counter())
    print(f"\n{store.name}: {dict(counts)}; {chaos.n_killed} children killed, {chaos.n_graceful} graceful restarts, "
          f"{chaos.n_outages} times without a store; {store.summary()}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong[:20])
    assert counts["turns"] > 30 and counts["upload"] > 100 and counts["forget"] > 3 and chaos.n_killed
