/* SPDX-License-Identifier: Apache-2.0 */
/* The table of counts in memory that all children of a server share; for limit_table.c, limit_count.c, limit_save.c,
 * and counters.c. One mutex guards it. While it is held, no code waits, allocates or makes a system call, so it is held
 * for well under a microsecond. The mutex is robust: if its holder was killed, the next process repairs the
 * reservations (rebuild(), limit_table.c). Spent amounts need no repair: each is written so that it is never too
 * low. */
#ifndef AC_LIMIT_TABLE_H
#define AC_LIMIT_TABLE_H

#include "back/back.h"
#include "limit.h"

#include <pthread.h>

#define AC_TABLE_WAYS 8            /* slots of a bucket; a count is in one of two buckets */
#define AC_TABLE_GAUGE INT64_C(-1) /* `window` of a count of concurrent reservations */

typedef struct ac_slot_t { /* one count */
    unsigned char key[AC_COUNT_KEY];
    int64_t window;     /* microseconds; 0: the slot is free; AC_TABLE_GAUGE */
    int64_t epoch;      /* the window's number since 1970; 0 for a gauge */
    int64_t used, held; /* in that window */
} ac_slot_t;

typedef struct ac_hold_t { /* the amount of one count that one request reserved; amount 0: the record is free */
    int64_t amount, epoch;
    uint64_t mark; /* of the slot's key: the slot may belong to another key later */
    uint32_t slot, holder;
    uint32_t next; /* free record + 1 */
    uint32_t unused;
} ac_hold_t;

typedef struct ac_holder_t { /* a process that may have reservations; pid 0: free */
    int64_t pid, started;
} ac_holder_t;

typedef struct ac_table_head_t { /* the start of the file; the file's name contains the version of this layout */
    char magic[8];
    pthread_mutex_t lock;
    uint64_t seed;
    uint32_t n_slots, n_holds;   /* powers of two; numbers of slots and records */
    uint32_t first_free, n_used; /* free record + 1; number of records that were ever used */
    uint64_t n_changes, n_saved; /* changes of counts that are saved to disk; their number at the last save */
    int64_t saving_until;        /* ac_clock: a process saves until then */
    uint32_t shared_away;        /* bits: the shared counts (1), the mirror of event logs (2) are unreachable */
    int64_t full_at;             /* ac_clock: when the log last said that the table is full */
    ac_holder_t holders[AC_MAX_HOLDERS];
} ac_table_head_t;

struct ac_limit_table_t {
    ac_table_head_t *head;
    ac_slot_t *slots;
    ac_hold_t *holds;
    size_t size;
    int fd;          /* keeps a shared lock while any process has it open; -1: no file */
    uint32_t holder; /* this process's holder + 1; 0: it has not joined */
    int64_t pid;     /* the process that joined */
    bool fresh;      /* created now, and empty */
};

/* limit_table.c. errors: overloaded (the lock was not acquired in time, for example because its holder is stopped). err
 * may be NULL. */
apr_status_t ac_limit_table_lock(ac_limit_table_t *table, ac_err_t *err);
void ac_limit_table_unlock(ac_limit_table_t *table);
/* Returns a record's amount to its count, and frees the record. The caller holds the lock. */
void ac_limit_table_drop_hold(ac_limit_table_t *table, uint32_t record);
uint64_t ac_limit_table_mark(const unsigned char key[AC_COUNT_KEY]);
/* limit_count.c: the slot of this count in the window of `now`, or a free one for it; NULL: no slot is free. The caller
 * holds the lock. */
ac_slot_t *ac_limit_count_slot(ac_limit_table_t *table, const unsigned char key[AC_COUNT_KEY], int64_t window,
                               int64_t epoch, apr_time_t now);

/* Any thread; does not wait. Reserves all or nothing, and sets left, reset and over in both cases. now: apr_time_now().
 * Returns EAGAIN, without err, if not enough is left. errors: overloaded (the table is full or cannot be locked). */
apr_status_t ac_limit_count_reserve(ac_limit_table_t *table, ac_reservation_t *reservation, apr_time_t now,
                                    ac_err_t *err);
/* Any thread: counts the amount that was really used, first out of the reserved amount. */
void ac_limit_count_spend(ac_limit_table_t *table, ac_reservation_item_t *item, int64_t amount, apr_time_t now);
void ac_limit_count_release(ac_limit_table_t *table, ac_reservation_t *reservation); /* the remaining reservations */

/* ---- reservation.c ---- */
/* Sets err to the reason why a reservation was refused: that of the count that stays exceeded longest. errors:
 * rate_limited, budget_exceeded; retry_after: until that count's window ends. */
apr_status_t ac_reservation_refuse(const ac_reservation_t *reservation, ac_err_t *err);

#endif
