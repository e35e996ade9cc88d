/* SPDX-License-Identifier: Apache-2.0 */
/* A follower that is slower than its run: its checkpoint in the log, and the way back to it. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

bool ac_follower_checkpoint(ac_follower_t *follower)
{
    const ac_channel_t *channel = follower->channel;
    const ac_tail_t *tail = channel ? ac_channel_get_tail(channel) : NULL;
    const ac_event_log_t *log = channel ? ac_channel_get_log(channel) : NULL;
    if (log) {
        ac_event_log_position(log, &follower->checkpoint);
    } else if (tail && tail->log) {
        follower->checkpoint = tail->cursor;
    } else {
        return false;
    }
    return true;
}

/* The log with all events up to last_seq; NULL: none. Searches other children's directories only if the log has left
 * this one's. */
static ac_event_log_t *find_log_to_rewind(ac_engine_t *engine, const ac_follower_t *follower, uint64_t last_seq)
{
    const ac_event_log_t *own = follower->channel ? ac_channel_get_log(follower->channel) : NULL;
    bool impossible = !engine->dir || !follower->run_id[0] ||
        (follower->channel && (!own || ac_event_log_seq(own) < last_seq));
    ac_event_log_t *log = impossible ? NULL : ac_event_log_find(engine->dir, follower->run_id);
    if (log && ac_event_log_seq(log) < last_seq) {
        ac_event_log_close(log);
        return NULL;
    }
    return log;
}

bool ac_follower_rewind(ac_engine_t *engine, ac_follower_t *follower, uint64_t last_seq)
{
    ac_tail_t *tail = follower->channel ? ac_channel_get_tail(follower->channel) : NULL;
    if (tail) {
        if (!tail->log || tail->pending || tail->n_events || ac_event_log_seq(tail->log) < last_seq) {
            return false;
        }
    } else {
        ac_event_log_t *log = find_log_to_rewind(engine, follower, last_seq);
        if (!log) {
            return false;
        }
        tail = ac_tail_create(engine, follower->run_id, ac_event_log_header(log)->owner);
        tail->log = log;
        tail->live = true;
        tail->unstored = follower->unstored;
        ac_channel_move(tail->channel, follower);
    }
    tail->cursor = follower->checkpoint;
    tail->after = follower->checkpoint.after;
    tail->ended = false;
    tail->paused = true;
    return true;
}

void ac_follower_resume(ac_follower_t *follower)
{
    ac_tail_t *tail = follower->channel ? ac_channel_get_tail(follower->channel) : NULL;
    if (!tail || !tail->paused) {
        return;
    }
    tail->paused = false;
    ac_tail_continue(tail, 0);
}
