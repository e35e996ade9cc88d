/* SPDX-License-Identifier: Apache-2.0 */
/* What limits count: on this machine, and in Redis for all machines. */
#ifndef AC_LIMIT_H
#define AC_LIMIT_H

#include "io/io.h"

/* ---- reservation.c ---- */
#define AC_COUNT_KEY 16 /* bytes of a count's key: a part of a SHA-256 */
#define AC_SAVED_WINDOW \
    (3600 * APR_USEC_PER_SEC)          /* counts of windows from this length on survive a restart of the machine */
typedef struct ac_reservation_item_t { /* the amount that a request needs of one count */
    unsigned char key[AC_COUNT_KEY];
    const char *label; /* of its limits */
    ac_measure_e measure;
    ac_by_e by;
    apr_interval_time_t window; /* 0: what is held at once */
    int64_t most, amount;       /* amount <= most */
    bool hold;                  /* held until it is spent or released; else spent at once */
    /* The result: */
    int64_t left;              /* that others may still reserve in this window */
    apr_interval_time_t reset; /* until the window's end; 0: has none */
    bool over;                 /* this count has not enough left */
    /* Internal to the counters: */
    bool claimed;
    int64_t epoch, held; /* the rest of a hold */
    uint32_t slot, record;
} ac_reservation_item_t;

typedef struct ac_reservation_t { /* all that one request needs: it gets all of it or nothing. On the heap */
    int n, max;
    ac_trace_t trace; /* what it is part of, without its state; empty: not known */
    bool shared;      /* counted by all machines */
    uint32_t holder;  /* internal to the shared counts: which of our processes holds it */
    ac_reservation_item_t list[];
} ac_reservation_t;

typedef struct ac_subject_t { /* the subject that a request is counted for */
    const char *owner;        /* NULL: not signed in */
    const char *key;          /* the id of the API key of the sign-in, or NULL */
    const char *address;      /* the client's network address */
    const char *agent;        /* the agent's id; only for AC_PHASE_RUN */
} ac_subject_t;
/* The moment at which a limit is checked: as soon as its inputs are known. */
typedef enum ac_phase_e {
    AC_PHASE_REQUEST,
    AC_PHASE_STREAM,
    AC_PHASE_START, /* of a run, before it waits for a slot */
    AC_PHASE_RUN    /* its agent and its history are known */
} ac_phase_e;
/* The phase of a limit of a server or a key. The limits of an agent are all AC_PHASE_RUN. */
ac_phase_e ac_reservation_phase(const ac_limit_t *limit);
/* Adds the count of one limit; *preservation NULL: makes the reservation. limit: one of limits. A limit by key
 * counts by owner if there is no key, a limit by owner counts by address if there is no owner. */
void ac_reservation_add(ac_reservation_t **preservation, const ac_limits_t *limits, const ac_limit_t *limit,
                        const ac_subject_t *who, int64_t amount);
void ac_reservation_trace(ac_reservation_t *reservation, const ac_trace_t *trace); /* copies it without its state */
/* Appends the results to the values of the header fields RateLimit-Policy and RateLimit. */
void ac_reservation_fields(const ac_reservation_t *reservation, ac_buf_t *policy, ac_buf_t *left);

/* ---- counters.c ---- */
typedef void ac_counters_fn(void *baton, apr_status_t status, const ac_err_t *err);
typedef struct ac_settlement_t { /* the end of a hold, or of a part of it */
    int64_t covered, excess;     /* spent: out of the hold, and beyond it */
    int64_t release;             /* released without being spent */
} ac_settlement_t;
typedef struct ac_counters_shared_vt { /* counts that machines share; all on the loop thread */
    const char *name;
    /* As ac_limit_count_reserve(); done comes later, never inside. errors: overloaded: they cannot be reached. */
    void (*reserve)(void *self, ac_reservation_t *reservation, ac_counters_fn *done, void *baton);
    void (*settle)(void *self, const ac_reservation_t *reservation, const ac_reservation_item_t *item,
                   const ac_settlement_t *settlement);
} ac_counters_shared_vt;

