# SPDX-License-Identifier: Apache-2.0
"""Measures searches, lists and pages of one owner's conversations as they become more, with SQLite, one call after the other on one
connection; then what the index costs a turn.

usage: search.py BUILD OUTDIR; SEARCH_THREADS (10,1000,10000) are the stages, with 50 messages for each thread, QUICK=1 for fewer.

The texts are made: words of six languages with Zipf's frequencies, whose lengths vary as those of questions and answers do, and two
words in each thread that are its topic. They are written to the file while httpd is stopped; the module itself indexes them, as it does
with an older file."""
import itertools
import json
import math
import os
import pathlib
import random
import shutil
import sqlite3
import statistics
import sys
import time
import urllib.parse
import urllib.request

from crud import Connection, Httpd, QUICK, RIG_CPU, Rig, SIM, pinned

STAGES = [int(n) for n in os.environ.get("SEARCH_THREADS", "10,300" if QUICK else "10,1000,10000").split(",")]
EACH = 50                               # messages of a thread, on average
QUERIES, ROUNDS = (20, 2) if QUICK else (50, 5)
TURNS, PASSES = (20, 3) if QUICK else (40, 12)
STORE = "sqlite:{dir}/state/bench.db sync=full search=%s"
FILL_WAIT = 3600
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
SYLLABLES = {
    "en": "the an er re con ing ion al tion ed ment in de com un ter ly per pro able sub ble ance is ty out ness ful ous st",
    "de": "ge ver be ung en er heit keit auf ein über stell schaft büro straß lich tag werk zeug fähr größ ab zu an aus kön",
    "fr": "le ré é tion con ment dé que eau oir aise té çon pré sur ou bien fran cour jour août naïf elle ent er ir",
    "ru": "по на при ска ние ста про вод рас ние ть ный ком пере го ре ли да ви то ки",
    "pl": "prze nie po wy za ść dzi ów cie rzy kon ła ża się pod na od mi ska",
}
MIX = {"en": 55, "de": 18, "fr": 8, "ru": 7, "pl": 4, "zh": 8}


class Vocabulary:
    """Words of one language, the most frequent one first."""

    def __init__(self, rng, language):
        if language == "zh":
            characters = [chr(0x4e00 + i) for i in rng.sample(range(6000), 3000)]
            self.words = characters + ["".join(rng.sample(characters, 2)) for _ in range(20000)]
            self.between = ""
        else:
            parts, words = SYLLABLES[language].split(), {}
            while len(words) < 40000:       # the frequent ones are short
                words["".join(rng.choices(parts, k=rng.choice((1, 1, 2) if len(words) < 200 else (2, 3, 3, 4))))] = True
            self.words, self.between = list(words), " "
        self.weights = list(itertools.accumulate(1 / (i + 2) for i in range(len(self.words))))

    def text(self, rng, n, topic):
        words = rng.choices(self.words, cum_weights=self.weights, k=n)
        if topic:
            words[rng.randrange(n)] = rng.choice(topic)
        for i in range(rng.randrange(6, 18), n, 14):
            words[i] += "。" if not self.between else ", " if i % 3 else ".\n"
        return self.between.join(words)


class Talk:
    """Makes threads and messages: the same for the same number."""

    def __init__(self):
        rng = random.Random(7)
        self.vocabulary = {language: Vocabulary(rng, language) for language in MIX}
        parts = SYLLABLES["en"].split() + SYLLABLES["de"].split()
        self.topics = sorted({"".join(rng.choices(parts, k=4)) + "x" for _ in range(20000)})

    def thread(self, number):
        """(language, topic words, texts)"""
        rng = random.Random(number)
        language = rng.choices(list(MIX), weights=list(MIX.values()))[0]
        topic, n = rng.sample(self.topics, 2), max(2, min(2000, int(rng.lognormvariate(math.log(EACH) - 0.5, 1))))
        texts = []
        for i in range(n):
            length = rng.lognormvariate(math.log(18), 0.8) if i % 2 == 0 else rng.lognormvariate(math.log(110), 0.6)
            texts.append(self.vocabulary[language].text(rng, max(3, min(3000, int(length))), topic if rng.random() < 0.3 else None))
        return language, topic, texts


def made_id(prefix, milliseconds, rng):
    value, text = milliseconds << 80 | rng.getrandbits(80), ""
    for _ in range(26):
        text, value = CROCKFORD[value & 31] + text, value >> 5
    return prefix + text


def stamp(milliseconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000)) + f".{milliseconds % 1000:03}Z"


