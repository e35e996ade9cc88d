/* SPDX-License-Identifier: Apache-2.0 */
/* A store with a cache in front of it, and the two backends of a cache. */
#ifndef AC_CACHE_H
#define AC_CACHE_H

#include "back/back.h"

typedef struct ac_cache_vt ac_cache_vt; /* cache.h */
typedef struct ac_cache_t {             /* a backend and its state */
    const ac_cache_vt *vt;
    void *self;
} ac_cache_t;
typedef struct ac_store_cache_t ac_store_cache_t;
/* At configuration time. scope: identifies the store, if several use one cache. check: other programs write to the
 * store without using the cache, so each thread is compared with the store before its cached messages are used. The
 * caller keeps the store. */
void ac_store_cache_create(ac_store_cache_t **pcache, const ac_store_t *store, const ac_cache_t *place,
                           const char *scope, bool check);
/* The store to use instead of the original one; it has the same name. PING also returns cache_hits, cache_misses and
 * cache_stale: how often a thread had been changed without an update of the cache. */
ac_store_t ac_store_cache_store(ac_store_cache_t *cache);
void ac_store_cache_destroy(ac_store_cache_t *cache);

/* cache_memory.c: in memory that processes share */
extern const ac_cache_vt ac_cache_memory; /* self: an ac_cache_memory_t */
typedef struct ac_cache_memory_t ac_cache_memory_t;
/* Call it before the fork. size: bytes; memory that was never used takes nothing from the machine. ttl: how long an
 * entry lives after the last write. errors: internal (err->status). */
apr_status_t ac_cache_memory_create(ac_cache_memory_t **pmemory, apr_int64_t size, apr_interval_time_t ttl,
                                    ac_err_t *err);
void ac_cache_memory_destroy(ac_cache_memory_t *memory); /* unmaps it in this process; memory may be NULL */

/* cache_redis.c: in Redis */
extern const ac_cache_vt ac_cache_redis; /* self: an ac_cache_redis_t */
typedef struct ac_cache_redis_t ac_cache_redis_t;
ac_cache_redis_t *ac_cache_redis_create(const char *prefix,
                                        apr_interval_time_t ttl); /* at configuration time; prefix: of every key */
/* In a child, before the loop runs: sets the connection, which the caller keeps; NULL: no Redis is available. */
void ac_cache_redis_use(ac_cache_redis_t *cache, ac_loop_t *loop, ac_redis_t *redis);
void ac_cache_redis_destroy(ac_cache_redis_t *cache);

#endif
