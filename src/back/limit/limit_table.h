/* SPDX-License-Identifier: Apache-2.0 */
/* The table of counts in memory that all children of a server share; for limit_table.c, limit_count.c, limit_save.c,
 * and counters.c.
 *
 * One mutex guards it. Under it nothing waits, allocates or calls the system, so it is held for well under a
 * microsecond. It is a robust one: where a process was killed inside, the next one to come learns of it and puts
 * together again what hangs together, which is only what is held (rebuild(), limit_table.c): each count is written
 * so that it is never too low. */
#ifndef AC_LIMIT_TABLE_H
#define AC_LIMIT_TABLE_H

#include "back/back.h"
#include "limit.h"

#include <pthread.h>

#define AC_TABLE_WAYS 8            /* slots of a bucket; a count is in one of two buckets */
#define AC_TABLE_GAUGE INT64_C(-1) /* `window` of what is held at once */

typedef struct ac_slot_t { /* one count */
    unsigned char key[AC_COUNT_KEY];
    int64_t window;     /* microseconds; 0: the slot is free; AC_TABLE_GAUGE */
    int64_t epoch;      /* the window's number since 1970; 0 for a gauge */
    int64_t used, held; /* in that window */
} ac_slot_t;

typedef struct ac_hold_t { /* what one request holds of one count; amount 0: the record is free */
    int64_t amount, epoch;
    uint64_t mark; /* of the slot's key, since the slot may belong to another by then */
    uint32_t slot, holder;
    uint32_t next; /* free record + 1 */
    uint32_t unused;
} ac_hold_t;

typedef struct ac_holder_t { /* a process that may hold something; pid 0: free */
    int64_t pid, started;
} ac_holder_t;

typedef struct ac_table_head_t { /* begins the file; its layout is part of the file's name */
    char magic[8];
    pthread_mutex_t lock;
    uint64_t seed;
    uint32_t n_slots, n_holds;   /* powers of two; how many there may be */
    uint32_t first_free, n_used; /* free record + 1; records that were ever used */
    uint64_t n_changes, n_saved; /* of counts that are worth saving; as of the last saving */
    int64_t saving_until;        /* ac_clock: somebody is at it */
    uint32_t shared_away;        /* it was told that the shared counts are not to be reached */
    int64_t full_at;             /* ac_clock: when it was last told that the table is full */
    ac_holder_t holders[AC_MAX_HOLDERS];
} ac_table_head_t;

struct ac_limit_table_t {
    ac_table_head_t *head;
    ac_slot_t *slots;
    ac_hold_t *holds;
    size_t size;
    int fd;          /* holds a shared lock as long as any process has it open; -1: no file */
    uint32_t holder; /* ours, + 1; 0: this process has not joined */
    int64_t pid;     /* that joined */
    bool fresh;      /* made now, and empty */
};

/* limit_table.c. errors: overloaded where the lock is not to be had in time, as when its holder is stopped. err may
 * be NULL. */
apr_status_t ac_limit_table_lock(ac_limit_table_t *table, ac_err_t *err);
void ac_limit_table_unlock(ac_limit_table_t *table);
/* Gives a record's amount back to its count, and the record to the free ones. With the lock held. */
void ac_limit_table_drop_hold(ac_limit_table_t *table, uint32_t record);
uint64_t ac_limit_table_mark(const unsigned char key[AC_COUNT_KEY]);
/* limit_count.c: the slot of this count in the window of `now`, or a free one for it; NULL: there is none. With the
 * lock held. */
ac_slot_t *ac_limit_count_slot(ac_limit_table_t *table, const unsigned char key[AC_COUNT_KEY], int64_t window,
                               int64_t epoch, apr_time_t now);

/* Any thread, does not wait. All or nothing; left, reset and over are set in both cases. now: apr_time_now().
 * EAGAIN, err unset: there is not enough left. errors: overloaded (the table is full, or cannot be had). */
apr_status_t ac_limit_count_reserve(ac_limit_table_t *table, ac_reservation_t *reservation, apr_time_t now,
                                    ac_err_t *err);
/* Any thread: this much was really used, out of what is held as far as that goes. */
void ac_limit_count_spend(ac_limit_table_t *table, ac_reservation_item_t *item, int64_t amount, apr_time_t now);
void ac_limit_count_release(ac_limit_table_t *table, ac_reservation_t *reservation); /* the rest of what is held */

/* ---- reservation.c ---- */
/* Sets err to the reason why a reservation was refused, of the count that is over for longest. errors: rate_limited,
 * budget_exceeded; retry_after: until that count's window ends. */
apr_status_t ac_reservation_refuse(const ac_reservation_t *reservation, ac_err_t *err);

#endif
