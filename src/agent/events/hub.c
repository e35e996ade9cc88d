/* SPDX-License-Identifier: Apache-2.0 */
/* The events of runs: makes them, numbers them, and gives them to whoever follows. Knows
 * neither HTTP nor SSE. */
#include "event_log.h"

#include <apr_atomic.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

struct ac_channel_t {
    uint64_t seq;
    ac_follower_t *followers;
    ac_follower_t *cursor; /* the follower that is to be told next, while emitting */
    int n_followers;
    ac_event_log_t *log; /* borrowed; or NULL */
    ac_tail_t *tail;     /* that it belongs to, or NULL */
    void (*on_empty)(void *baton);
    void *empty_baton;
};

static const char *const names[AC_N_EVENTS] = {
    [AC_EVENT_RUN] = "run",
    [AC_EVENT_TOKEN] = "token",
    [AC_EVENT_TRACE_START] = "trace_start",
    [AC_EVENT_TRACE_UPDATE] = "trace_update",
    [AC_EVENT_TRACE_END] = "trace_end",
    [AC_EVENT_ERROR] = "error",
    [AC_EVENT_DONE] = "done",
    [AC_EVENT_NOTHING] = "nothing",
    [AC_EVENT_LIVE] = "live",
};

const char *ac_event_name(ac_event_type_e type)
{
    return names[type];
}

ac_event_t *ac_event_create(ac_event_type_e type, json_t *data, const char *text, size_t len)
{
    ac_event_t *event = malloc(sizeof *event + len + 1);
    if (!event) {
        json_decref(data);
        return NULL;
    }
    memset(event, 0, sizeof *event);
    event->refs = 1;
    event->type = type;
    event->at = apr_time_now();
    event->data = data;
    event->len = len;
    if (len) {
        memcpy(event->text, text, len);
    }
    event->text[len] = '\0';
    return event;
}

void ac_event_ref(ac_event_t *event)
{
    apr_atomic_inc32(&event->refs);
}

void ac_event_unref(ac_event_t *event)
{
    if (!event || apr_atomic_dec32(&event->refs) != 0) {
        return;
    }
    json_decref(event->data);
    json_decref(event->message);
    free(event);
}

ac_channel_t *ac_channel_create(void)
{
    return calloc(1, sizeof(ac_channel_t));
}

void ac_channel_destroy(ac_channel_t *channel)
{
    if (!channel) {
        return;
    }
    channel->on_empty = NULL;
    while (channel->followers) {
        ac_channel_leave(channel->followers);
    }
    free(channel);
}

void ac_channel_set_log(ac_channel_t *channel, ac_event_log_t *log)
{
    channel->log = log;
    for (ac_follower_t *follower = log ? channel->followers : NULL; follower; follower = follower->next) {
        ac_event_cursor_t beginning = {0};
        apr_cpystrn(follower->run_id, ac_event_log_header(log)->run_id, sizeof follower->run_id);
        follower->mark = beginning;
    }
}

ac_event_log_t *ac_channel_get_log(const ac_channel_t *channel)
{
    return channel->log;
}

void ac_channel_set_tail(ac_channel_t *channel, ac_tail_t *tail)
{
    channel->tail = tail;
}

ac_tail_t *ac_channel_get_tail(const ac_channel_t *channel)
{
    return channel->tail;
}

void ac_channel_on_empty(ac_channel_t *channel, void (*fn)(void *baton), void *baton)
{
    channel->on_empty = fn;
    channel->empty_baton = baton;
}

uint64_t ac_channel_seq(const ac_channel_t *channel)
{
    return channel->seq;
}

void ac_channel_set_seq(ac_channel_t *channel, uint64_t seq)
{
    channel->seq = seq;
}

void ac_channel_emit(ac_channel_t *channel, ac_event_t *event)
{
    if (!event) {
        return;
    }
    event->seq = ++channel->seq;
    /* First here: nobody may be shown what another child could not show again. */
    if (channel->log) {
        ac_event_log_append(channel->log, event);
    }
    ac_channel_deliver(channel, event);
}

void ac_channel_deliver(ac_channel_t *channel, ac_event_t *event)
{
    /* A follower may leave, or make another one leave, while it is told; the cursor survives both. */
    channel->cursor = channel->followers;
    while (channel->cursor) {
        ac_follower_t *follower = channel->cursor;
        channel->cursor = follower->next;
        follower->on_event(follower, event);
    }
    ac_event_unref(event);
}

void ac_channel_follow(ac_channel_t *channel, ac_follower_t *follower)
{
    follower->channel = channel;
    follower->prev = NULL;
    follower->next = channel->followers;
    if (follower->next) {
        follower->next->prev = follower;
    }
    channel->followers = follower;
    channel->n_followers++;
}

void ac_channel_leave(ac_follower_t *follower)
{
    ac_channel_t *channel = follower->channel;
    if (!channel) {
        return;
    }
    if (channel->cursor == follower) {
        channel->cursor = follower->next;
    }
    if (follower->prev) {
        follower->prev->next = follower->next;
    } else {
        channel->followers = follower->next;
    }
    if (follower->next) {
        follower->next->prev = follower->prev;
    }
    follower->channel = NULL;
    follower->next = follower->prev = NULL;
    channel->n_followers--;
    if (!channel->n_followers && channel->on_empty) {
        channel->on_empty(channel->empty_baton);
    }
}

void ac_channel_move(ac_channel_t *to, ac_follower_t *follower)
{
    ac_channel_t *from = follower->channel;
    void (*on_empty)(void *) = from ? from->on_empty : NULL;
    if (from) {
        from->on_empty = NULL;
    }
    ac_channel_leave(follower);
    if (from) {
        from->on_empty = on_empty;
    }
    ac_channel_follow(to, follower);
}

ac_follower_t *ac_channel_first(const ac_channel_t *channel)
{
    return channel->followers;
}

int ac_channel_followers(const ac_channel_t *channel)
{
    return channel->n_followers;
}
