/* SPDX-License-Identifier: Apache-2.0 */
/* The way to a model: its circuit breaker (breaker.c), its slots and the queue for them (gate.c, run_queue.c). Each child has its own.
 * Inside of this floor only; everything here is the loop thread's. */
#ifndef AC_GATE_H
#define AC_GATE_H

#include "agent/agent.h"

/* ---- breaker.c: whether a model is asked at all. Knows no run; `now` is ac_clock time ---- */
#define AC_BREAKER_PARTS 10 /* of the window; it slides by one of them */

typedef enum ac_breaker_state_e {
    AC_BREAKER_OFF,
    AC_BREAKER_CLOSED,
    AC_BREAKER_OPEN,
    AC_BREAKER_HALF_OPEN
} ac_breaker_state_e;

typedef enum ac_breaker_result_e {
    AC_BREAKER_RESULT_OK, /* it answered, or refused for a reason that lies in the request */
    AC_BREAKER_RESULT_FAILED,
    AC_BREAKER_RESULT_UNKNOWN /* ended by us before it could say anything */
} ac_breaker_result_e;

typedef struct ac_breaker_t {
    const ac_breaker_conf_t *conf;
    const char *name;         /* the model's id, for the log */
    ac_breaker_state_e state; /* OPEN becomes HALF_OPEN when a probe begins */
    unsigned epoch;           /* of the state: what began in another one does not count */
    int64_t part;             /* the newest part of the window, numbered since the clock's beginning */
    struct {
        int calls, failures;
    } parts[AC_BREAKER_PARTS];
    int n_opened;                       /* in a row */
    apr_time_t opened, reopens, closed; /* first of the row; when a probe may go; last time */
} ac_breaker_t;

typedef struct ac_breaker_ticket_t { /* a call's, from its beginning to its end */
    unsigned epoch;
    bool probe;
} ac_breaker_ticket_t;

void ac_breaker_init(ac_breaker_t *breaker, const ac_breaker_conf_t *conf, const char *name);
/* What is shown: an open one whose time is over is HALF_OPEN. *pwait: how long until it lets somebody through; may be NULL. */
ac_breaker_state_e ac_breaker_state(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* Whether a call may begin now. */
bool ac_breaker_allows(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* A call begins, allowed or not. The first after the open time is the probe: no other is allowed until it has been told. */
ac_breaker_ticket_t ac_breaker_begin(ac_breaker_t *breaker, apr_time_t now);
/* The call's answer has begun, which is all that a probe has to show. Twice is fine. */
void ac_breaker_answered(ac_breaker_t *breaker, ac_breaker_ticket_t *ticket, apr_time_t now);
void ac_breaker_end(ac_breaker_t *breaker, const ac_breaker_ticket_t *ticket, ac_breaker_result_e outcome,
                    apr_time_t now);
/* What an ended call means here; err as its provider gave it, kind AC_OK for an answer. */
ac_breaker_result_e ac_breaker_result(const ac_err_t *err);

/* ---- run_queue.c: slots, and the runs that wait for one: in order for each owner, and owners in turn ---- */
typedef struct ac_queue_owner_t ac_queue_owner_t; /* what one owner has of a queue */
typedef struct ac_queue_entry_t ac_queue_entry_t;
struct ac_queue_entry_t { /* a run's, in one queue; zero before use */
    ac_run_t *run;
    ac_queue_owner_t *share;       /* NULL: neither of the two */
    bool waits, holds;             /* in the queue; has a slot */
    ac_queue_entry_t *next, *prev; /* of the same owner's that wait */
};
typedef struct ac_run_queue_t {
    apr_hash_t *shares;     /* owner → ac_queue_owner_t, where any of his runs waits or has a slot */
    ac_queue_owner_t *turn; /* a ring of the owners who wait: the next one */
    int n_slots, n_waiting; /* slots taken; runs in the queue */
    int most;               /* slots of one owner; 0: all of them */
} ac_run_queue_t;

void ac_run_queue_init(ac_run_queue_t *queue, apr_pool_t *pool);
/* Whether this run's owner has fewer slots than one owner may have. */
bool ac_run_queue_has_room(const ac_run_queue_t *queue, const ac_run_t *run);
void ac_run_queue_push(ac_run_queue_t *queue, ac_queue_entry_t *place,
                       ac_run_t *run); /* behind the runs of the same owner */
void ac_run_queue_acquire(ac_run_queue_t *queue, ac_queue_entry_t *place,
                          ac_run_t *run); /* a slot, though there may be none; leaves the queue */
void ac_run_queue_leave(ac_run_queue_t *queue, ac_queue_entry_t *place); /* slot and queue; fine where it has neither */
/* The run that gets the next slot, of the owner whose turn it is; it still waits. NULL: none may have one. */
ac_run_t *ac_run_queue_next(const ac_run_queue_t *queue);
/* A full queue: the newest run of the owner who has most of it, where this run's owner would still have no more than that one. NULL: this
 * run is the one to be turned away. */
ac_run_t *ac_run_queue_displaced(const ac_run_queue_t *queue, const ac_run_t *run);

/* ---- gate.c ---- */
typedef struct ac_gate_t {
    ac_loop_t *loop;
    const ac_model_t *model;
    const ac_gate_conf_t *conf;
    ac_breaker_t breaker;
    ac_run_queue_t queue;
    apr_interval_time_t hold; /* how long a run keeps its slot, on a sliding average */
} ac_gate_t;

typedef enum ac_gate_e {
    AC_GATE_ADMITTED, /* the run has a slot: ask */
    AC_GATE_QUEUED,   /* ac_run_ask_try() or ac_run_ask_rejected() will be called */
    AC_GATE_REJECTED  /* err says why */
} ac_gate_e;

ac_gate_t *ac_gate_get(ac_engine_t *engine, const ac_model_t *model); /* made where it is wanted for the first time */
/* For run->gate. A run that has begun to answer is not turned away: it takes a slot though there is none, and asks a model whose
 * breaker is open if there is no other one. err: overloaded, model_error; with retry_after. */
ac_gate_e ac_gate_enter(ac_run_t *run, bool begun, ac_err_t *err);
/* Gives the slot to the next in line, or leaves the line; fine where the run has neither. */
void ac_gate_leave(ac_run_t *run);

#endif
