# SPDX-License-Identifier: Apache-2.0
"""An agent whose tool sends mails and needs an approval, on each store: what the tests of approvals share. `mail` and `make` are
fixtures."""
import pytest

from cosmos_server import KEY
from model_server import ModelServer, Reply

TOOLS = """
<AgentChatTool send_mail>
    AgentChatToolURL {url}/mail method=POST
    AgentChatToolBody "{{\\"to\\":\\"{{to}}\\"}}"
    AgentChatToolDescription "Sends a mail"
    AgentChatToolParameters {{"type":"object","properties":{{"to":{{"type":"string"}}}},"required":["to"]}}
    AgentChatToolAllowPrivate on
    AgentChatToolApproval required
</AgentChatTool>
<AgentChatAgent secretary>
    AgentChatModel scripted
    AgentChatTools send_mail calculate
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
def make(request, make_server, cosmos, mail):
    text = f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" if request.param == "cosmos" else ""

    def start(directives="", **options):
        return make_server(text + TOOLS.format(url=mail.url) + directives, env={"K": KEY}, **options)
    start.on_cosmos = request.param == "cosmos"
    return start
