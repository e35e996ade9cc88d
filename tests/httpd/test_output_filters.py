# SPDX-License-Identifier: Apache-2.0
"""A filter behind the module may wait. It waits in a thread of its own stream, and never in the loop that writes to all others."""
import pytest

from model_server import Gate
from runs import begun
from server import MODULES, load

SLOW = """
<Location "/slow">
    SetHandler agentchat
    AgentChatAnonymous on
    SetOutputFilter {filter}
    SetEnv rate-limit 4096
</Location>
"""
THREAD = "the stream keeps its thread: the output filter {} may wait"


def has(name):
    return (MODULES / f"mod_{name}.so").exists()


@pytest.mark.skipif(not has("ratelimit") or not has("env"), reason="mod_ratelimit is not there")
def test_a_stream_behind_a_filter_that_waits_keeps_its_thread(make_server, model):
    server = make_server(SLOW.format(filter="RATE_LIMIT"), modules=("ratelimit", "env"))
    slow, fast = Gate(), Gate()
    here = begun(server.client, model, fast)[0]
    assert "keeps its thread" not in server.log()
    server.client.prefix = "/slow"
    there = begun(server.client, model, slow)[0]
    server.wait_log(THREAD.format("rate_limit"))
    fast.open()
    assert here.rest()[-1].type == "done"       # while the other one waits
    slow.open()
    assert there.rest()[-1].type == "done"


@pytest.mark.skipif(not has("ratelimit") or not has("env"), reason="mod_ratelimit is not there")
def test_it_counts_as_a_stream_that_holds_a_thread(make_server, model):
    server = make_server(SLOW.format(filter="RATE_LIMIT") + "AgentChatMaxBlockingStreams 0\n", modules=("ratelimit", "env"))
    server.expect_log("AC0652")
    gate = Gate()
    here = begun(server.client, model, gate)[0]
    server.client.prefix = "/slow"
    assert server.client.post("/agents/assistant/chat", {"message": "x"}).json["code"] == "overloaded"
    gate.open()
    assert here.rest()[-1].type == "done"


@pytest.mark.skipif(not has("deflate") or not has("substitute"), reason="the modules are not there")
def test_filters_that_do_not_wait_hold_no_thread(make_server, model):
    """With all that Debian's defaults and common sites put behind an answer. mod_reqtimeout has a filter on each connection."""
    server = make_server(f"""{load("filter", "deflate", "substitute", "expires", "env", "reqtimeout")}
<Location "/slow">
    SetHandler agentchat
    AgentChatAnonymous on
    SetOutputFilter SUBSTITUTE
    AddOutputFilterByType DEFLATE text/html application/json text/event-stream
    Header set X-A b
    ExpiresActive on
    ExpiresDefault "access plus 1 day"
</Location>
AgentChatMaxBlockingStreams 0
""")
    gate = Gate()
    server.client.prefix = "/slow"
    stream = begun(server.client, model, gate)[0]
    gate.open()
    assert stream.rest()[-1].type == "done" and "keeps its thread" not in server.log()
