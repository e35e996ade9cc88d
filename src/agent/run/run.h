/* SPDX-License-Identifier: Apache-2.0 */
/* One run: its state and what the files of this folder share. engine.c and follow/ use what the first part declares.
 * Everything is the loop thread's. */
#ifndef AC_RUN_H
#define AC_RUN_H

#include "agent/engine.h"

#include <apr_strings.h>

typedef enum ac_run_state_e {
    AC_RUN_QUEUED,
    AC_RUN_LOADING,
    AC_RUN_ASKING,
    AC_RUN_CALLING,
    AC_RUN_SUSPENDING,
    AC_RUN_SAVING,
    AC_RUN_COMPLETED,
    AC_RUN_FAILED,
    AC_RUN_CANCELLED,
    AC_RUN_N_STATES
} ac_run_state_e;

/* ---- the parts of a run ---- */

typedef struct ac_call_t { /* one tool call of the round */
    ac_run_t *run;
    int index; /* in its round, as the model's provider numbers them */
    char step_id[AC_ID_SIZE];
    char *id, *name; /* the model's */
    json_t *arguments, *result;
    char *error;           /* why there is no result */
    const ac_tool_t *tool; /* NULL: the agent has no such tool */
    void *handle;          /* of an active call of an asynchronous tool */
    struct ac_job_t *job;  /* of an active call of a blocking tool */
    ac_timer_t deadline;
    apr_time_t started;    /* ac_clock() */
    apr_time_t started_at; /* shown */
    apr_interval_time_t took;
    size_t answer_len; /* bytes of the answer before the call */
    bool needs_approval;
    bool approved;
    char *refusal; /* the error for the model if the owner has refused the call; else NULL */
    bool done;
} ac_call_t;

typedef struct ac_run_times_t {
    apr_time_t created;                /* ac_clock() */
    apr_time_t created_at, started_at; /* shown */
    apr_time_t began;                  /* the loop's time from which run_timeout counts */
    apr_interval_time_t first_token;   /* from created; 0: none yet */
} ac_run_times_t;

typedef struct ac_run_load_t { /* LOADING */
    bool fresh;                /* reads the thread past a cache */
    bool is_stale;             /* two conflicts after the same message: the store's read is behind its write */
    apr_time_t wait_until;     /* for the closing write of the thread's earlier turn; 0: does not wait */
    int64_t last_seq;          /* of the thread's last message when it was read */
} ac_run_load_t;

typedef enum ac_run_open_e {
    AC_RUN_OPEN_NONE,
    AC_RUN_OPEN_PENDING,
    AC_RUN_OPEN_DONE,
    AC_RUN_OPEN_FAILED
} ac_run_open_e;

typedef struct ac_run_open_t { /* the opening write */
    bool new_thread;
    bool requested;
    ac_run_open_e state;
    json_t *document; /* the `in` of TURN_OPEN */
    int n_retries;
    bool had_conflict;     /* the thread was changed concurrently */
    int64_t refused_after; /* `after` of the last write that was refused */
} ac_run_open_t;

typedef struct ac_run_events_t {
    ac_event_t **held; /* held back until the opening write is durable */
    int n_held, held_size;
    ac_event_log_t *log;      /* from the RUN event on; NULL: none */
    ac_ready_t watcher_ready; /* notifies followers in other children */
    ac_timer_t leave_timer;   /* ends a run without followers */
} ac_run_events_t;

typedef struct ac_run_ask_t { /* the model call */
    json_t *messages;         /* the model's conversation; grows by each round's calls and results */
    ac_gate_entry_t entry;    /* at the gate of the current model */
    void *call;               /* the active call, or NULL */
    bool answering;           /* the call has begun to answer */
    ac_err_t fallback_cause;  /* why the last model failed that a fallback replaced in this round */
    bool breaker_open;     /* the run failed because its models' breakers are open, which was logged when they opened */
    apr_time_t started;    /* ac_clock() */
    apr_time_t started_at; /* shown */
    char model[80];        /* the name the model gives itself, or its id */
    ac_finish_e finish;
} ac_run_ask_t;

