# SPDX-License-Identifier: Apache-2.0
"""Mistakes in <AgentChatOpenAPI> for test_configuration.py: name, line, configuration, and what the message must contain."""
from bad_configuration import AGENT, MODEL

FROM = "AgentChatToolsFrom openapi:https://x.example/openapi.json\n"


def in_openapi(text):
    return f"<AgentChatOpenAPI o>\n{text}\n</AgentChatOpenAPI>\n" + MODEL + AGENT


BAD_OPENAPI = [
    ("an OpenAPI service without a document", 1, in_openapi("AgentChatOpenAPIOperations a"),
     "OpenAPI service 'o': AgentChatToolsFrom is missing"),
    ("a document of another kind", 2, in_openapi("AgentChatToolsFrom graphql:/x"), "is not openapi:FILE or openapi:URL"),
    ("a document that is not there", 2, in_openapi("AgentChatToolsFrom openapi:/nowhere.json\nAgentChatOpenAPIOperations a"),
     "/nowhere.json cannot be read"),
    ("a document at a private address", 2, in_openapi("AgentChatToolsFrom openapi:http://127.0.0.1/x\n"
                                                      "AgentChatOpenAPIOperations a"),
     "AgentChatOpenAPIAllowPrivate on"),
    ("no operations", 1, in_openapi(FROM), "AgentChatOpenAPIOperations is missing"),
    ("a path without its slash", 3, in_openapi(FROM + 'AgentChatOpenAPIOperations "GET pets"'),
     "is not an operationId or"),
    ("a policy that there is not", 4, in_openapi(FROM + "AgentChatOpenAPIOperations a\nAgentChatOpenAPIApproval write a=maybe"),
     "'maybe' is not one of write, required, none"),
    ("an identity for a service without a scope", 4,
     in_openapi(FROM + "AgentChatOpenAPIOperations a\nAgentChatOpenAPICredential k identity:managed"),
     "an identity needs the scope of the service"),
    ("a scheme with two credentials", 5,
     in_openapi(FROM + "AgentChatOpenAPIOperations a\nAgentChatOpenAPICredential k env:HOME\n"
                       "AgentChatOpenAPICredential k env:HOME"), "'k' is given twice"),
    ("a base URL with a query", 4, in_openapi(FROM + "AgentChatOpenAPIOperations a\nAgentChatOpenAPIServer https://x/?a"),
     "is not a base URL"),
]
