/* SPDX-License-Identifier: Apache-2.0 */
/* Cached conversations in the Redis that machines share: a list per entry, which expires in Redis. While Redis is
 * unavailable there are no entries; an entry that missed a write meanwhile is found to be stale by the turn that uses
 * it. */
#include "cache_backend.h"

#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#define KEY_SIZE 128

/* KEYS: the entry. ARGV: the text, its time to live in ms, the most texts of an entry. */
static const char put_script[] = "redis.call('DEL', KEYS[1])\n"
                                 "redis.call('RPUSH', KEYS[1], ARGV[1])\n"
                                 "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                                 "return 1\n";
static const char add_script[] = "local n = redis.call('RPUSHX', KEYS[1], ARGV[1])\n"
                                 "if n > tonumber(ARGV[3]) then redis.call('DEL', KEYS[1])\n"
                                 "elseif n > 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end\n"
                                 "return n\n";

typedef struct ask_t { /* a pending call of Redis */
    ac_cache_redis_t *cache;
    ac_cache_read_fn *read;       /* NULL: a write */
    ac_cache_written_fn *written; /* may be NULL */
    void *baton;
    char key[KEY_SIZE];
    ac_cache_way_e way;
    size_t len;
    char text[];
} ask_t;

struct ac_cache_redis_t {
    ac_redis_t *redis;
    ac_loop_t *loop;
    const char *prefix;
    char ttl[24], most[16];
};

static void add_texts(ac_buf_t *texts, const redisReply *reply)
{
    for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        const redisReply *text = reply->element[i];
        if (text->type != REDIS_REPLY_STRING || memchr(text->str, '\0', text->len)) {
            ac_buf_add(texts, "", 1); /* adds only the NUL */
        } else {
            ac_buf_add(texts, text->str, text->len);
            ac_buf_add(texts, "", 1);
        }
    }
    if (texts->failed) {
        ac_buf_clear(texts);
    }
}

static void cache_redis_on_reply(void *baton, const struct redisReply *reply, const ac_err_t *err)
{
    ask_t *ask = baton;
    ac_buf_t texts;
    (void)err;
    ac_buf_init(&texts, AC_MAX_CACHED);
    if (ask->read) {
        add_texts(&texts, reply);
        ask->read(ask->baton, &texts);
    } else if (ask->written) {
        ask->written(ask->baton);
    }
    ac_buf_free(&texts);
    free(ask);
}

static void send_ask(void *baton)
{
    ask_t *ask = baton;
    ac_cache_redis_t *cache = ask->cache;
    const char *script = ask->way == AC_CACHE_PUT ? put_script : add_script;
    const char *read[] = {"LRANGE", ask->key, "0", "-1"}, *drop[] = {"DEL", ask->key};
    const char *eval[] = {"EVAL", script, "1", ask->key, ask->text, cache->ttl, cache->most};
    const size_t eval_len[] = {
        4, strlen(script), 1, strlen(ask->key), ask->len, strlen(cache->ttl), strlen(cache->most)};
    ac_redis_command_t command = {7, eval, eval_len};
    if (ask->read) {
        command = (ac_redis_command_t){4, read, NULL};
    } else if (ask->way == AC_CACHE_DROP) {
        command = (ac_redis_command_t){2, drop, NULL};
    }
    if (cache->redis) {
        ac_redis_call(cache->redis, &command, cache_redis_on_reply, ask);
    } else {
        cache_redis_on_reply(ask, NULL, NULL);
    }
}

static ask_t *make_ask(ac_cache_redis_t *cache, const unsigned char key[AC_CACHE_KEY], const char *text, size_t len)
{
    ask_t *ask = ac_alloc(sizeof(*ask) + len + 1);
    int at = snprintf(ask->key, sizeof(ask->key), "%.40sthread:", cache->prefix);
    ac_text_hex(ask->key + at, key, AC_CACHE_KEY);
    ask->cache = cache;
    ask->len = len;
    memcpy(ask->text, text, len);
    return ask;
}

static void cache_redis_start(ask_t *ask)
{
    if (ac_loop_is_current(ask->cache->loop)) {
        send_ask(ask);
    } else {
        ac_loop_post(ask->cache->loop, send_ask, ask);
    }
}

static void cache_redis_read_entry(void *self, const unsigned char key[AC_CACHE_KEY], ac_cache_read_fn *fn, void *baton)
{
    ask_t *ask = make_ask(self, key, "", 0);
    ask->read = fn;
    ask->baton = baton;
    cache_redis_start(ask);
}

static void cache_redis_write_entry(void *self, const ac_cache_write_t *write, ac_cache_written_fn *fn, void *baton)
{
    bool fits = write->len <= AC_MAX_CACHED;
    ask_t *ask = make_ask(self, write->key, fits ? write->text : "", fits ? write->len : 0);
    ask->way = fits ? write->way : AC_CACHE_DROP;
    ask->written = fn;
    ask->baton = baton;
    cache_redis_start(ask);
}

const ac_cache_vt ac_cache_redis = {"redis", cache_redis_read_entry, cache_redis_write_entry};

ac_cache_redis_t *ac_cache_redis_create(const char *prefix, apr_interval_time_t ttl)
{
    ac_cache_redis_t *cache = ac_alloc(sizeof(*cache));
    cache->prefix = prefix;
    snprintf(cache->ttl, sizeof(cache->ttl), "%" APR_INT64_T_FMT, (apr_int64_t)apr_time_as_msec(ttl));
    snprintf(cache->most, sizeof(cache->most), "%d", 2 * AC_MAX_CACHED_PARTS);
    return cache;
}

void ac_cache_redis_use(ac_cache_redis_t *cache, ac_loop_t *loop, ac_redis_t *redis)
{
    cache->loop = loop;
    cache->redis = redis;
}

void ac_cache_redis_destroy(ac_cache_redis_t *cache)
{
    free(cache);
}
