# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from cosmos_server import Cosmos
from browser import Browser
from model_server import ModelServer
from page import Page, PageServer
from second_run import (pytest_collection_modifyitems, pytest_configure, pytest_sessionfinish, pytest_sessionstart,  # noqa: F401
                        pytest_terminal_summary, pytest_testnodedown, skipped_as_long)
from server import AGENT, MODEL, MOUNT, HeldPort, Server


def pytest_runtest_setup(item):
    if skipped_as_long(item):
        pytest.skip("takes long: make long-tests")


@pytest.fixture(scope="session")
def _model():
    server = ModelServer()
    yield server
    server.stop()


@pytest.fixture
def model(_model):
    """The scripted model, with nothing queued and nothing recorded."""
    _model.reset()
    return _model


@pytest.fixture(scope="session")
def _standard(_model):
    server = Server(MODEL.format(url=_model.url) + AGENT + MOUNT).start()
    yield server
    server.remove()


@pytest.fixture
def server(_standard, model):
    """The server that most tests share: one agent `assistant` on the scripted model, mounted at /api."""
    yield _standard
    assert not (bad := _standard.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


@pytest.fixture
def client(server):
    return server.client


@pytest.fixture
def unused_port():
    """A port without a listener."""
    with HeldPort() as number:
        yield number


@pytest.fixture
def services():
    """What a test's servers call. It stops after the servers, in whichever order a test asks for both."""
    begun = []
    yield begun
    for service in begun:
        service.stop()


@pytest.fixture
def cosmos(services):
    """A scripted Cosmos DB, empty."""
    cosmos = Cosmos()
    services.append(cosmos)
    return cosmos


@pytest.fixture
def make_server(model, services):
    """Makes servers of a test's own: make_server(directives, mpm=…); with {model} standing for the scripted model."""
    made = []

    def make(directives="", start=True, standard=True, **options):
        text = (MODEL.format(url=model.url) + AGENT + MOUNT if standard else "") + directives
        server = Server(text, **options)
        made.append(server)
        return server.start() if start else server

    yield make
    problems = []
    for server in made:
        server.stop()
        problems += server.check_log()
        server.remove()
    assert not problems, "unexpected lines in httpd's log:\n" + "\n".join(problems)


@pytest.fixture
def within_a_day():
    """Windows of limits turn with UTC's days. Waits for the next one where this one has less time left than a test needs."""
    left = 86400 - time.time() % 86400
    if left < 120:
        time.sleep(left)


@pytest.fixture(scope="session")
def _browser():
    browser = Browser()
    yield browser
    browser.stop()


@pytest.fixture(scope="session")
def _page_server(_model):
    server = PageServer(_model).start()
    yield server
    server.remove()


@pytest.fixture
def browser(_browser):
    """The browser; an error on a page fails the test, unless it is in `expected` of the browser."""
    _browser.expected = []
    yield _browser
    said = [line for line in _browser.close_contexts() if not any(part in line for part in _browser.expected)]
    assert not said, "the page complained:\n" + "\n".join(said)


@pytest.fixture
def page_server(_page_server, model):
    yield _page_server
    assert not (bad := _page_server.check_log()), "unexpected lines in httpd's log:\n" + "\n".join(bad)


@pytest.fixture
def page(browser, page_server):
    """The chat page in a tab of its own; further ones: Page(browser, page.context, page_server.url)."""
    return Page(browser, browser.context(), page_server.url)
