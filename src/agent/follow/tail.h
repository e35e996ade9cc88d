/* SPDX-License-Identifier: Apache-2.0 */
/* What tail.c and tail_stored.c share. Everything here is the loop thread's. */
#ifndef AC_TAIL_H
#define AC_TAIL_H

#include "agent/run/run.h"

/* Events that are told from the store have numbers behind this one, which no run ever reaches: a number of the first telling, of which
 * the store knows nothing, is not taken for one of them. */
#define AC_TAIL_STORED (UINT64_C(1) << 40)
/* So have those behind the end of a log that could take no more: they are other pieces of the answer than those that were told live. */
#define AC_TAIL_REMAINDER (UINT64_C(1) << 41)

struct ac_tail_t { /* one follower's way through a run that it does not follow live */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    uint64_t after;         /* the last event that the follower has */
    ac_channel_t *channel;  /* of this one follower */
    ac_tail_t *next, *prev; /* of the same run */
    ac_timer_t timer;
    ac_ready_t ready;
    bool gone;           /* the follower has left */
    bool live;           /* it has been told that it waits for what is to come */
    bool over;           /* it has been told the end; the tail waits for its going, or its coming back */
    bool paused;         /* it has no room: nothing is done until it says that it has */
    ac_event_log_t *log; /* NULL: none was found yet */
    ac_event_cursor_t cursor;
    bool short_of_means; /* the last search could not open all that may be its log */
    int n_short;         /* looks since then */
    int n_rests;         /* looks at a log that rests */
    bool waiting;        /* entered in the log as one that waits */

    bool asked;                            /* a store operation is under way */
    int n_looks;                           /* in the store at a run that goes on elsewhere */
    json_t *run, *steps, *message, *first; /* from the store: the run, its steps, the answer, the user's message */
    int64_t before;                        /* messages from here on were looked through */
    ac_event_t **events;                   /* what they amount to */
    int n_events, next_event;
};

void ac_tail_fail(ac_tail_t *tail, const ac_err_t *err); /* the follower is told, and that is the end */
/* Hands an event on, or NOTHING where it is the terminal one and known; takes it. */
void ac_tail_deliver(ac_tail_t *tail, ac_event_t *event);
/* The follower is told, once, that it waits for what is to come. It may leave by that. */
void ac_tail_report_live(ac_tail_t *tail);
bool ac_tail_has_room(ac_tail_t *tail);                           /* false: the tail is paused now */
void ac_tail_continue(ac_tail_t *tail, apr_interval_time_t wait); /* 0: in this turn of the loop */
/* tail_stored.c: asks the store, then tells; comes back here by ac_tail_continue. */
void ac_tail_stored_continue(ac_tail_t *tail);
/* Its follower has events of the first telling that no log has here: nobody knows how much of the answer they were. */
bool ac_tail_is_beyond(const ac_tail_t *tail);
void ac_tail_refuse_gone(ac_tail_t *tail, const char *why);
void ac_tail_stored_free(ac_tail_t *tail);

#endif
