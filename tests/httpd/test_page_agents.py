# SPDX-License-Identifier: Apache-2.0
"""The chat page with agents that ask other agents: their calls inside of the call, and an approval of one of them."""
import pytest

from model_server import ModelServer, Reply, answer, calls
from page import Page, PageServer
from approvals import MAIL_TOOL
from test_agent_tools import AGENTS, Cast, ask


@pytest.fixture
def mail(services):
    server = ModelServer()
    server.default = lambda _request: iter([Reply(200, {"sent": True})])
    services.append(server)
    return server


@pytest.fixture
def server(model, mail):
    agents = AGENTS.replace("writer", "scribe").format(triage="AgentChatHandoffs sums", scribe="")
    server = PageServer(model, more=MAIL_TOOL.format(url=mail.url) + agents).start()
    yield server
    server.stop()
    problems = server.check_log()
    server.remove()
    assert not problems, problems


def test_calls_of_an_agent_are_inside_of_its_call(browser, server, model, mail):
    Cast(model, triage=[calls(ask("scribe"), ask("sums")), answer("Sent and added.")],
         scribe=[calls(("send_mail", {"to": "a@b"})), answer("Sent.")],
         sums=[calls(("calculate", {"expression": "1+1"})), answer("Two.")])
    page = Page(browser, browser.context(), server.url)
    page.find("#agent").selectOption("triage")
    page.send("thank them, and add")
    page.wait_text(".approval-word", "This tool changes things. May it run?")
    assert page.texts(".call .call .call-tool") == ["send_mail", "calculate"]
    page.click(".approval .primary")
    page.wait_text(".turn", "Sent and added.")
    assert [r.json for r in mail.requests] == [{"to": "a@b"}]


def test_another_agent_continues(browser, server, model):
    """Its name stands beside that of the first one, and the next message goes to it."""
    cast = Cast(model, triage=[calls(("transfer_to_sums", {}))], sums=[answer("Two."), answer("Three.")])
    page = Page(browser, browser.context(), server.url)
    page.find("#agent").selectOption("triage")
    page.send("add")
    page.wait_text(".turn", "Two.")
    page.wait_text(".speaker", "triage \u2192 sums")
    page.until("document.getElementById('agent').value === 'sums'")
    page.send("and again")
    page.wait_text(".turn", "Three.")
    assert [name for name, _request in cast.asked] == ["triage", "sums", "sums"]
