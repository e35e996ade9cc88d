/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the handlers share. */
#ifndef AC_API_INTERNAL_H
#define AC_API_INTERNAL_H

#include "api.h"
#include "front/stream/stream.h"

/* api_threads.c, for api_agents.c too: deletes as the query says; the filter `status` of a list of threads. */
#define AC_DELETED_MESSAGE "Thread deleted successfully"
apr_status_t ac_api_threads_remove(ac_request_t *rq, const char *id);
apr_status_t ac_api_threads_read_status(ac_request_t *rq, ac_page_t *page, const char *status);

/* ---- chat_request.c: a request that speaks to an agent ---- */
typedef struct ac_chat_request_form_t { /* how a route's body looks */
    const char *const *members;         /* NULL-terminated */
    const char *content;                /* the member that is the message: "content", "message" */
    bool streams;                       /* where neither body nor Accept say */
} ac_chat_request_form_t;
typedef struct ac_chat_request_t {
    const char *content, *thread_id; /* thread_id NULL: a new thread */
    const ac_agent_t *agent;         /* NULL: none was named */
    const json_t *metadata;
    bool stream, stateless;
} ac_chat_request_t;
/* Reads rq's body. errors: those of ac_request_body, invalid_request, message_empty, not_found (an unknown agent, an id that
 * is none). */
apr_status_t ac_chat_request_read(ac_request_t *rq, ac_chat_request_t *chat, const ac_chat_request_form_t *form);
/* errors: message_empty, invalid_request at the member `name`, or about the query parameter where from_query. */
apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query);
/* The number of the last event that a client has: Last-Event-ID, else the query parameter `name` where it is not NULL. *pgiven: it was
 * there. errors: invalid_request. */
apr_status_t ac_chat_request_last_event(ac_request_t *rq, uint64_t *pafter, bool *pgiven, const char *name);
/* Starts the turn, or follows the one that its Idempotency-Key has started before, and delivers its events. Returns what the handler
 * returns. */
int ac_chat_request_start(ac_request_t *rq, const ac_chat_request_t *chat, const ac_dialect_t *dialect);
/* The mount's default agent, else the server's; errors: invalid_request. */
apr_status_t ac_request_agents_default(ac_request_t *rq, const ac_agent_t **pagent);
/* An agent by id or alias. errors: not_found; invalid_request where it is inactive and must not be. pointer: of the member, or "". */
apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active);

#endif
