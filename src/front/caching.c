/* SPDX-License-Identifier: Apache-2.0 */
/* The cache before the store, as AgentChatCache configures it. */
#include "front_internal.h"

#include <string.h>

APLOG_USE_MODULE(agentchat);

static apr_status_t destroy_cache(void *cache)
{
    ac_store_cache_destroy(cache);
    return APR_SUCCESS;
}

static apr_status_t destroy_memory(void *memory)
{
    ac_cache_memory_destroy(memory);
    return APR_SUCCESS;
}

/* "auto" means: on for a remote store. A store on this machine is read faster than its caches. A remote store may
 * also be written to by machines that do not know this memory. */
static bool is_on(const char *value, bool fallback)
{
    return strcmp(value, "auto") != 0 ? strcmp(value, "off") != 0 : fallback;
}

static apr_status_t destroy_redis(void *cache)
{
    ac_cache_redis_destroy(cache);
    return APR_SUCCESS;
}

void ac_caching_check(ac_config_check_t *check)
{
    const ac_conf_t *conf = check->conf;
    if (strcmp(conf->cache.backend, "redis") == 0 && !conf->shared.url) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatCache"),
                                "AgentChatCache: 'redis' is the Redis of AgentChatShared, "
                                "which is not given");
    }
}

static bool caching_make_place(ac_cache_t *place, ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    ac_cache_memory_t *memory = NULL;
    ac_err_t err;
    ac_err_init(&err);
    if (strcmp(conf->cache.backend, "redis") == 0) {
        conf->cache.redis = ac_cache_redis_create(conf->shared.prefix, conf->cache.ttl);
        apr_pool_cleanup_register(check->p, conf->cache.redis, destroy_redis, apr_pool_cleanup_null);
        *place = (ac_cache_t){&ac_cache_redis, conf->cache.redis};
        return true;
    }
    if (ac_cache_memory_create(&memory, conf->cache.size, conf->cache.ttl, &err) != APR_SUCCESS) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatCache"),
                                "AgentChatCache: %s; give a smaller size=", err.detail);
        return false;
    }
    apr_pool_cleanup_register(check->p, memory, destroy_memory, apr_pool_cleanup_null);
    *place = (ac_cache_t){&ac_cache_memory, memory};
    return true;
}

void ac_caching_prepare(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    bool remote = (conf->store.vt->flags & AC_STORE_REMOTE) != 0;
    ac_store_cache_t *cache = NULL;
    ac_cache_t place;
    if (!is_on(conf->cache.backend, remote) || !caching_make_place(&place, check)) {
        return;
    }
    ac_store_cache_create(&cache, &conf->store, &place, conf->store_spec,
                          is_on(conf->cache.check, remote && !conf->cache.redis));
    apr_pool_cleanup_register(check->p, cache, destroy_cache, apr_pool_cleanup_null);
    conf->store = ac_store_cache_store(cache);
}

void ac_caching_open(const ac_child_t *child)
{
    if (child->conf->cache.redis) {
        ac_cache_redis_use(child->conf->cache.redis, child->loop,
                           child->shared ? ac_limit_redis_client(child->shared) : NULL);
    }
}
