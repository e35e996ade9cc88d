/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a tail. Shared by the files tail*.c and follower.c only. Everything is the loop thread's. */
#ifndef AC_TAIL_H
#define AC_TAIL_H

#include "follow_internal.h"

/* Events made from stored documents get numbers behind this one, which no run reaches: such a number cannot be
 * confused with the number of an event that was emitted. */
#define AC_TAIL_STORED (UINT64_C(1) << 40)
/* Events behind the end of a log that was cut get numbers behind this one: they are other pieces of the answer than
 * the emitted events. */
#define AC_TAIL_REMAINDER (UINT64_C(1) << 41)
/* The same behind the end of a mirror. Where it ended is known to this tail alone, so no other one continues there. */
#define AC_TAIL_MIRROR (UINT64_C(1) << 42)

typedef struct ac_tail_mirror_t { /* tail_mirror.c */
    bool on;                      /* the events come from the mirror */
    bool live;                    /* the tail has all entries, and gets the next one when it comes */
    bool is_followed;             /* this child follows the run at the mirror */
    bool has_part;                /* cursor.n_text counts the tokens of all events up to `after` */
    int n_looks;                  /* for events that the mirror lacks */
    apr_time_t heard;             /* ac_loop_now() of the last entry */
} ac_tail_mirror_t;

typedef struct ac_tail_t { /* of one follower */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    uint64_t after;                /* the follower's last event */
    ac_channel_t *channel;         /* of this one follower */
    struct ac_tail_t *next, *prev; /* of the same run */
    ac_timer_t timer;
    ac_ready_t ready;
    bool unstored;       /* no store has the run */
    bool left;           /* the follower has left */
    bool live;           /* the follower got LIVE: later events have not happened yet */
    bool ended;          /* the follower got the terminal event; the tail waits until it leaves or rewinds */
    bool paused;         /* the follower has no room */
    bool watching;       /* this child stands in the log as a watcher */
    ac_event_log_t *log; /* NULL: none found yet */
    ac_event_cursor_t cursor;
    bool search_failed;    /* the last search could not open every file that may be the log */
    int n_failed_searches; /* looks since then */
    int n_suspended_looks; /* looks at a suspended log */
    ac_tail_mirror_t mirror;

    bool pending; /* a store operation will come back */
    int n_looks;  /* in the store, at a run that is active elsewhere */
    /* From the store: the run, its steps, the assistant's and the user's message. */
    json_t *run, *steps, *message, *user_message;
    int64_t before_seq;  /* messages from this one on were searched */
    ac_event_t **events; /* made from these documents */
    int n_events, next_event;
    int n_client; /* calls of the client among these events */
} ac_tail_t;

/* ---- tail.c ---- */
ac_tail_t *ac_tail_create(ac_engine_t *engine, const char *run_id, const char *owner); /* without a follower yet */
/* Delivers an event, or NOTHING for the terminal event that the follower has already. Consumes the event. */
void ac_tail_deliver(ac_tail_t *tail, ac_event_t *event);
void ac_tail_fail(ac_tail_t *tail, const ac_err_t *err); /* delivers the error as the terminal event */
/* Delivers LIVE, once. The follower may leave inside the call. */
void ac_tail_report_live(ac_tail_t *tail);
bool ac_tail_has_room(ac_tail_t *tail);                           /* false: the tail is paused from now on */
void ac_tail_continue(ac_tail_t *tail, apr_interval_time_t wait); /* 0: in this turn of the loop */
/* The follower has events that no log here has, so their part of the answer is not known. */
bool ac_tail_is_beyond(const ac_tail_t *tail);
void ac_tail_refuse_gone(ac_tail_t *tail, const char *why); /* fails with events_gone */
void ac_tail_leave_log(ac_tail_t *tail);                    /* closes it; a tail without a log is allowed */

/* ---- tail_stored.c ---- */
/* Reads the stored documents, then delivers the events made from them; comes back by ac_tail_continue(). */
void ac_tail_stored_continue(ac_tail_t *tail);
void ac_tail_stored_decide(ac_tail_t *tail); /* the next step with the run that was read, without the mirror */
void ac_tail_stored_free(ac_tail_t *tail);

/* ---- tail_events.c ---- */
void ac_tail_events_make(
    ac_tail_t *tail); /* from the stored documents; the follower's part of the answer is left out */

/* ---- tail_mirror.c ---- */
/* Reads a page of the mirror of the run, which was read from the store. false: there is none now, or it does not
 * help. */
bool ac_tail_mirror_read(ac_tail_t *tail);
void ac_tail_mirror_continue(ac_tail_t *tail); /* of a tail whose events come from the mirror */
/* A tail at the end of a suspended log: another machine may resume the run. */
void ac_tail_mirror_watch(ac_tail_t *tail);
void ac_tail_mirror_leave(ac_tail_t *tail);

#endif
