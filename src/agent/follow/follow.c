/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a child above its runs: its state, and the hooks that runs call. */
#include "follow_internal.h"

#include <stdlib.h>

static const ac_engine_hooks_t hooks = {
    .follow = ac_tail_start,
    .is_followed = ac_tail_exists,
    .on_stored = ac_recover_retry_all,
    .close_later = ac_recover_log,
    .find_recovery = ac_recover_find,
    .keep_ended = ac_ended_log_keep,
    .notify = ac_notice_post,
    .track_suspended = ac_suspended_log_track,
    .recreate_dir = ac_datagram_recreate_dir,
};

void ac_follow_create(ac_engine_t *engine)
{
    engine->follow = ac_alloc(sizeof *engine->follow);
    engine->follow->tails = apr_hash_make(engine->pool);
    engine->hooks = &hooks;
}

void ac_follow_use_dir(ac_engine_t *engine, ac_event_dir_t *dir)
{
    ac_event_total_t *total = ac_event_dir_total(dir);
    engine->dir = dir;
    total->make_room = ac_ended_log_make_room;
    total->baton = engine;
}

void ac_follow_use_mirror(ac_engine_t *engine, ac_mirror_t *mirror)
{
    ac_mirror_writer_init(&engine->writers, mirror, engine->loop);
    engine->writers.keep = engine->conf.log_keep;
    engine->writers.run_timeout = engine->conf.run_timeout;
    ac_tail_mirror_use(engine, mirror);
}

void ac_follow_stop(ac_engine_t *engine)
{
    ac_notice_drop_all(engine);
    ac_mirror_writer_destroy_all(&engine->writers);
    ac_datagram_stop(engine);
    ac_timer_cancel(engine->loop, &engine->follow->sweep_timer);
    ac_ended_log_forget_all(engine);
    ac_suspended_log_forget_all(engine);
}

void ac_follow_destroy(ac_engine_t *engine)
{
    ac_follow_stop(engine);
    ac_recover_drop_all(engine);
    free(engine->follow);
}
