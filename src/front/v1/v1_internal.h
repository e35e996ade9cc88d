/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_V1_INTERNAL_H
#define AC_V1_INTERNAL_H

#include "front/api/api.h"
#include "front/stream/stream.h"
#include "v1.h"

typedef enum ac_v1_activity_e { /* what clients see of tool calls: AgentChatOpenAI activity= */
                                AC_V1_ACTIVITY_NONE,
                                AC_V1_ACTIVITY_REASONING, /* lines of reasoning_content */
                                AC_V1_ACTIVITY_EVENTS     /* chunks without choices, with the native event */
} ac_v1_activity_e;

/* What the dialect needs of the request. */
typedef struct ac_v1_view_t {
    char model[AC_MAX_AGENT_ID + 1]; /* as the client named it */
    bool with_usage;                 /* stream_options.include_usage */
    ac_v1_activity_e activity;
} ac_v1_view_t;

/* ---- v1_problem.c ---- */
/* {"error": {message, type, param, code}}. New reference. Any thread. */
json_t *ac_v1_problem_json(const ac_err_t *err, const char *request_id);

/* ---- v1_messages.c: the member `messages` ---- */
typedef struct ac_v1_messages_t {
    json_t *history;     /* the messages before the last one, as a store has them; owned */
    ac_buf_t system;     /* the text of system and developer messages */
    const char *content; /* the last message, which is the user's; in the pool */
} ac_v1_messages_t;
/* Reads the member of rq->body. The caller frees the result, also after an error. errors: invalid_request,
 * message_empty. */
apr_status_t ac_v1_messages_read(ac_v1_messages_t *messages, ac_request_t *rq);
void ac_v1_messages_free(ac_v1_messages_t *messages);

#endif
