/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. Everything is the loop thread's. */
#ifndef AC_MCP_INTERNAL_H
#define AC_MCP_INTERNAL_H

#include "back/tools/tool_support.h"
#include "mcp.h"

#define AC_MCP_VERSION_SIZE 16

/* ---- mcp_exchange.c: one HTTP request, and the messages of its answer ---- */
typedef struct ac_mcp_exchange_t ac_mcp_exchange_t;
typedef struct ac_mcp_exchange_ask_t { /* all texts are copied */
    const char *method;                /* POST, GET, DELETE */
    const char *body;                  /* NULL: none */
    const char *version;               /* of the protocol; NULL: not negotiated yet */
    const char *session;               /* NULL or "": none */
    const char *last_event_id;         /* NULL: none */
    const char *token;                 /* of the credential; NULL: none */
    const char *const *headers;        /* more lines, NULL-terminated; NULL: none */
    const ac_trace_t *trace;           /* borrowed until the end; NULL: none */
    apr_interval_time_t timeout;       /* of the whole exchange; 0: none */
    int retries;
} ac_mcp_exchange_ask_t;
typedef struct ac_mcp_exchange_end_t {
    int status;          /* HTTP's; 0: no answer */
    const ac_err_t *err; /* AC_OK: the answer is complete */
    const char *last_id; /* of the last whole event of a stream, or NULL */
    int64_t retry;       /* milliseconds before a reconnection; -1: not said */
    size_t n_bytes;      /* of the body */
} ac_mcp_exchange_end_t;
typedef struct ac_mcp_exchange_cb_t { /* any may be NULL; none is called inside of ac_mcp_exchange_start() */
    void (*on_head)(void *baton, int status, const char *session);
    /* Takes over the document if it keeps the message: it then sets message->document to NULL. */
    void (*on_message)(void *baton, ac_mcp_message_t *message);
    void (*on_end)(void *baton, const ac_mcp_exchange_end_t *end); /* once; the exchange is gone afterwards */
} ac_mcp_exchange_cb_t;
apr_status_t ac_mcp_exchange_start(ac_mcp_exchange_t **pexchange, ac_mcp_upstream_t *server,
                                   const ac_mcp_exchange_ask_t *ask, const ac_mcp_exchange_cb_t *cb, void *baton,
                                   ac_err_t *err);
/* Ends it without a callback; allowed inside of callbacks. */
void ac_mcp_exchange_cancel(ac_mcp_exchange_t *exchange);
/* No callback comes any more. What is left of the answer is read for a second, so that its connection can be used
 * again. Allowed inside of callbacks. */
void ac_mcp_exchange_leave(ac_mcp_exchange_t *exchange);
void ac_mcp_exchange_cancel_all(ac_mcp_upstream_t *server);
const char *ac_mcp_exchange_last_id(const ac_mcp_exchange_t *exchange); /* of its last whole event; NULL: none */

/* ---- mcp_request.c: one JSON-RPC request and its response ---- */
/* A question of the server on the stream of a request: what is needed to answer it, and to resume the stream. All
 * borrowed. */
typedef struct ac_mcp_elicitation_t {
    const json_t *id;              /* of the question */
    const json_t *result;          /* the answer; NULL: not known yet */
    const char *session, *version; /* session: NULL: none */
    const char *last_event_id;
    int64_t request; /* the id of the request */
} ac_mcp_elicitation_t;
typedef struct ac_mcp_request_t ac_mcp_request_t;
typedef struct ac_mcp_request_ask_t {
    const char *method; /* constant */
    json_t *params;     /* consumed; NULL: none */
    char *text;         /* the message, in place of both; consumed */
    const char *version, *session;
    int64_t id;                 /* of a request whose stream is resumed: nothing is sent again; 0: a new request */
    const char *last_event_id;  /* then; copied */
    const json_t *ignored;      /* the id of a request of the server that is answered already; NULL: none */
    bool is_notification;       /* every answer with 2xx is its end */
    bool resumes;               /* a stream that breaks is resumed by the id of its last event */
    const char *const *headers; /* copied; NULL: none */
    const ac_trace_t *trace;    /* borrowed until the end */
    apr_time_t deadline;
    int retries;
} ac_mcp_request_ask_t;
typedef struct ac_mcp_answer_t {
    ac_mcp_message_t *message; /* the response, or a question that was taken; NULL: none came. Borrowed */
    int status;                /* HTTP's; 0: no answer */
    const char *session;       /* that the server has opened, or NULL */
    const ac_err_t *err;       /* AC_OK: a response came, or the notification was taken. tool_error, tool_timeout */
    size_t n_bytes;
} ac_mcp_answer_t;
typedef struct ac_mcp_request_cb_t {
    void (*on_progress)(void *baton, const json_t *params); /* may be NULL */
    /* A question of the server for a person. true: it is the end of the request. NULL: no question is taken. */
    bool (*on_question)(void *baton, const ac_mcp_elicitation_t *elicitation, const json_t *params);
    void (*on_answer)(void *baton, const ac_mcp_answer_t *answer);
} ac_mcp_request_cb_t;
/* Sends the request when the credential is there. Never fails at once. */
ac_mcp_request_t *ac_mcp_request_start(ac_mcp_upstream_t *server, const ac_mcp_request_ask_t *ask,
                                       const ac_mcp_request_cb_t *cb, void *baton);
