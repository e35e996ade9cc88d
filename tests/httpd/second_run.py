# SPDX-License-Identifier: Apache-2.0
"""Hooks of pytest for a run in several processes beside each other (pytest -n). Tests that are marked `alone` run after all others, in
one process. Tests that failed beside others run there once more, and the second result counts; the closing lines name those that passed
then. An end for another reason than failed tests, as a process that died, stays what it is."""
import json
import os
import subprocess
import sys
import tempfile

import pytest

REPORTS = "AGENTCHAT_TEST_REPORTS"      # the descriptor that a second run writes its reports to
MOST = 60                               # where more fail, no other test is the reason
# Files that take long begin before the others, so that no process is left with one at the end.
EARLY = ("test_peers", "test_cosmos", "test_page", "test_torture", "test_make_run", "test_restarts", "test_shortage", "test_openapi",
         "test_approvals", "test_agents", "test_delivery", "test_clients")
STEPS = ("setup", "call", "teardown")   # a process that died reports another


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long and rarely finds a fault, so only make long-tests runs it")
    config.addinivalue_line("markers", "alone: measures or changes what belongs to the whole machine, so no other test runs beside it")


def skipped_as_long(item):
    return item.get_closest_marker("long") and not os.environ.get("LONG_TESTS")


def place(item):
    return next((i for i, name in enumerate(EARLY) if item.fspath.basename.startswith(name)), len(EARLY))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Sorts files that take long to the front. One of several processes leaves out the tests that run alone, and names them to the process
    that started it."""
    items.sort(key=place)
    if hasattr(config, "workeroutput"):
        config.workeroutput["alone"] = [item.nodeid for item in items if item.get_closest_marker("alone")]
        items[:] = [item for item in items if not item.get_closest_marker("alone")]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.tests_alone = getattr(node, "workeroutput", {}).get("alone", getattr(node.config, "tests_alone", []))


class SecondRun:
    """In the second run: each report goes to the first one as a line of JSON."""

    def __init__(self, config, descriptor):
        self.config, self.file = config, os.fdopen(descriptor, "w")

    def pytest_runtest_logreport(self, report):
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        print(json.dumps(data, default=str), file=self.file, flush=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session):
    if REPORTS in os.environ:
        session.config.pluginmanager.register(SecondRun(session.config, int(os.environ.pop(REPORTS))))


def failures(reports):
    return [report for report in reports.get("failed", []) + reports.get("error", []) if getattr(report, "when", "") in STEPS]


def forget(reports, test):
    """Takes a test's first results out of those that are counted."""
    for name in reports:
        reports[name] = [report for report in reports[name] if getattr(report, "nodeid", "") != test]


def run_again(config, reports, tests):
    """Runs the tests in one process. Returns (exit code, those that came to their end)."""
    config.get_terminal_writer().line(f"\nalone, in one process: {len(tests)} tests")
    seen, steps = [], []
    base = [f"--basetemp={config.option.basetemp}-alone"] if config.option.basetemp else []
    read, write = os.pipe()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", *base, *tests],
                                   cwd=config.rootpath, env={**os.environ, REPORTS: str(write)}, pass_fds=[write], stdout=said,
                                   stderr=subprocess.STDOUT)
        os.close(write)
        with os.fdopen(read) as lines:
            for line in lines:
                report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
                steps.append(report)
                if report.when == "teardown":           # a test that did not come so far keeps its first result
                    forget(reports, report.nodeid)
                    for step in steps:
                        config.hook.pytest_runtest_logreport(report=step)
                    seen.append(report.nodeid)
                    steps = []
        status = process.wait()
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or set(seen) != set(tests):
            said.seek(0)
            config.get_terminal_writer().line(f"\n{said.read()}\nthe second run did not finish: exit code {status}", red=True)
            status = status if status > 1 else pytest.ExitCode.INTERNAL_ERROR
    return status, seen


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    config = session.config
    beside_others = config.pluginmanager.hasplugin("dsession")
    if not beside_others or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        return
    reports = config.pluginmanager.get_plugin("terminalreporter").stats
    first = {report.nodeid: report for report in failures(reports)}
    alone = getattr(config, "tests_alone", [])
    tests = [*alone, *(first if len(first) <= MOST else [])]
    if not tests:
        return
    status, seen = run_again(config, reports, tests)
    still = {report.nodeid for report in failures(reports)}
    config.unstable = [report for test, report in first.items() if test in seen and test not in still]
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        session.exitstatus = status
    else:
        failed = reports.get("failed") or reports.get("error")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if failed else pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter, config):
    unstable = getattr(config, "unstable", [])
    for report in unstable:
        terminalreporter.section(f"UNSTABLE BESIDE OTHERS: {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext)
    if unstable:
        terminalreporter.section(f"{len(unstable)} unstable beside others: failed first, passed alone", "!", yellow=True, bold=True)
        for report in unstable:
            terminalreporter.write_line(f"UNSTABLE {report.nodeid}")
