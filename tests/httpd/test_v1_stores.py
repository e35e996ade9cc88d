# SPDX-License-Identifier: Apache-2.0
"""The Responses API on a store that machines share: what the tests of one store say of conversations, branches and functions."""
import test_v1_conversations as conversations
import test_v1_responses as v1
from cosmos_server import KEY

SAME = (conversations.test_a_conversation, conversations.test_items_are_added_to_a_conversation,
        conversations.test_items_wait_for_no_response, conversations.test_a_conversation_is_changed_and_deleted,
        v1.test_instructions_and_items_reach_the_model, v1.test_a_response_follows_another_one_and_may_branch,
        v1.test_a_history_with_our_ids_continues_its_thread, v1.test_functions_that_the_client_carries_out,
        v1.test_a_stream_is_resumed_at_each_event, v1.test_a_response_is_cancelled, v1.test_a_response_is_deleted_with_its_thread,
        v1.test_a_repeated_request_follows_the_run)


def test_conversations_and_chains(make_server, cosmos, model):
    server = make_server(f"AgentChatStore cosmos:{cosmos.url} database=chat create=on credential=env:K\n" + v1.SWITCH, env={"K": KEY})
    for test in SAME:
        model.requests.clear()
        test(server, model)
