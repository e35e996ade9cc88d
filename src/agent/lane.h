/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a model: its circuit breaker (breaker.c), its slots and the line before them (lane.c). Each child has its own.
 * Inside of this floor only; everything here is the loop thread's. */
#ifndef AC_LANE_H
#define AC_LANE_H

#include "agent.h"

/* ---- breaker.c: whether a model is asked at all. Knows no run; `now` is ac_clock time ---- */
#define AC_BREAKER_PARTS 10                     /* of the window; it slides by one of them */

typedef enum ac_breaker_state_e {
    AC_BREAKER_OFF, AC_BREAKER_CLOSED, AC_BREAKER_OPEN, AC_BREAKER_HALF_OPEN
} ac_breaker_state_e;

typedef enum ac_outcome_e {
    AC_OUTCOME_WELL,                            /* it answered, or refused for a reason that lies in the request */
    AC_OUTCOME_FAILED,
    AC_OUTCOME_UNTOLD                           /* ended by us before it could say anything */
} ac_outcome_e;

typedef struct ac_breaker_t {
    const ac_breaker_conf_t *conf;
    const char *name;                           /* the model's id, for the log */
    ac_breaker_state_e state;                   /* OPEN becomes HALF_OPEN when a probe begins */
    unsigned epoch;                             /* of the state: what began in another one does not count */
    int64_t part;                               /* the newest part of the window, numbered since the clock's beginning */
    struct { int calls, failures; } parts[AC_BREAKER_PARTS];
    int n_opened;                               /* in a row */
    apr_time_t opened, reopens, closed;         /* first of the row; when a probe may go; last time */
} ac_breaker_t;

typedef struct ac_ticket_t {                    /* a call's, from its beginning to its end */
    unsigned epoch;
    bool probe;
} ac_ticket_t;

void ac_breaker_init(ac_breaker_t *breaker, const ac_breaker_conf_t *conf, const char *name);
/* What is shown: an open one whose time is over is HALF_OPEN. *pwait: how long until it lets somebody through; may be NULL. */
ac_breaker_state_e ac_breaker_look(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* Whether a call may begin now. */
bool ac_breaker_allows(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* A call begins, allowed or not. The first after the open time is the probe: no other is allowed until it has been told. */
ac_ticket_t ac_breaker_begin(ac_breaker_t *breaker, apr_time_t now);
/* The call's answer has begun, which is all that a probe has to show. Twice is fine. */
void ac_breaker_answers(ac_breaker_t *breaker, ac_ticket_t *ticket, apr_time_t now);
void ac_breaker_end(ac_breaker_t *breaker, const ac_ticket_t *ticket, ac_outcome_e outcome, apr_time_t now);
/* What an ended call means here; err as its provider gave it, kind AC_OK for an answer. */
ac_outcome_e ac_breaker_outcome(const ac_err_t *err);

/* ---- lane.c ---- */
typedef struct ac_lane_t {
    ac_loop_t *loop;
    const ac_model_t *model;
    const ac_lane_conf_t *conf;
    ac_breaker_t breaker;
    ac_run_t *first, *last;                     /* in line */
    int n_runs, n_queued;                       /* slots taken; in line */
    apr_interval_time_t hold;                   /* how long a run keeps its slot, on a sliding average */
} ac_lane_t;

typedef enum ac_way_e {
    AC_WAY_FREE,                                /* the run has a slot: ask */
    AC_WAY_LINE,                                /* ac_run_seek() or ac_run_waited() will be called */
    AC_WAY_SHUT                                 /* err says why */
} ac_way_e;

ac_lane_t *ac_lane_of(ac_engine_t *engine, const ac_model_t *model);    /* made where it is wanted for the first time */
/* For run->lane. A run that has begun to answer is not turned away: it takes a slot though there is none, and asks a model whose
 * breaker is open if there is no other one. err: overloaded, model_error; with retry_after. */
ac_way_e ac_lane_enter(ac_run_t *run, bool begun, ac_err_t *err);
/* Gives the slot to the next in line, or leaves the line; fine where the run has neither. */
void ac_lane_leave(ac_run_t *run);

#endif
