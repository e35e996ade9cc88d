# SPDX-License-Identifier: Apache-2.0
"""Compares the chat page with the page of an older commit, in the same server and the same browser, in turns: weight, first paint, the
first token, and work in one go.

usage: page.py COMMIT OUTDIR; ROUNDS (9) starts and ROUNDS / 3 long answers of each kind. The older page has the API of today."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/httpd"))

import page_speed                            # noqa: E402
from browser import Browser                  # noqa: E402
from model_server import ModelServer         # noqa: E402
from page import WWW, PageServer             # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 9))


def page_of(commit, folder):
    """The page's files, as they were."""
    archive = subprocess.run(["git", "-C", str(TOP), "archive", commit, "src/www"], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return Path(folder) / "src/www"


def measure(browser, model, server):
    """One round: {figure: number}."""
    model.reset()
    found = page_speed.start(browser, server)._asdict()
    frames, times = page_speed.first_token(browser, model, server)
    found |= {"token_frames": max(frames), "token_ms": statistics.median(times)}
    browser.close_contexts()
    return found


def long_answers(browser, model, server, scratch):
    model.reset()
    found = {}
    for kind in page_speed.TEXTS:
        _, got = page_speed.long_answer(browser, model, server, kind, scratch / "trace")
        found |= {f"{kind}_longest": got.longest, f"{kind}_token": got.second}
        browser.close_contexts()
    return found


ROWS = [("files", "files"), ("kB of files", "raw"), ("kB over the wire", "wire"), ("first paint, ms", "paint"),
        ("one can write, ms", "ready"), ("first token: frames", "token_frames"), ("first token, ms", "token_ms"),
        *((f"{kind}: work in one go, ms", f"{kind}_longest") for kind in page_speed.TEXTS),
        *((f"{kind}: work for a token, ms", f"{kind}_token") for kind in page_speed.TEXTS)]


def text(name, values):
    middle = statistics.median(values)
    if name in ("raw", "wire"):
        return f"{middle / 1000:.1f}"
    if name in ("files", "token_frames"):
        return f"{max(values):.0f}"
    digits = 2 if name.endswith("_token") else 1 if middle < 100 else 0
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main(commit, out):
    model, browser = ModelServer(), Browser()
    with tempfile.TemporaryDirectory() as folder:
        pages = {commit: page_of(commit, folder), "now": WWW}
        servers = {name: PageServer(model, www=www).start() for name, www in pages.items()}
        figures = {name: {} for name in pages}
        try:
            for n in range(ROUNDS):
                for name, server in servers.items():
                    found = measure(browser, model, server)
                    if n % 3 == 0:
                        found |= long_answers(browser, model, server, Path(folder))
                    for key, value in found.items():
                        figures[name].setdefault(key, []).append(value)
                    print(f"{n + 1} of {ROUNDS}, {name}: {found}", file=sys.stderr)
        finally:
            for server in servers.values():
                server.remove()
            browser.stop()
            model.stop()
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "page.json").write_text(json.dumps(figures, indent=1))
    print(f"| median (least to most) | {commit} | now |\n|---|---:|---:|")
    for title, key in ROWS:
        print(f"| {title} | " + " | ".join(text(key, figures[name][key]) for name in pages) + " |")


if __name__ == "__main__":
    main(*sys.argv[1:])
