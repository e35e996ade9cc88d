/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_V1_INTERNAL_H
#define AC_V1_INTERNAL_H

#include "front/api/api.h"
#include "front/stream/stream.h"
#include "v1.h"

typedef enum ac_v1_activity_e { /* what clients see of tool calls: AgentChatOpenAI activity= */
                                AC_V1_ACTIVITY_NONE,
                                AC_V1_ACTIVITY_REASONING, /* in reasoning_content: lines, and the model's own */
                                AC_V1_ACTIVITY_EVENTS     /* chunks without choices, with the native event */
} ac_v1_activity_e;

/* What the dialect needs of the request. */
typedef struct ac_v1_view_t {
    char model[AC_MAX_AGENT_ID + 1]; /* as the client named it */
    bool with_usage;                 /* stream_options.include_usage */
    ac_v1_activity_e activity;
    bool in_thread; /* the answer is stored, and names its thread */
} ac_v1_view_t;

/* ---- v1_problem.c ---- */
/* {"error": {message, type, param, code}}. New reference. Any thread. */
json_t *ac_v1_problem_json(const ac_err_t *err, const char *request_id, const void *view);

/* ---- v1_history.c: the messages of a client's conversation, in the form of a store ---- */
typedef struct ac_v1_history_t {
    json_t *list;     /* [{role, content, tool_calls?, attachments?}], of the roles user and assistant; owned */
    json_t *calls;    /* those of the last assistant message; owned; NULL: none */
    json_t *answered; /* their results so far, which belong to the next message; owned; NULL: none */
} ac_v1_history_t;
void ac_v1_history_init(ac_v1_history_t *history);
void ac_v1_history_free(ac_v1_history_t *history); /* all zero is allowed, and is left */
/* files: those of the message, borrowed; NULL: none. */
void ac_v1_history_add_user(ac_v1_history_t *history, const char *text, const json_t *files);
void ac_v1_history_add_answer(ac_v1_history_t *history, const char *text); /* "": none, but calls may follow */
/* Adds a call of the client's to the last assistant message, or to a new one. arguments: as the model wrote them. */
void ac_v1_history_add_call(ac_v1_history_t *history, const char *id, const char *tool, const char *arguments);
/* false: the last assistant message has no call with this id. */
bool ac_v1_history_add_result(ac_v1_history_t *history, const char *id, const char *text);
/* The results become a message without a word of the user. */
void ac_v1_history_end_results(ac_v1_history_t *history);
/* Gives the results of a message to the turn that brings them. errors: invalid_request. */
apr_status_t ac_v1_history_take_results(ac_client_tools_t *tools, const json_t *message, const char *pointer,
                                        ac_err_t *err);

/* ---- v1_messages.c: the member `messages` ---- */
typedef struct ac_v1_messages_t {
    ac_v1_history_t history; /* the messages before the last one */
    ac_buf_t system;         /* the text of system and developer messages */
    const char *content;     /* the last message, which is the user's; "": files, or the results of calls alone; in the
                                pool */
    ac_attachments_t attachments; /* its files */
} ac_v1_messages_t;
/* Reads the member of rq->body. tools gets the results of calls that follow the last answer; NULL: calls and results
 * are left out. The caller frees the result, also after an error. errors: invalid_request. */
apr_status_t ac_v1_messages_read(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools);
void ac_v1_messages_free(ac_v1_messages_t *messages);
/* For other forms of a conversation: */
void ac_v1_messages_init(ac_v1_messages_t *messages);
void ac_v1_messages_add_system(ac_v1_messages_t *messages, const char *text); /* sets system.failed if it is too long */
/* Takes the last message, which must be the user's, out of the history. pointer: of the conversation, for errors.
 * errors: invalid_request. */
apr_status_t ac_v1_messages_take_last(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools,
                                      const char *pointer);

/* ---- v1_thread.c: the thread that a request continues ---- */
typedef struct ac_v1_thread_t {
    const char *name; /* as the client names the conversation; NULL: it names none, or asks beside it */
    ac_request_place_t place;
} ac_v1_thread_t;
/* Where the messages belong in the thread that a header field or metadata.thread_id names. A request whose messages do
 * not continue that thread, as those for titles and tags, belongs to none. errors: not_found, the store's. */
apr_status_t ac_v1_thread_find(ac_v1_thread_t *thread, ac_request_t *rq, const ac_v1_messages_t *messages);

/* ---- v1_chat.c: members that all requests for an answer have ---- */
/* The agent of the path or of the member `model`; *pmodel: as the client named it. errors: invalid_request, not_found,
 * the store's. */
apr_status_t ac_v1_chat_find_agent(ac_request_t *rq, const ac_agent_t **pagent, const char **pmodel);
/* *pmost: the smallest of these members (NULL-terminated); 0: none is there. errors: invalid_request. */
apr_status_t ac_v1_chat_read_max_tokens(ac_request_t *rq, const char *const *members, int *pmost);

/* ---- v1_tools.c: the members `tools`, `tool_choice` and `parallel_tool_calls` ---- */
/* As AgentChatOpenAI client-tools= says; tools stays empty where it does not pass them. Tools that are no functions
 * are left out. errors: invalid_request. */
apr_status_t ac_v1_tools_read(ac_client_tools_t *tools, ac_request_t *rq);

#endif
