/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: tails, recovery, ended and suspended logs. Everything is the loop thread's. */
#ifndef AC_FOLLOW_INTERNAL_H
#define AC_FOLLOW_INTERNAL_H

#include "follow.h"

typedef struct ac_recover_list_t { /* the recoveries of a child */
    struct ac_recovery_t *first;   /* active ones first */
    int n_active;
    int n_failures; /* tries since the store's last write */
    ac_timer_t timer;
} ac_recover_list_t;

typedef struct ac_ended_logs_t { /* logs of ended runs, by the time of their removal */
    struct ac_ended_log_t *first, *last;
    ac_timer_t timer;
    bool is_trimming; /* a work thread removes ended logs */
} ac_ended_logs_t;

typedef struct ac_suspended_logs_t { /* suspended logs of this child, and some that were suspended */
    struct ac_suspended_log_t *first, *last;
    ac_timer_t timer;
} ac_suspended_logs_t;

struct ac_follow_t {
    apr_hash_t *tails; /* run id → the first ac_tail_t */
    ac_recover_list_t recoveries;
    ac_ended_logs_t ended;
    ac_suspended_logs_t suspended;
    struct ac_notice_t *notices; /* that are acted on */
    ac_timer_t sweep_timer;
    ac_watch_t watch; /* of the socket for datagrams */
    bool listens;     /* to other children, as soon as there is a socket */
};

/* ---- follow.c ---- */
void ac_follow_stop(ac_engine_t *engine); /* stops watching; the loop has ended, or is about to */

/* ---- datagram.c: datagrams from other children ---- */
void ac_datagram_stop(ac_engine_t *engine);
/* Makes the directory of this child again, and listens at its new socket. errors: the system's. */
apr_status_t ac_datagram_recreate_dir(ac_engine_t *engine);

/* ---- ended_logs.c ---- */
/* Keeps an ended log for its time. Consumes the log. */
void ac_ended_log_keep(ac_engine_t *engine, ac_event_log_t *log);
/* Removes ended logs for `bytes` more in the total; see ac_event_total_t. */
bool ac_ended_log_make_room(void *engine, size_t bytes);
void ac_ended_log_forget_all(ac_engine_t *engine); /* keeps the files */

/* ---- suspended_logs.c ---- */
void ac_suspended_log_track(ac_engine_t *engine, const char *run_id); /* until its run ends */
void ac_suspended_log_forget_all(ac_engine_t *engine);

/* ---- tail.c ---- */
void ac_tail_wake(ac_engine_t *engine, const char *run_id); /* the log has more, or its run has ended */
bool ac_tail_exists(const ac_engine_t *engine, const char *run_id);

/* ---- tail_mirror.c ---- */
void ac_tail_mirror_use(ac_engine_t *engine, ac_mirror_t *mirror); /* sets the mirror's callbacks */

/* ---- notice.c: notices from the children of all machines ---- */
void ac_notice_receive(void *engine, const char *text);
void ac_notice_drop_all(ac_engine_t *engine);

/* ---- recover.c: closes runs from their logs ---- */
/* A run of this child whose closing write failed. Consumes the log, which is owned. */
void ac_recover_log(ac_engine_t *engine, ac_event_log_t *log);
/* Adopts the log of a dead child, and does what its run needs. */
void ac_recover_adopt(ac_engine_t *engine, ac_child_key_t from, const char *run_id);
void ac_recover_retry_all(ac_engine_t *engine); /* the store has made a write */
void ac_recover_retry_run(ac_engine_t *engine, const char *run_id);
/* engine.h says how */
ac_recover_e ac_recover_find(ac_engine_t *engine, const char *run_id, ac_task_fn *fn, void *baton);
void ac_recover_drop_all(ac_engine_t *engine);

/* ---- recover_turn.c: the documents that close a turn, made from its log; pure ---- */
typedef struct ac_recover_turn_t { /* what a log has of a run */
    ac_buf_t text;
    json_t *tool_calls, *steps, *sources; /* arrays */
    ac_record_parts_t parts;              /* the positions of the calls in `text` */
    json_t *closing;                      /* the `in` of TURN_CLOSE, or NULL */
    uint64_t seq;
    ac_log_place_t place;               /* of the answer */
    char message_id[AC_ID_SIZE];        /* what it answers */
    char agent_id[AC_MAX_AGENT_ID + 1]; /* to which the run was handed over; "": to none */
    bool ended;                         /* the log has the terminal event */
} ac_recover_turn_t;
void ac_recover_turn_read(ac_recover_turn_t *turn, ac_event_log_t *log);
void ac_recover_turn_free(ac_recover_turn_t *turn);
/* Changes a closing write that the store has refused, since the thread was changed concurrently, into one that
 * stores the partial answer with status `interrupted`. false: it is that already, or there is no answer. */
bool ac_recover_turn_interrupt(ac_recover_turn_t *turn);
/* The `in` of TURN_CLOSE for an interrupted run, or a cancelled one. run: its stored document. New reference. */
json_t *ac_recover_turn_closing(ac_recover_turn_t *turn, const json_t *run, bool cancelled);

/* ---- recover_trace.c ---- */
/* The span of a run that this child has closed, if its trace is recorded. run: its stored document. */
void ac_recover_trace(const ac_event_log_t *log, const json_t *run);

/* ---- stored_event.c: events made from stored documents; pure ---- */
/* The terminal event of a stored run; message may be NULL. NULL: out of memory. */
ac_event_t *ac_stored_event_terminal(const json_t *run, json_t *message);
apr_time_t ac_stored_event_time(const json_t *object, const char *name); /* 0: none */

#endif
