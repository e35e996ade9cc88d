# SPDX-License-Identifier: Apache-2.0
"""What the tests of servers on a scripted Cosmos DB have in common."""
import time

from cosmos_server import KEY

ENV = {"COSMOS_KEY": KEY, "WRONG_KEY": "d3Jvbmcga2V5"}


def store(cosmos, options="", key="COSMOS_KEY", create="on"):
    return f"AgentChatStore cosmos:{cosmos.url} database=chat create={create} credential=env:{key} {options}\n"


def wait_ready(client, wanted=200, seconds=20, ready=None):
    """ready: Server.ready, for members that only operators see."""
    end = time.monotonic() + seconds
    while (response := ready() if ready else client.get("/ready")).status != wanted:
        assert time.monotonic() < end, response
        time.sleep(0.1)
    return response.json
