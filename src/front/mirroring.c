/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror of event logs, as AgentChatShared configures it. */
#include "front_internal.h"

APLOG_USE_MODULE(agentchat);

static void mirroring_begin(void *baton)
{
    ac_mirror_redis_start(baton);
}

/* One child logs a line for all. */
static void mirroring_on_state(void *baton, bool up, const char *why)
{
    const ac_child_t *child = baton;
    if (!ac_limit_table_note_mirror(child->conf->limit_table, up)) {
        return;
    }
    if (up) {
        ac_log(AC_M266, APR_SUCCESS, "mirror: event logs are copied to %s again", child->conf->shared.url);
    } else {
        ac_log(AC_M265, APR_SUCCESS, "mirror: event logs are not copied to %s: %s", child->conf->shared.url, why);
    }
}

/* A store on this machine has runs of this machine only, and its children read the logs themselves. */
apr_status_t ac_mirroring_open(ac_child_t *child, ac_err_t *err)
{
    const ac_conf_t *conf = child->conf;
    if (!conf->shared.url || !conf->shared.events || !child->event_dir || !(conf->store.vt->flags & AC_STORE_REMOTE)) {
        return APR_SUCCESS;
    }
    ac_redis_conf_t redis = ac_limits_redis_conf(conf);
    redis.on_state = mirroring_on_state;
    redis.baton = child;
    apr_status_t status =
        ac_mirror_redis_create(&child->mirror_redis, &child->mirror, &redis, conf->shared.prefix, &child->host, err);
    if (status == APR_SUCCESS) {
        ac_engine_use_mirror(child->engine, &child->mirror);
        ac_loop_post(child->loop, mirroring_begin, child->mirror_redis);
    }
    return status;
}
