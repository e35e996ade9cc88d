# SPDX-License-Identifier: Apache-2.0
"""The stores of the torture test, and how to make each of them fail."""
import contextlib
import http.client
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

from cosmos_server import KEY

OUTAGE = 0.7            # seconds, longer than anybody waits for the embedded store


class Sqlite:
    """Its calls fail while another process has the database locked: with the pauses between, a tenth of the time."""
    name, directives, env, timeout = "sqlite", "", {}, "500ms"

    def start(self):
        pass

    def calm(self):
        pass

    stop = start

    @staticmethod
    def outage(server, stop):
        """Another process holds the write lock. It tries often: a server that writes without a pause leaves it free for moments."""
        database = sqlite3.connect(server.root / "state/agentchat.db", timeout=0, isolation_level=None)
        try:
            while not stop.wait(0.001):
                with contextlib.suppress(sqlite3.OperationalError):
                    database.execute("BEGIN IMMEDIATE")
                    stop.wait(OUTAGE)
                    database.execute("ROLLBACK")
                    return 1
            return 0
        finally:
            database.close()

    def summary(self):
        return ""


class ScriptedCosmos:
    """A process of its own. A tenth of the calls fail, each kind as often as the others; half of those that are cut or late
    have been carried out."""
    name, env, timeout = "cosmos", {"COSMOS_KEY": KEY}, "3s"
    chaos = {"throttle": 0.02, "unavailable": 0.02, "contended": 0.01, "timeout": 0.01, "cut": 0.02, "late": 0.02}

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, Path(__file__).with_name("cosmos_server.py")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.directives = f"AgentChatStore cosmos:http://127.0.0.1:{self.port} database=chat create=on credential=env:COSMOS_KEY\n"

    def control(self, **order):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/_control", json.dumps(order))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def start(self):
        self.control(chaos=self.chaos)

    def separate(self):
        """No process sees whether another one lives, as on different machines."""
        self.control(apart=True)

    def calm(self):
        self.control(chaos={})

    def outage(self, _server, stop):
        self.control(chaos={"unavailable": 0.5, "cut": 0.5})
        stop.wait(OUTAGE)
        self.control(chaos=self.chaos)
        return 1

    def summary(self):
        answer = self.control()
        return f"{answer['carried_out']} requests carried out by the store, {answer['faults']} of them failed;  "

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