typedef struct ac_run_cost_t {
    ac_usage_t usage;   /* of all rounds */
    ac_usage_t paid;    /* the part of `usage` whose cost is in paid_amount */
    double paid_amount; /* of models that a fallback has replaced */
    bool unpriced;      /* one of them has no price, so the cost is not known */
} ac_run_cost_t;

typedef struct ac_run_calls_t { /* the tool calls of the round */
    ac_call_t **list;
    int n, n_open;
    int n_approvals; /* open calls that need approval */
    bool begun;      /* all were started, so the end of the last one ends the round */
} ac_run_calls_t;

typedef struct ac_run_answer_t { /* what becomes the assistant's message */
    ac_buf_t text;               /* of all rounds */
    size_t round_start;          /* where in `text` the round begins */
    json_t *tool_calls;          /* of all rounds, as the message shows them */
    ac_parts_t parts;            /* the positions of the calls in `text` */
    json_t *steps;               /* ended ones, as stored */
} ac_run_answer_t;

typedef struct ac_run_limits_t {
    ac_takes_t *started;              /* of runs=, held to the end of the run; NULL: none */
    ac_err_t refused;                 /* runs= refuses the run, unless its key leads to an earlier run */
    ac_takes_t *reserved;             /* before the model call; NULL: none */
    bool is_admitting;                /* the reservation is pending; its completion releases it if the run has ended */
    int64_t spent_tokens, spent_cost; /* as counted; cost in billionths */
} ac_run_limits_t;

typedef struct ac_run_close_t { /* SAVING: the closing write */
    bool requested;
    json_t *document; /* the `in` of TURN_CLOSE */
    int n_retries;
    bool failed;     /* for good */
    json_t *message; /* the assistant's, as stored */
} ac_run_close_t;

typedef struct ac_run_suspended_t { /* a run that was suspended, or is being suspended */
    ac_agent_t missing_agent;       /* stands for an agent that no longer exists */
    char agent_id[AC_MAX_AGENT_ID + 1];
    bool wants_cancel; /* cancelled while it was being suspended */
} ac_run_suspended_t;

struct ac_run_t {
    ac_engine_t *engine;
    ac_turn_t *turn;
    const ac_agent_t *agent; /* NULL until the thread's own agent is known */
    ac_channel_t *channel;
    ac_run_state_e state;
    ac_run_state_e outcome; /* COMPLETED, FAILED or CANCELLED, from SAVING on */
    ac_err_t err;
    char doing[48]; /* for error messages */
    int round;
    int n_ops; /* completions that will still come back to this run */
    ac_timer_t state_timer, run_timer;
    ac_ready_t ready; /* the beginning, and the end, outside of their callers */
    ac_queue_entry_t slot;
    ac_run_times_t times;
    ac_run_limits_t limits;
    ac_run_load_t load;
    ac_run_open_t open;
    ac_run_ask_t ask;
    ac_run_cost_t cost;
    ac_run_calls_t calls;
    ac_run_answer_t answer;
    ac_run_events_t events;
    ac_run_suspended_t suspended;
    ac_run_close_t close;
};

/* ---- for engine.c and follow/ ---- */

bool ac_run_is_live(const ac_run_t *run); /* before SAVING */
/* run_follower.c: a follower in this child or another one has left; ends the run after turn->leave without any. */
void ac_run_follower_left(void *run);

/* ---- run.c ---- */
/* A run in QUEUED. Consumes the turn. Aborts if out of memory. */
ac_run_t *ac_run_create(ac_engine_t *engine, ac_turn_t *turn);
/* The only writer of the state. Aborts at a transition that the table of states does not have. */
void ac_run_transit(ac_run_t *run, ac_run_state_e state, const char *cause);
void ac_run_begin(void *run);      /* QUEUED → LOADING: the run has a slot */
void ac_run_resume(ac_run_t *run); /* QUEUED → CALLING: a suspended run */
/* From any live state to SAVING with this outcome; err may be NULL. Cancels what is active. */
void ac_run_finish(ac_run_t *run, ac_run_state_e outcome, const ac_err_t *err, const char *cause);
/* Back to LOADING, as if the model had not been called: drops its answer, keeps its cost. No event was shown. */
void ac_run_restart(ac_run_t *run);
void ac_run_detach(
    ac_run_t *run);             /* the run is suspended in the store: it leaves this process without a terminal event */