def fill(path, owner, talk, first, last):
    """Threads first to last - 1, of which the oldest sixth of all stages has a topic of its own."""
    rng, n, size = random.Random(first), 0, 0
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("BEGIN IMMEDIATE")
    for number in range(first, last):
        language, topic, texts = talk.thread(number)
        at = 1_700_000_000_000 + number * 3_600_000
        thread = made_id("thread_", at, rng)
        if number < STAGES[-1] // 6:
            texts[1] += " formerlyx"
        rows = [(thread, i + 1, made_id("msg_", at + i * 1000, rng), "assistant" if i % 2 else "user", text, stamp(at + i * 1000),
                 "" if i == 0 else None) for i, text in enumerate(texts)]
        database.executemany("INSERT INTO messages (thread_id, seq, id, role, content, created_at, parent_id)"
                             " VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        database.execute("INSERT INTO threads (id, owner, agent_id, status, title, message_count, created_at, updated_at, version)"
                         " VALUES (?, ?, 'assistant', 'active', ?, ?, ?, ?, 1)",
                         (thread, owner, texts[0][:60], len(texts), stamp(at), stamp(at + len(texts) * 1000)))
        n, size = n + len(texts), size + sum(len(text.encode()) for text in texts)
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return n, size


def await_index(path):
    began, database = time.monotonic(), sqlite3.connect(path)
    while database.execute("SELECT 1 FROM threads WHERE search_to < message_count LIMIT 1").fetchone():
        assert time.monotonic() - began < FILL_WAIT
        time.sleep(0.2)
    database.close()
    return time.monotonic() - began


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def timed(httpd, paths, rounds=ROUNDS):
    """Times in ms: the median of the first time that each path is asked for, then p50 and p99 of all further ones."""
    connection, first, times, n_found, cpu = Connection(httpd.port), [], [], [], 0.0
    for i in range(rounds + 1):
        if i == 1:
            cpu = httpd.cpu()
        for path in paths:
            began = time.perf_counter()
            answer = connection.request("GET", "/api" + path)
            (times if i else first).append((time.perf_counter() - began) * 1e3)
            assert answer.status == 200, answer
            n_found.append(len(answer.json["data"]))
    return {"first_ms": statistics.median(first), "p50_ms": statistics.median(times), "p99_ms": percentile(times, 0.99),
            "cpu_ms": (httpd.cpu() - cpu) / len(times) * 1e3, "found": statistics.median(n_found)}


def q(words):
    return "/threads?q=" + urllib.parse.quote(words)


def searches(talk, n_threads):
    """The paths of each kind of search."""
    rng, english = random.Random(3), talk.vocabulary["en"].words
    some = [talk.thread(rng.randrange(n_threads)) for _ in range(QUERIES)]
    phrases = [text.replace(",", "").replace(".", "").split() for _, _, texts in some for text in texts[1:2]]
    return {
        "a rare word": [q(topic[0] + " ") for _, topic, _ in some],
        "a word of 1 % of messages": [q(rng.choice(english[150:400]) + " ") for _ in range(QUERIES)],
        "a common word": [q(english[i % 20] + " ") for i in range(QUERIES)],
        "two words": [q(f"{rng.choice(english[50:400])} {rng.choice(english[50:400])} ") for _ in range(QUERIES)],
        "two common words": [q(f"{english[i % 7]} {english[i % 13 + 8]} ") for i in range(QUERIES)],
        "a phrase": [q('"' + " ".join(words[2:4]) + '"') for words in phrases if len(words) > 4],
        "1 letter": [q(rng.choice("abcdegpst")) for _ in range(QUERIES)],
        "2 letters": [q(rng.choice(english[20:400])[:2]) for _ in range(QUERIES)],
        "3 letters": [q(rng.choice(english[200:2000])[:3]) for _ in range(QUERIES)],
        "4 letters": [q(rng.choice(english[200:2000])[:4]) for _ in range(QUERIES)],
        "5 letters of a topic": [q(topic[0][:5]) for _, topic, _ in some],
        "two words, the last one begun": [q(f"{rng.choice(english[50:400])} {rng.choice(english[50:400])[:3]}") for _ in range(QUERIES)],
        "no hit": [q(f"zzq{i} ") for i in range(QUERIES)],
        "Chinese, one character": [q(talk.vocabulary["zh"].words[50 + i]) for i in range(QUERIES)],
        "Chinese, two characters": [q(talk.vocabulary["zh"].words[3000 + i]) for i in range(QUERIES)],
        "Russian": [q(rng.choice(talk.vocabulary["ru"].words[20:1000]) + " ") for _ in range(QUERIES)],
        "of old threads only": [q("formerlyx ")],
    }


