/* SPDX-License-Identifier: Apache-2.0 */
/* One run, as engine.c and follow/ see it; run_internal.h has what only this folder needs. Everything is the loop
 * thread's. */
#ifndef AC_RUN_H
#define AC_RUN_H

#include "agent/engine.h"

#include <apr_strings.h>

typedef enum ac_run_state_e {
    AC_RUN_QUEUED,
    AC_RUN_LOADING,
    AC_RUN_WAITING,
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
    apr_time_t started;      /* ac_clock() */
    apr_time_t started_at;   /* shown */
    apr_time_t requested_at; /* when the approval was requested; 0: it needed none */
    apr_interval_time_t took;
    size_t answer_len; /* bytes of the answer before the call */
    bool needs_approval;
    bool approved;
    ac_span_t *span; /* from its begin on; NULL: none is recorded */
    char *refusal;   /* the error for the model if the owner has refused the call; else NULL */
    bool begun;      /* the tool was called */
    bool done;
    bool client;  /* the client carries it out */
    int place;    /* then: among the client's calls */
    char tail[4]; /* of the streamed arguments: the first bytes of a character whose end is still to come */
    int n_tail;
    bool streamed;    /* arguments were shown */
    char *source;     /* of a resumed call: which tool it is, if it is one of a source; else NULL */
    char *hosted;     /* the id at the model's service, which carries it out; NULL: it is a call of this side */
    json_t *question; /* of the tool, whose answer is the approval; NULL: it has asked nothing */
    int n_questions;
    json_t *sources;        /* those that the call has added to the answer's; NULL: none */
    int n_progress;         /* events */
    apr_time_t progress_at; /* ac_clock() of the last one */
    ac_run_t *nested;       /* the run of the agent that the call calls; NULL: it has none now */
    json_t *state;          /* of a resumed call: the state document of its nested run; else NULL */
    bool waits;             /* its nested run does nothing but await approvals */
} ac_call_t;

typedef struct ac_run_times_t {
    apr_time_t created;                /* ac_clock() */
    apr_time_t created_at, started_at; /* shown */
    apr_time_t began;                  /* the loop's time from which run_timeout counts */
    apr_interval_time_t first_token;   /* from created; 0: none yet */
    apr_time_t entered;                /* ac_clock() when the run was made or resumed in this process */
    apr_time_t calling;                /* ac_clock() when the round's tools were called; 0: they are not working */
    apr_interval_time_t earlier;       /* how long the run took before its suspensions */
    apr_interval_time_t working;       /* how long its models and its tools worked */
    apr_interval_time_t reasoning;     /* how long they thought, before text or calls */
    apr_interval_time_t asking;        /* how long its models worked */
    apr_interval_time_t storing;       /* how long it did nothing but wait for the store */
    apr_time_t in_state;               /* ac_clock() when it entered its state */
} ac_run_times_t;

typedef struct ac_run_load_t {  /* LOADING */
    bool fresh;                 /* reads the thread past a cache */
    bool is_stale;              /* two conflicts after the same message: the store's read is behind its write */
    apr_time_t wait_until;      /* for the closing write of the thread's earlier turn; 0: does not wait */
    int64_t last_seq;           /* the thread's message_count when it was read */
    int64_t n_deleted;          /* its deleted_messages */
    char parent_id[AC_ID_SIZE]; /* of the last message that the model was shown; "": none */
    int64_t parent_seq;
    json_t *answered;  /* the client's calls before the turn, with the results that the turn brings; NULL: none */
    json_t *stored;    /* the messages that were read, until the model's conversation is made of them */
    const char *cause; /* of the next state; constant */
    char *title;       /* the automatic title that a model's may replace; NULL: the thread keeps its title */
    bool title_unsure; /* the thread's title; it is the automatic one if the thread's first message says so */
    json_t *old;       /* to be summarized after the run: stored messages, the oldest one first; NULL: none */
} ac_run_load_t;

