/* SPDX-License-Identifier: Apache-2.0 */
/* What stores, models, tools and all layers have in common: sizes, errors, traces, money, events, and the functions
 * that the module offers to providers. A part of agentchat.h. */
#ifndef AGENTCHAT_TYPES_H
#define AGENTCHAT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <apr.h>
#include <apr_errno.h>
#include <apr_time.h>
#include <jansson.h>

/* ---- sizes that belong to domain objects; all other limits are in base/base.h ---- */
#define AC_ID_SIZE 40     /* "thread_" + 26 characters + NUL, with room to spare */
#define AC_OWNER_SIZE 256 /* r->user; a longer name is refused, never cut */
#define AC_ETAG_SIZE 64
#define AC_ERR_DETAIL_SIZE 320
#define AC_ERR_POINTER_SIZE 96
#define AC_UPSTREAM_ID_SIZE 80

/* ---- errors: the rows are in base/err.c ---- */
typedef enum ac_kind_e {
    AC_OK = 0,
    /* the client's fault */
    AC_BAD_JSON,
    AC_INVALID_REQUEST,
    AC_MESSAGE_EMPTY,
    AC_CONTEXT_LENGTH,
    AC_UNAUTHENTICATED,
    AC_FORBIDDEN,
    AC_NOT_FOUND,
    AC_METHOD_NOT_ALLOWED,
    AC_NOT_ACCEPTABLE,
    AC_BODY_TOO_LARGE,
    AC_FILE_LIMIT,
    AC_UNSUPPORTED_MEDIA,
    AC_RUN_IN_PROGRESS,
    AC_READ_ONLY,
    AC_ALREADY_EXISTS,
    AC_IDEMPOTENCY_CONFLICT,
    AC_RUN_ENDED,
    AC_EVENTS_GONE,
    AC_NOT_WAITING,
    AC_PRECONDITION_FAILED,
    AC_CONTENT_FILTERED,
    AC_RATE_LIMITED,
    AC_BUDGET_EXCEEDED,
    /* a back end's fault */
    AC_MODEL_REFUSED,
    AC_MODEL_ERROR,
    AC_MODEL_THROTTLED,
    AC_MODEL_TIMEOUT,
    AC_OUTPUT_INVALID,
    AC_STORE_ERROR,
    AC_STORE_TIMEOUT,
    AC_TOOL_ERROR,
    AC_TOOL_TIMEOUT,
    AC_UPSTREAM_ERROR,
    AC_UPSTREAM_TIMEOUT,
    /* this server's fault */
    AC_STORAGE_FULL,
    AC_OVERLOADED,
    AC_STOPPING,
    AC_CANCELLED,
    AC_INTERRUPTED,
    AC_RUN_TIMEOUT,
    AC_INTERNAL,
    AC_N_KINDS
} ac_kind_e;

/* Why a function failed. The caller owns it, and may pass NULL instead; zero it before use (ac_err_init()). The first
 * error set in it wins; later ones are ignored. */
typedef struct ac_err_t {
    ac_kind_e kind;
    apr_status_t status;                   /* the cause, if the system reported one */
    apr_interval_time_t retry_after;       /* 0: unknown */
    int http_status;                       /* the upstream's, 0: none */
    char detail[AC_ERR_DETAIL_SIZE];       /* for people; no secret, no user's text, no URL */
    char pointer[AC_ERR_POINTER_SIZE];     /* JSON Pointer of the wrong member, or "" */
    char upstream_id[AC_UPSTREAM_ID_SIZE]; /* x-request-id and the like, or "" */
} ac_err_t;

/* ---- the trace that something is part of: W3C Trace Context ---- */
typedef struct ac_trace_t {
    char trace_id[33], span_id[17]; /* hexadecimal, lower case; "": not known */
    bool sampled, random;           /* the flags 01 and 02 */
    const char *state;              /* tracestate, or NULL; borrowed from the request, the run or the span */
} ac_trace_t;

/* ---- money and tokens ---- */
typedef struct ac_usage_t {
    int64_t prompt, completion, total, cached, reasoning;
    bool known;     /* the model reported figures */
    bool estimated; /* this module estimated them */
} ac_usage_t;

typedef struct ac_price_t { /* per million tokens */
    double input, cached, output;
    char currency[4]; /* "": no price configured */
} ac_price_t;

