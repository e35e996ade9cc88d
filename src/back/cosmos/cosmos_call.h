/* SPDX-License-Identifier: Apache-2.0 */
/* One request to Cosmos DB: cosmos_call.c decides on each attempt's outcome, cosmos_send.c sends one attempt. */
#ifndef AC_COSMOS_CALL_H
#define AC_COSMOS_CALL_H

#include "cosmos_task.h"

/* The result of a request, for the next step. */
typedef struct ac_cosmos_reply_t {
    int status, substatus; /* 0: no answer came */
    ac_err_t err;          /* kind not AC_OK: the request failed permanently, and status has no meaning */
    json_t *body;          /* borrowed; or NULL */
    char etag[AC_COSMOS_ETAG_SIZE];
    const char *continuation; /* borrowed; or NULL */
    int failed_at;            /* batch: the operation that has this status; -1: none */
    bool unsure;              /* the service may have carried out an earlier attempt of the same request */
} ac_cosmos_reply_t;
typedef void ac_cosmos_reply_fn(void *baton, const ac_cosmos_reply_t *reply);

typedef struct ac_cosmos_request_t {
    ac_cosmos_verb_e verb;
    ac_cosmos_container_e container;
    const char *key, *id, *if_match, *continuation; /* key: of the partition; NULL for verbs that do not use it */
    int max_items;
    ac_buf_t *body; /* its memory is moved, and the buffer is empty afterwards; or NULL */
    int n_ops;      /* of a batch */
    bool early;     /* allowed before the containers are known to exist */
    bool refusable; /* 400 is an answer, and no failure */
} ac_cosmos_request_t;

/* Starts a request. fn(baton, reply) comes once, in a later turn of the loop: with a status that
 * ac_cosmos_answer_usable() accepts, or with reply->err (store_error, store_timeout, stopping). The request's texts
 * are copied. Loop thread. */
void ac_cosmos_call_start(ac_cosmos_task_t *task, const ac_cosmos_request_t *request, ac_cosmos_reply_fn *fn,
                          void *baton);
/* The same with a document as its body, which is borrowed; the baton is the task. */
void ac_cosmos_call_write(ac_cosmos_task_t *task, ac_cosmos_request_t *request, const json_t *document,
                          ac_cosmos_reply_fn *fn);
/* The same with a complete batch, which is freed. The baton is the task. */
void ac_cosmos_call_write_batch(ac_cosmos_task_t *task, ac_cosmos_request_t *request, ac_cosmos_batch_t *batch,
                                ac_cosmos_reply_fn *fn);
/* The document's ETag from the header, else from the body; "": neither has one. Lives as long as the reply. */
const char *ac_cosmos_call_etag(const ac_cosmos_reply_t *reply);
/* Fails all requests with `stopping`; from then on nothing is sent. */
void ac_cosmos_call_stop_all(ac_cosmos_t *store);

/* Ends the task if the reply is an error, or if its status is not in `statuses` (ended by 0). Returns true if the task
 * has ended. */
bool ac_cosmos_call_failed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses);
#define AC_COSMOS_EXPECT(...) ((const int[]){__VA_ARGS__, 0})

/* ---- for cosmos_call.c and cosmos_send.c ---- */

struct ac_cosmos_call_t {
    ac_cosmos_task_t *task;
    ac_cosmos_t *store;
    ac_cosmos_call_t *next, *prev; /* ring of all */
    struct {
        ac_cosmos_verb_e verb;
        ac_cosmos_container_e container;
        char *key, *id, *if_match, *continuation;
        int max_items, n_ops;
        bool early, refusable;
        ac_buf_t body;
    } request; /* a copy */
    ac_cosmos_reply_fn *fn;
    void *baton;
    apr_time_t deadline, began;
    ac_timer_t timer; /* for the next attempt, or for the deadline while it waits */
    ac_ready_t ready;
    struct {
        ac_cosmos_call_t *next;
        bool waits; /* it waits for a request slot */
    } queue;
    /* of the current attempt */
    bool in_flight;        /* it has a request slot */
    bool wants_credential; /* it waits for the credential */
    ac_http_t *http;
    char *credential;
    ac_buf_t answer;
    char *continuation;              /* x-ms-continuation */
    apr_interval_time_t retry_after; /* x-ms-retry-after-ms */
    /* of all attempts */
    bool rejected; /* the service refused one credential already */
    int n_lost, n_failed, n_pauses;
    ac_err_t last; /* why the last attempt failed */
    ac_span_t *span;
    ac_trace_t trace; /* the span's, or that of its parent; a copy */
    double charge;    /* request units */
    int n_sent;
    ac_cosmos_reply_t reply;
};

/* Builds one attempt and sends it. errors: invalid_request (the account key is not a key), internal */
apr_status_t ac_cosmos_send_request(ac_cosmos_call_t *call, const char *credential, ac_err_t *err);
/* Reads the response's body, and a batch's results. Returns false if the body is not valid; see call->last. */
bool ac_cosmos_send_read_body(ac_cosmos_call_t *call);
/* on_end of an attempt's exchange. */
void ac_cosmos_call_done(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len);

/* cosmos_trace.c: the span of a request with all its attempts */
void ac_cosmos_trace_begin(ac_cosmos_call_t *call);
void ac_cosmos_trace_end(ac_cosmos_call_t *call); /* and frees call->trace */

/* cosmos_account.c: a step that reads the account to find its write region. */
ac_cosmos_step_fn ac_cosmos_account_read;

#endif
