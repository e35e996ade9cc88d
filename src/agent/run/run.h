/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a run share: engine.c, run.c, run_*.c, gate.c, and those that follow and close runs: event_sweep.c, event_rest.c,
 * recover.c, recover_turn.c, tail.c. Nobody else includes this. Everything here is the loop thread's. */
#ifndef AC_RUN_H
#define AC_RUN_H

#include "agent/gate/gate.h"
#include "agent/events/event_log.h"

#include <apr_strings.h>

typedef struct ac_call_t ac_call_t;
struct ac_call_t { /* one tool call of the round */
    ac_run_t *run;
    int index; /* in its round, as the model's provider numbers them */
    char step_id[AC_ID_SIZE];
    char *id, *name; /* the model's */
    json_t *arguments, *result;
    char *error;           /* why there is no result */
    const ac_tool_t *tool; /* NULL: the agent has no such tool */
    void *handle;          /* of an asynchronous tool under way */
    struct ac_job_t *job;  /* of a blocking tool under way */
    ac_timer_t deadline;
    apr_time_t started;    /* ac_clock */
    apr_time_t started_at; /* shown */
    apr_interval_time_t took;
    size_t at;   /* bytes of the answer that were there before it */
    bool traced; /* TRACE_START was sent */
    bool waits;  /* for the owner's word */
    bool approved;
    char *refusal; /* what the model is told instead; NULL: none */
    bool done;
};

typedef enum ac_run_open_e {
    AC_RUN_OPEN_NONE,
    AC_RUN_OPEN_PENDING,
    AC_RUN_OPEN_DONE,
    AC_RUN_OPEN_FAILED
} ac_run_open_e;

struct ac_run_t {
    ac_engine_t *engine;
    ac_turn_t *turn;
    const ac_agent_t *agent; /* NULL until the thread's own is known */
    ac_agent_t lost;         /* in its place, where it went while the run waited for its owner's word */
    char lost_id[AC_MAX_AGENT_ID + 1];
    ac_channel_t *channel;
    ac_run_state_e state;
    ac_run_state_e outcome; /* COMPLETED, FAILED or CANCELLED, once SAVING was entered */
    char doing[48];
    ac_timer_t state_timer, run_timer;
    ac_ready_t ready;       /* begin, and the end, outside of whoever caused them */
    ac_queue_entry_t place; /* among the runs of this child */
    ac_takes_t *counted;    /* of runs=, held until nothing of the run is left; NULL: nothing */
    ac_err_t over;          /* runs= refuses it, unless its key is of a run that is there */

    bool new_thread;
    bool opened;           /* the opening write was asked for */
    ac_run_open_e durable; /* the user's message and the run in the store */
    int n_ops;             /* store operations that will come back to this run */
    bool closed;           /* the closing writes were asked for */
    json_t *opening;       /* what was to be written, and is tried again where nobody knows whether it was */
    int n_openings;
    json_t *closing;   /* what they are, until they have succeeded */
    int n_closings;    /* how often they were tried again */
    ac_event_t **held; /* events that must not be seen before that */
    int n_held, held_size;

    json_t *messages;            /* the model's conversation, growing by a round's calls and results */
    ac_gate_t *gate;             /* of the model that is asked; NULL: none yet */
    ac_queue_entry_t lane_place; /* among the runs that use that model */
    apr_time_t lane_since;
    ac_breaker_ticket_t ticket; /* of the call under way */
    void *asking;               /* the model's call under way */
    bool answering;             /* something has come of it */
    ac_err_t trouble;           /* why the last call of this round failed that another model stood in for */
    bool left_alone;            /* the run failed since its models are left alone; that was logged when it began */
    ac_usage_t paid;            /* what of `usage` was of models that failed, */
    double paid_amount;         /* and what that cost */
    bool unpriced;              /* nobody knows: one of them has no price */
    int round;
    ac_buf_t answer;    /* all text of the run */
    size_t round_start; /* where in `answer` this round's text begins */
    char model[80];
    ac_finish_e finish;
    ac_usage_t usage;                 /* of all rounds */
    ac_takes_t *takes;                /* what it reserved of its limits; NULL: nothing */
    bool is_admitting;                /* the reservation is under way; its completion releases it if the run ended */
    int64_t spent_tokens, spent_cost; /* as told to the counters; cost in billionths */
    apr_time_t asked, asked_at;

