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