/* ---- a run's events ---- */
typedef enum ac_event_type_e {
    AC_EVENT_RUN,
    AC_EVENT_TOKEN,
    AC_EVENT_TRACE_START,
    AC_EVENT_TRACE_UPDATE,
    AC_EVENT_TRACE_END,
    AC_EVENT_ERROR,
    AC_EVENT_DONE,
    AC_EVENT_REASONING,
    AC_EVENT_SOURCES,
    /* not of a run; a tail reports its state with these: */
    AC_EVENT_NOTHING, /* no event will come after those that the follower has */
    AC_EVENT_LIVE,    /* the stored events were delivered; the next ones happen from now on */
    AC_EVENT_QUEUED,  /* the turn waits for its thread; of the process that got its request */
    AC_N_EVENTS
} ac_event_type_e;

/* One event of a run. Immutable once made, counted, on the heap: the only part of a run that other threads may use.
 * `data` holds the members of the native event except for `type` and `timestamp`; `text` is the content of TOKEN
 * and REASONING, or DONE's whole answer. */
typedef struct ac_event_t {
    volatile apr_uint32_t refs;
    ac_event_type_e type;
    uint64_t seq; /* 1, 2, 3 … without gaps within the run */
    apr_time_t at;
    json_t *data;                    /* NULL for TOKEN and REASONING */
    ac_kind_e kind;                  /* ERROR: the kind of the response if nothing was sent yet */
    apr_interval_time_t retry_after; /* ERROR */
    json_t *message;                 /* DONE of a stored run: the stored assistant message; else NULL */
    size_t len;
    char text[]; /* len bytes of UTF-8 and a NUL */
} ac_event_t;

/* ---- functions for providers: the module exports no symbols ---- */
typedef struct ac_loop_t ac_loop_t;             /* io/loop.c */
typedef struct ac_work_t ac_work_t;             /* io/work.c */
typedef struct ac_credential_t ac_credential_t; /* back/credential: a key or an identity, kept up to date */
typedef struct ac_store_op_t ac_store_op_t;
/* text: the key or the token, as in "Authorization: Bearer TEXT". It is valid inside the call only and must not be
 * logged. NULL on failure: err->detail says why. */
typedef void ac_credential_fn(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
typedef struct ac_host_t {
    int version; /* 4; a later version has further members at the end */
    ac_loop_t *loop;
    ac_work_t *work;
    /* Runs fn(baton) on the loop thread. Any thread. */
    void (*loop_post)(ac_loop_t *loop, void (*fn)(void *baton), void *baton);
    /* Runs fn(baton) on a work thread, then done(baton) on the loop thread; EAGAIN: the queue is full. Any thread. */
    apr_status_t (*work_post)(ac_work_t *work, void (*fn)(void *baton), void (*done)(void *baton), void *baton);
    /* Returns a finished store operation to its caller. Any thread. */
    void (*store_done)(ac_store_op_t *op);
    void (*err_set)(ac_err_t *err, ac_kind_e kind, const char *fmt, ...);
    /* For a store that several machines share: reports a change of a run that this process runs. AC_CANCELLED: its
     * owner asked for that on another machine; AC_INTERRUPTED: another machine considered this process dead, and has
     * closed the run. Loop thread. */
    void (*run_notify)(const char *run_id, ac_kind_e what);
    /* Version 2: the credential of a container (ac_model_conf_t.auth), which the core fetches and renews. Loop thread.
     *
     * credential_get calls fn later on the loop thread, never inside. There is no wait limit: the caller sets one if
     * it needs one, and ends the wait by credential_forget with the same fn and baton. scope: for the token of an
     * identity, unless AgentChatCredential has scope=; ignored for keys, may be NULL for them.
     * credential_reject: the service refused this text, so that the next credential_get fetches another one. */
    void (*credential_get)(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
    void (*credential_forget)(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
    void (*credential_reject)(ac_credential_t *credential, const char *scope, const char *text);
    /* Version 3: the trace that a request belongs to, for its headers traceparent and tracestate. A model has it in
     * ac_model_ask_t.trace, a store in ac_store_op_t.trace. A tool gets it from trace(), inside of start(), call() and
     * compute(); NULL: none. It is valid inside the call only. trace_text writes the value of a traceparent header; "":
     * the context has not both ids, and no header is sent. Any thread. */
    const ac_trace_t *(*trace)(void);
    void (*trace_text)(const ac_trace_t *trace, char text[56]);
    /* Version 4: how far a tool's call is, for the clients of the run. baton: of start() or proceed(), whose done has
     * not been called. progress: {progress: number, total?: number, message?: text}; consumed. More than a few a second
     * are dropped. Loop thread. */
    void (*tool_progress)(void *baton, json_t *progress);
} ac_host_t;

#endif