typedef struct ac_counters_t {           /* a child's access to the counts */
    struct ac_limit_table_t *table;      /* of this machine */
    const ac_counters_shared_vt *shared; /* of all machines; NULL: none */
    void *shared_self;
    bool open; /* if the shared counts cannot be reached, this machine's are used */
    ac_loop_t *loop;
} ac_counters_t;
/* Loop thread. APR_EINPROGRESS: done comes later, never inside; else it does not come. The caller owns the
 * reservation and keeps it in place until then. errors: rate_limited, budget_exceeded (retry_after: until the window
 * ends that frees enough); overloaded. */
apr_status_t ac_counters_reserve(ac_counters_t *counters, ac_reservation_t *reservation, ac_counters_fn *done,
                                 void *baton, ac_err_t *err);
/* The same for a worker; it blocks. The caller owns *preservation; NULL afterwards: the loop did not answer in time. */
apr_status_t ac_counters_reserve_wait(ac_reservation_t **preservation, ac_counters_t *counters, ac_err_t *err);
/* Loop thread. Spends this amount of each count of the measure; reservation NULL: does nothing. */
void ac_counters_spend(ac_counters_t *counters, ac_reservation_t *reservation, ac_measure_e measure, int64_t amount);
/* Any thread. Releases the rest of the holds. Consumes the reservation, which may be NULL. */
void ac_counters_release(ac_counters_t *counters, ac_reservation_t *reservation);

/* ---- limit_redis.c: counts in Redis. A script makes each step atomic, on the clock of Redis ---- */
typedef struct ac_limit_redis_t ac_limit_redis_t;
extern const ac_counters_shared_vt ac_limit_redis_vt; /* self: an ac_limit_redis_t */
/* After the fork. prefix: of all keys. conf->on_state is called too. errors: internal. */
apr_status_t ac_limit_redis_create(ac_limit_redis_t **pcounts, const ac_redis_conf_t *conf, const char *prefix,
                                   const ac_host_t *host, ac_err_t *err);
void ac_limit_redis_start(ac_limit_redis_t *counts); /* loop thread */
ac_redis_t *ac_limit_redis_client(ac_limit_redis_t *counts);
bool ac_limit_redis_is_up(const ac_limit_redis_t *counts); /* any thread */
void ac_limit_redis_destroy(ac_limit_redis_t *counts);     /* the loop has ended; NULL is fine */

/* ---- limit_table.c, limit_save.c: counts in memory that the processes of a machine share ---- */
typedef struct ac_limit_table_t ac_limit_table_t;
/* Before the fork. path: a file, whose name gets the version of the layout appended; processes that open the same
 * file share the counts, which outlive them. NULL: memory of this process and its children. errors: internal
 * (err->status). */
apr_status_t ac_limit_table_open(ac_limit_table_t **ptable, const char *path, ac_err_t *err);
void ac_limit_table_close(ac_limit_table_t *table); /* NULL is fine; holds stay */
/* After the fork, once per child: the child's holds are released when it leaves or dies. errors: overloaded. */
apr_status_t ac_limit_table_join(ac_limit_table_t *table, ac_err_t *err);
void ac_limit_table_leave(ac_limit_table_t *table);
/* Any thread, now and then: releases the holds of dead processes. Reads /proc. */
void ac_limit_table_sweep(ac_limit_table_t *table);
/* Any thread. Notes whether the shared counts can be reached. true: this is the first process of the table to note
 * it. */
bool ac_limit_table_note_shared(ac_limit_table_t *table, bool up);
bool ac_limit_table_note_mirror(ac_limit_table_t *table, bool up); /* the same for the mirror of event logs */
/* A work thread: writes changed counts of long windows to path; one process does at a time. Returns an errno. */
apr_status_t ac_limit_save_write(ac_limit_table_t *table, const char *path, apr_time_t now);
/* Before the fork, into a new table. EMISMATCH: the file has another format. */
apr_status_t ac_limit_save_read(ac_limit_table_t *table, const char *path, apr_time_t now);

#endif
