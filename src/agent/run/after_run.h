/* SPDX-License-Identifier: Apache-2.0 */
/* A model call after a run has ended, for the thread: it makes a title, or a summary. It holds none of the run's slots,
 * and nothing waits for it: without its result the thread stays as it is.
 *
 *  1  perhaps read more (title.c)
 *  2  reserve its tokens and its cost
 *  3  call the model
 *  4  store the result, and count the usage */
#ifndef AC_AFTER_RUN_H
#define AC_AFTER_RUN_H

#include "run_internal.h"

typedef struct ac_after_run_kind_t {
    const char *name;    /* of the result: "title", "summary" */
    const char *without; /* what holds without a result, for the log */
    enum { AC_AFTER_RUN_TITLE, AC_AFTER_RUN_SUMMARY } which;
    ac_log_id_e message; /* the log message about a call without a result */
    ac_metric_e metric;
    apr_size_t most;                                      /* bytes of the model's answer */
    void (*start)(ac_after_run_t *after);                 /* leads to ac_after_run_reserve() or ac_after_run_end() */
    json_t *(*result)(const char *answer);                /* new reference; NULL: the answer has none */
    void (*store)(ac_after_run_t *after, json_t *result); /* calls ac_after_run_store(); consumes result */
    void (*clear)(ac_after_run_t *after);                 /* frees what the kind has in it; may be NULL */
} ac_after_run_kind_t;

struct ac_after_run_t {
    const ac_after_run_kind_t *kind;
    const ac_after_run_conf_t *conf;
    ac_engine_t *engine;
    ac_agents_t *agents; /* a reference that keeps the agent, or NULL */
    const ac_agent_t *agent;
    const ac_model_t *model;
    ac_quota_t *quota; /* a reference, or NULL */
    char owner[AC_OWNER_SIZE], thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE], request_id[64];
    json_t *messages; /* of the model call */
    ac_trace_t trace; /* of the run */
    ac_reservation_t *reserved;
    ac_gate_entry_t entry;
    ac_ready_t ready;
    ac_timer_t timer;
    void *call;
    ac_span_t *span;   /* of the current attempt */
    ac_trace_t asking; /* its context */
    apr_time_t started, created_at;
    ac_buf_t text; /* of the answer */
    ac_usage_t usage;
    char answered_by[80]; /* the name that the model gives itself, or its id */
    unsigned outcome;     /* AC_AFTER_RUN_SET and others */
    int n_ops;            /* completions that will still come back */
    bool answering, ended;
    void (*left)(ac_engine_t *engine); /* called when it has gone */
    ac_after_run_t *next;
    union {
        struct {
            char *automatic; /* the title that it may replace */
            bool unsure;     /* whether `automatic` is automatic */
        } title;
        struct {
            char message_id[AC_ID_SIZE]; /* the last message that it is about */
            int64_t n_deleted;           /* messages of the thread when it was read */
        } summary;
    } of;
};

/* ---- after_run.c ---- */
/* Of a run that is about to end; copies what it needs of the run. messages: of the model call; consumed. NULL: the
 * child has too many already. */
ac_after_run_t *ac_after_run_create(const ac_run_t *run, const ac_after_run_kind_t *kind,
                                    const ac_after_run_conf_t *conf, json_t *messages);
void ac_after_run_reserve(ac_after_run_t *after); /* step 2, and those after it */
/* Ends it: stores the result, and what its call has used. result: consumed; NULL: none. */
void ac_after_run_end(ac_after_run_t *after, unsigned outcome, json_t *result);
/* Posts an operation of the thread, or with USAGE_ADD of the run. Consumes in. done takes one from n_ops, and
 * then lets go on what waits for it, or calls ac_after_run_leave(). */
void ac_after_run_store(ac_after_run_t *after, ac_store_verb_e verb, json_t *in, void (*done)(ac_store_op_t *op));
void ac_after_run_on_stored(ac_store_op_t *op); /* a `done` that notes the outcome */
void ac_after_run_leave(ac_after_run_t *after); /* frees it later, if it has ended and no operation is left */
/* Why there is no result: err, or else these words. One line a minute in each child. */
void ac_after_run_log(ac_after_run_t *after, const char *why, const ac_err_t *err);

/* ---- after_run_call.c ---- */
int64_t ac_after_run_call_estimate(const ac_after_run_t *after); /* tokens of the messages */
void ac_after_run_call_begin(ac_after_run_t *after);             /* leads to ac_after_run_end(), perhaps at once */
/* Ends the model call, if there is one, and the whole with it. */
void ac_after_run_call_stop(ac_after_run_t *after, unsigned outcome, const ac_err_t *err);
json_t *ac_after_run_call_message(const char *role, const char *content); /* new reference */

#endif
