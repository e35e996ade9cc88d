# SPDX-License-Identifier: Apache-2.0
"""Agents whose tool needs an approval: `secretary`, which sends mails, on each store, and `careful`, which calculates. What the tests of
approvals share; `mail` and `make` are fixtures."""
import pytest

from cosmos_server import KEY
from model_server import ModelServer, Reply

MAIL_TOOL = """
<AgentChatTool send_mail>
    AgentChatToolURL {url}/mail method=POST
    AgentChatToolBody "{{\\"to\\":\\"{{to}}\\"}}"
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters {{"type":"object","properties":{{"to":{{"type":"string"}}}},"required":["to"]}}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
"""
TOOLS = MAIL_TOOL + """
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail calculate
</AgentChatAgent>
"""
CAREFUL = """
<AgentChatTool work_out>
    AgentChatToolProvider calculator
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent careful>
    AgentChatModel scripted
    AgentChatTools work_out
</AgentChatAgent>
"""
MAIL = ("send_mail", {"to": "a@b"})


@pytest.fixture
def mail():
    server = ModelServer()
    server.default = lambda _request: iter([Reply(200, {"sent": True})])
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "cosmos"])
def make_on_store(request, make_server, cosmos, mail):
    """A server with each store; {url} in the directives is that of the mail."""
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""

    def start(tools, directives="", **options):
        return make_server(text + tools.format(url=mail.url) + directives, env={"K": KEY}, **options)
    start.on_cosmos = request.param == "cosmos"
    return start


@pytest.fixture
def make(make_on_store):
    def start(directives="", **options):
        return make_on_store(TOOLS, directives, **options)
    start.on_cosmos = make_on_store.on_cosmos
    return start
