/* SPDX-License-Identifier: Apache-2.0 */
/* The followers of a run: where they continue when the run leaves this process, and the end of a run without
 * followers. */
#include "run_internal.h"

void ac_run_follower_move_all(ac_run_t *run, const char *run_id, uint64_t after)
{
    ac_follower_t *follower;
    ac_channel_on_empty(run->channel, NULL, NULL);
    while ((follower = ac_channel_first(run->channel)) != NULL) {
        ac_channel_leave(follower);
        run->engine->hooks->follow(run->engine, run_id, run->turn->owner, after, follower);
    }
}

static void on_leave_timer(void *baton)
{
    ac_run_t *run = baton;
    bool followed = ac_channel_followers(run->channel) > 0 ||
        (run->events.log && ac_event_watcher_any(run->events.log)) ||
        run->engine->hooks->is_followed(run->engine, run->turn->run_id);
    if (followed) {
        return;
    }
    ac_run_cancel(run->engine, run->turn->run_id, AC_CANCELLED);
}

void ac_run_follower_left(void *baton)
{
    ac_run_t *run = baton;
    if (run->turn->leave < 0 || !ac_run_is_live(run)) {
        return;
    }
    ac_timer_set(run->engine->loop, &run->events.leave_timer, ac_loop_now(run->engine->loop) + run->turn->leave,
                 on_leave_timer, run);
}

void ac_run_follower_attach(ac_run_t *run, const json_t *key)
{
    const char *run_id = ac_json_peek_string(key, "run_id", "");
    ac_err_t err;
    ac_err_init(&err);
    ac_run_summary_attach(run, run_id);
    run->trace.attached = true;
    for (ac_follower_t *follower = ac_channel_first(run->channel); follower; follower = follower->next) {
        follower->unstored = !*ac_json_peek_string(key, "thread_id", "");
    }
    ac_run_follower_move_all(run, run_id, run->turn->after);
    ac_err_set(&err, AC_IDEMPOTENCY_CONFLICT, "its key had been used");
    ac_run_finish(run, AC_RUN_FAILED, &err, "attached to an earlier run");
}