void ac_run_end(ac_run_t *run); /* once: emits the terminal event and frees the run */

/* ---- run_slot.c ---- */
/* Counts and admits a run that was just created; it begins later, from the ready list. */
void ac_run_slot_request(ac_run_t *run);
void ac_run_slot_admit(ac_run_t *run);   /* runs= is counted, or refused: run->limits.refused or run->err is set */
void ac_run_slot_acquire(ac_run_t *run); /* a slot in any case, for a resumed run */
void ac_run_slot_release(ac_run_t *run); /* gives the slot to the next run */
void ac_run_slot_report_stop(ac_engine_t *engine); /* to the caller of ac_engine_stop(), if no run is left */

/* ---- run_events.c: emitting, holding back and showing events ---- */
/* Emits an event, or holds it back until the opening write is durable. Consumes data. */
void ac_run_event_emit(ac_run_t *run, ac_event_type_e type, json_t *data, const char *text, size_t len);
/* Emits an event now, and notifies followers in other children. Consumes the event. */
void ac_run_event_show(ac_run_t *run, ac_event_t *event);
/* The user's message is durable, or the turn is stateless: emits the RUN event and the held events. */
void ac_run_event_release(ac_run_t *run);
void ac_run_event_hold(ac_run_t *run, ac_event_t *event); /* consumes the event */
void ac_run_event_show_held(ac_run_t *run);
void ac_run_event_drop_held(ac_run_t *run);
void ac_run_event_show_terminal(ac_run_t *run); /* DONE or ERROR, the run's last event */

/* ---- run_log.c: the run's event log ---- */
void ac_run_log_begin(ac_run_t *run); /* before the first event is shown */
/* Decides the outcome in the log: from here on another child reads that it is too late to cancel. true: the run ends
 * as cancelled, because the caller says so, or because another child has decided so first. */
bool ac_run_log_decide(ac_run_t *run, bool cancelled);
bool ac_run_log_is_cancelled(const ac_run_t *run); /* by another child */
void ac_run_log_write_closing(ac_run_t *run);      /* before run->close.document is written to the store */
/* The closing write has failed, and is tried again from the log: followers wait at the log for the end. */
void ac_run_log_leave_pending(ac_run_t *run);
void ac_run_log_suspend(ac_run_t *run); /* followers continue at the suspended log */
/* Adopts the suspended log, or makes a new one from the state's `events` (null: no log). Writes the state's `run` to
 * it. */
void ac_run_log_resume(ac_run_t *run, const json_t *state);
/* The log's events for ac_run_log_resume(); null if the log does not have all of them. New reference. */
json_t *ac_run_log_events(ac_run_t *run);
void ac_run_log_end(ac_run_t *run); /* after the terminal event */

/* ---- run_follower.c ---- */
/* The followers continue at the tail of this run, behind event `after`. */
void ac_run_follower_move_all(ac_run_t *run, const char *run_id, uint64_t after);
/* Gives the followers to an earlier run with the same key, and ends this run without an event. */
void ac_run_follower_attach(ac_run_t *run, const char *run_id);

/* ---- run_limit.c ---- */
/* LOADING → ASKING if the limits allow it; else the run ends as rate_limited or budget_exceeded. */
void ac_run_limit_admit(ac_run_t *run, const char *cause);
void ac_run_limit_spend(ac_run_t *run); /* the usage has grown */
/* Counts a new run for runs=; ac_run_slot_admit() follows, inside the call or later. */
void ac_run_limit_count(ac_run_t *run);
void ac_run_limit_uncount(ac_run_t *run); /* at the end of the run */
void ac_run_limit_resume(ac_run_t *run);  /* counts a resumed run and its further usage; refuses nothing */
void ac_run_limit_release(ac_run_t *run); /* the run uses no more: releases the rest of the reservation */

/* ---- run_load.c ---- */
void ac_run_load_enter(ac_run_t *run);
void ac_run_load_refuse_busy(ac_err_t *err, const char *run_id); /* the thread's active run; NULL: not known */

/* ---- run_store.c ---- */
/* An operation on the run's thread, and its call. done comes on the loop, and first subtracts one from run->n_ops. */
ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb);
void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op));

