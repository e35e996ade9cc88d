/* SPDX-License-Identifier: Apache-2.0 */
/* /chat and /agent/stream: the default agent, with and without a thread. */
#include "api_internal.h"

static const char *const chat_members[] = {"message", AC_COMPAT_THREAD_ID, "thread_id", "parent_id", "regenerate",
                                           "stream",  "webhook",           NULL};
static const char *const ask_members[] = {"message", NULL};

int ac_api_chat_send(ac_request_t *rq)
{
    static const ac_chat_request_form_t form = {chat_members, "message", true, true};
    ac_chat_request_t chat;
    if (ac_chat_request_read(rq, &chat, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    /* An existing thread keeps its agent. */
    if (!chat.thread_id && ac_request_agents_find_default(rq, &chat.agent) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_chat_request_start(rq, &chat);
}

static int api_chat_ask(ac_request_t *rq, ac_chat_request_t *chat)
{
    chat->stateless = true;
    if (ac_request_agents_find_default(rq, &chat->agent) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_chat_request_start(rq, chat);
}

int ac_api_chat_stream(ac_request_t *rq)
{
    static const ac_chat_request_form_t form = {ask_members, "message", true, false};
    ac_chat_request_t chat;
    if (ac_chat_request_read(rq, &chat, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return api_chat_ask(rq, &chat);
}

int ac_api_chat_stream_get(ac_request_t *rq)
{
    ac_chat_request_t chat = {.content = ac_query_get(rq, "message")};
    if (!chat.content) {
        ac_err_set(&rq->err, AC_INVALID_REQUEST, "the query parameter message is missing");
        return ac_reply_problem(rq, NULL);
    }
    if (ac_chat_request_check(rq, chat.content, "message", true) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return api_chat_ask(rq, &chat);
}
