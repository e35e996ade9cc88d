/* SPDX-License-Identifier: Apache-2.0 */
/* The channel of a run: numbers its events and gives them to its followers in this process. Knows neither HTTP nor
 * SSE. */
#include "events_internal.h"

#include <apr_strings.h>
#include <stdlib.h>

struct ac_channel_t {
    uint64_t seq;
    ac_follower_t *followers;
    ac_follower_t *cursor; /* the next follower to get the event that is being delivered */
    int n_followers;
    ac_event_log_t *log; /* borrowed, or NULL */
    void *tail;          /* the ac_tail_t that owns the channel, or NULL */
    void (*on_empty)(void *baton);
    void *empty_baton;
};

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
        follower->checkpoint = beginning;
    }
}

ac_event_log_t *ac_channel_get_log(const ac_channel_t *channel)
{
    return channel->log;
}

void ac_channel_set_tail(ac_channel_t *channel, void *tail)
{
    channel->tail = tail;
}

void *ac_channel_get_tail(const ac_channel_t *channel)
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
    /* The log comes first: a follower must not get an event that another child could not deliver again. */
    if (channel->log) {
        ac_event_log_append(channel->log, event);
    }
    ac_channel_deliver(channel, event);
}

void ac_channel_deliver(ac_channel_t *channel, ac_event_t *event)
{
    /* on_event may make this follower or another one leave; the cursor survives both. */
    channel->cursor = channel->followers;
    while (channel->cursor) {
        ac_follower_t *follower = channel->cursor;
        channel->cursor = follower->next;
        follower->on_event(follower, event);
    }
    ac_event_unref(event);
}

void ac_channel_deliver_queued(ac_channel_t *channel, const json_t *run, const char *message_id, int64_t place)
{
    json_t *data = json_object();
    ac_json_put(data, "run_id", ac_json_text(ac_json_peek_string(run, "id", NULL)));
    ac_json_put(data, "thread_id", ac_json_text(ac_json_peek_string(run, "thread_id", NULL)));
    ac_json_put(data, "agent_id", ac_json_text(ac_json_peek_string(run, "agent_id", NULL)));
    ac_json_put(data, "message_id", ac_json_text(message_id));
    if (place >= 0) {
        ac_json_put(data, "place", json_integer(place));
    }
    ac_event_t *event = ac_event_create(AC_EVENT_QUEUED, data, NULL, 0);
    if (!event) {
        abort();
    }
    ac_channel_deliver(channel, event);
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