int64_t ac_mcp_request_id(const ac_mcp_request_t *request);
void ac_mcp_request_cancel(ac_mcp_request_t *request); /* on_answer is not called; tells a legacy server */
/* Sends a message that nothing waits for, if a credential is there at once. Consumes text. */
void ac_mcp_request_post(ac_mcp_upstream_t *server, const char *version, const char *session, char *text);
/* The same with the method DELETE: the end of a session. */
void ac_mcp_request_delete(ac_mcp_upstream_t *server, const char *version, const char *session);
/* Sets err, for people and the model, from an answer that is no result. */
apr_status_t ac_mcp_request_failed(const ac_mcp_upstream_t *server, const ac_mcp_answer_t *answer, ac_err_t *err);

/* ---- mcp_upstream_session.c: `initialize`, for servers of the time before AC_MCP_MODERN ---- */
typedef struct ac_mcp_upstream_session_t {
    ac_mcp_upstream_t *server;
    bool open;
    char *id; /* NULL: the server has no sessions */
    char version[AC_MCP_VERSION_SIZE];
    bool reports_changes; /* of its list of tools */
    bool asks;            /* a question of it awaits a person: it outlives the run */
    ac_mcp_request_t *request;
    ac_tool_waiter_t *waiters;
    ac_ready_t ready;
    ac_err_t err; /* why it could not be opened */
    int status;   /* of HTTP, then */
    int64_t code; /* of the error; 0: none */
} ac_mcp_upstream_session_t;
void ac_mcp_upstream_session_init(ac_mcp_upstream_session_t *session, ac_mcp_upstream_t *server);
/* Opens the session, and calls the waiter's fn later: session->open says whether it could be opened. */
void ac_mcp_upstream_session_want(ac_mcp_upstream_session_t *session, ac_tool_waiter_t *waiter);
/* Continues a session that another run has opened; nothing if one is open. */
void ac_mcp_upstream_session_adopt(ac_mcp_upstream_session_t *session, const char *id, const char *version);
void ac_mcp_upstream_session_lost(ac_mcp_upstream_session_t *session);  /* the server does not know it any more */
void ac_mcp_upstream_session_close(ac_mcp_upstream_session_t *session); /* tells the server; waiters are forgotten */

/* ---- mcp_list.c ---- */
typedef struct ac_mcp_entry_t { /* a tool of a list */
    ac_mcp_tool_t tool;
    ac_tool_conf_t conf;
    char *source; /* "mcp:SERVER/NAME" */
} ac_mcp_entry_t;
typedef struct ac_mcp_tools_t { /* a list; immutable, counted */
    int refs, n, n_left_out;
    ac_mcp_entry_t list[];
} ac_mcp_tools_t;
bool ac_mcp_list_want(ac_mcp_upstream_t *server, ac_tool_waiter_t *waiter); /* as ac_tool_source_vt has it */
ac_mcp_tools_t *ac_mcp_list_ref(ac_mcp_tools_t *tools);
void ac_mcp_list_unref(ac_mcp_tools_t *tools);                                         /* NULL is allowed */
const ac_mcp_entry_t *ac_mcp_list_find(const ac_mcp_tools_t *tools, const char *name); /* the server's; NULL: none */
void ac_mcp_list_expire(ac_mcp_upstream_t *server);                                    /* asks at the next want */
/* Whether only a modern server answers with this error. */
bool ac_mcp_list_is_modern(const ac_mcp_answer_t *answer);
void ac_mcp_list_stop(ac_mcp_upstream_t *server);
/* ---- mcp_filter.c: pure ---- */
bool ac_mcp_filter_allows(const ac_mcp_conf_t *conf, const char *name);
bool ac_mcp_filter_approval(const ac_mcp_conf_t *conf, const ac_mcp_tool_t *tool); /* whether each call needs one */
int ac_mcp_filter_policy(const char *word); /* an ac_mcp_approval_e; -1: no such word */

