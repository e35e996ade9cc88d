/* SPDX-License-Identifier: Apache-2.0 */
/* /chat and /agent/stream: the default agent, with and without a thread. */
#include "front/front.h"

static const char *const chat_members[] = {"message", "conversation_id", "thread_id", "stream", NULL};
static const char *const ask_members[] = {"message", NULL};

int ac_api_chat(ac_request_t *rq)
{
    static const ac_talk_form_t form = {chat_members, "message", true};
    ac_talk_t talk;
    if (ac_talk_read(rq, &talk, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    /* A conversation that goes on keeps the agent it was begun with. */
    if (!talk.thread_id && ac_talk_default_agent(rq, &talk.agent) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_talk_start(rq, &talk, talk.stream ? &ac_dialect_chunk : &ac_dialect_chat);
}

static int api_chat_ask(ac_request_t *rq, ac_talk_t *talk)
{
    talk->stateless = true;
    if (ac_talk_default_agent(rq, &talk->agent) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_talk_start(rq, talk, &ac_dialect_text);
}

int ac_api_agent_stream(ac_request_t *rq)
{
    static const ac_talk_form_t form = {ask_members, "message", true};
    ac_talk_t talk;
    if (ac_talk_read(rq, &talk, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return api_chat_ask(rq, &talk);
}

int ac_api_agent_stream_get(ac_request_t *rq)
{
    ac_talk_t talk = {.content = ac_request_query(rq, "message")};
    if (!talk.content) {
        ac_err_set(&rq->err, AC_INVALID_REQUEST, "the query parameter message is missing");
        return ac_reply_problem(rq, NULL);
    }
    if (ac_talk_check(rq, talk.content, "message", true) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return api_chat_ask(rq, &talk);
}
