/* SPDX-License-Identifier: Apache-2.0 */
/* What limits count: on this machine, and in Redis for all machines. */
#ifndef AC_LIMIT_H
#define AC_LIMIT_H

#include "io/io.h"

/* ---- counters.c ---- */
#define AC_COUNT_KEY 16                           /* bytes that name a count: of SHA-256 of what it is of */
#define AC_SAVED_WINDOW (3600 * APR_USEC_PER_SEC) /* counts of windows as long as this outlive the machine's start */
typedef struct ac_take_t {                        /* what a request wants of one count */
    unsigned char key[AC_COUNT_KEY];
    const char *label; /* of its limits */
    ac_measure_e measure;
    ac_by_e by;
    apr_interval_time_t window; /* 0: what is held at once */
    int64_t most, amount;       /* amount <= most */
    bool hold;                  /* held until it is spent or given back; else spent at once */
    /* What came of it: */
    int64_t left;              /* that others may still take in this window */
    apr_interval_time_t reset; /* until the window's end; 0: has none */
    bool over;                 /* this one has not enough left */
    /* The counters' own: */
    bool claimed;
    int64_t epoch, held; /* what is left of a hold */
    uint32_t slot, record;
} ac_take_t;

typedef struct ac_takes_t { /* all that one request wants: it is given all of it or nothing. On the heap */
    int n, max;
    bool shared;     /* counted by all machines */
    uint32_t holder; /* the shared counts' own: who of ours holds it */
    ac_take_t list[];
} ac_takes_t;

typedef struct ac_subject_t { /* whom a request is counted for */
    const char *owner;        /* NULL: nobody signed in */
    const char *key;          /* the id of the key they signed in with, or NULL */
    const char *address;      /* the client's network address */
    const char *agent;        /* the agent's id; only for PHASE_RUN */
} ac_subject_t;
/* When a limit is looked at: as soon as what it needs is known. */
typedef enum ac_phase_e {
    AC_PHASE_REQUEST,
    AC_PHASE_STREAM,
    AC_PHASE_START, /* of a run, before it waits for a slot */
    AC_PHASE_RUN    /* its agent and its history are known */
} ac_phase_e;
ac_phase_e ac_limit_phase(const ac_limit_t *limit); /* of a limit that is not an agent's own; those are all PHASE_RUN */
/* One take more; *ptakes NULL: the first one. limit: of limits. by key without a key is by owner, by owner without one by address. */
void ac_takes_add(ac_takes_t **ptakes, const ac_limits_t *limits, const ac_limit_t *limit, const ac_subject_t *who,
                  int64_t amount);
/* Appends to the values of RateLimit-Policy and RateLimit what was found. */
void ac_takes_fields(const ac_takes_t *takes, ac_buf_t *policy, ac_buf_t *left);
#define AC_STREAM_RETRY apr_time_from_sec(5) /* where nobody knows when one of the answers or runs ends */

typedef void ac_counted_fn(void *baton, apr_status_t status, const ac_err_t *err);
typedef struct ac_settle_t { /* what becomes of a hold */
    int64_t covered, excess; /* spent: out of what was held, and beyond it */
    int64_t release;         /* held no longer, and not spent */
} ac_settle_t;
typedef struct ac_shared_vt { /* counts that machines share; all on the loop thread */
    const char *name;
    /* As ac_limit_table_take(); done comes later, never inside. errors: overloaded: they cannot be reached. */
    void (*take)(void *self, ac_takes_t *takes, ac_counted_fn *done, void *baton);
    void (*settle)(void *self, const ac_takes_t *takes, const ac_take_t *take, const ac_settle_t *settle);
} ac_shared_vt;

typedef struct ac_counters_t {      /* a child's way to the counts */
    struct ac_limit_table_t *table; /* of this machine */
    const ac_shared_vt *shared;     /* of all machines; NULL: there are none */
    void *shared_self;
    bool open; /* without those of all machines, those of this one are enough */
    ac_loop_t *loop;
} ac_counters_t;
/* Loop thread. APR_EINPROGRESS: done comes later, never inside; else it does not come. takes stay the caller's, and in place until then.
 * errors: rate_limited, budget_exceeded (retry_after: when the window ends, after which there is enough); overloaded. */
apr_status_t ac_counters_take(ac_counters_t *counters, ac_takes_t *takes, ac_counted_fn *done, void *baton,
                              ac_err_t *err);
/* The same for a worker, who waits. *ptakes stays the caller's; NULL afterwards: there was no answer. */
apr_status_t ac_counters_take_wait(ac_takes_t **ptakes, ac_counters_t *counters, ac_err_t *err);
/* This much was used of a measure; loop thread. takes NULL: nothing. */
void ac_counters_spend(ac_counters_t *counters, ac_takes_t *takes, ac_measure_e measure, int64_t amount);
/* What is still held is given back. Takes takes, which may be NULL; any thread. */
void ac_counters_release(ac_counters_t *counters, ac_takes_t *takes);

/* limit_redis.c: counts in Redis. Scripts make each step one; Redis' clock is everybody's. */
typedef struct ac_limit_redis_t ac_limit_redis_t;
extern const ac_shared_vt ac_shared_redis; /* self: an ac_limit_redis_t */
/* prefix: of all keys. conf->on_state is told as well. After the fork. errors: internal. */
apr_status_t ac_limit_redis_create(ac_limit_redis_t **pcounts, const ac_redis_conf_t *conf, const char *prefix,
                                   const ac_host_t *host, ac_err_t *err);
void ac_limit_redis_start(ac_limit_redis_t *counts); /* loop thread */
ac_redis_t *ac_limit_redis_client(ac_limit_redis_t *counts);
bool ac_limit_redis_is_up(const ac_limit_redis_t *counts); /* any thread */
void ac_limit_redis_destroy(ac_limit_redis_t *counts);     /* the loop has ended; NULL is fine */

/* limit_table.c, limit_count.c, limit_save.c: counts in memory that the processes of a machine share. */
typedef struct ac_limit_table_t ac_limit_table_t;
/* Before the fork. path: of a file, to which what tells layouts apart is added; whoever opens the same one shares the counts, and they
 * stay when all have ended. NULL: memory of this process and its children. errors: internal (err->status). */
apr_status_t ac_limit_table_open(ac_limit_table_t **ptable, const char *path, ac_err_t *err);
void ac_limit_table_close(ac_limit_table_t *table); /* NULL is fine; what was held stays held */
/* After the fork, once per child: what it holds is given back when it leaves, or has died. errors: overloaded. */
apr_status_t ac_limit_table_join(ac_limit_table_t *table, ac_err_t *err);
void ac_limit_table_leave(ac_limit_table_t *table);
/* Any thread, now and then: gives back what dead processes held. Reads /proc. */
void ac_limit_table_sweep(ac_limit_table_t *table);
/* The shared counts are reached, or not. true: no process of this table has said so before. Any thread. */
bool ac_limit_table_note_shared(ac_limit_table_t *table, bool up);
/* A work thread: writes the counts of long windows to path where they have changed; one process does. errno of what failed. */
apr_status_t ac_limit_table_save(ac_limit_table_t *table, const char *path, apr_time_t now);
/* Before the fork: into a table that was made anew. EMISMATCH: the file is none of ours. */
apr_status_t ac_limit_table_load(ac_limit_table_t *table, const char *path, apr_time_t now);

#endif
