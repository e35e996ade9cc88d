# SPDX-License-Identifier: Apache-2.0
"""Mistakes in models for test_configuration.py: name, line, configuration, and what the message must contain."""


def in_model(provider, endpoint, more=""):
    return f"<AgentChatModel x>\nAgentChatProvider {provider}\nAgentChatEndpoint {endpoint}\n{more}</AgentChatModel>\n"


BAD_MODELS = [
    ('an effort that no model has', 3, in_model("responses", "http://127.0.0.1/v1 effort=huge"),
     "AgentChatEndpoint: effort='huge'; give none, minimal, low, medium, high, xhigh or max"),
    ('a store that is no switch', 3, in_model("responses", "http://127.0.0.1/v1 store=yes"),
     "AgentChatEndpoint: store='yes'; give on or off"),
    ('an input that is the conversation', 4,
     in_model("responses", "http://127.0.0.1/v1", 'AgentChatModelParameter input "x"\n'),
     "AgentChatModelParameter: 'input' cannot be set: this module decides it"),
    ('an older API without responses', 3,
     in_model("azure-responses", "https://x.openai.azure.com deployment=d api-version=2024-10-21", "AgentChatCredential env:HOME\n"),
     "AgentChatEndpoint: api-version='2024-10-21'; the Responses API is under /openai/v1"),
    ('a Foundry agent without a project', 3, in_model("foundry-agent", "https://x.services.ai.azure.com agent=a"),
     "AgentChatEndpoint: give the address of the Foundry project and an agent"),
    ('a Foundry project without an agent', 3, in_model("foundry-agent", "https://x.services.ai.azure.com/api/projects/p"),
     "AgentChatEndpoint: no agent; add its name"),
    ('a Foundry agent with a key', 4,
     in_model("foundry-agent", "https://x.services.ai.azure.com/api/projects/p agent=a", "AgentChatCredential env:HOME\n"),
     "AgentChatCredential: Foundry takes tokens of Entra ID and no keys; give identity"),
]
