/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol AG-UI, versions 1.0 and 0.0.x. Source of its facts: ag-ui.com, the packages @ag-ui/core and
 * @ag-ui/client 1.0.0 and 0.0.59, and what they were measured to send and to accept. */
#ifndef AC_AGUI_H
#define AC_AGUI_H

#include "front/request/request.h"

/* The handlers of the routes. */
ac_route_fn ac_agui_run_start, ac_agui_capabilities_get;

/* ---- agui_run.c ---- */
extern const ac_protocol_t ac_agui_protocol;

/* ---- agui_dialect.c: the events of a run as those of AG-UI ---- */
extern const ac_dialect_t ac_agui_dialect;

#endif
