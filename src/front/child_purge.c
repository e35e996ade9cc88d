/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that were deleted longer ago than AgentChatPurgeAfter are removed permanently, and old idempotency keys with
 * them. Files that belong to nothing follow. */
#include "front_internal.h"

#include "apr_atomic.h"

#define PURGE_EVERY apr_time_from_sec(3600)
#define PURGE_FIRST apr_time_from_sec(60)
#define PURGE_PATIENCE apr_time_from_sec(300)

static void child_purge_begin(void *baton);

static void child_purge_set(ac_child_life_t *self, apr_interval_time_t at_least)
{
    /* The children of a server start together; this keeps them from asking the store all at once. */
    apr_interval_time_t jitter = (apr_interval_time_t)(ac_random() % (uint64_t)(PURGE_EVERY / 4));
    ac_timer_set(self->child.loop, &self->purge_timer, ac_loop_now(self->child.loop) + at_least + jitter,
                 child_purge_begin, self);
}

static void child_purge_swept(ac_child_life_t *self)
{
    if (!apr_atomic_read32(&self->child.stopping)) {
        child_purge_set(self, PURGE_EVERY);
    }
}

static void child_purge_done(ac_store_op_t *op)
{
    ac_child_life_t *self = op->baton;
    int64_t n = ac_json_peek_int(op->out, "purged", 0);
    if (op->status != APR_SUCCESS) {
        ac_log(AC_M604, op->status, "store[%s]: deleted threads were not purged: %s", self->child.conf->store.vt->name,
               op->err.detail);
    } else if (n > 0) {
        ac_log(AC_M605, APR_SUCCESS, "store[%s]: %" APR_INT64_T_FMT " deleted threads purged",
               self->child.conf->store.vt->name, n);
    }
    json_t *files = json_incref(json_object_get(op->out, "files"));
    ac_store_op_free(op);
    ac_file_sweep_start(self, files, child_purge_swept);
}

static void child_purge_begin(void *baton)
{
    ac_child_life_t *self = baton;
    const ac_conf_t *conf = self->child.conf;
    char before[AC_TIME_SIZE], keys_before[AC_TIME_SIZE];
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PURGE, "", "");
    ac_time_format(before, conf->purge_after > 0 ? apr_time_now() - conf->purge_after : 1);
    ac_time_format(keys_before, apr_time_now() - AC_KEY_LIFE);
    op->in = json_pack("{s:s, s:s}", "before", before, "keys_before", keys_before);
    op->deadline = ac_loop_now(self->child.loop) + PURGE_PATIENCE;
    ac_store_call_post(&conf->store, self->child.loop, op, child_purge_done, self);
    ac_erasure_start(self);
}

void ac_child_purge_start(ac_child_life_t *life)
{
    child_purge_set(life, PURGE_FIRST);
}

void ac_child_purge_cancel(ac_child_life_t *life)
{
    ac_timer_cancel(life->child.loop, &life->purge_timer);
}
