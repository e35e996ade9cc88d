/* SPDX-License-Identifier: Apache-2.0 */
/* Follows a run from any point: reads its log as far as it goes, then joins the live run where it is in this child, else looks at the
 * log again whenever it is told to. */
#include "tail.h"

#include <string.h>

#define PART 64                      /* events told in one turn of the loop */
#define LOOK apr_time_from_msec(250) /* where nobody tells us, and whether the owner still lives */
#define SOON apr_time_from_msec(50)
#define SHORT_LOOKS 40 /* for a log while none can be opened: 10 s */
#define STORE_LOOKS 20 /* of a run that waits for its owner's word: every 5 s */

static void tail_look(void *baton);

void ac_tail_continue(ac_tail_t *tail, apr_interval_time_t wait)
{
    ac_loop_t *loop = tail->engine->loop;
    if (wait) {
        ac_timer_set(loop, &tail->timer, ac_loop_now(loop) + wait, tail_look, tail);
    } else {
        ac_ready_set(loop, &tail->ready, tail_look, tail);
    }
}

static void unlink_tail(ac_tail_t *tail)
{
    apr_hash_t *tails = tail->engine->tails;
    if (tail->next) {
        tail->next->prev = tail->prev;
    }
    if (tail->prev) {
        tail->prev->next = tail->next;
        return;
    }
    /* The table borrows its key from the tail that is the first. */
    apr_hash_set(tails, tail->run_id, APR_HASH_KEY_STRING, NULL);
    if (tail->next) {
        apr_hash_set(tails, tail->next->run_id, APR_HASH_KEY_STRING, tail->next);
    }
}

/* The owner may be waiting for the last one to go. */
static void leave_log(ac_tail_t *tail)
{
    ac_event_dir_t *dir = tail->engine->dir;
    char text[AC_ID_SIZE + 8];
    if (tail->log && tail->waiting) {
        ac_event_watcher_remove(tail->log, ac_event_dir_key(dir));
        int len = apr_snprintf(text, sizeof text, "left %s", tail->run_id);
        if (!tail->over) {
            ac_event_dir_send(dir, ac_event_log_child(tail->log), text, (size_t)len);
        }
    }
    ac_event_log_close(tail->log);
    tail->log = NULL;
    tail->waiting = false;
}

static void tail_free(ac_tail_t *tail)
{
    ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    ac_loop_t *loop = tail->engine->loop;
    ac_timer_cancel(loop, &tail->timer);
    ac_ready_cancel(loop, &tail->ready);
    unlink_tail(tail);
    leave_log(tail);
    ac_channel_destroy(tail->channel);
    ac_tail_stored_free(tail);
    if (run && tail->gone && !ac_channel_followers(run->channel)) {
        ac_run_follower_left(run);
    }
    free(tail);
}

static void on_empty(void *baton)
{
    ac_tail_t *tail = baton;
    tail->gone = true;
    tail->paused = false;
    ac_tail_continue(tail, 0);
}

bool ac_tail_has_room(ac_tail_t *tail)
{
    ac_follower_t *follower = ac_channel_first(tail->channel);
    tail->paused = tail->paused || (follower && follower->has_room && !follower->has_room(follower));
    return !tail->paused;
}

void ac_tail_deliver(ac_tail_t *tail, ac_event_t *event)
{
    bool terminal = event->type == AC_EVENT_DONE || event->type == AC_EVENT_ERROR;
    if (terminal) {
        tail->over = true;
    }
    if (terminal && event->seq && event->seq == tail->after) {
        ac_event_unref(event);
        event = ac_event_create(AC_EVENT_NOTHING, NULL, NULL, 0);
        if (!event) {
            abort();
        }
    } else if (event->seq > tail->after) {
        tail->after = tail->cursor.after = event->seq;
    } else if (!terminal) {
        ac_event_unref(event);
        return;
    }
    ac_channel_deliver(tail->channel, event);
}

void ac_tail_fail(ac_tail_t *tail, const ac_err_t *err)
{
    json_t *data = json_object();
    ac_json_put(data, "code", ac_json_text(ac_kind_row(err->kind)->code));
    ac_json_put(data, "message", ac_json_text(err->detail));
    if (err->retry_after) {
        ac_json_put(data, "retry_after_ms", json_integer(apr_time_as_msec(err->retry_after)));
    }
    ac_json_put(data, "run_id", ac_json_text(tail->run_id));
    ac_event_t *event = ac_event_create(AC_EVENT_ERROR, data, NULL, 0);
    if (!event) {
        abort();
    }
    event->kind = err->kind;
    event->retry_after = err->retry_after;
    ac_tail_deliver(tail, event); /* without a number: it is no event of the run */
    ac_tail_continue(tail, 0);
}

static void tail_refuse(ac_tail_t *tail)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_NOT_FOUND, "no run with this id");
    ac_tail_fail(tail, &err);
}

/* ---- where the run is ---- */

