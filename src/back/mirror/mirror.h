/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror: a copy of the event log of each active run in Redis, where the children of all machines read it. What an
 * entry contains is the caller's matter. Everything is the loop thread's, unless a comment says otherwise. */
#ifndef AC_MIRROR_H
#define AC_MIRROR_H

#include "io/io.h"

#define AC_MIRROR_WRITER_SIZE 48 /* of "ATTEMPT-TOKEN" */

typedef struct ac_mirror_entry_t { /* the events up to number `last`; borrowed */
    uint64_t last;
    const char *bytes;
    size_t len;
} ac_mirror_entry_t;

typedef struct ac_mirror_append_t { /* copied inside the call */
    const char *run_id;
    const char *writer; /* "ATTEMPT-TOKEN": a higher attempt replaces a lower one, and is not replaced by any other */
    uint64_t first;     /* the number of the first event of the entry */
    ac_mirror_entry_t entry;
    int max_entries;          /* older ones are dropped; 0: none */
    apr_interval_time_t keep; /* how long the copy stays after this entry */
} ac_mirror_append_t;

typedef enum ac_mirror_result_e {
    AC_MIRROR_DONE,    /* Redis has answered */
    AC_MIRROR_REFUSED, /* the copy belongs to another writer */
    AC_MIRROR_AGAIN,   /* nothing was written; the same call works now */
    AC_MIRROR_FAILED   /* Redis did not answer, or cannot store anything now; the entry may have been written */
} ac_mirror_result_e;
/* last: with DONE the number of the last event that the copy has now. The entry was appended if that is its own last
 * number. A lower one: events are missing in front of the entry. A higher one: they were there already. */
typedef void ac_mirror_append_fn(void *baton, ac_mirror_result_e result, uint64_t last);

#define AC_MIRROR_PAGE 4 /* the most entries of one read */
typedef struct ac_mirror_page_t {
    bool failed; /* Redis did not answer */
    int n;
    ac_mirror_entry_t entries[AC_MIRROR_PAGE]; /* the first ones whose last number is above `after` */
    ac_mirror_entry_t newest;                  /* `last` 0: there is no copy */
} ac_mirror_page_t;
typedef void ac_mirror_read_fn(void *baton, const ac_mirror_page_t *page); /* the page is borrowed */

typedef void ac_mirror_remove_fn(void *baton, bool fine);

typedef struct ac_mirror_vt {
    /* Both report later, never inside the call, and once, unless the mirror is destroyed before. */
    void (*append)(void *self, const ac_mirror_append_t *append, ac_mirror_append_fn *fn, void *baton);
    void (*read)(void *self, const char *run_id, uint64_t after, ac_mirror_read_fn *fn, void *baton);
    /* Later entries of the run are reported by on_entry. Returns the number up to which entries have been reported: the
     * caller's `after`, or the position of an earlier call. UINT64_MAX: too many runs are followed. */
    uint64_t (*follow)(void *self, const char *run_id, uint64_t after);
    void (*unfollow)(void *self, const char *run_id);
    /* Reports the text to every child of every machine by on_notice, this one included. */
    void (*notify)(void *self, const char *text);
    /* Removes the copies of runs; at most 100. Reports as append() does; false: Redis did not answer. */
    void (*remove)(void *self, const char *const *run_ids, int n, ac_mirror_remove_fn *fn, void *baton);
    bool (*is_up)(const void *self);
} ac_mirror_vt;

typedef struct ac_mirror_t {
    const ac_mirror_vt *vt;
    void *self;
    /* Set by the engine. Entries of followed runs, notices, and the beginning and the end of an outage. */
    void (*on_entry)(void *baton, const char *run_id, const ac_mirror_entry_t *entry);
    void (*on_notice)(void *baton, const char *text);
    void (*on_state)(void *baton, bool up);
    void *baton;
} ac_mirror_t;

/* ---- mirror_redis.c: Redis Streams ----
 *
 *     PREFIXev:RUN        a stream: entry N-0 {a: writer, e: bytes} has events up to number N
 *     PREFIXev:all        a stream of notices to all children
 *     PREFIXev:to:CHILD   a stream that ends the blocking read of one child
 *
 * Two connections for each child: one for short commands, and one that reads all followed streams by XREAD BLOCK. */
typedef struct ac_mirror_redis_t ac_mirror_redis_t;
/* After the fork. conf->on_state is called when the mirror fails, and when it works again. mirror: filled in; destroyed
 * with *predis. errors: internal (the CA file). */
apr_status_t ac_mirror_redis_create(ac_mirror_redis_t **predis, ac_mirror_t *mirror, const ac_redis_conf_t *conf,
                                    const char *prefix, const ac_host_t *host, ac_err_t *err);
void ac_mirror_redis_start(ac_mirror_redis_t *redis);
void ac_mirror_redis_destroy(ac_mirror_redis_t *redis); /* the loop has ended; NULL is allowed */

#endif
