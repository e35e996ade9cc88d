# SPDX-License-Identifier: Apache-2.0
"""Mistakes in <AgentChatMCP> for test_configuration.py: name, line, configuration, and what the message must contain."""
from bad_configuration import AGENT, MODEL


def in_mcp(text):
    return f"<AgentChatMCP m>\n{text}\n</AgentChatMCP>\n" + MODEL + AGENT


BAD_MCP = [
    ('an MCP server without a URL', 1,
     '<AgentChatMCP m>\nAgentChatMCPTools x\n</AgentChatMCP>\n' + MODEL + AGENT,
     "MCP server 'm': AgentChatMCPURL is missing; give one like https://host/mcp"),
    ('an MCP server over stdio', 2,
     in_mcp('AgentChatMCPURL stdio:/usr/bin/server'),
     'httpd starts no MCP server as a program (stdio)'),
    ('an MCP server with a fragment', 2, in_mcp('AgentChatMCPURL https://x.example/mcp#a'), 'the URL has a fragment'),
    ('a private MCP server', 2,
     in_mcp('AgentChatMCPURL http://127.0.0.1:1/mcp'),
     "'127.0.0.1' is a private address; write AgentChatMCPAllowPrivate on"),
    ('another protocol of MCP', 2, in_mcp('AgentChatMCPURL https://x.example protocol=2024-11-05'), 'AgentChatMCPURL'),
    ('a header of MCP itself', 3,
     in_mcp('AgentChatMCPURL https://x.example\nAgentChatMCPHeader Mcp-Session-Id x'),
     'AgentChatMCPHeader: Mcp-Session-Id is written by the module itself'),
    ('two credentials for an MCP server', 4,
     in_mcp('AgentChatMCPURL https://x.example\nAgentChatMCPCredential env:HOME\nAgentChatMCPHeader Authorization x'),
     'AgentChatMCPCredential sends Authorization already'),
    ('a credential for an MCP server over plain http', 3,
     in_mcp('AgentChatMCPURL http://x.example/mcp\nAgentChatMCPCredential env:HOME'),
     'over plain http the credential could be read on its way to x.example'),
    ('an identity for an MCP server without a scope', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPCredential identity:managed'),
     'an identity needs the scope of the server'),
    ('a prefix that no model takes', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPPrefix a.b'),
     "AgentChatMCPPrefix: 'a.b' cannot begin names of tools"),
    ('an approval that there is not', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPApproval write x=never'),
     "AgentChatMCPApproval: x: 'never' is not one of destructive, write, required, none"),
    ('a session that there is not', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPSession user'), 'AgentChatMCPSession'),
    ('a time that is too short', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPTimeouts list=1ms'), 'AgentChatMCPTimeouts'),
    ('a result that is too long', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPResultMax 2M'), 'AgentChatMCPResultMax'),
    ('a list that holds too shortly', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPRefresh 10ms'), 'AgentChatMCPRefresh'),
    ('neither on nor off for a private address', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPAllowPrivate maybe'), 'AgentChatMCPAllowPrivate'),
    ('certificates of an MCP server that are not there', 3,
     in_mcp('AgentChatMCPURL https://x.example/mcp\nAgentChatMCPCAFile /nowhere/ca.pem'), 'AgentChatMCPCAFile'),
    ('an MCP server without a definition', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatTools mcp:x\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a' names 'mcp:x', but no <AgentChatMCP> or <AgentChatOpenAPI> defines it"),
    ('an MCP server twice', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatTools mcp:m mcp:m\n</AgentChatAgent>\n'
     + '<AgentChatMCP m>\nAgentChatMCPURL https://x.example\n</AgentChatMCP>\n',
     "AgentChatTools: agent 'a' names 'mcp:m' twice"),
]
