/* SPDX-License-Identifier: Apache-2.0 */
/* A tail follows a run from any event on: it reads the run's log to its end, then moves the follower to the live run
 * if it is in this child, else reads the log again after each notification. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 64                /* delivered in one turn of the loop */
#define LOOK apr_time_from_msec(250) /* at a log without a notification, and whether its owner is alive */
#define SOON apr_time_from_msec(50)
#define SEARCHES_MAX 40    /* for a log while none can be opened: 10 s */
#define LOOKS_PER_STORE 20 /* at a suspended log for one at the store: every 5 s */
#define LOOKS_BEYOND 2     /* at the store for a run whose events this log lacks */

static void tail_look(void *baton);

void ac_tail_continue(ac_tail_t *tail, apr_interval_time_t wait)
{
    ac_loop_t *loop = tail->engine->loop;
    if (wait) {
        ac_timer_set(loop, &tail->timer, ac_loop_now(loop) + wait, tail_look, tail);
    } else {
        ac_loop_ready_set(loop, &tail->ready, tail_look, tail);
    }
}

static void unlink_tail(ac_tail_t *tail)
{
    apr_hash_t *tails = tail->engine->follow->tails;
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

/* The run may wait for its last follower to leave. */
void ac_tail_leave_log(ac_tail_t *tail)
{
    ac_event_dir_t *dir = tail->engine->dir;
    char text[AC_ID_SIZE + 8];
    if (tail->log && tail->watching) {
        ac_event_watcher_remove(tail->log, ac_event_dir_key(dir));
        int len = apr_snprintf(text, sizeof text, "left %s", tail->run_id);
        if (!tail->ended) {
            ac_event_dir_send(dir, ac_event_log_child(tail->log), text, (size_t)len);
        }
    }
    ac_event_log_close(tail->log);
    tail->log = NULL;
    tail->watching = false;
}

static void tail_free(ac_tail_t *tail)
{
    ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    ac_loop_t *loop = tail->engine->loop;
    ac_timer_cancel(loop, &tail->timer);
    ac_loop_ready_cancel(loop, &tail->ready);
    ac_metrics_gauge_add(AC_METRIC_EVENT_FOLLOWERS, AC_NO_LABELS, -1);
    unlink_tail(tail);
    ac_tail_mirror_leave(tail);
    ac_tail_leave_log(tail);
    ac_channel_destroy(tail->channel);
    ac_tail_stored_free(tail);
    if (run && tail->left && !ac_channel_followers(run->channel)) {
        ac_run_follower_left(run);
    }
    free(tail);
}

static void on_empty(void *baton)
{
    ac_tail_t *tail = baton;
    tail->left = true;
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
        tail->ended = true;
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
    ac_json_put(data, "code", ac_json_text(ac_err_row(err->kind)->code));
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
    ac_tail_deliver(tail, event); /* without a number, since it is not an event of the run */
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

bool ac_tail_is_beyond(const ac_tail_t *tail)
{
    if (tail->mirror.has_part) {
        return false;
    }
    if (tail->after > AC_TAIL_REMAINDER) {
        return !tail->log || tail->after > AC_TAIL_MIRROR;
    }
    return tail->after > (tail->log ? ac_event_log_seq(tail->log) : 0) && tail->after <= AC_TAIL_STORED;
}

void ac_tail_refuse_gone(ac_tail_t *tail, const char *why)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_metrics_add(AC_METRIC_STREAM_GAPS, AC_NO_LABELS, 1);
    ac_err_set(&err, AC_EVENTS_GONE, "%s; what came after event %" APR_UINT64_T_FMT " is not kept event by event here",
               why, tail->after);
    ac_tail_fail(tail, &err);
}

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

/* Moves the follower to the live run if it is in this child and has no event that the follower lacks. */
static bool join_live(ac_tail_t *tail)
{
    ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    ac_follower_t *follower = ac_channel_first(tail->channel);
    if (!run || !follower || ac_channel_seq(run->channel) != tail->after) {
        return false;
    }
    ac_tail_report_live(tail);
    if (tail->left) {
        return false;
    }
    ac_channel_move(run->channel, follower);
    tail->ended = true;
    tail_free(tail);
    return true;
}

static void without_log(ac_tail_t *tail)
{
    const ac_run_t *run = apr_hash_get(tail->engine->runs, tail->run_id, APR_HASH_KEY_STRING);
    if (!run && tail->search_failed && ++tail->n_failed_searches < SEARCHES_MAX) {
        ac_tail_continue(tail, LOOK);
        return;
    }
    if (!run || run->state == AC_RUN_WAITING) {
        ac_tail_stored_continue(tail);
        return;
    }
    if (strcmp(run->turn->owner, tail->owner) != 0) {
        tail_refuse(tail);
        return;
    }
    if (join_live(tail)) {
        return;
    }
    if (ac_channel_seq(run->channel) && ac_tail_is_beyond(tail) && !tail->search_failed) {
        ac_tail_refuse_gone(tail, "the run has no event log");
        return;
    }
    /* The run has just begun, or it has no log: then its past can be delivered only when it is stored. */
    if (ac_channel_seq(run->channel)) {
        ac_tail_report_live(tail);
    }
    ac_tail_continue(tail, SOON);
}

/* All later events of the run come into this log. */
static bool is_written(const ac_event_log_t *log)
{
    return !ac_event_log_ended(log) && !ac_event_log_is_cut(log) && !ac_event_log_is_suspended(log);
}

static bool find_log(ac_tail_t *tail)
{
    if (!tail->log && tail->engine->dir) {
        apr_status_t status = ac_event_log_search(&tail->log, tail->engine->dir, tail->run_id);
        tail->search_failed = !tail->log && status != APR_ENOENT;
        /* A number of an event made from stored documents: the tail continues with those. */
        bool is_remainder = tail->log && tail->after > AC_TAIL_REMAINDER && tail->after < AC_TAIL_MIRROR &&
            ac_event_log_is_cut(tail->log);
        if (tail->log && ac_event_log_ended(tail->log) && tail->after > AC_TAIL_STORED && !is_remainder) {
            ac_tail_leave_log(tail);
        }
        /* A number that the run has not reached: from now on. */
        uint64_t newest = tail->log ? ac_event_log_seq(tail->log) : 0;
        if (tail->log && is_written(tail->log) && tail->after > newest) {
            tail->after = newest;
        }
        if (tail->log && tail->mirror.has_part) {
            tail->mirror.has_part = false;
            tail->cursor = (ac_event_cursor_t){0};
        }
        if (tail->cursor.after < tail->after) {
            tail->cursor.after = tail->after;
        }
        ac_follower_t *follower = tail->log ? ac_channel_first(tail->channel) : NULL;
        if (follower && follower->checkpoint.after > tail->after) {
            follower->checkpoint.after = tail->after;
        }
    }
    return tail->log != NULL;
}

/* The log's owner is dead: this child recovers the run, unless another one has begun to. */
static void lose_owner(ac_tail_t *tail)
{
    ac_child_key_t owner = ac_event_log_child(tail->log);
    ac_tail_leave_log(tail);
    ac_recover_adopt(tail->engine, owner, tail->run_id);
    ac_tail_continue(tail, SOON);
}

static void caught_up(ac_tail_t *tail)
{
    ac_event_dir_t *dir = tail->engine->dir;
    ac_child_key_t owner = ac_event_log_child(tail->log);
    if (join_live(tail)) {
        return;
    }
    if (ac_event_log_ended(tail->log) && !tail->left) {
        /* The terminal event had no room in the log. */
        ac_tail_stored_continue(tail);
        return;
    }
    if (!ac_event_dir_alive(dir, owner)) {
        lose_owner(tail);
        return;
    }
    bool suspended = ac_event_log_is_suspended(tail->log), beyond = ac_tail_is_beyond(tail);
    if (beyond && suspended && tail->engine->writers.mirror && tail->n_looks < LOOKS_BEYOND) {
        ac_tail_stored_continue(tail); /* another machine may have resumed the run */
        return;
    }
    if (beyond) {
        ac_tail_refuse_gone(tail, "its event log has not all of the run");
        return;
    }
    ac_tail_report_live(tail);
    if (suspended && ++tail->n_suspended_looks % LOOKS_PER_STORE == 0) {
        ac_tail_stored_continue(tail); /* another machine may have resumed the run and ended it */
        return;
    }
    if (suspended) {
        ac_tail_mirror_watch(tail);
        if (tail->pending) {
            return;
        }
    }
    bool fresh = !tail->watching && owner != ac_event_dir_key(dir);
    if (fresh) {
        tail->watching = ac_event_watcher_add(tail->log, ac_event_dir_key(dir));
    }
    /* A watcher from now on: earlier events came without a notification. */
    ac_tail_continue(tail, fresh && tail->watching ? 0 : LOOK);
}

static void read_log(ac_tail_t *tail)
{
    bool ended = ac_event_log_ended(tail->log) != 0;
    for (int i = 0; i < EVENTS_MAX && !tail->left && !tail->ended; i++) {
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
    if (tail->pending) {
        return; /* the store's answer comes back here */
    }
    if (tail->left) {
        tail_free(tail);
    } else if (tail->ended || tail->paused) {
        return;
    } else if (tail->n_events) {
        ac_tail_stored_continue(tail);
    } else if (tail->mirror.on) {
        ac_tail_mirror_continue(tail);
    } else if (!find_log(tail)) {
        without_log(tail);
    } else if (strcmp(ac_event_log_header(tail->log)->owner, tail->owner) != 0) {
        tail_refuse(tail);
    } else {
        read_log(tail);
    }
}

bool ac_tail_exists(const ac_engine_t *engine, const char *run_id)
{
    return apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING) != NULL;
}

void ac_tail_wake(ac_engine_t *engine, const char *run_id)
{
    for (ac_tail_t *tail = apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING); tail; tail = tail->next) {
        if (!tail->paused) {
            ac_tail_continue(tail, 0);
        }
    }
}

ac_tail_t *ac_tail_create(ac_engine_t *engine, const char *run_id, const char *owner)
{
    ac_tail_t *tail = ac_alloc(sizeof *tail), *first = apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING);
    ac_metrics_gauge_add(AC_METRIC_EVENT_FOLLOWERS, AC_NO_LABELS, 1);
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
        apr_hash_set(engine->follow->tails, tail->run_id, APR_HASH_KEY_STRING, tail);
    }
    return tail;
}

void ac_tail_start(ac_engine_t *engine, const char *run_id, const char *owner, uint64_t after, ac_follower_t *follower)
{
    ac_tail_t *tail = ac_tail_create(engine, run_id, owner);
    tail->after = after;
    tail->unstored = follower->unstored;
    ac_metrics_add(AC_METRIC_STREAM_RESUMES, AC_NO_LABELS, after > 0);
    if (strcmp(follower->run_id, run_id) != 0) {
        apr_cpystrn(follower->run_id, run_id, sizeof follower->run_id);
        follower->checkpoint = (ac_event_cursor_t){.after = after};
    }
    ac_channel_follow(tail->channel, follower);
    ac_tail_continue(tail, 0);
}