def lists(rig, path, n_threads):
    database = sqlite3.connect(path)
    owner = database.execute("SELECT owner FROM threads LIMIT 1").fetchone()[0]
    longest, n = database.execute("SELECT id, message_count FROM threads WHERE owner = ? ORDER BY message_count DESC LIMIT 1",
                                  (owner,)).fetchone()
    database.close()
    after, pages = "", min(100, n_threads // 40)
    for _ in range(pages):
        after = "&after=" + urllib.parse.quote(rig.ask("GET", "/threads?limit=20&order=updated" + after).json["next"])
    return {
        "list of 20 threads": ["/threads?limit=20"] * QUERIES,
        "list of 20 by last change": ["/threads?limit=20&order=updated"] * QUERIES,
        "a page far down the list": ["/threads?limit=20&order=updated" + after] * QUERIES,
        "page of 20 messages": [f"/threads/{longest}/messages?limit=20"] * QUERIES,
        "the last 20 of the longest thread": [f"/threads/{longest}/messages?limit=20&after={n - 20}"] * QUERIES,
    }


def written(httpd):
    lines = pathlib.Path(f"/proc/{httpd.child()}/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


def memory(httpd):
    """Private memory of the process that serves, in kB, without the pages of the mapped file."""
    lines = pathlib.Path(f"/proc/{httpd.child()}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def export(httpd):
    """All of the owner's as one stream: its size, how long it takes, and by how much the process grows meanwhile."""
    before, began, size, most, last = memory(httpd), time.perf_counter(), 0, 0, b""
    with urllib.request.urlopen(f"http://127.0.0.1:{httpd.port}/api/me/export", timeout=FILL_WAIT) as answer:
        while piece := answer.read(65536):
            size, most, last = size + len(piece), max(most, memory(httpd)), last[-1000:] + piece
    assert b'"object":"end"' in last
    return {"mb": size / 1e6, "seconds": time.perf_counter() - began, "grown_mb": (most - before) / 1e3}


def turns(httpds, talk):
    """Turns in new threads, with each store in turns: a question of some 130 words, as many as a question and its answer have."""
    rng, found = random.Random(5), {name: [] for name in httpds}
    for i in range(PASSES + 1):
        questions = [talk.vocabulary["en"].text(rng, 130, None) + " " + SIM for _ in range(TURNS)]
        for name, httpd in httpds.items():
            rig, n_bytes, cpu, times = Rig(httpd, None), written(httpd), httpd.cpu(), []
            for question in questions:
                began = time.perf_counter()
                rig.ask("POST", "/agents/assistant/chat", {"message": question, "stream": False})
                times.append((time.perf_counter() - began) * 1e3)
            if i:
                found[name].append((statistics.median(times), (httpd.cpu() - cpu) / TURNS * 1e3, (written(httpd) - n_bytes) / TURNS / 1e3))
    return {name: dict(zip(("p50_ms", "cpu_ms", "written_kb"), map(statistics.median, zip(*passes)))) for name, passes in found.items()}


def show(found):
    stages = found["stages"]
    print("\nsearch: one call at a time on one connection, in ms; p50 and p99 of repeated calls, (the median of a query's first call)\n")
    heads = [f"{stage['threads']:,} threads, {stage['messages']:,} messages" for stage in stages]
    print("  " + " " * 34 + "".join(head.rjust(38) for head in heads))
    for kind in stages[-1]["calls"]:
        cells = [stage["calls"].get(kind) for stage in stages]
        print("  " + kind.ljust(34) + "".join(
            f"{c['p50_ms']:.1f}, {c['p99_ms']:.1f} ({c['first_ms']:.1f}) {c['found']:.0f}".rjust(38) for c in cells))
    for stage in stages:
        print(f"\n  {stage['threads']:,} threads: texts {stage['text_mb']:.1f} MB, file without index {stage['rows_mb']:.1f} MB, index"
              f" {stage['index_mb']:.1f} MB; added in {stage['index_s']:.0f} s; export of {stage['export']['mb']:.1f} MB in"
              f" {stage['export']['seconds']:.1f} s, during which the process grows by {stage['export']['grown_mb']:.1f} MB")
    print("\n  a turn with 130 words       p50 ms    CPU ms    kB written")
    for name, one in found["turns"].items():
        print(f"  {name:26}{one['p50_ms']:8.2f}{one['cpu_ms']:10.2f}{one['written_kb']:14.0f}")


def main(build, out):
    pinned(RIG_CPU)()
    talk, found = Talk(), {"stages": []}
    httpd = Httpd(build, STORE % "on")
    other = None
    path = httpd.root / "state/bench.db"
    first = n = size = 0
    try:
        Rig(httpd, None).ask("POST", "/threads", {"title": "a thread"})
        for n_threads in STAGES:
            httpd.end()
            database = sqlite3.connect(path)
            owner = database.execute("SELECT owner FROM threads LIMIT 1").fetchone()[0]
            database.close()
            indexed = found["stages"][-1]["index_mb"] if found["stages"] else 0
            more, more_size = fill(path, owner, talk, first, n_threads)
            first, n, size, rows = n_threads, n + more, size + more_size, path.stat().st_size
            httpd.start()
            seconds = await_index(path)
            httpd.end()                  # the file has everything of the log
            total = path.stat().st_size
            httpd.start()
            stage = {"threads": n_threads, "messages": n, "text_mb": size / 1e6, "rows_mb": rows / 1e6 - indexed,
                     "index_mb": (total - rows) / 1e6 + indexed, "index_s": seconds, "calls": {}}
            for kind, paths in {**searches(talk, n_threads), **lists(Rig(httpd, None), path, n_threads)}.items():
                stage["calls"][kind] = timed(httpd, paths)
                print(kind, stage["calls"][kind], file=sys.stderr)
            stage["export"] = export(httpd)
            found["stages"].append(stage)
        httpd.end()
        other = Httpd(build, STORE % "off")
        other.end()
        shutil.copy(path, other.root / "state/bench.db")
        httpd.start(), other.start()
        found["turns"] = turns({"search=on": httpd, "search=off": other}, talk)
    finally:
        httpd.stop()
        if other:
            other.stop()
    show(found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "search.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]))
