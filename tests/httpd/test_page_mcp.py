# SPDX-License-Identifier: Apache-2.0
"""The chat page with tools of MCP servers: an approval by policy, a question of the server, and its progress."""
import pytest

from mcp_server import McpServer, text
from model_server import Gate, answer, calls
from page import Page, PageServer
from test_mcp_client_runs import question

MCP = """
<AgentChatMCP one>
    AgentChatMCPURL          {url}
    AgentChatMCPAllowPrivate on
    AgentChatMCPApproval     required
</AgentChatMCP>
<AgentChatAgent clerk>
    AgentChatModel scripted
    AgentChatTools mcp:one
</AgentChatAgent>
"""


@pytest.fixture
def mcp(services):
    server = McpServer()
    services.append(server)
    return server


@pytest.fixture
def server(model, mcp):
    server = PageServer(model, more=MCP.format(url=mcp.url)).start()
    yield server
    server.stop()
    problems = server.check_log()
    server.remove()
    assert not problems, problems


def test_an_approval_and_a_question(browser, server, model, mcp):
    """The owner approves the call by the policy, and then what the tool asks: two questions of one call, one after the other."""
    gate = Gate()

    def script(request):
        if "inputResponses" not in request.params:
            yield {"result": question("Delete \u202e5 orders?")}
            return
        yield {"method": "notifications/progress", "params": {"progressToken": request.meta["progressToken"], "progress": 2, "total": 5,
                                                              "message": "Deleting"}}
        yield gate
        yield {"result": text("deleted")}
    mcp.results["echo"] = script
    model.play(calls(("one_echo", {"x": 1})), answer("All gone."))
    page = Page(browser, browser.context(), server.url)
    page.find("#agent").selectOption("clerk")
    page.send("delete")
    page.wait_text(".approval-word", "This tool changes things. May it run?")
    assert not page.texts(".approval-text") and not mcp.of("tools/call")
    page.click(".approval .primary")
    page.wait_text(".approval-text", "Delete 5 orders?")
    assert page.texts(".approval-word") == ["one asks this. An approval is a yes."] and len(mcp.of("tools/call")) == 1
    page.check("mcp-question")
    page.reload()
    page.wait_text(".approval-text", "Delete 5 orders?")
    page.click(".approval .primary")
    page.wait_text(".call-time", "Deleting · 2 / 5")
    assert not page.texts(".approval")
    gate.open()
    page.wait_text(".turn", "All gone.")
    assert len(mcp.of("tools/call")) == 2


FIELDS = {"name": {"type": "string", "title": "Your name", "default": "Ann", "maxLength": 20},
          "count": {"type": "integer", "minimum": 1, "description": "How \u202emany"}, "urgent": {"type": "boolean", "default": True},
          "colour": {"type": "string", "enum": ["red", "blue"], "enumNames": ["Red", "Blue"]},
          "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}, {"const": "l", "title": "Large"}], "default": "l"},
          "days": {"type": "array", "items": {"type": "string", "enum": ["mo", "tu", "we"]}, "default": ["mo", "we"]},
          "mail": {"type": "string", "format": "email"}}


def test_a_form(browser, server, model, mcp):
    """What the server wants to know is filled in, with its defaults and limits; fields that are left empty are not sent."""
    schema = {"type": "object", "properties": FIELDS, "required": ["count", "colour"]}
    mcp.results["echo"] = lambda request: iter([{"result": text("done") if "inputResponses" in request.params else
                                                 question("Which orders?", schema)}])
    model.play(calls(("one_echo", {})), answer("Ordered."))
    page = Page(browser, browser.context(), server.url)
    page.find("#agent").selectOption("clerk")
    page.send("order")
    page.click(".approval .primary")                # by the policy
    page.wait_text(".form label:nth-child(2) small", "many")
    assert page.texts(".form label span") == ["Your name", "count", "urgent", "colour", "size", "days", "mail"]
    page.check("mcp-form")
    page.click(".approval .primary")                # two fields are required: the page shows the first of them
    assert page.evaluate("document.activeElement.type === 'number'") and len(mcp.of("tools/call")) == 1
    page.find(".form [type=number]").fill("3")
    page.find(".form label:nth-child(4) select").selectOption("1")
    page.find(".form [type=checkbox]").uncheck()
    page.click(".approval .primary")
    page.wait_text(".turn", "Ordered.")
    assert mcp.of("tools/call")[1].params["inputResponses"]["q"]["content"] == {
        "name": "Ann", "count": 3, "urgent": False, "colour": "blue", "size": "l", "days": ["mo", "we"]}
    assert not page.texts(".form")


def test_a_form_that_was_filled_in_wrongly(browser, server, model, mcp):
    """The server's limit is one that the page does not know."""
    schema = {"type": "object", "properties": {"n": {"type": "number", "exclusiveMinimum": 2}}, "required": ["n"]}
    mcp.results["echo"] = lambda request: iter([{"result": text("done") if "inputResponses" in request.params else
                                                 question("How many?", schema)}])
    model.play(calls(("one_echo", {})), answer("Ordered."))
    page = Page(browser, browser.context(), server.url)
    page.find("#agent").selectOption("clerk")
    page.send("order")
    page.click(".approval .primary")
    page.find(".form [type=number]").fill("2")
    page.click(".approval .primary")
    page.wait_text(".form-problem", "n must be greater than 2")
    page.find(".form [type=number]").fill("2.5")
    page.click(".approval .primary")
    page.wait_text(".turn", "Ordered.")
    assert mcp.of("tools/call")[1].params["inputResponses"]["q"]["content"] == {"n": 2.5}
