/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection waits for input without a thread while a stream has it.
 *
 * httpd 2.4.63 and later have a state for it, CONN_STATE_ASYNC_WAITIO. The event MPM of 2.4.49 to 2.4.62 also polls
 * a connection for input that is in CONN_STATE_WRITE_COMPLETION and wants to read. It assumes then that the request
 * has ended; so the state is changed as soon as the connection is back, and the MPM calls process_connection, as
 * later versions do. docs/internals/parked-streams.md says what each version does. */
#include "stream_internal.h"

#include "ap_mpm.h"

static bool has_state; /* set before there are connections */

static bool mpm_can(int query)
{
    int answer = 0;
    return ap_mpm_query(query, &answer) == APR_SUCCESS && answer;
}

bool ac_park_wait_possible(void)
{
#ifdef AP_MPMQ_CAN_WAITIO
    has_state = mpm_can(AP_MPMQ_CAN_WAITIO);
#endif
    return mpm_can(AP_MPMQ_IS_ASYNC) && (has_state || strcmp(ap_show_mpm(), "event") == 0);
}

static const char *state_name(void)
{
    return has_state ? "CONN_STATE_ASYNC_WAITIO" : "CONN_STATE_WRITE_COMPLETION";
}

void ac_park_wait_report(const ac_conf_t *conf)
{
    if (ac_park_wait_possible()) {
        ac_log(AC_M609, APR_SUCCESS,
               "event streams hold no thread, at most %d in each child (AgentChatMaxStreams): the MPM %s lets them "
               "wait in %s",
               conf->max_streams, ap_show_mpm(), state_name());
        return;
    }
    ac_log(
        AC_M608, APR_SUCCESS,
        "each event stream holds a thread or a process of httpd, at most %d in each child "
        "(AgentChatMaxBlockingStreams), since the MPM %s cannot let a connection wait without one; the MPM event can",
        conf->max_blocking_streams, ap_show_mpm());
}

bool ac_park_wait_for_room_possible(void)
{
    return has_state;
}

void ac_park_wait_begin(conn_rec *c, int sense)
{
    c->cs->state = CONN_STATE_WRITE_COMPLETION;
#ifdef AP_MPMQ_CAN_WAITIO
    if (has_state) {
        c->cs->state = CONN_STATE_ASYNC_WAITIO;
    }
#endif
    c->cs->sense = sense;
}

bool ac_park_wait_has_begun(const conn_rec *c)
{
#ifdef AP_MPMQ_CAN_WAITIO
    if (has_state) {
        return c->cs->state == CONN_STATE_ASYNC_WAITIO;
    }
#endif
    return c->cs->state == CONN_STATE_WRITE_COMPLETION;
}

void ac_park_wait_end(conn_rec *c)
{
    if (!has_state && c->cs->state == CONN_STATE_WRITE_COMPLETION) {
        c->cs->state = CONN_STATE_READ_REQUEST_LINE;
    }
}
