/* SPDX-License-Identifier: Apache-2.0 */
/* The trace context of a request, and the beginning of its span. Requests for health, readiness and metrics have none,
 * nor has a request that mod_otel has made a span for. */
#include "request.h"

static bool is_traced(const ac_route_t *route)
{
    return !route || !(route->needs & (AC_IS_METRICS | AC_MAY_BE_MOUNT));
}

void ac_request_trace_begin(ac_request_t *rq)
{
    if (!ac_span_on() || !is_traced(rq->route)) {
        return;
    }
    ac_span_context(&rq->trace);
    if (rq->has_otel_span) {
        return;
    }
    const char *state = rq->trace.state;
    rq->span = ac_span_begin(AC_SPAN_REQUEST, &rq->trace);
    rq->trace = *ac_span_trace(rq->span, &rq->trace);
    rq->trace.state = state; /* the span may end first */
}

void ac_request_trace_link(const ac_request_t *rq, const char *run_id)
{
    ac_trace_t trace;
    const ac_child_t *child = rq->span ? ac_child() : NULL;
    if (child && child->event_dir && ac_event_log_find_trace(&trace, child->event_dir, run_id, rq->owner)) {
        ac_span_link(rq->span, &trace);
    }
}
