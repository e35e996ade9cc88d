/* SPDX-License-Identifier: Apache-2.0 */
/* What title.c and title_call.c share: a title that a model makes. */
#ifndef AC_TITLE_H
#define AC_TITLE_H

#include "run_internal.h"

struct ac_title_t {
    ac_engine_t *engine;
    ac_agents_t *agents; /* a reference that keeps the agent, or NULL */
    const ac_agent_t *agent;
    const ac_model_t *model;
    ac_quota_t *quota; /* a reference, or NULL */
    char owner[AC_OWNER_SIZE], thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE], request_id[64];
    char *automatic;  /* the title that it may replace */
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
    unsigned outcome;     /* AC_TITLE_SET and others */
    int n_ops;            /* completions that will still come back */
    bool unsure;          /* whether `automatic` is automatic */
    bool answering, ended;
    void (*left)(ac_engine_t *engine); /* called when it has gone */
    ac_title_t *next;
};

/* ---- title_call.c ---- */
/* The messages of the model call. New reference. */
json_t *ac_title_call_messages(const ac_run_t *run);
int64_t ac_title_call_estimate(const ac_title_t *title); /* tokens of these messages */
void ac_title_call_begin(ac_title_t *title);             /* leads to ac_title_end(), perhaps at once */
/* Ends the call, if there is one, and the title with it. */
void ac_title_call_stop(ac_title_t *title, unsigned outcome, const ac_err_t *err);

/* ---- title.c ---- */
/* Ends the title: stores it, and what its call has used. text: consumed; NULL: no title was made. */
void ac_title_end(ac_title_t *title, unsigned outcome, json_t *text);
/* Why no title was made: err, or else these words. One line a minute in each child. */
void ac_title_log(ac_title_t *title, const char *why, const ac_err_t *err);

#endif