void ac_tail_report_live(ac_tail_t *tail)
{
    if (tail->live) {
        return;
    }
    tail->live = true;
    ac_event_t *event = ac_event_create(AC_EVENT_LIVE, NULL, NULL, 0);
    if (!event) {
        abort();
    }
    ac_channel_deliver(tail->channel, event);
}

/* The run is in this child, and what the follower has not been told yet is still to come. */
static bool join(ac_tail_t *tail)
{
    ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    ac_follower_t *follower = ac_channel_first(tail->channel);
    if (!run || !follower || ac_channel_seq(run->channel) != tail->after) {
        return false;
    }
    ac_tail_report_live(tail);
    if (tail->gone) {
        return false;
    }
    ac_channel_move(run->channel, follower);
    tail->over = true;
    tail_free(tail);
    return true;
}

static void without_log(ac_tail_t *tail)
{
    const ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    if (!run && tail->short_of_means && ++tail->n_short < SHORT_LOOKS) {
        ac_tail_continue(tail, LOOK);
        return;
    }
    if (!run) {
        ac_tail_stored_continue(tail);
        return;
    }
    if (strcmp(run->turn->owner, tail->owner) != 0) {
        tail_refuse(tail);
        return;
    }
    if (join(tail)) {
        return;
    }
    if (ac_channel_seq(run->channel) && ac_tail_is_beyond(tail) && !tail->short_of_means) {
        ac_tail_refuse_gone(tail, "the run has no event log");
        return;
    }
    /* Begun a moment ago, or without a log: then its past can be told only when it is stored. */
    if (ac_channel_seq(run->channel)) {
        ac_tail_report_live(tail);
    }
    ac_tail_continue(tail, SOON);
}

/* All that is told of the run comes into this log. */
static bool goes_on(const ac_event_log_t *log)
{
    return !ac_event_log_ended(log) && !ac_event_log_is_cut(log) && !ac_event_log_is_suspended(log);
}

static bool find_log(ac_tail_t *tail)
{
    if (!tail->log && tail->engine->dir) {
        apr_status_t status = ac_event_log_search(&tail->log, tail->engine->dir, tail->run_id);
        tail->short_of_means = !tail->log && status != APR_ENOENT;
        /* A number of the other telling: it goes on where it began. */
        bool is_rest = tail->log && tail->after > AC_TAIL_REMAINDER && ac_event_log_is_cut(tail->log);
        if (tail->log && ac_event_log_ended(tail->log) && tail->after > AC_TAIL_STORED && !is_rest) {
            leave_log(tail);
        }
        /* A number that never was: from now on. */
        uint64_t newest = tail->log ? ac_event_log_seq(tail->log) : 0;
        if (tail->log && goes_on(tail->log) && tail->after > newest) {
            tail->after = newest;
        }
        if (tail->cursor.after < tail->after) {
            tail->cursor.after = tail->after;
        }
        ac_follower_t *follower = tail->log ? ac_channel_first(tail->channel) : NULL;
        if (follower && follower->mark.after > tail->after) {
            follower->mark.after = tail->after;
        }
    }
    return tail->log != NULL;
}

/* The log's owner is dead: we take its place, or somebody else has. */
static void lose_owner(ac_tail_t *tail)
{
    ac_child_key_t owner = ac_event_log_child(tail->log);
    leave_log(tail);
    ac_recover_adopt(tail->engine, owner, tail->run_id);
    ac_tail_continue(tail, SOON);
}

static void caught_up(ac_tail_t *tail)
{
    ac_event_dir_t *dir = tail->engine->dir;
    ac_child_key_t owner = ac_event_log_child(tail->log);
    if (join(tail)) {
        return;
    }
    if (ac_event_log_ended(tail->log) && !tail->gone) {
        /* The end itself found no room in the log. */
        ac_tail_stored_continue(tail);
        return;
    }
    if (!ac_event_dir_alive(dir, owner)) {
        lose_owner(tail);
        return;
    }
    if (ac_tail_is_beyond(tail)) {
        ac_tail_refuse_gone(tail, "its event log has not all of the run");
        return;
    }
    ac_tail_report_live(tail);
    if (ac_event_log_is_suspended(tail->log) && ++tail->n_rests % STORE_LOOKS == 0) {
        ac_tail_stored_continue(tail); /* another machine may have gone on with it, and ended it */
        return;
    }
    bool fresh = !tail->waiting && owner != ac_event_dir_key(dir);
    if (fresh) {
        tail->waiting = ac_event_watcher_add(tail->log, ac_event_dir_key(dir));
    }
    /* Entered just now: what came before that was told to nobody here. */
    ac_tail_continue(tail, fresh && tail->waiting ? 0 : LOOK);
}

