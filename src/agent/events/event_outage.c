/* SPDX-License-Identifier: Apache-2.0 */
/* Outages of the event logs: one line when an outage begins, one a minute with the number of runs while it lasts,
 * and one after its end. */
#include "events_internal.h"

#include <errno.h>
#include <stdio.h>

#define PERIOD apr_time_from_sec(60) /* between two lines; and without a failure before the outage is over */

const char *ac_event_outage_remedy(apr_status_t status)
{
    switch (status) {
    case ENOSPC:
    case EDQUOT: return "Its file system has no room: free some, or shorten AgentChatEventLogKeep";
    case ENOENT:
    case ENOTDIR:
    case EACCES:
    case EPERM:
    case EROFS:
        return "It is gone, or not ours, and httpd's children may not make it: see that the directory it lies in is "
               "there (where a package made that: systemd-tmpfiles --create), then apachectl graceful, which makes it "
               "again";
    case ENOMEM: return "Raise vm.max_map_count, or give the machine more memory";
    case EMFILE:
    case ENFILE: return "Raise the limit of open files";
    default: return "See the cause at the beginning of the line";
    }
}

void ac_event_outage_begin(ac_event_outage_t *outage, ac_event_outage_e what, apr_status_t status, const char *run_id)
{
    ac_event_outage_state_t *state = &outage->states[what];
    apr_time_t now = ac_clock();
    char more[64] = "";
    state->last = now;
    if (state->logged && now - state->logged < PERIOD) {
        state->n_more++;
        return;
    }
    if (state->n_more) {
        snprintf(more, sizeof more, " (and %d more runs since the last such line)", state->n_more);
    }
    state->logged = now;
    state->n_more = 0;
    if (what == AC_EVENT_OUTAGE_NO_LOG) {
        ac_log(AC_M510, status,
               "run[%s]%s: no event log below %s; the run continues, and a client that loses its connection cannot "
               "resume before it has ended. %s",
               run_id, more, outage->path, ac_event_outage_remedy(status));
    } else if (what == AC_EVENT_OUTAGE_TOTAL_FULL) {
        ac_log(AC_M516, APR_SUCCESS,
               "run[%s]%s: the event logs below %s have all the room that they may have together "
               "(AgentChatEventLogTotal); the run continues without a log, or without the rest of it",
               run_id, more, outage->path);
    } else if (what == AC_EVENT_OUTAGE_NO_SPACE) {
        ac_log(AC_M511, status,
               "run[%s]%s: its event log below %s can take no more; the run continues, and a client that lags gets the "
               "rest when it has ended. %s",
               run_id, more, outage->path, ac_event_outage_remedy(status));
    } else {
        ac_log(AC_M511, APR_SUCCESS,
               "run[%s]%s: its event log can take no more (AgentChatEventLogMax); the run continues, and a client that "
               "lags gets the rest when it has ended",
               run_id, more);
    }
}

void ac_event_outage_end(ac_event_outage_t *outage)
{
    ac_event_outage_state_t *none = &outage->states[AC_EVENT_OUTAGE_NO_LOG],
                            *room = &outage->states[AC_EVENT_OUTAGE_NO_SPACE];
    ac_event_outage_state_t *total = &outage->states[AC_EVENT_OUTAGE_TOTAL_FULL];
    if (!none->logged && !room->logged && !total->logged) {
        return;
    }
    apr_time_t quiet_since = none->last > room->last ? none->last : room->last;
    if (total->last > quiet_since) {
        quiet_since = total->last;
    }
    if (ac_clock() - quiet_since < PERIOD) {
        return;
    }
    ac_log(AC_M513, APR_SUCCESS,
           "event logs: %s can be written again; %d more runs had no log since the last line, and %d a part of one",
           outage->path, none->n_more, room->n_more + total->n_more);
    *none = *room = *total = (ac_event_outage_state_t){0};
}
