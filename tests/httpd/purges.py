# SPDX-License-Identifier: Apache-2.0
"""The hourly purge at once: httpd's clock for timers is put ahead."""
import itertools
import struct
import subprocess
from pathlib import Path

from runs import wait_until
from server import sanitizer

LONG_AGO = "2001-01-01T00:00:00.000Z"
HOURS = 3 * 3600                # more than the time between two purges


def preload(server, source):
    """Before the start: httpd runs with the library of this source in front of the others."""
    library = server.root / Path(source).with_suffix(".so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(Path(__file__).with_name(source)), "-ldl"], check=True)
    before = server.env.get("LD_PRELOAD") or sanitizer().get("LD_PRELOAD")
    server.env = {**server.env, "LD_PRELOAD": ":".join(filter(None, (before, str(library))))}


def shift_clocks(server):
    """Before the start: the clock can be put ahead from now on."""
    preload(server, "shifted_clock.c")
    server.clock = server.root / "clock"
    server.clock.write_bytes(struct.pack("=q", 0))
    server.env["SHIFTED_CLOCK"] = str(server.clock)


def put_ahead(server):
    with server.clock.open("r+b") as clock:
        shift = struct.unpack("=q", clock.read(8))[0]
        clock.seek(0)
        clock.write(struct.pack("=q", shift + HOURS))


def purge(server):
    """The next purge and its sweep, which has something to remove."""
    n, looks = server.log().count("AC0614"), itertools.count()

    def over():
        if next(looks) % 100 == 0:      # again for a child that had not started when the clock was put ahead
            put_ahead(server)
        server.client.get("/threads")   # the loop looks at its timers; the time of a request under way may be over, too
        return server.log().count("AC0614") > n
    wait_until(over, "no sweep")