/* ---- mcp_elicitation.c: a question on the stream of a call, of servers of the time before AC_MCP_MODERN ---- */
/* Makes the object for AC_TOOL_ASKS: a new reference; NULL: an approval does not answer the question. */
json_t *ac_mcp_elicitation_make(const ac_mcp_elicitation_t *elicitation, const json_t *params);
/* false: the object is of another kind of question, or damaged. */
bool ac_mcp_elicitation_read(ac_mcp_elicitation_t *elicitation, const json_t *question);
/* The message that answers it with the owner's approval: text for free(). */
char *ac_mcp_elicitation_response(const ac_mcp_elicitation_t *elicitation);
void ac_mcp_elicitation_decline(void *self, const json_t *question); /* as ac_tool_vt has it */

/* ---- mcp_call_headers.c: of a call to a modern server ---- */
/* *plines: whole lines, NULL-terminated, for ac_mcp_call_headers_free(), also after an error. errors: tool_error: an
 * argument cannot be a header. */
apr_status_t ac_mcp_call_headers_make(char ***plines, const ac_mcp_tool_t *tool, const json_t *arguments,
                                      ac_err_t *err);
void ac_mcp_call_headers_free(char **lines); /* NULL is allowed */

/* ---- mcp_tool_call.c ---- */
extern const ac_tool_vt ac_mcp_tool_call_vt;

/* ---- mcp_use.c ---- */
extern const ac_tool_source_vt ac_mcp_use_source;
typedef struct ac_mcp_use_t ac_mcp_use_t;
typedef struct ac_mcp_bound_t { /* a tool of a run: the `self` of its ac_tool_t */
    ac_tool_t tool;
    ac_mcp_use_t *use;
    const ac_mcp_entry_t *entry;
    char id[AC_TOOL_NAME_SIZE];
} ac_mcp_bound_t;
struct ac_mcp_use_t { /* what one run uses of a server */
    ac_mcp_upstream_t *server;
    ac_mcp_tools_t *tools;
    ac_mcp_upstream_session_t session; /* opened by the first call, where the server has sessions */
    int n;
    ac_mcp_bound_t list[];
};
/* The session that calls of this run use. */
ac_mcp_upstream_session_t *ac_mcp_use_session(ac_mcp_use_t *use);
/* Further calls of the run use the session in which a call has asked, and numbers of their own in it. */
void ac_mcp_use_adopt(ac_mcp_use_t *use, const ac_mcp_elicitation_t *elicitation);

/* ---- mcp_upstream.c ---- */
/* Hides the token that was sent, if the server repeats it. Consumes value; a new reference. */
json_t *ac_mcp_upstream_mask_token(const ac_mcp_upstream_t *server, json_t *value);
typedef struct ac_mcp_listing_t { /* of the list that is being read */
    bool active;
    ac_mcp_request_t *request;
    ac_tool_waiter_t session;
    ac_mcp_tool_t *tools; /* AC_MAX_MCP_TOOLS of them */
    int n, n_left_out, n_pages;
    size_t n_bytes;
    int64_t ttl; /* milliseconds; -1: no page has said it */
    char *cursor;
    bool renegotiated, reopened; /* only once each */
    bool unsure;                 /* the answer had the older form, without a handshake */
    apr_time_t deadline;
    ac_timer_t timer;
} ac_mcp_listing_t;

struct ac_mcp_upstream_t {
    const ac_mcp_conf_t *conf;
    ac_tool_source_t source;
    const char *prefix;
    const char **headers; /* whole lines, NULL-terminated */
    const char *scope;    /* of the credential */
    const ac_tool_mask_t *mask;
    unsigned metric;
    /* of the child: */
    const ac_host_t *host;
    ac_loop_t *loop;
    bool known, modern;                /* known: which of the two eras it speaks */
    ac_mcp_upstream_session_t session; /* for lists, and for all calls of a server without sessions */
    ac_mcp_listing_t listing;
    ac_mcp_tools_t *tools; /* NULL: no list yet */
    apr_time_t expires;    /* of the list */
    apr_time_t retry_at;   /* after a failure; 0: none */
    int n_failures;
    ac_err_t err;
    bool down; /* logged */
    ac_tool_waiter_t *waiters;
    ac_ready_t ready;
    ac_mcp_exchange_t *exchanges;
    int64_t last_id; /* of a request */
};

#endif