static void read_log(ac_tail_t *tail)
{
    bool ended = ac_event_log_ended(tail->log) != 0;
    for (int i = 0; i < PART && !tail->gone && !tail->over; i++) {
        if (!ac_tail_has_room(tail)) {
            return;
        }
        ac_event_t *event = ac_event_log_next(tail->log, &tail->cursor, NULL);
        if (!event) {
            if (ended || !ac_event_log_ended(tail->log)) {
                caught_up(tail);
            } else {
                ac_tail_continue(tail, 0);
            }
            return;
        }
        ac_tail_deliver(tail, event);
    }
    ac_tail_continue(tail, 0);
}

static void tail_look(void *baton)
{
    ac_tail_t *tail = baton;
    ac_timer_cancel(tail->engine->loop, &tail->timer);
    if (tail->asked) {
        return; /* the store's answer comes back here */
    }
    if (tail->gone) {
        tail_free(tail);
    } else if (tail->over || tail->paused) {
        return;
    } else if (tail->n_events) {
        ac_tail_stored_continue(tail);
    } else if (!find_log(tail)) {
        without_log(tail);
    } else if (strcmp(ac_event_log_header(tail->log)->owner, tail->owner) != 0) {
        tail_refuse(tail);
    } else {
        read_log(tail);
    }
}

void ac_tail_wake(ac_engine_t *engine, const char *run_id)
{
    for (ac_tail_t *tail = apr_hash_get(engine->tails, run_id, APR_HASH_KEY_STRING); tail; tail = tail->next) {
        if (!tail->paused) {
            ac_tail_continue(tail, 0);
        }
    }
}

/* Follows nobody's run yet. */
static ac_tail_t *tail_create(ac_engine_t *engine, const char *run_id, const char *owner)
{
    ac_tail_t *tail = ac_alloc(sizeof *tail), *first = apr_hash_get(engine->tails, run_id, APR_HASH_KEY_STRING);
    tail->engine = engine;
    apr_cpystrn(tail->run_id, run_id, sizeof tail->run_id);
    apr_cpystrn(tail->owner, owner, sizeof tail->owner);
    tail->channel = ac_channel_create();
    if (!tail->channel) {
        abort();
    }
    ac_channel_set_tail(tail->channel, tail);
    ac_channel_on_empty(tail->channel, on_empty, tail);
    if (first) {
        tail->prev = first;
        tail->next = first->next;
        if (tail->next) {
            tail->next->prev = tail;
        }
        first->next = tail;
    } else {
        apr_hash_set(engine->tails, tail->run_id, APR_HASH_KEY_STRING, tail);
    }
    return tail;
}

void ac_tail_start(ac_engine_t *engine, const char *run_id, const char *owner, uint64_t after, ac_follower_t *follower)
{
    ac_tail_t *tail = tail_create(engine, run_id, owner);
    tail->after = after;
    if (strcmp(follower->run_id, run_id) != 0) {
        apr_cpystrn(follower->run_id, run_id, sizeof follower->run_id);
        follower->mark = (ac_event_cursor_t){.after = after};
    }
    ac_channel_follow(tail->channel, follower);
    ac_tail_continue(tail, 0);
}

/* ---- a follower that is slower than its run ---- */

bool ac_follower_checkpoint(ac_follower_t *follower)
{
    const ac_channel_t *channel = follower->channel;
    const ac_tail_t *tail = channel ? ac_channel_get_tail(channel) : NULL;
    const ac_event_log_t *log = channel ? ac_channel_get_log(channel) : NULL;
    if (log) {
        ac_event_log_position(log, &follower->mark);
    } else if (tail && tail->log) {
        follower->mark = tail->cursor;
    } else {
        return false;
    }
    return true;
}

/* The log that has what the follower was told, and maybe has not taken. NULL: none. Loops through directories only for a run that has
 * ended and whose log was removed since. */
static ac_event_log_t *log_to_go_back(ac_engine_t *engine, const ac_follower_t *follower, uint64_t told)
{
    const ac_event_log_t *own = follower->channel ? ac_channel_get_log(follower->channel) : NULL;
    bool hopeless = !engine->dir || !follower->run_id[0] ||
        (follower->channel && (!own || ac_event_log_seq(own) < told));
    ac_event_log_t *log = hopeless ? NULL : ac_event_log_find(engine->dir, follower->run_id);
    if (log && ac_event_log_seq(log) < told) {
        ac_event_log_close(log);
        return NULL;
    }
    return log;
}

bool ac_follower_rewind(ac_engine_t *engine, ac_follower_t *follower, uint64_t told)
{
    ac_tail_t *tail = follower->channel ? ac_channel_get_tail(follower->channel) : NULL;
    if (tail) {
        if (!tail->log || tail->asked || tail->n_events || ac_event_log_seq(tail->log) < told) {
            return false;
        }
    } else {
        ac_event_log_t *log = log_to_go_back(engine, follower, told);
        if (!log) {
            return false;
        }
        tail = tail_create(engine, follower->run_id, ac_event_log_header(log)->owner);
        tail->log = log;
        tail->live = true;
        ac_channel_move(tail->channel, follower);
    }
    tail->cursor = follower->mark;
    tail->after = follower->mark.after;
    tail->over = false;
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