    ac_call_t **calls;                          /* of this round */
    int n_calls, n_open_calls, n_waiting_calls; /* those that wait are open, too */
    bool calls_begun;                           /* CALLING: all were started, so the last one to end may move on */
    json_t *tool_calls;                         /* of all rounds, as the message shows them */
    ac_parts_t parts;                           /* their places in `answer` */
    json_t *steps;                              /* finished ones, as stored */

    ac_event_log_t *log; /* from the RUN event on; NULL: there is none */
    ac_ready_t tell_ready;
    ac_timer_t leave_timer; /* nobody follows: when the run ends for that */
    bool fresh;             /* the thread is read past a cache */
    apr_time_t waits_until; /* for an earlier turn of the thread to be closed; 0: it does not wait */
    bool overtaken;         /* the opening write was refused because the thread has newer messages */
    bool read_is_stale;     /* twice in a row after the same message: the store's read is behind its write */
    int64_t refused_after;  /* `after` of the opening write that was refused last */
    int64_t seen;           /* the seq of the thread's last message when it was read */
    bool unstored;          /* the closing writes failed for good */
    bool wants_cancel;      /* while it was put aside */

    json_t *message; /* the assistant's, as stored */
    ac_err_t err;
    apr_time_t created, created_at, started_at; /* ac_clock; shown */
    apr_time_t begun;                           /* the loop's time from which run_timeout counts */
    apr_interval_time_t ttft;                   /* 0: nothing came */
};

struct ac_engine_t {
    ac_loop_t *loop;
    ac_work_t *work;
    const ac_store_t *store;
    const ac_registry_t *registry;
    ac_engine_conf_t conf;
    apr_pool_t *pool;
    apr_hash_t *runs;     /* run id → ac_run_t */
    apr_hash_t *gates;    /* model id → ac_gate_t */
    ac_run_queue_t queue; /* for a slot of this child */
    volatile apr_uint32_t n_active;
    bool stopping;
    void (*stopped)(void *baton);
    void *stopped_baton;
    ac_ready_t stop_ready;

    ac_counters_t *counters;          /* NULL: nothing is limited */
    ac_event_dir_t *dir;              /* NULL: no event logs */
    apr_hash_t *tails;                /* run id → the first ac_tail_t */
    struct ac_recovery_t *recoveries; /* those under way first */
    int n_recovering;
    int n_recover_failures; /* tries since the store made a write */
    ac_timer_t recover_timer;
    struct ac_ended_log_t *first_kept, *last_kept; /* logs of ended runs, by the time when they go */
    ac_timer_t kept_timer, sweep_timer;
    bool is_trimming;                                  /* a work thread removes ended logs */
    struct ac_suspended_log_t *first_rest, *last_rest; /* logs of this child that rest, and some that did */
    ac_timer_t rest_timer;
    ac_watch_t watch;
    bool listens;          /* to other children, as soon as there is a socket */
    ac_catalog_t *catalog; /* NULL: the registry has all agents */
    ac_timer_t wait_timer;
};

/* engine.c */
void ac_run_slot_acquire(ac_run_t *run); /* takes a slot in any case */
void ac_run_slot_admit(ac_run_t *run);   /* runs= is counted, or refused: run->over or run->err is set */
void ac_run_slot_release(ac_run_t *run); /* gives the slot to the next in line */

/* run.c */
ac_run_t *ac_run_create(ac_engine_t *engine, ac_turn_t *turn);
void ac_run_transit(ac_run_t *run, ac_run_state_e state, const char *cause);
void ac_run_begin(void *baton); /* QUEUED → LOADING: the run has a slot */
/* From any live state to SAVING, with this outcome; err may be NULL. What is under way is cancelled. */
void ac_run_finish(ac_run_t *run, ac_run_state_e outcome, const ac_err_t *err, const char *cause);
/* Back to LOADING, as if the model had not been asked: what came of it is dropped, what it cost is kept. Nothing was shown. */
void ac_run_restart(ac_run_t *run);
bool ac_run_is_live(const ac_run_t *run);
void ac_run_event_emit(ac_run_t *run, ac_event_type_e type, json_t *data, const char *text, size_t len);
/* The user's message is durable (or nothing is stored): shows the RUN event and what was held back. */
void ac_run_event_release(ac_run_t *run);
void ac_run_resume(ac_run_t *run); /* QUEUED → CALLING: of a run that has waited for its owner's word */
void ac_run_detach(ac_run_t *run); /* the store has it: gone from here, without an end */
void ac_run_end(ac_run_t *run);    /* reached once: the terminal event, and nothing is left */