typedef struct ac_run_busy_t { /* a turn whose thread is busy */
    bool queued;               /* it is in the thread's queue, in the store */
    bool counted;              /* in engine->n_waiting */
    apr_time_t until;          /* how long it waits; a time of day. 0: not known yet */
    int n_looks;
    char cancelled[AC_ID_SIZE]; /* AC_BUSY_INTERRUPT: the last run that it has cancelled; "": none */
} ac_run_busy_t;

typedef enum ac_run_open_e {
    AC_RUN_OPEN_NONE,
    AC_RUN_OPEN_PENDING,
    AC_RUN_OPEN_DONE,
    AC_RUN_OPEN_FAILED
} ac_run_open_e;

typedef struct ac_run_store_t { /* the run's operations on the store */
    int n_pending;
    apr_time_t since;         /* ac_clock() when the first pending one began */
    apr_interval_time_t took; /* how long at least one was pending */
    double charge;            /* request units so far */
} ac_run_store_t;

typedef struct ac_run_open_t { /* the opening write */
    bool new_thread;
    bool requested;
    ac_run_open_e state;
    json_t *document;     /* the `in` of TURN_OPEN */
    ac_log_place_t place; /* of the answer */
    int n_retries;
    bool had_conflict;     /* the thread was changed concurrently */
    int64_t refused_after; /* `after` of the last write that was refused */
} ac_run_open_t;

typedef struct ac_run_events_t {
    ac_event_t **held; /* held back until the opening write is durable */
    int n_held, held_size;
    ac_event_log_t *log;        /* from the RUN event on; NULL: none */
    ac_mirror_writer_t *mirror; /* copies the log; NULL: does not */
    ac_ready_t watcher_ready;   /* notifies followers in other children */
    ac_timer_t leave_timer;     /* ends a run without followers */
} ac_run_events_t;

typedef struct ac_run_ask_t { /* the model call */
    json_t *messages;         /* the model's conversation; grows by each round's calls and results */
    ac_gate_entry_t entry;    /* at the gate of the current model */
    void *call;               /* the active call, or NULL */
    bool answering;           /* the call has begun to answer */
    ac_err_t *fallback_cause; /* why the last model failed that a fallback replaced in this round; or NULL */
    bool breaker_open;     /* the run failed because its models' breakers are open, which was logged when they opened */
    apr_time_t entered;    /* ac_clock() from which the run waits for a slot of the model */
    apr_time_t started;    /* ac_clock() */
    apr_time_t started_at; /* shown */
    apr_interval_time_t first_token; /* from started; 0: none yet */
    apr_time_t reasoning_since;      /* ac_clock(); 0: it does not think */
    const char *fallback_of;         /* the id of the model that the current one replaces in this round; or NULL */
    char model[80];                  /* the name the model gives itself, or its id */
    ac_finish_e finish;
    json_t *carried;    /* what the model gets back with its last answer, and its `response`; NULL: nothing */
    ac_call_t **hosted; /* n_hosted calls that the model's service has carried out in this model call */
    int n_hosted;
} ac_run_ask_t;

typedef struct ac_run_files_t {
    ac_model_image_t *images; /* with their bytes or URLs, which they own */
    int n;
    size_t bytes; /* of the images, as counted for the child */
    bool loaded;  /* the images that the conversation refers to are here, or cannot be had */
} ac_run_files_t;

typedef struct ac_run_trace_t {
    ac_span_t *run, *chat; /* NULL: none is recorded */
    ac_trace_t asking;     /* the context of the model call's current attempt; its state is the turn's */
    ac_trace_t resumed;    /* the context of the run before its suspension; empty: it has none. Without a state */
    apr_time_t attempted;  /* ac_clock() when the attempt began */
    int n_attempts;        /* of the model call */
    bool attached;         /* its followers get an earlier run */
    ac_run_facts_t before; /* what it had used before its suspension */
} ac_run_trace_t;

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
    int n_client;    /* calls that the client carries out; they are not open */
    bool begun;      /* all were started, so the end of the last one ends the round */
} ac_run_calls_t;

