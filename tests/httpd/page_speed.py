# SPDX-License-Identifier: Apache-2.0
"""How fast the chat page is: its start, the first token, and the work for a long answer. Tests assert it; tests/bench/page.py
compares it."""
import collections
import json
import time

from model_server import DONE, Gate, finish, head, token, usage
from page import Page
from runs import holding

Start = collections.namedtuple("Start", "files raw wire paint ready")
LongAnswer = collections.namedtuple("LongAnswer", "tokens longest worst late frames first second")

FRAMES = """
const figures = window.figures = { frame: 0, streaming: 0, worst: 0, long: 0, measuring: false };
let last = 0;
requestAnimationFrame(function count(now) {
  figures.frame++;
  const isStreaming = figures.measuring && document.querySelector('.writing .prose')?.firstChild;
  if (isStreaming && last) {
    figures.streaming++;
    figures.worst = Math.max(figures.worst, now - last);
    figures.long += Math.round(now - last) > 50;
  }
  last = isStreaming ? now : 0;
  requestAnimationFrame(count);
});
const read = ReadableStreamDefaultReader.prototype.read;
ReadableStreamDefaultReader.prototype.read = async function () {
  const result = await read.call(this);
  if (figures.wanted && result.value && new TextDecoder().decode(result.value).includes(figures.wanted)) {
    figures.arrived ??= { frame: figures.frame, at: performance.now() };
  }
  return result;
};
addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
  const answer = [...document.querySelectorAll('.answer .prose')].at(-1);
  if (figures.arrived && !figures.shown && answer?.textContent.includes(figures.wanted)) {
    figures.shown = { frame: figures.frame, at: performance.now() };
  }
}).observe(document.body, { subtree: true, childList: true, characterData: true }));
"""


def measured_page(browser, server):
    context = browser.context()
    context.addInitScript({"content": FRAMES})
    return Page(browser, context, server.url)


def start(browser, server):
    """The start with an empty cache: files, their bytes, the bytes that were sent, and milliseconds to the first paint, and until one
    can write to an agent."""
    page = Page(browser, browser.context(), server.url)
    page.wait(".welcome")
    page.tab.waitForLoadState("networkidle")
    got = page.evaluate("""(() => {
      const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
      const files = [...new Map(all.filter(one => new URL(one.name).pathname.startsWith('/chat/')).map(one => [one.name, one])).values()];
      const sum = member => files.reduce((total, one) => total + one[member], 0), last = all.find(one => one.name.endsWith('/agents'));
      return [files.length, sum('decodedBodySize'), sum('encodedBodySize'),
        performance.getEntriesByName('first-contentful-paint')[0].startTime, last.responseEnd];
    })()""")
    return Start(*got)


def first_token(browser, model, server):
    """From the arrival of the first token of five answers to the screen: frames, and milliseconds."""
    page = measured_page(browser, server)
    frames, times = [], []
    for n in range(5):
        gate = Gate()
        model.play(holding(gate, (f"Word{n}",), (" more",)))
        page.evaluate(f"Object.assign(figures, {{ wanted: 'Word{n}', arrived: undefined, shown: undefined }})")
        page.send("Go")
        page.until("figures.shown")
        got = page.evaluate("figures")
        frames.append(got["shown"]["frame"] - got["arrived"]["frame"])
        times.append(got["shown"]["at"] - got["arrived"]["at"])
        gate.open()
        page.ended(n + 1)
    return frames, times


def lines(n):
    """Markdown of every kind, n lines of it."""
    kinds = ["## Part {}", "", "A line of **words** with `code` in it, number {}.", "", "- item {} of a list",
             "- and [a link](https://example.org/{})", "", "```js", "const x{} = 1;", "```", "", "| a | b |", "|---|---|", "| {} | 2 |", ""]
    return [kinds[i % len(kinds)].format(i) + "\n" for i in range(n)]


TEXTS = {
    "mixed": lines(2000),
    "code": ["```c\n", *(f"    int variable_{i} = {i};\n" for i in range(1998)), "```\n"],
    "list": ["- item\n", *(f"  - item **{i}** of a list in it\n" for i in range(1000)), *(f"- item **{i}**\n" for i in range(1000))],
}


def longest_task(trace):
    """The longest task of the main thread in milliseconds: its own time, independent of other load."""
    events = json.loads(trace.read_text())["traceEvents"]
    threads = {(e["pid"], e["tid"]) for e in events if e.get("name") == "thread_name" and e["args"]["name"] == "CrRendererMain"}
    return max(e["tdur"] for e in events if (e["pid"], e["tid"]) in threads and e["name"].endswith("RunTask") and "tdur" in e) / 1000


def long_answer(browser, model, server, kind, trace):
    """An answer of 2,000 lines: the page, and milliseconds of work, in one go and for a token."""
    page = measured_page(browser, server)
    tokens = [part for line in TEXTS[kind] for part in (line[:len(line) // 2], line[len(line) // 2:]) if part]
    middle, gates = len(tokens) // 2, [Gate(), Gate()]

    def script(_request):
        yield head()
        for i, part in enumerate(tokens):
            yield token(part)
            if i in (middle, len(tokens) - 1):
                yield token(f" §{i}§\n")
                yield gates[i != middle]
            if i % 4 == 0:
                time.sleep(0.002)           # as a quick model has it: some 2000 tokens a second
        yield finish()
        yield usage()
        yield DONE
    model.play(script)
    session = page.context.newCDPSession(page.tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def work():
        return {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"] * 1000
    browser.call(0, "startTracing", (page.tab, {"path": str(trace), "categories": ["toplevel"]}))
    page.evaluate("figures.measuring = true")
    begun = work()
    page.send("Write a lot")
    page.until(f"document.querySelector('.prose')?.textContent.includes('§{middle}§')", every=0.2)
    half = work()
    gates[0].open()
    page.until(f"document.querySelector('.prose').textContent.includes('§{len(tokens) - 1}§')", every=0.2)
    whole = work()
    figures = page.evaluate("figures")
    gates[1].open()
    page.ended()
    browser.call(0, "stopTracing")
    return page, LongAnswer(len(tokens), longest_task(trace), figures["worst"], figures["long"], figures["streaming"],
                            (half - begun) / middle, (whole - half) / (len(tokens) - middle))