/* run_log.c */
void ac_run_log_begin(ac_run_t *run); /* before the first event is shown */
/* Its outcome is known: other children read in the log that it is too late to cancel it. true: it ends as cancelled, since the caller says
 * so or another child was faster to. */
bool ac_run_log_decide(ac_run_t *run, bool cancelled);
bool ac_run_log_is_cancelled(const ac_run_t *run); /* by another child */
void ac_run_log_write_closing(ac_run_t *run);      /* before run->closing is written */
/* Emits an event that is due now, and tells who follows elsewhere. Takes it. */
void ac_run_event_show(ac_run_t *run, ac_event_t *event);
/* The closing writes failed, and go on being tried from the log: who follows waits there for the end that the run will have. */
void ac_run_log_leave_pending(ac_run_t *run);
void ac_run_log_suspend(ac_run_t *run); /* who follows goes on at the log, which rests */
/* The log of a run that goes on, or one made anew from the state's `events` (null: none); it gets `run`, what is stored of it. */
void ac_run_log_resume(ac_run_t *run, const json_t *state);
json_t *ac_run_log_events(ac_run_t *run); /* what the log has, for ac_run_log_resume(); null where that is not all */
void ac_run_log_end(ac_run_t *run);       /* after the terminal event */
void ac_run_follower_left(void *run);     /* somebody has ceased to follow */
/* The run gives its followers over to another one, and ends without a word. */
void ac_run_follower_attach(ac_run_t *run, const char *run_id);

/* tail.c */
void ac_tail_wake(ac_engine_t *engine, const char *run_id);

/* recover.c: a run of this child that could not be closed yet is closed later. Takes the log, which is owned. */
void ac_recover_log(ac_engine_t *engine, ac_event_log_t *log);
/* Takes the log of a dead child over and does what has to be done. */
void ac_recover_adopt(ac_engine_t *engine, ac_child_key_t from, const char *run_id);
/* The store has made a write: what waits for it is tried now. */
void ac_recover_retry_all(ac_engine_t *engine);
void ac_recover_retry_run(ac_engine_t *engine, const char *run_id); /* somebody waits for this one */
typedef enum ac_recover_e {
    AC_RECOVER_NONE,     /* the run has ended, or is under way here */
    AC_RECOVER_HERE,     /* its process died, or its closing write failed: this child closes it */
    AC_RECOVER_ELSEWHERE /* another child has it, alive or to be closed; or that cannot be told now */
} ac_recover_e;
/* Whether this run still has to be closed, which is tried at once. HERE: fn(baton) is called once, after the next try, never inside;
 * fn may be NULL. */
ac_recover_e ac_recover_find(ac_engine_t *engine, const char *run_id, ac_task_fn *fn, void *baton);
void ac_recover_drop_all(ac_engine_t *engine);
/* event_sweep.c */
void ac_engine_unwatch(ac_engine_t *engine);              /* the loop has ended, or is about to */
apr_status_t ac_engine_recreate_dir(ac_engine_t *engine); /* this child's place among the logs is missing: makes it */
/* Keeps an ended log for its time; takes it. */
void ac_ended_log_keep(ac_engine_t *engine, ac_event_log_t *log);
/* event_rest.c */
void ac_suspended_log_track(ac_engine_t *engine,
                            const char *run_id); /* this run's log rests here: looked after until it ends */
void ac_suspended_log_drop_all(ac_engine_t *engine);

/* recover_turn.c: from stored documents and logged events to others; pure */
typedef struct ac_recover_turn_t { /* what a log says of a run */
    ac_buf_t text;
    json_t *tool_calls, *steps; /* arrays, or NULL */
    ac_parts_t parts;           /* the places of the calls in `text` */
    json_t *closing;            /* or NULL */
    uint64_t seq;
    bool ended; /* the terminal event is there */
} ac_recover_turn_t;
void ac_recover_turn_read(ac_recover_turn_t *logged, ac_event_log_t *log);
void ac_recover_turn_free(ac_recover_turn_t *logged);
/* Makes of a closing that the store refuses, since the thread has gone on, one that stores what had been said as `interrupted`. false: it
 * is that already, or nothing had been said. */
