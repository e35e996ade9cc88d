# SPDX-License-Identifier: Apache-2.0
"""Mistakes in agents that ask other agents or hand over to them, for test_configuration.py: name, line, configuration, and what the message
must contain."""
from bad_configuration import MODEL

BAD_AGENTS = [
    ('an unknown agent as a tool', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatTools agent:b\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a' names 'agent:b', but no <AgentChatAgent> defines it; known are agent:a"),
    ('an agent without a description as a tool', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatTools agent:b\n</AgentChatAgent>\n'
     '<AgentChatAgent b>\nAgentChatModel gpt\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a' names 'agent:b', but the agent has no AgentChatDescription, by which the model chooses tools"),
    ('agents that call each other in a ring', 7,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatDescription x\nAgentChatTools agent:b\n</AgentChatAgent>\n'
     '<AgentChatAgent b>\nAgentChatModel gpt\nAgentChatDescription x\nAgentChatTools agent:a\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a': the agents call each other in a ring: a, b, a"),
    ('an agent that calls itself', 7,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatDescription x\nAgentChatTools agent:a\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a': the agents call each other in a ring: a, a"),
    ('no total rounds', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatMaxTotalRounds 0\n</AgentChatAgent>\n',
     "AgentChatMaxTotalRounds: '0' is out of range; give 1 to 1000"),
    ('an unclear history of agents', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatAgentHistory some\n</AgentChatAgent>\n',
     "AgentChatAgentHistory: 'some' is neither on nor off"),
    ('an unknown agent to hand over to', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatHandoffs b\n</AgentChatAgent>\n',
     "AgentChatHandoffs: agent 'a' names 'b', but no <AgentChatAgent> defines it; known are a"),
    ('an agent that hands over to itself', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatHandoffs a\n</AgentChatAgent>\n',
     "AgentChatHandoffs: agent 'a' names 'a', but an agent cannot hand over to itself"),
    ('an agent without a description to hand over to', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatHandoffs b\n</AgentChatAgent>\n'
     '<AgentChatAgent b>\nAgentChatModel gpt\n</AgentChatAgent>\n',
     "AgentChatHandoffs: agent 'a' names 'b', but the agent has no AgentChatDescription, by which the model chooses tools"),
    ('an agent to hand over to, twice', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatHandoffs b b\n</AgentChatAgent>\n'
     '<AgentChatAgent b>\nAgentChatModel gpt\nAgentChatDescription x\n</AgentChatAgent>\n',
     "AgentChatHandoffs: agent 'a' names the agent 'b' twice"),
    ('two tools of one name', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatTools agent:b.c agent:b_c\n</AgentChatAgent>\n'
     '<AgentChatAgent b.c>\nAgentChatModel gpt\nAgentChatDescription x\n</AgentChatAgent>\n'
     '<AgentChatAgent b_c>\nAgentChatModel gpt\nAgentChatDescription x\n</AgentChatAgent>\n',
     "AgentChatTools: agent 'a' has two tools of the name 'ask_b_c'"),
    ('a handoff to an agent whose answers have a form', 6,
     MODEL + '<AgentChatAgent a>\nAgentChatModel gpt\nAgentChatHandoffs b\n</AgentChatAgent>\n'
     '<AgentChatAgent b>\nAgentChatModel gpt\nAgentChatDescription x\nAgentChatOutputSchema {"type":"object"}\n</AgentChatAgent>\n',
     "AgentChatHandoffs: agent 'a' hands over to 'b', whose answers have a form (AgentChatOutputSchema) and its own have none"),
]
