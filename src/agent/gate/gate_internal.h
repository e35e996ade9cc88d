/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_GATE_INTERNAL_H
#define AC_GATE_INTERNAL_H

#include "gate.h"

void ac_breaker_init(ac_breaker_t *breaker, const ac_breaker_conf_t *conf, const char *name);
/* The state to show: an open breaker whose time is over is HALF_OPEN. *pwait: the time until it allows a call; may
 * be NULL. */
ac_breaker_state_e ac_breaker_state(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* Whether a call may begin now. */
bool ac_breaker_allows(const ac_breaker_t *breaker, apr_time_t now, apr_interval_time_t *pwait);
/* A call begins, allowed or not. The first call after the open time is the probe; the breaker allows no other call
 * until the probe has answered or ended. */
ac_breaker_ticket_t ac_breaker_begin(ac_breaker_t *breaker, apr_time_t now);

#endif
