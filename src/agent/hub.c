/* SPDX-License-Identifier: Apache-2.0 */
/* The events of runs: makes them, numbers them, and gives them to whoever follows. Knows
 * neither HTTP nor SSE. */
#include "agent.h"

#include <apr_atomic.h>
#include <stdlib.h>
#include <string.h>

struct ac_channel_t {
    uint64_t seq;
    ac_follower_t *followers;
    ac_follower_t *cursor;                      /* the follower that is to be told next, while emitting */
    int n_followers;
};

static const char *const names[AC_N_EVENTS] = {
    [AC_EVENT_RUN] = "run", [AC_EVENT_TOKEN] = "token", [AC_EVENT_TRACE_START] = "trace_start",
    [AC_EVENT_TRACE_UPDATE] = "trace_update", [AC_EVENT_TRACE_END] = "trace_end",
    [AC_EVENT_ERROR] = "error", [AC_EVENT_DONE] = "done",
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
    if (len) memcpy(event->text, text, len);
    event->text[len] = '\0';
    return event;
}

void ac_event_ref(ac_event_t *event)
{
    apr_atomic_inc32(&event->refs);
}

void ac_event_unref(ac_event_t *event)
{
    if (!event || apr_atomic_dec32(&event->refs) != 0) return;
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
    if (!channel) return;
    while (channel->followers) ac_channel_leave(channel->followers);
    free(channel);
}

void ac_channel_emit(ac_channel_t *channel, ac_event_t *event)
{
    if (!event) return;
    event->seq = ++channel->seq;
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
    if (follower->next) follower->next->prev = follower;
    channel->followers = follower;
    channel->n_followers++;
}

void ac_channel_leave(ac_follower_t *follower)
{
    ac_channel_t *channel = follower->channel;
    if (!channel) return;
    if (channel->cursor == follower) channel->cursor = follower->next;
    if (follower->prev) follower->prev->next = follower->next;
    else channel->followers = follower->next;
    if (follower->next) follower->next->prev = follower->prev;
    follower->channel = NULL;
    follower->next = follower->prev = NULL;
    channel->n_followers--;
}

int ac_channel_followers(const ac_channel_t *channel)
{
    return channel->n_followers;
}
