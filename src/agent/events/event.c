/* SPDX-License-Identifier: Apache-2.0 */
/* Events: made once, counted, never changed. */
#include "agent/agent.h"

#include <apr_atomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[AC_N_EVENTS] = {
    [AC_EVENT_RUN] = "run",
    [AC_EVENT_TOKEN] = "token",
    [AC_EVENT_TRACE_START] = "trace_start",
    [AC_EVENT_TRACE_UPDATE] = "trace_update",
    [AC_EVENT_TRACE_END] = "trace_end",
    [AC_EVENT_ERROR] = "error",
    [AC_EVENT_DONE] = "done",
    [AC_EVENT_REASONING] = "reasoning",
    [AC_EVENT_SOURCES] = "sources",
    [AC_EVENT_NOTHING] = "nothing",
    [AC_EVENT_LIVE] = "live",
    [AC_EVENT_QUEUED] = "queued",
};

const char *ac_event_name(ac_event_type_e type)
{
    return names[type];
}

bool ac_event_is_text(uint32_t type)
{
    return type == AC_EVENT_TOKEN || type == AC_EVENT_REASONING;
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
