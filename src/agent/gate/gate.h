/* SPDX-License-Identifier: Apache-2.0 */
/* The gate of a model: its circuit breaker (breaker.c), its slots and the queue for them (gate.c, run_queue.c). Each
 * child has its own gates. Leaves this folder for the rest of the layer; nothing here knows a run. Everything is the
 * loop thread's. */
#ifndef AC_GATE_H
#define AC_GATE_H

#include "agent/agent.h"

/* ---- breaker.c: whether a model is called at all; `now` is ac_clock() time ---- */
#define AC_BREAKER_PARTS 10 /* of the window, which slides by one of them */

typedef enum ac_breaker_state_e {
    AC_BREAKER_OFF,
    AC_BREAKER_CLOSED,
    AC_BREAKER_OPEN,
    AC_BREAKER_HALF_OPEN
} ac_breaker_state_e;

typedef enum ac_breaker_result_e {
    AC_BREAKER_RESULT_OK, /* an answer, or a refusal that the request itself has caused */
    AC_BREAKER_RESULT_FAILED,
    AC_BREAKER_RESULT_UNKNOWN /* we ended the call before the model answered */
} ac_breaker_result_e;

typedef struct ac_breaker_t {
    const ac_breaker_conf_t *conf;
    const char *name;         /* the model's id, for the log */
    unsigned metric;          /* the model's index in metrics */
    ac_breaker_state_e state; /* OPEN becomes HALF_OPEN when a probe begins */
    unsigned epoch;           /* changes with the state; a call counts only in the epoch in which it began */
    int64_t part;             /* the newest part of the window, numbered from the beginning of the clock */
    struct {
        int calls, failures;
    } parts[AC_BREAKER_PARTS];
    int n_opened;       /* times in succession */
    apr_time_t opened;  /* the first of these times */
    apr_time_t reopens; /* when a probe may begin */
    apr_time_t closed;  /* the last time */
} ac_breaker_t;

typedef struct ac_breaker_ticket_t { /* of one call, from its beginning to its end */
    unsigned epoch;
    bool probe;
} ac_breaker_ticket_t;

/* The answer has begun. This closes the breaker if the call is the probe. Allowed more than once. */
void ac_breaker_answered(ac_breaker_t *breaker, ac_breaker_ticket_t *ticket, apr_time_t now);
void ac_breaker_end(ac_breaker_t *breaker, const ac_breaker_ticket_t *ticket, ac_breaker_result_e result,
                    apr_time_t now);
/* The result of an ended call; err is the provider's, with kind AC_OK for an answer. */
ac_breaker_result_e ac_breaker_result(const ac_err_t *err);

/* ---- run_queue.c: slots, and a queue for them: in order for each owner, the owners in turn ---- */
typedef struct ac_queue_share_t ac_queue_share_t; /* one owner's slots and entries */
typedef struct ac_queue_entry_t ac_queue_entry_t;
struct ac_queue_entry_t { /* of a run, in one queue; embedded */
    const char *owner;    /* borrowed from the run */
    void *baton;
    ac_queue_share_t *share; /* NULL: neither in the queue nor with a slot */
    bool is_queued, has_slot;
    ac_queue_entry_t *next, *prev; /* queued, of the same owner */
};
typedef struct ac_run_queue_t {
    apr_hash_t *shares;     /* owner → ac_queue_share_t, for each owner with an entry */
    ac_queue_share_t *turn; /* a ring of the owners with queued entries: the next one */
    int n_slots, n_queued;  /* slots in use; queued entries */
    int max_per_owner;      /* slots of one owner; 0: no limit */
} ac_run_queue_t;

void ac_run_queue_init(ac_run_queue_t *queue, apr_pool_t *pool);
/* Whether the entry's owner has fewer slots than one owner may have. */
bool ac_run_queue_has_room(const ac_run_queue_t *queue, const ac_queue_entry_t *entry);
void ac_run_queue_push(ac_run_queue_t *queue, ac_queue_entry_t *entry); /* behind the entries of the same owner */
/* Gives the entry a slot, whether one is free or not; it leaves the queue. */
void ac_run_queue_acquire(ac_run_queue_t *queue, ac_queue_entry_t *entry);
void ac_run_queue_leave(ac_run_queue_t *queue, ac_queue_entry_t *entry); /* slot and queue; neither is allowed */
/* The entry that gets the next slot, of the owner whose turn it is; it stays queued. NULL: none may have one. */
ac_queue_entry_t *ac_run_queue_next(const ac_run_queue_t *queue);
/* For a full queue: the newest entry of the owner with the most entries, if this entry's owner would have no more
 * than that owner afterwards. NULL: this entry is the one to reject. */
ac_queue_entry_t *ac_run_queue_displaced(const ac_run_queue_t *queue, const ac_queue_entry_t *entry);

/* ---- gate.c ---- */
typedef struct ac_gates_t { /* all gates of a child */
    ac_loop_t *loop;
    const ac_registry_t *registry;
    apr_pool_t *pool;
    apr_hash_t *table; /* model id → ac_gate_t */
} ac_gates_t;

typedef struct ac_gate_t {
    ac_loop_t *loop;
    const ac_model_t *model;
    const ac_gate_conf_t *conf;
    ac_breaker_t breaker;
    ac_run_queue_t queue;
    apr_interval_time_t hold;       /* how long a run keeps its slot, as a moving average */
    struct ac_gate_entry_t *spares; /* entries that make way */
} ac_gate_t;

typedef struct ac_gate_entry_t ac_gate_entry_t;
struct ac_gate_entry_t {        /* of a run; embedded */
    ac_gate_t *gate;            /* NULL: none chosen yet */
    ac_queue_entry_t slot;      /* its baton is the ac_gate_entry_t */
    apr_time_t since;           /* when it got the slot */
    ac_breaker_ticket_t ticket; /* of the current call */
    ac_timer_t timer;           /* while it is queued */
    /* After QUEUED, one of these is called: the entry has a slot, or has left the queue without one. */
    void (*on_admitted)(void *baton);
    void (*on_rejected)(void *baton, const ac_err_t *err);
    void *baton;
    ac_gate_entry_t *next_spare;
};

typedef enum ac_gate_e {
    AC_GATE_ADMITTED, /* the entry has a slot: call the model */
    AC_GATE_QUEUED,
    AC_GATE_REJECTED /* err says why */
} ac_gate_e;

void ac_gate_init(ac_gates_t *gates, ac_loop_t *loop, const ac_registry_t *registry, apr_pool_t *pool);
ac_gate_t *ac_gate_get(ac_gates_t *gates, const ac_model_t *model); /* makes it at the first call */
/* owner: whose slots it counts among; borrowed. */
void ac_gate_entry_init(ac_gate_entry_t *entry, const char *owner, void *baton);
/* Asks for a slot of entry->gate. A run that has begun to answer is not rejected for a full gate: it gets a slot in
 * any case, and calls a model with an open breaker if there is no fallback. errors: overloaded, model_error; with
 * retry_after. */
ac_gate_e ac_gate_enter(ac_gate_entry_t *entry, bool begun, ac_err_t *err);
/* The same for a call that can be left out. It gets a slot that is free, or is rejected. If a run needs its slot before
 * it leaves, on_rejected is called, and leaves the gate. */
ac_gate_e ac_gate_enter_spare(ac_gate_entry_t *entry, ac_err_t *err);
/* Leaves the queue, or gives the slot to the next entry; neither is allowed. */
void ac_gate_leave(ac_gate_entry_t *entry);
void ac_gate_state(const ac_gate_t *gate, ac_gate_state_t *state);

#endif
