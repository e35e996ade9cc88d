# SPDX-License-Identifier: Apache-2.0
"""A Chromium that tests drive: the objects of playwright-core, by the names that it gives them, through tests/browser/bridge.mjs.

    page = browser.page(server)
    page.getByRole("button", {"name": "Send"}).click()
"""
import json
import os
import shutil
import subprocess

import peers
from client import WAIT
from server import BUILD, TOP

SOURCE = TOP / "tests/browser"
SHOTS = BUILD / "screenshots"
# A violation of the content security policy is an error of the page, like those that a page throws.
POLICY = """window.refusals = [];
addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI, sourceFile }) => {
  window.refusals.push(effectiveDirective);
  console.error(`against the policy: ${effectiveDirective} ${blockedURI} ${sourceFile}`);
});"""


class Thing:
    """Something that lives in the bridge: a page, a locator, a session."""

    def __init__(self, browser, ref):
        self._browser, self._ref = browser, ref

    def __getattr__(self, method):
        return lambda *args: self._browser.call(self._ref, method, args)


class Browser:
    def __init__(self):
        program = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
        assert program, "there is no Chromium; conf/packages.sh check installs it"
        environment = {**os.environ, "PEERS": str(peers.install(SOURCE))}
        self.process = subprocess.Popen([peers.node_program(), str(SOURCE / "bridge.mjs"), program], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.axe = (peers.install(SOURCE) / "axe-core/axe.min.js").read_text()
        self.contexts = []
        SHOTS.mkdir(parents=True, exist_ok=True)

    def call(self, ref, method, args=()):
        def given(value):
            return {"ref": value._ref} if isinstance(value, Thing) else value
        self.process.stdin.write(json.dumps({"ref": ref, "method": method, "args": [given(one) for one in args]}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the browser has gone"
        answer = json.loads(line)
        assert "error" not in answer, f"{method}{args}: {answer['error']}"
        return Thing(self, answer["ref"]) if "ref" in answer else answer["value"]

    def context(self, **options):
        """A profile of its own: nothing is kept of others."""
        context = self.call(0, "newContext", [{"viewport": {"width": 1180, "height": 780}, "locale": "en-GB", **options}])
        context.setDefaultTimeout(WAIT * 1000)
        context.addInitScript({"content": POLICY})
        self.contexts.append(context)
        return context

    def close_contexts(self):
        """The pages' errors; waits until errors so far have been reported."""
        said = self.call(0, "_said")
        for context in self.contexts:
            context.close()
        self.contexts = []
        self.call(0, "_said")           # that an answer was cut off by closing is no complaint of the next test's page
        return said

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def violations(self, page):
        """What axe-core finds on the page as it is now, as lines."""
        page.evaluate(self.axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(result => result.violations)")
        return [f"{one['id']}: {node['html'][:160]}: {node.get('failureSummary', '')}" for one in found for node in one["nodes"]]