typedef struct ac_run_tools_t {
    ac_toolset_t *set;         /* NULL until the run is loaded or resumed */
    ac_tool_waiter_t *waiters; /* n of them, for lists of the agent's sources; NULL: it waits for none */
    int n, n_open;
    void (*then)(ac_run_t *run);
} ac_run_tools_t;

typedef struct ac_run_answer_t { /* what becomes the assistant's message */
    ac_buf_t text;               /* of all rounds */
    size_t round_start;          /* where in `text` the round begins */
    json_t *tool_calls;          /* of all rounds, as the message shows them */
    ac_record_parts_t parts;     /* the positions of the calls in `text` */
    ac_buf_t reasoning;          /* of the current model call, as far as it is stored */
    json_t *steps;               /* ended ones, as stored */
    json_t *sources;             /* of all rounds; NULL: none */
    json_t *named;               /* those of them that the current model call has named; NULL: none */
    bool ends_in_calls;          /* of the client */
    int n_rejected;              /* answers that had not the wanted form */
    bool handed_over;            /* to the run's agent, which is the thread's from now on */
} ac_run_answer_t;

typedef struct ac_run_limits_t {
    ac_reservation_t *started;        /* of runs=, held to the end of the run; NULL: none */
    ac_err_t *refused;                /* why runs= refuses the run, unless its key leads to an earlier run; or NULL */
    ac_reservation_t *reserved;       /* before the model call; NULL: none */
    bool is_admitting;                /* the reservation is pending; its completion releases it if the run has ended */
    int64_t spent_tokens, spent_cost; /* as counted; cost in billionths */
} ac_run_limits_t;

typedef struct ac_run_close_t { /* SAVING: the closing write */
    bool requested;
    json_t *document; /* the `in` of TURN_CLOSE */
    int n_retries;
    bool failed;     /* permanently */
    json_t *message; /* the assistant's, as stored */
} ac_run_close_t;

typedef struct ac_run_suspended_t { /* a run that was suspended, or is being suspended */
    ac_agent_t missing_agent;       /* stands for an agent that no longer exists */
    char agent_id[AC_MAX_AGENT_ID + 1];
    bool wants_cancel; /* cancelled while it was being suspended */
    json_t *decisions; /* of a resumed run, by the id of the call; else NULL */
} ac_run_suspended_t;

typedef struct ac_run_nested_t { /* run_nested.c */
    ac_run_t *outer;             /* the run whose call this run is; NULL: it is a turn of its own */
    ac_call_t *call;             /* of `outer`; NULL: its result is not wanted any more */
    int depth;                   /* 0: a turn of its own */
    int n_inner;                 /* nested runs that have not left yet */
    int n_rounds;                /* of a turn: its own and those of all nested runs */
} ac_run_nested_t;

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
    ac_run_store_t store;
    ac_run_load_t load;
    ac_run_busy_t busy;
    ac_run_open_t open;
    ac_run_ask_t ask;
    ac_run_files_t files;
    ac_run_trace_t trace;
    ac_run_cost_t cost;
    ac_run_tools_t tools;
    ac_run_calls_t calls;
    ac_run_answer_t answer;
    ac_run_events_t events;
    ac_run_suspended_t suspended;
    ac_run_nested_t nested;
    ac_run_close_t close;
};

/* ---- for engine.c and follow/ ---- */

bool ac_run_is_live(const ac_run_t *run); /* before SAVING */
/* run_follower.c: a follower in this child or another one has left; ends the run after turn->leave without any. */
void ac_run_follower_left(void *run);
/* after_run.c: cancels the calls of models that make titles and summaries; their usage is still stored. */
void ac_after_run_stop_all(ac_engine_t *engine);
/* run_slot.c: calls the `done` of ac_engine_stop() if neither a run nor a call after a run is left. */
void ac_run_slot_report_stop(ac_engine_t *engine);

/* ---- run_summary.c ---- */
/* Writes AC0504, the line at the end of a run: of these fields run, status and usage must be known. */
void ac_run_summary_write(const ac_log_fields_t *fields);

#endif
