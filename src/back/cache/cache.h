/* SPDX-License-Identifier: Apache-2.0 */
/* A store with a cache before it, and the two backends that a cache can have. */
#ifndef AC_CACHE_H
#define AC_CACHE_H

#include "back/back.h"

typedef struct ac_cache_vt ac_cache_vt; /* cache.h */
typedef struct ac_cache_t {             /* where the cache is */
    const ac_cache_vt *vt;
    void *self;
} ac_cache_t;
typedef struct ac_store_cache_t ac_store_cache_t;
/* Config time. scope: says which store it is, where several have one cache. check: others write to the store who do
 * not know the cache, so that a thread is looked at before its cached messages are taken. The store stays the
 * caller's. */
void ac_store_cache_create(ac_store_cache_t **pcache, const ac_store_t *store, const ac_cache_t *place,
                           const char *scope, bool check);
/* What is used instead of the store, under its name. PING also gives cache_hits, cache_misses, and cache_stale: how
 * often a thread had gone on without the cache being told. */
ac_store_t ac_store_cache_store(ac_store_cache_t *cache);
void ac_store_cache_destroy(ac_store_cache_t *cache);

/* cache_memory.c: in memory that processes share. */
extern const ac_cache_vt ac_cache_memory; /* self: an ac_cache_memory_t */
typedef struct ac_cache_memory_t ac_cache_memory_t;
/* Before the fork. size: bytes, of which only what is used is taken from the machine. ttl: how long an entry lives
 * that nobody writes to. errors: internal (err->status). */
apr_status_t ac_cache_memory_create(ac_cache_memory_t **pmemory, apr_int64_t size, apr_interval_time_t ttl,
                                    ac_err_t *err);
void ac_cache_memory_destroy(ac_cache_memory_t *memory); /* of this process; NULL is fine */

/* cache_redis.c: in Redis. */
extern const ac_cache_vt ac_cache_redis; /* self: an ac_cache_redis_t */
typedef struct ac_cache_redis_t ac_cache_redis_t;
ac_cache_redis_t *ac_cache_redis_create(const char *prefix,
                                        apr_interval_time_t ttl); /* config time; prefix: begins every key */
/* Of a child, before the loop runs: where Redis is from now on, which stays the caller's; NULL: there is none. */
void ac_cache_redis_use(ac_cache_redis_t *cache, ac_loop_t *loop, ac_redis_t *redis);
void ac_cache_redis_destroy(ac_cache_redis_t *cache);

#endif