bool ac_recover_turn_interrupt(ac_recover_turn_t *logged);
/* The `in` of a TURN_CLOSE for a run that was interrupted, or cancelled before; run is its stored document. New reference. */
json_t *ac_recover_turn_closing(ac_recover_turn_t *logged, const json_t *run, bool cancelled);
/* The terminal event that a stored run has; message may be NULL. */
ac_event_t *ac_stored_event_terminal(const json_t *run, json_t *message);
apr_time_t ac_stored_event_time(const json_t *object, const char *name); /* 0: none */

/* run_ask.c */
void ac_run_ask_enter(ac_run_t *run);
void ac_run_ask_try(void *run); /* asks the run's model, or the one that stands in for it, or fails */
void ac_run_ask_rejected(ac_run_t *run, const ac_err_t *err); /* in vain: the line did not move in time */
void ac_run_cost_commit(ac_run_t *run);        /* what was used so far has the price of the model that is asked now */
json_t *ac_run_cost_json(const ac_run_t *run); /* null where a model has no price. New reference */
void ac_run_ask_stop(ac_run_t *run);

int64_t ac_run_cost_estimate_prompt(const ac_run_t *run); /* tokens of what the model is shown, about */

/* run_limit.c */
/* LOADING → ASKING where its limits let it, else it ends as rate_limited or budget_exceeded. */
void ac_run_limit_admit(ac_run_t *run, const char *cause);
void ac_run_limit_spend(ac_run_t *run); /* its usage has grown */
/* Counts a run that begins for runs=; ac_run_slot_admit() comes at once or later. */
void ac_run_limit_count(ac_run_t *run);
void ac_run_limit_uncount(ac_run_t *run); /* nothing of it is left */
/* The same limits for a run that goes on: it and what it uses from now on are counted. */
void ac_run_limit_resume(ac_run_t *run);
void ac_run_limit_release(ac_run_t *run); /* it will use no more: gives back what was reserved */

/* run_call.c */
json_t *ac_run_document_step(const ac_run_t *run,
                             const ac_call_t *call); /* as stored, also of one that has not ended. New reference */
ac_call_t *ac_run_call_get(ac_run_t *run, int index, const char *id, const char *name);
void ac_run_call_enter(ac_run_t *run);
void ac_run_call_begin_all(ac_run_t *run);                    /* CALLING, and the opening write is made */
void ac_run_call_drop_all(ac_run_t *run);                     /* cancels what is under way, frees the round's calls */
void ac_run_call_close_all(ac_run_t *run, const char *error); /* those that are open end with this error, traced */

/* run_wait.c: calls that wait for the owner's word */
void ac_run_approval_enter(ac_run_t *run);
void ac_run_approval_cancel(ac_engine_t *engine, const char *run_id, const char *owner); /* it has been put aside */
/* run_state.c: a run that waits, as the store keeps it; pure but for what it makes */
json_t *ac_run_suspended_make(ac_run_t *run, json_t *events); /* takes events */
/* Fills a new run; its agent and its log are the caller's to find. false: it is damaged, and can only be ended. */
bool ac_run_suspended_read(ac_run_t *run, const json_t *state);

/* run_load.c */
void ac_run_load_enter(ac_run_t *run);
void ac_run_load_refuse_busy(ac_err_t *err, const char *run_id); /* the thread's active run; NULL: not known */

/* run_save.c */
/* An operation on the run's thread, and its call: done comes on the loop, and takes one from run->n_ops first. */
ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb);
void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op));
const char *ac_run_document_model(
    const ac_run_t *run); /* as it calls itself, else its id; "": its agent went before it was known */
json_t *ac_run_document_run(const ac_run_t *run); /* as stored. New reference */
const char *ac_run_document_finish_reason(
    const ac_run_t *run); /* why its answer ended, in the words of chat completions, and some of ours */
void ac_run_open_write(ac_run_t *run);
void ac_run_close_continue(ac_run_t *run); /* SAVING: the next thing that can be done towards the end */
void ac_run_document_add_model_step(ac_run_t *run, const ac_model_end_t *end);

#endif
