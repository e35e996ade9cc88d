/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that the handlers share. */
#ifndef AC_API_INTERNAL_H
#define AC_API_INTERNAL_H

#include "api.h"
#include "front/stream/stream.h"

/* ---- api_threads.c, for api_agents.c too ---- */
#define AC_DELETED_MESSAGE "Thread deleted successfully"
/* Deletes a thread as the query says. errors: invalid_request, the store's. */
apr_status_t ac_api_threads_remove(ac_request_t *rq, const char *id);
/* Puts the filter `status` into page; NULL: none. errors: invalid_request. */
apr_status_t ac_api_threads_read_status(ac_request_t *rq, ac_page_t *page, const char *status);

/* ---- api_files.c, for api_upload.c too ---- */
json_t *ac_api_files_shown(const json_t *file); /* in the form of the API; new reference */
/* Removes the bytes of files whose documents are gone; ids: NULL or an array. A failure is logged; the sweep tries
 * again. */
void ac_api_files_remove_bytes(ac_request_t *rq, const json_t *ids);

/* ---- chat_request.c: a request that runs an agent ---- */
typedef struct ac_chat_request_form_t { /* the form of a route's body */
    const char *const *members;         /* NULL-terminated */
    const char *content;                /* the member with the message: "content", "message" */
    bool streams;                       /* if neither body nor Accept say */
    bool takes_parts;                   /* the member may be a list of texts and files */
} ac_chat_request_form_t;
typedef struct ac_chat_request_t {
    const char *content, *thread_id; /* thread_id NULL: a new thread */
    ac_attachments_t attachments;    /* its files */
    const ac_agent_t *agent;         /* NULL: none was named */
    const json_t *metadata;
    const char *parent_id, *regenerate; /* NULL: not given; parent_id "": null */
    bool stream, stateless;
    ac_busy_e on_busy;
    bool has_webhook;
    const ac_webhook_t *webhook; /* with has_webhook; NULL: none */
    bool background;             /* the answer is the run, as soon as it is stored */
} ac_chat_request_t;
/* Reads rq's body. errors: those of ac_request_body, invalid_request, message_empty, not_found (agent,
 * thread or file). */
apr_status_t ac_chat_request_read(ac_request_t *rq, ac_chat_request_t *chat, const ac_chat_request_form_t *form);
/* The number of the last event that a client has: Last-Event-ID, else the query parameter `name` if it is not
 * NULL. *pgiven: the client sent one. errors: invalid_request. */
apr_status_t ac_chat_request_last_event(ac_request_t *rq, uint64_t *pafter, bool *pgiven, const char *name);
/* Starts the turn, or follows the one that its Idempotency-Key has started earlier, and delivers its events in the
 * route's dialect for streams or for documents, as chat->stream says. Returns what the handler returns. */
int ac_chat_request_start(ac_request_t *rq, const ac_chat_request_t *chat);

/* ---- usage_csv.c ---- */
/* The text of USAGE_SUM's answer as CSV, in p. NULL: out of memory. */
const char *ac_usage_csv_text(apr_pool_t *p, const json_t *out, size_t *plen);

/* ---- export_markdown.c ---- */
void ac_export_markdown_begin(ac_buf_t *out, const json_t *thread);
/* steps: those of the message's run, or NULL. */
void ac_export_markdown_message(ac_buf_t *out, const json_t *message, const json_t *steps);

/* ---- compat.c ---- */
/* Reads the thread of rq's body: thread_id, or its older name. *pid: NULL if the body has none. errors:
 * invalid_request, also if the two differ; not_found if it is not the id of a thread. */
apr_status_t ac_compat_thread_id(ac_request_t *rq, const char **pid);

#endif