/* ---- run_open.c ---- */
void ac_run_open_write(ac_run_t *run);

/* ---- run_ask.c ---- */
void ac_run_ask_init(ac_run_t *run); /* of a new run, whose slot has its owner */
void ac_run_ask_enter(ac_run_t *run);
void ac_run_ask_try(void *run); /* calls the run's model or its fallback, or fails the run */
void ac_run_ask_stop(ac_run_t *run);

/* ---- run_cost.c ---- */
/* Adds the usage of an ended call; estimates it if the model has not said it. */
void ac_run_cost_add(ac_run_t *run, const ac_model_end_t *end);
void ac_run_cost_commit(ac_run_t *run);                   /* the usage so far has the price of the current model */
json_t *ac_run_cost_json(const ac_run_t *run);            /* null if a model has no price. New reference */
int64_t ac_run_cost_estimate_prompt(const ac_run_t *run); /* tokens of the model's conversation */

/* ---- run_call.c ---- */
/* The round's call with this index; makes it at the first use, and emits TRACE_START. */
ac_call_t *ac_run_call_get(ac_run_t *run, int index, const char *id, const char *name);
void ac_run_call_enter(ac_run_t *run);
void ac_run_call_begin_all(ac_run_t *run);                    /* in CALLING, when the opening write is durable */
void ac_run_call_drop_all(ac_run_t *run);                     /* cancels active calls, frees the round's calls */
void ac_run_call_close_all(ac_run_t *run, const char *error); /* open calls end with this error, traced */

/* ---- run_approval.c ---- */
void ac_run_approval_enter(ac_run_t *run);
void ac_run_approval_cancel(ac_engine_t *engine, const char *run_id, const char *owner); /* cancels a suspended run */

/* ---- run_suspended.c: the state document of a suspended run; pure ---- */
json_t *ac_run_suspended_make(ac_run_t *run, json_t *events); /* consumes events */
/* Fills a new run; the caller finds its agent and its log. false: the document is damaged, and the run can only be
 * ended. */
bool ac_run_suspended_read(ac_run_t *run, const json_t *state);

/* ---- run_close.c ---- */
void ac_run_close_continue(ac_run_t *run); /* SAVING: takes the next step towards the end */

/* ---- run_document.c: the stored documents of a run; pure ---- */
json_t *ac_run_document_run(const ac_run_t *run); /* new reference, here and below */
json_t *ac_run_document_thread(const ac_run_t *run);
json_t *ac_run_document_user_message(const ac_run_t *run);
json_t *ac_run_document_answer(const ac_run_t *run); /* NULL: there is no text and no call to store */
json_t *ac_run_document_step(const ac_run_t *run, const ac_call_t *call); /* ended or not */
void ac_run_document_add_model_step(ac_run_t *run, const ac_model_end_t *end);
/* The name the model gives itself, else its id; "": the run has ended before its agent was known. */
const char *ac_run_document_model(const ac_run_t *run);
/* Why the answer ended, in the words of chat completions and a few of ours. */
const char *ac_run_document_finish_reason(const ac_run_t *run);

/* ---- quota.c ---- */
/* Publishes the fields of the reservations: when the run began, and before its model call; each may be NULL. Counts
 * once. */
void ac_quota_publish(ac_quota_t *quota, const ac_takes_t *started, const ac_takes_t *reserved);

/* ---- history.c: the model's conversation ---- */
/* The messages of a model call: the instructions as the system message, then whole turns of `stored` (oldest first,
 * as the API shows them), then the user's new message. Takes the newest turns that fit both budgets; the newest turn
 * is kept even if it does not fit. NULL: out of memory. New reference. */
json_t *ac_history_messages(const ac_agent_t *agent, const json_t *stored, const char *content);
int64_t ac_history_estimate(const char *text); /* tokens, at 4 bytes each */
/* The `tool` message of a call. AC_TOOL_COMPUTES: the result as JSON text, a string as it is. Else {"origin": tool,
 * "note": …, "result": …}, since the result may contain other people's text. With an error: {"error": …}. New
 * reference. */
json_t *ac_history_tool_message(const ac_agent_t *agent, const char *call_id, const char *tool, const json_t *result,
                                const char *error);

#endif
