# SPDX-License-Identifier: Apache-2.0
"""Mistakes in <AgentChatWebhook> for test_configuration.py: name, line, configuration, and what the message must contain."""
from bad_configuration import AGENT, MODEL

URL = "AgentChatWebhookURL https://hooks.example/x\n"
SECRET = "AgentChatWebhookSecret env:GOOD\n"


def in_webhook(text):
    return f"<AgentChatWebhook w>\n{text}\n</AgentChatWebhook>\n" + MODEL + AGENT


BAD_WEBHOOKS = [
    ("a webhook without a URL", 1, in_webhook(SECRET), "webhook 'w': AgentChatWebhookURL is missing"),
    ("a webhook without a secret", 1, in_webhook(URL), "AgentChatWebhookSecret is missing; give env:NAME or file:PATH"),
    ("a URL of another kind", 2, in_webhook("AgentChatWebhookURL ftp://hooks.example/x\n" + SECRET), "is not an http or https URL"),
    ("a URL with a fragment", 2, in_webhook("AgentChatWebhookURL https://hooks.example/x#y\n" + SECRET), "the URL has a fragment"),
    ("a receiver at a private address", 2, in_webhook("AgentChatWebhookURL https://10.0.0.1/x\n" + SECRET),
     "'10.0.0.1' is a private address; write AgentChatWebhookAllowPrivate on"),
    ("a receiver over plain http", 2, in_webhook("AgentChatWebhookURL http://hooks.example/x\n" + SECRET),
     "others could read the events on their way to hooks.example"),
    ("an event that does not exist", 4, in_webhook(URL + SECRET + "AgentChatWebhookEvents run.begun"),
     "there is no event 'run.begun'; known are run.completed"),
    ("a retry that is no time", 4, in_webhook(URL + SECRET + "AgentChatWebhookRetries soon"), "'soon' is not a time from 100ms to 7d"),
    ("too many retries", 4, in_webhook(URL + SECRET + "AgentChatWebhookRetries" + " 1s" * 17), "give at most 16 times"),
    ("a webhook that waits too long", 4, in_webhook(URL + SECRET + "AgentChatWebhookTimeout 1h"), "out of range"),
    ("a secret in another form", 3, in_webhook(URL + "AgentChatWebhookSecret env:OTHER"),
     "env:OTHER is not whsec_ and the base64 of 24 to 64 bytes; this makes one: echo whsec_$(openssl rand -base64 32)"),
    ("a default webhook that is not defined", 7, MODEL + AGENT.rstrip("\n") + "\nAgentChatDefaultWebhook w\n",
     "AgentChatDefaultWebhook: no <AgentChatWebhook> defines 'w'; known are none"),
]
